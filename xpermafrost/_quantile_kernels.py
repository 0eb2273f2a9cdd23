"""Quantile mapping of monthly series in one pass over blocks of cells.

Arrays here are ``(time, cell)``; a block of neighbouring cells is the innermost loop
of the ranking, so that the compiler turns cells into vector lanes: a rank is a count of
comparisons, without a search. No lane reads another, hence a cell's result does not
depend on its neighbours, to the bit. Series are sorted by numpy (vectorised).

Threads are plain Python threads over ranges of cells (the kernels release the GIL),
not numba's: its default thread pool aborts the process when two threads of a dask
scheduler enter it at once, and a parallel kernel takes much longer to load from cache.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs
# (the compiler infers the types of the kernels; the functions around them are annotated)

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

#: Cells of a block: one month of 120 years of them in float32 fits in the first-level cache.
LANES = 64
#: Below this many values, starting threads costs more than it brings.
_SMALL = 200_000

_jit = njit(cache=True, nogil=True, fastmath=False)


@_jit
def _load(data, first, cell, width, rows):
    """Copy one calendar month of a block, every 12th row from ``first``; return its length."""
    count = 0
    for row in range(first, data.shape[0], 12):
        source, target = data[row, cell : cell + width], rows[count]
        for lane in range(width):
            target[lane] = source[lane]
        count += 1
    return count


@_jit
def _pack(data, month, cell, packed, valid):
    """Series of a block by calendar month: ``packed`` ``(lane, month, year)``, NaN-filled."""
    lanes, _, years = packed.shape
    for group in range(12):
        first = (group - month) % 12
        for lane in range(lanes):
            valid[lane, group] = 0
        for i in range(years):
            row = first + 12 * i
            if row < data.shape[0]:
                source = data[row, cell : cell + lanes]
                for lane in range(lanes):
                    packed[lane, group, i] = source[lane]
                for lane in range(lanes):
                    valid[lane, group] += 0 if np.isnan(source[lane]) else 1
            else:
                packed[:, group, i] = np.nan


@_jit
def _quantile(values, n, probability):
    """Quantile of ``n`` sorted values: Hyndman and Fan (1996), definition 7."""
    if n == 0:
        return np.nan
    position = probability * (n - 1)
    low = int(position)
    a, b = np.float64(values[low]), np.float64(values[min(low + 1, n - 1)])
    return a + (b - a) * (position - low)


@_jit
def _ratio(reference, historical, bound):
    """Multiplicative factor, never undefined: see ``bias.MAX_FACTOR``."""
    if np.isnan(reference) or np.isnan(historical):
        return np.nan
    above = max(reference, 0.0)
    if historical <= 0.0:
        return 1.0 if above == 0.0 else bound
    return above / historical if above < bound * historical else bound


@_jit
def _factors(ref, ref_valid, hist, hist_valid, nodes, multiplicative, bound, hist_q, af):
    """Fill ``hist_q`` and ``af`` ``(lane, month, quantile)`` from sorted series."""
    for lane in range(hist_q.shape[0]):
        for month in range(12):
            for k in range(nodes.size):
                h = _quantile(hist[lane, month], hist_valid[lane, month], nodes[k])
                r = _quantile(ref[lane, month], ref_valid[lane, month], nodes[k])
                hist_q[lane, month, k] = h
                af[lane, month, k] = _ratio(r, h, bound) if multiplicative else r - h


@_jit
def _apply(value, factor, multiplicative, low, high):
    result = value * factor if multiplicative else value + factor
    if result < low:
        return low
    if result > high:
        return high
    return result  # NaN fails both comparisons and stays


@_jit
def _position(tau, nodes):
    """Node below probability ``tau`` and weight of the next one; constant tails."""
    last = nodes.size - 1
    if tau <= nodes[0]:
        return 0, 0.0
    if tau >= nodes[last]:
        return last, 0.0
    k = min(max(int(tau * nodes.size - 0.5), 0), last - 1)  # exact for equal steps, else a start
    while nodes[k] > tau:
        k -= 1
    while nodes[k + 1] < tau:
        k += 1
    return k, (tau - nodes[k]) / (nodes[k + 1] - nodes[k])


@_jit
def _between(factors, k, weight, lane):
    a = np.float64(factors[k, lane])
    b = np.float64(factors[min(k + 1, factors.shape[0] - 1), lane])
    return a + (b - a) * weight


@_jit
def _count(rows, start, stop, left, here, counts):
    """Of every column from ``left``: rows below ``here`` plus rows not above it."""
    # slices counted from 0: the compiler vectorises only where no index can be negative
    width = counts.size
    for lane in range(width):
        counts[lane] = 0
    for j in range(start, stop):
        other = rows[j, left : left + width]
        for lane in range(width):
            a, b = other[lane], here[lane]
            counts[lane] = np.int32(counts[lane] + np.int32(a < b) + np.int32(a <= b))


@_jit
def _delta_month(rows, begin, end, left, right, window, nodes, factors, work, kind, out):
    """Quantile delta mapping of the columns ``left`` to ``right``, valid in ``begin:end``."""
    counts, seen, node_of, weight_of = work
    multiplicative, low, high = kind
    size = min(window, end - begin)
    # counts = 2 rank - 1 with ties at their mean rank; probability (rank - 1) / (n - 1)
    for twice in range(2 * size):  # all probabilities of a window without missing values
        tau = (twice - 1) / (2.0 * (size - 1)) if size > 1 else 0.5
        node_of[twice], weight_of[twice] = _position(tau, nodes)
    for lane in range(left, right):
        seen[begin, lane] = 0
    for i in range(begin, end):
        for lane in range(left, right):
            seen[i + 1, lane] = seen[i, lane] + (0 if np.isnan(rows[i, lane]) else 1)
    for i in range(begin, end):
        start = min(max(i - size // 2, begin), end - size)
        here = rows[i]
        _count(rows, start, start + size, left, here[left:right], counts[left:right])
        for lane in range(left, right):
            if np.isnan(here[lane]):
                out[i, lane] = np.nan
                continue
            n = seen[start + size, lane] - seen[start, lane]
            if n == size:
                k, weight = node_of[counts[lane]], weight_of[counts[lane]]
            else:
                tau = (counts[lane] - 1) / (2.0 * (n - 1)) if n > 1 else 0.5
                k, weight = _position(tau, nodes)
            factor = _between(factors, k, weight, lane)
            out[i, lane] = _apply(here[lane], factor, multiplicative, low, high)


@_jit
def _empirical_month(rows, count, width, quantiles, factors, counts, kind, out):
    """Empirical quantile mapping: factors interpolated on the historical quantiles."""
    multiplicative, low, high = kind
    last = quantiles.shape[0] - 1
    for i in range(count):
        here = rows[i, :width]
        below = counts[:width]  # slices, so that this loop too is vectorised
        for lane in range(width):
            below[lane] = 0
        for k in range(last + 1):
            node = quantiles[k, :width]
            for lane in range(width):
                below[lane] = np.int32(below[lane] + np.int32(node[lane] <= here[lane]))
        for lane in range(width):
            k = below[lane] - 1
            if k < 0 or k >= last:
                factor = np.float64(factors[0 if k < 0 else last, lane])
            else:
                x0, x1 = np.float64(quantiles[k, lane]), np.float64(quantiles[k + 1, lane])
                factor = _between(factors, k, (here[lane] - x0) / (x1 - x0), lane)
            out[i, lane] = _apply(here[lane], factor, multiplicative, low, high)


@_jit
def _spans(rows, count, width, begin, end):
    """First valid row of every column and the row behind its last one (equal: none valid)."""
    for lane in range(width):
        begin[lane] = count
        end[lane] = count
    for i in range(count):
        for lane in range(width):
            if not np.isnan(rows[i, lane]):
                begin[lane] = min(begin[lane], i)
                end[lane] = i + 1


@_jit
def _adjust(sim, sim_month, place, nodes, hist_q, af, delta, window, kind, start, stop, out):
    """Fill ``out`` ``(time, cell)``; ``place`` gives the trained location of every cell."""
    most = sim.shape[0] // 12 + 1
    rows = np.empty((most, LANES), sim.dtype)
    result = np.empty((most, LANES), sim.dtype)
    work = (
        np.empty(LANES, np.int32),
        np.empty((most + 1, LANES), np.int32),
        np.empty(2 * most, np.int64),
        np.empty(2 * most),
    )
    begin, end = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    factors = np.empty((nodes.size, LANES), sim.dtype)
    quantiles = np.empty((nodes.size, LANES), sim.dtype)
    for cell in range(start, stop, LANES):
        width = min(LANES, stop - cell)
        for month in range(12):
            first = (month - sim_month) % 12
            count = _load(sim, first, cell, width, rows)
            for k in range(nodes.size):
                for lane in range(width):
                    factors[k, lane] = af[place[cell + lane], month, k]
                    quantiles[k, lane] = hist_q[place[cell + lane], month, k]
            if delta:
                result[:count] = np.nan
                _spans(rows, count, width, begin, end)
                # scenarios that end at different years share no window: one run of equal spans
                # at a time, so that a window never reaches into another one's missing years
                left = 0
                for lane in range(1, width + 1):
                    if lane == width or begin[lane] != begin[left] or end[lane] != end[left]:
                        _delta_month(
                            rows,
                            begin[left],
                            end[left],
                            left,
                            lane,
                            window,
                            nodes,
                            factors,
                            work,
                            kind,
                            result,
                        )
                        left = lane
            else:
                _empirical_month(rows, count, width, quantiles, factors, work[0], kind, result)
            for i in range(count):
                source, target = result[i], out[first + 12 * i, cell : cell + width]
                for lane in range(width):
                    target[lane] = source[lane]


def _over_cells(task: Callable[[int, int], None], cells: int, values: int, threads: int) -> None:
    """Run ``task(start, stop)`` over all cells, on threads where that pays."""
    blocks = -(-cells // LANES)
    parts = min(4 * threads, blocks) if threads > 1 and values > _SMALL else 1
    if parts <= 1:
        task(0, cells)
        return
    edges = [min(blocks * part // parts * LANES, cells) for part in range(parts + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, edges[:-1], edges[1:]))


def available_threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _time_first(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``(..., time)`` as C-ordered ``(time, cell)``; no copy if time was slowest in memory."""
    flat = np.moveaxis(values, -1, 0).reshape(values.shape[-1], -1)
    return np.ascontiguousarray(flat, dtype=dtype)


def train_arrays(
    reference: np.ndarray,
    historical: np.ndarray,
    *,
    months: tuple[int, int],
    nodes: np.ndarray,
    multiplicative: bool,
    bound: float,
    dtype: np.dtype,
    threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Adjustment factors and historical quantiles, both ``(..., month, quantile)``.

    Parameters
    ----------
    reference, historical : ndarray
        ``(..., time)`` with equal leading axes; monthly without gaps.
    months : tuple of int
        Calendar month (0 for January) of the first step of either.
    nodes : ndarray
        Probabilities, increasing.
    bound : float
        Largest multiplicative factor.
    """
    ref, hist = _time_first(reference, dtype), _time_first(historical, dtype)
    cells = ref.shape[1]
    hist_q = np.empty((cells, 12, nodes.size), dtype)
    af = np.empty_like(hist_q)

    def sorted_block(data: np.ndarray, month: int, cell: int, width: int) -> tuple[Any, Any]:
        packed = np.empty((width, 12, -(-data.shape[0] // 12)), dtype)
        valid = np.empty((width, 12), np.int64)
        _pack(data, month, cell, packed, valid)
        packed.sort(axis=-1)  # numpy's vectorised sort; NaN goes last
        return packed, valid

    def task(start: int, stop: int) -> None:
        for cell in range(start, stop, LANES):
            block = slice(cell, min(cell + LANES, stop))
            width = block.stop - cell
            sides = (
                *sorted_block(ref, months[0], cell, width),
                *sorted_block(hist, months[1], cell, width),
            )
            _factors(*sides, nodes, multiplicative, bound, hist_q[block], af[block])

    _over_cells(task, cells, ref.size + hist.size, threads)
    shape = (*reference.shape[:-1], 12, nodes.size)
    return af.reshape(shape), hist_q.reshape(shape)


def adjust_arrays(
    sim: np.ndarray,
    af: np.ndarray,
    hist_q: np.ndarray,
    *,
    month: int,
    nodes: np.ndarray,
    delta: bool,
    window: int | None,
    multiplicative: bool,
    limits: tuple[float, float],
    dtype: np.dtype,
    threads: int,
) -> np.ndarray:
    """Adjusted ``sim`` ``(..., time)``; the leading axes of the factors are broadcast to it."""
    flat = _time_first(sim, dtype)
    locations = af.shape[:-2]
    numbers = np.arange(int(np.prod(locations)), dtype=np.int64).reshape(locations)
    place = np.broadcast_to(numbers, sim.shape[:-1]).ravel()
    trained = (numbers.size, 12, nodes.size)
    factors, quantiles = (
        np.ascontiguousarray(part.reshape(trained), dtype=dtype) for part in (af, hist_q)
    )
    out = np.empty_like(flat)
    years = flat.shape[0] // 12 + 1 if window is None else window
    kind = (multiplicative, *(dtype.type(limit) for limit in limits))

    def task(start: int, stop: int) -> None:
        _adjust(flat, month, place, nodes, quantiles, factors, delta, years, kind, start, stop, out)

    _over_cells(task, flat.shape[1], flat.size, threads)
    return np.moveaxis(out.reshape(flat.shape[0], *sim.shape[:-1]), 0, -1)
