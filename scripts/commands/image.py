"""Builds the containers' image again where the local cache of images has lost its content.

The registry is part of a state folder, the content of images is in a cache beside them all, which
a user may wipe. A digest follows from the content, so that the same build brings the same digest
back: endpoints and state machines that name it go on.
"""

from __future__ import annotations

from typing import Any

from scripts.commands.console import CommandError, Console, backoff
from scripts.commands.target import Target


def repair(target: Target, console: Console) -> bool:
    """Build the image that was pushed last again, if its content is gone; whether it was.

    Raises `CommandError` where the build fails.
    """
    from local.services.images import ImageMissing, load

    made = _made(target, "refresh")
    repository = made["AWS::ECR::Repository"]
    details = target.client("ecr").describe_images(repositoryName=repository)["imageDetails"]
    tagged = [image for image in details if image.get("imageTags")]
    if not tagged:
        return False
    image = max(tagged, key=lambda image: image["imagePushedAt"])
    try:
        load(image["imageDigest"])
    except ImageMissing:
        with console.working("building the containers' image again, whose content is gone"):
            _build(target, made["AWS::CodeBuild::Project"], image["imageTags"][0])
        load(image["imageDigest"])
        return True
    return False


def _made(target: Target, stack: str) -> dict[str, str]:
    """By type: the name of a resource of a stack."""
    described: list[dict[str, Any]] = target.client("cloudformation").describe_stack_resources(
        StackName=target.stack_name(stack)
    )["StackResources"]
    return {each["ResourceType"]: each["PhysicalResourceId"] for each in described}


def _build(target: Target, project: str, tag: str) -> None:
    codebuild = target.client("codebuild")
    build = codebuild.start_build(
        projectName=project,
        environmentVariablesOverride=[{"name": "IMAGE_TAG", "value": tag, "type": "PLAINTEXT"}],
    )["build"]["id"]
    for _ in backoff(0.2, 2.0):
        found = codebuild.batch_get_builds(ids=[build])["builds"][0]
        if found["buildStatus"] == "SUCCEEDED":
            return
        if found["buildStatus"] != "IN_PROGRESS":
            raise CommandError(
                f"the build of the containers' image ended as {found['buildStatus']}",
                f"see its log: {target.command('logs image')}",
            )
