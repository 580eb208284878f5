"""What the Data API keeps of statements, and how it hands over their results."""

from __future__ import annotations

import csv
import io
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from local.services.base import Document
from local.services.warehouse.session import Outcome, Session
from local.services.warehouse.types import RESULT_TYPES

ENDED = frozenset({"FINISHED", "FAILED", "ABORTED"})
KEPT_SECONDS = 24 * 3600
"""How long the API keeps a statement and its result."""


@dataclass
class Part:
    """One SQL text of a statement; a batch has several."""

    id: str
    sql: str
    created: float
    status: str = "SUBMITTED"
    error: str | None = None
    started: float = 0.0
    updated: float = 0.0
    seconds: float = 0.0
    outcome: Outcome | None = None
    query_id: int = 0

    @property
    def has_result(self) -> bool:
        """Whether there are rows to fetch."""
        return self.outcome is not None and self.outcome.columns is not None

    def describe(self) -> Document:
        """The members that DescribeStatement gives for a statement and each part of it."""
        answer: Document = {
            "Id": self.id,
            "CreatedAt": self.created,
            "UpdatedAt": self.updated or self.created,
            "Duration": int(self.seconds * 1e9),
            "HasResultSet": self.has_result,
            "QueryString": self.sql,
            "RedshiftQueryId": self.query_id,
            "ResultRows": -1,
            "ResultSize": -1,
            "Status": self.status,
            "Error": self.error,
        }
        if self.outcome is not None:
            rows = self.outcome.rows
            answer["ResultRows"] = len(rows) if self.has_result else self.outcome.count
            answer["ResultSize"] = size(rows) if self.has_result else 0
        return answer


@dataclass
class Statement:
    """What one call of ExecuteStatement or BatchExecuteStatement started."""

    id: str
    owner: str
    """The caller's `aws:userid`."""
    principal: str
    """The user or role behind the caller."""
    database: str
    workgroup: str
    user: str
    created: float
    request: Document
    parts: list[Part]
    is_batch: bool
    name: str = ""
    secret: str | None = None
    status: str = "SUBMITTED"
    error: str | None = None
    updated: float = 0.0
    session_id: str | None = None
    result_format: str = "JSON"
    cancelled: bool = False
    session: Session | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def parameters(self) -> dict[str, str]:
        """The named parameters."""
        return {item["name"]: item["value"] for item in self.request.get("Parameters", ())}

    def part(self, identifier: str) -> Part | None:
        """The part with this id; the statement's own id is its only or its last part."""
        if identifier == self.id:
            return self.parts[-1]
        return next((part for part in self.parts if part.id == identifier), None)

    def cancel(self) -> None:
        """Make it end where it runs or as soon as it does."""
        self.cancelled = True
        if session := self.session:
            session.cancel()

    def describe(self, part: Part, identifier: str) -> Document:
        """The answer of DescribeStatement for an id, which is the statement's or the part's."""
        answer = {
            **part.describe(),
            "Database": self.database,
            "DbUser": self.user,
            "QueryParameters": self.request.get("Parameters"),
            "RedshiftPid": 0,
            "ResultFormat": self.result_format,
            "SecretArn": self.secret,
            "SessionId": self.session_id,
            "WorkgroupName": self.workgroup,
        }
        if self.is_batch and identifier == self.id:
            parts = [item.describe() for item in self.parts]
            answer |= {
                "Id": self.id,
                "Duration": sum(item["Duration"] for item in parts),
                "HasResultSet": any(item.has_result for item in self.parts),
                "QueryString": None,
                "SubStatements": parts,
            }
        if identifier == self.id:
            answer |= {
                "Error": self.error,
                "Status": self.status,
                "UpdatedAt": self.updated or self.created,
            }
        return answer

    def listed(self) -> Document:
        """The statement as ListStatements has it."""
        return {
            "Id": self.id,
            "CreatedAt": self.created,
            "UpdatedAt": self.updated or self.created,
            "IsBatchStatement": self.is_batch,
            "QueryString": None if self.is_batch else self.parts[0].sql,
            "QueryStrings": [part.sql for part in self.parts] if self.is_batch else None,
            "QueryParameters": self.request.get("Parameters"),
            "ResultFormat": self.result_format,
            "SecretArn": self.secret,
            "SessionId": self.session_id,
            "StatementName": self.name or None,
            "Status": self.status,
        }

    def started(self) -> Document:
        """The answer of the call that started it."""
        return {
            "Id": self.id,
            "CreatedAt": self.created,
            "Database": self.database,
            "DbUser": self.user,
            "SecretArn": self.secret,
            "WorkgroupName": self.workgroup,
            "SessionId": self.session_id,
        }


def metadata(columns: Sequence[tuple[str, str]]) -> list[Document]:
    """ColumnMetadata from names and DuckDB's types."""
    return [_column(name, kind) for name, kind in columns]


def _column(name: str, kind: str) -> Document:
    short, precision = RESULT_TYPES.get(kind, ("varchar", 65535))
    scale = 0
    if kind.startswith("DECIMAL("):
        short = "numeric"
        precision, scale = (int(part) for part in kind[8:-1].split(","))
    signed = short in ("int2", "int4", "int8", "float4", "float8", "numeric")
    return {
        "isCaseSensitive": short == "varchar",
        "isCurrency": False,
        "isSigned": signed,
        "label": name,
        "length": 0,
        "name": name,
        "nullable": 1,
        "precision": precision,
        "scale": scale,
        "schemaName": "",
        "tableName": "",
        "typeName": short,
    }


def records(rows: Iterable[tuple[Any, ...]]) -> list[list[Document]]:
    """The rows as the API's typed fields."""
    return [[_field(value) for value in row] for row in rows]


def _field(value: Any) -> Document:
    if value is None:
        return {"isNull": True}
    if isinstance(value, bool):
        return {"booleanValue": value}
    if isinstance(value, int):
        # 128 bits are Redshift's numeric(38,0), which travels as text like any numeric.
        return {"longValue": value}
    if isinstance(value, float) and math.isfinite(value):
        return {"doubleValue": value}
    if isinstance(value, bytes):
        return {"blobValue": value}
    return {"stringValue": text(value)}


def text(value: Any) -> str:
    """A value as Redshift writes it."""
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


def as_csv(outcome: Outcome, rows: Iterable[tuple[Any, ...]], *, header: bool) -> str:
    """The rows as CSV, for results that were asked for in this format."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if header:
        writer.writerow([name for name, _ in outcome.columns or ()])
    writer.writerows(["" if value is None else text(value) for value in row] for row in rows)
    return buffer.getvalue()


def size(rows: Iterable[tuple[Any, ...]]) -> int:
    """The size of a result in bytes, about as the API counts it."""
    return sum(len(value) if isinstance(value, str) else 8 for row in rows for value in row)
