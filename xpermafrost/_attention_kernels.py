"""Compiled attention over many windows at once; see ``_inference_kernels``.

Columns are ``position * lanes + lane``: the windows of one position are neighbours, so that
linear layers are one product of matrices and attention runs window by window in vector lanes.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# (the compiler infers the types of the kernels)

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from ._inference_kernels import _LANES, _VECTORS, PANEL, _exp, jit


@intrinsic
def _lane_dot(typingctx, a, b, out, first_a, step_a, first_b, step_b, first_out, count):
    """``out[j] = sum of a[k, j] * b[k, j]`` over ``count`` steps k, for the lanes j of a panel."""
    if any(one.layout != "C" or one.ndim != 1 for one in (a, b, out)):
        raise TypingError("lanes are taken from contiguous arrays of one dimension.")
    signature = types.void(a, b, out, first_a, step_a, first_b, step_b, first_out, count)
    vector = ir.VectorType(ir.FloatType(), _LANES)

    def generate(context, builder, signature, args):
        a, b, out = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], args[:3], strict=True)
        )
        first_a, step_a, first_b, step_b, first_out, count = args[3:]

        def pointer(array, first, v):
            place = builder.add(first, ir.Constant(ir.IntType(64), v * _LANES))
            return builder.bitcast(builder.gep(array.data, [place]), vector.as_pointer())

        def load(array, first, v):
            value = builder.load(pointer(array, first, v))
            value.align = 4
            return value

        zero = ir.Constant(vector, [ir.Constant(ir.FloatType(), 0.0)] * _LANES)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(_VECTORS)]
        with cgutils.for_range(builder, count) as loop:
            at_a = builder.add(first_a, builder.mul(loop.index, step_a))
            at_b = builder.add(first_b, builder.mul(loop.index, step_b))
            for v, total in enumerate(sums):
                term = builder.fmul(load(a, at_a, v), load(b, at_b, v), flags=("contract",))
                builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
        for v, total in enumerate(sums):
            builder.store(builder.load(total), pointer(out, first_out, v)).align = 4
        return context.get_dummy_value()

    return signature, generate


@jit
def _softmax(scores):
    """Of every lane over the keys: ``(key, lane)``."""
    largest, total = scores[0].copy(), np.zeros(scores.shape[1], dtype=np.float32)
    for key in range(scores.shape[0]):
        for lane in range(scores.shape[1]):
            largest[lane] = max(largest[lane], scores[key, lane])
    for key in range(scores.shape[0]):
        for lane in range(scores.shape[1]):
            value = _exp(scores[key, lane] - largest[lane])
            scores[key, lane] = value
            total[lane] += value
    for lane in range(total.size):
        total[lane] = np.float32(1.0) / total[lane]
    for key in range(scores.shape[0]):
        for lane in range(scores.shape[1]):
            scores[key, lane] *= total[lane]


@jit
def attend(query, key, value, heads, lanes, length, queries):
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1) of the last ``queries`` months.

    ``key`` and ``value`` are ``(width, column)`` over all months; ``query (width, column)`` over
    the last ones, divided by the root of a head's width before. Returns ``(width, column)``.
    """
    width = query.shape[0]
    size = width // heads
    out = np.zeros((width, queries * lanes + PANEL), dtype=np.float32)
    scores = np.empty((length, PANEL), dtype=np.float32)
    flat_query, flat_key, flat_value = query.reshape(-1), key.reshape(-1), value.reshape(-1)
    flat_out, flat_scores = out.reshape(-1), scores.reshape(-1)
    for head in range(heads):
        in_query, in_key = head * size * query.shape[1], head * size * key.shape[1]
        for column in range(0, queries * lanes, PANEL):
            lane = column % lanes
            for month in range(length):
                # the product of every channel, summed; a channel is a row
                _lane_dot(
                    flat_query,
                    flat_key,
                    flat_scores,
                    in_query + column,
                    query.shape[1],
                    in_key + month * lanes + lane,
                    key.shape[1],
                    month * PANEL,
                    size,
                )
            _softmax(scores)
            for channel in range(head * size, (head + 1) * size):
                _lane_dot(
                    flat_scores,
                    flat_value,
                    flat_out,
                    0,
                    PANEL,
                    channel * value.shape[1] + lane,
                    lanes,
                    channel * out.shape[1] + column,
                    length,
                )
    return out


@jit
def spread(y, runs, added, lanes):
    """Every month of every window as a column of its own, ``added (month, row)`` to it."""
    length = added.shape[0]
    out = np.zeros((y.shape[0], length * lanes + PANEL), dtype=np.float32)
    for run in range(runs.lane.size):
        for row in range(y.shape[0]):
            for month in range(length):
                begin = month * lanes + runs.lane[run]
                first = runs.column[run] + month
                kept = out[row, begin : begin + runs.windows[run]]
                seen = y[row, first : first + runs.windows[run]]
                for i in range(kept.size):
                    kept[i] = seen[i] + added[month, row]
    return out


@jit
def layer_norm(y, weight, bias, eps):
    """Every column less its mean, over its deviation (Ba et al. 2016), scaled and shifted."""
    rows, columns = y.shape
    mean, spread = np.zeros(columns, dtype=np.float32), np.zeros(columns, dtype=np.float32)
    share = np.float32(1.0 / rows)
    for row in range(rows):
        for column in range(columns):
            mean[column] += y[row, column]
    for column in range(columns):
        mean[column] *= share
    for row in range(rows):
        for column in range(columns):
            departure = y[row, column] - mean[column]
            spread[column] += departure * departure
    for column in range(columns):
        spread[column] = np.float32(1.0) / np.sqrt(spread[column] * share + np.float32(eps))
    out = np.empty((rows, columns), dtype=np.float32)
    for row in range(rows):
        for column in range(columns):
            scaled = (y[row, column] - mean[column]) * spread[column]
            out[row, column] = scaled * weight[row] + bias[row]
    return out
