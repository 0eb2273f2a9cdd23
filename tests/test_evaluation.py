"""Scores against plain numpy, on months no model has seen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from xpermafrost import evaluation, testing
from xpermafrost.baselines import BASELINES
from xpermafrost.errors import DataError, LeakageError, UnknownNameError
from xpermafrost.evaluation import PROTOCOLS, evaluate, score, scoreboard
from xpermafrost.training import TrainingConfig, fit
from xpermafrost.windows import WindowSpec

SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False}
FAST = ["climatology", "persistence"]
TEST = (np.datetime64("2007-01-01"), np.datetime64("2008-12-01"))


@dataclass
class Made:
    """A predictor whose answers are the truth plus a known error."""

    name: str
    error: np.ndarray
    spec: WindowSpec = dataclasses.field(default_factory=lambda: WindowSpec(features=("tas",)))

    def predict(self, ds):
        return ds["tsl"].astype("float64") - 273.15 + xr.DataArray(self.error, dims=ds["tsl"].dims)


def made(ds, name, scale, seed):
    return Made(name, np.random.default_rng(seed).normal(0.3, scale, ds["tsl"].shape))


def test_metrics_are_those_of_plain_numpy(ds, unchanged):
    one = made(ds, "one", 1.0, 0)
    with unchanged(ds):
        out = score(ds, [one], test=TEST, bootstrap=0).sel(model="one")
    truth = ds["tsl"].values.astype("float64") - 273.15
    late, error = truth[..., 72:], one.error[..., 72:]
    normal = np.stack([truth[..., m:72:12].mean(-1) for m in range(12)], -1)
    climatology = normal[..., np.arange(24) % 12] - late
    last = truth[..., 71:95] - late
    for suffix, axes in (("", 2), ("_layer", (0, 2)), ("_pooled", (0, 1, 2))):
        mse = (error**2).mean(axes)
        spread = ((late - late.mean(axes, keepdims=True)) ** 2).mean(axes)
        expected = {
            "rmse": np.sqrt(mse),
            "mae": abs(error).mean(axes),
            "bias": error.mean(axes),
            "r2": 1 - mse / spread,
            "anomaly_skill": 1 - mse / (climatology**2).mean(axes),
            "rmse_reduction": 1 - np.sqrt(mse / (last**2).mean(axes)),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(out[name + suffix], value, rtol=1e-6, err_msg=name + suffix)
    assert (out["n"] == 24).all()
    assert out["rmse"].attrs["units"] == "K"
    assert "no mean of scores" in out.attrs["averaging"]
    assert out.attrs["test_period"] == "2007-01 to 2008-12"


def test_all_are_scored_over_the_months_that_all_have(ds):
    one, two = made(ds, "one", 1.0, 0), made(ds, "two", 1.0, 1)
    alone = score(ds, [one], test=TEST, bootstrap=0)
    two.error[1, 2, 80:] = np.nan
    ds["tsl"][0, 0, 90] = np.nan
    both = score(ds, [one, two], test=TEST, bootstrap=0)
    assert both["n"].isel(band=1, layer=2).item() == 8
    assert both["n"].isel(band=0, layer=0).item() == 23
    here = one.error[1, 2, 72:80]
    np.testing.assert_allclose(
        both["rmse"].sel(model="one").isel(band=1, layer=2), np.sqrt((here**2).mean())
    )
    np.testing.assert_allclose(
        both["rmse"].sel(model="one").isel(band=2), alone["rmse"].sel(model="one").isel(band=2)
    )


def test_no_common_month(ds):
    one = made(ds, "one", 1.0, 0)
    one.error[..., 72:] = np.nan
    with pytest.raises(DataError, match="no test month where the target and every model"):
        score(ds, [one], test=TEST)


def test_intervals_hold_the_value_and_are_of_whole_years():
    ds = testing.canonical(years=14)
    span = (np.datetime64("2005-01-01"), np.datetime64("2014-12-01"))
    small, large = made(ds, "small", 0.5, 0), made(ds, "large", 1.5, 1)
    out = score(ds, [small, large], test=span, bootstrap=300, seed=1)
    assert (out["rmse_pooled_low"] <= out["rmse_pooled"]).all()
    assert (out["rmse_pooled"] <= out["rmse_pooled_high"]).all()
    assert (out["rmse_difference_low"] <= out["rmse_difference"]).all()
    assert (out["rmse_difference"] <= out["rmse_difference_high"]).all()
    better = {"model": "small", "baseline": "large"}
    assert float(out["rmse_difference_high"].sel(better)) < 0  # it beats it
    np.testing.assert_allclose(
        out["rmse_difference"].sel(better),
        out["rmse_pooled"].sel(model="small") - out["rmse_pooled"].sel(model="large"),
    )
    assert float(out["rmse_difference"].sel(model="small", baseline="small")) == 0
    assert "10 whole years" in out["rmse_pooled_low"].attrs["comment"]
    again = score(ds, [small, large], test=span, bootstrap=300, seed=1)
    xr.testing.assert_identical(again, out)


def test_equal_models_are_not_told_apart():
    ds = testing.canonical(years=14)
    span = (np.datetime64("2005-01-01"), np.datetime64("2014-12-01"))
    out = score(ds, [made(ds, "a", 1.0, 0), made(ds, "b", 1.0, 1)], test=span, bootstrap=300)
    pair = {"model": "a", "baseline": "b"}
    assert (
        float(out["rmse_difference_low"].sel(pair))
        < 0
        < float(out["rmse_difference_high"].sel(pair))
    )


def test_the_interval_resamples_blocks_not_months():
    """Errors alike within a year: intervals of single months would be far too narrow."""
    ds = testing.canonical(years=14)
    span = (np.datetime64("2005-01-01"), np.datetime64("2014-12-01"))
    of_year = np.random.default_rng(0).uniform(0.2, 3.0, 14)
    error = np.broadcast_to(np.repeat(of_year, 12), ds["tsl"].shape).copy()
    out = score(ds, [Made("m", error)], test=span, bootstrap=500)
    width = float((out["rmse_pooled_high"] - out["rmse_pooled_low"]).item())
    assert width > 0.3


def test_models_of_one_name_are_numbered(ds):
    out = score(ds, [made(ds, "m", 1, 0), made(ds, "m", 1, 1)], test=TEST, bootstrap=0)
    assert out["model"].values.tolist() == ["m_0", "m_1"]


def test_networks_stand_beside_every_baseline(ds, quick, unchanged):
    with unchanged(ds):
        out = evaluate(ds, ["gru"], config=quick, length=6, features=("tas", "month_cos"), jobs=1)
    assert out["model"].values.tolist() == ["gru", *BASELINES]
    assert len(BASELINES) >= 6
    assert out.attrs["training_period"] == "2001-01 to 2006-12"
    assert out.attrs["test_period"] == "2007-01 to 2008-12"
    assert out.attrs["window"] == "6 months, horizon 0"
    np.testing.assert_allclose(out["anomaly_skill_pooled"].sel(model="climatology"), 0, atol=1e-5)
    np.testing.assert_allclose(out["rmse_reduction_pooled"].sel(model="persistence"), 0, atol=1e-5)


def test_a_fitted_model_is_scored_as_it_is(ds, gru):
    out = evaluate(ds, gru, baselines=FAST, bootstrap=0)
    error = gru.predict(ds).values[..., 72:] - (ds["tsl"].values[..., 72:] - 273.15)
    np.testing.assert_allclose(
        out["rmse_pooled"].sel(model="gru"), np.sqrt((error**2).mean()), rtol=1e-4
    )


def test_the_training_years_of_a_fitted_model_are_those_of_the_baselines(ds, quick):
    early = fit(ds, "gru", train=("2001", "2004"), config=quick, **SMALL)
    out = evaluate(ds, early, baselines=FAST, bootstrap=0)
    assert out.attrs["training_period"] == "2001-01 to 2004-12"
    assert out.attrs["test_period"] == "2005-01 to 2008-12"
    assert (out["n"] == 48).all()


def test_no_test_month_is_thrown_away(ds, gru):
    assert (evaluate(ds, gru, baselines=[], bootstrap=0)["n"] == 24).all()


def test_ruined_test_years_change_no_fit(ds, quick, gru):
    """What is fitted inside evaluate sees the training years only."""
    out = evaluate(ds, ["gru"], baselines=[], config=quick, bootstrap=0, jobs=1)
    full = fit(ds, "gru", config=quick, jobs=1, progress=False)
    same = evaluate(ds, full, baselines=[], bootstrap=0)
    xr.testing.assert_equal(out["rmse"], same["rmse"])


@pytest.mark.parametrize("test", [("2006", "2008"), ("2001", "2003"), ("2006-12", "2007")])
def test_test_years_that_overlap_training_are_refused(ds, test):
    with pytest.raises(LeakageError, match="overlap the training months 2001-01 to 2006-12"):
        evaluate(ds, [], baselines=FAST, test=test)


def test_random_splits_are_refused(ds):
    with pytest.raises(LeakageError, match="random split"):
        evaluate(ds, [], baselines=FAST, train="random")
    with pytest.raises(LeakageError, match="random split"):
        evaluate(ds, [], baselines=FAST, test="random")


def test_a_model_trained_on_everything_is_refused(ds, quick):
    greedy = fit(ds, "gru", train="all", config=quick, **SMALL)
    with pytest.raises(DataError, match="no test month: training ends 2008-12"):
        evaluate(ds, greedy, baselines=FAST)
    with pytest.raises(LeakageError, match=r"'gru' was trained on 2001-01 to 2008-12"):
        evaluate(ds, greedy, baselines=FAST, train=("2001", "2006"))
    with pytest.raises(LeakageError):
        evaluate(ds, greedy, baselines=FAST, test=("2007", "2008"))


def test_horizons_are_never_mixed(ds, gru, quick):
    forecast = fit(ds, "gru", horizon=1, config=quick, **SMALL)
    for options in ({"models": [gru, forecast]}, {"models": gru, "horizon": 1}):
        with pytest.raises(DataError, match="horizon 0 and 1 are never mixed in one score"):
            evaluate(ds, **options, baselines=FAST)
    out = evaluate(ds, [forecast, "gru"], baselines=["ridge"], config=quick, bootstrap=0, jobs=1)
    assert out.attrs["window"] == "24 months, horizon 1"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"models": "gur"}, UnknownNameError, "unknown model 'gur'; did you mean 'gru'"),
        ({"models": [], "baselines": ["rigde"]}, UnknownNameError, "did you mean 'ridge'"),
        ({"protocol": "rahman"}, UnknownNameError, "did you mean 'rahaman'"),
        ({"models": [], "baselines": []}, DataError, "nothing to evaluate"),
        ({"models": ["gru"], "features": ["snw"]}, DataError, r"features \['snw'\] are not in"),
        ({"models": [], "test": ("2050", "2060")}, DataError, "no test month"),
    ],
)
def test_requests_that_cannot_be_met(ds, options, kind, message):
    with pytest.raises(kind, match=message):
        evaluate(ds, **options)


def test_the_first_studys_protocol(monkeypatch, unchanged):
    """2001-2018 against 2019-2023, horizon 1, its features; what the data lack is reported."""
    plan = PROTOCOLS["rahaman"]
    assert (plan.length, plan.horizon, plan.adjustment) == (24, 1, "eqm")
    assert plan.config.epochs == 50
    assert len(plan.models) == 5
    short = dataclasses.replace(plan, config=TrainingConfig(epochs=1, batch_size=512))
    monkeypatch.setitem(evaluation.PROTOCOLS, "rahaman", short)
    ds = testing.canonical(years=23, locations=("only",))
    with unchanged(ds):
        out = evaluate(ds, protocol="rahaman", baselines=["climatology"], bootstrap=20, jobs=1)
    assert out["model"].values.tolist() == [*plan.models, "climatology"]
    assert out.attrs["training_period"] == "2001-01 to 2018-12"
    assert out.attrs["test_period"] == "2019-01 to 2023-12"
    assert out.attrs["window"] == "24 months, horizon 1"
    missing = out.attrs["features_not_in_the_data"].split(", ")
    assert {"hfls", "mrsol", "lithology", "soc"} <= set(missing)
    assert "tas" not in missing
    assert "year" in out.attrs["features"]
    assert "scenario_signal:rahaman" in out.attrs["features"]


def test_changes_stand_beside_the_scores(world, world_gru):
    out = evaluate(world, world_gru, baselines=["climatology"], changes="all", bootstrap=0)
    assert out["change"].dims[:2] == ("model", "scenario")
    assert out["change"].isnull().all()  # these scenarios end in 2017
    table = scoreboard(out)
    assert table.index.tolist() == ["gru", "climatology"]


def test_the_table_for_people(ds, gru):
    scores = evaluate(ds, gru, baselines=FAST, bootstrap=50)
    table = scoreboard(scores)
    assert table.index.tolist() == ["gru", *FAST]
    assert {"RMSE", "95 %", "R2", "bias", "skill", "RMSE 0.04 m"} <= set(table.columns)
    np.testing.assert_allclose(table["RMSE"], scores["rmse_pooled"])
    np.testing.assert_allclose(table["RMSE 0.64 m"], scores["rmse_layer"].isel(layer=2))


def test_stations_and_grids(quick):
    stations = testing.canonical(years=6, dim="station")
    out = evaluate(stations, [], baselines=FAST, bootstrap=0)
    assert out["rmse"].dims == ("model", "station", "layer")
    grid = testing.canonical(years=6, locations=list("abcd")).drop_vars("band")
    grid = grid.coarsen(band=2).construct(band=("lat", "lon"))
    grid = grid.assign_coords(lat=[60.0, 61.0], lon=[1.0, 2.0])
    out = evaluate(grid, ["gru"], baselines="all", length=6, features=["tas"], config=quick, jobs=1)
    assert set(out["rmse"].dims) == {"model", "lat", "lon", "layer"}
    assert out["rmse"].notnull().all()
