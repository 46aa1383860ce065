"""Old data in a new training: how much, which rows, and none that something is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from milo.errors import Invalid
from milo.recipes import Data, Recipe
from milo.settings import Settings
from milo.training import guard
from milo.training.data import leaks
from milo.training.guard import GuardSet
from milo.training.runs import Run
from trainer.autonomy.suite import suite_of
from trainer.check import check
from trainer.data import replay
from trainer.data.load import Dataset, load, load_all

BASE = "milo-tiny-mg"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


def write(folder: Path, name: str, first: int, train: int, test: int, more: Sequence[str] = ()) -> Data:
    """A table of short recordings, each of its own noise; `more`: lines as they are."""
    lines = ["audio\ttext\tspeaker\tsplit"]
    for number in range(first, first + train + test):
        samples = np.random.default_rng(number).standard_normal(6_000) * 0.1
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        split = "train" if number < first + train else "test"
        lines.append(f"{number}.wav\tteny faha {number}\ts{number % 7}\t{split}")
    (folder / name).write_text("\n".join([*lines, *more]) + "\n")
    return Data(source=str(folder / name))


def recipe_of(data: Data, **more: Any) -> Recipe:
    document = {"name": "a", "task": "whisper", "model": BASE, "data": data.model_dump()}
    return Recipe.model_validate(document | {"training": {"max_steps": 1, **more}, "deploy": {"name": "ours"}})


def guarded(settings: Settings, data: Data, name: str = BASE, called: str = "old") -> None:
    guard.put(settings, name, (GuardSet(name=called, task="whisper", data=data),))


def old_of(settings: Settings, recipe: Recipe, run: Run | None = None) -> replay.Old:
    sets = load_all(settings, recipe.data)
    return replay.old_items(settings, recipe, sets["train"], [sets["validation"], sets["test"]], run)


def test_the_share_is_of_the_whole_training_and_of_both_names(settings: Settings, tmp_path: Path) -> None:
    new = write(tmp_path, "new.tsv", 0, 30, 7)
    guarded(settings, write(tmp_path, "old.tsv", 100, 20, 7))
    guarded(settings, write(tmp_path, "older.tsv", 200, 20, 7), "ours", "older")
    recipe = recipe_of(new)
    train = load(settings, new, "train")
    old = old_of(settings, recipe)
    count = round(len(train) * replay.SHARE / (1 - replay.SHARE))
    assert len(old.rows) == count > 5 and set(old.taken) == {"old", "older"}
    assert abs(old.taken["old"] - old.taken["older"]) <= 1
    document = old.document(len(train) + count)
    assert document["rows"] == count and document["share"] == pytest.approx(replay.SHARE, abs=0.02)
    assert [item.id for item in old_of(settings, recipe).rows] == [item.id for item in old.rows], "the same for a seed"
    assert old_of(settings, recipe_of(new, replay=0)).rows == []
    assert len(old_of(settings, recipe_of(new, replay=0.9)).rows) == 38, "all that there are"


def test_what_something_is_judged_by_is_not_replayed(settings: Settings, tmp_path: Path) -> None:
    old = write(tmp_path, "old.tsv", 100, 10, 7)
    guarded(settings, old)
    new = write(tmp_path, "new.tsv", 0, 30, 7, [f"{number}.wav\thafa\ts1\ttest" for number in (100, 101, 102)])
    found = old_of(settings, recipe_of(new, replay=0.9))
    heldout = {f"{number}.wav" for number in (100, 101, 102)}
    assert found.left_out >= 2 and not {item.id.rpartition("/")[2] for item in found.rows} & heldout


def test_held_out_rows_of_a_guard_among_the_training_rows_are_refused(settings: Settings, tmp_path: Path) -> None:
    old = write(tmp_path, "old.tsv", 100, 10, 7)
    guarded(settings, old)
    new = write(tmp_path, "new.tsv", 0, 30, 7, [f"{number}.wav\thafa\ts1\ttrain" for number in range(110, 117)])
    recipe = recipe_of(new)
    mixed = Dataset("train", [*load(settings, new, "train"), *old_of(settings, recipe).rows])
    with pytest.raises(Invalid, match="guard old share their audio with train"):
        leaks.refuse_audio(replay.leaks_of(mixed, old_of(settings, recipe)), recipe.data)
    told = check(settings, recipe)
    assert "guard old" in told.refused and told.replay and told.replay["sets"] == {"old": 9}
    assert "replay: 9 old rows of old" in str(told)


def test_audio_that_a_suite_judges_by_is_refused_in_the_training_of_another_recipe(
    settings: Settings, tmp_path: Path
) -> None:
    guarded(settings, write(tmp_path, "old.tsv", 300, 10, 7))
    judged = recipe_of(write(tmp_path, "judged.tsv", 100, 10, 14))
    suite = suite_of(settings, judged)
    assert len(suite.members) == 14 and suite_of(settings, judged) == suite, "made once"
    new = write(tmp_path, "new.tsv", 0, 30, 7, ["112.wav\thafa\ts1\ttrain", "5.wav\tteny faha 111\tz\ttrain"])
    told = check(settings, recipe_of(new))
    assert f"1 of train share their audio with the suite {suite.key}" in told.refused
    counts = {leak.what: leak.count for leak in told.leaks if "the suite" in leak.splits[0]}
    assert counts["audio"] == 1 and counts["text"] == 1 and counts["speaker"] > 20
    assert not any("the suite" in leak.splits[0] for leak in check(settings, judged).leaks)


def test_a_run_that_has_begun_keeps_its_old_data(settings: Settings, tmp_path: Path) -> None:
    recipe = recipe_of(write(tmp_path, "new.tsv", 0, 10, 7))
    guarded(settings, write(tmp_path, "old.tsv", 100, 10, 7))
    (tmp_path / "run").mkdir()
    run = Run(tmp_path / "run")
    begun = replay.sets_of(settings, recipe, run)
    guarded(settings, recipe.data)
    assert replay.sets_of(settings, recipe, run) == begun and replay.sets_of(settings, recipe) == []


def test_speech_of_another_language_and_data_that_is_gone(settings: Settings, tmp_path: Path) -> None:
    recipe = recipe_of(write(tmp_path, "new.tsv", 0, 10, 7))
    french = write(tmp_path, "old.tsv", 100, 10, 7).model_copy(update={"language": "fr"})
    guarded(settings, french)
    assert old_of(settings, recipe).rows == []
    (tmp_path / "old.tsv").unlink()
    with pytest.raises(Invalid, match=r"the guard set old can't be read: .*--forget old"):
        old_of(settings, recipe)


def test_old_pairs_for_translation(settings: Settings, tmp_path: Path) -> None:
    def pairs(name: str, first: int, count: int) -> Data:
        lines = [f"teny {n}\tmot {n}" for n in range(first, first + count)]
        (tmp_path / name).write_text("\n".join(["mg\tfr", *lines]) + "\n")
        return Data(source=str(tmp_path / name))

    guard.put(settings, BASE, (GuardSet(name="old", task="nllb", data=pairs("old.tsv", 100, 60)),))
    document = {"name": "a", "task": "nllb", "model": BASE, "data": pairs("new.tsv", 0, 60).model_dump()}
    recipe = Recipe.model_validate(document | {"training": {"max_steps": 1, "replay": 0.5}})
    from milo.training.data.pairs import pair_splits

    new = pair_splits(recipe.data).train
    old, told = replay.old_pairs(settings, recipe, new)
    held_out = pair_splits(guard.read(settings, BASE).sets[0].data)
    assert len(old) == min(len(new), len(held_out.train)) and told["sets"] == {"old": len(old)}
    assert not {*old} & {*held_out.validation, *held_out.test}
