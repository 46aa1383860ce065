"""Lines of the log: one an event, and nothing in one that a terminal obeys."""

from __future__ import annotations

import logging
import sys

import pytest

from milo.logs import OneLine


def formatted(message: str, error: BaseException | None = None) -> str:
    info = (type(error), error, None) if error else None
    record = logging.LogRecord("milo.x", logging.ERROR, "", 0, "%s is bad", (message,), info)
    return OneLine("%(levelname)s %(name)s: %(message)s").format(record)


@pytest.mark.parametrize("text", ["\x1b]0;x\x07", "\x9b31m", "\u202e", "\u2028", "a\nERROR milo.x: forged"])
def test_a_name_in_a_line_can_neither_drive_a_terminal_nor_begin_another_line(text: str) -> None:
    assert formatted(text).isprintable()


def test_an_error_that_quotes_a_name_stays_below_its_line() -> None:
    first, *rest = formatted("x", ValueError("\x9b2J\nERROR milo.x: forged")).splitlines()
    assert first == "ERROR milo.x: x is bad"
    assert rest and all(line.startswith("  ") and line.isprintable() for line in rest)


def test_servers_that_set_up_loggers_of_their_own_go_through_it(tmp_path: object) -> None:
    from milo.logs import configure_logging
    from milo.settings import Settings

    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = root.handlers, root.level, uvicorn.handlers, uvicorn.propagate
    try:
        uvicorn.handlers, uvicorn.propagate = [logging.StreamHandler(sys.stderr)], False
        configure_logging(Settings(_env_file=None))
        assert uvicorn.handlers == [] and uvicorn.propagate
        assert isinstance(root.handlers[0].formatter, OneLine)
    finally:
        root.handlers, root.level, uvicorn.handlers, uvicorn.propagate = before
