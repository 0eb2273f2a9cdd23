"""Projections by scenario."""

from __future__ import annotations

from typing import Any

import xarray as xr

from ..diagnostics._profile import same_labels
from ..ensembles import annual_means, ensemble_mean
from ..errors import DataError, UnitsError
from ..schema import ESM, LAYER, MEMBER, REALIZATION, SCENARIO, TIME
from ._common import (
    bare,
    entitle_figure,
    labels_of,
    lines_of,
    need,
    north_first,
    one_place_dim,
    only_dims,
    pyplot,
    runs_of,
    runs_text,
    without_lone_runs,
)

#: No soil is as warm [degC]: temperatures above are in K.
_WARMEST = 100.0


def scenario_fans(
    projection: xr.DataArray,
    *,
    observed: xr.DataArray | None = None,
    window: int = 20,
    title: str | None = None,
) -> Any:
    """Annual means of a projection, one panel a location and layer. Computes.

    Thick: the centred mean over ``window`` years. Thin: the annual mean. Shaded: one standard
    deviation of the years around the thick line; of several climate models, realizations or
    members the range of their ``window``-year means, from the lowest to the highest, around the
    mean over them, in which every climate model counts alike.

    Parameters
    ----------
    projection : DataArray
        ``(scenario, location, layer, time)`` [degC], as :func:`xpermafrost.project` returns,
        optionally with ``esm``, ``realization`` and ``member``.
    observed : DataArray, optional
        ``(location, layer, time)`` [degC] of the reference, drawn in black.
    window : int
        Years of the running mean.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DimensionError
        For other dims, or an ``observed`` of other places or layers.
    DataError
        If the projection has fewer whole years than ``window``.
    UnitsError
        For temperatures in K.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> warm = (canonical(years=9)["tsl"] - 273.15).assign_attrs(units="degC")
    >>> both = xr.concat([warm, warm + 1.0], xr.Variable("scenario", ["rcp26", "rcp85"]))
    >>> figure = scenario_fans(both, window=5)              # three bands, four layers
    >>> len(figure.axes), [text.get_text() for text in figure.legends[0].get_texts()]
    (12, ['RCP2.6', 'RCP8.5'])
    """
    step = "scenario_fans"
    pyplot()  # that it is there, before the long part
    need(projection, (SCENARIO, LAYER, TIME), step=step, call="ds.permafrost.project(model)")
    projection, place = one_place_dim(without_lone_runs(projection), step=step)
    only_dims(projection, (place, SCENARIO, LAYER, TIME, *runs_of(projection)), step=step)
    yearly = _annual(projection, step)
    if yearly.sizes["year"] < window:
        raise DataError(
            f"{step} needs {window} whole years for the running mean; {projection.name!r} has "
            f"{yearly.sizes['year']}. Choose a shorter one: window=5."
        )
    past = None
    if observed is not None:
        past, where = one_place_dim(observed, step=f"{step} (observed)")
        only_dims(past, (where, LAYER, TIME), step=f"{step} (observed)")
        same_labels(yearly.drop_vars("year"), past.drop_vars(TIME), step=step)
        past = _annual(past, step)
    figure = _panels(yearly, past, place, window)
    entitle_figure(figure, title, _caption(projection, window), projection)
    return figure


def _panels(yearly: xr.DataArray, past: xr.DataArray | None, place: Any, window: int) -> Any:
    rows, columns = yearly.sizes[place], yearly.sizes[LAYER]
    figure, axes = pyplot().subplots(
        rows,
        columns,
        figsize=(2.7 * columns + 1, 1.55 * rows + 1.6),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    names, layers = labels_of(yearly, place), labels_of(yearly, LAYER)
    for row, i in enumerate(north_first(yearly, place)):
        for j in range(columns):
            ax = axes[row, j]
            _fans(ax, yearly.isel({place: i, LAYER: j}), window)
            if past is not None:
                one = past.isel({place: i, LAYER: j})
                ax.plot(one["year"], one, color="black", lw=1.0, label="reference")
            bare(ax)
            ax.tick_params(labelsize=8)
            if row == 0:
                ax.set_title(layers[j], fontsize=10)
            if j == 0:
                ax.set_ylabel(f"{names[i]}\n[degC]".lstrip("\n"), fontsize=9)
    for ax in axes.flat:
        low, high = ax.get_ylim()
        if low < 0.0 < high:  # elsewhere the line would flatten the curves
            ax.axhline(0.0, color="0.5", lw=0.7, ls=":")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False,
        handlelength=3.0,
    )  # fmt: skip
    return figure


def _annual(da: xr.DataArray, step: str) -> xr.DataArray:
    """Means of the whole calendar years [degC]."""
    yearly = annual_means(da).compute()
    if float(yearly.max()) > _WARMEST:
        raise UnitsError(
            f"{step} needs degC; {da.name!r} reaches {float(yearly.max()):.0f}, as K do. Type "
            "da - 273.15."
        )
    return yearly


def _fans(ax: Any, yearly: xr.DataArray, window: int) -> None:
    runs = runs_of(yearly)
    for name, look in zip(yearly[SCENARIO].values, lines_of(yearly, SCENARIO), strict=True):
        one = yearly.sel({SCENARIO: name}, drop=True)
        running = one.rolling(year=window, center=True)
        if runs:
            each = running.mean()
            low, high = each.min(runs), each.max(runs)
            one, mean = _centre(one), _centre(each)
        else:
            mean, spread = running.mean(), running.std()
            low, high = mean - spread, mean + spread
        ax.plot(one["year"], one, lw=0.5, alpha=0.45, color=look["color"])
        ax.fill_between(one["year"], low, high, alpha=0.18, color=look["color"], lw=0)
        ax.plot(mean["year"], mean, lw=1.8, label=look["label"], color=look["color"], ls=look["ls"])


def _centre(da: xr.DataArray) -> xr.DataArray:
    """Mean over members, then over climate models."""
    da = da.mean(MEMBER) if MEMBER in da.dims else da
    return ensemble_mean(da) if {ESM, REALIZATION} & set(da.dims) else da


def _caption(projection: xr.DataArray, window: int) -> str:
    runs = runs_of(projection)
    shaded = f"range of {runs_text(projection, runs)}" if runs else "1 s.d. of years"
    model, method = (projection.attrs.get(key) for key in ("model", "adjustment"))
    made = ", ".join(t for t in (model, f"adjustment {method}" if method else None) if t)
    what = f"Soil temperature, annual and {window}-year means; shaded: {shaded}"
    return f"{what}  |  {made}" if made else what
