"""Ways to corrupt data that a denoiser learns to undo, behind one interface."""

from skdiffuse.corruptions.chain import draw_back, draw_law
from skdiffuse.corruptions.cold import BlurCorruption, CoarseGrainingCorruption, ColdCorruption
from skdiffuse.corruptions.corruption import CAPABILITIES, Corruption, require
from skdiffuse.corruptions.cosine_basis import blur, cosine_basis, damping
from skdiffuse.corruptions.encoding import EncodedCorruption, SpatialAutoencoder
from skdiffuse.corruptions.exact_denoisers import GaussianBlurDenoiser, ScaleMixtureDenoiser
from skdiffuse.corruptions.gaussian import GaussianCorruption
from skdiffuse.corruptions.known_corruptions import CORRUPTIONS, resolve_corruption
from skdiffuse.corruptions.student_t import StudentTCorruption

__all__ = [
    "CAPABILITIES",
    "CORRUPTIONS",
    "BlurCorruption",
    "CoarseGrainingCorruption",
    "ColdCorruption",
    "Corruption",
    "EncodedCorruption",
    "GaussianBlurDenoiser",
    "GaussianCorruption",
    "ScaleMixtureDenoiser",
    "SpatialAutoencoder",
    "StudentTCorruption",
    "blur",
    "cosine_basis",
    "damping",
    "draw_back",
    "draw_law",
    "require",
    "resolve_corruption",
]
