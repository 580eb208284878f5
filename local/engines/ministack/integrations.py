"""Step Functions' integrations of the services of ours, run as the state machine's role."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

from ministack.services import stepfunctions

from local.engines.ministack.carrier import Carrier
from local.engines.ministack.executions import StoppedError, acting
from local.services.base import Caller, Document, ServiceError, SyncJob
from local.services.protocol import Dispatcher

_RESOURCE = re.compile(r"arn:aws:states:::(aws-sdk:)?([A-Za-z0-9-]+):([A-Za-z]+)(\.sync(?::2)?)?")
# Step Functions' names for services, where they differ from botocore's.
_NAMES = {
    "redshiftdata": "redshift-data",
    "redshiftserverless": "redshift-serverless",
    "sagemakerruntime": "sagemaker-runtime",
}
_ERROR_PREFIXES = {
    "redshift-data": "RedshiftData",
    "redshift-serverless": "RedshiftServerless",
    "sagemaker": "SageMaker",
    "sagemaker-runtime": "SageMakerRuntime",
    "codebuild": "CodeBuild",
    "firehose": "Firehose",
    "ecr": "Ecr",
}


class Integrations:
    """Runs `sagemaker:…`, `codebuild:…` and `aws-sdk:…` tasks of the services of ours."""

    def __init__(self, carrier: Carrier) -> None:
        self._dispatchers = carrier.dispatchers

    def install(self) -> None:
        """Take our services' tasks from MiniStack, and let nothing unknown pass as success."""
        theirs = stepfunctions._invoke_resource

        def invoke(resource: str, data: Document) -> Any:
            if not resource.startswith("arn:"):
                raise stepfunctions._ExecutionError(
                    "States.Runtime", f"The resource {resource!r} is not an ARN"
                )
            matched = _RESOURCE.fullmatch(resource)
            model = _NAMES.get(matched[2], matched[2]) if matched else ""
            if matched is not None and model in self._dispatchers:
                return self._run(model, bool(matched[1]), matched[3], bool(matched[4]), data)
            if not _is_known(resource):
                raise stepfunctions._ExecutionError(
                    "States.Runtime", f"The resource {resource} is not supported"
                )
            return theirs(resource, data)

        stepfunctions._invoke_resource = invoke

    def _run(self, model: str, sdk: bool, action: str, sync: bool, data: Document) -> Any:
        dispatcher = self._dispatchers[model]
        operation = action[0].upper() + action[1:]
        caller = acting().caller(self._dispatchers[model].service.host)
        call = _Call(model, sdk, dispatcher, operation, caller)
        if not sync:
            return call.run(data)
        jobs = [job for job in dispatcher.service.sync_jobs if job.start == operation]
        if not jobs:
            raise stepfunctions._ExecutionError(
                "States.Runtime", f"{model}:{action} has no .sync integration"
            )
        return call.follow(jobs[0], data)


def _is_known(resource: str) -> bool:
    return resource.startswith("arn:aws:states:::") or any(
        kind in resource for kind in (":function:", ":activity:")
    )


class _Call:
    """One task's calls of one service, with errors and shapes as Step Functions has them."""

    def __init__(
        self, model: str, sdk: bool, dispatcher: Dispatcher, operation: str, caller: Caller
    ) -> None:
        self._model = model
        self._sdk = sdk
        self._dispatcher = dispatcher
        self._operation = operation
        self._caller = caller

    def run(self, data: Document) -> Any:
        """The operation's response."""
        return self._shaped(self._operation, self._ask(self._operation, self._request(data)))

    def follow(self, job: SyncJob, data: Document) -> Any:
        """Start the job, wait for its end and return its description; stop it when told to."""
        execution = acting()
        request = self._request(data)
        started = self._ask(job.start, request)
        identified = job.identify(request, started)
        pause = 0.05
        while True:
            described = self._ask(job.describe, identified)
            status = job.status(described)
            if status in job.succeeded | job.failed:
                break
            if execution.ended or execution.task_is_over():
                self._stop(job, identified)
                raise StoppedError
            time.sleep(pause)
            pause = min(pause * 1.3, 0.5)
        result = self._shaped(job.describe, described, job)
        if status in job.failed:
            raise stepfunctions._ExecutionError("States.TaskFailed", json.dumps(result))
        return result

    def _stop(self, job: SyncJob, identified: Document) -> None:
        try:
            self._dispatcher.call(job.stop, identified, self._caller)
        except ServiceError:
            return  # it ended in the meantime, or the role may not stop it: as on AWS, it runs on

    def _ask(self, operation: str, request: Document) -> Document:
        try:
            return self._dispatcher.call(operation, request, self._caller)
        except ServiceError as error:
            raise stepfunctions._ExecutionError(
                self._error_name(operation, error),
                f"{error.message} (Service: {self._model}, Status Code: {error.status}, "
                f"Error Code: {error.code})",
            ) from error

    def _error_name(self, operation: str, error: ServiceError) -> str:
        prefix = _ERROR_PREFIXES[self._model]
        modelled = {
            shape.name for shape in self._dispatcher.model.operation_model(operation).error_shapes
        }
        for name in (error.code, f"{error.code}Exception"):
            if error.code in modelled or name in modelled:
                return f"{prefix}.{error.code if error.code.endswith('Exception') else name}"
        # What the model does not name, the two generations of AWS's SDK name after the service.
        return f"{prefix}.{prefix}Exception" if self._sdk else f"{prefix}.Amazon{prefix}Exception"

    def _request(self, data: Document) -> Document:
        shape = self._dispatcher.model.operation_model(self._operation).input_shape
        if shape is None:
            return {}
        return dict(_typed(shape, stepfunctions._sdk_json_param_value(data or {}, shape)))

    def _shaped(self, operation: str, response: Document, job: SyncJob | None = None) -> Any:
        document = job.result(response) if job is not None else response
        shape = self._dispatcher.model.operation_model(operation).output_shape
        plain = _plain(document, sdk=self._sdk)
        if shape is None or not self._sdk:
            return plain
        return stepfunctions._sdk_json_value(plain, shape)


def _typed(shape: Any, value: Any) -> Any:
    """From a state's JSON to what a service of ours takes: datetimes and bytes."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {
            name: _typed(shape.members[name], item) if name in shape.members else item
            for name, item in value.items()
            if item is not None
        }
    if kind == "list" and isinstance(value, list):
        return [_typed(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _typed(shape.value, item) for key, item in value.items()}
    if kind == "timestamp" and isinstance(value, str):
        return datetime.fromisoformat(value)
    if kind == "timestamp" and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if kind == "blob" and isinstance(value, str):
        return value.encode()
    if kind == "string" and isinstance(value, int | float | bool):
        # Step Functions' SDK coerces scalars: hyperparameters made by JSONata may be numbers.
        return json.dumps(value)
    return value


def _plain(value: Any, *, sdk: bool) -> Any:
    """What a state's output may hold: times as text (SDK integrations) or milliseconds."""
    if isinstance(value, dict):
        return {key: _plain(item, sdk=sdk) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item, sdk=sdk) for item in value]
    if isinstance(value, datetime):
        if sdk:
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return int(value.timestamp() * 1000)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value
