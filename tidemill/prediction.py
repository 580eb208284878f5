"""A prediction's request: which rows it asks for, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any, Final

from tidemill.errors import TidemillError
from tidemill.model import Column, Model

MAX_ROWS: Final = 1000

_NUMBERS: Final = frozenset({"REAL", "FLOAT"})
_INTEGERS: Final = frozenset({"SMALLINT", "INTEGER", "BIGINT"})


class RequestError(TidemillError):
    """A request that no version could answer; the text names each feature that is at fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_request(model: Model, body: str | bytes) -> None:
    """Check a request: a JSON object of features, or `{"rows": [such objects]}`.

    Every feature must be there, null where it is not known, and of its column's type; there are
    at most 1,000 rows. Raises RequestError.
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise RequestError("invalid_request", "the body must be a JSON object of the features")
    rows = _rows(model, document)
    if rows is None:
        problems = _problems(model, document)
    else:
        problems = [
            f"row {number}: {problem}"
            for number, row in enumerate(rows)
            for problem in (_problems(model, row) if isinstance(row, dict) else ["not an object"])
        ]
    if problems:
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise RequestError("invalid_features", "; ".join(problems[:20]) + more)


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
    names = {feature.name for feature in model.features}
    missing = [feature.name for feature in model.features if feature.name not in row]
    problems = [f"{name} is missing (null if it is not known)" for name in missing]
    problems += [f"{name[:64]} is no feature of {model.name}" for name in row if name not in names]
    for feature in model.features:
        value = row.get(feature.name)
        if value is not None and (wanted := _wanted(feature, value)):
            problems.append(f"{feature.name} must be {wanted}")
    return problems


def _wanted(feature: Column, value: Any) -> str:
    """Return what the feature must be, or nothing where `value` is that."""
    kind = feature.type.kind
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in _NUMBERS:
        return "" if number else "a number"
    if kind in _INTEGERS:
        whole = number and (isinstance(value, int) or value.is_integer())
        return "" if whole else "a whole number"
    if kind == "BOOLEAN":
        return "" if isinstance(value, bool) else "true or false"
    return "" if isinstance(value, str) else "a text"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
