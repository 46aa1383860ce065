"""Evaluation with the real engine and the small model that ships, on a dozen sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest

from milo.errors import EngineError, Invalid
from milo.jobs import Progress
from milo.protocols import DecodeOptions, Transcriber
from milo.recipes import Data, Evaluation
from milo.settings import Settings
from milo.training import evaluations
from milo.training.scoring import SCORING_VERSION, normalise_for_scoring
from tests.trainer.speech_set import write_set
from trainer.evaluation.engines import Engines, own_engines
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.score import snr_db, totals, word_counts

MODEL = "milo-tiny-mg"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One home for the module: the model is converted once."""
    home = tmp_path_factory.mktemp("evaluate")
    return Settings(home=home, device="cpu", cpu_threads=1, batch_windows=4, _env_file=None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Twelve utterances, two with references that are wrong: there are errors to count, however good the model."""
    wrong = ("Tsy izany no voalaza androany.", "Teny hafa.")
    return Data(source=str(write_set(tmp_path_factory.mktemp("set"), 10, extra=wrong)))


def run(steps: Any) -> tuple[list[Progress], dict[str, Any]]:
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


def unusable() -> Engines:
    @contextmanager
    def never(name: str) -> Iterator[Any]:
        raise AssertionError("no engine is needed for this")
        yield

    return Engines(never, never, never)


def counting(settings: Settings, heard: list[int]) -> Engines:
    """The real engines, and how many windows each call was given."""
    own = own_engines(settings)

    @contextmanager
    def transcriber(name: str) -> Iterator[Transcriber]:
        with own.transcriber(name) as engine:
            yield Counted(engine)

    class Counted:
        def __init__(self, engine: Transcriber) -> None:
            self.engine = engine
            self.max_window_s = engine.max_window_s

        def transcribe(self, windows: Any, options: DecodeOptions) -> Any:
            heard.append(len(windows))
            return self.engine.transcribe(windows, options)

    return replace(own, transcriber=transcriber)  # type: ignore[arg-type]


def test_the_report_is_what_jiwer_says_of_the_rows_and_a_second_call_decodes_nothing(
    settings: Settings, data: Data
) -> None:
    seen, report = run(evaluate(settings, MODEL, data))
    assert seen[-1] == Progress(done=12, total=12, unit="items")
    rows = evaluations.find(settings, report["key"]).rows()
    references = [normalise_for_scoring(row["ref"]) for row in rows.values()]
    texts = [normalise_for_scoring(row["hyp"]) for row in rows.values()]
    whole = jiwer.process_words(references, texts)
    assert report["wer"] == pytest.approx(whole.wer) and 0 < report["wer"] < 0.6
    assert report["cer"] == pytest.approx(jiwer.cer(references, texts))
    counts = (whole.substitutions, whole.deletions, whole.insertions)
    assert (report["substitutions"], report["deletions"], report["insertions"]) == counts
    assert report["interval"]["over"] == "speakers" and report["interval"]["units"] == 6
    assert report["interval"]["low"] <= report["wer"] <= report["interval"]["high"]
    assert report["normaliser"] == SCORING_VERSION and report["model"]["label"].startswith("milo-tiny-mg@")
    told = {"id", "speaker", "duration_s", "snr_db", "rate", "ref", "hyp", "ref_words", "mean_logprob", "latency_s"}
    for row in rows.values():
        assert told | {"no_speech_prob", "compression_ratio", "cross_entropy", "tokens"} <= row.keys()
        assert row["mean_logprob"] < 0 and row["latency_s"] > 0 and 0 < row["rate"] < 10 and row["snr_db"] > 0
    seen, again = run(evaluate(settings, MODEL, data, engines=unusable()))
    assert again == report and "items" not in {one.unit for one in seen}


def test_an_evaluation_that_was_cut_short_goes_on_from_its_rows(settings: Settings, data: Data) -> None:
    whole = evaluations.find(settings, run(evaluate(settings, MODEL, data))[1]["key"])
    cut = settings.model_copy(update={"home": settings.home / "cut"})
    steps = evaluate(cut, MODEL, data)
    first = next(one for one in steps if one.unit == "items")
    steps.close()
    assert 0 < first.done < 12
    (folder,) = evaluations.root(cut).iterdir()
    with (folder / "rows.jsonl").open("ab") as file:
        file.write(b'{"id": "torn by a dying worker')
    heard: list[int] = []
    _, report = run(evaluate(cut, MODEL, data, engines=counting(cut, heard)))
    assert sum(heard) == 12 - first.done, "no utterance was heard twice"
    strip = {"latency_s": 0}
    again = {name: row | strip for name, row in evaluations.find(cut, report["key"]).rows().items()}
    assert again == {name: row | strip for name, row in whole.rows().items()}


def test_the_key_follows_the_data_and_the_settings_of_decoding(settings: Settings, data: Data) -> None:
    keys = {
        run(evaluate(settings, MODEL, data, one))[1]["key"]
        for one in (Evaluation(), Evaluation(max_items=3), Evaluation(max_items=3, beam_size=2))
    }
    assert len(keys) == 3


def test_references_without_a_word_are_counted_and_left_out_of_the_rate(settings: Settings, tmp_path: Path) -> None:
    source = write_set(tmp_path / "set", 2, extra=("_ _",))
    _, report = run(evaluate(settings, MODEL, Data(source=str(source))))
    rows = evaluations.find(settings, report["key"]).rows()
    assert (report["items"], report["scored"], report["empty_references"]) == (3, 2, 1)
    assert report["empty_reference_insertions"] == len(normalise_for_scoring(rows["002.wav"]["hyp"]).split()) > 0
    assert report["errors"] == sum(row["errors"] for row in rows.values() if row["id"] != "002.wav")


def test_audio_that_cannot_be_read_is_counted_and_its_row_says_why(settings: Settings, tmp_path: Path) -> None:
    source = write_set(tmp_path / "set", 4)
    (source.parent / "001.wav").write_bytes(b"no audio at all")
    (source.parent / "003.wav").unlink()
    _, report = run(evaluate(settings, MODEL, Data(source=str(source))))
    assert (report["items"], report["scored"], report["failed_items"]) == (4, 2, 2)
    rows = evaluations.find(settings, report["key"]).rows()
    assert "not audio" in rows["001.wav"]["error"] and "003.wav can't be read" in rows["003.wav"]["error"]
    for number in (0, 2):
        (source.parent / f"{number:03}.wav").unlink()
    _, report = run(evaluate(settings, MODEL, Data(source=str(source))))
    assert report["status"] == "insufficient_data" and report["failed_items"] == 4
    assert "4 could not be decoded" in report["reason"]


@pytest.mark.parametrize("problem", ["no words", "nothing is long enough"])
def test_nothing_to_score_is_insufficient_data_and_never_a_rate(
    settings: Settings, tmp_path: Path, problem: str
) -> None:
    source = write_set(tmp_path / "set", 0, extra=("_", "__"))
    data = Data(source=str(source), min_audio_s=0.3 if problem == "no words" else 29)
    _, report = run(evaluate(settings, MODEL, data))
    assert report["status"] == "insufficient_data" and report["wer"] is None and report["cer"] is None
    why = "2 have an empty reference" if problem == "no words" else "2 shorter than 29 s"
    assert why in report["reason"] and json.loads(
        (evaluations.root(settings) / report["key"] / "report.json").read_text()
    )


def test_a_model_whose_numbers_are_not_finite_is_broken_and_not_tried_again(
    settings: Settings, data: Data, tmp_path: Path
) -> None:
    with pytest.raises(EngineError) as caught:
        run(evaluate(settings, str(spoiled(tmp_path, np.nan)), data, Evaluation(max_items=2)))
    assert caught.value.code == "broken_weights" and not caught.value.retryable


def spoiled(folder: Path, value: float) -> Path:
    """milo-tiny-mg with its last normalisation set to a value."""
    import shutil

    from safetensors.numpy import load_file, save_file

    from milo.models.registry import embedded_path

    source = embedded_path(MODEL)
    assert source is not None
    copied = Path(shutil.copytree(source, folder / "spoiled"))
    tensors = load_file(copied / "model.safetensors")
    tensors["model.decoder.layer_norm.weight"] = np.full_like(tensors["model.decoder.layer_norm.weight"], value)
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    return copied


def test_speech_synthesis_has_no_error_rate(settings: Settings, data: Data) -> None:
    with pytest.raises(Invalid):
        run(evaluate(settings, MODEL, data, task="vits"))


# --- the loss ---------------------------------------------------------------------------------------------------------


def test_the_teacher_forced_loss_is_the_one_that_transformers_computes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import WhisperForConditionalGeneration

    from milo.engines.whisper.features import batch_features
    from milo.engines.whisper.hf import load
    from milo.models import registry
    from tests.milo.engines.whisper.whisper_models import make_checkpoint
    from trainer.evaluation.teacher_forcing import cross_entropies

    torch.set_num_threads(1)
    folder = make_checkpoint(tmp_path / "model", d_model=32, lively=True)
    settings = Settings(home=tmp_path / "home", device="cpu", cpu_threads=1, _env_file=None)
    engine = load(settings, registry.resolve(settings, str(folder)))
    rng = np.random.default_rng(1)
    audio = [rng.normal(0, 0.1, size).astype(np.float32) for size in (8_000, 30_000)]
    texts = ["Manao ahoana tompoko.", "Misaotra"]
    found = cross_entropies(engine, audio, texts, "mg")
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    checkpoint = engine.checkpoint
    head = [*checkpoint.start("mg", "transcribe"), checkpoint.no_timestamps]
    for window, text, (total, count) in zip(audio, texts, found, strict=True):
        ways = []
        for lead in ("", " "):
            ids = [*checkpoint.tokenizer.encode(f"{lead}{text}", add_special_tokens=False).ids, checkpoint.eot]
            inputs = torch.tensor([[*head, *ids[:-1]]])
            labels = torch.tensor([[*[-100] * (len(head) - 1), *ids]])
            mel = torch.from_numpy(batch_features([window], 3000, 80))
            with torch.no_grad():
                loss = model(input_features=mel, decoder_input_ids=inputs, labels=labels).loss
            ways.append((float(loss) * len(ids), len(ids)))
        assert (total, count) == (pytest.approx(min(ways)[0], rel=1e-4), min(ways)[1])


# --- one utterance ----------------------------------------------------------------------------------------------------


def test_counts_by_hand() -> None:
    found = word_counts("Tsara ny andro, androany!", "tsara andro androany be")
    assert (found["substitutions"], found["deletions"], found["insertions"]) == (0, 1, 1)
    assert (found["errors"], found["ref_words"], found["char_errors"], found["ref_chars"]) == (2, 4, 6, 23)
    assert word_counts("", "feo be")["insertions"] == 2 and word_counts("", "feo be")["ref_words"] == 0
    assert word_counts("iray roa", "")["deletions"] == 2


def test_sums_are_of_all_words_and_not_the_mean_of_the_rates() -> None:
    rows = [
        {"id": "1", "speaker": None, **word_counts("iray", "roa")},
        {"id": "2", "speaker": None, **word_counts("iray roa telo", "iray roa telo")},
    ]
    assert totals(rows)["wer"] == 0.25 and totals(rows)["interval"] is None, "two utterances give no interval"
    many = [row | {"id": f"{row['id']}-{n}"} for row in rows for n in range(3)]
    assert totals(many)["wer"] == 0.25 and totals(many)["interval"]["over"] == "utterances"


@pytest.mark.parametrize("noise_db", [10, 20, 30])
def test_the_signal_to_noise_ratio_is_near_the_one_that_was_made(noise_db: int) -> None:
    rng = np.random.default_rng(3)
    speech = np.sin(np.arange(32_000) * 0.1).astype(np.float32)
    speech[:8_000] = speech[20_000:24_000] = 0
    noise = rng.normal(0, float(np.sqrt(0.5 / 10 ** (noise_db / 10))), 32_000).astype(np.float32)
    found = snr_db(speech + noise)
    assert found is not None and abs(found - noise_db) < 3
    assert snr_db(np.zeros(32_000, np.float32)) is None and snr_db(speech[:100]) is None
