"""Sources: real files. They are not part of the package; tests skip where they are absent."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import schema
from xpermafrost._checks import check_range, check_units
from xpermafrost.errors import SourceError
from xpermafrost.sources import identify, standardize

DATA = Path(__file__).parents[2] / "shared" / "data"


def path(name):
    if not (DATA / name).exists():
        pytest.skip(f"needs {DATA / name}, which is not part of the package")
    return DATA / name


def load(name, **options):
    with xr.open_dataset(path(name), **options) as ds:
        return ds.load()


def assert_canonical(ds):
    for name in ds.data_vars:
        if name in schema.VARIABLES:
            check_units(ds[name])
            check_range(ds[name])
    assert ds["time"].dtype == "datetime64[ns]"
    assert (ds["time"].dt.day == 1).all()


def test_yakutia_stations():
    raw = load("stations/yakutia_monthly.nc")
    out = standardize(raw)
    assert_canonical(out)
    assert out["tsl"].dims == ("station", "time", "layer")
    assert out["depth"].values.tolist() == [0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2]
    np.testing.assert_array_equal(out["depth_bnds"][:, 0], out["depth_bnds"][:, 1])
    assert {"lat", "lon"} <= set(out.coords)
    # millimetres of each month come back from the flux
    days = raw["time"].dt.days_in_month
    np.testing.assert_allclose(out["pr"] * days * 86400, raw["pr"], rtol=1e-5)
    np.testing.assert_array_equal(out["tsl"].isnull(), raw["tsl"].isnull())
    xr.testing.assert_identical(standardize(out), out)


@pytest.mark.parametrize("decade", ["1980s", "2010s"])
def test_cds_file_with_integer_date_and_expver(decade):
    raw = load(f"era5/era5_cds_healy_{decade}.nc")
    out = standardize(raw)
    assert_canonical(out)
    assert set(out.data_vars) == {"tas", "snw", "snow_density"}
    assert out.sizes["time"] == 120
    assert set(out.coords) == {"time", "lat", "lon"}
    assert out["lat"].to_index().is_monotonic_increasing
    np.testing.assert_allclose(
        out["snw"].sortby("lat", ascending=False).values, raw["sd"].values * 1000, rtol=1e-6
    )
    assert set(identify(raw)["by"]) == {"GRIB_paramId"}
    xr.testing.assert_identical(standardize(out), out)


@pytest.mark.parametrize("run", ["historical", "ssp126", "ssp585"])
def test_ipsl_cm6a_lr(run):
    raw = load(f"cmip/tas_mon_IPSL-CM6A-LR_{run}_r1i1p1f1_lat45-90.nc")
    out = standardize(raw)
    assert_canonical(out)
    assert out["lon"].values[0] == -180
    assert out["lon"].to_index().is_monotonic_increasing
    first = {"historical": "1850-01", "ssp126": "2015-01", "ssp585": "2015-01"}[run]
    assert str(out["time"].values[0])[:7] == first
    np.testing.assert_allclose(
        out["tas"].sel(lon=-18).transpose(..., "lat").values,
        raw["tas"].sel(lon=342).transpose(..., "lat").values,
    )


@pytest.mark.parametrize("name", ["pr", "tas", "ts"])
def test_access_esm(name):
    raw = load(f"cmip/{name}_Amon_ACCESS-ESM1-5_historical_r1i1p1f1_gn_200001-201412.nc")
    out = standardize(raw)
    assert_canonical(out)
    assert out.sizes["time"] == 180
    # bounds move with their longitudes
    middle = out["lon_bnds"].mean("bnds")
    np.testing.assert_allclose(middle, out["lon"], atol=1e-9)
    assert out[name].attrs == raw[name].attrs


def test_access_land_share_has_no_time():
    out = standardize(load("cmip/sftlf_fx_ACCESS-ESM1-5_historical_r1i1p1f1_gn.nc"))
    assert "time" not in out.dims
    assert out["lon"].values.min() == -180


def test_lazy_files_stay_lazy():
    name = path("cmip/tas_mon_IPSL-CM6A-LR_historical_r1i1p1f1_lat45-90.nc")
    with xr.open_dataset(name, chunks={}) as raw:
        lazy = standardize(raw)
        assert lazy["tas"].chunks is not None
        xr.testing.assert_identical(lazy["tas"].compute(), standardize(raw.load())["tas"])


def gfdl():
    table = pd.read_csv(path("cmip/gfdl_esm2g_alaska_bands_rcp26.csv"), index_col=0)
    table["time"] = pd.to_datetime(table["time"])
    return table.set_index(["time", "band"]).to_xarray()


@pytest.mark.parametrize("source", [None, "earthengine", "era5-land", "era5", "cmip"])
def test_names_that_lie_are_not_converted(source):
    with pytest.raises(SourceError):
        standardize(gfdl(), source=source)


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("total_precipitation_sum", "kg m-2 s-1"),
        ("surface_thermal_radiation_downwards_sum", "W m-2"),
        ("surface_solar_radiation_downwards_sum", "W m-2"),
        ("surface_latent_heat_flux_sum", "W m-2"),
        ("surface_sensible_heat_flux_sum", "W m-2"),
        ("snowfall_sum", "kg m-2 s-1"),
    ],
)
def test_names_that_lie_about_their_units(name, units):
    ds = gfdl()[[name]]
    with pytest.raises(SourceError, match="has no units"):
        standardize(ds)
    ds[name].attrs["units"] = units
    with pytest.raises(SourceError, match=r"disagree.*ds\.rename"):
        standardize(ds, source="earthengine")
    if name == "snowfall_sum":
        return  # a month without snow is no contradiction: values alone do not tell
    ds[name].attrs["units"] = "m" if "precipitation" in name else "J m-2"
    with pytest.raises(SourceError, match=r"plausible|after conversion"):
        standardize(ds)


def test_daily_file_with_contradicting_attribute():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = load("era5/era5_daily_canadian_cities_1990-1993.nc")
    with pytest.raises(SourceError, match="'rlds' should be"):
        standardize(raw)


def test_cmip5_communities_month_totals():
    raw = load("cmip/nwt_communities_cmip5.nc")
    ds = raw[["tas_gcm", "pr_gcm"]].rename(tas_gcm="tas", pr_gcm="pr", time_gcm="time")
    out = standardize(ds)
    assert_canonical(out)
    assert {"model", "rcp", "location"} <= set(out["tas"].dims)
