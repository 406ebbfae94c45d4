"""One random stream per sample, so that results do not depend on how samples are batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["RandomStreams"]


class RandomStreams:
    """A torch generator for each sample of a batch.

    Sample i draws from generator i only, so the same seed gives the same sample alone, in any batch
    and in any order. The global generators are never touched.

    Parameters
    ----------
    seeds : sequence of int
        One seed per sample.
    device : torch.device or str
        Where the noise is drawn. Streams on the CPU give the same numbers on every machine.

    Examples
    --------
    >>> together = RandomStreams([7, 8, 9]).normal((2,))
    >>> alone = RandomStreams([8]).normal((2,))
    >>> torch.equal(together[1:2], alone)
    True
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self._generators = [torch.Generator(self.device).manual_seed(int(s)) for s in seeds]

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw standard normal noise of one shape for every sample.

        Parameters
        ----------
        shape : sequence of int
            Shape of one sample.
        dtype : torch.dtype
            Type of the noise.

        Returns
        -------
        Tensor of shape (n, *shape)
        """
        noise = torch.empty((len(self), *shape), dtype=dtype, device=self.device)
        for of_sample, generator in zip(noise, self._generators, strict=True):
            of_sample.normal_(generator=generator)
        return noise

    def each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        """Draw anything for every sample from its own generator, and stack it."""
        return torch.stack([draw(generator) for generator in self._generators])

    def subset(self, samples: slice) -> RandomStreams:
        """Return the streams of some samples, which share their state with the streams here."""
        streams = object.__new__(RandomStreams)
        streams.device = self.device
        streams._generators = self._generators[samples]
        return streams
