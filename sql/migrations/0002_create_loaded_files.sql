-- The load ledger: a file is listed once. `load_id` names the transaction that brought it, and
-- `rows` counts the rows of all files of that transaction, those already loaded included.
CREATE TABLE IF NOT EXISTS tidemill.loaded_files (
    file VARCHAR(2048) NOT NULL,
    model VARCHAR(64) NOT NULL,
    load_id VARCHAR(64) NOT NULL,
    "rows" BIGINT NOT NULL,
    loaded_at TIMESTAMP NOT NULL
)
