"""Learning from one's own answers: what stays, what drifts, what is stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from xpermafrost.baselines import fit_baseline
from xpermafrost.errors import DataError, ScenarioError
from xpermafrost.projection import project
from xpermafrost.recursive import project_recursive

QUICK = {"rcp": "8.5", "steps": 2}


def test_one_shot_is_the_projection(world, world_gru, unchanged):
    weights = [{n: t.clone() for n, t in net.state_dict().items()} for net in world_gru.nets]
    with unchanged(world):
        out = project_recursive(world, world_gru, **QUICK)
    plain = project(world, world_gru, rcp="8.5").drop_vars("outside_training_range")
    assert out["one_shot"].dims == plain.dims
    np.testing.assert_allclose(out["one_shot"], plain, atol=1e-4)
    assert out["soil_temperature"].attrs["units"] == "degree_Celsius"
    assert out["year"].values.tolist() == list(range(2009, 2018))
    for net, before in zip(world_gru.nets, weights, strict=True):  # the model is not touched
        assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert "project_recursive(model=gru" in out.attrs["history"]


def test_the_first_year_is_that_of_the_projection(world, world_gru):
    """Nothing has been learned before it."""
    out = project_recursive(world, world_gru, **QUICK).isel(scenario=0)
    first = {"time": "2009"}
    np.testing.assert_array_equal(out["soil_temperature"].sel(first), out["one_shot"].sel(first))
    assert float(out["departure"][0]) == 0.0
    assert float(out["departure"][-1]) > 0.0  # afterwards the weights have moved
    assert out["retrained"].all()
    assert out.attrs["retraining_stopped"] == "never"


def test_the_departure_is_that_of_annual_means(world, world_gru):
    out = project_recursive(world, world_gru, **QUICK).isel(scenario=0)
    apart = out["soil_temperature"] - out["one_shot"]
    annual = abs(apart.groupby("time.year").mean()).max(("band", "layer"))
    np.testing.assert_allclose(out["departure"], annual, atol=1e-4)


def test_a_drift_is_stopped_and_taken_back(world, world_gru):
    wild = {"rcp": "8.5", "steps": 30, "learning_rate": 0.05, "guard": 0.3}
    out = project_recursive(world, world_gru, **wild).isel(scenario=0)
    stopped = out.attrs["retraining_stopped"]
    year = int(stopped.removeprefix("rcp85: "))
    assert not out["retrained"].sel(year=slice(year, None)).any()
    assert out["retrained"].sel(year=slice(None, year - 1)).all()
    assert float(out["departure"].sel(year=year)) > 0.3
    if year == 2010:  # the first retraining is taken back: the projection in one go is left
        np.testing.assert_allclose(out["soil_temperature"], out["one_shot"], atol=1e-5)
    free = project_recursive(world, world_gru, **{**wild, "guard": 1e6}).isel(scenario=0)
    assert float(free["departure"].max()) > 0.3
    assert free.attrs["retraining_stopped"] == "never"


def test_the_future_soil_and_the_test_years_are_not_read(world, world_gru):
    """The model was trained to 2006; later soil, and a climate model's own, change nothing."""
    before = project_recursive(world, world_gru, **QUICK)
    soil = world["tsl"].copy()
    soil.loc[{"time": slice("2007", None)}] += 20.0
    world["tsl"], world["tsl_esm"] = soil, world["tsl_esm"] * 1.1
    after = project_recursive(world, world_gru, **QUICK)
    xr.testing.assert_equal(after, before)


def test_the_same_seed_gives_the_same_bits(world, world_gru):
    one, two, three = (
        project_recursive(world, world_gru, seed=seed, **QUICK) for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(one, two)
    assert float(abs(one["soil_temperature"] - three["soil_temperature"]).max()) > 0


def test_gaps_and_places_in_another_order(world, world_gru):
    straight = project_recursive(world, world_gru, **QUICK)
    turned = project_recursive(world.isel(band=[2, 0, 1]), world_gru, **QUICK)
    same = turned["one_shot"].sel(band=straight["band"])
    np.testing.assert_allclose(same, straight["one_shot"], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"steps": 0}, DataError, "steps must be positive; got 0"),
        ({"guard": -1.0}, DataError, "guard must be positive"),
        ({"rcp": "4.5"}, ScenarioError, "rcp45"),
    ],
)
def test_requests_that_cannot_be_met(world, world_gru, options, kind, message):
    with pytest.raises(kind, match=message):
        project_recursive(world, world_gru, **{**QUICK, **options})


def test_only_networks_can_be_retrained(world):
    with pytest.raises(DataError, match=r"needs a network of months.*got 'trend'"):
        project_recursive(world, fit_baseline("trend", world), **QUICK)
