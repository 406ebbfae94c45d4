"""Parts of a lazy cube, read by processes of their own."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from typing import TYPE_CHECKING

import numpy as np
from joblib import effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor

if TYPE_CHECKING:
    import dask.array as da

__all__ = ["ReadingProcesses"]

# A process that is not asked for so many seconds ends by itself: after a training that was killed.
IDLE_SECONDS = 300


class ReadingProcesses:
    """Processes that read parts of a lazy cube side by side.

    The NetCDF library does one thing at a time in each process, whatever the number of threads.
    The processes are loky's, joblib's own: they do not run the user's script once more, which
    needs no ``if __name__ == "__main__"`` then. They know nothing of the network and do not load
    torch.

    Parameters
    ----------
    n_jobs : int
        How many, as joblib counts: -1 is one for each core.
    """

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        # Ctrl-C is for the process that trains; it ends these.
        self._pool = ProcessPoolExecutor(
            effective_n_jobs(n_jobs),
            timeout=IDLE_SECONDS,
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )
        self._waiting: list[Future[tuple[np.ndarray]]] = []

    def read(self, parts: Sequence[da.Array]) -> Iterator[np.ndarray]:
        """Their values, in order.

        Raises
        ------
        TypeError
            If a part cannot be sent to another process.
        RuntimeError
            If a process ends before it has read its part.
        """
        from dask.base import compute, optimize

        try:
            # Optimised, a part carries along what it is made of and nothing else of the cube.
            for part in optimize(*parts):
                future = self._pool.submit(compute, part, scheduler="synchronous")
                self._waiting.append(future)
            while self._waiting:
                [values] = self._waiting[0].result()
                del self._waiting[0]
                yield values
        except pickle.PicklingError as error:
            raise TypeError(
                f"X cannot be sent to the processes of n_jobs={self.n_jobs}: open it with "
                "open_cube or xarray rather than from a file that is open already, or set "
                "n_jobs=None."
            ) from error
        except BrokenExecutor as error:
            raise RuntimeError(
                f"A process of n_jobs={self.n_jobs} ended while it read X, perhaps for want of "
                f"memory; set n_jobs lower or to None. {error}"
            ) from error

    def close(self) -> None:
        """End the processes, each after the part that it is reading."""
        for future in list(self._waiting):
            future.cancel()
        self._pool.shutdown(wait=True)
