"""Kudryavtsev's permafrost table as a predictor."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost._wave_baseline import HEAT_CAPACITY, NUMBERS, _model, last_year, wave_profile
from xpermafrost.baselines import NEEDS, fit_baseline
from xpermafrost.errors import MissingVariableError, TimeAxisError
from xpermafrost.physics.analytic import YEAR_SECONDS, kudryavtsev
from xpermafrost.schema import layer_bounds
from xpermafrost.testing import daily
from xpermafrost.windows import WindowSpec

TRAIN = ("2001", "2006")
CELSIUS = 273.15
SOIL = np.array([1.0, 1.8, 1.3e8])


def steady(mean, amplitude, steps=360, late=0.0):
    """Angles of a year and a harmonic surface that is the same at all of them."""
    angle = 2 * np.pi * np.arange(steps) / steps
    one = np.ones(steps)
    return angle, (mean * one, amplitude * np.cos(late) * one, amplitude * np.sin(late) * one)


def test_the_last_year_is_known_after_a_year_without_gaps():
    angle = 2 * np.pi * (np.arange(40) + 0.5) / 12
    values = -4.0 + 12.0 * np.cos(angle - 3.3)
    values[25] = np.nan
    mean, cosine, sine = last_year(values, angle)
    known = np.isfinite(mean)
    np.testing.assert_array_equal(np.flatnonzero(known), [*range(11, 25), *range(37, 40)])
    np.testing.assert_allclose(mean[known], -4.0)
    np.testing.assert_allclose(np.hypot(cosine, sine)[known], 12.0)
    np.testing.assert_allclose(np.arctan2(sine, cosine)[known] % (2 * np.pi), 3.3)
    assert np.isnan(last_year(values[:5], angle[:5])[0]).all()


@pytest.mark.parametrize(("mean", "amplitude"), [(-6.0, 15.0), (-2.0, 10.0), (5.0, 14.0)])
def test_the_front_is_where_the_wave_touches_freezing(mean, amplitude):
    capacities = {
        f"heat_capacity_{n}": c for n, c in zip(("thawed", "frozen"), HEAT_CAPACITY, strict=True)
    }
    front, table = kudryavtsev(
        *(mean, amplitude),
        conductivity_thawed=SOIL[0],
        conductivity_frozen=SOIL[1],
        latent_heat=SOIL[2],
        **capacities,
    )
    angle, harmonic = steady(mean, amplitude, late=0.4)
    depth = np.array([0.0, float(front), 40.0])
    surface, at_front, deep = wave_profile(depth, angle, harmonic, SOIL).T
    np.testing.assert_allclose(surface, mean + amplitude * np.cos(angle - 0.4), atol=1e-9)
    assert at_front.mean() == pytest.approx(float(table), abs=1e-9)
    touching = at_front.max() if table < 0 else at_front.min()
    assert touching == pytest.approx(0.0, abs=0.01)
    np.testing.assert_allclose(deep, table, atol=0.01)


def test_ground_that_never_thaws_is_a_wave_of_conduction():
    angle, harmonic = steady(-20.0, 12.0)
    depth = np.array([0.5, 2.0])
    found = wave_profile(depth, angle, harmonic, SOIL)
    length = np.sqrt(SOIL[1] * YEAR_SECONDS / (np.pi * HEAT_CAPACITY[1]))
    z = depth / length
    expected = -20.0 + 12.0 * np.exp(-z) * np.cos(angle[:, None] - z)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_kudryavtsev_world_is_fitted_and_foretold(ds):
    numbers = np.array([0.8, 0.5, 0.7, 1.3, 0.9e8])
    angle = 2 * np.pi * (ds["time"].dt.month.values - 0.5) / 12
    air = ds["tas"].values.astype("float64") - CELSIUS
    soil = np.stack([_model(numbers, a, angle, layer_bounds(ds)).T for a in air])
    world = ds.assign(tsl=ds["tsl"].copy(data=soil + CELSIUS))
    fitted = fit_baseline("kudryavtsev", world, train=TRAIN)
    found = fitted.state["numbers"]
    for name in ("n_thaw", "n_frost"):
        expected = numbers[list(NUMBERS).index(name)]
        np.testing.assert_allclose(found.sel(number=name), expected, rtol=0.02)
    gap = fitted.predict(world) + CELSIUS - world["tsl"]
    assert float(np.abs(gap.sel(time=slice("2007", None))).max()) < 0.1


def test_it_follows_the_protocol(ds):
    before = ds.copy(deep=True)
    fitted = fit_baseline("kudryavtsev", ds, train=TRAIN)
    out = fitted.predict(ds)
    xr.testing.assert_identical(ds, before)
    assert out.dims == ("band", "layer", "time")
    assert bool(out.isel(time=slice(11, None)).notnull().all())
    assert bool(out.isel(time=slice(None, 11)).isnull().all())
    assert fitted.spec.features == NEEDS["kudryavtsev"](ds) == ("tas",)
    later = ds["time.year"] > 2006
    spoilt = ds.assign(tsl=ds["tsl"].where(~later, 300.0).assign_attrs(ds["tsl"].attrs))
    again = fit_baseline("kudryavtsev", spoilt, train=TRAIN)
    for name in ("numbers", "departure"):
        xr.testing.assert_identical(again.state[name], fitted.state[name])
    warm = ds.assign(tas=(ds["tas"] + 2.0).assign_attrs(ds["tas"].attrs))
    moved = (fitted.predict(warm) - out).mean("time")
    assert bool((moved > 0.2).all())
    assert float(moved.max()) < 4.0
    part = fitted.predict(ds.sel(band=["north", "south"]).transpose("time", ...))
    np.testing.assert_allclose(part, out.sel(band=["north", "south"]), atol=1e-5)


def test_what_it_cannot_do_is_said(ds):
    with pytest.raises(MissingVariableError, match=r"Kudryavtsev baseline.*'tas'"):
        fit_baseline("kudryavtsev", ds.drop_vars("tas"), train=TRAIN)
    spec = WindowSpec(length=1, features=("tas",), step="day")
    with pytest.raises(TimeAxisError, match="Kudryavtsev"):
        fit_baseline("kudryavtsev", daily(years=3), train=("2001", "2002"), spec=spec)


def test_places_without_soil_are_missing_not_zero(ds):
    holed = ds.assign(tsl=ds["tsl"].where(ds["band"] != "middle").assign_attrs(ds["tsl"].attrs))
    for name in ("stefan", "kudryavtsev"):
        out = fit_baseline(name, holed, train=TRAIN).predict(ds)
        assert bool(out.sel(band="middle").isnull().all())
        assert bool(out.sel(band="north").isel(time=slice(12, None)).notnull().all())
