"""Batches of data that lies on the disk, read while the training computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]

# A few: each is memory, and more would not make the disk faster.
BATCHES_AHEAD = 4


class ReadAhead:
    """Gathers the batches that were announced, in a thread and a few at a time. Pinned where there is a GPU."""

    def __init__(self, gather: Callable[[Tensor], Batch]) -> None:
        self._gather = gather
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._rest: Iterator[Tensor] = iter(())
        self._coming: deque[tuple[Tensor, Future[Batch]]] = deque()

    def announce(self, batches: Iterable[Tensor]) -> None:
        """Begin to read these, in this order; what was announced before is forgotten."""
        for _, future in self._coming:
            future.cancel()
        self._coming.clear()
        self._rest = iter(batches)
        for _ in range(BATCHES_AHEAD):
            self._begin_next()

    def take(self, rows: Tensor) -> Batch:
        """The batch of these rows, read already when they are the next that were announced, and otherwise now."""
        if not self._coming or self._coming[0][0] is not rows:
            return self._gather(rows)
        _, future = self._coming.popleft()
        self._begin_next()
        return future.result()

    def _begin_next(self) -> None:
        rows = next(self._rest, None)
        if rows is not None:
            self._coming.append((rows, self._thread.submit(self._read, rows)))

    def _read(self, rows: Tensor) -> Batch:
        samples, targets = self._gather(rows)
        if torch.cuda.is_available():
            return samples.pin_memory(), targets.pin_memory()
        return samples, targets
