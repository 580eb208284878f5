"""The warehouse, through the Redshift Data API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lambdas.adapters.clients import client
from tidemill.errors import StatementConflictError, StatementTimeoutError, WarehouseError

_FIRST_PAUSE: Final = 0.03
_LONGEST_PAUSE: Final = 2.0
_GROWTH: Final = 1.4
# Redshift's serializable isolation violation, its snapshot isolation conflict, and deadlocks.
_CONFLICT: Final = re.compile(
    r"\b1023\b|serializable isolation violation|could not serialize access"
    r"|conflict with concurrent transaction|deadlock detected",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Warehouse:
    """A database of a workgroup. Without `secret_arn` it is entered as the caller's IAM identity.

    Times are seconds of `now`.
    """

    workgroup: str
    database: str
    secret_arn: str | None = None
    data_api: Callable[[], Any] = lambda: client("redshift-data")
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def transaction(
        self, statements: Sequence[str], *, token: str | None = None, deadline: float
    ) -> list[int]:
        """Run at most 40 statements as one transaction; return the rows that each affected.

        A token seen before stands for the transaction that was begun with it. Raises
        StatementConflictError where the transaction lost against another one,
        StatementTimeoutError at the deadline (it may still commit), WarehouseError otherwise.
        """
        arguments = {"ClientToken": token} if token else {}
        begun = self.data_api().batch_execute_statement(
            Sqls=list(statements), **arguments, **self._target()
        )
        ended = self._wait(begun["Id"], deadline)
        # -1 stands for a statement that affects no rows.
        return [max(0, part.get("ResultRows", 0)) for part in ended.get("SubStatements", ())]

    def execute(self, statement: str, *, deadline: float) -> str:
        """Run one statement outside any transaction and return its id; raises as `transaction`."""
        begun = self.data_api().execute_statement(Sql=statement, **self._target())
        self._wait(begun["Id"], deadline)
        return str(begun["Id"])

    def query(self, statement: str, *, deadline: float) -> list[list[Any]]:
        """Return the rows of a query; raises as `transaction`."""
        arguments = {"Id": self.execute(statement, deadline=deadline)}
        rows: list[list[Any]] = []
        while True:
            page = self.data_api().get_statement_result(**arguments)
            rows += [[_value(cell) for cell in record] for record in page["Records"]]
            if not page.get("NextToken"):
                return rows
            arguments["NextToken"] = page["NextToken"]

    def _target(self) -> dict[str, str]:
        target = {"WorkgroupName": self.workgroup, "Database": self.database}
        return {**target, "SecretArn": self.secret_arn} if self.secret_arn else target

    def _wait(self, statement: str, deadline: float) -> dict[str, Any]:
        pause = _FIRST_PAUSE
        while True:
            described: dict[str, Any] = self.data_api().describe_statement(Id=statement)
            status = described["Status"]
            if status == "FINISHED":
                return described
            if status in ("FAILED", "ABORTED"):
                raise _failure(described)
            left = deadline - self.now()
            if left <= 0:
                raise StatementTimeoutError(f"statement {statement} is still {status.lower()}")
            self.sleep(min(pause, left))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def _failure(described: dict[str, Any]) -> WarehouseError:
    parts = [part.get("Error") for part in described.get("SubStatements", ())]
    text = described.get("Error") or next(filter(None, parts), None) or "it was aborted"
    message = f"statement {described['Id']} failed: {text}"
    return (StatementConflictError if _CONFLICT.search(text) else WarehouseError)(message)


def _value(cell: dict[str, Any]) -> Any:
    return None if cell.get("isNull") else next(iter(cell.values()))
