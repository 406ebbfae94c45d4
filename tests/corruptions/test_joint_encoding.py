"""An encoder that learns together with the network: its bound, its gradient, what holds it up."""

import math

import pytest
import torch
from torch.nn.functional import avg_pool2d

from skdiffuse.corruptions import EncodedCorruption
from skdiffuse.diffusion import LinearLogSNRSchedule, TruncatedCosineSchedule

pytestmark = pytest.mark.usefixtures("global_generators_stay_untouched")

SCHEDULES = {"cosine": TruncatedCosineSchedule(), "log-SNR": LinearLogSNRSchedule(-10.0, 10.0)}


def fields_of(n, seed=0):
    """White fields of block means of variance 1, which the first code tells and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 8, 8, generator=generator) * 2


def white_codes(z, log_snr):
    """v of codes that are white noise of variance 1."""
    return torch.zeros_like(z)


def joint(fields, **options):
    return EncodedCorruption(joint=True, width=4, n_steps=1, **options).fit([fields], seed=0)


def drawn(corruption, schedule, n, seed=3):
    generator = torch.Generator().manual_seed(seed)
    log_snr = schedule.draw(n, generator)
    return log_snr, torch.randn(n, *corruption.shape((1, 8, 8)), generator=generator)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_encoder_gets_the_gradient_of_the_bound(name):
    """Against the closed form of the divergence of a noisy code from a standard normal law.

    Of a code c scaled by s it is (alpha^2 s^2 c^2 + sigma^2 - 1 - log sigma^2) / 2 at the highest
    log-SNR that the decoder is handed: alpha^2 c^2 of it comes from the scale at s = 1, without
    what is left of it at the lowest.
    """
    schedule, n = SCHEDULES[name], 8192
    corruption = EncodedCorruption(joint=True, code_noise=0.1)
    log_snr, noise = drawn(corruption, schedule, n)
    codes = torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    x = codes.clone().requires_grad_(True)
    weight = corruption.encoder_weight(log_snr, schedule.density)
    loss = corruption.loss(white_codes, x, log_snr, noise)
    (gradient,) = torch.autograd.grad((loss * weight).sum(), x)
    along_the_scale = float((gradient * codes).sum() / n)
    squared = float(codes.square().mean())
    highest = torch.tensor(-2 * math.log(0.1)).sigmoid()
    lowest = torch.tensor(schedule.log_snr_min).sigmoid()
    assert along_the_scale == pytest.approx(squared * float(highest - lowest), rel=0.06)


def test_the_value_is_the_v_loss_and_the_decoders_negative_log_density():
    fields = fields_of(16)
    corruption = joint(fields)
    log_snr, noise = drawn(corruption, SCHEDULES["cosine"], 16)
    v, nats = corruption.losses(white_codes, fields, log_snr, noise, SCHEDULES["cosine"].density)
    x = corruption.encode(fields)
    torch.testing.assert_close(v, corruption.loss(white_codes, x, log_snr, noise))
    with torch.no_grad():
        corruption.autoencoder.log_variance.fill_(-0.7)
    decoded = corruption.decode(x + 0.1 * noise)
    law = torch.distributions.Normal(decoded, math.exp(-0.35))
    expected = -law.log_prob(fields).flatten(1).sum(1) / x[0].numel()
    found = corruption.losses(white_codes, fields, log_snr, noise, SCHEDULES["cosine"].density)[1]
    torch.testing.assert_close(found, expected)
    assert not nats.equal(found)


def test_gradients_reach_encoder_decoder_and_network_and_are_those_of_finite_differences():
    """Of the sum in which codes are weighted; a network's gradient is that of the plain v-loss."""
    fields, schedule = fields_of(4).double(), SCHEDULES["cosine"]
    corruption = joint(fields.float(), code_noise=0.2)
    autoencoder = corruption.autoencoder.double()
    level = torch.tensor([-4.0, -1.0, 2.0, 8.0], dtype=torch.float64)
    noise = drawn(corruption, schedule, 4)[1].double()
    gain = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    def network(z, log_snr):
        return gain * z

    def of_the_encoder():
        """The weighted loss in plain terms, which is what its gradient is to be of."""
        x = autoencoder.encode(fields)
        weight = corruption.encoder_weight(level, schedule.density)
        v = (corruption.loss(network, x, level, noise) * weight).sum()
        return v + corruption.losses(network, fields, level, noise, schedule.density)[1].sum()

    v, nats = corruption.losses(network, fields, level, noise, schedule.density)
    names = ["shrink.0.weight", "shrink.4.weight", "grow.0.bias", "grow.4.weight", "log_variance"]
    parameters = [autoencoder.get_parameter(name) for name in names]
    found = torch.autograd.grad((v + nats).sum(), [*parameters, gain])
    step = 1e-6
    for parameter, gradient in zip(parameters, found, strict=False):
        flat, at = parameter.data.view(-1), int(gradient.abs().argmax())
        values = []
        for change in step, -2 * step:
            flat[at] += change
            values.append(of_the_encoder().item())
        flat[at] += step
        difference = (values[0] - values[1]) / (2 * step)
        assert gradient.view(-1)[at] == pytest.approx(difference, rel=1e-4)
        assert gradient.abs().max() > 0
    plain = corruption.loss(network, autoencoder.encode(fields), level, noise).sum()
    torch.testing.assert_close(found[-1], torch.autograd.grad(plain, gain)[0])


def trained(fields, n_steps, with_decoder=True):
    """Beside a network that takes codes for white noise, which it wants them to be."""
    corruption = joint(fields, code_noise=0.2)
    schedule = SCHEDULES["cosine"]
    optimizer = torch.optim.Adam(corruption.trained.parameters(), 3e-3)
    for step in range(n_steps):
        log_snr, noise = drawn(corruption, schedule, len(fields), seed=step)
        v, nats = corruption.losses(white_codes, fields, log_snr, noise, schedule.density)
        loss = (v + nats if with_decoder else v).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return corruption.settled()


def test_nothing_collapses_and_reconstruction_is_no_worse():
    coarse = torch.randn(32, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    fields = coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    before = joint(fields).settled()
    after = trained(fields, 60)
    codes = after.encode(fields)
    assert float(codes.mean()) == pytest.approx(0, abs=1e-3)
    assert float(codes.std()) == pytest.approx(1, abs=1e-3)
    errors = [float((c.decode(c.encode(fields)) - fields).square().mean()) for c in (before, after)]
    assert errors[1] < 0.7 * errors[0]
    # Each code still tells its own block.
    blocks = avg_pool2d(fields, 2)
    together = torch.stack([codes.flatten(), blocks.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > 0.95


def test_only_while_it_is_trained_there_is_anything_to_train():
    fields = fields_of(4)
    learning = joint(fields)
    assert learning.trained is learning.autoencoder
    assert all(p.requires_grad for p in learning.trained.parameters())
    settled = learning.settled()
    assert settled.trained is None and "reference" not in settled.tensors()
    torch.testing.assert_close(settled.encode(fields), learning.encode(fields).detach())
    resumed = EncodedCorruption(joint=True, width=4).with_tensors(learning.tensors())
    assert resumed.encode(fields).equal(learning.encode(fields))
    assert resumed.trained is not None
    assert EncodedCorruption(width=4, n_steps=1).fit([fields]).trained is None


def test_cells_that_are_unknown_do_not_count():
    fields = fields_of(4)
    corruption = joint(fields)
    gaps = fields.clone()
    gaps[0, 0, 0, 0] = torch.nan
    gaps[1] = torch.nan
    log_snr, noise = drawn(corruption, SCHEDULES["cosine"], 4)
    losses = corruption.losses(white_codes, gaps, log_snr, noise, SCHEDULES["cosine"].density)
    assert all(torch.isfinite(each).all() for each in losses)
    assert losses[0][1] == losses[1][1] == 0
    sum(each.sum() for each in losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in corruption.trained.parameters())


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"code_noise=0\.0 must be above 0"):
        EncodedCorruption(joint=True, code_noise=0.0)
    with pytest.raises(ValueError, match="joint='yes' must be"):
        EncodedCorruption(joint="yes")
    assert "skip" not in EncodedCorruption(joint=True).capabilities


def test_the_reference_has_the_rain_of_a_dry_climate():
    """One wet frame of a thousand; without it codes of rain would be beyond all bounds."""
    fields = torch.full((1000, 1, 8, 8), -0.03)
    fields[417] = 30.0 * torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    corruption = joint(fields)
    assert len(corruption.autoencoder.reference) <= 64
    assert corruption.encode(fields).abs().max() < 30
