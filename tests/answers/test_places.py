"""Points and basins on all kinds of grids, beside sums over cells and known areas."""

import json
import sys
import types

import numpy as np
import pytest
import xarray as xr

from skdiffuse.answers import basin_forecast, point_forecast

rng = np.random.default_rng(0)
VALUES = rng.gamma(0.5, 2.0, size=(3, 2, 20, 30))


def regular(lat=(50.0, 60.0), lon=(-5.0, 10.0), values=VALUES):
    """Latitudes and longitudes along the axes, south up."""
    rows, columns = values.shape[-2:]
    step = (lat[1] - lat[0]) / rows, (lon[1] - lon[0]) / columns
    return xr.DataArray(
        values,
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(2) * np.timedelta64(1, "h"),
            "lat": ("lat", lat[0] + step[0] * (np.arange(rows) + 0.5), {"units": "degrees_north"}),
            "lon": (
                "lon",
                lon[0] + step[1] * (np.arange(columns) + 0.5),
                {"units": "degrees_east"},
            ),
        },
        ("realization", "time", "lat", "lon"),
    )


def turned():
    """A grid whose rows and columns run slanting over the sphere, with 2-D coordinates."""
    a, b = np.meshgrid(np.arange(20) - 9.5, np.arange(30) - 14.5, indexing="ij")
    lat, lon = 50 + 0.10 * a + 0.04 * b, 178.0 + 0.15 * b - 0.06 * a
    names = {"lat": ("degrees_north", "latitude"), "lon": ("degrees_east", "longitude")}
    coords = {
        name: (("y", "x"), values, {"units": names[name][0], "standard_name": names[name][1]})
        for name, values in (("lat", lat), ("lon", lon))
    }
    coords["time"] = np.datetime64("2020-01-01", "ns") + np.arange(2) * np.timedelta64(1, "h")
    return xr.DataArray(VALUES, coords, ("realization", "time", "y", "x")), lat, lon


class TestPoints:
    def test_by_each_way_of_saying_where(self):
        rain = regular()
        expected = rain.values[:, :, 7, 11]
        lat, lon = float(rain.lat[7]) + 0.2, float(rain.lon[11]) - 0.2
        for place in (
            {"lat": lat, "lon": lon},
            {"lat": lat, "lon": lon + 360},
            {"y": lat, "x": lon},
            {"cell": (7, 11)},
        ):
            found = point_forecast(rain, **place)
            np.testing.assert_array_equal(found.series.values, expected)
            assert found.step == 1.0

    def test_on_a_curvilinear_grid_across_the_date_line(self):
        rain, lat, lon = turned()
        for row, column in ((0, 0), (19, 29), (10, 22)):
            found = point_forecast(rain, lat=lat[row, column] + 0.02, lon=lon[row, column] - 360)
            np.testing.assert_array_equal(found.series.values, VALUES[:, :, row, column])

    def test_any_order_of_dimensions_and_lazy(self):
        pytest.importorskip("dask.array")
        rain = regular().transpose("lat", "time", "lon", "realization").chunk({"lat": 5})
        found = point_forecast(rain, lat=55.0, lon=0.1)
        expected = point_forecast(regular(), lat=55.0, lon=0.1)
        np.testing.assert_array_equal(found.series.values, expected.series.values)

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ({"lat": 70.0, "lon": 0.0}, "lat=70, lon=0 lies outside the grid, .* latitudes 50.25"),
            ({"lat": 55.0, "lon": 10.4}, "lies outside the grid"),
            ({"y": 80.0, "x": 0.0}, "80 lies outside the grid, which runs from 50.25 to 59.75"),
            ({"cell": (20, 0)}, r"cell=\(20, 0\) must be a row and a column of the 20 x 30 cells"),
            ({"cell": 3}, "cell=3 must be a row and a column"),
            ({"lat": 55.0}, "got .*'lat and lon'.*, of which a half is missing"),
            ({}, "give one place: .* got none"),
            ({"lat": 55.0, "lon": 0.0, "cell": (1, 1)}, "give one place"),
        ],
    )
    def test_what_is_refused(self, place, message):
        with pytest.raises(ValueError, match=message):
            point_forecast(regular(), **place)

    def test_what_is_no_ensemble(self):
        with pytest.raises(ValueError, match=r"no times that tell .* step='5min'"):
            point_forecast(VALUES, cell=(0, 0))
        with pytest.raises(ValueError, match="units 'K', not mm/h"):
            point_forecast(regular().assign_attrs(units="K"), cell=(0, 0))
        with pytest.raises(ValueError, match=r"has the dimensions .* choose from the others"):
            point_forecast(regular().expand_dims(model=2), cell=(0, 0))
        with pytest.raises(TypeError, match="is a Dataset"):
            point_forecast(xr.Dataset({"pr": regular()}), cell=(0, 0))
        with pytest.raises(ValueError, match="cannot be found: the cube has no latitudes"):
            point_forecast(VALUES, lat=1.0, lon=1.0, step="1h")
        with pytest.raises(ValueError, match="step='5min', and the times of forecast are 3600 s"):
            point_forecast(regular(), cell=(0, 0), step="5min")


def square(south, west, north, east):
    return [(south, west), (south, east), (north, east), (north, west)]


class TestBasins:
    def test_a_mask_is_a_mean_by_area(self):
        rain = regular()
        mask = rng.random((20, 30)) < 0.3
        area = np.cos(np.deg2rad(rain.lat.values))[:, None] * mask
        expected = (VALUES * area).sum((2, 3)) / area.sum()
        found = basin_forecast(rain, mask).series.values
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        named = xr.DataArray(mask, {"lat": rain.lat, "lon": rain.lon}, ("lat", "lon"))
        turned_round = basin_forecast(rain, named.isel(lat=slice(None, None, -1)).T)
        np.testing.assert_allclose(turned_round.series.values, expected, rtol=1e-6)
        shares = basin_forecast(VALUES, 0.5 * mask, step="1h").series.values
        np.testing.assert_allclose(shares, VALUES[:, :, mask].mean(-1))

    def test_a_square_whose_edges_cut_cells(self):
        """Shares are products of overlaps along both axes."""
        rain = regular()
        south, north, west, east = 51.1, 57.9, -3.35, 4.6
        edges = 50 + 0.5 * np.arange(21), -5 + 0.5 * np.arange(31)

        def overlap(e, a, b):
            return np.clip(np.minimum(e[1:], b) - np.maximum(e[:-1], a), 0, None) / np.diff(e)

        share = np.outer(overlap(edges[0], south, north), overlap(edges[1], west, east))
        w = share * np.cos(np.deg2rad(rain.lat.values))[:, None]
        expected = (VALUES * w).sum((2, 3)) / w.sum()
        found = basin_forecast(rain, square(south, west, north, east)).series.values
        np.testing.assert_allclose(found, expected, rtol=2e-3)

    def test_a_triangle_beside_many_points(self):
        rain = regular()
        corners = np.array([(50.4, -4.0), (59.2, 1.0), (53.0, 9.1)])
        points = np.stack([rng.uniform(50, 60, 400_000), rng.uniform(-5, 10, 400_000)])
        a, b, c = corners
        T = np.stack([b - a, c - a], axis=1)
        u, v = np.linalg.solve(T, points - a[:, None])
        inside = (u > 0) & (v > 0) & (u + v < 1)
        # Points even in degrees: areas by the cosine.
        w = np.cos(np.deg2rad(points[0, inside]))
        row, column = (
            ((points[0, inside] - 50) / 0.5).astype(int),
            ((points[1, inside] + 5) / 0.5).astype(int),
        )
        expected = (VALUES[:, :, row, column] * w).sum(-1) / w.sum()
        found = basin_forecast(rain, corners).series.values
        np.testing.assert_allclose(found, expected, rtol=0.02)

    def test_on_a_curvilinear_grid_across_the_date_line(self):
        rain, lat, lon = turned()
        centre = lat[10, 20], lon[10, 20]
        corners = [
            (lat[r, c], lon[r, c] - 360 * (c % 2))
            for r, c in ((4, 14), (4, 26), (16, 26), (16, 14))
        ]
        found = basin_forecast(rain, corners).series.values
        # From centre to centre of cells: halves at the edges, quarters at the corners.
        ends = np.r_[0.5, np.ones(11), 0.5]
        w = np.outer(ends, ends) * np.cos(np.deg2rad(lat[4:17, 14:27]))
        expected = (VALUES[:, :, 4:17, 14:27] * w).sum((2, 3)) / w.sum()
        np.testing.assert_allclose(found, expected, rtol=5e-3)
        assert centre[1] > 177

    def test_along_the_axes_of_the_grid(self):
        rain = xr.DataArray(
            VALUES,
            {"y": np.arange(20)[::-1] * 1000.0, "x": np.arange(30) * 1000.0},
            ("realization", "time", "y", "x"),
        )
        found = basin_forecast(
            rain, square(3500.0, 4500.0, 9500.0, 14500.0), coordinates="grid", step="5min"
        )
        # South up, rows 4 to 9; here they run the other way.
        expected = VALUES[:, :, ::-1][:, :, 4:10, 5:15].mean((2, 3))
        np.testing.assert_allclose(found.series.values, expected)

    def test_holes_and_several_parts(self):
        rain = regular()

        def ring(s, w, n, e):
            return [[x, y] for y, x in square(s, w, n, e)]

        geometry = {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [ring(51, -4, 56, 1), ring(52, -3, 53, -1)],
                    },
                },
                {
                    "type": "Feature",
                    "geometry": {"type": "MultiPolygon", "coordinates": [[ring(57, 5, 58, 6)]]},
                },
            ],
        }
        mask = np.zeros((20, 30), bool)
        mask[2:12, 2:12], mask[4:6, 4:8], mask[14:16, 20:22] = True, False, True
        expected = basin_forecast(rain, mask).series.values
        np.testing.assert_allclose(basin_forecast(rain, geometry).series.values, expected)

    def test_files_and_geometries(self, tmp_path, monkeypatch):
        rain = regular()
        corners = square(52, -2, 54, 3)
        geometry = {"type": "Polygon", "coordinates": [[[x, y] for y, x in corners]]}
        expected = basin_forecast(rain, corners).series.values
        path = tmp_path / "basin.geojson"
        path.write_text(json.dumps(geometry))
        np.testing.assert_array_equal(basin_forecast(rain, path).series.values, expected)
        shapefile = tmp_path / "basin.shp"
        shapefile.write_bytes(b"")
        monkeypatch.setitem(sys.modules, "geopandas", None)
        with pytest.raises(ImportError, match=r"needs geopandas .pip install geopandas.*without"):
            basin_forecast(rain, shapefile)

        class Table:
            """What of geopandas' is used, on another projection."""

            crs = "EPSG:3857"

            def to_crs(self, crs):
                assert crs == 4326
                return types.SimpleNamespace(__geo_interface__=geometry)

        fake = types.ModuleType("geopandas")
        fake.read_file = lambda path: Table()
        monkeypatch.setitem(sys.modules, "geopandas", fake)
        np.testing.assert_array_equal(basin_forecast(rain, shapefile).series.values, expected)

    def test_smaller_than_a_cell(self):
        found = basin_forecast(regular(), square(55.001, 0.001, 55.002, 0.002))
        np.testing.assert_allclose(found.series.values, VALUES[:, :, 10, 10])

    def test_outside_and_partly_outside(self):
        with pytest.raises(
            ValueError, match="basin lies outside the grid, which spans latitudes 50"
        ):
            basin_forecast(regular(), square(70, 0, 72, 3))
        with pytest.warns(UserWarning, match="5. % of the basin lie outside the grid"):
            found = basin_forecast(regular(), square(52, 5, 54, 15)).series.values
        expected = basin_forecast(regular(), square(52, 5, 54, 10)).series.values
        np.testing.assert_allclose(found, expected)

    def test_missing_cells(self):
        values = VALUES.copy()
        values[0, 0, 2, :], values[1, 0, 2:5, :] = np.nan, np.nan
        mask = np.zeros((20, 30), bool)
        mask[2:6, 3:8] = True
        found = basin_forecast(values, mask, step="1h").series.values
        assert found[0, 0] == pytest.approx(VALUES[0, 0, 3:6, 3:8].mean())
        assert np.isnan(found[1, 0]) and np.isfinite(found[1, 1])

    @pytest.mark.parametrize(
        ("basin", "message"),
        [
            (np.zeros((20, 30), bool), "a mask that holds no cell"),
            (np.ones((3, 4), bool), r"a mask of shape \(3, 4\), and the cells are \(20, 30\)"),
            (np.full((20, 30), 2.0), "True and False, or shares from 0 to 1"),
            ([(50, 0), (51, 1)], "at least three corners"),
            ([(50, 0), (51, np.nan), (52, 0)], "at least three corners"),
            ({"type": "Point", "coordinates": [0, 50]}, "holds no polygon, but 'Point'"),
            (7, "at least three corners .* got int"),
        ],
    )
    def test_what_is_refused(self, basin, message):
        with pytest.raises(ValueError, match=message):
            basin_forecast(regular(), basin)
