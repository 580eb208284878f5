"""Loading files of the lake into the warehouse, each row once.

A load is one transaction over several files of one model. It may be repeated as often as one
likes: rows are told apart by their row_id, files by their name.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tidemill.errors import StatementConflictError, StatementTimeoutError, WarehouseError
from tidemill.model import Model
from tidemill.warehouse import INSERT_ROWS, load_statements

FILES_PER_LOAD: Final = 200
"""The most files of one transaction: their names must fit into one statement."""
ATTEMPTS: Final = 6
_LEAST_SECONDS: Final = 5.0  # A load that has less time left is not begun.
_NO_FILES_FAULT = re.compile(
    r"permission denied|not authorized|access ?denied"
    r"|(relation|schema|column|database) .* (does not|doesn't) exist",
    re.IGNORECASE,
)


class Transactions(Protocol):
    """Where statements are run."""

    def transaction(
        self, statements: Sequence[str], *, token: str, deadline: float
    ) -> Sequence[int]:
        """Run the statements as one transaction and return how many rows each affected.

        A token seen before stands for the transaction that was begun with it. `deadline` is in
        seconds of `time.monotonic`. Raises StatementConflictError where the transaction lost
        against another one, StatementTimeoutError at the deadline, WarehouseError otherwise.
        """
        ...


class Manifests(Protocol):
    """Where manifests are kept."""

    def put(self, model: str, digest: str, content: bytes) -> str:
        """Keep a manifest under its digest and return its S3 URI."""
        ...


@dataclass
class Outcome:
    """What became of the files of a call. `errors` are by file."""

    loaded: list[str] = field(default_factory=list)
    errors: dict[str, WarehouseError] = field(default_factory=dict)
    new_rows: int = 0


def manifest(files: Sequence[str]) -> bytes:
    """Return the COPY manifest of some S3 URIs; the same files make the same bytes."""
    entries = [{"url": file, "mandatory": True} for file in sorted(set(files))]
    return json.dumps({"entries": entries}, separators=(",", ":")).encode()


def client_token(statements: Sequence[str], delivery: int, attempt: int) -> str:
    """Return the token of one attempt to load: statements name the manifest by its digest.

    A failed transaction keeps its token for hours, so each delivery of the files' events and
    each attempt after a conflict has its own.
    """
    return f"{_digest(chr(0).join(statements).encode())}-{delivery}-{attempt}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=20).hexdigest()


@dataclass(frozen=True)
class Loader:
    """Loads files. `role_arn` is what the warehouse reads the lake as."""

    warehouse: Transactions
    manifests: Manifests
    role_arn: str
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def load(
        self, model: Model, files: Sequence[str], *, delivery: int, deadline: float
    ) -> Outcome:
        """Load files (S3 URIs) of one model.

        `delivery` counts the deliveries of the files' events from 1. A transaction that fails is
        halved until the bad file stands alone, so that its good neighbours load.
        """
        outcome = Outcome()
        distinct = sorted(set(files))
        for start in range(0, len(distinct), FILES_PER_LOAD):
            part = distinct[start : start + FILES_PER_LOAD]
            self._load_or_halve(model, part, delivery, deadline, outcome)
        return outcome

    def _load_or_halve(
        self, model: Model, files: list[str], delivery: int, deadline: float, outcome: Outcome
    ) -> None:
        try:
            outcome.new_rows += self._transaction(model, files, delivery, deadline)
            outcome.loaded += files
        except (StatementTimeoutError, StatementConflictError) as error:
            outcome.errors |= dict.fromkeys(files, error)
        except WarehouseError as error:
            if len(files) == 1 or _NO_FILES_FAULT.search(str(error)):
                outcome.errors |= dict.fromkeys(files, error)
                return
            middle = len(files) // 2
            self._load_or_halve(model, files[:middle], delivery, deadline, outcome)
            self._load_or_halve(model, files[middle:], delivery, deadline, outcome)

    def _transaction(
        self, model: Model, files: Sequence[str], delivery: int, deadline: float
    ) -> int:
        if deadline - self.now() < _LEAST_SECONDS:
            raise StatementTimeoutError("no time is left for another load")
        content = manifest(files)
        load_id = _digest(content)
        statements = load_statements(
            model,
            files,
            manifest=self.manifests.put(model.name, load_id, content),
            load_id=load_id,
            role_arn=self.role_arn,
        )
        for attempt in range(1, ATTEMPTS + 1):
            try:
                token = client_token(statements, delivery, attempt)
                affected = self.warehouse.transaction(statements, token=token, deadline=deadline)
                return affected[INSERT_ROWS]
            except StatementConflictError:
                pause = 0.1 * 2**attempt
                if attempt == ATTEMPTS or self.now() + pause > deadline - _LEAST_SECONDS:
                    raise
                self.sleep(pause)
        raise AssertionError("the last attempt returns or raises")
