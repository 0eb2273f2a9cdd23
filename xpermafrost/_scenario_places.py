"""A climate model's Dataset on the places and layers of a reference, or why it does not fit."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from .errors import DimensionError, PermafrostWarning, RegionError
from .schema import LAYER, TIME, layer_bounds, location_dims


def same_locations(reference: xr.Dataset, other: xr.Dataset, name: str) -> None:
    want, found = location_dims(_timed(reference)), location_dims(_timed(other))
    if set(want) != set(found):
        raise RegionError(
            f"the reference has the location dims {want}, {name!r} has {found}. Reduce both to the "
            "same regions, or use era5.permafrost.with_scenarios(esm, regions=...)."
        )
    for dim in want:
        if not np.array_equal(reference[dim].values, other[dim].values):
            raise RegionError(
                f"the reference and {name!r} differ along {dim!r}: "
                f"{reference[dim].values[:6].tolist()} and {other[dim].values[:6].tolist()}."
            )


def same_layers(reference: xr.Dataset, other: xr.Dataset, name: str) -> None:
    if LAYER not in reference.dims or LAYER not in other.dims:
        return
    want, found = layer_bounds(reference), layer_bounds(other)
    if want.shape != found.shape or not np.allclose(want, found, atol=1e-6):
        raise DimensionError(
            f"the reference has layers {want.tolist()} m, {name!r} has {found.tolist()} m. A layer "
            "is known by its bounds, so these cannot stand side by side. Type "
            f"xp.remap_layers({name}, reference), or leave them out: ds.drop_dims('layer')."
        )


def _timed(ds: xr.Dataset) -> xr.Dataset:
    return ds[[name for name, da in ds.data_vars.items() if TIME in da.dims]]


def is_gridded(ds: xr.Dataset) -> bool:
    return {"lat", "lon"} <= set(ds.dims)


def on_the_grid(ds: xr.Dataset, reference: xr.Dataset, sampling: str) -> xr.Dataset:
    from .regridding import regrid

    keep = [n for n, da in ds.data_vars.items() if TIME in da.dims]
    method = {"linear": "bilinear", "nearest": "nearest"}[sampling]
    out = regrid(ds[keep], reference, method=method)
    # the very numbers of the reference: places are joined by label
    return out.assign_coords({dim: reference[dim] for dim in ("lat", "lon")})


def on_the_layers(reference: xr.Dataset, ds: xr.Dataset, name: str) -> xr.Dataset:
    """Variables of ``ds`` on the reference's soil layers; what cannot be brought there is said."""
    from .depth import remap_layers

    try:
        same_layers(reference, ds, name)
        return ds
    except DimensionError:
        pass
    want = layer_bounds(reference)
    if not np.all(want[:, 1] > want[:, 0]):
        layered = [str(n) for n, da in ds.data_vars.items() if LAYER in da.dims]
        found = layer_bounds(ds).round(3).tolist()
        warnings.warn(
            f"{name!r} has {layered} on layers {found} m; the reference has sensors at points, "
            "onto which layers are not remapped. They are left out.",
            PermafrostWarning,
            stacklevel=3,
        )
        return ds.drop_dims(LAYER)
    out = remap_layers(ds, reference)
    covered = out["depth_covered"].values
    if np.any(covered < 1.0 - 1e-6):
        part = ", ".join(
            f"{top:g}-{bottom:g} m: {share:.0%}"
            for (top, bottom), share in zip(want, covered, strict=True)
            if share < 1.0 - 1e-6
        )
        warnings.warn(
            f"{name!r} covers the reference's soil layers in part only ({part}); they hold what "
            "it covers, and nothing where that is 0 %. To carry its deepest layer on, type "
            "xp.remap_layers(esm, reference, below='deepest') before.",
            PermafrostWarning,
            stacklevel=3,
        )
    return out.drop_vars("depth_covered")
