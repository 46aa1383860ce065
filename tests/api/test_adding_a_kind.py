"""A new kind of job is three files: those of `docs/adding-a-kind.md`, put in place as they stand there."""

from __future__ import annotations

import importlib
import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import api.routes
import milo.kinds
import workers.kinds
from api.requests import schemas
from milo.jobs import Job
from milo.ledger import Ledger
from milo.settings import Settings
from milo.storage.files import Files
from tests.api.conftest import problem
from tests.support.servers import ROOT
from workers.runner import Runner

FILES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", (ROOT / "docs/adding-a-kind.md").read_text(), re.DOTALL))
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(autouse=True)
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kind `count` is installed: each file in a folder that continues the package of its name."""
    assert sorted(FILES) == ["api/routes/count.py", "milo/kinds/count.py", "workers/kinds/count.py"]
    for package in (milo.kinds, workers.kinds, api.routes):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / "count.py").write_text(FILES[f"{package.__name__.replace('.', '/')}/count.py"])
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setitem(milo.kinds.KINDS, "count", importlib.import_module("milo.kinds.count").COUNT)
    yield
    schemas._described.pop("CountRequest", None)
    for package in (milo.kinds, workers.kinds, api.routes):
        sys.modules.pop(f"{package.__name__}.count", None)
        package.__dict__.pop("count", None)


@pytest.fixture
def client(count: None, client: httpx.Client) -> httpx.Client:
    return client


@pytest.fixture
def run(settings: Settings, ledger: Ledger) -> Callable[[str], Job]:
    """What a worker does with the wake-up of a job."""
    runner = Runner(settings, ledger, Files(settings), "cpu@test/0")

    def to_its_end(job_id: str) -> Job:
        runner.run(job_id)
        return ledger.get(job_id)

    return to_its_end


def test_its_route_takes_a_job_and_a_worker_runs_it(client: httpx.Client, run: Callable[[str], Job]) -> None:
    accepted = client.post("/count", json={"text": "iray roa telo"}, headers=ASYNC)
    assert accepted.status_code == 202 and accepted.json()["kind"] == "count"
    done = run(accepted.json()["id"])
    assert (done.state, done.queue, done.result) == ("succeeded", "cpu", {"count": 3})
    answer = client.get(f"/jobs/{done.id}/result", params={"format": "txt"})
    assert answer.text == "3\n" and answer.headers["content-type"].startswith("text/plain")


def test_who_waits_gets_the_result(client: httpx.Client, run: Callable[[str], Job]) -> None:
    repeated: dict[str, Any] = {"json": {"text": "iray roa"}, "headers": {"Idempotency-Key": "once"}}
    first = client.post("/count", json=repeated["json"], headers=repeated["headers"] | ASYNC).json()
    run(first["id"])
    answer = client.post("/count", **repeated)
    assert answer.status_code == 200 and answer.json()["count"] == 2 and answer.json()["job_id"] == first["id"]


def test_jobs_takes_it_by_name(client: httpx.Client, run: Callable[[str], Job]) -> None:
    body = {"kind": "count", "payload": {"text": "iray roa", "letters": True}}
    assert run(client.post("/jobs", json=body).json()["id"]).result == {"count": 7}
    wrong = client.post("/jobs", json={"kind": "count", "payload": {"txt": "iray"}})
    assert {one["pointer"] for one in problem(wrong, 422)["errors"]} == {"#/payload/text", "#/payload/txt"}
    assert problem(client.post("/jobs", json={"kind": "cuont"}), 422, "unknown_kind")["detail"].endswith("ping, count")


def test_batches_takes_many_of_its_texts(client: httpx.Client, run: Callable[[str], Job]) -> None:
    body = {"kind": "count", "items": ["iray", {"text": "roa telo", "name": "two.txt"}], "options": {"letters": True}}
    batch = client.post("/batches", json=body).json()
    for job in client.get(f"/batches/{batch['id']}/jobs").json()["items"]:
        run(job["id"])
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/batches/{batch['id']}/results").content))
    assert {name: archive.read(name) for name in archive.namelist()} == {"00001.txt": b"4\n", "two.txt": b"7\n"}
    wrong = client.post("/batches", json={"kind": "count", "items": ["iray"], "options": {"words": True}})
    assert problem(wrong, 422)["errors"][0]["pointer"] == "#/options/words"


def test_the_documentation_shows_it(client: httpx.Client) -> None:
    document = client.get(f"{client.base_url.copy_with(path='/openapi.json')}").json()
    body = document["paths"]["/api/v1/count"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/CountRequest"}
    assert "text" in document["components"]["schemas"]["CountRequest"]["properties"]
    assert "count" in document["components"]["schemas"]["BatchRequest"]["properties"]["kind"]["enum"]
