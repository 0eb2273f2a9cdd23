"""What attributions say together: importance by feature, lag, season, place; groups; for shap."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ._attributed import LOCATION, WINDOW
from ._checks import choose, require_dims, require_variables
from ._explained import COLUMN
from ._optional import require
from .errors import DataError, unknown_name
from .features import SEASON_NAMES
from .schema import FEATURE, LAG, LAYER, TIME, VARIABLES

SEASON = "season"
#: What a feature's name ends in where it is of one soil layer.
_LAYER = re.compile(r"_\d+\.\d+-\d+\.\d+m$")


def importance(
    attributions: xr.Dataset,
    by: str | Sequence[str] = FEATURE,
    *,
    interval: float | None = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> xr.Dataset:
    """Mean absolute attribution by feature, lag, layer, season or location [K].

    Absolute attributions are summed over those of lag and feature that ``by`` does not name,
    then averaged over windows (and over layers, unless named). So the importances of all features,
    or of all lags, sum to the same number. The bars of the first study are ``by="feature"``.

    Parameters
    ----------
    attributions : Dataset
        From :func:`explain`, :func:`explain_scenarios` or :func:`group_features`.
    by : str or sequence of str
        Any of "feature", "lag", "layer"; "season" or "month" (of the target); and a location
        dimension, as "band".
    interval : float, optional
        Coverage of the bootstrap interval; None for none.
    resamples : int
        Resamples of whole years (of the target), as windows of one year share weather.
    seed : int
        Seed of the resamples.

    Returns
    -------
    Dataset
        ``importance``, and ``importance_low``, ``importance_high``, with the dims ``by`` in this
        order [K]; ``share`` of the total [1] where "feature" or "lag" is named. NaN where no window
        belongs.

    Raises
    ------
    UnknownNameError
        If ``by`` names something else.
    DataError
        If an interval is asked of windows of one year.

    References
    ----------
    Lundberg, S. M. & Lee, S.-I. (2017), A unified approach to interpreting model predictions,
    NeurIPS (mean absolute values); Kuensch, H. R. (1989), The jackknife and the bootstrap for
    general stationary observations, Annals of Statistics 17 (blocks).

    Examples
    --------
    >>> from xpermafrost.explanation import explain
    >>> from xpermafrost.testing import canonical
    >>> from xpermafrost.training import TrainingConfig, fit
    >>> ds = canonical(years=5)
    >>> gru = fit(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> why = explain(gru, ds, windows=4, background_size=20)
    >>> bars = importance(why, ["layer", "feature"])
    >>> bars["importance"].dims, bool((bars["importance_low"] <= bars["importance_high"]).all())
    (('layer', 'feature'), True)
    """
    names = [by] if isinstance(by, str) else list(by)
    _check_attributions(attributions)
    absolute = abs(attributions["attribution"])
    keys = _keys(attributions, names)
    inner = [d for d in (LAG, FEATURE) if d in absolute.dims and d not in names]
    absolute = absolute.sum(inner)  # `location` has no lags beyond 0: nothing is added
    if LAYER not in names:
        absolute = absolute.mean(LAYER)
    found = _mean_by(absolute, keys, np.ones(absolute.sizes[WINDOW]))
    found = found.transpose(*names)
    note = {"units": "K", "long_name": "mean absolute attribution"}
    out = xr.Dataset({"importance": found.assign_attrs(note)})
    if {FEATURE, LAG} & set(names):
        total = found.sum([d for d in (FEATURE, LAG) if d in names])
        out["share"] = (found / total).assign_attrs(units="1", long_name="share of the total")
    if interval is not None:
        low, high = _bootstrap(attributions, absolute, keys, interval, resamples, seed)
        comment = f"{100 * interval:g} %, {resamples} resamples of whole years"
        out["importance_low"] = low.transpose(*names).assign_attrs(units="K", comment=comment)
        out["importance_high"] = high.transpose(*names).assign_attrs(units="K", comment=comment)
    kept = {n: c for n, c in attributions.coords.items() if c.dims and set(c.dims) <= set(names)}
    out = out.assign_coords(kept)
    return out.assign_attrs({k: v for k, v in attributions.attrs.items() if k != "comment"})


def _check_attributions(attributions: xr.Dataset) -> None:
    require_variables(attributions, ("attribution",), step="a summary of attributions")
    require_dims(
        attributions["attribution"], (WINDOW, LAYER, LAG, FEATURE), step="a summary of attributions"
    )


def _keys(attributions: xr.Dataset, names: Sequence[str]) -> dict[str, xr.DataArray]:
    """What windows are grouped by, of those in ``names``."""
    along = {str(n): c for n, c in attributions.coords.items() if c.dims == (WINDOW,) and n != TIME}
    along[SEASON] = attributions[TIME].dt.season
    along["month"] = attributions[TIME].dt.month
    known = (FEATURE, LAG, LAYER, *along)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise unknown_name("grouping", unknown[0] if unknown else "", known)
    return {name: along[name] for name in names if name in along}


def _cells(keys: Mapping[str, xr.DataArray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Labels of every key, and the number of the cell of every window among their product."""
    labels, cell = [], np.zeros(1, dtype=int)
    for name, key in keys.items():
        values = np.asarray(key.values)
        if name == SEASON:
            order = np.array([s for s in ("DJF", "MAM", "JJA", "SON") if s in values])
            number = np.array([np.flatnonzero(order == v)[0] for v in values])
        else:
            order, number = np.unique(values, return_inverse=True)
        labels.append(order)
        cell = cell * order.size + number
    return labels, cell


def _mean_by(
    values: xr.DataArray, keys: Mapping[str, xr.DataArray], weight: np.ndarray
) -> xr.DataArray:
    """Weighted mean over windows in every cell of the keys; NaN where a cell has none.

    ``weight (window)``, or ``(resample, window)``, which gives a dimension ``resample``.
    """
    labels, cell = _cells(keys)
    count = int(np.prod([order.size for order in labels]))
    belongs = np.zeros((count, values.sizes[WINDOW]))
    belongs[cell, np.arange(values.sizes[WINDOW])] = 1.0
    mass = np.atleast_2d(weight)[:, None, :] * belongs  # (resample, cell, window)
    table = values.transpose(WINDOW, ...)
    flat = table.values.reshape(table.sizes[WINDOW], -1).astype("float64")
    total = mass.sum(axis=2, keepdims=True)
    means = np.divide(mass @ flat, total, out=np.full((*total.shape[:2], flat.shape[1]), np.nan),
                      where=total > 0)  # fmt: skip
    rest = table.isel({WINDOW: 0}, drop=True)
    shape = (len(mass), *(order.size for order in labels), *rest.shape)
    out = xr.DataArray(
        means.reshape(shape),
        dims=("resample", *keys, *rest.dims),
        coords=dict(zip(keys, labels, strict=True)),
    )
    return out if np.ndim(weight) == 2 else out.isel(resample=0)


def _bootstrap(
    attributions: xr.Dataset,
    absolute: xr.DataArray,
    keys: Mapping[str, xr.DataArray],
    interval: float,
    resamples: int,
    seed: int,
) -> tuple[xr.DataArray, xr.DataArray]:
    years, number = np.unique(attributions[TIME].dt.year.values, return_inverse=True)
    if years.size < 2:
        raise DataError(
            f"an interval needs windows of two years or more; all are of {years[0]}. Explain more "
            "windows, or type interval=None."
        )
    if not 0 < interval < 1:
        raise DataError(f"interval is a coverage between 0 and 1, as 0.95; got {interval}.")
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, years.size, (resamples, years.size))
    often = np.apply_along_axis(np.bincount, 1, picks, minlength=years.size)
    drawn = _mean_by(absolute, keys, often[:, number].astype("float64"))
    edges = drawn.quantile([(1 - interval) / 2, (1 + interval) / 2], dim="resample")
    low, high = (edges.isel(quantile=k, drop=True) for k in (0, 1))
    return low, high


def group_features(
    attributions: xr.Dataset, groups: Mapping[str, Sequence[str]] | None = None
) -> xr.Dataset:
    """Join features to groups whose members act together: their attributions add up. Lazy.

    Parameters
    ----------
    attributions : Dataset
        From :func:`explain` or :func:`explain_scenarios`.
    groups : mapping of str to sequence of str, optional
        Features of every group; those not named stay as they are. By default: one group for each
        variable (its layers, classes, means and memories), "season" (the sine and cosine),
        "static" (fields that do not vary in time), "column" (the answer of a hybrid's column);
        the embedding stays "location".

    Returns
    -------
    Dataset
        ``attribution (window, layer, lag, feature)`` with groups as features, and what has no
        features as it was. The sums stay the same.

    Raises
    ------
    UnknownNameError
        If a group names a feature that is not there.
    DataError
        If a feature is in two groups.

    Examples
    --------
    >>> from xpermafrost.explanation import explain
    >>> from xpermafrost.testing import canonical
    >>> from xpermafrost.training import TrainingConfig, fit
    >>> ds = canonical(years=5)
    >>> names = ["tas", "tas:mean12", "elevation", "month_sin", "month_cos"]
    >>> gru = fit(ds, "gru", length=12, features=names, config=TrainingConfig(epochs=2))
    >>> why = explain(gru, ds, windows=2, background_size=20)
    >>> group_features(why)["feature"].values.tolist()
    ['tas', 'static', 'season']
    """
    _check_attributions(attributions)
    known = [str(name) for name in attributions[FEATURE].values]
    if groups is None:
        of = {name: _default_group(name) for name in known}
    else:
        of = {name: name for name in known}
        seen: set[str] = set()
        for group, members in groups.items():
            for name in members:
                if name not in known:
                    raise unknown_name("feature", name, known)
                if name in seen:
                    raise DataError(f"the feature {name!r} is in two groups; name it once.")
                seen.add(name)
                of[name] = group
    labels = list(dict.fromkeys(of[name] for name in known))
    parts = [
        attributions["attribution"]
        .isel({FEATURE: [k for k, name in enumerate(known) if of[name] == label]})
        .sum(FEATURE, min_count=1)  # beyond lag 0 the location has none
        for label in labels
    ]
    joined = xr.concat(parts, dim=FEATURE, coords="minimal", compat="override")
    joined = joined.assign_coords({FEATURE: labels}).transpose(*attributions["attribution"].dims)
    rest = attributions.drop_dims(FEATURE)
    return rest.assign(attribution=joined.assign_attrs(attributions["attribution"].attrs))


def _default_group(feature: str) -> str:
    if feature in SEASON_NAMES:
        return SEASON
    if feature.startswith(f"{COLUMN}_"):
        return "column"
    if feature == LOCATION or feature.startswith("scenario_signal"):
        return feature.split(":")[0]
    base = _LAYER.sub("", feature.split(":")[0])
    rows = [VARIABLES[n] for n in VARIABLES if base == n or base.startswith(f"{n}_")]
    return "static" if any(row.role == "static" for row in rows) else base


def to_shap(attributions: xr.Dataset, *, lags: str = "sum") -> Any:
    """As a ``shap.Explanation``, for shap's own plots.

    Parameters
    ----------
    attributions : Dataset
        From :func:`explain`.
    lags : {"sum", "each"}
        "sum": one column for every feature, its attributions summed over the window, its value
        the window's mean. "each": one for every feature and lag.

    Returns
    -------
    shap.Explanation
        ``values (window, column)`` and ``base_values (window,)`` of one layer; with several, a
        last dimension ``layer``, the outputs of shap. ``base + sum of values`` is the prediction.

    Raises
    ------
    MissingDependencyError
        Without shap.

    Examples
    --------
    >>> from xpermafrost.explanation import explain
    >>> from xpermafrost.testing import canonical
    >>> from xpermafrost.training import TrainingConfig, fit
    >>> ds = canonical(years=5)
    >>> gru = fit(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> why = explain(gru, ds, windows=2, background_size=20, layers=[4])
    >>> to_shap(why).values.shape                      # six windows, seven features
    (6, 7)
    """
    choose("lags", lags, ("sum", "each"))
    _check_attributions(attributions)
    require_variables(attributions, ("feature_value", "base_value"), step="to_shap")
    shap = require("shap", purpose="to_shap", install="pip install shap")
    parts, data = attributions["attribution"], attributions["feature_value"]
    if lags == "sum":
        values, given = parts.sum(LAG), data.mean(LAG)
        names = [str(name) for name in parts[FEATURE].values]
    else:
        order = (FEATURE, LAG)
        values, given = parts.stack(column=order), data.stack(column=order)
        keep = parts.notnull().any([WINDOW, LAYER]).stack(column=order).values
        values, given = (da.isel(column=keep) for da in (values, given))
        step = parts[LAG].attrs.get("units", "step")
        names = [f"{name}, {lag} {step}s before" for name, lag in values["column"].values]
    column = FEATURE if lags == "sum" else "column"
    values = values.transpose(WINDOW, column, LAYER)
    base = attributions["base_value"].transpose(WINDOW, LAYER)
    if values.sizes[LAYER] == 1:
        values, base = values.isel({LAYER: 0}), base.isel({LAYER: 0})
    return shap.Explanation(
        values=values.values.astype("float64"),
        base_values=base.values,
        data=given.transpose(WINDOW, column).values,
        feature_names=names,
        output_names=None if values.ndim == 2 else [str(k) for k in parts[LAYER].values],
    )


__all__ = ["group_features", "importance", "to_shap"]
