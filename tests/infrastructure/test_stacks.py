"""What the templates promise: nothing public, everything encrypted, every name where it belongs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tidemill.model import load_models
from tidemill.request_schema import request_schema

from .conftest import PROD, ROOT, VARIANTS, Assembly

OUTPUTS = {
    "ingestion": {
        "InputBucket",
        "LakeBucket",
        "StreamName",
        "DeliveryStreamName",
        "UploadsTable",
        "AlarmTopicArn",
        "InputQueueUrl",
        "LoadQueueUrl",
    },
    "warehouse": {"WorkgroupName", "Database"},
    "refresh": {
        "StateMachineArn",
        "ExecutionInput",
        "LedgerTable",
        "ArtefactsBucket",
        "StateMachineLogGroup",
    },
    "inference": {"ApiId", "ApiStage", "ApiUrl", "NamePrefix"},
}


def outputs(template: dict[str, Any]) -> dict[str, Any]:
    return {name: o["Value"] for name, o in template["Outputs"].items() if "Export" not in o}


def denies_plain_http(policy: dict[str, Any]) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        and statement["Principal"] in ("*", {"AWS": "*"})
        for statement in policy["Statement"]
    )


def test_the_outputs_are_there(assembly: Assembly) -> None:
    assert {m: set(outputs(t)) for m, t in assembly.templates.items()} == OUTPUTS
    example = json.loads(outputs(assembly.templates["refresh"])["ExecutionInput"])
    assert example["model"] in load_models(ROOT / "models")
    assert example["reason"] == "manual"


def test_buckets_are_private_encrypted_logged_and_closed_to_plain_http(assembly: Assembly) -> None:
    buckets = assembly.all("AWS::S3::Bucket")
    policies = assembly.all("AWS::S3::BucketPolicy")
    assert len(buckets) == 4
    for name, bucket in buckets.items():
        module, _, logical_id = name.partition("/")
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert properties["BucketEncryption"]
        assert ("LoggingConfiguration" in properties) == ("AccessLogs" not in name)
        assert "BucketName" not in properties
        policy = next(
            p["Properties"]["PolicyDocument"]
            for key, p in policies.items()
            if key.startswith(module) and p["Properties"]["Bucket"] == {"Ref": logical_id}
        )
        assert denies_plain_http(policy)
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Deny" or "Service" in statement["Principal"]


def test_queues_topic_and_stream_are_encrypted(assembly: Assembly) -> None:
    policies = assembly.all("AWS::SQS::QueuePolicy").values()
    for name, queue in assembly.all("AWS::SQS::Queue").items():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
        reference = {"Ref": name.partition("/")[2]}
        assert any(
            denies_plain_http(p["Properties"]["PolicyDocument"])
            for p in policies
            if reference in p["Properties"]["Queues"]
        )
    (topic,) = assembly.all("AWS::SNS::Topic").values()
    assert topic["Properties"]["KmsMasterKeyId"]
    (key,) = assembly.all("AWS::KMS::Key").values()
    assert key["Properties"]["EnableKeyRotation"] is True
    admitted = json.dumps(key["Properties"]["KeyPolicy"])
    assert "cloudwatch.amazonaws.com" in admitted
    assert "events.amazonaws.com" in admitted
    (stream,) = assembly.all("AWS::Kinesis::Stream").values()
    assert stream["Properties"]["StreamEncryption"]["EncryptionType"] == "KMS"


def test_every_queue_of_work_has_a_dead_letter_queue_with_an_alarm(assembly: Assembly) -> None:
    queues = assembly.all("AWS::SQS::Queue")
    dead = {name for name in queues if "DeadLetters" in name}
    for name, queue in queues.items():
        assert ("RedrivePolicy" in queue["Properties"]) == (name not in dead)
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in assembly.all("AWS::CloudWatch::Alarm").values()
        for dimension in alarm["Properties"].get("Dimensions", [])
        if dimension["Name"] == "QueueName"
    }
    assert watched == {name.partition("/")[2] for name in dead}


def test_alarms_tell_the_topic_and_say_what_to_do(assembly: Assembly) -> None:
    alarms = assembly.all("AWS::CloudWatch::Alarm")
    metrics = {alarm["Properties"]["MetricName"] for alarm in alarms.values()}
    assert {"Errors", "ExecutionsFailed", "5XXError", "DeliveryToS3.DataFreshness"} <= metrics
    for name, alarm in alarms.items():
        assert "AlarmTopic" in json.dumps(alarm["Properties"]["AlarmActions"]), name
        assert len(alarm["Properties"]["AlarmDescription"]) > 30


def test_each_function_has_its_own_role_log_and_code(assembly: Assembly) -> None:
    functions = assembly.all("AWS::Lambda::Function")
    handlers = [function["Properties"]["Handler"] for function in functions.values()]
    folders = {path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py")}
    assert sorted(handlers) == sorted(f"lambdas.{name}.handler.handler" for name in folders)
    roles, groups = set(), set()
    for name, function in functions.items():
        properties = function["Properties"]
        assert properties["TracingConfig"] == {"Mode": "Active"}
        assert properties["Runtime"].startswith("python3.")
        roles.add(json.dumps(properties["Role"]) + name.partition("/")[0])
        groups.add(json.dumps(properties["LoggingConfig"]["LogGroup"]) + name.partition("/")[0])
        assert "FunctionName" not in properties
    assert len(roles) == len(groups) == len(functions)


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_log_group_forgets(synth: Callable[..., Assembly], settings: dict[str, str]) -> None:
    groups = synth(**settings).all("AWS::Logs::LogGroup")
    assert groups
    for group in groups.values():
        assert group["Properties"]["RetentionInDays"] == 30


def test_the_warehouse_is_private(assembly: Assembly) -> None:
    template = assembly.templates["warehouse"]
    (namespace,) = assembly.all("AWS::RedshiftServerless::Namespace").values()
    assert namespace["Properties"]["ManageAdminPassword"] is True
    assert "AdminUserPassword" not in namespace["Properties"]
    (workgroup,) = assembly.all("AWS::RedshiftServerless::Workgroup").values()
    assert workgroup["Properties"]["PubliclyAccessible"] is False
    assert workgroup["Properties"]["EnhancedVpcRouting"] is True
    assert len(workgroup["Properties"]["SubnetIds"]) == 3
    zones = {
        json.dumps(subnet["Properties"]["AvailabilityZone"])
        for subnet in assembly.all("AWS::EC2::Subnet").values()
    }
    assert len(zones) == 3
    types = {resource["Type"] for resource in template["Resources"].values()}
    assert not {"AWS::EC2::NatGateway", "AWS::EC2::InternetGateway"} & types
    (endpoint,) = assembly.all("AWS::EC2::VPCEndpoint").values()
    assert endpoint["Properties"]["VpcEndpointType"] == "Gateway"
    (group,) = assembly.all("AWS::EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in group["Properties"]


def test_the_state_machine_gets_every_placeholder(assembly: Assembly) -> None:
    (machine,) = assembly.all("AWS::StepFunctions::StateMachine").values()
    properties = machine["Properties"]
    asked = set(re.findall(r"\$\{(\w+)\}", properties["DefinitionString"]))
    assert set(properties["DefinitionSubstitutions"]) == asked
    assert properties["LoggingConfiguration"]["Level"] == "ALL"
    assert properties["LoggingConfiguration"]["IncludeExecutionData"] is True
    assert properties["TracingConfiguration"] == {"Enabled": True}
    assert properties["StateMachineType"] == "STANDARD"


def test_every_model_has_its_rule_and_its_route(assembly: Assembly) -> None:
    models = load_models(ROOT / "models")
    rules = [rule["Properties"] for rule in assembly.all("AWS::Events::Rule").values()]
    scheduled = {}
    for rule in rules:
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"]["Arn"]
            if "ScheduleExpression" in rule:
                document = json.loads(target["Input"])
                assert document["reason"] == "schedule"
                scheduled[document["model"]] = rule
    assert set(scheduled) == set(models)
    for name, model in models.items():
        rule = scheduled[name]
        assert rule["State"] == ("ENABLED" if model.refresh.schedule else "DISABLED")
        if model.refresh.schedule:
            assert rule["ScheduleExpression"] == model.refresh.schedule
    paths = {
        r["Properties"]["PathPart"] for r in assembly.all("AWS::ApiGateway::Resource").values()
    }
    assert paths == set(models)
    schemas = [m["Properties"]["Schema"] for m in assembly.all("AWS::ApiGateway::Model").values()]
    for model in models.values():
        assert request_schema(model) in schemas


def test_runs_that_end_badly_are_closed(assembly: Assembly) -> None:
    (pattern,) = (
        rule["Properties"]["EventPattern"]
        for rule in assembly.all("AWS::Events::Rule").values()
        if "EventPattern" in rule["Properties"]
    )
    assert pattern["detail"]["status"] == ["FAILED", "TIMED_OUT", "ABORTED"]
    assert pattern["source"] == ["aws.states"]


@pytest.mark.parametrize(
    ("auth", "authorization"),
    [("iam", "AWS_IAM"), pytest.param("key", "NONE", marks=pytest.mark.slow)],
)
def test_predictions_are_authorized_validated_and_throttled(
    synth: Callable[..., Assembly], auth: str, authorization: str
) -> None:
    assembly = synth(**PROD) if auth == "key" else synth()
    for method in assembly.all("AWS::ApiGateway::Method").values():
        properties = method["Properties"]
        assert properties["AuthorizationType"] == authorization
        assert properties["ApiKeyRequired"] is (auth == "key")
        assert properties["RequestValidatorId"]
        assert properties["RequestModels"]["application/json"]
    (stage,) = assembly.all("AWS::ApiGateway::Stage").values()
    assert stage["Properties"]["StageName"] == "predict"
    assert stage["Properties"]["TracingEnabled"] is True
    assert stage["Properties"]["AccessLogSetting"]
    (settings,) = stage["Properties"]["MethodSettings"]
    assert settings["ThrottlingRateLimit"] == 50
    assert bool(assembly.all("AWS::ApiGateway::UsagePlan")) == (auth == "key")
    assert ("ApiKeyId" in outputs(assembly.templates["inference"])) == (auth == "key")


@pytest.mark.parametrize("stage", ["dev", pytest.param("prod", marks=pytest.mark.slow)])
def test_production_keeps_its_data(synth: Callable[..., Assembly], stage: str) -> None:
    assembly = synth(**PROD) if stage == "prod" else synth()
    for kind in (
        "AWS::S3::Bucket",
        "AWS::DynamoDB::Table",
        "AWS::Kinesis::Stream",
        "AWS::KMS::Key",
        "AWS::ECR::Repository",
        "AWS::RedshiftServerless::Namespace",
        "AWS::RedshiftServerless::Workgroup",
    ):
        for resource in assembly.all(kind).values():
            assert resource["DeletionPolicy"] == ("Retain" if stage == "prod" else "Delete")


def test_custom_resources_are_ours_and_do_not_wait_for_an_hour(assembly: Assembly) -> None:
    types = {
        resource["Type"]
        for template in assembly.templates.values()
        for resource in template["Resources"].values()
    }
    custom = {name for name in types if name.startswith("Custom::")}
    assert custom == {"Custom::WarehouseMigration", "Custom::ContainerImage"}
    for name in custom:
        for resource in assembly.all(name).values():
            assert int(resource["Properties"]["ServiceTimeout"]) <= 900
