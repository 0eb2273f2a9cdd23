"""Kudryavtsev's permafrost table as a baseline: a damped wave about a mean with an offset.

The surface is at ``n T``, T the air temperature of the month and n its n-factor, one for thaw and
one for frost. Mean and first harmonic of its last twelve months give the depth Z of the seasonal
front and the mean temperature there (Kudryavtsev et al., 1974; see
:func:`~xpermafrost.physics.analytic.kudryavtsev`). Down to Z the mean changes linearly and the
amplitude falls from that of the surface to what touches 0 degC at Z, the size of the mean there;
below Z the mean is constant and the wave damped as by conduction alone. A wave that decays as
``exp(-z / d)`` is late by ``z / d`` (Carslaw and Jaeger, 1959, section 2.6).

Of each location both n-factors, both conductivities and the latent heat are fitted on the training
months. As in the other equilibrium models, the mean departure of the calendar month is added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ._checks import check_monthly, require_variables, without_attrs
from ._equilibrium_baselines import air_of, training_data
from .physics.analytic import YEAR_SECONDS, kudryavtsev
from .schema import FREEZING_POINT, LAYER, TIME, layer_bounds, location_dims
from .windows import WindowSpec

State = dict[str, Any]

#: The numbers that are fitted: first guess and bounds. n-factors [1], conductivities [W m-1 K-1],
#: latent heat of the soil's water [J m-3].
NUMBERS = {
    "n_thaw": (0.9, 0.2, 1.5),
    "n_frost": (0.4, 0.02, 1.2),
    "conductivity_thawed": (1.0, 0.1, 3.0),
    "conductivity_frozen": (1.6, 0.1, 4.0),
    "latent_heat": (1.2e8, 1e7, 3e8),
}
#: Heat capacities of moist mineral soil, thawed and frozen [J m-3 K-1].
HEAT_CAPACITY = (2.8e6, 2.0e6)

#: Least |mean| at Z that sets the damping above it [K]: at 0 the wave would end at Z.
_LEAST_TABLE = 0.1
_YEAR = 12
#: Least number of months to fit the numbers on.
_LEAST = 24
#: Most evaluations of the profile of a location, beside those for derivatives.
_EVALUATIONS = 60
#: Nodes and weights of a mean over a layer.
_GAUSS = np.polynomial.legendre.leggauss(5)


def kudryavtsev_forcing(ds: xr.Dataset) -> tuple[str, ...]:
    """Variables of Kudryavtsev's model."""
    require_variables(ds, ("tas",), step="the Kudryavtsev baseline")
    return ("tas",)


def last_year(values: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, cosine and sine of the first harmonic of the last twelve months ``(..., month)``.

    Examples
    --------
    >>> angle = 2 * np.pi * np.arange(14) / 12
    >>> mean, c, s = last_year(2.0 + 3.0 * np.cos(angle), angle)
    >>> bool(np.isnan(mean[10])), mean[11:].round(6).tolist(), c[11:].round(6).tolist()
    (True, [2.0, 2.0, 2.0], [3.0, 3.0, 3.0])
    """
    rows = np.stack([values, 2.0 * values * np.cos(angle), 2.0 * values * np.sin(angle)])
    out = np.full(rows.shape, np.nan)
    if values.shape[-1] >= _YEAR:
        windows = np.lib.stride_tricks.sliding_window_view(rows, _YEAR, axis=-1)
        out[..., _YEAR - 1 :] = windows.mean(axis=-1)
    return out[0], out[1], out[2]


def wave_profile(
    depth: np.ndarray, angle: np.ndarray, harmonic: tuple[np.ndarray, ...], soil: np.ndarray
) -> np.ndarray:
    """Temperature ``(month, depth)`` [degC].

    Of ``depth`` [m], ``angle (month,)`` of the year, ``harmonic`` of the surface (mean, cosine and
    sine, each ``(month,)``) and ``soil``: conductivities and latent heat as in :data:`NUMBERS`.
    """
    mean, cosine, sine = harmonic
    amplitude = np.maximum(np.hypot(cosine, sine), 1e-6)
    thawed, frozen, latent = soil
    front, table = kudryavtsev(
        mean,
        amplitude,
        conductivity_thawed=thawed,
        conductivity_frozen=frozen,
        heat_capacity_thawed=HEAT_CAPACITY[0],
        heat_capacity_frozen=HEAT_CAPACITY[1],
        latent_heat=latent,
    )
    below = np.where(table > 0, thawed / HEAT_CAPACITY[0], frozen / HEAT_CAPACITY[1])
    length = np.sqrt(below * YEAR_SECONDS / np.pi)  # damping depth of conduction
    touched = np.minimum(np.maximum(np.abs(table), _LEAST_TABLE), amplitude)
    # Without a front the mean there is as large as the amplitude: nothing falls above it.
    share = np.minimum(depth / np.maximum(front, 1e-9)[:, None], 1.0)
    deeper = np.maximum(depth - front[:, None], 0.0) / length[:, None]
    decay = share * np.log(amplitude / touched)[:, None] + deeper
    late = np.arctan2(sine, cosine)[:, None] + decay
    wave = amplitude[:, None] * np.exp(-decay) * np.cos(angle[:, None] - late)
    return mean[:, None] + (table - mean)[:, None] * share + wave


def _model(
    numbers: np.ndarray, air: np.ndarray, angle: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Temperature ``(month, layer)`` [degC] of a location."""
    surface = np.where(air > 0, numbers[0], numbers[1]) * air
    nodes = 0.5 * (bounds.sum(axis=1)[:, None] + np.diff(bounds) * _GAUSS[0])
    made = wave_profile(nodes.ravel(), angle, last_year(surface, angle), numbers[2:])
    return made.reshape(air.size, *nodes.shape) @ (0.5 * _GAUSS[1])


def _fit(air: np.ndarray, angle: np.ndarray, soil: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The :data:`NUMBERS` of a location; ``soil (month, layer)`` of the last months of ``air``."""
    from scipy.optimize import least_squares

    first, low, high = np.log(np.array(list(NUMBERS.values())).T)
    start = air.size - len(soil)

    def error(logs: np.ndarray) -> np.ndarray:
        return (_model(np.exp(logs), air, angle, bounds)[start:] - soil)[known]

    known = np.isfinite(soil)
    known &= np.isfinite(_model(np.exp(first), air, angle, bounds)[start:])
    if known.any(axis=1).sum() < _LEAST:
        return np.full(first.size, np.nan)
    found = least_squares(error, first, bounds=(low, high), max_nfev=_EVALUATIONS, diff_step=1e-4)
    return np.exp(found.x)


def _driven(forcing: xr.Dataset, places: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    angle = 2.0 * np.pi * (forcing[TIME].dt.month.values - 0.5) / _YEAR
    return air_of(forcing, places), angle


def learn_kudryavtsev(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    """Fit the :data:`NUMBERS` of every location on the training months."""
    check_monthly(ds, step="the Kudryavtsev baseline")
    names = kudryavtsev_forcing(ds)
    forcing, soil = training_data(ds, names, period)
    places = tuple(str(d) for d in location_dims(soil))
    bounds = layer_bounds(ds)
    air, angle = _driven(forcing, places)
    numbers = np.empty((*soil.shape[:-2], len(NUMBERS)))
    found = np.empty(soil.shape)
    for at in np.ndindex(soil.shape[:-2]):
        numbers[at] = _fit(air[at], angle, soil.values[at].T, bounds)
        found[at] = _model(numbers[at], air[at], angle, bounds)[-soil.sizes[TIME] :].T
    example = soil.isel({LAYER: 0, TIME: 0}, drop=True)
    return {
        "spec": WindowSpec(length=1, horizon=0, features=names),
        "numbers": example.expand_dims(number=list(NUMBERS), axis=-1).copy(data=numbers),
        "departure": (soil - found).groupby("time.month").mean(),
        "bounds": bounds,
        "names": names,
    }


def run_kudryavtsev(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    """Temperature of Kudryavtsev's wave, and the usual departure of the month [K]."""
    require_variables(ds, state["names"], step="the Kudryavtsev baseline")
    places = tuple(str(d) for d in location_dims(state["numbers"]) if d != "number")
    picks = {d: ds[d] for d in places}
    numbers = state["numbers"].sel(picks).values
    air, angle = _driven(ds[list(state["names"])].compute().pipe(without_attrs), places)
    departure = state["departure"].sel(picks).sel(month=ds[TIME].dt.month).drop_vars("month")
    out = departure.transpose(*places, LAYER, TIME)
    found = np.empty(out.shape)
    for at in np.ndindex(out.shape[:-2]):
        found[at] = _model(numbers[at], air[at], angle, state["bounds"]).T
    return out + found + FREEZING_POINT
