"""All stages against their peers and the machine's limits: ``python -m benchmarks.compare``.

One process, contenders in turns, medians; ratios to ours. Then the growth of time and memory
over 1x, 4x, 16x. ``--quick`` takes a few minutes, ``--only NAME ...`` some stages, ``--list``
names them, ``--write docs/performance.md`` makes the page of the docs.
"""

from __future__ import annotations

import argparse
import importlib
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from xpermafrost._files import atomic_path

from . import _page
from ._measure import Growth, Taken, grow, measure
from ._stages import Missing, Stage, Work

#: Modules whose ``STAGES`` are measured, in this order. A line here adds one.
MODULES = (
    "bench_stages",
    "bench_windows",
    "bench_inference",
    "bench_reduce",
    "bench_regrid",
    "bench_bias",
    "bench_training",
    "bench_explain",
    "bench_diagnostics",
)

SIZES = (1, 4, 16)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes
    ----------
    quick : bool
        Small sizes.
    rounds : int
        At most, of each stage.
    budget : float
        Seconds after which no further round of a stage begins.
    """

    quick: bool
    rounds: int
    budget: float

    def scale(self, stage: Stage) -> float:
        """Size of the comparison."""
        return stage.quick if self.quick else 1.0

    def base(self, stage: Stage) -> float:
        """What counts as 1x of the growth."""
        assert stage.growth is not None
        return stage.growth / 4 if self.quick else stage.growth


QUICK = Plan(quick=True, rounds=3, budget=2.0)
FULL = Plan(quick=False, rounds=7, budget=25.0)


def stages(names: Iterable[str] = ()) -> list[Stage]:
    """All stages, or those whose name begins with one of ``names``."""
    found: list[Stage] = []
    for module in MODULES:
        found += importlib.import_module(f"benchmarks.{module}").STAGES
    wanted = tuple(names)
    if not wanted:
        return found
    chosen = [stage for stage in found if stage.name.startswith(wanted)]
    if not chosen:
        raise SystemExit(f"no stage begins with {wanted}; there are {[s.name for s in found]}.")
    return chosen


def compared(
    chosen: Sequence[Stage], plan: Plan
) -> dict[str, tuple[Work, dict[str, Taken | Missing]]]:
    """Every stage against its peers; printed as it comes."""
    out = {}
    for stage in chosen:
        found = measure(stage, scale=plan.scale(stage), rounds=plan.rounds, budget=plan.budget)
        print(_page.section(stage.name, *found), flush=True)
        out[stage.name] = found
    return out


def grown(chosen: Sequence[Stage], plan: Plan) -> list[Growth]:
    """Growth of every stage that has one; printed as it comes."""
    out = []
    for stage in chosen:
        if stage.growth is None:
            continue
        out.append(
            grow(
                stage,
                base=plan.base(stage),
                sizes=SIZES,
                rounds=plan.rounds,
                budget=plan.budget,
            )
        )
        print(_page.growth_table(out[-1:]), flush=True)
    return out


PAGE = """# Performance

<!-- made by `python -m benchmarks.compare{options} --write docs/performance.md`: do not edit -->

Seconds move from machine to machine; the ratios are what counts. Every stage runs beside what else
one would use, on the same inputs, in one process: each contender once for its memory, then all in
turns, and medians. *Processor s* is of all threads and processes together and depends little on
what else the machine does; *peak MB* is the largest resident memory above that before the call,
result included (of this process; for programs such as CDO, of theirs). *Difference* is the largest
from the first row, relative to its largest value. A *limit* is a run of what the job cannot do
without and nothing else: its bytes copied or read once by all processors, or its products as
matrix products.

{machine}

{when}

## Against the peers

{sections}
## Growth

Time and memory of the first row at 1x, 4x and 16x the size, in turns, and the slope of their
logarithms: 1 is proportional to the size, 0 constant; asked: at most {asked}. Peaks
below 1 MB count as 1 MB.

{growth}

## Not measured

{absent}
"""


def page(
    found: dict[str, tuple[Work, dict[str, Taken | Missing]]],
    growths: Sequence[Growth],
    *,
    options: str,
    when: str,
) -> str:
    """The page of the docs."""
    missing = _page.absent({name: taken for name, (_, taken) in found.items()})
    return PAGE.format(
        options=options,
        machine=_page.machine(),
        when=when,
        sections="\n".join(_page.section(name, *each) for name, each in found.items()),
        asked=_page.ASKED,
        growth=_page.growth_table(growths),
        absent="\n".join(missing) or "Every peer took part.",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, and write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if options.write and options.only:
        parser.error("the page holds every stage: leave out --only.")
    chosen = stages(options.only)
    if options.list:
        print("\n".join(stage.name for stage in chosen))
        return
    plan = QUICK if options.quick else FULL
    begin, before = time.perf_counter(), _page.load()
    found = compared(chosen, plan)
    growths = grown(chosen, plan)
    minutes = (time.perf_counter() - begin) / 60
    when = (
        f"{'Quick run, small sizes' if plan.quick else 'Full run'}, {datetime.now(UTC):%Y-%m-%d}, "
        f"{minutes:.0f} minutes. Load of the machine {before:.1f} at the begin, "
        f"{_page.load():.1f} at the end (1 to 2 is this run itself)."
    )
    if before > 1:
        when += (
            " **Other work was running: read the ratios of processor time, and not those of "
            "torch's own loops, whose threads spin while they wait for each other.**"
        )
    print(when)
    if options.write:
        with atomic_path(options.write, overwrite=True) as path:
            path.write_text(
                page(found, growths, options=" --quick" if plan.quick else "", when=when)
            )


if __name__ == "__main__":
    main()
