"""Nowcasts of rain never trained on: the models of `weights.py` beside methods without learning.

Six frames from the four before, by the network told them ("model"), by one guided to them
("guided"), and by persistence, advection, STEPS of pysteps (where it is installed) and sequences of
the training rain, on windows of 64 x 64 cells that lie side by side. A window is taken for the wet
share of its past: nothing of what is to come selects it. Scores lead by lead are the fair CRPS
(mm/h), the fractions skill score of the ensemble (5 x 5 cells), mean rain and power of waves
shorter than four cells. Intervals resample blocks: what lies within 1000 km and 10 hours.

    python benchmarks/nowcast_race.py --quick
    python benchmarks/nowcast_race.py hourly --json benchmarks/results/nowcast_race_hourly.json

``hourly``: learnt on 48 hours of MRMS and 33 of ANTILOPE; held out the next 24 of MRMS, and a day
of AROME, another source. ``five_minutes``: learnt on an episode of FMI and two of MeteoSwiss; held
out one of each of other years, and KNMI.

Each case is written when it is done, and a later run adds what is not there yet:
``--forecasts STEPS`` after pysteps was installed, ``--forecasts guided --cases 1``. ``--trial``
compares settings, on the rain that was learnt. ``--quick`` trains a small model on made-up rain.
The last line is JSON.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from nowcast_scores import case_scores, summary

from skdiffuse import PrecipDiffusion
from skdiffuse.baselines import Advection, Climatology, Persistence, Steps
from skdiffuse.cubes import open_cube, validate_cube
from skdiffuse.datasets import make_precipitation

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("SKDIFFUSE_TEST_DATA", HERE.parents[1] / "shared/data"))
PAST, HORIZON = 4, 6
WET_SHARE = 0.05
BLOCK_MINUTES, BLOCK_KM = 600, 1000
MEMBERS = 16
N_STEPS = 16
# Of pysteps' cascade: what `Steps` takes by default; `--trial` compares others.
LEVELS = 6
# Raced only where asked for.
COSTLY = ("guided", "half advection")


@dataclass(frozen=True)
class Episode:
    """Rain of one event and source, from its frame `first` to `last`."""

    file: str
    cell: float
    first: int = 0
    last: int | None = None
    n_cases: int = 8

    def read(self):
        return open_cube(FOLDER / f"{self.file}.nc").load()[self.first : self.last]


@dataclass(frozen=True)
class Race:
    """A model's weights, the rain that it learnt and the rain that it is asked about."""

    weights: str
    minutes: float
    learnt: Episode
    held_out: tuple[Episode, ...]


MRMS = "mrms_qpe01h_west_4km_20160920-22"
RACES = {
    "hourly": Race(
        "hourly_4km",
        60.0,
        Episode(MRMS, 4.0, last=48),
        (
            Episode(MRMS, 4.0, first=48, n_cases=24),
            Episode("arome_fc_NW_2p5km_1h_20180501", 2.5),
            Episode("arome_fc_SE_2p5km_1h_20180501", 2.5),
        ),
    ),
    "five_minutes": Race(
        "five_minutes_2km",
        5.0,
        Episode("fmi_radar_2km_5min_20160928", 2.0),
        (
            Episode("fmi_radar_2km_5min_20170509", 2.0, n_cases=16),
            Episode("knmi_radar_2km_5min_20100826", 2.0, n_cases=16),
            Episode("mch_radar_2km_5min_20160711", 2.0, n_cases=16),
        ),
    ),
}


class Case(NamedTuple):
    """One window: where it is from, its block, cell size in km and time step in minutes."""

    name: str
    block: str
    cell: float
    minutes: float
    rain: np.ndarray


def windows(rain, crop: int) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Windows without missing values, side by side: first frame, row and column, and rain."""
    cube = validate_cube(rain)
    for sequence, start, y, x in cube.tiles(PAST + HORIZON, (crop, crop)):
        window = cube.window(sequence, start, PAST + HORIZON, y, x)
        if np.isfinite(window).all():
            yield start, y.start, x.start, window


def cases_of(
    name: str, rain, n: int, *, cell: float, minutes: float, crop: int = 64, seed: int = 0
) -> list[Case]:
    """Some of the windows whose past is wet, at random."""
    found = []
    for start, y, x, window in windows(rain, crop):
        if (window[:PAST] >= 0.1).mean() < WET_SHARE:
            continue
        block = (
            int(start * minutes // BLOCK_MINUTES),
            *(int(k * cell // BLOCK_KM) for k in (y, x)),
        )
        found.append(Case(f"{name} {start} {y} {x}", f"{name} {block}", cell, minutes, window))
    order = np.random.default_rng(seed).permutation(len(found))[:n]
    return [found[k] for k in sorted(order)]


def race_cases(episodes: tuple[Episode, ...], minutes: float, at_most: int | None) -> list[Case]:
    return [
        case
        for episode in episodes
        for case in cases_of(
            episode.file,
            episode.read(),
            min(episode.n_cases, at_most or episode.n_cases),
            cell=episode.cell,
            minutes=minutes,
        )
    ]


Forecast = Callable[[Case, int], np.ndarray]


def of_model(
    model: PrecipDiffusion,
    case: Case,
    seed: int,
    *,
    method: str,
    n_members: int = MEMBERS,
    n_steps: int = N_STEPS,
    past: int = PAST,
) -> np.ndarray:
    model.set_params(sampler__n_steps=n_steps)
    known = case.rain[PAST - past : PAST]
    return np.asarray(
        model.forecast(known, HORIZON, n_members=n_members, method=method, random_state=seed)
    )


def of_steps(
    case: Case, seed: int, *, n_members: int = MEMBERS, levels: int = LEVELS
) -> np.ndarray:
    steps = Steps(levels, cell_size=case.cell, time_step=case.minutes, random_state=seed)
    return np.asarray(steps.forecast(case.rain[:PAST], HORIZON, n_members=n_members))


def of_advection(
    case: Case, seed: int, *, n_members: int = MEMBERS, noise: bool = True
) -> np.ndarray:
    members = n_members if noise else 1
    advection = Advection(noise, random_state=seed)
    return np.asarray(advection.forecast(case.rain[:PAST], HORIZON, n_members=members))


def of_climate(climate: Climatology, case: Case, seed: int, *, n_members: int = MEMBERS):
    return np.asarray(
        climate.forecast(case.rain[:PAST], HORIZON, n_members=n_members, random_state=seed)
    )


def of_both(model: PrecipDiffusion, case: Case, seed: int, *, n_members: int = MEMBERS):
    """Half of the members by the model, half by advection."""
    own = of_model(model, case, seed, method="amortised", n_members=n_members // 2)
    return np.concatenate([own, of_advection(case, seed, n_members=n_members - len(own))])


def has_pysteps() -> bool:
    try:
        of_steps(Case("", "", 1.0, 5.0, np.zeros((PAST, 8, 8))), 0, n_members=2)
    except ImportError:
        print("pysteps is not installed: no STEPS.")
        return False
    return True


def forecasts_of(model: PrecipDiffusion, climate: Climatology, n_members: int) -> dict:
    """All that can be raced, by name."""
    ask = partial(partial, n_members=n_members)
    found = {
        "model": ask(of_model, model, method="amortised"),
        "guided": ask(of_model, model, method="reconstruction"),
        "half advection": ask(of_both, model),
        "persistence": lambda case, seed: np.asarray(
            Persistence().forecast(case.rain[:PAST], HORIZON)
        ),
        "advection": ask(of_advection),
        "training rain": ask(of_climate, climate),
    }
    if has_pysteps():
        found["STEPS"] = ask(of_steps)
    return found


def trials_of(model: PrecipDiffusion, n_members: int) -> dict:
    """Settings to choose from."""
    ask = partial(partial, n_members=n_members)
    told = partial(ask, of_model, model, method="amortised")
    found = {
        "16 steps": told(n_steps=16),
        "8 steps": told(n_steps=8),
        "32 steps": told(n_steps=32),
        "2 frames known": told(past=2),
        "1 frame known": told(past=1),
        "guided": ask(of_model, model, method="reconstruction"),
        "guided, 8 steps": ask(of_model, model, method="reconstruction", n_steps=8),
        "advection": ask(of_advection),
        "advection without noise": ask(of_advection, noise=False),
        "half advection": ask(of_both, model),
    }
    if has_pysteps():
        found |= {f"STEPS, {n} levels": ask(of_steps, levels=n) for n in (2, 3, 4, 6, 8)}
    return found


def race(
    cases: list[Case], forecasts: dict[str, Forecast], before: dict, keep: Callable[[dict], None]
) -> dict:
    """Scores of each forecast of each case, kept as they come; what is there is not made again."""
    scored = {name: dict(before.get(name, {})) for name in {**before, **forecasts}}
    # Every other block first, so that a race cut short has seen all of them.
    for number in sorted(range(len(cases)), key=lambda k: (k % 4, k)):
        case = cases[number]
        for name, forecast in forecasts.items():
            if case.name in scored[name]:
                continue
            start = time.process_time()
            members = forecast(case, number)
            seconds = time.process_time() - start
            found = case_scores(case.rain[PAST:], members)
            scored[name][case.name] = {
                "block": case.block,
                "cpu_seconds": round(seconds, 2),
                **found,
            }
        keep(scored)
        line = {name: np.mean(of[case.name]["crps"]).round(3) for name, of in scored.items()
                if case.name in of}  # fmt: skip
        print(case.name, *(f"{name} {error:.3f}" for name, error in line.items()), flush=True)
    return scored


def loaded(race: Race, device: str = "cpu") -> PrecipDiffusion:
    if not FOLDER.is_dir():
        raise SystemExit(
            f"The race needs the rain in {FOLDER} (or SKDIFFUSE_TEST_DATA): use --quick without it."
        )
    model = PrecipDiffusion.load(f"skdiffuse/{race.weights}")
    return model.set_params(device=device, verbose=False)


def quick() -> None:
    """A small model of made-up rain, trained for half a minute."""
    rain = make_precipitation(600, (32, 32), correlation_length=6.0, random_state=0)
    model = PrecipDiffusion(
        n_frames=PAST + HORIZON,
        amortised=True,
        max_time=25,
        random_state=0,
        device="cpu",
        verbose=False,
    ).fit(rain[:480])
    cases = cases_of("made up", rain[480:], 6, cell=2.0, minutes=5.0, crop=32)
    # Long made-up rain has no weather that lasts: each case is a block.
    cases = [case._replace(block=case.name) for case in cases]
    climate = Climatology().fit(rain[:480])
    scored = race(cases, forecasts_of(model, climate, 4), {}, lambda scored: None)
    found = summary(scored)
    line = {name: entry["crps"]["value"] for name, entry in found["forecasts"].items()}
    facts = {"training_steps": model.n_iter_, "n_sequences": len(cases), "n_members": 4}
    print(json.dumps({**facts, "crps_per_lead": line}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("race", choices=list(RACES), nargs="?", default="hourly")
    parser.add_argument("--quick", action="store_true", help="made-up rain, two minutes")
    parser.add_argument("--trial", action="store_true", help="settings, on the rain learnt")
    parser.add_argument("--cases", type=int, help="at most so many of an episode")
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--forecasts", nargs="+", help=f"which to add; all but {COSTLY}")
    parser.add_argument("--device", default="cpu", help="of the model")
    parser.add_argument("--json", type=Path, help="where the results are, or will be")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        quick()
        return
    chosen = RACES[options.race]
    model = loaded(chosen, options.device)
    learnt = chosen.learnt.read()
    if options.trial:
        episodes, forecasts = (chosen.learnt,), trials_of(model, options.members)
    else:
        episodes = chosen.held_out
        climate = Climatology().fit(np.stack([w for *_, w in windows(learnt, 64)]))
        forecasts = forecasts_of(model, climate, options.members)
    names = options.forecasts or [name for name in forecasts if name not in COSTLY]
    if missing := set(names) - set(forecasts):
        parser.error(f"no such forecasts: {sorted(missing)}; there are {list(forecasts)}.")
    facts = {
        "race": options.race,
        "weights": chosen.weights,
        "training": {"steps": model.n_iter_, "batch_size": model.batch_size,
                     "minutes": model.max_time / 60},
        "trial_members" if options.trial else "n_members": options.members,
        "sampler_steps": N_STEPS,
        "threads": torch.get_num_threads(),
        "device": "cpu" if options.device == "cpu" else torch.cuda.get_device_name(),
    }  # fmt: skip
    path, key = options.json, "trial" if options.trial else "cases"
    before = json.loads(path.read_text()) if path and path.is_file() else {}
    results = {**before, **facts}

    def keep(scored: dict) -> None:
        results[key] = scored
        if path:
            part = path.with_suffix(".part")
            part.write_text(json.dumps(results) + "\n")
            part.replace(path)

    cases = race_cases(episodes, chosen.minutes, options.cases)
    print(len(cases), "cases in", len({case.block for case in cases}), "blocks", flush=True)
    scored = race(cases, {name: forecasts[name] for name in names}, results.get(key, {}), keep)
    reference = "16 steps" if options.trial else "model"
    results[f"{key}_summary"] = found = summary(scored, reference)
    keep(scored)
    line = {name: entry["crps"]["value"] for name, entry in found["forecasts"].items()}
    print(json.dumps({**facts, "crps_per_lead": line}))


if __name__ == "__main__":
    main()
