"""What the `tidemill` command does, one module a command."""
