"""The gates of a deploy, with the real engine and copies of the small model that ships, good and spoiled ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from milo.errors import Conflict, ModelUnavailable
from milo.models import registry, store
from milo.models.registry import embedded_path
from milo.recipes import Data
from milo.settings import Settings
from milo.training import evaluations, guard
from milo.training.guard import GuardSet
from tests.support.servers import ROOT
from tests.trainer.speech_set import write_set
from trainer.deploy.candidate import make_candidate
from trainer.deploy.gated import Candidate, gated_deploy
from trainer.deploy.smoke import Refused
from trainer.evaluation.engines import Engines, own_engines
from trainer.evaluation.evaluate import evaluate

BASE = "milo-tiny-mg"
NAME = "ours"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(source=str(write_set(tmp_path_factory.mktemp("set"))))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", device="cpu", cpu_threads=1, _env_file=None)


@pytest.fixture
def engines(settings: Settings) -> Engines:
    return own_engines(settings)


def copy_of_base(folder: Path, change: Any = None, only_weights: bool = False) -> Path:
    """The shipped model; `change` gets its tensors and a random generator. As a trainer saves it: `only_weights`."""
    source = embedded_path(BASE)
    assert source is not None
    folder.mkdir(parents=True)
    kept = ("config.json", "model.safetensors", "generation_config.json")
    for path in source.iterdir():
        if not only_weights or path.name in kept:
            shutil.copyfile(path, folder / path.name)
    if change:
        tensors = load_file(folder / "model.safetensors")
        change(tensors, np.random.default_rng(1))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def scramble(tensors: dict[str, Any], rng: np.random.Generator) -> None:
    """Every matrix has the numbers it had, in another order."""
    for name, tensor in tensors.items():
        if tensor.ndim > 1:
            tensors[name] = rng.permutation(tensor.ravel()).reshape(tensor.shape)


def nudge(tensors: dict[str, Any], rng: np.random.Generator) -> None:
    """What a step of training may do."""
    for name, tensor in tensors.items():
        tensors[name] = (tensor + rng.normal(0, 1e-4, tensor.shape)).astype(tensor.dtype)


def deafen(tensors: dict[str, Any], rng: np.random.Generator) -> None:
    """Still speech to text, and far worse at it."""
    for name, tensor in tensors.items():
        if name.endswith("weight") and tensor.ndim > 1:
            noise = rng.normal(0, 0.4 * tensor.astype(np.float32).std(), tensor.shape)
            tensors[name] = (tensor + noise).astype(tensor.dtype)


def deploy(settings: Settings, engines: Engines, folder: Path, data: Data | None) -> dict[str, Any]:
    steps = gated_deploy(settings, Candidate(folder, NAME, "whisper", data=data), engines)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: dict[str, Any] = end.value
            return result


def text_of(settings: Settings, engines: Engines, name: str) -> str:
    from trainer.deploy.smoke import smoke_speech, spoken_samples

    return smoke_speech(engines, name, spoken_samples("mg"), "mg")[0]


def test_good_weights_pass_the_gates_serve_and_are_rolled_back(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path
) -> None:
    first = deploy(settings, engines, copy_of_base(tmp_path / "one"), None)
    assert first["deployed"] and first["before"] is None and first["comparison"]["verdict"] == "not compared"
    second = deploy(settings, engines, copy_of_base(tmp_path / "two", nudge), data)
    assert second["before"] == first["version"] != second["version"]
    assert second["comparison"]["verdict"] == "no difference" and second["comparison"]["items"] == 12
    assert registry.resolve(settings, NAME).version == second["version"] and len(second["smoke"]) == 8
    assert text_of(settings, engines, NAME)
    assert registry.rollback(settings, NAME) == first["version"]
    assert text_of(settings, engines, NAME)


@pytest.mark.parametrize("judged", [True, False], ids=["judged on data", "only tried out"])
def test_scrambled_weights_are_refused_and_what_serves_goes_on_serving(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path, judged: bool
) -> None:
    good = registry.deploy(settings, NAME, copy_of_base(tmp_path / "good"))
    with pytest.raises(Refused):
        deploy(settings, engines, copy_of_base(tmp_path / "bad", scramble), data if judged else None)
    assert registry.serving(settings, NAME) == good and len(registry.list_models(settings)[-1].versions) == 1
    assert text_of(settings, engines, NAME)


def test_scrambled_weights_are_refused_where_nothing_serves_yet(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path
) -> None:
    with pytest.raises(Refused):
        deploy(settings, engines, copy_of_base(tmp_path / "bad", scramble), data)
    assert registry.serving(settings, NAME) == ""


def test_a_model_that_works_and_is_worse_is_refused_with_the_difference(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path
) -> None:
    registry.deploy(settings, NAME, copy_of_base(tmp_path / "good"))
    with pytest.raises(Refused) as caught:
        deploy(settings, engines, copy_of_base(tmp_path / "worse", deafen), data)
    assert "worse than what ours serves" in caught.value.detail and "95 %" in caught.value.detail


# --- the guard set ----------------------------------------------------------------------------------------------------


def guarded(settings: Settings, data: Data, name: str = "known") -> None:
    guard.put(settings, NAME, (GuardSet(name=name, task="whisper", data=data),))


def as_heard(settings: Settings, engines: Engines, model: Path, data: Data) -> Data:
    """The same recordings, with what this model hears as their texts: new data that it alone is good at."""
    steps = evaluate(settings, str(model), data, engines=engines)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            rows = evaluations.find(settings, end.value["key"]).rows()
            break
    lines = [json.loads(line) for line in Path(data.source).read_text().splitlines()]
    heard = {Path(str(one["id"])).name: one["hyp"] for one in rows.values()}
    new = [one | {"text": heard[one["audio"]] or "teny"} for one in lines]
    table = Path(data.source).with_name("as-heard.jsonl")
    table.write_text("".join(json.dumps(one) + "\n" for one in new))
    return Data(source=str(table))


def test_a_training_that_learned_and_forgot_is_refused_by_the_guard_which_names_set_and_margin(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path
) -> None:
    good = registry.deploy(settings, NAME, copy_of_base(tmp_path / "good"))
    forgot = copy_of_base(tmp_path / "forgot", deafen)
    new = as_heard(settings, engines, forgot, data)
    guarded(settings, data)
    with pytest.raises(Refused) as caught:
        deploy(settings, engines, forgot, new)
    for said in ("forgotten", "on the guard set known: +", "12 items of 6 speakers", "the margin is 4.0%", "replay"):
        assert said in caught.value.detail
    (one,) = caught.value.found["guard"]["sets"]
    assert one["verdict"] == "worse" and one["difference"] > 0.02 and registry.serving(settings, NAME) == good
    guard.put(settings, NAME, ())
    assert deploy(settings, engines, forgot, new)["comparison"]["verdict"] == "better", "its own data saw nothing"


def test_one_that_kept_what_it_knew_passes_and_its_data_joins_the_guard(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path
) -> None:
    registry.deploy(settings, NAME, copy_of_base(tmp_path / "one"))
    other = Data(source=str(write_set(tmp_path / "other", seed=9)))
    guarded(settings, other)
    done = deploy(settings, engines, copy_of_base(tmp_path / "two", nudge), data)
    assert done["guard"]["verdict"] == "not worse" and done["guard"]["added"] == "set.jsonl"
    known, new = guard.read(settings, NAME).sets
    assert known.last and known.last.version == done["version"] and known.last.verdict == "not worse"
    assert new.data == data and new.added_by == done["version"] and new.sha256
    again = deploy(settings, engines, copy_of_base(tmp_path / "three"), data)
    assert [one["name"] for one in again["guard"]["sets"]] == ["known"], "its own data is compared once"
    assert not again["guard"]["added"] and len(guard.read(settings, NAME).sets) == 2


def test_no_guard_is_a_warning_and_data_that_is_gone_a_refusal(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = copy_of_base(tmp_path / "good")
    registry.deploy(settings, NAME, good)
    done = deploy(settings, engines, good, data)
    assert done["guard"]["verdict"] == "not guarded" and "no guard set yet" in done["guard"]["reason"]
    assert f"{NAME} is deployed unguarded" in caplog.text
    guarded(settings, Data(source=str(tmp_path / "gone.jsonl")))
    with pytest.raises(Refused, match=f"guard set known of {NAME} can't be read.*--forget known"):
        deploy(settings, engines, good, data)


def test_a_guard_set_below_the_floor_lets_nothing_through(
    settings: Settings, engines: Engines, data: Data, tmp_path: Path
) -> None:
    good = copy_of_base(tmp_path / "good")
    registry.deploy(settings, NAME, good)
    guarded(settings, data.model_copy(update={"limit": 4}))
    with pytest.raises(Refused, match="on the guard set known: there is too little data for a verdict") as caught:
        deploy(settings, engines, good, data)
    assert caught.value.found["guard"]["sets"][0]["verdict"] == "insufficient_data"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(
    settings: Settings, engines: Engines, tmp_path: Path, value: float
) -> None:
    def spoil(tensors: dict[str, Any], rng: np.random.Generator) -> None:
        tensors["model.encoder.layer_norm.weight"][:] = value

    with pytest.raises(Refused):
        deploy(settings, engines, copy_of_base(tmp_path / "bad", spoil), None)


def test_a_model_that_somebody_else_deployed_meanwhile_is_not_replaced_unseen(
    settings: Settings, tmp_path: Path
) -> None:
    one = registry.deploy(settings, NAME, copy_of_base(tmp_path / "one"))
    registry.deploy(settings, NAME, copy_of_base(tmp_path / "two", nudge))
    with pytest.raises(Conflict) as caught:
        registry.activate(settings, NAME, registry.stage(settings, NAME, copy_of_base(tmp_path / "three")), over=one)
    assert caught.value.code == "serving_changed" and registry.serving(settings, NAME) != one


def test_a_version_that_does_not_answer_is_taken_back(settings: Settings, tmp_path: Path) -> None:
    one = registry.deploy(settings, NAME, copy_of_base(tmp_path / "one"))
    assert registry.withdraw(settings, NAME, one) == "" == registry.serving(settings, NAME)
    two = registry.deploy(settings, NAME, copy_of_base(tmp_path / "two", nudge))
    three = registry.deploy(settings, NAME, copy_of_base(tmp_path / "three"))
    assert registry.withdraw(settings, NAME, three) == two
    assert registry.withdraw(settings, NAME, three) == two, "only the one that serves is taken back"


# --- killed -----------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from milo.models import registry
from milo.settings import Settings

settings = Settings(home=Path(sys.argv[1]), _env_file=None)
left = [0]

def dies(real):
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

for name in ("fsync", "rename", "replace", "mkdir"):
    setattr(os, name, dies(getattr(os, name)))
for point in range(200):
    child = os.fork()
    if not child:
        left[0] = point
        registry.deploy(settings, "ours", Path(sys.argv[2]))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    resolved = registry.resolve(settings, "ours")
    assert not registry.verify(resolved), registry.verify(resolved)
    print(resolved.version, os.WIFSIGNALED(status), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


def test_killed_at_any_point_of_a_deploy_what_current_names_is_whole(settings: Settings, tmp_path: Path) -> None:
    old = registry.deploy(settings, NAME, copy_of_base(tmp_path / "old", only_weights=True))
    new = copy_of_base(tmp_path / "new", nudge, only_weights=True)
    command = [sys.executable, "-c", KILLED, str(settings.home), str(new)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    killed = [version for version, dead in lines if dead == "True"]
    assert len(killed) >= 10, "it was killed at every system call that writes"
    assert set(killed) >= {old} and lines[-1][1] == "False" and lines[-1][0] == registry.serving(settings, NAME) != old
    left = [item.name for item in store.home_of(settings, NAME).iterdir() if item.name.startswith(".staging")]
    assert not left, "the next deploy swept up what the killed ones left"


# --- from a checkpoint to a folder that can serve ---------------------------------------------------------------------


def test_a_checkpoint_gets_what_it_lacks_from_its_base(settings: Settings, tmp_path: Path) -> None:
    checkpoint = copy_of_base(tmp_path / "run" / "checkpoint-7", only_weights=True)
    config = json.loads((checkpoint / "config.json").read_text())
    del config["milo"]
    (checkpoint / "config.json").write_text(json.dumps(config | {"use_cache": False}))
    (checkpoint / "generation_config.json").write_text(json.dumps({"suppress_tokens": [1], "max_length": 100}))
    (checkpoint / "optimizer.pt").write_bytes(b"not to be served")
    (checkpoint / "trainer_state.json").write_text("{}")
    folder = make_candidate(settings, checkpoint, BASE, tmp_path / "made")
    names = {path.name for path in folder.iterdir()}
    assert {"tokenizer.json", "preprocessor_config.json", "config.json", "model.safetensors"} <= names
    assert not names & {"optimizer.pt", "trainer_state.json", "wer.json", "README.md"}
    made = json.loads((folder / "config.json").read_text())
    assert made["milo"] == {"min_window_s": 1.0, "pack_window_s": 3.0, "tasks": ["transcribe"]} and made["use_cache"]
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["suppress_tokens"] == [1] and generation["lang_to_id"]["<|mg|>"]
    before = registry.content_sha256(registry.resolve(settings, str(folder)))
    shutil.rmtree(folder)
    again = make_candidate(settings, checkpoint, BASE, tmp_path / "made")
    assert registry.content_sha256(registry.resolve(settings, str(again))) == before, "made twice, the same model"


def test_a_checkpoint_that_changed_is_made_again_and_one_that_did_not_is_not(
    settings: Settings, tmp_path: Path
) -> None:
    checkpoint = copy_of_base(tmp_path / "checkpoint-1", only_weights=True)
    folder = make_candidate(settings, checkpoint, BASE, tmp_path / "made")
    inode = (folder / "model.safetensors").stat().st_ino
    assert make_candidate(settings, checkpoint, BASE, folder) == folder
    assert (folder / "model.safetensors").stat().st_ino == inode
    shutil.rmtree(checkpoint)
    copy_of_base(checkpoint, nudge, only_weights=True)
    make_candidate(settings, checkpoint, BASE, folder)
    assert (folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()


def test_no_checkpoint_is_said_plainly(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        make_candidate(settings, tmp_path / "checkpoint-1", BASE, tmp_path / "made")


def test_adapters_are_merged_and_weights_halved(settings: Settings, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from peft import LoraConfig, get_peft_model
    from transformers import WhisperForConditionalGeneration

    from tests.milo.engines.whisper.whisper_models import make_checkpoint

    torch.set_num_threads(1)
    torch.manual_seed(0)
    base = make_checkpoint(tmp_path / "base", d_model=32)
    model = WhisperForConditionalGeneration.from_pretrained(base)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    wrapped = get_peft_model(model, config).eval()
    wrapped.save_pretrained(tmp_path / "checkpoint-3")
    mel, tokens = torch.randn(1, 80, 3000), torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        wanted = wrapped(input_features=mel, decoder_input_ids=tokens).logits
    folder = make_candidate(settings, tmp_path / "checkpoint-3", str(base), tmp_path / "made")
    merged = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():
        found = merged(input_features=mel, decoder_input_ids=tokens).logits
        plain = WhisperForConditionalGeneration.from_pretrained(base).eval()
        unmerged = plain(input_features=mel, decoder_input_ids=tokens).logits
    assert torch.allclose(found, wanted, atol=1e-4) and not torch.allclose(unmerged, wanted, atol=1e-2)
    assert (folder / "tokenizer.json").is_file()
    small = make_candidate(settings, tmp_path / "checkpoint-3", str(base), tmp_path / "small", half=True)
    assert registry.describe(registry.resolve(settings, str(small))).dtype == "F16"
