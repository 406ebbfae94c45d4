import pytest
import torch

from skdiffuse.networks import VideoUNet, build_network, layers
from skdiffuse.networks.layers import Attention, ResidualBlock, TemporalConvolution


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def make_network(seed=0, **options):
    """A small network whose zero-initialised weights have been filled with noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VideoUNet(**{"width": 8, "multipliers": (1, 2), **options}).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 3, 13, 16), (1, 7, 5, 1), (3, 2, 16, 24)])
@pytest.mark.parametrize("patch_size", [1, 2])
def test_any_shape_passes(shape, patch_size, generator):
    network = make_network(patch_size=patch_size)
    v = network(torch.randn(shape, generator=generator), torch.zeros(shape[0]))
    assert v.shape == shape
    assert torch.isfinite(v).all()


@pytest.mark.parametrize("log_snr", [-30.0, 0.0, 30.0])
def test_prediction_is_zero_at_the_start(log_snr, generator):
    with torch.random.fork_rng(devices=[]):
        network = VideoUNet(width=8, multipliers=(1, 2))
    z = torch.randn(2, 3, 8, 8, generator=generator)
    assert torch.equal(network(z, torch.tensor(log_snr)), torch.zeros_like(z))


def test_sequences_of_a_batch_do_not_mix(generator):
    network = make_network()
    z = torch.randn(3, 4, 8, 8, generator=generator)
    log_snr = torch.tensor([-3.0, 0.0, 5.0])
    together = network(z, log_snr)
    for i in range(3):
        alone = network(z[i : i + 1], log_snr[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-6)


def test_frames_and_cells_do_mix(generator):
    network = make_network()
    z = torch.randn(1, 6, 16, 16, generator=generator).requires_grad_()
    (gradient,) = torch.autograd.grad(network(z, torch.tensor(0.0))[0, 0, 8, 8], z)
    assert (gradient[0].flatten(1).abs().sum(1) > 0).all()


def test_frames_in_one_network_level_need_not_be_those_of_training(generator):
    with torch.random.fork_rng(devices=[]):
        block = TemporalConvolution(4)
    x = torch.randn(5, 4, 2, 2, generator=generator)
    torch.testing.assert_close(block(x, n_frames=5), x)
    torch.nn.init.ones_(block.convolution.weight)
    # Each of 3 neighbouring frames gets the sum over the 4 channels, other sequences get nothing.
    impulse = torch.zeros(10, 4, 2, 2)
    impulse[4, :, 1, 0] = 1.0
    mixed = block(impulse, n_frames=5)
    torch.testing.assert_close(mixed[:5, 2, 1, 0], torch.tensor([0.0, 0.0, 0.0, 4.0, 4.0]))
    assert mixed.abs().sum() == 2 * 4 * 4


def test_attention_in_space_and_time_is_equivariant(generator):
    with torch.random.fork_rng(devices=[]):
        attention = {axis: Attention(8, axis) for axis in ("time", "space")}
    for axis in attention:
        torch.nn.init.normal_(attention[axis].project_out.weight, generator=generator)
    x = torch.randn(4, 8, 3, 5, generator=generator)
    # Two sequences of two frames.
    in_time = attention["time"](x, 2)
    swapped = attention["time"](x[[1, 0, 2, 3]], 2)
    torch.testing.assert_close(swapped, in_time[[1, 0, 2, 3]])
    in_space = attention["space"](x, 2)
    torch.testing.assert_close(attention["space"](x.flip(-1), 2), in_space.flip(-1))


@pytest.mark.parametrize("most_heads", [2**15, 4])
@pytest.mark.parametrize(("channels", "n_heads"), [(8, 1), (64, 2), (100, 2)])
def test_attention_is_that_of_its_formula(channels, n_heads, most_heads, generator, monkeypatch):
    """softmax(q k / sqrt(d)) v for every cell and head by itself."""
    monkeypatch.setattr(layers, "MOST_HEADS", most_heads)
    n_frames, height, width = 5, 2, 3
    with torch.random.fork_rng(devices=[]):
        attention = Attention(channels, "time")
    assert attention.n_heads == n_heads
    torch.nn.init.dirac_(attention.project_out.weight)
    x = torch.randn(2 * n_frames, channels, height, width, generator=generator)
    normed = x - x.mean(1, keepdim=True)
    normed = normed / (normed.square().mean(1, keepdim=True) + 1e-5).sqrt()
    weight = attention.project_in.weight[:, :, 0, 0].reshape(n_heads, 3, -1, channels)
    bias = attention.project_in.bias.reshape(n_heads, 3, -1)
    sequences = normed.reshape(2, n_frames, channels, height, width)
    q, k, v = (
        torch.einsum("btcyx,hdc->byxhtd", sequences, weight[:, i]) + bias[:, i, None]
        for i in range(3)
    )
    weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
    expected = torch.einsum("byxhtd->bthdyx", weights @ v).reshape(x.shape) + x
    torch.testing.assert_close(attention(x, n_frames), expected, rtol=1e-4, atol=1e-5)


def test_residual_block_starts_as_identity(generator):
    with torch.random.fork_rng(devices=[]):
        block = ResidualBlock(8, 8, 16)
    x = torch.randn(2, 8, 4, 4, generator=generator)
    torch.testing.assert_close(block(x, torch.zeros(2, 16), 2), x)


def test_location_features(generator):
    network = make_network(field_shape=(12, 10), patch_size=2)
    z = torch.randn(1, 2, 12, 10, generator=generator)
    rolled = network(z.roll(4, -1), torch.tensor(0.0)).roll(-4, -1)
    assert not torch.allclose(network(z, torch.tensor(0.0)), rolled, atol=1e-3)
    # Elsewhere the features are replaced by their mean.
    elsewhere = torch.randn(1, 2, 32, 32, generator=generator)
    assert torch.isfinite(network(elsewhere, torch.tensor(0.0))).all()


@pytest.mark.parametrize(
    ("name", "millions"), [("tiny", 2.4), ("small", 9.5), ("base", 35.7), ("large", 124.0)]
)
def test_presets(name, millions):
    """The size of `base` is the dissertation's: 35.7 million."""
    with torch.device("meta"):
        network = build_network(name)
        assert network(torch.zeros(1, 2, 16, 16), torch.zeros(1)).shape == (1, 2, 16, 16)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=0.05)


def test_unknown_preset():
    with pytest.raises(ValueError, match=r"network='huge' is unknown; choose one of"):
        build_network("huge")
