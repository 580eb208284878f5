SELECT name, checksum FROM tidemill.migrations
