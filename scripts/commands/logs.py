"""`logs`: the newest log lines of a function, of the runs, or of the jobs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from scripts.commands.console import CommandError, Console
from scripts.commands.target import Target

RUNS = "refresh"


def logs(target: Target, console: Console, name: str, minutes: int, *, follow: bool) -> None:
    """Print the lines of the last `minutes` of every log group that `name` is part of."""
    client = target.client("logs")
    groups = _groups(target, name)
    since = int((time.time() - minutes * 60) * 1000)
    shown: set[str] = set()
    while True:
        events = sorted(
            (event for group in groups for event in _events(client, group, since)),
            key=lambda event: event["timestamp"],
        )
        for event in events:
            if event["eventId"] not in shown:
                shown.add(event["eventId"])
                at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                line = f"{at:%H:%M:%S} {event['message'].rstrip()}"
                console.result({"time": at.isoformat(), **event}, [line])
        if not follow:
            return
        time.sleep(2)


def _groups(target: Target, name: str) -> list[str]:
    if name == RUNS:
        return [target.outputs["StateMachineLogGroup"]]
    pages = target.client("logs").get_paginator("describe_log_groups").paginate()
    known = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    # CloudFormation's names have no underscores: load_warehouse logs to …loadwarehouseLogs….
    found = [group for group in known if _plain(name) in _plain(group)]
    if not found:
        raise CommandError(
            f"no log group has {name!r} in its name",
            f"there are: {', '.join(sorted(known))}" if known else "",
        )
    return found


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _events(client: Any, group: str, since: int) -> list[dict[str, Any]]:
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
    return [event for page in pages for event in page["events"]]
