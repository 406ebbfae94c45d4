"""One model of several cubes: fitted, gone on with, told apart by class."""

import numpy as np
import pytest
import torch

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings, TrainingSettings
from skdiffuse.datasets import make_precipitation
from skdiffuse.networks.video_unet import PRESETS

OPTIONS = {
    "n_frames": 2,
    "crop_size": 12,
    "max_steps": 3,
    "batch_size": 4,
    "sampler": SamplerSettings(n_steps=4),
    "random_state": 0,
    "verbose": False,
}


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", {"width": 16, "multipliers": (1, 2), "patch_size": 2})


@pytest.fixture(scope="module")
def cubes():
    return [
        make_precipitation(n, shape, random_state=k)
        for k, (n, shape) in enumerate([(20, (8, 16)), (14, (12, 10)), (9, (20, 20))])
    ]


def weights(model):
    return model.network_.state_dict()


def assert_same(model, other):
    for name, tensor in weights(model).items():
        assert torch.equal(tensor, weights(other)[name]), name


def test_a_list_of_one_cube_is_that_cube_to_the_bit(cubes):
    labels = np.arange(20) % 2
    for y in (None, labels):
        alone = PrecipDiffusion(**OPTIONS).fit(cubes[0], y)
        listed = PrecipDiffusion(**OPTIONS).fit([cubes[0]], None if y is None else [y])
        assert_same(alone, listed)
        np.testing.assert_array_equal(alone.sample(2), listed.sample(2))
        assert listed.template_.dims == cubes[0].dims and "y" in listed.template_.coords


def test_the_smallest_cube_decides_the_crop_and_results_are_of_no_place(cubes, tmp_path):
    model = PrecipDiffusion(**OPTIONS).fit(tuple(cubes))
    assert model.field_shape_ == (8, 10)
    rain = model.sample(2)
    assert rain.shape == (2, 2, 8, 10) and rain.dims[1:] == cubes[0].dims
    assert "y" not in rain.coords and (rain.time[1] - rain.time[0]) == np.timedelta64(1, "h")
    assert rain.attrs["units"] == "mm h-1"
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(PrecipDiffusion.load(tmp_path / "m").sample(2), rain)
    assert model.forecast(cubes[2][:1], 1).shape == (1, 1, 20, 20)
    numpy = PrecipDiffusion(**OPTIONS).fit([cube.values for cube in cubes])
    assert_same(model, numpy)
    assert isinstance(numpy.sample(1), np.ndarray)


def test_lazy_cubes_train_as_loaded_ones(cubes):
    pytest.importorskip("dask")
    lazy = [cube.chunk(time=5) for cube in cubes]
    assert_same(PrecipDiffusion(**OPTIONS).fit(cubes), PrecipDiffusion(**OPTIONS).fit(lazy))


@pytest.mark.parametrize("memory", [2**28, 3000])
def test_a_resumed_training_ends_with_the_same_bits(cubes, tmp_path, monkeypatch, memory):
    """Read as a whole or by blocks; with other cubes, or in another order, it is refused."""
    pytest.importorskip("dask")
    monkeypatch.setattr("skdiffuse.training.batches.MEMORY", memory)
    given, y = [cube.chunk(time=5) for cube in cubes], [1, 0, 2]
    options = OPTIONS | {
        "max_steps": 6,
        "training": TrainingSettings(validation_fraction=0.2),
    }
    straight = PrecipDiffusion(**options).fit(given, y)
    kept = {"checkpoint_dir": tmp_path, "warm_start": True}
    PrecipDiffusion(**options | kept | {"max_steps": 2}).fit(given, y)
    with pytest.raises(ValueError, match=r"another training \(data: "):
        PrecipDiffusion(**options | kept).fit(given[::-1], y)
    resumed = PrecipDiffusion(**options | kept).fit(given, y)
    assert resumed.n_iter_ == 6
    assert_same(straight, resumed)
    assert straight.history_[-1]["validation_loss"] == resumed.history_[-1]["validation_loss"]


def test_a_training_of_this_process_goes_on_with_further_cubes(cubes):
    model = PrecipDiffusion(**OPTIONS, warm_start=True).fit(cubes[:2])
    before = {name: tensor.clone() for name, tensor in weights(model).items()}
    model.set_params(max_steps=5).fit(cubes)
    assert model.n_iter_ == 5
    assert any((tensor != before[name]).any() for name, tensor in weights(model).items())


def test_validation_may_be_several_cubes_too(cubes):
    model = PrecipDiffusion(**OPTIONS).fit(cubes[:2], validation=cubes[2])
    both = PrecipDiffusion(**OPTIONS).fit(cubes[:2], validation=(cubes[2], cubes[2][:4]))
    assert_same(model, both)
    losses = [m.history_[-1]["validation_loss"] for m in (model, both)]
    assert np.isfinite(losses).all() and losses[0] != losses[1]
    with pytest.raises(ValueError, match=r"validation\[1\] has 1 frame"):
        PrecipDiffusion(**OPTIONS).fit(cubes, validation=[cubes[0], cubes[1][:1]])


def test_a_class_for_each_cube_is_followed(monkeypatch):
    """Rain of one rate in a wide cube, and of another in a small one."""
    # It has to learn.
    monkeypatch.undo()
    random = np.random.default_rng(0)
    weak = random.uniform(0.8, 1.2, (30, 2, 8, 8))
    strong = 9 * random.uniform(0.8, 1.2, (20, 2, 8, 10))
    model = PrecipDiffusion(
        **OPTIONS | {"max_steps": 60, "batch_size": 16},
        network=NetworkSettings(skip=None),
        training=TrainingSettings(learning_rate=1e-2, optimizer="adamw"),
    ).set_params(sampler__n_steps=12)
    model.fit([weak, strong], y=[0, 1])
    # The seeds are the same: a network that did not listen would give the same rain twice.
    low, high = (model.sample(6, y=label).mean() for label in (0, 1))
    assert high > low + 2
    with pytest.raises(ValueError, match="class from 0 to 1"):
        model.sample(1, y=2)


def test_geography_is_learnt_on_one_grid_only(cubes):
    cube = cubes[1]
    options = OPTIONS | {"max_steps": 1}
    same = [cube[:6], cube[8:]]
    assert PrecipDiffusion(**options).fit(same).model_.plan.field_shape == (12, 10)
    elsewhere = [cube, cube.assign_coords(x=cube.x + 1e5)]
    for other in (elsewhere, cubes[:2], [cube.values, cube.values]):
        assert PrecipDiffusion(**options).fit(other).model_.plan.field_shape is None
    wanted = PrecipDiffusion(**options, network=NetworkSettings(geography=True))
    assert wanted.fit([cube.values, cube.values]).model_.plan.field_shape == (12, 10)
    for other in (elsewhere, cubes[:2]):
        with pytest.raises(ValueError, match="cubes of X lie on several"):
            wanted.fit(other)


def test_rings_must_be_whole_in_every_cube(cubes):
    model = PrecipDiffusion(**OPTIONS, network=NetworkSettings(edges="periodic"))
    with pytest.raises(ValueError, match=r"X\[0\] has more cells there than another cube"):
        model.fit(cubes[:2])
