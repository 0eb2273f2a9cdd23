"""Borehole profiles: soil temperature of one place over time and depth, one Dataset a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import xarray as xr

from ._checks import require_dims, same_units
from .errors import DimensionError, MissingVariableError, UnitsError
from .products import SOIL_TEMPERATURE, soil_temperature
from .schema import LAYER, TIME
from .sources.stations import STATION_DIMS

#: Where a profile is; scalars of its file.
_PLACE = ("lat", "lon", "elevation")


def profiles(obj: xr.DataArray | xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """A name and the soil temperature [degC] ``(time, layer)`` of each station and scenario.

    Lazy; coordinates are read.
    """
    ds = obj.to_dataset(name=obj.name or SOIL_TEMPERATURE) if isinstance(obj, xr.DataArray) else obj
    celsius = _celsius(ds)
    require_dims(celsius, (TIME, LAYER), step="to_profiles")
    station = next((n for n in STATION_DIMS if n in celsius.coords), None)
    lacking = [n for n in ("lat", "lon", "depth") if n not in ds.variables]
    if station is None or lacking:
        raise DimensionError(
            f"to_profiles needs named stations with 'lat', 'lon' and 'depth'; the data have the "
            f"dims {tuple(str(d) for d in celsius.dims)} and the coordinates "
            f"{[str(n) for n in celsius.coords]}. Type ds.assign_coords(lat=('station', [...])); "
            "regions are written with to_netcdf or to_vector."
        )
    about = [n for n in (*_PLACE, "depth_bnds") if n in ds.variables and n not in celsius.coords]
    whole = celsius.to_dataset().assign_coords({name: ds[name].variable for name in about})
    whole.attrs = {"title": "ground temperature profile", **ds.attrs}
    others = [dim for dim in celsius.dims if dim not in (TIME, LAYER)]
    for index in product(*(range(celsius.sizes[dim]) for dim in others)):
        one = whole.isel(dict(zip(others, index, strict=True))).transpose(TIME, LAYER, ...)
        labels = [station, *(dim for dim in others if dim != station)]
        yield _name([str(one[name].item()) for name in labels if name in one.coords]), one


def _celsius(ds: xr.Dataset) -> xr.DataArray:
    for name in (SOIL_TEMPERATURE, "tsl"):
        if name not in ds.data_vars:
            continue
        units = str(ds[name].attrs.get("units", ""))
        if same_units(units, "K"):
            return soil_temperature(ds[name])
        if same_units(units, "degC"):
            return ds[name].rename(SOIL_TEMPERATURE)
        raise UnitsError(f"{name!r} needs units K or degree_Celsius; found {units!r}.")
    raise MissingVariableError(
        f"to_profiles needs 'tsl' or {SOIL_TEMPERATURE!r}; found "
        f"{[str(name) for name in ds.data_vars]}."
    )


def _name(labels: list[str]) -> str:
    """Name of a file, of letters of any script."""
    return re.sub(r"[^\w.+-]+", "-", "_".join(labels)).strip(".-") or "profile"
