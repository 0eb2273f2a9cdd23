"""check_scenarios: silent on sound scenarios, and a finding for every planted fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.errors import (
    DimensionError,
    MissingVariableError,
    ScenarioError,
    TimeAxisError,
)
from xpermafrost.scenario_checks import check_scenarios
from xpermafrost.schema import VARIABLES

CMIP = Path("../shared/data/cmip")
NAMES = ("reference", "historical", "rcp26", "rcp85")
SPANS = {
    "reference": ("1981", "2015"),
    "historical": ("1950", "2005"),
    "rcp26": ("2006", "2100"),
    "rcp85": ("2006", "2100"),
}


@pytest.fixture(scope="module")
def _sound():
    time = pd.date_range("1950", "2100-12", freq="MS", name="time")
    rng = np.random.default_rng(3)
    season = np.cos(2 * np.pi * (time.month.to_numpy() - 7) / 12)[:, None]
    after = np.clip(time.year.to_numpy() - 1990, 0, None)[:, None]
    fields = {"tas": [], "pr": [], "snd": []}
    for name in NAMES:
        noise = rng.normal(size=(3, time.size, 4))
        rate = {"rcp26": 0.01, "rcp85": 0.06}.get(name, 0.02)
        bias = 0.0 if name == "reference" else 1.5
        tas = 262.0 + bias + 16 * season + (2.0 - season) * noise[0] + rate * after
        fields["tas"].append(tas)
        fields["pr"].append(2e-5 * np.exp(0.3 * noise[1]) * (1 + 0.3 * season))
        fields["snd"].append(np.clip(-0.6 * season + 0.05 * noise[2] - 0.25, 0, None))
    ds = xr.Dataset(
        {
            name: (("scenario", "time", "band"), np.stack(v), VARIABLES[name].attrs)
            for name, v in fields.items()
        },
        coords={"scenario": list(NAMES), "time": time, "band": list("abcd")},
    )
    for name in ds.data_vars:
        for scenario, (start, end) in SPANS.items():
            inside = (ds.time >= np.datetime64(start)) & (ds.time <= np.datetime64(f"{end}-12"))
            keep = inside | (ds.scenario != scenario)
            ds[name] = ds[name].where(keep).assign_attrs(VARIABLES[str(name)].attrs)
    starts, ends = zip(*SPANS.values(), strict=True)
    return ds.assign_coords(
        period_start=("scenario", pd.to_datetime(list(starts))),
        period_end=("scenario", pd.to_datetime([f"{end}-12-01" for end in ends])),
    )


@pytest.fixture
def sound(_sound):
    return _sound.copy(deep=True)


def found(ds, check):
    table = check_scenarios(ds).findings
    return table[table["check"] == check]


def at(ds, variable, scenario, **where):
    """The part to write to."""
    return ds[variable].sel(scenario=scenario, **where)


def put(ds, variable, scenario, change, **where):
    part = dict(scenario=scenario, **where)
    ds[variable].loc[part] = change(ds[variable].loc[part])


def test_sound_scenarios_have_no_finding(sound, unchanged):
    with unchanged(sound):
        report = check_scenarios(sound)
    assert report.findings.empty, report
    assert report.worst == "nothing"
    assert report.scenarios == NAMES
    row = report.differences.sel(variable="tas", pair="rcp85 - rcp26")
    assert str(row.first_difference.values)[:7] == "2006-01"
    assert pytest.approx(float(row.difference), abs=0.6) == 0.05 * 100
    assert float(row.standard_error) < 0.4
    assert row.units.item() == "K"
    text = repr(report)
    assert "0 errors, 0 warnings, 0 notes" in text
    assert "rcp85 - rcp26: +" in text


def test_equal_scenarios_and_places(sound):
    sound["tas"].loc[{"scenario": "rcp85"}] = sound["tas"].sel(scenario="rcp26")
    row = found(sound, "identical").iloc[0]
    assert (row.severity, row.variable, row.scenario) == ("error", "tas", "rcp26, rcp85")
    assert "the same in all 1140 months" in row.text
    assert "no month differs" in repr(check_scenarios(sound))


def test_one_equal_place(sound):
    sound["tas"].loc[{"scenario": "rcp85", "band": "c"}] = sound["tas"].sel(
        scenario="rcp26", band="c"
    )
    row = found(sound, "identical").iloc[0]
    assert row.place == "band=c"
    assert row.severity == "error"


def test_first_twenty_months_are_named(sound):
    same = slice("2006-01", "2007-08")
    sound["tas"].loc[{"scenario": "rcp85", "time": same}] = sound["tas"].sel(
        scenario="rcp26", time=same
    )
    row = found(sound, "identical").iloc[0]
    assert row.severity == "warning"
    assert "the same for 20 months; they first differ in 2007-09" in row.text
    assert row.period == "2006-01/2007-08"
    first = check_scenarios(sound).differences.first_difference.sel(variable="tas")
    assert str(first.values[0])[:7] == "2007-09"


def test_equal_zeros_are_no_finding(sound):
    summer = sound.time.dt.month == 7
    assert float(sound["snd"].where(summer).max()) == 0  # equal in every scenario
    assert found(sound, "identical").empty


def test_a_scenario_that_is_the_reference(sound):
    same = slice("2006-01", "2015-12")
    sound["tas"].loc[{"scenario": "rcp85", "time": same}] = sound["tas"].sel(
        scenario="reference", time=same
    )
    row = found(sound, "identical").iloc[0]
    assert row.scenario == "reference, rcp85"
    assert "own run?" in row.text


def test_nearly_identical(sound):
    other = sound["tas"].sel(scenario="rcp26")
    rng = np.random.default_rng(0)
    sound["tas"].loc[{"scenario": "rcp85"}] = other + 0.02 * rng.normal(size=other.shape)
    row = found(sound, "nearly identical").iloc[0]
    assert row.severity == "warning"
    assert row.place == "all 4 places"


def test_swapped_and_inseparable_scenarios(sound):
    two = sound["tas"].sel(scenario=["rcp85", "rcp26"]).values
    swapped = sound.copy(deep=True)
    swapped["tas"].loc[{"scenario": ["rcp26", "rcp85"]}] = two
    row = found(swapped, "order").iloc[0]
    assert row.severity == "error"
    assert "colder under rcp85 than under rcp26" in row.text
    assert row.period == "2081/2100"
    years = np.clip(sound.time.dt.year - 1990, 0, None)
    put(sound, "tas", "rcp85", lambda da: da - 0.05 * years)
    row = found(sound, "order").iloc[0]
    assert row.severity in ("warning", "error")
    assert found(sound, "identical").empty


def test_gaps_inside_and_at_the_end(sound):
    nothing = lambda da: da * np.nan  # noqa: E731
    put(sound, "pr", "rcp26", nothing, time=slice("2050-03", "2050-05"))
    put(sound, "tas", "rcp85", nothing, time=slice("2100-07", None))
    put(sound, "snd", "rcp85", nothing, time="2030-01-01", band="b")
    table = found(sound, "gap").set_index("variable")
    assert "3 of the months 2006-01/2100-12 have no 'pr', the first 2050-03" in table.text["pr"]
    assert table.period["tas"] == "2100-07/2100-12"
    assert table.severity["snd"] == "warning"
    assert table.place["snd"] == "band=b"


def test_a_place_that_is_water_is_no_gap(sound):
    sound = sound.where(sound.band != "a")
    for name in sound.data_vars:
        sound[name].attrs = VARIABLES[str(name)].attrs
    assert check_scenarios(sound).findings.empty


def test_a_variable_missing_in_one_scenario(sound):
    put(sound, "snd", "rcp26", lambda da: da * np.nan)
    row = found(sound, "missing variable").iloc[0]
    assert (row.severity, row.scenario) == ("error", "rcp26")
    assert "'snd' has no values in rcp26" in row.text


def without(ds, *, scenario):
    return ds.sel(scenario=[s for s in ds.scenario.values if s != scenario])


def test_periods(sound):
    lone = without(sound, scenario="historical")
    texts = found(lone, "period")
    assert set(texts.severity) == {"warning"}
    assert "120 months are common to the reference and rcp26; an adjustment" in texts.text.iloc[0]
    late = sound.drop_vars(["period_start", "period_end"])
    put(late, "tas", "historical", lambda da: da * np.nan, time=slice("2001", None))
    late = late[["tas"]]
    row = found(late, "period").iloc[0]
    assert row.severity == "error"
    assert "ends 2000-12, rcp26 begins 2006-01: 60 months are between" in row.text
    assert row.period == "1981-01/2015-12; 1950-01/2000-12; 2006-01/2100-12"
    young = sound.copy(deep=True).drop_vars(["period_start", "period_end"])
    for name in young.data_vars:
        put(young, name, "reference", lambda da: da * np.nan, time=slice(None, "2007-12"))
    table = found(young, "period")
    assert "note" in set(table.severity)
    assert "historical ends 2005-12, before the reference begins (2008-01)" in " ".join(table.text)
    assert "96 months are common" in " ".join(table.text)


def test_units_and_ranges(sound):
    celsius = sound.copy(deep=True)
    put(celsius, "tas", "rcp85", lambda da: da - 273.15)
    row = found(celsius, "units").iloc[0]
    assert row.severity == "error"
    assert "'K' means 170 to 340" in row.text
    put(sound, "pr", "rcp26", lambda da: da / 10)
    row = found(sound, "units").iloc[0]
    assert row.severity == "warning"
    assert "times the reference" in row.text
    sound["tas"].attrs["units"] = "degC"
    assert "has units 'degC'; needed 'K'" in " ".join(found(sound, "units").text)


def test_a_season_that_is_late(sound):
    for scenario in ("historical", "rcp26", "rcp85"):
        put(sound, "tas", scenario, lambda da: da.roll(time=3))
    sound = sound.drop_vars(["period_start", "period_end"])
    row = found(sound[["tas"]], "season").iloc[0]
    assert row.severity == "error"
    assert "is 3 months late" in row.text


@pytest.mark.parametrize("size", [0.0, 4.0])
def test_a_step_at_the_seam(sound, size):
    put(sound, "tas", "rcp85", lambda da: da + size)
    table = found(sound, "seam")
    assert len(table) == (size > 0)
    if size:
        row = table.iloc[0]
        assert (row.severity, row.period) == ("warning", "2006-01")
        assert row.scenario == "historical, rcp85"
        assert "jumps by" in row.text


def test_a_season_of_two_years(sound):
    month = np.arange(sound.sizes["time"])
    wave = xr.DataArray(8 * np.cos(2 * np.pi * month / 24), dims="time")
    put(sound, "tas", "rcp26", lambda da: da + wave)
    row = found(sound, "two-year season").iloc[0]
    assert (row.severity, row.scenario) == ("error", "rcp26")
    assert "at 24 months" in row.text


def test_precipitation_without_a_season_has_no_two_year_season(sound):
    noise = np.random.default_rng(1).normal(size=sound["pr"].shape)
    flat = sound["pr"].notnull() * 2e-5 * np.exp(0.3 * noise)
    sound["pr"] = flat.where(sound["pr"].notnull()).assign_attrs(VARIABLES["pr"].attrs)
    assert found(sound, "two-year season").empty


def test_variance_that_changes(sound):
    part = sound["tas"].sel(scenario="rcp85", time=slice("2050", "2100"))
    calm = part.groupby("time.month").mean("time").sel(month=part.time.dt.month)
    trend = 0.06 * (part.time.dt.year - 2075)
    put(
        sound,
        "tas",
        "rcp85",
        lambda da: (calm + trend + 0.2 * (da - calm - trend)).drop_vars("month"),
        time=slice("2050", "2100"),
    )
    row = found(sound, "variance").iloc[0]
    assert (row.severity, row.scenario) == ("warning", "rcp85")
    assert "averaged members" in row.text


def test_constant_months_and_repeated_years(sound):
    may = sound.time.dt.month == 5
    frozen = sound.copy(deep=True)
    put(frozen, "tas", "rcp85", lambda da: xr.where(may & da.notnull(), 270.0, da), band="a")
    row = found(frozen, "constant").iloc[0]
    assert "'tas' never varies in the calendar months 5" in row.text
    assert row.place == "band=a"
    winter = sound.time.dt.month == 1
    put(sound, "snd", "rcp26", lambda da: xr.where(winter & da.notnull(), 0.0, da))
    row = found(sound, "constant").iloc[0]
    assert row.severity == "note"
    assert "always 0 in the calendar months 1" in row.text
    year = sound["tas"].sel(scenario="rcp26", time="2040").values
    put(sound, "tas", "rcp26", lambda da: da.copy(data=year), time="2041")
    row = found(sound, "repeated").iloc[0]
    assert "of 2041 repeats 2040" in row.text


def test_models_are_checked_apart(sound):
    other = sound.copy(deep=True)
    other["tas"].loc[{"scenario": "rcp85"}] = other["tas"].sel(scenario="rcp26")
    both = xr.concat([sound, other], pd.Index(["one", "two"], name="esm"), data_vars="all")
    report = check_scenarios(both)
    assert set(report.findings.query("check == 'identical'").model) == {"two"}
    assert report.differences.sizes["model"] == 2
    assert "two rcp85 - rcp26: no month differs" in repr(report)


def test_a_projection_is_checked(sound):
    air = sound["tas"].sel(scenario=["rcp26", "rcp85"], time=slice("2016", None))
    soil = (air - 273.15).rename("soil_temperature")
    soil.attrs = {"units": "degree_Celsius"}
    assert check_scenarios(soil).findings.empty
    soil.loc[{"scenario": "rcp85"}] = soil.sel(scenario="rcp26")
    assert check_scenarios(soil).worst == "error"


def test_lazy_data_give_the_same(sound):
    assert repr(check_scenarios(sound.chunk(band=2))) == repr(check_scenarios(sound))


def test_combined_test_data(world):
    table = check_scenarios(world).findings
    assert set(table["check"]) <= {"period", "constant"}, table


def test_errors(sound):
    with pytest.raises(DimensionError, match=r"check_scenarios needs dims \('scenario', 'time'\)"):
        check_scenarios(sound.isel(scenario=0))
    with pytest.raises(ScenarioError, match=r"needs a scenario; found \['reference', 'hist"):
        check_scenarios(sound.sel(scenario=["reference", "historical"]))
    with pytest.raises(MissingVariableError, match="variables with dims"):
        check_scenarios(sound.drop_vars(list(sound.data_vars)))
    with pytest.raises(TimeAxisError, match="check_scenarios"):
        check_scenarios(sound.isel(time=[0, 1, 1, 2]))


@pytest.mark.skipif(not CMIP.exists(), reason=f"needs {CMIP}")
def test_real_communities():
    """47 communities, five CMIP5 models, three RCPs; CRU as reference."""
    with xr.open_dataset(CMIP / "nwt_communities_cmip5.nc") as raw:
        raw = raw.load()
    parts = []
    for name, add, scale in (("tas", 273.15, 1.0), ("pr", 0.0, 1 / (86400 * 30.4))):
        runs = raw[f"{name}_gcm"].rename(time_gcm="time", model="esm", rcp="scenario")
        cru = raw[f"{name}_cru32"].rename(time_cru="time").expand_dims(scenario=["reference"])
        both = xr.concat([cru.expand_dims(esm=runs.esm), runs], "scenario", join="outer")
        parts.append((both * scale + add).rename(name).assign_attrs(VARIABLES[name].attrs))
    report = check_scenarios(xr.merge(parts))
    assert report.count("error") == 0, report
    assert set(report.findings["check"]) <= {"period", "order", "repeated"}, report
    # precipitation of CRU falls back on its climatology where gauges ended
    assert "'pr' of 1992 repeats 1991" in " ".join(report.findings.text)
    assert "48 months are common to the reference and rcp45" in report.findings.text[0]
    apart = report.differences.difference.sel(variable="tas", pair="rcp85 - rcp45")
    assert float(apart.min()) > 1.5


@pytest.mark.skipif(not CMIP.exists(), reason=f"needs {CMIP}")
def test_real_ipsl():
    name = "tas_mon_IPSL-CM6A-LR_{}_r1i1p1f1_lat45-90.nc"
    runs = {}
    for scenario in ("historical", "ssp126", "ssp585"):
        with xr.open_dataset(CMIP / name.format(scenario)) as ds:
            runs[scenario] = ds.tas.isel(lat=slice(0, 4)).load()
    sim = xr.concat(runs.values(), pd.Index(list(runs), name="scenario"), join="outer")
    sim.attrs = VARIABLES["tas"].attrs
    report = check_scenarios(sim)
    assert report.count("error") == 0, report
    assert set(report.findings["check"]) <= {"variance"}, report
    sim.loc[{"scenario": "ssp585"}] = sim.sel(scenario="ssp585") + 5.0
    assert "seam" in set(check_scenarios(sim).findings["check"])


def test_methods(sound):
    assert repr(sound.permafrost.check_scenarios()) == repr(check_scenarios(sound))
    soil = sound["tas"].sel(scenario=["rcp26", "rcp85"])
    assert repr(soil.permafrost.check_scenarios()) == repr(check_scenarios(soil))
