"""What a snapshot is: its content hash, and which of its rows are held out."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from containers.dataset import ROW_ID
from containers.job import JobError

HELD_OUT_PER_CENT: Final = 20
_ROW_ID: Final = r"^[A-Za-z0-9_-]{16}$"
_ROW_ID_BYTES: Final = 12


def held_out(row_ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Say of each row whether it is held out: its id, as a 96-bit number, modulo 100 below 20.

    Depends on the id alone, so that a row held out once is held out from every version. Raises
    JobError where an id is null or is not 16 characters of base64url.
    """
    right = pc.fill_null(pc.match_substring_regex(row_ids, _ROW_ID), False)
    wrong = pc.index(right, False).as_py()
    if wrong >= 0:
        raise JobError(
            f"row {wrong + 1} has the row_id {row_ids[wrong].as_py()!r}, "
            "which is not 16 characters of base64url"
        )
    data = base64.urlsafe_b64decode("".join(row_ids.to_pylist()))
    # 16 characters of base64 are 12 bytes exactly, so the ids decode as one string.
    limbs = np.frombuffer(data, dtype=">u4").reshape(-1, _ROW_ID_BYTES // 4).astype(np.uint64)
    weights = np.array([2**64 % 100, 2**32 % 100, 1], dtype=np.uint64)
    # A row of limbs times weights stays below 2**39.
    held: npt.NDArray[np.bool_] = limbs @ weights % np.uint64(100) < HELD_OUT_PER_CENT
    return held


def in_canonical_order(table: pa.Table) -> pa.Table:
    """Return the rows ordered by row_id, so that no result depends on how they were unloaded."""
    return table.sort_by(ROW_ID).combine_chunks()


def dataset_hash(table: pa.Table) -> str:
    """Return the BLAKE2b hash (64 hexadecimal digits) of a table in canonical order.

    It covers names, types, nulls and values, and no detail of the files or of Arrow's layout.
    """
    digest = hashlib.blake2b(digest_size=32)
    for name in table.column_names:
        array = table.column(name).combine_chunks()
        digest.update(f"{name}:{array.type}:{len(array)}\n".encode())
        digest.update(np.asarray(array.is_valid()).astype(np.uint8).tobytes())
        if pa.types.is_string(array.type):
            values = pc.fill_null(array, "")
            digest.update(np.asarray(pc.binary_length(values), dtype="<i4").tobytes())
            digest.update("".join(values.to_pylist()).encode())
        else:
            digest.update(_little_endian(array))
    return digest.hexdigest()


def _little_endian(array: pa.Array) -> bytes:
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        array = array.cast(pa.int64())
    values = np.asarray(pc.fill_null(array, 0))
    if values.dtype.kind == "f":
        # Zeros of either sign and NaNs of any payload are equal as data.
        values = np.where(np.isnan(values), np.nan, values + 0.0).astype(values.dtype)
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
