"""Stefan's front as a baseline: a straight profile from the surface to where the ground changes.

The surface is at ``n T``, T the air temperature of the month and n its n-factor (Lunardini, 1978),
one for thaw and one for frost. Since the last turn of the season the front has come to
``Z = sqrt(2 k n I / L) = e sqrt(I)``, I the degree days of the air to the middle of the month and e
the edaphic factor (Stefan, 1891; Nelson and Outcalt, 1987, equation 2). Above it the profile is the
quasi-steady one, ``n T (1 - z / Z)``; below it the ground is at its mean of the training months.
As in the other equilibrium models, the mean departure of the calendar month is added.

Of each location n and e are fitted for both seasons: n by least squares at each of a row of e, and
the best of these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ._checks import check_monthly, require_variables, without_attrs
from ._equilibrium_baselines import air_of, training_data
from .schema import FREEZING_POINT, LAYER, TIME, layer_bounds, location_dims
from .windows import WindowSpec

State = dict[str, Any]

#: Edaphic factors that are tried [m K-1/2 d-1/2]: of wet peat 0.02, of dry gravel 0.08.
FACTORS = np.geomspace(0.005, 0.3, 120)

_YEAR = 12
#: Least number of months of a season to fit two numbers on.
_LEAST = 12


def stefan_forcing(ds: xr.Dataset) -> tuple[str, ...]:
    """Variables of Stefan's model."""
    require_variables(ds, ("tas",), step="the Stefan baseline")
    return ("tas",)


def season_index(air: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Degree days [K d] from the last turn of season to the middle of each month, both signs alike.

    ``air (..., month)`` [degC]. Missing where the season began before the record, until a year of
    it is known, and from a missing month to the next turn.

    Examples
    --------
    >>> season_index(np.array([-1.0, 2.0, 3.0, -4.0]), np.full(4, 30.0)).tolist()
    [nan, 30.0, 105.0, 60.0]
    """
    heat = np.abs(air) * days
    begun = np.zeros(air.shape, dtype=bool)
    begun[..., 1:] = (air[..., 1:] > 0) != (air[..., :-1] > 0)
    index = np.full(air.shape, np.nan)
    before = np.full(air.shape[:-1], np.nan)  # to the end of the month before
    for month in range(air.shape[-1]):
        first = begun[..., month] & np.isfinite(air[..., max(month - 1, 0)])
        before = np.where(first, 0.0, before)
        if month == _YEAR:  # one season without end
            whole = heat[..., :month].sum(axis=-1)
            before = np.where(np.isnan(before) & np.isfinite(whole), whole, before)
        index[..., month] = before + 0.5 * heat[..., month]
        before = before + heat[..., month]
    return index


def shape_of_profile(front: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the surface temperature in each layer's mean, and share of the layer below Z.

    Of ``1 - z / Z`` above the front Z ``(...)`` [m], for ``bounds (layer, 2)`` [m], equal ones for
    a point. Both ``(..., layer)``.

    Examples
    --------
    >>> shape, below = shape_of_profile(np.array(0.5), np.array([[0.0, 0.2], [0.4, 0.6], [1, 1]]))
    >>> shape.round(2).tolist(), below.round(2).tolist()
    ([0.8, 0.05, 0.0], [0.0, 0.5, 1.0])
    """
    top, bottom = bounds[:, 0], bounds[:, 1]
    front = front[..., None]
    end = np.clip(front, top, bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(bottom > top, (end - top) / (bottom - top), np.where(front > top, 1.0, 0.0))
        shape = np.where(part > 0, part * (1.0 - 0.5 * (top + end) / front), 0.0)
    known = np.isfinite(front)
    return np.where(known, shape, np.nan), np.where(known, 1.0 - part, np.nan)


def _profile(
    air: np.ndarray, index: np.ndarray, numbers: np.ndarray, mean: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Temperature ``(..., layer, month)`` [degC].

    Of ``air`` and ``index (..., month)``, ``numbers (..., season, number)`` (thaw, frost; n and e)
    and ``mean (..., layer)``.
    """
    thaw = (air > 0)[..., None]
    own = np.where(thaw, numbers[..., None, 0, :], numbers[..., None, 1, :])
    shape, below = shape_of_profile(own[..., 1] * np.sqrt(index), bounds)
    made = (own[..., 0] * air)[..., None] * shape + below * mean[..., None, :]
    return np.swapaxes(made, -1, -2)


def _fit(
    air: np.ndarray, index: np.ndarray, soil: np.ndarray, mean: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """n and e of a season of one location: ``air``, ``index (month,)``, ``soil (layer, month)``.

    Zeros, all the ground below the front, where too little is known.
    """
    wanted = np.isfinite(soil).T & np.isfinite(index)[:, None]
    if wanted.any(axis=1).sum() < _LEAST:
        return np.zeros(2)
    shape, below = shape_of_profile(FACTORS[:, None] * np.sqrt(index), bounds)
    steep = np.where(wanted, air[:, None] * shape, 0.0)
    rest = np.where(wanted, soil.T - below * np.where(np.isfinite(mean), mean, 0.0), 0.0)
    along = (steep**2).sum(axis=(1, 2))
    n = np.maximum((steep * rest).sum(axis=(1, 2)) / np.where(along > 0, along, np.inf), 0.0)
    error = ((rest - n[:, None, None] * steep) ** 2).sum(axis=(1, 2))
    best = int(np.argmin(error))
    return np.array([n[best], FACTORS[best]])


def _driven(forcing: xr.Dataset, places: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    air = air_of(forcing, places)
    return air, season_index(air, forcing[TIME].dt.days_in_month.values.astype("float64"))


def learn_stefan(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    """Fit n-factors and edaphic factors of every location on the training months."""
    check_monthly(ds, step="the Stefan baseline")
    names = stefan_forcing(ds)
    forcing, soil = training_data(ds, names, period)
    places = tuple(str(d) for d in location_dims(soil))
    bounds = layer_bounds(ds)
    air, index = (part[..., -soil.sizes[TIME] :] for part in _driven(forcing, places))
    mean = soil.mean(TIME)
    numbers = np.zeros((*soil.shape[:-2], 2, 2))
    for at in np.ndindex(soil.shape[:-2]):
        for season, mine in enumerate((air[at] > 0, air[at] <= 0)):
            numbers[at][season] = _fit(
                air[at][mine], index[at][mine], soil.values[at][:, mine], mean.values[at], bounds
            )
    found = _profile(air, index, numbers, mean.values, bounds)
    return {
        "spec": WindowSpec(length=1, horizon=0, features=names),
        "numbers": mean.isel({LAYER: 0}, drop=True)
        .expand_dims(season=["thaw", "frost"], number=["n_factor", "edaphic_factor"])
        .transpose(*places, "season", "number")
        .copy(data=numbers),
        "mean": mean,
        "departure": (soil - found).groupby("time.month").mean(),
        "bounds": bounds,
        "names": names,
    }


def run_stefan(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    """Temperature of Stefan's profile, and the usual departure of the month [K]."""
    require_variables(ds, state["names"], step="the Stefan baseline")
    mean = state["mean"]
    places = tuple(str(d) for d in location_dims(mean))
    picks = {d: ds[d] for d in places}
    mean, numbers = (state[name].sel(picks) for name in ("mean", "numbers"))
    air, index = _driven(ds[list(state["names"])].compute().pipe(without_attrs), places)
    values = _profile(air, index, numbers.values, mean.values, state["bounds"])
    out = mean.expand_dims({TIME: ds[TIME]}, axis=-1).copy(data=values)
    usual = state["departure"].sel(picks).sel(month=ds[TIME].dt.month).drop_vars("month")
    return out + usual + FREEZING_POINT
