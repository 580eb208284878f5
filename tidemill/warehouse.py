"""The warehouse's SQL: statements from `sql/`, with names and literals quoted in one place.

A file of `sql/` holds one statement. Its parameters are `{named}` and take `Sql` only, which
`identifier`, `literal` and the functions here make; a bare string is refused by the type checker
and by `render`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from tidemill.errors import TidemillError
from tidemill.model import Column, Model

SCHEMA = "models"
"""The schema of the models' tables; the load ledger and the migrations are in `tidemill`."""
LOADER_ROLE = "tidemill_loader"
EXTRACTOR_ROLE = "tidemill_extractor"
SQL_DIRECTORY = Path(__file__).resolve().parent.parent / "sql"
MAX_IDENTIFIER_BYTES = 127
MAX_STATEMENT_BYTES = 100_000
"""The Data API's limit of one statement's text."""

_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)


class Sql(str):
    """A piece of SQL that is safe to put into a statement."""

    __slots__ = ()


def identifier(name: str) -> Sql:
    """Quote a name. Redshift folds the case of quoted names, too.

    Raises TidemillError for a name that is empty, longer than 127 bytes, or not printable.
    """
    if not name or not name.isprintable() or len(name.encode()) > MAX_IDENTIFIER_BYTES:
        raise TidemillError(f"{name!r:.200} cannot be a name in the warehouse")
    return Sql('"' + name.replace('"', '""') + '"')


def literal(value: str) -> Sql:
    """Quote a text. Redshift reads backslashes as escapes, so they are doubled.

    Raises TidemillError for a text with a NUL, which no statement can hold.
    """
    if "\0" in value:
        raise TidemillError("a text with a NUL cannot be put into a statement")
    return Sql("'" + value.replace("\\", "\\\\").replace("'", "''") + "'")


def qualified(schema: str, name: str) -> Sql:
    """Quote a table's name with its schema."""
    return Sql(f"{identifier(schema)}.{identifier(name)}")


def join(parts: Iterable[Sql], separator: str = ", ") -> Sql:
    """Join pieces of SQL by a separator that is SQL itself."""
    return Sql(separator.join(parts))


@cache
def _read(path: Path) -> str:
    return _COMMENT.sub("", path.read_text(encoding="utf-8")).strip()


def statement_text(name: str) -> str:
    """Return the text of `sql/<name>.sql` without its comments.

    Raises TidemillError where there is no such file.
    """
    path = SQL_DIRECTORY / f"{name}.sql"
    try:
        return _read(path)
    except FileNotFoundError as error:
        raise TidemillError(f"there is no statement {path}") from error


def render(name: str, /, **parameters: Sql) -> str:
    """Return the statement `sql/<name>.sql` with its parameters put in.

    Raises TidemillError for a parameter that is missing, unknown or no `Sql`, and for a
    statement that the Data API would find too long.
    """
    text = statement_text(name)
    wanted = set(_PARAMETER.findall(text))
    if wanted != parameters.keys():
        differing = ", ".join(sorted(wanted ^ parameters.keys()))
        raise TidemillError(f"sql/{name}.sql and its parameters differ in: {differing}")
    for parameter, value in parameters.items():
        if not isinstance(value, Sql):
            raise TidemillError(f"{parameter} of sql/{name}.sql is not quoted")
    statement = _PARAMETER.sub(lambda match: parameters[match[1]], text)
    if len(statement.encode()) > MAX_STATEMENT_BYTES:
        raise TidemillError(f"sql/{name}.sql becomes longer than {MAX_STATEMENT_BYTES} bytes")
    return statement


def table(model: Model) -> Sql:
    """Return the name of a model's table."""
    return qualified(SCHEMA, model.name)


def definition(column: Column) -> Sql:
    """Return a column as CREATE TABLE and ADD COLUMN take it. Every column of a model may be
    NULL: whether a row may lack a value is the trainer's question."""
    return Sql(f"{identifier(column.name)} {column.type}")


def column_names(columns: Iterable[Column]) -> Sql:
    """Return the columns' names as a list."""
    return join(identifier(column.name) for column in columns)


def unload_sql(model: Model, target: str, role_arn: str) -> str:
    """Return the UNLOAD that writes a model's snapshot.

    `target` is an S3 prefix (`s3://bucket/…/`), emptied first; the warehouse writes as
    `role_arn`. The files are Parquet: row_id, then the model's columns in order.
    """
    query = render(
        "unload/snapshot",
        columns=column_names(model.columns),
        table=table(model),
        target=identifier(model.target),
    )
    return render(
        "unload/unload", query=literal(query), target=literal(target), role=literal(role_arn)
    )


def load_statements(
    model: Model, files: Sequence[str], *, manifest: str, load_id: str, role_arn: str
) -> list[str]:
    """Return the statements of one load, to be run as one transaction.

    `files` are the S3 URIs that the manifest at the S3 URI `manifest` lists; the warehouse reads
    them as `role_arn`; `load_id` names the load in the ledger. The fourth statement's affected
    rows are the rows that were new.
    """
    columns = column_names(model.columns)
    listed = join((Sql(f"SELECT {literal(file)} AS file") for file in files), " UNION ALL ")
    return [
        render("load/lock"),
        render(
            "load/create_staging", definitions=join(definition(column) for column in model.columns)
        ),
        render(
            "load/copy_files", columns=columns, manifest=literal(manifest), role=literal(role_arn)
        ),
        render("load/insert_rows", table=table(model), columns=columns),
        render(
            "load/record_files", model=literal(model.name), load_id=literal(load_id), files=listed
        ),
        render("load/drop_staging"),
    ]


INSERT_ROWS = 3
"""The place in `load_statements` of the statement that inserts the new rows."""
