"""Train a small model for some minutes and evaluate it on hours it has never seen.

Reads hourly MRMS precipitation, trains on wet crops of the first 48 hours and evaluates against
wet crops of the last 24 hours. Smoothed and untouched training rain serve as baselines: the
second shows how far apart the two periods are. Writes ``report.html`` with ``report.json`` and
``report.csv``.

    python examples/verify_trained_model.py MRMS_FILE.nc out/report.html --minutes 3
"""

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter

from skdiffuse import PrecipDiffusion
from skdiffuse.cubes import open_cube
from skdiffuse.plotting import evaluation_report

FRAMES, SIDE = 6, 32


def wet_crops(rain, n, seed):
    """n random sequences of FRAMES x SIDE x SIDE without gaps and with 5 % of cells wet."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < n:
        t, y, x = (
            rng.integers(size - part + 1)
            for size, part in zip(rain.shape, (FRAMES, SIDE, SIDE), strict=True)
        )
        crop = rain[t : t + FRAMES, y : y + SIDE, x : x + SIDE]
        if np.isfinite(crop).all() and np.mean(crop >= 0.1) >= 0.05:
            found.append(crop)
    return np.array(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("report")
    parser.add_argument("--minutes", type=float, default=3.0, help="training time")
    args = parser.parse_args()
    rain = open_cube(args.file).values
    training = wet_crops(rain[:48], 400, seed=0)
    held_out = wet_crops(rain[48:], 80, seed=1)
    model = PrecipDiffusion(
        n_frames=FRAMES, geography=False, max_epochs=10**6, max_time=60 * args.minutes,
        random_state=0, verbose=False,
    ).fit(training)  # fmt: skip
    samples = model.sample(80, random_state=1)
    smooth = gaussian_filter(training[:80], (0, 0, 1.0, 1.0))
    result = evaluation_report(
        held_out,
        {"model": samples},
        args.report,
        baselines={"smoothed rain": smooth, "training rain": training[80:240]},
        title="A small model of hourly rain, on held-out hours",
        cards={
            "model": {
                "training": "400 crops of 6 h x 32 x 32 cells (4 km), 20-21 September 2016",
                "held out": "80 crops of 22 September 2016, the same region",
                "minutes of training": args.minutes,
                "training steps": model.n_iter_,
                "parameters": str(model),
            }
        },
    )
    for entry in result.entries[:10]:
        print(f"{entry.score:34s} {entry.value:8.3f}  p {entry.p_value:.3f}  {entry.reading}")


if __name__ == "__main__":
    main()
