"""Projections by scenario."""

from __future__ import annotations

from typing import Any

import xarray as xr

from .._checks import require_dims
from ..ensembles import ensemble_mean
from ..schema import ESM, LAYER, REALIZATION, SCENARIO, TIME, layer_bounds
from ._common import (
    SCENARIO_COLOURS,
    layer_label,
    mark,
    north_first,
    one_place_dim,
    pyplot,
    scenario_label,
)


def scenario_fans(
    projection: xr.DataArray,
    *,
    observed: xr.DataArray | None = None,
    window: int = 20,
    title: str | None = None,
) -> Any:
    """Annual means of a projection, one panel a location and layer.

    Thin: the annual mean. Thick: its centred mean over ``window`` years. Shaded: one standard
    deviation of the years around it (the spread of years, not of models).

    Parameters
    ----------
    projection : DataArray
        ``(scenario, location, layer, time)`` [degC], as :func:`xpermafrost.project` returns.
    observed : DataArray, optional
        ``(location, layer, time)`` [degC] of the reference, drawn in black.
    window : int
        Years of the running mean.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    plt = pyplot()
    require_dims(projection, (SCENARIO, LAYER, TIME), step="scenario_fans")
    if {ESM, REALIZATION} & set(projection.dims):
        projection = ensemble_mean(projection)
    projection, place = one_place_dim(projection, step="scenario_fans")
    yearly = _annual(projection)
    past = None if observed is None else _annual(one_place_dim(observed, step="scenario_fans")[0])
    rows, columns = yearly.sizes[place], yearly.sizes[LAYER]
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(2.7 * columns + 1, 1.55 * rows + 1.6),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    bounds = layer_bounds(projection)
    order = north_first(projection, place)
    for row, i in enumerate(order):
        for j in range(columns):
            ax = axes[row, j]
            _fans(ax, yearly.isel({place: i, LAYER: j}), window)
            if past is not None:
                one = past.isel({place: i, LAYER: j})
                ax.plot(one["year"], one, color="black", lw=1.0, label="reference")
            ax.spines[["top", "right"]].set_visible(False)
            ax.tick_params(labelsize=8)
            if row == 0:
                ax.set_title(layer_label(*bounds[j]), fontsize=10)
            if j == 0:
                ax.set_ylabel(f"{projection[place].values[i]}\n[degC]", fontsize=9)
    for ax in axes.flat:
        low, high = ax.get_ylim()
        if low < 0.0 < high:  # elsewhere the line would flatten the curves
            ax.axhline(0.0, color="0.5", lw=0.7, ls=":")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle((title or _title(projection, window)) + mark(projection), fontsize=11)
    return figure


def _annual(da: xr.DataArray) -> xr.DataArray:
    """Means of whole calendar years; others are left out."""
    count = da[TIME].groupby("time.year").count()
    mean = da.groupby("time.year").mean(TIME, skipna=False)
    return mean.sel(year=count["year"][count.values == 12])


def _fans(ax: Any, yearly: xr.DataArray, window: int) -> None:
    for name in yearly[SCENARIO].values:
        one = yearly.sel({SCENARIO: name}, drop=True)
        colour = SCENARIO_COLOURS.get(str(name))
        running = one.rolling(year=window, center=True)
        mean, spread = running.mean(), running.std()
        line = ax.plot(one["year"], one, lw=0.5, alpha=0.45, color=colour)[0]
        ax.fill_between(
            one["year"], mean - spread, mean + spread, alpha=0.18, color=line.get_color(), lw=0
        )
        ax.plot(mean["year"], mean, lw=1.8, color=line.get_color(), label=scenario_label(str(name)))


def _title(projection: xr.DataArray, window: int) -> str:
    model = projection.attrs.get("model", "")
    method = projection.attrs.get("adjustment", "")
    return (
        f"Soil temperature, annual mean and {window}-year mean +- 1 s.d. of years  |  "
        f"{model}, adjustment {method}"
    )
