"""Rain and fitted transforms that the tests of this folder share."""

import numpy as np
import pytest

from skdiffuse.preprocessing import (
    BoxCoxTransform,
    CubeRootTransform,
    IdentityTransform,
    LearntMonotoneTransform,
    LogTransform,
    NormalScoreTransform,
    SqrtTransform,
)


@pytest.fixture(scope="session")
def rain():
    """(time, y, x) rain with an atom at zero and a missing corner."""
    rng = np.random.default_rng(0)
    field = rng.gamma(0.4, 4.0, size=(20, 48, 40)) * (rng.random((20, 48, 40)) < 0.3)
    field[:, :3, :3] = np.nan
    return field


@pytest.fixture(scope="session")
def fitted(rain):
    """Every transform, fitted to that rain, by name."""
    transforms = [
        BoxCoxTransform(random_state=0),
        CubeRootTransform(),
        IdentityTransform(),
        LearntMonotoneTransform(random_state=0),
        LogTransform(),
        LogTransform(offset=0.0, threshold=0.1),
        NormalScoreTransform(random_state=0),
        SqrtTransform(),
    ]
    return [transform.fit(rain) for transform in transforms]
