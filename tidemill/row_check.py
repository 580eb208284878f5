"""Checks the CSV rows of a record against a model, at the speed of one regular expression.

Runs of good rows are found by a pattern made from the model's column types and pass as they
are. Where the pattern stops, one row is taken apart field by field: it may still be good (an
escaped quote, an unusual number), or it is rejected with the reason.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from tidemill import csv_scan, values
from tidemill.model import Column, Model

LONGEST_ROW_SHOWN = 1000
_NEEDS_QUOTES = re.compile(r'[",\r\n]')

csv.field_size_limit(1 << 24)  # Rows come in records, which have a bound of their own.


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be loaded: why, and what it was."""

    line: int
    """Physical lines from the beginning of the record's rows, the first is 0."""
    reason: str
    column: str | None
    text: str
    """The row as it was, cut."""


class BadFieldError(Exception):
    """A row is bad; `column` is None where the row as a whole is."""

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column


@dataclass
class Checked:
    """The rows of a record: good ones as CSV lines in the model's order, with the bytes at which
    they begin in their origin."""

    lines: list[bytes] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    bad: list[BadRow] = field(default_factory=list)


class RowFormat:
    """The form of a model's rows where the columns come in the order of `names`.

    Raises `ValueError` where the names are not exactly the model's columns.
    """

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        by_name = {column.name: column for column in model.columns}
        if sorted(names) != sorted(by_name):
            raise ValueError(f"{', '.join(names)} are not the columns of {model.name}")
        self._columns: list[Column] = [by_name[name] for name in names]
        places = [list(names).index(column.name) for column in model.columns]
        self._places = None if places == sorted(places) else places

    def check(self, data: bytes, first: int = 0) -> Checked:
        """Check rows of CSV, the last of which ends in a line feed too. Blank lines are nothing.

        `first` is the byte of their origin at which the data begins.
        """
        checked = Checked()
        match_run = self._pattern(data).match
        position = 0
        while position < len(data):
            run = match_run(data, position)
            end = run.end() if run else position
            if end > position:
                self._take(data[position:end], first + position, checked)
            if end < len(data):
                position = end
                end = csv_scan.row_end(data, position, len(data) - position, final=True)
                self._take_apart(data, position, end, first, checked)
            position = end
        return checked

    def values(self, texts: Sequence[str]) -> list[str]:
        """Return the fields of one row, cleaned, in the model's order; raise `BadFieldError`."""
        if len(texts) != len(self._columns):
            raise BadFieldError(f"the row has {len(texts)} fields instead of {len(self._columns)}")
        cleaned = []
        for column, text in zip(self._columns, texts, strict=True):
            try:
                cleaned.append(values.clean(text, column.type))
            except values.BadValueError as error:
                raise BadFieldError(f"{column.name} {error}", column.name) from None
        return cleaned if self._places is None else [cleaned[place] for place in self._places]

    def _pattern(self, data: bytes) -> re.Pattern[bytes]:
        """Return the fastest pattern that knows what there is in the data."""
        plain = b'"' not in data and b"\r" not in data
        if data.isascii():
            return self._plain if plain else self._quoted
        try:
            data.decode()
        except UnicodeDecodeError:
            return self._ascii_only
        return self._plain if plain else self._quoted

    @cached_property
    def _plain(self) -> re.Pattern[bytes]:
        return self._compile(ascii_only=False, quoted=False)

    @cached_property
    def _quoted(self) -> re.Pattern[bytes]:
        return self._compile(ascii_only=False, quoted=True)

    @cached_property
    def _ascii_only(self) -> re.Pattern[bytes]:
        return self._compile(ascii_only=True, quoted=True)

    def _compile(self, *, ascii_only: bool, quoted: bool) -> re.Pattern[bytes]:
        fields = [
            values.fast(column.type, ascii_only=ascii_only, quoted=quoted)
            for column in self._columns
        ]
        # With one column an empty field is a blank line, and that is no row.
        not_blank = rb"(?!\r?\n)" if len(fields) == 1 else b""
        end = rb"\r?+\n" if quoted else rb"\n"
        return re.compile(rb"(?:%b%b%b)*+" % (not_blank, b",".join(fields), end))

    def _take(self, run: bytes, first: int, checked: Checked) -> None:
        """Take a run of good rows, none of which has a line break within."""
        lines = run.splitlines(keepends=True)
        checked.offsets.extend(accumulate(map(len, lines[:-1]), initial=first))
        if b"\r" in run:
            lines = run.replace(b"\r\n", b"\n").splitlines(keepends=True)
        if self._places is not None:
            lines = [self._reorder(line) for line in lines]
        checked.lines += lines

    def _reorder(self, line: bytes) -> bytes:
        assert self._places is not None  # noqa: S101  # only then is it called
        text = line.decode()
        fields = text[:-1].split(",") if '"' not in text else _fields(text)
        return csv_line([fields[place] for place in self._places])

    def _take_apart(
        self, data: bytes, position: int, end: int, first: int, checked: Checked
    ) -> None:
        row = data[position:end]
        bare = row.removesuffix(b"\n").removesuffix(b"\r")
        if not bare:
            return
        try:
            line = csv_line(self.values(_fields(_text(row))))
        except BadFieldError as error:
            number = data.count(b"\n", 0, position)
            checked.bad.append(BadRow(number, error.reason, error.column, shown(bare)))
        else:
            checked.offsets.append(first + position)
            checked.lines.append(line)


def all_bad(data: bytes, reason: str, line: int = 0) -> Checked:
    """Return the rows of a record, or of its rest from a line on, all bad for the same reason."""
    checked = Checked()
    position = 0
    while position < len(data):
        end = csv_scan.row_end(data, position, len(data) - position, final=True)
        bare = data[position:end].removesuffix(b"\n").removesuffix(b"\r")
        if bare:
            checked.bad.append(BadRow(line, reason, None, shown(bare)))
        line += data.count(b"\n", position, end)
        position = end
    return checked


def shown(row: bytes) -> str:
    """Return a row's text for a person to read, cut, with what is no text escaped."""
    text = row[:LONGEST_ROW_SHOWN].decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return text if len(row) <= LONGEST_ROW_SHOWN else text + "…"


def csv_line(fields: Sequence[str]) -> bytes:
    """Return fields as one line of CSV, in quotes only where they must be."""
    return (",".join(map(_quoted, fields)) + "\n").encode()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def _text(row: bytes) -> str:
    if b"\0" in row:
        raise BadFieldError("the row holds a NUL byte")
    try:
        return row.decode()
    except UnicodeDecodeError:
        raise BadFieldError("the row is not UTF-8 text") from None


def _fields(line: str) -> list[str]:
    """Split a row that ends in a line feed."""
    if '"' not in line:
        text = line.removesuffix("\n").removesuffix("\r")
        if "\r" in text:
            raise BadFieldError("the row holds a carriage return outside quotes")
        return text.split(",")
    if not csv_scan.is_well_formed(line.encode()):
        raise BadFieldError(
            "the row has a quote inside an unquoted field, or one that is not closed"
        )
    return next(csv.reader([line], strict=True))
