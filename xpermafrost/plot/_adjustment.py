"""Figures of the bias adjustment."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from .._checks import require_dims, require_variables
from ..errors import DataError
from ..schema import VARIABLES
from ._common import COLD, WARM, labels_of, mark, north_first, one_place_dim, only_dims, pyplot

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
    MissingVariableError, DimensionError

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
    if isinstance(report, xr.DataTree) and "quantiles" not in (*report.children, report.name):
        raise DataError(
            f"adjustment needs the table 'quantiles'; the DataTree has {list(report.children)}. "
            "Type ds.permafrost.adjustment_report() first."
        )
    attrs = dict(report.attrs)
    if isinstance(report, xr.DataTree):
        node = report["quantiles"] if "quantiles" in report.children else report
        table = node.to_dataset()
    else:
        table = report
    step = "adjustment (of adjustment_report(...)['quantiles'])"
    require_variables(table, (variable,), step=step)
    require_dims(table[variable], _DIMS, step=step)
    da, place = one_place_dim(table[variable], step="adjustment", besides=_DIMS)
    only_dims(da, (place, *_DIMS), step="adjustment")
    return _panels(da, place, attrs, title)


def _panels(da: xr.DataArray, place: Hashable, attrs: dict[str, Any], title: str | None) -> Any:
    da = da.transpose(place, *_DIMS)
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
    what = f"{row_.long_name} [{row_.units}]" if row_ else str(da.name)
    figure.supxlabel(f"reference: {what}", fontsize=10)
    figure.supylabel("climate model", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    percent = [f"{100 * q:g}" for q in (da["quantile"].values[0], da["quantile"].values[-1])]
    given = (
        f"Quantiles of months, {' to '.join(percent)} %, {attrs.get('training_period', '')}  |  "
        f"adjustment {attrs.get('method', '')}"
    )
    marked = da.assign_attrs(attrs)
    figure.suptitle((given if title is None else title) + mark(marked), fontsize=11)
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
    ax.xaxis.get_offset_text().set_fontsize(7)
    ax.yaxis.get_offset_text().set_fontsize(7)
    ax.locator_params(nbins=4)
    ax.spines[["top", "right"]].set_visible(False)
