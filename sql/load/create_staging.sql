CREATE TEMP TABLE staging (
    row_id VARCHAR(16),
    source_id VARCHAR(16),
    {definitions}
) DISTKEY (row_id)
