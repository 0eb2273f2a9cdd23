"""Tables of one place each, boreholes or stations, become one Dataset of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..schema import LAYER, layer_bounds, layer_coords_from_bounds

#: Dimensions of places of a table.
PLACES = ("station", "band")


def places_of(ds: xr.Dataset) -> tuple[str, ...]:
    """Names of the places of a table; empty where ``ds`` is none.

    Examples
    --------
    >>> table = xr.Dataset(coords={"station": ["Healy"]}, attrs={"featureType": "timeSeries"})
    >>> places_of(table), places_of(table.drop_attrs())
    (('Healy',), ())
    """
    dim = next((d for d in PLACES if d in ds.dims), None)
    if dim is None or "featureType" not in ds.attrs:
        return ()
    return tuple(str(name) for name in ds[dim].values)


def join_places(tables: Sequence[xr.Dataset]) -> xr.Dataset:
    """Tables of different places side by side: NaN where one has no such time, depth or column.

    In memory or lazy. Sensors of all depths become layers, from the surface down.
    """
    dim = next(d for d in PLACES if d in tables[0].dims)
    deep = [layer_bounds(ds) for ds in tables if LAYER in ds.dims]
    levels = np.unique(np.concatenate(deep), axis=0) if deep else np.empty((0, 2))
    levels = levels[np.argsort(levels.sum(axis=1), kind="stable")]
    parts = [_on_levels(ds, levels) if LAYER in ds.dims else ds for ds in tables]
    coords = {n: c.dtype for ds in parts for n, c in ds.coords.items() if c.dims == (dim,)}
    for name, dtype in coords.items():
        empty = np.nan if dtype.kind == "f" else ""
        parts = [
            ds if name in ds.coords else ds.assign_coords({name: (dim, [empty] * ds.sizes[dim])})
            for ds in parts
        ]
    joined = xr.concat(
        parts,
        dim=dim,
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop_conflicts",
    )
    return joined.assign_coords(layer_coords_from_bounds(levels)) if deep else joined


def _on_levels(ds: xr.Dataset, levels: np.ndarray) -> xr.Dataset:
    """``ds`` on the layers ``levels``, shape (layer, 2), of which its own are some."""
    known = {tuple(bounds): at for at, bounds in enumerate(levels.tolist())}
    at = [known[tuple(bounds)] for bounds in layer_bounds(ds).tolist()]
    bare = ds.drop_vars([name for name, c in ds.coords.items() if LAYER in c.dims])
    return bare.assign_coords({LAYER: at}).reindex({LAYER: np.arange(len(levels))})
