"""Equilibrium models as baselines: the ground as an answer to the last twelve months.

Both give the mean of the last twelve months from forcing by an equation with two numbers fitted at
each location and layer, and add the mean departure of the calendar month.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ._checks import check_monthly, require_variables, without_attrs
from .schema import FREEZING_POINT, LAYER, TIME, location_dims
from .windows import WindowSpec

State = dict[str, Any]

#: Stefan-Boltzmann constant [W m-2 K-4] (CODATA 2018).
STEFAN_BOLTZMANN = 5.670374419e-8
#: Albedo of bare or vegetated ground, and of snow of the open tundra (Eugster et al., 2000).
ALBEDO, ALBEDO_SNOW = 0.17, 0.75
#: Snow depth [m] that hides half of the ground.
MASKING_DEPTH = 0.05
#: Turbulent exchange with the air [W m-2 K-1] (aerodynamic resistance of 80 s m-1).
EXCHANGE = 15.0

_YEAR = 12
#: Least number of twelve-month means to fit two numbers on.
_LEAST = 24


def ttop_forcing(ds: xr.Dataset) -> tuple[str, ...]:
    """Variables of the TTOP model."""
    require_variables(ds, ("tas",), step="the TTOP baseline")
    return ("tas",)


def balance_forcing(ds: xr.Dataset) -> tuple[str, ...]:
    """Variables of the energy balance."""
    names = ("tas", "rsds", "rlds", "snd")
    require_variables(ds, names, step="the energy-balance baseline")
    return names


def _degree_days(ds: xr.Dataset) -> list[xr.DataArray]:
    """Mean warmth and (negative) mean cold of the last twelve months [K].

    TTOP (Smith and Riseborough, 1996, equation 8): ``(r n_t TDD - n_f FDD) / P``; the fitted
    numbers are ``r n_t`` and ``n_f``, with r the ratio of conductivities.
    """
    celsius = ds["tas"] - FREEZING_POINT
    parts = [celsius.clip(min=0.0), celsius.clip(max=0.0)]
    return [part.rolling({TIME: _YEAR}).mean() for part in parts]


def surface_of_balance(ds: xr.Dataset) -> xr.DataArray:
    """Surface temperature [K] at which absorbed and given energy are equal.

    ``(1 - albedo) rsds + rlds = sigma T^4 + h (T - tas)``, albedo by the share that snow hides,
    ``snd / (snd + 0.05 m)``: the surface balance with albedo feedback of Budyko (1969), with the
    fluxes of the forcing in place of his. Newton iterations from the temperature of the air.

    Examples
    --------
    >>> values = {"tas": 270.0, "rsds": 150.0, "rlds": 260.0, "snd": 0.0}
    >>> ds = xr.Dataset({name: xr.DataArray(value) for name, value in values.items()})
    >>> round(float(surface_of_balance(ds)), 1)
    274.2
    """
    hidden = ds["snd"] / (ds["snd"] + MASKING_DEPTH)
    absorbed = (1.0 - ALBEDO - (ALBEDO_SNOW - ALBEDO) * hidden) * ds["rsds"] + ds["rlds"]
    air = ds["tas"].astype("float64")
    t = air
    for _ in range(6):  # converges to rounding: the equation is nearly linear
        excess = STEFAN_BOLTZMANN * t**4 + EXCHANGE * (t - air) - absorbed
        t = t - excess / (4.0 * STEFAN_BOLTZMANN * t**3 + EXCHANGE)
    return t


def _balance(ds: xr.Dataset) -> list[xr.DataArray]:
    surface = (surface_of_balance(ds) - FREEZING_POINT).rolling({TIME: _YEAR}).mean()
    return [surface, xr.ones_like(surface).where(surface.notnull())]


Drivers = Callable[[xr.Dataset], list[xr.DataArray]]


def training_data(
    ds: xr.Dataset, names: tuple[str, ...], period: slice
) -> tuple[xr.Dataset, xr.DataArray]:
    """Forcing up to the end of training, and soil ``(..., layer, time)`` [degC] of training."""
    forcing = ds[list(names)].sel({TIME: slice(None, period.stop)}).compute().pipe(without_attrs)
    soil = ds["tsl"].sel({TIME: period}).compute().drop_attrs(deep=False) - FREEZING_POINT
    return forcing, soil.transpose(*location_dims(soil), LAYER, TIME)


def air_of(forcing: xr.Dataset, places: tuple[str, ...]) -> np.ndarray:
    """Air temperature ``(*places, month)`` [degC]."""
    air = forcing["tas"].transpose(*places, TIME).values.astype("float64")
    return np.asarray(air - FREEZING_POINT)


def _learn(ds: xr.Dataset, names: tuple[str, ...], drivers: Drivers, period: slice) -> State:
    from scipy.optimize import nnls

    check_monthly(ds, step="an equilibrium baseline")

    forcing, soil = training_data(ds, names, period)
    places = location_dims(soil)
    x = xr.concat(drivers(forcing), dim="driver").sel({TIME: soil[TIME]})
    y = soil.rolling({TIME: _YEAR}).mean()

    def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = np.full((*b.shape[:-1], a.shape[-2]), np.nan)
        for at in np.ndindex(b.shape[:-1]):
            rows = np.isfinite(b[at]) & np.isfinite(a[at[:-1]]).all(axis=0)
            if rows.sum() >= _LEAST:
                out[at] = _fit(a[at[:-1]][:, rows].T, b[at][rows])
        return out

    def _fit(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if np.ptp(a[:, 1]) == 0:  # a slope and a constant
            return np.linalg.lstsq(a, b, rcond=None)[0]
        return np.asarray(nnls(a, b)[0])  # n-factors are not negative

    x = x.transpose(*places, "driver", TIME)
    y = y.transpose(*places, LAYER, TIME)
    numbers = xr.DataArray(
        solve(x.values, y.values),
        dims=(*places, LAYER, "driver"),
        coords={n: c for n, c in y.coords.items() if TIME not in c.dims},
    )
    departure = (soil - (x * numbers).sum("driver", skipna=False)).groupby("time.month").mean()
    return {
        "spec": WindowSpec(length=1, horizon=0, features=names),
        "numbers": numbers,
        "departure": departure,
        "names": names,
    }


def _run(state: State, drivers: Drivers, ds: xr.Dataset) -> xr.DataArray:
    require_variables(ds, state["names"], step="the equilibrium baseline")
    forcing = ds[list(state["names"])].compute().pipe(without_attrs)
    picks = {d: ds[d] for d in location_dims(state["numbers"]) if d != "driver"}
    x = xr.concat(drivers(forcing), dim="driver")
    mean = (x * state["numbers"].sel(picks)).sum("driver", skipna=False)
    usual = state["departure"].sel(picks).sel(month=ds[TIME].dt.month).drop_vars("month")
    return mean + usual + FREEZING_POINT


def learn_ttop(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    """Fit ``r n_t`` and ``n_f`` of every location and layer on the training months."""
    return _learn(ds, ttop_forcing(ds), _degree_days, period)


def run_ttop(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    """Temperature of the TTOP model, and the usual departure of the month [K]."""
    return _run(state, _degree_days, ds)


def learn_balance(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    """Fit slope and constant on the surface temperature of the energy balance."""
    return _learn(ds, balance_forcing(ds), _balance, period)


def run_balance(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    """Temperature by the energy balance, and the usual departure of the month [K]."""
    return _run(state, _balance, ds)
