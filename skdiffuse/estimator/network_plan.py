"""How to build the network of a model: at the start of training, and again for stored weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from skdiffuse.networks import MixturePrior, build_network

__all__ = ["NetworkPlan"]

# Layers draw their first weights from torch's one global stream, which threads share.
_global_stream = threading.Lock()


@dataclass(frozen=True)
class NetworkPlan:
    """What a network is made from, beside its weights.

    Attributes
    ----------
    architecture : str or callable
        As in `NetworkSettings`.
    n_frames : int
        Frames of a training window.
    n_covariates, n_labels : int
        Fields and classes that it can be told.
    field_shape : tuple of int or None
        Rows and columns of the fields whose places it knows; None where places mean nothing.
    edges : tuple of str
        For rows and columns.
    skip : str or None
        As in `NetworkSettings`.
    n_inputs, n_outputs : int
        Fields that the network is given and returns for each frame; 1 where there is a skip.
    """

    architecture: str | Callable[..., nn.Module]
    n_frames: int
    n_covariates: int
    n_labels: int
    field_shape: tuple[int, int] | None
    edges: tuple[str, str]
    skip: str | None
    n_inputs: int = 1
    n_outputs: int = 1

    @property
    def tells_weather(self) -> bool:
        """Whether the network is told the class of weather; one of a user's own is not."""
        return self.skip == "mixture" and isinstance(self.architecture, str)

    def shapes(self, start: MixturePrior | Tensor | None) -> dict[str, torch.Size]:
        """Names and shapes of a network's weights, for which no memory is taken."""
        with torch.device("meta"):
            return {name: each.shape for name, each in self.build(start).state_dict().items()}

    def build(
        self,
        start: MixturePrior | Tensor | None,
        *,
        seed: int = 0,
        gradient_checkpointing: bool = False,
    ) -> nn.Module:
        """Make the network with new weights, drawn from a stream of their own.

        Parameters
        ----------
        start : MixturePrior, Tensor of shape (frames, y, x), or None
            What the skip knows of training windows: their mixture, or their spectrum.
        seed : int
        gradient_checkpointing : bool
            See `NetworkSettings`.
        """
        make: Callable[..., nn.Module]
        prior = start if isinstance(start, MixturePrior) else None
        if isinstance(self.architecture, str):
            make = partial(
                build_network,
                self.architecture,
                n_weathers=0 if prior is None else prior.n_classes,
                gradient_checkpointing=gradient_checkpointing,
            )
        else:
            make = partial(self.architecture, n_frames=self.n_frames)
        if (self.n_inputs, self.n_outputs) != (1, 1):
            make = partial(make, in_channels=self.n_inputs, out_channels=self.n_outputs)
        # fork_rng puts the global stream back.
        with _global_stream, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = make(
                n_covariates=self.n_covariates,
                n_labels=self.n_labels,
                field_shape=self.field_shape,
                edges=self.edges,
                power=None if prior is not None else start,
                prior=prior,
            )
        if not isinstance(network, nn.Module):
            raise TypeError(
                f"network={self.architecture!r} must return a torch.nn.Module that predicts v; it "
                f"returned {type(network).__name__}."
            )
        return network
