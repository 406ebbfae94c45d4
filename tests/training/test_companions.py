import numpy as np
import pytest
import torch
import xarray as xr

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings, TrainingSettings
from skdiffuse.cubes import validate_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.networks import PRESETS
from skdiffuse.training import WindowBatches, companions_of


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(24, (16, 16), random_state=0)


def numbered(shape):
    """Rain whose values tell where they are, so that a field equal to it must follow it."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 100


@pytest.mark.parametrize("symmetries", [False, True])
def test_fields_are_cut_and_turned_with_the_rain(symmetries):
    rain = numbered((20, 12, 14))
    companions = companions_of(rain.astype(float), rain, validate_cube(rain))
    windows = WindowBatches(
        validate_cube(rain), 4, (6, 6), 40, seed=0, symmetries=symmetries, companions=companions
    )
    batch, _, told = windows.batch(0)
    given = told["covariates"][:, 0, -1, 0, 0].bool()
    assert 20 < given.sum() < 40
    fields = told["covariates"][:, :, 0] * companions.told.stds[0] + companions.told.means[0]
    torch.testing.assert_close(fields[given], batch[given], rtol=1e-4, atol=1e-4)
    assert not told["covariates"][~given].any()


def test_labels_are_those_of_the_middle_frame():
    rain = numbered((30, 8, 8))
    labels = np.arange(30) // 10
    companions = companions_of(labels, rain, validate_cube(rain))
    windows = WindowBatches(validate_cube(rain), 4, (4, 4), 60, seed=0, companions=companions)
    batch, _, told = windows.batch(0)
    frame = (batch[:, 2, 0, 0] * 100 // 64).long()
    told = told["labels"]
    assert (told[told >= 0] == (frame // 10)[told >= 0]).all()
    assert 0 < (told == -1).sum() < 30


def test_data_arrays_are_aligned(cube):
    height = xr.DataArray(
        np.random.default_rng(0).random((16, 16)),
        dims=("y", "x"),
        coords={"y": cube.y, "x": cube.x},
    )
    fields = xr.concat([height, 2 * height], "variable").expand_dims(time=cube.time)
    companions = companions_of(
        fields.transpose("x", "y", "variable", "time"), cube, validate_cube(cube)
    )
    assert companions.fields.shape == (1, 24, 2, 16, 16)
    np.testing.assert_array_equal(companions.fields[0, 3, 1], 2 * height)
    with pytest.raises(ValueError, match="coordinates of X"):
        companions_of(fields.assign_coords(x=fields.x + 1), cube, validate_cube(cube))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(5, int), "shape"),
        (np.full(24, -1), "from 0 up"),
        (np.array(["dry"] * 24), "unique"),
        (np.zeros((24, 8, 16)), "shape"),
    ],
)
def test_what_does_not_fit(cube, y, message):
    with pytest.raises(ValueError, match=message):
        companions_of(y, cube, validate_cube(cube))


@pytest.fixture(autouse=True)
def narrow_networks(monkeypatch, request):
    if "learnt" in request.node.name:
        return
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1, 2), "patch_size": 2})


OPTIONS = {
    "n_frames": 2,
    "sampler": SamplerSettings(n_steps=12),
    "random_state": 0,
    "verbose": False,
    "batch_size": 16,
}


def test_classes_are_learnt(tmp_path):
    """Rain of one rate or of another: the class tells which."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    rates = np.where(labels, 9.0, 1.0)[:, None, None, None]
    rain = rates * random.uniform(0.8, 1.2, (60, 2, 8, 8))
    model = PrecipDiffusion(
        **OPTIONS,
        max_steps=60,
        network=NetworkSettings(skip=None),
        training=TrainingSettings(learning_rate=1e-2),
    ).fit(rain, labels)
    # The seeds are the same: a network that did not listen would give the same rain twice.
    weak, strong = (model.sample(6, y=label).mean() for label in (0, 1))
    assert strong > weak + 2
    both = model.sample(6, y=[0, 1, 0, 1, 0, 1])
    np.testing.assert_allclose(both[1::2], model.sample(6, y=1)[1::2], rtol=1e-3, atol=1e-3)
    # Guidance moves away from what is unconditional, the mean of both: further up.
    assert model.sample(6, y=1, guidance_weight=1.0).mean() > strong
    model.save(tmp_path / "model")
    again = PrecipDiffusion.load(tmp_path / "model")
    np.testing.assert_array_equal(again.sample(2, y=0), model.sample(2, y=0))
    for wrong in (2, -1, 0.5, [0, 1]):
        with pytest.raises(ValueError, match="class from 0 to 1"):
            model.sample(3, y=wrong)


@pytest.mark.parametrize("amortised", [False, True])
def test_fields_are_told(cube, amortised):
    fields = np.stack([cube.values, np.ones_like(cube.values)], axis=1).astype(float)
    model = PrecipDiffusion(**OPTIONS, max_steps=2, amortised=amortised).fit(cube, fields)
    asked = fields[:2]
    rain = model.sample(3, y=asked, guidance_weight=0.5)
    # What is asked for is listened to: with other fields the same noise gives other rain.
    assert (rain >= 0).all()
    others = model.sample(3, y=asked + 5.0, guidance_weight=0.5)
    assert np.abs(others - rain).max() > 1e-3
    each = np.stack([asked] * 3)
    np.testing.assert_allclose(model.sample(3, y=each, guidance_weight=0.5), rain, atol=1e-4)
    gappy = cube[:2].copy()
    gappy[1] = np.nan
    for y in (None, asked):
        filled = model.impute(gappy, n_samples=2, y=y)
        assert (filled >= 0).all()
        np.testing.assert_array_equal(filled[:, 0], np.stack([gappy[0]] * 2))
    with pytest.raises(ValueError, match="2 fields that the model was fitted with"):
        model.sample(1, y=asked[:, 0])


def test_asked_without_having_been_told(cube):
    model = PrecipDiffusion(**OPTIONS, max_steps=1).fit(cube)
    with pytest.raises(ValueError, match="fitted without"):
        model.sample(1, y=1)
