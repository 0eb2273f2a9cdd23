"""Speed of the soil column, and the limits of this machine for its arithmetic and its memory.

``python -m benchmarks.bench_column`` prints cell-node-steps per second of the kernel, of
``simulate_soil`` from monthly forcing, and beside them what the processors could do at most:

- *divider*: a division and a square root occupy the same unit. Their numbers per node and step
  are counted in the kernel's source, their peak rates measured by loops over arrays in the
  fastest cache;
- *other arithmetic*: additions, products and comparisons, at the measured rate of multiply-adds
  in registers, two operations each (a bound: few of the kernel's are both);
- *cache*: what passes between the registers and a block's arrays (20 of 25 x 32 doubles, more than
  the fastest cache holds), at the measured rate of a sweep over as many;
- *memory*: what is read of the forcing, at the measured rate of a copy.

All take turns in one process; the best of the rounds, since other work on the machine only slows,
and the medians' ratio. The classes are in the layout of asv.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xarray as xr
from numba import njit

from xpermafrost.physics import column
from xpermafrost.physics.simulation import simulate_soil

#: Counted in ``solve_block``: per node and step, and per node and Newton iteration; the slope of
#: the enthalpy is computed anew in every iteration but the first.
COUNTS = {
    "divisions": {"step": 3, "iteration": 2, "later iteration": 1},
    "roots": {"step": 0, "iteration": 1, "later iteration": 0},
    "others": {"step": 18, "iteration": 34, "later iteration": 7},
    "doubles to and fro": {"step": 16, "iteration": 19, "later iteration": 6},
}

_FAST = {"contract", "arcp", "nsz", "reassoc"}
_SIZE, _REPEATS = 1024, 100_000
_SWEEP = 20 * 25 * 32


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


def rate(loop: Callable[..., None], operations: int, size: int = _SIZE) -> Callable[[], float]:
    """Operations per second of ``loop`` on all processors."""
    workers = len(os.sched_getaffinity(0))
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.5, 0.9, (2, size)) for _ in range(workers)]
    repeats = _REPEATS * _SIZE // size

    def measure() -> float:
        begin = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda a: loop(a[0], a[1], repeats), arrays))
        return workers * size * repeats * operations / (time.perf_counter() - begin)

    measure()
    return measure


def bandwidth() -> float:
    """Bytes per second that a copy reads and writes."""
    source = np.ones(2**25)
    target = np.zeros_like(source)
    begin = time.perf_counter()
    np.copyto(target, source)
    return 2 * source.nbytes / (time.perf_counter() - begin)


def seconds(call: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    return measure


def count(per: dict[str, int], iterations: float) -> float:
    """Operations per node and step."""
    return per["step"] + per["iteration"] * iterations + per["later iteration"] * (iterations - 1)


def main(rounds: int = 7) -> None:
    bench, through = Column(), Simulation()
    bench.setup()
    through.setup()
    times = {
        "solve": seconds(bench.time_solve),
        "with snow heat": seconds(bench.time_solve_with_snow_heat),
        "simulate_soil": seconds(through.time_simulate),
    }
    rates = {
        "divide": rate(_divide, 1),
        "root": rate(_root, 1),
        "others": rate(_fma, 32),
        "doubles": rate(_sweep, 3, _SWEEP // 2),
        "copy": bandwidth,
    }
    found: dict[str, list[float]] = {name: [] for name in (*times, *rates)}
    for _ in range(rounds):
        for name, measure in (*times.items(), *rates.items()):
            found[name].append(measure())
    best = {n: (min if n in times else max)(values) for n, values in found.items()}
    middle = {name: statistics.median(values) for name, values in found.items()}
    iterations = bench.time_solve().iterations
    per = {row: count(table, iterations) for row, table in COUNTS.items()}
    print(
        f"counted per node and step ({iterations:.2f} Newton iterations): "
        + ", ".join(f"{value:.1f} {row}" for row, value in per.items())
    )
    work = bench.start.size * len(bench.surface)
    months = through.forcing.sizes["cell"] * 365.25 * Column.years * len(bench.start)
    for label, by in (("best", best), ("median", middle)):
        speed = work / by["solve"]
        divider = per["divisions"] / by["divide"] + per["roots"] / by["root"]
        limits = {
            "divider": 1.0 / divider,
            "other arithmetic": by["others"] / per["others"],
            "cache": by["doubles"] / per["doubles to and fro"],
            "memory": by["copy"] * len(bench.start) / (2 * bench.surface.itemsize),
        }
        print(f"{label} of {rounds} rounds, cell-node-steps/s:")
        print(f"  {speed:.3g} solve; {work / by['with snow heat']:.3g} with heat in the snow; ")
        print(f"  {months / by['simulate_soil']:.3g} simulate_soil from monthly means")
        print(
            f"  peaks: {by['divide']:.2e} divisions/s, {by['root']:.2e} roots/s, "
            f"{by['others']:.2e} others/s, {8 * by['doubles'] / 1e9:.0f} GB/s in the cache, "
            f"{by['copy'] / 1e9:.0f} GB/s in memory"
        )
        for name, limit in limits.items():
            print(f"  limit of the {name}: {limit:.3g} = {limit / speed:.2f} x the kernel")


if __name__ == "__main__":
    main()
