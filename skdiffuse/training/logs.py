"""The course of a training, kept in files while it goes on."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["TrainingLog"]


class TrainingLog:
    """Writes each entry of a history to ``training.csv``, and to TensorBoard if it is installed.

    Parameters
    ----------
    folder : Path
    history : list of dict
        Entries there are already: a resumed training's; the file is written anew from them.
    """

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "training.csv"
        self._columns: list[str] = []
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board = None
        else:
            # What an earlier run showed of later steps, before it was killed, is to go.
            self._board = SummaryWriter(
                str(folder), purge_step=history[-1]["step"] + 1 if history else 0
            )
        self.path.unlink(missing_ok=True)
        self._entries: list[dict[str, Any]] = []
        for entry in history:
            self._write(flat(entry))

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add an entry of the history."""
        row = flat(entry)
        self._write(row)
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Finish the files."""
        if self._board is not None:
            self._board.close()

    def _write(self, row: dict[str, Any]) -> None:
        self._entries.append(row)
        new = [name for name in row if name not in self._columns]
        self._columns += new
        # A new column, such as the first validation loss, needs a new head.
        with open(self.path, "w" if new else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            if new:
                writer.writeheader()
            writer.writerows(self._entries if new else [row])


def flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with its inner dictionaries spread over columns of their own."""
    row: dict[str, Any] = {}
    for name, value in entry.items():
        if isinstance(value, dict):
            row |= {f"{name} {key}": inner for key, inner in value.items()}
        else:
            row[name] = value
    return row
