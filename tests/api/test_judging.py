"""Evaluations, pipelines, deploys and rollbacks over HTTP: what is accepted, what is refused, and who may."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from milo.ledger import Ledger
from milo.models import registry
from milo.settings import Settings
from milo.training import evaluations, runs
from tests.api.conftest import MODEL, People, finish, problem

SYNTHETIC = {"source": "synthetic"}
KEY = "0123456789abcdef0123456789abcdef"


def recipe(**parts: Any) -> dict[str, Any]:
    document = {"name": "small", "task": "whisper", "model": MODEL, "data": SYNTHETIC, "training": {"max_steps": 2}}
    return document | parts


@pytest.fixture
def run(settings: Settings, whisper_folder: Path) -> runs.Run:
    """A finished training with two checkpoints, the first one the best."""
    import yaml

    made = runs.folder_for(settings, "small", "job_abc", 1_700_000_000)
    for step in (3, 6):
        shutil.copytree(whisper_folder, made.path / f"checkpoint-{step}")
    made.summarise(state="done", best={"step": 3}, last={"step": 6})
    (made.path / "config.yaml").write_text(yaml.safe_dump(recipe()))
    return made


# --- evaluations ------------------------------------------------------------------------------------------------------


def test_an_evaluation_is_queued_behind_everything_else_and_its_report_is_the_result(
    client: httpx.Client, ledger: Ledger, settings: Settings
) -> None:
    asked = {"model": MODEL, "data": "synthetic", "evaluation": {"split": "validation", "max_items": 5}}
    answer = client.post("/evaluations", json=asked)
    assert answer.status_code == 202
    job = answer.json()
    assert (job["kind"], job["priority"]) == ("evaluation", "background")
    assert job["payload"]["data"]["source"] == "synthetic" and job["payload"]["evaluation"]["max_items"] == 5
    problem(client.get(f"/evaluations/{job['id']}/rows"), 409, "not_finished")
    report = {"key": KEY, "status": "ok", "wer": 0.25, "model": {"label": "m@1"}, "data": {"source": "synthetic"}}
    rows = [{"id": "a", "ref": "iray"}, {"id": "b", "ref": "roa"}]
    evaluations.open_or_make(settings, KEY).settle(rows, report)
    finish(ledger, job["id"], report)
    assert client.get(f"/evaluations/{job['id']}").json()["result"]["wer"] == 0.25
    assert client.get(f"/evaluations/{KEY}").json() == report
    for name in (KEY, job["id"]):
        found = client.get(f"/evaluations/{name}/rows")
        assert found.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in found.text.splitlines()] == rows
    listed = client.get("/evaluations").json()
    assert [item["id"] for item in listed["items"]] == [job["id"]] and listed["stored"][0]["key"] == KEY


def test_reports_that_are_not_there_are_not_found(client: httpx.Client) -> None:
    problem(client.get(f"/evaluations/{'f' * 32}"), 404, "unknown_evaluation")
    problem(client.get("/evaluations/..%2Fx"), 404)
    ping = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    problem(client.get(f"/evaluations/{ping}"), 404, "unknown_evaluation")
    problem(client.get(f"/pipelines/{ping}"), 404, "unknown_pipeline")


REFUSED: list[tuple[dict[str, Any], int, str | None]] = [
    ({"model": "no-such-model"}, 422, "unknown_model"),
    ({"model": "/etc"}, 403, "path_not_allowed"),
    ({"model": "../../../../../../../../../etc"}, 403, "path_not_allowed"),
    ({"model": "../no-such-folder"}, 403, "path_not_allowed"),
    ({"model": "a/b/../../../no-such"}, 403, "path_not_allowed"),
    ({"model": "~nobody-here"}, 403, "path_not_allowed"),
    ({"model": "/etc\0"}, 422, None),
    ({"model": "/" + "a" * 5000}, 422, "bad_path"),
    ({"model": "../" + "a" * 300}, 422, "bad_path"),
    ({"model": "a" * 300}, 422, None),
    ({"data": "a" * 300}, 422, None),
    ({"data": ""}, 422, None),
    ({"data": {"source": "synthetic", "max_audio_s": "1e999"}}, 422, None),
    ({"data": {"source": "synthetic", "language": "m\0g"}}, 422, None),
    ({"data": {"source": "synthetic", "synthetic": {"voices": ["\0"]}}}, 422, None),
    ({"data": {"source": "synthetic", "synthetic": {"\0": 1}}}, 422, None),
    ({"data": "../no-such.jsonl"}, 403, "path_not_allowed"),
    ({"data": "~nobody-here"}, 403, "path_not_allowed"),
    ({"data": "/etc/passwd"}, 403, "path_not_allowed"),
    ({"data": "/etc"}, 403, "path_not_allowed"),
    ({"data": "/no/such/file"}, 403, "path_not_allowed"),
    ({"data": "nothing"}, 422, "bad_data"),
    ({"data": {"source": "synthetic", "colour": "red"}}, 422, None),
    ({"task": "vits"}, 422, "not_evaluable"),
    ({"evaluation": {"beam_size": 99}}, 422, None),
    ({"callback_url": "http://10.0.0.1/"}, 422, None),
]


def test_what_can_not_be_evaluated_is_refused_before_it_is_queued(people: People) -> None:
    with people.client("bea") as bea:
        for change, status, code in REFUSED:
            problem(bea.post("/evaluations", json={"model": MODEL, "data": "synthetic"} | change), status, code)
        assert bea.get("/jobs").json()["items"] == []


def test_what_is_wrong_with_the_data_is_pointed_at(client: httpx.Client) -> None:
    for data, pointer in (("", "source"), ({"source": "synthetic", "columns": {"text": 1}}, "columns/text")):
        document = problem(client.post("/evaluations", json={"model": MODEL, "data": data}), 422)
        assert [one["pointer"] for one in document["errors"]] == [f"#/data/{pointer}"]


def test_a_table_under_an_allowed_root_may_be_judged_on(client: httpx.Client, archive: Path) -> None:
    table = archive / "set.jsonl"
    table.write_text('{"audio": "a.wav", "text": "iray"}\n')
    assert client.post("/evaluations", json={"model": MODEL, "data": str(table)}).status_code == 202
    table.write_text('{"sound": "a.wav", "text": "iray"}\n')
    problem(client.post("/evaluations", json={"model": MODEL, "data": str(table)}), 422, "unknown_column")


def test_a_run_may_be_named_for_a_model(client: httpx.Client, run: runs.Run) -> None:
    for name, step in ((run.id, 3), (f"{run.id}/checkpoint-6", 6), (str(run.path / "checkpoint-6"), 6)):
        job = client.post("/evaluations", json={"model": name, "data": "synthetic"}).json()
        assert job["payload"]["model"] == str(run.path / f"checkpoint-{step}")


def test_another_key_sees_neither_the_jobs_nor_all_the_reports(people: People, client: httpx.Client) -> None:
    job = client.post("/evaluations", json={"model": MODEL, "data": "synthetic"}).json()
    with people.client("bea") as bea:
        problem(bea.get(f"/evaluations/{job['id']}"), 404, "unknown_job")
        assert bea.get("/evaluations").json() == {"items": [], "next": None}


# --- pipelines --------------------------------------------------------------------------------------------------------


def test_a_pipeline_is_queued_with_its_recipe_complete(client: httpx.Client) -> None:
    answer = client.post("/pipelines", json={"recipe": recipe(deploy={"name": "ours"})})
    assert answer.status_code == 202
    job = client.get(f"/pipelines/{answer.json()['id']}").json()
    assert job["stage"] == "baseline" and job["payload"]["recipe"]["training"]["learning_rate"] == 1e-5
    problem(client.get(f"/pipelines/{job['id']}/summary"), 409, "not_finished")


def test_a_recipe_that_can_not_be_used_is_refused_with_the_field(client: httpx.Client) -> None:
    found = problem(client.post("/pipelines", json={"recipe": recipe(training={})}), 422, "bad_recipe")
    assert "max_steps" in found["detail"]
    found = problem(client.post("/pipelines", json={"recipe": recipe(model="nobody")}), 422, "unknown_model")
    problem(client.post("/pipelines", json={"recipe": recipe(deploy={"name": "a/b/c"})}), 422, "bad_model_name")


def test_who_deploys_needs_the_scope_admin(people: People) -> None:
    with people.client("bea") as bea:
        assert bea.post("/pipelines", json={"recipe": recipe()}).status_code == 202
        problem(bea.post("/pipelines", json={"recipe": recipe(deploy={"name": "x"})}), 403, "missing_scope")
        problem(bea.post("/pipelines", json={"recipe": recipe(resume="/etc")}), 403, "path_not_allowed")
        problem(bea.post(f"/models/{MODEL}/deploy", json={"run": "small"}), 403, "missing_scope")
        problem(bea.post(f"/models/{MODEL}/rollback"), 403, "missing_scope")


# --- deploy and rollback ----------------------------------------------------------------------------------------------


def test_a_run_is_deployed_by_its_name_and_judged_on_its_own_data(client: httpx.Client, run: runs.Run) -> None:
    wanted = {"": 3, "last": 6, "6": 6, "checkpoint-3": 3}
    for checkpoint, step in wanted.items():
        asked = {"run": "small"} | ({"checkpoint": checkpoint} if checkpoint else {})
        job = client.post(f"/models/{MODEL}/deploy", json=asked).json()
        assert (job["kind"], job["priority"]) == ("deploy", "interactive")
        payload = job["payload"]
        assert payload["path"] == str(run.path / f"checkpoint-{step}") and payload["base"] == MODEL
        assert payload["data"]["source"] == "synthetic" and payload["model"] == MODEL
    job = client.post("/models/owner/name/deploy", json={"checkpoint": f"{run.id}/checkpoint-6"}).json()
    assert job["payload"]["model"] == "owner/name" and job["payload"]["path"].endswith("checkpoint-6")


UNFIT: list[tuple[dict[str, Any], int, str]] = [
    ({}, 422, "which_folder"),
    ({"run": "small", "path": "/tmp"}, 422, "which_folder"),
    ({"path": "/etc"}, 403, "path_not_allowed"),
    ({"checkpoint": "../../../../etc"}, 403, "path_not_allowed"),
    ({"run": "nobody"}, 404, "unknown_run"),
    ({"run": "small", "checkpoint": "99"}, 404, "unknown_checkpoint"),
    ({"checkpoint": "no/such"}, 404, "unknown_path"),
]


def test_only_what_lies_under_runs_or_an_allowed_root_is_deployed_whoever_asks(
    client: httpx.Client, run: runs.Run
) -> None:
    for asked, status, code in UNFIT:
        problem(client.post(f"/models/{MODEL}/deploy", json=asked), status, code)


def test_a_link_that_leads_out_of_the_runs_is_not_followed(
    client: httpx.Client, run: runs.Run, whisper_folder: Path
) -> None:
    (run.path / "checkpoint-9").symlink_to(whisper_folder)
    asked = {"path": str(run.path / "checkpoint-9")}
    for one in (asked, {"run": "small", "checkpoint": "9"}):
        problem(client.post(f"/models/{MODEL}/deploy", json=one), 403, "path_not_allowed")


def test_a_folder_without_data_is_not_compared_unless_that_is_said(
    client: httpx.Client, archive: Path, whisper_folder: Path
) -> None:
    folder = archive / "model"
    shutil.copytree(whisper_folder, folder)
    problem(client.post(f"/models/{MODEL}/deploy", json={"path": str(folder)}), 422, "nothing_to_compare_on")
    asked = {"path": str(folder), "ungated": True}
    assert client.post(f"/models/{MODEL}/deploy", json=asked).json()["payload"]["data"] is None
    assert client.post("/models/new-name/deploy", json={"path": str(folder)}).status_code == 202


def test_rollback_goes_one_version_back(client: httpx.Client, settings: Settings, whisper_folder: Path) -> None:
    problem(client.post(f"/models/{MODEL}/rollback"), 409, "no_earlier_version")
    problem(client.post("/models/nobody/rollback"), 404, "unknown_model")
    before = registry.serving(settings, MODEL)
    other = settings.home / "other"
    shutil.copytree(whisper_folder, other)
    (other / "config.json").write_text(json.dumps({"model_type": "whisper", "vocab_size": 1001}))
    version = registry.deploy(settings, MODEL, other)
    assert client.post(f"/models/{MODEL}/rollback").json() == {"name": MODEL, "version": before, "before": version}
    assert registry.serving(settings, MODEL) == before
