"""The amounts of every large service: made-up rain with true metadata comes back in mm/h."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, validate_cube, write_cube

LAT = [51.0, 50.75]
LON = [0.0, 0.25, 0.5]


def rain(n_times: int, seed: int = 0) -> np.ndarray:
    """Amounts of one step in mm, wet and dry, in sixteenths: exact in any packing."""
    rng = np.random.default_rng(seed)
    return np.round(np.maximum(rng.normal(1, 2, (n_times, 2, 3)), 0) * 16) / 16


def netcdf_like(
    amounts: np.ndarray, times: object, name: str = "tp", dim: str = "valid_time", **attrs: str
) -> xr.Dataset:
    """A dataset on a latitude-longitude grid."""
    return xr.Dataset(
        {name: ((dim, "latitude", "longitude"), amounts, attrs)},
        {
            dim: (dim, times, {"standard_name": "time"}),
            "latitude": ("latitude", LAT, {"units": "degrees_north"}),
            "longitude": (
                "longitude",
                LON,
                {"units": "degrees_east", "standard_name": "longitude"},
            ),
        },
    )


# Total precipitation in GRIB2: accumulated, at the surface.
TOTAL = {
    "productDefinitionTemplateNumber": 8, "discipline": 0, "parameterCategory": 1,
    "parameterNumber": 8, "typeOfStatisticalProcessing": 1, "typeOfFirstFixedSurface": 1,
    "indicatorOfUnitForTimeRange": 1,
}  # fmt: skip


GRIB1 = {"stepType": "accum"}


def at(reference: str) -> dict[str, int]:
    """Keys of a reference time."""
    time = pd.Timestamp(reference)
    return {"dataDate": int(f"{time:%Y%m%d}"), "dataTime": int(f"{time:%H%M}")}


def assert_rates(cube, expected, *, lead_step=None):
    """Every cell is right, whatever packing leaves; the metadata are those of a mean."""
    np.testing.assert_allclose(cube.values, expected, rtol=1e-6, atol=5e-6)
    assert cube.attrs["units"] == "mm h-1"
    assert cube.attrs["cell_methods"] == "time: mean"
    assert not any("accumulation" in str(key) for key in [*cube.attrs, *cube.coords])
    if lead_step is not None:
        assert cube[cube.dims[-3]].attrs["bounds_offset_hours"] == [-lead_step, 0.0]
    validate_cube(cube.fillna(0).compute())


# ERA5


def era5(amounts, start="2020-01-01T01", freq="h", **attrs):
    """tp as the Climate Data Store converts it from GRIB since 2024."""
    stated = {
        "GRIB_paramId": 228, "GRIB_dataType": "fc", "GRIB_stepType": "accum", "GRIB_stepUnits": 1,
        "GRIB_shortName": "tp", "long_name": "Total precipitation", "units": "m",
        "standard_name": "unknown",
    }  # fmt: skip
    times = pd.date_range(start, periods=len(amounts), freq=freq)
    return netcdf_like(np.asarray(amounts) / 1000, times, **{**stated, **attrs}).assign_coords(
        number=0, expver=("valid_time", ["0001"] * len(amounts))
    )


def series(*values):
    """The same amounts in all cells."""
    return np.array(values)[:, None, None] * np.ones((1, 2, 3))


def test_era5_hourly_amounts_of_the_climate_data_store():
    data = era5(series(1, 3, 2, 5, 4))
    with pytest.raises(ValueError, match=r"'tp'.*interval='1h'.*running_total=True.*step ranges"):
        open_cube(data)
    assert_rates(open_cube(data, interval="1h"), series(1, 3, 2, 5, 4))
    assert_rates(open_cube(data, interval="1h", running_total=False), series(1, 3, 2, 5, 4))
    with pytest.raises(ValueError, match="give one of them"):
        open_cube(data, interval="1h", running_total=True)


@pytest.mark.parametrize("chunks", [None, 3])
def test_hourly_amounts_are_no_running_totals(chunks):
    amounts = np.random.default_rng(0).gamma(0.5, 2, (12, 2, 3))
    data = era5(amounts) if chunks is None else era5(amounts).chunk(valid_time=chunks)
    with pytest.raises(ValueError, match=r"two times in succession.*interval='1h'"):
        open_cube(data, running_total=True).compute()
    with pytest.raises(ValueError, match=r"but they fall.*interval='1h'"):
        open_cube(data, running_total="1D").compute()


def test_era5_packed_by_the_old_climate_data_store(tmp_path):
    amounts = rain(5)
    times = pd.date_range("2020-01-01", periods=5, freq="h")
    data = netcdf_like(
        amounts / 1000, times, dim="time", units="m", long_name="Total precipitation"
    )
    packing = {"dtype": "i2", "scale_factor": 1 / 16000, "_FillValue": -32767}
    data.to_netcdf(tmp_path / "a.nc", encoding={"tp": packing})
    with pytest.raises(ValueError, match="interval='1h'"):
        open_cube(tmp_path / "a.nc")
    np.testing.assert_allclose(open_cube(tmp_path / "a.nc", interval="1h"), amounts, atol=1e-5)


@pytest.mark.parametrize("edition", [1, 2])
def test_era5_from_mars(grib, edition):
    """Each step has its own hour: step ranges 0-1, 1-2, ..."""
    amounts = rain(5)
    keys = {"centre": "ecmf", "dataType": "fc"} | (GRIB1 if edition == 1 else TOTAL)
    path = grib(
        [
            {**keys, **at("2020-01-01T06"), "shortName": "tp", "stepRange": f"{i}-{i + 1}"}
            | {"values": field / 1000}
            for i, field in enumerate(amounts)
        ],
        edition=edition,
    )  # fmt: skip
    cube = open_cube(path)
    assert_rates(cube, amounts, lead_step=1.0)
    assert str(cube.time.values[0])[:13] == "2020-01-01T07"


def test_era5_ensemble_and_monthly_means():
    assert_rates(open_cube(era5(series(3, 6), freq="3h"), interval="3h"), series(1, 2))
    # Monthly means of daily accumulations: m per day.
    assert_rates(open_cube(era5(series(24, 48), freq="MS"), interval="1D"), series(1, 2))


# ERA5-Land

LAND = [0, 0.5, 1.0, 0.8, 1.6, 2.4]  # mm from 22 UTC on


@pytest.mark.parametrize("chunks", [None, 1, 2])
@pytest.mark.parametrize("running_total", [True, "1D"])
def test_era5_land_counts_anew_each_day(running_total, chunks):
    data = era5(series(*LAND), start="2020-01-01T22")
    data = data if chunks is None else data.chunk(valid_time=chunks)
    cube = open_cube(data, running_total=running_total).compute()
    # What fell before 22 UTC, in how many hours, is not the rain of one.
    assert_rates(cube, series(np.nan, 0.5, 0.5, 0.8, 0.8, 0.8))


def test_era5_land_where_the_first_hour_exceeds_the_day_before():
    """Nothing falls at the new start, so that only the stated period can tell."""
    data = era5(series(0.2, 0.5, 1.0, 3.0, 3.0), start="2020-01-01T22")
    expected = series(np.nan, 0.3, 0.5, 3.0, 0.0)
    assert_rates(open_cube(data, running_total="1D"), expected, lead_step=1.0)


def test_era5_land_in_a_calendar_of_its_own():
    data = era5(series(*LAND))
    dates = xr.date_range("2000-02-28T22", periods=6, freq="h", calendar="noleap", use_cftime=True)
    cube = open_cube(data.assign_coords(valid_time=dates), running_total="1D")
    assert_rates(cube, series(np.nan, 0.5, 0.5, 0.8, 0.8, 0.8), lead_step=1.0)


def test_era5_land_from_mars(grib):
    """Step ranges 0-1, 0-2, ... since midnight."""
    amounts = rain(24)
    totals = np.cumsum(amounts, axis=0)
    path = grib(
        [
            {"shortName": "tp", **GRIB1, **at("2020-01-01"), "centre": "ecmf", "dataType": "fc"}
            | {"stepRange": f"0-{i + 1}", "values": field / 1000}
            for i, field in enumerate(totals)
        ],
        edition=1,
    )
    assert_rates(open_cube(path), amounts, lead_step=1.0)


def test_files_of_single_days_join(tmp_path):
    amounts = rain(48)
    totals = np.concatenate([np.cumsum(day, 0) for day in np.split(amounts, 2)])
    data = era5(totals)
    for part, name in ((slice(0, 20), "b"), (slice(20, 48), "a")):
        data.isel(valid_time=part).to_netcdf(tmp_path / f"{name}.nc")
    cube = open_cube(tmp_path / "*.nc", running_total="1D")
    assert_rates(cube, amounts, lead_step=1.0)


@pytest.mark.parametrize("seconds", [-0.4, 0.4, 1, -1])
def test_times_that_jitter_do_not_begin_new_totals(seconds):
    amounts = rain(30)
    totals = np.concatenate([np.cumsum(amounts[:24], 0), np.cumsum(amounts[24:], 0)])
    data = era5(totals)
    shifts = np.where(np.arange(30) % 2, 0, seconds * 1e9).astype("timedelta64[ns]")
    data = data.assign_coords(valid_time=data.valid_time.values + shifts)
    for running_total in ("1D", True):
        cube = open_cube(data, running_total=running_total)[1:]
        np.testing.assert_allclose(cube, amounts[1:], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("interval", [True, "now", "-1h", float("nan"), [1]])
def test_intervals_that_are_none_are_refused(interval):
    with pytest.raises(ValueError, match="interval must be"):
        open_cube(era5(series(1, 2)), interval=interval)


@pytest.mark.parametrize("period", ["7h", "2D", "soon", "-1h", 24])
def test_periods_that_do_not_divide_a_day_are_refused(period):
    with pytest.raises(ValueError, match=r"running_total must be True, False.*'1D', '6h'"):
        open_cube(era5(series(1, 2)), running_total=period)


def test_falls_within_packing_noise_are_no_new_start():
    totals = np.cumsum(rain(6) + 0.2, axis=0) + 10
    wavering = totals + np.where(np.arange(6) % 2, 0, 0.09)[:, None, None]
    cube = open_cube(era5(wavering), running_total=True)
    assert (cube[1:] < 12).all()
    np.testing.assert_allclose(cube[1:].sum("valid_time"), totals[-1] - totals[0], atol=0.6)


def test_a_fault_in_one_cell_is_no_new_start():
    """GFS v16 has totals that fall by some mm in single cells."""
    totals = np.cumsum(np.ones((6, 20, 20)), axis=0) + 50
    totals[3, 4, 5] -= 5
    data = xr.DataArray(
        totals, {"time": pd.date_range("2020", periods=6, freq="h")}, ("time", "y", "x"),
        name="tp", attrs={"units": "mm"},
    )  # fmt: skip
    cube = open_cube(data, running_total=True)
    assert float(cube.max()) == pytest.approx(6.0)
    assert float(cube[1:].min()) == 0.0


# Forecasts in GRIB


def test_ifs_counts_from_the_start_of_the_run(grib):
    amounts = rain(4)
    totals = np.cumsum(amounts, axis=0)
    keys = {**TOTAL, **at("2024-01-01T12"), "centre": "ecmf", "shortName": "tp"}
    path = grib(
        [
            {**keys, "stepRange": f"0-{3 * (i + 1)}", "values": field / 1000}
            for i, field in enumerate(totals)
        ]
    )
    cube = open_cube(path)
    assert_rates(cube, amounts / 3, lead_step=3.0)
    # An opened dataset has lost its step ranges.
    lost = xr.open_dataset(path, engine="cfgrib", backend_kwargs={"indexpath": ""})
    with pytest.raises(ValueError, match=r"reads the step ranges of GRIB files"):
        open_cube(lost)
    assert_rates(open_cube(lost, running_total=True), amounts / 3, lead_step=3.0)


def test_a_forecast_that_begins_late(grib):
    """The total of the first five days is not the rain of the last three hours of them."""
    totals = 100 + np.cumsum(rain(3), axis=0)
    path = grib(
        [
            {**TOTAL, **at("2024-01-01"), "shortName": "tp", "stepRange": f"0-{120 + 3 * i}"}
            | {"values": field / 1000}
            for i, field in enumerate(totals)
        ]
    )
    cube = open_cube(path)
    assert np.isnan(cube[0]).all()
    assert_rates(cube[1:], np.diff(totals, axis=0) / 3, lead_step=3.0)


def gfs_messages(amounts, with_run_total=False):
    """Three-hourly steps in buckets of six hours, and the total of the run beside them."""
    for i, field in enumerate(amounts):
        keys = {**TOTAL, **at("2024-01-01"), "centre": "kwbc"}
        start, end = 6 * (i // 2), 3 * (i + 1)
        bucket = amounts[2 * (i // 2) : i + 1].sum(axis=0)
        step = [{**keys, "stepRange": f"{start}-{end}", "values": bucket}]
        if with_run_total:
            step.append({**keys, "stepRange": f"0-{end}", "values": amounts[: i + 1].sum(axis=0)})
        yield step
        assert field is not None


def test_gfs_buckets(grib):
    amounts = rain(6)
    path = grib([m for step in gfs_messages(amounts) for m in step])
    assert_rates(open_cube(path), amounts / 3, lead_step=3.0)


def test_gfs_files_of_steps_that_hold_two_totals(grib, tmp_path):
    amounts = rain(6)
    steps = list(gfs_messages(amounts, with_run_total=True))
    paths = [grib(step, f"f{i:03d}.grib2") for i, step in enumerate(steps)]
    cube = open_cube(paths[::-1])
    assert_rates(cube, amounts / 3, lead_step=3.0)
    assert (cube.step / np.timedelta64(1, "h")).values.tolist() == [3, 6, 9, 12, 15, 18]
    with pytest.raises(ValueError, match=r"two totals for one time.*0-9 and 6-9.*grib_copy"):
        open_cube(grib([m for step in steps for m in step], "all.grib2"))


def test_gfs_as_a_data_server_converts_it():
    """Time bounds that share their beginning: 0-3, 0-6, 6-9, 6-12."""
    amounts = rain(4)
    buckets = np.stack([amounts[0], amounts[:2].sum(0), amounts[2], amounts[2:].sum(0)])
    times = pd.date_range("2024-01-01T03", periods=4, freq="3h")
    starts = pd.to_datetime(["2024-01-01T00"] * 2 + ["2024-01-01T06"] * 2)
    data = netcdf_like(
        buckets, times, "Total_precipitation_surface_Mixed_intervals_Accumulation", "time1",
        units="kg.m-2", cell_methods="time1: sum", Grib_Statistical_Interval_Type="Accumulation",
    )  # fmt: skip
    data["time1_bounds"] = (("time1", "ncell"), np.stack([starts, times], axis=1))
    data.time1.attrs["bounds"] = "time1_bounds"
    cube = open_cube(data)
    np.testing.assert_allclose(cube, amounts / 3, rtol=1e-6)
    assert cube.attrs["cell_methods"] == "time1: mean"
    assert cube.time1.attrs["bounds_offset_hours"] == [-3.0, 0.0]


def test_hrrr_files_hold_the_total_of_the_run_and_of_the_hour(grib):
    amounts = rain(3)
    paths = []
    for i in range(3):
        keys = {**TOTAL, **at("2024-01-01"), "centre": "kwbc"}
        hour = {**keys, "stepRange": f"{i}-{i + 1}", "values": amounts[i]}
        run = {**keys, "stepRange": f"0-{i + 1}", "values": amounts[: i + 1].sum(axis=0)}
        paths.append(grib([hour, run] if i % 2 else [run, hour], f"f{i}.grib2"))
    assert_rates(open_cube(paths), amounts, lead_step=1.0)


def test_hrrr_quarters_of_an_hour(grib):
    amounts = rain(4)
    path = grib(
        [
            {**TOTAL, **at("2024-01-01"), "centre": "kwbc", "indicatorOfUnitForTimeRange": 0}
            | {"stepRange": f"{15 * i}m-{15 * (i + 1)}m", "values": field}
            for i, field in enumerate(amounts)
        ]
    )
    assert_rates(open_cube(path), amounts * 4, lead_step=0.25)


@pytest.mark.parametrize("edition", [1, 2])
def test_arome_in_grib(grib, edition):
    amounts = rain(6)
    keys = {**at("2024-01-01T03"), "centre": "lfpw"} | (TOTAL if edition == 2 else GRIB1)
    path = grib(
        [
            {**keys, "shortName": "tp", "stepRange": f"0-{i + 1}", "values": field}
            for i, field in enumerate(np.cumsum(amounts, axis=0))
        ],
        edition=edition,
    )
    assert_rates(open_cube(path), amounts, lead_step=1.0)


@pytest.mark.parametrize("promoted", [False, True])
def test_arome_of_met_norway(promoted):
    """A total of the run whose start is a variable beside it, first frame at the start."""
    amounts = np.concatenate([np.zeros((1, 2, 3)), rain(5)])
    times = pd.date_range("2024-01-01", periods=6, freq="h")
    data = netcdf_like(
        np.cumsum(amounts, axis=0), times, "precipitation_amount_acc", "time",
        units="kg/m^2", standard_name="precipitation_amount",
        long_name="Accumulated total precipitation",
    ).assign(
        forecast_reference_time=((), times[0], {"standard_name": "forecast_reference_time"})
    )  # fmt: skip
    if promoted:
        data = data.set_coords("forecast_reference_time")
    with pytest.raises(ValueError, match="running_total=True"):
        open_cube(data)
    cube = open_cube(data, running_total=True)
    # At the start of the run nothing has had time to fall.
    assert_rates(cube, np.concatenate([np.full((1, 2, 3), np.nan), amounts[1:]]))


def test_runs_in_files_of_their_own(tmp_path):
    """The second run begins with more than the first one has in all: nothing falls."""
    amounts = np.concatenate([rain(3) / 16, rain(3) + 4])
    times = pd.date_range("2024-01-01T01", periods=6, freq="h")
    for i, part in enumerate((slice(0, 3), slice(3, 6))):
        totals = np.cumsum(amounts[part], axis=0)
        run = netcdf_like(totals, times[part], "precipitation_amount_acc", "time", units="kg/m^2")
        run["forecast_reference_time"] = times[part][0] - pd.Timedelta("1h")
        run.to_netcdf(tmp_path / f"run{i}.nc")
    assert_rates(open_cube(tmp_path / "run*.nc", running_total=True), amounts, lead_step=1.0)


# Satellites and radars


def test_imerg_half_hours(tmp_path):
    rates = rain(1)[0]
    data = xr.Dataset(
        {
            "precipitation": (
                ("time", "lon", "lat"), rates.T[None],
                {"units": "mm/hr", "_FillValue": np.float32(-9999.9)},
            ),
            "time_bnds": (("time", "nv"), [[0, 1800]]),
        },
        {
            "time": ("time", [0], {
                "units": "seconds since 2023-11-02 00:00:00", "calendar": "julian",
                "bounds": "time_bnds", "standard_name": "time", "axis": "T",
            }),
            "lon": ("lon", LON, {"units": "degrees_east"}),
            "lat": ("lat", LAT, {"units": "degrees_north"}),
        },
    )  # fmt: skip
    data.to_netcdf(tmp_path / "a.HDF5", group="Grid")
    cube = open_cube(tmp_path / "a.HDF5")
    np.testing.assert_allclose(cube[0], rates, rtol=1e-6)
    assert cube.dims == ("time", "lat", "lon")
    assert cube.time.attrs["bounds_offset_hours"] == [0.0, 0.5]
    # A rate is what it was.
    assert "cell_methods" not in cube.attrs


MRMS = {"centre": 161, "discipline": 209, "parameterCategory": 6}


@pytest.mark.parametrize(
    ("number", "hours"), [(1, 1), (2, 1), (6, 24), (37, 1), (31, 3), (45, 0.25), (11, 6)]
)
def test_mrms_products(grib, number, hours):
    field = np.array([[-3, -1, 0], [1.5, 24, 0.25]])
    keys = {**MRMS, **at("2024-01-01T06"), "parameterNumber": number}
    paths = [grib([{**keys, "values": field}])]
    paths.append(grib([{**keys, **at("2024-01-01T07"), "values": field}], "b.grib"))
    cube = open_cube(paths)
    expected = np.where(field < 0, np.nan, field) / hours
    np.testing.assert_allclose(cube, [expected, expected], rtol=1e-6)
    assert cube.attrs["units"] == "mm h-1"
    if number != 1:
        assert cube.attrs["cell_methods"] == "time: mean"
        assert cube.time.attrs["bounds_offset_hours"] == [-hours, 0.0]


def test_mrms_products_that_are_no_rain(grib):
    path = grib([{**MRMS, "parameterNumber": 0, "values": np.ones((2, 3))}])
    with pytest.raises(ValueError, match=r"numbers \['0'\].*not one of its rates and amounts"):
        open_cube(path)
    opened = xr.open_dataset(path, engine="cfgrib", backend_kwargs={"indexpath": ""})
    with pytest.raises(ValueError, match="open_cube knows those of MRMS"):
        open_cube(opened)


# CF


def daily(**attrs):
    times = pd.date_range("2020-01-01T12", periods=3)
    return netcdf_like(series(24, 48, 0), times, "rr", "time", units="mm", **attrs)


def test_the_interval_of_cell_methods_is_that_of_the_samples():
    data = daily(cell_methods="area: mean time: sum (interval: 1 hr)")
    with pytest.raises(ValueError, match="the spacing of what was summed, not the length"):
        open_cube(data)
    half = pd.Timedelta("12h")
    pairs = np.stack([data.time.values - half, data.time.values + half], axis=1)
    data["time_bnds"] = (("time", "bnds"), pairs)
    data.time.attrs["bounds"] = "time_bnds"
    cube = open_cube(data)
    np.testing.assert_allclose(cube, series(1, 2, 0))
    assert cube.attrs["cell_methods"] == "area: mean time: mean (interval: 1 hr)"
    assert cube.time.attrs["bounds_offset_hours"] == [-12.0, 12.0]


@pytest.mark.parametrize("interval", ["month", "1 month", "1 mon"])
def test_amounts_of_months(interval):
    data = daily(cell_methods="time: sum (interval: 1 mon)").isel(time=slice(0, 2))
    data = data.assign_coords(time=pd.to_datetime(["2020-02-15", "2020-03-15"]))
    with pytest.raises(ValueError, match="interval='1h'"):
        open_cube(data)
    cube = open_cube(data, interval=interval)
    np.testing.assert_allclose(cube, series(24 / 29 / 24, 48 / 31 / 24), rtol=1e-6)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "time: mean"),
        ("time: sum", "time: mean"),
        ("time: point", "time: mean"),
        ("area: mean", "area: mean time: mean"),
        ("area: time: sum", "area: time: mean"),
        ("time: maximum", "time: maximum"),
    ],
)
def test_rates_are_means_and_survive_writing(tmp_path, before, after):
    data = daily() if before is None else daily(cell_methods=before)
    cube = open_cube(data, interval="1D")
    assert cube.attrs["cell_methods"] == after
    write_cube(cube, tmp_path / "a.nc")
    again = open_cube(tmp_path / "a.nc")
    assert again.attrs["cell_methods"] == after
    np.testing.assert_array_equal(again, cube)


def test_sums_whose_units_tell_the_interval_are_means():
    cube = open_cube(daily(cell_methods="time: sum"), units="mm/day")
    np.testing.assert_allclose(cube, series(1, 2, 0), rtol=1e-6)
    assert cube.attrs["cell_methods"] == "time: mean"
    instant = daily(cell_methods="time: point")
    assert open_cube(instant, units="mm/h").attrs["cell_methods"] == "time: point"


def test_bounds_the_wrong_way_round_are_refused():
    data = daily()
    pairs = np.stack([data.time.values, data.time.values - np.timedelta64(1, "D")], axis=1)
    data["time_bnds"] = (("time", "bnds"), pairs)
    data.time.attrs["bounds"] = "time_bnds"
    with pytest.raises(ValueError, match="not longer than 0"):
        open_cube(data)


@pytest.mark.parametrize("units", ["mm", "mm h-1", "m s-1"])
def test_noise_below_zero_is_dry_and_codes_are_not(units):
    values = series(1e-7, -1e-20, -1e-9)
    data = netcdf_like(values, pd.date_range("2020", periods=3, freq="h"), "pr", units=units)
    cube = open_cube(data, interval="1h")
    assert (cube[1:] == 0).all()
    assert (cube[0] > 0).all()
    validate_cube(cube)
    for code in (-1, -3, -999):
        marked = netcdf_like(
            series(0.5, code), pd.date_range("2020", periods=2, freq="MS"), "pr", units="mm"
        )
        with pytest.raises(ValueError, match="negative precipitation"):
            validate_cube(open_cube(marked, interval="month"))


def test_a_rate_beside_an_amount_keeps_no_trace_of_it(grib):
    fields = rain(2)
    rate = {"discipline": 0, "parameterCategory": 1, "parameterNumber": 7}
    rate["typeOfFirstFixedSurface"] = 1
    path = grib(
        [
            {**keys, **at("2024-01-01"), "centre": "kwbc", "stepRange": steps, "values": field}
            for keys, ranges in ((TOTAL, ("0-1", "1-2")), (rate, ("1", "2")))
            for steps, field in zip(ranges, fields, strict=True)
        ]
    )
    cube = open_cube(path, variable="prate")
    np.testing.assert_allclose(cube, 3600 * fields, rtol=1e-6)
    assert "accumulation_start" not in cube.coords
    assert_rates(open_cube(path, variable="tp"), fields, lead_step=1.0)


def test_grib_without_a_range_asks(grib):
    """GRIB1 with a single step says when a total ends and not when it began."""
    messages = [
        {"shortName": "tp", **GRIB1, **at("2020-01-01"), "stepRange": str(step), "values": field}
        for step, field in ((3, rain(1)[0]), (6, rain(1)[0]))
    ]
    with pytest.raises(ValueError, match="interval='1h'"):
        open_cube(grib(messages, edition=1))


def test_one_total_of_an_unknown_run_is_refused():
    with pytest.raises(ValueError, match=r"one time alone.*interval='6h'"):
        open_cube(era5(series(1)), running_total=True)


def test_a_damaged_grib_file(grib):
    path = grib([{**TOTAL, **at("2024-01-01"), "stepRange": "0-1", "values": rain(1)[0]}] * 2)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        open_cube(path)
