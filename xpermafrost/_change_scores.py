"""Scores of a projected change whose truth is known: by place, layer, warming level and member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ._checks import without_attrs
from .ensembles import annual_means
from .global_warming import at_warming_levels
from .schema import LAYER, MEMBER, SCENARIO, TIME, location_dims, name_axis

_JOIN: dict[str, Any] = {"coords": "minimal", "compat": "override", "combine_attrs": "drop"}

_LONG = {
    "change": "mean of the test years minus mean of the record, predicted",
    "change_truth": "mean of the test years minus mean of the record, true",
    "change_error": "predicted minus true change",
    "change_relative_error": "magnitude of the error of the change over the true change",
    "change_layer": "predicted change, mean of the locations",
    "change_truth_layer": "true change, mean of the locations",
    "change_bias_layer": "mean error of the change over the locations",
    "change_rmse_layer": "root-mean-square error of the change over the locations",
    "change_relative_bias_layer": "mean error of the change over the mean true change",
    "change_relative_error_layer": "root-mean-square error of the change over the mean true change",
    "rmse": "root-mean-square error of the months of the test years",
    "rmse_layer": "root-mean-square error of the months of the test years, all locations",
    "member_change": "predicted change of each member, mean of the locations",
    "member_spread": "largest departure of a member's change from their mean, over the true change",
    "level_change": "predicted change at the warming level, mean of the locations",
    "level_change_truth": "true change at the warming level, mean of the locations",
    "level_change_error": "predicted minus true change at the warming level",
    "level_year": "central year of the 20 years that first reach the warming level",
}


def change_scores(
    runs: Mapping[str, Sequence[xr.DataArray]],
    truth: xr.DataArray,
    record: xr.DataArray,
    test: tuple[str, str],
    level_years: xr.DataArray | None,
) -> xr.Dataset:
    """Scores of predicted against true change; names and units are in the attributes.

    Parameters
    ----------
    runs : mapping of sequence of DataArray
        By predictor, for every scenario of ``truth``: ``([member,] location..., layer, time)``
        [degC].
    truth : DataArray (scenario, location..., layer, time)
        [degC]; whole in ``test``.
    record : DataArray (location..., layer, time)
        Soil temperature that was learned from [degC]; changes count from its mean.
    test : tuple of str
        First and last year.
    level_years : DataArray (scenario, level), optional
        See :func:`~xpermafrost.global_warming.warming_level_years`; without it nothing is given by
        warming level.
    """
    scenarios, models = truth[SCENARIO], name_axis("model", list(runs))
    base, span = annual_means(record).mean("year"), {TIME: slice(*test)}
    scored = truth.sel(span)
    months = _side_by_side(
        [
            _side_by_side([_ensemble(run).sel({TIME: scored[TIME]}) for run in each], scenarios)
            for each in runs.values()
        ],
        models,
    )
    out = _of_change(months, scored, base)
    out = out.assign(_of_members(runs, scored, base, out["change_truth_layer"]).data_vars)
    if level_years is not None and level_years.sizes["level"]:
        out = out.assign(_of_levels(runs, truth, base, level_years).data_vars)
    order = ["model", MEMBER, SCENARIO, "level", *location_dims(truth), LAYER]
    out = out.transpose(*[d for d in order if d in out.dims])
    for name, da in out.data_vars.items():
        unit = "1" if "relative" in str(name) or name in ("member_spread", "level_year") else "K"
        da.attrs = {"units": unit, "long_name": _LONG[str(name)]}
    return out


def _side_by_side(parts: Sequence[xr.DataArray], labels: Any) -> xr.DataArray:
    return xr.concat([p.pipe(without_attrs) for p in parts], dim=labels, join="outer", **_JOIN)


def _ensemble(run: xr.DataArray) -> xr.DataArray:
    return run.mean(MEMBER).astype("float64") if MEMBER in run.dims else run.astype("float64")


def _of_change(months: xr.DataArray, truth: xr.DataArray, base: xr.DataArray) -> xr.Dataset:
    places = location_dims(truth)
    out = xr.Dataset()
    out["change"] = months.mean(TIME, skipna=False) - base
    out["change_truth"] = truth.mean(TIME, skipna=False) - base
    out["change_error"] = out["change"] - out["change_truth"]
    out["change_relative_error"] = abs(out["change_error"] / out["change_truth"])
    out["rmse"] = ((months - truth) ** 2).mean(TIME, skipna=False) ** 0.5
    out["change_layer"] = out["change"].mean(places)
    out["change_truth_layer"] = out["change_truth"].mean(places)
    out["change_bias_layer"] = out["change_error"].mean(places)
    out["change_rmse_layer"] = (out["change_error"] ** 2).mean(places) ** 0.5
    scale = out["change_truth_layer"]
    out["change_relative_bias_layer"] = out["change_bias_layer"] / scale
    out["change_relative_error_layer"] = out["change_rmse_layer"] / abs(scale)
    out["rmse_layer"] = (out["rmse"] ** 2).mean(places) ** 0.5
    return out


def _of_members(
    runs: Mapping[str, Sequence[xr.DataArray]],
    truth: xr.DataArray,
    base: xr.DataArray,
    scale: xr.DataArray,
) -> xr.Dataset:
    """Change of every member, and how far the members are apart; missing where there are none."""
    places = location_dims(truth)
    rows = []
    for each in runs.values():
        parts = [run.sel({TIME: truth[TIME]}).astype("float64") for run in each]
        parts = [p if MEMBER in p.dims else p.expand_dims(MEMBER) * np.nan for p in parts]
        means = [(p.mean(TIME, skipna=False) - base).mean(places) for p in parts]
        means = [m.assign_coords({MEMBER: np.arange(m.sizes[MEMBER])}) for m in means]
        rows.append(_side_by_side(means, truth[SCENARIO]))
    change = _side_by_side(rows, name_axis("model", list(runs)))
    spread = abs(change - change.mean(MEMBER)).max(MEMBER) / abs(scale)
    several = change.notnull().sum(MEMBER) > 1
    return xr.Dataset({"member_change": change, "member_spread": spread.where(several)})


def _of_levels(
    runs: Mapping[str, Sequence[xr.DataArray]],
    truth: xr.DataArray,
    base: xr.DataArray,
    years: xr.DataArray,
) -> xr.Dataset:
    """Change while the running mean of the air is at each warming level, by scenario."""
    places = location_dims(truth)
    rows = [
        _side_by_side(
            [(_ensemble(run).sel({TIME: truth[TIME]}) - base).mean(places) for run in each],
            truth[SCENARIO],
        )
        for each in runs.values()
    ]
    found = at_warming_levels(_side_by_side(rows, name_axis("model", list(runs))), years)
    true = at_warming_levels((truth - base).mean(places), years)
    return xr.Dataset(
        {
            "level_change": found,
            "level_change_truth": true,
            "level_change_error": found - true,
            "level_year": years,
        }
    )
