GRANT USAGE ON SCHEMA tidemill TO ROLE tidemill_loader
