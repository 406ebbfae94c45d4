"""Masking and editing as a corruption of rain: of the class of each cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from skdiffuse.corruptions.categorical import (
    RULES,
    ClassChain,
    MaskingChain,
    OrdinalChain,
    SubstitutionChain,
    draw_states,
)
from skdiffuse.corruptions.class_bounds import class_cross_entropy
from skdiffuse.corruptions.corruption import Corruption, Field
from skdiffuse.corruptions.intensity_classes import INTENSITY_EDGES, checked_edges
from skdiffuse.diffusion import Denoiser, RandomStreams

__all__ = ["ClassCorruption", "KnownClasses", "NetworkClassDenoiser"]

CHAINS: dict[str, type[ClassChain]] = {
    "masking": MaskingChain,
    "ordinal": OrdinalChain,
    "substitution": SubstitutionChain,
}
# Of training windows, to find what stands for a class.
MOST_CELLS = 2**22
# Least distance of what stands for a class from its edges, as a part of its latent width.
MARGIN = 0.02
# Of what is impossible.
LEAST_LOGIT = -30.0
# Log-SNR that the network is told where all cells survive, or none: no training goes further.
LARGEST_LOG_SNR = 20.0


@dataclass(frozen=True)
class ClassCorruption(Corruption):
    """Rain as classes of intensity that are masked or replaced, cell by cell.

    A field x for each class, 1 where the cell is of it. With a log-SNR l the share
    1 / (1 + exp(-l)) of the cells survives, see `ClassChain`. The network learns by cross-entropy
    what is added to the logits of the exact denoiser of independent cells. What is generated has
    one rate for each class, about its median in training, and exactly 0 where dry;
    `TwoStageDiffusion` adds rates within.

    Parameters
    ----------
    kind : {"masking", "substitution", "ordinal"}, default="masking"
        Cells lose their class; get any other; or move to the next one up or down.
    edges : tuple of float
        Lowest rates of the wet classes in mm/h.
    rule : {"posterior", "improved", "naive"}, default="posterior"
        How steps back are taken; see `ClassChain.backward`.

    Examples
    --------
    >>> corruption = ClassCorruption(edges=(0.1, 1.0)).bound(torch.clone, torch.clone)
    >>> x = corruption.encode(torch.tensor([[[[0.0, 0.5, 3.0]]]]))
    >>> x[0, 0, :, 0]
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    >>> z = corruption.corrupt(x, torch.tensor(-torch.inf), torch.zeros(1, 1, 1, 3))
    >>> z[0, 0, :, 0]  # all masked
    tensor([[0., 0., 0.],
            [0., 0., 0.],
            [0., 0., 0.],
            [1., 1., 1.]])
    """

    kind: str = "masking"
    edges: tuple[float, ...] = INTENSITY_EDGES
    rule: str = "posterior"
    latent_edges: Tensor | None = field(default=None, repr=False, compare=False)
    latent_levels: Tensor | None = field(default=None, repr=False, compare=False)
    log_frequencies: Tensor | None = field(default=None, repr=False, compare=False)

    capabilities = frozenset({"any_shape"})

    def __post_init__(self) -> None:
        checked_edges(self.edges)
        object.__setattr__(self, "edges", tuple(float(edge) for edge in self.edges))
        for name, choices in ("kind", tuple(CHAINS)), ("rule", RULES):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; choose one of {list(choices)}."
                )
        object.__setattr__(self, "n_inputs", self.chain.n_states)
        object.__setattr__(self, "n_outputs", self.n_classes)

    @property
    def n_classes(self) -> int:
        """Classes, the dry one included."""
        return len(self.edges) + 1

    @property
    def chain(self) -> ClassChain:
        """What becomes of a cell."""
        return CHAINS[self.kind](self.n_classes)

    # What is corrupted

    def bound(self, decode: Field, encode: Field) -> Self:
        rates = torch.tensor([0.0, *self.edges])
        return replace(self, latent_edges=encode(rates.reshape(1, 1, 1, -1)).flatten())

    def fit(self, latents: Iterable[Tensor], seed: int = 0) -> Self:
        edges = self._edges
        kept: list[Tensor] = []
        for batch in latents:
            kept.append(batch[torch.isfinite(batch)].float().cpu())
            if sum(each.numel() for each in kept) >= MOST_CELLS:
                break
        values = torch.cat(kept)
        classes = torch.bucketize(values, edges, right=True)
        # Of the last class, which has no end, as far again as the one before.
        ends = (
            torch.cat([edges[1:], 2 * edges[-1:] - edges[-2:-1]]) if len(edges) > 1 else edges + 1
        )
        levels = self._dry.repeat(self.n_classes)
        for k, (low, high) in enumerate(zip(edges, ends, strict=True), start=1):
            here = classes == k
            level = values[here].median() if here.any() else (low + high) / 2
            # Away from the edges, so that rounding on the way to mm/h does not change the class.
            room = (high - low) * MARGIN
            last = torch.inf if k == len(edges) else high - room
            levels[k] = level.clamp(low + room, last)
        counts = torch.bincount(classes, minlength=self.n_classes).double()
        # None is impossible because it was not seen.
        frequencies = (counts + 0.5) / (counts + 0.5).sum()
        return replace(self, latent_levels=levels, log_frequencies=frequencies.log().float())

    def tensors(self) -> dict[str, Tensor]:
        learnt = {
            "edges": self.latent_edges,
            "levels": self.latent_levels,
            "log_frequencies": self.log_frequencies,
        }
        return {name: value for name, value in learnt.items() if value is not None}

    def with_tensors(self, tensors: dict[str, Tensor]) -> Self:
        return replace(
            self,
            latent_edges=tensors.get("edges"),
            latent_levels=tensors.get("levels"),
            log_frequencies=tensors.get("log_frequencies"),
        )

    def encode(self, latent: Tensor) -> Tensor:
        classes = torch.bucketize(latent, self._edges.to(latent), right=True)
        fields = F.one_hot(classes, self.n_classes).movedim(-1, -3).to(latent)
        return torch.where(torch.isfinite(latent)[..., None, :, :], fields, torch.nan)

    def decode(self, x: Tensor) -> Tensor:
        if self.latent_levels is None:
            raise ValueError(f"{self!r} has no rates before fit(latents); fit it first.")
        levels = self.latent_levels.to(x)[x.nan_to_num().argmax(-3)]
        return torch.where(torch.isfinite(x).all(-3), levels, torch.nan)

    def shape(self, window: tuple[int, ...]) -> tuple[int, ...]:
        *lead, rows, columns = window
        return (*lead, self.n_classes, rows, columns)

    # On the way to noise

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard normal, one number for each cell, whatever its fields."""
        return torch.randn((*shape[:-3], *shape[-2:]), generator=generator)

    def corrupt(self, x: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        states = self.chain.corrupt(_classes(x), _share(log_snr), noise)
        return self.fields(states, x)

    def law(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        noise = self.noise(shape, generator)
        return self.fields(self.chain.begin(noise), noise)

    def keep(self, z: Tensor, known: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        """Return z in which the cells that are known hold what the data would be at a log-SNR.

        Known cells are never masked: what is drawn beside them follows the conditional law of the
        network, as exactly as the network is. With the other kinds they are corrupted as the data
        are, and conditioning is approximate.

        Parameters
        ----------
        z : Tensor of shape (n, frames, n_inputs, y, x)
        known : Tensor of shape (n, frames, n_classes, y, x)
            As `encode` gives it, NaN where nothing is known.
        log_snr : Tensor
        noise : Tensor of shape (n, frames, y, x)
        """
        end = torch.full_like(log_snr, torch.inf)
        told = self.corrupt(known, end if self.kind == "masking" else log_snr, noise)
        return torch.where(torch.isfinite(known).all(-3, keepdim=True), told, z)

    # What the network learns

    def loss(self, network: Denoiser, x: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
        classes = _classes(x)
        states = self.chain.corrupt(classes, _share(log_snr), noise)
        logits = network(self.fields(states, x), log_snr).movedim(-3, -1)
        logits = logits + self.start(states.clamp(min=0), _share(log_snr)).to(logits)
        return class_cross_entropy(logits, classes, states, self.chain)

    def start(self, states: Tensor, share: Tensor) -> Tensor:
        """Return the logits of independent cells, with the classes in the last dimension.

        Parameters
        ----------
        states : int64 Tensor of shape (n, ...)
        share : float64 Tensor of shape () or (n,)
            What survives of the cells.
        """
        table = self.chain.cumulative(share).log().clamp(min=LEAST_LOGIT).transpose(-1, -2)
        if self.log_frequencies is not None:
            table = table + self.log_frequencies.to(table)
        table = table.expand(len(states), *table.shape[-2:]).to(states.device)
        number = torch.arange(len(states), device=states.device)
        return table[number.reshape(-1, *[1] * (states.ndim - 1)), states]

    # On the way back

    def estimate(self, prediction: Tensor, z: Tensor, log_snr: Tensor) -> Tensor:
        """Return the probabilities of the classes."""
        start = self.start(z.argmax(-3), _share(log_snr)).movedim(-1, -3)
        return (prediction + start.to(prediction)).softmax(-3)

    def levels(self, grid: Tensor) -> Tensor:
        """Return the log-SNRs between which equal shares of the cells get their class.

        Cells that get it in one step do not know of each other; on grids that are even in the
        log-SNR most of them do so in a few steps.
        """
        shares = torch.linspace(0, 1, len(grid) + 1, dtype=torch.float64)[:-1]
        return torch.logit(shares.clamp(min=float(torch.sigmoid(grid[0].double()))))

    def step_back(
        self, z: Tensor, x_hat: Tensor, log_snr: Tensor, log_snr_next: Tensor, noise: Tensor
    ) -> Tensor:
        """See `Corruption.step_back`; x_hat are probabilities, and x is one of their draws."""
        law = self.chain.law_back(
            x_hat.movedim(-3, -1).double(),
            z.argmax(-3),
            _share(log_snr),
            _share(log_snr_next),
            self.rule,
        )
        states = draw_states(law, noise)
        if torch.isposinf(log_snr_next):
            return F.one_hot(states, self.n_classes).movedim(-1, -3).to(z)
        return self.fields(states, z)

    @property
    def _edges(self) -> Tensor:
        return self._bounds[1:]

    @property
    def _dry(self) -> Tensor:
        return self._bounds[:1]

    @property
    def _bounds(self) -> Tensor:
        """Latents of no rain and of the edges."""
        if self.latent_edges is None:
            raise ValueError(
                f"{self!r} knows no edges before bound(decode, encode), which tells it the way "
                "from mm/h."
            )
        return self.latent_edges.float().cpu()

    def fields(self, states: Tensor, like: Tensor) -> Tensor:
        """A field for each state in the type of `like`, all 0 where it is missing."""
        n = self.chain.n_states
        return F.one_hot(states + 1, n + 1)[..., 1:].movedim(-1, -3).to(like)


class NetworkClassDenoiser:
    """A network that was trained with a `ClassCorruption`, as ``(states, share) -> logits``.

    Parameters
    ----------
    network : callable
        ``network(z, log_snr) -> prediction``.
    corruption : ClassCorruption
    """

    def __init__(self, network: Denoiser, corruption: ClassCorruption) -> None:
        self.network = network
        self.corruption = corruption

    def __call__(self, states: Tensor, share: Tensor) -> Tensor:
        """Logits of shape (n, frames, y, x, n_classes)."""
        log_snr = torch.logit(share.double()).clamp(-LARGEST_LOG_SNR, LARGEST_LOG_SNR)
        fields = self.corruption.fields(states, torch.empty(0, device=states.device))
        prediction = self.network(fields, log_snr.to(states.device)).movedim(-3, -1)
        start = self.corruption.start(states.clamp(min=0), share.double().cpu())
        return prediction + start.to(prediction)


class KnownClasses:
    """A denoiser of classes that is told some of them; see `ClassCorruption.keep`.

    Parameters
    ----------
    denoiser : callable
        ``(z, log_snr) -> probabilities``.
    known : Tensor of shape (n, frames, n_classes, y, x)
        As `ClassCorruption.encode` gives it, NaN where nothing is known.
    corruption : ClassCorruption
    streams : RandomStreams of length n
        For what is corrupted as the data are.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        known: Tensor,
        corruption: ClassCorruption,
        streams: RandomStreams,
    ) -> None:
        self.denoiser = denoiser
        self.known = known
        self.corruption = corruption
        self.streams = streams

    def __call__(self, z: Tensor, log_snr: Tensor) -> Tensor:
        """Probabilities of the classes, certain where they are known."""
        shape = tuple(self.known.shape[1:])
        noise = self.streams.each(lambda generator: self.corruption.noise(shape, generator))
        z = self.corruption.keep(z, self.known, log_snr, noise.to(z.device))
        return torch.where(torch.isfinite(self.known), self.known, self.denoiser(z, log_snr))


def _classes(x: Tensor) -> Tensor:
    """Class of each cell, -1 where it is missing."""
    return torch.where(torch.isfinite(x).all(-3), x.nan_to_num().argmax(-3), -1)


def _share(log_snr: Tensor) -> Tensor:
    """What survives of the cells."""
    return torch.sigmoid(log_snr.double().cpu())
