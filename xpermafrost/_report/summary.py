"""The head of a report: what it is, and its main numbers in short."""

from __future__ import annotations

import numpy as np

from .. import __version__
from ..plot import scenario_label
from ..plot._common import layer_labels
from ..schema import LAYER, SCENARIO
from .caveats import caveats
from .html import Content, bullets, element, joined, number, paragraph
from .results import Results
from .scores import standing
from .words import over_runs, simulated


def lead(results: Results) -> Content:
    """What the report is of; what is simulated says so before all else."""
    place, count = results.place, results.reference.sizes[results.place]
    models = ", ".join(results.models)
    names = ", ".join(scenario_label(n) for n in results.scenarios)
    parts: list[Content] = []
    if "simulated" in results.ds.attrs:
        parts.append(
            paragraph(
                f"SIMULATED DATA: {simulated(results.ds)}. No number here holds for a real place.",
                "alert",
            )
        )
    parts.append(
        paragraph(
            f"Soil temperature by {models} at {count} {place}{'s' * (count > 1)} and "
            f"{results.reference.sizes[LAYER]} layers, under {names}. "
            f"xpermafrost {__version__}.",
            "soft",
        )
    )
    return parts


def summary_section(results: Results) -> Content:
    lines: list[Content] = []
    scores = results.scores
    if scores is None:
        lines.append("Not scored: no month is left that a model has not seen.")
    else:
        for name in results.models:
            one = scores.sel(model=name)
            words: list[Content] = [f"{name}: RMSE ", number(float(one["rmse_pooled"])), " K"]
            if "rmse_pooled_low" in one:
                low, high = (number(float(one[f"rmse_pooled_{k}"])) for k in ("low", "high"))
                words += [" (95 % ", low, " to ", high, ")"]
            skill = number(float(one["anomaly_skill_pooled"]))
            words += [f" over {scores.attrs['test_period']}, skill against climatology ", skill]
            lines.append([*words, "."])
        if "rmse_difference_low" in scores:
            lines.append(standing(results, scores)[0])
    lines += _changes(results)
    counts = {word: results.checks.count(word) for word in ("error", "warning")}
    said = " and ".join(f"{n} {w}{'s' * (n != 1)}" for w, n in counts.items())
    lines.append(["Checks of the scenarios: ", said, "."])
    link = element("a", f"{len(caveats(results))} caveats", {"href": "#caveats"})
    lines.append(joined(["To be read with its ", link, "."]))
    return bullets(lines)


def _changes(results: Results) -> list[Content]:
    """Change in the last period under the first and the last scenario, top and bottom layer."""
    lines: list[Content] = []
    for name, projected in results.projections.items():
        known = projected.change.dropna("period", how="all")
        if not known.sizes["period"]:
            continue
        last = known.isel(period=-1)
        mean = over_runs(last).mean(results.place)
        layers = layer_labels(projected.whole)
        words: list[Content] = [f"{name}, change to {last['period'].item()}: "]
        for i, scenario in enumerate(dict.fromkeys((results.scenarios[0], results.scenarios[-1]))):
            at = mean.sel({SCENARIO: scenario}).transpose(LAYER).values
            if not np.isfinite(at).all():
                continue
            words += ["; " * bool(i), f"{scenario_label(scenario)} ", number(at[0], "+.2f"),
                      f" K at {layers[0]}"]  # fmt: skip
            if len(layers) > 1:
                words += [", ", number(at[-1], "+.2f"), f" K at {layers[-1]}"]
        lines.append([*words, f" (plain mean over {results.place}s)."])
    return lines


__all__ = ["lead", "summary_section"]
