import numpy as np
import pytest
import torch

from skdiffuse.batching import in_batches, streamed


def test_batches_are_halved_until_the_memory_suffices():
    tried = []

    def draw(samples):
        size = samples.stop - samples.start
        tried.append(size)
        if size > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.arange(11)[samples]

    with pytest.warns(RuntimeWarning, match="batch_size is lowered to 2"):
        drawn = in_batches(draw, 11, batch_size=8)
    assert torch.equal(drawn, torch.arange(11))
    assert tried[:3] == [8, 4, 2]


def test_memory_errors_of_the_processor_are_known_by_their_message():
    def draw(samples):
        # What torch raises on a CPU: more than any machine has.
        return torch.empty(2**60)

    with pytest.raises(MemoryError, match="give tile_size"), pytest.warns(RuntimeWarning):
        in_batches(draw, 2, batch_size=2)


def test_other_errors_pass():
    def draw(samples):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(draw, 4, batch_size=2)


@pytest.mark.parametrize("name", ["rain.nc", "rain.zarr"])
def test_parts_are_written_in_order(tmp_path, name):
    pytest.importorskip("dask")
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    alive = []

    def parts():
        for i in range(4):
            alive.append(i)
            yield np.full((2, 3, 5, 5), i, np.float32)

    written = streamed(parts(), [(2, 3, 5, 5)] * 4, 0, lambda whole: whole, tmp_path / name)
    assert alive == [0, 1, 2, 3]
    np.testing.assert_array_equal(written.values[:, 0, 0, 0], np.repeat(np.arange(4), 2))


def test_nothing_half_written(tmp_path):
    pytest.importorskip("dask")

    def parts():
        yield np.zeros((1, 2, 3, 3), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamed(parts(), [(1, 2, 3, 3)] * 2, 0, lambda whole: whole, tmp_path / "rain.nc")
    assert not list(tmp_path.iterdir())
