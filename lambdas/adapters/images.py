"""The container image: built by CodeBuild, kept by ECR."""

from __future__ import annotations

import time
from collections.abc import Callable

from lambdas.adapters.clients import client
from tidemill.errors import TidemillError

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


class BuildError(TidemillError):
    """The image could not be built."""


def find(repository: str, tag: str) -> str | None:
    """Return the address of the image with this tag, by its digest, or None."""
    ecr = client("ecr")
    try:
        images = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ecr.exceptions.ImageNotFoundException:
        return None
    described = ecr.describe_repositories(repositoryNames=[repository])
    address = described["repositories"][0]["repositoryUri"]
    return f"{address}@{images['imageDetails'][0]['imageDigest']}"


def build(project: str, tag: str, seconds_left: Callable[[], float]) -> None:
    """Build the image with this tag and wait for it, as long as there are seconds left.

    Raises BuildError where the build does not succeed in time.
    """
    codebuild = client("codebuild")
    build_id = codebuild.start_build(
        projectName=project,
        environmentVariablesOverride=[{"name": "IMAGE_TAG", "value": tag, "type": "PLAINTEXT"}],
    )["build"]["id"]
    pause = _FIRST_PAUSE
    while seconds_left() > pause:
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        found = codebuild.batch_get_builds(ids=[build_id])["builds"][0]
        status = found["buildStatus"]
        if status == "SUCCEEDED":
            return
        if status != "IN_PROGRESS":
            logs = found.get("logs", {}).get("deepLink", "see its log")
            raise BuildError(f"build {build_id} ended as {status}: {logs}")
    raise BuildError(f"build {build_id} had not ended in time: see its log, then deploy again")
