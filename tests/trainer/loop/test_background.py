"""Long work in a thread beside a generator."""

from __future__ import annotations

import threading

import pytest

from trainer.loop.background import Abandoned, ReportProgress, in_background


def test_it_yields_until_the_work_is_done_and_returns_what_it_made() -> None:
    go = threading.Event()

    def work(report: ReportProgress) -> str:
        assert go.wait(30)
        return "made"

    steps = in_background(work, "things")
    assert next(steps).unit == "things"
    go.set()
    with pytest.raises(StopIteration) as ended:
        while True:
            next(steps)
    assert ended.value.value == "made"


def test_what_the_work_raises_is_raised() -> None:
    def work(report: ReportProgress) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(in_background(work, "things"))


def test_closing_ends_work_that_listens_and_waits_for_it() -> None:
    ended: list[str] = []

    def work(report: ReportProgress) -> None:
        try:
            while True:
                report(1, 2)
        except Abandoned:
            ended.append("left")
            raise

    steps = in_background(work, "things")
    next(steps)
    steps.close()
    assert ended == ["left"]
