"""One run of a CodeBuild build: its phases, its source, its log."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import yaml
from botocore.exceptions import ClientError

from local.services.base import Caller, Document, Host, RoleSession, ServiceError
from local.services.build_commands import Shell
from local.services.image_build import BuildError

PRINCIPAL = "codebuild.amazonaws.com"
"""Whom a project's role trusts."""

_PHASES = {
    "install": "INSTALL",
    "pre_build": "PRE_BUILD",
    "build": "BUILD",
    "post_build": "POST_BUILD",
}


class Stopped(Exception):  # noqa: N818 - an order, not an error
    """Somebody stopped the build, or its time is over; the text is the build's status."""


class PhaseFailed(Exception):  # noqa: N818 - the phase holds the error
    """A phase failed, which is recorded in it."""


class BuildRun:
    """Carries out a build whose description is `build`; `save` keeps the description."""

    def __init__(self, host: Host, build: Document, save: Callable[[Document], None]) -> None:
        self._host = host
        self.build = build
        self._save = save
        self._stop = Event()
        self._ends = monotonic() + build["timeoutInMinutes"] * 60

    def stop(self) -> None:
        """End the build at its next step or line of output."""
        self._stop.set()

    def run(self) -> None:
        """Run to the end; the outcome is in the build's description."""
        folder = Path(tempfile.mkdtemp(prefix="tidemill-build-"))
        status = "FAULT"
        try:
            status = self._phases(folder)
        except PhaseFailed:
            status = "FAILED"
        except Stopped as order:
            status = str(order)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._finish(status)

    def _phases(self, folder: Path) -> str:
        for name in ("SUBMITTED", "QUEUED"):
            with self._phase(name):
                pass
        with self._phase("PROVISIONING"):
            role = self.build["serviceRole"]
            session = self._host.assume(role, PRINCIPAL)
            self._check_log_grant(session)
        with self._phase("DOWNLOAD_SOURCE"):
            self._download(session, folder)
            specification = self._specification(folder)
            variables = self._variables(session, specification, folder)
        privileged = self.build["environment"].get("privilegedMode", False)
        shell = Shell(self._host, session, folder, variables, privileged, self._log)
        outcome = "SUCCEEDED"
        for name, phase in _PHASES.items():
            if outcome == "FAILED" and name != "post_build":
                break
            try:
                with self._phase(phase):
                    self._commands(shell, specification.get("phases", {}).get(name, {}))
            except PhaseFailed:
                outcome = "FAILED"
                if name != "build":  # what follows a failed build phase is post_build alone
                    break
        return outcome

    def _commands(self, shell: Shell, phase: Document) -> None:
        for command in phase.get("commands", []):
            self._check()
            self._log(f"[Container] Running command {command}")
            try:
                shell.run(command)
            except BuildError as error:
                raise BuildError(
                    f"Error while executing command: {command}. Reason: {error}"
                ) from None

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        phase: Document = {"phaseType": name, "startTime": self._host.now()}
        self.build["phases"].append(phase)
        self.build["currentPhase"] = name
        self._save(self.build)
        status = "FAULT"
        try:
            yield
            status = "SUCCEEDED"
        except (BuildError, ServiceError, ClientError) as error:
            status = "FAILED"
            phase["contexts"] = [_context(error)]
            self._log(f"[Container] Phase context status code: {_context(error)['message']}")
            raise PhaseFailed from None
        except Stopped as order:
            status = str(order)
            raise
        finally:
            phase["phaseStatus"] = status
            phase["endTime"] = self._host.now()
            phase["durationInSeconds"] = int(phase["endTime"] - phase["startTime"])
            self._save(self.build)
            self._log(f"[Container] Phase complete: {name} State: {status}")

    def _download(self, session: RoleSession, folder: Path) -> None:
        source = self.build["source"]
        if source["type"] == "NO_SOURCE":
            return
        if source["type"] != "S3":
            raise BuildError(f"The local cloud takes sources from S3 alone, not {source['type']}")
        bucket, _, key = source["location"].removeprefix("arn:aws:s3:::").partition("/")
        version = self.build.get("sourceVersion")
        wanted = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
        found = session.client("s3").get_object(**wanted)
        self.build["resolvedSourceVersion"] = found.get("VersionId", "")
        with tempfile.TemporaryFile() as archive:
            shutil.copyfileobj(found["Body"], archive)
            try:
                _unzip(archive, folder)
            except zipfile.BadZipFile:
                raise BuildError(f"s3://{bucket}/{key} is not a zip file") from None

    def _specification(self, folder: Path) -> Document:
        text = self.build["source"].get("buildspec") or "buildspec.yml"
        if "\n" not in text and not text.lstrip().startswith("{"):
            path = folder / text
            if not path.is_file():
                raise BuildError(f"YAML_FILE_ERROR Message: stat {text}: no such file")
            text = path.read_text()
        try:
            found = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
        except (ValueError, yaml.YAMLError) as error:
            raise BuildError(f"YAML_FILE_ERROR Message: {error}") from None
        if not isinstance(found, dict) or "phases" not in found:
            raise BuildError("YAML_FILE_ERROR Message: phases must be specified")
        return found

    def _variables(
        self, session: RoleSession, specification: Document, folder: Path
    ) -> dict[str, str]:
        found = {
            "AWS_REGION": self._host.region,
            "AWS_DEFAULT_REGION": self._host.region,
            "CODEBUILD_BUILD_ID": self.build["id"],
            "CODEBUILD_BUILD_ARN": self.build["arn"],
            "CODEBUILD_BUILD_NUMBER": str(self.build["buildNumber"]),
            "CODEBUILD_SRC_DIR": str(folder),
            "CODEBUILD_SOURCE_VERSION": self.build.get("sourceVersion", ""),
            "CODEBUILD_RESOLVED_SOURCE_VERSION": self.build.get("resolvedSourceVersion", ""),
        }
        plain = specification.get("env", {}).get("variables", {})
        found.update({name: str(value) for name, value in plain.items()})
        for variable in self.build["environment"].get("environmentVariables", []):
            found[variable["name"]] = _variable(session, variable)
        return found

    def _check_log_grant(self, session: RoleSession) -> None:
        host, logs = self._host, self.build["logs"]
        caller = Caller(session.environment()["AWS_ACCESS_KEY_ID"], host.account, host.region)
        arn = (
            f"arn:aws:logs:{host.region}:{host.account}:log-group:{logs['groupName']}"
            f":log-stream:{logs['streamName']}"
        )
        try:
            for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
                host.authorize(caller, action, arn)
        except ServiceError as error:
            raise ServiceError(
                "ACCESS_DENIED",
                f"Service role {self.build['serviceRole']} does not allow AWS CodeBuild to create "
                f"Amazon CloudWatch Logs log streams for build {self.build['arn']}. "
                f"Error message: {error.message}",
            ) from None

    def _log(self, line: str) -> None:
        logs = self.build["logs"]
        if line:
            self._host.write_log(logs["groupName"], logs["streamName"], [line])
        if self.build["currentPhase"] in _PHASES.values():
            self._check()

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped("STOPPED")
        if monotonic() > self._ends:
            raise Stopped("TIMED_OUT")

    def _finish(self, status: str) -> None:
        now = self._host.now()
        self.build["currentPhase"] = "COMPLETED"
        self.build["phases"].append({"phaseType": "COMPLETED", "startTime": now})
        self.build.update(buildStatus=status, endTime=now, buildComplete=True)
        self._save(self.build)


def _variable(session: RoleSession, variable: Document) -> str:
    kind, value = variable.get("type", "PLAINTEXT"), variable["value"]
    if kind == "PARAMETER_STORE":
        found = session.client("ssm").get_parameter(Name=value, WithDecryption=True)
        return str(found["Parameter"]["Value"])
    if kind == "SECRETS_MANAGER":
        name, _, key = value.partition(":") if not value.startswith("arn:") else (value, "", "")
        text = session.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        return str(json.loads(text)[key]) if key else str(text)
    return str(value)


def _context(error: Exception) -> Document:
    if isinstance(error, BuildError):
        return {"statusCode": "COMMAND_EXECUTION_ERROR", "message": str(error)}
    if isinstance(error, ServiceError):
        return {"statusCode": error.code, "message": error.message}
    return {"statusCode": "CLIENT_ERROR", "message": str(error)}


def _unzip(archive: Any, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            place = Path(content.extract(entry, folder))
            mode = entry.external_attr >> 16 & 0o777
            if mode and place.is_file():
                place.chmod(mode | 0o600)
