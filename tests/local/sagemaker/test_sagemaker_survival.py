"""What becomes of jobs and endpoints when the cloud ends, gently or not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import cloud as local_cloud


class Owner:
    """Starts one cloud again and again, and makes clients of the one that runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cloud = local_cloud.start(directory)

    def client(self, service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]  # the name is not a literal
            service,
            region_name=self.cloud.region,
            endpoint_url=self.cloud.endpoint_url,
            verify=str(self.cloud.authority),
            aws_access_key_id=self.cloud.access_key,
            aws_secret_access_key=self.cloud.secret_key,
        )

    def again(self, gently: bool) -> None:
        if gently:
            local_cloud.stop(self.directory)
        else:
            os.kill(self.cloud.pid, signal.SIGKILL)
        until_gone(self.cloud.pid)
        self.cloud = local_cloud.start(self.directory)


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    monkeypatch.setenv("TIDEMILL_SERVERLESS_IDLE_SECONDS", "0.5")
    made = Owner(tmp_path)
    yield made
    local_cloud.stop(tmp_path)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until_gone(pid: int) -> None:
    limit = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < limit, f"{pid} lives on"
        time.sleep(0.05)


def test_endpoints_come_back_and_rest(owner: Owner, make_workshop: Any) -> None:
    workshop = make_workshop(owner.client)
    data = workshop.trained(workshop.start_training())["ModelArtifacts"]["S3ModelArtifacts"]
    container = {"Image": workshop.image, "ModelDataUrl": data, "Environment": {"VERSION": "1"}}
    places: dict[str, dict[str, Any]] = {
        "instance": {"InstanceType": "ml.t2.medium", "InitialInstanceCount": 1},
        "serverless": {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 5}},
    }
    for name, place in places.items():
        client = workshop.sagemaker
        client.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn=workshop.job_role
        )
        variant = {"VariantName": "A", "ModelName": name, **place}
        client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        client.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def invoke(name: str) -> int:
        runtime = owner.client("sagemaker-runtime")
        limit = time.monotonic() + 10
        while True:
            described = owner.client("sagemaker").describe_endpoint(EndpointName=name)
            if described["EndpointStatus"] == "InService":
                break
            assert time.monotonic() < limit, described
            time.sleep(0.05)
        answer = runtime.invoke_endpoint(EndpointName=name, Body="x", ContentType="text/csv")
        return int(json.loads(answer["Body"].read())["pid"])

    pids = {name: invoke(name) for name in places}
    until_gone(pids["serverless"])  # rests
    assert alive(pids["instance"])
    assert alive(invoke("serverless"))  # and is woken
    for gently in (True, False):
        pids = {name: invoke(name) for name in places}
        job = workshop.start_training("linger") if not gently else ""
        owner.again(gently)
        for pid in pids.values():
            until_gone(pid)
        again = {name: invoke(name) for name in places}
        assert not set(again.values()) & set(pids.values())
        workshop.sagemaker = owner.client("sagemaker")
        workshop.s3 = owner.client("s3")
        if job:
            described = workshop.trained(job)
            assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Failed"
            assert "the local cloud ended" in described["FailureReason"]
