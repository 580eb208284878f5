"""Firehose: delivery streams from Kinesis or direct puts, through a function, into S3."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.services.base import (
    Caller,
    Document,
    Host,
    Resource,
    ResourceType,
    Service,
    ServiceError,
)
from local.services.firehose_delivery import Delivery
from local.services.firehose_settings import PRINCIPAL, read_destination
from local.services.firehose_sources import DirectSource, KinesisSource
from local.services.firehose_transform import Record
from local.services.protocol import Dispatcher

_RECORD_BYTES = 1_024_000
_BATCH_BYTES = 4 << 20


class Firehose(Service):
    """Delivery streams, each with a thread of its own."""

    model = "firehose"
    iam_prefix = "firehose"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lock = threading.RLock()
        self._streams: dict[str, Document] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._direct: dict[str, DirectSource] = {}

    @property
    def _folder(self) -> Path:
        return self.host.state_directory / "firehose"

    def start(self) -> None:
        """Take up the delivery streams that the state directory holds."""
        path = self._folder / "streams.json"
        if path.exists():
            with self._lock:
                self._streams = json.loads(path.read_text())
                for stream in self._streams.values():
                    self._begin(stream)

    def stop(self) -> None:
        """End the threads; what is not delivered is read again by the next start."""
        with self._lock:
            deliveries = list(self._deliveries.values())
            self._deliveries.clear()
        for delivery in deliveries:
            delivery.stop()

    def _save(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "streams.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(self._streams))
        fresh.replace(path)

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """Every operation is asked on the delivery stream, save the list."""
        if operation == "ListDeliveryStreams":
            return ["*"]
        return [_arn(request["DeliveryStreamName"], caller)]

    def resource_types(self) -> Sequence[ResourceType]:
        """AWS::KinesisFirehose::DeliveryStream."""
        return (DeliveryStreamType(self),)

    def _begin(self, stream: Document) -> None:
        name = stream["name"]
        destination = read_destination(stream["destination"])
        source = stream.get("source")
        kept = self._folder / f"{stream['id']}.json"
        reader: KinesisSource | DirectSource
        if source:
            role = source["RoleARN"]

            def client() -> Any:
                return self.host.assume(role, PRINCIPAL).client("kinesis")

            reader = KinesisSource(client, source["KinesisStreamARN"], kept, stream["began"])
        else:
            reader = self._direct[name] = DirectSource(kept)
        delivery = Delivery(
            self.host,
            name,
            stream["arn"],
            stream["version"],
            destination,
            reader,
            source["KinesisStreamARN"] if source else None,
        )
        self._deliveries[name] = delivery
        delivery.start()

    def _find(self, name: str) -> Document:
        if name not in self._streams:
            raise ServiceError(
                "ResourceNotFoundException", f"Firehose {name} under account was not found."
            )
        return self._streams[name]

    def create_delivery_stream(self, request: Document, caller: Caller) -> Document:
        """Make a delivery stream; it is active at once."""
        name = request["DeliveryStreamName"]
        configuration = request.get("ExtendedS3DestinationConfiguration")
        if configuration is None:
            raise ServiceError(
                "InvalidArgumentException",
                "The local cloud delivers to ExtendedS3DestinationConfiguration only.",
            )
        source = request.get("KinesisStreamSourceConfiguration")
        kind = request.get("DeliveryStreamType", "DirectPut")
        if kind != ("KinesisStreamAsSource" if source else "DirectPut"):
            raise ServiceError(
                "InvalidArgumentException", f"The source does not fit the stream's type {kind}."
            )
        roles = read_destination(configuration).roles | ({source["RoleARN"]} if source else set())
        self.ask_pass_role(caller, PRINCIPAL, *sorted(roles))
        with self._lock:
            if name in self._streams:
                raise ServiceError(
                    "ResourceInUseException", f"Firehose {name} under account already exists"
                )
            stream = {
                "id": str(uuid4()),
                "name": name,
                "arn": _arn(name, caller),
                "type": kind,
                "version": 1,
                "created": self.host.now(),
                # Firehose reads from LATEST, which is the moment of its creation by the clock
                # that the records are stamped with.
                "began": time.time(),
                "source": source,
                "destination": configuration,
                "tags": _tags(request),
            }
            self._streams[name] = stream
            self._save()
            self._begin(stream)
            return {"DeliveryStreamARN": stream["arn"]}

    def describe_delivery_stream(self, request: Document, caller: Caller) -> Document:
        """The settings of a delivery stream."""
        del caller
        with self._lock:
            stream = self._find(request["DeliveryStreamName"])
            described = dict(stream["destination"])
            described.pop("S3BackupConfiguration", None)
            described.setdefault("BufferingHints", {"SizeInMBs": 5, "IntervalInSeconds": 300})
            described.setdefault("CompressionFormat", "UNCOMPRESSED")
            described.setdefault("EncryptionConfiguration", {"NoEncryptionConfig": "NoEncryption"})
            answer: Document = {
                "DeliveryStreamName": stream["name"],
                "DeliveryStreamARN": stream["arn"],
                "DeliveryStreamStatus": "ACTIVE",
                "DeliveryStreamType": stream["type"],
                "VersionId": str(stream["version"]),
                "CreateTimestamp": stream["created"],
                "HasMoreDestinations": False,
                "Destinations": [
                    {
                        "DestinationId": "destinationId-000000000001",
                        "ExtendedS3DestinationDescription": described,
                    }
                ],
            }
            if stream["source"]:
                began = {"DeliveryStartTimestamp": stream["created"]}
                answer["Source"] = {"KinesisStreamSourceDescription": {**stream["source"], **began}}
            return {"DeliveryStreamDescription": answer}

    def list_delivery_streams(self, request: Document, caller: Caller) -> Document:
        """The names, in order."""
        del caller
        start = request.get("ExclusiveStartDeliveryStreamName", "")
        kind = request.get("DeliveryStreamType")
        limit = request.get("Limit", 10)
        with self._lock:
            names = sorted(
                name
                for name, stream in self._streams.items()
                if name > start and kind in (None, stream["type"])
            )
        return {
            "DeliveryStreamNames": names[:limit],
            "HasMoreDeliveryStreams": len(names) > limit,
        }

    def delete_delivery_stream(self, request: Document, caller: Caller) -> Document:
        """Remove a delivery stream; what it has not delivered is lost, as on AWS."""
        del caller
        name = request["DeliveryStreamName"]
        with self._lock:
            stream = self._find(name)
            delivery = self._deliveries.pop(name, None)
            self._direct.pop(name, None)
            del self._streams[name]
            self._save()
        if delivery:
            delivery.stop()
        (self._folder / f"{stream['id']}.json").unlink(missing_ok=True)
        return {}

    def update_destination(self, request: Document, caller: Caller) -> Document:
        """Change the settings of the destination; what is under way is delivered by the old."""
        name = request["DeliveryStreamName"]
        with self._lock:
            stream = self._find(name)
            if request["CurrentDeliveryStreamVersionId"] != str(stream["version"]):
                raise ServiceError(
                    "ConcurrentModificationException", "The version id is not the current one."
                )
            update = request.get("ExtendedS3DestinationUpdate", {})
            changed = {**stream["destination"], **update}
            self.ask_pass_role(caller, PRINCIPAL, *sorted(read_destination(changed).roles))
            self._deliveries.pop(name).stop()
            stream["destination"] = changed
            stream["version"] += 1
            self._save()
            self._begin(stream)
        return {}

    def put_record(self, request: Document, caller: Caller) -> Document:
        """Take one record."""
        answer = self.put_record_batch(
            {
                "DeliveryStreamName": request["DeliveryStreamName"],
                "Records": [request["Record"]],
            },
            caller,
        )
        return {"RecordId": answer["RequestResponses"][0]["RecordId"], "Encrypted": False}

    def put_record_batch(self, request: Document, caller: Caller) -> Document:
        """Take records, all of them; they are kept on disk until they are delivered."""
        del caller
        name = request["DeliveryStreamName"]
        data = [record["Data"] for record in request["Records"]]
        if any(len(item) > _RECORD_BYTES for item in data):
            raise ServiceError("InvalidArgumentException", "A record is larger than 1,000 KiB.")
        if sum(len(item) for item in data) > _BATCH_BYTES:
            raise ServiceError("InvalidArgumentException", "The records are larger than 4 MiB.")
        now = time.time()
        records = [Record(str(uuid4()), item, now) for item in data]
        with self._lock:
            self._find(name)
            source = self._direct.get(name)
        if source is None:
            raise ServiceError(
                "InvalidArgumentException",
                f"This operation is not permitted on KinesisStreamAsSource delivery stream {name}.",
            )
        source.put(records)
        return {
            "FailedPutCount": 0,
            "Encrypted": False,
            "RequestResponses": [{"RecordId": record.id} for record in records],
        }

    def tag_delivery_stream(self, request: Document, caller: Caller) -> Document:
        """Add tags."""
        del caller
        with self._lock:
            self._find(request["DeliveryStreamName"])["tags"].update(_tags(request))
            self._save()
        return {}

    def untag_delivery_stream(self, request: Document, caller: Caller) -> Document:
        """Remove tags."""
        del caller
        with self._lock:
            tags = self._find(request["DeliveryStreamName"])["tags"]
            for key in request["TagKeys"]:
                tags.pop(key, None)
            self._save()
        return {}

    def list_tags_for_delivery_stream(self, request: Document, caller: Caller) -> Document:
        """List the tags."""
        del caller
        with self._lock:
            tags = self._find(request["DeliveryStreamName"])["tags"]
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        return {"Tags": listed, "HasMoreTags": False}


def _arn(name: str, caller: Caller) -> str:
    return f"arn:aws:firehose:{caller.region}:{caller.account}:deliverystream/{name}"


def _tags(request: Document) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in request.get("Tags", ())}


class DeliveryStreamType:
    """AWS::KinesisFirehose::DeliveryStream: Ref is the name, `Arn` an attribute."""

    type_name = "AWS::KinesisFirehose::DeliveryStream"
    create_only = frozenset(
        {"DeliveryStreamName", "DeliveryStreamType", "KinesisStreamSourceConfiguration"}
    )

    def __init__(self, service: Firehose) -> None:
        self._service = service
        self._dispatcher = Dispatcher(service)

    def create(self, logical_id: str, properties: Document, caller: Caller) -> Resource:
        """Make the delivery stream."""
        request = _typed(properties)
        request.setdefault("DeliveryStreamName", f"{logical_id[:40]}-{uuid4().hex[:12]}")
        name = request["DeliveryStreamName"]
        answer = self._dispatcher.call("CreateDeliveryStream", request, caller)
        return Resource(name, {"Arn": answer["DeliveryStreamARN"]})

    def update(self, physical_id: str, old: Document, new: Document, caller: Caller) -> Resource:
        """Change the destination's settings."""
        name = {"DeliveryStreamName": physical_id}
        described = self._dispatcher.call("DescribeDeliveryStream", name, caller)
        current = described["DeliveryStreamDescription"]
        destination = _typed(new)["ExtendedS3DestinationConfiguration"]
        if destination != _typed(old)["ExtendedS3DestinationConfiguration"]:
            self._dispatcher.call(
                "UpdateDestination",
                {
                    **name,
                    "CurrentDeliveryStreamVersionId": current["VersionId"],
                    "DestinationId": "destinationId-000000000001",
                    "ExtendedS3DestinationUpdate": destination,
                },
                caller,
            )
        return Resource(physical_id, {"Arn": current["DeliveryStreamARN"]})

    def delete(self, physical_id: str, properties: Document, caller: Caller) -> None:
        """Remove it."""
        del properties
        try:
            name = {"DeliveryStreamName": physical_id}
            self._dispatcher.call("DeleteDeliveryStream", name, caller)
        except ServiceError as error:
            if error.code != "ResourceNotFoundException":
                raise


def _typed(value: Any) -> Any:
    """CloudFormation may hand over numbers and booleans as text."""
    if isinstance(value, dict):
        return {key: _scalar(key, _typed(item)) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return value


def _scalar(key: str, value: Any) -> Any:
    if key in ("SizeInMBs", "IntervalInSeconds", "DurationInSeconds"):
        return int(value)
    if key == "Enabled":
        return str(value).lower() == "true"
    return value
