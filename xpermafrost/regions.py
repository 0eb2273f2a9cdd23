"""Regions: latitude bands, and the area-weighted reduction of a grid to any regions.

A region set (bands here, ``polygons.Polygons``) knows its names and gives fractional weights on
a grid: cell area times overlap fraction. Times the share of land, they are computed once, kept
as data, and used in one pass over each variable.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from .errors import DimensionError, PermafrostWarning, RegionError
from .masks import cell_bounds, check_grid, grid_fields, on_grid, soil_share, warn_of_sea
from .schema import BOUNDS

if TYPE_CHECKING:
    from .polygons import Polygons

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
        if len(edges) < 2 or not all(a < b for a, b in pairwise(edges)):
            raise RegionError(
                f"latitude edges must increase from south to north; got {edges}. "
                "Type for instance LatitudeBands((60, 65, 70))."
            )
        if edges[0] < -90 or edges[-1] > 90:
            raise RegionError(f"latitude edges must lie in -90..90; got {edges}.")
        if self.lon is not None and not _is_span(self.lon):
            raise RegionError(
                f"lon of bands is a western and an eastern limit, at most 360 degrees apart; got "
                f"{self.lon}. Type for instance lon=(-168, -141), or (170, -140) over the dateline."
            )
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

    @property
    def geometries(self) -> tuple[Any, ...]:
        """Outlines as shapely polygons, with a vertex every degree, so that they reproject."""
        import shapely

        west, east = self.lon or (-180.0, 180.0)
        east = west + ((east - west) % 360.0 or 360.0)
        boxes = [shapely.box(west, a, east, b) for a, b in pairwise(self.edges)]
        return tuple(box.segmentize(1.0) for box in boxes)

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

    def area(self, *, figure: str = "ellipsoid") -> xr.DataArray:
        """Area [m2] of every band, dims ``(band,)``; see :meth:`Polygons.area`."""
        from .polygons import area_of, zone_area

        zones = np.diff(zone_area(np.asarray(self.edges), figure))
        width = float(_lon_overlap(np.array([[-180.0, 180.0]]), self.lon)[0])
        return area_of(self, zones * np.deg2rad(width), figure)

    def clip(self, outline: Any) -> Polygons:
        """The parts of the bands inside an outline, such as that of a country.

        Parameters
        ----------
        outline : shapely geometry, or anything that :func:`xpermafrost.as_regions` reads
            Longitude and latitude; several regions count as one outline.

        Returns
        -------
        Polygons
            With the names and the dimension of the bands.

        Raises
        ------
        RegionError
            If a band lies outside the outline.

        Examples
        --------
        >>> import shapely
        >>> cut = LatitudeBands((60, 65, 70)).clip(shapely.box(-160, 62, -140, 75))
        >>> [geometry.bounds for geometry in cut.geometries]
        [(-160.0, 62.0, -140.0, 65.0), (-160.0, 65.0, -140.0, 70.0)]
        """
        import shapely

        from .polygons import Polygons, joined, shared
        from .region_files import as_regions

        if not isinstance(outline, shapely.Geometry):
            outline = joined(as_regions(outline).geometries)
        pieces = tuple(shared(outline, box) for box in self.geometries)
        outside = [n for n, piece in zip(self.names, pieces, strict=True) if piece.is_empty]
        if outside:
            raise RegionError(f"the bands {outside} lie outside the outline; leave them out.")
        return Polygons(self.names, pieces, self.dim)

    def plot(self, ax: Any = None) -> Any:
        """Outlines and names on matplotlib axes; returns the axes."""
        from .polygons import plot_outlines

        return plot_outlines(self.names, self.geometries, ax)


def _is_span(lon: Any) -> bool:
    """Whether these are two longitudes, a span of the circle apart."""
    try:
        west, east = (float(limit) for limit in lon)
    except (TypeError, ValueError):
        return False
    return max(abs(west), abs(east)) <= 540.0 and west != east and east - west <= 360.0


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


def region_weights(
    grid: xr.Dataset | xr.DataArray,
    regions: Any,
    *,
    land: xr.DataArray | None = None,
    lake: xr.DataArray | None = None,
    glacier: xr.DataArray | None = None,
) -> xr.DataArray:
    """Weights of every grid cell in every region: cell area x overlap fraction x share of soil.

    Parameters
    ----------
    grid : Dataset or DataArray
        With 1-D ``lat`` and ``lon`` [degrees], evenly spaced or not, in any order and on any cut of
        the circle; bounds are used where present.
    regions : LatitudeBands, Polygons, or anything that :func:`xpermafrost.as_regions` reads
    land, lake, glacier : DataArray, optional
        Shares of the cell (0..1 or %) or boolean masks ``(lat, lon)``. The share of soil is land x
        (1 - lake) x (1 - glacier); a mask that is not given counts as all land, no lake, no
        glacier.

    Returns
    -------
    DataArray
        ``(region, lat, lon)`` [m2], eager.

    Raises
    ------
    RegionError
        If a region has no weight anywhere on the grid.
    DimensionError
        If the grid is rotated or curvilinear.

    Warns
    -----
    PermafrostWarning
        If less than 99 % of a polygon, or of the latitudes of a band, lies on the grid.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> grid = xr.Dataset(coords={"lat": [61.0, 63.0], "lon": [-150.0, -148.0]})
    >>> weights = region_weights(grid, LatitudeBands((60, 61, 64)))
    >>> weights.dims, bool(weights.sel(band="60.0-61.0N", lat=63.0).max() == 0)
    (('band', 'lat', 'lon'), True)
    """
    from .region_files import as_regions

    regions = as_regions(regions)
    check_grid(grid, step="a regional mean")
    values = regions.overlap(cell_bounds(grid, "lat"), cell_bounds(grid, "lon"))
    where = (
        f"(lat {float(grid['lat'].min()):g} to {float(grid['lat'].max()):g}, lon "
        f"{float(grid['lon'].min()):g} to {float(grid['lon'].max()):g})"
    )
    _name_the_empty(values, regions, f"meet no cell of the grid {where}")
    _warn_of_parts(values, regions, where, cell_bounds(grid, "lon"))
    share, masks = soil_share(grid, land=land, lake=lake, glacier=glacier)
    if share is not None:
        values = values * share
        _name_the_empty(values, regions, f"have no land on the grid {where}")
    made = f"cell area x overlap fraction{' x ' if masks else ''}{masks}"
    return xr.DataArray(
        values,
        dims=(regions.dim, "lat", "lon"),
        coords={regions.dim: regions.coords[regions.dim], "lat": grid["lat"], "lon": grid["lon"]},
        attrs={"units": "m2", "long_name": made},
        name="weights",
    )


def _name_the_empty(values: np.ndarray, regions: LatitudeBands | Polygons, what: str) -> None:
    totals = values.sum(axis=(1, 2))
    empty = [n for n, total in zip(regions.names, totals, strict=True) if total <= 0]
    if empty:
        raise RegionError(
            f"the regions {empty} {what}. Choose regions inside the grid, or check the mask."
        )


def _warn_of_parts(
    values: np.ndarray, regions: LatitudeBands | Polygons, where: str, columns: np.ndarray
) -> None:
    whole = regions.area(figure="sphere").values
    if isinstance(regions, LatitudeBands):
        around = _lon_overlap(np.array([[-180.0, 180.0]]), regions.lon)[0]
        whole = whole * _lon_overlap(columns, regions.lon).sum() / around
    share = values.sum(axis=(1, 2)) / whole
    part = [f"{n!r} {100 * s:.0f} %" for n, s in zip(regions.names, share, strict=True) if s < 0.99]
    if part:
        warnings.warn(
            f"only a part lies on the grid {where}, and means are of that part: {', '.join(part)}.",
            PermafrostWarning,
            stacklevel=3,
        )


def reduce(
    ds: xr.Dataset,
    regions: Any,
    *,
    land: xr.DataArray | None = None,
    lake: xr.DataArray | None = None,
    glacier: xr.DataArray | None = None,
    weights: xr.DataArray | None = None,
) -> xr.Dataset:
    """Area-weighted means of every gridded variable over every region.

    A missing cell drops out of the numerator and of the denominator; a region without any
    valid cell is NaN. Each variable is read once. Lazy on dask, however it is chunked: a grid
    in several chunks gives sums of each, added up. Station Datasets (no ``lat``/``lon``
    dimensions) are returned as they are.

    Parameters
    ----------
    ds : Dataset
        Variables with dims ``lat, lon`` are reduced; others are kept.
    regions : LatitudeBands, Polygons, or anything that :func:`xpermafrost.as_regions` reads
    land, lake, glacier : DataArray, optional
        Shares or masks ``(lat, lon)``, see :func:`region_weights`; ``land`` is by default
        ``ds["sftlf"]`` where it is there.
    weights : DataArray, optional
        Weights made by :func:`region_weights`, to be used again; they hold the masks.

    Returns
    -------
    Dataset
        As ``ds`` with the dimension of the regions in place of ``lat, lon``. Its history says
        which masks were used and which regions overlap.

    Raises
    ------
    DimensionError
        If ``lat`` or ``lon`` is missing or 2-D, or a variable has one of them only.
    RegionError
        If a region lies off the grid, if the weights are of other regions, or a variable holds
        classes.

    Warns
    -----
    PermafrostWarning
        If climate-model surface temperature, over sea that of the water, comes without land mask.

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
    if isinstance(ds, xr.DataArray):
        raise DimensionError("reduce needs a Dataset; of a DataArray, da.permafrost.reduce(...).")
    if "station" in ds.dims and not {"lat", "lon"} <= set(ds.dims):
        return ds
    from .region_files import as_regions

    regions = as_regions(regions)
    check_grid(ds, step="reduce")
    if weights is None:
        land = ds.get("sftlf") if land is None else land
        warn_of_sea(ds, land)
        weights = region_weights(ds, regions, land=land, lake=lake, glacier=glacier)
    elif isinstance(weights, xr.Dataset):
        raise RegionError("weights= is a DataArray; of a file, xr.open_dataarray(path).")
    elif land is not None or lake is not None or glacier is not None:
        raise RegionError("weights hold the masks already; pass either weights= or masks.")
    return _reduced(ds, regions, on_grid(weights, ds, "weights"))


def _reduced(
    ds: xr.Dataset, regions: LatitudeBands | Polygons, weights: xr.DataArray
) -> xr.Dataset:
    from ._reduce_kernels import Runs

    known = weights[regions.dim].values.tolist() if regions.dim in weights.coords else []
    if list(weights.dims) != [regions.dim, "lat", "lon"] or known != list(regions.names):
        raise RegionError(
            f"the weights have dims {tuple(weights.dims)} and are of {known}; the regions are "
            f"{list(regions.names)} along {regions.dim!r}. Make them by region_weights."
        )
    if not bool((weights >= 0).all()):
        raise RegionError(
            "weights are areas, 0 or more, none missing. Make them by region_weights."
        )
    if regions.dim in ds.dims:
        raise RegionError(
            f"the Dataset has a dimension {regions.dim!r} already; name that of the regions "
            "otherwise: dataclasses.replace(regions, dim=...)."
        )
    gridded = grid_fields(ds)
    out = ds.drop_vars([n for n in ds.variables if {"lat", "lon"} & set(ds[n].dims)])
    mean = _means(gridded, Runs.of(weights.values), regions.dim)
    made = str(weights.attrs.get("long_name", "given"))
    land = "" if "land fraction" in made or made == "given" else ", no land mask"
    note = f"mean over {len(regions)} regions, weights = {made}{land}"
    history = [line for line in [str(ds.attrs.get("history", ""))] if line]
    attrs = {
        "regions": ", ".join(regions.names),
        "history": "\n".join(
            [*history, f"xpermafrost.reduce: {'; '.join([note, *_overlap_notes(regions)])}"]
        ),
    }
    # without how a file held the grid: its chunks, and the width of its text
    return out.assign(mean).assign_coords(regions.coords).assign_attrs(attrs).drop_encoding()


def _means(gridded: dict[Hashable, xr.DataArray], runs: Any, dim: str) -> dict[Hashable, Any]:
    """Means by name, with the regions first and time last."""
    from ._reduce_kernels import means

    found = means([(da.variable.data, da.dims) for da in gridded.values()], runs, dim)
    out = {}
    for (name, da), (dims, data) in zip(gridded.items(), found, strict=True):
        order = [*(d for d in dims if d != "time"), *(d for d in dims if d == "time")]
        out[name] = xr.Variable(dims, data, da.attrs).transpose(*order)
    return out


def _overlap_notes(regions: LatitudeBands | Polygons) -> list[str]:
    """What the history says of regions that count the same cells."""
    pairs = [] if isinstance(regions, LatitudeBands) else regions.overlapping
    told = [f"{a!r} and {b!r} overlap by {area / 1e6:.4g} km2" for a, b, area in pairs[:3]]
    return told + ([f"and {len(pairs) - 3} more pairs overlap"] if len(pairs) > 3 else [])


__all__ = ["EARTH_RADIUS", "LatitudeBands", "alaska_bands", "reduce", "region_weights"]
