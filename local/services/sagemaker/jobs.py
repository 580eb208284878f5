"""A job of any kind: a process of its image under the /opt/ml contract, in a thread.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html and
…/build-your-own-processing-container.html describe the contract.
"""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, RLock, Thread
from time import monotonic
from typing import Any

from local.services.base import Caller, Document, Host, RoleSession, ServiceError
from local.services.images import Image
from local.services.processes import Child
from local.services.sagemaker.common import PRINCIPAL, ImageRefused, in_milliseconds, invalid, pull
from local.services.sagemaker.transfer import TransferFailed, download_manifest, download_prefix
from local.services.shelf import Shelf

BASE = "/opt/ml"
FINAL = frozenset({"Completed", "Failed", "Stopped"})
_POLL_SECONDS = 0.05
_STOP_SECONDS = 120.0
_LONGEST_REASON = 1024


class JobFailed(Exception):  # noqa: N818 - the text becomes the FailureReason
    """The job cannot go on; the text is its FailureReason."""


@dataclass(frozen=True)
class JobKind:
    """How SageMaker names things of one kind of job."""

    title: str
    """Begins member names, such as `TrainingJob` in TrainingJobStatus."""
    resource: str
    event: str
    log_group: str

    @property
    def name(self) -> str:
        """The member with the job's name."""
        return f"{self.title}Name"

    @property
    def arn(self) -> str:
        """The member with the job's ARN."""
        return f"{self.title}Arn"

    @property
    def status(self) -> str:
        """The member with the job's status."""
        return f"{self.title}Status"


class Job(ABC):
    """One job. `description` is what its Describe operation answers with."""

    kind: JobKind
    stop_seconds = _STOP_SECONDS
    """How long a process has between SIGTERM and SIGKILL."""

    def __init__(self, host: Host, folder: Path, description: Document, shelf: Shelf) -> None:
        self.host = host
        self.base = folder
        self.name: str = description[self.kind.name]
        self.lines: list[str] = []
        self._shelf = shelf
        self._stop = Event()
        self._closing = False
        self._lock = RLock()
        self._thread = Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin."""
        announce(self.host, self.kind, self.description)
        self._thread.start()

    def running(self) -> bool:
        """Whether the job's thread has work."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask the job to stop."""
        with self._lock:
            if self.description[self.kind.status] == "InProgress":
                self.change(**{self.kind.status: "Stopping"}, **self.stopping())
        self._stop.set()

    def close(self) -> None:
        """End the job because the cloud ends."""
        self._closing = True
        self._stop.set()

    def join(self) -> None:
        """Wait until nothing of the job runs."""
        self._thread.join(10)

    @property
    def description(self) -> Document:
        """The answer of Describe."""
        return self._shelf.get(self.name) or {}

    def change(self, **members: Any) -> None:
        """Set members of the description; a new status becomes an event."""
        with self._lock:
            status = self.description[self.kind.status]
            changed = self._shelf.change(self.name, **members, LastModifiedTime=self.host.now())
        if changed[self.kind.status] != status:
            announce(self.host, self.kind, changed)

    @abstractmethod
    def image_uri(self) -> str:
        """The image."""

    @abstractmethod
    def command(self, image: Image) -> list[str]:
        """The words to run, as in a container."""

    @abstractmethod
    def variables(self) -> dict[str, str]:
        """The variables of this kind of job, the request's included."""

    @abstractmethod
    def prepare(self, session: RoleSession) -> None:
        """Fill the folder with inputs. Raises `TransferFailed` or `JobFailed`."""

    @abstractmethod
    def deliver(self, session: RoleSession) -> Document:
        """Take the outputs away; returns members of the description. Raises `TransferFailed`."""

    @abstractmethod
    def limit_seconds(self) -> float:
        """How long the process may run."""

    def fetch(self, session: RoleSession, source: Document, folder: Path) -> None:
        """Bring the objects that `source` names into a folder, made here.

        Raises `TransferFailed`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        client, uri = session.client("s3"), source["S3Uri"]
        if source["S3DataType"] == "ManifestFile":
            download_manifest(client, uri, folder)
        else:
            download_prefix(client, uri, folder, self.description["RoleArn"], self.host.region)

    def started(self) -> Document:
        """Members of the description while the process runs."""
        return {}

    def stopping(self) -> Document:
        """Members of the description while the process is being stopped."""
        return {}

    def finished(self, status: str, timed_out: bool) -> Document:
        """Members of the description at the end."""
        del status, timed_out
        return {}

    def local(self, path: str) -> Path:
        """A path of the contract, `/opt/ml/…`, in this job's folder."""
        relative = path.removeprefix(BASE).lstrip("/")
        found = (self.base / relative).resolve()
        if not path.startswith(f"{BASE}/") or not found.is_relative_to(self.base.resolve()):
            raise JobFailed(f"ClientError: {path} is not below {BASE}")
        return found

    def write_config(self, path: str, content: Any) -> None:
        """Write a file of the contract."""
        target = self.local(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))

    def read_output(self, name: str) -> str:
        """What the process wrote to `output/<name>`, cut to SageMaker's length."""
        try:
            content = (self.base / "output" / name).read_bytes()
        except OSError:
            return ""
        return content[:_LONGEST_REASON].decode(errors="ignore").strip()

    def _run(self) -> None:
        outcome: Document
        try:
            outcome = self._carry_out()
        except (JobFailed, TransferFailed) as error:
            outcome = self._end("Failed", FailureReason=str(error)[:_LONGEST_REASON])
        except ServiceError as error:
            outcome = self._end("Failed", FailureReason=f"ClientError: {error.message}")
        except Exception as error:  # a fault of the local cloud must end the job, too
            outcome = self._end("Failed", FailureReason=f"InternalServerError: {error!r}")
        shutil.rmtree(self.base, ignore_errors=True)
        self.change(**outcome)

    def _carry_out(self) -> Document:
        description = self.description
        session = self.host.assume(description["RoleArn"], PRINCIPAL)
        shutil.rmtree(self.base, ignore_errors=True)
        for part in ("input", "output", "tmp"):
            (self.base / part).mkdir(parents=True)
        try:
            image = pull(self.host, session, self.image_uri())
        except ImageRefused as error:
            raise JobFailed(
                "ClientError: Cannot pull algorithm container. Either the image does not exist "
                f"or its permissions are incorrect. ({error})"
            ) from None
        self.prepare(session)
        if self._stop.is_set():
            return self._end("Stopped")
        self.change(**self.started())
        code, timed_out = self._execute(image, session)
        if self._closing:
            raise JobFailed("InternalServerError: the local cloud was stopped while the job ran")
        message = self.read_output("message")
        noted: Document = {"ExitMessage": message} if message else {}
        if self._stop.is_set() or timed_out:
            return self._end("Stopped", timed_out, **self.deliver(session))
        if code != 0:
            failure = self.read_output("failure")
            reason = f"AlgorithmError: {failure}, exit code: {code}"
            return self._end("Failed", FailureReason=reason[:_LONGEST_REASON], **noted)
        return self._end("Completed", **self.deliver(session), **noted)

    def _end(self, status: str, timed_out: bool = False, **members: Any) -> Document:
        return {self.kind.status: status, **members, **self.finished(status, timed_out)}

    def _execute(self, image: Image, session: RoleSession) -> tuple[int, bool]:
        """Run the process to its end; the exit code, and whether its time was over."""
        description = self.description
        network = description.get("NetworkConfig", description)
        isolated = network.get("EnableNetworkIsolation", False)
        environment = {
            **image.process_environment(self.base / "tmp"),
            "TMPDIR": str(self.base / "tmp"),
            "SAGEMAKER_BASE_DIR": str(self.base),
            # A container without a network cannot reach AWS, so it gets nothing to do so with.
            **({} if isolated else session.environment()),
            **self.variables(),
        }
        words = [self._localized(word) for word in self.command(image)]
        started = monotonic()
        child = Child(
            image.command(words),
            folder=image.folder,
            environment=environment,
            log=self._logger(session),
        )
        ends = started + self.limit_seconds()
        code: int | None = None
        timed_out = False
        while code is None:
            code = child.wait(_POLL_SECONDS)
            timed_out = code is None and monotonic() > ends
            if code is None and (timed_out or self._stop.is_set()):
                code = child.terminate(2.0 if self._closing else self.stop_seconds) or 0
                break
        return code, timed_out

    def _localized(self, word: str) -> str:
        return str(self.local(word)) if word.startswith(f"{BASE}/") else word

    def _logger(self, session: RoleSession) -> Callable[[Sequence[str]], None]:
        """Write lines to CloudWatch if the role may; SageMaker goes on without a log if not."""
        group = self.kind.log_group
        stream = f"{self.name}/algo-1-{int(self.host.now())}"
        host = self.host
        caller = Caller(session.environment()["AWS_ACCESS_KEY_ID"], host.account, host.region)
        arn = f"arn:aws:logs:{host.region}:{host.account}:log-group:{group}:log-stream:{stream}"
        try:
            host.authorize(caller, "logs:PutLogEvents", arn)
            allowed = True
        except ServiceError:
            allowed = False

        def write(lines: Sequence[str]) -> None:
            self.lines = [*self.lines, *lines][-10_000:]
            if allowed:
                host.write_log(group, stream, lines)

        return write


class JobBoard:
    """The jobs of one kind: those that run, and the descriptions of all."""

    def __init__(self, host: Host, folder: Path, kind: JobKind) -> None:
        self.shelf = Shelf(folder / kind.resource)
        self.work = Path(os.path.abspath(folder)) / "work"  # noqa: PTH100 - must not follow links
        self.kind = kind
        self._host = host
        self._jobs: dict[str, Job] = {}

    def recover(self) -> None:
        """Close the jobs that ended with the cloud."""
        shutil.rmtree(self.work / self.kind.resource, ignore_errors=True)
        for description in self.shelf.values():
            if description[self.kind.status] not in FINAL:
                changed = self.shelf.change(
                    description[self.kind.name],
                    **{
                        self.kind.status: "Failed",
                        "FailureReason": "InternalServerError: the local cloud ended while the "
                        "job ran",
                        "LastModifiedTime": self._host.now(),
                    },
                    **({"SecondaryStatus": "Failed"} if "SecondaryStatus" in description else {}),
                )
                announce(self._host, self.kind, changed)

    def begin(self, make: type[Job], description: Document) -> None:
        """Keep a new job's description and start it. Raises `ServiceError` ResourceInUse."""
        name = description[self.kind.name]
        if not self.shelf.add(name, description):
            words = self.kind.resource.replace("-", " ")
            raise ServiceError(
                "ResourceInUse",
                f"{words.capitalize()} names must be unique within an AWS account and region, and "
                f"a {words} with this name already exists ({description[self.kind.arn]})",
            )
        job = make(self._host, self.work / self.kind.resource / name, description, self.shelf)
        self._jobs = {known: other for known, other in self._jobs.items() if other.running()}
        self._jobs[name] = job
        job.start()

    def halt(self, name: str) -> None:
        """Stop a job. Raises `ServiceError` if it is not there or does not run."""
        description = self.find(name)
        status = description[self.kind.status]
        if status in FINAL:
            words = self.kind.resource.replace("-", " ")
            raise invalid(f"The request was rejected because the {words} is in status {status}.")
        if job := self._jobs.get(name):
            job.stop()

    def find(self, name: str) -> Document:
        """The description. Raises `ServiceError`."""
        found = self.shelf.get(name)
        if found is None:
            if self.kind.resource == "processing-job":
                raise ServiceError(
                    "ResourceNotFound", f"Could not find requested job with name: {name}"
                )
            raise invalid("Requested resource not found.")
        return found

    def close(self) -> None:
        """End every job because the cloud ends."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.close()
        for job in jobs:
            job.join()


def announce(host: Host, kind: JobKind, description: Mapping[str, Any]) -> None:
    """Put a state change on the event bus."""
    detail = in_milliseconds(dict(description))
    host.put_event("aws.sagemaker", kind.event, detail, [description[kind.arn]])
