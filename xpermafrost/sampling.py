"""Values of a grid at places."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ._checks import choose
from .errors import RegionError
from .masks import around, cell_bounds, check_grid

#: Places this close to an end of the grid [degrees] are on it: coordinates may be float32.
_SLACK = 1e-4


def sample_points(ds: xr.Dataset, points: xr.Dataset, *, method: str = "linear") -> xr.Dataset:
    """Values of a gridded Dataset at the places of a station Dataset.

    Lazy on dask. Latitudes and longitudes come in any order and on any turn of the circle; a
    grid that goes all the way round has no seam.

    Parameters
    ----------
    ds : Dataset
        With dims ``lat, lon``.
    points : Dataset
        With 1-D coordinates or variables ``lat`` and ``lon`` along one location dim.
    method : {"linear", "nearest"}
        Bilinear interpolation between the centres of cells (NaN next to a missing cell), or the
        nearest cell.

    Raises
    ------
    RegionError
        If a place lies outside the cells (their centres, for ``linear``), or has no position.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid = xr.Dataset(
    ...     {"tas": (("lat", "lon"), [[270.0, 272.0], [270.0, 272.0]])},
    ...     coords={"lat": [60.0, 62.0], "lon": [10.0, 12.0]},
    ... )
    >>> place = xr.Dataset(coords={"lat": ("station", [61.0]), "lon": ("station", [11.0])})
    >>> sample_points(grid, place)["tas"].values.tolist()
    [271.0]
    """
    choose("sampling", method, ("linear", "nearest"))
    check_grid(ds, step="sample_points")
    if not {"lat", "lon"} <= set(points.variables):
        raise RegionError(
            f"the places need 'lat' and 'lon'; found {[str(n) for n in points.variables]}."
        )
    order, along, _, closed = around(ds["lon"].values)
    grid = ds.isel(lon=order).assign_coords(lon=along).sortby("lat")
    south, north = _reach(grid, "lat", method)
    west, east = (along[0], along[0] + 360.0) if closed else _reach(grid, "lon", method)
    lat = points["lat"].variable.astype("float64")
    lon = points["lon"].variable.astype("float64")
    lon = (lon - west + _SLACK) % 360.0 - _SLACK + west
    inside = (lat >= south - _SLACK) & (lat <= north + _SLACK) & (lon <= east + _SLACK)
    if not inside.values.all():
        raise _outside(points, ~inside.values, (south, north, west, east), method)
    if closed:
        first = grid.isel(lon=[0]).assign_coords(lon=[along[0] + 360.0])
        grid = xr.concat(
            [grid, first], dim="lon", data_vars="minimal", coords="minimal", compat="override"
        )
    places = {
        name: at.clip(grid[name].values[0], grid[name].values[-1])
        for name, at in (("lat", lat), ("lon", lon))
    }
    gridded = [name for name, da in grid.data_vars.items() if {"lat", "lon"} <= set(da.dims)]
    out = grid[gridded].interp(places, method=method)  # type: ignore[arg-type]
    out = out.drop_vars(["lat", "lon"], errors="ignore")
    labels = {dim: points[dim] for dim in lat.dims if dim in points.coords}
    attrs = {**ds.attrs, "sampling": f"{method} interpolation to points"}
    return out.assign_coords({**labels, "lat": points["lat"], "lon": points["lon"]}).assign_attrs(
        attrs
    )


def _reach(grid: xr.Dataset, name: str, method: str) -> tuple[float, float]:
    """The outermost centres, or edges, along an ascending axis."""
    ends = grid[name].values if method == "linear" else cell_bounds(grid, name)
    return float(np.min(ends)), float(np.max(ends))


def _outside(
    points: xr.Dataset, off: np.ndarray, box: tuple[float, float, float, float], method: str
) -> RegionError:
    dim = next(iter(points["lat"].dims), None)
    named = np.atleast_1d(points[dim].values if dim in points.coords else np.arange(off.size))
    some = ", ".join(map(str, named[np.atleast_1d(off)][:5]))
    what = "cell centres" if method == "linear" else "cells"
    return RegionError(
        f"{int(off.sum())} of {off.size} places lie outside the grid's {what} (lat {box[0]:g} to "
        f"{box[1]:g}, lon {box[2]:g} to {box[3]:g}) or have no position: {some}. Leave them out, "
        "or take a larger grid."
    )
