"""Drives again what was in flight when the local cloud ended.

S3, the uploads table and the warehouse keep what they acknowledged; queues and the stream are as
of the last checkpoint. So three things can be lost with a killed process: the notification of an
upload, the notification of a file of the lake, and records of the stream, of which the uploads
table then says that they were sent. Uploads that were not sent to their end, those whose rows do
not add up, and files of the lake that the load ledger lacks are announced again to the queues
that their buckets' notifications name. Both readers are idempotent: a second announcement changes
nothing. Works on any engine, by boto3 alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote_plus


class Clients(Protocol):
    """Makes boto3 clients."""

    def __call__(self, service: str, /) -> Any:
        """A client for the service."""
        ...


@dataclass(frozen=True)
class Recovered:
    """How many objects were announced again."""

    uploads: int
    lake_files: int


@dataclass(frozen=True)
class Upload:
    """An upload that the uploads table calls sent."""

    source_id: str
    model: str
    rows_sent: int


def redrive(
    clients: Clients,
    *,
    input_bucket: str,
    lake_bucket: str,
    uploads_table: str,
    loaded_files: Collection[str] = (),
    killed_after: float | None = None,
    rows_loaded: Callable[[Upload], int] | None = None,
) -> Recovered:
    """Announce again what may not have been read; `loaded_files` are the loader's, as s3:// URIs.

    Where the cloud was killed, `killed_after` says when its last checkpoint began (seconds since
    the epoch) and `rows_loaded` how many rows of an upload are in the warehouse: what was called
    sent after that moment counts as sent only if each of its rows is loaded or rejected.

    Raises `ClientError` where a bucket or the table cannot be read.
    """
    done: set[tuple[str, str, str]] = set()
    for item in _items(clients("dynamodb"), uploads_table):
        state = item.get("state", {}).get("S")
        final = state == "refused" or (
            state == "sent"
            and (
                killed_after is None
                or rows_loaded is None
                or _moment(item) < killed_after
                or _is_whole(clients("s3"), lake_bucket, _upload(item), rows_loaded)
            )
        )
        if final:
            version = item.get("version_id", {}).get("S", "")
            done.add((item["bucket"]["S"], item["key"]["S"], version))
    loaded = frozenset(loaded_files)
    uploads = announce(
        clients,
        input_bucket,
        "stream-input-data/",
        skip=lambda found: (input_bucket, found["Key"], _version(found)) in done,
    )
    files = announce(
        clients,
        lake_bucket,
        "rows/",
        skip=lambda found: f"s3://{lake_bucket}/{found['Key']}" in loaded,
    )
    return Recovered(uploads, files)


def _upload(item: dict[str, Any]) -> Upload:
    rows = int(item.get("rows_sent", {}).get("N", "0"))
    return Upload(item["source_id"]["S"], item["model"]["S"], rows)


def _moment(item: dict[str, Any]) -> float:
    """The end of the second that the table notes."""
    noted = datetime.fromisoformat(item["updated_at"]["S"])
    return noted.timestamp() + 1


def _is_whole(s3: Any, lake: str, upload: Upload, rows_loaded: Callable[[Upload], int]) -> bool:
    missing = upload.rows_sent - rows_loaded(upload)
    if missing <= 0:
        return True
    prefix = f"rejected/{upload.model}/{upload.source_id}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=lake, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    # A rejection's name ends in how many rows it rejects.
    rejected = sum(int(key.removesuffix(".jsonl").rpartition("-")[2]) for key in keys)
    return rejected >= missing


class Skip(Protocol):
    """Decides which objects need no announcement."""

    def __call__(self, found: dict[str, Any]) -> bool:
        """Whether to leave out an object version of ListObjectVersions."""
        ...


def announce(clients: Clients, bucket: str, prefix: str, *, skip: Skip) -> int:
    """Send the event of each object version under a prefix to the bucket's queues; how many."""
    s3, sqs = clients("s3"), clients("sqs")
    configured = s3.get_bucket_notification_configuration(Bucket=bucket)
    queues = [
        (_filter(configuration), _queue_url(sqs, configuration["QueueArn"]))
        for configuration in configured.get("QueueConfigurations", [])
        if any(event.startswith("s3:ObjectCreated") for event in configuration["Events"])
    ]
    count = 0
    for found in _versions(s3, bucket, prefix):
        if skip(found):
            continue
        for (start, end), url in queues:
            if found["Key"].startswith(start) and found["Key"].endswith(end):
                sqs.send_message(QueueUrl=url, MessageBody=json.dumps(_event(bucket, found)))
                count += 1
    return count


def _items(dynamodb: Any, table: str) -> Iterator[dict[str, Any]]:
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from page["Items"]


def _versions(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        yield from page.get("Versions", [])


def _version(found: dict[str, Any]) -> str:
    version = found.get("VersionId", "")
    return "" if version == "null" else str(version)


def _filter(configuration: dict[str, Any]) -> tuple[str, str]:
    rules = configuration.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    values = {rule["Name"].lower(): rule["Value"] for rule in rules}
    return values.get("prefix", ""), values.get("suffix", "")


def _queue_url(sqs: Any, arn: str) -> str:
    account, name = arn.split(":")[4:6]
    url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
    return str(url)


def _event(bucket: str, found: dict[str, Any]) -> dict[str, Any]:
    """The event in the form of S3's own, in which keys are encoded as in a query."""
    described = {
        "key": quote_plus(found["Key"], safe="/"),
        "size": found["Size"],
        "eTag": found["ETag"].strip('"'),
        "sequencer": f"{int(found['LastModified'].timestamp() * 1000):016X}",
    }
    # Objects of a bucket without versioning have the version "null", which events leave out.
    if version := _version(found):
        described["versionId"] = version
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                    "object": described,
                },
            }
        ]
    }
