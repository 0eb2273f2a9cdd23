"""The time axis of a source: its stamps, calendar and step; day counts stay the source's."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cftime
import numpy as np
import pandas as pd
import xarray as xr

from .._checks import check_monthly, month_index
from ..errors import SourceError, TimeAxisError
from ..schema import TIME

#: Minutes of a day.
DAY = 1440

#: Names of the time dimension, in the order in which they are looked for.
TIME_NAMES = (TIME, "valid_time", "date", "forecast_reference_time", "t", "month_start")

_STEP = "standardize"

# The calendar of such an axis counts months and no days ("360" in IRI's files).
_MONTHS_SINCE = re.compile(r"months? since (?P<year>\d{4})-(?P<month>\d{1,2})(-0?1)?\b(?!-)")


def find_time(ds: xr.Dataset) -> str | None:
    """Name of the time dimension of ``ds``, or None for static fields.

    Examples
    --------
    >>> find_time(xr.Dataset(coords={"valid_time": [0, 1]}))
    'valid_time'
    """
    named = next((name for name in TIME_NAMES if name in ds.dims), None)
    if named is not None:
        return named
    return next((str(dim) for dim in ds.dims if dim in ds.coords and _holds_dates(ds[dim])), None)


def _holds_dates(coord: xr.DataArray) -> bool:
    """Whether a coordinate under any name is one of time, by its values or CF attributes."""
    if coord.dtype.kind == "M" or coord.attrs.get("standard_name") == TIME:
        return True
    if coord.dtype == object:
        return bool(coord.size) and isinstance(coord.values.ravel()[0], cftime.datetime)
    return coord.attrs.get("axis") == "T" or " since " in str(coord.attrs.get("units", ""))


def to_dates(time: xr.DataArray) -> xr.DataArray:
    """Decode ``YYYYMMDD`` or an undecoded "days since" or "months since" axis; dates pass."""
    if np.issubdtype(time.dtype, np.datetime64) or time.dtype == object:
        return time
    units, values = str(time.attrs.get("units", "")), np.asarray(time.values)
    months = _MONTHS_SINCE.match(units)
    if months:
        # whole months of the calendar; 0.5 is the middle of one
        first = int(months["year"]) * 12 + int(months["month"]) - 1
        stamps = first_of_month(first + np.floor(values).astype("int64"))
        return xr.DataArray(stamps, dims=TIME, name=TIME)
    if "since" in units:
        try:
            return xr.decode_cf(xr.Dataset(coords={TIME: (TIME, values, time.attrs)}))[TIME]
        except (ValueError, OverflowError) as error:
            raise TimeAxisError(
                f"{_STEP} cannot decode {str(time.name)!r} in {units!r}: {error}. Assign dates: "
                "ds.assign_coords(time=pd.date_range(...))."
            ) from error
    # float32 cannot hold eight digits
    if values.dtype.kind in "iu" or values.dtype == np.float64:
        days = np.floor(values)
        if _are_stamps(days):
            texts = [f"{v // 10000:04d}-{v // 100 % 100:02d}-{v % 100:02d}"
                     for v in days.astype("int64").tolist()]  # fmt: skip
            minutes = np.round((values - days) * DAY).astype("timedelta64[m]")
            stamps = np.array(texts, dtype="datetime64[ns]") + minutes
            return xr.DataArray(stamps, dims=TIME, name=TIME)
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
            f"{years.max()}. Leave later years or their files out, "
            "ds.sel(time=slice(None, '2261')); shift a control run: ds.assign_coords(time=...)."
        )
    return (months - 1970 * 12).astype("datetime64[M]").astype("datetime64[ns]")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The time axis of a source.

    Attributes
    ----------
    name : str
        Dimension in the source.
    dates : DataArray
        Its stamps, decoded.
    middles : DataArray
        The middle of the time bounds where there are any, else the stamps.
    calendar : str
        CF name of the calendar.
    step : {"month", "day", "hour"}
        Time step; several hours (3, 6, ...) are "hour".
    minutes : int
        The step of hourly data [min].
    bounds : tuple of str
        Variables that hold time bounds.
    """

    name: str
    dates: xr.DataArray
    middles: xr.DataArray
    calendar: str
    step: str
    minutes: int
    bounds: tuple[str, ...]


def read_axis(ds: xr.Dataset) -> Axis | None:
    """The time axis of ``ds``; None for static fields.

    Raises
    ------
    TimeAxisError
        If there are no dates, if calendars are mixed, or if the steps are none of a month,
        a day, or hours that divide a day.
    SourceError
        For monthly means by hour of day.
    """
    name = find_time(ds)
    if name is None:
        return None
    if name not in ds.coords:
        raise TimeAxisError(
            f"{_STEP} needs dates on the dimension {name!r}; it has no coordinate. "
            f"Type ds.assign_coords({name}=pd.date_range(...))."
        )
    if ds.sizes[name] == 0:
        raise TimeAxisError(f"{name!r} holds no time step: the selection or the file is empty.")
    raw = ds[name]
    said = raw.attrs.get("bounds", raw.encoding.get("bounds"))
    known = dict.fromkeys((str(said), "time_bnds", "time_bounds"))
    bounds = tuple(n for n in known if n in ds.variables)
    dates = to_dates(raw.rename({name: TIME}) if name != TIME else raw)
    calendar = _one_calendar(dates, str(raw.attrs.get("source_calendar", "")))
    edges = _edges(ds, name, dates, str(said))
    middles = dates if edges is None else _middles(edges)
    step, minutes = _step_of(middles, calendar, edges)
    if step == "hour":
        _refuse_hours_of_day(ds, middles)
    return Axis(
        name=name,
        dates=dates,
        middles=middles,
        calendar=calendar,
        step=step,
        minutes=minutes,
        bounds=bounds,
    )


def _one_calendar(dates: xr.DataArray, source: str) -> str:
    """Name of the calendar of all stamps; ``source``: that of the canonical Dataset's source."""
    if dates.dtype != object:
        if np.isnat(dates.values).any():
            raise TimeAxisError(
                f"{_STEP} needs a date at every step; {int(np.isnat(dates.values).sum())} are "
                "missing. Type ds.isel(time=ds['time'].notnull().values)."
            )
        return source or str(dates.dt.calendar)
    found = sorted({str(getattr(date, "calendar", type(date))) for date in dates.values.ravel()})
    if len(found) > 1:
        raise TimeAxisError(
            f"{_STEP} needs one calendar; 'time' mixes {found}. Open the files one by one and "
            "bring them to one calendar, ds.convert_calendar('standard'), or take monthly means "
            "of each before joining them."
        )
    return str(dates.dt.calendar)


def minutes_of(stamps: xr.DataArray, calendar: str) -> np.ndarray:
    """Whole minutes since 1970-01-01 00:00 of every stamp, in its own calendar.

    Examples
    --------
    >>> days = xr.date_range("1972-02-28", periods=2, calendar="noleap", use_cftime=True)
    >>> np.diff(minutes_of(xr.DataArray(days, dims="time"), "noleap")).tolist()
    [1440]
    """
    if stamps.dtype != object:
        return stamps.values.astype("datetime64[m]").astype("int64")
    found = cftime.date2num(stamps.values, "minutes since 1970-01-01 00:00:00", calendar=calendar)
    return np.floor(np.asarray(found, dtype="float64")).astype("int64")


def _step_of(stamps: xr.DataArray, calendar: str, edges: np.ndarray | None) -> tuple[str, int]:
    """Step of the axis: the usual distance of its stamps.

    A single stamp stands for its time bounds; without any, for a month.
    """
    marks = stamps
    if stamps.size < 2:
        if edges is None or edges[0, 0] == edges[0, 1]:
            return "month", 0
        marks = xr.DataArray(edges[0], dims=TIME, name=TIME)
    distances = np.diff(minutes_of(marks, calendar))
    minutes = int(np.median(distances))
    if minutes >= 27 * DAY or (minutes > 20 * DAY and np.median(np.diff(month_index(marks))) > 0):
        return "month", 0
    if minutes == DAY or np.all(distances == 0):
        return "day", DAY
    if 0 < minutes < DAY and DAY % minutes == 0:
        return "hour", minutes
    if minutes < 0:
        raise TimeAxisError(f"{_STEP} needs dates in order. Type ds.sortby({str(stamps.name)!r}).")
    raise TimeAxisError(
        f"{_STEP} reads monthly, daily and hourly data; the usual time step is "
        f"{pd.Timedelta(minutes=minutes)}. Average it to months first."
    )


def _refuse_hours_of_day(ds: xr.Dataset, stamps: xr.DataArray) -> None:
    """Several hours of the first day of each month: 'monthly averaged by hour of day'."""
    firsts = bool((stamps.dt.day == 1).all())
    monthly = any(str(da.attrs.get("GRIB_stepType", "")).startswith("avg") for da in ds.values())
    if firsts and (monthly or np.unique(month_index(stamps)).size > 1):
        raise SourceError(
            "the stamps are hours of the first day of each month: 'monthly averaged reanalysis by "
            "hour of day' of the Climate Data Store, whose accumulations run to that hour and are "
            "no daily totals. Download 'monthly_averaged_reanalysis'."
        )


def check_order(stamps: np.ndarray, step: str, name: str) -> None:
    """Raise unless stamps [min] of the dimension ``name`` ascend, each once."""
    jumps = np.diff(stamps)
    if np.all(jumps > 0):
        return
    at = int(np.argmax(jumps <= 0))
    date = pd.Timestamp(int(stamps[at + 1]), unit="m")
    if jumps[at] == 0:
        problem, cure = f"{date} twice", f"ds.drop_duplicates({name!r})"
    else:
        problem, cure = (
            f"{date} after {pd.Timestamp(int(stamps[at]), unit='m')}",
            f"ds.sortby({name!r})",
        )
    raise TimeAxisError(f"{_STEP} needs each {step} once, in order; found {problem}. Type {cure}.")


def to_months(ds: xr.Dataset, axis: Axis) -> tuple[xr.Dataset, xr.DataArray, bool]:
    """Monthly data with ``time`` as the first of the month, without time bounds.

    Returns the Dataset, the days of each month in the calendar of the source, and whether
    anything changed.
    """
    renamed = axis.name != TIME
    raw = ds[axis.name]
    if renamed:
        ds = ds.drop_vars(TIME, errors="ignore").rename({axis.name: TIME})
    try:
        check_monthly(xr.Dataset(coords={TIME: (TIME, axis.middles.values)}), step=_STEP)
    except TimeAxisError as error:  # what to type names the dimension of the source
        raise TimeAxisError(re.sub(r"\btime(?='|=)", axis.name, str(error))) from None
    months = month_index(axis.middles)
    days = xr.DataArray(days_in_month(months, axis.calendar), dims=TIME)
    firsts = first_of_month(months)
    same = raw.dtype.kind == "M" and np.array_equal(raw.values, firsts)
    if same and not axis.bounds:
        if raw.dtype != firsts.dtype:  # another unit of the same dates: nothing to tell
            ds = ds.assign_coords({TIME: (TIME, firsts, raw.attrs)})
        return ds, days, renamed
    # A bounds variable would keep the stamps and the calendar of the source.
    ds = ds.drop_vars(axis.bounds).assign_coords(month_coord(firsts, axis.calendar))
    return ds, days, True


def month_coord(firsts: np.ndarray, calendar: str) -> dict[str, xr.Variable]:
    """The coordinate ``time`` of monthly data."""
    attrs = {"standard_name": "time", "long_name": "month (first day)", "axis": "T"}
    return {TIME: xr.Variable(TIME, firsts, {**attrs, "source_calendar": calendar})}


def _edges(ds: xr.Dataset, name: str, dates: xr.DataArray, bounds_name: str) -> np.ndarray | None:
    """Time bounds, shape (time, 2), where there are any that are decoded."""
    if bounds_name not in ds.variables:
        return None
    bounds = ds[bounds_name]
    if name not in bounds.dims or bounds.ndim != 2 or bounds.dtype.kind not in "MO":
        return None
    other = next(dim for dim in bounds.dims if dim != name)
    edges = bounds.transpose(name, other).values
    if bounds.dtype.kind == "M" and np.isnat(edges).any():
        return None
    kinds = {_calendar_of(dates.values), _calendar_of(edges)}
    if len(kinds) > 1:
        raise TimeAxisError(
            f"{_STEP} needs one calendar; {name!r} and its bounds {bounds_name!r} have "
            f"{sorted(kinds)}. Leave the bounds out: ds.drop_vars({bounds_name!r})."
        )
    return edges


def _middles(edges: np.ndarray) -> xr.DataArray:
    """Middle of the time bounds: some files stamp the end of the month."""
    return xr.DataArray(edges[:, 0] + (edges[:, 1] - edges[:, 0]) / 2, dims=TIME, name=TIME)


def _calendar_of(stamps: np.ndarray) -> str:
    if stamps.dtype != object:
        return "standard"
    name = str(getattr(stamps.ravel()[0], "calendar", "standard"))
    return "standard" if name in ("gregorian", "proleptic_gregorian") else name
