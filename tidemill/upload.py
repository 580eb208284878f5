"""Reads an uploaded CSV range by range and packs its rows into records of the stream.

A position is everything that the next step needs: a step begins at the first byte of a row (or
within a row that is being skipped for its length), so that no quote and no half of a row has to
be carried over, and reads `RANGE_BYTES` from there. The same position always makes the same
records: a step that is done twice does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tidemill import csv_scan, rejection
from tidemill.envelope import Envelope, Source, rows_room
from tidemill.header import read_header
from tidemill.model import Model
from tidemill.rejection import RejectedRow, Rejection
from tidemill.row_check import shown
from tidemill.row_ids import source_id

RANGE_BYTES = 2 * 1024 * 1024
"""Bytes that a step reads: a worker holds them several times over, as rows, base64 and JSON."""
UPLOADS_PREFIX = "stream-input-data/"

_MESSAGE = "tidemill_chain"


def model_of(key: str) -> str:
    """Return the name of the model that an object's key says its rows are for, or ""."""
    name, separator, _ = key.removeprefix(UPLOADS_PREFIX).partition("/")
    return name if separator and key.startswith(UPLOADS_PREFIX) else ""


@dataclass(frozen=True)
class Position:
    """How far a file is read: `offset` bytes, of which the first `line - 1` physical lines and
    `rows` data rows. `columns` is empty before the header; `skipping` says that `offset` lies
    within a row that is too long."""

    source: Source
    size: int
    offset: int = 0
    line: int = 1
    rows: int = 0
    columns: tuple[str, ...] = ()
    skipping: bool = False

    @property
    def done(self) -> bool:
        """Whether the whole file is read."""
        return self.offset >= self.size

    @property
    def id(self) -> str:
        """The id of the uploaded object's version."""
        return source_id(self.source.bucket, self.source.key, self.source.version_id)

    def to_message(self) -> dict[str, Any]:
        """Return the position as a message that `from_message` reads back."""
        return {_MESSAGE: 1, **asdict(self)}

    @staticmethod
    def is_message(document: Mapping[str, Any]) -> bool:
        """Whether a document is a position's message."""
        return document.get(_MESSAGE) == 1

    @classmethod
    def from_message(cls, document: Mapping[str, Any]) -> Position:
        """Read what `to_message` wrote."""
        rest = {name: value for name, value in document.items() if name != _MESSAGE}
        source = Source(**rest.pop("source"))
        return cls(source, columns=tuple(rest.pop("columns")), **rest)


@dataclass(frozen=True)
class Record:
    """A record to put into the stream."""

    data: bytes
    partition_key: str


@dataclass(frozen=True)
class Step:
    """What one range of a file holds: records, rows that are too long for one, and what is next."""

    records: list[Record]
    rejections: list[Rejection]
    next: Position


def advance(position: Position, data: bytes, model: Model) -> Step:
    """Pack the rows of `data`, the file's bytes from the position on: `RANGE_BYTES`, or the rest.

    Raises `FileRefusedError` where the file cannot be a CSV of the model.
    """
    final = position.offset + len(data) >= position.size
    start = 0
    if not position.columns:
        header = read_header(data, final, model)
        start = header.offset
        position = replace(position, columns=header.columns, line=header.line)
    if final and not data.endswith(b"\n"):
        data += b"\n"
    if position.skipping:
        start = data.find(b"\n") + 1
        if not start:
            return Step([], [], replace(position, offset=position.offset + len(data)))
        position = replace(position, line=position.line + 1, skipping=False)
    return _pack(position, data, start, final)


def _pack(position: Position, data: bytes, start: int, final: bool) -> Step:
    source, base = position.source, position.offset
    records: list[Record] = []
    rejections: list[Rejection] = []
    line, rows, skipping = position.line, position.rows, False
    for piece in csv_scan.pieces(data, start, rows_room(source, position.columns), final):
        if piece.too_long:
            text = shown(data[piece.start : piece.end])
            rejections.append(_too_long(position, base + piece.start, line, text))
            skipping = piece.end > len(data)
        elif piece.rows:
            envelope = Envelope(source, base + piece.start, line, position.columns)
            records.append(
                Record(
                    envelope.encode() + data[piece.start : piece.end],
                    f"{source.model}/{position.id}/{base + piece.start}",
                )
            )
        start = min(piece.end, len(data))
        line += 0 if skipping else piece.lines
        rows += piece.rows
    # A line feed may have been added to the file's end.
    offset = position.size if final else base + start
    following = replace(position, offset=offset, line=line, rows=rows, skipping=skipping)
    return Step(records, rejections, following)


def _too_long(position: Position, offset: int, line: int, text: str) -> Rejection:
    source = position.source
    room = rows_room(source, position.columns)
    reason = f"the row is longer than the {room} bytes that a record has room for"
    place = rejection.Place(
        source.model, position.id, rejection.at_offset(offset), source.uri, source.version_id
    )
    return rejection.of_rows(place, [RejectedRow(reason, line, text)])
