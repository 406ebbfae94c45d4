"""Compiling a network where that works."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["compile_network"]


def compile_network(
    network: nn.Module,
    z: Tensor,
    log_snr: Tensor,
    *,
    covariates: Tensor | None = None,
    labels: Tensor | None = None,
    weather: Tensor | None = None,
    **options: Any,
) -> nn.Module:
    """Compile a network in place, or leave it as it is, with a warning, where that fails.

    Compiling happens at the first call, so the network is tried out, forward and backward. Its
    weights, their names and its type stay the same: it can be saved, copied and averaged as before.
    On a CPU compiling hardly pays for itself; it is meant for GPUs and long trainings.

    Parameters
    ----------
    network : torch.nn.Module
    z, log_snr, covariates, labels, weather : Tensor
        An example of what it will be called with; other shapes, and another autocast, are compiled
        when they come.
    **options
        Passed to `torch.compile`.

    Returns
    -------
    torch.nn.Module
        The same object.

    Warns
    -----
    RuntimeWarning
        If the network cannot be compiled here, with the reason.

    Examples
    --------
    >>> from skdiffuse.networks import build_network
    >>> network = build_network("tiny")
    >>> z, log_snr = torch.zeros(1, 4, 16, 16), torch.zeros(1)
    >>> compile_network(network, z, log_snr, backend="eager") is network
    True
    """
    try:
        network.compile(**options)
        with torch.enable_grad():
            given = {"covariates": covariates, "labels": labels, "weather": weather}
            given = {name: tensor for name, tensor in given.items() if tensor is not None}
            trial = network(z, log_snr, **given).square().mean()
        if trial.requires_grad:
            parameters = [p for p in network.parameters() if p.requires_grad]
            torch.autograd.grad(trial, parameters, allow_unused=True)
    except Exception as error:  # A compiler may fail with anything.
        network._compiled_call_impl = None
        reason = str(error).strip().split("\n")[0]
        warnings.warn(
            f"torch.compile failed ({type(error).__name__}: {reason}); the network runs without.",
            RuntimeWarning,
            stacklevel=2,
        )
    return network
