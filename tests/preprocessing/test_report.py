"""The report on a transform, against what the papers and arithmetic say."""

import numpy as np
import pytest
import xarray as xr

from skdiffuse.plotting.transform_display import TransformDisplay
from skdiffuse.preprocessing import (
    IdentityTransform,
    LearntMonotoneTransform,
    SqrtTransform,
    transform_report,
)


@pytest.fixture(scope="module")
def hourly():
    """Rain like an hourly model climate: mostly dry, some light rain, a maximum of 80 mm/h."""
    rng = np.random.default_rng(0)
    field = rng.gamma(0.25, 3.0, size=(20, 100, 100)) * (rng.random((20, 100, 100)) < 0.25)
    field[0, 0, 0] = 80.0
    return field.clip(max=80.0)


def test_latent_shares_of_the_dissertation(hourly):
    # 0.2 mm/h is 0.25 % of the range as it is and 5 % after the square root (section 4.3).
    for transform, share in ((IdentityTransform(), 0.0025), (SqrtTransform(), 0.05)):
        report = transform_report(transform, hourly, bands=(0.0, 0.2))
        np.testing.assert_allclose(report.latent_share, [share, 1.0 - share])
    assert report.rain_share[0] == pytest.approx((hourly < 0.2).mean())


def test_mean_ratio_of_the_identity_is_the_mean_of_clipped_noise(hourly):
    report = transform_report(IdentityTransform(), hourly, noise=0.1)
    # Noise of 4 mm/h on dry cells, clipped at 0, adds 4 / sqrt(2 pi) to them.
    added = 4.0 / np.sqrt(2.0 * np.pi) * (hourly == 0).mean()
    assert report.mean_ratio > 1.0 + 0.95 * added / hourly.mean()
    assert report.overshoot == pytest.approx(1.05)


def test_the_failure_of_figure_4_11_and_the_default(hourly):
    def ratio(**parameters):
        transform = LearntMonotoneTransform(random_state=0, **parameters).fit(hourly)
        return transform_report(transform, hourly)

    default = ratio()
    failing = ratio(min_gradient=0.001, mask_below=None)
    assert default.mean_ratio < 2.5 and default.overshoot < 2.5
    assert failing.mean_ratio > 3 * default.mean_ratio and failing.overshoot > 20


def test_noise_amplification_of_real_rain(real_data):
    """The order of the transforms on hourly radar rain is that found for the dissertation's."""
    file = real_data / "mrms_qpe01h_west_4km_20160920-22.nc"
    if not file.is_file():
        pytest.skip(f"{file.name} is not here")
    with xr.open_dataset(file) as dataset:
        radar = dataset["precipitation_rate"].values[:, ::4, ::4]

    def ratio(transform):
        return transform_report(transform.fit(radar), radar).mean_ratio

    assert ratio(IdentityTransform()) > 8.0
    assert ratio(SqrtTransform()) < 2.0
    assert ratio(LearntMonotoneTransform(random_state=0)) < 2.0
    unmasked = LearntMonotoneTransform(mask_below=None, min_gradient=0.001, random_state=0)
    assert ratio(unmasked) > 5.0


class Shifted:
    """The identity, with a latent that begins elsewhere."""

    def __init__(self, shift):
        self.shift = shift

    def __repr__(self):
        return "Shifted"

    def transform(self, X):
        return X + self.shift

    def inverse_transform(self, X):
        return (X - self.shift).clip(0)

    def derivative(self, X):
        return np.ones_like(X)


def test_where_the_latent_begins_does_not_matter(hourly):
    plain, shifted = (transform_report(Shifted(shift), hourly, noise=0.1) for shift in (0.0, -7.0))
    for name in ("latent", "latent_share", "mean_ratio", "trace_share", "overshoot"):
        np.testing.assert_allclose(getattr(shifted, name), getattr(plain, name), rtol=1e-6)
    assert plain.overshoot == pytest.approx(1.05)


def test_noise_in_standard_deviations(hourly):
    report = transform_report(IdentityTransform(), hourly, noise=0.5, noise_unit="std")
    added = 0.5 * hourly.std() / np.sqrt(2.0 * np.pi) * (hourly == 0).mean()
    assert (
        1.0 + 0.95 * added / hourly.mean() < report.mean_ratio < 1.0 + 1.5 * added / hourly.mean()
    )
    with pytest.raises(ValueError, match="noise_unit: got 'sigma'"):
        transform_report(IdentityTransform(), hourly, noise_unit="sigma")


def test_text(hourly):
    text = str(transform_report(SqrtTransform(), hourly))
    assert "SqrtTransform()" in text and "20 to 80" in text


@pytest.mark.parametrize("bands", [(0.1, 1.0), (0.0, 2.0, 1.0), ()])
def test_bands_are_checked(hourly, bands):
    with pytest.raises(ValueError, match="bands: got"):
        transform_report(SqrtTransform(), hourly, bands=bands)


def test_bands_that_are_not_asked_for(hourly):
    edges = transform_report(SqrtTransform(), hourly).band_edges
    assert edges.tolist() == [0, 0.01, 0.2, 1, 5, 20, 80]


def test_dry_data_are_refused():
    with pytest.raises(ValueError, match="no rain above 0"):
        transform_report(SqrtTransform(), np.zeros((2, 3, 3)))


def test_display_draws_the_numbers(hourly):
    shown = TransformDisplay.from_estimator(
        {"none": IdentityTransform(), "square root": SqrtTransform()}, hourly
    )
    curve, slope, bands, noise = shown.axes_.ravel()
    assert [text.get_text() for text in curve.get_legend().get_texts()] == ["none", "square root"]
    line = slope.get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), 1.0, rtol=1e-6)
    heights = [bar.get_height() for bar in bands.patches]
    assert sum(heights) == pytest.approx(200.0)
    widths = sorted(bar.get_width() for bar in noise.patches)
    assert widths == pytest.approx(sorted(r.mean_ratio for r in shown.reports.values()))
    assert shown.figure_ is curve.figure


def test_display_refuses_other_axes(hourly):
    shown = TransformDisplay.from_estimator(SqrtTransform(), hourly)
    with pytest.raises(ValueError, match="2 x 2"):
        shown.plot(axes=shown.axes_[0])
