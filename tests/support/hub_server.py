"""A small model hub on localhost that speaks the hub's HTTP protocol: model info, resolve, ranges, refusals.

Protocol: https://huggingface.co/docs/hub/api. Faults are switched on by attributes of `Hub`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories in memory: name -> commit -> file -> bytes, the requests that came, and the faults to play."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.gated: set[str] = set()
        self.requests: list[tuple[str, str, str]] = []
        """(method, path, Range header)"""
        self.cut_after: list[int] = []
        """Byte counts: each download in turn is cut there; empty: none is cut."""
        self.honour_ranges = True
        self.corrupt: set[str] = set()
        """Files sent with one byte changed."""
        self.redirect = False
        """Send downloads to another path, as the hub does to its CDN."""
        self.url = ""

    def add(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Publish files; returns the commit."""
        content = name.encode() + b"".join(key.encode() + value for key, value in sorted(files.items()))
        commit = hashlib.sha1(content).hexdigest()
        self.repositories.setdefault(name, {})[commit] = files
        self.branches[name, branch] = commit
        return commit

    def downloads(self) -> list[tuple[str, str]]:
        """(file name, Range header) of each download that was asked for."""
        return [(path.rsplit("/", 1)[-1], span) for _, path, span in self.requests if "/resolve/" in path]


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": name, "size": len(content)}
    sibling["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if name.endswith((".safetensors", ".bin", ".gguf")):
        sibling["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return sibling


def _entry(name: str, content: bytes) -> dict[str, Any]:
    """One line of a repository's tree."""
    sibling = _sibling(name, content)
    return {"type": "file", "path": name, "size": len(content), "oid": sibling["blobId"]}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _commit(self, name: str, revision: str) -> str | None:
        commit = self.hub.branches.get((name, revision), revision)
        return commit if commit in self.hub.repositories.get(name, {}) else None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        info = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+?)(?:/revision/(.+))?", path)
        file = re.fullmatch(r"(?:/cdn)?(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        tree = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/tree/(.+)", path)
        match = tree or info or file
        if not match or match[1] not in self.hub.repositories:
            return self._refuse(401, "RepoNotFound")  # what the hub tells strangers of names it does not know
        if match[1] in self.hub.gated and self.headers.get("Authorization") != "Bearer good-token":
            return self._refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        commit = self._commit(match[1], match[2] or "main")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        files = self.hub.repositories[match[1]][commit]
        if tree:
            return self._json([_entry(name, content) for name, content in files.items()])
        if info:
            return self._info(commit, files)
        if file and file[3] not in files:
            return self._refuse(404, "EntryNotFound")
        if self.hub.redirect and not path.startswith("/cdn"):
            self.send_response(302)
            self.send_header("Location", f"/cdn{path}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self._file(commit, match[3], files[match[3]])

    def _info(self, commit: str, files: dict[str, bytes]) -> None:
        siblings = [_sibling(name, content) for name, content in files.items()]
        self._json({"id": "some/name", "sha": commit, "siblings": siblings})

    def _json(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, commit: str, name: str, content: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(span[1]) if span and self.hub.honour_ranges else 0
        last = int(span[2]) if span and span[2] and self.hub.honour_ranges else len(content)
        if span and start >= len(content):
            return self._refuse(416, "")
        if name in self.hub.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        content = content[: last + 1]
        self.send_response(206 if span and self.hub.honour_ranges else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        rest = content[start:]
        if self.hub.cut_after:
            rest = rest[: self.hub.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(rest)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: a client may leave in the middle of a file."""


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub on a free port of localhost; `hub.url` is its endpoint."""
    hub = Hub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
