"""What of MiniStack may be reached from outside, and by whom."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_PRIVATE = re.compile(r"/_(ministack|localstack)(/|$)")
# Health for `up`; CloudFormation's callbacks carry an unguessable token in their path.
_ADMITTED = re.compile(r"/_ministack/(health|ready|cfn-response/.+|cfn-signal/.+)")
_HOST = re.compile(
    r"(127\.0\.0\.1|localhost|([\w-]+\.)+(localhost|amazonaws\.com))(:\d+)?", re.IGNORECASE
)
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")


_COMMANDS = "/_tidemill/"

Command = Callable[[str, str], str]
"""Carries out one of the cloud's own commands, given its name and argument.

Raises ValueError for what it does not know.
"""


def guarded(
    application: Application,
    root_key: str,
    seen: Callable[[], None],
    command: tuple[Callable[[], str], Command],
) -> Application:
    """The application without its administration, its root keys and strangers' host names.

    `seen` is told of each request that is let through; `command` is the secret that commands at
    /_tidemill/NAME must carry, and what carries them out.

    MiniStack takes `test`, any account number and its own key for root without checking their
    signatures, and answers its administration's calls without credentials.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = _refusal(scope, root_key)
            if refusal is not None:
                await _answer(send, *refusal)
                return
            if scope["path"].startswith(_COMMANDS):
                await _obey(scope, send, *command)
                return
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not _ADMITTED.fullmatch(scope["path"]):
            seen()
        await application(scope, receive, send)

    return serve


def _refusal(scope: Scope, root_key: str) -> tuple[int, str, str] | None:
    path = scope["path"]
    if _PRIVATE.match(path) and not _ADMITTED.fullmatch(path):
        return 403, "AccessDeniedException", "The local cloud's administration is closed."
    headers = {key.decode("latin-1").lower(): value for key, value in scope["headers"]}
    host = headers.get("host", b"127.0.0.1").decode("latin-1")
    # Another name that leads here is a web page's attempt to rebind DNS.
    if not _HOST.fullmatch(host):
        return 403, "AccessDeniedException", f"The local cloud is not {host}."
    for key in _access_keys(scope, headers):
        if key in ("test", root_key) or re.fullmatch(r"\d{12}", key):
            return 403, "InvalidClientTokenId", "The security token is invalid."
    return None


def _access_keys(scope: Scope, headers: dict[str, bytes]) -> list[str]:
    authorization = headers.get("authorization", b"").decode("latin-1")
    keys: list[str] = _CREDENTIAL.findall(authorization)
    if authorization.startswith("AWS "):
        keys.append(authorization[4:].partition(":")[0])
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    for name in ("X-Amz-Credential", "x-amz-credential", "AWSAccessKeyId"):
        keys += [value.partition("/")[0] for value in query.get(name, [])]
    return keys


async def _obey(scope: Scope, send: Send, secret: Callable[[], str], command: Command) -> None:
    headers = {key.decode("latin-1").lower(): value for key, value in scope["headers"]}
    given = headers.get("authorization", b"")
    if scope["method"] != "POST" or not hmac.compare_digest(given, f"Bearer {secret()}".encode()):
        await _answer(send, 403, "AccessDeniedException", "Commands need the administrator.")
        return
    name = scope["path"].removeprefix(_COMMANDS)
    argument = scope.get("query_string", b"").decode("latin-1")
    try:
        done = await asyncio.to_thread(command, name, argument)
    except ValueError as error:
        await _answer(send, 400, "ValidationException", str(error))
        return
    await _answer(send, 200, "", done)


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"__type": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", code.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
