"""Observations against sums written out by hand, and their tangents against finite differences."""

import numpy as np
import pytest
import torch

from skdiffuse.diffusion import (
    ArealMean,
    DecodedObservation,
    FunctionObservation,
    Gauges,
    JointObservation,
    KnownCells,
    TemporalMean,
)

SHAPE = (2, 4, 6, 8)


@pytest.fixture
def field():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def decode(z):
    return torch.exp(z / 2)


def ones(*shape):
    return torch.ones(shape, dtype=torch.float64)


OBSERVATIONS = {
    "cells": KnownCells(ones(*SHAPE)),
    "areal": ArealMean(ones(2, 4, 3, 4), 2),
    "temporal": TemporalMean(ones(2, 2, 6, 8), 2, duration=3.0),
    "gauges": Gauges(ones(2, 4, 3), [0, 1.5, 5], [7, 0.25, 3]),
    "function": FunctionObservation(ones(2, 4), lambda x: x.square().sum((-2, -1))),
    "decoded": DecodedObservation(ArealMean(ones(2, 4, 3, 4), 2), decode),
}
OBSERVATIONS["joint"] = JointObservation(list(OBSERVATIONS.values()))


def test_operators_are_the_sums_they_are_named_after(field):
    x = field.numpy()
    blocks = x.reshape(2, 4, 3, 2, 4, 2).mean((3, 5))
    np.testing.assert_allclose(OBSERVATIONS["areal"].predict(field), blocks)
    pairs = 3 * (x[:, ::2] + x[:, 1::2]) / 2
    np.testing.assert_allclose(OBSERVATIONS["temporal"].predict(field), pairs)
    between = 0.5 * (0.75 * x[..., 1, 0] + 0.25 * x[..., 1, 1]) + 0.5 * (
        0.75 * x[..., 2, 0] + 0.25 * x[..., 2, 1]
    )
    seen = OBSERVATIONS["gauges"].predict(field)
    np.testing.assert_allclose(seen[..., 1], between)
    np.testing.assert_array_equal(seen[..., 0], x[..., 0, 7])


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_tangent_and_its_transpose(name, field):
    observation = OBSERVATIONS[name]
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    tangent = observation.linearise(field)
    h = 1e-6
    difference = observation.predict(field + h * w) - observation.predict(field - h * w)
    np.testing.assert_allclose(tangent.forward(w), difference / (2 * h), rtol=1e-5, atol=1e-7)
    u = torch.randn(tangent.residual.shape, generator=generator, dtype=torch.float64)
    np.testing.assert_allclose(
        (u * tangent.forward(w)).sum(), (tangent.adjoint(u) * w).sum(), rtol=1e-10
    )
    torch.testing.assert_close(tangent.residual, observation.residual(field))


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_missing_values_drop_out(name, field):
    """No NaN comes through, neither in the residual nor in the tangent."""
    observation = OBSERVATIONS[name].rows(slice(0, 2))
    observation.values = observation.values.clone()
    observation.values[:, 0] = torch.nan
    tangent = observation.linearise(field)
    seen = tangent.forward(torch.ones_like(field))
    assert (tangent.residual[:, 0] == 0).all()
    assert (seen[:, 0] == 0).all()
    generator = torch.Generator().manual_seed(2)
    w, u = (torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in (field, seen))
    np.testing.assert_allclose(
        (u * tangent.forward(w)).sum(), (tangent.adjoint(u) * w).sum(), rtol=1e-10
    )


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_rows_are_those_sequences(name, field):
    observation = OBSERVATIONS[name]
    alone = observation.rows(slice(1, 2)).to("cpu").residual(field[1:])
    torch.testing.assert_close(alone, observation.residual(field)[1:], rtol=0, atol=0)


def test_one_row_of_values_serves_all_sequences(field):
    seen = ArealMean(ones(1, 4, 3, 4), 2)
    torch.testing.assert_close(seen.residual(field), OBSERVATIONS["areal"].residual(field))
    assert seen.rows(slice(1, 2)).residual(field[1:]).shape == (1, 4, 3, 4)


def test_mean_of_an_uncertain_field(field):
    """E exp((z + s e) / 2) = exp(z / 2 + s^2 / 8)."""
    seen = OBSERVATIONS["decoded"]
    exact = ArealMean(ones(2, 4, 3, 4), 2).predict(torch.exp(field / 2 + 0.5**2 / 8))
    torch.testing.assert_close(seen.expect(field, 0.5), exact, rtol=1e-6, atol=0)


def test_known_cells_stay_exact_in_another_unit(field):
    rain = decode(field)
    rain[0, 0, 0, 0] = torch.nan
    seen = KnownCells(rain).through(decode, lambda r: 2 * torch.log(r))
    pinned = seen.pin(torch.zeros_like(field))
    assert pinned[0, 0, 0, 0] == 0
    torch.testing.assert_close(pinned[1], field[1])
    uncertain = KnownCells(rain, error_variance=0.1).through(decode, torch.log)
    assert not uncertain.pinned(field).any()
    torch.testing.assert_close(uncertain.predict(field), decode(field))


def test_mask_and_nan_are_unknown():
    values = torch.tensor([[[[1.0, 2.0, torch.nan]]]])
    seen = KnownCells(values, torch.tensor([True, False, True]))
    assert seen.pinned(values).tolist() == [[[[True, False, False]]]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: ArealMean(ones(2, 4, 2, 2), 5).predict(x), "factor=5 does not divide.*5 x 5"),
        (lambda x: TemporalMean(ones(2, 1, 6, 8), 3).predict(x), "factor=3 does not divide"),
        (lambda x: ArealMean(ones(2, 4, 2, 2), 0), "factor must be a whole number"),
        (lambda x: ArealMean(ones(2, 4, 2, 2), 2).residual(x), r"values of shape \(2, 4, 2, 2\)"),
        (lambda x: Gauges(ones(2, 4, 1), [6.0], [0]).predict(x), "outside the grid"),
        (lambda x: Gauges(ones(2, 4, 1), [torch.nan], [0]).predict(x), "outside the grid"),
        (lambda x: Gauges(ones(2, 4, 2), [0], [0]), "one number for each of the 2 gauges"),
        (lambda x: KnownCells(x, error_variance=-1.0), "error_variance must be at least 0"),
        (lambda x: KnownCells(x, error_variance=ones(3)), "does not fit values"),
        (lambda x: KnownCells(x / 0), "got infinity"),
        (lambda x: JointObservation([]), "at least one"),
        (lambda x: KnownCells(ones(3)), r"one row for each sequence"),
    ],
)
def test_bad_input_is_named(make, message, field):
    with pytest.raises(ValueError, match=message):
        make(field)
