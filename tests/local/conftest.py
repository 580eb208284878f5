"""One local cloud for a whole session of tests, reached by real boto3 over TLS."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest

from local import cloud as local_cloud


class Client(Protocol):
    def __call__(self, service: str, **credentials: str) -> Any: ...


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_cloud.Cloud]:
    directory = Path(tmp_path_factory.mktemp("cloud"))
    try:
        yield local_cloud.start(directory)
    finally:
        local_cloud.stop(directory)


def client_of(running: local_cloud.Cloud, service: str, **credentials: str) -> Any:
    """A boto3 client of a cloud, as the administrator unless other credentials are given."""
    return boto3.client(  # type: ignore[call-overload]  # the name is not a literal
        service,
        region_name=running.region,
        endpoint_url=running.endpoint_url,
        verify=str(running.authority),
        **{
            "aws_access_key_id": running.access_key,
            "aws_secret_access_key": running.secret_key,
            **credentials,
        },
    )


@pytest.fixture(scope="session")
def client(cloud: local_cloud.Cloud) -> Client:
    def make(service: str, **credentials: str) -> Any:
        return client_of(cloud, service, **credentials)

    return make


class Lab:
    """What the engine's tests make on a cloud: roles, functions and state machines."""

    account = "000000000000"

    def __init__(self, client: Client) -> None:
        self.client = client

    def role(self, name: str, service: str, *statements: dict[str, Any]) -> str:
        """The ARN of a role for a service with one inline policy."""
        iam = self.client("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
            ],
        }
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"][
            "Arn"
        ]
        if statements:
            self.grant(name, *statements)
        return str(arn)

    def grant(self, name: str, *statements: dict[str, Any]) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        self.client("iam").put_role_policy(
            RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(document)
        )

    def user(self, name: str, *statements: dict[str, Any]) -> dict[str, str]:
        """The credentials of a new user who may do what the statements say, and nothing else."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        self.grant_user(name, *statements)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }

    def grant_user(self, name: str, *statements: dict[str, Any]) -> None:
        if statements:
            document = {"Version": "2012-10-17", "Statement": list(statements)}
            self.client("iam").put_user_policy(
                UserName=name, PolicyName="inline", PolicyDocument=json.dumps(document)
            )

    @staticmethod
    def allow(*actions: str, on: str = "*") -> dict[str, Any]:
        return {"Effect": "Allow", "Action": list(actions), "Resource": on}

    def function(self, name: str, code: str, role_arn: str, **settings: Any) -> str:
        """The ARN of a Python function whose handler is `handler(event, context)`."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("index.py", code)
        made = self.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Handler="index.handler",
            Role=role_arn,
            Code={"ZipFile": packed.getvalue()},
            **settings,
        )
        return str(made["FunctionArn"])

    def machine(self, name: str, role_arn: str, definition: dict[str, Any]) -> str:
        made = self.client("stepfunctions").create_state_machine(
            name=name, roleArn=role_arn, definition=json.dumps(definition)
        )
        return str(made["stateMachineArn"])

    def run(self, arn: str, data: Any = None) -> str:
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=arn, input=json.dumps(data or {})
        )
        return str(started["executionArn"])

    def ended(self, execution: str, seconds: float = 20) -> dict[str, Any]:
        limit = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = self.client("stepfunctions").describe_execution(
                executionArn=execution
            )
            if found["status"] != "RUNNING" or time.monotonic() > limit:
                return found
            time.sleep(0.05)

    @staticmethod
    def task(resource: str, arguments: Any, **more: Any) -> dict[str, Any]:
        """A machine of one JSONata task."""
        return {
            "QueryLanguage": "JSONata",
            "StartAt": "Only",
            "States": {
                "Only": {
                    "Type": "Task",
                    "Resource": resource,
                    "Arguments": arguments,
                    "End": True,
                    **more,
                }
            },
        }


@pytest.fixture(scope="session")
def lab(client: Client) -> Lab:
    return Lab(client)
