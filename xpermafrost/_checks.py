"""Checks at the public boundaries. Each raises with what was needed, found, and what to type."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from .errors import (
    DimensionError,
    MissingVariableError,
    TimeAxisError,
    UnitsError,
    unknown_name,
)
from .schema import TIME, variable


def require_variables(ds: xr.Dataset, names: Iterable[str], *, step: str) -> None:
    """Raise unless every name is a variable of ``ds``."""
    missing = [name for name in names if name not in ds.variables]
    if missing:
        have = [str(name) for name in ds.data_vars]
        hints = [str(unknown_name("variable", name, have)) for name in missing[:1] if have]
        raise MissingVariableError(
            f"{step} needs the variables {missing}; the Dataset has {have}. "
            "If your names differ, call ds.permafrost.standardize() first. " + " ".join(hints)
        )


def require_dims(obj: xr.DataArray | xr.Dataset, dims: Sequence[Hashable], *, step: str) -> None:
    """Raise unless every dim is a dimension of ``obj``."""
    missing = [dim for dim in dims if dim not in obj.dims]
    if missing:
        name = f"{obj.name!r}" if isinstance(obj, xr.DataArray) else "the Dataset"
        raise DimensionError(f"{step} needs dims {tuple(dims)}; {name} has {tuple(obj.dims)}.")


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is known, else raise with the close matches."""
    names = list(known)
    if name not in names:
        raise unknown_name(kind, name, names)
    return name


def same_units(first: str, second: str) -> bool:
    """Whether two unit strings mean the same, including the zero point.

    pint is imported only where the strings differ.

    Examples
    --------
    >>> same_units("W m**-2", "W m-2"), same_units("degC", "K")
    (True, False)
    """
    if first == second:
        return True
    from cf_xarray.units import units as registry

    try:
        one, two = registry.Quantity(1.0, first), registry.Quantity(1.0, second)
        if not one.is_compatible_with(two):
            return False
        return bool(np.isclose(one.to_base_units().magnitude, two.to_base_units().magnitude))
    except Exception:  # pint raises a dozen kinds for unreadable units
        return False


def check_units(da: xr.DataArray, name: str | None = None) -> None:
    """Raise unless ``da`` carries the canonical units of its row in the variable table.

    Parameters
    ----------
    da : DataArray
    name : str, optional
        Canonical name, if it is not ``da.name``.
    """
    row = variable(name or str(da.name))
    found = da.attrs.get("units")
    if found is None:
        raise UnitsError(
            f"{row.name!r} has no units; needed {row.units!r}. Set them if you know them: "
            f"ds[{row.name!r}].attrs['units'] = {row.units!r}"
        )
    if not same_units(str(found), row.units):
        raise UnitsError(
            f"{row.name!r} has units {found!r}; needed {row.units!r}. "
            "Convert it with ds.permafrost.standardize()."
        )


def check_range(da: xr.DataArray, name: str | None = None) -> None:
    """Raise if values lie outside the physical range of the variable table. Computes once."""
    row = variable(name or str(da.name))
    low, high = row.valid_range
    found_low, found_high = _extrema(da)
    if found_low < low or found_high > high:
        raise UnitsError(
            f"{row.name!r} spans {found_low:.4g} to {found_high:.4g} {da.attrs.get('units', '?')}; "
            f"{row.units!r} for this variable means {low:g} to {high:g}. "
            "The units attribute does not fit the values: correct it before going on."
        )


def _extrema(da: xr.DataArray) -> tuple[float, float]:
    both = xr.Dataset({"low": da.min(), "high": da.max()}).compute()
    return float(both["low"]), float(both["high"])


XarrayObject = TypeVar("XarrayObject", xr.DataArray, xr.Dataset)


def marks_of(obj: xr.DataArray | xr.Dataset) -> dict[str, str]:
    """What must stay with everything made of these data: that they are simulated.

    Examples
    --------
    >>> import xarray as xr
    >>> marks_of(xr.Dataset(attrs={"title": "test", "simulated": "yes"}))
    {'simulated': 'yes'}
    """
    return {"simulated": str(obj.attrs["simulated"])} if "simulated" in obj.attrs else {}


def without_attrs(obj: XarrayObject) -> XarrayObject:
    """``obj`` without attributes, those of coordinates too. Nothing is copied but labels.

    ``drop_attrs`` of xarray copies the values.

    Examples
    --------
    >>> import xarray as xr
    >>> da = xr.DataArray([1.0], {"x": ("x", [0], {"units": "m"})}, attrs={"units": "K"})
    >>> without_attrs(da).attrs, without_attrs(da)["x"].attrs, da["x"].attrs
    ({}, {}, {'units': 'm'})
    """
    out = obj.copy(deep=False)
    out.attrs = {}
    for name in out.variables if isinstance(out, xr.Dataset) else out.coords:
        out[name].attrs = {}
    return out


#: Days in the year of the calendars in which all years are of the same length.
EQUAL_YEARS = {"360_day": 360, "noleap": 365, "365_day": 365, "all_leap": 366, "366_day": 366}


def month_index(time: xr.DataArray) -> np.ndarray:
    """Months since year 0 of every stamp, ``year * 12 + month - 1``: the join key of monthly data.

    Works for datetime64 and for every cftime calendar.
    """
    if not (np.issubdtype(time.dtype, np.datetime64) or time.dtype == object):
        raise TimeAxisError(
            f"'time' must hold dates; found {time.dtype}. Decode it: xr.decode_cf(ds)."
        )
    return (time.dt.year * 12 + time.dt.month - 1).values.astype("int64")


def month_name(index: int) -> str:
    """``"2001-03"`` for a month index."""
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


def check_monthly(obj: xr.DataArray | xr.Dataset, *, step: str) -> None:
    """Raise unless ``time`` holds each month of its span exactly once, in order."""
    require_dims(obj, (TIME,), step=step)
    months = month_index(obj[TIME])
    if months.size < 2:
        return
    jumps = np.diff(months)
    if np.all(jumps == 1):
        return
    days = np.diff(obj[TIME].values)
    if np.median(jumps) == 0:
        raise TimeAxisError(
            f"{step} needs monthly data; the median time step is {pd.Timedelta(np.median(days))}. "
            "Average it first: ds.resample(time='MS').mean(), or fit a model of days: step='day'."
        )
    if np.median(jumps) > 1:
        raise TimeAxisError(
            f"{step} needs monthly data; the median time step is {int(np.median(jumps))} months."
        )
    at = int(np.argmax(jumps != 1))
    if jumps[at] == 0:
        problem, cure = f"{month_name(int(months[at]))} twice", "ds.drop_duplicates('time')"
    elif jumps[at] < 0:
        problem = f"{month_name(int(months[at + 1]))} after {month_name(int(months[at]))}"
        cure = "ds.sortby('time')"
    else:
        problem = f"no {month_name(int(months[at]) + 1)}"
        cure = "ds.resample(time='MS').asfreq() (the gap then holds NaN)"
    raise TimeAxisError(f"{step} needs each month once, in order; found {problem}. Type {cure}.")


def day_index(time: xr.DataArray) -> np.ndarray:
    """Number of the day of every stamp: the join key of daily data, of any calendar."""
    if np.issubdtype(time.dtype, np.datetime64):
        return time.values.astype("datetime64[D]").astype("int64")
    calendar = time.dt.calendar
    if calendar in EQUAL_YEARS:  # the general way below takes forty times longer
        days = (time.dt.year - 1) * EQUAL_YEARS[calendar] + time.dt.dayofyear - 1
        return days.values.astype("int64")
    import cftime

    numbers = cftime.date2num(time.values, "days since 0001-01-01", calendar=calendar)
    return np.floor(np.asarray(numbers, dtype="float64")).astype("int64")


def check_daily(obj: xr.DataArray | xr.Dataset, *, step: str) -> None:
    """Raise unless ``time`` holds each day of its span exactly once, in order."""
    require_dims(obj, (TIME,), step=step)
    months, time = month_index(obj[TIME]), obj[TIME]
    jumps = np.diff(day_index(time))
    if np.all(jumps == 1):
        return
    if np.median(np.abs(np.diff(months))) >= 1:
        raise TimeAxisError(
            f"{step} needs daily data; the median time step is "
            f"{int(np.median(np.abs(np.diff(months))))} months. Days are not made of months: take "
            "the daily source, ds.permafrost.standardize(step='day'), or a model of months: "
            "step='month'."
        )
    if np.median(jumps) > 1:
        raise TimeAxisError(
            f"{step} needs daily data; the median time step is {int(np.median(jumps))} days."
        )
    at = int(np.argmax(jumps < 0 if np.any(jumps < 0) else jumps != 1))
    one, two = (str(time.values[k])[:10] for k in (at, at + 1))
    if np.median(jumps) < 1:
        problem, cure = "shorter steps", "ds.resample(time='D').mean()"
    elif jumps[at] == 0:
        problem, cure = f"{one} twice", "ds.drop_duplicates('time')"
    elif jumps[at] < 0:
        problem, cure = f"{two} after {one}", "ds.sortby('time')"
    else:
        problem = f"nothing between {one} and {two}"
        cure = "ds.resample(time='D').asfreq() (the gap then holds NaN)"
    raise TimeAxisError(f"{step} needs each day once, in order; found {problem}. Type {cure}.")


def check_steps(obj: xr.DataArray | xr.Dataset, every: str, *, step: str) -> None:
    """Raise unless ``time`` holds each ``every`` (month or day) of its span once, in order."""
    (check_daily if every == "day" else check_monthly)(obj, step=step)


def step_index(time: xr.DataArray, every: str) -> np.ndarray:
    """Number of the month or day of every stamp."""
    return day_index(time) if every == "day" else month_index(time)


def step_name(stamp: object, every: str) -> str:
    """``"2001-03"`` of a stamp of monthly data, ``"2001-03-17"`` of daily data."""
    return str(stamp)[: 10 if every == "day" else 7]


def check_whole(obj: xr.DataArray | xr.Dataset, dim: str, *, step: str) -> None:
    """Raise if ``dim`` is split over several dask chunks."""
    chunks = dict(obj.chunksizes).get(dim, ())
    if len(chunks) > 1:
        raise DimensionError(
            f"{step} needs {dim!r} in one chunk; found {len(chunks)}. Type ds.chunk({dim}=-1)."
        )
