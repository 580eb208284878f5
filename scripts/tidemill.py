"""The `tidemill` command. Each command is a few lines here and a module in `commands/`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.console import CommandError, Console
from scripts.commands.target import AWS, LOCAL, PROJECT, STAGE, Target

app = typer.Typer(
    help="Keep ML models fresh from streaming data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class TargetName(StrEnum):
    """Where a command works."""

    local = LOCAL
    aws = AWS


TargetOption = Annotated[
    TargetName, typer.Option("--target", envvar="TIDEMILL_TARGET", help="Where to work.")
]
StageOption = Annotated[
    str, typer.Option("--stage", envvar="TIDEMILL_STAGE", help="The stage that names the stacks.")
]
StateOption = Annotated[
    Path, typer.Option("--state", envvar="TIDEMILL_STATE", help="The local cloud's folder.")
]
ModelsOption = Annotated[
    Path,
    typer.Option("--models-dir", envvar="TIDEMILL_MODELS_DIR", help="The folder of model files."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ModelArgument = Annotated[str, typer.Argument(help="The model's name: its file in models/.")]

HERE = TargetName.local
STATE = PROJECT / ".tidemill"
MODELS = PROJECT / "models"


def _target(name: TargetName, stage: str, state: Path, models: Path) -> Target:
    return Target(name.value, stage, state.resolve(), models.resolve())


@app.command()
def up(
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
    port: Annotated[
        int | None, typer.Option(help="The local cloud's port; a free one by default.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before changing AWS.")] = False,
) -> None:
    """Start the local cloud (or take the AWS account) and deploy every stack."""
    from scripts.commands import deploy

    where = _target(target, stage, state, models)
    deploy.up(where, Console(as_json=as_json), port=port, assume_yes=yes)


@app.command()
def down(
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
    wipe: Annotated[bool, typer.Option("--wipe", help="Forget its state too.")] = False,
) -> None:
    """Stop the local cloud; `up` continues where it was."""
    from scripts.commands import deploy

    deploy.down(_target(target, stage, state, models), Console(as_json=as_json), wipe=wipe)


@app.command()
def status(
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
) -> None:
    """Show the stacks, and for each model its rows, its champion and its last run."""
    from scripts.commands import status as command

    command.status(_target(target, stage, state, models), Console(as_json=as_json))


@app.command()
def doctor(
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
) -> None:
    """Check what a target needs and say how to mend what is missing."""
    from scripts.commands import doctor as command

    command.doctor(_target(target, stage, state, models), Console(as_json=as_json))


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(help="A function's verb_noun, a job's kind, or refresh for the runs.")
    ],
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
    minutes: Annotated[int, typer.Option(min=1, help="How far to look back.")] = 15,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print log lines, oldest first; with --json one document a line."""
    from scripts.commands import logs as command

    where = _target(target, stage, state, models)
    command.logs(where, Console(as_json=as_json), name, minutes, follow=follow)


@app.command()
def stream(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="A CSV with a header line.")],
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at the most.")] = 900,
) -> None:
    """Upload a CSV and follow its rows until the warehouse has counted them."""
    from scripts.commands import stream as command

    console = Console(as_json=as_json)
    result = command.stream(_target(target, stage, state, models), console, model, file, timeout)
    command.show(console, result)
    if result.refused:
        raise CommandError("no row of the file was loaded", "mend the file and stream it again")


@app.command()
def refresh(
    model: ModelArgument,
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
) -> None:
    """Start a run, follow its states and print the gate's decision and reasons."""
    from scripts.commands import refresh as command

    console = Console(as_json=as_json)
    command.show(console, command.refresh(_target(target, stage, state, models), console, model))


@app.command()
def predict(
    model: ModelArgument,
    features: Annotated[str, typer.Argument(help="A JSON object of the features.")],
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
    curl: Annotated[
        bool, typer.Option("--curl", help="Print the signed request instead of sending it.")
    ] = False,
) -> None:
    """Ask the API for a prediction; print it with the version that made it."""
    from scripts.commands import predict as command

    console = Console(as_json=as_json)
    where = _target(target, stage, state, models)
    if curl:
        text = command.curl(where, model, features)
        console.result({"curl": text}, [text])
    else:
        command.show(console, command.predict(where, model, features))


@app.command()
def postman(
    file: Annotated[Path, typer.Argument(help="The collection to write.")] = Path(
        "tidemill.postman_collection.json"
    ),
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
) -> None:
    """Write a Postman collection with one request a model."""
    from scripts.commands import predict as command

    count = command.postman(_target(target, stage, state, models), file)
    text = f"{count} requests in {file}; set its aws_… variables in Postman"
    Console(as_json=as_json).result({"file": str(file), "requests": count}, [text])


def main() -> None:
    """Run the command: exit 0 when it is done, 1 when it failed, 2 when it was used wrongly."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    from local.cloud import CloudError
    from tidemill.errors import TidemillError

    try:
        app()
    except NoCredentialsError:
        sys.stderr.write(
            "error: there are no AWS credentials\n  sign in: aws configure, or aws sso login\n"
        )
        sys.exit(1)
    except (CommandError, TidemillError, CloudError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"error: {error}\n")
        if hint := getattr(error, "hint", ""):
            sys.stderr.write(f"  {hint}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
