"""Between S3 and folders, as a role: channels, prefixes, archives."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_CHUNK = 1 << 20


class TransferFailed(Exception):  # noqa: N818 - it becomes a job's FailureReason
    """Data that could not be fetched or delivered; the text is SageMaker's."""


def split(uri: str) -> tuple[str, str]:
    """The bucket and the key or prefix of an `s3://` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def download_prefix(client: Any, uri: str, folder: Path, role: str, region: str) -> None:
    """Fetch every object whose key begins with the prefix, named by the rest of its key.

    Raises `TransferFailed`, also where there is no object.
    """
    bucket, prefix = split(uri)
    found = False
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                found = True
                name = _relative(entry["Key"], prefix)
                if not name.endswith("/"):
                    _fetch(client, bucket, entry["Key"], _inside(folder, name))
    except ClientError as error:
        raise _failure("Data download failed", error) from None
    except BotoCoreError as error:
        raise TransferFailed(f"ClientError: Data download failed:{error}") from None
    if not found:
        raise TransferFailed(
            f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source. '
            f"Please ensure that the bucket exists in the selected region ({region}), that objects "
            f'exist under that S3 prefix, and that the role "{role}" has "s3:ListBucket" '
            f'permissions on bucket "{bucket}".'
        )


def download_manifest(client: Any, uri: str, folder: Path) -> None:
    """Fetch the objects that a manifest (`[{"prefix": …}, name, …]`) lists."""
    try:
        listed = json.loads(read_object(client, uri))
        base = listed[0]["prefix"]
        for name in listed[1:]:
            bucket, key = split(f"{base}{name}")
            _fetch(client, bucket, key, _inside(folder, name))
    except (ValueError, KeyError, IndexError, TypeError):
        raise TransferFailed(f"ClientError: {uri} is not a manifest") from None
    except ClientError as error:
        raise _failure("Data download failed", error) from None


def read_object(client: Any, uri: str) -> bytes:
    """The content of one object. Raises `ClientError`."""
    bucket, key = split(uri)
    content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def upload_folder(client: Any, folder: Path, uri: str, kms_key: str | None) -> None:
    """Put every file of a folder under a prefix. Raises `TransferFailed`."""
    bucket, prefix = split(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            _put(client, path, bucket, f"{prefix.rstrip('/')}/{name}".lstrip("/"), kms_key)


def upload_file(client: Any, path: Path, uri: str, kms_key: str | None) -> None:
    """Put one file at a URI. Raises `TransferFailed`."""
    bucket, key = split(uri)
    _put(client, path, bucket, key, kms_key)


def pack(folder: Path, target: Path) -> None:
    """Make a tar.gz of a folder's content; equal content gives equal bytes."""
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as zipped,
        tarfile.open(mode="w", fileobj=zipped) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            entry = archive.gettarinfo(path, path.relative_to(folder).as_posix())
            entry.mtime = entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if path.is_dir() or entry.mode & 0o100 else 0o644
            if entry.isfile():
                with path.open("rb") as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)


def unpack(content: bytes, folder: Path) -> None:
    """Extract a tar.gz. Raises `TransferFailed` for anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise TransferFailed(f"Failed to extract model data archive: {error}") from None


def _relative(key: str, prefix: str) -> str:
    rest = key[len(prefix) :]
    if not rest or not (rest.startswith("/") or prefix.endswith("/") or not prefix):
        return key[prefix.rfind("/") + 1 :]
    return rest.removeprefix("/")


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise TransferFailed(f"ClientError: Data download failed: {name} leaves its channel")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _fetch(client: Any, bucket: str, key: str, path: Path) -> None:
    body = client.get_object(Bucket=bucket, Key=key)["Body"]
    with path.open("wb") as target:
        for chunk in _chunks(body):
            target.write(chunk)


def _chunks(body: Any) -> Iterator[bytes]:
    while chunk := body.read(_CHUNK):
        yield chunk


def _put(client: Any, path: Path, bucket: str, key: str, kms_key: str | None) -> None:
    extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    try:
        # upload_file takes several parts where a file is large.
        client.upload_file(str(path), bucket, key, ExtraArgs=extra)
    except ClientError as error:
        raise _failure("Data upload failed", error) from None
    except Exception as error:  # boto3 wraps what a part met in an error of s3transfer
        raise TransferFailed(f"ClientError: Data upload failed:{error}") from None


def _failure(what: str, error: ClientError) -> TransferFailed:
    detail = error.response["Error"]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return TransferFailed(
        f"ClientError: {what}:{detail['Code']} ({status}): {detail.get('Message', '')}"
    )
