"""Names of the types that functions all over the house take and give."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import xarray as xr

__all__ = ["ArrayOrDataArray", "RandomStateLike"]

#: What goes in comes out: NumPy for NumPy, xarray for xarray. DataArrays may be lazy.
ArrayOrDataArray: TypeAlias = np.ndarray | xr.DataArray

#: scikit-learn's ``random_state``.
RandomStateLike: TypeAlias = int | np.random.RandomState | None
