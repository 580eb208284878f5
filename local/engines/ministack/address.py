"""Takes the kept state along when the cloud's address changes, as it does with a new port.

MiniStack finds queues by their URLs, and stacks' outputs, functions' variables and APIs hold the
address too. All of it is text in files, so it is replaced there, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from local.engines.ministack.settings import Settings


def readdress(settings: Settings) -> None:
    """Write the new address over the last one wherever the state holds it."""
    noted = settings.directory / "address"
    last = noted.read_text() if noted.exists() else settings.endpoint_url
    if last != settings.endpoint_url:
        for path in _state_files(settings.directory):
            _replace(path, last.encode(), settings.endpoint_url.encode())
    # Last: what a kill interrupts is done again.
    noted.write_text(settings.endpoint_url)


def _state_files(directory: Path) -> Iterator[Path]:
    for folder in ("state", "services"):
        yield from (directory / folder).rglob("*.json")
    yield from (directory / "journal").glob("*.jsonl")


def _replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    changed = content.replace(old, new)
    if changed != content:
        partial = path.with_name(f"{path.name}.readdressed")
        partial.write_bytes(changed)
        partial.replace(path)
