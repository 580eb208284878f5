"""Builds an image as a container builder would, without one: files by copy, packages by uv.

The digest follows from the content alone (files, requirements, Dockerfile, Python's version), so
equal content is built once for all state folders, and packages are installed once for each lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from local.services.dockerfile import Copy, Dockerfile, DockerfileError, Requirements, parse
from local.services.images import (
    Image,
    ImageMissing,
    cache_directory,
    environment_folder,
    image_folder,
    load,
)

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_LEFT_OUT = frozenset({"__pycache__", ".git"})

Log = Callable[[str], None]
Files = dict[str, Path]
"""Absolute paths of the image, and the files of the build context that they are."""


class BuildError(Exception):
    """The image cannot be built; the message says why."""


def build(context: Path, dockerfile: Path, arguments: Mapping[str, str], log: Log) -> Image:
    """Build the image that `dockerfile` makes of the folder `context`, or find it built.

    Raises `BuildError`.
    """
    try:
        text = dockerfile.read_text()
        recipe = parse(text, arguments)
    except FileNotFoundError:
        raise BuildError(
            f"failed to read dockerfile: open {dockerfile.name}: no such file"
        ) from None
    except DockerfileError as error:
        raise BuildError(str(error)) from None
    files, locks = _collect(recipe, context)
    python, version = _interpreter(recipe, log)
    key = _environment_key(version, locks)
    image = _describe(recipe, files, key, version, hashlib.sha256(text.encode()).hexdigest())
    with _only_one(image.digest):
        try:
            found = load(image.digest)
        except ImageMissing:
            _install(key, python, locks, log)
            _publish(image, files)
            log(f"built {image.digest}")
            return image
        log(f"{image.digest} is built already")
        return found


def _collect(recipe: Dockerfile, context: Path) -> tuple[Files, list[tuple[Requirements, bytes]]]:
    files: Files = {}
    locks = []
    for step in recipe.steps:
        if isinstance(step, Copy):
            for source in step.sources:
                files.update(_copied(step, source, context))
        elif step.path in files:
            locks.append((step, files[step.path].read_bytes()))
        else:
            raise BuildError(f"pip install -r {step.path}: no COPY before it brought that file")
    return files, locks


def _copied(step: Copy, source: str, context: Path) -> Iterator[tuple[str, Path]]:
    found = sorted(context.glob(source.lstrip("/"))) if source not in (".", "./") else [context]
    if not found:
        raise BuildError(f'failed to compute cache key: "/{source}": not found')
    for path in found:
        if not path.resolve().is_relative_to(context.resolve()):
            raise BuildError(f"COPY {source}: outside of the build context")
        if path.is_file():
            target = f"{step.target.rstrip('/')}/{path.name}" if step.is_folder else step.target
            yield target, path
            continue
        for inner in sorted(path.rglob("*")):
            relative = inner.relative_to(path)
            if inner.is_file() and not _LEFT_OUT.intersection(relative.parts):
                yield f"{step.target.rstrip('/')}/{relative.as_posix()}", inner


def _interpreter(recipe: Dockerfile, log: Log) -> tuple[str, str]:
    """The interpreter of the base image's version, or else the cloud's own, and its version."""
    wanted = recipe.python_version
    own = platform.python_version()
    if wanted and not own.startswith(f"{wanted}."):
        found = subprocess.run(
            [uv(), "python", "find", "--no-project", "--no-python-downloads", wanted],
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        )
        path = found.stdout.strip()
        if found.returncode == 0 and path:
            question = "import platform; print(platform.python_version())"
            answer = subprocess.run(
                [path, "-I", "-c", question], capture_output=True, text=True, check=False
            )
            if answer.returncode == 0:
                return path, answer.stdout.strip()
        log(f"there is no Python {wanted} here: the image takes this machine's {own}")
    return sys.executable, own


def _environment_key(version: str, locks: list[tuple[Requirements, bytes]]) -> str:
    digest = hashlib.sha256(f"{version} {sys.platform} {platform.machine()}".encode())
    for step, content in locks:
        digest.update(json.dumps(step.options).encode())
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _describe(recipe: Dockerfile, files: Files, key: str, version: str, recipe_hash: str) -> Image:
    digest = hashlib.sha256()
    size = 0
    for target, path in sorted(files.items()):
        content = path.read_bytes()
        size += len(content)
        runs = os.access(path, os.X_OK)
        digest.update(json.dumps([target, runs, hashlib.sha256(content).hexdigest()]).encode())
    config = json.dumps(
        {
            "os": sys.platform,
            "architecture": platform.machine(),
            "config": {
                "Env": [f"{name}={value}" for name, value in recipe.environment.items()],
                "WorkingDir": recipe.folder,
                "Entrypoint": recipe.entrypoint,
                "Cmd": recipe.arguments,
                "Labels": {"python": version, "dockerfile": recipe_hash},
            },
        },
        sort_keys=True,
    )
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": _CONFIG_TYPE,
                "digest": f"sha256:{hashlib.sha256(config.encode()).hexdigest()}",
                "size": len(config),
            },
            "layers": [
                {"mediaType": _LAYER_TYPE, "digest": f"sha256:{key}", "size": 0},
                {"mediaType": _LAYER_TYPE, "digest": f"sha256:{digest.hexdigest()}", "size": size},
            ],
        }
    )
    return Image(
        environment_key=key,
        environment=recipe.environment,
        working_folder=recipe.folder,
        entrypoint=recipe.entrypoint,
        arguments=recipe.arguments,
        manifest=manifest,
        digest=f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}",
    )


def _install(key: str, python: str, locks: list[tuple[Requirements, bytes]], log: Log) -> None:
    with _only_one(key):
        target = environment_folder(key)
        if (target / "bin" / "python").exists():
            log("the same requirements are installed already")
            return
        shutil.rmtree(target, ignore_errors=True)
        draft = target.with_name(f".{uuid4().hex}")
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            _run_uv(["venv", "--quiet", "--relocatable"], ["--python", python, str(draft)], log)
            for step, content in locks:
                lock = draft / "requirements.txt"
                lock.write_bytes(content)
                interpreter = str(draft / "bin" / "python")
                _run_uv(
                    ["pip", "install", "--python", interpreter, "--require-hashes"],
                    [*step.options, "--requirement", str(lock)],
                    log,
                )
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _publish(image: Image, files: Files) -> None:
    target = image_folder(image.digest)
    shutil.rmtree(target, ignore_errors=True)
    draft = target.with_name(f".{uuid4().hex}")
    try:
        for name, path in files.items():
            place = draft / "root" / name.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        (draft / "root" / image.working_folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        (draft / "image.json").write_text(image.save())
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def uv() -> str:
    """The path of uv: that of the cloud's own environment, or else the system's."""
    own = Path(sys.executable).with_name("uv")
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise BuildError("uv, which installs an image's packages, is not on this machine")
    return found


def _run_uv(command: list[str], arguments: list[str], log: Log) -> None:
    with subprocess.Popen(
        [uv(), *command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    ) as process:
        last = ""
        try:
            for line in process.stdout or ():
                last = line.strip() or last
                log(line.rstrip())
        except BaseException:  # the build was stopped: `log` says so
            process.kill()
            raise
    if process.returncode:
        raise BuildError(f"uv {command[0]} failed with exit code {process.returncode}: {last}")


def _environment() -> dict[str, str]:
    """The process's variables, without those that point at the local cloud."""
    cloud = {name for name in os.environ if name.startswith("AWS_")}
    cloud |= {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    authority = os.environ.get("AWS_CA_BUNDLE")
    if authority and "AWS_ENDPOINT_URL" in os.environ:
        # The local cloud's own certificate authority says nothing about package registries.
        cloud |= {
            n for n in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if os.environ.get(n) == authority
        }
    return {name: value for name, value in os.environ.items() if name not in cloud}


@contextmanager
def _only_one(key: str) -> Iterator[None]:
    """Exclude others, in this process or another, from making the same thing."""
    folder = cache_directory() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / key.removeprefix("sha256:")).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
