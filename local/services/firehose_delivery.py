"""The work of one delivery stream: read, transform, deliver, remember how far it came.

Records are worked off in rounds. A round ends when its buffer is full, its interval has passed,
or the source has been idle for a moment (AWS documents the interval as a hint, which it may
change); only when everything of a round is in S3 are the sequence numbers of the shards written
down. What a crash interrupts is thus delivered again: at least once.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from local.services.base import Host, ServiceError
from local.services.firehose_settings import PRINCIPAL, Destination, render_prefix
from local.services.firehose_transform import Failure, Record, Transformed, Transformer, batches
from local.services.memory import trim

IDLE_SECONDS = 0.25
LARGEST_ROUND = 32 << 20
"""Bytes: below the buffers that AWS allows, to bound the local cloud's memory."""
CONCURRENT_CALLS = 2
LONGEST_PAUSE = 10.0

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Source(Protocol):
    """Where a delivery stream's records come from."""

    def read(self) -> list[Record]:
        """The next records; none where there are none now."""
        ...

    def commit(self) -> None:
        """Everything that was read is delivered."""
        ...

    def rewind(self) -> None:
        """Everything that was read since the last commit is to be read again."""
        ...

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        """Pause until there may be more."""
        ...


class Delivery:
    """The thread of one delivery stream."""

    def __init__(
        self,
        host: Host,
        name: str,
        arn: str,
        version: int,
        destination: Destination,
        source: Source,
        source_arn: str | None,
    ) -> None:
        self._host = host
        self._name = name
        self._arn = arn
        self._version = version
        self._destination = destination
        self._source = source
        self._stopped = threading.Event()
        self._keeps_interval = bool(os.environ.get("TIDEMILL_FIREHOSE_KEEP_INTERVAL"))
        transform = destination.transform
        self._transformer = (
            Transformer(destination, transform, self.client, arn, source_arn, host.region)
            if transform
            else None
        )
        self._thread = threading.Thread(target=self._run, name=f"firehose-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a round that is not delivered is read again by the next start."""
        self._stopped.set()
        self._thread.join(10)

    def client(self, role: str, service: str) -> Any:
        """A boto3 client for a role of the delivery stream's."""
        return self._host.assume(role, PRINCIPAL).client(service)

    def _run(self) -> None:
        with ThreadPoolExecutor(CONCURRENT_CALLS, f"firehose-{self._name}") as pool:
            while not self._stopped.is_set():
                try:
                    self._round(pool)
                except _Stopped:
                    return
                except Exception:
                    _log.exception("a round of the delivery stream %s failed", self._name)
                    self._source.rewind()
                    self._stopped.wait(1)

    def _round(self, pool: ThreadPoolExecutor) -> None:
        """Gather records, transforming them as they come, then deliver them all."""
        limit = self._destination.transform.buffer_bytes if self._destination.transform else 0
        work: list[Future[Transformed]] = []
        waiting: list[Record] = []
        count = size = waiting_size = 0
        oldest = began = last = 0.0
        pause = 0.1
        while not self._stopped.is_set():
            records = self._insist(self._source.read, "Kinesis")
            now = time.monotonic()
            for record in records:
                waiting_size += len(record.data)
                if limit and waiting and waiting_size > limit:
                    work.append(pool.submit(self._transform, waiting))
                    waiting, waiting_size = [], len(record.data)
                waiting.append(record)
                size += len(record.data)
            if records:
                began, last, pause = began or now, now, 0.05
                oldest = min([oldest or records[0].arrived, *(r.arrived for r in records)])
                count += len(records)
            if began and self._is_full(size, now - began, now - last):
                break
            if not records:
                self._source.wait(pause, self._stopped)
                pause = 0.05 if began else min(pause * 1.3, 0.5)
        if not began or self._stopped.is_set():
            return
        work += [pool.submit(self._transform, part) for part in batches(waiting, limit or size)]
        self._deliver(work, oldest, count, size)
        self._source.commit()
        del work, waiting
        trim()

    def _is_full(self, size: int, age: float, idle: float) -> bool:
        if size >= min(self._destination.buffer_bytes, LARGEST_ROUND):
            return True
        if age >= self._destination.buffer_seconds:
            return True
        return not self._keeps_interval and idle >= IDLE_SECONDS

    def _transform(self, records: list[Record]) -> Transformed:
        if self._transformer is None:
            return Transformed({(): [record.data for record in records]})
        return self._transformer.run(records, self._tell)

    def _deliver(
        self, work: list[Future[Transformed]], oldest: float, count: int, size: int
    ) -> None:
        objects: dict[tuple[str, ...], _Object] = {}
        failures: list[Failure] = []
        for future in work:
            done = future.result()
            for keys, pieces in done.pieces.items():
                target = objects.setdefault(keys, _Object(gzip=self._destination.gzip))
                for piece in pieces:
                    target.add(piece)
            failures += done.failures
        for keys, target in objects.items():
            named = dict(zip(self._destination.keys, keys, strict=True))
            prefix = render_prefix(self._destination.prefix, oldest, named)
            self._put(prefix, target.content(), ".gz" if self._destination.gzip else "")
        if failures:
            self._put_failures(failures, oldest)
        self._measure(oldest, count, size, len(objects))

    def _put_failures(self, failures: list[Failure], oldest: float) -> None:
        transform = self._destination.transform
        function = f"{transform.function}:$LATEST" if transform else ""
        prefix = self._destination.error_prefix or "processing-failed/"
        content = b"".join(failure.line(function) for failure in failures)
        self._put(render_prefix(prefix, oldest, {}, "processing-failed"), content, "")

    def _put(self, prefix: str, content: bytes, suffix: str) -> None:
        """Write an object; AWS tries for 24 hours, this as long as it runs."""
        stamp = datetime.fromtimestamp(self._host.now(), UTC).strftime("%Y-%m-%d-%H-%M-%S")
        key = f"{prefix}{self._name}-{self._version}-{stamp}-{uuid4()}{suffix}"

        def put() -> None:
            client = self.client(self._destination.role, "s3")
            client.put_object(Bucket=self._destination.bucket, Key=key, Body=content)

        self._insist(put, "S3")

    def _insist(self, action: Callable[[], _T], service: str) -> _T:
        """Do it until it is done, ever more slowly. Raises `_Stopped` when the cloud stops."""
        from botocore.exceptions import BotoCoreError, ClientError

        pause = 0.5
        while not self._stopped.is_set():
            try:
                return action()
            except ServiceError as error:
                self._tell(f"{service}.AssumeRoleAccessDenied", error.message)
            except ClientError as error:
                details = error.response["Error"]
                self._tell(f"{service}.{details['Code']}", details.get("Message", ""))
            except BotoCoreError as error:
                self._tell(f"{service}.ConnectionError", str(error))
            self._stopped.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        raise _Stopped

    def _tell(self, code: str, message: str) -> None:
        """Write an error to the delivery stream's log, as its role."""
        _log.warning("%s: %s: %s", self._name, code, message)
        if not self._destination.log_group:
            return
        line = json.dumps(
            {
                "deliveryStreamARN": self._arn,
                "destination": f"arn:aws:s3:::{self._destination.bucket}",
                "deliveryStreamVersionId": self._version,
                "message": message,
                "errorCode": code,
            }
        )
        try:
            self.client(self._destination.role, "logs").put_log_events(
                logGroupName=self._destination.log_group,
                logStreamName=self._destination.log_stream,
                logEvents=[{"timestamp": int(self._host.now() * 1000), "message": line}],
            )
        except Exception as error:  # a log that cannot be written stops no delivery
            _log.warning("%s: its log was not written: %s", self._name, error)

    def _measure(self, oldest: float, count: int, size: int, objects: int) -> None:
        dimensions = {"DeliveryStreamName": self._name}
        age = max(0.0, time.time() - oldest)
        for metric, value, unit in (
            ("DeliveryToS3.DataFreshness", age, "Seconds"),
            ("DeliveryToS3.Records", count, "Count"),
            ("DeliveryToS3.Bytes", size, "Bytes"),
            ("DeliveryToS3.ObjectCount", objects, "Count"),
            ("DeliveryToS3.Success", 1, "Count"),
        ):
            self._host.put_metric("AWS/Firehose", metric, float(value), unit, dimensions)


class _Object:
    """An object as it grows, compressed on the way."""

    def __init__(self, *, gzip: bool) -> None:
        self._compressor = zlib.compressobj(1, zlib.DEFLATED, 31) if gzip else None
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Append a piece."""
        self._pieces.append(self._compressor.compress(piece) if self._compressor else piece)

    def content(self) -> bytes:
        """The whole object; nothing may be added any more."""
        if self._compressor:
            self._pieces.append(self._compressor.flush())
            self._compressor = None
        return b"".join(self._pieces)


class _Stopped(Exception):  # noqa: N818 (no error: the cloud stops)
    pass
