"""The time axis of a source becomes the first of each month; day counts stay the source's."""

from __future__ import annotations

import cftime
import numpy as np
import xarray as xr

from .._checks import check_monthly, month_index
from ..errors import SourceError, TimeAxisError
from ..schema import TIME

#: Names of the time dimension, in the order in which they are looked for.
TIME_NAMES = (TIME, "valid_time", "date", "forecast_reference_time", "t", "month_start")

_STEP = "standardize"


def find_time(ds: xr.Dataset) -> str | None:
    """Name of the time dimension of ``ds``, or None for static fields.

    Examples
    --------
    >>> find_time(xr.Dataset(coords={"valid_time": [0, 1]}))
    'valid_time'
    """
    return next((name for name in TIME_NAMES if name in ds.dims), None)


def to_dates(time: xr.DataArray) -> xr.DataArray:
    """Decode an integer ``YYYYMMDD`` or an undecoded "days since" axis; dates pass."""
    if np.issubdtype(time.dtype, np.datetime64) or time.dtype == object:
        return time
    if "since" in str(time.attrs.get("units", "")):
        decoded = xr.decode_cf(xr.Dataset(coords={TIME: (TIME, time.values, time.attrs)}))
        return decoded[TIME]
    values = np.asarray(time.values)
    if np.issubdtype(values.dtype, np.integer) and _are_stamps(values):
        days = [f"{v // 10000:04d}-{v // 100 % 100:02d}-{v % 100:02d}" for v in values.tolist()]
        return xr.DataArray(np.array(days, dtype="datetime64[ns]"), dims=TIME, name=TIME)
    raise TimeAxisError(
        f"{_STEP} needs dates on {str(time.name)!r}; found {time.dtype} such as "
        f"{values.ravel()[:1].tolist()}, neither YYYYMMDD nor 'days since ...'. "
        "Type ds = xr.decode_cf(ds), or assign dates."
    )


def _are_stamps(values: np.ndarray) -> bool:
    month, day = values // 100 % 100, values % 100
    return bool(
        np.all((values > 10000000) & (values < 99991232))
        and np.all((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31))
    )


def days_in_month(months: np.ndarray, calendar: str) -> np.ndarray:
    """Days of each month, in the calendar of the source.

    Parameters
    ----------
    months : ndarray of int, shape (time,)
        ``year * 12 + month - 1``.
    calendar : str
        CF name of the calendar.

    Examples
    --------
    >>> days_in_month(np.array([2000 * 12 + 1]), "noleap").tolist()
    [28.0]
    >>> days_in_month(np.array([2000 * 12 + 1]), "360_day").tolist()
    [30.0]
    """
    days = [
        cftime.datetime(int(m) // 12, int(m) % 12 + 1, 1, calendar=calendar).daysinmonth
        for m in months
    ]
    return np.asarray(days, dtype="float64")


def first_of_month(months: np.ndarray) -> np.ndarray:
    """datetime64[ns] of the first day of each month."""
    years = months // 12
    if years.size and (years.min() < 1678 or years.max() > 2261):
        raise TimeAxisError(
            f"{_STEP} needs years 1678 to 2261 (datetime64[ns]); found {years.min()} to "
            f"{years.max()}. Shift a control run first: ds.assign_coords(time=...)."
        )
    return (months - 1970 * 12).astype("datetime64[M]").astype("datetime64[ns]")


def standard_time(
    ds: xr.Dataset, *, accumulated: list[str]
) -> tuple[xr.Dataset, xr.DataArray | None, bool]:
    """Rename and normalise the time axis.

    Returns
    -------
    ds : Dataset
        With ``time`` as first of the month, datetime64[ns]; without time bounds.
    days : DataArray or None
        Days of each month in the source's calendar, along ``time``; None for static fields.
    changed : bool
    """
    name = find_time(ds)
    if name is None:
        return ds, None, False
    if name not in ds.coords:
        raise TimeAxisError(
            f"{_STEP} needs dates on the dimension {name!r}; it has no coordinate. "
            f"Type ds.assign_coords({name}=pd.date_range(...))."
        )
    raw = ds[name]
    bounds_name = raw.attrs.get("bounds", raw.encoding.get("bounds"))
    changed = name != TIME
    if changed:
        ds = ds.drop_vars(TIME, errors="ignore").rename({name: TIME})
    dates = to_dates(ds[TIME])
    stamps = _midpoints(ds, dates, bounds_name)
    _refuse_short_steps(stamps, accumulated)
    check_monthly(xr.Dataset(coords={TIME: (TIME, stamps.values)}), step=_STEP)
    months = month_index(stamps)
    calendar = str(raw.attrs.get("source_calendar", dates.dt.calendar))
    days = xr.DataArray(days_in_month(months, calendar), dims=TIME)
    monthly = first_of_month(months)
    # A bounds variable would keep the stamps and the calendar of the source.
    drop = [str(bounds_name)] if bounds_name in ds.variables else []
    drop += [n for n in ("time_bnds", "time_bounds") if n in ds.variables and n not in drop]
    same = raw.dtype.kind == "M" and np.array_equal(raw.values, monthly)
    if same and not drop:
        if raw.dtype != monthly.dtype:  # another unit of the same dates: nothing to tell
            ds = ds.assign_coords({TIME: (TIME, monthly, raw.attrs)})
        return ds, days, changed
    attrs = {"standard_name": "time", "long_name": "month (first day)", "axis": "T"}
    attrs["source_calendar"] = calendar
    ds = ds.drop_vars(drop).assign_coords({TIME: (TIME, monthly, attrs)})
    return ds, days, True


def _midpoints(ds: xr.Dataset, dates: xr.DataArray, bounds_name: object) -> xr.DataArray:
    """Middle of the time bounds where there are any: some files stamp the end of the month."""
    if bounds_name not in ds.variables:
        return dates
    bounds = ds[bounds_name]
    if TIME not in bounds.dims or bounds.ndim != 2 or bounds.dtype.kind not in "MO":
        return dates
    other = next(dim for dim in bounds.dims if dim != TIME)
    edges = bounds.transpose(TIME, other).values
    middle = edges[:, 0] + (edges[:, 1] - edges[:, 0]) / 2
    if bounds.dtype.kind == "M" and np.isnat(middle).any():
        return dates
    return xr.DataArray(middle, dims=TIME, name=TIME)


def _refuse_short_steps(stamps: xr.DataArray, accumulated: list[str]) -> None:
    """Hourly and daily accumulations: their meaning differs from product to product."""
    if stamps.size < 2 or not accumulated:
        return
    if np.median(np.diff(month_index(stamps))) > 0:
        return
    step = np.median(np.diff(stamps.values))
    raise SourceError(
        f"{_STEP} reads monthly data; the time step is {step} and {accumulated} are accumulated: "
        "ERA5-Land hourly values run on since 00 UTC, ERA5 hourly values are each hour's own, "
        "so no average is taken for you. Use the monthly means of the source, or turn them into "
        "monthly mean fluxes with canonical names and units first."
    )
