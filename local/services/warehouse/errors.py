"""What the warehouse answers when a statement cannot be carried out."""

from __future__ import annotations


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
