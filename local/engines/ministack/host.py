"""What MiniStack offers the services it carries."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import responses
from ministack.services import cloudwatch, cloudwatch_logs, eventbridge, iam

from local.engines.ministack.clock import Clock
from local.engines.ministack.identity import Identity, Session
from local.engines.ministack.settings import ACCOUNT, REGION, Settings
from local.services.base import Caller, Document, RoleSession, Service, ServiceError

_OWN_ROLE = "AWSServiceRoleForTidemillLocal"


class MiniStackHost:
    """A `Host` on MiniStack. Every method is safe in any thread but the event loop's."""

    account = ACCOUNT
    region = REGION

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state_directory: Path = settings.directory / "services"
        self.state_directory.mkdir(parents=True, exist_ok=True)
        self.identities = Identity(settings)
        self.clock = Clock()
        self.services: dict[str, Service] = {}
        self._log_lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch by the cloud's clock."""
        return self.clock.now()

    def authorize(
        self,
        caller: Caller,
        action: str,
        resource: str,
        context: Mapping[str, str] | None = None,
    ) -> None:
        """Raise `ServiceError` AccessDeniedException unless IAM lets `caller` do this."""
        self.identities.authorize(caller, action, resource, context)

    def identity(self, caller: Caller) -> str:
        """The ARN of who calls."""
        return self.identities.arn(caller)

    def assume(self, role_arn: str, service_principal: str) -> RoleSession:
        """A session of the role for a service, if its trust policy admits that."""
        return self.identities.assume(role_arn, service_principal)

    def user_id(self, caller: Caller) -> str:
        """The caller's `aws:userid`."""
        return self.identities.user_id(caller)

    def client(self, service: str) -> Any:
        """A boto3 client that acts for the service itself, by a service-linked role."""
        return self.own_session().client(service)

    def own_session(self) -> Session:
        """The session of the role that services of ours act by for themselves."""
        with responses.request_scope(ACCOUNT, REGION):
            if _OWN_ROLE not in iam._roles:
                make_role(_OWN_ROLE, "tidemill.amazonaws.com")
            arn = iam._roles[_OWN_ROLE]["Arn"]
        return self.identities.assume(arn, "tidemill.amazonaws.com")

    def service(self, model: str) -> Service:
        """The service of ours with this botocore name."""
        return self.services[model]

    def put_event(
        self, source: str, detail_type: str, detail: Document, resources: Sequence[str] = ()
    ) -> None:
        """Put an event of an AWS service on the default EventBridge bus."""
        entry = {
            "Source": source,
            "DetailType": detail_type,
            "Detail": json.dumps(detail, default=str),
            "Resources": list(resources),
        }
        self._scoped(lambda: eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True))

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]
    ) -> None:
        """Record one service metric in CloudWatch."""
        self._scoped(
            lambda: cloudwatch.record_metric(namespace, name, value, unit, dict(dimensions))
        )

    def write_log(self, group: str, stream: str, lines: Sequence[str]) -> None:
        """Append lines to a CloudWatch log stream; both are made where they are missing."""
        stamp = int(self.now() * 1000)
        events = [{"timestamp": stamp, "message": line} for line in lines]

        def write() -> None:
            for operation, request in (
                (cloudwatch_logs._create_log_group, {"logGroupName": group}),
                (
                    cloudwatch_logs._create_log_stream,
                    {"logGroupName": group, "logStreamName": stream},
                ),
                (
                    cloudwatch_logs._put_log_events,
                    {"logGroupName": group, "logStreamName": stream, "logEvents": events},
                ),
            ):
                operation(request)  # a group or a stream that exists already is as good

        with self._log_lock:
            self._scoped(write)

    def _scoped(self, work: Callable[[], object]) -> None:
        with responses.request_scope(ACCOUNT, REGION):
            work()


def call_as_engine(service: str, parameters: Mapping[str, str]) -> bytes:
    """One request of a query-protocol service of MiniStack's, made by the engine itself.

    Raises `ServiceError` with the answer where it is an error. Not for the event loop's thread.
    """
    query = {key: [value] for key, value in parameters.items()}
    with responses.request_scope(ACCOUNT, REGION):
        status, _, body = app.call_service_handler_sync(
            app.SERVICE_HANDLERS[service], "POST", "/", {"host": "127.0.0.1"}, b"", query
        )
    content = body if isinstance(body, bytes) else str(body).encode()
    if status >= 400:
        raise ServiceError("EngineError", content.decode(errors="replace"), status)
    return content


def make_role(name: str, service: str) -> None:
    """Make a role that may do all, for the engine's own services."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        ],
    }
    call_as_engine(
        "iam",
        {
            "Action": "CreateRole",
            "RoleName": name,
            "Path": "/aws-service-role/",
            "AssumeRolePolicyDocument": json.dumps(trust),
        },
    )
    call_as_engine(
        "iam",
        {
            "Action": "PutRolePolicy",
            "RoleName": name,
            "PolicyName": "all",
            "PolicyDocument": json.dumps(ALL),
        },
    )


ALL: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
