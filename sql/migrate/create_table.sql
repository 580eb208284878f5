CREATE TABLE {table} (
    row_id VARCHAR(16) NOT NULL,
    source_id VARCHAR(16) NOT NULL,
    {definitions},
    loaded_at TIMESTAMP NOT NULL
) DISTKEY (row_id)
