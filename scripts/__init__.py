"""The `tidemill` command, and the scripts that build and measure."""
