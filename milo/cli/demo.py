"""`make demo`: a stack of its own in a temporary home, the recordings of `samples/` through it, and a table.

Writes `demo-out/*.{txt,srt,vtt,json}`; stops what it started.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from milo.cli.common import seconds
from milo.cli.screen import make_console
from milo.cli.transcribe import View
from milo.client import Milo
from milo.client.folder import FileResult, Manifest, Run, find_inputs
from milo.errors import MiloError
from milo.settings import Settings
from milo.stack.temporary import own_stack
from milo.training.scoring import scored_pair
from milo.transcription.transcript import Transcript

SAMPLES = Path("samples")
OUT = Path("demo-out")
FORMATS = ("txt", "srt", "vtt", "json")
TEXT_CHARS = 60


def main() -> int:
    """Exit code 0 when every sample was transcribed."""
    console = make_console(err=False, width=None if sys.stdout.isatty() else 160)
    references = read_references(SAMPLES / "references.tsv")
    inputs = find_inputs([SAMPLES])
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    began = time.monotonic()
    results: list[FileResult] = []
    view = View(OUT, as_json=False)
    view.says("Starting Redis, the API and the workers ...")

    def ended(result: FileResult) -> None:
        results.append(result)
        view.file(result)

    with tempfile.TemporaryDirectory(prefix="milo-demo-") as home:
        settings = Settings(home=Path(home), api_key="demo-key")
        try:
            with own_stack(settings, [SAMPLES.resolve()]) as url, Milo(url, "demo-key") as milo:
                view.says(f"Ready after {seconds(time.monotonic() - began)} at {url}. Transcribing {SAMPLES}/ ...")
                view.starts(len(inputs))
                roots = [SAMPLES.resolve()]
                manifest = Manifest(OUT, {}, FORMATS)
                run = Run(milo, inputs, manifest, {}, name="demo", roots=roots, on_file=ended, on_tick=view.tick)
                snapshot = run.run()
        finally:
            view.close()
    console.print(table(results, references))
    view.ends(snapshot)
    console.print(f"The whole demonstration took {seconds(time.monotonic() - began)}.")
    console.print(f"`make up` starts Milo to stay, with its web client at http://127.0.0.1:{settings.port}/")
    return 1 if snapshot.failed else 0


def read_references(path: Path) -> dict[str, str]:
    """File -> what is said in it, from lines of `file<TAB>reference`."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.split("\t", 1) for line in lines if "\t" in line and not line.startswith("#"))
    return {name.strip(): text.strip() for name, text in pairs if name != "file"}


def table(results: Sequence[FileResult], references: dict[str, str]) -> Table:
    """One line a sample: WER against its reference, both normalised, and over all words together."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name, right in (("file", False), ("audio", True), ("text", False), ("confidence", True), ("WER", True)):
        shown.add_column(name, justify="right" if right else "left", no_wrap=name != "text")
    errors = words = 0
    for result in sorted(results, key=lambda one: one.input.relative):
        if result.error:
            shown.add_row(result.input.shown, "", str(result.error.get("detail", "")), "", "")
            continue
        transcript = Transcript.model_validate_json(result.outputs[FORMATS.index("json")].read_bytes())
        wrong, count = word_errors(references.get(result.input.shown, ""), transcript.text)
        errors, words = errors + wrong, words + count
        confidence = "-" if transcript.confidence is None else f"{transcript.confidence:.2f}"
        wer = f"{100 * wrong / count:.1f} %" if count else "-"
        shown.add_row(result.input.shown, seconds(transcript.duration), _short(transcript.text), confidence, wer)
    if words:
        shown.add_row("all", "", f"{errors} of {words} words wrong", "", f"{100 * errors / words:.1f} %", style="bold")
    return shown


def word_errors(reference: str, text: str) -> tuple[int, int]:
    """Substituted, deleted and inserted words, and the words of the reference."""
    import jiwer

    said, heard = scored_pair(reference, text)
    if not said:
        return 0, 0
    found = jiwer.process_words(said, heard)
    return found.substitutions + found.deletions + found.insertions, len(said.split())


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 3] + "..."


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MiloError as error:
        make_console().print(f"milo: {error.detail}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
