"""Every argument of every verb with values that nobody means: the error names the argument."""

import re
import traceback

import numpy as np
import pytest
import torch
import xarray as xr

from skdiffuse import PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.diffusion import KnownCells
from skdiffuse.estimator.arguments import ARGUMENTS, METHOD_OPTIONS
from skdiffuse.networks.video_unet import PRESETS

STRANGE = [
    None, "a", "", 3, -1, 0, 2.5, np.nan, np.inf, -np.inf, (16,), (0, 16), (-1, 16),
    [], {}, True, object(), object, np.array([1.0, 2.0]), b"a", 1j,
]  # fmt: skip
SAMPLER = "n_steps batch_size tile_size random_state"
METHOD = (
    "method w_r n_iterations jacobian_error largest_gain tolerance mean_over_batch n_resampling"
)
GUIDED = "y guidance_weight log_likelihood likelihood_scale"
VERBS = {
    "sample": f"n_samples {GUIDED} shape storm rare first {SAMPLER} n_jobs out",
    "sample_weights": "n_samples rare first random_state",
    "simulate": f"n_frames n_samples shape mode overlap {SAMPLER} out {METHOD} {GUIDED}",
    "condition": f"observation shape n_samples {SAMPLER} {METHOD} {GUIDED}",
    "impute": f"X mask n_samples {SAMPLER} {METHOD}",
    "interpolate": f"X factor n_samples {SAMPLER} {METHOD}",
    "forecast": f"X horizon n_members {SAMPLER} {METHOD} out",
    "downscale": f"X factor n_samples {SAMPLER} {METHOD}",
    "score_samples": "X",
    "score": "X",
    "denoising_loss": "X n_draws random_state",
    "learn_variance": "X kind n_windows max_steps random_state",
    "reaverage": "relative_width",
    "save": "path card",
    "load": "path folder network sampler schedule",
    "fit": "X y validation",
}


@pytest.fixture(scope="module")
def rain():
    return make_precipitation(8, (8, 8), random_state=0)


@pytest.fixture(scope="module")
def model(rain):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
        settings = SamplerSettings(n_steps=1)
        model = PrecipDiffusion(
            n_frames=2, max_steps=1, sampler=settings, random_state=0, verbose=False
        )
        yield model.fit(rain)


@pytest.fixture(scope="module")
def ask(model, rain, tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(file)
    gappy = rain[:2].where(rain.x > rain.x[0])
    needed = {
        "simulate": {"n_frames": 3},
        "condition": {"observation": KnownCells(torch.ones(1, 2, 8, 8))},
        "impute": {"X": gappy},
        "interpolate": {"X": rain[:3:2]},
        "forecast": {"X": rain[:2], "horizon": 1},
        "downscale": {"X": rain[:2].coarsen(y=2, x=2).mean(), "factor": 2},
        "score_samples": {"X": rain[:2]},
        "score": {"X": rain[:2]},
        "denoising_loss": {"X": rain[:2]},
        "save": {"path": file},
        "learn_variance": {"X": rain[:2], "n_windows": 1, "max_steps": 1},
        "load": {"path": file},
        "fit": {"X": rain},
    }
    unfitted = PrecipDiffusion(n_frames=2, max_steps=1, random_state=0, verbose=False)

    def ask_it(verb, **given):
        if verb == "downscale":
            given = {"method": None} | given
        return getattr(unfitted if verb == "fit" else model, verb)(**needed.get(verb, {}) | given)

    return ask_it


@pytest.mark.parametrize(
    ("verb", "argument"),
    [(verb, argument) for verb, arguments in VERBS.items() for argument in arguments.split()],
)
def test_an_error_names_its_argument(verb, argument, ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in STRANGE:
        if argument == "network" and value is object:
            # A class makes networks as well as a function does; what it says is its own.
            continue
        try:
            ask(verb, **{argument: value})
        except Exception as error:
            said, where = str(error), traceback.extract_tb(error.__traceback__)[-1].filename
            got = f"{verb}({argument}={value!r}): {type(error).__name__}: {said}"
            # Of a file that is not there its own name is said.
            named = rf"\b{argument}\b|No such file: {re.escape(str(value))}$"
            assert re.search(named, said), got
            assert "skdiffuse" in where, f"{got} from {where}"
            assert isinstance(error, ValueError | TypeError | OSError), got


@pytest.mark.parametrize("name", [*ARGUMENTS, *METHOD_OPTIONS])
def test_no_argument_of_the_tables_is_left_out(name):
    listed = {each for arguments in VERBS.values() for each in arguments.split()}
    assert name in listed


@pytest.mark.parametrize(
    ("verb", "given", "message"),
    [
        ("sample", {"shape": (0, 16)}, r"shape=\(0, 16\) must hold 2 integers of at least 1, \(ro"),
        ("sample", {"shape": (-1, 16)}, r"shape=\(-1, 16\) must hold 2 integers of at least 1"),
        ("sample", {"shape": 7}, "shape=7 must hold 2 integers of at least 1"),
        ("sample", {"shape": (16,)}, r"shape=\(16,\) must hold 2 integers of at least 1"),
        ("sample", {"random_state": "a"}, "random_state='a' must be an integer seed from 0 to 429"),
        ("sample", {"random_state": -4}, "random_state=-4 must be an integer seed from 0 to 42949"),
        ("sample", {"n_jobs": "a"}, "n_jobs='a' must be an integer but 0, or None"),
        ("sample", {"rare": np.nan}, "rare=nan must be a finite number of at least 0 and at most "),
        ("sample", {"log_likelihood": 3}, "log_likelihood=3 must be a function or None"),
        ("impute", {"jacobian_error": "a"}, "jacobian_error='a' must be a finite number of at lea"),
        ("impute", {"n_iterations": 2.5}, "n_iterations=2.5 must be an integer of at least 1"),
        ("simulate", {"overlap": 2}, "overlap=2 must be an integer from 0 to 1"),
        ("load", {"sampler": "euler"}, "sampler='euler' must be one of"),
        ("load", {"network": 3}, "network=3 must be one of"),
        ("reaverage", {"relative_width": 3}, "relative_width=3 must be a finite number above 0"),
    ],
)
def test_what_errors_say(verb, given, message, ask):
    with pytest.raises(ValueError, match=message):
        ask(verb, **given)


@pytest.mark.parametrize("verb", ["sample", "forecast", "score", "denoising_loss"])
@pytest.mark.parametrize("device", ["gpu", "meta"])
def test_a_device_that_there_is_not(verb, device, ask, model):
    expected = model.sample(1).values
    model.set_params(device=device)
    try:
        with pytest.raises(ValueError, match=f"device='{device}' (must be 'auto' or|cannot be us)"):
            ask(verb)
    finally:
        model.set_params(device="auto")
    # A network that had been moved to "meta" would have lost its weights.
    np.testing.assert_array_equal(model.sample(1).values, expected)


def test_a_place_to_write_to_is_tried_before_anything_is_drawn(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(PrecipDiffusion, "_request", lambda *_, **__: pytest.fail("was drawn"))
    for verb in ("sample", "simulate", "forecast"):
        with pytest.raises(OSError, match=r"out=.*there is no folder"):
            ask(verb, out=tmp_path / "nowhere" / "rain.nc")
        with pytest.raises(OSError, match=r"out=.* is a folder; name a file within it"):
            ask(verb, out=tmp_path)


def test_a_score_is_a_tensor_that_depends_on_rain(ask):
    for score, message in (
        (lambda x: 3.0, "log_likelihood must return a Tensor .* it returned float"),
        (lambda x: x.sum(), r"log_likelihood: a score must have one value for each of the 1 seq"),
        (lambda x: x.detach().sum((1, 2, 3)), "log_likelihood must be differentiable"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            ask("sample", log_likelihood=score)
    with pytest.raises(FloatingPointError, match="log_likelihood has a gradient that is not fin"):
        ask("sample", log_likelihood=lambda x: torch.nan * x.sum((1, 2, 3)))


class TestValuesOfLazyInput:
    """What is read late is checked as strictly as what is in memory."""

    @pytest.mark.parametrize(
        "verb", ["impute", "interpolate", "forecast", "downscale", "score", "denoising_loss"]
    )
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (-3.0, "negative precipitation"),
            (1e20, "no rain rate"),
            (np.inf, "infinite"),
            (np.nan, "missing"),
        ],
    )
    def test_is_refused_as_in_memory(self, model, verb, wrong, message):
        pytest.importorskip("dask.array")
        rain = np.ones((2, 8, 8), np.float32)
        if verb == "downscale":
            rain = rain[:, :4, :4]
        if np.isnan(wrong):
            rain[:] = np.nan
        else:
            rain[-1, 2, 3] = wrong
        lazy = xr.DataArray(rain, dims=("time", "y", "x")).chunk({"time": 1})
        options = {
            "interpolate": {"factor": 2},
            "downscale": {"factor": 2},
            "forecast": {"horizon": 1},
        }.get(verb, {})
        for given in (rain, lazy, lazy.data):
            with pytest.raises(ValueError, match=message):
                np.asarray(getattr(model, verb)(given, **options))
