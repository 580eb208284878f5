"""What a request's body holds: rows of features, checked and encoded.

JSON is one object of the features, or `{"rows": [...]}` of them; JSON lines is an object a line;
CSV has the features in the model's order, without a header, an empty field for null. Every error
names the row, where there are several, and the field.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple, NoReturn

from containers.features import NAN, Feature

JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
CSV: Final = "text/csv"
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_WHOLE_BITS: Final = {"SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?", re.ASCII)
_TRUTHS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


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
        self._from_json = [(f.name, _encoder(f, _JSON_VALUES[f.kind])) for f in features]
        self._from_text = [(f.name, _encoder(f, _TEXT_VALUES[f.kind])) for f in features]
        self._empty = [f.kind == "VARCHAR" for f in features]

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
            stranger = next(name for name in row if name not in self._known)
            self._fail("unknown_field", place, stranger, f"is not one of {', '.join(self._names)}")
        return numbers

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
    bits = _WHOLE_BITS.get(feature.kind)
    if bits is None:
        return lambda value: encode(value_of(value))
    limit = 2 ** (bits - 1)

    def whole(value: Any) -> float:
        number = value_of(value)
        if not -limit <= number < limit:
            raise ValueError(f"is out of the range of {feature.kind}")
        return encode(number)

    return whole


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


def _whole(value: Any) -> int:
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def _day(value: Any) -> date:
    if type(value) is str and _DAY.fullmatch(value):
        return date.fromisoformat(value)
    raise ValueError("must be a date like 2026-01-31")


def _moment(value: Any) -> datetime:
    if type(value) is str and _MOMENT.fullmatch(value):
        return datetime.fromisoformat(value)
    raise ValueError("must be a time without zone like 2026-01-31 23:59:59")


def _number_text(text: str) -> float:
    # float() takes more than the warehouse does: underscores, padding, infinity.
    if not _NUMBER.fullmatch(text):
        raise ValueError("must be a number")
    return _number(float(text))


def _whole_text(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("must be a whole number")
    return int(text)


def _truth_text(text: str) -> bool:
    truth = _TRUTHS.get(text.lower())
    if truth is None:
        raise ValueError("must be true or false")
    return truth


_JSON_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "VARCHAR": _text,
    "SMALLINT": _whole,
    "INTEGER": _whole,
    "BIGINT": _whole,
    "REAL": _number,
    "FLOAT": _number,
    "BOOLEAN": _truth,
    "DATE": _day,
    "TIMESTAMP": _moment,
}
_TEXT_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    **_JSON_VALUES,
    "SMALLINT": _whole_text,
    "INTEGER": _whole_text,
    "BIGINT": _whole_text,
    "REAL": _number_text,
    "FLOAT": _number_text,
    "BOOLEAN": _truth_text,
}
