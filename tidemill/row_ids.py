"""Ids that make a second delivery of a row harmless.

An id is a 96-bit BLAKE2b in base64url, 16 characters: longer would double a short row. A file's
row is known by its source (bucket, key, object version) and the byte offset where it begins, a
device's row by stream, shard, sequence number and its place in the record, or by the producer's
own event id. Parts are hashed with their lengths, so that no two lists of parts agree by chance.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b

ID_BYTES = 12
ID_CHARACTERS = 16


def source_id(bucket: str, key: str, version_id: str) -> str:
    """Return the id of one version of an uploaded object."""
    return urlsafe_b64encode(_digest("source", bucket, key, version_id)).decode("ascii")


def file_origin(model: str, bucket: str, key: str, version_id: str) -> bytes:
    """Return what the ids of a file's rows begin with."""
    return _digest("file", model, bucket, key, version_id)


def device_origin(model: str, stream: str, shard: str, sequence: str) -> bytes:
    """Return what the ids of a device record's rows begin with."""
    return _digest("device", model, stream, shard, sequence)


def row_ids(origin: bytes, offsets: Sequence[int]) -> tuple[bytes, ...]:
    """Return the ids of the rows that begin at these bytes of their origin, in order."""
    # One state for the origin, copied for each row, is the fastest that hashlib offers.
    copy = blake2b(origin, digest_size=ID_BYTES).copy
    digests: list[bytes] = []
    append = digests.append
    for offset in struct.unpack("8s" * len(offsets), struct.pack(f">{len(offsets)}Q", *offsets)):
        state = copy()
        state.update(offset)
        append(state.digest())
    return _encode(digests)


def event_row_id(model: str, event_id: str) -> bytes:
    """Return the id of a row that its producer named itself."""
    return _encode([_digest("event", model, event_id)])[0]


def _digest(*parts: str) -> bytes:
    state = blake2b(digest_size=ID_BYTES)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(4, "big") + data)
    return state.digest()


def _encode(digests: Sequence[bytes]) -> tuple[bytes, ...]:
    # Twelve bytes are sixteen characters exactly, so that all can be encoded in one call.
    text = urlsafe_b64encode(b"".join(digests))
    return struct.unpack(f"{ID_CHARACTERS}s" * (len(text) // ID_CHARACTERS), text)
