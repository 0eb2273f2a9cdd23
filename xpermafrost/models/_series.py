"""Encoders of many overlapping windows at once: weights laid out for the compiled kernels.

What overlapping windows share is computed once for the series that they are cut from: every
convolution, and the products of recurrent networks with their inputs. The answers are those of
``encode`` on each window, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import nn

from .. import _inference_kernels as kernels
from .._inference_kernels import Block

#: Windows of a block: the state of a recurrent network stays in the first cache [windows].
RECURRENT_BLOCK = 128

#: Windows of a block of convolutions: few months are computed for two blocks [windows].
CONVOLUTION_BLOCK = 1024


class SeriesEncoder(NamedTuple):
    """Codes of the windows of a block.

    Attributes
    ----------
    windows : int
        Windows of a block that suit it.
    codes : callable
        ``codes(block)`` gives ``(width, lane)``, a column for each window. It is called by
        several threads at once.
    """

    windows: int
    codes: Callable[[Block], np.ndarray]


class Affine(NamedTuple):
    """Weights ``(row, inner)`` and bias ``(row,)``."""

    w: np.ndarray
    b: np.ndarray


def multiple(n: int) -> int:
    """Rows up to a multiple of those of the kernels' tiles; the rows more are zero."""
    return -(-n // kernels.ROWS) * kernels.ROWS


def values(tensor: object) -> np.ndarray:
    """Weights as float32."""
    return np.asarray(tensor.detach().cpu().numpy(), dtype="float32")  # type: ignore[attr-defined]


def pad(array: np.ndarray, *shape: int) -> np.ndarray:
    """Contiguous, with zeros up to ``shape``."""
    wider = [(0, want - have) for want, have in zip(shape, array.shape, strict=True)]
    return np.ascontiguousarray(np.pad(array, wider))


def linear(layer: nn.Linear, inner: int | None = None) -> Affine:
    """Weights of a linear layer whose inputs have ``inner`` rows."""
    w = values(layer.weight)
    rows = multiple(w.shape[0])
    return Affine(pad(w, rows, inner or w.shape[1]), pad(values(layer.bias), rows))


def gates(array: np.ndarray, order: Sequence[int], inner: int | None = None) -> np.ndarray:
    """Weights ``(gate * hidden, inner)`` or biases in another order of gates, padded."""
    count = 3 if len(order) < 4 else 4
    parts = array.reshape(count, -1, *array.shape[1:])[list(order)]
    hidden = multiple(parts.shape[1])
    if array.ndim == 1:
        return pad(parts, len(order), hidden).reshape(-1)
    return pad(parts, len(order), hidden, inner or array.shape[1]).reshape(
        -1, inner or array.shape[1]
    )


def gru_encoder(rnn: nn.GRU) -> SeriesEncoder:
    """Of stacked GRUs; the inputs of the first one are shared by all windows."""
    layers = []
    for depth in range(rnn.num_layers):
        w, recurrent, b, b_state = (
            values(getattr(rnn, f"{name}_l{depth}"))
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        hidden = multiple(rnn.hidden_size)
        # torch's order is reset, update, new; the state's part of new is kept apart
        reset_update = gates(b_state, (0, 1, 2))
        bias = gates(b, (2, 0, 1))
        bias[hidden:] += reset_update[: 2 * hidden]
        layers.append(
            (
                gates(w, (2, 0, 1), hidden if depth else None),
                bias,
                gates(recurrent, (0, 1, 2), hidden),
                reset_update[2 * hidden :],
            )
        )

    def codes(block: Block) -> np.ndarray:
        hidden, lanes, length = multiple(rnn.hidden_size), block.lanes, block.length
        own = np.zeros((0, block.x.shape[0], lanes), dtype="float32")
        shared = kernels.affine(*layers[0][:2], block.x, 0, block.x.shape[1] - kernels.PANEL)
        for number, weights in enumerate(layers, start=1):
            steps = length if number < len(layers) else 0
            states = np.empty((steps, hidden, lanes), dtype="float32")
            last = kernels.gru_states(block, own, shared, *weights, states)
            own = states
        return last[: rnn.hidden_size]

    return SeriesEncoder(RECURRENT_BLOCK, codes)


class Lstm(NamedTuple):
    """One direction of an LSTM."""

    w: np.ndarray
    b: np.ndarray
    recurrent: np.ndarray
    backward: bool


def lstm(rnn: nn.LSTM, *, backward: bool = False, inner: int | None = None) -> Lstm:
    """Weights of a direction of an LSTM of one layer whose inputs have ``inner`` rows."""
    order, end = (0, 1, 2, 3), "_l0_reverse" if backward else "_l0"
    w, recurrent, b, b_state = (
        values(getattr(rnn, name + end))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return Lstm(
        gates(w, order, inner),
        gates(b + b_state, order),
        gates(recurrent, order, multiple(rnn.hidden_size)),
        backward,
    )


def bilstm_encoder(rnn: nn.LSTM) -> SeriesEncoder:
    """Of an LSTM in both directions; the inputs of both are shared by all windows."""
    ways, hidden = (lstm(rnn), lstm(rnn, backward=True)), rnn.hidden_size

    def codes(block: Block) -> np.ndarray:
        own = np.zeros((0, block.x.shape[0], block.lanes), dtype="float32")
        columns = block.x.shape[1] - kernels.PANEL
        last = [
            kernels.lstm_state(block, own, kernels.affine(w.w, w.b, block.x, 0, columns), *w)
            for w in ways
        ]
        return np.concatenate([state[:hidden] for state in last])

    return SeriesEncoder(RECURRENT_BLOCK, codes)


def taps(weight: np.ndarray, inner: int) -> list[np.ndarray]:
    """The matrix of each step that a convolution ``(row, inner, step)`` sees, padded."""
    rows = multiple(weight.shape[0])
    return [pad(weight[:, :, step], rows, inner) for step in range(weight.shape[2])]


def convolve(
    steps: Sequence[np.ndarray], b: np.ndarray, x: np.ndarray, dilation: int, columns: int
) -> np.ndarray:
    """Valid convolution, then GELU; column 0 sees columns 0, dilation, ... of ``x``."""
    y = kernels.affine(steps[0], b, x, 0, columns)
    for number, w in enumerate(steps[1:], start=1):
        kernels.add_product(w, x, y, number * dilation, columns)
    kernels.apply_gelu(y)
    return y


def conv1dlstm_encoder(
    first: nn.Conv1d, second: nn.Conv1d, rnn: nn.LSTM, kernel: int
) -> SeriesEncoder:
    """Of two causal convolutions and an LSTM.

    At the first months of a window the convolutions see its zero padding: those are computed
    for each window, the others once for the series.
    """
    hidden = multiple(rnn.hidden_size)
    convs = [
        (taps(values(conv.weight), inner), pad(values(conv.bias), hidden))
        for conv, inner in ((first, first.in_channels), (second, hidden))
    ]
    weights = lstm(rnn, inner=hidden)

    def codes(block: Block) -> np.ndarray:
        h, columns = block.x, block.x.shape[1] - kernels.PANEL
        edge = min(2 * (kernel - 1), block.length)
        head = [kernels.take(h, block.runs, step, block.lanes) for step in range(edge)]
        for steps, b in convs:
            columns = max(columns - kernel + 1, 1)
            if edge < block.length:
                h = convolve(steps, b, h, 1, columns)
            head = [combine(steps[-n:], b, head[:n][-len(steps) :]) for n in range(1, edge + 1)]
        own = np.zeros((edge, hidden, block.lanes), dtype="float32")
        for step, h_step in enumerate(head):
            own[step] = h_step
        shared = (
            kernels.affine(weights.w, weights.b, h, 0, columns) if edge < block.length else own[0]
        )
        return kernels.lstm_state(block, own, shared, *weights)[: rnn.hidden_size]

    return SeriesEncoder(RECURRENT_BLOCK, codes)


def combine(steps: Sequence[np.ndarray], b: np.ndarray, seen: Sequence[np.ndarray]) -> np.ndarray:
    """The convolution at one output, its inputs ``(inner, lane)`` one by one; then GELU."""
    lanes = seen[0].shape[1]
    y = kernels.affine(steps[0], b, seen[0], 0, lanes)
    for w, x in zip(steps[1:], seen[1:], strict=True):
        kernels.add_product(w, x, y, 0, lanes)
    kernels.apply_gelu(y)
    return np.ascontiguousarray(y[:, :lanes])


class Level(NamedTuple):
    """A residual block of a TCN."""

    taps: list[np.ndarray]
    b: np.ndarray
    mix: Affine


def tcn_encoder(
    lift: nn.Linear, convs: Sequence[nn.Linear], mixes: Sequence[nn.Linear], length: int
) -> SeriesEncoder:
    """Of a temporal convolutional network: every month of every level is computed once.

    Where the kernels reach further back than the window, the outputs that see its zero
    padding are computed for each window.
    """
    hidden, width = lift.out_features, multiple(lift.out_features)
    first = linear(lift)
    levels = []
    for conv, mix in zip(convs, mixes, strict=True):
        weight = values(conv.weight).reshape(hidden, -1, hidden).transpose(0, 2, 1)
        levels.append(Level(taps(weight, width), pad(values(conv.bias), width), linear(mix, width)))
    field = math.prod(len(level.taps) for level in levels)
    padding = field - length

    def codes(block: Block) -> np.ndarray:
        x, lanes = block.x, block.lanes
        if x.shape[1] < field + kernels.PANEL:
            x = pad(x, x.shape[0], kernels.whole(field) + kernels.PANEL)
        columns, dilation = x.shape[1] - kernels.PANEL, 1
        h = kernels.affine(*first, x, 0, columns)
        edge = [np.zeros((width, lanes), dtype="float32") for _ in range(padding)]
        for level in levels:
            size = len(level.taps)
            edge = [
                _edge_node(level, [node(edge, h, block, k, dilation) for k in range(*span)])
                for span in _spans(len(edge), size)
            ]
            columns = max(columns - (size - 1) * dilation, 1)
            new = convolve(level.taps, level.b, h, dilation, columns)
            h = kernels.shifted_sum(h, (size - 1) * dilation, level.mix.b, columns)
            kernels.add_product(level.mix.w, new, h, 0, columns)
            dilation *= size
        return (edge[0] if edge else kernels.take(h, block.runs, 0, lanes))[:hidden]

    def node(
        edge: list[np.ndarray], h: np.ndarray, block: Block, number: int, dilation: int
    ) -> np.ndarray:
        """Output ``number`` of a level, counted from the start of the padding."""
        if number < len(edge):
            return edge[number]
        return kernels.take(h, block.runs, number * dilation - padding, block.lanes)

    return SeriesEncoder(CONVOLUTION_BLOCK, codes)


def _spans(padded: int, size: int) -> list[tuple[int, int]]:
    """Inputs of every output that sees padding, where ``padded`` inputs do."""
    return [(k * size, (k + 1) * size) for k in range(-(-padded // size))]


def _edge_node(level: Level, inputs: list[np.ndarray]) -> np.ndarray:
    """A residual block at one output."""
    lanes = inputs[0].shape[1]
    h = kernels.shifted_sum(inputs[-1], 0, level.mix.b, lanes)
    kernels.add_product(level.mix.w, combine(level.taps, level.b, inputs), h, 0, lanes)
    return np.ascontiguousarray(h[:, :lanes])
