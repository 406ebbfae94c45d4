"""How strong generated rain is beside real rain: ratios of statistics, with intervals.

Each window is a row of a table: what it stands for, times its mean, wet share, power by band and
histogram. Every statistic follows from the means of the rows, so that the bootstrap over windows,
on both sides, costs a product with how often each was drawn. Real windows are a draw as random as
the generated ones: the intervals hold the noise of both, not what another storm would bring.
"""

import numpy as np

from skdiffuse.metrics import spatial_psd
from skdiffuse.metrics.uncertainty import bootstrap_means

WET = 0.1
LEVELS = (1e-2, 1e-3, 1e-4)
# Waves across the longest side; the last only where fields are larger than 32 cells.
BANDS = ((1, 1), (2, 3), (4, 7), (8, 16), (17, 32))
# 3 % from one to the next, within which quantiles are interpolated.
EDGES = np.geomspace(0.01, 1000, 401)
SIZE_OF_PART = 256


def bands_of(side: int) -> list[tuple[int, int]]:
    """Bands that a field of `side` cells has."""
    return [band for band in BANDS if band[0] <= side / 2]


def names_of(side: int) -> list[str]:
    """Names of the statistics, in the order of `statistics`."""
    power = [f"power {a}" if a == b else f"power {a}-{b}" for a, b in bands_of(side)]
    return ["mean", "wet share", *(f"quantile 1 - {level:.0e}" for level in LEVELS), *power]


def table(rain: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """A row for each window of rain of shape (n, frames, y, x), times what it stands for."""
    weights = np.ones(len(rain)) if weights is None else np.asarray(weights, dtype=np.float64)
    parts = (rain[i : i + SIZE_OF_PART] for i in range(0, len(rain), SIZE_OF_PART))
    return weights[:, None] * np.concatenate([_rows(part.astype(np.float64)) for part in parts])


def _rows(rain: np.ndarray) -> np.ndarray:
    k, power = spatial_psd(rain, average=False)
    power = power.mean(1)
    bands = [power[:, (k >= a) & (k <= b)].sum(1) for a, b in bands_of(max(rain.shape[2:]))]
    cells = rain.reshape(len(rain), -1)
    bins = len(EDGES) + 1
    number = np.searchsorted(EDGES, cells, side="right") + bins * np.arange(len(cells))[:, None]
    histogram = np.bincount(number.ravel(), minlength=bins * len(cells)).reshape(len(cells), bins)
    columns = [np.ones(len(cells)), cells.mean(1), (cells > WET).mean(1), *bands]
    return np.concatenate([np.stack(columns, axis=1), histogram / cells.shape[1]], axis=1)


def statistics(row: np.ndarray) -> np.ndarray:
    """Mean, wet share, quantiles and power of a mean row; 0 for a quantile that is dry."""
    row = row / row[0]
    below = row[-len(EDGES) - 1 : -1].cumsum()
    levels = 1 - np.array(LEVELS)
    quantiles = np.exp(np.interp(levels, below, np.log(EDGES)))
    quantiles[levels < below[0]] = 0
    return np.concatenate([row[1:3], quantiles, row[3 : -len(EDGES) - 1]])


def ratios(real: np.ndarray, made: np.ndarray, side: int, seed: int = 0) -> dict[str, list]:
    """Ratio of each statistic of two tables with its 95 % interval: [value, low, high]."""

    def ratio(real_row: np.ndarray, made_row: np.ndarray) -> np.ndarray:
        real_ones = statistics(real_row)
        return statistics(made_row) / np.where(real_ones > 0, real_ones, np.nan)

    found = bootstrap_means(ratio, real, made, n_resamples=500, random_state=seed)
    rows = np.stack([found.value, found.low, found.high], axis=1)
    return dict(zip(names_of(side), rows.round(4).tolist(), strict=True))


def power_of(found: dict[str, list]) -> list[float]:
    """Power kept, band by band."""
    return [values[0] for name, values in found.items() if name.startswith("power")]


def printed(title: str, found: dict[str, list]) -> str:
    """One line for a table of ratios."""
    return f"{title:34s}" + "  ".join(f"{v:.2f} ({a:.2f}-{b:.2f})" for v, a, b in found.values())
