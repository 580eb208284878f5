"""What a request's body holds: rows of features, checked and encoded.

JSON is one object of the features, or `{"rows": [...]}` of them; JSON lines is an object a line;
CSV has the features in the model's order, without a header, an empty field for null, and fields
as an upload has them. Every error names the row, where there are several, and the field.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final, NamedTuple, NoReturn

from containers.features import NAN, Feature
from tidemill.model import ColumnType
from tidemill.values import BadValueError, clean

JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
CSV: Final = "text/csv"
_WHOLE_BITS: Final = {"SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})


class RequestError(Exception):
    """A body that cannot be predicted for; `code` is for machines, `field` the one at fault."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class Rows(NamedTuple):
    """Encoded rows; `single` says that one object was sent, and one answer is wanted."""

    numbers: list[list[float]]
    single: bool


class RowReader:
    """Reads bodies for one version's features."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self._names = tuple(feature.name for feature in features)
        self._known = frozenset(self._names)
        self._from_json = [(f.name, _encoder(f, _FROM_JSON[f.kind])) for f in features]
        self._from_text = [(f.name, _encoder(f, _FROM_TEXT[f.kind])) for f in features]

    def json(self, body: bytes) -> Rows:
        """Read application/json; raises RequestError."""
        document = _parse(body)
        if type(document) is not dict:
            raise RequestError("invalid_body", "the body must be a JSON object")
        rows = document.get("rows")
        if type(rows) is list and len(document) == 1:
            if not rows:
                raise RequestError("invalid_body", "rows is empty", "rows")
            return Rows([self._object(row, place) for place, row in enumerate(rows, 1)], False)
        return Rows([self._object(document, 0)], True)

    def json_lines(self, body: bytes) -> Rows:
        """Read application/jsonlines; empty lines are none. Raises RequestError."""
        numbers: list[list[float]] = []
        for place, line in enumerate(body.split(b"\n"), 1):
            if line.strip():
                numbers.append(self._object(_parse(line, place), place))
        return _some(numbers)

    def csv(self, body: bytes) -> Rows:
        """Read text/csv; raises RequestError."""
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RequestError("invalid_body", f"the body is not UTF-8: {error}") from error
        numbers: list[list[float]] = []
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            for fields in reader:
                if fields:
                    numbers.append(self._fields(fields, len(numbers) + 1))
        except csv.Error as error:
            place = len(numbers) + 1
            raise RequestError("invalid_body", f"row {place} is not CSV: {error}") from error
        return _some(numbers)

    def _object(self, row: Any, place: int) -> list[float]:
        if type(row) is not dict:
            raise RequestError("invalid_body", f"row {place} is not a JSON object")
        numbers = []
        for name, encode in self._from_json:
            try:
                value = row[name]
            except KeyError:
                self._fail("missing_field", place, name, "is missing; it may be null")
            try:
                numbers.append(NAN if value is None else encode(value))
            except ValueError as error:
                self._fail("invalid_field", place, name, str(error))
        if len(row) != len(numbers):
            self._check_strangers(row, place)
        return numbers

    def _check_strangers(self, row: dict[str, Any], place: int) -> None:
        """Refuse a field that is no feature, unless it is null.

        A column that the model file gained is in requests before a version has learnt it: while
        it is null, it says nothing that could be lost.
        """
        stranger = next((n for n, v in row.items() if v is not None and n not in self._known), None)
        if stranger is not None:
            self._fail("unknown_field", place, stranger, f"is not one of {', '.join(self._names)}")

    def _fields(self, fields: list[str], place: int) -> list[float]:
        if len(fields) != len(self._from_text):
            raise RequestError(
                "invalid_body",
                f"row {place} has {len(fields)} fields, not the {len(self._from_text)} of "
                + ", ".join(self._names),
            )
        numbers = []
        for (name, encode), text in zip(self._from_text, fields, strict=True):
            try:
                numbers.append(encode(text) if text else NAN)
            except ValueError as error:
                self._fail("invalid_field", place, name, str(error))
        return numbers

    @staticmethod
    def _fail(code: str, place: int, name: str, problem: str) -> NoReturn:
        row = f"row {place}: " if place else ""
        # A stranger's name can be as long as the body.
        raise RequestError(code, f"{row}{name[:100]} {problem}", name[:100]) from None


def _some(numbers: list[list[float]]) -> Rows:
    if not numbers:
        raise RequestError("invalid_body", "the body has no rows")
    return Rows(numbers, False)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# NaN and Infinity are Python's addition to JSON.
_DECODER: Final = json.JSONDecoder(parse_constant=_constant)


def _parse(body: bytes, place: int = 0) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        where = f"row {place}" if place else "the body"
        raise RequestError("invalid_body", f"{where} is not JSON: {error}") from error


def _encoder(feature: Feature, value_of: Callable[[Any], Any]) -> Callable[[Any], float]:
    encode = feature.encoder()
    return lambda value: encode(value_of(value))


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("must be text")
    return value


def _number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise ValueError("must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("is too large a number")
    return number


def _whole(kind: str) -> Callable[[Any], int]:
    limit = 2 ** (_WHOLE_BITS[kind] - 1)

    def read(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise ValueError("must be a whole number")
        if not -limit <= value < limit:
            raise ValueError(f"is out of the range of {kind}")
        return value

    return read


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def _of_text(kind: str, value_of: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Read text by the rules of an uploaded field, so that what could be trained on is served."""
    column_type = ColumnType(kind)

    def read(value: Any) -> Any:
        try:
            return value_of(clean(_text(value), column_type))
        except BadValueError as error:
            raise ValueError(str(error)) from None

    return read


_day: Final = _of_text("DATE", date.fromisoformat)
_time: Final = _of_text("TIMESTAMP", datetime.fromisoformat)


def _moment(value: Any) -> datetime:
    # Requests may name a day alone for its midnight.
    if type(value) is str and len(value) == len("2026-01-31"):
        return datetime.combine(_day(value), time())
    moment: datetime = _time(value)
    return moment


_FROM_TEXT: Final[Mapping[str, Callable[[Any], Any]]] = {
    "VARCHAR": _text,
    "SMALLINT": _of_text("SMALLINT", int),
    "INTEGER": _of_text("INTEGER", int),
    "BIGINT": _of_text("BIGINT", int),
    "REAL": _of_text("REAL", float),
    "FLOAT": _of_text("FLOAT", float),
    "BOOLEAN": _of_text("BOOLEAN", lambda text: text.lower() in _TRUE),
    "DATE": _day,
    "TIMESTAMP": _moment,
}
_FROM_JSON: Final[Mapping[str, Callable[[Any], Any]]] = {
    **_FROM_TEXT,
    "SMALLINT": _whole("SMALLINT"),
    "INTEGER": _whole("INTEGER"),
    "BIGINT": _whole("BIGINT"),
    "REAL": _number,
    "FLOAT": _number,
    "BOOLEAN": _truth,
}
