"""What an exception of the work means for its job."""

from __future__ import annotations

import errno
import logging
import os

import redis

from milo.errors import EngineError, Invalid, MiloError, OutOfMemory, Unavailable

log = logging.getLogger(__name__)

NOT_TENSORS = (
    "the checkpoint's optimizer.pt, scheduler.pt or rng_state.pth holds what is neither a tensor nor a number, and "
    "could run anything: it was not loaded. Go on from another one, or name this one as the model of a new training"
)
FULL_DISK = ("(os error 28)", "(os error 122)", "inline_container.cc", "basic_ios::clear: iostream error")
"""safetensors: ENOSPC and EDQUOT; torch.save: any write that failed."""


def to_milo_error(error: Exception) -> MiloError:
    """The error that the job's owner reads. What is no `MiloError` is logged with its traceback."""
    if isinstance(error, MiloError):
        return error
    if type(error).__name__ == "UnpicklingError":  # torch's text advises to load it all the same
        log.error("a checkpoint holds what is neither a tensor nor a number; it was not loaded")
        return Invalid(NOT_TENSORS, code="bad_checkpoint")
    log.exception("a job's work raised %s", type(error).__name__, exc_info=error)
    if isinstance(error, MemoryError):
        return OutOfMemory("this machine has too little memory for the job")
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which need not be there
        return OutOfMemory(f"the card has too little memory free for the job: {error}")
    if isinstance(error, ModuleNotFoundError):  # the environment of `make demo`, or a plain `pip install`
        detail = f"the package {error.name} is not installed on the worker's machine: run `make env`"
        return MiloError(detail, code="not_installed")
    if is_disk_full(error):
        return Unavailable(f"there is no room left on the disk: {error}", code="storage", retry_after_s=30)
    return EngineError(f"{type(error).__name__}: {error}", code="internal_error")


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk is full: OSError says it by number, safetensors and torch (whose writer is C++) in words."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return not isinstance(error, MiloError) and any(words in str(error) for words in FULL_DISK)


def is_redis_away(error: MiloError) -> bool:
    """Whether Redis can't be reached. The job is not to blame, so its return costs no attempt, however often it
    returns; there is no flood of retries, for while Redis is away no messages are delivered."""
    return isinstance(error.__cause__, (redis.ConnectionError, redis.TimeoutError))


def end_child_if_gpu_is_broken(error: Exception) -> None:
    """After a CUDA fault every further call in this process fails: Celery starts a new child."""
    if "CUDA error" in str(error):
        log.critical("the CUDA context is unusable, this child ends: %s", error)
        os._exit(1)
