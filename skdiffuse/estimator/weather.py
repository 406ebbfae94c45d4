"""The weather of a window: dry, drizzle or storm, and how often each is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from skdiffuse.estimator.weather_chain import WeatherChain
from skdiffuse.networks import MixturePrior, WeatherClasses
from skdiffuse.runtime.seeds import derived_seed

__all__ = ["DrawnWeather", "Storm", "WeatherLaw", "prior_of", "prior_tensors", "with_means"]

# Fractional part of the golden ratio: its multiples are spread over the circle as evenly as
# multiples of one number can be, however many are taken.
_GOLDEN = (math.sqrt(5) - 1) / 2
# A sequence is not scaled by more than this or less than its inverse; see `with_means`.
MOST_SCALING = 1.25


class DrawnWeather(NamedTuple):
    """The weather of some sequences, drawn before they are.

    Attributes
    ----------
    classes : int64 Tensor of shape (n,)
    means : Tensor of float64, shape (n,)
        Mean rain in mm/h.
    weights : Tensor of float64, shape (n,)
        What each sequence stands for: frequency over probability, whose expectation is 1.
    most_scaling : float
        What a sequence is at most multiplied by to have its mean, and at least divided by.
    """

    classes: Tensor
    means: Tensor
    weights: Tensor
    most_scaling: float = MOST_SCALING


class Storm(NamedTuple):
    """Weather by order: a class, and its mean in mm/h; None: as the class has it."""

    weather: int
    mean: float | None = None


@dataclass(frozen=True, eq=False)
class WeatherLaw:
    """Classes of windows by how much and how unevenly it rains, their frequencies and means.

    Whether a window is dry or a storm is decided at noise where a network learns last, and the
    rarest class rules every mean: so it is drawn first, from its own law, and the network is told.

    Attributes
    ----------
    classes : WeatherClasses
        Tells the class of a window of rain in mm/h.
    frequencies : Tensor of float64, shape (J,)
        Of each class among training windows; their sum is 1.
    chain : WeatherChain or None
        How it goes on; None if no series was learnt that is longer than a window.

    References
    ----------
    Neyman (1934): strata. Niederreiter (1992), chapter 3: multiples of the golden ratio.
    """

    classes: WeatherClasses
    frequencies: Tensor
    chain: WeatherChain | None = None

    def draw(
        self, seed: int, first: int, n: int, rare: float = 0.0, storm: Storm | None = None
    ) -> DrawnWeather:
        """Weather of samples number `first` to ``first + n - 1`` of a call.

        It is stratified: of any run of samples each class has its share but for rounding, the
        means of each class are spread as they are in the training rain, and the weather of a sample
        depends on nothing but its number.

        Parameters
        ----------
        seed : int
        first, n : int
        rare : float, default=0.0
            How much rarer classes are preferred, from 0, not at all, to 1, all alike: class j is
            drawn with a probability in proportion to ``frequency_j ** (1 - rare)``.
        storm : Storm, optional
            What is to be drawn instead of whatever comes; weights are 1.

        Returns
        -------
        DrawnWeather

        Examples
        --------
        >>> classes = WeatherClasses(
        ...     torch.tensor([0.1]), torch.empty(2, 0), torch.arange(2)[:, None],
        ...     torch.tensor([[0.0, 0.1], [0.1, 5.0]]))
        >>> law = WeatherLaw(classes, torch.tensor([0.75, 0.25]))
        >>> drawn = law.draw(seed=0, first=0, n=8)
        >>> int((drawn.classes == 1).sum()), drawn.weights.tolist() == [1.0] * 8
        (2, True)
        >>> drawn = law.draw(seed=0, first=0, n=8, rare=1.0)
        >>> int((drawn.classes == 1).sum()), float(drawn.weights.mean())
        (4, 1.0)
        >>> bool((drawn.means[drawn.classes == 1] > 0.1).all())
        True
        """
        frequencies = self.frequencies.double()
        probabilities = frequencies ** (1 - rare)
        probabilities = probabilities / probabilities.sum()
        start = derived_seed(seed, 0) / 2**63
        number = torch.arange(first, first + n, dtype=torch.float64)
        place = (start + number * _GOLDEN) % 1
        if storm is None:
            drawn, inside = _inverse(probabilities.expand(n, -1), place)
            return DrawnWeather(
                drawn, self._means(drawn, inside), (frequencies / probabilities)[drawn]
            )
        drawn = torch.full((n,), storm.weather)
        means = self._means(drawn, place)
        ones = torch.ones_like(means)
        if storm.mean is None:
            return DrawnWeather(drawn, means, ones)
        return DrawnWeather(drawn, torch.full_like(means, storm.mean), ones, math.inf)

    def of_seeds(self, seeds: Sequence[int]) -> DrawnWeather:
        """Weather for each of some seeds, by chance and not stratified."""
        return self._drawn(self.frequencies.double().expand(len(seeds), -1), seeds)

    def along(self, seed: int, n: int, starts: Sequence[int]) -> list[DrawnWeather]:
        """Weather of windows that follow each other in some series, as a Markov chain.

        Each class is as frequent as without a chain, in every window.

        Parameters
        ----------
        seed, n : int
            For n series.
        starts : sequence of int
            Frames at which the windows begin, in order.

        Returns
        -------
        list of DrawnWeather
            Of each window, for all series.

        Raises
        ------
        ValueError
            If it is not known how weather goes on from one start to the next; see `follows`.
        """
        lags = [stop - start for start, stop in pairwise(starts)]
        if not self.follows(lags):
            raise ValueError(
                f"starts lie {sorted(set(lags))} frames apart, after which it is not known how "
                "weather goes on: learn a chain from longer series, with fit_weather_chain."
            )
        found = [self.of_seeds([derived_seed(seed, 0, i) for i in range(n)])]
        for number, lag in enumerate(lags, 1):
            seeds = [derived_seed(seed, number, i) for i in range(n)]
            assert self.chain is not None
            found.append(self._drawn(self.chain.after(found[-1].classes, lag), seeds))
        return found

    def follows(self, lags: Sequence[int]) -> bool:
        """Whether it is known how weather goes on after numbers of frames."""
        known = 0 if self.chain is None else len(self.chain.later)
        return max(lags, default=0) <= known

    def _drawn(self, probabilities: Tensor, seeds: Sequence[int]) -> DrawnWeather:
        place = torch.tensor([derived_seed(seed, 0) / 2**63 for seed in seeds], dtype=torch.float64)
        drawn, inside = _inverse(probabilities, place)
        means = self._means(drawn, inside)
        return DrawnWeather(drawn, means, torch.ones_like(means))

    def _means(self, classes: Tensor, place: Tensor) -> Tensor:
        """Mean rain at places in [0, 1) of the law of each class."""
        law = self.classes.means.double()
        at = place * (law.shape[1] - 1)
        left = at.long().clamp(max=law.shape[1] - 2)
        return torch.lerp(law[classes, left], law[classes, left + 1], at - left)

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
            "means": self.classes.means,
            "frequencies": self.frequencies,
            **({} if self.chain is None else self.chain.tensors()),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> WeatherLaw:
        """What `tensors` gave."""
        names = ("edges", "unevenness_edges", "numbers", "means")
        classes = WeatherClasses(*(tensors[name] for name in names))
        # Files from before there were chains have none.
        chain = WeatherChain(tensors["later"]) if "later" in tensors else None
        return cls(classes, tensors["frequencies"], chain)


def with_means(rain: Tensor, means: Tensor, most: float = MOST_SCALING) -> Tensor:
    """Sequences of rain, each multiplied so that its mean is the one that was drawn for it.

    What a network takes for the strength of a class of weather is off for as long as it has not
    learnt it to the end. Drawn first and kept, the law of the means is that of the training rain;
    what is left to the network is how the rain is distributed, as in disaggregation with
    proportional adjusting. The price: a sequence is multiplied by what has nothing to do with its
    own mean, which makes rain more uneven than it is. So little is multiplied: hourly radar rain of
    a long training had .90 of its mean and .87 .90 .95 .91 of its power (1, 2-3, 4-7, 8-16 waves)
    without, .92 and .99 1.05 1.13 1.08 with factors up to 1.25, .97 and 1.16 1.26 1.36 1.32 up to
    3; three trainings of ten CPU minutes .90 to 1.06 of the mean without and .91 to 1.02 up to
    1.25, with about the same power.

    Parameters
    ----------
    rain : Tensor of shape (n, frames, y, x)
        In mm/h.
    means : Tensor of shape (n,)
        A sequence without rain stays without.
    most : float
        No sequence is multiplied by more, or by less than its inverse.

    References
    ----------
    Koutsoyiannis and Manetas, "Simple disaggregation by accurate adjusting procedures" (1996).

    Examples
    --------
    >>> rain = torch.tensor([0.0, 0.0, 2.0, 6.0]).reshape(1, 1, 2, 2)
    >>> with_means(rain, torch.tensor([2.5])).flatten()
    tensor([0.0000, 0.0000, 2.5000, 7.5000])
    """
    found = rain.double().mean((1, 2, 3))
    factor = torch.where(found > 0, means / found, 1.0)
    factor = torch.where(means > 0, factor.clamp(1 / most, most), 0.0)
    return rain * factor.to(rain)[:, None, None, None]


def _inverse(probabilities: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Classes at places in [0, 1) of cumulative distributions, and where in each they lie."""
    up_to = probabilities.cumsum(1)
    found = torch.searchsorted(up_to, place[:, None], right=True)
    found = found.clamp(max=probabilities.shape[1] - 1)
    inside = 1 - (up_to.gather(1, found) - place[:, None]) / probabilities.gather(1, found)
    return found[:, 0], inside[:, 0].clamp(0, 1)


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
