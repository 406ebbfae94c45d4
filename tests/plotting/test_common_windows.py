"""Crops that a model generated beside observed fields that are larger."""

import numpy as np
import pytest
import xarray as xr

from skdiffuse import make_precipitation
from skdiffuse.cubes import dress, validate_cube
from skdiffuse.plotting import evaluation_report
from skdiffuse.plotting.common_windows import in_windows_of


@pytest.fixture
def obs():
    return make_precipitation(14, (13, 20), random_state=0)


def generated(obs, shape=(6, 8), n=12, frames=4):
    """As `sample` dresses it."""
    values = np.random.default_rng(0).gamma(0.3, size=(n, frames, *shape)).astype(np.float32)
    return dress(values, validate_cube(obs).template, time="elapsed")


def test_all_parts_side_by_side(obs):
    """Three windows of four frames, and two rows of two blocks: what is left over is left out."""
    sim = generated(obs)
    seen = in_windows_of(obs, [sim])
    assert seen.shape == (12, 4, 6, 8)
    expected = [
        obs.values[t : t + 4, i : i + 6, j : j + 8]
        for t in (0, 4, 8)
        for i in (0, 6)
        for j in (0, 8)
    ]
    np.testing.assert_array_equal(seen, expected)
    for dim in ("y", "x"):
        np.testing.assert_array_equal(seen[dim], sim[dim])
    assert seen.attrs == obs.attrs
    lazy = in_windows_of(obs.chunk(time=5), [sim])
    assert hasattr(lazy.data, "dask")
    np.testing.assert_array_equal(lazy, seen)


def test_no_window_spans_a_gap(obs):
    gappy = obs.isel(time=[0, 1, 2, 3, 4, 6, 7, 8, 9])
    seen = in_windows_of(gappy, [generated(obs)])
    np.testing.assert_array_equal(seen[4], obs.values[6:10, :6, :8])
    assert len(seen) == 8
    with pytest.raises(ValueError, match=r"obs has no 4 frames in a row .* smaller n_frames"):
        in_windows_of(obs[:3], [generated(obs)])
    assert in_windows_of(gappy, [generated(obs)], 2).shape == (16, 2, 6, 8)


def test_sequences_are_cut_as_well(obs):
    sequences = obs.expand_dims(member=2)
    assert in_windows_of(sequences, [generated(obs)]).shape == (24, 4, 6, 8)


def test_what_has_a_place_of_its_own_is_left_to_the_comparison_of_grids(obs):
    placed = obs[:, :6, :8]
    for sims in (
        [placed],
        [generated(obs, (13, 20))],
        [generated(obs), generated(obs, (4, 4))],
        [generated(obs, (40, 8))],
        [generated(obs).values],
        [],
    ):
        assert in_windows_of(obs, sims) is obs
    with pytest.raises(ValueError, match="different grids"):
        evaluation_report(obs, {"placed": placed}, n_resamples=5)


def test_cells_of_another_size_are_refused(obs):
    coarser = obs.assign_coords(y=5 * obs.y, x=5 * obs.x)
    for d in ("y", "x"):
        coarser[d].attrs.update(obs[d].attrs)
    with pytest.raises(ValueError, match=r"different grids: cells lie -?11 km apart along 'y' "):
        in_windows_of(coarser, [generated(obs)])
    with pytest.raises(ValueError, match=r"or turn obs with isel\(y=slice\(None, None, -1"):
        in_windows_of(obs.isel(y=slice(None, None, -1)), [generated(obs)])


def test_a_report_of_crops(obs):
    sim = generated(obs)
    result = evaluation_report(obs, {"model": sim}, n_resamples=5, animation=False)
    by_hand = xr.DataArray(
        in_windows_of(obs, [sim]).values, dims=("n", "time", "y", "x"), attrs=obs.attrs
    )
    expected = evaluation_report(by_hand, {"model": sim}, n_resamples=5, animation=False)
    assert result.to_csv() == expected.to_csv()


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_scored(obs, tmp_path):
    unread = xr.DataArray(np.full((2, 2, 2), -1.0), dims=("time", "y", "x"))
    with pytest.raises(OSError, match=r"path='.*' is a folder; name a file within it"):
        evaluation_report(unread, {"model": unread}, tmp_path)
