"""Folders in CTranslate2's format: what they say of themselves, and what is refused before CTranslate2 sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milo import configured
from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.models.alignment_heads import HEADS, known_heads, usable_heads
from milo.models.ct2_whisper import check_folder_whole, generation_config, whisper_config
from milo.models.engines import model_type_of
from milo.settings import Settings
from tests.support.ct2_factory import (
    ALIASES,
    NAMES,
    Array,
    ct2_files,
    model_bin,
    tokenizer_json,
    whisper_variables,
    write_ct2,
)
from tests.support.hub_server import Hub


def test_a_folder_says_what_it_is_in_the_terms_of_transformers(settings: Settings, tmp_path: Path) -> None:
    folder = write_ct2(tmp_path / "base")
    resolved = registry.resolve(settings, str(folder))
    info = registry.describe(resolved, settings)
    assert (model_type_of(folder), info.use, info.dtype) == ("whisper", "stt", "F16")
    assert (info.languages, info.tasks) == (("en", "mg"), ("transcribe", "translate"))
    assert (info.min_window_s, info.pack_window_s, info.max_window_s) == (30, 30, 30)
    assert info.weights_bytes == (folder / "model.bin").stat().st_size
    assert info.parameters == sum(value.size for value in whisper_variables().values() if value.ndim)
    assert generation_config(folder)["suppress_tokens"] == [1, 2]
    assert registry.verify(resolved) == []


def test_a_model_of_turbo_s_sizes_has_128_mels_and_transcribes_only(settings: Settings, tmp_path: Path) -> None:
    folder = write_ct2(tmp_path / "turbo", model_bin=ct2_files(layers=(32, 4), mels=128)["model.bin"])
    config = whisper_config(folder)
    assert (config["encoder_layers"], config["decoder_layers"], config["num_mel_bins"]) == (32, 4, 128)
    assert registry.describe(registry.resolve(settings, str(folder)), settings).tasks == ("transcribe",)


def test_languages_come_from_the_vocabulary_where_there_is_no_tokenizer(settings: Settings, tmp_path: Path) -> None:
    folder = write_ct2(tmp_path / "bare", tokenizer_json=None)
    assert registry.describe(registry.resolve(settings, str(folder)), settings).languages == ("en", "mg")


def test_a_model_of_english_only_has_no_other_language(settings: Settings, tmp_path: Path) -> None:
    weights = model_bin(whisper_variables(vocabulary=51_864))
    folder = write_ct2(tmp_path / "tiny.en", model_bin=weights, vocabulary_txt=None)
    info = registry.describe(registry.resolve(settings, str(folder)), settings)
    assert (info.languages, info.tasks) == (("en",), ("transcribe",))


# --- what is refused --------------------------------------------------------------------------------------------------


def changed(**values: Array | None) -> bytes:
    """A model.bin in which variables (`_` twice for `/`) are others, or missing."""
    variables: dict[str, Any] = {**whisper_variables(), **{k.replace("__", "/"): v for k, v in values.items()}}
    return model_bin({name: value for name, value in variables.items() if value is not None})


def numbers(*shape: int) -> Array:
    return np.zeros(shape, np.float16)


WRONG: list[tuple[bytes, str]] = [
    (model_bin(whisper_variables())[:-200], "is cut off after"),
    (model_bin(whisper_variables())[:40], "is cut off after 40 bytes: copy it again"),
    (model_bin(whisper_variables(), version=9), "number 9; 4 to 6 are known"),
    (model_bin(whisper_variables(), revision=7), "revision 7"),
    (model_bin(whisper_variables(), spec="TransformerSpec"), "a TransformerSpec of CTranslate2"),
    (model_bin(whisper_variables(), ALIASES | {"x": "nothing"}), "x stands for nothing"),
    (model_bin(whisper_variables(), {}), "it has no decoder/projection/weight"),
    (changed(encoder__conv1__weight=None), "it has no encoder/conv1/weight"),
    (changed(encoder__conv1__weight=numbers(8, 0, 3)), r"encoder/conv1/weight has the shape \(8, 0, 3\)"),
    (changed(encoder__conv1__weight=numbers(8, 2000, 3)), "2000 mel bands"),
    (changed(decoder__num_heads=np.int16(3)[...]), "decoder/num_heads is 3"),
    (changed(decoder__num_heads=np.int16(-2)[...]), "decoder/num_heads is -2"),
    (changed(decoder__num_heads=numbers(2, 2)), "decoder/num_heads is no number"),
    (changed(decoder__layer_7__ffn__linear_0__weight=numbers(4, 4)), "layers of its decoder are missing"),
    (changed(decoder__layer_1__attention__linear_1__weight=numbers(8, 8)), r"\(8, 8\), and \(16, 8\) is meant"),
    (changed(encoder__layer_1__ffn__linear_1__weight=np.zeros((8, 32), np.int8)), "is quantized, and its scale"),
    (changed(encoder__layer_norm__gamma=np.zeros(8, np.int8)), "is of the type I8"),
]


@pytest.mark.parametrize(("content", "sentence"), WRONG, ids=[sentence[:24] for _, sentence in WRONG])
def test_weights_that_do_not_fit_together_are_refused_by_their_header(
    content: bytes, sentence: str, settings: Settings, tmp_path: Path
) -> None:
    folder = write_ct2(tmp_path / "bad", model_bin=content)
    with pytest.raises(ModelUnavailable, match=sentence):
        check_folder_whole(folder)
    chosen = settings.model_copy(update={"stt_model": str(folder)})
    (said,) = [one for one in configured.look(chosen) if one.part == "stt"]
    assert said.problem and not said.usable


def test_a_claim_of_more_bytes_than_the_shape_has_is_refused(tmp_path: Path) -> None:
    whole = model_bin({"a": numbers(4)}, {})
    at = whole.index(b"a\0") + 2 + 1 + 4 + 1
    lying = whole[:at] + (2**31).to_bytes(4, "little") + whole[at + 4 :]
    with pytest.raises(ModelUnavailable, match="a has the shape .4,. in F16 and 2147483648 bytes"):
        check_folder_whole(write_ct2(tmp_path / "lying", model_bin=lying))


def test_quantized_weights_pass_with_their_scale(tmp_path: Path) -> None:
    name = "encoder__layer_1__ffn__linear_1__weight"
    content = changed(**{name: np.zeros((8, 32), np.int8), f"{name}_scale": np.ones(8, np.float32)})
    check_folder_whole(write_ct2(tmp_path / "int8", model_bin=content))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"vocabulary_txt": b"a\nb\n"}, "vocabulary of 2 tokens, and its weights know 104"),
        ({"vocabulary_json": json.dumps(NAMES[::-1]).encode()}, "token 0 is '!' in .* and '<.notimestamps.>' in the"),
        ({"tokenizer_json": tokenizer_json([*NAMES, "<|fr|>"])}, "has a token 104, and the weights know 104"),
        ({"vocabulary_txt": None, "vocabulary_json": b"{}"}, "is no list of tokens"),
        ({"vocabulary_txt": None, "vocabulary_json": b"[1"}, "vocabulary.json can't be read"),
    ],
)
def test_a_vocabulary_of_another_model_is_refused(
    files: dict[str, bytes | None], sentence: str, settings: Settings, tmp_path: Path
) -> None:
    folder = write_ct2(tmp_path / "mixed", **files)
    with pytest.raises(ModelUnavailable, match=sentence):
        check_folder_whole(folder)
    assert registry.verify(registry.resolve(settings, str(folder)))


# --- around it --------------------------------------------------------------------------------------------------------


def test_ready_means_ready_for_a_folder_of_ctranslate2(settings: Settings, tmp_path: Path) -> None:
    def problem(folder: Path, **more: Any) -> str | None:
        chosen = settings.model_copy(update={"stt_model": str(folder), **more})
        return next(one.problem for one in configured.look(chosen) if one.part == "stt")

    assert problem(write_ct2(tmp_path / "base")) is None
    assert problem(write_ct2(tmp_path / "bare", tokenizer_json=None)) is None
    said = problem(write_ct2(tmp_path / "naked", tokenizer_json=None, vocabulary_txt=None))
    assert said and "tokenizer.json of naked is missing" in said
    said = problem(tmp_path / "base", stt_engine="transformers")
    assert said and "CTranslate2's format, which only serves" in said


def test_it_is_deployed_listed_verified_and_damage_is_found(settings: Settings, tmp_path: Path) -> None:
    registry.deploy(settings, "ours", write_ct2(tmp_path / "base"))
    (entry,) = [one for one in registry.list_models(settings) if one.name == "ours"]
    resolved = registry.resolve(settings, "ours")
    weights = resolved.path / "model.bin"
    assert entry.weights_bytes == weights.stat().st_size
    assert registry.verify(resolved) == []
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "model.bin has" in registry.verify(resolved)[0]


def test_a_hub_id_like_systran_s_is_pulled_whole(online: Settings, hub: Hub) -> None:
    extra = {"README.md": b"# card", ".gitattributes": b""}
    commit = hub.add("Systran/faster-whisper-base", {**ct2_files(), **extra})
    pulled = registry.ensure(online, "Systran/faster-whisper-base")
    assert (pulled.version, pulled.kind) == (commit[:12], "hub")
    assert {item.name for item in pulled.path.iterdir()} == {*ct2_files(), "README.md", "manifest.json"}
    assert hub.downloads()[0] == ("model.bin", "bytes=0-63")
    assert registry.describe(pulled, online).use == "stt"
    assert registry.verify(pulled) == []
    hub.requests.clear()
    assert registry.ensure(online, "Systran/faster-whisper-base") == pulled and not hub.requests


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_pickle_called_model_bin_is_refused_by_its_first_bytes(online: Settings, hub: Hub, ranges: bool) -> None:
    hub.honour_ranges = ranges
    hub.add("someone/old", {"config.json": b"{}", "model.bin": b"\x80\x02}q\x00." + bytes(10**6)})
    with pytest.raises(Invalid, match="only pickled weights"):
        registry.pull(online, "someone/old")
    assert hub.downloads() == [("model.bin", "bytes=0-63")]


def test_the_repository_of_whisper_cpp_is_told_apart_from_pickles(online: Settings, hub: Hub) -> None:
    hub.add("someone/whisper.cpp", {"ggml-base.bin": b"lmgg" + bytes(100), "README.md": b""})
    with pytest.raises(Invalid, match="ggml-base.bin of someone/whisper.cpp is a model of whisper.cpp"):
        registry.pull(online, "someone/whisper.cpp")


# --- heads of the alignment -------------------------------------------------------------------------------------------


def sizes(layers: tuple[int, int], heads: int, mels: int = 80, vocabulary: int = 51_865) -> dict[str, Any]:
    names = ("encoder_layers", "decoder_layers", "decoder_attention_heads", "num_mel_bins", "vocab_size")
    return {**dict(zip(names, (*layers, heads, mels, vocabulary), strict=True)), "d_model": 64 * heads}


@pytest.mark.parametrize(
    ("config", "name", "expected"),
    [
        (sizes((4, 4), 6), "tiny", "tiny"),
        (sizes((4, 4), 6, vocabulary=51_864), "anything", "tiny.en"),
        (sizes((6, 6), 8), "faster-whisper-base", "base"),
        (sizes((12, 12), 12, vocabulary=51_864), "small.en", "small.en"),
        (sizes((24, 24), 16), "medium", "medium"),
        (sizes((32, 32), 20), "openai/whisper-large", "large-v1"),
        (sizes((32, 32), 20), "Systran/faster-whisper-large-v2", "large-v2"),
        (sizes((32, 32), 20, 128, 51_866), "large-v3", "large-v3"),
        (sizes((32, 4), 20, 128, 51_866), "large-v3-turbo", "large-v3-turbo"),
        (sizes((32, 2), 20, 128, 51_866), "distil-large-v3", None),
        (sizes((4, 4), 6) | {"d_model": 96}, "mine", None),
        (sizes((5, 5), 6), "mine", None),
    ],
)
def test_openai_s_models_are_known_by_their_sizes(config: dict[str, Any], name: str, expected: str | None) -> None:
    assert known_heads(config, name) == (HEADS[expected] if expected else None)


LAST_HALF: Callable[[int, int], list[tuple[int, int]]] = lambda layers, heads: [  # noqa: E731
    (layer, head) for layer in range(layers // 2, layers) for head in range(heads)
]


@pytest.mark.parametrize(
    ("named", "config", "expected"),
    [
        ([[3, 1], [4, 2]], sizes((6, 6), 8), [(3, 1), (4, 2)]),
        (None, sizes((6, 6), 8), list(HEADS["base"])),
        ([[7, 0], [25, 6]], sizes((32, 2), 20, 128), LAST_HALF(2, 20)),
        ([[-1, 0]], sizes((32, 2), 20), LAST_HALF(2, 20)),
        ([["a", 0], 3], sizes((5, 5), 4), LAST_HALF(5, 4)),
        ("heads", sizes((5, 5), 4), LAST_HALF(5, 4)),
        ([], sizes((5, 5), 4), LAST_HALF(5, 4)),
    ],
)
def test_heads_that_the_model_has_not_are_never_used(
    named: object, config: dict[str, Any], expected: list[tuple[int, int]]
) -> None:
    assert usable_heads(named, config, "model") == expected
