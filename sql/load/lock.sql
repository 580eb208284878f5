-- One load at a time. It is the transaction's first statement, so that its snapshot sees every
-- row that the loads before it committed. The load ledger is locked and no model's table, so that
-- nobody who reads rows ever waits for a load.
LOCK tidemill.loaded_files
