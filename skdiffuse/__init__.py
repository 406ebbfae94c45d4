"""Diffusion models of time-evolving precipitation with a scikit-learn face."""

from skdiffuse._version import __version__

__all__ = ["__version__"]
