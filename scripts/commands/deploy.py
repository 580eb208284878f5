"""`up` and `down`: the local cloud's life, and the deployment by the CDK's own command."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from pathlib import Path

from scripts.commands.console import CommandError, Console, Stopwatch
from scripts.commands.image import repair
from scripts.commands.target import AWS, LOCAL, PROJECT, STACKS, Target


def up(target: Target, console: Console, *, port: int | None, assume_yes: bool) -> None:
    """Start the local cloud where it is wanted, and deploy every stack."""
    watch = Stopwatch()
    if target.name == AWS:
        _confirm(target, console, assume_yes)
    # Templates need no cloud: they are made while there is one in the making.
    synth_arguments = ["synth", "--quiet", "--output", str(_assembly(target))]
    with _Cdk(synth_arguments, target.synth_environment) as synth:
        if target.name == LOCAL:
            _start(target, console, port)
        started = watch.seconds
        _bootstrap(target, console)
        deploying = Stopwatch()
        synth.finish(target, console, "synthesizing")
    deploy = ["deploy", "--app", str(_assembly(target)), "--all", "--concurrency", "4"]
    deploy += ["--require-approval", "never", "--progress", "events"]
    _cdk(target, console, "deploying", deploy)
    if target.name == LOCAL:
        repair(target, console)
        _recover(target, console)
    outputs = target.outputs
    console.result(
        {
            "target": target.name,
            "stage": target.stage,
            "seconds": {
                "start": round(started, 2),
                "deploy": round(deploying.seconds, 2),
                "all": round(watch.seconds, 2),
            },
            "outputs": outputs,
        },
        [
            f"up in {watch.seconds:.1f} s (deployed in {deploying.seconds:.1f} s)",
            f"input bucket  {outputs['InputBucket']}",
            f"predictions   {target.api_url}",
            f"next          {target.command('stream stock_price samples/stock_price.csv')}",
        ],
    )


def down(target: Target, console: Console, *, wipe: bool) -> None:
    """Stop the local cloud; its state stays unless `wipe`."""
    if target.name == AWS:
        raise CommandError(
            "an AWS account has nothing to stop",
            "delete the stacks of the stage in CloudFormation, or with: "
            f"cdk destroy --all -c tidemill:stage={target.stage}",
        )
    from local import cloud

    stopped = cloud.stop(target.directory)
    if wipe and target.directory.exists():
        shutil.rmtree(target.directory)
    state = "forgotten" if wipe else f"kept in {target.directory}"
    console.result(
        {"stopped": stopped, "wiped": wipe},
        [f"{'stopped' if stopped else 'was not running'}; its state is {state}"],
    )


def _start(target: Target, console: Console, port: int | None) -> None:
    from local import cloud

    if cloud.find(target.directory) is not None:
        return
    with console.working("starting the local cloud"):
        started = cloud.start(target.directory, port=port)
    console.say(f"local cloud at {started.endpoint_url}, state in {target.directory}")


def _recover(target: Target, console: Console) -> None:
    """Drive again what was in flight when the local cloud ended, once after each start."""
    from local import cloud, recovery
    from scripts.commands.warehouse import Warehouse

    running = cloud.find(target.directory)
    if running is None or (ended := running.unrecovered) is None:
        return
    with console.working("looking for what was in flight"):
        warehouse = Warehouse(target)
        files = warehouse.rows("SELECT file FROM tidemill.loaded_files")
        found = recovery.redrive(
            target.client,
            input_bucket=target.outputs["InputBucket"],
            lake_bucket=target.outputs["LakeBucket"],
            uploads_table=target.outputs["UploadsTable"],
            loaded_files=[file for [file] in files],
            killed_after=ended.killed_after,
            rows_loaded=lambda upload: warehouse.count(upload.model, upload.source_id),
        )
    running.recovered()
    if found.uploads or found.lake_files:
        console.say(f"driven again: {found.uploads} uploads, {found.lake_files} files of the lake")


def _confirm(target: Target, console: Console, assume_yes: bool) -> None:
    import typer

    region = target.session.region_name
    if region is None:
        raise CommandError("no region is set", "set one: export AWS_DEFAULT_REGION=eu-west-1")
    identity = target.client("sts").get_caller_identity()
    console.say(f"account {identity['Account']}, region {region}, as {identity['Arn']}")
    console.say(f"stacks {', '.join(target.stack_name(stack) for stack in STACKS)}")
    if not assume_yes and not typer.confirm("Deploy there?", err=True):
        raise CommandError("nothing was changed")


def _bootstrap(target: Target, console: Console) -> None:
    from botocore.exceptions import ClientError

    try:
        target.client("cloudformation").describe_stacks(StackName="CDKToolkit")
    except ClientError:
        account = target.client("sts").get_caller_identity()["Account"]
        place = f"aws://{account}/{target.session.region_name}"
        if target.name != LOCAL:
            raise CommandError(
                "the account and region have no CDK bootstrap stack",
                f"make one, once: cdk bootstrap {place}",
            ) from None
        # Bootstrapping needs no app; without this the CDK would synthesize one first.
        _cdk(target, console, "bootstrapping", ["bootstrap", place, "--app", ""])


class _Cdk:
    """The CDK's command at work; leaving the context ends it if it has not ended."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        cdk = PROJECT / "node_modules" / ".bin" / "cdk"
        if not cdk.exists():
            raise CommandError("the CDK command is not installed", "install it: make setup")
        self._name = arguments[0]
        self._process = subprocess.Popen(
            [str(cdk), *arguments, "--no-version-check", "--no-notices", "--ci", "--no-color"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> _Cdk:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate()

    def finish(self, target: Target, console: Console, doing: str) -> None:
        """Wait for its end. Raises `CommandError` with what failed and the last lines."""
        failures: deque[str] = deque(maxlen=10)
        last: deque[str] = deque(maxlen=20)
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        with console.working(f"{doing} with the CDK") as status:
            for line in self._process.stdout:
                if text := line.strip():
                    # What is rolled back after a failure would push it out of the last lines.
                    (failures if "FAILED" in text else last).append(text)
                    status.update(f"{doing}: {text[:100]}")
            failed = self._process.wait() != 0
        if failed:
            raise CommandError(
                f"cdk {self._name} failed:\n" + "\n".join([*failures, *last]),
                f"mend it and run again: {target.command('up')}",
            )


def _cdk(target: Target, console: Console, doing: str, arguments: list[str]) -> None:
    """Run the CDK's command against the target."""
    with _Cdk(arguments, target.process_environment) as command:
        command.finish(target, console, doing)


def _assembly(target: Target) -> Path:
    """Where the synthesized templates go: a folder a target, so that two can be compared."""
    return target.directory / "cdk.out" if target.name == LOCAL else PROJECT / "cdk.out"
