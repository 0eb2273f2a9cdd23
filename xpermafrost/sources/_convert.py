"""Values: factors, signs, packing negatives, physical range. Lazy stays lazy."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ..errors import SourceError
from ..schema import BOUNDS, LAYER, TIME, Variable, layer_coords_from_bounds, variable
from ._base import Match

#: Negatives up to this size (canonical units) are rounding of GRIB packing or regridding.
PACKING = {"pr": 1e-6, "prsn": 1e-6, "snd": 1e-3, "snw": 1.0, "snc": 0.1, "rsds": 0.5, "mrsol": 0.1}

#: In a year or more of real data the largest size is above the first number and the mean below
#: the second: a factor of 1000 or 86400 shows even where every value is in range. Wettest month
#: of the driest places > 5 mm; world's wettest place 12 m a year (WMO archive, Mawsynram).
PLAUSIBLE: dict[str, tuple[float, float]] = {
    "pr": (2e-6, 4e-4),
    "prsn": (0.0, 4e-4),
    "rsds": (5.0, 450.0),
    "hfls": (0.1, 400.0),
    "hfss": (0.1, 400.0),
}


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
    # arithmetic may carry the old attributes along; packing of the old values must not survive
    return out.drop_attrs(deep=False).assign_attrs(_attrs(da, found, row)).rename(row.name)


def _attrs(da: xr.DataArray, found: Match, row: Variable) -> dict[str, object]:
    """GRIB keys go: they describe the old values, and would be read as such next time."""
    keep = {k: v for k, v in da.attrs.items() if k in ("cell_methods", "comment", "grid_mapping")}
    text = found.rule.text if found.rule else ""
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


def guard(da: xr.DataArray, *, untouched: bool) -> tuple[xr.DataArray, bool]:
    """Check the physical range and set packing negatives to 0.

    In memory: at once, with a count in ``clipped_negative``. Lazy: block by block when
    computed, without a count; data that were canonical already are then checked, not clipped.

    Returns the array and whether values were changed.
    """
    row = variable(str(da.name))
    slack = PACKING.get(row.name, 0.0)
    if da.chunks is not None:
        out = xr.apply_ufunc(
            _guard_block,
            da,
            kwargs={"name": row.name, "clip": not untouched},
            dask="parallelized",
            output_dtypes=[da.dtype],
            keep_attrs=True,
        )
        if slack and not untouched:
            out.attrs["clipped_negative"] = f"down to {-slack:g} set to 0 when computed"
        return out, False
    values = np.asarray(da.values)
    _raise_out_of_range(values, row.name)
    _raise_implausible(da, row)
    negative = (values < row.valid_range[0]) if slack else np.zeros((), dtype=bool)
    count = int(negative.sum())
    if count == 0:
        return da, False
    smallest = float(values[negative].min())
    out = da.where(~xr.DataArray(negative, dims=da.dims), np.zeros((), da.dtype)).astype(da.dtype)
    out.attrs = {
        **da.attrs,
        "clipped_negative": f"{count} values, down to {smallest:.3g}, set to 0",
    }
    return out, True


def _guard_block(values: np.ndarray, *, name: str, clip: bool) -> np.ndarray:
    _raise_out_of_range(values, name)
    if clip and name in PACKING:
        return np.where(values < 0, np.zeros((), values.dtype), values)
    return values


def _raise_out_of_range(values: np.ndarray, name: str) -> None:
    finite = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        return
    row = variable(name)
    low, high = float(finite.min()), float(finite.max())
    if low >= row.valid_range[0] - PACKING.get(name, 0.0) and high <= row.valid_range[1]:
        return
    raise SourceError(
        f"{name!r} spans {low:.4g} to {high:.4g} {row.units} after conversion; a monthly mean lies "
        f"within {row.valid_range[0]:g} to {row.valid_range[1]:g}. Its units or its source are not "
        f"what they say, or fill values are left: correct attrs['units'], pass source=..., or "
        "mask the cells that are meant (glacier snow, for instance)."
    )


def _raise_implausible(da: xr.DataArray, row: Variable) -> None:
    """Only for a year or more of months: one month may be dry."""
    if row.name not in PLAUSIBLE or da.sizes.get(TIME, 0) < 12:
        return
    least, most = PLAUSIBLE[row.name]
    size = abs(da)
    largest, mean = float(size.max()), float(size.mean())
    if 0 < largest < least or mean > most:
        raise SourceError(
            f"{row.name!r} has mean size {mean:.3g} and largest size {largest:.3g} {row.units} in "
            f"{da.sizes[TIME]} months; plausible are a largest size above {least:g} and a mean "
            f"below {most:g}. The stored units or the accumulation period are not what the name "
            "says: correct attrs['units'], rename the variable, or pass source=..."
        )


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
