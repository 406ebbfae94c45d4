"""How long to train."""

from dataclasses import dataclass

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """How long to train: until the first of the two runs out."""

    max_steps: int
    max_seconds: float | None = None

    def spent(self, steps: int, seconds: float) -> float:
        """Fraction of the budget that is used up, 1 or more when it is over."""
        fraction = steps / self.max_steps if self.max_steps else 1.0
        return fraction if self.max_seconds is None else max(fraction, seconds / self.max_seconds)
