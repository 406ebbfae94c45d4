import csv
import io
import json

import numpy as np
import pytest

from skdiffuse import metrics
from skdiffuse.plotting import evaluation_report


@pytest.fixture(scope="module")
def rain():
    rng = np.random.default_rng(0)
    strength = rng.gamma(2.0, size=(120, 1, 1, 1))
    X = strength * rng.gamma(0.3, size=(120, 4, 12, 12))
    return X[:40], X[40:80], X[80:]


def test_scores_are_those_of_the_functions(rain):
    obs, sim, _ = rain
    card = {e.score: e for e in metrics.scorecard(obs, {"m": 1.3 * sim}, n_resamples=20)}
    for name, function, tolerance in (
        ("mean_bias", metrics.mean_bias, 1e-9),
        ("wet_fraction_bias", metrics.wet_fraction_bias, 1e-9),
        ("jensen_shannon_divergence", metrics.jensen_shannon_divergence, 1e-9),
        ("perkins_skill_score", metrics.perkins_skill_score, 1e-9),
        ("map_error", metrics.map_error, 1e-9),
        ("log_spectral_distance", metrics.log_spectral_distance, 1e-6),
        ("power_deficit", metrics.power_deficit, 1e-6),
    ):
        assert card[name].value == pytest.approx(function(obs, 1.3 * sim), rel=tolerance), name
    assert card["quantile_error"].value == pytest.approx(
        metrics.quantile_error(obs, 1.3 * sim, metrics.extreme_quantile_levels(obs.size // 10)),
        rel=0.05,
    )


def test_a_wrong_model_is_caught_and_a_right_one_is_not(rain):
    obs, good, other = rain
    bad = other.mean() + 0.7 * (other - other.mean())  # half the variance
    card = metrics.scorecard(obs, {"good": good}, baselines={"bad": bad}, n_resamples=200)
    p = {(e.simulation, e.score): e.p_value for e in card}
    # The variance of rain is in its spectra, extremes and distribution, not in its mean.
    for score in ("jensen_shannon_divergence", "perkins_skill_score", "wet_fraction_bias"):
        assert p["bad", score] < 0.05
    assert p["bad", "mean_bias"] > 0.05
    assert sum(p["good", e.score] < 0.05 for e in card if e.simulation == "good") <= 1
    versus = {e.score: e.versus["bad"] for e in card if e.simulation == "good"}
    assert versus["jensen_shannon_divergence"] == "better"
    assert "worse" not in versus.values()


def test_series_are_cut_and_grids_are_checked(rain):
    obs, sim, _ = rain
    series = obs.reshape(-1, 12, 12)
    cut = metrics.scorecard(series, {"m": sim}, n_resamples=10)
    whole = metrics.scorecard(obs, {"m": sim}, n_resamples=10)
    assert [e.value for e in cut] == pytest.approx([e.value for e in whole])
    with pytest.raises(ValueError, match=r"\(12, 12\) in obs and \(12, 11\) in m"):
        metrics.scorecard(obs, {"m": sim[..., :-1]})
    with pytest.raises(ValueError, match="repeated"):
        metrics.scorecard(obs, {"m": sim}, baselines={"m": sim})
    with pytest.raises(ValueError, match="too few blocks"):
        metrics.scorecard(obs[:1], {"m": sim})


def test_lazy_cubes_are_scored_as_those_in_memory(rain, monkeypatch):
    da = pytest.importorskip("dask.array")
    from skdiffuse.metrics import arrays

    obs, sim, _ = rain
    monkeypatch.setattr(arrays, "BLOCK_CELLS", 3 * obs[0].size)
    whole = metrics.scorecard(obs, {"m": sim}, n_resamples=10)
    lazy = da.from_array(obs.reshape(-1, 12, 12), chunks=(7, 12, 5))
    parts = metrics.scorecard(
        lazy, {"m": da.from_array(sim, chunks=(4, 3, 12, 12))}, n_resamples=10
    )
    assert [e.value for e in parts] == pytest.approx([e.value for e in whole])


def test_dry_and_missing_cubes_do_not_break_it(rain):
    obs, sim, _ = rain
    holes = obs.copy()
    holes[:, :, :2, :2] = np.nan
    entries = metrics.scorecard(holes, {"dry": 0 * sim}, n_resamples=10)
    values = {e.score: e for e in entries}
    assert values["mean_bias"].value == -1
    assert values["log_spectral_distance"].reading.startswith("undefined")


def test_report_is_one_page_with_json_and_csv(rain, tmp_path):
    xr = pytest.importorskip("xarray")
    obs, sim, other = rain
    cube = xr.DataArray(
        obs.reshape(160, 12, 12).astype("float32"),
        dims=("time", "y", "x"),
        coords={
            "time": xr.date_range(
                "2000-01-01", periods=160, freq="h", calendar="360_day", use_cftime=True
            )
        },
        attrs={"units": "mm h-1"},
    )
    result = evaluation_report(
        cube,
        {"model <1>": sim},
        tmp_path / "report.html",
        baselines={"other": other},
        cards={"model <1>": {"parameters": "a & b"}},
        n_resamples=10,
        n_frames=4,
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 4 and page.count("data:image/gif") == 1
    assert "model &lt;1&gt;" in page and "a &amp; b" in page and "360_day" in page
    assert (
        "vs other" in page and "http" not in page.split("</style>")[1].replace("base64", "")[:2000]
    )
    scores = json.loads((tmp_path / "report.json").read_text())["scores"]
    assert len(scores) == 20 == len(result.entries)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert len(rows) == 20 and rows[0]["baseline"] == "other"
    assert float(rows[0]["value"]) == pytest.approx(scores[0]["value"])


def test_report_of_a_file_with_weights_is_that_of_repetitions(rain, tmp_path):
    xr = pytest.importorskip("xarray")
    from skdiffuse.cubes import write_cube

    obs, sim, _ = (X.astype("float32") for X in rain)
    times = np.arange(40) % 4
    cube = xr.DataArray(
        sim,
        {
            "weight": ("realization", times),
            "time": xr.date_range("2000-01-01", periods=4, freq="h"),
            "y": np.arange(12.0),
            "x": np.arange(12.0),
        },
        ("realization", "time", "y", "x"),
        name="precipitation_rate",
        attrs={"units": "mm h-1"},
    )
    write_cube(cube, tmp_path / "sim.nc")
    options = {"n_resamples": 10, "animation": False}
    found = evaluation_report(obs, tmp_path / "sim.nc", **options)
    often = evaluation_report(obs, {"sim": np.repeat(sim, times, axis=0)}, **options)
    assert [e.value for e in found.entries] == pytest.approx([e.value for e in often.entries])
    assert found.entries[0].n_eff == pytest.approx(times.sum() ** 2 / np.sum(times**2))
    page = found.page.to_html()
    assert "Their weights leave 26 effective ones" in page
    mean = f"{np.repeat(sim, times, axis=0).mean():.3g}"
    assert f">{mean}<" in page and json.loads(found.to_json())["scores"][0]["n_eff"] > 25


def test_report_reads_files(rain, tmp_path):
    xr = pytest.importorskip("xarray")
    for name, X in zip(("obs", "sim"), rain, strict=False):
        xr.DataArray(
            X.reshape(160, 12, 12),
            dims=("time", "y", "x"),
            coords={"time": xr.date_range("2000-01-01", periods=160, freq="h")},
            name="precipitation_rate",
            attrs={"units": "mm h-1"},
        ).to_netcdf(tmp_path / f"{name}.nc")
    result = evaluation_report(
        tmp_path / "obs.nc", [tmp_path / "sim.nc"], n_resamples=10, animation=False
    )
    assert {e.simulation for e in result.entries} == {"sim"}


@pytest.fixture(scope="module")
def nowcasts():
    """Eight cases of three frames, a model of five members and persistence."""
    rng = np.random.default_rng(2)
    truth = rng.gamma(0.5, 3.0, size=(8, 3, 12, 12))
    near = truth * rng.lognormal(0, 0.4, size=(5, *truth.shape))
    return truth, near, np.repeat(truth[None, :, :1], 3, axis=2)


def test_report_of_forecasts(nowcasts, rain, tmp_path):
    truth, near, still = nowcasts
    options = {"n_resamples": 20, "animation": False}
    result = evaluation_report(
        rain[0], {"model": rain[1]}, tmp_path / "both.html", truth=truth,
        forecasts={"model": near}, forecast_baselines={"persistence": still}, **options,
    )  # fmt: skip
    page = (tmp_path / "both.html").read_text()
    assert page.count("data:image/png") == 7
    assert "Hard rain (CRPS above 5 mm/h)" in page and "vs persistence" in page
    assert "no member" not in page and "persistence (baseline), 1 member<" in page
    assert len(result.entries) == 10 + 2 * 11
    rows = json.loads(result.to_json())["scores"]
    crps = next(r for r in rows if r["score"] == "crps" and r["simulation"] == "model")
    assert crps["value"] == pytest.approx(metrics.crps_ensemble(truth, near))
    assert crps["versus"] == {"persistence": "better"} and crps["p_value"] is None
    alone = evaluation_report(
        None, truth=0 * truth, forecasts={"m": near, "dry": 0 * near}, **options
    )
    assert "Forecasts of m" in alone.page.to_html()
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluation_report(rain[0])


def test_nowcasts_in_files_find_their_truth(nowcasts, tmp_path, capsys):
    xr = pytest.importorskip("xarray")
    from skdiffuse.cli import main

    truth, near, still = nowcasts
    times = xr.date_range("2001-02-01", periods=48, freq="h", calendar="360_day", use_cftime=True)

    def cube(X, start, members=True):
        dims = ("realization", "time", "y", "x")[0 if members else 1 :]
        n = X.shape[-3]
        coords = {"time": times[start : start + n], "y": np.arange(12.0), "x": np.arange(12.0)}
        return xr.DataArray(X, coords, dims, name="precipitation_rate", attrs={"units": "mm h-1"})

    series = np.zeros((48, 12, 12))
    for i in range(8):
        series[6 * i + 2 : 6 * i + 5] = truth[i]
        cube(near[:, i], 6 * i + 2).to_netcdf(tmp_path / f"model_{i}.nc")
        if i < 7:  # one case less: the shared ones are compared
            cube(still[0, i], 6 * i + 2, members=False).to_netcdf(tmp_path / f"still_{i}.nc")
    cube(series, 0, members=False).to_netcdf(tmp_path / "obs.nc")
    result = evaluation_report(
        cube(series, 0, members=False),
        forecasts={"model": str(tmp_path / "model_*.nc")},
        forecast_baselines={"persistence": sorted(tmp_path.glob("still_*.nc"))},
        n_resamples=10,
    )
    assert result.entries[0].n == 7
    assert result.entries[0].value == pytest.approx(
        metrics.crps_ensemble(truth[:7], near[:, :7]), rel=1e-5
    )
    arguments = ["evaluate", str(tmp_path / "obs.nc"), "--out", str(tmp_path / "r.html")]
    assert main([*arguments, "--nowcast", f"model={tmp_path}/model_*.nc"]) == 0
    assert "Forecasts of model" in (tmp_path / "r.html").read_text()
    capsys.readouterr()
    assert main([*arguments, "--nowcast", "model.nc"]) == 1
    assert "expected NAME=FILES" in capsys.readouterr().err
    late = cube(near[:, 0], 45)
    with pytest.raises(ValueError, match="obs does not hold 2001-02-02 23"):
        evaluation_report(
            cube(series, 0, members=False).isel(time=slice(47)), forecasts={"m": [late]}
        )


def test_the_sequence_shown_keeps_its_coordinates(rain):
    xr = pytest.importorskip("xarray")
    from skdiffuse.plotting.evaluation_page import _typical

    obs = rain[0]
    series = xr.DataArray(
        obs.reshape(-1, 12, 12), {"y": np.arange(12.0), "x": np.arange(12.0)}, ("time", "y", "x")
    )
    shown = _typical(series, 4)
    assert shown.dims == ("time", "y", "x") and "y" in shown.coords and len(shown) == 4
    total = obs.sum(axis=(1, 2, 3))
    assert float(shown.sum()) == pytest.approx(np.sort(total)[(3 * 39) // 4])
    np.testing.assert_array_equal(_typical(obs, None), shown)


def test_an_interval_that_ends_at_nothing_decides_nothing():
    from skdiffuse.metrics.climate_scores import verdict
    from skdiffuse.metrics.uncertainty import BootstrapResult

    said = [
        verdict(BootstrapResult(value, low, high, 0.1, 9))
        for value, low, high in [(-1, -2, 0), (1, 0, 2), (-1, -2, -1e-9), (1, 1e-9, 2)]
    ]
    assert said == ["no clear difference", "no clear difference", "better", "worse"]
