"""Time and memory of runs that take turns, and how they grow.

Contenders share one process. Each runs once for its memory, then all run in turn, and medians
are compared: what else the machine does slows all of them alike. Processor time, of all
threads and of the processes that were waited for, stands beside the time of the clock.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._stages import Missing, Outside, Run, Stage, Work, memory

#: Memory below this is noise of the allocator [MB]: it counts as this much in exponents.
LEAST = 1.0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Medians of one contender.

    Attributes
    ----------
    clock, processors : float
        Seconds; those of all processors together.
    peak : float
        Largest resident memory above that before the call, result included [MB]; NaN where
        the system does not tell.
    off : float
        Largest difference from the first, relative to its largest value; NaN if not compared.
    rounds : int
    """

    clock: float
    processors: float
    peak: float
    off: float = float("nan")
    rounds: int = 1


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Ours at several sizes, and the slopes of log cost over log size."""

    stage: str
    base: str
    sizes: tuple[int, ...]
    taken: tuple[Taken, ...]
    clock: float
    processors: float
    peak: float


def peak_of(run: Run) -> tuple[Any, float]:
    """What ``run`` gives, and the largest memory above that before it [MB]; NaN off Linux.

    The freed memory that the allocator keeps is given back first, and the kernel's own
    high-water mark is reset: no sampling, and nothing of the runs before.
    """
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return run(), float("nan")
    before = memory("VmRSS")
    result = run()
    if isinstance(run, Outside):
        return result, run.peak
    return result, max(memory("VmHWM") - before, 0.0)


def _processors() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(run: Run) -> tuple[float, float]:
    """Seconds by the clock and of the processors."""
    clock, processors = time.perf_counter(), _processors()
    run()
    return time.perf_counter() - clock, _processors() - processors


def take_turns(
    runs: Mapping[str, Run | Missing], work: Work, *, rounds: int, budget: float
) -> dict[str, Taken | Missing]:
    """Medians by name; a run that fails is missing, with its error.

    Parameters
    ----------
    runs : mapping
        Contenders by name.
    work : Work
        Whose results are compared.
    rounds : int
        At most as many rounds.
    budget : float
        No round begins after as many seconds, but for the first.
    """
    peaks, offs, out = {}, {}, {}
    own: Any = None
    for name, run in runs.items():
        if isinstance(run, Missing):
            out[name] = run
            continue
        try:
            result, peaks[name] = peak_of(run)
            offs[name] = float("nan")
            if name == work.first:
                own = result
            elif work.off and name not in work.limits:
                offs[name] = work.off(own, result)
        except Exception as error:
            if name in work.ours:
                raise
            text = " ".join(str(error).split())[:120]
            out[name] = Missing(why=f"fails: {type(error).__name__}: {text}")
    del own
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in peaks}
    begin = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - begin > budget:
            break
        for name in seconds:
            seconds[name].append(timed(runs[name]))  # type: ignore[arg-type]
    for name, each in seconds.items():
        clock, processors = (statistics.median(s[k] for s in each) for k in (0, 1))
        out[name] = Taken(
            clock=clock,
            processors=processors,
            peak=peaks[name],
            off=offs[name],
            rounds=len(each),
        )
    return {name: out[name] for name in runs}


def warm(stage: Stage) -> None:
    """Everything once at a tiny size: imports and compiles; what fails is told later."""
    work = stage.make(stage.tiny)
    for name, run in {**work.ours, **work.peers, **work.limits}.items():
        if isinstance(run, Missing):
            continue
        try:
            run()
        except Exception:
            if name in work.ours:
                raise


def measure(
    stage: Stage, *, scale: float, rounds: int, budget: float
) -> tuple[Work, dict[str, Taken | Missing]]:
    """All contenders of a stage at one size."""
    warm(stage)
    work = stage.make(scale)
    runs = {**work.ours, **work.peers, **work.limits}
    return work, take_turns(runs, work, rounds=rounds, budget=budget)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost over log size, by least squares: 1 is proportional, 0 constant."""
    if not np.all(np.isfinite(costs)):
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def grow(stage: Stage, *, base: float, sizes: Sequence[int], rounds: int, budget: float) -> Growth:
    """The first of ours at ``base`` times each of ``sizes``, in turns."""
    next(iter(stage.make(stage.tiny).ours.values()))()  # compiles and imports
    works = {size: stage.make(base * size) for size in sizes}
    runs: dict[str, Run | Missing] = {str(n): w.ours[w.first] for n, w in works.items()}
    same = Work(size="", ours=dict(runs))  # type: ignore[arg-type]
    found = take_turns(runs, same, rounds=rounds, budget=budget)
    taken = tuple(t for t in found.values() if isinstance(t, Taken))
    slopes = {
        key: exponent(sizes, [max(getattr(t, key), least) for t in taken])
        for key, least in (("clock", 1e-6), ("processors", 1e-6), ("peak", LEAST))
    }
    return Growth(
        stage=stage.name, base=works[sizes[0]].size, sizes=tuple(sizes), taken=taken, **slopes
    )
