"""Builds what a deployment carries: the Lambda functions' code and the image's build context.

Both are plain copies, made anew at each synth and equal byte for byte when their sources are,
so that the CDK's asset hashes change with the code alone. The functions' third-party packages are
installed once for each lock file, by `make setup`, so that synth needs no network:

    python -m scripts.build_assets --dependencies
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / ".build"
LOCK = ROOT / "requirements" / "lambda.txt"
# The runtime brings these; a second copy would cost 25 MB and disagree with it.
RUNTIME_PACKAGES = (
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "dateutil",
    "six",
    "urllib3",
)
NEVER_COPIED = ("__pycache__", "*.pyc", ".*", "*.dist-info")


@dataclass(frozen=True)
class Assets:
    """The folders that the stacks deploy."""

    functions: Path
    """Code of every Lambda function: lambdas/, tidemill/, models/, sql/ and their packages."""
    image: Path
    """Build context of the container image: containers/, tidemill/."""


def build(models: Path = ROOT / "models", target: Path = BUILD) -> Assets:
    """Copy the sources into `target`; `models` is the folder of the model files.

    Raises FileNotFoundError when the functions' packages are not installed yet.
    """
    packages = _dependencies_folder()
    if not packages.is_dir():
        raise FileNotFoundError(
            "The Lambda functions' packages are not installed: run `make setup` first."
        )
    functions = _fresh(target / "lambda")
    for package in sorted(packages.iterdir()):
        _copy(package, functions / package.name)
    for room in ("lambdas", "tidemill", "sql"):
        _copy(ROOT / room, functions / room)
    _copy_files(sorted(models.glob("*.toml")), functions / "models")
    image = _fresh(target / "image")
    for room in ("containers", "tidemill"):
        _copy(ROOT / room, image / room)
    return Assets(functions=functions, image=image)


def install_dependencies() -> Path:
    """Install the functions' locked packages, unless this lock's are there; return their folder.

    Nothing compiled stays, so that one asset runs on any interpreter and processor.
    """
    folder = _dependencies_folder()
    if folder.is_dir():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(
        [
            _uv(),
            *("pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"),
            *("--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_28"),
            *("--no-compile-bytecode", "--target", str(partial), "-r", str(LOCK)),
        ],
        check=True,
    )
    _strip(partial)
    for stale in folder.parent.glob("lambda-packages-*"):
        if stale != partial:
            shutil.rmtree(stale)
    partial.rename(folder)
    return folder


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def _dependencies_folder() -> Path:
    return BUILD / f"lambda-packages-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"


def _strip(folder: Path) -> None:
    """Take away what the runtime has, what was compiled, and what only installers read."""
    for name in (*RUNTIME_PACKAGES, "bin", "wrapt-stubs"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / f"{name}.py").unlink(missing_ok=True)
    # wrapt is the one package with an extension; it falls back to its own Python.
    for pattern in ("*.so", "*.pyi", "*.pth", ".lock"):
        for path in list(folder.rglob(pattern)):
            path.unlink()
    for pattern in ("*.dist-info", "__pycache__"):
        for path in list(folder.rglob(pattern)):
            shutil.rmtree(path)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copyfile(source, target)
    else:
        shutil.copytree(
            source,
            target,
            ignore=shutil.ignore_patterns(*NEVER_COPIED),
            copy_function=shutil.copyfile,
        )


def _copy_files(files: Iterable[Path], target: Path) -> None:
    target.mkdir()
    for file in files:
        shutil.copyfile(file, target / file.name)


def main() -> None:
    """Install the functions' packages, and build the assets unless told not to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--dependencies", action="store_true", help="install the packages and stop there"
    )
    arguments = parser.parse_args()
    install_dependencies()
    if not arguments.dependencies:
        build()


if __name__ == "__main__":
    main()
