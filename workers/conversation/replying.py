"""What `chat` and `converse` share: the turn of a session, a reply as it is written and as it is spoken."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from milo.audio.encode import to_int16
from milo.chat.reply import Reply, converse
from milo.chat.sessions import Sessions, Turn
from milo.errors import Invalid, Unavailable
from milo.jobs import Progress
from milo.language import sentences
from milo.protocols import Samples, Synthesizer, Translator
from milo.queue.streams import EventWriter
from milo.settings import Settings
from milo.synthesis import synthesis
from workers import engines
from workers.work import RunningJob

TURN_S = 30.0
LOOK_S = 0.02


def take_turn(sessions: Sessions, running: RunningJob, session_id: str, ticket: int) -> Generator[Progress, None, Turn]:
    """Wait, giving way, until the messages before this one have been answered."""
    deadline = time.monotonic() + TURN_S
    while (turn := sessions.try_turn(running.job.owner, session_id, ticket)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"session {session_id} is busy with an earlier message", code="session_busy")
        time.sleep(LOOK_S)
        yield Progress(unit="pieces")
    return turn


@contextmanager
def reply_to(
    running: RunningJob, message: str, turn: Turn | None, language: str | None, max_tokens: int, temperature: float
) -> Iterator[Reply]:
    """Milo's reply, its models held as long as the block lasts."""
    settings = running.settings
    with ExitStack() as stack:
        translator: Translator | None = None
        if settings.chat_via == "fr":
            translator = stack.enter_context(engines.translator(settings, settings.translate_model))
        reply = converse(
            message,
            settings=settings,
            models=engines.chat_sources(settings),
            history=turn.session.exchanges if turn else (),
            language=language,
            translator=translator,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        stack.callback(reply.close)
        yield reply


class ReplySpeaker:
    """Speaks a reply while it is being written: whole sentences, each said on the stream as it is ready."""

    def __init__(
        self,
        settings: Settings,
        synth: Synthesizer,
        speaker: EventWriter,
        language: str,
        voice: str | None,
        speed: float,
    ) -> None:
        self._settings, self._synth, self._speaker = settings, synth, speaker
        self._language = language if language in synth.languages else synth.languages[0]
        self._voice, self._speed = voice, speed
        self._waiting = ""
        self.chunks: list[Samples] = []

    def hear(self, piece: str, last: bool = False) -> Iterator[None]:
        """Take a piece of the reply; speak the sentences that are whole now. Yields after each."""
        self._waiting += piece
        parts = sentences.split(self._waiting)
        if last:
            done, self._waiting = self._waiting, ""
        else:
            final = max((index for index, part in enumerate(parts) if part.is_sentence), default=0)
            done = "".join(part.text for part in parts[:final])
            self._waiting = "".join(part.text for part in parts[final:])
        if done.strip():
            yield from self._say(done.strip(), last)

    def _say(self, text: str, last: bool) -> Iterator[None]:
        rate_hz = self._synth.sample_rate_hz
        try:
            spoken = synthesis.synthesize(
                self._synth,
                text,
                language=self._language,
                voice=self._voice,
                speed=self._speed,
                max_chars=len(text),
                order=self._settings.number_order,
            )
            for chunk, ends in _with_end(spoken) if last else ((chunk, False) for chunk in spoken):
                self.chunks.append(chunk)
                data = {"sample_rate_hz": rate_hz, "text": text, "last": ends}
                self._speaker.say("audio", data, to_int16(chunk).tobytes())
                yield
        except Invalid as error:
            if error.code != "nothing_to_speak":  # a smiley alone has no sound
                raise

    def spoken_s(self) -> float:
        """How long it is, so far."""
        return sum(map(len, self.chunks)) / self._synth.sample_rate_hz

    def audio(self) -> Samples:
        """All that was spoken."""
        return np.concatenate(self.chunks) if self.chunks else np.zeros(0, np.float32)


def _with_end(chunks: Iterator[Samples]) -> Iterator[tuple[Samples, bool]]:
    """Each chunk, and whether it is the last one."""
    previous: Samples | None = None
    for chunk in chunks:
        if previous is not None:
            yield previous, False
        previous = chunk
    if previous is not None:
        yield previous, True
