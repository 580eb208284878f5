"""Jobs run as processes under SageMaker's contract, as their role."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        return {
            entry.name: found.read()
            for entry in archive
            if (found := archive.extractfile(entry)) is not None
        }


def test_a_training_job_leaves_its_model(workshop: Any) -> None:
    name = workshop.start_training()
    job = workshop.trained(name)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    statuses = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://workshop/out/{name}/output/model.tar.gz"
    model = json.loads(members(workshop.read(f"out/{name}/output/model.tar.gz"))["sub/model.json"])
    assert model == {"rows": ["1\n", "2\n"], "what": "work", "name": name}
    assert members(workshop.read(f"out/{name}/output/output.tar.gz")) == {"notes.txt": b"hello"}
    assert job["FinalMetricDataList"][0]["Value"] == 2.5
    assert "score=2.5" in workshop.logs("/aws/sagemaker/TrainingJobs", f"{name}/")


def test_equal_models_are_equal_archives(workshop: Any) -> None:
    same = {"HyperParameters": {"name": "same"}}
    names = [workshop.start_training(**same) for _ in range(2)]
    for name in names:
        workshop.trained(name)
    first, second = (workshop.read(f"out/{name}/output/model.tar.gz") for name in names)
    assert first == second


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("fail", "AlgorithmError: no such luck, exit code: 3"),
        ("crash", "AlgorithmError: , exit code: -6"),
    ],
)
def test_a_failing_process_fails_its_job(workshop: Any, what: str, reason: str) -> None:
    job = workshop.trained(workshop.start_training(what))
    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", reason)
    assert "ModelArtifacts" not in job


def test_a_stopped_job_keeps_what_it_had(workshop: Any) -> None:
    name = workshop.start_training("linger")
    while workshop.sagemaker.describe_training_job(TrainingJobName=name)[
        "SecondaryStatus"
    ] != "Training" or "lingering" not in workshop.logs("/aws/sagemaker/TrainingJobs", name):
        time.sleep(0.05)
    workshop.sagemaker.stop_training_job(TrainingJobName=name)
    job = workshop.trained(name)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert "Stopping" in [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert job["ModelArtifacts"]
    with pytest.raises(ClientError, match="in status Stopped"):
        workshop.sagemaker.stop_training_job(TrainingJobName=name)


def test_a_job_ends_with_its_time(workshop: Any) -> None:
    name = workshop.start_training("linger", StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = workshop.trained(name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert job["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_missing_data_fails_with_the_reason(workshop: Any) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://workshop/nothing-here"}
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
    job = workshop.trained(workshop.start_training(InputDataConfig=[channel]))
    assert job["FailureReason"].startswith(
        'ClientError: No S3 objects found under S3 URL "s3://workshop/nothing-here"'
    )


def test_a_processing_job_maps_its_folders(workshop: Any) -> None:
    job = workshop.process()
    name = job["ProcessingJobName"]
    assert job["ProcessingJobStatus"] == "Completed"
    assert job["ExitMessage"] == "2 files"
    found = json.loads(workshop.read(f"processed/{name}/deep/names.json"))
    assert found == ["one.txt", "sub/two.txt"]
    who = json.loads(workshop.read(f"processed/{name}/who.json"))
    assert who["PROCESSING_JOB_ARN"] == job["ProcessingJobArn"]
    client = workshop.client(
        "sts",
        aws_access_key_id=who["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=who["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=who["AWS_SESSION_TOKEN"],
    )
    assert ":assumed-role/workshop-job/" in client.get_caller_identity()["Arn"]


def test_a_failing_processing_job_tells_why(workshop: Any) -> None:
    job = workshop.process("fail")
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: cannot process, exit code: 3"


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("s3:GetObject", "AccessDenied"), ("s3:PutObject", "AccessDenied"), ("ecr:", "pull")],
)
def test_a_job_can_do_what_its_role_can(workshop: Any, missing: str, reason: str) -> None:
    name = f"poor-{missing.replace(':', '-').lower()}"
    role = workshop.role(name, "sagemaker", "logs", "pull", "s3")
    kept = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:GetAuthorizationToken"]
    kept += ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
    workshop.grant(name, *(action for action in kept if not action.startswith(missing)))
    job = workshop.process(RoleArn=role)
    assert job["ProcessingJobStatus"] == "Failed"
    assert reason in job["FailureReason"]


def test_a_role_must_trust_sagemaker(workshop: Any) -> None:
    with pytest.raises(ClientError, match="Could not assume role"):
        workshop.start_training(RoleArn=workshop.build_role)


def test_names_are_taken_once(workshop: Any) -> None:
    name = workshop.start_training()
    workshop.trained(name)
    with pytest.raises(ClientError) as refused:
        workshop.start_training(TrainingJobName=name)
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"


def test_unknown_jobs_are_told_as_sagemaker_does(workshop: Any) -> None:
    with pytest.raises(ClientError, match="Requested resource not found"):
        workshop.sagemaker.describe_training_job(TrainingJobName="nobody")
    with pytest.raises(ClientError) as missing:
        workshop.sagemaker.describe_processing_job(ProcessingJobName="nobody")
    assert missing.value.response["Error"]["Code"] == "ResourceNotFound"


def test_what_would_run_differently_is_refused(workshop: Any) -> None:
    with pytest.raises(ClientError, match="one instance"):
        workshop.start_training(
            ResourceConfig={
                "InstanceType": "ml.m5.large",
                "InstanceCount": 2,
                "VolumeSizeInGB": 5,
            }
        )


def test_lists_filter_and_page(workshop: Any) -> None:
    for _ in range(3):
        workshop.trained(workshop.start_training())
    client = workshop.sagemaker
    first = client.list_training_jobs(MaxResults=2, StatusEquals="Completed")
    second = client.list_training_jobs(NextToken=first["NextToken"], StatusEquals="Completed")
    names = [
        job["TrainingJobName"] for page in (first, second) for job in page["TrainingJobSummaries"]
    ]
    assert len(set(names)) == len(names) >= 3
    assert all(job["TrainingJobStatus"] == "Completed" for job in first["TrainingJobSummaries"])
