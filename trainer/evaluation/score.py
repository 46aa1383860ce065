"""What one utterance scores: words and characters against the reference, and what its sound is like.

Counts are jiwer's, of both texts as `milo.training.scoring` compares them. Knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jiwer
import numpy as np

from milo.protocols import Samples
from milo.training.evaluations import INSUFFICIENT
from milo.training.scoring import raw_words, scored_pair
from milo.training.statistics import ratio_interval

FRAME = 400
"""Samples of one frame of 25 ms."""
NOISE_SHARE = 0.1
"""The quietest tenth of the frames is taken for noise."""
MAX_SNR_DB = 60.0


def word_counts(reference: str, text: str, language: str = "mg") -> dict[str, Any]:
    """S, D, I, reference words, and the same for characters, of the normalised texts; `raw_` of the texts as they are.

    A reference without a word gives `ref_words` 0; what was said there stands in `insertions`.
    """
    wanted, given = scored_pair(reference, text, language)
    raw = jiwer.process_words(raw_words(reference), raw_words(text))
    words = jiwer.process_words(wanted, given)
    letters = jiwer.process_characters(wanted, given)
    return {
        "ref_scored": wanted,
        "hyp_scored": given,
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "errors": words.substitutions + words.deletions + words.insertions,
        "ref_words": words.hits + words.substitutions + words.deletions,
        "char_errors": letters.substitutions + letters.deletions + letters.insertions,
        "ref_chars": letters.hits + letters.substitutions + letters.deletions,
        "raw_errors": raw.substitutions + raw.deletions + raw.insertions,
        "raw_ref_words": raw.hits + raw.substitutions + raw.deletions,
    }


def snr_db(audio: Samples) -> float | None:
    """Signal-to-noise ratio in dB, from the energies of frames: the mean of the louder half above the quietest tenth.

    A rough figure that needs no model: speech without any pause comes out too low. None for silence.
    """
    count = len(audio) // FRAME
    if count < 4:
        return None
    energy = np.sort((audio[: count * FRAME].reshape(count, FRAME).astype(np.float64) ** 2).mean(1))
    noise = float(energy[: max(1, round(count * NOISE_SHARE))].mean())
    loud = float(energy[count // 2 :].mean())
    if loud <= 1e-12:
        return None
    signal = max(loud - noise, loud * 1e-3)
    return round(min(MAX_SNR_DB, 10 * float(np.log10(signal / max(noise, 1e-12)))), 2)


COUNTS = (
    *("substitutions", "deletions", "insertions", "errors", "ref_words"),
    *("char_errors", "ref_chars", "raw_errors", "raw_ref_words"),
)
"""Of a row; their sums stand in the report."""


def usable(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that were decoded and whose reference has a word."""
    return [row for row in rows if row.get("ref_words")]


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums of a report. Without one usable row: `insufficient_data`, and no rate at all.

    References without a word are left out of the rates (WER has no meaning there) and counted, with the words that
    the model heard in them.
    """
    scored = usable(rows)
    blank = [row for row in rows if row.get("ref_words") == 0]
    found: dict[str, Any] = {
        "items": len(rows),
        "scored": len(scored),
        "failed_items": sum("error" in row for row in rows),
        "empty_references": len(blank),
        "empty_reference_insertions": sum(row["insertions"] for row in blank),
        "speakers": len({row["speaker"] for row in rows if row.get("speaker") is not None}) or None,
        "audio_s": round(sum(row.get("duration_s") or 0 for row in rows), 3),
    }
    if not scored:
        return {"status": INSUFFICIENT, "metric": "wer", "reason": _why_none(found), "wer": None, "cer": None, **found}
    sums = {name: sum(row[name] for row in scored) for name in COUNTS}
    return {
        "status": "ok",
        "metric": "wer",
        "wer": sums["errors"] / sums["ref_words"],
        "cer": sums["char_errors"] / sums["ref_chars"],
        "raw_wer": sums["raw_errors"] / sums["raw_ref_words"],
        "interval": ratio_interval(scored, "errors", "ref_words"),
        "cer_interval": ratio_interval(scored, "char_errors", "ref_chars"),
        **sums,
        **found,
        "mean_logprob": _mean(scored, "mean_logprob"),
        "loss": _loss(scored),
    }


def _why_none(found: dict[str, Any]) -> str:
    if not found["items"]:
        return "the split is empty"
    parts = [f"{found['failed_items']} could not be decoded", f"{found['empty_references']} have an empty reference"]
    return f"none of {found['items']} items can be scored: {' and '.join(parts)}"


def _mean(rows: Sequence[dict[str, Any]], column: str) -> float | None:
    values = [row[column] for row in rows if row.get(column) is not None]
    return float(np.mean(values)) if values else None


def _loss(rows: Sequence[dict[str, Any]]) -> float | None:
    """Cross-entropy in nats a token, when every row has it."""
    if any(row.get("cross_entropy") is None for row in rows):
        return None
    return float(sum(row["cross_entropy"] for row in rows) / sum(row["tokens"] for row in rows))
