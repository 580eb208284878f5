"""Rows that cannot be loaded, as they are kept in the lake for a person to mend and send again.

One object for each record that has bad rows, one JSON document a line: reason, column (or null),
source, version_id, line and row (the text, cut). An object's name is made from the record, so that
a retry overwrites, and ends in the number of its rows, so that a listing counts them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

PREFIX = "rejected"
UNKNOWN_MODEL = "_unknown"
DEVICE = "device"


@dataclass(frozen=True)
class RejectedRow:
    """A row, why it cannot be loaded, and the physical line (the first is 1) it began at."""

    reason: str
    line: int
    row: str
    column: str | None = None


@dataclass(frozen=True)
class Rejection:
    """An object of the lake: its key, its bytes and how many rows it rejects."""

    key: str
    body: bytes
    rows: int


@dataclass(frozen=True)
class Place:
    """Where bad rows come from: `name` is that of the record within its source, `source` what a
    person looks for, `version_id` None for a device."""

    model: str
    source_id: str
    name: str
    source: str
    version_id: str | None


def of_rows(place: Place, rows: Sequence[RejectedRow]) -> Rejection:
    """Return the object for a record's bad rows."""
    body = b"".join(_line(place, row) for row in rows)
    return Rejection(_key(place, len(rows)), body, len(rows))


def of_file(place: Place, reason: str) -> Rejection:
    """Return the object for a file that is refused as a whole, and so for none of its rows."""
    return Rejection(_key(place, 0), _line(place, RejectedRow(reason, 1, "")), 0)


def _key(place: Place, rows: int) -> str:
    return f"{PREFIX}/{place.model}/{place.source_id}/{place.name}-{rows}.jsonl"


def at_offset(offset: int) -> str:
    """Return how a record of a file is named: by the byte at which its rows begin."""
    return f"{offset:016d}"


def _line(place: Place, row: RejectedRow) -> bytes:
    document = {
        "reason": row.reason,
        "column": row.column,
        "source": place.source,
        "version_id": place.version_id,
        "line": row.line,
        "row": row.row,
    }
    # Escaped, for a lone surrogate that a device may send cannot be written as UTF-8.
    return json.dumps(document).encode() + b"\n"
