-- The first row of each row_id that the table lacks: redelivered rows are there already, or twice
-- in the staging table itself.
INSERT INTO {table} (row_id, source_id, {columns}, loaded_at)
SELECT row_id, source_id, {columns}, GETDATE()
FROM (
    SELECT
        row_id, source_id, {columns},
        ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY source_id) AS "_occurrence"
    FROM staging
) AS staged
WHERE "_occurrence" = 1
    AND NOT EXISTS (SELECT 1 FROM {table} AS loaded WHERE loaded.row_id = staged.row_id)
