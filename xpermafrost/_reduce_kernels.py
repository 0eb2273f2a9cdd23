"""The one pass behind regional means: numba, threads over the leading axes."""

from __future__ import annotations

import numba
import numpy as np


def weighted_means(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Means over the last two axes of ``values`` by the rows of ``matrix``; NaN cells drop out.

    Parameters
    ----------
    values : ndarray, shape (..., lat, lon)
    matrix : ndarray, shape (region, lat * lon)
        Weights; most are zero.

    Returns
    -------
    ndarray, shape (..., region)
        float32 for float32, else float64. NaN where no valid cell has weight.
    """
    lead = values.shape[:-2]
    dtype = values.dtype if values.dtype == np.float32 else np.dtype("float64")
    rows = np.ascontiguousarray(values, dtype=dtype).reshape(-1, matrix.shape[1])
    region, cell = np.nonzero(matrix)
    order = np.argsort(cell, kind="stable")  # read the row once, from left to right
    region, cell = region[order], cell[order]
    out = np.empty((rows.shape[0], matrix.shape[0]), dtype=dtype)
    _accumulate(rows, cell, region, matrix[region, cell], out)
    return out.reshape(*lead, matrix.shape[0])


@numba.njit(parallel=True, cache=True)
def _accumulate(rows, cell, region, weight, out):  # type: ignore[no-untyped-def]
    for i in numba.prange(rows.shape[0]):
        total = np.zeros(out.shape[1])
        mass = np.zeros(out.shape[1])
        for k in range(cell.size):
            value = rows[i, cell[k]]
            if not np.isnan(value):
                total[region[k]] += weight[k] * value
                mass[region[k]] += weight[k]
        for r in range(out.shape[1]):
            out[i, r] = total[r] / mass[r] if mass[r] > 0.0 else np.nan
