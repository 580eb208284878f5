"""What the parts of SageMaker share: names, roles, tags, lists, images."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError

from local.services.base import Caller, Document, Host, RoleSession, Service, ServiceError
from local.services.images import Image, ImageMissing, load
from local.services.shelf import Shelf

PRINCIPAL = "sagemaker.amazonaws.com"
_TIME = re.compile(r".*(Time|Timestamp)$")
_IMAGE = re.compile(
    r"(\d+)\.dkr\.ecr\.[\w-]+\.amazonaws\.com/([^:@]+)(?::([\w.-]+)|@(sha256:\w+))?"
)


class ImageRefused(Exception):  # noqa: N818 - a registry's answer, which each caller words anew
    """An image that is not there, or that the role may not pull."""

    def __init__(self, message: str, denied: bool) -> None:
        super().__init__(message)
        self.denied = denied


class SageMakerPart(Service):
    """A part of the SageMaker API."""

    model = "sagemaker"
    iam_prefix = "sagemaker"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.folder = host.state_directory / "sagemaker"
        self.tags = Shelf(self.folder / "tags")

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a resource; SageMaker writes names in lower case there."""
        return f"arn:aws:sagemaker:{self.host.region}:{self.host.account}:{kind}/{name.lower()}"

    def take_role(self, role: str, caller: Caller) -> RoleSession:
        """Check that the caller may hand the role to SageMaker, and assume it."""
        self.ask_pass_role(caller, PRINCIPAL, role)
        try:
            return self.host.assume(role, PRINCIPAL)
        except ServiceError:
            raise invalid(
                f"Could not assume role {role}. Please ensure that the role exists and allows "
                f"principal '{PRINCIPAL}' to assume the role."
            ) from None

    def tag(self, arn: str, request: Document, caller: Caller) -> None:
        """Keep the tags of a request that makes a resource, which takes a grant of its own."""
        tags = request.get("Tags")
        if tags:
            if caller.access_key:
                self.host.authorize(caller, "sagemaker:AddTags", arn)
            self.tags.put(arn, {"Tags": tags})

    def add_tags(self, request: Document, caller: Caller) -> Document:
        """Add tags to a resource, or change them."""
        del caller
        arn = request["ResourceArn"]
        known = {tag["Key"]: tag for tag in (self.tags.get(arn) or {"Tags": []})["Tags"]}
        known.update({tag["Key"]: tag for tag in request["Tags"]})
        self.tags.put(arn, {"Tags": list(known.values())})
        return {"Tags": list(known.values())}

    def delete_tags(self, request: Document, caller: Caller) -> Document:
        """Remove tags of a resource."""
        del caller
        arn, gone = request["ResourceArn"], request["TagKeys"]
        tags = (self.tags.get(arn) or {"Tags": []})["Tags"]
        self.tags.put(arn, {"Tags": [tag for tag in tags if tag["Key"] not in gone]})
        return {}

    def list_tags(self, request: Document, caller: Caller) -> Document:
        """List the tags of a resource."""
        del caller
        return self.tags.get(request["ResourceArn"]) or {"Tags": []}


def invalid(message: str) -> ServiceError:
    """The error of nearly every request that SageMaker refuses."""
    return ServiceError("ValidationException", message)


def in_milliseconds(described: Any, name: str = "") -> Any:
    """A description as Step Functions and EventBridge show it: times in ms since the epoch."""
    if isinstance(described, dict):
        return {key: in_milliseconds(value, key) for key, value in described.items()}
    if isinstance(described, list):
        return [in_milliseconds(item, name) for item in described]
    if isinstance(described, float) and _TIME.match(name):
        return int(described * 1000)
    return described


def page(
    request: Document,
    documents: Iterable[Document],
    name: str,
    status: str | None,
    summary: Callable[[Document], Document],
    member: str,
) -> Document:
    """Answer a List operation: filter, sort, cut.

    `name` and `status` are the members that hold a document's name and status, `member` is the
    name of the list in the answer.
    """
    found = [document for document in documents if _wanted(request, document, name, status)]
    by = {"Name": name, "Status": status or name}.get(request.get("SortBy", ""), "CreationTime")
    found.sort(key=lambda document: (document[by], document[name]))
    if request.get("SortOrder", "Descending") == "Descending":
        found.reverse()
    start = 0
    if "NextToken" in request:
        try:
            start = int(base64.urlsafe_b64decode(request["NextToken"]))
        except ValueError:
            raise invalid("Invalid pagination token.") from None
    end = start + request.get("MaxResults", 10)
    answer: Document = {member: [summary(document) for document in found[start:end]]}
    if end < len(found):
        answer["NextToken"] = base64.urlsafe_b64encode(str(end).encode()).decode()
    return answer


def _wanted(request: Document, document: Document, name: str, status: str | None) -> bool:
    made = document["CreationTime"]
    after, before = request.get("CreationTimeAfter"), request.get("CreationTimeBefore")
    wanted_status = request.get("StatusEquals")
    return (
        request.get("NameContains", "").lower() in document[name].lower()
        and (wanted_status is None or status is None or document[status] == wanted_status)
        and (after is None or made > after.timestamp())
        and (before is None or made < before.timestamp())
    )


def pull(host: Host, session: RoleSession, uri: str) -> Image:
    """Find the image of a registry's URI as a role. Raises `ImageRefused`."""
    found = _IMAGE.fullmatch(uri)
    if found is None:
        raise ImageRefused(f"{uri} is not in an ECR registry", denied=False)
    account, repository, tag, digest = found.groups()
    wanted = {"imageDigest": digest} if digest else {"imageTag": tag or "latest"}
    arn = f"arn:aws:ecr:{host.region}:{account}:repository/{repository}"
    caller = Caller(session.environment()["AWS_ACCESS_KEY_ID"], host.account, host.region)
    try:
        host.authorize(caller, "ecr:GetAuthorizationToken", "*")
        host.authorize(caller, "ecr:GetDownloadUrlForLayer", arn)
        answer = session.client("ecr").batch_get_image(
            registryId=account, repositoryName=repository, imageIds=[wanted]
        )
    except ServiceError as error:
        raise ImageRefused(error.message, denied=True) from None
    except ClientError as error:
        detail = error.response["Error"]
        raise ImageRefused(detail["Message"], "Denied" in detail["Code"]) from None
    if not answer["images"]:
        raise ImageRefused(f"{uri} is not in the registry", denied=False)
    try:
        return load(answer["images"][0]["imageId"]["imageDigest"])
    except ImageMissing as error:
        raise ImageRefused(str(error), denied=False) from None
