"""The video U-Net that predicts v."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from skdiffuse.networks.classes import checked_classes
from skdiffuse.networks.edges import Edges, SpatialConvolution, extend, resolve_edges
from skdiffuse.networks.layers import (
    Attention,
    LogSNREmbedding,
    ResidualBlock,
    channel_norm,
    zero_initialised,
)

__all__ = ["PRESETS", "VideoUNet"]

# Channels in multiples of 16 fill the vector registers of processors and the tiles of GPUs.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"width": 32, "multipliers": (1, 2, 4), "patch_size": 2},
    "small": {"width": 64, "multipliers": (1, 2, 4), "patch_size": 2},
    "base": {"width": 64, "multipliers": (1, 2, 4, 8)},
    "large": {"width": 96, "multipliers": (1, 2, 4, 8), "n_blocks": 2},
}


class VideoUNet(nn.Module):
    """U-Net on sequences of fields, factorised into space and time.

    Each level has residual blocks that convolve in space and mix neighbouring frames; all levels
    but the first attend over all frames, cell by cell, and the lowest also over all cells, frame by
    frame. Nothing in it fixes the number of frames or the size of the field.

    Parameters
    ----------
    width : int, default=32
        Channels at the first level.
    multipliers : sequence of int, default=(1, 2, 4)
        Channels of each level in units of `width`; the resolution halves from level to level.
    n_blocks : int, default=1
        Residual blocks per level on the way down, and again on the way up.
    patch_size : int, default=1
        Cells are grouped into square patches of this side before the first level, which makes the
        network about ``patch_size**2`` times cheaper.
    in_channels, out_channels : int, default=1
        Fields given and returned for each frame.
    n_covariates : int, default=0
        Further fields that may be given for each frame: what is known of it, the mask of what is,
        pressure, the height of the land.
    n_labels : int, default=0
        Classes that a sequence may be said to be of: seasons, regimes, scenarios.
    n_weathers : int, default=0
        Classes of rain, dry to stormy, that a sequence may be said to be of besides; see
        `MixtureSkip`.
    field_shape : tuple of int or None, default=None
        If given, the network learns features of each place of a field of this shape ``(y, x)``, so
        that it can know where it rains. On a field of another shape their mean is used.
    edges : {"zero", "reflect", "periodic"} or a pair of them for y and x, default="zero"
        What the network sees beyond the edge: nothing; the field mirrored; or its other side, as
        on a torus or around a circle of latitude. Sides that are no multiple of
        ``patch_size * 2**(len(multipliers) - 1)`` cells are continued to the next multiple, which
        moves the edge there (with "zero" by a mirror): a periodic axis should be a multiple.
    gradient_checkpointing : bool, default=False
        Compute what the backward pass needs again instead of keeping it: less memory, about a
        third more time, the same gradients to the last bit.

    References
    ----------
    Ho et al., "Video Diffusion Models" (2022): the factorised space-time U-Net.
    Hoogeboom et al., "Simple diffusion" (2023): patches at the ends of the U-Net.
    Ho & Salimans, "Classifier-free diffusion guidance" (2021): one network with and without label.

    Examples
    --------
    >>> import torch
    >>> network = VideoUNet(width=8, multipliers=(1, 2))
    >>> network(torch.zeros(2, 5, 13, 16), torch.zeros(2)).shape
    torch.Size([2, 5, 13, 16])
    """

    def __init__(
        self,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 4),
        *,
        n_blocks: int = 1,
        patch_size: int = 1,
        in_channels: int = 1,
        out_channels: int = 1,
        n_covariates: int = 0,
        n_labels: int = 0,
        n_weathers: int = 0,
        field_shape: tuple[int, int] | None = None,
        edges: str | tuple[str, str] = "zero",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.edges = edges = resolve_edges(edges)
        self.gradient_checkpointing = gradient_checkpointing
        self.patch_size = patch_size
        self.n_levels = len(multipliers)
        channels = [width * m for m in multipliers]
        embedding_channels = 4 * width
        self.embed_log_snr = LogSNREmbedding(embedding_channels)
        self.n_covariates = n_covariates
        self.n_labels, self.n_weathers = n_labels, n_weathers
        self.embed_label, self.embed_weather = (
            _class_embedding(n, embedding_channels) for n in (n_labels, n_weathers)
        )
        channels_in = (in_channels + n_covariates) * patch_size**2
        self.stem = SpatialConvolution(channels_in, width, edges=edges)
        self.location = None
        if field_shape is not None:
            coarse = [-(-n // patch_size) for n in field_shape]
            self.location = nn.Parameter(torch.zeros(width, *coarse))

        def stage(channels_in: int, channels_out: int, attention: str | None) -> nn.Module:
            return _Stage(channels_in, channels_out, embedding_channels, attention, edges)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        current = width
        for level, c in enumerate(channels):
            attention = "time" if level > 0 else None
            before = [current] + [c] * (n_blocks - 1)
            self.down.append(nn.ModuleList(stage(b, c, attention) for b in before))
            # What this level found comes back as further channels.
            before = [2 * c] + [c] * (n_blocks - 1)
            self.up.append(nn.ModuleList(stage(b, c, attention) for b in before))
            if level > 0:
                above = channels[level - 1]
                self.shrink.append(SpatialConvolution(above, above, stride=2, edges=edges))
                # Before the resolution doubles, where it is four times cheaper.
                self.grow.append(SpatialConvolution(c, above, edges=edges))
            current = c
        self.middle = nn.ModuleList(
            [stage(current, current, "space"), stage(current, current, "time")]
        )
        self.head = zero_initialised(
            SpatialConvolution(width * multipliers[0], out_channels * patch_size**2, edges=edges)
        )
        # torch's types leave this keyword out.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        z: Tensor,
        log_snr: Tensor,
        covariates: Tensor | None = None,
        labels: Tensor | None = None,
        weather: Tensor | None = None,
    ) -> Tensor:
        """Predict v.

        Parameters
        ----------
        z : Tensor of shape (n, frames, y, x) or (n, frames, in_channels, y, x)
            Noisy latent, and what else is given.
        log_snr : Tensor of shape () or (n,)
            Log signal-to-noise ratio of each sequence.
        covariates : Tensor of shape (n, frames, n_covariates, y, x), optional
            Further fields; n or frames may be 1 where all are alike. None is the same as zeros.
        labels, weather : int64 Tensor of shape (n,), optional
            Class of each sequence, and of its rain; -1, or None for all, where there is none.

        Returns
        -------
        Tensor of shape (n, frames, y, x) or (n, frames, out_channels, y, x)

        Raises
        ------
        ValueError
            If `covariates`, `labels` or `weather` are not those that the network was made for.
        """
        n, n_frames, *_, height, width = z.shape
        embedding = self.embed_log_snr(log_snr.reshape(-1).expand(n))
        embedding = embedding + self._embedded(labels, "labels", self.embed_label, n)
        embedding = embedding + self._embedded(weather, "weather", self.embed_weather, n)
        embedding = F.silu(embedding).repeat_interleave(n_frames, dim=0)

        multiple = self.patch_size * 2 ** (self.n_levels - 1)
        pad_y, pad_x = -height % multiple, -width % multiple
        x = z.reshape(n * n_frames, -1, height, width)
        if self.n_covariates or covariates is not None:
            x = torch.cat([x, self._folded_covariates(covariates, z)], dim=1)
        for axis, after, edge in zip((2, 3), (pad_y, pad_x), self.edges, strict=True):
            if after:
                x = extend(x, axis, 0, after, "periodic" if edge == "periodic" else "reflect")
        x = F.pixel_unshuffle(x, self.patch_size).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        if self.location is not None:
            x = x + self._location_features(self.location, x.shape[-2:])

        found = []
        for level in range(self.n_levels):
            x = self._through(self.down[level], x, embedding, n_frames)
            found.append(x)
            if level < self.n_levels - 1:
                x = self.shrink[level](x)
        x = self._through(self.middle, x, embedding, n_frames)
        for level in reversed(range(self.n_levels)):
            x = torch.cat([x, found.pop()], dim=1)
            x = self._through(self.up[level], x, embedding, n_frames)
            if level > 0:
                x = F.interpolate(self.grow[level - 1](x), scale_factor=2.0, mode="nearest")
        x = F.pixel_shuffle(self.head(F.silu(channel_norm(x))), self.patch_size)
        x = x[..., :height, :width].reshape(n, n_frames, -1, height, width)
        return x.squeeze(2)

    def _through(self, stages: nn.Module, x: Tensor, embedding: Tensor, n_frames: int) -> Tensor:
        # A list of lists does not tell its type.
        assert isinstance(stages, nn.ModuleList)
        for stage in stages:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(
                    stage, x, embedding, n_frames, use_reentrant=False, preserve_rng_state=False
                )
            else:
                x = stage(x, embedding, n_frames)
        return x

    def _embedded(
        self, classes: Tensor | None, name: str, table: nn.Embedding | None, n: int
    ) -> Tensor | float:
        """What is added for the classes of n sequences."""
        if classes is not None:
            parameter = {"labels": "n_labels", "weather": "n_weathers"}[name]
            n_classes = getattr(self, parameter)
            made_with = f"the network was made with {parameter}={n_classes}"
            classes = checked_classes(name, classes, n, n_classes, made_with)
        if table is None:
            return 0.0
        if classes is None:
            classes = torch.full((n,), -1, device=table.weight.device)
        return table(classes + 1)

    def _folded_covariates(self, covariates: Tensor | None, z: Tensor) -> Tensor:
        """Covariates as channels, zeros if there are none."""
        n, n_frames, *_, height, width = z.shape
        shape = (n, n_frames, self.n_covariates, height, width)
        if covariates is None:
            return z.new_zeros(n * n_frames, *shape[2:])
        fits = covariates.ndim == 5 and covariates.shape[2:] == shape[2:]
        if (
            not fits
            or covariates.shape[0] not in (1, n)
            or covariates.shape[1] not in (1, n_frames)
        ):
            raise ValueError(
                f"covariates must have the shape (n, frames, n_covariates, y, x) = {shape}, got "
                f"{tuple(covariates.shape)}; the network was made with "
                f"n_covariates={self.n_covariates}."
            )
        return covariates.to(z.dtype).expand(shape).reshape(n * n_frames, *shape[2:])

    def _location_features(self, location: Tensor, shape: Sequence[int]) -> Tensor:
        """Learnt features of each place, padded as the field is, or their mean elsewhere."""
        height, width = location.shape[-2:]
        pad_y, pad_x = shape[0] - height, shape[1] - width
        limit = 2 ** (self.n_levels - 1)
        if 0 <= pad_y < limit and 0 <= pad_x < limit:
            return F.pad(location[None], (0, pad_x, 0, pad_y), mode="replicate")
        return location.mean(dim=(1, 2))[None, :, None, None]


class _Stage(nn.Module):
    """A residual block and, at some levels, attention."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        embedding_channels: int,
        attention: str | None,
        edges: Edges,
    ) -> None:
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, embedding_channels, edges)
        self.attention = None if attention is None else Attention(channels_out, attention)

    def forward(self, x: Tensor, embedding: Tensor, n_frames: int) -> Tensor:
        x = self.block(x, embedding, n_frames)
        return x if self.attention is None else self.attention(x, n_frames)


def _class_embedding(n_classes: int, channels: int) -> nn.Embedding | None:
    """Zeros; the first row is that of sequences whose class is not said."""
    if not n_classes:
        return None
    return zero_initialised(nn.Embedding(n_classes + 1, channels))
