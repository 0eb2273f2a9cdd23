"""What the numbers of a report do not say: only what applies to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from ..ensembles import PERIODS
from ..fitted import FittedModel
from ..hybrid import PersistenceModel
from ..plot import scenario_label
from ..schema import ESM, MEMBER, REALIZATION, SCENARIO, layer_bounds
from .html import Content, bullets, element, joined
from .results import Results
from .words import simulated

#: Layers from which an isotherm between them is more than a guess.
MANY_LAYERS = 8
#: Test years from which their number is no longer the first thing to say.
MANY_YEARS = 15
_KNOWS_THE_PAST = ("persistence", "persistence_year", "damped_persistence")

#: A heading and what it means here.
Caveat = tuple[str, str]


def caveats(results: Results) -> list[Caveat]:
    """Those that apply, the gravest first."""
    return [
        *_of_data(results),
        *_of_models(results),
        *_of_the_future(results),
        *_of_scores(results),
        *_of_explanations(results),
        *[("Warned while this was made", text) for text in results.warned],
    ]


def caveat_section(results: Results) -> Content:
    return bullets(
        [joined([element("strong", f"{head}."), f" {text}"]) for head, text in caveats(results)]
    )


def _of_data(results: Results) -> Iterator[Caveat]:
    ds, reference = results.ds, results.reference
    if "simulated" in ds.attrs:
        yield (
            "The data are simulated",
            f"No number here holds for a real place: {simulated(ds)}.",
        )
    elif results.place != "station":
        yield (
            "A reanalysis is not the truth",
            "Models and scores are measured against the reference's soil temperature. If that is a "
            "reanalysis, its land-surface model is what is learned, with its known winter warm "
            "bias (Cao et al. 2020). Only boreholes and stations test more: xp.validate.",
        )
    bounds = layer_bounds(reference)
    if len(bounds) < MANY_LAYERS:
        yield (
            f"{len(bounds)} layers give no active-layer thickness without an error bar",
            f"The 0 degC isotherm lies somewhere between their middles, and below "
            f"{bounds[-1, 1]:g} m nothing is known.",
        )
    missing = float(reference["tsl"].isnull().mean())
    if missing > 0:
        yield (
            "Soil temperature has gaps",
            f"{100 * missing:.1f} % of the reference's months are missing; they are neither "
            "learned nor scored.",
        )


def _of_models(results: Results) -> Iterator[Caveat]:
    alone = [n for n, m in results.models.items() if isinstance(m, FittedModel)
             and not m.info.get("pretrain")]  # fmt: skip
    if alone:
        yield (
            "Trained on the record alone",
            f"{', '.join(alone)}: networks that have seen no other climate lose a fifth to a half "
            "of a strong warming, and skill on test years does not show it. Run the perfect-model "
            "test: evaluate(..., protocol='perfect-model').",
        )
    single = [n for n, p in results.projections.items() if p.whole.sizes.get(MEMBER, 1) < 2]
    if single:
        yield (
            "One network",
            f"{', '.join(single)}: how far another training would differ is not known. Fit with "
            "members=5.",
        )
    ahead = [n for n, m in results.models.items() if m.spec.horizon]
    if ahead:
        yield (
            "Horizon 1",
            f"{', '.join(ahead)}: the window ends a month before the target, whose own forcing is "
            "not used, though a scenario gives it. Scores are not comparable with horizon 0.",
        )
    remembering = [n for n, m in results.models.items() if isinstance(m, PersistenceModel)]
    if remembering:
        yield (
            "Last known errors",
            f"{', '.join(remembering)}: scored one month ahead, with soil temperature known up to "
            "the month before. In the projection none is known, and the correction fades out. "
            "Explained is the network without it.",
        )


def _of_the_future(results: Results) -> Iterator[Caveat]:
    ds = results.ds
    many = any(
        projected.whole.sizes.get(dim, 1) > 1
        for projected in results.projections.values()
        for dim in (REALIZATION, MEMBER)
    )
    if ds.sizes.get(ESM, 1) < 2:
        yield (
            "One climate model is not an ensemble",
            "The spread between its scenarios is neither the uncertainty of the projection nor "
            "that of a scenario. "
            + (
                "Networks, or runs of one model, do not make up for it."
                if many
                else "The shaded bands of the fans are the spread of years."
            ),
        )
    lost = next(iter(results.projections.values())).whole.attrs.get("missing_runs")
    if lost:
        yield "Runs that are not there", f"{lost}."
    yield from _extrapolated(results)
    yield from _near(results)
    if results.adjustment.attrs["method"] == "none":
        yield (
            "No adjustment",
            "The climate model's forcing was taken as it is, biases and all.",
        )
    else:
        yield (
            "Adjustment is univariate",
            "Each variable is mapped for itself: how they go together, as snow with air "
            "temperature, is the climate model's. No wrong process and no wrong trend is mended.",
        )
    if "divergence" in results.adjustment.children:
        yield from _squeezed(results.adjustment["divergence"].to_dataset())
    for what, report in (("forcing", results.checks), *(
        (f"projection of {n}", p.checks) for n, p in results.projections.items())):  # fmt: skip
        if report.worst in ("error", "warning"):
            yield (
                f"The check of the {what} found {report.worst}s",
                "They stand among the scenario checks; read them before the projections.",
            )


def _extrapolated(results: Results) -> Iterator[Caveat]:
    for name, projected in results.projections.items():
        share = projected.outside.dropna("period", how="all")
        if not share.sizes["period"] or not float(share.max()) > 0:
            continue
        last = share.isel(period=-1)
        worst = str(last[SCENARIO].values[int(last.values.argmax())])
        yield (
            "Inputs outside the training range",
            f"{name}: {100 * float(last.max()):.0f} % under {scenario_label(worst)} in "
            f"{last['period'].item()}. What a model says there is extrapolation, which the scores "
            "do not test.",
        )


def _near(results: Results) -> Iterator[Caveat]:
    """Where scenarios are not apart in the climate model's own air."""
    if "divergence" not in results.adjustment.children:
        return
    kept = results.adjustment["divergence"].to_dataset()
    name = next((n for n in ("tas", "ts") if n in kept), None)
    if name is None:
        return
    lost = kept[name].isnull().sum([d for d in kept[name].dims if d != "horizon"])
    total = kept[name].size // kept.sizes["horizon"]
    weak, strong = (scenario_label(n) for n in str(kept.attrs["pair"]).split(", "))
    for span, count in zip(kept["horizon"].values, lost.values, strict=True):
        if count:
            yield (
                "Too near to tell scenarios apart",
                f"In {str(span).replace('/', '-')} the climate model's own {strong} and {weak} "
                f"differ in {name} by less than two standard errors at {int(count)} of {total} "
                "places: what their projections differ by there is weather.",
            )
    if results.periods[0] == PERIODS[0] and not lost[0]:
        yield (
            "The near term",
            "Up to about 2040 the order of scenarios is partly that of their weather; single years "
            "and decades may come in another order.",
        )


def _squeezed(kept: xr.Dataset) -> Iterator[Caveat]:
    for name, da in kept.data_vars.items():
        if bool((da < 0.9).any()):
            yield (
                "Divergence lost",
                f"The adjustment keeps only {float(da.min()):.2f} of the difference between "
                f"scenarios in {name} at one place and period at least: projections look more "
                "alike than the climate model's scenarios are.",
            )


def _of_scores(results: Results) -> Iterator[Caveat]:
    scores = results.scores
    if scores is None:
        yield "Not scored", "No month is left that a model has not seen; skill is not known."
        return
    first, last = (int(s[:4]) for s in scores.attrs["test_period"].split(" to "))
    years = last - first + 1
    if years < MANY_YEARS:
        yield (
            f"{years} test years",
            f"They hold {years} summers. The bootstrap of years shows how much single ones weigh, "
            "not what years that are not among them would do.",
        )
    if set(_KNOWS_THE_PAST) & set(scores["model"].values.tolist()):
        yield (
            "Persistence knows more than the models",
            "It is given the soil's own past up to the step before; the others see forcing only, "
            "as in a projection.",
        )
    yield (
        "Skill is not trust in a trend",
        "Scores on test years do not rank models by the warming that they project.",
    )


def _of_explanations(results: Results) -> Iterator[Caveat]:
    if not results.explained:
        return
    yield (
        "An attribution explains the model, not the soil",
        "Features that go together, as air and skin temperature, share what they say by the path "
        "taken, not by cause. Intervals resample the years explained; they do not cover another "
        "network or background.",
    )
    over = [n for n, e in results.explained.items() if _beyond(e.why)]
    if over:
        yield (
            "Attributions that do not sum",
            f"{', '.join(over)}: some residuals are beyond the tolerance.",
        )


def _beyond(why: xr.Dataset) -> bool:
    limit = float(why.attrs["tolerance"]) * why["prediction_std"] + 2e-5  # of single precision
    return bool(np.any(abs(why["residual"]) > limit))


__all__ = ["caveat_section", "caveats"]
