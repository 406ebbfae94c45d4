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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8.00 EiB for an array"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4611686018427387904 bytes. Error code 12"
        ),
        # On Windows and macOS.
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you "
            "tried to allocate 4611686018427387904 bytes."
        ),
    ],
)
def test_lack_of_memory_as_it_is_told(error):
    tried = []

    def draw(samples):
        tried.append(samples)
        raise error

    with pytest.raises(MemoryError, match="give tile_size"), pytest.warns(RuntimeWarning):
        in_batches(draw, 2, batch_size=2)
    assert tried == [slice(0, 2), slice(0, 1)]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not match"),
        RuntimeError("expected contiguous memory format"),
        RuntimeError("unsupported memory format option Preserve"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("not enough memory: you tried to allocate"),
    ],
)
def test_other_errors_pass_at_once(error, recwarn):
    tried = []

    def draw(samples):
        tried.append(samples)
        raise error

    with pytest.raises(type(error)) as caught:
        in_batches(draw, 4, batch_size=2)
    assert caught.value is error and tried == [slice(0, 2)] and not recwarn
