"""Users, roles and what they may do, kept in the database beside what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.grammar import (
    CreatePrincipal,
    DefaultRights,
    DropPrincipal,
    Grantee,
    Rights,
)
from local.services.warehouse.names import TableName
from local.services.warehouse.tables import DEFAULT_SCHEMA, Table, require, schema_exists

_ALL = {
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "DROP", "REFERENCES", "ALTER", "TRUNCATE"),
    "schema": ("CREATE", "USAGE", "ALTER", "DROP"),
    "database": ("CREATE", "TEMP", "TEMPORARY", "USAGE", "ALTER"),
}


class Privileges:
    """Asks and changes rights over one connection, on behalf of `user`."""

    def __init__(self, connection: Any, user: str, *, superuser: bool) -> None:
        self._connection = connection
        self._user = user
        self._superuser = superuser or self._is_superuser()

    def _is_superuser(self) -> bool:
        rows = self._rows(
            "SELECT superuser FROM tidemill_catalogue.users WHERE name = ?", [self._user]
        )
        return bool(rows and rows[0][0])

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(sql, list(parameters)).fetchall()
        return rows

    def require_superuser(self, action: str) -> None:
        """Raise `WarehouseError` unless the user is a superuser."""
        if not self._superuser:
            raise WarehouseError(f"permission denied: must be superuser to {action}")

    def require_schema(self, schema: str, privilege: str) -> None:
        """Raise `WarehouseError` unless the user has USAGE or CREATE on a schema."""
        if self._superuser or schema in (DEFAULT_SCHEMA, "pg_temp"):
            return
        owners = self._rows("SELECT owner FROM tidemill_catalogue.schemas WHERE name = ?", [schema])
        if (self._user,) not in owners and not self._has("schema", "", schema, (privilege,)):
            raise WarehouseError(f"permission denied for schema {schema}")

    def require_table(self, table: Table, *privileges: str) -> None:
        """Raise `WarehouseError` unless the user has one of the privileges on a table."""
        if table.temporary or self._superuser:
            return
        self.require_schema(table.schema, "USAGE")
        if table.owner != self._user and not self._has(
            "table", table.schema, table.name, privileges
        ):
            raise WarehouseError(f"permission denied for relation {table.name}")

    def _has(self, kind: str, schema: str, name: str, privileges: Iterable[str]) -> bool:
        rows = self._rows(
            """
            WITH RECURSIVE reached(kind, name) AS (
                SELECT 'user', ? UNION ALL SELECT 'public', ''
                UNION
                SELECT 'role', m.role FROM tidemill_catalogue.members m
                JOIN reached r ON r.kind = m.grantee_kind AND r.name = m.grantee
            )
            SELECT count(*) FROM tidemill_catalogue.grants g
            JOIN reached r ON r.kind = g.grantee_kind AND r.name = g.grantee
            WHERE g.kind = ? AND g.schema_name = ? AND g.object_name = ?
                AND list_contains(?, g.privilege)
            """,
            [self._user, kind, schema, name, list(privileges)],
        )
        return bool(rows[0][0])

    def create(self, statement: CreatePrincipal) -> None:
        """CREATE USER or CREATE ROLE."""
        self.require_superuser(f"create {statement.kind}s")
        if self._exists(statement.kind, statement.name):
            raise WarehouseError(f'{statement.kind} "{statement.name}" already exists')
        if statement.kind == "user":
            self._rows(
                "INSERT INTO tidemill_catalogue.users VALUES (?, ?)",
                [statement.name, statement.superuser],
            )
        else:
            self._rows(
                "INSERT INTO tidemill_catalogue.roles VALUES (?, ?)", [statement.name, self._user]
            )

    def drop(self, statement: DropPrincipal) -> None:
        """DROP USER or DROP ROLE; refused while the one or the other still has rights."""
        kind, name = statement.kind, statement.name
        self.require_superuser(f"drop {kind}s")
        if not self._exists(kind, name):
            if statement.if_exists:
                return
            raise WarehouseError(f'{kind} "{name}" does not exist')
        held = self._rows(
            "SELECT count(*) FROM tidemill_catalogue.grants WHERE grantee_kind = ? AND grantee = ?",
            [kind, name],
        )
        members = self._rows(
            "SELECT count(*) FROM tidemill_catalogue.members WHERE role = ?", [name]
        )
        if (held[0][0] or (kind == "role" and members[0][0])) and not statement.force:
            raise WarehouseError(
                f'{kind} "{name}" cannot be dropped because some objects depend on it'
            )
        home = f"tidemill_catalogue.{kind}s"
        self._rows(f"DELETE FROM {home} WHERE name = ?", [name])  # noqa: S608 (a word of ours)
        for table in ("grants", "members", "defaults"):
            self._rows(
                f"DELETE FROM tidemill_catalogue.{table}"  # noqa: S608 (a word of ours)
                " WHERE grantee_kind = ? AND grantee = ?",
                [kind, name],
            )
        if kind == "role":
            self._rows("DELETE FROM tidemill_catalogue.members WHERE role = ?", [name])

    def _exists(self, kind: str, name: str) -> bool:
        home = f"tidemill_catalogue.{kind}s"
        rows = self._rows(f"SELECT count(*) FROM {home} WHERE name = ?", [name])  # noqa: S608 (a word of ours)
        return bool(rows[0][0])

    def _check_grantees(self, grantees: Iterable[Grantee]) -> None:
        for grantee in grantees:
            if grantee.kind != "public" and not self._exists(grantee.kind, grantee.name):
                raise WarehouseError(f'{grantee.kind} "{grantee.name}" does not exist')

    def apply(self, rights: Rights) -> None:
        """GRANT or REVOKE."""
        self._check_grantees(rights.grantees)
        if rights.kind == "role":
            self._apply_roles(rights)
        elif rights.kind in ("schema", "database"):
            for item in rights.objects:
                self._apply_to(rights, rights.kind, "", item.name)
        elif rights.kind == "table":
            for item in rights.objects:
                table = require(self._connection, item)
                self._require_owner(table)
                self._apply_to(rights, "table", table.schema, table.name)
        elif rights.kind == "all tables":
            for item in rights.objects:
                for name in self._tables(item.name):
                    self._apply_to(rights, "table", item.name, name)

    def _tables(self, schema: str) -> list[str]:
        self._require_schema_owner(schema)
        rows = self._rows(
            "SELECT table_name FROM tidemill_catalogue.relations_ WHERE schema_name = ?", [schema]
        )
        return [str(row[0]) for row in rows]

    def _require_owner(self, table: Table) -> None:
        if not self._superuser and table.owner != self._user:
            raise WarehouseError(f"permission denied for relation {table.name}")

    def _require_schema_owner(self, schema: str) -> None:
        if not schema_exists(self._connection, schema):
            raise WarehouseError(f'schema "{schema}" does not exist')
        owners = self._rows("SELECT owner FROM tidemill_catalogue.schemas WHERE name = ?", [schema])
        if not self._superuser and (self._user,) not in owners:
            raise WarehouseError(f"permission denied for schema {schema}")

    def require_owner(self, table: Table, privilege: str) -> None:
        """Raise `WarehouseError` unless the user owns a table or has the privilege on it."""
        self.require_table(table, privilege)

    def _apply_to(self, rights: Rights, kind: str, schema: str, name: str) -> None:
        if kind == "schema":
            self._require_schema_owner(name)
        elif kind == "database":
            self.require_superuser("grant rights on a database")
        for privilege in _spelled_out(rights.privileges, kind):
            for grantee in rights.grantees:
                row = [kind, schema, name, privilege, grantee.kind, grantee.name]
                self._rows(
                    "DELETE FROM tidemill_catalogue.grants WHERE kind = ? AND schema_name = ?"
                    " AND object_name = ? AND privilege = ? AND grantee_kind = ? AND grantee = ?",
                    row,
                )
                if rights.grant:
                    self._rows(
                        "INSERT INTO tidemill_catalogue.grants VALUES (?, ?, ?, ?, ?, ?)", row
                    )

    def _apply_roles(self, rights: Rights) -> None:
        self.require_superuser("grant roles")
        for role in rights.objects:
            if not self._exists("role", role.name):
                raise WarehouseError(f'role "{role.name}" does not exist')
            for grantee in rights.grantees:
                row = [role.name, grantee.kind, grantee.name]
                self._rows(
                    "DELETE FROM tidemill_catalogue.members"
                    " WHERE role = ? AND grantee_kind = ? AND grantee = ?",
                    row,
                )
                if rights.grant:
                    self._rows("INSERT INTO tidemill_catalogue.members VALUES (?, ?, ?)", row)

    def set_defaults(self, statement: DefaultRights) -> None:
        """ALTER DEFAULT PRIVILEGES."""
        rights = statement.rights
        if rights is None:
            return
        self._check_grantees(rights.grantees)
        owner = statement.owner or self._user
        if owner != self._user:
            self.require_superuser("alter default privileges of another user")
        for schema in statement.schemas or ("",):
            for privilege in _spelled_out(rights.privileges, "table"):
                for grantee in rights.grantees:
                    row = [owner, schema, privilege, grantee.kind, grantee.name]
                    self._rows(
                        "DELETE FROM tidemill_catalogue.defaults"
                        " WHERE owner = ? AND schema_name = ?"
                        " AND privilege = ? AND grantee_kind = ? AND grantee = ?",
                        row,
                    )
                    if rights.grant:
                        self._rows(
                            "INSERT INTO tidemill_catalogue.defaults VALUES (?, ?, ?, ?, ?)", row
                        )

    def created(self, table: Table) -> None:
        """Give a new table the default rights of its schema and owner."""
        if not table.temporary:
            self._rows(
                "INSERT INTO tidemill_catalogue.grants"
                " SELECT 'table', ?, ?, privilege, grantee_kind,"
                " grantee FROM tidemill_catalogue.defaults"
                " WHERE owner = ? AND schema_name IN ('', ?)",
                [table.schema, table.name, table.owner, table.schema],
            )

    def renamed(self, old: TableName, table: Table) -> None:
        """Carry the rights over to a table's new name."""
        self._rows(
            "UPDATE tidemill_catalogue.grants SET object_name = ?"
            " WHERE kind = 'table' AND schema_name = ? AND object_name = ?",
            [table.name, old.schema, old.name],
        )

    def dropped(self, kind: str, schema: str, name: str) -> None:
        """Forget the rights on what is gone."""
        self._rows(
            "DELETE FROM tidemill_catalogue.grants"
            " WHERE kind = ? AND schema_name = ? AND object_name = ?",
            [kind, schema, name],
        )


def _spelled_out(privileges: Sequence[str], kind: str) -> Sequence[str]:
    known = _ALL[kind]
    if tuple(privileges) == ("ALL",):
        return known
    for privilege in privileges:
        if privilege not in known:
            raise WarehouseError(f"invalid privilege type {privilege} for {kind}")
    return privileges
