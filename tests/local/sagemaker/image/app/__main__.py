"""Does what its settings say: trains, serves, processes, fails, lingers."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def fail(text: str) -> None:
    (BASE / "output" / "failure").write_text(text)
    sys.exit(3)


def linger() -> None:
    print("lingering", flush=True)
    time.sleep(60)


def train() -> None:
    settings = json.loads((BASE / "input/config/hyperparameters.json").read_text())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    rows = [p.read_text() for p in sorted((BASE / "input/data/train").rglob("*")) if p.is_file()]
    (BASE / "model/sub").mkdir()
    (BASE / "model/sub/model.json").write_text(json.dumps({"rows": rows, **settings}))
    print(f"score={len(rows)}.5", flush=True)
    what = settings.get("what")
    if what == "fail":
        fail("no such luck")
    if what == "crash":
        os.abort()
    if what == "linger":
        linger()
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        linger()
    (BASE / "output/data/notes.txt").write_text(os.environ["GREETING"])


def process(arguments: list[str]) -> None:
    what, source, target = arguments
    if what == "fail":
        fail("cannot process")
    if what == "linger":
        linger()
    names = [
        p.relative_to(source).as_posix() for p in sorted(Path(source).rglob("*")) if p.is_file()
    ]
    (Path(target) / "deep").mkdir(parents=True)
    (Path(target) / "deep/names.json").write_text(json.dumps(names))
    who = {name: value for name, value in os.environ.items() if "ARN" in name or "AWS" in name}
    (Path(target) / "who.json").write_text(json.dumps(who))
    (BASE / "output" / "message").write_text(f"{len(names)} files")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body.startswith(b"status "):
            self.answer(int(body[7:]), b"as you wish")
            return
        if body == b"die":
            os._exit(9)
        if body.startswith(b"sleep "):
            time.sleep(float(body[6:]))
        model = json.loads((BASE / "model/sub/model.json").read_text())
        answer = {
            "model": model.get("name"),
            "version": os.environ.get("VERSION"),
            "pid": os.getpid(),
            "body": body.decode(),
            "type": self.headers["Content-Type"],
            "accept": self.headers["Accept"],
        }
        self.answer(200, json.dumps(answer).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> None:
    what = os.environ.get("WHAT")
    if what == "crash":
        sys.exit(1)
    if what == "mute":
        time.sleep(60)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    address = os.environ.get("TIDEMILL_BIND_HOST", ""), int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    print("serving", flush=True)
    ThreadingHTTPServer(address, Handler).serve_forever()


if __name__ == "__main__":
    word = sys.argv[1]
    if word == "train":
        train()
    elif word == "serve":
        serve()
    else:
        process(sys.argv[1:])
