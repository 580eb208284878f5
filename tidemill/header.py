"""Reads the header of an uploaded file, and refuses what is no CSV of the model."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass

from tidemill import csv_scan
from tidemill.errors import TidemillError
from tidemill.model import Model

LONGEST_HEADER = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_FORMATS = {
    b"\x1f\x8b": "is compressed by gzip; upload the CSV itself",
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet; save it as CSV",
    b"PAR1": "is a Parquet file; write it as CSV",
    b"BZh": "is compressed by bzip2; upload the CSV itself",
    b"\x28\xb5\x2f\xfd": "is compressed by Zstandard; upload the CSV itself",
    b"\xff\xfe": "is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
}


class FileRefusedError(TidemillError):
    """A file is refused as a whole; the text says why, to follow "the file"."""


@dataclass(frozen=True)
class Header:
    """The columns in the order of the file, and where the rows begin: byte and line."""

    columns: tuple[str, ...]
    offset: int
    line: int


def read_header(beginning: bytes, final: bool, model: Model) -> Header:
    """Read the header from a file's beginning; `final` says that it is the whole file.

    Columns may come in any order; case and blanks around the names do not count.
    Raises `FileRefusedError`.
    """
    for magic, text in _OTHER_FORMATS.items():
        if beginning.startswith(magic):
            raise FileRefusedError(text)
    start = len(_BYTE_ORDER_MARK) if beginning.startswith(_BYTE_ORDER_MARK) else 0
    if not beginning[start:].strip():
        raise FileRefusedError("is empty")
    if final and not beginning.endswith(b"\n"):
        beginning += b"\n"
    end = csv_scan.row_end(beginning, start, LONGEST_HEADER, final)
    if end <= start:
        raise FileRefusedError(f"has no header line within its first {LONGEST_HEADER // 1024} KiB")
    names = _names(beginning[start:end])
    _check(names, model)
    return Header(names, end, 1 + beginning.count(b"\n", start, end))


def _names(row: bytes) -> tuple[str, ...]:
    if b"\0" in row:
        raise FileRefusedError("is not a CSV: its header holds NUL bytes")
    try:
        text = row.decode()
    except UnicodeDecodeError:
        raise FileRefusedError("is not a CSV: its header is not UTF-8 text") from None
    if "\r" in text.removesuffix("\n").removesuffix("\r"):
        raise FileRefusedError("ends its lines by carriage returns alone; save it with line feeds")
    if not csv_scan.is_well_formed(row):
        raise FileRefusedError("is not a CSV: the quotes in its header are not closed")
    return tuple(name.strip().lower() for name in next(csv.reader([text], strict=True)))


def _check(names: tuple[str, ...], model: Model) -> None:
    expected = [column.name for column in model.columns]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    problems = [
        ("names a column twice", twice),
        ("lacks", [name for name in expected if name not in names]),
        ("has an unknown column", [name for name in names if name not in expected]),
    ]
    told = [f"{problem}: {', '.join(map(_cut, found))}" for problem, found in problems if found]
    if told:
        raise FileRefusedError(
            f"has a header that {'; '.join(told)} ({model.name} has: {', '.join(expected)})"
        )


def _cut(name: str) -> str:
    return repr(name) if len(name) <= 40 else repr(name[:40]) + "…"
