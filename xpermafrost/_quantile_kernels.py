"""Quantile mapping of grouped series in one pass over blocks of cells.

Arrays here are ``(time, cell)``; a block of neighbouring cells is the innermost loop
of the ranking, so that the compiler turns cells into vector lanes: a rank is a count of
comparisons, without a search. No lane reads another, hence a cell's result does not
depend on its neighbours, to the bit. Which rows belong together is said by the
``Pools`` of ``_bias_groups``. A factor is taken from the quantiles ``k`` and ``j`` with weight
``w`` of the latter; a weight outside 0 to 1 goes on along their line.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs
# (the compiler infers the types of the kernels)

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numba import njit

#: Ways of finding a factor: by the rank within the series, by the value, by the value without
#: the running mean.
DELTA, EMPIRICAL, DETRENDED = 0, 1, 2

#: Division by zero gives infinity or NaN, as in numpy.
jit = njit(cache=True, nogil=True, fastmath=False, error_model="numpy")


class Rule(NamedTuple):
    """How factors are found and applied."""

    method: int
    #: Years that a value is ranked in.
    window: int
    multiplicative: bool
    nearest: bool
    #: Quantiles from the outermost one to that which sets the slope beyond; 0: constant tails.
    reach: int
    low: float
    high: float
    #: Largest multiplicative factor.
    bound: float
    #: Values below are dry; minus infinity where there is no such thing.
    wet: float


@jit
def _moist(value, wet, dry):
    """Value, or for a dry one a small amount below the threshold. NaN stays."""
    return dry if value < wet else value


@jit
def pack(data, pools, first, wet, dry, packed, valid):
    """Series of some groups of a block: ``packed`` ``(lane, group, step)``, NaN-filled."""
    lanes, groups, most = packed.shape
    for group in range(groups):
        begin, end = pools.bounds[first + group], pools.bounds[first + group + 1]
        for lane in range(lanes):
            valid[lane, group] = 0
        for i in range(most):
            if begin + i < end:
                row = pools.rows[begin + i]
                for lane in range(lanes):
                    value = _moist(data[row, lane], wet, dry[row])
                    packed[lane, group, i] = value
                    valid[lane, group] += 0 if np.isnan(value) else 1
            else:
                packed[:, group, i] = np.nan


@jit
def centre(packed, valid, multiplicative, means):
    """Take the mean of every group out of it: difference or ratio."""
    lanes, groups, most = packed.shape
    for lane in range(lanes):
        for group in range(groups):
            total = 0.0
            for i in range(most):
                value = np.float64(packed[lane, group, i])
                total += 0.0 if np.isnan(value) else value
            mean = total / valid[lane, group] if valid[lane, group] > 0 else np.nan
            means[lane, group] = mean
            for i in range(most):
                packed[lane, group, i] = _anomaly(packed[lane, group, i], mean, multiplicative)


@jit
def _anomaly(value, mean, multiplicative):
    if multiplicative:
        return value / mean if mean > 0.0 else value
    return value - mean


@jit
def _quantile(values, n, probability):
    """Quantile of ``n`` sorted values: Hyndman and Fan (1996), definition 7."""
    if n == 0:
        return np.nan
    position = probability * (n - 1)
    low = int(position)
    a, b = np.float64(values[low]), np.float64(values[min(low + 1, n - 1)])
    return a + (b - a) * (position - low)


@jit
def ratio(reference, historical, bound):
    """Multiplicative factor, never undefined: see ``bias.MAX_FACTOR``."""
    if np.isnan(reference) or np.isnan(historical):
        return np.nan
    above = max(reference, 0.0)
    if historical <= 0.0:
        return 1.0 if above == 0.0 else bound
    return above / historical if above < bound * historical else bound


@jit
def factors(ref, ref_valid, hist, hist_valid, nodes, multiplicative, bound, hist_q, af):
    """Fill ``hist_q`` and ``af`` ``(lane, group, quantile)`` from sorted series."""
    for lane in range(hist_q.shape[0]):
        for group in range(hist_q.shape[1]):
            for k in range(nodes.size):
                h = _quantile(hist[lane, group], hist_valid[lane, group], nodes[k])
                r = _quantile(ref[lane, group], ref_valid[lane, group], nodes[k])
                hist_q[lane, group, k] = h
                af[lane, group, k] = ratio(r, h, bound) if multiplicative else r - h


@jit
def shifts(reference, historical, multiplicative, bound, out):
    """Factor between the means ``(lane, group)`` of both sides."""
    for lane in range(out.shape[0]):
        for group in range(out.shape[1]):
            r, h = reference[lane, group], historical[lane, group]
            out[lane, group] = ratio(r, h, bound) if multiplicative else r - h


@jit
def apply(value, factor, rule):
    if rule.multiplicative:
        if factor < 0.0:
            factor = 0.0
        elif factor > rule.bound:
            factor = rule.bound
        result = value * factor
        if result < rule.wet:
            return 0.0
    else:
        result = value + factor
    if result < rule.low:
        return rule.low
    if result > rule.high:
        return rule.high
    return result  # NaN fails all comparisons and stays


@jit
def _weight(x, k, j, a, b, nearest):
    """Quantiles ``k``, ``j`` at ``a``, ``b`` and the weight of ``j`` for a value at ``x``."""
    if b == a:
        return k, k, 0.0
    w = (x - a) / (b - a)
    if nearest:
        return (j, j, 0.0) if w > 0.5 else (k, k, 0.0)
    return k, j, w


@jit
def _place(x, k, nodes, rule):
    """As ``_weight``, for ``x`` between the nodes ``k`` and ``k + 1``, or beyond the outermost."""
    last = nodes.size - 1
    if k < 0 or k >= last:
        outer = 0 if k < 0 else last
        if rule.reach == 0 or x == nodes[outer]:
            return outer, outer, 0.0
        inner = rule.reach if k < 0 else last - rule.reach
        return _weight(x, outer, inner, nodes[outer], nodes[inner], False)
    return _weight(x, k, k + 1, nodes[k], nodes[k + 1], rule.nearest)


@jit
def position(tau, nodes, rule):
    """Place of a probability among the nodes."""
    last = nodes.size - 1
    if tau < nodes[0]:
        return _place(tau, -1, nodes, rule)
    if tau >= nodes[last]:
        return _place(tau, last, nodes, rule)
    k = min(max(int(tau * nodes.size - 0.5), 0), last - 1)  # exact for equal steps, else a start
    while nodes[k] > tau:
        k -= 1
    while nodes[k + 1] < tau:
        k += 1
    return _place(tau, k, nodes, rule)


@jit
def _between(values, k, j, w, lane):
    a, b = np.float64(values[k, lane]), np.float64(values[j, lane])
    return a + (b - a) * w


@jit
def _count(rows, start, stop, left, here, counts):
    """Of every column from ``left``: rows below ``here`` plus rows not above it."""
    # slices counted from 0: the compiler vectorises only where no index can be negative
    width = counts.size
    for lane in range(width):
        counts[lane] = 0
    for i in range(start, stop):
        other = rows[i, left : left + width]
        for lane in range(width):
            a, b = other[lane], here[lane]
            counts[lane] = np.int32(counts[lane] + np.int32(a < b) + np.int32(a <= b))


@jit
def _window(block, begin, end, window):
    """First year and the year behind the last one of the window of a year, shifted inward."""
    size = min(window, end - begin)
    first = min(max(block - size // 2, begin), end - size)
    return first, first + size


@jit
def _delta(rows, block, starts, main, begin, end, left, right, nodes, af, work, rule, out):
    """Quantile delta mapping of the columns ``left`` to ``right``, valid in years ``begin:end``."""
    counts, seen, of_k, of_j, of_w = work
    tabled = 0
    for lane in range(left, right):
        seen[0, lane] = 0
    for i in range(block.size):
        for lane in range(left, right):
            seen[i + 1, lane] = seen[i, lane] + (0 if np.isnan(rows[i, lane]) else 1)
    for m in range(main.size):
        i = main[m]
        if block[i] < begin or block[i] >= end:
            continue  # nothing there
        one, two = _window(block[i], begin, end, rule.window)
        start, stop = starts[one], starts[two]
        # counts = 2 rank - 1 with ties at their mean rank; probability (rank - 1) / (n - 1)
        if tabled == 0:
            tabled = stop - start
            for twice in range(2 * tabled):  # all probabilities of a window of this length
                tau = (twice - 1) / (2.0 * (tabled - 1)) if tabled > 1 else 0.5
                of_k[twice], of_j[twice], of_w[twice] = position(tau, nodes, rule)
        here = rows[i]
        _count(rows, start, stop, left, here[left:right], counts[left:right])
        for lane in range(left, right):
            if np.isnan(here[lane]):
                continue
            n = seen[stop, lane] - seen[start, lane]
            if n == tabled:
                c = counts[lane]
                k, j, w = of_k[c], of_j[c], of_w[c]
            else:
                tau = (counts[lane] - 1) / (2.0 * (n - 1)) if n > 1 else 0.5
                k, j, w = position(tau, nodes, rule)
            out[m, lane] = apply(here[lane], _between(af, k, j, w, lane), rule)


@jit
def _yearly(rows, block, width, totals, seen):
    """Sum and number of the values of every year, added up from the first year on."""
    for year in range(totals.shape[0]):
        for lane in range(width):
            totals[year, lane] = 0.0
            seen[year, lane] = 0
    for i in range(block.size):
        total, n = totals[block[i] + 1], seen[block[i] + 1]
        for lane in range(width):
            value = rows[i, lane]
            if not np.isnan(value):
                total[lane] += value
                n[lane] += 1
    for year in range(1, totals.shape[0]):
        for lane in range(width):
            totals[year, lane] += totals[year - 1, lane]
            seen[year, lane] += seen[year - 1, lane]


@jit
def _detrend(rows, block, main, begin, end, totals, seen, rule, keys):
    """Values of the group less, or divided by, their mean over the window of their year."""
    for m in range(main.size):
        year = block[main[m]]
        for lane in range(begin.size):
            if year < begin[lane] or year >= end[lane]:
                keys[m, lane] = np.nan
                continue
            one, two = _window(year, begin[lane], end[lane], rule.window)
            n = seen[two, lane] - seen[one, lane]
            mean = (totals[two, lane] - totals[one, lane]) / n if n > 0 else np.nan
            keys[m, lane] = _anomaly(rows[main[m], lane], mean, rule.multiplicative)


@jit
def _empirical(rows, keys, main, width, quantiles, af, scaling, counts, rule, out):
    """Factors at the place of ``keys`` (the values, or their anomalies) among the quantiles."""
    last = quantiles.shape[0] - 1
    below = counts[:width]  # slices, so that this loop too is vectorised
    for m in range(main.size):
        i = main[m]
        key = keys[m, :width]
        for lane in range(width):
            below[lane] = 0
        for k in range(last + 1):
            node = quantiles[k, :width]
            for lane in range(width):
                below[lane] = np.int32(below[lane] + np.int32(node[lane] <= key[lane]))
        for lane in range(width):
            x = np.float64(key[lane])
            k = below[lane] - 1
            if k < 0 or k >= last:
                k, j, w = _place(x, k, quantiles[:, lane], rule)
            else:
                a, b = np.float64(quantiles[k, lane]), np.float64(quantiles[k + 1, lane])
                k, j, w = _weight(x, k, k + 1, a, b, rule.nearest)
            factor = _between(af, k, j, w, lane)
            shift = np.float64(scaling[lane])
            factor = factor * shift if rule.multiplicative else factor + shift
            out[m, lane] = apply(rows[i, lane], factor, rule)


@jit
def _spans(rows, block, width, begin, end):
    """First year with a value of every column, and the year behind its last one."""
    for lane in range(width):
        begin[lane] = 0
        end[lane] = 0
    for i in range(block.size):
        for lane in range(width):
            if not np.isnan(rows[i, lane]):
                if end[lane] == 0:
                    begin[lane] = block[i]
                end[lane] = block[i] + 1


@jit
def adjust_block(sim, pools, wet_rows, place, nodes, af, hist_q, scaling, rule, out):
    """Fill ``out`` ``(time, lane)``; ``place`` gives the trained location of every lane."""
    width, groups = place.size, pools.bounds.size - 1
    most, own = 0, 0
    for group in range(groups):
        most = max(most, pools.bounds[group + 1] - pools.bounds[group])
        own = max(own, pools.main_bounds[group + 1] - pools.main_bounds[group])
    rows = np.empty((most, width), sim.dtype)
    keys = np.empty((own, width), sim.dtype)
    result = np.empty((own, width), sim.dtype)
    work = (
        np.empty(width, np.int32),
        np.empty((most + 1, width), np.int32),
        np.empty(2 * most, np.int64),
        np.empty(2 * most, np.int64),
        np.empty(2 * most),
    )
    begin, end = np.empty(width, np.int64), np.empty(width, np.int64)
    totals = np.empty((pools.starts.shape[1], width))
    seen = np.empty((pools.starts.shape[1], width), np.int64)
    # two arrays: halves of one are not known to be contiguous, and loops over them not vectorised
    factor = np.empty((nodes.size, width), sim.dtype)
    quantile = np.empty((nodes.size, width), sim.dtype)
    shift = np.empty(width, sim.dtype)
    for group in range(groups):
        pool = pools.rows[pools.bounds[group] : pools.bounds[group + 1]]
        block = pools.block[pools.bounds[group] : pools.bounds[group + 1]]
        main = pools.main[pools.main_bounds[group] : pools.main_bounds[group + 1]]
        starts = pools.starts[group]
        for i in range(pool.size):
            source, target, dry = sim[pool[i]], rows[i], wet_rows[pool[i]]
            for lane in range(width):
                target[lane] = _moist(source[lane], rule.wet, dry)
        for lane in range(width):
            shift[lane] = scaling[place[lane], group]
            for k in range(nodes.size):
                factor[k, lane] = af[place[lane], group, k]
                quantile[k, lane] = hist_q[place[lane], group, k]
        result[: main.size] = np.nan
        if rule.method != EMPIRICAL:
            _spans(rows, block, width, begin, end)
        if rule.method == DELTA:
            # scenarios that end at different years share no window: one run of equal spans
            # at a time, so that a window never reaches into another one's missing years
            left = 0
            for lane in range(1, width + 1):
                if lane == width or begin[lane] != begin[left] or end[lane] != end[left]:
                    span = begin[left], end[left]
                    _delta(
                        rows[: pool.size], block, starts, main, *span, left, lane,
                        nodes, factor, work, rule, result,
                    )  # fmt: skip
                    left = lane
        else:
            if rule.method == DETRENDED:
                _yearly(rows[: pool.size], block, width, totals, seen)
                _detrend(rows, block, main, begin, end, totals, seen, rule, keys)
            else:
                for m in range(main.size):
                    keys[m] = rows[main[m]]
            _empirical(rows, keys, main, width, quantile, factor, shift, work[0], rule, result)
        for m in range(main.size):
            source, target = result[m], out[pool[main[m]]]
            for lane in range(width):
                target[lane] = source[lane]


def available_threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
