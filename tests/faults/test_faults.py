"""A few of the faults, once each, in one stack: `make faults` makes all of them, many times."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.brokers import flush, hang, push_junk, tampered
from tests.faults.field import Field, stack
from tests.faults.kills import kill_one
from tests.faults.registry import FAULTS
from tests.faults.table import Row

LITTLE = 0.01
ROWS: dict[str, Callable[[Field, random.Random], Row]] = {
    "a worker's child is killed": lambda field, rng: kill_one(field, "gpu child", 1, LITTLE, rng),
    "the API is killed": lambda field, rng: kill_one(field, "api", 1, LITTLE, rng),
    "Redis is killed": lambda field, rng: kill_one(field, "redis", 1, LITTLE, rng),
    "Redis hangs": lambda field, rng: hang(field, LITTLE, rng),
    "the queues are flushed": lambda field, rng: tampered(field, LITTLE, rng, "flushed", flush),
    "raw bytes in the queues": lambda field, rng: tampered(field, LITTLE, rng, "raw bytes", push_junk),
}


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with stack(tmp_path_factory.mktemp("faults"), ("flower", "status"), cpu_concurrency=1) as opened:
        yield opened


@pytest.mark.parametrize("name", ROWS)
def test_nothing_is_lost_and_nothing_done_twice_when(name: str, field: Field) -> None:
    row = ROWS[name](field, random.Random(name))
    assert row.jobs and row.faults
    assert row.nothing_lost, row


def test_one_job_for_a_key_whose_api_died_before_it_published(tmp_path: Path) -> None:
    (row,) = FAULTS["unpublished"](tmp_path, LITTLE, random.Random(1))
    assert (row.jobs, row.faults) == (1, 1) and row.nothing_lost, row


def test_a_webhook_goes_to_the_address_that_was_checked_whatever_the_name_means_later(tmp_path: Path) -> None:
    (row,) = FAULTS["rebinding"](tmp_path, LITTLE, random.Random(1))
    if row.skipped:
        pytest.skip(row.skipped)
    assert (row.jobs, row.faults) == (3, 3) and row.nothing_lost, row
