"""Area of rings inside grid cells, exact on the sphere, in one walk along their edges.

Edges are straight in longitude and latitude. By Green's theorem a ring encloses the area
``-R^2 * closed integral of sin(lat) d(lon)``. Inside one column of cells, a piece of an edge has
below it (a) a part of the cell it crosses and (b) the whole height of every cell further south.
So each edge is cut at the grid's lines; a piece adds (a) to its cell and its width to a
running sum along the latitudes, which at the end gives (b). The cost is that of the pieces
plus that of the cells. Exact-coverage rasterizers work so in the plane.

This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs
# (the compiler infers the types of the kernels; the functions around them are annotated)

from __future__ import annotations

import numpy as np
from numba import njit

_jit = njit(cache=True, nogil=True, fastmath=False)


@_jit
def _sinc(angle):
    """sin(x) / x."""
    return 1.0 - angle * angle / 6.0 if abs(angle) < 1e-4 else np.sin(angle) / angle


@_jit
def _height(south, one, other):
    """Mean of ``sin(lat) - sin(south)`` along a straight piece from ``one`` to ``other`` [degrees].

    The mean of sin(lat) is (cos(p1) - cos(p2)) / (p2 - p1) = sin(m) sinc(h) with m the middle and
    h half the difference, which stays exact where p2 nears p1. The two sines are subtracted
    as a product, and 1 - sinc(h) is taken from its series where h is small, for the same reason.
    """
    middle, half = np.deg2rad(0.5 * (one + other)), np.deg2rad(0.5 * (other - one))
    base = np.deg2rad(south)
    rise = 2.0 * np.cos(0.5 * (middle + base)) * np.sin(0.5 * (middle - base))
    if abs(half) < 1e-2:
        short = half * half / 6.0 * (1.0 - half * half / 20.0)
    else:
        short = 1.0 - _sinc(half)
    return rise * (1.0 - short) - np.sin(base) * short


@_jit
def _piece(column, width, first, last, rows, heights, sign, part, cover):
    """Add one piece inside one column, from latitude ``first`` in the west to ``last``."""
    count = heights.size
    here, left = first, 0.0
    row = np.searchsorted(rows, first, side="right") - 1
    if last < first and row >= 0 and rows[row] == first:
        row -= 1  # it starts on a line and goes down
    while True:
        line = last
        if last > first and row < count and rows[row + 1] < last:
            line = rows[row + 1]
        elif last < first and row >= 0 and rows[row] > last:
            line = rows[row]
        right = width if line == last else width * ((line - first) / (last - first))
        step = sign * (right - left)
        if row >= 0:
            cover[row, column] += step
            if row < count:
                part[row, column] += step * _height(rows[row], here, line) / heights[row]
        if line == last:
            return
        here, left = line, right
        row += 1 if last > first else -1


@_jit
def _edge(x1, y1, x2, y2, columns, rows, heights, sign, part, cover):
    """Cut one edge at the meridians of the grid; always walked from west to east."""
    if x2 < x1:
        x1, y1, x2, y2, sign = x2, y2, x1, y1, -sign
    count = columns.size - 1
    if x1 == x2 or x2 <= columns[0] or x1 >= columns[count]:
        return
    x, y = x1, y1
    if x1 < columns[0]:
        x, y = columns[0], y1 + (y2 - y1) * ((columns[0] - x1) / (x2 - x1))
    column = np.searchsorted(columns, x, side="right") - 1
    while column < count and x < x2:
        west, east = columns[column], columns[column + 1]
        stop = min(east, x2)
        y_stop = y2 if stop == x2 else y1 + (y2 - y1) * ((stop - x1) / (x2 - x1))
        # within its column a place counts from 0 to 1, so that full crossings cancel exactly
        begin = 0.0 if x == west else (x - west) / (east - west)
        end = 1.0 if stop == east else (stop - west) / (east - west)
        _piece(column, end - begin, y, y_stop, rows, heights, sign, part, cover)
        x, y = stop, y_stop
        column += 1


@_jit
def _rings(xy, starts, signs, columns, rows, heights, part, cover):
    for ring in range(signs.size):
        for i in range(starts[ring], starts[ring + 1] - 1):
            _edge(
                xy[i, 0],
                xy[i, 1],
                xy[i + 1, 0],
                xy[i + 1, 1],
                columns,
                rows,
                heights,
                signs[ring],
                part,
                cover,
            )


def ring_shares(
    rings: list[np.ndarray],
    signs: np.ndarray,
    *,
    rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Share of every cell that the rings enclose, shape ``(lat, lon)``.

    Parameters
    ----------
    rings : list of ndarray, shape (n, 2)
        Closed rings of longitude and latitude [degrees].
    signs : ndarray
        For each ring, -1 where its area is added as it runs counterclockwise, else +1: the
        sign of the integral of sin(lat) d(lon).
    rows, columns : ndarray
        Increasing latitudes and longitudes of the grid's lines, one more than cells.

    Returns
    -------
    ndarray
        Sums over the rings; rounding leaves about 1e-14 where there is nothing.
    """
    shape = (rows.size, columns.size - 1)
    part, cover = np.zeros(shape), np.zeros(shape)  # the last row: north of the grid
    starts = np.cumsum([0, *(len(ring) for ring in rings)])
    south, north = np.deg2rad(rows[:-1]), np.deg2rad(rows[1:])
    heights = 2.0 * np.cos(0.5 * (south + north)) * np.sin(0.5 * (north - south))
    _rings(np.concatenate(rings), starts, signs, columns, rows, heights, part, cover)
    below = np.cumsum(cover[::-1], axis=0)[::-1]
    return part[:-1] + below[1:]
