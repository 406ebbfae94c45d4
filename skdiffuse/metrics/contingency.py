"""Did it rain where rain was forecast? Scores of a two-by-two table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdiffuse.metrics.arrays import check_same_cases, lazy_or_numpy, paired_blocks
from skdiffuse.metrics.by_name import cases_by_name
from skdiffuse.metrics.weights import refuse_weights


class ContingencyTable(NamedTuple):
    """Counts of cells by whether the event was forecast and whether it came.

    Attributes
    ----------
    hits, misses, false_alarms, correct_negatives : int
        Forecast and seen, seen only, forecast only, neither.
    """

    hits: int
    misses: int
    false_alarms: int
    correct_negatives: int

    @property
    def n(self) -> int:
        """Number of cells."""
        return sum(self)

    @property
    def pod(self) -> float:
        """Probability of detection, ``hits / (hits + misses)``."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def far(self) -> float:
        """False-alarm ratio, ``false alarms / (hits + false alarms)``."""
        return _ratio(self.false_alarms, self.hits + self.false_alarms)

    @property
    def csi(self) -> float:
        """Critical success index, ``hits / (hits + misses + false alarms)``."""
        return _ratio(self.hits, self.hits + self.misses + self.false_alarms)

    @property
    def frequency_bias(self) -> float:
        """Forecast over observed number of events; 1 is perfect."""
        return _ratio(self.hits + self.false_alarms, self.hits + self.misses)

    @property
    def ets(self) -> float:
        """Equitable threat score: CSI without the hits expected by chance."""
        if self.n == 0:
            return float("nan")
        chance = (self.hits + self.misses) * (self.hits + self.false_alarms) / self.n
        return _ratio(self.hits - chance, self.hits + self.misses + self.false_alarms - chance)

    @property
    def hss(self) -> float:
        """Heidke skill score: share correct beyond chance."""
        a, c, b, d = self
        return _ratio(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d))


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")


@cases_by_name("sim", members=False)
def contingency_table(obs: Any, sim: Any, threshold: float) -> ContingencyTable:
    """Count hits, misses, false alarms and correct negatives of "at least `threshold` mm/h".

    The table has the usual scores as properties: ``pod``, ``far``, ``csi``, ``ets``, ``hss`` and
    ``frequency_bias`` (Wilks, Statistical Methods in the Atmospheric Sciences, chapter 8); they
    are NaN where their denominator is zero (no event).

    Parameters
    ----------
    obs, sim : array-like of one shape
        Rain rate in mm/h; cells missing in either are left out.
    threshold : float
        Rain rate in mm/h.

    Examples
    --------
    >>> from skdiffuse.metrics import contingency_table
    >>> table = contingency_table([0.0, 2.0, 3.0, 0.0], [0.0, 2.0, 0.0, 1.5], threshold=1.0)
    >>> table
    ContingencyTable(hits=1, misses=1, false_alarms=1, correct_negatives=1)
    >>> table.pod, table.far
    (0.5, 0.5)
    """
    refuse_weights(obs=obs, sim=sim)
    check_same_cases(obs, sim)
    a, b = lazy_or_numpy(obs, "obs"), lazy_or_numpy(sim, "sim")
    if a.shape != b.shape:
        raise ValueError(f"obs and sim must have one shape; got {a.shape} and {b.shape}.")
    counts = np.zeros(4, dtype=np.int64)
    for _, y, x in paired_blocks(a, b):
        known = ~(np.isnan(y) | np.isnan(x))
        seen = y >= y.dtype.type(threshold)
        made = x >= x.dtype.type(threshold)
        hits = np.count_nonzero(seen & made)
        misses = np.count_nonzero(seen & known) - hits
        false_alarms = np.count_nonzero(made & known) - hits
        counts += hits, misses, false_alarms, known.sum() - hits - misses - false_alarms
    return ContingencyTable(*map(int, counts))
