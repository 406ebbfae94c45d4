"""Windows that a cube is known by before the training, against counting all of them."""

import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube, validate_cubes
from skdiffuse.training import WindowBatches, surveying
from skdiffuse.training.batches import WET

SHAPE = 3, 4, 5


@pytest.fixture
def rain():
    """Dry but for a corner: few windows are wet."""
    rain = np.zeros((12, 9, 10), np.float32)
    rain[:, :4, :4] = np.random.default_rng(0).gamma(1.0, 2.0, size=(12, 4, 4))
    return rain


def all_windows(rain):
    return np.lib.stride_tricks.sliding_window_view(rain, SHAPE).reshape(-1, *SHAPE)


def surveyed(cube, seed=0, **options):
    frames, *crop = SHAPE
    found = list(surveying.survey(WindowBatches(cube, frames, tuple(crop), 4, seed, **options)))
    return tuple(torch.cat(part).numpy() for part in zip(*found, strict=True))


def in_order(windows):
    return np.array(sorted(window.ravel().tolist() for window in windows))


def test_each_of_few_windows_comes_once(rain, monkeypatch):
    monkeypatch.setattr(surveying, "CELLS_AT_A_TIME", 1000)
    windows, weights = surveyed(validate_cube(rain))
    np.testing.assert_array_equal(in_order(windows), in_order(all_windows(rain)))
    assert (weights == 1).all()


def test_windows_stand_for_their_share_of_several_cubes(rain):
    """Every cube has windows in proportion to its cells, and not to its crops."""
    cubes = rain, 10 + rain[:7, :5, :7]
    windows, weights = surveyed(validate_cubes(cubes))
    frames = [len(cube) - SHAPE[0] + 1 for cube in cubes]
    cells = [n * cube[0].size for n, cube in zip(frames, cubes, strict=True)]
    exact = np.average([all_windows(cube).mean() for cube in cubes], weights=cells)
    assert np.average(windows.mean((1, 2, 3)), weights=weights) == pytest.approx(exact, rel=1e-5)
    assert weights.mean() == pytest.approx(1)


def test_of_many_the_wet_are_preferred_and_means_unbiased(rain, monkeypatch):
    monkeypatch.setattr(surveying, "MOST_WINDOWS", 60)
    cube = validate_cube(rain)
    estimates, wet = [], []
    for seed in range(60):
        windows, weights = surveyed(cube, seed)
        assert len(windows) == 60
        estimates.append(np.mean(weights * windows.mean((1, 2, 3))))
        wet.append((windows >= WET).mean())
    error = np.std(estimates) / np.sqrt(len(estimates))
    exact = all_windows(rain).mean()
    assert error < 0.03 * exact and abs(np.mean(estimates) - exact) < 4 * error
    assert np.mean(wet) > 1.5 * (all_windows(rain) >= WET).mean()


@pytest.mark.parametrize("most", [60, 1000])
def test_what_comes_follows_from_the_seed(rain, monkeypatch, most):
    monkeypatch.setattr(surveying, "MOST_WINDOWS", most)
    cube = validate_cube(rain)
    first, again, other = (surveyed(cube, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_symmetric_windows_are_mirrored_and_each_comes_once_all_the_same(rain):
    windows, _ = surveyed(validate_cube(rain), symmetries=True)
    given = all_windows(rain)
    images = [given[..., ::down, ::across] for down in (1, -1) for across in (1, -1)]
    # The first of its images in order tells which window it was.
    first = [
        [min(w[..., ::a, ::b].ravel().tolist() for a in (1, -1) for b in (1, -1)) for w in some]
        for some in (windows, given)
    ]
    assert sorted(first[0]) == sorted(first[1])
    kept = [np.mean([(windows == w).all((1, 2, 3)).any() for w in image]) for image in images]
    assert min(kept) > 0.1


def test_a_large_lazy_cube_is_known_by_its_first_blocks(rain):
    da = pytest.importorskip("dask.array")
    lazy = da.from_array(rain, chunks=(2, 9, 10))
    cube = validate_cube(lazy)
    whole = in_order(surveyed(cube)[0])
    np.testing.assert_array_equal(whole, in_order(all_windows(rain)))
    part, weights = surveyed(cube, memory=1600)
    assert weights.mean() == pytest.approx(1)
    assert len(part) < len(whole)
    assert {tuple(w) for w in in_order(part)} <= {tuple(w) for w in whole}
