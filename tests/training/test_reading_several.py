"""Windows of several cubes: how often each is drawn, and that nothing depends on how it is read."""

import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube, validate_cubes
from skdiffuse.training import WindowBatches, companions_of, hold_out
from skdiffuse.training.reading_several import SeveralReader

SHAPES = (2, 40, 12, 14), (1, 50, 10, 20), (1, 30, 8, 7)
WINDOW = (3, (6, 7))


@pytest.fixture(scope="module")
def cubes():
    """Every cell holds its own number, so that a window tells where it is from."""
    first, found = 0, []
    for shape in SHAPES:
        size = int(np.prod(shape))
        found.append(np.arange(first, first + size, dtype=np.float32).reshape(shape))
        first += size
    return found


def lazy(cubes):
    da = pytest.importorskip("dask.array")
    return [da.from_array(cube, chunks=(1, 8, 6, 9)) for cube in cubes]


def origin(window):
    """Number of the cube, and where in it a window begins."""
    value = int(window[0, 0, 0])
    for k, shape in enumerate(SHAPES):
        size = int(np.prod(shape))
        if value < size:
            return k, np.unravel_index(value, shape)
        value -= size
    raise AssertionError


def exact(cubes):
    """Share of each cube, and the mean over all windows with these shares, counted out."""
    frames, (rows, columns) = WINDOW
    counts, means = [], []
    for cube in cubes:
        n, times, height, width = cube.shape
        counts.append(n * (times - frames + 1) * height * width)
        windows = np.lib.stride_tricks.sliding_window_view(cube, (frames, rows, columns), (1, 2, 3))
        means.append(windows.mean(dtype=np.float64))
    shares = np.array(counts) / sum(counts)
    return shares, float(shares @ means)


@pytest.mark.parametrize("reading", ["whole", "blocks"])
@pytest.mark.parametrize("reverse", [False, True])
def test_each_cube_has_its_share_and_each_of_its_windows_is_as_likely(cubes, reading, reverse):
    """Whatever the order of the cubes, and in whatever blocks they are read."""
    given = cubes[::-1] if reverse else cubes
    together = validate_cubes(lazy(given) if reading == "blocks" else given)
    windows = WindowBatches(
        together, *WINDOW, batch_size=16, seed=5, n_candidates=1, memory=100_000
    )
    every = windows.steps_per_group if reading == "blocks" else 1
    drawn = [origin(w) for step in range(0, 120 * every, every) for w in windows(step)[0]]
    windows.reader.close()
    which = np.array([k for k, _ in drawn])
    shares, _ = exact(cubes)
    for k, share in enumerate(shares):
        found = (which == k).mean()
        assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / len(drawn))
        places = np.array([place for of, place in drawn if of == k])
        spans = np.subtract(SHAPES[k], (0, WINDOW[0] - 1, WINDOW[1][0] - 1, WINDOW[1][1] - 1))
        # A batch from a group of blocks counts as few draws.
        error = places.std(0) / np.sqrt(len(places) / (8 if reading == "blocks" else 1))
        assert (np.abs(places.mean(0) - (spans - 1) / 2) <= 4 * error).all()


def test_weights_make_means_unbiased_though_one_cube_is_wetter():
    """The weighted mean over batches is the mean over all windows of dry and wet cubes."""
    random = np.random.default_rng(0)
    dry = np.where(random.random((60, 12, 12)) < 0.01, 1.0, 0.0)
    wet = random.gamma(1.0, 2.0, (20, 9, 16))
    drawn = WindowBatches(validate_cubes([dry, wet]), 3, (6, 6), batch_size=8, seed=1)
    estimates, shares = [], []
    for step in range(400):
        rain, weights = drawn(step)
        estimates.append((rain.mean(dim=(1, 2, 3)) * weights).mean().item())
        shares.append(((rain.mean(dim=(1, 2, 3)) > 0.5) * weights).mean().item())
    frames = np.array([58 * 144, 18 * 144])
    of_wet = frames[1] / frames.sum()
    views = [
        np.lib.stride_tricks.sliding_window_view(cube, (3, 6, 6)).mean() for cube in (dry, wet)
    ]
    expected = (1 - of_wet) * views[0] + of_wet * views[1]
    for found, truth in ((estimates, expected), (shares, of_wet)):
        error = np.std(found) / np.sqrt(len(found))
        assert abs(np.mean(found) - truth) < 4 * error
        assert error < 0.05 * truth


def test_lazy_cubes_that_fit_together_are_like_loaded_ones(cubes):
    n_bytes = sum(cube.nbytes for cube in cubes)
    loaded = WindowBatches(validate_cubes(cubes), *WINDOW, batch_size=4, seed=0)
    read = WindowBatches(validate_cubes(lazy(cubes)), *WINDOW, batch_size=4, seed=0, memory=n_bytes)
    some = WindowBatches(
        validate_cubes([*lazy(cubes)[:2], cubes[2]]), *WINDOW, batch_size=4, seed=0, memory=n_bytes
    )
    for step in (0, 3, 400):
        assert torch.equal(loaded(step)[0], read(step)[0])
        assert torch.equal(loaded(step)[0], some(step)[0])
    in_blocks = SeveralReader(validate_cubes(lazy(cubes)), *WINDOW, 0, n_bytes - 4)
    assert in_blocks.groups_per_epoch > 1
    np.testing.assert_array_equal(
        loaded.reader.sample_of_rain(2000, 0), read.reader.sample_of_rain(2000, 0)
    )


def test_a_batch_of_blocks_depends_on_its_step_alone(cubes):
    options = {"batch_size": 4, "seed": 3, "memory": 100_000}
    straight = WindowBatches(validate_cubes(lazy(cubes)), *WINDOW, **options)
    step = 3 * straight.steps_per_group
    expected = [straight(s)[0] for s in range(step + 1)]
    resumed = WindowBatches(validate_cubes(lazy(cubes)), *WINDOW, **options)
    for s in (step, step // 2, 1):
        assert torch.equal(resumed(s)[0], expected[s])
    resumed.reader.close()
    straight.reader.close()


@pytest.mark.parametrize("reading", ["whole", "blocks"])
def test_statistics_see_each_cube_by_its_share(cubes, reading):
    given = lazy(cubes) if reading == "blocks" else cubes
    reader = SeveralReader(validate_cubes(given), *WINDOW, seed=0, memory=100_000)
    sample = reader.sample_of_rain(3000, seed=1)
    reader.close()
    assert sample.dtype == np.float32 and 1000 < sample.size <= 3003
    edges = np.cumsum([0, *(cube.size for cube in cubes)])
    found = np.histogram(sample, edges)[0] / sample.size
    np.testing.assert_allclose(found, exact(cubes)[0], atol=2 / 1000)


def test_an_epoch_covers_all_cubes_once(cubes):
    windows = WindowBatches(validate_cubes(cubes), *WINDOW, batch_size=4, seed=0)
    cells = sum(cube.size for cube in cubes)
    assert windows.steps_per_epoch == round(cells / (3 * 6 * 7 * 4))


def test_a_class_for_each_cube_follows_its_windows(cubes):
    together = validate_cubes(cubes)
    for y in ([2, 0, 1], np.array([2, 0, 1])):
        companions = companions_of(y, cubes, together)
        assert companions.told.n_labels == 3
        windows = WindowBatches(together, *WINDOW, batch_size=60, seed=0, companions=companions)
        rain, _, told = windows.batch(0)
        expected = np.array([y[origin(window)[0]] for window in rain])
        labels = told["labels"].numpy()
        assert 30 < (labels >= 0).sum() < 60
        np.testing.assert_array_equal(labels[labels >= 0], expected[labels >= 0])


def test_fields_of_each_cube_follow_its_windows_on_a_scale_of_all(cubes):
    fields = [cube.astype(float) for cube in cubes]
    companions = companions_of(fields, cubes, validate_cubes(cubes))
    everything = np.concatenate([field.ravel() for field in fields])
    assert companions.told.means[0] == pytest.approx(everything.mean(), rel=1e-6)
    assert companions.told.stds[0] == pytest.approx(everything.std(), rel=1e-6)
    windows = WindowBatches(
        validate_cubes(cubes), *WINDOW, batch_size=60, seed=0, companions=companions
    )
    batch, _, told = windows.batch(0)
    given = told["covariates"][:, 0, -1, 0, 0].bool()
    found = told["covariates"][:, :, 0] * companions.told.stds[0] + companions.told.means[0]
    torch.testing.assert_close(found[given], batch[given], rtol=1e-4, atol=0.05)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1], "one entry for each of the 3 cubes of X"),
        (1, "one entry for each of the 3 cubes of X"),
        ([0, 1, -1], r"y\[2\] must hold classes from 0 up"),
        ([0, 1, "dry"], r"y\[2\] must hold integers"),
        ([0, np.zeros(7, int), 1], r"y\[1\] of classes must have the shape"),
        ([0, np.zeros(SHAPES[1]), 1], r"classes for X\[0\], 1 field\(s\) for X\[1\]"),
    ],
)
def test_what_does_not_fit_the_cubes(cubes, y, message):
    with pytest.raises(ValueError, match=message):
        companions_of(y, cubes, validate_cubes(cubes))


def test_the_end_of_each_cube_is_held_out():
    cubes = [np.arange(n, dtype=float)[:, None, None] + np.zeros((n, 6, 6)) for n in (40, 20)]
    training, validation = hold_out(validate_cubes(cubes), 0.2, 3)
    for cube, kept, held in zip(cubes, training.parts, validation.parts, strict=True):
        alone = hold_out(validate_cube(cube), 0.2, 3)
        np.testing.assert_array_equal(kept.values, alone[0].values)
        np.testing.assert_array_equal(held.values, alone[1].values)
    with pytest.raises(ValueError, match=r"frames of X\[1\] leaves no window"):
        hold_out(validate_cubes([cubes[0], cubes[1][:4]]), 0.2, 3)
