"""Many models and scenarios: windows of years, anomalies, weighted means, and what the spread is.

Every function takes any DataArray along ``time``, such as a projection ``(esm, scenario, ...,
time)`` or a variable of :func:`xpermafrost.adjust_scenarios`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ._checks import check_monthly, month_index, month_name, require_dims, same_units
from ._scenario_names import ESM, REALIZATION, RUNS
from .climatology import climatology, usual
from .errors import DataError, DimensionError, ScenarioError, UnitsError
from .schema import SCENARIO, TIME, name_axis

Period = tuple[str, str]

#: Near term, mid-term and long term of the sixth assessment report of the IPCC.
PERIODS = (("2021", "2040"), ("2041", "2060"), ("2081", "2100"))
#: What the spread is made of.
SOURCES = ("internal", "model", "scenario")
#: Years that a polynomial of degree 4 and a decadal mean need at the least.
LEAST_YEARS = 30


def period_means(da: xr.DataArray, *, periods: Sequence[Period] = PERIODS) -> xr.DataArray:
    """Means over windows of years, ``(..., period)``. Lazy.

    Each window is cut to the whole years that the data have, and labelled by those: a
    projection from 2024 on gives ``"2024-2040"``. A window with less than ten of them is NaN.

    Parameters
    ----------
    da : DataArray (..., time)
        Monthly.
    periods : sequence of pair of str
        First and last years, included.

    Examples
    --------
    >>> time = pd.date_range("2024-01", "2060-12", freq="MS")
    >>> flat = xr.DataArray(np.ones(time.size), {"time": time}, ("time",))
    >>> means = period_means(flat)
    >>> means["period"].values.tolist(), means.values.tolist()
    (['2024-2040', '2041-2060', '2081-2100'], [1.0, 1.0, nan])
    """
    whole = _whole_years(da[TIME])
    parts, labels = [], []
    for first, last in periods:
        years = whole[(whole >= int(first)) & (whole <= int(last))]
        if years.size < 10:
            parts.append(da.isel({TIME: 0}, drop=True) * np.nan)
            labels.append(f"{first}-{last}")
            continue
        inside = da[TIME].dt.year.isin(years).values
        parts.append(da.isel({TIME: inside}).mean(TIME))
        labels.append(f"{years[0]}-{years[-1]}")
    joined = xr.concat(parts, dim=name_axis("period", labels), coords="minimal", compat="override")
    return joined.transpose(..., "period").assign_attrs(da.attrs)


def _whole_years(time: xr.DataArray) -> np.ndarray:
    years, count = np.unique(time.dt.year.values, return_counts=True)
    return years[count == 12]


def annual_means(da: xr.DataArray) -> xr.DataArray:
    """Means of the whole calendar years of monthly data, ``(..., year)``; lazy.

    Examples
    --------
    >>> time = pd.date_range("2001-01", "2003-06", freq="MS")
    >>> annual_means(xr.DataArray(np.ones(30), {"time": time}, ("time",)))["year"].values.tolist()
    [2001, 2002]
    """
    check_monthly(da, step="annual means")
    years = _whole_years(da[TIME])
    months = da.isel({TIME: da[TIME].dt.year.isin(years).values}).transpose(..., TIME)
    by_year = months.drop_vars(TIME).coarsen({TIME: 12}).construct({TIME: ("year", "month")})
    out = by_year.mean("month", skipna=False).assign_coords(year=years)
    return out.assign_attrs(da.attrs)


def mean_over(da: xr.DataArray, period: Period, *, step: str) -> xr.DataArray:
    """Calendar-month means ``(..., month)`` over a period that the data must cover in full."""
    check_monthly(da, step=step)
    first, last = _span(period)
    months = month_index(da[TIME])
    if not months.size or first < months[0] or last > months[-1]:
        found = f"{month_name(int(months[0]))} to {month_name(int(months[-1]))}"
        raise DataError(
            f"{step} needs the whole baseline {month_name(first)} to {month_name(last)}; the data "
            f"span {found if months.size else 'nothing'}. Choose one inside them, or give the "
            "series that has it: baseline_of=..."
        )
    inside = (months >= first) & (months <= last)
    return climatology(da.isel({TIME: inside}))


def _span(period: Period) -> tuple[int, int]:
    first, last = pd.Period(period[0], "M"), pd.Period(pd.Period(period[1]).end_time, "M")
    return first.year * 12 + first.month - 1, last.year * 12 + last.month - 1


def anomalies(
    da: xr.DataArray,
    *,
    baseline: Period = ("1995", "2014"),
    baseline_of: xr.DataArray | None = None,
) -> xr.DataArray:
    """Departure of every month from the mean of its calendar month over a baseline. Lazy.

    Parameters
    ----------
    da : DataArray (..., time)
        Monthly.
    baseline : pair of str
        Years, included: 1995-2014 as in the sixth assessment report of the IPCC, 1986-2005 as
        in the fifth.
    baseline_of : DataArray (..., time), optional
        Monthly series that holds the baseline, in the same units, where ``da`` does not: a
        projection begins after the reference.

    Returns
    -------
    DataArray
        As ``da``; of a temperature in K.

    Raises
    ------
    DataError
        If the baseline is not covered in full.
    UnitsError
        If the units of the two differ.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> tas = canonical(years=20, start="1995")["tas"]
    >>> departure = anomalies(tas)
    >>> bool(abs(departure.mean()) < 1e-5), departure.attrs["units"]
    (True, 'K')
    """
    other = da if baseline_of is None else baseline_of
    units, found = str(da.attrs.get("units", "")), str(other.attrs.get("units", ""))
    if not same_units(units, found):
        raise UnitsError(
            f"the baseline is in {found!r}, the series in {units!r}; give both in the same units."
        )
    out = da - usual(mean_over(other, baseline, step="anomalies"), da[TIME])
    name = str(da.attrs.get("long_name", da.name or "value"))
    return out.transpose(*da.dims).assign_attrs(
        long_name=f"{name}, departure from {baseline[0]}-{baseline[1]}",
        units="K" if units and same_units(units, "degC") else units,
    )


def ensemble_mean(da: xr.DataArray, *, weights: xr.DataArray | None = None) -> xr.DataArray:
    """Mean over climate models, every model counting alike however many runs it has.

    A model without a value counts nothing there. Lazy without ``realization``.

    Parameters
    ----------
    da : DataArray ([esm, realization,] ...)
    weights : DataArray (esm), optional
        Weight of each model, not negative; they need not add up to 1. Equal by default.

    Examples
    --------
    >>> da = xr.DataArray([[1.0, 2.0], [4.0, np.nan]], {"esm": ["A", "B"]}, ("esm", "time"))
    >>> ensemble_mean(da).values.tolist()
    [2.5, 2.0]
    """
    dims, each = _weighting(da, weights)
    return da.weighted(each).mean(dims, keep_attrs=True)


def ensemble_quantiles(
    da: xr.DataArray,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    *,
    weights: xr.DataArray | None = None,
) -> xr.DataArray:
    """Quantiles over climate models and their runs, ``(quantile, ...)``.

    Weighted definition 7 of Hyndman and Fan (1996) (:meth:`xarray.DataArray.weighted`).
    ``da`` as in :func:`ensemble_mean`; ``esm`` must be one dask chunk.

    Examples
    --------
    >>> da = xr.DataArray([1.0, 2.0, 6.0], {"esm": ["A", "B", "C"]}, ("esm",))
    >>> ensemble_quantiles(da, [0.5]).values.tolist()
    [2.0]
    """
    dims, each = _weighting(da, weights)
    out = da.weighted(each).quantile(list(quantiles), dim=dims, keep_attrs=True)
    if "quantile" not in out.dims:  # xarray drops it where there is one
        out = out.expand_dims("quantile")
    return out.transpose("quantile", ...)


def _weighting(da: xr.DataArray, weights: xr.DataArray | None) -> tuple[list[str], xr.DataArray]:
    """Dimensions of the runs, and the weight of each run."""
    dims = [dim for dim in RUNS if dim in da.dims]
    if not dims:
        raise DimensionError(
            f"an ensemble has a dimension 'esm' or 'realization'; {da.name!r} has {da.dims}. "
            "Join climate models by name: era5.permafrost.with_scenarios({'GFDL-ESM2M': {...}})."
        )
    if ESM in dims:
        each = _model_weights(da, weights)
    else:
        each = xr.ones_like(da[REALIZATION], dtype="float64")
    if dims == list(RUNS):
        known = da.notnull().any([d for d in da.dims if d not in (*RUNS, SCENARIO)]).compute()
        each = (each / known.sum(REALIZATION)).where(known, 0.0)
    return dims, each


def _model_weights(da: xr.DataArray, weights: xr.DataArray | None) -> xr.DataArray:
    if weights is None:
        return xr.ones_like(da[ESM], dtype="float64").reset_coords(drop=True)
    if weights.dims != (ESM,):
        raise DimensionError(f"weights need the dims ('esm',); found {weights.dims}.")
    missing = [str(name) for name in da[ESM].values if name not in weights[ESM].values]
    if missing:
        raise ScenarioError(
            f"no weight for the climate models {missing}; weights has "
            f"{weights[ESM].values.tolist()}."
        )
    weights = weights.sel({ESM: da[ESM]}).astype("float64").reset_coords(drop=True)
    if not bool((weights >= 0).all()) or float(weights.sum()) == 0:
        raise DataError(f"weights must not be negative or all zero; got {weights.values.tolist()}.")
    return weights


def split_spread(
    da: xr.DataArray,
    *,
    baseline: Period | None = None,
    weights: xr.DataArray | None = None,
) -> xr.Dataset:
    """Spread of an ensemble split into internal variability, models and scenarios.

    Of annual means over the years that all have. Lazy apart from finding these.

    Parameters
    ----------
    da : DataArray (scenario, esm, [realization,] ..., time)
        Monthly; every model with every scenario. Other dimensions (places, layers, networks
        along ``member``) are kept.
    baseline : pair of str, optional
        Years whose mean of the smooth course is taken off each model and scenario. Without,
        models differ by their absolute values, which is what adjustment has made comparable.
    weights : DataArray (esm), optional
        As in :func:`ensemble_mean`.

    Returns
    -------
    Dataset
        ``mean (year, ...)``; ``variance (source, year, ...)`` of the sources ``internal``,
        ``model`` and ``scenario`` (squared units); ``fraction`` of each in their sum [1].

    Raises
    ------
    DimensionError
        If there are not two models and two scenarios.
    ScenarioError
        If a model lacks a scenario.
    DataError
        If there are fewer than 30 common years, or the baseline is not among them.

    Notes
    -----
    Hawkins and Sutton (2009): each run is a smooth course ``x``, a polynomial of degree 4 in
    time, and a residual. Internal: variance of decadal means of the residual over scenarios and
    years from 2000 on, where the runs are different, averaged over models, constant in time.
    Model: variance of ``x`` over models, averaged over scenarios. Scenario: variance over
    scenarios of the mean of ``x`` over models. Interaction is part of the model term. As
    ``xclim.ensembles.hawkins_sutton``, which this equals where both can be had; runs of one
    model share its course here.

    References
    ----------
    Hawkins, E. and Sutton, R. (2009): The potential to narrow uncertainty in regional climate
    predictions. Bull. Amer. Meteor. Soc. 90, 1095-1107.

    Examples
    --------
    >>> time = pd.date_range("2006-01", "2100-12", freq="MS")
    >>> year = xr.DataArray(np.arange(time.size) / 1200.0, {"time": time}, ("time",))
    >>> rate = xr.DataArray([1.0, 4.0], {"scenario": ["rcp26", "rcp85"]}, ("scenario",))
    >>> start = xr.DataArray([-0.5, 0.5], {"esm": ["A", "B"]}, ("esm",))
    >>> split = split_spread(year * rate + start)
    >>> split["fraction"].sel(year=2090).values.round(2).tolist()
    [0.0, 0.13, 0.87]
    """
    annual = annual_means(_balanced(da))
    others = [dim for dim in annual.dims if dim != "year"]
    lacking = (SCENARIO, *[dim for dim in RUNS if dim in annual.dims])
    known = annual.notnull().all(lacking).any([d for d in others if d not in lacking]).compute()
    annual = annual.isel(year=known.values)
    if annual.sizes["year"] < LEAST_YEARS:
        raise DataError(
            f"split_spread needs {LEAST_YEARS} years that every run has; found "
            f"{annual.sizes['year']}. Leave short runs out: da.sel(esm=[...])."
        )
    course = annual.mean(REALIZATION) if REALIZATION in annual.dims else annual
    smooth = _smooth(course)
    rest = (annual - smooth).rolling(year=10, center=True).mean()
    if baseline is not None:
        smooth = smooth - _baseline(smooth, baseline)
    each = _model_weights(annual, weights)
    over = [dim for dim in (SCENARIO, REALIZATION, "year") if dim in rest.dims]
    internal = rest.sel(year=slice(2000, None)).var(over).weighted(each).mean(ESM)
    models = smooth.weighted(each).var(ESM).mean(SCENARIO)
    means = smooth.weighted(each).mean(ESM)
    scenarios = means.var(SCENARIO)
    variance = xr.concat(
        [internal.broadcast_like(models), models, scenarios],
        dim=name_axis("source", SOURCES),
        coords="minimal",
        compat="override",
    )
    units = str(da.attrs.get("units", "1"))
    unit = "K" if same_units(units, "degC") else units
    out = xr.Dataset(
        {
            "mean": means.mean(SCENARIO).assign_attrs(units=units),
            "variance": variance.assign_attrs(units=f"({unit})2"),
            "fraction": (variance / variance.sum("source")).assign_attrs(units="1"),
        },
        attrs={
            "title": "spread of an ensemble by source (Hawkins and Sutton 2009)",
            "baseline": "none" if baseline is None else "-".join(baseline),
            "scenarios": ", ".join(map(str, annual[SCENARIO].values)),
            "models": ", ".join(map(str, annual[ESM].values)),
        },
    )
    return out.transpose("source", "year", ...)


def _balanced(da: xr.DataArray) -> xr.DataArray:
    """``da`` if every model has every scenario."""
    require_dims(da, (SCENARIO, ESM, TIME), step="split_spread")
    if da.sizes[ESM] < 2 or da.sizes[SCENARIO] < 2:
        raise DimensionError(
            "split_spread needs two climate models and two scenarios at the least; found "
            f"{da[ESM].values.tolist()} and {da[SCENARIO].values.tolist()}."
        )
    there = da.notnull().any([d for d in da.dims if d not in (SCENARIO, ESM)]).compute()
    there = there.transpose(ESM, SCENARIO)
    if not bool(there.all()):
        names, scenarios = da[ESM].values, da[SCENARIO].values
        lack = [f"{names[i]} {scenarios[j]}" for i, j in np.argwhere(~there.values)]
        models = names[there.all(SCENARIO).values].tolist()
        raise ScenarioError(
            f"split_spread needs every model with every scenario; not there: {lack}. Type "
            f"da.sel(esm={models}), or leave the scenario out."
        )
    return da


def _smooth(annual: xr.DataArray) -> xr.DataArray:
    """Polynomial of degree 4 in the year, by least squares: one matrix for every series."""
    years = annual["year"].values.astype("float64")
    x = (years - years.mean()) / np.ptp(years)
    basis, _ = np.linalg.qr(np.vander(x, 5))
    hat = xr.DataArray(basis @ basis.T, dims=("year", "_"), coords={"year": annual["year"]})
    return xr.dot(hat, annual.rename(year="_").drop_vars("_"), dim="_").transpose(*annual.dims)


def _baseline(smooth: xr.DataArray, period: Period) -> xr.DataArray:
    first, last = int(period[0]), int(period[1])
    years = smooth["year"].values
    if first < years[0] or last > years[-1]:
        raise DataError(
            f"the baseline {first}-{last} is not among the years that every run has, {years[0]} to "
            f"{years[-1]}. Choose one inside, or leave it out: baseline=None."
        )
    return smooth.sel(year=slice(first, last)).mean("year")


__all__ = [
    "anomalies",
    "annual_means",
    "ensemble_mean",
    "ensemble_quantiles",
    "period_means",
    "split_spread",
]
