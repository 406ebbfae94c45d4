import cftime
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiffuse.cubes import GridMetadata, dress, validate_cube


@pytest.fixture
def rain():
    """A rotated-pole cube of a 360-day year with every kind of coordinate."""
    times = [cftime.Datetime360Day(2000, 2, 30, h) for h in range(6)]
    rlat, rlon = np.linspace(-1, 1, 4, dtype="f4"), np.linspace(358, 360, 5)
    return xr.DataArray(
        np.ones((6, 4, 5), dtype="f4"),
        dims=("time", "grid_latitude", "grid_longitude"),
        coords={
            "time": ("time", times, {"axis": "T"}),
            "grid_latitude": ("grid_latitude", rlat, {"units": "degrees", "axis": "Y"}),
            "grid_longitude": ("grid_longitude", rlon, {"units": "degrees", "axis": "X"}),
            "latitude": (("grid_latitude", "grid_longitude"), rlat[:, None] + 0.01 * rlon),
            "forecast_period": ("time", np.arange(6)),
            "crs": ((), 0, {"grid_mapping_name": "rotated_latitude_longitude"}),
            "ensemble_member": ((), 1),
            "began": ((), cftime.Datetime360Day(1980, 12, 1)),
        },
        name="pr",
        attrs={"long_name": "rain", "history": "made", "units": "mm/h"},
    )


def test_numpy_in_numpy_out():
    values = np.zeros((3, 2, 2))
    assert dress(values, validate_cube(values).template, time="continued") is values


def test_same_is_the_input_itself(rain):
    back = dress(rain.values, validate_cube(rain).template)
    xr.testing.assert_identical(back, rain.assign_attrs(units="mm h-1"))
    assert np.shares_memory(back.values, rain.values)


def test_ensemble_and_history(rain):
    many = dress(np.zeros((3, *rain.shape)), validate_cube(rain).template, history="imputed")
    assert many.dims == ("realization", *rain.dims)
    assert many.realization.values.tolist() == [0, 1, 2]
    assert many.attrs["history"] == "imputed\nmade"
    assert many.attrs["units"] == "mm h-1"
    xr.testing.assert_identical(
        many.isel(realization=0, drop=True).coords.to_dataset(), rain.coords.to_dataset()
    )


def test_sequences_keep_their_dimension(rain):
    sequences = xr.concat([rain, rain], dim="season").assign_coords(season=["DJF", "MAM"])
    template = validate_cube(sequences).template
    xr.testing.assert_identical(
        dress(sequences.values, template), sequences.assign_attrs(units="mm h-1")
    )
    assert dress(np.zeros((3, *sequences.shape)), template).dims[:2] == ("realization", "season")
    assert dress(np.zeros((3, 6, 4, 5)), template, time="elapsed").dims[0] == "realization"
    members = sequences.rename(season="realization")
    twice = dress(np.zeros((3, *members.shape)), validate_cube(members).template)
    assert twice.dims[:2] == ("realization_2", "realization")


def test_continued(rain):
    forecast = dress(np.zeros((2, 3, 4, 5)), validate_cube(rain).template, time="continued")
    assert forecast.time.values.tolist() == [
        cftime.Datetime360Day(2000, 2, 30, h) for h in (6, 7, 8)
    ]
    np.testing.assert_array_equal(forecast.lead_time / np.timedelta64(1, "h"), [1, 2, 3])
    assert forecast.forecast_reference_time.item() == rain.time.values[-1]
    # A coordinate along the old times says nothing about the new ones.
    assert "forecast_period" not in forecast.coords
    xr.testing.assert_identical(forecast.crs.variable, rain.crs.variable)


def test_refined(rain):
    fine = dress(np.zeros((11, 4, 5)), validate_cube(rain).template, time="refined", factor=2)
    assert fine.time.values[1] == cftime.Datetime360Day(2000, 2, 30, 0, 30)
    np.testing.assert_array_equal(fine.time.values[::2], rain.time.values)
    with pytest.raises(ValueError, match="do not fit coordinate 'time'"):
        dress(np.zeros((12, 4, 5)), validate_cube(rain).template, time="refined", factor=2)


def test_elapsed_on_the_full_grid_and_on_another(rain):
    template = validate_cube(rain).template
    full = dress(np.zeros((2, 3, 4, 5)), template, time="elapsed")
    np.testing.assert_array_equal(full.time / np.timedelta64(1, "h"), [0, 1, 2])
    assert {"grid_latitude", "latitude", "crs"} <= set(full.coords)
    other = dress(np.zeros((2, 3, 8, 8)), template, time="elapsed")
    assert set(other.coords) == {"realization", "time", "grid_latitude", "grid_longitude"}
    np.testing.assert_allclose(other.grid_longitude, np.arange(8) * 0.5)
    assert other.grid_longitude.attrs["units"] == "degrees"
    assert "standard_name" not in other.grid_longitude.attrs


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_refined_cells_average_to_the_old_ones(rain, factor):
    values = np.zeros((6, 4 * factor, 5 * factor))
    fine = dress(values, validate_cube(rain).template, space_factor=factor)
    window = {"grid_latitude": factor, "grid_longitude": factor}
    coarse = fine.coarsen(window).mean()
    for name in ("grid_latitude", "grid_longitude", "latitude"):
        np.testing.assert_allclose(coarse[name], rain[name], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.zeros((6, 4)), np.zeros((1, 1, 6, 4, 5)), np.zeros((7, 4, 5))])
def test_shape_that_does_not_fit(rain, bad):
    with pytest.raises(ValueError, match="do not fit"):
        dress(bad, validate_cube(rain).template)


def test_without_coordinates():
    bare = xr.DataArray(np.zeros((3, 4, 5)), dims=("t", "j", "i"))
    template = validate_cube(bare).template
    for time, shape in [("same", (3, 4, 5)), ("continued", (2, 4, 5)), ("elapsed", (9, 8, 8))]:
        out = dress(np.zeros(shape), template, time=time)
        assert out.dims == bare.dims
        assert not out.coords


def test_json_keeps_the_grid(rain):
    template = validate_cube(rain).template
    back = GridMetadata.from_json(template.to_json())
    assert (back.dims, back.name, back.time_step, back.calendar) == (
        rain.dims,
        "pr",
        3600.0,
        "360_day",
    )
    xr.testing.assert_identical(back.spatial_coords, template.spatial_coords)
    for time, shape in [("elapsed", (2, 3, 4, 5)), ("elapsed", (2, 3, 8, 9))]:
        xr.testing.assert_identical(
            dress(np.zeros(shape), back, time=time), dress(np.zeros(shape), template, time=time)
        )


@settings(max_examples=60)
@given(st.data())
def test_json_is_exact_for_any_coordinate(data):
    dtype = data.draw(st.sampled_from(["f4", "f8", "i4", "i8", "U3", "M8[ns]", "m8[s]", "S2"]))
    elements = {
        "f": st.floats(allow_nan=False, width=32),
        "i": st.integers(-(2**31), 2**31 - 1),
        "U": st.text(max_size=3, alphabet="abc é"),
        "S": st.sampled_from([b"a", b"bc"]),
        "M": st.integers(-(10**18), 10**18),
        "m": st.integers(-(10**9), 10**9),
    }[np.dtype(dtype).kind]
    values = np.array(data.draw(st.lists(elements, min_size=4, max_size=4))).astype(dtype)
    rain = xr.DataArray(
        np.zeros((1, 4, 1)), dims=("time", "y", "x"), coords={"other": ("y", values)}
    )
    template = GridMetadata.of(rain)
    back = GridMetadata.from_json(template.to_json())
    xr.testing.assert_identical(back.spatial_coords, template.spatial_coords)
    assert back.coords.other.dtype == template.coords.other.dtype
