"""Is everything here, does it work, and how fast? What ``skdiffuse doctor`` finds out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from packaging.requirements import Requirement
from packaging.version import InvalidVersion

from skdiffuse._version import __version__
from skdiffuse.datasets import make_precipitation
from skdiffuse.diffusion import (
    AdamsStep,
    GaussianDenoiser,
    TruncatedCosineSchedule,
    run_sampler,
    sampling_grid,
)
from skdiffuse.estimator.parameters import usable_device
from skdiffuse.estimator.precip_diffusion import PrecipDiffusion
from skdiffuse.estimator.settings import SamplerSettings

__all__ = ["Finding", "examine"]

# What an extra is good for, by its name in the package's metadata; others are for developers.
_EXTRAS = {
    "lazy": "cubes larger than memory, and Zarr",
    "remote": "files on the web and in buckets",
    "grib": "GRIB files",
    "logging": "TensorBoard logs",
}
_STEPS = 30


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What it is about.
    status : {"ok", "advice", "failure"}
        Advice is what would help; a failure is what does not work.
    text : str
        What was found, and what to do about it.
    """

    name: str
    status: Literal["ok", "advice", "failure"]
    text: str


def examine() -> Iterator[Finding]:
    """Look at versions, devices and threads, and try everything once, in under a minute.

    Yields
    ------
    Finding
        As soon as it is found. Nothing is written but in a folder that is removed.

    Examples
    --------
    >>> from skdiffuse.doctor import examine
    >>> next(examine()).name
    'skdiffuse'
    """
    yield Finding("skdiffuse", "ok", f"{__version__} in {Path(__file__).parent}")
    yield Finding("Python", "ok", f"{sys.version.split()[0]} on {platform.platform()}")
    yield from _packages()
    yield from _devices()
    yield from _threads()
    for name, test in (
        ("sampler", _sampler_is_exact),
        ("device", _devices_agree),
        ("model", _model_works),
    ):
        yield from _tried(name, test)


def _packages() -> Iterator[Finding]:
    """What the package's own metadata asks for, and what is here."""
    try:
        asked = [Requirement(line) for line in importlib.metadata.requires("skdiffuse") or ()]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "advice", "skdiffuse is not installed: pip install -e .")
        return
    needed = [r for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [text for r in needed if (text := _problem(r))]
    versions = ", ".join(f"{r.name} {_version(r.name)}" for r in needed)
    yield Finding("packages", "ok", versions)
    if wrong:
        yield Finding("packages", "failure", f"{'; '.join(wrong)}: pip install -U skdiffuse")
    for extra, purpose in _EXTRAS.items():
        own = [
            r for r in asked
            if r not in needed and r.marker and r.marker.evaluate({"extra": extra})
        ]  # fmt: skip
        absent = [text for r in own if (text := _problem(r))]
        if absent:
            yield Finding(
                f"extra {extra}",
                "advice",
                f"{'; '.join(absent)}. For {purpose}: pip install 'skdiffuse[{extra}]'",
            )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _problem(asked: Requirement) -> str:
    """What is wrong with a package; nothing where it is as asked for."""
    found = _version(asked.name)
    if found is None:
        return f"{asked.name} is not installed"
    try:
        fits = asked.specifier.contains(found, prereleases=True)
    except InvalidVersion:
        return ""
    return "" if fits else f"{asked.name} is {found}, and {asked.specifier} is needed"


def _devices() -> Iterator[Finding]:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding("devices", "ok", f"{', '.join(names)}; device='auto' takes the first")
        return
    yield Finding("devices", "ok", f"CPU ({torch.backends.cpu.get_cpu_capability()})")
    if any(Path("/dev").glob("nvidia[0-9]*")):
        yield Finding(
            "GPU",
            "advice",
            f"there is an NVIDIA GPU, and torch {torch.__version__} cannot use it: install a CUDA "
            "build of torch (pytorch.org says which), or update the driver",
        )
    elif torch.backends.mps.is_available():
        try:
            usable_device("mps")
        except ValueError as error:
            yield Finding("GPU", "advice", f"Apple's GPU is not used: {error}")
        else:
            yield Finding("GPU", "advice", "Apple's GPU is used where asked for: device='mps'")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads() -> Iterator[Finding]:
    cores, threads = _cores(), torch.get_num_threads()
    yield Finding("threads", "ok", f"{threads} of torch on {cores} cores of this process")
    if threads > cores:
        text = f"more threads than cores wait for each other: set OMP_NUM_THREADS={cores}"
    elif threads < cores and not torch.cuda.is_available():
        text = (
            f"{cores - threads} cores are idle in training: unless other work needs them, set "
            f"OMP_NUM_THREADS={cores}"
        )
    elif threads > 1 and "OMP_PROC_BIND" not in os.environ:
        text = (
            "beside other work on this machine unbound threads may be several times slower than "
            "one: set OMP_PROC_BIND=true, or OMP_NUM_THREADS=1"
        )
    else:
        return
    yield Finding("threads", "advice", text)


def _tried(name: str, test: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Findings of a test; a failure instead of the error that it ends in."""
    try:
        yield from test()
    # Whatever is wrong with an installation is what this is here to say.
    except Exception as error:
        yield Finding(name, "failure", f"{type(error).__name__}: {error}")


def _said(name: str, right: bool, text: str) -> Finding:
    return Finding(name, "ok" if right else "failure", text)


def _sampler_is_exact() -> Iterator[Finding]:
    """Draw from a normal law with its exact denoiser: mean and spread are known."""
    mean, spread, n = 1.0, 2.0, 4096
    denoiser = GaussianDenoiser(torch.tensor([mean]), torch.tensor([[spread**2]]))
    noise = torch.randn(n, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = sampling_grid(TruncatedCosineSchedule(), 20, "tapered")
    drawn = run_sampler(denoiser, noise, grid, AdamsStep())
    # The same noise through the closed form: a straight line.
    error = float((drawn - (mean + spread * noise)).abs().max())
    yield _said(
        "sampler", error < 0.1, f"off by {error:.3f} from the closed form at most (allowed 0.1)"
    )


def _devices_agree() -> Iterator[Finding]:
    """Compare a convolution on the GPU with the same on the CPU."""
    if not torch.cuda.is_available():
        return
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(2, 8, 32, 32, generator=generator)
    weight = torch.randn(8, 8, 3, 3, generator=generator)
    here = torch.nn.functional.conv2d(fields, weight)
    there = torch.nn.functional.conv2d(fields.cuda(), weight.cuda()).cpu()
    error = float((here - there).abs().max() / here.abs().max())
    yield _said("GPU", error < 0.01, f"a convolution differs by {error:.1e} from the CPU's")


def _model_works() -> Iterator[Finding]:
    """Train, sample, fill in, save and load a model of a few seconds."""
    rain = make_precipitation(40, (16, 16), random_state=0)
    model = PrecipDiffusion(
        n_frames=4,
        crop_size=16,
        batch_size=4,
        max_steps=_STEPS,
        sampler=SamplerSettings(n_steps=4),
        random_state=0,
        verbose=False,
    )
    began = time.perf_counter()
    model.fit(rain)
    seconds = time.perf_counter() - began
    first = np.mean([h["loss"] for h in model.history_[:3]])
    yield _said(
        "training",
        bool(model.n_iter_ == _STEPS and np.isfinite(first)),
        f"{_STEPS} steps, v-loss {model.history_[-1]['loss']:.2f} (untrained about 1)",
    )
    yield Finding(
        "speed",
        "ok",
        f"{_STEPS / seconds:.1f} training steps/s with preparation (tiny network, 4 sequences of "
        "4 x 16 x 16)",
    )
    began = time.perf_counter()
    new = np.asarray(model.sample(2, random_state=0))
    yield _said(
        "sampling",
        new.shape == (2, 4, 16, 16) and bool(np.isfinite(new).all() and (new >= 0).all()),
        f"2 sequences in {time.perf_counter() - began:.1f} s, finite and never negative",
    )
    wettest = int(np.asarray(rain).mean(axis=(1, 2)).argmax())
    gappy = np.array(rain[min(wettest, 36) :][:4])
    gappy[1] = np.nan
    filled = np.asarray(model.impute(gappy, random_state=0))[0]
    known = np.isfinite(gappy)
    yield _said(
        "imputing",
        bool(np.array_equal(filled[known], gappy[known]) and np.isfinite(filled).all()),
        "a gap is filled, and what was known came back untouched",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        again = np.asarray(PrecipDiffusion.load(path).sample(2, random_state=0))
    yield _said("saving", np.array_equal(new, again), "a loaded model draws the same rain")
