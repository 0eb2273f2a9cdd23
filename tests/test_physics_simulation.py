"""The soil column driven by canonical forcing: what goes in, what comes out, what is refused."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    PermafrostWarning,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.physics import column, snow
from xpermafrost.physics.forcing import Surface, fill_gaps, insolation, read_steps, to_days
from xpermafrost.physics.profile import SoilLayer, SoilProfile, profile
from xpermafrost.physics.simulation import SpinUp, column_edges, simulate_soil
from xpermafrost.schema import layer_coords

QUICK = SpinUp(cycles=8, tolerance=5.0)
POINTS = [(0.1, 0.1), (1.0, 1.0)]


def months(years=3, means=(-8.0, -3.0, 2.0), calendar="standard", name="band"):
    time = xr.date_range(
        "2001-01-01",
        periods=12 * years,
        freq="MS",
        calendar=calendar,
        use_cftime=None if calendar == "standard" else True,
    )
    season = -18 * np.cos(2 * np.pi * np.arange(12 * years) / 12)
    tas = xr.DataArray(
        np.asarray(means)[:, None] + season + 273.15,
        dims=(name, "time"),
        coords={"time": time, name: [f"{m:g}" for m in means]},
        attrs={"units": "K"},
    )
    snd = xr.where(tas < 272, 0.3, 0.0).assign_attrs(units="m")
    return xr.Dataset({"tas": tas, "snd": snd})


def days(years=2, **options):
    monthly = months(years + 1, **options)
    daily = monthly.resample(time="1D").interpolate("linear").isel(time=slice(365 * years))
    return daily.assign({name: daily[name].assign_attrs(monthly[name].attrs) for name in daily})


# ---------------------------------------------------------------- from months to days


def test_days_keep_the_means_of_the_months():
    rng = np.random.default_rng(0)
    lengths = np.asarray(months(5)["time"].dt.days_in_month)
    for positive in (False, True):
        values = rng.normal(3, 4, (60, 7))
        values = np.maximum(values, 0) if positive else values
        daily = to_days(values, lengths, positive=positive)
        back = np.add.reduceat(daily, np.concatenate([[0], np.cumsum(lengths)[:-1]]), axis=0)
        np.testing.assert_allclose(back / lengths[:, None], values, atol=1e-9)
        if positive:
            assert daily.min() == 0.0


def test_days_of_a_season_are_those_of_the_season():
    lengths = np.asarray(months(4)["time"].dt.days_in_month)
    day = np.arange(lengths.sum())
    truth = 15 * np.sin(2 * np.pi * day / 365.25)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    means = np.add.reduceat(truth, starts) / lengths
    error = to_days(means[:, None], lengths, positive=False)[:, 0] - truth
    assert np.abs(error[60:-60]).max() < 0.05


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_calendars(calendar):
    ds = months(2, calendar=calendar)
    out = simulate_soil(ds, spin_up=QUICK)
    assert out["time"].equals(ds["time"])
    assert bool(out["tsl"].notnull().all())
    per_month = {"standard": 31, "noleap": 31, "360_day": 30}[calendar]
    assert read_steps(ds["time"], "month").counts[0] == per_month


def test_insolation_knows_polar_night_and_midnight_sun():
    time = months(1)["time"]
    lat = xr.DataArray([40.0, 75.0], dims="lat", coords={"lat": [40.0, 75.0]})
    sun = insolation(time, lat)
    assert float(sun.sel(lat=75).isel(time=[0, 11]).max()) == 0.0
    assert float(sun.sel(lat=75).isel(time=5)) > 200
    # the annual mean above the air at 40 N is 330 W m-2
    assert float(sun.sel(lat=40).mean()) == pytest.approx(0.5 * 330, rel=0.02)


# ---------------------------------------------------------------- what comes out


def test_labels_units_and_places(unchanged):
    ds = months().assign_coords(lat=("band", [70.0, 65.0, 60.0]))
    with unchanged(ds):
        out = simulate_soil(ds, "boreal", surface=Surface(snow="taiga"), spin_up=QUICK)
    assert out["tsl"].dims == ("band", "layer", "time")
    assert out["tsl"].attrs["units"] == "K"
    assert out["depth_bnds"].values[-1].tolist() == [1.0, 2.89]
    assert out["lat"].values.tolist() == [70.0, 65.0, 60.0]
    assert out["band"].equals(ds["band"])
    assert bool((out["tsl"].mean("time").diff("band") > 0).all())
    assert out["thaw_depth"].dims == ("band", "time")
    assert float(out["ground_heat_flux"].sel(time="2001-01").max()) < 0


def test_layers_of_another_object_keep_their_labels():
    ds = months()
    own = xr.Dataset(coords=layer_coords((0.0, 0.1, 0.5, 2.0))).isel(layer=[0, 2])
    out = simulate_soil(ds, layers=own, spin_up=QUICK)
    assert out["layer"].values.tolist() == [1, 3]
    assert out["depth_bnds"].values.tolist() == [[0.0, 0.1], [0.5, 2.0]]
    wanted = simulate_soil(ds, layers=[(0.0, 0.1), (0.5, 2.0)], spin_up=QUICK)
    np.testing.assert_array_equal(out["tsl"], wanted["tsl"])


def test_one_place_needs_no_dim():
    ds = months()
    together = simulate_soil(ds, spin_up=QUICK)
    alone = simulate_soil(ds.isel(band=1, drop=True), spin_up=QUICK)
    assert alone["tsl"].dims == ("layer", "time")
    np.testing.assert_allclose(alone["tsl"], together["tsl"].isel(band=1), atol=5e-3)


def test_it_is_the_column_that_runs():
    """On bare ground with ``ts`` it gives what ``simulate`` gives."""
    ds = days().isel(band=1, drop=True)
    ds = ds.rename(tas="ts").assign(snd=0 * ds["snd"])
    ds["snd"].attrs["units"] = "m"
    soil = profile("mineral").properties()
    got = simulate_soil(ds, soil, spin_up=None)
    start = float(ds["ts"].mean())
    wanted = column.simulate(ds["ts"], soil, initial=start)
    np.testing.assert_allclose(got["tsl"], wanted["tsl"], atol=1e-3)
    np.testing.assert_allclose(got["ground_heat_flux"], wanted["ground_heat_flux"], atol=1e-6)


def test_daily_forcing_by_month_and_by_step():
    ds = days(1)
    by_step = simulate_soil(ds, average="step", layers=POINTS, spin_up=QUICK)
    by_month = simulate_soil(ds, layers=POINTS, spin_up=QUICK)
    assert by_step.sizes["time"] == 365
    assert by_month.sizes["time"] == 12
    assert by_month["time"].values[3] == np.datetime64("2001-04-01")
    mean = by_step["tsl"].resample(time="MS").mean()
    np.testing.assert_allclose(by_month["tsl"], mean, atol=1e-3)


def test_monthly_means_are_nearly_as_good_as_their_days():
    ds = days(3)
    back = ds.resample(time="MS").mean().map(lambda da: da.assign_attrs(ds[da.name].attrs))
    daily = simulate_soil(ds, spin_up=QUICK)
    monthly = simulate_soil(back, spin_up=QUICK)
    assert float(np.abs(daily["tsl"] - monthly["tsl"]).max()) < 1.0
    assert float(np.abs(daily["tsl"] - monthly["tsl"]).mean()) < 0.15


def test_going_on_from_a_state_is_exact():
    ds = days(2)
    whole = simulate_soil(ds, spin_up=QUICK)
    first = simulate_soil(ds.sel(time="2001"), spin_up=QUICK)
    second = simulate_soil(ds.sel(time="2002"), initial=first)
    np.testing.assert_array_equal(second["tsl"], whole["tsl"].sel(time="2002"))
    assert bool(second["spin_up_drift"].isnull().all())


def test_snow_insulates_by_depth_class_and_factor():
    ds = months()
    winter = {"time": "2003-02", "layer": 1}

    def mean(forcing, **options):
        out = simulate_soil(forcing, spin_up=QUICK, surface=Surface(**options))
        return float(out["tsl"].sel(winter).mean())

    thin = ds.assign(snd=(0.3 * ds["snd"]).assign_attrs(units="m"))
    assert mean(ds, snow="taiga") > mean(ds, snow="tundra") > mean(ds, snow=380.0)
    assert mean(ds) > mean(thin) + 1
    assert mean(ds, snow_conductivity_factor=2.0) < mean(ds) - 1


def test_snow_by_water_equivalent_or_by_both():
    ds = months()
    density = snow.class_density(ds["snd"], ds["time"].dt.dayofyear + 14, kind="tundra")
    snw = (ds["snd"] * density).assign_attrs(units="kg m-2")
    depth = simulate_soil(ds, spin_up=QUICK)["tsl"]
    water = simulate_soil(ds.drop_vars("snd").assign(snw=snw), spin_up=QUICK)["tsl"]
    both = simulate_soil(ds.assign(snw=snw), spin_up=QUICK)["tsl"]
    assert float(np.abs(water - depth).max()) < 1.0
    assert float(np.abs(both - depth).max()) < 1.0


def test_melting_snow_stays_at_the_freezing_point():
    ds = months(2, means=(0.0,))
    white = ds.assign(snd=(0 * ds["snd"] + 0.3).assign_attrs(units="m"))
    assert float(simulate_soil(white, spin_up=QUICK)["tsl"].max()) < 273.3
    assert float(simulate_soil(ds, spin_up=QUICK)["tsl"].max()) > 280


def test_sunshine_warms_the_ground_in_summer():
    ds = months(means=(-3.0,))
    lat = xr.DataArray(68.0)
    sunny = ds.assign(rsds=insolation(ds["time"], lat))
    gain = simulate_soil(sunny, spin_up=QUICK)["tsl"] - simulate_soil(ds, spin_up=QUICK)["tsl"]
    assert 0.5 < float(gain.sel(time="2003-07", layer=1).mean()) < 4.0


def test_numbers_by_place_are_as_one_by_one():
    ds = months()
    factor = xr.DataArray([0.5, 1.0, 2.0], dims="band", coords={"band": ds["band"]})
    thick = xr.DataArray([0.05, 0.15, 0.4], dims="band", coords={"band": ds["band"]})
    soil = profile("tundra").adjust(organic_thickness=thick)
    surface = Surface(snow_conductivity_factor=factor)
    together = simulate_soil(ds, soil, surface=surface, spin_up=QUICK, bottom_flux=0.1 * factor)
    for k in range(3):
        alone = simulate_soil(
            ds.isel(band=k),
            profile("tundra").adjust(organic_thickness=float(thick[k])),
            surface=Surface(snow_conductivity_factor=float(factor[k])),
            spin_up=QUICK,
            bottom_flux=0.1 * float(factor[k]),
        )
        np.testing.assert_allclose(alone["tsl"], together["tsl"].isel(band=k), atol=1e-2)


def test_candidates_are_one_more_dim():
    ds = months(means=(-3.0,)).isel(band=0)
    factor = xr.DataArray([0.5, 2.0], dims="candidate")
    out = simulate_soil(ds, surface=Surface(snow_conductivity_factor=factor), spin_up=QUICK)
    assert out["tsl"].dims == ("candidate", "layer", "time")
    winter = out["tsl"].sel(time="2003-02").mean(("layer", "time"))
    assert float(winter[1]) < float(winter[0]) - 1


# ---------------------------------------------------------------- missing, lazy, settled


def test_missing_forcing_is_missing_from_there_on():
    ds = months()
    holed = ds.copy(deep=True)
    holed["tas"][0] = np.nan  # no data at all
    holed["snd"][1, :14] = np.nan  # begins late
    holed["tas"][2, 20] = np.nan  # a gap
    out = simulate_soil(holed, spin_up=QUICK)
    full = simulate_soil(ds, spin_up=QUICK)
    assert bool(out["tsl"][0].isnull().all())
    assert bool(out["tsl"][1, :, :14].isnull().all())
    assert bool(out["tsl"][1, :, 14:].notnull().all())
    assert bool(out["tsl"][2, :, 20:].isnull().all())
    np.testing.assert_allclose(out["tsl"][2, :, :19], full["tsl"][2, :, :19], atol=0.1)
    assert out["enthalpy"].isnull().any("node").values.tolist() == [True, False, False]
    filled = simulate_soil(fill_gaps(holed), spin_up=QUICK)
    assert bool(filled["tsl"][2].notnull().all())
    assert float(np.abs(filled["tsl"] - full["tsl"])[2].max()) < 0.5


def test_filling_leaves_the_ends_and_what_is_known():
    ds = months()
    holed = ds.copy(deep=True)
    holed["tas"][1, :5] = np.nan
    holed["tas"][1, 20:22] = np.nan
    holed["tas"][1, -3:] = np.nan
    filled = fill_gaps(holed)
    assert bool(filled["tas"][1, :5].isnull().all())
    assert bool(filled["tas"][1, -3:].isnull().all())
    known = holed["tas"].notnull()
    np.testing.assert_array_equal(filled["tas"].where(known), holed["tas"])
    typical = holed["tas"][1, 8::12].mean()
    assert float(filled["tas"][1, 20]) == pytest.approx(float(typical))
    assert filled["tas"].attrs == ds["tas"].attrs


def test_a_soil_with_missing_numbers_is_missing():
    ds = months()
    water = xr.DataArray([0.5, np.nan, 0.9], dims="band", coords={"band": ds["band"]})
    soil = SoilProfile(name="x", layers=(SoilLayer(texture="silt", saturation=water),))
    out = simulate_soil(ds, soil, spin_up=QUICK)
    assert out["tsl"].isnull().all(("layer", "time")).values.tolist() == [False, True, False]


def test_lazy_over_places():
    ds = months(means=tuple(np.linspace(-9, 3, 70)))

    def raise_if_called(*_args, **_kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=raise_if_called):
        lazy = simulate_soil(ds.chunk(band=40), spin_up=QUICK)
        assert lazy["tsl"].chunks is not None
    calls = []

    def counting(graph, keys, **options):
        calls.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=counting):
        got = lazy.compute()
    assert len(calls) == 1
    eager = simulate_soil(ds, spin_up=QUICK)
    assert got["tsl"].dtype == lazy["tsl"].dtype == eager["tsl"].dtype
    np.testing.assert_allclose(got["tsl"], eager["tsl"], atol=2e-2)
    with pytest.raises(DimensionError, match=r"ds.chunk\(time=-1\)"):
        simulate_soil(ds.chunk(time=12))


def test_spin_up_finds_the_state_that_a_long_run_finds():
    year = days(1, means=(-6.0, 1.0))
    time = xr.date_range("2001-01-01", periods=365 * 25, calendar="noleap", use_cftime=True)
    many = xr.concat([year] * 25, dim="time").assign_coords(time=time)
    options = {"bottom_flux": 0.06, "layers": [(0.1, 0.1), (1.0, 1.0), (25.0, 25.0)]}
    short = simulate_soil(year, spin_up=SpinUp(tolerance=1e-3, cycles=200), **options)
    long = simulate_soil(many, spin_up=None, **options)
    for _ in range(15):
        long = simulate_soil(many, initial=long, **options)
    assert float(short["spin_up_drift"].max()) <= 1e-3
    last = long["tsl"].isel(time=slice(-12, None))
    difference = np.abs(short["tsl"].values - last.values)
    assert difference[:, :2].max() < 0.05
    assert difference[:, 2].max() < 0.3


def test_a_spin_up_that_is_cut_off_says_so():
    with pytest.warns(PermafrostWarning, match=r"3 of 3 columns .* spin_up=SpinUp\(cycles=300\)"):
        simulate_soil(months(), spin_up=SpinUp(cycles=2, tolerance=1e-6))


# ---------------------------------------------------------------- what is refused


def test_time_steps_that_are_too_long_are_refused():
    ds = days(1).isel(time=slice(None, None, 10))
    with pytest.raises(TimeAxisError, match=r"found steps of \[10.0\] days.*resample\(time='1D'\)"):
        simulate_soil(ds)
    with pytest.raises(TimeAxisError, match="no 2001-03"):
        simulate_soil(months().isel(time=[0, 1, 3, 4, 5, 6, 7, 8]))
    with pytest.raises(TimeAxisError, match="average='month'"):
        simulate_soil(months(), average="step")


def test_unphysical_properties_are_refused():
    soil = profile("mineral").properties()
    with pytest.raises(DataError, match=r"'conductivity_frozen' must be above 0; found -2"):
        simulate_soil(months(), soil.assign(conductivity_frozen=-2.0 + 0 * soil["latent_heat"]))
    with pytest.raises(DimensionError, match="25 nodes, the grid 3"):
        simulate_soil(months(), soil, edges=(0.0, 1.0, 2.0, 3.0))
    with pytest.raises(DataError, match=r"50 to 600 kg m-3; found snow=0.3"):
        Surface(snow=0.3)
    with pytest.raises(UnknownNameError, match="did you mean 'taiga'"):
        Surface(snow="taig")


def test_forcing_and_layers_that_do_not_fit_are_refused():
    ds = months()
    with pytest.raises(MissingVariableError, match="snd"):
        simulate_soil(ds[["tas"]])
    with pytest.raises(UnitsError, match="degC"):
        simulate_soil(ds.assign(tas=(ds["tas"] - 273.15).assign_attrs(units="degC")))
    with pytest.raises(DimensionError, match=r"column_edges\(40\)"):
        simulate_soil(ds, layers=[(40.0, 40.0)])
    with pytest.raises(DimensionError, match="positive down"):
        simulate_soil(ds, layers=(0.0, -0.2, -1.0))
    factor = xr.DataArray([1.0, 2.0], dims="band", coords={"band": ["2", "-3"]})
    with pytest.raises(DimensionError, match="same places in the same order"):
        simulate_soil(ds, surface=Surface(snow_conductivity_factor=factor))
    with pytest.raises(DataError, match="needs 365 steps; the forcing has 304"):
        simulate_soil(ds.isel(time=slice(10)))
    with pytest.raises(DataError, match="spin_up=None"):
        SpinUp(years=0)
    with pytest.raises(UnknownNameError, match="did you mean 'month'"):
        simulate_soil(ds, average="months")


def test_deep_and_shallow_grids_agree_near_the_surface():
    ds = months(3)
    spin_up = SpinUp(tolerance=0.005, cycles=200)
    deep = simulate_soil(
        ds, edges=column_edges(20.0, through=(0.07, 0.28, 1.0, 2.89)), spin_up=spin_up
    )
    usual = simulate_soil(ds, spin_up=spin_up)
    assert float(np.abs(deep["tsl"] - usual["tsl"]).max()) < 0.3
