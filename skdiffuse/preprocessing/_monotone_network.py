"""The small network that is increasing by construction, with its slope in forward mode."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["FORMS", "MonotoneNetwork"]

FORMS = ("recommended", "dissertation")


class MonotoneNetwork(nn.Module):
    r"""Learnable increasing curve from rain to latent.

    A 1-16-16-1 tanh network :math:`o` with positive weights (softplus of the raw ones) acts on
    :math:`u = 2x/M - 1` for rain :math:`x` and scale :math:`M`. With minimum gradient :math:`c`,

    .. math::
        n(u) = -1 + 2\,\frac{o(u) - o(-1)}{o(1) - o(-1)}, \qquad
        h(u) = \frac{n(u) + c\,u}{1 + c}, \qquad \text{latent} = h(u) + 1,

    so that the latent runs from 0 at no rain to 2 at :math:`M`, and :math:`h' \ge c / (1 + c)`
    whatever the weights. The form "dissertation" (section 4.3.4) puts a tanh on the output and
    scales after adding :math:`c\,u`; its floor moves and it can die as the identity.

    Parameters
    ----------
    scale : float
        :math:`M` in mm/h.
    min_gradient : float
        :math:`c`.
    mask_below : float or None
        Rates in mm/h below this do not enter :meth:`stretch_loss`; None lets all enter.
    n_hidden : int
        Width of the two hidden layers.
    form : {"recommended", "dissertation"}
        Which of the two curves, initialisation included.
    generator : torch.Generator
        Draws the initial weights; None is one seeded with 0, never torch's global one.

    Examples
    --------
    >>> import torch
    >>> from skdiffuse.preprocessing import MonotoneNetwork
    >>> network = MonotoneNetwork(scale=80.0, generator=torch.Generator().manual_seed(0))
    >>> rain = torch.tensor([0.0, 1.0, 80.0])
    >>> latent, log_slope = network(rain)
    >>> latent[[0, 2]].tolist()
    [0.0, 2.0]
    >>> bool(network.stretch_loss(rain, log_slope).requires_grad)
    True
    """

    raw1: nn.Parameter
    raw2: nn.Parameter
    raw3: nn.Parameter
    bias1: nn.Parameter
    bias2: nn.Parameter
    bias3: nn.Parameter

    def __init__(
        self,
        scale: float,
        *,
        min_gradient: float = 0.1,
        mask_below: float | None = 0.01,
        n_hidden: int = 16,
        form: str = "recommended",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.scale = scale
        self.min_gradient = min_gradient
        self.mask_below = mask_below
        self.form = form
        if generator is None:
            generator = torch.Generator().manual_seed(0)
        draw = _initial_recommended if form == "recommended" else _initial_default
        for name, value in draw(n_hidden, generator).items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, rain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latent and the logarithm of its slope.

        Parameters
        ----------
        rain : Tensor of any shape
            In mm/h; NaN is missing and gives no gradient.

        Returns
        -------
        latent : Tensor, same shape
        log_slope : Tensor, same shape
            Per mm/h: the element-wise log-Jacobian.
        """
        missing = rain.isnan()
        u = (2.0 / self.scale) * rain.masked_fill(missing, 0.0) - 1.0
        # The ends go through in the same batch, so that they round as the data do.
        ends = torch.tensor([-1.0, 1.0], dtype=u.dtype, device=u.device)
        out, slope = self._output(torch.cat([u.reshape(-1), ends]))
        c = self.min_gradient
        if self.form == "recommended":
            gain = 2.0 / (out[-1] - out[-2])
            latent = (gain * (out[:-2] - out[-2]) + c * (u.reshape(-1) + 1.0)) / (1.0 + c)
            slope = (gain * slope[:-2] + c) / (1.0 + c)
        else:
            gain = 2.0 / (out[-1] - out[-2] + 2.0 * c)
            latent = gain * (out[:-2] - out[-2] + c * (u.reshape(-1) + 1.0))
            slope = gain * (slope[:-2] + c)
        latent, slope = latent.reshape(u.shape), slope.reshape(u.shape)
        latent = latent.masked_fill(u == -1.0, 0.0).masked_fill(u == 1.0, 2.0)
        log_slope = slope.log() + math.log(2.0 / self.scale)
        return latent.masked_fill(missing, math.nan), log_slope.masked_fill(missing, math.nan)

    def mask(self, rain: torch.Tensor) -> torch.Tensor:
        """Return m(x), True for the rates that ask for a share of the latent range.

        Parameters
        ----------
        rain : Tensor of any shape
            In mm/h.

        Returns
        -------
        boolean Tensor, same shape
            True from ``mask_below`` to ``scale``; False where missing.
        """
        lowest = 0.0 if self.mask_below is None else self.mask_below
        return (rain >= lowest) & (rain <= self.scale)

    def stretch_loss(
        self,
        rain: torch.Tensor,
        log_slope: torch.Tensor,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        r"""The loss that spreads the latent range over the rain: :math:`-\mathrm{mean}(m \log h')`.

        Add it to a diffusion loss that is a mean over elements as well (the correction of eq. 4.15,
        whose two terms are reduced differently). :math:`h'` is per unit of :math:`u`, so 0 is the
        identity. Its minimum is water-filling, :math:`h' = \max(c / (1 + c), p / \nu)`.

        Parameters
        ----------
        rain, log_slope : Tensor of the same shape
            Rain in mm/h and what :meth:`forward` returned for it.
        weight : Tensor of the same shape or None
            Share of each element in the mean; None is the mean over the elements not missing.

        Returns
        -------
        scalar Tensor
        """
        per_unit = log_slope - math.log(2.0 / self.scale)
        stretched = per_unit.where(self.mask(rain), torch.zeros_like(per_unit))
        if weight is not None:
            return -(weight * stretched).sum()
        return -stretched.sum() / (~rain.isnan()).sum().clamp(min=1)

    def _output(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """o(u) and do/du for u of shape (n,)."""
        values, slopes = u[:, None], torch.ones_like(u)[:, None]
        layers = ((self.raw1, self.bias1), (self.raw2, self.bias2), (self.raw3, self.bias3))
        for depth, (raw, bias) in enumerate(layers):
            weight = F.softplus(raw).to(u.dtype)
            values = F.linear(values, weight, bias.to(u.dtype))
            slopes = F.linear(slopes, weight)
            if depth < 2 or self.form == "dissertation":
                slopes = slopes * _sech2(values)
                values = values.tanh()
        return values[:, 0], slopes[:, 0]


def _sech2(a: torch.Tensor) -> torch.Tensor:
    """sech^2 without the cancellation of 1 - tanh^2."""
    e = torch.exp(-2.0 * a.abs())
    return 4.0 * e / (1.0 + e).square()


def _initial_recommended(n: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Gain 2 with centres spread over [-1, 1] in the first layer, weights about 1/n later."""

    def spread(*shape: int) -> torch.Tensor:
        return torch.exp(0.5 * torch.randn(shape, generator=generator))

    gain = 2.0 * torch.exp(0.1 * torch.randn(n, 1, generator=generator))
    centre = torch.linspace(-1.0, 1.0, n) + 0.05 * torch.randn(n, generator=generator)
    return {
        "raw1": _inverse_softplus(gain),
        "bias1": -gain[:, 0] * centre,
        "raw2": _inverse_softplus(spread(n, n) / n),
        "bias2": 0.1 * torch.randn(n, generator=generator),
        "raw3": _inverse_softplus(spread(1, n) / n),
        "bias3": torch.zeros(1),
    }


def _initial_default(n: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """torch's own initialisation of linear layers, on the raw weights."""
    initial = {}
    for k, (rows, columns) in enumerate(((n, 1), (n, n), (1, n)), start=1):
        bound = 1.0 / math.sqrt(columns)
        initial[f"raw{k}"] = (2 * torch.rand(rows, columns, generator=generator) - 1) * bound
        initial[f"bias{k}"] = (2 * torch.rand(rows, generator=generator) - 1) * bound
    return initial


def _inverse_softplus(w: torch.Tensor) -> torch.Tensor:
    return torch.log(torch.expm1(w))
