"""The statements that are Redshift's own: COPY, UNLOAD, LOCK, and those on users and rights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.lexer import Cursor


@dataclass(frozen=True)
class TableName:
    """A table as it is written; `schema` is None where the search path decides."""

    schema: str | None
    name: str


@dataclass(frozen=True)
class Grantee:
    """Whom a right is for. PUBLIC has an empty name."""

    kind: Literal["user", "role", "public"]
    name: str


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
        return _copy(cursor)
    if cursor.skip("UNLOAD"):
        return _unload(cursor)
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


def table_name(cursor: Cursor) -> TableName:
    """A table's name with an optional schema (and the database before it, which is dropped)."""
    parts = [cursor.name()]
    while cursor.skip("."):
        parts.append(cursor.name())
    if len(parts) > 3:
        raise WarehouseError(f"improper qualified name: {'.'.join(parts)}")
    return TableName(parts[-2] if len(parts) > 1 else None, parts[-1])


def _copy(cursor: Cursor) -> Copy:
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


def _unload(cursor: Cursor) -> Unload:
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


def _grantees(cursor: Cursor, *, grant: bool, end: bool = True) -> tuple[Grantee, ...]:
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
    if end:
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
