"""A trained model on a GPU: what half precision costs, and how fast training and sampling are.

    python benchmarks/gpu_check.py MODEL.safetensors --device cuda

Bfloat16 beside float32: the relative root mean square difference of v, level by level of log-SNR,
on noisy sequences that the model generated itself. Then sequences per second of `sample` (32 steps,
33 evaluations) by batch size, and the time of a training step. Ends with one JSON line.
"""

import argparse
import json
import time

import numpy as np
import torch

from skdiffuse import PrecipDiffusion, TrainingSettings, make_precipitation
from skdiffuse.diffusion import alpha, sigma

LEVELS = (-12, -8, -4, 0, 4, 8, 12)


def differences(model: PrecipDiffusion, device: str) -> dict[int, float]:
    """Of v in bfloat16 from v in float32, relative to the latter."""
    network = model.network_.to(device)
    rain = torch.from_numpy(np.asarray(model.sample(8, n_steps=8, batch_size=8)))
    latent = model.latent_.encode(rain).to(device)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0)).to(device)
    found = {}
    for level in LEVELS:
        log_snr = torch.full((len(latent),), float(level), device=device)
        a, s = (f(log_snr).to(latent)[:, None, None, None] for f in (alpha, sigma))
        z = a * latent + s * noise
        with torch.no_grad():
            full = network(z, log_snr)
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                half = network(z, log_snr).float()
        found[level] = float(((half - full).square().mean() / full.square().mean()).sqrt())
    return found


def sampling_speed(model: PrecipDiffusion, sizes: list[int]) -> dict[int, float]:
    """Sequences per second by batch size, after a first call that is not timed."""
    found = {}
    for size in sizes:
        model.sample(size, n_steps=2, batch_size=size)
        start = time.monotonic()
        model.sample(size, batch_size=size)
        found[size] = round(size / (time.monotonic() - start), 2)
    return found


def training_speed(device: str, seconds: float) -> dict[str, float]:
    """Milliseconds per step of the default on 16 windows of 10 x 64 x 64, by precision."""
    rain = make_precipitation(200, (96, 96), random_state=0)
    found = {}
    for precision in ("float32", "bfloat16"):
        model = PrecipDiffusion(
            batch_size=16,
            training=TrainingSettings(precision=precision, max_epochs=10**6),
            max_steps=5,
            warm_start=True,
            random_state=0,
            device=device,
            verbose=False,
        ).fit(rain)
        start = time.monotonic()
        steps = 5
        while time.monotonic() - start < seconds:
            steps += 50
            model.set_params(max_steps=steps).fit(rain)
        found[precision] = round(1000 * (time.monotonic() - start) / (steps - 5), 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--seconds", type=float, default=6.0, help="of training, each precision")
    arguments = parser.parse_args()
    model = PrecipDiffusion.load(arguments.model)
    model.set_params(device=arguments.device, verbose=False)
    cuda = arguments.device.startswith("cuda")
    line = {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "window": [model.n_frames, *model.field_shape_],
        "bfloat16_from_float32": differences(model, arguments.device),
        "sequences_per_second": sampling_speed(model, arguments.sizes),
    }
    print(json.dumps(line), flush=True)
    line["milliseconds_per_training_step"] = training_speed(arguments.device, arguments.seconds)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
