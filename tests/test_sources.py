"""Sources: factors, signs, periods, refusals, laziness, on synthetic Datasets of every family."""

from __future__ import annotations

import copy
import math

import cftime
import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import schema, testing
from xpermafrost.errors import (
    PermafrostWarning,
    SourceError,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.sources import FAMILIES, identify, standardize
from xpermafrost.sources._space import _ascending

MONTHS = pd.date_range("2001-01-01", periods=12, freq="MS")
DAYS = MONTHS.days_in_month.to_numpy()  # 31, 28, ..., 30


def dataset(name, values, units, *, dim="time", times=MONTHS, **attrs):
    if units is not None:
        attrs["units"] = units
    values = np.broadcast_to(np.asarray(values, dtype="float64"), (len(times),))
    return xr.Dataset({name: (dim, values.copy(), attrs)}, coords={dim: times})


# --- accumulations ------------------------------------------------------------------------

PER_DAY = [
    ("tp", "m", 0.002, "pr", 0.002 * 1000 / 86400),
    ("total_precipitation", "m", 0.002, "pr", 0.002 * 1000 / 86400),
    ("sf", "m of water equivalent", 0.001, "prsn", 0.001 * 1000 / 86400),
    ("strd", "J m**-2", 2e7, "rlds", 2e7 / 86400),
    ("surface_solar_radiation_downwards", "J m-2", 1e7, "rsds", 1e7 / 86400),
    ("slhf", "J m**-2", -4e6, "hfls", 4e6 / 86400),
    ("sshf", "J m**-2", 1e6, "hfss", -1e6 / 86400),
]


@pytest.mark.parametrize(("name", "units", "value", "canonical", "expected"), PER_DAY)
def test_cds_monthly_mean_is_a_daily_total(name, units, value, canonical, expected):
    out = standardize(dataset(name, value, units, dim="valid_time"))
    # the same in months of 28, 30 and 31 days
    np.testing.assert_allclose(out[canonical], np.full(12, expected), rtol=1e-12)
    assert out[canonical].attrs["units"] == schema.variable(canonical).units
    assert out[canonical].attrs["source_variable"] == name


@pytest.mark.parametrize(
    ("name", "units", "value", "canonical", "factor"),
    [
        ("total_precipitation_sum", "m", 0.06, "pr", 1000.0),
        ("snowfall_sum", "m", 0.03, "prsn", 1000.0),
        ("surface_thermal_radiation_downwards_sum", "J m-2", 6e8, "rlds", 1.0),
        ("surface_solar_radiation_downwards_sum", "J m-2", 3e8, "rsds", 1.0),
        ("surface_latent_heat_flux_sum", "J m-2", -6e7, "hfls", -1.0),
        ("surface_sensible_heat_flux_sum", "J m-2", 6e7, "hfss", -1.0),
    ],
)
def test_earthengine_sum_is_a_month_total(name, units, value, canonical, factor):
    out = standardize(dataset(name, value, units))[canonical]
    np.testing.assert_allclose(out, value * factor / (DAYS * 86400.0), rtol=1e-12)
    assert {28, 30, 31} <= set(DAYS.tolist())


def test_earthengine_without_sum_is_per_day():
    old = standardize(dataset("total_precipitation", 0.002, "m"), source="earthengine")
    cds = standardize(dataset("tp", 0.002, "m"))
    np.testing.assert_array_equal(old["pr"], cds["pr"])


@pytest.mark.parametrize(
    ("name", "units", "value", "canonical", "expected"),
    [
        ("mtpr", "kg m**-2 s**-1", 3e-5, "pr", 3e-5),
        ("avg_sdlwrf", "W m**-2", 250.0, "rlds", 250.0),
        ("avg_slhtf", "W m**-2", -40.0, "hfls", 40.0),
        ("msshf", "W m**-2", 20.0, "hfss", -20.0),
    ],
)
def test_mean_rates_are_fluxes_but_heat_is_still_downward(name, units, value, canonical, expected):
    out = standardize(dataset(name, value, units))
    np.testing.assert_allclose(out[canonical], expected)


@pytest.mark.parametrize(
    ("units", "value"), [("mm month-1", 31.0), ("mm/month", 31.0), ("kg m-2 month-1", 31.0)]
)
def test_month_totals_use_the_days_of_each_month(units, value):
    out = standardize(dataset("pr", value, units))["pr"]
    np.testing.assert_allclose(out, value / (DAYS * 86400.0), rtol=1e-12)


@pytest.mark.parametrize(
    ("calendar", "february"), [("noleap", 28), ("360_day", 30), ("standard", 29)]
)
def test_days_and_stamps_come_from_the_calendar(calendar, february):
    days = [15, 30] if calendar == "360_day" else [16, 15]
    times = [
        cftime.datetime(2000, m, d, calendar=calendar) for m, d in zip((1, 2), days, strict=True)
    ]
    ds = xr.Dataset({"pr": ("time", [30.0, 30.0], {"units": "mm month-1"})}, coords={"time": times})
    out = standardize(ds)
    assert out["time"].dtype == "datetime64[ns]"
    assert out["time"].dt.strftime("%Y-%m-%d").values.tolist() == ["2000-01-01", "2000-02-01"]
    assert out["time"].attrs["source_calendar"] == calendar
    np.testing.assert_allclose(out["pr"][1], 30.0 / (february * 86400), rtol=1e-12)


# --- states -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "units", "value", "canonical", "expected"),
    [
        ("t2m", "K", 260.0, "tas", 260.0),
        ("2m_temperature", "K", 260.0, "tas", 260.0),
        ("temperature_2m", "K", 260.0, "tas", 260.0),
        ("skt", "K", 260.0, "ts", 260.0),
        ("tas", "degC", -10.0, "tas", 263.15),
        ("snd", "cm", 25.0, "snd", 0.25),
        ("sde", "m", 0.3, "snd", 0.3),
        ("sd", "m of water equivalent", 0.1, "snw", 100.0),
        ("snow_depth", "m of water equivalent", 0.1, "snw", 100.0),
        ("snow_depth_water_equivalent", "m", 0.1, "snw", 100.0),
        ("snow_cover", "%", 80.0, "snc", 80.0),
        ("snow_cover", "1", 0.8, "snc", 80.0),
        ("rsn", "kg m**-3", 200.0, "snow_density", 200.0),
        ("pr", "mm day-1", 2.0, "pr", 2.0 / 86400),
        ("orog", "m", 300.0, "elevation", 300.0),
    ],
)
def test_states(name, units, value, canonical, expected):
    out = standardize(dataset(name, value, units))
    np.testing.assert_allclose(out[canonical], expected, rtol=1e-12)
    assert name == canonical or name not in out


def test_soil_layers_are_known_by_their_bounds():
    ds = xr.merge(
        [dataset(f"stl{n}", 270.0 + n, "K") for n in (3, 1, 2, 4)]
        + [dataset(f"swvl{n}", 0.3, "m**3 m**-3") for n in (1, 2, 3, 4)]
    )
    out = standardize(ds)
    assert out["tsl"].dims == ("time", "layer")
    assert out["tsl"].isel(time=0).values.tolist() == [271.0, 272.0, 273.0, 274.0]
    edges = np.array(schema.ERA5LAND_EDGES)
    np.testing.assert_allclose(out["depth_bnds"], np.stack([edges[:-1], edges[1:]], axis=1))
    np.testing.assert_allclose(out["mrsol"].isel(time=0), 0.3 * 1000 * np.diff(edges))
    assert out["tsl"].attrs["source_variable"] == "stl1, stl2, stl3, stl4"


def test_the_studys_layer_three_is_era5_land_level_four():
    out = standardize(dataset("soil_temperature_level_4", 270.0, "K"))
    assert out["depth_bnds"].values.tolist() == [[1.0, 2.89]]


def test_different_soil_layers_are_refused():
    ds = xr.merge([dataset("stl1", 270.0, "K"), dataset("swvl2", 0.3, "m3 m-3")])
    with pytest.raises(SourceError, match="different soil layers"):
        standardize(ds)


def cmip_soil(**attrs):
    depth = [1.0, 0.1]
    ds = dataset("mrlsl", 20.0, "kg m-2")
    ds = ds.expand_dims(depth=depth, axis=1).copy(deep=True)
    ds["depth"].attrs = {"units": "m", "positive": "down", "axis": "Z", **attrs}
    return ds


def test_cmip_layers_need_their_bounds():
    with pytest.raises(SourceError, match=r"identified by their bounds; 'depth' has none"):
        standardize(cmip_soil())
    ds = cmip_soil(bounds="depth_bnds")
    ds["depth_bnds"] = (("depth", "bnds"), [[0.2, 1.8], [0.0, 0.2]])
    out = standardize(ds)
    assert out["mrsol"].dims == ("time", "layer")
    assert out["depth"].values.tolist() == [0.1, 1.0]
    assert out["depth_bnds"].values.tolist() == [[0.0, 0.2], [0.2, 1.8]]


def test_depth_without_units_is_refused():
    ds = cmip_soil()
    del ds["depth"].attrs["units"]
    with pytest.raises(SourceError, match=r"ds\['depth'\].attrs\['units'\] = 'm'"):
        standardize(ds)


def test_station_depths_are_points():
    ds = dataset("tsl", -1.0, "degC").expand_dims(station=["a", "b"]).copy(deep=True)
    ds = ds.expand_dims(depth_cm=[20, 320], axis=2)
    out = standardize(ds)
    assert out["tsl"].dims == ("station", "time", "layer")
    assert out["depth_bnds"].values.tolist() == [[0.2, 0.2], [3.2, 3.2]]
    np.testing.assert_allclose(out["tsl"], 272.15)


# --- ambiguity and lies -------------------------------------------------------------------


def test_snow_depth_in_metres_is_ambiguous():
    ds = dataset("snow_depth", 0.3, "m")
    with pytest.raises(SourceError, match=r"source='era5-land' .*source='era5' "):
        standardize(ds)
    assert float(standardize(ds, source="era5-land")["snd"][0]) == 0.3
    assert float(standardize(ds, source="era5")["snw"][0]) == 300.0
    ds["snow_depth"].attrs["GRIB_paramId"] = 141
    assert "snw" in standardize(ds)


def test_an_attribute_can_prove_the_source():
    ds = dataset("snow_depth", 0.3, "m").assign_attrs(id="ECMWF/ERA5_LAND/MONTHLY_AGGR")
    assert "snd" in standardize(ds)


def test_grib_id_and_name_that_contradict():
    with pytest.raises(SourceError, match=r"GRIB_paramId 167 is 'tas'"):
        standardize(dataset("tp", 0.001, "m", GRIB_paramId=167))


def test_grib_id_names_a_nameless_variable():
    out = standardize(dataset("var228", 0.001, "m", GRIB_paramId=228))
    np.testing.assert_allclose(out["pr"], 0.001 * 1000 / 86400)
    assert not [key for key in out["pr"].attrs if key.startswith("GRIB")]


def test_eccodes_standard_name_of_downward_flux_is_not_trusted():
    ds = dataset("slhf", -4e6, "J m**-2", standard_name="surface_upward_latent_heat_flux")
    assert float(standardize(ds)["hfls"][0]) > 0


def test_standard_name_against_canonical_name():
    ds = dataset("rlds", 250.0, "W m-2", standard_name="surface_net_downward_longwave_flux")
    with pytest.raises(SourceError, match="'rlds' should be"):
        standardize(ds)


def test_standard_name_recognises_an_unknown_name_but_not_an_extreme():
    mean = dataset("air_t", 260.0, "K", standard_name="air_temperature", cell_methods="time: mean")
    assert "tas" in standardize(mean)
    extreme = dataset("air_t", 260.0, "K", standard_name="air_temperature")
    extreme["air_t"].attrs["cell_methods"] = "time: maximum"
    assert list(standardize(extreme).data_vars) == ["air_t"]


@pytest.mark.parametrize(
    ("name", "units", "value"),
    [
        ("total_precipitation_sum", "kg m-2 s-1", 3e-5),
        ("surface_thermal_radiation_downwards_sum", "W m-2", 250.0),
        ("tp", "kg m-2 s-1", 3e-5),
        ("tp", "mm", 3.0),
        ("t2m", "m", 3.0),
        ("pr", "mm", 3.0),
        ("tas", "W m-2", 3.0),
    ],
)
def test_name_and_units_that_disagree(name, units, value):
    with pytest.raises(SourceError, match=f"name and units of '{name}' disagree.*Settle it"):
        standardize(dataset(name, value, units))


def test_missing_units():
    with pytest.raises(SourceError, match=r"'tp' has no units.*source='era5-land'"):
        standardize(dataset("tp", 0.001, None))
    with pytest.raises(SourceError, match="has no units"):  # not a name of that source
        standardize(dataset("total_precipitation_sum", 0.03, None), source="era5-land")
    out = standardize(dataset("tp", 0.001, None), source="era5-land")
    np.testing.assert_allclose(out["pr"], 0.001 * 1000 / 86400)


@pytest.mark.parametrize("name", ["mrso", "mrsos"])
def test_other_soil_water_is_never_renamed(name):
    with pytest.raises(SourceError, match=f"{name}.*ds.drop_vars"):
        standardize(dataset(name, 20.0, "kg m-2"))


def test_swapped_evaporation_is_refused():
    with pytest.raises(SourceError, match="interchanged in the archive"):
        standardize(dataset("evabs", -0.001, "m of water equivalent"))


def test_two_variables_of_one_kind():
    ds = xr.merge([dataset("tas", 260.0, "K"), dataset("t2m", 260.0, "K")])
    with pytest.raises(SourceError, match=r"all become 'tas'. Keep one"):
        standardize(ds)


def test_unknown_source_answers_with_close_matches():
    with pytest.raises(UnknownNameError, match="did you mean 'earthengine'"):
        standardize(dataset("tas", 260.0, "K"), source="earthengin")


@pytest.mark.parametrize(
    ("name", "units", "value"),
    [
        ("pr", "kg m-2 s-1", 0.005),  # m per day
        ("pr", "kg m-2 s-1", 0.001),  # m per day, each value in range
        ("tas", "K", -5.0),
        ("rlds", "W m-2", 2e7),
        ("snow_cover", "1", 80.0),
        ("tp", "m", 2.0),  # mm
    ],
)
def test_values_that_do_not_fit_their_units(name, units, value):
    with pytest.raises(SourceError, match=r"after conversion|plausible"):
        standardize(dataset(name, value, units))


def test_packing_negatives_are_clipped_and_counted():
    ds = dataset("tp", 0.001, "m")
    ds["tp"][3] = -2e-9
    before = ds.copy(deep=True)
    out = standardize(ds)["pr"]
    assert float(out[3]) == 0.0
    assert out.attrs["clipped_negative"].startswith("1 values")
    xr.testing.assert_identical(ds, before)
    ds["tp"][3] = -0.001
    with pytest.raises(SourceError, match="spans"):
        standardize(ds)


def test_missing_values_stay_missing():
    ds = dataset("tp", 0.001, "m")
    ds["tp"][5] = np.nan
    out = standardize(ds)["pr"]
    assert np.isnan(out[5])
    assert int(out.isnull().sum()) == 1


# --- coordinates --------------------------------------------------------------------------


def test_latitudes_are_turned_around():
    """Turning copies nothing; what is converted is in order again."""
    lat = {"latitude": np.arange(70.0, 60.0, -1.0)}
    time = pd.date_range("2001-01", periods=24, freq="MS")
    values = np.random.default_rng(0).uniform(250, 280, (24, 10)).astype("f4")
    raw = xr.Dataset(
        {"t2m": (("time", "latitude"), values, {"units": "K"}),
         "tp": (("time", "latitude"), values * 1e-5, {"units": "m"})},
        coords={"time": time, **lat},
    )  # fmt: skip
    out = standardize(raw)
    assert out["lat"].values.tolist() == sorted(lat["latitude"])
    np.testing.assert_array_equal(out["tas"], values[:, ::-1])
    np.testing.assert_allclose(out["pr"], values[:, ::-1] * 1e-5 / 86.4, rtol=1e-6)
    assert all(da.values.flags.c_contiguous for da in out.data_vars.values())
    turned = _ascending(raw.rename(latitude="lat"), "lat")
    assert np.shares_memory(turned["t2m"].values, raw["t2m"].values)
    straight = standardize(raw.sortby("latitude"))
    xr.testing.assert_equal(straight, out)


def test_plausibility_is_judged_on_a_sample_of_many_places(monkeypatch):
    """Totals of months as mean daily totals in every cell: found on few cells as on all."""
    from xpermafrost.sources import _plausible

    ds = testing.gridded(years=2)
    for most in (10_000, 4):
        monkeypatch.setattr(_plausible, "ENOUGH_PLACES", most)
        sample = _plausible._some_places({n: ds[n] for n in ("tas", "pr", "tsl")})
        assert math.prod(n for d, n in sample["tas"].sizes.items() if d != "time") <= max(4, most)
        if most == 4:
            same = [xr.align(da.lat, da.lon, join="exact") for da in sample.values()]
            assert all(lat.equals(same[0][0]) and lon.equals(same[0][1]) for lat, lon in same)
        standardize(ds)
        wet = ds.assign(pr=(ds["pr"] * 40).assign_attrs(ds["pr"].attrs))
        with pytest.raises(SourceError, match="a year in half of the places beyond 55 degrees"):
            _plausible.check(wet, step="month", names={"pr"})


@pytest.mark.parametrize("layout", ["narrow", "few", "sparse", "curvilinear"])
def test_a_sample_of_places_is_of_those_with_data(layout):
    """400 W m-2 all year round in 65 degN is refused however the places with data lie."""
    time = pd.date_range("2001-01", periods=24, freq="MS")
    shape = {"narrow": (1, 20_000)}.get(layout, (300, 300))
    sun = np.full((24, *shape), 400.0, "f4")
    there = np.ones(shape, bool)
    if layout == "few":
        there[:] = False
        there[151:154, 151:154] = True
    elif layout == "sparse":
        there[:] = False
        there[1::4, 3::4] = True
    sun[:, ~there] = np.nan
    lat, lon = np.linspace(64.9, 65.1, shape[0]), np.linspace(0, 100, shape[1])
    if layout == "curvilinear":
        coords = {"lat": (("y", "x"), np.broadcast_to(lat[:, None], shape)),
                  "lon": (("y", "x"), np.broadcast_to(lon, shape))}  # fmt: skip
        raw = xr.Dataset({"rsds": (("time", "y", "x"), sun)}, coords)
    else:
        raw = xr.Dataset({"rsds": (("time", "lat", "lon"), sun)}, {"lat": lat, "lon": lon})
    raw["rsds"].attrs["units"] = "W m-2"
    with pytest.raises(SourceError, match="exceeds the sunlight above the atmosphere"):
        standardize(raw.assign_coords(time=time))


def test_single_numbers_are_converted():
    time = pd.date_range("2001-01", periods=24, freq="MS")
    tas = xr.DataArray(np.linspace(-20.0, 10.0, 24), {"time": time}, ("time",))
    raw = xr.Dataset({"tas": tas.assign_attrs(units="degC"), "sftlf": ((), 0.8, {"units": "1"})})
    assert float(standardize(raw)["sftlf"]) == 80.0
    np.testing.assert_allclose(standardize(raw[["tas"]].isel(time=0))["tas"], 253.15)


@pytest.mark.parametrize("shape", [(), (7,), (5, 4), (3, 0)])
def test_extent_in_pieces(shape, monkeypatch):
    from xpermafrost.sources import _guards

    monkeypatch.setattr(_guards, "PIECE", 3)
    values = np.random.default_rng(0).normal(size=shape)
    if values.ndim == 2 and values.size:
        values[1] = np.nan
    found = _guards._Extent.of(values)
    if not values.size:
        assert np.isnan([found.low, found.high, found.size]).all()
        return
    wanted = [np.nanmin(values), np.nanmax(values), np.nanmean(np.abs(values))]
    np.testing.assert_allclose([found.low, found.high, found.size], wanted)
    assert np.isnan(_guards._Extent.of(np.full(4, np.nan)).size)


def test_lat_lon_are_renamed_wrapped_and_sorted():
    ds = dataset("t2m", 260.0, "K", dim="valid_time")
    lat, lon = [70.0, 60.0], [0.0, 90.0, 180.0, 270.0]
    ds = ds.expand_dims(latitude=lat, longitude=lon).transpose("valid_time", ...).copy(deep=True)
    ds["t2m"] += 0 * ds["t2m"] + ds["longitude"] / 10
    out = standardize(ds)
    assert out["lat"].values.tolist() == [60.0, 70.0]
    assert out["lon"].values.tolist() == [-180.0, -90.0, 0.0, 90.0]
    assert out["tas"].isel(time=0, lat=0).values.tolist() == [278.0, 287.0, 260.0, 269.0]
    assert out["lat"].attrs["standard_name"] == "latitude"


def test_lon_bounds_move_with_their_longitudes():
    ds = xr.Dataset(
        {
            "sftlf": ("lon", [1.0, 2.0], {"units": "%"}),
            "lon_bnds": (("lon", "bnds"), [[0, 180.0], [180, 360]]),
        },
        coords={"lon": [90.0, 270.0]},
    )
    out = standardize(ds)
    assert out["lon_bnds"].values.tolist() == [[-180.0, 0.0], [0.0, 180.0]]
    assert out["sftlf"].values.tolist() == [2.0, 1.0]


def test_new_cds_layout():
    ds = dataset("t2m", 260.0, "K", dim="valid_time")
    ds = ds.assign_coords(number=0, expver=("valid_time", ["0001"] * 10 + ["0005"] * 2))
    with pytest.warns(PermafrostWarning, match="2 months are preliminary.*2001-11 to 2001-12"):
        out = standardize(ds)
    assert set(out.coords) == {"time"}
    assert out.attrs["preliminary_months"] == "2001-11, 2001-12"


def test_integer_date_as_time():
    stamps = [int(t.strftime("%Y%m%d")) for t in MONTHS]
    out = standardize(dataset("t2m", 260.0, "K", dim="date", times=stamps))
    assert (out["time"].values == MONTHS.values).all()


@pytest.mark.parametrize("labels", [[1, 5], ["0001", "0005"]])
def test_legacy_expver_dimension(labels):
    values = np.full((12, 2), np.nan)
    values[:10, 0], values[9:, 1] = 260.0, 250.0
    ds = xr.Dataset(
        {"t2m": (("time", "expver"), values, {"units": "K"})},
        coords={"time": MONTHS, "expver": labels},
    )
    with pytest.warns(PermafrostWarning, match="2 months are preliminary"):
        out = standardize(ds)
    assert out["tas"].dims == ("time",)
    assert out["tas"].values.tolist() == [260.0] * 10 + [250.0] * 2
    assert out.attrs["preliminary_months"] == "2001-11, 2001-12"


def test_stamps_at_the_end_of_the_month_follow_their_bounds():
    ends = MONTHS + pd.offsets.MonthBegin(1)
    ds = dataset("tas", 260.0, "K", times=ends)
    ds["time"].attrs["bounds"] = "time_bnds"
    ds["time_bnds"] = (("time", "bnds"), np.stack([MONTHS, ends], axis=1))
    out = standardize(ds)
    assert (out["time"].values == MONTHS.values).all()
    assert "time_bnds" not in out.variables


def test_undecoded_time_is_decoded():
    ds = dataset("tas", 260.0, "K", times=[15.5, 45.0])
    ds["time"].attrs = {"units": "days since 1850-01-01", "calendar": "noleap"}
    out = standardize(ds)
    assert out["time"].dt.strftime("%Y-%m").values.tolist() == ["1850-01", "1850-02"]
    with pytest.raises(TimeAxisError, match="neither YYYYMMDD nor"):
        standardize(dataset("tas", 260.0, "K", times=[1, 2]))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1, 1, 2], "2001-02 twice"),
        ([0, 1, 2, 3, 5, 4, 5, 6, 7], "no 2001-05|after"),
        ([0, 1, 3, 4], "no 2001-03"),
    ],
)
def test_months_must_be_whole(order, message):
    with pytest.raises(TimeAxisError, match=message):
        standardize(dataset("tas", 260.0, "K", times=MONTHS[order]))


# --- canonical data, laziness -------------------------------------------------------------


def canonical(**extra):
    shape = (2, 3, 12)
    dims = ("scenario", "band", "time")
    ds = xr.Dataset(
        {
            "tas": (dims, np.full(shape, 260.0), schema.variable("tas").attrs),
            "pr": (dims, np.full(shape, 2e-5), schema.variable("pr").attrs),
            "tsl": (("band", "layer", "time"), np.full((3, 4, 12), 270.0), {"units": "K"}),
            "note": ("band", ["x", "y", "z"]),
        },
        coords={
            "time": MONTHS.astype("datetime64[ns]"),
            "scenario": ["reference", "rcp85"],
            "band": ["a", "b", "c"],
            **schema.layer_coords(),
        },
        attrs={"title": "canonical"},
    )
    ds["pr"][1, :, :6] = np.nan
    return ds


def test_canonical_passes_unchanged():
    ds = canonical()
    before = copy.deepcopy(ds)
    xr.testing.assert_identical(standardize(ds), before)
    xr.testing.assert_identical(ds, before)


@pytest.mark.parametrize(("name", "units", "value", "_canonical", "_expected"), PER_DAY)
def test_standardize_is_idempotent(name, units, value, _canonical, _expected):
    raw = dataset(name, value, units, dim="valid_time", GRIB_stepType="avgad")
    before = copy.deepcopy(raw)
    once = standardize(raw)
    xr.testing.assert_identical(standardize(once), once)
    xr.testing.assert_identical(raw, before)


def test_a_second_field_of_a_kind_is_kept_as_it_is():
    ds = canonical()
    ds["tsl_esm"] = ds["tsl"].assign_attrs(schema.variable("tsl").attrs)
    xr.testing.assert_identical(standardize(ds), ds)


def test_another_resolution_of_the_same_dates_becomes_nanoseconds():
    ds = canonical().assign_coords(time=MONTHS.astype("datetime64[us]"))
    out = standardize(ds)
    assert out["time"].dtype == "datetime64[ns]"
    assert "history" not in out.attrs


def test_made_up_data_of_the_package_are_canonical():
    for ds in (testing.canonical(), testing.experiment()):
        xr.testing.assert_identical(standardize(ds), ds)


def test_extra_dims_survive():
    ds = canonical()
    ds["tas"] = (ds["tas"] - 273.15).assign_attrs(units="degC")
    out = standardize(ds)
    assert out["tas"].dims == ("scenario", "band", "time")
    np.testing.assert_allclose(out["tas"], 260.0)
    assert out["scenario"].values.tolist() == ["reference", "rcp85"]


class Counter:
    def __init__(self):
        self.computes = 0

    def __call__(self, graph, keys, **options):
        self.computes += 1
        return dask.get(graph, keys, **options)


def test_lazy_data_stay_lazy_and_are_checked_when_computed():
    ds = xr.merge(
        [
            dataset("tp", 0.001, "m"),
            dataset("total_precipitation_sum", 0.03, "m").rename(total_precipitation_sum="x"),
            dataset("t2m", 260.0, "K"),
            dataset("stl1", 270.0, "K"),
            dataset("stl2", 271.0, "K"),
            dataset("tas_bad", 5.0, "K"),
        ]
    )
    counter = Counter()
    with dask.config.set(scheduler=counter):
        out = standardize(ds.chunk(time=5))
        bad = standardize(ds[["tas_bad"]].rename(tas_bad="tas").chunk(time=5))
        assert counter.computes == 0
        assert all(out[name].chunks for name in ("pr", "tas", "tsl"))
        xr.testing.assert_allclose(out.compute(), standardize(ds))
        with pytest.raises(SourceError, match="'tas' spans 5"):
            bad.compute()


def test_lazy_equals_eager_for_month_totals():
    ds = dataset("total_precipitation_sum", 0.03, "m")
    lazy = standardize(ds.chunk(time=5))["pr"]
    np.testing.assert_array_equal(lazy.values, standardize(ds)["pr"].values)


# --- identify -----------------------------------------------------------------------------


def test_identify_shows_everything_and_raises_nothing():
    ds = xr.merge(
        [
            dataset("tp", 0.001, "m"),
            dataset("snow_depth", 0.3, "m"),
            dataset("swvl1", 0.3, "m3 m-3"),
            dataset("d2m", 250.0, "K"),
        ]
    )
    table = identify(ds).set_index("variable")
    assert table.loc["tp", "canonical"] == "pr"
    assert table.loc["tp", "factor"] == pytest.approx(1000 / 86400)
    assert table.loc["tp", "per"] == "day"
    assert (table.loc["swvl1", "top"], table.loc["swvl1", "bottom"]) == (0.0, 0.07)
    assert table.loc["d2m", "rule"] == "not recognised; kept as it is"
    assert "several meanings" in table.loc["snow_depth", "problem"]


def test_every_family_is_registered_under_its_name():
    assert all(family.name == name for name, family in FAMILIES.items())
    assert {"cmip", "era5-land", "era5", "earthengine", "stations"} == set(FAMILIES)


def test_missing_units_of_canonical_names_are_errors_too():
    with pytest.raises((UnitsError, SourceError), match=r"'tas' has no units.*attrs\['units'\]"):
        standardize(dataset("tas", 260.0, None))


# --- traps of real files ------------------------------------------------------------------


def test_the_time_dimension_may_have_any_name():
    hours = pd.date_range("2001-01-01 01:00", periods=744, freq="h")
    for name in ("T", "Time", "DATE"):
        raw = dataset("tp", 1e-4, "m", dim=name, times=hours)
        # as static fields, hourly totals would pass for mean daily totals
        with pytest.raises(SourceError, match="several meanings"):
            standardize(raw)
        out = standardize(raw, source="era5")["pr"]
        assert out.dims == ("time",)
        np.testing.assert_allclose(out * 86400, [2.4])


@pytest.mark.parametrize("stamp", ["2001-07-15", "2001-07-01 13:00"])
def test_a_lone_total_is_no_month(stamp):
    raw = dataset("tp", 5e-3, "m", times=pd.DatetimeIndex([stamp]))
    with pytest.raises(SourceError, match=r"whether of a month, a day or an hour|hour of day"):
        standardize(raw)
    with pytest.raises(SourceError, match="whether of a month, a day or an hour"):
        standardize(raw.isel(time=0))
    edges = pd.DatetimeIndex(["2001-07-15", "2001-07-16"]).to_numpy()[np.newaxis]
    raw = dataset("total_precipitation_sum", 5e-3, "m", times=pd.DatetimeIndex(["2001-07-15"]))
    raw = raw.assign(time_bnds=(("time", "bnds"), edges))
    raw["time"].attrs["bounds"] = "time_bnds"
    day = standardize(raw, step="day")["pr"]
    np.testing.assert_allclose(day * 86400, [5.0])


def test_two_hours_across_the_turn_of_a_month_are_no_months():
    hours = pd.DatetimeIndex(["2001-01-31T23:00", "2001-02-01T00:00"])
    with pytest.warns(PermafrostWarning, match="not wholly covered"):
        out = standardize(dataset("t2m", 260.0, "K", times=hours))
    assert out["tas"].isnull().all()


def test_accumulations_of_grib_begin_in_the_month_before():
    valid = MONTHS + pd.Timedelta("6h")
    raw = dataset("tp", np.arange(1, 13) / 1000, "m", times=valid - pd.Timedelta("12h"))
    raw = raw.assign_coords(step=np.timedelta64(12, "h"), valid_time=("time", valid))
    out = standardize(raw)
    assert (out["time"].values == MONTHS.values).all()
    np.testing.assert_allclose(out["pr"] * 86400, np.arange(1, 13))


@pytest.mark.parametrize("name", ["t2m", "tas"])
@pytest.mark.parametrize(
    "attrs",
    [
        {"cell_methods": "time: maximum"},
        {"cell_methods": "area: mean time: minimum within days time: mean over days"},
        {"GRIB_stepType": "max"},
    ],
)
def test_extremes_are_no_means(name, attrs):
    with pytest.raises(SourceError, match=r"is a m\w+imum in time .* ds.rename"):
        standardize(dataset(name, 270.0, "K", **attrs))
    standardize(dataset(name, 270.0, "K", cell_methods="area: maximum time: mean"))


def test_means_of_one_hour_of_the_day_are_refused():
    with pytest.raises(SourceError, match=r"stamped at 12 UTC .* by hour of day"):
        standardize(dataset("t2m", 270.0, "K", times=MONTHS + pd.Timedelta("12h")))
    standardize(dataset("tp", 1e-3, "m", times=MONTHS + pd.Timedelta("6h")))


@pytest.mark.parametrize(
    "labels", [[1.0] * 11 + [5.0], ["0001"] * 11 + ["0005"], [b"1"] * 11 + [b"5"]]
)
def test_expver_in_any_spelling(labels):
    raw = dataset("t2m", 270.0, "K").assign_coords(expver=("time", labels))
    with pytest.warns(PermafrostWarning, match="1 months are preliminary"):
        assert standardize(raw).attrs["preliminary_months"] == "2001-12"


def test_expver_of_all_times():
    raw = dataset("t2m", 270.0, "K")
    for whole in (raw.assign_coords(expver="0005"), raw.expand_dims(expver=[5])):
        with pytest.warns(PermafrostWarning, match="12 months are preliminary"):
            standardize(whole)


def test_lazy_legacy_expver_is_joined_unseen():
    values = np.full((12, 2), np.nan)
    values[:10, 0], values[9:, 1] = 260.0, 250.0
    raw = xr.Dataset(
        {"t2m": (("time", "expver"), values, {"units": "K"})},
        coords={"time": MONTHS, "expver": [1, 5]},
    ).chunk(time=6)
    with dask.config.set(scheduler=_refuse):
        out = standardize(raw)
    assert "which months are preliminary is not known" in out.attrs["history"]
    assert out["tas"].values.tolist() == [260.0] * 10 + [250.0] * 2


def _refuse(*args, **options):
    raise AssertionError("computed")


def test_a_file_without_times_is_refused():
    with pytest.raises(TimeAxisError, match="'time' holds no time step"):
        standardize(dataset("t2m", 270.0, "K", times=MONTHS[:0]))


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.arange(12) + 0.5, "months since 2001-01-01"),
        (np.arange(12), "months since 2001-1-1 00:00:00"),
        ([float(f"2001{m:02d}15.5") for m in range(1, 13)], "day as %Y%m%d.%f"),
    ],
)
def test_other_encodings_of_time(values, units):
    raw = dataset("tas", 270.0, "K").assign_coords(time=("time", values, {"units": units}))
    assert (standardize(raw)["time"].values == MONTHS.values).all()


def test_time_that_cannot_be_decoded():
    raw = dataset("tas", 270.0, "K")
    raw = raw.assign_coords(time=("time", np.arange(12), {"units": "months since 2001-01-16"}))
    with pytest.raises(TimeAxisError, match="cannot decode 'time' in 'months since 2001-01-16'"):
        standardize(raw)


@pytest.mark.parametrize(
    "units",
    ["Kelvin", "deg C", "degreesC", "degrees_C", "Degrees Celsius", "\u00b0C", "\u00baC", "C"],
)
def test_spellings_of_temperature(units):
    kelvin = 260.0 if units == "Kelvin" else -13.15
    np.testing.assert_allclose(standardize(dataset("tas", kelvin, units))["tas"], 260.0)


def test_lat_lon_and_bounds_by_their_attributes():
    raw = xr.Dataset(
        {
            "tas": (("time", "Y", "X"), np.full((12, 2, 3), 270.0), {"units": "K"}),
            "X_vertices": (("X", "nv"), [[199.0, 200], [200, 201], [201, 202]]),
        },
        coords={
            "time": MONTHS,
            "Y": ("Y", [65.5, 64.5], {"units": "degree_north"}),
            "X": ("X", [199.5, 200.5, 201.5], {"units": "degree_east", "bounds": "X_vertices"}),
        },
    )
    before = raw.copy(deep=True)
    out = standardize(raw)
    xr.testing.assert_identical(raw, before)
    assert out["tas"].dims == ("time", "lat", "lon")
    assert out["lon_bnds"].values.tolist() == [[-161, -160], [-160, -159], [-159, -158]]
    assert out["lon"].attrs["bounds"] == "lon_bnds"


def test_a_static_field_at_every_time_is_kept_once():
    land = np.full((12, 2), 0.9)
    raw = xr.Dataset(
        {
            "t2m": (("time", "lat"), np.full((12, 2), 270.0), {"units": "K"}),
            "lsm": (("time", "lat"), land, {"units": "(0 - 1)"}),
        },
        coords={"time": MONTHS, "lat": [60.0, 61.0]},
    )
    for ds in (raw, raw.chunk(time=3), raw.assign(lsm=raw["lsm"].where(raw.time == MONTHS[3]))):
        out = standardize(ds)["sftlf"]
        assert out.dims == ("lat",)
        np.testing.assert_allclose(out, 90.0)
    land[6:] = 0.1
    assert standardize(raw)["sftlf"].dims == ("time", "lat")


@pytest.mark.parametrize("chunks", [None, {"time": 100}])
def test_codes_for_missing_are_not_averaged(chunks):
    hours = pd.date_range("2001-01-01", periods=744, freq="h")
    raw = dataset("t2m", 260.0, "K", times=hours)
    raw["t2m"][100] = -9999.0
    raw["t2m"][101] = np.nan
    raw = raw if chunks is None else raw.chunk(chunks)
    with pytest.raises(SourceError, match="readings of 'tas' span -9999 to 260 K"):
        standardize(raw).compute()


@pytest.mark.parametrize("freq", ["MS", "D", "h"])
def test_what_to_type_names_the_dimension_of_the_source(freq):
    times = pd.date_range("2001-01-01", periods=70, freq=freq)
    raw = dataset("t2m", 270.0, "K", dim="valid_time", times=times.insert(3, times[2]))
    with pytest.raises(TimeAxisError, match=r"Type ds.drop_duplicates\('valid_time'\)"):
        standardize(raw)
    raw = dataset("t2m", 270.0, "K", dim="valid_time", times=times[::-1])
    with pytest.raises(TimeAxisError, match=r"ds.sortby\('valid_time'\)"):
        standardize(raw)
