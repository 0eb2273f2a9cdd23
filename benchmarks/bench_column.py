"""Speed of the soil column: cell-node-steps per second on the processors of this process.

``python -m benchmarks.bench_column`` prints it; the class is in the layout of asv.
"""

from __future__ import annotations

import time

import numpy as np

from xpermafrost.physics import column


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
        values = (2.6e6, 1.9e6, 1.2, 2.0, 1.2e8, 0.2)
        self.soil = {
            name: np.full((nodes, self.columns), value)
            for name, value in zip(column.PROPERTIES, values, strict=True)
        }
        self.start = column.enthalpy_of(np.full((nodes, self.columns), -4.0), self.soil)
        self.weights = column.layer_weights(column.DEFAULT_EDGES, (0, 0.07, 0.28, 1.0, 2.89))
        self.time_solve()  # compile

    def time_solve(self) -> column.ColumnRun:
        steps = np.full(self.years * 365 // 73, 73)
        return column.solve(
            *(self.surface, self.resistance, self.soil, self.start),
            steps=steps,
            weights=self.weights,
        )


def main() -> None:
    bench = Column()
    bench.setup()
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        run = bench.time_solve()
        seconds.append(time.perf_counter() - begin)
    work = bench.start.size * len(bench.surface)
    print(f"{work / min(seconds):.3g} cell-node-steps per second (best of {len(seconds)})")
    print(f"{run.iterations:.2f} Newton iterations per step")


if __name__ == "__main__":
    main()
