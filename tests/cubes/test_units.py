import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdiffuse.cubes.units import is_amount, is_reflectivity, mm_per_hour

# Written out by hand from the definitions, not computed by the code under test.
RATES = {
    "mm h-1": 1.0,
    "mm/h": 1.0,
    "mm hr-1": 1.0,
    "mm h**-1": 1.0,
    "mm per hour": 1.0,
    "mm/hour": 1.0,
    "kg m-2 h-1": 1.0,
    "kg m-2 s-1": 3600.0,
    "kg m**-2 s**-1": 3600.0,
    "kg m^-2 s^-1": 3600.0,
    "kg/m2/s": 3600.0,
    "KG M-2 S-1": 3600.0,
    "g m-2 s-1": 3.6,
    "mm s-1": 3600.0,
    "m s-1": 3.6e6,
    "m s**-1": 3.6e6,
    "mm/min": 60.0,
    "mm/5min": 12.0,
    "mm (5 min)-1": 12.0,
    "mm/3h": 1 / 3,
    "mm/day": 1 / 24,
    "mm day-1": 1 / 24,
    "mm d-1": 1 / 24,
    "cm/h": 10.0,
    "inch/h": 25.4,
    "in hr-1": 25.4,
    "m/day": 1000 / 24,
    # As services spell them.
    "[mm/hr]": 1.0,
    "mm/hr": 1.0,
    "(mm/h)": 1.0,
    "mm hour-1": 1.0,
    "mm hours-1": 1.0,
    "mmh-1": 1.0,
    "mm h⁻¹": 1.0,
    "mm·h⁻¹": 1.0,
    "mm h\u22121": 1.0,
    "mm.h-1": 1.0,
    "mm h^{-1}": 1.0,
    "MM/HR": 1.0,
    "l m-2 h-1": 1.0,
    "l/m²/h": 1.0,
    "kg m-2 hr-1": 1.0,
    "kg/(m^2*s)": 3600.0,
    "kg/(m2 s)": 3600.0,
    "kg/m^2/s": 3600.0,
    "kgm-2s-1": 3600.0,
    "kgm⁻²s⁻¹": 3600.0,
    "kg.m-2.s-1": 3600.0,
    "kg m^{-2} s^{-1}": 3600.0,
    "kg m^(-2) s^(-1)": 3600.0,
    "m3 m-2 s-1": 3.6e6,
    "m of water equivalent per day": 1000 / 24,
    "mm (24h)-1": 1 / 24,
    "mm/(15 min)": 4.0,
    "mm 5min-1": 12.0,
    "mm per 5 min": 12.0,
    "kg m-2 (6 h)-1": 1 / 6,
    "0.1 mm/h": 0.1,
    "millimeters per hour": 1.0,
    "inches/hour": 25.4,
}


@pytest.mark.parametrize(("units", "factor"), RATES.items())
def test_rates(units, factor):
    assert mm_per_hour(units) == pytest.approx(factor, rel=1e-15)


@pytest.mark.parametrize(
    "units",
    [
        "",
        "1",
        "K",
        "mm month-1",
        "mm/year",
        "mm h",
        "mm s",
        "h-1",
        "%",
        "mm/0h",
        "mm2/h",
        "mm/mon",
        "kg m-3",
        "mm//h",
        "mm/",
        "per h",
        "mm/hr/hr",
        "(mm/h",
        "mm/h)",
        "ms-1 h",
        "m2",
        "sum",
        "mm min h-1",
        "kg m-2 month-1",
        "degC",
        "1e-3",
        "mm h-",
        "-1",
        "mm^h",
        "unknown",
    ],
)
def test_unknown_units_are_refused(units):
    with pytest.raises(ValueError, match="not known as units"):
        mm_per_hour(units, interval=1)


@pytest.mark.parametrize(
    ("units", "depth"),
    [
        ("mm", 1.0),
        ("m", 1000.0),
        ("kg m-2", 1.0),
        ("m of water equivalent", 1000.0),
        ("cm", 10.0),
        ("[mm]", 1.0),
        ("kg/m^2", 1.0),
        ("kg.m-2", 1.0),
        ("l/m²", 1.0),
        ("0.1 mm", 0.1),
        ("kg m**-2", 1.0),
        ("kgm-2", 1.0),
        ("inches", 25.4),
        ("mm water", 1.0),
        ("1e-3 m", 1.0),
    ],
)
def test_amounts_need_the_interval(units, depth):
    assert is_amount(units)
    with pytest.raises(ValueError, match="interval"):
        mm_per_hour(units)
    assert mm_per_hour(units, interval=0.25) == pytest.approx(4 * depth)
    with pytest.raises(ValueError, match="longer than 0"):
        mm_per_hour(units, interval=0)


@given(
    first=st.sampled_from(sorted(RATES)),
    second=st.sampled_from(sorted(RATES)),
    rate=st.floats(0, 1e4),
)
def test_there_and_back(first, second, rate):
    """What is expressed in one unit and converted agrees with the same rain in another unit."""
    in_first, in_second = rate / RATES[first], rate / RATES[second]
    assert in_first * mm_per_hour(first) == pytest.approx(in_second * mm_per_hour(second))
    np.testing.assert_allclose(in_first * mm_per_hour(first), rate, rtol=1e-14, atol=1e-300)


def test_reflectivity():
    assert is_reflectivity("dBZ")
    assert not is_reflectivity("mm h-1")


def test_sums_of_no_depth_are_told_what_to_say():
    """OpenMRG's radar says "sum 5min"."""
    with pytest.raises(ValueError, match=r"not in what it is measured.*units='mm/5min'"):
        mm_per_hour("sum 5min")
    assert mm_per_hour("mm/5min") == 12.0
