"""Joining a reference and scenarios, and taking them apart again."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import testing
from xpermafrost.errors import (
    DimensionError,
    PermafrostWarning,
    RegionError,
    ScenarioError,
    TimeAxisError,
)
from xpermafrost.experiment import (
    as_experiment,
    choose_scenarios,
    combine,
    reference_of,
    scenarios_of,
    series_of,
    with_scenarios,
)
from xpermafrost.regions import LatitudeBands, reduce
from xpermafrost.schema import (
    layer_bounds,
    layer_coords,
    layer_coords_from_bounds,
    variable,
)


def part(start="2006", years=4, seed=5, **options):
    return testing.canonical(start=start, years=years, seed=seed, **options)


def stamped(ds, calendar):
    """The same months, stamped in the middle, in another calendar."""
    months = ds.indexes["time"]
    start = f"{months[0]:%Y-%m}-15"
    time = xr.date_range(
        f"{start[:8]}01", periods=len(months), freq="MS", calendar=calendar, use_cftime=True
    ) + pd.Timedelta("14D")
    return ds.assign_coords(time=time)


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "standard"])
def test_months_are_joined_whatever_the_stamp_and_calendar(ds, calendar):
    plain = combine(ds, rcp85=part())
    xr.testing.assert_identical(combine(ds, rcp85=stamped(part(), calendar)), plain)
    assert plain["time"].dtype.kind == "M"
    assert set(plain["time"].dt.day.values.tolist()) == {1}
    xr.testing.assert_identical(combine(stamped(ds, calendar), rcp85=part()), plain)


def test_values_are_where_they_were_and_missing_elsewhere(ds):
    rcp = part()
    whole = combine(ds, rcp85=rcp)
    assert whole["tas"].dims == ("scenario", "band", "time")
    back = whole["tas"].sel(scenario="rcp85", time=rcp["time"])
    np.testing.assert_array_equal(back, rcp["tas"])
    assert whole["tas"].sel(scenario="rcp85", time=slice(None, "2005")).isnull().all()
    assert whole["tas"].sel(scenario="reference", time=slice("2009", None)).isnull().all()
    np.testing.assert_array_equal(whole["tsl"].sel(time=ds["time"]), ds["tsl"])
    np.testing.assert_array_equal(
        whole["tsl_esm"].sel(scenario="rcp85", time=rcp["time"]), rcp["tsl"]
    )
    assert "scenario" not in whole["tsl"].dims
    assert "scenario" not in whole["elevation"].dims
    assert whole["tas"].attrs["units"] == "K"
    assert [str(t)[:7] for t in whole["period_start"].values] == ["2001-01", "2006-01"]
    assert [str(t)[:7] for t in whole["period_end"].values] == ["2008-12", "2009-12"]


def test_adding_a_scenario_leaves_the_others_as_they_were(ds):
    one = combine(ds, rcp26=part(seed=1))
    two = combine(ds, rcp26=part(seed=1), rcp85=part(seed=2))
    for name in ("reference", "rcp26"):
        xr.testing.assert_identical(
            one["tas"].sel(scenario=name), two["tas"].sel(scenario=name, time=one["time"])
        )


def test_a_variable_that_one_side_lacks_is_missing_there(ds):
    whole = combine(ds, rcp85=part().drop_vars("snd"))
    assert whole["snd"].sel(scenario="rcp85").isnull().all()
    assert whole["snd"].sel(scenario="reference", time=slice("2001", "2008")).notnull().all()
    more = combine(ds.drop_vars("snd"), rcp85=part())
    assert more["snd"].sel(scenario="reference").isnull().all()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda d: d.isel(time=np.delete(np.arange(48), 7)), r"combine \(rcp85\).*no 2006-08"),
        (lambda d: d.isel(time=[*range(5), *range(4, 48)]), r"rcp85.*2006-05 twice"),
        (lambda d: d.isel(time=slice(None, None, -1)), r"rcp85.*2009-11 after 2009-12"),
        (lambda d: d.isel(time=slice(None, None, 12)), r"median time step is 12 months"),
    ],
)
def test_months_of_a_scenario_must_be_each_once_in_order(ds, broken, message):
    with pytest.raises(TimeAxisError, match=message):
        combine(ds, rcp85=broken(part()))


def test_months_of_the_reference_must_be_each_once_in_order(ds):
    with pytest.raises(TimeAxisError, match=r"combine \(reference\).*found no 2001-03"):
        combine(ds.isel(time=np.delete(np.arange(96), 2)), rcp85=part())


def test_other_places_are_refused_with_both_shown(ds):
    with pytest.raises(RegionError, match=r"differ along 'band'.*south.*there"):
        combine(ds, rcp85=part(locations=("south", "middle", "there")))
    with pytest.raises((RegionError, DimensionError), match="'station'"):
        combine(ds, rcp85=part(dim="station"))


def test_layers_are_known_by_their_bounds(ds):
    """Layer 2 of a model is not layer 2 of the reference: nothing is joined by number."""
    other = part(edges=(0.0, 0.2, 0.5, 1.0, 2.0))
    with pytest.raises(DimensionError, match=r"layers.*0\.07.*0\.2"):
        combine(ds, rcp85=other)
    with pytest.raises(DimensionError, match=r"layers"):
        combine(ds, rcp85=part(edges=(0.0, 0.2, 0.5)))
    whole = combine(ds, rcp85=other.drop_dims("layer"))
    np.testing.assert_array_equal(layer_bounds(whole), layer_bounds(ds))


def test_combine_needs_a_scenario(ds):
    with pytest.raises(ScenarioError, match="combine needs at least one scenario"):
        combine(ds)


def test_dict_and_datatree_give_what_combine_gives(ds):
    parts = {"reference": ds, "rcp85": part()}
    whole = combine(ds, rcp85=part())
    xr.testing.assert_identical(as_experiment(parts), whole)
    xr.testing.assert_identical(as_experiment(xr.DataTree.from_dict(parts)), whole)
    assert as_experiment(whole) is whole
    with pytest.raises(ScenarioError, match=r"needs a 'reference'; found \['rcp85'\]"):
        as_experiment({"rcp85": part()})


def test_the_reference_comes_back(world):
    back = reference_of(world)
    plain = testing.canonical(years=8)
    np.testing.assert_array_equal(back["time"], plain["time"])
    for name in ("tas", "tsl", "elevation"):
        np.testing.assert_array_equal(back[name], plain[name])
    assert "scenario" not in back.dims
    np.testing.assert_array_equal(layer_bounds(back), layer_bounds(plain))
    xr.testing.assert_identical(reference_of(plain), plain)


def test_an_experiment_without_reference(world):
    with pytest.raises(ScenarioError, match="no 'reference' among the scenarios"):
        reference_of(world.sel(scenario=["historical", "rcp85"]))


def test_a_series_is_historical_continued(world):
    series = series_of(world, "rcp85")
    assert str(series["time"].values[0])[:7] == "1996-01"
    assert str(series["time"].values[-1])[:7] == "2017-12"
    assert series.sizes["time"] == 22 * 12
    assert not bool(series["tas"].isnull().any())
    old = world["tas"].sel(scenario="historical", time=slice("1996", "2005"))
    np.testing.assert_array_equal(series["tas"].sel(time=slice("1996", "2005")), old)
    assert "tsl_esm" not in series


def test_historical_that_runs_into_the_scenario_is_cut_where_it_begins(ds):
    """CMIP6 history to 2014 with an RCP from 2006: history up to 2005, then the scenario."""
    past = part(start="1990", years=20, seed=3)
    whole = combine(ds, historical=past, rcp85=part(start="2006", years=12))
    series = series_of(whole, "rcp85")
    assert str(series["time"].values[0])[:7] == "1990-01"
    assert series.sizes["time"] == 28 * 12
    np.testing.assert_array_equal(series["tas"].sel(time="2005"), past["tas"].sel(time="2005"))
    np.testing.assert_array_equal(
        series["tas"].sel(time="2006"), part(start="2006", years=12)["tas"].sel(time="2006")
    )


def test_a_gap_between_history_and_scenario_is_named(ds):
    whole = combine(ds, historical=part(start="1990", years=10), rcp85=part(start="2006"))
    with pytest.raises(TimeAxisError, match=r"historical followed by rcp85.*no 2000-01"):
        series_of(whole, "rcp85")


def test_a_scenario_alone_is_its_own_series(ds):
    rcp = part()
    np.testing.assert_array_equal(series_of(combine(ds, rcp85=rcp), "rcp85")["tas"], rcp["tas"])


@pytest.fixture(scope="module")
def many():
    names = ("historical", "rcp26", "rcp45", "rcp85", "ssp126", "ssp585")
    return combine(testing.canonical(years=4), **{n: part(start="2003") for n in names})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"rcp": "8.5"}, ["rcp85"]),
        ({"rcp": 8.5}, ["rcp85"]),
        ({"rcp": "85"}, ["rcp85"]),
        ({"rcp": "rcp85"}, ["rcp85"]),
        ({"rcp": "RCP8.5"}, ["rcp85"]),
        ({"rcp": ["2.6", "8.5"]}, ["rcp26", "rcp85"]),
        ({"rcp": ("8.5", 2.6)}, ["rcp85", "rcp26"]),
        ({"rcp": np.array([2.6, 8.5])}, ["rcp26", "rcp85"]),
        ({"rcp": "all"}, ["rcp26", "rcp45", "rcp85"]),
        ({"ssp": "all"}, ["ssp126", "ssp585"]),
        ({"ssp": "5-8.5"}, ["ssp585"]),
        ({"ssp": 585}, ["ssp585"]),
        ({"ssp": "126", "rcp": "2.6"}, ["rcp26", "ssp126"]),
        ({"scenario": "rcp45"}, ["rcp45"]),
        ({"scenario": ["rcp45", "rcp45"]}, ["rcp45"]),
        ({"scenario": "all"}, ["rcp26", "rcp45", "rcp85", "ssp126", "ssp585"]),
        ({}, ["rcp26", "rcp45", "rcp85", "ssp126", "ssp585"]),
    ],
)
def test_scenarios_are_chosen_by_what_people_type(many, asked, found):
    assert choose_scenarios(many, **asked) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rcp": "4.6"}, "unknown scenario 'rcp46'; did you mean 'rcp"),
        ({"scenario": "rpc85"}, "unknown scenario 'rpc85'; did you mean 'rcp85'"),
        ({"scenario": "historical"}, "unknown scenario 'historical'"),
        ({"ssp": "245"}, "unknown scenario 'ssp245'.*Known: "),
        ({"rcp": []}, "no scenario of that kind; the Dataset has"),
    ],
)
def test_absent_scenarios_answer_with_the_close_ones(many, asked, message):
    with pytest.raises(ScenarioError, match=message):
        choose_scenarios(many, **asked)


def test_no_scenario_at_all(ds):
    with pytest.raises(ScenarioError, match="no scenario to project"):
        choose_scenarios(ds, rcp="8.5")
    assert scenarios_of(ds) == []
    with pytest.raises(ScenarioError, match="unknown scenario 'rcp85'"):
        series_of(ds, "rcp85")


def _chunked(ds):
    """Data in chunks, coordinates in memory as from a file: bounds of layers are compared."""
    split = {n: da.variable.chunk(time=12) for n, da in ds.data_vars.items() if "time" in da.dims}
    return ds.assign(split)


def test_combine_and_its_inverses_are_lazy(ds):
    calls = []

    def counting(graph, keys, **options):
        calls.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=counting):
        parts = {"historical": part("1996", 10), "rcp85": part(years=12)}
        whole = combine(_chunked(ds), **{n: _chunked(d) for n, d in parts.items()})
        reference_of(whole)
        lazy = series_of(whole, "rcp85")
        assert not calls
        assert lazy["tas"].chunks is not None
        computed = whole.compute()
    xr.testing.assert_identical(computed, combine(ds, **parts))


def test_nothing_is_written_to(ds, unchanged):
    rcp = part()
    with unchanged(ds, rcp):
        whole = combine(ds, rcp85=rcp)
    with unchanged(whole):
        reference_of(whole)
        series_of(whole, "rcp85")
        choose_scenarios(whole)
        as_experiment(whole)
    parts = {"reference": ds, "rcp85": rcp}
    with unchanged(ds, rcp):
        as_experiment(parts)
        with_scenarios(ds, {"rcp85": rcp})
    assert list(parts) == ["reference", "rcp85"]


def gridded(start, years, seed):
    time = pd.date_range(start, periods=12 * years, freq="MS")
    rng = np.random.default_rng(seed)
    values = rng.normal(268.0, 5.0, (time.size, 6, 4)).astype("float32")
    return xr.Dataset(
        {"tas": (("time", "lat", "lon"), values, variable("tas").attrs)},
        coords={
            "time": time,
            "lat": ("lat", 60.5 + np.arange(6), {"units": "degrees_north"}),
            "lon": ("lon", -150.5 + np.arange(4), {"units": "degrees_east"}),
        },
        attrs={"source_id": "toy", "experiment_id": "rcp85"},
    )


BANDS = LatitudeBands((60.0, 63.0, 66.0), ("low", "high"))


def test_grids_are_reduced_on_the_way():
    era, esm = gridded("2001", 5, 0), gridded("2004", 5, 1)
    whole = with_scenarios(era, {"rcp85": esm}, regions=BANDS)
    np.testing.assert_allclose(
        whole["tas"].sel(scenario="rcp85", time=esm["time"]), reduce(esm, BANDS)["tas"], rtol=1e-6
    )
    assert whole["band"].values.tolist() == ["low", "high"]
    tree = xr.DataTree.from_dict({"rcp85": esm})
    xr.testing.assert_identical(with_scenarios(era, tree, regions=BANDS), whole)


def test_a_grid_is_sampled_at_stations():
    esm = gridded("2004", 5, 1)
    stations = part("2001", 5, dim="station").assign_coords(
        lat=("station", [61.5, 62.5, 64.0]), lon=("station", [-149.5, -148.0, -150.0])
    )
    whole = with_scenarios(stations, {"rcp85": esm})
    got = whole["tas"].sel(scenario="rcp85", time=esm["time"]).isel(station=0)
    np.testing.assert_allclose(got, esm["tas"].sel(lat=61.5, lon=-149.5), rtol=1e-6)


def test_a_grid_without_regions_says_what_to_pass(ds):
    with pytest.raises(DimensionError, match=r"scenario 'rcp85' is gridded.*regions=xp"):
        with_scenarios(ds, {"rcp85": gridded("2004", 5, 1)})


def test_layer_coordinates_survive_the_join(world):
    np.testing.assert_array_equal(
        layer_bounds(world), layer_bounds(xr.Dataset(coords=layer_coords()))
    )


def test_a_grid_is_regridded_to_a_gridded_reference():
    era = gridded("2001", 5, 0).isel(lat=slice(1, 4), lon=slice(0, 3))
    fine = era.interp(lat=[61.6, 62.0, 62.4], lon=[-150.2, -149.0])
    esm = gridded("2004", 5, 1)
    whole = with_scenarios(fine, {"rcp85": esm})
    assert whole["tas"].dims == ("scenario", "lat", "lon", "time")
    got = whole["tas"].sel(scenario="rcp85", time=esm["time"])
    want = esm["tas"].interp(lat=fine["lat"], lon=fine["lon"])
    np.testing.assert_allclose(got, want.transpose(*got.dims), rtol=1e-6)
    near = with_scenarios(fine, {"rcp85": esm}, sampling="nearest")["tas"].sel(scenario="rcp85")
    want = esm["tas"].sel(lat=[61.5, 61.5, 62.5], lon=[-150.5, -148.5], method="nearest")
    np.testing.assert_array_equal(
        near.sel(time=esm["time"]).isel(lon=0, lat=[0, 2]),
        want.isel(lon=0, lat=[0, 2]).transpose("lat", "time"),
    )
    lazy = with_scenarios(fine.chunk(), {"rcp85": esm.chunk(time=12)})
    assert lazy["tas"].chunks is not None
    xr.testing.assert_allclose(lazy.compute(), whole)


def test_scenario_layers_are_remapped_to_the_references():
    reference = testing.canonical(years=6)
    other = testing.canonical(years=10, start="2003", edges=(0.0, 0.1, 0.5, 3.0))
    whole = with_scenarios(reference, {"rcp85": other})
    own = whole["tsl_esm"].sel(scenario="rcp85", time=other["time"])
    # 0.07 to 0.28 m: 0.03 m of the first layer, 0.18 m of the second
    want = (0.03 * other["tsl"].isel(layer=0) + 0.18 * other["tsl"].isel(layer=1)) / 0.21
    np.testing.assert_allclose(own.isel(layer=1), want, rtol=1e-6)
    xr.testing.assert_identical(whole["depth_bnds"], reference["depth_bnds"])


def test_scenario_layers_that_end_above_the_references_are_said():
    reference = testing.canonical(years=6)
    other = testing.canonical(years=10, start="2003", edges=(0.0, 0.1, 0.5, 2.0))
    with pytest.warns(PermafrostWarning, match=r"in part only \(1-2.89 m: 53%\)"):
        whole = with_scenarios(reference, {"rcp85": other})
    assert bool(whole["tsl_esm"].sel(scenario="rcp85", time=other["time"]).notnull().all())


def test_layers_are_not_remapped_onto_sensors():
    depth = np.array([0.2, 0.8])
    layers = layer_coords_from_bounds(np.stack([depth, depth], axis=1))
    reference = testing.canonical(years=6).isel(layer=[0, 1]).assign_coords(layers)
    other = testing.canonical(years=10, start="2003")
    with pytest.warns(PermafrostWarning, match=r"'rcp85' has \['tsl'\] on layers .* left out"):
        whole = with_scenarios(reference, {"rcp85": other})
    assert "tsl_esm" not in whole
