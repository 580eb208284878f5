"""Where the rows of a CSV begin and end, found without an object for each row.

A row ends at a line feed outside quotes. A field is quoted only where the quote is its first
byte (RFC 4180), and everything between must be well formed; where it is not, or where the quote
is not closed within a row's greatest length, the physical line alone is the row, so that a stray
quote costs one row and not the rest of the file. The parser is exact on bytes, and what a row is
depends on nothing behind its end: a whole file, a range of it and a record of it agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)'
_ROW = re.compile(rb"%b(?:,%b)*+\r?\n" % (_FIELD, _FIELD))

MAX_LINES = 10_000
"""Lines of one piece at most: each row grows by two ids on its way, and Firehose takes 6 MB."""


@dataclass(frozen=True)
class Piece:
    """Whole rows, `data[start:end]`: how many, and how many physical lines they take.

    A piece that is `too_long` is one row longer than a record's room; its end may lie behind
    the data, and then the rest of it is to be skipped.
    """

    start: int
    end: int
    rows: int
    lines: int
    too_long: bool = False


def row_end(data: bytes, start: int, room: int, final: bool) -> int:
    """Return where the row that begins at `start` ends, behind its line feed.

    `room` is the greatest length of a row in bytes; `final` says that nothing follows the data,
    which then ends in a line feed. Returns -1 where more data is needed to tell, and `start`
    where the row is longer than `room`.
    """
    decisive = final or len(data) - start > room
    match = _ROW.match(data, start, start + room)
    if match:
        return match.end()
    if not decisive:
        # A line without quotes needs no more than its line feed.
        end = data.find(b"\n", start)
        plain = end >= 0 and data.find(b'"', start, end) < 0
        return end + 1 if plain else -1
    end = data.find(b"\n", start, start + room)
    return end + 1 if end >= 0 else start


def is_well_formed(row: bytes) -> bool:
    """Whether a row, with its line feed, is a well-formed row of CSV."""
    return _ROW.fullmatch(row) is not None


def pieces(data: bytes, start: int, room: int, final: bool) -> Iterator[Piece]:
    """Cut `data[start:]` into pieces of at most `room` bytes and `MAX_LINES` lines.

    Blank lines belong to a piece but are not counted as rows. Where the data is not `final` the
    last row may be left over: the next range is read from the last piece's end on.
    """
    while start < len(data):
        piece = _piece(data, start, room, final)
        if piece is None:
            return
        yield piece
        start = piece.end


def _piece(data: bytes, start: int, room: int, final: bool) -> Piece | None:
    end, rows, lines = start, 0, 0
    limit = min(start + room, len(data))
    while lines < MAX_LINES and end < limit:
        quote = data.find(b'"', end, limit)
        plain = data.rfind(b"\n", end, limit if quote < 0 else quote) + 1
        if plain > end:
            region = _first_lines(data[end:plain], MAX_LINES - lines)
            found = region.count(b"\n")
            rows += found - _blank_lines(region)
            lines += found
            end += len(region)
            continue
        after = row_end(data, end, room, final)
        if after == end:
            return _too_long(data, start, room) if end == start else Piece(start, end, rows, lines)
        if after < 0 or after > start + room:
            break
        inside = data.count(b"\n", end, after)
        rows += data[end:after] not in (b"\n", b"\r\n")
        lines += inside
        end = after
    return Piece(start, end, rows, lines) if end > start else None


def _too_long(data: bytes, start: int, room: int) -> Piece:
    end = data.find(b"\n", start + room) + 1
    return Piece(start, end or len(data) + 1, 1, 1, too_long=True)


def _first_lines(region: bytes, most: int) -> bytes:
    if len(region) < most or region.count(b"\n") <= most:
        return region
    return region[: len(region) - len(region.split(b"\n", most)[-1])]


def _blank_lines(region: bytes) -> int:
    """How many lines of a region without quotes hold nothing."""
    if b"\n\n" in region or b"\n\r\n" in region or region.startswith((b"\n", b"\r\n")):
        return sum(line in (b"", b"\r") for line in region.split(b"\n")[:-1])
    return 0
