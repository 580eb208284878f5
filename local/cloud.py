"""The local cloud as a background process: start, find and stop it, and how to reach it.

`python -m local.cloud --directory D --port N` is the process itself.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local.handshake import READY, UNRECOVERED

_START_SECONDS = 60
_STOP_SECONDS = 30
_PORT_SECONDS = 2.0  # a killed process holds its port until the system has taken it apart


class CloudError(Exception):
    """The local cloud did not start or stop; the message says why and where its log is."""


@dataclass(frozen=True)
class Unrecovered:
    """A start after which nobody has looked yet for what was in flight (`local.recovery`)."""

    killed_after: float | None
    """When the last checkpoint began, if the cloud was killed since; None if it was stopped."""


@dataclass(frozen=True)
class Cloud:
    """A running local cloud."""

    directory: Path
    pid: int
    endpoint_url: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    authority: Path | None

    def environment(self) -> dict[str, str]:
        """The variables that lead AWS SDKs and the CDK here, as the administrator."""
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }
        if self.authority is not None:
            names = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")
            variables |= dict.fromkeys(names, str(self.authority))
        return variables

    @property
    def unrecovered(self) -> Unrecovered | None:
        """What the last start found, until `recovered` is called; None if all is driven again."""
        try:
            found = json.loads((self.directory / UNRECOVERED).read_text())
        except FileNotFoundError:
            return None
        return Unrecovered(found["killed_after"])

    def recovered(self) -> None:
        """Note that what was in flight at the last end is driven again."""
        (self.directory / UNRECOVERED).unlink(missing_ok=True)

    def advance(self, seconds: float) -> None:
        """Move the cloud's clock forward; rules and messages that are due then come."""
        self._command("advance", str(seconds))

    def reap(self) -> None:
        """End the Lambda workers that are idle, without waiting for their time."""
        self._command("reap")

    def checkpoint(self) -> None:
        """Save what is kept by checkpoints now."""
        self._command("checkpoint")

    def _command(self, name: str, argument: str = "") -> None:
        request = urllib.request.Request(  # noqa: S310 - this cloud's own address
            f"{self.endpoint_url}/_tidemill/{name}?{argument}",
            method="POST",
            headers={"Authorization": f"Bearer {self.secret_key}"},
        )
        with _opener(self).open(request, timeout=30):
            pass


def start(directory: Path, *, port: int | None = None, strict: bool = True) -> Cloud:
    """The cloud of `directory`, started unless it runs already.

    Raises `CloudError` if it does not come up.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        running = find(directory)
        if running is not None:
            return running
        chosen = port if port is not None else _remembered_port(directory)
        return _spawn(directory, chosen, strict)


def find(directory: Path) -> Cloud | None:
    """The cloud of `directory`, if it runs and answers."""
    directory = directory.resolve()
    try:
        found = json.loads((directory / READY).read_text())
    except (OSError, ValueError):
        return None
    cloud = Cloud(
        directory=directory,
        pid=found["pid"],
        endpoint_url=found["endpoint_url"],
        region=found["region"],
        access_key=found["access_key"],
        secret_key=found["secret_key"],
        authority=directory / "certificates" / "ca.pem" if found["strict"] else None,
    )
    return cloud if _is_ours(cloud.pid, directory) and _answers(cloud) else None


def stop(directory: Path) -> bool:
    """End the cloud of `directory` and every process of it; False if none ran.

    Raises `CloudError` if it had to be killed, in which case state is as of the last checkpoint.
    """
    directory = directory.resolve()
    try:
        pid = int((directory / "pid").read_text())
    except (OSError, ValueError):
        return False
    if not _is_ours(pid, directory):
        return False
    os.kill(pid, signal.SIGTERM)
    if _ended(pid, directory, _STOP_SECONDS):
        return True
    os.kill(pid, signal.SIGKILL)
    _ended(pid, directory, 5)
    raise CloudError(f"the local cloud did not end in {_STOP_SECONDS} s; see {directory / 'log'}")


def _spawn(directory: Path, port: int, strict: bool) -> Cloud:
    log = directory / "log"
    arguments = ["--directory", str(directory), "--port", str(port)]
    # The package is found from wherever the user stands.
    home = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    (directory / READY).unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.cloud", *arguments, *([] if strict else ["--open"])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=directory,
            # Few arenas: many threads would each hold on to memory that they freed.
            env={**os.environ, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "2"},
        )
    (directory / "pid").write_text(str(process.pid))
    (directory / "port").write_text(str(port))
    limit = time.monotonic() + _START_SECONDS
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise CloudError(f"the local cloud ended while it started:\n{_tail(log)}")
        cloud = find(directory)
        if cloud is not None:
            return cloud
        time.sleep(0.05)
    process.kill()
    raise CloudError(f"the local cloud did not answer in {_START_SECONDS} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _remembered_port(directory: Path) -> int:
    """The port of the last start if it is free still: users have noted it."""
    with contextlib.suppress(OSError, ValueError):
        last = int((directory / "port").read_text())
        limit = time.monotonic() + _PORT_SECONDS
        while time.monotonic() < limit:
            if _is_free(last):
                return last
            time.sleep(0.05)
    # No outgoing connection takes a port below the range of those, while the cloud is down.
    for _ in range(100):
        candidate = random.randint(10_000, 32_000)  # noqa: S311 - a port is no secret
        if _is_free(candidate):
            return candidate
    raise CloudError("no port is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _is_ours(pid: int, directory: Path) -> bool:
    """Whether the process is this folder's cloud and not a later one of the same number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # no /proc: another system than Linux
        command = subprocess.run(
            ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, check=False
        ).stdout.split()
    return b"local.cloud" in command and str(directory).encode() in command


def _ended(pid: int, directory: Path, seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # where this process started it
        if not _is_ours(pid, directory):
            return True
        time.sleep(0.02)
    return False


def _opener(cloud: Cloud) -> urllib.request.OpenerDirector:
    trusted = ssl.create_default_context(cafile=cloud.authority) if cloud.authority else None
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
    )


def _answers(cloud: Cloud) -> bool:
    try:
        with _opener(cloud).open(f"{cloud.endpoint_url}/_ministack/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two commands at once start one cloud, not two."""
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Be the cloud's process."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--open", action="store_true", help="without TLS, signatures and IAM")
    arguments = parser.parse_args()
    from local.engines.ministack.server import run

    run(arguments.directory, arguments.port, strict=not arguments.open)
    # All is saved and ended: taking the interpreter apart would cost seconds more.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
