"""Elastic Container Registry: repositories, and the images that builds register in them.

The registry keeps manifests and tags. The content of an image lies in the cache of
`local.services.images`, under the manifest's digest. Not enforced: lifecycle, repository and
registry policies, scanning; the token opens no Docker registry, since there is none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Sequence
from threading import RLock
from typing import Any

from local.services.base import (
    Caller,
    Document,
    Host,
    Resource,
    ResourceType,
    Service,
    ServiceError,
)
from local.services.cloudformation import generated_name, members
from local.services.definitions import service_model
from local.services.shelf import Shelf

_TOKEN_SECONDS = 12 * 3600


class Ecr(Service):
    """Amazon ECR, one registry."""

    model = "ecr"
    iam_prefix = "ecr"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lock = RLock()
        self._repositories = Shelf(host.state_directory / "ecr")

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """The repository's ARN; the authorization token belongs to no repository."""
        del caller
        if operation == "GetAuthorizationToken":
            return ["*"]
        if "resourceArn" in request:
            return [request["resourceArn"]]
        if "repositoryName" in request:
            return [self._arn(request["repositoryName"])]
        return [self._arn(name) for name in request.get("repositoryNames", ["*"])]

    def resource_types(self) -> Sequence[ResourceType]:
        """`AWS::ECR::Repository`."""
        return [RepositoryType(self)]

    def create_repository(self, request: Document, caller: Caller) -> Document:
        """Make a repository."""
        del caller
        name = request["repositoryName"]
        repository = {
            "repositoryArn": self._arn(name),
            "registryId": self.host.account,
            "repositoryName": name,
            "repositoryUri": f"{self._registry()}/{name}",
            "createdAt": self.host.now(),
            "imageTagMutability": request.get("imageTagMutability", "MUTABLE"),
            "imageScanningConfiguration": request.get(
                "imageScanningConfiguration", {"scanOnPush": False}
            ),
            "encryptionConfiguration": request.get(
                "encryptionConfiguration", {"encryptionType": "AES256"}
            ),
        }
        kept = {"repository": repository, "images": {}, "tags": request.get("tags", [])}
        if not self._repositories.add(name, kept):
            raise ServiceError(
                "RepositoryAlreadyExistsException",
                f"The repository with name '{name}' already exists in the registry with id "
                f"'{self.host.account}'",
            )
        return {"repository": repository}

    def describe_repositories(self, request: Document, caller: Caller) -> Document:
        """Describe the named repositories, or all."""
        del caller
        names = request.get("repositoryNames")
        found = [self._get(name) for name in names] if names else self._repositories.values()
        return {"repositories": [kept["repository"] for kept in found]}

    def delete_repository(self, request: Document, caller: Caller) -> Document:
        """Remove a repository; one with images only with `force`."""
        del caller
        with self._lock:
            name = request["repositoryName"]
            kept = self._get(name)
            if kept["images"] and not request.get("force"):
                raise ServiceError(
                    "RepositoryNotEmptyException",
                    f"The repository with name '{name}' in registry with id "
                    f"'{self.host.account}' cannot be deleted because it still contains images",
                )
            self._repositories.remove(name)
            return {"repository": kept["repository"]}

    def put_image_tag_mutability(self, request: Document, caller: Caller) -> Document:
        """Say whether a tag may be moved to another image."""
        del caller
        name, mutability = request["repositoryName"], request["imageTagMutability"]
        with self._lock:
            kept = self._get(name)
            kept["repository"]["imageTagMutability"] = mutability
            self._repositories.put(name, kept)
        registry = self.host.account
        return {
            "registryId": registry,
            "repositoryName": name,
            "imageTagMutability": mutability,
        }

    def get_authorization_token(self, request: Document, caller: Caller) -> Document:
        """Give a token of the usual form."""
        del request, caller
        token = base64.b64encode(f"AWS:{secrets.token_urlsafe(48)}".encode()).decode()
        return {
            "authorizationData": [
                {
                    "authorizationToken": token,
                    "expiresAt": self.host.now() + _TOKEN_SECONDS,
                    "proxyEndpoint": f"https://{self._registry()}",
                }
            ]
        }

    def put_image(self, request: Document, caller: Caller) -> Document:
        """Register a manifest, under a tag if one is given; its hash is the image's digest."""
        del caller
        name, manifest = request["repositoryName"], request["imageManifest"]
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        if request.get("imageDigest", digest) != digest:
            raise ServiceError(
                "ImageDigestDoesNotMatchException",
                f"The calculated digest '{digest}' does not match the provided one",
            )
        tag = request.get("imageTag")
        with self._lock:
            kept = self._get(name)
            self._check_tag(kept, name, tag, digest)
            image = kept["images"].setdefault(
                digest,
                {"manifest": manifest, "pushed": self.host.now(), "tags": []},
            )
            if tag:
                for other in kept["images"].values():
                    other["tags"] = [known for known in other["tags"] if known != tag]
                image["tags"].append(tag)
            self._repositories.put(name, kept)
        self.host.put_event(
            "aws.ecr",
            "ECR Image Action",
            {
                "action-type": "PUSH",
                "result": "SUCCESS",
                "repository-name": name,
                "image-digest": digest,
                "image-tag": tag or "",
            },
        )
        return {"image": self._image(name, digest, image, tag)}

    def batch_get_image(self, request: Document, caller: Caller) -> Document:
        """Give the manifests of images that are named by tag or digest."""
        del caller
        name = request["repositoryName"]
        kept = self._get(name)
        images, failures = [], []
        for wanted in request["imageIds"]:
            digest = _find(kept, wanted)
            if digest:
                image = kept["images"][digest]
                images.append(self._image(name, digest, image, wanted.get("imageTag")))
            else:
                failures.append(_failure(wanted))
        return {"images": images, "failures": failures}

    def describe_images(self, request: Document, caller: Caller) -> Document:
        """Describe the images that are asked for, or all."""
        del caller
        name = request["repositoryName"]
        kept = self._get(name)
        digests = list(kept["images"])
        if "imageIds" in request:
            digests = [self._must_find(name, kept, wanted) for wanted in request["imageIds"]]
        return {
            "imageDetails": [self._detail(name, d, kept["images"][d]) for d in digests],
        }

    def list_images(self, request: Document, caller: Caller) -> Document:
        """List tags and digests."""
        del caller
        wanted = request.get("filter", {}).get("tagStatus", "ANY")
        found: list[Document] = []
        for digest, image in self._get(request["repositoryName"])["images"].items():
            if image["tags"] and wanted != "UNTAGGED":
                found += [{"imageDigest": digest, "imageTag": tag} for tag in image["tags"]]
            elif not image["tags"] and wanted != "TAGGED":
                found.append({"imageDigest": digest})
        return {"imageIds": found}

    def batch_delete_image(self, request: Document, caller: Caller) -> Document:
        """Remove tags; an image goes with its last tag, or when it is named by digest."""
        del caller
        name = request["repositoryName"]
        gone: list[Document] = []
        failures: list[Document] = []
        with self._lock:
            kept = self._get(name)
            for wanted in request["imageIds"]:
                digest = _find(kept, wanted)
                if digest is None:
                    failures.append(_failure(wanted))
                    continue
                image = kept["images"][digest]
                tags = [wanted["imageTag"]] if "imageTag" in wanted else image["tags"]
                gone += [{"imageDigest": digest, "imageTag": tag} for tag in tags]
                gone += [] if tags else [{"imageDigest": digest}]
                image["tags"] = [tag for tag in image["tags"] if tag not in tags]
                if not image["tags"]:
                    del kept["images"][digest]
            self._repositories.put(name, kept)
        return {"imageIds": gone, "failures": failures}

    def list_tags_for_resource(self, request: Document, caller: Caller) -> Document:
        """List a repository's tags."""
        del caller
        name = request["resourceArn"].partition(":repository/")[2]
        return {"tags": self._get(name)["tags"]}

    def _check_tag(self, kept: Document, name: str, tag: str | None, digest: str) -> None:
        image = kept["images"].get(digest)
        if image is not None and (tag is None or tag in image["tags"]):
            raise ServiceError(
                "ImageAlreadyExistsException",
                f"Image with digest '{digest}' and tag '{tag}' already exists in the repository "
                f"with name '{name}' in registry with id '{self.host.account}'",
            )
        fixed = kept["repository"]["imageTagMutability"].startswith("IMMUTABLE")
        if tag and fixed and any(tag in other["tags"] for other in kept["images"].values()):
            raise ServiceError(
                "ImageTagAlreadyExistsException",
                f"The image tag '{tag}' already exists in the '{name}' repository and cannot be "
                "overwritten because the tag is immutable.",
            )

    def _get(self, name: str) -> Document:
        kept = self._repositories.get(name)
        if kept is None:
            raise ServiceError(
                "RepositoryNotFoundException",
                f"The repository with name '{name}' does not exist in the registry with id "
                f"'{self.host.account}'",
            )
        return kept

    def _must_find(self, name: str, kept: Document, wanted: Document) -> str:
        digest = _find(kept, wanted)
        if digest is None:
            shown = (
                f"{{imageDigest:'{wanted.get('imageDigest', 'null')}', "
                f"imageTag:'{wanted.get('imageTag', 'null')}'}}"
            )
            raise ServiceError(
                "ImageNotFoundException",
                f"The image with imageId {shown} does not exist within the repository with name "
                f"'{name}' in the registry with id '{self.host.account}'",
            )
        return digest

    def _image(self, name: str, digest: str, image: Document, tag: str | None) -> Document:
        identity = {"imageDigest": digest, **({"imageTag": tag} if tag else {})}
        return {
            "registryId": self.host.account,
            "repositoryName": name,
            "imageId": identity,
            "imageManifest": image["manifest"],
            "imageManifestMediaType": _media_type(image),
        }

    def _detail(self, name: str, digest: str, image: Document) -> Document:
        manifest = json.loads(image["manifest"])
        return {
            "registryId": self.host.account,
            "repositoryName": name,
            "imageDigest": digest,
            "imageTags": image["tags"] or None,
            "imageSizeInBytes": sum(layer.get("size", 0) for layer in manifest.get("layers", [])),
            "imagePushedAt": image["pushed"],
            "imageManifestMediaType": _media_type(image),
        }

    def _registry(self) -> str:
        return f"{self.host.account}.dkr.ecr.{self.host.region}.amazonaws.com"

    def _arn(self, name: str) -> str:
        return f"arn:aws:ecr:{self.host.region}:{self.host.account}:repository/{name}"


class RepositoryType:
    """`AWS::ECR::Repository`: Ref is the name."""

    type_name = "AWS::ECR::Repository"
    create_only = frozenset({"RepositoryName", "EncryptionConfiguration"})

    def __init__(self, service: Ecr) -> None:
        self._service = service
        self._shape: Any = service_model("ecr").operation_model("CreateRepository").input_shape

    def create(self, logical_id: str, properties: Document, caller: Caller) -> Resource:
        """Make the repository, named by the logical id if it has no name."""
        request = members(self._shape, properties)
        request.setdefault("repositoryName", generated_name(logical_id).lower())
        made = self._service.create_repository(request, caller)["repository"]
        return _resource(made)

    def update(self, physical_id: str, old: Document, new: Document, caller: Caller) -> Resource:
        """Change whether tags may move; nothing else of a repository has an effect here."""
        del old
        mutability = new.get("ImageTagMutability", "MUTABLE")
        request = {"repositoryName": physical_id, "imageTagMutability": mutability}
        self._service.put_image_tag_mutability(request, caller)
        names = {"repositoryNames": [physical_id]}
        return _resource(self._service.describe_repositories(names, caller)["repositories"][0])

    def delete(self, physical_id: str, properties: Document, caller: Caller) -> None:
        """Remove the repository; with images in it only if the template says EmptyOnDelete."""
        force = str(properties.get("EmptyOnDelete", False)).lower() == "true"
        request = {"repositoryName": physical_id, "force": force}
        try:
            self._service.delete_repository(request, caller)
        except ServiceError as error:
            if error.code != "RepositoryNotFoundException":
                raise


def _resource(repository: Document) -> Resource:
    attributes = {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]}
    return Resource(repository["repositoryName"], attributes)


def _find(kept: Document, wanted: Document) -> str | None:
    for digest, image in kept["images"].items():
        by_digest = wanted.get("imageDigest", digest) == digest
        if by_digest and wanted.get("imageTag", "") in ["", *image["tags"]]:
            return str(digest)
    return None


def _failure(wanted: Document) -> Document:
    code = "ImageNotFound"
    return {"imageId": wanted, "failureCode": code, "failureReason": "Requested image not found"}


def _media_type(image: Document) -> str:
    return str(json.loads(image["manifest"]).get("mediaType", "application/json"))
