import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.diffusion import Angle, EDMSigma, LogSNR, TaperedLogSNR

COORDINATES = [Angle(), EDMSigma(), EDMSigma(3.0), LogSNR(), TaperedLogSNR(), TaperedLogSNR(4.0, 2)]


@pytest.mark.parametrize("coordinate", COORDINATES, ids=repr)
@given(log_snr=st.floats(-25, 25))
def test_inverse(coordinate, log_snr):
    at = torch.tensor(log_snr, dtype=torch.float64).requires_grad_()
    value = coordinate(at)
    (slope,) = torch.autograd.grad(value, at)
    value = value.detach()
    assert slope > 0
    resolution = 8 * 2.2e-16 * max(1.0, abs(float(value))) / float(slope)
    assert float(coordinate.inverse(value)) == pytest.approx(log_snr, abs=1e-9 + resolution)


def test_tapered_slope_is_one_inside_and_that_of_the_angle_outside():
    coordinate = TaperedLogSNR(half_width=20.0, centre=3.0)
    log_snr = torch.tensor([3.0, -2.0, 53.0, 57.0], dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(coordinate(log_snr).sum(), log_snr)
    torch.testing.assert_close(slope[:2], torch.ones(2, dtype=torch.float64), rtol=1e-3, atol=0)
    assert float(slope[3] / slope[2]) == pytest.approx(math.exp(-2), rel=1e-5)


def test_half_width_must_be_positive():
    with pytest.raises(ValueError, match="half_width must be positive"):
        TaperedLogSNR(0.0)
