"""Seeds: one from whatever a user gives, and others derived from it."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

__all__ = ["derived_seed", "integer_seed"]


def integer_seed(random_state: int | np.random.RandomState | None) -> int:
    """An integer seed; None draws it from the system, not from NumPy's global generator.

    Parameters
    ----------
    random_state : int, RandomState or None
        An integer always gives the same seed, a RandomState the next one of its own.

    Examples
    --------
    >>> integer_seed(0) == integer_seed(0)
    True
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    return int(check_random_state(random_state).randint(2**31 - 1))


def derived_seed(*numbers: int) -> int:
    """One seed from the numbers that identify what it is for.

    A sample's seed follows from its call, sequence, member and window, and a training step's from
    its number and purpose, not from what was drawn before: so nothing depends on the batches in
    which things are done, and a resumed training needs no state of any generator.

    Parameters
    ----------
    *numbers : int
        At least 0.

    Examples
    --------
    >>> derived_seed(1, 2) == derived_seed(1, 2), derived_seed(1, 2) == derived_seed(2, 1)
    (True, False)
    """
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
