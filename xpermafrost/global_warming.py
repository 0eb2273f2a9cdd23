"""Global warming levels: when a run crosses them, and what holds while it does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ._checks import require_dims, without_attrs
from .ensembles import Period, annual_means
from .errors import DataError, PermafrostWarning
from .schema import TIME

LEVELS = (1.5, 2.0, 3.0, 4.0)
#: Years of a running mean: that of the sixth assessment report of the IPCC.
WINDOW = 20
#: Latitude that a grid must pass in both hemispheres to be taken for the globe [deg].
_GLOBAL = 75.0


def warming_level_years(
    tas: xr.DataArray,
    *,
    levels: Sequence[float] = LEVELS,
    baseline: Period = ("1850", "1900"),
    offset: float = 0.0,
    window: int = WINDOW,
) -> xr.DataArray:
    """Central year of the first running mean that is as warm as each level.

    Computes dask arrays once.

    Parameters
    ----------
    tas : DataArray ([esm, scenario,] [lat, lon,] time)
        Monthly air temperature near the surface, historical continued by the scenario. Where it
        is on a grid, the mean is taken by the cosine of latitude; a grid of a part of the globe
        is warned about. Other dimensions are kept.
    levels : sequence of float
        Warming above 1850-1900 [K].
    baseline : pair of str
        Years that the warming is counted from.
    offset : float
        Warming of the baseline above 1850-1900 [K], for series that begin later: 0.85 for
        1995-2014 (IPCC 2021, box SPM.1).
    window : int
        Years of the running mean.

    Returns
    -------
    DataArray
        ``(..., level)``: the year ``c`` of the first mean over ``c - window / 2`` to
        ``c + window / 2 - 1`` (Hauser, Engelbrecht and Fischer 2022); NaN where a run does not
        get there.

    Raises
    ------
    DataError
        If the baseline is not covered in full.

    Warns
    -----
    PermafrostWarning
        If the grid is not the globe.

    References
    ----------
    Hauser, M., Engelbrecht, F. and Fischer, E. M. (2022): Transient global warming levels for
    CMIP5 and CMIP6. Zenodo, doi:10.5281/zenodo.3591806.

    Examples
    --------
    >>> time = xr.date_range("1850-01", "2100-12", freq="MS")
    >>> warming = np.clip(np.arange(time.size) / 12 - 100.0, 0.0, None) * 0.03
    >>> tas = xr.DataArray(287.0 + warming, {"time": time}, ("time",))
    >>> warming_level_years(tas).values.tolist()
    [2001.0, 2017.0, 2051.0, 2084.0]
    """
    require_dims(tas, (TIME,), step="warming_level_years")
    annual = annual_means(_area_mean(tas))
    first, last = int(baseline[0]), int(baseline[1])
    years = annual["year"].values
    if not years.size or first < years[0] or last > years[-1]:
        found = f"{years[0]} to {years[-1]}" if years.size else "no whole year"
        raise DataError(
            f"warming is counted from {first}-{last}; the series has {found}. Give the historical "
            "run as well, or a later baseline and its warming above 1850-1900: "
            "baseline=('1995', '2014'), offset=0.85."
        )
    warming = annual - annual.sel(year=slice(first, last)).mean("year", skipna=False) + offset
    running = _running(warming, window).compute()
    level = xr.DataArray(list(levels), dims="level", coords={"level": list(levels)})
    level.attrs = {"long_name": "global warming above 1850-1900", "units": "K"}
    above = running >= level
    crossed = running["year"].isel(year=above.argmax("year")).drop_vars("year")
    out = crossed.where(above.any("year")).assign_attrs(
        long_name=f"central year of the first {window}-year mean at the warming level", units="1"
    )
    return out.rename("warming_level_year").transpose(..., "level")


def at_warming_levels(
    da: xr.DataArray, years: xr.DataArray, *, window: int = WINDOW
) -> xr.DataArray:
    """Means over the years in which each run crosses the warming levels, ``(..., level)``. Lazy.

    Parameters
    ----------
    da : DataArray (..., time)
        Monthly, such as a projection ``(esm, scenario, ..., time)``.
    years : DataArray (..., level)
        From :func:`warming_level_years`; dimensions that both have are matched by label.
    window : int
        Years of the mean, as there.

    Returns
    -------
    DataArray
        NaN where the level is not reached, or the window is not covered in full.

    Examples
    --------
    >>> time = xr.date_range("1850-01", "2100-12", freq="MS")
    >>> warming = np.clip(np.arange(time.size) / 12 - 100.0, 0.0, None) * 0.03
    >>> tas = xr.DataArray(287.0 + warming, {"time": time}, ("time",))
    >>> at_warming_levels(tas - 287.0, warming_level_years(tas)).values.round(2).tolist()
    [1.53, 2.01, 3.03, 4.02]
    """
    require_dims(da, (TIME,), step="at_warming_levels")
    running = _running(annual_means(da), window)
    running, years = xr.align(running, years, join="inner", exclude=["year", "level"])
    index = running.indexes["year"].get_indexer(np.nan_to_num(years.values).astype(int).ravel())
    at = years.copy(data=index.reshape(years.shape)).pipe(without_attrs)
    picked = running.isel(year=at.clip(0)).drop_vars("year")
    return picked.where(at >= 0).transpose(..., "level").assign_attrs(da.attrs)


def _running(annual: xr.DataArray, window: int) -> xr.DataArray:
    """Running means by their central year, over whole windows."""
    if annual.sizes["year"] < window:
        raise DataError(
            f"a mean over {window} years needs as many; the series has {annual.sizes['year']} "
            "whole ones."
        )
    means = annual.rolling(year=window).mean().isel(year=slice(window - 1, None))
    return means.assign_coords(year=means["year"] - (window - 1) + window // 2)


def _area_mean(tas: xr.DataArray) -> xr.DataArray:
    """Mean over a grid, if it is on one."""
    if not {"lat", "lon"} <= set(tas.dims):
        return tas
    low, high = float(tas["lat"].min()), float(tas["lat"].max())
    if low > -_GLOBAL or high < _GLOBAL:
        warnings.warn(
            f"the grid spans {low:g} to {high:g} degN, not the globe: the levels are of this "
            "region's warming, and the north warms faster. Give the global mean as tas (time).",
            PermafrostWarning,
            stacklevel=3,
        )
    area = tas["lat"].copy(data=np.cos(np.deg2rad(tas["lat"].values)))
    return tas.weighted(area).mean(("lat", "lon"))


__all__ = ["at_warming_levels", "warming_level_years"]
