"""Element-wise monotone transforms of rain as scikit-learn transformers.

Rain in mm/h goes in, an unscaled latent comes out, and back. Every transform works on NumPy arrays,
DataArrays and torch tensors of any shape.
"""

from skdiffuse.preprocessing._box_cox import BoxCoxTransform
from skdiffuse.preprocessing._cube_root import CubeRootTransform
from skdiffuse.preprocessing._dry_cells import DryCellTransform
from skdiffuse.preprocessing._elementwise import PHYSICAL_LIMIT, ElementwiseTransformer
from skdiffuse.preprocessing._identity import IdentityTransform
from skdiffuse.preprocessing._learnt import LearntMonotoneTransform
from skdiffuse.preprocessing._log import LogTransform
from skdiffuse.preprocessing._monotone_network import MonotoneNetwork
from skdiffuse.preprocessing._normal_score import NormalScoreTransform
from skdiffuse.preprocessing._report import TransformReport, transform_report
from skdiffuse.preprocessing._resolve import (
    resolve_transformer,
    transformer_from_arrays,
    transformer_to_arrays,
)
from skdiffuse.preprocessing._sqrt import SqrtTransform
from skdiffuse.preprocessing._water_filling import water_filling

__all__ = [
    "PHYSICAL_LIMIT",
    "BoxCoxTransform",
    "CubeRootTransform",
    "DryCellTransform",
    "ElementwiseTransformer",
    "IdentityTransform",
    "LearntMonotoneTransform",
    "LogTransform",
    "MonotoneNetwork",
    "NormalScoreTransform",
    "SqrtTransform",
    "TransformReport",
    "resolve_transformer",
    "transform_report",
    "transformer_from_arrays",
    "transformer_to_arrays",
    "water_filling",
]
