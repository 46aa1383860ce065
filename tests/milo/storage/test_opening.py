"""What may be opened: regular files in the places that are allowed, by whatever name; and nothing is said of others."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from milo.errors import MiloError, NotFound, TooLarge
from milo.settings import Settings
from milo.storage.opening import ONLY_THE_SET, Places, open_regular


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    (root / "day").mkdir(parents=True)
    (root / "a.wav").write_bytes(b"sound")
    (root / "day" / "b.wav").write_bytes(b"more")
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "set-other").mkdir()
    (tmp_path / "set-other" / "a.wav").write_bytes(b"secret")
    return root


def places(root: Path) -> Places:
    return Places((str(root),), closed=True)


def test_files_of_the_set_are_opened_by_any_name_that_leads_to_them(root: Path) -> None:
    (root / "link.wav").symlink_to("day/b.wav")
    (root / "chain.wav").symlink_to("link.wav")
    (root / "èéo.wav").write_bytes(b"more")
    for name in ("day/b.wav", "day/../day/b.wav", "link.wav", "chain.wav", "èéo.wav"):
        with places(root).open(root / name) as file:
            assert file.read() == b"more"
    with places(root).open(f"/proc/self/root{root}/a.wav") as file:
        assert file.read() == b"sound"


NAMES = [
    "../secret.wav", "day/../../secret.wav", "../set-other/a.wav", "../SET/a.wav", "absent.wav", "a.wav/", "day", ".",
    "", "a.wav\0.txt", "/etc/passwd", "/proc/self/environ", "/proc/self/root/etc/passwd", "/proc/version",
    "/sys/kernel/mm", "/dev/zero", "/dev/stdin", "/dev/fd/0", "file:///etc/passwd", "a" * 300, "x/" * 3000,
    "a\u0301.wav", "\udcff.wav", "zero.wav", "link.wav", "chain.wav", "folder/secret.wav", "loop", "nothing.wav",
    "fifo.wav", "socket.wav", "environ.wav",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_all_else_is_refused_in_the_same_words_and_not_waited_for(
    root: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    (root / "chain.wav").symlink_to("link.wav")
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (root / "nothing.wav").symlink_to(tmp_path / "absent.wav")
    (root / "environ.wav").symlink_to("/proc/self/environ")
    (root / "zero.wav").symlink_to("/dev/zero")
    os.mkfifo(root / "fifo.wav")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(root)  # a socket's path is short
        server.bind("socket.wav")
        path = os.path.join(root, name)
        assert places(root).look(path) is None
        with pytest.raises(NotFound) as found:
            places(root).open(path)
    assert found.value.detail == f"there is no file {path!r} that may be read" and found.value.code == "no_such_file"


def test_the_operator_is_told_of_a_file_that_is_there_and_elsewhere(root: Path) -> None:
    own = ONLY_THE_SET.own(root)
    for name, code in (
        ("../secret.wav", "outside"),
        ("day", "no_such_file"),
        ("/dev/zero", "outside"),
        ("b.wav", None),
    ):
        with pytest.raises(NotFound) as found:
            own.open(root / name)
        assert found.value.code == (code or "no_such_file")


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a.wav", "day", "absent.wav", "../secret.wav"):
        places(root).look(root / name)
        with suppress(MiloError):
            places(root).open(root / name).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_huge_file_with_nothing_in_it_is_too_large(root: Path) -> None:
    with (root / "sparse.wav").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(TooLarge, match="1099511627776 bytes"):
        places(root).open(root / "sparse.wav")
    with pytest.raises(TooLarge):
        places(root).read_text(root / "sparse.wav")


def test_a_hard_link_is_a_file_of_the_folder_that_it_lies_in(root: Path, tmp_path: Path) -> None:
    os.link(root / "a.wav", tmp_path / "twin.wav")
    assert places(root).has(root / "a.wav") and not places(root).has(tmp_path / "twin.wav")


def test_a_folder_that_turns_into_a_link_while_it_is_read_opens_nothing_else(root: Path, tmp_path: Path) -> None:
    """The name is swapped as fast as can be; whatever is opened is of the set."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.wav").write_bytes(b"secret")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            os.rename(root / "day", root / "away")
            os.symlink(elsewhere, root / "day")
            os.unlink(root / "day")
            os.rename(root / "away", root / "day")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        read = set(_reads(places(root), root / "day" / "b.wav", 3000))
    finally:
        done.set()
        swapping.join()
    assert read <= {b"more", b""}


def _reads(places: Places, path: Path, times: int) -> Iterator[bytes]:
    for _ in range(times):
        try:
            with places.open(path) as file:
                yield file.read()
        except NotFound:
            yield b""


def test_the_home_is_not_opened_by_a_root_around_it(tmp_path: Path) -> None:
    """MILO_AUDIO_ROOTS=/home must not give away the uploads of others."""
    home = tmp_path / "home"
    blob = home / "blobs" / "ab" / "abcd"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"somebody's")
    inside = home / "archive" / "a.wav"
    inside.parent.mkdir()
    inside.write_bytes(b"sound")

    def of(*roots: Path) -> Places:
        return Places.of(Settings(home=home, audio_roots=list(map(str, roots)), _env_file=None))

    assert not of(tmp_path).has(blob) and not of(home).has(blob) and not of(tmp_path, home).has(inside)
    assert of(home / "archive").has(inside) and not of(home / "archive").has(blob)


def test_who_is_confined_to_the_roots_gets_no_folder_of_a_set_beside_them(root: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", audio_roots=[str(root / "day")], _env_file=None)
    assert Places.of(settings).own(root).has(root / "a.wav")
    confined = Places.of(settings, confined=True).own(root)
    assert not confined.has(root / "a.wav") and confined.has(root / "day" / "b.wav")


def test_a_file_of_the_operator_may_lie_anywhere_and_is_regular_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    with open_regular(tmp_path / "a.json", 100) as file:
        assert file.read() == b"{}"
    os.mkfifo(tmp_path / "fifo")
    for name in ("/dev/zero", "/proc/self/environ", str(tmp_path / "fifo"), str(tmp_path)):
        with pytest.raises(NotFound):
            open_regular(name, 100)
