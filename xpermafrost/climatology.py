"""The usual course of the year: means of the calendar months, or harmonics of daily data.

A day of the year has as many values as the record has years: too few for a mean of its own. Four
harmonics of the year, by least squares over all days, use the neighbouring days as well.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from .schema import HARMONIC, TIME

MONTH = "month"

#: Waves of a year, of 1 to 4 periods: the shortest lasts three months.
WAVES = 4

#: Condition number of the normal equations from which days say too little; 2 where none lack,
#: 24 where two months of every year do.
ILL_DETERMINED = 30.0


def climatology(
    da: xr.DataArray, *, step: str = "month", weight: xr.DataArray | None = None
) -> xr.DataArray:
    """The usual course of the year of ``da``, along its ``time``.

    Parameters
    ----------
    da : DataArray (..., time)
        Training times only; missing values count nothing. Computes dask arrays where daily.
    step : {"month", "day"}
        Time step of ``da``.
    weight : DataArray (time), optional
        Weight of every step; all alike by default.

    Returns
    -------
    DataArray
        Months: means ``(..., month)``, missing for a month without a value. Days: coefficients
        ``(..., harmonic)`` of a mean and four waves of the year, missing where more than about two
        months of the year have no day.

    Examples
    --------
    >>> time = xr.date_range("2001-01-01", "2004-12-31")
    >>> days = xr.DataArray(time, dims="time", coords={"time": time})
    >>> daily = 5.0 + 2.0 * np.cos(2 * np.pi * year_fraction(days))
    >>> climatology(daily, step="day").values.round(6)[:2].tolist()
    [5.0, 2.0]
    """
    if step == "day":
        return _harmonics(da, weight)
    if weight is None:
        return da.groupby("time.month").mean(TIME)
    weights = weight.where(da.notnull())
    total = (da * weights).groupby("time.month").sum(TIME, min_count=1)
    return total / weights.groupby("time.month").sum(TIME, min_count=1)


def usual(learned: xr.DataArray, time: xr.DataArray) -> xr.DataArray:
    """What :func:`climatology` learned, ``(..., time)``, at every time of ``time``.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> tas = canonical(years=3)["tas"]
    >>> usual(climatology(tas), tas["time"]).dims
    ('band', 'time')
    """
    if MONTH in learned.dims:
        return learned.sel(month=time.dt.month).drop_vars("month")
    waves = xr.DataArray(_waves(time), dims=(TIME, HARMONIC), coords={TIME: time})
    return xr.dot(learned, waves, dim=HARMONIC)


def year_fraction(time: xr.DataArray) -> xr.DataArray:
    """Share of the year that has passed at noon of each day, of any calendar.

    Examples
    --------
    >>> time = xr.DataArray(xr.date_range("2001-07-02", periods=1), dims="time")
    >>> float(year_fraction(time)[0])
    0.5
    """
    return (time.dt.dayofyear - 0.5) / time.dt.days_in_year


def _waves(time: xr.DataArray) -> np.ndarray:
    """Mean, cosine and sine of each wave ``(time, harmonic)``."""
    turn = 2 * np.pi * year_fraction(time).values
    pairs = [wave(k * turn) for k in range(1, WAVES + 1) for wave in (np.cos, np.sin)]
    return np.column_stack([np.ones(turn.size), *pairs])


def _harmonics(da: xr.DataArray, weight: xr.DataArray | None) -> xr.DataArray:
    waves = _waves(da[TIME])
    ordered = da.transpose(..., TIME)
    values = ordered.values.astype("float64")
    known = np.isfinite(values)
    mass = known * (1.0 if weight is None else weight.values)
    products = (waves[:, :, None] * waves[:, None, :]).reshape(len(waves), -1)
    normal = (mass @ products).reshape(*values.shape[:-1], waves.shape[1], waves.shape[1])
    right = (mass * np.where(known, values, 0.0)) @ waves
    enough = np.linalg.cond(np.where(known.any(-1)[..., None, None], normal, 1.0)) < ILL_DETERMINED
    solvable = np.where(enough[..., None, None], normal, np.eye(waves.shape[1]))
    found = np.linalg.solve(solvable, right[..., None])[..., 0]
    return xr.DataArray(
        np.where(enough[..., None], found, np.nan),
        dims=(*ordered.dims[:-1], HARMONIC),
        coords={
            **{n: c for n, c in ordered.coords.items() if TIME not in c.dims},
            HARMONIC: np.arange(waves.shape[1]),
        },
        name=da.name,
    )
