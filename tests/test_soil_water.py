"""Soil water of a column to layers: mass, pores, profile."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.depth import remap_layers
from xpermafrost.errors import DataError, MissingVariableError, UnitsError
from xpermafrost.schema import layer_coords
from xpermafrost.soil_water import split_soil_water

TIME = pd.date_range("2001", periods=48, freq="MS", name="time")
MASS = {"units": "kg m-2"}
EDGES = (0.0, 0.07, 0.28, 1.0, 2.89)


@pytest.fixture
def era():
    rng = np.random.default_rng(0)
    thickness = np.diff(EDGES)
    season = 1 + 0.3 * np.cos(2 * np.pi * (TIME.month.to_numpy() - 5) / 12)
    content = np.array([0.25, 0.3, 0.35, 0.4]) * 1000 * thickness
    water = content * season[None, :, None] * rng.uniform(0.9, 1.1, (3, 48, 1))
    density = np.broadcast_to([700.0, 1000, 1300, 1400], (3, 4))
    carbon = np.broadcast_to([150.0, 60, 20, 5], (3, 4))
    return xr.Dataset(
        {
            "mrsol": (("band", "time", "layer"), water, MASS),
            "bulk_density": (("band", "layer"), density, {"units": "kg m-3"}),
            "soc": (("band", "layer"), carbon, {"units": "g kg-1"}),
        },
        {"time": TIME, "band": list("abc"), **layer_coords(EDGES)},
    )


def column(era, factor=1.0):
    total = (era["mrsol"].sum("layer") * factor).assign_attrs(MASS)
    return total.rename("mrso").to_dataset()


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.6, 5.0])
@pytest.mark.parametrize("depth", [None, 6.0])
def test_mass_is_kept_and_pores_hold(era, factor, depth, unchanged):
    esm = column(era, factor)
    with unchanged(era, esm):
        out = split_soil_water(esm, era, column_depth=depth)
    total = out.mrsol.sum("layer") + out.water_left
    np.testing.assert_allclose(total.transpose(*esm.mrso.dims), esm.mrso, rtol=1e-12, atol=1e-10)
    assert float(out.mrsol.min()) >= 0
    assert float(out.water_left.min()) >= 0
    thickness = era.depth_bottom - era.depth_top
    assert bool((out.mrsol <= np.maximum(950 * thickness, era.mrsol.max("time")) + 1e-9).all())
    assert out.mrsol.dims == ("band", "layer", "time")
    lies_below, overflows = depth is not None and factor > 0, factor > 1.5
    assert (float(out.water_left.max()) > 0) == (lies_below or overflows)


def test_the_profile_is_the_references_of_the_month(era):
    out = split_soil_water(column(era, 0.9), era)
    mean = era.mrsol.groupby("time.month").mean().sel(month=7)
    july = out.mrsol.sel(time="2002-07-01")
    np.testing.assert_allclose(july / july.sum("layer"), mean / mean.sum("layer"), rtol=1e-12)
    again = split_soil_water(column(era, 0.9), era)
    xr.testing.assert_identical(out, again)


def test_excess_moves_down_then_up():
    water = np.broadcast_to([[30.0, 30.0]], (48, 2))
    era = xr.Dataset(
        {"mrsol": (("time", "layer"), water, MASS)}, {"time": TIME, **layer_coords((0, 0.1, 0.3))}
    )
    for total, want in ((90.0, [40.0, 50.0]), (118.0, [40.0, 78.0]), (150.0, [40.0, 80.0])):
        esm = xr.Dataset({"mrso": ("time", np.full(48, total), MASS)}, {"time": TIME})
        out = split_soil_water(esm, era, porosity=0.4).isel(time=0)
        np.testing.assert_allclose(out.mrsol, want)
        np.testing.assert_allclose(out.water_left, max(total - 120.0, 0))
    water = np.broadcast_to([[10.0, 70.0]], (48, 2))
    esm = xr.Dataset({"mrso": ("time", np.full(48, 100.0), MASS)}, {"time": TIME})
    out = split_soil_water(esm, era.assign(mrsol=(("time", "layer"), water, MASS)), porosity=0.4)
    np.testing.assert_allclose(out.mrsol.isel(time=0), [20.0, 80.0])


def test_the_upper_water_is_taken_where_it_is_known(era):
    esm = column(era)
    esm["mrsos"] = xr.full_like(esm.mrso, 12.0)
    out = split_soil_water(esm, era)
    upper = remap_layers(out[["mrsol"]], (0, 0.07))
    # 0 to 0.1 m holds 12 kg m-2; the second layer's share above 0.1 m is scaled with the first
    assert float(abs(out.mrsol.sum("layer") - esm.mrso).max()) < 1e-9
    mean = era.mrsol.groupby("time.month").mean()
    top = mean.isel(layer=0) + mean.isel(layer=1) * 0.03 / 0.21
    want = (12.0 * mean.isel(layer=0) / top).sel(month=1)
    january = upper.mrsol.isel(layer=0).sel(time="2001-01-01")
    np.testing.assert_allclose(january, want, rtol=1e-12)
    some = esm.assign(mrsos=esm.mrsos.where(esm.band != "b"))
    both = split_soil_water(some, era)
    plain = split_soil_water(esm.drop_vars("mrsos"), era)
    xr.testing.assert_allclose(both.mrsol.sel(band="b"), plain.mrsol.sel(band="b"))


def test_missing_stays_missing_and_lazy_stays_lazy(era):
    esm = column(era)
    esm["mrso"] = esm.mrso.where((esm.band != "a") | (esm.time != TIME[5])).assign_attrs(MASS)
    lazy = esm.chunk(time=12)

    def refuse(*args, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        out = split_soil_water(lazy, era)
    assert int(out.mrsol.isnull().sum()) == 4
    xr.testing.assert_allclose(out.compute(), split_soil_water(esm, era))


def test_errors(era):
    esm = column(era)
    with pytest.raises(MissingVariableError, match="mrso"):
        split_soil_water(esm.rename(mrso="water"), era)
    with pytest.raises(MissingVariableError, match=r"'bulk_density'\. Type porosity=0\.5"):
        split_soil_water(esm, era.drop_vars("bulk_density"))
    with pytest.raises(UnitsError, match="'mrso' has units 'm'"):
        split_soil_water(esm.assign(mrso=esm.mrso.assign_attrs(units="m")), era)
    with pytest.raises(DataError, match=r"column of 1 m is shallower .* \(2.89 m\)"):
        split_soil_water(esm, era, column_depth=1.0)
    with pytest.raises(DataError, match="without gaps"):
        split_soil_water(esm, era.isel(layer=[0, 2]))
