"""Values of a grid at places."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ._checks import require_dims
from .errors import RegionError


def sample_points(ds: xr.Dataset, points: xr.Dataset, *, method: str = "linear") -> xr.Dataset:
    """Values of a gridded Dataset at the places of a station Dataset.

    Lazy on dask. Longitudes are wrapped to the grid's own range, and the grid's edge columns
    are repeated across the seam, so that a station near 0 or 180 degrees is inside.

    Parameters
    ----------
    ds : Dataset
        With dims ``lat, lon``.
    points : Dataset
        With 1-D coordinates or variables ``lat`` and ``lon`` along one location dim.
    method : {"linear", "nearest"}
        Bilinear interpolation (NaN next to a missing cell), or the nearest cell.

    Raises
    ------
    RegionError
        If a place lies outside the grid.

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
    require_dims(ds, ("lat", "lon"), step="sample_points")
    if not {"lat", "lon"} <= set(points.variables):
        raise RegionError(
            f"the places need 'lat' and 'lon'; found {[str(n) for n in points.variables]}."
        )
    lat, lon = points["lat"], points["lon"]
    grid = _closed_circle(ds.sortby(["lat", "lon"]))
    west = float(grid["lon"][0])
    wrapped = (lon - west) % 360.0 + west
    off = (lat < float(grid["lat"][0])) | (lat > float(grid["lat"][-1]))
    off |= wrapped > float(grid["lon"][-1])
    if bool(off.any()):
        raise RegionError(
            f"{int(off.sum())} of {off.size} places lie outside the grid's cell centres "
            f"(lat {float(grid['lat'][0]):g} to {float(grid['lat'][-1]):g})."
        )
    gridded = [name for name, da in grid.data_vars.items() if {"lat", "lon"} <= set(da.dims)]
    interp = grid[gridded].interp(lat=lat.variable, lon=wrapped.variable, method=method)  # type: ignore[arg-type]
    out = interp.drop_vars(["lat", "lon"], errors="ignore")
    labels = {dim: points[dim] for dim in lat.dims if dim in points.coords}
    attrs = {**ds.attrs, "sampling": f"{method} interpolation to points"}
    return out.assign_coords({**labels, "lat": lat, "lon": lon}).assign_attrs(attrs)


def _closed_circle(ds: xr.Dataset) -> xr.Dataset:
    """Repeat the first and last column on the other side of a grid that spans the circle."""
    lon = ds["lon"].values
    if lon.size < 2 or 360.0 - (lon[-1] - lon[0]) > 1.5 * float(np.median(np.diff(lon))):
        return ds
    first, last = ds.isel(lon=[0]), ds.isel(lon=[-1])
    parts = [
        last.assign_coords(lon=last["lon"] - 360.0),
        ds,
        first.assign_coords(lon=first["lon"] + 360.0),
    ]
    return xr.concat(parts, dim="lon", data_vars="minimal", coords="minimal", compat="override")
