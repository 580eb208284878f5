"""A prediction's request: what is wrong with it, in words that name each feature at fault.

API Gateway holds requests to the schema of `request_schema.py` already, but says no more than
"Invalid request body"; these are the same rules, for whoever calls the function another way and
for what a schema cannot say.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from tidemill.errors import TidemillError
from tidemill.model import Column, Model
from tidemill.request_schema import MAX_ROWS

_NUMBERS: Final = frozenset({"REAL", "FLOAT"})
_LARGEST: Final = {"SMALLINT": 2**15 - 1, "INTEGER": 2**31 - 1, "BIGINT": 2**63 - 1}
_TIMES: Final = {
    "DATE": (re.compile(r"\d{4}-\d{2}-\d{2}"), "a date such as 2026-11-20"),
    "TIMESTAMP": (
        re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?)?"),
        "a time such as 2026-11-20 20:11:41",
    ),
}
_MOST_PROBLEMS: Final = 20


class RequestError(TidemillError):
    """A request that no version could answer; the text names each feature that is at fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def accept(model: Model, body: bytes) -> bytes:
    """Check a request, a JSON object of features or `{"rows": [such objects]}`, and return what
    to ask the endpoint: the same with null for every feature that is absent.

    A feature that is there must be null or of its column's type; there are at most 1,000 rows.
    Raises RequestError.
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise RequestError("invalid_request", "the body must be a JSON object of the features")
    several = _rows(model, document)
    if several is None:
        problems = _problems(model, document)
    else:
        problems = [
            f"row {number}: {problem}"
            for number, row in enumerate(several)
            for problem in (_problems(model, row) if isinstance(row, dict) else ["not an object"])
        ]
    if problems:
        rest = len(problems) - _MOST_PROBLEMS
        more = f"; and {rest} more" if rest > 0 else ""
        raise RequestError("invalid_features", "; ".join(problems[:_MOST_PROBLEMS]) + more)
    rows = [document] if several is None else several
    if all(len(row) == len(model.features) for row in rows):
        return body
    for row in rows:
        for feature in model.features:
            row.setdefault(feature.name, None)
    return json.dumps(document).encode()


def _rows(model: Model, document: dict[str, Any]) -> list[Any] | None:
    """Return the rows of a request for several, None for a single row."""
    if "rows" not in document or any(feature.name == "rows" for feature in model.features):
        return None
    rows = document["rows"]
    if len(document) > 1:
        raise RequestError("invalid_request", "beside rows there must be nothing else")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
        raise RequestError("invalid_request", f"rows must be a list of 1 to {MAX_ROWS} objects")
    return rows


def _problems(model: Model, row: dict[str, Any]) -> list[str]:
    if not row:
        return ["there is no feature"]
    features = {feature.name: feature for feature in model.features}
    problems = []
    for name, value in row.items():
        feature = features.get(name)
        if feature is None:
            problems.append(f"{name[:64]!r} is no feature of {model.name}")
        elif value is not None and (wanted := _wanted(feature, value)):
            problems.append(f"{name} must be {wanted}, or null")
    return problems


def _wanted(feature: Column, value: Any) -> str:
    """Return what the feature must be, or nothing where `value` is that."""
    kind = feature.type.kind
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in _NUMBERS:
        return "" if number and _is_finite(value) else "a number"
    if kind in _LARGEST:
        most = _LARGEST[kind]
        fits = number and value == value // 1 and -most - 1 <= value <= most
        return "" if fits else f"a whole number from {-most - 1} to {most}"
    if kind == "BOOLEAN":
        return "" if isinstance(value, bool) else "true or false"
    if kind in _TIMES:
        pattern, example = _TIMES[kind]
        return "" if isinstance(value, str) and pattern.fullmatch(value) else example
    length = feature.type.length or 0
    fits = isinstance(value, str) and len(value) <= length
    return "" if fits else f"a text of at most {length} signs"


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
