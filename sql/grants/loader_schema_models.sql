GRANT USAGE ON SCHEMA models TO ROLE tidemill_loader
