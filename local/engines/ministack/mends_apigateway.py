"""What MiniStack's CloudFormation leaves out of REST APIs: request validators.

It numbers a validator without making one, and puts a method without naming its validator, so that
no body is ever held to its schema.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import apigateway_v1
from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]


def install() -> None:
    """Let templates make validators, and methods use them."""
    provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RequestValidator"] = {
        "create": _create,
        "update": _update,
        "delete": _delete,
    }
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::Method"]
    put, put_again = handlers["create"], handlers["update"]

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = put(logical_id, properties, stack)
        _name_validator(properties)
        return made

    def update(physical_id: str, old: Properties, new: Properties, stack: str) -> Made:
        made: Made = put_again(physical_id, old, new, stack)
        _name_validator(new)
        return made

    handlers |= {"create": create, "update": update}


def _create(logical_id: str, properties: Properties, stack: str) -> Made:  # noqa: ARG001 - the engine's signature
    wanted = {
        "name": properties.get("Name", ""),
        "validateRequestBody": _flag(properties, "ValidateRequestBody"),
        "validateRequestParameters": _flag(properties, "ValidateRequestParameters"),
    }
    status, _, body = apigateway_v1._create_request_validator(properties["RestApiId"], wanted)
    if status >= 400:
        raise ValueError(f"AWS::ApiGateway::RequestValidator create failed: {body!r}")
    made = json.loads(body)["id"]
    return made, {"RequestValidatorId": made}


def _update(physical_id: str, old: Properties, new: Properties, stack: str) -> Made:
    if any(new.get(name) != old.get(name) for name in ("RestApiId", "Name")):
        return _create("", new, stack)
    patch = [
        {
            "op": "replace",
            "path": f"/{name[0].lower()}{name[1:]}",
            "value": str(_flag(new, name)).lower(),
        }
        for name in ("ValidateRequestBody", "ValidateRequestParameters")
    ]
    changes = {"patchOperations": patch}
    apigateway_v1._update_request_validator(new["RestApiId"], physical_id, changes)
    return physical_id, {"RequestValidatorId": physical_id}


def _delete(physical_id: str, properties: Properties) -> None:
    apigateway_v1._delete_request_validator(properties["RestApiId"], physical_id)


def _name_validator(properties: Properties) -> None:
    resource = apigateway_v1._resources[properties["RestApiId"]][properties["ResourceId"]]
    method = resource["resourceMethods"][properties.get("HttpMethod", "ANY")]
    method["requestValidatorId"] = properties.get("RequestValidatorId")


def _flag(properties: Properties, name: str) -> bool:
    return str(properties.get(name, False)).lower() == "true"
