"""A model server: the process of one variant, and the way to it.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html describes
what the process has to do.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from threading import BoundedSemaphore, RLock
from time import monotonic, sleep
from uuid import uuid4

from botocore.exceptions import ClientError

from local.services.base import Document, Host, ServiceError
from local.services.processes import Child
from local.services.sagemaker.common import PRINCIPAL, ImageRefused, pull
from local.services.sagemaker.transfer import (
    TransferFailed,
    download_prefix,
    read_object,
    unpack,
)

Answer = tuple[int, Message, bytes]

_PING_SECONDS = 480.0
"""SageMaker gives a container 8 minutes until it must answer /ping."""
_ANSWER_SECONDS = 60.0
_STOP_SECONDS = 30.0


class StartFailed(Exception):  # noqa: N818 - it becomes an endpoint's FailureReason
    """A variant that does not come up; the text is the endpoint's FailureReason."""


class Busy(Exception):  # noqa: N818 - a state, not an error
    """A serverless variant has as many invocations as it takes at once."""


class TimedOut(Exception):  # noqa: N818 - http.client's own name is no better
    """The model gave no answer in time."""


class ModelServer:
    """The server of one variant of one endpoint.

    `variant` is a ProductionVariant and `model` what CreateModel was given. It runs from `start`
    to `stop`; a serverless one may rest in between and comes back when it is invoked, as does
    one whose process died.
    """

    def __init__(
        self, host: Host, folder: Path, endpoint: str, variant: Document, model: Document
    ) -> None:
        self.variant: str = variant["VariantName"]
        self.weight: float = variant.get("InitialVariantWeight", 1.0)
        self.serverless: Document | None = variant.get("ServerlessConfig")
        self.used = monotonic()
        self._host = host
        self._folder = Path(os.path.abspath(folder)) / uuid4().hex  # noqa: PTH100 - keep links
        self._endpoint = endpoint
        self._model = model
        self._ping_seconds = float(
            variant.get(
                "ContainerStartupHealthCheckTimeoutInSeconds",
                os.environ.get("TIDEMILL_PING_SECONDS", _PING_SECONDS),
            )
        )
        self._lock = RLock()
        self._child: Child | None = None
        self._port = 0
        self._idle: list[http.client.HTTPConnection] = []
        self._flying = 0
        self._count = RLock()
        self._closed = False
        limit = (self.serverless or {}).get("MaxConcurrency", 1000)
        self._places = BoundedSemaphore(limit)

    def start(self) -> None:
        """Bring the process up; returns when it answers /ping. Raises `StartFailed`."""
        with self._lock:
            if self._closed:
                raise StartFailed("The variant is being removed.")
            if self._child is None or not self._child.running():
                self._end_process(0.0)
                self._launch()

    def tend(self, idle_seconds: float) -> None:
        """Notice a dead process; end a serverless variant's that nobody has used for so long."""
        child = self._child
        if child is None or not child.running():
            return  # to ask is to reap
        if self.serverless is None or monotonic() - self.used < idle_seconds:
            return
        with self._lock:
            if self._flying == 0 and monotonic() - self.used >= idle_seconds:
                self._end_process(_STOP_SECONDS)

    def stop(self, drain_seconds: float = _ANSWER_SECONDS) -> None:
        """Let what is in flight finish, then end the process for good."""
        until = monotonic() + drain_seconds
        while self._flying and monotonic() < until:
            sleep(0.01)
        self._closed = True  # ends a start that waits for /ping with the lock in its hand
        with self._lock:
            self._end_process(min(_STOP_SECONDS, drain_seconds + 1.0))

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Carry one request to /invocations. Raises `Busy`, `TimedOut` or `StartFailed`."""
        if not self._places.acquire(blocking=False):
            raise Busy
        with self._count:
            self._flying += 1
        try:
            child = self._child
            if child is None or not child.running():
                self.start()
            return self._post(body, headers)
        finally:
            self.used = monotonic()
            with self._count:
                self._flying -= 1
            self._places.release()

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        while True:
            reused = bool(self._idle)
            connection = self._connection()
            try:
                connection.request("POST", "/invocations", body, dict(headers))
                _acknowledge_at_once(connection)
                response = connection.getresponse()
                content = response.read()
            except TimeoutError:
                connection.close()
                raise TimedOut from None
            except (http.client.HTTPException, OSError):
                connection.close()
                # The server may close a connection while it is idle; one of ours is then stale.
                if not reused:
                    raise
                continue
            if response.will_close:
                connection.close()
            else:
                self._idle.append(connection)
            return response.status, response.headers, content

    def _connection(self) -> http.client.HTTPConnection:
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_SECONDS)

    def _launch(self) -> None:
        try:
            session = self._host.assume(self._model["ExecutionRoleArn"], PRINCIPAL)
            container = self._model["PrimaryContainer"]
            image = pull(self._host, session, container["Image"])
            self._fetch_model(session.client("s3"), container)
        except ServiceError as error:
            raise StartFailed(error.message) from None
        except ImageRefused as error:
            raise StartFailed(
                f"The image of production variant {self.variant} could not be pulled: {error}"
            ) from None
        except (TransferFailed, ClientError) as error:
            raise StartFailed(
                f"Failed to download model data for container 'container_1' of production variant "
                f"{self.variant}. {error}"
            ) from None
        group = f"/aws/sagemaker/Endpoints/{self._endpoint}"
        stream = f"{self.variant}/i-{uuid4().hex[:17]}"
        self._port = _free_port()
        child = Child(
            image.command([*image.entrypoint, "serve"]),
            folder=image.folder,
            environment={
                **image.process_environment(self._folder / "tmp"),
                "TMPDIR": str(self._folder / "tmp"),
                **({} if self._model.get("EnableNetworkIsolation") else session.environment()),
                **container.get("Environment", {}),
                "SAGEMAKER_BASE_DIR": str(self._folder),
                "SAGEMAKER_BIND_TO_PORT": str(self._port),
                "TIDEMILL_BIND_HOST": "127.0.0.1",
            },
            log=lambda lines: self._host.write_log(group, stream, lines),
        )
        self._wait_for_ping(child)
        self._child = child  # not before it answers, or an invocation would come too early
        self.used = monotonic()

    def _fetch_model(self, client: object, container: Document) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "tmp").mkdir(parents=True)
        target = self._folder / "model"
        uri, packed = model_source(container)
        if uri is None:
            target.mkdir()
        elif packed:
            unpack(read_object(client, uri), target)
        else:
            role = self._model["ExecutionRoleArn"]
            download_prefix(client, uri, target, role, self._host.region)

    def _wait_for_ping(self, child: Child) -> None:
        until = monotonic() + self._ping_seconds
        while child.running() and monotonic() < until and not self._closed:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2.0)
            try:
                connection.request("GET", "/ping")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            sleep(0.02)
        child.terminate(1.0)
        shutil.rmtree(self._folder, ignore_errors=True)
        raise StartFailed(
            f"The primary container for production variant {self.variant} did not pass the ping "
            "health check. Please check CloudWatch logs for this endpoint."
        )

    def _end_process(self, grace: float) -> None:
        child, self._child = self._child, None
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()
        if child is not None:
            child.terminate(grace)
            shutil.rmtree(self._folder, ignore_errors=True)


def model_source(container: Document) -> tuple[str | None, bool]:
    """Where a container's model is, and whether it is an archive."""
    if "ModelDataUrl" in container:
        return container["ModelDataUrl"], True
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source is None:
        return None, False
    return source["S3Uri"], source["CompressionType"] == "Gzip"


def _acknowledge_at_once(connection: http.client.HTTPConnection) -> None:
    """A server that writes head and body apart waits 40 ms for an acknowledgement in between."""
    if connection.sock is not None and hasattr(socket, "TCP_QUICKACK"):
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
