"""The data plane: from InvokeEndpoint to a model server and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from http.client import HTTPException
from threading import Event, Thread
from time import perf_counter
from typing import cast

from local.services.base import Caller, Document, Host, Service, ServiceError
from local.services.sagemaker.hosting import Hosting
from local.services.sagemaker.server import Busy, ModelServer, StartFailed, TimedOut

_FLUSH_SECONDS = 1.0
_NOT_CARRIED_OUT = (
    "TargetModel",
    "TargetContainerHostname",
    "EnableExplanations",
    "InferenceComponentName",
    "SessionId",
)
_SERVERLESS_BYTES = 4 << 20
_BYTES = 25 << 20


class SageMakerRuntime(Service):
    """Amazon SageMaker Runtime."""

    model = "sagemaker-runtime"
    iam_prefix = "sagemaker"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._metrics: deque[tuple[str, str, str, float, str]] = deque(maxlen=100_000)
        self._closing = Event()

    def start(self) -> None:
        """Begin to deliver metrics, which no invocation waits for."""
        Thread(target=self._deliver_metrics, name="endpoint-metrics", daemon=True).start()

    def stop(self) -> None:
        """Deliver the last metrics."""
        self._closing.set()
        self._flush()

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """The endpoint's ARN."""
        del operation, caller
        name = request["EndpointName"].lower()
        return [f"arn:aws:sagemaker:{self.host.region}:{self.host.account}:endpoint/{name}"]

    def invoke_endpoint(self, request: Document, caller: Caller) -> Document:
        """Carry a request to the endpoint's model and its answer back."""
        del caller
        started = perf_counter()
        name = request["EndpointName"]
        server = self._server(name, request)
        body = request.get("Body", b"")
        limit = _SERVERLESS_BYTES if server.serverless else _BYTES
        if len(body) > limit:
            raise ServiceError("ValidationError", f"The body has more than {limit} bytes.", 413)
        headers = {"Content-Length": str(len(body))}
        for member, header in (
            ("ContentType", "Content-Type"),
            ("Accept", "Accept"),
            ("CustomAttributes", "X-Amzn-SageMaker-Custom-Attributes"),
            ("InferenceId", "X-Amzn-SageMaker-Inference-Id"),
        ):
            if member in request:
                headers[header] = request[member]
        called = perf_counter()
        try:
            status, answered, content = server.invoke(body, headers)
        except Busy:
            raise ServiceError(
                "ThrottlingException", "Maximum concurrency of the variant is reached.", 429
            ) from None
        except TimedOut:
            raise self._model_error(name, server, 0, "", _TIMED_OUT) from None
        except (StartFailed, OSError, HTTPException) as error:
            raise self._model_error(name, server, 503, str(error)) from None
        ended = perf_counter()
        self._count(name, server, status, ended - called, called - started)
        if not 200 <= status < 300:
            raise self._model_error(name, server, status, content.decode(errors="replace"))
        response: Document = {
            "Body": content,
            "ContentType": answered.get("Content-Type") or "application/octet-stream",
            "InvokedProductionVariant": server.variant,
        }
        if attributes := answered.get("X-Amzn-SageMaker-Custom-Attributes"):
            response["CustomAttributes"] = attributes
        return response

    def _server(self, name: str, request: Document) -> ModelServer:
        for member in _NOT_CARRIED_OUT:
            if member in request:
                raise ServiceError(
                    "ValidationError", f"The local cloud does not carry out {member}."
                )
        hosting = cast(Hosting, self.host.service("sagemaker"))
        fleet = hosting.fleet(name)
        if fleet is None:
            raise ServiceError(
                "ValidationError", f"Endpoint {name} of account {self.host.account} not found."
            )
        variant = request.get("TargetVariant")
        server = fleet.choose(variant)
        if server is None:
            raise ServiceError("ValidationError", f"Variant {variant} not found.")
        return server

    def _model_error(
        self, name: str, server: ModelServer, status: int, message: str, text: str = ""
    ) -> ServiceError:
        region, account = self.host.region, self.host.account
        group = f"/aws/sagemaker/Endpoints/{name}"
        side = "client" if 400 <= status < 500 else "server"
        link = (
            f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
            f"#logEventViewer:group={group}"
        )
        shown = text or (
            f'Received {side} error ({status}) from primary with message "{message}". '
            f"See {link} in account {account} for more information."
        )
        arn = f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{server.variant}"
        return ServiceError(
            "ModelError",
            shown,
            424,
            {"OriginalStatusCode": status, "OriginalMessage": message, "LogStreamArn": arn},
        )

    def _count(
        self, name: str, server: ModelServer, status: int, model: float, overhead: float
    ) -> None:
        variant = server.variant
        add = self._metrics.append
        add((name, variant, "Invocations", 1.0, "Count"))
        add((name, variant, "ModelLatency", model * 1e6, "Microseconds"))
        add((name, variant, "OverheadLatency", overhead * 1e6, "Microseconds"))
        add((name, variant, "Invocation4XXErrors", float(400 <= status < 500), "Count"))
        add((name, variant, "Invocation5XXErrors", float(status >= 500), "Count"))

    def _deliver_metrics(self) -> None:
        while not self._closing.wait(_FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        while self._metrics:
            name, variant, metric, value, unit = self._metrics.popleft()
            dimensions = {"EndpointName": name, "VariantName": variant}
            self.host.put_metric("AWS/SageMaker", metric, value, unit, dimensions)


_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
