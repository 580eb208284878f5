"""COPY: from objects in S3 into a table, all rows or none.

The fast path is one INSERT that reads the files through DuckDB's CSV reader as text and turns
each value into its column's type by Redshift's rules, which are narrower than DuckDB's. Only if
that fails are the files read again, to say which value it was.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from local.services.warehouse import load_errors, row_ends
from local.services.warehouse.errors import CancelledError, WarehouseError
from local.services.warehouse.fields import Source, converted, reader
from local.services.warehouse.storage import Address, Bucket, parse_address
from local.services.warehouse.tables import Table, quote
from local.services.warehouse.transfers import Copy
from local.services.warehouse.types import ColumnType

if TYPE_CHECKING:
    from local.services.warehouse.session import Session


def run(session: Session, copy: Copy, table: Table) -> int:
    """Load the files; answers the number of rows. Raises `WarehouseError`."""
    columns = _columns(copy, table)
    bucket = Bucket(session.storage(copy.role))
    folder = session.database.scratch / str(uuid4())
    folder.mkdir(parents=True)
    try:
        sources = _fetch(session, copy, bucket, folder)
        count = _load(session, copy, table, columns, sources)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    session.duck(f"SET VARIABLE last_copy_count = {count}")
    return count


def _columns(copy: Copy, table: Table) -> dict[str, ColumnType]:
    known = table.columns
    for name in copy.columns:
        if name not in known:
            raise WarehouseError(f'column "{name}" of relation "{table.name}" does not exist')
    if len(set(copy.columns)) != len(copy.columns):
        raise WarehouseError("a column is named more than once in the column list")
    return {name: known[name] for name in copy.columns} if copy.columns else known


def _fetch(session: Session, copy: Copy, bucket: Bucket, folder: Path) -> list[Source]:
    place = parse_address(copy.source)
    addresses = _manifest(bucket, place) if copy.manifest else bucket.find(place)
    if not addresses:
        raise WarehouseError(f"The specified S3 prefix '{place.key}' does not exist")
    suffix = {"gzip": ".gz", "zstd": ".zst", "none": ""}[copy.compression]
    sources = [
        Source(address, folder / f"{index:06}{suffix}") for index, address in enumerate(addresses)
    ]

    def download(source: Source) -> None:
        if session.cancelled.is_set():
            raise CancelledError
        bucket.download(source.address, source.path)
        if copy.format == "csv":
            row_ends.unify(source.path, copy.compression, copy.quote)

    if len(sources) == 1:
        download(sources[0])
    else:
        with ThreadPoolExecutor(min(4, len(sources)), "copy") as pool:
            list(pool.map(download, sources))
    return sources


def _manifest(bucket: Bucket, place: Address) -> list[Address]:
    try:
        entries = json.loads(bucket.read(place))["entries"]
        listed = [(parse_address(entry["url"]), entry.get("mandatory", False)) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WarehouseError(
            f"The S3 manifest file '{place}' has an invalid format: it must be a JSON object"
            ' with "entries", each with a "url"'
        ) from None
    found = []
    for address, mandatory in listed:
        if mandatory or address in bucket.find(address):
            found.append(address)
    return found


def _load(
    session: Session,
    copy: Copy,
    table: Table,
    columns: dict[str, ColumnType],
    sources: list[Source],
) -> int:
    import duckdb

    names = ", ".join(quote(name) for name in columns)
    paths = [source.path for source in sources]
    if copy.format == "parquet":
        values = ", ".join(quote(name) for name in columns)
    else:
        values = ", ".join(
            f"{converted(copy, f'c{index}', kind)} AS {quote(name)}"
            for index, (name, kind) in enumerate(columns.items())
        )
    source = reader(copy, len(columns), paths)
    sql = f"INSERT INTO {table.sql} ({names}) SELECT {values} FROM {source}"  # noqa: S608 (quoted)
    try:
        row = session.connection.execute(sql).fetchone()
        return int(row[0])
    except duckdb.Error as error:
        if isinstance(error, duckdb.InterruptException) or session.cancelled.is_set():
            raise CancelledError from None
        if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
            raise WarehouseError(str(error)) from None
        load_errors.record(session, copy, table, columns, sources, error)
    raise WarehouseError(
        f"Load into table '{table.name}' failed.  Check 'sys_load_error_detail' system table for"
        " details."
    )
