CREATE TABLE IF NOT EXISTS tidemill.migrations (
    name VARCHAR(128) NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    applied_at TIMESTAMP NOT NULL
)
