"""Thawing and freezing degree days, n-factors and design indices."""

from __future__ import annotations

import math
import warnings

import numpy as np
import xarray as xr

from .._checks import choose, without_attrs
from ..errors import DataError, PermafrostWarning
from ._profile import (
    AIR,
    SOIL,
    Temperature,
    celsius,
    describe,
    ground_surface,
    of_air,
    same_steps,
)
from ._years import COVERAGE, YEAR, Years, check_coverage, mean_of_years, over_years, years_of

_KINDS = {"thawing": ">", "freezing": "<"}

_NORMAL = "expected sums of days normal about each monthly mean (Calov and Greve, 2005)"
_UNCORRECTED = "none: sums of monthly means are too small where a month's days straddle freezing"


def degree_days(
    temperature: Temperature,
    *,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
    daily_std: float | xr.DataArray | None = None,
) -> xr.Dataset:
    """Thawing and freezing degree days of each year. Lazy on dask.

    Daily data: the sums of daily means above and below the freezing point, each day's share by
    xclim (``cumulative_difference``, of which its degree-day indices are made). Monthly means:
    days in the month times the expected excess of normally distributed days, sigma ``daily_std``
    (Calov and Greve, 2005, equation 6) ::

        E[max(T, 0)] = s / sqrt(2 pi) exp(-m2 / 2 s2) + m/2 erfc(-m / (sqrt(2) s))

    Sums of years with missing days are scaled to the length of the year.

    Parameters
    ----------
    temperature : DataArray or Dataset
        Of air, surface or soil ``(..., time)`` [K or degC]; a Dataset gives ``tas``.
    freezing_point : float
        [degC].
    year : str
        ``"calendar"``, ``"hydrological"`` (from 1 October), or a first day ``"MM-DD"``. A freezing
        index of whole winters needs a year from summer to summer, such as ``"07-01"``.
    coverage : float
        Share of a year's days that must hold data, else the year is missing.
    daily_std : float or DataArray, optional
        Standard deviation of daily means about the monthly mean [K]: some 4 to 6 for air, less
        for the ground. For monthly input only.

    Returns
    -------
    Dataset
        ``thawing_degree_days`` and ``freezing_degree_days (..., year)`` [K d], both positive.

    Warns
    -----
    PermafrostWarning
        For monthly means without ``daily_std``.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> tas = xr.DataArray([2.0] * 100 + [-1.0] * 265, coords={"time": time}, dims="time",
    ...                    attrs={"units": "degC"})
    >>> found = degree_days(tas)
    >>> float(found["thawing_degree_days"][0]), float(found["freezing_degree_days"][0])
    (200.0, 265.0)
    """
    check_coverage(coverage)
    step = "degree_days"
    warm = celsius(temperature, AIR, step=step, freezing_point=freezing_point)
    years = years_of(warm, year, step=step)
    if years.step == "day" and daily_std is not None:
        raise DataError(f"{step}: daily_std is for monthly means; these data are daily. Leave it.")
    note = "not needed for daily data"
    if years.step == "month":
        note = _correction(daily_std)
    out = xr.Dataset()
    for kind in _KINDS:
        out[f"{kind}_degree_days"] = describe(
            yearly_sum(warm, kind, years, coverage, daily_std),
            f"{kind}_degree_days",
            units="K d",
            long_name=f"{kind} degree days",
            method="sum of daily means "
            + ("above" if kind == "thawing" else "below")
            + " freezing",
            years=years,
            freezing_point=freezing_point,
            coverage=coverage,
            of=warm,
            extra={"sub_monthly_correction": note},
        )
    return out


def _correction(daily_std: float | xr.DataArray | None) -> str:
    if daily_std is None:
        warnings.warn(
            "degree days of monthly means miss the days on the other side of freezing. Pass "
            "daily_std, the standard deviation of daily means within a month (some 4 to 6 K for "
            "air), or daily data.",
            PermafrostWarning,
            stacklevel=3,
        )
        return _UNCORRECTED
    sigma = "given" if isinstance(daily_std, xr.DataArray) else f"{daily_std:g} K"
    return f"{_NORMAL}, sigma {sigma}"


def yearly_sum(
    warm: xr.DataArray,
    kind: str,
    years: Years,
    coverage: float,
    daily_std: float | xr.DataArray | None = None,
) -> xr.DataArray:
    """Degree days [K d] of a temperature above freezing: ``(..., time)`` to ``(..., year)``."""
    if years.step == "day":
        from xclim.indices.generic import cumulative_difference

        excess = cumulative_difference(warm, "0 degC", _KINDS[kind]).pipe(without_attrs)
    else:
        signed = warm if kind == "thawing" else -warm
        spread = 0.0 if daily_std is None else daily_std
        excess = xr.apply_ufunc(
            expected_excess, signed, spread, dask="parallelized", output_dtypes=["float64"]
        )
    (sums,) = over_years(
        lambda values: mean_of_years(values, years, coverage) * years.days, [excess], years=years
    )
    return sums


def expected_excess(mean: np.ndarray, std: np.ndarray | float) -> np.ndarray:
    """Expected value of max(T, 0) for normal T; Calov and Greve (2005). 0 spread: of the mean.

    Examples
    --------
    >>> expected_excess(np.array([-5.0, 0.0, 5.0]), 5.0).round(3).tolist()
    [0.417, 1.995, 5.417]
    """
    from scipy.special import erfc

    mean, std = np.broadcast_arrays(np.asarray(mean, dtype="float64"), np.asarray(std, "float64"))
    ratio = np.divide(mean, std * math.sqrt(2.0), out=np.zeros(mean.shape), where=std > 0)
    normal = std / math.sqrt(2.0 * math.pi) * np.exp(-(ratio**2)) + 0.5 * mean * erfc(-ratio)
    return np.where(std > 0, normal, np.where(np.isnan(std), np.nan, np.maximum(mean, 0.0)))


def n_factors(
    air: Temperature,
    ground: Temperature,
    *,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
    daily_std: float | xr.DataArray | None = None,
) -> xr.Dataset:
    """n-factors of each year: degree days of the ground surface over those of the air. Lazy.

    Lunardini (1978): n_t = TDD_g / TDD_a, n_f = FDD_g / FDD_a.

    Parameters
    ----------
    air : DataArray or Dataset
        Air temperature ``(..., time)`` [K or degC]; a Dataset gives ``tas``.
    ground : DataArray or Dataset
        Temperature of the ground surface (under the snow, not of it) on the same steps, or soil
        temperature with ``layer``, whose shallowest layer must lie within 0.1 m; a Dataset gives
        ``tsl``.
    freezing_point, year, coverage, daily_std
        As for :func:`degree_days`; ``daily_std`` serves air and ground alike.

    Returns
    -------
    Dataset
        ``thawing_n_factor`` and ``freezing_n_factor (..., year)`` [1]; missing where the air has
        no degree days of that sign.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> air = xr.DataArray([4.0] * 100 + [-10.0] * 265, coords={"time": time}, dims="time",
    ...                    attrs={"units": "degC"})
    >>> found = n_factors(air, 0.5 * air.assign_attrs(units="degC"))
    >>> float(found["freezing_n_factor"][0])
    0.5
    """
    surface = ground_surface(celsius(ground, SOIL, step="n_factors"), step="n_factors")
    above = of_air(air, step="n_factors")
    same_steps(above, surface, step="n_factors")
    sums, of_ground = (
        degree_days(
            da, freezing_point=freezing_point, year=year, coverage=coverage, daily_std=daily_std
        )
        for da in (above, surface)
    )
    out = xr.Dataset()
    for kind in _KINDS:
        name = f"{kind}_degree_days"
        ratio = of_ground[name] / sums[name].where(sums[name] > 0)
        attrs = {k: v for k, v in sums[name].attrs.items() if k not in ("units", "long_name")}
        ratio = ratio.drop_attrs(deep=False).assign_attrs(
            {
                "long_name": f"{kind} n-factor",
                "units": "1",
                **attrs,
                "method": "degree days of the ground surface over those of the air",
            }
        )
        out[f"{kind}_n_factor"] = ratio
    return out


def design_index(
    air: Temperature,
    *,
    kind: str = "thawing",
    years: int = 30,
    extreme: int = 3,
    year: str | None = None,
    freezing_point: float = 0.0,
    coverage: float = COVERAGE,
    daily_std: float | xr.DataArray | None = None,
) -> xr.DataArray:
    """Design thawing or freezing index: mean of the 3 extreme years of 30. Lazy.

    The largest degree days: the warmest summers or the coldest winters (Andersland and Ladanyi,
    2004). Every span of ``years`` years of the record gives a value, so that a projection shows
    how the index moves.

    Parameters
    ----------
    air : DataArray or Dataset
        Air temperature ``(..., time)`` [K or degC]; a Dataset gives ``tas``.
    kind : {"thawing", "freezing"}
    years, extreme : int
        Length of the span and number of its extreme years.
    year : str, optional
        As for :func:`degree_days`; by default the calendar year for thawing and ``"07-01"`` for
        freezing, so that no winter is cut.
    freezing_point, coverage, daily_std
        As for :func:`degree_days`.

    Returns
    -------
    DataArray
        ``design_thawing_index`` or ``design_freezing_index (..., year)`` [K d], at the last year
        of each span; missing where a year of the span is.

    Raises
    ------
    DataError
        If the record has fewer than ``years`` years.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> time = xr.date_range("1971-01-01", "2000-12-31")
    >>> tas = xr.DataArray((time.year - 1970.0).values, coords={"time": time}, dims="time",
    ...                    attrs={"units": "degC"})
    >>> design_index(tas).values.round().tolist()  # 28, 29 and 30 degC all year, one a leap year
    [10595.0]
    """
    choose("design index", kind, _KINDS)
    if not 0 < extreme <= years:
        raise DataError(f"extreme years are 1 to {years}, of {years} years; got {extreme}.")
    sums = degree_days(
        air,
        freezing_point=freezing_point,
        year=year or ("calendar" if kind == "thawing" else "07-01"),
        coverage=coverage,
        daily_std=daily_std,
    )[f"{kind}_degree_days"]
    if sums.sizes[YEAR] < years:
        raise DataError(
            f"design_index needs {years} years; the record has {sums.sizes[YEAR]}. Pass a longer "
            f"one, or a smaller span: years={sums.sizes[YEAR]}."
        )
    spans = sums.chunk({YEAR: -1}) if sums.chunks else sums
    found = xr.apply_ufunc(
        _extreme_mean,
        spans,
        kwargs={"years": years, "extreme": extreme},
        input_core_dims=[[YEAR]],
        output_core_dims=[[YEAR]],
        exclude_dims={YEAR},
        dask="parallelized",
        output_dtypes=["float64"],
        dask_gufunc_kwargs={"output_sizes": {YEAR: sums.sizes[YEAR] - years + 1}},
        keep_attrs=True,
    ).assign_coords({YEAR: sums[YEAR][years - 1 :]})
    text = f"mean of the {extreme} largest of {years} years, at the last of them"
    return found.rename(f"design_{kind}_index").assign_attrs(
        long_name=f"design {kind} index", method=text
    )


def _extreme_mean(values: np.ndarray, *, years: int, extreme: int) -> np.ndarray:
    spans = np.lib.stride_tricks.sliding_window_view(values, years, axis=-1)
    return np.sort(spans, axis=-1)[..., -extreme:].mean(-1)  # NaN sorts last: it stays missing
