"""COPY: from objects in S3 into a table, all rows or none.

The fast path is one INSERT that reads the files through DuckDB's CSV reader as text and turns
each value into its column's type by Redshift's rules, which are narrower than DuckDB's. Only if
that fails are the files read again, to say which value it was.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from local.services.warehouse import load_errors, row_ends
from local.services.warehouse.catalogue import SCHEMA
from local.services.warehouse.errors import CancelledError, WarehouseError
from local.services.warehouse.storage import Address, Bucket, parse_address
from local.services.warehouse.tables import Table, literal, quote
from local.services.warehouse.transfers import Copy
from local.services.warehouse.types import ColumnType

if TYPE_CHECKING:
    from local.services.warehouse.session import Session

_LONGEST_LINE = 4 << 20
"""Redshift's largest row is 4 MB."""
_NO_NULLS = "\x01no text is null\x01"
_SMALLEST = {"REAL": "1.17549435e-38", "DOUBLE": "2.2250738585072014e-308"}


@dataclass(frozen=True)
class Source:
    """An object that was fetched: where it came from and where it is."""

    address: Address
    path: Path


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


def reader(
    copy: Copy, count: int, paths: list[Path], *, rejects: bool = False, row_numbers: bool = False
) -> str:
    """DuckDB's table function that reads the files as `count` columns of text, c0, c1, …"""
    listed = ", ".join(literal(str(path)) for path in paths)
    if copy.format == "parquet":
        return f"read_parquet([{listed}])"
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(count))
    csv = copy.format == "csv"
    options = {
        "auto_detect": "false",
        "header": "false",
        "columns": f"{{{columns}}}",
        "delim": literal(copy.delimiter or ("," if csv else "|")),
        "quote": literal(copy.quote if csv else ""),
        "escape": literal(copy.quote if csv else ""),
        "skip": str(copy.skipped_lines),
        "nullstr": literal(_NO_NULLS),
        "null_padding": str(copy.fill_record).lower(),
        "compression": literal(copy.compression),
        "max_line_size": str(_LONGEST_LINE),
        "strict_mode": "true",
    }
    if copy.fill_record or rejects or row_numbers:
        options["parallel"] = "false"  # DuckDB pads no quoted newlines in parallel
    if rejects:
        options["store_rejects"] = "true"
    text = ", ".join(f"{key} = {value}" for key, value in options.items())
    table = f"read_csv([{listed}], {text})"
    if rejects or not csv:
        return table
    shown = f"replace(COLUMNS(*), {literal(row_ends.HIDDEN)}, chr(13))"
    return f"(SELECT {shown} FROM {table})"  # noqa: S608 (quoted)


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


def is_null(copy: Copy, value: str, kind: ColumnType) -> str:
    """The condition in DuckDB's SQL under which a field means NULL."""
    conditions = [f"{value} = {literal(copy.null_text)}"]
    if not kind.is_text or copy.empty_as_null:
        conditions.append(f"coalesce({value}, '') = ''")
    if copy.blanks_as_null and kind.is_text:
        conditions.append(f"({value} <> '' AND trim({value}) = '')")
    return f"({' OR '.join(conditions)})"


def is_valid(copy: Copy, value: str, kind: ColumnType) -> str:
    """The condition under which a field that is not NULL is a value of the column's type."""
    if kind.is_text:
        no_nul = f"NOT contains({value}, chr(0))"
        return no_nul if copy.truncate else f"(strlen({value}) <= {kind.length} AND {no_nul})"
    pattern = kind.pattern(lenient_time=copy.lenient_time)
    if pattern is None:
        return f"json_valid({value})"
    shaped = f"regexp_full_match({value}, {literal(pattern)})"
    cast = _cast(value, kind)
    if kind.physical in _SMALLEST:
        small = _SMALLEST[kind.physical]
        return (
            f"({shaped} AND isfinite({cast}) AND (abs({cast}) >= {small}"
            f" OR NOT regexp_matches({value}, '^[^eE]*[1-9]')))"
        )
    return f"({shaped} AND {cast} IS NOT NULL)"


def _cast(value: str, kind: ColumnType) -> str:
    if kind.physical == "BOOLEAN":
        return f"(lower({value}) IN ('t', 'true', 'y', 'yes', '1'))"
    return f"TRY_CAST({value} AS {kind.storage})"


def converted(copy: Copy, value: str, kind: ColumnType) -> str:
    """A field in its column's type; an error in DuckDB where it is not valid."""
    result = _cast(value, kind)
    if kind.is_text:
        result = f"coalesce({value}, '')"
        if copy.truncate:
            result = f"{SCHEMA}.cut_bytes({result}, {kind.length})"
    valid = is_valid(copy, f"coalesce({value}, '')", kind)
    return (
        f"CASE WHEN {is_null(copy, value, kind)} THEN NULL WHEN {valid} THEN {result}"
        f" ELSE error('invalid value') END"
    )
