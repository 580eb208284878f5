"""Why a COPY failed: finds the value, and keeps it for the system views.

Redshift keeps its load errors though the transaction is rolled back, so they are written through
a connection of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.services.warehouse.catalogue import SCHEMA
from local.services.warehouse.fields import Source, is_null, is_valid, reader
from local.services.warehouse.row_ends import HIDDEN
from local.services.warehouse.tables import Table
from local.services.warehouse.transfers import Copy
from local.services.warehouse.types import ColumnType

if TYPE_CHECKING:
    from local.services.warehouse.session import Session

_STRUCTURE = {
    "MISSING COLUMNS": (1202, "Delimiter not found"),
    "TOO MANY COLUMNS": (1202, "Extra column(s) found"),
    "UNQUOTED VALUE": (1214, "Delimited value missing end quote"),
    "LINE SIZE OVER MAXIMUM": (1204, "Input data exceeds the maximum row size"),
    "INVALID ENCODING": (1220, "String contains invalid or unsupported UTF8 codepoints"),
    "INVALID STATE": (1214, "Invalid quote formatting for CSV"),
}


@dataclass
class LoadError:
    """One row of the system views."""

    line: int
    code: int
    message: str
    column: str = ""
    kind: ColumnType | None = None
    value: str = ""
    raw: str = ""


def record(
    session: Session,
    copy: Copy,
    table: Table,
    columns: dict[str, ColumnType],
    sources: list[Source],
    cause: Exception,
) -> None:
    """Find the first bad value of the files and write it down."""
    connection = session.database.connect()
    try:
        for source in sources:
            error = _find(connection, copy, table, columns, source)
            if error is not None:
                break
        else:
            source = sources[0]
            error = LoadError(0, 1200, str(cause).split("\n", 1)[0][:200])
        kind = error.kind
        connection.execute(
            f"INSERT INTO {SCHEMA}.load_errors VALUES"  # noqa: S608 (a constant)
            " (?, ?, now(), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                session.query_id,
                session.user,
                table.name,
                str(source.address),
                error.line,
                error.column,
                kind.short if kind else "",
                str(kind.length or 0) if kind else "",
                0,
                error.raw[:1024],
                error.value[:1024],
                error.code,
                error.message,
            ],
        )
    finally:
        session.database.release(connection)


def _find(
    connection: Any,
    copy: Copy,
    table: Table,
    columns: dict[str, ColumnType],
    source: Source,
) -> LoadError | None:
    import duckdb

    if copy.format == "parquet":
        return None
    try:
        return _bad_structure(connection, copy, columns, source) or _bad_value(
            connection, copy, table, columns, source
        )
    except duckdb.Error as error:
        text = str(error)
        encoding = "unicode" in text.lower() or "utf-8" in text.lower()
        code, message = _STRUCTURE["INVALID ENCODING"] if encoding else (1200, text[:200])
        return LoadError(0, code, message)


def _bad_structure(
    connection: Any, copy: Copy, columns: dict[str, ColumnType], source: Source
) -> LoadError | None:
    table = reader(copy, len(columns), [source.path], rejects=True)
    connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 (quoted)
    row = connection.execute(
        "SELECT line, error_type, csv_line FROM reject_errors ORDER BY line LIMIT 1"
    ).fetchone()
    connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    if row is None:
        return None
    code, message = _STRUCTURE.get(str(row[1]), (1202, str(row[1]).capitalize()))
    return LoadError(int(row[0]), code, message, raw=str(row[2] or "").replace(HIDDEN, "\r"))


def _bad_value(
    connection: Any,
    copy: Copy,
    table: Table,
    columns: dict[str, ColumnType],
    source: Source,
) -> LoadError | None:
    rows = reader(copy, len(columns), [source.path], row_numbers=True)
    checks = []
    for index, (name, kind) in enumerate(columns.items()):
        value = f"c{index}"
        null = is_null(copy, value, kind)
        valid = is_valid(copy, f"coalesce({value}, '')", kind)
        empty = "FALSE" if table.details["columns"][name].get("not_null") else "TRUE"
        checks.append(f"(CASE WHEN {null} THEN {empty} ELSE {valid} END)")
    found = ", ".join(checks)
    row = connection.execute(
        f"SELECT * FROM (SELECT row_number() OVER () AS line, [{found}] AS fine, *"  # noqa: S608 (quoted)
        f" FROM {rows}) WHERE NOT list_bool_and(fine) ORDER BY line LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    line, fine, values = int(row[0]) + copy.skipped_lines, row[1], row[2:]
    index = fine.index(False)
    name, kind = list(columns.items())[index]
    value = values[index]
    raw = (copy.delimiter or ",").join("" if v is None else str(v) for v in values)
    code, message = _explain("" if value == copy.null_text else value, kind)
    return LoadError(line, code, message, name, kind, value or "", raw)


def _explain(value: str | None, kind: ColumnType) -> tuple[int, str]:
    if not value:
        return 1213, "Missing data for not-null field"
    if kind.is_text:
        if "\0" in value:
            return 1216, "Missing newline: Unexpected character 0x00 found"
        return 1204, "String length exceeds DDL length"
    return kind.load_error(value)
