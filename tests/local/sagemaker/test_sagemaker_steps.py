"""Step Functions starts jobs and waits for them with `.sync`."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4


def statement(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def run(lab: Any, workshop: Any, what: str) -> dict[str, Any]:
    name = f"step-{uuid4().hex[:8]}"
    role = lab.role(
        name,
        "states.amazonaws.com",
        statement("sagemaker:*", "iam:PassRole", "events:*"),
    )
    request = {
        "TrainingJobName": name,
        "RoleArn": workshop.job_role,
        "AlgorithmSpecification": {"TrainingImage": workshop.image, "TrainingInputMode": "File"},
        "HyperParameters": {"what": what},
        "OutputDataConfig": {"S3OutputPath": "s3://workshop/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 5,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    resource = "arn:aws:states:::sagemaker:createTrainingJob.sync"
    machine = lab.machine(name, role, lab.task(resource, request))
    ended = lab.ended(lab.run(machine))
    return {**ended, "job": name}


def test_a_training_job_is_waited_for(lab: Any, workshop: Any) -> None:
    ended = run(lab, workshop, "work")
    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    assert output["TrainingJobStatus"] == "Completed"
    uri = output["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://workshop/out/{ended['job']}/output/model.tar.gz"
    assert output["CreationTime"] > 1e12  # in milliseconds, as Step Functions shows it


def test_a_failed_training_job_fails_its_task(lab: Any, workshop: Any) -> None:
    ended = run(lab, workshop, "fail")
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed"), ended
    cause = json.loads(ended["cause"])
    assert cause["FailureReason"] == "AlgorithmError: no such luck, exit code: 3"
