"""Baselines under the same protocol as a network: fit on the training months, predict a Dataset.

=======================  =====================================================================
``climatology``          usual course of the year at each location and layer
``trend``                climatology plus a linear trend of the training years
``persistence``          the soil temperature one month (day) before
``persistence_year``     the same month (day) one year before
``damped_persistence``   climatology plus the last anomaly times its lag-1 correlation
``ridge``                ridge regression on the lagged anomalies of all features
``boosting``             gradient boosting on the flattened window and the location
``ttop``                 mean of the last twelve months by TTOP with fitted n-factors
``energy_balance``       the same by the surface temperature of an energy balance
``stefan``               straight profile from the surface to Stefan's front of thaw or frost
``kudryavtsev``          damped wave about the mean at Kudryavtsev's permafrost table
``column``               soil column with freezing, calibrated at each location
=======================  =====================================================================

Of a window of days, ridge and boosting read means over blocks that double in length backwards
(the last day, the one before, the two before, the four before, ...), not each day.

The persistences know the soil's own past, which no network here is given. Beyond the record,
``persistence`` is NaN, ``persistence_year`` repeats the last year, and ``damped_persistence`` fades
into the climatology.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ._blocks import is_lazy
from ._checks import check_steps, choose, marks_of, require_variables
from ._column_baseline import column_forcing, learn_column, run_column
from ._equilibrium_baselines import (
    balance_forcing,
    learn_balance,
    learn_ttop,
    run_balance,
    run_ttop,
    ttop_forcing,
)
from ._front_baselines import learn_stefan, run_stefan, stefan_forcing
from ._optional import require
from ._wave_baseline import kudryavtsev_forcing, learn_kudryavtsev, run_kudryavtsev
from .climatology import climatology, usual, year_fraction
from .errors import DataError, ModelMismatchError
from .experiment import reference_of
from .features import SEASON_NAMES, build_features, default_features, feature_statistics
from .preparation import Period, training_period
from .products import predict_blocks, soil_temperature
from .schema import LAYER, STEPS, TIME, location_dims
from .windows import Windows, WindowSpec, location_index, make_windows

#: Baselines whose answer begins where the record of all places ends.
PERSISTENCES = ("persistence", "persistence_year", "damped_persistence")


@dataclass(frozen=True, kw_only=True)
class FittedBaseline:
    """A baseline fitted on training months.

    Attributes
    ----------
    name : str
    spec : WindowSpec
    state : dict
        What was learned: DataArrays by name, or a regressor per layer.
    run : callable
        ``run(state, spec, ds)`` gives ``(location..., layer, time)`` [K].
    """

    name: str
    spec: WindowSpec
    state: dict[str, Any]
    run: Callable[[dict[str, Any], WindowSpec, xr.Dataset], xr.DataArray]

    def predict(self, ds: xr.Dataset) -> xr.DataArray:
        """Soil temperature ``(location..., layer, time)`` [degC]. Lazy, but for persistences."""
        check_steps(ds, self.spec.step, step=f"the baseline {self.name!r}")
        if is_lazy(ds) and self.name not in PERSISTENCES:
            return predict_blocks(self, ds)
        kelvin = self.run(self.state, self.spec, ds)
        return soil_temperature(kelvin, model=self.name, **marks_of(ds))


def fit_baseline(
    name: str,
    ds: xr.Dataset,
    *,
    train: Period | str | None = None,
    spec: WindowSpec | None = None,
) -> FittedBaseline:
    """Fit the baseline ``name`` on the training months of a reference Dataset.

    Parameters
    ----------
    name : str
        See the table at the head of this module.
    ds : Dataset
        Canonical, with ``tsl``; or an experiment Dataset.
    train : tuple of str, "all" or None
        As in :func:`xpermafrost.fit`.
    spec : WindowSpec, optional
        Time step of all; window and features of ridge and boosting, the same as the networks'.

    Raises
    ------
    UnknownNameError, MissingVariableError

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> fit_baseline("ridge", canonical(years=6)).predict(canonical(years=6)).dims
    ('band', 'layer', 'time')
    """
    choose("baseline", name, BASELINES)
    ds = reference_of(ds, every=spec.step if spec else "month")
    require_variables(ds, ("tsl",), step="a baseline")
    spec = spec or WindowSpec(features=default_features(ds))
    period = slice(*training_period(ds, train, step=spec.step))
    learn, run = BASELINES[name]
    state = learn(ds, spec, period)
    # the soil column reads its own variables, whatever the networks read
    return FittedBaseline(name=name, spec=state.pop("spec", spec), state=state, run=run)


State = dict[str, Any]


def _usual(da: xr.DataArray | xr.Dataset, learned: xr.DataArray) -> xr.DataArray:
    """The climatology at every time of ``da``, at its places."""
    return usual(_at(learned, da), da[TIME])


def _at(learned: xr.DataArray, like: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """What was learned, at the places of ``like``: found by label, whatever their order."""
    picks = {d: like[d] for d in location_dims(learned) if d in learned.coords}
    for dim, labels in picks.items():
        unknown = np.setdiff1d(labels.values, learned[dim].values)
        if unknown.size:
            raise ModelMismatchError(
                f"the baseline knows the {dim!r} {learned[dim].values[:6].tolist()}; the data also "
                f"have {unknown[:6].tolist()}. Select its own, or fit on these."
            )
    return learned.sel(picks)


def _learn_climatology(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    target = ds["tsl"].sel({TIME: period}).compute()
    return {"climatology": climatology(target, step=spec.step)}


def _run_climatology(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    return _usual(ds, state["climatology"])


def _years(time: xr.DataArray, step: str) -> xr.DataArray:
    return time.dt.year + (year_fraction(time) if step == "day" else (time.dt.month - 0.5) / 12)


def _learn_trend(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    target = ds["tsl"].sel({TIME: period}).compute()
    course = climatology(target, step=spec.step)
    anomaly = target - _usual(target, course)
    year = _years(target[TIME], spec.step).where(anomaly.notnull())
    centre = year.mean(TIME)
    slope = ((year - centre) * anomaly).sum(TIME) / ((year - centre) ** 2).sum(TIME)
    return {"climatology": course, "slope": slope, "centre": centre}


def _run_trend(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    drift = _at(state["slope"], ds) * (_years(ds[TIME], spec.step) - _at(state["centre"], ds))
    return _usual(ds, state["climatology"]) + drift


def _learn_nothing(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    year = slice(-STEPS[spec.step], None)
    return {"last": ds["tsl"].sel({TIME: period}).isel({TIME: year}).compute()}


def _observed(ds: xr.Dataset) -> tuple[xr.DataArray, int]:
    """The soil's record on the time axis, and how many steps of it there are."""
    require_variables(ds, ("tsl",), step="persistence")
    target = ds["tsl"].compute()
    known = target.notnull().any([d for d in target.dims if d != TIME]).values
    if not known.any():
        raise DataError("persistence needs an observed 'tsl'; it is missing throughout.")
    return target, int(np.flatnonzero(known)[-1]) + 1


def _run_persistence(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    return _persist(ds, lag=1)


def _run_persistence_year(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    return _persist(ds, lag=STEPS[spec.step])


def _persist(ds: xr.Dataset, *, lag: int) -> xr.DataArray:
    target, n_known = _observed(ds)
    source = np.arange(target.sizes[TIME]) - lag
    beyond = source >= n_known  # there the last known year is repeated
    source[beyond] = n_known - lag + (source[beyond] - n_known) % lag
    known = source >= 0
    if lag == 1:  # a month carried on is no forecast of other seasons; a year carried on is one
        known &= ~beyond
    values = target.isel({TIME: np.maximum(source, 0)}).assign_coords({TIME: target[TIME]})
    return values.where(xr.DataArray(known, dims=TIME, coords={TIME: target[TIME]}))


def _learn_damped(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    target = ds["tsl"].sel({TIME: period}).compute()
    course = climatology(target, step=spec.step)
    anomaly = target - _usual(target, course)
    before = anomaly.shift({TIME: 1})
    both = before.notnull() & anomaly.notnull()
    damping = (before * anomaly).sum(TIME) / (before.where(both) ** 2).sum(TIME)
    return {"climatology": course, "damping": damping.clip(0.0, 1.0)}


def _run_damped(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    target, n_known = _observed(ds)
    base = _usual(target, state["climatology"])
    anomaly = target - base
    damping = _at(state["damping"], target)
    out = base + damping * anomaly.shift({TIME: 1})
    if n_known < target.sizes[TIME]:
        ahead = xr.DataArray(np.arange(target.sizes[TIME]) - n_known + 1, dims=TIME)
        last = anomaly.isel({TIME: n_known - 1}, drop=True)
        decayed = base + last * damping ** ahead.clip(0).assign_coords({TIME: target[TIME]})
        out = out.where(ds[TIME] <= target[TIME][n_known - 1], decayed)
    return out


def _statistics(ds: xr.Dataset, spec: WindowSpec, period: slice) -> xr.Dataset:
    return feature_statistics(ds.sel({TIME: period}), spec.features, step=spec.step)


def _features(ds: xr.Dataset, state: State, spec: WindowSpec) -> xr.DataArray:
    names, statistics = state["names"], state["statistics"].map(_at, like=ds)
    raw = build_features(ds, names, statistics=statistics, length=spec.length, step=spec.step)
    return raw.compute()


def _inside(ds: xr.Dataset, windows: Windows, period: slice) -> np.ndarray:
    """Whether the target of each window is in training."""
    steps = ds.indexes[TIME].slice_indexer(period.start, period.stop)
    return (windows.end >= steps.start) & (windows.end < steps.stop)


def _table(windows: Windows, which: np.ndarray) -> np.ndarray:
    """A row of numbers for some windows: each month of each feature, or means of days."""
    if windows.spec.step == "month":
        return windows.flat()[windows.rows[which]]
    sums = np.cumsum(np.nan_to_num(windows.cube), axis=1, dtype="float64")
    sums = np.pad(sums, ((0, 0), (1, 0), (0, 0)))
    place, after = windows.location[which], windows.start[which] + windows.spec.length
    edges = [0, *(2**k for k in range(16) if 2**k < windows.spec.length), windows.spec.length]
    means = [
        (sums[place, after - near] - sums[place, after - far]) / (far - near)
        for near, far in pairwise(edges)
    ]
    return np.concatenate(means, axis=1).astype("float32")


def _anomalies(raw: xr.DataArray, state: State) -> xr.DataArray:
    anomaly = raw - _usual(raw, state["feature_climatology"])
    return (anomaly / _at(state["feature_std"], raw)).transpose(*raw.dims)


def _learn_ridge(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    state: State = {"statistics": _statistics(ds, spec, period)}
    names = tuple(n for n in spec.features if n not in (*SEASON_NAMES, "year"))
    # every feature becomes an anomaly here, so one that is one already would stand twice
    names = tuple(n for n in names if not n.endswith(":anomaly") or n.split(":")[0] not in names)
    state["names"] = names
    raw = _features(ds, state, spec)
    inside = raw.sel({TIME: period})
    state["feature_climatology"] = climatology(inside, step=spec.step)
    spread = (inside - _usual(inside, state["feature_climatology"])).std(TIME)
    state["feature_std"] = spread.where(spread > 1e-9, 1.0)
    target = ds["tsl"].compute()
    state["climatology"] = climatology(target.sel({TIME: period}), step=spec.step)
    windows = make_windows(_anomalies(raw, state), spec)
    places = location_dims(raw)
    anomaly = (target - _usual(target, state["climatology"])).transpose(*places, TIME, LAYER)
    values = anomaly.values.reshape(-1, *anomaly.shape[-2:])
    training = _inside(ds, windows, period)
    width = _table(windows, np.arange(0)).shape[1]
    weights = np.zeros((values.shape[0], values.shape[2], width + 1))
    penalty = np.full(weights.shape[:2], np.nan)
    for place in range(values.shape[0]):
        mine = (windows.location == place) & training
        x, y = _table(windows, mine).astype("float64"), values[place, windows.end[mine]]
        for layer in range(values.shape[2]):
            known = np.isfinite(y[:, layer])
            if known.sum() >= 24:
                solved = _ridge(x[known], y[known, layer])
                weights[place, layer], penalty[place, layer] = solved
    state.update(weights=weights, penalty=penalty, places=_labels(raw))
    return state


def _ridge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Ridge weights with intercept (Hoerl & Kennard 1970, eq. 2.1).

    The penalty is the one that errs least on the last quarter of the training months.
    """
    cut = int(0.75 * len(y))
    penalties = np.geomspace(1.0, 1e6, 19)
    trial = _solve(x[:cut], y[:cut], penalties)
    error = [np.mean((x[cut:] @ w[:-1] + w[-1] - y[cut:]) ** 2) for w in trial]
    best = penalties[int(np.argmin(error))]
    return _solve(x, y, np.array([best]))[0], float(best)


def _solve(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    centre, level = x.mean(axis=0), y.mean()
    u, s, vt = np.linalg.svd(x - centre, full_matrices=False)
    shrunk = (s / (s**2 + penalties[:, None])) * (u.T @ (y - level))
    slopes = shrunk @ vt
    return np.concatenate([slopes, (level - slopes @ centre)[:, None]], axis=1)


def _run_ridge(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    raw = _features(ds, state, spec)
    windows = make_windows(_anomalies(raw, state), spec)
    x = _table(windows, np.arange(len(windows)))
    weights = state["weights"][_numbers(raw, state)[windows.location]]
    values = np.einsum("wf,wlf->wl", x, weights[:, :, :-1]) + weights[:, :, -1]
    anomaly = windows.label(values, _layers(state["climatology"]))
    return anomaly + _usual(anomaly, state["climatology"])


def _layers(da: xr.DataArray) -> dict[str, xr.Variable]:
    return {str(n): c.variable for n, c in da.coords.items() if c.dims == (LAYER,)}


def _learn_boosting(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    from joblib import Parallel, delayed

    state: State = {"statistics": _statistics(ds, spec, period), "names": spec.features}
    raw = _features(ds, state, spec)
    windows = make_windows(raw, spec)
    target = ds["tsl"].compute().transpose(*location_dims(raw), TIME, LAYER)
    values = target.values.reshape(-1, *target.shape[-2:])[windows.location, windows.end]
    training = _inside(ds, windows, period)[:, None] & np.isfinite(values)
    x = _with_place(windows, np.arange(windows.cube.shape[0]))
    # One thread a layer: OpenMP inside a fit this small costs more than it brings.
    regressors = Parallel(n_jobs=-1, prefer="threads")(
        delayed(_boost)(x[use], y[use]) for use, y in zip(training.T, values.T, strict=True)
    )
    learned = np.zeros(windows.cube.shape[0], dtype=bool)
    learned[windows.location[training.any(axis=1)]] = True
    state.update(
        regressors=regressors, learned=learned, layers=_layers(target), places=_labels(raw)
    )
    return state


def _boost(x: np.ndarray, y: np.ndarray) -> Any:
    if not y.size:
        return None  # a layer without observations; it has no answer
    ensemble, threads = (
        require(
            module,
            purpose="the gradient boosting baseline",
            install="pip install 'xpermafrost[boost]'",
        )
        for module in ("sklearn.ensemble", "threadpoolctl")
    )
    with threads.threadpool_limits(1, user_api="openmp"):
        return ensemble.HistGradientBoostingRegressor(
            max_iter=200,
            learning_rate=0.07,
            min_samples_leaf=15,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=0,
        ).fit(x, y)


def _labels(raw: xr.DataArray) -> pd.Index:
    return location_index(raw, tuple(str(d) for d in location_dims(raw)))


def _numbers(raw: xr.DataArray, state: State) -> np.ndarray:
    """Number in training of each location of ``raw``."""
    asked = _labels(raw)
    if isinstance(asked, pd.MultiIndex):  # places of a grid, in whichever order their dims are
        asked = asked.reorder_levels(state["places"].names)
    numbers = state["places"].get_indexer(asked)
    if (numbers < 0).any():
        raise ModelMismatchError(
            f"the baseline knows the locations {state['places'][:6].tolist()}; the data also have "
            f"{asked[numbers < 0][:6].tolist()}. Select its own, or fit on these."
        )
    return numbers


def _with_place(windows: Windows, numbers: np.ndarray) -> np.ndarray:
    rows = _table(windows, np.arange(len(windows)))
    return np.column_stack([rows, numbers[windows.location]])


def _run_boosting(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    raw = _features(ds, state, spec)
    windows = make_windows(raw, spec)
    numbers = _numbers(raw, state)
    x = _with_place(windows, numbers)
    missing = np.full(len(windows), np.nan)
    told = [r.predict(x) if r and len(x) else missing for r in state["regressors"]]
    values = np.column_stack(told)
    values[~state["learned"][numbers[windows.location]]] = np.nan
    return windows.label(values, state["layers"])


Learn = Callable[[xr.Dataset, WindowSpec, slice], State]
Run = Callable[[State, WindowSpec, xr.Dataset], xr.DataArray]

#: Baselines by name: how each learns, and how it predicts.
BASELINES: dict[str, tuple[Learn, Run]] = {
    "climatology": (_learn_climatology, _run_climatology),
    "trend": (_learn_trend, _run_trend),
    "persistence": (_learn_nothing, _run_persistence),
    "persistence_year": (_learn_nothing, _run_persistence_year),
    "damped_persistence": (_learn_damped, _run_damped),
    "ridge": (_learn_ridge, _run_ridge),
    "boosting": (_learn_boosting, _run_boosting),
    "ttop": (learn_ttop, run_ttop),
    "energy_balance": (learn_balance, run_balance),
    "stefan": (learn_stefan, run_stefan),
    "kudryavtsev": (learn_kudryavtsev, run_kudryavtsev),
    "column": (learn_column, run_column),
}

#: Baselines that read variables of their own and the month that they answer: which variables.
NEEDS: dict[str, Callable[[xr.Dataset], tuple[str, ...]]] = {
    "ttop": ttop_forcing,
    "energy_balance": balance_forcing,
    "stefan": stefan_forcing,
    "kudryavtsev": kudryavtsev_forcing,
    "column": column_forcing,
}
