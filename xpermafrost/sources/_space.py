"""Horizontal and vertical coordinates of a source become ``lat``, ``lon`` and ``layer``."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ..errors import SourceError
from ..schema import BOUNDS, LAYER, layer_coords_from_bounds
from ._units import linear
from .stations import has_points

_NAMES = {"latitude": "lat", "longitude": "lon", "Latitude": "lat", "Longitude": "lon"}
_ATTRS: dict[str, dict[str, str]] = {
    "lat": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "lon": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
}
_VERTICAL = ("depth", "sdepth", "solth", "soil_depth", "depth_cm", "depth_m", "soildepth")


def standard_latlon(ds: xr.Dataset) -> tuple[xr.Dataset, bool]:
    """``lat`` ascending, ``lon`` in [-180, 180) ascending, bounds along with them."""
    names = _names_of(ds)
    changed = bool(names)
    ds = ds.rename(names)
    _check_latlon(ds)
    others = _other_bounds(ds)
    if others:
        ds, changed = ds.rename(others), True
        for name in ("lat", "lon"):
            if f"{name}_{BOUNDS}" in others.values():
                ds = ds.assign_coords({name: ds[name].assign_attrs(bounds=f"{name}_{BOUNDS}")})
    bounds = [f"{name}_{end}" for name in ("lat", "lon") for end in (BOUNDS, "bounds")]
    for name in [b for b in ("lat", "lon", *bounds) if b in ds.data_vars]:
        ds, changed = ds.set_coords(name), True
    if "lon" in ds.coords and np.issubdtype(ds["lon"].dtype, np.number):
        wrapped = _wrap(ds["lon"].values)
        if not np.array_equal(wrapped, ds["lon"].values):
            ds, changed = _assign_lon(ds, wrapped), True
    for name in ("lat", "lon"):
        if name not in ds.coords:
            continue
        coord = ds[name]
        missing = {k: v for k, v in _ATTRS[name].items() if k not in coord.attrs}
        if changed and missing:
            ds = ds.assign_coords({name: coord.assign_attrs(missing)})
        if coord.dims == (name,) and coord.size > 1 and not ds.indexes[name].is_unique:
            first = ~ds.indexes[name].duplicated()  # 0 and 360 degrees are one meridian
            ds, changed = ds.isel({name: first}), True
        if coord.dims == (name,) and not ds.indexes[name].is_monotonic_increasing:
            ds, changed = _ascending(ds, name), True
    return ds, changed


def _ascending(ds: xr.Dataset, name: str) -> xr.Dataset:
    """Sorted along ``name``. Turned around where that does, which copies nothing."""
    if ds.indexes[name].is_monotonic_decreasing:
        return ds.isel({name: slice(None, None, -1)})
    return ds.isel({name: np.argsort(ds[name].values, kind="stable")})


def _names_of(ds: xr.Dataset) -> dict[Hashable, str]:
    """What becomes ``lat`` and ``lon``: by usual names, else by CF attributes."""
    names: dict[Hashable, str] = {
        old: new for old, new in _NAMES.items() if old in ds.variables and new not in ds.variables
    }
    for new, attrs in _ATTRS.items():
        if new in ds.variables or new in names.values():
            continue
        units = (attrs["units"], attrs["units"].replace("degrees", "degree"))
        said = [
            name
            for name, coord in ds.coords.items()
            if coord.attrs.get("standard_name") == attrs["standard_name"]
            or coord.attrs.get("units") in units
        ]
        if len(said) == 1:
            names[said[0]] = new
    return names


def _other_bounds(ds: xr.Dataset) -> dict[Hashable, str]:
    """Bounds of 1-D ``lat`` and ``lon`` under other names: by attribute, or of the old name."""
    found: dict[Hashable, str] = {}
    for name, long in (("lat", "latitude"), ("lon", "longitude")):
        wanted = f"{name}_{BOUNDS}"
        if name not in ds.dims or name not in ds.coords or wanted in ds.variables:
            continue
        for other in (ds[name].attrs.get("bounds"), f"{name}_bounds", f"{long}_bnds"):
            if other in ds.variables and ds[other].ndim == 2 and ds[other].dims[0] == name:
                found[other] = wanted
                break
    return found


def _check_latlon(ds: xr.Dataset) -> None:
    """Latitudes that no place has, and coordinates whose attributes say the other one."""
    for name, other in (("lat", "lon"), ("lon", "lat")):
        if name not in ds.coords or not np.issubdtype(ds[name].dtype, np.number):
            continue
        attrs, opposite = ds[name].attrs, _ATTRS[other]
        units = str(attrs.get("units", "")).replace("degree_", "degrees_")
        if opposite["standard_name"] == attrs.get("standard_name") or units == opposite["units"]:
            raise SourceError(
                f"{name!r} is a {opposite['standard_name']} by its attributes: latitude and "
                "longitude are swapped. Type ds.rename(lat='lon', lon='lat'), or correct the "
                "attributes."
            )
    if "lat" not in ds.coords or not np.issubdtype(ds["lat"].dtype, np.number):
        return
    low, high = float(ds["lat"].min()), float(ds["lat"].max())
    if np.isnan(low) or (low >= -90.01 and high <= 90.01):
        return
    swapped = "lon" in ds.coords and float(np.abs(ds["lon"]).max()) <= 90
    cure = (
        "latitude and longitude are swapped. Type ds.rename(lat='lon', lon='lat')"
        if swapped
        else "these are no degrees north. If they are metres of a projection, call them y and x"
    )
    raise SourceError(f"'lat' holds {low:g} to {high:g}, beyond the poles: {cure}.")


def _wrap(lon: np.ndarray) -> np.ndarray:
    # by subtraction, so that longitudes already in range keep every bit
    return np.where(lon >= 180, lon - 360, np.where(lon < -180, lon + 360, lon))


def _assign_lon(ds: xr.Dataset, wrapped: np.ndarray) -> xr.Dataset:
    old = ds["lon"]
    moved = {"lon": (old.dims, wrapped, old.attrs)}
    for name in ("lon_bnds", "lon_bounds"):
        if name in ds.coords and ds[name].ndim == old.ndim + 1:
            shift = (wrapped - old.values)[..., np.newaxis]
            moved[name] = (ds[name].dims, ds[name].values + shift, ds[name].attrs)
    return ds.assign_coords(moved)


def standard_layers(
    ds: xr.Dataset, layered: list[str], *, source: str | None
) -> tuple[xr.Dataset, bool]:
    """Turn the vertical dimension of the ``layered`` variables into ``layer`` with bounds."""
    dims = {d for name in layered for d in ds[name].dims if _is_vertical(ds, d)}
    if not dims:
        return ds, False
    coords = {dim: _read_bounds(ds, str(dim), source=source) for dim in dims}
    reference = next(iter(coords.values()))
    for dim, bounds in coords.items():
        if bounds.shape != reference.shape or not np.allclose(bounds, reference):
            raise SourceError(
                f"{sorted(map(str, dims))} are different layer sets ({dim!r} fits no other); one "
                "Dataset has one. Standardize the variables apart and remap one in depth."
            )
    for dim, bounds in coords.items():
        ds = ds.isel({dim: np.argsort(bounds[:, 0] + bounds[:, 1], kind="stable")})
        ds = ds.drop_vars([n for n in ds.variables if _belongs(ds, n, str(dim))])
    # labels of another file's layers: numbered anew below
    ds = ds.drop_vars(LAYER, errors="ignore").rename(dict.fromkeys(dims, LAYER))
    reference = reference[np.argsort(reference.sum(axis=1), kind="stable")]
    return ds.assign_coords(layer_coords_from_bounds(reference)), True


def _belongs(ds: xr.Dataset, name: Hashable, dim: str) -> bool:
    """Whether a variable is the vertical coordinate or its bounds."""
    bounds = ds[dim].attrs.get("bounds", f"{dim}_bnds") if dim in ds.coords else f"{dim}_bnds"
    return name in (dim, bounds, f"{dim}_bnds", f"{dim}_bounds")


def _is_vertical(ds: xr.Dataset, dim: Hashable) -> bool:
    if dim == LAYER or dim not in ds.coords:
        return False
    attrs = ds[dim].attrs
    said = attrs.get("standard_name") == "depth" or attrs.get("axis") == "Z"
    return said or str(dim).lower() in _VERTICAL


def _read_bounds(ds: xr.Dataset, dim: str, *, source: str | None) -> np.ndarray:
    """Bounds [m] of shape (dim, 2), positive down; points for stations."""
    coord = ds[dim]
    suffix = {"_cm": "cm", "_m": "m"}.get(dim[dim.rfind("_") :] if "_" in dim else "", "")
    units = str(coord.attrs.get("units", suffix))
    how = linear(units, "m") if units else None
    if how is None:
        raise SourceError(
            f"the depth coordinate {dim!r} needs units of length; found {units or 'none'!r}. "
            f"Type ds[{dim!r}].attrs['units'] = 'm'."
        )
    names = (coord.attrs.get("bounds"), f"{dim}_bnds", f"{dim}_bounds")
    name = next((n for n in names if n in ds.variables), None)
    if name is not None:
        found = ds[name]
        keep = [d for d in found.dims if d == dim or found.sizes[d] == 2]
        found = found.isel({d: 0 for d in found.dims if d not in keep}, drop=True)
        other = next(d for d in found.dims if d != dim)
        values = found.transpose(dim, other).values.astype("float64")
    elif all(n in ds.variables and ds[n].dims == (dim,) for n in ("depth_top", "depth_bottom")):
        values = np.stack([ds["depth_top"].values, ds["depth_bottom"].values], axis=1)
    elif source == "stations" or (source is None and has_points(ds)):
        values = np.stack([coord.values, coord.values], axis=1).astype("float64")
    else:
        raise SourceError(
            f"layers are identified by their bounds; {dim!r} has none. Assign them, "
            f"ds = ds.assign_coords({dim}_bnds=(({dim!r}, 'bnds'), ...)), or type "
            "standardize(source='stations') if these are points of measurement."
        )
    values = values * how.factor
    if coord.attrs.get("positive") == "up" or np.all(values <= 0):
        values = -values
    values = np.sort(values, axis=1)
    return np.round(values, 9)
