"""A whole stack at its most talkative: Redis asks for a password, and no log, page or process list tells a secret."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from milo.errors import Invalid
from milo.settings import Settings, embedded_redis_url, get_settings
from milo.stack.ports import free_port
from milo.stack.redis_server import prepare, warnings_about
from milo.stack.services import wait_until
from milo.stack.temporary import own_stack
from milo.stack.up import note_of, refuse_open_flower
from milo.storage.secrets import exposure, kept, private_home
from tests.support.live import live_settings, processes_of
from tests.support.no_secrets import found_in
from tests.support.servers import redis_server

KEY = "the-operators-key-of-the-talkative-stack"
HF_TOKEN = "hf_" + "q" * 34
CLAUDE_KEY = "sk-ant-" + "r" * 40
FLOWER = "the-password-of-flower"


@dataclass(frozen=True)
class Talkative:
    url: str
    settings: Settings
    secrets: list[str]
    """All that were used while it ran."""
    pages: dict[str, str]
    commands: list[str]
    """What the process list showed."""
    open_status: dict[str, int]
    open_files: list[str]
    """Below its home, and not for the owner alone."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talkative]:
    """It has been used and stopped: what is left is what it wrote."""
    settings = live_settings(tmp_path_factory.mktemp("talkative"))
    more = {"log_level": "DEBUG", "api_key": KEY, "hf_token": HF_TOKEN, "anthropic_api_key": CLAUDE_KEY}
    more |= {"flower_password": FLOWER, "webhook_allow": ["127.0.0.1"], "rate_limit": "10000/minute"}
    more["anthropic_base_url"] = f"http://127.0.0.1:{free_port()}"
    settings = Settings(**settings.model_dump(exclude_unset=True) | more, _env_file=None)
    with own_stack(settings, without=["archive"]) as url:
        note = note_of(settings) or {}
        secrets = [KEY, HF_TOKEN, CLAUDE_KEY, FLOWER, *use_it(url)]
        secrets += [path.read_text().split()[-1] for path in (settings.home / "secrets").iterdir()]
        pages = flower_pages(note["flower_url"])
        kill_redis(note["redis_url"], url)
        commands = [" ".join(process.cmdline()) for process in [redis_process(note), *processes_of(settings.home)]]
        open_status = {
            "flower": httpx.get(f"{note['flower_url']}/workers", trust_env=False).status_code,
            "metrics": httpx.get(f"{url}/metrics", trust_env=False).status_code,
        }
        check_redis(note["redis_url"])
        found = [path for path in settings.home.rglob("*") if not path.is_symlink() and path.exists()]
        open_files = [str(path) for path in found if path.stat().st_mode & 0o077]
    yield Talkative(url, settings, secrets, pages, commands, open_status, open_files)


def use_it(url: str) -> list[str]:
    """Everything that carries a secret, once. Returns the secrets that were made."""
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as client:
        made = client.post("/keys", json={"name": "bot"}).json()
        callback = {"kind": "ping", "callback_url": f"http://127.0.0.1:{free_port()}/hook?token=abc"}
        job = client.post("/jobs", json=callback, headers={"Authorization": f"Bearer {made['secret']}"}).json()
        own = client.post("/jobs", json=callback).json()
        for one in (job, own):  # the first try signs: that makes the secret
            assert wait_until(lambda one=one: tries_of(client, one["id"]) > 0, 60), "no webhook was tried"
        client.get("/jobs", params={"api_key": KEY})
        client.get("/jobs", headers={"Authorization": f"Bearer {made['secret']}x"})
        client.get("/jobs", headers={"Authorization": made["secret"]})
        client.post("/chat", json={"message": "salama"}, headers={"Prefer": "respond-async"})
        client.post("/tts", content=b"{" + made["secret"].encode())
        for key, query in ((KEY, True), (made["secret"], True), (made["secret"] + "x", True), (KEY, False)):
            with suppress(InvalidStatus), talk(url, key, query) as socket:
                socket.recv()
        client.delete("/keys/bot")
    return [made["secret"], made["webhook_secret"]]


def tries_of(client: httpx.Client, job_id: str) -> int:
    return sum(item["attempts"] for item in client.get(f"/jobs/{job_id}/webhooks").json()["items"])


def talk(url: str, key: str, query: bool) -> connect:
    address = f"{url.replace('http', 'ws')}/api/v1/conversation"
    if query:
        return connect(f"{address}?api_key={key}", proxy=None)
    return connect(address, subprotocols=["milo.v1", f"milo.bearer.{key}"], proxy=None)  # type: ignore[list-item]


def flower_pages(url: str) -> dict[str, str]:
    with httpx.Client(base_url=url, auth=("milo", FLOWER), trust_env=False) as client:
        return {path: client.get(path).text for path in ("/workers", "/broker", "/tasks", "/api/workers")}


def kill_redis(redis_url: str, url: str) -> None:
    """Processes that lose their Redis write about it."""
    server = int(redis.Redis.from_url(redis_url).info("server")["process_id"])
    os.kill(server, signal.SIGKILL)
    headers = {"Authorization": f"Bearer {KEY}"}
    httpx.post(f"{url}/api/v1/jobs", json={"kind": "ping"}, headers=headers, trust_env=False)
    assert wait_until(lambda: answers(redis_url), 60)


def redis_process(note: dict[str, Any]) -> psutil.Process:
    """It writes over its environment, so it is not found by that."""
    return psutil.Process(int(redis.Redis.from_url(note["redis_url"]).info("server")["process_id"]))


def answers(redis_url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(redis_url).ping())
    except redis.RedisError:
        return False


def check_redis(redis_url: str) -> None:
    password = redis_url.split("@")[0].rpartition(":")[2]
    assert len(password) == 64
    client = redis.Redis.from_url(redis_url.replace(f":{password}@", ""))
    with pytest.raises(redis.AuthenticationError):
        client.ping()
    assert redis.Redis.from_url(redis_url, decode_responses=True).config_get("bind") == {"bind": "127.0.0.1"}


def test_no_log_holds_a_secret(stack: Talkative) -> None:
    logs = {path.name: path.read_text("utf-8", "replace") for path in (stack.settings.home / "logs").iterdir()}
    assert {f"{name}.log" for name in ("redis", "api", "gpu", "cpu", "beat", "flower")} <= set(logs)
    assert "DEBUG" in logs["api.log"] and "api_key=***" in logs["api.log"], "it was talkative"
    told = {name: secret[:8] for name, text in logs.items() for secret in stack.secrets if secret in text}
    assert len(set(stack.secrets)) >= 8 and told == {}
    assert [name for name, text in logs.items() if found_in(text)] == []


def test_no_file_of_the_stack_is_for_others(stack: Talkative) -> None:
    assert stack.open_files == [], "made for the owner alone"


def test_no_process_list_and_no_page_of_flower_shows_a_secret(stack: Talkative) -> None:
    assert len(stack.commands) >= 8 and any("redis-server" in command for command in stack.commands)
    shown = "\n".join(stack.commands + list(stack.pages.values()))
    assert "gpu@" in stack.pages["/workers"]
    assert [secret[:8] for secret in stack.secrets if secret in shown] == []


def test_flower_asks_who_is_there_and_metrics_do_not_on_this_machine(stack: Talkative) -> None:
    assert stack.open_status == {"flower": 401, "metrics": 200}, "MILO_METRICS_ALLOW has this machine in it"


def test_what_is_at_rest_is_the_owners_alone(stack: Talkative) -> None:
    home = stack.settings.home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    private = [home / "secrets", *(home / "secrets").iterdir(), *home.glob("ledger.sqlite3*")]
    assert {path.name for path in private} >= {"redis", "redis.conf", "webhook", "ledger.sqlite3"}
    assert [path.name for path in private if path.stat().st_mode & 0o077] == []


def test_secrets_are_written_nowhere_else(stack: Talkative) -> None:
    """Not in a result, a status, a schedule or a state file."""
    known = ("secrets/", "redis/", "ledger.sqlite3")
    told = []
    for path in stack.settings.home.rglob("*"):
        name = path.relative_to(stack.settings.home).as_posix()
        if path.is_file() and not name.startswith(known):
            content = path.read_bytes()
            told += [name for secret in stack.secrets if secret.encode() in content]
    assert told == []


# --- the parts --------------------------------------------------------------------------------------------------------


def test_flower_on_an_address_of_others_needs_a_password(tmp_path: Path) -> None:
    outside = Settings(home=tmp_path, flower_host="0.0.0.0", _env_file=None)
    with pytest.raises(Invalid, match="MILO_FLOWER_PASSWORD"):
        refuse_open_flower(outside)
    refuse_open_flower(outside, without=["flower"])
    refuse_open_flower(outside.model_copy(update={"flower_password": "x"}))
    refuse_open_flower(Settings(home=tmp_path, _env_file=None))


def test_the_password_of_redis_is_made_once_and_found_by_processes_started_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home", redis_port=7000, _env_file=None)
    assert embedded_redis_url(settings) == "redis://127.0.0.1:7000/0"
    url = prepare(settings)
    assert url == prepare(settings) == embedded_redis_url(settings) and url.endswith("@127.0.0.1:7000/0")
    monkeypatch.setenv("MILO_HOME", str(settings.home))
    monkeypatch.setenv("MILO_REDIS_PORT", "7000")
    get_settings.cache_clear()
    try:
        assert get_settings().redis_url == url
        monkeypatch.setenv("MILO_REDIS_URL", "redis://elsewhere/1")
        get_settings.cache_clear()
        assert get_settings().redis_url == "redis://elsewhere/1"
    finally:
        get_settings.cache_clear()


def test_a_secret_that_lost_its_mode_gets_it_back(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", _env_file=None)
    first = kept(settings, "one", lambda: "abc")
    path = settings.home / "secrets" / "one"
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert kept(settings, "one", lambda: "other") == first == "abc"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["one"]


def test_a_home_that_others_may_enter_is_told_of(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", _env_file=None)
    assert exposure(settings.model_copy(update={"home": private_home(settings)})) is None
    settings.home.chmod(0o755)
    assert "may read" in (exposure(settings) or "")
    settings.home.chmod(0o777)
    assert "may write" in (exposure(settings) or "")


def test_a_home_that_was_open_to_others_is_closed_and_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    for name, mark, mode in (
        ("empty", "", 0o700),
        ("lived-in", "ledger.sqlite3", 0o700),
        ("other", "thesis.odt", 0o755),
    ):
        home = tmp_path / name
        home.mkdir()
        home.chmod(0o755)
        if mark:
            (home / mark).touch()
        private_home(Settings(home=home, _env_file=None))
        assert stat.S_IMODE(home.stat().st_mode) == mode, name


def test_a_redis_elsewhere_without_a_password_is_warned_about() -> None:
    with redis_server("--appendonly", "yes", "--protected-mode", "no") as url:
        assert warnings_about(Settings(redis_url=url, _env_file=None)) == []
        elsewhere = url.replace("127.0.0.1", "0.0.0.0")
        (sentence,) = warnings_about(Settings(redis_url=elsewhere, _env_file=None))
    assert "no password" in sentence


def test_the_look_for_secrets_finds_them() -> None:
    for leak in ("Bearer milo_" + "a" * 43, "whsec_" + "b" * 44, "redis://:" + "c" * 64 + "@h", "?api_key=" + "d" * 20):
        assert found_in(f"INFO {leak} and more"), leak
    for fine in ("?api_key=***", "whsec_…", "redis://:**@127.0.0.1", "milo_queue_depth", json.dumps({"api_key": None})):
        assert not found_in(f"INFO {fine} and more"), fine
