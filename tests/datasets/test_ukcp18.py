import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import lat_lon, open_cube, validate_cube
from skdiffuse.datasets import made_up_ukcp18, prepare_ukcp18


def test_the_real_2p2km_file(real_data):
    (path,) = real_data.glob("metadata_samples/*moose_pr_grid.nc")
    rain = prepare_ukcp18(path)
    assert rain.shape == (2, 64, 64)
    spacing = np.diff(rain.grid_latitude).mean() * np.pi / 180 * 6371.229
    assert spacing == pytest.approx(8.8, rel=0.02)
    lat, lon = lat_lon(rain)
    # The four cells about the centre surround Birmingham (within a cell).
    assert lat[31:33, 31:33].mean() == pytest.approx(52.48, abs=0.08)
    assert lon[31:33, 31:33].mean() == pytest.approx(-1.90, abs=0.13)
    # 563 km about Birmingham is England and Wales: Anglesey, Kent and the Lizard's latitude.
    assert lat.min() < 50.1
    assert lat.max() > 54.9
    cube = validate_cube(rain.compute())
    assert cube.template.calendar == "360_day"
    assert cube.time_step == 86400


def test_the_coarse_file_gives_the_same(real_data):
    (fine,) = real_data.glob("metadata_samples/*moose_pr_grid.nc")
    (coarse,) = real_data.glob("metadata_samples/*coarsened*")
    a, b = prepare_ukcp18(fine), prepare_ukcp18(coarse, coarsening=1)
    np.testing.assert_allclose(a.grid_longitude, b.grid_longitude, atol=1e-4)
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)


def test_a_made_up_month_from_files(tmp_path):
    """A month in two files, as they come, lazily."""
    month = made_up_ukcp18(n_hours=48, member=1)
    for day in range(2):
        month.isel(time=slice(24 * day, 24 * day + 24)).to_netcdf(tmp_path / f"day{day}.nc")
    rain = prepare_ukcp18(tmp_path / "day*.nc", member=1)
    assert rain.chunks is not None
    assert rain.shape == (48, 64, 64)
    assert rain.time.values[0].isoformat() == "1980-12-01T00:30:00"
    cube = validate_cube(rain.compute(), n_frames=10)
    assert cube.time_step == 3600
    # The mean of 4 x 4 cells of the raw file, by hand (rows differ in area by 1e-4 at most).
    raw = open_cube(month).values
    where = int(np.argmin(abs(month.grid_latitude.values - rain.grid_latitude.values[0])))
    first = where - where % 4
    column = int(np.argmin(abs(month.grid_longitude.values - rain.grid_longitude.values[0])))
    column -= column % 4
    by_hand = raw[:, first : first + 4, column : column + 4].mean((1, 2))
    np.testing.assert_allclose(rain[:, 0, 0], by_hand, rtol=1e-3, atol=1e-5)


def test_seasons_and_members():
    days = xr.date_range("1980-12-15", periods=100, calendar="360_day", use_cftime=True)
    month = made_up_ukcp18(n_hours=100).drop_vars("time_bnds").assign_coords(time=days)
    winter = prepare_ukcp18(month, seasons=["DJF"])
    assert winter.sizes["time"] == 76
    assert set(winter.time.dt.month.values) == {12, 1, 2}
    with pytest.raises(ValueError, match="none of the seasons"):
        prepare_ukcp18(month, seasons=["JJA"])
    with pytest.raises(ValueError, match="must be a list"):
        prepare_ukcp18(month, seasons="DJF")
    both = xr.concat([month, month.assign_coords(ensemble_member=[7])], "ensemble_member")
    with pytest.raises(ValueError, match=r"2 members \[4, 7\]"):
        prepare_ukcp18(both)
    assert prepare_ukcp18(both, member=7).ensemble_member == 7
    with pytest.raises(ValueError, match="not among the members"):
        prepare_ukcp18(both, member=5)


def test_somewhere_else():
    month = made_up_ukcp18(n_hours=1)
    assert prepare_ukcp18(month, centre=(52, -2), size=(8, 12), coarsening=2).shape == (1, 8, 12)
    with pytest.raises(ValueError, match="beyond the domain"):
        prepare_ukcp18(month, centre=(57, -5))
