"""Regridding between rectilinear grids by separable sparse weights, NaN-aware and lazy.

On rectilinear grids a weight is a product of one along latitude and one along longitude
(Jones, 1999, first-order conservative remapping, Mon. Wea. Rev. 127, 2204-2210, whose cell
edges are here meridians and parallels), so that two small sparse matrices hold them all.
Weights are data: a Dataset with both grids in it, to be saved and used again.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ._checks import check_whole, choose
from ._grids import (
    AXIS_ATTRS,
    SAME,
    axis_entries,
    cell_area,
    describe,
    field_dims,
    require_axes,
    source_coords,
    target_coords,
)
from ._regrid_engines import through_xarray_regrid, xesmf_entries
from .errors import DataError, DimensionError, RegionError
from .masks import cell_bounds
from .schema import BOUNDS

METHODS = ("conservative", "bilinear", "nearest")
ENGINES = ("native", "xesmf", "xarray-regrid")

#: Share of a target cell that valid source cells must cover, by method, unless the call says.
MIN_VALID = {"conservative": 0.5, "bilinear": 1.0, "nearest": 1.0}

#: Slack of that share: coordinates in float32 do not meet the edges of cells exactly.
_SLACK = 1e-4

_AREA_NAMES = ("cell_area", "areacella", "areacello")


def make_grid(
    resolution: float | tuple[float, float],
    *,
    lat: tuple[float, float] = (-90.0, 90.0),
    lon: tuple[float, float] = (-180.0, 180.0),
) -> xr.Dataset:
    """A regular grid to regrid to.

    Parameters
    ----------
    resolution : float or tuple of float
        Size of a cell [degrees], of latitude and of longitude where they differ.
    lat, lon : tuple of float
        Outer edges of the grid [degrees], not centres. A west above the east crosses the
        dateline.

    Returns
    -------
    Dataset
        Coordinates ``lat``, ``lon``, their bounds, and ``cell_area`` [m2].

    Raises
    ------
    RegionError
        If the edges are not a whole number of cells apart, or off the globe.

    Examples
    --------
    >>> grid = make_grid((1.25, 2.5), lat=(50, 72.5), lon=(-180, -130))
    >>> grid.sizes["lat"], grid.sizes["lon"], float(grid.lat[0]), float(grid.lon[0])
    (18, 20, 50.625, -178.75)
    """
    steps = np.broadcast_to(resolution, 2).tolist()
    east = lon[1] if lon[1] > lon[0] else lon[1] + 360.0
    if not (-90 <= lat[0] < lat[1] <= 90 and east - lon[0] <= 360):
        raise RegionError(
            f"a grid needs edges south < north in -90..90 and at most 360 degrees of longitude; "
            f"got lat={lat}, lon={lon}. Type for instance lat=(50, 72), lon=(-180, -129)."
        )
    coords: dict[str, xr.Variable] = {}
    for name, low, high, step in (("lat", *lat, steps[0]), ("lon", lon[0], east, steps[1])):
        cells = round((high - low) / step) if step > 0 else 0
        if cells < 1 or abs(cells * step - (high - low)) > 1e-6 * abs(step):
            raise RegionError(
                f"{name} {low:g} to {high:g} is not a whole number of cells of {step:g} degrees; "
                f"choose other edges: {name}=({low:g}, {low + max(cells, 1) * abs(step):g})."
            )
        edges = np.linspace(low, high, cells + 1)
        bounds = np.stack([edges[:-1], edges[1:]], axis=1)
        attrs = {**AXIS_ATTRS[name], "bounds": f"{name}_bnds"}
        coords[name] = xr.Variable(name, bounds.mean(axis=1), attrs)
        coords[f"{name}_bnds"] = xr.Variable((name, BOUNDS), bounds)
    grid = xr.Dataset(coords=coords)
    return grid.assign_coords(cell_area=cell_area(grid))


def regrid_weights(
    source: xr.Dataset | xr.DataArray,
    target: xr.Dataset | xr.DataArray,
    *,
    method: str = "conservative",
    engine: str = "native",
) -> xr.Dataset:
    """Weights that bring fields of one grid to another; to be saved and used again.

    Parameters
    ----------
    source : Dataset or DataArray
        With 1-D ``lat``, ``lon`` [degrees] in any order; with ``engine="xesmf"`` also 2-D.
    target : Dataset or DataArray
        With 1-D ``lat``, ``lon`` [degrees], such as :func:`make_grid` makes.
    method : {"conservative", "bilinear", "nearest"}
        See :func:`regrid`; ``nearest`` is native only.
    engine : {"native", "xesmf"}

    Returns
    -------
    Dataset
        Eager. Along ``lat_entry`` and ``lon_entry``, each entry a target row (column), a source
        row (column) and its share (``lat_target``, ``lat_source``, ``lat_weight``, ...); from
        xESMF along ``entry``, over flattened cells. The target's coordinates and, with the
        prefix ``source_``, the source's.

    Raises
    ------
    DimensionError
        If ``lat`` or ``lon`` is missing, or 2-D where it must not be.
    RegionError
        If the target lies outside the source, or cells overlap.
    MissingDependencyError
        If the engine cannot be imported.

    Notes
    -----
    The share of source row s in target row t is (sin n - sin s) / (sin N - sin S), where s and
    n bound the overlap and S and N the target row; that of a column is the ratio of widths in
    longitude (the first-order weights of Jones, 1999). Shares add up to less than 1 where the
    target cell is partly outside the source.

    Examples
    --------
    >>> fine = make_grid(1, lat=(60, 64), lon=(0, 4))
    >>> weights = regrid_weights(fine, make_grid(2, lat=(60, 64), lon=(0, 4)))
    >>> weights["lon_source"].values.tolist(), weights["lon_weight"].values.tolist()
    ([0, 1, 2, 3], [0.5, 0.5, 0.5, 0.5])
    """
    choose("method", method, METHODS)
    choose("engine", engine, ENGINES[:2])
    require_axes(source, "source", curvilinear=engine == "xesmf")
    require_axes(target, "target")
    if engine == "xesmf":
        entries = {"": xesmf_entries(source, target, method)}
    else:
        entries = {
            f"{name}_": axis_entries(source, target, name, method) for name in ("lat", "lon")
        }
    where = {"source_grid": describe(source), "target_grid": describe(target)}
    variables = source_coords(source)
    for prefix, arrays in entries.items():
        if not arrays[0].size:
            raise RegionError(
                "the target grid lies outside the source: nothing overlaps.\n"
                f"target: {where['target_grid']}\nsource: {where['source_grid']}"
            )
        for part, values in zip(("target", "source", "weight"), arrays, strict=True):
            variables[f"{prefix}{part}"] = xr.Variable(f"{prefix}entry", values)
    attrs = {"title": "regridding weights", "method": method, "engine": engine, **where}
    return xr.Dataset(variables, target_coords(target), attrs)


def regrid(
    ds: xr.Dataset,
    target: xr.Dataset | xr.DataArray,
    *,
    method: str = "conservative",
    engine: str = "native",
    weights: xr.Dataset | None = None,
    min_valid: float | None = None,
) -> xr.Dataset:
    """Bring every gridded variable of a Dataset to another grid.

    Lazy on dask: one task per chunk; ``lat`` and ``lon`` in one chunk each, chunks of other
    dimensions stay. All variables are taken as intensive (means over the cell); what is a
    total of the cell is to be divided by its area first. A cell area becomes the target's.

    Parameters
    ----------
    ds : Dataset
        With 1-D ``lat``, ``lon`` [degrees], ascending or descending, 0-360 or -180-180;
        ``lat_bnds`` and ``lon_bnds`` are used where present.
    target : Dataset or DataArray
        With 1-D ``lat``, ``lon``; its bounds are used where present. See :func:`make_grid`.
    method : {"conservative", "bilinear", "nearest"}
        ``conservative``: mean over the cell, weighted by the true area of overlap; the integral
        is kept. ``bilinear``: linear in latitude and longitude between cell centres, across
        the seam of a full circle; nothing is extrapolated, so that a target is NaN outside the
        outermost centres, at the poles too. ``nearest``: the source cell that holds the
        target's centre; for classes, of any type.
    engine : {"native", "xesmf", "xarray-regrid"}
        ``xesmf`` for curvilinear and rotated grids (2-D ``lat``, ``lon``; corners ``lat_b``,
        ``lon_b`` or CF bounds for ``conservative``): ESMF makes the weights. Import xesmf
        before netCDF4; the other order is known to crash. ``xarray-regrid`` is a cross-check;
        it knows no bounds.
    weights : Dataset, optional
        Made by :func:`regrid_weights` for these two grids; ``engine`` is then theirs.
    min_valid : float, optional
        Least share (0 to 1) of a target cell that valid source cells must cover (of the weight,
        for ``bilinear``); the mean is then over those. What lies outside the source counts as
        missing. By default 0.5 for ``conservative`` and 1 for ``bilinear``, which is then NaN
        next to a missing cell; 0 asks for any valid source at all. Not used by ``nearest``.

    Returns
    -------
    Dataset
        As ``ds`` on ``lat, lon`` of the target, with bounds. float32 stays float32 (sums are
        float64). Variables without ``lat`` and ``lon`` are kept as they are.

    Raises
    ------
    DimensionError
        If ``lat`` or ``lon`` is missing, 2-D, or split over chunks; if a variable has one only.
    RegionError
        If the target lies outside the source, or ``weights`` belong to other grids.
    DataError
        If a variable to be averaged holds classes, integers or text.

    References
    ----------
    Jones, P. W. (1999): First- and second-order conservative remapping schemes for grids in
    spherical coordinates. Mon. Wea. Rev. 127, 2204-2210.

    Examples
    --------
    >>> fine = make_grid(1, lat=(60, 64), lon=(-150, -146))
    >>> fine["tas"] = ("lat", "lon"), np.full((4, 4), 270.0)
    >>> fine["tas"][:2, 2:] = np.nan
    >>> out = regrid(fine, make_grid(2, lat=(60, 64), lon=(-150, -146)))
    >>> out["tas"].values.round(6).tolist()
    [[270.0, nan], [270.0, 270.0]]
    """
    choose("method", method, METHODS)
    choose("engine", engine, ENGINES)
    if isinstance(ds, xr.DataArray):
        raise DataError("regrid needs a Dataset; of a DataArray, da.to_dataset(name='tas').")
    least = MIN_VALID[method] if min_valid is None else float(min_valid)
    if not 0.0 <= least <= 1.0:
        raise DataError(f"min_valid is a share from 0 to 1; got {min_valid}.")
    if weights is not None:
        engine = _engine_of(weights, ds, target, method, engine)
    require_axes(ds, "source", curvilinear=engine == "xesmf")
    require_axes(target, "target")
    dims = field_dims(ds)
    inner = [
        n for n, c in ds.coords.items() if set(dims) <= set(c.dims) and n not in ("lat", "lon")
    ]
    plain = ds.reset_coords(inner)
    names = _to_regrid(plain, dims, method)
    if engine == "xarray-regrid":
        fields = through_xarray_regrid(plain[names], target, method, least)
    else:
        if weights is None:
            weights = regrid_weights(ds, target, method=method, engine=engine)
        fields = {name: _on_target(plain[name], weights, dims, least) for name in names}
    note = f"{method} ({engine}), min_valid {least:g}, to {describe(target)}"
    out = _assembled(plain, target, fields, dims, note)
    return out.set_coords([name for name in inner if name in out])


def _engine_of(
    weights: xr.Dataset, ds: xr.Dataset, target: xr.Dataset | xr.DataArray, method: str, engine: str
) -> str:
    """Engine of stored weights; refuse those of another method or of other grids."""
    if engine == "xarray-regrid":
        raise DataError("engine='xarray-regrid' takes no weights; leave one of the two out.")
    made, by = weights.attrs.get("method"), str(weights.attrs.get("engine"))
    if by not in ENGINES or "source_lat" not in weights.variables:
        raise DataError(
            f"'weights' has to come from xp.regrid_weights; found {[str(n) for n in weights]}."
        )
    if made != method:
        raise DataError(f"the weights are {made!r}, asked for is {method!r}: say method={made!r}.")
    for what, grid, prefix in (("source", ds, "source_"), ("target", target, "")):
        require_axes(grid, what, curvilinear=by == "xesmf" and what == "source")
        if not _same_cells(grid, weights, prefix):
            raise RegionError(
                f"the weights were made for another {what} grid.\n"
                f"weights: {weights.attrs[f'{what}_grid']}\n{what}: {describe(grid)}\n"
                "Make them for these: xp.regrid_weights(source, target)."
            )
    return by


def _same_cells(grid: xr.Dataset | xr.DataArray, weights: xr.Dataset, prefix: str) -> bool:
    """Whether cells (centres, where 2-D) agree to a share of their size, in any turn."""
    for name in ("lat", "lon"):
        flat = grid[name].ndim == 1
        mine = cell_bounds(grid, name) if flat else np.asarray(grid[name].values)
        stored = weights.variables.get(f"{prefix}{name}{'_bnds' if flat else ''}")
        if stored is None or mine.shape != stored.shape:
            return False
        off = (mine - stored.values + 180.0) % 360.0 - 180.0
        if np.any(np.abs(off) > SAME * (np.diff(mine, axis=1) if flat else 1.0)):
            return False
    return True


def _to_regrid(ds: xr.Dataset, dims: tuple[Hashable, ...], method: str) -> list[Hashable]:
    """Names of the variables to regrid; refuse those that cannot be."""
    names = []
    for name, da in ds.data_vars.items():
        shared = set(dims) & set(da.dims)
        if not shared or name in _axis_names(ds) or _is_area(da):
            continue
        if len(shared) < 2:
            raise DimensionError(
                f"{name!r} has the dims {da.dims}, one of {dims} without the other, and cannot "
                f"be regridded. Leave it out: ds.drop_vars({name!r})."
            )
        if method != "nearest":
            _require_numbers(da)
        for dim in dims:
            check_whole(da, str(dim), step="regrid")
        names.append(name)
    return names


def _axis_names(ds: xr.Dataset) -> set[str]:
    """Latitude, longitude, and whatever bounds them."""
    ends = {f"{name}{end}" for name in ("lat", "lon") for end in ("", "_bnds", "_b")}
    return ends | {str(ds[name].attrs.get("bounds", name)) for name in ("lat", "lon")}


def _is_area(da: xr.DataArray) -> bool:
    return da.attrs.get("standard_name") == "cell_area" or da.name in _AREA_NAMES


def _require_numbers(da: xr.DataArray) -> None:
    """Refuse classes: their mean is another class, or none."""
    if da.dtype.kind == "f" and not {"flag_values", "flag_masks"} & set(da.attrs):
        return
    raise DataError(
        f"{da.name!r} ({da.dtype}) may hold classes, which have no mean. Classes: regrid them "
        f"apart, regrid(ds[[{da.name!r}]], target, method='nearest'). Numbers, or a mask whose "
        f"share of the cell is wanted: ds[{da.name!r}].astype('float32')."
    )


def _rows(weights: xr.Dataset, prefix: str, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``start, index, weight`` of a sparse matrix with so many rows."""
    # copies of one type: arrays of a file would have the kernel compiled again
    target, source, share = (
        np.array(weights[f"{prefix}{part}"].values, dtype=kind)
        for part, kind in (("target", "int64"), ("source", "int64"), ("weight", "float64"))
    )
    return np.searchsorted(target, np.arange(rows + 1)), source, share


def _on_target(
    da: xr.DataArray, weights: xr.Dataset, dims: tuple[Hashable, ...], least: float
) -> xr.DataArray:
    """One variable through the weights; dims keep their places."""
    if weights.attrs["method"] == "nearest":
        return _taken(da, weights)
    shape = weights.sizes["lat"], weights.sizes["lon"]
    separable = weights.attrs["engine"] == "native"
    if separable:
        sizes = zip(("lat", "lon"), shape, strict=True)
        lat, lon = (_rows(weights, f"{n}_", size) for n, size in sizes)
    else:
        cells = _rows(weights, "", shape[0] * shape[1])
    lazy = da.chunks is not None

    def block(values: np.ndarray) -> np.ndarray:
        from ._quantile_kernels import available_threads
        from ._regrid_kernels import apply_general, apply_separable

        threads = 1 if lazy else available_threads()  # dask has threads of its own
        if separable:
            return apply_separable(values, lat, lon, least=least - _SLACK, threads=threads)
        return apply_general(values, cells, shape, least=least - _SLACK, threads=threads)

    out = xr.apply_ufunc(
        block,
        da.drop_vars([n for n, c in da.coords.items() if set(dims) & set(c.dims)]),
        input_core_dims=[dims],
        output_core_dims=[["_lat", "_lon"]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": dict(zip(("_lat", "_lon"), shape, strict=True))},
        output_dtypes=[np.dtype("float32" if da.dtype.itemsize <= 4 else "float64")],
        keep_attrs=True,
    )
    names = dict(zip(dims, ("_lat", "_lon"), strict=True))
    return out.transpose(*[names.get(d, d) for d in da.dims]).rename(_lat="lat", _lon="lon")


def _taken(da: xr.DataArray, weights: xr.Dataset) -> xr.DataArray:
    """Values of the source cells that hold the target's centres; missing where there is none."""
    inside = xr.DataArray(True)
    for name in ("lat", "lon"):
        index = np.full(weights.sizes[name], -1)
        index[weights[f"{name}_target"].values] = weights[f"{name}_source"].values
        da = da.drop_vars(name).isel({name: index})
        inside = inside & xr.DataArray(index >= 0, dims=name)
    if bool(inside.all()):
        return da
    return (da.astype("float64") if da.dtype == bool else da).where(inside)


def _assembled(
    ds: xr.Dataset,
    target: xr.Dataset | xr.DataArray,
    fields: dict[Hashable, xr.DataArray],
    dims: tuple[Hashable, ...],
    note: str,
) -> xr.Dataset:
    """The Dataset on the target: what does not lie on the grid as it was, in the old order."""
    gone: set[Hashable] = {*_axis_names(ds), *dims}
    if dims != ("lat", "lon"):  # a grid mapping describes the source
        gone |= {da.attrs.pop("grid_mapping", None) for da in fields.values()}
    kept = {n: v for n, v in ds.variables.items() if n not in gone and not gone & set(v.dims)}
    areas = {n: cell_area(target) for n, da in ds.data_vars.items() if _is_area(da)}
    found = {**kept, **areas, **fields}
    lines = [str(ds.attrs.get("history", "")), f"xpermafrost.regrid: {note}"]
    out = ds.drop_vars([name for name in ds.variables if name in ds.data_vars or name not in kept])
    out = out.assign({name: found[name] for name in ds.data_vars if name in found})
    out = out.assign_coords(target_coords(target))
    return out.assign_attrs(history="\n".join(line for line in lines if line))
