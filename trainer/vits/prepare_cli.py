"""`milo tts-data`. Not in `milo.cli`: it runs here, without a server, and `milo` knows no trainer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milo.cli.common import json_option, load_settings, print_json, print_table

if TYPE_CHECKING:
    from trainer.vits.prepare import Report


RANGE = "FEWEST-MOST"


def _range(text: str) -> tuple[float, float]:
    """`80-150`."""
    low, _, high = text.partition("-")
    try:
        return float(low), float(high)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no range; write it as 2-15") from None


@click.command("tts-data")
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A new folder.")
@click.option("--speaker", metavar="ID", help="Default: the best one, and the report says why.")
@click.option("--clips", type=_range, metavar=RANGE, default="80-150", show_default=True, help="How many clips.")
@click.option(
    "--length", type=_range, metavar=RANGE, default="2-15", show_default=True, help="Seconds of a clip, trimmed."
)
@click.option("--model", help="Whose sample rate and alphabet hold. Default: facebook/mms-tts-mlg, if it is here.")
@click.option("--language", default="mg", show_default=True, help="Language of the texts.")
@click.option("--split", default="train", show_default=True, help="Split of the set.")
@click.option("--config", help="Configuration of a hub data set.")
@click.option("--audio-column", default="audio", show_default=True)
@click.option("--text-column", default="text", show_default=True)
@click.option("--speaker-column", default="speaker", show_default=True)
@json_option
def tts_data(source: str, out: Path, as_json: bool, **chosen: Any) -> int:
    """Prepare recordings of one speaker for fine-tuning a voice.

    SOURCE is a hub id, a folder, or a .jsonl, .csv, .tsv or .parquet file. Exit code 1 when there are fewer clips than
    wanted; they are written all the same.
    """
    from milo.recipes import Columns, Data, Splits
    from trainer.vits.prepare import Options, prepare

    settings = load_settings()
    columns = Columns(audio=chosen["audio_column"], text=chosen["text_column"], speaker=chosen["speaker_column"])
    data = Data(
        source=source,
        config=chosen["config"],
        columns=columns,
        splits=Splits(train=chosen["split"]),
        language=chosen["language"],
        max_audio_s=max(30.0, 2 * chosen["length"][1]),
    )
    fewest, most = chosen["clips"]
    options = Options(
        model=chosen["model"],
        speaker=chosen["speaker"],
        clips=(int(fewest), int(most)),
        length_s=chosen["length"],
        number_order=settings.number_order,
    )
    report = prepare(settings, data, out, options, _show_progress if sys.stderr.isatty() else None)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report, out)
    return 1 if report.clips < options.clips[0] else 0


def _show_progress(what: str, done: int, total: int) -> None:
    click.echo(f"\r{what}: {done} of {total}\033[K", nl=done == total, err=True)


def _show(report: Report, out: Path) -> None:
    rows = [
        (s.id, s.clips, s.minutes, s.usable_clips, s.usable_minutes, s.snr_db, s.rate_chars_per_s)
        for s in report.speakers[:20]
    ]
    print_table(("speaker", "clips", "minutes", "usable", "minutes", "snr db", "chars/s"), rows)
    click.echo(f"\n{report.speaker}: {report.why}.")
    click.echo(f"{report.clips} clips, {report.minutes:g} min, {report.mean_snr_db} dB SNR, in {out}")
    for reason, count in report.dropped.items():
        click.echo(f"left out: {count} {reason}")
    if report.outside_alphabet:
        counts = ", ".join(f"{char} ({count})" for char, count in report.outside_alphabet.items())
        click.echo(f"outside the model's alphabet, in so many clips: {counts}")
    for warning in report.warnings:
        click.echo(f"warning: {warning}")
