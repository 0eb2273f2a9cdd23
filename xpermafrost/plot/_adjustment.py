"""Figures of the bias adjustment."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from .._checks import choose
from ..errors import DataError
from ..schema import SCENARIO, VARIABLES
from ._common import (
    COLD,
    WARM,
    bare,
    entitle_figure,
    labels_of,
    lines_of,
    need,
    north_first,
    one_place_dim,
    only_dims,
    pyplot,
)

_CALL = "ds.permafrost.adjustment_report()"
_DIMS = ("series", "season", "quantile")


def adjustment(report: xr.DataTree | xr.Dataset, variable: str, *, title: str | None = None) -> Any:
    """Quantiles of a climate model against the reference's, before and after the adjustment.

    One panel a location and season, over the training period. On the 1:1 line nothing is left to
    adjust.

    Parameters
    ----------
    report : DataTree or Dataset
        From :func:`xpermafrost.adjustment_report`, or its ``quantiles``.
    variable : str
        One of its variables; of one with layers, select a layer before.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If a DataTree is no adjustment report.
    UnknownNameError
        For a variable that is not in the table.
    DimensionError

    Examples
    --------
    >>> from xpermafrost.adjustment_tables import adjustment_report
    >>> from xpermafrost.testing import experiment
    >>> report = adjustment_report(
    ...     experiment(), variables=["tas"], scenario="rcp85", horizons=[("2012", "2017")]
    ... )
    >>> len(adjustment(report, "tas").axes)                # three bands, four seasons
    12
    """
    table = _table(report, "quantiles", "adjustment")
    choose("variable", variable, [str(name) for name in table.data_vars])
    need(table[variable], _DIMS, step="adjustment", call=_CALL)
    da, place = one_place_dim(table[variable], step="adjustment", besides=_DIMS)
    only_dims(da, (place, *_DIMS), step="adjustment")
    return _panels(da, place, _attrs(report), title)


def _table(report: xr.DataTree | xr.Dataset, name: str, step: str) -> xr.Dataset:
    """A table of the report, or the one that was given."""
    if not isinstance(report, xr.DataTree):
        return report
    if name in report.children:
        return report[name].to_dataset()
    if name == report.name:
        return report.to_dataset()
    raise DataError(
        f"{step} needs the table {name!r}; the DataTree has {list(report.children)}. "
        f"Type {_CALL} first."
    )


def _attrs(report: xr.DataTree | xr.Dataset) -> dict[str, Any]:
    """Of the whole report, also where one table of it was given."""
    return dict(report.root.attrs if isinstance(report, xr.DataTree) else report.attrs)


def _panels(da: xr.DataArray, place: Hashable, attrs: dict[str, Any], title: str | None) -> Any:
    da = da.transpose(place, *_DIMS)
    units = ""
    if da.name in VARIABLES and VARIABLES[str(da.name)].units == "kg m-2 s-1":
        da, units = 86400.0 * da, "mm day-1"  # of readable numbers
    rows, columns = da.sizes[place], da.sizes["season"]
    figure, axes = pyplot().subplots(
        rows,
        columns,
        figsize=(2.0 * columns + 0.8, 1.8 * rows + 1.2),
        squeeze=False,
        layout="constrained",
    )
    names = labels_of(da, place)
    for row, i in enumerate(north_first(da, place)):
        for j in range(columns):
            ax = axes[row, j]
            _quantiles(ax, da.isel({place: i, "season": j}))
            if row == 0:
                ax.set_title(str(da["season"].values[j]), fontsize=10)
            if j == 0:
                ax.set_ylabel(names[i], fontsize=9)
    row_ = VARIABLES.get(str(da.name))
    what = f"{row_.long_name} [{units or row_.units}]" if row_ else str(da.name)
    figure.supxlabel(f"reference: {what}", fontsize=10)
    figure.supylabel("climate model", fontsize=10)
    axes[0, 0].legend(frameon=False, fontsize=7, handlelength=1.0)
    percent = [f"{100 * q:g}" for q in (da["quantile"].values[0], da["quantile"].values[-1])]
    given = (
        f"Quantiles of months, {' to '.join(percent)} %, {attrs.get('training_period', '')}  |  "
        f"adjustment {attrs.get('method', '')}"
    )
    entitle_figure(figure, title, given, da.assign_attrs(attrs))
    return figure


def _quantiles(ax: Any, one: xr.DataArray) -> None:
    reference = one.sel(series="reference").values
    for name, colour, symbol in (("raw", WARM, "s"), ("adjusted", COLD, "o")):
        side = one.sel(series=name).values
        ax.plot(reference, side, color=colour, marker=symbol, ms=4, lw=0.9, label=name)
    low, high = float(np.nanmin(one.values)), float(np.nanmax(one.values))
    margin = 0.06 * max(high - low, 1e-12)
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, color="0.5", lw=0.8, zorder=0)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.tick_params(labelsize=7)
    ax.locator_params(nbins=4)
    bare(ax)


def change_signals(
    report: xr.DataTree | xr.Dataset, variable: str, *, title: str | None = None
) -> Any:
    """Change by scenario, place and horizon, before (hollow) and after (filled) the adjustment.

    Where hollow and filled lie apart, the adjustment changed what the climate model projects.
    The projected soil temperature has no "before": all its marks are filled.

    Parameters
    ----------
    report : DataTree or Dataset
        From :func:`xpermafrost.adjustment_report`, or its ``change``.
    variable : str
        One of its variables; of one with layers, select a layer before:
        ``report["change"].to_dataset().sel(layer=1)``.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        One panel a horizon.

    Raises
    ------
    DataError
        If a DataTree is no adjustment report.
    UnknownNameError
        For a variable that is not in the table.
    DimensionError

    Examples
    --------
    >>> from xpermafrost.adjustment_tables import adjustment_report
    >>> from xpermafrost.testing import experiment
    >>> report = adjustment_report(
    ...     experiment(), variables=["tas"], scenario="rcp85", horizons=[("2012", "2017")]
    ... )
    >>> figure = change_signals(report, "tas")
    >>> figure.axes[0].get_title(), [text.get_text() for text in figure.legends[0].get_texts()]
    ('2012-2017', ['RCP8.5', 'before adjustment'])
    """
    table = _table(report, "change", "change_signals")
    choose("variable", variable, [str(name) for name in table.data_vars])
    need(table[variable], (SCENARIO, "horizon"), step="change_signals", call=_CALL)
    besides = ("series", "horizon")
    da, place = one_place_dim(table[variable], step="change_signals", besides=besides)
    only_dims(da, (place, SCENARIO, *besides), step="change_signals")
    da = da.isel({place: north_first(da, place)}).transpose(..., SCENARIO, place)
    columns = da.sizes["horizon"]
    figure, axes = pyplot().subplots(
        1,
        columns,
        figsize=(3.2 * columns + 2.9, (0.14 * da.sizes[SCENARIO] + 0.1) * da.sizes[place] + 1.9),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for k, ax in enumerate(axes[0]):
        _dumbbells(ax, da.isel(horizon=k))
        ax.set_title(str(da["horizon"].values[k]).replace("/", "-"), fontsize=10)
        ax.axvline(0.0, color="0.5", lw=0.8, zorder=0)
        bare(ax)
    ax.set_yticks(range(da.sizes[place]), labels_of(da, place))
    ax.set_ylim(da.sizes[place] - 0.5, -0.5)
    units = da.attrs.get("units", "")
    figure.supxlabel(f"{da.attrs.get('long_name', variable)} [{units}]", fontsize=10)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    attrs = {**da.attrs, **_attrs(report)}
    method = attrs.get("method", attrs.get("adjustment", ""))
    given = f"Change by scenario  |  adjustment {method}" if method else "Change by scenario"
    entitle_figure(figure, title, given, da.assign_attrs(attrs))
    return figure


def _dumbbells(ax: Any, one: xr.DataArray) -> None:
    """A row for every place; in it a mark for every scenario, hollow before, filled after."""
    looks = lines_of(one, SCENARIO)
    both = "series" in one.dims
    after = one.sel(series="adjusted") if both else one
    for k, look in enumerate(looks):
        at = np.arange(after.shape[1]) + 0.16 * (k - 0.5 * (len(looks) - 1))
        style = {"color": look["color"], "marker": look["marker"], "ls": "none", "ms": 5}
        if both:
            before = one.sel(series="raw").values[k]
            ax.hlines(at, before, after.values[k], color=look["color"], lw=1.0)
            ax.plot(before, at, **style, mfc="white")
        ax.plot(after.values[k], at, **style, label=look["label"])
    if both:
        ax.plot([], [], ls="none", marker="o", color="0.4", mfc="white", label="before adjustment")
