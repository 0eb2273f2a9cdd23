"""Section: the scoreboard, and what its intervals bear out."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from ..evaluation import scoreboard
from ..plot import skill
from ..plot._common import layer_labels, north_first
from ..schema import LAYER
from .html import (
    Content,
    Html,
    Rows,
    bullets,
    folded,
    number,
    paragraph,
    picture,
    table,
)
from .results import Results


def score_section(results: Results) -> Content:
    scores = results.scores
    if scores is None:
        return paragraph(
            "Not scored: a model was trained to the end of the record, so that no month is left "
            "which it has not seen. A score on training months is no skill."
        )
    attrs = scores.attrs
    intervals = "rmse_difference_low" in scores
    parts: list[Content] = [
        paragraph(
            f"Test {attrs['test_period']}, training {attrs['training_period']}. One score over all "
            f"test months, {results.place}s and layers (no mean of scores), and one by layer; "
            f"{attrs['common_months']}. Baselines left out: {attrs['baselines_left_out']}."
        ),
        _board(results, scores),
    ]
    if intervals:
        parts += [bullets(standing(results, scores)), _differences(results, scores)]
    place = results.place
    some = [folded(f"RMSE of {name} by {place}", _by_place(scores, name, place))
            for name in results.models]  # fmt: skip
    ax = skill(scores)
    heat = picture(
        ax.figure,
        alt="Root mean square error of every model and baseline at every layer, as colours and "
        "numbers; the scoreboard holds the same numbers.",
        caption=f"RMSE by layer, test {attrs['test_period']}, pooled over places.",
    )
    return [*parts, heat, *some]


def _board(results: Results, scores: xr.Dataset) -> Html:
    frame = scoreboard(scores)
    rows = Rows()
    forms = {"R2": ".3f", "bias": "+.2f"}
    for name, line in frame.iterrows():
        own = str(name) in results.models
        cells: list[Content] = []
        for column, value in line.items():
            form = forms.get(str(column), ".2f")
            cells.append(value if isinstance(value, str) else number(value, form))
        rows.add((str(name), "model" if own else "baseline"), cells, own=own)
    whole = [str(c) for c in frame.columns if not str(c).startswith("RMSE ")]
    layers = [str(c).removeprefix("RMSE ") for c in frame.columns if str(c).startswith("RMSE ")]
    text = (
        "Scoreboard: RMSE and bias in K; skill is 1 - MSE / MSE of climatology; layers by their "
        "mid-depth."
    )
    if "95 %" in frame:
        text += f" Interval of RMSE: {scores['rmse_pooled_low'].attrs['comment']}."
    return table(
        text,
        ["model", "kind", *whole, *layers],
        rows,
        groups=[("all layers", len(whole)), ("RMSE by layer", len(layers))],
    )


def verdict(low: float, high: float) -> str:
    """What an interval of a paired difference of RMSE bears out."""
    return "lower" if high < 0 else "higher" if low > 0 else "not separated"


def compared(scores: xr.Dataset, name: str, others: Sequence[str]) -> dict[str, list[str]]:
    """Others by what the interval of ``name`` minus them bears out."""
    out: dict[str, list[str]] = {"lower": [], "not separated": [], "higher": []}
    for other in others:
        at = scores.sel(model=name, baseline=other)
        word = verdict(float(at["rmse_difference_low"]), float(at["rmse_difference_high"]))
        out[word].append(other)
    return out


def standing(results: Results, scores: xr.Dataset) -> list[str]:
    """A sentence for every model, and one for the best of all; intervals decide."""
    names = [str(name) for name in scores["model"].values]
    best = names[int(scores["rmse_pooled"].argmin("model"))]
    close = compared(scores, best, [n for n in names if n != best])["not separated"]
    rest = "the 95 % intervals of all paired differences from it exclude zero"
    if close:
        rest = f"not separated from it: {', '.join(close)}"
    lines = [f"The lowest pooled RMSE has {best}; {rest}."]
    for name in results.models:
        found = compared(scores, name, [n for n in names if n not in results.models])
        words = {"lower": "lower RMSE than", "not separated": "not separated from",
                 "higher": "higher RMSE than"}  # fmt: skip
        said = [f"{words[k]} {', '.join(v)}" for k, v in found.items() if v]
        lines.append(f"{name}, among the baselines: {'; '.join(said) or 'none was asked for'}.")
    return lines


def _differences(results: Results, scores: xr.Dataset) -> Html:
    rows = Rows()
    for name in results.models:
        for other in scores["baseline"].values:
            if str(other) == name:
                continue
            at = scores.sel(model=name, baseline=other)
            difference, low, high = (
                float(at[f"rmse_difference{part}"]) for part in ("", "_low", "_high")
            )
            cells = [number(v, "+.3f") for v in (difference, low, high)]
            rows.add((name, str(other)), [*cells, verdict(low, high)])
    comment = scores["rmse_difference_low"].attrs["comment"]
    return folded(
        "Paired differences of RMSE",
        table(
            "RMSE of a model minus that of another [K], over the same months, with its interval "
            f"({comment}). Each interval stands for itself; there is no correction for their "
            "number.",
            ["model", "minus", "difference", "low", "high", "RMSE is"],
            rows,
        ),
    )


def _by_place(scores: xr.Dataset, name: str, place: str) -> Html:
    rmse = scores["rmse"].sel(model=name).transpose(place, LAYER)
    rows = Rows()
    for i in north_first(rmse, place):
        rows.add(str(rmse[place].values[i]), [number(v) for v in rmse.values[i]])
    return table(f"RMSE of {name} [K] by {place} and layer.", [place, *layer_labels(scores)], rows)
