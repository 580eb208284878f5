-- Redshift takes this one outside a transaction only.
ALTER TABLE {table} ALTER COLUMN {column} TYPE {type}
