"""The mixture around a network: nothing lost where the network knows nothing."""

import copy
import math
import warnings

import pytest
import torch

from skdiffuse.datasets import make_precipitation
from skdiffuse.diffusion import VDenoiser, diffuse, v_loss
from skdiffuse.networks import (
    MixturePrior,
    MixtureSkip,
    VideoUNet,
    build_network,
    compile_network,
    fit_mixture,
)

SHAPE = (3, 8, 8)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_prior(periodic=(False,) * 3):
    decay = 1 / (1 + sum(torch.meshgrid(*(torch.arange(n) ** 2.0 for n in SHAPE), indexing="ij")))
    power = torch.stack([0.01 * decay, decay, 30 * decay])
    return MixturePrior(
        torch.tensor([0.6, 0.3, 0.1]), torch.tensor([-0.4, 0.2, 1.8]), power, periodic
    )


def make_skip(noise=0.0, prior=None, n_covariates=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"n_covariates": n_covariates, **options}
        unet = VideoUNet(8, (1, 2), in_channels=2, out_channels=3 + n_covariates, **options)
        if noise:
            for parameter in unet.parameters():
                torch.nn.init.normal_(parameter, std=noise)
    return MixtureSkip(unet, make_prior() if prior is None else prior)


@pytest.mark.parametrize("log_snr", [-30.0, -9.0, 0.0, 9.0, 30.0])
def test_before_training_it_is_the_mixture_to_the_bit(log_snr):
    skip, z = make_skip(), normal(2, *SHAPE)
    log_snr = torch.tensor(log_snr)
    assert torch.equal(skip(z, log_snr), skip.prior.denoise(z, log_snr).v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(skip(z, log_snr), skip.prior.denoise(z, log_snr).v)


@pytest.fixture(scope="module")
def rain():
    """Windows of synthetic rain in the latent, and a mixture fitted to others."""
    field = (
        torch.from_numpy(make_precipitation(192, (64, 64), random_state=0).values).float().sqrt()
    )
    windows = ((field - field.mean()) / field.std()).reshape(24, 8, 2, 32, 2, 32)
    windows = windows.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    prior, _ = fit_mixture([windows[:64]], [torch.ones(64)])
    return windows[64:], prior


@pytest.mark.parametrize("log_snr", [-12.0, -10.0, -8.0])
def test_what_is_not_learnt_does_next_to_no_harm(rain, log_snr):
    """Outputs of size 1 that know nothing, where training seldom comes."""
    windows, prior = rain
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        unet = VideoUNet(8, (1, 2), in_channels=2, out_channels=3)
        torch.nn.init.normal_(unet.head.weight)
        outputs = unet(torch.randn(4, 8, 2, 32, 32), torch.zeros(4))
        with torch.no_grad():
            unet.head.weight /= outputs.square().mean().sqrt()
    skip, log_snr = MixtureSkip(unet, prior), torch.tensor(log_snr)
    z = diffuse(windows, normal(*windows.shape), log_snr)
    with torch.no_grad():
        error, error_of_mixture = (
            (denoiser(z, log_snr) - windows).square().mean()
            for denoiser in (VDenoiser(skip), prior)
        )
    assert error < 1.03 * error_of_mixture


@pytest.mark.parametrize("log_snr", [4.0, 10.0, 20.0])
def test_at_little_noise_outputs_of_size_one_are_the_errors_of_v(log_snr):
    """Of white data of unit variance, which no filter helps."""
    prior = MixturePrior(torch.ones(1), torch.zeros(1), torch.ones(1, *SHAPE))
    skip, z = make_skip(prior=prior), normal(2, *SHAPE)
    torch.nn.init.constant_(skip.network.head.bias[0], math.sqrt(2))
    added = skip(z, torch.tensor(log_snr)) - prior.denoise(z, torch.tensor(log_snr)).v
    # sqrt(x's variance given z) / sigma times R^2 = alpha^2.
    expected = torch.sigmoid(torch.tensor(log_snr))
    torch.testing.assert_close(added, expected.expand_as(added), atol=1e-4, rtol=1e-4)


def test_always_finite_whatever_the_network_says():
    skip = make_skip(noise=0.2)
    for log_snr in (-30.0, -20.0, 0.0, 20.0, 30.0):
        for offset in (0.0, 30.0):
            v = skip(normal(2, *SHAPE) + offset, torch.tensor(log_snr))
            assert torch.isfinite(v).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 12), (5, 8, 20)])
def test_any_size(shape):
    skip, z = make_skip(noise=0.1), normal(2, *shape)
    assert skip(z, torch.tensor([-3.0, 4.0])).shape == z.shape


def test_the_class_that_is_told_reaches_skip_and_network():
    skip, z = make_skip(n_weathers=3), normal(3, *SHAPE)
    weather, log_snr = torch.tensor([2, 0, -1]), torch.tensor(-1.0)
    expected = skip.prior.denoise(z, log_snr, weather).v
    assert torch.equal(skip(z, log_snr, weather=weather), expected)
    assert torch.equal(skip(z, log_snr), skip(z, log_snr, weather=torch.tensor([-1, -1, -1])))

    noisy = make_skip(noise=0.1, n_weathers=3)
    before = noisy(z, log_snr, weather=weather)
    with torch.no_grad():
        noisy.network.embed_weather.weight[3] += 1  # class 2
    after = noisy(z, log_snr, weather=weather)
    changed = (after - before).abs().amax((1, 2, 3)) > 1e-4
    assert changed.tolist() == [True, False, False]


def test_embeddings_of_weather_and_labels_start_as_nothing():
    unet = make_skip(n_weathers=3, n_labels=2).network
    assert unet.embed_weather.weight.shape[0] == 4
    assert not unet.embed_weather.weight.any()
    assert not unet.embed_label.weight.any()
    assert make_skip().network.embed_weather is None


def test_covariates_have_gains():
    skip = make_skip(n_covariates=1)
    z, known = normal(2, *SHAPE), 100 * normal(2, 3, 1, 8, 8, seed=1)
    torch.nn.init.ones_(skip.network.head.bias[3:])
    added = skip(z, torch.tensor(-5.0), known) - skip(z, torch.tensor(-5.0))
    torch.testing.assert_close(added, known[:, :, 0], rtol=1e-5, atol=1e-4)


def test_every_weight_is_trained():
    skip = make_skip(noise=0.1, n_weathers=3)
    loss = v_loss(
        lambda z, level: skip(z, level, weather=torch.tensor([0, 2])),
        normal(2, *SHAPE),
        torch.tensor([-2.0, 3.0]),
        normal(2, *SHAPE, seed=1),
    )
    loss.mean().backward()
    for name, parameter in skip.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
    assert skip.network.embed_weather.weight.grad[[1, 3]].abs().sum(1).min() > 0


def test_it_can_be_compiled_with_the_weather_it_is_told():
    skip, z, log_snr = (
        make_skip(noise=0.1, n_weathers=3),
        normal(2, *SHAPE),
        torch.tensor([-1.0, 2.0]),
    )
    weather = torch.tensor([1, -1])
    expected = skip(z, log_snr, weather=weather)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert compile_network(skip, z, log_snr, weather=weather, backend="eager") is skip
    torch.testing.assert_close(skip(z, log_snr, weather=weather), expected)


def test_it_can_be_copied_and_saved():
    skip, z, log_snr = (
        make_skip(noise=0.1, n_weathers=3),
        normal(2, *SHAPE),
        torch.tensor([-1.0, 2.0]),
    )
    expected = skip(z, log_snr)
    torch.testing.assert_close(copy.deepcopy(skip)(z, log_snr), expected)
    prior = MixturePrior(torch.ones(3), torch.zeros(3), torch.ones(3, *SHAPE))
    other = make_skip(prior=prior, n_weathers=3)
    other.load_state_dict(skip.state_dict())
    torch.testing.assert_close(other(z, log_snr), expected)


def test_a_prior_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="fit the prior with that"):
        make_skip(edges=("zero", "periodic"))
    with pytest.raises(ValueError, match="n_weathers=5 of the network must be 0 or 3"):
        make_skip(n_weathers=5)


def test_a_class_that_cannot_be_told_is_refused():
    z, log_snr = normal(2, *SHAPE), torch.tensor(0.0)
    with pytest.raises(ValueError, match="n_weathers=0"):
        make_skip()(z, log_snr, weather=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"weather must lie between -1 \(none\) and 2"):
        make_skip(n_weathers=3)(z, log_snr, weather=torch.tensor([0, 3]))


def test_presets_take_a_prior():
    with torch.random.fork_rng(devices=[]):
        network = build_network(
            "tiny", prior=make_prior(), n_covariates=2, n_weathers=3, n_labels=2
        )
    assert isinstance(network, MixtureSkip)
    z = normal(2, *SHAPE)
    told = {
        "covariates": normal(2, 3, 2, 8, 8),
        "labels": torch.tensor([1, -1]),
        "weather": torch.tensor([-1, 2]),
    }
    assert network(z, torch.tensor(0.0), **told).shape == z.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power": torch.ones(SHAPE), "prior": make_prior()}, "choose one"),
        ({"n_weathers": 3}, "n_weathers=3 are classes of a mixture"),
        ({"n_weathers": 3, "power": torch.ones(SHAPE)}, "n_weathers=3 are classes of a mixture"),
    ],
)
def test_skips_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_network("tiny", **options)
