"""A stack whose deployment a kill interrupted is rolled back by the next start."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import cloud as local_cloud

from .test_engine_state import clients, kill

NAMESPACE = {
    "Type": "AWS::RedshiftServerless::Namespace",
    "Properties": {"NamespaceName": "named", "ManageAdminPassword": True, "DbName": "d"},
}
QUEUE = {"Type": "AWS::SQS::Queue"}


def endless(after: str) -> dict[str, Any]:
    """Resources that hold the deployment up after another one."""
    condition = {"Handle": {"Ref": "Handle"}, "Timeout": "600", "Count": 1}
    return {
        "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle", "DependsOn": after},
        "Condition": {"Type": "AWS::CloudFormation::WaitCondition", "Properties": condition},
    }


def template(**resources: Any) -> str:
    return json.dumps({"Resources": resources})


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cloud"
    local_cloud.stop(tmp_path / "cloud")


def until_made(cloudformation: Any, logical_id: str) -> None:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        events = cloudformation.describe_stack_events(StackName="s")["StackEvents"]
        if (logical_id, "CREATE_COMPLETE") in [
            (event["LogicalResourceId"], event["ResourceStatus"].replace("UPDATE", "CREATE"))
            for event in events
        ]:
            return
        time.sleep(0.05)
    raise AssertionError(f"{logical_id} was not made")


def status(cloudformation: Any) -> str:
    return str(cloudformation.describe_stacks(StackName="s")["Stacks"][0]["StackStatus"])


@pytest.mark.parametrize("seconds", [0, 3])
def test_an_interrupted_creation_leaves_nothing_in_the_way(directory: Path, seconds: float) -> None:
    running = local_cloud.start(directory)
    time.sleep(1)
    cloudformation = clients(running)("cloudformation")
    cloudformation.create_stack(
        StackName="s", TemplateBody=template(Named=NAMESPACE, **endless("Named"))
    )
    until_made(cloudformation, "Named")
    time.sleep(seconds)  # before the next checkpoint, and after it
    kill(running)
    running = local_cloud.start(directory)
    cloudformation = clients(running)("cloudformation")
    assert status(cloudformation) == "ROLLBACK_COMPLETE"
    assert clients(running)("redshift-serverless").list_namespaces()["namespaces"] == []
    cloudformation.delete_stack(StackName="s")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="s", WaiterConfig={"Delay": 1}
    )
    cloudformation.create_stack(StackName="s", TemplateBody=template(Named=NAMESPACE))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="s", WaiterConfig={"Delay": 1}
    )


def test_an_interrupted_update_goes_back(directory: Path) -> None:
    running = local_cloud.start(directory)
    cloudformation = clients(running)("cloudformation")
    cloudformation.create_stack(StackName="s", TemplateBody=template(First=QUEUE))
    until_made(cloudformation, "s")
    cloudformation.update_stack(
        StackName="s", TemplateBody=template(First=QUEUE, Second=QUEUE, **endless("Second"))
    )
    until_made(cloudformation, "Second")
    kill(running)
    cloudformation = clients(local_cloud.start(directory))("cloudformation")
    assert status(cloudformation) == "UPDATE_ROLLBACK_COMPLETE"
    kept = cloudformation.describe_stack_resources(StackName="s")["StackResources"]
    assert [resource["LogicalResourceId"] for resource in kept] == ["First"]
    queues = clients(local_cloud.start(directory))("sqs").list_queues()["QueueUrls"]
    assert len(queues) == 1
