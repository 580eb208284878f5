"""Notices to people: an SNS topic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.adapters.clients import client

ERRORS = (BotoCoreError, ClientError)
"""What `publish` raises."""

_SUBJECT_LENGTH = 99


def publish(topic_arn: str, subject: str, document: Mapping[str, Any]) -> None:
    """Publish a JSON document under a subject, which SNS limits to 99 ASCII characters."""
    line = subject.encode("ascii", "replace").decode()[:_SUBJECT_LENGTH]
    client("sns").publish(TopicArn=topic_arn, Subject=line, Message=json.dumps(dict(document)))
