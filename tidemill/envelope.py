"""A record of the stream that carries rows of an uploaded file.

The first line is a JSON envelope that says where the rows come from, the rest are whole rows as
they stood in the file, each ending in a line feed. A record is at most 256 KiB.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

RECORD_BYTES = 256 * 1024
ROWS_BYTES = 250_000
"""Bytes of rows that a record is packed to, and so the length of the longest row."""

_BEGINNING = b'{"tidemill":1,'
_LARGEST = 10**16


@dataclass(frozen=True)
class Source:
    """One version of an uploaded object, and the model that its rows are for."""

    model: str
    bucket: str
    key: str
    version_id: str

    @property
    def uri(self) -> str:
        """The object as people write it."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Envelope:
    """Where a record's rows come from.

    `offset` is the byte and `line` the physical line (the first is 1) of the file at which the
    rows begin; `columns` are the names of the columns in the order of the file.
    """

    source: Source
    offset: int
    line: int
    columns: tuple[str, ...]

    def encode(self) -> bytes:
        """Return the record's first line."""
        rest = json.dumps(
            {
                **asdict(self.source),
                "offset": self.offset,
                "line": self.line,
                "columns": self.columns,
            },
            separators=(",", ":"),
        )
        return _BEGINNING + rest[1:].encode() + b"\n"


def rows_room(source: Source, columns: tuple[str, ...]) -> int:
    """Return how many bytes of rows every record of a file has room for."""
    longest = len(Envelope(source, _LARGEST, _LARGEST, columns).encode())
    return min(ROWS_BYTES, RECORD_BYTES - longest)


def is_enveloped(record: bytes) -> bool:
    """Whether a record begins with an envelope; others come from devices."""
    return record.startswith(_BEGINNING)


def decode(record: bytes) -> tuple[Envelope, bytes]:
    """Take a record apart into its envelope and its rows.

    Raises `ValueError` where the envelope is damaged.
    """
    first, separator, rows = record.partition(b"\n")
    if not separator:
        raise ValueError("the envelope has no end")
    document: dict[str, Any] = json.loads(first)
    try:
        source = Source(*(str(document[k]) for k in ("model", "bucket", "key", "version_id")))
        columns = tuple(str(name) for name in document["columns"])
        return Envelope(source, int(document["offset"]), int(document["line"]), columns), rows
    except (KeyError, TypeError) as error:
        raise ValueError(f"the envelope lacks {error}") from error
