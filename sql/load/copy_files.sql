-- FILLRECORD: files written before a column was added lack it at the end of each row.
-- EMPTYASNULL: an empty field is an unknown value, in text as in numbers.
COPY staging (row_id, source_id, {columns})
FROM {manifest}
IAM_ROLE {role}
MANIFEST
FORMAT CSV
GZIP
FILLRECORD
EMPTYASNULL
TIMEFORMAT 'auto'
COMPUPDATE OFF
STATUPDATE OFF
