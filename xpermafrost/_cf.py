"""The parts of CF finishing: grid mapping, bounds, types, attributes, order of dimensions."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from . import __version__
from ._checks import month_index
from .errors import DimensionError
from .schema import BOUNDS, LAYER, TIME, VARIABLES, layer_bounds
from .sources.stations import STATION_DIMS

#: Missing value of files, the one of CMIP: some programs do not know NaN for missing.
FILL_VALUE = 1e20

CRS_NAME = "crs"
_CRS_NAMES = (CRS_NAME, "spatial_ref")
_COORD_ATTRS: dict[str, dict[str, str]] = {
    "lat": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
    "x": {"standard_name": "projection_x_coordinate", "units": "m"},
    "y": {"standard_name": "projection_y_coordinate", "units": "m"},
    "depth_top": {"long_name": "depth of the top of the layer"},
    "depth_bottom": {"long_name": "depth of the bottom of the layer"},
    "month": {"long_name": "month of the year"},
    TIME: {"standard_name": "time", "long_name": "time", "axis": "T"},
}
#: Calendars that may have leap seconds; ours have none, as numpy and climate models count.
_REAL_CALENDARS = ("standard", "gregorian", "proleptic_gregorian", "julian")
_AXES = {"lat": "Y", "lon": "X", "y": "Y", "x": "X"}
#: Standard names of temperatures (not of differences), which CF 1.11 wants told apart.
_TEMPERATURES = frozenset(
    row.standard_name for row in VARIABLES.values() if row.standard_name.endswith("_temperature")
)
#: Attributes that must have the type of their variable (CF, sections 2.5.1 and 3.5).
_TYPED_ATTRS = ("flag_values", "flag_masks", "valid_min", "valid_max", "valid_range")
#: Dimensions of region sets.
REGION_DIMS = ("band", "region")


def plain_attrs(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Attributes that NetCDF can hold: text, numbers, lists of numbers."""
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        if value is None:
            continue
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        if isinstance(value, bool) or not isinstance(value, str | int | float | list | tuple):
            value = str(value)
        out[str(key)] = value
    return out


def with_line(history: object, call: str) -> str:
    """``history`` and one line more, with the time and the version of the package."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} xpermafrost {__version__}: {call}"
    return f"{history}\n{line}" if history else line


def layer_labels(obj: xr.DataArray | xr.Dataset) -> list[str]:
    """Names of the layers by their depths, such as ``"0-7cm"``, or ``"20cm"`` of a point.

    Of the one layer where one has been chosen; by number where the layers have no bounds.
    """
    try:
        if LAYER in obj.dims or "depth_top" not in obj.coords:
            bounds = layer_bounds(obj).reshape(-1, 2)
        else:  # one layer has been chosen, its coordinates are scalars
            bounds = np.array([[float(obj["depth_top"]), float(obj["depth_bottom"])]])
    except DimensionError:
        return [f"layer{label}" for label in np.atleast_1d(obj[LAYER].values)]
    names = ([f"{top * 100:.4g}", f"{bottom * 100:.4g}"] for top, bottom in bounds)
    return ["-".join(dict.fromkeys(name)) + "cm" for name in names]


def crs_name(ds: xr.Dataset) -> str | None:
    """Name of the grid mapping variable: the one that data name, else ``crs``, ``spatial_ref``."""
    named = [
        # "crs" or, with the coordinates it is for, "crs: x y" (CF, section 5.6)
        str(place.get("grid_mapping", "")).split(":")[0].strip()
        for da in ds.data_vars.values()
        for place in (da.attrs, da.encoding)
    ]
    found = (n for n in (*named, *_CRS_NAMES) if n in ds.variables and ds[n].ndim == 0)
    return next(found, None)


def has_places(ds: xr.Dataset) -> bool:
    """Whether some data lie at latitudes and longitudes, or on ``y`` and ``x``."""
    lies_on = [{"x", "y"}]
    if {"lat", "lon"} <= set(ds.variables):
        lies_on.append({*map(str, ds["lat"].dims), *map(str, ds["lon"].dims)})
    data = [da for name, da in ds.data_vars.items() if not is_bounds(ds, name)]
    return any(dims <= set(da.dims) for da in data for dims in lies_on)


def crs_as_data(ds: xr.Dataset) -> xr.Dataset:
    """The grid mapping as a data variable, ``crs`` of WGS84 where none is stated.

    Data without latitude and longitude get none: it would refer to nothing, and is an error to
    checkers of CF.
    """
    name = crs_name(ds)
    if name is not None:
        return ds.reset_coords(name) if name in ds.coords else ds
    if {"x", "y"} <= set(ds.dims):
        raise DimensionError(
            "to_cf needs the projection of data on ('y', 'x'); there is no 'crs'. "
            "Type ds = ds.rio.write_crs('EPSG:3338') with the code of yours."
        )
    if not has_places(ds):
        return ds
    from pyproj import CRS

    wgs84 = CRS.from_epsg(4326).to_cf()
    # GDAL's own name for the text, which older versions look for
    attrs = {**plain_attrs(wgs84), "spatial_ref": wgs84["crs_wkt"]}
    return ds.assign({CRS_NAME: xr.Variable((), np.int32(0), attrs)})


def depth_dimension(ds: xr.Dataset) -> xr.Dataset:
    if LAYER not in ds.dims or "depth" not in ds.coords or ds["depth"].dims != (LAYER,):
        return ds
    if not ds["depth"].to_index().is_unique:
        raise DimensionError(
            "to_cf needs different depths; two layers have the same middle. "
            "Remap them to adjoining layers first."
        )
    if "depth_bnds" not in ds.variables and {"depth_top", "depth_bottom"} <= set(ds.variables):
        # what a DataArray carries in place of bounds
        both = np.stack([ds["depth_top"].values, ds["depth_bottom"].values], axis=1)
        ds = ds.assign({"depth_bnds": ((LAYER, BOUNDS), both)})
    return ds.swap_dims({LAYER: "depth"})


def time_bounds(ds: xr.Dataset) -> xr.Dataset:
    """Bounds of months (or years) stamped on their first day, of any calendar, and of days."""
    time = ds.get(TIME)
    if time is None or time.dims != (TIME,) or not _has_dates(time.variable):
        return ds
    calendar = str(time.dt.calendar)
    # numpy dates are proleptic; in the years in question that is the standard calendar
    calendar = "standard" if np.issubdtype(time.dtype, np.datetime64) else calendar
    year = int(time.dt.year[0]) if time.size else 1970
    encoding = {"units": f"days since {year}-01-01", "calendar": calendar, "dtype": "float64"}
    months = month_index(time)
    starts = _month_starts(months, time)
    edges = None
    if bool((starts == time.values).all()):
        step = int(np.median(np.diff(months))) if months.size > 1 else 1
        edges = np.stack([starts, _month_starts(months + step, time)], axis=1)
    elif _midnights(time.values):
        edges = np.stack([time.values, time.values + np.timedelta64(1, "D")], axis=1)
    if "time_bnds" not in ds.variables and edges is not None:
        ds = ds.assign({"time_bnds": xr.Variable((TIME, BOUNDS), edges, encoding=encoding)})
    ds = ds.assign_coords({TIME: ds[TIME].variable.copy(deep=False)})
    ds[TIME].encoding = dict(encoding)
    return ds


def _midnights(time: np.ndarray) -> bool:
    """Whether stamps are one day after another, each at its beginning."""
    if not np.issubdtype(time.dtype, np.datetime64) or time.size < 2:
        return False
    day = time.astype("datetime64[D]")
    return bool((day == time).all() and (np.diff(day) == np.timedelta64(1, "D")).all())


def _has_dates(variable: xr.Variable) -> bool:
    if np.issubdtype(variable.dtype, np.datetime64):
        return True
    import cftime

    values = variable.values if variable.dtype == object else np.empty(0)
    return bool(values.size) and all(isinstance(v, cftime.datetime) for v in values.ravel())


def _month_starts(months: np.ndarray, like: xr.DataArray) -> np.ndarray:
    """First day of each month (counted from year 0), as dates of the kind of ``like``."""
    if np.issubdtype(like.dtype, np.datetime64):
        return (months - 1970 * 12).astype("datetime64[M]").astype("datetime64[ns]")
    import cftime

    calendar = like.dt.calendar
    dates = [cftime.datetime(m // 12, m % 12 + 1, 1, calendar=calendar) for m in months.tolist()]
    return np.asarray(dates, dtype=object)


def storable(ds: xr.Dataset, layout: dict[str, Any]) -> xr.Dataset:
    """Types that CF and old readers know: characters, int32, bytes for booleans."""
    for name in list(ds.variables):
        variable = ds.variables[name]
        dtype = variable.dtype
        if dtype.kind in "OUST" and not _has_dates(variable):
            new = _characters(variable)
        elif dtype.kind == "b":
            new = variable.astype("int8")
            new.attrs = {**variable.attrs, "flag_values": [0, 1], "flag_meanings": "false true"}
        elif dtype == np.int64 and _fits_int32(variable):
            new = variable.astype("int32")
        else:
            continue
        if dtype.kind not in "OT":
            layout["dtypes"][str(name)] = dtype.str
        ds = _replace(ds, name, new)
    return ds


def _replace(ds: xr.Dataset, name: Hashable, new: xr.Variable) -> xr.Dataset:
    return ds.assign_coords({name: new}) if name in ds.coords else ds.assign({name: new})


def _fits_int32(variable: xr.Variable) -> bool:
    if variable.chunks is not None:
        return False
    return variable.size == 0 or bool(np.abs(variable.values).max() < 2**31)


def _characters(variable: xr.Variable) -> xr.Variable:
    """Text of fixed width; written as an array of characters, which every program stands."""
    text = np.asarray([_text(v) for v in variable.values.ravel()], dtype=str)
    new = xr.Variable(variable.dims, text.reshape(variable.shape), variable.attrs)
    new.encoding = {"dtype": "S1"}
    return new


def _text(value: object) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def text_labels(ds: xr.Dataset) -> xr.Dataset:
    for name in list(ds.variables):
        variable = ds.variables[name]
        if variable.dtype.kind in "OS" and variable.size and _all_text(variable.values):
            ds = _replace(ds, name, _characters(variable))
    return ds


def _all_text(values: np.ndarray) -> bool:
    return all(isinstance(value, str | bytes) for value in values.ravel())


def is_bounds(ds: xr.Dataset, name: Hashable) -> bool:
    return BOUNDS in ds[name].dims or str(name).endswith(("_bnds", "_bounds"))


def describe(ds: xr.Dataset) -> xr.Dataset:
    """Attributes that CF asks for; what is stated already is kept."""
    crs = crs_name(ds)
    located = crs is not None and has_places(ds)
    # tsp and others read numbers and drop the mask; CDO and others do not know NaN for missing
    fill = np.nan if feature_type(ds) else FILL_VALUE
    for name in list(ds.variables):
        variable = ds.variables[name].copy(deep=False)
        # a copy of its own: attributes must not be written to the argument
        encoding = {k: v for k, v in variable.encoding.items() if k in ("dtype", "units")}
        encoding |= {k: v for k, v in variable.encoding.items() if k == "calendar"}
        quantity = name in ds.data_vars and name != crs and not is_bounds(ds, name)
        attrs = _quantity_attrs(ds, name) if quantity else _coord_attrs(ds, name)
        variable.attrs = {**attrs, **plain_attrs(variable.attrs)}
        for key in variable.attrs.keys() & set(_TYPED_ATTRS):
            variable.attrs[key] = np.asarray(variable.attrs[key], dtype=variable.dtype)
        variable.attrs.pop("grid_mapping", None)
        if quantity and located:
            variable.attrs["grid_mapping"] = crs
        if variable.dtype.kind == "f":
            encoding.pop("dtype", None)
            encoding["_FillValue"] = variable.dtype.type(fill) if quantity else None
        elif name in (TIME, "time_bnds"):
            encoding["_FillValue"] = None
        elif variable.dtype.kind == "M":
            # as numbers of days, because a date may be missing
            encoding = {"units": "days since 1850-01-01", "calendar": "standard"}
            encoding |= {"dtype": "float64", "_FillValue": FILL_VALUE}
        if not quantity:
            # xarray would give bounds a `coordinates` attribute, which CF does not know
            encoding["coordinates"] = None
        elif _on_regions(ds, name):
            encoding["coordinates"] = _without_latlon(ds, name)
        variable.encoding = encoding
        ds = _replace(ds, name, variable)
        ds[name].encoding = encoding
    return ds


def _on_regions(ds: xr.Dataset, name: Hashable) -> bool:
    return any(dim in REGION_DIMS for dim in ds[name].dims) and "lat" in ds[name].coords


def _without_latlon(ds: xr.Dataset, name: Hashable) -> str | None:
    """Auxiliary coordinates but the latitude of a region: CDO takes it for that of a grid."""
    own = ds[name].coords
    rest = [str(n) for n in own if n not in ds.dims and n not in ("lat", "lon")]
    return " ".join(n for n in rest if not is_bounds(ds, n)) or None


def _quantity_attrs(ds: xr.Dataset, name: Hashable) -> dict[str, Any]:
    row = VARIABLES.get(str(name))
    attrs: dict[str, Any] = {k: v for k, v in row.attrs.items() if k != "units"} if row else {}
    attrs.setdefault("long_name", str(name).replace("_", " "))
    if TIME in ds[name].dims and ds[name].dtype.kind == "f":
        attrs["cell_methods"] = "time: mean"
    if (ds[name].attrs.get("standard_name") or attrs.get("standard_name")) in _TEMPERATURES:
        attrs["units_metadata"] = "temperature: on_scale"
    return attrs


def _coord_attrs(ds: xr.Dataset, name: Hashable) -> dict[str, Any]:
    # bounds inherit the attributes of what they bound (CF, section 7.1)
    if is_bounds(ds, name) or name == crs_name(ds):
        return {}
    attrs: dict[str, Any] = dict(_COORD_ATTRS.get(str(name), {}))
    if str(name) in _AXES and ds[name].dims == (name,):
        attrs["axis"] = _AXES[str(name)]
    if name == "depth":
        attrs |= {"standard_name": "depth", "units": "m", "positive": "down", "axis": "Z"}
    if f"{name}_bnds" in ds.variables:
        attrs["bounds"] = f"{name}_bnds"
    if name in STATION_DIMS:
        attrs["cf_role"] = "timeseries_id"
    if name == TIME and ds[name].encoding.get("calendar", "standard") in _REAL_CALENDARS:
        attrs["units_metadata"] = "leap_seconds: none"
    if not {"standard_name", "long_name"} & (attrs.keys() | ds[name].attrs.keys()):
        attrs["long_name"] = str(name).replace("_", " ")
    return attrs


def ordered(ds: xr.Dataset) -> xr.Dataset:
    """Time first, then further dimensions, Z, places, Y, X.

    CF 2.4 only recommends further dimensions left of time; CDO reads no variable whose first
    dimension is not time.
    """
    grid = ["lat", "y", "lon", "x"]
    places = [d for d in ds.dims if d in (*STATION_DIMS, *REGION_DIMS)]
    named = {TIME, "depth", LAYER, *grid, *places, BOUNDS}
    others = [d for d in ds.dims if d not in named]
    order = [TIME, *others, "depth", LAYER, *places, *grid, BOUNDS]
    return ds.transpose(*[d for d in order if d in ds.dims])


def feature_type(ds: xr.Dataset) -> str:
    """Discrete sampling geometry of stations, one or many (CF, chapter 9)."""
    one = {"lat", "lon"} <= set(ds.variables) and ds["lat"].ndim == 0
    many = any(dim in STATION_DIMS for dim in ds.dims)
    if TIME not in ds.dims or not (many or (one and any(n in STATION_DIMS for n in ds.variables))):
        return ""
    return "timeSeriesProfile" if "depth" in ds.dims else "timeSeries"
