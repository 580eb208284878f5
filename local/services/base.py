"""What a service of ours is, and what it may ask of the engine that carries it.

A service is a subclass of `Service` with one method for each API operation, named in snake
case (`CreateEndpoint` is `create_endpoint`), that takes the validated request and its caller
and returns the response as a dict of the operation's output members. An engine carries it
through `Dispatcher` (see `protocol.py`) and offers it a `Host`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

Document = dict[str, Any]


class ServiceError(Exception):
    """An error in a service's own terms: it reaches the client under `code` with `status`.

    `members` are those that the error's shape has beside the message.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, members: Document | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}


@dataclass(frozen=True)
class Caller:
    """Who calls. `access_key` is empty only for calls that CloudFormation makes for a stack."""

    access_key: str
    account: str
    region: str


@dataclass(frozen=True)
class Resource:
    """What CloudFormation keeps of a resource: `Ref` is `physical_id`, `GetAtt` an attribute."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class ResourceType(Protocol):
    """A CloudFormation resource type. Every method may block; `delete` must be idempotent."""

    type_name: str
    create_only: frozenset[str]
    """Properties whose change means a replacement."""

    def create(self, logical_id: str, properties: Document, caller: Caller) -> Resource:
        """Make the resource."""
        ...

    def update(self, physical_id: str, old: Document, new: Document, caller: Caller) -> Resource:
        """Change the resource in place; a failed change leaves it as it was."""
        ...

    def delete(self, physical_id: str, properties: Document, caller: Caller) -> None:
        """Remove the resource; one that is gone already is no error."""
        ...


@dataclass(frozen=True)
class SyncJob:
    """How Step Functions' `.sync` integration follows a job that an operation starts."""

    start: str
    describe: str
    stop: str
    identify: Callable[[Document, Document], Document]
    """From the start call's request and response to the describe and stop calls' request."""
    status: Callable[[Document], str]
    """From the describe call's response to the job's status."""
    succeeded: frozenset[str]
    failed: frozenset[str]
    result: Callable[[Document], Document] = lambda described: described
    """From the describe call's response to the state's output, and to a failure's cause."""


class RoleSession(Protocol):
    """A session of an IAM role, assumed by an AWS service on the role's behalf."""

    def client(self, service: str) -> Any:
        """A boto3 client (cached) that signs as the role and calls this local cloud."""
        ...

    def environment(self) -> dict[str, str]:
        """The variables that make a child process act as the role on this local cloud."""
        ...


class Host(Protocol):
    """What an engine offers the services it carries. Every method is safe in any thread."""

    account: str
    region: str
    state_directory: Path
    """Kept by `down`; a service keeps its own folder below it."""

    def now(self) -> float:
        """Seconds since the epoch by the cloud's clock, which tests can advance."""
        ...

    def authorize(
        self,
        caller: Caller,
        action: str,
        resource: str,
        context: Mapping[str, str] | None = None,
    ) -> None:
        """Raise `ServiceError` AccessDeniedException unless IAM lets `caller` do this."""
        ...

    def identity(self, caller: Caller) -> str:
        """The ARN of who calls, in the form of STS's GetCallerIdentity.

        For a role's session that is `arn:aws:sts::…:assumed-role/<role>/<session>`, for a user
        `arn:aws:iam::…:user/<name>`.
        """
        ...

    def user_id(self, caller: Caller) -> str:
        """The caller's `aws:userid`, which policies compare with a resource's owner."""
        ...

    def client(self, service: str) -> Any:
        """A boto3 client (cached) that acts for the service itself.

        Only for what AWS's services own by their service-linked roles, such as a managed secret;
        whatever a service does for a customer's role goes through `assume`.
        """
        ...

    def assume(self, role_arn: str, service_principal: str) -> RoleSession:
        """Assume a role for a service, say `firehose.amazonaws.com`.

        Raises `ServiceError` AccessDeniedException where the role is missing or its trust
        policy does not admit the service.
        """
        ...

    def service(self, model: str) -> Service:
        """The service of ours with this botocore name."""
        ...

    def put_event(
        self, source: str, detail_type: str, detail: Document, resources: Sequence[str] = ()
    ) -> None:
        """Put an event of an AWS service (`aws.…`) on the default EventBridge bus."""
        ...

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]
    ) -> None:
        """Record one service metric in CloudWatch."""
        ...

    def write_log(self, group: str, stream: str, lines: Sequence[str]) -> None:
        """Append lines to a CloudWatch log stream; both are made where they are missing."""
        ...


class Service:
    """One AWS API. Subclasses add a method for each operation they carry out.

    A service is made by `Service(host)`, may be entered from many threads at once, begins its
    own threads in `start`, and ends them and every child process in `stop`.
    """

    model: ClassVar[str]
    """The botocore service name, which names the API's model, for instance `redshift-data`."""
    iam_prefix: ClassVar[str]
    """The prefix of its IAM actions, for instance `redshift-data`."""
    sync_jobs: ClassVar[Sequence[SyncJob]] = ()
    """Operations that Step Functions can run and wait for."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """The ARNs on which IAM is asked for `operation`; overridden where they are narrower."""
        del operation, request, caller
        return ["*"]

    def ask_pass_role(self, caller: Caller, service_principal: str, *roles: str) -> None:
        """Raise `ServiceError` AccessDeniedException unless `caller` may hand over these roles.

        To be asked by every operation that takes a role: IAM cannot see it in the action alone.
        """
        if not caller.access_key:
            return
        for role in roles:
            context = {"iam:PassedToService": service_principal}
            self.host.authorize(caller, "iam:PassRole", role, context)

    def resource_types(self) -> Sequence[ResourceType]:
        """The CloudFormation types that this service provides."""
        return ()

    def start(self) -> None:
        """Begin work in the background and recover what `host.state_directory` holds."""

    def stop(self) -> None:
        """End every thread and child process; keep what must be durable."""
