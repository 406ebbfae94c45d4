import numpy as np

from skdiffuse.cubes import validate_cube


def test_tiles_cover_the_cube_once_and_leave_the_edges_out():
    cube = validate_cube(np.zeros((2, 7, 9, 6)))
    counts = np.zeros(cube.values.shape, int)
    for sequence, start, y, x in cube.tiles(3, (4, 3)):
        assert cube.window(sequence, start, 3, y, x).shape == (3, 4, 3)
        counts[sequence, start : start + 3, y, x] += 1
    assert (counts[:, :6, :8] == 1).all()
    assert counts.sum() == 2 * 6 * 8 * 6
