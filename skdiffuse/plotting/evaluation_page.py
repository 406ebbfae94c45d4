"""One honest page on how well some simulations of rain do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from skdiffuse.cubes import align_grid
from skdiffuse.metrics import Score, ScorecardEntry, forecast_scorecard, scorecard
from skdiffuse.metrics.arrays import to_numpy
from skdiffuse.metrics.score import split_by_kind
from skdiffuse.metrics.sequences import sequences_of, windows
from skdiffuse.metrics.spectra import Missing
from skdiffuse.metrics.weights import with_weights
from skdiffuse.plotting._files import write_whole
from skdiffuse.plotting._samples import weighted_cubes
from skdiffuse.plotting._sources import named_sources, opened
from skdiffuse.plotting.common_windows import in_windows_of
from skdiffuse.plotting.data_card import add_data_card
from skdiffuse.plotting.distribution import IntensityHistogramDisplay, QuantileQuantileDisplay
from skdiffuse.plotting.evaluation_result import Evaluation
from skdiffuse.plotting.explorer import add_explorer
from skdiffuse.plotting.forecast_pages import (
    add_forecasts,
    add_summary,
    gather_cases,
    interval_text,
)
from skdiffuse.plotting.frames import FramesDisplay, animate
from skdiffuse.plotting.html_report import HtmlReport
from skdiffuse.plotting.maps import BiasMapDisplay
from skdiffuse.plotting.power_spectrum import PowerSpectrumDisplay
from skdiffuse.plotting.return_levels import ReturnLevelDisplay
from skdiffuse.runtime.outputs import try_output

_SEQUENCES_SHOWN = 6


def evaluation_report(
    obs: Any,
    sims: Any = None,
    path: Any = None,
    *,
    baselines: Any = None,
    forecasts: Mapping[str, Any] | None = None,
    forecast_baselines: Mapping[str, Any] | None = None,
    truth: Any = None,
    scores: Iterable[Score | str] | None = None,
    thresholds: Any = (0.1, 1.0, 5.0),
    title: str = "Evaluation of simulated rain",
    cards: Mapping[str, Mapping[str, Any]] | None = None,
    n_frames: int | None = None,
    n_resamples: int = 300,
    animation: bool = True,
    random_state: Any = 0,
    weights: Mapping[str, Any] | None = None,
    interactive: bool = True,
) -> Evaluation:
    """Write one self-contained page that says how well simulations do, and how sure that is.

    A scorecard (value, interval, better or worse than each baseline, plain-language reading),
    pictures of the distribution, extremes, spectra, geography and of the rain itself, and what
    the data and models are. Ensemble forecasts get a scorecard and pictures of their own.

    Parameters
    ----------
    obs : path or array-like of shape (n, time, y, x) or (time, y, x)
        Observed rain rate in mm/h; files are opened with `skdiffuse.cubes.open_cube`. None
        where there are only forecasts with their `truth`.
    sims : path, array-like, list of paths or dict of str to either, default=None
        Simulations by name (of a file: its stem). May be left out where there are forecasts.
        Smaller fields of no place of their own, as a model makes that was trained on crops, are
        compared with all parts of `obs` of their size, side by side.
    path : path-like, default=None
        Page to write, e.g. ``report.html``; the scores go beside it as ``.json`` and ``.csv``.
        By default nothing is written.
    baselines : like `sims`, default=None
        What the simulations are compared with.
    forecasts : dict of str to forecasts, default=None
        Nowcasts, interpolations or other ensembles that each have a truth: with `truth` arrays
        (n_members, n, time, y, x); without it files, patterns of files or lists of them or of
        DataArrays (n_members, time, y, x), one a case, whose valid times are looked up in `obs`.
    forecast_baselines : like `forecasts`, default=None
        What the forecasts are compared with, such as persistence.
    truth : array-like of shape (n, time, y, x), default=None
        What came true in each case, in mm/h.
    scores : sequence of Score or str, default=None
        Rows of the scorecards, of simulations and of forecasts by their kind: entries of your
        own, or names. By default those of `metrics.get_scores`.
    thresholds : sequence of float, default=(0.1, 1.0, 5.0)
        Rates in mm/h that the scores of forecasts are about.
    title : str
        Title of the page.
    cards : dict of str to dict, default=None
        Facts on each model (parameters, training data, licence), shown as its card.
    n_frames, n_resamples, random_state, weights
        As for `metrics.scorecard`.
    animation : bool, default=True
        Add an animation of one sequence of each.
    interactive : bool, default=True
        Add panels to look around in, of sequences and of a forecast: a slider for time, a choice
        of sequence or member, and the series of a cell that is clicked on.

    Returns
    -------
    Evaluation
        ``(page, entries)`` with ``to_json()`` and ``to_csv()``.

    Raises
    ------
    ValueError
        Where grids, calendars or units differ, or there are too few sequences.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.plotting import evaluation_report
    >>> rain = np.random.default_rng(0).gamma(0.3, size=(2, 12, 4, 8, 8))
    >>> result = evaluation_report(
    ...     rain[0], {"model": rain[1]}, n_resamples=20, animation=False
    ... )
    >>> len(result.entries)
    10
    """
    if path is not None:
        try_output(path, "path", parents=True)
    obs, sims, rivals = opened(obs), named_sources(sims), named_sources(baselines)
    if not sims and not forecasts:
        raise ValueError("Give sims, forecasts or both: there is nothing to evaluate.")
    options = {"n_resamples": n_resamples, "random_state": random_state}
    # What simulations are compared with; forecasts have times, which are looked up in `obs`.
    seen = in_windows_of(obs, [*sims.values(), *rivals.values()], n_frames)
    page = HtmlReport(title)
    for group in (sims, rivals):
        for name, sim in group.items():
            seen, group[name] = align_grid(seen, sim, ("time", "y", "x"), ("obs", name))
    entries, of_forecasts, cases = [], [], None
    everyone = {**sims, **rivals}
    each = weighted_cubes(weights or {}, seen, everyone)[1]
    of_samples, of_ensembles = split_by_kind(scores)
    if sims:
        entries = scorecard(
            seen, sims, baselines=rivals, scores=of_samples, n_frames=n_frames, weights=weights,
            **options,
        )  # fmt: skip
        _summary(page, entries, sims, rivals)
    if forecasts:
        others = dict(forecast_baselines or {})
        cases = gather_cases(obs, truth, {**forecasts, **others})
        levels = tuple(float(t) for t in np.atleast_1d(thresholds))
        of_forecasts = forecast_scorecard(
            cases.truth,
            {name: cases.ensembles[name] for name in forecasts},
            baselines={name: cases.ensembles[name] for name in others},
            scores=of_ensembles,
            thresholds=levels,
            **options,
        )
        add_summary(page, of_forecasts, forecasts)
    if sims:
        _scorecard_tables(page, entries, everyone, rivals)
        _pictures(page, seen, everyone, each, n_frames, animation)
        if interactive:
            _panel(page, seen, everyone, n_frames)
    if cases is not None:
        add_forecasts(page, cases, of_forecasts, others, levels, interactive)
    shown = {"observed": seen, **everyone}
    if cases is not None:
        if obs is None:
            shown["observed"] = cases.truth
        shown |= {f"forecast: {name}": e for name, e in cases.ensembles.items()}
    add_data_card(page, shown, each)
    for name, card in (cards or {}).items():
        page.heading(f"Model card: {name}")
        page.table([[key, value] for key, value in card.items()])
    _method(page, n_resamples)
    result = Evaluation(page, [*entries, *of_forecasts])
    if path is not None:
        path = Path(path)
        page.write(path)
        write_whole(path.with_suffix(".json"), result.to_json().encode())
        write_whole(path.with_suffix(".csv"), result.to_csv().encode())
    return result


def _differs(entry: ScorecardEntry) -> bool:
    return entry.p_value <= 0.05


def _summary(
    page: HtmlReport, entries: list[ScorecardEntry], sims: Iterable[str], rivals: Iterable[str]
) -> None:
    for name in sims:
        own = [e for e in entries if e.simulation == name]
        caught = [e for e in own if _differs(e)]
        text = (
            f"{name}: {len(own) - len(caught)} of {len(own)} scores cannot be told from sampling "
            f"noise, on {own[0].n} independent sequences in the smaller sample."
        )
        if own[0].n_eff < 0.999 * own[0].n:
            text += f" Their weights leave {own[0].n_eff:.0f} effective ones."
        if caught:
            worst = [f"{e.title.lower()} ({e.reading})" for e in caught]
            text += " Detectable differences from the observations: " + "; ".join(worst) + "."
        for rival in rivals:
            said = [e.versus[rival] for e in own]
            text += (
                f" Against {rival}: better in {said.count('better')}, worse in "
                f"{said.count('worse')}, no clear difference in "
                f"{said.count('no clear difference')}."
            )
        page.text(text)
        if own[0].n < 20:
            page.text(
                f"Caution: {own[0].n} sequences are few. Intervals are rough, and differences "
                "that matter may go undetected."
            )


def _number(value: float) -> str:
    return "-" if not np.isfinite(value) else f"{value:.3g}"


def _probability(p: float) -> str:
    if np.isnan(p):
        return "-"
    return f"{p:.2f}" if p >= 0.01 else "< 0.01"


def _scorecard_tables(
    page: HtmlReport,
    entries: list[ScorecardEntry],
    everyone: Iterable[str],
    rivals: Mapping[str, Any],
) -> None:
    page.heading("Scorecard")
    page.text(
        "Interval: 95 %, by resampling whole sequences. Noise: what the score would be if both "
        "came from one distribution. p: how probable a value as far out would then be."
    )
    for name in everyone:
        own = [e for e in entries if e.simulation == name]
        compared = list(own[0].versus)
        page.heading(name + (" (baseline)" if name in rivals else ""), level=3)
        page.table(
            [
                [
                    e.title,
                    _number(e.value) + ("" if e.unit == "1" else f" {e.unit}"),
                    interval_text(e),
                    _number(e.expected),
                    _probability(e.p_value),
                    *(e.versus[r] for r in compared),
                    e.reading,
                ]
                for e in own
            ],
            header=[
                "what", "score", "interval", "noise", "p",
                *(f"vs {r}" for r in compared), "in words",
            ],
        )  # fmt: skip


def _pictures(
    page: HtmlReport,
    obs: Any,
    everyone: Mapping[str, Any],
    each: Mapping[str, Any],
    n_frames: int | None,
    animation: bool,
) -> None:
    page.heading("Pictures")
    figure = Figure(figsize=(10.5, 8.2), layout="constrained")
    axes = figure.subplots(2, 2)
    options: dict[str, Any] = {"weights": {name: each[name] for name in everyone}}
    IntensityHistogramDisplay.from_samples(obs, dict(everyone), ax=axes[0, 0], **options)
    QuantileQuantileDisplay.from_samples(obs, dict(everyone), ax=axes[0, 1], **options)
    gaps = any(_incomplete(X) for X in (obs, *everyone.values()))
    missing: Missing = "zero" if gaps else "drop"
    PowerSpectrumDisplay.from_samples(
        obs, dict(everyone), ax=axes[1, 0], missing=missing, **options
    )
    if min(np.shape(X)[-3] for X in (obs, *everyone.values())) > 1:
        PowerSpectrumDisplay.from_samples(
            obs, dict(everyone), kind="temporal", ax=axes[1, 1], missing=missing, **options
        )
    else:
        axes[1, 1].set_axis_off()
    names = ("How often it rains how hard", "Quantiles out to the extremes")
    for ax, name in zip(
        axes.ravel(), (*names, "Power by scale", "Power by frequency"), strict=True
    ):
        ax.set_title(name, fontsize="medium", loc="left")
    page.figure(
        figure,
        "A perfect simulation lies on the black line (top left, bottom) and on the diagonal "
        "(top right). Spectra below the black line at high wave numbers mean fields that are too "
        "smooth, above it too noisy.",
    )
    _return_levels(page, obs, everyone, each, n_frames)
    ny, nx = np.shape(obs)[-2:]
    figure = Figure(figsize=(3.3 * len(everyone) + 1.0, 3.3 * ny / nx + 0.7), layout="constrained")
    axes = figure.subplots(1, len(everyone), squeeze=False)[0]
    BiasMapDisplay.from_samples(obs, dict(everyone), ax=axes, **options)
    page.figure(
        figure,
        "Where it rains too much (green) or too little (brown) on average, relative to the "
        "observed mean of each cell. Few sequences make patchy maps even for a perfect "
        "simulation: see the noise column of 'Where it rains'.",
    )
    rows = {
        name: _typical(cube, n_frames, each[name])
        for name, cube in {"observed": obs, **everyone}.items()
    }
    # Rows are of different times: numbers, not the times of the first.
    labels = [f"frame {i + 1}" for i in range(max(len(row) for row in rows.values()))]
    figure = (
        FramesDisplay(rows, labels=labels)
        .plot(
            Figure(figsize=(11.5, (1.72 * ny / nx + 0.1) * len(rows) + 0.5), layout="constrained")
        )
        .figure_
    )
    page.figure(
        figure,
        "One sequence of each: the one whose mean rain is the upper quartile of its sample. "
        "Dry is white, missing grey.",
    )
    if animation:
        page.image(animate(rows, labels=labels), "image/gif", "The same sequences, moving.")


def _panel(page: HtmlReport, obs: Any, everyone: Mapping[str, Any], n_frames: int | None) -> None:
    """Add the wettest sequences of each cube, to look around in."""
    shown = {}
    for name, cube in {"observed": obs, **everyone}.items():
        length = n_frames or (None if np.ndim(cube) == 4 else min(12, len(cube)))
        units = sequences_of(cube, length)
        wetness = np.nansum(units, axis=(1, 2, 3), dtype=np.float64)
        wettest = units[np.argsort(-wetness, kind="stable")[:_SEQUENCES_SHOWN]]
        if hasattr(cube, "dims"):
            place = {d: cube.coords[d] for d in cube.dims[-2:] if d in cube.coords}
            wettest = type(cube)(wettest, place, ("sequence", "frame", *cube.dims[-2:]))
        shown[name] = wettest
    add_explorer(
        page,
        shown,
        f"The {_SEQUENCES_SHOWN} sequences with most rain of each (or all there are), wettest "
        "first: choose one, move through its frames, and click on a cell for its series.",
        selector="sequence",
    )


def _return_levels(
    page: HtmlReport,
    obs: Any,
    everyone: Mapping[str, Any],
    each: Mapping[str, Any],
    n_frames: int | None,
) -> None:
    """Add the return levels of the largest rate in a sequence, where there are enough."""
    maxima, counts = {}, {}
    for name, cube in {"observed": obs, **everyone}.items():
        units = sequences_of(cube, n_frames or (None if np.ndim(cube) == 4 else min(12, len(cube))))
        with np.errstate(invalid="ignore"):
            largest = np.nanmax(np.nan_to_num(units), axis=(1, 2, 3))
        maxima[name] = largest[largest > 0]
        counts[name] = np.ones(len(units)) if each[name] is None else each[name]
        counts[name] = counts[name][largest > 0]
    if min(len(np.unique(m)) for m in maxima.values()) < 30:
        return
    figure = Figure(figsize=(6.5, 4.3), layout="constrained")
    # No further than the smallest sample reaches: a report should not extrapolate.
    periods = np.geomspace(2, min(w.sum() for w in counts.values()), 20)
    carrying = {
        name: m if each[name] is None else with_weights(m, counts[name])
        for name, m in maxima.items()
    }
    ReturnLevelDisplay.from_samples(
        carrying.pop("observed"),
        carrying,
        periods=periods,
        unit="sequences",
        n_resamples=60,
        ax=figure.subplots(),
    ).ax_.set_title("Largest rate in a sequence", fontsize="medium", loc="left")
    page.figure(
        figure,
        "The rate that the largest value of a sequence exceeds once in so many rainy sequences. "
        "Lines: extreme-value laws fitted to the maxima, with 95 % intervals; dots: the maxima. "
        "Where dots leave the line of their own colour, the law does not fit.",
    )


def _incomplete(X: Any) -> bool:
    return not any(
        not np.isnan(frames).any() for frames in sequences_of(X, None).reshape(-1, *X.shape[-2:])
    )


def _typical(cube: Any, n_frames: int | None, weights: np.ndarray | None = None) -> Any:
    """The sequence at the upper quartile of mean rain: rainier than most, chosen by rule.

    A DataArray stays one, so that the picture is north up and has its coastlines.
    """
    length = n_frames or (np.shape(cube)[1] if np.ndim(cube) == 4 else min(12, len(cube)))
    if np.ndim(cube) == 4:
        sequences = [cube[i, :length] for i in range(len(cube))]
    else:
        sequences = list(windows(cube, length))
    mean = [float(np.nansum(to_numpy(s), dtype=np.float64)) for s in sequences]
    order = np.argsort(mean, kind="stable")
    below = np.cumsum(np.ones(len(mean)) if weights is None else weights[order])
    place = np.searchsorted(below[:-1], (3 * (below[-1] - 1)) // 4, side="right")
    return sequences[int(order[place])]


def _method(page: HtmlReport, n_resamples: int) -> None:
    page.heading("How to read this page")
    page.text(
        f"Whole sequences are resampled ({n_resamples} times), because hours of one storm are "
        "not independent. Sequences cut from one episode still share its weather: the intervals "
        "then are too narrow for a statement about other episodes. With many scores, about one "
        "in twenty shows p < 0.05 by chance alone. 'Better' and 'worse' mean that the 95 % "
        "interval of the difference in distance from the observations excludes zero; 'no clear "
        "difference' does not mean equal. Scores are computed in mm/h on the fields as given: "
        "formulas and sources are in the documentation of skdiffuse.metrics."
    )
