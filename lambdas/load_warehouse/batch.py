"""What a batch of SQS messages with S3 events asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

PREFIX = "rows/"


@dataclass
class Batch:
    """The files to load: model → S3 URI → (messages that name it, highest delivery count)."""

    files: dict[str, dict[str, tuple[set[str], int]]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why a message cannot be read, by message id."""

    @classmethod
    def read(cls, event: Mapping[str, Any], bucket: str) -> Batch:
        """Read an SQS event; what S3 sends to test a notification asks for nothing."""
        batch = cls()
        for message in event["Records"]:
            identifier = message["messageId"]
            received = int(message.get("attributes", {}).get("ApproximateReceiveCount", 1))
            try:
                for model, uri in _named_files(message["body"], bucket):
                    messages, most = batch.files.setdefault(model, {}).get(uri, (set(), 0))
                    batch.files[model][uri] = ({*messages, identifier}, max(most, received))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                batch.unreadable[identifier] = f"{type(error).__name__}: {error}"
        return batch

    def messages_of(self, model: str, files: Iterable[str]) -> set[str]:
        """Return the ids of the messages that name one of these files of a model."""
        return {message for file in files for message in self.files[model][file][0]}


def _named_files(body: str, bucket: str) -> list[tuple[str, str]]:
    """Return model and S3 URI of each file that an S3 event names. Raises ValueError."""
    document = json.loads(body)
    if document.get("Event") == "s3:TestEvent":
        return []
    found = []
    for record in document["Records"]:
        # Keys come URL-encoded, blanks as plus signs.
        key = unquote_plus(record["s3"]["object"]["key"])
        if record["s3"]["bucket"]["name"] != bucket:
            raise ValueError(f"{record['s3']['bucket']['name']!r} is not the lake's bucket")
        model, slash, _ = key.removeprefix(PREFIX).partition("/")
        if not key.startswith(PREFIX) or not slash:
            raise ValueError(f"{key!r} is not rows/<model>/…")
        found.append((model, f"s3://{bucket}/{key}"))
    return found
