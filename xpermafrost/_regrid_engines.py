"""Other packages that regrid: xESMF makes weights, xarray-regrid whole fields."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ._grids import AXIS_ATTRS, Entries
from ._optional import require
from .errors import DataError, DimensionError
from .masks import around, cell_bounds


def through_xarray_regrid(
    ds: xr.Dataset, target: xr.Dataset | xr.DataArray, method: str, least: float
) -> dict[Hashable, xr.DataArray]:
    """The same by the package xarray-regrid; opt_einsum spares it a dense product."""
    for module in ("xarray_regrid", "opt_einsum"):
        require(
            module,
            purpose="engine='xarray-regrid'",
            install="pip install xarray-regrid opt_einsum",
        )
    grid = xr.Dataset(coords={name: (name, target[name].values) for name in ("lat", "lon")})
    if method == "conservative":
        out = ds.regrid.conservative(grid, latitude_coord="lat", nan_threshold=1.0 - least)
    else:
        out = ds.regrid.linear(grid) if method == "bilinear" else ds.regrid.nearest(grid)
    return {name: da.drop_vars(["lat", "lon"]) for name, da in out.data_vars.items()}


def xesmf_entries(
    source: xr.Dataset | xr.DataArray, target: xr.Dataset | xr.DataArray, method: str
) -> Entries:
    """Weights of ESMF over flattened cells; those of an overlap are shares of the target cell."""
    if method == "nearest":
        raise DataError("engine='xesmf' is for 'conservative' and 'bilinear'; got 'nearest'.")
    xesmf = require(
        "xesmf",
        purpose="engine='xesmf'",
        install="conda install -c conda-forge xesmf (ESMF is not on PyPI)",
    )
    lon = np.asarray(source["lon"].values, dtype="float64")
    made = xesmf.Regridder(
        _esmf_grid(source, method),
        _esmf_grid(target, method),
        method,
        periodic=method == "bilinear" and around(lon[len(lon) // 2] if lon.ndim == 2 else lon)[3],
    )
    matrix = made.weights.data
    order = np.lexsort((matrix.coords[1], matrix.coords[0]))
    return matrix.coords[0][order], matrix.coords[1][order], matrix.data[order]


def _esmf_grid(grid: xr.Dataset | xr.DataArray, method: str) -> xr.Dataset:
    """``lat``, ``lon`` and the corners of the cells as xESMF reads them."""
    if grid["lat"].ndim == 1:
        ds = xr.Dataset(coords={name: (name, grid[name].values) for name in ("lat", "lon")})
        for name in ("lat", "lon"):
            cells = cell_bounds(grid, name)
            low, high = (0, 1) if cells[0, 0] < cells[-1, 0] else (1, 0)
            ds[f"{name}_b"] = (f"{name}_b", np.append(cells[:, low], cells[-1, high]))
        return ds
    known = grid.variables if isinstance(grid, xr.Dataset) else grid.coords
    corners = [
        "lat_b",
        "lon_b",
        *(grid[n].attrs.get("bounds", f"{n}_bnds") for n in ("lat", "lon")),
    ]
    corners = [name for name in corners if name in known]
    if method == "conservative" and len(corners) < 2:
        raise DimensionError(
            "conservative weights of a curvilinear grid need the corners of its cells: 'lat_b' and "
            "'lon_b' of one row and column more, or CF bounds with four vertices, which 'lat' and "
            "'lon' name in their attribute 'bounds'. Without them type method='bilinear'."
        )
    # xESMF finds bounds through cf_xarray, which goes by attributes
    axes = {
        name: grid[name].assign_attrs(standard_name=AXIS_ATTRS[name]["standard_name"])
        for name in ("lat", "lon")
    }
    return xr.Dataset({name: grid[name] for name in corners}, coords=axes)
