"""Maps of regions and of grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .._optional import require
from ..errors import DataError, DimensionError, RegionError
from ..schema import location_dims
from ._common import axes_of, entitle, only_dims


def region_map(
    values: xr.DataArray,
    regions: Any = None,
    *,
    ax: Any = None,
    cmap: str | None = None,
    title: str | None = None,
) -> Any:
    """A map of one value a region, or of a grid. Computes.

    Parameters
    ----------
    values : DataArray
        ``(lat, lon)``, degrees; or along the dimension of ``regions``, as ``(band)``.
    regions : LatitudeBands or Polygons, optional
        Outlines; needed unless ``values`` are on a grid, whose names are then not drawn.
    ax : matplotlib.axes.Axes, optional
        By default new ones, with degrees at their true ratio in the middle of the map. A grid
        is drawn on axes of cartopy in their projection.
    cmap : str, optional
        By default red and blue around 0 where the values have both signs, else "viridis".
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DimensionError
        For dims that a map has not, as ``time``.
    RegionError
        If values along regions come without these, or with others.
    DataError
        If no value is known.

    Examples
    --------
    >>> from xpermafrost.regions import LatitudeBands
    >>> bands = LatitudeBands((60, 65, 70), lon=(-160, -140))
    >>> magt = xr.DataArray([1.0, -3.0], {"band": list(bands.names)}, ("band",), name="magt")
    >>> ax = region_map(magt.assign_attrs(units="degC"), bands)
    >>> [text.get_text() for text in ax.texts]
    ['60.0-65.0N\\n1.0', '65.0-70.0N\\n-3.0']
    """
    if {"lat", "lon"} <= set(values.dims):
        only_dims(values, ("lat", "lon"), step="region_map")
    elif len(location_dims(values)) != 1:
        raise DimensionError(
            f"region_map needs the dims ('lat', 'lon') or one of regions; {values.name!r} has "
            f"{values.dims}. Reduce it first: ds.permafrost.reduce(xp.alaska_bands()). Stations: "
            "xp.to_vector."
        )
    else:
        only_dims(values, location_dims(values), step="region_map")
    values = values.compute()
    known = values.values[np.isfinite(values.values)]
    if not known.size:
        raise DataError(f"region_map found no value in {values.name!r} that is known.")
    low, high = float(known.min()), float(known.max())
    both = low < 0.0 < high
    if both:
        high = max(-low, high)
        low = -high
    look = {"vmin": low, "vmax": high, "cmap": cmap or ("RdBu_r" if both else "viridis")}
    draw = _grid if "lat" in values.dims else _regions
    ax, painted = draw(ax, values, regions, look)
    units = values.attrs.get("units")
    units = "degC" if units == "degree_Celsius" else units
    name = str(values.attrs.get("long_name", values.name or "value"))
    label = f"{name} [{units}]" if units else name
    ax.figure.colorbar(painted, ax=ax, label=label, shrink=0.8)
    made = [str(values.attrs[key]) for key in ("model", "method") if key in values.attrs]
    entitle(ax, title, ", ".join(made), values)
    return ax


def _grid(ax: Any, values: xr.DataArray, regions: Any, look: dict[str, Any]) -> tuple[Any, Any]:
    field = values.transpose("lat", "lon").sortby(["lat", "lon"])
    lat, lon = field["lat"].values, field["lon"].values
    ax = axes_of(ax, (6.4, 5.0), layout="compressed")
    ax.set_facecolor("0.85")
    if hasattr(ax, "projection"):
        return ax, _projected(ax, field, regions, look)
    mesh = ax.pcolormesh(lon, lat, np.ma.masked_invalid(field.values), shading="nearest", **look)
    if regions is not None:
        from matplotlib.collections import PolyCollection

        from ..polygons import polygons_of

        rings = [
            np.asarray(part.exterior.coords) + np.array([turn, 0.0])
            for turn in (-360.0, 0.0, 360.0)  # the grid may count from 0 or from -180
            for geometry in regions.geometries
            for part in polygons_of(geometry)
        ]
        limits = ax.axis()
        ax.add_collection(PolyCollection(rings, facecolors="none", edgecolors="black", lw=0.7))
        ax.axis(limits)
    ax.set_aspect(1.0 / np.cos(np.deg2rad(np.clip(0.5 * (lat[0] + lat[-1]), -80, 80))))
    ax.set(xlabel="longitude [degrees east]", ylabel="latitude [degrees north]")
    return ax, mesh


def _projected(ax: Any, field: xr.DataArray, regions: Any, look: dict[str, Any]) -> Any:
    """On axes of cartopy, which have a projection of their own."""
    crs = require("cartopy.crs", purpose="maps with a projection", install="pip install cartopy")
    degrees = crs.PlateCarree()
    lon, lat = field["lon"].values, field["lat"].values
    cells = np.ma.masked_invalid(field.values)
    mesh = ax.pcolormesh(lon, lat, cells, shading="nearest", transform=degrees, **look)
    if regions is not None:
        line = {"facecolor": "none", "edgecolor": "black", "linewidth": 0.7}
        ax.add_geometries(regions.geometries, degrees, **line)
    return mesh


def _regions(ax: Any, values: xr.DataArray, regions: Any, look: dict[str, Any]) -> tuple[Any, Any]:
    (dim,) = values.dims
    names = [str(name) for name in values[dim].values]
    if regions is None:
        raise RegionError(
            f"region_map needs the outlines of the {dim}s; type region_map(values, regions), with "
            "what the data were reduced to, as xp.alaska_bands()."
        )
    missing = [name for name in names if name not in regions.names]
    if missing:
        raise RegionError(
            f"region_map found values of {missing[:4]}, which are not among the regions "
            f"{list(regions.names)[:4]} ({len(regions)}). Pass those that the data were reduced to."
        )
    if hasattr(ax, "projection"):
        raise DataError(
            "region_map draws values of regions on plain axes; these have the projection "
            f"{type(ax.projection).__name__}. Leave ax= out."
        )
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from ..polygons import plot_outlines

    ax = axes_of(ax, (6.4, 5.0), layout="compressed")
    outlines = dict(zip(regions.names, regions.geometries, strict=True))
    before, written = len(ax.patches), len(ax.texts)
    plot_outlines(names, [outlines[name] for name in names], ax)
    scale = ScalarMappable(Normalize(look["vmin"], look["vmax"]), colormaps[look["cmap"]])
    fills = ax.patches[before::2]  # of every region its surface, then its outline
    for fill, text, value in zip(fills, ax.texts[written:], values.values, strict=True):
        fill.set(facecolor=scale.to_rgba(value) if np.isfinite(value) else "0.85", alpha=1.0)
        text.set_text(
            f"{text.get_text()}\n{value:.1f}" if np.isfinite(value) else f"{text.get_text()}\nnone"
        )
        text.set_bbox({"facecolor": "white", "alpha": 0.6, "lw": 0, "pad": 1.0})
    return ax, scale
