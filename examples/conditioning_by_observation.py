"""One prior, three questions: a blocked radar beam, gauges, and a coarse grid.

The prior is a Gaussian field seen through a square root, whose denoiser is exact, so that nothing
has to be trained; a network takes its place without any other change. Everything is observed in
mm/h.

    python examples/conditioning_by_observation.py
"""

from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from skdiffuse.diffusion import (
    AdamsStep,
    ArealMean,
    Gauges,
    GaussianDenoiser,
    KnownCells,
    RandomStreams,
    TruncatedCosineSchedule,
    condition,
    run_sampler,
    sampling_grid,
)
from skdiffuse.plotting import rain_colormap, rain_norm

SIZE, N_SAMPLES = 32, 32


def decode(latent):
    """Latent to mm/h: 45 % of the cells are dry."""
    return (1.6 * latent - 0.2).clamp(min=0).square()


def encode(rain):
    return (rain.sqrt() + 0.2) / 1.6


def prior_of_fields():
    y, x = (g.flatten().double() for g in torch.meshgrid(*[torch.arange(SIZE)] * 2, indexing="ij"))
    distance = torch.hypot(y[:, None] - y, x[:, None] - x)
    return GaussianDenoiser(torch.zeros(SIZE**2), (1 + distance / 3) * torch.exp(-distance / 3))


def sample(denoiser):
    noise = RandomStreams(range(N_SAMPLES)).normal((1, SIZE, SIZE))
    grid = sampling_grid(TruncatedCosineSchedule(), 32, "tapered")
    return decode(run_sampler(denoiser, noise, grid, AdamsStep()))[:, 0]


def questions(truth):
    """What is observed of the truth, and a picture of it."""
    nan = torch.nan
    y, x = torch.meshgrid(*[torch.arange(SIZE, dtype=torch.float32)] * 2, indexing="ij")
    angle = torch.atan2(y + 4, x + 4)
    beam = torch.where((angle > 0.62) & (angle < 0.98), nan, truth)
    yield "a blocked beam", KnownCells(beam[None, None]).through(decode, encode), beam

    rows = torch.tensor([2, 5, 9, 14, 17, 21, 26, 29] * 3)
    columns = torch.tensor([3, 19, 11, 27, 6, 15, 23, 30] + [28, 8, 21, 2, 16, 25, 5, 12] * 2)
    columns[16:] = (columns[16:] + 13) % SIZE
    values = truth[rows, columns]
    picture = torch.full_like(truth, nan)
    picture[rows, columns] = values
    gauges = Gauges(values[None, None], rows, columns, error_variance=0.01)
    yield "24 gauges", gauges.through(decode, encode), picture

    coarse = ArealMean(torch.zeros(1, 1, 8, 8), 4).predict(truth[None, None])
    picture = coarse[0, 0].repeat_interleave(4, 0).repeat_interleave(4, 1)
    means = ArealMean(coarse, 4, error_variance=0.01)
    yield "means of 4 x 4 cells", means.through(decode, encode), picture


def main():
    prior = prior_of_fields()
    truth = sample(prior)[7]
    fig, axes = plt.subplots(3, 5, figsize=(10.5, 6.6), layout="constrained")
    style = {"norm": rain_norm(), "cmap": rain_colormap().with_extremes(bad="0.75")}
    for row, (name, observation, picture) in zip(axes, questions(truth), strict=True):
        drawn = sample(condition(prior, observation, "moment_matching", tolerance=1e-3))
        error = (drawn.mean(0) - truth).square().mean().sqrt()
        fields = {
            name: picture,
            "one answer": drawn[0],
            "another": drawn[1],
            f"mean of {N_SAMPLES}": drawn.mean(0),
            "truth": truth,
        }
        print(f"{name}: error of the mean {error:.2f} mm/h, spread {drawn.std(0).mean():.2f} mm/h")
        for ax, (title, field) in zip(row, fields.items(), strict=True):
            picture = ax.imshow(field, **style)
            ax.set_title(title, fontsize=10, loc="left")
            ax.set(xticks=[], yticks=[])
    fig.colorbar(picture, ax=axes, shrink=0.6, label="mm/h")
    path = Path(__file__).parents[1] / "docs" / "images" / "conditioning.png"
    fig.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
