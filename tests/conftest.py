"""What all tests share."""

import os

# Before anything imports SciPy: scikit-learn's array-API checks are skipped without it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import settings

from skdiffuse.networks import PRESETS

matplotlib.use("Agg")
# Tests run side by side, one process a core.
torch.set_num_threads(1)
# The first example of a test may have to wait for a compilation or an import.
settings.register_profile("skdiffuse", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("skdiffuse")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real precipitation files that are not part of the project."""
    folder = Path(os.environ.get("SKDIFFUSE_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip("real precipitation data are not here (SKDIFFUSE_TEST_DATA)")
    return folder


class _OneStream:
    """As `RandomStreams`, but one generator draws for all samples, and at once.

    For laws that take thousands of samples, of which it does not matter who draws which.
    """

    def __init__(self, n_samples, seed=0):
        self.n_samples, self.generator = n_samples, torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.n_samples

    def normal(self, shape, dtype=torch.float32):
        return torch.randn((self.n_samples, *shape), generator=self.generator, dtype=dtype)

    def each(self, draw):
        return torch.stack([draw(self.generator) for _ in range(self.n_samples)])


@pytest.fixture(scope="session")
def one_stream():
    """`one_stream(n)`: streams of n samples that are quick to draw from."""
    return _OneStream


@pytest.fixture(scope="module")
def narrow_networks():
    """As deep as the smallest preset, a quarter as wide: where how much is learnt matters not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1, 2), "patch_size": 2})
        yield


@pytest.fixture
def global_generators_stay_untouched():
    """The house rule that nothing draws from the global generators."""
    before = np.random.get_state()[1].tobytes(), torch.random.get_rng_state()  # noqa: NPY002
    yield
    after = np.random.get_state()[1].tobytes(), torch.random.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0], "something drew from NumPy's global generator"
    assert torch.equal(before[1], after[1]), "something drew from torch's global generator"
