"""Validation against sensors: places, depths, months, scores."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import xarray as xr

from xpermafrost import schema, testing
from xpermafrost.errors import (
    DataError,
    DimensionError,
    RegionError,
    TimeAxisError,
    UnitsError,
)
from xpermafrost.regions import LatitudeBands, reduce
from xpermafrost.validation import validate

SENSORS = (0.1, 0.5, 1.0)


def linear_soil(lat, depth, time):
    """degC, linear in latitude and depth, so that every interpolation is exact."""
    season = np.cos(2 * np.pi * (np.arange(time.size) - 6.5) / 12)
    return -0.5 * (lat[:, None, None] - 60) - 2.0 * depth[None, :, None] + 8.0 * season


@pytest.fixture
def stations():
    base = testing.canonical(years=3, locations=["a", "b"], dim="station")
    depth = np.array(SENSORS)
    layers = schema.layer_coords_from_bounds(np.stack([depth, depth], axis=1))
    lat = np.array([61.3, 64.1])
    values = linear_soil(lat, depth, base["time"]) + 273.15
    return xr.Dataset(
        {"tsl": (("station", "layer", "time"), values, {"units": "K"})},
        coords={
            "station": ["a", "b"],
            "time": base["time"],
            "lat": ("station", lat),
            "lon": ("station", [-149.0, 178.0]),
            **layers,
        },
    )


@pytest.fixture
def grid(stations):
    lat = np.arange(60.0, 66.0)
    layers = schema.layer_coords((0.0, 0.1, 0.7, 1.5, 2.5))
    soil = linear_soil(lat, layers["depth"].values, stations["time"]) + 1.0
    da = xr.DataArray(
        np.repeat(soil[:, None], 36, axis=1),
        dims=("lat", "lon", "layer", "time"),
        coords={
            "lat": lat,
            "lon": np.arange(-180.0, 180.0, 10.0),
            "time": stations["time"],
            **{n: c for n, c in layers.items() if n != "depth_bnds"},
        },
        attrs={"units": "degree_Celsius"},
        name="soil_temperature",
    )
    return da


def test_a_grid_is_read_at_the_stations_and_sensors_exactly(grid, stations, unchanged):
    with unchanged(grid, stations):
        scores = validate(grid, stations)
    np.testing.assert_allclose(scores["bias"], 1.0, atol=1e-9)
    np.testing.assert_allclose(scores["rmse"], 1.0, atol=1e-9)
    np.testing.assert_allclose(scores["correlation"], 1.0, atol=1e-9)
    np.testing.assert_allclose(scores["amplitude_ratio"], 1.0, atol=1e-9)
    np.testing.assert_allclose(scores["bias_winter"], 1.0, atol=1e-9)
    assert int(scores["n"].min()) == 36
    assert scores["depth"].values.tolist() == list(SENSORS)
    table = scores.to_dataframe()
    assert {"rmse", "bias", "depth"} <= set(table.columns)


def test_sensors_beyond_the_middles_are_missing_or_of_their_layer(grid, stations):
    shallow = grid.isel(layer=slice(1, None))  # middles 0.4 m and below
    scores = validate(shallow, stations)
    assert int(scores["n"].sel(station="a").isel(layer=0)) == 0
    assert np.isnan(scores["rmse"].sel(station="a").isel(layer=0))
    nearest = validate(shallow, stations, depth="nearest")
    # 0.1 m is the upper bound of the layer of 0.4 m: 0.3 m x 2 K per m off
    np.testing.assert_allclose(nearest["bias"].isel(layer=0), 1.0 - 2.0 * 0.3, atol=1e-9)
    np.testing.assert_allclose(nearest["bias"].isel(layer=1), 1.0 + 2.0 * 0.1, atol=1e-9)


def test_nearest_cell(grid, stations):
    scores = validate(grid, stations, place="nearest")
    np.testing.assert_allclose(scores["bias"].sel(station="a"), 1.0 + 0.5 * 0.3, atol=1e-9)


def test_bands_hold_their_stations(grid, stations):
    bands = grid.isel(lon=0, drop=True).rename(lat="band")
    bands = bands.assign_coords(lat=("band", bands["band"].values)).isel(band=slice(0, 4))
    found = validate(bands, stations.sel(station=["a"]))
    np.testing.assert_allclose(found["bias"], 1.0 + 0.5 * 0.3, atol=1e-9)
    with pytest.raises(RegionError, match=r"stations \['b'\] lie outside the regions"):
        validate(bands, stations)


def test_missing_sensors_and_months_do_not_count(grid, stations):
    gaps = stations.assign(
        tsl=stations["tsl"].where((stations["time.year"] > 2001) | (stations["station"] == "b"))
    )
    gaps["tsl"].attrs = stations["tsl"].attrs
    scores = validate(grid.isel(time=slice(0, 30)), gaps)
    assert int(scores["n"].sel(station="a").isel(layer=0)) == 18
    assert int(scores["n"].sel(station="b").isel(layer=0)) == 30


def test_winter_is_told_from_summer(grid, stations):
    cold = grid.where(~grid["time.month"].isin([12, 1, 2]), grid - 3.0)
    scores = validate(cold.assign_attrs(grid.attrs), stations)
    np.testing.assert_allclose(scores["bias_winter"], -2.0, atol=1e-9)
    np.testing.assert_allclose(scores["bias_summer"], 1.0, atol=1e-9)


def test_messages(grid, stations):
    with pytest.raises(DimensionError, match=r"the model has \['scenario'\]"):
        validate(grid.expand_dims(scenario=["rcp85"]), stations)
    late = stations.isel(time=slice(12, None))
    with pytest.raises(DataError, match="no common month: the model has 2001-01 to 2001-12"):
        validate(grid.isel(time=slice(0, 12)), late)
    with pytest.raises(UnitsError, match="in 'K' or 'degC'; 'soil_temperature' has units 'kg'"):
        validate(grid.assign_attrs(units="kg"), stations)
    with pytest.raises(RegionError, match=r"stations need \['lon'\]"):
        validate(grid, stations.drop_vars("lon"))
    at = stations["tsl"].isel(station=[0])
    with pytest.raises(RegionError, match=r"no station \['b'\]"):
        validate(at, stations)
    with pytest.raises(DataError, match="the depths or the years do not meet"):
        validate(grid.isel(layer=[3]), stations)


def test_regions_hold_their_stations(grid, stations):
    outlines = {
        "south": shapely.box(-155, 60, -145, 62),
        "island": shapely.box(175, 63.5, 185, 65.5),  # over the dateline
        "north": shapely.box(-155, 63, -145, 65.4),
    }
    ds = grid.to_dataset()
    means = reduce(ds, outlines)
    with pytest.raises(RegionError, match=r"'region' are no latitude bands.*regions=\.\.\."):
        validate(means, stations)
    found = validate(means, stations, regions=outlines)
    for station, region in (("a", "south"), ("b", "island")):
        one = means["soil_temperature"].sel(region=region).transpose("layer", "time")
        alone = one.expand_dims(station=[station]).assign_attrs(units="degC")
        expected = validate(alone, stations.sel(station=[station]))
        np.testing.assert_allclose(found["bias"].sel(station=station), expected["bias"][0])
    away = stations.assign_coords(lon=("station", [20.0, 178.0]))
    with pytest.raises(RegionError, match=r"stations \['a'\] lie outside the regions"):
        validate(means, away, regions=outlines)
    with pytest.raises(RegionError, match=r"the model has no region \['x', 'y'\]"):
        validate(means, stations, regions={"x": outlines["south"], "y": outlines["island"]})


def test_uneven_bands_are_known_by_their_edges(grid, stations):
    bands = LatitudeBands((60, 61, 65.5))  # a lies in the second, nearer the middle of the first
    means = reduce(grid.to_dataset(), bands)
    expected = validate(means, stations, regions=bands)["bias"]
    np.testing.assert_allclose(validate(means, stations)["bias"], expected)
    second = (
        means["soil_temperature"].isel(band=1).mean()
        - means["soil_temperature"].isel(band=0).mean()
    )
    assert second < -1.0  # so that the wrong band would show
    with pytest.raises(RegionError, match=r"the edges of 'band' are not known"):
        validate(means["soil_temperature"].isel(band=[1, 0]), stations)


def test_days_and_unsorted_months_are_refused(grid, stations):
    days = stations.isel(time=slice(0, 4)).resample(time="D").nearest()
    with pytest.raises(TimeAxisError, match=r"validate \(stations\) needs monthly data"):
        validate(grid, days)
    with pytest.raises(TimeAxisError, match=r"validate \(model\) needs each month once, in order"):
        validate(grid.isel(time=[3, 2, 1, 0]), stations)


def summits(stations, warmer=0.0):
    """Stations whose yearly maximum falls by 2 K a metre: 0 degC at 0.4 and 0.7 m."""
    depth, season = np.array(SENSORS), np.cos(2 * np.pi * (np.arange(36) - 6) / 12)
    top = np.array([0.8, 1.4])[:, None, None] - 2.0 * depth[:, None]
    values = top + warmer + 8.0 * (season - 1.0) + 273.15
    return stations.assign(tsl=(("station", "layer", "time"), values, {"units": "K"}))


def test_error_of_the_active_layer_is_that_of_the_depth_of_freezing(stations, unchanged):
    truth, model = summits(stations), summits(stations, warmer=0.2)
    with unchanged(truth, model):
        scores = validate(model, truth)
    np.testing.assert_allclose(scores["alt_bias"], [0.1, 0.1], atol=1e-9)
    cold = validate(summits(stations, warmer=-0.2), truth)
    np.testing.assert_allclose(cold["alt_bias"], [-0.1, -0.1], atol=1e-9)
    np.testing.assert_allclose(cold["alt_mae"], [0.1, 0.1], atol=1e-9)
    assert scores["alt_n"].values.tolist() == [3, 3]
    assert scores["alt_bias"].attrs["units"] == "m"
    for words in ("monthly means is too small", "up to 0.50 m apart"):
        assert words in scores["alt_mae"].attrs["comment"]


def test_years_without_an_active_layer_in_the_profile_do_not_count(stations):
    truth, model = summits(stations), summits(stations, warmer=0.2)
    hole = (model["time"] == np.datetime64("2002-03-01")) & (model["station"] == "a")
    gap = model.assign(tsl=model["tsl"].where(~hole).assign_attrs(units="K"))
    scores = validate(gap.isel(time=np.arange(36) != 30), truth)  # and a month that is not there
    assert scores["alt_n"].values.tolist() == [1, 2]
    assert scores["n"].values.tolist() == [[34] * 3, [35] * 3]
    np.testing.assert_allclose(scores["alt_bias"], [0.1, 0.1], atol=1e-9)
    thawed = validate(summits(stations, warmer=9.0), truth)  # below the deepest sensor
    assert thawed["alt_n"].values.tolist() == [0, 0]
    assert np.isnan(thawed["alt_bias"]).all()


def test_sensors_that_do_not_carry_an_active_layer_say_so(stations):
    truth, model = summits(stations).isel(layer=[0, 1]), summits(stations)
    scores = validate(model, truth)
    assert np.isnan(scores["alt_bias"]).all()
    assert np.isnan(scores["alt_mae"]).all()
    assert "not known: " in scores["alt_bias"].attrs["comment"]
    assert "ends at 0.5 m" in scores["alt_bias"].attrs["comment"]
    turned = validate(model.isel(layer=[2, 0, 1]), summits(stations).isel(layer=[1, 2, 0]))
    np.testing.assert_allclose(turned["alt_bias"], 0.0, atol=1e-9)
