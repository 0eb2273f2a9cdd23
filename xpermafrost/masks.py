"""Cells of a grid: their bounds, and what share of each is land, lake or glacier."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ._checks import require_dims
from .errors import DimensionError, RegionError


def cell_bounds(ds: xr.Dataset | xr.DataArray, name: str) -> np.ndarray:
    """Bounds of the cells along ``lat`` or ``lon``, shape ``(n, 2)``.

    Taken from ``{name}_bnds`` where present, else halfway between the centres. Stored bounds
    of a longitude may lie a turn of the circle away from it.
    """
    centre = np.asarray(ds[name].values, dtype="float64")
    stored = ds.coords.get(f"{name}_bnds")
    if stored is None and isinstance(ds, xr.Dataset):
        stored = ds.get(f"{name}_bnds")
    if stored is not None and stored.dims[:1] == (name,) and stored.ndim == 2:
        return _around(np.asarray(stored.values, dtype="float64"), centre, name)
    if centre.size < 2:
        raise RegionError(
            f"the cells along {name!r} have no bounds and there is only one centre; "
            f"add '{name}_bnds' with dims ('{name}', 'bnds')."
        )
    steps = np.diff(centre)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise RegionError(f"{name!r} must increase or decrease throughout; sort it first.")
    if name == "lon" and np.max(np.abs(steps)) > 360.0 - abs(centre[-1] - centre[0]) + 1e-6:
        # a region across the dateline, sorted to -180..180: its cells adjoin the other way round
        cut = int(np.argmax(np.abs(steps))) + 1
        turn = np.where(np.arange(centre.size) < cut, np.sign(steps[0]) * 360.0, 0.0)
        whole = np.roll(centre + turn, -cut)
        bounds = cell_bounds(xr.Dataset(coords={name: whole}), name)
        return np.roll(bounds, cut, axis=0) - turn[:, None]
    middle = centre[:-1] + steps / 2
    edges = np.concatenate([[centre[0] - steps[0] / 2], middle, [centre[-1] + steps[-1] / 2]])
    if name == "lat":
        edges = np.clip(edges, -90.0, 90.0)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _around(bounds: np.ndarray, centre: np.ndarray, name: str) -> np.ndarray:
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
    """Raise unless ``lat`` and ``lon`` are 1-D dimensions of the grid."""
    for name in ("lat", "lon", "latitude", "longitude"):
        if name in grid.coords and grid[name].ndim == 2:
            raise DimensionError(
                f"{step} needs 1-D 'lat' and 'lon'; {name!r} has dims {grid[name].dims}, a rotated "
                "or curvilinear grid. Regrid it first: ds.permafrost.regrid(target, "
                "engine='xesmf')."
            )
    require_dims(grid, ("lat", "lon"), step=step)


def land_fraction(land: xr.DataArray, *, what: str = "land mask") -> xr.DataArray:
    """Share in 0..1 from a mask, a fraction or a percentage; missing is none.

    Parameters
    ----------
    land : DataArray
        Boolean, or 0..1, or 0..100 where the units are ``%`` or values exceed 1.5.
    what : str
        What the message calls it.

    Raises
    ------
    RegionError
        If values lie outside these ranges.

    Examples
    --------
    >>> land_fraction(xr.DataArray([0.0, 50.0, np.nan], attrs={"units": "%"})).values.tolist()
    [0.0, 0.5, 0.0]
    """
    if land.dtype == bool:
        return land.astype("float64")
    share = land.astype("float64")
    if str(land.attrs.get("units", "")) == "%" or float(share.max()) > 1.5:
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
        With dims ``lat, lon``: the masks must be on it, their rows in any order.
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
        mine, theirs = field[dim].values, grid[dim].values
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
