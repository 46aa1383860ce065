"""The file store: whole files or none, and nothing read that may not be."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import fsspec
import pytest

from milo.errors import Forbidden, NotFound, TooLarge, Unavailable
from milo.jobs import AudioSource
from milo.settings import Settings
from milo.storage.files import Files


@pytest.fixture(params=["folder", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """A store on this disk, and one that is not (fsspec's, in memory: it stands for s3://)."""
    url = None if request.param == "folder" else f"memory://{tmp_path.name}"
    return Files(Settings(home=tmp_path / "home", files_url=url, _env_file=None))


def test_a_blob_is_named_by_its_content_and_stored_once(files: Files) -> None:
    blob = files.put_blob(io.BytesIO(b"sound"))
    assert blob.id == hashlib.sha256(b"sound").hexdigest() and blob.size_bytes == 5
    assert files.put_blob([b"sou", b"nd"]) == blob
    with files.open_audio(AudioSource(blob=blob.id)) as file:
        assert file.read() == b"sound"
    files.drop_blob(blob.id)
    with pytest.raises(NotFound, match="send it again"), files.open_audio(AudioSource(blob=blob.id)):
        pass


def test_an_upload_over_the_limit_is_refused_and_leaves_nothing(files: Files) -> None:
    with pytest.raises(TooLarge, match="100 bytes"):
        files.put_blob([b"x" * 60, b"x" * 60], limit_bytes=100)
    assert list((files.settings.home / "incoming").iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(files: Files) -> None:
    def chunks() -> object:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, Unavailable)):
        files.put_blob(chunks())  # type: ignore[arg-type]
    assert list((files.settings.home / "incoming").iterdir()) == []


def test_results_of_two_attempts_do_not_overwrite_each_other(files: Files) -> None:
    first = files.write_result("job_1", 1, b"{}")
    second = files.write_result("job_1", 2, b"[]")
    assert first != second
    assert (files.read_result(first), files.read_result(second)) == (b"{}", b"[]")
    files.drop_results("job_1")
    with pytest.raises(NotFound):
        files.read_result(first)


def test_the_work_of_one_machine_is_there_for_the_next(files: Files, tmp_path: Path) -> None:
    (files.work_folder("job_1") / "speech.pcm").write_bytes(b"pcm")
    files.share_work("job_1")
    other = files
    if not files.is_local:
        other = Files(files.settings.model_copy(update={"home": tmp_path / "other"}))
    assert (other.fetch_work("job_1") / "speech.pcm").read_bytes() == b"pcm"
    assert "job_1" in other.work_in_progress()
    other.drop_work("job_1")
    assert not any(files.fs.glob(f"{files.root}/work/job_1/*"))


def roots(tmp_path: Path, *allowed: str) -> Files:
    return Files(Settings(home=tmp_path / "home", audio_roots=list(allowed), _env_file=None))


def test_a_path_is_read_only_under_an_allowed_root(tmp_path: Path) -> None:
    root, secret = tmp_path / "audio", tmp_path / "secret.wav"
    root.mkdir()
    secret.write_bytes(b"secret")
    (root / "a.wav").write_bytes(b"sound")
    (root / "link.wav").symlink_to(secret)
    files = roots(tmp_path, str(root))
    with files.open_audio(AudioSource(path=str(root / "a.wav"))) as file:
        assert file.read() == b"sound"
    for path in (str(secret), str(root / "link.wav"), f"{root}/../secret.wav", "/etc/passwd", f"{root}-other/a.wav"):
        with pytest.raises(Forbidden, match="MILO_AUDIO_ROOTS"):
            files.allowed_path(path)
    with pytest.raises(NotFound):
        files.allowed_path(str(root / "absent.wav"))
    with pytest.raises(Forbidden):
        roots(tmp_path).allowed_path(str(root / "a.wav"))


def test_a_url_is_read_only_under_an_allowed_prefix(tmp_path: Path) -> None:
    with fsspec.open("memory://archive/a.wav", "wb") as file:
        file.write(b"sound")
    files = roots(tmp_path, "memory://archive")
    with files.open_audio(AudioSource(path="memory://archive/a.wav")) as file:
        assert file.read() == b"sound"
    for url in (
        "memory://archive/../x.wav",
        "memory://archived/a.wav",
        "http://169.254.169.254/",
        "file:///etc/passwd",
    ):
        with pytest.raises(Forbidden):
            files.allowed_path(url)


@pytest.mark.parametrize(
    "url",
    [
        "memory://archive/a.wav::file:///etc/passwd",
        "memory://archive/simplecache::file:///etc/passwd",
        "memory://archive/%2e%2e/x.wav",
        "memory://archive/%252E%252e/x.wav",
        "memory://archive/..%2fx.wav",
        "memory://archive/..\\x.wav",
        "memory://archive/./a.wav",
        "memory://archive//a.wav",
        "https://x.org/audio/a.wav?../../secret",
        "https://x.org/audio/a.wav#x",
        "memory://archive/a\n.wav",
        "MEMORY://archive/a.wav",
    ],
)
def test_a_url_with_a_second_meaning_is_refused(url: str, tmp_path: Path) -> None:
    """Chains of fsspec, encoded dots, query strings: all that a store may read differently than it looks."""
    with pytest.raises(Forbidden):
        roots(tmp_path, "memory://archive", "https://x.org/audio").allowed_path(url)


@pytest.mark.parametrize("name", ["a.wav", "Interview #3?.wav", "day 1/a..b.wav", "50%.wav", "sub/"])
def test_the_odd_names_of_a_store_are_read(name: str, tmp_path: Path) -> None:
    assert roots(tmp_path, "memory://archive").allowed_path(f"memory://archive/{name}")


def test_a_file_url_gets_the_rules_of_a_path(tmp_path: Path) -> None:
    root, secret = tmp_path / "audio", tmp_path / "secret.wav"
    root.mkdir()
    secret.write_bytes(b"secret")
    (root / "a.wav").write_bytes(b"sound")
    (root / "link.wav").symlink_to(secret)
    files = roots(tmp_path, f"file://{root}")
    assert files.allowed_path(f"file://{root}/a.wav") == str(root / "a.wav") == files.allowed_path(f"{root}/a.wav")
    for path in (f"file://{root}/link.wav", f"local://{root}/link.wav", f"file://{secret}"):
        with pytest.raises(Forbidden):
            files.allowed_path(path)


def test_a_file_that_was_changed_into_a_link_after_it_was_checked_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, secret = tmp_path / "audio", tmp_path / "elsewhere"
    (root / "day").mkdir(parents=True)
    secret.mkdir()
    (secret / "a.wav").write_bytes(b"secret")
    (root / "day" / "a.wav").write_bytes(b"sound")
    files = roots(tmp_path, str(root))
    checked = files.allowed_path(str(root / "day" / "a.wav"))
    monkeypatch.setattr(files, "allowed_path", lambda path: checked)  # the check is over; now the folder is swapped
    (root / "day").rename(root / "away")
    (root / "day").symlink_to(secret)
    with pytest.raises(Forbidden), files.open_audio(AudioSource(path=checked)):
        pass
    (root / "day").unlink()
    (root / "day").mkdir()
    (root / "day" / "a.wav").symlink_to(secret / "a.wav")
    with pytest.raises(Forbidden), files.open_audio(AudioSource(path=checked)):
        pass


def test_a_pipe_or_a_device_is_no_recording_and_is_not_waited_for(tmp_path: Path) -> None:
    root = tmp_path / "audio"
    root.mkdir()
    os.mkfifo(root / "pipe.wav")
    with pytest.raises(Forbidden), roots(tmp_path, str(root)).open_audio(AudioSource(path=str(root / "pipe.wav"))):
        pass
    with pytest.raises(Forbidden), roots(tmp_path, "/dev").open_audio(AudioSource(path="/dev/zero")):
        pass
