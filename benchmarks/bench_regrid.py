"""Regridding against xarray-regrid, CDO and ``xr.interp``: ``python -m benchmarks.bench_regrid``.

0.1 degree Alaska (211 x 511 cells, ocean and a lake missing), 276 months, float32, to 1.25 x 2.5
degrees (conservative) and to 0.05 degrees of a quarter of it (bilinear). Contenders take turns
in one process and medians are compared. xarray-regrid has ``opt_einsum``; CDO is a process that
reads and writes a file (in memory where /dev/shm is).
``--months N`` for a quick look.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xpermafrost.regridding import make_grid, regrid, regrid_weights

from ._measure import measure
from ._page import section
from ._stages import Missing, Outside, Run, Stage, Work, copy_of, furthest, peer, read_of, shape_of


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


def with_cdo(method: str, ds: xr.Dataset, target: xr.Dataset) -> Run:
    """A run of CDO from file to file, in memory where /dev/shm is; gives what it wrote."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    keep = tempfile.TemporaryDirectory(dir=memory)
    source, out, grid = (Path(keep.name) / name for name in ("in.nc", "out.nc", "grid.txt"))
    grid.write_text(cdo_grid(target))
    ds.to_netcdf(source, engine="netcdf4", encoding={"tas": {"_FillValue": 1e20}})
    operator = {"conservative": "remapcon", "bilinear": "remapbil"}[method]

    class Cdo(Outside):
        def values(self) -> np.ndarray:
            with xr.open_dataset(out, engine="netcdf4") as file:
                return file["tas"].values

        kept = keep  # the folder lives as long as this does

    return Cdo(["cdo", "-s", "-O", f"{operator},{grid}", str(source), str(out)])


def values_of(result: object) -> np.ndarray:
    """Field that a contender gives, dimensions in our order."""
    if isinstance(result, Outside):
        return result.values()  # type: ignore[attr-defined]
    return result["tas"].transpose("time", "lat", "lon").values  # type: ignore[index]


def binned(ds: xr.Dataset, target: xr.Dataset) -> xr.Dataset:
    """Means of the cells whose centres lie in a target cell, by flox; areas are left out."""
    from flox.xarray import xarray_reduce

    edges = [_edges(target[name].values) for name in ("lat", "lon")]
    out = xarray_reduce(
        ds["tas"],
        "lat",
        "lon",
        func="nanmean",
        expected_groups=tuple(pd.IntervalIndex.from_breaks(e, closed="left") for e in edges),
        isbin=(True, True),
    )
    return out.rename(lat_bins="lat", lon_bins="lon").to_dataset(name="tas")


def _edges(centres: np.ndarray) -> np.ndarray:
    step = (centres[-1] - centres[0]) / (centres.size - 1)
    return np.append(centres - step / 2, centres[-1] + step / 2)


def through_xarray_regrid(method: str, ds: xr.Dataset, plain: xr.Dataset) -> Run:
    """xarray-regrid registers ``.regrid``."""
    import xarray_regrid  # noqa: F401

    if method == "conservative":
        return lambda: ds.regrid.conservative(plain, latitude_coord="lat")
    return lambda: ds.regrid.linear(plain)


def through_xesmf(method: str, ds: xr.Dataset, plain: xr.Dataset) -> Run:
    """xESMF, weights and application; missing cells by its ``skipna``."""
    import xesmf

    return lambda: xesmf.Regridder(ds, plain, method)(ds, skipna=True)


def _peers(method: str, ds: xr.Dataset, target: xr.Dataset) -> dict[str, Run | Missing]:
    plain = xr.Dataset(coords={name: target[name].values for name in ("lat", "lon")})
    out: dict[str, Run | Missing] = {
        "xarray-regrid": peer(
            lambda: through_xarray_regrid(method, ds, plain), "xarray_regrid", "opt_einsum"
        ),
        "xESMF": peer(lambda: through_xesmf(method, ds, plain), "ESMF", "xesmf"),
        "CDO, file to file": with_cdo(method, ds, target)
        if shutil.which("cdo")
        else Missing(why="not installed"),
    }
    if method == "bilinear":
        out["xr.interp"] = lambda: ds.interp(lat=plain["lat"], lon=plain["lon"])
    else:
        out["flox, cell centres"] = peer(lambda: lambda: binned(ds, target), "flox")
    return out


def _work(method: str, scale: float) -> Work:
    ds = alaska(max(1, round(276 * scale)))
    if method == "conservative":
        target = make_grid((1.25, 2.5), lat=(51.25, 71.25), lon=(-180, -130))
    else:
        ds = ds.isel(lat=slice(80, 186), lon=slice(200, 456)).fillna(265.0)
        target = make_grid(0.05, lat=(59.1, 69.4), lon=(-159.9, -134.6))
    weights = regrid_weights(ds, target, method=method)
    lazy = ds.assign(tas=ds["tas"].chunk(time=12))
    moved = [ds["tas"].values]
    if method == "bilinear":  # the larger array is the answer
        moved = [np.zeros((ds.sizes["time"], target.sizes["lat"], target.sizes["lon"]), "float32")]
    return Work(
        size=f"{shape_of(ds)} to {target.sizes['lat']} x {target.sizes['lon']}",
        ours={
            "xpermafrost": lambda: regrid(ds, target, method=method, min_valid=0),
            "xpermafrost, stored weights": lambda: regrid(
                ds, target, method=method, weights=weights, min_valid=0
            ),
            "xpermafrost, dask, 12 months a chunk": lambda: regrid(
                lazy, target, method=method, min_valid=0
            ).compute(),
        },
        peers=_peers(method, ds, target),
        limits={
            "reading the input once": read_of(*moved),
        }
        if method == "conservative"
        else {"copy of the bytes of the answer": copy_of(*moved)},
        off=lambda a, b: furthest(values_of(a), values_of(b)),
    )


def _stage(method: str) -> Stage:
    return Stage(
        name=f"regrid, {method}",
        make=lambda scale: _work(method, scale),
        quick=0.125,
        tiny=0.01,
        growth=0.5 if method == "conservative" else 0.25,
    )


STAGES = (_stage("conservative"), _stage("bilinear"))


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


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=276)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for stage in STAGES:
        found = measure(stage, scale=options.months / 276, rounds=options.rounds, budget=600)
        print(section(stage.name, *found))
    integrals(alaska(1))


if __name__ == "__main__":
    main()
