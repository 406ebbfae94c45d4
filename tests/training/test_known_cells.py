import numpy as np
import pytest
import torch

from skdiffuse.diffusion import known_as_covariates
from skdiffuse.training.known_cells import (
    TASKS,
    beam,
    frames_apart,
    hole,
    past_frames,
    random_known_cells,
    scattered,
)
from skdiffuse.training.objective import TrainingObjective


@pytest.mark.parametrize("window", [(8, 16, 12), (2, 5, 5), (1, 4, 4)])
def test_masks_of_any_window(window):
    random = np.random.default_rng(0)
    for task in TASKS:
        for _ in range(20):
            known = np.asarray(task(window, random))
            assert known.shape == window
            assert known.dtype == bool


def test_tasks_in_time_know_whole_frames():
    random = np.random.default_rng(0)
    for _ in range(50):
        past = past_frames((8, 3, 3), random)[:, 0, 0].astype(int)
        assert past[0] == 1
        assert past[-1] == 0
        assert (np.diff(past) <= 0).all()
        assert len(set(np.diff(np.flatnonzero(frames_apart((12, 1, 1), random))))) == 1


def test_a_hole_is_a_box():
    """Of some frames, rows and columns; all that is in it is unknown."""
    random = np.random.default_rng(0)
    for _ in range(100):
        unknown = ~hole((6, 8, 10), random)
        sides = [unknown.any(tuple({0, 1, 2} - {axis})) for axis in range(3)]
        assert unknown.sum() == np.prod([side.sum() for side in sides])
        for side in sides:
            assert (np.diff(np.flatnonzero(side)) == 1).all()


def test_a_beam_is_the_same_in_all_frames_and_hides_a_sector():
    """What it hides is seen from its origin within so many degrees: convex, if it is narrow."""
    random = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        known = beam((3, 20, 20), random)
        assert (known == known[0]).all()
        hidden = np.argwhere(~known[0])
        shares.append(len(hidden) / 400)
        middles = (hidden[:, None] + hidden[None]) / 2
        whole = (middles % 1 == 0).all(-1)
        rows, columns = middles[whole].astype(int).T
        assert not known[0, rows, columns].any()
    # At most 1.2 radians of 2 pi, seen from within; from without the field is a smaller angle.
    assert 0.02 < np.mean(shares) < 0.5


def test_scattered_cells_are_of_every_share():
    """The logarithm of the share is even from 0.01 to 1; half of the gauges stay where they are."""
    random = np.random.default_rng(0)
    masks = [scattered((4, 40, 40), random) for _ in range(400)]
    shares = np.log10([mask.mean() for mask in masks])
    assert abs(shares.mean() + 1) < 4 * 2 / np.sqrt(12 * 400)
    assert shares.std() == pytest.approx(2 / np.sqrt(12), rel=0.1)
    fixed = np.mean([(mask == mask[0]).all() for mask in masks])
    assert abs(fixed - 0.5) < 0.1


def test_nothing_is_known_of_the_share_asked_for():
    known = random_known_cells((2000, 6, 4, 4), seed=0, nothing=0.3)
    # The scattered cells and the holes may leave or take everything as well.
    share = (~known.flatten(1).any(1)).double().mean()
    assert 0.3 - 0.03 < share < 0.3 + 0.1
    assert torch.equal(known, random_known_cells((2000, 6, 4, 4), seed=0, nothing=0.3))


class Told(torch.nn.Module):
    """Exact conditional denoiser of two equal cells per frame, told one of them."""

    def forward(self, z, log_snr, covariates):
        values, known = covariates[:, :, 0], covariates[:, :, 1]
        x = torch.where(known.any(-1, keepdim=True), values.sum(-1, keepdim=True), 0.0)
        a, s = torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()
        a, s = (c.reshape(-1, 1, 1, 1).float() for c in (a, s))
        return (a * z - x) / s


def test_a_network_that_makes_use_of_what_it_is_told_has_no_loss():
    x = torch.randn(5, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(5, 3, 1, 2)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    known = torch.tensor([True, False]).expand(x.shape)
    log_snr = torch.linspace(-4, 4, 5, dtype=torch.float64)
    objective = TrainingObjective(Told(), lambda rain: rain)
    informed, _ = objective(x, log_snr, noise, known)
    torch.testing.assert_close(informed, torch.zeros(5), atol=1e-8, rtol=0)
    ignorant, _ = objective(x, log_snr, noise, torch.zeros_like(known))
    assert (ignorant > 1e-3).all()


def test_missing_values_are_neither_told_nor_learnt():
    rain = torch.ones(1, 2, 2, 2)
    rain[0, 0, 0, 0] = torch.nan
    seen = []

    class Network(torch.nn.Module):
        def forward(self, z, log_snr, covariates):
            seen.append(covariates)
            return z

    loss, _ = TrainingObjective(Network(), lambda r: r)(
        rain, torch.zeros(1), torch.ones_like(rain), torch.ones_like(rain, dtype=torch.bool)
    )
    assert loss.item() == pytest.approx(0.0, abs=1e-10)
    torch.testing.assert_close(seen[0], known_as_covariates(rain))
    # What is carried there from the other frame, and not what is missing.
    assert seen[0][0, 0, :, 0, 0].tolist() == [1.0, 0.0, 0.5]
