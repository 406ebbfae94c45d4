"""Several cubes as one: what they share, what each counts, and what does not go together."""

import numpy as np
import pytest
import xarray as xr

from skdiffuse.cubes import SeveralCubes, validate_cube, validate_cubes
from skdiffuse.datasets import make_precipitation


def rain(n_frames=8, shape=(6, 9), **options):
    return make_precipitation(n_frames, shape, random_state=0, **options)


def test_cubes_of_one_grid_count_as_their_concatenation():
    """A window of either is as likely as any of the concatenation, none of which spans the gap."""
    whole = rain(30)
    parts = whole[:5], whole[7:12], whole[20:]
    together = validate_cube(xr.concat(parts, "time"))
    shares = validate_cubes(parts).shares(3)
    counts = [len(validate_cube(part).window_starts(3)) for part in parts]
    np.testing.assert_allclose(shares, np.array(counts) / len(together.window_starts(3)))


def test_a_cube_counts_by_its_cells():
    shares = validate_cubes([np.ones((10, 8, 8)), np.ones((10, 16, 8)), np.ones((3, 10, 8, 8))])
    np.testing.assert_allclose(shares.shares(4), np.array([1, 2, 3]) / 6)


def test_tiles_are_those_of_each_cube():
    cubes = [np.random.default_rng(k).random(s) for k, s in enumerate([(7, 8, 12), (2, 6, 9, 8)])]
    both = validate_cubes(cubes)
    assert both.field_shape == (8, 8)
    np.testing.assert_array_equal(
        both.stack(both.tiles(3, (4, 4)), 3),
        np.concatenate([c.stack(c.tiles(3, (4, 4)), 3) for c in map(validate_cube, cubes)]),
    )


def test_a_list_of_frames_or_numbers_is_one_cube_and_a_list_of_one_is_that_cube():
    frames = [np.full((4, 5), k) for k in range(3)]
    for cube in (validate_cubes(frames), validate_cubes([f.tolist() for f in frames])):
        np.testing.assert_array_equal(cube.values[0], frames)
    for one in (validate_cubes([np.stack(frames)]), validate_cubes((np.stack(frames),))):
        assert not isinstance(one, SeveralCubes)
        np.testing.assert_array_equal(one.values[0], frames)


def test_other_time_steps_are_refused_and_clocks_may_differ():
    a, b = rain(), rain(time_step="5min")
    with pytest.raises(ValueError, match=r"X\[2\] has a time step of 300 s and X\[0\] .* 3600 s"):
        validate_cubes([a, a, b])
    remedy = b.resample(time="3600s").mean()
    assert validate_cubes([a, remedy]).template.time_step == 3600
    late = a.assign_coords(time=a.time[0] + (a.time - a.time[0]) * 1.0005)
    validate_cubes([a, late, a.values])


@pytest.mark.parametrize("dim", ["y", "x"])
def test_cubes_that_run_the_other_way_are_refused(dim):
    a, b = rain(), rain(shape=(7, 7))
    turned = b.isel({dim: slice(None, None, -1)})
    with pytest.raises(ValueError, match=rf"X\[1\] runs the other way along '{dim}'"):
        validate_cubes([a, turned])
    validate_cubes([a, turned.isel({dim: slice(None, None, -1)})])


def test_the_entry_at_fault_is_named():
    with pytest.raises(ValueError, match=r"X\[1\] holds negative"):
        validate_cubes([np.ones((4, 5, 5)), -np.ones((4, 5, 5))])
    with pytest.raises(ValueError, match=r"validation\[0\] has 4 frame"):
        validate_cubes([np.ones((4, 5, 5)), np.ones((9, 5, 5))], n_frames=5, name="validation")
    with pytest.raises(ValueError, match=r"X\[1\] has units 'mm day-1', not mm/h"):
        validate_cubes([rain(), rain().assign_attrs(units="mm day-1")])
    with pytest.raises(TypeError, match=r"X\[0\] is a Dataset"):
        validate_cubes([rain().to_dataset(name="pr"), rain()])


def test_what_is_shared_is_kept():
    a = rain().assign_attrs(source="A", long_name="rain").assign_coords(member=1)
    b = rain(12).assign_attrs(source="B", long_name="rain").assign_coords(member=2)
    both = validate_cubes([a, b])
    assert both.on_one_grid
    assert both.template.attrs["long_name"] == "rain" and "source" not in both.template.attrs
    assert set(both.template.coords.coords) == set(a.coords) - {"time", "member"}
    assert both.template.time_step == 3600
    for other in (b.assign_coords(x=b.x + 1e5), rain(shape=(7, 7))):
        apart = validate_cubes([a, other])
        assert apart.on_one_grid is False
        assert not apart.template.coords.coords and apart.template.dims == a.dims
        assert "grid_mapping" not in apart.template.attrs
    renamed = validate_cubes([a, b.rename(y="lat", x="lon")])
    assert renamed.template.dims == ("time", "y", "x")
    bare = validate_cubes([a, b.values])
    assert bare.template is None and bare.on_one_grid is None
