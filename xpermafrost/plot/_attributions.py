"""Figures of attributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..errors import DataError, DimensionError
from ..schema import LAG, LAYER
from ._common import COLOURS, axes_of, bare, entitle, labels_of, need
from ._models import heat_map


def attribution_bar(bars: xr.Dataset, *, ax: Any = None, title: str | None = None) -> Any:
    """Mean absolute attributions as bars, the largest on top, with their intervals.

    Parameters
    ----------
    bars : Dataset
        From :func:`xpermafrost.importance`, by one dimension: ``xp.importance(why)``.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the Dataset holds attributions that ``importance`` has yet to summarise.
    DimensionError
        For several dims, with the selection to type.

    Examples
    --------
    >>> share = xr.DataArray([0.5, 2.0], {"feature": ["snd", "tas"]}, ("feature",))
    >>> ax = attribution_bar(xr.Dataset({"importance": share}))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['tas', 'snd']
    """
    values = _importance(bars, "attribution_bar")
    if values.ndim != 1:
        raise DimensionError(
            f"attribution_bar draws one dim; the importance has {values.dims}. Select one, "
            f"bars.sel({values.dims[0]}={values[values.dims[0]].values[0].item()!r}), or "
            "summarise by one: xp.importance(why, 'feature')."
        )
    (dim,) = values.dims
    known = np.flatnonzero(values.notnull().values)
    order = known[np.argsort(-values.values[known], kind="stable")]
    ax = axes_of(ax, (6.0, 0.3 * order.size + 1.4))
    at = np.arange(order.size)
    ax.barh(at, values.values[order], color=COLOURS[0], height=0.7)
    given = ""
    if {"importance_low", "importance_high"} <= set(bars.data_vars):
        low, high = (bars[f"importance_{n}"].values[order] for n in ("low", "high"))
        spread = np.abs(np.stack([values.values[order] - low, high - values.values[order]]))
        ax.errorbar(values.values[order], at, xerr=spread, fmt="none", ecolor="0.2", capsize=2)
        given = f"; bars: {bars['importance_low'].attrs.get('comment', 'interval')}"
    names = labels_of(bars, dim)
    ax.set_yticks(at, [names[k] for k in order])
    ax.invert_yaxis()
    ax.set_xlim(left=0.0)
    ax.set(xlabel="mean |attribution| [K]")
    bare(ax)
    entitle(ax, title, f"{source_text(bars)}{given}", bars)
    return ax


def attribution_lags(bars: xr.Dataset, *, ax: Any = None, title: str | None = None) -> Any:
    """Heat map of mean absolute attributions: features, layers or places by lag.

    Parameters
    ----------
    bars : Dataset
        From :func:`xpermafrost.importance`, by "lag" and one more:
        ``xp.importance(why, ["feature", "lag"])`` or ``["layer", "lag"]``.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes
        Steps before the target to the right.

    Raises
    ------
    DataError, DimensionError
        As :func:`attribution_bar`.

    Examples
    --------
    >>> coords = {"feature": ["snd", "tas"], "lag": [0, 1, 2]}
    >>> table = xr.DataArray([[0.1, 0.2, 0.3], [3.0, 2.0, 1.0]], coords, ("feature", "lag"))
    >>> ax = attribution_lags(xr.Dataset({"importance": table}))
    >>> ax.get_xlabel()
    'steps before the target'
    """
    values = _importance(bars, "attribution_lags")
    if LAG not in values.dims or values.ndim != 2:
        raise DimensionError(
            f"attribution_lags needs 'lag' and one more dim; the importance has {values.dims}. "
            "Type xp.importance(why, ['feature', 'lag']) or ['layer', 'lag'] first."
        )
    values = values.transpose(..., LAG).sortby(LAG)
    dim = values.dims[0]
    if dim != LAYER:  # layers stay as they lie, all else is ranked
        total = values.sum(LAG).values
        values = values.isel({dim: np.argsort(-total, kind="stable")})
    table = values.values
    ax = axes_of(ax, (8.0, 0.32 * table.shape[0] + 1.7))
    image = heat_map(ax, table, "cividis", (0.0, float(np.nanmax(table))))
    ax.set_yticks(range(table.shape[0]), labels_of(values, dim))
    lags = values[LAG].values
    step = max(1, int(np.ceil(lags.size / 12)))
    ax.set_xticks(range(0, lags.size, step), [str(k) for k in lags[::step]])
    ax.set_xlabel(f"{values[LAG].attrs.get('units', 'step')}s before the target")
    ax.figure.colorbar(image, ax=ax, label="mean |attribution| [K]")
    entitle(ax, title, source_text(bars), bars)
    return ax


def _importance(bars: xr.Dataset, step: str) -> xr.DataArray:
    if "attribution" in bars.data_vars:
        raise DataError(
            f"{step} draws what xp.importance gives; this Dataset holds the attributions "
            "themselves. Type xp.importance(why) first."
        )
    need(bars, ("importance",), step=step, call="xp.importance(why)")
    return bars["importance"]


def source_text(bars: xr.Dataset) -> str:
    """Model and method, as a caption says them."""
    method = str(bars.attrs.get("method", "attributions")).replace("_", " ")
    return f"{bars.attrs['model']}, {method}" if "model" in bars.attrs else method
