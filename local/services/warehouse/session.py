"""A session: one user's connection, its transaction, and the statements it carries out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from local.services.warehouse import copying, ddl, grammar, tables, transfers, unloading
from local.services.warehouse.catalogue import SCHEMA
from local.services.warehouse.database import Database
from local.services.warehouse.errors import CancelledError, WarehouseError, duck_errors
from local.services.warehouse.lexer import Cursor, keywords
from local.services.warehouse.names import TableName
from local.services.warehouse.privileges import Privileges
from local.services.warehouse.storage import Storage
from local.services.warehouse.tables import Table
from local.services.warehouse.translate import Settings, Translation, expression, translate

_READS = frozenset({"SELECT", "WITH", "SHOW", "EXPLAIN", "SET", "RESET", "UNLOAD", "ANALYZE"})
_NOT_IN_TRANSACTION = "{} cannot run inside a transaction block"


@dataclass
class Outcome:
    """What a statement gave: a result set (`columns` is then set) or a count of rows."""

    columns: list[tuple[str, str]] | None = None
    """Name and DuckDB type of each column."""
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    count: int = 0


class Session:
    """One user's work on a database. Entered by one thread at a time, save for `cancel`."""

    def __init__(self, database: Database, user: str, *, superuser: bool, storage: Storage) -> None:
        self.user = user
        self.database = database
        self.connection = database.connect()
        self.storage = storage
        self.query_id = 0
        self._superuser = superuser
        self.cancelled = threading.Event()
        """Set by `cancel`; long work looks at it."""
        self._explicit = False
        self._failed = False
        self._begun = False
        self._snapshot = 0
        self._touched: set[str] = set()
        self._changed: set[str] = set()
        self._privileges: Privileges | None = None

    @property
    def privileges(self) -> Privileges:
        """The rights of the user, as the transaction sees them."""
        if self._privileges is None:
            self._privileges = Privileges(self.connection, self.user, superuser=self._superuser)
        return self._privileges

    def cancel(self) -> None:
        """End the running statement with an error, from another thread."""
        self.cancelled.set()
        self.connection.interrupt()

    def close(self) -> None:
        """Roll back what is open and let the connection go."""
        self.rollback()
        self.database.release(self.connection)

    def begin(self) -> None:
        """Open a transaction that lasts over several statements."""
        self._explicit = True

    def commit(self) -> None:
        """Commit; what was committed is durable when this returns."""
        try:
            if self._begun:
                self.duck("COMMIT")
                self.database.committed(self._changed)
        except WarehouseError:
            self._end()
            raise
        self._end()

    def rollback(self) -> None:
        """Undo everything since the transaction began."""
        import duckdb

        if self._begun:
            with suppress(duckdb.Error):  # an error may have ended the transaction already
                self.connection.execute("ROLLBACK")
        self._end()

    def _end(self) -> None:
        self.database.write_lock.release(self)
        self._explicit = self._begun = self._failed = False
        self._touched, self._changed = set(), set()
        self._privileges = None

    def execute(self, sql: str, parameters: Mapping[str, str] | None = None) -> Outcome:
        """Carry out one statement, in a transaction of its own unless one is open.

        Raises `WarehouseError`; the transaction is then rolled back.
        """
        words = keywords(sql)
        if not words and sql.lstrip()[:1] != "(":
            raise Cursor(sql).error()
        first = words[0] if words else "SELECT"
        if self.cancelled.is_set():
            self.rollback()
            raise CancelledError
        if first in ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"):
            return self._control(first)
        if self._failed:
            raise WarehouseError(
                "current transaction is aborted, commands ignored until end of transaction block"
            )
        try:
            outcome = self._in_transaction(first, words, sql, parameters or {})
            if not self._explicit:
                self.commit()
        except BaseException:
            explicit = self._explicit
            self.rollback()
            self._explicit = self._failed = explicit
            raise
        return outcome

    def _control(self, word: str) -> Outcome:
        if word in ("BEGIN", "START"):
            self.begin()
        elif word in ("COMMIT", "END"):
            self.commit()
        else:
            self.rollback()
        return Outcome()

    def _in_transaction(
        self, first: str, words: tuple[str, ...], sql: str, parameters: Mapping[str, str]
    ) -> Outcome:
        if parameters and first not in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE"):
            raise WarehouseError(f'syntax error at or near "$1": {first} takes no parameters')
        if first not in _READS:
            self.database.write_lock.acquire(self, self.cancelled)
        if first == "LOCK" and not self._explicit:
            raise WarehouseError("LOCK TABLE may only be used in transaction blocks")
        if not self._begun:
            self._snapshot = self.database.version
            self.connection.execute("BEGIN")
            self._begun = True
        if first not in _READS:
            for key in self._touched:
                self.database.check(key, self._snapshot)
        return self._dispatch(first, words, sql, parameters)

    def _dispatch(
        self, first: str, words: tuple[str, ...], sql: str, parameters: Mapping[str, str]
    ) -> Outcome:
        if first in ("COPY", "UNLOAD", "LOCK", "GRANT", "REVOKE") or words[:2] in (
            ("CREATE", "USER"),
            ("CREATE", "ROLE"),
            ("DROP", "USER"),
            ("DROP", "ROLE"),
            ("ALTER", "DEFAULT"),
        ):
            return self._own(grammar.parse(Cursor(sql)))
        if first in ("VACUUM", "ANALYZE", "SET", "RESET"):
            if first == "VACUUM" and self._explicit:
                raise WarehouseError(_NOT_IN_TRANSACTION.format("VACUUM"))
            return Outcome()
        if words[:2] == ("CREATE", "SCHEMA"):
            return self._create_schema(ddl.parse_create_schema(Cursor(sql)))
        if words[:2] == ("ALTER", "TABLE"):
            return self._alter_table(*ddl.parse_alter_table(Cursor(sql)))
        if first == "DROP":
            return self._drop(ddl.parse_drop(Cursor(sql)))
        if first == "TRUNCATE":
            return self._truncate(ddl.parse_truncate(Cursor(sql)))
        if first == "CREATE" and "TABLE" in words[:3]:
            create = ddl.parse_create_table(Cursor(sql))
            if create is not None:
                return self._create_table(create)
        if first == "EXPLAIN":
            return self._explain(sql[Cursor(sql).tokens[1].start :], parameters)
        return self._query(sql, parameters)

    def _own(self, statement: grammar.Statement) -> Outcome:
        if isinstance(statement, transfers.Copy):
            table = self.lookup(statement.table)
            self.privileges.require_table(table, "INSERT")
            self._change(table)
            return Outcome(count=copying.run(self, statement, table))
        if isinstance(statement, transfers.Unload):
            return Outcome(count=unloading.run(self, statement))
        if isinstance(statement, grammar.Lock):
            for name in statement.tables:
                table = self.lookup(name)
                self.privileges.require_table(table, "UPDATE", "DELETE", "TRUNCATE")
        elif isinstance(statement, grammar.CreatePrincipal):
            self.privileges.create(statement)
        elif isinstance(statement, grammar.DropPrincipal):
            self.privileges.drop(statement)
        elif isinstance(statement, grammar.Rights):
            self.privileges.apply(statement)
        else:
            self.privileges.set_defaults(statement)
        return Outcome()

    def lookup(self, name: TableName) -> Table:
        """Find a table for use in this transaction. Raises `WarehouseError`."""
        table = tables.require(self.connection, name)
        if not table.temporary:
            if self._changed:
                self.database.check(table.key, self._snapshot)
            self._touched.add(table.key)
        return table

    def _change(self, table: Table) -> None:
        if not table.temporary:
            self.database.check(table.key, self._snapshot)
            self._changed.add(table.key)

    def translate(self, sql: str, parameters: Mapping[str, str]) -> Translation:
        """Translate a query or DML and check the user's rights."""
        settings = Settings(self.user, self.database.name)
        translation = translate(sql, parameters, self.lookup, settings)
        for table, privilege in translation.needs:
            self.privileges.require_table(table, privilege)
        return translation

    def _query(self, sql: str, parameters: Mapping[str, str]) -> Outcome:
        translation = self.translate(sql, parameters)
        kind = translation.kind
        if kind != "select":
            # One that begins with WITH was taken for a read: its snapshot is older than the lock.
            self.database.write_lock.acquire(self, self.cancelled)
        if kind == "select":
            return self._select(translation.sql)
        if translation.created is not None:
            return self._create_as(translation)
        for table, privilege in translation.needs:
            if privilege != "SELECT":
                self._change(table)
        row = self.duck(translation.sql).fetchone()
        return Outcome(count=int(row[0]) if row else 0)

    def _select(self, sql: str) -> Outcome:
        cursor = self.duck(sql)
        columns = [(str(item[0]), str(item[1])) for item in cursor.description]
        if any(kind == "TIMESTAMP WITH TIME ZONE" for _, kind in columns):
            # DuckDB hands these over through pytz; their text needs no library
            items = ", ".join(
                f"CAST(c{i} AS VARCHAR)" if kind == "TIMESTAMP WITH TIME ZONE" else f"c{i}"
                for i, (_, kind) in enumerate(columns)
            )
            names = ", ".join(f"c{i}" for i in range(len(columns)))
            cursor = self.duck(f"SELECT {items} FROM ({sql}) AS q({names})")  # noqa: S608 (made here)
        return Outcome(columns, self._fetch(cursor))

    def _fetch(self, cursor: Any) -> list[tuple[Any, ...]]:
        with duck_errors(self.cancelled):
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _explain(self, sql: str, parameters: Mapping[str, str]) -> Outcome:
        translation = self.translate(sql, parameters)
        rows = self.duck(f"EXPLAIN {translation.sql}").fetchall()
        lines = [(line,) for row in rows for line in str(row[1]).splitlines()]
        return Outcome([("QUERY PLAN", "VARCHAR")], lines)

    def _create_as(self, translation: Translation) -> Outcome:
        name = translation.created
        if name is None:
            raise WarehouseError("syntax error at end of input")
        schema = name.schema or tables.DEFAULT_SCHEMA
        if not translation.temporary:
            if not tables.schema_exists(self.connection, schema):
                raise WarehouseError(f'schema "{schema}" does not exist')
            self.privileges.require_schema(schema, "CREATE")
        view = translation.kind == "create view"
        where = TableName("pg_temp" if translation.temporary else schema, name.name)
        if tables.find(self.connection, where) is not None and "OR REPLACE" not in translation.sql:
            raise WarehouseError(f'Relation "{name.name}" already exists')
        row = self.duck(translation.sql).fetchone()
        table = tables.adopt(
            self.connection, name, self.user, temporary=translation.temporary, view=view
        )
        self.privileges.created(table)
        self._change(table)
        return Outcome(count=int(row[0]) if row and not view else 0)

    def _create_schema(self, statement: ddl.CreateSchema) -> Outcome:
        self.privileges.require_superuser("create schemas")
        if tables.schema_exists(self.connection, statement.name):
            if not statement.if_not_exists:
                raise WarehouseError(f'schema "{statement.name}" already exists')
            return Outcome()
        if statement.name in (SCHEMA, "main", "information_schema") or statement.name.startswith(
            "pg_"
        ):
            raise WarehouseError(f'unacceptable schema name "{statement.name}"')
        self.duck(f"CREATE SCHEMA {tables.quote(statement.name)}")
        self.connection.execute(
            f"INSERT INTO {SCHEMA}.schemas VALUES (?, ?)",  # noqa: S608 (a constant)
            [statement.name, statement.owner or self.user],
        )
        self._changed.add(statement.name)
        return Outcome()

    def _create_table(self, statement: ddl.CreateTable) -> Outcome:
        if not statement.temporary:
            schema = statement.table.schema or tables.DEFAULT_SCHEMA
            self.privileges.require_schema(schema, "CREATE")
        defaults = {
            column.default: expression(column.default)
            for column in statement.columns
            if isinstance(column, ddl.ColumnDefinition) and column.default is not None
        }
        with duck_errors(self.cancelled):
            table = tables.create(self.connection, statement, self.user, defaults)
        if table is not None:
            self.privileges.created(table)
            self._change(table)
        return Outcome()

    def _alter_table(self, name: TableName, change: ddl.Change) -> Outcome:
        table = self.lookup(name)
        self.privileges.require_owner(table, "ALTER")
        if isinstance(change, ddl.ChangeType) and self._explicit:
            raise WarehouseError(_NOT_IN_TRANSACTION.format("ALTER TABLE ALTER COLUMN TYPE"))
        self._change(table)
        defaults = {}
        if isinstance(change, ddl.AddColumn) and change.column.default is not None:
            defaults[change.column.default] = expression(change.column.default)
        old = TableName(table.schema, table.name)
        with duck_errors(self.cancelled):
            tables.alter(self.connection, table, change, defaults)
        if table.name != old.name:
            self.privileges.renamed(old, table)
            self._change(table)
        return Outcome()

    def _drop(self, statement: ddl.Drop) -> Outcome:
        for name in statement.names:
            if statement.kind == "schema":
                self._drop_schema(name.name, statement)
                continue
            table = tables.find(self.connection, name)
            if table is None:
                if not statement.if_exists:
                    raise WarehouseError(f'Table "{name.name}" does not exist')
                continue
            self.privileges.require_owner(table, "DROP")
            self._change(table)
            self.duck(f"DROP {statement.kind.upper()} {table.sql}")
            self.privileges.dropped("table", table.schema, table.name)
        return Outcome()

    def _drop_schema(self, name: str, statement: ddl.Drop) -> None:
        self.privileges.require_superuser("drop schemas")
        if not tables.schema_exists(self.connection, name):
            if not statement.if_exists:
                raise WarehouseError(f'schema "{name}" does not exist')
            return
        cascade = " CASCADE" if statement.cascade else ""
        self.duck(f"DROP SCHEMA {tables.quote(name)}{cascade}")
        self.privileges.dropped("schema", "", name)
        self.connection.execute(
            f"DELETE FROM {SCHEMA}.schemas WHERE name = ?",  # noqa: S608 (a constant)
            [name],
        )
        self._changed.add(name)

    def _truncate(self, name: TableName) -> Outcome:
        """TRUNCATE commits the transaction it is in, as Redshift documents."""
        table = self.lookup(name)
        self.privileges.require_table(table, "TRUNCATE")
        self._change(table)
        self.duck(f"DELETE FROM {table.sql}")  # noqa: S608 (quoted)
        explicit = self._explicit
        self.commit()
        self._explicit = explicit
        return Outcome()

    def duck(self, sql: str) -> Any:
        """Run DuckDB's SQL; its errors become Redshift's."""
        if self.cancelled.is_set():
            raise CancelledError
        with duck_errors(self.cancelled):
            return self.connection.execute(sql)
