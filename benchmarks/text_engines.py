"""Speech, chat and translation through the whole of Milo against the bare libraries, same weights, one run.

    python -m benchmarks.text_engines [--rounds 30]

Through Milo: an HTTP request to a running stack (row on disk, queue, worker, result). Bare: the library called in this
process with the same text, threads and options. They take turns, request by request; nothing else runs. The budget of
Milo's own cost is a tenth of the bare time and 15 ms. `benchmarks.translation` compares the engine alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import machine, running_stack, save
from milo.engines.speech import espeak
from milo.errors import MiloError
from milo.models import registry
from milo.settings import Settings
from milo.synthesis.normalization import normalize

TEXTS = (
    "Manao ahoana tompoko, tongasoa eto amin'ny tsena.",
    "Misaotra betsaka anao noho ny fanampianao androany.",
    "Aiza no misy ny toeram-piantsonan'ny fiara fitaterana?",
    "Ho avy rahampitso maraina ny zanako vavy.",
)
QUESTIONS = ("What is rain?", "Name three colours.", "Why do birds sing?", "What is bread made of?")
MAX_TOKENS = 48
ROOM_MS = 15.0

Work = Callable[[int], float]
"""Does the request of this number; gives how much it made (seconds of audio, or tokens)."""


def numbered(texts: Sequence[str], number: int) -> str:
    """A text that no cache has seen."""
    return f"{texts[number % len(texts)]} {'tsara ' * (number // len(texts) % 3 + 1)}".strip()


def compare(milo: Work, bare: Work, rounds: int, unit: str) -> dict[str, Any]:
    """Both ways in turn; medians, what was made a second, and the ratio."""
    times: dict[str, list[float]] = {"milo": [], "bare": []}
    made = {"milo": 0.0, "bare": 0.0}
    for number in range(-2, rounds):
        for name, work in (("bare", bare), ("milo", milo)):
            started = time.perf_counter()
            amount = work(number + 2)
            if number >= 0:  # the first two load and warm up
                times[name].append((time.perf_counter() - started) * 1000)
                made[name] += amount
    report: dict[str, Any] = {"requests": rounds}
    for name, row in times.items():
        report[name] = {
            "p50_ms": round(statistics.median(row), 1),
            "p95_ms": round(statistics.quantiles(row, n=20)[18], 1),
            f"{unit}_per_s": round(made[name] * 1000 / sum(row), 2),
        }
    own = statistics.median(row for row in map(float.__sub__, times["milo"], times["bare"]))
    report["own_cost_p50_ms"] = round(own, 1)
    allowed = report["bare"]["p50_ms"] * 1.1 + ROOM_MS
    report["within_budget"] = report["milo"]["p50_ms"] <= allowed
    return report


def speech(client: httpx.Client) -> tuple[Work, Work]:
    """Seconds of audio; their number per second is the inverse of the real-time factor."""

    def milo(number: int) -> float:
        answer = client.post("/api/v1/tts", json={"text": numbered(TEXTS, number), "language": "mg"})
        answer.raise_for_status()
        return float(answer.headers["X-Audio-Duration-S"])

    def bare(number: int) -> float:
        return espeak.synthesize_malagasy(normalize(numbered(TEXTS, number), "mg")).duration_s

    return milo, bare


def chat(client: httpx.Client, settings: Settings) -> tuple[Work, Work]:
    """Tokens of the reply, greedily sampled."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the engine does
    from llama_cpp import Llama

    from milo.models.chat_file import find_model

    cores = os.cpu_count() or 1
    path = str(find_model(settings).path)
    llama = Llama(path, n_ctx=settings.chat_context_tokens, n_threads=cores, n_threads_batch=cores, verbose=False)

    def messages(number: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"{QUESTIONS[number % len(QUESTIONS)]} ({number})"}]

    def milo(number: int) -> float:
        body = {"model": settings.chat_model, "messages": messages(number), "temperature": 0, "max_tokens": MAX_TOKENS}
        answer = client.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        return float(answer.json()["usage"]["completion_tokens"])

    def bare(number: int) -> float:
        made: Any = llama.create_chat_completion(messages(number), temperature=0, max_tokens=MAX_TOKENS)  # type: ignore[arg-type]
        return float(made["usage"]["completion_tokens"])

    return milo, bare


def translate(client: httpx.Client, settings: Settings) -> tuple[Work, Work]:
    """Tokens of the translation, by the model's own tokenizer."""
    from benchmarks import translation
    from milo.engines.nllb import ct2
    from trainer.corpus import phrasebook_pairs

    texts = [pair.texts["mg"] for pair in itertools.islice(phrasebook_pairs.pairs(9, "heldout"), 2000)]
    engine = ct2.load(settings, registry.ensure(settings, settings.translate_model))
    library = translation.bare(engine, "mg", "fr")

    def tokens(text: str) -> float:
        return float(len(engine.checkpoint.encode([text])[0]) + 1)

    def milo(number: int) -> float:
        body = {"text": texts[number % len(texts)], "source": "mg", "target": "fr"}
        answer = client.post("/api/v1/translate", json=body)
        answer.raise_for_status()
        return tokens(answer.json()["translation"])

    def bare(number: int) -> float:
        return tokens(library([texts[number % len(texts)]])[0])

    return milo, bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    report: dict[str, Any] = {"machine": machine(), "budget": f"1.1 x bare + {ROOM_MS:g} ms"}
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder), translate_cache_s=0) as settings:
        headers = {"authorization": f"Bearer {settings.api_key}"}
        with httpx.Client(base_url=settings.url, headers=headers, timeout=120, trust_env=False) as client:
            parts: dict[str, tuple[str, Callable[[], tuple[Work, Work]]]] = {
                "tts": ("audio_s", lambda: speech(client)),
                "chat": ("tokens", lambda: chat(client, settings)),
                "translate": ("tokens", lambda: translate(client, settings)),
            }
            for name, (unit, ways) in parts.items():
                try:
                    milo, bare = ways()
                except MiloError as error:
                    report[name] = {"skipped": error.detail}
                else:
                    report[name] = compare(milo, bare, rounds, unit)
                print(f"{name}: {json.dumps(report[name])}", flush=True)
        for way in ("milo", "bare"):
            report["tts"][way]["real_time_factor"] = round(1 / report["tts"][way]["audio_s_per_s"], 4)
        save("text_engines", report)


if __name__ == "__main__":
    main()
