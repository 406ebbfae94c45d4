"""Checkpoints that survive a crash in the middle of being written."""

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from skdiffuse.runtime.whole_files import write_whole

__all__ = ["read_tensors", "recover_checkpoint", "save_checkpoint", "write_tensors"]

_PATTERN = re.compile(r"checkpoint-(\d+)\.safetensors")


def write_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    *,
    later_than: int = 0,
) -> None:
    """Write tensors and JSON-able metadata to one safetensors file, atomically.

    The file appears under its name only when every byte of it is on the disk, so that a crash,
    a kill or a full disk leaves what was there before.

    Parameters
    ----------
    path : str or Path
    tensors : mapping of str to Tensor
    metadata : mapping
        Anything that JSON can hold.
    later_than : int, default=0
        See `write_whole`.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    """
    contiguous = {k: v.detach().to("cpu").contiguous().clone() for k, v in tensors.items()}
    text = json.dumps(metadata)
    payload = save(contiguous, metadata={"skdiffuse": text, "sha256": _digest(contiguous, text)})
    write_whole(path, payload, later_than=later_than)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Returns
    -------
    tensors : dict of str to Tensor
    metadata : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, corrupted or was not written by skdiffuse.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error
    if "skdiffuse" not in header:
        raise ValueError(f"{path} is a safetensors file, but not one written by skdiffuse.")
    if header.get("sha256") != _digest(tensors, header["skdiffuse"]):
        raise ValueError(
            f"{path} is damaged: its checksum is not that of its content. Use a copy, or an "
            "earlier checkpoint."
        )
    try:
        content = json.loads(header["skdiffuse"])
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} was made by hand: what it says of itself is no JSON ({error}). Use a file "
            "that save has written."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} was made by hand: it says {type(content).__name__} of itself, not an object "
            "of JSON. Use a file that save has written."
        )
    return tensors, content


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Checksum of everything that a file is to give back: safetensors itself has none."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_checkpoint(
    folder: str | Path,
    step: int,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write the checkpoint of a step into `folder` and drop all but the newest `keep`.

    What a process that was killed in the middle of writing left behind goes as well.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{step:08d}.safetensors"
    # A clock that was set back must not make the newest the oldest, which is dropped.
    newest = max((p.stat().st_mtime_ns for p in _newest_first(folder)), default=0)
    write_tensors(path, tensors, {**metadata, "step": step}, later_than=newest)
    abandoned = [p for p in folder.iterdir() if p.name.startswith((".checkpoint-", ".averages-"))]
    for old in [*_newest_first(folder)[keep:], *abandoned]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def recover_checkpoint(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest checkpoint in `folder` that is whole, or return None if there is none.

    Warns about every newer one that had to be passed over.
    """
    for path in _newest_first(Path(folder)):
        try:
            return read_tensors(path)
        except ValueError as error:
            warnings.warn(f"Passed over a checkpoint: {error}", RuntimeWarning, stacklevel=2)
    return None


def refuse_another(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], folder: str | Path | None
) -> None:
    """Raise where a checkpoint in `folder` is described as that of another training."""
    different = sorted(k for k in ours if ours[k] != theirs.get(k))
    if different:
        listed = ", ".join(f"{k}: {theirs.get(k)!r} there, {ours[k]!r} here" for k in different)
        raise ValueError(
            f"The checkpoint in checkpoint_dir={str(folder)!r} is of another training ({listed}). "
            "Use the same data and parameters, another checkpoint_dir, or warm_start=False to "
            "begin anew."
        )


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _PATTERN.fullmatch(path.name)]
    # By the time of writing and not by the step: a folder may hold the later steps of an earlier
    # training that has since been begun anew.
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def flatten(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prefix the names of a state dictionary, so that several fit into one file."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def unflatten(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pick one state dictionary out of a file again."""
    start = f"{prefix}."
    return {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
