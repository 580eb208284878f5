"""Whatever is delivered twice or killed half-way: the count in the warehouse is exact."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from scripts.commands.warehouse import Warehouse
from scripts.generate_data import write_stock_price

from .conftest import Journey

ROWS = 3_000


@pytest.fixture(scope="module")
def counted(journey: Journey) -> Warehouse:
    return Warehouse(journey.target)


@pytest.fixture
def upload(journey: Journey, tmp_path: Path) -> dict[str, object]:
    """A file of its own rows, streamed and counted."""
    file = tmp_path / f"{tmp_path.name}.csv"
    write_stock_price(file, ROWS)
    result = journey.json("stream", "stock_price", str(file))
    assert result["loaded"] == ROWS
    return result


def settled(warehouse: Warehouse, source_id: str) -> int:
    """The rows of a source once their number has not changed for two seconds."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 2:
        count = warehouse.count("stock_price", source_id)
        if count != last:
            last, since = count, time.monotonic()
        time.sleep(0.2)
    return last


def test_an_event_of_s3_that_is_delivered_twice(
    journey: Journey, counted: Warehouse, upload: dict[str, object]
) -> None:
    source = str(upload["source"])
    bucket, _, rest = source.removeprefix("s3://").partition("/")
    key, _, version = rest.partition("?versionId=")
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "versionId": version}},
    }
    journey.target.client("sqs").send_message(
        QueueUrl=journey.target.outputs["InputQueueUrl"],
        MessageBody=json.dumps({"Records": [record]}),
    )
    assert settled(counted, str(upload["source_id"])) == ROWS


def test_records_of_kinesis_that_are_delivered_twice(
    journey: Journey, counted: Warehouse, upload: dict[str, object]
) -> None:
    kinesis = journey.target.client("kinesis")
    name = journey.target.outputs["StreamName"]
    again = []
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator, Limit=1000)["Records"]
        again += [r for r in records if str(upload["source_id"]) in r["PartitionKey"]]
    assert again
    for record in again:
        kinesis.put_record(
            StreamName=name, Data=record["Data"], PartitionKey=record["PartitionKey"]
        )
    assert settled(counted, str(upload["source_id"])) == ROWS


def test_a_lake_file_whose_event_is_delivered_twice(
    journey: Journey, counted: Warehouse, upload: dict[str, object]
) -> None:
    bucket = journey.target.outputs["LakeBucket"]
    listed = journey.target.client("s3").list_objects_v2(Bucket=bucket, Prefix="rows/stock_price/")
    records = [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": bucket},
                "object": {"key": item["Key"], "size": item["Size"]},
            },
        }
        for item in listed["Contents"]
    ]
    before = counted.count("stock_price")
    journey.target.client("sqs").send_message(
        QueueUrl=journey.target.outputs["LoadQueueUrl"],
        MessageBody=json.dumps({"Records": records}),
    )
    assert settled(counted, str(upload["source_id"])) == ROWS
    assert counted.count("stock_price") == before


def test_a_new_version_of_an_object_is_new_rows(
    journey: Journey, counted: Warehouse, tmp_path: Path
) -> None:
    file = tmp_path / "twice.csv"
    write_stock_price(file, 100)
    before = counted.count("stock_price")
    journey.json("stream", "stock_price", str(file))
    journey.json("stream", "stock_price", str(file))
    assert counted.count("stock_price") == before + 200
