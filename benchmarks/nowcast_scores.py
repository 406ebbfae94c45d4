"""What `nowcast_race.py` keeps of a case, and scores and paired differences of all cases."""

from collections.abc import Callable

import numpy as np

from skdiffuse.metrics import crps_ensemble, spatial_psd
from skdiffuse.metrics.spatial_verification import fss_sums
from skdiffuse.metrics.uncertainty import bootstrap_means

THRESHOLDS = np.array([0.1, 1.0, 5.0])
SCALE = 5
RESAMPLES = 1000


def rounded(values: np.ndarray) -> list:
    """To four digits: JSON is for reading."""
    return np.vectorize(lambda v: float(f"{v:.4g}"), otypes=[float])(values).tolist()


def fine_power(rain: np.ndarray) -> np.ndarray:
    """Power of waves shorter than four cells, frame by frame."""
    first = rain.shape[-1] // 4
    return np.array([np.asarray(spatial_psd(frame[None]).P)[first : 2 * first + 1].sum()
                     for frame in rain])  # fmt: skip


def case_scores(truth: np.ndarray, members: np.ndarray) -> dict:
    """Sums of one case, lead by lead, from which every score of many cases follows."""
    truth, members = truth.astype(np.float64), members.astype(np.float64)
    error = crps_ensemble(truth, members, fair=len(members) > 1, average=False)
    misses, squares = fss_sums(truth, members[:, None], THRESHOLDS, np.array([SCALE]))
    return {
        "crps": rounded(error.mean((1, 2))),
        "fss_misses": rounded(misses[0, :, :, 0]),
        "fss_squares": rounded(squares[0, :, :, 0]),
        "rain": rounded(np.stack([truth.mean((1, 2)), members.mean((0, 2, 3))], 1)),
        "fine_power": rounded(
            np.stack([fine_power(truth), np.mean([fine_power(m) for m in members], 0)], 1)
        ),
    }


def blocks_of(scored: dict, names: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Cases that all of some forecasts have, by block."""
    cases = [c for c in scored[names[0]] if all(c in scored[name] for name in names)]
    blocks: dict[str, list[str]] = {}
    for case in cases:
        blocks.setdefault(scored[names[0]][case]["block"], []).append(case)
    return cases, blocks


def table(scored: dict, name: str, key: str, blocks: dict[str, list[str]]) -> np.ndarray:
    """Sums over the cases of each block of what was kept of each."""
    return np.stack(
        [np.sum([scored[name][case][key] for case in block], 0) for block in blocks.values()]
    )


def with_interval(function: Callable, *tables: np.ndarray) -> dict:
    found = bootstrap_means(function, *tables, paired=True, n_resamples=RESAMPLES, random_state=0)
    return {key: rounded(np.asarray(getattr(found, key))) for key in ("value", "low", "high")}


def leads_and_all(values: np.ndarray) -> np.ndarray:
    """Sums at each lead, and after them those of all leads."""
    return np.concatenate([values, values.sum(0, keepdims=True)])


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return leads_and_all(a) / leads_and_all(b)


def skill(misses: np.ndarray, squares: np.ndarray) -> np.ndarray:
    return 1 - ratio(misses, squares)


def summary(scored: dict, reference: str = "model") -> dict:
    """Scores at each lead and, last, over all leads, each with the interval over blocks.

    FSS has a column for each threshold. Differences are what the reference gains: positive where it
    is better, on the cases that both have.
    """
    forecasts, gains = {}, {}
    for name in scored:
        cases, blocks = blocks_of(scored, [name])
        count = np.array([[len(block)] * len(scored[name][cases[0]]["crps"])
                          for block in blocks.values()], dtype=float)  # fmt: skip
        get = lambda key, name=name, blocks=blocks: table(scored, name, key, blocks)  # noqa: E731
        seconds = [scored[name][case]["cpu_seconds"] for case in cases]
        forecasts[name] = {
            "n_cases": len(cases),
            "n_blocks": len(blocks),
            "crps": with_interval(ratio, get("crps"), count),
            "fss": with_interval(skill, get("fss_misses"), get("fss_squares")),
            "rain_ratio": with_interval(lambda m: ratio(m[:, 1], m[:, 0]), get("rain")),
            "fine_power_ratio": with_interval(lambda m: ratio(m[:, 1], m[:, 0]), get("fine_power")),
            "cpu_seconds_per_case": round(float(np.mean(seconds)), 2),
        }
        if name == reference or reference not in scored:
            continue
        cases, blocks = blocks_of(scored, [reference, name])
        count = np.array([[len(block)] * count.shape[1] for block in blocks.values()], dtype=float)
        mine, other = (
            [table(scored, n, key, blocks) for key in ("crps", "fss_misses", "fss_squares")]
            for n in (reference, name)
        )
        gains[name] = {
            "n_cases": len(cases),
            "n_blocks": len(blocks),
            "crps": with_interval(
                lambda a, b, n: ratio(b, n) - ratio(a, n), mine[0], other[0], count
            ),
            "fss": with_interval(
                lambda am, asq, bm, bsq: skill(am, asq) - skill(bm, bsq), *mine[1:], *other[1:]
            ),
        }
    return {"reference": reference, "forecasts": forecasts, "gains": gains}
