"""How a command speaks: words and progress for people on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.status import Status


class CommandError(Exception):
    """A command failed. `hint` says what to type or do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Console:
    """Where a command's words go: with `as_json`, stdout holds one JSON document alone."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._people = RichConsole(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print one line for people."""
        self._people.print(text, markup=False)

    def result(self, document: dict[str, Any], lines: list[str]) -> None:
        """Print the command's result: the document with `--json`, the lines without."""
        text = json.dumps(document, indent=2, default=str) if self.as_json else "\n".join(lines)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    @contextmanager
    def working(self, text: str) -> Iterator[Status]:
        """Show a spinner with `text` (on a terminal) while the body works."""
        with self._people.status(text) as status:
            yield status


class Stopwatch:
    """Seconds since it was made, by a clock that never steps back."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """The seconds that have passed."""
        return time.monotonic() - self._start


def backoff(first: float, most: float, factor: float = 1.5) -> Iterator[float]:
    """Sleep and yield the seconds slept: `first`, then longer each time up to `most`."""
    pause = first
    while True:
        time.sleep(pause)
        yield pause
        pause = min(most, pause * factor)
