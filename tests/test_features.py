"""Features by value, causal, and labelled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost import testing
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.features import (
    RAHAMAN_FEATURES,
    build_features,
    default_features,
    feature_statistics,
    needed_variables,
    scenario_signal,
)
from xpermafrost.schema import VARIABLES, layer_coords, variable

EVERY = (
    "tas",
    "tas:mean12",
    "tas:thaw12",
    "tas:freeze6",
    "tas:anomaly",
    "snd:memory36",
    "month_sin",
    "month_cos",
    "elevation",
    "scenario_signal",
    "scenario_signal:rahaman",
    "freeze_state",
    "freeze_state:400",
    "year",
)


def test_a_variable_is_itself_for_every_place_and_month(ds):
    cube = build_features(ds, ("tas", "elevation"))
    assert cube.dims == ("band", "time", "feature")
    assert cube.dtype == np.float32
    assert cube.values.flags.c_contiguous
    np.testing.assert_array_equal(cube.sel(feature="tas"), ds["tas"])
    assert (cube.sel(feature="elevation") == ds["elevation"].astype("float32")).all()


def test_the_season_is_a_circle_with_january_at_zero(ds):
    cube = build_features(ds, ("month_sin", "month_cos", "tas"))
    january = cube.sel(time="2003-01").isel(band=0, time=0)
    np.testing.assert_allclose(january.sel(feature=["month_sin", "month_cos"]), [0, 1], atol=1e-7)
    np.testing.assert_allclose(
        cube.sel(feature="month_sin") ** 2 + cube.sel(feature="month_cos") ** 2, 1, rtol=1e-6
    )
    april = cube.sel(time="2003-04", feature="month_sin").isel(band=0).item()
    assert april == pytest.approx(1.0)


def test_running_sums_by_hand(ds):
    cube = build_features(ds, ("tas:mean12", "tas:thaw12", "tas:freeze6"))
    at, tas = 30, ds["tas"].isel(band=1).values.astype("float64")
    year = tas[at - 11 : at + 1]
    got = cube.isel(band=1, time=at)
    days = 365.25 / 12
    np.testing.assert_allclose(got.sel(feature="tas:mean12"), year.mean(), rtol=1e-6)
    thaw = np.clip(year - 273.15, 0, None).sum() * days
    np.testing.assert_allclose(got.sel(feature="tas:thaw12"), thaw, rtol=1e-4)
    half = np.clip(273.15 - tas[at - 5 : at + 1], 0, None).sum() * days
    np.testing.assert_allclose(got.sel(feature="tas:freeze6"), half, rtol=1e-4)
    assert cube.sel(feature="tas:mean12").isel(time=slice(0, 11)).isnull().all()
    assert cube.sel(feature="tas:mean12").isel(time=11).notnull().all()


def test_anomaly_and_memory_by_hand(ds):
    stats = feature_statistics(ds.sel(time=slice("2001", "2005")), ("tas:memory6",))
    cube = build_features(ds, ("tas:anomaly", "tas:memory6"), statistics=stats)
    tas = ds["tas"].isel(band=2).values.astype("float64")
    normal = np.array([tas[m:60:12].mean() for m in range(12)])  # 2001-2005
    anomaly = tas - np.resize(normal, 96)
    np.testing.assert_allclose(cube.isel(band=2).sel(feature="tas:anomaly"), anomaly, atol=1e-4)
    keep, state = np.exp(-1 / 6), 0.0
    for value in anomaly[:31]:
        state = keep * state + (1 - keep) * value
    got = cube.isel(band=2, time=30).sel(feature="tas:memory6")
    np.testing.assert_allclose(got, state, atol=1e-4)


def test_no_feature_looks_ahead(ds):
    """Whatever happens after a month, its features stay the same to the bit."""
    cut = 60
    stats = feature_statistics(ds.isel(time=slice(0, 48)), EVERY)
    other = ds.copy(deep=True)
    for name in ("tas", "rlds", "snd"):
        other[name][:, cut:] += 50.0
    one = build_features(ds, EVERY, statistics=stats).isel(time=slice(0, cut))
    two = build_features(other, EVERY, statistics=stats).isel(time=slice(0, cut))
    xr.testing.assert_identical(one, two)
    assert not build_features(other, EVERY, statistics=stats).equals(
        build_features(ds, EVERY, statistics=stats)
    )


def test_layers_and_classes_are_columns_named_by_bounds(ds):
    water = xr.DataArray(
        np.arange(3 * 4 * 96.0).reshape(3, 4, 96),
        dims=("band", "layer", "time"),
        attrs=variable("mrsol").attrs,
    )
    rock = xr.DataArray(
        [[0.2, 0.8]] * 3, dims=("band", "lithology_class"), attrs=variable("lithology").attrs
    ).assign_coords(lithology_class=["sand", "clay"])
    cube = build_features(ds.assign(mrsol=water, lithology=rock), ("mrsol", "lithology"))
    assert cube["feature"].values.tolist() == [
        "mrsol_0.00-0.07m",
        "mrsol_0.07-0.28m",
        "mrsol_0.28-1.00m",
        "mrsol_1.00-2.89m",
        "lithology_sand",
        "lithology_clay",
    ]
    np.testing.assert_array_equal(cube.isel(feature=2), water.isel(layer=2))
    np.testing.assert_allclose(cube.sel(feature="lithology_clay"), 0.8)


@settings(max_examples=10, deadline=None)
@given(st.permutations(["south", "middle", "north"]))
def test_permuting_places_permutes_features(order):
    ds = testing.canonical(years=3)
    stats = feature_statistics(ds, EVERY)
    one = build_features(ds.sel(band=order), EVERY, statistics=stats.sel(band=order))
    xr.testing.assert_identical(one, build_features(ds, EVERY, statistics=stats).sel(band=order))


def test_dimension_order_of_the_input_does_not_matter(ds):
    xr.testing.assert_identical(
        build_features(ds.transpose(), ("tas", "snd")), build_features(ds, ("tas", "snd"))
    )


def test_defaults_never_hold_the_year(ds):
    names = default_features(ds)
    assert names == ("tas", "pr", "rlds", "rsds", "snd", "month_sin", "month_cos")
    everything = ds.assign({n: ds["tas"] for n in VARIABLES if n not in ds})
    assert "year" not in default_features(everything)
    assert "year" in RAHAMAN_FEATURES
    with pytest.raises(MissingVariableError, match="no forcing found: needed at least one of"):
        default_features(ds[["tsl"]])


def test_what_features_are_made_of():
    names = ("tas:thaw12", "tas", "month_sin", "year", "scenario_signal:rahaman", "snd")
    assert needed_variables(names) == ("tas", "rlds", "snd")


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (("tass",), MissingVariableError, "building the features needs.*did you mean 'tas'"),
        (("tas:median12",), UnknownNameError, "unknown feature 'tas:median12'"),
        (("tas", "tas"), DataError, "features named twice"),
        (("scenario_signal",), DataError, "needs statistics of the training months"),
        (("tas:anomaly",), DataError, "needs statistics of the training months"),
        (("tas:mean0",), UnknownNameError, "unknown feature 'tas:mean0'; did you mean 'tas:mean"),
        (("tsl:mean12",), UnknownNameError, "unknown feature 'tsl:mean12'"),
    ],
)
def test_names_that_are_no_features(ds, names, kind, message):
    with pytest.raises(kind, match=message):
        build_features(ds, names)


def test_units_are_checked(ds):
    ds["tas"] = (ds["tas"] - 273.15).assign_attrs(units="degC")
    with pytest.raises(UnitsError, match="'tas' has units 'degC'; needed 'K'"):
        build_features(ds, ("tas",))
    with pytest.raises(UnitsError, match="'tas' has no units"):
        build_features(ds.assign(tas=ds["tas"].drop_attrs()), ("tas:mean12",))


def test_layers_without_bounds_cannot_be_named(ds):
    water = xr.DataArray(
        np.ones((3, 4, 96)), dims=("band", "layer", "time"), attrs=variable("mrsol").attrs
    )
    bare = ds[["tas"]].drop_vars(list(layer_coords()), errors="ignore").assign(mrsol=water)
    with pytest.raises(ValueError, match="the layers have no bounds"):
        build_features(bare, ("mrsol",))


def test_the_signal_is_ordered_as_the_forcing_and_the_first_studys_is_small():
    """A steady +k W m-2 moves the default signal in proportion; z~ < 1 is squared away."""
    long = testing.canonical(years=20)
    history, stats = long["rlds"], feature_statistics(long, EVERY)
    late = {}
    for method in ("deseasonalised", "rahaman"):
        late[method] = [
            scenario_signal((history + k).rename("rlds"), stats, method=method)
            .isel(time=-1)
            .mean()
            .item()
            for k in (0.0, 2.0, 4.0, 8.0)
        ]
    steps = np.diff(late["deseasonalised"])
    assert (steps > 0).all()
    np.testing.assert_allclose(steps[2] / steps[1], 2.0, rtol=1e-4)
    assert abs(np.array(late["rahaman"])).max() < 0.1 * late["deseasonalised"][-1]


def test_the_first_studys_z_by_hand(ds):
    rlds = ds["rlds"].astype("float64")
    stats = feature_statistics(ds.assign(rlds=rlds), EVERY)
    got = scenario_signal(rlds, stats, method="rahaman", length=24).isel(band=2, time=40)
    own = rlds.isel(band=2).values
    z = (own[17:41].mean() - own.mean()) / own.std()
    np.testing.assert_allclose(got, abs(z) * z, rtol=1e-9)


def test_unknown_signal(ds):
    with pytest.raises(UnknownNameError, match="unknown scenario signal 'rahamn'; did you mean"):
        scenario_signal(ds["rlds"], feature_statistics(ds, EVERY), method="rahamn")


def test_features_of_chunks_stations_and_grids(ds, unchanged):
    plain = build_features(ds, ("tas", "month_sin"))
    xr.testing.assert_identical(build_features(ds.chunk(time=12), ("tas", "month_sin")), plain)
    stations = build_features(ds.rename(band="station"), ("tas", "month_sin"))
    assert stations.dims == ("station", "time", "feature")
    grid = testing.canonical(years=2, locations=("a",) * 6).drop_vars("band")
    grid = grid.coarsen(band=3).construct(band=("lat", "lon"))
    with pytest.raises(DimensionError, match=r"along \['lat', 'lon'\] have no labels.*range\(ds"):
        build_features(grid, ("tas",))
    grid = grid.assign_coords(lat=[60.0, 61.0], lon=[1.0, 2.0, 3.0])
    with unchanged(ds, grid):
        cube = build_features(grid, ("tas", "elevation", "month_sin"))
        build_features(ds, ("tas", "tas:mean12"))
    assert cube.dims == ("lat", "lon", "time", "feature")


def test_snow_resistance_is_depth_over_conductivity(ds):
    from xpermafrost.physics import snow

    cube = build_features(ds, ("snd", "snow_resistance", "snow_resistance:taiga"))
    assert needed_variables(("snow_resistance:taiga",)) == ("snd",)
    assert cube.attrs == {}
    january = cube.isel(time=0, band=0)
    depth, tundra, taiga = january.values.astype("float64")
    density = float(snow.class_density(np.array(depth), np.array(15), kind="tundra"))
    np.testing.assert_allclose(tundra, depth / snow.conductivity(np.array(density)), rtol=1e-5)
    assert taiga > tundra  # lighter snow insulates better
    bare = ds["snd"] == 0
    assert bool(bare.any())
    assert float(cube.sel(feature="snow_resistance").where(bare).max()) == 0.0
    with pytest.raises(UnknownNameError, match="unknown snow class 'tiaga'; did you mean 'taiga'"):
        build_features(ds, ("snow_resistance:tiaga",))


def _state(celsius, name="freeze_state", step="month"):
    """The feature of one place with the air temperatures given [degC]."""
    celsius = np.asarray(celsius, dtype="float64")
    freq = {"month": "MS", "day": "D"}[step]
    time = pd.date_range("2001-01-01", periods=celsius.size, freq=freq)
    tas = xr.DataArray(
        [celsius + 273.15], {"band": ["one"], "time": time}, name="tas", attrs={"units": "K"}
    )
    return build_features(tas.to_dataset(), (name,), step=step).values[0, :, 0]


def test_freeze_state_is_the_bounded_balance_of_degree_days():
    month = 365.25 / 12
    got = _state([-10.0, 2.0, 2.0, 15.0, -1.0, -30.0, 0.0])
    two = 2.0 * month / 200.0
    want = [0.0, two, 2 * two, 1.0, 1.0 - month / 200.0, 0.0, 0.0]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(
        _state([-10.0, 2.0, 2.0], "freeze_state:400"), [0.0, two / 2, two], rtol=1e-5
    )
    np.testing.assert_allclose(_state([-5.0, *[4.0] * 25], step="day")[-1], 0.5, rtol=1e-5)


def test_freeze_state_lags_the_air():
    """Water is left in the ground under freezing air in autumn, ice under warm air in spring."""
    season = 6.0 * np.cos(2 * np.pi * (np.arange(48) - 6.5) / 12) - 1.0
    state = _state(season)
    autumn, spring = 12 + 10, 12 + 5  # November and June of the second year
    assert season[autumn] < 0 < season[spring]
    assert 0.0 < state[autumn] < 1.0
    assert 0.0 < state[spring] < 1.0
    assert state.min() == 0.0
    assert state.max() == 1.0
    np.testing.assert_allclose(state[12:24], state[24:36])


def test_freeze_state_starts_as_the_first_known_month_says_and_keeps_over_gaps():
    assert _state([1.0, -1.0])[0] == 1.0
    got = _state([np.nan, -10.0, 2.0, np.nan, 2.0])
    assert np.isnan(got[[0, 3]]).all()
    np.testing.assert_allclose(got[4] - got[2], got[2], rtol=1e-5)
    assert np.isnan(_state([np.nan, np.nan])).all()


@pytest.mark.parametrize("name", ["freeze_state:0", "freeze_state:wet", "freeze_state:1.5"])
def test_freeze_state_of_another_scale_is_a_whole_number(ds, name):
    with pytest.raises(UnknownNameError, match=r"unknown feature 'freeze_state:.*did you mean"):
        build_features(ds, (name,))
