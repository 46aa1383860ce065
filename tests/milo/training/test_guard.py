"""The guard of a registered name: what ships, what a person wrote, what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from milo.cli.models import models
from milo.errors import Invalid, NotFound
from milo.models import registry
from milo.models.files import model_files
from milo.recipes import Data
from milo.settings import Settings
from milo.training import guard
from milo.training.guard import GuardSet, Judged

SET = GuardSet(name="radio", task="whisper", data=Data(source="/data/radio.tsv"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


def test_the_embedded_model_brings_its_guard_and_the_guard_is_no_part_of_the_model(settings: Settings) -> None:
    (shipped,) = guard.read(settings, "milo-tiny-mg").sets
    assert shipped.task == "whisper" and shipped.data.source == "synthetic"
    assert shipped.data.synthetic["words"] == "phrasebook" and shipped.data.synthetic["speakers"] >= 30
    assert guard.read(settings, "milo-tiny-mg@embedded").sets == (shipped,)
    folder = registry.embedded_path("milo-tiny-mg")
    assert folder and guard.GUARD not in {path.name for path in model_files(folder)}


@pytest.mark.parametrize("name", ["nobody", "/data/runs/checkpoint-7", "owner/name"])
def test_a_name_without_a_guard_has_no_sets(settings: Settings, name: str) -> None:
    assert guard.read(settings, name).sets == ()


def test_a_guard_of_the_home_takes_the_place_of_the_one_that_ships(settings: Settings) -> None:
    guard.put(settings, "milo-tiny-mg", (SET,))
    assert guard.read(settings, "milo-tiny-mg").sets == (SET,)
    with pytest.raises(NotFound, match="it has radio"):
        guard.forget(settings, "milo-tiny-mg", "phrasebook")
    guard.forget(settings, "milo-tiny-mg", "radio")
    assert guard.read(settings, "milo-tiny-mg").sets == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ("[]", "not an object"),
        ('{"version": 2}', "version: Input should be 1"),
        ('{"sets": [{"name": "a", "task": "whisper"}]}', "sets.0.data: Field required"),
        ('{"sets": [{"name": "a", "task": "singing", "data": {"source": "a.tsv"}}]}', "sets.0.task"),
    ],
)
def test_a_guard_broken_by_hand_is_an_error_that_names_file_and_field(settings: Settings, text: str, said: str) -> None:
    path = guard.path_of(settings, "ours")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(Invalid) as caught:
        guard.read(settings, "ours")
    assert caught.value.code == "bad_guard" and str(path) in caught.value.detail and said in caught.value.detail


def test_names_are_free(settings: Settings) -> None:
    assert guard.free_name((), "radio") == "radio" and guard.free_name((SET,), "radio") == "radio-2"
    assert json.loads(SET.model_dump_json(exclude_defaults=True)) == {
        "name": "radio",
        "task": "whisper",
        "data": {"source": "/data/radio.tsv"},
    }


def test_the_command_shows_the_sets_and_takes_one_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILO_HOME", str(settings.home))
    last = Judged(version="ab12", verdict="not worse", difference=0.01, upper=0.03, margin=0.04)
    guard.put(settings, "ours", (SET.model_copy(update={"last": last}),))
    shown = CliRunner().invoke(models, ["guard", "ours"])
    assert shown.exit_code == 0 and "radio" in shown.output and "not worse" in shown.output, shown.output
    CliRunner().invoke(models, ["guard", "ours", "--forget", "radio"], catch_exceptions=False)
    assert guard.read(settings, "ours").sets == ()
