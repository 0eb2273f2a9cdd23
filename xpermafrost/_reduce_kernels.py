"""The one pass behind regional means: each value is read once and added to its regions.

A region meets few rows of a grid and a stretch of each: weights are kept as such stretches
("runs"). Sums run along longitude, or along the dimensions after it where ``lat, lon`` come first
in memory. No mask and no copy is made of the whole. A split grid gives sums chunk by chunk, added
up at the end.

Threads are plain Python threads over ranges (the kernels release the GIL), not numba's: see
``_quantile_kernels``. This module imports numba; import it inside functions.
"""

# mypy: allow-untyped-defs
# (the compiler infers the types of the kernels; the functions around them are annotated)

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from ._quantile_kernels import available_threads

#: Cells without weight that a run may hold: shorter gaps are cheaper to pass than to skip.
GAP = 16
Dims = tuple[Hashable, ...]

#: Size of the blocks that threads take, small enough to stay in the cache if copied [bytes].
BLOCK = 4_000_000


@dataclass(frozen=True)
class Runs:
    """Stretches of cells along longitude in which a region has weight, by row, then region.

    ``row``, ``region``, ``start``, ``stop`` and ``offset`` (of the weight of its first cell in
    ``weights``) have one entry a run; ``shape`` is that of the weights.
    """

    row: np.ndarray
    region: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    offset: np.ndarray
    weights: np.ndarray
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, weights: np.ndarray) -> Runs:
        """From weights ``(region, lat, lon)``."""
        by_row = np.ascontiguousarray(weights.transpose(1, 0, 2), dtype="float64")
        row, region, cell = np.nonzero(by_row)
        new = np.ones(row.size, dtype=bool)
        new[1:] = (np.diff(row) != 0) | (np.diff(region) != 0) | (np.diff(cell) > GAP)
        first = np.flatnonzero(new)
        last = np.append(first[1:], row.size) - 1
        row, region, start, stop = row[first], region[first], cell[first], cell[last] + 1
        offset = (row * weights.shape[0] + region) * weights.shape[2] + start
        return cls(row, region, start, stop, offset, by_row.ravel(), weights.shape)

    def inside(self, lat: int, lon: int, shape: tuple[int, int]) -> Runs:
        """The runs of a chunk of ``shape`` cells that begins at row ``lat``, column ``lon``."""
        if shape == self.shape[1:]:
            return self
        start = np.maximum(self.start, lon)
        stop = np.minimum(self.stop, lon + shape[1])
        kept = (self.row >= lat) & (self.row < lat + shape[0]) & (start < stop)
        return Runs(
            (self.row - lat)[kept],
            self.region[kept],
            (start - lon)[kept],
            (stop - lon)[kept],
            (self.offset + start - self.start)[kept],
            self.weights,
            (self.shape[0], *shape),
        )

    @cached_property
    def _token(self) -> str:
        from dask.base import tokenize

        return tokenize(self.row, self.region, self.start, self.stop, self.offset, self.weights)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self._token  # made once for all variables


# Sums may be taken in any order, so that cells become vector lanes; NaN keeps its meaning.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _along_longitude(values, row, region, start, stop, offset, weights, total, mass):
    """``values`` (lead, lat, lon); sums (lead, region)."""
    for i in range(values.shape[0]):
        for k in range(row.size):
            cells = values[i, row[k], start[k] : stop[k]]
            share = weights[offset[k] : offset[k] + cells.size]
            added, weight = 0.0, 0.0
            for j in range(cells.size):
                value = cells[j]
                there = value == value
                added += share[j] * value if there else 0.0
                weight += share[j] if there else 0.0
            total[i, region[k]] += added
            mass[i, region[k]] += weight


@njit(cache=True, nogil=True, fastmath=False)
def _along_tail(values, row, region, start, stop, offset, weights, total, mass):
    """``values`` (lead, lat, lon, tail); sums (lead, region, tail)."""
    for i in range(values.shape[0]):
        for k in range(row.size):
            for j in range(start[k], stop[k]):
                share = weights[offset[k] + j - start[k]]
                if share == 0.0:
                    continue
                cell = values[i, row[k], j]
                added, weight = total[i, region[k]], mass[i, region[k]]
                for t in range(cell.size):
                    value = cell[t]
                    there = value == value
                    added[t] += share * value if there else 0.0
                    weight[t] += share if there else 0.0


def sums(values: np.ndarray, runs: Runs, *, threads: int) -> np.ndarray:
    """Weighted sums and weights of the valid cells, ``(2, lead, region, tail)``, float64.

    Parameters
    ----------
    values : ndarray, shape (lead, lat, lon, tail)
        Numbers, in any layout in memory: blocks that are not native floats in C order are
        copied, one a thread at a time.
    """
    lead, rows, columns, tail = values.shape
    parts = -(-values.size * _working(values.dtype).itemsize // BLOCK) or 1
    if tail == 1:
        edges = np.linspace(0, lead, min(parts, max(lead, 1)) + 1).astype(int)

        def task(first: int, last: int) -> np.ndarray:
            return _block_sums(values[first:last], runs)

        return np.concatenate(_over(task, edges, threads), axis=1)
    edges = np.linspace(0, rows, min(parts, rows) + 1).astype(int)

    def row_task(first: int, last: int) -> np.ndarray:
        return _block_sums(values[:, first:last], runs.inside(first, 0, (last - first, columns)))

    return np.sum(_over(row_task, edges, threads), axis=0)


def _block_sums(values: np.ndarray, runs: Runs) -> np.ndarray:
    block = np.ascontiguousarray(values, dtype=_working(values.dtype))
    out = np.zeros((2, values.shape[0], runs.shape[0], values.shape[3]))
    table = (runs.row, runs.region, runs.start, runs.stop, runs.offset, runs.weights)
    if values.shape[3] == 1:
        _along_longitude(block[..., 0], *table, out[0, ..., 0], out[1, ..., 0])
    else:
        _along_tail(block, *table, out[0], out[1])
    return out


def _over(
    task: Callable[[int, int], np.ndarray], edges: np.ndarray, threads: int
) -> list[np.ndarray]:
    """``task(first, last)`` between the edges, on threads if there is more than one."""
    if threads == 1 or edges.size == 2:
        return [task(*pair) for pair in itertools.pairwise(edges.tolist())]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(task, edges[:-1].tolist(), edges[1:].tolist()))


def means(fields: list[tuple[Any, Dims]], runs: Runs, dim: Hashable) -> list[tuple[Dims, Any]]:
    """Weighted means over ``lat`` and ``lon``; NaN cells drop out.

    Parameters
    ----------
    fields : list of (ndarray or dask array, dims)
        Those in memory are shared out to threads.
    runs : Runs
    dim : hashable
        Name of the dimension of regions.

    Returns
    -------
    list of (dims, ndarray or dask array)
        ``dim``, then the other dims in their order. float32 for float32, else float64; NaN
        where no valid cell has weight.
    """
    loaded = [data for data, _ in fields if not hasattr(data, "dask")]
    small = sum(data.nbytes for data in loaded) < BLOCK
    threads = 1 if small else available_threads()
    together = max(min(threads, len(loaded)), 1)

    def one(field: tuple[Any, Dims]) -> tuple[Dims, Any]:
        data, dims = field
        others = tuple(d for d in dims if d not in ("lat", "lon"))
        if hasattr(data, "dask"):
            return (dim, *others), _lazy_means(data, dims, runs, dim)
        data = np.asarray(data)
        both = _chunk_sums(data, None, None, dims=dims, runs=runs, threads=threads // together)
        return (dim, *others), _mean(both, kind=_working(data.dtype))

    if together == 1:
        return [one(field) for field in fields]
    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(one, fields))


def _lazy_means(data: Any, dims: Dims, runs: Runs, dim: Hashable) -> Any:
    """One task a chunk gives its sums, another adds them up; dask joins the two on a whole grid."""
    import dask.array as da

    dtype = _working(data.dtype)
    others = tuple(d for d in dims if d not in ("lat", "lon"))
    meta = np.empty((0,) * (len(others) + 4), dtype="float64")
    chunks = dict(zip(dims, data.chunks, strict=True))
    begins = {name: list(itertools.accumulate(chunks[name], initial=0)) for name in ("lat", "lon")}
    inner = ("lat", "lon", "_sums", dim, *others)
    both = da.blockwise(
        _chunk_sums,
        inner,
        data,
        dims,
        *(da.from_array(np.array(begins["lat"][:-1]), chunks=1), ("lat",)),
        *(da.from_array(np.array(begins["lon"][:-1]), chunks=1), ("lon",)),
        new_axes={"_sums": 2, dim: runs.shape[0]},
        adjust_chunks={"lat": 1, "lon": 1},
        align_arrays=False,
        concatenate=True,
        dtype="float64",
        meta=meta,
        dims=dims,
        runs=runs,
        threads=1,
    )
    return da.blockwise(
        _mean,
        (dim, *others),
        both,
        inner,
        concatenate=True,
        meta=np.empty((0,) * (len(others) + 1), dtype=dtype),
        dtype=dtype,
        kind=dtype,
    )


def _working(dtype: np.dtype) -> np.dtype:
    """float32 stays; integers, truth values and the rest become float64. In native byte order."""
    return np.dtype("float32" if dtype.kind == "f" and dtype.itemsize == 4 else "float64")


def _chunk_sums(
    values: np.ndarray,
    lat: np.ndarray | None,
    lon: np.ndarray | None,
    *,
    dims: Dims,
    runs: Runs,
    threads: int,
) -> np.ndarray:
    """Sums of one chunk ``(1, 1, 2, region, ...)``; ``lat`` and ``lon`` say where it begins."""
    ends = sorted((dims.index("lat"), dims.index("lon")))
    before = [k for k, d in enumerate(dims) if k < ends[1] and d not in ("lat", "lon")]
    after = list(range(ends[1] + 1, len(dims)))
    ordered = np.asarray(values).transpose(*before, dims.index("lat"), dims.index("lon"), *after)
    shape = ordered.shape
    grid = (shape[len(before)], shape[len(before) + 1])
    lead, tail = shape[: len(before)], shape[len(before) + 2 :]
    if lat is not None and lon is not None:
        runs = runs.inside(int(lat[0]), int(lon[0]), grid)
    flat = ordered.reshape(int(np.prod(lead)), *grid, int(np.prod(tail)))
    both = sums(flat, runs, threads=threads)
    both = both.reshape(2, *lead, runs.shape[0], *tail)
    return np.moveaxis(both, 1 + len(lead), 1)[None, None]


def _mean(both: np.ndarray, *, kind: np.dtype) -> np.ndarray:
    """Means from the sums of all chunks of the grid."""
    total, mass = both.sum(axis=(0, 1))
    mean = np.full(total.shape, np.nan)
    np.divide(total, mass, out=mean, where=mass > 0.0)
    return mean.astype(kind)
