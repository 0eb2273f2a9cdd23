"""Scores as a table for people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .schema import location_dims


def scoreboard(scores: xr.Dataset) -> pd.DataFrame:
    """The scores as a table for people: pooled, per layer, skill, and the projected change.

    Examples
    --------
    >>> from xpermafrost.evaluation import evaluate
    >>> from xpermafrost.testing import canonical
    >>> table = scoreboard(evaluate(canonical(years=6), [], baselines=["climatology", "trend"]))
    >>> table.columns[0]
    'RMSE'
    """
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
