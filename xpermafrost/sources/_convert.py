"""Values: factors, offsets, signs, layers. Lazy stays lazy."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ..errors import SourceError
from ..schema import BOUNDS, LAYER, TIME, Variable, layer_coords_from_bounds, variable
from ._base import Match


def convert(da: xr.DataArray, found: Match, days: xr.DataArray | None) -> xr.DataArray:
    """Stored to canonical values; attributes of the variable table and of the source."""
    assert found.rule is not None
    row = variable(found.canonical)
    out = da if np.issubdtype(da.dtype, np.floating) else da.astype("float64")
    if found.scale != 1.0:
        out = out * found.scale
    if found.shift != 0.0:
        out = out + found.shift
    if found.per_month:
        if days is None or TIME not in da.dims:
            raise SourceError(
                f"{found.variable!r} is a total of a month, but has no dimension 'time' that says "
                "how many days that month has."
            )
        out = out / days.astype(out.dtype)
    # in order again where latitudes were turned around; nothing is copied otherwise
    data = np.asarray(out.data, order="C") if isinstance(out.data, np.ndarray) else out.data
    # arithmetic may carry the old attributes along; packing of the old values must not survive
    plain = xr.Variable(out.dims, data, _attrs(da, found, row))
    return xr.DataArray(plain, out.coords, name=row.name)


def _attrs(da: xr.DataArray, found: Match, row: Variable) -> dict[str, object]:
    """GRIB keys go: they describe the old values, and would be read as such next time."""
    keep = {k: v for k, v in da.attrs.items() if k in ("cell_methods", "comment", "grid_mapping")}
    text = found.text
    if found.linear.per_month:
        text = "total of the month / days of the month"
    elif found.linear.factor != 1 or found.linear.offset != 0:
        text += f"; units {found.units_in} to {row.units}"
    return {
        **keep,
        **row.attrs,
        "source_variable": found.variable,
        "source_units": found.units_in,
        "source_rule": text,
    }


def without_time(da: xr.DataArray) -> xr.DataArray:
    """A static field that a file repeats at every time, once; one that changes is kept.

    Lazy data are taken at their word: the largest value is that of all times.
    """
    if TIME not in da.dims:
        return da
    most = da.max(TIME, keep_attrs=True)
    if da.chunks is None and float((most - da.min(TIME)).max()) > 1e-3 * float(abs(most).max()):
        return da
    return most


def stack_layers(parts: list[tuple[tuple[float, float], xr.DataArray]]) -> xr.DataArray:
    """One array with ``layer`` from one array a layer, from the surface down."""
    parts = sorted(parts, key=lambda part: part[0])
    arrays = [da.drop_vars([c for c in da.coords if c not in da.dims]) for _, da in parts]
    joined = xr.concat(arrays, dim=LAYER, coords="minimal", compat="override", join="exact")
    first = parts[0][1]
    joined.attrs = dict(first.attrs)
    for key in ("source_variable", "source_rule"):
        joined.attrs[key] = _unique([str(da.attrs[key]) for _, da in parts])
    dims: list[Hashable] = list(first.dims)
    at = dims.index(TIME) + 1 if TIME in dims else 0
    joined = joined.transpose(*dims[:at], LAYER, *dims[at:])
    coords = layer_coords_from_bounds(np.array([bounds for bounds, _ in parts]))
    return joined.assign_coords({k: v for k, v in coords.items() if BOUNDS not in v.dims})


def _unique(texts: list[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
