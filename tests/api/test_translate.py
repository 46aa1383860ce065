"""POST /translate: what is refused, one text and several, and batches."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from milo.ledger import Ledger
from milo.models import registry
from milo.settings import Settings
from tests.api.by_hand import Hand, worker
from tests.api.conftest import KEY, problem
from tests.support.servers import api_in_thread

MODEL = "words-test"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With what the API reads of a translation model: its JSON files. The weights are a single number."""
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "m2m_100", "vocab_size": 10}))
    languages = ["plt_Latn", "fra_Latn"]
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": languages}))
    save_file({"proj": np.zeros(1, np.float32)}, folder / "model.safetensors")
    settings = settings.model_copy(update={"translate_model": MODEL})
    registry.deploy(settings, MODEL, folder)
    return settings


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    with api_in_thread(settings) as base:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=f"{base}/api/v1", headers=headers, timeout=30, trust_env=False) as opened:
            yield opened


def turn_round(hand: Hand) -> dict[str, Any]:
    payload = hand.job.payload
    found = [{"text": text[::-1], "cached": "k" in text} for text in payload["texts"]]
    return {"translations": found, "source": payload["source"], "target": payload["target"]}


PAIR = {"source": "mg", "target": "fr"}
REFUSED = [
    ({"text": "", **PAIR}, "empty_text", "#/text", ""),
    ({"text": "\n \u200b", **PAIR}, "empty_text", "#/text", ""),
    ({"texts": ["salama", " "], **PAIR}, "empty_text", "#/texts/1", ""),
    ({"texts": [], **PAIR}, "empty_text", "#/texts", ""),
    ({"texts": ["a"] * 101, **PAIR}, "invalid", "#/texts", "100"),
    ({"text": "a" * 5001, **PAIR}, "text_too_long", "#/text", "5000"),
    ({"text": "salama", "source": "mg", "target": "mg"}, "same_language", "#/target", ""),
    ({"text": "salama", "source": "mg", "target": "plt_Latn"}, "same_language", "#/target", ""),
    ({"text": "salama", "source": "mg", "target": "de"}, "unknown_language", "#/target", "fr, mg"),
    ({"text": "salama", "source": "xx", "target": "fr"}, "unknown_language", "#/source", "fr, mg"),
    ({"text": "salama", "source": "", "target": "fr"}, "invalid", "#/source", ""),
    ({"text": "salama", "model": "speech-test", **PAIR}, "unknown_model", "#/model", "whisper"),
    ({"text": "salama", "texts": ["salama"], **PAIR}, "invalid", "#/", "exactly one"),
    (PAIR, "invalid", "#/", "exactly one"),
]


def test_what_cannot_be_translated_is_refused_when_it_is_sent(client: httpx.Client, ledger: Ledger) -> None:
    for body, code, pointer, says in REFUSED:
        document = problem(client.post("/translate", json=body), 422, code)
        assert document["errors"][0]["pointer"] == pointer and says in document["detail"], document
        problem(client.post("/jobs", json={"kind": "translate", "payload": body}), 422, code)
    assert ledger.jobs() == []


def test_one_text_is_answered_with_its_translation(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    with worker(settings, ledger, turn_round):
        answer = client.post("/translate", json={"text": "salama", "source": "MG-mg", "target": "fra_Latn"})
    document = answer.json()
    assert answer.status_code == 200 and document["translation"] == "amalas"
    assert (document["source"], document["target"], document["cached"]) == ("mg", "fr", False)
    assert document["processing_ms"] > 0 and "translations" not in document
    job = client.get(f"/jobs/{document['job_id']}").json()
    assert job["payload"]["texts"] == ["salama"] and job["priority"] == "realtime"
    result = client.get(f"/jobs/{job['id']}/result?format=txt")
    assert result.text == "amalas\n" and result.headers["content-type"].startswith("text/plain")
    assert client.get(f"/jobs/{job['id']}/result").json() == job["result"]


def test_several_texts_keep_their_order(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    with worker(settings, ledger, turn_round, turn_round):
        document = client.post("/translate", json={"texts": ["iray", "roa", "iray"], **PAIR}).json()
        assert document["translations"] == ["yari", "aor", "yari"] and "translation" not in document
        assert client.post("/translate", json={"texts": ["vaky", "kely"], **PAIR}).json()["cached"] is True


def test_whoever_does_not_wait_gets_a_job(client: httpx.Client) -> None:
    answer = client.post("/translate", json={"text": "salama", **PAIR}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202 and answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"


def test_a_batch_of_texts_comes_back_as_a_zip_of_translations(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    request = {"kind": "translate", "items": [{"text": "iray", "name": "one"}, "roa"], "options": PAIR}
    with worker(settings, ledger, turn_round, turn_round):
        batch = client.post("/batches", json=request).json()
    results = f"/batches/{batch['id']}/results"
    with zipfile.ZipFile(io.BytesIO(client.get(results).content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "one.txt": b"yari\n",
            "00002.txt": b"aor\n",
        }
    lines = [json.loads(line) for line in client.get(f"{results}?format=jsonl").text.splitlines()]
    assert [line["result"]["translations"][0]["text"] for line in lines] == ["yari", "aor"]
    document = problem(client.post("/batches", json=request | {"options": {"source": "mg"}}), 422)
    assert document["errors"][0]["pointer"] == "#/options/target"
    problem(client.post("/batches", json=request | {"options": {"source": "mg", "target": "mg"}}), 422, "same_language")


def test_texts_of_a_batch_may_share_the_engine_whatever_their_names(client: httpx.Client, ledger: Ledger) -> None:
    request = {"kind": "translate", "items": [{"text": "iray", "name": "one"}, "roa"], "options": PAIR}
    client.post("/batches", json=request)
    first, second = ledger.jobs()
    assert [claim.job.id for claim in ledger.claim_like(first, "w", 5)] in (
        [first.id, second.id],
        [second.id, first.id],
    )
