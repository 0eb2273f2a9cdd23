"""Quantile mapping against xsdba and against numpy's quantile and interp, in one process.

``python -m benchmarks.bench_bias`` (a quarter of the grid), ``--size full`` (3012 months of
60 x 120 cells), ``--size daily`` (30 years of 400 cells), ``--size bands`` (six bands, three runs,
six variables), ``--size quick``. Every contender trains and adjusts the same series, in turns
(see ``benchmarks.compare``). ``--size store`` adjusts 1.2 GB from zarr to zarr in a
process of its own and prints its largest memory above that after import.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cftime
import numpy as np
import xarray as xr

from xpermafrost.bias import adjust, train

from ._measure import measure
from ._page import section
from ._stages import Run, Stage, Work, copy_of, furthest, peer

SIZES = {
    "quick": (360, 6, 12),
    "quarter": (3012, 30, 60),
    "full": (3012, 60, 120),
    "daily": (10950, 20, 20),
}
QUANTILES = 50


def make(shape: tuple[int, int, int], seed: int) -> xr.DataArray:
    """Temperature-like float32; months on mid-month stamps (those that suit xsdba), else days."""
    months = np.arange(shape[0])
    if shape[0] > 10_000:
        stamps = xr.date_range("1971-01-01", periods=shape[0], calendar="noleap", use_cftime=True)
        months = months * 12 / 365
    else:
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
    for month in range(1, 13):
        rows = ref.time.dt.month.values == month
        ref_q = np.quantile(r[rows], nodes, axis=0)
        hist_q = np.quantile(h[rows], nodes, axis=0)
        af = ref_q - hist_q
        for cell in range(x.shape[1]):
            column = x[rows, cell]
            out[rows, cell] = column + np.interp(column, hist_q[:, cell], af[:, cell])
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


def ours(method: str, window: int | None = None, group: str = "month") -> Callable[..., np.ndarray]:
    """Train and adjust by the built-in kernel."""

    def run(ref: xr.DataArray, hist: xr.DataArray, sim: xr.DataArray) -> np.ndarray:
        trained = train(ref, hist, method=method, group=group, nquantiles=QUANTILES)
        return adjust(trained, sim, window_years=window).values

    return run


def _work(method: str, shape: tuple[int, int, int]) -> Work:
    """Train and adjust series of ``shape`` by ``method``, "eqm" or "qdm"."""
    data = [make(shape, seed) for seed in range(3)]

    def on_data(run: Callable[..., np.ndarray]) -> Run:
        return lambda: run(*data)

    if method == "eqm":
        mine = {"xpermafrost eqm": ours("eqm")}
        theirs, name = {"numpy quantile + interp": on_data(numpy_loop)}, "EmpiricalQuantileMapping"
    else:
        mine = {"xpermafrost qdm": ours("qdm"), "xpermafrost qdm, 30-year window": ours("qdm", 30)}
        mine |= {"xpermafrost dqm, 30-year window": ours("dqm", 30)}
        theirs, name = {}, "QuantileDeltaMapping"
    if shape[0] > 10_000:
        mine |= {f"xpermafrost {method}, 31 days": ours(method, None, "dayofyear")}
    xsdba = peer(lambda: on_data(through_xsdba(name, "nearest")), "xsdba")
    return Work(
        size=f"{' x '.join(map(str, shape))} float32, {QUANTILES} quantiles, 12 months",
        ours={label: on_data(run) for label, run in mine.items()},
        peers=theirs | {f"xsdba {method}, nearest": xsdba},
        limits={"copy of the bytes in and out": copy_of(*(da.values for da in (*data, data[2])))},
        off=furthest,
    )


def _stage(method: str) -> Stage:
    """Monthly data: 3012 months of 60 x 120 cells are the whole."""
    return Stage(
        name=f"adjust, {method}",
        make=lambda scale: _work(method, (3012, max(1, round(60 * scale)), 120)),
        quick=0.05,
        tiny=0.01,
        growth=0.125,
    )


STAGES = (_stage("qdm"), _stage("eqm"))


def bands(years: int = 251) -> float:
    """Seconds to train and adjust six variables of six bands in three runs."""
    shape = (12 * years, 6, 1)
    refs, hists = ([make(shape, seed) for seed in range(k, k + 6)] for k in (0, 6))
    begin = time.perf_counter()
    for ref, hist in zip(refs, hists, strict=True):
        trained = train(ref, hist)
        for _ in range(3):
            adjust(trained, hist)
    return time.perf_counter() - begin


def resident_mib() -> float:
    """Memory of this process [MiB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def make_stores(folder: Path) -> None:
    """Zarr of 40 years for training and 1.2 GB to adjust, in chunks of 400 places."""
    import dask.array as da

    for seed, (name, steps) in enumerate({"ref": 480, "hist": 480, "sim": 3012}.items()):
        values = da.random.default_rng(seed).normal(
            265.0 + seed, 5.0, size=(steps, 250, 400), chunks=(steps, 10, 40)
        )
        stamps = xr.date_range(
            "1850-01" if steps > 480 else "1971-01",
            periods=steps,
            freq="MS",
            calendar="noleap",
            use_cftime=True,
        )
        array = xr.DataArray(
            values.astype("float32"),
            {"time": stamps},
            ("time", "lat", "lon"),
            name="tas",
            attrs={"units": "K"},
        )
        array.to_dataset().to_zarr(folder / name, consolidated=False)


def adjust_store(folder: Path) -> None:
    """Train and adjust from zarr to zarr, one block at a time; print the largest memory."""
    import dask
    import zarr  # noqa: F401

    import xpermafrost._bias_arrays  # noqa: F401

    ref, hist, sim = (
        xr.open_zarr(folder / name, chunks={}, consolidated=False).tas
        for name in ("ref", "hist", "sim")
    )
    before, largest, done = resident_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            largest[0] = max(largest[0], resident_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    with dask.config.set(scheduler="single-threaded"):
        out = adjust(train(ref, hist), sim)
        out.to_dataset().to_zarr(folder / "out", consolidated=False)
    seconds = time.perf_counter() - begin
    done.set()
    watcher.join()
    print(
        f"zarr to zarr, {sim.nbytes / 1e9:.1f} GB: {seconds:.1f} s, "
        f"{largest[0] - before:.0f} MiB above {before:.0f} MiB after import"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=[*SIZES, "bands", "store"], default="quarter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.folder:
        adjust_store(args.folder)
    elif args.size == "store":
        with tempfile.TemporaryDirectory() as folder:
            make_stores(Path(folder))
            again = [sys.executable, "-m", "benchmarks.bench_bias", "--folder", folder]
            subprocess.run(again, check=True)
    elif args.size == "bands":
        bands(2)  # compiles
        print(f"six bands, six variables, three runs of 251 years: {bands():.2f} s")
    else:
        compare(args.size, args.rounds)


def compare(size: str, rounds: int) -> None:
    """All contenders in turns on one size."""
    for method in ("qdm", "eqm"):

        def make_work(scale: float, method: str = method) -> Work:
            return _work(method, SIZES["quick"] if scale < 1 else SIZES[size])

        stage = Stage(name=f"adjust, {method}, {size}", make=make_work)
        print(section(stage.name, *measure(stage, scale=1.0, rounds=rounds, budget=600)))


if __name__ == "__main__":
    main()
