"""A turn of a spoken conversation, stage by stage, over the real socket: 1, 10 and 50 people at once.

    python -m benchmarks.conversation [--people 1 10 50] [--turns 20]

Everybody speaks a recorded sentence (eSpeak NG) in real time, frames of 40 ms, then keeps sending silence. All times
are the client's, from its last sample of speech: `closed` is when the utterance counts as complete
(MILO_CONVERSATION_SILENCE_S of it is the silence that is waited for), then final transcript, first text of the reply,
first audio, end. Embedded engines, one worker: fifty people who speak at the same moment wait for each other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.common import machine, running_stack, save
from milo.audio.resample import resample
from milo.engines.speech import espeak
from milo.settings import Settings
from milo.stack.up import note_of

SENTENCES = ("Manao ahoana tompoko", "Aiza ny tsena", "Misaotra betsaka tompoko")
RATE_HZ = 16_000
FRAME_S = 0.04
FRAME_BYTES = round(FRAME_S * RATE_HZ) * 2
STAGES = {
    "closed": ("vad", {"speaking": False}),
    "transcript": ("transcript", {"final": True}),
    "first_text": ("reply_delta", {}),
    "first_audio": ("reply_audio", {"index": 0}),
    "end": ("turn_end", {}),
}
Turn = dict[str, float]


def recording(text: str) -> bytes:
    """The sentence as int16 LE at 16 kHz, without silence at its end."""
    speech = espeak.synthesize_malagasy(text, rate_wpm=140)
    samples = resample(speech.samples.astype(np.float32) / 32768, speech.sample_rate, RATE_HZ)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    pcm: bytes = (samples[: loud[-1] + 1] * 32767).astype("<i2").tobytes()
    return pcm


class Microphone:
    """Sends in real time: what is to be said, and silence otherwise. Notes when the last speech has been sent."""

    def __init__(self, connection: ClientConnection, waiting: bytes = b"") -> None:
        self.connection = connection
        self.waiting = waiting
        self.spoken_at = 0.0

    async def run(self) -> None:
        due = time.perf_counter()
        while True:
            frame, self.waiting = self.waiting[:FRAME_BYTES], self.waiting[FRAME_BYTES:]
            await self.connection.send(frame.ljust(FRAME_BYTES, b"\0"))
            if frame:
                self.spoken_at = time.perf_counter()
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def person(settings: Settings, number: int, turns: int, begin: asyncio.Event) -> list[Turn]:
    """One conversation; the times of each of its turns in ms."""
    url = settings.url.replace("http", "ws", 1) + "/api/v1/conversation?language=mg"
    headers = {"Authorization": f"Bearer {settings.api_key}"}
    async with connect(url, additional_headers=headers, proxy=None, max_size=None) as connection:
        assert json.loads(await connection.recv())["type"] == "session"
        microphone = Microphone(connection)
        task = asyncio.create_task(microphone.run())
        await begin.wait()
        found = []
        for turn in range(turns):
            microphone.waiting = recording(SENTENCES[(number + turn) % len(SENTENCES)])
            found.append(await listen(connection, microphone))
            await connection.send(json.dumps({"type": "playback", "playing": False}))
        task.cancel()
    return found


async def listen(connection: ClientConnection, microphone: Microphone) -> Turn:
    at: Turn = {}
    while "end" not in at:
        event = json.loads(await connection.recv())
        now = time.perf_counter()
        if event["type"] == "error":
            raise RuntimeError(event["detail"])
        for stage, (kind, fields) in STAGES.items():
            if event["type"] == kind and fields.items() <= event.items():
                at.setdefault(stage, (now - microphone.spoken_at) * 1000)
    assert event["outcome"] == "answered", event
    return at


async def crowd(settings: Settings, people: int, turns: int) -> list[Turn]:
    begin = asyncio.Event()
    tasks = [asyncio.create_task(person(settings, number, turns, begin)) for number in range(people)]
    await asyncio.sleep(1)
    begin.set()
    return [turn for found in await asyncio.gather(*tasks) for turn in found]


async def listening(settings: Settings, people: int, seconds: float) -> float:
    """Share of one core that the API takes while so many microphones send a quiet room, nobody speaking."""
    note = note_of(settings)
    assert note is not None
    api = next(one for one in psutil.Process(note["pid"]).children(True) if "uvicorn" in " ".join(one.cmdline()))
    room = np.random.default_rng(0).normal(0, 30, round(seconds * RATE_HZ)).astype("<i2").tobytes()
    url = settings.url.replace("http", "ws", 1) + "/api/v1/conversation"
    headers = {"Authorization": f"Bearer {settings.api_key}"}
    async with AsyncExitStack() as stack:
        microphones = []
        for _ in range(people):
            connection = await stack.enter_async_context(connect(url, additional_headers=headers, proxy=None))
            microphones.append(Microphone(connection, room))
        tasks = [asyncio.create_task(one.run()) for one in microphones]
        await asyncio.sleep(1)
        before, started = sum(api.cpu_times()[:2]), time.perf_counter()
        await asyncio.sleep(seconds - 2)
        share = (sum(api.cpu_times()[:2]) - before) / (time.perf_counter() - started)
        for task in tasks:
            task.cancel()
    return share


def summary(turns: list[Turn]) -> dict[str, Any]:
    """p50 and p95 of each stage, ms from the end of speech."""
    report: dict[str, Any] = {"turns": len(turns)}
    for stage in STAGES:
        times = sorted(turn[stage] for turn in turns)
        p95 = statistics.quantiles(times, n=20, method="inclusive")[18] if len(times) > 1 else times[0]
        report[stage] = {"p50_ms": round(statistics.median(times)), "p95_ms": round(p95)}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--turns", type=int, default=20, help="of one person; many people have fewer each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as settings:
        asyncio.run(crowd(settings, 1, 2))  # loads the engines
        engines = {"stt": settings.stt_model, "chat": settings.chat_model, "tts": settings.tts_model}
        load = round(os.getloadavg()[0], 1)  # what else the machine had to do
        report: dict[str, Any] = {"machine": machine() | {"load_before": load}, "engines": engines}
        report["silence_ms"] = round(settings.conversation_silence_s * 1000)
        report["listening_50_cpu_share"] = share = round(asyncio.run(listening(settings, 50, 12)), 3)
        print(f"50 microphones in a quiet room: {share:.0%} of a core in the API", flush=True)
        for people in asked.people:
            started = time.perf_counter()
            turns = asyncio.run(crowd(settings, people, max(1, asked.turns // people)))
            report[f"people_{people}"] = found = summary(turns)
            found["turns_per_s"] = round(len(turns) / (time.perf_counter() - started), 2)
            print(f"{people:3} people: {json.dumps(found)}", flush=True)
        save("conversation", report)


if __name__ == "__main__":
    main()
