"""The local cloud: AWS services that run in one process on a laptop."""
