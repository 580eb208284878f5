"""Asks IAM where MiniStack forgets to: on behalf of roles, and by resources' policies."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, responses, router
from ministack.services import apigateway_v1, eventbridge, lambda_svc, s3, stepfunctions

from local.engines.ministack.executions import current
from local.engines.ministack.host import MiniStackHost
from local.engines.ministack.settings import ACCOUNT, REGION
from local.services.base import Caller, ServiceError

_log = logging.getLogger(__name__)
_ESM_DECISION_SECONDS = 2.0

# What the poller of an event source mapping does with the function's role.
_SOURCE_ACTIONS = {
    "sqs": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "kinesis": ("kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator"),
    "dynamodb": ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
}
_DENIED_NAMES = {
    "lambda": "Lambda.AWSLambdaException",
    "dynamodb": "DynamoDB.AmazonDynamoDBException",
    "sqs": "SQS.AmazonSQSException",
    "sns": "SNS.AuthorizationErrorException",
    "events": "EventBridge.AmazonEventBridgeException",
    "states": "StepFunctions.AWSStepFunctionsException",
    "ecs": "ECS.AmazonECSException",
}


class Roles:
    """Every place where MiniStack acts for somebody."""

    def __init__(self, host: MiniStackHost) -> None:
        self._host = host
        self._decisions: dict[str, tuple[float, str | None]] = {}

    def install(self) -> None:
        """Put the questions in front of MiniStack's own functions."""
        if not self._host.settings.strict:
            return
        self._guard_tasks()
        self._guard_sdk_tasks()
        self._guard_rules()
        self._guard_mappings()
        self._guard_functions()

    # Step Functions

    def _guard_tasks(self) -> None:
        for prefix, theirs in list(stepfunctions._SERVICE_DISPATCH.items()):
            service, action = prefix.removeprefix("arn:aws:states:::").split(":")
            stepfunctions._SERVICE_DISPATCH[prefix] = self._task(service, action, theirs)
        call_lambda = stepfunctions._call_lambda
        start_nested = stepfunctions._invoke_nested_start_execution
        start_nested_sync = stepfunctions._invoke_nested_start_execution_sync

        def call(reference: str, event: Any) -> Any:
            # TestState and mocks have no execution, and no role to act by.
            if current.get() is not None:
                self._as_machine("lambda:InvokeFunction", _function_arn(reference))
            return call_lambda(reference, event)

        def nested(theirs: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
            def run(resource: str, data: Any) -> Any:
                request = stepfunctions._nested_start_execution_request(data)
                self._as_machine("states:StartExecution", request["stateMachineArn"])
                return theirs(resource, data)

            return run

        stepfunctions._call_lambda = call
        stepfunctions._invoke_nested_start_execution = nested(start_nested)
        stepfunctions._invoke_nested_start_execution_sync = nested(start_nested_sync)

    def _task(
        self, service: str, action: str, theirs: Callable[[str, Any], Any]
    ) -> Callable[[str, Any], Any]:
        name = f"{service}:{action[0].upper()}{action[1:]}"

        def run(resource: str, data: Any) -> Any:
            for arn in _task_resources(service, data):
                self._as_machine(name, arn)
            return theirs(resource, data)

        return run

    def _as_machine(self, action: str, resource: str) -> None:
        acting = current.get()
        if acting is None:
            return
        service = action.partition(":")[0]
        try:
            self._host.authorize(acting.caller(self._host), action, resource)
        except ServiceError as error:
            raise stepfunctions._ExecutionError(
                _DENIED_NAMES.get(service, "States.TaskFailed"),
                f"{error.message} (Service: {service}, Status Code: {error.status}, "
                f"Error Code: {error.code})",
            ) from error

    def _guard_sdk_tasks(self) -> None:
        theirs = app.call_service_handler_sync

        def call(
            handler: Any, method: str, path: str, headers: Any, body: Any, query: Any, *more: Any
        ) -> Any:
            acting = current.get()
            names = [name for name, known in app.SERVICE_HANDLERS.items() if known is handler]
            if acting is not None and names:
                content = body.encode() if isinstance(body, str) else body
                self._ask_sdk(names[0], method, path, headers, content, query)
            return theirs(handler, method, path, headers, body, query, *more)

        app.call_service_handler_sync = call

    def _ask_sdk(
        self, service: str, method: str, path: str, headers: Any, body: bytes, query: Any
    ) -> None:
        parameters = app._routing_params(method, path, headers, body, query)
        action = iam_actions.extract_iam_action(service, method, path, headers, body, parameters)
        if action is None:
            raise stepfunctions._ExecutionError(
                "States.Runtime", f"no IAM action is known for {service} {method} {path}"
            )
        arn = iam_actions.extract_resource_arn(
            service, method, path, headers, body, parameters, REGION, ACCOUNT
        )
        try:
            acting = current.get()
            if acting is not None:
                self._host.authorize(acting.caller(self._host), action, arn)
        except ServiceError as error:
            prefix = stepfunctions._AWS_SDK_ERROR_PREFIX.get(service, service.capitalize())
            raise stepfunctions._ExecutionError(
                f"{prefix}.{prefix}Exception",
                f"{error.message} (Service: {prefix}, Status Code: {error.status}, "
                f"Error Code: {error.code})",
            ) from error

    # EventBridge

    def _guard_rules(self) -> None:
        theirs = eventbridge._invoke_target

        def invoke(target: dict[str, Any], event: Any, rule: Any, view: Any = None) -> Any:
            refusal = self._target_refusal(target, rule)
            if refusal is None:
                return theirs(target, event, rule, view)
            _log.error("rule %s: target %s: %s", rule.get("Name"), target.get("Arn"), refusal)
            self._host.put_metric(
                "AWS/Events", "FailedInvocations", 1, "Count", {"RuleName": rule.get("Name", "")}
            )
            return None

        eventbridge._invoke_target = invoke

    def _target_refusal(self, target: dict[str, Any], rule: Any) -> str | None:
        arn = str(target.get("Arn", ""))
        service = arn.split(":")[2] if arn.count(":") >= 5 else ""
        action = {
            "states": "states:StartExecution",
            "events": "events:PutEvents",
            "kinesis": "kinesis:PutRecord",
            "lambda": "lambda:InvokeFunction",
            "sqs": "sqs:SendMessage",
            "sns": "sns:Publish",
        }.get(service)
        if action is None:
            return f"a target of the kind {service!r} is not carried out by the local cloud"
        if service in ("lambda", "sqs", "sns"):
            rule_arn = rule.get("Arn", "")
            return self._policy_refusal(service, arn, action, "events.amazonaws.com", rule_arn)
        role = target.get("RoleArn")
        if not role:
            return "the target has no role"
        try:
            session = self._host.identities.assume(role, "events.amazonaws.com")
            self._host.authorize(session.caller, action, arn)
        except ServiceError as error:
            return error.message
        return None

    # Lambda

    def _guard_mappings(self) -> None:
        theirs = lambda_svc._iter_all_esms

        def permitted() -> Iterator[tuple[str, str, dict[str, Any]]]:
            for account, region, mapping in theirs():
                refusal = self._mapping_refusal(account, region, mapping)
                if refusal is None:
                    yield account, region, mapping
                else:
                    mapping["LastProcessingResult"] = f"PROBLEM: {refusal}"

        lambda_svc._iter_all_esms = permitted

    def _mapping_refusal(self, account: str, region: str, mapping: dict[str, Any]) -> str | None:
        key = mapping["UUID"]
        decided = self._decisions.get(key)
        if decided is not None and decided[0] > time.monotonic():
            return decided[1]
        source = mapping.get("EventSourceArn", "")
        refusal = None
        with responses.request_scope(account, region):
            record, config = lambda_svc._get_func_record_for_qualifier(
                mapping["FunctionName"], mapping.get("Qualifier")
            )
            if record is not None:
                try:
                    role = (config or record["config"])["Role"]
                    session = self._host.identities.assume(role, "lambda.amazonaws.com")
                    for action in _SOURCE_ACTIONS.get(source.split(":")[2], ()):
                        self._host.authorize(session.caller, action, source)
                except ServiceError as error:
                    refusal = error.message
                    _log.error("event source %s: %s", source, refusal)
        self._decisions[key] = (time.monotonic() + _ESM_DECISION_SECONDS, refusal)
        return refusal

    def _guard_functions(self) -> None:
        credentials = lambda_runtime.execution_credentials
        deliver = s3._deliver_event_to_lambda
        call_raw = apigateway_v1._call_lambda_raw

        def of_role(config: dict[str, Any]) -> Any:
            try:
                self._host.identities.assume(config.get("Role", ""), "lambda.amazonaws.com")
            except ServiceError as error:
                raise RuntimeError(error.message) from error
            return credentials(config)

        def from_bucket(arn: str, payload: dict[str, Any], region: str) -> None:
            bucket = payload["Records"][0]["s3"]["bucket"]["arn"]
            refusal = self._policy_refusal(
                "lambda", arn, "lambda:InvokeFunction", "s3.amazonaws.com", bucket
            )
            if refusal is None:
                deliver(arn, payload, region)
            else:
                _log.error("notification of %s to %s: %s", bucket, arn, refusal)

        async def from_api(
            reference: str, event: dict[str, Any], *, account_id: Any = None, region: Any = None
        ) -> Any:
            context = event.get("requestContext", {})
            source = (
                f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{context.get('apiId')}/"
                f"{context.get('stage')}/{context.get('httpMethod')}{context.get('resourcePath')}"
            )
            refusal = self._policy_refusal(
                "lambda",
                _function_arn(reference),
                "lambda:InvokeFunction",
                "apigateway.amazonaws.com",
                source,
            )
            if refusal is not None:
                _log.error("API %s to %s: %s", source, reference, refusal)
                return None, "Execution failed due to configuration error: Invalid permissions"
            return await call_raw(reference, event, account_id=account_id, region=region)

        lambda_runtime.execution_credentials = of_role
        s3._deliver_event_to_lambda = from_bucket
        apigateway_v1._call_lambda_raw = from_api

    def _policy_refusal(
        self, service: str, arn: str, action: str, principal: str, source: str
    ) -> str | None:
        """Why a resource's own policy does not admit a service; None if it does."""
        with responses.request_scope(ACCOUNT, REGION):
            found = iam_evaluator._resource_policy(service, arn)
        question = iam_evaluator.EvalContext(
            principal_arn=f"arn:aws:iam::aws:{principal}",
            principal_type="Service",
            principal_account="",
            action=action,
            resource_arn=arn,
            region=REGION,
            source_ip="127.0.0.1",
            secure_transport=True,
            service_context={"aws:sourcearn": source, "aws:sourceaccount": ACCOUNT},
        )
        if found is not None and found[0]:
            answer = iam_evaluator.evaluate_resource_policy(found[0], question, service=principal)
            if answer.decision == "Allow":
                return None
        return f"its policy does not let {principal} do {action} for {source}"


def _function_arn(reference: str) -> str:
    """A function's ARN without its version, from a name, a partial or a whole ARN."""
    if reference.startswith("arn:"):
        return ":".join(reference.split(":")[:7])
    name = reference.partition(":function:")[2] or reference
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name.partition(':')[0]}"


def _task_resources(service: str, data: dict[str, Any]) -> list[str]:
    if service == "dynamodb":
        table = str(data.get("TableName", ""))
        whole = table.startswith("arn:")
        return [table if whole else f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"]
    if service == "sqs":
        name = str(data.get("QueueUrl", "")).rpartition("/")[2]
        return [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"]
    if service == "sns":
        return [str(data.get("TopicArn") or data.get("TargetArn") or "*")]
    if service == "events":
        body = json.dumps(data).encode()
        return list(iam_actions.eventbridge_resource_arns(body, REGION, ACCOUNT))
    return ["*"]


def passing_roles(host: MiniStackHost) -> None:
    """Ask iam:PassRole where a request hands a role to one of MiniStack's own services."""
    if not host.settings.strict:
        return
    for service in ("lambda", "states", "events"):
        app.SERVICE_HANDLERS[service] = _passing(host, service, app.SERVICE_HANDLERS[service])


def _passing(host: MiniStackHost, service: str, theirs: Any) -> Any:
    async def handle(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        key = router.extract_access_key_id(headers, query)
        roles = _roles_in(_document(body)) if method in ("POST", "PUT") and key else set()
        # The engine's own calls carry a root key, which may pass everything.
        if roles and not iam_evaluator.is_root_access_key(key) and "/invocations" not in path:
            caller = Caller(key, responses.get_account_id(), responses.get_region())
            for role in sorted(roles):
                try:
                    host.identities.pass_role(caller, role, f"{service}.amazonaws.com")
                except ServiceError as error:
                    text = {"__type": error.code, "message": error.message}
                    extra = {"content-type": "application/json", "x-amzn-errortype": error.code}
                    return 403, extra, json.dumps(text).encode()
        return await theirs(method, path, headers, body, query)

    return handle


def _document(body: Any) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError:
        return {}


def _roles_in(value: Any, name: str = "") -> set[str]:
    """The ARNs of roles under members that are named for a role."""
    if isinstance(value, dict):
        return set().union(*(_roles_in(item, key) for key, item in value.items()))
    if isinstance(value, list):
        return set().union(*(_roles_in(item, name) for item in value))
    named = "role" in name.lower() and isinstance(value, str)
    return {value} if named and value.startswith("arn:aws:iam::") else set()
