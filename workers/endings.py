"""How work ends: what an exception of it means for the job, and patience with a ledger that can't be written."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import redis

from milo.errors import EngineError, LeaseLost, MiloError, OutOfMemory, Unavailable

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long finished work waits for a ledger that is locked or whose disk is full."""

FULL_DISK = ("(os error 28)", "(os error 122)", "inline_container.cc", "basic_ios::clear: iostream error")
"""safetensors: ENOSPC and EDQUOT; torch.save: any write that failed."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def lost_is_fine() -> Iterator[None]:
    """Another attempt owns the job by now; what this one has to say counts for nothing."""
    try:
        yield
    except LeaseLost as error:
        log.warning("%s", error)


def patiently(change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a change of the ledger, again and again while it can't be written: the work behind it is done.

    The fence makes that safe: one that was written although the database said no is `LeaseLost` the second time.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return change(*args, **kwargs)
        except Unavailable as error:
            if time.monotonic() > until:
                raise
            log.warning("the end of a job can't be written yet: %s", error)
            time.sleep(0.5)


def as_milo(error: Exception) -> MiloError:
    if isinstance(error, MiloError):
        return error
    log.exception("a job's work raised %s", type(error).__name__, exc_info=error)
    if isinstance(error, MemoryError):
        return OutOfMemory("this machine has too little memory for the job")
    if isinstance(error, ModuleNotFoundError):  # the environment of `make demo`, or a plain `pip install`
        detail = f"the package {error.name} is not installed on the worker's machine: run `make env`"
        return MiloError(detail, code="not_installed")
    if is_out_of_room(error):
        return Unavailable(f"there is no room left on the disk: {error}", code="storage", retry_after_s=30)
    return EngineError(f"{type(error).__name__}: {error}", code="internal_error")


def is_out_of_room(error: BaseException) -> bool:
    """Whether a disk is full: what OSError says by number, safetensors and torch (whose writer is C++) say in words."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return not isinstance(error, MiloError) and any(words in str(error) for words in FULL_DISK)


def is_redis_away(error: MiloError) -> bool:
    """Whether Redis can't be reached. That is no fault of the job: it comes back as often as it takes, and no storm,
    for while Redis is away no messages are brought."""
    return isinstance(error.__cause__, (redis.ConnectionError, redis.TimeoutError))


def end_child_if_gpu_is_broken(error: Exception) -> None:
    """After a CUDA fault every further call in this process fails: Celery starts a new child."""
    if "CUDA error" in str(error):
        log.critical("the CUDA context is unusable, this child ends: %s", error)
        os._exit(1)
