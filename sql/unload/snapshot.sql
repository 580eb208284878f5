-- Rows without a target can teach nothing. Ordered, so that equal rows make equal snapshots.
SELECT row_id, {columns}
FROM {table}
WHERE {target} IS NOT NULL
ORDER BY row_id
