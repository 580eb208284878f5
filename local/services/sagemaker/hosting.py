"""Endpoints: which configuration serves, and how another takes its place.

An endpoint's document says what is true now. A change starts the new configuration's servers
beside the old ones; only when all of them answer does the traffic move, and the old ones drain.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, RLock, Thread

from local.services.base import Caller, Document, Host
from local.services.sagemaker.common import in_milliseconds, invalid, page
from local.services.sagemaker.models import Models
from local.services.sagemaker.server import ModelServer, StartFailed
from local.services.shelf import Shelf

_EVENT = "SageMaker Endpoint State Change"
_MOVING = frozenset({"Creating", "Updating", "Deleting"})
_REST_SECONDS = 60.0


@dataclass(frozen=True)
class Fleet:
    """The servers of one endpoint configuration."""

    servers: tuple[ModelServer, ...]

    def choose(self, variant: str | None) -> ModelServer | None:
        """The named variant's server, or one by weight."""
        if variant is not None:
            return next((server for server in self.servers if server.variant == variant), None)
        if len(self.servers) == 1:
            return self.servers[0]
        weights = [server.weight for server in self.servers]
        return random.choices(self.servers, weights)[0]  # noqa: S311 - spreads load, no secret

    def start(self) -> None:
        """Bring every server up, or none. Raises `StartFailed`."""
        try:
            for server in self.servers:
                server.start()
        except StartFailed:
            self.stop()
            raise

    def stop(self, drain_seconds: float = 60.0) -> None:
        """End every server."""
        for server in self.servers:
            server.stop(drain_seconds)


class Hosting(Models):
    """The operations on endpoints."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.endpoints = Shelf(self.folder / "endpoints")
        self.rest_seconds = float(os.environ.get("TIDEMILL_SERVERLESS_IDLE_SECONDS", _REST_SECONDS))
        self._fleets: dict[str, Fleet] = {}
        self._hosting_lock = RLock()
        self._changes: list[Thread] = []
        self._starting: set[Fleet] = set()
        self._closing = Event()

    def start_hosting(self) -> None:
        """Bring back the endpoints that the last cloud left."""
        shutil.rmtree(self.folder / "servers", ignore_errors=True)
        for endpoint in self.endpoints.values():
            name = endpoint["EndpointName"]
            if endpoint["EndpointStatus"] == "Deleting":
                self.endpoints.remove(name)
            elif endpoint["EndpointStatus"] == "Creating":
                self._begin(name, endpoint["Pending"])
            elif endpoint["EndpointStatus"] in ("InService", "Updating"):
                self._bring_back(endpoint)
        Thread(target=self._watch, name="endpoints", daemon=True).start()

    def stop_hosting(self) -> None:
        """End every server; the endpoints' documents stay."""
        self._closing.set()
        with self._hosting_lock:
            fleets = [*self._fleets.values(), *self._starting]
            self._fleets.clear()
        for fleet in fleets:
            fleet.stop(drain_seconds=0.5)
        for change in self._changes:
            change.join(5)

    def create_endpoint(self, request: Document, caller: Caller) -> Document:
        """Create an endpoint; it comes up in the background."""
        name = request["EndpointName"]
        arn = self.arn("endpoint", name)
        plan = self._plan(request["EndpointConfigName"])
        now = self.host.now()
        document = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": request["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
            "Pending": plan,
        }
        with self._hosting_lock:
            if name in self.endpoints:
                raise invalid(f'Cannot create already existing endpoint "{arn}".')
            self.tag(arn, request, caller)
            self.endpoints.put(name, document)
        self._announce(document)
        self._begin(name, plan)
        return {"EndpointArn": arn}

    def update_endpoint(self, request: Document, caller: Caller) -> Document:
        """Move an endpoint to another configuration, in the background."""
        del caller
        name = request["EndpointName"]
        plan = self._plan(request["EndpointConfigName"])
        if request.get("DeploymentConfig", {}).get("BlueGreenUpdatePolicy", {}):
            policy = request["DeploymentConfig"]["BlueGreenUpdatePolicy"]
            kind = policy["TrafficRoutingConfiguration"]["Type"]
            if kind != "ALL_AT_ONCE":
                raise invalid(f"The local cloud moves traffic ALL_AT_ONCE, not by {kind}.")
        with self._hosting_lock:
            endpoint = self.endpoint_named(name)
            if endpoint["EndpointStatus"] in _MOVING:
                raise invalid(f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".')
            if endpoint["EndpointStatus"] == "Failed":
                raise invalid(f'Cannot update failed endpoint "{endpoint["EndpointArn"]}".')
            # SageMaker reads the old configuration to go back to it, so it has to exist.
            self.config_named(endpoint["EndpointConfigName"])
            endpoint.pop("FailureReason", None)
            endpoint |= {
                "EndpointStatus": "Updating",
                "Pending": plan,
                "LastModifiedTime": self.host.now(),
            }
            self.endpoints.put(name, endpoint)
        self._announce(endpoint)
        self._begin(name, plan)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def delete_endpoint(self, request: Document, caller: Caller) -> Document:
        """Remove an endpoint; what is in flight is answered."""
        del caller
        name = request["EndpointName"]
        with self._hosting_lock:
            endpoint = self.endpoint_named(name)
            if endpoint["EndpointStatus"] in _MOVING:
                raise invalid(f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".')
            fleet = self._fleets.pop(name, None)
            changed = self.endpoints.change(name, EndpointStatus="Deleting")
        self._announce(changed)

        def remove() -> None:
            if fleet is not None:
                fleet.stop()
            self.endpoints.remove(name)

        self._in_background(remove, name)
        return {}

    def describe_endpoint(self, request: Document, caller: Caller) -> Document:
        """Describe an endpoint as it is now."""
        del caller
        endpoint = self.endpoint_named(request["EndpointName"])
        deployed, pending = endpoint.pop("Deployed", None), endpoint.pop("Pending", None)
        if deployed is not None:
            endpoint["ProductionVariants"] = [_variant(item) for item in deployed["variants"]]
        if pending is not None and endpoint["EndpointStatus"] == "Updating":
            endpoint["PendingDeploymentSummary"] = {
                "EndpointConfigName": pending["config"],
                "StartTime": endpoint["LastModifiedTime"],
            }
        return endpoint

    def list_endpoints(self, request: Document, caller: Caller) -> Document:
        """List endpoints."""
        del caller
        members = (
            "EndpointName",
            "EndpointArn",
            "CreationTime",
            "LastModifiedTime",
            "EndpointStatus",
        )
        return page(
            request,
            self.endpoints.values(),
            "EndpointName",
            "EndpointStatus",
            lambda endpoint: {member: endpoint[member] for member in members},
            "Endpoints",
        )

    def endpoint_named(self, name: str) -> Document:
        """An endpoint's document. Raises `ServiceError`."""
        found = self.endpoints.get(name)
        if found is None:
            raise invalid(f'Could not find endpoint "{self.arn("endpoint", name)}".')
        return found

    def fleet(self, name: str) -> Fleet | None:
        """The servers that answer for an endpoint now."""
        return self._fleets.get(name)

    def _plan(self, config_name: str) -> Document:
        """A configuration with its models, so that an endpoint outlives both documents."""
        config = self.config_named(config_name)
        variants = [
            {"variant": variant, "model": self.model_named(variant["ModelName"])}
            for variant in config["ProductionVariants"]
        ]
        return {"config": config_name, "variants": variants}

    def _make_fleet(self, name: str, plan: Document) -> Fleet:
        folder = self.folder / "servers" / name
        return Fleet(
            tuple(
                ModelServer(self.host, folder, name, item["variant"], item["model"])
                for item in plan["variants"]
            )
        )

    def _begin(self, name: str, plan: Document) -> None:
        self._in_background(lambda: self._deploy(name, plan), name)

    def _in_background(self, work: Callable[[], None], name: str) -> None:
        thread = Thread(target=work, name=f"endpoint-{name}", daemon=True)
        self._changes = [change for change in self._changes if change.is_alive()] + [thread]
        thread.start()

    def _deploy(self, name: str, plan: Document) -> None:
        fleet = self._make_fleet(name, plan)
        with self._hosting_lock:
            self._starting.add(fleet)
        try:
            fleet.start()
        except StartFailed as error:
            self._give_up(name, str(error))
            return
        except Exception as error:  # a fault of the local cloud must settle the endpoint, too
            fleet.stop(0.0)
            self._give_up(name, f"InternalServerError: {error!r}")
            return
        finally:
            with self._hosting_lock:
                self._starting.discard(fleet)
        old = self._shift_all_at_once(name, plan, fleet)
        if old is not None:
            old.stop()

    def _shift_all_at_once(self, name: str, plan: Document, fleet: Fleet) -> Fleet | None:
        """Let the new servers answer from now on; returns the old ones."""
        with self._hosting_lock:
            if self._closing.is_set():
                return fleet
            old, self._fleets[name] = self._fleets.get(name), fleet
            endpoint = self.endpoint_named(name)
            endpoint.pop("Pending", None)
            endpoint |= {
                "EndpointConfigName": plan["config"],
                "EndpointStatus": "InService",
                "Deployed": plan,
                "LastModifiedTime": self.host.now(),
            }
            self.endpoints.put(name, endpoint)
        self._announce(endpoint)
        return old

    def _give_up(self, name: str, reason: str) -> None:
        """A new endpoint is then failed; another goes on with what it served."""
        if self._closing.is_set():
            return
        with self._hosting_lock:
            endpoint = self.endpoint_named(name)
            endpoint.pop("Pending", None)
            status = "InService" if "Deployed" in endpoint else "Failed"
            endpoint |= {
                "EndpointStatus": status,
                "FailureReason": reason,
                "LastModifiedTime": self.host.now(),
            }
            self.endpoints.put(name, endpoint)
        self._announce(endpoint)

    def _bring_back(self, endpoint: Document) -> None:
        name = endpoint["EndpointName"]
        self._fleets[name] = fleet = self._make_fleet(name, endpoint["Deployed"])
        if endpoint["EndpointStatus"] == "Updating":
            self._give_up(name, "InternalServerError: the local cloud ended during the update")
        waiting = [server for server in fleet.servers if server.serverless is None]

        def start() -> None:
            for server in waiting:
                try:
                    server.start()
                except StartFailed as error:
                    self.endpoints.change(name, FailureReason=str(error))

        if waiting:
            self._in_background(start, name)

    def _watch(self) -> None:
        """Look after the servers."""
        while not self._closing.wait(min(1.0, self.rest_seconds / 4)):
            for fleet in list(self._fleets.values()):
                for server in fleet.servers:
                    server.tend(self.rest_seconds)

    def _announce(self, endpoint: Document) -> None:
        detail = {
            key: value for key, value in endpoint.items() if key not in ("Deployed", "Pending")
        }
        arn = endpoint["EndpointArn"]
        self.host.put_event("aws.sagemaker", _EVENT, in_milliseconds(detail), [arn])


def _variant(item: Document) -> Document:
    variant, image = item["variant"], item["model"]["PrimaryContainer"]["Image"]
    weight = variant.get("InitialVariantWeight", 1.0)
    described: Document = {
        "VariantName": variant["VariantName"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
    }
    if config := variant.get("ServerlessConfig"):
        described |= {"CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
    count = variant.get("InitialInstanceCount", 0)
    return {**described, "CurrentInstanceCount": count, "DesiredInstanceCount": count}
