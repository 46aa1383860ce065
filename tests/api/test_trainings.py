"""Trainings over HTTP: what is checked before a recipe is queued, and what is seen of its run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from milo import metrics
from milo.jobs import Job
from milo.ledger import Ledger
from milo.models import registry
from milo.settings import Settings
from milo.training import runs
from milo.training.run_events import Mark, rows_after
from milo.training.runs import Run
from tests.api.conftest import KEY, MODEL, People, problem
from tests.support.ct2_factory import write_ct2


@pytest.fixture
def table(archive: Path) -> Path:
    path = archive / "speech.csv"
    path.write_text("audio,text\na.wav,salama\n")
    (archive / "a.wav").touch()  # its content is looked at when the training begins
    return path


def recipe(source: Path | str, **more: Any) -> dict[str, Any]:
    made = {"name": "mine", "task": "whisper", "model": MODEL, "data": {"source": str(source)}}
    return {**made, "training": {"max_steps": 5}, **more}


def _recipe_with(field: str, value: str) -> str:
    """The JSON of a recipe whose `data` has a value as it was written."""
    return json.dumps(recipe("synthetic") | {"data": {"source": "synthetic", field: "VALUE"}}).replace('"VALUE"', value)


def submitted(client: httpx.Client, table: Path, **headers: str) -> dict[str, Any]:
    answer = client.post("/trainings", json=recipe(table), headers=headers)
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_a_recipe_in_json_or_yaml_is_queued_behind_everything_else(client: httpx.Client, table: Path) -> None:
    answer = client.post("/trainings", json=recipe(table))
    assert answer.status_code == 202
    job = answer.json()
    assert (job["kind"], job["state"], job["priority"]) == ("training", "queued", "background")
    assert answer.headers["location"] == f"/api/v1/trainings/{job['id']}"
    assert job["payload"]["recipe"]["training"]["learning_rate"] == 1e-5
    assert "audio from" in job["payload"]["data_read_as"]
    text = yaml.safe_dump(recipe(table))
    again = client.post("/trainings", content=text, headers={"content-type": "application/yaml"})
    assert again.status_code == 202 and again.json()["payload"] == job["payload"]


def test_the_same_key_gives_the_same_job_and_another_recipe_under_it_is_refused(
    client: httpx.Client, table: Path
) -> None:
    first = submitted(client, table, **{"Idempotency-Key": "once"})
    assert submitted(client, table, **{"Idempotency-Key": "once"})["id"] == first["id"]
    other = recipe(table, training={"max_steps": 6})
    problem(client.post("/trainings", json=other, headers={"Idempotency-Key": "once"}), 422)


@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"training": {"max_steps": 5, "lerning_rate": 1}}, "#/training/lerning_rate", "there is no such field"),
        ({"training": {}}, "#/training", "exactly one of max_steps and epochs"),
        ({"model": "milo-tiny-mq"}, "#/model", "no model named milo-tiny-mq"),
        ({"task": "vits"}, "#/model", "is a whisper model; task vits trains a vits one"),
        ({"resume": "/nowhere/checkpoint-7"}, "#/resume", "there is no folder"),
        ({"training": {"max_steps": 5, "seed": 2**32}}, "#/training/seed", "less than 4294967296"),
        ({"training": {"epochs": 1e6}}, "#/training/epochs", "less than or equal to 10000"),
        ({"training": {"max_steps": 5, "augment": {"speed": [0, 1]}}}, "#/training/augment/speed", "a factor above 0"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(
    client: httpx.Client, table: Path, change: dict[str, Any], pointer: str, said: str
) -> None:
    found = problem(client.post("/trainings", json=recipe(table, **change)), 422)
    assert said in found["detail"] and found["errors"][0]["pointer"] == pointer


def test_a_base_in_ctranslate2_s_format_is_refused_with_the_way_out(
    client: httpx.Client, settings: Settings, table: Path, tmp_path: Path
) -> None:
    registry.deploy(settings, "Systran/faster-whisper-base", write_ct2(tmp_path / "base"))
    asked = recipe(table, model="Systran/faster-whisper-base", data={"source": str(table), "language": "mg"})
    found = problem(client.post("/trainings", json=asked), 422, "unknown_model")
    assert "training needs its weights in transformers' format (safetensors): openai/whisper-base" in found["detail"]
    assert found["errors"][0]["pointer"] == "#/model"


def test_data_that_is_not_there_or_lacks_a_column_is_refused_with_a_near_miss(
    client: httpx.Client, table: Path
) -> None:
    absent = problem(client.post("/trainings", json=recipe(table.with_name("speach.csv"))), 422)
    assert "Did you mean speech.csv?" in absent["detail"]
    data = {"source": str(table), "columns": {"text": "texte"}}
    lacking = problem(client.post("/trainings", json=recipe(table, data=data)), 422, "unknown_column")
    assert "its columns are audio, text. Did you mean text?" in lacking["detail"]
    assert lacking["errors"][0]["pointer"] == "#/data/columns/text"
    spoken = {"source": str(table), "language": "xx"}
    assert "it knows en, fr, mg" in problem(client.post("/trainings", json=recipe(table, data=spoken)), 422)["detail"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("- a\n- b\n", "application/yaml", 422),
        ("a: [", "application/yaml", 400),
        ("a: &x [1]\nb: [*x, *x]\n", "application/yaml", 400),
        ("a: !!int ''", "application/yaml", 400),
        ("a: !!timestamp 9", "application/yaml", 400),
        ('a: !!binary "/w=="', "application/yaml", 400),
        ('a: "\\ud800"', "application/yaml", 400),
        ("[" * 5000, "application/yaml", 400),
        ("[" * 5000, "application/json", 400),
        ('{"name": NaN}', "application/json", 422),
        ('{"a": 1e999}', "application/json", 422),
        ('{"a\\u0000b": 1}', "application/json", 422),
        (_recipe_with("max_audio_s", "1e999"), "application/json", 422),
        (_recipe_with("max_audio_s", '"1e999"'), "application/json", 422),
        (_recipe_with("max_audio_s", '"NaN"'), "application/json", 422),
        (_recipe_with("synthetic", '{"seed": [NaN]}'), "application/json", 422),
        (_recipe_with("config", '"\\u0000"'), "application/json", 422),
        ("{", "application/json", 400),
        ("name=x", "application/x-www-form-urlencoded", 415),
        ("a: " + "x" * 300_000, "application/yaml", 413),
    ],
)
def test_what_is_no_recipe_is_refused(client: httpx.Client, body: str, kind: str, status: int) -> None:
    problem(client.post("/trainings", content=body, headers={"content-type": kind}), status)


def test_only_the_operator_names_files_outside_the_allowed_roots(
    client: httpx.Client, people: People, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.wav").touch()
    outside = tmp_path / "outside.csv"
    outside.write_text(table.read_text())
    assert client.post("/trainings", json=recipe(outside)).status_code == 202
    with people.client("ana") as ana:
        assert ana.post("/trainings", json=recipe(table)).status_code == 202
        found = problem(ana.post("/trainings", json=recipe(outside)), 403, "path_not_allowed")
        assert found["errors"][0]["pointer"] == "#/data/source"
    with people.client("eva", "read") as eva:
        problem(eva.post("/trainings", json=recipe(table)), 403)


NO_PATHS = ["/a\\u0000b", "/\\ud800", "/" + "a" * 5000, "../" + "a" * 300, "~nobody-here/x", "../nothing", "a/../../b"]


@pytest.mark.parametrize("path", NO_PATHS)
@pytest.mark.parametrize("field", ["source", "model", "resume"])
@pytest.mark.parametrize("scopes", [(), ("read", "write", "admin")])
def test_a_path_that_can_not_be_one_is_an_error_of_the_asker(
    people: People, table: Path, field: str, path: str, scopes: tuple[str, ...]
) -> None:
    asked = recipe("PATH") if field == "source" else recipe(table, **{field: "PATH"})
    with people.client("ana", *scopes) as ana:
        body = json.dumps(asked).replace("PATH", path)
        answer = ana.post("/trainings", content=body, headers={"content-type": "application/json"})
        problem(answer, 400 if "ud800" in path else 422 if scopes else answer.status_code)
        if not scopes and "ud800" not in path:
            assert answer.status_code in (403, 422)
            assert "Did you mean" not in answer.text and "has no" not in answer.text
        assert ana.get("/jobs").json()["items"] == []


def begin(settings: Settings, ledger: Ledger, job_id: str) -> tuple[Job, Run]:
    """Do a worker's part."""
    job = ledger.get(job_id)
    return job, runs.folder_for(settings, "mine", job.id, job.created_at)


def test_a_training_is_seen_with_its_run_by_its_owner_alone(
    client: httpx.Client, people: People, table: Path, settings: Settings, ledger: Ledger
) -> None:
    with people.client("ana") as ana, people.client("ben") as ben:
        job_id = submitted(ana, table)["id"]
        assert ana.get(f"/trainings/{job_id}").json()["run"] is None
        _, run = begin(settings, ledger, job_id)
        run.summarise(state="training", step=2)
        run.alert("nan", "the loss was no number", "skipped", 2)
        found = ana.get(f"/trainings/{job_id}").json()
        assert found["run"]["id"] == run.id and found["run"]["summary"]["step"] == 2
        assert found["run"]["alerts"][0]["kind"] == "nan"
        assert [one["id"] for one in ana.get("/trainings").json()["items"]] == [job_id]
        pipeline = ana.post("/pipelines", json={"recipe": recipe(table)}).json()["id"]
        assert [one["id"] for one in ana.get("/trainings").json()["items"]] == [pipeline, job_id]
        assert ben.get("/trainings").json()["items"] == []
        for answer in (ben.get(f"/trainings/{job_id}"), ben.delete(f"/trainings/{job_id}")):
            problem(answer, 404)
        counted = metrics.JOBS.labels("training", "cancelled")._value.get()
        assert ana.delete(f"/trainings/{job_id}").json()["state"] == "cancelled"
        ended = ana.get(f"/trainings/{job_id}").json()
        assert ended["state"] == ended["run"]["summary"]["state"] == "cancelled"
        assert run.summary()["state"] == "training", "the file is for beat to mend: this process may be elsewhere"
        assert metrics.JOBS.labels("training", "cancelled")._value.get() == counted + 1
    ping = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    problem(client.get(f"/trainings/{ping}"), 404)


def events(url: str, job_id: str, last: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(event, id, data) until the stream ends."""
    headers = {"Authorization": f"Bearer {KEY}", **({"Last-Event-ID": last} if last else {})}
    with httpx.stream("GET", f"{url}/api/v1/trainings/{job_id}/events", headers=headers, timeout=30) as stream:
        assert stream.status_code == 200
        held: dict[str, str] = {}
        for line in stream.iter_lines():
            if not line:
                if "data" in held:
                    yield held["event"], held["id"], json.loads(held["data"])
                held = {}
            else:
                name, _, value = line.partition(": ")
                held[name] = value


def test_steps_are_streamed_as_they_come_and_a_reader_goes_on_where_it_left_off(
    client: httpx.Client, url: str, table: Path, settings: Settings, ledger: Ledger
) -> None:
    job_id = submitted(client, table)["id"]
    _, run = begin(settings, ledger, job_id)
    run.log(1, **{"train/loss": 3.0})
    first_seen = threading.Event()

    def work() -> None:
        assert first_seen.wait(20)
        run.log(2, **{"train/loss": 2.0})
        run.alert("nan", "seen", "done", 2)
        claim = ledger.claim(job_id, "w")
        assert claim is not None
        ledger.finish(claim, {"state": "done"})

    worker = threading.Thread(target=work)
    worker.start()
    found = []
    for event in events(url, job_id):
        found.append(event)
        first_seen.set()
    worker.join()
    assert sorted(kind for kind, _, _ in found) == ["alert", "job", "metrics", "metrics"]
    metrics = [(name, data) for kind, name, data in found if kind == "metrics"]
    assert [data["step"] for _, data in metrics] == [1, 2]
    assert found[-1][0] == "job" and found[-1][2]["state"] == "succeeded" and found[-1][2]["run"]["id"] == run.id
    later = list(events(url, job_id, metrics[0][0]))
    assert [data["step"] for kind, _, data in later if kind == "metrics"] == [2]
    assert client.get(f"/trainings/{job_id}/events", headers={"Last-Event-ID": found[-1][1]}).status_code == 204


def test_steps_that_are_made_again_after_a_rollback_come_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.log(step, **{"train/loss": 1.0}, time=100.0 + step)
    read = list(rows_after(run, Mark()))
    mark = Mark.parse(str(read[-1][2]))
    assert [row["step"] for _, row, _ in read] == [1, 2, 3] and not list(rows_after(run, mark))
    run.forget_after(1)
    assert not list(rows_after(run, mark))
    run.log(2, **{"train/loss": 0.5}, time=103.5)
    run.log(2, **{"eval/wer": 0.5}, time=104.0)
    run.log(3, **{"train/loss": 0.4}, time=104.0)
    assert [row["step"] for _, row, _ in rows_after(run, mark)] == [2, 2, 3]
    assert Mark.parse("nonsense") == Mark()
