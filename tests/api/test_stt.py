"""POST /stt: audio in by four ways, the transcript now or later."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from milo.errors import BadMedia
from milo.ledger import Ledger
from milo.models import registry
from milo.settings import Settings
from milo.storage.files import Files
from tests.api.conftest import KEY, MODEL, finish, problem, transcript
from tests.support.ct2_factory import model_bin, whisper_variables, write_ct2
from tests.support.servers import api_in_thread, wait_until

AUDIO = b"RIFF" + bytes(range(256)) * 40
B64 = base64.b64encode(AUDIO).decode()
LATER = {"Prefer": "respond-async"}


def queued(ledger: Ledger) -> list[Any]:
    return ledger.jobs(state="queued")


@contextmanager
def worker(ledger: Ledger, result: dict[str, Any] | BadMedia) -> Iterator[None]:
    """Ends the first job that is queued, as a worker would."""

    def work() -> None:
        wait_until(lambda: bool(queued(ledger)), "no job came")
        job_id = queued(ledger)[0].id
        if isinstance(result, dict):
            finish(ledger, job_id, result)
            return
        claim = ledger.claim(job_id, "test-worker")
        assert claim
        ledger.fail(claim, result)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


def test_a_blocking_request_answers_with_the_transcript(client: httpx.Client, ledger: Ledger) -> None:
    with worker(ledger, transcript("manao ahoana", "tompoko")):
        answer = client.post("/stt", json={"audio": B64})
    assert answer.status_code == 200
    document = answer.json()
    assert document["text"] == "manao ahoana tompoko" and len(document["segments"]) == 2
    assert document["processing_ms"] > 0 and document["model"] and document["duration"] == 2.0
    job = client.get(f"/jobs/{document['job_id']}").json()
    assert job["priority"] == "realtime" and job["state"] == "succeeded"
    assert answer.headers["content-location"] == job["result_url"]


@pytest.mark.parametrize(
    ("format", "kind", "text"),
    [
        ("srt", "application/x-subrip", "1\n00:00:00,000 --> 00:00:00,900\nmanao\n"),
        ("vtt", "text/vtt", "WEBVTT"),
        ("txt", "text/plain", "manao\n"),
        ("tsv", "text/tab-separated-values", "start\tend\ttext"),
        ("verbose_json", "application/json", '"task"'),
        ("json", "application/json", '"job_id"'),
    ],
)
def test_a_blocking_request_renders_any_format(
    client: httpx.Client, ledger: Ledger, format: str, kind: str, text: str
) -> None:
    with worker(ledger, transcript("manao")):
        answer = client.post(f"/stt?format={format}", json={"audio": B64})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind) and text in answer.text


def test_an_unknown_format_is_refused_before_anything_is_done(client: httpx.Client, ledger: Ledger) -> None:
    assert "srt" in problem(client.post("/stt?format=doc", json={"audio": B64}), 422, "unknown_format")["detail"]
    assert queued(ledger) == []


def test_a_job_that_fails_answers_with_its_own_problem(client: httpx.Client, ledger: Ledger) -> None:
    with worker(ledger, BadMedia("the file is text", code="not_audio")):
        answer = client.post("/stt", json={"audio": B64})
    document = problem(answer, 415, "not_audio")
    assert document["instance"] == f"/api/v1/jobs/{answer.headers['x-job-id']}"


def test_what_takes_too_long_becomes_a_202_and_goes_on(client: httpx.Client, ledger: Ledger) -> None:
    answer = client.post("/stt", json={"audio": B64}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202 and answer.headers["preference-applied"] == "wait=1"
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"
    finish(ledger, answer.json()["id"], transcript("eny"))
    assert client.get(f"{answer.json()['url'][7:]}/result?format=txt").text == "eny\n"


@pytest.mark.parametrize("prefer", ["respond-async", "foo, Respond-Async; x=1", "wait=0", "respond-async, wait=10"])
def test_who_prefers_not_to_wait_gets_a_202_at_once(client: httpx.Client, prefer: str) -> None:
    answer = client.post("/stt", json={"audio": B64}, headers={"Prefer": prefer})
    assert answer.status_code == 202 and answer.json()["state"] == "queued"
    assert answer.json()["priority"] == "interactive" and answer.headers["preference-applied"]


def test_a_callback_answers_202_at_once(client: httpx.Client) -> None:
    answer = client.post("/stt", json={"audio": B64, "callback_url": "http://127.0.0.1:9/hook"})
    assert answer.status_code == 202 and answer.json()["callback_url"] == "http://127.0.0.1:9/hook"
    assert "preference-applied" not in answer.headers


def test_senseless_preferences_are_ignored(client: httpx.Client, ledger: Ledger) -> None:
    with worker(ledger, transcript("eny")):
        answer = client.post("/stt", json={"audio": B64}, headers={"Prefer": "wait=soon, handling=lenient,,;=,wait=-1"})
    assert answer.status_code == 200 and "preference-applied" not in answer.headers


def test_the_waiter_leaves_when_its_client_does_and_the_job_stays(settings: Settings, ledger: Ledger) -> None:
    with api_in_thread(settings) as base:
        headers = {"Authorization": f"Bearer {KEY}"}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{base}/api/v1/stt", json={"audio": B64}, headers=headers, timeout=1.5, trust_env=False)
        assert [job.state for job in ledger.jobs()] == ["queued"]
        exposed = f"{base}/api/v1/metrics"
        needle = 'milo_http_requests_total{method="POST",route="/api/v1/stt",status="499"}'
        wait_until(lambda: needle in httpx.get(exposed, headers=headers, trust_env=False).text, "the waiter stayed", 10)


# --- ways in ----------------------------------------------------------------------------------------------------------


def payload_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    payload: dict[str, Any] = answer.json()["payload"]
    return payload


def test_base64_a_form_a_blob_and_raw_bytes_are_the_same_audio(client: httpx.Client, settings: Settings) -> None:
    digest = hashlib.sha256(AUDIO).hexdigest()
    sent = [
        client.post("/stt", json={"audio": B64}, headers=LATER),
        client.post("/stt", json={"audio": f"data:audio/wav;base64,{B64}"}, headers=LATER),
        client.post("/stt", json={"audio": base64.encodebytes(AUDIO).decode()}, headers=LATER),
        client.post("/stt", files={"file": ("a.wav", AUDIO, "audio/wav")}, headers=LATER),
    ]
    assert client.post("/blobs", content=AUDIO).json() == {"id": digest, "size_bytes": len(AUDIO)}
    sent.append(client.post("/stt", json={"blob": digest, "name": "a.wav"}, headers=LATER))
    assert [payload_of(answer)["source"]["blob"] for answer in sent] == [digest] * 5
    assert payload_of(sent[3])["source"]["name"] == "a.wav"
    with Files(settings).open_audio(_source(digest)) as file:
        assert file.read() == AUDIO
    assert client.get(f"/blobs/{digest}").json() == {"id": digest, "size_bytes": len(AUDIO)}


def test_channels_are_a_field_everywhere(client: httpx.Client) -> None:
    raw = client.post("/stt?channels=separate", content=AUDIO, headers={**LATER, "Content-Type": "audio/wav"})
    form = client.post("/stt", files={"file": ("a.wav", AUDIO)}, data={"channels": "separate"}, headers=LATER)
    assert [payload_of(answer)["channels"] for answer in (raw, form)] == ["separate"] * 2
    items = [{"blob": hashlib.sha256(AUDIO).hexdigest()}]
    batch = client.post("/batches", json={"kind": "stt", "items": items, "options": {"channels": "separate"}})
    assert batch.status_code == 202, batch.text
    wrong = client.post("/stt", json={"audio": B64, "channels": "left"}, headers=LATER)
    assert wrong.status_code == 422 and "channels" in wrong.text and "separate" in wrong.text


def _source(digest: str) -> Any:
    from milo.jobs import AudioSource

    return AudioSource(blob=digest)


def test_form_fields_mean_what_json_fields_mean(client: httpx.Client) -> None:
    fields = {"language": "MG", "beam_size": "3", "word_timestamps": "false", "temperature": "0.2", "prompt": ""}
    form = payload_of(client.post("/stt", data=fields, files={"file": ("a.ogg", AUDIO)}, headers=LATER))
    given = {"language": "mg", "beam_size": 3, "word_timestamps": False, "temperature": 0.2}
    json_ = payload_of(client.post("/stt", json={"audio": B64, "name": "a.ogg", **given}, headers=LATER))
    assert form == json_ and form["model"] == MODEL and form["language"] == "mg"


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        ("not base64!", "multiple of 4"),
        ("####", "Only base64"),
        ("UklGR", "multiple of 4"),
        ("Ukl=RkZG", ""),
        ("UklG\u00e9===", "ASCII"),
        ("data:audio/wav,RIFF", "data: URI"),
        ("data:audio/wav;base64", "data: URI"),
        ("=" * 8, ""),
        ("UklGRg=" + "A" * (4 * 300_000 + 1), ""),
    ],
)
def test_invalid_base64_is_a_422_that_says_what_is_wrong(client: httpx.Client, audio: str, reason: str) -> None:
    document = problem(client.post("/stt", json={"audio": audio}), 422, "bad_base64")
    assert reason in document["detail"] and document["errors"][0]["pointer"] == "#/audio"


@pytest.mark.parametrize("audio", ["", "data:audio/wav;base64,"])
def test_no_audio_at_all_is_refused(client: httpx.Client, audio: str) -> None:
    problem(client.post("/stt", json={"audio": audio}), 415, "empty_audio")


def test_an_empty_file_is_refused(client: httpx.Client) -> None:
    problem(client.post("/stt", files={"file": ("a.wav", b"")}), 415, "empty_audio")


@pytest.mark.parametrize("how", ["form", "base64", "path"])
def test_redis_is_asked_once_a_request_whether_it_is_there(
    how: str, client: httpx.Client, archive: Path, redis_client: redis.Redis
) -> None:
    (archive / "a.wav").write_bytes(AUDIO)
    bodies: dict[str, dict[str, Any]] = {
        "form": {"files": {"file": ("a.wav", AUDIO)}},
        "base64": {"json": {"audio": base64.b64encode(AUDIO).decode()}},
        "path": {"json": {"path": str(archive / "a.wav")}},
    }

    def pings() -> int:
        return int(redis_client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

    counts = []
    for _ in range(3):  # a connection that is opened pings, too
        before = pings()
        assert client.post("/stt", headers=LATER, **bodies[how]).status_code == 202
        counts.append(pings() - before)
    assert min(counts) == 1


def test_a_form_without_a_file_or_with_two_says_so(client: httpx.Client) -> None:
    missing = problem(client.post("/stt", files={"fil": ("a.wav", AUDIO)}), 422)
    assert "file" in missing["detail"] or "fil" in missing["detail"]
    two = [("file", ("a.wav", AUDIO)), ("file", ("b.wav", AUDIO))]
    problem(client.post("/stt", files=two), 422, "two_files")
    errors = problem(client.post("/stt", files={"file": AUDIO}, data={"colour": "red"}), 422)["errors"]
    assert errors[0]["pointer"] == "#/colour"


@pytest.mark.parametrize("body", [{}, {"audio": B64, "blob": "0" * 64}, {"path": "/a", "blob": "0" * 64}])
def test_exactly_one_source_is_needed(client: httpx.Client, body: dict[str, str]) -> None:
    assert "exactly one" in problem(client.post("/stt", json=body), 422)["detail"]


def test_an_unknown_blob_is_a_422(client: httpx.Client) -> None:
    problem(client.post("/stt", json={"blob": "0" * 64}), 422, "unknown_blob")
    problem(client.get("/blobs/" + "0" * 64), 404, "unknown_blob")
    problem(client.get("/blobs/short"), 404, "unknown_blob")


def test_a_path_under_an_allowed_root_is_read_where_it_lies(client: httpx.Client, archive: Path) -> None:
    (archive / "a b.wav").write_bytes(AUDIO)
    payload = payload_of(client.post("/stt", json={"path": str(archive / "a b.wav")}, headers=LATER))
    assert payload["source"] == {"blob": None, "path": str(archive / "a b.wav"), "name": "a b.wav"}


def test_a_path_outside_the_allowed_roots_is_forbidden(client: httpx.Client, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(AUDIO)
    (archive / "link.wav").symlink_to(tmp_path / "secret.wav")
    outside = ["/etc/passwd", f"{archive}/../secret.wav", str(tmp_path / "secret.wav"), str(archive / "link.wav")]
    for path in [*outside, f"{archive}-other/a.wav", "secret.wav", "file:///etc/passwd", "http://169.254.169.254/"]:
        problem(client.post("/stt", json={"path": path}), 403, "path_not_allowed")


def test_a_path_that_is_no_file_is_a_422(client: httpx.Client, archive: Path) -> None:
    import os

    os.mkfifo(archive / "pipe.wav")
    for path in (archive, archive / "pipe.wav"):
        problem(client.post("/stt", json={"path": str(path)}), 422, "not_a_file")
    problem(client.post("/stt", json={"path": str(archive / "absent.wav")}), 422, "unknown_path")
    assert client.post("/stt", json={"path": str(archive / ("x" * 4000))}).status_code == 422


# --- options ----------------------------------------------------------------------------------------------------------


def test_an_unknown_model_or_language_lists_the_known_ones(client: httpx.Client) -> None:
    assert MODEL in problem(client.post("/stt", json={"audio": B64, "model": "speech-tset"}), 422)["detail"]
    detail = problem(client.post("/stt", json={"audio": B64, "language": "xx"}), 422, "unknown_language")["detail"]
    assert "en, fr, mg" in detail


@pytest.mark.parametrize(
    "name", ["/etc", "../../etc", "~root", ".", "a/b/c", "..", "C:\\models", "x" * 255, "@", "a@../b"]
)
def test_a_client_can_not_name_a_folder_of_the_server(client: httpx.Client, name: str) -> None:
    problem(client.post("/stt", json={"audio": B64, "model": name}), 422)


def test_auto_and_nothing_mean_detect(client: httpx.Client) -> None:
    for language in ("auto", "", None, " AUTO "):
        assert (
            payload_of(client.post("/stt", json={"audio": B64, "language": language}, headers=LATER))["language"]
            is None
        )


def test_a_default_model_that_is_missing_is_a_503_with_what_to_do(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"stt_model": "gone"})) as base:
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{base}/api/v1/stt", json={"audio": B64}, headers=headers, trust_env=False)
        problem(answer, 503, "model_unavailable")
        listed = httpx.get(f"{base}/api/v1/models", headers=headers, trust_env=False).json()["items"]
        assert [(one["name"], one["available"]) for one in listed if one["default"] and one["use"] == "stt"] == [
            ("gone", False)
        ]


def test_models_are_listed_with_what_they_can_do(client: httpx.Client, settings: Settings) -> None:
    found = {one["name"]: one for one in client.get("/models").json()["items"]}[MODEL]
    assert found["default"] and found["available"] and found["languages"] == ["en", "fr", "mg"]
    assert found["current"] == registry.resolve(settings, MODEL).version


# --- subtitles ---


def test_subtitles_are_cut_as_the_request_says_else_as_its_job_else_as_the_server(
    client: httpx.Client, ledger: Ledger
) -> None:
    text = "Mitady lavanila ny vahiny izay tonga omaly, hono, ka hiverina rahampitso maraina."

    def lines(job_id: str, query: str = "") -> list[str]:
        answer = client.get(f"/jobs/{job_id}/result?format=srt{query}")
        assert answer.status_code == 200, answer.text
        return [line for line in answer.text.splitlines() if line and "-->" not in line and not line.isdigit()]

    plain = client.post("/stt", json={"audio": B64, "cues": "plain"}, headers=LATER).json()["id"]
    default = client.post("/stt", json={"audio": B64}, headers=LATER).json()["id"]
    for job_id in (plain, default):
        finish(ledger, job_id, transcript(text))
    assert lines(plain) == [text]
    assert max(map(len, lines(default))) <= 42 and " ".join(lines(default)) == text
    assert max(map(len, lines(plain, "&cues=social,line_chars=20"))) <= 20


def test_cues_that_nobody_can_make_are_refused_before_the_job(client: httpx.Client, ledger: Ledger) -> None:
    refused = problem(client.post("/stt", json={"audio": B64, "cues": "tv"}, headers=LATER), 422)
    assert "broadcast, social, plain" in str(refused["errors"])
    problem(client.post("/stt?cues=lines=0&format=srt", json={"audio": B64}), 422, "bad_cues")
    assert ledger.jobs() == []


# --- once -------------------------------------------------------------------------------------------------------------


def test_a_repeat_with_the_same_idempotency_key_is_the_same_job(client: httpx.Client, ledger: Ledger) -> None:
    headers = LATER | {"Idempotency-Key": "once"}
    first = client.post("/stt", json={"audio": B64, "name": "a.wav"}, headers=headers).json()["id"]
    assert client.post("/stt", json={"name": "a.wav", "audio": B64}, headers=headers).json()["id"] == first
    as_form = client.post("/stt", files={"file": ("a.wav", AUDIO)}, headers=headers)
    assert as_form.json()["id"] == first
    finish(ledger, first, transcript("eny"))
    blocking = client.post("/stt", json={"audio": B64, "name": "a.wav"}, headers={"Idempotency-Key": "once"})
    assert blocking.status_code == 200 and blocking.json()["job_id"] == first
    problem(client.post("/stt", json={"audio": B64, "name": "b.wav"}, headers=headers), 422, "idempotency_mismatch")
    problem(client.post("/jobs", json={"kind": "ping"}, headers=headers), 422, "idempotency_mismatch")
    assert len(ledger.jobs()) == 1


def test_two_first_requests_at_once_make_one_job(client: httpx.Client, ledger: Ledger) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def send(_: int) -> str:
        headers = LATER | {"Idempotency-Key": "race"}
        job_id: str = client.post("/stt", json={"audio": B64}, headers=headers).json()["id"]
        return job_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(16)))) == 1
    assert len(ledger.jobs()) == 1


def test_an_english_only_model_of_ctranslate2_is_listed_and_takes_english_alone(
    client: httpx.Client, settings: Settings, tmp_path: Path
) -> None:
    weights = model_bin(whisper_variables(vocabulary=51_864))
    registry.deploy(settings, "tiny.en", write_ct2(tmp_path / "en", model_bin=weights, vocabulary_txt=None))
    (listed,) = [one for one in client.get("/models").json()["items"] if one["name"] == "tiny.en"]
    assert (listed["available"], listed["use"], listed["languages"]) == (True, "stt", ["en"])
    asked = {"audio": B64, "model": "tiny.en"}
    found = problem(client.post("/stt", json={**asked, "language": "fr"}), 422, "unknown_language")
    assert "tiny.en does not know the language 'fr'; it knows en" in found["detail"]
    assert client.post("/stt", json={**asked, "language": "en"}, headers=LATER).status_code == 202
