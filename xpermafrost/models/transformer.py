"""Transformer encoder with sinusoidal positions (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from .base import EMBEDDING, SequenceNet

if TYPE_CHECKING:
    from ._series import SeriesEncoder


def positions(length: int, width: int) -> torch.Tensor:
    """Sinusoidal positional encoding ``(length, width)``, Vaswani et al. (2017), section 3.5."""
    # Counted from the end, so that the target month is position 0 in every window length.
    steps = torch.arange(length - 1, -1, -1, dtype=torch.float32).unsqueeze(1)
    rates = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2) / width)
    code = torch.zeros(length, width)
    code[:, 0::2] = torch.sin(steps * rates)
    code[:, 1::2] = torch.cos(steps * rates)
    return code


class _Block(nn.Module):
    """Pre-norm attention and feed-forward; ``last`` asks for the final step only."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor, last: bool) -> torch.Tensor:
        normed = self.norm_attention(x)
        if last:
            x = x[:, -1:]
        query = self._split(self.query(normed[:, -1:] if last else normed))
        key, value = (self._split(part) for part in self.key_value(normed).chunk(2, dim=2))
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.feed(self.norm_feed(x))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Transformer(SequenceNet):
    """Encoder blocks over the window; the last step is the code, and only it is computed last.

    Parameters
    ----------
    n_features, n_locations, n_layers : int
        Sizes of the data.
    length : int
        Window length [months].
    width, heads, depth : int
        Model width, attention heads, blocks.
    embedding, dropout
        See :class:`SequenceNet`.

    References
    ----------
    Vaswani, A. et al. (2017), Attention is all you need, NeurIPS.
    """

    def __init__(
        self,
        n_features: int,
        n_locations: int,
        n_layers: int,
        *,
        length: int = 24,
        width: int = 64,
        heads: int = 4,
        depth: int = 2,
        embedding: int = EMBEDDING,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            n_features, n_locations, n_layers, width=width, embedding=embedding, dropout=dropout
        )
        self.lift = nn.Linear(self.n_inputs, width)
        self.register_buffer("positions", positions(length, width), persistent=False)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        h = self.lift(x) + self.positions
        for number, block in enumerate(self.blocks, start=1):
            h = block(h, last=number == len(self.blocks))
        return self.norm(h[:, -1])

    def series_encoder(self, length: int) -> SeriesEncoder | None:
        from ._series_transformer import transformer_encoder

        return transformer_encoder(self.lift, self.positions, list(self.blocks), self.norm)
