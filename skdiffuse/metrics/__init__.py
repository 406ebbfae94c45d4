"""Verification of rain fields: distribution, geography, spectra, ensembles, neighbourhoods."""

from skdiffuse.metrics.bias import (
    BiasSummary,
    bias_pattern_correlation,
    bias_summary,
    mean_bias,
    mean_normalised_bias,
    pattern_correlation,
)
from skdiffuse.metrics.contingency import ContingencyTable, contingency_table
from skdiffuse.metrics.ensemble import (
    SpreadSkill,
    crps_ensemble,
    energy_score,
    rank_histogram,
    spread_skill,
    threshold_weighted_crps,
    variogram_score,
)
from skdiffuse.metrics.intensity import (
    IntensityHistogram,
    intensity_edges,
    intensity_histogram,
    jensen_shannon_divergence,
    perkins_skill_score,
    wasserstein_distance,
    wet_fraction,
)
from skdiffuse.metrics.probabilities import (
    BrierDecomposition,
    ReliabilityCurve,
    RocCurve,
    brier_decomposition,
    brier_score,
    reliability_curve,
    roc_curve,
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
from skdiffuse.metrics.uncertainty import (
    BootstrapResult,
    PermutationResult,
    bootstrap,
    bootstrap_difference,
    permutation_test,
)

__all__ = [
    "BiasSummary",
    "BootstrapResult",
    "BrierDecomposition",
    "ContingencyTable",
    "IntensityHistogram",
    "PermutationResult",
    "PowerSpectrum",
    "QuantileRatios",
    "ReliabilityCurve",
    "RocCurve",
    "SpreadSkill",
    "bias_pattern_correlation",
    "bias_summary",
    "bootstrap",
    "bootstrap_difference",
    "brier_decomposition",
    "brier_score",
    "contingency_table",
    "crps_ensemble",
    "energy_score",
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
    "permutation_test",
    "power_deficit",
    "quantile_error",
    "quantile_ratios",
    "quantiles",
    "rank_histogram",
    "reliability_curve",
    "roc_curve",
    "spatial_psd",
    "spread_skill",
    "temporal_psd",
    "threshold_weighted_crps",
    "variogram_score",
    "wasserstein_distance",
    "wet_fraction",
]
