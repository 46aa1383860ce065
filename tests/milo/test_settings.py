"""`.env.example` and the settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from milo.cli.env_example import render
from milo.settings import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_the_example_lists_every_setting_with_its_default() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == render(), "run `make example`"
    names = re.findall(r"^#MILO_([A-Z0-9_]+)=", render(), re.MULTILINE)
    assert names == [name.upper() for name in Settings.model_fields]


def test_a_copy_of_the_example_changes_nothing(tmp_path: Path) -> None:
    copy = tmp_path / ".env"
    copy.write_text(EXAMPLE.read_text(encoding="utf-8"))
    assert Settings(_env_file=copy).model_fields_set == set()


def test_the_example_uncommented_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".env"
    copy.write_text(re.sub(r"^#(MILO_\w+=.)", r"\1", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert Settings(_env_file=copy) == Settings(_env_file=None)


def test_home_may_be_written_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILO_HOME", "~/somewhere")
    assert Settings(_env_file=None).home == Path.home() / "somewhere"


def test_an_empty_home_is_the_default_and_not_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILO_HOME", "")
    assert Settings(_env_file=None).home == Path.home() / ".local/share/milo"


@pytest.mark.parametrize(
    ("name", "value"),
    [("lease_s", "0"), ("lease_s", "nan"), ("slice_s", "-1"), ("retention_days", "-1"), ("tts_max_chars", "0")],
)
def test_a_value_that_no_milo_could_work_with_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"MILO_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings(_env_file=None)


def test_a_list_is_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILO_AUDIO_ROOTS", "/a, /b,,")
    assert Settings(_env_file=None).audio_roots == ["/a", "/b"]


def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILO_PORT", "eighty")
    with pytest.raises(ValidationError, match="MILO_PORT"):
        Settings(_env_file=None)
