"""Each role may do what is done as it, and nothing else.

What the functions do is declared here and held against the calls that their code makes; what the
state machine does is read from its definition.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import xform_name

from .conftest import ROOT, Assembly

# What each function's own calls need.
CALLS = {
    "build_image": {
        "codebuild:StartBuild",
        "codebuild:BatchGetBuilds",
        "ecr:DescribeImages",
        "ecr:DescribeRepositories",
    },
    "close_run": {
        *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
        "sns:Publish",
        *("sagemaker:DescribeEndpoint", "sagemaker:CreateEndpoint"),
        *("sagemaker:UpdateEndpoint", "sagemaker:DeleteEndpoint"),
    },
    "judge_version": {
        *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
        "s3:GetObject",
    },
    "load_warehouse": {
        "redshift-data:BatchExecuteStatement",
        "redshift-data:DescribeStatement",
        "s3:PutObject",
    },
    "migrate_warehouse": {
        "redshift-data:BatchExecuteStatement",
        "redshift-data:DescribeStatement",
        "redshift-data:ExecuteStatement",
        "redshift-data:GetStatementResult",
    },
    "open_run": {
        *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
        "s3:PutObject",
        "states:DescribeExecution",
        *("sagemaker:DescribeEndpoint", "sagemaker:CreateEndpoint"),
        *("sagemaker:UpdateEndpoint", "sagemaker:DeleteEndpoint"),
    },
    "predict": {"dynamodb:GetItem", "sagemaker:InvokeEndpoint"},
    "promote_version": {
        *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
        "dynamodb:ConditionCheckItem",
    },
    "stream_csv": {
        "dynamodb:PutItem",
        "kinesis:PutRecords",
        "s3:GetObject",
        "s3:PutObject",
        "sqs:SendMessage",
    },
    "transform_records": {"s3:PutObject"},
    "verify_release": {"s3:GetObject", "sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"},
}
# What such a call needs besides, as the service's page of the IAM reference has it.
IMPLIED = {
    # The topic is encrypted with a key of ours.
    "sns:Publish": {"kms:Decrypt", "kms:GenerateDataKey"},
}
LOGS_AND_TRACES = {
    *("logs:CreateLogStream", "logs:PutLogEvents"),
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
}
QUEUE = {
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"),
    *("sqs:GetQueueAttributes", "sqs:GetQueueUrl"),
}
# What Lambda does as the function, and what a call needs because of how it is made.
BESIDES = {
    "build_image": {"sqs:SendMessage"},  # its dead letters
    "close_run": {"sqs:SendMessage"},  # the same
    # It logs in to the warehouse as its role.
    "load_warehouse": {*QUEUE, "redshift-serverless:GetCredentials"},
    # It logs in by the administrator's secret.
    "migrate_warehouse": {"sqs:SendMessage", "secretsmanager:GetSecretValue"},
    # With the version of the object that the event names.
    "stream_csv": {*QUEUE, "s3:GetObjectVersion"},
}
PULL = {
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
}
SAGEMAKER = {
    *PULL,
    "cloudwatch:PutMetricData",
    *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams"),
    "logs:PutLogEvents",
    "s3:GetObject",
}
# What services do as the roles that are given to them, as their guides list it.
SERVICES = {
    "CopyRole": {"s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"},
    "UnloadRole": {
        *("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"),
        *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
    },
    "DeliveryRole": {
        *("kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator"),
        "kinesis:ListShards",
        *("lambda:InvokeFunction", "lambda:GetFunctionConfiguration"),
        "logs:PutLogEvents",
        *("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"),
        *("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"),
    },
    "ImageBuildRole": {
        *PULL,
        *("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
        "ecr:PutImage",
        *("logs:CreateLogStream", "logs:PutLogEvents"),
        *("s3:GetObject", "s3:GetObjectVersion"),
    },
    "JobRole": {
        *SAGEMAKER,
        *("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListBucket", "s3:GetBucketLocation"),
    },
    "EndpointRole": SAGEMAKER,
    "TriggersScheduleRole": {"states:StartExecution"},
}
# The logs and traces of a state machine, as Step Functions' guide lists them.
MACHINE = {
    *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery"),
    *("logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy"),
    *("logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
}
PREFIXES = {"sagemaker-runtime": "sagemaker", "stepfunctions": "states"}
# A transaction is authorized as what it is made of.
TRANSACTION = {
    *("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
    "dynamodb:ConditionCheckItem",
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def granted(assembly: Assembly) -> dict[str, list[dict[str, Any]]]:
    """The statements of each role's policies, by the role's logical id without its hash."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for policy in assembly.all("AWS::IAM::Policy").values():
        properties = policy["Properties"]
        for role in properties["Roles"]:
            name = role.get("Ref") or role["Fn::ImportValue"].partition("ExportsOutputRef")[2]
            found[re.sub(r"[0-9A-F]{8,}$", "", name)] += properties["PolicyDocument"]["Statement"]
    return found


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in listed(statement["Action"])}


def role_of(function: str, roles: dict[str, Any]) -> str:
    (role,) = (name for name in roles if name.endswith(f"{function.replace('_', '')}Role"))
    return role


@pytest.mark.parametrize("function", CALLS)
def test_a_function_may_do_what_it_does(assembly: Assembly, function: str) -> None:
    roles = granted(assembly)
    needed = CALLS[function] | LOGS_AND_TRACES | BESIDES.get(function, set())
    for action in CALLS[function]:
        needed |= IMPLIED.get(action, set())
    assert actions(roles[role_of(function, roles)]) == needed


@pytest.mark.parametrize("role", SERVICES)
def test_a_service_may_do_what_its_guide_lists(assembly: Assembly, role: str) -> None:
    assert actions(granted(assembly)[role]) == SERVICES[role]


def test_the_state_machine_may_do_what_its_definition_says(assembly: Assembly) -> None:
    (role,) = (name for name in granted(assembly) if re.fullmatch(r"Role\d?", name))
    assert actions(granted(assembly)[role]) == set(defined()) | MACHINE


def test_no_role_is_forgotten(assembly: Assembly) -> None:
    roles = granted(assembly)
    known = {role_of(function, roles) for function in CALLS} | set(SERVICES)
    assert [name for name in roles if name not in known] in (["Role"], ["Role1"])
    assert {path.parent.name for path in ROOT.glob("lambdas/*/handler.py")} == set(CALLS)


def test_the_declared_calls_are_those_that_the_code_makes() -> None:
    made = {call for path in (ROOT / "lambdas").rglob("*.py") for call in calls(path)}
    assert "dynamodb:TransactWriteItems" in made
    made = made - {"dynamodb:TransactWriteItems"} | TRANSACTION
    assert made == set().union(*CALLS.values())


def test_endpoints_are_changed_on_both_of_their_resources(assembly: Assembly) -> None:
    """CreateEndpoint and UpdateEndpoint ask about the endpoint and about its configuration."""
    for name, statements in granted(assembly).items():
        for action in ("sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"):
            resources = json.dumps(
                [s["Resource"] for s in statements if action in listed(s["Action"])]
            )
            asked = action in actions(statements)
            assert (":endpoint/tidemill-dev-*" in resources) == asked, name
            assert (":endpoint-config/tidemill-dev-*" in resources) == asked, name


def test_endpoints_read_trained_models_only(assembly: Assembly) -> None:
    files = [
        statement
        for statement in granted(assembly)["EndpointRole"]
        if any(action.startswith("s3:") for action in listed(statement["Action"]))
    ]
    (statement,) = files
    assert json.dumps(statement["Resource"]).endswith('"/runs/*/model.tar.gz"]]}')


def calls(path: Path) -> Iterator[str]:
    """The actions of the boto3 calls in a file: operations of the services that it names."""
    tree = ast.parse(path.read_text())
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    known = boto3.session.Session().get_available_services()
    services = {word for word in words if isinstance(word, str) and word in known}
    operations = {
        xform_name(operation): f"{PREFIXES.get(service, service)}:{operation}"
        for service in services
        for operation in botocore.session.get_session().get_service_model(service).operation_names
    }
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in operations:
            yield operations[called.attr]


def defined() -> Iterator[str]:
    """The actions that the state machine's tasks need."""
    definition = json.loads((ROOT / "state_machines" / "model_refresh.asl.json").read_text())
    for state in definition["States"].values():
        if state["Type"] != "Task":
            continue
        if "RoleArn" in json.dumps(list(state["Arguments"])):
            yield "iam:PassRole"
        match state["Resource"].split(":")[5:]:
            case ["lambda", "invoke"]:
                yield "lambda:InvokeFunction"
            case ["sns", "publish"]:
                yield "sns:Publish"
                yield from IMPLIED["sns:Publish"]
            case ["sagemaker", operation]:
                name, _, sync = operation.partition(".")
                action = name[0].upper() + name[1:]
                yield f"sagemaker:{action}"
                # Step Functions tags what it makes.
                yield "sagemaker:AddTags"
                if sync:  # it follows the job by a rule, and stops it with the execution
                    job = action.removeprefix("Create")
                    yield from (f"sagemaker:Describe{job}", f"sagemaker:Stop{job}")
                    yield from ("events:PutTargets", "events:PutRule", "events:DescribeRule")
            case ["aws-sdk", "redshiftdata", operation]:
                yield f"redshift-data:{operation[0].upper()}{operation[1:]}"
                if operation == "executeStatement":
                    yield "redshift-serverless:GetCredentials"
            case ["aws-sdk", service, operation]:
                yield f"{service}:{operation[0].upper()}{operation[1:]}"
            case other:
                raise AssertionError(f"what does {other} need?")
