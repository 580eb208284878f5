"""The warehouse's engine: Redshift's SQL, carried out by DuckDB.

`database` is a DuckDB file, `session` one user's connection and transaction. `lexer`, `grammar`,
`ddl` and `types` read what is Redshift's own; `translate` gives queries and DML to sqlglot;
`tables`, `privileges` and `catalogue` keep what DuckDB does not know; `copying`, `load_errors`,
`unloading` and `storage` move rows between tables and S3.
"""
