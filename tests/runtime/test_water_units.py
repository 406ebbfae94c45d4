import pytest

from skdiffuse.runtime.water_units import read_water_units, same_water_units


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("mm/hr", "mm/h", True),
        ("mm/hr", "mm h-1", True),
        ("mm h⁻¹", "[mm/hr]", True),
        ("kg m-2 h-1", "mm hour-1", True),
        ("mm/day", "mm h-1", False),
        ("mm", "mm h-1", False),
        ("mm", "kg m-2", True),
        ("dBZ", "dBZ", True),
        ("dBZ", "mm h-1", False),
        ("dBZ", "dB", False),
    ],
)
def test_units_are_compared_by_what_they_mean(first, second, same):
    assert same_water_units(first, second) is same
    assert same_water_units(second, first) is same


def test_factors_are_exact():
    """Not the result of multiplying 0.001 by 1000 by 3600."""
    for units, factor in {
        "mm h-1": 1.0,
        "mm/5min": 12.0,
        "kg m-2 s-1": 3600.0,
        "m s-1": 3.6e6,
    }.items():
        assert read_water_units(units).factor == factor
