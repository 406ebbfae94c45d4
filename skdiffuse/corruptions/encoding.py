r"""The encoding model: diffusion of what a trained encoder makes of the data.

.. math:: z = \alpha\, F(x) + \sigma\, \epsilon

(Su, eq. 11.17). F is learnt first, as one half of an autoencoder, and then held (two stages, as in
Rombach et al. (2022), "Latent diffusion models"), or goes on learning together with the network
(eq. 11.18). Its element-wise case is `skdiffuse.preprocessing.LearntMonotoneTransform`, which has
an inverse and a Jacobian in closed form and keeps every cell; here cells are saved.

**Together** both minimise a bound of :math:`-\log p(x)`. Its last step back, from the code with a
little noise ``s = code_noise`` to the data, is the decoder's, a Gaussian of a variance
:math:`\tau^2` that is learnt; all others are the network's:

.. math:: \frac{1}{2 \tau^2} \|x - D(F(x) + s \epsilon)\|^2 + \frac{d}{2} \log 2 \pi \tau^2
          + \frac12 \int_{-\infty}^{-2 \log s} \|\epsilon - \hat\epsilon\|^2 \, d\lambda

The network's share of it may be weighted as training weights it, because each noise level is a task
of its own; the encoder's may not. So the encoder is handed the v-loss's gradient times
:math:`\alpha^2 / (2 p(\lambda))`, with p the density by which log-SNRs are drawn, up to
``-2 log s``, and nothing beyond (Vahdat et al. (2021), "Score-based generative modeling in latent
space", weigh encoder and network apart for the same reason).

Without the first term codes that are easily told from noise would be best: constant ones. Their
scale is out of the game: mean and variance over some frames of the training data are 0 and 1 at
each step, as they were for the schedule that the network goes by.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiffuse.corruptions.autoencoder import SpatialAutoencoder
from skdiffuse.corruptions.corruption import of_each
from skdiffuse.corruptions.gaussian import GaussianCorruption
from skdiffuse.diffusion import Denoiser, alpha

__all__ = ["EncodedCorruption"]

# Cells of the training windows that are kept to learn from.
MOST_CELLS = 2**25


@dataclass(frozen=True)
class EncodedCorruption(GaussianCorruption):
    """Gaussian diffusion of the codes of a spatial autoencoder.

    Parameters
    ----------
    factor : {2, 4, 8}, default=2
        Cells along each side that become one: 4, 16 or 64 times fewer are diffused. Fields must be
        multiples of it.
    width : int, default=32
        Channels of the autoencoder.
    n_steps : int, default=500
        Training steps of the autoencoder, before the network's.
    joint : bool, default=False
        Whether it goes on learning together with the network. Then no closed form can be started
        from, as it would be one of other codes, and weights cannot be sharded.
    code_noise : float, default=0.1
        Standard deviation of the noise that the decoder has to bear if `joint`, in units of the
        codes: what is smaller, codes need not tell.

    Notes
    -----
    A cell of a code is no cell of rain and an autoencoder no bijection: cells cannot be known,
    guided to or scored.

    Examples
    --------
    >>> fields = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> encoded = EncodedCorruption(n_steps=1).fit([fields])
    >>> encoded.encode(fields).shape
    torch.Size([2, 3, 4, 4])
    """

    factor: int = 2
    width: int = 32
    n_steps: int = 500
    joint: bool = False
    code_noise: float = 0.1
    autoencoder: SpatialAutoencoder | None = field(default=None, repr=False, compare=False)

    @property
    def capabilities(self) -> frozenset[str]:  # type: ignore[override]
        able = {"expectation", "ode", "sde", "any_shape"}
        return frozenset(able if self.joint else able | {"skip"})

    def __post_init__(self) -> None:
        if self.factor not in (2, 4, 8):
            raise ValueError(f"factor={self.factor!r} must be 2, 4 or 8.")
        for name in ("width", "n_steps"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at least 1.")
        if not isinstance(self.joint, bool):
            raise ValueError(f"joint={self.joint!r} must be True or False.")
        if not 0 < self.code_noise < 1:
            raise ValueError(
                f"code_noise={self.code_noise!r} must be above 0, without which codes of any "
                "size are as good, and below 1, the standard deviation of the codes."
            )

    def fit(self, latents: Iterable[Tensor], seed: int = 0) -> Self:
        kept: list[Tensor] = []
        for batch in latents:
            kept.append(batch)
            if sum(each.numel() for each in kept) >= MOST_CELLS:
                break
        fields = torch.cat(kept)
        self.shape(tuple(fields.shape[1:]))
        autoencoder = self._new(seed)
        with torch.enable_grad():
            autoencoder.learn(fields, self.n_steps, seed)
        if self.joint:
            autoencoder.hold(fields)
        return self._with(autoencoder)

    def tensors(self) -> dict[str, Tensor]:
        if self.autoencoder is None:
            return {}
        return {name: each.cpu() for name, each in self.autoencoder.state_dict().items()}

    def with_tensors(self, tensors: dict[str, Tensor]) -> Self:
        if not tensors:
            return self
        autoencoder = self._new(0)
        # Of frames of any size, and only while the encoder is trained.
        autoencoder.reference = tensors.get("reference")
        # Files of models that were trained in two stages have known no variance.
        autoencoder.load_state_dict({"log_variance": torch.zeros(())} | tensors)
        return self._with(autoencoder)

    @property
    def trained(self) -> nn.Module | None:
        if self.autoencoder is None or self.autoencoder.reference is None:
            return None
        return self.autoencoder

    def settled(self) -> Self:
        autoencoder = copy.deepcopy(self._fitted(torch.empty(0)))
        autoencoder.settle()
        return self._with(autoencoder)

    def losses(
        self,
        network: Denoiser,
        latent: Tensor,
        log_snr: Tensor,
        noise: Tensor,
        density: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The network's v-loss, and the decoder's term of the bound; see the module's docstring.

        Both by cells of the codes.
        """
        if self.trained is None:
            return super().losses(network, latent, log_snr, noise, density)
        autoencoder = self._fitted(latent)
        known = torch.isfinite(latent)
        codes = autoencoder.encode(torch.where(known, latent, 0))
        whole = self._whole(known)
        share = of_each(self.encoder_weight(log_snr, density), codes)
        # The codes as they are, and their gradient times the weight.
        x = codes.detach() + share * (codes - codes.detach())
        v = self.loss(network, torch.where(whole, x, torch.nan), log_snr, noise)
        decoded = autoencoder.decode(codes + self.code_noise * noise)
        error = torch.where(known, decoded - latent, 0).square().flatten(1).sum(1)
        precision, half = torch.exp(-autoencoder.log_variance), 0.5 * math.log(2 * math.pi)
        n_known = known.flatten(1).sum(1)
        nats = 0.5 * error * precision + n_known * (0.5 * autoencoder.log_variance + half)
        return v, nats / whole.flatten(1).sum(1).clamp(min=1)

    def encoder_weight(self, log_snr: Tensor, density: Callable[[Tensor], Tensor]) -> Tensor:
        """What makes a gradient of the v-loss one of the bound, where log-SNRs have a density."""
        bound = alpha(log_snr) ** 2 / (2 * density(log_snr))
        return torch.where(log_snr < -2 * math.log(self.code_noise), bound, 0.0)

    def encode(self, latent: Tensor) -> Tensor:
        known = torch.isfinite(latent)
        codes = self._fitted(latent).encode(torch.where(known, latent, 0))
        # A code with unknown cells in its block says something else than one without.
        return torch.where(self._whole(known), codes, torch.nan)

    def decode(self, x: Tensor) -> Tensor:
        return self._fitted(x).decode(x)

    def shape(self, window: tuple[int, ...]) -> tuple[int, ...]:
        *lead, rows, columns = window
        if rows % self.factor or columns % self.factor:
            raise ValueError(
                f"{self!r} encodes fields whose sides are multiples of {self.factor}, not "
                f"{rows} x {columns}: set crop_size or shape to one, or choose another factor."
            )
        return (*lead, rows // self.factor, columns // self.factor)

    def _whole(self, known: Tensor) -> Tensor:
        """Blocks of which all cells are known."""
        return F.avg_pool2d(known.float(), self.factor) == 1

    def _with(self, autoencoder: SpatialAutoencoder) -> Self:
        """With an autoencoder, which learns if it has a reference."""
        learns = autoencoder.reference is not None
        return replace(self, autoencoder=autoencoder.requires_grad_(learns).eval())

    def _new(self, seed: int) -> SpatialAutoencoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SpatialAutoencoder(self.factor, self.width)

    def _fitted(self, like: Tensor) -> SpatialAutoencoder:
        if self.autoencoder is None:
            raise ValueError(f"{self!r} has no autoencoder before fit(latents); fit it first.")
        return self.autoencoder.to(like.device)
