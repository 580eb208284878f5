"""The pages say what the code does: every command, option and package, and every link."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from scripts import document
from scripts.tidemill import app

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
README = (PROJECT / "README.md").read_text()


def test_the_commands_page_is_what_the_code_makes() -> None:
    assert (PROJECT / "docs" / "commands.md").read_text() == document.commands()


def test_the_local_clouds_page_lists_what_the_code_carries() -> None:
    assert (PROJECT / "docs" / "local-cloud.md").read_text() == document.local_cloud()


def test_every_variable_that_the_local_cloud_reads_is_documented() -> None:
    page = (PROJECT / "docs" / "local-cloud.md").read_text()
    for file in (PROJECT / "local").rglob("*.py"):
        for name in re.findall(r"TIDEMILL_[A-Z_]+", file.read_text()):
            assert f"`{name}`" in page or name == "TIDEMILL_BIND_HOST", f"{name} in {file.name}"


def test_the_readme_opens_with_what_it_does_the_two_commands_and_the_picture() -> None:
    head = README.split("## What you will see")[0]
    assert "make demo" in head
    assert "make test" in head
    assert "warehouse (Redshift)" in head


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_tidemill_command_of_a_page_parses(page: Path) -> None:
    group = typer.main.get_command(app)
    lines = re.findall(r"^\s*(?:\$ )?(tidemill [a-z].*)$", page.read_text(), re.MULTILINE)
    for line in lines:
        words = shlex.split(line.replace("<name>", "iris"), comments=True)[1:]
        command = group.commands.get(words[0])  # type: ignore[attr-defined]  # it is a group
        assert command is not None, f"{page.name} shows an unknown command: {line}"
        command.make_context(words[0], words[1:])


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for target in re.findall(r"^\s*make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize(
    "requirements",
    [
        "requirements/app.in",
        "requirements/lambda.in",
        "requirements/dev.in",
        "requirements/bench.in",
        "containers/requirements.in",
    ],
)
def test_every_package_has_its_reason(requirements: str) -> None:
    reasons = (PROJECT / "docs" / "dependencies.md").read_text()
    for line in (PROJECT / requirements).read_text().splitlines():
        name = re.match(r"[A-Za-z0-9-]+", line)
        if name and not line.startswith(("#", "-r")):
            assert name.group() in reasons, f"docs/dependencies.md does not tell why {name.group()}"


def test_no_lock_names_a_registry_host() -> None:
    for lock in [
        "requirements/app.txt",
        "requirements/dev.txt",
        "requirements/bench.txt",
        "requirements/lambda.txt",
        "containers/requirements.txt",
        "package-lock.json",
    ]:
        assert "://" not in (PROJECT / lock).read_text(), lock
