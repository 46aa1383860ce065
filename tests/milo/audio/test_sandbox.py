"""Decoding apart: the same audio, and a file that crashes, hangs or swells ends its own child only."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from milo.audio import sandbox_child
from milo.audio.reading import stream
from milo.audio.sandbox import DecoderProcess, decoder_of
from milo.errors import BadMedia, EngineError, MiloError, NotFound, TooLarge
from milo.settings import Settings
from milo.stack.services import wait_until
from tests.support.audio_factory import media, tone_at
from tests.support.servers import ROOT

LONG = np.zeros(16_000 * 600, np.float32)
WAV = media("wav", "pcm_s16le", tone_at(0.4, 3.0, 16_000), 16_000)


@pytest.fixture(scope="module")
def apart() -> Iterator[DecoderProcess]:
    process = DecoderProcess(512 * 1024**2, 30)
    yield process
    process.close()


def code_of(process: DecoderProcess, data: bytes | Path, **how: float) -> str:
    source = data if isinstance(data, Path) else io.BytesIO(data)
    with pytest.raises(MiloError) as caught:
        list(process.stream(source, **{"max_s": 60, **how}))  # type: ignore[arg-type]
    return caught.value.code


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("ogg", "libopus")])
def test_what_is_decoded_apart_is_what_is_decoded_here(container: str, codec: str, apart: DecoderProcess) -> None:
    data = media(container, codec, tone_at(0.4, 3.0, 48_000), 48_000)
    here, there = stream(io.BytesIO(data), max_s=60, block_s=1), apart.stream(io.BytesIO(data), max_s=60, block_s=1)
    blocks = list(zip(here, there, strict=True))
    assert len(blocks) >= 3 and all(np.array_equal(*pair) for pair in blocks)
    assert there.info == here.info and there.info and there.info.container
    assert there.faults == here.faults and there.warnings == here.warnings


def test_a_cut_file_keeps_its_warnings(apart: DecoderProcess) -> None:
    cut = apart.stream(io.BytesIO(WAV[: len(WAV) // 2]), max_s=60)
    here = stream(io.BytesIO(WAV[: len(WAV) // 2]), max_s=60)
    assert sum(map(len, cut)) == sum(map(len, here)) > 16_000
    assert cut.warnings == here.warnings and cut.warnings[0] == "truncated"


def test_errors_come_through_with_their_class_and_code(apart: DecoderProcess, tmp_path: Path) -> None:
    for data, error, code in (
        (b"", BadMedia, "empty_audio"),
        (b"no audio at all" * 100, BadMedia, "not_audio"),
        (WAV, TooLarge, "audio_too_long"),
    ):
        with pytest.raises(error) as caught:
            list(apart.stream(io.BytesIO(data), max_s=1))
        assert caught.value.code == code and not caught.value.retryable
    with pytest.raises(NotFound):
        list(apart.stream(tmp_path / "none.wav", max_s=1))


def test_a_file_is_read_by_its_descriptor_from_where_it_stands(apart: DecoderProcess, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"junk" + WAV)
    with path.open("rb") as file:
        file.read(4)
        assert sum(map(len, apart.stream(file, max_s=60))) == 48_000


def test_two_streams_may_be_open_at_once(apart: DecoderProcess) -> None:
    one, two = (apart.stream(io.BytesIO(WAV), max_s=60, block_s=1) for _ in range(2))
    assert [len(next(s)) for s in (one, two, one, two)] == [16_000] * 4
    two.close()
    assert sum(map(len, one)) == 16_000


def test_each_file_has_a_child_of_its_own_that_ends_with_it(apart: DecoderProcess) -> None:
    opened = apart.stream(io.BytesIO(WAV * 200), max_s=60, block_s=1)
    next(opened)
    children = psutil.Process(apart.pid).children()
    assert len(children) == 1
    environ = children[0].environ()
    assert not [name for name in environ if "KEY" in name or "URL" in name], "it holds no secrets"
    opened.close()
    assert psutil.Process(apart.pid).children() == []


# --- files and decoders gone wrong ------------------------------------------------------------------------------------


def broken(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str, **limits: float) -> DecoderProcess:
    """A process whose decoder does this, from its first block on, to files that begin with `BAD`."""
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'milo.audio.sandbox_child' in sys.orig_argv:\n"
        "    import milo.audio.reading as audio\n"
        "    right = audio.AudioStream._run\n"
        "    def _run(self):\n"
        "        bad = self._source.peek(3)[:3] == b'BAD'\n"
        "        if not bad:\n"
        "            yield from right(self)\n"
        "            return\n" + "".join(f"        {line}\n" for line in body.splitlines()) + "        yield\n"
        "    audio.AudioStream._run = _run\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return DecoderProcess(**{"memory_bytes": 256 * 1024**2, "cpu_s": 1, **limits})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "code", "retryable"),
    [
        ("import ctypes; ctypes.string_at(0)", "decoder_crashed", False),
        ("os.abort()", "decoder_crashed", False),
        ("while True: pass", "decode_limit", False),
        ("held = []\nwhile True: held.append(bytearray(1 << 24))", "decode_limit", False),
        ("os.kill(os.getpid(), 9)", "decoder_lost", True),
        ("os._exit(3)", "decoder_lost", True),
        ("import time; time.sleep(600)", "decoder_lost", True),
        ("raise RuntimeError('a mistake')", "internal_error", True),
        ("os.write(os.open('FOLDER/written', os.O_CREAT | os.O_WRONLY), b'x')", "unreadable", True),
    ],
)
def test_a_bad_file_ends_its_own_child_with_a_sentence(
    body: str, code: str, retryable: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    process = broken(
        monkeypatch, tmp_path, body.replace("FOLDER", str(tmp_path)), stall_s=3 if "sleep" in body else 100
    )
    try:
        with pytest.raises(MiloError) as caught:
            list(process.stream(io.BytesIO(b"BAD" + WAV), max_s=60))
        assert caught.value.code == code and caught.value.retryable is retryable and caught.value.detail
        assert not [path for path in tmp_path.glob("written") if path.stat().st_size], "it wrote to the disk"
        pid = process.pid
        assert sum(map(len, process.stream(io.BytesIO(WAV), max_s=60))) == 48_000, "the next file is decoded"
        assert process.pid == pid and psutil.Process(pid).children() == []
    finally:
        process.close()


def test_a_process_that_was_killed_is_started_again() -> None:
    process = DecoderProcess(512 * 1024**2, 30)
    try:
        opened = process.stream(io.BytesIO(media("wav", "pcm_s16le", LONG, 16_000)), max_s=3600, block_s=1)
        next(opened)
        os.kill(process.pid or 0, signal.SIGKILL)
        with pytest.raises(EngineError) as caught:
            list(opened)
        assert caught.value.code == "decoder_lost" and caught.value.retryable
        assert sum(map(len, process.stream(io.BytesIO(WAV), max_s=60))) == 48_000
    finally:
        process.close()


OWNER = """
import io, sys, time
from milo.audio.sandbox import DecoderProcess
from tests.milo.audio.test_sandbox import WAV
process = DecoderProcess(1 << 29, 30)
opened = process.stream(io.BytesIO(WAV), max_s=60, block_s=1)
next(opened)
print(process.pid, flush=True)
time.sleep(600)
"""


def test_nothing_is_left_when_the_worker_is_killed() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    with owner.stdout:
        process = psutil.Process(int(owner.stdout.readline()))
        family = [process, *process.children()]
        owner.kill()
        owner.wait()
        assert wait_until(lambda: not any(one.is_running() for one in family), 30)


# --- bombs ------------------------------------------------------------------------------------------------------------


def wav_that_claims(rate_hz: int, channels: int, data_bytes: int, held: bytes = bytes(900)) -> bytes:
    block = channels * 2
    fmt = b"fmt " + (16).to_bytes(4, "little") + (1).to_bytes(2, "little") + channels.to_bytes(2, "little")
    fmt += rate_hz.to_bytes(4, "little") + (rate_hz * block % 2**32).to_bytes(4, "little")
    fmt += (block % 65536).to_bytes(2, "little") + (16).to_bytes(2, "little")
    return b"RIFF" + (2**31).to_bytes(4, "little") + b"WAVE" + fmt + b"data" + data_bytes.to_bytes(4, "little") + held


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (wav_that_claims(10_000_000, 1, 900), "unsupported_audio"),
        (wav_that_claims(16_000, 65, 900), "unsupported_audio"),
        (wav_that_claims(16_000, 65_535, 900), "unsupported_audio"),
    ],
)
def test_a_header_that_claims_the_impossible_is_refused(data: bytes, code: str, apart: DecoderProcess) -> None:
    assert code_of(apart, data) == code


def test_a_kilobyte_that_claims_a_billion_samples_is_a_kilobyte(apart: DecoderProcess) -> None:
    claimed = apart.stream(io.BytesIO(wav_that_claims(16_000, 1, 2_000_000_000)), max_s=1e6)
    assert sum(map(len, claimed)) == 450 and claimed.truncated


def test_64_channels_at_a_megahertz_are_read_within_the_limits(apart: DecoderProcess) -> None:
    data = wav_that_claims(1_000_000, 64, 64_000_000, bytes(64_000_000))
    assert sum(map(len, apart.stream(io.BytesIO(data), max_s=60))) == 8_000


def test_the_limits_are_settings() -> None:
    settings = Settings(decode_memory_bytes=1 << 20, decode_cpu_s=7, _env_file=None)
    process = decoder_of(settings)
    try:
        assert process is decoder_of(settings) and process.cpu_s == 7
        assert code_of(process, wav_that_claims(1_000_000, 64, 64_000_000, bytes(64_000_000))) == "decode_limit"
    finally:
        process.close()


def test_opening_a_file_may_take_less_than_decoding_half_a_minute_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """200,000 tags in an MP3 took a minute before the first block."""
    limits: list[float] = []
    monkeypatch.setattr(sandbox_child.resource, "setrlimit", lambda _which, pair: limits.append(pair[0]))
    monkeypatch.setattr(sandbox_child, "_cpu_used_s", lambda: 100.0)
    for cpu_s, wanted in ((60, [110, 160, 160]), (5, [105, 105, 105])):
        limit = sandbox_child._CpuLimit(cpu_s, 3600, lasting=True)
        for _ in range(3):
            limit.wind_up()
        assert limits[-3:] == wanted
