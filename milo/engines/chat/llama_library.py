"""The library llama.cpp in this process: loading it, its log, and its samplers."""

from __future__ import annotations

import ctypes
import logging
import os
from collections import deque
from functools import lru_cache
from typing import Any

from milo.errors import Invalid, ModelUnusable

log = logging.getLogger(__name__)

TOP_K, TOP_P, MIN_P = 40, 0.95, 0.05
"""llama.cpp's own defaults."""
_LOG_ERROR = 4

errors: deque[str] = deque(maxlen=20)
"""The last errors that llama.cpp logged: it returns none."""


@lru_cache(maxsize=1)
def load_library() -> Any:
    """The package `llama_cpp`, with its log turned to ours. Raises `ModelUnavailable` when it does not start."""
    # By default the threads of llama.cpp spin while they wait for each other. On a machine whose cores are busy (a
    # decode, a training) the one that is waited for then never runs: measured, 40 s to the first token against 0.7 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:  # the wheel may not fit this machine
        raise ModelUnusable(
            f"llama-cpp-python is not installed or does not start ({error}): run `make env`, or "
            "pip install 'milo-voice[chat]'",
            code="no_model",
        ) from error
    llama_cpp.llama_log_set(_log_callback(llama_cpp), ctypes.c_void_p(0))
    return llama_cpp


@lru_cache(maxsize=1)
def _log_callback(library: Any) -> Any:
    """Kept for ever: llama.cpp goes on calling it."""

    @library.llama_log_callback  # type: ignore[untyped-decorator]
    def listen(level: int, text: bytes, _: Any) -> None:
        line = text.decode("utf-8", "replace").strip()
        log.debug("llama.cpp: %s", line)
        if level == _LOG_ERROR and line:
            errors.append(line)

    return listen


def new_sampler(
    temperature: float, seed: int | None, top_p: float | None = None, grammar: tuple[Any, bytes] | None = None
) -> Any:
    """A chain that picks the next token: the likeliest at temperature 0, else a random one, the same for a seed.

    `grammar`: the vocabulary, and what the answer may be, in GBNF.
    """
    library = load_library()
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    if grammar:
        limit = library.llama_sampler_init_grammar(*grammar, b"root")
        if not limit:
            library.llama_sampler_free(chain)
            raise Invalid("this JSON schema can't be followed: llama.cpp refuses its grammar", code="bad_schema")
        library.llama_sampler_chain_add(chain, limit)
    if temperature <= 0:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
        return chain
    number = int.from_bytes(os.urandom(4), "little") if seed is None else seed & 0xFFFFFFFF
    for part in (
        library.llama_sampler_init_top_k(TOP_K),
        library.llama_sampler_init_top_p(TOP_P if top_p is None else top_p, 1),
        library.llama_sampler_init_min_p(MIN_P, 1),
        library.llama_sampler_init_temp(temperature),
        library.llama_sampler_init_dist(number),
    ):
        library.llama_sampler_chain_add(chain, part)
    return chain
