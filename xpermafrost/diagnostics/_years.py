"""Years of a time axis, and sums, means and extremes over them.

A year counts where at least ``coverage`` of its days hold data: with the default of 0.95 a year
of daily data may lack 18 days, one of monthly data none. Other years are missing, never partial.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cftime
import numpy as np
import xarray as xr

from .._checks import check_daily, check_monthly, check_whole, month_index, require_dims
from ..errors import DataError, TimeAxisError, unknown_name
from ..schema import TIME

YEAR = "year"

#: Share of the days of a year that must hold data.
COVERAGE = 0.95

#: Values of a grid that a kernel is given at a time: what it makes on the way stays small.
PIECE = 2**21

_STARTS = {"calendar": (1, 1), "hydrological": (10, 1)}


@dataclass(frozen=True, kw_only=True)
class Years:
    """The years that a time axis touches.

    Attributes
    ----------
    step : {"day", "month"}
        Time step of the data.
    start : tuple of int
        Month and day on which a year begins.
    labels, first, days : array (year)
        Calendar year in which the year ends, index of its first step, its length by calendar [d].
    weights : array (time)
        Days that each step stands for.
    """

    step: str
    start: tuple[int, int]
    labels: np.ndarray = field(repr=False)
    first: np.ndarray = field(repr=False)
    days: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)

    @property
    def index(self) -> np.ndarray:
        """Position of the year of each step, shape ``(time,)``."""
        return np.repeat(np.arange(self.labels.size), np.diff([*self.first, self.weights.size]))

    @property
    def slices(self) -> list[slice]:
        """The steps of each year."""
        return [slice(a, b) for a, b in pairwise([*self.first.tolist(), self.weights.size])]

    def terms(self, coverage: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For the kernels: where years begin and end, days of each step, days that make a year."""
        edges = np.append(self.first, self.weights.size).astype("int64")
        return edges, self.weights, coverage * self.days - 1e-3

    @property
    def description(self) -> str:
        """The year definition, for attributes."""
        if self.start == (1, 1):
            return "calendar year"
        return f"year from {self.start[0]:02d}-{self.start[1]:02d}, named by the year it ends in"

    @property
    def coord(self) -> xr.DataArray:
        """The coordinate ``year``."""
        attrs = {"long_name": "year", "definition": self.description}
        return xr.DataArray(self.labels, dims=YEAR, coords={YEAR: self.labels}, attrs=attrs)


def years_of(obj: xr.DataArray, year: str, *, step: str) -> Years:
    """Years of the time axis of ``obj``; raises where it is not each day or month once, in order.

    Parameters
    ----------
    obj : DataArray
        With dim ``time`` in one chunk.
    year : str
        ``"calendar"``, ``"hydrological"`` (from 1 October), or the first day as ``"MM-DD"``.
    step : str
        What asks, for messages.
    """
    require_dims(obj, (TIME,), step=step)
    check_whole(obj, TIME, step=step)
    time = obj[TIME]
    start = _start(year)
    kind = _time_step(time, step=step)
    if kind == "month" and start[1] != 1:
        raise TimeAxisError(
            f"{step} with year={year!r} needs daily data; months can only start a year on the "
            f"1st. Type year='{start[0]:02d}-01'."
        )
    now = time.dt.month.values * 100 + time.dt.day.values
    late = (now >= start[0] * 100 + start[1]) if start != (1, 1) else np.zeros(time.size, bool)
    labels, first = np.unique(time.dt.year.values + late, return_index=True)
    weights = time.dt.days_in_month.values if kind == "month" else np.ones(time.size)
    calendar = str(time.dt.calendar)
    begin = [
        cftime.datetime(int(y) - (start != (1, 1)), *start, calendar=calendar)
        for y in [*labels, labels[-1] + 1]
    ]
    days = np.array([(b - a).days for a, b in pairwise(begin)])
    return Years(
        step=kind,
        start=start,
        labels=labels.astype("int64"),
        first=first,
        days=days.astype("float64"),
        weights=weights.astype("float64"),
    )


def _start(year: str) -> tuple[int, int]:
    if year in _STARTS:
        return _STARTS[year]
    match = re.fullmatch(r"(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])", str(year))
    if not match:
        raise unknown_name(
            "year definition", year, (*_STARTS, "MM-DD (a first day up to the 28th)")
        )
    return int(match[1]), int(match[2])


def _time_step(time: xr.DataArray, *, step: str) -> str:
    months = month_index(time)
    if months.size < 3:
        raise TimeAxisError(
            f"{step} needs a series of days or months; 'time' holds {months.size} step(s)."
        )
    if np.median(np.abs(np.diff(months))) >= 1:
        check_monthly(time, step=step)
        return "month"
    check_daily(time, step=step)
    return "day"


def require_daily(years: Years, *, step: str, why: str) -> None:
    """Raise unless the data are daily."""
    if years.step != "day":
        raise TimeAxisError(
            f"{step} needs daily data; found monthly means, {why}. Give it the daily series that "
            "they were made of; no interpolation brings the days back."
        )


def check_coverage(coverage: float) -> None:
    """Raise unless ``coverage`` is a share above 0."""
    if not 0.0 < coverage <= 1.0:
        raise DataError(
            f"coverage is the share of a year with data, 0 < coverage <= 1; got {coverage}."
        )


def covered(valid: np.ndarray, years: Years, coverage: float) -> np.ndarray:
    """Where a year counts: ``valid (..., time)`` to ``(..., year)``."""
    days = np.stack([valid[..., part] @ years.weights[part] for part in years.slices], axis=-1)
    return days >= coverage * years.days - 1e-3


def mean_of_years(values: np.ndarray, years: Years, coverage: float) -> np.ndarray:
    """Means of years, weighted by the length of months: ``(..., time)`` to ``(..., year)``."""
    from .._year_kernels import by_year, means

    out = np.empty((*values.shape[:-1], years.labels.size))
    return by_year(means, values, *years.terms(coverage), out)


def max_of_years(values: np.ndarray, years: Years, coverage: float) -> np.ndarray:
    """Maxima of years: ``(..., time)`` to ``(..., year)``."""
    from .._year_kernels import by_year, maxima

    single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    dtype = "float32" if single else "float64"
    out = np.empty((*values.shape[:-1], years.labels.size), dtype)
    return by_year(maxima, values, *years.terms(coverage), out)


def over_years(
    kernel: Callable[..., np.ndarray | tuple[np.ndarray, ...]],
    arrays: Sequence[xr.DataArray],
    *,
    years: Years,
    core: tuple[Hashable, ...] = (TIME,),
    out: tuple[tuple[Hashable, ...], ...] = ((YEAR,),),
    dtypes: tuple[str, ...] = ("float64",),
    sizes: Mapping[Hashable, int] | None = None,
) -> tuple[xr.DataArray, ...]:
    """Apply a numpy kernel along ``core`` dims, block by block on dask, in pieces in memory.

    ``out`` names the core dims of each result. The dim ``year`` gets its labels.
    """

    def in_pieces(*parts: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        first = parts[0]
        alike = len({(part.ndim, len(part)) for part in parts}) == 1
        if first.ndim <= len(core) or not alike or first.size <= PIECE:
            return kernel(*parts)
        most = max(1, PIECE * len(first) // first.size)
        each = [kernel(*(p[k : k + most] for p in parts)) for k in range(0, len(first), most)]
        if isinstance(each[0], tuple):
            return tuple(np.concatenate(answers) for answers in zip(*each, strict=True))
        return np.concatenate(each)

    known: dict[Hashable, int] = {YEAR: years.labels.size, **(sizes or {})}
    used = {dim for dims in out for dim in dims}
    found = xr.apply_ufunc(
        in_pieces,
        *arrays,
        input_core_dims=[list(core)] * len(arrays),
        output_core_dims=[list(dims) for dims in out],
        dask="parallelized",
        output_dtypes=list(dtypes),
        dask_gufunc_kwargs={"output_sizes": {d: n for d, n in known.items() if d in used}},
        keep_attrs=False,
    )
    results = found if isinstance(found, tuple) else (found,)
    return tuple(da.assign_coords({YEAR: years.coord}) if YEAR in da.dims else da for da in results)
