"""The space in which diffusion takes place, and the one way into it and back."""

import math
from dataclasses import dataclass

import torch
from sklearn.utils import get_tags
from torch import Tensor

from skdiffuse.preprocessing import PHYSICAL_LIMIT, ElementwiseTransformer

__all__ = ["LatentSpace"]

SCALINGS = ("standard", "range")


@dataclass(frozen=True)
class LatentSpace:
    """Element-wise map between rain in mm/h and the scaled latent that is diffused.

    The latent is ``(h(rain) - centre) / scale`` with h the transform of rain. On the way back
    rates below `trace` become exactly 0: dry cells are a point of their own, which noise of the
    network must not turn into drizzle.

    Parameters
    ----------
    transformer : ElementwiseTransformer
        The fitted transform h.
    centre, scale : float
        In units of h.
    trace : float
        Rate in mm/h below which a cell is dry.
    largest : float
        Rate in mm/h that is never exceeded: a guard against overflow, far above any rain, unless
        set to the largest rate in training, as the dissertation does.

    Examples
    --------
    >>> import torch
    >>> from skdiffuse.preprocessing import SqrtTransform
    >>> space = LatentSpace.fit(SqrtTransform(), torch.tensor([[0.0, 4.0]]), "standard", 0.01)
    >>> space.encode(torch.tensor([[0.0, 4.0]]))
    tensor([[-1.,  1.]])
    >>> space.decode(torch.tensor([[-1.2, -0.95, 1.0]]))
    tensor([[0., 0., 4.]])
    """

    transformer: ElementwiseTransformer
    centre: float
    scale: float
    trace: float
    largest: float = PHYSICAL_LIMIT

    @classmethod
    def fit(
        cls, transformer: ElementwiseTransformer, rain: Tensor, scaling: str, trace: float
    ) -> "LatentSpace":
        """Choose centre and scale for a sample of rain.

        Parameters
        ----------
        transformer : ElementwiseTransformer
            Fitted.
        rain : Tensor
            In mm/h, NaN where missing, at least one value finite.
        scaling : {"standard", "range"}
            "standard": mean 0 and variance 1. "range": from -1 at 0 mm/h to 1 at the largest
            rate of the sample, which is then never exceeded (the dissertation, section 4.2).
        trace : float
        """
        known = rain[torch.isfinite(rain)][None]
        latent = transformer.transform(known).double()
        if scaling == "standard":
            spread = latent.std(correction=0).item()
            # Where it never rains any unit will do.
            return cls(transformer, latent.mean().item(), spread or 1.0, trace)
        if scaling != "range":
            raise ValueError(f"scaling={scaling!r} is unknown; choose one of {SCALINGS}.")
        dry = transformer.transform(torch.zeros(1, 1, dtype=torch.float64)).item()
        half = (latent.max().item() - dry) / 2 or 1.0
        # Where it never rains, no rain is the largest.
        largest = known.max().item() or PHYSICAL_LIMIT
        return cls(transformer, dry + half, half, trace, largest=largest)

    def encode(self, rain: Tensor) -> Tensor:
        """Rain in mm/h to latent; NaN passes through."""
        return (self.transformer.transform(rain) - self.centre) / self.scale

    def decode(self, latent: Tensor) -> Tensor:
        """Latent to rain in mm/h, at least 0."""
        return self.without_traces(self.decode_smoothly(latent))

    def without_traces(self, rain: Tensor) -> Tensor:
        """Rain in mm/h with 0 where it is less than a trace."""
        return torch.where(rain < self.trace, 0.0, rain)

    def decode_smoothly(self, latent: Tensor) -> Tensor:
        """Latent to mm/h without traces cut off to 0, where no gradient would pass."""
        rain = self.transformer.inverse_transform(latent * self.scale + self.centre)
        return rain.clamp(max=self.largest)

    def latent_of(self, rate: float) -> float:
        """Latent of one rate in mm/h, in double precision."""
        return self.encode(torch.full((1, 1), rate, dtype=torch.float64)).item()

    @property
    def numbers(self) -> dict[str, float]:
        """What a file has to hold beside the transformer."""
        return {name: getattr(self, name) for name in ("centre", "scale", "trace", "largest")}

    @property
    def bounds(self) -> tuple[float, float]:
        """Least latent and that of the largest rate, between which every expectation lies.

        The least is that of 0 mm/h, unless the transform draws the latent of dry cells at random.
        """
        is_drawn = get_tags(self.transformer).non_deterministic
        return -math.inf if is_drawn else self.latent_of(0.0), self.latent_of(self.largest)
