"""Where a command works: the local cloud of a state folder, or an AWS account."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.commands.console import CommandError

if TYPE_CHECKING:
    import boto3

PROJECT = Path(__file__).resolve().parents[2]
STACKS = ("ingestion", "warehouse", "refresh", "inference")
LOCAL, AWS = "local", "aws"
STAGE = "dev"


def tools_path() -> str:
    """The search path for programs, with the project's own Python and Node before all others."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


@dataclass(frozen=True)
class Target:
    """One place to work in. `stage` names the stacks, `directory` holds the local cloud's state."""

    name: str
    stage: str
    directory: Path
    models_directory: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables that lead boto3 and the CDK to this target, and nothing else does."""
        if self.name == AWS:
            return {}
        from local import cloud  # here, so that commands for AWS do not load it

        running = cloud.find(self.directory)
        if running is None:
            raise CommandError(
                f"no local cloud is running for {self.directory}",
                f"start one: {self.command('up')}",
            )
        return running.environment()

    @cached_property
    def process_environment(self) -> dict[str, str]:
        """This process's environment, made to lead to the target, with the project's Node."""
        return {**self.synth_environment, **self.environment}

    @property
    def synth_environment(self) -> dict[str, str]:
        """The same as far as it is known before there is a cloud: enough to synthesize."""
        inherited = dict(os.environ)
        if self.name == LOCAL:
            inherited = {k: v for k, v in inherited.items() if not k.startswith("AWS_")}
        return {
            **inherited,
            "PATH": tools_path(),
            "TIDEMILL_STAGE": self.stage,
            "TIDEMILL_MODELS_DIR": str(self.models_directory),
        }

    @cached_property
    def session(self) -> boto3.Session:
        """A boto3 session with the target's credentials and region."""
        import boto3

        mine = self.environment
        return boto3.Session(
            aws_access_key_id=mine.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=mine.get("AWS_SECRET_ACCESS_KEY"),
            region_name=mine.get("AWS_REGION"),
        )

    @property
    def ca_bundle(self) -> str | None:
        """The certificates that vouch for the local cloud; None for the system's own."""
        return self.environment.get("AWS_CA_BUNDLE")

    def client(self, service: str) -> Any:
        """A boto3 client for the service on this target."""
        if service not in self._clients:
            self._clients[service] = self.session.client(  # type: ignore[call-overload]  # the name is not a literal
                service,
                endpoint_url=self.environment.get("AWS_ENDPOINT_URL"),
                verify=self.ca_bundle,
            )
        return self._clients[service]

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def stack_name(self, stack: str) -> str:
        """The CloudFormation name of one of `STACKS`."""
        return f"tidemill-{self.stage}-{stack}"

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The outputs of all four stacks. Raises `CommandError` where one is not deployed."""
        from botocore.exceptions import ClientError

        found: dict[str, str] = {}
        for stack in STACKS:
            name = self.stack_name(stack)
            try:
                described = self.client("cloudformation").describe_stacks(StackName=name)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ValidationError":
                    raise
                raise CommandError(
                    f"the stack {name} is not deployed", f"deploy it: {self.command('up')}"
                ) from None
            for output in described["Stacks"][0].get("Outputs", []):
                found[output["OutputKey"]] = output["OutputValue"]
        return found

    def command(self, words: str) -> str:
        """How a user would type another command for this same target."""
        options = "" if self.name == LOCAL else f" --target {self.name}"
        options += "" if self.stage == STAGE else f" --stage {self.stage}"
        return f"tidemill {words}{options}"

    @cached_property
    def api_url(self) -> str:
        """The base URL of the prediction API, without a slash at its end."""
        endpoint = self.environment.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            api, stage = self.outputs["ApiId"], self.outputs["ApiStage"]
            return f"{endpoint.rstrip('/')}/restapis/{api}/{stage}/_user_request_"
        return self.outputs["ApiUrl"].rstrip("/")

    def require_model(self, name: str) -> None:
        """Raise `CommandError` unless the models folder has a file for `name`."""
        known = sorted(path.stem for path in self.models_directory.glob("*.toml"))
        if name not in known:
            raise CommandError(
                f"there is no model {name!r} in {self.models_directory} (there are: "
                f"{', '.join(known) or 'none'})",
                f"write {self.models_directory.name}/{name}.toml: see docs/model-file.md",
            )
