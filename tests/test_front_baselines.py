"""Stefan's front as a predictor."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost._front_baselines import FACTORS, season_index, shape_of_profile
from xpermafrost.baselines import NEEDS, fit_baseline
from xpermafrost.errors import MissingVariableError, TimeAxisError
from xpermafrost.physics.analytic import stefan_depth
from xpermafrost.schema import layer_bounds
from xpermafrost.testing import daily
from xpermafrost.windows import WindowSpec

TRAIN = ("2001", "2006")
CELSIUS = 273.15


def test_degree_days_count_from_the_turn_of_the_season():
    air = np.array([-3.0, -1.0, 2.0, 4.0, np.nan, 3.0, -2.0, -2.0])
    index = season_index(np.stack([air, air]), np.full(8, 30.0))
    known = [np.nan, np.nan, 30.0, 120.0, np.nan, np.nan, 30.0, 90.0]
    np.testing.assert_array_equal(index, [known, known])
    endless = season_index(np.full(15, 2.0), np.full(15, 30.0))
    assert np.isnan(endless[:12]).all()
    np.testing.assert_array_equal(endless[12:], 60.0 * (np.arange(12, 15) + 0.5))


def test_layers_hold_what_the_profile_holds():
    bounds = np.array([[0.0, 0.07], [0.07, 0.28], [0.28, 1.0], [1.0, 2.89], [0.2, 0.2]])
    fronts = np.array([0.0, 0.05, 0.2, 0.9, 4.0, np.nan])
    shape, below = shape_of_profile(fronts, bounds)
    z = np.linspace(0, 1, 20001)
    for k, front in enumerate(fronts[:-1]):
        for layer, (top, bottom) in enumerate(bounds):
            depth = top + (bottom - top) * z
            line = np.clip(1.0 - depth / max(front, 1e-9), 0.0, None)
            assert shape[k, layer] == pytest.approx(line.mean(), abs=1e-4)
            assert below[k, layer] == pytest.approx((depth >= front).mean(), abs=1e-4)
    assert np.isnan(shape[-1]).all()
    assert np.isnan(below[-1]).all()


def stefan_world(ds, n, e):
    """Soil that follows Stefan: the front of ``stefan_depth``, a line above it, its mean below."""
    air = ds["tas"].astype("float64") - CELSIUS
    index = season_index(air.values, ds["time"].dt.days_in_month.values.astype(float))
    thaw = air.values > 0
    conductivity, latent = 1.2, 1.5e8
    own = np.sqrt(2 * conductivity * 86400.0 / latent)  # e of these numbers
    degree_days = (np.where(thaw, *e) / own) ** 2 * index
    front = stefan_depth(degree_days, conductivity=conductivity, latent_heat=latent)
    shape, rest = shape_of_profile(front, layer_bounds(ds))
    line = (np.where(thaw, *n) * air.values)[..., None] * shape
    training = (ds["time"] <= np.datetime64("2006-12-31")).values
    mean = np.zeros((*air.shape[:-1], 1, shape.shape[-1]))
    for _ in range(200):  # the mean of a soil that holds it below its front
        soil = line + rest * mean
        mean = np.nanmean(soil[..., training, :], axis=-2, keepdims=True)
    return ds.assign(tsl=ds["tsl"].copy(data=np.swapaxes(soil, 1, 2) + CELSIUS)), front


def test_the_numbers_of_a_stefan_world_are_found(ds):
    n, e = (0.9, 0.4), FACTORS[[50, 40]]
    world, front = stefan_world(ds, n, e)
    assert 0.3 < np.nanmax(front) < 3.0
    fitted = fit_baseline("stefan", world, train=TRAIN)
    numbers = fitted.state["numbers"]
    np.testing.assert_allclose(numbers.sel(number="n_factor"), np.tile(n, (3, 1)), rtol=1e-4)
    np.testing.assert_allclose(numbers.sel(number="edaphic_factor"), np.tile(e, (3, 1)), rtol=1e-6)
    test = {"time": slice("2007", None)}  # years that it has not seen
    np.testing.assert_allclose(
        fitted.predict(world).sel(test) + CELSIUS, world["tsl"].sel(test), atol=1e-3
    )


def test_it_follows_the_protocol(ds):
    before = ds.copy(deep=True)
    fitted = fit_baseline("stefan", ds, train=TRAIN)
    out = fitted.predict(ds)
    xr.testing.assert_identical(ds, before)
    assert out.dims == ("band", "layer", "time")
    assert bool(out.isel(time=slice(12, None)).notnull().all())
    assert fitted.spec.features == NEEDS["stefan"](ds) == ("tas",)
    later = ds["time.year"] > 2006
    spoilt = ds.assign(tsl=ds["tsl"].where(~later, 300.0).assign_attrs(ds["tsl"].attrs))
    again = fit_baseline("stefan", spoilt, train=TRAIN)
    for name in ("numbers", "mean", "departure"):
        xr.testing.assert_identical(again.state[name], fitted.state[name])
    part = fitted.predict(ds.sel(band=["north", "south"]))
    np.testing.assert_allclose(part, out.sel(band=["north", "south"]), atol=1e-5)
    turned = fitted.predict(ds.transpose("time", "layer", "band", ...))
    np.testing.assert_allclose(turned.transpose(*out.dims), out, atol=1e-5)


def test_a_warmer_summer_thaws_deeper(ds):
    fitted = fit_baseline("stefan", ds, train=TRAIN)
    warm = ds.assign(tas=(ds["tas"] + 2.0).assign_attrs(ds["tas"].attrs))
    moved = (fitted.predict(warm) - fitted.predict(ds)).sel(time=slice("2003", None))
    assert bool((moved.isel(layer=0).mean("time") > 0.5).all())
    assert bool((moved.mean("time") >= 0.0).all())
    assert float(moved.mean("time").max()) < 4.0


def test_what_it_cannot_do_is_said(ds):
    with pytest.raises(MissingVariableError, match=r"Stefan baseline.*'tas'"):
        fit_baseline("stefan", ds.drop_vars("tas"), train=TRAIN)
    days = daily(years=3)
    spec = WindowSpec(length=1, features=("tas",), step="day")
    with pytest.raises(TimeAxisError, match="Stefan"):
        fit_baseline("stefan", days, train=("2001", "2002"), spec=spec)
