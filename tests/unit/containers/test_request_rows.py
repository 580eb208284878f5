"""Request bodies: what is taken, and the error that names what is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers.features import Feature
from containers.request_rows import RequestError, RowReader, Rows

FEATURES = (
    Feature("colour", "VARCHAR", ("blue", "red")),
    Feature("small", "SMALLINT"),
    Feature("big", "BIGINT"),
    Feature("size", "FLOAT"),
    Feature("new", "BOOLEAN"),
    Feature("day", "DATE"),
    Feature("moment", "TIMESTAMP"),
)
READER = RowReader(FEATURES)
GOOD: dict[str, Any] = {
    "colour": "red",
    "small": -3,
    "big": 2**40,
    "size": 1.5,
    "new": True,
    "day": "1970-01-03",
    "moment": "1970-01-01 00:01:00.25",
}
GOOD_CSV = b"red,-3,1099511627776,1.5,true,1970-01-03,1970-01-01 00:01:00.25"
NUMBERS = [1.0, -3.0, float(2**40), 1.5, 1.0, 2.0, 60.25]
NULLS = [math.nan] * len(FEATURES)


def refused(read: Callable[[bytes], Rows], body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(body)
    return caught.value


def test_every_format_gives_the_same_rows() -> None:
    one = json.dumps(GOOD).encode()
    assert READER.json(one) == ([NUMBERS], True)
    assert READER.json(b'{"rows": [%b, %b]}' % (one, one)) == ([NUMBERS] * 2, False)
    assert READER.json_lines(one + b"\r\n\n" + one + b"\n") == ([NUMBERS] * 2, False)
    assert READER.csv(GOOD_CSV + b"\r\n" + GOOD_CSV) == ([NUMBERS] * 2, False)
    assert READER.csv(b"\xef\xbb\xbf" + GOOD_CSV) == ([NUMBERS], False)


def test_nulls_and_unseen_categories_are_nan() -> None:
    nulls = json.dumps(dict.fromkeys(GOOD)).encode()
    np.testing.assert_array_equal(READER.json(nulls).numbers, [NULLS])
    np.testing.assert_array_equal(READER.csv(b",,,,,,\n").numbers, [NULLS])
    unseen = READER.json(json.dumps({**GOOD, "colour": "mauve"}).encode()).numbers[0]
    assert math.isnan(unseen[0])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("colour", 1, "must be text"),
        ("colour", ["red"], "must be text"),
        ("small", "3", "must be a whole number"),
        ("small", 1.5, "must be a whole number"),
        ("small", True, "must be a whole number"),
        ("small", 32768, "out of the range of SMALLINT"),
        ("big", 2**63, "out of the range of BIGINT"),
        ("size", "1.5", "must be a number"),
        ("size", False, "must be a number"),
        ("size", 10**400, "too large"),
        ("new", 1, "must be true or false"),
        ("new", "true", "must be true or false"),
        ("day", "1970-13-01", "is not a DATE"),
        ("day", "19700101", "is not a DATE"),
        ("day", 0, "must be text"),
        ("moment", "1970-01-01T00:00:00Z", "is not a TIMESTAMP"),
        ("moment", 5, "must be text"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: Any, message: str) -> None:
    error = refused(READER.json, json.dumps({**GOOD, field: value}).encode())
    assert (error.code, error.field) == ("invalid_field", field)
    assert error.message.startswith(field)
    assert message in error.message


@pytest.mark.parametrize(
    ("place", "text", "field"),
    [
        (1, "1_0", "small"),
        (1, "1.0", "small"),
        (2, "9" * 19, "big"),
        (3, "infinity", "size"),
        (3, "nan", "size"),
        (3, " 1", "size"),
        (3, "1_0.5", "size"),
        (3, "1e999", "size"),
        (3, "١", "size"),
        (4, "maybe", "new"),
        (5, "today", "day"),
    ],
)
def test_csv_takes_numbers_as_strictly_as_the_warehouse(place: int, text: str, field: str) -> None:
    fields = GOOD_CSV.decode().split(",")
    fields[place] = text
    error = refused(READER.csv, GOOD_CSV + b"\n" + ",".join(fields).encode())
    assert (error.code, error.field) == ("invalid_field", field)
    assert error.message.startswith("row 2: ")


def test_missing_and_unknown_fields_are_named() -> None:
    missing = {name: value for name, value in GOOD.items() if name != "size"}
    error = refused(READER.json, json.dumps(missing).encode())
    assert (error.code, error.field) == ("missing_field", "size")
    error = refused(READER.json, json.dumps({"rows": [GOOD, {**GOOD, "x": 1}]}).encode())
    assert (error.code, error.field) == ("unknown_field", "x")
    assert error.message.startswith("row 2: x ")


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (READER.json, b""),
        (READER.json, b"[]"),
        (READER.json, b'{"rows": []}'),
        (READER.json, b'{"rows": [1]}'),
        (READER.json, b"\xff"),
        (READER.json, b'{"size": NaN}'),
        (READER.json, b'{"size": -Infinity}'),
        (READER.json, b"[" * 100_000),
        (READER.json, b'{"size": ' + b"1" * 5000 + b"}"),
        (READER.json_lines, b"\n\n"),
        (READER.json_lines, b"null\n"),
        (READER.csv, b""),
        (READER.csv, b"\xff"),
        (READER.csv, b"red,1\n"),
        (READER.csv, b'"red\n'),
        (READER.csv, b'"red"x,,,,,,\n'),
    ],
)
def test_a_body_that_is_none_is_refused(read: Callable[[bytes], Rows], body: bytes) -> None:
    assert refused(read, body).code == "invalid_body"


@given(st.binary(max_size=200))
def test_no_bytes_raise_another_error(body: bytes) -> None:
    for read in (READER.json, READER.json_lines, READER.csv):
        try:
            rows = read(body)
        except RequestError:
            continue
        assert all(len(row) == len(FEATURES) for row in rows.numbers)


def test_a_feature_called_rows_is_a_feature() -> None:
    reader = RowReader([Feature("rows", "FLOAT")])
    assert reader.json(b'{"rows": 2.5}') == ([[2.5]], True)
    assert reader.json(b'{"rows": [{"rows": 2.5}]}') == ([[2.5]], False)


def test_a_null_for_a_column_that_the_version_has_not_learnt_passes() -> None:
    body = json.dumps({**GOOD, "just_added": None}).encode()
    assert READER.json(body).numbers == [NUMBERS]


def test_a_timestamp_may_be_a_day() -> None:
    body = json.dumps({**GOOD, "moment": "1970-01-02"}).encode()
    assert READER.json(body).numbers[0][-1] == 86400.0
