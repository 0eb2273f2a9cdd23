"""Regions: latitude bands, and the area-weighted reduction of a grid to them.

A region set knows its names and gives fractional weights on a grid: cell area times
overlap fraction. Times the land fraction, they are computed once, kept as data, and used
in one pass over each variable.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from ._checks import check_whole, require_dims
from .errors import RegionError
from .schema import BOUNDS

#: Mean radius of the Earth [m] (IUGG).
EARTH_RADIUS = 6_371_008.8


@dataclass(frozen=True)
class LatitudeBands:
    """Adjoining latitude bands, from south to north.

    Parameters
    ----------
    edges : tuple of float
        Increasing latitudes [degrees_north], one more than there are bands. Bands are
        half-open, the last one closed; with fractional weights an edge has no area.
    names : tuple of str, optional
        Labels; by default made of the edges, such as ``"59.3-61.3N"``.
    lon : tuple of float, optional
        Western and eastern limit [degrees_east]; a west above the east crosses the
        dateline. The whole circle by default.

    Raises
    ------
    RegionError
        If edges do not increase or names do not fit.

    Examples
    --------
    >>> LatitudeBands((60, 65, 70)).names
    ('60.0-65.0N', '65.0-70.0N')
    """

    edges: tuple[float, ...]
    names: tuple[str, ...] = ()
    lon: tuple[float, float] | None = None
    dim: str = "band"

    def __post_init__(self) -> None:
        edges = tuple(float(edge) for edge in self.edges)
        if len(edges) < 2 or any(b <= a for a, b in pairwise(edges)):
            raise RegionError(
                f"latitude edges must increase from south to north; got {edges}. "
                "Type for instance LatitudeBands((60, 65, 70))."
            )
        if edges[0] < -90 or edges[-1] > 90:
            raise RegionError(f"latitude edges must lie in -90..90; got {edges}.")
        names = tuple(self.names) or tuple(_band_name(a, b) for a, b in pairwise(edges))
        if len(names) != len(edges) - 1 or len(set(names)) != len(names):
            raise RegionError(f"{len(edges) - 1} bands need as many different names; got {names}.")
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def coords(self) -> dict[Hashable, xr.Variable]:
        """Coordinates that a reduced Dataset carries: names, mid latitude and its bounds."""
        bounds = np.stack([self.edges[:-1], self.edges[1:]], axis=1)
        return {
            self.dim: xr.Variable(self.dim, np.asarray(self.names), {"long_name": "latitude band"}),
            "lat": xr.Variable(
                self.dim,
                bounds.mean(axis=1),
                {"standard_name": "latitude", "units": "degrees_north", "bounds": "lat_bnds"},
            ),
            "lat_bnds": xr.Variable((self.dim, BOUNDS), bounds),
        }

    def overlap(self, lat_bounds: np.ndarray, lon_bounds: np.ndarray) -> np.ndarray:
        """Area [m2] of every grid cell inside every band, shape ``(band, lat, lon)``.

        On the sphere, the area between two latitudes and two longitudes is
        R^2 (sin(lat2) - sin(lat1)) (lon2 - lon1).
        """
        south, north = np.sort(lat_bounds, axis=1).T
        low = np.maximum(south[None, :], np.asarray(self.edges[:-1])[:, None])
        high = np.minimum(north[None, :], np.asarray(self.edges[1:])[:, None])
        rows = np.where(high > low, np.sin(np.deg2rad(high)) - np.sin(np.deg2rad(low)), 0.0)
        columns = np.deg2rad(_lon_overlap(lon_bounds, self.lon))
        return EARTH_RADIUS**2 * rows[:, :, None] * columns[None, None, :]


def _band_name(south: float, north: float) -> str:
    if north <= 0:
        return f"{abs(north):.1f}-{-south:.1f}S"
    if south < 0:
        return f"{-south:.1f}S-{north:.1f}N"
    return f"{south:.1f}-{north:.1f}N"


def _lon_overlap(lon_bounds: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """Width [degrees] of each cell inside the limits, wherever the circle is cut."""
    west, east = np.sort(lon_bounds, axis=1).T
    if limits is None:
        return east - west
    low, high = limits
    high = low + ((high - low) % 360.0 or 360.0)
    width = np.zeros_like(west)
    for turn in (-720.0, -360.0, 0.0, 360.0, 720.0):
        part = np.minimum(east + turn, high) - np.maximum(west + turn, low)
        width += np.maximum(part, 0.0)
    return width


def alaska_bands() -> LatitudeBands:
    """The six latitude bands of Alaska of the first study, 59.26 to 71.34 degN.

    Examples
    --------
    >>> alaska_bands().names[0], len(alaska_bands())
    ('59.3-61.3N', 6)
    """
    edges = np.linspace(59.2632802, 71.336926, 7)
    return LatitudeBands(tuple(edges.tolist()), lon=(-168.0, -141.0))


def cell_bounds(ds: xr.Dataset | xr.DataArray, name: str) -> np.ndarray:
    """Bounds of the cells along ``lat`` or ``lon``, shape ``(n, 2)``.

    Taken from ``{name}_bnds`` where present, else halfway between the centres.
    """
    stored = ds.coords.get(f"{name}_bnds")
    if stored is None and isinstance(ds, xr.Dataset):
        stored = ds.get(f"{name}_bnds")
    if stored is not None and stored.dims[:1] == (name,) and stored.ndim == 2:
        return np.asarray(stored.values, dtype="float64")
    centre = np.asarray(ds[name].values, dtype="float64")
    if centre.size < 2:
        raise RegionError(
            f"the cells along {name!r} have no bounds and there is only one centre; "
            f"add '{name}_bnds' with dims ('{name}', 'bnds')."
        )
    steps = np.diff(centre)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise RegionError(f"{name!r} must increase or decrease throughout; sort it first.")
    middle = centre[:-1] + steps / 2
    edges = np.concatenate([[centre[0] - steps[0] / 2], middle, [centre[-1] + steps[-1] / 2]])
    if name == "lat":
        edges = np.clip(edges, -90.0, 90.0)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def land_fraction(land: xr.DataArray) -> xr.DataArray:
    """Share of land in 0..1 from a mask, a fraction or a percentage; missing is no land."""
    if land.dtype == bool:
        return land.astype("float64")
    share = land.astype("float64")
    if str(land.attrs.get("units", "")) == "%" or float(share.max()) > 1.5:
        share = share / 100.0
    low, high = float(share.min()), float(share.max())
    if low < -1e-6 or high > 1.0 + 1e-6:
        raise RegionError(
            f"a land mask needs values in 0..1 or 0..100 %; found {low:g} to {high:g}."
        )
    return share.clip(0.0, 1.0).fillna(0.0)


def region_weights(
    grid: xr.Dataset | xr.DataArray,
    regions: LatitudeBands,
    *,
    land: xr.DataArray | None = None,
) -> xr.DataArray:
    """Weights of every grid cell in every region: cell area x overlap fraction x land fraction.

    Parameters
    ----------
    grid : Dataset or DataArray
        With 1-D ``lat`` and ``lon`` [degrees]; bounds are used where present.
    regions : LatitudeBands
    land : DataArray, optional
        ``(lat, lon)`` land share (0..1 or %) or boolean mask.

    Returns
    -------
    DataArray
        ``(region, lat, lon)`` [m2], eager.

    Raises
    ------
    RegionError
        If a region has no weight anywhere on the grid.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid = xr.Dataset(coords={"lat": [61.0, 63.0], "lon": [-150.0, -148.0]})
    >>> weights = region_weights(grid, LatitudeBands((60, 61, 64)))
    >>> weights.dims, bool(weights.sel(band="60.0-61.0N", lat=63.0).max() == 0)
    (('band', 'lat', 'lon'), True)
    """
    require_dims(grid, ("lat", "lon"), step="a regional mean")
    values = regions.overlap(cell_bounds(grid, "lat"), cell_bounds(grid, "lon"))
    weights = xr.DataArray(
        values,
        dims=(regions.dim, "lat", "lon"),
        coords={regions.dim: regions.coords[regions.dim], "lat": grid["lat"], "lon": grid["lon"]},
        attrs={"units": "m2", "long_name": "cell area x overlap fraction x land fraction"},
        name="weights",
    )
    if land is not None:
        share = _on_grid(land_fraction(land), grid, "land mask")
        weights = (weights * share.transpose("lat", "lon").values).assign_attrs(weights.attrs)
    empty = [
        str(n) for n, w in zip(regions.names, weights.sum(("lat", "lon")), strict=True) if w <= 0
    ]
    if empty:
        raise RegionError(
            f"the regions {empty} have no land on the grid (lat {float(grid['lat'].min()):g} to "
            f"{float(grid['lat'].max()):g}, lon {float(grid['lon'].min()):g} to "
            f"{float(grid['lon'].max()):g}). Choose regions inside the grid, or check the mask."
        )
    return weights


def _on_grid(field: xr.DataArray, grid: xr.Dataset | xr.DataArray, what: str) -> xr.DataArray:
    """``field`` in the order of the grid's rows and columns; refuse another grid."""
    for dim in ("lat", "lon"):
        if field.sizes.get(dim) != grid.sizes[dim]:
            raise RegionError(
                f"the {what} has sizes {dict(field.sizes)}, the grid "
                f"{grid.sizes['lat']} x {grid.sizes['lon']} (lat x lon); put it on the grid first."
            )
        if dim not in field.coords:
            continue  # nothing but the order says where its cells lie
        mine, theirs = field[dim].values, grid[dim].values
        order = np.empty(mine.size, dtype="int64")
        order[np.argsort(theirs)] = np.argsort(mine)
        if not np.allclose(mine[order], theirs, rtol=0, atol=1e-3):
            raise RegionError(
                f"the cells of the {what} lie on {dim} {mine.min():g} to {mine.max():g}, the "
                f"grid on {theirs.min():g} to {theirs.max():g}; put it on the grid first."
            )
        field = field.isel({dim: order})
    return field


def reduce(
    ds: xr.Dataset,
    regions: LatitudeBands,
    *,
    land: xr.DataArray | None = None,
    weights: xr.DataArray | None = None,
) -> xr.Dataset:
    """Area-weighted means of every gridded variable over every region.

    A missing cell drops out of the numerator and of the denominator; a region without any
    valid cell is NaN. Each variable is read once. Lazy on dask (``lat`` and ``lon`` in one
    chunk each). Station Datasets (no ``lat``/``lon`` dimensions) are returned as they are.

    Parameters
    ----------
    ds : Dataset
        Variables with dims ``lat, lon`` are reduced; others are kept.
    regions : LatitudeBands
    land : DataArray, optional
        Land share or mask ``(lat, lon)``; by default ``ds["sftlf"]`` where it is there.
    weights : DataArray, optional
        Weights made by :func:`region_weights`, to be used again.

    Returns
    -------
    Dataset
        As ``ds`` with the dimension of the regions in place of ``lat, lon``.

    Raises
    ------
    DimensionError
        If ``lat`` or ``lon`` is missing, or split over chunks.
    RegionError
        If a region lies off the grid.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid = xr.Dataset(
    ...     {"tas": (("lat", "lon"), np.full((2, 2), 270.0))},
    ...     coords={"lat": [60.5, 61.5], "lon": [-150.0, -149.0]},
    ... )
    >>> reduce(grid, LatitudeBands((60, 62)))["tas"].values.round(6).tolist()
    [270.0]
    """
    if "station" in ds.dims and not {"lat", "lon"} <= set(ds.dims):
        return ds
    require_dims(ds, ("lat", "lon"), step="reduce")
    if weights is None:
        weights = region_weights(ds, regions, land=ds.get("sftlf") if land is None else land)
    weights = _on_grid(weights, ds, "weights")
    gridded = {name: da for name, da in ds.data_vars.items() if {"lat", "lon"} <= set(da.dims)}
    for da in gridded.values():
        for dim in ("lat", "lon"):
            check_whole(da, dim, step="reduce")
    out = ds.drop_vars([n for n in ds.variables if {"lat", "lon"} & set(ds[n].dims)])
    dim = str(weights.dims[0])
    means = {name: _weighted_mean(da, weights, dim) for name, da in gridded.items()}
    out = out.assign(means).assign_coords(regions.coords)
    note = f"mean over {len(regions)} regions, weights = cell area x overlap x land fraction"
    history = [line for line in [str(ds.attrs.get("history", ""))] if line]
    return out.assign_attrs(
        {
            "regions": ", ".join(regions.names),
            "history": "\n".join([*history, f"xpermafrost.reduce: {note}"]),
        }
    )


def _weighted_mean(da: xr.DataArray, weights: xr.DataArray, dim: Hashable) -> xr.DataArray:
    matrix = weights.values.reshape(weights.sizes[dim], -1)

    def block(values: np.ndarray) -> np.ndarray:
        from ._reduce_kernels import weighted_means

        return weighted_means(values, matrix)

    dtype = da.dtype if da.dtype == np.float32 else np.dtype("float64")
    mean = xr.apply_ufunc(
        block,
        da,
        input_core_dims=[["lat", "lon"]],
        output_core_dims=[[dim]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {dim: weights.sizes[dim]}},
        output_dtypes=[dtype],
        keep_attrs=True,
    )
    others = [d for d in da.dims if d not in ("lat", "lon")]
    mean = mean.transpose(
        dim, *[d for d in others if d != "time"], *[d for d in others if d == "time"]
    )
    return mean.drop_vars(["lat", "lon"], errors="ignore")


def sample_points(ds: xr.Dataset, points: xr.Dataset, *, method: str = "linear") -> xr.Dataset:
    """Values of a gridded Dataset at the places of a station Dataset.

    Lazy on dask. Longitudes are wrapped to the grid's own range, and the grid's edge columns
    are repeated across the seam, so that a station near 0 or 180 degrees is inside.

    Parameters
    ----------
    ds : Dataset
        With dims ``lat, lon``.
    points : Dataset
        With 1-D coordinates or variables ``lat`` and ``lon`` along one location dim.
    method : {"linear", "nearest"}
        Bilinear interpolation (NaN next to a missing cell), or the nearest cell.

    Raises
    ------
    RegionError
        If a place lies outside the grid.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid = xr.Dataset(
    ...     {"tas": (("lat", "lon"), [[270.0, 272.0], [270.0, 272.0]])},
    ...     coords={"lat": [60.0, 62.0], "lon": [10.0, 12.0]},
    ... )
    >>> place = xr.Dataset(coords={"lat": ("station", [61.0]), "lon": ("station", [11.0])})
    >>> sample_points(grid, place)["tas"].values.tolist()
    [271.0]
    """
    require_dims(ds, ("lat", "lon"), step="sample_points")
    if not {"lat", "lon"} <= set(points.variables):
        raise RegionError(
            f"the places need 'lat' and 'lon'; found {[str(n) for n in points.variables]}."
        )
    lat, lon = points["lat"], points["lon"]
    grid = _closed_circle(ds.sortby(["lat", "lon"]))
    west = float(grid["lon"][0])
    wrapped = (lon - west) % 360.0 + west
    off = (lat < float(grid["lat"][0])) | (lat > float(grid["lat"][-1]))
    off |= wrapped > float(grid["lon"][-1])
    if bool(off.any()):
        raise RegionError(
            f"{int(off.sum())} of {off.size} places lie outside the grid's cell centres "
            f"(lat {float(grid['lat'][0]):g} to {float(grid['lat'][-1]):g})."
        )
    gridded = [name for name, da in grid.data_vars.items() if {"lat", "lon"} <= set(da.dims)]
    interp = grid[gridded].interp(lat=lat.variable, lon=wrapped.variable, method=method)  # type: ignore[arg-type]
    out = interp.drop_vars(["lat", "lon"], errors="ignore")
    labels = {dim: points[dim] for dim in lat.dims if dim in points.coords}
    attrs = {**ds.attrs, "sampling": f"{method} interpolation to points"}
    return out.assign_coords({**labels, "lat": lat, "lon": lon}).assign_attrs(attrs)


def _closed_circle(ds: xr.Dataset) -> xr.Dataset:
    """Repeat the first and last column on the other side of a grid that spans the circle."""
    lon = ds["lon"].values
    if lon.size < 2 or 360.0 - (lon[-1] - lon[0]) > 1.5 * float(np.median(np.diff(lon))):
        return ds
    first, last = ds.isel(lon=[0]), ds.isel(lon=[-1])
    parts = [
        last.assign_coords(lon=last["lon"] - 360.0),
        ds,
        first.assign_coords(lon=first["lon"] + 360.0),
    ]
    return xr.concat(parts, dim="lon", data_vars="minimal", coords="minimal", compat="override")
