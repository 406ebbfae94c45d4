"""The weather of a window: its law, storms by order, rare events with weights."""

import numpy as np
import pytest
import torch

from skdiffuse import NetworkSettings, PrecipDiffusion, SamplerSettings, make_precipitation
from skdiffuse.cubes import validate_cube
from skdiffuse.estimator import drawing
from skdiffuse.estimator.weather import (
    MOST_SCALING,
    Storm,
    WeatherLaw,
    prior_of,
    prior_tensors,
    with_means,
)
from skdiffuse.networks import WeatherClasses, fit_mixture
from skdiffuse.networks.video_unet import PRESETS
from skdiffuse.training import WindowBatches, read_tensors

OPTIONS = {"n_frames": 2, "random_state": 0, "verbose": False}


def law_of(*frequencies):
    n = len(frequencies)
    edges = torch.arange(1.0, n, dtype=torch.float64)
    means = torch.stack([torch.arange(n) + 0.25, torch.arange(n) + 0.75], 1)
    classes = WeatherClasses(edges, torch.empty(n, 0), torch.arange(n)[:, None], means)
    return WeatherLaw(classes, torch.tensor(frequencies, dtype=torch.float64))


class TestLaw:
    @pytest.mark.parametrize("n", [10, 100, 1000])
    def test_shares_are_even_but_for_rounding(self, n):
        """Far closer than chance would bring them, whose error is sqrt(p (1 - p) n)."""
        law = law_of(0.6, 0.3, 0.09, 0.01)
        for seed in range(5):
            drawn = law.draw(seed, 0, n)
            counts = torch.bincount(drawn.classes, minlength=4)
            assert (counts - n * law.frequencies).abs().max() < 3
            np.testing.assert_allclose(drawn.weights, 1.0)

    def test_a_class_depends_on_the_number_alone(self):
        law = law_of(0.5, 0.4, 0.1)
        whole = law.draw(3, 0, 50, rare=0.5)
        for first, n in ((0, 20), (20, 1), (21, 29)):
            part = law.draw(3, first, n, rare=0.5)
            for some, every in zip(part[:3], whole[:3], strict=True):
                assert torch.equal(some, every[first : first + n])

    @pytest.mark.parametrize("rare", [0.0, 0.3, 1.0])
    def test_weights_undo_the_preference(self, rare):
        """The weighted frequency of each class is its own."""
        law = law_of(0.7, 0.25, 0.05)
        drawn, _, weights = law.draw(0, 0, 20_000, rare)[:3]
        for k, frequency in enumerate(law.frequencies):
            found = weights[drawn == k].sum() / len(drawn)
            assert float(found) == pytest.approx(float(frequency), rel=0.01)
        shares = torch.bincount(drawn, minlength=3) / len(drawn)
        expected = law.frequencies ** (1 - rare)
        torch.testing.assert_close(shares.double(), expected / expected.sum(), rtol=0.01, atol=1e-4)

    def test_seeds_give_the_frequencies(self):
        law = law_of(0.7, 0.3)
        drawn, means, weights = law.of_seeds(range(4000))[:3]
        assert float((drawn == 1).double().mean()) == pytest.approx(0.3, abs=4 * 0.0072)
        assert torch.equal(law.of_seeds([7, 8]).classes, drawn[7:9])
        assert torch.equal(weights, torch.ones_like(weights))
        # Even between a quarter and three quarters above the number of each class.
        inside = means - drawn
        assert inside.min() >= 0.25 and inside.max() <= 0.75
        assert float(inside.mean()) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(12 * 4000))
        assert float(inside.std()) == pytest.approx(0.5 / np.sqrt(12), rel=0.05)

    @pytest.mark.parametrize("rare", [0.0, 0.8])
    def test_means_are_spread_over_the_law_of_each_class(self, rare):
        """Stratified: the largest distance to the law is far less than chance would leave."""
        law = law_of(0.7, 0.25, 0.05)
        drawn, means, _ = law.draw(1, 0, 2000, rare)[:3]
        for k in range(3):
            inside = (means[drawn == k] - k).sort().values
            expected = 0.25 + 0.5 * (torch.arange(len(inside)) + 0.5) / len(inside)
            assert (inside - expected).abs().max() < 0.5 * 0.25 / np.sqrt(len(inside))

    def test_a_storm_by_order(self):
        law = law_of(0.7, 0.3)
        drawn = law.draw(0, 0, 50, storm=Storm(1))
        assert set(drawn.classes.tolist()) == {1}
        assert float(drawn.means.mean()) == pytest.approx(1.5, abs=0.02)
        assert torch.equal(drawn.weights, torch.ones(50, dtype=torch.float64))
        drawn = law.draw(0, 0, 3, storm=Storm(1, 1.7))
        assert drawn.means.tolist() == [1.7] * 3

    def test_class_of_a_mean(self):
        numbers = torch.arange(6).reshape(2, 3)
        edges = torch.tensor([[1.5, 2.5], [1.2, 3.0]], dtype=torch.float64)
        mean = torch.tensor([1.0], dtype=torch.float64)
        classes = WeatherClasses(mean, edges, numbers, torch.zeros(6, 2))
        law = WeatherLaw(classes, torch.full((6,), 1 / 6, dtype=torch.float64))
        assert law.class_of(0.5) == 1
        assert law.class_of(4.0) == 4
        assert law.class_of(4.0, unevenness=1.0) == 3
        assert law.class_of(0.5, unevenness=9.0) == 2

    def test_file_form(self):
        law = law_of(0.7, 0.3)
        back = WeatherLaw.from_tensors(law.tensors())
        for one, other in zip(back.draw(0, 0, 9)[:3], law.draw(0, 0, 9)[:3], strict=True):
            assert torch.equal(one, other)
        assert torch.equal(back.classes.edges, law.classes.edges)


class TestFileForm:
    def test_spectra_of_rings_are_kept_once(self):
        """The same prior comes back to the bit, from far fewer numbers."""
        windows = torch.randn(64, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        prior, _ = fit_mixture([windows], [torch.ones(64)], 3)
        kept = prior_tensors(prior)
        back = prior_of(kept, (False,) * 3)
        for name, tensor in prior.state_dict().items():
            assert torch.equal(back.state_dict()[name], tensor)
        assert kept["power"].numel() < 0.1 * prior.power.numel()

    def test_a_file_holds_the_prior_once(self, untrained, tmp_path):
        untrained.save(tmp_path / "model.safetensors")
        names = read_tensors(tmp_path / "model.safetensors")[0]
        assert "prior.power" in names
        assert not [name for name in names if name.startswith("network.prior")]
        back = PrecipDiffusion.load(tmp_path / "model.safetensors")
        a, b = (np.asarray(model.sample(2, random_state=0)) for model in (untrained, back))
        np.testing.assert_array_equal(a, b)


class TestMeans:
    def test_sequences_have_the_means_that_were_drawn(self):
        rain = torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
        wanted = torch.tensor([0.3, 0.5, 0.9, 0.4], dtype=torch.float64)
        found = with_means(rain, wanted, most=3.0)
        torch.testing.assert_close(found.double().mean((1, 2, 3)), wanted, rtol=1e-6, atol=0)
        share = found / rain
        torch.testing.assert_close(share, share[:, :1, :1, :1].expand_as(share))

    def test_limits(self):
        rain = torch.tensor([1.0, 1.0, 0.0, 1.0]).reshape(4, 1, 1, 1)
        found = with_means(rain, torch.tensor([100.0, 1e-9, 2.0, 0.0])).flatten().tolist()
        assert found == pytest.approx([MOST_SCALING, 1 / MOST_SCALING, 0.0, 0.0])


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(300, (8, 8), random_state=0)


@pytest.fixture(scope="module")
def untrained(cube):
    """Whose network is its mixture still: what it draws is known in closed form."""
    sampler = SamplerSettings(n_steps=12)
    with pytest.MonkeyPatch.context() as patch:
        # It says nothing, whatever its size.
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,), "patch_size": 2})
        model = PrecipDiffusion(**OPTIONS, max_steps=1, sampler=sampler).fit(cube)
        zero = model.network_.network.head
        torch.nn.init.zeros_(zero.weight)
        torch.nn.init.zeros_(zero.bias)
        yield model


def latent_means(model, rain):
    return model.latent_.encode(torch.as_tensor(np.asarray(rain))).mean((1, 2, 3)).double()


class TestGeneration:
    def test_weather_is_that_of_the_training_rain(self, untrained, cube):
        """Against the means of windows of the cube, of which they were learnt."""
        drawn = np.asarray(untrained.sample(256)).mean((1, 2, 3))
        real = np.asarray(cube.values[: 2 * 150]).reshape(150, 2, 8, 8).mean((1, 2, 3))
        error = np.hypot(drawn.std() / 16, real.std() / np.sqrt(150))
        assert abs(drawn.mean() - real.mean()) < 4 * error
        assert drawn.mean() == pytest.approx(real.mean(), rel=0.2)

    def test_storms_by_order(self, untrained):
        """The mean latent of a class is that of its Gaussian."""
        prior = untrained.model_.prior
        for storm in (0, prior.n_classes // 2, prior.n_classes - 1):
            with torch.no_grad():
                rain = untrained.sample(64, storm=storm, random_state=1)
            spread = (prior.power[storm, 0, 0, 0] / prior.power[storm].numel()).sqrt()
            wanted = prior.mean[storm]
            # Rain below 0 is cut off, which lifts the mean of dry classes.
            found = latent_means(untrained, rain).mean()
            assert found > wanted - 4 * spread / 8
            if storm == prior.n_classes - 1:
                assert abs(found - wanted) < 4 * spread / 8 + 0.15
        means = [float(untrained.sample(32, storm={"mean": m}).mean()) for m in (0.05, 0.5, 2.0)]
        assert means[0] < means[1] < means[2]

    def test_sequences_have_the_mean_that_was_ordered_or_come_near_that_drawn(
        self, untrained, monkeypatch
    ):
        # However far from what the wettest class has.
        for mean in (2.0, 40.0):
            rain = untrained.sample(16, storm={"mean": mean}, random_state=1)
            np.testing.assert_allclose(np.asarray(rain).mean((1, 2, 3)), mean, rtol=0.02)
        wettest = len(untrained.model_.weathers.frequencies) - 1
        seed = untrained._request(random_state=2).seed
        drawn = untrained.model_.weathers.draw(seed, 0, 128, storm=Storm(wettest))
        rain = np.asarray(untrained.sample(128, storm=wettest, random_state=2))
        monkeypatch.setattr(drawing, "with_means", lambda rain, *_: rain)
        own = np.asarray(untrained.sample(128, storm=wettest, random_state=2)).mean((1, 2, 3))
        factor = (np.asarray(drawn.means) / own).clip(1 / MOST_SCALING, MOST_SCALING)
        assert np.median(np.abs(rain.mean((1, 2, 3)) / (own * factor) - 1)) < 0.02

    def test_what_is_asked_for_decides_the_weather(self, untrained):
        """Frequencies of classes among sequences that must be dry are not those of all."""

        def dryness(rain):
            return -50 * rain.mean((1, 2, 3))

        with pytest.raises(ValueError, match="leave rare out"):
            untrained.sample(2, rare=0.5, log_likelihood=dryness)
        plain = float(untrained.sample(32).mean())
        assert float(untrained.sample(32, log_likelihood=dryness).mean()) < 0.5 * plain

    def test_long_series_leave_what_is_asked_for_to_the_network_too(self, untrained, monkeypatch):
        told = []

        def draw(model, request, shape, seeds, *rest, weather=None, **options):
            told.append(weather)
            return torch.zeros(len(seeds), *shape)

        monkeypatch.setattr("skdiffuse.estimator.completion.draw", draw)
        untrained.simulate(2)
        untrained.simulate(2, log_likelihood=lambda rain: -rain.mean((1, 2, 3)))
        assert told[0] is not None and told[1] is None

    def test_rare_weather_weighs_what_it_is_worth(self, untrained, cube):
        plain = untrained.sample(256, random_state=2)
        rare = untrained.sample(256, rare=0.7, random_state=3)
        weights = rare.weight.values
        np.testing.assert_array_equal(
            weights, untrained.sample_weights(256, rare=0.7, random_state=3)
        )
        assert weights.std() > 0.5
        assert weights.mean() == pytest.approx(1.0, abs=0.05)
        assert float(rare.mean()) > 1.3 * float(plain.mean())
        weighted = float((rare * rare.weight).mean())
        error = np.hypot(
            float(plain.mean(("time", "y", "x")).std()) / 16,
            float((rare * rare.weight).mean(("time", "y", "x")).std()) / 16,
        )
        assert abs(weighted - float(plain.mean())) < 4 * error

    def test_numbers_and_seeds(self, untrained):
        whole = np.asarray(untrained.sample(6, rare=0.5, random_state=1))
        part = np.asarray(untrained.sample(2, rare=0.5, first=4, random_state=1))
        np.testing.assert_allclose(part, whole[4:], atol=1e-4)
        weights = untrained.sample_weights(6, rare=0.5, random_state=1)
        np.testing.assert_array_equal(
            untrained.sample_weights(2, rare=0.5, first=4, random_state=1), weights[4:]
        )

    def test_nothing_known_is_sampling_here_too(self, untrained):
        """Long series and gaps of everything have the weather's frequencies as well."""
        nothing = np.full((120, 2, 8, 8), np.nan, np.float32)
        nothing[0, 0, 0, 0] = 0.0
        mask = np.zeros(nothing.shape, bool)
        filled = np.asarray(untrained.impute(nothing, mask, random_state=4))[0]
        drawn = np.asarray(untrained.sample(120, random_state=5))
        error = np.hypot(filled.mean((1, 2, 3)).std(), drawn.mean((1, 2, 3)).std()) / np.sqrt(120)
        assert abs(filled.mean() - drawn.mean()) < 4 * error

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"storm": 99}, r"storm=99 must be a class from 0 to \d+, or a dict with 'mean'"),
            ({"storm": True}, "storm=True must be a class"),
            ({"storm": {"peak": 3}}, r"storm=\{'peak': 3\} must be"),
            ({"storm": {"mean": -1.0}}, "mean"),
            ({"rare": 1.5}, "rare"),
            ({"storm": 1, "rare": 0.5}, "rare=0.5 chooses among weathers, and storm=1 has chosen"),
        ],
    )
    def test_errors(self, untrained, options, message):
        with pytest.raises((ValueError, TypeError), match=message):
            untrained.sample(1, **options)

    @pytest.mark.parametrize("asked", [{"storm": 1}, {"rare": 0.5}])
    @pytest.mark.parametrize("size", [{"shape": (8, 16)}, {"shape": (16, 16)}])
    def test_weather_is_that_of_one_window(self, untrained, asked, size):
        """On other fields nothing could be told, and weights would be of nothing."""
        with pytest.raises(ValueError, match=r"windows of the trained size \(8, 8\)"):
            untrained.sample(1, **asked, **size)
        assert untrained.sample(1, **size).shape[-2:] == size["shape"]

    def test_tiles_are_told_nothing(self, cube):
        model = PrecipDiffusion(**OPTIONS, max_steps=1, sampler=SamplerSettings(n_steps=2))
        model.fit(make_precipitation(20, (16, 16), random_state=0))
        assert model.sample(1, tile_size=8).shape == (1, 2, 16, 16)
        with pytest.raises(ValueError, match="leave out shape and tile_size"):
            model.sample(1, tile_size=8, rare=0.5)

    def test_a_model_without_weather_says_so(self, cube):
        model = PrecipDiffusion(**OPTIONS, max_steps=1, network=NetworkSettings(skip="wiener"))
        model.fit(cube)
        for options in ({"storm": 1}, {"rare": 0.5}):
            with pytest.raises(ValueError, match="need a model that knows the weather"):
                model.sample(1, **options)


class TestKeeping:
    def test_file(self, untrained, tmp_path):
        untrained.save(tmp_path / "m")
        back = PrecipDiffusion.load(tmp_path / "m")
        np.testing.assert_array_equal(
            back.sample(3, rare=0.5, random_state=1), untrained.sample(3, rare=0.5, random_state=1)
        )
        assert torch.equal(back.model_.prior.power, untrained.model_.prior.power)

    def test_resumed_training_ends_with_the_same_bits(self, cube, tmp_path):
        straight = PrecipDiffusion(**OPTIONS, max_steps=4).fit(cube)
        kept = {**OPTIONS, "checkpoint_dir": tmp_path, "warm_start": True}
        PrecipDiffusion(**kept, max_steps=2).fit(cube)
        resumed = PrecipDiffusion(**kept, max_steps=4).fit(cube)
        assert resumed.n_iter_ == 4
        for name, weights in straight.network_.state_dict().items():
            assert torch.equal(weights, resumed.network_.state_dict()[name]), name
        assert torch.equal(
            straight.model_.weathers.frequencies, resumed.model_.weathers.frequencies
        )


def test_half_of_the_training_windows_are_told_their_class(cube, untrained):
    """Against the classes of the windows themselves."""
    windows = WindowBatches(validate_cube(cube), 2, (8, 8), 64, seed=1)
    without = windows.batch(0)
    windows.weathers = classes = untrained.model_.weathers.classes
    told = []
    for step in range(20):
        rain, _, also = windows.batch(step)
        known = also["weather"] >= 0
        assert torch.equal(also["weather"][known], classes(rain)[known])
        told.append(known)
    share = torch.cat(told).double().mean()
    assert float(share) == pytest.approx(0.5, abs=4 * 0.014)
    # The windows are those that are drawn without.
    assert torch.equal(windows.batch(0)[0], without[0])
    assert "weather" not in without[2]
