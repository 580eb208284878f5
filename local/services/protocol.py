"""The wire protocols of AWS (`json` and `rest-json`), read off botocore's service models.

A request is parsed, validated against the model more strictly than AWS does (an unknown member
is an error, since it is nearly always a typing mistake), authorized, carried out by a `Service`
and serialized again. https://smithy.io/2.0/aws/protocols/index.html describes the protocols.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote
from uuid import uuid4

from botocore import xform_name

from local.services.base import Caller, Document, Service, ServiceError
from local.services.definitions import service_model

Headers = dict[str, str]
Response = tuple[int, Headers, bytes]


class Dispatcher:
    """Carries requests to one service: by HTTP with `handle`, inside the process with `call`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.model = service_model(service.model)
        self._routes = [
            (_route(operation.http["requestUri"]), operation.http["method"], name)
            for name in self.model.operation_names
            if (operation := self.model.operation_model(name)).http
        ]

    def call(self, operation: str, request: Document, caller: Caller) -> Document:
        """Validate, authorize and carry out one operation.

        Raises `ServiceError` for whatever the service's API would answer with an error.
        """
        if operation not in self.model.operation_names:
            raise ServiceError("UnknownOperationException", f"{operation} is not an operation")
        method = getattr(self.service, xform_name(operation), None)
        if method is None:
            raise ServiceError(
                "UnknownOperationException",
                f"The local cloud does not carry out {self.model.service_name}:{operation}.",
            )
        shape = self.model.operation_model(operation).input_shape
        errors: list[str] = []
        if shape is not None:
            _validate(shape, request, "", errors)
        if errors:
            text = "; ".join(errors)
            count = len(errors)
            plural = "error" if count == 1 else "errors"
            raise ServiceError(
                "ValidationException", f"{count} validation {plural} detected: {text}"
            )
        action = f"{self.service.iam_prefix}:{operation}"
        if caller.access_key:
            for resource in self.service.resources(operation, request, caller):
                self.service.host.authorize(caller, action, resource)
        result: Document = method(request, caller)
        return result

    def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: str,
        caller: Caller,
    ) -> Response:
        """Answer one HTTP request. `headers` has lower-case names; `query` is the raw string."""
        request_id = str(uuid4())
        try:
            operation = self._operation(method, path, headers)
            request = self._parse(operation, path, headers, body, query)
            response = self.call(operation, request, caller)
            status, extra, content = self._serialize(operation, response)
            return status, {"x-amzn-requestid": request_id, **extra}, content
        except ServiceError as error:
            shown = {"__type": error.code, "message": error.message, **error.members}
            content = json.dumps(shown).encode()
            return (
                error.status,
                {
                    "x-amzn-requestid": request_id,
                    "x-amzn-errortype": error.code,
                    "content-type": "application/json",
                },
                content,
            )

    def _operation(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        if target := headers.get("x-amz-target"):
            return target.rpartition(".")[2]
        for pattern, verb, name in self._routes:
            if verb == method and pattern.fullmatch(path):
                return name
        raise ServiceError("UnknownOperationException", f"no operation at {method} {path}", 404)

    def _parse(
        self, operation: str, path: str, headers: Mapping[str, str], body: bytes, query: str
    ) -> Document:
        if operation not in self.model.operation_names:
            raise ServiceError("UnknownOperationException", f"{operation} is not an operation")
        shape = self.model.operation_model(operation).input_shape
        if shape is None:
            return {}
        if self.model.metadata["protocol"] != "rest-json":
            return dict(_decode(shape, _load(body)))
        return self._parse_rest(operation, shape, path, headers, body, query)

    def _parse_rest(
        self,
        operation: str,
        shape: Any,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: str,
    ) -> Document:
        uri = self.model.operation_model(operation).http["requestUri"]
        matched = _route(uri).fullmatch(path)
        labels = matched.groupdict() if matched else {}
        arguments = parse_qs(query, keep_blank_values=True)
        payload = shape.serialization.get("payload")
        found: Document = {}
        in_body: dict[str, Any] = {}
        for name, member in shape.members.items():
            where = member.serialization.get("location")
            wire = member.serialization.get("name", name)
            if where == "uri" and wire in labels:
                found[name] = unquote(labels[wire])
            elif where == "header" and wire.lower() in headers:
                found[name] = _from_text(member, headers[wire.lower()])
            elif where == "querystring" and wire in arguments:
                found[name] = _from_text(member, arguments[wire][0])
            elif where == "headers":
                prefix = wire.lower()
                found[name] = {
                    key[len(prefix) :]: value
                    for key, value in headers.items()
                    if key.startswith(prefix)
                }
            elif where is None and name != payload:
                in_body[name] = member
        if payload:
            member = shape.members[payload]
            found[payload] = body if member.type_name == "blob" else _decode(member, _load(body))
        elif in_body:
            known = _decode(shape, _load(body))
            found.update(known)
        return found

    def _serialize(self, operation: str, response: Document) -> Response:
        shape = self.model.operation_model(operation).output_shape
        version = self.model.metadata.get("jsonVersion", "1.1")
        rest = self.model.metadata["protocol"] == "rest-json"
        kind = "application/json" if rest else f"application/x-amz-json-{version}"
        if shape is None:
            return 200, {"content-type": kind}, b"{}"
        if not rest:
            return 200, {"content-type": kind}, json.dumps(_encode(shape, response)).encode()
        headers = {"content-type": kind}
        status = self.model.operation_model(operation).http.get("responseCode", 200)
        payload = shape.serialization.get("payload")
        body: Document = {}
        for name, member in shape.members.items():
            value = response.get(name)
            if value is None or name == payload:
                continue
            where = member.serialization.get("location")
            wire = member.serialization.get("name", name)
            if where == "header":
                headers[wire.lower()] = str(value)
            elif where == "statusCode":
                status = int(value)
            else:
                body[wire] = _encode(member, value)
        if payload:
            value = response.get(payload, b"")
            if shape.members[payload].type_name == "blob":
                return status, headers, bytes(value)
            return status, headers, json.dumps(_encode(shape.members[payload], value)).encode()
        return status, headers, json.dumps(body).encode()


def _route(uri: str) -> re.Pattern[str]:
    path = uri.partition("?")[0]
    pieces = re.split(r"\{(\w+)(\+?)\}", path)
    pattern = re.escape(pieces[0])
    for label, greedy, literal in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        pattern += f"(?P<{label}>{'.+' if greedy else '[^/]+'}){re.escape(literal)}"
    return re.compile(pattern)


def _load(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError as error:
        raise ServiceError("SerializationException", f"the body is not JSON: {error}") from None


def _from_text(shape: Any, text: str) -> Any:
    kind = shape.type_name
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError:
        raise ServiceError("SerializationException", f"{text!r} is not a {kind}") from None
    if kind == "boolean":
        return text.lower() == "true"
    return text


def _decode(shape: Any, value: Any) -> Any:
    """From JSON to Python: blobs become bytes and timestamps aware datetimes."""
    kind = shape.type_name
    if (
        kind == "structure"
        and isinstance(value, dict)
        and not getattr(shape, "is_document_type", False)
    ):
        wired = {m.serialization.get("name", n): (n, m) for n, m in shape.members.items()}
        decoded = {}
        for key, item in value.items():
            name, member = wired.get(key, (key, None))
            if item is not None:
                decoded[name] = _decode(member, item) if member is not None else item
        return decoded
    if kind == "list" and isinstance(value, list):
        return [_decode(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _decode(shape.value, item) for key, item in value.items()}
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise ServiceError("SerializationException", "a blob is not base64") from None
    if kind == "timestamp" and isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    return value


def _encode(shape: Any, value: Any) -> Any:
    """From Python to JSON; members that the model does not know are an error of ours."""
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        unknown = set(value) - set(shape.members)
        if unknown:
            raise KeyError(f"{shape.name} has no member {sorted(unknown)}")
        return {
            shape.members[name].serialization.get("name", name): _encode(shape.members[name], item)
            for name, item in value.items()
            if item is not None
        }
    if kind == "list":
        return [_encode(shape.member, item) for item in value]
    if kind == "map":
        return {key: _encode(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind == "timestamp":
        if isinstance(value, datetime):
            value = value.timestamp()
        if shape.serialization.get("timestampFormat") == "iso8601":
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return value
    return value


_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "blob": (bytes,),
    "timestamp": (datetime, str),
}


def _validate(shape: Any, value: Any, path: str, errors: list[str]) -> None:
    kind = shape.type_name
    where = path or "request"
    allowed: Any = _TYPES[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        errors.append(f"Value at '{where}' must be a {kind}, not {type(value).__name__}")
        return
    if kind == "structure":
        _validate_structure(shape, value, path, errors)
        return
    if kind == "list":
        for index, item in enumerate(value):
            _validate(shape.member, item, f"{path}[{index}]", errors)
    elif kind == "map":
        for key, item in value.items():
            _validate(shape.value, item, f"{path}.{key}", errors)
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    size = value if kind in ("integer", "long", "float", "double") else None
    if size is None and kind in ("string", "list", "map", "blob"):
        size = len(value)
    if size is not None and low is not None and size < low:
        errors.append(f"Value at '{where}' is or has {size}, less than the least, {low}")
    if size is not None and high is not None and size > high:
        errors.append(f"Value at '{where}' is or has {size}, more than the most, {high}")
    if kind == "string":
        _validate_string(shape, value, where, errors)


def _validate_structure(shape: Any, value: Document, path: str, errors: list[str]) -> None:
    if getattr(shape, "is_document_type", False):
        return
    dot = f"{path}." if path else ""
    missing = [name for name in shape.required_members if name not in value]
    errors.extend(f"Value at '{dot}{name}' is required" for name in missing)
    for name, item in value.items():
        if name not in shape.members:
            known = ", ".join(sorted(shape.members)) or "none"
            errors.append(f"'{dot}{name}' is not a member (there are: {known})")
        else:
            _validate(shape.members[name], item, f"{dot}{name}", errors)
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        errors.append(f"Exactly one member of '{path or 'request'}' must be set")


def _validate_string(shape: Any, value: str, where: str, errors: list[str]) -> None:
    if shape.enum and value not in shape.enum:
        errors.append(f"Value '{value}' at '{where}' must be one of {', '.join(shape.enum)}")
    pattern = shape.metadata.get("pattern")
    if pattern:
        try:
            matched = re.fullmatch(pattern, value, re.DOTALL)
        except re.error:  # some models use Java's regular expressions
            return
        if matched is None:
            errors.append(f"Value '{value}' at '{where}' must match {pattern}")
