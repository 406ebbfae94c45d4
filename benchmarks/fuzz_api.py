"""Random sequences of calls of the public API: rain or a clear error comes of each.

A state machine of hypothesis makes models and rain, most of them sensible and some not (shapes,
types, chunks, calendars, missing values, values that nobody means), and fits, goes on, copies,
pickles, saves, loads, changes parameters, and asks for rain. Of each call comes

* rain that is finite, at least 0 and of the shape promised, known values to the bit, coarse means
  exact, the same from a model that was saved and loaded; or
* a clear error: raised on purpose by the library (no exception from the depths of another), of a
  documented kind, whose message names an argument.

Anything else is unclear, and so is a call that changes the rain it was given, torch's or NumPy's
generators, or torch's settings; what no call should ever raise (SystemError, RecursionError, a
death) is a crash. Each round of four models follows from its seed, which is printed with a failure.

    python benchmarks/fuzz_api.py                # 100,000 calls, half an hour of one core or more
    python benchmarks/fuzz_api.py --quick        # within 4 minutes, new seeds each time
    python benchmarks/fuzz_api.py --replay 1234  # one round again, its calls printed

ends with one JSON line, in which the files of `hostile_files.py` are counted too. The long run goes
through the seeds from --seed on, and the result file always holds what was done so far.
"""

from __future__ import annotations

import argparse
import json
import linecache
import pickle
import re
import secrets
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sklearn.base import clone
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from skdiffuse import (  # noqa: E402
    NetworkSettings,
    PrecipDiffusion,
    SamplerSettings,
    TrainingSettings,
)

_PACKAGE = str(ROOT / "skdiffuse")
# Errors that the documentation promises; AttributeError of what there is only after fit.
_DOCUMENTED = (ValueError, TypeError, OSError, FloatingPointError, AttributeError, ImportError)
_WEIRD = [None, True, -1, 0, 0.5, -0.5, float("nan"), float("inf"), "x", "", b"x", [], {}, (1, 2),
          np.float32("nan"), np.array([1, 2]), object, len]  # fmt: skip
_NAMES = {
    *PrecipDiffusion().get_params(), "X", "mask", "y", "shape", "horizon", "factor", "n_samples",
    "n_members", "n_steps", "tile_size", "path", "method", "w_r", "network", "first", "kind",
    "storm", "rare", "card", "fit", "out", "mode", "validation", "observation", "class", "dtype",
}  # fmt: skip


class SmallNetwork(nn.Module):
    """As little of a network as answers what a network is asked."""

    def __init__(self, n_covariates: int = 0) -> None:
        super().__init__()
        self.told = n_covariates
        self.mix = nn.Conv2d(1 + n_covariates, 1, 3, padding=1)

    def forward(
        self,
        z: torch.Tensor,
        log_snr: torch.Tensor,
        covariates: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict v."""
        n, frames, rows, columns = z.shape
        fields = z[:, :, None]
        if self.told:
            shape = (n, frames, self.told, rows, columns)
            known = z.new_zeros(shape) if covariates is None else covariates.expand(shape)
            fields = torch.cat([fields, known.to(z)], dim=2)
        return self.mix(fields.flatten(0, 1)).reshape(z.shape)


def small_network(*, n_covariates: int = 0, **_: Any) -> SmallNetwork:
    """For ``network=``."""
    return SmallNetwork(n_covariates)


class Tally:
    """What has come of all calls."""

    def __init__(self, *, strict: bool, limit: int = 10**9, until: float = float("inf")) -> None:
        self.strict, self.limit, self.until = strict, limit, until
        self.calls = self.rain = self.clear = 0
        self.unclear: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self.by_verb: Counter[str] = Counter()
        # For who reads of a failure: the round's seed, and the calls of the model so far.
        self.seed: int | None = None
        self.sequence: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether enough was called."""
        return self.calls >= self.limit or time.monotonic() > self.until

    def call(self, verb: str, work: Callable[[], Any], check: Callable[[Any], str] | None) -> Any:
        """Call, and judge what comes of it; None where that is an error."""
        self.calls += 1
        self.by_verb[verb] += 1
        self.sequence.append(verb)
        before = _surroundings()
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                result = work()
                complaint = _changed(before)
                complaint = complaint or ("" if check is None else check(result))
        except _DOCUMENTED as error:
            fault = unclear_error(error) or _changed(before)
            self._count(self.unclear, verb, fault, error)
            self.clear += not fault
            return None
        except MemoryError as error:
            self._count(self.unclear, verb, "memory", error)
            return None
        except Exception as error:
            kind = self.crashes if isinstance(error, SystemError | RecursionError) else self.unclear
            self._count(kind, verb, type(error).__name__, error)
            return None
        self._count(self.unclear, verb, complaint, None)
        self.rain += not complaint
        return result

    def _count(
        self, counter: Counter[str], verb: str, fault: str, error: BaseException | None
    ) -> None:
        if not fault:
            return
        where = ""
        if error is not None:
            last = traceback.extract_tb(error.__traceback__)
            ours = [f for f in last if f.filename.startswith(_PACKAGE)]
            place = ours[-1] if ours else last[-1]
            where = f" at {Path(place.filename).name}:{place.lineno}: {str(error)[:200]!r}"
        text = f"{verb}: {fault}{where}"
        if not counter[text]:
            calls = ", ".join(self.sequence)
            print(f"UNCLEAR {text}\n    seed {self.seed}: {calls}", file=sys.stderr, flush=True)
        counter[text] += 1
        if self.strict:
            raise AssertionError(text) from error

    def take_up(self, before: dict[str, Any]) -> None:
        """Count on from the figures of an earlier run."""
        self.calls, self.rain = before["calls"], before["rain_or_done"]
        self.clear = before["clear_errors"]
        self.by_verb.update(before["by_verb"])
        self.unclear.update(before.get("what_was_unclear", {}))
        self.crashes.update(before.get("what_crashed", {}))

    def figures(self) -> dict[str, int]:
        """For one line of JSON."""
        return {
            "calls": self.calls,
            "rain_or_done": self.rain,
            "clear_errors": self.clear,
            "unclear": sum(self.unclear.values()),
            "crashes": sum(self.crashes.values()),
        }


def _surroundings() -> tuple[Any, ...]:
    """What a call has to leave as it is."""
    numpy = np.random.get_state()[1].tobytes()  # noqa: NPY002
    settings = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    return torch.random.get_rng_state().numpy().tobytes(), numpy, *settings


def _changed(before: tuple[Any, ...]) -> str:
    names = "torch's generator", "NumPy's generator", "the default dtype", "gradients", "threads"
    pairs = zip(names, before, _surroundings(), strict=True)
    return ", ".join(f"{name} changed" for name, old, new in pairs if old != new)


def unclear_error(error: BaseException) -> str:
    """What an error lacks to be clear; "" where nothing."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error)
    ours = frame.filename.startswith(_PACKAGE)
    # scikit-learn says itself what is not fitted and which parameters there are.
    friend = "sklearn" in frame.filename and ("set_params" in frame.name or "fitted" in frame.name)
    called = isinstance(error, TypeError) and "argument" in text and "()" in text
    if called and frame.filename == __file__:
        return ""
    if not (ours or friend):
        return f"{type(error).__name__} from {Path(frame.filename).name}"
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    if ours and not line.startswith("raise"):
        return f"{type(error).__name__} that nobody raised"
    words = set(re.findall(r"\w+", text))
    if len(text) < 20 or not (
        words & _NAMES or {part for w in words for part in w.split("__")} & _NAMES
    ):
        return f"{type(error).__name__} that names no argument"
    return ""


# Rain

_CALENDARS = ["standard", "360_day", "noleap", "none", "numbers", "gap", "backwards", "twice"]
_PATTERNS = ["none", "some", "frame", "cell", "all", "inf", "negative", "huge", "dry"]
_DTYPES = ["f4", "f8", "f2", ">f4", "i4", "u1", "bool", "c8", "O", "U3"]


@st.composite
def rains(draw: st.DrawFn) -> Any:
    """Arrays that are rain, and some that are not."""
    sane = draw(st.integers(0, 9)) > 1
    shape = (draw(st.integers(4, 8)), draw(st.integers(3, 9)), draw(st.integers(3, 9)))
    if draw(st.integers(0, 3)) == 0:
        shape = (draw(st.integers(1, 3)), *shape)
    if not sane:
        shape = draw(st.sampled_from([shape, shape[:2], (0, 4, 4), (1, 1, 1), (2, 2, 2, 3, 4), ()]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = np.asarray(np.maximum(rng.normal(0, 3, shape), 0))
    pattern = draw(
        st.sampled_from(_PATTERNS if not sane else ["none", "some", "frame", "cell", "dry"])
    )
    values = _with_pattern(values, pattern, rng)
    dtype = draw(st.sampled_from(_DTYPES if not sane else _DTYPES[:4]))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = np.asarray(values.astype(dtype))
    if draw(st.booleans()) and values.ndim:
        values = np.asfortranarray(values)
    values.flags.writeable = draw(st.booleans())
    kind = draw(st.sampled_from(["numpy", "xarray", "xarray", "dask", "masked", "list"]))
    if kind == "numpy" or values.ndim < 3 or 0 in values.shape:
        return values
    if kind == "masked":
        return np.ma.masked_array(values, rng.random(values.shape) < 0.1)
    if kind == "list":
        return values.tolist()
    calendar = draw(st.sampled_from(_CALENDARS if not sane else _CALENDARS[:5]))
    cube = _dressed(values, calendar)
    if kind == "dask":
        cube = cube.chunk({dim: draw(st.integers(1, 4)) for dim in cube.dims})
        return cube if draw(st.booleans()) else cube.data
    return cube


def _with_pattern(values: np.ndarray, pattern: str, rng: np.random.Generator) -> np.ndarray:
    if not values.size or values.ndim < 3:
        return values
    where: Any = {"frame": np.s_[..., -1, :, :], "cell": np.s_[..., :, 0, 0], "all": ...}.get(
        pattern
    )
    if where is not None:
        values[where] = np.nan
    elif pattern == "some":
        values[rng.random(values.shape) < 0.2] = np.nan
    elif pattern == "dry":
        values[:] = 0
    elif pattern in ("inf", "negative", "huge"):
        values.flat[0] = {"inf": np.inf, "negative": -1.0, "huge": 1e30}[pattern]
    return values


def _dressed(values: np.ndarray, calendar: str) -> xr.DataArray:
    dims = ("sequence", "time", "y", "x")[-values.ndim :] if values.ndim < 5 else None
    cube = xr.DataArray(values, dims=dims, attrs={"units": "mm h-1"})
    n = cube.shape[-3]
    dim = cube.dims[-3]
    if calendar == "none":
        return cube
    if calendar == "numbers":
        return cube.assign_coords({dim: np.arange(float(n))})
    name = calendar if calendar in ("360_day", "noleap") else "standard"
    times = xr.date_range(
        "2000-02-27", periods=n, freq="6h", calendar=name, use_cftime=name != "standard"
    ).values
    times = np.array(times)
    if calendar == "gap" and n > 2:
        times[n // 2 :] = times[n // 2 :] + (times[-1] - times[0])
    if calendar == "backwards":
        times = times[::-1]
    if calendar == "twice" and n > 1:
        times[1] = times[0]
    return cube.assign_coords({dim: times})


# Models


def _sane_parameters() -> dict[str, st.SearchStrategy[Any]]:
    steps = st.sampled_from(["adams", "heun", "ancestral"])
    return {
        "transformer": st.sampled_from(
            ["sqrt", None, "log", "cube_root", "normal_score", "box_cox"]
        ),
        "n_frames": st.integers(1, 4),
        "crop_size": st.sampled_from([64, 64, 4, 6]),
        "network": st.builds(
            NetworkSettings,
            st.just(small_network),
            edges=st.sampled_from(["zero", "reflect", "periodic", ("zero", "periodic")]),
            skip=st.sampled_from(["mixture", "wiener", None]),
            geography=st.sampled_from([None, False]),
            weathers=st.sampled_from([(8, 3), (2, 1)]),
        ),
        "corruption": st.sampled_from(["gaussian"] * 5 + ["student_t", "blur", "coarse_graining"]),
        "sampler": st.builds(
            SamplerSettings,
            steps,
            n_steps=st.integers(1, 3),
            spacing=st.sampled_from(["tapered", "angle", "log_snr", "edm", "time"]),
        ),
        "training": st.builds(
            TrainingSettings,
            learning_rate=st.sampled_from([1e-3, 1e-2]),
            optimizer=st.sampled_from(["muon", "adamw"]),
            accumulation=st.integers(1, 2),
            validation_fraction=st.sampled_from([0, 0, 0.3]),
            symmetries=st.booleans(),
            train_transformer=st.booleans(),
        )
        | st.none(),
        "amortised": st.sampled_from([False, False, True]),
        "latent_scaling": st.sampled_from(["standard", "range"]),
        "trace": st.sampled_from([0.0, 0.01, 0.5]),
        "batch_size": st.integers(1, 3),
        "max_steps": st.integers(1, 2),
        "max_time": st.sampled_from([None, 5.0]),
        "warm_start": st.booleans(),
        "random_state": st.sampled_from([0, 1, None, np.random.RandomState(0)]),
        "n_jobs": st.sampled_from([None, 1]),
    }


_SANE = _sane_parameters()
_PARAMETERS = st.fixed_dictionaries(_SANE | {"max_steps": st.integers(1, 2)})
_CHANGES = st.lists(
    st.sampled_from(sorted(_SANE)).flatmap(lambda name: st.tuples(st.just(name), _SANE[name])),
    min_size=1,
    max_size=2,
).map(dict)
# What could not end: no budget, or a whole training's worth of it.
_UNBOUNDED = {"max_steps", "max_time"}
_weird_change = st.tuples(
    st.sampled_from(sorted(set(PrecipDiffusion().get_params(deep=False)) - _UNBOUNDED)),
    st.sampled_from(_WEIRD),
)
_rarely = st.integers(0, 9).map(lambda k: k == 0)
_COUNT = st.sampled_from([1, 1, 2, 3, np.int64(2)])


def make_machine(tally: Tally) -> type[RuleBasedStateMachine]:
    """A state machine that reports to a tally."""

    class PublicAPI(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self._temporary = tempfile.TemporaryDirectory()
            self.folder = Path(self._temporary.name)
            self.n_files = 0

        def teardown(self) -> None:
            self._temporary.cleanup()

        @initialize(parameters=_PARAMETERS, rain=rains(), checkpoints=_rarely)
        def start(self, parameters: dict[str, Any], rain: Any, checkpoints: bool) -> None:
            tally.sequence = []
            folder = self.folder / "checkpoints" if checkpoints else None
            self.model = PrecipDiffusion(
                verbose=False, device="cpu", checkpoint_dir=folder, **parameters
            )
            self.rain = rain
            self.call("fit", lambda: self.model.fit(rain), None)

        def call(self, verb: str, work: Callable[[], Any], check: Any) -> Any:
            if tally.is_over:
                return None
            in_memory = isinstance(getattr(self.rain, "data", self.rain), np.ndarray)
            before = np.array(self.rain) if in_memory else None

            def check_all(result: Any) -> str:
                if before is not None and before.tobytes() != np.array(self.rain).tobytes():
                    return "the rain that was given was changed"
                return "" if check is None else check(result)

            return tally.call(verb, work, check_all)

        @property
        def values(self) -> np.ndarray:
            """The rain, NaN where it is masked."""
            if isinstance(self.rain, np.ma.MaskedArray):
                return np.ma.filled(self.rain.astype("f8"), np.nan)
            return np.asarray(self.rain, np.float64)

        # Other rain, other models

        @rule(rain=rains())
        def other_rain(self, rain: Any) -> None:
            self.rain = rain

        @rule()
        def fit(self) -> None:
            self.call("fit", lambda: self.model.fit(self.rain), None)

        @rule(classes=st.sampled_from(["frames", "sequences", "wrong", "fields"]))
        def fit_told(self, classes: str) -> None:
            shape = np.shape(self.rain)
            y: Any = {
                "frames": lambda: np.zeros(shape[:-2], int),
                "sequences": lambda: np.arange(shape[0] if shape else 1) % 2,
                "wrong": lambda: np.zeros(3, "U1"),
                "fields": lambda: np.ones(shape),
            }[classes]()
            self.call("fit", lambda: self.model.fit(self.rain, y), None)

        @rule(more=st.integers(1, 2))
        def warm_start(self, more: int) -> None:
            def go_on() -> None:
                done = getattr(self.model, "n_iter_", 0)
                self.model.set_params(warm_start=True, max_steps=min(done + more, 6))
                self.model.fit(self.rain)

            self.call("warm_start", go_on, None)

        @rule(changes=_CHANGES)
        def set_params(self, changes: dict[str, Any]) -> None:
            self.call("set_params", lambda: self.model.set_params(**changes), None)

        @rule(change=_weird_change, verb=st.sampled_from(["fit", "sample", "forecast", "save"]))
        def weird_parameter(self, change: tuple[str, Any], verb: str) -> None:
            name, value = change
            before = getattr(self.model, name)

            def attempt() -> None:
                self.model.set_params(**{name: value})
                given = {
                    "fit": (self.rain,),
                    "sample": (1,),
                    "forecast": (self.rain, 1),
                    "save": (self.folder / "weird.safetensors",),
                }
                getattr(self.model, verb)(*given[verb])

            self.call(f"{verb} after set_params", attempt, None)
            self.model.set_params(**{name: before})

        # Copies

        @rule()
        def cloned(self) -> None:
            copy = self.call("clone", lambda: clone(self.model), None)
            if copy is not None and not hasattr(self.model, "model_"):
                self.model = copy

        @rule()
        def pickled(self) -> None:
            back = self.call("pickle", lambda: pickle.loads(pickle.dumps(self.model)), None)
            self.model = back if back is not None else self.model

        @rule(give=st.sampled_from([True, True, False]))
        def saved_and_loaded(self, give: bool) -> None:
            self.n_files += 1
            path = self.folder / f"{self.n_files}.safetensors"

            def there_and_back() -> Any:
                self.model.save(path)
                return PrecipDiffusion.load(path, network=small_network if give else None)

            def same(back: Any) -> str:
                alike = back.n_iter_ == self.model.n_iter_ and all(
                    torch.equal(a, b)
                    for a, b in zip(
                        back.network_.state_dict().values(),
                        self.model.network_.state_dict().values(),
                        strict=True,
                    )
                )
                if not alike:
                    return "another model was loaded"
                try:
                    ours = self.model.sample(1, random_state=0)
                except _DOCUMENTED:
                    return ""
                theirs = back.set_params(verbose=False, device="cpu").sample(1, random_state=0)
                return "" if np.array_equal(ours, theirs) else "other rain after loading"

            back = self.call("save and load", there_and_back, same)
            if back is not None:
                self.model = back.set_params(verbose=False, device="cpu")

        # Rain

        @rule(
            n=_COUNT, shape=st.sampled_from([None, (5, 6), (12, 3), (1, 1), (0, 4), 7]),
            tile=st.sampled_from([None, None, 8, 3]),
        )  # fmt: skip
        def sample(self, n: int, shape: Any, tile: Any) -> None:
            self.call(
                "sample",
                lambda: self.model.sample(n, shape=shape, tile_size=tile, random_state=0),
                lambda r: self.is_rain(r, (n, self.model.model_.n_frames), shape or ()),
            )

        @rule(
            n=st.sampled_from([None, 1, 2]),
            method=st.sampled_from([None, None, "replacement", "reconstruction", "ho", "nothing"]),
            mask=st.sampled_from([None, "some", "none", "frames", "wrong"]),
            w_r=st.sampled_from([None, None, 0.0, 10.0, float("inf"), -1]),
        )
        def impute(self, n: Any, method: Any, mask: Any, w_r: Any) -> None:
            shape = np.shape(self.rain)
            rng = np.random.default_rng(0)
            known: Any = {
                "some": rng.random(shape) < 0.5,
                "none": np.zeros(shape, bool),
                "frames": (np.arange(shape[-3] if len(shape) > 2 else 1) % 2 == 0)[:, None, None],
                "wrong": np.ones((2, 2)),
            }.get(mask)

            def check(result: Any) -> str:
                values, given = np.asarray(result, float), self.values
                there = np.broadcast_to(given, values.shape)
                kept = np.isfinite(there)
                if known is not None:
                    kept = kept & np.broadcast_to(known, there.shape)
                if (values[kept].astype("f4") != there[kept].astype("f4")).any():
                    return "known values came back changed"
                return self.is_rain(result, () if n is None else (n,), given.shape)

            options = {"method": method, "w_r": w_r, "n_samples": n, "random_state": 0}
            self.call("impute", lambda: self.model.impute(self.rain, known, **options), check)

        @rule(horizon=st.sampled_from([1, 2, 7, 0, "x"]), members=_COUNT, out=_rarely)
        def forecast(self, horizon: Any, members: int, out: bool) -> None:
            self.n_files += 1
            path = self.folder / f"forecast-{self.n_files}.nc" if out else None
            self.call(
                "forecast",
                lambda: self.model.forecast(
                    self.rain, horizon, n_members=members, out=path, random_state=0
                ),
                lambda r: self.is_rain(r, (members,), (horizon, *self.values.shape[-2:])),
            )

        @rule(factor=st.sampled_from([1, 2, 3, 0, 1.5]), n=st.sampled_from([None, 1, 2]))
        def interpolate(self, factor: Any, n: Any) -> None:
            def check(result: Any) -> str:
                given = self.values
                frames = (given.shape[-3] - 1) * factor + 1
                kept = np.asarray(result, "f4")[..., ::factor, :, :]
                there = np.broadcast_to(given.astype("f4"), kept.shape)
                if (kept != there)[np.isfinite(there)].any():
                    return "known frames came back changed"
                return self.is_rain(result, () if n is None else (n,), (frames, *given.shape[-2:]))

            self.call(
                "interpolate",
                lambda: self.model.interpolate(self.rain, factor, n_samples=n, random_state=0),
                check,
            )

        @rule(factor=st.sampled_from([1, 2, 3, 0, "x"]), n=st.sampled_from([None, 1, 2]))
        def downscale(self, factor: Any, n: Any) -> None:
            def check(result: Any) -> str:
                given, values = self.values, np.asarray(result, float)
                rows, columns = given.shape[-2:]
                fine = (given.shape[-3], rows * factor, columns * factor)
                if complaint := self.is_rain(result, () if n is None else (n,), fine):
                    return complaint
                blocks = values.reshape(*values.shape[:-2], rows, factor, columns, factor)
                means, there = blocks.mean((-3, -1)), np.isfinite(given)
                off = np.abs(means - given) > 1e-4 * np.abs(given) + 1e-6
                return (
                    ""
                    if not (off & there).any()
                    else f"means off by {np.abs(means - given)[off & there].max()}"
                )

            self.call(
                "downscale",
                lambda: self.model.downscale(self.rain, factor, n_samples=n, random_state=0),
                check,
            )

        @rule(frames=st.sampled_from([1, 5, 9, 0]), n=_COUNT)
        def simulate(self, frames: int, n: int) -> None:
            self.call(
                "simulate",
                lambda: self.model.simulate(frames, n_samples=n, random_state=0),
                lambda r: self.is_rain(r, (n, frames)),
            )

        @rule()
        def score(self) -> None:
            self.call(
                "score_samples",
                lambda: self.model.score_samples(self.rain),
                lambda s: "" if np.isfinite(s).all() else f"a score of {s}",
            )

        @rule()
        def shown(self) -> None:
            self.call("repr", lambda: repr(self.model) + self.model._repr_html_(), None)

        def is_rain(
            self, result: Any, leading: tuple[int, ...], trailing: tuple[int, ...] = ()
        ) -> str:
            values = np.asarray(result)
            if trailing and values.shape[-len(trailing) :] != trailing:
                return f"rain of shape {values.shape}, and (..., {trailing}) was asked for"
            if values.shape[: len(leading)] != tuple(int(n) for n in leading):
                return f"rain of shape {values.shape}, and {leading} was asked for"
            if not np.isfinite(values).all():
                return f"{int((~np.isfinite(values)).sum())} values that are not finite"
            return "" if (values >= 0).all() else "negative rain"

    return PublicAPI


def fuzz(tally: Tally, *, examples: int, steps: int, seed: int = 0, say: bool = False) -> None:
    """Let the machine run; the same calls every time for one seed, printed if asked for."""
    torch.set_num_threads(1)
    tally.seed = seed
    run_state_machine_as_test(
        seeded(seed)(make_machine(tally)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.debug if say else Verbosity.normal,
        ),
    )


ROUND = {"examples": 4, "steps": 40}


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within 4 minutes, no result file")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of the processor")
    parser.add_argument("--seed", type=int, help="of the first round")
    parser.add_argument("--go-on", action="store_true", help="add to what the result file holds")
    parser.add_argument("--replay", type=int, metavar="SEED", help="the round of this seed alone")
    options = parser.parse_args()
    if options.replay is not None:
        tally = Tally(strict=False)
        fuzz(tally, **ROUND, seed=options.replay, say=True)
        print(json.dumps(tally.figures()))
        return
    sys.path.insert(0, str(Path(__file__).parent))
    import hostile_files

    begin = time.monotonic()
    hostile = hostile_files.run(say=lambda line: None)
    seconds = 150.0 if options.quick else float("inf")
    tally = Tally(strict=False, limit=options.calls, until=time.monotonic() + seconds)
    path = Path(__file__).parent / "results" / "fuzz_api.json"
    first = options.seed
    if first is None:
        first = secrets.randbelow(10**6) * 1000 if options.quick else 0
    seed, before = first, {"seconds": 0, "cpu_seconds": 0}
    if options.go_on and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        tally.take_up(before)
        first, seed = before["seeds"][0], before["seeds"][1] + 1
    while not tally.is_over and time.process_time() < options.seconds:
        fuzz(tally, **ROUND, seed=seed)
        seed += 1
        figures = {
            **tally.figures(),
            "unclear": tally.figures()["unclear"] + hostile["unclear"],
            "hostile_files": hostile["hostile_files"],
            "code_executed": hostile["code_executed"],
            "seeds": [first, seed - 1],
            "seconds": before["seconds"] + round(time.monotonic() - begin),
            "cpu_seconds": before["cpu_seconds"] + round(time.process_time()),
        }
        if not options.quick:
            kept = {
                **figures,
                "by_verb": dict(tally.by_verb.most_common()),
                "what_was_unclear": dict(tally.unclear.most_common()),
                "what_crashed": dict(tally.crashes.most_common()),
            }
            path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8", newline="\n")
    for text, n in (tally.unclear + tally.crashes).most_common():
        print(f"{n:>6}  {text}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
