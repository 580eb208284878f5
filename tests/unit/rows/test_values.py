"""What a field may hold: the fast pattern and the exact rule agree, and COPY takes what they do."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.model import ColumnType
from tidemill.values import BadValueError, clean, fast

KINDS = ("SMALLINT", "INTEGER", "BIGINT", "REAL", "FLOAT", "BOOLEAN", "DATE", "TIMESTAMP")
DUCKDB = {"FLOAT": "DOUBLE"}

near_numbers = st.text(alphabet="0123456789+-.eE_ ", max_size=24)
near_dates = st.text(alphabet="0123456789-: T.", max_size=26)
numbers = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=True).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).map(str),
)
moments = st.one_of(
    st.dates().map(str), st.datetimes().map(str), st.datetimes().map(lambda t: t.isoformat())
)
texts = st.one_of(near_numbers, near_dates, numbers, moments, st.booleans().map(str), st.text())


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
def test_what_the_fast_pattern_takes_the_rule_takes_as_it_is(kind: str, text: str) -> None:
    pattern = fast(ColumnType(kind), ascii_only=False, quoted=False) + b","
    if re.fullmatch(pattern, text.encode("utf-8", "surrogatepass") + b","):
        assert clean(text, ColumnType(kind)) == text


@given(text=st.text(max_size=12), length=st.integers(1, 20))
def test_a_text_is_measured_in_bytes(text: str, length: int) -> None:
    type_ = ColumnType("VARCHAR", length)
    data = text.encode()
    fits = len(data) <= length and "\0" not in text
    try:
        assert clean(text, type_) == text
        assert fits
    except BadValueError:
        assert not fits
    if re.fullmatch(fast(type_, ascii_only=False, quoted=False), data):
        assert fits
        assert not re.search(rb'[",\r\n]', data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_warehouse_takes_what_we_take(kind: str) -> None:
    """Values near the bounds, read by DuckDB's CSV reader as its COPY reads them."""
    connection = duckdb.connect()
    sql = f"SELECT CAST(? AS {DUCKDB.get(kind, kind)})"

    @given(text=texts)
    def check(text: str) -> None:
        try:
            cleaned = clean(text, ColumnType(kind))
        except BadValueError:
            return
        if cleaned:
            (value,) = connection.execute(sql, [cleaned]).fetchone() or (None,)
            assert value is not None
            if kind in ("REAL", "FLOAT"):
                assert value == pytest.approx(float(cleaned), rel=1e-6)
            elif kind.endswith("INT") or kind == "INTEGER":
                assert value == int(cleaned)

    check()


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("SMALLINT", ["-32768", "32767", "007", "-0"], ["32768", "1.0", "1e3", " 1", "--1", "-"]),
        ("INTEGER", ["2147483647"], ["2147483648", "1_0", "٣", "1" * 50]),
        ("BIGINT", ["-9223372036854775808"], ["9223372036854775808"]),
        ("REAL", ["3.4e38", "0", "1e-30"], ["3.5e38", "1e-46", "nan"]),
        (
            "FLOAT",
            ["1", "-1.5", ".5", "1.", "1e5", "1E-300", "0e0", "0.0e-999", "1" * 300],
            ["1e309", "1e-400", "nan", "inf", "-Infinity", "1_0", "1e", "e5", ".", "-", "+", "1,5"],
        ),
        ("BOOLEAN", ["true", "FALSE", "t", "0", "Yes"], ["2", "truth", " true", "on"]),
        (
            "DATE",
            ["2024-02-29", "0001-01-01", "9999-12-31"],
            ["2023-02-29", "2024-1-1", "20240101", "2024-W01-1", "0000-01-01", "2024-04-31"],
        ),
        (
            "TIMESTAMP",
            ["2024-02-29 23:59:59", "2024-01-01 00:00:00.123456"],
            ["2024-01-01", "2024-01-01 24:00:00", "2024-01-01 00:00:60", "2024-01-01 00:00:00Z"],
        ),
    ],
)
def test_the_rule_of_each_type(kind: str, good: list[str], bad: list[str]) -> None:
    for text in ["", *good]:
        assert clean(text, ColumnType(kind)) == text
    for text in bad:
        with pytest.raises(BadValueError, match=kind):
            clean(text, ColumnType(kind))


def test_what_copy_would_not_read_is_written_as_it_would() -> None:
    assert clean("+1.5", ColumnType("FLOAT")) == "1.5"
    assert clean("+7", ColumnType("INTEGER")) == "7"
    assert clean("2024-01-01T10:11:12", ColumnType("TIMESTAMP")) == "2024-01-01 10:11:12"
