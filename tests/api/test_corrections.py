"""Consent over HTTP: asked, given once, taken back, by nobody else; and the job that collects."""

from __future__ import annotations

import httpx

from milo.ledger import Ledger
from tests.api.conftest import People, problem
from tests.api.test_transcripts import made


def test_consent_is_given_and_taken_back_and_outlives_nothing_it_should_not(
    people: People, ledger: Ledger, client: httpx.Client
) -> None:
    with people.client("ana") as ana, people.client("bob") as bob:
        job_id = made(ana, ledger)
        where = f"/transcripts/{job_id}/consent"
        assert ana.get(where).json()["training"] is False and ana.get(where).json()["given_by"] is None
        problem(ana.delete(where), 404, "no_consent")
        given = ana.put(where).json()
        assert given["training"] and given["given_by"] == "ana" and ana.put(where).json() == given
        for answer in (bob.get(where), bob.put(where), bob.delete(where)):
            problem(answer, 404)
        taken = ana.delete(where).json()
        assert not taken["training"] and taken["revoked_by"] == "ana" and taken["removed_segments"] == 0
        problem(ana.delete("/transcripts/..%2Fx/consent"), 404)


def test_a_key_collects_its_own_and_the_operator_everybodys(people: People, client: httpx.Client) -> None:
    with people.client("ana") as ana:
        job = ana.post("/corrections", json={})
        assert job.status_code == 202 and job.json()["payload"] == {"owner": "ana", "segments": "edited"}
        problem(ana.post("/corrections", json={"owner": "bob"}), 422)
        problem(ana.post("/jobs", json={"kind": "corrections", "payload": {"owner": None}}), 422, "unknown_kind")
    assert client.post("/corrections", json={"segments": "all"}).json()["payload"]["owner"] is None
