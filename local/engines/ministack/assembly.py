"""Puts the parts together: what is installed, started and stopped, in which order."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from xml.etree import ElementTree

from ministack.core import lambda_runtime, responses
from ministack.services import iam

from local.engines.ministack import (
    mends_apigateway,
    mends_iam,
    mends_lambda,
    mends_memory,
    mends_s3,
    mends_stepfunctions,
)
from local.engines.ministack.carrier import Carrier
from local.engines.ministack.host import ALL, MiniStackHost, call_as_engine
from local.engines.ministack.integrations import Integrations
from local.engines.ministack.persistence import Persistence
from local.engines.ministack.roles import Roles, passing_roles
from local.engines.ministack.settings import ACCOUNT, REGION, Settings
from local.handshake import READY
from local.services.catalogue import SERVICES

_log = logging.getLogger(__name__)
_ADMINISTRATOR = "tidemill-administrator"


class Assembly:
    """One cloud's parts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.host = MiniStackHost(settings)
        self.carrier = Carrier(self.host, SERVICES)
        self.persistence = Persistence(settings)
        self._started: list[str] = []
        self._secret = secrets.token_hex()  # nobody's, until there is an administrator

    def install(self) -> None:
        """Change MiniStack before it serves its first request."""
        self.host.clock.install()
        self.carrier.install()
        mends_iam.install()
        mends_stepfunctions.install()
        mends_lambda.install()
        mends_memory.install()
        mends_s3.install()
        mends_apigateway.install()
        Roles(self.host).install()
        Integrations(self.carrier).install()
        passing_roles(self.host)
        self.persistence.install()

    def start(self) -> None:
        """Make the administrator, start the services, and say that the cloud is ready."""
        self._wait_for_port()
        credentials = self._administrator()
        self._secret = credentials["secret_key"]
        for model, service in self.host.services.items():
            service.start()
            self._started.append(model)
        self.persistence.start()
        ready = self.settings.directory / READY
        document = {
            "pid": os.getpid(),
            "endpoint_url": self.settings.endpoint_url,
            "strict": self.settings.strict,
            "region": REGION,
            **credentials,
        }
        partial = ready.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(document))
        partial.replace(ready)

    @property
    def command(self) -> tuple[Callable[[], str], Callable[[str, str], str]]:
        """What the cloud's own commands must carry, and what carries them out."""
        return lambda: self._secret, self._obey

    def _obey(self, name: str, argument: str) -> str:
        if name == "advance":
            self.host.clock.advance(float(argument))
            return f"{self.host.now():.3f}"
        if name == "reap":
            return f"{mends_lambda.reap(0)} workers ended"
        if name == "checkpoint":
            self.persistence.checkpoint()
            return "saved"
        raise ValueError(f"no command {name}")

    def stop(self) -> None:
        """End the services' work; requests are still answered meanwhile."""
        for model in reversed(self._started):
            try:
                self.host.services[model].stop()
            except Exception:
                _log.exception("stopping %s", model)
        self.persistence.stop()

    def cleanup(self) -> None:
        """End every worker, after the last request."""
        lambda_runtime.reset()
        (self.settings.directory / READY).unlink(missing_ok=True)

    def _wait_for_port(self) -> None:
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.settings.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError(f"port {self.settings.port} did not open")

    def _administrator(self) -> dict[str, str]:
        """The administrator's key: made at the first start, the same ever after."""
        kept = self.settings.directory / "administrator.json"
        if kept.exists():
            found: dict[str, str] = json.loads(kept.read_text())
            with responses.request_scope(ACCOUNT, REGION):
                if found["access_key"] in iam._access_keys:
                    return found
        with responses.request_scope(ACCOUNT, REGION):
            exists = _ADMINISTRATOR in iam._users
        if not exists:
            call_as_engine("iam", {"Action": "CreateUser", "UserName": _ADMINISTRATOR})
        call_as_engine(
            "iam",
            {
                "Action": "PutUserPolicy",
                "UserName": _ADMINISTRATOR,
                "PolicyName": "all",
                "PolicyDocument": json.dumps(ALL),
            },
        )
        answer = call_as_engine("iam", {"Action": "CreateAccessKey", "UserName": _ADMINISTRATOR})
        found = {
            {"AccessKeyId": "access_key", "SecretAccessKey": "secret_key"}[name]: str(node.text)
            for node in ElementTree.fromstring(answer).iter()  # noqa: S314 - our own engine's answer
            if (name := node.tag.rpartition("}")[2]) in ("AccessKeyId", "SecretAccessKey")
        }
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(found))
        return found
