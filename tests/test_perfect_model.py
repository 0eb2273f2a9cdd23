"""A climate model's own past predicts its own future; the future cannot be seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import _protocols, testing
from xpermafrost._change_scores import change_scores
from xpermafrost.baselines import BASELINES
from xpermafrost.errors import (
    DataError,
    DimensionError,
    LeakageError,
    MissingVariableError,
    PermafrostWarning,
    ScenarioError,
    UnknownNameError,
)
from xpermafrost.evaluation import evaluate, scoreboard
from xpermafrost.experiment import reference_of, scenarios_of
from xpermafrost.perfect_model import perfect_model, perfect_model_experiment
from xpermafrost.training import fit

PAST, FUTURE = ("1998", "2005"), ("2011", "2017")
SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False}
QUICK = {"baselines": ["climatology", "trend"], "test": FUTURE}


@pytest.fixture
def esm():
    """A climate model's runs, each with its own soil."""
    runs = {
        "historical": testing.canonical(years=10, start="1996", seed=11),
        "rcp26": testing.canonical(years=12, start="2006", seed=12, warming=0.2),
        "rcp85": testing.canonical(years=12, start="2006", seed=13, warming=2.0),
    }
    return {name: run.drop_vars("elevation") for name, run in runs.items()}


def test_the_record_is_the_models_own_history(world, unchanged):
    with unchanged(world):
        own = perfect_model_experiment(world)
    record = reference_of(own)
    past = world.sel(scenario="historical", time=slice(*PAST))  # 8 years, as the reference
    assert (record["time"].values == past["time"].values).all()
    np.testing.assert_array_equal(record["tas"], past["tas"])
    np.testing.assert_array_equal(record["tsl"], past["tsl_esm"])
    assert scenarios_of(own) == ["rcp26", "rcp85"]
    future = {"scenario": "rcp85", "time": slice("2006", None)}
    xr.testing.assert_equal(own["tsl_esm"].sel(future), world["tsl_esm"].sel(future))
    xr.testing.assert_equal(own["elevation"], world["elevation"])
    assert own.attrs["perfect_model"] == "reference: the climate model's historical, 1998 to 2005"
    xr.testing.assert_identical(
        perfect_model_experiment(own).drop_attrs(deep=False), own.drop_attrs(deep=False)
    )


def test_runs_of_a_climate_model_need_no_reference(esm, world, unchanged):
    with unchanged(*esm.values()):
        own = perfect_model_experiment(esm, train=PAST)
    same = perfect_model_experiment(world, train=PAST)  # there the air is 1.5 K warmer
    xr.testing.assert_equal(own["tsl"], same["tsl"])
    assert reference_of(perfect_model_experiment(esm)).sizes["time"] == 120  # of 23 years, ten
    tree = xr.DataTree.from_dict(esm)
    xr.testing.assert_identical(perfect_model_experiment(tree, train=PAST), own)


def test_the_experiment_stays_lazy(world):
    lazy = world.chunk(time=240)
    own = perfect_model_experiment(lazy, train=PAST)
    assert own["tas"].chunks
    assert own["tsl_esm"].chunks
    xr.testing.assert_equal(own.compute(), perfect_model_experiment(world, train=PAST))


def test_the_future_soil_cannot_be_seen(world, quick):
    """With another soil in every scenario the answers stay, and only their errors change."""
    baselines = ["trend", "persistence_year", "damped_persistence", "ridge", "ttop"]
    options = {"config": quick, "features": ("tas", "month_cos"), "length": 6, "jobs": 1}
    models = {"models": ["gru"], "baselines": baselines, "test": FUTURE, **options}
    before = evaluate(world, protocol="perfect-model", **models)
    noise = np.random.default_rng(0).normal(0.0, 30.0, world["tsl_esm"].shape)
    future = (world["scenario"] != "historical") & (world["time"] > np.datetime64("2005-12-31"))
    soil = world["tsl_esm"]
    noise = soil.copy(data=noise.astype("float32")).where(future, np.float32(0.0))
    world["tsl_esm"] = (soil + noise).transpose(*soil.dims).assign_attrs(units="K")
    after = evaluate(world, protocol="perfect-model", **models)
    for name in ("change", "change_layer", "member_change"):
        xr.testing.assert_identical(before[name], after[name])
    assert (abs(after["change_truth"] - before["change_truth"]) > 0.1).any()
    assert (after["rmse"] > 5.0).all()


def test_what_would_cheat_finds_nothing(world, monkeypatch):
    """A baseline that answers with the soil that it is handed has no answer for the future."""
    cheat = (lambda ds, spec, period: {}, lambda state, spec, ds: ds["tsl"])
    monkeypatch.setitem(BASELINES, "cheat", cheat)
    out = perfect_model(world, [], baselines=["cheat", "trend"], test=FUTURE)
    assert out["change"].sel(model="cheat").isnull().all()
    assert out["change"].sel(model="trend").notnull().all()


def test_the_real_soil_plays_no_part(world):
    before = perfect_model(world, [], train=PAST, **QUICK)
    world["tsl"] = world["tsl"] * 0.5
    xr.testing.assert_identical(perfect_model(world, [], train=PAST, **QUICK), before)


def test_scores_are_those_of_plain_numpy(world):
    out = perfect_model(world, [], **QUICK)
    soil = world["tsl_esm"].values.astype("float64")
    time = world["time"].dt.year.values
    base = soil[1][..., (time >= 1998) & (time <= 2005)].mean(-1)
    late = (time >= 2011) & (time <= 2017)
    truth = np.stack([soil[k][..., late].mean(-1) for k in (2, 3)]) - base
    np.testing.assert_allclose(out["change_truth"], truth, atol=1e-4)
    np.testing.assert_allclose(out["change"].sel(model="climatology"), 0.0, atol=1e-4)
    error = out["change_error"].sel(model="climatology")
    np.testing.assert_allclose(error, -truth, atol=2e-4)
    np.testing.assert_allclose(
        out["change_relative_error_layer"].sel(model="climatology"),
        np.sqrt((truth**2).mean(1)) / abs(truth.mean(1)),
        rtol=1e-3,
    )
    np.testing.assert_allclose(
        out["change_bias_layer"].sel(model="climatology"), -truth.mean(1), atol=2e-4
    )
    np.testing.assert_allclose(
        out["change_relative_bias_layer"].sel(model="climatology"), -1.0, atol=1e-2
    )
    tas = world["tas"].values.astype("float64").mean(1)
    rise = tas[2:, late].mean(-1) - tas[1, (time >= 1998) & (time <= 2005)].mean()
    np.testing.assert_allclose(out["warming"], rise, atol=1e-3)
    assert out["change"].attrs["units"] == "K"
    assert out["change_relative_error"].attrs["units"] == "1"
    assert all(da.attrs["long_name"] for da in out.data_vars.values())
    assert out.attrs["training_period"] == "1998-01 to 2005-12 of the historical run"
    assert out.attrs["test_period"] == "2011-01 to 2017-12"


def test_a_model_fitted_before_stands_for_itself(world, quick):
    own = perfect_model_experiment(world, train=PAST)
    ready = fit(own, "gru", train="all", members=2, config=quick, length=6, **SMALL)
    out = evaluate(world, ready, protocol="perfect-model", baselines=["trend"], test=FUTURE)
    assert out["model"].values.tolist() == ["gru", "trend"]
    forcing = own.sel(scenario="rcp85", time=slice("2006", None)).drop_vars("tsl")
    past = own.sel(scenario="historical", time=slice("1998", "2005")).drop_vars("tsl")
    joined = xr.concat([past, forcing], "time", data_vars="minimal", coords="minimal",
                       compat="override")  # fmt: skip
    each = ready.predict(joined.drop_vars("scenario"), members="all").sel(time=slice(*FUTURE))
    base = reference_of(own)["tsl"].astype("float64").mean("time") - 273.15
    mine = (each.astype("float64").mean("time") - base).mean("band")
    np.testing.assert_allclose(
        out["member_change"].sel(model="gru", scenario="rcp85"), mine, atol=1e-4
    )
    here = out.sel(model="gru", scenario="rcp85")
    np.testing.assert_allclose(here["change_layer"], mine.mean("member"), atol=1e-4)
    apart = abs(mine - mine.mean("member")).max("member") / here["change_truth_layer"]
    np.testing.assert_allclose(here["member_spread"], apart, atol=1e-4)
    assert out["member_spread"].sel(model="trend").isnull().all()


@pytest.fixture
def made():
    """60 years that warm by 0.05 K a year, a soil that takes half of it, and a perfect and a
    lame run."""
    time = pd.date_range("2001-01-01", periods=720, freq="MS")
    rise = 0.05 * (time.year.values - 2000.0)
    truth = xr.DataArray(
        np.broadcast_to(0.5 * rise, (1, 2, 1, 720)).copy(),
        dims=("scenario", "band", "layer", "time"),
        coords={"scenario": ["rcp85"], "band": ["a", "b"], "layer": [1], "time": time},
    )
    run = truth.isel(scenario=0, drop=True)
    record = (
        xr.zeros_like(run)
        .isel(time=slice(0, 120))
        .assign_coords(time=pd.date_range("1991-01-01", periods=120, freq="MS"))
    )
    years = xr.DataArray(
        [[2021.0, 2041.0, np.nan]],
        dims=("scenario", "level"),
        coords={"scenario": ["rcp85"], "level": [1.0, 2.0, 3.0]},
    )
    return {"right": [run], "lame": [0.5 * run]}, truth, record, ("2041", "2060"), years


def test_levels_of_warming(made):
    """Of 20 years about 2021 the soil's mean is 0.5 x 0.05 x (2020.5 - 2000)."""
    out = change_scores(*made)
    expected = 0.5 * 0.05 * np.array([20.5, 40.5])
    true = out["level_change_truth"].isel(scenario=0, layer=0)
    np.testing.assert_allclose(true.sel(level=[1.0, 2.0]), expected)
    error = out["level_change_error"].isel(scenario=0, layer=0).sel(level=[1.0, 2.0])
    np.testing.assert_allclose(error.sel(model="right"), 0.0, atol=1e-12)
    np.testing.assert_allclose(error.sel(model="lame"), -0.5 * expected)
    assert out["level_change"].sel(level=3.0).isnull().all()  # never reached
    np.testing.assert_allclose(out["change_relative_error_layer"].sel(model="lame"), 0.5)
    np.testing.assert_array_equal(out["level_year"], made[-1])


def test_levels_come_from_the_air_of_the_scenario():
    """The air of RCP8.5 rises by 2 K a decade; levels count from the record's mean."""
    world = testing.experiment(future=40)
    out = perfect_model(world, [], baselines=["trend"], test=("2031", "2045"))
    tas = world["tas"].sel(scenario="rcp85").mean("band").groupby("time.year").mean()
    record = world["tas"].sel(scenario="historical", time=slice(*PAST)).mean()
    mean = (tas.rolling(year=20).mean() - record).dropna("year")
    for level in (2.0, 4.0):
        first = int(mean["year"][int((mean >= level).argmax("year"))])
        year = float(out["level_year"].sel(scenario="rcp85", level=level))
        assert year == first - 19 + 10, level
    assert out["level_change"].sel(scenario="rcp85", level=4.0).notnull().all()
    assert out["level_change"].sel(scenario="rcp26", level=4.0).isnull().all()


def test_no_levels_without_air(made):
    runs, truth, record, test, _ = made
    assert "level_change" not in change_scores(runs, truth, record, test, None)


def test_a_gap_is_not_bridged(made):
    runs, truth, record, test, years = made
    hole = runs["lame"][0].copy()
    hole[0, 0, 500] = np.nan
    out = change_scores({**runs, "lame": [hole]}, truth, record, test, years)
    assert out["change"].sel(model="lame", band="a").isnull().all()
    assert out["change"].sel(model="lame", band="b").notnull().all()


def test_the_table_for_people(world):
    scores = perfect_model(world, [], **QUICK)
    table = scoreboard(scores)
    assert table.loc["rcp85"].index.tolist() == ["climatology", "trend", "truth"]
    row = table.loc[("rcp85", "trend")]
    here = scores.sel(model="trend", scenario="rcp85").isel(layer=2)
    assert row["change 0.64 m"] == pytest.approx(float(here["change_layer"]))
    assert row["error % 0.64 m"] == pytest.approx(100 * float(here["change_relative_error_layer"]))
    assert row["RMSE 0.64 m"] == pytest.approx(float(here["rmse_layer"]))
    assert table.loc[("rcp85", "truth"), "change 0.64 m"] == pytest.approx(
        float(here["change_truth_layer"])
    )


def test_what_has_no_future_is_left_out(world, monkeypatch):
    monkeypatch.setattr(_protocols, "COLUMN_PLACES", 0)
    out = perfect_model(world, [], test=FUTURE, length=6, scenarios="rcp85")
    assert "persistence (no answer beyond the record)" in out.attrs["baselines_left_out"]
    assert "column (3 locations" in out.attrs["baselines_left_out"]
    assert {"persistence_year", "energy_balance", "boosting"} <= set(out["model"].values)
    assert out["change"].notnull().all()
    assert out["scenario"].values.tolist() == ["rcp85"]
    with pytest.raises(DataError, match=r"'persistence' repeats.*baselines=\['trend'\]"):
        perfect_model(world, [], baselines=["persistence", "trend"], test=FUTURE)


@pytest.mark.parametrize(
    ("change", "options", "kind", "message"),
    [
        (lambda w: w.drop_vars("tsl_esm"), {}, MissingVariableError, "own soil temperature"),
        (lambda w: w.drop_sel(scenario="historical"), {}, ScenarioError, "'historical' run with"),
        (lambda w: w.sel(scenario=["reference", "historical"]), {}, ScenarioError, "needs a scen"),
        (lambda w: w, {"train": ("1990", "2000")}, DataError, r"\(1996-01 to 2005-12\)"),
        (lambda w: w, {"train": ("2001", "2008")}, DataError, "not inside the climate model's"),
        (lambda w: w, {"test": ("2081", "2100")}, DataError, "scenarios, which end in 2017-12"),
        (lambda w: w, {"test": ("2004", "2010")}, LeakageError, "overlap the record, which ends"),
        (lambda w: w, {"scenarios": ["rcp45"]}, ScenarioError, "rcp45"),
        (lambda w: w.expand_dims(esm=["A", "B"]), {}, DimensionError, r"ds.sel\(esm='A'\)"),
        (lambda w: w, {"baselines": ["trnd"]}, UnknownNameError, "did you mean 'trend'"),
        (lambda w: w, {"baselines": []}, DataError, "nothing to evaluate"),
    ],
)
def test_requests_that_cannot_be_met(world, change, options, kind, message):
    with pytest.raises(kind, match=message):
        perfect_model(change(world), [], **{**QUICK, **options})


def test_a_truth_with_holes_is_refused(world):
    world["tsl_esm"][3, 1, 2, -12] = np.nan
    with pytest.raises(DataError, match=r"'rcp85' lacks 1 values.*first 2017-01"):
        perfect_model(world, [], **QUICK)
    world["tsl_esm"][1, 0, 0, 50] = np.nan
    with pytest.raises(DataError, match="'historical' lacks 1 values"):
        perfect_model(world, [], **QUICK)


def test_a_scenario_without_soil_is_left_out(world):
    world["tsl_esm"][2] = np.nan
    assert perfect_model(world, [], **QUICK)["scenario"].values.tolist() == ["rcp85"]


def test_a_model_of_the_real_record_is_refused(world, world_gru):
    with pytest.raises(DataError, match="is fitted on that run"):
        evaluate(world, world_gru, protocol="perfect-model", test=FUTURE)


def test_lessons_from_a_climate_model_are_warned_of(world, quick):
    own = perfect_model_experiment(world, train=PAST)
    ready = fit(own, "gru", train="all", config=quick, length=6, **SMALL)
    ready.info["pretrain"] = {"source": "column"}
    perfect_model(world, ready, **QUICK)  # no warning
    ready.info["pretrain"] = {"source": "climate model"}
    with pytest.warns(PermafrostWarning, match="'gru' was pretrained on a climate model"):
        perfect_model(world, ready, **QUICK)


def test_days_are_refused(world):
    with pytest.raises(DataError, match="'perfect-model' is monthly"):
        evaluate(world, protocol="perfect-model", step="day")
