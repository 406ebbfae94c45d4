"""What the tests of pictures share: rain to draw, and that drawing leaves nothing behind."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")


@pytest.fixture
def rain():
    rng = np.random.default_rng(0)
    obs, sim = rng.gamma(0.3, 2.0, size=(12, 6, 16, 20)), rng.gamma(0.3, 2.0, size=(7, 6, 16, 20))
    obs[0, 0, :3] = np.nan
    return obs, {"first": sim, "second": 1.5 * sim[:5]}


@pytest.fixture(autouse=True)
def rc_params_stay_and_nothing_is_shown(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    plt.close("all")
