"""Drives again what was in flight when the local cloud was killed.

S3 keeps every acknowledged object, but the notification of one can be lost with the queue it was
in. So uploads that were not sent to their end, and files of the lake that the load ledger may
lack, are announced again to the queues that their buckets' notifications name. Both readers are
idempotent: a second announcement changes nothing. Works on any engine, by boto3 alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote_plus

_FINAL = frozenset({"sent", "refused"})


class Clients(Protocol):
    """Makes boto3 clients."""

    def __call__(self, service: str) -> Any:
        """A client for the service."""
        ...


@dataclass(frozen=True)
class Recovered:
    """How many objects were announced again."""

    uploads: int
    lake_files: int


def redrive(
    clients: Clients,
    *,
    input_bucket: str,
    lake_bucket: str,
    uploads_table: str,
    loaded_files: Collection[str] = (),
) -> Recovered:
    """Announce again what may not have been read; `loaded_files` are the loader's, as s3:// URIs.

    Raises `ClientError` where a bucket or the table cannot be read.
    """
    done = {
        (item["bucket"]["S"], item["key"]["S"], item.get("version_id", {}).get("S", ""))
        for item in _items(clients("dynamodb"), uploads_table)
        if item.get("state", {}).get("S") in _FINAL
    }
    loaded = frozenset(loaded_files)
    uploads = announce(
        clients,
        input_bucket,
        "stream-input-data/",
        skip=lambda found: (input_bucket, found["Key"], found.get("VersionId", "")) in done,
    )
    files = announce(
        clients,
        lake_bucket,
        "rows/",
        skip=lambda found: f"s3://{lake_bucket}/{found['Key']}" in loaded,
    )
    return Recovered(uploads, files)


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
    if found.get("VersionId") not in (None, "null"):
        described["versionId"] = found["VersionId"]
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
