"""The page on guidance runs as it stands, and its figure's question has the answer it says."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from skdiffuse.diffusion import AdamsStep, run_sampler

ROOT = Path(__file__).resolve().parents[2]


def test_examples_run():
    names = {}
    page = (ROOT / "docs" / "guidance.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(block, names)
    mean, variance = names["exact"]
    assert abs(mean - 1.6) < 0.15 and abs(variance - 0.8) < 0.15


@pytest.fixture(scope="module")
def example():
    path = ROOT / "examples" / "guidance_of_every_kind.py"
    spec = importlib.util.spec_from_file_location("guidance_of_every_kind", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_exact_answer_of_the_example(example):
    """By importance sampling of the prior."""
    law = (example.WEIGHTS, example.MEANS, example.COVARIANCES)
    x = torch.cat([example.draws(law, seed) for seed in range(20)])
    for gamma in (1.0, 3.0):
        weights = torch.softmax(gamma * example.log_likelihood(x), 0)
        mean = (weights[:, None] * x).sum(0)
        given, means, _ = example.given(example.ERROR_VARIANCE / gamma)
        exact = (given[:, None] * means).sum(0)
        torch.testing.assert_close(mean, exact, rtol=0, atol=0.03)


def test_classifier_is_exact_at_gamma_one_and_not_beyond(example):
    noise = torch.randn(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = {}
    for gamma in (1.0, 3.0):
        truth = example.draws(example.given(example.ERROR_VARIANCE / gamma), 1)
        guide = dict(example.kinds(gamma))["classifier"](example.prior)
        x = run_sampler(guide, noise, example.GRID, AdamsStep()).detach()
        found[gamma] = example.distance(x, truth)
    assert found[1.0] < 0.05 < 0.2 < found[3.0]
