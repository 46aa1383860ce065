"""A chat message: its turn in the session, the reply piece by piece, and in voice mode its sound."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

from milo.audio.encode import encode
from milo.chat.reply import Answer, Mode
from milo.chat.sessions import Sessions, Turn
from milo.jobs import Progress
from milo.kinds.chat import ChatPayload
from milo.protocols import ChatEnd, Message
from milo.queue.streams import EventWriter
from workers import engines
from workers.conversation.replying import ReplySpeaker, reply_to, take_turn
from workers.work import Finished, RunningJob


def chat(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Answer a message of a session, or (the OpenAI route) a conversation that the client keeps."""
    payload: ChatPayload = running.payload
    speaker = EventWriter(running.settings, running.id)
    running.lets_equals_pass = True
    if payload.messages:
        return (yield from _complete(running, payload, speaker))
    turn: Turn | None = None
    if payload.session_id and payload.ticket is not None:
        turn = yield from take_turn(Sessions(running.settings), running, payload.session_id, payload.ticket)
    return (yield from _reply(running, payload, speaker, turn))


def _reply(
    running: RunningJob, payload: ChatPayload, speaker: EventWriter, turn: Turn | None
) -> Generator[Progress, None, Finished]:
    started = time.monotonic()
    with ExitStack() as stack:
        reply = stack.enter_context(
            reply_to(running, payload.message, turn, payload.language, payload.max_tokens, payload.temperature)
        )
        mouth: ReplySpeaker | None = None
        if payload.voice_mode:
            model = payload.tts_model or running.settings.tts_model
            synth = stack.enter_context(engines.synthesizer(running.settings, model))
            mouth = ReplySpeaker(running.settings, synth, speaker, reply.language, payload.voice, payload.speed)
        count, told = 0, False
        for piece in reply:
            count += 1
            if turn:
                turn.renew()
            if reply.mode and not told:
                speaker.say("mode", {"mode": reply.mode})
                told, running.lets_equals_pass = True, False
            if piece:
                speaker.say("delta", {"text": piece})
            for _ in mouth.hear(piece) if mouth else ():
                yield Progress(done=count, unit="pieces")
            yield Progress(done=count, unit="pieces")
        for _ in mouth.hear("", last=True) if mouth else ():
            yield Progress(done=count, unit="pieces")
        if turn:
            turn.finish(reply.exchange())
        engines.report(running.settings, running.claim.worker)
        result: dict[str, Any] = {
            "reply": reply.text.strip(),
            "mode": reply.mode,
            "session_id": payload.session_id,
            "language": reply.language,
            **_ending(reply.end),
            "processing_ms": round((time.monotonic() - started) * 1000),
        }
        file, audio_s = None, None
        if mouth:
            rate_hz = synth.sample_rate_hz
            audio = mouth.audio()
            audio_s = round(len(audio) / rate_hz, 3)
            file = running.files.write_result(running.id, running.claim.fence, encode(audio, rate_hz, "wav"), "wav")
            result["audio"] = {"format": "wav", "sample_rate_hz": rate_hz, "duration_s": audio_s}
        speaker.say("end", result)
        return Finished(result, file=file, audio_s=audio_s, models={"chat": reply.model})


def _complete(running: RunningJob, payload: ChatPayload, speaker: EventWriter) -> Generator[Progress, None, Finished]:
    started = time.monotonic()
    messages = [Message(turn.role, turn.content) for turn in payload.messages]
    models = engines.chat_sources(running.settings)
    answer = Answer(
        messages,
        running.settings,
        models,
        max_tokens=payload.max_tokens,
        temperature=payload.temperature,
        top_p=payload.top_p,
        stop=payload.stop,
        json_schema=payload.json_schema,
        whole=not payload.truncate,
    )
    text, count, told = "", 0, False
    try:
        for piece in answer:
            count += 1
            text += piece
            if answer.mode and not told:
                speaker.say("mode", {"mode": answer.mode})
                told, running.lets_equals_pass = True, False
            if piece:
                speaker.say("delta", {"text": piece})
            yield Progress(done=count, unit="pieces")
    finally:
        answer.close()
    engines.report(running.settings, running.claim.worker)
    mode: Mode | None = answer.mode
    result = {"reply": text, "mode": mode, "session_id": None, "language": None, **_ending(answer.end)}
    result["processing_ms"] = round((time.monotonic() - started) * 1000)
    speaker.say("end", result)
    return Finished(result, models={"chat": answer.model})


def _ending(end: ChatEnd | None) -> dict[str, Any]:
    """Usage in tokens, where the model counts them, why it stopped, and how many messages it had no room for."""
    if end is None:
        return {"usage": None, "finish_reason": "stop", "dropped_messages": 0}
    usage = {"prompt_tokens": end.prompt_tokens, "completion_tokens": end.reply_tokens}
    usage["cached_tokens"] = end.cached_tokens
    return {"usage": usage, "finish_reason": end.finish, "dropped_messages": end.dropped_messages}
