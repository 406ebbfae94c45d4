"""Where double precision is computed: on the device, or on the CPU where a device has none."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["has_double", "home_of_double", "in_double"]


def has_double(device: torch.device | str) -> bool:
    """Whether a device computes in float64, which Apple's GPUs do not.

    Examples
    --------
    >>> has_double(torch.device("cpu")), has_double(torch.device("mps"))
    (True, False)
    """
    return torch.device(device).type != "mps"


def home_of_double(device: torch.device | str) -> torch.device:
    """Where float64 that belongs to a device is kept.

    Examples
    --------
    >>> home_of_double(torch.device("mps"))
    device(type='cpu')
    """
    return torch.device(device if has_double(device) else "cpu")


def in_double(x: Tensor) -> Tensor:
    """The same numbers as float64, on the CPU where their device has none; gradients pass."""
    return x.to(home_of_double(x.device)).double()
