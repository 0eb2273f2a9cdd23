"""Figures. matplotlib is imported by the functions; they return axes or a figure to go on with."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from ._checks import require_dims
from ._optional import require
from .ensembles import ensemble_mean
from .errors import DimensionError
from .schema import ESM, LAYER, REALIZATION, SCENARIO, TIME, layer_bounds, location_dims

#: Colours of scenarios, distinct to the colour-blind (Okabe & Ito 2008); blue cool, red warm.
SCENARIO_COLOURS = {
    "rcp26": "#0072B2",
    "ssp126": "#0072B2",
    "rcp45": "#009E73",
    "ssp245": "#009E73",
    "rcp60": "#E69F00",
    "ssp370": "#E69F00",
    "rcp85": "#D55E00",
    "ssp585": "#D55E00",
}
_LABELS = {"rcp26": "RCP2.6", "rcp45": "RCP4.5", "rcp60": "RCP6.0", "rcp85": "RCP8.5"}


def scenario_label(name: str) -> str:
    """``"RCP8.5"`` for ``"rcp85"``, ``"SSP5-8.5"`` for ``"ssp585"``.

    Examples
    --------
    >>> scenario_label("ssp126"), scenario_label("rcp45")
    ('SSP1-2.6', 'RCP4.5')
    """
    if name in _LABELS:
        return _LABELS[name]
    if name.startswith("ssp") and len(name) == 6 and name[3:].isdigit():
        return f"SSP{name[3]}-{name[4]}.{name[5]}"
    return name


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
    plt = require("matplotlib.pyplot", purpose="figures", install="pip install 'xpermafrost[plot]'")
    require_dims(projection, (SCENARIO, LAYER, TIME), step="scenario_fans")
    if {ESM, REALIZATION} & set(projection.dims):
        projection = ensemble_mean(projection)
    projection = _one_place_dim(projection)
    (place,) = location_dims(projection)
    yearly = _annual(projection)
    past = None if observed is None else _annual(_one_place_dim(observed))
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
    order = _north_first(projection, place)
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
                ax.set_title(_layer_label(*bounds[j]), fontsize=10)
            if j == 0:
                ax.set_ylabel(f"{projection[place].values[i]}\n[degC]", fontsize=9)
    for ax in axes.flat:
        low, high = ax.get_ylim()
        if low < 0.0 < high:  # elsewhere the line would flatten the curves
            ax.axhline(0.0, color="0.5", lw=0.7, ls=":")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle((title or _title(projection, window)) + _mark(projection), fontsize=11)
    return figure


def _north_first(da: xr.DataArray, place: Hashable) -> np.ndarray:
    if "lat" in da.coords and da["lat"].dims == (place,):
        return np.argsort(-da["lat"].values, kind="stable")
    return np.arange(da.sizes[place])


def _layer_label(top: float, bottom: float) -> str:
    return f"{top:g} m" if top == bottom else f"{top:g}-{bottom:g} m"


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


def _mark(da: xr.DataArray) -> str:
    """What is simulated is marked in every figure, under every title."""
    return "  |  SIMULATED sample world" if "simulated" in da.attrs else ""


def _one_place_dim(da: xr.DataArray) -> xr.DataArray:
    places = location_dims(da)
    if len(places) > 1:
        raise DimensionError(
            f"scenario_fans draws one location dim, a row of panels each; {da.name!r} has "
            f"{places}. Reduce or stack it first: da.mean('lon')."
        )
    return da if places else da.expand_dims(place=[""])


def _title(projection: xr.DataArray, window: int) -> str:
    model = projection.attrs.get("model", "")
    method = projection.attrs.get("adjustment", "")
    return (
        f"Soil temperature, annual mean and {window}-year mean +- 1 s.d. of years  |  "
        f"{model}, adjustment {method}"
    )
