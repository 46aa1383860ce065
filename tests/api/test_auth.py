"""Who may come in, what they may do, and whose jobs they see."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.http.auth import InsecureSettings, is_loopback, refuse_insecure
from milo.errors import Invalid
from milo.ledger import Ledger
from milo.settings import DEVELOPMENT_KEY, Settings
from tests.api.conftest import KEY, People, finish, problem, raw
from tests.support.servers import ROOT, api_in_thread, environment


def test_without_a_key_nothing_but_health_and_the_documentation_is_open(url: str) -> None:
    for path in ("/api/v1/jobs", "/api/v1/models", "/metrics", "/api/v1/metrics", "/api/v1/nothing"):
        answer = httpx.get(url + path, trust_env=False)
        problem(answer, 401, "no_key")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    models = httpx.get(f"{url}/v1/models", trust_env=False)
    assert models.status_code == 401 and set(models.json()) == {"error"}, "OpenAI's shape on OpenAI's paths"
    assert httpx.get(f"{url}/api/v1/health", trust_env=False).status_code == 200
    assert httpx.get(f"{url}/docs", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrong",
        "Bearer",
        "Bearer a b",
        "Basic dXNlcjpwYXNz",
        "bearer",
        KEY,
        "Bearer " + "x" * 5000,
        "Bearer \xff\xfe",
    ],
)
def test_a_wrong_key_is_a_401_that_tells_nothing(url: str, header: str) -> None:
    answer = httpx.get(f"{url}/api/v1/jobs", headers={"Authorization": header.encode("latin-1")}, trust_env=False)
    problem(answer, 401)
    assert KEY not in answer.text


def test_a_wrong_key_is_told_before_the_body_is_sent(url: str) -> None:
    head = "POST /api/v1/stt HTTP/1.1\r\nHost: localhost\r\n"
    head += "Authorization: Bearer wrong\r\nContent-Length: 40000000\r\n\r\n"
    assert b" 401 " in raw(url, head.encode()).split(b"\r\n")[0]


def test_scopes_are_enforced(people: People) -> None:
    with people.client("looker", "read") as looker, people.client("writer", "write") as writer:
        assert looker.get("/jobs").status_code == 200
        missing = problem(looker.post("/jobs", json={"kind": "ping"}), 403, "missing_scope")
        assert "'write'" in missing["detail"]
        assert writer.post("/jobs", json={"kind": "ping"}).status_code == 202
        problem(writer.get("/jobs"), 403, "missing_scope")
        problem(looker.get("/keys"), 403, "missing_scope")


def test_a_key_sees_its_own_jobs_and_an_administrator_all(people: People, client: httpx.Client, ledger: Ledger) -> None:
    with people.client("alice") as alice, people.client("bob") as bob, people.client("boss", "admin") as boss:
        job_id = alice.post("/jobs", json={"kind": "ping"}).json()["id"]
        finish(ledger, job_id, {"pong": True})
        for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/result", f"/jobs/{job_id}/events", f"/jobs/{job_id}/webhooks"):
            problem(bob.get(path), 404, "unknown_job")
            assert boss.get(path).status_code == 200 and client.get(path).status_code == 200
        problem(bob.delete(f"/jobs/{job_id}"), 404, "unknown_job")
        problem(bob.post(f"/jobs/{job_id}/retry"), 404, "unknown_job")
        assert bob.get("/jobs").json()["items"] == []
        assert [job["id"] for job in boss.get("/jobs").json()["items"]] == [job_id]
        assert alice.get(f"/jobs/{job_id}").json()["owner"] == "alice"


def test_a_batch_of_another_key_is_unknown(people: People, archive: Path) -> None:
    (archive / "a.wav").write_bytes(b"RIFF")
    with people.client("alice") as alice, people.client("bob") as bob:
        batch_id = alice.post("/batches", json={"paths": [str(archive)]}).json()["id"]
        for path in ("", "/jobs", "/results", "/events", "/webhooks"):
            problem(bob.get(f"/batches/{batch_id}{path}"), 404, "unknown_batch")
        problem(bob.delete(f"/batches/{batch_id}"), 404, "unknown_batch")
        assert alice.get(f"/batches/{batch_id}").json()["total"] == 1


def test_the_same_idempotency_key_of_two_owners_is_two_jobs(people: People) -> None:
    with people.client("alice") as alice, people.client("bob") as bob:
        answers = [
            one.post("/jobs", json={"kind": "ping"}, headers={"Idempotency-Key": "same"}).json()["id"]
            for one in (alice, bob)
        ]
    assert answers[0] != answers[1]


def test_keys_are_made_listed_and_revoked_over_http(people: People, client: httpx.Client) -> None:
    made = client.post("/keys", json={"name": "bot", "scopes": ["read"]})
    assert made.status_code == 201 and made.headers["cache-control"] == "no-store"
    with people.with_secret(made.json()["secret"]) as bot:
        me = bot.get("/keys/current").json()
        assert me["name"] == "bot" and me["webhook_secrets"] == [made.json()["webhook_secret"]]
        assert "secret" not in client.get("/keys").json()["items"][0]
        assert client.delete("/keys/bot").status_code == 200
        problem(bot.get("/keys/current"), 401, "wrong_key")
    problem(client.delete("/keys/bot"), 404, "unknown_key")
    problem(client.post("/keys", json={"name": "two words"}), 422)
    problem(client.post("/keys", json={"name": "bot", "scopes": ["root"]}), 422)


def test_keys_are_never_logged(people: People, client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = people.key("bot").secret
    with people.with_secret(secret) as bot:
        bot.get("/jobs")
        bot.get("/nothing")
    client.get("/jobs")
    written = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpcore"))
    assert secret not in written and KEY not in written


def test_the_known_key_works_for_the_developer_alone(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"api_key": DEVELOPMENT_KEY})) as base:
        headers = {"Authorization": f"Bearer {DEVELOPMENT_KEY}"}
        assert httpx.get(f"{base}/api/v1/jobs", headers=headers, trust_env=False).status_code == 200
        # uvicorn believes a proxy on this machine about where a request comes from
        from_elsewhere = headers | {"X-Forwarded-For": "203.0.113.7"}
        problem(httpx.get(f"{base}/api/v1/jobs", headers=from_elsewhere, trust_env=False), 403)


@pytest.mark.parametrize(
    "changed", [{"env": "production"}, {"host": "0.0.0.0"}, {"host": "::"}, {"host": "milo.example.org"}]
)
def test_the_known_key_is_refused_where_others_could_use_it(settings: Settings, changed: dict[str, str]) -> None:
    unsafe = settings.model_copy(update={"api_key": DEVELOPMENT_KEY, **changed})
    with pytest.raises(InsecureSettings, match="MILO_API_KEY"):
        create_app(unsafe)
    refuse_insecure(unsafe.model_copy(update={"api_key": KEY}))


def test_a_blank_key_and_a_senseless_rate_are_refused(settings: Settings) -> None:
    with pytest.raises(InsecureSettings, match="blank"):
        create_app(settings.model_copy(update={"api_key": " "}))
    with pytest.raises(Invalid, match="600/minute"):
        create_app(settings.model_copy(update={"rate_limit": "often"}))


def test_an_unsafe_server_says_why_in_one_sentence_and_ends(settings: Settings) -> None:
    unsafe = settings.model_copy(update={"api_key": DEVELOPMENT_KEY, "env": "production"})
    command = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", "0"]
    ended = subprocess.run(command, cwd=ROOT, env=environment(unsafe), capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "MILO_API_KEY is the one that everybody knows" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("::ffff:127.0.0.1", True)]
    + [("localhost", True), (None, True), ("10.0.0.1", False), ("0.0.0.0", False), ("evil.example", False)],
)
def test_what_counts_as_this_machine(host: str | None, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize("expires_at", [253_402_300_800, 1_790_000_000_000, 1e300, -1, -1e300])
def test_an_expiry_that_no_date_can_be_is_refused_and_leaves_no_key(client: httpx.Client, expires_at: float) -> None:
    problem(client.post("/keys", json={"name": "late", "expires_at": expires_at}), 422)
    assert client.get("/keys").json()["items"] == []
    assert client.post("/keys", json={"name": "last", "expires_at": 253_402_300_799}).status_code == 201
    assert client.get("/keys").json()["items"][0]["expires_at"].startswith("9999-12-31")
