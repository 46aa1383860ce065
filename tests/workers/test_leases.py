"""Leases alone: what a renewal does to the group, and the thread that renews during a long step."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import pytest

from milo.errors import Unavailable
from milo.jobs import NewJob, Progress
from milo.ledger import Claim, Ledger, Renewal
from milo.settings import Settings
from milo.storage.files import Files
from workers.claiming import Claimer
from workers.endings import Endings
from workers.group import Group
from workers.leases import Leases


def group_of(settings: Settings, ledger: Ledger, count: int = 1) -> Group:
    files = Files(settings)
    claimer = Claimer(settings, ledger, files, "gpu/0")
    new = NewJob(kind="ping", payload={"seconds": 0}, owner="ana", priority="batch")
    first = [ledger.create(new) for _ in range(count)][0]
    running = claimer.claim(first.id, None)
    assert running
    group = Group(running, claimer, Endings(settings, ledger, files))
    group.more(count - 1)
    return group


@pytest.fixture
def leases(settings: Settings, ledger: Ledger) -> Leases:
    return Leases(settings, ledger, Endings(settings, ledger, Files(settings)))


def test_a_renewal_publishes_progress_and_drops_what_was_cancelled_or_lost(
    settings: Settings, ledger: Ledger, leases: Leases
) -> None:
    group = group_of(settings, ledger, 3)
    kept, cancelled, lost = list(group.jobs.values())
    kept.progress = Progress(done=4, total=8)
    ledger.cancel(cancelled.id)
    ledger.release(lost.claim)
    assert leases.any_cancelled(group)
    leases.renew(group)
    assert list(group.jobs) == [kept.id] and (cancelled.cancelled, lost.cancelled) == (True, True)
    assert ledger.get(kept.id).progress.done == 4 and not leases.any_cancelled(group)
    assert (ledger.get(cancelled.id).state, ledger.get(lost.id).state) == ("cancelled", "queued")


def test_work_goes_on_while_the_ledger_is_away(
    settings: Settings, ledger: Ledger, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("the ledger's database does not answer")

    group = group_of(settings, ledger)
    monkeypatch.setattr(ledger, "renew", away)
    monkeypatch.setattr(ledger, "to_be_cancelled", away)
    leases.renew(group)
    assert not leases.any_cancelled(group) and group.active(group.first.id)


def test_the_thread_renews_for_the_group_in_hand_and_one_thread_serves_many(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = settings.model_copy(update={"lease_s": 0.3})
    leases = Leases(short, ledger, Endings(short, ledger, Files(short)))
    renewed: dict[str, threading.Event] = {}
    by: set[int] = set()
    renew = ledger.renew

    def watched(claims: Iterable[Claim], progress: Mapping[str, Progress] | None = None) -> Renewal:
        given = list(claims)
        by.add(threading.get_ident())
        for claim in given:
            renewed[claim.job.id].set()
        return renew(given, progress)

    monkeypatch.setattr(ledger, "renew", watched)
    for _ in range(2):
        group = group_of(short, ledger)
        renewed[group.first.id] = threading.Event()
        with leases.renewed_in_background(group):
            assert renewed[group.first.id].wait(10)
    assert len(by) == 1 and threading.get_ident() not in by
