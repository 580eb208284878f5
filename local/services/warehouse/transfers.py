"""The grammar of COPY and UNLOAD with their options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.lexer import Cursor
from local.services.warehouse.names import TableName, table_name


@dataclass
class Copy:
    """COPY table FROM S3."""

    table: TableName
    columns: list[str]
    source: str
    role: str | None = None
    format: Literal["text", "csv", "parquet"] = "text"
    manifest: bool = False
    compression: Literal["none", "gzip", "zstd"] = "none"
    delimiter: str | None = None
    quote: str = '"'
    skipped_lines: int = 0
    fill_record: bool = False
    null_text: str = "\\N"
    empty_as_null: bool = False
    blanks_as_null: bool = False
    truncate: bool = False
    lenient_time: bool = False
    max_errors: int = 0


@dataclass
class Unload:
    """UNLOAD (query) TO S3."""

    query: str
    target: str
    role: str | None = None
    format: Literal["text", "csv", "parquet"] = "text"
    header: bool = False
    manifest: bool = False
    manifest_verbose: bool = False
    compression: Literal["none", "gzip", "zstd"] = "none"
    delimiter: str | None = None
    add_quotes: bool = False
    null_text: str | None = None
    clean_path: bool = False
    allow_overwrite: bool = False
    parallel: bool = True
    extension: str | None = None


def parse_copy(cursor: Cursor) -> Copy:
    """Parse what follows COPY. Raises `WarehouseError` with Redshift's text."""
    table = table_name(cursor)
    columns: list[str] = []
    if cursor.skip("("):
        columns = cursor.names()
        cursor.expect(")")
    cursor.expect("FROM")
    copy = Copy(table, columns, cursor.string())
    while not (cursor.at(";") or cursor.next.kind == "end"):
        _copy_option(cursor, copy)
    cursor.end()
    if copy.format == "parquet" and (copy.delimiter or copy.skipped_lines):
        raise WarehouseError("COPY options are not compatible with the format PARQUET")
    return copy


def _copy_option(cursor: Cursor, copy: Copy) -> None:  # noqa: C901 (one branch an option)
    if cursor.at("IAM_ROLE") or cursor.at("CREDENTIALS"):
        copy.role = _role(cursor)
    elif cursor.skip("FORMAT"):
        cursor.skip("AS")
        _copy_format(cursor, copy)
    elif cursor.at("CSV") or cursor.at("PARQUET"):
        _copy_format(cursor, copy)
    elif cursor.skip("MANIFEST"):
        copy.manifest = True
    elif cursor.skip("GZIP"):
        copy.compression = "gzip"
    elif cursor.skip("ZSTD"):
        copy.compression = "zstd"
    elif cursor.skip("DELIMITER"):
        copy.delimiter = _character(cursor)
    elif cursor.skip("IGNOREHEADER"):
        cursor.skip("AS")
        copy.skipped_lines = cursor.integer()
    elif cursor.skip("FILLRECORD"):
        copy.fill_record = True
    elif cursor.skip("NULL"):
        cursor.skip("AS")
        copy.null_text = cursor.string()
    elif cursor.skip("EMPTYASNULL"):
        copy.empty_as_null = True
    elif cursor.skip("BLANKSASNULL"):
        copy.blanks_as_null = True
    elif cursor.skip("TRUNCATECOLUMNS"):
        copy.truncate = True
    elif cursor.skip("MAXERROR"):
        cursor.skip("AS")
        copy.max_errors = cursor.integer()
    elif cursor.skip("TIMEFORMAT") or cursor.skip("DATEFORMAT"):
        _time_format(cursor, copy)
    elif cursor.skip("REGION"):
        cursor.skip("AS")
        cursor.string()
    elif cursor.skip("COMPUPDATE") or cursor.skip("STATUPDATE"):
        _ = cursor.skip("ON") or cursor.skip("OFF") or cursor.skip("PRESET")
    else:
        raise _unknown_option(cursor, "COPY")
    if copy.max_errors:
        raise WarehouseError("MAXERROR above 0 is not carried by the local warehouse")


def _copy_format(cursor: Cursor, copy: Copy) -> None:
    if cursor.skip("CSV"):
        copy.format = "csv"
        if cursor.skip("QUOTE"):
            copy.quote = _character(cursor)
    elif cursor.skip("PARQUET"):
        copy.format = "parquet"
    else:
        raise _unknown_option(cursor, "COPY")


def _time_format(cursor: Cursor, copy: Copy) -> None:
    cursor.skip("AS")
    text = cursor.string()
    if text.lower() == "auto":
        copy.lenient_time = True
    elif text.upper() not in ("YYYY-MM-DD", "YYYY-MM-DD HH:MI:SS", "YYYY-MM-DD HH24:MI:SS"):
        raise WarehouseError(f"the format '{text}' is not carried by the local warehouse")


def parse_unload(cursor: Cursor) -> Unload:
    """Parse what follows UNLOAD. Raises `WarehouseError` with Redshift's text."""
    cursor.expect("(")
    query = cursor.string()
    cursor.expect(")", "TO")
    unload = Unload(query, cursor.string())
    while not (cursor.at(";") or cursor.next.kind == "end"):
        _unload_option(cursor, unload)
    cursor.end()
    if unload.format == "parquet" and (
        unload.header or unload.delimiter or unload.add_quotes or unload.compression != "none"
    ):
        raise WarehouseError("UNLOAD options are not compatible with the format PARQUET")
    if unload.clean_path and unload.allow_overwrite:
        raise WarehouseError("CLEANPATH and ALLOWOVERWRITE cannot be specified together")
    return unload


def _unload_option(cursor: Cursor, unload: Unload) -> None:  # noqa: C901 (one branch an option)
    if cursor.at("IAM_ROLE") or cursor.at("CREDENTIALS"):
        unload.role = _role(cursor)
    elif cursor.skip("FORMAT") or cursor.at("CSV") or cursor.at("PARQUET"):
        cursor.skip("AS")
        if cursor.skip("CSV"):
            unload.format = "csv"
        elif cursor.skip("PARQUET"):
            unload.format = "parquet"
        else:
            raise _unknown_option(cursor, "UNLOAD")
    elif cursor.skip("HEADER"):
        unload.header = True
    elif cursor.skip("MANIFEST"):
        unload.manifest = True
        unload.manifest_verbose = cursor.skip("VERBOSE")
    elif cursor.skip("GZIP"):
        unload.compression = "gzip"
    elif cursor.skip("ZSTD"):
        unload.compression = "zstd"
    elif cursor.skip("DELIMITER"):
        unload.delimiter = _character(cursor)
    elif cursor.skip("ADDQUOTES"):
        unload.add_quotes = True
    elif cursor.skip("NULL"):
        cursor.skip("AS")
        unload.null_text = cursor.string()
    elif cursor.skip("CLEANPATH"):
        unload.clean_path = True
    elif cursor.skip("ALLOWOVERWRITE"):
        unload.allow_overwrite = True
    elif cursor.skip("PARALLEL"):
        unload.parallel = not (cursor.skip("OFF") or cursor.skip("FALSE"))
        _ = cursor.skip("ON") or cursor.skip("TRUE")
    elif cursor.skip("EXTENSION"):
        unload.extension = cursor.string()
    elif cursor.skip("REGION"):
        cursor.skip("AS")
        cursor.string()
    elif cursor.skip("MAXFILESIZE"):
        _maximum_size(cursor)
    else:
        raise _unknown_option(cursor, "UNLOAD")


def _maximum_size(cursor: Cursor) -> None:
    """One file an UNLOAD is always written here; sizes only cut larger ones."""
    cursor.skip("AS")
    cursor.integer()
    _ = cursor.skip("MB") or cursor.skip("GB")


def _role(cursor: Cursor) -> str | None:
    """The role's ARN, or None for the namespace's default role."""
    if cursor.skip("IAM_ROLE"):
        return None if cursor.skip("DEFAULT") else cursor.string()
    cursor.expect("CREDENTIALS")
    cursor.skip("AS")
    text = cursor.string()
    if not text.startswith("aws_iam_role="):
        raise WarehouseError("only credentials of the form aws_iam_role=… are carried")
    return text.removeprefix("aws_iam_role=")


def _character(cursor: Cursor) -> str:
    cursor.skip("AS")
    text = cursor.string()
    text = "\t" if text == "\\t" else text
    if len(text) != 1:
        raise WarehouseError("COPY delimiter or quote must be a single character")
    return text


def _unknown_option(cursor: Cursor, statement: str) -> WarehouseError:
    token = cursor.next
    if token.kind != "word":
        return cursor.error()
    return WarehouseError(
        f'syntax error at or near "{token.text}" ({statement} has no such option, '
        "or the local warehouse does not carry it)"
    )
