"""A small HTTP/1.1 server for one synchronous handler, on asyncio and httptools.

A prediction takes microseconds, so a framework would be most of an answer's time. It does what a
model server behind SageMaker needs: keep-alive, pipelining, chunked bodies, 100-continue, bounds
on header and body, a time limit for half-sent requests, and a clean stop on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import httptools

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""As SageMaker's own smallest limit for a real-time request."""
REQUEST_SECONDS: Final = 30.0
"""How long a request may take to arrive."""
LINGER_SECONDS: Final = 2.0
SWEEP_SECONDS: Final = 5.0
JSON: Final = "application/json"


class Request(NamedTuple):
    """A whole request; header names are lower case, the path has no query."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `headers` are extra ones."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Response]
Refusal = Callable[[int, str], Response]
"""Makes the answer to what is no whole request, from a status and a message."""


class Connection(asyncio.Protocol):
    """One client's connection: parses requests and answers each in turn."""

    def __init__(self, handler: Handler, refusal: Refusal, connections: set[Connection]) -> None:
        self._handler = handler
        self._refusal = refusal
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._closing = False
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = self._head_bytes = 0
        self._head_done = False
        self.since: float | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        self._closing = True
        self._connections.discard(self)

    def pause_writing(self) -> None:
        """Read no more from a client that does not read its answers."""
        if not self._closing:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        if not self._closing:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse what came; answers are written from within."""
        if self._closing:
            return  # Answered already; what still comes is let go by.
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, "this is not an HTTP/1.1 request")
            return
        if self.since is not None and not self._head_done:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, f"the headers exceed {MAX_HEAD_BYTES} bytes")

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request starts."""
        self._begin()
        self.since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Refuse a body that is announced too large, or ask for it."""
        self._head_done = True
        length = self._headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            self._refuse_body()
        elif self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(part)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body.append(part)
        else:
            self._refuse_body()

    def on_message_complete(self) -> None:
        """Answer."""
        self.since = None
        if self._closing:
            return
        path = self._url.partition(b"?")[0].decode("latin-1")
        method = self._parser.get_method().decode("latin-1")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        try:
            response = self._handler(Request(method, path, self._headers, body))
        except Exception:  # One request must not end the server.
            traceback.print_exc()
            response = self._refusal(500, "the prediction failed; the log has the reason")
        self._write(response, keep=self._parser.should_keep_alive())

    # What answers.

    def _refuse_body(self) -> None:
        self._refuse(413, f"the body exceeds {MAX_BODY_BYTES} bytes")

    def _refuse(self, status: int, message: str) -> None:
        if not self._closing:
            self.since = None
            self._write(self._refusal(status, message), keep=False)

    def _write(self, response: Response, *, keep: bool) -> None:
        self._transport.write(_encode(response, keep))
        if keep:
            return
        self._closing = True
        # Closing with unread data would reset the connection before the answer is read.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, self._transport.close)

    def close(self) -> None:
        """End the connection after what was written."""
        self._closing = True
        self._transport.close()


_HEADS: dict[tuple[int, str, tuple[tuple[str, str], ...], bool], bytes] = {}


def _encode(response: Response, keep: bool) -> bytes:
    # An answer's head is one of a few, but for the length.
    key = (response.status, response.content_type, response.headers, keep)
    head = _HEADS.get(key)
    if head is None:
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines += [f"content-type: {response.content_type}"]
        lines += [] if keep else ["connection: close"]
        head = _HEADS[key] = "\r\n".join([*lines, "content-length: "]).encode("latin-1")
    return b"%b%d\r\n\r\n%b" % (head, len(response.body), response.body)


async def serve(handler: Handler, refusal: Refusal, host: str, port: int, ready: str) -> None:
    """Answer on host and port until SIGTERM or SIGINT; print `ready` once the port is open.

    Raises OSError where the port cannot be opened.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connections: set[Connection] = set()
    server = await loop.create_server(
        lambda: Connection(handler, refusal, connections), host, port, backlog=1024
    )
    print(ready, file=sys.stderr, flush=True)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), SWEEP_SECONDS)
        except TimeoutError:
            latest = loop.time() - REQUEST_SECONDS
            for connection in [c for c in connections if c.since is not None and c.since < latest]:
                connection.close()
    server.close()
    for connection in list(connections):
        connection.close()
    await server.wait_closed()
