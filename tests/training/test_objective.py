import math

import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.networks import VideoUNet
from skdiffuse.preprocessing import LearntMonotoneTransform, water_filling
from skdiffuse.training import Budget, LatentCurve, Trainer, TrainingObjective, WindowBatches


class LinearNetwork(torch.nn.Module):
    """v_hat = a z: enough for the loss to depend on the latent in both of its places."""

    def __init__(self, factor):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, z, log_snr):
        return self.factor.to(z) * z


@pytest.fixture(scope="module")
def rain():
    random = np.random.default_rng(0)
    rain = random.gamma(0.5, 4.0, (40, 8, 8)) * (random.random((40, 8, 8)) < 0.4)
    rain[3, :2] = np.nan
    return rain.astype(np.float32)


@pytest.fixture(scope="module")
def transform(rain):
    return LearntMonotoneTransform(max_iter=150, random_state=0).fit(rain)


def test_both_terms_are_means_over_known_cells(rain, transform):
    """Against the sum of eq. 4.15 written out cell by cell, with h and h' of the frozen table."""
    batch = torch.from_numpy(rain[:6].reshape(2, 3, 8, 8)).double()
    encoder = LatentCurve(transform.trainable_module().double(), 0.3, 0.2)
    log_snr = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    noise = torch.randn(batch.shape, generator=torch.Generator().manual_seed(1)).double()
    v, stretch = TrainingObjective(LinearNetwork(-0.7), encoder)(batch, log_snr, noise)

    latent = (transform.transform(batch) - 0.3) / 0.2
    slope = transform.derivative(batch) * transform.scale_ / 2  # per unit of [-1, 1]
    for i in range(2):
        a2 = 1 / (1 + math.exp(-float(log_snr[i])))
        a, s = a2**0.5, (1 - a2) ** 0.5
        v_terms, stretch_terms = [], []
        for x, e, r, h in zip(
            *(t[i].flatten().tolist() for t in (latent, noise, batch, slope)), strict=True
        ):
            if math.isnan(r):
                continue
            v_terms.append((a * e - s * x + 0.7 * (a * x + s * e)) ** 2)
            stretch_terms.append(-math.log(h) if 0.01 <= r <= transform.scale_ else 0.0)
        assert v[i].item() == pytest.approx(np.mean(v_terms), rel=1e-4)
        # The frozen table's slope is that of chords.
        assert stretch[i].item() == pytest.approx(np.mean(stretch_terms), abs=5e-3)


@pytest.mark.parametrize("hold_variance", [False, True])
def test_gradient_of_the_joint_loss_is_its_finite_difference(rain, transform, hold_variance):
    batch = torch.from_numpy(rain[:6].reshape(2, 3, 8, 8)).double()
    curve = transform.trainable_module().double()
    encoder = held(transform) if hold_variance else LatentCurve(curve, 0.3, 0.2)
    objective = TrainingObjective(LinearNetwork(-0.7), encoder)
    log_snr = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    noise = torch.randn(batch.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss():
        return sum(part.mean() for part in objective(batch, log_snr, noise))

    loss().backward()
    for parameter in objective.parameters():
        direction = torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64
        )
        expected = (parameter.grad * direction).sum().item()
        step = 1e-6
        with torch.no_grad():
            parameter += step * direction
            up = loss()
            parameter -= 2 * step * direction
            down = loss()
            parameter += step * direction
        assert ((up - down) / (2 * step)).item() == pytest.approx(expected, rel=1e-5, abs=1e-9)


def held(transform):
    """A latent of mean 0.2 and variance 1.21 whose curve has been moved."""
    rain = transform.rate_bins_, transform.share_bins_
    curve = transform.trainable_module().double()
    with torch.no_grad():
        latent = curve(torch.from_numpy(rain[0]))[0].numpy()
    mean = np.average(latent, weights=rain[1])
    spread = np.average((latent - mean) ** 2, weights=rain[1]) ** 0.5
    encoder = LatentCurve(curve, mean - 0.2 * spread / 1.1, spread / 1.1, rain).double()
    with torch.no_grad():
        curve.raw1 += 0.5 * torch.randn(
            curve.raw1.shape, generator=torch.Generator().manual_seed(0)
        )
        curve.bias2 -= 0.3
    return encoder


def test_held_moments_stay_whatever_becomes_of_the_curve(rain, transform):
    encoder = held(transform)
    moved, _ = encoder(encoder.rates.reshape(1, 1, 1, -1))
    moved, shares = moved.detach().flatten(), encoder.shares
    mean = (shares * moved).sum()
    assert mean.item() == pytest.approx(0.2, abs=1e-5)
    assert (shares * (moved - mean) ** 2).sum().item() == pytest.approx(1.21, rel=1e-5)
    centre, scale = encoder.moments()
    rates = torch.from_numpy(rain[:6].reshape(2, 3, 8, 8)).double()
    expected = (encoder.curve(rates)[0] - centre) / scale
    assert torch.allclose(encoder(rates)[0], expected, atol=1e-6, equal_nan=True)


def test_stretch_loss_of_a_held_latent_is_that_of_its_own_slope(rain, transform):
    """By finite differences of the latent as it is handed to the network."""
    encoder = held(transform)
    rates = torch.from_numpy(rain[:3].reshape(1, 3, 8, 8)).double()
    with torch.no_grad():
        _, stretch = encoder(rates)
        up, down = (encoder(rates * f)[0] for f in (1 + 1e-5, 1 - 1e-5))
    slope = (up - down) / (2e-5 * rates) * encoder.scale * transform.scale_ / 2
    asks = (rates >= 0.01) & (rates <= transform.scale_)
    expected = -slope[asks].log().sum() / torch.isfinite(rates).sum()
    assert stretch.item() == pytest.approx(expected.item(), rel=1e-5)


def test_missing_cells_move_nothing(rain, transform):
    batch = torch.full((1, 3, 8, 8), torch.nan)
    encoder = LatentCurve(transform.trainable_module(), 0.0, 1.0)
    objective = TrainingObjective(LinearNetwork(1.0), encoder)
    parts = objective(batch, torch.zeros(1), torch.ones_like(batch))
    assert all(part.item() == 0 for part in parts)
    sum(part.sum() for part in parts).backward()
    for parameter in objective.parameters():
        assert (parameter.grad == 0).all()


def make_trainer(rain, transform, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VideoUNet(width=8, multipliers=(1, 2))
    windows = WindowBatches(validate_cube(rain), 3, (8, 8), batch_size=4, seed=0)
    encoder = LatentCurve(transform.trainable_module(), 0.3, 0.2)
    return Trainer(network, windows, encoder, TruncatedCosineSchedule(), **options)


def test_without_the_network_the_curve_is_that_of_water_filling(rain, transform):
    """Only the stretch loss asks for anything, if the latent is scaled to nothing: v_hat = v."""
    start = LearntMonotoneTransform(max_iter=0, random_state=0).fit(rain)
    trainer = make_trainer(rain, start, curve_learning_rate=0.05, warmup_steps=1)
    # A latent of scale 1e6 leaves v = alpha eps whatever the curve.
    trainer.state.objective.encode.scale = 1e6
    trainer.run(Budget(250))
    curve = trainer.averaged.curve.double()
    values = torch.from_numpy(rain[np.isfinite(rain)]).double()[None]
    reached = curve.stretch_loss(values, curve(values)[1]).item()

    edges = np.concatenate([[0.0], np.geomspace(0.01, start.scale_, 25)])
    p = np.histogram(values, edges)[0] / values.numel()
    p[0] = 0.0
    best = water_filling(p, np.diff(edges) * 2 / start.scale_, start.min_gradient)
    assert reached == pytest.approx(-np.sum(p * np.log(best)), rel=0.05)


def test_resumed_joint_training_ends_with_the_same_bits(rain, transform, tmp_path):
    def all_of(trainer):
        states = [trainer.state.objective.state_dict(), trainer.state.average.network.state_dict()]
        return torch.cat([p.flatten() for state in states for p in state.values()])

    straight = make_trainer(rain, transform)
    straight.run(Budget(6))
    make_trainer(rain, transform, checkpoint_dir=tmp_path).run(Budget(3))
    resumed = make_trainer(rain, transform, checkpoint_dir=tmp_path)
    assert resumed.resume()
    resumed.run(Budget(6))
    assert torch.equal(all_of(resumed), all_of(straight))
    moved = straight.state.objective.curve.raw2 - transform.trainable_module().raw2
    assert moved.abs().max() > 1e-5


class TestWeather:
    def test_is_told_only_where_no_cell_is_known(self):
        """What is completed from known cells is never told its weather when sampled either."""

        class Recorder(torch.nn.Module):
            def forward(self, z, log_snr, covariates=None, weather=None):
                self.weather = weather
                return torch.zeros_like(z)

        network = Recorder()
        objective = TrainingObjective(network, torch.sqrt)
        rain, weather = torch.ones(3, 2, 4, 4), torch.tensor([4, 5, -1])
        known = torch.zeros(3, 2, 4, 4, dtype=torch.bool)
        known[1, 0, 0, 0] = True
        objective(rain, torch.zeros(3), torch.ones_like(rain), known, weather=weather)
        assert network.weather.tolist() == [4, -1, -1]
        objective(rain, torch.zeros(3), torch.ones_like(rain), weather=weather)
        assert network.weather.tolist() == [4, 5, -1]
