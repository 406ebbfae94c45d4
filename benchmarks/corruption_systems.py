"""The systems that `corruptions.py` trains: one line each, and one function that makes them.

A system is a function of the common parameters that returns an estimator with ``fit``, ``sample``
and, if it conditions, ``downscale`` and ``interpolate``. To add one, add a line.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from corruption_two_stages import TwoStages

from skdiffuse import NetworkSettings, PrecipDiffusion
from skdiffuse.corruptions import (
    BlurCorruption,
    CoarseGrainingCorruption,
    Corruption,
    EncodedCorruption,
    StudentTCorruption,
)

Make = Callable[..., Any]


def diffusion(corruption: str | Corruption = "gaussian", skip: str | None = None) -> Make:
    """A `PrecipDiffusion` of a corruption."""

    def make(network: Any = "tiny", **common: Any) -> PrecipDiffusion:
        settings = NetworkSettings(network, skip=skip)
        return PrecipDiffusion(corruption=corruption, network=settings, **common)

    return make


SYSTEMS: dict[str, Make] = {
    # The default, and the same without the closed form that most others cannot start from.
    "gaussian": diffusion(skip="mixture"),
    "gaussian_plain": diffusion(),
    "student_t_5": diffusion(StudentTCorruption(5.0), "mixture"),
    "student_t_3": diffusion(StudentTCorruption(3.0), "mixture"),
    "student_t_3_plain": diffusion(StudentTCorruption(3.0)),
    "student_t_3_cells_plain": diffusion(StudentTCorruption(3.0, coupled=False)),
    "blur": diffusion(BlurCorruption()),
    "blur_faint": diffusion(BlurCorruption(noise_level=0.1)),
    "blur_naive": diffusion(BlurCorruption(fresh=1.0)),
    "blur_cold": diffusion(BlurCorruption(noise_level=0.0)),
    "coarse_graining": diffusion(CoarseGrainingCorruption()),
    "coarse_graining_faint": diffusion(CoarseGrainingCorruption(noise_level=0.1)),
    "coarse_graining_cold": diffusion(CoarseGrainingCorruption(noise_level=0.0)),
    "blur_of_rain": diffusion(BlurCorruption(of_rain=True)),
    "coarse_graining_of_rain": diffusion(CoarseGrainingCorruption(of_rain=True)),
    "coarse_graining_of_rain_faint": diffusion(
        CoarseGrainingCorruption(noise_level=0.1, of_rain=True)
    ),
    "coarse_graining_of_rain_cold": diffusion(
        CoarseGrainingCorruption(noise_level=0.0, of_rain=True)
    ),
    "encoded": diffusion(EncodedCorruption(), "mixture"),
    "encoded_plain": diffusion(EncodedCorruption()),
    "encoded_joint": diffusion(EncodedCorruption(joint=True)),
    # Classes, each with one rate; with rates drawn by the law of their class; by a second network.
    "masking_classes": diffusion("masking"),
    "masking_independent": partial(TwoStages, "masking", False),
    "masking": partial(TwoStages, "masking", True),
    "substitution": partial(TwoStages, "substitution", True),
    "ordinal": partial(TwoStages, "ordinal", True),
}
# Those of the table.
COMPARED = (
    "gaussian",
    "gaussian_plain",
    "student_t_3",
    "student_t_3_cells_plain",
    "blur",
    "coarse_graining",
    "encoded",
    "masking",
)
# Those of the quick run.
QUICK = (
    "gaussian",
    "student_t_3",
    "student_t_3_cells_plain",
    "blur",
    "blur_cold",
    "coarse_graining_of_rain",
    "encoded",
    "masking_classes",
    "masking",
)
