"""Nobody gets in unsigned or by a back door, and nothing but loopback listens."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError


def ask(cloud: Any, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(  # noqa: S310 - the local cloud's own address
        cloud.endpoint_url + path, method=method, headers=headers
    )
    context = ssl.create_default_context(cafile=str(cloud.authority))
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_administrator_is_a_user(client: Any) -> None:
    arn = client("sts").get_caller_identity()["Arn"]
    assert arn.endswith(":user/tidemill-administrator")


@pytest.mark.parametrize("key", ["test", "000000000000", "AKIANOBODY0000000000"])
def test_keys_of_nobody_are_refused(client: Any, key: str) -> None:
    stranger = client("sqs", aws_access_key_id=key, aws_secret_access_key="test")
    with pytest.raises(ClientError) as caught:
        stranger.list_queues()
    assert caught.value.response["Error"]["Code"] in (
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    )


@pytest.mark.parametrize("service", ["sqs", "dynamodb", "states", "codebuild", "sagemaker"])
def test_a_wrong_signature_is_refused(cloud: Any, client: Any, service: str) -> None:
    operation = {
        "sqs": "list_queues",
        "dynamodb": "list_tables",
        "states": "list_state_machines",
        "codebuild": "list_projects",
        "sagemaker": "list_models",
    }[service]
    name = "stepfunctions" if service == "states" else service
    forged = client(name, aws_secret_access_key="not-the-secret")
    with pytest.raises(ClientError) as caught:
        getattr(forged, operation)()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)
    assert "ignature" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "SageMaker.ListModels"),
        ("/", "CodeBuild_20161006.ListProjects"),
        ("/", "DynamoDB_20120810.ListTables"),
        ("/endpoints/any/invocations", ""),
    ],
)
def test_an_unsigned_request_is_refused(cloud: Any, path: str, target: str) -> None:
    headers = {"X-Amz-Target": target} if target else {}
    status, _ = ask(cloud, path, "POST", **headers)
    assert status in (400, 403, 404, 405)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("POST", "/_ministack/config"),
        ("GET", "/_ministack/sqs/messages"),
        ("GET", "/_localstack/health"),
        ("POST", "/_ministack/rds/iam-auth"),
        ("GET", "/_ministack/../_ministack/sqs/messages"),
    ],
)
def test_administration_is_closed(cloud: Any, method: str, path: str) -> None:
    assert ask(cloud, path, method)[0] == 403


def test_health_is_open(cloud: Any) -> None:
    assert ask(cloud, "/_ministack/health")[0] == 200


def test_a_foreign_host_name_is_refused(cloud: Any) -> None:
    assert ask(cloud, "/_ministack/health", Host="evil.example")[0] == 403


def test_a_user_without_a_grant_is_denied(client: Any) -> None:
    iam = client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    mine = {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
    with pytest.raises(ClientError, match="AccessDenied"):
        client("codebuild", **mine).list_projects()
    with pytest.raises(ClientError, match="AccessDenied"):
        client("dynamodb", **mine).list_tables()


def test_a_role_is_not_passed_without_the_grant(client: Any, lab: Any) -> None:
    iam = client("iam")
    arn = lab.role("not-to-be-passed", "states.amazonaws.com")
    iam.create_user(UserName="passer")
    key = iam.create_access_key(UserName="passer")["AccessKey"]
    policy = {"Version": "2012-10-17", "Statement": [lab.allow("states:*")]}
    iam.put_user_policy(UserName="passer", PolicyName="p", PolicyDocument=json.dumps(policy))
    states = client(
        "stepfunctions",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    with pytest.raises(ClientError, match="iam:PassRole"):
        states.create_state_machine(name="passed", roleArn=arn, definition=definition)
    policy["Statement"].append(lab.allow("iam:PassRole", on=arn))
    iam.put_user_policy(UserName="passer", PolicyName="p", PolicyDocument=json.dumps(policy))
    states.create_state_machine(name="passed", roleArn=arn, definition=definition)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="wants Linux's /proc")
def test_only_loopback_listens(cloud: Any) -> None:
    sockets = {
        str(link.readlink())
        for link in Path(f"/proc/{cloud.pid}/fd").iterdir()
        if link.is_symlink() and str(link.readlink()).startswith("socket:")
    }
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{cloud.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in sockets and fields[3] in ("0A", "07"):
                listening.append(fields[1])
    assert [address.partition(":")[0] for address in listening] == ["0100007F"]


def test_an_unknown_resource_type_is_refused(client: Any) -> None:
    template = {"Resources": {"X": {"Type": "AWS::Nothing::AtAll", "Properties": {}}}}
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        client("cloudformation").create_stack(
            StackName="unknown", TemplateBody=json.dumps(template)
        )


def test_policy_variables_have_values(client: Any, lab: Any) -> None:
    iam = client("iam")
    iam.create_user(UserName="variable")
    key = iam.create_access_key(UserName="variable")["AccessKey"]
    own = f"arn:aws:dynamodb:us-east-1:{lab.account}:table/of-${{aws:username}}"
    policy = {"Version": "2012-10-17", "Statement": [lab.allow("dynamodb:DescribeTable", on=own)]}
    iam.put_user_policy(UserName="variable", PolicyName="p", PolicyDocument=json.dumps(policy))
    tables = client(
        "dynamodb",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    with pytest.raises(ClientError, match="ResourceNotFound"):
        tables.describe_table(TableName="of-variable")
    with pytest.raises(ClientError, match="AccessDenied"):
        tables.describe_table(TableName="of-another")


def test_records_are_granted_by_the_streams_arn(client: Any, lab: Any) -> None:
    kinesis, iam = client("kinesis"), client("iam")
    kinesis.create_stream(StreamName="granted", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="granted")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    arn = f"arn:aws:kinesis:us-east-1:{lab.account}:stream/granted"
    statement = lab.allow("kinesis:GetRecords", "kinesis:GetShardIterator", on=arn)
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=json.dumps(policy))
    reader = client(
        "kinesis",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    iterator = reader.get_shard_iterator(
        StreamName="granted", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )
    assert reader.get_records(ShardIterator=iterator["ShardIterator"])["Records"] == []


def test_a_log_is_granted_by_its_streams_arn(client: Any, lab: Any) -> None:
    logs, iam = client("logs"), client("iam")
    for group in ("granted", "other"):
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
    iam.create_user(UserName="writer")
    key = iam.create_access_key(UserName="writer")["AccessKey"]
    # As CloudFormation's GetAtt gives the group's ARN.
    arn = f"arn:aws:logs:us-east-1:{lab.account}:log-group:granted:*"
    policy = {"Version": "2012-10-17", "Statement": [lab.allow("logs:PutLogEvents", on=arn)]}
    iam.put_user_policy(UserName="writer", PolicyName="p", PolicyDocument=json.dumps(policy))
    writer = client(
        "logs",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    event = {"timestamp": int(time.time() * 1000), "message": "told"}
    writer.put_log_events(logGroupName="granted", logStreamName="s", logEvents=[event])
    found = logs.get_log_events(logGroupName="granted", logStreamName="s")["events"]
    assert [event["message"] for event in found] == ["told"]
    with pytest.raises(ClientError, match="AccessDenied"):
        writer.put_log_events(logGroupName="other", logStreamName="s", logEvents=[event])
    with pytest.raises(ClientError, match="AccessDenied"):
        writer.get_log_events(logGroupName="granted", logStreamName="s")


def test_a_grant_on_a_resource_of_our_services_counts(client: Any, lab: Any) -> None:
    client("ecr").create_repository(repositoryName="granted")
    iam = client("iam")
    iam.create_user(UserName="puller")
    key = iam.create_access_key(UserName="puller")["AccessKey"]
    arn = f"arn:aws:ecr:us-east-1:{lab.account}:repository/granted"
    policy = {"Version": "2012-10-17", "Statement": [lab.allow("ecr:DescribeImages", on=arn)]}
    iam.put_user_policy(UserName="puller", PolicyName="p", PolicyDocument=json.dumps(policy))
    puller = client(
        "ecr",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    assert puller.describe_images(repositoryName="granted")["imageDetails"] == []
    with pytest.raises(ClientError, match="AccessDenied"):
        puller.list_images(repositoryName="granted")
