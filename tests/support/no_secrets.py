"""Part of every test run: nothing that tests or their servers write may hold a key, a webhook secret or a password.

`tests/conftest.py` has its two halves at work: what pytest captured of each test, and the log files of all stacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

KEYS = (
    "the-operators-key-of-the-tests",
    "a-key-for-tests",
    "a-key-of-the-house",
    "the-operators-key-of-the-talkative-stack",
)
SECRETS = re.compile(
    r"\bmilo_[\w-]{43}\b|whsec_[\w+/=-]{32,}|rediss?://[^\s/@]*:[^*\s@]{4,}@|[?&]api_key=(?!\*)[^\s&\"']{4,}|"
    r"\bsk-ant-\w[\w-]{15,}|\bhf_[A-Za-z]{34}\b|" + "|".join(map(re.escape, KEYS))
)


def found_in(text: str) -> str | None:
    """The beginning of the first secret in the text, and what stands before it."""
    found = SECRETS.search(text)
    return f"{text[max(0, found.start() - 60) : found.start()]}{found.group()[:9]}…" if found else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Fail a test whose captured output or log holds a secret."""
    report = yield
    for heading, text in report.sections:  # type: ignore[attr-defined]
        if leak := found_in(text):
            report.outcome = "failed"  # type: ignore[attr-defined]
            report.longrepr = f"{heading} holds a secret: {leak}"  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session", autouse=True)
def no_log_file_holds_a_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end, when all stacks have stopped: every log file that this process's tests left."""
    yield
    leaks = {}
    for path in tmp_path_factory.getbasetemp().rglob("*.log*"):
        if path.is_file() and (leak := found_in(path.read_text("utf-8", "replace"))):
            leaks[str(path)] = leak
    assert not leaks, "logs hold secrets"
