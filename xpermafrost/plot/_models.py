"""Figures of models: predicted beside observed, scores, training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from .._checks import choose
from ..diagnostics._profile import SOIL, Temperature, celsius, same_labels
from ..errors import DataError, TimeAxisError
from ..schema import LAYER, MEMBER, TIME, location_dims
from ._common import (
    COLOURS,
    SOIL_CALL,
    axes_of,
    bare,
    entitle,
    entitle_figure,
    labels_of,
    layer_labels,
    need,
    north_first,
    one_place_dim,
    only_dims,
    pyplot,
    runs_of,
)

#: Scores: what they are called; the limits of those with a zero that matters (None: symmetric).
_SCORES: Mapping[str, tuple[str, tuple[float, float] | None, bool]] = {
    "rmse": ("root mean square error [K]", None, False),
    "mae": ("mean absolute error [K]", None, False),
    "bias": ("bias [K]", None, True),
    "r2": ("coefficient of determination", (-1.0, 1.0), True),
    "anomaly_skill": ("1 - MSE / MSE of climatology", (-1.0, 1.0), True),
    "rmse_reduction": ("1 - RMSE / RMSE of persistence", (-1.0, 1.0), True),
}


def observed_predicted(
    predicted: Temperature, observed: Temperature, *, title: str | None = None
) -> Any:
    """Predicted against observed soil temperature, one panel a location and layer. Computes.

    Every panel has the 1:1 line, the RMSE and the number of months (or days) where both are known.
    Members and climate models are averaged before.

    Parameters
    ----------
    predicted, observed : DataArray or Dataset
        ``(location, layer, time)`` [K or degC], of one scenario. A Dataset gives ``tsl`` or
        ``soil_temperature``. Only the times that both have are drawn: choose the test years
        before, ``predicted.sel(time=slice("2019", "2023"))``.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DimensionError
        For other dims, or other places or layers in the two.
    TimeAxisError
        If they have no time in common.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=2)
    >>> figure = observed_predicted(ds["tsl"] + 1.0, ds["tsl"])     # three bands, four layers
    >>> len(figure.axes), figure.axes[0].texts[0].get_text()
    (12, 'RMSE 1.00 K\\nn = 24')
    """
    step = "observed_predicted"
    pair = [_in_celsius(obj, step) for obj in (predicted, observed)]
    same_labels(*(da.drop_vars(TIME) for da in pair), step=step)
    given, truth = xr.align(*pair, join="inner")
    if not given.sizes[TIME]:
        raise TimeAxisError(
            f"{step} needs times in common; the two span "
            + " and ".join(f"{str(d[TIME].values[0])[:10]} to {str(d[TIME].values[-1])[:10]}"
                           for d in pair)
            + ". Are both of one step, with stamps at the same day of the month?"
        )  # fmt: skip
    (place,) = location_dims(given)
    given = given.transpose(place, LAYER, TIME)
    truth = truth.transpose(place, LAYER, TIME)
    rows, columns = given.sizes[place], given.sizes[LAYER]
    figure, axes = pyplot().subplots(
        rows,
        columns,
        figsize=(2.0 * columns + 0.8, 1.9 * rows + 0.9),
        squeeze=False,
        layout="constrained",
    )
    names, layers = labels_of(given, place), layer_labels(given)
    for row, i in enumerate(north_first(given, place)):
        for j in range(columns):
            ax = axes[row, j]
            _scatter(ax, truth.values[i, j], given.values[i, j])
            if row == 0:
                ax.set_title(layers[j], fontsize=10)
            if j == 0:
                ax.set_ylabel(names[i], fontsize=9)
    figure.supxlabel("observed soil temperature [degC]", fontsize=10)
    figure.supylabel("predicted soil temperature [degC]", fontsize=10)
    model = given.attrs.get("model", "predicted")
    span = " to ".join(str(given[TIME].values[k])[:7] for k in (0, -1))
    entitle_figure(figure, title, f"{model}, {span}", given, truth)
    return figure


def _in_celsius(obj: Temperature, step: str) -> xr.DataArray:
    da = celsius(obj, SOIL, step=step)
    need(da, (LAYER, TIME), step=step, call=SOIL_CALL)
    da = da.mean(runs_of(da), skipna=False, keep_attrs=True)
    da, place = one_place_dim(da, step=step)
    only_dims(da, (place, LAYER, TIME), step=step)
    return da.compute()


def _scatter(ax: Any, observed: np.ndarray, predicted: np.ndarray) -> None:
    known = np.isfinite(observed) & np.isfinite(predicted)
    x, y = observed[known], predicted[known]
    ax.scatter(x, y, s=6, alpha=0.5, color=COLOURS[0], linewidths=0)
    both = np.concatenate([x, y]) if x.size else np.array([0.0, 1.0])
    margin = 0.06 * max(float(np.ptp(both)), 0.1)
    limits = (float(both.min()) - margin, float(both.max()) + margin)
    ax.plot(limits, limits, color="0.4", lw=0.8)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    rmse = f"RMSE {np.sqrt(np.mean((y - x) ** 2)):.2f} K" if x.size else "no common data"
    ax.text(0.04, 0.96, f"{rmse}\nn = {x.size}", transform=ax.transAxes, va="top", fontsize=7)
    ax.tick_params(labelsize=7)
    ax.locator_params(nbins=4)
    bare(ax)


def skill(
    scores: xr.Dataset, *, metric: str = "rmse", ax: Any = None, title: str | None = None
) -> Any:
    """Heat map of a scoreboard: models by layers, numbers in the cells, in the order given.

    Parameters
    ----------
    scores : Dataset
        From :func:`xpermafrost.evaluate`; drawn is ``<metric>_layer``, pooled over test months and
        locations.
    metric : {"rmse", "mae", "bias", "r2", "anomaly_skill", "rmse_reduction"}
        Colours of those with a sign are white at 0; skills below -1 have the colour of -1.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    MissingVariableError
        If the Dataset is no scoreboard.
    UnknownNameError

    Examples
    --------
    >>> from xpermafrost.evaluation import evaluate
    >>> from xpermafrost.testing import canonical
    >>> scores = evaluate(canonical(years=8), [], baselines=["climatology", "ridge"], bootstrap=0)
    >>> ax = skill(scores)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['climatology', 'ridge']
    """
    label, limits, signed = _SCORES[choose("metric", metric, _SCORES)]
    need(scores, (f"{metric}_layer",), step="skill", call="ds.permafrost.evaluate([model])")
    table = scores[f"{metric}_layer"].transpose("model", LAYER)
    values = table.values
    if not np.isfinite(values).any():
        raise DataError(f"skill found no {metric!r} that is known; choose another metric.")
    if limits is None and signed:
        reach = float(np.nanmax(np.abs(values)))
        limits = (-reach, reach)
    ax = axes_of(ax, (1.0 * values.shape[1] + 3.0, 0.34 * values.shape[0] + 1.6))
    image = heat_map(ax, values, "PuOr" if signed else "cividis", limits)
    ax.set_yticks(range(values.shape[0]), table["model"].values)
    ax.set_xticks(range(values.shape[1]), layer_labels(scores))
    ax.set_xlabel("soil layer")
    write_cells(ax, image, values)
    under = limits is not None and float(np.nanmin(values)) < limits[0]
    ax.figure.colorbar(image, ax=ax, label=label, extend="min" if under else "neither")
    entitle(ax, title, f"test {scores.attrs.get('test_period', 'months')}, all locations", scores)
    return ax


def heat_map(ax: Any, values: np.ndarray, cmap: str, limits: tuple[float, float] | None) -> Any:
    """An image of a table; missing cells are grey."""
    ax.set_facecolor("0.85")
    low, high = limits or (None, None)
    return ax.imshow(np.ma.masked_invalid(values), cmap=cmap, vmin=low, vmax=high, aspect="auto")


def write_cells(ax: Any, image: Any, values: np.ndarray) -> None:
    """Every number in its cell, dark on light and light on dark."""
    for i, j in np.ndindex(values.shape):
        red, green, blue, _ = image.cmap(image.norm(values[i, j]))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = f"{round(float(values[i, j]), 2) + 0.0:.2f}" if np.isfinite(values[i, j]) else "none"
        colour = "white" if dark and text != "none" else "black"
        ax.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)


def training_history(history: xr.Dataset, *, ax: Any = None, title: str | None = None) -> Any:
    """Loss by epoch: members thin, their mean thick; validation dashed where there was one.

    Parameters
    ----------
    history : Dataset
        ``fitted.history``: ``training_loss`` and ``validation_loss (member, epoch)``.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    MissingVariableError, DimensionError

    Examples
    --------
    >>> loss = (("member", "epoch"), [[0.5, 0.3, 0.2]])
    >>> history = xr.Dataset({"training_loss": loss}, {"member": [0], "epoch": [1, 2, 3]})
    >>> ax = training_history(history)
    >>> ax.get_xlabel(), ax.get_yscale()
    ('epoch', 'log')
    """
    step, call = "training_history", "fitted = ds.permafrost.fit('gru'); fitted.history"
    need(history, ("training_loss",), step=step, call=call)
    need(history["training_loss"], (MEMBER, "epoch"), step=step, call=call)
    ax = axes_of(ax, (6.0, 3.6))
    for name, colour, style in (("training", COLOURS[0], "-"), ("validation", COLOURS[1], "--")):
        if f"{name}_loss" not in history or not history[f"{name}_loss"].notnull().any():
            continue
        loss = history[f"{name}_loss"].transpose(MEMBER, "epoch")
        if loss.sizes[MEMBER] > 1:
            ax.plot(loss["epoch"], loss.values.T, color=colour, ls=style, lw=0.5, alpha=0.5)
        mean = loss.mean(MEMBER)
        ax.plot(mean["epoch"], mean, color=colour, ls=style, lw=1.8, label=name)
    ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel=str(history.attrs.get("comment", "loss")))
    ax.legend(frameon=False, fontsize=9)
    bare(ax)
    members = history.sizes[MEMBER]
    many = f"{members} members thin, mean thick" if members > 1 else "one member"
    entitle(ax, title, f"training: {many}", history)
    return ax
