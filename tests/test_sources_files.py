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
from xpermafrost.errors import DataError, SourceError, UnitsError
from xpermafrost.sources import identify, standardize
from xpermafrost.sources._cmip_files import open_cmip
from xpermafrost.sources._open import open_dataset, open_raw

DATA = Path(__file__).parents[2] / "shared" / "data"


def path(name):
    if not (DATA / name).exists():
        pytest.skip(f"needs {DATA / name}, which is not part of the package")
    return DATA / name


def load(name, **options):
    # the engine named: without it xarray imports every package that it might read with
    with xr.open_dataset(path(name), engine="netcdf4", **options) as ds:
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
    with xr.open_dataset(name, engine="netcdf4", chunks={}) as raw:
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


# every file, opened without options: what it gives, or the documented error

IPSL = "cmip/tas_mon_IPSL-CM6A-LR_{}_r1i1p1f1_lat45-90.nc"
ACCESS = "cmip/{}_Amon_ACCESS-ESM1-5_{}_r1i1p1f1_gn_{}.nc"

#: File: canonical variables, and for each the mean to be found (of its canonical units) as
#: read independently: (raw name, factor, offset).
READ = {
    IPSL.format("historical"): {"tas": ("tas", 1, 0)},
    IPSL.format("ssp126"): {"tas": ("tas", 1, 0)},
    IPSL.format("ssp585"): {"tas": ("tas", 1, 0)},
    ACCESS.format("tas", "historical", "200001-201412"): {"tas": ("tas", 1, 0)},
    ACCESS.format("ts", "historical", "200001-201412"): {"ts": ("ts", 1, 0)},
    ACCESS.format("pr", "historical", "200001-201412"): {"pr": ("pr", 1, 0)},
    ACCESS.format("tas", "ssp126", "201501-202512"): {"tas": ("tas", 1, 0)},
    "cmip/sftlf_fx_ACCESS-ESM1-5_historical_r1i1p1f1_gn.nc": {"sftlf": ("sftlf", 1, 0)},
    "era5/era5_cds_healy_1980s.nc": {
        "tas": ("t2m", 1, 0),
        "snw": ("sd", 1000, 0),
        "snow_density": ("rsn", 1, 0),
    },
    "era5/era5_cds_healy_2010s.nc": {
        "tas": ("t2m", 1, 0),
        "snw": ("sd", 1000, 0),
        "snow_density": ("rsn", 1, 0),
    },
    "stations/yakutia_monthly.nc": {
        "tas": ("tas", 1, 273.15),
        "tsl": ("tsl", 1, 273.15),
        "snd": ("snd", 0.01, 0),
    },
}

#: Where a mean of the file has to lie: places and periods are known.
SENSIBLE = {
    "tas": (255.0, 290.0),
    "ts": (255.0, 290.0),
    "pr": (1e-6, 5e-5),
    "sftlf": (20.0, 45.0),
    "snw": (20.0, 200.0),
    "snd": (0.05, 0.4),
    "snow_density": (100.0, 400.0),
    "tsl": (265.0, 285.0),
}

REFUSED = {
    "cmip/nwt_communities_cmip5.nc": (SourceError, r"nothing .* is recognised.*'tas_gcm'"),
    "era5/era5_daily_canadian_cities_1990-1993.nc": (SourceError, "'rlds' should be"),
    "static/alaska_soil_hwsd_0p05.nc": (SourceError, "nothing .* is recognised.*'T_OC'"),
    "stations/gipl_site_soil_daily.txt": (DataError, "row of column names; its first line"),
    "stations/gipl_site_air_daily.txt": (DataError, "row of column names; .*'757'"),
    "stations/gipl_site_snow_daily.txt": (DataError, "row of column names; .*'757'"),
    "era5/era5land_highlat_points_monthly.csv": (SourceError, r"\['LAI_high', .*columns=\{"),
    "era5/era5_caribou_poker_monthly.csv": (SourceError, r"'air_temperature_celsius'.*columns="),
    **{
        f"cmip/gfdl_esm2g_alaska_bands_rcp{rcp}.csv": (
            SourceError,
            r"units are never guessed.*'tas': \('temperature_2m', '<units>'\)",
        )
        for rcp in (26, 45, 60, 85)
    },
}

#: Tables that open without options; their own tests are below.
BOREHOLES = ("stations/gtnp2026-multi.csv", "stations/gtnp_arctic_village_hourly.csv")


def test_every_file_has_its_expectation():
    path("README.md")
    here = {p.relative_to(DATA).as_posix() for p in DATA.rglob("*.*")}
    here = {name for name in here if name.endswith((".nc", ".csv", ".txt"))}
    assert here == {*READ, *REFUSED, *BOREHOLES}


@pytest.mark.parametrize("name", list(READ))
def test_a_file_is_read_without_options(name):
    out = open_dataset(path(name))
    for canonical, (raw_name, factor, offset) in READ[name].items():
        check_units(out[canonical])
        check_range(out[canonical])
        values = _raw(path(name), raw_name) * factor + offset
        assert float(out[canonical].mean()) == pytest.approx(np.nanmean(values), rel=1e-5)
        assert np.isfinite(out[canonical]).sum() == np.isfinite(values).sum()
        low, high = SENSIBLE[canonical]
        assert low < float(out[canonical].mean()) < high


def _raw(file, name):
    """Values as stored, by another reader."""
    import netCDF4

    with netCDF4.Dataset(file) as nc:
        return np.ma.filled(nc[name][:].astype("float64"), np.nan)


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_file_is_refused_with_its_message(name):
    error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        open_dataset(path(name))


def test_yakutia_precipitation_of_the_month():
    name = path("stations/yakutia_monthly.nc")
    out = open_dataset(name)
    days = out["time"].dt.days_in_month
    found = (out["pr"] * days * 86400).mean()
    assert float(found) == pytest.approx(np.nanmean(_raw(name, "pr")), rel=1e-5)


# tables with a column map

GFDL = {
    "tas": ("temperature_2m", "K"),
    "ts": ("skin_temperature", "K"),
    "pr": ("total_precipitation_sum", "kg m-2 s-1"),
    "prsn": ("snowfall_sum", "kg m-2 s-1"),
    "rlds": ("surface_thermal_radiation_downwards_sum", "W m-2"),
    "rsds": ("surface_solar_radiation_downwards_sum", "W m-2"),
    "hfls": ("surface_latent_heat_flux_sum", "W m-2"),
    "hfss": ("surface_sensible_heat_flux_sum", "W m-2"),
    "snd": ("snow_depth", "m"),
    "snw": ("surface_snow_amount", "kg m-2"),
    "mrsol": {(0, 0.1): ("avg_volumetric_water_content", "kg m-2")},
}


@pytest.mark.filterwarnings("ignore::xpermafrost.errors.PermafrostWarning")
@pytest.mark.parametrize("rcp", [26, 45, 60, 85])
def test_gfdl_bands_with_their_true_units(rcp):
    name = path(f"cmip/gfdl_esm2g_alaska_bands_rcp{rcp}.csv")
    out = open_dataset(name, columns=GFDL)
    assert_canonical(out)
    assert out["tas"].dims == ("band", "time")
    assert out["band"].values.tolist() == [f"band_{i}" for i in range(1, 7)]
    assert out.sizes["time"] == 960
    assert out["depth_bnds"].values.tolist() == [[0.0, 0.1]]
    table = pd.read_csv(name)
    for canonical, entry in GFDL.items():
        column = entry[0] if isinstance(entry, tuple) else entry[0, 0.1][0]
        assert float(out[canonical].mean()) == pytest.approx(table[column].mean(), rel=1e-6)
        by_band = table.groupby("band")[column].mean()
        np.testing.assert_allclose(out[canonical].mean("time").squeeze(), by_band, rtol=1e-6)
    warm = out["tas"].mean("time")
    assert (warm.diff("band") < 0).all()


@pytest.mark.parametrize("units", ["m", "mm"])
def test_gfdl_bands_with_units_that_do_not_fit(units):
    name = path("cmip/gfdl_esm2g_alaska_bands_rcp26.csv")
    with pytest.raises(UnitsError, match="needs its period"):
        open_dataset(name, columns={"pr": ("total_precipitation_sum", units)})
    with pytest.raises(SourceError, match="'pr'"):  # as if it were a depth of the month
        open_dataset(name, columns={"pr": ("total_precipitation_sum", f"{units} month-1")})


def test_era5land_points():
    name = path("era5/era5land_highlat_points_monthly.csv")
    first, second = (0, 0.07), (0.07, 0.28)
    out = open_dataset(
        name,
        columns={
            "tas": ("Tair", "K"),
            "pr": ("Precip", "m day-1"),
            "tsl": {first: ("Tsoil_lev1", "K"), second: ("Tsoil_lev2", "K")},
            "mrsol": {first: ("VWC_lev1", "m3 m-3"), second: ("VWC_lev2", "m3 m-3")},
        },
    )
    assert_canonical(out)
    assert out["tsl"].dims == ("station", "layer", "time")
    table = pd.read_csv(name)
    assert int(out["tas"].notnull().sum()) == len(table)
    one = table[table["Latitude"].between(62, 62.5) & table["Longitude"].between(129, 130)]
    assert len(one) >= 12
    for (lat, lon), rows in one.groupby(["Latitude", "Longitude"]):
        here = out.where((out["lat"] == lat) & (out["lon"] == lon), drop=True).squeeze("station")
        here = here.sel(time=pd.DatetimeIndex(rows["time"]))
        np.testing.assert_allclose(here["tas"], rows["Tair"])
        np.testing.assert_allclose(here["pr"], rows["Precip"] * 1000 / 86400)
        np.testing.assert_allclose(here["tsl"].isel(layer=1), rows["Tsoil_lev2"])
        np.testing.assert_allclose(here["mrsol"].isel(layer=1), rows["VWC_lev2"] * 1000 * 0.21)


def test_era5_at_caribou_poker():
    name = path("era5/era5_caribou_poker_monthly.csv")
    out = open_dataset(
        name,
        columns={
            "tas": ("air_temperature_celsius", "degC"),
            "pr": ("precipitation_mm", "mm month-1"),
            "rsds": ("shortwave_radiation_wm2", "W m-2"),
        },
    )
    assert_canonical(out)
    assert out["station"].values.tolist() == ["era5_caribou_poker_monthly"]
    table = pd.read_csv(name)
    assert float(out["tas"].mean()) - 273.15 == pytest.approx(-3.51, abs=0.01)
    days = pd.to_datetime(table["time"]).dt.days_in_month.to_numpy()
    expected = table["precipitation_mm"].to_numpy() / days / 86400
    np.testing.assert_allclose(out["pr"][0], expected)
    year = (out["pr"] * 86400 * out["time"].dt.days_in_month).groupby("time.year").sum()
    assert 200 < float(year.sel(year=slice(1951, 2024)).mean()) < 900  # mm a year


# boreholes


def test_gtnp_2026():
    out = open_dataset(path("stations/gtnp2026-multi.csv"))
    assert_canonical(out)
    assert out["tsl"].dims == ("station", "layer", "time")
    assert out["station"].values.tolist() == ["2113", "2005", "2018"]
    table = pd.read_csv(path("stations/gtnp2026-multi.csv"), parse_dates=["date"])
    one = table[(table["dataset_id"] == 2113) & (table["depth"] == 0.5)]
    month = one.groupby(one["date"].dt.to_period("M"))["temperature"].agg(["mean", "size"])
    whole = month[month["size"] == month.index.days_in_month]
    assert len(whole) > 20
    found = out["tsl"].sel(station="2113").isel(layer=out["depth"].values.tolist().index(0.5))
    found = found.sel(time=whole.index.to_timestamp())
    np.testing.assert_allclose(found - 273.15, whole["mean"], atol=1e-9)


def test_gtnp_2026_daily():
    out = open_dataset(path("stations/gtnp2026-multi.csv"), step="day")
    table = pd.read_csv(path("stations/gtnp2026-multi.csv"))
    # every reading of this file is a day's: none is lost, none is made
    assert int(out["tsl"].notnull().sum()) == len(table)
    assert float(out["tsl"].mean()) - 273.15 == pytest.approx(table["temperature"].mean())


def test_gtnp_arctic_village():
    name = path("stations/gtnp_arctic_village_hourly.csv")
    out = open_dataset(name)
    assert_canonical(out)
    assert out["depth"].values.tolist() == [0, 0.5, 1, 2, 3, 4, 5]
    table = pd.read_csv(name, na_values=[-999.0], parse_dates=[0], index_col=0)
    days = table.resample("D").mean()
    september = days.loc["2007-09"].mean()
    np.testing.assert_allclose(
        out["tsl"].sel(time="2007-09").squeeze() - 273.15,
        september.where(days.loc["2007-09"].notna().sum() > 19),
        atol=0.02,
    )
    # no value where fewer than 20 days were read, whatever the depth
    read = days.notna().resample("MS").sum()
    assert np.isnan(out["tsl"].squeeze("station").T.values[(read < 18).values]).all()
    assert float(out["tsl"].min()) > 240  # no -999 came through


# sets of CMIP files


def test_sets_of_real_cmip_files():
    folder = path("cmip/sftlf_fx_ACCESS-ESM1-5_historical_r1i1p1f1_gn.nc").parent
    runs = open_cmip(str(folder / "*_ACCESS-ESM1-5_*.nc"))
    assert list(runs) == ["historical", "ssp126"]
    assert set(runs["historical"].data_vars) == {"tas", "ts", "pr", "sftlf"}
    assert set(runs["ssp126"].data_vars) == {"tas", "sftlf"}
    single = open_dataset(folder / ACCESS.format("pr", "historical", "200001-201412")[5:])
    np.testing.assert_array_equal(runs["historical"]["pr"], single["pr"])
    with pytest.raises(SourceError, match=r"\['ACCESS-ESM1-5', 'IPSL-CM6A-LR'\]"):
        open_cmip([folder / name for name in _netcdf(folder) if "nwt" not in name])


def _netcdf(folder):
    return sorted(p.name for p in folder.glob("*.nc"))


def test_history_and_scenario_of_ipsl_joined():
    folder = path(IPSL.format("historical")).parent
    runs = open_cmip(str(folder / "tas_mon_IPSL-*.nc"), historical="joined", chunks={})
    assert list(runs) == ["ssp126", "ssp585"]
    for name, ds in runs.items():
        assert ds.sizes["time"] == 251 * 12
        assert ds["tas"].chunks is not None
        past = load(IPSL.format("historical"))["tas"].mean().item()
        future = load(IPSL.format(name))["tas"].mean().item()
        expected = (past * 165 + future * 86) / 251
        assert float(ds["tas"].mean()) == pytest.approx(expected, rel=1e-6)


def test_communities_after_renaming():
    """This file has two time axes, which no canonical Dataset has; one at a time is read."""
    raw = open_raw(path("cmip/nwt_communities_cmip5.nc"))
    ds = raw[["tas_gcm", "pr_gcm"]].rename(tas_gcm="tas", pr_gcm="pr", time_gcm="time")
    assert_canonical(standardize(ds))
