"""What the commands print: stdout and stderr, on which nothing of a stranger's drives the terminal.

`escaping` stands around every command, so whatever writes to `sys.stdout` or `sys.stderr` is escaped. Colours and
moving lines are the program's own: `say` and `make_console` write them beside it, and escape the text in them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from milo.terminal import visible

if TYPE_CHECKING:
    from rich.console import Console


class EscapedStream:
    """A text stream that shows what a terminal would obey. `raw` is the stream itself."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("this stream takes text")  # click asks so whether it is one of bytes
        self.raw.write(visible(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def escaping() -> Iterator[None]:
    """Inside, `sys.stdout` and `sys.stderr` escape what is written to them."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, EscapedStream(raw_of(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw_of(stream: TextIO) -> TextIO:
    """The stream below the escaping one: for data of a program, and for what is escaped already."""
    return stream.raw if isinstance(stream, EscapedStream) else stream


def say(mark: str, colour: str | None, text: str, *, err: bool = False) -> None:
    """One line: a word of the program's own, in a colour, and text."""
    shown = click.style(mark, fg=colour) if colour else mark
    click.echo(f"{shown} {visible(text)}", file=raw_of(sys.stderr if err else sys.stdout))


def make_console(*, err: bool = True, **options: Any) -> Console:
    """A rich console: no markup in what is printed, and its text escaped."""
    from rich.console import Console
    from rich.segment import Segment

    class Escaped(Console):
        def _render_buffer(self, buffer: Any) -> str:
            """Where every text of rich becomes characters for the terminal; its control codes are segments apart."""
            return super()._render_buffer(
                one if one.control else Segment(visible(one.text), one.style) for one in buffer
            )

    stream = raw_of(sys.stderr if err else sys.stdout)
    return Escaped(file=stream, highlight=False, markup=False, **options)
