"""Places by region and climate, and regions left out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    RegionError,
    UnitsError,
)
from xpermafrost.place_sampling import _shares, sample_places
from xpermafrost.region_validation import leave_region_out
from xpermafrost.training import TrainingConfig, fit
from xpermafrost.unseen_places import space_for_time


@pytest.fixture(scope="module")
def world():
    """Two grids side by side: 20 land cells of 24."""
    some = [testing.gridded(years=6, seed=k) for k in range(2)]
    some = [ds.assign_coords(lon=ds["lon"] + 8 * k) for k, ds in enumerate(some)]
    return xr.concat(some, "lon", data_vars="minimal", coords="minimal", compat="override")


def test_degrees_celsius_are_refused_not_taken_for_kelvin(world):
    cold = world.assign(tas=(world["tas"] - 273.15).assign_attrs(units="degC"))
    with pytest.raises(UnitsError, match="'tas'"):
        sample_places(cold, 7)


def test_half_a_year_has_no_climate(world):
    """A cell whose winters are missing is no cell of a warm climate."""
    winter = world["time"].dt.month.isin([11, 12, 1, 2, 3, 4])
    at = (world["lat"] == world["lat"][1]) & (world["lon"] == world["lon"][1])
    gaps = world.assign(tas=world["tas"].where(~(winter & at)).transpose(*world["tas"].dims))
    assert sample_places(world, 99).sizes["place"] == 20
    assert sample_places(gaps, 99).sizes["place"] == 19


def test_labels_tell_near_cells_apart(world):
    near = world.assign_coords(lon=100 + 0.0002 * np.arange(world.sizes["lon"]))
    assert len(set(sample_places(near, 99)["place"].values)) == 20


def test_places_hold_the_values_of_their_cells(world, unchanged):
    with unchanged(world):
        some = sample_places(world, 7, seed=3)
    assert some.sizes["place"] == 7
    for k in range(7):
        here = some.isel(place=k)
        cell = world.sel(lat=here["lat"], lon=here["lon"])
        for name in ("tas", "tsl", "elevation"):
            np.testing.assert_array_equal(here[name], cell[name])
        assert here["place"].item() == f"{float(here['lat']):g}, {float(here['lon']):g}"
    assert bool(some["elevation"].notnull().all())  # land alone
    assert len(set(some["place"].values)) == 7
    xr.testing.assert_identical(some, sample_places(world, 7, seed=3))
    assert set(sample_places(world, 7, seed=4)["place"].values) != set(some["place"].values)
    assert sample_places(world, 99).sizes["place"] == 20


def test_a_rare_climate_is_drawn_as_often_as_a_common_one():
    """Nine cells in ten are cold; half the places are warm, or one in ten by area."""
    one = testing.gridded(shape=(1, 1), ocean=0, years=4)
    ds = one.isel(lat=[0] * 10, lon=[0] * 4, drop=True)
    ds = ds.assign_coords(lat=60.0 + 0.01 * np.arange(10), lon=np.arange(4.0))
    cold = (ds["tas"] - 20.0).where(ds["lat"] > 60.0, ds["tas"])
    ds = ds.assign(tas=cold.assign_attrs(ds["tas"].attrs))
    for share, count in (("equal", 4), ("area", 1)):
        some = sample_places(ds, 8 if share == "equal" else 10, share=share, widths=(15.0, 90.0))
        assert int((some["lat"] == 60.0).sum()) == count
        assert len(set(some["climate"].values)) == 2


def test_cells_near_the_pole_are_drawn_by_their_area():
    lat = np.array([0.0, 85.0])
    ds = testing.gridded(shape=(1, 4), ocean=0, years=4)
    wide = ds.isel(lat=[0, 0], lon=[0] * 200, drop=True)
    wide = wide.assign_coords(lat=lat, lon=np.arange(200.0))
    wide["lat_bnds"] = (("lat", "bnds"), np.array([[-5.0, 5.0], [80.0, 90.0]]))
    some = sample_places(wide, 60, widths=(300.0, 300.0))
    share = float((some["lat"] == 85.0).mean())
    assert 0.01 < share < 0.2  # its cells have a twelfth of the area


def test_climate_comes_from_the_training_years(world):
    late = world["time"] >= np.datetime64("2005")
    warmer = world.assign(
        tas=world["tas"].where(~late, world["tas"] + 15.0).assign_attrs(world["tas"].attrs)
    )
    one, two = (sample_places(ds, 8, train=("2001", "2004")) for ds in (world, warmer))
    assert one["place"].values.tolist() == two["place"].values.tolist()
    assert one["climate"].values.tolist() == two["climate"].values.tolist()


def test_regions_have_equal_shares_and_cells_outside_are_left_out(world):
    bands = xp.LatitudeBands((61, 63, 65))
    some = sample_places(world, 8, regions=bands, widths=(300.0, 300.0))
    assert set(some["lat"].values) == {62.0, 64.0}
    names, counts = np.unique(some["region"].values, return_counts=True)
    assert names.tolist() == ["61.0-63.0N", "63.0-65.0N"]
    assert counts.tolist() == [4, 4]


def test_drawing_is_lazy_and_reads_each_block_once(world):
    read = []

    def noted(block):
        read.append(block.shape)
        return block

    lazy = world.chunk(lon=4)
    for name in ("tas", "snd", "tsl"):
        data = lazy[name].data.map_blocks(noted, dtype="float32", meta=np.empty(0, "f4"))
        lazy[name] = lazy[name].copy(data=data)
    some = sample_places(lazy, 6)
    assert len(read) == 2 * 2  # tas and tsl, two blocks; nothing of snd
    assert some["snd"].chunks is not None
    np.testing.assert_array_equal(some["tas"], sample_places(world, 6)["tas"])


@pytest.mark.parametrize(
    ("wanted", "sizes", "count"),
    [
        ([1, 1, 1], [9, 9, 9], 7),
        ([1, 1], [2, 50], 30),
        ([3, 1], [1, 1], 2),
        ([5, 1, 1], [9, 9, 9], 9),
    ],
)
def test_shares_add_up_and_no_class_gives_more_than_it_has(wanted, sizes, count):
    given = _shares(np.array(wanted, float), np.array(sizes), count, np.random.default_rng(0))
    assert given.sum() == count
    assert (given <= sizes).all()
    assert (given >= 0).all()


def test_a_global_model_from_a_few_places_answers_for_the_grid(world):
    some = sample_places(world, 8)
    model = fit(
        some,
        "gru",
        length=12,
        features=["tas", "snd", "elevation", "month_sin", "month_cos"],  # a static field of a place
        config=TrainingConfig(epochs=2),
        places="any",
        progress=False,
    )
    out = model.predict(world.drop_vars("tsl").fillna({"elevation": 0.0}))
    assert out.dims == ("lat", "lon", "layer", "time")
    assert bool(out.isel(time=-1).notnull().all())


def test_each_region_is_scored_by_what_has_not_seen_it(world):
    some = sample_places(world, 9, regions=xp.LatitudeBands((61, 63, 65, 67)))
    options = {
        "baselines": ["climatology", "ridge"],
        "config": TrainingConfig(epochs=1),
        "length": 12,
        "pretrain": None,
        "bootstrap": 0,
        "train": ("2001", "2004"),
        "test": ("2005", "2006"),
        "jobs": 1,
        "progress": False,
    }
    scores = leave_region_out(some, ["gru"], **options)
    names = sorted(set(some["region"].values))
    assert scores["region_left_out"].values.tolist() == names
    assert scores["rmse"].sizes["place"] == 9
    assert scores.attrs["protocol"] == "leave-region-out"
    inside = some["region"].values == names[0]
    places = some["place"].values
    one = space_for_time(
        some,
        ["gru"],
        train_places=places[~inside].tolist(),
        test_places=places[inside].tolist(),
        **options,
    )
    here = scores.sel(region_left_out=names[0])
    np.testing.assert_array_equal(here["rmse_pooled"], one["rmse_pooled"])
    np.testing.assert_array_equal(here["rmse"].sel(place=places[inside]), one["rmse"])


def test_what_cannot_be_drawn_or_left_out_is_said(world, ds, gru):
    with pytest.raises(MissingVariableError, match=r"sample_places needs the variables \['tas'\]"):
        sample_places(world.drop_vars("tas"), 3)
    with pytest.raises(DimensionError, match="sample_places needs dims"):
        sample_places(ds, 3)
    with pytest.raises(DataError, match="count and widths must be positive"):
        sample_places(world, 0)
    sea = world.assign(tsl=(world["tsl"] * np.nan).assign_attrs(world["tsl"].attrs))
    with pytest.raises(DataError, match="no cell has air and soil temperatures"):
        sample_places(sea, 3)
    with pytest.raises(RegionError, match="the region of each place is needed as a coordinate"):
        leave_region_out(ds)
    one = ds.assign_coords(region=("band", ["a", "a", "a"]))
    with pytest.raises(RegionError, match=r"needs two regions; all places are of \['a'\]"):
        leave_region_out(one)
    with pytest.raises(DimensionError, match=r"Draw places first: xp\.sample_places"):
        leave_region_out(world)
    two = ds.assign_coords(region=("band", ["a", "a", "b"]))
    with pytest.raises(DataError, match="networks are fitted for each region that is left out"):
        leave_region_out(two, [gru])
