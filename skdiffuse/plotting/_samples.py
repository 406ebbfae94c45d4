"""What the Displays share: named simulations and the axes they are drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skdiffuse.cubes import ordered
from skdiffuse.metrics.arrays import to_numpy
from skdiffuse.metrics.uncertainty import block_weights
from skdiffuse.metrics.weights import sequences_first, weights_of


def named(sim: Any, default: str = "simulation") -> dict[str, Any]:
    """Return simulations as a dictionary of name to cube; one cube alone is `default`."""
    if isinstance(sim, dict):
        if not sim:
            raise ValueError("sim is an empty dictionary: give at least one named simulation.")
        return {str(name): cube for name, cube in sim.items()}
    return {default: sim}


def weighted_cubes(
    weights: Any, obs: Any, sims: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cubes by name, "observed" first, and what each sequence counts (None: all alike).

    As `metrics.weights.weights_of` finds it: given, by a dictionary or of the only simulation, or
    the coordinate of a cube. Sequences are brought to the front where names tell which they are.
    """
    if weights is not None and not isinstance(weights, Mapping):
        if len(sims) > 1:
            raise ValueError(
                f"weights must be a dictionary for several simulations, {sorted(sims)}: whose are "
                "they?"
            )
        weights = dict.fromkeys(sims, weights)
    given = {str(name): w for name, w in (weights or {}).items()}
    unknown = set(given) - set(sims)
    if unknown:
        raise ValueError(
            f"weights are given for {sorted(unknown)}, but the simulations are {sorted(sims)}."
        )
    cubes = {"observed": sequences_first(obs)}
    cubes |= {name: sequences_first(cube, given.get(name)) for name, cube in sims.items()}
    of_sims = {name: weights_of(cubes[name], given.get(name), name) for name in sims}
    return cubes, {"observed": weights_of(cubes["observed"], None, "obs"), **of_sims}


def samples_of(estimator: Any, n_samples: int, random_state: Any, **options: Any) -> Any:
    """Draw samples from a fitted estimator, or say what to use where it cannot sample."""
    if not hasattr(estimator, "sample"):
        raise TypeError(
            f"{type(estimator).__name__} has no method sample(n_samples, random_state=...). "
            "For a pipeline use skdiffuse.DiffusionPipeline."
        )
    return estimator.sample(n_samples, random_state=random_state, **options)


class FromEstimator:
    """Gives a Display `from_estimator` where it has `from_samples(obs, sim, ...)`."""

    @classmethod
    def from_samples(cls, *args: Any, **options: Any) -> Self:
        """Compare samples with observations; each Display says how."""
        raise NotImplementedError

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int = 64,
        random_state: Any = None,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Draw samples from a fitted estimator and compare them with `X`.

        Parameters
        ----------
        estimator : object with ``sample(n_samples, random_state=...)``
            A fitted model, or a dictionary of names to models.
        X : array-like of shape (..., time, y, x)
            Observed rain rate in mm/h.
        n_samples : int, default=64
            Sequences to draw from each model.
        random_state : int, RandomState or None
            Randomness of the samples.
        ax : Axes, default=None
            Axes to draw in, where the Display has a single one.
        **options
            Passed to `from_samples`.

        Returns
        -------
        Display
            With the picture drawn.
        """
        sims = {
            name: samples_of(model, n_samples, random_state)
            for name, model in named(estimator, "model").items()
        }
        if ax is not None:
            options["ax"] = ax
        return cls.from_samples(X, sims, **options)


def get_axes(ax: Axes | None, figsize: tuple[float, float] = (5.5, 4.0)) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    # Imported late: pyplot picks a window system, which only a new figure needs.
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1]


def get_figure(figsize: tuple[float, float]) -> Figure:
    """Return a new figure with constrained layout."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=figsize, layout="constrained")


def tidy(ax: Any) -> None:
    """Take away what an axis does not need."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#E6E6E6", linewidth=0.7)
    ax.set_axisbelow(True)


def draw_band(ax: Any, x: Any, low: Any, high: Any, colour: str, alpha: float = 0.18) -> None:
    """Shade an interval around a curve, where there is one."""
    known = np.isfinite(low) & np.isfinite(high)
    if np.any(known):
        ax.fill_between(x, low, high, where=known, color=colour, alpha=alpha, linewidth=0, zorder=1)


def draw_bars(ax: Any, x: Any, low: Any, high: Any, colour: str) -> None:
    """Draw intervals as bars, where bands of several curves would hide each other."""
    known = np.isfinite(low) & np.isfinite(high)
    ax.vlines(
        np.asarray(x)[known], np.asarray(low)[known], np.asarray(high)[known],
        color=colour, linewidth=1.4, alpha=0.45, zorder=1.5,
    )  # fmt: skip


def dodge(index: int, count: int, step: float) -> float:
    """How far to the side the index-th of some curves is drawn, so that bars stay apart."""
    return (index - (count - 1) / 2) * step


def sequences_or_none(cube: Any, block_length: int | None = None) -> Any:
    """Return the units to resample, (n, time, y, x) with n of two or more, or None.

    Sequences are units as they are, a series only where it is said how long its blocks are.
    """
    X = to_numpy(ordered(cube) if np.ndim(cube) > 3 or block_length is not None else cube)
    if X.ndim > 4:
        X = X.reshape(-1, *X.shape[-3:])
    if X.ndim == 3 and block_length is not None:
        n = len(X) // block_length
        X = X[: n * block_length].reshape(n, block_length, *X.shape[1:])
    return X if X.ndim == 4 and len(X) > 1 else None


def weighted_units(
    cube: Any, weights: Any, block_length: int | None
) -> tuple[Any, np.ndarray | None]:
    """Return the units to resample, none where there are fewer than two, and their weights."""
    units = sequences_or_none(cube, block_length)
    if units is None:
        return (), None
    if weights is None:
        return units, None
    if np.ndim(cube) == 3:
        block_weights(cube, weights, block_length, "sim")
    return units, np.repeat(weights, len(units) // len(weights))


def percent(share: float) -> str:
    """Return a share as a percentage with as many digits as it needs."""
    value = 100 * float(share)
    if 0 < abs(value) < 1:
        return f"{value:.2g} %"
    if 99 < value < 100:  # how little is lacking
        return f"{100 - float(f'{100 - value:.1g}'):g} %"
    return f"{value:.0f} %"


def plain_number(value: float, _position: Any = None) -> str:
    """Return a tick label without exponents for the range of rain rates."""
    return f"{value:g}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.0e}"


def finite_positive(*arrays: Any) -> np.ndarray:
    """Return the finite positive values of all arrays."""
    values = np.concatenate([np.ravel(a) for a in arrays])
    return values[np.isfinite(values) & (values > 0)]
