"""Options of the verbs: what would be ignored is refused, whatever is known."""

import numpy as np
import pytest
import torch

from skdiffuse import PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.diffusion import ArealMean, Gauges

OPTIONS = {
    "n_frames": 2,
    "max_steps": 1,
    "sampler": SamplerSettings(n_steps=2),
    "random_state": 0,
    "verbose": False,
}


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(8, (8, 8), random_state=0)


@pytest.fixture(scope="module")
def model(cube):
    return PrecipDiffusion(**OPTIONS, amortised=True).fit(cube)


def ask(model, cube):
    """Every verb that conditions, with nothing, some and all of the rain known."""
    nothing = np.full((2, 8, 8), np.nan, np.float32)
    nothing[0, 0, 0] = 1.0
    return {
        "impute, all known": lambda **o: model.impute(cube[:2], **o),
        "impute, nothing known": lambda **o: model.impute(
            nothing, np.zeros_like(nothing, bool), **o
        ),
        "interpolate": lambda **o: model.interpolate(cube[:2], **o),
        "forecast": lambda **o: model.forecast(cube[:1], 1, **o),
        "simulate": lambda **o: model.simulate(2, **o),
        "condition": lambda **o: model.condition(ArealMean(torch.ones(1, 2, 2, 2), 4), **o),
        "downscale": lambda **o: model.downscale(cube[:2], 2, **({"method": None} | o)),
    }


VERBS = [
    "impute, all known", "impute, nothing known", "interpolate", "forecast", "simulate",
    "condition", "downscale",
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_itertions": 3}, TypeError, r"method='reconstruction' does not take n_itertions; it"),
        ({"mean_over_batch": True}, TypeError, "does not take mean_over_batch"),
        ({"method": "replacement", "w_r": 1e3}, TypeError, r"'replacement' does not take w_r; it"),
        ({"method": "pigdm", "n_iterations": 2}, TypeError, "'pigdm' does not take n_iterations"),
        ({"method": "moment_matching", "w_r": 1}, TypeError, "'moment_matching' does not take w_r"),
        ({"method": "ho", "jacobian_error": 0.1}, TypeError, "'ho' does not take jacobian_error"),
        ({"method": "magic"}, ValueError, "method='magic' is unknown"),
        ({"w_r": -1.0}, ValueError, "w_r"),
        ({"n_resampling": 0}, ValueError, "n_resampling"),
        ({"n_steps": 0}, ValueError, "n_steps"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"tile_size": 4}, ValueError, "tile_size"),
        ({"guidance_weight": 2.0}, ValueError, "guidance_weight=2.0 exaggerates y, and y is not"),
        ({"likelihood_scale": 2.0}, ValueError, "multiplies log_likelihood, which is not given"),
        ({"random_state": "a"}, ValueError, "seed"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_what_would_be_ignored_is_refused(model, cube, verb, options, error, message):
    with pytest.raises(error, match=message):
        ask(model, cube)[verb](**options)


def test_told_cells_leave_nothing_to_weigh(model, cube):
    with pytest.raises(TypeError, match=r"'amortised' does not take w_r; it takes no options"):
        model.impute(cube[:2], method="amortised", w_r=1e3)
    # What is read with an error is left to guidance, which has options.
    gauges = Gauges(torch.ones(1, 2, 1), [3.0], [4.0], error_variance=0.1)
    rain = model.condition(gauges, method="amortised", w_r=1e3, n_iterations=1)
    assert np.isfinite(rain).all()


def test_options_that_are_used_pass(model, cube):
    for method, options in (
        ("reconstruction", {"w_r": 1e3, "n_iterations": 1, "jacobian_error": 0.1}),
        ("ho", {"w_r": 0.1, "mean_over_batch": True}),
        ("moment_matching", {"n_iterations": 2, "tolerance": 0.1, "largest_gain": 2.0}),
        ("replacement", {"n_resampling": 2}),
    ):
        half = cube[:2].copy()
        half[:, 4:] = np.nan
        known = model.impute(half, method=method, **options)[0, :, :4]
        np.testing.assert_array_equal(known, cube[:2, :4].astype(known.dtype))


def test_fields_with_one_channel_are_for_all_samples():
    """(frames, 1, y, x) are fields of every sequence, and not a sequence's field each."""
    rain = make_precipitation(8, (8, 8), random_state=0).values
    height = np.broadcast_to(np.linspace(0, 1, 8), rain.shape).astype(np.float32)
    model = PrecipDiffusion(**OPTIONS).fit(rain, height)
    alone = model.sample(3, y=height[:2], random_state=1)
    np.testing.assert_array_equal(model.sample(3, y=height[:2, None], random_state=1), alone)
    each = np.stack([height[:2]] * 3)
    np.testing.assert_array_equal(model.sample(3, y=each, random_state=1), alone)
    np.testing.assert_array_equal(model.sample(3, y=each[:, :, None], random_state=1), alone)


@pytest.fixture(scope="module")
def told():
    """A model that is told one field, and the fields that its network has been told since."""
    rain = make_precipitation(12, (8, 8), random_state=0).values
    hours = np.broadcast_to(np.arange(12.0)[:, None, None], rain.shape).astype(np.float32)
    model = PrecipDiffusion(**OPTIONS).fit(rain, hours)
    return model, rain, hours


class TestFieldsOfLongSequences:
    """Every window is told the fields of its own frames, and not the first window's."""

    @staticmethod
    def first_frames(model, monkeypatch, call):
        """The field at the beginning of each window that is drawn, in the order of drawing."""
        seen = []
        asked = type(model.model_.told).asked

        def noted(self, y, n, shape):
            seen.append(np.asarray(y).reshape(shape[0], -1)[:, 0].tolist())
            return asked(self, y, n, shape)

        monkeypatch.setattr(type(model.model_.told), "asked", noted)
        call()
        return seen

    def test_impute(self, told, monkeypatch):
        model, rain, hours = told
        mask = np.zeros(rain[:5].shape, bool)
        seen = self.first_frames(
            model, monkeypatch, lambda: model.impute(rain[:5], mask, y=hours[:5])
        )
        assert seen == [[0, 1], [1, 2], [2, 3], [3, 4]]

    def test_simulate(self, told, monkeypatch):
        model, _, hours = told
        seen = self.first_frames(
            model, monkeypatch, lambda: model.simulate(5, y=hours[:5], overlap=0)
        )
        assert [window[0] for window in seen] == [0, 2, 4]
        assert np.isnan(seen[-1][1])

    def test_forecast(self, told, monkeypatch):
        """The last frame of the past and the horizon."""
        model, rain, hours = told
        seen = self.first_frames(
            model, monkeypatch, lambda: model.forecast(rain[:3], 2, y=hours[2:5])
        )
        assert seen == [[2, 3], [3, 4]]

    def test_fields_of_other_frames_are_refused(self, told):
        model, rain, hours = told
        for call in (
            lambda y: model.impute(rain[:5], np.zeros(rain[:5].shape, bool), y=y),
            lambda y: model.simulate(5, y=y),
        ):
            with pytest.raises(
                ValueError, match=r"y holds fields of 2 frames .* the sequence has 5"
            ):
                call(hours[:2])


@pytest.mark.parametrize("shape", [(8,), 8, (8, 8, 8), (0, 8), (-1, 8), (8.0, 8)], ids=str)
def test_sizes_that_are_none(model, shape):
    for call in (model.sample, lambda shape: model.simulate(2, shape=shape)):
        with pytest.raises(
            ValueError, match=r"must hold 2 integers of at least 1, \(rows, columns"
        ):
            call(shape=shape)
    gauges = Gauges(torch.ones(1, 2, 1), [3.0], [4.0], error_variance=0.1)
    with pytest.raises(ValueError, match=r"shape=\(2, 8\) must hold 3 integers"):
        model.condition(gauges, shape=(2, 8))


def test_no_option_is_taken_for_an_argument_of_ours(model, cube):
    for name in ("model", "parameters", "observation"):
        with pytest.raises(TypeError, match=name):
            model.impute(cube[:2], **{name: 3})


def test_composed_series_can_be_told_a_class():
    rain = make_precipitation(8, (8, 8), random_state=0).values
    model = PrecipDiffusion(**OPTIONS).fit(rain, np.arange(8) % 2)
    assert model.simulate(5, mode="composed", y=1).shape == (1, 5, 8, 8)
    with pytest.raises(TypeError, match=r"\['method'\] is unused"):
        model.simulate(5, mode="composed", method="ho")
