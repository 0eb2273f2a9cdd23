"""Evenly spaced grids put north up, and the pixels of a raster that they are brought onto."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from ._cf import crs_name
from ._checks import same_units
from .errors import DataError, DimensionError, RegionError, UnitsError, UnknownNameError
from .masks import cell_bounds

_MAX_PIXELS = 10**8


@dataclass(frozen=True)
class Cells:
    """An evenly spaced grid put north up: outer edges, steps, and the order of its indices."""

    crs: Any
    left: float
    top: float
    dx: float
    dy: float
    rows: np.ndarray
    columns: np.ndarray
    lonlat: bool = False

    @property
    def circle(self) -> bool:
        return self.lonlat and abs(self.dx * self.columns.size - 360) < 0.01 * self.dx

    @property
    def right(self) -> float:
        return self.left + self.dx * self.columns.size

    @property
    def bottom(self) -> float:
        return self.top - self.dy * self.rows.size


@dataclass(frozen=True)
class Pixels:
    """Pixels of the files; ``columns`` are those of the cells, if these stay as they are."""

    crs: Any
    left: float
    top: float
    dx: float
    dy: float
    width: int
    height: int
    columns: np.ndarray | None = None


def transform_of(grid: Cells | Pixels) -> Any:
    """Affine transform from column and row to coordinates."""
    from affine import Affine

    return Affine(grid.dx, 0.0, grid.left, 0.0, -grid.dy, grid.top)


def parse_crs(text: str) -> Any:
    """Coordinate reference system of rasterio, or an error that says what to type."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise UnknownNameError(
            f"crs needs a coordinate reference system; got {text!r} ({error}). "
            "Type for instance crs='EPSG:3338'."
        ) from error


def grid_cells(ds: xr.Dataset, y: str, x: str) -> Cells:
    """Cells of ``lat, lon`` in degrees of WGS84, or of ``y, x`` with their grid mapping."""
    crs, lonlat = (parse_crs("EPSG:4326"), True) if y == "lat" else _own_crs(ds)
    rows, south, dy = _even(ds, y, np.asarray(ds[y].values, dtype="float64"))
    top = south + dy * rows.size
    if lonlat and max(abs(south + dy / 2), abs(top - dy / 2)) > 90.01:
        raise RegionError(
            f"{y!r} spans {south:g} to {top:g}, which are no latitudes: are latitude and "
            f"longitude swapped? Type ds.rename({y}={x!r}, {x}={y!r})."
        )
    across = np.asarray(ds[x].values, dtype="float64")
    columns, left, dx = _even(ds, x, _unwrapped(across) if lonlat else across)
    return Cells(crs, left, top, dx, dy, rows[::-1], columns, lonlat)


def _own_crs(ds: xr.Dataset) -> tuple[Any, bool]:
    """Projection that the Dataset names, and whether it is longitude and latitude."""
    from pyproj import CRS

    name = crs_name(ds)
    if name is None:
        raise DimensionError(
            "to_geotiff needs the projection of data on ('y', 'x'); there is no 'crs'. "
            "Type ds = ds.rio.write_crs('EPSG:3338') with the code of yours."
        )
    projection = CRS.from_cf(ds[name].attrs)
    units = str(ds["x"].attrs.get("units", "m"))
    if projection.is_projected and not same_units(units, "m"):
        raise UnitsError(f"'x' and 'y' need metres; found {units!r}. Multiply them first.")
    lonlat = projection.is_geographic and not projection.is_derived
    return parse_crs(projection.to_wkt()), lonlat


def _unwrapped(lon: np.ndarray) -> np.ndarray:
    """Longitudes on from the widest gap, in one piece wherever the circle was cut."""
    turned = np.sort(lon % 360)
    gaps = np.diff(turned, append=turned[0] + 360)
    start = turned[(int(np.argmax(gaps)) + 1) % turned.size]
    return (lon - start + 1e-6) % 360 - 1e-6 + start


def _even(ds: xr.Dataset, name: str, centre: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Ascending order, first edge and step of an evenly spaced axis."""
    order = np.argsort(centre)
    if centre.size == 1:  # nothing but bounds says how wide the cell is
        low, high = cell_bounds(ds, name)[0]
        return order, float(low), float(high - low)
    steps = np.diff(centre[order])
    step = float(steps.mean())
    if not np.isfinite(step) or step <= 0 or np.abs(steps - step).max() > 0.01 * step:
        raise RegionError(
            f"a GeoTIFF needs evenly spaced cells; {name!r} has steps of {steps.min():g} to "
            f"{steps.max():g}. Regrid the data to an even grid first."
        )
    return order, float(centre[order[0]]) - step / 2, step


def target_pixels(cells: Cells, crs: Any, resolution: float | None) -> Pixels:
    """Pixels in ``crs`` that hold all cells; the cells themselves where nothing has to change."""
    if resolution is None and crs == cells.crs:
        return _as_they_are(cells)
    if resolution is not None and not resolution > 0:
        raise DataError(f"resolution needs a positive number of units of crs; got {resolution}.")
    side = resolution or _side(cells, crs)
    left, bottom, right, top = (edge / side for edge in _extent(cells, crs))
    if not np.all(np.isfinite([left, bottom, right, top])):
        raise DataError("the grid reaches beyond what crs can show. Select fewer latitudes.")
    west, south = np.floor(left + 1e-6), np.floor(bottom + 1e-6)
    width, height = int(np.ceil(right - 1e-6) - west), int(np.ceil(top - 1e-6) - south)
    if width * height > _MAX_PIXELS:
        raise DataError(
            f"a file would have {width:.4g} x {height:.4g} pixels of {side:g}; pass a larger "
            "resolution, or select fewer latitudes."
        )
    return Pixels(crs, west * side, (south + height) * side, side, side, width, height)


def _as_they_are(cells: Cells) -> Pixels:
    """The cells as pixels, none of them changed; longitudes come to -180..180."""
    size, columns, left = cells.columns.size, np.arange(cells.columns.size), cells.left
    if cells.lonlat:
        west = -180 - 0.51 * cells.dx  # a cell may lie astride the dateline
        left = (cells.left - west) % 360 + west
        if cells.circle or left + size * cells.dx > 180 + 0.51 * cells.dx:
            # a row of the whole circle, in which each cell has its place
            size = round(360 / cells.dx)
            if abs(size * cells.dx - 360) > 0.01 * cells.dx:
                raise RegionError(
                    f"the grid crosses the dateline, and steps of {cells.dx:g} do not fill the "
                    "circle. Type crs='EPSG:3338' or 'EPSG:3995', or give a resolution."
                )
            steps = int(np.floor((left + 180) / cells.dx + 0.51))
            columns = (columns + steps) % size
            left -= steps * cells.dx
    height = cells.rows.size
    return Pixels(cells.crs, left, cells.top, cells.dx, cells.dy, size, height, columns)


def _shifted(cells: Cells) -> Cells:
    """Cells with longitudes counted from their middle, so that they cross no dateline."""
    if not cells.lonlat:
        return cells
    half = cells.dx * cells.columns.size / 2
    middle = (cells.left + half + 180) % 360 - 180
    crs = parse_crs(f"+proj=longlat +datum=WGS84 +pm={middle:.9f} +no_defs")
    return replace(cells, crs=crs, left=-half)


def _extent(cells: Cells, crs: Any) -> tuple[float, float, float, float]:
    from rasterio.warp import transform_bounds

    cells = _shifted(cells)
    low, high = cells.bottom, cells.top
    if cells.lonlat:
        low, high = max(low, -90.0), min(high, 90.0)
    box = transform_bounds(cells.crs, crs, cells.left, low, cells.right, high, densify_pts=200)
    left, bottom, right, top = box
    if not crs.is_projected and (cells.circle or left >= right):
        left, right = -180.0, 180.0
    return left, bottom, right, top


def _side(cells: Cells, crs: Any) -> float:
    """Side of a square as large as the cell in the middle, to two digits."""
    from rasterio.warp import transform

    cells = _shifted(cells)
    x = cells.left + cells.dx * (cells.columns.size // 2 + np.array([0, 1, 1, 0]))
    y = cells.top - cells.dy * (cells.rows.size // 2 + np.array([0, 0, 1, 1]))
    xs, ys = (np.asarray(v) for v in transform(cells.crs, crs, x.tolist(), y.tolist()))
    area = abs(np.sum(xs * np.roll(ys, -1) - ys * np.roll(xs, -1))) / 2  # the surveyor's formula
    return float(f"{np.sqrt(area):.2g}")


def onto(
    values: np.ndarray, cells: Cells, pixels: Pixels, *, missing: float, resampling: str
) -> np.ndarray:
    """Values ``(band, row, column)`` of the cells as those of the pixels; ``missing`` outside."""
    from rasterio.warp import Resampling, reproject

    shape = (len(values), pixels.height, pixels.width)
    out = np.full(shape, missing, dtype=values.dtype)
    if pixels.columns is not None:
        out[:, :, pixels.columns] = values
        return out
    cells = _shifted(cells)
    if cells.circle:  # a column more on either side, so that there is no seam
        values = np.concatenate([values[:, :, -1:], values, values[:, :, :1]], axis=2)
        cells = replace(cells, left=cells.left - cells.dx)
    reproject(
        values,
        out,
        src_transform=transform_of(cells),
        src_crs=cells.crs,
        src_nodata=missing,
        dst_transform=transform_of(pixels),
        dst_crs=pixels.crs,
        dst_nodata=missing,
        resampling=Resampling[resampling],
    )
    return out
