"""What a browser gets of a recording: peaks of all, the original where it can be played, an MP3 on the same time line
where not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from milo.audio.encode import encode
from milo.audio.peaks import HEAD
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.settings import Settings
from milo.storage.files import Files
from milo.storage.playback import PlaybackFiles
from workers.runner import Runner

SAMPLES = Path(__file__).parents[3] / "samples"
CLICK_S = 1.25


@pytest.fixture
def files(settings: Settings) -> Files:
    return Files(settings)


def prepared(settings: Settings, ledger: Ledger, files: Files, content: bytes) -> PlaybackFiles:
    """The job of a transcription, and the recording made ready."""
    source = {"blob": files.put_blob([content]).id, "name": "a"}
    stt = ledger.create(NewJob(kind="stt", payload={"source": source, "model": "m"}, owner="a", priority="batch"))
    payload = {"job_id": stt.id, "source": source}
    job = ledger.create(NewJob(kind="playback", payload=payload, owner="a", priority="interactive"))
    Runner(settings, ledger, files, "w/0").run(job.id)
    done = ledger.get(job.id)
    assert done.state == "succeeded", done.error
    return PlaybackFiles(files, stt.id)


@pytest.mark.parametrize(
    ("sample", "media_type", "transcoded"),
    [
        ("01-mono-16k.wav", "audio/wav", False),
        ("03-podcast.mp3", "audio/mpeg", False),
        ("05-voice-note.opus", "audio/ogg", False),
        ("06-phone-memo.m4a", "audio/mp4", False),
        ("07-browser.webm", "audio/mpeg", True),
        ("09-video.mkv", "audio/mpeg", True),
    ],
)
def test_browsers_get_the_original_or_an_mp3_of_the_same_length(
    settings: Settings, ledger: Ledger, files: Files, sample: str, media_type: str, transcoded: bool
) -> None:
    stored = prepared(settings, ledger, files, (SAMPLES / sample).read_bytes())
    about = stored.about()
    assert about and (about.media_type, about.transcoded) == (media_type, transcoded)
    head = HEAD.unpack(stored.peaks()[: HEAD.size])
    assert abs(head[4] * head[3] / head[2] - about.duration_s) < 0.03
    if transcoded:
        with stored.open_audio() as file, av.open(file) as opened:
            assert opened.duration is not None and abs(opened.duration / 1e6 - about.duration_s) < 0.1


def test_a_telephones_codec_becomes_an_mp3_whose_times_are_those_of_the_transcript(
    settings: Settings, ledger: Ledger, files: Files
) -> None:
    samples = np.zeros(3 * 16_000, np.float32)
    samples[round(CLICK_S * 16_000) :][:160] = 0.9
    stored = prepared(settings, ledger, files, encode(samples, 16_000, "aac"))  # no index in it: transcoded
    with stored.open_audio() as file, av.open(file) as opened:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)])
    assert abs(int(np.abs(heard).argmax()) / 16_000 - CLICK_S) < 0.1
    low, high = np.frombuffer(stored.peaks()[HEAD.size :], np.int8).reshape(-1, 2).T
    assert abs(int((high.astype(int) - low).argmax()) * 0.02 - CLICK_S) < 0.1


def test_what_was_cleaned_away_meanwhile_leaves_nothing(settings: Settings, ledger: Ledger, files: Files) -> None:
    source = {"blob": files.put_blob([(SAMPLES / "01-mono-16k.wav").read_bytes()]).id, "name": "a"}
    gone = "job_" + "0" * 24
    payload = {"job_id": gone, "source": source}
    job = ledger.create(NewJob(kind="playback", payload=payload, owner="a", priority="interactive"))
    Runner(settings, ledger, files, "w/0").run(job.id)
    assert ledger.get(job.id).state == "failed" and PlaybackFiles(files, gone).about() is None
