"""Many models on real data: 47 communities beside five models, six stations beside two SSPs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from benchmarks.bench_scenarios import FEATURES, communities, spread, yakutia
from xpermafrost.errors import DataError, PermafrostWarning
from xpermafrost.spectra import seasonal_power

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")


@pytest.fixture(scope="module")
def nwt():
    return communities(DATA)


def test_47_communities_adjust_in_one_call_with_a_spread_split(nwt):
    assert dict(nwt["tas"].sizes) == {"esm": 5, "scenario": 4, "station": 47, "time": 1800}
    out = nwt.permafrost.adjust_scenarios(["tas"])["tas"]
    assert out.dims == ("esm", "scenario", "station", "time")
    assert out["scenario"].values.tolist() == ["rcp45", "rcp60", "rcp85"]
    assert bool(out.notnull().all())
    assert str(out["time"].values[0])[:7] == "2010-01"
    table = spread(out)
    share = table["share"]
    np.testing.assert_allclose(share.sum("source"), 1.0)
    scenario, internal = share.sel(source="scenario"), share.sel(source="internal")
    # the scenario matters more and more, the weather less and less (Hawkins and Sutton 2009)
    assert bool((scenario.diff("period") > 0).all())
    assert bool((internal.diff("period") < 0).all())
    assert float(scenario.isel(period=0)) < 0.1
    assert float(scenario.isel(period=-1)) > 0.25
    assert bool((table["mean"].diff("period") > 0.5).all())
    models = out.permafrost.ensemble_quantiles([0.05, 0.95]).permafrost.period_means()
    assert bool((models.isel(quantile=0) < models.isel(quantile=1)).all())


def test_a_baseline_before_the_models_begin_is_refused(nwt):
    out = nwt.permafrost.adjust_scenarios(["tas"], esm=["CCSM4", "MRI-CGCM3"])["tas"]
    with pytest.raises(DataError, match=r"1986-2005 is not among the years .* 2010 to 2099"):
        out.permafrost.split_spread(baseline=("1986", "2005"))
    assert out["esm"].values.tolist() == ["CCSM4", "MRI-CGCM3"]


def test_two_ssps_for_six_stations_by_five_members():
    """Short training: the labels, the order and the season, not the skill, are looked at."""
    ds = yakutia(DATA)
    net = ds.permafrost.fit(
        "gru",
        features=FEATURES,
        train=("1994", "2013"),
        members=5,
        config=xp.TrainingConfig(epochs=3, learning_rate=5e-3),
        options={"hidden": 16},
        jobs=1,
        progress=False,
    )
    out = ds.permafrost.project(net, ssp="all", members="all")
    assert out.dims == ("scenario", "member", "station", "layer", "time")
    assert dict(out.sizes) == {"scenario": 2, "member": 5, "station": 6, "layer": 3, "time": 924}
    # a month without air temperature at Zhigansk, in 2023, is in the first windows there
    known = out.notnull().all(("scenario", "member", "layer"))
    assert bool(known.sel(time=slice("2026", None)).all())
    assert known.all("time").sum() == 5
    power = seasonal_power(out.sel(time=slice("2026", None)))
    assert float(power["two_year_ratio"].max()) < 0.05
    np.testing.assert_allclose(power["dominant_period"], 12.0, atol=0.5)
    late = out.sel(time=slice("2081", "2100")).mean(("time", "station", "layer"))
    assert bool((late.sel(scenario="ssp585") > late.sel(scenario="ssp126")).all())


def test_warming_of_the_real_model_is_of_the_north_and_says_so():
    """IPSL-CM6A-LR reaches 1.5 K of global warming in 2011-2030; north of 45 degN much earlier."""
    runs = {}
    for name in ("historical", "ssp126", "ssp585"):
        path = DATA / "cmip" / f"tas_mon_IPSL-CM6A-LR_{name}_r1i1p1f1_lat45-90.nc"
        with xr.open_dataset(path) as file:
            runs[name] = file["tas"].load()
    past = runs.pop("historical")
    whole = xr.concat(
        [xr.concat([past, da], "time") for da in runs.values()],
        dim=xr.Variable("scenario", list(runs)),
    )
    with pytest.warns(PermafrostWarning, match="spans 49.5 to 85.5 degN, not the globe"):
        years = xp.warming_level_years(whole)
    assert float(years.sel(scenario="ssp126", level=1.5)) < 2011 + 10
    assert bool((years.sel(scenario="ssp585") <= years.sel(scenario="ssp126")).all())
    assert bool((years.diff("level") > 0).all())
