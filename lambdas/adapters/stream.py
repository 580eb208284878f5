"""Puts records into the stream."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from lambdas.adapters.clients import client

CALL_RECORDS = 500
CALL_BYTES = 4_500_000
"""Kinesis takes 5 MB a call, partition keys included."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 3.0


class OutOfTimeError(Exception):
    """Records are left over that the stream would not take before the deadline."""


class Entry(Protocol):
    """What is put."""

    @property
    def data(self) -> bytes:
        """The record."""

    @property
    def partition_key(self) -> str:
        """What its shard is chosen by."""


class Stream:
    """A Kinesis stream; `pause` is `time.sleep` but in tests."""

    def __init__(self, name: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._name = name
        self._pause = pause
        self._allowed = CALL_BYTES

    def put(self, entries: Sequence[Entry], deadline: float) -> None:
        """Put every record, and after a call that failed in part the failed ones alone.

        A shard takes 1 MB a second: once it refuses, calls shrink to what it took, pauses grow
        with jitter, and calls grow again as it recovers. Raises `OutOfTimeError` at `deadline`
        (of `time.monotonic`), and what boto3 raises where a call fails as a whole.
        """
        pending = list(entries)
        pause = _FIRST_PAUSE
        while pending:
            count = self._fitting(pending)
            failed = self._call(pending[:count])
            taken = sum(_size(entry) for entry in pending[:count]) - sum(map(_size, failed))
            pending[:count] = failed
            if not failed:
                self._allowed = min(2 * self._allowed, CALL_BYTES)
                pause = _FIRST_PAUSE
                continue
            self._allowed = max(taken, 1)
            pause = _FIRST_PAUSE if taken else min(2 * pause, _LONGEST_PAUSE)
            if time.monotonic() + pause > deadline:
                raise OutOfTimeError(f"the stream has not taken {len(pending)} records")
            self._pause(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter is no secret

    def _fitting(self, pending: Sequence[Entry]) -> int:
        """How many of the next records one call may hold, at least one."""
        total = 0
        for count, entry in enumerate(pending[:CALL_RECORDS]):
            total += _size(entry)
            if total > self._allowed and count:
                return count
        return min(len(pending), CALL_RECORDS)

    def _call(self, entries: Sequence[Entry]) -> list[Entry]:
        """Put some records in one call; return those that failed."""
        kinesis = client("kinesis")
        try:
            answer = kinesis.put_records(
                StreamName=self._name,
                Records=[{"Data": e.data, "PartitionKey": e.partition_key} for e in entries],
            )
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            return list(entries)
        if not answer["FailedRecordCount"]:
            return []
        results = zip(entries, answer["Records"], strict=True)
        return [entry for entry, result in results if result.get("ErrorCode")]


def _size(entry: Entry) -> int:
    return len(entry.data) + len(entry.partition_key)
