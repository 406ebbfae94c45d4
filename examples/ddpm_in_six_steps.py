"""The discrete DDPM on one number that is either dry or wet, and the continuous model as its limit.

Trains five small networks (noise by the simple and the variational loss, data without and with a
skip, noise with a learnt variance by the hybrid loss), and measures with the exact denoiser how
bound and samples depend on the number of steps.

    python examples/ddpm_in_six_steps.py
"""

import math
from functools import cache
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from skdiffuse.diffusion import (
    DDPM,
    AdamsStep,
    GaussianMixtureDenoiser,
    LinearBetaSchedule,
    LinearLogSNRSchedule,
    RandomStreams,
    TruncatedCosineSchedule,
    alpha,
    elbo,
    run_sampler,
    sampling_grid,
    sigma,
)
from skdiffuse.diffusion.parameterizations import like
from skdiffuse.diffusion.variances import as_reverse_variance, posterior_coefficients

WEIGHTS, MEANS, SPREADS = (0.6, 0.4), (-1.0, 1.5), (0.2, 0.5)
N_DRAWS = 20_000
SCHEDULES = {
    "linear": LinearBetaSchedule(log_snr_max=10.0),
    "cosine": TruncatedCosineSchedule(-10.0, 10.0),
    "log_snr": LinearLogSNRSchedule(-10.0, 10.0),
}
mixture = GaussianMixtureDenoiser(
    torch.tensor(WEIGHTS),
    torch.tensor(MEANS)[:, None],
    torch.tensor(SPREADS)[:, None, None] ** 2,
)


def data(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wet = torch.rand(n, 1, generator=generator) < WEIGHTS[1]
    noise = torch.randn(n, 1, generator=generator)
    dry, rain = (m + s * noise for m, s in zip(MEANS, SPREADS, strict=True))
    return torch.where(wet, rain, dry)


def each_cell(z, log_snr):
    """The exact denoiser of independent numbers, however many of them a sample has."""
    return mixture(z.reshape(-1, 1), log_snr).reshape(z.shape)


class Network(torch.nn.Module):
    """One network for all steps, told the log-SNR; with a fraction where the variance is learnt.

    With a skip x_hat is the latent, but for as much as there is noise in it.
    """

    def __init__(self, learnt, skip=False):
        super().__init__()
        self.learnt, self.skip = learnt, skip
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(7, 64),
            torch.nn.SiLU(),
            torch.nn.Linear(64, 64),
            torch.nn.SiLU(),
            torch.nn.Linear(64, 1 + learnt),
        )

    def forward(self, z, log_snr):
        level = (log_snr.to(z).reshape(-1, 1) / 10).expand(len(z), 1)
        waves = [f(math.pi * k * level) for k in (1, 2) for f in (torch.sin, torch.cos)]
        out = self.layers(torch.cat([z, z * level, level, *waves], 1))
        if self.skip:
            return like(alpha(log_snr), z) * z + like(sigma(log_snr), z) * out
        return (out[:, :1], torch.sigmoid(out[:, 1:])) if self.learnt else out


def train(chain, objective, skip=False, n_steps=1000):
    torch.manual_seed(0)
    network, x = Network(chain.variance == "learnt", skip), data(20_000)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        batch = x[torch.randint(len(x), (512,), generator=generator)]
        step = chain.draw_steps(512, generator)
        noise = torch.randn(512, 1, generator=generator)
        loss = chain.loss(network, batch, step, noise, objective).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decay.step()
    return network.eval().requires_grad_(False)


def quantiles(levels):
    """Of the data, by their distribution function."""
    x = torch.linspace(-3, 5, 16_001, dtype=torch.float64)
    parts = zip(WEIGHTS, MEANS, SPREADS, strict=True)
    below = sum(w * torch.special.ndtr((x - m) / s) for w, m, s in parts)
    return x[torch.searchsorted(below, levels).clamp(max=len(x) - 1)]


def distance(x):
    """Wasserstein distance to the data."""
    x = x.double().flatten().sort().values
    return float((x - quantiles((torch.arange(len(x)) + 0.5) / len(x))).abs().mean())


def gap_of_bound(chain):
    """How far the expected bound of an exact denoiser lies above the entropy, by quadrature."""
    x = torch.linspace(-3, 5, 16_001, dtype=torch.float64)
    density = mixture.log_density(x[:, None], 60.0).exp()
    entropy = -torch.trapezoid(density * mixture.log_density(x[:, None], 60.0), x)
    low, high = chain.log_snrs[-1], chain.log_snrs[0]
    of_x = torch.trapezoid(density * x**2, x)
    a2 = torch.sigmoid(low)
    gap = 0.5 * (a2 * of_x + (1 - a2) - torch.log(1 - a2) - 1)
    gap += 0.5 * (math.log(2 * math.pi * math.e) - high) - entropy
    for t in range(1, chain.n_steps + 1):
        at, towards = chain.log_snrs[t], chain.log_snrs[t - 1]
        _, c_x, std = posterior_coefficients(at, towards)
        variance = as_reverse_variance(chain.variance)(x, x, at, towards)
        spread = std**2 + c_x**2 * remaining(float(at))
        gap += 0.5 * (spread / variance - 1 + math.log(variance / std**2))
    return float(gap)


@cache
def remaining(log_snr):
    """``E[Var[x | z]]``, by quadrature."""
    z = torch.linspace(-6, 6, 2401, dtype=torch.float64)[:, None]
    density = mixture.log_density(z, log_snr).exp()
    return float(torch.trapezoid(density * mixture.posterior_variance(z, log_snr)[:, 0], z[:, 0]))


def limit():
    """Gap of the bound and distance of samples, by schedule, variance and number of steps."""
    rows = {}
    for name, schedule in SCHEDULES.items():
        for n_steps in (10, 100, 1000):
            for variance in ("lower", "upper"):
                chain = DDPM(n_steps, schedule, "x", variance)
                drawn = chain.sample(each_cell, (N_DRAWS,), RandomStreams([1]), torch.float64)
                rows[name, variance, n_steps] = [gap_of_bound(chain), distance(drawn)]
    x = data(2000, seed=2).double()
    entropy = -mixture.log_density(x, 60.0)
    bound = elbo(mixture, x, RandomStreams(range(2000)), log_snr_min=-10.0, log_snr_max=10.0).bound
    noise = RandomStreams([0]).normal((N_DRAWS,), torch.float64)
    grid = sampling_grid(SCHEDULES["cosine"], 100)
    drawn = run_sampler(each_cell, noise, grid, AdamsStep())
    rows["continuous", "", ""] = [float((bound - entropy).mean()), distance(drawn)]
    rows["exact draws", "", ""] = [0.0, distance(data(N_DRAWS, seed=6))]
    return rows


def draw_chain(ax, chain):
    """Augmentation: the law of z_t, and some paths of the reverse chain."""
    z = torch.linspace(-3.2, 3.2, 300, dtype=torch.float64)
    law = [mixture.log_density(z[:, None], level).exp() for level in chain.log_snrs]
    ax.pcolormesh(range(chain.n_steps + 1), z, torch.stack(law, 1), cmap="Greys", vmax=0.9)
    ax.set(title="1 Augmentation: the law of z at step t", xlabel="t", ylabel="z")


def draw_samples(ax, trained):
    bins = torch.linspace(-2.5, 3.5, 61)
    x = torch.linspace(-2.5, 3.5, 400, dtype=torch.float64)
    ax.plot(x, mixture.log_density(x[:, None], 60.0).exp(), color="k", lw=1, label="data")
    for title, (chain, network) in trained.items():
        drawn = chain.sample(network, (1,), RandomStreams(range(4000))).flatten()
        print(f"{title}: Wasserstein distance {distance(drawn):.3f}")
        if title != "x, simple":
            found = torch.histogram(drawn, bins, density=True).hist
            ax.stairs(found, bins, lw=1.2, label=f"{title}: {distance(drawn):.3f}")
    ax.set(title="Trained in seconds, 100 steps", xlabel="x", ylim=(0, 2.0))
    ax.legend(frameon=False, fontsize=7, loc="upper right")


def draw_limit(axes, rows):
    steps = (10, 100, 1000)
    for ax, column, title in zip(
        axes, (0, 1), ("gap of the bound, nats", "distance of samples"), strict=True
    ):
        for name, colour in zip(SCHEDULES, ("C0", "C1", "C2"), strict=True):
            for variance, style in (("lower", "o-"), ("upper", "s--")):
                found = [rows[name, variance, n][column] for n in steps]
                ax.plot(steps, found, style, color=colour, ms=4, label=f"{name}, {variance}")
        if column:
            floor = rows["exact draws", "", ""][1]
            ax.axhline(floor, color="0.6", ls=":", label="as many exact draws")
        ax.set(title=title, xlabel="steps T", xscale="log", yscale="log")
    axes[1].legend(frameon=False, fontsize=7)


def main():
    cosine = SCHEDULES["cosine"]
    trained = {}
    for title, chain, *how in [
        ("eps, simple", DDPM(100, cosine, "eps", "upper"), "simple"),
        ("eps, variational", DDPM(100, cosine, "eps", "upper"), "variational"),
        ("x, simple", DDPM(100, cosine, "x", "upper"), "simple"),
        ("x, simple, with a skip", DDPM(100, cosine, "x", "upper"), "simple", True),
        ("eps, hybrid, learnt variance", DDPM(100, cosine, "eps", "learnt"), "hybrid"),
    ]:
        trained[title] = chain, train(chain, *how)
        x = data(1000, seed=3).double()
        bound = chain.elbo(
            lambda z, t, network=trained[title][1]: _double(network(z.float(), t)),
            x,
            RandomStreams(range(1000)),
            n_noise=1,
        )
        gap = (bound.bound + mixture.log_density(x, 60.0)).mean()
        print(f"{title}: bound {gap:.3f} nats above the entropy")
    rows = limit()
    for key, (gap, apart) in rows.items():
        print(*(str(part).ljust(10) for part in key), f"gap {gap:9.4f}  distance {apart:.4f}")
    fig, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
    draw_chain(axes[0, 0], DDPM(100, cosine))
    draw_samples(axes[0, 1], trained)
    draw_limit(axes[1], rows)
    for ax in axes.flat:
        ax.title.set_fontsize(10)
        ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(Path(__file__).parents[1] / "docs" / "images" / "ddpm_in_six_steps.png", dpi=90)


def _double(out):
    return tuple(part.double() for part in out) if isinstance(out, tuple) else out.double()


if __name__ == "__main__":
    main()
