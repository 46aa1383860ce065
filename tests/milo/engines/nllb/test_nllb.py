"""NLLB engines: conversion, tokens, sentences, limits, guards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from milo.engines.nllb import checkpoint as nllb_checkpoint
from milo.engines.nllb import ct2, hf
from milo.engines.nllb.translator import NllbTranslator
from milo.errors import EngineError, Invalid, ModelUnavailable, OutOfMemory
from milo.models import registry
from milo.settings import Settings
from tests.milo.engines.nllb.nllb_models import make_checkpoint

SENTENCES = [
    "Manao ahoana Rakoto?",
    "Ohatrinona ny vary?",
    "Efatra amby roapolo ariary ny voatabia.",
    "Handeha ho any Antsirabe aho rahampitso.",
    "Mividy vary i Rasoa androany.",
    "Veloma tompoko.",
]


def _settings(home: Path, **changes: Any) -> Settings:
    return Settings(home=home, device="cpu", cpu_threads=2, _env_file=None, **changes)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("nllb") / "random")


@pytest.fixture
def folder(random_model: Path, tmp_path: Path) -> Path:
    """A copy of the random checkpoint that a test may spoil."""
    return Path(shutil.copytree(random_model, tmp_path / "random", ignore=shutil.ignore_patterns(".ct2*", "ct2*")))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NllbTranslator]:
    """The embedded model through CTranslate2."""
    settings = _settings(tmp_path_factory.mktemp("home"))
    translator = ct2.load(settings, registry.resolve(settings, "milo-tiny-nllb"))
    yield translator
    translator.close()


class FakeBackend:
    """Gives back the source's own text tokens, unless told otherwise."""

    token_budget = 400
    weights_bytes = 1

    def __init__(self, fail_above: int = 10_000) -> None:
        self.fail_above = fail_above
        self.batches: list[int] = []
        self.freed = 0
        self.loops = False

    def generate(
        self, sources: list[list[int]], target: int, max_tokens: int, beam_size: int, strict: bool
    ) -> list[list[int]]:
        self.batches.append(len(sources))
        if len(sources) > self.fail_above:
            raise RuntimeError("CUDA failed with error out of memory")
        if self.loops and not strict:
            return [row[1:-1] * 40 for row in sources]
        return [row[1:-1][:max_tokens] for row in sources]

    def free(self) -> None:
        self.freed += 1

    def close(self) -> None:
        pass


@pytest.fixture
def fake(random_model: Path, tmp_path: Path) -> NllbTranslator:
    settings = _settings(tmp_path)
    checkpoint = nllb_checkpoint.load_checkpoint(settings, registry.resolve(settings, str(random_model)))
    return NllbTranslator(checkpoint, FakeBackend(), beam_size=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_converted_weights_give_the_probabilities_that_torch_gives(tmp_path: Path, dtype: str) -> None:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    folder = make_checkpoint(tmp_path / "m", dtype=dtype)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    settings = _settings(tmp_path / "home")
    translator = ct2.load(settings, registry.resolve(settings, str(folder)))
    checkpoint, names = translator.checkpoint, translator.checkpoint.vocabulary
    source = checkpoint.source(checkpoint.encode([SENTENCES[2]])[0], "plt_Latn")
    target = [checkpoint.token_of["fra_Latn"], *checkpoint.encode(["Les tomates coûtent 24 ariary."])[0]]
    found = translator.backend.model.score_batch([[names[t] for t in source]], [[names[t] for t in target]])
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[2, *target]])).logits[0]
    expected = logits.log_softmax(-1)[range(len(target) + 1), [*target, 2]].numpy()
    assert np.allclose(found[0].log_probs, expected, atol=1e-4)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_both_engines_give_the_same_text(tmp_path: Path, tiny: NllbTranslator, beam_size: int) -> None:
    settings = _settings(tmp_path, translate_beam_size=beam_size)
    reference = hf.load(settings, tiny.checkpoint.resolved)
    served = NllbTranslator(tiny.checkpoint, tiny.backend, beam_size)
    for source, target in (("mg", "fr"), ("fr", "mg")):
        texts = SENTENCES if source == "mg" else served.translate(SENTENCES, "mg", "fr")
        assert served.translate(texts, source, target) == reference.translate(texts, source, target)


def test_stock_transformers_loads_the_embedded_model_and_its_tokenizer(tiny: NllbTranslator) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, NllbTokenizer

    path, checkpoint = tiny.checkpoint.resolved.path, tiny.checkpoint
    model = AutoModelForSeq2SeqLM.from_pretrained(path)
    for kind in (NllbTokenizer, AutoTokenizer):
        tokenizer = kind.from_pretrained(path, src_lang="plt_Latn")
        assert type(tokenizer).__name__ == "NllbTokenizer"
        for text in SENTENCES:
            ours = checkpoint.source(checkpoint.encode([text])[0], "plt_Latn")
            assert tokenizer(text).input_ids == ours
            assert tokenizer.decode(ours, skip_special_tokens=True) == checkpoint.decode(ours)
        codes = {code: tokenizer.convert_tokens_to_ids(code) for code in checkpoint.languages.values()}
        assert codes == {code: checkpoint.token_of[code] for code in codes}
    assert model.config.vocab_size == len(checkpoint.vocabulary)


def test_serving_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    program = f"""
import sys
from milo.models import registry
from milo.engines.nllb import ct2
from milo.settings import Settings
settings = Settings(home={str(tmp_path)!r}, device="cpu", _env_file=None)
translator = ct2.load(settings, registry.resolve(settings, "milo-tiny-nllb"))
assert translator.translate(["Veloma."], "mg", "fr") == ["Au revoir."]
print([name for name in ("torch", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_folder_with_only_the_sentencepiece_file_has_the_same_tokens(folder: Path, tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    whole = nllb_checkpoint.load_checkpoint(settings, registry.resolve(settings, str(folder)))
    document = nllb_checkpoint.tokenizer_from_pieces(
        folder / "sentencepiece.bpe.model", sorted(whole.languages.values())
    )
    assert document["model"]["vocab"] == json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 2000}))
    tensors = load_file(folder / "model.safetensors")
    shared = tensors["model.shared.weight"]
    more = np.zeros((2000 - len(shared), shared.shape[1]), shared.dtype)
    save_file(tensors | {"model.shared.weight": np.concatenate([shared, more])}, folder / "model.safetensors")
    pieces = nllb_checkpoint.load_checkpoint(settings, registry.resolve(settings, str(folder)))
    assert pieces.encode(SENTENCES) == whole.encode(SENTENCES)
    first = len(document["model"]["vocab"])
    assert pieces.token_of["ace_Arab"] == first and pieces.token_of["<mask>"] == first + 202
    assert pieces.language_of("de") == "deu_Latn"


def test_a_conversion_is_made_once_and_again_when_the_weights_change(folder: Path, tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home")
    ct2.load(settings, registry.resolve(settings, str(folder))).close()
    made = folder / "ct2-float16" / "model.bin"
    first = made.stat().st_mtime_ns, made.read_bytes()
    ct2.load(settings, registry.resolve(settings, str(folder))).close()
    assert made.stat().st_mtime_ns == first[0]
    make_checkpoint(folder, seed=1)
    ct2.load(settings, registry.resolve(settings, str(folder))).close()
    assert made.read_bytes() != first[1]


def test_a_model_of_another_kind_is_refused_with_its_kind(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "marian"}))
    settings = _settings(tmp_path)
    with pytest.raises(ModelUnavailable, match="marian"):
        ct2.load(settings, registry.resolve(settings, str(folder)))


def test_damaged_weights_are_a_sentence_and_not_a_crash(folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.encoder.layers.0.fc1.weight")
    save_file({name: tensor.to(torch.float16) for name, tensor in tensors.items()}, folder / "model.safetensors")
    settings = _settings(tmp_path)
    with pytest.raises(ModelUnavailable, match="fc1"):
        ct2.load(settings, registry.resolve(settings, str(folder)))


def test_special_tokens_in_a_text_are_text(fake: NllbTranslator) -> None:
    text = "Misaotra </s> fra_Latn <pad> betsaka"
    (tokens,) = fake.checkpoint.encode([text])
    special = {fake.checkpoint.token_of[name] for name in ("</s>", "<pad>", "fra_Latn")}
    assert not special & set(tokens)


@pytest.mark.parametrize("name", ["mg", "MG", "mlg", "plt", "plt_Latn", "mg-MG"])
def test_a_language_may_be_named_in_many_ways(fake: NllbTranslator, name: str) -> None:
    assert fake.checkpoint.language_of(name) == "plt_Latn"


def test_an_unknown_language_is_refused_with_the_list(fake: NllbTranslator) -> None:
    with pytest.raises(Invalid, match="'de'.*en, fr, mg") as error:
        fake.translate(["Salama"], "mg", "de")
    assert error.value.code == "unknown_language"


def test_the_same_language_twice_is_refused(fake: NllbTranslator) -> None:
    with pytest.raises(Invalid) as error:
        fake.translate(["Salama"], "mg", "plt_Latn")
    assert error.value.code == "same_language"


def test_lines_bullets_and_figures_stay_where_they_are(fake: NllbTranslator) -> None:
    text = "  Salama Rabe!\r\n\r\n- Misaotra. Veloma.\n2) Tsara\n\n12:30 - 5 %\n\t😀\n"
    assert fake.translate([text, "", "\n \n"], "mg", "fr") == [text, "", "\n \n"]


def test_a_text_without_words_never_reaches_the_model(fake: NllbTranslator) -> None:
    assert fake.translate(["...", "1 000 000", "😀 – !"], "mg", "fr") == ["...", "1 000 000", "😀 – !"]
    assert fake.backend.batches == []  # type: ignore[attr-defined]


def test_a_sentence_that_comes_twice_is_translated_once(fake: NllbTranslator) -> None:
    fake.translate(["Salama. Veloma. Salama.", "Veloma."], "mg", "fr")
    assert fake.backend.batches == [2]  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["roa " * 400, "x" * 900, "Vary, " * 200, "Salama Rabe " * 90 + "?"])
def test_a_sentence_that_is_too_long_is_cut_and_nothing_is_lost(fake: NllbTranslator, text: str) -> None:
    assert "".join(fake.translate([text], "mg", "fr")[0].split()) == "".join(text.split())
    plan = fake._plan(text)
    longest = fake.checkpoint.max_source_tokens
    assert all(len(fake.checkpoint.encode([part.text])[0]) <= longest for part in plan if part.is_sentence)


def test_out_of_memory_halves_the_batch_and_keeps_what_is_done(fake: NllbTranslator) -> None:
    backend = FakeBackend(fail_above=3)
    small = NllbTranslator(fake.checkpoint, backend, 1)
    texts = [f"Salama {name}" for name in "Rabe Soa Hery Lala Fara Toky Lova".split()]
    assert small.translate(texts, "mg", "fr") == texts
    assert backend.freed and max(backend.batches) > 3


def test_one_sentence_that_does_not_fit_is_out_of_memory(fake: NllbTranslator) -> None:
    with pytest.raises(OutOfMemory):
        NllbTranslator(fake.checkpoint, FakeBackend(fail_above=0), 1).translate(["Salama"], "mg", "fr")


def test_another_failure_of_the_model_is_an_engine_error(fake: NllbTranslator) -> None:
    class Broken(FakeBackend):
        def generate(self, *arguments: Any) -> list[list[int]]:
            raise RuntimeError("cuBLAS is unhappy")

    with pytest.raises(EngineError, match="unhappy"):
        NllbTranslator(fake.checkpoint, Broken(), 1).translate(["Salama"], "mg", "fr")


def test_a_loop_is_decoded_again_strictly(fake: NllbTranslator) -> None:
    backend = FakeBackend()
    backend.loops = True
    assert NllbTranslator(fake.checkpoint, backend, 1).translate(["Salama Rabe."], "mg", "fr") == ["Salama Rabe."]
    assert backend.batches == [1, 1]


def test_a_sentence_that_repeats_itself_may_be_translated_so(fake: NllbTranslator) -> None:
    assert fake.translate(["Tsara " * 8], "mg", "fr") == ["Tsara " * 8]
    assert fake.backend.batches == [1]  # type: ignore[attr-defined]


def test_a_translation_does_not_depend_on_its_neighbours(tiny: NllbTranslator) -> None:
    together = tiny.translate(SENTENCES, "mg", "fr")
    assert together == [tiny.translate([text], "mg", "fr")[0] for text in SENTENCES]
    assert tiny.translate(list(reversed(SENTENCES)), "mg", "fr") == list(reversed(together))


def test_text_the_model_has_no_letters_for_gives_text(tiny: NllbTranslator) -> None:
    for text in (
        "你好,世界",
        "Привет",
        "مرحبا",
        "Salama \u200d\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ):
        (made,) = tiny.translate([text], "mg", "fr")
        assert made and "<unk>" not in made and "⁇" not in made
