"""Real files of many sources; the expected numbers are those of their README, made elsewhere."""

import re

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import open_cube, validate_cube, write_cube

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def table(folder):
    """Rows of the README's table: name, shape, minutes of a step, first and last time, ..."""
    for line in (folder / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 10 and cells[0].endswith(".nc"):
            yield cells


NAMES = [
    "arome_fc_NW", "arome_fc_SE", "fmi_radar_2km_5min_2016", "fmi_radar_2km_5min_2017", "knmi",
    "mch_radar_2km_5min_2015", "mch_radar_2km_5min_2016", "mch_radar_2km_5min_2017",
    "midwest", "mountain", "west_4km",
]  # fmt: skip


@pytest.mark.parametrize("part", NAMES)
def test_statistics_agree_with_the_readme(real_data, part):
    (row,) = [cells for cells in table(real_data) if part in cells[0]]
    name, _, shape, step, span, valid, wet, _, dry, mean, largest, quantiles = row[:12]
    cube = open_cube(real_data / name)
    assert cube.dims == ("time", "y", "x")
    assert cube.shape == tuple(int(n) for n in shape.split("x"))
    assert cube.attrs["units"] == "mm h-1"
    assert validate_cube(cube).time_step == 60 * float(step.split()[0])
    first, last = (np.datetime64(t.strip()) for t in span.split(".."))
    assert cube.time.values[[0, -1]].tolist() == np.array([first, last], "M8[ns]").tolist()
    assert cube.coords["crs"].attrs["grid_mapping_name"]
    assert {"lat", "lon"} <= set(cube.coords)
    values = cube.values
    rain = values[np.isfinite(values)].astype(np.float64)
    assert rain.size / values.size == pytest.approx(float(valid), abs=5e-4)
    assert np.mean(rain >= 0.1) == pytest.approx(float(wet), abs=5e-4)
    assert np.mean(rain == 0) == pytest.approx(float(dry), abs=5e-4)
    assert rain.mean() == pytest.approx(float(mean), abs=5e-4)
    assert rain.max() == pytest.approx(float(largest), rel=1e-2)
    levels = [float(q) for q in quantiles.split(",")]
    np.testing.assert_allclose(np.quantile(rain, [0.5, 0.9, 0.99, 0.999]), levels, rtol=5e-3)


# shape, calendar, axis label, minutes of a step, largest value in mm/h from the raw file
SAMPLES = {
    "ukcp18_cpm_2p2km_uk": ((2, 654, 532), "360_day", [-12.0, 12.0], 1440, 3600),
    "ukcp18_cpm_2p2km-coarsened": ((2, 163, 133), "360_day", [-12.0, 12.0], 1440, 3600),
    "ukcp18_gcm": ((1, 324, 432), "360_day", None, None, 3600),
    "hirham": ((4, 190, 174), None, None, 1440, None),
    "cordex": ((1825, 3, 4), "noleap", [-12.0, 12.0], 1440, 3600),
    "cmip6": ((12, 4, 5), "360_day", [-360.0, 360.0], 43200, 3600),
    "improver": ((1, 200, 200), "proleptic_gregorian", None, None, 3.6e6),
}


@pytest.mark.parametrize("part", SAMPLES)
def test_climate_model_samples(real_data, part):
    (path,) = (real_data / "metadata_samples").glob(f"{part}*")
    shape, calendar, offset, minutes, factor = SAMPLES[part]
    cube = open_cube(path)
    assert cube.shape == shape
    assert cube.attrs["units"] == "mm h-1"
    checked = validate_cube(cube.compute())
    if calendar:
        assert checked.template.calendar == calendar
    if offset:
        assert cube.coords[cube.dims[0]].attrs["bounds_offset_hours"] == offset
    if minutes:
        assert checked.time_step == 60 * minutes
    if factor:
        raw = xr.open_dataset(path, decode_times=False)[cube.name].values
        raw = np.where(raw < 1e30, raw, np.nan)
        np.testing.assert_allclose(cube.values.squeeze(), (raw * factor).squeeze(), rtol=1e-6)


def test_ukcp18_statistics_agree_with_the_readme(real_data):
    (path,) = (real_data / "metadata_samples").glob("*moose_pr_grid.nc")
    row = re.search(
        r"max ([\d.]+), q0.5/0.9/0.99/0.999 = ([\d./]+), wet ([\d.]+)",
        (real_data / "README.md").read_text(),
    )
    cube = open_cube(path)
    values = cube.values
    assert values.max() == pytest.approx(float(row[1]), abs=5e-3)
    np.testing.assert_allclose(
        np.quantile(values, [0.5, 0.9, 0.99, 0.999]),
        [float(q) for q in row[2].split("/")],
        atol=5e-4,
    )
    assert np.mean(values >= 0.1) == pytest.approx(float(row[3]), abs=5e-4)
    pole = cube.coords["rotated_latitude_longitude"].attrs
    assert pole["grid_north_pole_latitude"] == 37.5
    assert int(cube.realization) == 1100000


def test_every_file_survives_writing(real_data, tmp_path):
    paths = [*real_data.glob("metadata_samples/*.nc"), *real_data.glob("knmi*.nc")]
    assert len(paths) == 8
    for path in paths:
        cube = open_cube(path).compute()
        write_cube(cube, tmp_path / "copy.nc")
        xr.testing.assert_identical(open_cube(tmp_path / "copy.nc").compute(), cube)


def test_split_file_opens_as_one(real_data, tmp_path):
    (path,) = real_data.glob("knmi*.nc")
    whole = open_cube(path).compute()
    # Names in another order than times.
    for part, name in enumerate("cab"):
        write_cube(whole.isel(time=slice(30 * part, 30 * part + 30)), tmp_path / f"{name}.nc")
    joined = open_cube(tmp_path / "*.nc")
    xr.testing.assert_identical(joined.compute(), whole.isel(time=slice(90)))


def test_grib_running_total(real_data):
    pytest.importorskip("cfgrib")
    path = real_data / "originals" / "arpege_PRECIP_NW_20180501000000.grib"
    raw = xr.open_dataset(path, engine="cfgrib", backend_kwargs={"indexpath": ""}).tp.values
    cube = open_cube(path)
    assert cube.dims == ("time", "latitude", "longitude")
    assert cube.attrs["units"] == "mm h-1"
    assert not any(key.startswith("GRIB") for key in cube.attrs)
    assert str(cube.time.values[0]) == "2018-05-01T01:00:00.000000000"
    # Hourly amounts add up to the total, except for the falls of one packing quantum.
    np.testing.assert_allclose(cube.sum("time"), raw[-1], atol=0.05)
    np.testing.assert_allclose(cube.isel(time=0), raw[0])
