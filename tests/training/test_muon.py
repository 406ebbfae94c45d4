"""Muon against singular values, the textbook's iteration and torch's own for plain matrices."""

import pytest
import torch

from skdiffuse.networks import VideoUNet
from skdiffuse.training import muon
from skdiffuse.training.muon import Muon, are_matrices, orthogonalised


def matrix(rows, columns, seed=0, dtype=torch.float32):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", [(32, 288), (128, 64), (48, 48)])
def test_singular_values_are_nearly_one_and_vectors_stay(shape):
    found = orthogonalised(matrix(*shape))
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix(*shape), full_matrices=False)
    polar = u @ v
    cosine = (found * polar).sum() / (found.norm() * polar.norm())
    assert cosine > 0.97


@pytest.mark.parametrize("shape", [(16, 144), (64, 20)])
def test_the_product_alone_gives_what_the_iteration_gives(shape):
    x = matrix(*shape, dtype=torch.float64)
    y = x / x.norm()
    if transposed := shape[0] > shape[1]:
        y = y.T
    a, b, c = muon.QUINTIC
    for _ in range(muon.ITERATIONS):
        product = y @ y.T
        y = a * y + (b * product + c * product @ product) @ y
    torch.testing.assert_close(orthogonalised(x), y.T if transposed else y, rtol=1e-8, atol=1e-10)
    # And to single precision, whose squares could have lost the smallest values.
    torch.testing.assert_close(
        orthogonalised(x.float()).double(), orthogonalised(x), atol=2e-3, rtol=0
    )


def test_zero_stays_zero():
    assert not orthogonalised(torch.zeros(3, 5)).any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_steps_of_a_matrix_are_those_of_torch():
    """Torch's works in bfloat16, and its steps have a third of the size of ours."""
    start, target = matrix(32, 48, 1), matrix(32, 48, 2)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Muon([{"params": [ours], "matrices": [True], "weight_decay": 0.1}], lr=0.01)
    other = torch.optim.Muon(
        [theirs], lr=0.03, weight_decay=0.1 / 3, adjust_lr_fn="match_rms_adamw", momentum=0.95
    )
    for _ in range(5):
        for weight, optimizer in (ours, mine), (theirs, other):
            optimizer.zero_grad()
            (weight - target).square().sum().backward()
            optimizer.step()
    moved, as_moved = ours - start, theirs - start
    # Its momentum is an average, ours a sum: the direction is the same.
    assert (moved - as_moved).norm() < 0.03 * moved.norm()


def test_what_is_no_matrix_is_adamws():
    weights = [torch.nn.Parameter(matrix(4, 4, k)) for k in range(2)]
    options = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1}
    mine = Muon([{"params": [weights[0]], "matrices": [False]}], **options)
    other = torch.optim.AdamW([weights[1]], **options)
    weights[1].data.copy_(weights[0].data)
    for _ in range(3):
        for weight, optimizer in zip(weights, (mine, other), strict=True):
            optimizer.zero_grad()
            weight.pow(4).sum().backward()
            optimizer.step()
    assert torch.equal(*weights)


def test_inner_layers_of_a_network_are_matrices():
    network = VideoUNet(width=16, multipliers=(1, 2), n_weathers=3, field_shape=(8, 8))
    names = [name for name, _ in network.named_parameters()]
    chosen = {name for name, is_one in zip(names, are_matrices(network), strict=True) if is_one}
    assert "down.0.0.block.convolution_in.weight" in chosen
    assert "middle.0.attention.project_in.weight" in chosen
    assert not any(name.endswith("bias") for name in chosen)
    left = {"stem.weight", "head.weight", "location", "embed_weather.weight"}
    assert not chosen & left and left <= set(names)


def test_memory_of_the_optimiser_goes_on_to_the_bit():
    def trained(steps, state=None):
        weight = torch.nn.Parameter(matrix(16, 16))
        optimizer = Muon([{"params": [weight], "matrices": [True]}], lr=0.01)
        if state is not None:
            weight.data.copy_(state[0])
            optimizer.load_state_dict(state[1])
        for _ in range(steps):
            optimizer.zero_grad()
            (weight - 1).square().sum().backward()
            optimizer.step()
        return weight.detach().clone(), optimizer.state_dict()

    assert torch.equal(trained(4)[0], trained(2, trained(2))[0])
