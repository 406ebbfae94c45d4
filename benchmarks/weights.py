"""Long trainings whose weights are kept, and how strong the rain is that they generate.

    python benchmarks/weights.py synthetic --minutes 30
    python benchmarks/weights.py hourly_4km --minutes 9 --device cuda --batch-size 16

Each name is one kind of rain and one size of window:

- ``synthetic``: made-up rain of known law, 10 x 64 x 64.
- ``era5``: hourly, 0.25 degrees, whole fields with their geography; January, February, July and
  August learnt, the months between held out.
- ``hourly_4km``: MRMS radar and gauges, the first 48 hours (24 are held out), and 33 winter hours
  of ANTILOPE over France, 10 x 64 x 64; also told known cells, for nowcasts.
- ``hourly_4km_small``: the same in windows of 8 x 32 x 32, those of `fidelity.py`.
- ``five_minutes_2km``: radar of FMI and MeteoSwiss, 10 x 64 x 64, three episodes learnt, three of
  other years and KNMI held out; also told known cells, for nowcasts.

The training goes on where it was (``benchmarks/checkpoints/NAME``), by ``--minutes`` in all, with a
learning rate that falls to zero at their end. The model is written in half precision, and what
`fidelity.py` measures of generated rain, with the seconds and the device, beside it as JSON. With
``--weights`` a stored model is measured anew.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from fidelity import RARE, Trial, read_files, table_of
from fidelity_ratios import printed, ratios, table

from skdiffuse import PrecipDiffusion, TrainingSettings
from skdiffuse.cubes import coarsen
from skdiffuse.datasets import make_precipitation
from skdiffuse.training import read_tensors, write_tensors

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("SKDIFFUSE_TEST_DATA", HERE.parents[1] / "shared/data"))


@dataclass(frozen=True)
class Kind:
    """What is learnt, in windows of what size."""

    rain: Callable[[Path], list[xr.DataArray]]
    n_frames: int = 10
    crop_size: int = 64
    batch_size: int = 8
    amortised: bool = False
    # Storms of few episodes come from few directions; nowcasts are asked about others.
    symmetries: bool = False


def _synthetic(_: Path) -> list[xr.DataArray]:
    return [make_precipitation(3000, (96, 96), correlation_length=6.0, random_state=0)]


def _mrms(folder: Path) -> list[xr.DataArray]:
    return [read_files(folder, "mrms_qpe01h_west_4km_20160920-22")[:48]]


def _mrms_and_antilope(folder: Path) -> list[xr.DataArray]:
    fine = read_files(folder, "antilope_france_1km_1h_20120101-02")
    return [*_mrms(folder), coarsen(fine, 4)]


def _era5(folder: Path) -> list[xr.DataArray]:
    months = ("202001-02", "202007-08")
    return [read_files(folder, *(f"era5_chile_0p25deg_1h_{month}" for month in months))]


def _radars(folder: Path) -> list[xr.DataArray]:
    names = ("fmi_radar_2km_5min_20160928", "mch_radar_2km_5min_20150515",
             "mch_radar_2km_5min_20170131")  # fmt: skip
    return [read_files(folder, name) for name in names]


KINDS = {
    "synthetic": Kind(_synthetic),
    "era5": Kind(_era5, crop_size=160),
    "hourly_4km": Kind(_mrms_and_antilope, amortised=True, symmetries=True),
    "hourly_4km_small": Kind(_mrms, n_frames=8, crop_size=32),
    "five_minutes_2km": Kind(_radars, amortised=True, symmetries=True),
}


def trained(
    kind: Kind,
    rain: list[xr.DataArray],
    minutes: float,
    folder: Path,
    arguments: argparse.Namespace,
) -> PrecipDiffusion:
    """The default model of a kind of rain after a time of training in all."""
    return PrecipDiffusion(
        n_frames=kind.n_frames,
        crop_size=kind.crop_size,
        amortised=kind.amortised,
        batch_size=arguments.batch_size or kind.batch_size,
        training=TrainingSettings(
            learning_rate=arguments.learning_rate,
            learning_rate_schedule="cosine",
            compile=arguments.compile,
            symmetries=kind.symmetries,
            max_epochs=10**6,
        ),
        max_time=60 * minutes,
        checkpoint_dir=folder,
        warm_start=True,
        random_state=arguments.seed,
        device=arguments.device,
        verbose=False,
    ).fit(rain)


def keep(model: PrecipDiffusion, path: Path) -> None:
    """Save a model in half precision, with the end of its history.

    Latitudes and longitudes of a whole training area, which would be most of the file, are left out
    where the model speaks of crops, and so is what was done to the files before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    tensors, content = read_tensors(path)
    content["history"] = content["history"][-1:]
    template = model.template_
    if template is not None:
        coords = template.coords
        if template.field_shape != model.field_shape_:
            coords = coords.drop_vars([name for name, c in coords.coords.items() if c.ndim > 1])
        attrs = {key: value for key, value in template.attrs.items() if key != "history"}
        content["template"] = replace(template, coords=coords, attrs=attrs).to_json()
    half = {
        name: tensor.half() if name.startswith("network.network.") else tensor
        for name, tensor in tensors.items()
    }
    write_tensors(path, half, content)


def measured(
    model: PrecipDiffusion, real: np.ndarray, n_samples: list[int], batch_size: int
) -> tuple[dict[str, dict], np.ndarray]:
    """Ratios of plain and of weighted samples to the training rain, and some of the sequences."""
    found, some = {}, np.empty(0)
    for title, rare, n in ("weighted", RARE, min(n_samples[0], 512)), ("plain", 0.0, n_samples[1]):
        if n == 0:
            continue
        options = {"rare": rare, "random_state": 1}
        drawn = np.asarray(model.sample(n, batch_size=batch_size, **options))
        rows = table(drawn, model.sample_weights(n, **options))
        found[f"{title}, {n}"] = ratios(real, rows, max(model.field_shape_))
        print(printed(f"{title}, {n}", found[f"{title}, {n}"]), flush=True)
        some = drawn[:8]
    return found, some


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--minutes", type=float, default=30.0, help="of training in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, help="windows per step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--compile", action="store_true", help="compile the network")
    parser.add_argument(
        "--samples", type=int, nargs=2, default=[384, 384], help="sequences, weighted and plain"
    )
    parser.add_argument("--weights", type=Path, help="weights to measure instead of training")
    parser.add_argument("--samples-at-a-time", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the rain files are")
    parser.add_argument("--checkpoints", type=Path, default=HERE / "checkpoints")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoints", help="for the results")
    arguments = parser.parse_args()
    kind = KINDS[arguments.kind]
    rain = kind.rain(arguments.folder)
    name = f"{arguments.kind}_{arguments.seed}"
    # Beside the training, which leaves a core idle where a GPU does the work.
    judge = ThreadPoolExecutor(1)
    trial = Trial(rain[0], rain[0], kind.crop_size, 0, n_frames=kind.n_frames)
    real = judge.submit(table_of, rain, trial)
    path = arguments.out / f"{name}.json"
    if arguments.weights is None:
        start = time.monotonic()
        model = trained(kind, rain, arguments.minutes, arguments.checkpoints / name, arguments)
        seconds = time.monotonic() - start
        cuda = arguments.device.startswith("cuda")
        history = model.history_
        facts = {
            "kind": arguments.kind,
            "seed": arguments.seed,
            "device": torch.cuda.get_device_name() if cuda else "one CPU core",
            "batch_size": model.batch_size,
            "steps": model.n_iter_,
            "minutes": arguments.minutes,
            "seconds_per_step": round(seconds / max(model.n_iter_, 1), 4),
            "losses": [round(entry["loss"], 4) for entry in history[:: len(history) // 12 + 1]],
        }
        print(json.dumps(facts), flush=True)
        keep(model, arguments.out / f"{name}.safetensors")
    else:
        model = PrecipDiffusion.load(arguments.weights)
        model.set_params(device=arguments.device, verbose=False)
        facts = json.loads(path.read_text()) if path.exists() else {}
    start = time.monotonic()
    found, some = measured(model, real.result(), arguments.samples, arguments.samples_at_a_time)
    facts["ratios"] = found
    facts["sampling_seconds"] = round(time.monotonic() - start, 1)
    np.save(arguments.out / f"{name}_some.npy", some.astype(np.float16))
    path.write_text(json.dumps(facts) + "\n")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
