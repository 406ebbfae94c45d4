"""A model of two stages in a file: the same bits, and nothing else taken for one."""

import numpy as np
import pytest
import torch

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings
from skdiffuse.datasets import make_precipitation
from skdiffuse.estimator.two_stage import TwoStageDiffusion
from skdiffuse.networks import VideoUNet
from skdiffuse.training.checkpoints import read_tensors, write_tensors

pytestmark = pytest.mark.usefixtures("global_generators_stay_untouched")

OPTIONS = {
    "n_frames": 2,
    "max_steps": 1,
    "sampler": SamplerSettings(n_steps=2),
    "random_state": 0,
    "verbose": False,
}


def small(**options):
    taken = ("in_channels", "out_channels", "n_covariates", "n_labels", "edges")
    return VideoUNet(8, (1, 2), patch_size=2, **{k: v for k, v in options.items() if k in taken})


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(8, (8, 8), random_state=0)


def first_stage(**options):
    return PrecipDiffusion(corruption="masking", **OPTIONS, **options)


@pytest.fixture(scope="module")
def model(cube):
    return TwoStageDiffusion(first_stage(), random_state=3).fit(cube)


@pytest.fixture(scope="module")
def independent(cube):
    return TwoStageDiffusion(first_stage(), "independent", random_state=3).fit(cube)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("which", ["model", "independent"])
def test_a_file_gives_back_the_same_bits(which, cube, path, request):
    model = request.getfixturevalue(which)
    model.save(path)
    read = TwoStageDiffusion.load(path)
    for name in ("edges", "shares", "scale", "shape"):
        np.testing.assert_array_equal(getattr(read.rates_, name), getattr(model.rates_, name))
    assert read.random_state == 3 and read.classes_.n_iter_ == 1
    assert read.classes.get_params()["n_frames"] == 2
    assert read.sample(2).identical(model.sample(2).assign_attrs(read.sample(2).attrs))
    known = np.random.default_rng(0).random(cube[:2].shape) < 0.5
    np.testing.assert_array_equal(read.impute(cube[:2], known), model.impute(cube[:2], known))
    np.testing.assert_array_equal(read.score_samples(cube[:2]), model.score_samples(cube[:2]))
    again = path.with_name("again.safetensors")
    read.save(again)
    tensors, others = read_tensors(path)[0], read_tensors(again)[0]
    assert tensors.keys() == others.keys()
    assert all(tensors[name].equal(others[name]) for name in tensors)


def test_a_loaded_model_can_be_fitted_anew(independent, cube, path):
    independent.save(path)
    read = TwoStageDiffusion.load(path)
    assert read.intensities == "independent"
    np.testing.assert_array_equal(read.fit(cube).sample(1), independent.sample(1))


def test_each_class_names_the_other_for_its_files(independent, path):
    independent.save(path)
    with pytest.raises(
        ValueError,
        match=r"holds a TwoStageDiffusion, not a PrecipDiffusion: read "
        r"it with TwoStageDiffusion\.load",
    ):
        PrecipDiffusion.load(path)
    independent.classes_.save(path)
    with pytest.raises(ValueError, match=r"read it with PrecipDiffusion\.load"):
        TwoStageDiffusion.load(path)
    write_tensors(path, {}, {"step": 3})
    with pytest.raises(ValueError, match="no model, but a checkpoint"):
        TwoStageDiffusion.load(path)
    with pytest.raises(FileNotFoundError):
        TwoStageDiffusion.load(path.with_name("none"))


def without(name):
    return lambda tensors, content: content.pop(name)


def with_rates(**numbers):
    return lambda tensors, content: content["rates"].update(numbers)


def with_tensor(name, change):
    def made(tensors, content):
        tensors[name] = change(tensors[name])

    return made


HOSTILE = {
    "no format": without("format"),
    "no stage": without("classes"),
    "no rates": without("rates"),
    "no second stage": without("intensities"),
    "first stage is none": lambda tensors, content: content.update(classes=None),
    "stage is a list": lambda tensors, content: content.update(classes=[1]),
    "stage is a name": lambda tensors, content: content.update(intensities="os.system"),
    "other class": lambda tensors, content: content["classes"]["corruption"].update(
        {"class": "GaussianCorruption", "parameters": {}}
    ),
    "seed is text": lambda tensors, content: content.update(random_state="1"),
    "scale is negative": with_rates(scale=-1.0),
    "scale is nan": with_rates(scale=float("nan")),
    "scale is text": with_rates(scale=[]),
    "shape is infinite": with_rates(shape=float("inf")),
    "shares are nan": with_tensor("rates.shares", lambda x: x * torch.nan),
    "shares of others": with_tensor("rates.shares", lambda x: x[:, 1:]),
    "shares are no law": with_tensor("rates.shares", lambda x: 2 * x),
    "edges of others": with_tensor("rates.edges", lambda x: 2 * x),
    "no edges": lambda tensors, content: tensors.pop("rates.edges"),
    "huge windows": lambda tensors, content: content["classes"].update(n_frames=10**9),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_what_is_made_by_hand_is_refused_in_plain_words(change, independent, path):
    """With the right checksum, which anybody can compute."""
    independent.save(path)
    tensors, content = read_tensors(path)
    change(tensors, content)
    write_tensors(path, tensors, content)
    with pytest.raises(ValueError, match="model"):
        TwoStageDiffusion.load(path)


def test_a_damaged_file_and_one_of_a_newer_version(independent, path):
    independent.save(path)
    tensors, content = read_tensors(path)
    write_tensors(path, tensors, content | {"format": 99})
    with pytest.raises(ValueError, match="newer than this"):
        TwoStageDiffusion.load(path)
    independent.save(path)
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        TwoStageDiffusion.load(path)
    whole[-5] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="damaged"):
        TwoStageDiffusion.load(path)


def test_objects_of_ones_own_are_asked_for_by_their_stage(cube, path):
    network = NetworkSettings(small, skip=None)
    model = TwoStageDiffusion(first_stage(network=network), "independent", random_state=3)
    model.fit(cube).save(path)
    with pytest.raises(ValueError, match=r"stage 'classes' .*classes=\{'network': \.\.\.\}"):
        TwoStageDiffusion.load(path)
    read = TwoStageDiffusion.load(path, classes={"network": small})
    np.testing.assert_array_equal(read.sample(1), model.sample(1))
    for wrong in ({"net": small}, small):
        with pytest.raises(ValueError, match=r"classes=.* must hold objects by the names"):
            TwoStageDiffusion.load(path, classes=wrong)


def test_nothing_is_saved_before_fit(path):
    with pytest.raises(ValueError, match="not fitted"):
        TwoStageDiffusion().save(path)
    assert not path.exists()
