"""Redshift Serverless: namespaces with their databases, and the workgroups that reach them."""

from __future__ import annotations

import json
import secrets
import string
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.services.base import Caller, Document, Host, ResourceType, Service, ServiceError
from local.services.redshift_resources import NamespaceType, WorkgroupType
from local.services.warehouse.database import Database

REDSHIFT = "redshift.amazonaws.com"
"""Whom the roles of a namespace trust; COPY and UNLOAD assume them."""

_HIDDEN = frozenset({"password", "databases", "tags"})


class RedshiftServerless(Service):
    """Namespaces and workgroups; what they are is kept in a file, the rows in DuckDB's."""

    model = "redshift-serverless"
    iam_prefix = "redshift-serverless"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lock = threading.RLock()
        self._databases: dict[tuple[str, str], Database] = {}
        self._namespaces: dict[str, Document] = {}
        self._workgroups: dict[str, Document] = {}

    @property
    def _folder(self) -> Path:
        return self.host.state_directory / "redshift-serverless"

    def start(self) -> None:
        """Take up what the state directory holds."""
        path = self._folder / "state.json"
        if path.exists():
            state = json.loads(path.read_text())
            with self._lock:
                self._namespaces = state["namespaces"]
                self._workgroups = state["workgroups"]

    def stop(self) -> None:
        """Write the databases' logs into their files."""
        with self._lock:
            for database in self._databases.values():
                database.close()
            self._databases.clear()

    def _save(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "state.json"
        fresh = path.with_suffix(".new")
        state = {"namespaces": self._namespaces, "workgroups": self._workgroups}
        fresh.write_text(json.dumps(state))
        fresh.replace(path)

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """Operations on one namespace or workgroup are asked on its ARN."""
        del operation, caller
        with self._lock:
            if found := self._workgroups.get(request.get("workgroupName", "")):
                return [found["workgroupArn"]]
            if found := self._namespaces.get(request.get("namespaceName", "")):
                return [found["namespaceArn"]]
        return [request.get("resourceArn", "*")]

    def resource_types(self) -> Sequence[ResourceType]:
        """AWS::RedshiftServerless::Namespace and ::Workgroup."""
        return (NamespaceType(self), WorkgroupType(self))

    # What the Data API asks

    def workgroup(self, name: str) -> Document:
        """A workgroup. Raises `ServiceError` where there is none."""
        with self._lock:
            if name not in self._workgroups:
                raise _missing("workgroup", name)
            return dict(self._workgroups[name])

    def namespace(self, name: str) -> Document:
        """A namespace. Raises `ServiceError` where there is none."""
        with self._lock:
            if name not in self._namespaces:
                raise _missing("namespace", name)
            return dict(self._namespaces[name])

    def database(self, workgroup: str, name: str) -> Database | None:
        """A database of a workgroup's namespace; None where it has none of this name."""
        with self._lock:
            namespace = self._namespaces[self.workgroup(workgroup)["namespaceName"]]
            if name not in namespace["databases"]:
                return None
            key = (namespace["namespaceName"], name)
            if key not in self._databases:
                folder = self._folder / namespace["namespaceId"]
                self._databases[key] = Database(folder, name)
            return self._databases[key]

    # Namespaces

    def create_namespace(self, request: Document, caller: Caller) -> Document:
        """Make a namespace with its first database, and the secret of its administrator."""
        self.ask_pass_role(caller, REDSHIFT, *sorted(_roles(request)))
        name = request["namespaceName"]
        managed = request.get("manageAdminPassword", False)
        if managed and request.get("adminUserPassword"):
            raise ServiceError(
                "ValidationException",
                "You can't use adminUserPassword if manageAdminPassword is true.",
            )
        with self._lock:
            if name in self._namespaces:
                raise ServiceError("ConflictException", f"Namespace {name} already exists.")
            identifier = str(uuid4())
            database = request.get("dbName", "dev")
            namespace: Document = {
                "adminUsername": request.get("adminUsername", "admin"),
                "creationDate": self.host.now(),
                "dbName": database,
                "databases": [database],
                "defaultIamRoleArn": request.get("defaultIamRoleArn"),
                "iamRoles": list(request.get("iamRoles", ())),
                "kmsKeyId": request.get("kmsKeyId", "AWS_OWNED_KMS_KEY"),
                "logExports": list(request.get("logExports", ())),
                "namespaceArn": self._arn(caller, "namespace", identifier),
                "namespaceId": identifier,
                "namespaceName": name,
                "password": request.get("adminUserPassword", _password()),
                "status": "AVAILABLE",
                "tags": _tags(request),
            }
            if managed:
                namespace["adminPasswordSecretArn"] = self._make_secret(namespace)
                key = request.get("adminPasswordSecretKmsKeyId")
                namespace["adminPasswordSecretKmsKeyId"] = key
            self._namespaces[name] = namespace
            self._save()
            return {"namespace": _shown(namespace)}

    def _make_secret(self, namespace: Document) -> str:
        """The managed secret, under the name that Redshift gives it."""
        client = self.host.client("secretsmanager")
        name = f"redshift!{namespace['namespaceName']}-{namespace['adminUsername']}"
        content = json.dumps(
            {"username": namespace["adminUsername"], "password": namespace["password"]}
        )
        try:
            answer = client.create_secret(Name=name, SecretString=content)
        except client.exceptions.ResourceExistsException:
            answer = client.put_secret_value(SecretId=name, SecretString=content)
        return str(answer["ARN"])

    def _drop_secret(self, namespace: Document) -> None:
        if arn := namespace.get("adminPasswordSecretArn"):
            client = self.host.client("secretsmanager")
            try:
                client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
            except client.exceptions.ResourceNotFoundException:
                return

    def get_namespace(self, request: Document, caller: Caller) -> Document:
        """Describe a namespace."""
        del caller
        return {"namespace": _shown(self.namespace(request["namespaceName"]))}

    def list_namespaces(self, request: Document, caller: Caller) -> Document:
        """List the namespaces, in pages."""
        del caller
        with self._lock:
            found = [_shown(self._namespaces[name]) for name in sorted(self._namespaces)]
        return _page("namespaces", found, request)

    def update_namespace(self, request: Document, caller: Caller) -> Document:
        """Change roles, log exports, or who keeps the administrator's password."""
        self.ask_pass_role(caller, REDSHIFT, *sorted(_roles(request)))
        name = request["namespaceName"]
        with self._lock:
            namespace = self.namespace(name)
            for key in ("defaultIamRoleArn", "iamRoles", "kmsKeyId", "logExports"):
                if key in request:
                    namespace[key] = request[key]
            if "adminUserPassword" in request:
                namespace["password"] = request["adminUserPassword"]
            if "adminUsername" in request:
                namespace["adminUsername"] = request["adminUsername"]
            managed = request.get("manageAdminPassword")
            if managed and not namespace.get("adminPasswordSecretArn"):
                namespace["password"] = _password()
                namespace["adminPasswordSecretArn"] = self._make_secret(namespace)
            if managed is False:
                self._drop_secret(namespace)
                namespace.pop("adminPasswordSecretArn", None)
            self._namespaces[name] = namespace
            self._save()
            return {"namespace": _shown(namespace)}

    def delete_namespace(self, request: Document, caller: Caller) -> Document:
        """Delete a namespace with its databases; its workgroups must be gone."""
        del caller
        name = request["namespaceName"]
        with self._lock:
            namespace = self.namespace(name)
            if any(w["namespaceName"] == name for w in self._workgroups.values()):
                raise ServiceError(
                    "ConflictException",
                    f"Namespace {name} is associated with a workgroup. Delete it first.",
                )
            for database in namespace["databases"]:
                found = self._databases.pop((name, database), None)
                (found or Database(self._folder / namespace["namespaceId"], database)).remove()
            self._drop_secret(namespace)
            del self._namespaces[name]
            self._save()
        return {"namespace": {**_shown(namespace), "status": "DELETING"}}

    # Workgroups

    def create_workgroup(self, request: Document, caller: Caller) -> Document:
        """Make a workgroup for a namespace, which has one at most."""
        name = request["workgroupName"]
        with self._lock:
            if name in self._workgroups:
                raise ServiceError("ConflictException", f"Workgroup {name} already exists.")
            self.namespace(request["namespaceName"])
            if any(
                w["namespaceName"] == request["namespaceName"] for w in self._workgroups.values()
            ):
                raise ServiceError(
                    "ConflictException",
                    f"Namespace {request['namespaceName']} already has a workgroup.",
                )
            identifier = str(uuid4())
            port = request.get("port", 5439)
            host = f"{name}.{caller.account}.{caller.region}.redshift-serverless.amazonaws.com"
            workgroup: Document = {
                "baseCapacity": request.get("baseCapacity", 128),
                "configParameters": request.get("configParameters", []),
                "creationDate": self.host.now(),
                "endpoint": {"address": host, "port": port, "vpcEndpoints": []},
                "enhancedVpcRouting": request.get("enhancedVpcRouting", False),
                "maxCapacity": request.get("maxCapacity"),
                "namespaceName": request["namespaceName"],
                "port": port,
                "publiclyAccessible": request.get("publiclyAccessible", False),
                "securityGroupIds": request.get("securityGroupIds", []),
                "status": "AVAILABLE",
                "subnetIds": request.get("subnetIds", []),
                "tags": _tags(request),
                "workgroupArn": self._arn(caller, "workgroup", identifier),
                "workgroupId": identifier,
                "workgroupName": name,
            }
            self._workgroups[name] = workgroup
            self._save()
            return {"workgroup": _shown(workgroup)}

    def get_workgroup(self, request: Document, caller: Caller) -> Document:
        """Describe a workgroup."""
        del caller
        return {"workgroup": _shown(self.workgroup(request["workgroupName"]))}

    def list_workgroups(self, request: Document, caller: Caller) -> Document:
        """List the workgroups, in pages."""
        del caller
        with self._lock:
            found = [_shown(self._workgroups[name]) for name in sorted(self._workgroups)]
        return _page("workgroups", found, request)

    def update_workgroup(self, request: Document, caller: Caller) -> Document:
        """Change a workgroup's settings."""
        del caller
        name = request["workgroupName"]
        with self._lock:
            workgroup = self.workgroup(name)
            for key in (
                "baseCapacity",
                "configParameters",
                "enhancedVpcRouting",
                "maxCapacity",
                "port",
                "publiclyAccessible",
                "securityGroupIds",
                "subnetIds",
            ):
                if key in request:
                    workgroup[key] = request[key]
            workgroup["endpoint"] = {**workgroup["endpoint"], "port": workgroup["port"]}
            self._workgroups[name] = workgroup
            self._save()
            return {"workgroup": _shown(workgroup)}

    def delete_workgroup(self, request: Document, caller: Caller) -> Document:
        """Delete a workgroup; the namespace keeps the rows."""
        del caller
        with self._lock:
            workgroup = self.workgroup(request["workgroupName"])
            del self._workgroups[request["workgroupName"]]
            self._save()
        return {"workgroup": {**_shown(workgroup), "status": "DELETING"}}

    # Credentials and tags

    def get_credentials(self, request: Document, caller: Caller) -> Document:
        """Temporary credentials of the database user that the caller's identity has."""
        if "workgroupName" not in request:
            raise ServiceError("ValidationException", "workgroupName is required")
        self.workgroup(request["workgroupName"])
        seconds = request.get("durationSeconds", 900)
        expires = datetime.fromtimestamp(self.host.now(), UTC) + timedelta(seconds=seconds)
        return {
            "dbUser": database_user(self.host.identity(caller)),
            "dbPassword": _password(),
            "expiration": expires,
            "nextRefreshTime": expires,
        }

    def tag_resource(self, request: Document, caller: Caller) -> Document:
        """Add tags."""
        del caller
        with self._lock:
            self._tagged(request["resourceArn"])["tags"].update(_tags(request))
            self._save()
        return {}

    def untag_resource(self, request: Document, caller: Caller) -> Document:
        """Remove tags."""
        del caller
        with self._lock:
            tags = self._tagged(request["resourceArn"])["tags"]
            for key in request["tagKeys"]:
                tags.pop(key, None)
            self._save()
        return {}

    def list_tags_for_resource(self, request: Document, caller: Caller) -> Document:
        """List the tags."""
        del caller
        with self._lock:
            tags = self._tagged(request["resourceArn"])["tags"]
            return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}

    def _tagged(self, arn: str) -> Document:
        for resource in (*self._namespaces.values(), *self._workgroups.values()):
            if arn in (resource.get("namespaceArn"), resource.get("workgroupArn")):
                return resource
        raise ServiceError("ResourceNotFoundException", f"There is no resource {arn}.")

    @staticmethod
    def _arn(caller: Caller, kind: str, identifier: str) -> str:
        return f"arn:aws:redshift-serverless:{caller.region}:{caller.account}:{kind}/{identifier}"


def database_user(arn: str) -> str:
    """The database user of an IAM identity: `IAMR:<role>` or `IAM:<user>`."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"IAMR:{rest.partition('/')[0]}"
    if kind == "role":
        return f"IAMR:{rest.rpartition('/')[2]}"
    return f"IAM:{rest.rpartition('/')[2] or kind}"


def _missing(kind: str, name: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"The {kind} {name} was not found.")


def _shown(kept: Document) -> Document:
    return {key: value for key, value in kept.items() if key not in _HIDDEN and value is not None}


def _roles(request: Document) -> set[str]:
    """The roles that a request hands to a namespace."""
    return {*request.get("iamRoles", ()), *filter(None, [request.get("defaultIamRoleArn")])}


def _tags(request: Document) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in request.get("tags", ())}


def _page(key: str, items: list[Document], request: Document) -> Document:
    size = request.get("maxResults", 100)
    try:
        start = int(request.get("nextToken", "0"))
    except ValueError:
        raise ServiceError("ValidationException", "The nextToken is not valid.") from None
    page: dict[str, Any] = {key: items[start : start + size]}
    if start + size < len(items):
        page["nextToken"] = str(start + size)
    return page


def _password() -> str:
    """32 characters; one of each class, as Redshift wants."""
    letters = string.ascii_letters + string.digits
    return "aZ9" + "".join(secrets.choice(letters) for _ in range(29))
