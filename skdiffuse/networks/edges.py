"""What lies beyond the edge of a field."""

import torch
from torch import Tensor, nn

__all__ = ["EDGES", "Edges", "SpatialConvolution", "extend", "resolve_edges"]

EDGES = ("zero", "reflect", "periodic")
Edges = tuple[str, str]


def resolve_edges(edges: str | tuple[str, str]) -> Edges:
    """One kind for both axes, or a pair (y, x), as a pair.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    pair = tuple(edges) if isinstance(edges, tuple | list) else (edges, edges)
    if len(pair) != 2 or not all(isinstance(edge, str) and edge in EDGES for edge in pair):
        raise ValueError(f"edges={edges!r} must be one of {EDGES}, or a pair of them for y and x.")
    return pair


def extend(x: Tensor, axis: int, before: int, after: int, edge: str) -> Tensor:
    """Go on beyond both ends of an axis, whatever its length.

    Parameters
    ----------
    x : Tensor
    axis : int
    before, after : int
        Number of values to add.
    edge : {"reflect", "periodic"}
        Mirrored with the value at the edge repeated, as by a cosine basis; or from the other end.

    Examples
    --------
    >>> import torch
    >>> extend(torch.tensor([1, 2, 3]), 0, 2, 1, "reflect").tolist()
    [2, 1, 1, 2, 3, 3]
    >>> extend(torch.tensor([1, 2, 3]), 0, 2, 1, "periodic").tolist()
    [2, 3, 1, 2, 3, 1]
    """
    n = x.shape[axis]
    index = torch.arange(-before, n + after, device=x.device)
    if edge == "periodic":
        index = index % n
    else:
        index = index % (2 * n)
        index = torch.minimum(index, 2 * n - 1 - index)
    return x.index_select(axis, index)


class SpatialConvolution(nn.Conv2d):
    """Convolution of three by three cells that keeps, or with stride 2 halves, the size."""

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int = 1, edges: Edges
    ) -> None:
        y, x = edges
        padding = (int(y == "zero"), int(x == "zero"))
        super().__init__(channels_in, channels_out, 3, stride=stride, padding=padding)
        self.edges = edges

    def forward(self, x: Tensor) -> Tensor:
        for axis, edge in zip((2, 3), self.edges, strict=True):
            if edge != "zero":
                n = x.shape[axis]
                first, last = (0, n - 1) if edge == "reflect" else (n - 1, 0)
                ends = (x.narrow(axis, first, 1), x, x.narrow(axis, last, 1))
                x = torch.cat(ends, dim=axis)
        return super().forward(x)
