"""What tests of the estimator share: networks as deep as the smallest preset, a quarter as wide."""

import pytest

from skdiffuse.networks.video_unet import PRESETS


@pytest.fixture(scope="module", autouse=True)
def narrow_networks():
    """Most of what these tests ask has nothing to do with how much a network can learn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1, 2), "patch_size": 2})
        yield
