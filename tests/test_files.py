"""The file store: whole files or none, and nothing read that may not be."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import fsspec
import pytest

from milo.errors import Forbidden, NotFound, TooLarge, Unavailable
from milo.files import Files
from milo.jobs import AudioSource
from milo.settings import Settings


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
