r"""Controlled comparisons: the dissertation's three models, and our default with one thing changed.

    python benchmarks/controlled.py --study reproduction --data era5 --seeds 0 1 2
    python benchmarks/controlled.py --study ablation --data synthetic --seeds 0 1
    python benchmarks/controlled.py --tables

Every variant is trained on the same windows, for as many steps, from the same seeds, and draws as
many sequences, which are compared with the rain it learnt: what the dissertation's comparison of
checkpoints of 124k, 200k and 218k steps with different numbers of samples was not. Windows have 8
frames of 16 x 16 cells, so that a variant takes minutes of one CPU core; ``--network``,
``--steps``, ``--samples`` and ``--device`` make more of it where there is a GPU. The dissertation's
own scale, with UKCP18 files, is

    python examples/ukcp18_prepare.py 'pr_*01_1hr_*.nc'
    python benchmarks/controlled.py --data own --rain ukcp18_train.nc ukcp18_test.nc --frames 10 \
        --crop 64 --network base --steps 200000 --samples 2000 --device cuda --out ukcp18.json

Rows are written to ``benchmarks/results/controlled.json`` as they come; those that are there are
not repeated, so that it can be interrupted at any time.

- ``reproduction``: the dissertation's learner (no skip, range scaling, AdamW; its sampler replaced
  by one of 32 steps, which ends with the same statistics) without a transform, with the square
  root, and with the jointly learnt curve, as printed and with the variance of the latent held. Also
  interpolation by w_r = 0, 1e3 and 1e6, in its reading (the error averaged over the batch) and
  ours, and a nowcast and a series of 48 frames of each.
- ``ablation``: the default, and with one thing changed.

Data: made-up rain of known law, in crops; a region of ERA5 at half a degree, whole fields with
their geography (two pairs of months learnt, two held out); hourly MRMS radar rain, in crops.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import xarray as xr
from controlled_tables import print_tables
from controlled_variants import SAMPLERS, STUDIES, WIDTHS
from fidelity import FOLDER, rain_of, read_files

from skdiffuse import KeepingSettings, PrecipDiffusion, make_precipitation, metrics, open_cube
from skdiffuse.cubes import coarsen, validate_cube
from skdiffuse.training import WindowBatches

RESULT = Path(__file__).parent / "results" / "controlled.json"
SIDE = 16  # of windows, and of the region of ERA5
LEVELS = (0.99, 0.999, 0.9999, 1 - 1e-5)
# Waves across a window, as far as one of its size has them.
BANDS = {"1": (1, 1), "2-3": (2, 3), "4-8": (4, 8), "9-16": (9, 16), "17-32": (17, 32)}
# Of the dissertation: below, generated rain is noise (section 4.2); above, rain that matters.
TRACE, NOISE, HEAVY = 0.1, 0.2, 1.0
N_REAL = 4096


# Data


def region_of_era5(*months: str) -> xr.DataArray:
    """South-central Chile and the sea beside it, 16 x 16 cells of half a degree."""
    fields = read_files(FOLDER, *(f"era5_chile_0p25deg_1h_{month}" for month in months))
    return coarsen(fields, 2)[:, 40 : 40 + SIDE, 2 : 2 + SIDE]


def data_of(name: str, files: list[Path] | None = None) -> tuple[xr.DataArray, xr.DataArray]:
    """Rain to learn, and rain held out."""
    if name == "era5":
        return region_of_era5("202001-02", "202007-08"), region_of_era5("202004-05", "202010-11")
    if name == "mrms":
        learnt, held_out, _ = rain_of("mrms", FOLDER)
        return learnt, held_out
    if name == "own":
        learnt, held_out = (open_cube(file) for file in files)
        return learnt, held_out
    parts = (make_precipitation(1500, (48, 48), correlation_length=4.0, random_state=s)
             for s in (0, 1))  # fmt: skip
    return tuple(parts)  # type: ignore[return-value]


def windows_of(rain: xr.DataArray, n: int, of: argparse.Namespace, seed: int = 1) -> np.ndarray:
    """Whole windows as they come, none oftener than others."""
    cube = validate_cube(rain)
    shape = tuple(min(side, of.crop) for side in cube.field_shape)
    batches = WindowBatches(cube, of.frames, shape, 64, seed=seed, n_candidates=1)
    found = np.concatenate([batches(k)[0].numpy() for k in range(-(-n // 64))])[:n]
    batches.reader.close()
    return found[np.isfinite(found).all((1, 2, 3))]


def is_whole(rain: xr.DataArray, arguments: argparse.Namespace) -> bool:
    """Whether windows are whole fields, so that a cell of them is a place."""
    return max(rain.shape[-2:]) <= arguments.crop


# Statistics


def power_of(rain: np.ndarray) -> dict[str, float]:
    power = metrics.spatial_psd(rain).P
    return {name: float(power[a : b + 1].sum()) for name, (a, b) in BANDS.items() if b < len(power)}


def compared(rain: np.ndarray, real: np.ndarray, *, maps: bool) -> dict[str, object]:
    """Generated beside real rain: the four views of the dissertation's chapter 4, in numbers."""
    ratios = np.quantile(rain, LEVELS) / np.quantile(real, LEVELS)
    power, wanted = power_of(rain), power_of(real)
    found: dict[str, object] = {
        "n": len(rain),
        "mean": float(rain.mean() / real.mean()),
        "wet_share": float((rain >= TRACE).mean() / (real >= TRACE).mean()),
        "drizzle": [float(((r > 0) & (r < NOISE)).mean()) for r in (rain, real)],
        "below_1_mm_h": [float((r < HEAVY).mean()) for r in (rain, real)],
        "quantiles": [float(r) for r in ratios],
        "power": {name: power[name] / wanted[name] for name in power},
        "spatial_power_deficit": metrics.power_deficit(real, rain, kind="spatial"),
        "temporal_power_deficit": metrics.power_deficit(real, rain, kind="temporal"),
    }
    if maps:
        found["normalised_bias"] = metrics.bias_summary(real, rain).mean_absolute
    return found


@dataclass(frozen=True)
class Task:
    """Cases of held-out rain to be completed."""

    cases: np.ndarray
    n_members: int = 4

    def interpolated(self, model: PrecipDiffusion) -> dict[str, dict[str, float]]:
        """CRPS and high quantile of every second frame, by weight and by reading of it."""
        known = np.zeros(self.cases.shape, bool)
        known[:, ::2] = True
        wanted = self.cases[:, 1::2]
        rows = {}
        ways: dict[str, dict] = {"w_r = 0": {"method": "replacement"}}
        for weight in (1e3, 1e6):
            ways[f"w_r = {weight:g}, over the batch"] = {
                "method": "ho", "w_r": weight, "mean_over_batch": True, "batch_size": 16,
            }  # fmt: skip
        ways["w_r = 1e6, ours"] = {"method": "reconstruction", "w_r": 1e6}
        for name, way in ways.items():
            try:
                filled = model.impute(
                    self.cases, known, n_samples=self.n_members, random_state=0, **way
                )
            except ValueError as error:
                rows[name] = {"error": str(error)[:120]}
                continue
            between = np.asarray(filled)[:, :, 1::2]
            rows[name] = {
                "crps": float(metrics.crps_ensemble(wanted, between, axis=0)),
                "quantile_0.999": float(np.quantile(between, 0.999) / np.quantile(wanted, 0.999)),
                "mean": float(between.mean() / wanted.mean()),
            }
        return rows

    def nowcast(self, model: PrecipDiffusion) -> dict[str, float]:
        """CRPS of the last three frames given those before, beside persistence."""
        past, wanted = self.cases[:, :-3], self.cases[:, -3:]
        found = model.forecast(past, 3, n_members=self.n_members, random_state=0)
        still = np.abs(past[:, -1:] - wanted).mean()
        crps = float(metrics.crps_ensemble(wanted, np.asarray(found), axis=0))
        return {"crps": crps, "persistence": float(still)}


def series(model: PrecipDiffusion, real: np.ndarray, shape: tuple[int, int]) -> dict[str, float]:
    """Mean and wet share of autoregressive series of 48 frames."""
    rain = np.asarray(model.simulate(48, n_samples=4, shape=shape, random_state=0))
    return {
        "mean": float(rain.mean() / real.mean()),
        "wet_share": float((rain >= TRACE).mean() / (real >= TRACE).mean()),
    }


# The runs


def run(study: str, name: str, data: str, seed: int, arguments: argparse.Namespace) -> list[dict]:
    """Rows of one training: of the variant, and of samplers and averages for the default."""
    learnt, held_out = data_of(data, arguments.rain)
    real = windows_of(learnt, N_REAL, arguments)
    maps = is_whole(learnt, arguments)
    variant = STUDIES[study][name]
    with tempfile.TemporaryDirectory() as folder, variant.changed():
        start = time.process_time()
        options = {}
        if (study, name) == ("ablation", "default"):
            options = {"checkpoint_dir": folder, "keeping": KeepingSettings(average_snapshots=True)}
        model = variant.make(
            architecture=arguments.network,
            n_frames=arguments.frames,
            crop_size=arguments.crop,
            max_steps=arguments.steps,
            batch_size=arguments.batch_size,
            random_state=seed,
            device=arguments.device,
            verbose=False,
            **options,
        ).fit(learnt)
        spent = time.process_time() - start
        rows = []

        def row_of(title: str, **changed: object) -> None:
            start = time.process_time()
            rain = model.sample(arguments.samples, batch_size=64, random_state=seed + 50, **changed)
            row = {"study": study, "variant": title, "data": data, "seed": seed}
            row |= {"steps": arguments.steps, "batch_size": arguments.batch_size}
            row |= {"train_cpu_seconds": round(spent, 1)}
            row["sample_cpu_seconds"] = round((time.process_time() - start) / len(rain), 4)
            rows.append(row | compared(np.asarray(rain), real, maps=maps))

        row_of(name)
        if options:
            sampler = model.sampler
            for title, way in SAMPLERS.items():
                model.set_params(sampler=way)
                row_of(title)
            model.set_params(sampler=sampler)
            for title, width in WIDTHS.items():
                model.reaverage(width)
                row_of(title)
    if study == "reproduction":
        drawn = windows_of(held_out, 1024, arguments, seed=7)
        wettest = drawn[np.argsort(-drawn.mean((1, 2, 3)))[: 4 * arguments.cases]]
        task = Task(wettest[::4])
        rows[0]["interpolation"] = task.interpolated(model)
        rows[0]["nowcast"] = task.nowcast(model)
        rows[0]["series"] = series(model, real, model.field_shape_)
    return rows


def references(data: str, arguments: argparse.Namespace) -> list[dict]:
    """What no model could better: as many real windows, and what other months are."""
    learnt, held_out = data_of(data, arguments.rain)
    real, maps = windows_of(learnt, N_REAL, arguments), is_whole(learnt, arguments)
    rows = []
    for seed in range(3):
        few = windows_of(learnt, arguments.samples, arguments, seed=20 + seed)
        rows.append({"variant": "as many learnt windows", "seed": seed})
        rows[-1] |= compared(few, real, maps=maps)
    rows.append({"variant": "held-out rain", "seed": 0})
    rows[-1] |= compared(windows_of(held_out, N_REAL, arguments), real, maps=maps)
    return [{"study": "reference", "data": data} | row for row in rows]


def stored(path: Path) -> list[dict]:
    return json.loads(path.read_text())["rows"] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", choices=list(STUDIES), default="reproduction")
    parser.add_argument("--data", choices=["synthetic", "era5", "mrms", "own"], default="era5")
    parser.add_argument(
        "--rain", type=Path, nargs=2, help="with --data own: files to learn, and held out"
    )
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--crop", type=int, default=SIDE)
    parser.add_argument("--variants", nargs="+", help="some of them by name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--cases", type=int, default=12, help="held-out windows to be completed")
    parser.add_argument("--network", default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--tables", action="store_true", help="print what has been found")
    arguments = parser.parse_args()
    if arguments.data == "own" and arguments.rain is None:
        parser.error("--data own needs --rain: a file to learn, and one held out.")
    torch.set_num_threads(1)
    rows = stored(arguments.out)
    if arguments.tables:
        print_tables(rows)
        return
    keys = ("study", "variant", "data", "seed")
    done = {tuple(row[key] for key in keys) for row in rows}

    def keep(more: list[dict]) -> None:
        rows.extend(more)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"rows": rows}, indent=0) + "\n")
        for row in more:
            shown = {k: row[k] for k in ("variant", "seed", "mean", "wet_share", "quantiles")}
            print(json.dumps(shown | {"power": row["power"]}), flush=True)

    if ("reference", "held-out rain", arguments.data, 0) not in done:
        keep(references(arguments.data, arguments))
    whole = is_whole(data_of(arguments.data, arguments.rain)[0], arguments)
    for seed in arguments.seeds:
        for name in arguments.variants or STUDIES[arguments.study]:
            if name == "no geography" and not whole:
                continue
            if (arguments.study, name, arguments.data, seed) not in done:
                keep(run(arguments.study, name, arguments.data, seed, arguments))


if __name__ == "__main__":
    main()
