"""What a value is: the row check and the local warehouse's COPY read texts the same way."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import pytest
from botocore.response import StreamingBody
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.services.warehouse.database import Database
from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.session import Session
from tidemill.model import ColumnType
from tidemill.values import BadValueError, clean

KINDS = ("SMALLINT", "INTEGER", "BIGINT", "REAL", "FLOAT", "BOOLEAN", "DATE", "TIMESTAMP")

TABLE = {
    "SMALLINT": ["0", "-0", "007", "32767", "-32768", "32768", "-32769", "+5", "1.0", "1e2", "--1"],
    "INTEGER": ["2147483647", "-2147483648", "2147483648", "1_0", "٣", " 1", "1 ", "0x10", "1,000"],
    "BIGINT": ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "1" * 60],
    "REAL": ["3.4028234e38", "3.5e38", "1.2e-38", "1e-39", "0", "-0.0", "1e5", ".5", "5.", "nan"],
    "FLOAT": [
        *("1", "-1.5", "+1.5", ".5", "1.", "1e5", "1E-300", "0e0", "0.0e-999", "1" * 300),
        *("1.7976931348623157e308", "1.8e308", "2.2250738585072014e-308", "2e-308", "1e999"),
        *("nan", "NaN", "inf", "-Infinity", "1_0", "1e", "e5", ".", "-", "+", "1,5", " 1", "1 "),
        *("0x10", "0x1p3", "1e5_0", "1d5", "1f", "٣", "1\t", "½", "--1", "+-1", "1e+-5", "1 2"),
    ],
    "BOOLEAN": [
        *("true", "false", "TRUE", "False", "t", "F", "yes", "No", "y", "N", "1", "0"),
        *("on", "off", "2", "tru", " true", "truth", "-1", "00"),
    ],
    "DATE": [
        *("2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31", "0000-01-01", "2024-13-01"),
        *("2024-1-1", "20240101", "01/02/2024", "2024-04-31", "2024-W01-1", "today", " 2024-01-01"),
        *("10000-01-01", "2024-01-01 00:00:00", "-2024-01-01", "epoch", "infinity"),
    ],
    "TIMESTAMP": [
        *("2024-02-29 23:59:59", "2024-01-01T00:00:00", "2024-01-01 00:00:00.123456"),
        *("2024-01-01 00:00:00.1", "2024-01-01", "2024-01-01 10:11", "2024-01-01 24:00:00"),
        *("2024-01-01 00:00:60", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00+01:00", "now"),
        *("2024-01-01 00:00:00.1234567", "2024-01-01  00:00:00", "2024-01-01 1:2:3", "epoch"),
        *("2024-02-30 00:00:00", "0000-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1e9"),
    ],
}

# What COPY reads, or by Redshift's documentation may read, with the options of sql/load, and we
# refuse all the same: a row must mean one thing to every reader. None of it is lost in silence:
# each row is rejected with the reason.
REFUSED_ALL_THE_SAME = {
    "INTEGER": [" 1", "1 "],  # blanks around numbers
    "FLOAT": [" 1", "1 ", "nan", "NaN", "inf", "-Infinity"],  # and what is no finite number
    "DATE": ["2024-1-1", "20240101", "0000-01-01"],  # forms that 'auto' knows; a year before 1
    "TIMESTAMP": [
        *("2024-01-01", "2024-01-01 10:11"),  # no time, or no seconds
        *("2024-01-01 00:00:00Z", "2024-01-01T00:00:00+01:00"),  # a zone, which would be dropped
        *("2024-01-01 24:00:00", "0000-01-01 00:00:00"),  # the next day's 00:00; a year before 1
    ],
}

numbers = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=True).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).map(str),
    st.text(alphabet="0123456789+-.eE_ ", min_size=1, max_size=12),
)
moments = st.one_of(
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.text(alphabet="0123456789-: T.", min_size=1, max_size=26),
)
texts = {
    **dict.fromkeys(KINDS, numbers),
    **dict.fromkeys(("DATE", "TIMESTAMP"), moments),
    "BOOLEAN": st.sampled_from(["t", "T", "yes", "YES", "1", "on", "", "tr", "nO"]),
}

Copy = Callable[[str, list[str]], list[Any]]


class Bucket:
    """S3 with one object, as COPY reads it."""

    def __init__(self) -> None:
        self.data = b""

    def list_objects_v2(self, **_request: Any) -> dict[str, Any]:
        return {"Contents": [{"Key": "rows.gz"}]}

    def get_object(self, **_request: Any) -> dict[str, Any]:
        return {"Body": StreamingBody(io.BytesIO(self.data), len(self.data))}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """COPY texts into a column of a type, with the options of sql/load; the values, in order."""
    bucket = Bucket()
    database = Database(tmp_path_factory.mktemp("warehouse"), "tidemill")
    session = Session(database, "admin", superuser=True, storage=lambda _role: bucket)
    for kind in KINDS:
        session.execute(f"CREATE TABLE t_{kind.lower()} (place INTEGER, v {kind})")

    def run(kind: str, found: list[str]) -> list[Any]:
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerows(enumerate(found))
        bucket.data = gzip.compress(out.getvalue().encode("utf-8"))
        table = f"t_{kind.lower()}"
        session.execute(f"DELETE FROM {table}")  # noqa: S608  # a name of KINDS
        session.execute(
            f"COPY {table} (place, v) FROM 's3://lake/rows.gz' IAM_ROLE 'arn:aws:iam::1:role/r'"
            " FORMAT CSV GZIP FILLRECORD EMPTYASNULL TIMEFORMAT 'auto'"
        )
        sql = f"SELECT v FROM {table} ORDER BY place"  # noqa: S608  # a name of KINDS
        return [row[0] for row in session.execute(sql).rows]

    yield run
    database.close()


def cleaned(kind: str, text: str) -> str | None:
    try:
        return clean(text, ColumnType(kind))
    except BadValueError:
        return None


def meaning(kind: str, text: str) -> Any:
    """What a text says, by Python's own reading."""
    if kind in ("SMALLINT", "INTEGER", "BIGINT"):
        return int(text)
    if kind in ("REAL", "FLOAT"):
        return pytest.approx(float(text), rel=1e-6 if kind == "REAL" else 0, abs=0)
    if kind == "BOOLEAN":
        return text.lower() in ("t", "true", "y", "yes", "1")
    if kind == "DATE":
        return date.fromisoformat(text)
    return datetime.fromisoformat(text)


def agree(copy: Copy, kind: str, found: list[str]) -> None:
    pairs = [(text, cleaned(kind, text)) for text in found]
    good = [(text, ours) for text, ours in pairs if ours]
    values = copy(kind, [ours for _, ours in good])
    for (text, _), value in zip(good, values, strict=True):
        assert value == meaning(kind, text), text


@pytest.mark.parametrize("kind", KINDS)
def test_copy_reads_what_the_row_check_accepts_and_reads_the_same(copy: Copy, kind: str) -> None:
    agree(copy, kind, TABLE[kind])

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(found=st.lists(texts[kind], min_size=1, max_size=50))
    def check(found: list[str]) -> None:
        agree(copy, kind, found)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_what_copy_would_read_and_we_refuse_is_listed(copy: Copy, kind: str) -> None:
    listed = REFUSED_ALL_THE_SAME.get(kind, [])
    assert [text for text in listed if cleaned(kind, text) is not None] == []
    for text in TABLE[kind]:
        if cleaned(kind, text) is None:
            try:
                copy(kind, [text])
            except WarehouseError:
                continue
            assert text in listed, text
