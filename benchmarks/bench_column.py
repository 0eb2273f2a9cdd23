"""Speed of the soil column, and the limits of this machine for its arithmetic and its memory.

``python -m benchmarks.bench_column`` prints cell-node-steps per second of the kernel, of
``simulate_soil`` from monthly forcing, and beside them what the processors could do at most:

- *divider*: a division and a square root occupy the same unit. Their numbers per node and step
  are counted in the kernel's source, their peak rates measured by loops over arrays in the
  fastest cache;
- *other arithmetic*: additions, products and comparisons, at the measured rate of multiply-adds
  in registers, two operations each (a bound: few of the kernel's are both);
- *cache*: what passes between the registers and a block's array (22 of 25 x 32 doubles, more than
  the fastest cache holds), at the measured rate of a sweep over as many;
- *memory*: what is read of the forcing, at the measured rate of a copy.

The limit is the lowest: the four overlap. All take turns in one process. Speeds are given by the
clock, and by the time of the processors over their number, which other work on the machine hardly
changes: limits are compared with the latter.

The classes are in the layout of asv.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numba import njit

from xpermafrost.physics import column
from xpermafrost.physics.simulation import simulate_soil

#: Counted in ``solve_block``: per node and step, and per node and Newton iteration.
COUNTS = {
    "divisions": {"step": 1, "iteration": 2},
    "roots": {"step": 0, "iteration": 1},
    "others": {"step": 8, "iteration": 39},
    "doubles to and fro": {"step": 15, "iteration": 30},
}

_FAST = {"contract", "arcp", "nsz", "reassoc"}
_SIZE, _REPEATS = 1024, 100_000
_SWEEP = 22 * 25 * 32


class Column:
    """Twenty years of daily steps in 320 columns of 25 nodes, cold to warm, with snow."""

    years, columns = 20, 320

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        day = np.arange(365 * self.years)
        nodes = len(column.DEFAULT_EDGES) - 1
        season = -16 * np.cos(2 * np.pi * (day - 15) / 365)[:, None]
        noise = rng.normal(0, 4, (day.size, self.columns))
        self.surface = (season + noise + np.linspace(-12, 2, self.columns)).astype("float32")
        self.resistance = np.where(season < 0, 2.0, 0.1) * np.ones_like(self.surface)
        self.heat = np.where(season < 0, 1e5, 0.0) * np.ones_like(self.surface)
        values = (2.6e6, 1.9e6, 1.2, 2.0, 1.2e8, 0.2)
        self.soil = {
            name: np.full((nodes, self.columns), value)
            for name, value in zip(column.PROPERTIES, values, strict=True)
        }
        self.start = column.enthalpy_of(np.full((nodes, self.columns), -4.0), self.soil)
        self.weights = column.layer_weights(column.DEFAULT_EDGES, (0, 0.07, 0.28, 1.0, 2.89))
        self.time_solve()  # compile

    def time_solve(self) -> column.ColumnRun:
        return self._solve(None)

    def time_solve_with_snow_heat(self) -> column.ColumnRun:
        return self._solve(self.heat)

    def _solve(self, heat: np.ndarray | None) -> column.ColumnRun:
        return column.solve(
            *(self.surface, self.resistance, self.soil, self.start),
            steps=np.full(self.years * 365 // 73, 73),
            weights=self.weights,
            snow_heat=heat,
        )


class Simulation:
    """Monthly forcing of the same size through ``simulate_soil``."""

    def setup(self) -> None:
        time_ = xr.date_range("2001-01-01", periods=12 * Column.years, freq="MS")
        month = np.arange(time_.size)
        mean = np.linspace(-12, 2, Column.columns)[:, None]
        tas = 273.15 + mean - 16 * np.cos(2 * np.pi * month / 12)
        snd = np.where(tas < 273.15, 0.3, 0.0)
        self.forcing = xr.Dataset(
            {
                "tas": (("cell", "time"), tas, {"units": "K"}),
                "snd": (("cell", "time"), snd, {"units": "m"}),
            },
            coords={"time": time_},
        )
        self.time_simulate()

    def time_simulate(self) -> None:
        simulate_soil(self.forcing, "tundra", spin_up=None)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _divide(x, y, repeats):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for _ in range(repeats):
        for i in range(x.size):
            x[i] = y[i] / x[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _root(x, y, repeats):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for _ in range(repeats):
        for i in range(x.size):
            x[i] = np.sqrt(x[i])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _fma(x, y, repeats):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Sixteen products with additions for a value read and written."""
    for _ in range(repeats):
        for i in range(x.size):
            a = x[i]
            for _ in range(16):
                a = a * y[i] + 1e-3
            x[i] = a


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _sweep(x, y, repeats):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for _ in range(repeats):
        for i in range(x.size):
            x[i] = x[i] + y[i]


WORKERS = len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Seconds by the clock, and of the processors over their number."""

    clock: float
    processors: float


def taken(call: Callable[[], object]) -> Taken:
    clock, processors = time.perf_counter(), time.process_time()
    call()
    clock, processors = time.perf_counter() - clock, time.process_time() - processors
    return Taken(clock=clock, processors=processors / WORKERS)


def on_all(loop: Callable[..., None], size: int = _SIZE) -> Callable[[], object]:
    """``loop`` over two arrays of ``size`` on every processor, ``_SIZE * _REPEATS`` elements."""
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.5, 0.9, (2, size)) for _ in range(WORKERS)]
    repeats = _REPEATS * _SIZE // size

    def call() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda a: loop(a[0], a[1], repeats), arrays))

    call()
    return call


def copies() -> Callable[[], object]:
    """A copy on every processor, 2**25 doubles in all."""
    source = np.ones((WORKERS, 2**25 // WORKERS))
    target = np.zeros_like(source)

    def call() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(np.copyto, target, source))

    return call


def count(per: dict[str, int], iterations: float) -> float:
    """Operations per node and step."""
    return per["step"] + per["iteration"] * iterations


def main(rounds: int = 7) -> None:
    bench, through = Column(), Simulation()
    bench.setup()
    through.setup()
    elements = WORKERS * _SIZE * _REPEATS
    work = bench.start.size * len(bench.surface)
    months = through.forcing.sizes["cell"] * 365.25 * Column.years * len(bench.start)
    parts: dict[str, tuple[float, Callable[[], object]]] = {
        "solve": (work, bench.time_solve),
        "solve with heat in the snow": (work, bench.time_solve_with_snow_heat),
        "simulate_soil from monthly means": (months, through.time_simulate),
        "divisions": (elements, on_all(_divide)),
        "roots": (elements, on_all(_root)),
        "others": (32.0 * elements, on_all(_fma)),
        "doubles to and fro": (3.0 * elements, on_all(_sweep, _SWEEP // 2)),
        "doubles copied": (2.0 * 2**25, copies()),
    }
    found: dict[str, list[Taken]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, (_, call) in parts.items():
            found[name].append(taken(call))
    iterations = bench.time_solve().iterations
    per = {row: count(table, iterations) for row, table in COUNTS.items()}
    print(
        f"counted per node and step ({iterations:.2f} Newton iterations): "
        + ", ".join(f"{value:.1f} {row}" for row, value in per.items())
    )
    for label, pick in (("best", min), ("median", statistics.median)):
        clock, rate = (
            {n: parts[n][0] / pick([getattr(t, by) for t in v]) for n, v in found.items()}
            for by in ("clock", "processors")
        )
        print(f"{label} of {rounds} rounds, cell-node-steps/s by the clock (by processor time):")
        for name in list(parts)[:3]:
            print(f"  {clock[name]:.3g} ({rate[name]:.3g}) {name}")
        print("  peaks: " + ", ".join(f"{rate[n]:.2e} {n}/s" for n in list(parts)[3:]))
        limits = {
            "divider": 1.0 / sum(per[n] / rate[n] for n in ("divisions", "roots")),
            "other arithmetic": rate["others"] / per["others"],
            "cache": rate["doubles to and fro"] / per["doubles to and fro"],
            # two single-precision numbers of forcing for a column of nodes
            "memory": rate["doubles copied"] * len(bench.start),
        }
        for name, limit in limits.items():
            print(f"  limit of the {name}: {limit:.3g} = {limit / rate['solve']:.2f} x the kernel")


if __name__ == "__main__":
    main()
