GRANT TEMP ON DATABASE {database} TO ROLE tidemill_loader
