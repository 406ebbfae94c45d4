"""What is known of a sequence, carried along by its motion to where nothing is known."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["carried_along", "steady_motion"]

# Frames of which less is known tell no motion.
LEAST_KNOWN = 0.25
# The motion is resolved in blocks of this many cells, and the same over some of them.
BLOCK = 4
SMOOTHING = 2.0
# How much a place without a gradient of its own follows the motion of the whole.
RIDGE = 0.05
ITERATIONS = 4
# Beyond this part of the longer side nothing is searched for.
REACH = 1 / 4


def carried_along(values: Tensor) -> tuple[Tensor, Tensor]:
    """Fill in each unknown cell from the known frames before and after, along the motion.

    A cell takes the value from where the steady motion of the sequence came from, or goes to, in
    the nearest frame where that place is known; of one before and one after their mean, the nearer
    counting for more. It is no forecast but what an advection nowcast starts from, and what a
    network that is told of it need not learn.

    Parameters
    ----------
    values : Tensor of shape (n, frames, y, x)
        NaN where unknown.

    Returns
    -------
    field : Tensor of shape (n, frames, y, x)
        Known cells as they are; 0 where nothing is carried to.
    nearness : Tensor of shape (n, frames, y, x)
        1 where known, 1 / (1 + k) where the value is from k frames away, 0 where there is none.

    References
    ----------
    Germann and Zawadzki, "Scale-Dependence of the Predictability of Precipitation from Continental
    Radar Images. Part I" (2002): the semi-Lagrangian backward scheme.

    Examples
    --------
    >>> values = torch.full((1, 3, 1, 6), torch.nan)
    >>> values[0, 0] = torch.tensor([1.0, 5.0, 1.0, 0.0, 0.0, 0.0])
    >>> values[0, 1] = torch.tensor([0.0, 1.0, 5.0, 1.0, 0.0, 0.0])
    >>> field, nearness = carried_along(values)
    >>> field[0, 2].round() + 0.0
    tensor([[0., 0., 1., 5., 1., 0.]])
    >>> nearness[0, :, 0, 2]
    tensor([1.0000, 1.0000, 0.5000])
    """
    known = torch.isfinite(values)
    frames = values.shape[1]
    field = torch.where(known, values, 0.0)
    if frames == 1 or known.all() or not known.any():
        return field, known.to(values)
    flow = steady_motion(values)
    before, before_nearness = _from_one_side(field, known, -flow)
    after, after_nearness = (
        side.flip(1) for side in _from_one_side(field.flip(1), known.flip(1), flow)
    )
    # Distances of 1 / nearness - 1: the weight of each side goes with the other's distance.
    weight, other = (
        torch.where(near > 0, near / (1 - near).clamp(min=0.5), 0.0)
        for near in (before_nearness, after_nearness)
    )
    total = weight + other
    mean = (weight * before + other * after) / total.clamp(min=1e-6)
    carried = torch.where(total > 0, mean, 0.0)
    nearness = torch.maximum(before_nearness, after_nearness)
    return torch.where(known, field, carried), torch.where(known, 1.0, nearness)


def _from_one_side(field: Tensor, known: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """Values from the nearest earlier frame where they are known, and 1 / (1 + its distance)."""
    n, frames, height, width = field.shape
    found, nearness = torch.zeros_like(field), torch.zeros_like(field)
    both = torch.stack([field, known.to(field)], dim=2)
    displacement = torch.zeros_like(back)
    for lag in range(1, frames):
        # One step further back along the trajectory, by the motion half-way.
        middle = displacement + 0.5 * _sampled(back, displacement, "border")
        displacement = displacement + _sampled(back, middle, "border")
        earlier = both[:, : frames - lag].flatten(1, 2)
        value, validity = (
            _sampled(earlier, displacement, "zeros")
            .reshape(n, frames - lag, 2, height, width)
            .unbind(2)
        )
        new = (validity > 0.99) & (nearness[:, lag:] == 0)
        found[:, lag:] = torch.where(new, value / validity.clamp(min=0.5), found[:, lag:])
        nearness[:, lag:] = torch.where(new, 1 / (1 + lag), nearness[:, lag:])
    return found, nearness


def steady_motion(values: Tensor) -> Tensor:
    """Displacement per frame that best explains the known frames by the known ones before.

    The displacement of the whole field comes from the peak of the cross-correlation; what differs
    from it from place to place from the optical-flow equation in blocks, iterated.

    Parameters
    ----------
    values : Tensor of shape (n, frames, y, x)
        NaN where unknown.

    Returns
    -------
    Tensor of shape (n, 2, y, x)
        Cells per frame along y and x; 0 for a sequence without two known frames.

    References
    ----------
    Lucas and Kanade, "An Iterative Image Registration Technique" (1981).

    Examples
    --------
    >>> y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    >>> frames = [(-((y - 12) ** 2 + (x - 10 - 2 * t) ** 2) / 20).exp() for t in (0, 1)]
    >>> steady_motion(torch.stack(frames)[None])[0, :, 12, 12].round(decimals=1) + 0.0
    tensor([0., 2.])
    """
    n, _, height, width = values.shape
    known = torch.isfinite(values)
    before, after, lag, is_pair = _pairs(known)
    dry = torch.where(known, values, torch.inf).amin((1, 2, 3), keepdim=True)
    field = torch.where(known, values - dry, 0.0)
    place = torch.arange(n, device=values.device)[:, None]
    first, second = field[place, before], field[place, after]
    seen = (known[place, before] & known[place, after]).to(field)
    is_pair = is_pair[..., None, None].to(field)
    lag = lag.to(field)
    shift = _shift_of_the_whole(first * is_pair, second * is_pair) / lag[:, None]
    flow = shift[:, :, None, None].expand(n, 2, height, width)
    if min(height, width) < 2 * BLOCK:
        return flow
    limit = REACH * max(height, width) / lag[:, None, None, None]
    steps = lag[:, None, None, None]
    # All pairs of a sequence go with its one motion.
    layers = torch.cat([first, seen], dim=1)
    pairs = first.shape[1]
    for _ in range(ITERATIONS):
        moved, valid = _sampled(layers, -steps * flow, "zeros").split(pairs, dim=1)
        weight = torch.where(valid > 0.99, 1.0, 0.0) * seen * is_pair
        middle = 0.5 * (moved + second)
        slope_y, slope_x = torch.gradient(middle, dim=(2, 3))
        change = second - moved
        products = [slope_y**2, slope_y * slope_x, slope_x**2, -slope_y * change, -slope_x * change]
        sums = torch.stack([(weight * product).sum(1) for product in products], dim=1)
        yy, yx, xx, by, bx = _smooth_blocks(sums).unbind(1)
        ridge = RIDGE * (yy + xx).amax((1, 2), keepdim=True) + 1e-12
        determinant = (yy + ridge) * (xx + ridge) - yx**2
        correction = torch.stack(
            [
                ((xx + ridge) * by - yx * bx) / determinant,
                ((yy + ridge) * bx - yx * by) / determinant,
            ],
            dim=1,
        )
        correction = F.interpolate(
            correction, (height, width), mode="bilinear", align_corners=False
        )
        flow = torch.minimum(torch.maximum(flow + correction / steps, -limit), limit)
    return flow


def _pairs(known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs of frames that tell the motion: those known that lie nearest to each other.

    Returns
    -------
    before, after : int Tensor of shape (n, frames - 1)
    lag : int Tensor of shape (n,)
        Frames between the two of each pair that counts.
    counts : bool Tensor of shape (n, frames - 1)
    """
    n, frames = known.shape[:2]
    of_frame = known.float().mean((2, 3))
    usable = of_frame >= torch.clamp(LEAST_KNOWN * of_frame.amax(1, keepdim=True), min=1e-6)
    number = torch.arange(frames, device=known.device).expand(n, frames)
    # The next usable frame after each: a minimum from the end.
    later = torch.where(usable, number, 2 * frames)
    next_one = later.flip(1).cummin(1).values.flip(1)[:, 1:]
    counts = usable[:, :-1] & (next_one < frames)
    distance = torch.where(counts, next_one - number[:, :-1], 2 * frames)
    lag = distance.amin(1, keepdim=True)
    counts = counts & (distance == lag)
    lag = torch.where(counts.any(1), lag[:, 0], 1)
    return number[:, :-1], next_one.clamp(max=frames - 1), lag, counts


def _shift_of_the_whole(before: Tensor, after: Tensor) -> Tensor:
    """Peak of the summed cross-correlation of pairs, to a part of a cell; shape (n, 2)."""
    n, _, *field = before.shape
    size = [2 * side for side in field]
    spectra = [
        torch.fft.rfft2(frames - frames.mean((2, 3), keepdim=True), s=size)
        for frames in (before, after)
    ]
    total = torch.fft.irfft2((spectra[0].conj() * spectra[1]).sum(1), s=size)
    # Sides of one cell have no motion, and no neighbours to look at.
    reach = [min(max(1, math.floor(REACH * max(field))), side - 1) for side in field]
    near = total
    for axis, (side, cells) in enumerate(zip(size, reach, strict=True), start=1):
        lags = torch.arange(-cells - 1, cells + 2, device=total.device) % side
        near = near.index_select(axis, lags)
    inner = near[:, 1:-1, 1:-1]
    at = inner.flatten(1).argmax(1)
    peak = torch.stack([at // inner.shape[2], at % inner.shape[2]], dim=1)
    row = torch.arange(n, device=total.device)
    shift = []
    for axis in (0, 1):
        step = torch.tensor([1 - axis, axis], device=total.device)
        low, middle, high = (
            near[row, y, x] for y, x in (((peak + 1 + k * step).unbind(1)) for k in (-1, 0, 1))
        )
        curvature = low - 2 * middle + high
        part = torch.where(curvature < 0, 0.5 * (low - high) / curvature.clamp(max=-1e-30), 0.0)
        whole = peak[:, axis] - reach[axis]
        shift.append(torch.where(middle > 0, whole + part.clamp(-0.5, 0.5), 0.0))
    return torch.stack(shift, dim=1)


def _sampled(fields: Tensor, displacement: Tensor, beyond: str) -> Tensor:
    """Each field (n, c, y, x) at its cells' places displaced by (n, 2, y, x) cells."""
    height, width = fields.shape[-2:]
    rows, columns = (
        torch.arange(n, dtype=displacement.dtype, device=displacement.device)
        for n in (height, width)
    )
    y, x = rows[:, None] + displacement[:, 0], columns + displacement[:, 1]
    grid = torch.stack(
        [(2 * x + 1) / width - 1, (2 * y + 1) / height - 1],
        dim=-1,
    )
    return F.grid_sample(fields, grid, "bilinear", beyond, align_corners=False)


def _smooth_blocks(fields: Tensor) -> Tensor:
    """Means over blocks of cells, smoothed by a Gaussian of a few blocks."""
    blocks = F.avg_pool2d(fields, BLOCK, ceil_mode=True, count_include_pad=False)
    radius = min(math.ceil(3 * SMOOTHING), min(blocks.shape[-2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, device=fields.device, dtype=fields.dtype)
    kernel = torch.exp(-0.5 * (offsets / SMOOTHING) ** 2)
    kernel = kernel / kernel.sum()
    c = fields.shape[1]
    padded = F.pad(blocks, (radius,) * 4, mode="replicate")
    along_y = F.conv2d(padded, kernel.reshape(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)
    return F.conv2d(along_y, kernel.reshape(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)
