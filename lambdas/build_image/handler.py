"""Builds the container image when a stack is deployed, and answers with its digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters import images
from lambdas.adapters.cloudformation import respond
from lambdas.adapters.environment import read_environment
from lambdas.adapters.images import BuildError


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    project_name: str
    repository_name: str


_RESERVE_SECONDS = 45.0  # kept back to answer CloudFormation, which waits an hour otherwise

environment = read_environment(Environment)
logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Answer a custom resource with the property `ImageTag`; its attribute is `ImageUri`.

    Integrations: CodeBuild, ECR, CloudFormation's answer address. An image whose tag exists is
    not built again; deleting the resource leaves images to their repository.
    """
    tag = str(event["ResourceProperties"].get("ImageTag", ""))
    physical_id = event.get("PhysicalResourceId") or f"{environment.repository_name}-image"
    try:
        data = {} if event["RequestType"] == "Delete" else {"ImageUri": image_uri(tag, context)}
    except Exception as error:
        # Whatever it is: a resource without an answer would hang the deployment.
        logger.exception("the image could not be built")
        respond(event, "FAILED", physical_id, reason=f"{type(error).__name__}: {error}")
        return
    respond(event, "SUCCESS", physical_id, data)


def image_uri(tag: str, context: LambdaContext) -> str:
    """Return the address, by digest, of the image with this tag, built if need be.

    Raises BuildError.
    """
    if not tag:
        raise BuildError("the resource needs the property ImageTag")
    found = images.find(environment.repository_name, tag)
    if found is None:
        images.build(
            environment.project_name,
            tag,
            lambda: context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS,
        )
        found = images.find(environment.repository_name, tag)
    if found is None:
        raise BuildError(f"the build succeeded, but pushed no image with the tag {tag}")
    logger.info("image ready", extra={"image_uri": found})
    return found
