"""`python -m tests.fuzz --minutes 10 [--seed N]`: spoiled files through the decoder's own process, spoiled
tables, recipes and configurations through their readers, and base64.

It counts what became of them, and fails when the decoder crashed or hung, when an answer was not one of Milo's errors,
or when a process grew. What crashed is kept under `found/`, with its name and edits.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import json
import random
import sys
import time
from pathlib import Path

import psutil

from milo.audio.sandbox import DecoderProcess
from milo.errors import EngineError, MiloError
from tests.fuzz.documents import random_document, try_document
from tests.fuzz.mutate import Edit, random_edits, seeds, spoil
from tests.fuzz.text import check_base64, random_text

FOUND = Path(__file__).parent / "found"
MAX_S = 600
DOCUMENTS_A_FILE = 4
SLOW_S = 20.0
GROWTH_BYTES = 24 * 1024**2
BAD = ("decoder_crashed", "decode_limit", "decoder_lost", "internal_error", "unreadable")


def try_file(process: DecoderProcess, data: bytes) -> str:
    """`audio`, or the code of the error."""
    try:
        samples = sum(map(len, process.stream(io.BytesIO(data), max_s=MAX_S)))
    except MiloError as error:
        if isinstance(error, EngineError):
            sys.stderr.write(f"{error.code}: {error.detail}\n")
        return error.code
    assert samples <= (MAX_S + 1) * 16_000
    return "audio"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args()
    source, files = random.Random(asked.seed), seeds()
    process, counts, texts = DecoderProcess(512 * 1024**2, 20), collections.Counter[str](), collections.Counter[str]()
    end, slowest, marks = time.monotonic() + asked.minutes * 60, 0.0, []
    while time.monotonic() < end:
        name = source.choice(list(files))
        edits = random_edits(source, len(files[name]))
        began = time.monotonic()
        what = try_file(process, spoil(files[name], edits))
        took_s = time.monotonic() - began
        slowest = max(slowest, took_s)
        counts[what] += 1
        if what in BAD or took_s > SLOW_S:
            keep(what if what in BAD else "slow", name, edits)
        check_base64(random_text(source))
        for _ in range(DOCUMENTS_A_FILE):
            document, changes = random_document(source)
            try:
                texts[try_document(document, changes)] += 1
            except Exception:
                keep("document", document, changes)
                raise
        if sum(counts.values()) % 200 == 0:
            marks.append(sum(psutil.Process(pid).memory_info().rss for pid in (process.pid, None)))
    process.close()
    grown = marks[-1] - marks[len(marks) // 4] if len(marks) > 4 else 0
    bad = sum(counts[code] for code in BAD)
    report = {"seed": asked.seed, "files": sum(counts.values()), "bad": bad, "slowest_s": round(slowest, 2)}
    sys.stdout.write(
        json.dumps(
            report
            | {"grown_bytes": grown, "became": dict(counts.most_common()), "documents": dict(texts.most_common())},
            indent=1,
        )
        + "\n"
    )
    return int(bad > 0 or grown > GROWTH_BYTES or slowest > SLOW_S)


def keep(what: str, name: str, edits: list[Edit]) -> None:
    """Write down how to make the file again."""
    FOUND.mkdir(exist_ok=True)
    text = json.dumps({"what": what, "seed": name, "edits": edits})
    (FOUND / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json").write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
