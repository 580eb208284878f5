"""What lasts: over a clean stop everything, over a kill what was acknowledged as durable."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import cloud as local_cloud
from local.recovery import redrive


def clients(running: local_cloud.Cloud) -> Callable[[str], Any]:
    def make(service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]  # the name is not a literal
            service,
            region_name=running.region,
            endpoint_url=running.endpoint_url,
            verify=str(running.authority),
            aws_access_key_id=running.access_key,
            aws_secret_access_key=running.secret_key,
        )

    return make


def kill(running: local_cloud.Cloud) -> None:
    os.kill(running.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(running.pid, 0)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cloud"
    local_cloud.stop(tmp_path / "cloud")


def make_table(client: Callable[[str], Any], name: str, key: str) -> None:
    client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def children_of(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def test_acknowledged_writes_outlive_a_kill(directory: Path) -> None:
    running = local_cloud.start(directory)
    client = clients(running)
    client("s3").create_bucket(Bucket="durable")
    client("s3").put_bucket_versioning(
        Bucket="durable", VersioningConfiguration={"Status": "Enabled"}
    )
    make_table(client, "before", "pk")
    time.sleep(5)  # a checkpoint
    make_table(client, "after", "pk")
    key = {"pk": {"S": "1"}}
    for _ in range(5):
        client("dynamodb").update_item(
            TableName="before",
            Key=key,
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
    client("dynamodb").put_item(TableName="after", Item={**key, "b": {"B": b"\x00\xff"}})
    versions = [
        client("s3").put_object(Bucket="durable", Key="a/b c.csv", Body=body)["VersionId"]
        for body in (b"first", b"second")
    ]
    kill(running)

    again = local_cloud.start(directory)
    assert again.endpoint_url == running.endpoint_url
    assert again.access_key == running.access_key
    client = clients(again)
    item = client("dynamodb").get_item(TableName="before", Key=key)["Item"]
    assert item["n"] == {"N": "5"}
    assert client("dynamodb").get_item(TableName="after", Key=key)["Item"]["b"]["B"] == b"\x00\xff"
    for version, body in zip(versions, (b"first", b"second"), strict=True):
        found = client("s3").get_object(Bucket="durable", Key="a/b c.csv", VersionId=version)
        assert found["Body"].read() == body
    # Once more, without a write in between: nothing is played twice.
    kill(again)
    client = clients(local_cloud.start(directory))
    item = client("dynamodb").get_item(TableName="before", Key=key)["Item"]
    assert item["n"] == {"N": "5"}


def test_a_killed_execution_fails_with_an_event(directory: Path) -> None:
    running = local_cloud.start(directory)
    client = clients(running)
    sqs, iam = client("sqs"), client("iam")
    url = sqs.create_queue(QueueName="ends")["QueueUrl"]
    queue = "arn:aws:sqs:us-east-1:000000000000:ends"
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
    }
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [allowed]})}
    )
    pattern = {"source": ["aws.states"], "detail": {"status": ["FAILED"]}}
    client("events").put_rule(Name="ends", EventPattern=json.dumps(pattern))
    client("events").put_targets(Rule="ends", Targets=[{"Id": "1", "Arn": queue}])
    states_service = {"Service": "states.amazonaws.com"}
    assume = {"Effect": "Allow", "Principal": states_service, "Action": "sts:AssumeRole"}
    trust = {"Statement": [assume]}
    role = iam.create_role(RoleName="waits", AssumeRolePolicyDocument=json.dumps(trust))
    wait = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}
    states = client("stepfunctions")
    machine = states.create_state_machine(
        name="waits", roleArn=role["Role"]["Arn"], definition=json.dumps(wait)
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    time.sleep(5)  # a checkpoint
    kill(running)

    client = clients(local_cloud.start(directory))
    found = client("stepfunctions").describe_execution(executionArn=execution)
    assert found["status"] == "FAILED"
    messages = client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    detail = json.loads(messages[0]["Body"])["detail"]
    assert (detail["executionArn"], detail["status"]) == (execution, "FAILED")


def test_lost_announcements_are_made_again(directory: Path) -> None:
    running = local_cloud.start(directory)
    client = clients(running)
    s3, sqs = client("s3"), client("sqs")
    for name, prefix in (("input", "stream-input-data/"), ("lake", "rows/")):
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        queue = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        s3.create_bucket(Bucket=f"{name}-bucket")
        s3.put_bucket_versioning(
            Bucket=f"{name}-bucket", VersioningConfiguration={"Status": "Enabled"}
        )
        # The queue's policy admits nobody: the bucket's own announcements are lost.
        rules = [{"Name": "prefix", "Value": prefix}]
        s3.put_bucket_notification_configuration(
            Bucket=f"{name}-bucket",
            NotificationConfiguration={
                "QueueConfigurations": [
                    {
                        "QueueArn": queue,
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": rules}},
                    }
                ]
            },
            SkipDestinationValidation=True,
        )
    make_table(client, "uploads", "source_id")
    put = {
        key: s3.put_object(Bucket="input-bucket", Key=key, Body=b"x")["VersionId"]
        for key in ("stream-input-data/m/one two.csv", "stream-input-data/m/done.csv", "other")
    }
    client("dynamodb").put_item(
        TableName="uploads",
        Item={
            "source_id": {"S": "1"},
            "bucket": {"S": "input-bucket"},
            "key": {"S": "stream-input-data/m/done.csv"},
            "version_id": {"S": put["stream-input-data/m/done.csv"]},
            "state": {"S": "sent"},
        },
    )
    for key in ("rows/m/1.gz", "rows/m/2.gz"):
        s3.put_object(Bucket="lake-bucket", Key=key, Body=b"x")
    found = redrive(
        client,
        input_bucket="input-bucket",
        lake_bucket="lake-bucket",
        uploads_table="uploads",
        loaded_files=["s3://lake-bucket/rows/m/1.gz"],
    )
    assert (found.uploads, found.lake_files) == (1, 1)
    url = sqs.get_queue_url(QueueName="input")["QueueUrl"]
    body = json.loads(sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"])
    described = body["Records"][0]["s3"]["object"]
    assert described["key"] == "stream-input-data/m/one+two.csv"
    assert described["versionId"] == put["stream-input-data/m/one two.csv"]


def test_state_follows_the_cloud_to_another_port(directory: Path) -> None:
    running = local_cloud.start(directory)
    url = clients(running)("sqs").create_queue(QueueName="waits")["QueueUrl"]
    clients(running)("sqs").send_message(QueueUrl=url, MessageBody="hello")
    local_cloud.stop(directory)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int((directory / "port").read_text())))
        taken.listen()
        again = local_cloud.start(directory)
    assert again.endpoint_url != running.endpoint_url
    sqs = clients(again)("sqs")
    url = sqs.get_queue_url(QueueName="waits")["QueueUrl"]
    assert url.startswith(again.endpoint_url)
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"


def test_a_start_tells_how_the_last_process_ended(directory: Path) -> None:
    running = local_cloud.start(directory)
    assert running.unrecovered == local_cloud.Unrecovered(None)
    running.recovered()
    assert running.unrecovered is None
    local_cloud.stop(directory)
    running = local_cloud.start(directory)
    assert running.unrecovered == local_cloud.Unrecovered(None)
    running.checkpoint()
    before = time.time()
    kill(running)
    found = local_cloud.start(directory).unrecovered
    assert found is not None and found.killed_after is not None
    assert before - 10 < found.killed_after < before
    # Nobody recovered: another clean end takes nothing back.
    local_cloud.stop(directory)
    assert local_cloud.start(directory).unrecovered == found


def test_a_stop_leaves_nothing_but_state(directory: Path) -> None:
    running = local_cloud.start(directory)
    client = clients(running)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    document = json.dumps({"Statement": [{**trust, "Action": "sts:AssumeRole"}]})
    role = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=document)
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return 1\n")
    client("lambda").create_function(
        FunctionName="f",
        Runtime="python3.13",
        Handler="index.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": packed.getvalue()},
    )
    client("lambda").invoke(FunctionName="f")
    workers = children_of(running.pid)
    assert workers
    started = time.monotonic()
    assert local_cloud.stop(directory)
    assert time.monotonic() - started < 10
    assert local_cloud.find(directory) is None
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not (directory / "tmp").exists()

    again = local_cloud.start(directory)
    client = clients(again)
    assert client("lambda").invoke(FunctionName="f")["Payload"].read() == b"1"
    workers = children_of(again.pid)
    kill(again)
    limit = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not local_cloud.stop(directory)
