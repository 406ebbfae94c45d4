"""A small training that tests of the loop share."""

import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.networks import VideoUNet
from skdiffuse.training import Trainer, WindowBatches


def _make_trainer(rain=None, **options):
    rain = np.random.default_rng(0).gamma(0.3, 1.0, (12, 8, 8)) if rain is None else rain
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VideoUNet(width=8, multipliers=(1, 2))
    windows = WindowBatches(validate_cube(rain), 3, (8, 8), batch_size=4, seed=0)
    return Trainer(network, windows, torch.sqrt, TruncatedCosineSchedule(), **options)


def _weights_of(trainer):
    return torch.cat([p.flatten() for p in trainer.state.average.network.state_dict().values()])


@pytest.fixture
def make_trainer():
    return _make_trainer


@pytest.fixture
def weights_of():
    return _weights_of
