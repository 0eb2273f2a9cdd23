"""Files for other programs: CF-1.11 NetCDF and the way back, GeoTIFF, vector layers, profiles.

``to_cf`` and ``from_cf`` are inverse to one another; what the one adds, the other takes
away, by the note that is kept in the global attribute ``xpermafrost_layout``.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ._cf import (
    CRS_NAME,
    crs_as_data,
    depth_dimension,
    describe,
    feature_type,
    is_bounds,
    ordered,
    plain_attrs,
    storable,
    text_labels,
    time_bounds,
    with_line,
)
from ._checks import choose
from ._files import atomic_path
from ._geotiff import check_paths
from ._geotiff import to_geotiff as to_geotiff
from ._profiles import profiles
from ._vector import to_vector as to_vector
from .errors import DimensionError
from .schema import LAYER

#: Version of the CF conventions that files declare.
CONVENTIONS = "CF-1.11"

#: Bytes of a chunk of a file of what was in memory, at most.
PIECE = 2**23

_LAYOUT = "xpermafrost_layout"
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
        every data variable names the grid mapping (``crs``, WGS84 unless stated) if the Dataset
        says where its values lie, has ``cell_methods`` if it varies in time and a numeric
        ``_FillValue`` (1e20; NaN in files of stations); labels are stored as characters. Units
        and values are those of ``obj``.

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
    >>> cf["tsl"].dims, cf["depth"].attrs["positive"], cf.attrs["Conventions"]
    (('depth',), 'down', 'CF-1.11')
    >>> from_cf(cf).identical(ds)
    True
    """
    ds = _as_dataset(obj)
    layout: dict[str, Any] = {
        "dims": {str(n): [str(d) for d in v.dims] for n, v in ds.variables.items()},
        "coords": [str(name) for name in ds.coords],
        "dtypes": {},
        "attrs": _restorable(ds),
        "global": plain_attrs(ds.attrs),
    }
    ds = crs_as_data(ds)
    ds = depth_dimension(ds)
    ds = time_bounds(ds)
    ds = storable(ds, layout)
    ds = describe(ds)
    ds = ordered(ds)
    bounds = [n for n in ds.coords if is_bounds(ds, n)]
    # As data variables: xarray lists other coordinates in `coordinates`, and CF wants bounds
    # and the grid mapping named by their own attributes only.
    ds = ds.reset_coords(bounds)
    ds.attrs = {**plain_attrs(ds.attrs), "Conventions": CONVENTIONS, _LAYOUT: json.dumps(layout)}
    feature = feature_type(ds)
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
    out = text_labels(ds.copy(deep=False))
    if "depth" in out.dims and LAYER not in out.dims:
        if LAYER not in out.variables:
            out = out.assign_coords({LAYER: ("depth", np.arange(1, out.sizes["depth"] + 1))})
        out = out.swap_dims(depth=LAYER)
    if not layout:
        return out
    known = layout["dims"]
    made = ("time_bnds", "depth_bnds", CRS_NAME)
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
    progress: bool = False,
) -> Path:
    """Write a CF-1.11 NetCDF-4 file: whole or not at all, never over another one unasked.

    Lazy data are computed in chunks while writing, and the file's chunks are theirs; those of large
    data in memory hold up to 8 MB, cut along the longest dimensions. One line is added to
    ``history``. Of more than memory holds, :func:`xpermafrost.to_zarr` can be resumed.

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
    progress : bool, default False
        Show a progress bar of the tasks of lazy data.

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
    import dask

    choose("compression", compression, _COMPRESSIONS)
    ds = to_cf(obj)
    in_memory = all(variable.chunks is None for variable in ds.variables.values())
    ds = _in_pieces(ds) if in_memory else ds
    ds.attrs["history"] = with_line(ds.attrs.get("history"), f"to_netcdf({Path(path).name!r})")
    for name, variable in ds.variables.items():
        if compression == "zlib" and variable.ndim and variable.dtype.kind in "fiu":
            ds[name].encoding.update(zlib=True, complevel=4, shuffle=True)
        if variable.chunks and variable.ndim:
            ds[name].encoding["chunksizes"] = tuple(max(sizes) for sizes in variable.chunks)
    # what is in memory here is not sent to the workers of a cluster
    here = dask.config.set(scheduler="threads") if in_memory else nullcontext()
    with atomic_path(path, overwrite=overwrite) as temporary, _shown(progress), here:
        ds.to_netcdf(temporary, engine="netcdf4", format="NETCDF4")
    return Path(path)


def _in_pieces(ds: xr.Dataset) -> xr.Dataset:
    """Large variables as chunks of the file, which are turned and filled one by one."""
    large = [n for n, da in ds.data_vars.items() if da.nbytes > PIECE and da.dtype.kind in "fiubmM"]
    return ds.assign({name: _pieces_of(ds[name].variable) for name in large})


def _pieces_of(variable: xr.Variable) -> xr.Variable:
    import dask.array as darray
    from dask.array.core import normalize_chunks

    values, sizes = variable.values, dict(variable.sizes)
    while math.prod(sizes.values()) * variable.dtype.itemsize > PIECE:
        longest = max(sizes, key=lambda dim: sizes[dim])
        sizes[longest] = -(-sizes[longest] // 2)

    def piece(block_info: Any = None) -> np.ndarray:
        return values[tuple(slice(*edges) for edges in block_info[None]["array-location"])]

    chunks = normalize_chunks(tuple(sizes.values()), variable.shape)
    name = f"piece-{uuid.uuid4().hex}"  # dask would copy the array, and read it for a name
    data = darray.map_blocks(piece, chunks=chunks, dtype=variable.dtype, name=name)
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


def _shown(progress: bool) -> AbstractContextManager[object]:
    if not progress:
        return nullcontext()
    from tqdm.dask import TqdmCallback

    return TqdmCallback(desc="tasks")


def to_profiles(
    obj: xr.DataArray | xr.Dataset, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Write soil temperature of stations, a CF ``timeSeriesProfile`` per station and scenario.

    Each file holds ``soil_temperature (time, depth)`` [degree_Celsius] of one place with missing
    values as NaN, so that ``tsp.read_netcdf`` (Brown 2022) reads it unaided. Lazy data are
    computed file after file.

    Parameters
    ----------
    obj : DataArray or Dataset
        Canonical with ``tsl`` [K], or a product ``soil_temperature``: dims ``station, layer,
        time``, and ``scenario`` or ``member``, which become files; with ``lat`` and ``lon``, and
        ``elevation`` where it is known. Other variables are left out (see :func:`to_netcdf`).
    folder : path-like
        Existing folder.
    overwrite : bool, default False
        Replace existing files.

    Returns
    -------
    list of Path
        The files, called by station and scenario.

    Raises
    ------
    MissingVariableError
        If there is no soil temperature.
    DimensionError
        If there are no stations, or they lack ``lat``, ``lon`` or ``depth``.
    UnitsError
        If soil temperature is neither in K nor in degree_Celsius.
    OutputExistsError
        If a file exists and ``overwrite`` is False, or two stations have one name. Nothing has
        been written then.

    Examples
    --------
    >>> import tempfile
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(dim="station", locations=["Healy", "Inuvik"]).assign_coords(
    ...     lat=("station", [63.9, 68.4]), lon=("station", [-149.0, -133.7]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in to_profiles(ds, folder)]
    ['Healy.nc', 'Inuvik.nc']
    """
    files = [(Path(folder) / f"{name}.nc", one) for name, one in profiles(obj)]
    paths = [path for path, _ in files]
    check_paths(paths, overwrite, cure="Rename the stations.")
    for path, one in files:
        to_netcdf(one, path, overwrite=overwrite)
    return paths


def _as_dataset(obj: xr.DataArray | xr.Dataset) -> xr.Dataset:
    if isinstance(obj, xr.Dataset):
        return obj.copy(deep=False)
    if obj.name is None:
        raise DimensionError(
            "to_cf needs a DataArray with a name, for instance da.rename('soil_temperature')."
        )
    return obj.to_dataset()


def _restorable(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    return {str(name): plain_attrs(variable.attrs) for name, variable in ds.variables.items()}


def _restored(ds: xr.Dataset, layout: dict[str, Any]) -> xr.Dataset:
    """Attributes as they were; those that were put on since are kept, those of to_cf go."""
    added = {
        "grid_mapping", "cell_methods", "standard_name", "long_name", "units", "axis", "bounds",
        "cf_role", "positive", "_FillValue", "coordinates", "flag_values", "flag_meanings",
        "calendar", "units_metadata",
    }  # fmt: skip
    for name, variable in ds.variables.items():
        before = layout["attrs"].get(str(name))
        if before is None:
            continue
        new = {k: v for k, v in variable.attrs.items() if k not in before and k not in added}
        mapping = variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping"))
        ds[name].attrs = {**before, **new}
        # a projection of one's own stays named: rioxarray looks here
        own = mapping in layout["dims"] and "grid_mapping" not in before
        ds[name].encoding = {"grid_mapping": mapping} if own else {}
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
