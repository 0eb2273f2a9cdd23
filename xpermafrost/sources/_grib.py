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
#: ``expver`` of final and of preliminary (ERA5T) data.
FINAL, EARLY = "0001", "0005"
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
    else:
        ds = _at_valid_time(ds)
    if "expver" in ds.dims:
        notes.append("expver 0001 preferred to 0005")
        ds = expver_along_time(ds)
        if "expver" not in ds.coords:
            notes.append("which months are preliminary is not known: the data are lazy")
    early = _preliminary(ds)
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


def _at_valid_time(ds: xr.Dataset) -> xr.Dataset:
    """A value of one lead time holds when the forecast has run so far, not when it began.

    Monthly means of accumulations begin at 18 UTC of the last day of the month before.
    """
    known = TIME in ds.coords and "step" in ds.coords
    if not known or ds[TIME].dtype.kind != "M" or ds["step"].dtype.kind != "m":
        return ds
    lead = ds["step"].values.ravel()[0]
    if np.isnat(lead) or lead == np.timedelta64(0):
        return ds
    return ds.assign_coords({TIME: ds[TIME] + lead})


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


def _preliminary(ds: xr.Dataset) -> tuple[str, ...]:
    """Months with values of ERA5T: ``expver`` 0005, or beyond the end that ARCO-ERA5 declares."""
    name = find_time(ds)
    if name is None or name not in ds.coords:
        return ()
    if "expver" in ds.variables and ds["expver"].dims in ((name,), ()):
        labels = np.broadcast_to(ds["expver"].values, ds.sizes[name])
        early = np.array([version(label) == EARLY for label in labels.tolist()])
    elif "valid_time_stop_era5t" in ds.attrs and ds[name].dtype.kind == "M":
        final = np.datetime64(str(ds.attrs.get("valid_time_stop", "2262-01-01"))[:10])
        early = ds[name].values >= final + np.timedelta64(1, "D")
    else:
        return ()
    stamps = to_dates(ds[name].rename({name: TIME}) if name != TIME else ds[name])
    return tuple(month_name(int(m)) for m in np.unique(month_index(stamps)[early]))


def version(label: object) -> str:
    """``"0001"`` or ``"0005"`` of an ``expver`` in any spelling; what has none is final.

    Examples
    --------
    >>> version("0005"), version(5), version(1.0), version(b"0005"), version(float("nan"))
    ('0005', '0005', '0001', '0005', '0001')
    """
    text = (label.decode() if isinstance(label, bytes) else str(label)).strip()
    return FINAL if text in ("", "nan") else text.removesuffix(".0").zfill(4)


def expver_along_time(ds: xr.Dataset) -> xr.Dataset:
    """The legacy layout (a half for 0001, a half for 0005) as the new one: a label for each time.

    The label is 0005 where a variable has values under 0005 only. Lazy data are joined and not
    looked into: they get no label.
    """
    labels = [version(label) for label in ds["expver"].values.tolist()]
    halves = {labels[i]: ds.isel(expver=int(i), drop=True) for i in np.argsort(labels)}
    named = [name for name, da in ds.data_vars.items() if "expver" in da.dims]
    time, (joined, *others) = find_time(ds), halves.values()
    for other in others:
        filled = {n: joined[n].where(joined[n].notnull(), other[n]) for n in named}
        joined = joined.assign({n: da.assign_attrs(ds[n].attrs) for n, da in filled.items()})
    if time is None or any(ds[n].chunks is not None for n in named):
        return joined
    worst = np.full(ds.sizes[time], FINAL)
    for name in (n for n in named if time in ds[n].dims):
        own = np.full(ds.sizes[time], FINAL)
        for label, half in reversed(halves.items()):  # the final one has the last word
            held = half[name].notnull().any([dim for dim in half[name].dims if dim != time])
            own = np.where(held, label, own)
        worst = np.where(own > worst, own, worst)
    return joined.assign_coords(expver=(time, worst))
