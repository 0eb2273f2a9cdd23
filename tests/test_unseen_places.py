"""Learned at cold places, scored at warm ones; nothing of the warm soil is known to anyone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost import testing
from xpermafrost._pooled_baselines import POOLED, fit_pooled
from xpermafrost.baselines import fit_baseline
from xpermafrost.errors import (
    DataError,
    DimensionError,
    LeakageError,
    RegionError,
    UnknownNameError,
)
from xpermafrost.evaluation import scoreboard
from xpermafrost.training import fit
from xpermafrost.unseen_places import space_for_time
from xpermafrost.windows import WindowSpec

SPLIT = {"train_places": ["middle", "north"], "test_places": ["south"]}
SPEC = WindowSpec(length=3, features=("tas", "snd", "month_cos"))
QUICK = {"baselines": ["climatology", "ridge"], "bootstrap": 0, **SPLIT}
SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False, "pretrain": None}


def apart(ds):
    return ds.sel(band=SPLIT["train_places"]), ds.sel(band=SPLIT["test_places"])


def test_nothing_of_the_test_soil_is_known(ds, quick, unchanged):
    """With another soil at the test place the answers stay."""
    options = {"config": quick, "length": 6, "jobs": 1, "pretrain": None, "bootstrap": 0, **SPLIT}
    names = ["climatology", "trend", "ridge", "ttop"]
    with unchanged(ds):
        before = space_for_time(ds, ["gru"], baselines=names, **options)
    soil = ds["tsl"].copy()
    soil[0] += np.float32(25.0)
    after = space_for_time(ds.assign(tsl=soil), ["gru"], baselines=names, **options)
    np.testing.assert_allclose(after["bias"], before["bias"] - 25.0, atol=1e-4)
    xr.testing.assert_identical(after["n"], before["n"])
    assert before["model"].values.tolist() == ["gru", *names]
    assert before["band"].values.tolist() == ["south"]


@pytest.mark.parametrize("name", POOLED)
def test_pooled_baselines_answer_for_the_unseen(ds, name, unchanged):
    cold, warm = apart(ds)
    with unchanged(cold, warm):
        out = fit_pooled(name, cold, spec=SPEC).predict(warm.drop_vars("tsl"))
    assert out.dims == ("band", "layer", "time")
    assert out["band"].values.tolist() == ["south"]
    assert out.attrs["units"] == "degree_Celsius"
    assert out.isel(time=slice(24, None)).notnull().all()
    np.testing.assert_allclose(out["depth"], ds["depth"])


def test_the_climatology_is_the_mean_of_the_places(ds):
    cold, warm = apart(ds)
    out = fit_pooled("climatology", cold, spec=SPEC).predict(warm)
    own = cold["tsl"].astype("float64").groupby("time.month").mean().mean("band") - 273.15
    np.testing.assert_allclose(
        out.isel(band=0, time=slice(0, 12)), own.transpose("layer", "month"), atol=1e-4
    )


def test_ttop_has_the_mean_factors(ds):
    cold, warm = apart(ds)
    out = fit_pooled("ttop", cold, spec=SPEC).predict(warm)
    each = [
        fit_baseline("ttop", cold.sel(band=[k]), train="all").predict(warm.assign_coords(band=[k]))
        for k in SPLIT["train_places"]
    ]
    mean = (each[0].values + each[1].values) / 2
    np.testing.assert_allclose(out.values, mean, atol=1e-4)


def linear():
    """A soil that is the same linear answer to the air everywhere."""
    ds = testing.canonical(years=10)
    tas = ds["tas"].astype("float64")
    soil = 0.5 * tas + 0.3 * tas.shift(time=1) + 60.0
    soil = soil.expand_dims(layer=ds["layer"].size).bfill("time").transpose(*ds["tsl"].dims)
    return ds.assign(tsl=soil.assign_attrs(ds["tsl"].attrs))


def test_pooled_ridge_finds_what_is_common_to_all_places():
    cold, warm = apart(linear())
    spec = WindowSpec(length=3, features=("tas", "month_sin"))
    out = fit_pooled("ridge", cold, spec=spec).predict(warm)
    truth = warm["tsl"] - 273.15
    assert float(abs(out - truth).isel(time=slice(3, None)).max()) < 0.2


def test_boosting_does_not_extrapolate():
    """What makes the test hard: trees end with the warmest place that they have seen."""
    cold, warm = apart(linear())
    warm = warm.assign(tas=warm["tas"] + 30.0)
    out = fit_pooled("boosting", cold, spec=SPEC).predict(warm)
    assert float(out.max()) <= float(cold["tsl"].max()) - 273.15 + 0.5


def test_years_may_be_apart_too(ds):
    soil = ds["tsl"].copy()
    soil.loc[{"time": slice("2005", None)}] = np.nan  # nothing of it may be needed in training
    cold, warm = apart(ds)
    early = fit_pooled("ridge", cold.assign(tsl=soil), train=("2001", "2004"), spec=SPEC)
    whole = fit_pooled("ridge", cold, train=("2001", "2004"), spec=SPEC)
    np.testing.assert_array_equal(early.predict(warm), whole.predict(warm))
    out = space_for_time(ds, [], train=("2001", "2004"), test=("2005", "2008"), **QUICK)
    assert out.attrs["training_period"] == "2001-01 to 2004-12"
    assert out.attrs["test_period"] == "2005-01 to 2008-12"
    assert (out["n"] == 48).all()


def test_skill_is_against_the_training_places(ds):
    out = space_for_time(ds, [], **QUICK)
    np.testing.assert_allclose(out["anomaly_skill_pooled"].sel(model="climatology"), 0, atol=1e-5)
    assert out.attrs["protocol"] == "space-for-time"
    assert out.attrs["training_places"] == "middle, north"
    assert scoreboard(out).index.tolist() == ["climatology", "ridge"]


def test_a_layer_without_values_has_no_answer(ds):
    soil = ds["tsl"].copy()
    soil[1:, 2] = np.nan
    cold, warm = apart(ds.assign(tsl=soil))
    out = fit_pooled("ridge", cold, spec=SPEC).predict(warm)
    assert out.isel(layer=2).isnull().all()
    assert out.isel(layer=1, time=slice(3, None)).notnull().all()
    with pytest.raises(DataError, match="'ridge' found no layer with 24 known months"):
        fit_pooled("ridge", cold.assign(tsl=cold["tsl"] * np.nan), spec=SPEC)


def test_all_names_what_it_leaves_out(ds):
    few = ds[["tas", "tsl"]]
    out = space_for_time(few, [], bootstrap=0, length=3, **SPLIT)
    text = out.attrs["baselines_left_out"]
    assert "persistence_year (it reads the soil's own record)" in text
    assert "column (variables that it needs are not there)" in text
    assert "energy_balance (variables" in text
    assert {"climatology", "trend", "ridge", "boosting", "ttop"} <= set(out["model"].values)


def test_a_portable_model_stands_for_itself(ds, quick):
    cold, warm = apart(ds)
    ready = fit(cold, "gru", train="all", places="any", config=quick, **SMALL)
    out = space_for_time(ds, ready, **QUICK)
    error = ready.predict(warm) - (warm["tsl"].astype("float64") - 273.15)
    common = error.isel(time=slice(23, None))
    np.testing.assert_allclose(
        out["bias_layer"].sel(model="gru"), common.mean(("band", "time")), atol=1e-4
    )
    other = {"train_places": ["south", "north"], "test_places": ["middle"]}
    with pytest.raises(LeakageError, match=r"'gru' has learned \['middle'\], which are scored"):
        space_for_time(ds, ready, **{**QUICK, **other})


def test_a_model_of_its_own_places_is_refused(ds, gru):
    with pytest.raises(DataError, match=r"own places only.*fit\(ds, places='any'\)"):
        space_for_time(ds, gru, **QUICK)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"test_places": ["north"]}, LeakageError, r"\['north'\] are both learned and scored"),
        ({"test_places": ["sooth"]}, RegionError, r"of 'band' \['south', 'middle', 'north'\]"),
        ({"test_places": []}, RegionError, "places to score"),
        ({"baselines": ["persistence"]}, DataError, r"\['persistence'\] read the soil's own"),
        ({"baselines": ["rigde"]}, UnknownNameError, "did you mean 'ridge'"),
        ({"baselines": []}, DataError, "nothing to evaluate"),
        ({"models": ["column+gru"]}, DataError, "type 'gru'"),
        ({"test": ("2050", "2060")}, DataError, "no test month"),
    ],
)
def test_requests_that_cannot_be_met(ds, options, kind, message):
    with pytest.raises(kind, match=message):
        space_for_time(ds, **{"models": [], **QUICK, **options})


def test_a_grid_is_refused():
    with pytest.raises(DimensionError, match=r"one location dimension.*'lat', 'lon'"):
        space_for_time(testing.gridded(years=3), [], train_places=[1], test_places=[2])
