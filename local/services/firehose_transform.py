"""Firehose's records, and their way through the transform function."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from local.services.base import ServiceError
from local.services.firehose_settings import Destination, Transform

PAYLOAD_LIMIT = 6 * 1024 * 1024
"""Bytes that Lambda takes and gives in one synchronous call."""


@dataclass(frozen=True)
class Record:
    """A record from the source. `sequence` and `shard` are empty for direct puts."""

    id: str
    data: bytes
    arrived: float
    partition_key: str = ""
    sequence: str = ""
    shard: str = ""


@dataclass
class Failure:
    """A record that goes to the error prefix, as Firehose writes it there."""

    record: Record
    code: str
    message: str
    attempts: int

    def line(self, function: str) -> bytes:
        """One line of the error object."""
        return (
            json.dumps(
                {
                    "attemptsMade": self.attempts,
                    "arrivalTimestamp": int(self.record.arrived * 1000),
                    "errorCode": self.code,
                    "errorMessage": self.message,
                    "attemptEndingTimestamp": int(time.time() * 1000),
                    "rawData": base64.b64encode(self.record.data).decode(),
                    "lambdaArn": function,
                }
            ).encode()
            + b"\n"
        )


@dataclass
class Transformed:
    """What a batch became: pieces by the values of their partition keys, and failures."""

    pieces: dict[tuple[str, ...], list[bytes]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    dropped: int = 0


def batches(records: Sequence[Record], limit: int) -> list[list[Record]]:
    """Cut records into batches of at most `limit` bytes of data, in order."""
    found: list[list[Record]] = []
    size = 0
    for record in records:
        if not found or size + len(record.data) > limit:
            found.append([])
            size = 0
        found[-1].append(record)
        size += len(record.data)
    return found


class Transformer:
    """Calls the function for a batch and reads its answer."""

    def __init__(
        self,
        destination: Destination,
        transform: Transform,
        client: Callable[[str, str], Any],
        stream: str,
        source: str | None,
        region: str,
    ) -> None:
        """`client` gives a boto3 client of a service for a role; `stream` and `source` are ARNs."""
        self._destination = destination
        self._transform = transform
        self._client = client
        self._stream = stream
        self._source = source
        self._region = region

    def run(self, records: Sequence[Record], tell: Callable[[str, str], None]) -> Transformed:
        """Transform a batch; `tell` takes the code and text of an error for the log.

        A call that fails is tried again as often as the settings say; then all its records fail.
        """
        payload = self._payload(records)
        code = message = ""
        for attempt in range(1, self._transform.retries + 2):
            try:
                answer = self._invoke(payload)
                return self._read(records, answer, attempt)
            except _CallError as error:
                code, message = error.code, error.text
                tell(code, message)
                if attempt <= self._transform.retries:
                    time.sleep(0.1 * 2 ** (attempt - 1))
        attempts = self._transform.retries + 1
        return Transformed(failures=[Failure(r, code, message, attempts) for r in records])

    def _payload(self, records: Sequence[Record]) -> bytes:
        event: dict[str, Any] = {
            "invocationId": str(uuid4()),
            "deliveryStreamArn": self._stream,
            "region": self._region,
            "records": [self._entry(record) for record in records],
        }
        if self._source:
            event["sourceKinesisStreamArn"] = self._source
        return json.dumps(event).encode()

    def _entry(self, record: Record) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "recordId": record.id,
            "approximateArrivalTimestamp": int(record.arrived * 1000),
            "data": base64.b64encode(record.data).decode(),
        }
        if record.sequence:
            entry["kinesisRecordMetadata"] = {
                "sequenceNumber": record.sequence,
                "subsequenceNumber": 0,
                "partitionKey": record.partition_key,
                "shardId": record.shard,
                "approximateArrivalTimestamp": int(record.arrived * 1000),
            }
        return entry

    def _invoke(self, payload: bytes) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        if len(payload) > PAYLOAD_LIMIT:
            raise _CallError("Lambda.PayloadTooLarge", "The request is larger than 6 MB.")
        try:
            client = self._client(self._transform.role, "lambda")
            answer = client.invoke(FunctionName=self._transform.function, Payload=payload)
            body = answer["Payload"].read()
        except ServiceError as error:
            raise _CallError("Lambda.AssumeRoleAccessDenied", error.message) from None
        except ClientError as error:
            details = error.response["Error"]
            denied = "AccessDenied" in details["Code"]
            code = "Lambda.InvokeAccessDenied" if denied else f"Lambda.{details['Code']}"
            raise _CallError(code, details.get("Message", "")) from None
        except BotoCoreError as error:
            raise _CallError("Lambda.ConnectionError", str(error)) from None
        if answer.get("FunctionError"):
            raise _CallError("Lambda.FunctionError", body[:1000].decode(errors="replace"))
        if len(body) > PAYLOAD_LIMIT:
            raise _CallError("Lambda.ResponseTooLarge", "The response is larger than 6 MB.")
        try:
            found = json.loads(body)
        except ValueError:
            raise _CallError("Lambda.JsonProcessingException", "The response is no JSON.") from None
        if not isinstance(found, dict) or not isinstance(found.get("records"), list):
            raise _CallError(
                "Lambda.JsonProcessingException", "The response has no list of records."
            )
        return found

    def _read(
        self, records: Sequence[Record], answer: dict[str, Any], attempts: int
    ) -> Transformed:
        results: dict[str, dict[str, Any]] = {}
        twice = set()
        for result in answer["records"]:
            identifier = result.get("recordId", "")
            if identifier in results:
                twice.add(identifier)
            results[identifier] = result
        if unknown := results.keys() - {record.id for record in records}:
            raise _CallError(
                "Lambda.InvalidRecordId", f"The response has unknown record ids: {sorted(unknown)}"
            )
        done = Transformed()
        for record in records:
            if record.id in twice:
                done.failures.append(
                    Failure(
                        record,
                        "Lambda.DuplicatedRecordId",
                        "Multiple records were returned with the same record ID.",
                        attempts,
                    )
                )
            elif record.id not in results:
                done.failures.append(
                    Failure(
                        record,
                        "Lambda.MissingRecordId",
                        "One or more record IDs were not returned.",
                        attempts,
                    )
                )
            else:
                self._sort(record, results[record.id], done, attempts)
        return done

    def _sort(
        self, record: Record, result: dict[str, Any], done: Transformed, attempts: int
    ) -> None:
        def fail(code: str, message: str) -> None:
            done.failures.append(Failure(record, code, message, attempts))

        status = result.get("result")
        if status == "Dropped":
            done.dropped += 1
        elif status == "Ok":
            try:
                data = base64.b64decode(result["data"], validate=True)
            except (KeyError, TypeError, ValueError):
                fail("Lambda.JsonProcessingException", "The data of a record is not base64.")
                return
            found = (result.get("metadata") or {}).get("partitionKeys") or {}
            keys = tuple(str(found.get(name) or "") for name in self._destination.keys)
            if not all(keys):
                fail(
                    "DynamicPartitioning.MissingPartitionKeys",
                    f"The record lacks partition keys among {self._destination.keys}.",
                )
                return
            done.pieces.setdefault(keys, []).append(data)
        elif status == "ProcessingFailed":
            fail("Lambda.ProcessingFailedStatus", "ProcessingFailed status set for record")
        else:
            fail("Lambda.InvalidResult", f"The result {status!r} is not known.")


class _CallError(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
