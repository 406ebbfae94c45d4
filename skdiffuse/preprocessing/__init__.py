"""Element-wise monotone transforms of rain as scikit-learn transformers.

Rain in mm/h goes in, an unscaled latent comes out, and back. Every transform works on NumPy arrays,
DataArrays and torch tensors of any shape.
"""

from skdiffuse.preprocessing._elementwise import PHYSICAL_LIMIT, ElementwiseTransformer
from skdiffuse.preprocessing._identity import IdentityTransform
from skdiffuse.preprocessing._resolve import (
    resolve_transformer,
    transformer_from_arrays,
    transformer_to_arrays,
)
from skdiffuse.preprocessing._sqrt import SqrtTransform

__all__ = [
    "PHYSICAL_LIMIT",
    "ElementwiseTransformer",
    "IdentityTransform",
    "SqrtTransform",
    "resolve_transformer",
    "transformer_from_arrays",
    "transformer_to_arrays",
]
