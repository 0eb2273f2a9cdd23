"""Validation against boreholes: a modelled soil temperature beside measured ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from ._checks import (
    check_monthly,
    choose,
    month_index,
    require_dims,
    require_variables,
    without_attrs,
)
from .diagnostics import active_layer_thickness
from .diagnostics._profile import SOIL, celsius
from .errors import (
    DataError,
    DimensionError,
    PermafrostError,
    PermafrostWarning,
    RegionError,
)
from .sampling import sample_points
from .schema import (
    LAYER,
    MEMBER,
    SCENARIO,
    TIME,
    layer_bounds,
    layer_coords_from_bounds,
    location_dims,
)

Soil = xr.DataArray | xr.Dataset

_SEASONS = {"winter": (12, 1, 2), "summer": (6, 7, 8)}


def validate(
    soil: Soil,
    stations: xr.Dataset,
    *,
    place: str = "linear",
    depth: str = "interpolate",
    regions: Any = None,
) -> xr.Dataset:
    """Score modelled soil temperature against sensors, station by station and depth by depth.

    Computes dask arrays. Months are joined by (year, month); a score counts the months that
    both have.

    Parameters
    ----------
    soil : DataArray or Dataset
        Modelled soil temperature [degC or K] with ``layer`` and monthly ``time``: a product, or a
        canonical Dataset with ``tsl``. On a grid ``(lat, lon)``, in regions, or at the stations
        themselves.
    stations : Dataset
        Canonical, ``tsl (station, layer, time)``, sensors as layers of no thickness; ``lat`` and
        ``lon`` along ``station`` unless the model is at the stations.
    place : {"linear", "nearest"}
        How a grid is read at a station: between cell centres, or from the nearest cell.
    depth : {"interpolate", "nearest"}
        ``interpolate``: linear in depth between the middles of layers, nothing above the first
        or below the last; ``nearest``: the layer that the sensor lies in.
    regions : LatitudeBands, Polygons, or anything that :func:`xpermafrost.as_regions` reads
        Of a model in regions: a station is compared with the one that holds it (the first, where
        they overlap). Without it, latitude bands are told by their latitudes alone.

    Returns
    -------
    Dataset
        ``n`` (months), ``bias``, ``mae``, ``rmse`` [K], ``correlation``, ``bias_winter``
        (December to February), ``bias_summer`` (June to August) [K], ``amplitude_ratio``
        (standard deviation, modelled over measured), each ``(station, layer)``; NaN without
        common months. ``alt_bias`` and ``alt_mae`` [m] ``(station)`` compare the active-layer
        thickness of both at the sensors' depths (:func:`active_layer_thickness`, ``envelope``,
        monthly) over ``alt_n`` whole years in which both lie within the profile; NaN without
        such years, or where the sensors do not carry it. Their attributes say what to bear in
        mind. ``.to_dataframe()`` is the table per site.

    Raises
    ------
    RegionError
        If a station lies off the grid or the regions, or the stations differ.
    DimensionError
        If the model holds scenarios or members: select or average them first.
    TimeAxisError
        If months occur twice or unsorted, as in daily data.
    DataError
        If no month has both.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=4, dim="station")
    >>> warm = ds.assign(tsl=(ds["tsl"] + 1.0).assign_attrs(ds["tsl"].attrs))
    >>> validate(warm, ds)["bias"].mean().round(3).item()
    1.0
    """
    choose("place", place, ("linear", "nearest"))
    choose("depth", depth, ("interpolate", "nearest"))
    require_variables(stations, ("tsl",), step="validate (stations)")
    truth, model = _series(stations, "stations"), _series(soil, "model")
    require_dims(truth, ("station", LAYER, TIME), step="validate (stations)")
    require_dims(model, (LAYER, TIME), step="validate")
    extra = [d for d in (SCENARIO, MEMBER) if d in model.dims]
    if extra:
        raise DimensionError(
            f"validate compares one series with one; the model has {extra}. Select one, "
            f"for instance da.sel({extra[0]}=da[{extra[0]!r}][0]), or take a mean."
        )
    model = _at_stations(model, stations, place, regions).transpose("station", LAYER, TIME)
    model = _at_depths(model, stations, depth)
    model, truth = _common_months(model, truth.transpose("station", LAYER, TIME))
    scores = _scores(model, truth).assign(_thaw_depth(model, truth, stations))
    scores = scores.assign_coords(
        {n: c for n, c in stations.coords.items() if set(c.dims) <= {"station", LAYER}}
    )
    both = truth[TIME].values[truth.notnull().any(["station", LAYER])]
    first, last = (str(both[k])[:7] for k in (0, -1))
    return scores.assign_attrs(
        comparison=f"modelled minus measured, months {first} to {last} that both have",
        place_matching=place,
        depth_matching=depth,
    )


def _series(obj: Soil, what: str) -> xr.DataArray:
    """Soil temperature [degC] in memory, with the places and bounds that a Dataset knows."""
    da = celsius(obj, SOIL, step="validate").compute().astype("float64")
    if TIME in da.dims and np.any(np.diff(month_index(da[TIME])) <= 0):
        check_monthly(da, step=f"validate ({what})")
    if isinstance(obj, xr.DataArray):
        return da
    known = {n: obj[n] for n in ("lat", "lon") if n in obj.variables and n not in da.coords}
    if "lat_bnds" in obj.variables and obj["lat"].dims == obj["lat_bnds"].dims[:1]:
        low, high = np.sort(obj["lat_bnds"].values, axis=1).T
        da = da.assign_coords(south=(obj["lat"].dims, low), north=(obj["lat"].dims, high))
    return da.assign_coords(known)


def _at_stations(
    model: xr.DataArray, stations: xr.Dataset, place: str, regions: Any
) -> xr.DataArray:
    names = stations["station"].values
    places = location_dims(model)
    if places == ("station",):
        missing = np.setdiff1d(names, model["station"].values)
        if missing.size:
            raise RegionError(
                f"the model has no station {missing[:5].tolist()}; it knows "
                f"{model['station'].values[:5].tolist()}. Select the common ones first."
            )
        return model.sel(station=names)
    lacking = [n for n in ("lat", "lon") if n not in stations.variables]
    if lacking:
        raise RegionError(
            f"stations need {lacking} to be found on the model's {places}: "
            "ds.assign_coords(lat=('station', [...]), lon=('station', [...]))."
        )
    if set(places) == {"lat", "lon"}:
        found = sample_points(model.to_dataset(name="soil"), stations, method=place)["soil"]
        depths = {n: c for n, c in model.coords.items() if c.dims == (LAYER,)}
        return found.assign_coords(depths)
    if len(places) != 1 or ("lat" not in model.coords and regions is None):
        raise RegionError(
            f"validate knows grids (lat, lon), regions and stations; the model has {places}."
        )
    dim = str(places[0])
    held = _in_bands(model, stations, dim) if regions is None else _in_regions(stations, regions)
    if None in held:
        lost = names[[name is None for name in held]][:5].tolist()
        raise RegionError(f"the stations {lost} lie outside the regions. Leave them out.")
    unknown = sorted({str(name) for name in held} - {str(name) for name in model[dim].values})
    if unknown:
        raise RegionError(
            f"the model has no {dim} {unknown}; it knows {model[dim].values[:5].tolist()}. Pass "
            "the regions that it was reduced to."
        )
    found = model.sel({dim: xr.DataArray(held, dims="station")})
    found = found.drop_vars([dim, "lat", "lon", "south", "north"], errors="ignore")
    return found.assign_coords(station=names)


def _in_regions(stations: xr.Dataset, regions: Any) -> list[Any]:
    """Name of the first region that holds each station; None outside all."""
    import shapely

    from .polygons import turned
    from .region_files import as_regions

    regions = as_regions(regions)
    held: list[Any] = [None] * stations.sizes["station"]
    lon = (stations["lon"].values + 180.0) % 360.0 - 180.0
    for turn in (0.0, 360.0, -360.0):
        points = shapely.points(lon, stations["lat"].values)
        for name, outline in zip(regions.names, regions.geometries, strict=True):
            for k in np.flatnonzero(shapely.covers(turned(outline, turn), points)):
                held[k] = held[k] or name
    return held


def _in_bands(model: xr.DataArray, stations: xr.Dataset, dim: str) -> list[Any]:
    """Label of the band whose latitudes hold each station, half-open; None outside all."""
    middle = model["lat"].values
    if "lon" in model.coords and model["lon"].dims == (dim,):
        raise RegionError(
            f"the model's {dim!r} are no latitude bands: they have longitudes. Pass the regions "
            "that it was reduced to, validate(..., regions=...), or validate on the grid."
        )
    if "south" in model.coords:
        south, north = model["south"].values, model["north"].values
    else:
        steps = np.diff(middle)
        if middle.size < 2 or not (steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-3)):
            raise RegionError(
                f"the edges of {dim!r} are not known: the middles {middle.tolist()} degN do not "
                "ascend evenly. Pass the bands, validate(..., regions=bands)."
            )
        south, north = middle - steps[0] / 2, middle + steps[0] / 2
    lat = stations["lat"].values[:, None]
    inside = (south <= lat) & ((lat < north) | ((lat == north) & (north == north.max())))
    return [model[dim].values[row.argmax()] if row.any() else None for row in inside]


def _at_depths(model: xr.DataArray, stations: xr.Dataset, depth: str) -> xr.DataArray:
    """The modelled series at every sensor; NaN where the model does not reach."""
    bounds = layer_bounds(model)
    middle = bounds.mean(axis=1)
    sensor = layer_bounds(stations).mean(axis=1)
    order = np.argsort(middle)
    model, bounds, middle = model.isel({LAYER: order}), bounds[order], middle[order]
    model = model.drop_vars([n for n, c in model.coords.items() if LAYER in c.dims])
    if depth == "nearest":
        inside = (bounds[:, 0] <= sensor[:, None]) & (sensor[:, None] <= bounds[:, 1])
        lower = upper = inside.argmax(axis=1)
        share, reached = np.zeros(sensor.size), inside.any(axis=1)
    else:
        upper = np.clip(np.searchsorted(middle, sensor), 0, middle.size - 1)
        lower = np.where(middle[upper] == sensor, upper, np.maximum(upper - 1, 0))
        gap = middle[upper] - middle[lower]
        share = np.where(gap > 0, (sensor - middle[lower]) / np.where(gap > 0, gap, 1.0), 0.0)
        reached = (sensor >= middle[0]) & (sensor <= middle[-1])
    one = model.isel({LAYER: xr.DataArray(lower, dims=LAYER)})
    two = model.isel({LAYER: xr.DataArray(upper, dims=LAYER)})
    at = one + (two - one) * xr.DataArray(share, dims=LAYER)
    return at.where(xr.DataArray(reached, dims=LAYER)).assign_coords({LAYER: stations[LAYER]})


def _common_months(model: xr.DataArray, truth: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on each month from the first to the last common one, missing where one of them is."""
    one, two = month_index(model[TIME]), month_index(truth[TIME])
    months = np.intersect1d(one, two)
    if not months.size:
        raise DataError(
            f"no common month: the model has {str(model[TIME].values[0])[:7]} to "
            f"{str(model[TIME].values[-1])[:7]}, the stations {str(truth[TIME].values[0])[:7]} to "
            f"{str(truth[TIME].values[-1])[:7]}."
        )
    span = np.arange(months[0], months[-1] + 1)
    stamps = (span - 1970 * 12).astype("datetime64[M]").astype("datetime64[ns]")
    model, truth = (
        da.assign_coords({TIME: known}).reindex({TIME: span}).assign_coords({TIME: stamps})
        for da, known in ((model, one), (truth, two))
    )
    both = model.notnull() & truth.notnull()
    if not bool(both.any()):
        raise DataError(
            "no month has both a modelled and a measured value at any sensor: the depths or the "
            "years do not meet. Look at layer_bounds of both."
        )
    return model.where(both), truth.where(both)


def _thaw_depth(
    model: xr.DataArray, truth: xr.DataArray, stations: xr.Dataset
) -> dict[str, xr.DataArray]:
    """Error of the active-layer thickness, from both at the sensors in the months of both."""
    sensor = layer_bounds(stations).mean(axis=1)
    order = np.argsort(sensor)
    points = layer_coords_from_bounds(np.stack([sensor[order]] * 2, axis=1))
    points = {name: v for name, v in points.items() if v.ndim == 1}
    notes = "whole years in which both lie within the profile"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            one, two = (
                active_layer_thickness(
                    da.isel({LAYER: order}).assign_coords(points).assign_attrs(units="degC")
                ).reset_coords(drop=True)
                for da in (model, truth)
            )
            error = one - two
        except PermafrostError as reason:  # what the sensors do not carry is no failure
            error = xr.full_like(truth.isel({LAYER: 0, TIME: [0]}, drop=True), np.nan)
            error = error.rename({TIME: "year"})
            notes = f"not known: {reason}"
    for other in caught:
        if issubclass(other.category, PermafrostWarning):
            notes += f"; {other.message}" if str(other.message) not in notes else ""
        else:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    table = {
        "alt_bias": (error.mean("year"), "m", "mean error of the active-layer thickness"),
        "alt_mae": (
            abs(error).mean("year"),
            "m",
            "mean absolute error of that thickness",
        ),
        "alt_n": (error.notnull().sum("year"), "1", "years compared by active-layer thickness"),
    }
    return {
        name: da.pipe(without_attrs).assign_attrs(units=units, long_name=text, comment=notes)
        for name, (da, units, text) in table.items()
    }


def _scores(model: xr.DataArray, truth: xr.DataArray) -> xr.Dataset:
    error = model - truth
    month = truth[TIME].dt.month
    spread, measured = model.std(TIME), truth.std(TIME)
    together = ((model - model.mean(TIME)) * (truth - truth.mean(TIME))).mean(TIME)
    varies = (spread > 0) & (measured > 0)
    table: dict[str, tuple[xr.DataArray, str, str]] = {
        "n": (error.notnull().sum(TIME), "1", "months compared"),
        "bias": (error.mean(TIME), "K", "mean error, modelled minus measured"),
        "mae": (abs(error).mean(TIME), "K", "mean absolute error"),
        "rmse": ((error**2).mean(TIME) ** 0.5, "K", "root-mean-square error"),
        "correlation": (
            together / (spread * measured).where(varies),
            "1",
            "correlation of monthly means",
        ),
        "amplitude_ratio": (
            spread / measured.where(varies),
            "1",
            "standard deviation, modelled over measured",
        ),
    }
    for season, months in _SEASONS.items():
        mean = error.where(month.isin(months)).mean(TIME)
        table[f"bias_{season}"] = (mean, "K", f"mean error in {season}")
    return xr.Dataset(
        {
            name: da.pipe(without_attrs).assign_attrs(units=units, long_name=label)
            for name, (da, units, label) in table.items()
        }
    )


__all__ = ["validate"]
