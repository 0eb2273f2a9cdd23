"""Sections: the bias adjustment, and the checks of scenarios."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..plot import adjustment, scenario_label
from ..scenario_checks import ScenarioReport
from ..schema import LAYER, SCENARIO
from .html import (
    Content,
    Html,
    Rows,
    element,
    folded,
    number,
    paragraph,
    picture,
    table,
)
from .results import Results
from .words import by_layer, drawn, month

#: Rows of a list of findings; the rest is counted.
FINDINGS = 60


def adjustment_section(results: Results) -> Content:
    tree = results.adjustment
    method = tree.attrs["method"]
    parts: list[Content] = [
        paragraph(
            f"Method {method}, trained on {tree.attrs['training_period'].replace('/', ' to ')}. "
            "One training serves every scenario. Signals and biases are means over places"
            + (", climate models and their runs." if results.ds.sizes.get("esm") else ".")
        )
    ]
    if "divergence" in tree.children:
        parts.append(_divergence_table(tree))
    parts += [_signal_table(results), _left_table(tree), _quantile_figures(results)]
    return parts


def spans(tree: xr.DataTree) -> list[str]:
    """``"2041-2060"`` of every horizon."""
    return [str(h).replace("/", "-") for h in tree["change"].to_dataset()["horizon"].values]


def _divergence_table(tree: xr.DataTree) -> Html:
    kept = tree["divergence"].to_dataset()
    rows = Rows()
    for da in kept.data_vars.values():
        for label, one in by_layer(da):
            cells: list[Content] = []
            for k in range(one.sizes["horizon"]):
                values = one.isel(horizon=k).values.ravel()
                known = values[np.isfinite(values)]
                ends = (known.min(), known.max()) if known.size else (np.nan, np.nan)
                cells += [number(end) for end in ends]
                cells.append(f"{known.size} of {values.size}")
            rows.add(element("code", label), cells)
    one_, two = (scenario_label(n) for n in str(kept.attrs["pair"]).split(", "))
    heads = ["least", "most", "places"] * kept.sizes["horizon"]
    return table(
        f"Divergence preserved: the share of {two} minus {one_} that is left after the adjustment; "
        "1 is all, below 0.9 is a loss. Places where the climate model's own difference is below "
        "two standard errors are not counted: a dash where it is so at all of them.",
        ["variable", *heads],
        rows,
        groups=[(span, 3) for span in spans(tree)],
    )


def _signal_table(results: Results) -> Html:
    change = results.adjustment["change"].to_dataset()
    rows = Rows()
    for da in change.data_vars.values():
        for label, one in by_layer(da):
            over = [d for d in one.dims if d not in ("series", SCENARIO, "horizon")]
            mean = one.mean(over).transpose(SCENARIO, "horizon", "series")
            for i, name in enumerate(mean[SCENARIO].values):
                cells = [
                    number(float(mean.sel(series=side)[i, k]), "+.2f")
                    for k in range(mean.sizes["horizon"])
                    for side in ("raw", "adjusted")
                ]
                what = [element("code", label), f" [{da.attrs['units']}]"]
                rows.add((what, scenario_label(str(name))), cells)
    return table(
        "Change signals of the forcing against the training period, of the climate model itself "
        "and after the adjustment. What is adjusted by ratios is in percent.",
        ["variable", "scenario", *["raw", "adjusted"] * change.sizes["horizon"]],
        rows,
        groups=[(span, 2) for span in spans(results.adjustment)],
    )


def _left_table(tree: xr.DataTree) -> Html:
    rows = Rows()
    for da in tree["bias"].to_dataset().data_vars.values():
        for label, one in by_layer(da):
            mean = one.mean([d for d in one.dims if d != "series"])
            cells = [number(float(mean.sel(series=side)), ".3g") for side in ("raw", "adjusted")]
            rows.add([element("code", label), f" [{da.attrs['units']}]"], cells)
    return table(
        "Bias: root mean square difference of the quantiles from the reference's, over seasons and "
        "probabilities, within the training period (not an independent test).",
        ["variable", "raw", "adjusted"],
        rows,
    )


def _quantile_figures(results: Results) -> Content:
    tree = results.adjustment
    quantiles = tree["quantiles"].to_dataset().assign_attrs(tree.attrs)
    runs = [d for d in ("esm", "realization") if d in quantiles.dims]
    quantiles = quantiles.mean(runs, keep_attrs=True) if runs else quantiles
    flat = [str(n) for n, da in quantiles.data_vars.items() if LAYER not in da.dims]
    some, note = drawn(quantiles, results.place)
    note += " Means over climate models." if runs else ""
    pictures = [
        picture(
            adjustment(some, name),
            alt=f"Quantiles of {name} of the climate model against those of the reference, raw and "
            "adjusted, a row of panels for each place and a column for each season. The table of "
            "biases holds their distance from the 1:1 line.",
            caption=f"Quantiles of {name} before and after the adjustment. On the line nothing is "
            f"left to adjust.{note}",
            dpi=90,
        )
        for name in flat
    ]
    rest = [folded(f"Quantiles of {n}", one) for n, one in zip(flat[1:], pictures[1:], strict=True)]
    return [pictures[:1], rest]


# --- checks -------------------------------------------------------------------------------


def check_section(results: Results) -> Content:
    parts: list[Content] = [
        element("h3", "The forcing, before adjustment"),
        check_table(results.checks, "the forcing"),
    ]
    for name, projected in results.projections.items():
        parts += [element("h3", f"The projection of {name}"),
                  check_table(projected.checks, f"the projection of {name}")]  # fmt: skip
    return parts


def check_table(report: ScenarioReport, what: str) -> Content:
    found = report.findings
    counts = [report.count(word) for word in ("error", "warning", "note")]
    words = [
        f"{n} {word}{'' if n == 1 else 's'}"
        for n, word in zip(counts, ("error", "warning", "note"), strict=True)
    ]
    parts: list[Content] = [paragraph(f"Found in {what}: {', '.join(words)}.")]
    columns = [c for c in found.columns if c not in ("severity", "check")]
    rows = Rows()
    for one in found.head(FINDINGS).to_dict("records"):
        rows.add((str(one["severity"]), str(one["check"])), [str(one[c]) for c in columns])
    if len(found):
        more = f" The first {FINDINGS} of {len(found)}." if len(found) > FINDINGS else ""
        listed = table(f"Findings in {what}, the worst first.{more}",
                       ["severity", "check", *columns], rows, wide=True)  # fmt: skip
        parts.append(listed if counts[0] + counts[1] else folded("The notes", listed))
    return [*parts, _difference_table(report, what)]


def _difference_table(report: ScenarioReport, what: str) -> Content:
    pairs = report.differences
    if not pairs.sizes["pair"]:
        return ""
    models = [str(m) for m in pairs["model"].values] if "model" in pairs.dims else [""]
    rows = Rows()
    for variable in pairs["variable"].values:
        for model in models:
            for pair in pairs["pair"].values:
                at = pairs.sel(variable=variable, pair=pair)
                at = at.sel(model=model) if model else at
                units = str(at["units"].item()).replace("degree_Celsius", "K")
                rows.add(
                    (element("code", str(variable)), " ".join(filter(None, (model, str(pair))))),
                    [
                        month(at["first_difference"].values),
                        number(float(at["difference"]), "+.3g"),
                        number(float(at["standard_error"]), ".3g"),
                        units,
                    ],
                )
    return folded(
        f"Do the scenarios differ? {pairs.sizes['pair']} pair{'s' * (pairs.sizes['pair'] > 1)}",
        table(
            f"Differences of scenarios in {what}: mean over places and the last 20 common years.",
            ["variable", "pair", "first month apart", "difference", "standard error", "units"],
            rows,
        ),
    )
