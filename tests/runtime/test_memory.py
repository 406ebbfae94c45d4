import pytest
import torch

from skdiffuse.runtime.memory import in_batches


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
