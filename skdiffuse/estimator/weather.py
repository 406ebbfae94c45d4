"""The weather of a window: dry, drizzle or storm, and how often each is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from skdiffuse.networks import MixturePrior, WeatherClasses
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["DrawnWeather", "Storm", "WeatherLaw", "prior_of", "prior_tensors", "with_mean"]

# Fractional part of the golden ratio: its multiples are spread over the circle as evenly as
# multiples of one number can be, however many are taken.
_GOLDEN = (math.sqrt(5) - 1) / 2


class DrawnWeather(NamedTuple):
    """The weather of some sequences, drawn before they are.

    Attributes
    ----------
    classes : int64 Tensor of shape (n,)
    weights : Tensor of float64, shape (n,)
        What each sequence stands for: frequency over probability, whose expectation is 1.
    """

    classes: Tensor
    weights: Tensor


class Storm(NamedTuple):
    """Weather by order: a class, and the mean in mm/h that each sequence is to have, if any."""

    weather: int
    mean: float | None = None


@dataclass(frozen=True, eq=False)
class WeatherLaw:
    """Classes of windows by how much and how unevenly it rains, and their frequencies.

    Whether a window is dry or a storm is decided at noise where a network learns last, and the
    rarest class rules every mean: so it is drawn first, from its own law, and the network is told.

    Attributes
    ----------
    classes : WeatherClasses
        Tells the class of a window of rain in mm/h.
    frequencies : Tensor of float64, shape (J,)
        Of each class among training windows; their sum is 1.

    References
    ----------
    Neyman (1934): strata. Niederreiter (1992), chapter 3: multiples of the golden ratio.
    """

    classes: WeatherClasses
    frequencies: Tensor

    def draw(self, seed: int, first: int, n: int, rare: float = 0.0) -> DrawnWeather:
        """Weather of samples number `first` to ``first + n - 1`` of a call.

        It is stratified: of any run of samples each class has its share but for rounding, and the
        class of a sample depends on nothing but its number.

        Parameters
        ----------
        seed : int
        first, n : int
        rare : float, default=0.0
            How much rarer classes are preferred, from 0, not at all, to 1, all alike: class j is
            drawn with a probability in proportion to ``frequency_j ** (1 - rare)``.

        Returns
        -------
        DrawnWeather

        Examples
        --------
        >>> classes = WeatherClasses(
        ...     torch.tensor([0.1]), torch.empty(2, 0), torch.arange(2)[:, None])
        >>> law = WeatherLaw(classes, torch.tensor([0.75, 0.25]))
        >>> drawn = law.draw(seed=0, first=0, n=8)
        >>> int((drawn.classes == 1).sum()), drawn.weights.tolist() == [1.0] * 8
        (2, True)
        >>> drawn = law.draw(seed=0, first=0, n=8, rare=1.0)
        >>> int((drawn.classes == 1).sum()), float(drawn.weights.mean())
        (4, 1.0)
        """
        frequencies = self.frequencies.double()
        probabilities = frequencies ** (1 - rare)
        probabilities = probabilities / probabilities.sum()
        start = derived_seed(seed, 0) / 2**63
        number = torch.arange(first, first + n, dtype=torch.float64)
        drawn = _inverse(probabilities, (start + number * _GOLDEN) % 1)
        return DrawnWeather(drawn, (frequencies / probabilities)[drawn])

    def of_seeds(self, seeds: Sequence[int]) -> Tensor:
        """A class for each of some seeds, by chance and not stratified."""
        place = torch.tensor([derived_seed(seed, 0) / 2**63 for seed in seeds], dtype=torch.float64)
        return _inverse(self.frequencies.double(), place)

    def class_of(self, mean: float, unevenness: float | None = None) -> int:
        """Class of windows with a mean rain in mm/h.

        Parameters
        ----------
        mean : float
        unevenness : float or None
            Root mean square over mean; None: in the middle of what windows of that mean have.
        """
        by_mean = torch.searchsorted(
            self.classes.edges, torch.tensor([mean]).to(self.classes.edges)
        )
        numbers = self.classes.numbers[by_mean][0]
        if unevenness is None:
            return int(numbers[len(numbers) // 2])
        return int(self.classes.of(torch.tensor([mean]), torch.tensor([unevenness]))[0])

    def tensors(self) -> dict[str, Tensor]:
        """For a file."""
        return {
            "edges": self.classes.edges,
            "unevenness_edges": self.classes.unevenness_edges,
            "numbers": self.classes.numbers,
            "frequencies": self.frequencies,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> WeatherLaw:
        """What `tensors` gave."""
        names = ("edges", "unevenness_edges", "numbers")
        return cls(WeatherClasses(*(tensors[name] for name in names)), tensors["frequencies"])


def with_mean(rain: Tensor, mean: float) -> Tensor:
    """Sequences of rain, each multiplied so that it has the mean that was ordered.

    Only what was ordered is forced. A law of means drawn for free sampling too would have made the
    power of hourly radar rain .66 .70 .86 .85 of what it should be after ten minutes of training
    instead of .50 .52 .61 .60, and 1.27 to 1.45 after a long one instead of .98 to 1.05: a sequence
    that is multiplied by chance is more uneven than any real one.

    Parameters
    ----------
    rain : Tensor of shape (n, frames, y, x)
        In mm/h; a sequence without rain stays without.
    mean : float

    References
    ----------
    Koutsoyiannis and Manetas, "Simple disaggregation by accurate adjusting procedures" (1996).

    Examples
    --------
    >>> rain = torch.tensor([0.0, 0.0, 2.0, 6.0]).reshape(1, 1, 2, 2)
    >>> with_mean(rain, 1.0).flatten()
    tensor([0., 0., 1., 3.])
    """
    found = rain.double().mean((1, 2, 3), keepdim=True)
    return rain * torch.where(found > 0, mean / found, 1.0).to(rain)


def _inverse(probabilities: Tensor, place: Tensor) -> Tensor:
    """Classes at places in [0, 1) of the cumulative distribution."""
    found = torch.searchsorted(probabilities.cumsum(0), place, right=True)
    return found.clamp(max=len(probabilities) - 1)


def prior_tensors(prior: MixturePrior) -> dict[str, Tensor]:
    """A prior for a file: spectra that were averaged over rings are kept once for each ring."""
    power, mode = torch.unique(prior.power.flatten(1), dim=1, return_inverse=True)
    small = torch.int16 if power.shape[1] < 2**15 else torch.int32
    return {
        "weights": prior.weights,
        "mean": prior.mean,
        "power": power,
        "mode": mode.reshape(prior.power.shape[1:]).to(small),
    }


def prior_of(tensors: Mapping[str, Tensor], periodic: tuple[bool, bool, bool]) -> MixturePrior:
    """What `prior_tensors` gave."""
    power = tensors["power"][:, tensors["mode"].long()]
    prior = MixturePrior(tensors["weights"], tensors["mean"], power, periodic)
    # Scaled to a sum of 1 once more, weights would differ in their last bits.
    prior.weights.copy_(tensors["weights"])
    return prior
