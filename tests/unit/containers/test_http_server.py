"""The HTTP server: keep-alive, pipelining, bounds, and clients that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from containers import http_server
from containers.http_server import MAX_BODY_BYTES, MAX_HEAD_BYTES, Connection, Request, Response


def handle(request: Request) -> Response:
    if request.path == "/fail":
        raise RuntimeError("on purpose")
    return Response(200, b"%s %d" % (request.path.encode(), len(request.body)), "text/plain")


def refuse(status: int, message: str) -> Response:
    return Response(status, message.encode(), "text/plain")


@pytest.fixture
def port() -> Iterator[int]:
    loop = asyncio.new_event_loop()
    connections: set[Connection] = set()

    async def start() -> asyncio.Server:
        return await loop.create_server(
            lambda: Connection(handle, refuse, connections), "127.0.0.1", 0
        )

    server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    for connection in list(connections):
        connection.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def talk(port: int, *parts: bytes, finish: bool = True) -> bytes:
    """Send the parts, then read until the server closes or says nothing more."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        for part in parts:
            client.sendall(part)
        if finish:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while data := client.recv(65536):
            answer += data
        return answer


def post(body: bytes, *headers: bytes, path: bytes = b"/p") -> bytes:
    head = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*head, b"", body])


def test_requests_are_answered_in_turn_on_one_connection(port: int) -> None:
    answer = talk(port, post(b"abc", path=b"/a?x=1") + post(b"", path=b"/b") + post(b"12345"))
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.index(b"/a 3") < answer.index(b"/b 0") < answer.index(b"/p 5")
    assert b"connection: close" not in answer


def test_a_request_in_single_bytes_is_answered(port: int) -> None:
    request = post(b"abc", path=b"/slowly")
    parts = [request[place : place + 1] for place in range(len(request))]
    assert b"/slowly 3" in talk(port, *parts)


def test_a_chunked_body_is_joined(port: int) -> None:
    head = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"/c 5" in talk(port, head, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")


def test_the_client_that_asks_is_told_to_continue(port: int) -> None:
    answer = talk(port, post(b"abc", b"Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "request_bytes",
    [post(b"abc", b"Connection: close"), b"GET /p HTTP/1.0\r\n\r\n"],
    ids=["close", "1.0"],
)
def test_the_connection_is_closed_where_the_client_wants_it(
    port: int, request_bytes: bytes
) -> None:
    answer = talk(port, request_bytes, finish=False)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_gets_its_answer(port: int, chunked: bool) -> None:
    size = MAX_BODY_BYTES + 1
    if chunked:
        head = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = talk(port, head, b"%x\r\n" % size, b"x" * size, b"\r\n0\r\n\r\n")
    else:
        answer = talk(port, post(b"x" * size))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_the_largest_body_is_taken(port: int) -> None:
    assert b"/p %d" % MAX_BODY_BYTES in talk(port, post(b"x" * MAX_BODY_BYTES))


def test_headers_without_end_are_refused(port: int) -> None:
    answer = talk(port, b"GET /p HTTP/1.1\r\nX: ", b"x" * (MAX_HEAD_BYTES + 1), finish=False)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\x00" * 100])
def test_noise_is_refused(port: int, noise: bytes) -> None:
    assert talk(port, noise, finish=False).startswith(b"HTTP/1.1 400 ")


def test_a_handler_that_fails_ends_neither_server_nor_connection(port: int, capfd: Any) -> None:
    answer = talk(port, post(b"", path=b"/fail") + post(b""))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"on purpose" not in answer
    assert b"/p 0" in answer
    assert "on purpose" in capfd.readouterr().err


def test_a_half_sent_request_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "SWEEP_SECONDS", 0.05)

    async def scenario() -> tuple[bytes, bytes]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serving = asyncio.create_task(http_server.serve(handle, refuse, "127.0.0.1", port, "ready"))
        await asyncio.sleep(0.05)
        reader, half = await asyncio.open_connection("127.0.0.1", port)
        half.write(b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", port)
        cut = await asyncio.wait_for(reader.read(), 3)
        idle.write(post(b"still"))
        kept = await asyncio.wait_for(idle_reader.readuntil(b"/p 5"), 3)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, 3)
        half.close()
        idle.close()
        return cut, kept

    cut, kept = asyncio.run(scenario())
    assert cut == b""
    assert b"200 OK" in kept
