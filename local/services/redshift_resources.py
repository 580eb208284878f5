"""The CloudFormation types of Redshift Serverless."""

from __future__ import annotations

from typing import Any

from local.services.base import Caller, Document, Resource, Service, ServiceError
from local.services.protocol import Dispatcher

# Properties of the type that no operation takes here: snapshots and recovery are AWS's alone.
_IGNORED = frozenset(
    {
        "FinalSnapshotName",
        "FinalSnapshotRetentionPeriod",
        "NamespaceResourcePolicy",
        "SnapshotCopyConfigurations",
        "Workgroup",
        "RecoveryPointId",
        "SnapshotArn",
        "SnapshotName",
        "SnapshotOwnerAccount",
    }
)


def _lower(value: Any) -> Any:
    """From CloudFormation's names to the API's, whose first letter is small."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _lower(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lower(item) for item in value]
    return value


def _typed(request: Document) -> Document:
    """CloudFormation may hand over numbers and booleans as text."""
    for key in ("baseCapacity", "maxCapacity", "port"):
        if key in request:
            request[key] = int(request[key])
    for key in ("manageAdminPassword", "publiclyAccessible", "enhancedVpcRouting"):
        if key in request:
            request[key] = str(request[key]).lower() == "true"
    return request


def _flatten(prefix: str, document: Document) -> Document:
    """GetAtt's names, `Workgroup.Endpoint.Address`, from what the API answers."""
    flat: Document = {}
    for key, value in document.items():
        name = f"{prefix}.{key[:1].upper()}{key[1:]}"
        if isinstance(value, dict):
            flat |= _flatten(name, value)
        else:
            flat[name] = value
    return flat


class _Type:
    type_name: str
    create_only: frozenset[str]
    kind: str

    def __init__(self, service: Service) -> None:
        self._service = service
        self._dispatcher: Dispatcher | None = None

    def _call(self, operation: str, request: Document, caller: Caller) -> Resource:
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(self._service)
        answer = self._dispatcher.call(operation, request, caller)[self.kind]
        attributes = _flatten(self.kind.capitalize(), answer)
        attributes |= {
            name.partition(".")[2]: value
            for name, value in attributes.items()
            if name.count(".") == 1
        }
        return Resource(answer[f"{self.kind}Name"], attributes)

    def create(self, logical_id: str, properties: Document, caller: Caller) -> Resource:
        """Make it."""
        del logical_id
        return self._call(f"Create{self.kind.capitalize()}", self._request(properties), caller)

    def update(self, physical_id: str, old: Document, new: Document, caller: Caller) -> Resource:
        """Change it in place; what did not change is not sent."""
        before, after = self._request(old), self._request(new)
        request = {key: value for key, value in after.items() if before.get(key) != value}
        request.pop("tags", None)
        request[f"{self.kind}Name"] = physical_id
        return self._call(f"Update{self.kind.capitalize()}", request, caller)

    def delete(self, physical_id: str, properties: Document, caller: Caller) -> None:
        """Remove it."""
        del properties
        try:
            name = {f"{self.kind}Name": physical_id}
            self._call(f"Delete{self.kind.capitalize()}", name, caller)
        except ServiceError as error:
            if error.code != "ResourceNotFoundException":
                raise

    @staticmethod
    def _request(properties: Document) -> Document:
        kept = {key: value for key, value in properties.items() if key not in _IGNORED}
        return _typed(_lower(kept))


class NamespaceType(_Type):
    """AWS::RedshiftServerless::Namespace."""

    type_name = "AWS::RedshiftServerless::Namespace"
    create_only = frozenset({"NamespaceName", "DbName"})
    kind = "namespace"


class WorkgroupType(_Type):
    """AWS::RedshiftServerless::Workgroup."""

    type_name = "AWS::RedshiftServerless::Workgroup"
    create_only = frozenset({"WorkgroupName", "NamespaceName"})
    kind = "workgroup"
