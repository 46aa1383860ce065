"""The model registry: what a name means, versions, the pointer, and pulling from a hub."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from milo.errors import Conflict, Forbidden, Invalid, ModelUnavailable, NotFound, Unauthorized, Unavailable
from milo.models import registry, store
from milo.models.describe import describe
from milo.models.store import ResolvedModel
from milo.settings import Settings
from tests.support.hub_server import Hub

WEIGHTS = {"model.encoder.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(5, np.float32)}
CONFIG: dict[str, Any] = {"model_type": "whisper", "max_source_positions": 1500, "vocab_size": 2600}
GENERATION = {
    "is_multilingual": True,
    "lang_to_id": {"<|mg|>": 3, "<|fr|>": 4},
    "task_to_id": {"transcribe": 5},
}


def small_files(seed: int = 0, **config: Any) -> dict[str, bytes]:
    return {
        "config.json": json.dumps({**CONFIG, **config}).encode(),
        "generation_config.json": json.dumps(GENERATION).encode(),
        "tokenizer.json": b'{"added_tokens": []}',
        "model.safetensors": save({**WEIGHTS, "bias": np.full(5, seed, np.float32)}),
    }


def write_model(folder: Path, seed: int = 0, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in small_files(seed, **config).items():
        (folder / name).write_bytes(content)
    return folder


# --- names ---


def test_a_folder_is_a_model_whose_version_follows_its_files(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "checkpoint-7000")
    first = registry.resolve(settings, str(folder))
    assert (first.name, first.kind, first.sha256) == ("checkpoint-7000", "folder", None)
    assert first == registry.resolve(settings, str(folder))
    write_model(folder, seed=1)
    assert registry.resolve(settings, str(folder)).version != first.version


def test_an_overwritten_folder_has_another_content_hash(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    first = registry.content_sha256(registry.resolve(settings, str(folder)))
    write_model(folder, seed=2)
    assert registry.content_sha256(registry.resolve(settings, str(folder))) != first


def test_a_missing_folder_names_the_part_that_is_missing_and_the_near_name(settings: Settings, tmp_path: Path) -> None:
    write_model(tmp_path / "Runs" / "checkpoint-7000")
    with pytest.raises(ModelUnavailable, match="has no runs. Did you mean Runs?"):
        registry.resolve(settings, str(tmp_path / "runs" / "checkpoint-7000"))
    with pytest.raises(ModelUnavailable, match="Did you mean checkpoint-7000?"):
        registry.resolve(settings, str(tmp_path / "Runs" / "checkpoint-700"))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"config.json": b"{}"}, "model.safetensors is missing"),
        ({"config.json": b"{}", "pytorch_model.bin": b""}, "never loads pickled weights"),
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b""}, "LoRA adapter"),
        ({"model.safetensors": b""}, "no config.json"),
    ],
)
def test_a_folder_that_is_no_model_says_why(
    settings: Settings, tmp_path: Path, files: dict[str, bytes], sentence: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=sentence):
        registry.resolve(settings, str(tmp_path))


def test_a_training_run_names_its_checkpoints(settings: Settings, tmp_path: Path) -> None:
    write_model(tmp_path / "run" / "checkpoint-20")
    with pytest.raises(ModelUnavailable, match="name one of its checkpoints: checkpoint-20"):
        registry.resolve(settings, str(tmp_path / "run"))


def test_a_shard_that_is_missing_is_named(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelUnavailable, match="model-00002-of-00002.safetensors of its weights is missing"):
        registry.resolve(settings, str(folder))


@pytest.mark.parametrize(
    "name", ["", "  ", "a b", "x/../../etc", "ünïcode", "a" * 300, "/" + "a" * 5000, ".hidden", "nul\0"]
)
def test_what_can_not_be_a_name_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises((Invalid, ModelUnavailable)):
        registry.resolve(settings, name)


def test_an_unknown_name_suggests_a_near_one(settings: Settings, tmp_path: Path) -> None:
    registry.deploy(settings, "malagasy", write_model(tmp_path / "m"))
    with pytest.raises(ModelUnavailable, match="Did you mean malagasy?"):
        registry.resolve(settings, "malagassy")


def test_a_hub_id_that_is_not_here_says_how_to_get_it(settings: Settings) -> None:
    with pytest.raises(ModelUnavailable, match="`milo models pull nobody/nothing` fetches it"):
        registry.resolve(settings, "nobody/nothing")


def test_a_snapshot_in_the_hub_cache_is_found_by_branch_and_by_commit(online: Settings, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hf" / "models--someone--small"
    write_model(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for name in ("someone/small", f"someone/small@{commit}", "someone/small@0123456"):
        found = registry.resolve(online, name)
        assert (found.name, found.version, found.kind) == ("someone/small", commit[:12], "hub")


# --- description ---


def test_a_stock_whisper_takes_30_seconds_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    info = registry.describe(registry.resolve(settings, str(write_model(tmp_path / "m"))))
    assert (info.min_window_s, info.pack_window_s, info.max_window_s) == (30, 30, 30)
    assert (info.languages, info.tasks) == (("fr", "mg"), ("transcribe",))
    assert (info.parameters, info.dtype) == (17, "F32")


def test_a_model_for_short_windows_says_so_in_its_config(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", milo={"min_window_s": 1.0, "pack_window_s": 12})
    info = registry.describe(registry.resolve(settings, str(folder)))
    assert (info.min_window_s, info.pack_window_s, info.max_window_s) == (1, 12, 30)


def test_nonsense_window_lengths_are_ignored(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", milo={"min_window_s": -3, "pack_window_s": "long"})
    info = registry.describe(registry.resolve(settings, str(folder)))
    assert (info.min_window_s, info.pack_window_s) == (30, 30)


def test_files_a_checkpoint_lacks_come_from_the_run_or_the_base_model(settings: Settings, tmp_path: Path) -> None:
    registry.deploy(settings, "base/model", write_model(tmp_path / "base"))
    folder = write_model(tmp_path / "run" / "checkpoint-9", _name_or_path="base/model")
    (folder / "tokenizer.json").unlink()
    resolved = registry.resolve(settings, str(folder))
    base = registry.resolve(settings, "base/model").path
    assert registry.find_file(settings, resolved, "tokenizer.json") == base / "tokenizer.json"
    (tmp_path / "run" / "tokenizer.json").write_text("{}")
    assert registry.find_file(settings, resolved, "tokenizer.json").parent == tmp_path / "run"


def test_a_file_that_is_nowhere_is_named_with_the_places_and_the_way_out(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "run" / "checkpoint-9", _name_or_path="openai/whisper-none")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailable) as caught:
        registry.find_file(settings, registry.resolve(settings, str(folder)), "tokenizer.json")
    for part in ("tokenizer.json", str(folder), "milo models pull openai/whisper-none", "MILO_STT_PROCESSOR"):
        assert part in caught.value.detail


# --- versions ---


def test_a_deployed_model_serves_and_a_rollback_brings_the_one_before(settings: Settings, tmp_path: Path) -> None:
    first = registry.deploy(settings, "mine", write_model(tmp_path / "a"))
    second = registry.deploy(settings, "mine", write_model(tmp_path / "b", seed=1))
    assert registry.resolve(settings, "mine").version == second != first
    assert registry.resolve(settings, f"mine@{first}").version == first
    assert registry.rollback(settings, "mine") == first
    assert registry.resolve(settings, "mine").version == first
    with pytest.raises(Conflict, match="no earlier version"):
        registry.rollback(settings, "mine")


def test_the_same_files_are_the_same_version(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "a")
    assert registry.deploy(settings, "mine", folder) == registry.deploy(settings, "mine", folder)
    (entry,) = [item for item in registry.list_models(settings) if item.name == "mine"]
    assert len(entry.versions) == 1


def test_going_back_over_an_embedded_model_ends_at_the_embedded_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ASSETS", tmp_path / "assets")
    write_model(tmp_path / "assets" / "small")
    embedded = registry.resolve(settings, "small")
    assert embedded.kind == "embedded" and embedded.sha256 and embedded.sha256.startswith(embedded.version)
    registry.deploy(settings, "small", write_model(tmp_path / "b", seed=1))
    assert registry.resolve(settings, "small").kind == "registry"
    assert registry.rollback(settings, "small") == "embedded"
    assert registry.resolve(settings, "small") == embedded


def test_pickles_and_training_state_are_not_deployed(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "a")
    for name in ("optimizer.pt", "training_args.bin", "trainer_state.json", "evil.pkl"):
        (folder / name).write_bytes(b"x")
    registry.deploy(settings, "mine", folder)
    path = registry.resolve(settings, "mine").path
    assert {item.name for item in path.iterdir()} == {*small_files(), "manifest.json"}


def test_damage_is_found_and_named(settings: Settings, tmp_path: Path) -> None:
    registry.deploy(settings, "mine", write_model(tmp_path / "a"))
    resolved = registry.resolve(settings, "mine")
    assert registry.verify(resolved) == []
    weights = resolved.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert registry.verify(resolved) == ["model.safetensors has another sha256 than its manifest"]
    weights.unlink()
    with pytest.raises(ModelUnavailable, match="damaged.*milo models rollback mine"):
        registry.resolve(settings, "mine")


def test_a_rollback_steps_over_a_damaged_version(settings: Settings, tmp_path: Path) -> None:
    versions = [registry.deploy(settings, "mine", write_model(tmp_path / str(n), seed=n)) for n in range(3)]
    (settings.home / "models" / "mine" / versions[1] / "model.safetensors").unlink()
    assert registry.rollback(settings, "mine") == versions[0]


def test_the_version_that_serves_can_not_be_deleted(settings: Settings, tmp_path: Path) -> None:
    first = registry.deploy(settings, "mine", write_model(tmp_path / "a"))
    second = registry.deploy(settings, "mine", write_model(tmp_path / "b", seed=1))
    with pytest.raises(Conflict):
        registry.delete_version(settings, "mine", second)
    registry.delete_version(settings, "mine", first)
    with pytest.raises(NotFound):
        registry.delete_version(settings, "mine", first)


KILLED_DEPLOY = """
import os, sys
from pathlib import Path
from milo.models import deployment, store
from milo.settings import Settings
def die(*_, **__): os._exit(9)
point = sys.argv[3]
if point == "copy": deployment._copy_durably = die
if point == "seal": store.make_manifest = die
if point == "rename": store.fsync_folder = die
if point == "point": deployment.point = die
if point == "pointer": Path.replace = die
deployment.deploy(Settings(home=sys.argv[1], _env_file=None), "mine", Path(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["copy", "seal", "rename", "point", "pointer"])
def test_killed_at_any_point_of_a_deploy_the_old_version_still_serves(
    settings: Settings, tmp_path: Path, moment: str
) -> None:
    first = registry.deploy(settings, "mine", write_model(tmp_path / "a"))
    new = write_model(tmp_path / "b", seed=1)
    command = [sys.executable, "-c", KILLED_DEPLOY, str(settings.home), str(new), moment]
    assert subprocess.run(command, check=False).returncode == 9
    assert registry.resolve(settings, "mine").version == first
    assert registry.verify(registry.resolve(settings, "mine")) == []
    second = registry.deploy(settings, "mine", new)
    assert registry.resolve(settings, "mine").version == second
    assert not list((settings.home / "models" / "mine").glob(".staging-*"))


# --- the hub ---


def test_a_pull_brings_the_safe_files_only_and_makes_them_current(online: Settings, hub: Hub) -> None:
    unsafe = {"pytorch_model.bin": b"pickle", "flax_model.msgpack": b"x", ".gitattributes": b"", "run/log.json": b"{}"}
    twin = {"model.fp32-00001-of-00002.safetensors": b"x"}
    commit = hub.add("someone/small", {**small_files(), **unsafe, **twin, "README.md": b"# card"})
    seen: list[tuple[int, int]] = []
    pulled = registry.pull(online, "someone/small", progress=lambda p: seen.append((p.done_bytes, p.total_bytes)))
    assert (pulled.name, pulled.version, pulled.kind) == ("someone/small", commit[:12], "hub")
    assert {item.name for item in pulled.path.iterdir()} == {*small_files(), "README.md", "manifest.json"}
    assert registry.resolve(online, "someone/small") == pulled
    assert registry.verify(pulled) == []
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] > 0
    manifest = json.loads((pulled.path / "manifest.json").read_text())
    weights = (pulled.path / "model.safetensors").read_bytes()
    assert manifest["revision"] == commit
    assert manifest["files"]["model.safetensors"]["sha256"] == hashlib.sha256(weights).hexdigest()


def test_what_is_here_is_not_fetched_again(online: Settings, hub: Hub) -> None:
    hub.add("someone/small", small_files())
    first = registry.pull(online, "someone/small")
    hub.requests.clear()
    assert registry.pull(online, "someone/small") == first
    assert hub.downloads() == []


def test_a_cut_connection_is_taken_up_where_it_broke(online: Settings, hub: Hub) -> None:
    big = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    files = {**small_files(), "model.safetensors": save({"w": big})}
    hub.add("someone/small", files)
    hub.cut_after = [10**9, 10**9, 10**9, 150_000, 100_000]
    pulled = registry.pull(online, "someone/small")
    assert (pulled.path / "model.safetensors").read_bytes() == files["model.safetensors"]
    spans = [span for name, span in hub.downloads() if name == "model.safetensors"]
    assert spans == ["", "bytes=150000-", "bytes=250000-"]


def test_a_server_without_ranges_sends_the_whole_file_again(online: Settings, hub: Hub) -> None:
    hub.add("someone/small", small_files())
    hub.honour_ranges = False
    hub.cut_after = [10**9, 10**9, 10**9, 60]
    assert registry.verify(registry.pull(online, "someone/small")) == []


PULL = """
import sys
from milo.models import registry
from milo.settings import Settings
def progress(p):
    if p.file == "model.safetensors" and p.done_bytes > 200_000: __import__("os")._exit(9)
registry.pull(Settings(home=sys.argv[1], hf_endpoint=sys.argv[2], _env_file=None), "someone/small", None, progress)
"""


def test_a_killed_pull_goes_on_where_it_was(online: Settings, hub: Hub) -> None:
    big = np.random.default_rng(0).standard_normal(500_000).astype(np.float32)
    hub.add("someone/small", {**small_files(), "model.safetensors": save({"w": big})})
    command = [sys.executable, "-c", PULL, str(online.home), hub.url]
    assert subprocess.run(command, check=False).returncode == 9
    with pytest.raises(ModelUnavailable):
        registry.resolve(online, "someone/small")
    hub.requests.clear()
    assert registry.verify(registry.pull(online, "someone/small")) == []
    ((name, span),) = hub.downloads()
    assert name == "model.safetensors" and int(span.removeprefix("bytes=").rstrip("-")) > 100_000


def test_a_pinned_revision_stays_what_it_was_when_main_moves(online: Settings, hub: Hub) -> None:
    old = hub.add("someone/small", small_files())
    new = hub.add("someone/small", small_files(seed=1))
    assert registry.pull(online, "someone/small", old).version == old[:12]
    assert registry.pull(online, "someone/small").version == new[:12]
    assert registry.resolve(online, f"someone/small@{old}").version == old[:12]
    assert registry.rollback(online, "someone/small") == old[:12]


def test_downloads_follow_a_redirect_to_a_cdn(online: Settings, hub: Hub) -> None:
    hub.add("someone/small", small_files())
    hub.redirect = True
    assert registry.verify(registry.pull(online, "someone/small")) == []


def test_a_file_that_arrives_damaged_is_never_sealed(online: Settings, hub: Hub) -> None:
    hub.add("someone/small", small_files())
    hub.corrupt = {"model.safetensors"}
    with pytest.raises(Unavailable, match="its hash is not the hub's"):
        registry.pull(online, "someone/small")
    with pytest.raises(ModelUnavailable):
        registry.resolve(online, "someone/small")
    hub.corrupt = set()
    assert registry.verify(registry.pull(online, "someone/small")) == []


def test_a_model_of_pickles_only_is_refused_before_any_download(online: Settings, hub: Hub) -> None:
    hub.add("someone/old", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(Invalid, match="only pickled weights"):
        registry.pull(online, "someone/old")
    assert hub.downloads() == []


def test_one_of_several_gguf_files_is_picked_by_pattern(online: Settings, hub: Hub) -> None:
    hub.add("someone/chat", {"a.Q4_K_M.gguf": b"GGUF4", "a.Q8_0.gguf": b"GGUF8"})
    with pytest.raises(Invalid, match="several weight files; pick one"):
        registry.pull(online, "someone/chat")
    pulled = registry.pull(online, "someone/chat", weights="*Q4_K_M*")
    assert [path.name for path in pulled.path.glob("*.gguf")] == ["a.Q4_K_M.gguf"]
    assert registry.describe(pulled).model_type == "gguf"


def test_a_gated_model_asks_for_the_licence_and_a_token(online: Settings, hub: Hub) -> None:
    hub.add("someone/gated", small_files())
    hub.gated = {"someone/gated"}
    with pytest.raises(Forbidden, match="accept its licence"):
        registry.pull(online, "someone/gated")
    with_token = online.model_copy(update={"hf_token": "good-token"})
    assert registry.pull(with_token, "someone/gated").kind == "hub"


def test_an_unknown_model_and_an_unknown_revision_are_told_apart(online: Settings, hub: Hub) -> None:
    hub.add("someone/small", small_files())
    with pytest.raises(Unauthorized, match="check the spelling"):
        registry.pull(online, "someone/smoll")
    with pytest.raises(NotFound, match="no such revision"):
        registry.pull(online, "someone/small", "v9")


def test_offline_is_said_and_the_hub_is_not_asked(online: Settings, hub: Hub) -> None:
    hub.add("someone/small", small_files())
    offline = online.model_copy(update={"offline": True})
    with pytest.raises(ModelUnavailable, match="MILO_OFFLINE"):
        registry.pull(offline, "someone/small")
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        registry.ensure(offline, "someone/small")
    assert hub.requests == []


def test_a_hub_that_can_not_be_reached_is_named(online: Settings) -> None:
    nowhere = online.model_copy(update={"hf_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(ModelUnavailable, match="http://127.0.0.1:9 can't be reached"):
        registry.pull(nowhere, "someone/small")


def test_ensure_pulls_what_is_missing_and_asks_nobody_for_what_is_here(online: Settings, hub: Hub) -> None:
    commit = hub.add("someone/small", small_files())
    assert registry.ensure(online, f"someone/small@{commit}").version == commit[:12]
    hub.requests.clear()
    assert registry.ensure(online, "someone/small").version == commit[:12]
    assert hub.requests == []


def test_a_name_without_a_slash_is_never_asked_from_the_hub(online: Settings, hub: Hub) -> None:
    with pytest.raises(ModelUnavailable):
        registry.ensure(online, "whisper")
    assert hub.requests == []


BOTH = {**GENERATION, "task_to_id": {"transcribe": 5, "translate": 6}}


@pytest.mark.parametrize(
    ("config", "generation", "tasks"),
    [
        ({}, BOTH, ("transcribe", "translate")),
        ({"milo": {"tasks": ["transcribe"]}}, BOTH, ("transcribe",)),
        ({"milo": {"tasks": "transcribe"}}, BOTH, ("transcribe", "translate")),
        ({"encoder_layers": 32, "decoder_layers": 4}, BOTH, ("transcribe",)),
        ({"encoder_layers": 32, "decoder_layers": 32}, BOTH, ("transcribe", "translate")),
        ({"vocab_size": 51864}, BOTH, ("transcribe",)),
        ({}, {**BOTH, "is_multilingual": False}, ("transcribe",)),
        ({}, {}, ("transcribe",)),
    ],
)
def test_a_model_can_what_it_was_trained_for(
    tmp_path: Path, config: dict[str, Any], generation: dict[str, Any], tasks: tuple[str, ...]
) -> None:
    folder = write_model(tmp_path / "model", **config)
    (folder / "generation_config.json").write_text(json.dumps(generation))
    assert describe(ResolvedModel("model", "1", folder, None, "folder")).tasks == tasks


def test_the_model_of_the_package_transcribes_and_no_more(settings: Settings) -> None:
    assert describe(registry.resolve(settings, "milo-tiny-mg")).tasks == ("transcribe",)
