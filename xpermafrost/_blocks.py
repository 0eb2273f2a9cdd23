"""Work on dask-backed Datasets, one block of places after another, with time whole.

A function of labelled data that treats places apart is run on every block as it is on data in
memory: the answer has the same values, and nothing is computed before it is asked for. What the
whole answer will be labelled with is told by running the function once on one made-up place.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import xarray as xr

from .errors import DimensionError, PermafrostError, PermafrostWarning
from .schema import VARIABLES, location_dims

#: Bytes of a block up to which chunks are merged without a word, and at all.
QUIET, MOST = 2**24, 2**29

#: Bytes of a block that is proposed where a Dataset needs other chunks.
GOOD = 2**27

_PART: ContextVar[bool] = ContextVar("part", default=False)

Work = Callable[[xr.Dataset, Any], xr.Dataset]


def is_lazy(obj: xr.Dataset | xr.DataArray) -> bool:
    """Whether a variable of ``obj`` is backed by dask; coordinates do not count."""
    variables = obj.data_vars.values() if isinstance(obj, xr.Dataset) else [obj]
    return any(da.chunks is not None for da in variables)


def is_part() -> bool:
    """Whether the present data are a block of more: what holds of the whole is not asked of it."""
    return _PART.get()


@contextmanager
def _part() -> Iterator[None]:
    token = _PART.set(True)
    try:
        yield
    finally:
        _PART.reset(token)


class _Held:
    """What every block needs, a model and labels: one task of the graph, sent once to a worker."""

    def __init__(self, state: Any, frame: xr.Dataset) -> None:
        self.state, self.frame = state, frame

    def __dask_tokenize__(self) -> object:
        from dask.base import tokenize

        return tokenize(self.state, self.frame)


def _hand_out(held: _Held) -> _Held:
    return held


def by_places(work: Work, ds: xr.Dataset, state: Any = None, *, step: str) -> xr.Dataset:
    """``work(ds, state)``, block by block of places. Lazy.

    Parameters
    ----------
    work : callable
        ``work(block, state)`` gives a Dataset with the places of the block; it can be pickled,
        and treats every place on its own.
    ds : Dataset
        Dask-backed. Its chunks along places are the blocks.
    state : object
        Handed to every call; it stands once in the graph.
    step : str
        What is done, for messages.

    Returns
    -------
    Dataset
        What ``work(ds.compute(), state)`` would give: labels, dtypes and attributes are those of
        the answer for one place whose values are made up.

    Raises
    ------
    DimensionError
        If a dimension that is no place is in several chunks and merging them makes blocks of more
        than ``MOST`` bytes.

    Warns
    -----
    PermafrostWarning
        If chunks were merged to blocks of more than ``QUIET`` bytes.
    """
    import dask
    import dask.array as darray

    ds = _whole_but_places(ds, step)
    with _part():
        one = work(_made_up(ds), state)
    places = location_dims(ds)
    held = _Held(state, ds.coords.to_dataset().compute())
    numbers = {d: darray.arange(ds.sizes[d], chunks=(_cut(ds, d),)) for d in places}
    arrays = [da.variable.chunk(ds.chunksizes) for da in ds.data_vars.values()]
    answers = darray.blockwise(
        _run,
        places,
        *[part for d in places for part in (numbers[d], (d,))],
        *[part for each in arrays for part in (each.data, each.dims)],
        concatenate=True,
        adjust_chunks=dict.fromkeys(places, 1),
        meta=np.empty((0,) * len(places), dtype=object),
        held=dask.delayed(_hand_out, pure=True)(held),
        work=work,
        places=places,
        variables={str(n): (da.dims, da.attrs) for n, da in ds.data_vars.items()},
        attrs=ds.attrs,
    )
    data = {n: _taken(answers, str(n), da.variable, ds) for n, da in one.data_vars.items()}
    own = [name for name, da in one.coords.items() if set(places) & set(da.dims)]
    rest = {name: da.variable for name, da in one.coords.items() if name not in own}
    labels = ds.coords.to_dataset()[own].coords  # with their indexes: a cell may be stacked
    return xr.Dataset(data, rest, one.attrs).assign_coords(labels)


def _cut(ds: xr.Dataset, dim: Hashable) -> tuple[int, ...]:
    """Sizes of the chunks along ``dim``."""
    return ds.chunksizes.get(dim, (ds.sizes[dim],))


def _run(
    *arrays: np.ndarray,
    held: _Held,
    work: Work,
    places: tuple[Hashable, ...],
    variables: dict[str, tuple[tuple[Hashable, ...], dict[str, Any]]],
    attrs: dict[str, Any],
) -> np.ndarray:
    """The work on one block, as the only element of an array; its errors say where."""
    numbers, values = arrays[: len(places)], arrays[len(places) :]
    frame = held.frame.isel(dict(zip(places, numbers, strict=True)))
    data = {
        name: (dims, array, own)
        for (name, (dims, own)), array in zip(variables.items(), values, strict=True)
    }
    block = frame.assign(data).assign_attrs(attrs)
    with _part(), _placed(block, places):
        out = work(block, held.state)
    answer = np.empty((1,) * len(places), dtype=object)
    answer.flat[0] = {str(name): da.variable for name, da in out.data_vars.items()}
    return answer


def _taken(answers: Any, name: str, like: xr.Variable, ds: xr.Dataset) -> xr.Variable:
    """One variable of the answers of all blocks."""
    import dask.array as darray

    places = location_dims(ds)
    data = darray.blockwise(
        _take,
        like.dims,
        answers,
        places,
        adjust_chunks={d: _cut(ds, d) for d in places},
        new_axes={d: n for d, n in like.sizes.items() if d not in places},
        dtype=like.dtype,
        meta=np.empty((0,) * like.ndim, like.dtype),
        variable=name,
        dims=like.dims,
    )
    return xr.Variable(like.dims, data, like.attrs)


def _take(answer: np.ndarray, *, variable: str, dims: tuple[Hashable, ...]) -> np.ndarray:
    return answer.item()[variable].transpose(*dims).values


@contextmanager
def _placed(block: xr.Dataset, places: tuple[Hashable, ...]) -> Iterator[None]:
    try:
        yield
    except PermafrostError as error:
        raise type(error)(f"{span_of(block, places)}: {error}") from error
    except Exception as error:
        error.add_note(f"in the block {span_of(block, places)}")
        raise


def span_of(block: xr.Dataset, dims: tuple[Hashable, ...]) -> str:
    """``lat 60.05 to 61.95, lon 10.05 to 19.95``: what a block is found by."""
    parts = []
    for dim in dims:
        labels = block[dim].values if dim in block.coords else np.arange(block.sizes[dim])
        first, last = (np.asarray(labels[k]).item() for k in (0, -1))
        if labels.dtype.kind == "M":
            first, last = (np.datetime_as_string(labels[k], unit="D") for k in (0, -1))
        parts.append(f"{dim} {first} to {last}")
    return ", ".join(sorted(parts))


def _made_up(ds: xr.Dataset) -> xr.Dataset:
    """One place of ``ds`` with values from the middle of what each variable may be."""
    one = ds.isel({dim: slice(0, 1) for dim in location_dims(ds)})
    data = {}
    for name, da in one.data_vars.items():
        if da.dtype.kind in "fiu":
            middle = sum(VARIABLES[str(name)].valid_range) / 2 if name in VARIABLES else 1.0
            values = np.full(da.shape, middle if np.isfinite(middle) else 1.0).astype(da.dtype)
        else:
            values = np.zeros(da.shape, da.dtype)
        data[name] = da.variable.copy(data=values)
    coords = {name: da.variable.compute() for name, da in one.coords.items()}
    return one.assign(data).assign_coords(coords)


def _whole_but_places(ds: xr.Dataset, step: str) -> xr.Dataset:
    """Every dimension that is no place in one chunk, where that is cheap."""
    ds = ds.unify_chunks()
    places = location_dims(ds)
    split = [d for d, parts in ds.chunksizes.items() if d not in places and len(parts) > 1]
    if not split:
        return ds
    largest = {d: max(ds.chunksizes.get(d, (ds.sizes[d],))) for d in places}
    size = _bytes(ds, largest)
    names = ", ".join(repr(str(d)) for d in split)
    found = ", ".join(f"{len(ds.chunksizes[d])} along {str(d)!r}" for d in split)
    line = _proposed(split, size, largest)
    if size > MOST:
        raise DimensionError(
            f"{step} needs {names} in one chunk; found {found}, and merging them makes blocks of "
            f"{size / 1e9:.1f} GB. Type {line}; where the file is split along time, "
            "write that once, with .permafrost.to_zarr(path), and open it."
        )
    if size > QUIET:
        warnings.warn(
            f"{step} needs {names} in one chunk; found {found}: merged to blocks of "
            f"{size / 1e6:.0f} MB. To choose them, type {line}.",
            PermafrostWarning,
            stacklevel=4,
        )
    merged = ds.chunk(dict.fromkeys(split, -1))  # of coordinates in memory it makes dask arrays
    return merged.assign_coords({name: da.variable for name, da in ds.coords.items()})


def _bytes(ds: xr.Dataset, largest: dict[Hashable, int]) -> int:
    """Size of the largest block whose other dimensions are whole."""
    each = [
        math.prod(largest.get(d, n) for d, n in da.sizes.items()) * da.dtype.itemsize
        for da in ds.data_vars.values()
    ]
    return sum(each)


def _proposed(split: list[Hashable], size: int, largest: dict[Hashable, int]) -> str:
    """The line to type: chunks of about ``GOOD`` bytes."""
    shrink = min(1.0, GOOD / size) ** (1 / max(len(largest), 1))
    parts = [f"{d}=-1" for d in split]
    parts += [f"{d}={max(1, int(n * shrink))}" for d, n in largest.items()]
    return f"ds.chunk({', '.join(parts)})"


__all__ = ["by_places", "is_lazy", "is_part", "span_of"]
