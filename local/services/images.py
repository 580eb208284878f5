"""Images without containers: a folder of files, a Python environment, and how to run them.

They are kept by digest in a cache beside all state folders (`TIDEMILL_CACHE`, by default
`~/.cache/tidemill`), for an image's digest says everything about its content.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


class ImageMissing(Exception):  # noqa: N818 - it names the fact, as FileNotFoundError does not
    """The registry knows a digest whose content is not on this machine (any more)."""


def cache_directory() -> Path:
    """The folder that all local clouds of this user share."""
    chosen = os.environ.get("TIDEMILL_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "tidemill"


@dataclass(frozen=True)
class Image:
    """An image as `build` left it. Paths in it are those of the image, as if it were a container.

    `environment_key` names the Python environment, which images with equal requirements share.
    """

    environment_key: str
    environment: Mapping[str, str]
    working_folder: str
    entrypoint: Sequence[str]
    arguments: Sequence[str]
    manifest: str
    digest: str

    @property
    def root(self) -> Path:
        """The folder that stands for `/`."""
        return image_folder(self.digest) / "root"

    @property
    def programs(self) -> Path:
        """The folder of the environment's programs."""
        return environment_folder(self.environment_key) / "bin"

    @property
    def folder(self) -> Path:
        """The working folder on this machine."""
        return self.root / self.working_folder.lstrip("/")

    def command(self, words: Sequence[str]) -> list[str]:
        """A command of the image as one of this machine."""
        program, *arguments = words
        name = Path(program).name
        if name.startswith("python") and (self.programs / name).exists():
            program = str(self.programs / name)
        elif (self.programs / program).exists():
            program = str(self.programs / program)
        return [self._local(program), *(self._local(word) for word in arguments)]

    def process_environment(self, home: Path) -> dict[str, str]:
        """The variables of a process of the image; `home` is a folder where it may write."""
        found = {
            name: ":".join(self._local(part) for part in value.split(":"))
            for name, value in self.environment.items()
        }
        # A container's interpreter finds its modules compiled; here the first process compiles.
        found.pop("PYTHONDONTWRITEBYTECODE", None)
        path = f"{self.programs}:{found.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
        return {"LANG": "C.UTF-8", "HOME": str(home), **found, "PATH": path}

    def save(self) -> str:
        """As text for `load`."""
        return json.dumps(asdict(self))

    def _local(self, word: str) -> str:
        inside = self.root / word.lstrip("/")
        return str(inside) if word.startswith("/") and word != "/" and inside.exists() else word


def load(digest: str) -> Image:
    """Find an image by its digest (`sha256:…`). Raises `ImageMissing`."""
    try:
        image = Image(**json.loads((image_folder(digest) / "image.json").read_text()))
    except FileNotFoundError:
        image = None
    if image is None or not (image.programs / "python").exists():
        raise ImageMissing(
            f"The content of the image {digest} is not in {cache_directory()}: build it again."
        )
    return image


def image_folder(digest: str) -> Path:
    """Where an image's content is."""
    return cache_directory() / "images" / digest.removeprefix("sha256:")


def environment_folder(key: str) -> Path:
    """Where the Python environment of images with equal requirements is."""
    return cache_directory() / "environments" / key
