"""Convolutions over time in front of an LSTM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from .base import EMBEDDING, SequenceNet

if TYPE_CHECKING:
    from ._series import SeriesEncoder


class Conv1DLSTM(SequenceNet):
    """Two 1-D convolutions find short patterns, an LSTM remembers them.

    Parameters
    ----------
    n_features, n_locations, n_layers : int
        Sizes of the data.
    hidden : int
        Channels of the convolutions and size of the LSTM's state.
    kernel : int
        Months that a convolution sees.
    embedding, dropout
        See :class:`SequenceNet`.

    References
    ----------
    Sainath, T. N. et al. (2015), Convolutional, long short-term memory, fully connected deep
    neural networks, ICASSP.
    """

    def __init__(
        self,
        n_features: int,
        n_locations: int,
        n_layers: int,
        *,
        hidden: int = 64,
        kernel: int = 3,
        embedding: int = EMBEDDING,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            n_features, n_locations, n_layers, width=hidden, embedding=embedding, dropout=dropout
        )
        self.kernel = kernel
        self.first = nn.Conv1d(self.n_inputs, hidden, kernel)
        self.second = nn.Conv1d(hidden, hidden, kernel)
        self.rnn = nn.LSTM(hidden, hidden, batch_first=True)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        h = x.transpose(1, 2)
        for conv in (self.first, self.second):
            h = F.gelu(conv(F.pad(h, (self.kernel - 1, 0))))  # causal: padded on the left only
        return self.rnn(h.transpose(1, 2))[1][0][-1]

    def series_encoder(self, length: int) -> SeriesEncoder:
        from ._series import conv1dlstm_encoder

        return conv1dlstm_encoder(self.first, self.second, self.rnn, self.kernel)
