"""The web client is served at `/` and at its own paths, with headers that let a browser run nothing else."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import web
from api.http import problems

SCRIPT = "console.log('a script of some length')" * 20


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build leaves."""
    for name in ("assets", "icons"):
        (tmp_path / name).mkdir()
    (tmp_path / "index.html").write_text("<title>Milo</title>")
    (tmp_path / "sw.js").write_text("self")
    (tmp_path / "manifest.webmanifest").write_text("{}")
    (tmp_path / "assets" / "index-1a2b.js").write_text(SCRIPT)
    (tmp_path / "assets" / "index-1a2b.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (tmp_path / "assets" / ".hidden").write_text("no")
    return tmp_path


@pytest.fixture
def client(built: Path) -> Iterator[TestClient]:
    with _serving(built) as opened:
        yield opened


def _serving(folder: Path) -> TestClient:
    app = FastAPI()
    problems.install(app)
    web.install(app, folder)
    return TestClient(app, follow_redirects=False)


HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.mark.parametrize("path", ["/", *web.SCREENS, "/transcription/job_0123"])
def test_each_page_of_the_client_is_its_index_and_is_asked_for_anew(path: str, client: TestClient) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200 and answer.text == "<title>Milo</title>"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/html")


def test_its_pages_run_own_scripts_only_and_stand_in_no_frame(client: TestClient) -> None:
    headers = client.get("/", headers=HTML).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"] and "http" not in headers["content-security-policy"]
    assert "microphone=(self)" in headers["permissions-policy"] and "camera=()" in headers["permissions-policy"]


def test_hashed_files_are_kept_for_ever_and_come_packed_to_who_takes_that(client: TestClient) -> None:
    packed = client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "identity"})
    assert packed.text == plain.text == SCRIPT
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    for answer in (packed, plain):
        assert "immutable" in answer.headers["cache-control"] and answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"].startswith("text/javascript")
    assert client.get("/sw.js").headers["cache-control"] == "no-cache"
    assert client.get("/manifest.webmanifest").headers["content-type"] == "application/manifest+json"


@pytest.mark.parametrize("name", ["gone-9f9f.js", ".hidden", "%2e%2e%2findex.html", "..%2f..%2fweb.py", ""])
def test_a_file_that_was_not_built_is_a_problem_and_never_the_index(name: str, client: TestClient) -> None:
    answer = client.get(f"/assets/{name}")
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


def test_a_program_that_asks_for_json_at_the_root_is_led_to_the_documentation(client: TestClient) -> None:
    for accept in ("application/json", "*/*"):
        answer = client.get("/", headers={"Accept": accept})
        assert answer.status_code == 307 and answer.headers["location"] == "/docs"


def test_without_a_build_a_page_says_how_to_make_one(tmp_path: Path) -> None:
    with _serving(tmp_path) as client:
        answer = client.get("/", headers=HTML)
        assert answer.status_code == 503 and "make web" in answer.text
        assert client.get("/docs", headers=HTML).status_code == 200


def test_the_real_api_serves_it_without_a_key_and_keeps_its_own_paths(shared_url: str) -> None:
    with httpx.Client(base_url=shared_url, trust_env=False) as real:
        for path in ("/", "/speech", "/monitor/runs"):
            answer = real.get(path, headers=HTML)
            assert answer.status_code in (200, 503) and answer.headers["content-type"].startswith("text/html")
            assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert real.get("/api/v1/jobs", headers=HTML).status_code == 401
        assert real.get("/status", headers=HTML).status_code == 401
        assert real.get("/assets/x.js").status_code == 404


@pytest.mark.skipif(not (web.FOLDER / "index.html").is_file(), reason="the client is not built; `make web` builds it")
def test_the_page_that_was_built_has_no_inline_script_or_style_and_no_foreign_address() -> None:
    page = (web.FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", page) and "<style" not in page and " style=" not in page
    assert not re.search(r"(?:src|href)=\"(?!/)", page), "everything comes from here"
