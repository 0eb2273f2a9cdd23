"""Thaw and freeze-up dates and the length of the thaw season: for daily data."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..errors import DataError
from ._profile import SOIL, Temperature, celsius, describe, flags
from ._runs import runs_of
from ._years import (
    COVERAGE,
    YEAR,
    Years,
    check_coverage,
    covered,
    over_years,
    require_daily,
    years_of,
)

#: Values of ``status`` of dates.
STATUS = ("dated", "no_thaw", "no_freeze_up", "no_data")
_DATED, _NO_THAW, _NO_FREEZE_UP, _NO_DATA = range(4)

#: Days past the end of a year in which its freeze-up is looked for: deep layers are late.
_LATE = 183


def thaw_date(
    temperature: Temperature,
    *,
    window: int = 5,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.DataArray:
    """Thaw date of each year: first day of a spell of ``window`` days above freezing. Lazy.

    The spell begins in the year, after a day at or below freezing; one that lasts from the year
    before is that year's.

    Parameters
    ----------
    temperature : DataArray or Dataset
        Daily temperature ``(..., time)`` of soil, surface or air [K or degC]; a Dataset gives
        ``tsl``.
    window : int
        Days in a row that make a spell.
    freezing_point : float
        [degC].
    year : str
        ``"calendar"``, ``"hydrological"`` (from 1 October), or a first day ``"MM-DD"``.
    coverage : float
        Share of a year's days that must hold data, else the year is missing.

    Returns
    -------
    DataArray
        ``thaw_date (..., year)``: day of the year, counted from 1, with the coordinate ``status``
        (0 dated, 1 no_thaw, 2 no_freeze_up, 3 no_data); missing unless dated.

    Raises
    ------
    TimeAxisError
        For monthly data.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> soil = xr.DataArray([-4.0] * 150 + [6.0] * 110 + [-4.0] * 105, coords={"time": time},
    ...                     dims="time", attrs={"units": "degC"})
    >>> thaw_date(soil).values.tolist()
    [151.0]
    """
    return _season(temperature, "thaw_date", window, freezing_point, year, coverage)


def freeze_up_date(
    temperature: Temperature,
    *,
    window: int = 5,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.DataArray:
    """Freeze-up date of each year: first day, past the warmest, of a spell at or below freezing.

    Deep layers freeze up late: the spell is looked for up to half a year past the end of the
    year, and the count of days goes on. Lazy on dask.

    Parameters
    ----------
    temperature, window, freezing_point, year, coverage
        As for :func:`thaw_date`.

    Returns
    -------
    DataArray
        ``freeze_up_date (..., year)``: day of the year, counted from 1, with the coordinate
        ``status`` (0 dated, 1 no_thaw, 2 no_freeze_up, 3 no_data); missing unless dated.

    Raises
    ------
    TimeAxisError
        For monthly data.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> soil = xr.DataArray([-4.0] * 150 + [6.0] * 110 + [-4.0] * 105, coords={"time": time},
    ...                     dims="time", attrs={"units": "degC"})
    >>> freeze_up_date(soil).values.tolist()
    [261.0]
    """
    return _season(temperature, "freeze_up_date", window, freezing_point, year, coverage)


def season_length(
    temperature: Temperature,
    *,
    window: int = 5,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.DataArray:
    """Length of the thaw season of each year: from :func:`thaw_date` to :func:`freeze_up_date`.

    Parameters
    ----------
    temperature, window, freezing_point, year, coverage
        As for :func:`thaw_date`. Lazy on dask.

    Returns
    -------
    DataArray
        ``thaw_season_length (..., year)`` [d], with the coordinate ``status`` (0 dated, 1 no_thaw,
        2 no_freeze_up, 3 no_data); missing unless both ends are dated.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> soil = xr.DataArray([-4.0] * 150 + [6.0] * 110 + [-4.0] * 105, coords={"time": time},
    ...                     dims="time", attrs={"units": "degC"})
    >>> season_length(soil).values.tolist()
    [110.0]
    """
    return _season(temperature, "thaw_season_length", window, freezing_point, year, coverage)


_LONG_NAMES = {
    "thaw_date": "thaw date, day of the year",
    "freeze_up_date": "freeze-up date, day of the year",
    "thaw_season_length": "length of the thaw season",
}


def _season(
    temperature: Temperature,
    name: str,
    window: int,
    freezing_point: float,
    year: str,
    coverage: float,
) -> xr.DataArray:
    check_coverage(coverage)
    if window < 1:
        raise DataError(f"{name} needs a window of at least 1 day; got {window}.")
    warm = celsius(temperature, SOIL, step=name, freezing_point=freezing_point)
    years = years_of(warm, year, step=name)
    require_daily(years, step=name, why="whose dates are no days")

    def kernel(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _dates(values, name, years, window, coverage)

    value, status = over_years(
        kernel, [warm], years=years, out=((YEAR,),) * 2, dtypes=("float64", "int8")
    )
    described = describe(
        value,
        name,
        units="d" if name == "thaw_season_length" else "1",
        long_name=_LONG_NAMES[name],
        method=f"spells of {window} days above, and then at or below, the freezing point",
        years=years,
        freezing_point=freezing_point,
        coverage=coverage,
        of=warm,
    )
    return described.assign_coords(status=status.assign_attrs(flags(*STATUS)))


def _dates(
    values: np.ndarray, name: str, years: Years, window: int, coverage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel: ``values (..., time)``; value and status ``(..., year)``."""
    flat = values.reshape(-1, values.shape[-1])
    thaw, lasting = _thaw(flat, years, window)
    freeze = _freeze_up(flat, years, window)
    warmest = np.fmax.reduceat(flat, years.first, axis=-1)
    if name == "thaw_date":
        value = thaw + 1
    elif name == "freeze_up_date":
        value = freeze + 1
    else:
        value = freeze - thaw
    status = np.where(np.isnan(value), _NO_FREEZE_UP, _DATED)
    if name != "freeze_up_date":
        status[np.isnan(thaw) & ~lasting] = _NO_THAW
    status[~(warmest > 0)] = _NO_THAW
    unknown = ~covered(~np.isnan(flat), years, coverage)
    if name != "thaw_date":  # the record may end before the ground freezes
        end = years.first + years.days + _LATE
        unknown |= (status == _NO_FREEZE_UP) & (end > flat.shape[1])
    status[unknown] = _NO_DATA
    value = np.where(status == _DATED, value, np.nan)
    shape = (*values.shape[:-1], years.labels.size)
    return value.reshape(shape), status.astype("int8").reshape(shape)


def _thaw(flat: np.ndarray, years: Years, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Day within the year on which the first thawed spell begins, and whether all days are warm."""
    row, begin, end = runs_of(flat > 0)
    cold = np.where(begin > 0, flat[row, np.maximum(begin - 1, 0)], np.nan) <= 0
    good = (end - begin >= window) & cold
    first = np.full((flat.shape[0], years.labels.size), np.inf)
    at = years.index[begin[good]]
    np.minimum.at(first, (row[good], at), begin[good] - years.first[at])
    lasting = np.minimum.reduceat(np.where(flat > 0, 1, 0), years.first, axis=-1) == 1
    return np.where(np.isinf(first), np.nan, first), lasting


def _freeze_up(flat: np.ndarray, years: Years, window: int) -> np.ndarray:
    """Day, counted from the start of the year, on which the ground freezes up."""
    row, begin, end = runs_of(flat <= 0)
    good = end - begin >= window
    starts = np.full(flat.shape, flat.shape[1] * 10, dtype="int32")
    starts[row[good], begin[good]] = begin[good]
    following = np.minimum.accumulate(starts[:, ::-1], axis=1)[:, ::-1]  # next start, this day on
    out = np.full((flat.shape[0], years.labels.size), np.nan)
    rows = np.arange(len(flat))
    for k, steps in enumerate(years.slices):
        part = np.where(np.isnan(flat[:, steps]), -np.inf, flat[:, steps])
        at = part.argmax(axis=1)
        day = following[rows, steps.start + at] - steps.start
        thawed = part[rows, at] > 0
        out[:, k] = np.where(thawed & (day < years.days[k] + _LATE), day, np.nan)
    return out
