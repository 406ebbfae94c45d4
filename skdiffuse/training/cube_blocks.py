"""A cube as windows are drawn from it: whole, or a few blocks of it at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from skdiffuse.cubes import Cube
from skdiffuse.training.reading_processes import ReadingProcesses

__all__ = ["Block", "BlockReader", "WholeReader", "reader_of"]

# Blocks that are in memory together. Windows of one block share their weather; a batch is drawn
# from all of them. With large chunks there are fewer, but chunks are cut rather than fewer than 4.
MOST_BLOCKS, FEWEST_BLOCKS = 16, 4


@dataclass(frozen=True)
class Block:
    """The part of a cube that holds every window that starts in it.

    Attributes
    ----------
    values : array of shape (n, time, y, x)
    starts : ndarray of int, shape (k, 2)
        Sequence and first frame of each window, within `values`.
    places : tuple of int
        In how many rows and columns a window can begin.
    origin : tuple of int
        Sequence, frame, row and column of the cube at which `values` begin.
    """

    values: np.ndarray
    starts: np.ndarray
    places: tuple[int, int]
    origin: tuple[int, int, int, int] = (0, 0, 0, 0)

    def draw(
        self, random: np.random.Generator, n_frames: int, crop_shape: tuple[int, int]
    ) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """One window of shape (n_frames, *crop_shape), all alike in probability, and its place.

        The place is its first sequence, frame, row and column in the cube.
        """
        sequence, start = self.starts[random.integers(len(self.starts))]
        top, left = (int(random.integers(n)) for n in self.places)
        window = self._cut(sequence, start, top, left, n_frames, *crop_shape)
        place = np.add(self.origin, (sequence, start, top, left)).tolist()
        first_sequence, first_frame, row, column = place
        return np.array(window, dtype=np.float32), (first_sequence, first_frame, row, column)

    @property
    def n_windows(self) -> int:
        """How many windows begin in the block."""
        down, across = self.places
        return len(self.starts) * down * across

    def window(self, number: int, n_frames: int, rows: int, columns: int) -> np.ndarray:
        """One of them, of shape (n_frames, rows, columns), by its number from 0."""
        down, across = self.places
        number, left = divmod(number, across)
        k, top = divmod(number, down)
        sequence, start = self.starts[k]
        return self._cut(sequence, start, top, left, n_frames, rows, columns)

    def _cut(
        self,
        sequence: int,
        start: int,
        top: int,
        left: int,
        n_frames: int,
        rows: int,
        columns: int,
    ) -> np.ndarray:
        return self.values[
            sequence, start : start + n_frames, top : top + rows, left : left + columns
        ]


def reader_of(
    cube: Cube,
    n_frames: int,
    crop_shape: tuple[int, int],
    seed: int,
    memory: int,
    n_jobs: int | None = None,
) -> WholeReader | BlockReader:
    """What reads a cube: as a whole if it is in memory or fits, else by blocks.

    Both have `cube`, `groups_per_epoch`, `group`, `sample_of_rain` and `close`.

    Parameters
    ----------
    cube : Cube
    n_frames : int
    crop_shape : tuple of int
    seed, memory, n_jobs
        See `BlockReader`.
    """
    cells = cube.n_sequences * cube.n_times * np.prod(cube.field_shape, dtype=float)
    if not cube.is_lazy or 4 * cells <= memory:
        return WholeReader(cube, n_frames, crop_shape)
    return BlockReader(cube, n_frames, crop_shape, seed, memory, n_jobs)


def _places(cube: Cube, crop_shape: tuple[int, int]) -> tuple[int, int]:
    """In how many rows and columns of a cube a crop can begin."""
    rows, columns = (n - c + 1 for n, c in zip(cube.field_shape, crop_shape, strict=True))
    return rows, columns


class WholeReader:
    """A cube as one block; a lazy one is read when it is first asked for.

    Parameters
    ----------
    cube : Cube
    n_frames : int
    crop_shape : tuple of int

    Attributes
    ----------
    groups_per_epoch : int
        1.
    """

    groups_per_epoch = 1

    def __init__(self, cube: Cube, n_frames: int, crop_shape: tuple[int, int]) -> None:
        self.cube = cube
        self._starts = cube.window_starts(n_frames)
        self._places = _places(cube, crop_shape)
        self._block: Block | None = None

    def group(self, number: int) -> list[Block]:
        """The one block, whatever the number of the group."""
        if self._block is None:
            cube, values = self.cube, self.cube.values
            if cube.is_lazy:
                read = [cube.window(n, 0, cube.n_times) for n in range(cube.n_sequences)]
                values = np.stack(read)
            self._block = Block(values, self._starts, self._places)
        return [self._block]

    def sample_of_rain(self, n_cells: int, seed: int) -> np.ndarray:
        """Whole frames drawn at random, of about `n_cells` cells.

        Returns
        -------
        ndarray of shape (n, y, x), float32
        """
        [block] = self.group(0)
        frames = self.cube.window_starts(1)
        n = max(1, min(len(frames), n_cells // block.values[0, 0].size))
        chosen = frames[np.sort(np.random.default_rng(seed).permutation(len(frames))[:n])]
        return np.stack([block.values[k, t].astype(np.float32) for k, t in chosen])

    def close(self) -> None:
        """Let go of what was read."""
        self._block = None


class BlockReader:
    """Groups of blocks of a lazy cube, read in the background while the one before is in use.

    What is divided among blocks is where windows start; a block holds the frames and cells that
    they reach into as well, so that no window is left out for lying across an edge. Blocks follow
    the chunks of the cube. Each epoch goes through them in a new order, and takes each as often
    as its share of all windows asks for (systematic sampling: once, and now and then twice or not
    at all where blocks are unequal), so that every window is as likely as any other.

    Parameters
    ----------
    cube : Cube
        Lazy.
    n_frames : int
    crop_shape : tuple of int
    seed : int
    memory : int
        Bytes for a group, float32; two are held at a time.
    n_jobs : int or None, default=None
        Processes that read the blocks of a group, as `ReadingProcesses`; None: a thread.

    Attributes
    ----------
    groups_per_epoch : int
    """

    def __init__(
        self,
        cube: Cube,
        n_frames: int,
        crop_shape: tuple[int, int],
        seed: int,
        memory: int,
        n_jobs: int | None = None,
    ) -> None:
        self.cube = cube
        self.n_jobs = n_jobs
        self.window_shape = (n_frames, *crop_shape)
        self.seed = seed
        self.starts = cube.window_starts(n_frames)
        self._places = places = _places(cube, crop_shape)
        self.cells = self._cells(memory)
        reached = [a + b - 1 for a, b in zip(self.cells, self.window_shape, strict=True)]
        largest = int(np.prod(reached))
        self.blocks_in_group = min(MOST_BLOCKS, max(1, memory // (4 * largest)))
        steps = [cube.n_times, *places]
        shape = [-(-n // cell) for n, cell in zip(steps, self.cells, strict=True)]
        self._shape = (cube.n_sequences, *shape)
        in_time = np.zeros(self._shape[:2], int)
        np.add.at(in_time, (self.starts[:, 0], self.starts[:, 1] // self.cells[0]), 1)
        in_space = [
            np.minimum(cell, n - cell * np.arange(k))
            for cell, n, k in zip(self.cells[1:], places, shape[1:], strict=True)
        ]
        counts = in_time[:, :, None, None] * in_space[0][:, None] * in_space[1]
        self._counts = counts.ravel().astype(float)
        self.groups_per_epoch = int(-(-np.count_nonzero(self._counts) // self.blocks_in_group))
        self._order: tuple[int, np.ndarray] | None = None
        self._pending: dict[int, Future[list[Block]]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._processes: ReadingProcesses | None = None

    def group(self, number: int) -> list[Block]:
        """The blocks of group `number`, counted from the start of training; begins the next."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="blocks")
            if self.n_jobs is not None:
                self._processes = ReadingProcesses(self.n_jobs)
        self._pending = {k: f for k, f in self._pending.items() if k in (number, number + 1)}
        for wanted in (number, number + 1):
            if wanted not in self._pending:
                self._pending[wanted] = self._pool.submit(self._read_group, wanted)
        return self._pending[number].result()

    def sample_of_rain(self, n_cells: int, seed: int) -> np.ndarray:
        """Cells at equal distances in the first group, `n_cells` or less than twice as many.

        Single frames of a large file would cost a chunk each, and the first group is needed next.
        Which blocks are in it follows from the reader's own seed; `seed` changes nothing.

        Returns
        -------
        ndarray of shape (1, n), float32
        """
        blocks = [block.values.ravel() for block in self.group(0)]
        stride = max(1, sum(len(values) for values in blocks) // n_cells)
        return np.concatenate([values[::stride] for values in blocks])[None]

    def close(self) -> None:
        """Let go of what was read, and end the processes that read."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            if self._processes is not None:
                self._processes.close()
            self._pool, self._processes, self._pending = None, None, {}

    def _cells(self, memory: int) -> tuple[int, int, int]:
        """In how many frames, rows and columns the windows of one block start."""
        time, *space = (max(sizes) for sizes in self.cube.values.chunks[1:])
        frames, *crop = self.window_shape
        # Whole chunks in space, and no less than a window.
        space = [
            places if size >= n else max(size, part)
            for size, n, part, places in zip(
                space, self.cube.field_shape, crop, self._places, strict=True
            )
        ]
        field = 4 * np.prod([a + b - 1 for a, b in zip(space, crop, strict=True)], dtype=float)
        least, most = (int(memory / n / field) - frames + 1 for n in (MOST_BLOCKS, FEWEST_BLOCKS))
        # Whole chunks in time, several where they are short.
        time = max(time, least // time * time)
        return max(1, min(time, most)), *space

    def _read_group(self, number: int) -> list[Block]:
        epoch, group = divmod(number, self.groups_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._blocks_of_epoch(epoch)
        chosen = self._order[1][group :: self.groups_per_epoch]
        different = [int(b) for b in np.unique(chosen)]
        blocks = dict(zip(different, self._read(different), strict=True))
        return [blocks[int(b)] for b in chosen]

    def _blocks_of_epoch(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng((self.seed, epoch, 0))
        order = random.permutation(np.flatnonzero(self._counts))
        reached = np.cumsum(self._counts[order])
        points = (np.arange(len(order)) + random.random()) * (reached[-1] / len(order))
        # Shuffled again: neighbours in the order would otherwise never share a group.
        return random.permutation(order[np.searchsorted(reached, points, side="right")])

    def _read(self, numbers: list[int]) -> Iterator[Block]:
        outlines = [self._outline(number) for number in numbers]
        parts = [self.cube.values[inside] for inside, _, _ in outlines]
        read = iter(parts) if self._processes is None else self._processes.read(parts)
        for part, (inside, starts, places) in zip(read, outlines, strict=True):
            sequence, *rest = inside
            origin = (sequence, *(span.start for span in rest))
            yield Block(self.cube.read(part)[None], starts, places, origin)

    def _outline(
        self, number: int
    ) -> tuple[tuple[int, slice, slice, slice], np.ndarray, tuple[int, int]]:
        """Where in the cube a block lies, and its windows in it."""
        sequence, *indices = (int(i) for i in np.unravel_index(number, self._shape))
        first = [i * cell for i, cell in zip(indices[1:], self.cells[1:], strict=True)]
        down, across = (
            min(cell, n - a) for cell, n, a in zip(self.cells[1:], self._places, first, strict=True)
        )
        rows, columns = (
            slice(a, a + k + part - 1)
            for a, k, part in zip(first, (down, across), self.window_shape[1:], strict=True)
        )
        inside = (self.starts[:, 0] == sequence) & (
            self.starts[:, 1] // self.cells[0] == indices[0]
        )
        starts = self.starts[inside, 1]
        frames = slice(int(starts[0]), int(starts[-1]) + self.window_shape[0])
        local = np.column_stack([np.zeros_like(starts), starts - starts[0]])
        return (sequence, frames, rows, columns), local, (down, across)
