"""The zero curtain: ground held at the freezing point while its water changes phase."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .._checks import without_attrs
from ..errors import DataError, TimeAxisError
from ..schema import TIME
from ._profile import SOIL, Temperature, celsius, describe, flags
from ._runs import close_gaps, paint, runs_of
from ._years import (
    COVERAGE,
    YEAR,
    Years,
    check_coverage,
    covered,
    over_years,
    require_daily,
    years_of,
)

SEASON = "season"
SEASONS = ("autumn", "spring")

_WHY = "and a zero curtain lasts days to weeks, which a month's mean cannot show"


def zero_curtain_days(
    soil: Temperature,
    *,
    tolerance: float = 0.5,
    min_days: int = 5,
    gap: int = 0,
    freezing_point: float = 0.0,
) -> xr.DataArray:
    """Days of zero curtain: temperature held at the freezing point while water freezes or thaws.

    A run of at least ``min_days`` days with \\|T\\| <= ``tolerance`` (Outcalt et al., 1990),
    interruptions of up to ``gap`` days included; shorter runs are a passage. Autumn where the
    first day after the run is colder than the last day before it (freeze-back), else spring; at
    an end of the data the run's own first or last day stands in. Lazy on dask.

    Parameters
    ----------
    soil : DataArray or Dataset
        Daily ground temperature ``(..., time)`` [K or degC]; a Dataset gives ``tsl``.
    tolerance : float
        [K]; 0.2 for calibrated sensors, 0.5 otherwise.
    min_days, gap : int
        [d]. A missing day always ends a run. Where the sensor's noise is half the tolerance,
        ``gap=2`` keeps plateaus whole.
    freezing_point : float
        [degC].

    Returns
    -------
    DataArray
        ``zero_curtain (..., time)``, int8 flags: 0 none, 1 autumn, 2 spring, 3 no_data.

    Raises
    ------
    TimeAxisError
        For monthly data, or days that are not each there once, in order.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-08-01", periods=60)
    >>> soil = xr.DataArray([6.0] * 20 + [0.1] * 15 + [-4.0] * 25, coords={"time": time},
    ...                     dims="time", attrs={"units": "degC"})
    >>> int((zero_curtain_days(soil) == 1).sum())
    15
    """
    step = "zero_curtain_days"
    near, _ = _curtain_input(soil, tolerance, min_days, gap, freezing_point, "calendar", step)
    found = xr.apply_ufunc(
        _curtain,
        near,
        kwargs={"tolerance": tolerance, "min_days": min_days, "gap": gap},
        input_core_dims=[[TIME]],
        output_core_dims=[[TIME]],
        dask="parallelized",
        output_dtypes=["int8"],
        keep_attrs=False,
    )
    attrs = {
        **flags("none", "autumn", "spring", "no_data"),
        "long_name": "zero curtain",
        "method": _rule(tolerance, min_days, gap),
        "freezing_point": f"{freezing_point:g} degC",
    }
    return found.rename("zero_curtain").assign_attrs(attrs)


def zero_curtain(
    soil: Temperature,
    *,
    tolerance: float = 0.5,
    min_days: int = 5,
    gap: int = 0,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.Dataset:
    """Duration of the zero curtain of each year, in autumn and in spring. Lazy on dask.

    The runs are those of :func:`zero_curtain_days`; each counts, whole, to the year it begins in.

    Parameters
    ----------
    soil, tolerance, min_days, gap, freezing_point
        As for :func:`zero_curtain_days`.
    year : str
        ``"calendar"``, ``"hydrological"`` (from 1 October), or a first day ``"MM-DD"``.
    coverage : float
        Share of a year's days that must hold data, else the year is missing.

    Returns
    -------
    Dataset
        ``zero_curtain_longest`` (longest run) and ``zero_curtain_total`` (all runs)
        ``(..., season, year)`` [d] with seasons autumn and spring; 0 where there was none.

    Raises
    ------
    TimeAxisError
        For monthly data.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> soil = xr.DataArray([-4.0] * 150 + [6.0] * 110 + [0.1] * 15 + [-4.0] * 90,
    ...                     coords={"time": time}, dims="time", attrs={"units": "degC"})
    >>> zero_curtain(soil)["zero_curtain_longest"].sel(year=2001).values.tolist()
    [15.0, 0.0]
    """
    step = "zero_curtain"
    check_coverage(coverage)
    near, years = _curtain_input(soil, tolerance, min_days, gap, freezing_point, year, step)

    def kernel(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        state = _curtain(values, tolerance=tolerance, min_days=min_days, gap=gap)
        return _durations(values, state, years, coverage)

    longest, total = over_years(
        kernel,
        [near],
        years=years,
        out=((SEASON, YEAR),) * 2,
        dtypes=("float64",) * 2,
        sizes={SEASON: len(SEASONS)},
    )
    out = xr.Dataset()
    for name, da, text in (
        ("zero_curtain_longest", longest, "longest zero curtain"),
        ("zero_curtain_total", total, "days of zero curtain"),
    ):
        out[name] = describe(
            da.assign_coords({SEASON: list(SEASONS)}),
            name,
            units="d",
            long_name=text,
            method=_rule(tolerance, min_days, gap),
            years=years,
            freezing_point=freezing_point,
            coverage=coverage,
            of=near,
        )
    return out


def zero_curtain_error(
    predicted: Temperature,
    observed: Temperature,
    *,
    tolerance: float = 0.5,
    min_days: int = 5,
    gap: int = 0,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.Dataset:
    """Predicted against observed duration of the zero curtain, over the years that both have.

    The duration of a year is ``zero_curtain_total`` of :func:`zero_curtain`, of both series over
    their common times and places, and where both have a value. Lazy on dask.

    Parameters
    ----------
    predicted, observed : DataArray or Dataset
        Daily ground temperature ``(..., time)`` [K or degC]; a Dataset gives ``tsl``. Dims that
        one of them lacks, such as ``model``, are carried through.
    tolerance, min_days, gap, freezing_point, year, coverage
        As for :func:`zero_curtain`.

    Returns
    -------
    Dataset
        ``(..., season)``, seasons autumn and spring: ``duration_observed``,
        ``duration_predicted``, ``duration_bias``, ``duration_mae`` [d], means over years;
        ``duration_ratio`` [1], predicted over observed, missing where none was observed; ``n``,
        number of years.

    Raises
    ------
    TimeAxisError
        For monthly data, or series without a common day.

    Examples
    --------
    >>> import xarray as xr
    >>> time = xr.date_range("2001-01-01", "2001-12-31")
    >>> def year(days):
    ...     values = [-4.0] * 150 + [6.0] * 110 + [0.1] * days + [-4.0] * (105 - days)
    ...     return xr.DataArray(values, {"time": time}, "time", attrs={"units": "degC"})
    >>> found = zero_curtain_error(year(12), year(15))
    >>> found["duration_bias"].values.tolist(), float(found["duration_ratio"][0])
    ([-3.0, 0.0], 0.8)
    """
    step = "zero_curtain_error"
    near = [
        _curtain_input(soil, tolerance, min_days, gap, freezing_point, year, step)[0]
        for soil in (predicted, observed)
    ]
    both = xr.align(*near, join="inner")
    if not both[0].sizes[TIME]:
        raise TimeAxisError(f"{step}: the two series have no day in common.")
    known = both[0].notnull() & both[1].notnull()
    mine, true = (
        zero_curtain(
            da.where(known).assign_attrs(units="degC"),
            tolerance=tolerance,
            min_days=min_days,
            gap=gap,
            year=year,
            coverage=coverage,
        )["zero_curtain_total"].pipe(without_attrs)
        for da in both
    )
    table = {
        "duration_observed": (true.mean(YEAR), "d", "observed duration of the zero curtain"),
        "duration_predicted": (mine.mean(YEAR), "d", "predicted duration of the zero curtain"),
        "duration_bias": ((mine - true).mean(YEAR), "d", "mean error of the duration"),
        "duration_mae": (abs(mine - true).mean(YEAR), "d", "mean absolute error of the duration"),
        "duration_ratio": (
            mine.mean(YEAR) / true.mean(YEAR).where(true.mean(YEAR) > 0),
            "1",
            "predicted over observed mean duration",
        ),
        "n": (true.notnull().sum(YEAR), "1", "years"),
    }
    return xr.Dataset(
        {n: da.assign_attrs(units=u, long_name=text) for n, (da, u, text) in table.items()},
        attrs={"method": _rule(tolerance, min_days, gap)},
    )


def _rule(tolerance: float, min_days: int, gap: int) -> str:
    return (
        f"runs of {min_days} days or more within {tolerance:g} K of freezing, interruptions of up "
        f"to {gap} d included"
    )


def _curtain_input(
    soil: Temperature,
    tolerance: float,
    min_days: int,
    gap: int,
    freezing_point: float,
    year: str,
    step: str,
) -> tuple[xr.DataArray, Years]:
    if tolerance <= 0 or min_days < 1 or gap < 0:
        raise DataError(
            f"{step} needs tolerance > 0 K, min_days >= 1 and gap >= 0; got tolerance={tolerance}, "
            f"min_days={min_days}, gap={gap}."
        )
    near = celsius(soil, SOIL, step=step, freezing_point=freezing_point)
    years = years_of(near, year, step=step)
    require_daily(years, step=step, why=_WHY)
    return near, years


def _curtain(values: np.ndarray, *, tolerance: float, min_days: int, gap: int) -> np.ndarray:
    """Kernel: ``values (..., time)`` relative to freezing; flags of the same shape."""
    flat = values.reshape(-1, values.shape[-1])
    known = ~np.isnan(flat)
    mask = close_gaps(np.abs(flat) <= tolerance, known, gap)  # NaN compares as False
    row, begin, end = runs_of(mask)
    long = end - begin >= min_days
    row, begin, end = row[long], begin[long], end[long]
    last = flat.shape[1] - 1
    before = flat[row, np.maximum(begin - 1, 0)]
    after = flat[row, np.minimum(end, last)]
    before = np.where(np.isnan(before), flat[row, begin], before)
    after = np.where(np.isnan(after), flat[row, end - 1], after)
    kinds = np.where(after < before, 1, 2)
    state = paint(flat.shape, row, begin, end, kinds)
    return np.where(known | (state > 0), state, np.int8(3)).reshape(values.shape)


def _durations(
    values: np.ndarray, state: np.ndarray, years: Years, coverage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Longest and total duration ``(..., season, year)`` of the runs of ``state (..., time)``."""
    flat = state.reshape(-1, state.shape[-1])
    shape = (flat.shape[0], len(SEASONS), years.labels.size)
    longest, total = np.zeros(shape), np.zeros(shape)
    for kind in range(len(SEASONS)):
        row, begin, end = runs_of(flat == kind + 1)
        at = (row, np.full_like(row, kind), years.index[begin])
        np.maximum.at(longest, at, end - begin)
        np.add.at(total, at, end - begin)
    enough = covered(~np.isnan(values), years, coverage).reshape(-1, 1, years.labels.size)
    longest, total = (np.where(enough, days, np.nan) for days in (longest, total))
    out = (*state.shape[:-1], *shape[1:])
    return longest.reshape(out), total.reshape(out)
