"""What a batch does when the memory is full: its halves are computed instead, and what is finished is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from milo.errors import EngineError, MiloError, OutOfMemory

Item = TypeVar("Item")
Result = TypeVar("Result")
OUT_OF_MEMORY = ("out of memory", "bad_alloc", "alloc_failed", "failed to allocate", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA, cuBLAS, C++ and Python say it in different ways."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY)


class BatchLimit:
    """How much one batch of an engine may hold, in padded units (feature frames, tokens).

    The limit begins at the engine's budget. A batch that finds no memory lowers it, so that the next ones are not
    tried at a size that has just failed; `raise_again`, called before each job, doubles it up to the budget, since the
    memory may have been another program's for a moment. Threads may share one: a batch that was planned under a
    higher limit is split without being tried.
    """

    def __init__(self, engine: str, budget: int, free: Callable[[], None]) -> None:
        """`engine`: its name, for messages. `free`: gives cached memory back after running out of it."""
        self.units = budget
        self._engine = engine
        self._budget = budget
        self._free = free

    def raise_again(self) -> None:
        self.units = min(self._budget, self.units * 2)

    def run(
        self,
        batch: Sequence[Item],
        unit: Callable[[Sequence[Item]], int],
        compute: Callable[[Sequence[Item]], list[Result]],
        alone: Callable[[Item], str],
    ) -> list[Result]:
        """The result of each item, in order.

        `unit`: units that each item of a batch is padded to. `alone`: the words for one item that does not fit by
        itself. Raises `OutOfMemory` with them, `EngineError` for what else `compute` raises.
        """
        count, padded = len(batch), unit(batch)
        if count == 1 or count * padded <= self.units:
            try:
                return compute(batch)
            except MiloError:
                raise
            except Exception as error:
                if not is_out_of_memory(error):
                    raise EngineError(f"{self._engine} failed: {error}") from error
            self._free()  # outside of `except`, whose traceback holds on to the tensors
            if count == 1:
                raise OutOfMemory(
                    f"{self._engine} has not enough memory for {alone(batch[0])}; free some, or use a smaller model"
                )
            self.units = max(padded, count // 2 * padded)
        half = count // 2
        first = self.run(batch[:half], unit, compute, alone)
        return [*first, *self.run(batch[half:], unit, compute, alone)]
