"""`milo transcribe`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import find_url, json_option, load_settings, make_client, print_json, seconds
from milo.cli.screen import make_console
from milo.cue_rules import DEFAULT
from milo.errors import Conflict, MiloError

if TYPE_CHECKING:
    from milo.client import Milo
    from milo.client.folder import FileResult, Input, Snapshot
    from milo.settings import Settings


SHOWN = 20
"""Of what is left out, so many are named on the screen."""
PATIENCE_S = 120
"""A run of hours outlives a restart of the server."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where the results go; folders below PATH are kept.",
)
@click.option("--format", "formats", default="txt,srt,vtt,json", show_default=True, help="Comma separated; also tsv.")
@click.option("--language", help="Spoken language (mg, fr, en, ...). Default: detect it.")
@click.option("--task", type=click.Choice(["transcribe", "translate"]), help="translate: into English.")
@click.option("--model", help="Default: MILO_STT_MODEL of the server.")
@click.option("--prompt", help="Text before the first window: names, spelling, style.")
@click.option("--beam-size", type=click.IntRange(1, 10), help="Beams of the search. Default: 1.")
@click.option("--temperature", type=click.FloatRange(0, 1), help="Default: 0, higher while a guard rejects the text.")
@click.option("--word-timestamps/--no-word-timestamps", default=None, help="Times of words. Default: with them.")
@click.option(
    "--channels",
    type=click.Choice(["mix", "separate"]),
    help="separate: each channel is a speaker, as in recordings of calls. Default: mix.",
)
@click.option("--cues", help="How subtitles are cut: broadcast, social, plain, and numbers (social,max_s=2).")
@click.option("--name", help="Name of the batches.")
@click.option("--force", is_flag=True, help="Do all again, what is done too.")
@click.option("--url", metavar="URL", help="The server. Default: MILO_URL, or the stack that runs here, or a new one.")
@click.option("--api-key", metavar="KEY", help="Default: MILO_API_KEY, or that of MILO_HOME.")
@json_option
def transcribe(
    paths: tuple[str, ...], out: str, formats: str, name: str | None, force: bool, as_json: bool, **rest: Any
) -> int:
    """Transcribe files and folders into subtitles and text.

    Works with the running server, or starts Milo for itself and stops it at the end. Run again, it does only what is
    not done. Exit code 1 when a file failed; the others are done all the same.
    """
    from milo.client.folder import Manifest, Run, find_inputs

    settings = load_settings()
    url, api_key = rest.pop("url"), rest.pop("api_key")
    if rest["cues"] is None and settings.cues != DEFAULT:
        rest["cues"] = settings.cues
    options = {key: value for key, value in rest.items() if value is not None}
    left_out: list[tuple[Path, str]] = []
    inputs = find_inputs(paths, lambda path, why: left_out.append((path, why)))
    target = Path(out).expanduser()
    manifest = Manifest(target, options, _formats(formats))
    if not inputs:
        others = "".join(f"; {path}: {why}" for path, why in left_out[:SHOWN])
        raise click.UsageError(f"there is no recording in there (by its suffix: wav, mp3, ogg, m4a, mp4, ...){others}")
    target.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        view = stack.enter_context(_view(target, as_json))
        view.left_out(left_out)
        client, roots = stack.enter_context(_server(settings, url, api_key, inputs, view))
        view.starts(len(inputs))
        run = Run(
            *(client, inputs, manifest, options),
            name=name,
            roots=roots,
            force=force,
            on_file=view.file,
            on_tick=view.tick,
        )
        snapshot = run.run()
    view.ends(snapshot)
    return 1 if snapshot.failed else 0


def _formats(text: str) -> list[str]:
    from milo.transcription.transcript import FORMATS

    formats = list(dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip()))
    unknown = [word for word in formats if word not in FORMATS]
    if unknown or not formats:
        raise click.UsageError(f"--format: {', '.join(unknown) or 'nothing'} is not one of {', '.join(FORMATS)}")
    return formats


# --- which server ---------------------------------------------------------------------------------------------------


@contextmanager
def _server(
    settings: Settings, url: str | None, api_key: str | None, inputs: list[Input], view: View
) -> Iterator[tuple[Milo, list[Path]]]:
    """A client of a server that answers, and the folders that this server reads by itself."""
    from milo.stack.temporary import own_stack

    target = url or find_url(settings)
    with make_client(settings, target, api_key, PATIENCE_S) as client:
        problem = _health(client, view)
        if problem is None:
            here = [Path(root).expanduser() for root in settings.audio_roots if "://" not in root]
            yield client, here if client.http.is_local else []
            return
        if not client.http.is_local:
            raise problem
    folders = _folders(inputs)
    with ExitStack() as stack:
        address = _starting(settings)
        if address is None:
            view.says("no server answers at " + target + ": starting Milo for this run")
            address = stack.enter_context(own_stack(settings, folders))
        client = stack.enter_context(make_client(settings, address, api_key, PATIENCE_S))
        yield client, folders


def _health(client: Milo, view: View) -> Exception | None:
    """None when a Milo answers; otherwise why not."""

    try:
        health = client.health(patience_s=0)
    except MiloError as error:
        return error
    for name, check in health["checks"].items():
        if isinstance(check, dict) and not check.get("ok", True):
            view.says(f"warning: {name}: {check.get('detail', 'not well')}")
    return None


def _starting(settings: Settings) -> str | None:
    """The URL of a stack that holds this home and answers on other ports; waits for one that is starting."""
    from milo.stack.services import wait_until
    from milo.stack.up import is_up, note_of

    if not is_up(settings):
        return None
    if not wait_until(lambda: note_of(settings) is not None or not is_up(settings), 60):
        raise Conflict(f"another Milo is starting on {settings.home} and does not get ready; look at its logs")
    note = note_of(settings)
    return str(note["url"]) if note else None


def _folders(inputs: list[Input]) -> list[Path]:
    return sorted({one.path.parent.resolve() for one in inputs})


# --- what the person sees -------------------------------------------------------------------------------------------


@contextmanager
def _view(out: Path, as_json: bool) -> Iterator[View]:
    view = View(out, as_json)
    try:
        yield view
    finally:
        view.close()


class View:
    """Progress on stderr when it is a terminal; failures on stderr; the summary on stdout."""

    def __init__(self, out: Path, as_json: bool) -> None:
        self._out, self._as_json = out, as_json
        self._console = make_console()
        self._progress: Any = None
        self._task: Any = None
        self._files: list[dict[str, Any]] = []
        self._left_out: list[dict[str, str]] = []

    def left_out(self, found: list[tuple[Path, str]]) -> None:
        """What looks like a recording, or holds some, and is not taken."""
        self._left_out = [{"file": str(path), "reason": why} for path, why in found]
        for path, why in found[:SHOWN]:
            self.says(f"left out: {path}: {why}")
        if len(found) > SHOWN:
            self.says(f"left out: {len(found) - SHOWN} more (--json names them all)")

    def says(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def starts(self, files: int) -> None:
        if not self._console.is_terminal:
            return
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.fields[files]}"), BarColumn(), TextColumn("{task.fields[speed]}"))
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task("", total=1.0, files=f"0/{files} files", speed="")
        self._progress.start()

    def tick(self, snapshot: Snapshot) -> None:
        if self._progress is None:
            return
        part = snapshot.done_bytes / snapshot.size_bytes if snapshot.size_bytes else 0
        speed = [f"{seconds(snapshot.audio_s)} of audio"]
        if snapshot.wall_s > 0.5 and snapshot.audio_s:
            speed.append(f"{snapshot.audio_s / snapshot.wall_s:.1f}x realtime")
        if snapshot.wall_s > 2 and 0 < part < 1:
            speed.append(f"{seconds(snapshot.wall_s / part * (1 - part))} left")
        files = f"{snapshot.ended}/{snapshot.files} files" + (f", {snapshot.failed} failed" if snapshot.failed else "")
        self._progress.update(self._task, completed=part, files=files, speed="  ".join(speed))

    def file(self, result: FileResult) -> None:
        if result.error:
            self.says(f"{result.input.shown}: {result.error.get('detail', 'failed')}")
        if self._as_json:
            self._files.append(
                {
                    "file": result.input.shown,
                    "state": result.state,
                    "outputs": [str(path) for path in result.outputs],
                    "audio_s": result.audio_s,
                    "confidence": result.confidence,
                    "error": result.error,
                }
            )

    def ends(self, snapshot: Snapshot) -> None:
        self.close()
        counts = {"done": snapshot.done, "skipped": snapshot.skipped, "failed": snapshot.failed}
        times = {"audio_s": round(snapshot.audio_s, 3), "wall_s": round(snapshot.wall_s, 3)}
        if self._as_json:
            print_json({**counts, **times, "out": str(self._out), "files": self._files, "left_out": self._left_out})
            return
        words = [f"{snapshot.done} done"]
        words += [f"{snapshot.skipped} were done already"] if snapshot.skipped else []
        words += [f"{snapshot.failed} failed"] if snapshot.failed else []
        words += [f"{len(self._left_out)} left out"] if self._left_out else []
        line = f"{snapshot.files} files: {', '.join(words)}"
        if snapshot.done and snapshot.wall_s:
            pace = snapshot.audio_s / snapshot.wall_s
            line += f"; {seconds(snapshot.audio_s)} of audio in {seconds(snapshot.wall_s)} ({pace:.1f}x realtime)"
        click.echo(f"{line} -> {self._out}")

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
