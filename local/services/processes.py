"""Child processes that die with the cloud and whose output becomes log lines."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from time import monotonic

# Runs in the child before it becomes the program: on Linux the kernel then kills it when the
# cloud dies by whatever means. `preexec_fn` could do the same, but is not safe beside threads.
_LAUNCH = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"{sys.argv[2]}: {error.strerror}", flush=True)
    os._exit(127)
"""

# The kernel's signal comes when the *thread* that made the child ends, so one thread that lives
# as long as the process makes them all.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")

_GATHER_SECONDS = 0.1
_LONGEST_LINE = 200_000


class Child:
    """A process in a group of its own. Its output is handed to `log`, several lines a call.

    `environment` is the whole environment of the process: nothing is inherited.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: Callable[[Sequence[str]], None],
    ) -> None:
        self._log = log
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]
        self._process = _spawner.submit(
            subprocess.Popen,
            launch,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ).result()
        self._pump = Thread(target=self._read, name=f"log-{self._process.pid}", daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; the exit code (negative: the signal), or None after `timeout` s."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._signal(signal.SIGKILL)  # what it left behind holds our end of the pipe open
        self._pump.join(5)
        return code

    def terminate(self, grace: float) -> int | None:
        """Ask the group to end, and kill it after `grace` seconds; returns the exit code."""
        self._signal(signal.SIGTERM)
        code = self.wait(grace)
        if code is None:
            self._signal(signal.SIGKILL)
            code = self.wait(10)
        return code

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        with pipe:
            handle = pipe.fileno()
            rest = b""
            while chunk := _gather(handle):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines.append(rest)
                    rest = b""
                self._write(lines)
            self._write([rest] if rest else [])

    def _write(self, lines: Sequence[bytes]) -> None:
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        if texts := [text for text in texts if text]:
            with contextlib.suppress(Exception):  # a log that cannot be kept must not block a job
                self._log(texts)


def _gather(handle: int) -> bytes:
    """Read at least once, then whatever follows within a moment, so that calls to log are few."""
    found = os.read(handle, 65536)
    until = monotonic() + _GATHER_SECONDS
    while found and len(found) < 1 << 20:
        ready, _, _ = select.select([handle], [], [], max(0.0, until - monotonic()))
        if not ready or not (more := os.read(handle, 65536)):
            break
        found += more
    return found
