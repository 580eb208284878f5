"""The tables behind the system views, and the views: what Redshift keeps in pg_catalog.

They live in a schema of the same DuckDB file, so that they change in the same transaction as
what they describe. Clients reach them by Redshift's names only (`VIEWS`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

SCHEMA = "tidemill_catalogue"
DATABASE = "tidemill_file"
"""What DuckDB calls the database: it may not have the name of a schema, as Redshift's may."""

_TABLES = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    "CREATE SCHEMA IF NOT EXISTS public",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.users (name VARCHAR, superuser BOOLEAN)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.roles (name VARCHAR, owner VARCHAR)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.members"
    " (role VARCHAR, grantee_kind VARCHAR, grantee VARCHAR)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.schemas (name VARCHAR, owner VARCHAR)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.grants (kind VARCHAR, schema_name VARCHAR,"
    " object_name VARCHAR, privilege VARCHAR, grantee_kind VARCHAR, grantee VARCHAR)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.defaults (owner VARCHAR, schema_name VARCHAR,"
    " privilege VARCHAR, grantee_kind VARCHAR, grantee VARCHAR)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.load_errors (query_id BIGINT, username VARCHAR,"
    " start_time TIMESTAMP, table_name VARCHAR, file_name VARCHAR, line_number BIGINT,"
    " column_name VARCHAR, column_type VARCHAR, column_length VARCHAR, position INTEGER,"
    " raw_line VARCHAR, raw_field_value VARCHAR, error_code INTEGER, error_message VARCHAR)",
)

_MACROS = (
    "getdate() AS date_trunc('second', CAST(now() AS TIMESTAMP))",
    "sysdate_() AS CAST(now() AS TIMESTAMP)",
    "cut_bytes(t, n) AS CASE WHEN strlen(t) <= n THEN t WHEN strlen(t) = length(t)"
    " THEN left(t, n) ELSE list_max(list_filter(list_transform(range(n + 1),"
    " lambda i: left(t, i)), lambda s: strlen(s) <= n)) END",
    "within_bytes(t, n, kind) AS CASE WHEN strlen(t) <= n OR t IS NULL THEN t ELSE"
    " error('value too long for type ' || kind || '(' || n || ')') END",
    "charindex(a, b) AS strpos(b, a)",
    "sha2(t, n) AS CASE n WHEN 256 THEN sha256(t) ELSE error('sha2: 256 bits only') END",
    "nvl2(a, b, c) AS CASE WHEN a IS NOT NULL THEN b ELSE c END",
    "pg_last_copy_count() AS CAST(coalesce(getvariable('last_copy_count'), 0) AS BIGINT)",
)

_TYPE = (
    "coalesce(json_extract_string(t.comment, '$.columns.\"' || c.column_name || '\".type'),"
    " lower(c.data_type))"
)

_COLUMNS = f"""
SELECT '%DATABASE%' AS database_name, c.schema_name, c.table_name, c.column_name,
    c.column_index AS ordinal_position,
    coalesce(json_extract_string(t.comment, '$.columns."' || c.column_name || '".default'),
        c.column_default) AS column_default,
    CASE WHEN c.is_nullable THEN 'YES' ELSE 'NO' END AS is_nullable,
    split_part({_TYPE}, '(', 1) AS data_type,
    {_TYPE} AS full_type,
    CASE WHEN {_TYPE} LIKE 'character%(%' THEN
        TRY_CAST(regexp_extract({_TYPE}, '\\((\\d+)\\)', 1) AS INTEGER)
    END AS character_maximum_length,
    c.numeric_precision, c.numeric_scale,
    coalesce(json_extract_string(t.comment, '$.columns."' || c.column_name || '".encoding'),
        'none') AS encoding,
    coalesce(json_extract_string(t.comment, '$.columns."' || c.column_name || '".distkey'),
        'false') = 'true' AS distkey,
    coalesce(TRY_CAST(json_extract_string(t.comment,
        '$.columns."' || c.column_name || '".sortkey') AS INTEGER), 0) AS sortkey,
    c.internal AS internal
FROM duckdb_columns() c
LEFT JOIN (
    SELECT schema_name, table_name, comment FROM duckdb_tables() WHERE NOT temporary
    UNION ALL SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT temporary
) t ON t.schema_name = c.schema_name AND t.table_name = c.table_name
WHERE c.database_name = current_database() AND NOT c.internal AND c.schema_name <> '{SCHEMA}'
"""  # noqa: S608 (constants)

_RELATIONS = f"""
SELECT schema_name, table_name, 'TABLE' AS table_type, estimated_size, column_count,
    coalesce(json_extract_string(comment, '$.owner'), 'rdsdb') AS owner,
    table_oid AS oid, comment
FROM duckdb_tables() WHERE database_name = current_database() AND schema_name <> '{SCHEMA}'
    AND NOT internal
UNION ALL
SELECT schema_name, view_name, 'VIEW', 0, column_count,
    coalesce(json_extract_string(comment, '$.owner'), 'rdsdb'), view_oid, comment
FROM duckdb_views() WHERE database_name = current_database() AND schema_name <> '{SCHEMA}'
    AND NOT internal
"""  # noqa: S608 (constants)

# name as clients write it -> query over the tables above; `columns_` and `relations_` are ours
_VIEWS = {
    "columns_": _COLUMNS,
    "relations_": _RELATIONS,
    "svv_columns": "SELECT database_name AS table_catalog, schema_name AS table_schema,"
    " table_name, column_name, ordinal_position, column_default, is_nullable, data_type,"
    " character_maximum_length, numeric_precision, numeric_scale, NULL::VARCHAR AS remarks"
    " FROM {s}.columns_",
    "svv_redshift_columns": "SELECT database_name, schema_name, table_name, column_name,"
    " ordinal_position, full_type AS data_type, column_default, is_nullable, encoding, distkey,"
    " sortkey FROM {s}.columns_",
    "svv_tables": "SELECT '%DATABASE%' AS table_catalog, schema_name AS table_schema, table_name,"
    " CASE table_type WHEN 'TABLE' THEN 'BASE TABLE' ELSE table_type END AS table_type,"
    " NULL::VARCHAR AS remarks FROM {s}.relations_",
    "svv_all_columns": "SELECT * FROM {s}.svv_redshift_columns",
    "svv_all_tables": "SELECT '%DATABASE%' AS database_name, schema_name, table_name, table_type"
    " FROM {s}.relations_",
    "svv_redshift_tables": "SELECT '%DATABASE%' AS database_name, schema_name, table_name,"
    " table_type, owner AS table_owner FROM {s}.relations_",
    "svv_table_info": 'SELECT \'%DATABASE%\' AS "database", schema_name AS "schema",'
    " oid AS table_id, table_name AS \"table\", 'Y' AS encoded,"
    " coalesce(json_extract_string(comment, '$.diststyle'), 'AUTO(EVEN)') AS diststyle,"
    " 'AUTO(SORTKEY)' AS sortkey1, 1 AS size, estimated_size AS tbl_rows,"
    " estimated_size AS estimated_visible_rows, 0 AS unsorted, 0 AS stats_off"
    " FROM {s}.relations_ WHERE table_type = 'TABLE'",
    "svv_redshift_schemas": "SELECT '%DATABASE%' AS database_name, s.schema_name,"
    " coalesce(o.owner, 'rdsdb') AS schema_owner FROM duckdb_schemas() s"
    " LEFT JOIN {s}.schemas o ON o.name = s.schema_name WHERE s.database_name = current_database()"
    " AND s.schema_name NOT IN ('{s}', 'main')",
    "svv_all_schemas": "SELECT *, 'local' AS schema_type FROM {s}.svv_redshift_schemas",
    "pg_namespace": "SELECT schema_name AS nspname, schema_owner AS nspowner"
    " FROM {s}.svv_redshift_schemas",
    "pg_tables": "SELECT schema_name AS schemaname, table_name AS tablename, owner AS tableowner"
    " FROM {s}.relations_ WHERE table_type = 'TABLE'",
    "pg_table_def": "SELECT schema_name AS schemaname, table_name AS tablename,"
    ' column_name AS "column", full_type AS "type", encoding, distkey, sortkey,'
    " is_nullable = 'NO' AS \"notnull\" FROM {s}.columns_",
    "pg_user": "SELECT name AS usename, superuser AS usesuper, superuser AS usecreatedb"
    " FROM {s}.users",
    "pg_user_info": "SELECT * FROM {s}.pg_user",
    "svv_user_info": "SELECT name AS user_name, superuser, superuser AS createdb FROM {s}.users",
    "svv_roles": "SELECT name AS role_name, owner AS role_owner FROM {s}.roles",
    "svv_user_grants": "SELECT grantee AS user_name, role AS role_name FROM {s}.members"
    " WHERE grantee_kind = 'user'",
    "svv_role_grants": "SELECT grantee AS role_name, role AS granted_role_name FROM {s}.members"
    " WHERE grantee_kind = 'role'",
    "svv_relation_privileges": "SELECT schema_name AS namespace_name,"
    " object_name AS relation_name, privilege AS privilege_type,"
    " grantee AS identity_name, grantee_kind AS identity_type"
    " FROM {s}.grants WHERE kind = 'table'",
    "svv_schema_privileges": "SELECT object_name AS namespace_name, privilege AS privilege_type,"
    " grantee AS identity_name, grantee_kind AS identity_type"
    " FROM {s}.grants WHERE kind = 'schema'",
    "sys_load_error_detail": "SELECT username AS user_name, query_id, start_time,"
    " '%DATABASE%' AS database_name, table_name, file_name, line_number, column_name,"
    " column_type, column_length, position, error_code, error_message FROM {s}.load_errors",
    "stl_load_errors": "SELECT query_id AS query, start_time AS starttime, file_name AS filename,"
    " line_number, column_name AS colname, column_type AS type, column_length AS col_length,"
    " position, raw_line, raw_field_value, error_code AS err_code, error_message AS err_reason"
    " FROM {s}.load_errors",
    "columns": "SELECT * FROM {s}.svv_columns",
    "tables": "SELECT * FROM {s}.svv_tables",
    "schemata": "SELECT database_name AS catalog_name, schema_name, schema_owner"
    " FROM {s}.svv_redshift_schemas",
}

_INFORMATION_SCHEMA = frozenset({"columns", "tables", "schemata"})
VIEWS = frozenset(_VIEWS) - _INFORMATION_SCHEMA - {"columns_", "relations_"}


def system_view(schema: str | None, name: str) -> str | None:
    """The view that stands behind a system view's name, in DuckDB's SQL; else None."""
    if schema == "information_schema":
        return f"{SCHEMA}.{name}" if name in _INFORMATION_SCHEMA else None
    if schema in (None, "pg_catalog") and name in VIEWS:
        return f"{SCHEMA}.{name}"
    return None


def prepare(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Make what is missing in a new database; views are replaced by this version's."""
    database = name.replace("'", "''")
    connection.execute("BEGIN")
    for statement in _TABLES:
        connection.execute(statement)
    for macro in _MACROS:
        # Not replaced: a table whose default calls one depends on it.
        connection.execute(f"CREATE MACRO IF NOT EXISTS {SCHEMA}.{macro}")
    for name, query in _VIEWS.items():
        text = query.replace("{s}", SCHEMA).replace("%DATABASE%", database)
        connection.execute(f"CREATE OR REPLACE VIEW {SCHEMA}.{name} AS {text}")
    connection.execute("COMMIT")
