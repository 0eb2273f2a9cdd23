"""Calibration finds planted numbers, looks at training times only, and repeats itself."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost.errors import DataError, UnitsError, UnknownNameError
from xpermafrost.physics.calibration import PARAMETERS, Parameter, calibrate, with_parameters
from xpermafrost.physics.forcing import Surface
from xpermafrost.physics.profile import profile
from xpermafrost.physics.simulation import SpinUp, simulate_soil

POINTS = [(0.1, 0.1), (0.5, 0.5), (1.5, 1.5)]
TRAIN = ("2001", "2004")
PLANTED = {"organic_thickness": [0.08, 0.3], "snow_conductivity_factor": [0.6, 1.8]}
SETTLED = SpinUp(cycles=25, tolerance=0.05)


@pytest.fixture(scope="module")
def forcing():
    rng = np.random.default_rng(5)
    time = xr.date_range("2001-01-01", periods=72, freq="MS")
    season = -18 * np.cos(2 * np.pi * (np.arange(72) - 0.5) / 12)
    tas = 273.15 + season + np.array([[-7.0], [-1.0]]) + rng.normal(0, 2, (2, 72))
    ds = xr.Dataset(
        {"tas": (("station", "time"), tas, {"units": "K"})},
        coords={"time": time, "station": ["cold", "warm"]},
    )
    ds["snd"] = xr.where(ds["tas"] < 271, 0.3, 0.0).assign_attrs(units="m")
    return ds


@pytest.fixture(scope="module")
def target(forcing):
    """What a soil with the planted numbers would show."""
    numbers = xr.Dataset({n: ("station", v) for n, v in PLANTED.items()})
    numbers = numbers.assign_coords(station=forcing["station"])
    soil, surface = with_parameters("tundra", None, numbers)
    out = simulate_soil(forcing, soil, surface=surface, layers=POINTS, spin_up=SETTLED)["tsl"]
    return out.assign_coords(depth_top=("layer", [p[0] for p in POINTS]))


@pytest.fixture(scope="module")
def found(forcing, target):
    return calibrate(forcing, target, train=TRAIN, parameters=tuple(PLANTED), candidates=32)


def test_planted_numbers_are_found(found):
    for name, values in PLANTED.items():
        np.testing.assert_allclose(found.parameters[name], values, rtol=0.1)
    assert bool((found.report["rmse"] < 0.1).all())
    assert bool((found.report["rmse"] < found.report["rmse_candidates"]).all())
    assert bool((found.report["rmse_candidates"] < found.report["rmse_before"]).all())
    assert found.report["n"].values.tolist() == [[48] * 3] * 2
    assert found.parameters["organic_thickness"].attrs["units"] == "m"


def test_times_after_training_are_foretold(found, forcing, target):
    out = simulate_soil(forcing, found.soil, surface=found.surface, layers=POINTS)["tsl"]
    error = (out - target).sel(time=slice("2005", None))
    assert float(np.abs(error).max()) < 0.5


def test_nothing_after_training_is_looked_at(found, forcing, target):
    later = target["time"] > np.datetime64("2004-12-31")
    other = calibrate(
        forcing,
        target.where(~later, 400.0),
        train=TRAIN,
        parameters=tuple(PLANTED),
        candidates=32,
    )
    xr.testing.assert_identical(other.parameters, found.parameters)


def test_the_seed_decides(forcing, target):
    options = {"train": TRAIN, "parameters": tuple(PLANTED), "candidates": 8, "evaluations": 0}
    one, same, other = (
        calibrate(forcing, target, seed=seed, **options).parameters for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(one, same)
    assert not one.identical(other)


def test_places_do_not_know_of_each_other(found, forcing, target):
    cold = {"station": ["cold"]}
    alone = calibrate(
        forcing.sel(cold),
        target.sel(cold),
        train=TRAIN,
        parameters=tuple(PLANTED),
        candidates=32,
    )
    for name in PLANTED:
        np.testing.assert_allclose(alone.parameters[name], found.parameters[name][:1], rtol=0.05)


def test_no_dim_and_a_place_without_data(forcing, target):
    options = {"parameters": ("organic_thickness",), "candidates": 4, "evaluations": 0}
    one = calibrate(forcing.isel(station=0), target.isel(station=0), **options)
    assert one.parameters["organic_thickness"].dims == ()
    bare = target.where(target["station"] == "cold")
    both = calibrate(forcing, bare, **options)
    assert both.parameters["organic_thickness"].isnull().values.tolist() == [False, True]
    assert both.report["n"].sum("layer").values.tolist() == [216, 0]
    out = simulate_soil(forcing, both.soil, surface=both.surface)["tsl"]
    assert out.isnull().all(("layer", "time")).values.tolist() == [False, True]


def test_daily_targets_with_gaps(forcing, target):
    daily = forcing.resample(time="1D").interpolate().isel(time=slice(730))
    daily = daily.assign({n: daily[n].assign_attrs(forcing[n].attrs) for n in daily})
    soil = profile("tundra").adjust(organic_thickness=0.3)
    truth = simulate_soil(daily, soil, layers=POINTS, average="step", spin_up=SETTLED)["tsl"]
    truth = truth.isel(time=slice(100, None, 3))
    truth[0, 1, 5:50] = np.nan
    found = calibrate(daily, truth, parameters=("organic_thickness",), candidates=8, evaluations=6)
    np.testing.assert_allclose(found.parameters["organic_thickness"], 0.3, rtol=0.1)
    assert found.report["n"].values[0].tolist() == [210, 165, 210]


def test_own_bounds_are_kept(forcing, target):
    bounds = {"organic_thickness": Parameter(low=0.1, high=0.12, scale="log", units="m")}
    found = calibrate(forcing, target, parameters=bounds, candidates=4, evaluations=3)
    numbers = found.parameters["organic_thickness"]
    assert bool(((numbers >= 0.1) & (numbers <= 0.12)).all())


def test_default_parameters_are_those_that_act(forcing, target):
    options = {"candidates": 2, "evaluations": 0, "train": ("2001", "2001")}
    bare = calibrate(forcing, target, soil="mineral", **options)
    assert set(bare.parameters) == {
        "mineral_saturation",
        "conductivity_factor",
        "snow_conductivity_factor",
    }
    sunny = forcing.assign(rsds=(0 * forcing["tas"] + 100.0).assign_attrs(units="W m-2"))
    assert set(calibrate(sunny, target, **options).parameters) == set(PARAMETERS)


def test_arguments_are_not_written_to(forcing, target, unchanged):
    with unchanged(forcing, target):
        calibrate(forcing, target, candidates=2, evaluations=0, train=("2001", "2001"))


def test_what_cannot_be_fitted_is_refused(forcing, target):
    with pytest.raises(UnknownNameError, match="did you mean 'organic_thickness'"):
        calibrate(forcing, target, parameters=("organic_thicknes",))
    with pytest.raises(DataError, match=r"found none within \('2031', '2032'\)"):
        calibrate(forcing, target, train=("2031", "2032"))
    with pytest.raises(UnitsError, match="degC"):
        calibrate(forcing, (target - 273.15).assign_attrs(units="degC"))
    with pytest.raises(DataError, match="low < high"):
        Parameter(low=1.0, high=0.5)
    with pytest.raises(DataError, match="no organic layer"):
        calibrate(forcing, target, soil="mineral", parameters=("organic_thickness",))
    with pytest.raises(DataError, match="must be positive"):
        Surface(snow_conductivity_factor=-1.0)
