"""Tables as Redshift knows them: what DuckDB does not keep stands in each table's comment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from local.services.warehouse import catalogue, ddl
from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.lexer import Cursor
from local.services.warehouse.names import TableName
from local.services.warehouse.types import RESULT_TYPES, ColumnType, parse_type

DEFAULT_SCHEMA = "public"


def quote(name: str) -> str:
    """A name as DuckDB's SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as DuckDB's SQL quotes it."""
    return "'" + text.replace("'", "''") + "'"


@dataclass
class Table:
    """A table or view. `details` is its comment: owner, and type and attributes by column."""

    schema: str
    name: str
    temporary: bool
    is_view: bool
    details: dict[str, Any]

    @property
    def key(self) -> str:
        """What privileges and conflicts are kept under."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """The table in DuckDB's SQL."""
        home = "temp.main" if self.temporary else quote(self.schema)
        return f"{home}.{quote(self.name)}"

    @property
    def owner(self) -> str:
        """The user who owns it."""
        return str(self.details.get("owner", ""))

    @property
    def columns(self) -> dict[str, ColumnType]:
        """The types by column, in order."""
        return {
            name: parse_type(Cursor(column["type"]))
            for name, column in self.details["columns"].items()
        }

    def save(self, connection: Any) -> None:
        """Write the details back."""
        kind = "VIEW" if self.is_view else "TABLE"
        text = literal(json.dumps(self.details))
        connection.execute(f"COMMENT ON {kind} {self.sql} IS {text}")


def find(connection: Any, name: TableName) -> Table | None:
    """The table or view of this name; temporary ones hide others of the default schema."""
    rows = connection.execute(
        "SELECT schema_name, temporary, comment, FALSE FROM duckdb_tables()"
        " WHERE table_name = $name AND database_name IN ('temp', current_database())"
        " UNION ALL SELECT schema_name, temporary, comment, TRUE FROM duckdb_views()"
        " WHERE view_name = $name AND database_name IN ('temp', current_database())",
        {"name": name.name},
    ).fetchall()
    schema = name.schema or DEFAULT_SCHEMA
    for found, temporary, comment, is_view in sorted(rows, key=lambda row: not row[1]):
        if temporary and name.schema in (None, "pg_temp"):
            return Table("pg_temp", name.name, True, is_view, json.loads(comment or "{}"))
        if not temporary and found == schema and schema != catalogue.SCHEMA and comment:
            return Table(schema, name.name, False, is_view, json.loads(comment))
    return None


def require(connection: Any, name: TableName) -> Table:
    """The table or view of this name. Raises `WarehouseError` where there is none."""
    table = find(connection, name)
    if table is None:
        if name.schema is not None and not schema_exists(connection, name.schema):
            raise WarehouseError(f'schema "{name.schema}" does not exist')
        written = f"{name.schema}.{name.name}" if name.schema else name.name
        raise WarehouseError(f'relation "{written}" does not exist')
    return table


def schema_exists(connection: Any, name: str) -> bool:
    """Whether there is such a schema."""
    if name in (catalogue.SCHEMA, "main"):
        return False
    row = connection.execute(
        "SELECT count(*) FROM duckdb_schemas()"
        " WHERE schema_name = ? AND database_name = current_database()",
        [name],
    ).fetchone()
    return bool(row[0])


def create(
    connection: Any, statement: ddl.CreateTable, owner: str, defaults: dict[str, str]
) -> Table | None:
    """Make a table; None where it is there already and that is allowed.

    `defaults` has the DuckDB SQL of each Redshift default expression.
    """
    name = statement.table
    schema = "pg_temp" if statement.temporary else name.schema or DEFAULT_SCHEMA
    if not statement.temporary and not schema_exists(connection, schema):
        raise WarehouseError(f'schema "{schema}" does not exist')
    found = find(connection, TableName(schema, name.name))
    if found is not None:
        if statement.if_not_exists:
            return None
        raise WarehouseError(f'Relation "{name.name}" already exists')
    columns = _expand(connection, statement.columns)
    if not columns:
        raise WarehouseError("tables must have at least one column")
    details: dict[str, Any] = {"owner": owner, "columns": {}}
    if statement.diststyle:
        details["diststyle"] = statement.diststyle.upper()
    definitions = []
    for column in columns:
        if column.name in details["columns"]:
            raise WarehouseError(f'column "{column.name}" duplicated')
        details["columns"][column.name] = describe(column)
        definitions.append(_definition(column, defaults))
    table = Table(schema, name.name, statement.temporary, False, details)
    temporary = "TEMP " if statement.temporary else ""
    connection.execute(f"CREATE {temporary}TABLE {table.sql} ({', '.join(definitions)})")
    table.save(connection)
    return table


def describe(column: ddl.ColumnDefinition) -> dict[str, Any]:
    """What a table's comment keeps of a column."""
    kept: dict[str, Any] = {"type": column.type.label}
    for key in ("default", "encoding", "distkey", "sortkey", "not_null"):
        if value := getattr(column, key):
            kept[key] = value
    return kept


def _expand(
    connection: Any, columns: list[ddl.ColumnDefinition | TableName]
) -> list[ddl.ColumnDefinition]:
    expanded: list[ddl.ColumnDefinition] = []
    for column in columns:
        if isinstance(column, ddl.ColumnDefinition):
            expanded.append(column)
            continue
        like = require(connection, column)
        for name, kind in like.columns.items():
            not_null = like.details["columns"][name].get("not_null", False)
            expanded.append(ddl.ColumnDefinition(name, kind, not_null))
    return expanded


def _definition(column: ddl.ColumnDefinition, defaults: dict[str, str]) -> str:
    text = f"{quote(column.name)} {column.type.storage}"
    if column.default is not None:
        text += f" DEFAULT {defaults[column.default]}"
    return text + (" NOT NULL" if column.not_null else "")


def adopt(connection: Any, name: TableName, owner: str, *, temporary: bool, view: bool) -> Table:
    """Write the details of what CREATE TABLE AS or CREATE VIEW has just made."""
    schema = "pg_temp" if temporary else name.schema or DEFAULT_SCHEMA
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?"
        " AND CASE WHEN ? THEN database_name = 'temp'"
        " ELSE database_name = current_database() AND schema_name = ? END ORDER BY column_index",
        [name.name, temporary, schema],
    ).fetchall()
    columns = {column: {"type": _label(kind)} for column, kind in rows}
    table = Table(schema, name.name, temporary, view, {"owner": owner, "columns": columns})
    table.save(connection)
    return table


def _label(physical: str) -> str:
    """Redshift's name for the type of a query's column."""
    if physical.startswith("DECIMAL"):
        return physical.replace("DECIMAL", "numeric").lower()
    if physical == "HUGEINT":
        return "numeric(38,0)"
    if physical == "VARCHAR":
        return "character varying(65535)"
    short, _ = RESULT_TYPES.get(physical, ("varchar", 0))
    return parse_type(Cursor(short)).label


def alter(connection: Any, table: Table, change: ddl.Change, defaults: dict[str, str]) -> None:
    """Carry out one change of ALTER TABLE."""
    if isinstance(change, ddl.AddColumn):
        _add_column(connection, table, change.column, defaults)
    elif isinstance(change, ddl.DropColumn):
        _known(table, change.name)
        connection.execute(f"ALTER TABLE {table.sql} DROP COLUMN {quote(change.name)}")
        del table.details["columns"][change.name]
    elif isinstance(change, ddl.ChangeType):
        _change_type(table, change)
    elif isinstance(change, ddl.Rename):
        _rename(connection, table, change)
    elif isinstance(change, ddl.ChangeOwner):
        table.details["owner"] = change.owner
    table.save(connection)


def _known(table: Table, column: str) -> None:
    if column not in table.details["columns"]:
        raise WarehouseError(f'column "{column}" of relation "{table.name}" does not exist')


def _add_column(
    connection: Any, table: Table, column: ddl.ColumnDefinition, defaults: dict[str, str]
) -> None:
    if column.name in table.details["columns"]:
        raise WarehouseError(f'column "{column.name}" of relation "{table.name}" already exists')
    if column.not_null and column.default is None:
        raise WarehouseError(
            "ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default expression"
        )
    added = ddl.ColumnDefinition(column.name, column.type, default=column.default)
    connection.execute(f"ALTER TABLE {table.sql} ADD COLUMN {_definition(added, defaults)}")
    if column.not_null:
        connection.execute(
            f"ALTER TABLE {table.sql} ALTER COLUMN {quote(column.name)} SET NOT NULL"
        )
    table.details["columns"][column.name] = describe(column)


def _change_type(table: Table, change: ddl.ChangeType) -> None:
    """Redshift lets text columns grow, and nothing else; text has no length in DuckDB."""
    _known(table, change.name)
    old = table.columns[change.name]
    if old.short != "varchar" or change.type.short != "varchar":
        raise WarehouseError(
            f'cannot alter column "{change.name}" of relation "{table.name}",'
            " target data type is not supported"
        )
    if (change.type.length or 0) < (old.length or 0):
        raise WarehouseError(
            f'cannot alter column "{change.name}" of relation "{table.name}",'
            " target column size should be different or greater"
        )
    table.details["columns"][change.name]["type"] = change.type.label


def _rename(connection: Any, table: Table, change: ddl.Rename) -> None:
    if change.column is None:
        if find(connection, TableName(table.schema, change.name)) is not None:
            raise WarehouseError(f'relation "{change.name}" already exists')
        connection.execute(f"ALTER TABLE {table.sql} RENAME TO {quote(change.name)}")
        table.name = change.name
        return
    _known(table, change.column)
    connection.execute(
        f"ALTER TABLE {table.sql} RENAME COLUMN {quote(change.column)} TO {quote(change.name)}"
    )
    table.details["columns"] = {
        change.name if name == change.column else name: column
        for name, column in table.details["columns"].items()
    }
