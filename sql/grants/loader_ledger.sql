-- LOCK asks for more than INSERT: it takes the table from everyone else.
GRANT SELECT, INSERT, UPDATE ON tidemill.loaded_files TO ROLE tidemill_loader
