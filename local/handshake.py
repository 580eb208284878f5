"""The files in the state folder by which the cloud's process and its commands tell each other."""

from __future__ import annotations

READY = "cloud.json"
"""How to reach the cloud: there as long as it runs."""
UNRECOVERED = "unrecovered.json"
"""That nobody has looked yet, since the last start, for what was in flight before it."""
