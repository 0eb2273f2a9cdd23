"""Several climate models and runs of each: joined, adjusted and projected in one call."""

from __future__ import annotations

import re

import dask
import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost._scenario_names import choose_models, runs_of
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    RegionError,
    ScenarioError,
    TimeAxisError,
)
from xpermafrost.experiment import as_experiment, combine, reference_of, scenarios_of, series_of
from xpermafrost.forcing import adjust_scenarios, scenario_forcing
from xpermafrost.projection import project
from xpermafrost.schema import layer_bounds

TINY = {"options": {"hidden": 8}, "jobs": 1, "progress": False}


def part(start, years, seed, *, warmer=0.0, **options):
    ds = testing.canonical(start=start, years=years, seed=seed, **options)
    return ds.assign(tas=ds["tas"] + np.float32(warmer)).assign(
        tas=lambda d: d["tas"].assign_attrs(ds["tas"].attrs)
    )


@pytest.fixture(scope="module")
def models():
    """Two climate models: the second is 4 K too warm, lacks RCP 2.6 and ends a year earlier."""
    one = {
        "historical": part("1996", 10, 11, warmer=1.5),
        "rcp26": part("2006", 12, 12, warmer=1.5, warming=0.2),
        "rcp85": part("2006", 12, 13, warmer=1.5, warming=2.0),
    }
    two = {
        "historical": part("1990", 16, 21, warmer=4.0),
        "rcp85": part("2006", 11, 23, warmer=4.0, warming=3.0),
    }
    return {"GFDL-ESM2M": one, "CCSM4": two}


@pytest.fixture(scope="module")
def reference():
    return testing.canonical(years=8)


@pytest.fixture(scope="module")
def whole(reference, models):
    return combine(reference, **models)


@pytest.fixture(scope="module")
def net(reference, quick):
    return xp.fit(reference, "gru", config=quick, **TINY)


def test_forcing_has_the_models_and_the_reference_is_one(whole, reference):
    assert whole["tas"].dims == ("esm", "scenario", "band", "time")
    assert whole["esm"].values.tolist() == ["GFDL-ESM2M", "CCSM4"]
    assert whole["scenario"].values.tolist() == ["reference", "historical", "rcp26", "rcp85"]
    assert whole["tsl"].dims == ("band", "layer", "time")
    assert whole["elevation"].dims == ("band",)
    assert whole["tsl_esm"].dims == ("esm", "scenario", "band", "layer", "time")
    assert whole["esm"].dtype.kind == whole["scenario"].dtype.kind == "U"
    assert whole["tas"].dtype == np.float32
    np.testing.assert_allclose(layer_bounds(whole), layer_bounds(reference))
    back = reference_of(whole)
    assert "esm" not in back.dims
    for name in ("tas", "tsl", "elevation"):
        np.testing.assert_array_equal(back[name], reference[name])
    assert "GFDL-ESM2M (reference, historical, rcp26, rcp85)" in whole.attrs["history"]


def test_what_a_model_lacks_is_missing(whole):
    lacking = whole.sel(esm="CCSM4", scenario="rcp26")
    assert bool(lacking["tas"].isnull().all())
    assert bool(lacking["period_start"].isnull())
    assert scenarios_of(whole) == ["rcp26", "rcp85"]
    assert scenarios_of(whole.sel(esm="CCSM4")) == ["rcp85"]
    ends = whole["period_end"].sel(scenario="rcp85").dt.year.values.tolist()
    assert ends == [2017, 2016]


def test_one_model_of_many_is_the_experiment_of_one(whole, reference, models):
    for name, runs in models.items():
        alone = combine(reference, **runs)
        taken = whole.sel(esm=name)
        for scenario in ("historical", "rcp85"):
            want = series_of(alone, "rcp85")
            got = series_of(taken, "rcp85")
            xr.testing.assert_equal(got["tas"].reset_coords(drop=True), want["tas"])
            np.testing.assert_array_equal(
                taken["tas"].sel(scenario=scenario, time=alone["time"]),
                alone["tas"].sel(scenario=scenario),
            )


def test_dict_tree_and_with_scenarios_give_the_same(reference, models, whole):
    xr.testing.assert_identical(as_experiment({"reference": reference, **models}), whole)
    tree = xr.DataTree.from_dict(
        {
            "reference": reference,
            **{f"{m}/{n}": ds for m, runs in models.items() for n, ds in runs.items()},
        }
    )
    xr.testing.assert_identical(as_experiment(tree), whole)
    xr.testing.assert_identical(reference.permafrost.with_scenarios(models), whole)


def test_joining_models_is_lazy_and_writes_nothing(reference, models, whole, unchanged):
    def refuse(graph, keys, **options):
        raise AssertionError("computed")

    def split(ds):
        timed = {
            n: da.variable.chunk(time=24) for n, da in ds.data_vars.items() if "time" in da.dims
        }
        return ds.assign(timed)

    chunked = {m: {n: split(ds) for n, ds in runs.items()} for m, runs in models.items()}
    with unchanged(reference, *models["CCSM4"].values()), dask.config.set(scheduler=refuse):
        lazy = combine(split(reference), **chunked)
        reference_of(lazy)
        runs_of(lazy)
        series_of(lazy.sel(esm="CCSM4"), "rcp85")
    assert lazy["tas"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), whole)


def test_scenarios_beside_models_are_refused(reference, models):
    with pytest.raises(ScenarioError, match=r"'rcp85' is a Dataset, 'CCSM4' holds scenarios"):
        combine(reference, CCSM4=models["CCSM4"], rcp85=part("2006", 4, 1))


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (
            lambda d: d.isel(time=np.delete(np.arange(132), 30)),
            TimeAxisError,
            r"climate model 'CCSM4': combine \(rcp85\).*no 2008-07",
        ),
        (
            lambda d: d.isel(band=[1, 0, 2]),
            RegionError,
            r"climate model 'CCSM4': .*'rcp85' differ along 'band'",
        ),
    ],
)
def test_what_does_not_fit_names_the_model(reference, models, broken, error, message):
    two = {**models["CCSM4"], "rcp85": broken(models["CCSM4"]["rcp85"])}
    with pytest.raises(error, match=message):
        combine(reference, **{**models, "CCSM4": two})


def test_another_calendar_is_no_other_month(reference, models, whole):
    """CMIP models stamp mid-month in calendars of 360 or 365 days; months are joined by name."""
    runs = {}
    for (name, ds), calendar in zip(models["CCSM4"].items(), ("360_day", "noleap"), strict=True):
        time = xr.date_range(
            f"{ds.indexes['time'][0]:%Y-%m}-01",
            periods=ds.sizes["time"],
            freq="MS",
            calendar=calendar,
            use_cftime=True,
        )
        runs[name] = ds.assign_coords(time=time)
    xr.testing.assert_identical(combine(reference, **{**models, "CCSM4": runs}), whole)


# runs of one model


@pytest.fixture(scope="module")
def realized(models):
    """The first model with two runs of each scenario, one of history."""
    one = models["GFDL-ESM2M"]

    def twice(name):
        ds, shift = (
            one[name],
            xr.DataArray([0.0, 0.25], {"member": ["r1i1p1", "r2i1p1"]}, ["member"]),
        )
        tas = (ds["tas"] + shift).astype("float32").assign_attrs(ds["tas"].attrs)
        return ds.drop_vars("tsl").assign(tas=tas)

    return {"historical": one["historical"], "rcp26": twice("rcp26"), "rcp85": twice("rcp85")}


def test_members_of_a_climate_model_become_realizations(reference, realized, models):
    whole = combine(reference, **realized)
    assert whole["tas"].dims == ("realization", "scenario", "band", "time")
    assert whole["realization"].values.tolist() == ["r1i1p1", "r2i1p1"]
    assert whole["tsl"].dims == ("band", "layer", "time")
    first = whole.sel(realization="r1i1p1")
    alone = combine(reference, **models["GFDL-ESM2M"])
    np.testing.assert_array_equal(first["tas"], alone["tas"])
    np.testing.assert_array_equal(reference_of(whole)["tas"], reference["tas"])


def test_models_and_runs_together(reference, realized, models, net):
    two = {n: ds.expand_dims(realization=["r1i1p1"]) for n, ds in models["CCSM4"].items()}
    two = {n: ds.assign(elevation=models["CCSM4"][n]["elevation"]) for n, ds in two.items()}
    whole = combine(reference, **{"GFDL-ESM2M": realized, "CCSM4": two})
    assert whole["tas"].dims == ("esm", "realization", "scenario", "band", "time")
    assert len(runs_of(whole)) == 3
    out = project(whole, net, rcp="8.5")
    assert out.dims == ("esm", "realization", "scenario", "band", "layer", "time")
    assert out.sizes["realization"] == 2
    assert bool(out.sel(esm="CCSM4", realization="r2i1p1").isnull().all())
    assert "CCSM4 r2i1p1" not in out.attrs.get("missing_runs", "")
    # every model counts alike, however many runs it has
    mean = out.permafrost.ensemble_mean().sel(time="2012")
    want = (
        out.sel(esm="GFDL-ESM2M", time="2012").mean("realization")
        + out.sel(esm="CCSM4", realization="r1i1p1", time="2012", drop=True)
    ) / 2
    np.testing.assert_allclose(mean, want, atol=1e-5)


def test_models_with_and_without_runs_are_not_mixed(reference, realized, models):
    with pytest.raises(DimensionError, match=r"'CCSM4' has no dimension 'realization'.*r1i1p1f1"):
        combine(reference, **{"GFDL-ESM2M": realized, "CCSM4": models["CCSM4"]})


# projection


def test_every_model_is_adjusted_on_its_own(whole, net, reference, models, unchanged):
    with unchanged(whole):
        out = project(whole, net, rcp="all", esm="all")
    assert out.dims == ("esm", "scenario", "band", "layer", "time")
    for name, runs in models.items():
        alone = project(combine(reference, **runs), net)
        got = out.sel(esm=name, scenario=alone["scenario"], time=alone["time"])
        np.testing.assert_array_equal(got, alone)
        np.testing.assert_array_equal(
            got["outside_training_range"], alone["outside_training_range"]
        )
    assert bool(out.sel(esm="CCSM4", scenario="rcp26").isnull().all())
    assert bool(out.sel(esm="CCSM4", scenario="rcp85", time="2017").isnull().all())
    assert out.attrs["missing_runs"] == "CCSM4: rcp26"
    assert out["outside_training_range"].dims == ("esm", "scenario", "band", "time")
    assert "continued by rcp26" in out.attrs["history"]
    assert "continued by rcp85" in out.attrs["history"]
    assert out.attrs["units"] == "degree_Celsius"


def test_models_are_chosen_by_name_and_order(whole, net):
    every = project(whole, net, rcp="8.5")
    out = project(whole, net, rcp="8.5", esm=["CCSM4", "GFDL-ESM2M"])
    assert out["esm"].values.tolist() == ["CCSM4", "GFDL-ESM2M"]
    xr.testing.assert_equal(out.sel(esm=["GFDL-ESM2M", "CCSM4"]), every)
    one = project(whole, net, esm="GFDL-ESM2M")
    assert one["esm"].values.tolist() == ["GFDL-ESM2M"]
    assert "missing_runs" not in one.attrs


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"esm": "GFDL-ESM2G"}, "unknown climate model 'GFDL-ESM2G'; did you mean 'GFDL-ESM2M'"),
        ({"esm": []}, "no climate model asked for"),
        ({"esm": "CCSM4", "rcp": "2.6"}, r"'CCSM4' has none of the scenarios \['rcp26'\]"),
    ],
)
def test_absent_models_answer_with_the_close_ones(whole, net, asked, message):
    with pytest.raises(ScenarioError, match=message):
        project(whole, net, **asked)


def test_a_name_for_one_model_without_names(world):
    assert choose_models(world, "all") == []
    with pytest.raises(ScenarioError, match=r"has no dimension 'esm'.*Leave esm out"):
        adjust_scenarios(world, ["tas"], esm="CCSM4")


def test_single_run_functions_say_how_to_take_one(whole):
    message = r"takes one run.*ds.sel\(esm='GFDL-ESM2M'\)"
    with pytest.raises(DimensionError, match=message):
        series_of(whole, "rcp85")
    with pytest.raises(DimensionError, match=message):
        scenario_forcing(whole, ["rcp85"], variables=["tas"])
    one = scenario_forcing(whole.sel(esm="CCSM4"), ["rcp85"], variables=["tas"])
    assert one["rcp85"]["tas"].dims == ("band", "time")


def test_network_members_are_kept_apart_from_models(whole, reference, quick):
    pair = xp.fit(reference, "gru", members=2, config=quick, **TINY)
    out = project(whole, pair, rcp="8.5", members="all")
    assert out.dims == ("esm", "scenario", "member", "band", "layer", "time")
    assert out.sizes["member"] == 2


def test_baselines_go_the_same_way(whole):
    out = project(whole, "climatology", rcp="8.5")
    assert out.dims[:2] == ("esm", "scenario")
    assert bool(out.sel(time="2012").notnull().all())


# forcing


def test_adjusted_forcing_of_all_models(whole, reference, models, unchanged):
    with unchanged(whole):
        out = adjust_scenarios(whole, ["tas", "pr"])
    assert out["tas"].dims == ("esm", "scenario", "band", "time")
    assert set(out.data_vars) == {"tas", "pr"}
    # each model's bias of 1.5 and 4 K is taken out over the common years
    base = reference["tas"].sel(time=slice("2001", "2008")).mean("time")
    late = {"scenario": "rcp85", "time": slice("2001", "2008")}
    left = out["tas"].sel(late).mean("time") - base
    raw = adjust_scenarios(whole, ["tas"], method="none")["tas"].sel(late).mean("time") - base
    assert float(raw.sel(esm="GFDL-ESM2M").min()) > 1.0
    assert float(raw.sel(esm="CCSM4").min()) > 3.5
    assert float(abs(left).max()) < 0.6
    alone = scenario_forcing(
        combine(reference, **models["CCSM4"]), ["rcp85"], variables=["tas"], method="qdm"
    )
    future = {"time": slice("2009", "2016")}
    np.testing.assert_array_equal(
        out["tas"].sel(esm="CCSM4", scenario="rcp85").sel(future), alone["rcp85"]["tas"].sel(future)
    )
    assert out.attrs["missing_runs"] == "CCSM4: rcp26"
    assert out.attrs["adjustment"] == "qdm"
    xr.testing.assert_identical(whole.permafrost.adjust_scenarios(["tas", "pr"]), out)
    # without names: all that the reference has, and no dimension esm for one model
    one = adjust_scenarios(whole.sel(esm="CCSM4", drop=True))
    assert set(one.data_vars) == {"tas", "pr", "snd", "rsds", "rlds"}
    assert one["tas"].dims == ("scenario", "band", "time")


def test_a_variable_that_one_model_lacks_is_named(reference, models, net):
    two = {n: ds.drop_vars("snd") for n, ds in models["CCSM4"].items()}
    broken = combine(reference, **{**models, "CCSM4": two})
    message = r"climate model 'CCSM4': adjust_scenarios reads 'snd' \(snow depth\).*esm=\["
    with pytest.raises(MissingVariableError, match=message):
        adjust_scenarios(broken)
    with pytest.raises(MissingVariableError, match=r"climate model 'CCSM4': the model reads 'snd'"):
        project(broken, net, rcp="8.5")
    assert bool(project(broken, net, esm="GFDL-ESM2M").notnull().all())
    assert set(adjust_scenarios(broken, ["tas"]).data_vars) == {"tas"}


def test_a_gap_inside_a_scenario_is_named(reference, models, net):
    scenario = models["CCSM4"]["rcp85"].copy(deep=True)
    scenario["pr"].loc[{"time": slice("2011-03", "2011-05")}] = np.nan
    broken = combine(reference, **{**models, "CCSM4": {**models["CCSM4"], "rcp85": scenario}})
    message = r"climate model 'CCSM4': 'pr' of 'rcp85'.*no value from 2011-03 to 2011-05.*ds.sel"
    with pytest.raises(DataError, match=message):
        adjust_scenarios(broken)
    with pytest.raises(DataError, match=message):
        project(broken, net)
    # one place alone may be missing, as the sea is
    scenario = models["CCSM4"]["rcp85"].copy(deep=True)
    scenario["pr"].loc[{"band": "south", "time": slice("2011-03", "2011-05")}] = np.nan
    sea = combine(reference, **{**models, "CCSM4": {**models["CCSM4"], "rcp85": scenario}})
    assert adjust_scenarios(sea, ["pr"])["pr"].sizes["esm"] == 2


def test_a_history_that_ends_before_the_reference_names_the_model(reference, models):
    late = combine(
        reference.sel(time=slice("2005", None)),
        **{
            **models,
            "CCSM4": {
                "historical": part("1990", 10, 1),
                "rcp85": part("2000", 4, 2),
            },
        },
    )
    message = (
        r"climate model 'CCSM4': the reference \(2005-01 to 2008-12\).*2003-12\) do not overlap"
    )
    with pytest.raises(TimeAxisError, match=message):
        adjust_scenarios(late, ["tas"])


def test_a_reference_that_ends_long_before_the_scenarios_names_the_model(reference, models, net):
    gap = {"rcp85": part("2012", 8, 2)}
    broken = combine(reference, **{**models, "CCSM4": gap})
    with pytest.raises(TimeAxisError, match=r"climate model 'CCSM4': .*2012-01"):
        project(broken, net, method="none", rcp="8.5")


def test_memory_holds_the_reference_once_for_its_answers(reference, models):
    """tsl, the largest field, and what is fixed have no dimension esm, however many models."""
    many = combine(reference, **{f"model{k}": models["CCSM4"] for k in range(6)})
    few = combine(reference, **{f"model{k}": models["CCSM4"] for k in range(2)})
    assert many["tsl"].nbytes == few["tsl"].nbytes
    assert re.match(r"xpermafrost.combine: esm model0", many.attrs["history"])


def test_grids_of_several_models_with_members_are_reduced_on_the_way():
    """Every model on its own grid, its members along ``member`` as readers give them."""
    bands = xp.LatitudeBands((60.0, 63.0, 66.0), ("low", "high"))

    def grid(start, seed, rows, members=2):
        time = xr.date_range(start, periods=48, freq="MS")
        lat = np.linspace(59.0, 67.0, rows)
        shape = (members, time.size, rows, 3)
        values = np.random.default_rng(seed).normal(268.0, 5.0, shape).astype("float32")
        coords = {
            "member": [f"r{k}i1p1f1" for k in range(1, members + 1)],
            "time": time,
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", [-152.0, -150.0, -148.0], {"units": "degrees_east"}),
        }
        tas = xr.DataArray(values, coords, ["member", "time", "lat", "lon"], "tas", {"units": "K"})
        return tas.to_dataset().assign_attrs(source_id="toy", experiment_id="rcp85")

    era = grid("2001-01", 0, 9, members=1).isel(member=0, drop=True)
    models = {"A": {"rcp85": grid("2002-01", 1, 5)}, "B": {"rcp85": grid("2003-01", 2, 7)}}
    whole = xp.with_scenarios(era, models, regions=bands)
    assert whole["tas"].dims == ("esm", "realization", "scenario", "band", "time")
    want = xp.reduce(models["B"]["rcp85"], bands)["tas"].sel(member="r2i1p1f1")
    got = whole["tas"].sel(esm="B", realization="r2i1p1f1", scenario="rcp85", time=want["time"])
    np.testing.assert_allclose(got, want.transpose("band", "time"), rtol=1e-6)
    assert len(runs_of(whole)) == 4
