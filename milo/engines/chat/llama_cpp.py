"""Chat on this machine: any GGUF through llama.cpp (`llama-cpp-python`).

The sampling loop is ours, over the library's tokenizer and decoder: a reply may be suspended while another one runs
(the worker gives way between pieces), and goes on afterwards from its own tokens and its own random numbers.
What two conversations, or two turns of one, have in common at their beginning is read only once (the KV cache).
"""

from __future__ import annotations

import codecs
import ctypes
import logging
import os
import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from milo.engines.chat import llama_library
from milo.engines.chat.llama_library import load_library, new_sampler
from milo.engines.chat.prompt import Prompts
from milo.errors import EngineError, Invalid, MiloError, ModelUnusable, OutOfMemory
from milo.models.gguf import check_loads, read_header
from milo.protocols import ChatEnd, Message

log = logging.getLogger(__name__)

READ_AHEAD = 512
"""Prompt tokens decoded at once on a GPU; between two such steps the reader may stop."""
READ_AHEAD_CPU = 128
PARK_TOKENS, PARK_BYTES = 256, 256 * 1024**2
"""What a displaced reply has read is copied aside from so many tokens on, as long as the copy is no larger."""


class LlamaCpp:
    """A GGUF model in memory. One thread at a time; suspended replies may interleave."""

    def __init__(
        self,
        path: Path | str,
        n_ctx: int = 4096,
        n_gpu_layers: int = -1,
        threads: int = 0,
        *,
        name: str | None = None,
        trusted: bool = False,
    ) -> None:
        """`n_ctx`: tokens of context, 0 or too many: what the model was trained for. `n_gpu_layers`: -1: all.

        `threads`: 0: all cores. `trusted`: not to be tried in another process first. Raises `ModelUnavailable`
        (`bad_gguf`, `no_model`) for a file that can't be used, `OutOfMemory` when there is no room for it.
        """
        path = Path(path)
        header = read_header(path)
        self.name = name or path.stem
        self.size_bytes = path.stat().st_size
        self.n_ctx = min(n_ctx or header.context_tokens, header.context_tokens)
        self._library = load_library()
        if not trusted:
            check_loads(path)
        self._read_ahead = READ_AHEAD if n_gpu_layers and self._library.llama_supports_gpu_offload() else READ_AHEAD_CPU
        self.lock = threading.Lock()
        self._llama: Any = self._load(path, n_gpu_layers, threads or os.cpu_count() or 1)
        self.owner: _Reply | None = None
        """Whose tokens the KV cache ends with."""
        try:
            self._vocab = self._library.llama_model_get_vocab(self._llama.model)
            self.prompts = self._prompts(header.chat_template)
        except MiloError as error:
            self.close()
            error.detail = f"{path}: {error.detail}"
            raise

    def _load(self, path: Path, n_gpu_layers: int, threads: int) -> Any:
        llama_library.errors.clear()
        try:
            return self._library.Llama(
                model_path=str(path),
                n_ctx=self.n_ctx,
                n_batch=READ_AHEAD,
                n_gpu_layers=n_gpu_layers,
                n_threads=threads,
                n_threads_batch=threads,
                verbose=False,
            )
        except Exception as error:  # the library raises ValueError, RuntimeError and AssertionError alike
            reason = "; ".join(dict.fromkeys(llama_library.errors)) or str(error)
            if any(word in reason.lower() for word in ("alloc", "out of memory", "failed to create llama_context")):
                raise OutOfMemory(
                    f"no room for {path.name} with a context of {self.n_ctx} tokens ({reason}): lower "
                    "MILO_CHAT_CONTEXT_TOKENS or MILO_N_GPU_LAYERS"
                ) from error
            raise ModelUnusable(f"{path} can't be loaded: {reason}", code="bad_gguf") from error

    def _prompts(self, template: str | None) -> Prompts:
        library, vocab = self._library, self._vocab
        count = library.llama_vocab_n_tokens(vocab)
        control = [self._text(token) for token in range(count) if library.llama_vocab_is_control(vocab, token)]
        return Prompts(
            template,
            bos=self._text(library.llama_vocab_bos(vocab)),
            eos=self._text(library.llama_vocab_eos(vocab)),
            control=control,
            tokenize=self._tokenize,
        )

    def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.7,
        top_p: float | None = None,
        json_schema: str | None = None,
        whole: bool = False,
        seed: int | None = None,
    ) -> Generator[str, None, ChatEnd]:
        """Pieces of the answer in whole characters; empty ones while a long prompt is read. Closing it stops at once.

        `temperature` 0: always the likeliest token. `seed`: the same one gives the same answer on the same machine.
        The answer ends where the context does. The generator's value says how it ended.
        `whole`: no turn may be left out. Raises `Invalid` without a message of a user or for a schema that can't be
        followed, `ContextExceeded` when it does not fit, `EngineError` when the model fails or was closed meanwhile.
        """
        with self.lock:
            llama = self._alive()
            room = min(max(1, max_tokens), max(1, self.n_ctx // 2))
            cached = llama.input_ids[: llama.n_tokens].tolist()
            tokens, dropped = self.prompts.fit(messages, self.n_ctx - room, cached=cached, whole=whole)
            reply = _Reply(self, tokens, new_sampler(temperature, seed, top_p, self._grammar(json_schema)))
        try:
            end = yield from reply.run(min(max(1, max_tokens), self.n_ctx - len(tokens)))
            return replace(end, dropped_messages=dropped)
        finally:
            reply.free()

    def _grammar(self, json_schema: str | None) -> tuple[Any, bytes] | None:
        if json_schema is None:
            return None
        from llama_cpp.llama_grammar import json_schema_to_gbnf

        try:
            return self._vocab, json_schema_to_gbnf(json_schema).encode()
        except Exception as error:  # whatever that converter trips over
            raise Invalid(f"this JSON schema can't be followed: {error}", code="bad_schema") from None

    def close(self) -> None:
        """Free the memory. Replies that are still suspended fail when they go on."""
        with self.lock:
            if self._llama is not None:
                self._llama.close()
                self._llama = None
        if prompts := getattr(self, "prompts", None):  # it may have failed before it had any
            prompts.close()

    # --- the library, for `_Reply`; call with the lock held -----------------------------------------------------------

    def _alive(self) -> Any:
        if self._llama is None:
            raise EngineError(f"{self.name} was unloaded", code="unloaded")
        return self._llama

    def advance(self, tokens: Sequence[int], sampler: Any) -> int | None:
        """One step: read some of the tokens that the cache lacks; when none is left, choose the next one."""
        llama = self._alive()
        try:
            llama.eval(tokens[llama.n_tokens : llama.n_tokens + self._read_ahead])
        except RuntimeError as error:
            self._forget()
            raise EngineError(f"{self.name} failed at token {llama.n_tokens}: {error}") from error
        if llama.n_tokens < len(tokens):
            return None
        token: int = self._library.llama_sampler_sample(sampler, llama.ctx, -1)
        return token

    def _forget(self) -> None:
        self.owner = None
        self._llama.reset()
        self._library.llama_memory_clear(self._library.llama_get_memory(self._llama.ctx), True)

    def keep_common(self, tokens: Sequence[int]) -> int:
        """Shorten the KV cache to what it has in common with `tokens`, less the last one; returns that length."""
        llama = self._alive()
        cached = llama.input_ids[: llama.n_tokens].tolist()
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(cached, tokens, strict=False)))
        common = min(common, len(tokens) - 1)  # the last one is read again: its logits are wanted
        memory = self._library.llama_get_memory(llama.ctx)
        if common < len(cached) and not self._library.llama_memory_seq_rm(memory, 0, common, -1):
            self._forget()  # a recurrent model can't go back
            return 0
        llama.n_tokens = common
        return common

    def copy_cache(self) -> tuple[list[int], Any] | None:
        """The tokens in the KV cache and its state; None where reading again costs less than a copy."""
        llama = self._alive()
        if llama.n_tokens < PARK_TOKENS:
            return None
        size = self._library.llama_state_seq_get_size(llama.ctx, 0)
        if not 0 < size <= PARK_BYTES:
            return None
        state = (ctypes.c_uint8 * size)()
        written = self._library.llama_state_seq_get_data(llama.ctx, state, size, 0)
        return (llama.input_ids[: llama.n_tokens].tolist(), state) if written == size else None

    def put_back(self, tokens: Sequence[int], state: Any) -> int:
        """Make a copy the KV cache again; returns how many tokens it holds, 0 when it could not be."""
        llama = self._alive()
        self._forget()
        if not self._library.llama_state_seq_set_data(llama.ctx, state, len(state), 0):
            self._forget()
            return 0
        llama.input_ids[: len(tokens)] = tokens
        llama.n_tokens = len(tokens)
        return len(tokens)

    def _tokenize(self, text: str, *, special: bool, first: bool) -> list[int]:
        tokens: list[int] = self._alive().tokenize(text.encode("utf-8", "replace"), add_bos=first, special=special)
        return tokens

    def ends_with(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return bool(self._library.llama_vocab_is_eog(self._vocab, token))

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        raw: bytes = self._library.llama_vocab_get_text(self._vocab, token)
        return raw.decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; none for a control token."""
        size = 64
        while True:
            buffer = (ctypes.c_char * size)()
            length = self._library.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return bytes(buffer.raw[:length])
            size = -length


class _Reply:
    """One answer while it is generated: its tokens so far and its sampler."""

    def __init__(self, model: LlamaCpp, prompt: list[int], sampler: Any) -> None:
        self._model = model
        self._tokens = prompt
        self._prompt_tokens = len(prompt)
        self._cached_tokens = 0
        self._sampler = sampler
        self._aside: tuple[list[int], Any] | None = None
        """The KV cache as it was when another reply displaced this one."""
        self._ended = False

    def run(self, most: int) -> Generator[str, None, ChatEnd]:
        model, decoder, begun = self._model, codecs.getincrementaldecoder("utf-8")("ignore"), False
        finish = "length"
        for _ in range(most):
            while (token := self._advance()) is None:
                yield ""
            if model.ends_with(token):
                finish = "stop"
                break
            self._tokens.append(token)
            text = decoder.decode(model.piece(token))
            if text := text if begun else text.lstrip():  # many vocabularies begin each word with a blank
                begun = True
                yield text
        reply_tokens = len(self._tokens) - self._prompt_tokens
        return ChatEnd(finish, self._prompt_tokens, reply_tokens, self._cached_tokens)

    def _advance(self) -> int | None:
        """Decode what the KV cache lacks: the prompt, the last token, or all that another reply has displaced.

        Then the next token; None when there is more to read first.
        """
        model = self._model
        with model.lock:
            if model.owner is not self:
                if model.owner is not None:
                    model.owner.step_aside()
                if not self._come_back():
                    done = model.keep_common(self._tokens)
                    if len(self._tokens) == self._prompt_tokens and not self._cached_tokens:
                        self._cached_tokens = done
                model.owner = self
            return model.advance(self._tokens, self._sampler)

    def step_aside(self) -> None:
        """Another reply takes the KV cache: keep what was read, or a long prompt would be begun anew each time."""
        if not self._ended:
            self._aside = self._model.copy_cache()

    def _come_back(self) -> bool:
        aside, self._aside = self._aside, None
        return aside is not None and self._model.put_back(*aside) > 0

    def free(self) -> None:
        self._ended, self._aside = True, None
        self._model._library.llama_sampler_free(self._sampler)
