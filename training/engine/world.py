"""The processes that train one session together. Most sessions have one, and pay nothing for what more would need.

Each rank sees every r-th row of each batch, so that all ranks together see what one process would see: the number of
ranks changes the order of sums, and nothing else.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """What one rank computes of a batch.

    rows: (N,) int64, never none. loss_scale: the mean loss over these rows, times this, averaged over the ranks, is
    the mean over the batch. counted: whether these rows belong into this rank's sums.
    """

    rows: Tensor
    loss_scale: float
    counted: bool


class World:
    """One process alone: everything is its own. `World.alone()` reads better where one is made."""

    rank = 0
    size = 1

    @classmethod
    def alone(cls) -> "World":
        return World()

    @property
    def is_first(self) -> bool:
        """The first rank alone writes: journal, checkpoints, weights."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Share:
        """This rank's part of a training batch. rows: (N,) of the whole batch."""
        return Share(rows, 1.0, True)

    def split(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """The batches that this rank evaluates, maybe none: no gradients are averaged, so each goes its own way."""
        return batches

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call in training steps: its backward averages the gradients over the ranks.

        What is saved, loaded and evaluated is `model` itself. Every rank gets the first one's parameters.
        """
        return model

    def accumulating(self, wrapped: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Around forward and backward of each batch of an accumulation window but the last: averages nothing yet."""
        return contextlib.nullcontext()

    def align_buffers(self, model: nn.Module) -> None:
        """Give every rank the first one's buffers (the running averages of BatchNorm). Before evaluating and saving."""

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over the ranks, in place; every rank has the sum."""
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank. Whatever a clock or a signal decides must be asked so."""
        return flag

    def gather(self, value: Any) -> list[Any] | None:
        """The values of all ranks in their order, on the first; None on the others. A value must be picklable."""
        return [value]

    def close(self) -> None:
        """Leave the others, at the end."""


class Ranks(World):
    """One of several processes, as torch.distributed knows them: gradients over NCCL, all that is small over gloo.

    Every method but `share` and `split` must be called by all ranks, in the same order.
    """

    def __init__(self, device: torch.device) -> None:
        """Meet the others, at the address that the launcher wrote into the environment."""
        import torch.distributed

        self._distributed = torch.distributed
        self._device = device
        # Flags and values go over gloo also on a GPU, so that asking for them does not wait for the device.
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        self.rank = torch.distributed.get_rank()
        self.size = torch.distributed.get_world_size()

    def share(self, rows: Tensor) -> Share:
        # Too few to give every rank two, which is what batch normalisation needs: then each computes the whole batch.
        if len(rows) < 2 * self.size:
            return Share(rows, 1.0, self.is_first)
        mine = rows[self.rank :: self.size]
        return Share(mine, len(mine) * self.size / len(rows), True)

    def split(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        return batches[self.rank :: self.size]

    def wrap(self, model: nn.Module) -> nn.Module:
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[self._device.index] if self._device.type == "cuda" else None,
            # Not only for parameters that a model leaves out: without it the buckets change after the first step,
            # and with them the order in which gradients are summed, so that a resume would not be exact.
            find_unused_parameters=True,
        )

    @contextlib.contextmanager
    def accumulating(self, wrapped: nn.Module) -> Iterator[None]:
        assert isinstance(wrapped, nn.parallel.DistributedDataParallel)
        with wrapped.no_sync():
            yield

    def align_buffers(self, model: nn.Module) -> None:
        for buffer in model.buffers():
            self._distributed.broadcast(buffer, src=0)

    def sum_(self, tensor: Tensor) -> Tensor:
        self._distributed.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        flags = torch.tensor([flag], dtype=torch.int32)
        self._distributed.all_reduce(flags, self._distributed.ReduceOp.MAX)
        return bool(flags.item())

    def gather(self, value: Any) -> list[Any] | None:
        values: list[Any] | None = [None] * self.size if self.is_first else None
        self._distributed.gather_object(value, values)
        return values

    def close(self) -> None:
        self._distributed.destroy_process_group()
