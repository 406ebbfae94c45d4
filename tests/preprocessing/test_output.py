"""set_output: names for arrays, tables for tables; scikit-learn's own checks run besides."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiffuse import DiffusionPipeline, PrecipDiffusion
from skdiffuse.preprocessing import (
    BoxCoxTransform,
    DryCellTransform,
    LearntMonotoneTransform,
    NormalScoreTransform,
    SqrtTransform,
)

EVERY = [
    SqrtTransform(),
    BoxCoxTransform(),
    NormalScoreTransform(),
    LearntMonotoneTransform(max_iter=2, random_state=0),
    DryCellTransform(SqrtTransform(), random_state=0),
]
RAIN = np.random.default_rng(0).gamma(0.5, 2.0, size=(5, 4, 3))
NAMED = xr.DataArray(
    RAIN,
    {"lat": ("lat", [50.0, 51, 52, 53]), "time": ("time", np.arange(5)), "height": ((), 2.0)},
    ("time", "lat", "lon"),
)


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
class TestEveryTransform:
    def test_names_of_what_was_fitted(self, transform):
        plain = clone(transform).fit(NAMED)
        named = clone(transform).set_output(transform="xarray").fit(NAMED)
        found = named.transform(RAIN[:2])
        assert found.dims == ("time", "lat", "lon")
        np.testing.assert_array_equal(found.values, plain.transform(RAIN[:2]))
        np.testing.assert_array_equal(found.lat, NAMED.lat)
        # Other times than those fitted to have other labels, which nobody knows.
        assert set(found.coords) == {"lat"}
        assert set(named.transform(RAIN[:, :2]).coords) == set()

    def test_names_without_any(self, transform):
        named = clone(transform).set_output(transform="xarray")
        assert named.fit_transform(RAIN).dims == ("time", "y", "x")
        assert named.fit_transform(RAIN[None]).dims == ("sample", "time", "y", "x")
        assert named.fit_transform(RAIN[0]).dims == ("y", "x")
        # What has names keeps them, and a tensor in a training step stays one.
        assert named.transform(NAMED).dims == NAMED.dims
        assert set(named.transform(NAMED).coords) == {"lat", "time", "height"}
        assert type(named.transform(torch.from_numpy(RAIN))) is torch.Tensor

    def test_survives_a_clone_and_goes_back(self, transform):
        named = clone(clone(transform).set_output(transform="xarray"))
        assert isinstance(named.fit_transform(RAIN), xr.DataArray)
        assert isinstance(named.set_output(transform=None).transform(RAIN), xr.DataArray)
        assert isinstance(named.set_output(transform="default").transform(RAIN), np.ndarray)

    def test_tables(self, transform):
        table = pd.DataFrame(RAIN[0], columns=list("abc"), index=list("wxyz"))
        found = clone(transform).set_output(transform="pandas").fit_transform(table)
        assert list(found.columns) == list("abc") and list(found.index) == list("wxyz")
        np.testing.assert_array_equal(found.values, clone(transform).fit_transform(table))
        with pytest.raises(ValueError, match=r"makes tables, and X .*set_output.*xarray"):
            clone(transform).set_output(transform="pandas").fit_transform(RAIN)

    def test_asked_of_all_estimators(self, transform):
        with config_context(transform_output="xarray"):
            assert clone(transform).fit_transform(RAIN).dims == ("time", "y", "x")
        with config_context(transform_output="pandas"):
            assert isinstance(clone(transform).fit_transform(RAIN[0]), pd.DataFrame)
            assert isinstance(clone(transform).fit_transform(RAIN), np.ndarray)


def test_what_is_refused():
    with pytest.raises(ValueError, match="transform='numpy' must be one of"):
        SqrtTransform().set_output(transform="numpy")


def test_in_pipelines():
    pipeline = make_pipeline(SqrtTransform()).set_output(transform="xarray")
    assert pipeline.fit_transform(RAIN).dims == ("time", "y", "x")
    tables = make_pipeline(SqrtTransform(), StandardScaler()).set_output(transform="pandas")
    assert isinstance(tables.fit_transform(RAIN[0]), pd.DataFrame)
    model = PrecipDiffusion(None, n_frames=2, max_steps=1, verbose=False, random_state=0)
    rain = np.tile(RAIN[:4, :, :, None], (1, 2, 1, 8))[:, :, 0]
    pipeline = DiffusionPipeline([("root", SqrtTransform()), ("model", model)])
    pipeline.set_output(transform="xarray").fit(rain)
    assert pipeline["model"].template_.dims == ("time", "y", "x")
    assert pipeline.sample(1, n_steps=2).shape[1:] == (2, 8, 8)
