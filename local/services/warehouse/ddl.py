"""What makes, changes and drops tables and schemas: Redshift's types and attributes are its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.lexer import Cursor
from local.services.warehouse.names import TableName, table_name
from local.services.warehouse.types import ColumnType, parse_type

_DEFAULT_ENDS = frozenset(
    {
        "NOT",
        "NULL",
        "ENCODE",
        "DISTKEY",
        "SORTKEY",
        "UNIQUE",
        "PRIMARY",
        "REFERENCES",
        "COLLATE",
        "IDENTITY",
        "GENERATED",
    }
)


@dataclass
class ColumnDefinition:
    """A column of CREATE TABLE or ADD COLUMN; `default` is Redshift SQL."""

    name: str
    type: ColumnType
    not_null: bool = False
    default: str | None = None
    encoding: str | None = None
    distkey: bool = False
    sortkey: int = 0


@dataclass
class CreateTable:
    """CREATE TABLE with a list of columns (`like` names tables whose columns are taken over)."""

    table: TableName
    temporary: bool
    if_not_exists: bool
    columns: list[ColumnDefinition | TableName] = field(default_factory=list)
    diststyle: str | None = None


@dataclass(frozen=True)
class AddColumn:
    """ALTER TABLE … ADD COLUMN."""

    column: ColumnDefinition


@dataclass(frozen=True)
class DropColumn:
    """ALTER TABLE … DROP COLUMN."""

    name: str


@dataclass(frozen=True)
class ChangeType:
    """ALTER TABLE … ALTER COLUMN … TYPE."""

    name: str
    type: ColumnType


@dataclass(frozen=True)
class Rename:
    """ALTER TABLE … RENAME [COLUMN … ] TO …; `column` is None for the table itself."""

    column: str | None
    name: str


@dataclass(frozen=True)
class ChangeOwner:
    """ALTER TABLE … OWNER TO."""

    owner: str


@dataclass(frozen=True)
class NoChange:
    """ALTER TABLE of physical attributes, which mean nothing here."""


@dataclass(frozen=True)
class CreateSchema:
    """CREATE SCHEMA."""

    name: str
    if_not_exists: bool
    owner: str | None


@dataclass(frozen=True)
class Drop:
    """DROP TABLE, VIEW or SCHEMA."""

    kind: Literal["table", "view", "schema"]
    names: tuple[TableName, ...]
    if_exists: bool
    cascade: bool


Change = AddColumn | DropColumn | ChangeType | Rename | ChangeOwner | NoChange


def parse_create_table(cursor: Cursor) -> CreateTable | None:
    """Parse CREATE TABLE; None where it is CREATE TABLE AS, which is a query."""
    start = cursor.place
    cursor.expect("CREATE")
    local = cursor.skip("LOCAL")
    temporary = cursor.skip("TEMP") or cursor.skip("TEMPORARY") or local
    cursor.expect("TABLE")
    if_not_exists = cursor.skip("IF", "NOT", "EXISTS")
    name = table_name(cursor)
    temporary = temporary or name.name.startswith("#")
    create = CreateTable(name, temporary, if_not_exists)
    if not cursor.skip("(") or _is_query(cursor):
        cursor.place = start
        return None
    while True:
        _table_element(cursor, create)
        if not cursor.skip(","):
            break
    cursor.expect(")")
    if cursor.at("AS"):  # a list of column names before a query
        cursor.place = start
        return None
    while not (cursor.at(";") or cursor.next.kind == "end"):
        _table_attribute(cursor, create)
    cursor.end()
    return create


def _is_query(cursor: Cursor) -> bool:
    """Whether what follows the parenthesis are bare names (`CREATE TABLE t (a, b) AS …`)."""
    place = cursor.place
    try:
        cursor.names()
        return cursor.at(")")
    except WarehouseError:
        return False
    finally:
        cursor.place = place


def _table_element(cursor: Cursor, create: CreateTable) -> None:
    if cursor.skip("LIKE"):
        create.columns.append(table_name(cursor))
        _ = cursor.skip("INCLUDING", "DEFAULTS") or cursor.skip("EXCLUDING", "DEFAULTS")
        return
    if cursor.skip("CONSTRAINT"):
        cursor.name()
    if cursor.at("UNIQUE") or cursor.at("PRIMARY") or cursor.at("FOREIGN"):
        _table_constraint(cursor)
        return
    create.columns.append(parse_column(cursor))


def _table_constraint(cursor: Cursor) -> None:
    """Keys are informational in Redshift: parsed, and not enforced."""
    foreign = cursor.skip("FOREIGN", "KEY")
    if not foreign and not cursor.skip("UNIQUE"):
        cursor.expect("PRIMARY", "KEY")
    _column_list(cursor)
    if foreign:
        cursor.expect("REFERENCES")
        _reference(cursor)


def _reference(cursor: Cursor) -> None:
    table_name(cursor)
    if cursor.at("("):
        _column_list(cursor)


def _column_list(cursor: Cursor) -> list[str]:
    cursor.expect("(")
    names = cursor.names()
    cursor.expect(")")
    return names


def parse_column(cursor: Cursor) -> ColumnDefinition:
    """One column with its attributes."""
    column = ColumnDefinition(cursor.name(), parse_type(cursor))
    while not (cursor.at(",") or cursor.at(")") or cursor.at(";") or cursor.next.kind == "end"):
        _column_attribute(cursor, column)
    return column


def _column_attribute(cursor: Cursor, column: ColumnDefinition) -> None:
    if cursor.skip("NOT", "NULL"):
        column.not_null = True
    elif cursor.skip("DEFAULT"):
        column.default = _expression(cursor)
    elif cursor.skip("ENCODE"):
        column.encoding = cursor.name()
    elif cursor.skip("DISTKEY"):
        column.distkey = True
    elif cursor.skip("SORTKEY"):
        column.sortkey = 1
    elif cursor.skip("PRIMARY", "KEY"):
        column.not_null = True
    elif cursor.skip("REFERENCES"):
        _reference(cursor)
    elif cursor.skip("COLLATE"):
        cursor.name()
    elif cursor.at("IDENTITY") or cursor.at("GENERATED"):
        raise WarehouseError("IDENTITY columns are not carried by the local warehouse")
    elif not (cursor.skip("NULL") or cursor.skip("UNIQUE")):
        raise cursor.error()


def _expression(cursor: Cursor) -> str:
    """The text of an expression up to the next attribute, comma or closing parenthesis."""
    start, depth = cursor.next.start, 0
    end = start
    while (token := cursor.next).kind != "end":
        if depth == 0 and (
            (token.kind == "symbol" and token.text in ",);")
            or (end > start and token.kind == "word" and token.text.upper() in _DEFAULT_ENDS)
        ):
            break
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "symbol" else 0
        end = cursor.take().end
    return cursor.sql[start:end]


def _table_attribute(cursor: Cursor, create: CreateTable) -> None:
    columns = {c.name: c for c in create.columns if isinstance(c, ColumnDefinition)}

    def find(name: str) -> ColumnDefinition:
        if name not in columns:
            raise WarehouseError(f'column "{name}" named in key does not exist')
        return columns[name]

    if cursor.skip("DISTSTYLE"):
        create.diststyle = cursor.name()
    elif cursor.skip("DISTKEY"):
        for name in _column_list(cursor):
            find(name).distkey = True
    elif cursor.skip("BACKUP"):
        cursor.name()
    elif cursor.skip("ENCODE", "AUTO"):
        return
    else:
        _ = cursor.skip("COMPOUND") or cursor.skip("INTERLEAVED")
        cursor.expect("SORTKEY")
        if cursor.skip("AUTO"):
            return
        for order, name in enumerate(_column_list(cursor), 1):
            find(name).sortkey = order


def parse_alter_table(cursor: Cursor) -> tuple[TableName, Change]:
    """Parse ALTER TABLE; one change a statement, as in Redshift."""
    cursor.expect("ALTER", "TABLE")
    table = table_name(cursor)
    change = _change(cursor)
    cursor.end()
    return table, change


def _change(cursor: Cursor) -> Change:
    if cursor.skip("ADD"):
        if cursor.at("CONSTRAINT") or cursor.at("PRIMARY") or cursor.at("FOREIGN"):
            if cursor.skip("CONSTRAINT"):
                cursor.name()
            _table_constraint(cursor)
            return NoChange()
        cursor.skip("COLUMN")
        return AddColumn(parse_column(cursor))
    if cursor.skip("DROP"):
        if cursor.skip("CONSTRAINT"):
            cursor.name()
            return NoChange()
        cursor.skip("COLUMN")
        name = cursor.name()
        _ = cursor.skip("CASCADE") or cursor.skip("RESTRICT")
        return DropColumn(name)
    if cursor.skip("RENAME"):
        if cursor.skip("TO"):
            return Rename(None, cursor.name())
        cursor.skip("COLUMN")
        column = cursor.name()
        cursor.expect("TO")
        return Rename(column, cursor.name())
    if cursor.skip("OWNER", "TO"):
        return ChangeOwner(cursor.exact_name())
    cursor.expect("ALTER")
    return _alteration(cursor)


def _alteration(cursor: Cursor) -> Change:
    if cursor.skip("COLUMN") or cursor.next.text.upper() not in (
        "DISTKEY",
        "DISTSTYLE",
        "SORTKEY",
        "COMPOUND",
        "ENCODE",
    ):
        name = cursor.name()
        if cursor.skip("ENCODE"):
            cursor.name()
            return NoChange()
        cursor.expect("TYPE")
        return ChangeType(name, parse_type(cursor))
    while not (cursor.at(";") or cursor.next.kind == "end"):
        cursor.take()
    return NoChange()


def parse_create_schema(cursor: Cursor) -> CreateSchema:
    """Parse CREATE SCHEMA."""
    cursor.expect("CREATE", "SCHEMA")
    if_not_exists = cursor.skip("IF", "NOT", "EXISTS")
    name = cursor.name()
    owner = cursor.exact_name() if cursor.skip("AUTHORIZATION") else None
    if cursor.skip("QUOTA"):
        _ = cursor.skip("UNLIMITED") or (cursor.integer() and cursor.name())
    cursor.end()
    return CreateSchema(name, if_not_exists, owner)


def parse_drop(cursor: Cursor) -> Drop:
    """Parse DROP TABLE, VIEW or SCHEMA."""
    cursor.expect("DROP")
    kind: Literal["table", "view", "schema"]
    if cursor.skip("TABLE"):
        kind = "table"
    elif cursor.skip("VIEW"):
        kind = "view"
    else:
        cursor.expect("SCHEMA")
        kind = "schema"
    if_exists = cursor.skip("IF", "EXISTS")
    names = [table_name(cursor)]
    while cursor.skip(","):
        names.append(table_name(cursor))
    cascade = cursor.skip("CASCADE")
    cursor.skip("RESTRICT")
    cursor.end()
    return Drop(kind, tuple(names), if_exists, cascade)


def parse_truncate(cursor: Cursor) -> TableName:
    """Parse TRUNCATE."""
    cursor.expect("TRUNCATE")
    cursor.skip("TABLE")
    table = table_name(cursor)
    cursor.end()
    return table
