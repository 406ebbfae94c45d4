"""How a fitted model generates: new rain, rain that fits what is known of it, long series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdiffuse._version import __version__
from skdiffuse.cubes import Cube, dress, validate_cube, write_cube
from skdiffuse.diffusion import KnownCells, Observation
from skdiffuse.estimator.drawing import METHODS, SAMPLERS, WindowDrawing
from skdiffuse.runtime.seeds import derived_seed, integer_seed
from skdiffuse.runtime.streaming import spans, streamed

__all__ = ["METHODS", "SAMPLERS", "RainGenerator"]


class RainGenerator(WindowDrawing):
    """The generating half of `PrecipDiffusion`.

    Needs its parameters `n_frames`, `n_steps`, `sampler`, `batch_size`, `amortised`,
    `random_state` and `verbose`, and, fitted, `network_`, `latent_`, `schedule_`, `field_shape_`
    and `template_`.
    """

    def sample(
        self,
        n_samples=1,
        *,
        y=None,
        guidance_weight=0.0,
        log_likelihood=None,
        likelihood_scale=1.0,
        shape=None,
        first=0,
        n_steps=None,
        batch_size=None,
        tile_size=None,
        random_state=None,
        n_jobs=None,
        out=None,
    ):
        """Generate sequences of rain.

        Parameters
        ----------
        n_samples : int, default=1
        y : int, array of int or array of float, default=None
            Class of all sequences, or of each; or fields, of shape (frames, y, x) or
            (frames, c, y, x), for all sequences, or with `n_samples` in front for each: what was
            given to `fit`. None: whatever comes.
        guidance_weight : float, default=0.0
            How much `y` is exaggerated; see `ClassifierFreeGuidance`. 0: not at all.
        log_likelihood : callable, default=None
            Any wish that can be put as a score: takes rain in mm/h, a Tensor of shape (n, frames,
            y, x), and returns a Tensor of shape (n,), differentiable; what is generated leans to
            rain with a high score. See `SimilarityGuidance`.
        likelihood_scale : float, default=1.0
            By which the score is multiplied. 1 is Bayes' rule for a log-likelihood.
        shape : tuple of int or None, default=None
            Rows and columns; None: those of a training window.
        first : int, default=0
            Number of the first sequence: ``sample(100)`` is ``sample(60)`` followed by
            ``sample(40, first=60)``, wherever these are made.
        n_steps : int or None, default=None
            Steps of the sampler; None: the model's `n_steps`.
        batch_size : int or None, default=None
            Sequences per evaluation of the network; halved until the memory suffices. Does not
            change the result.
        tile_size : int or None, default=None
            Side in cells of the overlapping squares in which a larger field is denoised; None: as
            a whole.
        random_state : int, RandomState or None, default=None
            None: the model's own.
        n_jobs : int or None, default=None
            Processes that share the sequences, by joblib and so on any backend of it (dask, for
            several machines). Does not change the result. None: one.
        out : str, Path or None, default=None
            File, NetCDF or ``.zarr``, to which batches are written as they come.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, n_frames, y, x)
            Rain in mm/h, at least 0; float32. A DataArray if the model was fitted to one; with
            `out`, that of the file, lazy.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        check_scalar(first, "first", Integral, min_val=0)
        window = (self.n_frames, *(self.field_shape_ if shape is None else shape))
        seed = self._sampling_seed(random_state)
        size = self._batch_size(batch_size)
        # Without a dimension of sequences fields have three dimensions, or four if they are many.
        fields_for_all = (3, 4) if len(self.told_.means) > 1 else (3,)

        def draw(start: int, stop: int) -> np.ndarray:
            seeds = [derived_seed(seed, first + i) for i in range(start, stop)]
            return self._draw(
                window,
                seeds,
                y=y if np.ndim(y) in (0, *fields_for_all) else np.asarray(y)[start:stop],
                guidance_weight=guidance_weight,
                log_likelihood=log_likelihood,
                likelihood_scale=likelihood_scale,
                n_steps=n_steps,
                batch_size=size,
                tile_size=tile_size,
            ).numpy()

        workers = 1 if n_jobs is None else effective_n_jobs(n_jobs)

        def shared(start: int, stop: int) -> np.ndarray:
            share = -(-(stop - start) // workers)
            if share == stop - start:
                return draw(start, stop)
            parts = [(a + start, b + start) for a, b in spans(stop - start, share)]
            return np.concatenate(Parallel(n_jobs)(delayed(draw)(*part) for part in parts))

        def dressed(values):
            history = self._history("sample")
            return dress(values, self.template_, time="elapsed", first=first, history=history)

        if out is None:
            return dressed(shared(0, n_samples))
        cuts = spans(n_samples, size * workers)
        parts = (shared(*cut) for cut in cuts)
        return streamed(parts, [(b - a, *window) for a, b in cuts], 0, dressed, out, write_cube)

    def condition(
        self,
        observation,
        *,
        shape=None,
        method=None,
        w_r=None,
        n_samples=1,
        n_steps=None,
        batch_size=None,
        tile_size=None,
        random_state=None,
        **options,
    ):
        """Generate rain of which something is known: the one conditional sampler.

        `impute`, `interpolate`, `forecast` and `downscale` say what they know by an observation
        and leave the rest to this.

        Parameters
        ----------
        observation : Observation
            What is known, in mm/h, with its error: `KnownCells`, `ArealMean`, `TemporalMean`,
            `Gauges`, `FunctionObservation` or `JointObservation` of `skdiffuse.diffusion`.
        shape : tuple of int or None, default=None
            Frames, rows and columns. None: a training window's, or those of known cells. More
            frames than a training window has are denoised jointly in overlapping windows.
        method : str or None, default=None
            None is "reconstruction", which on held-out radar rain filled gaps better than the
            others and had the lowest CRPS of interpolations and nowcasts. "amortised" tells the
            network what is known, which costs no gradient and a third of the time; it needs
            ``amortised=True`` in `fit`, and what cannot be told is left to "reconstruction".
            "replacement", "moment_matching", "pigdm" and "ho" guide as
            `skdiffuse.diffusion.condition` says.
        w_r : float or None, default=None
            Weight of what is known in "reconstruction" (None: 1e6) and "ho" (None: 1); see
            `ReconstructionGuidance`.
        n_samples : int, default=1
            Realizations for each sequence that is observed.
        n_steps, batch_size, tile_size, random_state
            See `sample`.
        **options
            ``y``, ``guidance_weight``: see `sample`; a class, or fields as long as `shape`.
            ``n_resampling`` (default 1): how often each step is repeated, as in RePaint.
            Others go to the method: ``n_iterations``, the backward passes of the network in each
            evaluation (default 3), ``jacobian_error`` of "reconstruction" and "moment_matching"
            (default 0.03 for known cells: networks need it, see `MomentMatching`; else 0),
            ``mean_over_batch`` of "ho".

        Returns
        -------
        ndarray of shape (n_samples, n, frames, y, x)
            Rain in mm/h, at least 0; float32. Cells that are known without error come back to the
            bit; contradictory observations end in a compromise.

        Examples
        --------
        Two gauges that read 3 and 0 mm/h in the second frame, with an error of 0.5 mm/h:

        >>> import torch
        >>> from skdiffuse import PrecipDiffusion
        >>> from skdiffuse.datasets import make_precipitation
        >>> from skdiffuse.diffusion import Gauges
        >>> cube = make_precipitation(n_frames=20, shape=(16, 16), random_state=0)
        >>> model = PrecipDiffusion(
        ...     n_frames=2, max_steps=2, n_steps=4, random_state=0, verbose=False).fit(cube)
        >>> read = torch.tensor([[[torch.nan, torch.nan], [3.0, 0.0]]])
        >>> gauges = Gauges(read, rows=[3.5, 10.0], columns=[4.0, 12.25], error_variance=0.25)
        >>> model.condition(gauges, n_samples=3).shape
        (3, 1, 2, 16, 16)
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        if not isinstance(observation, Observation):
            raise TypeError(
                "observation must be one of skdiffuse.diffusion's, such as KnownCells or "
                f"ArealMean; got {type(observation).__name__}. For arrays with gaps use impute."
            )
        if shape is None:
            known = isinstance(observation, KnownCells)
            shape = observation.values.shape[1:] if known else (self.n_frames, *self.field_shape_)
        n = len(observation.values)
        seed = self._sampling_seed(random_state)
        drawn = self._draw(
            tuple(shape),
            [derived_seed(seed, i, k) for i in range(n_samples) for k in range(n)],
            observation=observation,
            method=self._method(method, w_r),
            w_r=w_r,
            n_steps=n_steps,
            batch_size=self._batch_size(batch_size),
            tile_size=tile_size,
            **options,
        )
        known = observation.rows(torch.arange(len(drawn)) % n)
        return known.pin(drawn).numpy().reshape(n_samples, n, *shape)

    def simulate(
        self,
        n_frames,
        *,
        n_samples=1,
        shape=None,
        mode="autoregressive",
        overlap=None,
        n_steps=None,
        batch_size=None,
        tile_size=None,
        random_state=None,
        out=None,
        **options,
    ):
        """Generate series of any length.

        Parameters
        ----------
        n_frames : int
        n_samples : int, default=1
            Number of series.
        shape : tuple of int or None, default=None
            Rows and columns; None: those of a training window.
        mode : {"autoregressive", "composed", "averaged"}, default="autoregressive"
            Window after window, each going on from the last frames of the one before; or all
            windows denoised at once, whose scores are composed or averaged where they overlap
            (see `WindowedNetwork`), with the whole series in memory.
        overlap : int or None, default=None
            Frames that a window shares with the one before; None: half of them.
        n_steps, batch_size, tile_size, random_state
            See `sample`.
        out : str, Path or None, default=None
            File, NetCDF or ``.zarr``, to which the series are written as they come; memory then
            does not grow with their length (autoregressive mode).
        **options
            Method and its options for the autoregressive mode; see `condition`.

        Returns
        -------
        ndarray or DataArray of shape (n_samples, n_frames, y, x)
        """
        check_is_fitted(self)
        check_scalar(n_frames, "n_frames", Integral, min_val=1)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        if mode not in ("autoregressive", "composed", "averaged"):
            raise ValueError(
                f"mode={mode!r} is unknown; choose 'autoregressive', 'composed' or 'averaged'."
            )
        overlap = self.n_frames // 2 if overlap is None else overlap
        check_scalar(overlap, "overlap", Integral, min_val=0, max_val=self.n_frames - 1)
        field = tuple(self.field_shape_ if shape is None else shape)
        seed = self._sampling_seed(random_state)
        settings = {
            "n_steps": n_steps,
            "batch_size": self._batch_size(batch_size),
            "tile_size": tile_size,
        }

        def dressed(values):
            return dress(values, self.template_, time="elapsed", history=self._history("simulate"))

        if mode != "autoregressive":
            if options:
                raise TypeError(
                    f"mode={mode!r} conditions on nothing: {sorted(options)} is unused."
                )
            seeds = [derived_seed(seed, i) for i in range(n_samples)]
            length = max(n_frames, self.n_frames)
            drawn = self._draw(
                (length, *field), seeds, overlap=overlap, compose=mode == "composed", **settings
            )
            parts, lengths = iter([drawn[:, :n_frames].numpy()]), [n_frames]
        else:
            step = self.n_frames - overlap
            lengths = [min(step, n_frames - start) for start in range(0, n_frames, step)]
            windows = self._windows_in_turn(field, n_samples, overlap, seed, settings | options)
            parts = (
                window[:, :length].numpy() for window, length in zip(windows, lengths, strict=False)
            )
        if out is None:
            return dressed(np.concatenate(list(parts), axis=1))
        shapes = [(n_samples, length, *field) for length in lengths]
        return streamed(parts, shapes, 1, dressed, out, write_cube)

    def _windows_in_turn(self, field, n_samples, overlap, seed, settings) -> Iterator[Tensor]:
        """Windows without end, each of which begins with the last frames of the one before."""
        past = torch.empty(n_samples, 0, *field)
        number = 0
        while True:
            future = past.new_full((n_samples, self.n_frames - past.shape[1], *field), torch.nan)
            window = self._fill(
                torch.cat([past, future], dim=1),
                [derived_seed(seed, number, i) for i in range(n_samples)],
                **settings,
            )
            yield window
            past = window[:, self.n_frames - overlap :]
            number += 1

    def _fill(self, rain: Tensor, seeds, *, method=None, w_r=None, **settings) -> Tensor:
        """Draw what is NaN in windows of rain in mm/h, given the rest."""
        observation = None
        if torch.isfinite(rain).any():
            observation = KnownCells(rain)
            method = self._method(method, w_r)
        drawn = self._draw(
            tuple(rain.shape[1:]),
            seeds,
            observation=observation,
            method=method,
            w_r=w_r,
            **settings,
        )
        return torch.where(torch.isfinite(rain), rain, drawn)

    def _sampling_seed(self, random_state) -> int:
        return integer_seed(self.random_state if random_state is None else random_state)

    def _history(self, method: str) -> str:
        return f"skdiffuse {__version__}: PrecipDiffusion.{method}"

    def _validate_context(self, X) -> Cube:
        """Check rain that a conditional task starts from."""
        check_is_fitted(self)
        cube = validate_cube(X)
        if cube.template is not None and cube.time_step is None and self.template_ is not None:
            # A single frame does not tell the time step; the training cube does.
            template = replace(cube.template, time_step=self.template_.time_step)
            cube = replace(cube, template=template)
        return cube
