"""Recordings on the table of one engine: windows of several of them in each batch.

A recording's windows that are done are kept in its work folder, so a job that gives way, or whose worker dies, goes on
from its last finished window.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.errors import ModelBroken, NotFound
from milo.jobs import Progress
from milo.kinds.stt import SttPayload
from milo.protocols import DecodeOptions, KeptLanguage, Transcriber, WindowText, WordTiming
from milo.settings import Settings
from milo.transcription.channels import Channel, Channels, load_channels
from milo.transcription.coverage import transcribe
from milo.transcription.decoded_speech import DecodedSpeech, Window, plan_windows
from milo.transcription.kept_language import Asked, kept_language, spoken_for
from milo.transcription.segments import compose
from milo.transcription.speakers import merge
from milo.transcription.transcript import Transcript
from milo.transcription.windows import FILL_FROM_S, heard_probabilities
from milo.transcription.word_times import speech_runs
from workers.group import Group
from workers.work import Finished, RunningJob

INLINE_BYTES = 64 * 1024
"""Results up to this size stand in the row; larger ones in a file."""
BATCHES_A_STEP = 4
"""Engine batches that one step may hold: the engine sorts its windows by length, so more of them pad less."""
LOOK_AHEAD = 2
"""Steps' worth of windows to choose near lengths from."""
STEP_S = 1.5
"""Engine time between two yield points that the batch size is steered to: how long a person may have to wait."""


@dataclass
class Recording:
    """A job on the table: its windows, and what has been heard in them."""

    running: RunningJob
    channels: Channels
    windows: list[tuple[Channel, Window]]
    probabilities: dict[int, npt.NDArray[np.uint8]]
    """Of speech in each frame that a window holds, by the number of the channel."""
    heard: dict[int, WindowText] = field(default_factory=dict)
    spoken_for: dict[int, Asked] = field(default_factory=dict)
    """See `kept_language`: windows that wait until others were asked for their language."""

    @property
    def waiting(self) -> list[int]:
        return [index for index in range(len(self.windows)) if index not in self.heard]


class Table:
    """The recordings that share the engine now, and the choice of the next batch among their windows."""

    def __init__(self, group: Group, engine: Transcriber, options: DecodeOptions, settings: Settings) -> None:
        self._group = group
        self._engine = engine
        self._options = options
        self._settings = settings
        self._batch = settings.batch_windows
        asks = options.language is None and len(engine.languages) > 1
        self._keeps_languages = asks and settings.stt_ask_language == "recording"
        self.open: dict[str, Recording] = {}
        self._queue: list[tuple[str, int]] = []

    def admit(self, joined: Sequence[RunningJob]) -> None:
        """Put jobs on the table. One that can't be read fails alone; one without speech is done at once."""
        for running in joined:
            try:
                channels = recording_in(running.work_folder, running.payload)
            except NotFound:
                self._group.back_to(running, "decode")
                continue
            engine = self._engine
            plans = [(one, _plan(one.speech, engine)) for one in channels.speakers]
            windows = [(one, window) for one, plan in plans for window in plan]
            probabilities = {one.number: heard_probabilities(one.speech, plan) for one, plan in plans}
            recording = Recording(running, channels, windows, probabilities, _saved(running, windows))
            self.open[running.id] = recording
            if self._keeps_languages:
                recording.spoken_for = spoken_for(Counter(channel.number for channel, _ in windows).values())
            waiting = sorted(recording.waiting, key=lambda index: index in recording.spoken_for)
            self._queue += [(running.id, index) for index in waiting]
            if not recording.waiting:
                self._finish(recording)

    def fill(self) -> bool:
        """Claim more jobs while the windows on the table don't fill a step. False: there is nothing left to do."""
        while len(self._queue) < self._batch:
            joined = self._group.more(self._batch - len(self._queue))
            if not joined:
                break
            self.admit(joined)
        return bool(self._queue)

    def step(self) -> None:
        """One call of the engine: the oldest window, and those nearest to it in length."""
        chosen = self._choose()
        recordings = [self.open[job_id] for job_id, _ in chosen]
        pairs = [recording.windows[index] for recording, (_, index) in zip(recordings, chosen, strict=True)]
        windows = [window for _, window in pairs]
        audio = [window.samples(channel.speech) for channel, window in pairs]
        started = time.monotonic()
        runs = [
            speech_runs(window.start_s, window.end_s, recording.probabilities[channel.number])
            for recording, (channel, window) in zip(recordings, pairs, strict=True)
        ]
        kept = [self._kept(self.open[job_id], index) for job_id, index in chosen]
        texts = transcribe(self._engine, windows, audio, runs, self._options, kept if any(kept) else ())
        took_s = time.monotonic() - started
        self._steer(len(chosen), took_s)
        total_s = sum(window.duration_s for window in windows)
        touched: dict[str, list[int]] = {}
        for (job_id, index), window, text in zip(chosen, windows, texts, strict=True):
            recording = self.open.get(job_id)
            if recording is None:
                continue
            if not math.isfinite(text.avg_logprob):
                self._fail(recording, f"{self._engine.name} returned {text.avg_logprob}: its weights are broken")
                touched.pop(job_id, None)
                continue
            recording.heard[index] = text
            recording.running.compute_s += took_s * window.duration_s / total_s
            touched.setdefault(job_id, []).append(index)
        for job_id, indexes in touched.items():
            self._after(self.open[job_id], indexes)

    def _choose(self) -> list[tuple[str, int]]:
        pool = list(islice(filter(self._is_ready, self._queue), self._batch * LOOK_AHEAD))
        oldest = pool[0]
        pool.sort(key=self._length_s)
        at = pool.index(oldest)
        start = max(0, min(at - self._batch // 2, len(pool) - self._batch))
        chosen = pool[start : start + self._batch]
        taken = set(chosen)
        self._queue = [item for item in self._queue if item not in taken]
        return chosen

    def _is_ready(self, item: tuple[str, int]) -> bool:
        recording = self.open[item[0]]
        return all(place in recording.heard for place in recording.spoken_for.get(item[1], ()))

    def _kept(self, recording: Recording, index: int) -> KeptLanguage | None:
        asked = recording.spoken_for.get(index)
        return kept_language(asked, recording.heard) if asked else None

    def _length_s(self, item: tuple[str, int]) -> float:
        _, window = self.open[item[0]].windows[item[1]]
        return window.duration_s

    def _steer(self, count: int, took_s: float) -> None:
        """Keep a step near `STEP_S`, so that somebody who waits does not wait long."""
        if took_s > 2 * STEP_S:
            self._batch = max(1, int(count * STEP_S / took_s))
        elif took_s < STEP_S / 2 and count >= self._batch:
            self._batch = min(self._settings.batch_windows * BATCHES_A_STEP, self._batch * 2)

    def _after(self, recording: Recording, indexes: Sequence[int]) -> None:
        running = recording.running
        done_s = sum(recording.windows[i][1].duration_s for i in recording.heard)
        running.progress = Progress(done=round(done_s, 3), total=round(recording.channels.speech_s, 3), unit="s")
        if len(recording.heard) == len(recording.windows):
            self._finish(recording)
        else:
            _save(running, recording, indexes)

    def _finish(self, recording: Recording) -> None:
        running = recording.running
        self.open.pop(running.id, None)
        if not self._group.active(running.id):
            return
        duration_s = recording.channels.duration_s
        content = self._transcript(recording).model_dump_json().encode()
        large = len(content) > INLINE_BYTES
        running.progress = Progress(done=duration_s, total=duration_s, unit="s")
        self._group.finish(
            running,
            Finished(
                result=None if large else json.loads(content),
                file=running.files.write_result(running.id, running.claim.fence, content) if large else None,
                audio_s=duration_s,
                models={"stt": self._engine.name},
            ),
        )

    def _transcript(self, recording: Recording) -> Transcript:
        channels = recording.channels
        transcripts = [(channel, self._of_channel(recording, channel)) for channel in channels.speakers]
        return merge(transcripts, channels.warnings) if channels.separate else transcripts[0][1]

    def _of_channel(self, recording: Recording, channel: Channel) -> Transcript:
        speech = channel.speech
        return compose(
            [
                (w.start_s, w.end_s, recording.heard[i])
                for i, (one, w) in enumerate(recording.windows)
                if one is channel
            ],
            duration_s=speech.duration_s,
            speech_s=speech.speech_s,
            frame_probabilities=recording.probabilities[channel.number],
            model=self._engine.name,
            engine=self._settings.stt_engine,
            task=self._options.task,
            warnings=speech.warnings,
        )

    def _fail(self, recording: Recording, why: str) -> None:
        """Of this recording alone: those beside it may be understood."""
        self._forget([recording.running.id])
        self._group.fail(recording.running, ModelBroken(f"the model {why}"))

    def drop_gone(self) -> None:
        """Forget jobs that were cancelled or lost at the yield point."""
        gone = [job_id for job_id in self.open if not self._group.active(job_id)]
        if gone:
            self._forget(gone)

    def _forget(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            del self.open[job_id]
        self._queue = [item for item in self._queue if item[0] in self.open]


def _plan(speech: DecodedSpeech, engine: Transcriber) -> list[Window]:
    return plan_windows(
        speech,
        pack_window_s=engine.pack_window_s,
        max_window_s=engine.max_window_s,
        filled=engine.pack_window_s >= FILL_FROM_S,
    )


def recording_in(folder: Path, payload: SttPayload) -> Channels:
    """What the first stage left. Raises `NotFound` (code not_decoded) where that is not complete."""
    if payload.channels == "separate":
        return load_channels(folder)
    return Channels([Channel(0, DecodedSpeech.load(folder))], [], separate=False)


def _key(pair: tuple[Channel, Window]) -> str:
    channel, window = pair
    return f"{channel.number}:{window.start_s:.3f}-{window.end_s:.3f}"


def _save(running: RunningJob, recording: Recording, indexes: Sequence[int]) -> None:
    """Append finished windows to this attempt's file."""
    lines = [json.dumps({"window": _key(recording.windows[i]), **asdict(recording.heard[i])}) for i in indexes]
    with (running.work_folder / f"heard-{running.claim.fence}.jsonl").open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def _saved(running: RunningJob, windows: Sequence[tuple[Channel, Window]]) -> dict[int, WindowText]:
    """What earlier slices and attempts have finished. A line that a dying worker left torn is passed over."""
    places = {_key(pair): index for index, pair in enumerate(windows)}
    heard: dict[int, WindowText] = {}
    for path in sorted(running.work_folder.glob("heard-*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                fields: dict[str, Any] = json.loads(line)
                index = places[fields.pop("window")]
                words = [WordTiming(**word) for word in fields.pop("words")]
                heard[index] = WindowText(**fields, words=words)
            except (ValueError, KeyError, TypeError):
                continue
    return heard
