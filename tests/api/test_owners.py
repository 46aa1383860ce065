"""Uploads, runs, checkpoints, evaluations and batches belong to a key; to another one they are not there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from milo.ledger import Ledger, owners
from milo.settings import Settings
from milo.training import evaluations, runs
from tests.api.conftest import MODEL, People, finish, problem, transcript
from tests.support.audio_factory import wav

KEY = "0123456789abcdef0123456789abcdef"
BEN = "job_" + "b" * 24


@pytest.fixture
def ana(people: People) -> Iterator[httpx.Client]:
    with people.client("ana") as opened:
        yield opened


@pytest.fixture
def ben(people: People) -> Iterator[httpx.Client]:
    with people.client("ben") as opened:
        yield opened


def recipe(**more: Any) -> dict[str, Any]:
    made = {"name": "mine", "task": "whisper", "model": MODEL, "data": {"source": "synthetic"}}
    return {**made, "training": {"max_steps": 2}, **more}


def test_a_recording_is_used_by_those_who_have_sent_it_and_not_by_its_hash(
    ana: httpx.Client, ben: httpx.Client, client: httpx.Client, ledger: Ledger
) -> None:
    sound = wav(bytes(32_000))
    blob = hashlib.sha256(sound).hexdigest()
    later = {"Prefer": "respond-async"}
    for number, send in enumerate(("/blobs", "/stt")):
        kind = {"Content-Type": "audio/wav"}
        sound = wav(bytes(32_000 + number * 2))
        blob = hashlib.sha256(sound).hexdigest()
        assert ana.post(send, content=sound, headers=kind | later).status_code in (201, 202)
        absent = "f" * 64
        for name in (blob, absent):
            problem(ben.get(f"/blobs/{name}"), 404, "unknown_blob")
            problem(ben.post("/stt", json={"blob": name}), 422, "unknown_blob")
            problem(ben.post("/batches", json={"items": [{"blob": name}]}), 422, "unknown_blob")
            job = {"kind": "stt", "payload": {"source": {"blob": name}}}
            problem(ben.post("/jobs", json=job), 422, "unknown_blob")
        assert ana.get(f"/blobs/{blob}").status_code == 200 == client.get(f"/blobs/{blob}").status_code
        job_id = ana.post("/stt", json={"blob": blob}, headers=later).json()["id"]
        finish(ledger, job_id, transcript("tsiambaratelo"))
        assert ben.post(send, content=sound, headers=kind | later).status_code in (201, 202)
        assert ben.get(f"/blobs/{blob}").status_code == 200
        assert ben.post("/stt", json={"blob": blob}, headers=later).json()["state"] == "queued"


@pytest.fixture
def run(ana: httpx.Client, settings: Settings, ledger: Ledger, whisper_folder: Path) -> runs.Run:
    """A training of ana's with a checkpoint."""
    job_id = ana.post("/trainings", json=recipe()).json()["id"]
    made = runs.folder_for(settings, "mine", job_id, ledger.get(job_id).created_at)
    shutil.copytree(whisper_folder, made.path / "checkpoint-3")
    made.summarise(state="done", best={"step": 3}, last={"step": 3})
    (made.path / "preds").mkdir()
    (made.path / "preds" / "set.csv").write_text("audio,text\na.wav,tsiambaratelo\n")
    return made


def test_a_checkpoint_is_resumed_and_judged_by_the_owner_of_its_run(
    ana: httpx.Client, ben: httpx.Client, client: httpx.Client, run: runs.Run, settings: Settings
) -> None:
    checkpoint, absent = str(run.path / "checkpoint-3"), str(run.path.parent / "x" / "checkpoint-3")
    through = f"{run.path.parent}/../runs/{run.id}/checkpoint-3"
    for path in (
        checkpoint,
        absent,
        through,
        str(run.path),
        f"{run.path}/checkpoint-3/",
        f"/proc/self/root{checkpoint}",
    ):
        problem(ben.post("/trainings", json=recipe(resume=path)), 403, "path_not_allowed")
        problem(ben.post("/trainings", json=recipe(model=path)), 403, "path_not_allowed")
        problem(ben.post("/pipelines", json=recipe(model=path)), 403, "path_not_allowed")
        problem(ben.post("/evaluations", json={"model": path, "data": "synthetic"}), 403, "path_not_allowed")
    for name in ("mine", run.id, str(run.job_id), f"{run.id}/checkpoint-3"):
        answers = [ben.post("/evaluations", json={"model": one, "data": "synthetic"}) for one in (name, f"x{name}")]
        texts = [a.text.replace(f"x{name}", "N").replace(name, "N") for a in answers]
        assert texts[0] == texts[1] and answers[0].status_code in (403, 422), texts
    table = str(run.path / "preds" / "set.csv")
    for key in (ana, ben):
        problem(key.post("/evaluations", json={"model": MODEL, "data": table}), 403, "path_not_allowed")
    for key in (ana, client):
        assert key.post("/trainings", json=recipe(resume=checkpoint)).status_code == 202
        for name in ("mine", run.id, f"{run.id}/checkpoint-3", checkpoint):
            job = key.post("/evaluations", json={"model": name, "data": "synthetic"}).json()
            assert job["payload"]["model"] == checkpoint, job
    run_of_ben = settings.home / "runs" / f"20261128T000000Z_mine_{BEN}"
    shutil.copytree(run.path, run_of_ben)
    owners.note(Ledger.open(settings).engine, "run", BEN, "ben")
    job = ben.post("/evaluations", json={"model": "mine", "data": "synthetic"}).json()
    assert job["payload"]["model"] == str(run_of_ben / "checkpoint-3")
    problem(ben.post("/trainings", json=recipe(resume=f"{run_of_ben}/../{run.id}/checkpoint-3")), 403)


def test_a_report_and_its_rows_are_read_by_those_whose_jobs_came_to_it(
    ana: httpx.Client, ben: httpx.Client, client: httpx.Client, ledger: Ledger, settings: Settings
) -> None:
    report = {"key": KEY, "status": "ok", "wer": 0.25, "model": {"label": "m@1"}, "data": {"source": "synthetic"}}
    evaluations.open_or_make(settings, KEY).settle([{"id": "a", "ref": "tsiambaratelo"}], report)
    job = ana.post("/evaluations", json={"model": MODEL, "data": "synthetic"}).json()
    finish(ledger, job["id"], report)
    owners.note(ledger.engine, "evaluation", KEY, "ana")  # as the worker does
    for path in (f"/evaluations/{KEY}", f"/evaluations/{KEY}/rows"):
        absent = path.replace(KEY, "f" * 32)
        there = problem(ben.get(path), 404, "unknown_evaluation")
        not_there = problem(ben.get(absent), 404, "unknown_evaluation")
        assert there["detail"].replace(KEY, "f" * 32) == not_there["detail"]
        for key in (ana, client):
            assert key.get(path).status_code == 200
    for path in (f"/evaluations/{job['id']}", f"/evaluations/{job['id']}/rows"):
        problem(ben.get(path), 404, "unknown_job")
    assert ben.get("/evaluations").json()["items"] == []


def test_a_set_of_corrections_is_trained_on_by_whose_job_made_it(
    ana: httpx.Client, ben: httpx.Client, settings: Settings
) -> None:
    job = ana.post("/corrections", json={}).json()["id"]
    made = settings.home / "corrections" / job
    made.mkdir(parents=True)
    (made / "a.wav").write_bytes(b"RIFF")
    (made / "train.jsonl").write_text('{"audio": "a.wav", "text": "eny"}\n{"audio": "b.wav", "text": "tsia"}\n')
    assert ana.post("/trainings", json=recipe(data={"source": str(made)})).status_code == 202
    for source in (made, made / "train.jsonl", f"{made}/../{job}", made.parent, made.parent / "job_x"):
        problem(ben.post("/trainings", json=recipe(data={"source": str(source)})), 403, "path_not_allowed")
    problem(ana.post("/trainings", json=recipe(data={"source": str(made.parent)})), 403, "path_not_allowed")


def test_a_batch_and_all_of_it_is_its_owners(ana: httpx.Client, ben: httpx.Client, client: httpx.Client) -> None:
    blob = ana.post("/blobs", content=wav(bytes(32_000))).json()["id"]
    batch = ana.post("/batches", json={"items": [{"blob": blob}], "name": "tsiambaratelo"}).json()
    url = f"/batches/{batch['id']}"
    for path in ("", "/jobs", "/results?partial=true", "/events", "/webhooks"):
        problem(ben.get(url + path), 404, "unknown_batch")
    problem(ben.delete(url), 404, "unknown_batch")
    assert ben.get("/batches").json()["items"] == [] == ben.get("/jobs").json()["items"]
    assert len(client.get("/batches").json()["items"]) == 1 == len(ana.get("/batches").json()["items"])


def test_a_house_may_share_its_runs_and_reports(
    settings: Settings, ledger: Ledger, whisper_folder: Path, people: People
) -> None:
    from api.http.deps import Context  # what `may_use` needs of it
    from api.requests.owned import may_use

    key = people.keys.verify(people.key("ben").secret)
    assert key is not None
    for shared, allowed in (([], []), (["runs"], ["run"]), (["runs", "evaluations"], ["run", "evaluation"])):
        context = Context.__new__(Context)
        context.settings, context.ledger = settings.model_copy(update={"shared": shared}), ledger
        assert [what for what in ("run", "evaluation", "blob") if may_use(context, key, what, "x")] == allowed
    with pytest.raises(ValueError, match="'blobs' can't be shared"):
        Settings(shared="blobs", _env_file=None)
