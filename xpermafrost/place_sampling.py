"""Some places of a large grid, drawn by region and climate, for a training on a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ._checks import check_steps, check_units, choose, require_variables
from .climatology import climatology, usual
from .errors import DataError, RegionError
from .experiment import reference_of
from .masks import cell_bounds, check_grid
from .preparation import Period, training_period
from .regions import region_weights
from .schema import LAYER, TIME

#: Dimension of the places that are drawn.
PLACE = "place"

#: Name of the region and of the climate that a place was drawn from.
REGION, CLIMATE = "region", "climate"


def sample_places(
    ds: xr.Dataset,
    count: int,
    *,
    regions: Any = None,
    widths: tuple[float, float] = (4.0, 10.0),
    share: str = "equal",
    train: Period | str | None = None,
    step: str = "month",
    seed: int = 0,
) -> xr.Dataset:
    """Draw places of a grid, so that a global model is trained on a bounded budget.

    Cells with soil temperature are sorted by region and by climate: classes of the mean annual air
    temperature, and of its seasonal range (warmest less coldest month), of the training years
    alone. A common climate does not crowd out a rare one. Within a class, cells are drawn
    without repetition, by their area, since a grid has more cells for an area near the pole.

    Lazy on dask but for one pass over ``tas`` and ``tsl``.

    Parameters
    ----------
    ds : Dataset
        Canonical with ``lat, lon``, ``tas`` [K] and ``tsl``; or an experiment Dataset.
    count : int
        Places to draw.
    regions : optional
        Anything that :func:`xpermafrost.as_regions` reads; a cell belongs to the region that it
        overlaps most, and cells outside of all are left out. None: no regions.
    widths : tuple of float
        Width of a class of the mean, and of the range [K].
    share : {"equal", "area"}
        As many places from each class, as far as it has cells; or by its area.
    train : tuple of str, "all" or None
        Training years, as for :func:`xpermafrost.fit`.
    step : {"month", "day"}
        Time step of ``ds``.
    seed : int

    Returns
    -------
    Dataset
        The reference at the places, along ``place``, with ``lat``, ``lon``, ``region`` and
        ``climate``, in the order of the grid. ``fit(places="any")`` on it answers for the whole
        grid.

    Raises
    ------
    MissingVariableError, DimensionError, DataError
        If ``tas``, ``tsl`` or the grid is missing, or no cell has both.
    RegionError
        If no cell with soil temperature lies in a region.

    Examples
    --------
    >>> from xpermafrost.testing import gridded
    >>> some = sample_places(gridded(years=5), 4)
    >>> some["tsl"].dims, some.sizes["place"]
    (('place', 'layer', 'time'), 4)
    """
    choose("share", share, ("equal", "area"))
    ds = reference_of(ds, every=step)
    require_variables(ds, ("tas", "tsl"), step="sample_places")
    check_grid(ds, step="sample_places")
    check_steps(ds, step, step="sample_places")
    for name in ("tas", "tsl"):
        check_units(ds[name])
    if count < 1 or min(widths) <= 0:
        raise DataError(f"count and widths must be positive; got {count} and {widths}.")
    span = {TIME: slice(*training_period(ds, train, step=step))}
    climate = _climate(ds, span, widths, step)
    land = (climate >= 0).values.ravel()
    if not land.any():
        raise DataError(
            "no cell has air and soil temperatures in the training years. Check the land mask, or "
            "choose other years: train=('2001', '2018')."
        )
    names, region = _regions(ds, regions)
    kept = np.flatnonzero(land & (region >= 0))
    if not kept.size:
        raise RegionError(f"none of the cells with soil temperatures lies in {names.tolist()}.")
    _, classes = np.unique(
        np.stack([region[kept], climate.values.ravel()[kept]]), axis=1, return_inverse=True
    )
    area = _area(ds).ravel()[kept]
    drawn = kept[np.sort(_draw(classes.ravel(), area, count, share, np.random.default_rng(seed)))]
    lat, lon = np.unravel_index(drawn, climate.shape)
    at = {"lat": xr.DataArray(lat, dims=PLACE), "lon": xr.DataArray(lon, dims=PLACE)}
    some = ds.isel(at)
    names_of = (np.format_float_positional(v, trim="-") for v in some["lat"].values)
    labels = [
        f"{a}, {np.format_float_positional(b, trim='-')}"
        for a, b in zip(names_of, some["lon"].values, strict=True)
    ]
    out = some.assign_coords(
        {
            PLACE: np.asarray(labels),
            REGION: (PLACE, names[region[drawn]]),
            CLIMATE: (PLACE, _named(climate.values.ravel()[drawn], widths)),
        }
    )
    gridded = [n for n, da in out.data_vars.items() if PLACE in da.dims]
    return out.assign({n: out[n].transpose(PLACE, ...) for n in gridded})


#: More classes of the seasonal range than any climate needs.
_RANGES = 1000


def _climate(
    ds: xr.Dataset, span: dict[str, slice], widths: tuple[float, float], step: str
) -> xr.DataArray:
    """Number of the climate of every cell ``(lat, lon)``, -1 where nothing can be learned."""
    tas = ds["tas"].sel(span)
    year = xr.date_range("2001-01-01", periods=12, freq="MS") + np.timedelta64(14, "D")
    course = climatology(tas, step=step)
    if step == "day":
        course = usual(course, xr.DataArray(year, dims=TIME, coords={TIME: year}))
    dim = TIME if step == "day" else "month"
    found = xr.Dataset(
        {
            # the mean of a year that lacks months is that of another climate
            "mean": course.mean(dim, skipna=False),
            "range": course.max(dim, skipna=False) - course.min(dim, skipna=False),
            "known": ds["tsl"].sel(span).notnull().any((LAYER, TIME)),
        }
    ).compute()
    found = found.transpose("lat", "lon")
    mean, spread = (
        (found[name] / width).fillna(0.0) // 1
        for name, width in zip(("mean", "range"), widths, strict=True)
    )
    known = found["known"] & found["mean"].notnull()
    return (mean * _RANGES + spread).where(known, -1).astype("int64")


def _named(numbers: np.ndarray, widths: tuple[float, float]) -> np.ndarray:
    """Classes by their bounds [degC, K]."""
    mean, spread = (k * w for k, w in zip(divmod(numbers, _RANGES), widths, strict=True))
    rows = zip(mean - 273.15, spread, strict=True)
    return np.asarray(
        [f"{a:.4g} to {a + widths[0]:.4g} degC, {b:g} to {b + widths[1]:g} K" for a, b in rows]
    )


def _regions(ds: xr.Dataset, regions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Names, and for every cell the number of the one that it overlaps most; -1: none."""
    if regions is None:
        return np.asarray(["all"]), np.zeros(ds.sizes["lat"] * ds.sizes["lon"], dtype="int64")
    weights = region_weights(ds[["lat", "lon"]], regions)
    values = weights.values.reshape(weights.shape[0], -1)
    names = weights[weights.dims[0]].values.astype("U")
    return names, np.where(values.max(axis=0) > 0, values.argmax(axis=0), -1)


def _area(ds: xr.Dataset) -> np.ndarray:
    """Area of the cells on a sphere ``(lat, lon)``, but for a factor: sin(lat) of the edges."""
    lat, lon = (np.sort(cell_bounds(ds, name), axis=1) for name in ("lat", "lon"))
    height = np.diff(np.sin(np.deg2rad(lat)), axis=1)
    return np.asarray(height * np.diff(lon, axis=1).T)


def _draw(
    classes: np.ndarray, area: np.ndarray, count: int, share: str, rng: np.random.Generator
) -> np.ndarray:
    """Numbers of cells, drawn from every class by their area."""
    sizes = np.bincount(classes)
    wanted = np.ones(sizes.size) if share == "equal" else np.bincount(classes, area)
    out = []
    for one, number in enumerate(_shares(wanted, sizes, min(count, classes.size), rng)):
        cells = np.flatnonzero(classes == one)
        chance = area[cells] / area[cells].sum()
        out.append(rng.choice(cells, number, replace=False, p=chance))
    return np.concatenate(out)


def _shares(
    wanted: np.ndarray, sizes: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """``count`` divided in proportion to ``wanted``; what a class lacks goes to the others."""
    given = np.zeros(sizes.size)
    open_ = np.ones(sizes.size, dtype=bool)
    while open_.any():
        left = count - given[~open_].sum()
        given[open_] = left * wanted[open_] / wanted[open_].sum()
        full = open_ & (given > sizes)
        if not full.any():
            break
        given[full] = sizes[full]
        open_ &= ~full
    whole = np.floor(given + 1e-9).astype("int64")
    rest = count - int(whole.sum())
    if rest > 0:  # places that are no whole number fall by chance
        part = np.where(whole < sizes, given - whole, 0.0).clip(0.0)
        room = np.flatnonzero(whole < sizes)
        chance = part[room] if (part > 0).sum() >= rest else part[room] + 1e-6
        whole[rng.choice(room, rest, replace=False, p=chance / chance.sum())] += 1
    return whole


__all__ = ["sample_places"]
