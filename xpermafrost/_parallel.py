"""Data-parallel training: the same batches, shared between the processes of torch.distributed.

Every process reads the same batches and learns from its part of each; torch's
DistributedDataParallel adds up the gradients. The loss of a part is divided by the weight of the
whole batch, so that the sum is that of one process, missing targets or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import distributed, nn

from ._gathering import Batch, mean_loss


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one network together."""

    number: int = 0
    count: int = 1

    @classmethod
    def of_torch(cls) -> Ranks:
        """Those of ``torch.distributed``, where it was initialised (``torchrun`` does)."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes checkpoints."""
        return self.number == 0

    def own_chance(self, seed: int) -> None:
        """Another dropout than that of the first process."""
        if not self.first:
            torch.manual_seed(seed + 7919 * self.number)

    def wrap(self, net: nn.Module) -> nn.Module:
        """The network whose gradients are added up over all processes."""
        return nn.parallel.DistributedDataParallel(net) if self.count > 1 else net

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Loss of this process's part, such that the mean of all is that of the batch."""
        size = len(batch.x)
        if self.count == 1 or size < self.count:
            return mean_loss(model, batch, measure)
        own = slice(size * self.number // self.count, size * (self.number + 1) // self.count)
        part = Batch(*(values[own] for values in batch))
        error = measure(model(part.x, part.location), part.y)
        return (error * part.weight).sum() * (self.count / batch.weight.sum())

    def mean(self, loss: torch.Tensor) -> float:
        """The loss of the batch."""
        value = loss.detach()
        if self.count > 1:
            value = value.clone()
            distributed.all_reduce(value)
            value = value / self.count
        return float(value)
