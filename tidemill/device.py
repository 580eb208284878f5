"""Rows that a device writes to the stream itself: CSV lines in column order, or JSON lines.

A JSON line is an object with every column of the model; `null` and an empty text are NULL. A
producer that may send the same event twice adds its own `event_id`, which makes the row's id.
Of one record the first `csv_scan.MAX_LINES` lines are taken and the rest are rejected: what
Firehose takes back of a record has a bound.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Never

from tidemill import csv_scan
from tidemill.row_check import BadFieldError, BadRow, Checked, RowFormat, all_bad, csv_line, shown

EVENT_ID = "event_id"
TOO_MANY = f"a record may hold {csv_scan.MAX_LINES} lines: send the rest in other records"


def check(
    data: bytes, row_format: RowFormat, columns: Sequence[str]
) -> tuple[Checked, dict[int, str]]:
    """Check a record, whose last row ends in a line feed too.

    Returns the rows, and of those good rows (by index) that name their event its id.
    """
    is_json = data.lstrip().startswith(b"{")
    end = _end_of_lines(data) if is_json else _end_of_rows(data)
    if is_json:
        checked, events = _check_json(data[:end], row_format, columns)
    else:
        checked, events = row_format.check(data[:end]), {}
    if end < len(data):
        checked.bad += all_bad(data[end:], TOO_MANY, data.count(b"\n", 0, end)).bad
    return checked, events


def _end_of_rows(data: bytes) -> int:
    return next(csv_scan.pieces(data, 0, len(data), final=True)).end


def _end_of_lines(data: bytes) -> int:
    if data.count(b"\n") <= csv_scan.MAX_LINES:
        return len(data)
    return len(data) - len(data.split(b"\n", csv_scan.MAX_LINES)[-1])


def _check_json(
    data: bytes, row_format: RowFormat, columns: Sequence[str]
) -> tuple[Checked, dict[int, str]]:
    checked = Checked()
    events: dict[int, str] = {}
    position = 0
    for number, line in enumerate(data.split(b"\n")[:-1]):
        if line.strip():
            try:
                document = _document(line)
                event_id = None if EVENT_ID in columns else document.pop(EVENT_ID, None)
                values = row_format.values(_texts(document, columns))
            except BadFieldError as error:
                checked.bad.append(BadRow(number, error.reason, error.column, shown(line)))
            else:
                if event_id is not None:
                    events[len(checked.lines)] = str(event_id)
                checked.offsets.append(position)
                checked.lines.append(csv_line(values))
        position += len(line) + 1
    return checked, events


def _document(line: bytes) -> dict[str, Any]:
    try:
        # Numbers keep the text they came in: it is what COPY will read.
        document = json.loads(
            line.decode(), parse_float=str, parse_int=str, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise BadFieldError("the row is not a JSON object") from None
    if not isinstance(document, dict):
        raise BadFieldError("the row is not a JSON object")
    return document


def _no_constant(name: str) -> Never:
    raise ValueError(name)


def _texts(document: dict[str, Any], columns: Sequence[str]) -> list[str]:
    unknown = sorted(document.keys() - set(columns))
    if unknown:
        raise BadFieldError(f"the row has an unknown column {unknown[0][:40]!r}")
    return [_text(document, column) for column in columns]


def _text(document: dict[str, Any], column: str) -> str:
    if column not in document:
        raise BadFieldError(f"the row lacks {column}", column)
    value = document[column]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise BadFieldError(f"{column} is neither a text, a number, a boolean nor null", column)
    return value
