"""Files of the server: what a key without `admin` may name in recipes, evaluations, batches and requests for speech."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from milo.settings import Settings
from tests.api.conftest import MODEL, People, problem


@pytest.fixture
def ana(people: People) -> Iterator[httpx.Client]:
    with people.client("ana") as opened:
        yield opened


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A data set, and a recording, outside the allowed root."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"RIFF")
    (folder / "a.csv").write_text("audio,text\na.wav,tsiambaratelo\n")
    return folder


def links(archive: Path, secret: Path) -> None:
    """What somebody with a shell, or who unpacked an archive, may have left under the root."""
    (archive / "link").symlink_to(secret)
    (archive / "link.csv").symlink_to(secret / "a.csv")
    (archive / "chain.csv").symlink_to("link.csv")
    (archive / "dangling.csv").symlink_to(secret / "absent.csv")
    os.mkfifo(archive / "fifo.csv")


def outside(archive: Path, secret: Path, name: str, absent: str) -> Iterator[tuple[str, str]]:
    """Names of a file outside the root, each with the like of one that is not there."""
    inner, home = archive.name, secret.parent
    yield str(secret / name), str(secret / absent)
    yield f"{archive}/../secret/{name}", f"{archive}/../secret/{absent}"
    yield f"{archive}/link/{name}", f"{archive}/link/{absent}"
    yield f"{archive}/link/../{inner}/../secret/{name}", f"{archive}/link/../{inner}/../secret/{absent}"
    yield f"/proc/self/root{secret}/{name}", f"/proc/self/root{secret}/{absent}"
    yield f"/proc/self/cwd/../../../../../../../..{secret}/{name}", f"/proc/self/cwd/../../../../..{secret}/{absent}"
    yield f"{home}/secret/./{name}", f"{home}/secret/./{absent}"


def recipe(source: str, **more: Any) -> dict[str, Any]:
    made = {"name": "mine", "task": "whisper", "model": MODEL, "data": {"source": source}}
    return {**made, "training": {"max_steps": 5}, **more}


def said(answer: httpx.Response, name: str) -> tuple[int, str]:
    """What an answer tells, but for the name that was asked for."""
    return answer.status_code, answer.text.replace(name, "NAME").replace(os.path.realpath(name), "NAME")


def test_a_data_set_outside_is_refused_in_the_words_for_one_that_is_not_there(
    ana: httpx.Client, archive: Path, secret: Path
) -> None:
    links(archive, secret)
    (archive / "a.wav").touch()
    for name, absent in outside(archive, secret, "a.csv", "b.csv"):
        for path, body in (("/trainings", recipe), ("/pipelines", recipe)):
            there, not_there = (ana.post(path, json=body(one)) for one in (name, absent))
            assert said(there, name) == said(not_there, absent) and there.status_code == 403, there.text
        asked = ({"model": MODEL, "data": one} for one in (name, absent))
        there, not_there = (ana.post("/evaluations", json=one) for one in asked)
        assert said(there, name) == said(not_there, absent) and there.status_code == 403, there.text
    for name in ("link.csv", "chain.csv", "dangling.csv", "link"):
        problem(ana.post("/evaluations", json={"model": MODEL, "data": str(archive / name)}), 403, "path_not_allowed")
    problem(ana.post("/evaluations", json={"model": MODEL, "data": str(archive / "fifo.csv")}), 422)
    assert ana.get("/jobs").json()["items"] == []


def test_rows_under_the_root_that_name_files_outside_are_as_if_those_were_not_there(
    ana: httpx.Client, archive: Path, secret: Path
) -> None:
    links(archive, secret)
    table = archive / "set.csv"
    for name, absent in outside(archive, secret, "a.wav", "b.wav"):
        answers = []
        for one in (name, absent):
            table.write_text(f"audio,text\n{one},salama\n")
            answers.append(said(ana.post("/trainings", json=recipe(str(table))), one))
        assert answers[0] == answers[1] and answers[0][0] == 422, answers
        assert "none of the 1 audio files is there" in answers[0][1]


def test_what_is_accepted_is_confined_to_the_roots_for_whoever_runs_it(
    ana: httpx.Client, client: httpx.Client, archive: Path
) -> None:
    """Whatever the client says of it; and the path that was checked is the one that will be opened."""
    (archive / "a.wav").touch()
    (archive / "day").mkdir()
    (archive / "day" / "set.csv").write_text("audio,text\n../a.wav,salama\n")
    (archive / "now").symlink_to("day")
    asked = recipe(str(archive / "now" / "set.csv"))
    asked["data"]["confined"] = False
    for path in ("/trainings", "/pipelines"):
        data = ana.post(path, json=asked).json()["payload"]["recipe"]["data"]
        assert data["confined"] is True and data["source"] == str(archive / "day" / "set.csv")
    data = ana.post("/evaluations", json={"model": MODEL, "data": asked["data"]}).json()["payload"]["data"]
    assert data["confined"] is True
    assert client.post("/trainings", json=asked).json()["payload"]["recipe"]["data"]["confined"] is False


def test_names_are_no_files_of_where_the_server_happens_to_run(
    ana: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cwd"
    (place / "placed" / "inner").mkdir(parents=True)
    (place / "placed.csv").write_text("audio,text\n")
    monkeypatch.chdir(place)
    for name, absent in (("placed.csv", "none.csv"), ("placed", "none"), ("placed/inner", "none/inner"), ("~", "~x")):
        for task in ("whisper", "nllb"):
            answers = [
                ana.post("/evaluations", json={"model": MODEL, "data": one, "task": task}) for one in (name, absent)
            ]
            assert said(answers[0], name) == said(answers[1], absent) or name == "~", answers[0].text
        for body in ({"model": name}, {"model": absent}):
            problem(
                ana.post("/evaluations", json=body | {"data": "synthetic"}), 403 if "/" in name or name == "~" else 422
            )
        answers = [ana.post("/translate", json={"text": "a", "model": one}) for one in (name, absent)]
        assert said(answers[0], name) == said(answers[1], absent), answers[0].text


def test_what_would_be_fetched_from_the_hub_is_the_operators_to_name(
    ana: httpx.Client, client: httpx.Client, archive: Path
) -> None:
    for body in (
        {"model": "openai/whisper-tiny", "data": "synthetic"},
        {"model": MODEL, "data": "badrex/malagasy-speech-full"},
    ):
        problem(ana.post("/evaluations", json=body), 403, "hub_not_allowed")
        assert client.post("/evaluations", json=body).status_code == 202
    asked = recipe("badrex/malagasy-speech-full")
    assert (
        problem(ana.post("/trainings", json=asked), 403, "hub_not_allowed")["errors"][0]["pointer"] == "#/data/source"
    )
    asked = recipe("synthetic", model="openai/whisper-tiny@main")
    assert problem(ana.post("/pipelines", json=asked), 403, "hub_not_allowed")["errors"][0]["pointer"] == "#/model"


def test_a_model_folder_under_the_root_holds_its_own_files(
    ana: httpx.Client, archive: Path, whisper_folder: Path, secret: Path, settings: Settings
) -> None:
    import shutil

    def folder(name: str) -> Path:
        shutil.copytree(whisper_folder, archive / name)
        return archive / name

    def asked(folder: Path) -> httpx.Response:
        return ana.post("/evaluations", json={"model": str(folder), "data": "synthetic"})

    assert asked(folder("good")).status_code == 202
    (secret / "vocab.json").write_text("{}")
    (folder("linked") / "vocab.json").symlink_to(secret / "vocab.json")
    (folder("dangling") / "vocab.json").symlink_to(secret / "absent.json")
    os.mkfifo(folder("piped") / "vocab.json")
    (folder("zero") / "vocab.json").symlink_to("/dev/zero")
    (folder("based") / "config.json").write_text(json.dumps({"model_type": "whisper", "_name_or_path": str(secret)}))
    for name in ("linked", "dangling", "piped", "zero", "based"):
        problem(asked(archive / name), 403, "path_not_allowed")
    index = {"weight_map": {"proj": "../../secret/a.wav"}}
    (folder("sharded") / "model.safetensors").unlink()
    (archive / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index))
    problem(asked(archive / "sharded"), 422, "unknown_model")
    problem(ana.post("/trainings", json=recipe("synthetic", resume=str(archive / "linked"))), 403, "path_not_allowed")


def test_recordings_by_path_and_folders_of_them_stay_under_the_root(
    ana: httpx.Client, archive: Path, secret: Path, settings: Settings
) -> None:
    links(archive, secret)
    (archive / "l.wav").symlink_to(secret / "a.wav")
    os.mkfifo(archive / "f.wav")
    (archive / "sparse.wav").touch()
    os.truncate(archive / "sparse.wav", 2**42)
    blob = settings.home / "blobs"
    for name, absent in outside(archive, secret, "a.wav", "b.wav"):
        for path, body in (("/stt", "path"), ("/batches", "paths")):
            one, other = ({body: [n] if body == "paths" else n} for n in (name, absent))
            there, not_there = (
                ana.post(path, json=asked, headers={"Prefer": "respond-async"}) for asked in (one, other)
            )
            assert said(there, name) == said(not_there, absent) and there.status_code == 403, there.text
    for name in (archive / "l.wav", f"file://{secret}/a.wav", f"local://{archive}/l.wav", blob, settings.home):
        problem(ana.post("/stt", json={"path": str(name)}), 403, "path_not_allowed")
    assert problem(ana.post("/stt", json={"path": str(archive / "f.wav")}), 422)["code"] == "not_a_file"
    left = ana.post("/batches", json={"paths": [str(archive)]}).json()["skipped"]
    assert {one["name"] for one in left} >= {"l.wav", "f.wav", "link"} and "secret" not in json.dumps(left)
