"""Units of reading: boxes of places, whole in time, that a dask-backed Dataset is read by."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from typing import TypeVar

import numpy as np
import xarray as xr

from .errors import DimensionError, PermafrostWarning
from .schema import LAYER, TIME

#: How often a stored chunk may be read in one pass, where it is larger than what fits.
REPEATS = 4

#: Copies of all features that preparing in memory holds at its peak, in single precision.
COPIES = 6

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Box = dict[str, slice]


def feature_count(ds: xr.Dataset, names: Sequence[str]) -> int:
    """Features that ``names`` stand for: one of each, or one of each layer or class.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> feature_count(canonical(years=1), ("tas", "tas:mean12", "month_sin"))
    3
    """
    sizes = (
        [ds[n].sizes[d] for d in (LAYER, "lithology_class") if d in ds[n].dims] if n in ds else []
        for n in names
    )
    return sum(int(np.prod(own)) for own in sizes)


def place_bytes(n_time: int, n_features: int, n_layers: int) -> int:
    """Memory of the windows of one place: features, targets, numbers of windows."""
    return n_time * (4 * n_features + 16 * n_layers + 44)


def is_lazy(ds: xr.Dataset, names: Iterable[str]) -> bool:
    """Whether any of the variables is backed by dask."""
    return any(ds[name].chunks is not None for name in names)


def needs_blocks(
    ds: xr.Dataset, names: Sequence[str], places: Sequence[str], n_features: int, memory: float
) -> bool:
    """Whether preparing a dask-backed ``ds`` as a whole takes more than ``memory`` [GB]."""
    cells = int(np.prod([ds.sizes[d] for d in places]))
    values = cells * ds.sizes[TIME] * (n_features + ds.sizes[LAYER])
    return is_lazy(ds, names) and COPIES * 4 * values > memory * 1e9


def boxes(ds: xr.Dataset, places: Sequence[str], limit: float) -> list[Box]:
    """Boxes of places along the chunks of ``ds``, none of more than ``limit`` bytes.

    Chunks that are larger are read a few times over, with a warning; what would be read again and
    again is refused with the line to type.
    """
    chunks = ds.unify_chunks().chunksizes
    edges = {d: np.cumsum([0, *chunks.get(d, (ds.sizes[d],))]) for d in places}
    largest = int(np.prod([np.diff(edges[d]).max() for d in places]))
    each = sum(
        da.dtype.itemsize * da.size / np.prod([da.sizes[d] for d in places if d in da.dims])
        for da in ds.variables.values()
        if set(places) & set(da.dims)
    )
    splits = int(np.ceil(largest * each / limit))
    if splits > 1 and is_lazy(ds, [str(n) for n in ds.data_vars]):
        _repeated(splits, largest * each, places, int(limit / each))
    pieces = [
        [slice(a, b) for a, b in pairwise(_finer(edges[d], splits if k == 0 else 1))]
        for k, d in enumerate(places)
    ]
    return [dict(zip(places, some, strict=True)) for some in product(*pieces)]


def _finer(edges: np.ndarray, splits: int) -> list[int]:
    """Edges with ``splits`` parts, or as many as there are places, in each piece."""
    fine = [
        np.linspace(a, b, min(splits, b - a) + 1).round().astype(int)[:-1]
        for a, b in pairwise(edges)
        if b > a
    ]
    return [*np.concatenate(fine).tolist(), int(edges[-1])]


def _repeated(splits: int, size: float, places: Sequence[str], fit: int) -> None:
    side = max(1, int(fit ** (1 / len(places))))
    asked = ", ".join(f"{d}={side}" for d in places)
    cure = f'ds.chunk({TIME}=-1, {asked}).to_zarr("staged.zarr"), and open that'
    found = f"a chunk of places holds {size / 1e9:.2g} GB with all its times"
    if splits > REPEATS:
        raise DimensionError(
            f"training in blocks reads a chunk of places at a time, whole in time; {found}, and "
            f"would be read {splits} times over. Stage the data once: {cure}; or give more memory: "
            "config=xp.TrainingConfig(memory=...)."
        )
    warnings.warn(
        f"{found}; it is read {splits} times in each pass. Staged data are read faster: {cure}.",
        PermafrostWarning,
        stacklevel=6,
    )


def ahead(read: Callable[[Task], Answer], tasks: Sequence[Task]) -> Iterator[Answer]:
    """``map(read, tasks)``, with the next answer read in a thread while one is worked on."""
    with ThreadPoolExecutor(1) as thread:
        coming = [thread.submit(read, task) for task in tasks[:1]]
        for number in range(len(tasks)):
            now = coming.pop().result()
            if number + 1 < len(tasks):
                coming.append(thread.submit(read, tasks[number + 1]))
            yield now
            del now
