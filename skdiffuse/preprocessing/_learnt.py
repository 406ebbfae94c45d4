"""The learnt monotone transform."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from skdiffuse.preprocessing._elementwise import (
    PHYSICAL_LIMIT,
    Array,
    finite_values,
    own_random_state,
)
from skdiffuse.preprocessing._monotone_network import FORMS, MonotoneNetwork
from skdiffuse.preprocessing._table import TabulatedTransformer
from skdiffuse.runtime.array_types import RandomStateLike

__all__ = ["LearntMonotoneTransform"]

_SUBSAMPLE = 1_000_000
_BINS = 512
_TABLE_NODES = 4096
_WEIGHTS = ("raw1", "bias1", "raw2", "bias2", "raw3", "bias3")


class LearntMonotoneTransform(TabulatedTransformer):
    r"""Increasing curve learnt from the rain, alone or together with a diffusion model.

    :class:`MonotoneNetwork` gives the curve. ``fit`` minimises :math:`-\mathrm{mean}(m \log h')`
    over the rain, which spreads the latent range where rain falls (water-filling); in
    ``PrecipDiffusion(transformer=LearntMonotoneTransform())`` that is the start, and the curve is
    then trained with the network of the model by v-loss :math:`-\mathrm{mean}(m \log h')`
    (dissertation eq. 4.15, both terms means over elements).

    Parameters
    ----------
    min_gradient : float, default=0.1
        :math:`c > 0`: the slope is at least :math:`c/(1+c)` of a straight line's.
    mask_below : float or None, default=0.01
        Rates in mm/h below this ask for no latent range: m(x) = 0. None is the unmasked loss,
        which has no minimum where zeros repeat.
    scale : float or None, default=None
        Rate in mm/h at which the latent is 2; None takes the training maximum. Rain beyond it
        continues the curve and is not capped.
    form : {"recommended", "dissertation"}, default="recommended"
        "dissertation" is the network of section 4.3.4 with an output tanh and torch's
        initialisation; with ``min_gradient=0.001, mask_below=None`` it is the failing first try of
        its Figure 4.11.
    n_hidden : int, default=16
        Width of the two hidden layers.
    learning_rate : float, default=0.1
        Adam's, in ``fit``; falls to zero along a cosine.
    max_iter : int, default=600
        Steps of ``fit``.
    joint_learning_rate : float, default=1e-3
        Adam's for the curve in joint training.
    hold_variance : bool, default=False
        Whether mean and variance of the latent are held in joint training. The v-loss is smaller
        for a latent of smaller variance, and training uses that otherwise.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the curve already learnt.
    random_state : int, RandomState or None, default=None
        Draws the initial weights, and a million cells where there are more.

    Attributes
    ----------
    scale_ : float
        :math:`M` in mm/h.
    loss_ : float
        Last :math:`-\mathrm{mean}(m \log h')`; 0 is a straight line.
    loss_curve_ : ndarray of shape (n_iter_,)
        Loss at every step of the last ``fit``.
    n_iter_ : int
        Steps made.
    rate_bins_, share_bins_ : ndarray of shape (n_bins,)
        The rain of `fit`, as rates in mm/h and their shares.
    rate_nodes_, latent_nodes_ : ndarray of shape (n_nodes,)
        The frozen curve; linear between nodes, within 2e-5 of the network in relative terms.
    raw1_, bias1_, raw2_, bias2_, raw3_, bias3_ : ndarray
        The network's weights, before softplus.

    See Also
    --------
    MonotoneNetwork : The curve as a torch module.
    water_filling : The optimum of the loss.
    SqrtTransform : Nothing to learn.

    Notes
    -----
    A trainer takes the curve out, trains it, and freezes it back::

        transformer.fit(sample)                     # the warm start
        module = transformer.trainable_module()     # a MonotoneNetwork
        optimizer.add_param_group(
            {"params": module.parameters(), "lr": transformer.joint_learning_rate})
        latent, log_slope = module(rain)            # each step, rain in mm/h
        loss = v_loss(latent) + module.stretch_loss(rain, log_slope)
        transformer.freeze(module)                  # at the end

    Within the data's rare rates the slope is small by design, and a float32 latent resolves rain
    there to about :math:`10^{-7} h / h'`, some 1e-5 mm/h; float64 keeps twelve digits.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiffuse.preprocessing import LearntMonotoneTransform
    >>> rng = np.random.default_rng(0)
    >>> rain = rng.gamma(0.5, 2.0, size=(100, 50)) * (rng.random((100, 50)) < 0.3)
    >>> transform = LearntMonotoneTransform(random_state=0).fit(rain)
    >>> light = np.array([[[0.0, 1.0]]])
    >>> bool(transform.transform(light)[0, 0, 1] > 2 * 2 * 1.0 / rain.max())  # over twice its share
    True
    """

    def __init__(
        self,
        min_gradient: float = 0.1,
        mask_below: float | None = 0.01,
        scale: float | None = None,
        form: str = "recommended",
        n_hidden: int = 16,
        learning_rate: float = 0.1,
        max_iter: int = 600,
        joint_learning_rate: float = 1e-3,
        hold_variance: bool = False,
        warm_start: bool = False,
        random_state: RandomStateLike = None,
    ):
        self.min_gradient = min_gradient
        self.mask_below = mask_below
        self.scale = scale
        self.form = form
        self.n_hidden = n_hidden
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.joint_learning_rate = joint_learning_rate
        self.hold_variance = hold_variance
        self.warm_start = warm_start
        self.random_state = random_state

    @property
    def held_rain(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Rates and shares whose latent keeps its variance in joint training, if it is held."""
        return (self.rate_bins_, self.share_bins_) if self.hold_variance else None

    def trainable_module(self) -> MonotoneNetwork:
        """A copy of the curve as a torch module, for joint training.

        Returns
        -------
        MonotoneNetwork
            On the CPU in float32, with the learnt weights.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        """
        check_is_fitted(self)
        module = self._new_module()
        with torch.no_grad():
            for name in _WEIGHTS:
                getattr(module, name).copy_(torch.as_tensor(getattr(self, f"{name}_")))
        return module

    def freeze(self, module: MonotoneNetwork) -> Self:
        """Take over the weights of a trained module and tabulate its curve.

        Parameters
        ----------
        module : MonotoneNetwork
            What :meth:`trainable_module` gave, after training.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If the module's weights are not finite.
        """
        weights = {
            name: getattr(module, name).detach().cpu().double().numpy().copy() for name in _WEIGHTS
        }
        if not all(np.isfinite(value).all() for value in weights.values()):
            raise ValueError(
                "module: its weights are not finite, the training diverged; lower "
                f"joint_learning_rate (now {self.joint_learning_rate})."
            )
        self.scale_ = float(module.scale)
        for name, value in weights.items():
            setattr(self, f"{name}_", value)
        body = np.geomspace(min(1e-4, self.scale_ * 1e-6), self.scale_, _TABLE_NODES)
        tail = np.geomspace(self.scale_, max(PHYSICAL_LIMIT, 2 * self.scale_), _TABLE_NODES // 8)
        self.rate_nodes_ = np.concatenate([[0.0], body, tail[1:]])
        with torch.no_grad():
            latent, _ = self.trainable_module().double()(torch.from_numpy(self.rate_nodes_))
        self.latent_nodes_ = latent.numpy()
        return self

    def _check_parameters(self) -> None:
        positive = ["min_gradient", "learning_rate", "joint_learning_rate"]
        positive += [name for name in ("scale", "mask_below") if getattr(self, name) is not None]
        for name in positive:
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 < float(value) < math.inf:
                raise ValueError(f"{name}: got {value!r}; give a positive number.")
        for name, least in (("n_hidden", 1), ("max_iter", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name}: got {value!r}; give an integer of at least {least}.")
        if self.form not in FORMS:
            raise ValueError(f"form: got {self.form!r}; choose one of {FORMS}.")

    def _new_module(self, generator: torch.Generator | None = None) -> MonotoneNetwork:
        return MonotoneNetwork(
            self.scale_,
            min_gradient=self.min_gradient,
            mask_below=self.mask_below,
            n_hidden=self.n_hidden,
            form=self.form,
            generator=generator,
        )

    def _fit(self, X: Array) -> None:
        rng = own_random_state(self.random_state)
        generator = torch.Generator().manual_seed(int(rng.randint(2**31)))
        continued = self.warm_start and hasattr(self, "raw1_")
        if not continued:
            self.scale_ = float(self.scale) if self.scale is not None else _largest(X)
        lowest = 0.0 if self.mask_below is None else self.mask_below
        if self.scale_ <= lowest:
            warnings.warn(
                f"LearntMonotoneTransform: no rain above {lowest} mm/h to learn from; the curve "
                "keeps its start, on a scale of 1 mm/h. Fit on data with rain, or set scale.",
                UserWarning,
                stacklevel=3,
            )
            self.scale_ = max(1.0, 2.0 * lowest)
        module = (self.trainable_module() if continued else self._new_module(generator)).double()
        rain, weight = _binned(finite_values(X, _SUBSAMPLE, rng), self.scale_, lowest)
        self.rate_bins_, self.share_bins_ = rain.numpy(), weight.numpy()
        self.loss_curve_ = _minimise(module, rain, weight, self.learning_rate, self.max_iter)
        self.n_iter_ = len(self.loss_curve_)
        with torch.no_grad():
            self.loss_ = float(module.stretch_loss(rain, module(rain)[1], weight))
        self.freeze(module)


def _minimise(
    module: MonotoneNetwork, rain: torch.Tensor, weight: torch.Tensor, rate: float, steps: int
) -> np.ndarray:
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = module.stretch_loss(rain, module(rain)[1], weight)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return np.array(losses)


def _largest(X: Array) -> float:
    """Largest rate of X, 0 where there is none."""
    if isinstance(X, torch.Tensor):
        return _largest(X.detach().cpu().numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all missing
        largest = float(np.nanmax(X)) if X.size else math.nan
    return largest if math.isfinite(largest) else 0.0


def _binned(values: np.ndarray, scale: float, lowest: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The distribution of the values as rates and weights, which the loss is the mean over.

    Wet values are spread evenly between the midpoints to their neighbours, so that a recording
    step coarser than the bins leaves none of them empty. Exact zeros are an atom.
    """
    edges = np.concatenate([[0.0], np.geomspace(max(lowest, scale * 1e-6) / 2, scale, _BINS)])
    zeros = np.count_nonzero(values == 0)
    wet, count = np.unique(values[(values > 0) & (values <= scale)], return_counts=True)
    if wet.size == 0:
        return torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    middle = 0.5 * (wet[1:] + wet[:-1])
    first = wet[0] - (middle[0] - wet[0]) if wet.size > 1 else 0.0
    cells = np.concatenate([[max(first, 0.0)], middle, [wet[-1]]])
    below = np.interp(edges, cells, np.concatenate([[0], np.cumsum(count)]))
    rain = np.concatenate([[0.0], 0.5 * (edges[1:] + edges[:-1])])
    weight = np.concatenate([[zeros], np.diff(below)]) / values.size
    return torch.from_numpy(rain), torch.from_numpy(weight)
