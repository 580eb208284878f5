"""The way of a row through both functions, with moto for the services between them."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from moto import mock_aws
from moto.moto_api._internal import moto_api_backend

# Read when the functions are imported.
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "tidemill")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "test")

from lambdas.adapters.clients import client
from lambdas.stream_csv import handler as stream_csv
from lambdas.transform_records import handler as transform_records
from tidemill.rows import source_id

PROJECT = Path(__file__).resolve().parents[3]
INPUT, LAKE, STREAM, TABLE = "input", "lake", "stream", "uploads"
STREAM_ARN = f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}"


@dataclass
class Context:
    """What Lambda tells a function of its call."""

    milliseconds: int = 120_000
    function_name: str = "stream_csv"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:stream_csv"
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@dataclass(frozen=True)
class Upload:
    """One version of an object."""

    key: str
    version_id: str
    size: int

    @property
    def id(self) -> str:
        return source_id(INPUT, self.key, self.version_id)

    def notification(self) -> dict[str, Any]:
        item = {"key": quote_plus(self.key, safe="/"), "size": self.size}
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": INPUT}, "object": {**item, "versionId": self.version_id}},
        }
        return {"Records": [record]}


class Pipe:
    """Drives uploads through stream_csv, the stream and transform_records."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url

    def upload(self, data: bytes, model: str = "stock_price", name: str = "a.csv") -> Upload:
        key = f"stream-input-data/{model}/{name}"
        put = client("s3").put_object(Bucket=INPUT, Key=key, Body=data)
        return Upload(key, put["VersionId"], len(data))

    def deliver(self, *bodies: dict[str, Any], milliseconds: int = 120_000) -> list[str]:
        """Call stream_csv once; return the messages that it failed."""
        records = [
            {"messageId": str(n), "body": json.dumps(body), "eventSource": "aws:sqs"}
            for n, body in enumerate(bodies)
        ]
        answer = stream_csv.handler({"Records": records}, Context(milliseconds))
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def chained(self) -> dict[str, Any] | None:
        """Take the message that an earlier call left, if any."""
        sqs = client("sqs")
        for message in sqs.receive_message(QueueUrl=self._queue_url).get("Messages", []):
            sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
            return dict(json.loads(message["Body"]))
        return None

    def send(self, upload: Upload, milliseconds: int = 120_000) -> int:
        """Deliver an upload's event and whatever it chains; return the number of calls."""
        body: dict[str, Any] | None = upload.notification()
        calls = 0
        while body is not None:
            assert self.deliver(body, milliseconds=milliseconds) == []
            body = self.chained()
            calls += 1
        return calls

    def item(self, upload: Upload) -> dict[str, Any]:
        answer = client("dynamodb").get_item(
            TableName=TABLE, Key={"source_id": {"S": upload.id}}, ConsistentRead=True
        )
        return {
            name: int(value["N"]) if "N" in value else value["S"]
            for name, value in answer["Item"].items()
        }

    def records(self) -> list[dict[str, Any]]:
        """Everything in the stream, oldest first."""
        kinesis = client("kinesis")
        found = []
        for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while True:
                answer = kinesis.get_records(ShardIterator=iterator, Limit=100)
                if not answer["Records"]:
                    break
                found += [{**record, "ShardId": shard["ShardId"]} for record in answer["Records"]]
                iterator = answer["NextShardIterator"]
        return found

    def transform(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Call transform_records as Firehose does."""
        event = {
            "invocationId": "i",
            "sourceKinesisStreamArn": STREAM_ARN,
            "records": [
                {
                    "recordId": str(number),
                    "data": base64.b64encode(record["Data"]).decode(),
                    "kinesisRecordMetadata": {
                        "sequenceNumber": record["SequenceNumber"],
                        "partitionKey": record["PartitionKey"],
                        "shardId": record["ShardId"],
                    },
                }
                for number, record in enumerate(records)
            ],
        }
        answer = transform_records.handler(event, Context())["records"]
        assert [result["recordId"] for result in answer] == [
            r["recordId"] for r in event["records"]
        ]  # type: ignore[index]
        return list(answer)

    def loaded(self, model: str = "stock_price") -> dict[str, list[str]]:
        """What a loader would find in the lake: the first row of each id, without its ids."""
        rows: dict[str, list[str]] = {}
        for result in self.transform(self.records()):
            if result["result"] == "Ok":
                assert result["metadata"] == {"partitionKeys": {"model": model}}
                text = base64.b64decode(result["data"]).decode()
                assert text.endswith("\n")
                for row in csv.reader(io.StringIO(text, newline=""), strict=True):
                    rows.setdefault(row[0], row[2:])
            else:
                assert result["result"] == "Dropped"
        return rows

    def rejected(self, prefix: str = "rejected/") -> list[dict[str, Any]]:
        """Every rejection in the lake; the names of the objects must tell their number."""
        s3 = client("s3")
        found: list[dict[str, Any]] = []
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=LAKE, Prefix=prefix):
            for item in page.get("Contents", []):
                body = s3.get_object(Bucket=LAKE, Key=item["Key"])["Body"].read()
                rows = [json.loads(line) for line in body.splitlines()]
                told = int(item["Key"].removesuffix(".jsonl").rpartition("-")[2])
                assert told in (len(rows), 0)
                found += [{**row, "key": item["Key"], "counts": told > 0} for row in rows]
        return found


@pytest.fixture(scope="module")
def services() -> Iterator[None]:
    """Services of moto, and clients that are made once: they take longer than a test."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for variable in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "_X_AMZN_TRACE_ID"):
            patch.delenv(variable, raising=False)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("STREAM_NAME", STREAM)
        patch.setenv("LAKE_BUCKET", LAKE)
        patch.setenv("UPLOADS_TABLE", TABLE)
        patch.setenv("MODELS_DIR", str(PROJECT / "models"))
        client.cache_clear()
        yield
        client.cache_clear()
        stream_csv._sender.cache_clear()


@pytest.fixture
def pipe(services: None, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    moto_api_backend.reset()
    for bucket in (INPUT, LAKE):
        client("s3").create_bucket(Bucket=bucket)
    client("s3").put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Enabled"})
    client("kinesis").create_stream(StreamName=STREAM, ShardCount=2)
    client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "source_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "source_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    url = client("sqs").create_queue(QueueName="uploads")["QueueUrl"]
    monkeypatch.setenv("QUEUE_URL", url)
    stream_csv._sender.cache_clear()
    return Pipe(url)
