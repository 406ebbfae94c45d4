import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.diffusion import PARAMETERIZATIONS, NoiseLevel, alpha, convert, diffuse, sigma

log_snrs = st.floats(-30, 30)
PAIRS = list(itertools.permutations(PARAMETERIZATIONS, 2))


def truth(x, eps, log_snr):
    a, s = alpha(log_snr), sigma(log_snr)
    return {"x": x, "eps": eps, "v": a * eps - s * x, "score": -eps / s}


def test_reference_conversions(vectors):
    reference = vectors["conversions"]
    x = torch.tensor([[reference["x"]]], dtype=torch.float64)
    eps = torch.tensor([[reference["eps"]]], dtype=torch.float64)
    for dtype, rtol in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        for log_snr, z, v, score in reference["rows"]:
            found = diffuse(x.to(dtype), eps.to(dtype), log_snr)
            assert found.dtype == dtype
            assert float(found) == pytest.approx(z, rel=rtol)
            for target, value in (("v", v), ("score", score)):
                got = convert(eps.to(dtype), found, log_snr, source="eps", target=target)
                assert float(got) == pytest.approx(value, rel=rtol)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(x=st.floats(-3, 3), eps=st.floats(-3, 3), log_snr=st.floats(-12, 12))
def test_conversion_gives_the_target(source, target, x, eps, log_snr):
    x, eps = (torch.tensor([[value]], dtype=torch.float64) for value in (x, eps))
    values = truth(x, eps, log_snr)
    z = diffuse(x, eps, log_snr)
    found = convert(values[source], z, log_snr, source=source, target=target)
    torch.testing.assert_close(found, values[target], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data(), log_snr=log_snrs)
def test_there_and_back(source, target, data, log_snr):
    """Inverse of each other for any numbers, up to the rounding the larger coefficient costs."""
    z, value = (
        torch.tensor([[data.draw(st.floats(-3, 3))]], dtype=torch.float64) for _ in range(2)
    )
    there = convert(value, z, log_snr, source=source, target=target)
    back = convert(there, z, log_snr, source=target, target=source)
    condition = float((z.abs() + there.abs() + value.abs()).sum()) * (
        1 + float(torch.exp(torch.tensor(abs(log_snr), dtype=torch.float64)))
    )
    assert float((back - value).abs()) <= 1e-15 * condition


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(log_snr=log_snrs, value=st.floats(-10, 10, width=32), z=st.floats(-10, 10, width=32))
def test_float32_rounds_each_term_and_no_more(source, target, log_snr, value, z):
    field = torch.full((2, 3), value, dtype=torch.float32)
    latent = torch.full((2, 3), z, dtype=torch.float32)
    zero = torch.zeros(2, 3, dtype=torch.float64)

    def check(convert_or_diffuse):
        found = convert_or_diffuse(field, latent)
        of_field = convert_or_diffuse(field.double(), zero)
        of_latent = convert_or_diffuse(zero, latent.double())
        allowed = 4e-7 * (of_field.abs() + of_latent.abs()) + 1e-30
        assert found.dtype == torch.float32
        assert ((found.double() - of_field - of_latent).abs() <= allowed).all()

    check(lambda x, z: convert(x, z, log_snr, source=source, target=target))
    check(lambda x, z: diffuse(x, z, log_snr))


@given(log_snr=log_snrs)
def test_variance_is_preserved(log_snr):
    assert float(alpha(log_snr) ** 2 + sigma(log_snr) ** 2) == pytest.approx(1, abs=1e-15)
    snr = float(torch.log(alpha(log_snr) ** 2 / sigma(log_snr) ** 2))
    assert snr == pytest.approx(log_snr, abs=1e-12)
    level = NoiseLevel.at(log_snr)
    assert level.sigma / level.alpha == pytest.approx(
        float(torch.tan(torch.tensor(level.angle, dtype=torch.float64))), rel=1e-8
    )


def test_one_log_snr_per_sample():
    x, eps = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)), torch.ones(3, 2, 4)
    log_snr = torch.tensor([-3.0, 0.0, 5.0], dtype=torch.float64)
    together = diffuse(x, eps, log_snr)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], diffuse(x[i : i + 1], eps[:1], log_snr[i]))


def test_errors():
    z = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="source must be one of"):
        convert(z, z, 0.0, source="noise", target="x")
    with pytest.raises(ValueError, match=r"log_snr must be 0-D or of shape \(3,\)"):
        diffuse(z, z, torch.zeros(2))
