"""A stored small model draws what it drew when its numbers were stored.

Weights and numbers were made before the estimator was put together from parts: whatever is moved,
nothing that is drawn may change. Other processors round differently in the last bits.
"""

from pathlib import Path

import numpy as np
import pytest

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.networks import VideoUNet, WienerSkip

DATA = Path(__file__).parent / "data"


def small_network(*, power, prior, n_frames, n_covariates, **options):
    size = {"width": 16, "multipliers": (1, 2), "patch_size": 2}
    return WienerSkip(VideoUNet(**size, **options, in_channels=2, out_channels=3), power)


@pytest.fixture(scope="module")
def drawn():
    model = PrecipDiffusion.load(DATA / "small_model.safetensors", network=small_network)
    cube = make_precipitation(n_frames=40, shape=(16, 16), random_state=0)
    x = cube.values[:6].astype("float32")
    mask = np.random.default_rng(0).random(x.shape) < 0.5
    coarse = cube[:4].coarsen(y=4, x=4).mean()
    return {
        "sample": model.sample(2, random_state=1),
        "sample_tiled": model.sample(1, shape=(24, 20), tile_size=16, random_state=1),
        "impute": model.impute(x, mask, w_r=1e6, random_state=2),
        "impute_replacement": model.impute(x, mask, method="replacement", random_state=2),
        "forecast": model.forecast(cube[:3], 3, n_members=2, random_state=3),
        "interpolate": model.interpolate(cube[:3], 2, random_state=4),
        "downscale": model.downscale(coarse, 4, random_state=5),
        "simulate": model.simulate(7, random_state=6),
        "score_samples": model.score_samples(cube[:8]),
    }


@pytest.fixture(scope="module")
def stored():
    with np.load(DATA / "small_model_bits.npz") as file:
        return dict(file)


def test_all_verbs_are_compared(drawn, stored):
    assert set(drawn) == set(stored)


@pytest.mark.parametrize(
    "verb",
    ["sample", "sample_tiled", "impute", "impute_replacement", "forecast", "interpolate",
     "downscale", "simulate", "score_samples"],
)  # fmt: skip
def test_verb(drawn, stored, verb):
    np.testing.assert_allclose(np.asarray(drawn[verb]), stored[verb], rtol=1e-3, atol=1e-3)
