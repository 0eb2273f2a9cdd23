"""Consistency after adjustment: identity, each rule, counts, laziness."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpermafrost.consistency import make_consistent
from xpermafrost.errors import UnitsError
from xpermafrost.schema import VARIABLES
from xpermafrost.testing import canonical


def made(**values):
    return xr.Dataset({n: ("time", v, VARIABLES[n].attrs) for n, v in values.items()})


def test_nothing_wrong_is_identity(unchanged):
    ds = canonical(years=3)
    with unchanged(ds):
        out = make_consistent(ds)
    xr.testing.assert_identical(out, ds)


def test_snowfall_is_at_most_precipitation(unchanged):
    ds = made(pr=[2e-5, 1e-5, np.nan, 1e-5], prsn=[3e-5, 1e-5, 5e-6, np.nan])
    with unchanged(ds):
        out = make_consistent(ds)
    np.testing.assert_array_equal(out.prsn, [2e-5, 1e-5, 5e-6, np.nan])
    assert out.prsn.attrs["consistency"].startswith("1 of 4 values above precipitation; mean")
    assert "consistency" not in out.pr.attrs
    assert "make_consistent: prsn: 1 of 4" in out.attrs["history"]


def test_bounds_of_fluxes_and_shares():
    ds = made(rsds=[-1.0, 5.0], snc=[101.0, -2.0], hfss=[-50.0, 3.0], tas=[250.0, 280.0])
    out = make_consistent(ds)
    assert out.rsds.values.tolist() == [0.0, 5.0]
    assert out.snc.values.tolist() == [100.0, 0.0]
    text = "1 of 2 values below 0, 1 of 2 values above the whole; mean change 0.5 %"
    assert out.snc.attrs["consistency"] == text
    xr.testing.assert_identical(out[["hfss", "tas"]].drop_attrs(deep=False), ds[["hfss", "tas"]])


def test_snow_depth_and_mass_vanish_together():
    ds = made(snd=[0.0, 0.3, 0.2, np.nan, 0.0], snw=[5.0, 60.0, 0.0, 0.0, np.nan])
    out = make_consistent(ds)
    np.testing.assert_array_equal(out.snd, [0.0, 0.3, 0.0, np.nan, 0.0])
    np.testing.assert_array_equal(out.snw, [0.0, 60.0, 0.0, 0.0, np.nan])
    assert out.snw.attrs["consistency"].startswith("1 of 5 values without snow mass or depth")


@given(hnp.arrays("float32", (2, 12), elements=st.floats(-1, 1, width=32)))
def test_twice_is_once(values):
    ds = made(pr=values[0] * np.float32(1e-4), prsn=values[1] * np.float32(1e-4))
    ds = ds.assign(made(snd=values[0], snw=100 * values[1]))
    once = make_consistent(ds)
    xr.testing.assert_identical(make_consistent(once).drop_attrs(), once.drop_attrs())
    assert bool((once.prsn <= once.pr).all())
    assert bool(((once.snd == 0) == (once.snw == 0)).all())
    assert all(float(da.min()) >= 0 for da in once.data_vars.values())
    assert {da.dtype for da in once.data_vars.values()} == {np.dtype("float32")}


def test_lazy_fields_one_compute():
    ds = made(pr=np.full(10, 1e-5), prsn=np.full(10, 2e-5)).chunk(time=5)
    calls = []

    def scheduler(dsk, keys, **options):
        calls.append(1)
        return dask.get(dsk, keys, **options)

    with dask.config.set(scheduler=scheduler):
        out = make_consistent(ds)
    assert len(calls) == 1
    assert out.prsn.chunks is not None
    np.testing.assert_array_equal(out.prsn, 1e-5)


def test_units_are_checked():
    ds = made(pr=[1.0], prsn=[2.0])
    ds["prsn"].attrs["units"] = "mm"
    with pytest.raises(UnitsError, match="'prsn' has units 'mm'"):
        make_consistent(ds)


def test_method():
    ds = made(pr=[2e-5, 1e-5], prsn=[3e-5, 1e-5])
    xr.testing.assert_identical(ds.permafrost.make_consistent(), make_consistent(ds))
