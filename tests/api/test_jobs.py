"""Jobs over HTTP: submit, list, look, wait, result, cancel, retry, the delivery log."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from milo.errors import BadMedia, EngineError
from milo.jobs import Progress
from milo.ledger import Ledger, outbox
from milo.queue.connection import redis_client
from milo.settings import Settings
from milo.storage.files import Files
from tests.api.conftest import finish, problem, transcript
from tests.support.servers import wait_until

CALLBACK = "http://127.0.0.1:9/hook"


def ping(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("/jobs", json={"kind": "ping", **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["url"]
    document: dict[str, Any] = answer.json()
    return document


def stt(client: httpx.Client, name: str = "a.wav") -> dict[str, Any]:
    blob = client.post("/blobs", content=b"RIFF").json()["id"]
    answer = client.post("/stt", json={"blob": blob, "name": name}, headers={"Prefer": "respond-async"})
    document: dict[str, Any] = answer.json()
    return document


def test_a_submitted_job_is_on_disk_and_its_message_in_the_queue(
    client: httpx.Client, ledger: Ledger, settings: Settings
) -> None:
    job = ping(client, payload={"seconds": 0.1}, priority="batch")
    assert ledger.get(job["id"]).payload == {"seconds": 0.1}
    assert redis_client(settings.redis_url).llen("gpu.batch") == 1
    assert (job["state"], job["kind"], job["owner"], job["attempt"], job["version"]) == (
        "queued",
        "ping",
        "operator",
        1,
        1,
    )
    assert job["created_at"].endswith("Z") and job["result"] is None and job["error"] is None


def test_a_job_document_has_every_field_of_the_contract(client: httpx.Client) -> None:
    fields = (
        "id kind state priority owner batch_id batch_index payload progress result result_url error attempt "
        "max_attempts slices created_at started_at finished_at audio_s compute_s models callback_url idempotency_key "
        "queue_position eta_s version revision url"
    )
    job = client.get(f"/jobs/{ping(client)['id']}").json()
    assert set(job) == set(fields.split())


def test_the_place_in_the_queue_and_the_time_left_are_told(client: httpx.Client, ledger: Ledger) -> None:
    finish(ledger, ping(client)["id"], {"pong": True})  # took half a second
    ids = [ping(client)["id"] for _ in range(3)]
    third = client.get(f"/jobs/{ids[2]}").json()
    assert third["queue_position"] == 3 and third["eta_s"] == 1.5
    claim = ledger.claim(ids[0], "test-worker")
    assert claim
    ledger.renew([claim], {ids[0]: Progress(done=50, total=100, unit="audio_s")})
    running = client.get(f"/jobs/{ids[0]}").json()
    assert running["state"] == "running" and running["queue_position"] == 0 and running["eta_s"] >= 0
    assert running["progress"] == {"done": 50, "total": 100, "unit": "audio_s"}
    assert client.get(f"/jobs/{ids[2]}").json()["queue_position"] == 2


def test_jobs_are_listed_newest_first_page_by_page_and_filtered(client: httpx.Client, ledger: Ledger) -> None:
    ids = [ping(client)["id"] for _ in range(5)]
    finish(ledger, ids[0], {"pong": True})
    first = client.get("/jobs?limit=3").json()
    assert [job["id"] for job in first["items"]] == ids[:1:-1]
    second = client.get(f"/jobs?limit=3&before={first['next']}").json()
    assert [job["id"] for job in second["items"]] == ids[1::-1] and second["next"] is None
    assert [job["id"] for job in client.get("/jobs?state=succeeded").json()["items"]] == [ids[0]]
    assert client.get("/jobs?kind=stt").json()["items"] == []


def test_waiting_ends_with_the_job(client: httpx.Client, ledger: Ledger) -> None:
    job_id = ping(client)["id"]
    timer = threading.Timer(0.3, finish, (ledger, job_id, {"pong": True}))
    timer.start()
    job = client.get(f"/jobs/{job_id}?wait=20").json()
    timer.join()
    assert job["state"] == "succeeded" and job["result"] == {"pong": True}
    assert client.get(f"/jobs/{job_id}?wait=20").json()["state"] == "succeeded"


def test_waiting_ends_after_the_time_that_was_asked_for(client: httpx.Client) -> None:
    assert client.get(f"/jobs/{ping(client)['id']}?wait=0.2").json()["state"] == "queued"


def test_many_wait_at_once(client: httpx.Client, ledger: Ledger) -> None:
    job_id = ping(client)["id"]
    states: list[str] = []
    waiters = [
        threading.Thread(target=lambda: states.append(client.get(f"/jobs/{job_id}?wait=20").json()["state"]))
        for _ in range(20)
    ]
    for waiter in waiters:
        waiter.start()
    finish(ledger, job_id, {"pong": True})
    for waiter in waiters:
        waiter.join()
    assert states == ["succeeded"] * 20


# --- results ----------------------------------------------------------------------------------------------------------


def test_a_result_comes_in_every_format_under_a_safe_name(client: httpx.Client, ledger: Ledger) -> None:
    job = stt(client, "feo \u201cmaraina\u201d é.wav")
    finish(ledger, job["id"], transcript("manao", "ahoana"))
    for format, extension in (("srt", "srt"), ("vtt", "vtt"), ("txt", "txt"), ("tsv", "tsv"), ("json", "json")):
        answer = client.get(f"/jobs/{job['id']}/result?format={format}")
        assert answer.status_code == 200 and "manao" in answer.text
        disposition = answer.headers["content-disposition"]
        assert disposition.isascii() and f".{extension}" in disposition
        assert "filename*=UTF-8''feo%20%E2%80%9Cmaraina%E2%80%9D%20%C3%A9." in disposition
    assert client.get(f"/jobs/{job['id']}/result").json()["language"] == "mg"
    assert problem(client.get(f"/jobs/{job['id']}/result?format=doc"), 422, "unknown_format")


@pytest.mark.parametrize("name", ["../../etc/passwd", 'a"; filename="b', "CON", "...", "   ", "a\\b\\c"])
def test_no_name_does_harm_in_a_header(client: httpx.Client, ledger: Ledger, name: str) -> None:
    job = stt(client, name)
    finish(ledger, job["id"], transcript("eny"))
    disposition = client.get(f"/jobs/{job['id']}/result?format=txt").headers["content-disposition"]
    assert ".." not in disposition and "/" not in disposition and "\\" not in disposition
    assert disposition.count('"') == 2 and disposition.count("filename=") == 1


def test_a_large_result_is_read_from_its_file(client: httpx.Client, ledger: Ledger, settings: Settings) -> None:
    job = stt(client)
    claim = ledger.claim(job["id"], "test-worker")
    assert claim
    import json

    files = Files(settings)
    name = files.write_result(job["id"], claim.fence, json.dumps(transcript("lava " * 2000)).encode())
    ledger.finish(claim, None, result_file=name)
    assert client.get(f"/jobs/{job['id']}").json()["result"] is None
    assert client.get(f"/jobs/{job['id']}/result?format=txt").text.count("lava") == 2000
    files.drop_results(job["id"])
    problem(client.get(f"/jobs/{job['id']}/result?format=txt"), 404, "result_gone")


def test_there_is_no_result_before_the_end(client: httpx.Client) -> None:
    answer = client.get(f"/jobs/{ping(client)['id']}/result")
    problem(answer, 409, "not_finished")
    assert int(answer.headers["retry-after"]) >= 1


def test_the_result_of_a_failed_job_is_its_problem(client: httpx.Client, ledger: Ledger) -> None:
    for error, status in ((BadMedia("it is text", code="not_audio"), 415), (EngineError("the model broke"), 500)):
        job_id = ping(client)["id"]
        claim = ledger.claim(job_id, "test-worker")
        assert claim
        ledger.fail(claim, error)
        assert problem(client.get(f"/jobs/{job_id}/result"), status, error.code)["detail"] == error.detail
        assert client.get(f"/jobs/{job_id}").json()["error"]["code"] == error.code


def test_a_ping_has_no_subtitles(client: httpx.Client, ledger: Ledger) -> None:
    job_id = ping(client)["id"]
    finish(ledger, job_id, {"pong": True})
    assert client.get(f"/jobs/{job_id}/result").json() == {"pong": True}
    problem(client.get(f"/jobs/{job_id}/result?format=srt"), 422, "unknown_format")


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_cancelling_ends_a_queued_job_and_asks_a_running_one(client: httpx.Client, ledger: Ledger) -> None:
    queued, running = ping(client)["id"], ping(client)["id"]
    answer = client.delete(f"/jobs/{queued}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    problem(client.get(f"/jobs/{queued}/result"), 409, "cancelled")
    claim = ledger.claim(running, "test-worker")
    assert claim
    answer = client.delete(f"/jobs/{running}")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert ledger.renew([claim]).cancelled == [running]
    ledger.cancelled(claim)
    assert client.delete(f"/jobs/{running}").json()["state"] == "cancelled"


def test_a_cancelled_job_can_be_tried_again_and_a_queued_one_not(client: httpx.Client, settings: Settings) -> None:
    job_id = ping(client)["id"]
    problem(client.post(f"/jobs/{job_id}/retry"), 409)
    client.delete(f"/jobs/{job_id}")
    answer = client.post(f"/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert redis_client(settings.redis_url).llen("gpu.interactive") == 2


def test_the_delivery_log_shows_every_try_and_a_webhook_is_replayed(client: httpx.Client, ledger: Ledger) -> None:
    job_id = ping(client, callback_url=CALLBACK)["id"]
    finish(ledger, job_id, {"pong": True})
    (webhook,) = client.get(f"/jobs/{job_id}/webhooks").json()["items"]
    assert (webhook["state"], webhook["url"], webhook["tries"]) == ("pending", CALLBACK, [])
    problem(client.post(f"/webhooks/{webhook['id']}/replay"), 409)
    now = time.time()
    outbox.record(ledger.engine, webhook["id"], now=now, duration_ms=12.5, status=500, error="broken", retry_at=None)
    (webhook,) = client.get(f"/jobs/{job_id}/webhooks").json()["items"]
    assert webhook["state"] == "failed" and webhook["tries"][0]["status"] == 500
    assert client.post(f"/webhooks/{webhook['id']}/replay").json()["state"] == "pending"
    problem(client.post("/webhooks/msg_1/replay"), 404, "unknown_webhook")
    problem(client.post("/webhooks/msg_" + "0" * 24 + "/replay"), 404, "unknown_webhook")


def test_a_stt_job_of_the_generic_route_is_checked_alike(client: httpx.Client, archive: Path) -> None:
    (archive / "a.wav").write_bytes(b"RIFF")
    payload = {"source": {"path": str(archive / "a.wav"), "name": "a.wav"}}
    answer = client.post("/jobs", json={"kind": "stt", "payload": payload})
    assert answer.status_code == 202
    again = client.post("/jobs", json={"kind": "stt", "payload": answer.json()["payload"]})
    assert again.status_code == 202 and again.json()["payload"] == answer.json()["payload"]
    for source, code in (
        ({"path": "/etc/passwd"}, "path_not_allowed"),
        ({"blob": "0" * 64}, "unknown_blob"),
        ({"path": str(archive / "a.wav"), "name": "a\0"}, "bad_name"),
        ({"path": "a\0b"}, "bad_name"),
    ):
        answer = client.post("/jobs", json={"kind": "stt", "payload": {"source": source}})
        assert answer.status_code in (403, 422) and answer.json()["code"] == code


def test_a_wakeup_that_was_lost_is_noticed_all_the_same(
    client: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.answers.events.SAFETY_LOOK_S", 0.2)
    silent = Ledger.open(settings)
    job_id = ping(client)["id"]
    timer = threading.Timer(0.3, finish, (silent, job_id, {"pong": True}))
    timer.start()
    assert client.get(f"/jobs/{job_id}?wait=20").json()["state"] == "succeeded"
    timer.join()
    silent.engine.dispose()


def test_the_api_reads_nothing_older_than_the_row(client: httpx.Client, ledger: Ledger) -> None:
    job_id = ping(client)["id"]
    client.get(f"/jobs/{job_id}")
    finish(ledger, job_id, {"pong": True})
    wait_until(lambda: client.get(f"/jobs/{job_id}").json()["state"] == "succeeded", "the change is not seen", 5)
