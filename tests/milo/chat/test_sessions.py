"""Sessions: remembered for their owner only, for as long as they are used, and answered in order. On a real Redis."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from milo.chat import sessions as module
from milo.chat.sessions import Exchange, Sessions
from milo.errors import Invalid, LeaseLost, NotFound, TooMany, Unavailable
from milo.settings import Settings
from milo.stack.ports import free_port
from milo.stack.redis_server import find_redis_server
from tests.support.servers import wait_until


@pytest.fixture
def sessions(settings: Settings) -> Sessions:
    return Sessions(settings)


def said(number: int) -> Exchange:
    return Exchange(user=f"question {number}", reply=f"answer {number}", mode="local", language="mg")


def users(sessions: Sessions, session_id: str, owner: str = "bot") -> list[str]:
    return [exchange.user for exchange in sessions.get(owner, session_id).exchanges]


# --- memory ---------------------------------------------------------------------------------------------------------


def test_an_id_is_made_when_absent_and_nobody_can_guess_it(sessions: Sessions) -> None:
    ids = {sessions.open("bot").id for _ in range(50)}
    assert len(ids) == 50
    assert all(name.startswith("ses_") and len(name) >= 36 for name in ids)


def test_exchanges_come_back_as_they_went_in_oldest_first(sessions: Sessions) -> None:
    session = sessions.open("bot")
    first = Exchange(user="Salama 🌍 «é»\n", reply="Tsara!", mode="cloud", language="mg", via="fr", user_via="Bonjour")
    sessions.append("bot", session.id, first)
    kept = sessions.append("bot", session.id, said(2))
    assert [exchange.user for exchange in kept.exchanges] == ["Salama 🌍 «é»\n", "question 2"]
    assert kept.exchanges[0].model_copy(update={"at": 0}) == first
    assert kept.exchanges[0].at > 0


def test_only_the_last_exchanges_are_kept(sessions: Sessions) -> None:
    session = sessions.open("bot")
    lengths = []
    for number in range(23):
        sessions.append("bot", session.id, said(number))
        remembered = users(sessions, session.id)
        assert remembered == [f"question {n}" for n in range(number + 1 - len(remembered), number + 1)]
        lengths.append(len(remembered))
    assert lengths == [*range(1, 16), *range(10, 16), 10, 11], "the oldest go seldom: it would all be read anew"


def test_everything_in_redis_is_json_or_a_number(sessions: Sessions, redis_client: redis.Redis) -> None:
    session = sessions.open("bot")
    sessions.append("bot", session.id, Exchange(user="half \ud83d", reply="ok"))
    (entry,) = redis_client.lrange(f"milo:session:bot:{session.id}:log", 0, -1)
    assert json.loads(entry)["user"] == "half ?"
    assert all(value.isdigit() for value in redis_client.hgetall(f"milo:session:bot:{session.id}").values())


def test_an_entry_that_another_version_wrote_is_left_out(sessions: Sessions, redis_client: redis.Redis) -> None:
    session = sessions.open("bot")
    redis_client.rpush(
        f"milo:session:bot:{session.id}:log", b"{broken", b'{"user": 1}', b'{"user":"u","reply":"r","new":1}'
    )
    assert users(sessions, session.id) == ["u"]


def test_an_id_of_ones_own_choice_is_opened_and_found_again(sessions: Sessions) -> None:
    sessions.open("bot", "whatsapp-26134")
    sessions.append("bot", "whatsapp-26134", said(1))
    assert sessions.open("bot", "whatsapp-26134").exchanges[0].user == "question 1"


@pytest.mark.parametrize("session_id", ["a b", "a:b", "*", "é", "a" * 65, "a\n", "../x", "\0"])
def test_what_cannot_be_an_id_is_refused(sessions: Sessions, session_id: str) -> None:
    with pytest.raises(Invalid) as caught:
        sessions.open("bot", session_id)
    assert caught.value.code == "bad_session_id"


def test_another_key_cannot_read_write_list_or_delete_a_session(sessions: Sessions) -> None:
    session = sessions.open("bot")
    sessions.append("bot", session.id, said(1))
    for attempt in (
        lambda: sessions.get("spy", session.id),
        lambda: sessions.append("spy", session.id, said(2)),
        lambda: sessions.delete("spy", session.id),
        lambda: sessions.take("spy", session.id),
        lambda: sessions.renew("spy", session.id, 1),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert sessions.all("spy") == []
    assert sessions.open("spy", session.id).exchanges == []
    assert users(sessions, session.id) == ["question 1"]


def test_owners_whose_names_look_like_keys_do_not_meet(sessions: Sessions) -> None:
    sessions.open("a:b", "c")
    assert [session.id for session in sessions.all("a:b")] == ["c"]
    assert sessions.all("a") == []
    with pytest.raises(NotFound):
        sessions.get("a", "b")


def test_the_list_has_the_latest_first_and_a_deleted_one_is_gone(sessions: Sessions) -> None:
    first, second = sessions.open("bot"), sessions.open("bot")
    wait_until(lambda: sessions.append("bot", first.id, said(1)).updated_at > second.updated_at, "time stands still")
    assert [session.id for session in sessions.all("bot")] == [first.id, second.id]
    sessions.delete("bot", first.id)
    assert [session.id for session in sessions.all("bot")] == [second.id]
    with pytest.raises(NotFound):
        sessions.get("bot", first.id)
    with pytest.raises(NotFound):
        sessions.delete("bot", first.id)


def test_an_answer_that_comes_after_the_session_was_deleted_does_not_bring_it_back(sessions: Sessions) -> None:
    session = sessions.open("bot")
    ticket = sessions.take("bot", session.id)
    sessions.delete("bot", session.id)
    with pytest.raises(NotFound):
        sessions.append("bot", session.id, said(1), ticket)
    with pytest.raises(NotFound):
        sessions.get("bot", session.id)


def test_a_session_that_is_not_used_is_forgotten_and_using_it_keeps_it(
    settings: Settings, redis_client: redis.Redis
) -> None:
    sessions = Sessions(settings.model_copy(update={"session_ttl_s": 100.0}))
    session = sessions.open("bot")
    sessions.append("bot", session.id, said(1))
    names = [f"milo:session:bot:{session.id}{part}" for part in ("", ":log")]
    for name in names:
        redis_client.pexpire(name, 5000)
    assert sessions.get("bot", session.id).expires_at - session.updated_at == pytest.approx(100, abs=5)
    assert all(redis_client.pttl(name) <= 5000 for name in names), "reading must not keep a session alive"
    sessions.open("bot", session.id)
    assert all(redis_client.pttl(name) > 90_000 for name in names)
    for name in names:
        redis_client.pexpire(name, 1)
    wait_until(lambda: not redis_client.exists(*names), "never expired")
    assert sessions.all("bot") == []
    with pytest.raises(NotFound):
        sessions.get("bot", session.id)


def test_a_session_in_which_nothing_was_said_is_not_kept_for_a_day(
    settings: Settings, sessions: Sessions, redis_client: redis.Redis
) -> None:
    assert settings.session_ttl_s > module.UNUSED_TTL_S

    def lives_s(session_id: str) -> float:
        session = sessions.get("bot", session_id)
        (key,) = redis_client.keys(f"milo:session:bot:{session_id}")
        assert redis_client.pttl(key) / 1000 == pytest.approx(session.expires_at - session.updated_at, abs=30)
        return session.expires_at - session.updated_at

    session = sessions.open("bot")
    assert lives_s(session.id) == pytest.approx(module.UNUSED_TTL_S)
    ticket = sessions.take("bot", session.id)
    assert lives_s(session.id) == pytest.approx(settings.session_ttl_s)
    sessions.leave("bot", session.id, ticket)
    assert sessions.open("bot", session.id) and lives_s(session.id) == pytest.approx(settings.session_ttl_s)


def test_without_redis_it_says_so(settings: Settings) -> None:
    away = Sessions(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))
    for attempt in (lambda: away.open("bot"), lambda: away.get("bot", "a"), lambda: away.all("bot")):
        with pytest.raises(Unavailable) as caught:
            attempt()
        assert caught.value.code == "redis_down"


@contextmanager
def durable_redis(folder: Path, port: int) -> Iterator[None]:
    command = [find_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([*command, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return bool(redis.Redis(port=port).ping())
        except redis.RedisError:
            return False

    try:
        wait_until(answers, "no Redis")
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_sessions_survive_a_restart_of_every_process(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(home=tmp_path, redis_url=f"redis://127.0.0.1:{port}/0", _env_file=None)
    with durable_redis(tmp_path, port):
        session_id = Sessions(settings, redis.Redis(port=port)).open("bot").id
        Sessions(settings, redis.Redis(port=port)).append("bot", session_id, said(1))
    with durable_redis(tmp_path, port):
        assert users(Sessions(settings, redis.Redis(port=port)), session_id) == ["question 1"]


# --- order ----------------------------------------------------------------------------------------------------------


def test_b1_messages_that_overlap_are_answered_in_the_order_they_came(sessions: Sessions) -> None:
    session_id = sessions.open("bot").id
    tickets = [sessions.take("bot", session_id) for _ in range(8)]
    seen: dict[int, list[str]] = {}

    def answer(number: int) -> None:
        with sessions.turn("bot", session_id, tickets[number]) as turn:
            seen[number] = [exchange.user for exchange in turn.session.exchanges]
            turn.finish(said(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(answer, reversed(range(8))))
    assert users(sessions, session_id) == [f"question {number}" for number in range(8)]
    assert all(seen[number] == [f"question {earlier}" for earlier in range(number)] for number in range(8))


def test_a_worker_can_look_whether_it_is_its_turn_without_waiting(sessions: Sessions) -> None:
    session_id = sessions.open("bot").id
    first, second = sessions.take("bot", session_id), sessions.take("bot", session_id)
    assert sessions.try_turn("bot", session_id, second) is None
    turn = sessions.try_turn("bot", session_id, first)
    assert turn is not None
    turn.renew()
    turn.finish(said(1))
    later = sessions.try_turn("bot", session_id, second)
    assert later is not None and later.session.exchanges[0].user == "question 1"


def test_a_message_that_fails_lets_the_next_one_through(sessions: Sessions) -> None:
    session_id = sessions.open("bot").id
    first, second = sessions.take("bot", session_id), sessions.take("bot", session_id)
    with pytest.raises(RuntimeError), sessions.turn("bot", session_id, first):
        raise RuntimeError("the model failed")
    assert sessions.try_turn("bot", session_id, second) is not None


def test_a_dead_holder_is_passed_over_and_cannot_answer_any_more(sessions: Sessions) -> None:
    session_id = sessions.open("bot").id
    dead, alive = sessions.take("bot", session_id), sessions.take("bot", session_id)
    assert sessions.renew("bot", session_id, dead, holding_s=0.05)
    with sessions.turn("bot", session_id, alive, wait_s=20) as turn:
        with pytest.raises(LeaseLost):
            sessions.append("bot", session_id, said(1), dead)
        with pytest.raises(LeaseLost):
            sessions.renew("bot", session_id, dead)
        turn.finish(said(2))
    assert users(sessions, session_id) == ["question 2"]


def test_a_message_that_died_while_waiting_is_passed_over(sessions: Sessions) -> None:
    session_id = sessions.open("bot").id
    sessions.take("bot", session_id, lease_s=0.05)
    with sessions.turn("bot", session_id, wait_s=20) as turn:
        turn.finish(said(1))
    assert users(sessions, session_id) == ["question 1"]


def test_a_late_holder_that_nobody_overtook_may_still_answer(sessions: Sessions, redis_client: redis.Redis) -> None:
    session_id = sessions.open("bot").id
    ticket = sessions.take("bot", session_id)
    redis_client.hset(f"milo:session:bot:{session_id}:line", str(ticket), 1)  # its lease ended in 1970
    sessions.append("bot", session_id, said(1), ticket)
    assert users(sessions, session_id) == ["question 1"]


def test_waiting_too_long_says_that_the_session_is_busy(sessions: Sessions) -> None:
    session_id = sessions.open("bot").id
    sessions.take("bot", session_id)
    with pytest.raises(Unavailable) as caught, sessions.turn("bot", session_id, wait_s=0):
        pass
    assert caught.value.code == "session_busy"


def test_a_flood_of_messages_in_one_session_is_refused(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    session_id = sessions.open("bot").id
    for _ in range(3):
        sessions.take("bot", session_id)
    with pytest.raises(TooMany):
        sessions.take("bot", session_id)


def test_two_sessions_do_not_wait_for_each_other(sessions: Sessions) -> None:
    one, other = sessions.open("bot").id, sessions.open("bot").id
    with sessions.turn("bot", one, wait_s=0), sessions.turn("bot", other, wait_s=0):
        pass


def test_appending_from_many_threads_loses_nothing(settings: Settings) -> None:
    sessions = Sessions(settings.model_copy(update={"session_exchanges": 100}))
    session_id = sessions.open("bot").id
    gate = threading.Barrier(8)

    def write(number: int) -> None:
        gate.wait(20)
        for index in range(10):
            sessions.append("bot", session_id, said(number * 10 + index))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(set(users(sessions, session_id))) == 80
