"""Gated recurrent units (Cho et al. 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from .base import EMBEDDING, SequenceNet

if TYPE_CHECKING:
    from ._series import SeriesEncoder


class GRU(SequenceNet):
    """One GRU over the window; its last state is the code.

    Parameters
    ----------
    n_features, n_locations, n_layers : int
        Sizes of the data.
    hidden : int
        Size of the state.
    depth : int
        Stacked GRU layers.
    embedding, dropout
        See :class:`SequenceNet`.

    References
    ----------
    Cho, K. et al. (2014), Learning phrase representations using RNN encoder-decoder, EMNLP.
    """

    def __init__(
        self,
        n_features: int,
        n_locations: int,
        n_layers: int,
        *,
        hidden: int = 64,
        depth: int = 1,
        embedding: int = EMBEDDING,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            n_features, n_locations, n_layers, width=hidden, embedding=embedding, dropout=dropout
        )
        self.rnn = nn.GRU(self.n_inputs, hidden, num_layers=depth, batch_first=True)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[1][-1]

    def series_encoder(self, length: int) -> SeriesEncoder:
        from ._series import gru_encoder

        return gru_encoder(self.rnn)
