"""Where delivery streams get their records: a Kinesis stream, or direct puts."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from local.services.firehose_transform import Record

LIST_SECONDS = 10.0
"""How often new shards are looked for."""


class KinesisSource:
    """Reads the shards of a stream as the delivery stream's role."""

    def __init__(self, client: Callable[[], Any], arn: str, path: Path, since: float) -> None:
        """`path` keeps the checkpoint. `since` is when the delivery stream was made: Firehose
        begins at LATEST, which for a restart before the first checkpoint is that time."""
        self._client = client
        self._stream = arn.rpartition("/")[2]
        self._path = path
        self._since = since
        self._delivered: dict[str, str] = {}
        self._read: dict[str, str] = {}
        self._iterators: dict[str, str] = {}
        self._ended: set[str] = set()
        self._ended_before: set[str] = set()
        self._listed = 0.0
        if path.exists():
            kept = json.loads(path.read_text())
            self._delivered = kept["shards"]
            self._ended_before = set(kept["ended"])
            self.rewind()

    def _list(self) -> None:
        if self._listed and time.monotonic() - self._listed < LIST_SECONDS:
            return
        client = self._client()
        known: set[str] = set()
        request: dict[str, str] = {"StreamName": self._stream}
        while True:
            answer = client.list_shards(**request)
            known |= {shard["ShardId"] for shard in answer["Shards"]}
            if not answer.get("NextToken"):
                break
            request = {"NextToken": answer["NextToken"]}
        for shard in sorted(known - self._ended - self._iterators.keys()):
            self._iterators[shard] = self._iterator(shard)
        self._listed = time.monotonic()

    def _iterator(self, shard: str) -> str:
        request: dict[str, Any] = {"StreamName": self._stream, "ShardId": shard}
        if shard in self._read:
            request |= {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": self._read[shard],
            }
        else:
            request |= {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": self._since}
        return str(self._client().get_shard_iterator(**request)["ShardIterator"])

    def read(self) -> list[Record]:
        """The next records of every shard."""
        self._list()
        client = self._client()
        found: list[Record] = []
        for shard, iterator in list(self._iterators.items()):
            try:
                answer = client.get_records(ShardIterator=iterator, Limit=10_000)
            except client.exceptions.ExpiredIteratorException:
                self._iterators[shard] = self._iterator(shard)
                continue
            for record in answer["Records"]:
                sequence = record["SequenceNumber"]
                found.append(
                    Record(
                        f"{sequence}{shard}",
                        bytes(record["Data"]),
                        record["ApproximateArrivalTimestamp"].timestamp(),
                        record["PartitionKey"],
                        sequence,
                        shard,
                    )
                )
                self._read[shard] = sequence
            if answer.get("NextShardIterator"):
                self._iterators[shard] = answer["NextShardIterator"]
            else:  # the shard was split or merged, and all of it is read
                del self._iterators[shard]
                self._ended.add(shard)
                self._listed = 0.0
        return found

    def commit(self) -> None:
        """Write down how far the shards are delivered."""
        self._delivered, self._ended_before = dict(self._read), set(self._ended)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"shards": self._delivered, "ended": sorted(self._ended)}))
        fresh.replace(self._path)

    def rewind(self) -> None:
        """Read again from the checkpoint."""
        self._read, self._ended = dict(self._delivered), set(self._ended_before)
        self._iterators.clear()
        self._listed = 0.0

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        """Poll again after a while."""
        stopped.wait(seconds)


class DirectSource:
    """Records that were put directly; a journal keeps them until they are delivered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._pending: list[Record] = []
        self._read = 0
        if path.exists():
            for line in path.read_text().splitlines():
                if line.endswith("}"):  # the last one may have been cut by a crash
                    kept = json.loads(line)
                    data = base64.b64decode(kept["data"])
                    self._pending.append(Record(kept["id"], data, kept["arrived"]))

    def put(self, records: Sequence[Record]) -> None:
        """Take records; they are in the journal when this returns."""
        with self._lock:
            self._append(records, "a")
            self._pending += records
        self._arrived.set()

    def _append(self, records: Sequence[Record], mode: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open(mode) as file:
            for record in records:
                data = base64.b64encode(record.data).decode()
                kept = {"id": record.id, "arrived": record.arrived, "data": data}
                file.write(json.dumps(kept) + "\n")

    def read(self) -> list[Record]:
        """The records that were put since the last read."""
        with self._lock:
            self._arrived.clear()
            found = self._pending[self._read :]
            self._read = len(self._pending)
            return found

    def commit(self) -> None:
        """Forget what was read."""
        with self._lock:
            self._pending = self._pending[self._read :]
            self._read = 0
            fresh = self._path.with_suffix(".new")
            path, self._path = self._path, fresh
            try:
                self._append(self._pending, "w")
            finally:
                self._path = path
            fresh.replace(path)

    def rewind(self) -> None:
        """Read again what is not delivered."""
        with self._lock:
            self._read = 0

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        """Wake up when something is put."""
        del stopped
        self._arrived.wait(seconds)
