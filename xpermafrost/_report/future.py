"""Sections: projections by scenario, and explanations."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..attributions import group_features
from ..plot import (
    attribution_bar,
    attribution_difference,
    attribution_lags,
    scenario_fans,
    scenario_label,
)
from ..plot._common import RUNS, layer_labels, north_first
from ..schema import FEATURE, FREEZING_POINT, LAG, LAYER, SCENARIO
from .html import Content, Html, Rows, element, folded, number, paragraph, picture, table
from .results import Explained, Projected, Results
from .words import drawn, over_runs

#: Years of the running mean.
WINDOW = 20
_RUNS = {"esm": "climate models", "realization": "runs of a model", "member": "networks"}


def projection_section(results: Results) -> Content:
    first = next(iter(results.projections.values()))
    reference = results.reference["time"].values
    base = f"{str(reference[0])[:7]} to {str(reference[-1])[:7]}"
    time = first.whole["time"].values
    parts: list[Content] = [
        paragraph(
            f"Monthly, {str(time[0])[:7]} to {str(time[-1])[:7]}, from forcing adjusted by "
            f"{first.whole.attrs['adjustment']}. Changes are against the reference's own soil "
            f"temperature, {base}. Means over {results.place}s are plain, not by area."
        )
    ]
    for name, projected in results.projections.items():
        parts += [element("h3", name), _of_model(results, name, projected, base)]
    return parts


def _of_model(results: Results, name: str, projected: Projected, base: str) -> Content:
    place = results.place
    observed = results.reference["tsl"].compute() - FREEZING_POINT
    fans = _fans(name, projected, observed, place)
    if not projected.means.sizes["period"] or not bool(projected.means.notnull().any()):
        return [fans, paragraph("No period has ten whole years of the projection: no means.")]
    periods = [str(p) for p in projected.means["period"].values]
    places = [
        folded(f"Change by {place}, {p}", _place_table(results, projected, k))
        for k, p in enumerate(periods)
    ]
    return [fans, _period_table(projected, place, base), _outside_table(projected), places]


def _fans(name: str, projected: Projected, observed: xr.DataArray, place: str) -> Html:
    """Annual means by place and layer; the running mean is over 20 years, or half of what is."""
    years = projected.whole.sizes["time"] // 12
    if years < 2:
        return paragraph("The projection has less than two years: no figure.")
    window = WINDOW if years >= 2 * WINDOW else max(1, years // 2)
    alone = [d for d in RUNS if projected.whole.sizes.get(d) == 1]
    some, note = drawn(projected.whole.squeeze(alone), place)
    shaded = "one standard deviation of years around it"
    if set(RUNS) & set(some.dims):
        shaded = f"lowest to highest {window}-year mean of {_of_runs(projected.whole)}"
    return picture(
        scenario_fans(some, observed=observed.sel({place: some[place]}), window=window),
        alt=f"Annual mean soil temperature by scenario as projected by {name}, a row of panels for "
        f"each {place} and a column for each layer, after the reference in black. The tables below "
        "hold the means of the periods.",
        caption=f"Annual means (thin), {window}-year running mean (thick), {shaded} (shaded); "
        f"black: reference.{note}",
    )


def _of_runs(da: xr.DataArray) -> str:
    """``"3 climate models and 5 networks"``."""
    counts = [f"{da.sizes[d]} {_RUNS[d]}" for d in RUNS if da.sizes.get(d, 1) > 1]
    return " and ".join(counts) or "one network under one climate model"


def _period_table(projected: Projected, place: str, base: str) -> Html:
    """By scenario and layer: mean, change and its range over runs, and the truth, if known."""
    runs = [d for d in RUNS if d in projected.change.dims]
    many = any(projected.change.sizes[d] > 1 for d in runs)
    means = over_runs(projected.means).mean(place)
    centre = over_runs(projected.change).mean(place)
    change = projected.change.mean(place)
    truth = None if projected.truth is None else projected.truth.mean(place)
    rows = Rows()
    layers = layer_labels(projected.whole)
    for name in means[SCENARIO].values:
        for k, layer in enumerate(layers):
            at = {SCENARIO: name}
            cells: list[Content] = []
            for p in range(means.sizes["period"]):
                here = {LAYER: k, "period": p}
                each = change.sel(at).isel(here)
                cells.append(number(float(means.sel(at).isel(here))))
                cells.append(number(float(centre.sel(at).isel(here)), "+.2f"))
                if many:
                    cells += [number(float(end), "+.2f") for end in (each.min(), each.max())]
                if truth is not None:
                    cells.append(number(float(truth.sel(at).isel(here)), "+.2f"))
            rows.add((scenario_label(str(name)), layer), cells)
    heads = ["mean", "change", *(["lowest", "highest"] if many else [])]
    heads += ["true change"] if truth is not None else []
    spread = (
        f"Lowest and highest change of {_of_runs(projected.whole)}."
        if many
        else "No spread: one network under one climate model has none."
    )
    known = " True change: of the simulated world." if truth is not None else ""
    return table(
        f"Soil temperature [degC] and its change [K] from {base}, mean over {place}s. "
        f"{spread}{known}",
        ["scenario", "layer", *heads * means.sizes["period"]],
        rows,
        groups=[(str(p), len(heads)) for p in means["period"].values],
    )


def _place_table(results: Results, projected: Projected, period: int) -> Html:
    change = over_runs(projected.change).isel(period=period)
    change = change.transpose(results.place, SCENARIO, LAYER)
    layers, names = layer_labels(projected.whole), change[SCENARIO].values
    rows = Rows()
    for i in north_first(change, results.place):
        values = change.values[i].ravel()
        rows.add(str(change[results.place].values[i]), [number(v, "+.2f") for v in values])
    return table(
        f"Change of soil temperature [K], {change['period'].item()}, mean over runs, by "
        f"{results.place} and layer.",
        [results.place, *layers * len(names)],
        rows,
        groups=[(scenario_label(str(n)), len(layers)) for n in names],
    )


def _outside_table(projected: Projected) -> Html:
    share = 100.0 * projected.outside
    rows = Rows()
    for name, line in zip(share[SCENARIO].values, share.values, strict=True):
        rows.add(scenario_label(str(name)), [number(v, ".1f") for v in line])
    return table(
        "Extrapolation: share of inputs outside the range of their place and calendar month in "
        "training [%].",
        ["scenario", *map(str, share["period"].values)],
        rows,
    )


# --- explanations -------------------------------------------------------------------------


def explanation_section(results: Results) -> Content:
    if not results.asked.explain:
        return paragraph("Left out, as asked: explain=False.")
    parts: list[Content] = []
    for name, explained in results.explained.items():
        parts += [element("h3", name), _sum_check(explained.why), _bars(name, explained)]
        if explained.difference is not None:
            parts.append(_difference(explained.difference))
    return parts


def left_over(why: xr.Dataset) -> tuple[float, float]:
    """Largest and root mean square residual, as shares of the prediction's spread."""
    share = (abs(why["residual"]) / why["prediction_std"]).where(why["prediction_std"] > 0)
    return float(share.max()), float(np.sqrt((share**2).mean()))


def _sum_check(why: xr.Dataset) -> Html:
    worst, usual = left_over(why)
    count = why.sizes["window"] * why.sizes[LAYER]
    return paragraph(
        [
            f"Sum check of {count} answers ({why.sizes['window']} windows, {why.sizes[LAYER]} "
            "layers): base value + sum of attributions misses the prediction by at most ",
            number(100.0 * worst, ".3g"),
            " % of its standard deviation (root mean square ",
            number(100.0 * usual, ".3g"),
            f" %; tolerance {100.0 * float(why.attrs['tolerance']):g} %). Method "
            f"{why.attrs['method'].replace('_', ' ')}, background {why.attrs['background']}.",
        ]
    )


def _bars(name: str, explained: Explained) -> Content:
    bars = explained.bars
    order = np.argsort(-bars["importance"].values, kind="stable")
    limits = "importance_low" in bars
    rows = Rows()
    for k in order:
        one = bars.isel({FEATURE: int(k)})
        cells = [number(float(one["importance"]))]
        if limits:
            cells += [number(float(one[f"importance_{side}"])) for side in ("low", "high")]
        rows.add(str(one[FEATURE].item()), [*cells, number(100.0 * float(one["share"]), ".1f")])
    comment = f"; interval: {bars['importance_low'].attrs['comment']}" if limits else ""
    listed = table(
        f"Mean absolute attribution of {name} by group of features [K]{comment}.",
        ["feature", "mean |attribution|", *(["low", "high"] if limits else []), "share [%]"],
        rows,
    )
    first = picture(
        attribution_bar(bars).figure,
        alt=f"Bars of the mean absolute attribution of every group of features of {name}, with "
        "intervals; the table above holds the numbers.",
        caption="Mean absolute attributions, the largest on top, over the windows explained.",
    )
    if explained.lags.sizes[LAG] < 2:
        return [listed, first]
    second = picture(
        attribution_lags(explained.lags).figure,
        alt=f"Heat map of the mean absolute attribution of {name} by feature and by months before "
        "the target.",
        caption="Where in the window the attributions lie.",
    )
    return [listed, first, second]


def _difference(why: xr.Dataset) -> Content:
    """Signed means, which sum to the difference of the projections."""
    strong, weak = (scenario_label(str(why.attrs[k])) for k in ("scenario", "against"))
    groups = group_features(why)["attribution"].sum(LAG).mean("window").transpose(LAYER, FEATURE)
    total = (why["prediction"] - why["base_value"]).mean("window").values
    rows = Rows()
    for k, layer in enumerate(layer_labels(why)):
        rows.add(layer, [number(v, "+.2f") for v in (*groups.values[k], total[k])])
    worst, _ = left_over(why)
    signed = table(
        f"Why {strong} differs from {weak}, {why.attrs['period']}: mean attribution of the "
        "difference of the two projections [K] by group of features. They sum to the difference, "
        f"window by window, but for {100.0 * worst:.2g} % of a standard deviation at most.",
        ["layer", *map(str, groups[FEATURE].values), "difference"],
        rows,
    )
    share = 100.0 * why["outside_training_range"].mean("window")
    outside = Rows()
    for name, value in zip(share[FEATURE].values, share.values, strict=True):
        outside.add(element("code", str(name)), [number(float(value), ".1f")])
    bars = picture(
        attribution_difference(why).figure,
        alt=f"Bars of the mean attribution of {strong} minus {weak} by feature and layer, with "
        "sign; the table above holds the sums of groups of features.",
        caption=f"What makes {strong} differ from {weak}, by feature.",
    )
    return [
        signed,
        bars,
        table(
            f"Features extrapolated under {strong}, {why.attrs['period']}: share of the months of "
            "the windows outside the training range [%].",
            ["feature", "share"],
            outside,
        ),
    ]


__all__ = ["explanation_section", "left_over", "projection_section"]
