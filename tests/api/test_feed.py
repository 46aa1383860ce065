"""One stream for all jobs of a key: what changes is told, after a break too, and nothing of another key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from api.answers import feed
from milo.ledger import Ledger
from tests.api.conftest import People, finish, problem
from tests.api.test_events import events
from tests.api.test_transcripts import edit, made


@contextmanager
def watching(client: httpx.Client, last: str | None = None) -> Iterator[Iterator[tuple[str, str, Any]]]:
    headers = {"Last-Event-ID": last} if last else {}
    with client.stream("GET", "/events", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer)


def ping(client: httpx.Client) -> str:
    return str(client.post("/jobs", json={"kind": "ping"}).json()["id"])


def told_of(stream: Iterator[tuple[str, str, Any]], wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The newest document of each id, when all of `wanted` (id -> what must be true of it) have been told."""
    told: dict[str, dict[str, Any]] = {}
    for _, _, document in stream:
        told[document.get("id", "")] = document
        if all(one in told and true_of(told[one]) for one, true_of in wanted.items()):
            return told
    raise AssertionError("the stream ended")


def test_a_stream_tells_of_new_jobs_their_end_and_edits_but_of_nobody_elses(
    client: httpx.Client, ledger: Ledger, people: People
) -> None:
    with people.client("ana") as ana, watching(ana) as stream:
        assert next(stream)[0] == "hello"
        others, pinged = ping(client), ping(ana)
        job_id = made(ana, ledger)
        edit(ana, job_id, 0, "vaovao")
        batch_id = ana.get(f"/jobs/{job_id}").json()["batch_id"]
        told = told_of(
            stream,
            {
                pinged: lambda job: job["state"] == "queued",
                job_id: lambda job: job["revision"] == 1,
                batch_id: lambda batch: batch["state"] == "succeeded",
            },
        )
        assert others not in told and told[job_id]["name"] == "feo.wav"
        assert "payload" not in told[job_id] and "result" not in told[job_id]


def test_what_changed_during_a_break_is_told_again_and_what_did_not_is_not(
    client: httpx.Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SLACK_S", 0.0)
    old, ends, edited = ping(client), ping(client), made(client, ledger)
    finish(ledger, old, {"pong": True})
    with watching(client) as stream:
        _, number, _ = next(stream)
    finish(ledger, ends, {"pong": True})
    edit(client, edited, 0, "vaovao")
    with watching(client, number) as stream:
        wanted = {ends: lambda job: job["state"] == "succeeded", edited: lambda job: job["revision"] == 1}
        assert old not in told_of(stream, wanted)
    monkeypatch.setattr(feed, "MOST_JOBS", 1)
    with watching(client, number) as stream:
        assert next(stream)[0] == "reload"


def test_a_key_has_so_many_streams_and_a_revoked_one_none(
    client: httpx.Client, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_STREAMS", 1)
    key = people.key("ana")
    with people.with_secret(key.secret) as ana, watching(ana, "nonsense") as stream:
        ping(ana)
        assert next(stream)[0] == "job"
        problem(ana.get("/events"), 429, "too_many_streams")
        people.keys.revoke(key.key.id)
        monkeypatch.setattr(feed, "SAFETY_LOOK_S", 0.2)
        assert [event for event, _, _ in stream if event == "hello"] == [], "it ends by itself"
