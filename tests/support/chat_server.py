"""A real HTTP server with OpenAI's protocol on loopback; a test says how it answers."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Plays the next answer of the server's script, the last one for ever."""

    server: ChatServer
    body: bytes = b""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.body = body
            self.server.asked.append(json.loads(body))
            self.server.keys.append(self.headers.get("Authorization", ""))
            self.server.at.append(time.monotonic())
            number = min(len(self.server.asked), len(self.server.script)) - 1
        self.server.script[number](self)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


class ChatServer(ThreadingHTTPServer):
    """Keeps what it was asked: `asked` bodies, `keys` headers, `at` times."""

    daemon_threads = True

    def __init__(self, *script: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.lock = threading.Lock()
        self.closed = threading.Event()
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.at: list[float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is what some tests are about."""


def says(text: str, finish: str = "stop", usage: bool = True) -> Answer:
    """Answer with a chat completion."""

    def answer(handler: Handler) -> None:
        reply: dict[str, Any] = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "tiny",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": text},
                }
            ],
        }
        if usage:
            reply["usage"] = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
        handler.send(200, json.dumps(reply).encode())

    return answer


def answers(handler: Handler) -> None:
    """Answer with words that follow from the request alone."""
    says(hashlib.sha256(handler.body).hexdigest()[:12])(handler)


def fails(status: int, message: str = "no", **headers: str) -> Answer:
    """Answer with an error of HTTP; `Retry_After="1"` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode()
    return lambda handler: handler.send(status, body, named)


def raw(body: bytes) -> Answer:
    """Answer with status 200 and any body."""
    return lambda handler: handler.send(200, body)


def breaks_off(handler: Handler) -> None:
    """Promise a body, send some of it and close."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')


def hangs(seconds: float) -> Answer:
    """Answer nothing for some time, then close."""
    return lambda handler: handler.server.closed.wait(seconds)


def drips(seconds: float) -> Answer:
    """Send a byte now and then, so that no single read ever times out."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not handler.server.closed.wait(0.1):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    return answer


def resets(handler: Handler) -> None:
    """Reset the connection."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.rfile = handler.wfile = io.BytesIO()
