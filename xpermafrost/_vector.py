"""Results of regions and stations as vector layers: one feature per region, values joined."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ._cf import is_bounds, layer_labels, plain_attrs, with_line
from ._checks import choose, month_index
from ._files import atomic_path
from .errors import DataError, DimensionError, RegionError, TimeAxisError, UnknownNameError
from .polygons import shared
from .region_files import as_regions
from .schema import LAYER, TIME, name_axis
from .sources.stations import STATION_DIMS

if TYPE_CHECKING:
    import geopandas as gpd

Periods = Sequence[tuple[str, str]]

_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
#: SQLite, on which GeoPackage stands, holds 2000 columns.
_MAX_COLUMNS = 1900


def to_vector(
    obj: xr.DataArray | xr.Dataset,
    path: str | os.PathLike[str],
    regions: Any = None,
    *,
    layout: str = "wide",
    periods: Periods | None = None,
    overwrite: bool = False,
) -> Path:
    """Write results of regions or stations as GeoPackage or GeoJSON, values joined to outlines.

    Coordinates are longitude and latitude of WGS84, outlines are cut at the dateline; GeoJSON is
    that of RFC 7946. Missing values are null. Units stand in the layer's description, with the
    last line of ``history``. Lazy data are computed once. The argument is not written to.

    Parameters
    ----------
    obj : DataArray or Dataset
        With the dimension of ``regions``, or of stations with ``lat`` and ``lon``. Variables
        without it are left out.
    path : path-like
        Ends in ``.gpkg`` or ``.geojson``; its folder must exist.
    regions : LatitudeBands, Polygons, or anything that :func:`xpermafrost.as_regions` reads
        What the labels of ``obj`` stand for; those that ``obj`` lacks are left out. None for
        stations, which become points.
    layout : {"wide", "long"}
        ``wide``: a row per region, to be styled at once; a column per variable, scenario, layer
        and period such as ``soil_temperature_rcp85_0_7cm_2081_2090``. ``long``: a row per
        region, scenario, layer and time, for the time slider; outlines are repeated.
    periods : list of (str, str), optional
        First and last year of each mean of ``wide``, as ``[("2021", "2040"), ("2081", "2100")]``;
        by default decades, of the whole years that the data span. Means are plain means of the
        months (or years); one missing value makes the mean missing.
    overwrite : bool, default False
        Replace an existing file.

    Returns
    -------
    Path
        The file; its layer is called as the file.

    Raises
    ------
    RegionError
        If a label of ``obj`` is not in ``regions``, or regions are needed and not given.
    DimensionError
        If ``obj`` lacks the dimension of the regions, or stations lack ``lat`` and ``lon``.
    TimeAxisError
        If a period is not covered, or the data span no whole year.
    DataError
        If the columns are too many, or dates would have to be averaged.
    UnknownNameError
        If the suffix or ``layout`` is not known.
    OutputExistsError
        If ``path`` exists and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile, geopandas, numpy as np, xarray as xr
    >>> from xpermafrost import LatitudeBands
    >>> bands = LatitudeBands((60, 65, 70))
    >>> alt = xr.DataArray(
    ...     np.ones((2, 20)), dims=("band", "year"), name="alt", attrs={"units": "m"},
    ...     coords={"year": np.arange(2081, 2101), "band": list(bands.names)},
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     frame = geopandas.read_file(to_vector(alt, folder + "/alt.gpkg", bands))
    >>> frame.columns.tolist(), len(frame)
    (['band', 'alt_2081_2090', 'alt_2091_2100', 'geometry'], 2)
    """
    choose("layout", layout, ("wide", "long"))
    driver = _DRIVERS.get(Path(path).suffix.lower())
    if driver is None:
        raise UnknownNameError(
            f"to_vector writes .gpkg (GeoPackage) and .geojson; got {str(path)!r}. "
            "Type for instance 'alaska.gpkg'."
        )
    ds = obj.to_dataset(name=obj.name or "values") if isinstance(obj, xr.DataArray) else obj
    place, outlines = _places(ds, regions)
    ds = ds[[n for n, da in ds.data_vars.items() if place in da.dims and not is_bounds(ds, n)]]
    if layout == "wide":
        ds = _period_means(ds, periods)
    table = (_wide if layout == "wide" else _long)(ds.compute(), place)
    frame = _frame(table, place, outlines)
    with atomic_path(path, overwrite=overwrite) as temporary:
        _write(frame, temporary, driver, Path(path).stem, _notes(ds))
    return Path(path)


# --- places -------------------------------------------------------------------------------


def _places(ds: xr.Dataset, regions: Any) -> tuple[Hashable, dict[str, Any]]:
    """The dimension of places, and the outline or point of each label."""
    if regions is None:
        return _points(ds)
    import shapely

    regions = as_regions(regions)
    if not any(regions.dim in da.dims for da in ds.data_vars.values()):
        raise DimensionError(
            f"to_vector needs the dimension {regions.dim!r} of the regions; the data have "
            f"{tuple(str(d) for d in ds.dims)}. Reduce them first: ds.permafrost.reduce(regions). "
            "A grid is written with to_geotiff."
        )
    labels = [str(label) for label in ds[regions.dim].values]
    strange = [label for label in labels if label not in regions.names]
    if strange or len(set(labels)) < len(labels):
        raise RegionError(
            f"labels and regions need the same names; the data have {labels}, the regions "
            f"{list(regions.names)}. Pass the regions that the data were reduced to."
        )
    world = shapely.box(-180, -90, 180, 90)
    known = dict(zip(regions.names, regions.geometries, strict=True))
    return regions.dim, {label: shared(world, known[label]) for label in labels}


def _points(ds: xr.Dataset) -> tuple[Hashable, dict[str, Any]]:
    import shapely

    used = {dim for da in ds.data_vars.values() for dim in da.dims}
    place = next((dim for dim in STATION_DIMS if dim in used), None)
    if place is None:
        raise RegionError(
            f"to_vector needs the regions of data on {tuple(str(d) for d in ds.dims)}. "
            "Type to_vector(ds, path, regions), with those that the data were reduced to. "
            "A grid is written with to_geotiff."
        )
    if not all(n in ds.variables and ds[n].dims == (place,) for n in ("lat", "lon")):
        raise DimensionError(
            f"to_vector needs 'lat' and 'lon' of each {place}. Type "
            f"ds.assign_coords(lat=('{place}', [...]), lon=('{place}', [...]))."
        )
    labels = [str(label) for label in ds[place].values]
    if len(set(labels)) < len(labels):
        raise RegionError(f"labels of places need to differ; found {labels}.")
    lon = (np.asarray(ds["lon"].values, dtype="float64") + 180) % 360 - 180
    points = shapely.points(lon, np.asarray(ds["lat"].values, dtype="float64"))
    return place, dict(zip(labels, points, strict=True))


# --- periods ------------------------------------------------------------------------------


def _period_means(ds: xr.Dataset, periods: Periods | None) -> xr.Dataset:
    """Means over periods along ``period``, in place of ``time`` and of ``year``. Lazy."""
    out = {}
    for name, da in ds.data_vars.items():
        axis = next((dim for dim in (TIME, "year") if dim in da.dims), None)
        if axis is None:
            out[name] = da
            continue
        if da.dtype.kind not in "fiub":
            raise DataError(
                f"{str(name)!r} holds {da.dtype}, of which there is no mean. Leave it out, or "
                "pass layout='long'."
            )
        out[name] = _means(da, axis, periods)
    return xr.Dataset(out, attrs=ds.attrs)


def _means(da: xr.DataArray, axis: str, periods: Periods | None) -> xr.DataArray:
    """Every month (or year) of a period has to be there, else half a period is another climate."""
    per_year = 12 if axis == TIME else 1
    steps = month_index(da[TIME]) if axis == TIME else da["year"].values.astype("int64")
    whole = _whole_years(steps, per_year)
    if not whole:
        raise TimeAxisError(
            f"{str(da.name)!r} spans no whole year, so there is no mean over a period. "
            "Pass layout='long'."
        )
    spans = _decades(whole) if periods is None else _spans(periods)
    means, names = [], []
    for first, last in spans:
        lacking = [str(year) for year in range(first, last + 1) if year not in whole]
        if lacking or first > last:
            raise TimeAxisError(
                f"{str(da.name)!r} does not cover {first} to {last}: whole years are there from "
                f"{min(whole)} to {max(whole)}, not {', '.join(lacking[:3]) or 'backwards'}. "
                "Pass other periods."
            )
        inside = (steps // per_year >= first) & (steps // per_year <= last)
        means.append(da.isel({axis: inside}).mean(axis, skipna=False, keep_attrs=True))
        names.append(f"{first}_{last}" if last > first else f"{first}")
    return xr.concat(means, dim=name_axis("period", names), coords="minimal", compat="override")


def _spans(periods: Periods) -> list[tuple[int, int]]:
    try:
        return [(int(str(first)[:4]), int(str(last)[:4])) for first, last in periods]
    except (TypeError, ValueError):
        raise TimeAxisError(
            f"periods are pairs of a first and a last year; got {periods!r}. "
            "Type for instance periods=[('2041', '2060'), ('2081', '2100')]."
        ) from None


def _whole_years(steps: np.ndarray, per_year: int) -> set[int]:
    years, counts = np.unique(np.unique(steps) // per_year, return_counts=True)
    return {int(year) for year, count in zip(years, counts, strict=True) if count == per_year}


def _decades(years: set[int]) -> list[tuple[int, int]]:
    """2001-2010, 2011-2020 and so on, without the years that are not there at either end."""
    first, last = min(years), max(years)
    starts = range((first - 1) // 10 * 10 + 1, last + 1, 10)
    return [(max(first, start), min(last, start + 9)) for start in starts]


# --- tables -------------------------------------------------------------------------------


def _text(labels: xr.DataArray, ds: xr.Dataset) -> list[str]:
    """Labels of a dimension as parts of column names."""
    if labels.name == LAYER:
        return layer_labels(ds)
    plain = labels.values.tolist()
    return [label if isinstance(label, str) else f"{labels.name}{label}" for label in plain]


def _wide(ds: xr.Dataset, place: Hashable) -> pd.DataFrame:
    """A row per place; a column per variable and label of its other dimensions."""
    table: dict[str, Any] = {str(place): [str(label) for label in ds[place].values]}
    for name, coord in ds.coords.items():
        if coord.dims == (place,) and name not in (place, "lat", "lon"):
            table[str(name)] = coord.values
    for name, da in ds.data_vars.items():
        first = [dim for dim in ("scenario", "model", LAYER) if dim in da.dims]
        last = [dim for dim in ("period",) if dim in da.dims]
        order = [*first, *(d for d in da.dims if d not in (*first, *last, place)), *last]
        values = da.transpose(*order, place).values
        labels = product(*(_text(da[dim], ds) for dim in order))
        for index, label in zip(np.ndindex(values.shape[:-1]), labels, strict=True):
            column = re.sub(r"\W+", "_", "_".join([str(name), *label]))
            if column in table:
                raise DataError(f"two columns would be called {column!r}; rename one of them.")
            table[column] = values[index]
    if len(table) > _MAX_COLUMNS:
        raise DataError(
            f"the table would have {len(table)} columns, more than a GeoPackage holds. Select "
            "scenarios or layers, pass fewer periods, or layout='long'."
        )
    return pd.DataFrame(table)


def _long(ds: xr.Dataset, place: Hashable) -> pd.DataFrame:
    """A row per place and label of every other dimension, time last; a column per variable."""
    order = [place, *(dim for dim in ds.dims if dim not in (place, TIME))]
    order += [TIME] if TIME in ds.dims else []
    layers = layer_labels(ds) if LAYER in ds.dims else []
    if layers:
        ds = ds.assign_coords({LAYER: layers})
    keep = {*order, "depth_top", "depth_bottom"}
    ds = ds.drop_vars([n for n, c in ds.coords.items() if n not in keep and c.dims != (place,)])
    ds = ds.drop_vars(["lat", "lon"], errors="ignore")
    if TIME in ds.dims and ds[TIME].dtype == object:  # dates of other calendars
        ds = ds.assign_coords({TIME: ds[TIME].dt.strftime("%Y-%m-%d")})
    table = ds.to_dataframe(dim_order=order).reset_index()
    table[place] = table[place].astype(str)
    return table


def _frame(table: pd.DataFrame, place: Hashable, outlines: dict[str, Any]) -> gpd.GeoDataFrame:
    import geopandas as gpd

    geometry = [outlines[label] for label in table[str(place)]]
    return gpd.GeoDataFrame(table, geometry=geometry, crs="EPSG:4326")


def _notes(ds: xr.Dataset) -> dict[str, str]:
    """Metadata of the layer: units of the variables, and where they come from."""
    units = [f"{n} [{da.attrs['units']}]" for n, da in ds.data_vars.items() if "units" in da.attrs]
    history = with_line(ds.attrs.get("history"), "to_vector()")
    line = "; ".join([", ".join(units) or "values", history.splitlines()[-1]])
    attrs = {key: str(value) for key, value in plain_attrs(ds.attrs).items()}
    return {**attrs, "history": history, "DESCRIPTION": line}


def _write(
    frame: gpd.GeoDataFrame, path: Path, driver: str, layer: str, notes: dict[str, str]
) -> None:
    options = {"DESCRIPTION": notes.pop("DESCRIPTION")}
    if driver == "GeoJSON":
        options["RFC7946"] = "YES"
    frame.to_file(
        path,
        driver=driver,
        layer=layer,
        engine="pyogrio",
        layer_options=options,
        layer_metadata=notes if driver == "GPKG" else None,
    )
