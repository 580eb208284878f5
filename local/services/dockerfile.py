"""The Dockerfile as far as the local cloud can follow it: no layer is run, an image is a folder.

https://docs.docker.com/reference/dockerfile/ describes the format. An instruction whose effect
cannot be had without a container is an error, so that an image is never half of what it says.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

_NO_EFFECT = frozenset({"LABEL", "EXPOSE", "STOPSIGNAL", "USER", "MAINTAINER"})
_PIP_FLAGS = frozenset(
    {
        "--no-cache-dir",
        "--no-compile",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-input",
        "--quiet",
        "-q",
        "--prefer-binary",
    }
)


class DockerfileError(Exception):
    """A Dockerfile that is wrong or asks for what only a container can do."""


@dataclass(frozen=True)
class Copy:
    """Files of the build context (`sources`) that go to `target`, an absolute path."""

    sources: tuple[str, ...]
    target: str
    is_folder: bool


@dataclass(frozen=True)
class Requirements:
    """A hashed requirements file, at an absolute path of the image, to be installed."""

    path: str
    options: tuple[str, ...]


@dataclass
class Dockerfile:
    """What a Dockerfile says."""

    base: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    steps: list[Copy | Requirements] = field(default_factory=list)

    @property
    def python_version(self) -> str | None:
        """The Python of the base image, `3.12` for `python:3.12-slim`."""
        name = self.base.partition("@")[0].rpartition("/")[2]
        found = re.match(r"python:(\d+\.\d+)", name)
        return found[1] if found else None


def parse(text: str, build_arguments: Mapping[str, str]) -> Dockerfile:
    """Read a Dockerfile. Raises `DockerfileError` with the line that cannot be followed."""
    image = Dockerfile()
    variables: dict[str, str] = {}
    for number, line in _logical_lines(text):
        word, _, rest = line.partition(" ")
        try:
            _apply(image, word.upper(), rest.strip(), variables, build_arguments)
        except (DockerfileError, ValueError) as error:
            raise DockerfileError(f"Dockerfile line {number}: {line!r}: {error}") from None
    if not image.base:
        raise DockerfileError("Dockerfile: there is no FROM")
    if not image.python_version:
        raise DockerfileError(
            f"Dockerfile: FROM {image.base}: only Python's own images (python:3.12-slim and "
            "their like) can be built without a container"
        )
    return image


def _logical_lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#") or (not line and not pending):
            continue
        start = start if pending else number
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        lines.append((start, (pending + line).strip()))
        pending = ""
    if pending:
        lines.append((start, pending.strip()))
    return lines


def _apply(
    image: Dockerfile,
    word: str,
    rest: str,
    variables: dict[str, str],
    build_arguments: Mapping[str, str],
) -> None:
    known = {**variables, **image.environment}
    if word == "FROM":
        _from(image, _expand(rest, known))
    elif word == "ARG":
        name, _, default = rest.partition("=")
        value = build_arguments.get(name.strip(), default.strip().strip("\"'"))
        variables[name.strip()] = _expand(value, known)
    elif word == "ENV":
        image.environment.update(_pairs(_expand(rest, known)))
    elif word == "WORKDIR":
        image.folder = _absolute(_expand(rest, known), image.folder)
    elif word == "COPY":
        image.steps.append(_copy(_expand(rest, known), image.folder))
    elif word == "RUN":
        image.steps.append(_run(_expand(rest, known), image.folder))
    elif word == "ENTRYPOINT":
        image.entrypoint = _command(rest)
    elif word == "CMD":
        image.arguments = _command(rest)
    elif word not in _NO_EFFECT:
        raise DockerfileError(f"the local cloud cannot follow {word} without a container")


def _from(image: Dockerfile, rest: str) -> None:
    words = [word for word in rest.split() if not word.startswith("--")]
    if image.base:
        raise DockerfileError("an image of several stages cannot be built without a container")
    if len(words) not in (1, 3):
        raise DockerfileError("FROM takes one image")
    image.base = words[0]


def _copy(rest: str, folder: str) -> Copy:
    words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
    if any(word.startswith("--from") for word in words):
        raise DockerfileError("COPY --from needs a container")
    words = [word for word in words if not word.startswith("--")]
    if len(words) < 2:
        raise DockerfileError("COPY takes sources and a target")
    *sources, target = words
    is_folder = target in (".", "..") or target.endswith(("/", "/.")) or len(sources) > 1
    return Copy(tuple(sources), _absolute(target, folder), is_folder)


def _run(rest: str, folder: str) -> Requirements:
    words = shlex.split(rest)
    if any(word in ("&&", "||", ";", "|") or word.endswith(";") for word in words):
        raise DockerfileError("one RUN takes one `pip install` here")
    if words[:3] == ["python", "-m", "pip"]:
        words = words[2:]
    if len(words) < 2 or words[0] not in ("pip", "pip3") or words[1] != "install":
        raise DockerfileError(
            "the only RUN that is possible without a container is "
            "`pip install --require-hashes -r FILE`"
        )
    path, options, hashed = "", [], False
    rest_of = iter(words[2:])
    for option in rest_of:
        if option in ("-r", "--requirement"):
            path = next(rest_of, "")
        elif option == "--require-hashes":
            hashed = True
        elif option == "--no-deps":
            options.append(option)
        elif option.startswith("--only-binary"):
            options.extend(["--only-binary", option.partition("=")[2] or next(rest_of, ":all:")])
        elif option not in _PIP_FLAGS:
            raise DockerfileError(f"pip's {option} cannot be followed here")
    if not path or not hashed:
        raise DockerfileError("pip install needs --require-hashes and -r FILE")
    return Requirements(_absolute(path, folder), tuple(options))


def _command(rest: str) -> tuple[str, ...]:
    if not rest.startswith("["):
        raise DockerfileError('write the command as a list: ["program", "argument"]')
    return tuple(str(word) for word in json.loads(rest))


def _pairs(rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if words and "=" not in words[0]:
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _expand(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return variables.get(name, found[3] or "")

    return re.sub(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})", value, text)


def _absolute(path: str, folder: str) -> str:
    whole = path if path.startswith("/") else f"{folder.rstrip('/')}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
