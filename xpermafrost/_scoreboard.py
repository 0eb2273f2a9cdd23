"""Scores as a table for people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .schema import SCENARIO, location_dims


def scoreboard(scores: xr.Dataset) -> pd.DataFrame:
    """The scores as a table for people: pooled, per layer, skill, and the projected change.

    Of a perfect-model test it holds, by scenario and model, change [K], its relative error [%] and
    the RMSE of the months [K], each by layer.

    Examples
    --------
    >>> from xpermafrost.evaluation import evaluate
    >>> from xpermafrost.testing import canonical
    >>> table = scoreboard(evaluate(canonical(years=6), [], baselines=["climatology", "trend"]))
    >>> table.columns[0]
    'RMSE'
    """
    if "change_relative_error_layer" in scores:
        return _of_changes(scores)
    columns: dict[str, Any] = {"RMSE": scores["rmse_pooled"].values}
    if "rmse_pooled_low" in scores:
        columns["95 %"] = [
            f"{a:.2f}-{b:.2f}"
            for a, b in zip(
                scores["rmse_pooled_low"].values, scores["rmse_pooled_high"].values, strict=True
            )
        ]
    columns["R2"] = scores["r2_pooled"].values
    columns["bias"] = scores["bias_pooled"].values
    columns["skill"] = scores["anomaly_skill_pooled"].values
    layers = [f"{float(d):.2f} m" for d in scores["depth"].values]
    for k, label in enumerate(layers):
        columns[f"RMSE {label}"] = scores["rmse_layer"].isel(layer=k).values
    index = [str(name) for name in scores["model"].values]
    table = pd.DataFrame(columns, index=pd.Index(index, name="model"))
    if "change" in scores:
        places = location_dims(scores["change"])
        for scenario in scores["scenario"].values:
            mean = scores["change"].sel(scenario=scenario).mean(places)
            for k, label in enumerate(layers):
                table[f"{scenario} {label}"] = mean.isel(layer=k).values
        if "change_truth" in scores:
            truth: dict[str, Any] = dict.fromkeys(table.columns, np.nan)
            for scenario in scores["scenario"].values:
                mean = scores["change_truth"].sel(scenario=scenario).mean(places)
                for k, label in enumerate(layers):
                    truth[f"{scenario} {label}"] = float(mean.isel(layer=k))
            table.loc["truth"] = truth
    return table


def _of_changes(scores: xr.Dataset) -> pd.DataFrame:
    """By scenario and model; the true change in a last row of each scenario."""
    layers = [f"{float(d):.2f} m" for d in scores["depth"].values]
    wanted = {
        "change": scores["change_layer"],
        "error %": 100.0 * scores["change_relative_error_layer"],
        "RMSE": scores["rmse_layer"],
    }
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for scenario in scores["scenario"].values:
        here = {SCENARIO: scenario}
        for model in scores["model"].values:
            rows[str(scenario), str(model)] = {
                f"{name} {layer}": float(da.sel(here).sel(model=model).isel(layer=k))
                for name, da in wanted.items()
                for k, layer in enumerate(layers)
            }
        truth = scores["change_truth_layer"].sel(here)
        rows[str(scenario), "truth"] = {
            f"change {layer}": float(truth.isel(layer=k)) for k, layer in enumerate(layers)
        }
    index = pd.MultiIndex.from_tuples(list(rows), names=[SCENARIO, "model"])
    return pd.DataFrame(list(rows.values()), index=index)
