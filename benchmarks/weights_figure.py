"""Real rain beside generated rain of the stored models: wet sequences of each, by their mean.

    python benchmarks/weights_figure.py --folder DATA
    python benchmarks/weights_figure.py hourly_4km_small five_minutes_2km --columns 4 \
        --folder DATA --out docs/images/real_and_generated.png

Real windows are drawn from those that the models learnt, heavier weather oftener, and so are the
generated ones; the middle frame of each is shown. Real rain needs the files; without them only
made-up rain is drawn.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from fidelity import FOLDER, HERE, Trial, windows_of
from matplotlib.colors import LogNorm
from PIL import Image
from weights import KINDS

from skdiffuse import PrecipDiffusion

TITLES = {
    "synthetic": "made-up rain",
    "hourly_4km": "hourly radar rain, 4 km",
    "hourly_4km_small": "hourly radar rain, 32 x 32 cells of 4 km",
    "five_minutes_2km": "radar rain every 5 minutes, 2 km",
    "era5": "hourly ERA5, 0.25 degrees",
}
ROWS = ("synthetic", "hourly_4km", "five_minutes_2km", "era5")


def real_ones(name: str, folder: Path, law, seed: int) -> np.ndarray:
    """Windows that the model learnt, of classes as likely as `sample` with ``rare=0.8``."""
    kind = KINDS[name]
    rain = kind.rain(folder)
    trial = Trial(rain[0], rain[0], kind.crop_size, 0, n_frames=kind.n_frames)
    windows = np.concatenate([part for part, _ in windows_of(rain, trial, 2048, n_candidates=1)])
    classes = law.classes(torch.from_numpy(windows)).numpy()
    rng = np.random.default_rng(seed)
    left = {k: list(rng.permutation(np.flatnonzero(classes == k))) for k in np.unique(classes)}
    wanted = law.draw(seed, 0, 60, 0.8).classes.tolist()
    return np.stack([windows[left[k].pop()] for k in wanted if left.get(k)])


def wettest_first(rain: np.ndarray, n: int) -> np.ndarray:
    """Every second of the wet ones, in order."""
    order = np.argsort(-rain.mean((1, 2, 3)))
    return rain[order][: 2 * n : 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", default=list(ROWS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the rain files are")
    parser.add_argument("--out", type=Path, default=HERE / "results/real_and_generated.png")
    parser.add_argument("--columns", type=int, default=6, help="windows of each side")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    columns = arguments.columns
    kinds = [k for k in arguments.kinds if k == "synthetic" or arguments.folder.exists()]
    heights = [2.4 if name == "era5" else 1 for name in kinds]
    figure, axes = plt.subplots(
        len(kinds), 2 * columns + 1,
        figsize=(14, (1.15 * sum(heights)) * 6 / columns + 0.4 * len(kinds)),
        squeeze=False, height_ratios=heights, width_ratios=[1] * columns + [0.15] + [1] * columns,
        gridspec_kw={"left": 0.01, "right": 0.93, "bottom": 0.01, "top": 0.95, "wspace": 0.08},
    )  # fmt: skip
    norm = LogNorm(0.1, 50)
    for row, name in zip(axes, kinds, strict=True):
        model = PrecipDiffusion.load(f"skdiffuse/{name}")
        model.set_params(device="cpu", verbose=False)
        real = real_ones(name, arguments.folder, model.model_.weathers, arguments.seed)
        made = np.asarray(model.sample(18, rare=0.8, random_state=arguments.seed, batch_size=6))
        real = real[:18]
        both = [*wettest_first(real, columns), None, *wettest_first(made, columns)]
        for axis, rain in zip(row, both, strict=True):
            axis.set_axis_off()
            if rain is None:
                continue
            frame = rain[len(rain) // 2]
            image = axis.imshow(np.where(frame >= 0.1, frame, np.nan), norm=norm, cmap="turbo")
            axis.add_patch(
                plt.Rectangle(
                    (0, 0), 1, 1, transform=axis.transAxes, fill=False, lw=0.5, clip_on=False
                )
            )
        for axis, title in (row[0], f"{TITLES[name]}: real"), (row[columns + 1], "generated"):
            axis.text(0, 1.04, title, transform=axis.transAxes, va="bottom", fontsize=10)
    figure.colorbar(image, cax=figure.add_axes((0.945, 0.3, 0.01, 0.4)), label="mm/h")
    figure.savefig(arguments.out, dpi=80)
    # A palette is a third of the size, and nobody sees it.
    with Image.open(arguments.out) as picture:
        small = picture.convert("RGB").quantize(64)
    small.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
