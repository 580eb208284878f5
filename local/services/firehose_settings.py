"""What a delivery stream is told: its settings, read off CreateDeliveryStream's request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from local.services.base import Document, ServiceError

PRINCIPAL = "firehose.amazonaws.com"
"""Whom the roles of a delivery stream trust."""

_EXPRESSION = re.compile(r"!\{([^}]*)\}")
# Java's date patterns, as far as Firehose's prefixes are known to use them.
_JAVA = {"yyyy": "%Y", "YYYY": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


def render_prefix(prefix: str, when: float, keys: dict[str, str], error_type: str = "") -> str:
    """Evaluate a prefix's `!{…}` expressions at a time; without any the hour is appended."""

    def value(match: re.Match[str]) -> str:
        namespace, _, name = match[1].partition(":")
        if namespace == "partitionKeyFromLambda":
            return keys[name]
        if namespace == "timestamp":
            pattern = re.sub("yyyy|YYYY|MM|dd|HH|mm|ss", lambda m: _JAVA[m[0]], name)
            return datetime.fromtimestamp(when, UTC).strftime(pattern)
        return error_type

    if "!{" not in prefix:
        prefix += "!{timestamp:yyyy/MM/dd/HH/}"
    return _EXPRESSION.sub(value, prefix)


def prefix_keys(prefix: str) -> list[str]:
    """The names of the partition keys that a prefix asks for."""
    pieces = (expression.partition(":") for expression in _EXPRESSION.findall(prefix))
    return [name for namespace, _, name in pieces if namespace == "partitionKeyFromLambda"]


@dataclass(frozen=True)
class Transform:
    """The Lambda function that records go through. Sizes are bytes, times seconds."""

    function: str
    role: str
    retries: int = 3
    buffer_bytes: int = 1 << 20


@dataclass(frozen=True)
class Destination:
    """Where a stream delivers to. Sizes are bytes, times seconds."""

    role: str
    bucket: str
    prefix: str
    error_prefix: str
    gzip: bool
    buffer_bytes: int
    buffer_seconds: int
    partitioned: bool
    transform: Transform | None
    log_group: str = ""
    log_stream: str = ""
    keys: list[str] = field(default_factory=list)

    @property
    def roles(self) -> set[str]:
        """The roles that are handed to Firehose with these settings."""
        return {self.role, *([self.transform.role] if self.transform else [])}


def read_destination(configuration: Document) -> Destination:
    """Read ExtendedS3DestinationConfiguration. Raises `ServiceError` for what AWS refuses."""
    for member in ("DataFormatConversionConfiguration", "S3BackupConfiguration"):
        enabled = configuration.get(member, {}).get("Enabled", member.startswith("S3"))
        if configuration.get(member) and enabled:
            raise _refusal(f"{member} is not carried by the local cloud.")
    compression = configuration.get("CompressionFormat", "UNCOMPRESSED")
    if compression not in ("GZIP", "UNCOMPRESSED"):
        raise _refusal(f"The local cloud does not compress to {compression}: use GZIP.")
    hints = configuration.get("BufferingHints", {})
    megabytes, seconds = hints.get("SizeInMBs", 5), hints.get("IntervalInSeconds", 300)
    partitioned = configuration.get("DynamicPartitioningConfiguration", {}).get("Enabled", False)
    prefix, error_prefix = (
        configuration.get("Prefix", ""),
        configuration.get("ErrorOutputPrefix", ""),
    )
    keys = prefix_keys(prefix)
    if partitioned and (megabytes < 64 or seconds < 60):
        raise _refusal(
            "BufferingHints.SizeInMBs must be at least 64 and IntervalInSeconds at least 60 when "
            "Dynamic Partitioning is enabled."
        )
    if partitioned != bool(keys):
        raise _refusal(
            "Prefix must have partitionKey expressions when Dynamic Partitioning is enabled, and "
            "none when it is not."
        )
    if "!{" in prefix and not error_prefix:
        raise _refusal("ErrorOutputPrefix cannot be null or empty when Prefix has expressions.")
    if error_prefix and "!{" in error_prefix and "error-output-type" not in error_prefix:
        raise _refusal("ErrorOutputPrefix must have !{firehose:error-output-type}.")
    transform = _read_transform(configuration)
    if partitioned and transform is None:
        raise _refusal("partitionKeyFromLambda expressions need a Lambda processor.")
    logging = configuration.get("CloudWatchLoggingOptions", {})
    enabled = logging.get("Enabled", False)
    return Destination(
        role=configuration["RoleARN"],
        bucket=configuration["BucketARN"].rpartition(":")[2],
        prefix=prefix,
        error_prefix=error_prefix,
        gzip=compression == "GZIP",
        buffer_bytes=megabytes << 20,
        buffer_seconds=seconds,
        partitioned=partitioned,
        transform=transform,
        log_group=logging.get("LogGroupName", "") if enabled else "",
        log_stream=logging.get("LogStreamName", "") if enabled else "",
        keys=keys,
    )


def _read_transform(configuration: Document) -> Transform | None:
    processing = configuration.get("ProcessingConfiguration", {})
    if not processing.get("Enabled", False):
        return None
    found = None
    for processor in processing.get("Processors", ()):
        if processor["Type"] != "Lambda":
            raise _refusal(f"The local cloud has no processor {processor['Type']}.")
        parameters: dict[str, str] = {
            item["ParameterName"]: item["ParameterValue"] for item in processor["Parameters"]
        }
        try:
            found = Transform(
                parameters["LambdaArn"],
                parameters.get("RoleArn") or str(configuration["RoleARN"]),
                int(parameters.get("NumberOfRetries", "3")),
                int(float(parameters.get("BufferSizeInMBs", "1")) * (1 << 20)),
            )
        except (KeyError, ValueError) as error:
            raise _refusal(f"The Lambda processor's parameters are not valid: {error}") from None
        if found.buffer_bytes > 3 << 20:
            raise _refusal("BufferSizeInMBs of a Lambda processor must be at most 3.")
    return found


def _refusal(text: str) -> ServiceError:
    return ServiceError("InvalidArgumentException", text)
