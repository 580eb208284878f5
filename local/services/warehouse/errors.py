"""What the warehouse answers when a statement cannot be carried out."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WarehouseError(Exception):
    """A statement failed. The text is Redshift's own, after its leading `ERROR: `."""

    def __str__(self) -> str:
        text = str(self.args[0])
        return text if text.startswith("FATAL: ") else f"ERROR: {text}"


class ConflictError(WarehouseError):
    """Two transactions cannot be put in an order: Redshift's error 1023, which is retried."""

    def __init__(self, table: str) -> None:
        super().__init__(
            "1023 DETAIL: Serializable isolation violation on table - "
            f"{table}, transactions forming the cycle are: concurrent transactions changed the "
            "table after this one had taken its snapshot"
        )


class CancelledError(WarehouseError):
    """The statement was cancelled by its user."""

    def __init__(self) -> None:
        super().__init__("Query cancelled on user's request")


def storage_error(code: str, status: int, message: str) -> WarehouseError:
    """How COPY and UNLOAD report what S3 answered."""
    return WarehouseError(
        f"S3ServiceException:{message},Status {status},Error {code},Rid LOCAL,CanRetry 1"
    )


@contextmanager
def duck_errors(cancelled: threading.Event) -> Iterator[None]:
    """Turn DuckDB's errors into Redshift's; where `cancelled` is set each is its consequence."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if isinstance(error, duckdb.InterruptException) or cancelled.is_set():
            raise CancelledError from None
        text = str(error)
        if isinstance(error, duckdb.TransactionException) and "onflict" in text:
            raise ConflictError("unknown") from None
        raise WarehouseError(_message(text)) from None


def _message(text: str) -> str:
    """DuckDB's message without its kind, its suggestions and its picture of the statement."""
    _, _, rest = text.partition(" Error: ")
    first: str = (rest or text).split("\n", 1)[0]
    if first.startswith("Division by zero"):
        return "Divide by zero"
    column = re.match(r'Referenced column "(.*?)" not found', first)
    return f'column "{column[1]}" does not exist' if column else first
