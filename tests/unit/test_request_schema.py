"""The JSON schema of a prediction's request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

# The validator of the local API Gateway: it follows draft 4 as the real one does.
from ministack.services.apigateway_v1 import _json_schema_valid

from tidemill.model import load_models, parse_model
from tidemill.request_schema import MAX_ROWS, request_schema

MODELS = load_models(Path(__file__).parents[2] / "models")
WIDE = """
target = "y"
problem = "binary"
[columns]
a = "SMALLINT"
b = "BIGINT"
c = "BOOLEAN"
d = "DATE"
t = "TIMESTAMP"
v = "VARCHAR(3)"
r = "REAL"
y = "BOOLEAN"
[gate]
metric = "auc"
threshold = 0.5
"""
STOCK = request_schema(MODELS["stock_price"])
TYPES = request_schema(parse_model(WIDE, "wide", "wide.toml"))


def is_valid(schema: dict[str, Any], body: Any) -> bool:
    return bool(_json_schema_valid(schema, body, schema))


ROW = {"ticker_symbol": "AAA", "sector": "tech", "change": 1.5}


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (STOCK, ROW),
        (STOCK, {"rows": [ROW, {"change": None}]}),
        (STOCK, {"change": 1}),
        (TYPES, {"a": -32768, "b": 2**63 - 1, "c": True, "d": "2026-11-20", "v": "abc"}),
        (TYPES, {"t": "2026-11-20 20:00:00.123", "r": 1e9}),
        (TYPES, {"t": "2026-11-20T20:00:00", "a": None, "d": None, "c": None}),
    ],
)
def test_good_requests(schema: dict[str, Any], body: dict[str, Any]) -> None:
    assert is_valid(schema, body)


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        *[(STOCK, body) for body in ({}, [], None, 1, {"rows": []}, {"rows": {}}, {"rows": [1]})],
        (STOCK, {**ROW, "price": 1}),
        (STOCK, {**ROW, "rows": [ROW]}),
        (STOCK, {"change": "1"}),
        (STOCK, {"sector": "x" * 17}),
        (STOCK, {"rows": [{}]}),
        (STOCK, {"rows": [{"change": 1}] * (MAX_ROWS + 1)}),
        *[(TYPES, body) for body in ({"a": 32768}, {"a": 1.5}, {"b": 2**63}, {"c": 1})],
        *[(TYPES, body) for body in ({"d": "20.11.2026"}, {"t": "now"}, {"y": True})],
    ],
)
def test_bad_requests(schema: dict[str, Any], body: Any) -> None:
    assert not is_valid(schema, body)


def test_the_schema_is_json_and_speaks_draft_4_alone() -> None:
    known = {
        *("type", "properties", "additionalProperties", "minProperties", "oneOf", "required"),
        *("items", "minItems", "maxItems", "maxLength", "pattern", "minimum", "maximum"),
    }
    for schema in (STOCK, TYPES):
        assert json.loads(json.dumps(schema)) == schema
        assert keywords(schema) - {"$schema", "title"} <= known


def keywords(schema: Any) -> set[str]:
    found = set(schema)
    for part in schema.get("oneOf", []):
        found |= keywords(part)
    for part in schema.get("properties", {}).values():
        found |= keywords(part)
    return found | (keywords(schema["items"]) if "items" in schema else set())


def test_a_feature_named_rows_leaves_single_rows() -> None:
    schema = request_schema(parse_model(WIDE.replace("a =", "rows ="), "wide", "wide.toml"))
    assert is_valid(schema, {"rows": 3})
    assert not is_valid(schema, {"rows": [{"b": 1}]})
