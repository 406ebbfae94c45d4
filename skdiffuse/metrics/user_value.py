"""What a forecast is worth to whoever can protect against rain at a cost."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.probabilities import counts_by_probability
from skdiffuse.metrics.score import Score, register

_COST_LOSS = np.linspace(0.02, 0.98, 49)


class EconomicValue(NamedTuple):
    """Value of forecasts for users of different means.

    Attributes
    ----------
    cost_loss : ndarray of shape (n,)
        What protection costs over what it saves when the event comes.
    value : ndarray of shape (n,)
        1 for a perfect forecast, 0 for the better of always and never protecting; never negative
        where the user acts at the best probability.
    probability : ndarray of shape (n,)
        Forecast probability from which on it is best to protect; infinite for never.
    """

    cost_loss: np.ndarray
    value: np.ndarray
    probability: np.ndarray


def economic_value(
    obs: Any,
    ens: Any,
    threshold: float,
    *,
    cost_loss: Any = None,
    probability: float | str | None = None,
    axis: int | str = 0,
) -> EconomicValue:
    r"""Return the relative economic value of a forecast that it rains harder than a threshold.

    A user who protects pays the cost C, and one who does not loses L when the event comes. With
    the ratio a = C/L, the frequency s of the event, and hit rate H and false-alarm rate F of
    acting from some forecast probability on,

    .. math:: V = \frac{\min(a, s) - F a (1 - s) + H s (1 - a) - s}{\min(a, s) - s a}

    (Richardson 2000, QJRMS 126, 649). Each user acts at the probability that would have served
    best, which is the potential value; with `probability` at one that was fixed before.

    Parameters
    ----------
    obs : array-like of shape S
        Observed rain rate in mm/h; NaN is left out.
    ens : array-like of shape S with a member axis
        Ensemble in mm/h; missing members are left out.
    threshold : float
        Rain rate in mm/h that is to be protected against.
    cost_loss : array-like of shape (n,), default=None
        Ratios between 0 and 1; by default 0.02 to 0.98 in steps of 0.02.
    probability : float or "cost_loss", default=None
        From which forecast probability on users protect. None: from the best. "cost_loss": from
        their own ratio on, which is best where probabilities may be believed.
    axis : int or str, default=0
        Axis of the members in `ens`; of a DataArray also its name.

    Returns
    -------
    EconomicValue
        ``(cost_loss, value, probability)``.

    Raises
    ------
    ValueError
        Where the event always or never came, or a ratio is not between 0 and 1.

    Examples
    --------
    >>> from skdiffuse.metrics import economic_value
    >>> obs, ens = [0.0, 0.0, 2.0, 2.0], [[0.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 2.0]]
    >>> economic_value(obs, ens, 1.0, cost_loss=[0.2, 0.8]).value.round(3)
    array([0.5, 0.5])
    """
    ratios = np.atleast_1d(np.asarray(_COST_LOSS if cost_loss is None else cost_loss, np.float64))
    if ratios.ndim != 1 or not np.all((ratios > 0) & (ratios < 1)):
        raise ValueError(f"cost_loss must hold ratios between 0 and 1; got {cost_loss!r}.")
    level, seen, count = counts_by_probability(obs, ens, threshold, axis=axis)
    events, cells = seen.sum(), count.sum()
    if events in (0, cells):
        raise ValueError(
            f"The event of at least {threshold} mm/h occurred in {events:g} of {cells:g} cells: "
            "nobody can gain from a forecast of it. Choose another threshold."
        )
    # Acting from each probability that was forecast on, and never.
    triggers = np.append(level, np.inf)
    hit = np.append(np.cumsum(seen[::-1])[::-1], 0) / events
    false = np.append(np.cumsum((count - seen)[::-1])[::-1], 0) / (cells - events)
    frequency, a = events / cells, ratios[:, None]
    climate = np.minimum(a, frequency)
    saved = climate - false * a * (1 - frequency) + hit * frequency * (1 - a) - frequency
    value = saved / (climate - frequency * a)
    if probability is None:
        chosen = value.argmax(axis=1)
    else:
        # What is forecast less often than once a member is the same decision.
        wanted = ratios if isinstance(probability, str) else np.full(len(ratios), probability)
        if isinstance(probability, str) and probability != "cost_loss":
            raise ValueError(
                f"probability must be a number, 'cost_loss' or None; got {probability!r}."
            )
        chosen = np.searchsorted(level, wanted - 1e-12)
    each = np.arange(len(ratios))
    return EconomicValue(ratios, value[each, chosen], triggers[chosen])


def _value_at(obs: Any, ens: Any, threshold: float, cost_loss: float) -> float:
    return float(economic_value(obs, ens, threshold, cost_loss=[cost_loss]).value[0])


# The frequency of the event and the best probability are those of all cases together.
register(
    Score(
        "economic_value", _value_at,
        "Worth to users with cost/loss {cost_loss:g} of {threshold:g} mm/h", kind="ensemble",
        perfect=1, direction="greater", in_card=False,
        reading=lambda v, threshold, cost_loss: (
            f"protecting against {threshold:g} mm/h saves {100 * v:.0f} % of what a perfect "
            "forecast would"
        ),
        parameters={"threshold": 1.0, "cost_loss": 0.1},
        row="economic_value of {threshold:g} mm/h at {cost_loss:g}",
    )
)  # fmt: skip
