"""Means and maxima of years in one pass: nothing is made that is as large as the data.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs
# (the compiler infers the types of the kernels; the functions around them are annotated)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

#: Cells that are worked on together: a line of the cache of each stays near.
_CELLS = 128

_jit = njit(cache=True, nogil=True, error_model="numpy")

#: ``kernel(values (time, cell), edges, weights, least, out (year, cell))``.
Kernel = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


@_jit
def means(values, edges, weights, least, out):
    """Weighted means where what is there weighs ``least`` of each year, else NaN."""
    total, weight = np.empty(_CELLS), np.empty(_CELLS)
    for first in range(0, values.shape[1], _CELLS):
        count = min(_CELLS, values.shape[1] - first)
        for year in range(edges.size - 1):
            total[:] = 0.0
            weight[:] = 0.0
            for step in range(edges[year], edges[year + 1]):
                for cell in range(count):
                    value = np.float64(values[step, first + cell])
                    if value == value:
                        total[cell] += weights[step] * value
                        weight[cell] += weights[step]
            for cell in range(count):
                enough = weight[cell] >= least[year] and weight[cell] > 0.0
                out[year, first + cell] = total[cell] / weight[cell] if enough else np.nan


@_jit
def maxima(values, edges, weights, least, out):
    """Largest values where what is there weighs ``least`` of each year, else NaN."""
    most, weight = np.empty(_CELLS), np.empty(_CELLS)
    for first in range(0, values.shape[1], _CELLS):
        count = min(_CELLS, values.shape[1] - first)
        for year in range(edges.size - 1):
            most[:] = -np.inf
            weight[:] = 0.0
            for step in range(edges[year], edges[year + 1]):
                for cell in range(count):
                    value = np.float64(values[step, first + cell])
                    if value == value:
                        most[cell] = max(most[cell], value)
                        weight[cell] += weights[step]
            for cell in range(count):
                enough = weight[cell] >= least[year] and weight[cell] > 0.0
                out[year, first + cell] = most[cell] if enough else np.nan


def by_year(
    kernel: Kernel,
    values: np.ndarray,
    edges: np.ndarray,
    weights: np.ndarray,
    least: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Run a kernel from ``values (..., time)`` into ``out (..., year)``, whatever their strides."""
    known = values.dtype.isnative and values.dtype.itemsize <= 8 and values.dtype != np.float16
    values = values if known else values.astype("float64")
    flat, there = (_time_first(array) for array in (values, out))
    if np.may_share_memory(flat, values) and np.may_share_memory(there, out):
        kernel(flat, edges, weights, least, there)
        return out
    for one, answer in zip(values, out, strict=True):  # time stands between two other dimensions
        by_year(kernel, one, edges, weights, least, answer)
    return out


def _time_first(values: np.ndarray) -> np.ndarray:
    """``(..., time)`` as ``(time, cell)``: a view where the axes allow it."""
    return np.moveaxis(values, -1, 0).reshape(values.shape[-1], -1)


__all__ = ["by_year", "maxima", "means"]
