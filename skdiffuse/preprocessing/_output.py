"""What a transform returns: arrays as they came, or with names, or tables of 2-D data."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import xarray as xr
from sklearn import get_config

__all__ = ["LabelledOutput"]

_CHOICES = ("default", "xarray", "pandas", "polars")
_NAMES = ("sample", "time", "y", "x")


class LabelledOutput:
    """scikit-learn's ``set_output`` for rain, which has more than two dimensions.

    Its own wraps tables alone. Here DataArrays are a choice, for all shapes; "pandas" and "polars"
    are for data of two dimensions, as there.
    """

    # Dimensions and coordinates along the last two of what was fitted to.
    _fitted_names: tuple[tuple[str, ...], dict[str, xr.Variable]] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        # Else scikit-learn makes tables of what `fit_transform` returns, and fails for cubes.
        super().__init_subclass__(auto_wrap_output_keys=None, **options)  # type: ignore[call-arg]

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `transform` and `fit_transform` return.

        Parameters
        ----------
        transform : {"default", "xarray", "pandas", "polars"} or None, default=None
            "default": what came in. "xarray": a DataArray, with the names of what was fitted to
            where that had names and as many dimensions, and the coordinates of its cells where
            there are as many; else with dimensions (sample, time, y, x), as many as there are.
            "pandas", "polars": a table of 2-D data. None: as before.

        Returns
        -------
        self : object

        Examples
        --------
        >>> import numpy as np
        >>> from skdiffuse import SqrtTransform
        >>> SqrtTransform().set_output(transform="xarray").fit_transform(np.ones((3, 4, 5))).dims
        ('time', 'y', 'x')
        """
        if transform is None:
            return self
        if transform not in _CHOICES:
            raise ValueError(f"transform={transform!r} must be one of {list(_CHOICES)}.")
        self._sklearn_output_config = {"transform": transform}
        return self

    def _remember_names(self, X: Any) -> None:
        self._fitted_names = None
        if isinstance(X, xr.DataArray):
            cells = set(X.dims[-2:])
            along = {
                str(name): coord.variable
                for name, coord in X.coords.items()
                if coord.dims and set(coord.dims) <= cells
            }
            self._fitted_names = tuple(map(str, X.dims)), along

    def _labelled(self, result: Any, X: Any, columns: Any) -> Any:
        """What was asked for, of what came out; `columns` makes names of columns."""
        own = getattr(self, "_sklearn_output_config", {}).get("transform")
        wanted = own or get_config()["transform_output"]
        if wanted == "default" or (wanted == "xarray" and isinstance(result, xr.DataArray)):
            return result
        if wanted == "xarray":
            return self._with_names(result)
        if result.ndim != 2:
            if own is None:
                # Asked of all estimators, and not possible for this one.
                return result
            raise ValueError(
                f"set_output(transform={wanted!r}) makes tables, and X has the shape "
                f"{result.shape}: use set_output(transform='xarray')."
            )
        values, names = np.asarray(result), columns()
        if wanted == "pandas":
            import pandas as pd

            index = X.index if isinstance(X, pd.DataFrame) else None
            return pd.DataFrame(values, index=index, columns=names, copy=False)
        import polars

        return polars.DataFrame(values, schema=list(names), orient="row")

    def _with_names(self, values: np.ndarray) -> xr.DataArray:
        if values.ndim > len(_NAMES):
            extra = tuple(f"dim_{k}" for k in range(values.ndim - len(_NAMES)))
        else:
            extra = ()
        dims: tuple[str, ...] = (*extra, *_NAMES[-values.ndim :])
        coords: dict[str, xr.Variable] = {}
        if self._fitted_names is not None and len(self._fitted_names[0]) == values.ndim:
            dims, along = self._fitted_names
            sizes = dict(zip(dims, values.shape, strict=True))
            coords = {
                name: variable
                for name, variable in along.items()
                if all(sizes[str(dim)] == size for dim, size in variable.sizes.items())
            }
        return xr.DataArray(values, coords, dims)
