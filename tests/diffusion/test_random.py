import torch
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.diffusion import RandomStreams

seeds = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6)


@given(seeds=seeds, size=st.integers(1, 40), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_a_sample_does_not_depend_on_its_batch(seeds, size, dtype):
    together = RandomStreams(seeds).normal((size,), dtype)
    assert together.shape == (len(seeds), size) and together.dtype == dtype
    for i, seed in enumerate(seeds):
        assert torch.equal(together[i], RandomStreams([seed]).normal((size,), dtype)[0])


@given(seeds=seeds, cut=st.integers(0, 6))
def test_subsets_share_their_state(seeds, cut):
    whole, streams = RandomStreams(seeds), RandomStreams(seeds)
    expected = [whole.normal((3,)), whole.normal((3,))]
    parts = [streams.subset(slice(0, cut)), streams.subset(slice(cut, None))]
    for draw in expected:
        assert torch.equal(torch.cat([part.normal((3,)) for part in parts]), draw)
    assert sum(len(part) for part in parts) == len(seeds)


def test_global_generator_is_untouched():
    before = torch.get_rng_state()
    RandomStreams([0, 1]).normal((100,))
    assert torch.equal(torch.get_rng_state(), before)


def test_standard_normal():
    draws = RandomStreams(range(200)).normal((50, 10), torch.float64)
    assert abs(float(draws.mean())) < 0.01
    assert abs(float(draws.std()) - 1) < 0.01
    assert abs(float((draws[:100] * draws[100:]).mean())) < 0.01
