"""The contract that every transform of rain keeps."""

import pickle

import joblib
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdiffuse.preprocessing import (
    PHYSICAL_LIMIT,
    BoxCoxTransform,
    CubeRootTransform,
    IdentityTransform,
    LearntMonotoneTransform,
    LogTransform,
    NormalScoreTransform,
    SqrtTransform,
)

EVERY = [
    BoxCoxTransform(),
    CubeRootTransform(),
    IdentityTransform(),
    LearntMonotoneTransform(max_iter=3),
    LogTransform(),
    NormalScoreTransform(),
    SqrtTransform(),
]
COUNT = 8  # transforms in the `fitted` fixture
ROUND_TRIP = {np.float64: 1e-12, np.float32: 1e-6, np.float16: 2e-3}

# All orders of magnitude down to the smallest subnormal, and the heavy end evenly.
RATES = st.one_of(
    st.just(0.0),
    st.floats(5e-324, 500.0, allow_subnormal=True),
    st.floats(-323.0, 2.69).map(lambda exponent: 10.0**exponent),
)
each_transform = pytest.mark.parametrize("k", range(COUNT))


def cube(values, dtype=np.float64):
    return np.array(values, dtype=dtype).reshape(1, 1, -1)


@parametrize_with_checks(EVERY)
def test_sklearn_battery(estimator, check):
    check(estimator)


def test_no_tag_switches_the_battery_off():
    for transform in EVERY:
        tags = transform.__sklearn_tags__()
        assert tags.input_tags.two_d_array and not tags.no_validation and not tags._skip_test


@each_transform
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=40, deadline=None)
@given(values=st.lists(RATES, min_size=1, max_size=50))
def test_inverse_undoes_forward(fitted, k, dtype, values):
    x = cube(values, dtype)
    z = fitted[k].transform(x)
    back = fitted[k].inverse_transform(z)
    assert z.dtype == back.dtype == dtype
    # A relative error has no meaning below the smallest normal number.
    allowed = ROUND_TRIP[dtype] * x.astype(np.float64) + np.finfo(dtype).tiny
    assert (np.abs(back.astype(np.float64) - x) <= allowed).all()
    assert back.min() >= 0.0
    assert (back[x == 0.0] == 0.0).all()


@each_transform
def test_float16_keeps_its_digits(fitted, k):
    x = cube(np.geomspace(1e-3, 500.0, 400), np.float16)
    z = fitted[k].transform(x)
    back = fitted[k].inverse_transform(z).astype(np.float64)
    # What rounding the latent to half precision allows, and the final rounding.
    exact = fitted[k].inverse_transform(z.astype(np.float64))
    assert z.dtype == np.float16
    np.testing.assert_allclose(back, exact, rtol=2.0**-10)


@each_transform
@settings(max_examples=40, deadline=None)
@given(values=st.lists(RATES, min_size=2, max_size=50))
def test_strictly_increasing(fitted, k, values):
    x = np.unique(values)
    x = x[x > np.finfo(np.float64).tiny]
    keep = np.concatenate([[True], np.diff(x) > 1e-9 * x[1:]]) if x.size else []
    x = cube(np.concatenate([[0.0], x[keep]]))
    assert (np.diff(fitted[k].transform(x)[0, 0]) > 0).all()


@each_transform
@settings(max_examples=40, deadline=None)
@given(values=st.lists(RATES, min_size=1, max_size=30), seed=st.integers(0, 2**31))
def test_each_element_on_its_own(fitted, k, values, seed):
    x = cube(values)
    order = np.random.default_rng(seed).permutation(x.size)
    z = fitted[k].transform(x)
    # The processor's vector and scalar paths may round the last bit differently.
    shuffled = fitted[k].transform(x[..., order])
    np.testing.assert_allclose(shuffled, z[..., order], rtol=1e-15)
    reshaped = fitted[k].transform(x.reshape(1, -1, 1, 1))
    np.testing.assert_allclose(reshaped.ravel(), z.ravel(), rtol=1e-15)


@each_transform
@settings(max_examples=40, deadline=None)
@given(latent=st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=30))
def test_any_latent_gives_possible_rain(fitted, k, latent):
    back = fitted[k].inverse_transform(cube(latent))
    assert np.isfinite(back).all()
    assert back.min() >= 0.0 and back.max() <= PHYSICAL_LIMIT
    order = np.argsort(latent)
    assert (np.diff(back[0, 0, order]) >= 0).all()


@each_transform
def test_jacobian_is_the_derivative(fitted, k):
    transform = fitted[k]
    x = np.geomspace(1e-3, 400.0, 997)
    nodes = getattr(transform, "rate_nodes_", np.array([0.1]))
    step = 1e-6 * x
    clear = np.array(
        [(np.abs(nodes - value) > 2 * width).all() for value, width in zip(x, step, strict=True)]
    )
    x, step = x[clear], step[clear]
    difference = transform.transform(cube(x + step)) - transform.transform(cube(x - step))
    slope = transform.derivative(cube(x))
    np.testing.assert_allclose(slope.ravel(), difference.ravel() / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(
        transform.log_jacobian(cube(x)), np.log(slope), rtol=1e-9, atol=1e-12
    )
    tensor = torch.from_numpy(cube(x)).requires_grad_()
    transform.transform(tensor).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), slope, rtol=1e-9)


@each_transform
def test_inverse_is_differentiable(fitted, k):
    x = torch.from_numpy(cube(np.geomspace(1e-2, 300.0, 101)))
    z = fitted[k].transform(x).requires_grad_()
    fitted[k].inverse_transform(z).sum().backward()
    slope = fitted[k].derivative(x)
    np.testing.assert_allclose((z.grad * slope).numpy(), 1.0, rtol=1e-6)


@each_transform
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_missing_and_dtype_pass_through(fitted, k, dtype):
    x = cube([0.5, np.nan, 0.0, 20.0], dtype)
    for verb in ("transform", "inverse_transform", "derivative", "log_jacobian"):
        out = getattr(fitted[k], verb)(x)
        assert out.dtype == dtype and out.shape == x.shape
        assert np.isnan(out[0, 0, 1])
        double = getattr(fitted[k], verb)(x.astype(np.float64))[0, 0, [0, 3]]
        np.testing.assert_allclose(out[0, 0, [0, 3]], double, rtol=4 * np.finfo(dtype).eps)


@each_transform
def test_tensors_arrays_and_cubes_agree(fitted, k, rain):
    x = rain[:3].astype(np.float32)
    expected = fitted[k].transform(x)
    tensor = fitted[k].transform(torch.from_numpy(x))
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), expected)
    labelled = xr.DataArray(
        x,
        dims=("time", "y", "x"),
        coords={"time": np.arange(3)},
        attrs={"units": "mm h-1", "standard_name": "rainfall_rate", "grid_mapping": "crs"},
    )
    for data in (labelled, labelled.chunk({"y": 16})):
        z = fitted[k].transform(data)
        assert (z.chunks is None) == (data.chunks is None)
        assert z.dims == data.dims and z.attrs == {"grid_mapping": "crs"}
        np.testing.assert_array_equal(z.values, expected)
        back = fitted[k].inverse_transform(z)
        assert back.attrs["units"] == "mm h-1"
        np.testing.assert_allclose(back.values, x, rtol=1e-6)
    assert labelled.attrs["units"] == "mm h-1"


@each_transform
def test_bfloat16_tensors(fitted, k):
    x = torch.tensor([[0.0, 1.0, 30.0]], dtype=torch.bfloat16)
    z = fitted[k].transform(x[None])
    assert z.dtype == torch.bfloat16
    torch.testing.assert_close(fitted[k].inverse_transform(z), x[None], rtol=0.1, atol=0)


@each_transform
def test_memory_order_and_read_only_input(fitted, k, rain, tmp_path):
    path = tmp_path / "rain.npy"
    np.save(path, rain)
    mapped = np.load(path, mmap_mode="r")
    expected = fitted[k].transform(rain)
    np.testing.assert_array_equal(fitted[k].transform(mapped), expected)
    np.testing.assert_array_equal(fitted[k].transform(rain[:, ::2, ::-1]), expected[:, ::2, ::-1])
    np.testing.assert_array_equal(fitted[k].transform(rain.T), expected.T)
    np.testing.assert_array_equal(np.load(path), rain)


@each_transform
def test_pickle_clone_and_html(fitted, k, rain):
    copy = pickle.loads(pickle.dumps(fitted[k]))
    np.testing.assert_array_equal(copy.transform(rain), fitted[k].transform(rain))
    assert clone(fitted[k]).get_params() == fitted[k].get_params()
    assert type(fitted[k]).__name__ in estimator_html_repr(fitted[k])


def test_joblib_memory_maps(rain, tmp_path):
    # What joblib hands to parallel workers: data and estimator as read-only maps.
    joblib.dump((rain, LearntMonotoneTransform(max_iter=2).fit(rain)), tmp_path / "job")
    mapped, transform = joblib.load(tmp_path / "job", mmap_mode="r")
    assert not mapped.flags.writeable and not transform.rate_nodes_.flags.writeable
    out = transform.inverse_transform(transform.fit(mapped).transform(mapped))
    np.testing.assert_allclose(out, rain, rtol=1e-12)


@pytest.mark.parametrize("verb", ["fit", "transform", "derivative", "log_jacobian"])
def test_negative_rain_is_refused_beside_missing(verb):
    x = np.array([[[np.nan, -1.0, 2.0]]])
    with pytest.raises(ValueError, match=r"Negative values .* X has -1.*clip"):
        getattr(SqrtTransform(), verb)(x)
    cube = xr.DataArray(x, dims=("time", "y", "x"))
    with pytest.raises(ValueError, match="Negative values"):
        getattr(SqrtTransform(), verb)(cube)
    with pytest.raises(ValueError, match="Negative values"):
        SqrtTransform().fit(cube.chunk()).transform(cube.chunk()).compute()


@pytest.mark.parametrize("verb", ["fit", "transform", "inverse_transform"])
def test_infinity_is_refused(verb):
    with pytest.raises(ValueError, match="infinity"):
        getattr(SqrtTransform(), verb)(np.array([[[np.inf, 1.0]]]))


def test_one_dimension_is_refused():
    with pytest.raises(ValueError, match="2D array"):
        SqrtTransform().fit(np.ones(3))
    with pytest.raises(ValueError, match="expand_dims"):
        SqrtTransform().fit(xr.DataArray(np.ones(3), dims="x"))


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("value", [0.0, np.nan, 3.0])
def test_constant_and_missing_fields(transform, value):
    x = np.full((2, 4, 4), value, dtype=np.float32)
    z = clone(transform).fit_transform(x)
    back = clone(transform).fit(x).inverse_transform(z)
    np.testing.assert_allclose(back, x, rtol=1e-6)


def test_integers_become_float64():
    assert SqrtTransform().transform(np.array([[4, 9]])).dtype == np.float64


def test_grid_search_over_transformers(rain):
    x = rain[:, 10:14, 10]
    pipeline = make_pipeline(SqrtTransform(), KernelDensity())
    candidates = [SqrtTransform(), LogTransform(), LogTransform(offset=0.001)]
    search = GridSearchCV(pipeline, {"sqrttransform": candidates}, cv=2, refit=False).fit(x)
    by_hand = [
        cross_val_score(make_pipeline(t, KernelDensity()), x, cv=2).mean() for t in candidates
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], by_hand)
    assert len(set(by_hand)) == 3


def test_names_of_columns():
    x = np.ones((3, 2))
    assert SqrtTransform().fit(x).get_feature_names_out(["a", "b"]).tolist() == ["a", "b"]


def test_labelled_tables_have_two_dimensions_and_not_one():
    table = xr.DataArray([[0.0, 4.0], [9.0, 1.0]], dims=("time", "place"))
    np.testing.assert_array_equal(SqrtTransform().fit_transform(table), [[0, 2], [3, 1]])
    with pytest.raises(ValueError, match=r"at least 2 dimensions.*got \('time',\)"):
        SqrtTransform().fit(table[:, 0])
