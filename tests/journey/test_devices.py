"""Devices that write to the deployed stream themselves: CSV lines and JSON lines, no file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from scripts.commands.warehouse import Warehouse

from .conftest import Journey

TEXT = "SELECT change FROM models.scratch WHERE ticker_symbol = :ticker ORDER BY change"


@pytest.fixture(scope="module")
def warehouse(journey: Journey) -> Warehouse:
    return Warehouse(journey.target)


@pytest.fixture(scope="module")
def put(journey: Journey) -> Callable[[bytes, str], str]:
    """Put a record; its place in the stream, as rejections name it."""
    name = journey.target.outputs["StreamName"]

    def put(data: bytes, key: str = "scratch/x") -> str:
        kinesis = journey.target.client("kinesis")
        done = kinesis.put_record(StreamName=name, PartitionKey=key, Data=data)
        return f"{done['ShardId']}-{done['SequenceNumber']}"

    return put


def arrive(warehouse: Warehouse, ticker: str, count: int) -> list[float | None]:
    """The column `change` of a ticker's rows, once there are so many and no more follow."""
    deadline = time.monotonic() + 40
    found: list[float | None] = []
    while time.monotonic() < deadline and len(found) < count:
        time.sleep(0.3)
        found = [row[0] for row in warehouse.rows(TEXT, ticker=ticker)]
    return found


def rejected(journey: Journey, model: str, place: str) -> list[dict[str, Any]]:
    s3, bucket = journey.target.client("s3"), journey.target.outputs["LakeBucket"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"rejected/{model}/device/{place}-")
    found: list[dict[str, Any]] = []
    for item in listed.get("Contents", []):
        body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        found += [json.loads(line) for line in body.splitlines()]
    return found


def test_csv_lines_and_json_lines_are_counted(
    journey: Journey, warehouse: Warehouse, put: Callable[..., str]
) -> None:
    csv_place = put(b'DEV1,"A, B",1,2\nDEV1,B,2,2\nDEV1,B,x,2\n')
    json_place = put(
        b'{"ticker_symbol":"DEV1","sector":"B","change":3,"price":2}\n'
        b'{"price":2,"change":4e0,"sector":null,"ticker_symbol":"DEV1"}\n'
        b'{"ticker_symbol":"DEV1"}\n'
    )
    unknown = put(b"a,b\n", "nonesuch/x")
    assert arrive(warehouse, "DEV1", 4) == [1.0, 2.0, 3.0, 4.0]
    (bad,) = rejected(journey, "scratch", csv_place)
    assert (bad["reason"], bad["line"]) == ("change is not a number (FLOAT)", 3)
    assert csv_place.partition("-")[0] in bad["source"]
    (bad,) = rejected(journey, "scratch", json_place)
    assert (bad["reason"], bad["line"]) == ("the row lacks sector", 3)
    (bad,) = rejected(journey, "_unknown", unknown)
    assert bad["row"] == "a,b"


def test_an_event_that_is_put_twice_is_one_row(
    warehouse: Warehouse, put: Callable[..., str]
) -> None:
    for event in (1, 1, 2):
        document = {"event_id": event, "ticker_symbol": "DEV2", "sector": "", "price": 1}
        put(json.dumps({**document, "change": event}).encode())
    put(b"DEV2,,3,1\n")
    assert arrive(warehouse, "DEV2", 3) == [1.0, 2.0, 3.0]


def test_a_record_of_more_rows_than_firehose_takes_back_loses_none(
    journey: Journey, warehouse: Warehouse, put: Callable[..., str]
) -> None:
    """100,000 rows are 8 MB with their ids: those behind the first 10,000 are rejected."""
    place = put(b"DEV3,,,\n" * 100_000)
    found = arrive(warehouse, "DEV3", 10_000)
    assert len(found) == 10_000
    bad = rejected(journey, "scratch", place)
    assert len(bad) == 90_000
    assert bad[0]["line"] == 10_001
    assert {row["reason"] for row in bad} == {
        "a record may hold 10000 lines: send the rest in other records"
    }
