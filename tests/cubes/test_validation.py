import warnings

import cftime
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.cubes import validate_cube


def array(values, **kwargs):
    return xr.DataArray(values, dims=("time", "y", "x"), **kwargs)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u1", "i8", ">f4"])
def test_any_real_dtype(dtype):
    cube = validate_cube(np.arange(60).reshape(3, 4, 5).astype(dtype))
    window = cube.window(0, 1, 2)
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, np.arange(20, 60).reshape(2, 4, 5))


def test_nothing_is_copied():
    X = np.zeros((3, 4, 5))
    assert np.shares_memory(validate_cube(X).values, X)
    assert np.shares_memory(validate_cube(array(X)).values, X)


def test_read_only_input_gives_writable_windows(tmp_path):
    X = np.memmap(tmp_path / "rain", dtype="f4", mode="w+", shape=(3, 4, 5))
    X.flush()
    X = np.memmap(tmp_path / "rain", dtype="f4", mode="r", shape=(3, 4, 5))
    window = validate_cube(X).window(0, 0, 3)
    window += 1
    assert X.max() == 0


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros(5), ValueError, r"1 dimension\(s\).*X\[None\]"),
        (np.zeros((4, 5)), ValueError, "2 dimension"),
        (np.zeros((1, 1, 3, 4, 5)), ValueError, "5 dimension"),
        (np.zeros((0, 4, 5)), ValueError, "empty"),
        (np.zeros((3, 4, 5), dtype=complex), TypeError, "complex"),
        (np.zeros((3, 4, 5), dtype=bool), TypeError, "bool"),
        (np.full((3, 4, 5), "rain"), TypeError, "real numbers"),
        (np.full((3, 4, 5), None), TypeError, "object"),
        ("rain.nc", TypeError, "from str"),
        (None, TypeError, "from NoneType"),
        (np.full((3, 4, 5), np.nan), ValueError, "missing everywhere"),
        (np.full((3, 4, 5), np.inf), ValueError, "infinite"),
        (np.full((3, 4, 5), -np.inf), ValueError, "infinite"),
        (np.where(np.eye(3), -1, np.nan)[:, None], ValueError, "negative.*-1"),
        (np.full((3, 4, 5), 9.96921e36), ValueError, "fill value"),
        (np.full((3, 4, 5), 1e20), ValueError, "fill value"),
        (xr.Dataset({"pr": array(np.zeros((3, 4, 5)))}), TypeError, "Dataset with variables"),
    ],
)
def test_bad_input(X, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=message):
            validate_cube(X)


def test_parameter_name_is_in_the_message():
    with pytest.raises(ValueError, match=r"^obs holds negative"):
        validate_cube(-np.ones((3, 4, 5)), name="obs")


def test_too_few_frames():
    with pytest.raises(ValueError, match=r"3 frame.*n_frames=4"):
        validate_cube(np.zeros((3, 4, 5)), n_frames=4)
    times = np.datetime64("2000-01-01", "ns") + np.array([0, 1, 9, 10]) * np.timedelta64(1, "h")
    X = array(np.zeros((4, 4, 5)), coords={"time": times})
    with pytest.raises(ValueError, match="no 3 consecutive frames: it has 1 gap"):
        validate_cube(X, n_frames=3)
    assert validate_cube(X, n_frames=2).window_starts(2).tolist() == [[0, 0], [0, 2]]


def test_masked_array_is_missing_data():
    X = np.ma.masked_equal(np.array([[[0, 1, 9999]]]), 9999)
    window = validate_cube(X).window(0, 0, 1)
    np.testing.assert_array_equal(window, [[[0, 1, np.nan]]])


@pytest.mark.parametrize("units", ["mm h-1", "mm/h", "mm hr-1", "kg m-2 h-1"])
def test_units_that_are_mm_per_hour(units):
    validate_cube(array(np.zeros((3, 4, 5)), attrs={"units": units}))


@pytest.mark.parametrize("units", ["kg m-2 s-1", "mm", "mm/day", "K", "", 1])
def test_other_units_point_to_open_cube(units):
    with pytest.raises(ValueError, match="open_cube"):
        validate_cube(array(np.zeros((3, 4, 5)), attrs={"units": units}))


def test_time_in_the_wrong_place():
    with pytest.raises(ValueError, match=r"X.transpose\('time', 'y', 'x'\)"):
        validate_cube(array(np.zeros((3, 4, 5))).transpose("y", "x", "time"))
    dates = np.array(["2000-01-01", "2000-01-02"], dtype="datetime64[ns]")
    X = xr.DataArray(np.zeros((3, 2, 5)), dims=("a", "b", "c"), coords={"b": dates})
    with pytest.raises(ValueError, match=r"transpose\('b', 'a', 'c'\)"):
        validate_cube(X)


def test_mixed_steps():
    times = [cftime.Datetime360Day(2000, 1, 1, h) for h in (0, 1, 3, 6, 10)]
    X = array(np.zeros((5, 4, 5)), coords={"time": times})
    with pytest.raises(ValueError, match="mixed"):
        validate_cube(X, n_frames=2)
    # Single frames have no step.
    validate_cube(X, n_frames=1)


def test_lazy_stays_lazy_and_is_checked_when_read():
    X = da.from_array(np.full((3, 4, 5), -1.0), chunks=1)
    cube = validate_cube(X)
    assert cube.is_lazy
    with pytest.raises(ValueError, match="negative"):
        cube.window(0, 0, 2)


def test_lazy_window_reads_nothing_else():
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.ones((1, 4, 5))

    X = da.map_blocks(block, chunks=((1,) * 50, (4,), (5,)), dtype=float, meta=np.empty((0, 0, 0)))
    window = validate_cube(X, n_frames=3).window(0, 7, 3, slice(1, 3), slice(0, 2))
    assert window.shape == (3, 2, 2)
    assert sorted(read) == [(7, 0, 0), (8, 0, 0), (9, 0, 0)]


@given(
    hours=st.sets(st.integers(0, 40), min_size=1).map(sorted),
    n_frames=st.integers(1, 6),
    stride=st.integers(1, 6),
    n_sequences=st.integers(1, 3),
    calendar=st.sampled_from(["360_day", "noleap", "standard"]),
)
def test_windows_never_straddle_a_gap_and_cover_the_rest(
    hours, n_frames, stride, n_sequences, calendar
):
    times = xr.date_range("2000-02-28", periods=41, freq="h", calendar=calendar, use_cftime=True)
    X = xr.DataArray(
        np.zeros((n_sequences, len(hours), 1, 1)),
        dims=("n", "time", "y", "x"),
        coords={"time": times[hours]},
    )
    cube = validate_cube(X)
    starts = cube.window_starts(n_frames, stride)
    step = None if cube.time_step is None else cube.time_step / 3600
    for sequence, start in starts:
        assert 0 <= sequence < n_sequences
        inside = np.diff(hours[start : start + n_frames])
        assert inside.size == n_frames - 1
        assert np.all(inside == step)
    if stride == 1:
        covered = {(s, t) for s, a in starts for t in range(a, a + n_frames)}
        long_enough = [(a, b) for a, b in cube.runs() if b - a >= n_frames]
        frames = {t for a, b in long_enough for t in range(a, b)}
        assert covered == {(s, t) for s in range(n_sequences) for t in frames}
