"""Training and adjustment of whole arrays: blocks of cells, handed to the kernels on threads.

Threads are plain Python threads over ranges of cells (the kernels release the GIL),
not numba's: its default thread pool aborts the process when two threads of a dask
scheduler enter it at once, and a parallel kernel takes much longer to load from cache.
A block is copied out of the array and back, so that no whole array is, whatever its axis order.

This module imports numba; import it inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from . import _quantile_kernels as kernels
from . import _quantile_sorting as sorting
from ._bias_groups import Pools

#: Values of one group of a block that stay close to the processor.
_NEAR = 65_536
#: Values sorted in one call.
_SORTED = 1_000_000
#: Below this many values, starting threads costs more than it brings.
_SMALL = 200_000


def _over_cells(
    task: Callable[[int, int], None], cells: int, lanes: int, values: int, threads: int
) -> None:
    """Run ``task(start, stop)`` over all blocks of cells, on threads where that pays."""
    starts = range(0, cells, lanes)
    stops = [min(start + lanes, cells) for start in starts]
    if threads <= 1 or values < _SMALL or len(starts) == 1:
        for start, stop in zip(starts, stops, strict=True):
            task(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, starts, stops))


def _time_first(values: np.ndarray) -> np.ndarray:
    """``(..., time)`` as ``(time, cell)``; a view wherever the axes allow it."""
    return np.moveaxis(values, -1, 0).reshape(values.shape[-1], -1)


def _lanes(*pools: Pools) -> int:
    """Cells of a block: a multiple of 16, such that one group of them stays close."""
    most = max(int(np.diff(each.bounds).max(initial=1)) for each in pools)
    return int(np.clip(_NEAR // most // 16 * 16, 16, 128))


def _packed(
    block: np.ndarray, pools: Pools, first: int, together: int, wet: float, dry: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Series ``(lane, group, step)`` of some groups, and how many values each has."""
    bounds = pools.bounds[first : first + together + 1]
    shape = block.shape[1], bounds.size - 1, int(np.diff(bounds).max(initial=1))
    packed, valid = np.empty(shape, block.dtype), np.empty(shape[:2], np.int64)
    kernels.pack(block, pools, first, wet, dry, packed, valid)
    return packed, valid


def train_arrays(
    reference: np.ndarray,
    historical: np.ndarray,
    *,
    pools: tuple[Pools, Pools],
    dry: tuple[np.ndarray, np.ndarray],
    wet: float,
    nodes: np.ndarray,
    centred: bool,
    multiplicative: bool,
    bound: float,
    dtype: np.dtype[Any],
    threads: int,
) -> tuple[np.ndarray, ...]:
    """Adjustment factors and historical quantiles, both ``(..., group, quantile)``.

    Parameters
    ----------
    reference, historical : ndarray
        ``(..., time)`` with equal leading axes.
    pools : tuple of Pools
        Steps of every group on either side.
    dry : tuple of ndarray
        Value that stands for a dry one at every step of either side.
    wet : float
        Values below are dry.
    nodes : ndarray
        Probabilities, increasing.
    centred : bool
        Take the mean of each group out first; the third answer is the factor between the means.
    bound : float
        Largest multiplicative factor.
    """
    sides = _time_first(reference), _time_first(historical)
    cells, groups = sides[0].shape[1], pools[0].bounds.size - 1
    hist_q = np.empty((cells, groups, nodes.size), dtype)
    af = np.empty_like(hist_q)
    scaling = np.empty((cells if centred else 0, groups), dtype)
    lanes = _lanes(*pools)
    most = max(int(np.diff(each.bounds).max(initial=1)) for each in pools)
    together = max(1, min(groups, _SORTED // (lanes * most)))

    def task(start: int, stop: int) -> None:
        blocks = [np.ascontiguousarray(side[:, start:stop], dtype) for side in sides]
        for first in range(0, groups, together):
            some = slice(first, min(first + together, groups))
            parts: list[np.ndarray] = []
            means: list[np.ndarray] = []
            for block, pool, instead in zip(blocks, pools, dry, strict=True):
                packed, valid = _packed(block, pool, first, together, wet, instead)
                means.append(np.empty(packed.shape[:2]))
                if centred:
                    kernels.centre(packed, valid, multiplicative, means[-1])
                packed.sort(axis=-1)  # numpy's vectorised sort; NaN goes last
                parts += [packed, valid]
            kernels.factors(
                *parts, nodes, multiplicative, bound, hist_q[start:stop, some], af[start:stop, some]
            )
            if centred:
                kernels.shifts(*means, multiplicative, bound, scaling[start:stop, some])

    _over_cells(task, cells, lanes, sides[0].size + sides[1].size, threads)
    shape = (*reference.shape[:-1], groups, nodes.size)
    found = af.reshape(shape), hist_q.reshape(shape)
    return (*found, scaling.reshape(shape[:-1])) if centred else found


def adjust_arrays(
    sim: np.ndarray,
    af: np.ndarray,
    hist_q: np.ndarray,
    scaling: np.ndarray | None = None,
    *,
    pools: Pools,
    dry: np.ndarray,
    nodes: np.ndarray,
    rule: kernels.Rule,
    dtype: np.dtype[Any],
    threads: int,
) -> np.ndarray:
    """Adjusted ``sim`` ``(..., time)``; the leading axes of the factors are broadcast to it."""
    flat = _time_first(sim)
    locations = af.shape[:-2]
    numbers = np.arange(int(np.prod(locations)), dtype=np.int64).reshape(locations)
    place = np.broadcast_to(numbers, sim.shape[:-1]).ravel()
    trained = (numbers.size, *af.shape[-2:])
    factors, quantiles = (
        np.ascontiguousarray(part.reshape(trained), dtype=dtype) for part in (af, hist_q)
    )
    if scaling is None:
        scaling = np.full(trained[:2], 1.0 if rule.multiplicative else 0.0)
    shifts = np.ascontiguousarray(scaling.reshape(trained[:2]), dtype)
    out = np.empty(flat.shape, dtype)
    groups, lanes = trained[1], _lanes(pools)
    most = int(np.diff(pools.bounds).max(initial=1))
    together = max(1, min(groups, _SORTED // (lanes * most)))
    # one window for all, and every step in one group: one sort gives all ranks
    whole = rule.window >= pools.starts.shape[1] - 1 and pools.main.size == pools.rows.size

    def ranked(block: np.ndarray, where: np.ndarray, done: np.ndarray) -> None:
        for first in range(0, groups, together):
            packed, valid = _packed(block, pools, first, together, rule.wet, dry)
            order = sorting.order_of(packed)
            sorting.delta_sorted(packed, valid, order, first, where, nodes, factors, rule)
            sorting.unpack(packed, pools, first, done)

    def task(start: int, stop: int) -> None:
        block = np.ascontiguousarray(flat[:, start:stop], dtype)
        where, done = place[start:stop], np.empty_like(block)
        if whole and rule.method == kernels.DELTA:
            ranked(block, where, done)
        else:
            kernels.adjust_block(
                block, pools, dry, where, nodes, factors, quantiles, shifts, rule, done
            )
        out[:, start:stop] = done

    _over_cells(task, flat.shape[1], lanes, flat.size, threads)
    return np.moveaxis(out.reshape(flat.shape[0], *sim.shape[:-1]), 0, -1)
