"""One training on several processes, as torchrun starts them."""

from __future__ import annotations

import contextlib
import copy
import datetime
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

__all__ = [
    "Processes",
    "blank_copy",
    "load_shared",
    "own_share",
    "shared_like",
    "whole",
    "whole_tensors",
]

Module = TypeVar("Module", bound=nn.Module)
# A process that waits longer than this for another takes it for dead.
PATIENCE = datetime.timedelta(minutes=5)


class Processes:
    """The processes that share a training; one, if torchrun did not start this one.

    Each works on its own windows of every batch, and all hold the same weights, or each its share
    of them. `torchrun` tells them of each other in the environment. A process that dies takes the
    others with it: they fail in the next exchange, after `PATIENCE` at the latest.

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
        if self.count == 1 or _is_sharded(module):
            return module
        self._meet(device)
        return nn.parallel.DistributedDataParallel(
            module, device_ids=[device] if device.type == "cuda" else None
        )

    def shard(self, module: nn.Module, device: torch.device) -> None:
        """Leave each process its share of a module's parameters, on its device.

        What a network goes through one after the other, the members of its lists, is put together
        one at a time when it is needed, and gradients are averaged over processes. Processes begin
        with the first one's values.
        """
        # Importing it takes most of a second, which is not everybody's.
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self._meet(device)
        for tensor in module.state_dict().values():
            tensor.copy_(self.from_first(tensor))
        for parameter in module.parameters():
            # Shares are rows, so that rows have to lie one after the other.
            parameter.data = parameter.data.contiguous()
        mesh = init_device_mesh(device.type, (self.count,))
        for part in module.modules():
            if isinstance(part, nn.ModuleList):
                for member in part:
                    if not isinstance(member, nn.ModuleList):
                        fully_shard(member, mesh=mesh)
        fully_shard(module, mesh=mesh, reshard_after_forward=True)

    @contextlib.contextmanager
    def keep_gradients(self, module: nn.Module, keep: bool = True) -> Iterator[None]:
        """Gradients of what is done in here wait for later ones before they are exchanged."""
        if _is_sharded(module):
            module.set_requires_gradient_sync(not keep)
            yield
        elif keep and isinstance(module, nn.parallel.DistributedDataParallel):
            with module.no_sync():
                yield
        else:
            yield

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


def _is_sharded(module: nn.Module) -> TypeGuard[FSDPModule]:
    return hasattr(module, "set_requires_gradient_sync")


def _is_shared(tensor: Tensor) -> TypeGuard[DTensor]:
    return hasattr(tensor, "full_tensor")


def own_share(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that is shared among processes, or all of another."""
    return tensor.to_local() if _is_shared(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """A shared tensor put together in main memory, or another as it is.

    All processes have to ask for it at the same time.
    """
    return tensor.full_tensor().cpu() if _is_shared(tensor) else tensor


def whole_tensors(tensors: Mapping[str, Tensor], keep: bool = True) -> dict[str, Tensor]:
    """`whole` of several; who does not `keep` them gets none."""
    found = {}
    for name, tensor in tensors.items():
        tensor = whole(tensor)
        if keep:
            found[name] = tensor
    return found


def shared_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor that every process has, shared among them as another one is."""
    if not _is_shared(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def load_shared(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a module, whose parameters may be shared, the values of a whole state dictionary."""
    like = module.state_dict()
    module.load_state_dict(
        {name: shared_like(value, like.get(name, value)) for name, value in state.items()}
    )


def blank_copy(module: Module, device: str) -> Module:
    """A copy of a module, to be loaded: its parameters hold nothing and are not trained."""
    blanks = {
        id(p): nn.Parameter(torch.empty_like(p, device=device), requires_grad=False)
        for p in module.parameters()
    }
    return copy.deepcopy(module, blanks).eval()
