"""The demo's page: pictures, scores and what they mean, in plain language."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from skdiffuse import plotting
from skdiffuse.demo.result import DemoResult
from skdiffuse.plotting import HtmlReport

__all__ = ["write_report"]


def write_report(result: DemoResult, path: str | Path) -> None:
    """Write the page of a demo to one self-contained file, and its main pictures beside it.

    Parameters
    ----------
    result : DemoResult
    path : str or Path
    """
    page = _Page("Learnt rain", Path(path).parent)
    _introduction(page, result)
    _skill(page, result)
    if result.name is None:
        _training(page, result)
    _generated(page, result)
    _views(page, result)
    _interpolated(page, result)
    _nowcast(page, result)
    page.write(path)


class _Page(HtmlReport):
    """A page that closes its figures, and keeps those with a name as files, too."""

    def __init__(self, title: str, folder: Path):
        super().__init__(title)
        self.folder = folder

    def add(self, figure: Figure, caption: str, name: str | None = None) -> None:
        self.figure(figure, caption)
        if name is not None:
            figure.savefig(self.folder / f"{name}.png", dpi=80)
        plt.close(figure)


def _introduction(page: _Page, result: DemoResult) -> None:
    model, card = result.model, result.model.card_
    rows, columns = model.field_shape_
    windows = f"sequences of {model.n_frames} frames of {rows} x {columns} cells"
    if result.name is None:
        page.text(
            f"A diffusion model was trained for {model.n_iter_} steps on {result.source}, on "
            f"{windows}. The last fifth of the data in time was held out; everything below is "
            "compared with that part, which the model has never seen. All of it took "
            f"{result.minutes:.1f} minutes. A few minutes of training show the way, not the "
            "quality that hours or a GPU give."
        )
        return
    assert card is not None
    page.text(
        f"The model {result.name}, which comes with the package, was asked about {result.source}. "
        f"It makes {windows}; nothing was trained for this page, which took "
        f"{result.minutes:.1f} minutes. What it makes is compared with the last fifth of the rain."
    )
    page.table(
        [("has learnt", card.data), ("from", card.region), ("is not for", card.limits)],
        (result.name, ""),
    )
    page.text(
        "If what it has learnt is the rain shown here, it has seen it, and nothing below is a "
        "comparison with rain that was held out."
    )


def _skill(page: _Page, result: DemoResult) -> None:
    page.heading("Does it know such rain?")
    page.text(
        "The loss is the mean squared error of the network's prediction of v on held-out rain. A "
        "predictor that knows only the mean scores 1.00; lower is better, and 0 cannot be reached."
    )
    page.table(
        [
            ("model, held-out rain", f"{result.held_out_loss:.3f}"),
            ("mean predictor", "1.000"),
        ],
        ("predictor", "v-loss"),
    )


def _training(page: _Page, result: DemoResult) -> None:
    history = result.model.history_
    figure, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
    losses = np.array([h["loss"] for h in history])
    width = max(1, len(losses) // 10)
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    steps = [h["step"] for h in history]
    ax.plot(steps, losses, color="#0072b2", alpha=0.3)
    ax.plot(steps[width - 1 :], smooth, color="#0072b2", label="training")
    ax.axhline(result.held_out_loss, color="black", linestyle="--", label="held-out, at the end")
    ax.set(xlabel="training step", ylabel="v-loss", ylim=(0, None))
    ax.legend(frameon=False)
    page.add(
        figure,
        "Training loss, averaged over 20 steps (pale) and over a tenth of the training. It starts "
        "where the best linear filter stands, and is noisy because few windows hold most of the "
        "rain. Good: it falls and levels off.",
    )


def _generated(page: _Page, result: DemoResult) -> None:
    page.heading("New rain")
    n_shown = 3

    def wettest(sequences: np.ndarray) -> np.ndarray:
        order = np.argsort(-sequences.mean(axis=(1, 2, 3)), kind="stable")
        return sequences[order[:n_shown]]

    # As many real sequences as generated ones, so that the wettest of each are alike extreme.
    random = np.random.default_rng(0)
    n = min(len(result.held_out), len(result.generated))
    real = wettest(result.held_out[random.permutation(len(result.held_out))[:n]])
    new = wettest(result.generated[:n])
    rows = {f"real {i + 1}": sequence for i, sequence in enumerate(real)}
    rows |= {f"generated {i + 1}": sequence for i, sequence in enumerate(new)}
    page.add(
        plotting.FramesDisplay(rows).plot().figure_,
        f"The {len(real)} wettest of {n} held-out sequences, and the {len(new)} wettest of {n} "
        "generated ones. Good: a stranger cannot say which is which; showers have sharp edges, "
        "and what rains in one frame goes on, moved, in the next.",
        name="generated",
    )
    moving = plotting.animate({"real": real[0], "generated": new[0]})
    page.image(moving, "image/gif", "The first of each, moving.")
    plotting.add_explorer(
        page,
        {"real": real, "generated": new},
        "The same sequences, to look around in: choose one, move through its frames, and click on "
        "a cell for its series.",
        selector="sequence",
    )


def _views(page: _Page, result: DemoResult) -> None:
    page.heading("Is it the right climate?")
    climate, earlier = result.climate(), result.earlier_name
    columns = list(climate)
    statistics = list(climate[columns[0]])
    page.table(
        [(s, *(f"{climate[c][s]:.3g}" for c in columns)) for s in statistics],
        ("", *columns),
    )
    page.text(
        f"From {len(result.held_out)} held-out and {len(result.generated)} generated sequences. "
        "The weather of the held-out days differs from that of the days before: where the "
        f"{earlier} is as far from the held-out rain as the generated rain is, no model could "
        "be told to be better."
    )
    sims = {"generated": result.generated, earlier: result.earlier}
    observed = result.held_out
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.6), layout="constrained")
    plotting.IntensityHistogramDisplay.from_samples(observed, sims, ax=axes[0, 0])
    plotting.QuantileQuantileDisplay.from_samples(observed, sims, ax=axes[0, 1])
    plotting.PowerSpectrumDisplay.from_samples(observed, sims, ax=axes[1, 0])
    plotting.PowerSpectrumDisplay.from_samples(observed, sims, kind="temporal", ax=axes[1, 1])
    for ax, title in zip(
        axes.flat,
        ("Intensities", "Quantiles", "Power in space", "Power in time"),
        strict=True,
    ):
        ax.set_title(title)
    page.add(
        figure,
        f"Good: the generated curves lie on the observed ones, or as near as the {earlier} "
        "does. Below them on the right of the spectra means fields too smooth; below the diagonal "
        "at the top of the quantiles, too weak extremes. The last few quantiles hang on a handful "
        "of cells.",
        name="views",
    )
    page.add(
        plotting.BiasMapDisplay.from_samples(observed, sims).figure_,
        "Mean-normalised bias: (generated mean - observed mean) / observed mean in each cell. "
        "With so few sequences most of the pattern is chance: compare it with that of the "
        f"{earlier} beside it.",
    )


def _interpolated(page: _Page, result: DemoResult) -> None:
    page.heading("Every second frame filled in")
    _crps_table(page, result, "interpolated")
    case = _wettest_case(result)
    truth = result.cases[case][:-1]

    def whole(between: np.ndarray) -> np.ndarray:
        sequence = truth.copy()
        sequence[1::2] = between
        return sequence

    rows = {"real": truth}
    rows |= {f"model {i + 1}": whole(result.interpolated["model"][i, case]) for i in range(2)}
    rows["linear in time"] = whole(result.interpolated["linear in time"][0, case])
    labels = [f"{i + 1} {'(known)' if i % 2 == 0 else '(filled)'}" for i in range(len(truth))]
    page.add(
        plotting.FramesDisplay(rows, frames=range(len(truth)), labels=labels).plot().figure_,
        "Every second frame was hidden. Good: the filled frames look like rain between their "
        "neighbours and differ between realizations only in what cannot be known. Linear "
        "interpolation instead shows both neighbours at once, faded.",
    )


def _nowcast(page: _Page, result: DemoResult) -> None:
    page.heading("Nowcast")
    _crps_table(page, result, "nowcast")
    case = _wettest_case(result)
    half = result.model.n_frames // 2
    past, future = np.split(result.cases[case], [half])
    rows = {"real": result.cases[case]}
    for i in range(2):
        rows[f"member {i + 1}"] = np.concatenate([past, result.nowcast["model"][i, case]])
    mean = result.nowcast["model"][:, case].mean(axis=0)
    rows["ensemble mean"] = np.concatenate([past, mean])
    rows["persistence"] = np.concatenate([past, result.nowcast["persistence"][0, case]])
    labels = [
        f"t{i - half + 1:+d}" + (" (known)" if i < half else "") for i in range(half + len(future))
    ]
    page.add(
        plotting.FramesDisplay(rows, frames=range(len(labels)), labels=labels).plot().figure_,
        f"The first {half} frames were given. Good: every member is as sharp as real rain, and "
        "members part from each other as the lead time grows; their mean fades, as it should.",
        name="nowcast",
    )
    members = result.nowcast["model"][:, case]
    known = np.broadcast_to(past, (len(members), *past.shape))
    plotting.add_explorer(
        page,
        {"real": result.cases[case], "model": np.concatenate([known, members], axis=1)},
        "All members, to look around in: a click on a cell shows how they part after the last "
        "known frame, and what was really seen there.",
        labels=labels,
    )


def _crps_table(page: _Page, result: DemoResult, what: str) -> None:
    crps = result.crps(what)
    model = crps["model"]
    n = len(model)
    rows = []
    for name, values in crps.items():
        difference = values - model
        error = difference.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        against = "" if name == "model" else f"{difference.mean():+.3f} +- {2 * error:.3f}"
        rows.append((name, f"{values.mean():.3f}", against))
    page.table(rows, ("method", "CRPS (mm/h)", "worse than the model by (+- 2 standard errors)"))
    page.text(
        f"The continuous ranked probability score of the ensembles, averaged over cells and frames "
        f"of {n} held-out sequences in which it rains; lower is better, and for a single forecast "
        "it is the mean absolute error. A difference smaller than its two standard errors may be "
        "chance, and sequences of the same days are not independent, so that the true uncertainty "
        "is larger."
    )


def _wettest_case(result: DemoResult) -> int:
    return int(result.cases.mean(axis=(1, 2, 3)).argmax())
