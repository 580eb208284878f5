"""DynamoDB made durable when it is acknowledged: a journal of its writes between checkpoints.

MiniStack keeps tables in memory and saves them whole. Each successful write is appended to a
journal before it is answered; a start loads the last checkpoint and plays the journal after it.
Journals are numbered: a checkpoint holds the number of the first journal that it lacks.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ministack.core import responses
from ministack.services import dynamodb

_log = logging.getLogger(__name__)
_GENERATION = "tidemill_journal"
_WRITES = (
    "_create_table",
    "_update_table",
    "_delete_table",
    "_put_item",
    "_update_item",
    "_delete_item",
    "_batch_write_item",
    "_transact_write_items",
)


class Journal:
    """The journal of one cloud's DynamoDB."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._generation = max([0, *(int(path.stem) for path in directory.glob("*.jsonl"))])
        self._file: IO[str] | None = None
        self._originals: dict[str, Callable[[Any], Any]] = {}
        self._playing = False

    def install(self) -> None:
        """Journal every write, and put the journal's number into checkpoints."""
        for name in _WRITES:
            self._originals[name] = getattr(dynamodb, name)
            setattr(dynamodb, name, self._journalled(name, self._originals[name]))
        state = dynamodb.get_state

        def get_state() -> dict[str, Any]:
            # Writes wait while the tables are copied: none is between the copy and its journal.
            with self._lock:
                self._open(self._generation + 1)
                return {**state(), _GENERATION: self._generation}

        dynamodb.get_state = get_state

    def play(self, checkpoint: Path) -> int:
        """Repeat what was written after the checkpoint file; how many writes these were."""
        first = 0
        if checkpoint.exists():
            first = json.loads(checkpoint.read_text())["payload"].get(_GENERATION, 0)
        count = 0
        self._playing = True
        try:
            for path in self._files():
                if int(path.stem) >= first:
                    count += self._play_file(path)
        finally:
            self._playing = False
        return count

    def forget(self, checkpoint: Path) -> None:
        """Drop the journals that the saved checkpoint holds."""
        try:
            with checkpoint.open() as file:
                first = json.load(file)["payload"].get(_GENERATION, 0)
        except (OSError, ValueError, KeyError):
            return
        for path in self._files():
            if int(path.stem) < first:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl"), key=lambda path: int(path.stem))

    def _journalled(self, name: str, theirs: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def write(data: Any) -> Any:
            with self._lock:
                # Before the call, which may change what it was given.
                line = json.dumps(
                    [name, responses.get_account_id(), responses.get_region(), data], default=str
                )
                answer = theirs(data)
                if answer[0] < 400 and not self._playing:
                    self._append(line)
                return answer

        return write

    def _append(self, line: str) -> None:
        if self._file is None:
            self._open(self._generation + 1)
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    def _open(self, generation: int) -> None:
        if self._file is not None:
            self._file.close()
        self._generation = generation
        self._file = (self._directory / f"{generation}.jsonl").open("a")

    def _play_file(self, path: Path) -> int:
        count = 0
        for line in path.read_text().splitlines():
            try:
                name, account, region, data = json.loads(line)
            except ValueError:
                break  # the write that a kill cut short was never acknowledged
            with responses.request_scope(account, region):
                status = self._originals[name](data)[0]
            if status >= 400:
                _log.warning("journal %s: %s was answered with %s", path.name, name, status)
            count += 1
        return count
