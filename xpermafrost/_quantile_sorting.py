"""Quantile delta mapping over whole series: one sort of a group gives the ranks of all its values.

Arrays here are ``(lane, group, step)``, see ``pack`` of ``_quantile_kernels``: a series of a group
lies in one piece, which is what numpy's vectorised sort is fast on.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs
# (the compiler infers the types of the kernels)

from __future__ import annotations

import numpy as np

from ._quantile_kernels import apply, jit, position

_PLACE = 0xFFFF_FFFF


def order_of(packed: np.ndarray) -> np.ndarray:
    """Places of the values along the last axis in increasing order, NaN last.

    numpy sorts 64-bit integers three times faster than it finds the order of float32 numbers,
    so that a value and its place are sorted as one integer. Equal values come in any order.
    """
    if packed.dtype != np.float32:
        return packed.argsort(axis=-1)
    keys = np.empty(packed.shape, np.int64)
    _keys(packed.view(np.int32), keys)
    keys.sort(axis=-1)
    keys &= _PLACE
    return keys


@jit
def _keys(bits, keys):
    """Integers in the order of float32 values with these bits, their place in the lower half."""
    lanes, groups, most = bits.shape
    for lane in range(lanes):
        for group in range(groups):
            source, target = bits[lane, group], keys[lane, group]
            for i in range(most):
                value = int(source[i])
                size = value & 0x7FFF_FFFF
                key = -size if value < 0 else size  # both zeros are 0
                key = 0x7FFF_FFFF if size > 0x7F80_0000 else key  # NaN
                target[i] = (key << 32) | i


@jit
def delta_sorted(packed, valid, order, first, place, nodes, af, rule):
    """Adjust ``packed`` where it is, over the whole series. Missing values stay.

    ``order`` is that of :func:`order_of`, ``place`` the trained location of every lane, ``first``
    the first of these groups.
    """
    most = packed.shape[2]
    of_k, of_j = np.empty(2 * most, np.uintp), np.empty(2 * most, np.uintp)
    of_w = np.empty(2 * most)
    tabled = 0
    for group in range(packed.shape[1]):
        for lane in range(packed.shape[0]):
            n = valid[lane, group]
            if n != tabled:
                tabled = n
                for twice in range(2 * n):
                    tau = (twice - 1) / (2.0 * (n - 1)) if n > 1 else 0.5
                    of_k[twice], of_j[twice], of_w[twice] = position(tau, nodes, rule)
            values, places = packed[lane, group], order[lane, group]
            factor = af[place[lane], first + group]
            i = 0
            while i < n:
                value = values[places[i]]
                last = i
                while last + 1 < n and values[places[last + 1]] == value:
                    last += 1
                twice = i + last + 1  # 2 rank - 1, at the mean rank of equal values
                a, b = np.float64(factor[of_k[twice]]), np.float64(factor[of_j[twice]])
                result = apply(value, a + (b - a) * of_w[twice], rule)
                for m in range(i, last + 1):
                    values[places[m]] = result
                i = last + 1


@jit
def unpack(packed, pools, first, out):
    """Back to ``(time, lane)``, where every step is in one group."""
    lanes, groups, _ = packed.shape
    for group in range(groups):
        begin, end = pools.bounds[first + group], pools.bounds[first + group + 1]
        for i in range(end - begin):
            target = out[pools.rows[begin + i]]
            for lane in range(lanes):
                target[lane] = packed[lane, group, i]
