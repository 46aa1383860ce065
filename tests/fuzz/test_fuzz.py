"""The short form of `python -m tests.fuzz`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milo.audio.sandbox import DecoderProcess
from tests.fuzz.__main__ import BAD, FOUND, try_file
from tests.fuzz.documents import DOCUMENTS, try_document
from tests.fuzz.mutate import EXTREMES, WAYS, Edit, random_edits, seeds, spoil
from tests.fuzz.text import PIECES, check_base64

FILES = seeds()
EDITS = st.builds(
    Edit,
    st.sampled_from(WAYS),
    st.integers(0, 300) | st.integers(0, 10_000),
    st.integers(0, 63),
    st.sampled_from(EXTREMES) | st.integers(0, 2**32 - 1),
)


@pytest.fixture(scope="module")
def process() -> Iterator[DecoderProcess]:
    opened = DecoderProcess(512 * 1024**2, 20)
    yield opened
    opened.close()


def test_every_seed_is_audio_as_it_is(process: DecoderProcess) -> None:
    became = {name: try_file(process, data) for name, data in FILES.items()}
    assert {name: what for name, what in became.items() if what != "audio"} == {"wav_without_samples": "no_samples"}
    assert len(became) >= 12


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(name=st.sampled_from(sorted(FILES)), edits=st.lists(EDITS, min_size=1, max_size=6))
def test_a_spoiled_file_is_audio_or_a_refusal(name: str, edits: list[Edit], process: DecoderProcess) -> None:
    assert try_file(process, spoil(FILES[name], edits)) not in BAD


def test_the_long_form_spoils_the_same_way_each_time() -> None:
    data = FILES["wav_pcm_s16le"]
    one, two = (spoil(data, random_edits(random.Random(7), len(data))) for _ in range(2))
    assert one == two != data


def test_what_was_found_once_stays_mended(process: DecoderProcess) -> None:
    for path in sorted(FOUND.glob("*.json")):
        case = json.loads(path.read_text())
        if case["what"] == "document":
            assert try_document(case["seed"], [Edit(*edit) for edit in case["edits"]])
            continue
        edits = [Edit(*edit) for edit in case["edits"]]
        assert try_file(process, spoil(FILES[case["seed"]], edits)) not in BAD, path.name


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8).map("".join))
def test_base64_is_strict_or_refused(text: str) -> None:
    check_base64(text)


def test_every_document_is_read_as_it_is() -> None:
    assert {name: try_document(name, []) for name in DOCUMENTS} == dict.fromkeys(DOCUMENTS, "read")


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(name=st.sampled_from(sorted(DOCUMENTS)), edits=st.lists(EDITS, min_size=1, max_size=6))
def test_a_spoiled_table_recipe_or_configuration_is_read_or_refused(name: str, edits: list[Edit]) -> None:
    assert try_document(name, edits)
