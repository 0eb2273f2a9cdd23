"""What GRIB and its converters leave in a Dataset: packing, lead times, versions, bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from .._checks import month_index, month_name
from ..errors import SourceError
from ..schema import TIME
from ._time import find_time, to_dates

# Scalars that say how a GRIB message was made, not where or when it is.
_SCALARS = ("step", "surface", "number", "valid_time", "depthBelowLandLayer", "expver")
_PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value")


@dataclass(frozen=True)
class Cleaned:
    """A Dataset without the traces of GRIB, and what is to be told about it."""

    ds: xr.Dataset
    notes: list[str] = field(default_factory=list)
    preliminary: tuple[str, ...] = ()


def clean(ds: xr.Dataset) -> Cleaned:
    """Unpack, join lead times and versions, drop bookkeeping, name the ensemble ``member``.

    ``preliminary`` are the months, ``"2024-05"``, with a value of ``expver`` 0005 (ERA5T). Lazy
    data of a legacy file with the dimension ``expver`` are joined and not looked into.
    """
    ds, notes = _unpack(ds)
    if "step" in ds.dims and ds.sizes["step"] > 1:
        ds = _join_steps(ds)
    early, told = _preliminary(ds)
    notes += told
    if "expver" in ds.dims:
        ds = _join_expver(ds)
        notes.append("expver 0001 preferred to 0005")
    for name in ("step", "number"):
        if name in ds.dims and ds.sizes[name] == 1:
            ds = ds.squeeze(name, drop=True)
    if "number" in ds.dims:
        ds = ds.rename(number="member")
    drop = [n for n in _SCALARS if n in ds.coords and n not in ds.dims]
    # an `expver` that was written as a variable is no quantity; `valid_time` repeats `time`
    drop += [n for n in ("expver",) if n in ds.data_vars]
    return Cleaned(ds.drop_vars(drop), notes, early)


def _unpack(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Decode integers whose packing still stands in the attributes."""
    packed = [n for n, da in ds.data_vars.items() if any(key in da.attrs for key in _PACKING)]
    for name in packed:
        scaled = [key for key in ("scale_factor", "add_offset") if key in ds[name].attrs]
        if scaled and ds[name].dtype.kind == "f":
            raise SourceError(
                f"{str(name)!r} has {scaled} in its attributes and values that are no integers: "
                "whether they are unpacked already is not known. If they are, type "
                f"del ds[{str(name)!r}].attrs[...] for each; else open the file again with "
                "xr.open_dataset(path), which unpacks."
            )
    if not packed:
        return ds, []
    bare = ds[packed].drop_vars(list(ds.coords))
    decoded = xr.decode_cf(bare, decode_times=False, decode_coords=False)
    return ds.assign({n: decoded[n] for n in packed}), [f"unpacked: {', '.join(map(str, packed))}"]


def _join_steps(ds: xr.Dataset) -> xr.Dataset:
    """Base time and lead time become the time for which a value holds."""
    if TIME not in ds.coords or ds[TIME].dtype.kind != "M" or ds["step"].dtype.kind != "m":
        raise SourceError(
            "the dimension 'step' says forecasts; standardize joins it with base times 'time' in "
            "datetime64 and lead times in timedelta64. Decode them: xr.decode_cf(ds)."
        )
    if TIME not in ds.dims:
        ds = ds.expand_dims(TIME)
    mixed = [n for n, da in ds.data_vars.items() if (TIME in da.dims) != ("step" in da.dims)]
    if mixed:
        raise SourceError(
            f"{mixed} have no dimension 'step' and others have: fields of several step types in "
            "one Dataset. Standardize them apart: ds.drop_vars(...)."
        )
    valid = (ds[TIME].values[:, None] + ds["step"].values[None, :]).ravel()
    ds = ds.drop_vars([n for n in ("valid_time",) if n in ds.variables])
    flat = ds.stack({"valid": (TIME, "step")}, create_index=False)
    flat = flat.drop_vars([n for n in (TIME, "step") if n in flat.variables])
    flat = flat.rename(valid=TIME).assign_coords({TIME: valid})
    first = np.unique(valid, return_index=True)[1]
    if not np.array_equal(first, np.arange(valid.size)):
        flat = flat.isel({TIME: first})
    return _without_empty_ends(flat)


def _without_empty_ends(ds: xr.Dataset) -> xr.Dataset:
    """cfgrib fills the table of base and lead times: its corners hold nothing."""
    if any(da.chunks is not None for da in ds.values()):
        return ds
    count = ds.sizes[TIME]
    start = next((k for k in range(count) if _holds(ds, k)), 0)
    stop = next((k for k in range(count, start, -1) if _holds(ds, k - 1)), count)
    return ds.isel({TIME: slice(start, stop)})


def _holds(ds: xr.Dataset, at: int) -> bool:
    return any(bool(da.isel({TIME: at}).notnull().any()) for da in ds.values() if TIME in da.dims)


def _preliminary(ds: xr.Dataset) -> tuple[tuple[str, ...], list[str]]:
    """Months with values of ERA5T: ``expver`` 0005, or beyond the end that ARCO-ERA5 declares."""
    name = find_time(ds)
    if name is None or name not in ds.coords:
        return (), []
    if "expver" in ds.dims:
        early = _early_half(ds, name)
        if early is None:
            return (), ["which months are preliminary is not known: the data are lazy"]
    elif "expver" in ds.variables and ds["expver"].dims == (name,):
        early = _is_early(ds["expver"].values)
    elif "valid_time_stop_era5t" in ds.attrs and ds[name].dtype.kind == "M":
        final = np.datetime64(str(ds.attrs.get("valid_time_stop", "2262-01-01"))[:10])
        early = ds[name].values >= final + np.timedelta64(1, "D")
    else:
        return (), []
    if not early.any():
        return (), []
    stamps = to_dates(ds[name].rename({name: TIME}) if name != TIME else ds[name])
    return tuple(month_name(int(m)) for m in np.unique(month_index(stamps)[early])), []


def _is_early(labels: np.ndarray) -> np.ndarray:
    return np.array([str(label).strip().lstrip("0") == "5" for label in labels.tolist()])


def _early_half(ds: xr.Dataset, name: str) -> np.ndarray | None:
    """Stamps at which a variable has values under 0005 only; None if that needs computing."""
    fields = [da for da in ds.data_vars.values() if {"expver", name} <= set(da.dims)]
    if any(da.chunks is not None for da in fields):
        return None
    label = _is_early(ds["expver"].values)
    found = np.zeros(ds.sizes[name], dtype=bool)
    for da in fields if label.any() and not label.all() else []:
        others = [dim for dim in da.dims if dim != name]
        final = da.isel(expver=~label).notnull().any(others).values
        early = da.isel(expver=label).notnull().any(others).values
        found |= early & ~final
    return found


def _join_expver(ds: xr.Dataset) -> xr.Dataset:
    labels = [str(value).strip().lstrip("0") for value in ds["expver"].values.tolist()]
    order = sorted(range(len(labels)), key=lambda i: labels[i])
    parts = [ds.isel(expver=i, drop=True) for i in order]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.map(
            lambda da, other=part: (
                da.where(da.notnull(), other[da.name]) if "expver" in ds[da.name].dims else da
            ),
            keep_attrs=True,
        )
    return joined
