INSERT INTO tidemill.migrations (name, checksum, applied_at)
VALUES ({name}, {checksum}, GETDATE())
