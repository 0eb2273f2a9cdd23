"""Sunlight above the air, from the date and the latitude."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

#: Solar constant [W m-2] (Kopp & Lean 2011).
SOLAR_CONSTANT = 1361.0


def daily_insolation(day: Any, lat: Any) -> Any:
    """Daily mean insolation above the air [W m-2] (Iqbal 1983, eq. 4.2.20).

    The same as Hartmann (2016), eq. 2.17. Declination and distance by Spencer (1971).

    Parameters
    ----------
    day, lat : array or DataArray
        Day of the year, from 1 on; latitude [degrees north]. Broadcast together.
    """
    turn = 2.0 * np.pi * (day - 1) / 365.25
    tilt = 0.006918 - 0.399912 * np.cos(turn) + 0.070257 * np.sin(turn)
    tilt = tilt - 0.006758 * np.cos(2 * turn) + 0.000907 * np.sin(2 * turn)
    near = 1.000110 + 0.034221 * np.cos(turn) + 0.001280 * np.sin(turn)
    phi = np.deg2rad(lat)
    noon = np.arccos((-np.tan(phi) * np.tan(tilt)).clip(-1.0, 1.0))
    sun = noon * np.sin(phi) * np.sin(tilt) + np.cos(phi) * np.cos(tilt) * np.sin(noon)
    return (SOLAR_CONSTANT / np.pi * near * sun).clip(0.0)


def top_of_atmosphere(time: xr.DataArray, lat: xr.DataArray, *, months: bool) -> xr.DataArray:
    """:func:`daily_insolation` of dates.

    Parameters
    ----------
    time : DataArray (time)
        Dates.
    lat : DataArray
        Latitude [degrees north].
    months : bool
        Whether a date stands for its month: then the 15th is taken.

    Returns
    -------
    DataArray
        Dims of ``time`` and ``lat``.

    Examples
    --------
    >>> time = xr.DataArray(xr.date_range("2001-06-01", periods=1), dims="time")
    >>> float(top_of_atmosphere(time, xr.DataArray(67.5), months=True).round()[0])
    478.0
    """
    day = time.dt.dayofyear + (15 - time.dt.day if months else 0)
    return daily_insolation(day, lat)


__all__ = ["daily_insolation", "top_of_atmosphere"]
