"""Finishing Datasets for files: CF-1.11 that other programs read, and the way back.

``to_cf`` and ``from_cf`` are inverse to one another; what the one adds, the other takes
away, by the note that is kept in the global attribute ``xpermafrost_layout``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ._checks import choose, month_index
from ._files import atomic_path
from .errors import DimensionError
from .schema import BOUNDS, LAYER, TIME, VARIABLES
from .sources.stations import STATION_DIMS

#: Version of the CF conventions that files declare.
CONVENTIONS = "CF-1.11"

#: Missing value of files, the one of CMIP: some programs do not know NaN for missing.
FILL_VALUE = 1e20

_LAYOUT = "xpermafrost_layout"
_CRS = "crs"
_CRS_NAMES = (_CRS, "spatial_ref")
_COORD_ATTRS: dict[str, dict[str, str]] = {
    "lat": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
    "x": {"standard_name": "projection_x_coordinate", "units": "m"},
    "y": {"standard_name": "projection_y_coordinate", "units": "m"},
    TIME: {"standard_name": "time", "long_name": "time", "axis": "T"},
}
_AXES = {"lat": "Y", "lon": "X", "y": "Y", "x": "X"}
#: Dimensions of region sets.
REGION_DIMS = ("band", "region")
_COMPRESSIONS = ("zlib", "none")


def to_cf(obj: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Finish a canonical Dataset or a product for a CF-1.11 file.

    Lazy: coordinates are read, values are not. The argument is not written to.

    Parameters
    ----------
    obj : DataArray or Dataset
        Any of grid ``(lat, lon)`` or ``(y, x)``, regions or stations, with ``time`` as first of
        the month, ``layer`` with ``depth`` [m] and ``depth_bnds``, and further dimensions.

    Returns
    -------
    Dataset
        ``layer`` has become the dimension ``depth`` (m, positive down, axis Z, with bounds),
        ``time`` has ``time_bnds``, ``lat`` and ``lon`` name their bounds where these are known,
        every data variable names the grid mapping ``crs``, has ``cell_methods`` if it varies in
        time and a numeric ``_FillValue``; labels are stored as characters. Units and values are
        those of ``obj``.

    Raises
    ------
    DimensionError
        If a DataArray has no name, or projected data no ``crs``.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xpermafrost.schema import layer_coords
    >>> ds = xr.Dataset({"tsl": ("layer", np.full(4, 270.0), {"units": "K"})},
    ...                 coords=layer_coords())
    >>> cf = to_cf(ds)
    >>> cf["tsl"].dims, cf["tsl"].attrs["grid_mapping"], cf.attrs["Conventions"]
    (('depth',), 'crs', 'CF-1.11')
    >>> from_cf(cf).identical(ds)
    True
    """
    ds = _as_dataset(obj)
    layout: dict[str, Any] = {
        "dims": {str(n): [str(d) for d in v.dims] for n, v in ds.variables.items()},
        "coords": [str(name) for name in ds.coords],
        "dtypes": {},
        "attrs": _restorable(ds),
        "global": _plain(ds.attrs),
    }
    ds = _crs_as_data(ds)
    ds = _depth_dimension(ds)
    ds = _time_bounds(ds)
    ds = _storable(ds, layout)
    ds = _describe(ds)
    ds = _ordered(ds)
    bounds = [n for n in ds.coords if _is_bounds(ds, n)]
    # As data variables: xarray lists other coordinates in `coordinates`, and CF wants bounds
    # and the grid mapping named by their own attributes only.
    ds = ds.reset_coords(bounds)
    ds.attrs = {**_plain(ds.attrs), "Conventions": CONVENTIONS, _LAYOUT: json.dumps(layout)}
    feature = _feature_type(ds)
    if feature:
        ds.attrs["featureType"] = feature
    return ds


def from_cf(ds: xr.Dataset) -> xr.Dataset:
    """Undo :func:`to_cf`: dimensions, coordinates, labels, attributes. Lazy.

    Parameters
    ----------
    ds : Dataset
        Made by :func:`to_cf`, possibly written and read again, possibly by another program.

    Returns
    -------
    Dataset
        As it was before. Without the note of :func:`to_cf` (another program may have dropped
        it) the dimension ``depth`` becomes ``layer`` and labels become text, no more.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"snd": ("band", [0.1, 0.2], {"units": "m"})},
    ...                 coords={"band": ["south", "north"]})
    >>> from_cf(to_cf(ds)).identical(ds)
    True
    """
    layout = json.loads(ds.attrs[_LAYOUT]) if _LAYOUT in ds.attrs else {}
    out = _text_labels(ds.copy(deep=False))
    if "depth" in out.dims and LAYER not in out.dims:
        if LAYER not in out.variables:
            out = out.assign_coords({LAYER: ("depth", np.arange(1, out.sizes["depth"] + 1))})
        out = out.swap_dims(depth=LAYER)
    if not layout:
        return out
    known = layout["dims"]
    made = ("time_bnds", _CRS)
    out = out.drop_vars([n for n in made if n in out.variables and n not in known])
    coords = [n for n in layout["coords"] if n in out.variables]
    out = out.reset_coords([n for n in out.coords if n not in out.dims]).set_coords(coords)
    for name, dtype in layout["dtypes"].items():
        if name in out.variables:
            out[name] = out[name].astype(dtype)
    return _restored(out, layout)


def to_netcdf(
    obj: xr.DataArray | xr.Dataset,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    compression: str = "zlib",
) -> Path:
    """Write a CF-1.11 NetCDF-4 file: whole or not at all, never over another one unasked.

    Lazy data are computed in chunks while writing. One line is added to ``history``.

    Parameters
    ----------
    obj : DataArray or Dataset
        As for :func:`to_cf`, which is applied.
    path : path-like
        Target; its folder must exist.
    overwrite : bool, default False
        Replace an existing file.
    compression : {"zlib", "none"}
        ``zlib`` (level 4, shuffled) is read by every NetCDF-4 program.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputExistsError
        If ``path`` exists and ``overwrite`` is False.
    FileNotFoundError
        If the folder does not exist.
    UnknownNameError
        If ``compression`` is not known.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> ds = xr.Dataset({"snd": ("band", [0.1, 0.2], {"units": "m"})})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_netcdf(ds, folder + "/snow.nc").name
    'snow.nc'
    """
    choose("compression", compression, _COMPRESSIONS)
    ds = to_cf(obj)
    ds.attrs["history"] = _with_line(ds.attrs.get("history"), Path(path).name)
    for name, variable in ds.variables.items():
        if compression == "zlib" and variable.ndim and variable.dtype.kind in "fiu":
            ds[name].encoding.update(zlib=True, complevel=4, shuffle=True)
    with atomic_path(path, overwrite=overwrite) as temporary:
        ds.to_netcdf(temporary, engine="netcdf4", format="NETCDF4")
    return Path(path)


def _with_line(history: object, name: str) -> str:
    from . import __version__

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} xpermafrost {__version__}: to_netcdf({name!r})"
    return f"{history}\n{line}" if history else line


def _as_dataset(obj: xr.DataArray | xr.Dataset) -> xr.Dataset:
    if isinstance(obj, xr.Dataset):
        return obj.copy(deep=False)
    if obj.name is None:
        raise DimensionError(
            "to_cf needs a DataArray with a name, for instance da.rename('soil_temperature')."
        )
    return obj.to_dataset()


def _plain(attrs: dict[Any, Any]) -> dict[str, Any]:
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


def _restorable(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    return {str(name): _plain(variable.attrs) for name, variable in ds.variables.items()}


def _restored(ds: xr.Dataset, layout: dict[str, Any]) -> xr.Dataset:
    """Attributes as they were; those that were put on since are kept, those of to_cf go."""
    added = {
        "grid_mapping", "cell_methods", "standard_name", "long_name", "units", "axis", "bounds",
        "cf_role", "positive", "_FillValue", "coordinates", "flag_values", "flag_meanings",
        "calendar",
    }  # fmt: skip
    for name, variable in ds.variables.items():
        before = layout["attrs"].get(str(name))
        if before is None:
            continue
        new = {k: v for k, v in variable.attrs.items() if k not in before and k not in added}
        ds[name].attrs = {**before, **new}
        ds[name].encoding = {}
    order = layout["dims"]
    for name in list(ds.data_vars) + [c for c in ds.coords if c not in ds.dims]:
        wanted = [d for d in order.get(str(name), []) if d in ds[name].dims]
        if len(wanted) == ds[name].ndim and tuple(wanted) != ds[name].dims:
            ds[name] = ds[name].transpose(*wanted)
    made = (_LAYOUT, "Conventions", "featureType", "coordinates")
    new = {k: v for k, v in ds.attrs.items() if k not in made and k not in layout["global"]}
    # `history` may have grown since
    kept = {k: ds.attrs[k] for k in layout["global"] if k == "history" and k in ds.attrs}
    ds.attrs = {**layout["global"], **new, **kept}
    return ds


def _crs_as_data(ds: xr.Dataset) -> xr.Dataset:
    """The grid mapping as a data variable called ``crs``, or WGS84 where none is stated."""
    for name in _CRS_NAMES:
        if name in ds.variables and ds[name].ndim == 0:
            return ds.reset_coords(name) if name in ds.coords else ds
    if {"x", "y"} <= set(ds.dims):
        raise DimensionError(
            "to_cf needs the projection of data on ('y', 'x'); there is no 'crs'. "
            "Type ds = ds.rio.write_crs('EPSG:3338') with the code of yours."
        )
    from pyproj import CRS

    wgs84 = CRS.from_epsg(4326).to_cf()
    # GDAL's own name for the text, which older versions look for
    attrs = {**_plain(wgs84), "spatial_ref": wgs84["crs_wkt"]}
    return ds.assign({_CRS: xr.Variable((), np.int32(0), attrs)})


def _crs_name(ds: xr.Dataset) -> str:
    return next(n for n in _CRS_NAMES if n in ds.variables and ds[n].ndim == 0)


def _depth_dimension(ds: xr.Dataset) -> xr.Dataset:
    if LAYER not in ds.dims or "depth" not in ds.coords or ds["depth"].dims != (LAYER,):
        return ds
    if not ds["depth"].to_index().is_unique:
        raise DimensionError(
            "to_cf needs different depths; two layers have the same middle. "
            "Remap them to adjoining layers first."
        )
    return ds.swap_dims({LAYER: "depth"})


def _time_bounds(ds: xr.Dataset) -> xr.Dataset:
    """Bounds of months (or years), where stamps are the first of a month."""
    time = ds.variables.get(TIME)
    if time is None or time.dims != (TIME,) or not np.issubdtype(time.dtype, np.datetime64):
        return ds
    days = f"days since {_first_year(time)}-01-01"
    months = month_index(ds[TIME])
    starts = (months - 1970 * 12).astype("datetime64[M]")
    exact = np.array_equal(starts.astype("datetime64[ns]"), time.values.astype("datetime64[ns]"))
    if exact and "time_bnds" not in ds.variables:
        step = int(np.median(np.diff(months))) if months.size > 1 else 1
        edges = np.stack([starts, starts + step], axis=1).astype("datetime64[ns]")
        bounds = xr.Variable((TIME, BOUNDS), edges)
        bounds.encoding = {"units": days, "calendar": "standard", "dtype": "float64"}
        ds = ds.assign({"time_bnds": bounds})
    ds = ds.assign_coords({TIME: ds[TIME].variable.copy(deep=False)})
    ds[TIME].encoding = {"units": days, "calendar": "standard", "dtype": "float64"}
    return ds


def _first_year(time: xr.Variable) -> int:
    return int(time.values[0].astype("datetime64[Y]").astype(int)) + 1970 if time.size else 1970


def _storable(ds: xr.Dataset, layout: dict[str, Any]) -> xr.Dataset:
    """Types that CF and old readers know: characters, int32, bytes for booleans."""
    for name in list(ds.variables):
        variable = ds.variables[name]
        dtype = variable.dtype
        if dtype.kind in "OUS":
            new = _characters(variable)
        elif dtype.kind == "b":
            new = variable.astype("int8")
            new.attrs = {**variable.attrs, "flag_values": [0, 1], "flag_meanings": "false true"}
        elif dtype == np.int64 and _fits_int32(variable):
            new = variable.astype("int32")
        else:
            continue
        if dtype.kind != "O":
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


def _text_labels(ds: xr.Dataset) -> xr.Dataset:
    for name in list(ds.variables):
        variable = ds.variables[name]
        if variable.dtype.kind in "OS" and variable.size and _all_text(variable.values):
            ds = _replace(ds, name, _characters(variable))
    return ds


def _all_text(values: np.ndarray) -> bool:
    return all(isinstance(value, str | bytes) for value in values.ravel())


def _is_bounds(ds: xr.Dataset, name: Hashable) -> bool:
    return BOUNDS in ds[name].dims or str(name).endswith(("_bnds", "_bounds"))


def _describe(ds: xr.Dataset) -> xr.Dataset:
    """Attributes that CF asks for; what is stated already is kept."""
    crs = _crs_name(ds)
    for name in list(ds.variables):
        variable = ds.variables[name].copy(deep=False)
        # a copy of its own: attributes must not be written to the argument
        encoding = {k: v for k, v in variable.encoding.items() if k in ("dtype", "units")}
        encoding |= {k: v for k, v in variable.encoding.items() if k == "calendar"}
        quantity = name in ds.data_vars and name != crs and not _is_bounds(ds, name)
        attrs = _quantity_attrs(ds, name, crs) if quantity else _coord_attrs(ds, name)
        variable.attrs = {**attrs, **_plain(variable.attrs)}
        if quantity:
            variable.attrs["grid_mapping"] = crs
        if variable.dtype.kind == "f":
            encoding.pop("dtype", None)
            encoding["_FillValue"] = variable.dtype.type(FILL_VALUE) if quantity else None
        elif variable.dtype.kind == "M":
            encoding["_FillValue"] = None if name in (TIME, "time_bnds") else FILL_VALUE
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
    return " ".join(n for n in rest if not _is_bounds(ds, n)) or None


def _quantity_attrs(ds: xr.Dataset, name: Hashable, crs: str) -> dict[str, Any]:
    row = VARIABLES.get(str(name))
    attrs: dict[str, Any] = {k: v for k, v in row.attrs.items() if k != "units"} if row else {}
    attrs.setdefault("long_name", str(name).replace("_", " "))
    if TIME in ds[name].dims and ds[name].dtype.kind == "f":
        attrs["cell_methods"] = "time: mean"
    return attrs


def _coord_attrs(ds: xr.Dataset, name: Hashable) -> dict[str, Any]:
    attrs: dict[str, Any] = dict(_COORD_ATTRS.get(str(name), {}))
    if str(name) in _AXES and ds[name].dims == (name,):
        attrs["axis"] = _AXES[str(name)]
    if name == "depth":
        attrs |= {"standard_name": "depth", "units": "m", "positive": "down", "axis": "Z"}
    if f"{name}_bnds" in ds.variables:
        attrs["bounds"] = f"{name}_bnds"
    if name in STATION_DIMS:
        attrs["cf_role"] = "timeseries_id"
    return attrs


def _ordered(ds: xr.Dataset) -> xr.Dataset:
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


def _feature_type(ds: xr.Dataset) -> str:
    if not any(d in STATION_DIMS for d in ds.dims) or TIME not in ds.dims:
        return ""
    return "timeSeriesProfile" if "depth" in ds.dims else "timeSeries"
