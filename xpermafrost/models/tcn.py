"""Temporal convolutional network: causal, dilated, residual (Bai et al. 2018)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from .base import EMBEDDING, SequenceNet

if TYPE_CHECKING:
    from ._series import SeriesEncoder


def kernel_sizes(length: int) -> tuple[int, ...]:
    """Kernel sizes, each 2, 3 or 5, whose product is the smallest such number >= ``length``.

    With the dilation of a level the product of the kernels below it, the receptive field is
    that product: for a window of 24 months exactly 24, each month seen once.

    Examples
    --------
    >>> kernel_sizes(24), kernel_sizes(23)
    ((3, 2, 2, 2), (3, 2, 2, 2))
    """
    while True:
        rest, sizes = length, []
        for prime in (5, 3, 2):
            while rest % prime == 0 and rest > 1:
                sizes.append(prime)
                rest //= prime
        if rest == 1:
            return tuple(sizes) or (1,)
        length += 1


class TCN(SequenceNet):
    """Causal dilated convolutions with residual blocks, evaluated where the answer needs it.

    Only the last step is asked for. As every level's dilation is the product of the kernel
    sizes below it, the outputs that the last step depends on form a tree, and a convolution
    with stride = kernel size computes exactly those: the same numbers as the dense dilated
    convolution, in a fraction of the work.

    Parameters
    ----------
    n_features, n_locations, n_layers : int
        Sizes of the data.
    length : int
        Window length [months]; sets the levels.
    hidden : int
        Channels.
    embedding, dropout
        See :class:`SequenceNet`.

    References
    ----------
    Bai, S., Kolter, J. Z. & Koltun, V. (2018), An empirical evaluation of generic
    convolutional and recurrent networks for sequence modeling, arXiv:1803.01271.
    """

    def __init__(
        self,
        n_features: int,
        n_locations: int,
        n_layers: int,
        *,
        length: int = 24,
        hidden: int = 64,
        embedding: int = EMBEDDING,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            n_features, n_locations, n_layers, width=hidden, embedding=embedding, dropout=dropout
        )
        self.sizes = kernel_sizes(length)
        self.lift = nn.Linear(self.n_inputs, hidden)
        # a convolution whose stride is its kernel size is a product with the joined steps
        self.convs = nn.ModuleList(nn.Linear(size * hidden, hidden) for size in self.sizes)
        self.mixes = nn.ModuleList(nn.Linear(hidden, hidden) for _ in self.sizes)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        h = self.lift(x)
        h = F.pad(h, (0, 0, math.prod(self.sizes) - h.shape[1], 0))
        for size, conv, mix in zip(self.sizes, self.convs, self.mixes, strict=True):
            joined = h.reshape(h.shape[0], h.shape[1] // size, size * h.shape[2])
            h = h[:, size - 1 :: size] + mix(F.gelu(conv(joined)))
        return h[:, -1]

    def series_encoder(self, length: int) -> SeriesEncoder:
        from ._series import tcn_encoder

        return tcn_encoder(self.lift, list(self.convs), list(self.mixes), length)  # type: ignore[arg-type]

    def dense(self, x: torch.Tensor) -> torch.Tensor:
        """Codes ``(batch, time, width)`` of every step by dense dilated convolution.

        At steps that have a whole window before them the code is that of :meth:`encode`.
        """
        h = self.lift(x)
        dilation = 1
        for size, conv, mix in zip(self.sizes, self.convs, self.mixes, strict=True):
            kernel = conv.weight.unflatten(1, (size, -1)).transpose(1, 2)  # type: ignore[operator]
            padded = F.pad(h.transpose(1, 2), (dilation * (size - 1), 0))
            new = F.conv1d(padded, kernel, conv.bias, dilation=dilation)  # type: ignore[arg-type]
            h = h + mix(F.gelu(new.transpose(1, 2)))
            dilation *= size
        return h
