"""Checks of scenarios that ask what is there: variables, months, units, periods."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._checks import month_name, same_units
from ._scenario_runs import WARMTH, Field, Finding, Run, mean_of, spread
from .schema import HISTORICAL, REFERENCE

#: Months by which a season may be early or late against the reference's.
SEASON_SHIFT = 2
#: Overlap of reference and climate model that an adjustment wants [month].
OVERLAP = 240


def missing(field: Field, names: list[str], optional: tuple[str, ...]) -> Iterator[Finding]:
    """A variable that some scenarios have and others lack."""
    lacking = [name for name in names if name not in field.runs and name not in optional]
    if field.runs and lacking:
        yield field.say(
            "error",
            "missing variable",
            f"{field.name!r} has no values in {', '.join(lacking)}, but in "
            f"{', '.join(field.runs)}. Add it, or fit on what all have: fit(features=[...]).",
            scenario=", ".join(lacking),
            place="all places",
            period="all months",
        )


def gaps(field: Field) -> Iterator[Finding]:
    """Months without values inside a period, at all places or at some."""
    for name, run in field.runs.items():
        start, end = field.spans.get(name, (run.first, run.last))
        late, early = run.first - start, end - run.last
        empty = ~np.isfinite(run.values)
        holes = np.flatnonzero(empty.all(axis=1))
        months = [*range(start, run.first), *(run.first + holes), *range(run.last + 1, end + 1)]
        if late > 0 or early > 0 or holes.size:
            yield field.say(
                "error",
                "gap",
                f"{len(months)} of the months {month_name(start)}/{month_name(end)} have no "
                f"{field.name!r}, the first {month_name(int(months[0]))}. Add them; a window needs "
                "every month.",
                scenario=name,
                place="all places",
                period=f"{month_name(int(months[0]))}/{month_name(int(months[-1]))}",
            )
        # a place that never has values is water, or outside; one with some is incomplete
        some = empty.any(axis=0) & ~empty.all(axis=0)
        extra = empty[:, some].sum() - holes.size * int(some.sum())
        if extra > 0:
            yield field.say(
                "warning",
                "gap",
                f"{extra} values of {field.name!r} are missing where other places or months have "
                "them. Windows that hold one are left out.",
                scenario=name,
                place=field.where(some),
                period=run.span,
            )


def units(field: Field) -> Iterator[Finding]:
    """Units and range of the variable table, and the size and season of the reference."""
    row = field.row
    if row is None:
        return
    if field.units is None or not same_units(str(field.units), row.units):
        yield field.say(
            "error",
            "units",
            f"{field.name!r} has units {field.units!r}; needed {row.units!r}. Convert it: "
            "ds.permafrost.standardize().",
            scenario="all",
            place="all places",
            period="all months",
        )
        return
    low, high = row.valid_range
    for name, run in field.runs.items():
        least, most = float(np.nanmin(run.values)), float(np.nanmax(run.values))
        if least < low or most > high:
            bad = ((run.values < low) | (run.values > high)).any(axis=0)
            yield field.say(
                "error",
                "units",
                f"{field.name!r} spans {least:.4g} to {most:.4g}; {row.units!r} means {low:g} to "
                f"{high:g}. The units do not fit the values: correct them before combining.",
                scenario=name,
                place=field.where(bad),
                period=run.span,
            )
    reference = field.runs.get(REFERENCE)
    if reference is not None:
        for name, run in field.runs.items():
            if name != REFERENCE:
                yield from _against(field, reference, run)


def _against(field: Field, reference: Run, run: Run) -> Iterator[Finding]:
    """Mean and season of a run beside the reference's: a wrong unit, a shifted calendar."""
    ours, theirs = (mean_of(each.years()[1]) for each in (reference, run))
    if not len(run.years()[1]) or not len(reference.years()[1]):
        return
    means = mean_of(ours), mean_of(theirs)
    if field.additive:
        season = np.sqrt(mean_of((ours - means[0]) ** 2))
        limit = 3.0 * season + 3.0 * spread(reference.years()[1])
        bad = np.abs(means[1] - means[0]) > limit
        text = "differs from the reference by {:.4g}".format
        size = means[1] - means[0]
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            size = means[1] / means[0]
        bad = ((size > 5.0) | (size < 0.2)) & (means[0] > 0)
        text = "is {:.3g} times the reference".format
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        yield field.say(
            "warning",
            "units",
            f"the mean of {field.name!r} {text(float(size[at]))}: a unit, a sign, or another "
            "quantity? Look before adjusting.",
            scenario=run.name,
            place=field.where(bad),
            period=run.span,
        )
    one, two = mean_of(ours, axis=1), mean_of(theirs, axis=1)
    if field.name not in (*WARMTH, "rlds", "rsds") or not np.isfinite([*one, *two]).all():
        return
    fits = [float(np.corrcoef(one, np.roll(two, -lag))[0, 1]) for lag in range(12)]
    lag = int(np.argmax(fits))
    lag = lag - 12 if lag > 6 else lag
    if fits[lag] > 0.9 and abs(lag) >= SEASON_SHIFT:
        yield field.say(
            "error",
            "season",
            f"the season of {field.name!r} is {abs(lag)} months {'late' if lag > 0 else 'early'} "
            "against the reference. Check the stamps of its months.",
            scenario=run.name,
            place="mean of places",
            period=run.span,
        )


def constant(field: Field) -> Iterator[Finding]:
    """Calendar months that never vary, and years that repeat the year before."""
    reference = field.runs.get(REFERENCE)
    moving = None if reference is None else _moving(reference.years()[1])
    for name, run in field.runs.items():
        cube = run.years()[1]
        if len(cube) < 3:
            continue
        there = np.isfinite(cube).any(axis=0)
        still = there & ~_moving(cube)
        at_bound = np.isin(cube[0], field.bounds)
        odd, dry = still & ~at_bound, still & at_bound
        if odd.any():
            months = ", ".join(str(m + 1) for m in np.flatnonzero(odd.any(axis=1)))
            yield field.say(
                "warning",
                "constant",
                f"{field.name!r} never varies in the calendar months {months}: filled in?",
                scenario=name,
                place=field.where(odd.any(axis=0)),
                period=run.span,
            )
        if name != REFERENCE and moving is not None and (dry & moving).any():
            lost = dry & moving
            months = ", ".join(str(m + 1) for m in np.flatnonzero(lost.any(axis=1)))
            yield field.say(
                "note",
                "constant",
                f"{field.name!r} is always {cube[0][lost][0]:g} in the calendar months {months}, "
                "where the reference varies; a ratio cannot adjust it.",
                scenario=name,
                place=field.where(lost.any(axis=0)),
                period=run.span,
            )
        yield from _repeats(field, run, cube)


def _moving(cube: np.ndarray) -> np.ndarray:
    """Months and places ``(month, place)`` whose values are not all the same."""
    filled = np.where(np.isfinite(cube), cube, cube[:1])
    return (filled != filled[:1]).any(axis=0)


def _repeats(field: Field, run: Run, cube: np.ndarray) -> Iterator[Finding]:
    for lag in (1, 2):
        if len(cube) <= lag:
            return
        equal = (cube[lag:] == cube[:-lag]).all(axis=1) & (np.ptp(cube[lag:], axis=1) > 0)
        if equal.any():
            year = run.years()[0] + lag + int(np.flatnonzero(equal.any(axis=1))[0])
            yield field.say(
                "warning",
                "repeated",
                f"{field.name!r} of {year} repeats {year - lag}, month by month "
                f"({int(equal.any(axis=1).sum())} such years): filled in, or read twice?",
                scenario=run.name,
                place=field.where(equal.any(axis=0)),
                period=f"{year}",
            )
            return


def overlap(runs: dict[str, tuple[int, int]]) -> Iterator[Finding]:
    """Periods of reference, history and scenarios: what the adjustment is trained on."""

    def say(severity: str, text: str, scenario: str) -> Finding:
        return Finding(
            severity=severity,
            check="period",
            variable="all",
            scenario=scenario,
            place="all places",
            period="; ".join(f"{month_name(a)}/{month_name(b)}" for a, b in spans),
            text=text,
        )

    reference, past = runs.get(REFERENCE), runs.get(HISTORICAL)
    for name, run in runs.items():
        if name in (REFERENCE, HISTORICAL):
            continue
        spans = [each for each in (reference, past, run) if each]
        if past and past[1] < run[0] - 1:
            yield say(
                "error",
                f"{HISTORICAL} ends {month_name(past[1])}, {name} begins {month_name(run[0])}: "
                f"{run[0] - past[1] - 1} months are between. Add them.",
                name,
            )
        if not reference:
            continue
        begin = min(run[0], past[0]) if past and past[1] >= run[0] - 1 else run[0]
        common = min(reference[1], run[1]) - max(reference[0], begin) + 1
        if run[1] <= reference[1] or run[0] > reference[1] + 1:
            yield say(
                "error",
                f"{name} does not continue the reference, which ends {month_name(reference[1])}.",
                name,
            )
        if common < OVERLAP:
            yield say(
                "error" if common < 24 else "warning",
                f"{max(common, 0)} months are common to the reference and {name}"
                + (f" after {HISTORICAL}" if past else "")
                + f"; an adjustment wants {OVERLAP}. "
                + ("Add a historical run." if not past else "Take a longer reference."),
                name,
            )
    spans = [each for each in (reference, past) if each]
    if reference and past and past[1] < reference[0]:
        yield say(
            "note",
            f"{HISTORICAL} ends {month_name(past[1])}, before the reference begins "
            f"({month_name(reference[0])}): a scenario continues it in the training of the "
            "adjustment, project(extend=...).",
            HISTORICAL,
        )
