"""A build makes an image of its source as its role, or says what stopped it."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.services.build_commands import Shell
from local.services.dockerfile import DockerfileError, parse
from local.services.image_build import BuildError

PACKED = ["SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD"]
SPEC = {
    "version": "0.2",
    "phases": {
        "pre_build": {
            "commands": [
                "aws ecr get-login-password | docker login --username AWS --password-stdin "
                '"${REPOSITORY_URI%%/*}"'
            ]
        },
        "build": {
            "commands": ["docker build -f Dockerfile --build-arg A=1 -t $REPOSITORY_URI:$TAG ."]
        },
        "post_build": {"commands": ["docker push $REPOSITORY_URI:$TAG"]},
    },
}


def reason(build: dict[str, Any]) -> str:
    assert build["buildStatus"] == "FAILED", build
    return str(next(p for p in build["phases"] if p.get("contexts"))["contexts"][0]["message"])


def build(workshop: Any, spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    name = f"p-{uuid4().hex[:8]}"
    workshop.project(name, spec or SPEC, **more)
    override = [{"name": "TAG", "value": name}]
    return dict(workshop.build(name, environmentVariablesOverride=override))


def test_a_build_registers_its_image(workshop: Any) -> None:
    made = build(workshop)
    assert made["buildStatus"] == "SUCCEEDED", made["phases"]
    assert [p["phaseType"] for p in made["phases"]] == [*PACKED, "POST_BUILD", "COMPLETED"]
    assert workshop.image_of(made["projectName"]) == workshop.image  # equal content, equal digest
    log = workshop.logs(made["logs"]["groupName"], made["logs"]["streamName"])
    assert "is built already" in log
    assert made["id"] in workshop.codebuild.list_builds()["ids"]


def test_a_step_that_needs_a_container_stops_the_build(workshop: Any) -> None:
    spec = copy.deepcopy(SPEC)
    spec["phases"]["build"]["commands"] = ["make image"]  # type: ignore[index]  # a plain document
    assert "make cannot be run in a local build" in reason(build(workshop, spec))


def test_docker_needs_a_privileged_project(workshop: Any) -> None:
    environment = {
        "type": "LINUX_CONTAINER",
        "image": "aws/codebuild/standard:7.0",
        "computeType": "BUILD_GENERAL1_SMALL",
        "privilegedMode": False,
    }
    assert "Cannot connect to the Docker daemon" in reason(build(workshop, environment=environment))


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("s3:GetObject", "AccessDenied"),
        ("ecr:PutImage", "ecr:PutImage"),
        ("ecr:GetAuthorizationToken", "ecr:GetAuthorizationToken"),
        ("ecr:InitiateLayerUpload", "ecr:InitiateLayerUpload"),
        ("logs:CreateLogStream", "does not allow AWS CodeBuild to create Amazon CloudWatch"),
    ],
)
def test_a_build_can_do_what_its_role_can(workshop: Any, missing: str, text: str) -> None:
    name = f"poor-{uuid4().hex[:8]}"
    role = workshop.role(name, "codebuild", "logs", "push", "s3")
    kept = ["logs:CreateLogStream", "logs:PutLogEvents", "s3:GetObject", "s3:GetObjectVersion"]
    kept += ["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:PutImage"]
    kept += ["ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"]
    workshop.grant(name, *(action for action in kept if action != missing))
    assert text in reason(build(workshop, serviceRole=role))


def test_a_missing_source_is_named(workshop: Any) -> None:
    source = {"type": "S3", "location": "workshop/none.zip", "buildspec": json.dumps(SPEC)}
    assert "NoSuchKey" in reason(build(workshop, source=source))


def test_an_immutable_tag_stays(workshop: Any) -> None:
    name = f"fixed-{uuid4().hex[:8]}"
    workshop.ecr.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    manifest = json.dumps({"schemaVersion": 2, "layers": []})
    put = workshop.ecr.put_image
    put(repositoryName=name, imageManifest=manifest, imageTag="one")
    with pytest.raises(ClientError, match="the tag is immutable"):
        put(repositoryName=name, imageManifest=manifest + " ", imageTag="one")
    with pytest.raises(ClientError, match="already exists in the repository"):
        put(repositoryName=name, imageManifest=manifest, imageTag="one")
    listed = workshop.ecr.list_images(repositoryName=name)["imageIds"]
    assert [image["imageTag"] for image in listed] == ["one"]
    with pytest.raises(ClientError) as refused:
        workshop.ecr.delete_repository(repositoryName=name)
    assert refused.value.response["Error"]["Code"] == "RepositoryNotEmptyException"
    workshop.ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "one"}])
    workshop.ecr.delete_repository(repositoryName=name)
    with pytest.raises(ClientError, match=f"The repository with name '{name}' does not exist"):
        workshop.ecr.list_images(repositoryName=name)


def test_a_stack_makes_repository_project_and_group(workshop: Any) -> None:
    template = {
        "Resources": {
            "Images": {"Type": "AWS::ECR::Repository", "Properties": {"EmptyOnDelete": True}},
            "Build": {
                "Type": "AWS::CodeBuild::Project",
                "Properties": {
                    "Artifacts": {"Type": "NO_ARTIFACTS"},
                    "Environment": {
                        "ComputeType": "BUILD_GENERAL1_SMALL",
                        "Image": "aws/codebuild/standard:7.0",
                        "PrivilegedMode": "true",
                        "Type": "LINUX_CONTAINER",
                        "EnvironmentVariables": [{"Name": "A", "Value": "b"}],
                    },
                    "ServiceRole": workshop.build_role,
                    "Source": {
                        "Type": "S3",
                        "Location": "workshop/source.zip",
                        "BuildSpec": json.dumps(SPEC),
                    },
                    "TimeoutInMinutes": "15",
                },
            },
            "Versions": {
                "Type": "AWS::SageMaker::ModelPackageGroup",
                "Properties": {"ModelPackageGroupName": "stack-made"},
            },
        },
        "Outputs": {
            "Uri": {"Value": {"Fn::GetAtt": ["Images", "RepositoryUri"]}},
            "Project": {"Value": {"Ref": "Build"}},
            "ProjectArn": {"Value": {"Fn::GetAtt": ["Build", "Arn"]}},
            "Group": {"Value": {"Ref": "Versions"}},
        },
    }
    formation = workshop.client("cloudformation")
    formation.create_stack(StackName="images", TemplateBody=json.dumps(template))

    def status() -> Any:
        limit = time.monotonic() + 20
        while True:
            stacks = formation.describe_stacks(StackName="images")["Stacks"]
            if not stacks[0]["StackStatus"].endswith("IN_PROGRESS"):
                return stacks[0]
            assert time.monotonic() < limit
            time.sleep(0.1)

    stack = status()
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}
    name = outputs["Project"]
    assert outputs["ProjectArn"].endswith(f":project/{name}")
    project = workshop.codebuild.batch_get_projects(names=[name])["projects"][0]
    assert project["timeoutInMinutes"] == 15
    assert project["environment"]["privilegedMode"] is True
    group = workshop.sagemaker.describe_model_package_group(ModelPackageGroupName="stack-made")
    assert group["ModelPackageGroupArn"] == outputs["Group"]
    repository = outputs["Uri"].partition("/")[2]
    workshop.ecr.put_image(repositoryName=repository, imageManifest="{}", imageTag="x")
    formation.delete_stack(StackName="images")
    time.sleep(1)
    with pytest.raises(ClientError):
        workshop.ecr.list_images(repositoryName=repository)
    assert workshop.codebuild.batch_get_projects(names=[name])["projectsNotFound"] == [name]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("RUN apt-get install gcc", "the only RUN that is possible"),
        ("RUN pip install numpy", "cannot be followed"),
        ("RUN pip install -r requirements.txt", "needs --require-hashes"),
        ("RUN pip install --require-hashes -r a.txt && rm a.txt", "one `pip install`"),
        ("ADD https://example.com/x /x", "cannot follow ADD"),
        ("FROM python:3.12 AS second", "several stages"),
        ("COPY --from=other a b", "--from needs a container"),
        ("ENTRYPOINT python -m app", "as a list"),
    ],
)
def test_what_a_dockerfile_may_not_ask(line: str, text: str) -> None:
    with pytest.raises(DockerfileError, match=r"line 2") as refused:
        parse(f"FROM python:3.12-slim\n{line}\n", {})
    assert text in str(refused.value)


def test_a_dockerfile_is_read_as_docker_does() -> None:
    recipe = parse(
        "# syntax=docker/dockerfile:1\n"
        "ARG VERSION=3.11\n"
        "FROM --platform=linux/amd64 public.ecr.aws/library/python:${VERSION}-slim@sha256:0\n"
        'ENV A=1 \\\n    # a comment between\n    B="two words"\nENV C=$A\n'
        "WORKDIR /opt/x\nWORKDIR y\nCOPY one two ./\nCOPY a.txt b.txt\n"
        "RUN python -m pip install --no-cache-dir \\\n  --require-hashes -r b.txt\n"
        'ENTRYPOINT ["python", "-m", "app"]\n',
        {"VERSION": "3.12"},
    )
    assert recipe.python_version == "3.12"
    assert recipe.environment == {"A": "1", "B": "two words", "C": "1"}
    assert recipe.folder == "/opt/x/y"
    copied, renamed, installed = recipe.steps
    assert (copied.target, copied.is_folder) == ("/opt/x/y", True)  # type: ignore[union-attr]  # it is a Copy
    assert (renamed.target, renamed.is_folder) == ("/opt/x/y/b.txt", False)  # type: ignore[union-attr]  # it is a Copy
    assert installed.path == "/opt/x/y/b.txt"  # type: ignore[union-attr]  # it is Requirements


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo $A ${A} ${B:-none}", "a/b/c.tar.gz a/b/c.tar.gz none"),
        ("echo ${A%%/*} ${A##*/} ${A%.*} ${A#*/}", "a c.tar.gz a/b/c.tar b/c.tar.gz"),
        ('echo "$A" && echo \\\n second', "a/b/c.tar.gz second"),
        ("export C=1; echo ${C} '$C'", "1 $C"),
    ],
)
def test_commands_are_read_as_a_shell_does(tmp_path: Path, line: str, said: str) -> None:
    heard: list[str] = []
    nothing: Any = None
    shell = Shell(nothing, nothing, tmp_path, {"A": "a/b/c.tar.gz"}, True, heard.append)
    shell.run(line)
    assert " ".join(heard) == said


@pytest.mark.parametrize(
    "line", ["cat x | sh", "echo $(date)", "rm -rf x", "a || b", "docker run x"]
)
def test_commands_that_cannot_be_followed(tmp_path: Path, line: str) -> None:
    nothing: Any = None
    with pytest.raises(BuildError):
        Shell(nothing, nothing, tmp_path, {}, True, print).run(line)


def test_an_image_without_python_is_refused() -> None:
    with pytest.raises(DockerfileError, match="only Python's own images"):
        parse("FROM ubuntu:24.04\n", {})
