"""Masks against cubes, told by what xarray itself says of each cell."""

import itertools

import cftime
import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import align_like

TIMES = np.array(["2000-01-01T00", "2000-01-01T01"], dtype="datetime64[ns]")


@pytest.fixture
def rain():
    return xr.DataArray(
        np.random.default_rng(0).random((2, 3, 4)),
        dims=("time", "north", "east"),
        coords={"time": TIMES, "north": [30.0, 10.0, 20.0], "east": [3, 1, 2, 0]},
    )


def cell_by_cell(mask, rain):
    """The mask at the labels of every cell of the rain."""
    expected = np.empty(rain.shape, dtype=mask.dtype)
    for index in np.ndindex(rain.shape):
        labels = {dim: rain[dim].values[i] for dim, i in zip(rain.dims, index, strict=True)}
        here = {dim: label for dim, label in labels.items() if dim in mask.dims}
        expected[index] = mask.sel(here).item()
    return expected


@pytest.mark.parametrize("dims", list(itertools.permutations(("time", "north", "east"))))
def test_names_and_not_places_count(rain, dims):
    mask = (rain > 0.5).transpose(*dims)
    np.testing.assert_array_equal(align_like(mask, rain), (rain > 0.5).values)


@pytest.mark.parametrize("dims", [("north",), ("east", "time"), ("east", "north"), ()])
def test_what_lacks_is_broadcast(rain, dims):
    mask = rain.max([dim for dim in rain.dims if dim not in dims]).transpose(*dims) > 0.9
    aligned = align_like(mask, rain)
    assert aligned.dtype == bool
    np.testing.assert_array_equal(aligned, cell_by_cell(mask, rain))


@pytest.mark.parametrize("dim", ["time", "north", "east"])
def test_labels_count_in_whatever_order(rain, dim):
    mask = rain > 0.5
    backwards = {dim: slice(None, None, -1)}
    for other in (mask.sortby(dim), mask.sortby(dim, ascending=False), mask.isel(backwards)):
        np.testing.assert_array_equal(align_like(other, rain), mask.values)
        np.testing.assert_array_equal(align_like(other, rain), cell_by_cell(other, rain))


def test_calendars_of_their_own(rain):
    days = [cftime.Datetime360Day(2000, 2, day) for day in (30, 29)]
    rain = rain.assign_coords(time=days)
    mask = (rain > 0.5).isel(time=[1, 0])
    np.testing.assert_array_equal(align_like(mask, rain), (rain > 0.5).values)
    with pytest.raises(ValueError, match=r"mask has other labels along 'time' than X"):
        align_like(mask.assign_coords(time=TIMES), rain)


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: mask.isel(north=[0, 1]),
        lambda mask: mask.isel(north=[0, 1, 1]),
        lambda mask: mask.assign_coords(north=[30.0, 10.0, 21.0]),
        lambda mask: xr.concat([mask, mask.assign_coords(north=[1.0, 2.0, 3.0])], "north"),
    ],
)
def test_other_labels_are_refused(rain, change):
    match = r"hidden has other labels along 'north' than X: .* 3 from 30.0 to 20.0; give those of X"
    with pytest.raises(ValueError, match=match):
        align_like(change(rain > 0.5), rain, "hidden")


def test_other_dimensions_are_refused(rain):
    with pytest.raises(ValueError, match=r"mask has the dimensions .*\['member'\] are none of X"):
        align_like((rain > 0.5).expand_dims(member=2), rain)


def test_without_labels_the_lengths_count(rain):
    bare = rain.drop_vars(["north", "east"])
    mask = rain.transpose("east", "north", "time") > 0.5
    for one, other in ((mask, bare), (mask.drop_vars(["north", "east"]), rain)):
        np.testing.assert_array_equal(align_like(one, other), (rain > 0.5).values)
    with pytest.raises(ValueError, match="mask has 2 entries along 'north' and X has 3"):
        align_like(mask.isel(north=[0, 1]), bare)


def test_equal_labels_may_repeat(rain):
    rain = rain.assign_coords(time=TIMES[[0, 0]])
    np.testing.assert_array_equal(align_like(rain > 0.5, rain), (rain > 0.5).values)


def test_longitudes_and_latitudes_of_cells_are_compared(rain):
    lat = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("north", "east"))
    rain = rain.drop_vars(["north", "east"]).assign_coords(lat=lat)
    mask = rain > 0.5
    np.testing.assert_array_equal(align_like(mask.T, rain), mask.values)
    with pytest.raises(ValueError, match="mask has other values of the coordinate 'lat' than X"):
        align_like(mask.isel(north=slice(None, None, -1)), rain)


def test_plain_arrays_go_by_shape(rain):
    frames = np.array([True, False])[:, None, None]
    expected = np.stack([np.ones((3, 4), bool), np.zeros((3, 4), bool)])
    for X in (rain, rain.values):
        np.testing.assert_array_equal(align_like(frames, X), expected)
    named = xr.DataArray(expected, dims=("a", "b", "c"))
    np.testing.assert_array_equal(align_like(named, rain.values), expected)
    with pytest.raises(ValueError, match=r"mask of shape \(2,\) does not fit X of shape \(2, 3, 4"):
        align_like([True, False], rain)


def test_a_lazy_cube_is_not_read(rain):
    pytest.importorskip("dask")

    def refuse(block):
        raise AssertionError("a block was read")

    lazy = xr.apply_ufunc(
        refuse, rain.chunk(time=1), dask="parallelized", output_dtypes=[rain.dtype]
    )
    mask = (rain > 0.5).transpose("east", "time", "north")
    np.testing.assert_array_equal(align_like(mask, lazy), (rain > 0.5).values)
