"""The ``skdiffuse`` command."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skdiffuse._version import __version__
from skdiffuse.runtime.outputs import try_folder, try_output

if TYPE_CHECKING:
    import xarray as xr

    from skdiffuse import PrecipDiffusion

__all__ = ["main"]

# What is wrong with what was asked for, or with the machine; anything else is a fault of ours.
_OF_USE = (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError)
_MODEL = "file that fit wrote, or a name that `skdiffuse models` lists"
# Options of the command line by the names of parameters that errors speak of.
_OPTIONS = {
    "random_state": "--seed",
    "n_samples": "-n",
    "n_members": "-n",
    "shape": "--size",
    "n_steps": "--steps",
    "max_steps": "--steps",
    "max_time": "--minutes",
    "minutes": "--minutes",
    "batch_size": "--batch-size",
    "n_frames": "--frames",
    "crop_size": "--crop",
    "network": "--network",
    "checkpoint_dir": "--checkpoints",
    "horizon": "--horizon",
    "folder": "--folder",
    "variable": "--variable",
    "units": "--units",
    "interval": "--interval",
    "running_total": "--running-total",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments : list of str or None, default=None
        None: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="skdiffuse", description="Diffusion models of time-evolving precipitation."
    )
    parser.add_argument("--version", action="version", version=f"skdiffuse {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo", help="show what a model can do with rain, in a few minutes, and write a report"
    )
    demo.add_argument("--data", metavar="FILE", help="precipitation file (default: made-up rain)")
    demo.add_argument(
        "--minutes",
        type=float,
        help="train a small model for so long (default: not at all where a model of the package "
        "knows such rain, 4 elsewhere)",
    )
    demo.add_argument("--out", default="demo", metavar="DIR", help="folder (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="random state (default: %(default)s)")
    demo.set_defaults(run=_demo)

    evaluate = commands.add_parser(
        "evaluate", help="compare simulated with observed rain and write a report"
    )
    evaluate.add_argument("obs", metavar="OBS", help="file of observed rain")
    evaluate.add_argument("sims", metavar="SIM", nargs="*", help="files of simulated rain")
    evaluate.add_argument(
        "--baseline", action="append", metavar="FILE", help="rain to do better than (repeatable)"
    )
    for option, what in (("--nowcast", "nowcasts"), ("--nowcast-baseline", "nowcasts to beat")):
        evaluate.add_argument(
            option,
            action="append",
            metavar="NAME=FILES",
            help=f"{what}: file or quoted pattern, one file a case, valid within OBS (repeatable)",
        )
    evaluate.add_argument(
        "--frames", type=int, help="per sequence that a long series is cut into (default: 12)"
    )
    evaluate.add_argument("--out", default="report.html", help="page (default: %(default)s)")
    evaluate.set_defaults(run=_evaluate)

    fit = commands.add_parser("fit", help="train a model on files of rain")
    _add_rain(
        fit,
        "precipitation file (NetCDF, Zarr, GRIB), or quoted pattern of files to be joined in "
        "time; several are cubes of their own, on any grids",
        nargs="+",
    )
    fit.add_argument("--out", required=True, metavar="MODEL", help="file for the model")
    fit.add_argument("--minutes", type=float, help="time to train (default: 100 epochs)")
    fit.add_argument("--steps", type=int, help="training steps (default: 100 epochs)")
    fit.add_argument("--frames", type=int, default=10, help="per sequence (default: %(default)s)")
    fit.add_argument("--crop", type=int, default=64, help="cells a side (default: %(default)s)")
    fit.add_argument("--network", default="tiny", help="its size (default: %(default)s)")
    fit.add_argument("--amortised", action="store_true", help="learn to be told what is known")
    fit.add_argument("--checkpoints", metavar="DIR", help="folder to keep the state in and go on")
    fit.add_argument("--seed", type=int, default=0, help="random state (default: %(default)s)")
    fit.set_defaults(run=_fit)

    sample = commands.add_parser("sample", help="generate rain with a model")
    sample.add_argument("model", metavar="MODEL", help=_MODEL)
    sample.add_argument("-n", type=int, default=1, help="sequences (default: %(default)s)")
    sample.add_argument("--frames", type=int, help="length (default: that of training)")
    sample.add_argument("--size", type=int, nargs=2, metavar=("ROWS", "COLUMNS"))
    _add_sampling(sample)
    sample.set_defaults(run=_sample)

    impute = commands.add_parser("impute", help="fill in what is missing in a file")
    impute.add_argument("model", metavar="MODEL", help=_MODEL)
    _add_rain(impute, "precipitation file with missing values")
    impute.add_argument("-n", type=int, default=1, help="realizations (default: %(default)s)")
    _add_sampling(impute)
    impute.set_defaults(run=_impute)

    forecast = commands.add_parser("forecast", help="continue the rain of a file")
    forecast.add_argument("model", metavar="MODEL", help=_MODEL)
    _add_rain(forecast, "precipitation file of the past")
    forecast.add_argument("--horizon", type=int, required=True, help="frames to forecast")
    forecast.add_argument("-n", type=int, default=1, help="members (default: %(default)s)")
    _add_sampling(forecast)
    forecast.set_defaults(run=_forecast)

    explore = commands.add_parser("explore", help="make a page to look around in rain")
    _add_rain(explore, "precipitation file, or a model, which then generates rain")
    explore.add_argument("-n", type=int, default=4, help="sequences of a model (default: 4)")
    _add_sampling(explore, default="explore.html", what="page")
    explore.set_defaults(run=_explore)

    doctor = commands.add_parser("doctor", help="say what is installed, and whether it works")
    doctor.set_defaults(run=_doctor)
    models = commands.add_parser(
        "models", help="list the models that go by a name, such as skdiffuse/era5, with their cards"
    )
    models.add_argument("name", metavar="NAME", nargs="?", help="of one, for its whole card")
    models.add_argument("--folder", metavar="DIR", help="of weights of your own")
    models.set_defaults(run=_models)

    options = parser.parse_args(arguments)
    try:
        status = options.run(options) or 0
    except _OF_USE as error:
        print(f"skdiffuse {options.command}: {_in_options(str(error), options)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nskdiffuse {options.command}: interrupted", file=sys.stderr)
        return 130
    return int(status)


def _add_rain(command: argparse.ArgumentParser, what: str, nargs: str | None = None) -> None:
    command.add_argument("data", metavar="DATA", nargs=nargs, help=what)
    command.add_argument("--variable", metavar="NAME", help="of the rain in DATA, if not clear")
    command.add_argument("--units", help="of the rain in DATA, if it does not state them")
    command.add_argument(
        "--interval", metavar="TIME", help="that an amount in DATA is a total over, such as 1h"
    )
    command.add_argument(
        "--running-total",
        nargs="?",
        const=True,
        metavar="PERIOD",
        help="DATA holds totals since a start, or since one that comes every PERIOD, such as 1D",
    )


def _add_sampling(
    command: argparse.ArgumentParser,
    default: str | None = None,
    what: str = "NetCDF, or ending in .zarr",
) -> None:
    command.add_argument(
        "--out",
        required=default is None,
        default=default,
        metavar="FILE",
        help=what if default is None else f"{what} (default: %(default)s)",
    )
    command.add_argument("--steps", type=int, help="of the sampler (default: the model's)")
    command.add_argument("--batch-size", type=int, help="sequences at a time")
    command.add_argument("--seed", type=int, default=0, help="random state (default: %(default)s)")


def _in_options(message: str, options: argparse.Namespace) -> str:
    """An error of the library with the options that its parameters go by here."""
    if options.command == "evaluate" and "block_length" in message:
        return (
            "too few sequences to tell chance from skill. Simulate more, such as 20 with skdiffuse "
            "sample -n 20, or cut long series into more sequences with a smaller --frames."
        )
    here = [
        f"{name} is {option} here"
        for name, option in _OPTIONS.items()
        # What is a word as well is a parameter only before its value.
        if re.search(rf"\b{name}" + (r"\b" if "_" in name else "="), message)
        and option not in message
        and hasattr(options, option.lstrip("-").replace("-", "_"))
    ]
    return f"{message} ({'; '.join(here)}.)" if here else message


def _fit(options: argparse.Namespace) -> None:
    try_output(options.out, "--out")
    if options.checkpoints is not None:
        try_folder(options.checkpoints, "--checkpoints")
    from skdiffuse import PrecipDiffusion

    model = PrecipDiffusion(
        n_frames=options.frames,
        crop_size=options.crop,
        network=options.network,
        amortised=options.amortised,
        max_steps=options.steps,
        max_time=None if options.minutes is None else 60 * options.minutes,
        checkpoint_dir=options.checkpoints,
        warm_start=options.checkpoints is not None,
        random_state=options.seed,
    )
    try:
        model.fit([_rain(options, data) for data in options.data])
    except (KeyboardInterrupt, SystemExit):
        if getattr(model, "n_iter_", 0):
            model.save(options.out)
            print(
                f"\n{model.n_iter_} training steps until the interruption; what was learnt so far "
                f"is in {options.out}.",
                file=sys.stderr,
            )
        raise
    model.save(options.out)
    print(f"{model.n_iter_} training steps; the model is in {options.out}.")


def _sample(options: argparse.Namespace) -> None:
    model = _load(options)
    shape = None if options.size is None else tuple(options.size)
    settings = {"shape": shape, "out": options.out, **_sampling(options)}
    if options.frames is None:
        model.sample(options.n, **settings)
    else:
        model.simulate(options.frames, n_samples=options.n, **settings)
    print(f"{options.n} sequences are in {options.out}.")


def _impute(options: argparse.Namespace) -> None:
    import xarray as xr

    from skdiffuse.cubes import write_cube

    model = _load(options)
    filled = model.impute(_rain(options, options.data), n_samples=options.n, **_sampling(options))
    # As the file's rain is one.
    assert isinstance(filled, xr.DataArray)
    write_cube(filled, options.out)
    print(f"{options.n} realizations are in {options.out}.")


def _forecast(options: argparse.Namespace) -> None:
    model = _load(options)
    settings = {"n_members": options.n, "out": options.out, **_sampling(options)}
    model.forecast(_rain(options, options.data), options.horizon, **settings)
    print(f"{options.n} members of {options.horizon} frames are in {options.out}.")


def _models(options: argparse.Namespace) -> None:
    from skdiffuse.estimator.named_models import find_model, list_models

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = list_models(options.folder)
    if options.name is not None:
        name = options.name.removeprefix("skdiffuse/")
        find_model(f"skdiffuse/{name}", options.folder)
        print(f"skdiffuse/{name}\n{found[name] or 'no card'}")
    else:
        for name, card in found.items():
            said = "no card" if card is None else replace(card, scores={}, training={})
            print(f"skdiffuse/{name}\n{said}\n")
        print("PrecipDiffusion.load('skdiffuse/NAME') reads one; skdiffuse models NAME says more.")
    for warning in caught:
        print(f"skdiffuse models: {warning.message}", file=sys.stderr)


def _rain(options: argparse.Namespace, data: str) -> xr.DataArray:
    from skdiffuse.cubes import open_cube

    return open_cube(
        data,
        variable=options.variable,
        units=options.units,
        interval=options.interval,
        running_total=options.running_total,
    )


def _load(options: argparse.Namespace) -> PrecipDiffusion:
    try_output(options.out, "--out")
    from skdiffuse import PrecipDiffusion

    return PrecipDiffusion.load(getattr(options, "model", None) or options.data)


def _sampling(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "n_steps": options.steps,
        "batch_size": options.batch_size,
        "random_state": options.seed,
    }


def _explore(options: argparse.Namespace) -> None:
    try_output(options.out, "--out", parents=True)
    from skdiffuse.plotting import explore

    if _is_model(options.data):
        rain = _load(options).sample(options.n, **_sampling(options))
        title = f"Rain made by {Path(options.data).name}"
    else:
        rain, title = _rain(options, options.data), Path(options.data).name
    explore({"rain": rain}, options.out, title=title)
    print(f"Look at {options.out}.")


def _is_model(data: str) -> bool:
    """Whether a path is that of a model: a safetensors file, or the name of one kept by name."""
    path = Path(data)
    if not path.is_file():
        return data.startswith("skdiffuse/") and not path.exists()
    with path.open("rb") as file:
        # The length of the header, and the header, which is JSON.
        return file.read(9)[8:] == b"{"


def _doctor(options: argparse.Namespace) -> int:
    from skdiffuse.doctor import examine

    failures = 0
    for finding in examine():
        failures += finding.status == "failure"
        print(f"{finding.status:8}{finding.name}: {finding.text}", flush=True)
    print("All is well." if not failures else f"{failures} of the above failed.")
    return int(failures > 0)


def _demo(options: argparse.Namespace) -> None:
    try_folder(options.out, "--out")
    # Imported here so that --help does not wait for torch.
    from skdiffuse.demo.run import run_demo

    result = run_demo(
        options.data, minutes=options.minutes, out=options.out, random_state=options.seed
    )
    scores = result.scores()
    said = f"{scores['training_steps']} training steps" if result.name is None else result.name
    print(f"{result.source}: {said}")
    print(f"held-out v-loss {scores['held_out_v_loss']:.3f} (mean predictor 1.000)")
    for what in ("interpolated", "nowcast"):
        methods = ", ".join(f"{k} {v:.3f}" for k, v in scores[f"{what}_crps"].items())
        print(f"CRPS, {what} (mm/h): {methods}")
    print(f"Look at {options.out}/report.html ({result.minutes:.1f} minutes in all).")


def _by_name(arguments: list[str] | None) -> dict[str, list[str]]:
    """Split NAME=FILES; several of one name are more cases of the same model."""
    found: dict[str, list[str]] = {}
    for argument in arguments or ():
        name, separator, files = argument.partition("=")
        if not (name and separator and files):
            raise ValueError(f"{argument!r}: expected NAME=FILES, such as model='nowcasts/*.nc'.")
        found.setdefault(name, []).append(files)
    return found


def _evaluate(options: argparse.Namespace) -> None:
    try_output(options.out, "--out", parents=True)
    from skdiffuse.plotting import evaluation_report

    evaluation_report(
        options.obs,
        options.sims or None,
        options.out,
        baselines=options.baseline,
        forecasts=_by_name(options.nowcast),
        forecast_baselines=_by_name(options.nowcast_baseline),
        n_frames=options.frames,
    )
    print(f"Look at {options.out}.")


if __name__ == "__main__":
    sys.exit(main())
