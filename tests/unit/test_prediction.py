from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.model import parse_model
from tidemill.prediction import RequestError, accept
from tidemill.request_schema import request_schema

MODEL = parse_model(
    """
description = "d"
target = "price"
problem = "regression"
[columns]
ticker = "VARCHAR(4)"
change = "FLOAT"
shares = "SMALLINT"
active = "BOOLEAN"
day = "DATE"
at = "TIMESTAMP"
price = "FLOAT"
[trainer]
name = "hist_gradient_boosting"
[gate]
metric = "rmse"
threshold = 4.0
""",
    "stocks",
    "stocks.toml",
)
ROW = {
    "ticker": "QXZ",
    "change": -1.5,
    "shares": 3,
    "active": True,
    "day": "2026-11-20",
    "at": "2026-11-20 20:11:41",
}


def test_a_whole_request_goes_on_as_it_came() -> None:
    for document in (ROW, {"rows": [ROW, dict.fromkeys(ROW)]}):
        body = json.dumps(document, indent=1).encode()
        assert accept(MODEL, body) is body


def test_absent_features_go_on_as_null() -> None:
    assert json.loads(accept(MODEL, b'{"change": 1}')) == dict.fromkeys(ROW) | {"change": 1}
    rows = json.loads(accept(MODEL, b'{"rows": [{"active": false}]}'))["rows"]
    assert rows == [dict.fromkeys(ROW) | {"active": False}]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"change": "1.5"}, "change must be a number, or null"),
        ({"change": True}, "change must be a number"),
        ({"change": 10**400}, "change must be a number"),
        ({"shares": 1.5}, "shares must be a whole number from -32768 to 32767"),
        ({"shares": 40_000}, "shares must be a whole number"),
        ({"active": 1}, "active must be true or false"),
        ({"ticker": 5}, "ticker must be a text of at most 4 signs"),
        ({"ticker": "ABCDE"}, "ticker must be a text of at most 4 signs"),
        ({"day": "20.11.2026"}, "day must be a date such as"),
        ({"at": 1795205501}, "at must be a time such as"),
        ({"price": 3.0}, "'price' is no feature of stocks"),
        ({"volume": 3, "chagne": 1}, "'volume' is no feature of stocks; 'chagne' is no feature"),
        ({}, "there is no feature"),
    ],
)
def test_each_feature_at_fault_is_named(row: dict[str, Any], said: str) -> None:
    for document, place in ((row, ""), ({"rows": [ROW, row]}, "row 1: ")):
        with pytest.raises(RequestError) as raised:
            accept(MODEL, json.dumps(document).encode())
        assert raised.value.code == "invalid_features"
        assert place in str(raised.value)
        assert said.split("; ")[0] in str(raised.value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b'{"change": NaN}', "invalid_json"),
        (b'{"change": -Infinity}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"[]", "invalid_request"),
        (b'"change"', "invalid_request"),
        (b'{"rows": []}', "invalid_request"),
        (b'{"rows": {}}', "invalid_request"),
        (b'{"rows": [{"change": 1}], "change": 1}', "invalid_request"),
        (b'{"rows": [' + b",".join([b'{"change": 1}'] * 1001) + b"]}", "invalid_request"),
        (b'{"rows": [3]}', "invalid_features"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(RequestError) as raised:
        accept(MODEL, body)
    assert raised.value.code == code


def test_many_problems_are_told_in_part() -> None:
    with pytest.raises(RequestError, match="and 80 more"):
        accept(MODEL, json.dumps({"rows": [{"x": 1}] * 100}).encode())


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("aB1-:. é", max_size=6),
    st.sampled_from(["2026-11-20", "2026-11-20T20:11:41", "2026-11-20 20:11:41.5", "2026-11-2"]),
)


@given(st.dictionaries(st.sampled_from([*ROW, "price"]), values, max_size=4))
def test_it_agrees_with_the_schema_that_api_gateway_holds_requests_to(row: dict[str, Any]) -> None:
    properties = request_schema(MODEL)["oneOf"][0]["properties"]
    allowed = bool(row) and all(
        name in properties and _matches(properties[name], value) for name, value in row.items()
    )
    try:
        accept(MODEL, json.dumps(row).encode())
    except RequestError:
        assert not allowed
    else:
        assert allowed


def _matches(schema: dict[str, Any], value: Any) -> bool:
    """Draft 4, as far as the schema of a feature goes."""
    import re

    if value is None:
        return "null" in schema["type"]
    kinds = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "integer": isinstance(value, int | float)
        and not isinstance(value, bool)
        and value == value // 1,
    }
    if not any(kinds.get(kind) for kind in schema["type"]):
        return False
    if isinstance(value, str):
        longest = schema.get("maxLength")
        pattern = schema.get("pattern")
        # A dollar sign matches before a last line feed in Python alone.
        fits = pattern is None or (re.search(pattern, value) and not value.endswith("\n"))
        return (longest is None or len(value) <= longest) and bool(fits)
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
