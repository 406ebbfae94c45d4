"""The ``skdiffuse`` command."""

from __future__ import annotations

import argparse
import sys

from skdiffuse._version import __version__

__all__ = ["main"]


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
        "demo", help="train a small model for a few minutes and write a report"
    )
    demo.add_argument("--data", metavar="FILE", help="precipitation file (default: made-up rain)")
    demo.add_argument(
        "--minutes", type=float, default=4.0, help="time to train (default: %(default)s)"
    )
    demo.add_argument("--out", default="demo", metavar="DIR", help="folder (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="random state (default: %(default)s)")
    demo.set_defaults(run=_demo)

    evaluate = commands.add_parser(
        "evaluate", help="compare simulated with observed rain and write a report"
    )
    evaluate.add_argument("obs", metavar="OBS", help="file of observed rain")
    evaluate.add_argument("sims", metavar="SIM", nargs="+", help="files of simulated rain")
    evaluate.add_argument(
        "--baseline", action="append", metavar="FILE", help="rain to do better than (repeatable)"
    )
    evaluate.add_argument("--out", default="report.html", help="page (default: %(default)s)")
    evaluate.set_defaults(run=_evaluate)

    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"skdiffuse {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nskdiffuse {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _demo(options: argparse.Namespace) -> None:
    # Imported here so that --help does not wait for torch.
    from skdiffuse.demo import run_demo

    result = run_demo(
        options.data, minutes=options.minutes, out=options.out, random_state=options.seed
    )
    scores = result.scores()
    print(f"{result.source}: {scores['training_steps']} training steps")
    print(f"held-out v-loss {scores['held_out_v_loss']:.3f} (mean predictor 1.000)")
    for what in ("interpolated", "nowcast"):
        methods = ", ".join(f"{k} {v:.3f}" for k, v in scores[f"{what}_crps"].items())
        print(f"CRPS, {what} (mm/h): {methods}")
    print(f"Look at {options.out}/report.html ({result.minutes:.1f} minutes in all).")


def _evaluate(options: argparse.Namespace) -> None:
    from skdiffuse.plotting import evaluation_report

    evaluation_report(options.obs, options.sims, options.out, baselines=options.baseline)
    print(f"Look at {options.out}.")


if __name__ == "__main__":
    sys.exit(main())
