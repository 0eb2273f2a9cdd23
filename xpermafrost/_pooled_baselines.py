"""Baselines for a place that none of them has seen: learned at other places, applied to it.

===================  ==========================================================================
``climatology``      mean of the usual courses of the training places
``trend``            mean of their courses and linear trends
``ridge``            ridge regression on lagged departures from the course of all training places
``boosting``         gradient boosting on the flattened window, without the number of the place
``ttop``             mean of the answers by each training place's factors, that is by their mean
``energy_balance``   the same by each one's slope and constant
``column``           mean of the columns calibrated at each training place
===================  ==========================================================================

The persistences read the soil's own record at the place, so they are none of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ._checks import choose, marks_of
from .baselines import BASELINES, FittedBaseline, _boost, fit_baseline
from .climatology import climatology, usual
from .errors import DataError
from .features import SEASON_NAMES, build_features, feature_statistics
from .preparation import Period, training_period
from .products import soil_temperature
from .schema import LAYER, TIME, location_dims
from .windows import Windows, WindowSpec, make_windows

#: Baselines that read the soil's record at the place that they answer for.
OWN_RECORD = ("persistence", "persistence_year", "damped_persistence")

#: Baselines that answer for an unseen place.
POOLED = tuple(name for name in BASELINES if name not in OWN_RECORD)

#: Fewest windows that a layer is learned from.
_LEAST = 24


@dataclass(frozen=True, kw_only=True)
class PooledBaseline:
    """A baseline learned at some places, for any other; made by :func:`fit_pooled`.

    Attributes
    ----------
    name : str
    spec : WindowSpec
    period : slice
        Training months; of an unseen place's own forcing, its statistics are taken from them.
    state : dict
        Regressions by layer, or the baseline of every training place.
    """

    name: str
    spec: WindowSpec
    period: slice
    state: dict[str, Any]

    def predict(self, ds: xr.Dataset) -> xr.DataArray:
        """Soil temperature ``(location, layer, time)`` [degC] at places of any name."""
        if "own" in self.state:
            return _transfer(self.state["own"], ds)
        kelvin = _run_regression(self, ds)
        return soil_temperature(kelvin, model=self.name, **marks_of(ds))


def fit_pooled(
    name: str, ds: xr.Dataset, *, train: Period | str | None = "all", spec: WindowSpec
) -> PooledBaseline:
    """Fit a baseline on all places of ``ds`` together, for places that are not among them.

    Parameters
    ----------
    name : str
        See the table at the head of this module.
    ds : Dataset
        Canonical, monthly, with ``tsl``; one location dimension.
    train : tuple of str or "all"
        As in :func:`xpermafrost.fit`.
    spec : WindowSpec
        Window and features of ridge and boosting.

    Raises
    ------
    UnknownNameError, MissingVariableError
    DataError
        If no layer has values to learn from.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds, there = canonical(years=6), canonical(years=6, locations=["elsewhere"], seed=1)
    >>> ridge = fit_pooled("ridge", ds, spec=WindowSpec(length=6, features=("tas", "snd")))
    >>> ridge.predict(there).dims
    ('band', 'layer', 'time')
    """
    choose("baseline for an unseen place", name, POOLED)
    period = slice(*training_period(ds, train))
    if name in _REGRESSIONS:
        state = _learn_regression(ds, spec, period, name)
        return PooledBaseline(name=name, spec=spec, period=period, state=state)
    own = fit_baseline(name, ds, train=train, spec=spec)
    labels = ds[_place(ds)].values
    return PooledBaseline(
        name=name, spec=own.spec, period=period, state={"own": _Own(own, _place(ds), labels)}
    )


def pooled_climatology(ds: xr.Dataset, period: slice) -> xr.DataArray:
    """Mean of the usual courses of all places ``(layer, month)``, each weighing the same [K]."""
    return climatology(ds["tsl"].sel({TIME: period}).compute()).mean(_place(ds))


def _place(ds: xr.Dataset) -> str:
    return str(location_dims(ds.get("tsl", ds))[0])


@dataclass(frozen=True)
class _Own:
    """A baseline fitted at each of the training places."""

    fitted: FittedBaseline
    dim: str
    labels: np.ndarray


def _transfer(own: _Own, ds: xr.Dataset) -> xr.DataArray:
    """Mean of what the baseline of every training place says about the forcing of ``ds``."""
    places = ds[own.dim]
    keep = [n for n in ds.data_vars if n != "tsl" and TIME in ds[n].dims]
    layers = {n: c for n, c in ds.coords.items() if c.dims == (LAYER,)}
    forcing = ds[keep].assign_coords(layers)
    answers = []
    for label in own.labels:  # every place under the name of one that was learned
        alias = forcing.assign_coords({own.dim: np.full(places.size, label)})
        answers.append(own.fitted.predict(alias).assign_coords({own.dim: places}))
    mean = xr.concat(answers, "learned", coords="minimal", compat="override").mean("learned")
    return mean.transpose(*answers[0].dims).assign_attrs(answers[0].attrs)


def _learn_regression(ds: xr.Dataset, spec: WindowSpec, period: slice, name: str) -> dict[str, Any]:
    """Ridge or boosting of each layer on the windows of all places together."""
    raw = _features(ds, spec, period, name)
    inside = raw.sel({TIME: period})
    course = climatology(inside).mean(_place(ds))
    spread = (inside - usual(course, inside[TIME])).std((_place(ds), TIME))
    state: dict[str, Any] = {"course": course, "spread": spread.where(spread > 1e-9, 1.0)}
    state["soil"] = pooled_climatology(ds, period)
    windows = _windows(raw, state, spec, name)
    target = ds["tsl"].compute()
    if name == "ridge":
        target = target - usual(state["soil"], target[TIME])
    values = target.transpose(_place(ds), TIME, LAYER).values[windows.location, windows.end]
    stamps = ds[TIME].values[windows.end]
    training = (stamps >= period.start) & (stamps <= period.stop)
    rows = windows.flat()[windows.rows]
    learned = []
    for one in values.T:
        use = training & np.isfinite(one)
        enough = use.sum() >= _LEAST
        place = windows.location[use]
        learned.append(_REGRESSIONS[name](rows[use], one[use], place) if enough else None)
    if not any(r is not None for r in learned):
        raise DataError(f"the pooled baseline {name!r} found no layer with {_LEAST} known months.")
    return {**state, "learned": learned}


def _features(ds: xr.Dataset, spec: WindowSpec, period: slice, name: str) -> xr.DataArray:
    # ridge works on departures from the course of the year, which leave nothing of the season
    names = tuple(n for n in spec.features if name != "ridge" or n not in SEASON_NAMES)
    statistics = feature_statistics(ds.sel({TIME: period}), names)
    raw = build_features(ds, names, statistics=statistics, length=spec.length)
    return raw.compute()


def _windows(raw: xr.DataArray, state: dict[str, Any], spec: WindowSpec, name: str) -> Windows:
    if name == "ridge":
        departure = (raw - usual(state["course"], raw[TIME])) / state["spread"]
        raw = departure.transpose(*raw.dims)
    return make_windows(raw, spec)


def _run_regression(baseline: PooledBaseline, ds: xr.Dataset) -> xr.DataArray:
    state = baseline.state
    raw = _features(ds, baseline.spec, baseline.period, baseline.name)
    windows = _windows(raw, state, baseline.spec, baseline.name)
    rows = windows.flat()[windows.rows]
    missing = np.full(len(windows), np.nan)
    values = [missing if one is None else one.predict(rows) for one in state["learned"]]
    layers = {str(n): c.variable for n, c in state["soil"].coords.items() if c.dims == (LAYER,)}
    answer = windows.label(np.column_stack(values), layers)
    return answer + usual(state["soil"], answer[TIME]) if baseline.name == "ridge" else answer


@dataclass(frozen=True)
class _Linear:
    weights: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[:-1] + self.weights[-1]


def _ridge(x: np.ndarray, y: np.ndarray, place: np.ndarray) -> _Linear:
    """Ridge weights with intercept (Hoerl & Kennard 1970, eq. 2.1).

    The penalty is the one that errs least at training places left out in turn.
    """
    x = np.column_stack([x, np.ones(len(x))]).astype("float64")
    groups = [place == label for label in np.unique(place)]
    grams = np.stack([x[g].T @ x[g] for g in groups])
    moments = np.stack([x[g].T @ y[g] for g in groups])
    shrunk = np.diag([*np.ones(x.shape[1] - 1), 0.0])  # the intercept is free
    penalties = np.geomspace(1.0, 1e6, 19)

    def error(penalty: float) -> float:
        total = 0.0
        for k, g in enumerate(groups):
            gram, moment = grams.sum(0) - grams[k], moments.sum(0) - moments[k]
            weights = np.linalg.solve(gram + penalty * shrunk, moment)
            total += float(((x[g] @ weights - y[g]) ** 2).sum())
        return total

    best = penalties[-1] if len(groups) == 1 else min(penalties, key=error)
    found = np.linalg.solve(grams.sum(0) + best * shrunk, moments.sum(0))
    return _Linear(found)


def _forest(x: np.ndarray, y: np.ndarray, place: np.ndarray) -> Any:
    return _boost(x, y)


_REGRESSIONS = {"ridge": _ridge, "boosting": _forest}
