"""Annual mean temperatures, offsets, and the temperature at the top of permafrost."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..errors import DataError
from ..physics import analytic
from ..schema import LAYER, TIME
from ._profile import (
    SOIL,
    Profile,
    Temperature,
    celsius,
    check_reach,
    describe,
    ground_surface,
    of_air,
    profile_of,
    same_steps,
)
from ._years import COVERAGE, YEAR, Years, check_coverage, mean_of_years, over_years, years_of
from .active_layer import thickness_of_years
from .degree_days import degree_days

_CELSIUS = "degree_Celsius"
_MEAN = "mean of the year, months weighted by their length"


def _annual_mean(da: xr.DataArray, years: Years, coverage: float) -> xr.DataArray:
    def kernel(values: np.ndarray) -> np.ndarray:
        # summed in double precision, kept in the data's own: a grid of means is large
        return mean_of_years(values, years, coverage).astype(values.dtype)

    (mean,) = over_years(kernel, [da], years=years, dtypes=(str(da.dtype),))
    return mean


def _described_mean(
    da: xr.DataArray, name: str, long_name: str, *, year: str, coverage: float, step: str
) -> xr.DataArray:
    check_coverage(coverage)
    years = years_of(da, year, step=step)
    return describe(
        _annual_mean(da, years, coverage),
        name,
        units=_CELSIUS,
        long_name=long_name,
        method=_MEAN,
        years=years,
        coverage=coverage,
        of=da,
    )


def mean_annual_ground_temperature(
    soil: Temperature, *, year: str = "calendar", coverage: float = COVERAGE
) -> xr.DataArray:
    """Mean annual ground temperature (MAGT) of every layer. Lazy on dask.

    Parameters
    ----------
    soil : DataArray or Dataset
        Soil temperature ``(..., layer, time)`` [K or degC]; a Dataset gives ``tsl`` or
        ``soil_temperature``.
    year : str
        ``"calendar"``, ``"hydrological"`` (from 1 October), or a first day ``"MM-DD"``.
    coverage : float
        Share of a year's days that must hold data, else the year is missing.

    Returns
    -------
    DataArray
        ``mean_annual_ground_temperature (..., layer, year)`` [degC].

    Raises
    ------
    UnitsError, DimensionError, TimeAxisError
        For missing units, layers without bounds, irregular steps.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> mean_annual_ground_temperature(canonical(years=2)).dims
    ('band', 'layer', 'year')
    """
    step = "mean_annual_ground_temperature"
    da = celsius(soil, SOIL, step=step)
    profile_of(da, step=step)
    return _described_mean(
        da, step, "mean annual ground temperature", year=year, coverage=coverage, step=step
    )


def mean_annual_surface_temperature(
    ground: Temperature, *, year: str = "calendar", coverage: float = COVERAGE
) -> xr.DataArray:
    """Mean annual ground surface temperature (MAGST). Lazy on dask.

    Parameters
    ----------
    ground : DataArray or Dataset
        Temperature of the ground surface ``(..., time)`` [K or degC], under the snow; or soil
        temperature with ``layer``, whose shallowest layer must lie within 0.1 m. A Dataset gives
        ``tsl`` or ``soil_temperature``: CMIP ``ts`` is the snow's surface in winter.
    year, coverage
        As for :func:`mean_annual_ground_temperature`.

    Returns
    -------
    DataArray
        ``mean_annual_ground_surface_temperature (..., year)`` [degC].

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> mean_annual_surface_temperature(canonical(years=2)).dims
    ('band', 'year')
    """
    step = "mean_annual_surface_temperature"
    da = ground_surface(celsius(ground, SOIL, step=step), step=step)
    return _described_mean(
        da,
        "mean_annual_ground_surface_temperature",
        "mean annual ground surface temperature",
        year=year,
        coverage=coverage,
        step=step,
    )


def mean_annual_air_temperature(
    air: Temperature, *, year: str = "calendar", coverage: float = COVERAGE
) -> xr.DataArray:
    """Mean annual air temperature (MAAT). Lazy on dask.

    Parameters
    ----------
    air : DataArray or Dataset
        Air temperature ``(..., time)`` [K or degC]; a Dataset gives ``tas``.
    year, coverage
        As for :func:`mean_annual_ground_temperature`.

    Returns
    -------
    DataArray
        ``mean_annual_air_temperature (..., year)`` [degC].

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> mean_annual_air_temperature(canonical(years=2))[0].values.astype(float).round(1).tolist()
    [1.0, 0.5]
    """
    step = "mean_annual_air_temperature"
    da = of_air(air, step=step)
    return _described_mean(
        da, step, "mean annual air temperature", year=year, coverage=coverage, step=step
    )


def surface_offset(
    air: Temperature, ground: Temperature, *, year: str = "calendar", coverage: float = COVERAGE
) -> xr.DataArray:
    """Surface offset, MAGST less MAAT: what snow and vegetation do (Smith and Riseborough, 2002).

    Lazy on dask.

    Parameters
    ----------
    air : DataArray or Dataset
        As for :func:`mean_annual_air_temperature`.
    ground : DataArray or Dataset
        As for :func:`mean_annual_surface_temperature`, on the same steps.
    year, coverage
        As for :func:`mean_annual_ground_temperature`.

    Returns
    -------
    DataArray
        ``surface_offset (..., year)`` [K].

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=2)
    >>> surface_offset(ds, ds).values[0].astype(float).round(1).tolist()
    [2.7, 2.6]
    """
    step = "surface_offset"
    above = of_air(air, step=step)
    below = ground_surface(celsius(ground, SOIL, step=step), step=step)
    same_steps(above, below, step=step)
    check_coverage(coverage)
    years = years_of(above, year, step=step)
    years_of(below, year, step=step)
    offset = _annual_mean(below, years, coverage) - _annual_mean(above, years, coverage)
    return describe(
        offset,
        step,
        units="K",
        long_name="surface offset",
        method="mean annual ground surface temperature less mean annual air temperature",
        years=years,
        coverage=coverage,
        of=below,
    )


def thermal_offset(
    soil: Temperature,
    *,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.DataArray:
    """Thermal offset: mean annual temperature at the top of permafrost, less that of the surface.

    Burn and Smith (1988). The top of permafrost is the active-layer thickness of the year by the
    ``envelope`` method, where the profile of annual means is read, linear between depths. Lazy.

    Parameters
    ----------
    soil : DataArray or Dataset
        Soil temperature ``(..., layer, time)`` [K or degC], its shallowest layer within 0.1 m.
    freezing_point : float
        [degC].
    year, coverage
        As for :func:`mean_annual_ground_temperature`.

    Returns
    -------
    DataArray
        ``thermal_offset (..., year)`` [K]; missing where the active-layer thickness is, and where
        nothing thaws.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> soil = canonical(years=2, locations=("cold",))["tsl"] - 8.0
    >>> soil.attrs["units"] = "K"
    >>> thermal_offset(soil).dims
    ('band', 'year')
    """
    step = "thermal_offset"
    warm = celsius(soil, SOIL, step=step, freezing_point=freezing_point)
    check_coverage(coverage)
    years = years_of(warm, year, step=step)
    profile = profile_of(warm, step=step)
    check_reach(profile, step=step)
    ground_surface(warm, step=step)  # raises where the shallowest layer is too deep
    (offset,) = over_years(
        lambda values: _offset(values, profile, years, coverage),
        [warm],
        years=years,
        core=(LAYER, TIME),
    )
    return describe(
        offset,
        step,
        units="K",
        long_name="thermal offset",
        method="mean annual temperature at the depth of the active layer (envelope), linear "
        "between depths, less that of the shallowest layer",
        years=years,
        freezing_point=freezing_point,
        coverage=coverage,
        of=warm,
    )


def _offset(values: np.ndarray, profile: Profile, years: Years, coverage: float) -> np.ndarray:
    thickness = thickness_of_years(values, profile, years, "envelope", coverage)[0]
    mean = np.moveaxis(mean_of_years(values, years, coverage), -2, 0)  # (layer, ..., year)
    table = np.full(thickness.shape, np.nan)
    depth, above, at = profile.depth, np.full_like(table, np.nan), np.full_like(table, np.nan)
    for k, now in enumerate(mean):
        known = ~np.isnan(now)
        inside = known & (at <= thickness) & (thickness <= depth[k])
        share = np.divide(thickness - at, depth[k] - at, out=np.zeros_like(table), where=inside)
        table = np.where(inside, above + share * (now - above), table)
        above, at = np.where(known, now, above), np.where(known, depth[k], at)
    return np.where(thickness > 0, table - mean[0], np.nan)


def ttop(
    air: Temperature,
    *,
    n_thawing: float | xr.DataArray,
    n_freezing: float | xr.DataArray,
    conductivity_ratio: float | xr.DataArray,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
    daily_std: float | xr.DataArray | None = None,
) -> xr.DataArray:
    """Temperature at the top of permafrost (TTOP) from air temperature. Lazy on dask.

    Smith and Riseborough (1996): ``(n_t (k_t/k_f) TDD - n_f FDD) / P``; above 0 the form for
    seasonal frost, see :func:`xpermafrost.physics.analytic.ttop`.

    Parameters
    ----------
    air : DataArray or Dataset
        Air temperature ``(..., time)`` [K or degC]; a Dataset gives ``tas``.
    n_thawing, n_freezing : float or DataArray
        n-factors, as of :func:`n_factors`; 1 for the temperature of the ground surface.
    conductivity_ratio : float or DataArray
        Thermal conductivity of the ground, thawed over frozen.
    freezing_point : float
        [degC].
    year, coverage, daily_std
        As for :func:`degree_days`.

    Returns
    -------
    DataArray
        ``temperature_at_top_of_permafrost (..., year)`` [degC].

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> air = xr.DataArray([8.0] * 120 + [-15.0] * 245, coords={"time": time}, dims="time",
    ...                    attrs={"units": "degC"})
    >>> ttop(air, n_thawing=0.9, n_freezing=0.4, conductivity_ratio=0.6).values.round(2).tolist()
    [-2.61]
    """
    step = "ttop"
    for name, value in (
        ("n_thawing", n_thawing),
        ("n_freezing", n_freezing),
        ("conductivity_ratio", conductivity_ratio),
    ):
        if not isinstance(value, xr.DataArray) and value <= 0:
            raise DataError(f"{step} needs {name} above 0; got {value:g}.")
    temperature = of_air(air, step=step)
    sums = degree_days(
        air, freezing_point=freezing_point, year=year, coverage=coverage, daily_std=daily_std
    )
    warm, cold = sums["thawing_degree_days"], sums["freezing_degree_days"]
    years = years_of(temperature, year, step=step)
    period = xr.DataArray(years.days, dims=YEAR, coords={YEAR: warm[YEAR]})
    found = xr.apply_ufunc(
        _ttop,
        warm,
        cold,
        conductivity_ratio,
        n_thawing,
        n_freezing,
        period,
        dask="parallelized",
        output_dtypes=["float64"],
        keep_attrs=False,
    )
    return describe(
        found + freezing_point,
        "temperature_at_top_of_permafrost",
        units=_CELSIUS,
        long_name="mean annual temperature at the top of permafrost",
        method="TTOP (Smith and Riseborough, 1996)",
        years=years,
        freezing_point=freezing_point,
        coverage=coverage,
        of=temperature,
        extra={"sub_monthly_correction": warm.attrs["sub_monthly_correction"]},
    )


def _ttop(
    thawing: np.ndarray,
    freezing: np.ndarray,
    ratio: np.ndarray,
    n_thawing: np.ndarray,
    n_freezing: np.ndarray,
    period: np.ndarray,
) -> np.ndarray:
    return analytic.ttop(
        thawing,
        freezing,
        conductivity_ratio=ratio,
        n_thawing=n_thawing,
        n_freezing=n_freezing,
        period=period,
    )
