"""How well closed forms denoise rain that they were not fitted to.

    python benchmarks/mixture_prior.py --data FOLDER [--quick]

Windows of 8 frames of 32 x 32 cells, square root, scaled to mean 0 and variance 1 by the windows
fitted to. Error per cell of x_hat on other windows at each log-SNR, the same windows and noise for
all: of the Wiener filter, which is a mixture of one class; of mixtures with 4, 8 and 16 classes by
mean latent; with 8 classes by mean rain; and with each of these in thirds by the ratio of root mean
square to mean. Then variants of the eight classes that the library does not have: two passes of
expectation-maximisation after the start from quantiles, and a mean field for each class instead of
a mean in the constant mode alone, as it is or shrunk to what exceeds its sampling error.

Rain: MRMS, the first 48 hours and the later ones; ERA5 in two pairs of months and the two others;
FMI radar in one year and in the next; IMERG in one week and the next; synthetic rain of one seed
and of another. Files that FOLDER does not have are left out.

--quick takes MRMS alone and 128 windows to judge by. Without it the result is stored in
benchmarks/results/mixture_prior.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skdiffuse.cubes import open_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.diffusion import alpha, diffuse, sigma
from skdiffuse.networks import MixturePrior, fit_mixture
from skdiffuse.networks.spectral import spectral_transform

RESULTS = Path(__file__).parent / "results" / "mixture_prior.json"
N_FRAMES, SIDE = 8, 32
LEVELS = (-12, -10, -9, -8, -7, -6, -4, -2, 0, 4, 8)
N_TEST = 512
# Name of the rain: files fitted to and files judged by; of one file the first part and the rest.
RAIN = {
    "MRMS west, later hours": (["mrms_qpe01h_west_4km_20160920-22.nc"], 48),
    "ERA5 Chile, other months": (
        ["era5_chile_0p25deg_1h_202001-02.nc", "era5_chile_0p25deg_1h_202007-08.nc"],
        ["era5_chile_0p25deg_1h_202004-05.nc", "era5_chile_0p25deg_1h_202010-11.nc"],
    ),
    "FMI radar, other year": (
        ["fmi_radar_2km_5min_20160928.nc"],
        ["fmi_radar_2km_5min_20170509.nc"],
    ),
    "IMERG Brazil, other week": (["imerg_e_brazil_s_0p1deg_30min_20231102-18.nc"], 0.5),
}


def windows(rain: np.ndarray) -> Tensor:
    """Windows side by side, without those that lack a cell."""
    cut = [
        rain[t : t + N_FRAMES, y : y + SIDE, x : x + SIDE]
        for t in range(0, rain.shape[0] - N_FRAMES + 1, N_FRAMES)
        for y in range(0, rain.shape[1] - SIDE + 1, SIDE)
        for x in range(0, rain.shape[2] - SIDE + 1, SIDE)
    ]
    return torch.from_numpy(np.stack([window for window in cut if np.isfinite(window).all()]))


def read(folder: Path, name: str) -> np.ndarray:
    return open_cube(folder / name).values.astype(np.float32)


def pairs(folder: Path, quick: bool):
    """Name, windows to fit to and windows to judge by, in mm/h."""
    for name, (first, second) in RAIN.items():
        needed = first + (second if isinstance(second, list) else [])
        if not all((folder / file).exists() for file in needed):
            print(f"{name}: no file in {folder}, left out")
            continue
        if isinstance(second, list):
            train, test = (
                torch.cat([windows(read(folder, f)) for f in g]) for g in (first, second)
            )
        else:
            rain = read(folder, first[0])
            hour = second if second >= 1 else int(second * len(rain))
            train, test = windows(rain[:hour]), windows(rain[hour:])
        yield name, train, test
        if quick:
            return
    train, test = (
        windows(np.asarray(make_precipitation(320, (96, 96), random_state=seed)).astype(np.float32))
        for seed in (0, 1)
    )
    yield "synthetic, other seed", train, test


def em_passes(prior: MixturePrior, latents: Tensor, n_passes: int) -> MixturePrior:
    """Expectation-maximisation with clean windows, spectra averaged over cells of equal power."""
    coefficients = spectral_transform(latents.double()).flatten(1)
    # Bins of the rings are those of equal power in every class.
    _, bins = torch.unique(prior.power.flatten(1), dim=1, return_inverse=True)
    size = torch.bincount(bins)
    square = coefficients.square()
    square[:, 0] = 0
    binned = torch.zeros(len(square), len(size), dtype=torch.float64).index_add_(1, bins, square)
    root = coefficients.shape[1] ** 0.5
    level = coefficients[:, 0] / root
    for _ in range(n_passes):
        power, mean = prior.power.double().flatten(1), prior.mean.double()
        of_bin = torch.zeros(len(power), len(size), dtype=torch.float64).index_copy_(1, bins, power)
        # The constant mode has a bin of its own.
        log_r = prior.weights.double().log() - 0.5 * (
            (size * of_bin.log()).sum(1) + binned @ (1 / of_bin).T
        )
        log_r -= 0.5 * (root * (level[:, None] - mean)).square() / power[:, 0]
        r = torch.softmax(log_r, 1)
        share = r.sum(0)
        r = r / share.clamp(min=1e-9)
        mean = r.T @ level
        power = (r.T @ binned / size)[:, bins]
        power[:, 0] = (r * (root * (level[:, None] - mean)).square()).sum(0)
        keep = share >= 4
        shape = prior.power.shape[1:]
        prior = MixturePrior(
            share[keep], mean[keep], power[keep].clamp(min=1e-6).reshape(-1, *shape)
        )
    return prior


class MeanFields:
    """A mean field of each class instead of one number, and spectra about it.

    If shrunk, ring by ring to what exceeds the sampling error, ten windows counted as one since
    they follow each other.
    """

    def __init__(self, prior: MixturePrior, latents: Tensor, number: Tensor, shrunk: bool) -> None:
        self.weights = prior.weights.double()
        coefficients = spectral_transform(latents.double()).flatten(1)
        _, bins = torch.unique(prior.power.flatten(1), dim=1, return_inverse=True)
        size = torch.bincount(bins)

        def over_rings(values: Tensor) -> Tensor:
            return torch.zeros(len(size), dtype=values.dtype).index_add_(0, bins, values) / size

        means, powers = [], []
        for j in range(prior.n_classes):
            mine = coefficients[number == j]
            mean = mine.mean(0)
            if shrunk:
                noise = 10 * over_rings((mine - mean).square().mean(0)) / len(mine)
                kept = (1 - noise / over_rings(mean.square()).clamp(min=1e-12)).clamp(0, 1)[bins]
                kept[0] = 1
                mean = kept * mean
            means.append(mean)
            powers.append(over_rings((mine - mean).square().mean(0))[bins].clamp(min=1e-6))
        self.mean, self.power = torch.stack(means), torch.stack(powers)

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        a, s = alpha(log_snr), sigma(log_snr)
        coefficients = spectral_transform(z.double()).flatten(1)
        v = a**2 * self.power + s**2
        anomaly = coefficients[:, None] - a * self.mean
        log_r = self.weights.log() - 0.5 * (v.log() + anomaly.square() / v).sum(-1)
        x = self.mean + a * self.power / v * anomaly
        x = torch.einsum("nj,njk->nk", torch.softmax(log_r, 1), x).reshape(z.shape)
        return spectral_transform(x, inverse=True).to(z.dtype)


def denoisers(train: Tensor, latents: Tensor) -> dict:
    ones = [torch.ones(len(train))]
    found = {
        f"{j} by mean latent" if j > 1 else "Wiener filter": fit_mixture([latents], ones, j)[0]
        for j in (1, 4, 8, 16)
    }
    for n_parts in (1, 3):
        name = "8 by mean rain" + (", in thirds" if n_parts > 1 else "")
        found[name] = fit_mixture([latents], ones, 8, rates=[train], n_parts=n_parts)[0]
    found["16 by mean rain, in thirds"] = fit_mixture(
        [latents], ones, 16, rates=[train], n_parts=3
    )[0]
    prior, classes = fit_mixture([latents], ones, 8)
    found["8 by mean latent, two passes of EM"] = em_passes(prior, latents, 2)
    for shrunk in (False, True):
        name = "8 by mean latent, mean fields" + (", shrunk" if shrunk else "")
        found[name] = MeanFields(prior, latents, classes(latents), shrunk)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the rain files")
    parser.add_argument("--quick", action="store_true", help="MRMS alone, fewer windows")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {"log_snr": LEVELS, "window": [N_FRAMES, SIDE, SIDE], "rain": {}}
    for name, train, test in pairs(arguments.data, arguments.quick):
        generator = torch.Generator().manual_seed(0)
        n_test = 128 if arguments.quick else N_TEST
        test = test[torch.randperm(len(test), generator=generator)[:n_test]].sqrt()
        latents = train.sqrt()
        centre, scale = latents.double().mean().item(), latents.double().std().item()
        latents, test = (latents - centre) / scale, (test - centre) / scale
        rows, seconds = {}, {}
        for kind, denoiser in denoisers(train, latents).items():
            generator = torch.Generator().manual_seed(1)
            start = time.process_time()
            rows[kind] = []
            for level in LEVELS:
                level = torch.tensor(float(level), dtype=torch.float64)
                eps = torch.randn(test.shape, generator=generator)
                error = sum(
                    (denoiser(diffuse(x, noise, level), level) - x).square().sum().item()
                    for x, noise in zip(test.split(32), eps.split(32), strict=True)
                )
                rows[kind].append(round(error / test.numel(), 5))
            seconds[kind] = round(time.process_time() - start, 1)
        result["rain"][name] = {
            "windows_fitted_to": len(train),
            "windows_judged_by": len(test),
            "variance_judged_by": round(test.square().mean().item(), 3),
            "error_per_cell": rows,
            "cpu_seconds": seconds,
        }
        print(f"\n{name}: {len(train)} windows, judged by {len(test)}")
        print(f"{'log-SNR':38s}" + "".join(f"{level:8d}" for level in LEVELS))
        for kind, errors in rows.items():
            print(f"{kind:38s}" + "".join(f"{error:8.4f}" for error in errors))
    if not arguments.quick:
        RESULTS.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
