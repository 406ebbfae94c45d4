"""What networks are told: covariate fields and labels, and how `Told` makes them."""

import numpy as np
import pytest
import torch

from skdiffuse.networks import Told, VideoUNet, WienerSkip, build_network

Z_SHAPE = (2, 3, 8, 8)
LOG_SNR = torch.tensor([-2.0, 3.0])


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_network(wiener, n_covariates=2, n_labels=3, **options):
    """A network all of whose weights are noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {
            "width": 8,
            "multipliers": (1, 2),
            "n_covariates": n_covariates,
            "n_labels": n_labels,
            **options,
        }
        power = torch.rand(Z_SHAPE[1:]) + 0.1
        if wiener:
            network = VideoUNet(**options, in_channels=2, out_channels=3 + n_covariates)
            network = WienerSkip(network, power)
        else:
            network = VideoUNet(**options)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.fixture(params=[False, True], ids=["unet", "wiener"])
def network(request):
    return make_network(request.param)


def test_nothing_given_is_zeros_and_no_label(network):
    z = normal(*Z_SHAPE)
    nothing = network(z, LOG_SNR)
    zeros = network(z, LOG_SNR, torch.zeros(2, 3, 2, 8, 8), torch.tensor([-1, -1]))
    torch.testing.assert_close(nothing, zeros, rtol=0, atol=0)


def test_each_sequence_follows_what_it_is_told(network):
    z, covariates = normal(1, *Z_SHAPE[1:]).expand(Z_SHAPE), normal(2, 3, 2, 8, 8, seed=1)
    labels, log_snr = torch.tensor([2, -1]), torch.tensor(0.5)
    together = network(z, log_snr, covariates, labels)
    for i in range(2):
        one = slice(i, i + 1)
        alone = network(z[one], log_snr, covariates[one], labels[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-5, atol=1e-5)
    swapped = network(z, log_snr, covariates.flip(0), labels)
    assert (swapped - together).abs().amax((1, 2, 3)).min() > 1e-3
    relabelled = network(z, log_snr, covariates, torch.tensor([0, 1]))
    assert (relabelled - together).abs().amax((1, 2, 3)).min() > 1e-3


def test_covariates_that_never_change_need_one_frame(network):
    z, covariates = normal(*Z_SHAPE), normal(1, 1, 2, 8, 8, seed=1)
    one = network(z, LOG_SNR, covariates)
    all_of_them = network(z, LOG_SNR, covariates.expand(2, 3, -1, -1, -1))
    torch.testing.assert_close(one, all_of_them, rtol=0, atol=0)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_covariates_of_odd_fields_and_patches(patch_size):
    network = make_network(False, patch_size=patch_size)
    z, log_snr, labels = normal(1, 2, 13, 9), torch.tensor(0.0), torch.tensor([1])
    covariates = normal(1, 2, 2, 13, 9).requires_grad_()
    v = network(z, log_snr, covariates, labels)
    assert v.shape == z.shape
    # The last cell, beyond the last whole patch, is told its own covariates.
    v[0, 1, -1, -1].backward()
    assert (covariates.grad[0, 1, :, -1, -1] != 0).all()


def test_weights_of_a_network_told_nothing_do_the_same_in_one_that_can_be_told():
    """The first input channels of the stem, and the null label, are the unconditional network."""
    plain = make_network(False, 0, 0)
    conditional = make_network(False, 2, 3)
    weights = plain.state_dict()
    stem = torch.cat([weights["stem.weight"], conditional.stem.weight[:, 1:]], dim=1)
    embedding = torch.zeros_like(conditional.embed_label.weight)
    conditional.load_state_dict(
        weights | {"stem.weight": stem.detach(), "embed_label.weight": embedding}
    )
    z = normal(*Z_SHAPE)
    torch.testing.assert_close(conditional(z, LOG_SNR), plain(z, LOG_SNR))


def test_a_known_value_can_be_passed_on_as_it_is():
    """Whatever the norms inside take away: doubling a covariate doubles what its gain adds."""
    network = make_network(True, 1, 0)
    for parameter in network.network.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(network.network.head.bias[3:])
    z, known = normal(*Z_SHAPE), 100 * normal(2, 3, 1, 8, 8, seed=1)
    added = network(z, LOG_SNR, known) - network(z, LOG_SNR)
    torch.testing.assert_close(added, known[:, :, 0], rtol=1e-5, atol=1e-4)


def test_gradients_reach_what_is_told(network):
    covariates = normal(2, 3, 2, 8, 8).requires_grad_()
    network(normal(*Z_SHAPE), LOG_SNR, covariates, torch.tensor([0, 2])).square().sum().backward()
    assert (covariates.grad.flatten(1).abs().sum(1) > 0).all()
    embedding = network.network.embed_label if hasattr(network, "network") else network.embed_label
    assert (embedding.weight.grad.abs().sum(1) > 0).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"covariates": torch.zeros(2, 3, 1, 8, 8)}, r"covariates must have the shape .*2, 8, 8\)"),
        ({"covariates": torch.zeros(2, 3, 8, 8)}, r"covariates must have the shape"),
        ({"covariates": torch.zeros(2, 2, 2, 8, 8)}, r"got \(2, 2, 2, 8, 8\)"),
        ({"labels": torch.tensor([0, 3])}, r"between -1 \(none\) and 2, got \[0, 3\]"),
        ({"labels": torch.tensor([0, -2])}, r"between -1 \(none\) and 2"),
        ({"labels": torch.tensor([1])}, r"labels must be 2 integers"),
        ({"labels": torch.tensor([0.0, 1.0])}, r"labels must be 2 integers"),
    ],
)
def test_what_does_not_fit_is_refused(network, told, message):
    with pytest.raises(ValueError, match=message):
        network(normal(*Z_SHAPE), LOG_SNR, **told)


@pytest.mark.parametrize("wiener", [False, True])
def test_a_network_that_can_be_told_nothing_refuses(wiener):
    network = make_network(wiener, 0, 0)
    with pytest.raises(ValueError, match="n_covariates=0"):
        network(normal(*Z_SHAPE), LOG_SNR, torch.zeros(2, 3, 1, 8, 8))
    with pytest.raises(ValueError, match="n_labels=0"):
        network(normal(*Z_SHAPE), LOG_SNR, labels=torch.tensor([0, -1]))


@pytest.mark.parametrize("power", [None, torch.ones(Z_SHAPE[1:])])
def test_presets_take_covariates_and_labels(power):
    with torch.random.fork_rng(devices=[]):
        network = build_network("tiny", power=power, n_covariates=2, n_labels=4)
    z = normal(*Z_SHAPE)
    told = {"covariates": normal(2, 3, 2, 8, 8), "labels": torch.tensor([3, -1])}
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    v = network(z, LOG_SNR, **told)
    assert v.shape == z.shape
    for name, other in (("covariates", told["covariates"] + 1), ("labels", torch.tensor([2, -1]))):
        moved = (network(z, LOG_SNR, **told | {name: other}) - v).flatten(1).abs().amax(1) > 1e-4
        assert moved.tolist() == [True, name == "covariates"]


def test_fields_are_given_with_mean_0_and_variance_1_and_a_field_of_ones():
    means, stds = (np.reshape(pair, (2, 1, 1)) for pair in ((3.0, -50.0), (2.0, 9.0)))
    fields = np.random.default_rng(0).normal(means, stds, (5, 4, 2, 6, 7))
    told = Told(means=(3.0, -50.0), stds=(2.0, 9.0))
    given = told.covariates(fields)
    assert told.n_covariates == given.shape[2] == 3
    np.testing.assert_allclose(given.mean((0, 1, 3, 4)), [0, 0, 1], atol=0.1)
    np.testing.assert_allclose(given.std((0, 1, 3, 4)), [1, 1, 0], atol=0.1)
    np.testing.assert_allclose(given[:, :, :2].numpy() * stds + means, fields, atol=1e-4)
    fields[0, 0, 1, 2, 3] = np.nan
    missing = told.covariates(fields)
    # The mean stands in for it, and nothing else changes.
    assert missing[0, 0, 1, 2, 3] == 0
    assert (missing != given).sum() == 1


def test_what_is_asked_for_is_given_to_each_sequence():
    field = np.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    told = Told(means=(1.0,), stds=(4.0,))
    asked = told.asked(field, 5, (2, 3, 4))["covariates"]
    assert asked.shape == (5, 2, 2, 3, 4)
    for one in asked[:, :, 0]:
        np.testing.assert_allclose(one, (field - 1) / 4)
    each = told.asked(np.stack([field, field + 1]), 2, (2, 3, 4))["covariates"]
    np.testing.assert_allclose(each[1, :, 0] - each[0, :, 0], 0.25)
    labels = Told(n_labels=3)
    assert labels.asked(2, 4, (2, 3, 4))["labels"].tolist() == [2, 2, 2, 2]
    assert labels.asked([0, 2], 2, (2, 3, 4))["labels"].tolist() == [0, 2]
