"""Ancestral sampling in 10 to 100 steps with every reverse variance: what each keeps.

    python benchmarks/reverse_variances.py
    python benchmarks/reverse_variances.py --weights skdiffuse/weights/synthetic.safetensors

Without weights, on a mixture of three Gaussians (dry, drizzle, storm) in six dimensions, whose
denoiser is exact, and on the same with 0.95 of its noise, as an imperfect network has it: relative
error of the covariance, and Wasserstein distance of projections, beside as many exact draws. With
weights, on a stored model and made-up rain that it did not see: variance and power of the latent
relative to a fourth-order solver of the probability-flow equation in 100 steps, which has the same
weather; and the processor's seconds of all that is measured and learnt. Both are kept in
``benchmarks/results/reverse_variances.json``, and drawn by ``--figure``.
"""

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from skdiffuse import PrecipDiffusion
from skdiffuse.datasets import make_precipitation
from skdiffuse.diffusion import (
    AdamsStep,
    AnalyticVariance,
    AncestralStep,
    ClampedDenoiser,
    GaussianMixtureDenoiser,
    PosteriorVariance,
    RandomStreams,
    TruncatedCosineSchedule,
    VDenoiser,
    convert,
    run_sampler,
    sampling_grid,
)
from skdiffuse.metrics import spatial_psd

HERE = Path(__file__).parent
RESULT = HERE / "results" / "reverse_variances.json"
STEPS = (10, 25, 50, 100)
N_DRAWS = 20_000
BANDS = ((1, 1), (2, 3), (4, 7), (8, 16))
NAMES = ("lower", "upper", "analytic", "corrected", "diagonal", "npr", "sn")


class OneStream:
    """One generator for all samples: as good for numbers, and faster for thousands of them."""

    def __init__(self, n, seed):
        self.n, self.generator = n, torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.n

    def normal(self, shape, dtype=torch.float64):
        return torch.randn(self.n, *shape, dtype=dtype, generator=self.generator)


def mixture():
    """Dry, drizzle and storm: the wetter, the rarer, the more spread and the longer.

    The six cells differ in scale, as places do.
    """
    lags = torch.arange(6, dtype=torch.float64)
    distance = (lags[:, None] - lags).abs()
    spreads, correlations = (0.1, 0.5, 1.5), (0.5, 0.7, 0.9)
    scale = torch.linspace(0.4, 1.6, 6, dtype=torch.float64)
    each = [s**2 * c**distance for s, c in zip(spreads, correlations, strict=True)]
    return (
        torch.tensor([0.5, 0.35, 0.15], dtype=torch.float64),
        torch.tensor([-0.8, 0.2, 2.0], dtype=torch.float64)[:, None] * scale,
        torch.stack(each) * scale[:, None] * scale,
    )


def exact_draws(n, seed):
    weights, means, covariances = mixture()
    generator = torch.Generator().manual_seed(seed)
    k = torch.multinomial(weights, n, replacement=True, generator=generator)
    white = torch.randn(n, 6, dtype=torch.float64, generator=generator)
    return means[k] + torch.einsum("nij,nj->ni", torch.linalg.cholesky(covariances)[k], white)


def distances(x, truth):
    """Relative error of the covariance, and Wasserstein distance over 64 projections."""
    _, means, covariances = mixture()
    weights = mixture()[0]
    mean = (weights[:, None] * means).sum(0)
    anomaly = means - mean
    exact = (weights[:, None, None] * (covariances + anomaly[:, :, None] * anomaly[:, None])).sum(0)
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(6, 64, dtype=torch.float64, generator=generator)
    axes = axes / axes.norm(dim=0)
    apart = ((x @ axes).sort(0).values - (truth @ axes).sort(0).values).abs().mean()
    error = torch.linalg.norm(x.T.cov() - exact) / torch.linalg.norm(exact)
    return [round(float(error), 4), round(float(apart), 4)]


def of_mixture():
    exact = GaussianMixtureDenoiser(*mixture())

    def imperfect(z, log_snr):
        eps_hat = convert(exact(z, log_snr), z, log_snr, source="x", target="eps")
        return convert(0.95 * eps_hat, z, log_snr, source="eps", target="x")

    truth, data = exact_draws(N_DRAWS, 1), exact_draws(N_DRAWS, 2)
    schedule = TruncatedCosineSchedule(-10.0, 10.0)
    nodes = torch.linspace(-10, 10, 41, dtype=torch.float64)
    found = {"exact draws": distances(exact_draws(N_DRAWS, 3), truth)}
    for title, denoiser in (("exact mean", exact), ("imperfect mean", imperfect)):

        def error_variance(z, log_snr, denoiser=denoiser):
            """What a network of the residual has at its optimum."""
            bias = exact(z, log_snr) - denoiser(z, log_snr)
            return exact.posterior_variance(z, log_snr) + bias.square()

        measured = partial(AnalyticVariance.from_data, denoiser, data, nodes)
        variances = {
            "lower": "lower",
            "upper": "upper",
            "analytic": measured(OneStream(N_DRAWS, 4), estimator="noise"),
            "corrected": measured(OneStream(N_DRAWS, 4)),
            "diagonal": measured(OneStream(N_DRAWS, 4), per_cell=True),
            "conditional": PosteriorVariance(error_variance),
        }
        steps = {name: AncestralStep(variance) for name, variance in variances.items()}
        for name, step in {**steps, "adams": AdamsStep()}.items():
            row = []
            for n_steps in STEPS:
                streams = OneStream(N_DRAWS, 5)
                grid = sampling_grid(schedule, n_steps, "tapered")
                x = run_sampler(denoiser, streams.normal((6,)), grid, step, streams=streams)
                row.append(distances(x, truth))
            found[f"{title}, {name}"] = row
            print(f"{title}, {name}".ljust(28), row, flush=True)
    return {"steps": STEPS, "rows": found}


def of_weights(path, n_samples, n_windows, max_steps, side, first):
    """All numbers of steps from the first on; rows of fewer are those that are kept."""
    torch.set_num_threads(1)
    model = PrecipDiffusion.load(path).set_params(device="cpu", verbose=False, batch_size=4)
    rain = make_precipitation(1200, (side, side), correlation_length=6.0, random_state=77)
    seconds = {}
    for kind in ("corrected", "npr", "sn"):
        start = time.process_time()
        model.learn_variance(rain, kind, n_windows=n_windows, max_steps=max_steps)
        seconds[kind] = round(time.process_time() - start, 1)
        print(f"{kind} learnt in {seconds[kind]} s", flush=True)
    part = model.model_
    shape = (part.n_frames, side, side)
    weather = part.weathers.draw(seed=1, first=0, n=n_samples).classes

    def draw(step, n_steps):
        """Latents, before means are set to those of the weather."""
        grid = sampling_grid(part.schedule, n_steps, "tapered")
        parts = []
        for numbers in torch.arange(n_samples).split(8):
            streams = RandomStreams(numbers.tolist())
            network = partial(part.network, weather=weather[numbers])
            denoiser = ClampedDenoiser(VDenoiser(network), *part.latent.bounds)
            z = streams.normal(shape)
            parts.append(run_sampler(denoiser, z, grid, step, streams=streams))
        return torch.cat(parts)

    def statistics(x):
        k, power = spatial_psd(x.numpy().astype(np.float64))
        bands = [power[(k >= a) & (k <= b)].sum() for a, b in BANDS]
        wet = part.latent.decode(x) > 0.1
        return np.array([float(wet.float().mean()), float(x.var()), *bands])

    reference = statistics(draw(AdamsStep(), 100))
    device = torch.device("cpu")
    rules = {"adams": AdamsStep()}
    for name in NAMES:
        fixed = name in ("lower", "upper")
        rules[name] = AncestralStep(name if fixed else part.errors.variance(name, shape, device))
    statistics_named = ["wet share", "variance", *(f"power {a}-{b}" for a, b in BANDS), "seconds"]
    done = STEPS.index(first)
    before = json.loads(RESULT.read_text())["weights"]["rows"] if done else {}
    found = {name: before.get(name, [])[:done] for name in rules}
    kept = {
        "model": Path(path).stem,
        "samples": n_samples,
        "side": side,
        "steps": STEPS,
        "statistics": statistics_named,
        "learnt in seconds": seconds,
        "rows": found,
    }
    for n_steps in STEPS[done:]:
        for name, step in rules.items():
            start = time.process_time()
            ratios = statistics(draw(step, n_steps)) / reference
            found[name].append([*ratios.round(3).tolist(), round(time.process_time() - start, 1)])
            print(name.ljust(10), n_steps, found[name][-1], flush=True)
        keep("weights", kept)
    return kept


def keep(name, part):
    """Add a part to what is kept."""
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps(found | {name: part}) + "\n")


def draw_figure(found):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = 3 if "weights" in found else 2
    fig, axes = plt.subplots(1, panels, figsize=(4.3 * panels, 3.6), layout="constrained")
    colours = dict(zip((*NAMES, "conditional"), plt.cm.tab10.colors, strict=False))
    # What NPR learns; and no ancestral step.
    colours |= {"conditional": colours["npr"], "adams": "k"}
    rows = found["mixture"]["rows"]
    floor = rows["exact draws"][1]
    for ax, title in zip(axes, ("exact mean", "imperfect mean"), strict=False):
        for name, row in rows.items():
            if name.startswith(f"{title}, "):
                kind = name.split(", ")[1]
                distance = [each[1] for each in row]
                ax.plot(STEPS, distance, "o-", color=colours.get(kind, "0.6"), label=kind)
        ax.axhline(floor, color="0.7", ls=":", lw=1, label="as many exact draws")
        ax.set(
            title=f"Mixture, {title}", ylabel="Wasserstein distance", yscale="log", ylim=(2e-3, 0.5)
        )
    for name, row in found.get("weights", {"rows": {}})["rows"].items():
        power = [np.mean(np.abs(np.log(each[2:6]))) for each in row]
        axes[2].plot(STEPS[: len(row)], power, "o-", color=colours.get(name, "0.6"), label=name)
        axes[2].set(title="Trained network", ylabel="error of log power, mean of four bands")
    for ax in axes:
        ax.set(xlabel="steps", xscale="log", xticks=STEPS, xticklabels=STEPS)
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=7, ncol=2)
    path = HERE.parent / "docs" / "images" / "reverse_variances.png"
    fig.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, help="a stored model, to be measured as well")
    parser.add_argument("--samples", type=int, default=6, help="sequences of the model")
    parser.add_argument("--windows", type=int, default=16, help="to measure its errors on")
    parser.add_argument("--head-steps", type=int, default=60, help="training of npr and sn")
    parser.add_argument("--side", type=int, default=32, help="rows and columns of the sequences")
    parser.add_argument("--first", type=int, choices=STEPS, default=10, help="number of steps")
    parser.add_argument("--figure", action="store_true", help="only draw what is kept")
    arguments = parser.parse_args()
    if arguments.weights is not None:
        of_weights(
            arguments.weights,
            arguments.samples,
            arguments.windows,
            arguments.head_steps,
            arguments.side,
            arguments.first,
        )
    elif not arguments.figure:
        keep("mixture", of_mixture())
    found = json.loads(RESULT.read_text())
    draw_figure(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
