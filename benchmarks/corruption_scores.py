"""What rain is like, as ratios to other rain, and how much of a ratio is chance of the draw."""

from typing import Any

import numpy as np

from skdiffuse import metrics

WET = 0.1
LEVELS = (0.9, 0.99, 0.999, 0.9999, 0.99999)
BANDS = {"1-3": (1, 3), "4-8": (4, 8), "9-16": (9, 16)}
RESAMPLES = 24


def likeness(rain: np.ndarray) -> dict[str, float]:
    """Wet share, quantiles and power by waves of sequences, shape (n, frames, y, x)."""
    power = metrics.spatial_psd(rain).P
    found = {"mean": float(rain.mean()), "wet_share": float((rain >= WET).mean())}
    quantiles = np.quantile(rain.astype(np.float64), LEVELS)
    found |= {
        f"quantiles.{level}": float(each) for level, each in zip(LEVELS, quantiles, strict=True)
    }
    found |= {
        f"power.{name}": float(power[a : b + 1].sum())
        for name, (a, b) in BANDS.items()
        if a < len(power)
    }
    return found | {"largest": float(rain.max())}


def ratios(one: dict[str, float], other: dict[str, float]) -> dict[str, Any]:
    """Each of `likeness` over that of the truth, nested by the dots in the names."""
    nested: dict[str, Any] = {}
    for name, value in one.items():
        group, _, rest = name.partition(".")
        ratio = float(np.divide(value, other[name]))
        if rest:
            nested.setdefault(group, {})[rest] = ratio
        else:
            nested[group] = ratio
    return nested


def free_scores(rain: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """What sequences drawn freely are like, as ratios to rain."""
    return ratios(likeness(rain), likeness(truth))


def sampling_noise(rain: np.ndarray, truth: dict[str, float], seed: int = 0) -> dict[str, Any]:
    """Standard errors of the ratios, by drawing as many sequences again from those there are.

    An upper bound where classes of weather were drawn in equal shares: a resample's are not.
    """
    chance = np.random.default_rng(seed)
    drawn = [likeness(rain[chance.integers(len(rain), size=len(rain))]) for _ in range(RESAMPLES)]
    spread = {name: float(np.std([each[name] for each in drawn], ddof=1)) for name in drawn[0]}
    return ratios(spread, truth)
