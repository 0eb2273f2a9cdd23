"""What a feature remembers: running means, degree days, fading memories, the state of freezing.

Each takes one variable along ``time`` and answers by the present step and earlier ones only.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from .schema import FREEZING_POINT, TIME

#: Days of the mean month, which a sum over monthly means stands for.
MONTH_DAYS = 365.25 / 12

#: Degree days that take the upper soil from frozen to thawed [K d], see :func:`freeze_state`.
FREEZE_SCALE = 200


def steps_of(months: int, step: str) -> int:
    return round(months * MONTH_DAYS) if step == "day" else months


def memory(anomaly: xr.DataArray, steps: int) -> xr.DataArray:
    """Exponential mean from the first step of the record on, where it starts at no anomaly.

    A missing step is missing here too; the memory fades over it.
    """
    values = anomaly.fillna(0.0).transpose(TIME, ...)
    keep = np.exp(-1.0 / steps)
    out = np.empty(values.shape)
    state = np.zeros(values.shape[1:])
    for k, now in enumerate(values.values):
        state = keep * state + (1.0 - keep) * now
        out[k] = state
    return values.copy(data=out).where(anomaly.notnull())


def running(da: xr.DataArray, kind: str, steps: int, step: str) -> xr.DataArray:
    if kind == "mean":
        return trailing_mean(da, steps, step=step)
    if step == "day":
        da = da.astype("float64")  # single precision is off by 1e-5 K every day
    excess = (da - FREEZING_POINT) if kind == "thaw" else (FREEZING_POINT - da)
    if step == "day":
        return trailing_mean(excess.clip(0.0), steps, step=step) * steps
    sums = excess.clip(0.0).rolling({TIME: steps}).sum()
    return sums * MONTH_DAYS


def trailing_mean(
    da: xr.DataArray, steps: int, *, step: str, least: int | None = None
) -> xr.DataArray:
    """Mean of the last ``steps`` values, missing where fewer than ``least`` (all) are known."""
    if step == "month":
        return da.rolling({TIME: steps}, min_periods=least).mean()
    # differences of running sums: a rolling view of days may hold each of them 365 times
    values = da.transpose(..., TIME).astype("float64")
    known = values.notnull()
    count, total = (
        sums.values - sums.shift({TIME: steps}, fill_value=0).values
        for sums in (known.cumsum(TIME), values.fillna(0.0).cumsum(TIME))
    )
    enough = count >= (steps if least is None else least)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=enough)
    return values.copy(data=mean).transpose(*da.dims)


def freeze_state(
    tas: xr.DataArray, scale: float = FREEZE_SCALE, *, step: str = "month"
) -> xr.DataArray:
    """Share of the upper soil that has thawed, by the balance of degree days, 0 to 1.

    ``s(t) = min(1, max(0, s(t-1) + D(t) / scale))`` with ``D`` the degree days of the step,
    positive above the freezing point. The latent heat of a layer is a fixed sum of degree days
    (Stefan 1891: ``I = L z^2 / (2 k)`` for a layer of depth z); while it is spent, the ground stays
    near 0 degC whatever the air does. 200 K d thaw 0.6 m of soil with 30 % of ice by volume
    (L = 1.0e8 J m-3) of conductivity 1 W m-1 K-1; snow, moss and memory of the air temperature
    are left to the other features.

    Parameters
    ----------
    tas : DataArray (..., time)
        Air or surface temperature [K].
    scale : float
        Degree days from frozen to thawed [K d].
    step : {"month", "day"}
        Time step of ``tas``.

    Returns
    -------
    DataArray
        As ``tas`` [1]. The first step starts frozen if it is below the freezing point, else
        thawed. A missing step is missing here too, and the state is kept over it.

    References
    ----------
    Stefan, J. (1891): Ueber die Theorie der Eisbildung, insbesondere ueber die Eisbildung im
    Polarmeere. Annalen der Physik 278, 269-286.

    Examples
    --------
    >>> tas = xr.DataArray(273.15 + np.array([-10.0, 2.0, 2.0, 15.0, -1.0]), dims="time")
    >>> freeze_state(tas).values.round(2).tolist()
    [0.0, 0.3, 0.61, 1.0, 0.85]
    """
    values = tas.astype("float64").transpose(TIME, ...)
    excess = (values - FREEZING_POINT) * (MONTH_DAYS if step == "month" else 1.0)
    gain = excess.fillna(0.0).values / scale
    out = np.empty(gain.shape)
    known = excess.notnull().values
    first = np.take_along_axis(gain, known.argmax(axis=0)[None], axis=0)[0]
    state = (first > 0.0).astype("float64")
    for k, now in enumerate(gain):
        state = np.clip(state + now, 0.0, 1.0)
        out[k] = state
    return values.copy(data=out).where(excess.notnull()).transpose(*tas.dims)


def snow_resistance(depth: xr.DataArray, name: str, step: str) -> xr.DataArray:
    """Depth over conductivity, by the density of a snow class on the day, or in mid-month."""
    from .physics.snow import class_density, thermal_resistance

    kind = name.partition(":")[2] or "tundra"
    day = depth[TIME].dt.dayofyear + (14 if step == "month" else 0)
    return thermal_resistance(depth, class_density(depth, day, kind=kind))  # type: ignore[arg-type]
