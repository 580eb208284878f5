"""Bringing the warehouse to what the model files and `sql/migrations/` ask for.

Changes are additive: a table is made, a column is added at the end, a VARCHAR grows. The files of
the lake are positional, so any other change would load old files wrongly; it is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tidemill.errors import MigrationError
from tidemill.model import Column, ColumnType, Model
from tidemill.warehouse import (
    EXTRACTOR_ROLE,
    LOADER_ROLE,
    SQL_DIRECTORY,
    Sql,
    definition,
    identifier,
    join,
    literal,
    render,
    statement_text,
    table,
)

_KINDS: Final[Mapping[str, str]] = {
    "character varying": "VARCHAR",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "REAL",
    "double precision": "FLOAT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp without time zone": "TIMESTAMP",
}
_OUR_TYPES: Final[Mapping[str, ColumnType]] = {
    "row_id": ColumnType("VARCHAR", 16),
    "source_id": ColumnType("VARCHAR", 16),
    "loaded_at": ColumnType("TIMESTAMP"),
}
_GRANTS: Final = (
    "extractor_schema",
    "extractor_tables",
    "loader_schema_models",
    "loader_schema_tidemill",
    "loader_tables",
    "loader_ledger",
)

Columns = Mapping[str, ColumnType]
"""A table's columns as the warehouse has them, in order."""


class Administration(Protocol):
    """The warehouse, entered as its administrator."""

    def query(self, statement: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        ...

    def transaction(self, statements: Sequence[str]) -> object:
        """Run statements as one transaction."""
        ...

    def execute(self, statement: str) -> object:
        """Run one statement outside any transaction."""
        ...


@dataclass(frozen=True)
class TableChange:
    """What one model's table needs. `statements` go into one transaction; each of `widenings`
    runs outside any, as Redshift wants it."""

    statements: Sequence[str] = ()
    widenings: Sequence[str] = ()


def column_type(data_type: str, length: int | None) -> ColumnType:
    """Read a type as information_schema.columns tells it; an unknown one keeps its name."""
    kind = _KINDS.get(data_type.lower(), data_type.upper())
    return ColumnType(kind, length if kind == "VARCHAR" else None)


def plan_table(model: Model, existing: Columns | None) -> TableChange:
    """Return what makes a model's table fit; `existing` is None where there is no table.

    Raises MigrationError for a change that is not additive, naming column, old and new type.
    """
    if existing is None:
        definitions = join((definition(column) for column in model.columns), ",\n    ")
        return TableChange(
            [render("migrate/create_table", table=table(model), definitions=definitions)]
        )
    _require_ours(model, existing)
    _require_order(model, existing)
    added = [column for column in model.columns if column.name not in existing]
    wider = [
        column
        for column in model.columns
        if column.name in existing and _grows(model, column, existing[column.name])
    ]
    return TableChange(
        [
            render("migrate/add_column", table=table(model), definition=definition(column))
            for column in added
        ],
        [
            render(
                "migrate/widen_column",
                table=table(model),
                column=identifier(column.name),
                type=Sql(column.type),
            )
            for column in wider
        ],
    )


def _require_ours(model: Model, existing: Columns) -> None:
    for name, wanted in _OUR_TYPES.items():
        if existing.get(name) != wanted:
            raise MigrationError(
                f"models.{model.name} is not a table of Tidemill's: its column {name} is "
                f"{existing.get(name, 'missing')} where {wanted} is wanted"
            )


def _require_order(model: Model, existing: Columns) -> None:
    before = [name for name in existing if name not in _OUR_TYPES]
    names = [column.name for column in model.columns]
    for name in before:
        if name not in names:
            raise MigrationError(
                f"model {model.name}: column {name} ({existing[name]}) is in the warehouse and no "
                "longer in the model file; removing or renaming a column is refused: put it back, "
                "or start a new model under another name"
            )
    if names[: len(before)] != before:
        raise MigrationError(
            f"model {model.name}: the columns in the warehouse are {', '.join(before)}, and the "
            f"model file begins with {', '.join(names[: len(before)])}; keep the order and add "
            "new columns at the end"
        )


def _grows(model: Model, column: Column, old: ColumnType) -> bool:
    """Whether a column must be widened. Raises MigrationError for any other difference."""
    new = column.type
    if old == new:
        return False
    if old.kind == new.kind == "VARCHAR" and (new.length or 0) > (old.length or 0):
        return True
    raise MigrationError(
        f"model {model.name}: column {column.name} is {old} in the warehouse and {new} in the "
        "model file; only a longer VARCHAR is taken: keep the type, or add a column of another name"
    )


def migrations() -> dict[str, str]:
    """Return the statements of `sql/migrations/` by name, in the order of their numbers."""
    names = sorted(path.stem for path in (SQL_DIRECTORY / "migrations").glob("*.sql"))
    return {name: statement_text(f"migrations/{name}") for name in names}


def checksum(statement: str) -> str:
    """Return the checksum under which an applied migration is remembered."""
    return hashlib.sha256(statement.encode()).hexdigest()


def migrate(
    warehouse: Administration,
    models: Iterable[Model],
    *,
    database: str,
    loader_role: str,
    extractor_role: str,
    version: str = "",
) -> list[str]:
    """Apply what is missing; what is there already is left alone.

    `version` names the state of models and SQL that is asked for, if it has a name. A deployment
    that is rolled back asks for a version that was applied before: the tables then hold what it
    needs and more, so that nothing is refused and nothing taken away.

    `loader_role` and `extractor_role` are names of IAM roles: their database users get what
    loading and extracting take. Returns what was changed, in words. Raises MigrationError before
    anything of a model's table is changed, WarehouseError where a statement fails.
    """
    changes: list[str] = []
    applied = _apply_migrations(warehouse, changes)
    mark = f"version {checksum(version)}"
    for name, change in _plan(warehouse, models, is_known=mark in applied).items():
        if change.statements:
            warehouse.transaction(list(change.statements))
        for statement in change.widenings:
            warehouse.execute(statement)
        changes += [
            f"models.{name}: {' '.join(statement.split())}"
            for statement in (*change.statements, *change.widenings)
        ]
    users = {LOADER_ROLE: f"IAMR:{loader_role}", EXTRACTOR_ROLE: f"IAMR:{extractor_role}"}
    _grant(warehouse, users, database, changes)
    if version and mark not in applied:
        warehouse.transaction([_record(mark, checksum(version))])
    return changes


def _plan(
    warehouse: Administration, models: Iterable[Model], *, is_known: bool
) -> dict[str, TableChange]:
    """Plan all models before the first is changed."""
    existing = _existing_tables(warehouse)
    try:
        return {model.name: plan_table(model, existing.get(model.name)) for model in models}
    except MigrationError:
        if is_known:
            return {}
        raise


def _apply_migrations(warehouse: Administration, changes: list[str]) -> set[str]:
    """Apply the migrations that are missing and return the names of those that were not."""
    warehouse.execute(render("migrate/create_schema"))
    warehouse.execute(render("migrate/create_migrations"))
    listed = warehouse.query(render("migrate/list_migrations"))
    applied = {str(name): str(known) for name, known in listed}
    for name, statement in migrations().items():
        known = applied.get(name)
        if known == checksum(statement):
            continue
        if known is not None:
            raise MigrationError(
                f"sql/migrations/{name}.sql has changed since it was applied: "
                "restore it, and write the change as a new migration"
            )
        record = _record(name, checksum(statement))
        warehouse.transaction([render("migrate/lock_migrations"), statement, record])
        changes.append(f"migration {name}")
    return set(applied)


def _record(name: str, mark: str) -> str:
    return render("migrate/record_migration", name=literal(name), checksum=literal(mark))


def _existing_tables(warehouse: Administration) -> dict[str, dict[str, ColumnType]]:
    tables: dict[str, dict[str, ColumnType]] = {}
    for name, column, data_type, length in warehouse.query(render("migrate/list_columns")):
        kind = column_type(str(data_type), None if length is None else int(length))
        tables.setdefault(str(name), {})[str(column)] = kind
    return tables


def _grant(
    warehouse: Administration, users: Mapping[str, str], database: str, changes: list[str]
) -> None:
    """Make users and roles that are missing, and grant. Redshift knows no IF NOT EXISTS for
    them, and folds the case of names or not by a setting: names are compared without it."""
    known_users = {str(row[0]).lower() for row in warehouse.query(render("migrate/list_users"))}
    known_roles = {str(row[0]).lower() for row in warehouse.query(render("migrate/list_roles"))}
    statements = []
    for role, user in users.items():
        if user.lower() not in known_users:
            statements.append(render("migrate/create_user", user=identifier(user)))
            changes.append(f"user {user}")
        if role not in known_roles:
            statements.append(render("migrate/create_role", role=identifier(role)))
            changes.append(f"role {role}")
        statements.append(
            render("migrate/grant_role", role=identifier(role), user=identifier(user))
        )
    statements += [render(f"grants/{name}") for name in _GRANTS]
    statements.append(render("grants/loader_staging", database=identifier(database)))
    warehouse.transaction(statements)
