"""Several cubes as windows are drawn from them together: a reader made of the reader of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from skdiffuse.cubes import Cubes, SeveralCubes
from skdiffuse.runtime.seeds import derived_seed
from skdiffuse.training.cube_blocks import Block, BlockReader, WholeReader, reader_of

__all__ = ["CubesReader", "MixedBlocks", "SeveralReader", "blocks_with_shares", "reader_of_cubes"]


class CubesReader(Protocol):
    """What reads one or several cubes; see `WholeReader`, `BlockReader` and `SeveralReader`."""

    @property
    def cube(self) -> Cubes:
        """What is read."""

    @property
    def groups_per_epoch(self) -> int:
        """Into how many groups it is divided."""

    def group(self, number: int) -> list[Block] | list[MixedBlocks]:
        """Group `number`, from whose members windows are drawn, all alike."""

    def sample_of_rain(self, n_cells: int, seed: int) -> np.ndarray:
        """Some of the cells."""

    def close(self) -> None:
        """Let go of what was read."""


@dataclass(frozen=True)
class MixedBlocks:
    """Blocks of several cubes, each of which has its share in the windows.

    Attributes
    ----------
    blocks : list of list of Block
        Of each cube.
    up_to : ndarray of shape (n_cubes,)
        Share of each cube and of those before it.
    first_sequences : ndarray of int
        See `SeveralCubes`.
    """

    blocks: list[list[Block]]
    up_to: np.ndarray
    first_sequences: np.ndarray

    def draw(
        self, random: np.random.Generator, n_frames: int, crop_shape: tuple[int, int]
    ) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """One window, and its place, where sequences are numbered through all cubes."""
        # Sums of shares may end a little below 1.
        k = int(np.searchsorted(self.up_to[:-1], random.random(), side="right"))
        blocks = self.blocks[k]
        window, place = blocks[random.integers(len(blocks))].draw(random, n_frames, crop_shape)
        sequence, *rest = place
        start, top, left = rest
        return window, (int(self.first_sequences[k]) + sequence, start, top, left)


class SeveralReader:
    """Several cubes, each read as it would be by itself, a window from each as its share asks for.

    Parameters
    ----------
    cubes : SeveralCubes
    n_frames : int
    crop_shape : tuple of int
    seed, memory, n_jobs
        See `BlockReader`. Lazy cubes share the memory in proportion to their sizes, so that all
        are read as a whole if they fit together.

    Attributes
    ----------
    groups_per_epoch : int
        As many as the cube in the most groups has; the others' groups last longer.
    """

    def __init__(
        self,
        cubes: SeveralCubes,
        n_frames: int,
        crop_shape: tuple[int, int],
        seed: int,
        memory: int,
        n_jobs: int | None = None,
    ) -> None:
        self.cube = cubes
        self._shares = cubes.shares(n_frames)
        lazy = sum(part.values.size for part in cubes.parts if part.is_lazy)
        self._readers: list[WholeReader | BlockReader] = [
            reader_of(
                part,
                n_frames,
                crop_shape,
                derived_seed(seed, k),
                memory * part.values.size // max(lazy, 1),
                n_jobs,
            )
            for k, part in enumerate(cubes.parts)
        ]
        self.groups_per_epoch = max(reader.groups_per_epoch for reader in self._readers)

    def group(self, number: int) -> list[MixedBlocks]:
        """The blocks of all cubes in group `number`."""
        blocks = [
            reader.group(number * reader.groups_per_epoch // self.groups_per_epoch)
            for reader in self._readers
        ]
        return [MixedBlocks(blocks, np.cumsum(self._shares), self.cube.first_sequences)]

    def sample_of_rain(self, n_cells: int, seed: int) -> np.ndarray:
        """Cells of each cube, as many as its share asks for and `n_cells` at most.

        Returns
        -------
        ndarray of shape (1, n), float32
        """
        samples = [
            reader.sample_of_rain(max(1, round(share * n_cells)), seed).ravel()
            for reader, share in zip(self._readers, self._shares, strict=True)
        ]
        # A cube of large fields gives more than it is asked for, one in few blocks less.
        n = min(n_cells, *(len(s) / share for s, share in zip(samples, self._shares, strict=True)))
        chosen = [
            sample[np.linspace(0, len(sample) - 1, max(1, round(share * n))).round().astype(int)]
            for sample, share in zip(samples, self._shares, strict=True)
        ]
        return np.concatenate(chosen)[None]

    def close(self) -> None:
        """Let go of what was read."""
        for reader in self._readers:
            reader.close()


def reader_of_cubes(
    cubes: Cubes,
    n_frames: int,
    crop_shape: tuple[int, int],
    seed: int,
    memory: int,
    n_jobs: int | None = None,
) -> CubesReader:
    """What reads one or several cubes; see `reader_of`."""
    if isinstance(cubes, SeveralCubes):
        return SeveralReader(cubes, n_frames, crop_shape, seed, memory, n_jobs)
    return reader_of(cubes, n_frames, crop_shape, seed, memory, n_jobs)


def blocks_with_shares(
    group: list[Block] | list[MixedBlocks],
) -> tuple[list[Block], np.ndarray]:
    """The blocks of a group, and the share of each in the windows that are drawn from it."""
    blocks: list[Block] = []
    shares: list[float] = []
    for member in group:
        if isinstance(member, Block):
            blocks.append(member)
            shares.append(1 / len(group))
            continue
        of_cubes = np.diff(member.up_to, prepend=0.0)
        for share, of_cube in zip(of_cubes.tolist(), member.blocks, strict=True):
            blocks += of_cube
            shares += [share / len(of_cube) / len(group)] * len(of_cube)
    return blocks, np.array(shares) / sum(shares)
