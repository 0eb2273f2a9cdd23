"""Sparse weights applied to many fields at once; missing cells drop out of mean and weight.

Rows of a weight matrix are kept as ``start, index, weight``: the entries of row ``r`` are
``start[r]:start[r + 1]``. One pass over a field forms the weighted sum and the weight of its
valid cells together. Sums are float64 whatever the data.

Threads are plain Python threads over ranges of fields (the kernels release the GIL): numba's
own pool may abort when two threads of a dask scheduler enter it at once.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs
# (the compiler infers the types of the kernels; the functions around them are annotated)

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

#: ``start, index, weight`` of the rows of a sparse matrix.
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Below this many values, starting threads costs more than it brings.
_SMALL = 200_000

# a contracted multiply-add rounds once instead of twice; NaN and order of sums are kept
_jit = njit(cache=True, nogil=True, fastmath={"contract"})


@_jit
def _mean(total, mass, least):
    """``total / mass`` where the valid share ``mass`` suffices; any at all for ``least = 0``."""
    return total / mass if mass > 0.0 and mass >= least else np.nan


@_jit
def _separable(
    fields, lat_start, lat_index, lat_weight, lon_start, lon_index, lon_weight, least, out, first,
    last,
):  # fmt: skip
    """Sum rows of cells along latitude (neighbours are vector lanes), then along longitude."""
    columns = fields.shape[2]
    total, mass = np.empty(columns), np.empty(columns)
    for i in range(first, last):
        for row in range(out.shape[1]):
            total[:] = 0.0
            mass[:] = 0.0
            for entry in range(lat_start[row], lat_start[row + 1]):
                cells, weight = fields[i, lat_index[entry]], lat_weight[entry]
                for k in range(columns):
                    value = np.float64(cells[k])
                    valid = value == value
                    total[k] += weight * (value if valid else 0.0)
                    mass[k] += weight if valid else 0.0
            for column in range(out.shape[2]):
                a, b = 0.0, 0.0
                for entry in range(lon_start[column], lon_start[column + 1]):
                    a += lon_weight[entry] * total[lon_index[entry]]
                    b += lon_weight[entry] * mass[lon_index[entry]]
                out[i, row, column] = _mean(a, b, least)


@_jit
def _general(fields, start, index, weight, least, out, first, last):
    for i in range(first, last):
        for row in range(out.shape[1]):
            a, b = 0.0, 0.0
            for entry in range(start[row], start[row + 1]):
                value = np.float64(fields[i, index[entry]])
                if value == value:
                    a += weight[entry] * value
                    b += weight[entry]
            out[i, row] = _mean(a, b, least)


def _over_fields(task: Callable[[int, int], None], fields: int, values: int, threads: int) -> None:
    """Run ``task(first, last)`` over all fields, on threads where that pays."""
    parts = min(4 * threads, fields) if threads > 1 and values > _SMALL else 1
    if parts <= 1:
        task(0, fields)
        return
    edges = [fields * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, edges[:-1], edges[1:]))


def _stacked(values: np.ndarray) -> tuple[np.ndarray, np.dtype]:
    """Fields ``(n, lat, lon)``, C-ordered; float32 stays, every other type becomes float64."""
    single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    dtype = np.dtype("float32" if single else "float64")
    fields = np.ascontiguousarray(values, dtype=dtype)
    return fields.reshape(-1, *values.shape[-2:]), dtype


def apply_separable(
    values: np.ndarray, lat: Rows, lon: Rows, *, least: float, threads: int
) -> np.ndarray:
    """Weighted means on the product grid of the rows of ``lat`` and ``lon``.

    Parameters
    ----------
    values : ndarray, shape (..., lat, lon)
    lat, lon : tuple of ndarray
        ``start, index, weight`` of the target's rows and columns.
    least : float
        Least weight of the valid cells; below it the result is NaN.
    threads : int

    Returns
    -------
    ndarray, shape (..., target lat, target lon)
    """
    fields, dtype = _stacked(values)
    out = np.empty((len(fields), lat[0].size - 1, lon[0].size - 1), dtype)

    def task(first: int, last: int) -> None:
        _separable(fields, *lat, *lon, least, out, first, last)

    _over_fields(task, len(fields), fields.size + out.size, threads)
    return out.reshape(*values.shape[:-2], *out.shape[1:])


def apply_general(
    values: np.ndarray, rows: Rows, shape: tuple[int, int], *, least: float, threads: int
) -> np.ndarray:
    """As :func:`apply_separable` with one matrix over flattened cells; ``shape`` of the target."""
    fields, dtype = _stacked(values)
    flat = fields.reshape(len(fields), -1)
    out = np.empty((len(fields), rows[0].size - 1), dtype)

    def task(first: int, last: int) -> None:
        _general(flat, *rows, least, out, first, last)

    _over_fields(task, len(fields), fields.size + out.size, threads)
    return out.reshape(*values.shape[:-2], *shape)
