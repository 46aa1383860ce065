"""A real API server with a ledger, a Redis and a small model of its own for each test; jobs are ended by hand."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from milo.jobs import Job
from milo.ledger import Ledger
from milo.ledger.keys import Keys, NewKey
from milo.models import registry
from milo.queue import events
from milo.settings import Settings
from milo.transcription.transcript import Segment, Transcript
from tests.api.house import House, open_house
from tests.support.servers import api_in_thread

KEY = "the-operators-key-of-the-tests"
MODEL = "speech-test"


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the API reads of a speech model: its JSON files. The weights are a single number."""
    folder = tmp_path_factory.mktemp("whisper")
    (folder / "config.json").write_text(json.dumps({"model_type": "whisper", "vocab_size": 1000}))
    languages = {"<|mg|>": 1, "<|fr|>": 2, "<|en|>": 3}
    generation = {"lang_to_id": languages, "task_to_id": {"transcribe": 4, "translate": 5}, "is_multilingual": True}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "tokenizer.json").write_text("{}")
    save_file({"proj": np.zeros(1, np.float32)}, folder / "model.safetensors")
    return folder


def prepare(settings: Settings, migrated: Path, whisper_folder: Path, archive: Path) -> Settings:
    """A home with an empty ledger and a model, and the settings that fit."""
    settings.home.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated, settings.home / "ledger.sqlite3")
    archive.mkdir()
    given = {"api_key": KEY, "stt_model": MODEL, "audio_roots": [str(archive)], "webhook_allow": ["127.0.0.1"]}
    given["metrics_allow"] = []
    settings = settings.model_copy(update=given)
    registry.deploy(settings, MODEL, whisper_folder)
    return settings


@pytest.fixture
def settings(settings: Settings, migrated: Path, whisper_folder: Path, tmp_path: Path) -> Settings:
    return prepare(settings, migrated, whisper_folder, tmp_path / "archive")


@pytest.fixture(scope="session")
def shared_url(
    redis_url: str, migrated: Path, whisper_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One server for all tests whose requests are refused and leave nothing."""
    folder = tmp_path_factory.mktemp("shared")
    bare = Settings(home=folder / "home", redis_url=redis_url, _env_file=None)
    with api_in_thread(prepare(bare, migrated, whisper_folder, folder / "archive")) as base:
        yield base


@pytest.fixture
def archive(settings: Settings) -> Path:
    """The folder that requests may name files of."""
    return Path(settings.audio_roots[0])


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    """What a worker has: the same rows, and a way to tell the API that they changed."""
    opened = Ledger.open(settings, events.publisher(settings))
    yield opened
    opened.engine.dispose()


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with api_in_thread(settings) as base:
        yield base


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """The operator."""
    with _client(url, KEY) as opened:
        yield opened


def _client(url: str, secret: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=30, trust_env=False)


class People:
    """Makes keys, and clients that carry them."""

    def __init__(self, url: str, keys: Keys) -> None:
        self.url = url
        self.keys = keys

    def key(self, name: str, *scopes: str) -> NewKey:
        return self.keys.create(name, scopes or ("read", "write"))

    def client(self, name: str, *scopes: str) -> httpx.Client:
        return _client(self.url, self.key(name, *scopes).secret)

    def with_secret(self, secret: str) -> httpx.Client:
        return _client(self.url, secret)


@pytest.fixture
def people(url: str, settings: Settings, ledger: Ledger) -> People:
    return People(url, Keys(ledger.engine, settings))


def transcript(*texts: str) -> dict[str, Any]:
    """The stored result of a transcription, a second a segment."""
    segments = [
        Segment(
            id=number,
            start=float(number),
            end=number + 0.9,
            text=text,
            confidence=0.9,
            avg_logprob=-0.1,
            no_speech_prob=0.01,
            compression_ratio=1.1,
        )
        for number, text in enumerate(texts)
    ]
    said = Transcript(
        text=" ".join(texts),
        language="mg",
        language_probability=0.99,
        duration=float(len(texts)),
        speech_s=float(len(texts)),
        confidence=0.9,
        segments=segments,
        model=f"{MODEL}@1",
        engine="test",
    )
    return said.model_dump()


def finish(ledger: Ledger, job_id: str, result: dict[str, Any]) -> Job:
    """Do a worker's part: claim, and end well."""
    claim = ledger.claim(job_id, "test-worker")
    assert claim is not None
    return ledger.finish(claim, result, compute_s=0.5)


def problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document of an answer that must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status and document["detail"] and document["title"] and document["type"]
    if code:
        assert document["code"] == code, document
    assert "Traceback" not in answer.text
    return document


def raw(url: str, sent: bytes) -> bytes:
    """Write these bytes to the server, and read what comes back first."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        answer = connection.recv(65536)
        while (length := _missing(answer)) > 0 and (more := connection.recv(length)):
            answer += more
        return answer


def _missing(answer: bytes) -> int:
    """Bytes of the body that its head announces and that are still to come."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0]) - len(body) if lengths else 0


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Everything, with the embedded engines, shared by the tests that need real answers."""
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened
