"""All unconditional scores of some simulations at once, each with how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics._arrays import blocks, check_same_grid, to_numpy
from skdiffuse.metrics.intensity import intensity_edges, intensity_histogram
from skdiffuse.metrics.quantiles import extreme_quantile_levels
from skdiffuse.metrics.scorers import windows
from skdiffuse.metrics.spectra import last_whole_ring, spatial_psd, temporal_psd
from skdiffuse.metrics.uncertainty import BootstrapResult, bootstrap_means, permutation_test

_WET = 0.1  # mm/h
_FINE = 64  # bins a decade for quantiles: 3.7 % wide, interpolated within
_EDGES = intensity_edges(0.01, 1000.0, per_decade=_FINE)


class ScorecardEntry(NamedTuple):
    """One score of one simulation.

    Attributes
    ----------
    simulation, score, unit : str
        Whose, which, and its unit ("1" for none).
    value, low, high : float
        The score and its 95 % interval by block bootstrap.
    perfect : float
        The value of a perfect simulation.
    expected : float
        The value that sampling noise alone leads to, by permutation.
    p_value : float
        Probability of a value as far from `expected` if the distributions were equal.
    versus : dict of str to str
        "better", "worse", "no clear difference" or "undefined", by name of the baseline.
    reading : str
        What it says, in plain words.
    n : int
        Number of independent sequences in the smaller sample.
    """

    simulation: str
    score: str
    unit: str
    value: float
    low: float
    high: float
    perfect: float
    expected: float
    p_value: float
    versus: dict[str, str]
    reading: str
    n: int


def verdict(gap: BootstrapResult) -> str:
    """Say in words what the interval of a difference of losses allows to say."""
    if not np.isfinite(gap.value):
        return "undefined"
    return "better" if gap.high < 0 else "worse" if gap.low > 0 else "no clear difference"


class _Score(NamedTuple):
    """A score of the means of a per-sequence statistic of obs and sim."""

    name: str
    unit: str
    statistic: str
    perfect: float
    function: Callable[[np.ndarray, np.ndarray], float]
    reading: Callable[[float], str]


def _mass(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum()


def _coarse(counts: np.ndarray) -> np.ndarray:
    """Dry and eight bins a decade, out of the fine bins."""
    return _mass(np.concatenate([counts[:1], counts[1:].reshape(-1, _FINE // 8).sum(axis=1)]))


def _wet(counts: np.ndarray) -> float:
    return float(counts[1:][_EDGES[:-1] >= _WET * (1 - 1e-9)].sum() / counts.sum())


def _jensen_shannon(a: np.ndarray, b: np.ndarray) -> float:
    p, q = _coarse(a), _coarse(b)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.nansum(np.where(x > 0, x * np.log2(x / middle), 0.0)) for x in (p, q)]
    return float(max(0.0, sum(parts) / 2))


def _quantile_error(a: np.ndarray, b: np.ndarray, n: int) -> float:
    # Ten values beyond the highest level: bins cannot place a single one.
    levels = extreme_quantile_levels(n // 10)
    quantile = [
        # Interpolated in the logarithm of the rate; the dry atom stands at the first edge.
        np.interp(levels, np.cumsum(_mass(counts)), np.log(_EDGES))
        for counts in (a, b)
    ]
    return float(np.sqrt(np.mean((quantile[1] - quantile[0]) ** 2)))


def _mean_map(sums: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[0] / sums[1]


def _mean_bias(a: np.ndarray, b: np.ndarray) -> float:
    known = (a[1] > 0) & (b[1] > 0)
    return float(_mean_map(b)[known].mean() / _mean_map(a)[known].mean() - 1)


def _map_error(a: np.ndarray, b: np.ndarray) -> float:
    known = (a[1] > 0) & (b[1] > 0)
    p, q = _mean_map(a)[known], _mean_map(b)[known]
    return float(np.abs(q - p).mean() / p.mean())


def _log_spectral(a: np.ndarray, b: np.ndarray) -> float:
    both = (a > 0) & (b > 0)
    if not both.any():
        return float("nan")
    return float(np.sqrt(np.mean((10 * np.log10(b[both] / a[both])) ** 2)))


def _deficit(a: np.ndarray, b: np.ndarray) -> float:
    half = (len(a) - 1) // 2
    return float(1 - b[half:].sum() / a[half:].sum()) if a[half:].sum() > 0 else float("nan")


def _per_cent(value: float) -> str:
    value = abs(100 * value)
    return f"{value:.0f} %" if value >= 9.5 else f"{value:.1f} %"


def _more_or_less(value: float, more: str, less: str) -> str:
    return f"{_per_cent(value)} {more if value > 0 else less}"


def _scores(n: int) -> list[_Score]:
    def spectral(v):
        return f"power is off by a factor of about {10 ** (v / 10):.2f} at each scale"

    def deficit(v):
        return _more_or_less(-v, "too much power", "of the power is missing")

    return [
        _Score(
            "mean_bias", "1", "map", 0, _mean_bias,
            lambda v: _more_or_less(v, "too much rain", "too little rain"),
        ),
        _Score(
            "map_error", "1", "map", 0, _map_error,
            lambda v: f"mean rain is misplaced by {_per_cent(v)} of its amount",
        ),
        _Score(
            "wet_fraction_bias", "1", "histogram", 0,
            lambda a, b: _wet(b) / _wet(a) - 1 if _wet(a) > 0 else float("nan"),
            lambda v: f"it rains {_more_or_less(v, 'too often', 'too seldom')}",
        ),
        _Score(
            "jensen_shannon_divergence", "bit", "histogram", 0, _jensen_shannon,
            lambda v: f"rain-rate distributions are {_per_cent(v)} of the way to disjoint",
        ),
        _Score(
            "perkins_skill_score", "1", "histogram", 1,
            lambda a, b: float(np.minimum(_coarse(a), _coarse(b)).sum()),
            lambda v: f"{100 * v:.1f} % of the rain-rate distribution is shared",
        ),
        _Score(
            "quantile_error", "1", "histogram", 0, lambda a, b: _quantile_error(a, b, n),
            lambda v: f"extreme quantiles are off by a factor of about {np.exp(v):.2f}",
        ),
        _Score("log_spectral_distance", "dB", "spatial", 0, _log_spectral, spectral),
        _Score(
            "power_deficit", "1", "spatial", 0, _deficit,
            lambda v: f"at fine scales {deficit(v)}",
        ),
        _Score("temporal_log_spectral_distance", "dB", "temporal", 0, _log_spectral, spectral),
        _Score(
            "temporal_power_deficit", "1", "temporal", 0, _deficit,
            lambda v: f"in fast changes {deficit(v)}",
        ),
    ]  # fmt: skip


def sequences_of(X: Any, n_frames: int | None) -> np.ndarray:
    """Return a cube as sequences (n, time, y, x); a series is cut where it has no gap."""
    if np.ndim(X) == 4:
        return to_numpy(X if n_frames is None else X[:, :n_frames])
    return np.concatenate(
        [to_numpy(window).reshape(-1, *np.shape(window)[-3:]) for window in windows(X, n_frames)]
    )


def _each_sequence(X: Any, n_frames: int) -> Iterator[np.ndarray]:
    """Yield the sequences of a cube one by one; of a lazy one no more than a block is loaded."""
    if np.ndim(X) == 4:
        for block in blocks(X[:, :n_frames], item_ndim=3):
            yield from block
        return
    for window in windows(X, n_frames):
        yield to_numpy(window)


def _statistics(sequences: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """What the scores need of each sequence, so that resampling costs nothing."""
    histogram, maps, spatial, temporal = [], [], [], []
    for X in sequences:
        T, ny, nx = X.shape
        known = ~np.isnan(X)
        maps.append([np.where(known, X, 0.0).sum(axis=0, dtype=np.float64), known.sum(axis=0)])
        h = intensity_histogram(X, _EDGES) if known.any() else None
        histogram.append(np.zeros(_EDGES.size) if h is None else h.mass * h.n)
        # A spectrum needs whole fields; where all lack some cells, dry stands in for them.
        whole = known.all(axis=(1, 2)).any()
        spatial.append(spatial_psd(X, missing="drop" if whole else "zero").P)
        if T > 1:
            cells = known.all(axis=0).any()
            temporal.append(temporal_psd(X, missing="drop" if cells else "zero").P[1:])
    found = {"map": np.array(maps), "histogram": np.array(histogram)}
    if max(ny, nx) > 1:
        found["spatial"] = np.array(spatial)[:, 1 : last_whole_ring(ny, nx) + 1]
    if T > 1:
        found["temporal"] = np.array(temporal)
    return found


def scorecard(
    obs: Any,
    sims: Mapping[str, Any],
    *,
    baselines: Mapping[str, Any] | None = None,
    n_frames: int | None = None,
    n_resamples: int = 300,
    random_state: Any = 0,
) -> list[ScorecardEntry]:
    """Score simulations against observations, with intervals and against baselines.

    Sequences are the units that are resampled. Of each, what the scores need (its histogram,
    map and spectra) is computed once; a score is a function of the means over sequences. Rates
    are binned finely (64 bins a decade), which changes the scores of the distribution from
    those of the functions of the same name by about a per cent of their value.

    Parameters
    ----------
    obs : array-like of shape (n, time, y, x) or (time, y, x)
        Observed rain rate in mm/h.
    sims : dict of str to array-like
        Simulations by name, of any number of sequences on the grid of `obs`.
    baselines : dict of str to array-like, default=None
        Simulations that `sims` are compared with; they are scored as well.
    n_frames : int, default=None
        Frames a sequence, into which series (time, y, x) are cut; by default as many as the
        shortest sequence given has, or 12 where all are series.
    n_resamples : int, default=300
        Resamples for intervals and tests.
    random_state : int, RandomState or None, default=0
        Randomness of the resampling.

    Returns
    -------
    list of ScorecardEntry
        One a score and simulation: mean_bias, map_error (mean absolute difference of the mean
        maps over the mean), wet_fraction_bias, jensen_shannon_divergence, perkins_skill_score,
        quantile_error, and the log-spectral distance and power deficit in space and in time.

    Raises
    ------
    ValueError
        Where grids, calendars or units differ (the message says which), names are repeated, or
        there are fewer than two sequences.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.metrics import scorecard
    >>> rain = np.random.default_rng(0).gamma(0.3, size=(2, 30, 4, 8, 8))
    >>> card = scorecard(rain[0], {"model": 2 * rain[1]}, n_resamples=100)
    >>> card[0].score, card[0].p_value < 0.05
    ('mean_bias', True)
    """
    baselines = dict(baselines or {})
    if not sims:
        raise ValueError("sims is empty: give at least one named simulation.")
    twice = set(sims) & set(baselines)
    if twice:
        raise ValueError(f"Names must differ between sims and baselines; repeated: {sorted(twice)}")
    everyone = {**sims, **baselines}
    for name, sim in everyone.items():
        check_same_grid(obs, sim, ("obs", name))
    if n_frames is None:
        lengths = [np.shape(X)[1] for X in (obs, *everyone.values()) if np.ndim(X) == 4]
        shortest = min(np.shape(X)[-3] for X in (obs, *everyone.values()))
        n_frames = min(lengths) if lengths else min(12, shortest)
    a = _statistics(_each_sequence(obs, n_frames))
    b = {name: _statistics(_each_sequence(sim, n_frames)) for name, sim in everyone.items()}
    cells = n_frames * int(np.prod(np.shape(obs)[-2:]))
    smallest = cells * min(len(of["map"]) for of in (a, *b.values()))
    entries = []
    for name in everyone:
        for score in _scores(smallest):
            if score.statistic in a:
                rivals = baselines if name in sims else {}
                entries.append(
                    _entry(name, score, a, b[name], {r: b[r] for r in rivals}, n_resamples,
                           random_state)
                )  # fmt: skip
    return entries


def _entry(
    name: str,
    score: _Score,
    obs: dict[str, np.ndarray],
    sim: dict[str, np.ndarray],
    rivals: dict[str, dict[str, np.ndarray]],
    n_resamples: int,
    random_state: Any,
) -> ScorecardEntry:
    statistic = score.statistic
    a, b = obs[statistic], sim[statistic]

    def loss(p, q):
        return abs(score.function(p, q) - score.perfect)

    options = {"n_resamples": n_resamples, "random_state": random_state}
    interval = bootstrap_means(score.function, a, b, **options)
    test = permutation_test(
        lambda p, q: score.function(p.mean(axis=0), q.mean(axis=0)), a, b, **options
    )
    versus = {}
    for rival, theirs in rivals.items():
        gap = bootstrap_means(
            lambda p, q, r: loss(p, q) - loss(p, r), a, b, theirs[statistic], **options
        )
        versus[rival] = verdict(gap)
    reading = score.reading(interval.value) if np.isfinite(interval.value) else "undefined"
    if test.p_value > 0.05:
        reading += " (within sampling noise)"
    return ScorecardEntry(
        name, score.name, score.unit, interval.value, interval.low, interval.high,
        float(score.perfect), test.expected, test.p_value, versus, reading, interval.n,
    )  # fmt: skip
