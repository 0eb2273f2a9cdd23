"""Projections: they continue the reference, stay apart, and say what they rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import testing
from xpermafrost.errors import (
    MissingVariableError,
    ModelMismatchError,
    ScenarioError,
    TimeAxisError,
    UnknownNameError,
)
from xpermafrost.experiment import combine
from xpermafrost.projection import (
    project,
    projected_changes,
    reference_mean,
    scenario_forcing,
)
from xpermafrost.schema import layer_bounds
from xpermafrost.training import TrainingConfig, fit

SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False}


def test_dims_labels_units_and_provenance(world, world_gru, unchanged):
    world.attrs["simulated"] = "yes"
    world.attrs["history"] = "before"
    with unchanged(world):
        out = project(world, world_gru)
    assert out.dims == ("scenario", "band", "layer", "time")
    assert out["scenario"].values.tolist() == ["rcp26", "rcp85"]
    assert out["band"].values.tolist() == world["band"].values.tolist()
    assert out.name == "soil_temperature"
    assert out.attrs["units"] == "degree_Celsius"
    assert out.attrs["simulated"] == "yes"
    assert out.attrs["adjustment"] == "qdm"
    first, last = out.attrs["history"].splitlines()
    assert first == "before"
    for word in (world_gru.id, "rcp85", "adjustment=qdm", "2001-01", "continued by"):
        assert word in last
    np.testing.assert_allclose(layer_bounds(out), layer_bounds(world))
    assert out.notnull().all()


def test_it_begins_the_month_after_the_reference_and_ends_with_the_scenario(world, world_gru):
    months = project(world, world_gru)["time"].values
    assert str(months[0])[:10] == "2009-01-01"
    assert str(months[-1])[:10] == "2017-12-01"
    assert (np.diff(months.astype("M8[M]")).astype(int) == 1).all()


def test_the_forcing_is_the_reference_then_the_adjusted_scenario(world):
    forcing = scenario_forcing(world, ["rcp85"], variables=["tas", "elevation"])["rcp85"]
    tas = world["tas"].sel(scenario="reference", time=slice("2001", "2008"))
    np.testing.assert_array_equal(forcing["tas"].sel(time=slice("2001", "2008")), tas)
    raw = scenario_forcing(world, ["rcp85"], variables=["tas"], method="none")["rcp85"]
    late = {"time": slice("2009", None)}
    np.testing.assert_array_equal(
        raw["tas"].sel(late), world["tas"].sel(scenario="rcp85").sel(late)
    )
    assert not forcing["tas"].sel(late).equals(raw["tas"].sel(late))
    assert forcing["tas"].attrs["units"] == "K"
    assert forcing["elevation"].dims == ("band",)
    assert forcing["tsl"].sel(late).isnull().all()
    np.testing.assert_array_equal(
        forcing["tsl"].sel(time=slice("2001", "2008")), world["tsl"].sel(time=slice("2001", "2008"))
    )


def test_a_constant_bias_of_the_climate_model_is_taken_out(world, world_gru):
    base = project(world, world_gru)
    warm = world.copy(deep=True)
    warm["tas"].loc[{"scenario": ["historical", "rcp26", "rcp85"]}] += 3.0
    xr.testing.assert_allclose(project(warm, world_gru), base, atol=2e-3)
    raw = project(world, world_gru, method="none")
    assert float(abs(project(warm, world_gru, method="none") - raw).max()) > 0.05


def test_first_windows_reach_back_into_the_reference_and_later_ones_do_not(world, world_gru):
    """Change the reference's last year: the first 23 projected months move, the rest do not."""
    base = project(world, world_gru, method="none")
    moved = world.copy(deep=True)
    moved["tas"].loc[{"scenario": "reference", "time": "2008-12"}] += 15.0
    difference = abs(project(moved, world_gru, method="none") - base).max(("band", "layer"))
    for name in ("rcp26", "rcp85"):
        changed = np.flatnonzero(difference.sel(scenario=name).values > 0)
        assert changed.tolist() == list(range(23)), name


def test_scenarios_differ_as_soon_as_one_of_their_months_is_inside(world, world_gru):
    out = project(world, world_gru)
    apart = abs(out.sel(scenario="rcp85") - out.sel(scenario="rcp26")).max(("band", "layer"))
    assert (apart > 0).all()


def test_another_scenario_changes_nothing(world, world_gru):
    """Bit-equal with and without a third scenario, asked for or only present."""
    alone = project(world, world_gru, rcp="8.5")
    both = project(world, world_gru)
    xr.testing.assert_equal(both.sel(scenario=["rcp85"]), alone)
    extra = testing.canonical(years=12, start="2006", seed=77)
    parts = {n: _part(world, n) for n in ("historical", "rcp26", "rcp85")}
    three = combine(testing.canonical(years=8), **parts, ssp585=extra)
    third = project(three, world_gru)
    xr.testing.assert_equal(third.sel(scenario=["rcp26", "rcp85"]), both)


def _part(world, name):
    one = world[["tas", "pr", "snd", "rsds", "rlds"]].sel(scenario=name, drop=True)
    one = one.drop_vars(["period_start", "period_end"], errors="ignore")
    return one.dropna("time", how="all")


def test_order_of_scenarios_is_as_asked(world, world_gru):
    out = project(world, world_gru, rcp=["8.5", "2.6"])
    assert out["scenario"].values.tolist() == ["rcp85", "rcp26"]
    xr.testing.assert_equal(
        out.sel(scenario=["rcp26", "rcp85"]), project(world, world_gru, rcp="all")
    )


def test_permuting_places_permutes_projections(world, world_gru):
    order = ["north", "south", "middle"]
    base = project(world, world_gru)
    other = project(world.sel(band=order), world_gru)
    xr.testing.assert_allclose(other, base.sel(band=order), atol=1e-5)


def test_warming_goes_further_outside_the_training_range():
    """RCP8.5-like warming leaves the hull; the share says so and grows."""
    options = {"years": 10, "locations": ("south", "north")}
    parts = {
        "historical": testing.canonical(start="1996", seed=1, **options),
        "rcp26": testing.canonical(start="2006", seed=2, **{**options, "years": 60}),
        "rcp85": testing.canonical(start="2006", seed=2, warming=1.5, **{**options, "years": 60}),
    }
    world = combine(testing.canonical(**options), **parts)
    model = fit(world, "gru", length=12, train="all", config=TrainingConfig(epochs=1), **SMALL)
    share = project(world, model)["outside_training_range"]
    assert share.dims == ("scenario", "band", "time")
    assert share.attrs["units"] == "1"
    assert 0.0 <= float(share.min()) <= float(share.max()) <= 1.0
    decades = share.groupby(share["time"].dt.year // 10 * 10).mean(("time", "band"))
    hot = decades.sel(scenario="rcp85").values[:-1]
    assert hot[-1] > hot[0] + 0.04
    assert hot[-1] > decades.sel(scenario="rcp26").values[-2] + 0.04


def test_a_hotter_world_is_projected_hotter(world):
    model = fit(world, "gru", length=12, config=TrainingConfig(epochs=15), jobs=1, progress=False)
    base = project(world, model, method="none")
    hotter = world.copy(deep=True)
    for name, step in (("tas", 2.0), ("rlds", 6.4)):
        hotter[name].loc[{"scenario": "rcp85"}] += step
    late = {"time": slice("2011", None)}
    change = (
        (project(hotter, model, method="none") - base).sel(late).mean(("time", "band", "layer"))
    )
    assert float(change.sel(scenario="rcp85")) > 0.1
    assert float(change.sel(scenario="rcp26")) == 0.0


def test_members(world, quick):
    model = fit(world, "gru", members=2, config=quick, **SMALL)
    out = project(world, model, rcp="8.5", members="all")
    assert set(out.dims) == {"scenario", "member", "band", "layer", "time"}
    assert out.sizes["member"] == 2
    xr.testing.assert_allclose(out.mean("member"), project(world, model, rcp="8.5"), atol=1e-4)


def test_a_name_is_fitted_first(world, quick):
    out = project(world, "gru", rcp="8.5", config=quick, seed=3, progress=False)
    same = project(world, fit(world, "gru", config=quick, seed=3, jobs=1), rcp="8.5")
    xr.testing.assert_equal(out, same)


def test_horizon_one_projects_too(world, quick):
    model = fit(world, "gru", horizon=1, config=quick, **SMALL)
    out = project(world, model, method="none")
    assert out.notnull().all()
    moved = world.copy(deep=True)
    moved["tas"].loc[{"scenario": "rcp85", "time": "2009-01"}] += 15.0
    changed = abs(project(moved, model, method="none") - out).max(("band", "layer"))
    at = np.flatnonzero(changed.sel(scenario="rcp85").values > 0)
    assert at.tolist() == list(range(1, 25))  # not the month itself


def test_stations_go_through_fit_predict_and_project(quick):
    world = testing.experiment(dim="station")
    model = fit(world, "gru", config=quick, **SMALL)
    out = project(world, model, rcp="8.5")
    assert out.dims == ("scenario", "station", "layer", "time")
    assert out.notnull().all()


def test_a_grid_goes_through_fit_predict_and_project(quick):
    flat = testing.experiment(locations=list("abcdef"))
    grid = flat.drop_vars("band").coarsen(band=3).construct(band=("lat", "lon"))
    grid = grid.assign_coords(lat=[60.0, 61.0], lon=[1.0, 2.0, 3.0])
    model = fit(grid, "gru", config=quick, **SMALL)
    out = project(grid, model, rcp="8.5")
    assert out.dims == ("scenario", "lat", "lon", "layer", "time")
    same = project(flat, fit(flat, "gru", config=quick, **SMALL), rcp="8.5")
    np.testing.assert_allclose(out.values.reshape(same.shape), same.values, atol=1e-4)


def test_dask_gives_the_same(world, world_gru):
    split = {
        n: da.variable.chunk(time=60) for n, da in world.data_vars.items() if "time" in da.dims
    }
    xr.testing.assert_allclose(
        project(world.assign(split), world_gru), project(world, world_gru), atol=1e-5
    )


def test_a_gap_between_reference_and_scenario_is_named(quick):
    reference = testing.canonical(years=8)
    late = testing.canonical(years=4, start="2009-04", seed=1)
    world = combine(reference, rcp85=late)
    model = fit(reference, "gru", config=quick, **SMALL)
    with pytest.raises(TimeAxisError, match=r"reference ends in 2008-12 .*goes on in 2009-04"):
        project(world, model, method="none")
    with pytest.raises(TimeAxisError, match=r"do not overlap by a year.*Add a 'historical' run"):
        project(world, model)


def test_a_scenario_that_ends_with_the_reference(quick):
    reference = testing.canonical(years=8)
    world = combine(reference, rcp85=testing.canonical(years=3, start="2006", seed=1))
    model = fit(reference, "gru", config=quick, **SMALL)
    with pytest.raises(TimeAxisError, match="ends before 2009-01, the month after the reference"):
        project(world, model)


def test_a_scenario_that_lacks_a_variable(world, world_gru):
    world["snd"].loc[{"scenario": "rcp26"}] = np.nan
    message = r"reads 'snd' \(snow depth\), which scenario 'rcp26' lacks.*features="
    with pytest.raises(MissingVariableError, match=message):
        project(world, world_gru)
    project(world, world_gru, rcp="8.5")  # the other one has it
    with pytest.raises(MissingVariableError, match=message):
        project(world, world_gru, rcp="8.5", extend="rcp26")


def test_a_reference_that_lacks_a_variable(world, world_gru):
    with pytest.raises(MissingVariableError, match=r"needs the variables \['snd'\]"):
        project(world.drop_vars("snd"), world_gru)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"rcp": "4.5"}, ScenarioError, "unknown scenario 'rcp45'; did you mean 'rcp"),
        ({"scenario": "reference"}, ScenarioError, "unknown scenario 'reference'"),
        ({"method": "qmd"}, UnknownNameError, "unknown adjustment method 'qmd'; did you mean"),
        ({"members": "both"}, UnknownNameError, "unknown members 'both'"),
        ({"extend": "rcp60"}, ScenarioError, "unknown scenario 'rcp60'"),
    ],
)
def test_names_that_are_not_there(world, world_gru, options, kind, message):
    with pytest.raises(kind, match=message):
        project(world, world_gru, **options)


def test_a_model_of_other_places(world, quick):
    model = fit(testing.canonical(years=5, locations=("x", "y")), "gru", config=quick, **SMALL)
    with pytest.raises(ModelMismatchError, match=r"knows the .*'x', 'y'.*also have \['south'"):
        project(world, model)


def test_the_mean_of_the_reference_weighs_months_alike(world):
    short = world.sel(time=slice("2001", "2006-06"))
    short = short.assign_coords(
        period_end=("scenario", [pd.Timestamp("2006-06-01")] * world.sizes["scenario"])
    )
    tsl = short["tsl"].values.astype("float64") - 273.15
    expected = np.mean([tsl[..., m::12].mean(-1) for m in range(12)], axis=0)
    np.testing.assert_allclose(reference_mean(short), expected, atol=1e-4)


def test_changes_are_means_over_the_period_less_the_reference(world, world_gru):
    changes = projected_changes(
        world, [world_gru], scenarios=["rcp85"], period=("2012", "2016"), method="none"
    )
    out = project(world, world_gru, rcp="8.5", method="none").sel(time=slice("2012", "2016"))
    expected = out.mean("time").isel(scenario=0) - reference_mean(world)
    np.testing.assert_allclose(
        changes["change"].sel(scenario="rcp85", model="gru"), expected, atol=1e-4
    )
    assert changes["change"].attrs["units"] == "K"
    assert "change_truth" not in changes


def test_a_period_that_the_scenario_does_not_reach_has_no_change(world, world_gru):
    changes = projected_changes(world, [world_gru], scenarios=["rcp85"], period=("2081", "2100"))
    assert changes["change"].isnull().all()
    part = projected_changes(world, [world_gru], scenarios=["rcp85"], period=("2015", "2030"))
    assert part["change"].isnull().all()  # three years are no mean of sixteen
