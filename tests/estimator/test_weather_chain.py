"""How weather goes on: the law of what follows, and long series that are drawn with it."""

import numpy as np
import pytest
import torch

from skdiffuse import PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.estimator import drawing
from skdiffuse.estimator.weather import MOST_SCALING, WeatherLaw
from skdiffuse.estimator.weather_chain import fit_chain
from skdiffuse.networks import WeatherClasses
from skdiffuse.networks.video_unet import PRESETS

VALUES = torch.tensor([0.0, 1.0, 10.0])
# Of frames, from row to column; not reversible.
STEP = np.array([[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.5, 0.0, 0.5]])
OPTIONS = {"n_frames": 2, "max_steps": 1, "random_state": 0, "verbose": False}


def stationary(matrix):
    values, vectors = np.linalg.eig(matrix.T)
    vector = np.real(vectors[:, np.argmax(np.real(values))])
    return vector / vector.sum()


@pytest.fixture(scope="module")
def classes():
    edges = torch.tensor([0.5, 5.0], dtype=torch.float64)
    return WeatherClasses(edges, torch.empty(3, 0), torch.arange(3)[:, None], torch.zeros(3, 2))


@pytest.fixture(scope="module")
def stretches():
    """Fields that are one of three values all over, and go from one to another with `STEP`."""
    random = np.random.default_rng(0)
    state = random.choice(3, size=4000, p=stationary(STEP))
    states = [state]
    for _ in range(5):
        state = (random.random(4000)[:, None] > STEP[state].cumsum(1)).sum(1)
        states.append(state)
    rain = VALUES[torch.from_numpy(np.stack(states, 1))][:, :, None, None].expand(-1, -1, 2, 2)
    return rain.contiguous(), torch.ones(4000)


class TestFit:
    def test_transitions_are_those_of_the_process(self, classes, stretches):
        """Of windows of a frame: powers of the matrix."""
        chain = fit_chain(classes, torch.tensor(stationary(STEP)), [stretches], 1)
        assert chain.later.shape == (1, 3, 3)
        found = chain.after(torch.arange(3), 1)
        np.testing.assert_allclose(found, STEP, atol=0.02)

    def test_laws_agree_with_counting(self, classes, stretches):
        """Windows of three frames, cut out and told apart one by one."""
        rain, _ = stretches
        windows = [rain[:, s : s + 3] for s in range(4)]
        member = torch.stack([classes(window) for window in windows])
        frequencies = torch.bincount(member.flatten(), minlength=3) / member.numel()
        chain = fit_chain(
            classes, frequencies, [(part, torch.ones(500)) for part in rain.split(500)], 3
        )
        assert chain.later.shape == (3, 3, 3)
        for lag in (1, 3):
            counted = torch.zeros(3, 3)
            for now, then in zip(member[:-lag], member[lag:], strict=True):
                counted += torch.bincount(3 * now + then, minlength=9).reshape(3, 3)
            np.testing.assert_allclose(chain.later[lag - 1], counted / counted.sum(), atol=8e-3)

    def test_every_law_has_the_frequencies(self, classes, stretches):
        """Whatever was counted: a chain that has them keeps them."""
        frequencies = torch.tensor([0.7, 0.25, 0.05], dtype=torch.float64)
        chain = fit_chain(classes, frequencies, [stretches], 2)
        for joint in chain.later:
            np.testing.assert_allclose(joint.sum(1), frequencies, rtol=1e-6)
            np.testing.assert_allclose(joint.sum(0), frequencies, rtol=1e-6)
            assert (joint > 0).all()

    def test_what_is_missing_is_not_counted(self, classes, stretches):
        rain, weights = (part[:500].clone() for part in stretches)
        gaps = torch.cat([rain, torch.full_like(rain, torch.nan)])
        gaps[:500, :, 0, 0] = torch.nan
        frequencies = torch.tensor(stationary(STEP))
        with_gaps = fit_chain(classes, frequencies, [(gaps, torch.cat([weights, weights]))], 2)
        without = fit_chain(classes, frequencies, [(rain, weights)], 2)
        torch.testing.assert_close(with_gaps.later, without.later, atol=1e-3, rtol=0)

    def test_weights_count(self, classes, stretches):
        rain, _ = stretches
        weights = (rain[:, 0, 0, 0] > 5).float() + 1
        frequencies = torch.full((3,), 1 / 3, dtype=torch.float64)
        weighted = fit_chain(classes, frequencies, [(rain, weights)], 1)
        heavy = rain[:, 0, 0, 0] > 5
        doubled = torch.cat([rain, rain[heavy]])
        plain = fit_chain(classes, frequencies, [(doubled, torch.ones(len(doubled)))], 1)
        torch.testing.assert_close(weighted.later, plain.later, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def law(classes, stretches):
    frequencies = torch.tensor(stationary(STEP))
    return WeatherLaw(classes, frequencies, fit_chain(classes, frequencies, [stretches], 1))


class TestAlong:
    def test_windows_have_the_frequencies_and_follow_each_other(self, law):
        n = 4000
        drawn = torch.stack([each.classes for each in law.along(0, n, range(6))])
        for each in drawn:
            share = torch.bincount(each, minlength=3) / n
            np.testing.assert_allclose(share, law.frequencies, atol=4 * 0.5 / np.sqrt(n))
        for now in range(3):
            then = drawn[1:][drawn[:-1] == now]
            share = torch.bincount(then, minlength=3) / len(then)
            np.testing.assert_allclose(share, STEP[now], atol=0.03)

    def test_a_series_depends_on_its_number_alone(self, law):
        few, many = law.along(3, 2, range(4)), law.along(3, 5, range(9))
        for some, every in zip(few, many, strict=False):
            assert torch.equal(some.classes, every.classes[:2])

    def test_lags_that_were_not_learnt(self, law):
        assert law.follows([1, 1]) and not law.follows([2])
        assert WeatherLaw(law.classes, law.frequencies).follows([])
        with pytest.raises(ValueError, match=r"starts lie \[2\] frames apart.*fit_weather_chain"):
            law.along(0, 1, [0, 2])

    def test_file_form(self, law):
        back = WeatherLaw.from_tensors(law.tensors())
        assert torch.equal(back.chain.later, law.chain.later)
        older = {k: v for k, v in law.tensors().items() if k != "later"}
        assert WeatherLaw.from_tensors(older).chain is None


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(300, (8, 8), random_state=0)


@pytest.fixture(scope="module")
def untrained(cube):
    """Whose network is its mixture still: what it draws is known in closed form."""
    with pytest.MonkeyPatch.context() as patch:
        # It says nothing, whatever its size.
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,), "patch_size": 2})
        model = PrecipDiffusion(**OPTIONS, sampler=SamplerSettings(n_steps=16)).fit(cube)
        torch.nn.init.zeros_(model.network_.network.head.weight)
        torch.nn.init.zeros_(model.network_.network.head.bias)
        yield model


@pytest.fixture
def told(monkeypatch):
    """Arguments of each call of `draw`, which draws nothing."""
    calls = []

    def draw(model, request, shape, seeds, *rest, **options):
        calls.append(options)
        return torch.zeros(len(seeds), *shape)

    for module in ("completion", "generation"):
        monkeypatch.setattr(f"skdiffuse.estimator.{module}.draw", draw)
    return calls


class TestSeries:
    @pytest.mark.parametrize("mode", ["composed", "averaged"])
    def test_windows_of_one_series_are_told_their_class(self, untrained, told, mode):
        untrained.simulate(7, n_samples=3, mode=mode)
        (call,) = told
        expected = untrained.model_.weathers.along(untrained._request().seed, 3, range(6))
        assert torch.equal(call["classes"], torch.stack([e.classes for e in expected], 1))
        assert call.get("weather") is None

    def test_windows_in_turn_are_told_theirs(self, untrained, told):
        untrained.simulate(4, n_samples=2)
        expected = untrained.model_.weathers.along(untrained._request().seed, 2, range(4))
        assert torch.equal(told[0]["weather"].means, expected[0].means)
        for call, weather in zip(told[1:], expected[1:], strict=True):
            assert torch.equal(call["classes"], weather.classes)
            assert call.get("weather") is None

    @pytest.mark.parametrize(
        "asked",
        [
            {"log_likelihood": lambda rain: -rain.mean((1, 2, 3))},
            {"shape": (16, 16)},
        ],
    )
    @pytest.mark.parametrize("mode", ["composed", "autoregressive"])
    def test_what_leaves_it_to_the_network(self, untrained, told, asked, mode):
        untrained.simulate(4, mode=mode, **asked)
        assert all(call.get("classes") is None for call in told)

    def test_a_series_of_one_window_is_a_sequence(self, untrained, monkeypatch):
        """Its mean comes as near to the one drawn too."""
        options = {"n_samples": 32, "n_steps": 8, "mode": "composed", "random_state": 1}
        drawn = untrained.simulate(2, **options)
        monkeypatch.setattr(drawing, "with_means", lambda rain, *_: rain)
        own = np.asarray(untrained.simulate(2, **options)).mean((1, 2, 3))
        (weather,) = untrained.model_.weathers.along(
            untrained._request(random_state=1).seed, 32, [0]
        )
        found, means = np.asarray(drawn).mean((1, 2, 3)), np.asarray(weather.means)
        wet = means > 0.02
        factor = (means[wet] / own[wet]).clip(1 / MOST_SCALING, MOST_SCALING)
        assert np.median(np.abs(found[wet] / (own[wet] * factor) - 1)) < 0.02
        assert found[means == 0].max() == 0

    def test_long_series_have_the_rain_that_was_learnt(self, untrained, cube):
        rain = np.asarray(untrained.simulate(5, n_samples=32, mode="averaged", n_steps=8))
        mean, std = (float(s) for s in (cube.mean(), rain.mean((1, 2, 3)).std()))
        error = np.hypot(std / np.sqrt(32), float(cube.mean(("y", "x")).std()) * np.sqrt(8 / 300))
        assert abs(rain.mean() - mean) < 4 * error
        assert rain.max() < 3 * float(cube.max())

    def test_sequences_as_short_as_windows_leave_it_to_the_network(self, cube, told, untrained):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,), "patch_size": 2})
            model = PrecipDiffusion(**OPTIONS).fit(cube.values.reshape(150, 2, 8, 8))
        assert model.model_.weathers.chain is None
        model.simulate(5, mode="composed")
        assert told[-1].get("classes") is None
        model.fit_weather_chain(cube.values).simulate(5, mode="composed")
        assert told[-1]["classes"].shape == (1, 4)

    def test_bad_series(self, untrained, cube):
        with pytest.raises(ValueError, match=r"fields of \(4, 8\).*\(8, 8\) cells"):
            untrained.fit_weather_chain(cube[:, :4])
