"""Bidirectional long short-term memory (Hochreiter & Schmidhuber 1997; Graves 2005)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from .base import EMBEDDING, SequenceNet

if TYPE_CHECKING:
    from ._series import SeriesEncoder


class BiLSTM(SequenceNet):
    """An LSTM in both directions over the window; both final states are the code.

    The backward state is read from ``h_n``: at ``output[:, -1]`` the backward direction has
    seen one step only.

    Parameters
    ----------
    n_features, n_locations, n_layers : int
        Sizes of the data.
    hidden : int
        Size of the state of each direction.
    embedding, dropout
        See :class:`SequenceNet`.

    References
    ----------
    Hochreiter, S. & Schmidhuber, J. (1997), Long short-term memory, Neural Computation 9(8).
    Graves, A. & Schmidhuber, J. (2005), Framewise phoneme classification with bidirectional
    LSTM, Neural Networks 18.
    """

    def __init__(
        self,
        n_features: int,
        n_locations: int,
        n_layers: int,
        *,
        hidden: int = 48,
        embedding: int = EMBEDDING,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            n_features,
            n_locations,
            n_layers,
            width=2 * hidden,
            embedding=embedding,
            dropout=dropout,
        )
        self.rnn = nn.LSTM(self.n_inputs, hidden, batch_first=True, bidirectional=True)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        states = self.rnn(x)[1][0]
        return torch.cat([states[0], states[1]], dim=1)

    def series_encoder(self, length: int) -> SeriesEncoder:
        from ._series import bilstm_encoder

        return bilstm_encoder(self.rnn)
