"""The `tidemill` command. Each command is a few lines here and a module in `commands/`."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

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


def _shared(
    target: TargetOption = HERE,
    stage: StageOption = STAGE,
    state: StateOption = STATE,
    models: ModelsOption = MODELS,
    as_json: JsonOption = False,
) -> tuple[Target, Console]:
    """Turn the options that every command takes into where it works and how it speaks."""
    place = Target(target.value, stage, state.resolve(), models.resolve())
    return place, Console(as_json=as_json)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Add a command: `function`'s first two parameters come of the options that all share."""
    shared = inspect.signature(_shared, eval_str=True).parameters
    own = list(inspect.signature(function, eval_str=True).parameters.values())[2:]

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        common = {name: arguments.pop(name) for name in shared}
        function(*_shared(**common), **arguments)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in [*own, *shared.values()]
    ]
    # Typer reads both to learn what a command takes.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # no stub has it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return app.command()(run)


@command
def up(
    place: Target,
    console: Console,
    port: Annotated[
        int | None, typer.Option(help="The local cloud's port; a free one by default.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before changing AWS.")] = False,
) -> None:
    """Start the local cloud (or take the AWS account) and deploy every stack."""
    from scripts.commands import deploy

    deploy.up(place, console, port=port, assume_yes=yes)


@command
def down(
    place: Target,
    console: Console,
    wipe: Annotated[bool, typer.Option("--wipe", help="Forget its state too.")] = False,
) -> None:
    """Stop the local cloud; `up` continues where it was."""
    from scripts.commands import deploy

    deploy.down(place, console, wipe=wipe)


@command
def status(place: Target, console: Console) -> None:
    """Show the stacks, and for each model its rows, its champion and its last run."""
    from scripts.commands import status as work

    work.status(place, console)


@command
def doctor(place: Target, console: Console) -> None:
    """Check what a target needs and say how to mend what is missing."""
    from scripts.commands import doctor as work

    work.doctor(place, console)


@command
def logs(
    place: Target,
    console: Console,
    name: Annotated[
        str, typer.Argument(help="A function's verb_noun, a job's kind, or refresh for the runs.")
    ],
    minutes: Annotated[int, typer.Option(min=1, help="How far to look back.")] = 15,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print log lines, oldest first; with --json one document a line."""
    from scripts.commands import logs as work

    work.logs(place, console, name, minutes, follow=follow)


@command
def stream(
    place: Target,
    console: Console,
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="A CSV with a header line.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at the most.")] = 900,
) -> None:
    """Upload a CSV and follow its rows until the warehouse has counted them."""
    from scripts.commands import stream as work

    result = work.stream(place, console, model, file, timeout)
    work.show(console, result)
    if result.refused:
        raise CommandError("no row of the file was loaded", "mend the file and stream it again")


@command
def refresh(place: Target, console: Console, model: ModelArgument) -> None:
    """Start a run, follow its states and print the gate's decision and reasons."""
    from scripts.commands import refresh as work

    work.show(console, work.refresh(place, console, model))


@command
def predict(
    place: Target,
    console: Console,
    model: ModelArgument,
    features: Annotated[str, typer.Argument(help="A JSON object of the features.")],
    curl: Annotated[
        bool, typer.Option("--curl", help="Print the signed request instead of sending it.")
    ] = False,
) -> None:
    """Ask the API for a prediction; print it with the version that made it."""
    from scripts.commands import predict as work

    if curl:
        text = work.curl(place, model, features)
        console.result({"curl": text}, [text])
    else:
        work.show(console, work.predict(place, model, features))


@command
def postman(
    place: Target,
    console: Console,
    file: Annotated[Path, typer.Argument(help="The collection to write.")] = Path(
        "tidemill.postman_collection.json"
    ),
) -> None:
    """Write a Postman collection with one request a model."""
    from scripts.commands import predict as work

    count = work.postman(place, file)
    text = f"{count} requests in {file}; set its aws_… variables in Postman"
    console.result({"file": str(file), "requests": count}, [text])


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
