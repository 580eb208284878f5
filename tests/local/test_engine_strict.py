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


def test_a_user_without_a_grant_is_denied(client: Any, lab: Any) -> None:
    nobody = lab.user("nobody")
    with pytest.raises(ClientError, match="AccessDenied"):
        client("codebuild", **nobody).list_projects()
    with pytest.raises(ClientError, match="AccessDenied"):
        client("dynamodb", **nobody).list_tables()


def test_a_role_is_not_passed_without_the_grant(client: Any, lab: Any) -> None:
    arn = lab.role("not-to-be-passed", "states.amazonaws.com")
    states = client("stepfunctions", **lab.user("passer", lab.allow("states:*")))
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    with pytest.raises(ClientError, match="iam:PassRole"):
        states.create_state_machine(name="passed", roleArn=arn, definition=definition)
    lab.grant_user("passer", lab.allow("states:*"), lab.allow("iam:PassRole", on=arn))
    states.create_state_machine(name="passed", roleArn=arn, definition=definition)


def taking_roles(arn: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """What hands a role to a service of ours: whom the role trusts, the operation, its request."""
    s3 = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://none/none"}}}
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    return {
        "firehose": (
            "firehose",
            "create_delivery_stream",
            {
                "DeliveryStreamName": "passed",
                "ExtendedS3DestinationConfiguration": {
                    "RoleARN": arn,
                    "BucketARN": "arn:aws:s3:::none",
                },
            },
        ),
        "redshift-serverless": (
            "redshift",
            "create_namespace",
            {"namespaceName": "passed", "iamRoles": [arn]},
        ),
        "codebuild": (
            "codebuild",
            "create_project",
            {
                "name": "passed",
                "serviceRole": arn,
                "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2"},
                "artifacts": {"type": "NO_ARTIFACTS"},
                "environment": {
                    "type": "LINUX_CONTAINER",
                    "image": "aws/codebuild/standard:7.0",
                    "computeType": "BUILD_GENERAL1_SMALL",
                },
            },
        ),
        "sagemaker": (
            "sagemaker",
            "create_training_job",
            {
                "TrainingJobName": "passed",
                "RoleArn": arn,
                "AlgorithmSpecification": {"TrainingImage": "none", "TrainingInputMode": "File"},
                "InputDataConfig": [{"ChannelName": "train", **s3}],
                "OutputDataConfig": {"S3OutputPath": "s3://none/none"},
                "ResourceConfig": resources,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            },
        ),
    }


@pytest.mark.parametrize("service", list(taking_roles("")))
def test_a_service_of_ours_takes_only_a_role_that_may_be_passed(
    client: Any, lab: Any, service: str
) -> None:
    arn = f"arn:aws:iam::{lab.account}:role/handed-to-{service}"
    trusted, operation, request = taking_roles(arn)[service]
    lab.role(f"handed-to-{service}", f"{trusted}.amazonaws.com")
    user, anything = f"hands-to-{service}", lab.allow(f"{service}:*")
    ask = getattr(client(service, **lab.user(user, anything)), operation)

    def passing(to: str) -> dict[str, Any]:
        condition = {"StringEquals": {"iam:PassedToService": f"{to}.amazonaws.com"}}
        return {**lab.allow("iam:PassRole", on=arn), "Condition": condition}

    with pytest.raises(ClientError, match="iam:PassRole"):
        ask(**request)
    lab.grant_user(user, anything, passing(to="ec2"))
    with pytest.raises(ClientError, match="iam:PassRole"):
        ask(**request)
    lab.grant_user(user, anything, passing(to=trusted))
    try:
        ask(**request)
    except ClientError as error:  # what the role may do is not in question here
        assert "iam:PassRole" not in str(error)


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
    own = f"arn:aws:dynamodb:us-east-1:{lab.account}:table/of-${{aws:username}}"
    tables = client("dynamodb", **lab.user("variable", lab.allow("dynamodb:DescribeTable", on=own)))
    with pytest.raises(ClientError, match="ResourceNotFound"):
        tables.describe_table(TableName="of-variable")
    with pytest.raises(ClientError, match="AccessDenied"):
        tables.describe_table(TableName="of-another")


def test_records_are_granted_by_the_streams_arn(client: Any, lab: Any) -> None:
    kinesis = client("kinesis")
    kinesis.create_stream(StreamName="granted", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="granted")
    arn = f"arn:aws:kinesis:us-east-1:{lab.account}:stream/granted"
    statement = lab.allow("kinesis:GetRecords", "kinesis:GetShardIterator", on=arn)
    reader = client("kinesis", **lab.user("reader", statement))
    iterator = reader.get_shard_iterator(
        StreamName="granted", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )
    assert reader.get_records(ShardIterator=iterator["ShardIterator"])["Records"] == []


def test_a_log_is_granted_by_its_streams_arn(client: Any, lab: Any) -> None:
    logs = client("logs")
    for group in ("granted", "other"):
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
    # As CloudFormation's GetAtt gives the group's ARN.
    arn = f"arn:aws:logs:us-east-1:{lab.account}:log-group:granted:*"
    writer = client("logs", **lab.user("writer", lab.allow("logs:PutLogEvents", on=arn)))
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
    arn = f"arn:aws:ecr:us-east-1:{lab.account}:repository/granted"
    puller = client("ecr", **lab.user("puller", lab.allow("ecr:DescribeImages", on=arn)))
    assert puller.describe_images(repositoryName="granted")["imageDetails"] == []
    with pytest.raises(ClientError, match="AccessDenied"):
        puller.list_images(repositoryName="granted")
