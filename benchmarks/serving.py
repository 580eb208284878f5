"""The serving process against the same estimator behind Flask and behind sagemaker-inference.

One process and one core each, HTTP included, measured in turn. The comparators need
`requirements/bench.in`; where that is not installed, they are left out with a line that says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.pairs import line
from benchmarks.serving_model import PROJECT, ROW, train_example

ROUNDS: Final = 3
SECONDS: Final = 1.0
CONNECTIONS: Final = 8
START_SECONDS: Final = 60.0
COMPARATORS: Final = {
    "flask": ("Flask, scikit-learn pipeline", ("flask", "pandas")),
    "transformer": (
        "sagemaker-inference Transformer",
        ("sagemaker_inference", "pandas"),
    ),
}
BODY: Final = json.dumps(ROW).encode()
REQUEST: Final = (
    b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Accept: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Measured:
    """Seconds of single requests, and requests a second, a figure a round."""

    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


class Client:
    """Sends one request again and again, on one connection if the server keeps it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None

    def send(self) -> None:
        """Send the request."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(REQUEST)

    def receive(self) -> bytes:
        """Return the body of the answer; raise RuntimeError where it is no prediction."""
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        length = _LENGTH.search(data, 0, end)
        if not data.startswith(b"HTTP/1.1 200 ") or length is None:
            raise RuntimeError(f"the server answered {data!r}")
        while len(data) < end + 4 + int(length[1]):
            data += self._more()
        # Flask's own server never keeps a connection.
        if b"connection: close" in data[:end].lower():
            self.close()
        return data[end + 4 :]

    def close(self) -> None:
        """Close the connection."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _more(self) -> bytes:
        data = self.socket.recv(65536) if self.socket is not None else b""
        if not data:
            raise RuntimeError("the server closed the connection")
        return data


def main() -> None:
    """Train the example, serve it each way, and print a line a figure."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        base = Path(folder)
        train_example(base)
        servers = {"ours": ("Tidemill", ["-m", "containers", "serve"])}
        for name, (title, modules) in COMPARATORS.items():
            absent = [module for module in modules if find_spec(module) is None]
            if absent:
                print(f"{title}: left out, {', '.join(absent)} not installed", flush=True)
            else:
                servers[name] = (title, ["-m", "benchmarks.serving_comparators", name])
        ports = {name: stack.enter_context(_server(c, base)) for name, (_, c) in servers.items()}
        answers = {name: _prediction(port) for name, port in ports.items()}
        if max(answers.values()) - min(answers.values()) > 1e-4:
            raise RuntimeError(f"the servers do not agree: {answers}")
        measured = {name: Measured() for name in ports}
        with _core(-1):
            for _ in range(ROUNDS):
                for name, port in ports.items():
                    measured[name].latencies += _latencies(port)
                    measured[name].rates.append(_rate(port))
    _report({name: title for name, (title, _) in servers.items()}, measured)


def _report(titles: dict[str, str], measured: dict[str, Measured]) -> None:
    for name, title in titles.items():
        figures = measured[name]
        cuts = statistics.quantiles(figures.latencies, n=100)
        line(
            f"serving, {title}",
            f"p50 {cuts[49] * 1000:.3f} ms, p99 {cuts[98] * 1000:.3f} ms, "
            f"{statistics.median(figures.rates):,.0f}/s",
            "aim p50 0.3 ms" if name == "ours" else "",
        )
    for name in titles.keys() - {"ours"}:
        pairs = zip(measured["ours"].rates, measured[name].rates, strict=True)
        ratio = statistics.median(ours / other for ours, other in pairs)
        line(f"rate, Tidemill / {titles[name]}", f"{ratio:.0f}", "aim 40" * (name == "flask"))


def _prediction(port: int) -> float:
    client = Client(port)
    client.send()
    answer = json.loads(client.receive())
    client.close()
    return float(answer["prediction"] if isinstance(answer, dict) else answer[0])


def _latencies(port: int) -> list[float]:
    client = Client(port)
    end, spent = time.perf_counter() + SECONDS, []
    while (start := time.perf_counter()) < end:
        client.send()
        client.receive()
        spent.append(time.perf_counter() - start)
    client.close()
    return spent


def _rate(port: int) -> float:
    clients = [Client(port) for _ in range(CONNECTIONS)]
    for client in clients:
        client.send()
    start, count = time.perf_counter(), 0
    # Each connection always has a request under way: the next goes out as its answer is read.
    while time.perf_counter() - start < SECONDS:
        for client in clients:
            client.receive()
            client.send()
        count += len(clients)
    rate = count / (time.perf_counter() - start)
    for client in clients:
        client.receive()
        client.close()
    return rate


@contextlib.contextmanager
def _server(command: list[str], base: Path) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "TIDEMILL_VERSION": "1",
    }
    with _core(0):
        process = subprocess.Popen(
            [sys.executable, *command], cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL
        )
    try:
        _wait(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    latest = time.monotonic() + START_SECONDS
    while time.monotonic() < latest and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer")


@contextlib.contextmanager
def _core(place: int) -> Iterator[None]:
    """Keep this process, and what it starts, on one core, where the system has a way to."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[place]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    main()
