"""Who is in memory: loading, eviction, idle unload, cool-down, versions."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from milo.engines.residency import Residency, budget_of, family
from milo.errors import ModelUnavailable, Unavailable
from milo.settings import Settings


class Engine:
    def __init__(self, size_bytes: int = 10) -> None:
        self.size_bytes = size_bytes
        self.closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Callable[[], float], budget: float = 100, ttl_s: float = 60, cooldown_s: float = 30) -> Residency:
    return Residency(budget, ttl_s, cooldown_s, clock, used_bytes=lambda: None)


def keys(residency: Residency) -> set[str]:
    return {line.key for line in residency.loaded()}


def test_a_model_is_loaded_once_and_kept(clock: Clock) -> None:
    residency, calls = make(clock), []

    def load() -> Engine:
        calls.append(1)
        return Engine()

    for _ in range(3):
        with residency.use("a@1", load) as engine:
            assert not engine.closed
    assert len(calls) == 1
    (line,) = residency.loaded()
    assert (line.key, line.size_bytes, line.users) == ("a@1", 10, 0)


def test_the_least_recently_used_goes_when_the_budget_is_reached(clock: Clock) -> None:
    residency = make(clock, budget=25)
    engines = {name: Engine() for name in "abc"}
    for name in ("a", "b", "a", "c"):
        clock.now += 1
        with residency.use(f"{name}@1", lambda name=name: engines[name]):
            pass
    assert keys(residency) == {"a@1", "c@1"}
    assert engines["b"].closed and not engines["a"].closed


def test_what_is_in_use_is_never_evicted(clock: Clock) -> None:
    residency = make(clock, budget=15)
    first, second = Engine(), Engine()
    with residency.use("a@1", lambda: first):
        clock.now += 1000
        with residency.use("b@1", lambda: second):
            assert not first.closed
            assert residency.sweep() == []
    assert sum(not engine.closed for engine in (first, second)) == 1


def test_room_is_made_before_a_load_of_known_size(clock: Clock) -> None:
    residency, old = make(clock, budget=25), Engine(20)
    with residency.use("a@1", lambda: old):
        pass
    with residency.use("b@1", lambda: Engine() if old.closed else pytest.fail("loaded first"), expected_bytes=20):
        pass


def test_idle_models_leave_after_their_time(clock: Clock) -> None:
    residency, engine = make(clock, ttl_s=60), Engine()
    with residency.use("a@1", lambda: engine):
        pass
    clock.now = 59
    assert residency.sweep() == []
    clock.now = 60
    assert residency.sweep() == ["a@1"]
    assert engine.closed and residency.loaded() == []


def test_a_ttl_of_0_keeps_models_for_ever(clock: Clock) -> None:
    residency = make(clock, ttl_s=0)
    with residency.use("a@1", Engine):
        pass
    clock.now = 1e9
    assert residency.sweep() == []


def test_a_failed_load_is_remembered_and_not_repeated(clock: Clock) -> None:
    residency, calls = make(clock, cooldown_s=30), []

    def fail() -> Engine:
        calls.append(1)
        raise ModelUnavailable("tokenizer.json is missing")

    def use() -> None:
        with residency.use("a@1", fail):
            pass

    with pytest.raises(ModelUnavailable):
        use()
    clock.now = 10
    with pytest.raises(Unavailable, match="tokenizer.json is missing") as caught:
        use()
    assert caught.value.retry_after_s == 20
    assert caught.value.code == "model_unavailable"
    assert len(calls) == 1
    clock.now = 31
    with pytest.raises(ModelUnavailable):
        use()
    assert len(calls) == 2


def test_a_failure_of_one_model_does_not_hinder_another(clock: Clock) -> None:
    residency = make(clock)
    with pytest.raises(ZeroDivisionError), residency.use("a@1", lambda: 1 / 0):
        pass
    with residency.use("b@1", Engine) as engine:
        assert not engine.closed


def test_another_version_takes_the_place_of_the_old_one(clock: Clock) -> None:
    residency, old = make(clock), Engine()
    with residency.use("stt:mine@1", lambda: old):
        pass
    with residency.use("stt:mine@2", Engine):
        assert old.closed
    assert keys(residency) == {"stt:mine@2"}


def test_an_old_version_that_is_in_use_leaves_when_its_user_is_done(clock: Clock) -> None:
    residency, old = make(clock), Engine()
    with residency.use("mine@1", lambda: old):
        with residency.use("mine@2", Engine):
            assert not old.closed
        assert not old.closed
    assert old.closed and keys(residency) == {"mine@2"}


def test_a_new_version_that_fails_to_load_leaves_the_old_one_in_place(clock: Clock) -> None:
    residency, old = make(clock), Engine()
    with residency.use("mine@1", lambda: old):
        pass
    with pytest.raises(ZeroDivisionError), residency.use("mine@2", lambda: 1 / 0):
        pass
    assert not old.closed


def test_a_load_without_memory_is_tried_again_when_the_idle_ones_are_gone(clock: Clock) -> None:
    residency, idle = make(clock), Engine()
    with residency.use("a@1", lambda: idle):
        pass

    def load() -> Engine:
        if not idle.closed:
            raise RuntimeError("CUDA failed with error out of memory")
        return Engine()

    with residency.use("b@1", load):
        pass
    assert keys(residency) == {"b@1"}


def test_two_threads_that_need_one_model_load_it_once(clock: Clock) -> None:
    residency, calls, entered, go = make(clock), [], threading.Event(), threading.Event()

    def load() -> Engine:
        calls.append(1)
        entered.set()
        assert go.wait(10)
        return Engine()

    def use() -> None:
        with residency.use("a@1", load):
            pass

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    assert residency.loaded() == []  # the report does not wait for a load
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1
    assert residency.loaded()[0].users == 0


def test_an_engine_that_does_not_close_cleanly_is_dropped_all_the_same(clock: Clock) -> None:
    class Broken(Engine):
        def close(self) -> None:
            raise RuntimeError("no")

    residency = make(clock)
    with residency.use("a@1", Broken):
        pass
    residency.close()
    assert residency.loaded() == []


def test_memory_that_the_card_reports_counts_before_the_size_of_the_files(clock: Clock) -> None:
    used = iter([1000, 1700])
    residency = Residency(10_000, 60, 30, clock, used_bytes=lambda: next(used))
    with residency.use("a@1", Engine):
        assert residency.loaded()[0].size_bytes == 700


def test_an_error_in_the_body_is_not_taken_for_a_failed_load(clock: Clock) -> None:
    residency = make(clock)
    with pytest.raises(KeyError), residency.use("a@1", Engine):
        raise KeyError
    with residency.use("a@1", Engine):
        assert residency.loaded()[0].users == 1


def test_the_budget_is_the_setting_or_a_share_of_the_machine() -> None:
    assert budget_of(Settings(vram_budget_gb=2, _env_file=None)) == 2e9
    assert budget_of(Settings(device="cpu", _env_file=None)) > 1e8


def test_a_key_without_a_version_is_its_own_family() -> None:
    assert (family("vad"), family("stt:org/name@12")) == ("vad", "stt:org/name")
