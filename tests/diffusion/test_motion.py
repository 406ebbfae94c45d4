"""Motion of known rain, and what it carries along, against displacements that are known."""

import numpy as np
import pytest
import torch

from skdiffuse.baselines._motion import motion
from skdiffuse.diffusion import carried_along, known_as_covariates, steady_motion

SIZE = 48


def storms(velocity, frames=6, size=SIZE, seed=0):
    """Gaussian cells that all move by `velocity` (rows, columns) per frame."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    field = np.zeros((frames, size, size))
    for _ in range(12):
        row, column = random.uniform(0, size, 2)
        strength, width = random.uniform(1, 3), random.uniform(2, 4)
        for t in range(frames):
            distance = (y - row - velocity[0] * t) ** 2 + (x - column - velocity[1] * t) ** 2
            field[t] += strength * np.exp(-distance / (2 * width**2))
    return torch.from_numpy(field).float()[None]


def hidden(field, frames):
    field = field.clone()
    field[:, frames] = torch.nan
    return field


@pytest.mark.parametrize("velocity", [(0.0, 2.0), (-3.0, 1.0), (1.5, -2.5), (0.0, 0.0)])
def test_a_translation_is_found(velocity):
    flow = steady_motion(hidden(storms(velocity), slice(3, None)))
    inner = flow[0, :, 12:-12, 12:-12].mean((1, 2))
    np.testing.assert_allclose(inner, velocity, atol=0.1)


@pytest.mark.parametrize("unit", [1e-2, 1e3])
def test_motion_is_the_same_in_any_unit(unit):
    rain = hidden(storms((1.5, -2.5)), slice(3, None))
    torch.testing.assert_close(steady_motion(unit * rain), steady_motion(rain), rtol=0, atol=1e-2)


def test_frames_apart_tell_the_motion_per_frame():
    flow = steady_motion(hidden(storms((1.0, -2.0), 7), [1, 2, 4, 5]))
    np.testing.assert_allclose(flow[0, :, 12:-12, 12:-12].mean((1, 2)), [1, -2], atol=0.1)


def test_a_rotation_is_found():
    """The motion differs from place to place; the shift of the whole is nothing."""
    size, turn = 64, 0.06
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    random = np.random.default_rng(0)
    cells = random.uniform(-28, 28, (40, 2))
    frames = []
    for t in range(3):
        c, s = np.cos(turn * t), np.sin(turn * t)
        rows, columns = c * cells[:, 0] - s * cells[:, 1], s * cells[:, 0] + c * cells[:, 1]
        frames.append(
            sum(
                np.exp(-((y - a) ** 2 + (x - b) ** 2) / 18)
                for a, b in zip(rows, columns, strict=True)
            )
        )
    flow = steady_motion(torch.from_numpy(np.stack(frames)).float()[None])[0].numpy()
    exact = turn * np.stack([-x, y])
    inner = (slice(None), slice(16, -16), slice(16, -16))
    error = np.abs(flow - exact)[inner].mean()
    assert error < 0.25 * np.abs(exact)[inner].mean()


def test_as_good_as_the_baselines_motion():
    """Of another implementation, in NumPy: the errors of the next frame are alike."""
    field = storms((2.0, 1.0), 4, seed=3)
    flow = steady_motion(hidden(field, [3]))[0].numpy()
    other = motion(field[0, :3].double().numpy())
    np.testing.assert_allclose(flow.mean((1, 2)), other.mean((1, 2)), atol=0.25)


def test_a_nowcast_is_carried_forward():
    field = storms((1.0, 2.0))
    carried, nearness = carried_along(hidden(field, slice(3, None)))
    inner = (0, slice(3, None), slice(14, -14), slice(14, -14))
    scale = field[inner].std()
    assert (carried[inner] - field[inner]).abs().max() < 0.2 * scale
    # The frame before, standing still, is far off.
    assert (field[0, 2, 14:-14, 14:-14] - field[0, 5, 14:-14, 14:-14]).abs().max() > scale
    assert nearness[0, 3:, 24, 24].tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 4])
    # What comes in from outside is not known.
    assert (nearness[0, 5, :, 0] == 0).all() and (carried[0, 5, :, 0] == 0).all()


def test_between_two_frames_both_count():
    field = storms((0.0, 0.0), 4) * (1 + 0.1 * torch.arange(4.0))[:, None, None]
    carried, nearness = carried_along(hidden(field, [1, 2]))
    inner = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    torch.testing.assert_close(carried[inner], field[inner], atol=0.1, rtol=0)
    assert nearness[0, :, 20, 20].tolist() == pytest.approx([1, 1 / 2, 1 / 2, 1])


def test_a_hole_is_filled_from_its_neighbours():
    field = storms((0.0, 3.0))
    values = field.clone()
    values[0, 2, 20:30, 20:30] = torch.nan
    carried, nearness = carried_along(values)
    hole = (0, 2, slice(20, 30), slice(20, 30))
    assert (carried[hole] - field[hole]).abs().max() < 0.1 * field.max()
    assert (nearness[hole] == 0.5).all()
    known = torch.isfinite(values)
    assert (carried[known] == values[known]).all() and (nearness[known] == 1).all()


def test_sequences_do_not_see_each_other():
    values = torch.cat(
        [hidden(storms((0.0, 2.0)), [4, 5]), hidden(storms((2.0, 0.0), seed=1), [0])]
    )
    both = carried_along(values)
    for k in (0, 1):
        alone = carried_along(values[k : k + 1])
        for one, other in zip(both, alone, strict=True):
            torch.testing.assert_close(one[k : k + 1], other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (1, 3, 1, 1), (2, 3, 2, 7), (1, 1, 5, 5)])
@pytest.mark.parametrize("what", ["nothing", "dry", "one frame", "scattered", "all"])
def test_whatever_is_known_all_is_finite(shape, what):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator)
    if what == "dry":
        values = torch.zeros(shape)
    if what in ("nothing", "dry"):
        values[:, values.shape[1] // 2 if what == "dry" else 0 :] = torch.nan
    elif what == "one frame":
        values[:, 1:] = torch.nan
    elif what == "scattered":
        values = torch.where(torch.rand(shape, generator=generator) < 0.1, values, torch.nan)
    told = known_as_covariates(values)
    assert torch.isfinite(told).all()
    known = torch.isfinite(values)
    assert (told[:, :, 1] == known).all()
    assert (told[:, :, 0][known] == values[known]).all()
    if what == "nothing":
        assert not told.any()
