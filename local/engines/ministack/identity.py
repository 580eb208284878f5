"""Who may do what: IAM asked on behalf of a caller, and role sessions made for services."""

from __future__ import annotations

import contextvars
import functools
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from ministack.core import iam_evaluator, responses
from ministack.services import iam, sts

from local.engines.ministack.settings import ACCOUNT, REGION, Settings
from local.services.base import Caller, ServiceError
from local.services.definitions import LOADER

_SESSION_SECONDS = 12 * 3600
_making = threading.Lock()
"""Making clients is not thread-safe in boto3."""


@functools.cache
def _boto3() -> boto3.Session:
    """One session makes the clients of all, each with its own credentials: a session is big."""
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    return boto3.Session(botocore_session=core)


@dataclass
class Session:
    """The credentials of one principal on this cloud. It is a `RoleSession`."""

    settings: Settings
    access_key: str
    secret_key: str
    token: str | None
    expires: float

    def __post_init__(self) -> None:
        self._clients: dict[str, Any] = {}

    @property
    def caller(self) -> Caller:
        """The session as the caller of a service of ours."""
        return Caller(self.access_key, ACCOUNT, REGION)

    def client(self, service: str) -> Any:
        """A boto3 client (cached) that signs as the session and calls this local cloud."""
        with _making:
            if service not in self._clients:
                certificates = self.settings.certificates
                self._clients[service] = _boto3().client(  # type: ignore[call-overload]  # the name is no literal
                    service,
                    aws_access_key_id=self.access_key,
                    aws_secret_access_key=self.secret_key,
                    aws_session_token=self.token,
                    region_name=REGION,
                    endpoint_url=self.settings.endpoint_url,
                    verify=str(certificates.authority) if certificates else None,
                    config=Config(
                        max_pool_connections=32,
                        s3={"addressing_style": "path"},
                        retries={"max_attempts": 3, "mode": "standard"},
                    ),
                )
            return self._clients[service]

    def environment(self) -> dict[str, str]:
        """The variables that make a child process act as the session on this local cloud."""
        variables = {
            "AWS_ENDPOINT_URL": self.settings.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }
        if self.token is not None:
            variables["AWS_SESSION_TOKEN"] = self.token
        if self.settings.certificates is not None:
            variables |= self.settings.certificates.environment()
        return variables


class Identity:
    """IAM, asked from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions: dict[tuple[str, str], Session] = {}
        self._lock = threading.Lock()

    def authorize(
        self,
        caller: Caller,
        action: str,
        resource: str,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Raise `ServiceError` AccessDeniedException unless IAM lets `caller` do this."""
        if not self._settings.strict or not caller.access_key:
            return

        # A context of its own: the caller's may hold a request whose signature is being checked.
        def ask() -> object:
            iam_evaluator.pin_request_origin("127.0.0.1", True)
            with responses.request_scope(caller.account, caller.region):
                return iam_evaluator.enforce(
                    caller.access_key,
                    action,
                    action.partition(":")[0],
                    caller.region,
                    resource_arn=resource,
                    service_context=dict(context or {}),
                )

        denied = contextvars.Context().run(ask)
        if denied is None:
            return
        if isinstance(denied, iam_evaluator.AuthError):
            raise ServiceError(denied.code, denied.message, 403)
        raise ServiceError(
            "AccessDeniedException",
            f"User: {self.arn(caller)} is not authorized to perform: {action} on resource: "
            f"{resource} because no policy allows it or one denies it",
        )

    def arn(self, caller: Caller) -> str:
        """The ARN of who calls, in the form of STS's GetCallerIdentity."""
        return str(self._credential(caller).principal_arn)

    def user_id(self, caller: Caller) -> str:
        """The caller's `aws:userid`."""
        return str(self._credential(caller).principal_id)

    @staticmethod
    def _credential(caller: Caller) -> Any:
        with responses.request_scope(caller.account, caller.region):
            found = iam_evaluator.resolve_credential(caller.access_key, caller.account)
        if isinstance(found, iam_evaluator.CredentialResolutionError):
            raise ServiceError(found.code, found.message, 403)
        return found

    def pass_role(self, caller: Caller, role_arn: str, service: str) -> None:
        """Raise `ServiceError` unless `caller` may pass the role to a service."""
        self.authorize(caller, "iam:PassRole", role_arn, {"iam:PassedToService": service})

    def assume(self, role_arn: str, service: str) -> Session:
        """A session of the role for a service principal, if its trust policy admits that."""
        key = (role_arn, service)
        self._check_trust(role_arn, service)
        with self._lock:
            session = self._sessions.get(key)
            if session is None or session.expires < time.time() + 3600:
                session = self._sessions[key] = self._new_session(role_arn, service)
            return session

    def _check_trust(self, role_arn: str, service: str) -> None:
        with responses.request_scope(ACCOUNT, REGION):
            role = iam._roles.get(role_arn.rpartition("/")[2])
        if role is None or role.get("Arn") != role_arn:
            raise ServiceError("AccessDeniedException", f"Role {role_arn} does not exist")
        # Firehose gives the account as its external id, as AWS documents.
        context = {"aws:sourceaccount": ACCOUNT, "sts:externalid": ACCOUNT}
        question = iam_evaluator.EvalContext(
            principal_arn=f"arn:aws:iam::aws:{service}",
            principal_type="Service",
            principal_account="",
            action="sts:AssumeRole",
            resource_arn="*",
            region=REGION,
            service_context=context,
        )
        document = role.get("AssumeRolePolicyDocument")
        if isinstance(document, str):
            document = json.loads(document)
        # A trust policy has no Resource; the evaluator of resource policies wants one.
        statements = document.get("Statement", [])
        statements = [statements] if isinstance(statements, dict) else statements
        document = {"Statement": [{**statement, "Resource": "*"} for statement in statements]}
        answer = iam_evaluator.evaluate_resource_policy(document, question, service=service)
        if answer.decision != "Allow":
            raise ServiceError(
                "AccessDeniedException",
                f"{service} is not authorized to perform: sts:AssumeRole on resource: {role_arn}: "
                "its trust policy does not admit the service",
            )

    def _new_session(self, role_arn: str, service: str) -> Session:
        session = Session(
            self._settings,
            iam._gen_session_access_key(),
            iam._gen_secret(),
            iam._gen_session_token(),
            time.time() + _SESSION_SECONDS,
        )
        role = role_arn.rpartition("/")[2]
        name = service.partition(".")[0]
        sts.register_session(
            session.access_key,
            {
                "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}",
                "UserId": f"{role}:{name}",
                "SecretAccessKey": session.secret_key,
                "SessionToken": session.token,
                "Expiration": session.expires,
                "AccountId": ACCOUNT,
                "PrincipalType": "AssumedRole",
            },
        )
        return session
