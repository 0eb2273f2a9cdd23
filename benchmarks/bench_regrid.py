"""Regridding against xarray-regrid, CDO and ``xr.interp``: ``python -m benchmarks.bench_regrid``.

0.1 degree Alaska (211 x 511 cells, ocean and a lake missing), 276 months, float32, to 1.25 x 2.5
degrees (conservative) and to 0.05 degrees of a quarter of it (bilinear). Contenders take turns
in one process and medians are compared. xarray-regrid has ``opt_einsum``; CDO is a process that
reads and writes a file (in memory where /dev/shm is), timed whole and by its own user time.
``--months N`` for a quick look.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from xpermafrost.regridding import make_grid, regrid, regrid_weights


def alaska(months: int) -> xr.Dataset:
    """Cell centres on 51..72 N and 180..129 W, every 0.1 degree."""
    lat, lon = np.linspace(51, 72, 211), np.linspace(-180, -129, 511)
    rng = np.random.default_rng(0)
    values = rng.normal(265.0, 10.0, (months, 211, 511)).astype("float32")
    values[:, :60, :200] = np.nan
    values[:, 120:150, 280:330] = np.nan
    axes = {
        "time": np.datetime64("2001-01-01") + 31 * np.arange(months),
        "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    return xr.Dataset({"tas": (("time", "lat", "lon"), values, {"units": "K"})}, coords=axes)


def cdo_grid(target: xr.Dataset) -> str:
    """Grid description that CDO reads."""
    lines = ["gridtype = lonlat"]
    for name, axis in (("lon", "x"), ("lat", "y")):
        values = target[name].values
        step = (values[-1] - values[0]) / (values.size - 1)
        lines += [f"{axis}size = {values.size}", f"{axis}first = {values[0]:.10g}"]
        lines += [f"{axis}inc = {step:.10g}"]
    return "\n".join(lines) + "\n"


class Cdo:
    """One CDO operator on a file; keeps the user seconds of its runs."""

    def __init__(self, operator: str, ds: xr.Dataset, target: xr.Dataset, folder: Path) -> None:
        self.source, self.out = folder / "in.nc", folder / f"{operator}.nc"
        grid = folder / f"{operator}.txt"
        grid.write_text(cdo_grid(target))
        if not self.source.exists():
            ds.to_netcdf(self.source, engine="netcdf4", encoding={"tas": {"_FillValue": 1e20}})
        self.command = ["cdo", "-s", "-O", f"{operator},{grid}", str(self.source), str(self.out)]
        self.user: list[float] = []

    def __call__(self) -> np.ndarray | None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(self.command, check=True, capture_output=True)
        self.user.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
        return None

    def result(self) -> np.ndarray:
        """Values that the last run wrote."""
        with xr.open_dataset(self.out, engine="netcdf4") as ds:
            return ds["tas"].values


def contenders(
    ds: xr.Dataset, target: xr.Dataset, method: str, folder: Path
) -> dict[str, Callable[[], object]]:
    """What competes, by name."""
    weights = regrid_weights(ds, target, method=method)
    lazy = ds.assign(tas=ds["tas"].chunk(time=12))
    plain = xr.Dataset(coords={name: target[name].values for name in ("lat", "lon")})
    out: dict[str, Callable[[], object]] = {
        "ours": lambda: regrid(ds, target, method=method, min_valid=0),
        "ours, stored weights": lambda: regrid(
            ds, target, method=method, weights=weights, min_valid=0
        ),
        "ours, dask, 12 months a chunk": lambda: regrid(lazy, target, method=method).compute(),
    }
    if importlib.util.find_spec("xarray_regrid"):
        import xarray_regrid  # noqa: F401  (registers .regrid)

        out["xarray-regrid"] = (
            (lambda: ds.regrid.conservative(plain, latitude_coord="lat"))
            if method == "conservative"
            else (lambda: ds.regrid.linear(plain))
        )
    if method == "bilinear":
        out["xr.interp"] = lambda: ds.interp(lat=target["lat"], lon=target["lon"])
    if shutil.which("cdo"):
        operator = {"conservative": "remapcon", "bilinear": "remapbil"}[method]
        out[f"cdo {operator}"] = Cdo(operator, ds, target, folder)
    out["read the input once (sum)"] = lambda: float(ds["tas"].values.sum())
    return out


def integrals(ds: xr.Dataset) -> None:
    """Relative change of the integral, over a target that the source covers."""
    target = make_grid((1.25, 2.5), lat=(51.25, 71.25), lon=(-180, -130))
    cut = make_grid(0.05, lat=(51.25, 71.25), lon=(-180, -130))
    filled = ds.isel(time=[0]).fillna(265.0)
    for dtype in ("float32", "float64"):
        fields = filled.astype(dtype)
        fine = regrid(fields.astype("float64"), cut)  # the same field, cut at the target's rim
        before = float((fine["tas"] * cut["cell_area"].values).sum())
        coarse = regrid(fields, target)["tas"].astype("float64")
        after = float((coarse * target["cell_area"].values).sum())
        print(f"integral, {dtype}: relative change {abs(after / before - 1):.1e}")


def run(ds: xr.Dataset, target: xr.Dataset, method: str, rounds: int, folder: Path) -> None:
    """Time one method and print medians and ratios."""
    tasks = contenders(ds, target, method, folder)
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()  # compiled, caches warm
    for _ in range(rounds):
        for name, task in tasks.items():
            begin = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - begin)
    ours = statistics.median(seconds["ours"])
    print(f"\n{method}, {dict(ds.sizes)} to {target.sizes['lat']} x {target.sizes['lon']}")
    for name, times in seconds.items():
        middle = statistics.median(times)
        more = ""
        if isinstance(tasks[name], Cdo):
            more = f"  (user time {statistics.median(tasks[name].user):.4f} s)"
        print(f"  {name:32s} {middle:8.4f} s  {middle / ours:6.1f} x ours{more}")
    for name, task in tasks.items():
        if isinstance(task, Cdo):
            mine, theirs = regrid(ds, target, method=method, min_valid=0)["tas"], task.result()
            off = float(np.nanmax(np.abs(mine.values / theirs - 1)))
            same = bool((np.isnan(mine.values) == np.isnan(theirs)).all())
            print(f"  {name}: largest relative difference {off:.1e}, same cells missing: {same}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=276)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ds = alaska(options.months)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        coarse = make_grid((1.25, 2.5), lat=(51.25, 71.25), lon=(-180, -130))
        run(ds, coarse, "conservative", options.rounds, Path(name))
    with tempfile.TemporaryDirectory(dir=memory) as name:
        part = ds.isel(lat=slice(80, 186), lon=slice(200, 456)).fillna(265.0)
        fine = make_grid(0.05, lat=(59.1, 69.4), lon=(-159.9, -134.6))
        run(part, fine, "bilinear", options.rounds, Path(name))
    integrals(ds)


if __name__ == "__main__":
    main()
