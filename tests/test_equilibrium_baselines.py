"""TTOP and the energy balance as predictors."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost._equilibrium_baselines import (
    ALBEDO,
    ALBEDO_SNOW,
    EXCHANGE,
    STEFAN_BOLTZMANN,
    surface_of_balance,
)
from xpermafrost.baselines import NEEDS, fit_baseline
from xpermafrost.errors import MissingVariableError
from xpermafrost.evaluation import evaluate

TRAIN = ("2001", "2006")


def running(da):
    return da.rolling(time=12).mean()


def with_means(annual):
    """Monthly series whose means of twelve months are ``annual``."""
    mean = annual.transpose(..., "time").values
    out = np.repeat(mean[..., 11:12], mean.shape[-1], axis=-1)
    for t in range(12, mean.shape[-1]):
        out[..., t] = 12 * (mean[..., t] - mean[..., t - 1]) + out[..., t - 12]
    return annual.transpose(..., "time").copy(data=out)


def test_the_n_factors_of_a_ttop_world_are_found(ds):
    air = ds["tas"].astype("float64") - 273.15
    annual = 0.9 * running(air.clip(min=0)) + 0.4 * running(air.clip(max=0))
    soil = with_means(annual)
    np.testing.assert_allclose(running(soil)[:, 12:], annual[:, 12:], atol=1e-9)
    soil = (soil + 273.15).expand_dims(layer=ds["layer"], axis=1)
    world = ds.assign(tsl=soil.assign_attrs(units="K"))
    fitted = fit_baseline("ttop", world, train=TRAIN)
    np.testing.assert_allclose(fitted.state["numbers"].isel(driver=0), 0.9, atol=1e-6)
    np.testing.assert_allclose(fitted.state["numbers"].isel(driver=1), 0.4, atol=1e-6)


def test_the_balance_balances(ds):
    t = surface_of_balance(ds)
    hidden = ds["snd"] / (ds["snd"] + 0.05)
    albedo = ALBEDO + (ALBEDO_SNOW - ALBEDO) * hidden
    gained = (1 - albedo) * ds["rsds"] + ds["rlds"]
    given = STEFAN_BOLTZMANN * t**4 + EXCHANGE * (t - ds["tas"])
    np.testing.assert_allclose(given, gained, rtol=1e-6)
    assert bool((surface_of_balance(ds.assign(snd=ds["snd"] + 1.0)) < t).all())


@pytest.mark.parametrize("name", ["ttop", "energy_balance"])
def test_they_follow_the_protocol(ds, name):
    fitted = fit_baseline(name, ds, train=TRAIN)
    out = fitted.predict(ds)
    assert out.dims == ("band", "layer", "time")
    assert bool(out.isel(time=slice(12, None)).notnull().all())
    assert fitted.spec.features == NEEDS[name](ds)
    later = ds["time.year"] > 2006
    spoilt = ds.assign(tsl=ds["tsl"].where(~later, 300.0).assign_attrs(ds["tsl"].attrs))
    again = fit_baseline(name, spoilt, train=TRAIN)
    xr.testing.assert_identical(again.state["numbers"], fitted.state["numbers"])
    # warmer air moves it, by less than the air itself
    warm = ds.assign({v: (ds[v] + 2.0).assign_attrs(ds[v].attrs) for v in ("tas",)})
    moved = (fitted.predict(warm) - out).isel(time=-1)
    assert bool((moved > 0.0).all())
    assert float(moved.max()) < 4.0
    part = fitted.predict(ds.sel(band=["north", "south"]))
    np.testing.assert_allclose(part, out.sel(band=["north", "south"]), atol=1e-5)
    dry = ds.drop_vars("tas")
    with pytest.raises(MissingVariableError, match=r"baseline.*'tas'"):
        fit_baseline(name, dry, train=TRAIN)


def test_all_leaves_out_what_cannot_be_driven_and_says_so(ds):
    scores = evaluate(ds.drop_vars("rlds"), [], train=TRAIN, bootstrap=0, features=["tas"])
    assert "ttop" in scores["model"].values
    assert "energy_balance" not in scores["model"].values
    assert "energy_balance (variables that it needs" in scores.attrs["baselines_left_out"]
    ahead = evaluate(ds, [], train=TRAIN, bootstrap=0, horizon=1)
    assert not set(NEEDS) & set(ahead["model"].values)
    assert "horizon 1 does not" in ahead.attrs["baselines_left_out"]
