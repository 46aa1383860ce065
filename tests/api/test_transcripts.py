"""Revisions over HTTP: who edits what, against whom, and that all renderings show it."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx
import pytest

from milo.client import Milo
from milo.ledger import Ledger
from tests.api.conftest import KEY, People, finish, problem, transcript


def made(client: httpx.Client, ledger: Ledger, *texts: str) -> str:
    """The id of a transcript."""
    blob = client.post("/blobs", content=b"RIFF").json()["id"]
    batch = client.post("/batches", json={"kind": "stt", "items": [{"blob": blob, "name": "feo.wav"}]}).json()
    job_id = str(client.get(f"/batches/{batch['id']}/jobs").json()["items"][0]["id"])
    finish(ledger, job_id, transcript(*(texts or ("salama tompoko", "inona <b>no</b> vaovao"))))
    return job_id


def edit(client: httpx.Client, job_id: str, revision: int | None, text: str, **headers: str) -> httpx.Response:
    sent = {} if revision is None else {"If-Match": f'"r{revision}"'}
    body = {"operations": [{"op": "text", "segment": 0, "text": text}]}
    return client.post(f"/transcripts/{job_id}/revisions", json=body, headers=sent | headers)


def test_an_edit_is_shown_everywhere_and_the_machines_text_stays(client: httpx.Client, ledger: Ledger) -> None:
    job_id = made(client, ledger)
    answer = edit(client, job_id, 0, "Salama, <script>")
    assert answer.status_code == 201 and answer.headers["etag"] == '"r1"', answer.text
    document = answer.json()
    assert (document["revision"], document["author"], document["action"]) == (1, "operator", "edit")
    assert document["changes"]["fields"][0]["before"]["text"] == "salama tompoko"
    for format in ("txt", "srt", "vtt", "tsv", "json", "verbose_json"):
        text = client.get(f"/jobs/{job_id}/result?format={format}").text
        assert "Salama, " in text and "salama tompoko" not in text, format
        assert "salama tompoko" in client.get(f"/jobs/{job_id}/result?format={format}&revision=0").text
    job = client.get(f"/jobs/{job_id}").json()
    assert job["revision"] == 1 and job["result"] is None
    archive = client.get(f"/batches/{job['batch_id']}/results")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert b"Salama, " in opened.read("feo.txt") and b"Salama, " in opened.read("feo.srt")
    assert "Salama, " in client.get(f"/batches/{job['batch_id']}/results?format=jsonl").text


def test_the_newest_has_an_etag_and_comes_again_only_when_it_changed(client: httpx.Client, ledger: Ledger) -> None:
    job_id = made(client, ledger)
    first = client.get(f"/transcripts/{job_id}")
    assert first.headers["etag"] == '"r0"' and "revision" not in first.json()
    edit(client, job_id, 0, "iray")
    assert client.get(f"/transcripts/{job_id}", headers={"If-None-Match": '"r1"'}).status_code == 304
    second = client.get(f"/transcripts/{job_id}", headers={"If-None-Match": '"r0"'})
    assert second.json()["segments"][0]["text"] == "iray" and second.json()["revision"] == 1
    assert client.get(f"/transcripts/{job_id}?revision=0").json() == first.json()
    problem(client.get(f"/transcripts/{job_id}?revision=7"), 404, "unknown_revision")


def test_the_second_of_two_tabs_is_told_what_the_first_did(client: httpx.Client, ledger: Ledger) -> None:
    job_id = made(client, ledger)
    edit(client, job_id, 0, "an'ny voalohany")
    refused = problem(edit(client, job_id, 0, "an'ny faharoa"), 412, "outdated")
    assert refused["revision"] == 1 and refused["newest"]["operations"][0]["text"] == "an'ny voalohany"
    assert refused["newest"]["changes"]["fields"][0]["after"]["text"] == "an'ny voalohany"
    assert edit(client, job_id, 1, "an'ny faharoa").status_code == 201
    problem(edit(client, job_id, None, "x"), 428, "condition_missing")
    problem(client.post(f"/transcripts/{job_id}/revisions", json={"action": "undo"}), 428)
    problem(edit(client, job_id, None, "x", **{"If-Match": "nonsense"}), 400, "bad_etag")
    assert edit(client, job_id, None, "x", **{"If-Match": "*"}).status_code == 201


def test_undo_and_restore_and_the_list_of_who_did_what(client: httpx.Client, ledger: Ledger, url: str) -> None:
    job_id = made(client, ledger)
    with Milo(url, KEY) as milo:
        milo.edit(job_id, [{"op": "text", "segment": 0, "text": "iray"}], revision=0)
        milo.undo(job_id, revision=1)
        assert milo.result(job_id, "txt").startswith("salama tompoko")
        milo.restore(job_id, 1, revision=2)
        assert milo.transcript(milo.job(job_id)).segments[0].text == "iray"
        listed = [(one["revision"], one["action"], one["state"]) for one in milo.revisions(job_id)]
    assert listed == [(3, "restore", 1), (2, "undo", 0), (1, "edit", 1)]
    page = client.get(f"/transcripts/{job_id}/revisions?limit=2").json()
    assert page["next"] == 2 and client.get(f"/transcripts/{job_id}/revisions?before=2").json()["next"] is None
    assert client.get(f"/transcripts/{job_id}/revisions/2").json()["changes"]["fields"]


def test_a_repeated_request_is_one_edit(client: httpx.Client, ledger: Ledger) -> None:
    job_id = made(client, ledger)
    key = {"Idempotency-Key": "one-and-the-same"}
    first, again = (edit(client, job_id, 0, "iray", **key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200) and first.json() == again.json()
    problem(edit(client, job_id, 0, "hafa", **key), 422, "idempotency_mismatch")
    assert client.get(f"/jobs/{job_id}").json()["revision"] == 1


def test_the_newest_text_is_cut_into_cues_and_each_says_which_rules_it_breaks(
    client: httpx.Client, ledger: Ledger
) -> None:
    job_id = made(client, ledger)
    edit(client, job_id, 0, "Fehezanteny iray izay lava loatra ho an'ny fotoana fohy toy izao")
    answer = client.get(f"/transcripts/{job_id}/cues?cues=broadcast")
    assert answer.headers["etag"] == '"r1"', answer.text
    cues = answer.json()
    assert (cues["revision"], cues["rules"]["line_chars"]) == (1, 42)
    assert "".join(cues["items"][0]["lines"]).startswith("Fehezanteny") and "fast" in cues["items"][0]["problems"]
    assert not any(cue["problems"] for cue in client.get(f"/transcripts/{job_id}/cues?cues=plain").json()["items"])
    problem(client.get(f"/transcripts/{job_id}/cues?cues=nonsense"), 422, "bad_cues")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"operations": []},
        {"operations": [{"op": "nonsense"}]},
        {"operations": [{"op": "text", "segment": 0, "text": ""}]},
        {"operations": [{"op": "text", "segment": "0; DROP TABLE", "text": "x"}]},
        {"operations": [{"op": "times", "segment": 0, "start": 1e300, "end": 2}]},
        {"action": "restore"},
        {"action": "undo", "operations": [{"op": "delete", "segment": 0}]},
        {"action": "restore", "revision": -1},
    ],
)
def test_a_request_that_makes_no_sense_is_a_sentence(client: httpx.Client, ledger: Ledger, body: Any) -> None:
    job_id = made(client, ledger)
    answer = client.post(f"/transcripts/{job_id}/revisions", json=body, headers={"If-Match": '"r0"'})
    assert answer.status_code in (400, 422) and answer.json()["detail"], answer.text


def test_there_is_nothing_for_another_key_or_another_kind(client: httpx.Client, ledger: Ledger, people: People) -> None:
    job_id = made(client, ledger)
    with people.client("somebody") as other:
        for path in (
            f"/transcripts/{job_id}",
            f"/transcripts/{job_id}/revisions",
            f"/transcripts/{job_id}/revisions/1",
            f"/transcripts/{job_id}/cues",
        ):
            problem(other.get(path), 404)
        problem(edit(other, job_id, 0, "x"), 404)
    waiting = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    problem(client.get(f"/transcripts/{waiting}"), 404, "unknown_stt")
    problem(client.get(f"/jobs/{waiting}/result?revision=1"), 409)
