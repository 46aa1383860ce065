"""The command line: conventions, and `milo transcribe` against a stack and with one of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner

from milo.audio.folder import walk_recordings
from milo.cli import COMMANDS, cli, main
from milo.client import Milo
from milo.client.folder import Manifest, find_inputs
from milo.client.folder.manifest import NAME
from milo.errors import MiloError
from milo.stack.ports import free_port
from tests.support.audio_factory import say, silence, wav
from tests.support.live import Live, live_settings, live_stack, processes_of

# --- conventions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*words: str, **env: str) -> Done:
    """`milo WORDS` in this process, in an environment without other settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.dict(os.environ, {**kept, **env}, clear=True),
            mock.patch.object(sys, "argv", ["milo", *words]),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert isinstance(ended.value.code, int)
    return Done(ended.value.code, out.getvalue(), err.getvalue())


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['milo', '--help']\n"
        "from milo.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pydantic', 'httpx', 'celery', 'redis', 'sqlalchemy', 'numpy', 'rich', 'transformers'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_agrees_with_the_overview(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    assert COMMANDS[name][1] in shown.output


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["transcribe"],
        ["transcribe", "/nowhere", "--out", "out"],
        ["transcribe", ".", "--out", "out", "--format", "doc"],
        ["transcribe", ".", "--out", __file__],
        ["up", "--without", "kitchen"],
        ["keys", "create", "bot", "--scope", "root"],
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(words: list[str], tmp_path: Path) -> None:
    done = run(*words, MILO_HOME=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_a_setting_that_is_wrong_is_named() -> None:
    done = run("keys", "list", MILO_PORT="eighty")
    assert done.returncode == 2 and "MILO_PORT" in done.stderr and "Traceback" not in done.stderr


def test_without_a_server_the_sentence_says_so() -> None:
    done = run("jobs", "list", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1 and "Is Milo up there?" in done.stderr and "Traceback" not in done.stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    home = str(tmp_path)
    made = json.loads(run("keys", "create", "bot", "--scope", "read", "--json", MILO_HOME=home).stdout)
    assert made["scopes"] == ["read"] and made["key"]
    listed = run("keys", "list", MILO_HOME=home).stdout
    assert "bot" in listed and made["key"] not in listed
    assert run("keys", "revoke", "bot", MILO_HOME=home).returncode == 0
    assert json.loads(run("keys", "list", "--json", MILO_HOME=home).stdout)[0]["revoked_at"]
    assert run("keys", "revoke", "nobody", MILO_HOME=home).returncode == 1


# --- inputs and names -------------------------------------------------------------------------------------------------


def test_the_secret_that_signs_webhooks_can_be_read(tmp_path: Path) -> None:
    env = {"MILO_HOME": str(tmp_path)}
    first, again = run("webhooks", "secret", **env), run("webhooks", "secret", **env)
    assert first.returncode == 0 and first.stdout.startswith("whsec_") and first.stdout == again.stdout
    made = json.loads(run("keys", "create", "bot", "--json", **env).stdout)
    assert run("webhooks", "secret", "bot", **env).stdout.strip() == made["webhook_secret"]
    assert run("webhooks", "secret", "nobody", **env).returncode == 1


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def names_of(paths: list[Path], out: Path, formats: tuple[str, ...] = ("txt",)) -> list[str]:
    return list(Manifest(out, {}, formats).reserve(find_inputs(paths)).values())


def test_telephone_recordings_are_taken_from_a_folder_by_the_command_as_by_the_api(tmp_path: Path) -> None:
    for name in ("call.gsm", "CALL.W64", "call.awb", "notes.txt", "call", ".hidden.wav"):
        (tmp_path / name).touch()
    taken = [one.path for one in find_inputs([tmp_path])]
    assert [path.name for path in taken] == ["CALL.W64", "call.awb", "call.gsm"]
    assert [found.path for found in walk_recordings(tmp_path)] == taken


def test_a_folder_gives_its_recordings_and_keeps_its_folders(tmp_path: Path) -> None:
    touch(tmp_path / "in", "b.wav", "a.MP3", "sub/deep/c.ogg", "notes.txt", ".hidden.wav", ".git/d.wav", "sub/é è.m4a")
    assert names_of([tmp_path / "in"], tmp_path / "out") == ["a", "b", "sub/é è", "sub/deep/c"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    touch(tmp_path, "voice.bin")
    assert names_of([tmp_path / "voice.bin"], tmp_path / "out") == ["voice"]


def test_several_folders_keep_their_own_names(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.wav", "b/x.wav", "c/a/x.wav")
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c/a"]
    assert names_of(folders, tmp_path / "out") == ["a/x", "b/x", "a-2/x"]


def test_two_recordings_of_one_stem_get_two_names_and_keep_them(tmp_path: Path) -> None:
    touch(tmp_path / "in", "x.mp3", "x.wav", "X.ogg")
    manifest = Manifest(tmp_path / "out", {}, ["txt"])
    first = manifest.reserve(find_inputs([tmp_path / "in"]))
    assert sorted(first.values()) == ["X.ogg", "x.mp3", "x.wav"]
    manifest.save()
    touch(tmp_path / "in", "X.flac", "x.aac")
    again = Manifest(tmp_path / "out", {}, ["txt"]).reserve(find_inputs([tmp_path / "in"]))
    assert {one.path: name for one, name in again.items()}.items() >= {one.path: n for one, n in first.items()}.items()


def test_two_recordings_never_write_the_same_file(tmp_path: Path) -> None:
    touch(tmp_path / "in", "x.wav", "x.verbose.wav")
    manifest = Manifest(tmp_path / "out", {}, ["json", "verbose_json"])
    names = manifest.reserve(find_inputs([tmp_path / "in"]))
    outputs = [path for name in names.values() for path in manifest.paths(name)]
    assert len(set(outputs)) == 4


def test_a_name_as_long_as_a_file_system_allows_gets_outputs_that_fit_and_are_told_apart(tmp_path: Path) -> None:
    long = ["é" * 125 + f"{number}.wav" for number in (1, 2)]
    assert all(len(name.encode()) == 255 for name in long)
    touch(tmp_path / "in", "short.wav", *long)
    manifest = Manifest(tmp_path / "out", {}, ["json", "verbose_json", "txt"])
    names = manifest.reserve(find_inputs([tmp_path / "in"]))
    assert len(set(names.values())) == 3 and "short" in names.values()
    for name in names.values():
        for path in manifest.paths(name):
            path.parent.mkdir(exist_ok=True)
            path.write_text("")


def test_what_is_left_out_of_a_folder_is_named_with_the_reason(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.wav", "node/app.ts", "node/index.mts", "more/b.wav", "notes.txt", ".c.wav")
    (tmp_path / "in/film.ts").write_bytes(b"\x47".ljust(188, b"\0") * 6)
    (tmp_path / "in/disc.mts").write_bytes((b"\0\0\0\1\x47".ljust(192, b"\0")) * 6)
    (tmp_path / "in/linked").symlink_to(tmp_path / "in/more")
    (tmp_path / "in/gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "in/other.wav").symlink_to(tmp_path / "in/a.wav")
    os.mkfifo(tmp_path / "in/pipe.wav")
    (tmp_path / "in/d.mp3").mkdir()
    left_out: dict[str, str] = {}
    taken = find_inputs([tmp_path / "in"], lambda path, why: left_out.update({path.name: why}))
    assert [one.shown for one in taken] == ["a.wav", "disc.mts", "film.ts", "other.wav", "more/b.wav"]
    assert {name: why.split(";")[0] for name, why in left_out.items()} == {
        "app.ts": "text or something else, and no MPEG transport stream",
        "index.mts": "text or something else, and no MPEG transport stream",
        "linked": "a link to a folder",
        "gone.wav": "a link to nothing",
        "pipe.wav": "a named pipe",
    }


def test_the_same_name_in_another_archive_does_not_take_the_output_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.wav", "b/x.wav")
    manifest = Manifest(tmp_path / "out", {}, ["txt"])
    manifest.reserve(find_inputs([tmp_path / "a"]))
    manifest.save()
    assert names_of([tmp_path / "b"], tmp_path / "out") == ["x.wav"]
    (tmp_path / "a/x.wav").unlink()
    (tmp_path / "a/x.wav").parent.rmdir()
    assert names_of([tmp_path / "b"], tmp_path / "out") == ["x"]


def test_a_file_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    touch(tmp_path, "x.wav", "x.txt")
    assert names_of([tmp_path / "x.wav"], tmp_path) == ["x.wav"]


def test_a_damaged_manifest_is_not_thrown_away(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{")
    with pytest.raises(MiloError, match="move it away"):
        Manifest(tmp_path, {}, ["txt"])


# --- the real thing ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def live(folder: Path) -> Iterator[Live]:
    with live_stack(folder, without=["flower", "beat"]) as stack:
        yield stack


@pytest.fixture(scope="module")
def archive(folder: Path) -> Path:
    """Three recordings and a file that is none."""
    root = folder / "archive"
    talks = {"one.wav": "good morning", "sub/two.wav": "what is the price of rice", "sub/one.wav": "ten o'clock"}
    for name, text in talks.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(wav(say(text).tobytes()))
    (root / "bad.wav").write_text("this is a text")
    return root


def transcribe(live: Live, *words: str) -> tuple[int, dict[str, Any], str]:
    done = run("transcribe", *words, "--language", "en", "--json", **_milo(live))
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def _milo(live: Live) -> dict[str, str]:
    return {name: value for name, value in live.env.items() if name.startswith("MILO_")}


def test_an_archive_is_transcribed_and_only_what_is_new_is_done_again(live: Live, archive: Path, folder: Path) -> None:
    out = folder / "out"
    code, shown, said = transcribe(live, str(archive), "--out", str(out), "--format", "txt,srt,json")
    assert code == 1 and (shown["done"], shown["failed"], shown["skipped"]) == (3, 1, 0)
    assert "bad.wav" in said and len(said.strip().splitlines()) == 1
    wanted = {f"{name}.{format}" for name in ("one", "sub/two", "sub/one") for format in ("txt", "srt", "json")}
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == wanted | {NAME}

    with Milo(live.url, live.settings.api_key) as milo:
        before = sum(1 for _ in milo.jobs())
        (archive / "sub/two.wav").write_bytes(wav(say("something else").tobytes()))
        (archive / "bad.wav").unlink()
        os.utime(archive / "one.wav")
        (out / "sub/one.srt").unlink()
        code, shown, _ = transcribe(live, str(archive), "--out", str(out), "--format", "txt,srt,json")
        assert code == 0 and shown["failed"] == 0
        assert {one["file"] for one in shown["files"] if one["state"] == "done"} == {"sub/two.wav"}
        assert (out / "sub/one.srt").exists(), "rendered again from its JSON"
        assert sum(1 for _ in milo.jobs()) == before + 1

        code, shown, _ = transcribe(live, str(archive), "--out", str(out), "--format", "vtt")
        assert code == 0 and shown["done"] == 0 and (out / "one.vtt").read_text().startswith("WEBVTT")
        assert sum(1 for _ in milo.jobs()) == before + 1

        code, shown, _ = transcribe(live, str(archive / "one.wav"), "--out", str(out), "--format", "txt", "--force")
        assert code == 0 and shown["done"] == 1
        assert sum(1 for _ in milo.jobs()) == before + 2


def test_every_file_of_a_large_folder_is_done_in_several_batches(live: Live, folder: Path) -> None:
    large = folder / "large"
    large.mkdir()
    for number in range(8 + 24 + 10):
        (large / f"{number:03}.wav").write_bytes(wav(silence(0.3).tobytes() + bytes(2 * number)))
    code, shown, _ = transcribe(live, str(large), "--out", str(folder / "large out"), "--format", "txt")
    assert code == 0 and shown["done"] == 42
    assert len(list((folder / "large out").glob("*.txt"))) == 42
    with Milo(live.url, live.settings.api_key) as milo:
        assert [batch.total for batch in milo.batches(limit=3)] == [10, 24, 8]


def test_jobs_and_batches_are_shown_and_fetched(live: Live, archive: Path, folder: Path) -> None:
    transcribe(live, str(archive / "one.wav"), "--out", str(folder / "out2"), "--name", "just one")
    env = _milo(live)
    jobs = json.loads(run("jobs", "list", "--json", "--limit", "1", **env).stdout)
    assert jobs[0]["state"] == "succeeded"
    assert run("jobs", "result", jobs[0]["id"], "--format", "vtt", **env).stdout.startswith("WEBVTT")
    assert "one.wav" in run("jobs", "show", jobs[0]["id"], **env).stdout
    assert run("jobs", "watch", jobs[0]["id"], **env).returncode == 0
    assert run("jobs", "retry", jobs[0]["id"], **env).returncode == 1
    assert "just one" in run("batches", "list", **env).stdout
    target = folder / "results.zip"
    assert run("batches", "results", jobs[0]["batch_id"], "--out", str(target), **env).returncode == 0
    assert target.read_bytes().startswith(b"PK")
    missing = run("jobs", "show", "job_nothing", **env)
    assert missing.returncode == 1 and "job_nothing" in missing.stderr
    assert run("jobs", "list", "--api-key", "wrong", **env).returncode == 1


def test_the_doctor_sends_a_job_through_the_queue(live: Live) -> None:
    found = json.loads(run("doctor", "--json", **_milo(live)).stdout)
    assert [one["state"] for one in found if one["check"] == "queue"] == ["ok"]


@contextmanager
def workers_stopped(home: Path) -> Iterator[None]:
    """While nothing is worked on."""
    workers = [process for process in processes_of(home) if "worker" in process.cmdline()]
    assert workers, "no worker is alive"
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            worker.resume()


def test_ctrl_c_stops_cleanly_and_cancels_what_is_queued(live: Live, folder: Path) -> None:
    many = folder / "many"
    many.mkdir()
    for number in range(40):
        (many / f"{number:03}.wav").write_bytes(
            wav(say("good morning to all of you " * 8).tobytes() + bytes(2 * number))
        )
    command = [sys.executable, "-m", "milo.cli", "transcribe", str(many), "--out", str(folder / "out3")]
    with Milo(live.url, live.settings.api_key) as milo:
        newest = next((b.id for b in milo.batches(limit=1)), None)
        with workers_stopped(live.settings.home):
            process = subprocess.Popen(
                command,
                env=live.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run behind
            )
            while next((b.id for b in milo.batches(limit=1)), None) == newest and process.poll() is None:
                pass
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in said, said
        for batch in milo.batches(limit=5):
            assert milo.batch_handle(batch.id).wait(timeout_s=60).final


def test_without_a_server_it_starts_one_and_stops_it(tmp_path: Path) -> None:
    settings = live_settings(tmp_path)
    (tmp_path / "a.wav").write_bytes(wav(say("good morning").tobytes()))
    env = {"MILO_HOME": str(settings.home), "MILO_STT_MODEL": settings.stt_model, "MILO_CPU_CONCURRENCY": "1"}
    url = f"http://127.0.0.1:{free_port()}"
    words = ["transcribe", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), "--url", url, "--format", "txt"]
    done = run(*words, **env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/a.txt").exists()
    assert processes_of(settings.home) == []
