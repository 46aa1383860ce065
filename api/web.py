"""The web client: its pages, its hashed files, and the headers that let a browser run nothing else.

`make web` builds it from `web/` into `api/web_client/`, which the wheel carries. It needs no key: it holds nothing of
this installation, and asks for one before it asks the API for anything. Without a build there is a page that says how.
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from milo.errors import NotFound

FOLDER = Path(__file__).parent / "web_client"
SCREENS = ("/conversation", "/transcription", "/speech", "/admin", "/monitor")
"""Its own routes; what lies below them is a page of that screen."""
ROOT_FILES = ("/index.html", "/manifest.webmanifest", "/sw.js", "/theme.js")
"""Files that must lie at the root: a service worker serves what lies below it, and keeps the page by its name."""
FOLDERS = ("/assets/", "/icons/")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"  # connect-src 'self' covers WebSockets of this origin (CSP 3)
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_NAME = re.compile(r"[\w-][\w.-]*")
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Milo</title><h1>Milo is running; its web client has not been built yet.</h1>
<p>Run <code>make web</code> in the folder of the source, then load this page again. The API is described at
<a href="/docs">/docs</a>.</p></html>
"""
mimetypes.add_type("application/manifest+json", ".webmanifest")
mimetypes.add_type("text/javascript", ".js")


def is_page(path: str) -> bool:
    """Whether the path is one of the client's: open to everybody, as what is public with the source."""
    return (
        path in SCREENS
        or path in ROOT_FILES
        or (".." not in path and path.startswith((*FOLDERS, *(f"{screen}/" for screen in SCREENS))))
    )


def install(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve the client that was built into `folder` at `/`, and at its own paths."""

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def root(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return RedirectResponse("/docs")
        return _index(folder)

    async def screen() -> Response:
        return _index(folder)

    for path in SCREENS:
        app.add_api_route(path, screen, include_in_schema=False)
        app.add_api_route(f"{path}/{{rest:path}}", screen, include_in_schema=False)

    async def root_file(request: Request) -> Response:
        return _file(request, folder / request.url.path[1:], "no-cache")

    for path in ROOT_FILES:
        app.add_api_route(path, root_file, include_in_schema=False)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        return _file(request, folder / "assets" / name, "public, max-age=31536000, immutable")

    @app.get("/icons/{name}", include_in_schema=False)
    async def icon(name: str, request: Request) -> Response:
        return _file(request, folder / "icons" / name, "public, max-age=86400")


def _index(folder: Path) -> Response:
    """The one page; it says no-cache, so that a new build is there with the next visit."""
    headers = {**HEADERS, "Cache-Control": "no-cache"}
    path = folder / "index.html"
    if not path.is_file():
        return HTMLResponse(_NOT_BUILT, 503, headers)
    return FileResponse(path, headers=headers, media_type="text/html")


def _file(request: Request, path: Path, caching: str) -> Response:
    """A file of the build, compressed as it was at the build where the browser takes that. `NotFound`."""
    if not _NAME.fullmatch(path.name) or not path.is_file():
        raise NotFound(f"the web client has no file {path.name!r}; `make web` builds it", code="unknown_path")
    headers = {**HEADERS, "Cache-Control": caching, "Vary": "Accept-Encoding"}
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    accepted = request.headers.get("accept-encoding", "")
    for encoding, suffix in _ENCODINGS:
        packed = path.with_name(path.name + suffix)
        if encoding in accepted and packed.is_file():
            return FileResponse(packed, headers={**headers, "Content-Encoding": encoding}, media_type=media_type)
    return FileResponse(path, headers=headers, media_type=media_type)
