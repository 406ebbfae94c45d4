"""Blocks of lazy cubes: every window as likely as any other, memory bounded, order its own."""

import pickle

import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube
from skdiffuse.training import WindowBatches
from skdiffuse.training.batches import Prefetched
from skdiffuse.training.cube_blocks import BlockReader, WholeReader, reader_of

da = pytest.importorskip("dask.array")

SHAPE = (2, 50, 20, 26)
WINDOW = (3, (6, 7))


@pytest.fixture(scope="module")
def values():
    """Every cell holds its own number, so that a window tells where it is from."""
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@pytest.fixture
def lazy(values):
    return validate_cube(da.from_array(values, chunks=(1, 8, 9, 10)))


def place_of(window):
    return np.unravel_index(int(window[0, 0, 0]), SHAPE)


def test_windows_are_those_of_the_cube(values, lazy):
    reader = BlockReader(lazy, *WINDOW, seed=0, memory=200_000)
    assert reader.groups_per_epoch > 2
    random = np.random.default_rng(0)
    for group in range(3):
        for block in reader.group(group):
            window, place = block.draw(random, *WINDOW)
            assert place == tuple(place_of(window))
            n, t, y, x = place
            np.testing.assert_array_equal(window, values[n, t : t + 3, y : y + 6, x : x + 7])
    reader.close()


def test_every_window_is_as_likely_as_any_other(lazy):
    """Counted over many epochs: windows across the edges of blocks are not left out."""
    reader = BlockReader(lazy, *WINDOW, seed=0, memory=200_000)
    counts = reader._counts
    chosen = np.zeros(len(counts))
    for epoch in range(200):
        np.add.at(chosen, reader._blocks_of_epoch(epoch), 1)
    share = chosen / chosen.sum()
    # Systematic sampling is exact but for its random start.
    np.testing.assert_allclose(share, counts / counts.sum(), rtol=0.1)
    assert counts.sum() == len(lazy.window_starts(3)) * (20 - 6 + 1) * (26 - 7 + 1)


def test_windows_start_everywhere(lazy):
    """Sums of place over a long run against those of all windows."""
    windows = WindowBatches(lazy, *WINDOW, batch_size=8, seed=1, n_candidates=1, memory=200_000)
    places = []
    for step in range(0, 30 * windows.steps_per_group, windows.steps_per_group):
        places += [place_of(window) for window in windows(step)[0]]
    places = np.array(places)
    spans = (2, 48, 15, 20)
    for axis, n in enumerate(spans):
        error = places[:, axis].std() / np.sqrt(len(places) / 8)
        assert abs(places[:, axis].mean() - (n - 1) / 2) < 4 * error
    assert (places.max(0) >= np.array(spans) - 2).all()
    windows.reader.close()


def test_order_depends_on_the_step_alone(lazy, values):
    options = {"batch_size": 4, "seed": 3, "memory": 200_000}
    straight = WindowBatches(lazy, *WINDOW, **options)
    batches = [straight(step)[0] for step in range(2 * straight.steps_per_group + 1)]
    resumed = WindowBatches(lazy, *WINDOW, **options)
    ahead = Prefetched(resumed, range(4))
    for step in (straight.steps_per_group, 2 * straight.steps_per_group, 1):
        assert torch.equal(ahead(step)[0], batches[step])
    ahead.close()
    # Half a batch is the half of the batch: what another process does changes nothing.
    assert torch.equal(resumed(1, range(1, 4, 2))[0], batches[1][1::2])
    resumed.reader.close()
    straight.reader.close()


def test_memory_is_bounded():
    """A day of hourly fields of a continent in large chunks: blocks are cut, groups small."""
    cube = validate_cube(da.zeros((24_000, 500, 700), chunks=(1000, 500, 700), dtype="f4"))
    reader = BlockReader(cube, 10, (64, 64), seed=0, memory=2**28)
    cells = [a + b - 1 for a, b in zip(reader.cells, (10, 64, 64), strict=True)]
    assert 4 * np.prod(cells) * reader.blocks_in_group <= 2**28
    assert reader.blocks_in_group >= 4


def test_a_cube_is_read_as_a_whole_where_it_fits(values, lazy):
    in_memory = validate_cube(values)
    assert isinstance(reader_of(in_memory, *WINDOW, seed=0, memory=1), WholeReader)
    assert isinstance(reader_of(lazy, *WINDOW, seed=0, memory=values.nbytes), WholeReader)
    assert isinstance(reader_of(lazy, *WINDOW, seed=0, memory=values.nbytes - 1), BlockReader)


def test_sample_of_a_whole_cube_is_of_different_frames(values, lazy):
    """Cells tell their frame: none twice, in order, chance decides which, lazy or not."""
    in_memory, read = WholeReader(validate_cube(values), *WINDOW), WholeReader(lazy, *WINDOW)
    sample = in_memory.sample_of_rain(10 * 20 * 26 + 5, seed=3)
    np.testing.assert_array_equal(sample, read.sample_of_rain(10 * 20 * 26 + 5, seed=3))
    frames = sample[:, 0, 0].astype(int) // (20 * 26)
    assert len(frames) == 10
    assert (np.diff(frames) > 0).all()
    np.testing.assert_array_equal(sample, values.reshape(-1, 20, 26)[frames])
    others = in_memory.sample_of_rain(10 * 20 * 26, seed=4)
    assert (others != sample).any()
    everything = in_memory.sample_of_rain(10**9, seed=0)
    np.testing.assert_array_equal(everything, values.reshape(-1, 20, 26))


def test_sample_of_a_cube_in_blocks_is_of_the_first_group(lazy):
    reader = BlockReader(lazy, *WINDOW, seed=0, memory=200_000)
    cells = np.concatenate([block.values.ravel() for block in reader.group(0)])
    np.testing.assert_array_equal(reader.sample_of_rain(10**9, seed=0)[0], cells)
    some = reader.sample_of_rain(1000, seed=0)[0]
    assert 1000 <= len(some) < 2000 + len(reader.group(0))
    assert set(some) <= set(cells)
    reader.close()


def test_lazy_cube_that_fits_is_like_a_loaded_one(values, lazy):
    loaded = WindowBatches(validate_cube(values), *WINDOW, batch_size=4, seed=0)
    small = WindowBatches(lazy, *WINDOW, batch_size=4, seed=0)
    assert torch.equal(loaded(5)[0], small(5)[0])


def test_nothing_wrong_passes_for_being_lazy():
    rain = da.full((40, 30, 30), -1.0, chunks=(5, 30, 30))
    windows = WindowBatches(validate_cube(rain), 3, (8, 8), 2, 0, memory=50_000)
    with pytest.raises(ValueError, match="negative precipitation"):
        windows(0)
    windows.reader.close()


def test_data_are_not_pickled_along():
    rain = np.ones((50, 64, 64), np.float32)
    windows = WindowBatches(validate_cube(rain), 3, (8, 8), batch_size=4, seed=0)
    assert len(pickle.dumps(windows)) < 5000
    again = pickle.loads(pickle.dumps(windows))
    again.read_from(validate_cube(rain))
    assert torch.equal(again(3)[0], windows(3)[0])


def test_symmetries_turn_windows(values):
    rain = values[0, :, :12, :12]
    plain = WindowBatches(validate_cube(rain), 3, (6, 6), 4, seed=0)
    turned = WindowBatches(validate_cube(rain), 3, (6, 6), 4, seed=0, symmetries=True)
    kinds = set()
    for step in range(20):
        for a, b in zip(plain(step)[0], turned(step)[0], strict=True):
            images = {
                (k, flip): torch.rot90(a.flip(1) if flip else a, k, (1, 2))
                for k in range(4)
                for flip in (False, True)
            }
            kinds.add(next(kind for kind, image in images.items() if torch.equal(image, b)))
    assert len(kinds) == 8
