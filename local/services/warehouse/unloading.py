"""UNLOAD: a query's result as files in S3."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.storage import Address, Bucket, parse_address
from local.services.warehouse.tables import literal
from local.services.warehouse.transfers import Unload

if TYPE_CHECKING:
    from local.services.warehouse.session import Session

_COMPRESSION = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def run(session: Session, unload: Unload) -> int:
    """Write the result; answers the number of rows. Raises `WarehouseError`."""
    translation = session.translate(unload.query, {})
    if translation.kind != "select":
        raise WarehouseError("the query of UNLOAD must be a SELECT")
    target = parse_address(unload.target)
    bucket = Bucket(session.storage(unload.role))
    _clear(bucket, unload, target)
    folder = session.database.scratch / str(uuid4())
    folder.mkdir(parents=True)
    try:
        path = folder / "result"
        row = session.duck(
            f"COPY ({translation.sql}) TO {literal(str(path))} ({_options(unload)})"
        ).fetchone()
        count = int(row[0])
        address = Address(target.bucket, target.key + _file_name(unload))
        bucket.upload(path, address)
        if unload.manifest:
            manifest = _manifest(unload, address, path, count)
            bucket.write(manifest, Address(target.bucket, f"{target.key}manifest"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return count


def _clear(bucket: Bucket, unload: Unload, target: Address) -> None:
    if unload.allow_overwrite:
        return
    found = bucket.find(target)
    if found and not unload.clean_path:
        raise WarehouseError(
            "Specified unload destination on S3 is not empty. Consider using a different bucket /"
            " prefix, manually removing the target files in S3, or using the ALLOWOVERWRITE option."
        )
    if found:
        bucket.remove(found)


def _options(unload: Unload) -> str:
    if unload.format == "parquet":
        return "FORMAT PARQUET, COMPRESSION SNAPPY"
    csv = unload.format == "csv"
    options = [
        "FORMAT CSV",
        f"HEADER {str(unload.header).lower()}",
        f"DELIMITER {literal(unload.delimiter or (',' if csv else '|'))}",
        f"COMPRESSION {unload.compression.upper()}",
        f"NULLSTR {literal(unload.null_text or '')}",
    ]
    if unload.add_quotes:
        options.append("FORCE_QUOTE *")
    elif not csv:
        options += ["QUOTE ''", "ESCAPE ''"]
    return ", ".join(options)


def _file_name(unload: Unload) -> str:
    """As Redshift names the first file: by slice and part in parallel, else by number."""
    name = "0000_part_00" if unload.parallel else "000"
    if unload.extension is not None:
        return f"{name}.{unload.extension}"
    if unload.format == "parquet":
        return f"{name}.parquet"
    return name + _COMPRESSION[unload.compression]


def _manifest(unload: Unload, address: Address, path: Path, count: int) -> bytes:
    entry: dict[str, object] = {"url": str(address)}
    if unload.format == "parquet" or unload.manifest_verbose:
        entry["meta"] = {"content_length": path.stat().st_size, "record_count": count}
    return json.dumps({"entries": [entry]}).encode()
