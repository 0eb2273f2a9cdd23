"""Injected faults: each is caught with its own message, and clean data raise nothing.

The clean fixtures are believable; a fault changes one thing about them, as it happens in
practice. Messages are compared pairwise: two faults may not be told in the same words.
"""

from __future__ import annotations

import re
import warnings

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import schema
from xpermafrost.errors import PermafrostWarning, SourceError, TimeAxisError
from xpermafrost.sources import identify, open_sea, standardize

MONTHS = pd.date_range("2001-01-01", periods=36, freq="MS")
DAYS = MONTHS.days_in_month.to_numpy().astype(float)
LAT, LON = np.linspace(60.0, 70.0, 5), np.linspace(-165.0, -141.0, 4)


def top_of_atmosphere(lat, month):
    tilt = np.deg2rad(-23.44) * np.cos(2 * np.pi * (30.4 * (month - 0.5) + 10) / 365)
    phi = np.deg2rad(lat)
    hour = np.arccos(np.clip(-np.tan(phi) * np.tan(tilt), -1, 1))
    high = hour * np.sin(phi) * np.sin(tilt) + np.cos(phi) * np.cos(tilt) * np.sin(hour)
    return 1361 / np.pi * high


@pytest.fixture
def clean():
    """Three canonical years of a land grid without a fault."""
    month = np.arange(36)[:, None, None] % 12 + 1
    lat = LAT[None, :, None]
    zero = np.zeros((36, LAT.size, LON.size))
    season = np.cos(2 * np.pi * (month - 7) / 12)
    rsds = 0.5 * top_of_atmosphere(lat, month) + zero
    tas = 263 - 0.4 * (lat - 60) + 16 * season + zero
    pr = (1.2 + 0.6 * season + 0.1 * np.sin(lat)) * 1e-5 + zero
    prsn = pr * np.clip((276 - tas) / 8, 0, 1)
    snw = zero.copy()
    for k in range(36):
        melt = 1.5 * np.clip(tas[k] - 271, 0, None) * 30
        fallen = 0.5 * (prsn[k] + prsn[max(k - 1, 0)]) * 86400 * DAYS[k]
        snw[k] = np.clip((snw[k - 1] if k else 40) + fallen - melt, 0, None)
    fields = {
        "tas": tas,
        "ts": tas - 0.5,
        "pr": pr,
        "prsn": prsn,
        "rlds": 5.67e-8 * 0.78 * tas**4,
        "rsds": rsds,
        "hfls": 0.25 * rsds + 1,
        "hfss": 0.2 * rsds - 6,
        "snw": snw,
        "snd": snw / 250,
        "snc": np.clip(2 * snw, 0, 100),
    }
    dims = ("time", "lat", "lon")
    ds = xr.Dataset(
        {n: (dims, v, schema.variable(n).attrs) for n, v in fields.items()},
        coords={
            "time": MONTHS.values.astype("datetime64[ns]"),
            "lat": ("lat", LAT, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", LON, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )
    soil = xr.DataArray(np.full((36, 4, 5, 4), 268.0), dims=("time", "layer", "lat", "lon"))
    soil = soil + 8 * xr.DataArray(season[:, 0, 0], dims="time")
    ds["tsl"] = soil.transpose("time", "layer", "lat", "lon").assign_attrs(
        schema.variable("tsl").attrs
    )
    thickness = xr.DataArray(np.diff(schema.ERA5LAND_EDGES), dims="layer")
    ds["mrsol"] = (0 * ds["tsl"] + 350 * thickness).assign_attrs(schema.variable("mrsol").attrs)
    return ds.assign_coords(schema.layer_coords())


def raw(name, old, factor, units):
    """The fault of a fixture variable under the name of a catalogue: values x factor, units."""

    def build(ds):
        return xr.Dataset({old: (ds[name] * factor).drop_attrs().assign_attrs(units=units)})

    return build


def changed(name, function, **attrs):
    def build(ds):
        da = function(ds[name])
        return ds.assign({name: da.drop_attrs().assign_attrs({**ds[name].attrs, **attrs})})

    return build


def celsius(da):
    return da - 273.15


def fahrenheit(da):
    return (da - 273.15) * 9 / 5 + 32


def hourly(running, *, start="2001-01-01 00:00", hours=24 * 31 + 1):
    """Longwave [J m-2] and precipitation [m] of one month of hours, at two places."""
    stamps = pd.date_range(start, periods=hours, freq="h")
    hour = (stamps - pd.Timedelta(hours=1)).hour.to_numpy()
    own = 9e5 * (1 + 0.1 * np.sin(2 * np.pi * hour / 24))
    if running:
        table = 9e5 * (1 + 0.1 * np.sin(2 * np.pi * np.arange(24) / 24))
        own = table.cumsum()[hour]
    values = np.repeat(own[:, None], 2, axis=1)
    return xr.Dataset(
        {"strd": (("time", "site"), values, {"units": "J m**-2"})},
        coords={"time": stamps, "site": ["a", "b"]},
    )


def mixed_calendars(ds):
    ds = ds[["tas"]].isel(time=slice(0, 4))
    kinds = ("noleap", "noleap", "360_day", "360_day")
    dates = [cftime.datetime(2001, k + 1, 15, calendar=c) for k, c in enumerate(kinds)]
    return ds.assign_coords(time=np.array(dates))


def bounds_of_another_calendar(ds):
    ds = ds[["tas"]].isel(time=slice(0, 4))
    edges = [cftime.datetime(2001, k + 1, 1, calendar="noleap") for k in range(5)]
    ds["time_bnds"] = (("time", "bnds"), np.stack([edges[:-1], edges[1:]], axis=1))
    ds["time"].attrs["bounds"] = "time_bnds"
    return ds


def hours_of_day(ds):
    stamps = [t + pd.Timedelta(hours=h) for t in MONTHS[:12] for h in range(24)]
    values = np.full(len(stamps), 1e-4)
    return xr.Dataset({"tp": ("time", values, {"units": "m"})}, coords={"time": stamps})


def days_of_360(ds):
    days = xr.date_range("2001-01-01", periods=720, calendar="360_day", use_cftime=True)
    attrs = schema.variable("tas").attrs
    season = np.cos(2 * np.pi * np.arange(720) / 360)
    return xr.Dataset({"tas": ("time", 260 - 15 * season, attrs)}, coords={"time": days})


def weekly(ds):
    stamps = pd.date_range("2001-01-01", periods=60, freq="7D")
    return xr.Dataset({"tas": ("time", np.full(60, 260.0), {"units": "K"})}, {"time": stamps})


def daily_totals(ds):
    stamps = pd.date_range("2001-01-01", periods=60, freq="D")
    return xr.Dataset({"tp": ("time", np.full(60, 1e-3), {"units": "m"})}, {"time": stamps})


def three_hourly_totals(ds):
    stamps = pd.date_range("2001-01-01", periods=8 * 31, freq="3h")
    return xr.Dataset({"tp": ("time", np.full(248, 1e-4), {"units": "m"})}, {"time": stamps})


def packed_floats(ds):
    ds = ds[["tas"]].copy(deep=True)
    ds["tas"].attrs |= {"scale_factor": 0.01, "add_offset": 250.0}
    return ds


def fill_values(ds):
    tas = ds["tas"].copy(deep=True)
    tas[3, 2, 1] = 9.96921e36
    return ds.assign(tas=tas)


# fault: (builder, options, error, message)
FAULTS = {
    "Celsius called kelvin": (
        changed("tas", celsius),
        {},
        SourceError,
        "usual if they were degrees Celsius, not kelvin",
    ),
    "kelvin called Celsius": (
        changed("tas", lambda da: da, units="degC"),
        {},
        SourceError,
        "usual if they were kelvin, not degrees Celsius",
    ),
    "Fahrenheit called Celsius": (
        changed("tas", fahrenheit, units="degC"),
        {},
        SourceError,
        "beyond 55 degrees of latitude no month is warmer than 40 degC: degrees Fahrenheit called",
    ),
    "Fahrenheit called kelvin": (
        changed("tas", lambda da: fahrenheit(da + 8)),
        {},
        SourceError,
        "usual if they were degrees Fahrenheit, not kelvin",
    ),
    "joules called watts": (
        changed("rlds", lambda da: da * 86400),
        {},
        SourceError,
        r"'rlds' .* joules of a day \(J m-2\), not W m-2",
    ),
    "watts called joules": (
        raw("rsds", "ssrd", 1.0, "J m**-2"),
        {},
        SourceError,
        "'rsds' .* W m-2 already, taken for J m-2 of a day",
    ),
    "month totals of sunlight taken for daily means": (
        raw("rsds", "ssrd", 86400 * 30.4, "J m**-2"),
        {},
        SourceError,
        r"'rsds' .* totals of a month taken for mean daily totals \(x 28 to 31\)",
    ),
    "month totals of rain taken for daily means": (
        lambda ds: ds.assign(pr=changed("pr", lambda da: da * 30.4)(ds)["pr"]).drop_vars("prsn"),
        {},
        SourceError,
        "'pr' is .* m a year in half of the places beyond 55 degrees",
    ),
    "month totals of snow fall taken for daily means": (
        changed("prsn", lambda da: da * 30.4),
        {},
        SourceError,
        "in frost 'snw' gains 0.03.* times what 'prsn' brings: .*too large",
    ),
    "month totals of rain at unknown latitudes": (
        lambda ds: (
            changed("pr", lambda da: da * 30.4)(ds)
            .drop_vars(["prsn", "snw", "snd", "lat"])
            .rename(lat="row")
        ),
        {},
        SourceError,
        "'hfls' evaporates .* of 'pr'",
    ),
    "hourly totals taken for daily ones": (
        raw("rlds", "strd", 3600.0, "J m**-2"),
        {},
        SourceError,
        r"totals of an hour taken for totals of a day \(x 24\)",
    ),
    "running totals read as totals of an hour": (
        lambda ds: hourly(running=True),
        {"source": "era5"},
        SourceError,
        "'strd' is read as totals of single hours.*a running total since 00 UTC, a factor of",
    ),
    "totals of an hour read as running totals": (
        lambda ds: hourly(running=False),
        {"source": "era5-land"},
        SourceError,
        "'strd' is read as a running total.*these are totals of single hours",
    ),
    "hourly totals of an unknown product": (
        lambda ds: hourly(running=True),
        {},
        SourceError,
        "'strd' in 'J m..-2' has several meanings.*source='era5-land'.*source='era5'",
    ),
    "every third hourly total": (
        three_hourly_totals,
        {"source": "era5"},
        SourceError,
        "totals of one hour each, but only every 3 hours are there",
    ),
    "daily totals of an unknown period": (
        daily_totals,
        {},
        SourceError,
        r"over which time is not settled for steps of a day.*'m day-1'",
    ),
    "monthly means by hour of day": (
        hours_of_day,
        {},
        SourceError,
        "'monthly averaged reanalysis by hour of day'",
    ),
    "by-hour accumulations with monthly steps": (
        lambda ds: xr.Dataset(
            {"tp": (ds["pr"] * 86.4).drop_attrs().assign_attrs(units="m", GRIB_stepType="accum")}
        ),
        {},
        SourceError,
        "'tp' has GRIB_stepType 'accum'",
    ),
    "latent heat positive down": (
        changed("hfls", lambda da: -da),
        {},
        SourceError,
        "'hfls' is -.* W m-2 in month 6.*points upward in summer",
    ),
    "sensible heat positive down": (
        changed("hfss", lambda da: -da),
        {},
        SourceError,
        "'hfss' is -.* W m-2 in month 6.*points upward in summer",
    ),
    "per cent called fraction": (
        raw("snc", "snow_cover", 1.0, "1"),
        {},
        SourceError,
        r"per cent taken for a fraction \(x 100\)",
    ),
    "fraction called per cent": (
        changed("snc", lambda da: da / 100),
        {},
        SourceError,
        "'snc' is in % and never above 1: a fraction",
    ),
    "per cent of soil water": (
        lambda ds: xr.Dataset(
            {"swvl1": ds["tas"].drop_attrs().assign_attrs(units="m3 m-3") * 0 + 30.0}
        ).map(lambda da: da.assign_attrs(units="m3 m-3")),
        {},
        SourceError,
        "'mrsol' is up to 30 times the water that its layer can hold",
    ),
    "snow depth called water equivalent": (
        lambda ds: ds.drop_vars("prsn").assign(
            snw=(ds["snd"] * 1000).assign_attrs(ds["snw"].attrs)
        ),
        {},
        SourceError,
        "'snw' / 'snd' is 1000 kg m-3 in half of the snow",
    ),
    "snow depth called water equivalent, depth not there": (
        lambda ds: ds.drop_vars("snd").assign(snw=(ds["snd"] * 1000).assign_attrs(ds["snw"].attrs)),
        {},
        SourceError,
        "in frost 'snw' gains [34].* times what 'prsn' brings: .*or 'snw' is a depth",
    ),
    "snow depth of which product": (
        raw("snd", "snow_depth", 1.0, "m"),
        {},
        SourceError,
        "'snow_depth' in 'm' has several meanings",
    ),
    "snow depth in cm called m": (
        changed("snd", lambda da: da * 100),
        {},
        SourceError,
        "'snd' .* usual if they were centimetres, not metres",
    ),
    "latitude and longitude swapped": (
        lambda ds: (
            ds.rename(lat="x", lon="lat")
            .rename(x="lon")
            .assign_coords(lat=("lat", LON), lon=("lon", LAT))
        ),
        {},
        SourceError,
        "'lat' holds -165 to -141, beyond the poles: latitude and longitude are swapped",
    ),
    "latitude that says it is a longitude": (
        lambda ds: ds.assign_coords(lat=("lat", LAT, {"units": "degrees_east"})),
        {},
        SourceError,
        "'lat' is a longitude by its attributes",
    ),
    "latitude in metres": (
        lambda ds: ds.assign_coords(lat=("lat", LAT * 1e5)),
        {},
        SourceError,
        "beyond the poles: these are no degrees north",
    ),
    "latitudes upside down": (
        lambda ds: ds.assign_coords(lat=("lat", -LAT, ds["lat"].attrs)),
        {},
        SourceError,
        "'rsds' exceeds the sunlight above the atmosphere",
    ),
    "a name that lies about its units": (
        raw("pr", "total_precipitation_sum", 1.0, "kg m-2 s-1"),
        {"source": "earthengine"},
        SourceError,
        "name and units of 'total_precipitation_sum' disagree",
    ),
    "a catalogue's name without units": (
        lambda ds: xr.Dataset({"surface_latent_heat_flux_sum": ds["hfls"].drop_attrs()}),
        {},
        SourceError,
        "'surface_latent_heat_flux_sum' has no units",
    ),
    "an attribute that contradicts the name": (
        changed("rlds", lambda da: da, standard_name="surface_net_downward_longwave_flux"),
        {},
        SourceError,
        "'rlds' should be .* its standard_name says 'surface_net_downward_longwave_flux'",
    ),
    "a GRIB number that contradicts the name": (
        lambda ds: xr.Dataset(
            {"t2m": ds["tas"].drop_attrs().assign_attrs(units="K", GRIB_paramId=235)}
        ),
        {},
        SourceError,
        "'t2m' is named like 'tas', but its GRIB_paramId 235 is 'ts'",
    ),
    "the swapped evaporation components": (
        lambda ds: ds.assign(evavt=ds["pr"].drop_attrs()),
        {},
        SourceError,
        "interchanged in the archive",
    ),
    "water of the whole column": (
        lambda ds: ds.assign(mrso=ds["snw"].drop_attrs().assign_attrs(units="kg m-2")),
        {},
        SourceError,
        "'mrso' is the water of the whole soil column",
    ),
    "daily collection averaged to months": (
        lambda ds: raw("pr", "total_precipitation_sum", 86.4, "m")(ds).assign_attrs(
            id="ECMWF/ERA5_LAND/DAILY_AGGR"
        ),
        {},
        SourceError,
        "an attribute says ECMWF/ERA5_LAND/DAILY_AGGR, but the time step is a month",
    ),
    "fill values left": (fill_values, {}, SourceError, "to 9.969e.36 K .*fill values are left"),
    "negative precipitation": (
        changed("pr", lambda da: da - 1e-5),
        {},
        SourceError,
        "'pr' spans -",
    ),
    "packing of values that are no integers": (
        packed_floats,
        {},
        SourceError,
        "values that are no integers: whether they are unpacked already",
    ),
    "calendars mixed along time": (
        mixed_calendars,
        {},
        TimeAxisError,
        r"'time' mixes \['360_day', 'noleap'\]",
    ),
    "calendars of stamps and bounds": (
        bounds_of_another_calendar,
        {},
        TimeAxisError,
        r"'time' and its bounds 'time_bnds' have \['noleap', 'standard'\]",
    ),
    "30 February": (
        days_of_360,
        {"step": "day"},
        TimeAxisError,
        r"'360_day' \(30 February\) have no place in datetime64.*convert_calendar",
    ),
    "days asked of months": (
        lambda ds: ds,
        {"step": "day"},
        TimeAxisError,
        "step='day' needs daily or hourly data; these are monthly",
    ),
    "weekly data": (weekly, {}, TimeAxisError, "usual time step is 7 days"),
    "a month missing": (
        lambda ds: ds.isel(time=np.delete(np.arange(36), 7)),
        {},
        TimeAxisError,
        "no 2001-08",
    ),
    "an hour twice": (
        lambda ds: hourly(running=True).isel(time=np.insert(np.arange(500), 40, 39)),
        {"source": "era5-land"},
        TimeAxisError,
        "2001-01-02 15:00:00 twice",
    ),
    "hours out of order": (
        lambda ds: hourly(running=True).isel(time=np.r_[100:700, 0:100]),
        {"source": "era5-land"},
        TimeAxisError,
        "2001-01-01 00:00:00 after",
    ),
}


def hourly_states(hours):
    stamps = pd.date_range("2001-01-01", periods=hours, freq="h")
    return xr.Dataset({"t2m": ("time", np.full(hours, 260.0), {"units": "K"})}, {"time": stamps})


def glacier(ds):
    snw = ds["snw"].copy(deep=True)
    snw[:, 1, 2] = 1e4
    return ds.assign(snw=snw).drop_vars("snd")


# fault that is read, and said: (builder, options, message)
TOLD = {
    "preliminary months": (
        lambda ds: ds.assign_coords(expver=("time", ["0001"] * 33 + ["0005"] * 3)),
        {},
        "3 months are preliminary .ERA5T, expver 0005., 2003-10 to 2003-12",
    ),
    "glacier cells": (glacier, {}, "constant 10 m of water in 1 of 20 places"),
    "open sea in the surface temperature": (
        lambda ds: ds.assign(tsl=ds["tsl"].where(ds["lon"] > -160).assign_attrs(units="K")),
        {},
        "'ts' has values in 5 cells where 'tsl' has none: over open sea",
    ),
    "part of a month": (
        lambda ds: hourly_states(24 * 40),
        {},
        r"not wholly covered, so missing: 2001-02 \(t2m\)",
    ),
    "the last running total stands in the next day": (
        lambda ds: hourly(running=True, hours=24 * 31),
        {"source": "era5-land"},
        r"not wholly covered, so missing: 2001-01 \(strd\)",
    ),
    "a variable that cannot be averaged blindly": (
        lambda ds: hourly_states(24 * 31).assign(gust=hourly_states(24 * 31)["t2m"].drop_attrs()),
        {},
        "leaves out gust: not recognised",
    ),
}


def message_of(clean, fault):
    if fault in FAULTS:
        builder, options, error, _ = FAULTS[fault]
        with pytest.raises(error) as caught:
            standardize(builder(clean), **options)
        return str(caught.value)
    builder, options, _ = TOLD[fault]
    with pytest.warns(PermafrostWarning) as warned:
        standardize(builder(clean), **options)
    return " ".join(str(w.message) for w in warned if w.category is PermafrostWarning)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_every_fault_is_caught_with_its_own_message(clean, fault, unchanged):
    builder, options, error, message = FAULTS[fault]
    bad = builder(clean)
    with unchanged(bad), pytest.raises(error, match=message):
        standardize(bad, **options)


@pytest.mark.parametrize("fault", list(TOLD))
def test_every_oddity_is_read_and_told(clean, fault):
    builder, options, message = TOLD[fault]
    with pytest.warns(PermafrostWarning, match=message):
        out = standardize(builder(clean), **options)
    assert out.data_vars


def test_no_two_faults_share_a_message(clean):
    patterns = {name: entry[-1] for name, entry in {**FAULTS, **TOLD}.items()}
    assert len(patterns) >= 20
    messages = {name: message_of(clean, name) for name in patterns}
    assert len(set(messages.values())) == len(messages)
    for name, pattern in patterns.items():
        hit = [other for other, text in messages.items() if re.search(pattern, text)]
        assert hit == [name], f"the message of {name!r} also fits {hit}"


def test_clean_data_raise_nothing(clean):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xr.testing.assert_identical(standardize(clean), clean)
        for name in clean.data_vars:  # alone, nothing can be compared with anything
            standardize(clean[[name]])
        for running, source in ((True, "era5-land"), (False, "era5")):
            standardize(hourly(running=running), source=source)
            standardize(hourly(running=running), source=source, step="day")
        standardize(days_of_360(clean))
        standardize(hourly_states(24 * 31))


def test_clean_data_raise_nothing_in_the_units_of_the_catalogues(clean):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, old, factor, units in (
            ("pr", "tp", 86.4, "m"),
            ("rlds", "strd", 86400.0, "J m**-2"),
            ("rsds", "ssrd", 86400.0, "J m**-2"),
            ("hfls", "slhf", -86400.0, "J m**-2"),
            ("hfss", "sshf", -86400.0, "J m**-2"),
            ("snw", "sd", 1e-3, "m of water equivalent"),
            ("snc", "snow_cover", 0.01, "1"),
        ):
            out = standardize(raw(name, old, factor, units)(clean))
            np.testing.assert_allclose(out[name], clean[name], rtol=1e-12, atol=1e-15)


def test_real_climates_at_the_edge_pass(clean):
    """Ice sheets, deserts, wet coasts and seas: wide limits, no false alarm."""
    ice = clean[["tas", "rsds", "hfls", "hfss", "pr"]].copy(deep=True)
    ice["tas"] -= 15
    ice["hfls"][:] = 1.0
    ice["hfss"][:] = -30.0
    desert = clean[["tas", "pr", "hfls"]].copy(deep=True)
    desert["pr"] *= 0.2
    desert["hfls"] *= 0.2
    wet = clean[["tas", "pr", "hfls", "rsds"]].copy(deep=True)
    wet["pr"] *= 8.0
    sea = clean[["tas", "hfls", "hfss"]].copy(deep=True)
    sea["hfss"][:] = 40.0 - sea["hfss"]
    drifted = clean.drop_vars("snd").copy(deep=True)
    drifted["snw"] *= 0.1
    hot = clean[["tas"]] + 25.0
    hot["tas"].attrs = clean["tas"].attrs
    dark = clean[["rsds"]].isel(time=slice(10, 23))
    short = clean.isel(time=slice(0, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ds in (ice, desert, wet, sea, drifted, hot, dark, short):
            standardize(ds)


def test_negatives_of_packing_are_corrected_and_counted(clean):
    bad = clean.copy(deep=True)
    bad["pr"][:, 0, 0] = -1e-9
    out = standardize(bad)["pr"]
    assert out.attrs["clipped_negative"] == "36 values, down to -1e-09, set to 0"
    assert float(out[:, 0, 0].max()) == 0.0


def test_a_period_that_is_not_covered_is_missing_not_biased(clean):
    with pytest.warns(PermafrostWarning, match="2001-02"):
        out = standardize(hourly_states(24 * 40))
    assert out["tas"].isnull().values.tolist() == [False, True]
    gap = hourly_states(24 * 59).isel(time=np.delete(np.arange(24 * 59), 100))
    with pytest.warns(PermafrostWarning, match=r"2001-01-05 \(t2m\)"):
        days = standardize(gap, step="day")
    assert days["tas"].isnull().sum() == 1
    with pytest.warns(PermafrostWarning, match=r"2001-01 \(t2m\)"):
        assert standardize(gap)["tas"].isnull().values.tolist() == [True, False]


def test_a_missing_value_spreads_to_its_period_and_cell_only():
    ds = hourly(running=False)
    ds["strd"][30, 0] = np.nan
    day = standardize(ds, source="era5", step="day")["rlds"]
    assert day.isnull().sum() == 1
    assert bool(day.sel(site="a", time="2001-01-02").isnull())
    month = standardize(ds, source="era5")["rlds"]
    assert month.isnull().values.ravel().tolist() == [True, False]


def test_lazy_data_are_checked_value_by_value_and_say_what_is_not(clean):
    bad = changed("tas", celsius)(clean).chunk(time=6)
    lazy = standardize(bad)
    with pytest.raises(SourceError, match="degrees Celsius"):
        lazy["tas"].compute()
    sign = raw("hfls", "hfls", -1.0, "W m**-2")(clean).chunk(time=6)
    out = standardize(sign)
    assert "plausibility of means is not" in out.attrs["history"]


def test_open_sea_needs_evidence(clean):
    assert open_sea(clean) == ""
    assert open_sea(clean[["ts"]]) == ""
    coast = clean.assign(tsl=clean["tsl"].where(clean["lon"] > -160))
    assert "5 cells" in open_sea(coast)
    assert open_sea(coast.assign(sftlf=100 + 0 * clean["ts"][0])) == ""
    assert open_sea(coast.chunk()) == ""


def test_a_standard_name_settles_an_ambiguous_name(clean):
    depth = raw("snd", "snow_depth", 1.0, "m")(clean)
    depth["snow_depth"].attrs["standard_name"] = "surface_snow_thickness"
    assert "snd" in standardize(depth)
    water = raw("snw", "snow_depth", 1e-3, "m")(clean)
    water["snow_depth"].attrs["standard_name"] = "lwe_thickness_of_surface_snow_amount"
    assert "snw" in standardize(water)


@pytest.mark.parametrize(
    ("long_name", "units", "canonical"),
    [
        ("2 metre temperature", "K", "tas"),
        ("Near-Surface Air Temperature", "K", "tas"),
        ("Skin temperature", "K", "ts"),
        ("Soil temperature level 2", "K", "tsl"),
        ("2 metre temperature", "m", ""),
        ("2 metre dewpoint temperature", "K", ""),
    ],
)
def test_a_long_name_and_units_recognise_a_nameless_variable(clean, long_name, units, canonical):
    ds = xr.Dataset({"x": clean["tas"].drop_attrs().assign_attrs(long_name=long_name, units=units)})
    row = identify(ds).iloc[0]
    assert (row.canonical, row.problem) == (canonical, "")
    assert row.by == ("long_name" if canonical else "")


def test_mean_rates_of_hours_belong_to_the_hour_before():
    stamps = pd.date_range("2001-01-01", periods=49, freq="h")
    values = np.r_[99.0, np.full(24, 200.0), np.full(24, 300.0)]
    ds = xr.Dataset({"avg_sdlwrf": ("time", values, {"units": "W m**-2"})}, {"time": stamps})
    assert standardize(ds, step="day")["rlds"].values.tolist() == [200.0, 300.0]


def test_daily_totals_whose_units_say_so_are_read():
    ds = daily_totals(None)
    ds["tp"].attrs["units"] = "m day-1"
    out = standardize(ds, step="day")["pr"]
    np.testing.assert_allclose(out, 1.0 / 86400)
    summed = daily_totals(None)
    summed["tp"].attrs["cell_methods"] = "time: sum"
    np.testing.assert_array_equal(standardize(summed, step="day")["pr"], out)


def test_noleap_days_become_dates_without_29_february():
    days = xr.date_range("2004-02-27", periods=4, calendar="noleap", use_cftime=True)
    ds = xr.Dataset({"tas": ("time", [260.0, 261, 262, 263], {"units": "K"})}, {"time": days})
    out = standardize(ds, step="day")
    assert out["time"].dt.strftime("%m-%d").values.tolist() == ["02-27", "02-28", "03-01", "03-02"]
    assert out["time"].attrs["source_calendar"] == "noleap"


def test_a_projected_grid_keeps_its_metres_and_its_places(clean):
    """y and x with a grid mapping, lon from 0 to 360: only the two-dimensional lon is wrapped."""
    lat, lon = xr.broadcast(clean["lat"], clean["lon"] % 360)
    ds = clean[["tas", "rsds"]].rename(lat="y", lon="x").drop_vars(["y", "x"])
    ds = ds.assign_coords(
        y=1e5 * np.arange(5.0)[::-1],
        x=1e5 * np.arange(4.0),
        lat=(("y", "x"), lat.values),
        lon=(("y", "x"), lon.values),
        crs=((), 0, {"grid_mapping_name": "polar_stereographic"}),
    )
    ds["tas"].attrs = {"units": "degC", "standard_name": "air_temperature", "grid_mapping": "crs"}
    ds["tas"] = (ds["tas"] - 273.15).assign_attrs(ds["tas"].attrs)
    out = standardize(ds)
    assert out["tas"].dims == ("time", "y", "x")
    assert out["tas"].attrs["grid_mapping"] == "crs"
    assert out["y"].values[0] == 4e5
    np.testing.assert_allclose(out["lon"], np.broadcast_to(LON, (5, 4)))
    np.testing.assert_allclose(out["tas"].values, clean["tas"].values)
