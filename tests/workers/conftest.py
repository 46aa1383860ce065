"""A ledger, and work made for a test in the place of a real kind's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from milo.ledger import Ledger
from milo.settings import Settings
from workers import work
from workers.work import Work


@pytest.fixture
def ledger(settings: Settings, migrated: Path) -> Iterator[Ledger]:
    settings.home.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated, settings.home / "ledger.sqlite3")
    opened = Ledger.open(settings)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a generator function into the table of work, as the `ping` kind."""

    def put(function: Callable[..., Iterator[Any]], **options: Any) -> None:
        module = ModuleType("work_of_the_test")
        module.run = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "work_of_the_test", module)
        monkeypatch.setitem(work.WORK, ("ping", "ping"), Work("work_of_the_test:run", **options))

    return put
