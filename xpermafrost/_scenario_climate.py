"""Checks of scenarios that ask whether they differ, and go on as one climate."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from ._checks import month_name
from ._scenario_runs import WARMTH, Field, Finding, continued, forcing_of, mean_of, spread
from .schema import HISTORICAL, REFERENCE
from .spectra import LINE, MIN_YEARS, TWO_YEAR_LIMIT, spectrum

#: RMS difference of two scenarios, in standard deviations of their months' anomalies, below
#: which they are called nearly identical.
NEARLY = 0.05
#: A step at the seam beyond that many standard errors is no weather.
STEP = 6.0
#: Years on each side of the seam that the step is estimated from, at least and at most.
SEAM_YEARS = (8, 30)
#: Largest ratio of the standard deviations of two halves of a run.
VARIANCE = 2.0
#: Years from which scenarios must be apart.
APART_FROM = 2061
#: Their spread goes with the snow, or with the ground's freezing.
_NOT_STEADY = (
    *("snd", "snw", "snc", "prsn", "snow_density"),
    *("mrsol", "tsl", "tsl_esm", "soil_temperature"),
)


def identical(field: Field) -> Iterator[Finding]:
    """Scenarios that are equal, or nearly, where they must differ."""
    others = [name for name in (REFERENCE, HISTORICAL) if name in field.runs]
    pairs = [*combinations(field.futures, 2), *((o, f) for o in others for f in field.futures)]
    for one, two in pairs:
        first = max(field.runs[one].first, field.runs[two].first)
        last = min(field.runs[one].last, field.runs[two].last)
        if last - first < 11:
            continue
        a, b = (field.runs[name].part(first, last) for name in (one, two))
        known = np.isfinite(a) & np.isfinite(b)
        # equal values at a bound (no snow in July, no sun at midwinter) say nothing
        telling = known & ~((a == b) & np.isin(a, field.bounds))
        if not telling.any() or _flat(a) or _flat(b):
            continue
        yield from _compared(field, one, two, first, a, b, known=known, telling=telling)


def _flat(values: np.ndarray) -> bool:
    return bool(np.nanmax(values) == np.nanmin(values))


def _compared(
    field: Field,
    one: str,
    two: str,
    first: int,
    a: np.ndarray,
    b: np.ndarray,
    *,
    known: np.ndarray,
    telling: np.ndarray,
) -> Iterator[Finding]:
    names, differs = f"{one}, {two}", known & (a != b)
    # a scenario file that repeats history before its own start is common, and is cut off there
    shared = one in (REFERENCE, HISTORICAL)
    span = f"{month_name(first)}/{month_name(first + len(a) - 1)}"
    if not differs.any():
        yield field.say(
            "note" if one == HISTORICAL else "error",
            "identical",
            f"{field.name!r} of {one} and {two} are the same in all {len(a)} months that both "
            "have."
            + (
                " One file read twice, or one run copied over the other?"
                if not shared
                else f" Is {two} this climate model's own run?"
            ),
            scenario=names,
            place="all places",
            period=span,
        )
        return
    if shared:
        return
    same = telling.any(axis=0) & ~differs.any(axis=0)
    if same.any():
        yield field.say(
            "error",
            "identical",
            f"{field.name!r} of {one} and {two} are the same in all {len(a)} months at "
            f"{int(same.sum())} places.",
            scenario=names,
            place=field.where(same),
            period=span,
        )
    some = np.asarray(differs.any(axis=1)), np.asarray(telling.any(axis=1))
    yield from _equal_stretch(field, names, first, *some)
    whole = first + (-first % 12)
    count = (first + len(a) - whole) // 12
    if count < 5:
        return
    cubes = [x[whole - first :][: 12 * count].reshape(count, 12, -1) for x in (a, b)]
    apart = np.sqrt(mean_of((cubes[0] - cubes[1]) ** 2, axis=(0, 1)))
    noise = spread(cubes[0])
    near = (apart < NEARLY * noise) & ~same
    if near.any():
        yield field.say(
            "warning",
            "nearly identical",
            f"{field.name!r} of {one} and {two} differ by less than {NEARLY:g} standard deviations "
            "of their months. Are these two runs?",
            scenario=names,
            place=field.where(near),
            period=span,
        )


def _equal_stretch(
    field: Field, names: str, first: int, differs: np.ndarray, telling: np.ndarray
) -> Iterator[Finding]:
    """A run of equal months, at the start (a window without scenario months) or later."""
    longest, begin, start = 0, 0, 0
    for k in range(len(differs) + 1):
        if k == len(differs) or differs[k]:
            if int(telling[start:k].sum()) > longest:
                longest, begin = int(telling[start:k].sum()), start
            start = k + 1
    # two equal months may be chance in coarse or packed data
    if longest >= 3:
        end = begin + int(np.argmax([*differs[begin:], True])) - 1
        when = "first differ" if begin == 0 else "differ again"
        yield field.say(
            "warning",
            "identical",
            f"{field.name!r} of {names.replace(', ', ' and ')} are the same for {longest} months; "
            f"they {when} in {month_name(first + end + 1)}.",
            scenario=names,
            place="all places",
            period=f"{month_name(first + begin)}/{month_name(first + end)}",
        )


def order(field: Field) -> Iterator[Finding]:
    """Warmer under stronger forcing at the end of the century, beyond internal variability."""
    if field.name not in WARMTH:
        return
    for one, two in combinations(field.futures, 2):
        forcing = forcing_of(one), forcing_of(two)
        if forcing[0] is None or forcing[1] is None or forcing[0] == forcing[1]:
            continue
        weak, strong = (one, two) if forcing[0] < forcing[1] else (two, one)
        last = min(field.runs[one].last, field.runs[two].last)
        years = [field.runs[n].years(last - 239, last) for n in (weak, strong)]
        if any(y + len(c) - 20 < APART_FROM or len(c) < 19 for y, c in years):
            continue
        means = [mean_of(c, axis=(1, 2)) for _, c in years]
        size = float(means[1].mean() - means[0].mean())
        error = float(np.sqrt(sum(residual(m) ** 2 / len(m) for m in means)))
        if size > 2.0 * error:
            continue
        period = f"{years[0][0]}/{years[0][0] + len(years[0][1]) - 1}"
        swapped = size < -2.0 * error
        yield field.say(
            "error" if swapped else "warning",
            "order",
            f"{field.name!r} is {abs(size):.2g} K {'colder' if size < 0 else 'warmer'} under "
            f"{strong} than under {weak} (standard error {error:.2g} K)"
            + (": are the two swapped?" if swapped else ": they are not apart."),
            scenario=f"{weak}, {strong}",
            place="mean of places",
            period=period,
        )


def residual(series: np.ndarray) -> float:
    """Standard deviation about the linear trend."""
    step = np.arange(len(series))
    rest = series - np.polyval(np.polyfit(step, series, 1), step)
    return float(np.sqrt(rest @ rest / max(len(series) - 2, 1)))


def seam(field: Field) -> Iterator[Finding]:
    """A step from history to scenario beyond trend and weather."""
    past = field.runs.get(HISTORICAL)
    if past is None:
        return
    for name in field.futures:
        joined = continued(past, field.runs[name])
        if joined is None:
            continue
        values, at = joined
        before, after = at // 12, (len(values) - at) // 12
        if min(before, after) < SEAM_YEARS[0]:
            continue
        before, after = min(before, SEAM_YEARS[1]), min(after, SEAM_YEARS[1])
        part = values[at - 12 * before : at + 12 * after]
        annual = mean_of(part.reshape(before + after, 12, -1), axis=1)
        step, error = _step(annual, before)
        floor = 1e-6 * np.abs(mean_of(annual))
        bad = np.abs(step) > np.maximum(STEP * error, floor)
        if bad.any():
            worst = int(np.nanargmax(np.where(bad, np.abs(step) / np.maximum(error, floor), -1)))
            yield field.say(
                "warning",
                "seam",
                f"the annual mean of {field.name!r} jumps by {step[worst]:.3g} {field.units or ''} "
                f"from {HISTORICAL} to {name} at {field.places[worst]} (standard error "
                f"{error[worst]:.2g}): another run, grid, version or unit?",
                scenario=f"{HISTORICAL}, {name}",
                place=field.where(bad),
                period=month_name(field.runs[name].first),
            )


def _step(annual: np.ndarray, before: int) -> tuple[np.ndarray, np.ndarray]:
    """Step of a straight line at ``before``, and its standard error under AR(1) residuals."""
    count = len(annual)
    time = np.arange(count) - before + 0.5
    after = (time > 0).astype("float64")
    # the trend may change at the seam, as the forcing does
    design = np.stack([np.ones(count), time, after, after * time], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ annual
    rest = annual - design @ found
    variance = (rest**2).sum(axis=0) / (count - design.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        memory = (rest[1:] * rest[:-1]).sum(axis=0) / (rest**2).sum(axis=0)
    memory = np.clip(np.nan_to_num(memory), 0.0, 0.8)
    return found[2], np.sqrt(variance * inverse[2, 2] * (1 + memory) / (1 - memory))


def two_year(field: Field) -> Iterator[Finding]:
    """A season of 24 months."""
    for name, run in field.runs.items():
        count = len(run.values) - len(run.values) % 24
        if count < 12 * MIN_YEARS:
            continue
        with np.errstate(invalid="ignore"):
            _, ratio, excess = spectrum(run.values[-count:].T)
            bad = (ratio >= TWO_YEAR_LIMIT) & (excess > LINE)
        if bad.any():
            worst = int(np.nanargmax(np.where(bad, ratio, -1)))
            yield field.say(
                "error",
                "two-year season",
                f"{field.name!r} has {ratio[worst]:.2g} of its annual cycle's power at 24 months "
                f"({field.places[worst]}), {excess[worst]:.0f} times its neighbours: months "
                "doubled or dropped, or a series of 24 months repeated.",
                scenario=name,
                place=field.where(bad),
                period=run.span,
            )


def variance(field: Field) -> Iterator[Finding]:
    """Spread of months that changes within a run, or from history to scenario."""
    if field.name in _NOT_STEADY:
        return
    past = field.runs.get(HISTORICAL)
    for name in field.runs:
        first, cube = field.runs[name].years()
        half = len(cube) // 2
        pairs = [(f"{first}/{first + half - 1}", cube[:half], cube[half:])]
        if name in field.futures and past is not None:
            begin, old = past.years(last=field.runs[name].first - 1)
            count = min(len(old), len(cube), 30)
            pairs.append((f"{HISTORICAL} to {begin + len(old) - 1}", old[-count:], cube[:count]))
        for label, early, late in pairs:
            if min(len(early), len(late)) < 10:
                continue
            scale = [1.0, 1.0] if field.additive else [mean_of(c, (0, 1)) for c in (early, late)]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = (spread(late) / scale[1]) / (spread(early) / scale[0])
            bad = (ratio > VARIANCE) | (ratio < 1.0 / VARIANCE)
            if bad.any():
                worst = int(np.nanargmax(np.where(bad, np.abs(np.log(ratio)), -1)))
                yield field.say(
                    "warning",
                    "variance",
                    f"the months of {field.name!r} vary {ratio[worst]:.2g} times as much after "
                    f"{label} as in it ({field.places[worst]}): averaged members, an infilled "
                    "part, or another product?",
                    scenario=name,
                    place=field.where(bad),
                    period=field.runs[name].span,
                )
