"""One truth, written the way every source would write it, standardizes to one Dataset.

The writers are small functions from the truth to the layout of a source; they share no code
with the package. Soil, snow and fluxes of the truth are physically consistent, so that no
guard has a reason to speak: every layout is read with warnings as errors, but for those that
the layout is meant to raise.
"""

from __future__ import annotations

import warnings

import cftime
import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import schema
from xpermafrost.errors import PermafrostWarning
from xpermafrost.sources import identify, standardize

MONTHS = pd.date_range("2001-01-01", periods=24, freq="MS")
DAYS = xr.DataArray(MONTHS.days_in_month.to_numpy().astype(float), dims="time")
EDGES = np.array(schema.ERA5LAND_EDGES)
LAT, LON = [62.0, 65.5, 69.0], [-160.0, -150.0, -140.0, 150.0]
FLUXES = ("pr", "prsn", "rlds", "rsds", "hfls", "hfss")
STATES = ("tas", "ts", "snw", "snd", "snc")
ALL = {*FLUXES, *STATES, "tsl", "mrsol"}


def insolation(lat, month):
    """Mean sunlight above the air [W m-2], from declination and day length."""
    tilt = np.deg2rad(-23.44) * np.cos(2 * np.pi * (30.4 * (month - 0.5) + 10) / 365)
    phi = np.deg2rad(lat)
    hour = np.arccos((-np.tan(phi) * np.tan(tilt)).clip(-1, 1))
    return (
        1361
        / np.pi
        * (hour * np.sin(phi) * np.sin(tilt) + np.cos(phi) * np.cos(tilt) * np.sin(hour))
    )


@pytest.fixture(scope="module")
def truth():
    """Two years on a small grid in four ERA5-Land layers."""
    time = xr.DataArray(MONTHS.values.astype("datetime64[ns]"), dims="time")
    lat = xr.DataArray(LAT, dims="lat")
    lon = xr.DataArray(np.sort(LON), dims="lon")
    month, year = time.dt.month, time.dt.year - 2001
    season = np.cos(2 * np.pi * (month - 7) / 12)
    rsds = 0.5 * insolation(lat, month) + 0 * lon
    tas = 264.0 - 0.5 * (lat - 62) + 16 * season + 0.02 * (lon + 160) / 30 + 0.3 * year
    ts = tas - 0.5 + 0.005 * rsds
    pr = (1.2 + 0.6 * season + 0.1 * np.sin(lat + lon) + 0.05 * year) * 1e-5 + 0 * rsds
    prsn = pr * ((276.0 - tas) / 8).clip(0, 1)
    snow = []
    for k in range(24):
        before = snow[-1] if snow else 40 + 0 * prsn.isel(time=0)
        melt = 1.5 * (tas.isel(time=k) - 271.0).clip(0) * 30
        snow.append((before + prsn.isel(time=k) * 86400 * DAYS[k] - melt).clip(0))
    snw = xr.concat(snow, dim="time")
    rlds = 5.67e-8 * 0.78 * tas**4
    bounds = xr.DataArray(EDGES, dims="edge")
    middle = 0.5 * (bounds[1:].values + bounds[:-1].values)
    depth = xr.DataArray(middle, dims="layer")
    lagged = np.cos(2 * np.pi * (month - 7 - 1.2 * depth) / 12)
    fields = {
        "tas": tas,
        "ts": ts,
        "pr": pr,
        "prsn": prsn,
        "rlds": rlds,
        "rsds": rsds,
        "hfls": 0.25 * rsds + 1.0,
        "hfss": 0.2 * rsds - 6.0,
        "tsl": 270.0 - 0.4 * (lat - 62) + 9 * np.exp(-depth) * lagged + 0 * lon,
        "mrsol": (0.3 + 0.02 * season + 0.01 * depth + 0 * lat + 0 * lon)
        * xr.DataArray(1000 * np.diff(EDGES), dims="layer"),
        "snw": snw,
        "snd": snw / 250.0,
        "snc": (snw * 2).clip(0, 100),
    }
    ds = xr.Dataset(
        {n: da.assign_attrs(schema.variable(n).attrs) for n, da in fields.items()},
        coords={"time": time, "lat": lat, "lon": lon, **schema.layer_coords()},
    )
    return ds.transpose("time", "layer", "lat", "lon", "bnds")


# --- building blocks ----------------------------------------------------------------------

CDS = {
    "tas": "t2m",
    "ts": "skt",
    "snd": "sde",
    "snw": "sd",
    "snc": "snowc",
    "pr": "tp",
    "prsn": "sf",
    "rlds": "strd",
    "rsds": "ssrd",
    "hfls": "slhf",
    "hfss": "sshf",
}
LONG = {
    "tas": "2m_temperature",
    "ts": "skin_temperature",
    "snd": "snow_depth",
    "snw": "snow_depth_water_equivalent",
    "snc": "snow_cover",
    "pr": "total_precipitation",
    "prsn": "snowfall",
    "rlds": "surface_thermal_radiation_downwards",
    "rsds": "surface_solar_radiation_downwards",
    "hfls": "surface_latent_heat_flux",
    "hfss": "surface_sensible_heat_flux",
}
IDS = {
    "t2m": 167,
    "skt": 235,
    "sde": 3066,
    "sd": 141,
    "snowc": 260038,
    "tp": 228,
    "sf": 144,
    "strd": 175,
    "ssrd": 169,
    "slhf": 147,
    "sshf": 146,
    **dict(zip(("stl1", "stl2", "stl3", "stl4"), (139, 170, 183, 236), strict=True)),
    **dict(zip(("swvl1", "swvl2", "swvl3", "swvl4"), (39, 40, 41, 42), strict=True)),
}
SHORT = {"t2m": "2t"}


def daily_total(name, flux):
    """Metres of water, or joules, of a mean day; ECMWF counts heat positive down."""
    if name in ("pr", "prsn"):
        return (flux * 86400 / 1000).assign_attrs(units="m")
    return (flux * 86400 * (-1 if name.startswith("hf") else 1)).assign_attrs(units="J m**-2")


def soil(truth, temperature, water):
    """Four variables each of soil temperature [K] and content of water [m3 m-3]."""
    out = {}
    for k, thickness in enumerate(np.diff(EDGES)):
        layer = truth[["tsl", "mrsol"]].isel(layer=k, drop=True)
        layer = layer.drop_vars(["depth", "depth_top", "depth_bottom"], errors="ignore")
        out[temperature.format(k + 1)] = layer["tsl"].drop_attrs().assign_attrs(units="K")
        content = (layer["mrsol"] / (1000 * thickness)).drop_attrs()
        out[water.format(k + 1)] = content.assign_attrs(units="m**3 m**-3")
    return out


def states(truth, names, **units):
    """States under other names: snow as metres of water, cover in % unless asked otherwise."""
    out = {}
    for name, old in names.items():
        if name not in STATES:
            continue
        da, unit = truth[name], {"snd": "m", "snc": "%"}.get(name, "K")
        if name == "snw":
            da, unit = da / 1000, "m of water equivalent"
        out[old] = da.drop_attrs().assign_attrs(units=units.get(name, unit))
    return out


def base(truth, variables):
    """A Dataset without the layers and attributes of the truth, lat descending."""
    ds = xr.Dataset(variables).drop_vars(
        ["layer", "depth", "depth_top", "depth_bottom", "depth_bnds"], errors="ignore"
    )
    return ds.sortby("lat", ascending=False)


def copernicus(truth, names=CDS, totals=daily_total):
    variables = states(truth, names)
    variables |= {names[n]: totals(n, truth[n].drop_attrs()) for n in FLUXES}
    variables |= soil(truth, "stl{}", "swvl{}")
    return base(truth, variables).rename(lat="latitude", lon="longitude")


def with_grib(ds, kind="avgua"):
    """The attributes of cfgrib, with the standard names of ecCodes, right and wrong."""
    said = {
        "stl1": "surface_temperature",
        "sde": "lwe_thickness_of_surface_snow_amount",
        "slhf": "surface_upward_latent_heat_flux",
        "sshf": "surface_upward_sensible_heat_flux",
    }
    for name, da in ds.data_vars.items():
        accumulated = name in ("tp", "sf", "strd", "ssrd", "slhf", "sshf")
        da.attrs |= {
            "GRIB_paramId": IDS[name],
            "GRIB_shortName": SHORT.get(name, name),
            "GRIB_stepType": ("avgad" if accumulated else kind) if kind != "accum" else kind,
            "GRIB_units": da.attrs["units"],
            "standard_name": said.get(name, "unknown"),
        }
    return ds


def along_time(values):
    return xr.DataArray(np.asarray(values), dims="time")


def hours(truth, names, totals, *, running):
    """Two years of hours that average to the truth, to 00 UTC of the day after the last.

    Days vary within a month, hours within a day; the totals of the hour before each stamp are
    summed up since 00 UTC if ``running``.
    """
    stamps = pd.date_range("2001-01-01", "2003-01-01", freq="h")
    before = stamps - pd.Timedelta(hours=1)
    month = along_time((before.year - 2001) * 12 + before.month - 1).clip(0)
    own = along_time((stamps.year - 2001) * 12 + stamps.month - 1).clip(max=23)
    day = along_time((before.day - 0.5) / before.days_in_month)
    hour = along_time(before.hour)
    shape = (1 + 0.4 * np.sin(2 * np.pi * day)) * (1 + 0.9 * np.sin(2 * np.pi * (hour - 9) / 24))
    variables = {}
    for name in FLUXES:
        total = totals(name, truth[name].drop_attrs())
        each = (total.isel(time=month) * shape / 24).assign_coords(time=stamps)
        if running:  # the first stamp closes the day before the first
            each = each.transpose("time", ...)
            per_day = each.values[1:].reshape(-1, 24, *each.shape[1:])
            each.values[1:] = per_day.cumsum(axis=1).reshape(each.shape[0] - 1, *each.shape[1:])
            each.values[0] *= 24
        variables[names[name]] = each.assign_attrs(total.attrs)
    swing = np.sin(2 * np.pi * along_time(stamps.hour) / 24)
    wave = np.sin(2 * np.pi * along_time((stamps.day - 0.5) / stamps.days_in_month))
    for name, da in (states(truth, names) | soil(truth, "stl{}", "swvl{}")).items():
        part = 0.01 if "temp" in name or name in ("t2m", "skt", "stl1") else 0.0
        field = da.isel(time=own) * (1 + part * swing + 2 * part * wave)
        variables[name] = field.assign_coords(time=stamps).assign_attrs(da.attrs)
    return base(truth, variables).rename(lat="latitude", lon="longitude")


def cmip(truth, calendar, *, year0=2001, bounds=True):
    """Mid-month stamps in a model's calendar, 0-360 degrees east, soil along depth."""
    ds = truth.drop_vars(["layer", "depth_top", "depth_bottom"]).swap_dims(layer="depth")
    ds["depth"].attrs |= {"bounds": "depth_bnds"}
    ds = ds.assign_coords(lon=ds["lon"] % 360).sortby("lon")
    edges = [cftime.datetime(year0 + k // 12, k % 12 + 1, 1, calendar=calendar) for k in range(25)]
    if calendar == "proleptic_gregorian":
        edges = pd.DatetimeIndex([str(edge)[:10] for edge in edges]).to_numpy()
    edges = np.array(edges)
    middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    ds = ds.assign_coords(time=("time", middle, {"bounds": "time_bnds"}))
    ds["time_bnds"] = (("time", "bnds"), np.stack([edges[:-1], edges[1:]], axis=1))
    return ds


# --- the layouts --------------------------------------------------------------------------


def cmip6_noleap(truth):
    return cmip(truth, "noleap").assign_attrs(mip_era="CMIP6")


def cmip6_360_day(truth):
    return cmip(truth, "360_day").assign_attrs(mip_era="CMIP6")


def cmip5(truth):
    ds = cmip(truth, "proleptic_gregorian").rename(mrsol="mrlsl")
    ds["mrlsl"].attrs["standard_name"] = "moisture_content_of_soil_layer"
    ds["prsn"].attrs["standard_name"] = "solid_precipitation_flux"
    return ds.assign_attrs(project_id="CMIP5")


def cmip6_daily(truth):
    """Daily means of a noleap model: states and fluxes, noon stamps, no bounds."""
    days = xr.date_range("2001-01-01", "2002-12-31", calendar="noleap", use_cftime=True)
    own = along_time([(d.year - 2001) * 12 + d.month - 1 for d in days])
    wave = along_time([np.sin(2 * np.pi * (d.day - 0.5) / d.daysinmonth) for d in days])
    ds = truth[[*FLUXES, *STATES]]
    ds = ds.isel(time=own).drop_vars("time") * (1 + 0.01 * wave)
    for name in ds.data_vars:
        ds[name].attrs = schema.variable(name).attrs
    noon = xr.date_range("2001-01-01 12:00", "2002-12-31 12:00", calendar="noleap", use_cftime=True)
    ds["snc"] = ds["snc"].clip(0, 100)
    return ds.drop_vars("snc").assign_coords(time=noon)


def cds_new(truth):
    ds = with_grib(copernicus(truth)).rename(time="valid_time")
    return ds.assign_coords(number=0, expver=("valid_time", ["0001"] * 24))


def cds_preliminary(truth):
    ds = cds_new(truth)
    return ds.assign_coords(expver=("valid_time", ["0001"] * 22 + ["0005"] * 2))


def cds_legacy(truth):
    ds = copernicus(truth)
    final = ds.where(ds["time"] < ds["time"][21])
    early = ds.where(ds["time"] >= ds["time"][20]) * 1.0
    for name in ds.data_vars:  # 0001 wins in the month that both have
        early[name][20] = early[name][20] * 1.01
        early[name].attrs = final[name].attrs = ds[name].attrs
    return xr.concat([final, early], dim=xr.DataArray([1, 5], dims="expver", name="expver"))


def cds_integer_date(truth):
    ds = copernicus(truth)
    stamps = [int(t.strftime("%Y%m%d")) for t in MONTHS]
    return ds.rename(time="date").assign_coords(date=("date", stamps, {"units": "1"}))


def cds_long_names(truth):
    ds = copernicus(truth).rename({CDS[n]: LONG[n] for n in CDS})
    levels = {f"stl{k}": f"soil_temperature_level_{k}" for k in range(1, 5)}
    return ds.rename(levels | {f"swvl{k}": f"volumetric_soil_water_layer_{k}" for k in range(1, 5)})


def era5_mean_rates(truth):
    rates = {
        "pr": "avg_tprate",
        "prsn": "avg_tsrwe",
        "rlds": "avg_sdlwrf",
        "rsds": "avg_sdswrf",
        "hfls": "avg_slhtf",
        "hfss": "avg_ishf",
    }

    def rate(name, flux):
        unit = "kg m**-2 s**-1" if name in ("pr", "prsn") else "W m**-2"
        return (flux * (-1 if name.startswith("hf") else 1)).assign_attrs(units=unit)

    names = {n: CDS[n] for n in ("tas", "ts", "snw")} | rates
    return copernicus(truth, names, rate)


def era5_land_hourly(truth):
    return hours(truth, CDS, daily_total, running=True).rename(time="valid_time")


def era5_hourly(truth):
    names = {n: CDS[n] for n in ("tas", "ts", "snw", *FLUXES)}
    return hours(truth, names, daily_total, running=False)


def arco_era5(truth):
    """Long names, 0-360 degrees, a field on pressure levels, and what ARCO-ERA5 says of itself."""
    names = {n: LONG[n] for n in ("tas", "ts", *FLUXES)} | {"snw": "snow_depth"}
    ds = hours(truth, names, daily_total, running=False)
    levels = {f"stl{k}": f"soil_temperature_level_{k}" for k in range(1, 5)}
    levels |= {f"swvl{k}": f"volumetric_soil_water_layer_{k}" for k in range(1, 5)}
    ds = ds.rename(levels).assign_coords(longitude=ds["longitude"] % 360).sortby("longitude")
    ds["temperature"] = ds["2m_temperature"].expand_dims(level=[500, 850], axis=1)
    attrs = {"valid_time_start": "1940-01-01", "valid_time_stop": "2005-12-31"}
    return ds.assign_attrs(**attrs, valid_time_stop_era5t="2006-03-01")


def cfgrib_hourly(truth):
    """Base times at 00 UTC and 24 lead times, a table with empty corners; only GRIB keys tell."""
    ds = with_grib(hours(truth, CDS, daily_total, running=True), "accum")
    stamps = ds["time"].to_index()
    days = (stamps - pd.Timedelta(hours=1)).floor("D")
    index = pd.MultiIndex.from_arrays([days, stamps - days], names=("base", "step"))
    coords = xr.Coordinates.from_pandas_multiindex(index, "time")
    out = ds.drop_vars("time").assign_coords(coords).unstack("time").rename(base="time")
    assert out.sizes["time"] == 731
    assert out.sizes["step"] == 24
    return out.rename({n: f"var{k}" for k, n in enumerate(ds.data_vars)}).assign_coords(surface=0.0)


def cfgrib_monthly(truth):
    ds = with_grib(copernicus(truth))
    return ds.assign_coords(
        step=np.timedelta64(0, "ns"), surface=0.0, number=0, valid_time=ds["time"]
    )


EE = {n: LONG[n] for n in CDS} | {"tas": "temperature_2m"}


def earthengine(truth, suffix="", totals=daily_total):
    ds = copernicus(truth.assign(snc=truth["snc"] / 100), EE, totals)
    ds[EE["snc"]].attrs["units"] = "1"
    ds[EE["snw"]].attrs["units"] = "m"
    ds = ds.rename({EE[n]: EE[n] + suffix for n in FLUXES} if suffix else {})
    levels = {f"stl{k}": f"soil_temperature_level_{k}" for k in range(1, 5)}
    levels |= {f"swvl{k}": f"volumetric_soil_water_layer_{k}" for k in range(1, 5)}
    return ds.rename(levels)


def ee_monthly_aggr(truth):
    def of_the_month(name, flux):
        total = daily_total(name, flux)
        return (total * DAYS).assign_attrs(total.attrs)

    return earthengine(truth, "_sum", of_the_month)


def ee_monthly_deprecated(truth):
    return earthengine(truth).assign_attrs(id="ECMWF/ERA5_LAND/MONTHLY")


def ee_daily_aggr(truth):
    days = pd.date_range("2001-01-01", "2002-12-31", freq="D")
    own = along_time((days.year - 2001) * 12 + days.month - 1)
    wave = np.sin(2 * np.pi * along_time((days.day - 0.5) / days.days_in_month))
    ds = earthengine(truth, "_sum")
    kept = {n: ds[n].attrs for n in ds.data_vars}
    ds = ds.isel(time=own).drop_vars("time")
    ds = ds.map(lambda da: da * (1 + 0.01 * wave) if "snow_cover" not in da.name else da)
    for name, attrs in kept.items():
        ds[name].attrs = attrs
    return ds.assign_coords(time=days).assign_attrs(id="ECMWF/ERA5_LAND/DAILY_AGGR")


def ee_hourly(truth):
    ds = hours(truth, {n: EE[n] for n in ("tas", "ts", *FLUXES)}, daily_total, running=False)
    ds = ds.rename({EE[n]: EE[n] + "_hourly" for n in FLUXES})
    return ds.rename({f"stl{k}": f"soil_temperature_level_{k}" for k in range(1, 5)})


def rotated(truth):
    """Only standard names and long names tell; lat and lon are two-dimensional."""
    ds = truth[["tas", "pr", "rsds", "hfls"]].rename(lat="rlat", lon="rlon")
    lat, lon = xr.broadcast(ds["rlat"], ds["rlon"])
    ds = ds.assign_coords(lat=lat.drop_vars(["rlat", "rlon"]), lon=lon.drop_vars(["rlat", "rlon"]))
    ds = ds.drop_vars(["rlat", "rlon"])
    ds["hfls"] = (-ds["hfls"]).assign_attrs(
        standard_name="surface_downward_latent_heat_flux", units="W m-2"
    )
    ds["tas"].attrs = {"long_name": "2 metre temperature", "units": "K"}
    days = DAYS.assign_coords(time=ds["time"])
    ds["pr"] = (ds["pr"] * 86400 * days).assign_attrs(
        standard_name="precipitation_amount", units="kg m-2", cell_methods="time: sum"
    )
    ds["rotated_pole"] = ((), 0, {"grid_mapping_name": "rotated_latitude_longitude"})
    return ds.rename(tas="T", pr="RR", rsds="SW", hfls="LE")


def stations(truth):
    """Places in a list, degC, cm, mm per month, sensors at points of depth."""
    ds = truth[["tas", "pr", "snd", "tsl"]].stack(station=("lat", "lon"), create_index=False)
    ds["tas"] = (ds["tas"] - 273.15).assign_attrs(units="degC")
    ds["tsl"] = (ds["tsl"] - 273.15).assign_attrs(units="degC")
    ds["pr"] = (ds["pr"] * 86400 * DAYS).assign_attrs(units="mm month-1")
    ds["snd"] = (ds["snd"] * 100).assign_attrs(units="cm")
    centimetres = ds["depth"].values * 100
    ds = ds.drop_vars(["layer", "depth", "depth_top", "depth_bottom"])
    names = [f"s{k:02d}" for k in range(ds.sizes["station"])]
    return ds.rename(layer="depth_cm").assign_coords(depth_cm=centimetres, station=names)


ERA5_VARIABLES = ALL - {"snd", "snc"}
LAYOUTS = {
    # name: (writer, options, variables)
    "CMIP6 noleap": (cmip6_noleap, {}, ALL),
    "CMIP6 360_day": (cmip6_360_day, {}, ALL),
    "CMIP5": (cmip5, {}, ALL),
    "CMIP6 daily noleap": (cmip6_daily, {}, {*FLUXES, *STATES} - {"snc"}),
    "CDS ERA5-Land monthly": (cds_new, {}, ALL),
    "CDS preliminary": (cds_preliminary, {"warns": "2 months are preliminary"}, ALL),
    "CDS legacy expver": (cds_legacy, {"warns": "3 months are preliminary"}, ALL),
    "CDS integer date": (cds_integer_date, {}, ALL),
    "CDS long names": (cds_long_names, {"source": "era5-land"}, ALL),
    "CDS ERA5 mean rates": (era5_mean_rates, {}, ERA5_VARIABLES),
    "CDS ERA5-Land hourly": (era5_land_hourly, {"source": "era5-land"}, ALL),
    "CDS ERA5 hourly": (era5_hourly, {"source": "era5"}, ERA5_VARIABLES),
    "ARCO-ERA5": (arco_era5, {"warns": "leaves out temperature:"}, ERA5_VARIABLES),
    "GRIB with lead times": (cfgrib_hourly, {}, ALL),
    "GRIB monthly": (cfgrib_monthly, {}, ALL),
    "Earth Engine monthly": (ee_monthly_aggr, {"source": "earthengine"}, ALL),
    "Earth Engine deprecated monthly": (ee_monthly_deprecated, {}, ALL),
    "Earth Engine daily": (ee_daily_aggr, {}, ALL),
    "Earth Engine hourly": (
        ee_hourly,
        {},
        {"tas", "ts", *FLUXES, "tsl", "mrsol"},
    ),
    "stations": (stations, {}, {"tas", "pr", "snd", "tsl"}),
    "rotated grid": (rotated, {}, {"tas", "pr", "rsds", "hfls"}),
}


def read(ds, *, warns=None, **options):
    """Standardize; a warning that is not asked for is an error."""
    if warns:
        with pytest.warns(PermafrostWarning, match=warns):
            return standardize(ds, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return standardize(ds, **options)


def assert_is(out, truth, variables, *, rtol=1e-6, places=("lat", "lon")):
    assert {n for n in out.data_vars if n in schema.VARIABLES} == set(variables)
    np.testing.assert_array_equal(out["time"], truth["time"])
    for name in places:
        np.testing.assert_allclose(out[name], truth[name])
    for name in variables:
        found = out[name].transpose(*[d for d in truth[name].dims if d in out[name].dims], ...)
        assert found.attrs["units"] == schema.variable(name).units
        scale = float(abs(truth[name]).max())
        np.testing.assert_allclose(
            found.values, truth[name].values, rtol=rtol, atol=rtol * scale * 1e-3, err_msg=name
        )
    if "tsl" in variables:
        np.testing.assert_allclose(out["depth_bnds"], truth["depth_bnds"], atol=1e-12)


def reshaped(truth, layout):
    """The truth on the places of a layout that is no grid of lat and lon."""
    if layout == "stations":
        points = truth.stack(station=("lat", "lon"), create_index=False)
        bounds = np.repeat(truth["depth"].values[:, None], 2, axis=1)
        points["depth_bnds"] = (("layer", "bnds"), bounds)
        return points.transpose("station", "time", "layer", ...)
    return truth


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_becomes_the_truth(truth, layout, unchanged):
    writer, options, variables = LAYOUTS[layout]
    raw = writer(truth)
    with unchanged(raw):
        out = read(raw, **options)
    places = () if layout in ("stations", "rotated grid") else ("lat", "lon")
    if layout == "stations":
        out = out.transpose("station", "time", "layer", ...)
    assert_is(out, reshaped(truth, layout), variables, places=places)
    once_more = standardize(out)
    xr.testing.assert_identical(once_more, out)


def test_there_are_enough_layouts():
    assert len(LAYOUTS) >= 12


def test_a_rotated_grid_keeps_its_dimensions(truth):
    out = read(rotated(truth))
    assert out["tas"].dims == ("time", "rlat", "rlon")
    assert out["lat"].dims == ("rlat", "rlon")
    assert out["lat"].values[:, 0].tolist() == LAT


@pytest.mark.parametrize(
    "layout", ["CDS ERA5-Land monthly", "CMIP6 noleap", "CMIP6 360_day", "CMIP5"]
)
def test_layouts_through_a_file(truth, layout, tmp_path):
    writer, options, variables = LAYOUTS[layout]
    raw = writer(truth)
    raw["time" if "time" in raw else "valid_time"].encoding["units"] = "hours since 2000-01-01"
    raw.to_netcdf(tmp_path / "data.nc")
    with xr.open_dataset(tmp_path / "data.nc") as raw:
        assert_is(read(raw.load(), **options), truth, variables)


@pytest.mark.parametrize("decoded", [True, False])
def test_packed_integers_of_the_legacy_store(truth, decoded, tmp_path):
    """int16 resolves 1 / 65534 of the range of a variable: the tolerance is half of that."""
    raw = copernicus(truth)
    encoding = {}
    for name, da in raw.data_vars.items():
        low, high = float(da.min()), float(da.max())
        step = (high - low) / 65532
        packing = {"scale_factor": step, "add_offset": (low + high) / 2, "_FillValue": -32768}
        encoding[name] = {"dtype": "int16", **packing}
    raw.to_netcdf(tmp_path / "packed.nc", encoding=encoding)
    with xr.open_dataset(tmp_path / "packed.nc", mask_and_scale=decoded) as ds:
        out = read(ds.load())
    if not decoded:
        assert "unpacked: " in out.attrs["history"]
    for name in ALL:
        span = truth[name].max(["time", "lat", "lon"]) - truth[name].min(["time", "lat", "lon"])
        error = abs(out[name] - truth[name]).max(["time", "lat", "lon"])
        assert bool((error <= 0.51 * span / 65532 + 1e-6 * abs(truth[name]).max()).all()), name


LAZY = [
    "CDS ERA5-Land monthly",
    "CDS ERA5-Land hourly",
    "GRIB with lead times",
    "CMIP6 daily noleap",
]


def never(*args, **kwargs):
    raise AssertionError("computed")


@pytest.mark.parametrize("layout", LAZY)
@pytest.mark.parametrize("chunk", [5, 100, 1000])
def test_every_step_is_lazy_whatever_the_chunks(truth, layout, chunk):
    writer, options, variables = LAYOUTS[layout]
    raw = writer(truth)
    dim = "valid_time" if "valid_time" in raw.dims else "time"
    raw = raw.isel({"latitude" if "latitude" in raw.dims else "lat": [0]})
    if chunk == 5:  # many small chunks of a short record
        raw = raw.isel({dim: slice(0, 24 * 59 + 1)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PermafrostWarning)
        eager = standardize(raw, **options)
        with dask.config.set(scheduler=never):
            chunked = raw.chunk({dim: chunk}).assign_coords(raw.coords)  # coordinates are read
            lazy = standardize(chunked, **options)
    assert all(lazy[n].chunks is not None for n in variables)
    assert "lazy" in lazy.attrs["history"]
    assert bool(eager["tas"].notnull().any())
    lazy = lazy.sel(time=eager["time"])  # empty corners of a lazy GRIB table are not looked for
    for name in variables:
        np.testing.assert_allclose(lazy[name].values, eager[name].values, rtol=1e-12)


# --- days ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout", ["CDS ERA5-Land hourly", "CDS ERA5 hourly", "Earth Engine daily"]
)
def test_days_average_to_the_months(truth, layout):
    writer, options, variables = LAYOUTS[layout]
    out = read(writer(truth), step="day", **options)
    np.testing.assert_array_equal(out["time"], pd.date_range("2001-01-01", "2002-12-31").to_numpy())
    months = out.drop_dims("bnds").resample(time="MS").mean()
    for name in set(variables):
        scale = float(abs(truth[name]).max())
        np.testing.assert_allclose(
            months[name].transpose(*truth[name].dims).values,
            truth[name].values,
            rtol=1e-6,
            atol=1e-9 * scale,
            err_msg=name,
        )
    xr.testing.assert_identical(standardize(out, step="day"), out)


def test_hourly_products_agree_day_by_day(truth):
    names = {n: CDS[n] for n in ("tas", *FLUXES)}
    one = hours(truth, names, daily_total, running=True)
    two = hours(truth, names, daily_total, running=False)
    land = standardize(one, source="era5-land", step="day")
    era5 = standardize(two, source="era5", step="day")
    for name in FLUXES:
        np.testing.assert_allclose(land[name], era5[name], rtol=1e-9)
    # the total of a day is the sum of its 24 hours, the last of which ends at 00 UTC
    own = two["tp"].isel(time=slice(24 * 9 + 1, 24 * 10 + 1)).sum("time") * 1000 / 86400
    np.testing.assert_allclose(
        land["pr"].sel(time="2001-01-10"), own.sortby("latitude").values, rtol=1e-9
    )


def test_the_table_names_the_period(truth):
    for writer, options, per, text in (
        (era5_land_hourly, {"source": "era5-land"}, "running", "running total since 00 UTC"),
        (era5_hourly, {"source": "era5"}, "hour", "total of the hour"),
        (cds_new, {}, "day", "mean daily total"),
    ):
        table = identify(writer(truth), **options).set_index("canonical")
        assert table.loc["pr", "per"] == per
        assert text in table.loc["pr", "rule"]
        assert table.loc["pr", "role"] == "forcing"
        assert set(table.loc["tsl", "role"]) == {"target"}
        assert (table["problem"] == "").all()
    table = identify(ee_daily_aggr(truth)).set_index("canonical")
    assert table.loc["rsds", "rule"].startswith("total of the day")
    assert table.loc["tas", "rule"] == "as is, mean of the days"
