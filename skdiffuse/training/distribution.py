"""One training on several processes, as torchrun starts them."""

from __future__ import annotations

import datetime
import os

import torch
from torch import Tensor, nn
from torch import distributed as dist

__all__ = ["Processes"]

# A process that waits longer than this for another takes it for dead.
PATIENCE = datetime.timedelta(minutes=5)


class Processes:
    """The processes that share a training; one, if torchrun did not start this one.

    Each works on its own windows of every batch, and all hold the same weights. `torchrun` tells
    them of each other in the environment. A process that dies takes the others with it: they fail
    in the next exchange, after `PATIENCE` at the latest.

    Attributes
    ----------
    number, count : int
        Which of how many this is.
    """

    def __init__(self) -> None:
        # Some batch systems set one or the other for purposes of their own.
        told = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
        self.count = int(os.environ["WORLD_SIZE"]) if told else 1
        self.number = int(os.environ["RANK"]) if told else 0

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and shows progress for all."""
        return self.number == 0

    def device(self, wanted: torch.device) -> torch.device:
        """The GPU of this process among those of its machine."""
        if self.count == 1 or wanted.type != "cuda" or wanted.index is not None:
            return wanted
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def join(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module with gradients averaged over processes."""
        if self.count == 1:
            return module
        self._meet(device)
        return nn.parallel.DistributedDataParallel(
            module, device_ids=[device] if device.type == "cuda" else None
        )

    def places(self, batch_size: int) -> range:
        """Which windows of a batch are this process's."""
        if batch_size < self.count:
            raise ValueError(
                f"batch_size={batch_size} is less than the {self.count} processes that share it; "
                "start fewer or raise batch_size."
            )
        return range(self.number, batch_size, self.count)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over processes."""
        if self.count == 1:
            return values
        device = self._exchange_device()
        values = values.to(device)
        dist.all_reduce(values)
        return values.cpu()

    def from_first(self, values: Tensor) -> Tensor:
        """What the first process holds."""
        if self.count == 1:
            return values
        values = values.to(self._exchange_device())
        dist.broadcast(values, 0)
        return values.cpu()

    def agree(self, seed: int, device: torch.device) -> int:
        """The first process's seed."""
        if self.count == 1:
            return seed
        self._meet(self.device(device))
        return int(self.from_first(torch.tensor([seed])))

    @staticmethod
    def _exchange_device() -> str:
        return "cuda" if dist.get_backend() == "nccl" else "cpu"

    def _meet(self, device: torch.device) -> None:
        if not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=PATIENCE)
