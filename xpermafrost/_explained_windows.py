"""Which windows are explained, and which are their background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ._checks import choose, step_index, step_name
from ._explained import Explainable, Subject
from .errors import DataError
from .preparation import Period
from .schema import TIME, location_dims
from .windows import location_index


def places(subject: Subject, numbers: np.ndarray) -> list[int]:
    return np.unique(subject.windows.location[numbers]).tolist()


def _in_period(subject: Subject, period: Period) -> np.ndarray:
    steps = subject.raw.indexes[TIME].slice_indexer(*(str(year) for year in period))
    return (subject.windows.end >= steps.start) & (subject.windows.end < steps.stop)


def chosen(
    subject: Subject,
    windows: int | str | Sequence[str],
    rng: np.random.Generator,
    span: np.ndarray | None,
) -> np.ndarray:
    """Numbers of the windows to explain, by location and time."""
    allowed = np.ones(len(subject.windows), dtype=bool) if span is None else span
    if isinstance(windows, str):
        choose("windows", windows, ("all",))
    elif isinstance(windows, Sequence):
        allowed = allowed & _in_period(subject, (windows[0], windows[1]))
    elif windows < 1:
        raise DataError(f"windows={windows} explains nothing; type windows=24, or windows='all'.")
    if not allowed.any():
        time = subject.raw[TIME].values[subject.windows.end]
        raise DataError(
            f"no whole window has its target in windows={windows}; the data answer "
            f"{str(time.min())[:10]} to {str(time.max())[:10]}. Windows with a missing feature are "
            "left out: fill the gaps first, or choose other years: windows=('2019', '2023')."
        )
    found = np.flatnonzero(allowed)
    if not isinstance(windows, int):
        return found
    here = subject.windows.location[found]
    drawn = [_draw(rng, found[here == place], windows) for place in np.unique(here)]
    return np.concatenate(drawn)


def _draw(rng: np.random.Generator, numbers: np.ndarray, count: int) -> np.ndarray:
    return np.sort(rng.choice(numbers, min(count, numbers.size), replace=False))


def training(fitted: Explainable) -> Period | None:
    info = getattr(fitted, "info", {})
    return (info["train_start"], info["train_end"]) if "train_end" in info else None


def after_training(fitted: Explainable, subject: Subject) -> np.ndarray:
    trained = training(fitted)
    if trained is None:
        raise DataError(
            f"protocol='rahaman' explains months after the training, which {fitted.name!r} does "
            "not keep. Name them: windows=('2019', '2023')."
        )
    last = subject.raw.indexes[TIME].slice_indexer(None, trained[1]).stop
    after = subject.windows.end >= last
    if not after.any():
        raise DataError(
            f"protocol='rahaman' explains months after the training, which ended in {trained[1]}; "
            f"the data end in {step_name(subject.raw[TIME].values[-1], fitted.spec.step)}."
        )
    return after


def pools(
    subject: Subject,
    other: Subject,
    numbers: np.ndarray,
    *,
    trained: Period | None,
    across: bool,
    size: int,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Background windows (numbers in ``other``) of every location of the explained windows."""
    usable = np.ones(len(other.windows), dtype=bool)
    if trained is not None:
        usable = _in_period(other, trained)
    everywhere = _draw(rng, np.flatnonzero(usable), size) if across else None
    labels, others = _labels(subject), _labels(other)
    found = {}
    for place in places(subject, numbers):
        same = other.windows.location == others.get_indexer(labels[[place]])[0]
        pool = _draw(rng, np.flatnonzero(usable & same), size) if everywhere is None else everywhere
        if pool.size < 2:
            months = "" if trained is None else f" in the training months {' to '.join(trained)}"
            raise DataError(
                f"the background needs 2 windows or more; the data have {pool.size} at "
                f"{labels[place]!r}{months}. Pass data that have: background=reference."
            )
        found[place] = pool
    return found


def _labels(subject: Subject) -> pd.Index:
    return location_index(subject.raw, tuple(str(d) for d in location_dims(subject.raw)))


def common(one: Subject, two: Subject, period: Period) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the same location and month in both, with the target in ``period``."""
    step = one.windows.spec.step
    keys = []
    for subject in (one, two):
        when = step_index(subject.raw[TIME], step)[subject.windows.end]
        keys.append(np.stack([subject.windows.location, when], axis=1))
    inside = np.flatnonzero(_in_period(one, period))
    partner = {tuple(key): k for k, key in enumerate(keys[1].tolist())}
    found = [(k, partner[tuple(keys[0][k])]) for k in inside if tuple(keys[0][k]) in partner]
    if not found:
        raise DataError(
            f"no {step} of {period[0]} to {period[1]} is answered in both scenarios; the first "
            f"ends in {step_name(one.raw[TIME].values[-1], step)}, the other in "
            f"{step_name(two.raw[TIME].values[-1], step)}. Choose another period=."
        )
    pairs = np.array(found)
    return pairs[:, 0], pairs[:, 1]


__all__ = ["after_training", "chosen", "common", "places", "pools", "training"]
