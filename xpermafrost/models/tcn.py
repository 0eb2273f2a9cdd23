"""Temporal convolutional network: causal, dilated, residual (Bai et al. 2018)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .base import EMBEDDING, SequenceNet


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
        self.lift = nn.Conv1d(self.n_inputs, hidden, 1)
        self.convs = nn.ModuleList(nn.Conv1d(hidden, hidden, size) for size in self.sizes)
        self.mixes = nn.ModuleList(nn.Conv1d(hidden, hidden, 1) for _ in self.sizes)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        whole = 1
        for size in self.sizes:
            whole *= size
        h = self.lift(x.transpose(1, 2))
        h = F.pad(h, (whole - h.shape[2], 0))
        for size, conv, mix in zip(self.sizes, self.convs, self.mixes, strict=True):
            new = F.gelu(F.conv1d(h, conv.weight, conv.bias, stride=size))  # type: ignore[arg-type]
            h = h[:, :, size - 1 :: size] + mix(new)
        return h[:, :, -1]

    def dense(self, x: torch.Tensor) -> torch.Tensor:
        """Codes ``(batch, time, width)`` of every step by dense dilated convolution.

        At steps that have a whole window before them the code is that of :meth:`encode`.
        """
        h = self.lift(x.transpose(1, 2))
        dilation = 1
        for size, conv, mix in zip(self.sizes, self.convs, self.mixes, strict=True):
            padded = F.pad(h, (dilation * (size - 1), 0))
            new = F.gelu(F.conv1d(padded, conv.weight, conv.bias, dilation=dilation))  # type: ignore[arg-type]
            h = h + mix(new)
            dilation *= size
        return h.transpose(1, 2)
