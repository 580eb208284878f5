"""The statements that are Redshift's own: on users and rights, LOCK, and those of `transfers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.lexer import Cursor
from local.services.warehouse.names import TableName, table_name
from local.services.warehouse.transfers import Copy, Unload, parse_copy, parse_unload


@dataclass(frozen=True)
class Grantee:
    """Whom a right is for. PUBLIC has an empty name."""

    kind: Literal["user", "role", "public"]
    name: str


@dataclass(frozen=True)
class Lock:
    """LOCK tables until the transaction ends."""

    tables: tuple[TableName, ...]


@dataclass(frozen=True)
class CreatePrincipal:
    """CREATE USER or CREATE ROLE."""

    kind: Literal["user", "role"]
    name: str
    superuser: bool = False


@dataclass(frozen=True)
class DropPrincipal:
    """DROP USER or DROP ROLE."""

    kind: Literal["user", "role"]
    name: str
    if_exists: bool = False
    force: bool = False


@dataclass(frozen=True)
class Rights:
    """GRANT or REVOKE of privileges on objects; ALL is spelled out by whoever applies it."""

    grant: bool
    privileges: tuple[str, ...]
    kind: Literal["table", "schema", "database", "all tables", "role", "nothing"]
    objects: tuple[TableName, ...]
    grantees: tuple[Grantee, ...]


@dataclass(frozen=True)
class DefaultRights:
    """ALTER DEFAULT PRIVILEGES: rights on the tables that a user will make in a schema."""

    owner: str | None
    schemas: tuple[str, ...] = field(default_factory=tuple)
    rights: Rights | None = None


Statement = Copy | Unload | Lock | CreatePrincipal | DropPrincipal | Rights | DefaultRights


def parse(cursor: Cursor) -> Statement:
    """Parse one statement of this grammar. Raises `WarehouseError` with Redshift's text."""
    if cursor.skip("COPY"):
        return parse_copy(cursor)
    if cursor.skip("UNLOAD"):
        return parse_unload(cursor)
    if cursor.skip("LOCK"):
        return _lock(cursor)
    if cursor.skip("GRANT"):
        return _rights(cursor, grant=True)
    if cursor.skip("REVOKE"):
        return _rights(cursor, grant=False)
    if cursor.skip("ALTER", "DEFAULT", "PRIVILEGES"):
        return _default_rights(cursor)
    if cursor.at("CREATE"):
        return _create_principal(cursor)
    return _drop_principal(cursor)


def _lock(cursor: Cursor) -> Lock:
    cursor.skip("TABLE")
    tables = [table_name(cursor)]
    while cursor.skip(","):
        tables.append(table_name(cursor))
    cursor.end()
    return Lock(tuple(tables))


def _rights(cursor: Cursor, *, grant: bool) -> Rights:
    if cursor.at("ROLE"):
        cursor.take()
        roles = [cursor.exact_name().lower()]
        while cursor.skip(","):
            cursor.skip("ROLE")
            roles.append(cursor.exact_name().lower())
        names = tuple(TableName(None, role) for role in roles)
        return Rights(grant, ("MEMBER",), "role", names, _grantees(cursor, grant=grant))
    privileges = _privileges(cursor)
    cursor.expect("ON")
    if cursor.next.kind == "string" or cursor.at("ALL", "TO"):
        return _assume_role(cursor)
    kind, objects = _objects(cursor)
    return Rights(grant, privileges, kind, objects, _grantees(cursor, grant=grant))


def _privileges(cursor: Cursor) -> tuple[str, ...]:
    if cursor.skip("ALL"):
        cursor.skip("PRIVILEGES")
        return ("ALL",)
    found = [cursor.name().upper()]
    while cursor.skip(","):
        found.append(cursor.name().upper())
    return tuple(found)


def _objects(
    cursor: Cursor,
) -> tuple[Literal["table", "schema", "database", "all tables"], tuple[TableName, ...]]:
    if cursor.skip("SCHEMA"):
        return "schema", tuple(TableName(None, name) for name in cursor.names())
    if cursor.skip("DATABASE"):
        return "database", tuple(TableName(None, name) for name in cursor.names())
    if cursor.skip("ALL", "TABLES", "IN", "SCHEMA"):
        return "all tables", tuple(TableName(None, name) for name in cursor.names())
    cursor.skip("TABLE")
    tables = [table_name(cursor)]
    while cursor.skip(","):
        tables.append(table_name(cursor))
    return "table", tuple(tables)


def _assume_role(cursor: Cursor) -> Rights:
    """ASSUMEROLE rights: everyone has them unless an administrator takes them from PUBLIC."""
    while not (cursor.at(";") or cursor.next.kind == "end"):
        cursor.take()
    cursor.end()
    return Rights(True, (), "nothing", (), ())


def _grantees(cursor: Cursor, *, grant: bool) -> tuple[Grantee, ...]:
    cursor.expect("TO" if grant else "FROM")
    found: list[Grantee] = []
    while True:
        if cursor.skip("ROLE"):
            found.append(Grantee("role", cursor.exact_name().lower()))
        elif cursor.skip("PUBLIC"):
            found.append(Grantee("public", ""))
        elif cursor.at("GROUP"):
            raise WarehouseError("groups are not carried by the local warehouse: use roles")
        else:
            found.append(Grantee("user", cursor.exact_name()))
        cursor.skip("WITH", "GRANT", "OPTION")
        if not cursor.skip(","):
            break
    if not grant:
        _ = cursor.skip("CASCADE") or cursor.skip("RESTRICT")
    cursor.end()
    return tuple(found)


def _default_rights(cursor: Cursor) -> DefaultRights:
    owner = None
    if cursor.skip("FOR", "USER"):
        owner = cursor.exact_name()
    schemas: list[str] = []
    if cursor.skip("IN", "SCHEMA"):
        schemas = cursor.names()
    grant = cursor.skip("GRANT")
    if not grant:
        cursor.expect("REVOKE")
    privileges = _privileges(cursor)
    cursor.expect("ON", "TABLES")
    rights = Rights(grant, privileges, "table", (), _grantees(cursor, grant=grant))
    return DefaultRights(owner, tuple(schemas), rights)


def _create_principal(cursor: Cursor) -> CreatePrincipal:
    cursor.expect("CREATE")
    if cursor.skip("ROLE"):
        name = cursor.exact_name().lower()
        if cursor.skip("EXTERNALID"):
            cursor.string()
        cursor.end()
        return CreatePrincipal("role", name)
    cursor.expect("USER")
    name = cursor.exact_name()
    cursor.skip("WITH")
    cursor.expect("PASSWORD")
    if not cursor.skip("DISABLE"):
        cursor.string()
    superuser = False
    while not (cursor.at(";") or cursor.next.kind == "end"):
        word = cursor.name().upper()
        if word == "CREATEUSER":
            superuser = True
        elif word not in ("CREATEDB", "NOCREATEDB", "NOCREATEUSER"):
            raise WarehouseError(f'syntax error at or near "{word}"')
    cursor.end()
    return CreatePrincipal("user", name, superuser)


def _drop_principal(cursor: Cursor) -> DropPrincipal:
    cursor.expect("DROP")
    if cursor.skip("ROLE"):
        name = cursor.exact_name().lower()
        force = cursor.skip("FORCE")
        cursor.skip("RESTRICT")
        cursor.end()
        return DropPrincipal("role", name, force=force)
    cursor.expect("USER")
    if_exists = cursor.skip("IF", "EXISTS")
    name = cursor.exact_name()
    cursor.end()
    return DropPrincipal("user", name, if_exists)
