"""What all tests share before anything is imported, and what the examples of the README do."""

import os
import signal

# Tests run side by side, one process a core, and so do the processes that they start: threads of
# each for every core would wait for each other, and burn what they wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Shells start what runs in their background with Ctrl-C ignored, and tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from skdiffuse.networks import PRESETS


@pytest.fixture(autouse=True)
def narrow_networks_in_the_readme(request, monkeypatch):
    """It shows what there is and not how good it is: a quarter of the width does for that."""
    if request.node.name == "README.md":
        monkeypatch.setitem(PRESETS, "tiny", {**PRESETS["tiny"], "width": 8, "multipliers": (1, 2)})
