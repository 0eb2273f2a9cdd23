"""Reading polygons: vector files, GeoDataFrames, regionmask, mappings; all become EPSG:4326."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._optional import require
from .errors import RegionError
from .polygons import Polygons, joined, polygons_of, shared
from .regions import LatitudeBands

#: Length to which edges are cut before they are reprojected, straight there, curved here [m].
SEGMENT = 10_000.0


def as_regions(
    obj: Any, *, names: str | Sequence[str] | None = None, dim: str = "region"
) -> LatitudeBands | Polygons:
    """Regions from whatever holds them.

    Parameters
    ----------
    obj : LatitudeBands, Polygons, GeoDataFrame, GeoSeries, path, regionmask.Regions or mapping
        Bands and Polygons are returned as they are. A path is that of a GeoJSON, GeoPackage or
        shapefile with one layer. A mapping holds shapely polygons by name, in EPSG:4326.
        Frames and files in another CRS are reprojected; edges, straight there, are first cut
        to 10 km, and rings are followed across the dateline and round a pole.
    names : str or sequence of str, optional
        Column of a frame or a file, by default ``name`` (in any case), else its text index;
        ``"abbrevs"`` of regionmask; or the names themselves.
    dim : str, default "region"
        Dimension of the names in what is reduced.

    Returns
    -------
    LatitudeBands or Polygons

    Raises
    ------
    RegionError
        If the object holds no regions, a file cannot be read, the CRS is not known, or names
        or outlines do not pass (see :class:`Polygons`).

    Examples
    --------
    >>> import shapely
    >>> as_regions({"Yukon": shapely.box(-165, 61, -140, 66)}).names
    ('Yukon',)
    """
    if isinstance(obj, LatitudeBands | Polygons):
        if names is not None or dim not in ("region", obj.dim):
            raise RegionError(
                f"{type(obj).__name__} has names and a dimension, {obj.dim!r}; for others type "
                "dataclasses.replace(regions, names=..., dim=...)."
            )
        return obj
    if isinstance(obj, str | os.PathLike):
        obj = _read_file(Path(obj))
    if isinstance(obj, Mapping):
        if names is not None:
            raise RegionError("the keys of a mapping are the names; leave names= out.")
        return Polygons(tuple(obj), tuple(obj.values()), dim)
    if hasattr(obj, "to_crs") and hasattr(obj, "geometry"):
        return Polygons(_frame_names(obj, names), tuple(_lonlat(obj.geometry)), dim)
    if hasattr(obj, "polygons") and hasattr(obj, "abbrevs") and hasattr(obj, "names"):
        known: Mapping[Any, Any] = {None: obj.names, "names": obj.names, "abbrevs": obj.abbrevs}
        if isinstance(names, str) and names not in known:
            raise RegionError(f"names of regionmask.Regions: 'names' or 'abbrevs', not {names!r}.")
        labels = known[names] if names is None or isinstance(names, str) else names
        return Polygons(tuple(labels), tuple(obj.polygons), dim)
    raise RegionError(
        "regions are xp.LatitudeBands((60, 65, 70)), xp.Polygons, a GeoDataFrame, the path of a "
        "GeoJSON, GeoPackage or shapefile, regionmask.Regions, or a dict of name and shapely "
        f"geometry; got {type(obj).__name__}."
    )


def _read_file(path: Path) -> Any:
    """The one layer of a vector file as a GeoDataFrame."""
    geopandas = require("geopandas", purpose="reading polygons", install="pip install geopandas")
    if not path.exists():
        raise RegionError(f"there is no file {str(path)!r} to read regions from.")
    try:
        layers = geopandas.list_layers(path)["name"].tolist()
        frame = geopandas.read_file(path) if len(layers) == 1 else None
    except Exception as error:  # whatever GDAL makes of a damaged or foreign file
        raise RegionError(
            f"{str(path)!r} cannot be read as polygons (GeoJSON, GeoPackage, shapefile): {error}"
        ) from error
    if frame is None:
        raise RegionError(
            f"{str(path)!r} has the layers {layers}; choose one: "
            "xp.as_regions(geopandas.read_file(path, layer=...))."
        )
    if not hasattr(frame, "geometry") or len(frame) == 0:
        raise RegionError(f"{str(path)!r} holds no polygons.")
    return frame


def _frame_names(frame: Any, names: str | Sequence[str] | None) -> tuple[str, ...]:
    if names is not None and not isinstance(names, str):
        return tuple(names)
    columns = [str(c) for c in getattr(frame, "columns", ()) if c != frame.geometry.name]
    if names is None:
        names = next((c for c in columns if c.lower() == "name"), None)
        if names is None:
            if len(frame) and all(isinstance(label, str) for label in frame.index):
                return tuple(frame.index)
            raise RegionError(
                f"which column names the regions? There is no 'name' among {columns}; "
                "type xp.as_regions(frame, names='COLUMN'), or names=['one', 'two', ...]."
            )
    if names not in columns:
        raise RegionError(f"there is no column {names!r} to name the regions; found {columns}.")
    missing = frame[names].isna()
    if missing.any():
        raise RegionError(f"the column {names!r} is empty in {int(missing.sum())} rows; fill it.")
    return tuple(str(value) for value in frame[names])


def _lonlat(series: Any) -> list[Any]:
    """Geometries of a GeoSeries in EPSG:4326."""
    if series.crs is None:
        raise RegionError(
            "the polygons have no coordinate reference system. If they are longitudes and "
            "latitudes, type frame.set_crs(4326); else set the one they are in."
        )
    if series.crs.equals("EPSG:4326", ignore_axis_order=True):
        return list(series)
    if not series.crs.is_projected:  # another datum: a small shift, no other turn of the circle
        return [_shifted(*pair) for pair in zip(series, series.to_crs(4326), strict=True)]
    series = _with_short_edges(series)
    return [geometry and _mended(geometry) for geometry in series.to_crs(4326)]


def _shifted(before: Any, after: Any) -> Any:
    """A geometry in another datum, each vertex in the turn of the circle that it came in."""
    import shapely

    if before is None:
        return None
    lon = shapely.get_coordinates(before)[:, 0]
    return shapely.transform(
        after, lambda xy: np.stack([xy[:, 0] + 360 * np.round((lon - xy[:, 0]) / 360), xy[:, 1]], 1)
    )


def _with_short_edges(series: Any) -> Any:
    west, south, east, north = series.total_bounds
    if max(abs(west), abs(south), abs(east), abs(north)) <= 360.0:
        raise RegionError(
            f"the polygons look like degrees (x {west:g} to {east:g}, y {south:g} to {north:g}), "
            f"but their CRS is {series.crs.to_string()}. If they are longitudes and latitudes, "
            "type frame.set_crs(4326, allow_override=True)."
        )
    metres = float(series.crs.axis_info[0].unit_conversion_factor)
    # no more vertices than are needed, whatever the extent
    return series.segmentize(max(SEGMENT / metres, max(east - west, north - south) / 5000))


def _mended(geometry: Any) -> Any:
    """A reprojected geometry with the rings joined that jump from 180 to -180 degrees_east."""
    import shapely

    parts = []
    for part in polygons_of(geometry):
        if not np.isfinite(shapely.get_coordinates(part)).all():
            return part  # named and refused with the others
        whole = shapely.make_valid(shapely.Polygon(_followed(np.asarray(part.exterior.coords))))
        for ring in part.interiors:
            hole = shapely.make_valid(shapely.Polygon(_followed(np.asarray(ring.coords))))
            whole = whole.difference(shared(whole, hole))
        parts.append(whole)
    return joined(parts) if parts else geometry


def _followed(ring: np.ndarray) -> np.ndarray:
    """Each vertex the short way from the last; a ring around a pole is closed along it."""
    lon, lat = np.unwrap(ring[:, 0], period=360.0), ring[:, 1]
    if abs(lon[-1] - lon[0]) < 180.0:
        return np.stack([lon, lat], axis=1)
    pole = 90.0 if lat.mean() > 0 else -90.0
    lon = np.concatenate([lon, [lon[-1], lon[0], lon[0]]])
    return np.stack([lon, np.concatenate([lat, [pole, pole, lat[0]]])], axis=1)
