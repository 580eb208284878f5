"""What COPY and UNLOAD ask of S3, as the role that the statement names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.services.warehouse.errors import WarehouseError, storage_error

Storage = Callable[[str | None], Any]
"""From a role's ARN (None: the default role) to an S3 client that signs as the role."""


@dataclass(frozen=True)
class Address:
    """A place in S3."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def parse_address(url: str) -> Address:
    """Split an s3:// URL. Raises `WarehouseError` for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise WarehouseError(f"The source or target '{url}' is not an S3 address")
    return Address(parts.netloc, url.split("/", 3)[3] if url.count("/") > 2 else "")


class Bucket:
    """S3 through one client; what S3 refuses becomes a `WarehouseError`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, address: Address) -> bytes:
        """The content of a small object."""
        answer = self._call("get_object", Bucket=address.bucket, Key=address.key)
        content: bytes = answer["Body"].read()
        return content

    def download(self, address: Address, path: Path) -> int:
        """Write an object to a file; answers its size in bytes."""
        answer = self._call("get_object", Bucket=address.bucket, Key=address.key)
        size = 0
        with path.open("wb") as file:
            for chunk in answer["Body"].iter_chunks(1 << 20):
                size += file.write(chunk)
        return size

    def find(self, address: Address) -> list[Address]:
        """The objects whose keys begin with the address's key."""
        found: list[Address] = []
        request = {"Bucket": address.bucket, "Prefix": address.key}
        while True:
            answer = self._call("list_objects_v2", **request)
            found += [Address(address.bucket, item["Key"]) for item in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                return found
            request["ContinuationToken"] = answer["NextContinuationToken"]

    def upload(self, path: Path, address: Address) -> None:
        """Write a file to an object."""
        with path.open("rb") as file:
            self._call("put_object", Bucket=address.bucket, Key=address.key, Body=file)

    def write(self, content: bytes, address: Address) -> None:
        """Write an object."""
        self._call("put_object", Bucket=address.bucket, Key=address.key, Body=content)

    def remove(self, addresses: list[Address]) -> None:
        """Delete objects of one bucket."""
        for start in range(0, len(addresses), 1000):
            batch = addresses[start : start + 1000]
            answer = self._call(
                "delete_objects",
                Bucket=batch[0].bucket,
                Delete={"Objects": [{"Key": item.key} for item in batch], "Quiet": True},
            )
            for error in answer.get("Errors", ()):
                raise storage_error(error["Code"], 403, error.get("Message", error["Code"]))

    def _call(self, operation: str, **request: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(**request)
        except ClientError as error:
            details = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            code, message = details.get("Code", "Unknown"), details.get("Message", "")
            raise storage_error(code, status, message) from None
        except BotoCoreError as error:
            raise WarehouseError(f"S3 cannot be reached: {error}") from None
