"""Carries the services of ours: requests by HTTP, and their CloudFormation types."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast
from urllib.parse import urlencode

from ministack import app
from ministack.core import concurrency, iam_actions, responses, router
from ministack.services.cloudformation import provisioners, stacks

from local.engines.ministack.host import MiniStackHost
from local.engines.ministack.interrupted import OURS
from local.services.base import Caller, Document, ResourceType, Service
from local.services.protocol import Dispatcher, Response

Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Response]]

# Two services that sign with one name: the path tells them apart.
_SIGNED_AS = {"sagemaker-runtime": "sagemaker"}


class Carrier:
    """The services of ours on MiniStack, by their botocore names."""

    def __init__(self, host: MiniStackHost, services: Iterable[type[Service]]) -> None:
        self.host = host
        host.services.update({service.model: service(host) for service in services})
        self.dispatchers = {model: Dispatcher(service) for model, service in host.services.items()}

    def install(self) -> None:
        """Route the services' requests and provision their types."""
        for model in self.dispatchers:
            if model not in _SIGNED_AS:
                self._route(model)
        types = [
            type_ for service in self.host.services.values() for type_ in service.resource_types()
        ]
        for type_ in types:
            provisioners._RESOURCE_HANDLERS[type_.type_name] = _provisioner(type_)
        ours = {type_.type_name for type_ in types}
        theirs = stacks._runs_on_worker_thread
        stacks._runs_on_worker_thread = lambda type_name: type_name in ours or theirs(type_name)
        # Without this a request for a service nobody carries loads botocore's whole catalogue.
        router._KNOWN_AWS_SERVICE_NAMES = frozenset(router.SERVICE_PATTERNS)

    def _route(self, model: str) -> None:
        dispatcher = self.dispatchers[model]
        name = dispatcher.model.metadata.get("signingName") or model
        patterns = dict(router.SERVICE_PATTERNS.get(name, {}))
        target = dispatcher.model.metadata.get("targetPrefix")
        patterns.setdefault("host_patterns", [rf"{name}\."])
        patterns["credential_scope"] = name
        if target:
            patterns["target_prefixes"] = [f"{target}."]
        router.SERVICE_PATTERNS[name] = patterns
        app.SERVICE_HANDLERS[name] = self._handler(model)
        # MiniStack asks IAM for services it knows, on `*`: the dispatcher does, on the resource.
        iam_actions.SERVICE_TO_IAM_NAMESPACE.pop(name, None)

    def _handler(self, model: str) -> Handler:
        runtime = next((m for m, scope in _SIGNED_AS.items() if scope == model), None)

        async def handle(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
        ) -> Response:
            chosen = model
            if runtime in self.dispatchers and "x-amz-target" not in headers:
                chosen = runtime
            caller = Caller(
                router.extract_access_key_id(headers, query),
                responses.get_account_id(),
                responses.get_region(),
            )
            if not caller.access_key:
                return _refused()
            text = urlencode(query, doseq=True)
            return cast(
                Response,
                await concurrency.run_reentrant(
                    self.dispatchers[chosen].handle, method, path, headers, body, text, caller
                ),
            )

        return handle


def _refused() -> Response:
    body = {"__type": "MissingAuthenticationTokenException", "message": "The request is unsigned."}
    return 403, {"content-type": "application/json"}, json.dumps(body).encode()


def _provisioner(type_: ResourceType) -> Document:
    """A type of ours as MiniStack's provisioner wants it. Nobody authorizes CloudFormation."""

    def caller() -> Caller:
        return Caller("", responses.get_account_id(), responses.get_region())

    def create(logical_id: str, properties: Document, _stack: str) -> tuple[str, Document]:
        made = type_.create(logical_id, properties, caller())
        return made.physical_id, dict(made.attributes)

    def update(
        physical_id: str, old: Document, new: Document, stack: str, logical_id: str = ""
    ) -> tuple[str, Document]:
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        if changed & type_.create_only:
            # Another physical id than before tells MiniStack to delete the old resource.
            return create(logical_id or physical_id, new, stack)
        made = type_.update(physical_id, old, new, caller())
        return made.physical_id, dict(made.attributes)

    def delete(physical_id: str, properties: Document) -> None:
        type_.delete(physical_id, properties, caller())

    made = {"create": create, "update": update, "update_with_logical_id": True, "delete": delete}
    return {OURS: True, **made}
