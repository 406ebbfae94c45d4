"""Corruptions by name."""

from __future__ import annotations

from skdiffuse.corruptions.class_corruption import ClassCorruption
from skdiffuse.corruptions.cold import BlurCorruption, CoarseGrainingCorruption
from skdiffuse.corruptions.corruption import Corruption
from skdiffuse.corruptions.encoding import EncodedCorruption
from skdiffuse.corruptions.gaussian import GaussianCorruption
from skdiffuse.corruptions.student_t import StudentTCorruption

__all__ = ["CORRUPTIONS", "resolve_corruption"]

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian": GaussianCorruption(),
    "student_t": StudentTCorruption(),
    "blur": BlurCorruption(),
    "coarse_graining": CoarseGrainingCorruption(),
    "encoded": EncodedCorruption(),
    "masking": ClassCorruption("masking"),
    "substitution": ClassCorruption("substitution"),
    "ordinal": ClassCorruption("ordinal"),
}


def resolve_corruption(corruption: str | Corruption) -> Corruption:
    """A corruption from its name, or as it is.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> resolve_corruption("student_t")
    StudentTCorruption(nu=5.0, coupled=True)
    """
    if isinstance(corruption, Corruption):
        return corruption
    if not isinstance(corruption, str) or corruption not in CORRUPTIONS:
        raise ValueError(
            f"corruption={corruption!r} is unknown; choose one of {sorted(CORRUPTIONS)}, or give "
            "a Corruption."
        )
    return CORRUPTIONS[corruption]
