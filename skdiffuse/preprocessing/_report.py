"""What a transform does with rain, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skdiffuse.preprocessing._elementwise import (
    PHYSICAL_LIMIT,
    Array,
    ElementwiseTransformer,
    finite_values,
    own_random_state,
)

__all__ = ["TransformReport", "transform_report"]

_BANDS = (0.0, 0.01, 0.2, 1.0, 5.0, 20.0)
_SUBSAMPLE = 200_000
_CURVE_POINTS = 400


@dataclass(frozen=True)
class TransformReport:
    """Numbers that tell how a transform will serve a generative model.

    Parameters
    ----------
    name : str
        The transform, with its parameters.
    rate, latent, slope : ndarray of shape (n,)
        The curve: rates in mm/h from trace to twice the maximum, latents relative to no rain, and
        slope in latent units per mm/h.
    band_edges : ndarray of shape (n_bands + 1,)
        Intensity bands in mm/h, the last ending at the data's maximum.
    rain_share, latent_share : ndarray of shape (n_bands,)
        Fraction of the cells in each band, and fraction of the latent range given to it.
    noise : float
        Standard deviation of the white noise added to the latent, in units of `noise_unit`.
    noise_unit : {"range", "std"}
        Half the latent range from no rain to the maximum, to which noisy latents are then clipped
        (the learnt transform's [-1, 1]); or the standard deviation of the latents, unclipped (what
        a model of standardised latents has to live with).
    mean_ratio : float
        Mean rain after noise and inverting, over the mean before: 1 is perfect.
    trace_share : float
        Fraction of dry cells (below 0.01 mm/h) that the same noise turns into trace rain, 0.01 to
        0.2 mm/h.
    overshoot : float
        Rain, as a multiple of the maximum, at a latent one noise above the maximum's: how far the
        tail goes when a sample goes too far.

    Examples
    --------
    See :func:`transform_report`.
    """

    name: str
    rate: np.ndarray
    latent: np.ndarray
    slope: np.ndarray
    band_edges: np.ndarray
    rain_share: np.ndarray
    latent_share: np.ndarray
    noise: float
    noise_unit: str
    mean_ratio: float
    trace_share: float
    overshoot: float

    def __str__(self) -> str:
        lines = [self.name, "  band (mm/h)        cells   latent range"]
        edges = zip(self.band_edges[:-1], self.band_edges[1:], strict=True)
        for (low, high), rain, latent in zip(
            edges, self.rain_share, self.latent_share, strict=True
        ):
            lines.append(f"  {low:6.4g} to {high:<6.4g} {rain:10.2%} {latent:14.2%}")
        noise = f"{self.noise:g} {self.noise_unit}"
        lines += [
            f"  latent noise of {noise}: mean rain times {self.mean_ratio:.3g},",
            f"  trace rain in {self.trace_share:.1%} of dry cells, "
            f"the maximum times {self.overshoot:.3g} one noise above it",
        ]
        return "\n".join(lines)


def transform_report(
    transformer: ElementwiseTransformer,
    X: Array,
    *,
    bands: tuple[float, ...] = _BANDS,
    noise: float = 0.1,
    noise_unit: str = "range",
    random_state: int | np.random.RandomState | None = 0,
) -> TransformReport:
    """Measure what a fitted transform does with rain.

    Parameters
    ----------
    transformer : ElementwiseTransformer
        Fitted (or one that needs no fit).
    X : ndarray, DataArray or Tensor
        Rain in mm/h, some of it above 0.
    bands : tuple of float, default=(0, 0.01, 0.2, 1, 5, 20)
        Increasing lower edges of the intensity bands in mm/h, from 0; the last ends at the
        maximum of `X`, edges above which are left out.
    noise : float, default=0.1
        Standard deviation of the latent noise.
    noise_unit : {"range", "std"}, default="range"
        What `noise` is a multiple of: half the latent range, or the latents' standard deviation;
        see :class:`TransformReport`.
    random_state : int, RandomState or None, default=0
        Draws the noise, and 200,000 cells where there are more.

    Returns
    -------
    TransformReport
        ``print(report)`` shows it as a table.

    Raises
    ------
    ValueError
        If `X` has no rain, the bands do not increase from 0, or `noise_unit` is unknown.

    See Also
    --------
    skdiffuse.plotting.TransformDisplay : The same as a picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import SqrtTransform, transform_report
    >>> rain = np.linspace(0.0, 80.0, 8001).reshape(1, 1, -1)
    >>> report = transform_report(SqrtTransform(), rain, bands=(0, 0.2, 20))
    >>> report.latent_share.round(3)  # the dissertation's 5 % below 0.2 mm/h
    array([0.05, 0.45, 0.5 ])
    """
    edges = np.asarray(bands, dtype=np.float64)
    if edges.ndim != 1 or edges.size == 0 or edges[0] != 0 or (np.diff(edges) <= 0).any():
        raise ValueError(f"bands: got {bands}; give increasing rates in mm/h that start at 0.")
    if noise_unit not in ("range", "std"):
        raise ValueError(f"noise_unit: got {noise_unit!r}; choose 'range' or 'std'.")
    rng = own_random_state(random_state)
    rain = finite_values(X, _SUBSAMPLE, rng)
    largest = float(rain[-1]) if rain.size else 0.0
    if largest <= 0.0:
        raise ValueError("X: no rain above 0 mm/h to report on; give data with some rain.")

    def along(verb: str, values: np.ndarray) -> np.ndarray:
        return getattr(transformer, verb)(values.reshape(1, 1, -1)).ravel()

    latent = along("transform", rain)
    low, high = along("transform", np.array([0.0, largest]))
    # Where dry cells are drawn at random, no rain begins at the lowest draw.
    low = min(low, latent.min())
    rate = np.geomspace(min(1e-3, largest / 10), min(2 * largest, PHYSICAL_LIMIT), _CURVE_POINTS)
    edges = np.append(edges[edges < largest], largest)
    count, _ = np.histogram(rain, edges)
    latent_edges = along("transform", edges)

    std = noise * (latent.std() if noise_unit == "std" else (high - low) / 2.0)
    latent = latent + std * rng.standard_normal(rain.size)
    if noise_unit == "range":
        latent = latent.clip(low, high)
    noisy = along("inverse_transform", latent)
    dry = rain < 0.01
    trace = (noisy >= 0.01) & (noisy < 0.2)
    return TransformReport(
        name=" ".join(repr(transformer).split()),
        rate=rate,
        latent=along("transform", rate) - low,
        slope=along("derivative", rate),
        band_edges=edges,
        rain_share=count / rain.size,
        latent_share=np.diff(latent_edges) / (high - low),
        noise=noise,
        noise_unit=noise_unit,
        mean_ratio=float(noisy.mean() / rain.mean()),
        trace_share=float(trace[dry].mean()) if dry.any() else 0.0,
        overshoot=float(along("inverse_transform", np.array([high + std]))[0] / largest),
    )
