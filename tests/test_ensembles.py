"""Windows, anomalies, weighted means and the spread by source."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.ensembles import (
    annual_means,
    anomalies,
    ensemble_mean,
    ensemble_quantiles,
    period_means,
    split_spread,
)
from xpermafrost.errors import DataError, DimensionError, ScenarioError, TimeAxisError, UnitsError

MODELS, SCENARIOS = ["A", "B", "C"], ["rcp26", "rcp85"]


def monthly(start="2006-01", end="2100-12", *, noise=0.3, seed=0, runs=None, start_bias=True):
    """``(scenario, esm, [realization,] band, time)`` with known slopes, season and noise."""
    time = pd.date_range(start, end, freq="MS")
    rng = np.random.default_rng(seed)
    coords = {"scenario": SCENARIOS, "esm": MODELS}
    if runs:
        coords["realization"] = runs
    coords |= {"band": ["south", "north"], "time": time}
    shape = [len(values) for values in coords.values()]
    whole = xr.DataArray(
        noise * rng.standard_normal(shape), coords, list(coords), "tas", {"units": "degree_Celsius"}
    )
    century = xr.DataArray(np.arange(time.size) / 1200.0, {"time": time}, ["time"])
    season = xr.DataArray(
        10.0 * np.cos(2 * np.pi * np.arange(time.size) / 12), {"time": time}, ["time"]
    )
    slope = xr.DataArray([1.0, 5.0], {"scenario": SCENARIOS}, ["scenario"])
    factor = xr.DataArray([0.8, 1.0, 1.2], {"esm": MODELS}, ["esm"])
    bias = xr.DataArray([-0.5, 0.0, 0.5], {"esm": MODELS}, ["esm"]) * start_bias
    out = (whole + season + century * slope * factor + bias).transpose(*whole.dims)
    return out.assign_attrs(whole.attrs)


def counting(calls):
    def get(graph, keys, **options):
        calls.append(keys)
        return dask.get(graph, keys, **options)

    return dask.config.set(scheduler=get)


# windows and anomalies


def test_means_of_windows_are_cut_to_whole_years():
    da = monthly("2024-05", "2099-12")
    means = period_means(da)
    assert means["period"].values.tolist() == ["2025-2040", "2041-2060", "2081-2099"]
    assert means.dims == ("scenario", "esm", "band", "period")
    np.testing.assert_allclose(
        means.sel(period="2041-2060"), da.sel(time=slice("2041", "2060")).mean("time")
    )
    assert means.attrs["units"] == "degree_Celsius"
    own = period_means(da, periods=[("1986", "2005"), ("2030", "2049")])
    assert bool(own.sel(period="1986-2005").isnull().all())
    np.testing.assert_allclose(
        own.sel(period="2030-2049"), da.sel(time=slice("2030", "2049")).mean("time")
    )


def test_years_are_of_twelve_months_and_a_missing_month_is_missing():
    da = monthly("2005-11", "2010-03").copy()
    da.loc[{"time": "2008-06", "esm": "B"}] = np.nan
    years = annual_means(da)
    assert years["year"].values.tolist() == [2006, 2007, 2008, 2009]
    assert bool(years.sel(year=2008, esm="B").isnull().all())
    np.testing.assert_allclose(years.sel(year=2009), da.sel(time="2009").mean("time"))
    with pytest.raises(TimeAxisError, match="annual means needs each month once"):
        annual_means(da.isel(time=[0, 1, 3, 4]))


def test_anomalies_take_the_season_off():
    da = monthly("1990-01", "2020-12", noise=0.0, start_bias=False)
    out = anomalies(da)
    assert out.attrs["units"] == "K"
    assert "departure from 1995-2014" in out.attrs["long_name"]
    assert out.dims == da.dims
    base = out.sel(time=slice("1995", "2014")).groupby("time.month").mean("time")
    np.testing.assert_allclose(base, 0.0, atol=1e-9)
    assert float(abs(out).max()) < 2.0  # the season's 10 K are gone
    late = anomalies(da, baseline=("1986", "2005"), baseline_of=monthly("1980-01", "2010-12"))
    assert late.sizes["time"] == da.sizes["time"]
    np.testing.assert_allclose(
        anomalies(da.sel(time=slice("2015", None)), baseline_of=da),
        out.sel(time=slice("2015", None)),
    )


def test_a_baseline_outside_the_data_is_refused():
    da = monthly("2006-01", "2030-12")
    with pytest.raises(DataError, match=r"1995-01 to 2014-12; the data span 2006-01 to 2030-12"):
        anomalies(da)
    kelvin = (da + 273.15).assign_attrs(units="K")
    with pytest.raises(UnitsError, match="baseline is in 'K', the series in 'degree_Celsius'"):
        anomalies(da, baseline=("2006", "2010"), baseline_of=kelvin)


# means and quantiles over models


def test_every_model_counts_alike_by_default_and_by_its_weight():
    da = monthly()
    np.testing.assert_allclose(ensemble_mean(da), da.mean("esm"))
    weights = xr.DataArray([6.0, 0.0, 2.0], {"esm": ["B", "A", "C"]}, ["esm"])
    want = 0.75 * da.sel(esm="B", drop=True) + 0.25 * da.sel(esm="C", drop=True)
    weighted = ensemble_mean(da, weights=weights)
    np.testing.assert_allclose(weighted, want)
    assert ensemble_mean(da).attrs["units"] == "degree_Celsius"
    xr.testing.assert_identical(
        da.permafrost.ensemble_mean(weights=weights), ensemble_mean(da, weights=weights)
    )


def test_a_model_without_values_counts_nothing():
    da = monthly().copy()
    da.loc[{"esm": "A", "scenario": "rcp26"}] = np.nan
    got = ensemble_mean(da).sel(scenario="rcp26")
    np.testing.assert_allclose(got, da.sel(esm=["B", "C"], scenario="rcp26").mean("esm"))


def test_runs_share_the_weight_of_their_model():
    da = monthly(runs=["r1", "r2", "r3"]).copy()
    da.loc[{"esm": "C", "realization": ["r2", "r3"]}] = np.nan
    got = ensemble_mean(da)
    want = (
        da.sel(esm=["A", "B"]).mean("realization").sum("esm")
        + da.sel(esm="C", realization="r1", drop=True)
    ) / 3
    np.testing.assert_allclose(got, want)
    alone = ensemble_mean(da.isel(esm=0, drop=True))
    np.testing.assert_allclose(alone, da.isel(esm=0).mean("realization"))


def test_quantiles_with_and_without_weights():
    da = monthly()
    out = ensemble_quantiles(da)
    assert out.dims == ("quantile", "scenario", "band", "time")
    assert out["quantile"].values.tolist() == [0.05, 0.5, 0.95]
    np.testing.assert_allclose(out, da.quantile([0.05, 0.5, 0.95], "esm"))
    sure = xr.DataArray([0.0, 1.0, 0.0], {"esm": MODELS}, ["esm"])
    np.testing.assert_allclose(
        ensemble_quantiles(da, [0.1, 0.9], weights=sure).isel(quantile=0), da.sel(esm="B")
    )


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (([1.0, 1.0], ["A", "B"]), ScenarioError, r"no weight for the climate models \['C'\]"),
        (([1.0, -1.0, 1.0], MODELS), DataError, r"must not be negative or all zero.*-1"),
        (([0.0, 0.0, 0.0], MODELS), DataError, "must not be negative or all zero"),
    ],
)
def test_weights_that_do_not_fit(weights, error, message):
    given = xr.DataArray(weights[0], {"esm": weights[1]}, ["esm"])
    with pytest.raises(error, match=message):
        ensemble_mean(monthly(), weights=given)


def test_weights_are_by_model_and_an_ensemble_has_models():
    da = monthly()
    with pytest.raises(DimensionError, match=r"weights need the dims \('esm',\); found \('band',"):
        ensemble_mean(da, weights=xr.DataArray([1.0, 1.0], dims="band"))
    with pytest.raises(DimensionError, match="an ensemble has a dimension 'esm' or 'realization'"):
        ensemble_mean(da.isel(esm=0, drop=True))


def test_they_are_lazy():
    da = monthly().chunk(band=1)
    calls = []
    with counting(calls):
        ensemble_mean(da)
        ensemble_quantiles(da)
        period_means(da)
        anomalies(da, baseline=("2006", "2025"))
        annual_means(da)
    assert not calls


# the spread


def test_the_split_is_that_of_xclim():
    """xclim.ensembles.hawkins_sutton is the oracle, with and without weights."""
    from xclim.ensembles import hawkins_sutton

    da = monthly("1950-01", "2100-12", noise=1.0)
    for weights in (None, xr.DataArray([1.0, 2.0, 0.5], {"esm": MODELS}, ["esm"])):
        mine = split_spread(da, baseline=("1971", "2000"), weights=weights)
        yearly = da.resample(time="YS").mean().rename(esm="model").drop_attrs()
        # years of equal length: its polynomial is in days, this one in years
        even = xr.date_range("1950", periods=151, freq="YS", calendar="noleap", use_cftime=True)
        yearly = yearly.assign_coords(time=even)
        other = None if weights is None else weights.rename(esm="model")
        mean, theirs = hawkins_sutton(yearly, weights=other, baseline=("1971", "2000"))
        names = {"internal": "variability", "model": "model", "scenario": "scenario"}
        for source, name in names.items():
            got = mine["variance"].sel(source=source).transpose("year", "band")
            want = theirs.sel(uncertainty=name).transpose("time", "band")
            np.testing.assert_allclose(got, want, rtol=1e-6)
        np.testing.assert_allclose(
            mine["mean"].transpose("year", "band"), mean.transpose("time", "band"), atol=1e-6
        )


def test_known_slopes_give_known_variances():
    out = split_spread(monthly(noise=0.0, start_bias=False))
    at = out.sel(year=2080).isel(band=0)
    century = (2080 - 2006 + 5.5 / 12) / 100
    assert float(at["variance"].sel(source="scenario")) == pytest.approx(
        (2 * century) ** 2, rel=1e-6
    )
    models = np.var([0.8, 1.0, 1.2]) * (1 + 25) / 2 * century**2
    assert float(at["variance"].sel(source="model")) == pytest.approx(models, rel=1e-6)
    assert float(at["variance"].sel(source="internal")) == pytest.approx(0.0, abs=1e-12)
    assert float(at["mean"]) == pytest.approx(3 * century, rel=1e-6)
    np.testing.assert_allclose(out["fraction"].sum("source"), 1.0)
    assert out["variance"].attrs["units"] == "(K)2"


def test_without_a_baseline_models_differ_by_their_start():
    da = monthly(noise=0.0)
    with_bias = split_spread(da)["variance"].sel(source="model", year=2007)
    without = split_spread(da, baseline=("2006", "2025"))["variance"].sel(source="model", year=2007)
    assert float(with_bias.min()) > 0.1
    assert float(without.max()) < 0.05


def test_runs_add_to_what_is_known_of_internal_variability():
    many = monthly(noise=2.0, runs=[f"r{k}" for k in range(8)])
    out = split_spread(many)
    assert "realization" not in out.dims
    # decadal means of white monthly noise: 4 K2 over 120 months
    got = out["variance"].sel(source="internal").isel(year=0)
    np.testing.assert_allclose(got, 4.0 / 120, rtol=0.25)


def test_internal_variability_gives_way_to_scenarios():
    out = split_spread(monthly(noise=5.0, start_bias=False))["fraction"].isel(band=0)
    internal, scenario = out.sel(source="internal"), out.sel(source="scenario")
    assert float(internal.sel(year=2015)) > float(scenario.sel(year=2015))
    assert float(internal.sel(year=2095)) < 0.1 < 0.7 < float(scenario.sel(year=2095))


def test_years_that_one_run_lacks_are_left_out():
    da = monthly().copy()
    da.loc[{"esm": "B", "time": slice("2100", None)}] = np.nan
    assert split_spread(da)["year"].values[-1] == 2099


def test_missing_places_stay_missing():
    da = monthly().copy()
    da.loc[{"band": "south"}] = np.nan
    out = split_spread(da)
    assert bool(out["variance"].sel(band="south").isnull().all())
    assert bool(out["variance"].sel(band="north").notnull().all())


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (
            lambda d: d.isel(esm=[0]),
            {},
            DimensionError,
            r"two climate models and two scenarios.*'A'",
        ),
        (lambda d: d.isel(esm=0, drop=True), {}, DimensionError, r"split_spread needs dims"),
        (
            lambda d: d.where(~((d["esm"] == "B") & (d["scenario"] == "rcp26"))),
            {},
            ScenarioError,
            r"not there: \['B rcp26'\]. Type da.sel\(esm=\['A', 'C'\]\)",
        ),
        (lambda d: d.sel(time=slice("2006", "2030")), {}, DataError, "needs 30 years.*found 25"),
        (
            lambda d: d,
            {"baseline": ("1995", "2014")},
            DataError,
            r"1995-2014 is not among the years that every run has, 2006 to 2100.*baseline=None",
        ),
    ],
)
def test_what_cannot_be_split(change, options, error, message):
    with pytest.raises(error, match=message):
        split_spread(change(monthly()), **options)


def test_nothing_is_written_to(unchanged):
    da = monthly(runs=["r1", "r2"])
    with unchanged(da):
        split_spread(da, baseline=("2006", "2025"))
        ensemble_mean(da)
        ensemble_quantiles(da)
        anomalies(da, baseline=("2006", "2025"))
        period_means(da)
