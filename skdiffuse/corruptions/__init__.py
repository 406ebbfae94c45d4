"""Ways to corrupt data that a denoiser learns to undo, behind one interface."""

from skdiffuse.corruptions.autoencoder import SpatialAutoencoder
from skdiffuse.corruptions.categorical import (
    ClassChain,
    MaskingChain,
    OrdinalChain,
    SubstitutionChain,
)
from skdiffuse.corruptions.chain import draw_back, draw_law
from skdiffuse.corruptions.class_bounds import (
    bound_of_step,
    class_bound,
    class_cross_entropy,
    masking_bound,
)
from skdiffuse.corruptions.class_corruption import (
    ClassCorruption,
    KnownClasses,
    NetworkClassDenoiser,
)
from skdiffuse.corruptions.class_counts import edit, sample_by_count, unmask
from skdiffuse.corruptions.class_denoisers import ExactClassDenoiser
from skdiffuse.corruptions.cold import BlurCorruption, CoarseGrainingCorruption, ColdCorruption
from skdiffuse.corruptions.corruption import CAPABILITIES, Corruption, require
from skdiffuse.corruptions.cosine_basis import blur, cosine_basis, damping
from skdiffuse.corruptions.encoding import EncodedCorruption
from skdiffuse.corruptions.exact_denoisers import GaussianBlurDenoiser, ScaleMixtureDenoiser
from skdiffuse.corruptions.gaussian import GaussianCorruption
from skdiffuse.corruptions.intensity_classes import (
    CLASS_NAMES,
    INTENSITY_EDGES,
    RatesInClasses,
    class_names,
    intensity_classes,
)
from skdiffuse.corruptions.known_corruptions import CORRUPTIONS, resolve_corruption
from skdiffuse.corruptions.student_t import StudentTCorruption

__all__ = [
    "CAPABILITIES",
    "CLASS_NAMES",
    "CORRUPTIONS",
    "INTENSITY_EDGES",
    "BlurCorruption",
    "ClassChain",
    "ClassCorruption",
    "CoarseGrainingCorruption",
    "ColdCorruption",
    "Corruption",
    "EncodedCorruption",
    "ExactClassDenoiser",
    "GaussianBlurDenoiser",
    "GaussianCorruption",
    "KnownClasses",
    "MaskingChain",
    "NetworkClassDenoiser",
    "OrdinalChain",
    "RatesInClasses",
    "ScaleMixtureDenoiser",
    "SpatialAutoencoder",
    "StudentTCorruption",
    "SubstitutionChain",
    "blur",
    "bound_of_step",
    "class_bound",
    "class_cross_entropy",
    "class_names",
    "cosine_basis",
    "damping",
    "draw_back",
    "draw_law",
    "edit",
    "intensity_classes",
    "masking_bound",
    "require",
    "resolve_corruption",
    "sample_by_count",
    "unmask",
]
