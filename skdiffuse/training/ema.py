"""Exponential moving averages of the weights, while training and after it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from skdiffuse.training.checkpoints import flatten, read_tensors, unflatten, write_tensors
from skdiffuse.training.processes import load_shared, own_share, whole_tensors

__all__ = ["AverageSnapshots", "PowerAverage", "reconstruct_average"]

# Relative widths of the two averages that others can be made from (Karras et al. 2024).
SNAPSHOT_WIDTHS = (0.05, 0.1)
# Snapshots while the number of steps doubles, and how many doublings back they are kept.
PER_OCTAVE, OCTAVES = 8, 3
Network = TypeVar("Network", bound=nn.Module)
_PATTERN = re.compile(r"averages-(\d+)\.safetensors")


class PowerAverage(Generic[Network]):
    """Average of a network's weights over its training, with a power-function profile.

    After step t the average weighs the weights of step s by (s / t)^gamma, so that its memory grows
    with the training: early noise is forgotten at once and the average always spans the same
    fraction of the steps taken, whatever their number. An average with a constant rate needs
    tuning to the length of the training, and is pure noise when that is short.

    Parameters
    ----------
    network : torch.nn.Module
        The network to average; a copy of it holds the average.
    relative_width : float, default=0.1
        Standard deviation of the profile as a fraction of the training length.

    Attributes
    ----------
    network : torch.nn.Module
        The averaged network.

    References
    ----------
    Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024),
    section 3 and appendix C: relative width sigma_rel = sqrt((gamma + 1) / ((gamma + 2)^2
    (gamma + 3))).

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> average = PowerAverage(layer)
    >>> average.update(layer, step=1)
    >>> bool(average.network.weight == layer.weight)
    True
    """

    def __init__(self, network: Network, relative_width: float = 0.1) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.gamma = _power(relative_width)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, counted from 1."""
        rate = 1.0 - (1.0 - 1.0 / step) ** (self.gamma + 1.0)
        means, values = [], []
        for mean, value in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                means.append(own_share(mean))
                values.append(own_share(value))
            else:
                mean.copy_(value)
        torch._foreach_lerp_(means, values, rate)


class AverageSnapshots:
    """Keeps two averages in files along the training, from which others can be made after it.

    Steps are chosen by their number alone, 8 while it doubles, and the last three doublings are
    kept, and the last step: 25 files at most, each of twice the size of the weights.

    Parameters
    ----------
    folder : Path
    network : torch.nn.Module
        Not yet trained.
    """

    def __init__(self, folder: Path, network: nn.Module) -> None:
        self.folder = folder
        self.averages = [PowerAverage(network, width) for width in SNAPSHOT_WIDTHS]

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step."""
        for average in self.averages:
            average.update(network, step)

    @staticmethod
    def has_turn(step: int) -> bool:
        """Whether the averages after this step are to be kept, were it not the last."""
        return step % 2 ** max(0, step.bit_length() - PER_OCTAVE.bit_length()) == 0

    def write(self, step: int, *, for_all: bool = True) -> None:
        """Write the averages after a step to a file.

        Of processes that share a training all call this, and one writes `for_all`.
        """
        tensors: dict[str, Tensor] = {}
        for number, average in enumerate(self.averages):
            tensors |= flatten(f"average{number}", average.network.state_dict())
        tensors = whole_tensors(tensors, keep=for_all)
        if not for_all:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_tensors(self.folder / f"averages-{step:08d}.safetensors", tensors, {"step": step})
        for old, path in _snapshots(self.folder):
            if old <= step >> OCTAVES:
                path.unlink(missing_ok=True)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        state: dict[str, Tensor] = {}
        for number, average in enumerate(self.averages):
            state |= flatten(str(number), average.network.state_dict())
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        for number, average in enumerate(self.averages):
            load_shared(average.network, unflatten(str(number), state))


def reconstruct_average(
    folder: str | Path, relative_width: float, step: int | None = None
) -> dict[str, Tensor]:
    """The average that another relative width would have given, after the training.

    The profile asked for is approached, in least squares, by a combination of the profiles that
    were kept, and the averages are combined in the same way.

    Parameters
    ----------
    folder : str or Path
        Where `AverageSnapshots` wrote; later files than `step` are left out.
    relative_width : float
        From about 0.02 to 0.25; wider ones reach further back than snapshots are kept.
    step : int, optional
        Average after this step; default: the last snapshot's.

    Returns
    -------
    dict of str to Tensor
        A state dictionary of what was averaged.

    Raises
    ------
    FileNotFoundError
        If there is no snapshot.

    References
    ----------
    Karras et al. (2024), appendix C.2.
    """
    found = [(s, path) for s, path in _snapshots(Path(folder)) if step is None or s <= step]
    if not found:
        raise FileNotFoundError(
            f"No snapshots of averages in {folder}; train with average_snapshots=True and a "
            "checkpoint_dir."
        )
    steps = [s for s, _ in found]
    weights = profile_weights(steps, relative_width, step or steps[-1])
    total: dict[str, Tensor] = {}
    for (_, path), of_step in zip(found, weights, strict=True):
        tensors, _ = read_tensors(path)
        for number, weight in enumerate(of_step):
            for name, value in unflatten(f"average{number}", tensors).items():
                if value.is_floating_point():
                    part = weight * value.double()
                    total[name] = total[name] + part if name in total else part
                else:
                    total[name] = value
        like = unflatten("average0", tensors)
    return {name: value.to(like[name].dtype) for name, value in total.items()}


def profile_weights(steps: list[int], relative_width: float, step: int) -> np.ndarray:
    """Weight of each snapshot of each kept width, shape (len(steps), 2)."""
    ends = np.repeat(np.asarray(steps, float), len(SNAPSHOT_WIDTHS))
    powers = np.tile([_power(width) for width in SNAPSHOT_WIDTHS], len(steps))
    gram = _inner_product(ends[:, None], powers[:, None], ends, powers)
    wanted = _inner_product(ends, powers, float(step), _power(relative_width))
    # In units in which each profile has length 1: the raw ones are of very unequal size.
    length = np.sqrt(np.diag(gram))
    solution = np.linalg.lstsq(gram / np.outer(length, length), wanted / length, rcond=1e-12)[0]
    solution = solution / length
    # Weights of weights: they must sum to 1 for what does not change to stay.
    return (solution / solution.sum()).reshape(-1, len(SNAPSHOT_WIDTHS))


def _inner_product(
    end_a: np.ndarray, power_a: np.ndarray, end_b: np.ndarray | float, power_b: np.ndarray | float
) -> np.ndarray:
    """Integral of the product of two profiles (Karras et al. 2024, appendix C.2)."""
    shorter = np.minimum(end_a, end_b)
    return (
        (power_a + 1)
        * (power_b + 1)
        / (power_a + power_b + 1)
        * (shorter / end_a) ** power_a
        * (shorter / end_b) ** power_b
        * shorter
        / (end_a * end_b)
    )


def _snapshots(folder: Path) -> list[tuple[int, Path]]:
    """Steps and files, in ascending order."""
    if not folder.is_dir():
        return []
    matches = [(_PATTERN.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in matches if match)


def _power(relative_width: float) -> float:
    """Solve the definition of the relative width for gamma by bisection."""
    if not 0 < relative_width < 12**-0.5:
        raise ValueError(
            f"relative_width={relative_width!r} must lie between 0 and 0.288 (a flat average)."
        )

    def width(gamma: float) -> float:
        return ((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) ** 0.5

    low, high = 0.0, 1.0
    while width(high) > relative_width:
        high *= 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if width(middle) > relative_width else (low, middle)
    return 0.5 * (low + high)
