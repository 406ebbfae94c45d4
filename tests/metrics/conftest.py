"""Real rain for the scores, read from beside the checkout."""

import os
from pathlib import Path

import numpy as np
import pytest

DATA = Path(
    os.environ.get("SKDIFFUSE_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")
)


@pytest.fixture(scope="session")
def mrms():
    """36 wet hours of 96 x 128 cells of MRMS rain, with one block made missing."""
    xr = pytest.importorskip("xarray")
    file = DATA / "mrms_qpe01h_west_4km_20160920-22.nc"
    if not file.exists():
        pytest.skip(f"{file.name} is not beside the checkout; set SKDIFFUSE_TEST_DATA")
    with xr.open_dataset(file) as data:
        rain = data["precipitation_rate"][12:48, 288:384, 96:224].load()
    rain[3, :10, :10] = np.nan
    return rain


@pytest.fixture(scope="session")
def ties():
    """Random rain with many dry ties: obs (6, 32, 32) and 8 members."""
    rng = np.random.default_rng(3)
    obs = rng.gamma(0.5, 2.0, size=(6, 32, 32))
    ens = rng.gamma(0.5, 2.0, size=(8, 6, 32, 32))
    obs[obs < 1] = 0
    ens[ens < 1] = 0
    return obs, ens
