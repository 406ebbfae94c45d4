"""Indices and files of CORDEX-ML-Bench, against plain loops over cells and years."""

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import cordex_prediction
from skdiffuse.metrics import cordex_diagnostics, cordex_indices


@pytest.fixture(scope="module")
def daily():
    """Two cubes of three years of daily rain in mm/h, half of the days dry."""
    rng = np.random.default_rng(0)
    days = xr.date_range("1981-01-01", "1983-12-31")
    rain = rng.gamma(0.5, 0.3, size=(2, len(days), 5, 6)) * (rng.random((2, len(days), 5, 6)) < 0.5)
    place = {"time": days, "y": np.arange(5.0), "x": np.arange(6.0)}
    return [xr.DataArray(X, place, ("time", "y", "x"), attrs={"units": "mm h-1"}) for X in rain]


def runs(flags):
    longest = length = 0
    for flag in flags:
        length = length + 1 if flag else 0
        longest = max(longest, length)
    return longest


def by_loops(amounts, years):
    """The indices of one cell, as their definitions say."""
    each = [amounts[years == year] for year in np.unique(years)]
    wet = [day for day in amounts if day >= 1.0]
    return {
        "mean": np.mean(amounts),
        "quantile": np.quantile(amounts, 0.98),
        "rx1day": np.mean([max(year) for year in each]),
        "sdii": np.mean(wet),
        "cdd": np.mean([runs(year < 1.0) for year in each]),
        "cwd": np.mean([runs(year >= 1.0) for year in each]),
        "lag1_corr": np.corrcoef(amounts[1:], amounts[:-1])[0, 1],
        "interannual_var": np.std([np.mean(year) for year in each]),
    }


@pytest.mark.parametrize(("season", "months"), [(None, range(1, 13)), ("summer", (6, 7, 8))])
def test_indices_by_loops(daily, season, months):
    found = cordex_indices(daily[0], season=season)
    chosen = np.isin(daily[0].time.dt.month, months)
    years = daily[0].time.dt.year.values[chosen]
    for y, x in ((0, 0), (4, 5), (2, 3)):
        expected = by_loops(24 * daily[0].values[chosen, y, x], years)
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert found[name].dims == ("y", "x")
            assert float(found[name][y, x]) == pytest.approx(value, rel=1e-9), name


def test_hours_become_days_of_any_calendar():
    rng = np.random.default_rng(1)
    hours = xr.date_range("1981-02-28", periods=96, freq="h", calendar="360_day", use_cftime=True)
    rain = rng.gamma(0.5, size=(96, 2, 3))
    cube = xr.DataArray(rain, {"time": hours}, ("time", "y", "x"))
    found = cordex_indices(cube)
    np.testing.assert_allclose(found["mean"], rain.reshape(4, 24, 2, 3).sum(axis=1).mean(axis=0))
    with pytest.raises(ValueError, match="X has 1 days of other than 24 frames"):
        cordex_indices(cube[:-1])


def test_diagnostics(daily):
    obs, sim = daily
    found = cordex_diagnostics(obs, sim)
    a, b = cordex_indices(obs), cordex_indices(sim)
    np.testing.assert_allclose(found["bias_rx1day"], b["rx1day"].values - a["rx1day"].values)
    np.testing.assert_allclose(found["ratio_sdii"], b["sdii"].values / a["sdii"].values)
    error = np.sqrt(np.mean((24 * (sim.values - obs.values)) ** 2, axis=0))
    np.testing.assert_allclose(found["rmse"], error)
    assert found["PSD_x0"].dims == ("wavenumber",)
    power = np.mean([np.abs(np.fft.fftshift(np.fft.fft2(24 * f))) ** 2 for f in obs.values], axis=0)
    rings = {}
    for y in range(5):
        for x in range(6):
            rings.setdefault(int(np.hypot(y - 2, x - 2.5)), []).append(power[y, x])
    np.testing.assert_allclose(found["PSD_x0"], [np.mean(rings[r]) for r in sorted(rings)])
    decibels = 10 * np.log10(found["PSD_x0"].values / found["PSD_x1"].values)
    assert float(found["ralsd"]) == pytest.approx(np.sqrt(np.mean(decibels**2)))
    same = cordex_diagnostics(obs, obs)
    assert float(same["ralsd"]) == 0 == float(same["wasserstein_distance"])


def test_spectra_of_scaled_rain_differ_by_its_decibels(daily):
    year = daily[0][:365]
    found = cordex_diagnostics(year, 3 * year)
    assert float(found["ralsd"]) == pytest.approx(20 * np.log10(3))


def test_other_days_have_no_rmse(daily):
    assert "rmse" not in cordex_diagnostics(daily[0], daily[1][:-5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.values, "must be a DataArray"),
        (lambda X: X.drop_vars("time"), "with times"),
        (lambda X: X[::7], "hours apart, of which no days can be made"),
    ],
)
def test_what_has_no_days(change, message, daily):
    with pytest.raises(ValueError, match=message):
        cordex_indices(change(daily[0]))


def test_bad_seasons_and_members(daily):
    with pytest.raises(ValueError, match=r"season must be one of .*; got 'monsoon'"):
        cordex_indices(daily[0], season="monsoon")
    with pytest.raises(ValueError, match="no day of 'summer'"):
        cordex_indices(daily[0][:30], season="summer")
    with pytest.raises(ValueError, match="Compare members one by one"):
        cordex_diagnostics(daily[0], daily[1].expand_dims("realization"))


def test_a_submission_is_what_the_benchmark_takes(daily, tmp_path):
    members = xr.concat([daily[0]] * 10, "realization")
    lat, lon = np.linspace(-45, -40, 5), np.linspace(170, 175, 6)
    template = xr.Dataset(
        {"pr": (("time", "lat", "lon"), np.zeros((1, 5, 6)), {"units": "mm", "long_name": "rain"})},
        {"lat": lat, "lon": lon},
    )
    made = cordex_prediction(
        members, "NZ", template=template, tasmax=300 + members, attributes={"institution_id": "X"}
    )
    made.to_netcdf(tmp_path / "Predictions_pr_tasmax_ACCESS-CM2_1981-2000.nc")
    with xr.open_dataset(next(tmp_path.iterdir())) as again:
        assert again["pr"].dims == again["tasmax"].dims == ("member", "time", "lat", "lon")
        assert again.sizes["member"] == 10 and again.attrs["project_id"] == "CORDEX"
        assert again["pr"].attrs["long_name"] == "rain"
        np.testing.assert_array_equal(again["lat"], lat)
        np.testing.assert_allclose(again["pr"][3], 24 * daily[0].values, rtol=1e-6)
        np.testing.assert_array_equal(again["time"], daily[0]["time"])


@pytest.mark.parametrize(
    ("change", "domain", "message"),
    [
        (lambda X: X, "EUR", "domain must be one of .*; got 'EUR'"),
        (lambda X: X.drop_vars("time"), "SA", "must have times"),
        (lambda X: X[0], "SA", "dimensions|shape"),
    ],
)
def test_bad_submissions(change, domain, message, daily):
    with pytest.raises(ValueError, match=message):
        cordex_prediction(change(daily[0]), domain)


def test_what_does_not_fit_the_benchmark_is_said(daily):
    template = xr.Dataset({"pr": (("y", "x"), np.zeros((9, 6)))})
    with pytest.raises(ValueError, match=r"template has a grid of \(9, 6\) cells"):
        cordex_prediction(daily[0], "ALPS", template=template)
    hours = daily[0][:6].assign_coords(time=xr.date_range("1981-01-01", periods=6, freq="h"))
    with pytest.raises(ValueError, match="must be daily"):
        cordex_prediction(hours, "ALPS")
    with pytest.warns(UserWarning, match="rain has 2 members; the benchmark asks for 10"):
        cordex_prediction(xr.concat(daily, "realization"), "ALPS")
