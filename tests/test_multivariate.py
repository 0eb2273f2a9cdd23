"""Multivariate adjustment: the values of the univariate one, the dependence of the reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import bias
from xpermafrost.errors import DataError, MissingVariableError
from xpermafrost.multivariate import adjust_multivariate
from xpermafrost.schema import VARIABLES

NAMES = ["tas", "rlds"]


def linked(rho, *, years, start="1991", seed=0, shift=0.0, bands="ab"):
    """Two variables whose anomalies correlate by ``rho``."""
    time = pd.date_range(start, periods=12 * years, freq="MS", name="time")
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, len(bands), time.size))
    season = np.cos(2 * np.pi * (time.month.to_numpy() - 7) / 12)
    fields = {
        "tas": 265 + shift + 14 * season + 2 * a,
        "rlds": 250 + 50 * season + 8 * (rho * a + np.sqrt(1 - rho**2) * b),
    }
    return xr.Dataset(
        {n: (("band", "time"), v, VARIABLES[n].attrs) for n, v in fields.items()},
        {"band": list(bands), "time": time},
    )


def correlation(ds):
    months = ds.groupby("time.month")
    rest = (months - months.mean("time")).drop_vars("month")
    return float(xr.corr(rest.tas, rest.rlds, "time").mean())


@pytest.fixture(scope="module")
def case():
    era = linked(0.9, years=25, seed=1)
    esm = linked(0.0, years=25, seed=2, shift=2.0)
    low = linked(0.0, years=60, seed=3, shift=2.0)
    warm = low.assign(tas=(low.tas + 4.0).assign_attrs(low.tas.attrs))
    sim = xr.concat([low, warm], pd.Index(["rcp26", "rcp85"], name="scenario"))
    for name in NAMES:
        sim[name].attrs = VARIABLES[name].attrs
    return era, esm, sim, adjust_multivariate(era, esm, sim, n_iter=10, seed=7)


def test_dependence_of_the_reference_with_the_values_of_the_univariate(case):
    era, esm, sim, out = case
    alone = bias.adjust(bias.train(era, esm), sim)
    assert correlation(era) > 0.85
    assert abs(correlation(alone.isel(scenario=0))) < 0.1
    assert correlation(out.isel(scenario=0)) > 0.5
    assert correlation(out.isel(scenario=1)) > 0.5
    for name in NAMES:
        assert out[name].dims == sim[name].dims
        xr.testing.assert_identical(out[name].coords.to_dataset(), sim[name].coords.to_dataset())
        # the same values in each month of each block of 25 years, in another order
        for years in (slice("1991", "2015"), slice("2016", "2040"), slice("2041", "2050")):
            for month in (1, 8):
                parts = [
                    ds[name]
                    .sel(time=years)
                    .isel(time=slice(month - 1, None, 12))
                    .transpose(..., "time")
                    for ds in (out, alone)
                ]
                assert not np.array_equal(*parts)
                np.testing.assert_array_equal(np.sort(parts[0]), np.sort(parts[1]))
    change = out.tas.sel(scenario="rcp85") - out.tas.sel(scenario="rcp26")
    assert float(change.mean()) == pytest.approx(4.0, abs=1e-6)
    assert out.tas.attrs["bias_adjustment"] == "qdm, reordered by mbcn"
    assert "adjust_multivariate(n_iter=10, seed=7)" in out.tas.attrs["history"]


def test_same_seed_same_bits_and_missing_places(case, unchanged):
    era, esm, sim, _ = case
    hole = sim.isel(scenario=0, drop=True)
    hole = hole.where((hole.band != "b") | (hole.time != hole.time[30]))
    for name in NAMES:
        hole[name].attrs = VARIABLES[name].attrs
    options = {"n_iter": 1, "seed": 7}
    with unchanged(era, esm, hole):
        one = adjust_multivariate(era, esm, hole, **options)
    xr.testing.assert_identical(one, adjust_multivariate(era, esm, hole, **options))
    alone = bias.adjust(bias.train(era, esm), hole)
    assert not np.array_equal(one.tas.sel(band="a"), alone.tas.sel(band="a"))
    np.testing.assert_array_equal(one.tas.sel(band="b"), alone.tas.sel(band="b"))


def test_a_variable_that_rests_at_zero(case):
    """No snow in summer: no variance, and no rank."""
    era, esm, sim, _ = case
    snow = {}
    for label, ds in (("era", era), ("esm", esm), ("sim", sim.isel(scenario=0, drop=True))):
        depth = (0.3 - 0.02 * (ds.tas - 255)).clip(0.0).assign_attrs(VARIABLES["snd"].attrs)
        snow[label] = ds[["tas"]].assign(snd=depth.where(ds.time.dt.month < 6, 0.0))
    out = adjust_multivariate(snow["era"], snow["esm"], snow["sim"], n_iter=2)
    assert out.snd.notnull().all()
    assert float(out.snd.where(out.time.dt.month > 5).max()) == 0.0


def test_errors(case):
    era, esm, sim, _ = case
    with pytest.raises(DataError, match=r"at least two variables; found \['tas'\]"):
        adjust_multivariate(era, esm, sim, variables=["tas"])
    with pytest.raises(MissingVariableError, match=r"adjust_multivariate \(sim\)"):
        adjust_multivariate(era, esm, sim[["tas"]])
    with pytest.raises(DataError, match="whole years, January to December; sim"):
        adjust_multivariate(era, esm, sim.isel(time=slice(1, None)))
    with pytest.raises(DataError, match=r"as the training \(25\); sim has 20"):
        adjust_multivariate(era, esm, sim.isel(time=slice(0, 240)))
    with pytest.raises(DataError, match="reference has 10 years, the historical 20"):
        adjust_multivariate(
            era,
            esm,
            sim,
            reference_period=("1991", "2000"),
            historical_period=("1991", "2010"),
        )
