"""The autoencoder: what it starts from, what it learns, and its Jacobian."""

import torch
from torch.nn.functional import avg_pool2d

from skdiffuse.corruptions import EncodedCorruption, SpatialAutoencoder

FIELDS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def smooth_fields(n):
    """Fields of which half of the cells tell the others."""
    coarse = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_starts_from_block_means():
    code = SpatialAutoencoder(factor=2).encode(FIELDS)
    torch.testing.assert_close(code, avg_pool2d(FIELDS, 2))


def test_learns_what_block_means_and_interpolation_do_not_say():
    fields = smooth_fields(8)
    plain = SpatialAutoencoder(2)
    before = (plain.decode(plain.encode(fields)) - fields).square().mean()
    fitted = EncodedCorruption(width=16, n_steps=150).fit([fields[:4], fields[4:]], seed=0)
    codes = fitted.encode(fields)
    after = (fitted.decode(codes) - fields).square().mean()
    assert after < 0.2 * before
    assert abs(codes.mean()) < 0.05
    assert abs(codes.std() - 1) < 0.05


def test_jacobians_against_finite_differences():
    fitted = EncodedCorruption(width=4, n_steps=5).fit([FIELDS])
    autoencoder = fitted.autoencoder.double()
    field = FIELDS[:1, :1, :4, :4].double()
    code = autoencoder.encode(field)
    for function, at in (autoencoder.encode, field), (autoencoder.decode, code):
        jacobian = torch.autograd.functional.jacobian(function, at).reshape(
            function(at).numel(), at.numel()
        )
        step = 1e-6
        for i in range(at.numel()):
            change = torch.zeros(at.numel(), dtype=torch.float64)
            change[i] = step
            change = change.reshape(at.shape)
            difference = (function(at + change) - function(at - change)) / (2 * step)
            torch.testing.assert_close(jacobian[:, i], difference.flatten(), atol=1e-7, rtol=1e-5)


def test_the_same_seed_gives_the_same_autoencoder_and_no_global_stream_is_touched():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (EncodedCorruption(width=4, n_steps=3).fit([FIELDS], seed=7) for _ in range(2))
    assert torch.random.get_rng_state().equal(before)
    assert first.encode(FIELDS).equal(second.encode(FIELDS))


def test_codes_of_blocks_with_unknown_cells_are_unknown():
    fitted = EncodedCorruption(width=4, n_steps=1).fit([FIELDS])
    fields = FIELDS.clone()
    fields[0, 0, 0, 0] = torch.nan
    unknown = ~torch.isfinite(fitted.encode(fields))
    assert unknown.sum() == 1
    assert unknown[0, 0, 0, 0]
