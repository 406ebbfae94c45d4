"""Sequences of which nothing is known: never dry, never perfect."""

import numpy as np
import pytest

from skdiffuse import metrics
from skdiffuse.plotting import evaluation_report


@pytest.fixture
def rain():
    return np.random.default_rng(0).gamma(0.4, size=(20, 6, 8, 8))


def _holes(rain):
    """A cell that is missing in all frames: no frame is whole, and no series of that cell."""
    holed = rain.copy()
    holed[..., 3, 3] = np.nan
    return holed


def _half_missing(rain):
    """Each sequence twice, once without anything known: the same rain."""
    return np.concatenate([rain, np.full_like(rain, np.nan)])


def _card(obs, sim, **options):
    found = metrics.scorecard(obs, {"m": sim}, n_resamples=10, **options)
    return {entry.score: entry for entry in found}


def test_missing_sequences_lack_no_power(rain):
    """Observations with a gap in every frame, and a simulation of which half is missing."""
    obs = _holes(rain)
    card = _card(obs, _half_missing(obs))
    whole = _card(obs, obs)
    assert card["mean_bias"].value == 0
    for name in ("power_deficit", "temporal_power_deficit", "log_spectral_distance"):
        assert whole[name].value == 0
        assert card[name].value == pytest.approx(0, abs=1e-12)


def test_missing_frames_are_not_dry(rain):
    frames = rain.reshape(-1, 8, 8)
    gaps = _half_missing(rain).reshape(-1, 8, 8)
    power = (np.abs(np.fft.fft2(frames)) ** 2).sum(axis=(1, 2)).mean() / 64**2
    for missing in ("zero", "drop"):
        assert metrics.spatial_psd(gaps, missing=missing).P.sum() == pytest.approx(power)
        found = metrics.temporal_psd(_half_missing(rain), missing=missing).P.sum()
        assert found == pytest.approx((rain**2).mean())
    each = metrics.spatial_psd(gaps, missing="zero", average=False).P
    np.testing.assert_array_equal(np.isnan(each).all(axis=1), np.isnan(gaps).all(axis=(1, 2)))


@pytest.mark.parametrize("missing", ["zero", "drop"])
def test_of_nothing_there_is_no_spectrum(missing):
    for psd in (metrics.spatial_psd, metrics.temporal_psd):
        with pytest.raises(ValueError, match="without missing values"):
            psd(np.full((3, 4, 4), np.nan), missing=missing)


@pytest.mark.parametrize("holes", [False, True])
def test_a_simulation_that_is_missing_scores_nothing(rain, holes):
    obs = _holes(rain) if holes else rain
    card = _card(obs, np.full_like(rain, np.nan))
    assert len(card) == 10
    for entry in card.values():
        assert np.isnan(entry.value) and np.isnan(entry.p_value), entry.score
        assert entry.reading == "undefined"


def test_functions_of_a_missing_simulation_say_so(rain):
    gone = np.full_like(rain, np.nan)
    for score in metrics.get_scores():
        try:
            value = score(rain, gone)
        except ValueError as error:
            assert any(w in str(error) for w in ("missing", "no valid", "no frame", "no cell")), (
                error
            )
        else:
            assert np.isnan(value), score.name


def test_missing_sequences_change_no_distribution(rain):
    card, whole = (_card(rain, sim[::-1]) for sim in (_half_missing(rain) * 2, rain * 2))
    for name in ("jensen_shannon_divergence", "perkins_skill_score", "wet_fraction_bias"):
        assert card[name].value == pytest.approx(whole[name].value)


def test_the_nearest_to_nothing(rain):
    """Dry training rain is no copy of a sequence of which nothing is known."""
    train = rain.copy()
    train[0], train[1] = 0.0, np.nan
    sim = np.stack([np.full_like(rain[0], np.nan), np.zeros_like(rain[0]), rain[5]])
    found = metrics.nearest_training_distance(sim, train, chunk=3)
    np.testing.assert_array_equal(found.distance, [np.nan, 0.0, 0.0])
    assert found.index[1:].tolist() == [0, 5]
    assert np.isnan(metrics.nearest_training_distance(sim, train[1:2]).distance).all()


def test_a_page_of_a_simulation_with_missing_sequences(rain):
    obs = _holes(rain)
    page = evaluation_report(obs, {"m": _half_missing(obs)}, n_resamples=10, animation=False)
    deficit = next(e for e in page.entries if e.score == "power_deficit")
    assert deficit.value == pytest.approx(0, abs=1e-12)
