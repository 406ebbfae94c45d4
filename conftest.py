"""What the examples of the README share."""

import pytest

from skdiffuse.networks import PRESETS


@pytest.fixture(autouse=True)
def narrow_networks_in_the_readme(request, monkeypatch):
    """It shows what there is and not how good it is: a quarter of the width does for that."""
    if request.node.name == "README.md":
        monkeypatch.setitem(PRESETS, "tiny", {**PRESETS["tiny"], "width": 8, "multipliers": (1, 2)})
