"""The table of constraints: complete, strict, before any data are read."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from skdiffuse import (
    KeepingSettings,
    NetworkSettings,
    PrecipDiffusion,
    SamplerSettings,
    TrainingSettings,
    make_precipitation,
)
from skdiffuse.estimator.constraints import InvalidParameterError
from skdiffuse.estimator.parameters import CONSTRAINTS, FRONT_DOOR, SAMPLERS, check_parameters

SETTINGS = [KeepingSettings, NetworkSettings, SamplerSettings, TrainingSettings]


def parameters_of(kind):
    return set(inspect.signature(kind.__init__).parameters) - {"self"}


def test_every_parameter_has_a_constraint():
    assert set(FRONT_DOOR) | {"transformer"} == parameters_of(PrecipDiffusion)
    for kind in SETTINGS:
        assert set(CONSTRAINTS[kind]) == parameters_of(kind)


class Unreadable:
    """Data that must not be touched."""

    def __getattr__(self, name):
        raise AssertionError(f"X.{name} was read before the parameters were checked")


BAD = {
    "n_frames": [0, 2.5, "4", True, None],
    "crop_size": [0, -3],
    "network": ["huge", 3, None, TrainingSettings()],
    "network__architecture": ["huge", 7],
    "network__edges": ["round", 3, ("zero",)],
    "network__geography": ["yes", 2],
    "network__skip": ["kalman", True],
    "network__gradient_checkpointing": [1, None],
    "network__weathers": [8, (8,), (0, 3), (8, 3, 1), None],
    "schedule": ["linear", 3, None],
    "corruption": ["warm", 3, None],
    "sampler": ["euler", 4, None, NetworkSettings()],
    "sampler__step": ["euler", type(SAMPLERS["adams"])],
    "sampler__n_steps": [0, 1.5],
    "sampler__spacing": ["even", 2],
    "sampler__reverse_variance": ["middle", 3, type(SAMPLERS["ancestral"].variance)],
    "training": ["fast", NetworkSettings()],
    "training__optimizer": ["sgd", 3, None],
    "training__learning_rate": [0, -1.0, np.nan, np.inf, "fast"],
    "training__learning_rate_schedule": ["linear", None],
    "training__weight_decay": [-1, np.nan],
    "training__accumulation": [0],
    "training__precision": ["float8", None],
    "training__compile": ["yes"],
    "training__sharded": [None],
    "training__max_epochs": [0],
    "training__validation_fraction": ["a", -0.1, 1, np.nan],
    "training__patience": [0, 1.5],
    "training__watch": [None, "power"],
    "training__symmetries": ["all"],
    "training__train_transformer": [2],
    "keeping": ["all"],
    "keeping__checkpoint_seconds": [-1, np.nan],
    "keeping__n_checkpoints": [0],
    "keeping__average_snapshots": ["yes"],
    "keeping__log_dir": [3],
    "amortised": ["yes", None],
    "latent_scaling": ["x", None],
    "trace": [-0.1, np.nan, "a"],
    "batch_size": [0, "a"],
    "max_steps": [0, 2.5],
    "max_time": [0, np.nan, np.inf],
    "checkpoint_dir": [3, ""],
    "warm_start": ["yes"],
    "device": ["gpu", 3.5],
    "n_jobs": [0, "a", 2.5, np.inf, True],
    "random_state": ["a", -4, True, 2.5],
    "verbose": ["loud"],
}


def test_the_list_is_complete():
    named = set(FRONT_DOOR)
    for prefix, kind in zip(("keeping", "network", "sampler", "training"), SETTINGS, strict=True):
        named |= {f"{prefix}__{name}" for name in CONSTRAINTS[kind]}
    assert set(BAD) == named


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_what_is_wrong_is_named_before_data_are_read(name, value):
    model = PrecipDiffusion().set_params(**{name: value})
    with pytest.raises(ValueError) as caught:
        model.fit(Unreadable())
    assert str(caught.value).startswith(f"{name}={value!r} must be ")


STRANGE = [
    None, "a", "", 3, -1, 0, 2.5, np.nan, np.inf, 10**400, (16,), (0, 16), [], {}, True, object(),
    object, np.array([1.0, 2.0]), b"a", 1j,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_an_error_names_its_parameter(name):
    """Values that nobody means pass, or are refused by the parameter's name and nothing rawer."""
    for value in STRANGE:
        try:
            model = PrecipDiffusion().set_params(**{name: value})
            check_parameters(model)
        except InvalidParameterError as error:
            assert str(error).startswith(f"{name}={value!r} must be ")


def test_transformers_are_checked_as_early():
    for wrong, error in (("cuberoot?", ValueError), (3, TypeError)):
        with pytest.raises(error, match="transformer"):
            PrecipDiffusion(wrong).fit(Unreadable())


@pytest.mark.parametrize(
    "params",
    [
        {"n_frames": np.int64(4), "trace": np.float32(0.1), "amortised": np.bool_(True)},
        {"network": "small", "sampler": SAMPLERS["heun"], "max_time": 1},
        {"random_state": np.random.RandomState(0), "n_jobs": -1, "device": "cuda:3"},
        {"training__validation_fraction": 0, "keeping__log_dir": "run"},
    ],
    ids=lambda params: ",".join(params),
)
def test_what_is_right_passes(params):
    check_parameters(PrecipDiffusion().set_params(**params))


def test_settings_are_reached_through_shortcuts():
    model = PrecipDiffusion()
    model.set_params(network__edges="periodic", sampler__n_steps=5, training__learning_rate=0.1)
    assert repr(model.network) == "NetworkSettings(edges='periodic')"
    assert repr(model.sampler) == "SamplerSettings(n_steps=5)"
    assert repr(model.training) == "TrainingSettings(learning_rate=0.1)"
    model.set_params(network="small", network__geography=False)
    assert repr(model.network) == "NetworkSettings(architecture='small', geography=False)"
    model.set_params(transformer="log", transformer__offset=0.05)
    assert model.transformer.offset == 0.05
    with pytest.raises(ValueError, match="Invalid parameter 'width'"):
        model.set_params(network__width=3)
    assert clone(model).get_params()["network__geography"] is False
    # Names alone stay names: two ways of saying the same would make clones differ.
    assert PrecipDiffusion().get_params()["network"] == "tiny"


def test_grid_search_over_a_setting():
    """The better of two learning rates is found, as if each had been fitted by hand."""
    rain = make_precipitation(4 * 12, (8, 8), random_state=0).values.reshape(12, 4, 8, 8)
    model = PrecipDiffusion(n_frames=4, max_steps=5, random_state=0, verbose=False)
    rates = [1e-3, 1e-8]
    search = GridSearchCV(model, {"training__learning_rate": rates}, cv=KFold(2)).fit(rain)
    by_hand = [
        np.mean(
            [
                clone(model).set_params(training__learning_rate=rate).fit(rain[a]).score(rain[b])
                for a, b in KFold(2).split(rain)
            ]
        )
        for rate in rates
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], by_hand, rtol=1e-9)
    assert search.best_params_ == {"training__learning_rate": rates[int(np.argmax(by_hand))]}


@pytest.mark.parametrize("device", ["meta", "mps", "cuda:99"])
def test_a_device_that_is_not_there_or_of_no_use_is_refused_before_data_are_read(device):
    model = PrecipDiffusion(device=device)
    message = f"device='{device}' cannot be used here .* use device='auto'"
    with pytest.raises(ValueError, match=message):
        model.fit(Unreadable())


def test_what_does_not_go_together():
    for params, message in (
        ({"training__sharded": True, "training__compile": True}, "do not go together"),
        ({"training__sharded": True, "warm_start": True}, "set checkpoint_dir"),
        ({"network__geography": True, "training__symmetries": True}, "mirrors the places"),
        ({"sampler__reverse_variance": "upper"}, "use step='ancestral', or leave"),
    ):
        with pytest.raises(ValueError, match=message):
            PrecipDiffusion().set_params(**params).fit(Unreadable())
