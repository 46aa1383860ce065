"""Batches over HTTP: many files in, one thing to watch, everything out."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from milo.errors import BadMedia
from milo.ledger import Ledger
from milo.queue.connection import redis_client
from milo.settings import Settings
from tests.api.conftest import KEY, finish, problem, transcript
from tests.support.servers import api_in_thread, wait_until


def blob(client: httpx.Client, content: bytes) -> str:
    found: str = client.post("/blobs", content=content).json()["id"]
    return found


def make(client: httpx.Client, names: list[str], **more: Any) -> dict[str, Any]:
    items = [{"blob": blob(client, name.encode("utf-8", "replace")), "name": name} for name in names]
    answer = client.post("/batches", json={"items": items, **more})
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


def job_ids(client: httpx.Client, batch: dict[str, Any]) -> list[str]:
    return [job["id"] for job in client.get(f"/batches/{batch['id']}/jobs").json()["items"]]


def test_a_batch_is_accepted_as_a_whole(client: httpx.Client, ledger: Ledger, settings: Settings) -> None:
    batch = make(client, ["a.wav", "b.wav"], name="archive", options={"language": "mg", "beam_size": 2})
    assert (batch["state"], batch["total"], batch["name"]) == ("queued", 2, "archive")
    assert batch["counts"] == {"queued": 2, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0}
    assert batch["options"] == {"language": "mg", "beam_size": 2}
    jobs = client.get(f"/batches/{batch['id']}/jobs").json()["items"]
    assert [(job["batch_index"], job["payload"]["source"]["name"]) for job in jobs] == [(0, "a.wav"), (1, "b.wav")]
    assert all(job["priority"] == "batch" and job["payload"]["beam_size"] == 2 for job in jobs)
    wait_until(lambda: redis_client(settings.redis_url).llen("cpu.batch") == 2, "the messages did not come")
    assert [one["id"] for one in client.get("/batches").json()["items"]] == [batch["id"]]


def test_a_batch_document_has_every_field_of_the_contract(client: httpx.Client) -> None:
    fields = (
        "id kind name state owner total counts progress audio_s done_audio_s created_at finished_at eta_s callback_url "
        "options url results_url version"
    )
    assert set(make(client, ["a.wav"])) == set(fields.split())


def test_uploads_in_one_form_are_a_batch(client: httpx.Client) -> None:
    files = [("file", (f"{n}.wav", bytes([n]) * 10)) for n in range(3)]
    request = json.dumps({"name": "from a form", "options": {"language": "fr"}})
    answer = client.post("/batches", files=[*files, ("request", (None, request))])
    assert answer.status_code == 202 and answer.json()["total"] == 3 and answer.json()["name"] == "from a form"
    jobs = client.get(f"/batches/{answer.json()['id']}/jobs").json()["items"]
    assert [job["payload"]["source"]["name"] for job in jobs] == ["0.wav", "1.wav", "2.wav"]
    assert jobs[0]["payload"]["language"] == "fr"
    problem(client.post("/batches", files=[*files, ("request", (None, "{"))]), 400)
    problem(client.post("/batches", files=[*files, ("colour", (None, "red"))]), 422)


def test_an_empty_file_among_many_harms_only_itself(client: httpx.Client) -> None:
    files = [("file", ("empty.wav", b"")), ("file", ("a.wav", b"RIFF"))]
    assert client.post("/batches", files=files).json()["total"] == 2


def test_a_folder_is_spread_into_its_audio_files(client: httpx.Client, archive: Path, tmp_path: Path) -> None:
    for name in ("b.wav", "a/x.MP3", "a/notes.txt", ".hidden.wav", ".git/c.wav", "a/deep/er/y.opus", "wav"):
        (archive / name).parent.mkdir(parents=True, exist_ok=True)
        (archive / name).write_bytes(b"RIFF")
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "z.wav").write_bytes(b"RIFF")
    (archive / "leak.wav").symlink_to(tmp_path / "secret.wav")
    (archive / "inside.wav").symlink_to(archive / "b.wav")
    (archive / "linked").symlink_to(tmp_path / "elsewhere")
    (archive / "inner").symlink_to(archive / "a")
    (archive / "app.ts").write_text("export const x = 1\n")
    os.mkfifo(archive / "pipe.wav")
    answer = client.post("/batches", json={"paths": [str(archive)]})
    jobs = client.get(f"/batches/{answer.json()['id']}/jobs").json()["items"]
    names = [job["payload"]["source"]["name"] for job in jobs]
    assert names == ["b.wav", "inside.wav", "a/x.MP3", "a/deep/er/y.opus"]
    skipped = {one["name"]: one["detail"] for one in answer.json()["skipped"]}
    assert skipped.keys() == {"leak.wav", "pipe.wav", "linked", "app.ts", "inner"}
    assert skipped["pipe.wav"] == "a named pipe" and skipped["inner"].startswith("a link to a folder")
    assert skipped["app.ts"] == "text or something else, and no MPEG transport stream"
    assert "skipped" not in client.get(f"/batches/{answer.json()['id']}").json()


def test_what_is_wrong_with_any_item_is_pointed_at_and_nothing_is_made(client: httpx.Client, archive: Path) -> None:
    good = blob(client, b"RIFF")
    request = {"items": [{"blob": good}, {"blob": "0" * 64}, {"path": str(archive / "no.wav")}], "paths": ["/etc"]}
    document = problem(client.post("/batches", json=request), 403)
    assert [one["pointer"] for one in document["errors"]] == ["#/items/1/blob", "#/items/2/path", "#/paths/0"]
    request["paths"] = []
    problem(client.post("/batches", json=request), 422)
    problem(client.post("/batches", json={"paths": [str(archive / "no-folder")]}), 422, "unknown_path")
    assert client.get("/batches").json()["items"] == []


@pytest.mark.parametrize("request_", [{}, {"items": []}, {"items": [], "paths": []}])
def test_an_empty_batch_is_refused(client: httpx.Client, request_: dict[str, Any], archive: Path) -> None:
    problem(client.post("/batches", json=request_), 422, "empty_batch")
    (archive / "notes.txt").write_text("no audio")
    problem(client.post("/batches", json={"paths": [str(archive)]}), 422, "empty_batch")


def test_more_items_than_allowed_are_refused(settings: Settings, archive: Path) -> None:
    for number in range(4):
        (archive / f"{number}.wav").write_bytes(b"RIFF")
    with api_in_thread(settings.model_copy(update={"max_batch_items": 3})) as base:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"{base}/api/v1", headers=headers, trust_env=False) as client:
            problem(client.post("/batches", json={"paths": [str(archive)]}), 413, "batch_too_large")
            files = [("file", (f"{n}.wav", b"RIFF")) for n in range(5)]
            problem(client.post("/batches", files=files), 413)
            items = [{"path": str(archive / "0.wav")}] * 4
            problem(client.post("/batches", json={"items": items}), 413, "batch_too_large")


def test_a_repeated_batch_is_the_same_batch(client: httpx.Client, ledger: Ledger) -> None:
    items = [{"blob": blob(client, b"a"), "name": "a.wav"}]
    headers = {"Idempotency-Key": "once"}
    first = client.post("/batches", json={"items": items}, headers=headers).json()["id"]
    assert client.post("/batches", json={"items": items}, headers=headers).json()["id"] == first
    problem(client.post("/batches", json={"items": items * 2}, headers=headers), 422, "idempotency_mismatch")
    assert len(ledger.jobs()) == 1


def test_pages_of_jobs_follow_each_other(client: httpx.Client) -> None:
    batch = make(client, [f"{n}.wav" for n in range(5)])
    first = client.get(f"/batches/{batch['id']}/jobs?limit=3").json()
    assert [job["batch_index"] for job in first["items"]] == [0, 1, 2] and first["next"] == 2
    second = client.get(f"/batches/{batch['id']}/jobs?limit=3&after=2").json()
    assert [job["batch_index"] for job in second["items"]] == [3, 4] and second["next"] is None


def test_results_come_as_a_zip_of_every_format_with_what_failed_told(client: httpx.Client, ledger: Ledger) -> None:
    batch = make(client, ["a.wav", "dir/a.mp3", "A.ogg", "../../etc/a.wav", "bad.wav", "NUL.wav"])
    problem(client.get(f"/batches/{batch['id']}/results"), 409, "not_finished")
    for job_id, index in zip(job_ids(client, batch), range(6), strict=True):
        if index == 4:
            claim = ledger.claim(job_id, "test-worker")
            assert claim
            ledger.fail(claim, BadMedia("it is text", code="not_audio"))
        else:
            finish(ledger, job_id, transcript(f"text {index}"))
    done = client.get(f"/batches/{batch['id']}").json()
    assert done["state"] == "failed" and done["counts"]["succeeded"] == 5 and done["finished_at"]
    answer = client.get(f"/batches/{batch['id']}/results?format=zip&formats=srt,txt,vtt")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        texts = {name for name in archive.namelist() if name.endswith(".txt")}
        assert texts == {"a.txt", "dir/a.txt", "A-2.txt", "etc/a.txt", "_NUL.txt"}
        assert len(archive.namelist()) == 3 * 5 + 1
        assert archive.read("A-2.txt") == b"text 2\n"
        (failed,) = json.loads(archive.read("errors.json"))
        assert failed["name"] == "bad.wav" and failed["error"]["code"] == "not_audio"
    only = client.get(f"/batches/{batch['id']}/results?format=srt")
    with zipfile.ZipFile(io.BytesIO(only.content)) as archive:
        assert sorted(archive.namelist())[0] == "A-2.srt"


def test_results_come_as_lines_of_json_and_as_one_array(client: httpx.Client, ledger: Ledger) -> None:
    batch = make(client, ["a.wav", "b.wav"])
    first, second = job_ids(client, batch)
    finish(ledger, first, transcript("eny"))
    partial = client.get(f"/batches/{batch['id']}/results?format=jsonl&partial=true")
    lines = [json.loads(line) for line in partial.text.splitlines()]
    assert [(line["name"], line["state"]) for line in lines] == [("a.wav", "succeeded"), ("b.wav", "queued")]
    assert lines[0]["result"]["text"] == "eny" and lines[1]["result"] is None
    ledger.cancel(second)
    array = client.get(f"/batches/{batch['id']}/results?format=json").json()
    assert [one["state"] for one in array] == ["succeeded", "cancelled"]


@pytest.mark.parametrize("query", ["format=doc", "formats=srt,doc", "formats=,", "format=zip&formats= "])
def test_an_unknown_format_is_a_422(client: httpx.Client, query: str) -> None:
    batch = make(client, ["a.wav"])
    client.delete(f"/batches/{batch['id']}")
    answer = client.get(f"/batches/{batch['id']}/results?{query}")
    if query.endswith("formats= "):
        assert answer.status_code == 422
    problem(answer, 422, "unknown_format")


def test_cancelling_a_batch_cancels_what_has_not_ended(client: httpx.Client, ledger: Ledger) -> None:
    batch = make(client, ["a.wav", "b.wav", "c.wav"])
    finish(ledger, job_ids(client, batch)[0], transcript("eny"))
    done = client.delete(f"/batches/{batch['id']}").json()
    assert done["state"] == "cancelled" and done["counts"]["cancelled"] == 2 and done["counts"]["succeeded"] == 1


def test_the_webhook_of_a_batch_is_in_its_log(client: httpx.Client) -> None:
    batch = make(client, ["a.wav"], callback_url="http://127.0.0.1:9/hook")
    client.delete(f"/batches/{batch['id']}")
    (webhook,) = client.get(f"/batches/{batch['id']}/webhooks").json()["items"]
    assert webhook["batch_id"] == batch["id"] and webhook["state"] == "pending"


def test_wakeups_of_a_large_batch_all_go_out(client: httpx.Client, settings: Settings) -> None:
    same = blob(client, b"a")
    items = [{"blob": same, "name": f"{n}.wav"} for n in range(1200)]
    assert client.post("/batches", json={"items": items}).json()["total"] == 1200
    wait_until(lambda: redis_client(settings.redis_url).llen("cpu.batch") == 1200, "messages are missing", 60)
