"""How COPY reads a file: its lines as columns of text, and each field as a value or as NULL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local.services.warehouse import row_ends
from local.services.warehouse.catalogue import SCHEMA
from local.services.warehouse.storage import Address
from local.services.warehouse.tables import literal
from local.services.warehouse.transfers import Copy
from local.services.warehouse.types import ColumnType

_LONGEST_LINE = 4 << 20
"""Redshift's largest row is 4 MB."""
_NO_NULLS = "\x01no text is null\x01"
_SMALLEST = {"REAL": "1.17549435e-38", "DOUBLE": "2.2250738585072014e-308"}


@dataclass(frozen=True)
class Source:
    """An object that was fetched: where it came from and where it is."""

    address: Address
    path: Path


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
