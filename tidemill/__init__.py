"""The domain: what Tidemill knows without any cloud library."""
