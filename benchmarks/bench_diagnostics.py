"""Diagnostics of a 0.1 degree grid of Alaska over 80 years of months: memory and time.

``python -m benchmarks.bench_diagnostics`` runs each diagnostic in a process of its own on a lazy
dask array of 120 x 280 cells, 4 layers, 960 months (516 MB in single precision, never whole in
memory) and prints seconds, peak resident memory, and the peak of the imports alone;
``--size quick`` takes a tenth of the grid. The same mean by ``resample`` is the peer.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import dask
import dask.array as da
import numpy as np
import xarray as xr

from xpermafrost import diagnostics
from xpermafrost.schema import layer_coords

from ._stages import Stage, Work, furthest, read_of, shape_of

SIZES = {"quick": (12, 280), "full": (120, 280)}
CHUNK = (3, 280)
YEARS, LAYERS = 80, 4
LIMIT = 500  # MB


def _block(block_info: dict | None = None) -> np.ndarray:
    """Soil temperature of one chunk of cells [degC]: a damped season, noise and warming."""
    info = block_info[None]  # type: ignore[index]
    rng = np.random.default_rng(info["chunk-location"])
    month = np.arange(12 * YEARS, dtype="float32")
    out = rng.standard_normal(info["chunk-shape"], dtype="float32")
    for layer, depth in enumerate((0.035, 0.175, 0.64, 1.945)):
        season = -14 * np.exp(-depth) * np.cos(2 * np.pi * (month - 0.7 - 1.9 * depth) / 12)
        out[:, :, layer] = out[:, :, layer] * 0.4 + season - 4 + month * np.float32(0.005)
    return out


def grid(rows: int, columns: int) -> xr.DataArray:
    """The lazy soil temperature ``(lat, lon, layer, time)``."""
    chunks = ((CHUNK[0],) * (rows // CHUNK[0]), (columns,), (LAYERS,), (12 * YEARS,))
    values = da.map_blocks(_block, chunks=chunks, dtype="float32", meta=np.empty((0,) * 4, "f4"))
    coords = {
        "lat": 58.0 + 0.1 * np.arange(rows),
        "lon": -168.0 + 0.1 * np.arange(columns),
        "time": xr.date_range("2021-01-01", periods=12 * YEARS, freq="MS"),
        **{n: v for n, v in layer_coords().items() if n != "depth_bnds"},
    }
    dims = ("lat", "lon", "layer", "time")
    return xr.DataArray(values, coords, dims, name="tsl", attrs={"units": "degC"})


Diagnostic = Callable[[xr.DataArray], xr.DataArray | xr.Dataset]

DIAGNOSTICS: dict[str, Diagnostic] = {
    "active layer, envelope": diagnostics.active_layer_thickness,
    "active layer, isotherm": lambda soil: diagnostics.active_layer_thickness(
        soil, method="isotherm"
    ),
    "mean annual ground temperature": diagnostics.mean_annual_ground_temperature,
    "the same by resample (peer)": lambda soil: soil.resample(time="YS").mean(),
    "degree days of the top layer": lambda soil: diagnostics.degree_days(
        soil.isel(layer=0), daily_std=3.0
    ),
    "permafrost presence": diagnostics.permafrost_presence,
    "talik onset": diagnostics.talik_onset,
    "thermal offset": diagnostics.thermal_offset,
}


def alone(name: str, size: str) -> dict[str, float]:
    """Run one diagnostic in this process; seconds and peak resident memory [MB]."""
    warnings.simplefilter("ignore")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    begin = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=2):
        DIAGNOSTICS[name](grid(*SIZES[size])).compute()
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"seconds": seconds, "peak": peak, "imports": before}


def thaw_by_hand(soil: xr.DataArray) -> xr.DataArray:
    """Where the annual maxima fall to 0 degC, profile by profile; nothing is checked."""
    depth = soil["depth"].values

    def of_profile(warmest: np.ndarray) -> float:
        if warmest[0] <= 0:
            return 0.0
        frozen = np.flatnonzero(warmest <= 0)
        if not frozen.size:
            return np.nan
        k = frozen[0]
        return float(np.interp(0.0, warmest[[k, k - 1]], depth[[k, k - 1]]))

    warmest = soil.resample(time="YS").max()
    return xr.apply_ufunc(of_profile, warmest, input_core_dims=[["layer"]], vectorize=True)


def _work(kind: str, scale: float) -> Work:
    rows = max(1, round(40 * scale)) * CHUNK[0]
    soil = grid(rows, 280).compute()
    if kind == "annual mean":
        ours, name, theirs = (
            diagnostics.mean_annual_ground_temperature,
            "xarray resample, months of equal weight",
            lambda: soil.resample(time="YS").mean(),
        )
    else:
        ours, name, theirs = (
            diagnostics.active_layer_thickness,
            "resample, a loop over profiles",
            lambda: thaw_by_hand(soil),
        )
    return Work(
        size=f"{shape_of(soil)} float32, {soil.nbytes / 1e6:.0f} MB",
        ours={"xpermafrost": lambda: ours(soil)},
        peers={name: theirs},
        limits={"reading the input once": read_of(soil.values)},
        off=lambda a, b: furthest(a.values, b.rename(time="year").transpose(*a.dims).values),
    )


def _stage(kind: str) -> Stage:
    return Stage(
        name=f"diagnostics, {kind}",
        make=lambda scale: _work(kind, scale),
        quick=0.1,
        tiny=0.025,
        growth=0.1,
    )


STAGES = (_stage("annual mean"), _stage("active layer"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--alone", choices=DIAGNOSTICS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone, options.size)))
        return
    rows, columns = SIZES[options.size]
    whole = rows * columns * LAYERS * 12 * YEARS * 4 / 1e6
    print(f"{rows} x {columns} cells, {LAYERS} layers, {12 * YEARS} months: {whole:.0f} MB whole")
    for name in DIAGNOSTICS:
        command = [sys.executable, "-m", "benchmarks.bench_diagnostics", "--alone", name]
        done = subprocess.run(
            [*command, "--size", options.size], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        verdict = "" if found["peak"] <= LIMIT else f"  more than {LIMIT} MB"
        print(
            f"{name:32s} {found['seconds']:6.1f} s   peak {found['peak']:4.0f} MB "
            f"(imports {found['imports']:.0f}){verdict}"
        )


if __name__ == "__main__":
    main()
