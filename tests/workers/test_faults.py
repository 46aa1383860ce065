"""What an exception of the work means for its job."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import redis

from milo.errors import BadMedia, EngineError, MiloError, OutOfMemory, Unavailable
from workers.faults import is_disk_full, is_redis_away, to_milo_error


def test_a_package_that_is_not_installed_is_named_with_what_to_do() -> None:
    error = to_milo_error(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert error.code == "not_installed" and not error.retryable
    assert "torch" in error.detail and "make env" in error.detail


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (BadMedia("no", code="not_audio"), BadMedia, "not_audio"),
        (MemoryError(), OutOfMemory, "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left"), Unavailable, "storage"),
        (OSError(errno.EDQUOT, "Quota exceeded"), Unavailable, "storage"),
        (RuntimeError("[enforce fail at inline_container.cc:659]"), Unavailable, "storage"),
        (ZeroDivisionError("engine bug"), EngineError, "internal_error"),
    ],
)
def test_every_exception_has_an_error_for_the_jobs_owner(error: Exception, kind: type[MiloError], code: str) -> None:
    told = to_milo_error(error)
    assert isinstance(told, kind) and told.code == code
    assert is_disk_full(error) == (code == "storage")


def test_only_a_redis_that_cannot_be_reached_is_away() -> None:
    away, refused = Unavailable("Redis does not answer"), Unavailable("a wrong command")
    away.__cause__ = redis.ConnectionError("refused")
    refused.__cause__ = redis.ResponseError("WRONGTYPE")
    assert is_redis_away(away) and not is_redis_away(refused) and not is_redis_away(EngineError("x"))


def test_a_checkpoint_that_is_no_tensors_is_refused_and_nobody_is_told_to_load_it_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    torch.save({"step": torch.nn.Linear(1, 1)}, tmp_path / "optimizer.pt")
    with pytest.raises(Exception, match="weights_only") as caught:
        torch.load(tmp_path / "optimizer.pt", weights_only=True)
    error = to_milo_error(caught.value)
    assert error.code == "bad_checkpoint" and not error.retryable and "optimizer.pt" in error.detail
    for said in (error.detail, caplog.text):
        assert "weights_only" not in said and "re-running" not in said
