import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.estimator.latent import LatentSpace
from skdiffuse.preprocessing import (
    DryCellTransform,
    LearntMonotoneTransform,
    SqrtTransform,
    resolve_transformer,
)

RAIN = torch.from_numpy(np.random.default_rng(0).gamma(0.2, 5.0, (50, 40)))


@pytest.mark.parametrize("name", [None, "sqrt"])
def test_standard_scaling_has_unit_variance(name):
    space = LatentSpace.fit(resolve_transformer(name), RAIN, "standard", 0.01)
    latent = space.encode(RAIN)
    assert latent.mean().item() == pytest.approx(0, abs=1e-12)
    assert latent.var(correction=0).item() == pytest.approx(1)


def test_range_scaling_is_that_of_the_dissertation():
    """x = 2 r / M - 1 with M = 80 mm/h: 0.01 mm/h is at -0.99975."""
    rain = torch.tensor([[0.0, 0.01, 80.0]], dtype=torch.float64)
    space = LatentSpace.fit(resolve_transformer(None), rain, "range", 0.01)
    torch.testing.assert_close(
        space.encode(rain), torch.tensor([[-1.0, -0.99975, 1.0]], dtype=torch.float64)
    )
    assert space.decode(torch.full((1, 1), 1.5))[0, 0] == 80.0


@given(st.floats(0.01, 500.0), st.sampled_from(["standard", "range"]))
def test_round_trip(rate, scaling):
    rain = torch.tensor([[0.0, 500.0]], dtype=torch.float64)
    space = LatentSpace.fit(SqrtTransform(), rain, scaling, 0.01)
    back = space.decode(space.encode(torch.tensor([[rate]], dtype=torch.float64))).item()
    # A rate at the very trace may fall below it by rounding.
    assert back == pytest.approx(rate, rel=1e-9) or (back == 0 and rate < 0.01 * (1 + 1e-9))


@given(st.floats(-1e6, 1e6))
def test_nothing_is_negative_or_below_the_trace(latent):
    space = LatentSpace.fit(SqrtTransform(), RAIN, "standard", 0.1)
    rain = space.decode(torch.tensor([[latent]], dtype=torch.float64)).item()
    assert rain == 0 or rain >= 0.1


def test_missing_cells_pass_through_and_do_not_count():
    with_gaps = torch.where(torch.arange(40) % 3 == 0, torch.nan, RAIN)
    space = LatentSpace.fit(SqrtTransform(), with_gaps, "standard", 0.01)
    latent = space.encode(with_gaps)
    assert torch.equal(latent.isnan(), with_gaps.isnan())
    assert latent[latent.isfinite()].mean().item() == pytest.approx(0, abs=1e-12)


def test_where_it_never_rains():
    space = LatentSpace.fit(SqrtTransform(), torch.zeros(2, 2), "standard", 0.01)
    assert torch.equal(space.decode(space.encode(torch.zeros(2, 2))), torch.zeros(2, 2))


def test_unknown_scaling():
    with pytest.raises(ValueError, match="scaling='unit' is unknown"):
        LatentSpace.fit(SqrtTransform(), RAIN, "unit", 0.01)


@pytest.mark.parametrize("treatment", ["jitter", "censored"])
def test_bounds_are_no_draw_where_dry_cells_are_drawn(treatment):
    rain = torch.tensor([[0.0, 0.0, 1.0, 9.0]])
    transformer = DryCellTransform(SqrtTransform(), treatment, random_state=0).fit(rain)
    space = LatentSpace(transformer, centre=1.0, scale=2.0, trace=0.01, largest=100.0)
    low, high = space.bounds
    assert low == -math.inf
    assert high == pytest.approx((10 - 1) / 2)
    assert space.bounds == (low, high)
    dry = space.encode(torch.zeros(1, 10_000))
    assert (dry > low).all() and dry.std() > 0


@pytest.mark.parametrize("scaling", ["standard", "range"])
def test_where_it_never_rains_there_are_bounds(scaling):
    space = LatentSpace.fit(SqrtTransform(), torch.zeros(3, 4), scaling, 0.01)
    lower, upper = space.bounds
    assert lower < upper
    assert (space.decode(space.encode(torch.zeros(2, 2))) == 0).all()


def test_held_variance_survives_training_resuming_and_files(tmp_path):
    rain = make_precipitation(24, (8, 8), random_state=0)

    def model(hold_variance, **options):
        curve = LearntMonotoneTransform(
            max_iter=30, joint_learning_rate=0.05, hold_variance=hold_variance
        )
        settings = {"n_frames": 3, "batch_size": 4, "random_state": 0, "verbose": False}
        return PrecipDiffusion(curve, **settings, **options)

    def spread(fitted):
        return float(fitted.latent_.encode(torch.from_numpy(np.asarray(rain))[None]).std())

    free, whole = (model(hold, max_steps=12).fit(rain) for hold in (False, True))
    assert abs(spread(free) - 1) > 0.01
    assert spread(whole) == pytest.approx(1, abs=2e-3)
    in_parts = model(True, max_steps=5, checkpoint_dir=tmp_path / "run", warm_start=True).fit(rain)
    in_parts = model(True, max_steps=12, checkpoint_dir=tmp_path / "run", warm_start=True).fit(rain)
    whole.save(tmp_path / "model.safetensors")
    loaded = PrecipDiffusion.load(tmp_path / "model.safetensors")
    for other in (in_parts, loaded):
        assert other.latent_.numbers == whole.latent_.numbers
        assert np.array_equal(np.asarray(other.sample(1, n_steps=2, random_state=0)),
                              np.asarray(whole.sample(1, n_steps=2, random_state=0)))  # fmt: skip
