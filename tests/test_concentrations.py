"""Concentrations by scenario and year: as published, by label, never adjusted."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest

import xpermafrost
from xpermafrost import testing
from xpermafrost.concentrations import (
    co2_forcing,
    ghg_concentrations,
    known_scenarios,
    with_concentrations,
)
from xpermafrost.errors import DataError, ScenarioError, TimeAxisError, UnknownNameError
from xpermafrost.experiment import combine
from xpermafrost.features import build_features, feature_statistics, needed_variables
from xpermafrost.projection import project, scenario_forcing
from xpermafrost.training import fit

#: As they stand in the tables of fair 1.6.4: {scenario: {year: (CO2, CH4, N2O)}}.
PUBLISHED = {
    "rcp26": {2050: (442.70046, 1451.5398, 341.89562), 2100: (420.89546, 1253.6284, 344.0163)},
    "rcp45": {2005: (378.8125, 1753.735, 319.44), 2100: (538.3583, 1576.3458, 372.27383)},
    "rcp60": {1850: (284.725, 790.97924, 275.42506), 2100: (669.72317, 1649.3962, 406.26529)},
    "rcp85": {2050: (540.54279, 2739.9847, 367.21965), 2100: (935.87437, 3750.6846, 435.10615)},
    "ssp126": {
        2014: (397.546979, 1831.470998, 326.987991),
        2100: (445.625002, 1056.409658, 353.912982),
    },
    "ssp245": {
        1850: (284.316999, 808.249029, 273.021047),
        2050: (506.874954, 2020.239665, 356.165975),
    },
    "ssp370": {2100: (867.190918, 3372.181152, 421.828967)},
    "ssp585": {
        2050: (562.783925, 2446.451497, 358.199977),
        2100: (1135.209869, 2415.329407, 391.798978),
    },
}


@pytest.mark.parametrize("scenario", list(PUBLISHED))
def test_numbers_are_those_published(scenario):
    for year, (co2, ch4, n2o) in PUBLISHED[scenario].items():
        got = ghg_concentrations(scenario).sel(scenario=scenario, year=year)
        assert float(got["co2"]) == pytest.approx(co2, abs=5.1e-4)
        assert float(got["ch4"]) == pytest.approx(ch4, abs=5.1e-3)
        assert float(got["n2o"]) == pytest.approx(n2o, abs=5.1e-4)


def test_every_year_of_every_scenario_is_there():
    table = ghg_concentrations()
    assert table["year"].values.tolist() == list(range(1850, 2101))
    assert table["scenario"].values.tolist() == known_scenarios()
    assert len(known_scenarios()) == 12
    for gas, units in (("co2", "1e-6"), ("ch4", "1e-9"), ("n2o", "1e-9")):
        assert bool(table[gas].notnull().all())
        assert table[gas].attrs["units"] == units
    # one past for all RCPs until 2005, and one for all SSPs until 2014
    past = table["co2"].sel(scenario=["rcp26", "rcp45", "rcp60", "rcp85"], year=slice(None, 2005))
    assert bool((past == past.isel(scenario=0)).all())
    past = table["co2"].sel(scenario=["ssp126", "ssp245", "ssp585"], year=slice(None, 2014))
    assert float(abs(past - past.isel(scenario=0)).max()) < 1e-3


def test_the_table_says_where_it_is_from_and_is_small():
    path = Path(xpermafrost.__file__).parent / "data" / "concentrations.csv"
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("Meinshausen", "2011", "2020", "fair 1.6.4", "Apache-2.0"):
        assert any(word in line for line in head), word
    assert path.stat().st_size <= 100_000


def test_names_as_people_type_them():
    assert ghg_concentrations(["SSP5-8.5", "ssp534-over"])["scenario"].values.tolist() == [
        "ssp585",
        "ssp534over",
    ]
    with pytest.raises(
        ScenarioError, match="unknown scenario of concentrations 'rcp83'; did you mean"
    ):
        ghg_concentrations("rcp83")


def test_every_scenario_gets_its_own_and_the_past_a_middle_one(world, unchanged):
    with unchanged(world):
        out = with_concentrations(world)
    assert out["co2"].dims == ("scenario", "time")
    table = ghg_concentrations()["co2"]
    june = out["co2"].sel(time="2017-06").isel(time=0)
    for name, row in {"reference": "rcp45", "historical": "rcp45", "rcp85": "rcp85"}.items():
        assert float(june.sel(scenario=name)) == float(table.sel(scenario=row, year=2017))
    assert out.attrs["history"].endswith(
        "with_concentrations: co2, ch4, n2o of rcp45, rcp26, rcp85"
    )
    other = with_concentrations(world, past="ssp370", gases=["n2o"])
    assert "co2" not in other
    assert float(other["n2o"].sel(scenario="reference", time="2017-06")[0]) == float(
        ghg_concentrations("ssp370")["n2o"].sel(year=2017)[0]
    )


def test_without_scenarios_it_is_one_series(ds):
    out = with_concentrations(ds, gases=["co2"])
    assert out["co2"].dims == ("time",)
    want = ghg_concentrations("ssp245")["co2"].sel(year=2008).item()
    assert out["co2"].sel(time="2008").values.tolist() == [want] * 12


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: d.rename(tas="co2"), DataError, r"has a variable 'co2' already.*drop_vars"),
        (
            lambda d: d.assign_coords(time=d["time"] + np.timedelta64(365 * 200, "D")),
            TimeAxisError,
            r"known for 1850 to 2100; the data span 22.*ds.sel",
        ),
    ],
)
def test_what_does_not_fit_is_refused(ds, change, error, message):
    with pytest.raises(error, match=message):
        with_concentrations(change(ds))


def test_other_names_are_refused(ds):
    with pytest.raises(UnknownNameError, match="unknown greenhouse gas 'co'; did you mean 'co2'"):
        with_concentrations(ds, gases=["co"])
    odd = combine(ds, storm=testing.canonical(years=9))
    with pytest.raises(ScenarioError, match="unknown scenario of concentrations 'storm'"):
        with_concentrations(odd)


def test_nothing_is_computed(world):
    def refuse(graph, keys, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        assert with_concentrations(world.chunk())["tas"].chunks is not None


def test_as_features_they_are_the_same_everywhere(ds):
    given = with_concentrations(ds)
    names = ("tas", "co2", "ch4", "n2o", "scenario_signal:co2")
    assert needed_variables(names) == ("tas", "co2", "ch4", "n2o")
    cube = build_features(given, names, statistics=feature_statistics(given, names))
    assert cube["feature"].values.tolist() == list(names)
    co2 = cube.sel(feature="co2")
    assert bool((co2 == co2.isel(band=0)).all())
    np.testing.assert_allclose(co2.isel(band=0), given["co2"], rtol=1e-6)
    signal = cube.sel(feature="scenario_signal:co2").isel(band=0)
    np.testing.assert_allclose(signal, 5.35 * np.log(given["co2"] / 278.0), rtol=1e-6)


def test_the_signal_is_ordered_as_the_forcing_is():
    late = ghg_concentrations(["rcp26", "rcp45", "rcp60", "rcp85"])["co2"].sel(year=2100)
    signal = co2_forcing(late)
    assert signal.attrs["units"] == "W m-2"
    assert (np.diff(signal) > 0).all()


def test_a_projection_takes_them_as_they_are(world, quick):
    """No adjustment: the forcing after the reference is the table's of its own scenario."""
    given = with_concentrations(world, gases=["co2"])
    for method in ("qdm", "none"):
        forcing = scenario_forcing(given, ["rcp85"], variables=["tas", "co2"], method=method)
        future = forcing["rcp85"]["co2"].sel(time="2015")
        assert future.dims == ("time",)
        want = ghg_concentrations("rcp85")["co2"].sel(year=2015).item()
        assert future.values.tolist() == [want] * 12
    features = ["tas", "snd", "co2", "month_sin", "month_cos"]
    model = fit(
        given, "gru", features=features, config=quick, options={"hidden": 8}, jobs=1, progress=False
    )
    out = project(given, model)
    more = project(with_concentrations(world, past="ssp370", gases=["co2"]), model)
    assert out["scenario"].values.tolist() == ["rcp26", "rcp85"]
    assert bool(out.notnull().all())
    # the reference's last years are another table's, and only they
    assert float(abs(more - out).sel(time=slice("2012", None)).max()) == 0.0
