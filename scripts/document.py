"""Writes the pages of docs/ that are made from the code: `python -m scripts.document`.

A test compares them with the files, so that no command, option or service goes undocumented.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import botocore.loaders
import typer.main
from botocore import xform_name

from scripts.commands.target import PROJECT
from scripts.tidemill import app

DOCS = PROJECT / "docs"


def commands() -> str:
    """The page of the `tidemill` command."""
    group: Any = typer.main.get_command(app)
    parts = [
        "# The `tidemill` command",
        "Made from the code by `python -m scripts.document`.",
        "Exit status: 0 done, 1 failed, 2 wrong usage. What people read goes to stderr, results to "
        "stdout; with `--json` stdout is one JSON document.",
    ]
    for name, command in group.commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join([f"tidemill {name}", *(p.name.upper() for p in arguments)])
        parts += [f"## {usage}", inspect.cleandoc(command.help or "")]
        rows = ["| option | meaning | default |", "|---|---|---|"]
        rows += [
            f"| `{option.opts[-1]}` | {option.help} | {_default(option)} |"
            for option in command.params
            if option.param_type_name == "option" and option.name != "help"
        ]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _default(option: Any) -> str:
    value = option.default
    if value is None or value is False:
        return ""
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT)}`"
    return f"`{value}`"


def services() -> str:
    """The table of the services of ours: what each carries out and provides."""
    from local.services.catalogue import SERVICES

    loader = botocore.loaders.Loader()
    rows = ["| service | operations | CloudFormation types |", "|---|---|---|"]
    for service in SERVICES:
        names = loader.load_service_model(service.model, "service-2")["operations"]
        carried = ", ".join(sorted(name for name in names if hasattr(service, xform_name(name))))
        # The types do not depend on the host, which only an engine could offer.
        provided = service.resource_types(service.__new__(service))
        types = ", ".join(sorted(f"`{type_.type_name}`" for type_ in provided))
        rows.append(f"| {service.model} | {carried} | {types} |")
    return "\n".join(rows)


def local_cloud() -> str:
    """The page of the local cloud, with the table of services as the code has it."""
    page = (DOCS / "local-cloud.md").read_text()
    head, begin, rest = page.partition("<!-- services: made by `python -m scripts.document` -->\n")
    _, end, tail = rest.partition("<!-- end of services -->")
    return f"{head}{begin}\n{services()}\n\n{end}{tail}"


def main() -> None:
    """Write the pages."""
    (DOCS / "commands.md").write_text(commands())
    (DOCS / "local-cloud.md").write_text(local_cloud())


if __name__ == "__main__":
    main()
