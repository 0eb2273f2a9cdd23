"""Periods in monthly series: is the year the only cycle?

A window of 24 months that is fed wrongly, or a scenario whose months are doubled or dropped,
gives a series with a season of two years. It has power at 24 months, which no climate has.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ._checks import check_monthly, check_whole
from .errors import DataError
from .schema import SCENARIO, TIME

#: Largest share of the annual cycle's power that a period of 24 months may have.
TWO_YEAR_LIMIT = 0.05
#: Power at 24 months beyond that many times the median around it is a line, not weather:
#: ordinates of noise are exponential, so that one exceeds it by chance in 2 ** -20 = 1e-6.
LINE = 20.0
#: Fewest years whose spectrum tells 24 months from its neighbours.
MIN_YEARS = 8


def seasonal_power(da: xr.DataArray) -> xr.Dataset:
    """Dominant period of monthly series, and the power of a season of two years.

    Computes once. The last whole multiple of 24 months of every scenario is taken, its linear
    trend removed; missing months at both ends are left out, a series with a gap inside is NaN.

    Parameters
    ----------
    da : DataArray
        Monthly ``(time, ...)``, of any variable; at least 8 years.

    Returns
    -------
    Dataset
        Without ``time``: ``dominant_period`` [month]; ``two_year_ratio`` [1], power at 24 over
        power at 12 months, below ``TWO_YEAR_LIMIT`` = 0.05 for a sound temperature;
        ``two_year_excess`` [1], power at 24 months over the median of the periods from 16 to 48
        months around it: beyond ``LINE`` = 20 it is a cycle, not noise. A variable without a
        season can have a large ratio by chance, but not a large excess.

    Raises
    ------
    TimeAxisError
        If months are missing, doubled or unsorted.
    DimensionError
        If ``time`` is split over chunks.
    DataError
        If less than 8 years are there.

    Notes
    -----
    Periodogram by the discrete Fourier transform without taper: the length is a multiple of 24
    months, so that both periods are frequencies of the transform and do not leak.

    Examples
    --------
    >>> import pandas as pd
    >>> time = pd.date_range("2001", periods=240, freq="MS")
    >>> month = np.arange(240)
    >>> season = xr.DataArray(np.cos(2 * np.pi * month / 12), {"time": time})
    >>> round(float(seasonal_power(season)["dominant_period"]), 6)
    12.0
    >>> sick = season + 0.5 * np.cos(2 * np.pi * month / 24)
    >>> round(float(seasonal_power(sick)["two_year_ratio"]), 2)
    0.25
    """
    check_monthly(da, step="seasonal_power")
    check_whole(da, TIME, step="seasonal_power")
    if SCENARIO in da.dims and da.sizes[SCENARIO] > 1:
        parts = [seasonal_power(da.isel({SCENARIO: [k]})) for k in range(da.sizes[SCENARIO])]
        return xr.concat(parts, dim=SCENARIO, coords="minimal", compat="override")
    da = da.compute()
    there = np.flatnonzero(da.notnull().any([d for d in da.dims if d != TIME]).values)
    have = int(there[-1] - there[0] + 1) if there.size else 0
    count = have - have % 24
    if count < 12 * MIN_YEARS:
        raise DataError(
            f"seasonal_power needs {MIN_YEARS} years of months to tell 24 months from weather; "
            f"{da.name!r} has {have} months. Take a longer period."
        )
    part = da.isel({TIME: slice(there[-1] + 1 - count, there[-1] + 1)})
    fields = xr.apply_ufunc(spectrum, part, input_core_dims=[[TIME]], output_core_dims=[[], [], []])
    names = ("dominant_period", "two_year_ratio", "two_year_excess")
    texts = (
        "period of the largest power",
        "power at 24 months over power at 12 months",
        "power at 24 months over the median of its neighbours",
    )
    out = xr.Dataset(dict(zip(names, fields, strict=True)))
    for name, text in zip(names, texts, strict=True):
        out[name].attrs = {"long_name": text, "units": "month" if "period" in name else "1"}
    return out


def spectrum(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dominant period, P(24) / P(12), P(24) over its neighbours, along the last axis."""
    count = values.shape[-1]
    step = np.arange(count) - (count - 1) / 2
    series = values.astype("float64")
    series = series - series.mean(axis=-1, keepdims=True)
    series -= (series @ step / (step @ step))[..., None] * step
    power = np.abs(np.fft.rfft(series, axis=-1)) ** 2
    two, one = count // 24, count // 12
    # periods between 16 and 48 months, without 24 itself
    near = np.array([k for k in range(-(-count // 48), count // 16 + 1) if k != two])
    with np.errstate(divide="ignore", invalid="ignore"):
        period = count / (1.0 + np.argmax(power[..., 1:], axis=-1))
        ratio = power[..., two] / power[..., one]
        excess = power[..., two] / np.median(power[..., near], axis=-1)
    bad = ~np.isfinite(series).all(axis=-1) | (power[..., 1:].max(axis=-1) == 0)
    return tuple(np.where(bad, np.nan, each) for each in (period, ratio, excess))  # type: ignore[return-value]
