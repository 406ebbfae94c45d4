"""How strong generated rain is beside the rain that was learnt, after minutes of one CPU core.

    python benchmarks/fidelity.py --quick
    python benchmarks/fidelity.py --data mrms --cpu-minutes 10 --seeds 0 1 2 --checkpoints DIR

The new default (a mixture of Gaussians as skip, the network told the class of a window, classes
drawn first) beside the old one (a Wiener filter as skip, sampled plainly) and beside the mixture
alone, without any network: the baseline that every trained network must beat. Sequences are drawn
freely. Mean, wet share, quantiles and power by waves across a window, in mm/h, are compared with
those of windows drawn as in training; held-out rain beside them says how far rain differs from
rain. Losses are the v-losses on held-out rain at 1, 4, 10 and 40 minutes and at the end.

Training stops by CPU time, not by wall time: a busy machine does not change the result. With
``--checkpoints`` it can be interrupted, and with ``--resume`` goes on. The result is written to
``benchmarks/results/fidelity_<data>_<minutes>.json`` after each row of it.

MRMS: hourly, 4 km; the first 48 hours learnt, the rest held out. ERA5: hourly, January, February,
July and August learnt, the two pairs of months between held out. FMI: 5 minutes, one year learnt
and another held out. IMERG: half-hourly, the first and the second half. Synthetic: two seeds.

``--quick`` takes less than five minutes on one core, needs no data, and ends with one JSON line.
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import xarray as xr
from fidelity_ratios import names_of, power_of, printed, ratios, table
from torch import Tensor, nn

from skdiffuse import NetworkSettings, PrecipDiffusion
from skdiffuse.cubes import open_cube, validate_cubes
from skdiffuse.datasets import make_precipitation
from skdiffuse.diffusion import v_loss
from skdiffuse.networks import MixturePrior
from skdiffuse.training import WindowBatches

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("SKDIFFUSE_TEST_DATA", HERE.parents[1] / "shared/data"))
FRAMES = 8
SKIPS = {"new": "mixture", "old": "wiener"}
MINUTES_OF_LOSSES = (1, 4, 10, 40)
# CPU seconds of training at a time: what is lost at most where a run is killed.
PIECE = 45.0
LEVELS = (-12, -10, -9, -8, -7, -6, -4, -2, 0, 2, 4, 8)
SAMPLES_AT_A_TIME = 16
# How far rarer classes are preferred where sequences are weighted.
RARE = 0.5


@dataclass(frozen=True)
class Trial:
    """Rain to learn, rain to judge by, and how much is drawn of each."""

    learnt: xr.DataArray
    held_out: xr.DataArray
    crop: int
    n_samples: int
    n_windows: int = 8192
    n_judged: int = 128
    weighted: bool = True
    n_frames: int = FRAMES
    sampling_device: str = "cpu"

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(min(n, self.crop) for n in self.learnt.shape[1:])

    @property
    def side(self) -> int:
        return max(self.shape)


def read_files(folder: Path, *names: str) -> xr.DataArray:
    """One cube of the rain in some files, in memory."""
    cubes = [open_cube(folder / f"{name}.nc").load() for name in names]
    return cubes[0] if len(cubes) == 1 else xr.concat(cubes, cubes[0].dims[0])


def rain_of(name: str, folder: Path) -> tuple[xr.DataArray, xr.DataArray, int]:
    """Rain to learn, rain held out, and the crop."""
    read = partial(read_files, folder)
    if name == "mrms":
        cube = read("mrms_qpe01h_west_4km_20160920-22")
        return cube[:48], cube[48:], 32
    if name == "era5":
        months = ("202001-02", "202007-08"), ("202004-05", "202010-11")
        parts = (read(*(f"era5_chile_0p25deg_1h_{m}" for m in part)) for part in months)
        return *parts, 48
    if name == "fmi":
        return *(read(f"fmi_radar_2km_5min_{day}") for day in ("20160928", "20170509")), 32
    if name == "imerg":
        cube = read("imerg_e_brazil_s_0p1deg_30min_20231102-18")
        half = len(cube) // 2
        return cube[:half], cube[half:], 32
    parts = (
        make_precipitation(2000, (96, 96), correlation_length=6.0, random_state=s) for s in (0, 1)
    )
    return *parts, 32


def windows_of(
    rain: xr.DataArray | list[xr.DataArray], trial: Trial, n: int, **options: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Windows as training draws them and what each stands for, some at a time, only whole ones."""
    cubes = validate_cubes(rain)
    batches = WindowBatches(cubes, trial.n_frames, trial.shape, 64, seed=1, **options)
    for k in range(-(-n // 64)):
        windows, weights = (part.numpy() for part in batches(k))
        whole = np.isfinite(windows).all((1, 2, 3))
        yield windows[whole], weights[whole]
    batches.reader.close()


def table_of(rain: xr.DataArray | list[xr.DataArray], trial: Trial) -> np.ndarray:
    """What `fidelity_ratios` needs of windows of real rain."""
    return np.concatenate([table(*part) for part in windows_of(rain, trial, trial.n_windows)])


# Training


def untrained(skip: str, trial: Trial, seed: int, folder: Path | None) -> PrecipDiffusion:
    """The default with one of the two skips."""
    return PrecipDiffusion(
        n_frames=FRAMES,
        crop_size=trial.crop,
        network=NetworkSettings(skip=skip),
        checkpoint_dir=folder,
        warm_start=True,
        random_state=seed,
        device="cpu",
        verbose=False,
    )


def train(
    model: PrecipDiffusion, rain: xr.DataArray, minutes: list[float], *, resume: bool
) -> Iterator[tuple[float, float]]:
    """Train in place; after each of `minutes` of CPU time, say it and the seconds spent."""
    folder = model.checkpoint_dir
    record = None if folder is None else folder / "cpu_time.json"
    spent, steps, per_step = 0.0, 0, None
    if folder is not None and folder.exists() and any(folder.iterdir()):
        if not resume:
            raise SystemExit(f"{folder} is not empty: --resume goes on with what is there.")
        before = json.loads(record.read_text())
        model.set_params(max_steps=before["steps"]).fit(rain)
        # A run that was killed may have left a checkpoint that is newer than the record.
        steps, per_step = model.n_iter_, before["cpu_seconds"] / before["steps"]
        spent = per_step * steps
    # Those that an earlier run has passed are in its result.
    for minute in [m for m in minutes[:-1] if 60 * m > spent] + minutes[-1:]:
        while (left := 60 * minute - spent) > 0:
            more = 4 if per_step is None else max(1, round(min(PIECE, left) / per_step))
            start = time.process_time()
            model.set_params(max_steps=steps + more).fit(rain)
            piece = time.process_time() - start
            spent, steps, per_step = spent + piece, steps + more, piece / more
            if record is not None:
                record.write_text(json.dumps({"cpu_seconds": spent, "steps": steps}))
        yield minute, spent


# Generation


class ClosedForm(nn.Module):
    """A mixture of Gaussians where a network is expected."""

    def __init__(self, prior: MixturePrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, z: Tensor, log_snr: Tensor, weather: Tensor | None = None) -> Tensor:
        return self.prior.denoise(z, log_snr, weather).v


def without_network(model: PrecipDiffusion) -> PrecipDiffusion:
    """The same model with nothing but the mixture that its network starts from."""
    alone = copy.copy(model)
    alone.model_ = replace(model.model_, network=ClosedForm(model.model_.prior))
    return alone


def generated(
    model: PrecipDiffusion, n: int, rare: float, seed: int, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences and weights; `sample`, and with `rare` heavier weather oftener."""
    size = SAMPLES_AT_A_TIME if device == "cpu" else 8 * SAMPLES_AT_A_TIME
    model.set_params(device=device)
    rain = model.sample(n, rare=rare, batch_size=size, random_state=seed)
    model.set_params(device="cpu").network_.to("cpu")
    return np.asarray(rain), model.sample_weights(n, rare=rare, random_state=seed)


# Denoising


def denoising(model: PrecipDiffusion, windows: np.ndarray) -> list[dict]:
    """Error of v of network and mixture at each log-SNR, told the class of a window or nothing.

    ``excess`` is the network's error above the mixture's, in standard errors of the paired mean.
    """
    parts = model.model_
    rain = torch.from_numpy(windows)
    latent, classes = parts.latent.encode(rain), parts.weathers.classes(rain)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    rows = []
    for told in (False, True):
        for level in LEVELS:
            network, mixture = (
                _errors(one, latent, noise, level, classes if told else None)
                for one in (parts.network, ClosedForm(parts.prior))
            )
            above = network - mixture
            rows.append(
                {
                    "told": told,
                    "log_snr": level,
                    "network": round(network.mean().item(), 5),
                    "mixture": round(mixture.mean().item(), 5),
                    "excess": round((above.mean() / above.std() * len(above) ** 0.5).item(), 2),
                }
            )
    return rows


def _errors(
    network: nn.Module, latent: Tensor, noise: Tensor, level: float, classes: Tensor | None
) -> Tensor:
    found = []
    for i in range(0, len(latent), SAMPLES_AT_A_TIME):
        part = slice(i, i + SAMPLES_AT_A_TIME)
        told = partial(network, weather=None if classes is None else classes[part])
        log_snr = torch.full((len(latent[part]),), level, dtype=torch.float64)
        with torch.no_grad():
            found.append(v_loss(told, latent[part], log_snr, noise[part]).double())
    return torch.cat(found)


# The trial


class Result:
    """What has been found so far, printed and written as it comes.

    Where a run goes on, rows of the same kind and key take the place of earlier ones.
    """

    KEYS = ("rain", "model", "seed", "minutes")

    def __init__(self, path: Path | None, *, resume: bool = False, **facts) -> None:
        self.path = path
        self.found = {"ratios": [], "losses": [], "denoising": []}
        if resume and path is not None and path.exists():
            self.found = json.loads(path.read_text())
        self.found |= facts

    def add(self, kind: str, **row) -> None:
        def key(one: dict) -> list:
            return [one.get(name) for name in self.KEYS]

        self.found[kind] = [one for one in self.found[kind] if key(one) != key(row)] + [row]
        if kind == "ratios":
            print(printed(f"{row['rain']}, {row['n']}", row["ratios"]), flush=True)
        elif kind == "losses":
            after = f"{row['minutes']:g} min, {row['steps']} steps"
            print(f"v-loss of {row['model']} after {after}: {row['loss']:.4f}", flush=True)
        if self.path is not None:
            self.path.write_text(json.dumps(self.found) + "\n")


def judge(
    trial: Trial,
    minutes: list[float],
    seeds: list[int],
    models: list[str],
    result: Result,
    checkpoints: Path | None = None,
    *,
    resume: bool = False,
) -> None:
    """Train each model for up to ``minutes[-1]`` of CPU time, draw from it and compare."""
    real = table_of(trial.learnt, trial)
    even = windows_of(trial.held_out, trial, trial.n_judged, n_candidates=1)
    judged = np.concatenate([windows for windows, _ in even])

    def compare(name: str, rows: np.ndarray, **facts) -> None:
        found = ratios(real, rows, trial.side)
        result.add("ratios", rain=name, n=len(rows), ratios=found, **facts)

    def loss(model: PrecipDiffusion, name: str, **facts) -> None:
        found = model.denoising_loss(judged, random_state=0)
        result.add("losses", model=name, loss=found, **facts)

    print(" " * 34 + "  ".join(names_of(trial.side)))
    compare("held-out rain", table_of(trial.held_out, trial))
    for seed in seeds:
        for name in models:
            folder = None if checkpoints is None else checkpoints / f"{name}_{seed}"
            model = untrained(SKIPS[name], trial, seed, folder)
            facts = {"seed": seed}
            for minute, spent in train(model, trial.learnt, minutes, resume=resume):
                facts |= {"minutes": minute, "steps": model.n_iter_, "cpu_seconds": round(spent, 1)}
                loss(model, f"{name} default", **facts)
            drawn = generated(model, trial.n_samples, 0, seed, trial.sampling_device)
            compare(f"{name} default", table(*drawn), **facts)
            if name != "new":
                continue
            result.add("denoising", seed=seed, rows=denoising(model, judged))
            alone = without_network(model)
            loss(alone, "mixture alone", seed=seed, minutes=0, steps=0)
            drawn = generated(alone, trial.n_samples, 0, seed, trial.sampling_device)
            compare("mixture alone", table(*drawn), seed=seed)
            both = {"new default": model, "mixture alone": alone} if trial.weighted else {}
            for title, one in both.items():
                drawn = generated(one, trial.n_samples, RARE, seed, trial.sampling_device)
                compare(f"{title}, weighted", table(*drawn), **facts)


def quick() -> None:
    """Small windows of synthetic rain, one minute of training each."""
    start = time.process_time()
    learnt, held_out = (
        make_precipitation(1500, (64, 64), correlation_length=4.0, random_state=s) for s in (0, 1)
    )
    trial = Trial(learnt, held_out, crop=16, n_samples=320, n_judged=96, weighted=False)
    result = Result(None)
    judge(trial, [1.0], [0], ["new", "old"], result)
    found = {row["rain"]: row["ratios"] for row in result.found["ratios"]}
    new, old = found["new default"], found["old default"]
    rows = result.found["denoising"][0]["rows"]
    for row in rows:
        print(row)
    line = {
        "power_kept": power_of(new),
        "wet_ratio": new["wet share"][0],
        "q999_ratio": new["quantile 1 - 1e-03"][0],
        "skip_beaten_everywhere": all(row["excess"] <= 2 for row in rows),
        "baseline_power_kept": power_of(old),
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    print(json.dumps(line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="synthetic rain, under five minutes")
    parser.add_argument(
        "--data", default="synthetic", choices=["mrms", "era5", "synthetic", "fmi", "imerg"]
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the rain files are")
    parser.add_argument("--cpu-minutes", type=float, default=10.0, help="of training, each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", nargs="+", choices=list(SKIPS), default=list(SKIPS))
    parser.add_argument("--crop", type=int, help="cells; whole fields learn their geography too")
    parser.add_argument("--samples", type=int, default=384, help="sequences drawn of each model")
    parser.add_argument("--sampling-device", default="cpu", help="where sequences are drawn")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="for the result")
    parser.add_argument("--checkpoints", type=Path, help="folder that makes a run resumable")
    parser.add_argument("--resume", action="store_true", help="go on with --checkpoints")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.quick:
        quick()
        return
    learnt, held_out, crop = rain_of(arguments.data, arguments.folder)
    trial = Trial(
        learnt,
        held_out,
        arguments.crop or crop,
        arguments.samples,
        sampling_device=arguments.sampling_device,
    )
    minutes = arguments.cpu_minutes
    path = arguments.out / f"fidelity_{arguments.data}_{minutes:g}.json"
    result = Result(
        path,
        resume=arguments.resume,
        data=arguments.data,
        cpu_minutes=minutes,
        window=[FRAMES, *trial.shape],
    )
    judge(
        trial,
        [m for m in MINUTES_OF_LOSSES if m < minutes] + [minutes],
        arguments.seeds,
        arguments.models,
        result,
        arguments.checkpoints,
        resume=arguments.resume,
    )


if __name__ == "__main__":
    main()
