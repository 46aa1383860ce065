"""A real HTTP server that speaks the streaming protocol of Claude's Messages API, and fails on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-ant-api03-0123456789abcdefghij"


class ClaudeServer:
    """Answers `POST /v1/messages` as `answer` says; keeps the body of each request."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.release = threading.Event()
        """Lets a held answer go on."""
        self.client_left = threading.Event()
        """Set when writing to the client failed: it has closed the connection."""
        self.answer: Callable[[Handler], None] = lambda handler: handler.say("Salama", "!", " Milo", " aho.")
        claude = self

        class Bound(Handler):
            server_state = claude

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: ClaudeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server_state.requests.append(body)
        if self.path != "/v1/messages":
            self.refuse(404, "not_found_error", f"no such path: {self.path}")
        elif KEY not in (self.headers["x-api-key"], (self.headers["authorization"] or "").removeprefix("Bearer ")):
            self.refuse(401, "authentication_error", "invalid API key")
        else:
            try:
                self.server_state.answer(self)
            except OSError:
                self.server_state.client_left.set()
                self.close_connection = True

    def refuse(self, status: int, kind: str, message: str, **headers: str) -> None:
        body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        message = {
            **{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-5-5", "content": []},
            **{"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1}},
        }
        self.event("message_start", message=message)
        self.event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        self.event("ping")

    def event(self, kind: str, **fields: Any) -> None:
        block = f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
        self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        self.wfile.flush()

    def text(self, text: str) -> None:
        self.event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def end(self, stop_reason: str = "end_turn") -> None:
        self.event("content_block_stop", index=0)
        delta = {"stop_reason": stop_reason, "stop_sequence": None}
        self.event("message_delta", delta=delta, usage={"output_tokens": 5})
        self.event("message_stop")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def say(self, *pieces: str) -> None:
        self.begin()
        for piece in pieces:
            self.text(piece)
        self.end()

    def say_and_cut(self, *pieces: str) -> None:
        """Close the connection without the end of the message."""
        self.begin()
        for piece in pieces:
            self.text(piece)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def claude_server() -> Iterator[ClaudeServer]:
    server = ClaudeServer()
    try:
        yield server
    finally:
        server.close()
