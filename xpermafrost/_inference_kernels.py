"""Compiled arithmetic of networks over many overlapping windows at once.

Matrices are ``(channel, column)``: columns are months of a series, or windows, and fill the
lanes of the processor's vectors. Every column is computed by the same operations wherever it
stands, so that an answer does not depend, to the last bit, on how the work was cut into blocks
or shared out to threads.

The product of matrices is our own because those at hand are slow at this size: a state of 64
values times a block of 128 windows ran at 97 GFLOP/s through torch (MKL), at 115 through
oneDNN, and runs at 230 here, near the limit of the processor that it was measured on. Its
innermost tile is written in vectors of LLVM, as the compiler does not keep the sums in registers
by itself.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# (the compiler infers the types of the kernels)

from __future__ import annotations

import math
from typing import NamedTuple

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

# contract: a multiply-add rounds once instead of twice; the order of sums is kept
jit = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")

_WIDE = bool(llvm.get_host_cpu_features().get("avx512f", False))

#: Values in a vector, and vectors side by side in a tile: the sums must fit the registers.
_LANES, _VECTORS = (16, 4) if _WIDE else (8, 2)

#: Rows of a tile; matrices have a multiple of them.
ROWS = 4

#: Columns of a tile, for which room is made.
PANEL = _LANES * _VECTORS


class Runs(NamedTuple):
    """Windows that follow each other by one month: lanes and columns of a block.

    Attributes
    ----------
    lane, column, windows : ndarray, shape (run,)
        Number of the first window; column of its first month; number of windows.
    """

    lane: np.ndarray
    column: np.ndarray
    windows: np.ndarray


class Block(NamedTuple):
    """Some windows, and the months that they see.

    Attributes
    ----------
    x : ndarray, shape (input, column)
        Inputs, the location's embedding among them; zero where no window looks.
    runs : Runs
    lanes : int
        Number of windows, rounded up to whole tiles.
    length : int
        Months of a window.
    """

    x: np.ndarray
    runs: Runs
    lanes: int
    length: int


def whole(columns: int) -> int:
    """Columns rounded up to whole tiles."""
    return -(-max(columns, 1) // PANEL) * PANEL


@intrinsic
def _tile(typingctx, w, x, y, shift, row, column):
    """``y[row:, column:] += w[row:] @ x[:, shift + column:]``, ROWS by PANEL of it."""
    if any(matrix.layout != "C" or matrix.dtype != types.float32 for matrix in (w, x, y)):
        raise TypingError("matrices must be contiguous float32.")
    signature = types.void(w, x, y, shift, row, column)
    vector = ir.VectorType(ir.FloatType(), _LANES)
    nothing = ir.Constant(vector, ir.Undefined)
    first = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)

    def generate(context, builder, signature, args):
        matrices = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], args[:3], strict=True)
        ]
        w, x, y = matrices
        shift, row, column = args[3:]

        def number(value):
            return ir.Constant(ir.IntType(64), value)

        def at(matrix, i, j):
            stride = cgutils.unpack_tuple(builder, matrix.shape)[1]
            return builder.gep(matrix.data, [builder.add(builder.mul(i, stride), j)])

        def vector_at(matrix, i, j):
            return builder.bitcast(at(matrix, i, j), vector.as_pointer())

        def load(pointer):
            value = builder.load(pointer)
            value.align = 4
            return value

        columns = [builder.add(column, number(v * _LANES)) for v in range(_VECTORS)]
        rows = [builder.add(row, number(r)) for r in range(ROWS)]
        sums = [[cgutils.alloca_once(builder, vector) for _ in columns] for _ in rows]
        for r, i in enumerate(rows):
            for v, j in enumerate(columns):
                builder.store(load(vector_at(y, i, j)), sums[r][v])
        inner = cgutils.unpack_tuple(builder, w.shape)[1]
        with cgutils.for_range(builder, inner) as loop:
            right = [load(vector_at(x, loop.index, builder.add(j, shift))) for j in columns]
            for r, i in enumerate(rows):
                value = builder.load(at(w, i, loop.index))
                value = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
                left = builder.shuffle_vector(value, nothing, first)
                for v in range(_VECTORS):
                    term = builder.fmul(left, right[v], flags=("contract",))
                    so_far = builder.load(sums[r][v])
                    builder.store(builder.fadd(so_far, term, flags=("contract",)), sums[r][v])
        for r, i in enumerate(rows):
            for v, j in enumerate(columns):
                builder.store(builder.load(sums[r][v]), vector_at(y, i, j)).align = 4
        return context.get_dummy_value()

    return signature, generate


@jit
def add_product(w, x, y, shift, columns):
    """Add ``w @ x[:, shift:]`` to the first ``columns`` columns of ``y``, in whole tiles.

    ``w (row, inner)``, ``x (inner, column)`` and ``y (row, column)`` are float32 and contiguous
    along their columns.
    """
    reach = -(-columns // PANEL) * PANEL
    if w.shape[0] % ROWS or y.shape[0] < w.shape[0] or x.shape[0] < w.shape[1]:
        raise ValueError("rows of the matrices do not fit.")
    if y.shape[1] < reach or x.shape[1] < shift + reach:
        raise ValueError("columns of the matrices do not fit.")
    for column in range(0, reach, PANEL):
        for row in range(0, w.shape[0], ROWS):
            _tile(w, x, y, shift, row, column)


@jit
def affine(w, b, x, shift, columns):
    """``w @ x[:, shift:] + b`` for the first ``columns`` columns; zeros in a tile beyond."""
    reach = -(-columns // PANEL) * PANEL
    y = np.zeros((w.shape[0], reach + PANEL), dtype=np.float32)
    for row in range(w.shape[0]):
        y[row, :reach] = b[row]
    add_product(w, x, y, shift, columns)
    return y


@jit
def _exp(x):
    """Exponential, to one unit in the last place of float32: 2^n times a Taylor series."""
    x = min(max(x, np.float32(-86.0)), np.float32(86.0))
    # adding 1.5 * 2^23 rounds to a whole number and leaves it in the lowest bits
    big = x * np.float32(1.4426950408889634) + np.float32(12582912.0)
    n = big - np.float32(12582912.0)
    f = x - n * np.float32(0.693145751953125)
    f = f - n * np.float32(1.42860682030941723e-06)
    p = np.float32(1 / 720) * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(0.5)
    p = p * f + np.float32(1.0)
    p = p * f + np.float32(1.0)
    bits = np.float32(p).view(np.int32) + (np.float32(big).view(np.int32) << np.int32(23))
    return np.int32(bits).view(np.float32)


@jit
def _sigmoid(x):
    return np.float32(1.0) / (np.float32(1.0) + _exp(-x))


@jit
def _tanh(x):
    return np.float32(1.0) - np.float32(2.0) / (np.float32(1.0) + _exp(x + x))


@jit
def _gelu(x):
    """Gaussian error linear unit with erf of Abramowitz & Stegun (1964), 7.1.26: to 2e-7."""
    a = abs(x) * np.float32(math.sqrt(0.5))
    t = np.float32(1.0) / (np.float32(1.0) + np.float32(0.3275911) * a)
    p = np.float32(1.061405429) * t + np.float32(-1.453152027)
    p = p * t + np.float32(1.421413741)
    p = p * t + np.float32(-0.284496736)
    p = p * t + np.float32(0.254829592)
    tail = np.float32(0.5) * p * t * _exp(-a * a)
    return x * (tail if x < np.float32(0.0) else np.float32(1.0) - tail)


@jit
def apply_gelu(y):
    """Replace every value of a contiguous matrix by its Gaussian error linear unit."""
    flat = y.reshape(-1)
    for i in range(flat.size):
        flat[i] = _gelu(flat[i])


@jit
def fill_columns(flat, places, row, runs, length, x):
    """Months of every run, and the embedding of its location, as columns of ``x``.

    ``flat (month, feature)`` of all locations, ``places (run, embedding)``, ``row (run)`` the
    number of the first month.
    """
    n_features = flat.shape[1]
    for run in range(row.size):
        months = runs.windows[run] + length - 1
        seen = flat[row[run] : row[run] + months]
        wanted = x[:, runs.column[run] : runs.column[run] + months]
        for feature in range(n_features):
            for month in range(months):
                wanted[feature, month] = seen[month, feature]
        for k in range(places.shape[1]):
            wanted[n_features + k] = places[run, k]


@jit
def take(y, runs, offset, lanes):
    """Column ``offset`` after the first month of every window: ``(row, lane)``."""
    out = np.zeros((y.shape[0], lanes), dtype=np.float32)
    for run in range(runs.lane.size):
        lane, column, count = runs.lane[run], runs.column[run] + offset, runs.windows[run]
        for row in range(y.shape[0]):
            out[row, lane : lane + count] = y[row, column : column + count]
    return out


@jit
def shifted_sum(y, offset, b, columns):
    """``y[:, offset:] + b`` for the first ``columns`` columns; zeros in a tile beyond."""
    reach = -(-columns // PANEL) * PANEL
    out = np.zeros((y.shape[0], reach + PANEL), dtype=np.float32)
    for row in range(y.shape[0]):
        seen = y[row, offset : offset + reach]
        for column in range(seen.size):
            out[row, column] = seen[column] + b[row]
    return out


@jit
def _gates(step, own, shared, runs, w, b, out):
    """Gates of the inputs at one step: the window's own, or from the series that all share."""
    if step < own.shape[0]:
        for row in range(w.shape[0]):
            out[row] = b[row]
        add_product(w, own[step], out, 0, out.shape[1])
        return
    last = 0
    for run in range(runs.lane.size):
        lane, count = runs.lane[run], runs.windows[run]
        column = runs.column[run] + step - own.shape[0]
        last = lane + count
        for row in range(w.shape[0]):
            some, kept = shared[row, column : column + count], out[row, lane : lane + count]
            for i in range(kept.size):
                kept[i] = some[i]
    for row in range(w.shape[0]):
        for lane in range(last, out.shape[1]):
            out[row, lane] = np.float32(0.0)


@jit
def _gru_step(gates, state):
    """Cho et al. (2014), eqs 5-8, as in torch: gates new (input), reset, update, new (state)."""
    size = state.size
    for i in range(size):
        r = _sigmoid(gates[size + i])
        z = _sigmoid(gates[2 * size + i])
        n = _tanh(gates[i] + r * gates[3 * size + i])
        state[i] = n + z * (state[i] - n)


@jit
def gru_states(block, own, shared, w, b, recurrent, b_new, states):
    """Last state ``(hidden, lane)`` of a GRU; every state goes to ``states`` unless it is empty.

    Parameters
    ----------
    block : Block
        Its ``x`` is not read.
    own : ndarray, shape (step, input, lane)
        Inputs of the first steps, where they differ from window to window.
    shared : ndarray, shape (3 hidden, column)
        Gates of the inputs of the later steps; column 0 is the first of them.
    w, b : ndarray, shape (3 hidden, input), (3 hidden,)
        Weights and biases of inputs: new, reset, update.
    recurrent : ndarray, shape (3 hidden, hidden)
        Weights of the state: reset, update, new.
    b_new : ndarray, shape (hidden,)
        Bias of the state's part of the new gate.
    states : ndarray, shape (step, hidden, lane)
    """
    hidden, lanes = recurrent.shape[1], block.lanes
    gates = np.zeros((4 * hidden, lanes), dtype=np.float32)
    state = np.zeros((hidden, lanes), dtype=np.float32)
    for step in range(block.length):
        _gates(step, own, shared, block.runs, w, b, gates[: 3 * hidden])
        for row in range(hidden):
            gates[3 * hidden + row] = b_new[row]
        if step:  # the first state is zero
            add_product(recurrent, state, gates[hidden:], 0, lanes)
        _gru_step(gates.reshape(-1), state.reshape(-1))
        if states.shape[0]:
            states[step] = state
    return state


@jit
def _lstm_step(gates, cell, state):
    """Hochreiter & Schmidhuber (1997) with forget gates: input, forget, new, output."""
    size = state.size
    for i in range(size):
        keep = _sigmoid(gates[size + i]) * cell[i]
        cell[i] = keep + _sigmoid(gates[i]) * _tanh(gates[2 * size + i])
        state[i] = _sigmoid(gates[3 * size + i]) * _tanh(cell[i])


@jit
def lstm_state(block, own, shared, w, b, recurrent, backward):
    """Last state ``(hidden, lane)`` of an LSTM through each window, or backward through it.

    Parameters as of :func:`gru_states`, for the four gates input, forget, new and output; the
    biases of both sides are summed in ``b``.
    """
    hidden, lanes = recurrent.shape[1], block.lanes
    gates = np.zeros((4 * hidden, lanes), dtype=np.float32)
    state = np.zeros((hidden, lanes), dtype=np.float32)
    cell = np.zeros((hidden, lanes), dtype=np.float32)
    for k in range(block.length):
        step = block.length - 1 - k if backward else k
        _gates(step, own, shared, block.runs, w, b, gates)
        if k:
            add_product(recurrent, state, gates, 0, lanes)
        _lstm_step(gates.reshape(-1), cell.reshape(-1), state.reshape(-1))
    return state
