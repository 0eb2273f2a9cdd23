"""The report on the adjustment, and the warning where a signal is squeezed."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import bias
from xpermafrost._bias_divergence import warn_if_squeezed
from xpermafrost.adjustment_tables import adjustment_report
from xpermafrost.errors import PermafrostWarning, ScenarioError, TimeAxisError, UnknownNameError
from xpermafrost.schema import VARIABLES

DATA = Path("../shared/data")
CMIP = DATA / "cmip"
HORIZONS = (("2031", "2050"), ("2061", "2080"))


def run(start, end, *, rate=0.0, shift=0.0, spread=1.0, seed=0):
    """Air temperature and precipitation of two bands."""
    time = pd.date_range(start, f"{end}-12", freq="MS", name="time")
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, 2, time.size))
    season = np.cos(2 * np.pi * (time.month.to_numpy() - 7) / 12)
    warm = rate * np.clip(time.year.to_numpy() - 2000, 0, None)
    fields = {
        "tas": 262 + shift + 15 * season + 2 * spread * noise[0] + warm,
        "pr": 2e-5 * (1 + 0.1 * shift) * (1 + 0.05 * warm) * np.exp(0.2 * noise[1]),
    }
    return xr.Dataset(
        {n: (("band", "time"), v, VARIABLES[n].attrs) for n, v in fields.items()},
        {"band": ["a", "b"], "time": time},
    )


@pytest.fixture(scope="module")
def ds():
    reference = run("1981", "2010", rate=0.02, seed=1)
    soil = (reference.tas.expand_dims(layer=[1], axis=1) + 2).assign_attrs(VARIABLES["tsl"].attrs)
    reference = reference.assign(tsl=soil).assign_coords(xp.layer_coords((0, 0.1)))
    return xp.combine(
        reference,
        historical=run("1971", "2005", rate=0.02, shift=2.0, spread=1.8, seed=2),
        rcp26=run("2006", "2080", rate=0.01, shift=2.0, spread=1.8, seed=3),
        rcp85=run("2006", "2080", rate=0.08, shift=2.0, spread=1.8, seed=4),
    )


@pytest.fixture(scope="module")
def report(ds):
    return adjustment_report(ds, horizons=HORIZONS)


def test_change_signals(ds, report):
    tas = report["change"]["tas"]
    assert tas.dims == ("series", "scenario", "band", "horizon")
    assert tas.attrs["units"] == "K"
    assert report["change"]["pr"].attrs["units"] == "%"
    base = ds.tas.sel(scenario="rcp85", time=slice("2006", "2010"))
    past = ds.tas.sel(scenario="historical", time=slice("1981", "2005"))
    mean = xr.concat([past, base], "time", coords="minimal", compat="override").mean("time")
    late = ds.tas.sel(scenario="rcp85", time=slice("2061", "2080")).mean("time")
    raw = tas.sel(series="raw", scenario="rcp85", horizon="2061/2080")
    np.testing.assert_allclose(raw, late - mean, rtol=1e-6)
    both = tas.sel(scenario="rcp85", horizon="2061/2080")
    np.testing.assert_allclose(both.sel(series="adjusted"), both.sel(series="raw"), rtol=0.08)
    wet = report["change"]["pr"].sel(scenario="rcp85", horizon="2061/2080", series="raw")
    assert 20 < float(wet.mean()) < 35  # 5 % per K, 5.6 K


def test_bias_quantiles_season_and_trend(report):
    left = report["bias"]["tas"]
    assert left.attrs["units"] == "K"
    assert (left.sel(series="raw") > 1.9).all()
    assert (left.sel(series="adjusted") < 0.3).all()
    quantiles = report["quantiles"]["tas"]
    assert quantiles.dims == ("series", "band", "season", "quantile")
    assert quantiles.season.values.tolist() == ["DJF", "MAM", "JJA", "SON"]
    assert quantiles.season.dtype.kind == "U"
    assert (quantiles.diff("quantile") > 0).all()
    spread = report["season"]["tas"].sel(statistic="standard deviation").mean(["band", "month"])
    assert float(spread.sel(series="raw") / spread.sel(series="reference")) > 1.5
    assert float(spread.sel(series="adjusted") / spread.sel(series="reference")) < 1.15
    trend = report["trend"]["tas"].mean("band")
    ahead = trend.sel(period="2011-01/2080-12")
    np.testing.assert_allclose(ahead.sel(scenario="rcp85", series="raw"), 0.8, atol=0.06)
    np.testing.assert_allclose(ahead.sel(scenario="rcp85", series="adjusted"), 0.8, atol=0.08)
    assert ahead.sel(series="reference").isnull().all()
    assert report["trend"]["tas"].attrs["units"] == "K per decade"


def test_divergence_and_provenance(ds, report):
    kept = report["divergence"]["tas"]
    assert kept.dims == ("band", "horizon")
    assert report["divergence"].attrs["pair"] == "rcp26, rcp85"
    np.testing.assert_allclose(kept, 1.0, atol=0.1)
    assert report.attrs["training_period"] == "1981-01/2010-12"
    one = adjustment_report(ds, variables=["tas"], scenario="rcp85", horizons=HORIZONS)
    assert "divergence" not in one.children
    xr.testing.assert_allclose(
        one["change"]["tas"].sel(scenario="rcp85"), report["change"]["tas"].sel(scenario="rcp85")
    )
    # the training is that of the whole, whichever scenario is asked for
    xr.testing.assert_allclose(one["bias"]["tas"], report["bias"]["tas"])


def test_soil_beside_its_forcing(ds):
    time = pd.date_range("2011", "2080-12", freq="MS", name="time")
    soil = xr.DataArray(
        np.full((2, 2, 1, time.size), -1.0),
        {"scenario": ["rcp26", "rcp85"], "band": ["a", "b"], "layer": [1], "time": time},
        ("scenario", "band", "layer", "time"),
        name="soil_temperature",
        attrs={"units": "degree_Celsius"},
    )
    out = adjustment_report(ds, soil, variables=["tas"], horizons=HORIZONS)["change"]
    base = ds.tsl.mean("time") - 273.15
    np.testing.assert_allclose(
        out["soil_temperature"].sel(scenario="rcp85", horizon="2031/2050"), -1.0 - base, rtol=1e-5
    )
    assert out["soil_temperature"].dims == ("scenario", "band", "layer", "horizon")
    with pytest.raises(TimeAxisError, match="is not inside the scenarios, 2011-01/2049-12"):
        adjustment_report(
            ds, soil.sel(time=slice(None, "2049")), variables=["tas"], horizons=HORIZONS
        )


def test_several_models():
    parts = {
        name: {
            "historical": run("1971", "2005", shift=shift, seed=5),
            "rcp26": run("2006", "2080", rate=0.01, shift=shift, seed=6),
            "rcp85": run("2006", "2080", rate=0.08, shift=shift, seed=7),
        }
        for name, shift in (("one", 1.0), ("two", -3.0))
    }
    many = xp.combine(run("1981", "2010", rate=0.02, seed=1), **parts)
    out = adjustment_report(many, variables=["tas"], horizons=HORIZONS)
    assert out["change"]["tas"].sizes["esm"] == 2
    left = out["bias"]["tas"].mean("band")
    # 3 K and the trend of the reference
    np.testing.assert_allclose(left.sel(series="raw"), [1.0, 3.0], atol=0.5)
    assert (left.sel(series="adjusted") < 0.3).all()
    alone = adjustment_report(many.sel(esm="two"), variables=["tas"], horizons=HORIZONS)
    xr.testing.assert_allclose(
        out["divergence"]["tas"].sel(esm="two", drop=True),
        alone["divergence"]["tas"].reset_coords(drop=True),
    )
    assert xp.check_scenarios(many).count("error") == 0


def test_errors(ds):
    with pytest.raises(TimeAxisError, match=r"horizon 2081-01/2100-12 is not inside the scenarios"):
        adjustment_report(ds, variables=["tas"])
    with pytest.raises(UnknownNameError, match="unknown adjustment method 'qmd'"):
        adjustment_report(ds, method="qmd", horizons=HORIZONS)
    with pytest.raises(ScenarioError, match="rcp45"):
        adjustment_report(ds, scenario="rcp45", horizons=HORIZONS)


def test_method(ds):
    options = {"variables": ["tas"], "scenario": "rcp85", "horizons": HORIZONS}
    xr.testing.assert_identical(
        ds.permafrost.adjustment_report(**options), adjustment_report(ds, **options)
    )


# --- squeezed signals --------------------------------------------------------------------


def adjusted(ds, method):
    from xpermafrost.experiment import reference_of, series_of

    names = ("rcp26", "rcp85")
    raw = {name: series_of(ds, name)[["tas", "pr"]] for name in names}
    trained = bias.train(reference_of(ds)[["tas", "pr"]], raw["rcp26"], method=method)
    return raw, {name: bias.adjust(trained, one) for name, one in raw.items()}


def test_a_squeezed_signal_is_warned_about(ds):
    raw, done = adjusted(ds, "eqm")
    with pytest.warns(PermafrostWarning, match=r"keeps 0\.\d\d of the change of 'tas'") as told:
        warn_if_squeezed(raw, done, baseline=("1981-01", "2010-12"), horizons=HORIZONS)
    text = str(told[0].message)
    assert "from 1981/2010 to 20" in text
    assert "(method 'eqm', mean of places)" in text
    assert "use method='qdm'" in text


def test_a_kept_signal_is_not(ds):
    raw, done = adjusted(ds, "qdm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_squeezed(raw, done, baseline=("1981-01", "2010-12"), horizons=HORIZONS)
        # nothing is known beyond the data, nor of what was not adjusted
        warn_if_squeezed(raw, done, baseline=("1981-01", "2010-12"))
        warn_if_squeezed(raw, raw, baseline=("1981-01", "2010-12"), horizons=HORIZONS)
        # four years are weather
        short = adjusted(ds, "eqm")
        warn_if_squeezed(*short, baseline=("2007-01", "2010-12"), horizons=HORIZONS)


# --- real models -------------------------------------------------------------------------


@pytest.mark.skipif(not CMIP.exists(), reason=f"needs {CMIP}")
def test_yakutia_under_ipsl():
    """Station air temperature as reference; the signal of ssp585 is kept at every station."""
    with xr.open_dataset(DATA / "stations/yakutia_monthly.nc") as raw:
        stations = raw[["tas", "lat", "lon"]].load()
    tas = (
        (stations.tas + 273.15).assign_attrs(VARIABLES["tas"].attrs).sel(time=slice("1971", "2014"))
    )
    # a station's gaps would leave out the whole; the mean of what is there serves the report
    tas = tas.transpose("station", "time").to_dataset().drop_vars(["lat", "lon"], errors="ignore")
    parts = {}
    for name in ("historical", "ssp126", "ssp585"):
        path = CMIP / f"tas_mon_IPSL-CM6A-LR_{name}_r1i1p1f1_lat45-90.nc"
        with xr.open_dataset(path) as ds:
            near = ds.tas.sel(lat=stations.lat, lon=stations.lon % 360, method="nearest").drop_vars(
                ["lat", "lon"]
            )
            part = near.transpose("station", "time").load().assign_attrs(VARIABLES["tas"].attrs)
        parts[name] = part.to_dataset()[["tas"]].sel(time=slice("1961", None))
    ds = xp.combine(tas, **parts)
    report = adjustment_report(ds)
    assert report.attrs["training_period"] == "1971-01/2014-12"
    kept = report["divergence"]["tas"].sel(horizon="2081/2100")
    assert float(abs(kept - 1).max()) < 0.05
    left = report["bias"]["tas"].mean("station")
    assert float(left.sel(series="adjusted")) < 0.3 * float(left.sel(series="raw"))
