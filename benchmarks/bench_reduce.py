"""Regional means against what a user would write otherwise, in one process.

``python -m benchmarks.bench_reduce`` reduces 16 float32 variables of 276 months x 120 x 280 cells,
missing over the sea, to six latitude bands whose edges are cell edges, so that every peer can give
the same answer. In memory, then lazily, chunked over time and over space. All take turns; medians
are compared.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr

import xpermafrost as xp

from ._measure import measure
from ._page import section
from ._stages import Stage, Work, peer, read_of, shape_of

VARIABLES, MONTHS, ROWS, COLUMNS = 16, 276, 120, 280
EDGES = tuple(np.linspace(59.0, 71.0, 7).tolist())
BANDS = xp.LatitudeBands(EDGES)
CHUNKS = {"memory": None, "time": {"time": 12}, "space": {"lat": 40, "lon": 70}}
Run = Callable[[xr.Dataset], dict[str, np.ndarray]]


def make(months: int = MONTHS) -> xr.Dataset:
    """Variables ``v00`` ... on a 0.1 degree grid, a third of the cells sea."""
    rng = np.random.default_rng(0)
    lat = EDGES[0] + 0.1 * (np.arange(ROWS) + 0.5)
    lon = -169.0 + 0.1 * (np.arange(COLUMNS) + 0.5)
    sea = rng.random((ROWS, COLUMNS)) < 0.1
    sea[:, : COLUMNS // 4] |= rng.random((ROWS, COLUMNS // 4)) < 0.9
    ds = xr.Dataset(coords={"time": np.arange(months), "lat": lat, "lon": lon})
    for k in range(VARIABLES):
        values = rng.standard_normal((months, ROWS, COLUMNS), dtype="float32") * 8 + 265
        values[:, sea] = np.nan
        ds[f"v{k:02d}"] = (("time", "lat", "lon"), values)
    return ds


def area(ds: xr.Dataset) -> xr.DataArray:
    """Cell area but for a factor: the cells are evenly spaced."""
    return np.cos(np.deg2rad(ds["lat"])).broadcast_like(ds["v00"].isel(time=0, drop=True))


def named(ds: xr.Dataset, dim: str) -> dict[str, np.ndarray]:
    return {str(n): da.transpose(dim, "time").values for n, da in ds.data_vars.items()}


def ours(ds: xr.Dataset) -> dict[str, np.ndarray]:
    return named(xp.reduce(ds, BANDS).compute(), "band")


def slices(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """A loop over bands: slice, ``weighted`` by latitude, mean."""
    parts = []
    for south, north in itertools.pairwise(EDGES):
        part = ds.sel(lat=slice(south, north))
        parts.append(part.weighted(np.cos(np.deg2rad(part["lat"]))).mean(("lat", "lon")))
    return named(xr.concat(parts, "band").compute(), "band")


def masks(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """``regionmask`` in three dimensions times area, and ``weighted``."""
    import regionmask

    regions = regionmask.Regions(list(BANDS.geometries), names=list(BANDS.names))
    mask = regions.mask_3D(ds["lon"], ds["lat"])
    weights = (mask * area(ds)).drop_vars(["names", "abbrevs"])
    return named(ds.weighted(weights).mean(("lat", "lon")).compute(), "region")


def flox_means(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Grouped sums of values times area, and of area."""
    from flox.xarray import xarray_reduce

    weights = area(ds)
    label = xr.DataArray(np.digitize(ds["lat"], EDGES) - 1, dims="lat", name="band")
    total = xarray_reduce(ds * weights, label, func="nansum", dim=["lat", "lon"])
    mass = xarray_reduce(ds.notnull() * weights, label, func="sum", dim=["lat", "lon"])
    return named((total / mass).compute(), "band")


def exact(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """``exactextract``, months as bands of a raster in memory, weighted by area."""
    import geopandas
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    west, east = float(ds["lon"][0]) - 0.05, float(ds["lon"][-1]) + 0.05
    box = {"xmin": west, "xmax": east, "ymin": EDGES[0], "ymax": EDGES[-1]}
    frame = geopandas.GeoDataFrame({"name": BANDS.names}, geometry=list(BANDS.geometries), crs=4326)
    weight = NumPyRasterSource(area(ds).values[::-1].copy(), **box)
    found = {}
    for name, da in ds.data_vars.items():
        months = [NumPyRasterSource(m[::-1], name=f"m{i}", **box) for i, m in enumerate(da.values)]
        table = exact_extract(months, frame, "weighted_mean", weights=weight, output="pandas")
        found[str(name)] = table.to_numpy()
    return found


def weighted(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """One matrix of weights (band, lat) and ``weighted``: the shortest way in xarray."""
    inside = np.digitize(ds["lat"], EDGES)[None, :] - 1 == np.arange(len(BANDS))[:, None]
    weights = xr.DataArray(inside, dims=("band", "lat")) * np.cos(np.deg2rad(ds["lat"]))
    return named(ds.weighted(weights).mean(("lat", "lon")).compute(), "band")


#: Modules that a peer imports.
NEEDS = {
    "regionmask, weighted": ("regionmask",),
    "flox": ("flox",),
    "exactextract": ("exactextract",),
}

PEERS: dict[str, dict[str, Run]] = {
    "memory": {
        "slice loop, weighted": slices,
        "weighted (band, lat)": weighted,
        "regionmask, weighted": masks,
        "flox": flox_means,
        "exactextract": exact,
    },
    "time": {"weighted (band, lat)": weighted, "slice loop, weighted": slices, "flox": flox_means},
    "space": {"weighted (band, lat)": weighted, "slice loop, weighted": slices, "flox": flox_means},
}


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Largest relative difference."""
    return max(float(np.max(np.abs(one[n] / other[n] - 1))) for n in one)


def _work(kind: str, scale: float) -> Work:
    ds, chunks = make(max(1, round(MONTHS * scale))), CHUNKS[kind]
    arrays = [da.values for da in ds.data_vars.values()]
    data = ds if chunks is None else ds.chunk(chunks)

    def on_data(run: Run) -> Callable[[], dict[str, np.ndarray]]:
        return lambda: run(data)

    return Work(
        size=f"{shape_of(ds)}, {VARIABLES} variables, {ds.nbytes / 1e6:.0f} MB, "
        f"{'numpy' if chunks is None else f'dask {chunks}'}",
        ours={"xpermafrost": on_data(ours)},
        peers={
            name: peer(lambda run=run: on_data(run), *NEEDS.get(name, ()))  # type: ignore[misc]
            for name, run in PEERS[kind].items()
        },
        limits={"reading the input once": read_of(*arrays)},
        off=difference,
    )


def _stage(kind: str) -> Stage:
    return Stage(
        name=f"reduce, {kind}",
        make=lambda scale: _work(kind, scale),
        quick=0.0625,
        tiny=0.05,
        growth=0.125,
    )


STAGES = tuple(_stage(kind) for kind in CHUNKS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", choices=list(CHUNKS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for stage in STAGES if options.kind is None else [_stage(options.kind)]:
        print(section(stage.name, *measure(stage, scale=1.0, rounds=options.rounds, budget=600)))


if __name__ == "__main__":
    main()
