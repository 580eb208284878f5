"""Strict mode is real: take one grant from a role, and its step is refused. Each role in turn."""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import boto3
import pytest
from botocore.exceptions import ClientError

from local import cloud
from scripts.generate_data import write_stock_price

from .conftest import PROJECT, Journey

REFUSALS = ("AccessDenied", "not authorized", "permission denied")


def role_name(journey: Journey, stack: str, logical: str) -> str:
    """The physical name of the role whose logical id begins with `logical`."""
    pages = (
        journey.target.client("cloudformation")
        .get_paginator("list_stack_resources")
        .paginate(StackName=journey.target.stack_name(stack))
    )
    for page in pages:
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] == "AWS::IAM::Role" and resource[
                "LogicalResourceId"
            ].startswith(logical):
                return str(resource["PhysicalResourceId"])
    raise AssertionError(f"no role {logical} in {stack}")


@contextmanager
def without(journey: Journey, stack: str, logical: str, action: str) -> Iterator[None]:
    """The role without one action, in every statement that grants it."""
    iam = journey.target.client("iam")
    role = role_name(journey, stack, logical)
    kept = {
        name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    }
    taken = 0
    for name, document in kept.items():
        statements = []
        for statement in json.loads(json.dumps(document))["Statement"]:
            actions = statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            left = [a for a in actions if a != action]
            taken += len(actions) - len(left)
            if left:
                statements.append({**statement, "Action": left})
        placeholder = {"Effect": "Deny", "Action": action, "Resource": "*"}
        iam.put_role_policy(
            RoleName=role,
            PolicyName=name,
            PolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": statements or [placeholder]}
            ),
        )
    assert taken, f"{role} was never granted {action}"
    try:
        yield
    finally:
        for name, document in kept.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def log_tells_refusal(journey: Journey, group_part: str, since: float) -> bool:
    """Whether a log group tells of a refusal, within 40 seconds."""
    logs = journey.target.client("logs")
    limit = time.monotonic() + 40
    while time.monotonic() < limit:
        groups = logs.describe_log_groups()["logGroups"]
        for group in groups:
            if group_part.lower() not in group["logGroupName"].lower().replace("_", ""):
                continue
            events = logs.filter_log_events(
                logGroupName=group["logGroupName"], startTime=int(since * 1000)
            )["events"]
            if any(word in event["message"] for event in events for word in REFUSALS):
                return True
        time.sleep(0.5)
    return False


@pytest.fixture(scope="module")
def ready(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """With rows in the warehouse, so that runs can begin."""
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_stock_price(file, 3_000)
    journey.json("stream", "stock_price", str(file))
    return journey


def upload(journey: Journey, body: bytes) -> None:
    journey.target.client("s3").put_object(
        Bucket=journey.target.outputs["InputBucket"],
        Key=f"stream-input-data/stock_price/{time.time_ns()}.csv",
        Body=body,
    )


def a_run_fails(journey: Journey) -> str:
    answer = journey.run("refresh", "stock_price")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    return answer.stderr


RUN_ROLES = [
    ("refresh", "Role1", "lambda:InvokeFunction"),
    ("refresh", "Role1", "redshift-data:ExecuteStatement"),
    ("refresh", "FunctionsopenrunRole", "s3:PutObject"),
    ("warehouse", "UnloadRole", "s3:PutObject"),
    ("refresh", "JobRole", "s3:GetObject"),
]
LATER_RUN_ROLES = [
    ("refresh", "Role1", "sagemaker:CreateTrainingJob"),
    ("refresh", "Role1", "iam:PassRole"),
    ("refresh", "FunctionsjudgeversionRole", "s3:GetObject"),
    ("refresh", "FunctionsverifyreleaseRole", "sagemaker:InvokeEndpoint"),
    ("refresh", "FunctionspromoteversionRole", "dynamodb:PutItem"),
]


@pytest.mark.parametrize(
    ("stack", "role", "action"),
    [*RUN_ROLES, *(pytest.param(*case, marks=pytest.mark.slow) for case in LATER_RUN_ROLES)],
)
def test_a_run_fails_where_a_role_lacks_a_grant(
    ready: Journey, stack: str, role: str, action: str
) -> None:
    with without(ready, stack, role, action):
        told = a_run_fails(ready)
    assert any(word in told for word in REFUSALS), told


DIRTY = (PROJECT / "samples" / "dirty.csv").read_bytes
GOOD = (PROJECT / "samples" / "stock_price.csv").read_bytes


@pytest.mark.parametrize(
    ("stack", "role", "action", "log", "body"),
    [
        ("ingestion", "streamcsvRole", "kinesis:PutRecords", "streamcsv", GOOD),
        ("ingestion", "transformrecordsRole", "s3:PutObject", "transformrecords", DIRTY),
        ("ingestion", "DeliveryRole", "lambda:InvokeFunction", "delivery", GOOD),
        ("warehouse", "CopyRole", "s3:GetObject", "loadwarehouse", GOOD),
        (
            "warehouse",
            "loadwarehouseRole",
            "redshift-data:BatchExecuteStatement",
            "loadwarehouse",
            GOOD,
        ),
    ],
)
def test_rows_stop_where_a_role_lacks_a_grant(
    ready: Journey, stack: str, role: str, action: str, log: str, body: Callable[[], bytes]
) -> None:
    with without(ready, stack, role, action):
        since = time.time()
        upload(ready, body())
        assert log_tells_refusal(ready, log, since)


def test_a_build_fails_where_its_role_may_not_push(ready: Journey) -> None:
    codebuild = ready.target.client("codebuild")
    project = codebuild.list_projects()["projects"][0]
    with without(ready, "refresh", "ImageBuildRole", "ecr:PutImage"):
        build = codebuild.start_build(
            projectName=project,
            environmentVariablesOverride=[{"name": "IMAGE_TAG", "value": "strict-mode-test"}],
        )["build"]["id"]
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            described: dict[str, Any] = codebuild.batch_get_builds(ids=[build])["builds"][0]
            if described["buildStatus"] != "IN_PROGRESS":
                break
            time.sleep(0.5)
    assert described["buildStatus"] == "FAILED"
    assert any(word in json.dumps(described, default=str) for word in REFUSALS)


def test_an_unsigned_request_is_refused(journey: Journey) -> None:
    running = cloud.find(journey.state)
    assert running is not None
    context = ssl.create_default_context(cafile=running.environment()["AWS_CA_BUNDLE"])
    bucket = journey.target.outputs["InputBucket"]
    for path in (f"/{bucket}?list-type=2", "/_ministack/reset"):
        with pytest.raises(HTTPError) as refusal:
            urllib.request.urlopen(  # noqa: S310  # our own https address
                f"{running.endpoint_url}{path}", context=context
            )
        assert refusal.value.code == 403


def test_a_wrong_signature_is_refused(journey: Journey) -> None:
    running = cloud.find(journey.state)
    assert running is not None
    mine = running.environment()
    client = boto3.client(
        "s3",
        endpoint_url=running.endpoint_url,
        verify=mine["AWS_CA_BUNDLE"],
        region_name=mine["AWS_REGION"],
        aws_access_key_id=mine["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key="not the secret",
    )
    with pytest.raises(ClientError) as refusal:
        client.list_buckets()
    assert refusal.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_every_listening_socket_is_on_the_loopback(ready: Journey) -> None:
    running = cloud.find(ready.state)
    assert running is not None
    addresses = listening(running.pid)
    assert addresses
    assert all(address.startswith("0100007F") for address in addresses), addresses


def listening(pid: int) -> list[str]:
    """The addresses, as in /proc/net/tcp, on which a process or one below it listens."""
    inodes = set()
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").iterdir():
            pids += [int(child) for child in (task / "children").read_text().split()]
        for link in Path(f"/proc/{parent}/fd").iterdir():
            try:
                target = str(link.readlink())
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(fields[1])
    return found
