"""The clock that tests can advance."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest


def test_a_scheduled_rule_fires_when_its_time_comes(lab: Any, client: Any, cloud: Any) -> None:
    sqs, events = client("sqs"), client("events")
    url = sqs.create_queue(QueueName="ticks")["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:{lab.account}:ticks"
    statement = {
        **lab.allow("sqs:SendMessage", on=queue),
        "Principal": {"Service": "events.amazonaws.com"},
    }
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [statement]})}
    )
    events.put_rule(Name="daily", ScheduleExpression="rate(1 day)")
    events.put_targets(Rule="daily", Targets=[{"Id": "1", "Arn": queue, "Input": '{"tick": 1}'}])
    cloud.advance(60)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    cloud.advance(24 * 3600)
    found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=3)["Messages"]
    assert json.loads(found[0]["Body"]) == {"tick": 1}


def test_a_message_is_visible_again_when_its_time_comes(client: Any, cloud: Any) -> None:
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="hidden", Attributes={"VisibilityTimeout": "900"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="1")
    assert sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    cloud.advance(901)
    assert sqs.receive_message(QueueUrl=url)["Messages"]


def test_commands_need_the_administrator(cloud: Any) -> None:
    from local.cloud import _opener

    request = urllib.request.Request(  # noqa: S310 - the local cloud's own address
        f"{cloud.endpoint_url}/_tidemill/advance?1",
        method="POST",
        headers={"Authorization": "Bearer nothing"},
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        _opener(cloud).open(request)


def test_idle_memory(cloud: Any) -> None:
    from pathlib import Path

    cloud.reap()
    time.sleep(0.5)
    status = Path(f"/proc/{cloud.pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 200 * 1024
