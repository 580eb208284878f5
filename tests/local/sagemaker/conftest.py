"""A workshop on the local cloud: a bucket, roles, a build project, and a tiny image."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

IMAGE = Path(__file__).parent / "image"
ACCOUNT, REGION = "000000000000", "us-east-1"
BUILDSPEC: dict[str, Any] = {
    "version": "0.2",
    "phases": {
        "pre_build": {
            "commands": [
                "aws ecr get-login-password --region $AWS_DEFAULT_REGION | docker login "
                "--username AWS --password-stdin $REGISTRY"
            ]
        },
        "build": {"commands": ["docker build -f Dockerfile -t $REPOSITORY_URI:$IMAGE_TAG ."]},
        "post_build": {"commands": ["docker push $REPOSITORY_URI:$IMAGE_TAG"]},
    },
}
ROLE_GRANTS = {
    "logs": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
    "pull": ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    "s3": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:ListBucket"],
    "push": [
        "ecr:GetAuthorizationToken",
        "ecr:BatchCheckLayerAvailability",
        "ecr:InitiateLayerUpload",
        "ecr:UploadLayerPart",
        "ecr:CompleteLayerUpload",
        "ecr:PutImage",
    ],
}


def zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()


def until(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    limit = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.05)
    return found


class Workshop:
    """Everything a job or an endpoint needs, on one cloud."""

    bucket = "workshop"

    def __init__(self, client: Any) -> None:
        self.client = client
        self.s3, self.sagemaker = client("s3"), client("sagemaker")
        self.codebuild, self.ecr = client("codebuild"), client("ecr")
        self.runtime = client("sagemaker-runtime")
        self.s3.create_bucket(Bucket=self.bucket)
        self.job_role = self.role("workshop-job", "sagemaker", "logs", "pull", "s3")
        self.build_role = self.role("workshop-build", "codebuild", "logs", "push", "s3")
        self.repository = self.ecr.create_repository(repositoryName="workshop")["repository"]
        self.project("workshop", BUILDSPEC)
        self.put("source.zip", zipped(IMAGE))
        self.build_of = self.build("workshop")
        self.image = self.image_of("workshop")

    def role(self, name: str, service: str, *grants: str) -> str:
        iam = self.client("iam")
        principal = {"Service": f"{service}.amazonaws.com"}
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
        }
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        self.grant(name, *(action for grant in grants for action in ROLE_GRANTS[grant]))
        return str(made["Role"]["Arn"])

    def grant(self, name: str, *actions: str) -> None:
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
        }
        self.client("iam").put_role_policy(
            RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(document)
        )

    def put(self, key: str, body: bytes | str) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def read(self, key: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [entry["Key"].removeprefix(prefix) for entry in found]

    def project(self, name: str, buildspec: dict[str, Any], **more: Any) -> None:
        uri = self.repository["repositoryUri"]
        settings = {"REPOSITORY_URI": uri, "REGISTRY": uri.split("/")[0], "IMAGE_TAG": name}
        request = {
            "name": name,
            "source": {
                "type": "S3",
                "location": f"{self.bucket}/source.zip",
                "buildspec": json.dumps(buildspec),
            },
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": {
                "type": "LINUX_CONTAINER",
                "image": "aws/codebuild/standard:7.0",
                "computeType": "BUILD_GENERAL1_SMALL",
                "privilegedMode": True,
                "environmentVariables": [
                    {"name": key, "value": value} for key, value in settings.items()
                ],
            },
            "serviceRole": self.build_role,
            **more,
        }
        self.codebuild.create_project(**request)

    def build(self, project: str, **more: Any) -> dict[str, Any]:
        started = self.codebuild.start_build(projectName=project, **more)["build"]
        assert started["buildStatus"] == "IN_PROGRESS"

        def ended() -> Any:
            found = self.codebuild.batch_get_builds(ids=[started["id"]])["builds"][0]
            return found if found["buildComplete"] else None

        build: dict[str, Any] = until(ended, 60)
        return build

    def image_of(self, tag: str) -> str:
        identity = {"imageTag": tag}
        found = self.ecr.describe_images(repositoryName="workshop", imageIds=[identity])
        return f"{self.repository['repositoryUri']}@{found['imageDetails'][0]['imageDigest']}"

    def logs(self, group: str, stream: str) -> str:
        client = self.client("logs")
        streams = client.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream)
        lines: list[str] = []
        for found in streams["logStreams"]:
            name = found["logStreamName"]
            events = client.get_log_events(logGroupName=group, logStreamName=name)["events"]
            lines += [event["message"] for event in events]
        return "\n".join(lines)

    def start_training(self, what: str = "work", **more: Any) -> str:
        self.put("rows/a.csv", "1\n")
        self.put("rows/deep/b.csv", "2\n")
        name = f"train-{uuid4().hex[:8]}"
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": self.job_role,
            "AlgorithmSpecification": {
                "TrainingImage": self.image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "score", "Regex": "score=([0-9.]+)"}],
            },
            "HyperParameters": {"what": what, "name": name},
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": f"s3://{self.bucket}/rows",
                        }
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/out"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 5,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 300},
            **more,
        }
        self.sagemaker.create_training_job(**request)
        return name

    def trained(self, name: str) -> dict[str, Any]:
        def ended() -> Any:
            found = self.sagemaker.describe_training_job(TrainingJobName=name)
            return found if found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else 0

        job: dict[str, Any] = until(ended)
        return job

    def process(self, what: str = "work", **more: Any) -> dict[str, Any]:
        self.put("files/one.txt", "1")
        self.put("files/sub/two.txt", "2")
        name = f"process-{uuid4().hex[:8]}"
        base = "/opt/ml/processing"
        request: dict[str, Any] = {
            "ProcessingJobName": name,
            "RoleArn": self.job_role,
            "AppSpecification": {
                "ImageUri": self.image,
                "ContainerEntrypoint": ["python3", "-m", "app"],
                "ContainerArguments": [what, f"{base}/input/files", f"{base}/output/result"],
            },
            "ProcessingInputs": [
                {
                    "InputName": "files",
                    "S3Input": {
                        "S3Uri": f"s3://{self.bucket}/files/",
                        "LocalPath": f"{base}/input/files",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "result",
                        "S3Output": {
                            "S3Uri": f"s3://{self.bucket}/processed/{name}",
                            "LocalPath": f"{base}/output/result",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.t3.medium",
                    "VolumeSizeInGB": 5,
                }
            },
            **more,
        }
        self.sagemaker.create_processing_job(**request)

        def ended() -> Any:
            found = self.sagemaker.describe_processing_job(ProcessingJobName=name)
            return (
                found if found["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped") else 0
            )

        job: dict[str, Any] = until(ended)
        return job


@pytest.fixture(scope="session")
def workshop(client: Any) -> Workshop:
    return Workshop(client)


@pytest.fixture
def make_workshop() -> type[Workshop]:
    return Workshop
