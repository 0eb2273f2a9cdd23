"""Attributions of single windows, and of the difference between two scenarios."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .._attributed import WINDOW
from ..errors import DataError, DimensionError
from ..schema import FEATURE, LAG, LAYER
from ._attributions import source_text
from ._common import (
    along_layers,
    axes_of,
    bare,
    entitle,
    layer_labels,
    need,
    pyplot,
    scenario_label,
)

#: Bins of the horizontal axis: dots of one bin lie beside each other.
_BINS = 120
#: Quantiles of a feature's values at the two ends of the colour scale.
_ENDS = (0.05, 0.95)


def attribution_beeswarm(
    attributions: xr.Dataset, *, ax: Any = None, title: str | None = None
) -> Any:
    """Beeswarm of attributions: a dot for every window, coloured by the value of the feature.

    Attributions of a feature are summed over the lags of the window; its value is the one at the
    lag, written beside its name, that has the largest mean absolute attribution. On top
    is the feature with the largest mean absolute sum: an order that may differ from that of
    :func:`xpermafrost.importance`, which sums absolute values. Computes.

    Parameters
    ----------
    attributions : Dataset
        From :func:`xpermafrost.explain`, of one layer: ``why.sel(layer=1)``.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes
        Grey: features without a value, as the embedding of the location.

    Raises
    ------
    DimensionError
        For several layers, with the selection to type.
    MissingVariableError
        If the Dataset is not from ``explain``, or its features were joined to groups.

    References
    ----------
    Lundberg, S. M. et al. (2020), From local explanations to global understanding with
    explainable AI for trees, Nature Machine Intelligence 2 (summary plots).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tas = rng.normal(260.0, 9.0, (50, 12))
    >>> parts = np.stack([(tas - 260.0) / np.arange(1, 13), np.zeros_like(tas)], axis=2)
    >>> why = xr.Dataset(
    ...     {
    ...         "attribution": (("window", "lag", "feature"), parts),
    ...         "feature_value": (("window", "lag", "feature"), np.stack([tas, tas], axis=2)),
    ...     },
    ...     {"feature": ["tas", "snd"], "lag": range(12)},
    ... )
    >>> ax = attribution_beeswarm(why)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['tas (lag 0)', 'snd (lag 0)']
    """
    step = "attribution_beeswarm"
    call = "xp.explain(model, ds)"
    need(attributions, ("attribution", "feature_value"), step=step, call=call)
    need(attributions["attribution"], (WINDOW, LAG, FEATURE), step=step, call=call)
    one = _one_layer(attributions, step)
    where = f", layer {layer_labels(one)[0]}" if LAYER in one.coords else ""
    one = one.isel({LAYER: 0})
    values = one["attribution"].sum(LAG).transpose(FEATURE, WINDOW).values
    strongest = abs(one["attribution"]).mean(WINDOW).fillna(0.0).argmax(LAG)
    given = one["feature_value"].isel({LAG: strongest}).transpose(FEATURE, WINDOW).values
    names = [
        f"{name} (lag {lag})"
        for name, lag in zip(one[FEATURE].values, one[LAG].values[strongest.values], strict=True)
    ]
    order = np.argsort(-np.abs(values).mean(axis=1), kind="stable")
    values, given = values[order], given[order]
    ax = axes_of(ax, (7.0, 0.42 * order.size + 1.6))
    ax.axvline(0.0, color="0.5", lw=0.8, zorder=0)
    colours = _colours()
    low, high = float(values.min()), float(values.max())
    for row, (x, value) in enumerate(zip(values, given, strict=True)):
        y = row + _swarm(x, low, high)
        known = np.isfinite(value)
        look = {"s": 9, "lw": 0, "rasterized": x.size > 2000}
        ax.scatter(x[~known], y[~known], color="0.6", **look)
        dots = ax.scatter(x[known], y[known], c=_from_0_to_1(value[known]), cmap=colours,
                          vmin=0.0, vmax=1.0, **look)  # fmt: skip
    ax.set_yticks(range(order.size), [names[k] for k in order])
    ax.set_ylim(order.size - 0.5, -0.5)
    ax.set_xlabel("attribution to soil temperature, sum over lags [K]")
    bare(ax)
    bar = ax.figure.colorbar(dots, ax=ax, aspect=30, label="value of the feature at the lag")
    bar.set_ticks([0.0, 1.0], labels=["low", "high"])
    bar.outline.set_visible(False)
    entitle(ax, title, f"{source_text(one)}{where}; {values.shape[1]} windows", one)
    return ax


def _one_layer(attributions: xr.Dataset, step: str) -> xr.Dataset:
    if attributions.sizes.get(LAYER, 1) > 1:
        labels = attributions[LAYER].values.tolist()
        raise DimensionError(
            f"{step} draws one layer; the attributions have {labels}. Select one: "
            f"why.sel(layer={labels[0]})."
        )
    return along_layers(attributions).compute()


def _colours() -> Any:
    """Dark blue to orange: lightness grows all the way, and nothing is as pale as paper."""
    from matplotlib.colors import LinearSegmentedColormap

    steps = pyplot().get_cmap("plasma")(np.linspace(0.0, 0.85, 64))
    return LinearSegmentedColormap.from_list("plasma_dark", steps)


def _swarm(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Heights of dots, so that those of one bin lie beside each other around 0."""
    if high <= low:
        return np.zeros(x.size)
    bins = np.floor((x - low) / (high - low) * _BINS)
    order = np.argsort(bins, kind="stable")
    _, first, count = np.unique(bins[order], return_index=True, return_counts=True)
    place = np.arange(x.size) - np.repeat(first, count)
    offset = np.empty(x.size)
    offset[order] = np.where(place % 2, 1.0, -1.0) * ((place + 1) // 2)
    widest = max(np.abs(offset).max(), 1.0)
    return offset * min(0.07, 0.42 / widest)


def _from_0_to_1(values: np.ndarray) -> np.ndarray:
    if not values.size:
        return values
    low, high = np.quantile(values, _ENDS)
    if high <= low:
        return np.full(values.size, 0.5)
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def attribution_difference(
    attributions: xr.Dataset, *, ax: Any = None, title: str | None = None
) -> Any:
    """Bars of what makes two scenarios differ: mean attribution by feature and layer, with sign.

    The bars of a layer sum to its last one, the mean difference of the predictions. Features
    with the same values under both are left out and counted. Beside a feature stands the share
    of its months outside the range seen in training, where there are any: there the model
    extrapolates. Computes.

    Parameters
    ----------
    attributions : Dataset
        From :func:`xpermafrost.explain_scenarios`, or of that by
        :func:`xpermafrost.group_features`, which leaves the shares out. Drawn are means over its
        windows: select a location before, ``why.isel(window=(why.band == "north").values)``.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the attributions are not those of two scenarios.

    Examples
    --------
    >>> parts = np.array([[[[2.0, -0.5]]], [[[3.0, 0.0]]]])
    >>> why = xr.Dataset(
    ...     {
    ...         "attribution": (("window", "layer", "lag", "feature"), parts),
    ...         "prediction": (("window", "layer"), [[1.5], [4.0]]),
    ...         "base_value": (("window", "layer"), [[0.0], [1.0]]),
    ...     },
    ...     {"feature": ["tas", "snd"], "layer": [1]},
    ...     {"scenario": "rcp85", "against": "rcp26"},
    ... )
    >>> ax = attribution_difference(why)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['tas', 'snd', 'difference']
    """
    step = "attribution_difference"
    needed = ("attribution", "prediction", "base_value")
    call = "xp.explain_scenarios(model, ds, scenario='rcp85', against='rcp26')"
    need(attributions, needed, step=step, call=call)
    if not {"scenario", "against"} <= set(attributions.attrs):
        raise DataError(
            f"{step} draws the difference between two scenarios; these attributions are of one "
            f"prediction each. Type {call} first."
        )
    why = along_layers(attributions)
    need(why["attribution"], (WINDOW, LAYER, LAG, FEATURE), step=step, call=call)
    means = why["attribution"].sum(LAG).mean(WINDOW).transpose(LAYER, FEATURE).compute()
    whole = (why["prediction"] - why["base_value"]).mean(WINDOW).compute()
    acts = np.flatnonzero((means != 0.0).any(LAYER).values)
    order = acts[np.argsort(-np.abs(means.values[:, acts]).mean(axis=0), kind="stable")]
    ax = axes_of(ax, (7.0, (0.16 * means.sizes[LAYER] + 0.2) * (order.size + 1) + 1.7))
    _layer_bars(ax, np.column_stack([means.values[:, order], whole.values]), layer_labels(why))
    shares = _shares(why)
    names = [f"{name}{shares.get(name, '')}" for name in means[FEATURE].values[order]]
    ax.set_yticks(range(order.size + 1), [*names, "difference"])
    ax.get_yticklabels()[-1].set_fontweight("bold")
    ax.axhline(order.size - 0.5, color="0.5", lw=0.8)
    ax.axvline(0.0, color="0.3", lw=0.8)
    ax.set_ylim(order.size + 0.5, -0.5)
    pair = [scenario_label(str(why.attrs[key])) for key in ("scenario", "against")]
    ax.set_xlabel(f"soil temperature, {pair[0]} minus {pair[1]} [K]")
    bare(ax)
    same = means.sizes[FEATURE] - order.size
    notes = [
        f"{source_text(why)}; mean of {why.sizes[WINDOW]} windows",
        f"of {why.attrs['period']}" if "period" in why.attrs else "",
        f"; left out: {same} of {same + order.size} features, the same under both" if same else "",
        "; %: months outside the training range" if shares else "",
    ]
    given = " ".join(note for note in notes if note).replace(" ;", ";")
    entitle(ax, title, given, why)
    return ax


def _layer_bars(ax: Any, values: np.ndarray, layers: list[str]) -> None:
    """Bars ``(layer, row)``, the surface on top, darker with depth."""
    shades = pyplot().get_cmap("cividis_r")(np.linspace(0.15, 1.0, len(layers)))
    height = 0.8 / len(layers)
    for k, (row, shade, label) in enumerate(zip(values, shades, layers, strict=True)):
        at = np.arange(row.size) + (k - 0.5 * (len(layers) - 1)) * height
        ax.barh(at, row, height=height, color=shade, label=label)
    if len(layers) > 1:
        ax.legend(frameon=False, fontsize=8, title="soil layer", title_fontsize=8)


def _shares(why: xr.Dataset) -> dict[str, str]:
    """Of every feature that is outside the training range at times, how often."""
    if "outside_training_range" not in why:
        return {}
    share = why["outside_training_range"].mean(WINDOW)
    known = zip(why[FEATURE].values, share.values, strict=True)
    return {str(name): f" ({100 * value:.0f} %)" for name, value in known if value >= 0.005}
