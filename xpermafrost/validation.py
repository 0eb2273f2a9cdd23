"""Validation against boreholes: a modelled soil temperature beside measured ones."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ._checks import choose, month_index, require_dims, require_variables, same_units
from .errors import DataError, DimensionError, RegionError, UnitsError
from .sampling import sample_points
from .schema import FREEZING_POINT, LAYER, MEMBER, SCENARIO, TIME, layer_bounds, location_dims

Soil = xr.DataArray | xr.Dataset

_NAMES = ("tsl", "soil_temperature")
_SEASONS = {"winter": (12, 1, 2), "summer": (6, 7, 8)}


def validate(
    soil: Soil, stations: xr.Dataset, *, place: str = "linear", depth: str = "interpolate"
) -> xr.Dataset:
    """Score modelled soil temperature against sensors, station by station and depth by depth.

    Computes dask arrays. Months are joined by (year, month); a score counts the months that
    both have.

    Parameters
    ----------
    soil : DataArray or Dataset
        Modelled soil temperature [degC or K] with ``layer`` and monthly ``time``: a product, or a
        canonical Dataset with ``tsl``. On a grid ``(lat, lon)``, on latitude bands, or at the
        stations themselves.
    stations : Dataset
        Canonical, ``tsl (station, layer, time)``, sensors as layers of no thickness; ``lat`` and
        ``lon`` along ``station`` unless the model is at the stations.
    place : {"linear", "nearest"}
        How a grid is read at a station: between cell centres, or from the nearest cell.
        Bands: the one that holds the station.
    depth : {"interpolate", "nearest"}
        ``interpolate``: linear in depth between the middles of layers, nothing above the first
        or below the last; ``nearest``: the layer that the sensor lies in.

    Returns
    -------
    Dataset
        ``n`` (months), ``bias``, ``mae``, ``rmse`` [K], ``correlation``, ``bias_winter``
        (December to February), ``bias_summer`` (June to August) [K], ``amplitude_ratio``
        (standard deviation, modelled over measured), each ``(station, layer)``; NaN without
        common months. ``.to_dataframe()`` is the table per site.

    Raises
    ------
    RegionError
        If a station lies off the grid or the bands, or the stations differ.
    DimensionError
        If the model holds scenarios or members: select or average them first.
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
    truth, model = _celsius(stations), _celsius(soil)
    require_dims(truth, ("station", LAYER, TIME), step="validate (stations)")
    require_dims(model, (LAYER, TIME), step="validate")
    extra = [d for d in (SCENARIO, MEMBER) if d in model.dims]
    if extra:
        raise DimensionError(
            f"validate compares one series with one; the model has {extra}. Select one, "
            f"for instance da.sel({extra[0]}=da[{extra[0]!r}][0]), or take a mean."
        )
    model = _at_stations(model, stations, place).transpose("station", LAYER, TIME)
    model = _at_depths(model, stations, depth)
    model, truth = _common_months(model, truth.transpose("station", LAYER, TIME))
    scores = _scores(model, truth)
    scores = scores.assign_coords(
        {n: c for n, c in stations.coords.items() if set(c.dims) <= {"station", LAYER}}
    )
    first, last = (str(truth[TIME].values[k])[:7] for k in (0, -1))
    return scores.assign_attrs(
        comparison=f"modelled minus measured, months {first} to {last} that both have",
        place_matching=place,
        depth_matching=depth,
    )


def _celsius(obj: Soil) -> xr.DataArray:
    if isinstance(obj, xr.Dataset):
        name = next((n for n in _NAMES if n in obj), None)
        if name is None:
            require_variables(obj, ("tsl",), step="validate")
        da = obj[name]
        bounds = layer_bounds(obj) if LAYER in obj.dims else None
        if bounds is not None:
            edges = {"depth_top": (LAYER, bounds[:, 0]), "depth_bottom": (LAYER, bounds[:, 1])}
            da = da.assign_coords(edges)
        for name in ("lat", "lon", "lat_bnds"):
            if name in obj.variables and name not in da.coords and "bnds" not in obj[name].dims:
                da = da.assign_coords({name: obj[name]})
    else:
        da = obj
    units = str(da.attrs.get("units"))
    if same_units(units, "degC"):
        return da.compute().astype("float64")
    if same_units(units, "K"):
        return (da.compute().astype("float64") - FREEZING_POINT).assign_attrs(units="degC")
    raise UnitsError(f"validate needs {da.name!r} in K or degC; found units {units!r}.")


def _at_stations(model: xr.DataArray, stations: xr.Dataset, place: str) -> xr.DataArray:
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
    if len(places) == 1 and "lat" in model.coords:
        return _in_bands(model, stations, str(places[0]))
    raise RegionError(
        f"validate knows grids (lat, lon), latitude bands and stations; the model has {places}."
    )


def _in_bands(model: xr.DataArray, stations: xr.Dataset, dim: str) -> xr.DataArray:
    """The band whose latitudes hold the station: bands adjoin, so edges lie between middles."""
    middle = model["lat"].values
    if middle.size < 2 or not np.all(np.diff(middle) > 0):
        raise RegionError(
            f"the latitudes of {dim!r} must ascend to find a station's band; found "
            f"{middle.tolist()}. Validate on the grid instead."
        )
    half = np.diff(middle) / 2
    edges = np.r_[middle[0] - half[0], middle[:-1] + half, middle[-1] + half[-1]]
    number = np.searchsorted(edges, stations["lat"].values, side="right") - 1
    off = (number < 0) | (number >= middle.size)
    if off.any():
        raise RegionError(
            f"the stations {stations['station'].values[off][:5].tolist()} lie outside the bands "
            f"({edges[0]:g} to {edges[-1]:g} degN). Leave them out."
        )
    picks = xr.DataArray(number, dims="station", coords={"station": stations["station"]})
    return model.isel({dim: picks}).drop_vars([dim, "lat", "lon"], errors="ignore")


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
    one, two = month_index(model[TIME]), month_index(truth[TIME])
    months = np.intersect1d(one, two)
    if not months.size:
        raise DataError(
            f"no common month: the model has {str(model[TIME].values[0])[:7]} to "
            f"{str(model[TIME].values[-1])[:7]}, the stations {str(truth[TIME].values[0])[:7]} to "
            f"{str(truth[TIME].values[-1])[:7]}."
        )
    truth = truth.isel({TIME: np.searchsorted(two, months)})
    model = model.isel({TIME: np.searchsorted(one, months)}).assign_coords({TIME: truth[TIME]})
    both = model.notnull() & truth.notnull()
    if not bool(both.any()):
        raise DataError(
            "no month has both a modelled and a measured value at any sensor: the depths or the "
            "years do not meet. Look at layer_bounds of both."
        )
    return model.where(both), truth.where(both)


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
            name: da.drop_attrs().assign_attrs(units=units, long_name=label)
            for name, (da, units, label) in table.items()
        }
    )


__all__ = ["validate"]
