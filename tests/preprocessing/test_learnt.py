"""The learnt curve: its form, its optimum, and the way in and out of joint training."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from skdiffuse.preprocessing import LearntMonotoneTransform, MonotoneNetwork, water_filling

LAW = stats.gamma(0.4, scale=2.0)
WET_FRACTION = 0.3
SCALE = 80.0


def draw(seed):
    rng = np.random.default_rng(seed)
    rates = LAW.rvs(size=(1, 200, 200), random_state=rng)
    return rates * (rng.random(rates.shape) < WET_FRACTION)


def gap_to_optimum(transform, c):
    """(loss - optimum) / |optimum| under the law itself, by quadrature."""
    edges = np.concatenate([[0.0], np.geomspace(0.01, SCALE, 4000)])
    probability = WET_FRACTION * np.diff(LAW.cdf(edges))
    probability[0] = 0.0
    best = water_filling(probability, np.diff(edges) * 2.0 / SCALE, c)
    middle = (0.5 * (edges[1:] + edges[:-1])).reshape(1, 1, -1)
    log_slope = transform.log_jacobian(middle).ravel() + np.log(SCALE / 2.0)
    optimum = -(probability * np.log(best)).sum()
    return (-(probability * log_slope).sum() - optimum) / abs(optimum)


def module(seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return MonotoneNetwork(SCALE, generator=generator, **kwargs).double()


@pytest.mark.parametrize("seed", range(3))
def test_masked_loss_reaches_water_filling(seed):
    transform = LearntMonotoneTransform(scale=SCALE, random_state=seed).fit(draw(seed))
    assert 0.0 < gap_to_optimum(transform, 0.1) < 0.03


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=6),
    c=st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
)
def test_water_filling_is_the_optimum(weights, c, seed):
    p = np.array(weights)
    width = np.random.default_rng(seed).dirichlet(np.ones(p.size)) * 2.0 + 1e-3
    slope = water_filling(p, width, c)
    floor = c / (1.0 + c)
    assert (slope >= floor * (1 - 1e-12)).all()
    if p.sum() > 1e-6:
        np.testing.assert_allclose((slope * width).sum(), width.sum(), rtol=1e-9)
        loss = -(p * np.log(slope)).sum()
        found = optimize.minimize(
            lambda s: -(p * np.log(s)).sum(),
            np.ones_like(p),
            jac=lambda s: -p / s,
            bounds=[(floor, None)] * p.size,
            constraints={
                "type": "eq",
                "fun": lambda s: ((s - 1.0) * width).sum(),
                "jac": lambda s: width,
            },
            method="SLSQP",
        )
        assert loss <= found.fun + 1e-6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), c=st.floats(1e-3, 1.0), spread=st.floats(0.0, 30.0))
def test_ends_and_floor_whatever_the_weights(seed, c, spread):
    network = module(seed, min_gradient=c)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, dtype=torch.float64))
        rain = torch.linspace(0.0, SCALE, 501, dtype=torch.float64)
        latent, log_slope = network(rain)
    if not torch.isfinite(latent).all():  # both ends of o(x) saturated to the same number
        return
    assert latent[0] == 0.0 and latent[-1] == 2.0
    assert (log_slope.exp() * SCALE / 2.0 >= c / (1.0 + c) * (1 - 1e-12)).all()
    assert (latent.diff() > 0).all()


@pytest.mark.parametrize("form", ["recommended", "dissertation"])
def test_forward_mode_slope_is_autograds(form):
    network = module(form=form)
    rain = torch.linspace(0.01, 120.0, 300, dtype=torch.float64, requires_grad=True)
    latent, log_slope = network(rain)
    (gradient,) = torch.autograd.grad(latent.sum(), rain)
    torch.testing.assert_close(log_slope.exp(), gradient, rtol=1e-9, atol=0)


def test_slope_of_tanh_stays_finite_far_out():
    """As 1 / cosh^2 in more digits, and 0 where that has no more."""
    from skdiffuse.preprocessing._monotone_network import _sech2

    a = np.array([0.0, 0.5, -3.0, 20.0, -40.0, 200.0])
    found = _sech2(torch.from_numpy(a).float())
    np.testing.assert_allclose(found, 1 / np.cosh(a) ** 2, rtol=1e-5, atol=1e-40)


def test_learns_the_same_of_a_tensor():
    rain = draw(0)[:, :50, :50]
    of_array, of_tensor = (
        LearntMonotoneTransform(max_iter=5, random_state=0).fit(X)
        for X in (rain, torch.from_numpy(rain))
    )
    assert of_tensor.scale_ == of_array.scale_ == rain.max()
    np.testing.assert_array_equal(of_tensor.latent_nodes_, of_array.latent_nodes_)


def test_values_above_a_rate():
    from skdiffuse.preprocessing._elementwise import finite_values

    X = np.array([[np.nan, np.inf, 0.0, 0.4, 2.0, 0.5, -np.inf]])
    rng = np.random.RandomState(0)
    assert finite_values(X, 10, rng, above=0.4).tolist() == [0.5, 2.0]
    assert finite_values(X, 10, rng).tolist() == [0.0, 0.4, 0.5, 2.0]
    assert len(set(finite_values(np.arange(20.0), 7, rng)) & {*range(20)}) == 7


def test_dissertation_form_adds_then_scales():
    network = module(form="dissertation", min_gradient=0.001)
    rain = torch.linspace(0.0, SCALE, 11, dtype=torch.float64)
    latent, _ = network(rain)
    u = 2.0 * rain / SCALE - 1.0
    with torch.no_grad():
        hidden = u[:, None]
        for k in (1, 2, 3):
            raw, bias = getattr(network, f"raw{k}"), getattr(network, f"bias{k}")
            hidden = torch.tanh(hidden @ torch.nn.functional.softplus(raw).T + bias)
    y = hidden[:, 0] + 0.001 * u
    torch.testing.assert_close(latent.detach(), 2.0 * (y - y[0]) / (y[-1] - y[0]))


def test_missing_cells_give_no_gradient():
    rain = torch.tensor([[0.5, float("nan"), 3.0]], dtype=torch.float64)
    alone = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
    gradients = []
    for data in (rain, alone):
        network = module()
        latent, log_slope = network(data)
        (network.stretch_loss(data, log_slope) + latent[~data.isnan()].mean()).backward()
        gradients.append([p.grad for p in network.parameters()])
    assert torch.isnan(network(rain)[0][0, 1])
    for with_missing, without in zip(*gradients, strict=True):
        torch.testing.assert_close(with_missing, without)


def test_mask_and_reduction():
    network = module()
    rain = torch.tensor([0.0, 0.009, 0.01, 80.0, 81.0, float("nan")])
    assert network.mask(rain).tolist() == [False, False, True, True, False, False]
    log_slope = torch.full_like(rain, 0.5) + np.log(2.0 / SCALE)
    # Two of the five known elements count.
    assert network.stretch_loss(rain, log_slope).item() == pytest.approx(-0.5 * 2 / 5)


def test_table_is_the_network():
    transform = LearntMonotoneTransform(random_state=0).fit(draw(0))
    network = transform.trainable_module().double()
    rain = np.geomspace(1e-3, 400.0, 5000).reshape(1, 1, -1)
    with torch.no_grad():
        latent, log_slope = network(torch.from_numpy(rain))
    np.testing.assert_allclose(transform.transform(rain), latent, rtol=2e-5)
    np.testing.assert_allclose(transform.log_jacobian(rain), log_slope, atol=0.01)

    def by_bisection(z):
        def miss(x):
            return network(torch.tensor([x], dtype=torch.float64))[0].item() - z

        return optimize.bisect(miss, 0.0, 1000.0, xtol=1e-12)

    targets = np.array([0.05, 0.5, 1.2, 1.9, 2.0])
    found = transform.inverse_transform(targets.reshape(1, 1, -1)).ravel()
    np.testing.assert_allclose(found, [by_bisection(z) for z in targets], rtol=2e-5)


def test_rain_beyond_the_maximum_is_not_capped():
    x = draw(1)
    transform = LearntMonotoneTransform(random_state=0, max_iter=50).fit(x)
    assert transform.scale_ == x.max()
    beyond = np.array([[[2.0 * x.max()]]])
    assert transform.transform(beyond)[0, 0, 0] > 2.0
    np.testing.assert_allclose(
        transform.inverse_transform(transform.transform(beyond)), beyond, rtol=1e-12
    )


def test_in_and_out_of_joint_training():
    x = draw(2)
    transform = LearntMonotoneTransform(random_state=0, max_iter=30).fit(x)
    before = copy.deepcopy(transform)
    network = transform.trainable_module()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    batch = torch.from_numpy(x[0]).float()
    for _ in range(30):
        optimizer.zero_grad()
        _, log_slope = network(batch)
        network.stretch_loss(batch, log_slope).backward()
        optimizer.step()
    np.testing.assert_array_equal(transform.latent_nodes_, before.latent_nodes_)
    transform.freeze(network)
    assert np.abs(transform.latent_nodes_ - before.latent_nodes_).max() > 1e-3
    again = transform.trainable_module()
    for old, new in zip(network.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(old, new)


def test_a_diverged_module_is_refused():
    transform = LearntMonotoneTransform(max_iter=1).fit(draw(0))
    network = transform.trainable_module()
    with torch.no_grad():
        network.raw2[0, 0] = float("nan")
    with pytest.raises(ValueError, match="joint_learning_rate"):
        transform.freeze(network)


def test_warm_start_goes_on():
    x = draw(0)
    transform = LearntMonotoneTransform(random_state=0, max_iter=200, warm_start=True)
    first = transform.fit(x).loss_
    # Adam's first full steps may lose a little; where it starts shows that it went on.
    assert transform.set_params(max_iter=1).fit(x).loss_curve_[0] == pytest.approx(first, abs=1e-3)


def test_same_seed_same_curve():
    x = draw(0)
    state = torch.get_rng_state()
    curves = [
        LearntMonotoneTransform(random_state=3, max_iter=20).fit(x).latent_nodes_ for _ in range(2)
    ]
    np.testing.assert_array_equal(*curves)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_rain_warns_and_stays_a_transform():
    with pytest.warns(UserWarning, match="no rain above"):
        transform = LearntMonotoneTransform().fit(np.zeros((2, 3, 3)))
    assert (np.diff(transform.latent_nodes_) > 0).all()
    rain = np.array([[[0.0, 0.3, 1.0, 7.0]]])
    back = transform.inverse_transform(transform.transform(rain))
    np.testing.assert_allclose(back, rain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "parameters",
    [{"min_gradient": 0.0}, {"scale": -1.0}, {"max_iter": 1.5}, {"form": "exp"}, {"n_hidden": 0}],
)
def test_refuses(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"{name}: got"):
        LearntMonotoneTransform(**parameters).fit(np.ones((2, 2, 2)))
