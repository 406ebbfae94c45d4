"""Arithmetic of the network in fewer bits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["LossScale", "resolve_precision", "tensor_cores"]

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def resolve_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """The type for autocast, or None for float32.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16", "float16"}
        "auto": bfloat16 on GPUs that have it, else float32. Processors emulate it.
    device : torch.device

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> resolve_precision("auto", torch.device("cpu")) is None
    True
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; choose one of {PRECISIONS}.")
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if fast else None
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


class LossScale:
    """Factor that keeps small gradients from vanishing in float16; 1 where it is not used.

    It is halved when a gradient overflows, and doubled after 2000 steps without (Micikevicius et
    al. 2018, "Mixed precision training").

    Examples
    --------
    >>> scale = LossScale(used=True)
    >>> scale.update(finite=False)
    >>> scale.value
    32768.0
    """

    def __init__(self, used: bool) -> None:
        self.used = used
        self.value = 2.0**16 if used else 1.0
        self.good_steps = 0

    @property
    def can_fall(self) -> bool:
        """Whether an overflow may be the factor's fault."""
        return self.value > 1.0

    def undo(self, parameters: list[Tensor]) -> None:
        """Divide gradients by the factor."""
        if self.value != 1.0:
            gradients = [p.grad for p in parameters if p.grad is not None]
            torch._foreach_mul_(gradients, 1.0 / self.value)

    def update(self, finite: bool) -> None:
        """Take note of a step."""
        if not self.used:
            return
        self.good_steps = self.good_steps + 1 if finite else 0
        if not finite:
            self.value = max(1.0, self.value / 2)
        elif self.good_steps == 2000:
            self.value, self.good_steps = 2 * self.value, 0

    def state(self) -> list[float]:
        """For a checkpoint."""
        return [self.value, self.good_steps]

    def restore(self, state: list[float]) -> None:
        """Take back what `state` gave."""
        if self.used:
            value, good_steps = state
            self.value, self.good_steps = value, int(good_steps)


@contextlib.contextmanager
def tensor_cores(device: torch.device) -> Iterator[None]:
    """Let a GPU multiply float32 in TF32, and leave the setting as it was."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
