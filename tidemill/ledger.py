"""The ledger: the append-only history of a model's versions, runs and releases.

One partition a model. `LOCK` is held by the run in progress, `CHAMPION` points at the version in
service, `COUNTER` gives out version numbers; `VERSION#`, `RUN#` and `EVENT#` items are the
history. Events are never changed; a version and a run only move on to their next state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

LOCK: Final = "LOCK"
CHAMPION: Final = "CHAMPION"
COUNTER: Final = "COUNTER"


class VersionState(StrEnum):
    """The life of a version: registered or rejected by the gate; champion, then retired; or
    failed, if its release did."""

    REGISTERED = "registered"
    REJECTED = "rejected"
    CHAMPION = "champion"
    RETIRED = "retired"
    FAILED = "failed"


class RunState(StrEnum):
    """The life of a run; every state but `running` is final."""

    RUNNING = "running"
    RELEASED = "released"
    REJECTED = "rejected"
    FAILED = "failed"


class EventKind(StrEnum):
    """What an event tells."""

    REGISTERED = "registered"
    REJECTED = "rejected"
    PROMOTED = "promoted"
    RUN_FAILED = "run_failed"


@dataclass(frozen=True)
class Champion:
    """The version in service and what it takes to serve it again."""

    version: int
    run_id: str
    artefact_uri: str
    endpoint_config: str


@dataclass(frozen=True)
class Lock:
    """Who holds a model's lock."""

    execution_arn: str
    run_id: str
    taken_at: str


def partition(model: str) -> str:
    """Return the partition key of a model."""
    return f"MODEL#{model}"


def version_key(number: int) -> str:
    """Return the sort key of a version; keys sort as numbers do."""
    return f"VERSION#{number:08d}"


def run_key(run_id: str) -> str:
    """Return the sort key of a run; keys sort by time."""
    return f"RUN#{run_id}"


def event_key(at: str, mark: str) -> str:
    """Return the sort key of an event; keys sort by time."""
    return f"EVENT#{at}#{mark}"


def timestamp(at: datetime) -> str:
    """Write a moment so that text sorts as time: `2026-11-20T20:11:41.123Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(
    kind: EventKind, *, at: str, run_id: str, version: int | None = None, text: str = ""
) -> dict[str, Any]:
    """Return an event's item without its partition; absent parts are left out."""
    item = {
        "sk": event_key(at, f"{run_id}-{kind}"),
        "kind": str(kind),
        "at": at,
        "run_id": run_id,
        "version": version,
        "text": text[:2000],
    }
    return {key: value for key, value in item.items() if value not in (None, "")}
