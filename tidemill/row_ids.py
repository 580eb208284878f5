"""Ids that make a second delivery of a row harmless.

An id is a 96-bit BLAKE2b in base64url, 16 characters: longer would double a short row. A file's
row is known by its source (bucket, key, object version) and the byte offset where it begins, a
device's row by stream, shard, sequence number and its place in the record, or by the producer's
own event id. Parts are hashed with their lengths, so that no two lists of parts agree by chance.
"""

from __future__ import annotations

import struct
import sys
from array import array
from binascii import b2a_base64
from collections.abc import Sequence
from hashlib import blake2b

ID_BYTES = 12
ID_CHARACTERS = 16

_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def source_id(bucket: str, key: str, version_id: str) -> str:
    """Return the id of one version of an uploaded object."""
    return _encode([_digest("source", bucket, key, version_id)])[0].decode("ascii")


def file_origin(model: str, bucket: str, key: str, version_id: str) -> bytes:
    """Return what the ids of a file's rows begin with."""
    return _digest("file", model, bucket, key, version_id)


def device_origin(model: str, stream: str, shard: str, sequence: str) -> bytes:
    """Return what the ids of a device record's rows begin with."""
    return _digest("device", model, stream, shard, sequence)


def row_ids(origin: bytes, offsets: array[int]) -> list[bytes]:
    """Return the ids of the rows that begin at these bytes (of "Q") of their origin, in order."""
    if sys.byteorder == "big":
        offsets = array("Q", offsets)
        offsets.byteswap()
    # One state for the origin, copied for each row, is the fastest that hashlib offers: what is
    # left is the hash function itself.
    copy = blake2b(origin, digest_size=ID_BYTES).copy
    digests: list[bytes] = []
    append = digests.append
    for offset in _cut(offsets.tobytes(), 8):
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


def _encode(digests: Sequence[bytes]) -> list[bytes]:
    # Twelve bytes are sixteen characters exactly, so that all can be encoded in one call.
    text = b2a_base64(b"".join(digests), newline=False).translate(_URL_SAFE)
    return _cut(text, ID_CHARACTERS)


def _cut(data: bytes, size: int) -> list[bytes]:
    """Cut data into parts of one size."""
    # By powers of two, for `struct` keeps only so many formats and making one costs as much as
    # hashing its rows.
    parts: list[bytes] = []
    count = len(data) // size
    for bit in range(count.bit_length()):
        if count >> bit & 1:
            parts += struct.unpack_from(f"{size}s" * (1 << bit), data, size * len(parts))
    return parts
