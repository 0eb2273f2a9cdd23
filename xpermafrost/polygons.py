"""Polygons as regions, and their exact overlap with the cells of a grid.

Outlines are longitude and latitude in EPSG:4326, and their edges are straight in these. A ring
may leave -180..180, on which the grid's longitudes need not lie either: both are compared on the
circle. So a region across the dateline is two parts that end at +-180 (as in RFC 7946), or one
ring beyond 180.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from ._checks import choose
from ._optional import require
from .errors import PermafrostWarning, RegionError
from .regions import EARTH_RADIUS

#: Semi-major axis [m] and squared eccentricity of the ellipsoid.
WGS84 = (6_378_137.0, 0.006_694_379_990_14)
#: Share of a cell below which an overlap is the rounding of coordinates [1].
TINY = 1e-11


@dataclass(frozen=True)
class Polygons:
    """Regions with any outline; :func:`xpermafrost.as_regions` reads them from files and frames.

    Parameters
    ----------
    names : tuple of str
        Labels, each once.
    geometries : tuple of shapely Polygon or MultiPolygon
        Longitude and latitude [degrees], EPSG:4326. They may overlap, see :meth:`overlaps`.
        An outline that crosses itself is repaired by ``shapely.make_valid``, with a warning.
    dim : str
        Dimension of the names in what is reduced.

    Raises
    ------
    RegionError
        If names do not fit, or if an outline is empty, no polygon, off the globe, or has an edge
        of more than half the circle: whether that one crosses the dateline cannot be known.

    Examples
    --------
    >>> import shapely
    >>> basin = Polygons(("Yukon",), (shapely.box(-165, 61, -140, 66),))
    >>> basin
    Polygons(names=('Yukon',), dim='region')
    >>> (basin.area() / 1e9).values.round(1).tolist()  # 1000 km2
    [693.7]
    """

    names: tuple[str, ...]
    geometries: tuple[Any, ...] = field(repr=False)
    dim: str = "region"

    def __post_init__(self) -> None:
        names, geometries = tuple(self.names), tuple(self.geometries)
        wrong = [name for name in names if not isinstance(name, str) or not name.strip()]
        if wrong or not names or len(names) != len(geometries):
            raise RegionError(
                f"{len(geometries)} polygons need as many names, all of them text; got {names}. "
                "Type for instance xp.as_regions({'Yukon': polygon})."
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RegionError(
                f"names of regions must differ; {twice} occur more than once. Join their parts "
                "first, frame.dissolve(by=...), or choose another column, as_regions(names=...)."
            )
        sound = tuple(_sound(g, name) for g, name in zip(geometries, names, strict=True))
        object.__setattr__(self, "names", tuple(str(name) for name in names))
        object.__setattr__(self, "geometries", sound)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def coords(self) -> dict[Hashable, xr.Variable]:
        """Coordinates that a reduced Dataset carries: names, and a point inside each region."""
        import shapely

        points = shapely.get_coordinates([shapely.point_on_surface(g) for g in self.geometries])
        lon = (points[:, 0] + 180.0) % 360.0 - 180.0
        about = "a point inside the region"
        return {
            self.dim: xr.Variable(self.dim, np.asarray(self.names), {"long_name": "region"}),
            "lat": xr.Variable(
                self.dim,
                points[:, 1],
                {"standard_name": "latitude", "units": "degrees_north", "long_name": about},
            ),
            "lon": xr.Variable(
                self.dim,
                lon,
                {"standard_name": "longitude", "units": "degrees_east", "long_name": about},
            ),
        }

    def area(self, *, figure: str = "ellipsoid") -> xr.DataArray:
        """Area [m2] of every region, dims ``(region,)``; see :func:`ring_area`.

        Parameters
        ----------
        figure : {"ellipsoid", "sphere"}
            WGS84: the true area; or the sphere of the mean radius, on which the weights of a
            grid are, as climate models have it. There, areas at 65 degN are 0.65 % smaller.
        """
        return area_of(self, [area_within(g, figure) for g in self.geometries], figure)

    def overlap(self, lat_bounds: np.ndarray, lon_bounds: np.ndarray) -> np.ndarray:
        """Area [m2] of every grid cell inside every region, shape ``(region, lat, lon)``.

        Exact for edges straight in longitude and latitude, on the sphere (see
        ``_polygon_kernels``): cells of any size, in any order, on any cut of the circle.
        """
        lat, lon = _Axis.of(lat_bounds), _Axis.of(lon_bounds)
        out = np.zeros((len(self), len(lat_bounds), len(lon_bounds)))
        for area, geometry in zip(out, self.geometries, strict=True):
            _add_overlap(area, geometry, lat, lon)
        return out

    def overlaps(self) -> xr.DataArray:
        """Area [m2] that each two regions share, dims ``(region, other_region)``; 0 with itself.

        Neighbours whose outlines differ in the last digits share less than a millionth of the
        smaller one; that is taken for 0.
        """
        shared = np.zeros((len(self), len(self)))
        for one, two, area in self.overlapping:
            i, j = self.names.index(one), self.names.index(two)
            shared[i, j] = shared[j, i] = area
        names = np.asarray(self.names)
        other = f"other_{self.dim}"
        return xr.DataArray(
            shared,
            dims=(self.dim, other),
            coords={self.dim: names, other: names},
            name="overlap",
            attrs={"units": "m2", "long_name": "area that two regions share"},
        )

    @cached_property
    def overlapping(self) -> list[tuple[str, str, float]]:
        """Pairs of regions that overlap, and the area [m2] that they share."""
        members = zip(self.names, self.geometries, strict=True)
        return [
            (one, two, area)
            for (one, a), (two, b) in combinations(members, 2)
            if (area := _shared_area(a, b)) > 0.0
        ]

    def plot(self, ax: Any = None) -> Any:
        """Outlines and names on matplotlib axes, not torn at the dateline; returns the axes."""
        return plot_outlines(self.names, self.geometries, ax)


def area_of(regions: Any, values: Sequence[float], figure: str) -> xr.DataArray:
    """Areas [m2] of a region set, labelled."""
    return xr.DataArray(
        list(values),
        dims=(regions.dim,),
        coords={name: v for name, v in regions.coords.items() if v.dims == (regions.dim,)},
        name="area",
        attrs={"units": "m2", "long_name": f"area on the {figure}"},
    )


def zone_area(lat: np.ndarray | float, figure: str) -> np.ndarray:
    """Area [m2] between the equator and a latitude [degrees], for each radian of longitude.

    On a sphere ``R^2 sin(lat)``; on the ellipsoid ``a^2 q / 2``, where
    ``q = (1 - e^2) (s / (1 - e^2 s^2) + artanh(e s) / e)`` and ``s = sin(lat)``
    (Snyder 1987, eq. 3-12).

    Examples
    --------
    >>> round(float(4 * np.pi * zone_area(90.0, "ellipsoid")) / 1e12, 4)  # the Earth
    510.0656
    """
    s = np.sin(np.deg2rad(lat))
    if choose("figure of the Earth", figure, ("ellipsoid", "sphere")) == "sphere":
        return EARTH_RADIUS**2 * s
    e = np.sqrt(WGS84[1])
    return 0.5 * WGS84[0] ** 2 * (1 - e**2) * (s / (1 - (e * s) ** 2) + np.arctanh(e * s) / e)


def ring_area(ring: np.ndarray, figure: str) -> float:
    """Area [m2] inside a closed ring of (lon, lat) [degrees]; positive if counterclockwise.

    By Green's theorem it is minus the closed integral of :func:`zone_area` over longitude. Edges
    are straight in longitude and latitude, so that the integral along one is its width times the
    mean of a smooth function: Gauss-Legendre with 12 nodes, exact to rounding.

    Examples
    --------
    >>> half = np.array([[0, 0], [360, 0], [360, 90], [0, 90], [0, 0.0]])
    >>> round(ring_area(half, "sphere") / (2 * np.pi * EARTH_RADIUS**2), 12)
    1.0
    """
    nodes, weights = np.polynomial.legendre.leggauss(12)
    lon, lat = np.deg2rad(ring[:, 0]), ring[:, 1]
    places = 0.5 * (lat[1:] + lat[:-1])[:, None] + 0.5 * np.diff(lat)[:, None] * nodes
    return float(-0.5 * np.diff(lon) @ (zone_area(places, figure) @ weights))


def area_within(geometry: Any, figure: str) -> float:
    """Area [m2] of a polygon or of several."""
    return sum(-sign * ring_area(ring, figure) for ring, sign in _rings(geometry))


def _rings(geometry: Any) -> list[tuple[np.ndarray, float]]:
    """Rings, and the sign by which the integral of sin(lat) d(lon) counts: holes take away."""
    found = []
    for part in polygons_of(geometry):
        for ring, outer in [(part.exterior, True), *((hole, False) for hole in part.interiors)]:
            sign = -1.0 if ring.is_ccw == outer else 1.0
            found.append((np.asarray(ring.coords)[:, :2], sign))
    return found


def polygons_of(geometry: Any) -> list[Any]:
    """Polygons of a geometry; points and lines (what a cut may leave) have no area."""
    members = getattr(geometry, "geoms", (geometry,))
    if geometry.geom_type == "GeometryCollection":
        return [part for member in members for part in polygons_of(member)]
    return [part for part in members if part.geom_type == "Polygon" and not part.is_empty]


def joined(geometries: Iterable[Any]) -> Any:
    """One Polygon or MultiPolygon of all that has an area."""
    import shapely

    return shapely.union_all([part for geometry in geometries for part in polygons_of(geometry)])


def turned(geometry: Any, turn: float) -> Any:
    """A geometry ``turn`` degrees further east."""
    import shapely

    return shapely.transform(geometry, lambda xy: xy + np.array([turn, 0.0]))


def shared(one: Any, other: Any) -> Any:
    """Intersection on the circle, in the longitudes of ``one``."""
    west, _, east, _ = one.bounds
    low, _, high, _ = other.bounds
    turns = 360.0 * np.arange(np.ceil((west - high) / 360.0), np.floor((east - low) / 360.0) + 1)
    return joined(one.intersection(turned(other, float(turn))) for turn in turns)


def _shared_area(one: Any, other: Any) -> float:
    both = shared(one, other)
    area, first, second = (area_within(g, "ellipsoid") for g in (both, one, other))
    return area if area > 1e-6 * min(first, second) else 0.0


@dataclass(frozen=True)
class _Axis:
    """Cells along one axis: all their edges, increasing, and which edges each cell lies between."""

    lines: np.ndarray
    low: np.ndarray
    high: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, bounds: np.ndarray) -> _Axis:
        low, high = np.sort(np.asarray(bounds, dtype="float64"), axis=1).T
        lines = np.unique(np.concatenate([low, high]))
        places = np.searchsorted(lines, low), np.searchsorted(lines, high)
        return cls(lines, *places, np.arange(low.size))

    def around(self, places: np.ndarray) -> _Axis:
        """The part of the axis that some places span; no cells where they lie beyond it."""
        first = max(int(np.searchsorted(self.lines, places.min(), side="right")) - 1, 0)
        last = int(np.searchsorted(self.lines, places.max(), side="left"))
        cells = np.flatnonzero((self.low < last) & (self.high > first))
        low, high = np.maximum(self.low[cells], first), np.minimum(self.high[cells], last)
        return _Axis(self.lines[first : last + 1], low - first, high - first, cells)

    def sums(self, values: np.ndarray, axis: int) -> np.ndarray:
        """From intervals between lines to cells: one each, unless cells overlap."""
        padding = [(0, 1) if k == axis else (0, 0) for k in range(values.ndim)]
        pairs = np.stack([self.low, self.high], axis=1).ravel()
        sums = np.add.reduceat(np.pad(values, padding), pairs, axis=axis)
        return np.take(sums, np.arange(0, pairs.size, 2), axis=axis)


def _add_overlap(out: np.ndarray, geometry: Any, lat: _Axis, lon: _Axis) -> None:
    """Fill ``out`` (lat, lon) with the area [m2] of each cell inside the geometry."""
    from ._polygon_kernels import ring_shares

    rings, signs = _turned(_rings(geometry), lon.lines[0], lon.lines[-1])
    if not rings:
        return
    places = np.concatenate(rings)
    lon, lat = lon.around(places[:, 0]), lat.around(places[:, 1])
    if not lon.cells.size or not lat.cells.size:
        return
    share = ring_shares(rings, signs, rows=lat.lines, columns=lon.lines)
    share[share < TINY] = 0.0
    height = EARTH_RADIUS**2 * np.diff(np.sin(np.deg2rad(lat.lines)))
    area = np.minimum(share, 1.0) * height[:, None] * np.deg2rad(np.diff(lon.lines))
    out[np.ix_(lat.cells, lon.cells)] = lon.sums(lat.sums(area, axis=0), axis=1)


def _turned(
    rings: list[tuple[np.ndarray, float]], west: float, east: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Rings on every turn of the circle that meets the grid's longitudes, and their signs."""
    found: list[tuple[np.ndarray, float]] = []
    for ring, sign in rings:
        low, high = ring[:, 0].min(), ring[:, 0].max()
        turns = np.arange(np.ceil((west - high) / 360.0), np.floor((east - low) / 360.0) + 1)
        found += [(ring + np.array([360.0 * turn, 0.0]), sign) for turn in turns]
    return [ring for ring, _ in found], np.array([sign for _, sign in found])


def _sound(geometry: Any, name: str) -> Any:
    """The geometry in two dimensions, checked, and repaired where it crosses itself."""
    import shapely

    kind = geometry.geom_type if isinstance(geometry, shapely.Geometry) else type(geometry).__name__
    if kind not in ("Polygon", "MultiPolygon"):
        raise RegionError(f"a region is a Polygon or a MultiPolygon; {name!r} is a {kind}.")
    geometry = shapely.force_2d(geometry)
    xy = shapely.get_coordinates(geometry)
    if geometry.is_empty or not len(xy):
        raise RegionError(f"the polygon of {name!r} is empty; leave the region out.")
    if not np.isfinite(xy).all() or np.abs(xy[:, 1]).max() > 90.0 or np.abs(xy[:, 0]).max() > 720.0:
        raise RegionError(
            f"the outline of {name!r} needs longitudes and latitudes [degrees]; found x "
            f"{xy[:, 0].min():g} to {xy[:, 0].max():g}, y {xy[:, 1].min():g} to "
            f"{xy[:, 1].max():g}. If they are projected, pass a GeoDataFrame that knows its CRS; "
            "if they are swapped, shapely.ops.transform(lambda y, x: (x, y), polygon)."
        )
    _refuse_jumps(geometry, name)
    if geometry.is_valid:
        return geometry
    repaired = joined([shapely.make_valid(geometry)])
    if repaired.is_empty:
        raise RegionError(f"the polygon of {name!r} has no area; leave the region out.")
    warnings.warn(
        f"the outline of {name!r} is invalid ({shapely.is_valid_reason(geometry)}) and was "
        "repaired by shapely.make_valid; look at it: regions.plot().",
        PermafrostWarning,
        stacklevel=5,
    )
    return repaired


def _refuse_jumps(geometry: Any, name: str) -> None:
    """An edge longer than half the circle may mean either way round; a full circle is meant."""
    for ring, _ in _rings(geometry):
        jump = np.abs(np.diff(ring[:, 0]))
        at = int(np.argmax(jump))
        if 180.0 < jump[at] < 360.0 - 1e-6:
            raise RegionError(
                f"the outline of {name!r} has an edge from {ring[at, 0]:g} to {ring[at + 1, 0]:g} "
                "degrees_east, more than half the circle. If it crosses the dateline, let "
                "longitudes go beyond 180 (shapely.transform(polygon, lambda xy: "
                "np.column_stack([xy[:, 0] % 360, xy[:, 1]]))), or pass the GeoDataFrame in the "
                "projection it came in. If it runs round the globe, add a vertex halfway: "
                "polygon.segmentize(90)."
            )


def plot_outlines(names: Sequence[str], geometries: Sequence[Any], ax: Any = None) -> Any:
    """Outlines and names; the map is cut where the regions leave the widest gap."""
    plt = require("matplotlib.pyplot", purpose="figures", install="pip install 'xpermafrost[plot]'")
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if ax is None:
        ax = plt.subplots(figsize=(7, 5), layout="constrained")[1]
    west = _quiet_meridian([part.bounds for g in geometries for part in polygons_of(g)])
    for k, (name, geometry) in enumerate(zip(names, geometries, strict=True)):
        parts = []
        for part in polygons_of(geometry):
            turns = np.ceil((west - part.bounds[0] - 1e-9) / 360.0)
            parts.append(turned(part, 360.0 * float(turns)))
        rings = [np.asarray(ring.coords) for p in parts for ring in (p.exterior, *p.interiors)]
        path = Path.make_compound_path(*(Path(ring, closed=True) for ring in rings))
        colour = f"C{k % 10}"
        ax.add_patch(PathPatch(path, facecolor=colour, alpha=0.3, edgecolor="none"))
        ax.add_patch(PathPatch(path, facecolor="none", edgecolor="0.25", linewidth=0.7))
        point = max(parts, key=lambda part: part.area).representative_point()
        size = 9 if len(names) <= 12 else 6
        ax.text(point.x, point.y, name, ha="center", va="center", fontsize=size)
    ax.autoscale_view()
    low, high = np.clip(ax.get_ylim(), -85.0, 85.0)
    ax.set_aspect(1.0 / np.cos(np.deg2rad(0.5 * (low + high))))
    ax.xaxis.set_major_formatter(lambda x, _: _meridian(x))
    ax.yaxis.set_major_formatter(
        lambda y, _: f"{abs(y):g}°{'N' if y > 0 else 'S' if y < 0 else ''}"
    )
    return ax


def _meridian(lon: float) -> str:
    wrapped = (lon + 180.0) % 360.0 - 180.0
    side = "" if wrapped in (0.0, -180.0) else "E" if wrapped > 0 else "W"
    return f"{abs(wrapped):g}°{side}"


def _quiet_meridian(bounds: list[tuple[float, float, float, float]]) -> float:
    """Longitude where a map's western edge belongs: the eastern end of the widest gap."""
    spans = sorted((low % 360.0, low % 360.0 + high - low) for low, _, high, _ in bounds)
    reach, widest, west = max(high for _, high in spans) - 360.0, -np.inf, 0.0
    for low, high in spans:
        if low - reach > widest:
            widest, west = low - reach, low
        reach = max(reach, high)
    return west if west <= 180.0 else west - 360.0
