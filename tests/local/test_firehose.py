"""The local Firehose, with moto for Kinesis, S3 and a function made of Python."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.services.base import Caller, Document, ServiceError
from local.services.firehose import Firehose
from local.services.firehose_settings import render_prefix
from local.services.protocol import Dispatcher

CALLER = Caller("AKIA", "123456789012", "us-east-1")
ROLE = "arn:aws:iam::123456789012:role/delivery"


class Lambda:
    """A function in place of Lambda's API, and what is denied to the role that calls it."""

    def __init__(self) -> None:
        self.calls: list[Document] = []
        self.answer: Callable[[Document], Any] = keyed
        self.denied = ""

    def ask(self, operation: str) -> None:
        """Raise what IAM does where the operation is denied."""
        if operation == self.denied:
            message = f"not authorized: {operation}"
            raise ClientError(
                {"Error": {"Code": "AccessDeniedException", "Message": message}}, operation
            )

    def invoke(self, **request: Any) -> Document:
        self.ask("Invoke")
        event = json.loads(request["Payload"])
        self.calls.append(event)
        try:
            body = json.dumps(self.answer(event)).encode()
            return {"Payload": io.BytesIO(body)}
        except ZeroDivisionError as error:
            body = json.dumps({"errorMessage": str(error)}).encode()
            return {"Payload": io.BytesIO(body), "FunctionError": "Unhandled"}


def keyed(event: Document) -> Document:
    """Good records as they are, under the model that their partition key names."""
    return {
        "records": [
            {
                "recordId": record["recordId"],
                "result": "Ok",
                "data": record["data"],
                "metadata": {
                    "partitionKeys": {
                        "model": record["kinesisRecordMetadata"]["partitionKey"].partition("/")[0]
                    }
                },
            }
            for record in event["records"]
        ]
    }


class Session:
    def __init__(self, function: Lambda) -> None:
        self.function = function

    def client(self, service: str) -> Any:
        if service == "lambda":
            return self.function
        client = boto3.client(service)  # type: ignore[call-overload]  # no literal
        client.meta.events.register("before-call", lambda model, **_: self.function.ask(model.name))
        return client

    def environment(self) -> dict[str, str]:
        return {}


class Host:
    account, region = CALLER.account, CALLER.region

    def __init__(self, directory: Path, function: Lambda) -> None:
        self.state_directory = directory
        self.session = Session(function)
        self.metrics: list[str] = []

    def now(self) -> float:
        return time.time()

    def authorize(self, *args: Any) -> None:
        pass

    def assume(self, role_arn: str, service_principal: str) -> Session:
        if role_arn != ROLE:
            raise ServiceError("AccessDeniedException", "no such role")
        assert service_principal == "firehose.amazonaws.com"
        return self.session

    def put_metric(self, namespace: str, name: str, *rest: Any) -> None:
        self.metrics.append(f"{namespace}/{name}")

    def put_event(self, *args: Any) -> None:
        pass

    def write_log(self, group: str, stream: str, lines: Sequence[str]) -> None:
        pass


@pytest.fixture
def function() -> Lambda:
    return Lambda()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for key, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="lake")
        boto3.client("kinesis").create_stream(StreamName="rows", ShardCount=2)
        yield


@pytest.fixture
def firehose(aws: None, tmp_path: Path, function: Lambda) -> Iterator[Firehose]:
    service = Firehose(Host(tmp_path, function))  # type: ignore[arg-type]  # what it uses of a Host
    service.start()
    yield service
    service.stop()


def destination(**changes: Any) -> Document:
    return {
        "RoleARN": ROLE,
        "BucketARN": "arn:aws:s3:::lake",
        "Prefix": "rows/!{partitionKeyFromLambda:model}/!{timestamp:yyyy/MM/dd/HH}/",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
        "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
        "CompressionFormat": "GZIP",
        "DynamicPartitioningConfiguration": {"Enabled": True},
        "ProcessingConfiguration": {
            "Enabled": True,
            "Processors": [
                {
                    "Type": "Lambda",
                    "Parameters": [
                        {"ParameterName": "LambdaArn", "ParameterValue": "arn:f"},
                        {"ParameterName": "NumberOfRetries", "ParameterValue": "1"},
                        {"ParameterName": "BufferSizeInMBs", "ParameterValue": "3"},
                    ],
                }
            ],
        },
        **changes,
    }


def create(service: Firehose, **changes: Any) -> None:
    arn = boto3.client("kinesis").describe_stream(StreamName="rows")["StreamDescription"]
    Dispatcher(service).call(
        "CreateDeliveryStream",
        {
            "DeliveryStreamName": "lake",
            "DeliveryStreamType": "KinesisStreamAsSource",
            "KinesisStreamSourceConfiguration": {
                "KinesisStreamARN": arn["StreamARN"],
                "RoleARN": ROLE,
            },
            "ExtendedS3DestinationConfiguration": destination(**changes),
        },
        CALLER,
    )


def put(*records: tuple[str, bytes]) -> None:
    boto3.client("kinesis").put_records(
        StreamName="rows",
        Records=[{"PartitionKey": key, "Data": data} for key, data in records],
    )


def objects(prefix: str, at_least: int = 1, seconds: float = 20) -> dict[str, bytes]:
    client = boto3.client("s3")
    deadline = time.monotonic() + seconds
    while True:
        found = client.list_objects_v2(Bucket="lake", Prefix=prefix).get("Contents", [])
        if len(found) >= at_least or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    content = {
        item["Key"]: client.get_object(Bucket="lake", Key=item["Key"])["Body"].read()
        for item in found
    }
    return {k: gzip.decompress(v) if k.endswith(".gz") else v for k, v in content.items()}


def lines(found: dict[str, bytes]) -> list[bytes]:
    return sorted(line for content in found.values() for line in content.splitlines())


def test_records_reach_the_lake_by_model(firehose: Firehose, function: Lambda) -> None:
    create(firehose)
    put(*[(f"{'ab'[n % 2]}/x/{n}", f"{n}\n".encode()) for n in range(40)])
    deadline = time.monotonic() + 20
    while len(lines(found := objects("rows/", 2))) < 40 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert lines(found) == sorted(str(n).encode() for n in range(40))
    assert {key.split("/")[1] for key in found} == {"a", "b"}
    assert all(key.endswith(".gz") and "/lake-1-" in key for key in found)
    metadata = function.calls[0]["records"][0]["kinesisRecordMetadata"]
    assert metadata["shardId"].startswith("shardId-")
    assert metadata["sequenceNumber"].isdigit()


def test_it_begins_at_its_own_creation(firehose: Firehose) -> None:
    put(("a/0", b"before\n"))
    time.sleep(1.1)  # moto keeps arrival times in whole seconds
    create(firehose)
    put(("a/1", b"after\n"))
    assert lines(objects("rows/")) == [b"after"]


def test_what_was_delivered_is_not_delivered_again(
    aws: None, tmp_path: Path, function: Lambda
) -> None:
    first = Firehose(Host(tmp_path, function))  # type: ignore[arg-type]  # what it uses of a Host
    create(first)
    put(("a/0", b"one\n"))
    assert lines(objects("rows/")) == [b"one"]
    time.sleep(0.2)
    first.stop()
    put(("a/1", b"two\n"))
    second = Firehose(Host(tmp_path, function))  # type: ignore[arg-type]  # what it uses of a Host
    second.start()
    try:
        assert lines(objects("rows/", 2)) == [b"one", b"two"]
    finally:
        second.stop()


def test_a_round_that_breaks_is_read_again(
    firehose: Firehose, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = iter([True])

    def measure(*args: Any) -> None:
        if next(broken, False):
            raise RuntimeError("a fault between delivery and checkpoint")

    monkeypatch.setattr("local.services.firehose_delivery.Delivery._measure", measure)
    create(firehose)
    put(("a/0", b"one\n"))
    assert lines(objects("rows/", 2)) == [b"one", b"one"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda event: 1 / 0, "Lambda.FunctionError"),
        (lambda event: [], "Lambda.JsonProcessingException"),
        (lambda event: {"records": []}, "Lambda.MissingRecordId"),
        (
            lambda event: {"records": [*keyed(event)["records"], *keyed(event)["records"]]},
            "Lambda.DuplicatedRecordId",
        ),
        (
            lambda event: {
                "records": [{"recordId": "x", "result": "Ok", "data": ""}, *keyed(event)["records"]]
            },
            "Lambda.InvalidRecordId",
        ),
        (
            lambda event: {
                "records": [
                    {"recordId": r["recordId"], "result": "ProcessingFailed"}
                    for r in event["records"]
                ]
            },
            "Lambda.ProcessingFailedStatus",
        ),
        (
            lambda event: {
                "records": [
                    {"recordId": r["recordId"], "result": "Ok", "data": r["data"]}
                    for r in event["records"]
                ]
            },
            "DynamicPartitioning.MissingPartitionKeys",
        ),
        (lambda event: {"records": [], "padding": "x" * (6 << 20)}, "Lambda.ResponseTooLarge"),
    ],
)
def test_failed_records_go_to_the_error_prefix(
    firehose: Firehose, function: Lambda, answer: Any, code: str
) -> None:
    function.answer = answer
    create(firehose)
    put(("a/0", b"one\n"))
    [content] = objects("errors/processing-failed/").values()
    error = json.loads(content)
    assert error["errorCode"] == code
    assert base64.b64decode(error["rawData"]) == b"one\n"
    assert error["lambdaArn"] == "arn:f:$LATEST"
    assert not objects("rows/", 0)


LOG = {"Enabled": True, "LogGroupName": "delivery", "LogStreamName": "lake"}


def told(wanted: str, seconds: float = 5) -> Document:
    """The first message of the log that has a text, within a few seconds."""
    client = boto3.client("logs")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        events = client.get_log_events(logGroupName="delivery", logStreamName="lake")["events"]
        for event in events:
            if wanted in event["message"]:
                return dict(json.loads(event["message"]))
        time.sleep(0.05)
    raise AssertionError(f"{wanted} is not in the log")


@pytest.fixture
def log(aws: None) -> None:
    client = boto3.client("logs")
    client.create_log_group(logGroupName="delivery")
    client.create_log_stream(logGroupName="delivery", logStreamName="lake")


@pytest.mark.parametrize("operation", ["ListShards", "GetRecords", "PutObject"])
def test_rows_wait_for_a_grant_that_was_taken_away(
    firehose: Firehose, function: Lambda, log: None, operation: str
) -> None:
    function.denied = operation
    create(firehose, CloudWatchLoggingOptions=LOG)
    put(("a/0", b"one\n"))
    service = "S3" if operation == "PutObject" else "Kinesis"
    assert told(operation, 2)["errorCode"] == f"{service}.AccessDeniedException"
    assert not objects("", 0)
    function.denied = ""
    assert lines(objects("rows/")) == [b"one"]


def test_rows_are_kept_where_the_function_may_not_be_called(
    firehose: Firehose, function: Lambda, log: None
) -> None:
    function.denied = "Invoke"
    create(firehose, CloudWatchLoggingOptions=LOG)
    put(("a/0", b"one\n"))
    message = told("not authorized", 2)
    assert message["errorCode"] == "Lambda.InvokeAccessDenied"
    [content] = objects("errors/processing-failed/").values()
    error = json.loads(content)
    assert error["errorCode"] == "Lambda.InvokeAccessDenied"
    assert base64.b64decode(error["rawData"]) == b"one\n"
    function.denied = ""
    put(("a/1", b"two\n"))
    assert lines(objects("rows/")) == [b"two"]


def test_a_log_that_cannot_be_written_stops_no_delivery(
    firehose: Firehose, function: Lambda, log: None, caplog: pytest.LogCaptureFixture
) -> None:
    function.denied = "PutLogEvents"
    function.answer = lambda event: []
    create(firehose, CloudWatchLoggingOptions=LOG)
    put(("a/0", b"one\n"))
    assert objects("errors/processing-failed/")
    assert "its log was not written: " in caplog.text


def test_dropped_records_leave_nothing(firehose: Firehose, function: Lambda) -> None:
    function.answer = lambda event: {
        "records": [{"recordId": r["recordId"], "result": "Dropped"} for r in event["records"]]
    }
    create(firehose)
    put(("a/0", b"one\n"))
    deadline = time.monotonic() + 5
    while not function.calls and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert not objects("", 0)


def test_a_call_never_takes_more_than_its_buffer(firehose: Firehose, function: Lambda) -> None:
    create(firehose)
    for number in range(8):
        put((f"a/{number}", bytes(999_000)))
    objects("rows/")
    deadline = time.monotonic() + 5
    while sum(len(c["records"]) for c in function.calls) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    sizes = [
        sum(len(base64.b64decode(r["data"])) for r in call["records"]) for call in function.calls
    ]
    assert sum(sizes) == 8 * 999_000
    assert max(sizes) <= 3 << 20


def test_the_size_of_a_stream_does_not_slow_it(firehose: Firehose) -> None:
    create(firehose)
    row = b"AAAAAAAAAAAAAAAA,AAAAAAAAAAAAAAAA,AMZN,TECHNOLOGY,0.25\n"
    records = [(f"a/{n}", row * 4000) for n in range(25)]
    begun = time.monotonic()
    for record in records:
        put(record)
    total = 0
    while total < 100_000 and time.monotonic() < begun + 20:
        total = sum(len(c.splitlines()) for c in objects("rows/").values())
    assert total == 100_000


def test_direct_puts_survive_a_stop(aws: None, tmp_path: Path, function: Lambda) -> None:
    plain = {
        "RoleARN": ROLE,
        "BucketARN": "arn:aws:s3:::lake",
        "Prefix": "direct/",
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
    }
    first = Firehose(Host(tmp_path, function))  # type: ignore[arg-type]  # what it uses of a Host
    call = Dispatcher(first).call
    call(
        "CreateDeliveryStream",
        {"DeliveryStreamName": "d", "ExtendedS3DestinationConfiguration": plain},
        CALLER,
    )
    first.stop()
    first.put_record({"DeliveryStreamName": "d", "Record": {"Data": b"one\n"}}, CALLER)
    second = Firehose(Host(tmp_path, function))  # type: ignore[arg-type]  # what it uses of a Host
    second.start()
    try:
        assert lines(objects("direct/")) == [b"one"]
    finally:
        second.stop()


@pytest.mark.parametrize(
    "changes",
    [
        {"BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60}},
        {"BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 0}},
        {"Prefix": "rows/"},
        {"ErrorOutputPrefix": ""},
        {"CompressionFormat": "Snappy"},
        {"ProcessingConfiguration": {"Enabled": False}},
    ],
)
def test_settings_that_aws_refuses_are_refused(firehose: Firehose, changes: Document) -> None:
    with pytest.raises(ServiceError) as caught:
        create(firehose, **changes)
    assert caught.value.code == "InvalidArgumentException"
    assert Dispatcher(firehose).call("ListDeliveryStreams", {}, CALLER)["DeliveryStreamNames"] == []


def test_prefixes() -> None:
    when = 1_700_000_000.0  # 2023-11-14T22:13:20Z
    assert render_prefix("a/", when, {}) == "a/2023/11/14/22/"
    found = render_prefix("r/!{partitionKeyFromLambda:m}/!{timestamp:yyyy-MM}/", when, {"m": "x"})
    assert found == "r/x/2023-11/"
    assert render_prefix("e/!{firehose:error-output-type}/", when, {}, "failed") == "e/failed/"


def test_the_template_type(firehose: Firehose) -> None:
    [kind] = firehose.resource_types()
    properties = {
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": ROLE,
            "BucketARN": "arn:aws:s3:::lake",
            "BufferingHints": {"SizeInMBs": "1", "IntervalInSeconds": "60"},
        }
    }
    made = kind.create("Delivery", properties, Caller("", *(CALLER.account, CALLER.region)))
    assert made.physical_id.startswith("Delivery-")
    assert made.attributes["Arn"].endswith(f":deliverystream/{made.physical_id}")
    changed = json.loads(json.dumps(properties))
    changed["ExtendedS3DestinationConfiguration"]["Prefix"] = "other/"
    kind.update(made.physical_id, properties, changed, CALLER)
    described = Dispatcher(firehose).call(
        "DescribeDeliveryStream", {"DeliveryStreamName": made.physical_id}, CALLER
    )["DeliveryStreamDescription"]
    assert described["VersionId"] == "2"
    kind.delete(made.physical_id, properties, CALLER)
    kind.delete(made.physical_id, properties, CALLER)
