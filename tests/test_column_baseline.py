"""The calibrated soil column under the protocol of the baselines."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost import testing
from xpermafrost._column_baseline import column_forcing
from xpermafrost.baselines import fit_baseline
from xpermafrost.errors import MissingVariableError
from xpermafrost.physics.calibration import with_parameters
from xpermafrost.physics.simulation import SpinUp, simulate_soil


@pytest.fixture(scope="module")
def world():
    """Air and snow of the made-up Datasets, soil of a column whose numbers are known."""
    ds = testing.canonical(years=8, locations=["cold", "warm"])[["tas", "snd", "tsl"]]
    ds = ds.assign(tas=(ds["tas"] - [[2.0], [0.0]] * 1).assign_attrs(ds["tas"].attrs))
    numbers = xr.Dataset(
        {
            "organic_thickness": ("band", [0.25, 0.06]),
            "snow_conductivity_factor": ("band", [0.7, 1.6]),
        }
    )
    soil, surface = with_parameters("tundra", None, numbers)
    run = simulate_soil(
        ds[["tas", "snd"]], soil, surface=surface, spin_up=SpinUp(years=8, cycles=12)
    )
    tsl = run["tsl"].transpose("band", "layer", "time").assign_attrs(ds["tsl"].attrs)
    return ds.assign(tsl=tsl)


@pytest.fixture(scope="module")
def column(world):
    return fit_baseline("column", world, train=("2001", "2006"))


def rmse(prediction, ds):
    error = (prediction - (ds["tsl"] - 273.15)).sel(time=slice("2007", None))
    return float(np.sqrt((error**2).mean()))


def test_it_finds_a_soil_like_its_own(world, column):
    """Far ahead of the climatology on years that it has not seen, where the truth is a column."""
    out = column.predict(world)
    assert out.dims == ("band", "layer", "time")
    assert out.attrs["units"] == "degree_Celsius"
    climatology = fit_baseline("climatology", world, train=("2001", "2006")).predict(world)
    assert rmse(out, world) < 0.35 * rmse(climatology, world)


def test_it_looks_at_no_month_after_training(world, column):
    later = world["time.year"] > 2006
    spoilt = world.assign(
        tsl=world["tsl"].where(~later, world["tsl"] + 9.0).assign_attrs(world["tsl"].attrs)
    )
    other = fit_baseline("column", spoilt, train=("2001", "2006"))
    for mine, theirs in zip(other.state["parameters"], column.state["parameters"], strict=True):
        xr.testing.assert_identical(mine, theirs)


def test_it_reads_its_own_variables(world, column):
    assert column.spec.features == ("tas", "snd")
    assert column_forcing(testing.canonical(years=1)) == ("tas", "rsds", "snd")
    with pytest.raises(MissingVariableError, match="'ts' or 'tas', and snow: 'snd' or 'snw'"):
        column_forcing(world.drop_vars("snd"))


def test_gaps_of_the_forcing_are_filled_from_training(world, column):
    hole = world["time"] == world["time"][80]
    holed = world.assign(tas=world["tas"].where(~hole).assign_attrs(world["tas"].attrs))
    out = column.predict(holed)
    assert bool(out.notnull().all())
    before = {"time": slice(0, 79)}
    # the spin-up repeats the first years, the filled month among them
    np.testing.assert_allclose(out.isel(before), column.predict(world).isel(before), atol=0.15)


def test_places_are_found_by_label(world, column):
    whole = column.predict(world)
    part = column.predict(world.sel(band=["warm"]))
    np.testing.assert_allclose(part, whole.sel(band=["warm"]), atol=0.01)
