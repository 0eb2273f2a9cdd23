"""Cells of rectilinear grids, and the sparse weights between two of them, axis by axis."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable

import numpy as np
import xarray as xr

from .errors import DimensionError, RegionError
from .masks import around, cell_bounds
from .regions import EARTH_RADIUS
from .schema import BOUNDS

#: Target, source and share of every entry of a sparse matrix, by target.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Two grids are the same, and a point lies on an edge, to this share of a cell.
SAME = 1e-3

AXIS_ATTRS = {
    "lat": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "lon": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
}


def field_dims(grid: xr.Dataset | xr.DataArray) -> tuple[Hashable, ...]:
    """Dimensions of a field: ``lat, lon``, or those of a 2-D latitude."""
    return ("lat", "lon") if grid["lat"].ndim == 1 else grid["lat"].dims


def require_axes(grid: xr.Dataset | xr.DataArray, what: str, *, curvilinear: bool = False) -> None:
    """Raise unless ``lat`` and ``lon`` span a grid."""
    if not isinstance(grid, xr.Dataset | xr.DataArray):
        raise DimensionError(
            f"the {what} is a Dataset or a DataArray with 'lat' and 'lon'; got "
            f"{type(grid).__name__}. Type xp.make_grid(0.5, lat=(50, 72), lon=(-180, -129))."
        )
    found = {str(n): tuple(c.dims) for n, c in grid.coords.items() if n in ("lat", "lon")}
    if len(found) < 2:
        raise DimensionError(
            f"regrid needs the coordinates 'lat' and 'lon' on the {what}; found "
            f"{[str(n) for n in grid.coords]}. Type ds.permafrost.standardize() first."
        )
    if len(found["lat"]) == 2 and found["lat"] == found["lon"]:
        if not curvilinear:
            raise DimensionError(
                f"the {what} is curvilinear or rotated: 'lat' has the dims {found['lat']}. "
                "engine='native' needs 1-D lat and lon: type engine='xesmf' for such a source "
                "(conda install -c conda-forge xesmf); the target has to be 1-D."
            )
    elif found != {"lat": ("lat",), "lon": ("lon",)}:
        raise DimensionError(
            f"regrid needs a grid, with 'lat' and 'lon' as dimensions; on the {what} they have "
            f"the dims {found}. For places, see sample_points; one cell: ds.expand_dims('lat')."
        )
    lat, lon = grid["lat"].values, grid["lon"].values
    if not (np.isfinite(lat).all() and np.isfinite(lon).all() and np.abs(lat).max() <= 90):
        raise RegionError(
            f"'lat' and 'lon' of the {what} must be degrees, none missing; found lat "
            f"{np.min(lat):g} to {np.max(lat):g}, lon {np.min(lon):g} to {np.max(lon):g}."
        )


def describe(grid: xr.Dataset | xr.DataArray) -> str:
    """Size, extent and a digest of the cells (of the centres, for 2-D): what people compare."""
    centres = {name: np.asarray(grid[name].values, dtype="float64") for name in ("lat", "lon")}
    flat = centres["lat"].ndim == 1
    digest = hashlib.sha256()
    for name, values in centres.items():
        digest.update(np.round(cell_bounds(grid, name) if flat else values, 4).tobytes())
    shape = [v.size for v in centres.values()] if flat else centres["lat"].shape
    extent = [f"{name} {v.min():.6g} to {v.max():.6g}" for name, v in centres.items()]
    size = " x ".join(map(str, shape))
    return f"{size}, {', '.join(extent)}, sha256 {digest.hexdigest()[:12]}"


def _height(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """sin(high) - sin(low) of latitudes, without cancellation near the poles."""
    low, high = np.deg2rad(low), np.deg2rad(high)
    return 2.0 * np.cos((low + high) / 2) * np.sin((high - low) / 2)


def cell_area(grid: xr.Dataset | xr.DataArray) -> xr.Variable:
    """R^2 (sin(lat2) - sin(lat1)) (lon2 - lon1)."""
    rows, columns = cell_bounds(grid, "lat"), cell_bounds(grid, "lon")
    area = np.outer(_height(*rows.T), np.deg2rad(columns[:, 1] - columns[:, 0])) * EARTH_RADIUS**2
    attrs = {"standard_name": "cell_area", "long_name": "area of the cell", "units": "m2"}
    return xr.Variable(("lat", "lon"), area, attrs)


def target_coords(target: xr.Dataset | xr.DataArray) -> dict[str, xr.Variable]:
    coords: dict[str, xr.Variable] = {}
    for name, attrs in AXIS_ATTRS.items():
        attrs = {**attrs, **target[name].attrs, "bounds": f"{name}_bnds"}
        coords[name] = xr.Variable(name, target[name].values, attrs)
        coords[f"{name}_bnds"] = xr.Variable((name, BOUNDS), cell_bounds(target, name))
    return coords


def source_coords(source: xr.Dataset | xr.DataArray) -> dict[str, xr.Variable]:
    out: dict[str, xr.Variable] = {}
    for name, attrs in AXIS_ATTRS.items():
        plain = {key: value for key, value in attrs.items() if key != "axis"}
        if source[name].ndim == 1:
            out[f"source_{name}"] = xr.Variable(f"source_{name}", source[name].values, plain)
            out[f"source_{name}_bnds"] = xr.Variable(
                (f"source_{name}", BOUNDS), cell_bounds(source, name)
            )
        else:
            dims = ("source_y", "source_x")
            out[f"source_{name}"] = xr.Variable(dims, source[name].values, plain)
    return out


def axis_entries(
    source: xr.Dataset | xr.DataArray, target: xr.Dataset | xr.DataArray, name: str, method: str
) -> Entries:
    """Weights along ``lat`` or ``lon``: target index, source index, share; ordered by both."""
    cells = cell_bounds(source, name)
    _require_apart(cells, name)
    if method == "conservative":
        entries = _overlaps(cells, cell_bounds(target, name), name)
    elif method == "bilinear":
        entries = _neighbours(source, np.asarray(target[name].values, dtype="float64"), name)
    else:
        entries = _holders(cells, np.asarray(target[name].values, dtype="float64"), name)
    order = np.lexsort((entries[1], entries[0]))
    return entries[0][order], entries[1][order], entries[2][order]


def _require_apart(cells: np.ndarray, name: str) -> None:
    """Raise where source cells overlap: their means would be counted twice."""
    low, high = cells[np.argsort(cells[:, 0])].T
    excess = high[:-1] - low[1:]
    if np.any(excess > SAME * (high - low)[:-1]):
        at = int(np.argmax(excess))
        raise RegionError(
            f"cells of the source overlap along {name!r}: one ends at {high[at]:g}, the next "
            f"begins at {low[at + 1]:g}. Correct or drop its bounds: ds.drop_vars('{name}_bnds')."
        )


def _turned(values: np.ndarray, start: float) -> np.ndarray:
    """Longitudes in ``start`` to ``start + 360``; a hair west of the start is at it."""
    return (values - start + 1e-9) % 360.0 - 1e-9


def _overlaps(cells: np.ndarray, wanted: np.ndarray, name: str) -> Entries:
    """Share of each source cell in each target cell that it meets."""
    if name == "lat":
        return _shares(cells, wanted, _height)
    start = cells[0, 0]
    cells, wanted = (
        _turned(bounds[:, :1], start) + (bounds - bounds[:, :1]) for bounds in (cells, wanted)
    )
    # a target cell may reach over the end of the circle into its beginning
    rounds = [_shares(cells, wanted - turn, _width) for turn in (0.0, 360.0)]
    target, source, share = (np.concatenate(parts) for parts in zip(*rounds, strict=True))
    return target, source, share


def _width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return high - low


def _shares(
    cells: np.ndarray, wanted: np.ndarray, measure: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Entries:
    """Pairs of intervals that overlap, and the measure of the overlap over that of the wanted."""
    order = np.argsort(cells[:, 0])
    low, high = cells[order].T
    first = np.searchsorted(high, wanted[:, 0], side="right")
    count = np.maximum(np.searchsorted(low, wanted[:, 1], side="left") - first, 0)
    target = np.repeat(np.arange(len(wanted)), count)
    position = np.arange(target.size) - np.repeat(np.cumsum(count) - count - first, count)
    part = measure(
        np.maximum(low[position], wanted[target, 0]), np.minimum(high[position], wanted[target, 1])
    )
    share = part / measure(wanted[:, 0], wanted[:, 1])[target]
    kept = share > 1e-12  # what rounding leaves of edges that meet
    return target[kept], order[position][kept], share[kept]


def _neighbours(grid: xr.Dataset | xr.DataArray, wanted: np.ndarray, name: str) -> Entries:
    """The two source centres about each target centre and their linear weights."""
    centre = np.asarray(grid[name].values, dtype="float64")
    if centre.size < 2:
        raise DimensionError(
            f"bilinear interpolation needs at least two cells along {name!r}; found one. "
            "Type method='conservative' or 'nearest'."
        )
    order = np.argsort(centre)
    points = centre[order]
    if name == "lon":
        order, points, gaps, closed = around(centre)
        if closed:
            order, points = np.append(order, order[0]), np.append(points, points[0] + 360.0)
        slack = SAME * float(gaps.min())
        wanted = (wanted - points[0] + slack) % 360.0 - slack + points[0]
    left = np.clip(np.searchsorted(points, wanted, side="right") - 1, 0, points.size - 2)
    share = (wanted - points[left]) / (points[left + 1] - points[left])
    inside = (share > -SAME) & (share < 1.0 + SAME)
    share = np.clip(share, 0.0, 1.0)
    target = np.tile(np.arange(wanted.size), 2)
    source = np.concatenate([order[left], order[left + 1]])
    weight = np.concatenate([1.0 - share, share])
    kept = np.tile(inside, 2) & (weight > 0.0)
    return target[kept], source[kept], weight[kept]


def _holders(cells: np.ndarray, wanted: np.ndarray, name: str) -> Entries:
    """The source cell that holds each target centre, with weight 1."""
    if name == "lon":
        start = cells[0, 0]
        cells = _turned(cells[:, :1], start) + (cells - cells[:, :1])
        wanted = _turned(wanted, start)
    order = np.argsort(cells[:, 0])
    low, high = cells[order].T
    at = np.clip(np.searchsorted(low, wanted, side="right") - 1, 0, None)
    target = np.flatnonzero((wanted >= low[at]) & (wanted <= high[at]))
    return target, order[at[target]], np.ones(target.size)
