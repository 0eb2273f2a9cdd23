"""Encoder of many overlapping windows for the Transformer; see ``_series``.

Windows share the lifted inputs only: a month's position, and with it everything after,
differs from window to window. The rest is the network as it is, laid out for the kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import nn

from .. import _attention_kernels as attention
from .. import _inference_kernels as kernels
from .._inference_kernels import Block
from ._series import Affine, SeriesEncoder, linear, values

#: Windows of a block: every month of each is held at once [windows].
ATTENTION_BLOCK = 64


class Norm(NamedTuple):
    """Layer normalisation."""

    weight: np.ndarray
    bias: np.ndarray
    eps: float


class Layer(NamedTuple):
    """Pre-norm attention and feed-forward."""

    norm_attention: Norm
    query: Affine
    key: Affine
    value: Affine
    out: Affine
    norm_feed: Norm
    widen: Affine
    narrow: Affine


def transformer_encoder(
    lift: nn.Linear,
    positions: object,
    blocks: Sequence[nn.Module],
    norm: nn.LayerNorm,
) -> SeriesEncoder | None:
    """Of an encoder whose last block answers the last month only; None for odd widths."""
    width = lift.out_features
    if width % kernels.ROWS or not blocks:
        return None
    first, added, heads = linear(lift), values(positions), int(blocks[0].heads)  # type: ignore[arg-type]
    layers, last = [_layer(block, width // heads) for block in blocks], _norm(norm)

    def codes(block: Block) -> np.ndarray:
        length, lanes = block.length, block.lanes
        h = kernels.affine(*first, block.x, 0, block.x.shape[1] - kernels.PANEL)
        h = attention.spread(h, block.runs, added, lanes)
        for number, layer in enumerate(layers, start=1):
            asked = 1 if number == len(layers) else length
            h = _apply(layer, h, heads, lanes, length, asked)
        return attention.layer_norm(h, *last)

    return SeriesEncoder(ATTENTION_BLOCK, codes)


def _apply(
    layer: Layer, h: np.ndarray, heads: int, lanes: int, length: int, asked: int
) -> np.ndarray:
    """A block at the last ``asked`` months of the window."""
    normed, skipped = attention.layer_norm(h, *layer.norm_attention), (length - asked) * lanes
    key, value = (kernels.affine(*of, normed, 0, length * lanes) for of in (layer.key, layer.value))
    query = kernels.affine(*layer.query, normed, skipped, asked * lanes)
    mixed = attention.attend(query, key, value, heads, lanes, length, asked)
    h = _added(layer.out, mixed, h, skipped, asked * lanes)
    wide = kernels.affine(*layer.widen, attention.layer_norm(h, *layer.norm_feed), 0, asked * lanes)
    kernels.apply_gelu(wide)
    return _added(layer.narrow, wide, h, 0, asked * lanes)


def _added(layer: Affine, x: np.ndarray, h: np.ndarray, skipped: int, columns: int) -> np.ndarray:
    total = kernels.shifted_sum(h, skipped, layer.b, columns)
    kernels.add_product(layer.w, x, total, 0, columns)
    return total


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(values(norm.weight), values(norm.bias), norm.eps)


def _layer(block: nn.Module, head: int) -> Layer:
    query = linear(block.query)  # type: ignore[arg-type]
    both = linear(block.key_value)  # type: ignore[arg-type]
    (key, value), (key_b, value_b) = (np.split(part, 2) for part in both)
    widen, _, narrow = block.feed  # type: ignore[misc]
    scale = np.float32(head**-0.5)
    return Layer(
        _norm(block.norm_attention),  # type: ignore[arg-type]
        Affine(query.w * scale, query.b * scale),
        Affine(key, key_b),
        Affine(value, value_b),
        linear(block.out),  # type: ignore[arg-type]
        _norm(block.norm_feed),  # type: ignore[arg-type]
        linear(widen),
        linear(narrow),
    )
