"""Cells of a grid: their bounds, and what share of each is land, lake or glacier."""

from __future__ import annotations

import warnings
from collections.abc import Hashable

import numpy as np
import xarray as xr

from ._checks import require_dims
from .errors import DimensionError, PermafrostWarning, RegionError
from .schema import BOUNDS


def cell_bounds(grid: xr.Dataset | xr.DataArray, name: str) -> np.ndarray:
    """Lower and upper bound of the cells along ``lat`` or ``lon``, shape ``(n, 2)``.

    Taken from ``{name}_bnds`` where present, else halfway between the centres; columns are
    continued over the dateline, in whatever order they come. Stored bounds of a longitude may
    lie a turn of the circle away from it.
    """
    centre = np.asarray(grid[name].values, dtype="float64")
    stored = grid.coords.get(f"{name}_bnds")
    if stored is None and isinstance(grid, xr.Dataset):
        stored = grid.get(f"{name}_bnds")
    if stored is not None and stored.dims[:1] == (name,) and stored.ndim == 2:
        return np.sort(_enclosing(np.asarray(stored.values, dtype="float64"), centre, name), axis=1)
    if centre.size < 2:
        raise RegionError(
            f"the cells along {name!r} have no bounds and there is only one centre; "
            f"add '{name}_bnds' with dims ('{name}', 'bnds')."
        )
    if name == "lon":
        return _column_bounds(centre)
    steps = np.diff(centre)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise RegionError(f"{name!r} must increase or decrease throughout; sort it first.")
    middle = centre[:-1] + steps / 2
    edges = np.concatenate([[centre[0] - steps[0] / 2], middle, [centre[-1] + steps[-1] / 2]])
    edges = np.clip(edges, -90.0, 90.0)
    return np.sort(np.stack([edges[:-1], edges[1:]], axis=1), axis=1)


def _column_bounds(centre: np.ndarray) -> np.ndarray:
    order, along, gaps, closed = around(centre)
    first, last = (gaps[-1], gaps[-1]) if closed else (gaps[0], gaps[-2])
    middle = (along[:-1] + along[1:]) / 2
    edges = np.concatenate([[along[0] - first / 2], middle, [along[-1] + last / 2]])
    bounds = np.empty((centre.size, 2))
    # each column in its own turn of the circle
    bounds[order] = np.stack([edges[:-1], edges[1:]], axis=1) - (along - centre[order])[:, None]
    return bounds


def around(lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Columns from west to east, starting after the widest gap of the circle.

    Returns their order, their longitudes without a jump, the gap east of each, and whether
    they go all the way round (the widest gap is not much wider than the next).
    """
    lon = np.asarray(lon, dtype="float64")
    turned = lon % 360.0
    order = np.argsort(turned, kind="stable")
    gaps = np.diff(turned[order], append=turned[order[0]] + 360.0)
    if not np.all(gaps > 1e-9):  # or some are missing
        raise RegionError(
            f"'lon' holds a meridian twice, or none: {lon.min():g} to {lon.max():g} degrees_east. "
            "Keep one column each: ds.drop_duplicates('lon'), or of 0 and 360, "
            "ds.drop_sel(lon=360)."
        )
    start = int(np.argmax(gaps)) + 1
    order, gaps = np.roll(order, -start), np.roll(gaps, -start)
    along = lon[order[0]] + np.concatenate([[0.0], np.cumsum(gaps[:-1])])
    along = lon[order] + 360.0 * np.round((along - lon[order]) / 360.0)  # without rounding errors
    closed = lon.size > 1 and bool(gaps[-1] <= 1.5 * np.max(gaps[:-1]))
    return order, along, gaps, closed


def _enclosing(bounds: np.ndarray, centre: np.ndarray, name: str) -> np.ndarray:
    """Stored bounds, turned to enclose their centres; refuse those of other cells."""
    low, high = bounds.min(axis=1), bounds.max(axis=1)
    off = ~((low - 1e-3 <= centre) & (centre <= high + 1e-3) & (high > low))
    if name == "lon" and off.any():
        bounds = bounds.copy()
        away = (bounds[off] - centre[off, None] + 180.0) % 360.0 - 180.0
        bounds[off] = centre[off, None] + away
        low, high = bounds.min(axis=1), bounds.max(axis=1)
        off = ~((low - 1e-3 <= centre) & (centre <= high + 1e-3) & (high > low))
    if off.any():
        at = int(np.argmax(off))
        raise RegionError(
            f"the bounds of the cell at {name} {centre[at]:g} are {bounds[at].tolist()}, which do "
            f"not enclose it; correct '{name}_bnds', or drop them: ds.drop_vars('{name}_bnds')."
        )
    return bounds


def check_grid(grid: xr.Dataset | xr.DataArray, *, step: str) -> None:
    """Raise unless ``lat`` and ``lon`` are 1-D dimensions of the grid, in degrees."""
    for name in ("lat", "lon", "latitude", "longitude"):
        if name in grid.coords and grid[name].ndim == 2:
            raise DimensionError(
                f"{step} needs 1-D 'lat' and 'lon'; {name!r} has dims {grid[name].dims}, a rotated "
                "or curvilinear grid. Regrid it first: ds.permafrost.regrid(target, "
                "engine='xesmf')."
            )
    require_dims(grid, ("lat", "lon"), step=step)
    bare = [name for name in ("lat", "lon") if name not in grid.coords]
    if bare:
        raise DimensionError(
            f"{step} needs to know where the cells lie; the dimensions {bare} have no coordinates. "
            "Type ds.assign_coords(lat=..., lon=...) [degrees]."
        )
    if not np.abs(grid["lat"].values).max() <= 90.0 + 1e-6:
        raise RegionError(
            f"{step} needs latitudes in -90..90; 'lat' spans {float(grid['lat'].min()):g} to "
            f"{float(grid['lat'].max()):g}. If it is swapped with 'lon', type "
            "ds.rename(lat='lon', lon='lat')."
        )


def grid_fields(ds: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """Variables with ``lat`` and ``lon``, of which there are means over the grid.

    Raises
    ------
    RegionError
        If one holds classes, dates or text.
    DimensionError
        If a variable that is no bounds has one of ``lat`` and ``lon`` without the other.
    """
    fields, half = {}, []
    for name, da in ds.data_vars.items():
        shared = {"lat", "lon"} & set(da.dims)
        if len(shared) == 2:
            fields[name] = da
        elif shared and not (BOUNDS in da.dims or str(name).endswith(("_bnds", "_bounds"))):
            half.append(str(name))
    words = [
        str(name)
        for name, da in fields.items()
        if da.dtype.kind not in "fiub" or {"flag_values", "flag_masks"} & set(da.attrs)
    ]
    if words:
        raise RegionError(
            f"{words} hold classes, dates or text, which have no mean; ds.drop_vars({words}) "
            "first. The share of a class: (ds[name] == value).astype(float)."
        )
    if half:
        raise DimensionError(
            f"{half} have one of 'lat' and 'lon' without the other: no mean over regions. Leave "
            f"them out: ds.drop_vars({half})."
        )
    return fields


def land_fraction(land: xr.DataArray, *, what: str = "land mask") -> xr.DataArray:
    """Share in 0..1 from a mask, a fraction or a percentage; missing is none.

    Parameters
    ----------
    land : DataArray
        Boolean, or 0..1, or 0..100 where the units are ``%`` or values exceed 1.5. Whole numbers
        that reach 2 to 9 only are taken for classes, and refused.
    what : str
        What the message calls it.

    Raises
    ------
    RegionError
        If values lie outside these ranges, or are classes.

    Examples
    --------
    >>> land_fraction(xr.DataArray([0.0, 50.0, np.nan], attrs={"units": "%"})).values.tolist()
    [0.0, 0.5, 0.0]
    """
    if not isinstance(land, xr.DataArray) or land.dtype.kind not in "fiub":
        raise RegionError(
            f"a {what} is a DataArray (lat, lon) of shares or truth values; got "
            f"{getattr(land, 'dtype', type(land).__name__)}. Type for instance ds['sftlf']."
        )
    if land.dtype == bool:
        return land.astype("float64")
    share = land.astype("float64")
    percent, top = str(land.attrs.get("units", "")) in ("%", "percent"), float(share.max())
    if not percent and top > 1.5:
        if top < 10.0 and bool((share.round() == share).where(share.notnull(), True).all()):
            raise RegionError(
                f"a {what} needs shares; found the whole numbers 0 to {top:g}, which look like "
                f"classes. Say which are meant, for instance mask == {top:g}; shares in %: "
                "mask.attrs['units'] = '%'."
            )
        percent = True
    if percent:
        share = share / 100.0
    low, high = float(share.min()), float(share.max())
    if low < -1e-6 or high > 1.0 + 1e-6:
        raise RegionError(f"a {what} needs values in 0..1 or 0..100 %; found {low:g} to {high:g}.")
    return share.clip(0.0, 1.0).fillna(0.0)


def soil_share(
    grid: xr.Dataset | xr.DataArray,
    *,
    land: xr.DataArray | None = None,
    lake: xr.DataArray | None = None,
    glacier: xr.DataArray | None = None,
) -> tuple[np.ndarray | None, str]:
    """Share of soil in each cell, ``land x (1 - lake) x (1 - glacier)``, and what made it.

    Parameters
    ----------
    grid : Dataset or DataArray
        With dims ``lat, lon``: the masks must be on it, rows and columns in any order.
    land, lake, glacier : DataArray, optional
        Shares of the cell (0..1 or %) or boolean masks, ``(lat, lon)``. A lake or a glacier is
        land in them, as in ERA5-Land and CMIP.

    Returns
    -------
    ndarray or None
        ``(lat, lon)``, None without any mask.
    str
        For the history, such as ``"land fraction x (1 - lake fraction)"``.
    """
    share, said = None, []
    for mask, name in ((land, "land"), (lake, "lake"), (glacier, "glacier")):
        if mask is None:
            continue
        part = on_grid(land_fraction(mask, what=f"{name} mask"), grid, f"{name} mask").values
        if name != "land":
            part = 1.0 - part
        said.append("land fraction" if name == "land" else f"(1 - {name} fraction)")
        share = part if share is None else share * part
    return share, " x ".join(said)


def on_grid(field: xr.DataArray, grid: xr.Dataset | xr.DataArray, what: str) -> xr.DataArray:
    """``field`` in the order of the grid's rows and columns, ``lat, lon`` last.

    Raises
    ------
    RegionError
        If it is on another grid.
    """
    require_dims(field, ("lat", "lon"), step=f"the {what}")
    for dim in ("lat", "lon"):
        if field.sizes[dim] != grid.sizes[dim]:
            raise RegionError(
                f"the {what} has sizes {dict(field.sizes)}, the grid "
                f"{grid.sizes['lat']} x {grid.sizes['lon']} (lat x lon); put it on the grid first."
            )
        if dim not in field.coords:
            continue  # nothing but the order says where its cells lie
        mine, theirs = (np.asarray(o[dim].values, dtype="float64") for o in (field, grid))
        if dim == "lon":  # on any turn of the circle
            first = theirs.min() - 1e-3
            mine, theirs = ((values - first) % 360.0 + first for values in (mine, theirs))
        order = np.empty(mine.size, dtype="int64")
        order[np.argsort(theirs)] = np.argsort(mine)
        if not np.allclose(mine[order], theirs, rtol=0, atol=1e-3):
            raise RegionError(
                f"the cells of the {what} lie on {dim} {mine.min():g} to {mine.max():g}, the "
                f"grid on {theirs.min():g} to {theirs.max():g}; put it on the grid first."
            )
        field = field.isel({dim: order})
    more = [dim for dim in field.dims if dim not in ("lat", "lon")]
    if what.endswith("mask") and more:
        raise RegionError(
            f"the {what} needs dims ('lat', 'lon'); found {tuple(field.dims)}. Take one of "
            f"{more}, as in mask.isel({more[0]}=0)."
        )
    return field.transpose(..., "lat", "lon")


def warn_of_sea(ds: xr.Dataset, land: xr.DataArray | None) -> None:
    """Warn where a climate model's surface temperature comes without a land mask."""
    if land is not None or "ts" not in ds.data_vars or not {"lat", "lon"} <= set(ds["ts"].dims):
        return
    from .sources.cmip import recognise

    if recognise(ds):
        warnings.warn(
            "'ts' of a climate model is that of the water over open sea, and there is no land "
            "mask: means mix both. Join the model's 'sftlf' to the Dataset, or pass land=...",
            PermafrostWarning,
            stacklevel=4,
        )
