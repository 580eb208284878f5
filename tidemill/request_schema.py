"""The JSON schema (draft 4, as API Gateway wants it) of a prediction's request."""

from __future__ import annotations

from typing import Any, Final

from tidemill.model import Column, Model

MAX_ROWS: Final = 1000
"""The most rows of one request."""
_LARGEST: Final = {"SMALLINT": 2**15 - 1, "INTEGER": 2**31 - 1, "BIGINT": 2**63 - 1}


def request_schema(model: Model) -> dict[str, Any]:
    """Return the schema of `POST /<model>`: one row of features, or `{"rows": […]}`.

    Every feature may be null or absent, which is the same; nothing else may be in a row, save
    where a feature is named `rows` itself: then rows go one a request.
    """
    properties = {column.name: _value(column) for column in model.features}
    row = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
    }
    schema: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": f"{model.name} request",
    }
    if "rows" in properties:
        return {**schema, **row}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_ROWS}
    many = {
        "type": "object",
        "properties": {"rows": rows},
        "required": ["rows"],
        "additionalProperties": False,
    }
    return {**schema, "type": "object", "oneOf": [row, many]}


def _value(column: Column) -> dict[str, Any]:
    kind = column.type.kind
    if kind == "VARCHAR":
        # The schema counts characters and the warehouse bytes: never fewer of these.
        return {"type": ["string", "null"], "maxLength": column.type.length}
    if kind == "BOOLEAN":
        return {"type": ["boolean", "null"]}
    if kind == "DATE":
        return {"type": ["string", "null"], "pattern": r"^\d{4}-\d{2}-\d{2}$"}
    if kind == "TIMESTAMP":
        pattern = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?)?$"
        return {"type": ["string", "null"], "pattern": pattern}
    if kind in _LARGEST:
        largest = _LARGEST[kind]
        return {"type": ["integer", "null"], "minimum": -largest - 1, "maximum": largest}
    return {"type": ["number", "null"]}
