"""The dissertation's settings, as far as they can be checked without a GPU."""

import numpy as np
import torch

from skdiffuse import dissertation_model, make_precipitation
from skdiffuse.networks import build_network


def test_the_network_has_the_dissertations_size():
    model = dissertation_model()
    with torch.device("meta"):
        network = build_network(model.network.architecture)
    size = sum(p.numel() for p in network.parameters())
    assert abs(size / 35.7e6 - 1) < 0.05


def test_it_learns_and_never_exceeds_the_training_maximum():
    rain = make_precipitation(30, (16, 16), random_state=0)
    for transformer in (None, "sqrt", "learnt"):
        model = dissertation_model(
            transformer, network__architecture="tiny", n_frames=4, max_steps=3,
            sampler__n_steps=4, random_state=0, verbose=False,
        ).fit(rain)  # fmt: skip
        made = np.asarray(model.sample(2))
        assert made.shape == (2, 4, 16, 16)
        assert made.min() >= 0 and made.max() <= float(rain.max()) * (1 + 1e-6)
