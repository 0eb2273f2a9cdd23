"""Readings at stations, with gaps, to daily and monthly means that are complete enough."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr

from .._checks import month_index
from ..errors import DataError, PermafrostWarning
from ..schema import TIME
from ._base import Match
from ._guards import canonical_ends, raise_beyond, stored_limits
from ._time import first_of_month

Complete = Literal["wmo"] | float

#: Variables whose month is a sum: it needs every day.
SUMS = ("pr", "prsn")

_DAY = np.timedelta64(1, "D")


#: What loggers and archives write for missing.
CODES = (-99.0, -99.9, -99.99, -999.0, -999.9, -999.99, -6999.0, -7999.0, -9999.0, -9999.9,
         -9999.99, -99999.0, -32768.0, 999.0, 999.9, 6999.0, 7999.0, 9999.0, 9999.9, 99999.0,
         32767.0)  # fmt: skip


def without_codes(ds: xr.Dataset, known: Mapping[str, Match]) -> xr.Dataset:
    """Codes for missing (-999, 9999, ...) that are no possible reading become NaN.

    Warns and counts them; any other reading that is not possible is an error. In memory.

    Parameters
    ----------
    ds : Dataset
        Readings in the units that they are stored in.
    known : mapping of str to Match
        What each variable is; others are not looked at.
    """
    told = []
    for name, item in known.items():
        values = ds[name].values
        low, high = stored_limits(item)
        beyond = (values < low) | (values > high)
        coded = np.isin(values, CODES) & (beyond | (np.abs(values) >= 9999))
        if coded.any():
            codes = sorted(set(values[coded].tolist()))
            told.append(f"{int(coded.sum())} of {name!r} ({', '.join(f'{c:g}' for c in codes)})")
            ds = ds.assign({name: ds[name].where(~coded)})
        if (beyond & ~coded).any():
            at = np.argwhere(beyond & ~coded)[0][ds[name].dims.index(TIME)]
            ends = canonical_ends(values[~coded], item)
            raise_beyond(item.canonical, *ends, f" (the first at {str(ds[TIME].values[at])[:16]})")
    if not told:
        return ds
    line = f"codes for missing set to NaN: {'; '.join(told)}"
    warnings.warn(f"{line}.", PermafrostWarning, stacklevel=4)
    return _with_line(ds, line)


def station_means(
    ds: xr.Dataset, known: Mapping[str, str], *, step: str, complete: Complete
) -> xr.Dataset:
    """Daily or monthly means of readings at any spacing; missing where too few were taken.

    A day has a mean if its readings fall into at least three of its four quarters of 6 h (fewer
    only for a series that is usually read less often: once a day is enough for a daily series).
    A month, with ``complete="wmo"``, has a mean unless 11 or more of its days are missing, or 5
    or more on end; the flux of precipitation and snowfall, which stands for a sum, needs every
    day (WMO 2017, Guidelines on the Calculation of Climate Normals, WMO-No. 1203, section 4.4).
    A number is the least share of the days instead.

    Rows that stand for months (one in each, about the same day) are not averaged; months between
    them without a row become NaN. In memory. Warns if nothing is complete.

    Parameters
    ----------
    ds : Dataset
        With ``time`` in datetime64, in any order, doubled stamps allowed.
    known : mapping of str to str
        Canonical name of each variable that is averaged; others with a time are left out.
    step : {"month", "day"}
    complete : {"wmo"} or float in (0, 1]

    Returns
    -------
    Dataset
        On every day or month from the first to the last; the attribute ``history`` says how many
        days or months of each variable had readings, but too few.
    """
    if complete != "wmo" and not (isinstance(complete, int | float) and 0 < complete <= 1):
        raise DataError(
            f"complete is 'wmo' or a share of the days, above 0 and at most 1; found {complete!r}."
        )
    ds = ds.sortby(TIME)
    months = month_index(ds[TIME])
    if _stands_for_months(ds[TIME], months):
        return _every_month(ds, months) if step == "month" else ds
    days, series = _daily(ds, list(known))
    if step == "day":
        return _assemble(ds, days, series, "day")
    inside = np.arange(days[0].astype("M8[M]"), days[-1].astype("M8[M]") + 1)
    monthly = {
        name: _monthly(
            values, days, inside, 1.0 if known[name] in SUMS and complete == "wmo" else complete
        )
        for name, (values, _) in series.items()
    }
    return _assemble(ds, inside, monthly, "month")


def _stands_for_months(time: xr.DataArray, months: np.ndarray) -> bool:
    """One row a month, always about the same day: a mean, not a visit to the site."""
    day = time.dt.day.values
    regular = np.ptp(day) <= 3 or day.min() >= 27
    return bool(np.unique(months).size == months.size and regular)


def _every_month(ds: xr.Dataset, months: np.ndarray) -> xr.Dataset:
    whole = np.arange(months[0], months[-1] + 1)
    ds = ds.assign_coords({TIME: (TIME, first_of_month(months), ds[TIME].attrs)})
    return ds if whole.size == months.size else ds.reindex({TIME: first_of_month(whole)})


Series = dict[str, tuple[np.ndarray, int]]


def _daily(ds: xr.Dataset, names: list[str]) -> tuple[np.ndarray, Series]:
    """Days from first to last, and for each variable values (..., day) and the days refused."""
    stamps = ds[TIME].values
    days = np.arange(stamps[0].astype("M8[D]"), stamps[-1].astype("M8[D]") + 1)
    day = (stamps.astype("M8[D]") - days[0]) // _DAY
    quarter = day * 4 + (stamps - stamps.astype("M8[D]")) // np.timedelta64(6, "h")
    out: Series = {}
    for name in names:
        values = ds[name].transpose(..., TIME).values.astype("float64")
        flat = values.reshape(-1, stamps.size)
        means = [_day_means(row, day, quarter, days.size) for row in flat]
        stacked = np.stack([mean for mean, _ in means]).reshape(*values.shape[:-1], days.size)
        out[name] = (stacked, sum(refused for _, refused in means))
    return days, out


def _day_means(
    row: np.ndarray, day: np.ndarray, quarter: np.ndarray, size: int
) -> tuple[np.ndarray, int]:
    read = ~np.isnan(row)
    count = np.bincount(day[read], minlength=size)
    quarters = np.bincount(quarter[read], minlength=4 * size).reshape(size, 4)
    usual = np.median(count[count > 0]) if read.any() else 0
    enough = (count > 0) & ((quarters > 0).sum(axis=1) >= min(3, usual))
    total = np.bincount(day[read], weights=row[read], minlength=size)
    mean = np.full(size, np.nan)
    mean[enough] = total[enough] / count[enough]
    return mean, int(((count > 0) & ~enough).sum())


def _monthly(
    values: np.ndarray, days: np.ndarray, months: np.ndarray, complete: Complete
) -> tuple[np.ndarray, int]:
    """Means of whole months from daily values (..., day); days outside the series are missing."""
    whole = np.arange(months[0].astype("M8[D]"), (months[-1] + 1).astype("M8[D]"))
    full = np.full((*values.shape[:-1], whole.size), np.nan)
    at = int((days[0] - whole[0]) // _DAY)
    full[..., at : at + days.size] = values
    starts = np.searchsorted(whole, months.astype("M8[D]"))
    length = np.diff([*starts, whole.size])
    here = ~np.isnan(full)
    count = np.add.reduceat(here, starts, axis=-1, dtype="int64")
    total = np.add.reduceat(np.where(here, full, 0.0), starts, axis=-1)
    if complete == "wmo":
        enough = (length - count < 11) & (_longest_gap(~here, starts) < 5)
    else:
        enough = count >= complete * length
    enough &= count > 0
    mean = np.where(enough, total / np.maximum(count, 1), np.nan)
    return mean, int(((count > 0) & ~enough).sum())


def _longest_gap(missing: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Longest run of missing days within each month, shape (..., month)."""
    run = np.zeros(missing.shape[:-1], dtype="int64")
    runs = np.empty(missing.shape, dtype="int64")
    first = set(starts.tolist())
    for k in range(missing.shape[-1]):
        run = np.where(missing[..., k], (0 if k in first else run) + 1, 0)
        runs[..., k] = run
    return np.maximum.reduceat(runs, starts, axis=-1)


def _assemble(ds: xr.Dataset, stamps: np.ndarray, series: Series, unit: str) -> xr.Dataset:
    left = [str(n) for n, da in ds.data_vars.items() if TIME in da.dims and n not in series]
    if left:
        warnings.warn(
            f"{left} are not recognised and left out of the means; columns= names them.",
            PermafrostWarning,
            stacklevel=4,
        )
    rest = ds.drop_vars([n for n, v in ds.variables.items() if TIME in v.dims])
    rest = rest.assign_coords({TIME: (TIME, stamps.astype("M8[ns]"), ds[TIME].attrs)})
    new = {}
    for name, (values, _) in series.items():
        dims = [dim for dim in ds[name].dims if dim != TIME]
        new[name] = ((*dims, TIME), values, {**ds[name].attrs, "cell_methods": f"{TIME}: mean"})
        if not np.isfinite(values).any() and bool(ds[name].notnull().any()):
            warnings.warn(
                f"no {unit} of {name!r} has enough readings for a mean: all is missing. Type "
                f"complete=0.5, for instance, to ask for half of the days of a month.",
                PermafrostWarning,
                stacklevel=3,
            )
    told = ", ".join(f"{name} {refused}" for name, (_, refused) in series.items())
    line = f"means; {unit}s left out for too few readings: {told}"
    return _with_line(rest.assign(new), line)


def _with_line(ds: xr.Dataset, line: str) -> xr.Dataset:
    old = str(ds.attrs.get("history", ""))
    return ds.assign_attrs(history=f"{old}\n{line}" if old else line)
