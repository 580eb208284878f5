LOCK tidemill.migrations
