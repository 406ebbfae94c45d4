"""Sampling that starts at noisy windows of real rain, beside those windows, for stored models.

    python benchmarks/paired_starts.py hourly.safetensors after_ten_minutes.safetensors --data mrms

A sampler is started at ``alpha x + sigma eps`` of real windows x at some log-SNRs, and what comes
out is compared with the same windows: mean, wet share, variance of the latent, and power by waves
(`skdiffuse.denoising_report`). All ratios should be 1. They tell at which noise a model loses what.
Tables are printed and written to ``benchmarks/results/paired_starts_<data>.json``, by model.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from fidelity import FOLDER, HERE, rain_of

from skdiffuse import PrecipDiffusion, denoising_report

LOG_SNRS = (-10.0, -9.0, -8.0, -7.0, -6.0, -5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", type=Path, nargs="+", help="files of models")
    parser.add_argument("--data", default="mrms", help="as of fidelity.py")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the rain files are")
    parser.add_argument("--windows", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rain, _, _ = rain_of(arguments.data, arguments.folder)
    path = HERE / "results" / f"paired_starts_{arguments.data}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for file in arguments.models:
        model = PrecipDiffusion.load(file).set_params(device="cpu", verbose=False, batch_size=16)
        report = denoising_report(
            model,
            rain,
            log_snrs=LOG_SNRS,
            paired_log_snrs=LOG_SNRS,
            n_windows=arguments.windows,
        )
        print(f"{file.stem}\n{report}\n", flush=True)
        found[file.stem] = {
            "windows": report.n_windows,
            "statistics": report.statistics,
            "rows": {
                level: [[round(float(v), 4), round(float(e), 4)] for v, e in zip(*row, strict=True)]
                for level, row in zip(
                    report.paired_log_snrs.tolist(),
                    zip(report.paired.value, report.paired.standard_error, strict=True),
                    strict=True,
                )
            },
        }
        path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
