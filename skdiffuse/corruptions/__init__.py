"""Ways to corrupt data that a denoiser learns to undo, behind one interface."""

from skdiffuse.corruptions.chain import draw_back, draw_law
from skdiffuse.corruptions.corruption import CAPABILITIES, Corruption, require
from skdiffuse.corruptions.gaussian import GaussianCorruption

__all__ = [
    "CAPABILITIES",
    "Corruption",
    "GaussianCorruption",
    "draw_back",
    "draw_law",
    "require",
]
