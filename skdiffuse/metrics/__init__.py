"""Verification of rain fields: distribution, geography, spectra, ensembles, neighbourhoods."""

from skdiffuse.metrics.bias import (
    BiasSummary,
    bias_pattern_correlation,
    bias_summary,
    map_error,
    mean_bias,
    mean_normalised_bias,
    pattern_correlation,
)
from skdiffuse.metrics.change import Change, change_signal
from skdiffuse.metrics.climate_scores import ScorecardEntry, scorecard
from skdiffuse.metrics.contingency import ContingencyTable, contingency_table
from skdiffuse.metrics.cordex_bench import cordex_diagnostics, cordex_indices
from skdiffuse.metrics.correlation import (
    autocorrelation,
    decorrelation_time,
    lagrangian_autocorrelation,
)
from skdiffuse.metrics.crps import crps_ensemble, threshold_weighted_crps
from skdiffuse.metrics.crps_decomposition import (
    CRPSDecomposition,
    crps_decomposition,
    crps_potential,
    crps_reliability,
)
from skdiffuse.metrics.ensemble import (
    SpreadSkill,
    energy_score,
    rank_histogram,
    spread_skill,
    variogram_score,
)
from skdiffuse.metrics.extremes import (
    ReturnLevels,
    areal_reduction_factor,
    return_levels,
    tail_dependence,
)
from skdiffuse.metrics.forecasts import forecast_scorecard
from skdiffuse.metrics.intensity import (
    IntensityHistogram,
    intensity_edges,
    intensity_histogram,
    jensen_shannon_divergence,
    perkins_skill_score,
    wasserstein_distance,
    wet_fraction,
    wet_fraction_bias,
)
from skdiffuse.metrics.novelty import NearestDistance, nearest_training_distance
from skdiffuse.metrics.object_based import SAL, sal
from skdiffuse.metrics.object_matching import ObjectMatch, RainObject, match_objects
from skdiffuse.metrics.permutation import PermutationResult, permutation_test
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
from skdiffuse.metrics.score import Score, Statistic, get_scores
from skdiffuse.metrics.scorers import (
    get_scorer,
    get_scorer_names,
    make_forecast_scorer,
    make_interpolation_scorer,
    make_sample_scorer,
)
from skdiffuse.metrics.spatial_verification import fss
from skdiffuse.metrics.spectra import PowerSpectrum, spatial_psd, temporal_psd
from skdiffuse.metrics.spectral_scores import log_spectral_distance, power_deficit
from skdiffuse.metrics.spells import SpellLengths, spell_lengths
from skdiffuse.metrics.structure import Anisotropy, anisotropy, coherence
from skdiffuse.metrics.uncertainty import (
    BootstrapResult,
    bootstrap,
    bootstrap_difference,
)
from skdiffuse.metrics.user_value import EconomicValue, economic_value
from skdiffuse.metrics.weights import effective_sample_size

__all__ = [
    "SAL",
    "Anisotropy",
    "BiasSummary",
    "BootstrapResult",
    "BrierDecomposition",
    "CRPSDecomposition",
    "Change",
    "ContingencyTable",
    "EconomicValue",
    "IntensityHistogram",
    "NearestDistance",
    "ObjectMatch",
    "PermutationResult",
    "PowerSpectrum",
    "QuantileRatios",
    "RainObject",
    "ReliabilityCurve",
    "ReturnLevels",
    "RocCurve",
    "Score",
    "ScorecardEntry",
    "SpellLengths",
    "SpreadSkill",
    "Statistic",
    "anisotropy",
    "areal_reduction_factor",
    "autocorrelation",
    "bias_pattern_correlation",
    "bias_summary",
    "bootstrap",
    "bootstrap_difference",
    "brier_decomposition",
    "brier_score",
    "change_signal",
    "coherence",
    "contingency_table",
    "cordex_diagnostics",
    "cordex_indices",
    "crps_decomposition",
    "crps_ensemble",
    "crps_potential",
    "crps_reliability",
    "decorrelation_time",
    "economic_value",
    "effective_sample_size",
    "energy_score",
    "extreme_quantile_levels",
    "forecast_scorecard",
    "fss",
    "get_scorer",
    "get_scorer_names",
    "get_scores",
    "intensity_edges",
    "intensity_histogram",
    "jensen_shannon_divergence",
    "lagrangian_autocorrelation",
    "log_spectral_distance",
    "make_forecast_scorer",
    "make_interpolation_scorer",
    "make_sample_scorer",
    "map_error",
    "match_objects",
    "mean_bias",
    "mean_normalised_bias",
    "nearest_training_distance",
    "pattern_correlation",
    "perkins_skill_score",
    "permutation_test",
    "power_deficit",
    "quantile_error",
    "quantile_ratios",
    "quantiles",
    "rank_histogram",
    "reliability_curve",
    "return_levels",
    "roc_curve",
    "sal",
    "scorecard",
    "spatial_psd",
    "spell_lengths",
    "spread_skill",
    "tail_dependence",
    "temporal_psd",
    "threshold_weighted_crps",
    "variogram_score",
    "wasserstein_distance",
    "wet_fraction",
    "wet_fraction_bias",
]
