"""The part of an evaluation that is about forecasts: cases, scorecard, pictures."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from skdiffuse.cubes import align_cases, align_grid, ordered
from skdiffuse.metrics import ScorecardEntry
from skdiffuse.metrics.arrays import check_same_cases, check_same_grid, to_numpy
from skdiffuse.metrics.weights import refuse_weights
from skdiffuse.plotting.colours import model_colours
from skdiffuse.plotting.explorer import add_explorer
from skdiffuse.plotting.forecast_skill import FSSDisplay, LeadTimeDisplay
from skdiffuse.plotting.frames import FramesDisplay
from skdiffuse.plotting.html_report import HtmlReport
from skdiffuse.plotting.reliability import RankHistogramDisplay, ReliabilityDisplay
from skdiffuse.plotting.roc import RocDisplay
from skdiffuse.plotting.spread_skill import SpreadSkillDisplay


class Cases(NamedTuple):
    """Forecasts of the same cases, and what came true.

    Attributes
    ----------
    truth : ndarray of shape (n, time, y, x)
        In mm/h.
    ensembles : dict of str to ndarray of shape (n_members, n, time, y, x)
        Forecasts by name.
    grid : DataArray of shape (y, x) or None
        Where the cells lie, for pictures that are north up; None where nothing tells.
    """

    truth: np.ndarray
    ensembles: dict[str, np.ndarray]
    grid: Any = None


def gather_cases(obs: Any, truth: Any, forecasts: Mapping[str, Any]) -> Cases:
    """Bring forecasts and truth together.

    Parameters
    ----------
    obs : DataArray of shape (time, y, x)
        Observations that hold the valid times of the forecasts; only needed without `truth`.
    truth : array-like of shape (n, time, y, x) or None
        What came true in each case.
    forecasts : dict of str to forecasts
        With `truth` arrays (n_members, n, time, y, x); without it a file, a pattern of files or
        a list of either or of DataArrays (n_members, time, y, x), one a case, with valid times.
    """
    if truth is not None:
        ensembles = {}
        for name, ens in forecasts.items():
            refuse_weights(**{"truth": truth, name: ens})
            truth, ensembles[name], _ = align_cases(
                truth, ens, 0, ("time", "y", "x"), ("truth", name)
            )
            check_same_cases(truth, ensembles[name], ("truth", name))
        return Cases(
            to_numpy(truth, "truth"),
            {n: to_numpy(f, n) for n, f in ensembles.items()},
            truth[0, 0] if hasattr(truth, "dims") else None,
        )
    obs = ordered(obs, name="obs")
    if not hasattr(obs, "dims") or obs.ndim != 3 or obs.dims[0] not in obs.coords:
        raise ValueError(
            "forecasts need truth=..., of shape (n, time, y, x), unless obs is a series "
            "(time, y, x) with times to look it up in."
        )
    time = obs.dims[0]
    index = obs.indexes[time]
    by_start: dict[str, dict[Any, Any]] = {}
    for name, source in forecasts.items():
        by_start[name] = {}
        for case in _opened(source):
            refuse_weights(**{"obs": obs, name: case})
            if case.ndim == 3:
                case = case.expand_dims("realization")
            obs, case = align_grid(obs, case, ("time", "y", "x"), ("obs", name))
            if case.dims[1] not in case.coords:
                raise ValueError(f"A forecast of {name} has no valid times.")
            check_same_grid(obs, case, ("obs", name))
            place = index.get_indexer(case.indexes[case.dims[1]])
            if np.any(place < 0):
                absent = str(case.indexes[case.dims[1]][int(np.argmax(place < 0))])[:16]
                raise ValueError(
                    f"obs does not hold {absent}, which {name} forecasts: {time!r} of obs runs "
                    f"{str(index[0])[:16]} to {str(index[-1])[:16]}. Give forecasts whose "
                    f"{case.dims[1]!r} holds the valid times of obs, or what came true as truth=."
                )
            by_start[name][int(place[0])] = case, place
    shared = sorted(set.intersection(*(set(cases) for cases in by_start.values())))
    if not shared:
        raise ValueError(f"{', '.join(by_start)} have no case in common.")
    frames = min(len(cases[s][1]) for cases in by_start.values() for s in shared)
    first = next(iter(by_start.values()))
    return Cases(
        np.stack([to_numpy(obs[first[s][1][:frames]], "obs") for s in shared]),
        {
            name: np.stack([to_numpy(cases[s][0][:, :frames], name) for s in shared], axis=1)
            for name, cases in by_start.items()
        },
        obs[0],
    )


def _opened(source: Any) -> list[Any]:
    """Return the forecasts of one model: files, patterns and DataArrays as a flat list."""
    if isinstance(source, (str, Path)):
        from skdiffuse.cubes import open_cube

        files: list[str | Path] = [*sorted(glob.glob(str(source)))] or [source]
        return [open_cube(file) for file in files]
    if isinstance(source, (list, tuple)):
        return [case for each in source for case in _opened(each)]
    return [source]


def add_summary(page: HtmlReport, entries: list[ScorecardEntry], names: Iterable[str]) -> None:
    """Say how the forecasts of each model did against each baseline."""
    for name in names:
        own = [e for e in entries if e.simulation == name]
        first = own[0]
        unit = "" if first.unit == "1" else f" {first.unit}"
        text = (
            f"Forecasts of {name}: {_short(first)} {first.value:.3g}{unit} ({first.low:.3g} to "
            f"{first.high:.3g}) on {first.n} cases."
        )
        for rival in first.versus:
            theirs = next(e for e in entries if e.simulation == rival and e.score == first.score)
            said = [e.versus[rival] for e in own]
            text += (
                f" Against {rival} ({_short(first)} {theirs.value:.3g}): "
                f"{_change(first, theirs)}{first.versus[rival]}; over all scores "
                f"better in {said.count('better')}, worse in {said.count('worse')}, no clear "
                f"difference in {said.count('no clear difference')}."
            )
        page.text(text)


def _short(entry: ScorecardEntry) -> str:
    """A score's name within a sentence."""
    return "CRPS" if entry.score == "crps" else entry.title


def _change(ours: ScorecardEntry, theirs: ScorecardEntry) -> str:
    """How much less or more of a score whose perfect value is 0, in per cent."""
    if ours.perfect != 0 or not theirs.value > 0:
        return ""
    change = 100 * (1 - ours.value / theirs.value)
    return f"{abs(change):.0f} % {'less' if change > 0 else 'more'} {_short(ours)}, "


def add_forecasts(
    page: HtmlReport,
    cases: Cases,
    entries: list[ScorecardEntry],
    baselines: Mapping[str, Any],
    thresholds: tuple[float, ...],
    interactive: bool = True,
) -> None:
    """Add scorecard, pictures and where wanted a panel of forecasts to a page."""
    page.heading("Forecasts: scorecard")
    page.text(
        "Interval: 95 %, by resampling whole cases, the same for all forecasts. Scores are fair "
        "to small ensembles. A forecast of one member is scored by its absolute error, and has "
        "no spread."
    )
    for name in cases.ensembles:
        own = [e for e in entries if e.simulation == name]
        compared = list(own[0].versus)
        members = len(cases.ensembles[name])
        note = " (baseline)" if name in baselines else ""
        page.heading(f"{name}{note}, {members} member{'s' if members > 1 else ''}", level=3)
        page.table(
            [
                [
                    e.title,
                    _number(e.value) + ("" if e.unit == "1" else f" {e.unit}"),
                    interval_text(e),
                    f"{e.perfect:g}",
                    *(e.versus[r] for r in compared),
                    e.reading,
                ]
                for e in own
            ],
            header=["what", "score", "interval", "perfect", *(f"vs {r}" for r in compared),
                    "in words"],
        )  # fmt: skip
    page.heading("Forecasts: pictures")
    _draw_scores(page, cases, thresholds)
    chosen = _upper_quartile(cases.truth)
    _draw_case(page, cases, baselines, chosen)
    if interactive:
        add_explorer(
            page,
            {"came true": _on_grid(cases.truth[chosen], cases)}
            | {name: _on_grid(e[:, chosen], cases) for name, e in cases.ensembles.items()},
            "The same case, to look around in: move through the lead times, choose a member, and "
            "click on a cell for what was forecast there and what came true.",
            labels=[f"lead {t + 1}" for t in range(cases.truth.shape[1])],
        )


def _number(value: float) -> str:
    return "-" if not np.isfinite(value) else f"{value:.3g}"


def interval_text(entry: ScorecardEntry) -> str:
    """Return an interval in words, "-" where the score has none."""
    if not (np.isfinite(entry.low) and np.isfinite(entry.high)):
        return "-"
    return f"{_number(entry.low)} to {_number(entry.high)}"


def _draw_scores(page: HtmlReport, cases: Cases, thresholds: tuple[float, ...]) -> None:
    truth, ensembles = cases.truth, cases.ensembles
    several = {n: e for n, e in ensembles.items() if len(e) > 1}
    seen = [t for t in thresholds if 20 <= np.count_nonzero(truth >= t) < truth.size]
    figure = Figure(figsize=(11.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    LeadTimeDisplay.from_samples(truth, ensembles, ax=axes[0]).ax_.set_title(
        "Error by lead time", fontsize="medium", loc="left"
    )
    if seen:
        FSSDisplay.from_samples(truth, ensembles, thresholds=seen[:4], ax=axes[1])
        axes[1].set_title("Skill by scale", fontsize="medium", loc="left")
    else:
        axes[1].set_axis_off()
    page.figure(
        figure,
        "Left: the lower the better; bars are 95 % intervals from resampling cases, and shared "
        "cases make differences surer than overlapping bars suggest. Right: the share of skill "
        "that is left when misplacement within the neighbourhood is forgiven; grey is useful.",
    )
    if not seen:
        return
    event = seen[len(seen) // 2]
    figure = Figure(figsize=(11.5, 9.6), layout="constrained")
    axes = figure.subplots(2, 2)
    colours = model_colours(ensembles)
    RocDisplay.from_samples(truth, ensembles, threshold=event, ax=axes[0, 0])
    ReliabilityDisplay.from_samples(
        truth, several or ensembles, threshold=event, ax=axes[0, 1], colours=colours
    )
    titles = [f"Telling events of {event:g} mm/h", f"Probabilities of {event:g} mm/h"]
    if several:
        RankHistogramDisplay.from_samples(truth, several, ax=axes[1, 0], colours=colours)
        SpreadSkillDisplay.from_samples(truth, several, ax=axes[1, 1], colours=colours)
        titles += ["Ranks of the truth", "Does the spread tell the error?"]
    for ax, title in zip(axes.ravel(), titles, strict=False):
        ax.set_title("")
        ax.set_title(title, fontsize="medium", loc="left")
    if not several:
        for ax in axes[1]:
            ax.set_axis_off()
    page.figure(
        figure,
        "Top left: towards the upper left corner is better, the diagonal is chance. Top right: on "
        "the diagonal probabilities may be believed. Bottom left: flat is reliable, a U means too "
        "little spread. Bottom right: on the diagonal the spread is as large as the error, below "
        "it too large.",
    )


def _upper_quartile(truth: np.ndarray) -> int:
    """The case whose mean rain is the upper quartile."""
    mean = np.nan_to_num(np.nanmean(truth.reshape(len(truth), -1), axis=1))
    return int(np.argsort(mean, kind="stable")[(3 * (len(mean) - 1)) // 4])


def _on_grid(rain: np.ndarray, cases: Cases) -> Any:
    """Rain (..., lead, y, x) as a DataArray where the cells have a place."""
    if cases.grid is None:
        return rain
    place = {d: cases.grid.coords[d] for d in cases.grid.dims if d in cases.grid.coords}
    leading = ("realization", "lead")[-(rain.ndim - 2) :]
    return type(cases.grid)(rain, place, (*leading, *cases.grid.dims))


def _draw_case(page: HtmlReport, cases: Cases, baselines: Mapping[str, Any], chosen: int) -> None:
    truth, ensembles = cases.truth, cases.ensembles
    rows = {"came true": truth[chosen]}
    for name, ens in ensembles.items():
        if len(ens) > 1 and name not in baselines:
            rows[f"{name}\nmean"] = ens[:, chosen].mean(axis=0)
            rows |= {f"{name}\nmember {i + 1}": ens[i, chosen] for i in range(min(2, len(ens)))}
        else:
            rows[name] = ens[0, chosen]
    rows = {name: _on_grid(row, cases) for name, row in rows.items()}
    ny, nx = truth.shape[-2:]
    labels = [f"lead {t + 1}" for t in range(truth.shape[1])]
    figure = FramesDisplay(rows, labels=labels).plot(
        Figure(
            figsize=(1.75 * min(6, truth.shape[1]) + 1.4, (1.72 * ny / nx + 0.1) * len(rows) + 0.5),
            layout="constrained",
        )
    ).figure_  # fmt: skip
    page.figure(
        figure,
        "One case: the one whose mean rain is the upper quartile. The mean of an ensemble is "
        "smooth because members differ; members should look like what came true.",
    )
