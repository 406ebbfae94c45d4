"""The same network with less memory, with half precision, and compiled."""

import copy
import warnings

import pytest
import torch

from skdiffuse.diffusion import v_loss
from skdiffuse.networks import VideoUNet, WienerSkip, compile_network


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_network(**options):
    """A network with a skip whose weights are noise of the size of trained weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = VideoUNet(16, (1, 2), in_channels=2, out_channels=3, **options)
        for parameter in unet.parameters():
            if parameter.ndim > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return WienerSkip(unet, torch.full((3, 8, 8), 2.0))


def gradients(network, z, log_snr, dtype=None):
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        loss = v_loss(network, z, log_snr, normal(*z.shape, seed=1)).mean()
    network.zero_grad()
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in network.parameters()])


Z, LOG_SNR = normal(2, 3, 8, 8), torch.tensor([-1.0, 2.0])


def test_gradient_checkpointing_gives_the_same_bits():
    network, saving = make_network(), make_network(gradient_checkpointing=True)
    loss, gradient = gradients(network, Z, LOG_SNR)
    saving_loss, saving_gradient = gradients(saving, Z, LOG_SNR)
    assert loss == saving_loss
    assert torch.equal(gradient, saving_gradient)


def test_gradient_checkpointing_keeps_less():
    """Bytes that the backward pass is given to keep."""
    kept = {}
    for saving in (False, True):
        kept[saving] = 0
        network = make_network(gradient_checkpointing=saving)

        def pack(tensor, saving=saving):
            kept[saving] += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(Z, LOG_SNR)
    assert kept[True] < 0.5 * kept[False]


def test_half_precision_is_close():
    network = make_network()
    loss, gradient = gradients(network, Z, LOG_SNR)
    half_loss, half_gradient = gradients(network, Z, LOG_SNR, torch.bfloat16)
    assert half_loss == pytest.approx(loss, rel=0.01)
    # bf16 has 8 bits: errors of a few parts in a thousand for each of some ten layers.
    assert torch.nn.functional.cosine_similarity(gradient, half_gradient, dim=0) > 0.995
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        half = network(Z, LOG_SNR)
    full = network(Z, LOG_SNR).detach()
    assert (half - full).square().mean().sqrt() < 0.02 * full.square().mean().sqrt()


def test_the_filter_is_not_in_half_precision():
    """Before training the network adds nothing, and half precision changes nothing."""
    with torch.random.fork_rng(devices=[]):
        unet = VideoUNet(8, (1, 2), in_channels=2, out_channels=3)
    network = WienerSkip(unet, torch.full((3, 8, 8), 2.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(Z, LOG_SNR)
    torch.testing.assert_close(half, network(Z, LOG_SNR), rtol=0, atol=0)


def test_compiled_network_is_the_same_object_and_gives_the_same():
    network = make_network()
    names, expected = list(network.state_dict()), network(Z, LOG_SNR)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        # Traced as by the default backend, which would then spend minutes on code for a CPU.
        compiled = compile_network(network, Z, LOG_SNR, backend="eager")
    assert compiled is network
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(Z, LOG_SNR), expected)
    assert network.network.stem.weight.grad is None
    torch.testing.assert_close(copy.deepcopy(network)(Z, LOG_SNR), expected)


def test_a_compiler_that_fails_leaves_one_warning_and_the_plain_network():
    def broken(graph, inputs):
        raise RuntimeError("no compiler here\nand much more")

    network = make_network()
    expected = network(Z, LOG_SNR)
    with pytest.warns(RuntimeWarning, match="torch.compile failed .*; the network runs") as caught:
        compile_network(network, Z, LOG_SNR, backend=broken)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(network(Z, LOG_SNR), expected, rtol=0, atol=0)
