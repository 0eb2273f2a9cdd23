"""Quantile mapping against xsdba and against numpy's quantile and interp, in one process.

``python -m benchmarks.bench_bias`` (a quarter of the grid), ``--size full`` (3012 months of
60 x 120 cells), ``--size quick``. Every contender trains and adjusts the same series; they
take turns, and medians are compared, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable

import cftime
import numpy as np
import xarray as xr

from xpermafrost.bias import adjust, train

SIZES = {"quick": (360, 6, 12), "quarter": (3012, 30, 60), "full": (3012, 60, 120)}
QUANTILES = 50


def make(shape: tuple[int, int, int], seed: int) -> xr.DataArray:
    """Monthly temperature-like float32 on mid-month stamps (those that suit xsdba)."""
    months = np.arange(shape[0])
    stamps = [cftime.Datetime360Day(1850 + m // 12, m % 12 + 1, 15) for m in months]
    values = np.random.default_rng(seed).normal(size=shape).astype("float32")
    values += (265 + seed - 12 * np.cos(months / 6 * np.pi)).astype("float32")[:, None, None]
    coords = {"time": xr.CFTimeIndex(stamps)}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name="tas", attrs={"units": "K"})


def numpy_loop(ref: xr.DataArray, hist: xr.DataArray, sim: xr.DataArray) -> np.ndarray:
    """Empirical quantile mapping: one np.quantile a month, one np.interp a cell and month."""
    nodes = (np.arange(QUANTILES) + 0.5) / QUANTILES
    r, h, x = (da.values.reshape(da.sizes["time"], -1) for da in (ref, hist, sim))
    out = np.empty_like(x)
    for month in range(12):
        ref_q = np.quantile(r[month::12], nodes, axis=0)
        hist_q = np.quantile(h[month::12], nodes, axis=0)
        af = ref_q - hist_q
        for cell in range(x.shape[1]):
            column = x[month::12, cell]
            out[month::12, cell] = column + np.interp(column, hist_q[:, cell], af[:, cell])
    return out.reshape(sim.shape)


def through_xsdba(name: str, interp: str) -> Callable[..., np.ndarray]:
    """Train and adjust by a class of xsdba."""
    import xsdba

    def run(ref: xr.DataArray, hist: xr.DataArray, sim: xr.DataArray) -> np.ndarray:
        fitted = getattr(xsdba, name).train(
            ref, hist, nquantiles=QUANTILES, group="time.month", kind="+"
        )
        return fitted.adjust(sim, interp=interp).transpose(*sim.dims).values

    return run


def ours(method: str, window: int | None = None) -> Callable[..., np.ndarray]:
    """Train and adjust by the built-in kernel."""

    def run(ref: xr.DataArray, hist: xr.DataArray, sim: xr.DataArray) -> np.ndarray:
        trained = train(ref, hist, method=method, nquantiles=QUANTILES)
        return adjust(trained, sim, window_years=window).values

    return run


CONTENDERS: dict[str, Callable[[], Callable[..., np.ndarray]]] = {
    "ours eqm": lambda: ours("eqm"),
    "ours qdm, 30-year window": lambda: ours("qdm", 30),
    "ours qdm, whole series": lambda: ours("qdm"),
    "numpy quantile + interp": lambda: numpy_loop,
    "xsdba eqm nearest": lambda: through_xsdba("EmpiricalQuantileMapping", "nearest"),
    "xsdba qdm nearest": lambda: through_xsdba("QuantileDeltaMapping", "nearest"),
}


def peak_mib(run: Callable[[], object]) -> float:
    """Peak of the memory that numpy allocates during one run [MiB]."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="quarter")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    small = [make(SIZES["quick"], seed) for seed in range(3)]
    data = [make(SIZES[args.size], seed) for seed in range(3)]
    runs = {name: build() for name, build in CONTENDERS.items()}
    for run in runs.values():
        run(*small)  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            run(*data)
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{'x'.join(map(str, SIZES[args.size]))} float32, {QUANTILES} quantiles, 12 months")
    print(f"{'':28}{'s':>8}{'/ours eqm':>11}{'/ours qdm':>11}{'peak MiB':>10}")
    for name, median in medians.items():
        peak = peak_mib(lambda run=runs[name]: run(*data))  # type: ignore[misc]
        print(
            f"{name:28}{median:8.3f}{median / medians['ours eqm']:11.1f}"
            f"{median / medians['ours qdm, whole series']:11.1f}{peak:10.0f}"
        )


if __name__ == "__main__":
    main()
