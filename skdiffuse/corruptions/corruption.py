"""The interface of a corruption: a way from data to nothing that is known, and the step back.

A family of corruptions is one map ``z = F(x, log_snr, noise)`` of data x. The clock of all of them
is the log-SNR, because schedules, grids and networks go by it: ``+inf`` is t = 0, where z is x
itself, ``-inf`` is t = 1, where z is a draw from a stated law that knows nothing more of x, and
``t = (2 / pi) atan(exp(-log_snr / 2))`` lies between, the time of the cosine schedule. What a
clock's time means is the corruption's own: the noise of a Gaussian, the width of a blur, the share
of cells that are masked (``sigma(log_snr)**2``, say).

What a corruption has to give, in the order in which it is used:

=============================  =================================================================
``encode``, ``decode``         from the latent of rain to what is corrupted, and back: classes, or
                               an autoencoder's codes; as it is by default
``fit``                        what it learns of the data before the network does: a law, an encoder
``noise``, ``step_noise``      what chance decides in `corrupt` and in `step_back`, for one sample
``corrupt``                    ``z = F(x, log_snr, noise)``
``law``                        z at ``log_snr = -inf``, from which sampling begins
``loss``                       what the network is trained on
``estimate``                   what the network says of x: an expectation, or probabilities
``step_back``                  z at a higher log-SNR, from z and the estimate; the data at ``+inf``
``capabilities``               what may be asked of it; `require` refuses everything else by name
=============================  =================================================================

With these, `draw_back` samples from any of them, and the training loop, checkpoints and files of
`PrecipDiffusion(corruption=...)` work for all. Today's Gaussian diffusion is `GaussianCorruption`;
it keeps its own samplers, as do all whose way back is an equation that they solve (``"ode"``).

Source: Su, "Topics on diffusion generative models", sections 10 and 11 (eqs. 11.1 to 11.5).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from skdiffuse.diffusion import Denoiser

__all__ = ["CAPABILITIES", "Corruption", "require"]

Field = Callable[[Tensor], Tensor]

# What may be asked of a corruption, and what it takes.
CAPABILITIES = {
    "cells": "an estimate of the latent of each cell, in which known ones can take their place",
    "expectation": "an estimate that is an expectation, which can be exaggerated",
    "gradient": "Tweedie's formula, which guidance with a gradient (w_r) rests on",
    "likelihood": "a bound of the log-density",
    "amortised": "a latent whose known cells tell what the network should say of them",
    "ode": "an equation that deterministic step rules solve",
    "sde": "Gaussian noise, as stochastic step rules add it",
    "skip": "a closed form that the network may start from, with classes of weather",
    "learnt_latent": "a latent that may go on changing while the network learns",
    "any_shape": "a law at the noisy end for sequences of any size",
    "restoration": "a noisy end that coarse rain can take the place of (of_rain=True)",
}


class Corruption(ABC):
    """One way to corrupt data and to go back; see the module's docstring.

    Subclasses are frozen dataclasses of plain numbers, which files hold, and keep what `fit` learnt
    in ``tensors()``. x and z have shape (n, ...); a log-SNR is a float64 tensor, 0-D or (n,), and
    may be infinite.
    """

    #: Names of `CAPABILITIES` that it has.
    capabilities: frozenset[str] = frozenset()
    #: Fields that the network is given and returns for each frame; the shape of z is (n, frames,
    #: y, x) if it is given one, and that of a prediction likewise, else the fields stand before y.
    n_inputs: int = 1
    n_outputs: int = 1

    # What is corrupted

    def fit(self, latents: Iterable[Tensor], seed: int = 0) -> Self:
        """The same corruption with what it learns of the data.

        Parameters
        ----------
        latents : iterable of Tensor of shape (n, frames, y, x)
            Batches of training windows in latent units, NaN where missing.
        seed : int
        """
        return self

    def bound(self, decode: Field, encode: Field) -> Self:
        """The same corruption told the way from latent units to mm/h (smoothly) and back."""
        return self

    def tensors(self) -> dict[str, Tensor]:
        """What `fit` learnt, for files."""
        return {}

    def with_tensors(self, tensors: dict[str, Tensor]) -> Self:
        """The fitted corruption from what `tensors` gave."""
        return self

    def encode(self, latent: Tensor) -> Tensor:
        """From latents to what is corrupted; NaN passes through."""
        return latent

    def decode(self, x: Tensor) -> Tensor:
        """Back to latents."""
        return x

    def shape(self, window: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of x for a window of frames, rows and columns."""
        return window

    # On the way to noise

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """What chance decides in `corrupt` for one sample, x of which has a shape."""
        return torch.randn(shape, generator=generator)

    def noises(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """`noise` of n samples from one generator."""
        return torch.stack([self.noise(shape, generator) for _ in range(n)])

    @abstractmethod
    def corrupt(self, x: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        """``z = F(x, log_snr, noise)``."""

    def law(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """One draw of z at ``log_snr = -inf``; nothing is left of x, unless overridden."""
        noise = self.noise(shape, generator)[None]
        x = torch.zeros(1, *shape)
        return self.corrupt(x, torch.tensor(-torch.inf, dtype=torch.float64), noise)[0]

    # What the network learns

    @abstractmethod
    def loss(
        self,
        network: Denoiser,
        x: Tensor,
        log_snr: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """Loss of each sample, shape (n,), over the cells of x that are not NaN.

        ``network(z, log_snr)`` is given z and gives a prediction; see `estimate`.
        """

    @property
    def trained(self) -> nn.Module | None:
        """What is trained together with the network; by default nothing."""
        return None

    def settled(self) -> Self:
        """The same corruption at the end of a training, with what it has learnt in it."""
        return self

    def losses(
        self,
        network: Denoiser,
        latent: Tensor,
        log_snr: Tensor,
        noise: Tensor,
        density: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """What training minimises the sum of: `loss`, and what is asked of `trained`.

        Parameters
        ----------
        network : callable
        latent : Tensor of shape (n, frames, y, x)
            Of rain, NaN where missing.
        log_snr : Tensor of shape (n,)
        noise : Tensor
        density : callable
            By which log-SNRs are drawn.

        Returns
        -------
        loss, loss_of_trained : Tensor of shape (n,)
        """
        loss = self.loss(network, self.encode(latent), log_snr, noise)
        return loss, torch.zeros_like(loss)

    # On the way back

    @abstractmethod
    def estimate(self, prediction: Tensor, z: Tensor, log_snr: Tensor) -> Tensor:
        """What a network's prediction says of x."""

    def denoiser(self, network: Denoiser) -> Denoiser:
        """The network as a denoiser, ``(z, log_snr) -> x_hat``."""
        return lambda z, log_snr: self.estimate(network(z, log_snr), z, log_snr)

    def gaussian_views(self, denoiser: Denoiser) -> list[Denoiser]:
        """The denoiser as equally likely ones of Gaussian noise, for `"likelihood"`."""
        return [denoiser]

    def levels(self, grid: Tensor) -> Tensor:
        """The log-SNRs that its own steps go through where a sampler's grid is asked for."""
        return grid

    def step_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """What chance decides in `step_back` for one sample; as `noise`, unless overridden."""
        return self.noise(shape, generator)

    @abstractmethod
    def step_back(
        self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor, noise: Tensor
    ) -> Tensor:
        """Draw z at ``log_snr_next``, which is higher; data if it is ``+inf``.

        Where x_hat is x itself the result is distributed as ``corrupt(x, log_snr_next)``.
        """


def require(corruption: Corruption, capability: str, asked: str) -> None:
    """Refuse what a corruption cannot do.

    Parameters
    ----------
    corruption : Corruption
    capability : str
        One of `CAPABILITIES`.
    asked : str
        What asks for it, as the user spelt it.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> from skdiffuse.corruptions import GaussianCorruption
    >>> require(GaussianCorruption(), "likelihood", "score_samples")
    """
    if capability not in corruption.capabilities:
        able = ", ".join(sorted(corruption.capabilities)) or "nothing but sampling"
        raise ValueError(
            f"{asked} needs {CAPABILITIES[capability]}, which corruption={corruption!r} does not "
            f"have (it has: {able}); leave it out, or fit with corruption='gaussian'."
        )


def of_each(values: Any, x: Tensor) -> Tensor:
    """A number, or one for each sample, to go with x, in the type of x."""
    values = torch.as_tensor(values)
    return values.to(x).reshape(-1, *[1] * (x.ndim - 1)) if values.ndim else values.to(x)
