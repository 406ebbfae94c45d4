"""What the network sees beyond the edge of a field."""

import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from skdiffuse.networks import VideoUNet
from skdiffuse.networks.edges import SpatialConvolution, extend, resolve_edges

NUMPY_MODE = {"reflect": "symmetric", "periodic": "wrap"}


def make_network(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VideoUNet(**{"width": 8, "multipliers": (1, 2), **options}).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("edge", ["reflect", "periodic"])
@pytest.mark.parametrize(("n", "before", "after"), [(5, 2, 3), (1, 4, 7), (3, 0, 8), (2, 5, 0)])
def test_extend_is_that_of_numpy(edge, n, before, after):
    x = normal(2, n, 3)
    expected = np.pad(x, ((0, 0), (before, after), (0, 0)), mode=NUMPY_MODE[edge])
    np.testing.assert_array_equal(extend(x, 1, before, after, edge), expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "edges", [("zero", "periodic"), ("reflect", "zero"), ("periodic", "reflect")]
)
def test_convolution_is_that_of_a_padded_field(edges, stride):
    with torch.random.fork_rng(devices=[]):
        convolution = SpatialConvolution(2, 3, stride=stride, edges=edges)
    x = normal(2, 2, 6, 4)
    padded = x.numpy()
    for axis, edge in zip((2, 3), edges, strict=True):
        width = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(padded, width, mode=NUMPY_MODE.get(edge, "constant"))
    expected = F.conv2d(
        torch.from_numpy(padded), convolution.weight, convolution.bias, stride=stride
    )
    torch.testing.assert_close(convolution(x), expected)


def test_memory_stays_channels_last():
    convolution = SpatialConvolution(4, 4, edges=("periodic", "reflect"))
    convolution.to(memory_format=torch.channels_last)
    x = normal(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    assert convolution(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_a_periodic_network_has_no_seam(patch_size):
    """Rolled by what keeps the grids of all levels, the field comes out rolled."""
    network = make_network(edges=("zero", "periodic"), patch_size=patch_size)
    z, log_snr = normal(1, 3, 8, 16), torch.tensor(0.3)
    rolled = network(z.roll(4, -1), log_snr).roll(-4, -1)
    torch.testing.assert_close(rolled, network(z, log_snr), rtol=1e-4, atol=1e-5)
    in_y = network(z.roll(4, -2), log_snr).roll(-4, -2)
    assert not torch.allclose(in_y, network(z, log_snr), atol=1e-2)


def test_a_mirrored_network_cannot_tell_the_edge_from_a_mirror():
    """The mirrored field twice as long gives the same, as a field of cosines would."""
    # Symmetric in x, so that a mirrored field meets the same weights; and without the strided
    # convolution, whose grid a mirror does not keep.
    network = make_network(edges="reflect", multipliers=(1,))
    for module in network.modules():
        if isinstance(module, SpatialConvolution):
            with torch.no_grad():
                module.weight.copy_(0.5 * (module.weight + module.weight.flip(3)))
    for stage in network.middle:
        stage.attention = None  # A mean over all cells of a frame is another matter.
    z, log_snr = normal(1, 2, 8, 8), torch.tensor(0.0)
    doubled = network(torch.cat([z, z.flip(-1)], dim=-1), log_snr)
    torch.testing.assert_close(doubled[..., :8], network(z, log_snr), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("edges", ["reflect", "periodic", ("reflect", "periodic")])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 5, 1), (2, 1, 13, 9)])
def test_any_size_passes(edges, shape):
    network = make_network(edges=edges, patch_size=2, multipliers=(1, 2, 2))
    v = network(normal(*shape), torch.tensor(0.0))
    assert v.shape == shape
    assert torch.isfinite(v).all()


@pytest.mark.parametrize("edges", ["circular", ("zero",), ("zero", "wrap"), ("zero",) * 3])
def test_unknown_edges(edges):
    with pytest.raises(ValueError, match=r"edges=.* must be one of"):
        resolve_edges(edges)


@pytest.mark.parametrize("edges", [3, None, "round", ("zero",), (3, "zero"), [[], []]])
def test_edges_that_there_are_not(edges):
    with pytest.raises(ValueError, match=re.escape(f"edges={edges!r} must be one of")):
        resolve_edges(edges)
