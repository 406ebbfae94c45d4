"""A trained model inside pysteps: its nowcast beside STEPS, and blended with a numerical forecast.

Everything goes through pysteps' own calls and arrays, in dB and with rows from the north. The rain
is made up, and the numerical forecast is the truth, moved to where it did not fall. Needs pysteps
(pip install 'skdiffuse[pysteps]'); half a minute of training on one core.

    python examples/nowcast_in_pysteps.py
"""

import contextlib
import io
import tempfile
from datetime import datetime, timedelta

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.plotting import rain_colormap, rain_norm

PAST, LEADS, MEMBERS, CELL = 3, 5, 3, 2e3

with contextlib.redirect_stdout(io.StringIO()):
    from pysteps import blending, motion, nowcasts
    from pysteps.utils import transformation

# Not needed where skdiffuse is installed: pysteps finds it.
import skdiffuse.pysteps_plugin  # noqa: E402, F401


def made_up_rain():
    return make_precipitation(
        720, (32, 32), time_step="5min", cell_size=CELL, lifetime=20.0, advection=(0.5, 1.5),
        wet_mean=2.0, correlation_length=8.0, random_state=0,
    )  # fmt: skip


def in_pysteps(rain):
    """The past as pysteps holds it: decibels, the first row in the north, and metadata."""
    stamps = [datetime(2020, 1, 1) + timedelta(minutes=5 * k) for k in range(len(rain))]
    size = CELL * rain.sizes["x"]
    metadata = {
        "unit": "mm/h", "transform": None, "threshold": 0.1, "zerovalue": 0.0, "accutime": 5.0,
        "yorigin": "upper", "xpixelsize": CELL, "ypixelsize": CELL, "cartesian_unit": "m",
        "x1": 0.0, "x2": size, "y1": 0.0, "y2": size, "timestamps": stamps,
    }  # fmt: skip
    return transformation.dB_transform(rain.values[:, ::-1].astype(float), metadata)


def nowcasts_of(past, metadata, driver, path):
    """Members of each method over the same leads."""
    options = {"n_ens_members": MEMBERS, "timestep": 5, "kmperpixel": CELL / 1e3, "seed": 1}
    # The optical flow of pysteps that needs no OpenCV.
    flow = motion.get_method("proesmans")(past[-2:])
    learnt = nowcasts.get_method("skdiffuse")(
        past, flow, LEADS, model=path, metadata=metadata, n_steps=8, **options
    )
    steps = nowcasts.get_method("steps")(
        past[-3:], flow, LEADS, precip_thr=metadata["threshold"], **options
    )
    # Blending wants the frame that was seen last too.
    external = np.concatenate([np.repeat(past[None, -1:], MEMBERS, 0), learnt], axis=1)
    with tempfile.TemporaryDirectory() as skill:
        blended = blending.get_method("steps")(
            past[-3:], driver[None], flow, np.repeat(flow[None, None], LEADS + 1, 1), LEADS, 5,
            metadata["timestamps"][-1], MEMBERS, precip_nowcast=external,
            nowcasting_method="external_nowcast", noise_method=None, vel_pert_method=None,
            precip_thr=metadata["threshold"], kmperpixel=CELL / 1e3, outdir_path_skill=skill,
            n_cascade_levels=5, seed=1,
        )  # fmt: skip
    return {"skdiffuse": learnt, "STEPS": steps, "blended": blended}


def main() -> None:
    torch.set_num_threads(1)
    rain = made_up_rain()
    model = PrecipDiffusion(
        n_frames=PAST + LEADS, batch_size=8, amortised=True, max_time=25, random_state=0
    ).fit(rain[:600])
    wettest = int(rain[600:710].mean(("y", "x")).argmax()) + 600 - PAST
    event = rain[wettest : wettest + PAST + LEADS]
    logged, metadata = in_pysteps(event)
    past, metadata["timestamps"] = logged[:PAST], metadata["timestamps"][:PAST]
    driver = np.roll(logged[PAST - 1 :], 6, axis=-1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = f"{folder}/model.safetensors"
        model.save(path)
        found = nowcasts_of(past, metadata, driver, path)
    rows = {"observed": logged[PAST:], "numerical": driver[1:]}
    rows |= {name: members[0] for name, members in found.items()}
    figure, axes = plt.subplots(len(rows), 3, figsize=(5.2, 8), layout="constrained")
    for line, (name, frames) in zip(axes, rows.items(), strict=True):
        for axis, lead in zip(line, (0, 2, 4), strict=True):
            field = 10 ** (frames[lead] / 10) * (frames[lead] >= metadata["threshold"])
            image = axis.imshow(field, cmap=rain_colormap(), norm=rain_norm())
            axis.set(xticks=[], yticks=[])
            if name == "observed":
                axis.set_title(f"{5 * (lead + 1)} min", fontsize=9)
        line[0].set_ylabel(name, fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.4, label="mm/h")
    figure.savefig("nowcast_in_pysteps.png", dpi=72)
    print("nowcast_in_pysteps.png")


if __name__ == "__main__":
    main()
