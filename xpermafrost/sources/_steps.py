"""Hourly and daily data become days or months: means of whole periods, never of parts.

Two stages, hours to days and days to months, so that no task of a lazy array holds more than
a month of days. Data that are lazy stay lazy: only the coordinates are read; chunks along time
are cut where days (or months) begin, so any chunking is allowed, and space keeps its own.

Instantaneous values and mean fluxes of a day are averaged over its stamps. A value that belongs
to the hour **before** its stamp (totals and mean rates of ECMWF) counts for the day in which
that hour lies: 00 UTC closes a day. Running totals since 00 UTC are not averaged: the total of
day D is the value at 00 UTC of D + 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import cftime
import dask.array
import numpy as np
import xarray as xr

from .._checks import month_name
from ..errors import PermafrostWarning, SourceError, TimeAxisError
from ..schema import TIME
from ._base import Match
from ._guards import canonical_ends, check_totals, raise_beyond, stored_limits
from ._time import (
    DAY,
    Axis,
    check_order,
    days_in_month,
    first_of_month,
    minutes_of,
    month_coord,
)

_MIXED = (
    "standardize needs one time step; found {}, more than the usual step makes: the time axis "
    "mixes steps. Standardize each part on its own and join the results."
)


def average(
    ds: xr.Dataset, axis: Axis, found: Sequence[Match], *, step: str
) -> tuple[xr.Dataset, xr.DataArray, list[str]]:
    """Bring the matched variables of ``ds`` from ``axis.step`` to ``step``.

    Returns the Dataset, the days in the month of each new stamp, and notes for its history.
    Variables with a time that are not matched are left out: whether they may be averaged is
    not known.
    """
    stamps = minutes_of(axis.dates, axis.calendar)
    middles = minutes_of(axis.middles, axis.calendar)
    check_order(stamps, axis.step, axis.name)
    ds = ds.drop_vars(TIME, errors="ignore") if axis.name != TIME else ds
    ds = ds.rename({axis.name: TIME} if axis.name != TIME else {}).drop_vars(axis.bounds)
    kept, notes = _only_matched(ds, [m.variable for m in found])
    # a last stamp at 00 UTC only closes the day before
    closing = 1 if axis.step == "hour" else 0
    days = np.arange(middles[0] // DAY, (middles[-1] - closing) // DAY + 1)
    months = _months_of(days, axis.calendar)
    parts: dict[str, xr.DataArray] = {}
    gaps: dict[str, np.ndarray] = {}
    for item in found:
        da = kept[item.variable]
        if TIME not in da.dims:
            continue
        da = da.drop_vars([c for c in da.coords if TIME in da[c].dims])
        daily, whole = _to_days(da, item, axis, (stamps, middles), days)
        if step == "month":
            daily, whole = _to_months(daily, whole, item, months, axis.calendar)
        parts[item.variable], gaps[item.variable] = daily, whole
    labels = np.unique(months) if step == "month" else days
    notes += _tell_gaps(gaps, _names(labels, step, axis.calendar))
    out = kept.drop_dims(TIME).assign(parts)[list(kept.data_vars)]
    if step == "month":
        out = out.assign_coords(month_coord(first_of_month(labels), axis.calendar))
        length = days_in_month(labels, axis.calendar)
    else:
        out = out.assign_coords(_day_coord(labels, axis.calendar))
        length = days_in_month(months, axis.calendar)
    return out, xr.DataArray(length, dims=TIME), notes


def to_days(ds: xr.Dataset, axis: Axis) -> tuple[xr.Dataset, bool]:
    """Daily data that stay daily, and whether their axis is whole and canonical already."""
    raw = ds[axis.name]
    if axis.name != TIME or axis.bounds or raw.dtype.kind != "M":
        return ds, False
    midnights = raw.values.astype("datetime64[D]")
    same = np.array_equal(raw.values, midnights) and np.all(np.diff(midnights).astype(int) == 1)
    if same and raw.dtype != "datetime64[ns]":
        ds = ds.assign_coords({TIME: (TIME, midnights.astype("datetime64[ns]"), raw.attrs)})
    return ds, bool(same)


def _only_matched(ds: xr.Dataset, matched: list[str]) -> tuple[xr.Dataset, list[str]]:
    left = [n for n, da in ds.data_vars.items() if TIME in da.dims and n not in matched]
    if not left:
        return ds, []
    names = ", ".join(map(str, left[:6])) + (f" and {len(left) - 6} more" if left[6:] else "")
    warnings.warn(
        f"standardize leaves out {names}: not recognised, so whether to average or to sum them "
        "in time is not known. xp.identify(ds) shows what is recognised.",
        PermafrostWarning,
        stacklevel=5,
    )
    return ds.drop_vars(left), [f"not recognised and left out: {names}"]


def _to_days(
    da: xr.DataArray,
    item: Match,
    axis: Axis,
    stamps: tuple[np.ndarray, np.ndarray],
    days: np.ndarray,
) -> tuple[xr.DataArray, np.ndarray]:
    """One value a day on the axis ``days``, and which days are whole."""
    exact, middles = stamps
    check_totals(da, item, exact)
    if item.per == "running":
        at = np.flatnonzero(exact % DAY == 0)
        return _place(da.isel({TIME: _slice(at)}), exact[at] // DAY - 1, days)
    backward = item.rule is not None and item.rule.backward and axis.step == "hour"
    if item.per == "hour" and axis.minutes != 60:
        raise SourceError(
            f"{item.variable!r} holds totals of one hour each, but only every "
            f"{axis.minutes // 60} hours are there: the others are not known. Load all 24 hours."
        )
    if axis.step == "day":
        return _place(da, middles // DAY, days)
    return _mean(da, item, (middles - backward) // DAY, DAY // axis.minutes, days)


def _to_months(
    da: xr.DataArray, whole: np.ndarray, item: Match, months: np.ndarray, calendar: str
) -> tuple[xr.DataArray, np.ndarray]:
    """Means of whole months: a month with a missing day is missing."""
    labels, first, count = np.unique(months, return_index=True, return_counts=True)
    out, _ = _mean(da, item, months, 0, labels)
    full = np.logical_and.reduceat(whole, first) & (count == days_in_month(labels, calendar))
    return (out if full.all() else out.where(xr.DataArray(full, dims=TIME))), full


def _slice(at: np.ndarray) -> slice | np.ndarray:
    """A regular selection as a slice: lazy arrays then keep few, large tasks."""
    steps = np.unique(np.diff(at))
    return slice(at[0], at[-1] + 1, int(steps[0])) if steps.size == 1 else at


def _place(
    da: xr.DataArray, labels: np.ndarray, wanted: np.ndarray
) -> tuple[xr.DataArray, np.ndarray]:
    """Values by label on the axis ``wanted``; NaN where there is none."""
    if np.unique(labels).size < labels.size:
        raise TimeAxisError(_MIXED.format("two stamps on one day"))
    whole = np.isin(wanted, labels)
    if labels.size == wanted.size and whole.all():
        return da, whole
    da = da.astype("float64") if da.dtype.kind in "iu" else da
    placed = da.assign_coords({TIME: labels}).reindex({TIME: wanted}).drop_vars(TIME)
    return placed, whole


def _mean(
    da: xr.DataArray, item: Match, labels: np.ndarray, need: int, wanted: np.ndarray
) -> tuple[xr.DataArray, np.ndarray]:
    """Mean over runs of equal labels; missing where a run has not ``need`` values (0: any)."""
    found, starts, counts = np.unique(labels, return_index=True, return_counts=True)
    if counts.size and counts.max() > need > 0:
        raise TimeAxisError(_MIXED.format(f"{counts.max()} stamps on one day"))
    dtype = da.dtype if da.dtype.kind == "f" else np.dtype("float64")
    order = [TIME, *(dim for dim in da.dims if dim != TIME)]
    moved = da.transpose(*order)
    lazy = da.chunks is not None
    values = (
        _lazy(moved.data, labels, starts, dtype, item)
        if lazy
        else _block(moved.values, labels, dtype, item)
    )
    out = xr.DataArray(values, dims=order, coords=da.drop_vars(TIME, errors="ignore").coords)
    out = out.assign_attrs(da.attrs).rename(da.name).transpose(*da.dims)
    full = (counts == need) if need else np.ones(found.size, dtype=bool)
    placed, there = _place(out.isel({TIME: full}) if not full.all() else out, found[full], wanted)
    return placed, there


def _lazy(
    data: dask.array.Array, labels: np.ndarray, starts: np.ndarray, dtype: np.dtype, item: Match
) -> dask.array.Array:
    """As `_block`, in blocks whose borders are moved on to the next start of a run."""
    borders = np.cumsum(data.chunks[0])
    edges = np.append(starts[1:], labels.size)
    at = np.unique(np.searchsorted(edges, borders))
    stops = edges[at]
    sizes = tuple(np.diff(stops, prepend=0).tolist())
    lengths = tuple(np.diff(at + 1, prepend=0).tolist())
    data = data.rechunk({0: sizes})
    extra = (1,) * (data.ndim - 1)
    runs = dask.array.from_array(labels.reshape(-1, *extra), chunks=(sizes, *extra))
    return dask.array.map_blocks(
        _block,
        data,
        runs,
        dtype=dtype,
        chunks=(lengths, *data.chunks[1:]),
        meta=np.empty((0,) * data.ndim, dtype=dtype),
        name="period-mean-" + dask.base.tokenize(data.name, labels, str(dtype)),
        target=dtype,
        item=item,
    )


def _block(values: np.ndarray, labels: np.ndarray, target: np.dtype, item: Match) -> np.ndarray:
    """Mean of each run of equal labels along the first axis, summed in float64; NaN spreads."""
    labels = labels.ravel()
    starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1)) if labels.size else labels
    stops = np.append(starts[1:], labels.size)
    low, high = stored_limits(item)
    out = np.empty((starts.size, *values.shape[1:]), dtype=target)
    for k, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        run = values[start:stop]
        if (run < low).any() or (run > high).any():
            raise_beyond(item.canonical, *canonical_ends(run, item))
        out[k] = run.mean(axis=0, dtype="float64")
    return out


def _months_of(days: np.ndarray, calendar: str) -> np.ndarray:
    return np.array([date.year * 12 + date.month - 1 for date in _dates(days, calendar)])


def _dates(days: np.ndarray, calendar: str) -> Iterable[cftime.datetime]:
    return np.atleast_1d(cftime.num2date(days, "days since 1970-01-01", calendar=calendar))


def _names(labels: np.ndarray, step: str, calendar: str) -> list[str]:
    if step == "month":
        return [month_name(int(label)) for label in labels]
    return [f"{d.year:04d}-{d.month:02d}-{d.day:02d}" for d in _dates(labels, calendar)]


def _day_coord(days: np.ndarray, calendar: str) -> dict[str, xr.Variable]:
    """The coordinate ``time`` of daily data: datetime64 at 00:00, if those days exist there."""
    if calendar in ("360_day", "366_day", "all_leap"):
        raise TimeAxisError(
            f"days of the calendar {calendar!r} (30 February) have no place in datetime64. Take "
            "months, standardize(step='month'), or convert first: "
            "ds.convert_calendar('standard', align_on='year')."
        )
    stamps = np.array(_names(days, "day", calendar), dtype="datetime64[D]")
    attrs = {"standard_name": "time", "long_name": "day (00:00)", "axis": "T"}
    values = stamps.astype("datetime64[ns]")
    return {TIME: xr.Variable(TIME, values, {**attrs, "source_calendar": calendar})}


def _tell_gaps(gaps: dict[str, np.ndarray], names: list[str]) -> list[str]:
    """Warn of the periods that are not wholly covered, variables with the same ones together."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, whole in gaps.items():
        if not whole.all():
            groups.setdefault(tuple(np.flatnonzero(~whole).tolist()), []).append(name)
    if not groups:
        return []
    parts = []
    for missing, variables in groups.items():
        shown = ", ".join(names[k] for k in missing[:3])
        more = f" and {len(missing) - 3} more" if missing[3:] else ""
        parts.append(f"{shown}{more} ({', '.join(variables)})")
    text = "not wholly covered, so missing: " + "; ".join(parts)
    warnings.warn(
        f"standardize: {text}. Load the whole period; totals of a day end at 00 UTC of the next.",
        PermafrostWarning,
        stacklevel=5,
    )
    return [text]
