"""Suites: what the checkpoints of a recipe are judged by, split once into parts that have no speaker in common.

    watch       is looked at often: at every checkpoint
    calibrate   confidences are fitted there, and nothing is judged
    confirm     is looked at once a deploy, by what was chosen on the others
    guard       the guard sets of the names that the recipe trains from and deploys to (`milo.training.guard`)

`MILO_HOME/suites/<key>.json`, made by `trainer.autonomy.suite` and locked by the hash of its content: a suite that was
changed by hand is refused. It holds hashes and names, neither audio nor texts. One evaluation decodes all parts.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from milo.errors import Invalid
from milo.models.files import write_durably
from milo.recipes import Data, Evaluation, Part, Task
from milo.settings import Settings
from milo.storage.json_lines import Row
from milo.training.data.leaks import EXAMPLES, Leak
from milo.training.scoring import normalise_for_scoring

PartName = Literal["watch", "calibrate", "confirm"]
PARTS: tuple[PartName, ...] = get_args(PartName)


class Member(Part):
    """One utterance, by hashes."""

    id: str
    part: PartName
    audio: str
    """sha256 of the encoded audio that it means."""
    recording: str
    """sha256 of the whole file."""
    text: str
    """sha256 of its text as it is scored."""
    speaker: str | None


class GuardOf(Part):
    name: str
    set: str
    sha256: str | None


class Suite(Part):
    """<key>.json."""

    version: Literal[1] = 1
    key: str
    task: Task
    data: Data
    evaluation: Evaluation
    data_sha256: str
    """Of all utterances, as reports of evaluations have it."""
    made_at: float
    members: tuple[Member, ...]
    guard: tuple[GuardOf, ...] = ()
    why_empty: dict[str, str] = {}
    """Part -> why nobody is in it."""

    def part(self, name: PartName) -> set[str]:
        """The ids of its utterances."""
        return {one.id for one in self.members if one.part == name}

    def rows_of(self, name: PartName, report: Mapping[str, Any], rows: Mapping[str, Row]) -> dict[str, Row]:
        """Of an evaluation of the suite's data, the rows of one part. Raises `Invalid` for other data."""
        found = (report.get("data") or {}).get("sha256")
        if found != self.data_sha256:
            raise Invalid(
                f"the data {self.data.source} are not those that the suite {self.key} was made of (their hash is"
                f" {str(found)[:12]}, and was {self.data_sha256[:12]}). Bring them back, or remove the suite's file",
                code="suite_changed",
            )
        ids = self.part(name)
        return {one: row for one, row in rows.items() if one in ids}


def key_of(task: Task, data: Data, evaluation: Evaluation) -> str:
    """The suite of a recipe: what is judged, not how it is decoded."""
    parts = [task, data.model_dump(mode="json"), evaluation.split, evaluation.max_items]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def text_hash(text: str, language: str) -> str:
    return hashlib.sha256(normalise_for_scoring(text, language).encode()).hexdigest()


# --- kept -------------------------------------------------------------------------------------------------------------


def path_of(settings: Settings, key: str) -> Path:
    return settings.home / "suites" / f"{key}.json"


def keep(settings: Settings, suite: Suite) -> None:
    """Write it, with the hash that locks it."""
    document = suite.model_dump(mode="json")
    path_of(settings, suite.key).parent.mkdir(parents=True, exist_ok=True)
    locked = {"lock": _lock(document), **document}
    write_durably(path_of(settings, suite.key), json.dumps(locked, ensure_ascii=False, indent=1))


def read(settings: Settings, key: str) -> Suite | None:
    """None: it was not made yet. Raises `Invalid` for one that is not as it was written."""
    return _read(path_of(settings, key))


def every(settings: Settings) -> list[Suite]:
    """All suites that were made here."""
    found = (_read(path) for path in sorted((settings.home / "suites").glob("*.json")))
    return [suite for suite in found if suite is not None]


def _read(path: Path) -> Suite | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("lock") != _lock(document):
            raise ValueError("it is not as it was written")
        return Suite.model_validate(document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        why = str(error).splitlines()[0] if not isinstance(error, KeyError) else "it has no lock"
        detail = f"the suite {path} can't be used: {why}. Bring it back, or remove it, and a new one is made"
        raise Invalid(detail, code="suite_changed") from None


def _lock(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def new(
    key: str,
    task: Task,
    data: Data,
    evaluation: Evaluation,
    data_sha256: str,
    members: Iterable[Member],
    guard: Iterable[GuardOf] = (),
    why_empty: Mapping[PartName, str] | None = None,
) -> Suite:
    return Suite(
        key=key,
        task=task,
        data=data,
        evaluation=evaluation,
        data_sha256=data_sha256,
        made_at=time.time(),
        members=tuple(members),
        guard=tuple(guard),
        why_empty={str(name): why for name, why in (why_empty or {}).items()},
    )


# --- leaks ------------------------------------------------------------------------------------------------------------


class Candidate(Part):
    """A row that shall be trained on."""

    id: str
    text: str
    speaker: str | None = None
    audio: tuple[str, ...] = ()
    """sha256 of the audio, of its file, of the recording that it was cut from: whatever is known."""


def leaks(suites: Iterable[Suite], rows: Iterable[Candidate], language: str) -> list[Leak]:
    """What rows for a training share with what is judged by, by audio, text and speaker."""
    candidates = [(row, text_hash(row.text, language)) for row in rows]
    found = []
    for suite in suites:
        audio = {hashed: one.id for one in suite.members for hashed in (one.audio, one.recording) if hashed}
        texts = {one.text: one.id for one in suite.members}
        speakers = {one.speaker: one.id for one in suite.members if one.speaker}
        shared: dict[str, list[tuple[str, str]]] = {"audio": [], "text": [], "speaker": []}
        for row, text in candidates:
            twins = {
                "audio": next((audio[hashed] for hashed in row.audio if hashed in audio), None),
                "text": texts.get(text),
                "speaker": speakers.get(row.speaker or ""),
            }
            for what, twin in twins.items():
                if twin is not None:
                    shared[what].append((twin, row.id))
        splits = (f"the suite {suite.key}", "train")
        for what, pairs in shared.items():
            if pairs:
                such_as = tuple(f"{one} and {other}" for one, other in pairs[:EXAMPLES])
                found.append(Leak(what, splits, len(pairs), such_as))
    return found


def free_of_leaks(suites: Iterable[Suite], rows: Iterable[Candidate], language: str) -> list[Candidate]:
    """The rows that share neither audio, nor text, nor speaker with any suite."""
    known = list(suites)
    return [row for row in rows if not leaks(known, [row], language)]
