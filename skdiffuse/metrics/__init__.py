"""Verification of rain fields: distribution, geography, spectra, ensembles, neighbourhoods."""

from skdiffuse.metrics.bias import (
    BiasSummary,
    bias_pattern_correlation,
    bias_summary,
    mean_bias,
    mean_normalised_bias,
    pattern_correlation,
)
from skdiffuse.metrics.ensemble import crps_ensemble, threshold_weighted_crps
from skdiffuse.metrics.intensity import (
    IntensityHistogram,
    intensity_edges,
    intensity_histogram,
    jensen_shannon_divergence,
    perkins_skill_score,
    wasserstein_distance,
    wet_fraction,
)
from skdiffuse.metrics.quantiles import (
    QuantileRatios,
    extreme_quantile_levels,
    quantile_error,
    quantile_ratios,
    quantiles,
)
from skdiffuse.metrics.spatial_verification import fss
from skdiffuse.metrics.spectra import (
    PowerSpectrum,
    log_spectral_distance,
    power_deficit,
    spatial_psd,
    temporal_psd,
)

__all__ = [
    "BiasSummary",
    "IntensityHistogram",
    "PowerSpectrum",
    "QuantileRatios",
    "bias_pattern_correlation",
    "bias_summary",
    "crps_ensemble",
    "extreme_quantile_levels",
    "fss",
    "intensity_edges",
    "intensity_histogram",
    "jensen_shannon_divergence",
    "log_spectral_distance",
    "mean_bias",
    "mean_normalised_bias",
    "pattern_correlation",
    "perkins_skill_score",
    "power_deficit",
    "quantile_error",
    "quantile_ratios",
    "quantiles",
    "spatial_psd",
    "temporal_psd",
    "threshold_weighted_crps",
    "wasserstein_distance",
    "wet_fraction",
]
