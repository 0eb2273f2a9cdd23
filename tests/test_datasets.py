"""The sample world: shape, units, plausibility, determinism, and a cache that heals itself.

And the registry of public files; how they are downloaded is tested in test_downloads.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xpermafrost import datasets, diagnostics
from xpermafrost._checks import check_monthly, check_range, check_steps, check_units
from xpermafrost._downloads import matches
from xpermafrost._sampleworld import build, geography, ground, snowcover, weather
from xpermafrost.baselines import fit_baseline
from xpermafrost.errors import DataError
from xpermafrost.schema import ERA5LAND_EDGES, FREEZING_POINT, VARIABLES, layer_bounds
from xpermafrost.windows import WindowSpec

FORCING = ("tas", "ts", "pr", "prsn", "rlds", "rsds", "hfls", "hfss", "snd", "snw", "snc", "mrsol")
RCPS = ["rcp26", "rcp45", "rcp60", "rcp85"]


@pytest.fixture(scope="module")
def bands():
    return datasets.alaska_sample()


@pytest.fixture(scope="module")
def tree():
    return datasets.alaska_sample(grid=True)


@pytest.fixture(scope="module")
def reference(bands):
    return bands.sel(scenario="reference", time=slice("2001", "2023"))


def test_units_ranges_and_months(bands, tree):
    check_monthly(bands, step="test")
    for name in (*FORCING, "tsl", "soc", "bulk_density", "elevation"):
        check_units(bands[name])
        check_range(bands[name])
    for child in tree.children.values():
        check_monthly(child.to_dataset(), step="test")
        for name in set(child.data_vars) & set(VARIABLES):
            check_units(child[name])
            check_range(child[name])


def test_structure(bands, tree):
    assert bands["scenario"].values.tolist() == ["reference", "historical", *RCPS]
    assert bands["tas"].dims == ("scenario", "band", "time")
    assert bands["tsl"].dims == ("band", "layer", "time")
    assert bands["tsl_truth"].dims == ("scenario", "band", "layer", "time")
    assert bands.sizes["band"] == 6
    assert bands["depth_bnds"].values.tolist()[-1] == [1.0, 2.89]
    assert list(tree.children) == ["reference", "historical", *RCPS, "truth"]
    assert tree["reference"].sizes["lat"] > tree["rcp85"].sizes["lat"]


def test_each_scenario_has_its_own_months_and_nothing_else(bands):
    spans = {"reference": ("2001", "2023"), "historical": ("1950", "2005")}
    for name in bands["scenario"].values:
        start, stop = spans.get(name, ("2006", "2100"))
        tas = bands["tas"].sel(scenario=name)
        assert int(tas.notnull().sum()) == 6 * 12 * (int(stop) - int(start) + 1)
        assert bool(tas.sel(time=slice(start, stop)).notnull().all())
    assert bool(bands["tsl"].sel(time=slice("2024", None)).isnull().all())
    assert bool(bands["tsl"].sel(time=slice("2001", "2023")).notnull().all())
    truth = bands["tsl_truth"].sel(scenario=RCPS)
    assert bool(truth.sel(time=slice("2024", None)).notnull().all())
    assert bool(truth.sel(time=slice(None, "2023")).isnull().all())


def test_sea_is_missing_never_zero(tree):
    for child in tree.children.values():
        ds = child.to_dataset()
        temperature = ds["tas"] if "tas" in ds else ds["tas_truth"]
        sea = temperature.isnull().all("time")
        assert bool((sea == (ds["sftlf"] == 0)).all()) or temperature.ndim > 3
        assert float(temperature.min()) > 200


def test_it_says_that_it_is_simulated(bands, tree):
    for obj in (bands, tree, *tree.children.values()):
        assert obj.attrs["simulated"].startswith("yes")
        assert "imulated" in obj.attrs["title"]
        assert "simulated" in obj.attrs["source"]
    assert "simulated" in datasets._cached_file("bands").name


def test_climate_is_alaskas(reference):
    maat = reference["tas"].mean("time") - 273.15
    assert 0.0 < float(maat[0]) < 2.5
    assert -12.5 < float(maat[-1]) < -9.5
    assert bool((maat.diff("band") < 0).all())
    month = reference.groupby("time.month").mean()
    amplitude = (month["tas"].max("month") - month["tas"].min("month")) / 2
    assert bool(((amplitude > 10) & (amplitude < 24)).all())
    assert bool((month["tas"].argmax("month").isin([6, 7])).all())
    total = reference["pr"].mean("time") * 86400 * 365
    assert bool(((total > 150) & (total < 1300)).all())
    assert float(total[0]) > 2 * float(total[-1])
    depth = month["snd"].max("month")
    assert bool(((depth > 0.15) & (depth < 1.0)).all())
    assert bool((month["snd"].sel(month=8) < 0.02).all())
    assert bool((reference["prsn"] <= reference["pr"] * 1.0001).all())


def test_forcing_is_coherent(reference):
    month = reference.groupby("time.month")
    anomaly = month - month.mean()
    winter = anomaly.sel(time=anomaly["time.month"].isin([12, 1, 2]))

    def r(one, two):
        return float(xr.corr(winter[one], winter[two], dim="time").mean())

    assert r("tas", "rlds") > 0.6
    assert r("tas", "ts") > 0.9
    assert float(month.mean()["rsds"].sel(month=12)[-1]) < 5
    density = reference["snw"].where(reference["snd"] > 0.05) / reference["snd"]
    assert 80 < float(density.min()) < float(density.max()) < 450


def test_soil_remembers_and_damps(reference):
    tsl = reference["tsl"].groupby("time.month").mean()
    amplitude = (tsl.max("month") - tsl.min("month")) / 2
    assert bool((amplitude.diff("layer") < 0).all())
    assert bool((tsl.argmax("month").diff("layer") >= 0).all())
    mean = reference["tsl"].mean("time")
    offset = mean.isel(layer=0) - reference["tas"].mean("time")
    assert bool(((offset > 1) & (offset < 7)).all())  # snow keeps the ground warmer than the air
    anomaly = reference["tsl"].groupby("time.month") - tsl
    kept = xr.corr(anomaly, anomaly.shift(time=12), dim="time")
    assert float(kept.isel(layer=3).mean()) > float(kept.isel(layer=0).mean())


#: Southern edges of the six bands [degrees N].
SOUTH = (59.3, 61.3, 63.3, 65.3, 67.3, 69.3)


def lasting(tree):
    """Where the deepest layer stays frozen in most years, NaN at sea."""
    deep = tree["reference"].to_dataset()["tsl"].isel(layer=3)
    warmest = deep.groupby("time.year").max()
    return ((warmest <= FREEZING_POINT).mean("year") > 0.5).where(warmest.notnull().all("year"))


def test_permafrost_is_where_it_is_cold(tree):
    """None in the south, discontinuous in the Interior, continuous from the Brooks Range on."""
    frozen = lasting(tree)
    share = [
        float(frozen.sel(lat=slice(south - 0.05, south + 1.95)).mean(("lat", "lon")))
        for south in SOUTH
    ]
    assert share[0] == 0.0
    assert share[1] < 0.1
    assert 0.05 < share[2] < 0.5
    assert 0.4 < share[3] < 0.9
    assert share[4] > 0.95
    assert share[5] == 1.0


def test_the_active_layer_of_the_north(tree):
    reference = tree["reference"].to_dataset()
    yearly = reference["thaw_depth"].groupby("time.year").max(skipna=False)
    typical = yearly.where(lasting(tree) == 1).where(reference["lat"] > 67.3).median("year")
    low, middle, high = typical.quantile([0.05, 0.5, 0.95])
    assert 0.3 < float(low) < 0.6
    assert 0.5 < float(middle) < 1.1
    assert float(high) < 1.5
    # 0.3 m is asked for; three of 75 cells, at the Arctic coast, thaw 0.22 to 0.29 m
    assert int((typical < 0.3).sum()) <= 3
    assert float(typical.min()) > 0.2
    assert float(typical.max()) < 1.5


def test_the_south_freezes_in_winter_only(tree):
    reference = tree["reference"].to_dataset()
    south = reference["tsl"].where(reference["lat"] < 61) - FREEZING_POINT
    coldest = south.groupby("time.year").min().mean("year")
    assert float(coldest.isel(layer=0).median()) < -1.0
    assert float(south.isel(layer=3).mean()) > 1.0
    warmest = south.groupby("time.year").max().min("year")
    assert float(warmest.min()) > 0.0


def test_zero_curtain_is_in_the_monthly_soil(reference):
    """Wet ground passes 0 degC slowly in autumn: more months near 0 than a sine would have."""
    band = (reference["tsl"].isel(layer=2) - 273.15).sel(time=slice("2002", None))
    near = (np.abs(band) < 0.5).mean("time")
    half = (band.max("time") - band.min("time")) / 2
    sine = 2 / np.pi * 0.5 / half
    assert float((near / sine).max()) > 2


def test_zero_curtain_is_in_the_daily_soil():
    """Three years of days: the soil is held at 0 degC for weeks while it freezes back."""
    place = build._place(geography.reference_grid(), ground.TRUE, weather.TRUE)
    day = weather.days(2001, 2015)
    calm = weather.Chance(
        **{name: np.zeros((day.year.size, weather.PATTERNS)) for name in ("warmth", "wetness")}
    )
    state = build.surface.start(place.cells, place.ground)
    run = build._soil(place, day, build._sky(place, day, "", calm, state), None, average="step")
    soil = run["tsl"].isel(layer=1).sel(time=slice("2013", None))
    held = diagnostics.zero_curtain_days(soil, tolerance=0.2) == 1
    days = (held.sum("time") / 3).where(xr.DataArray(place.cells.lat > 67.3, dims="cell"))
    assert 8 < float(days.median()) < 30
    assert float(days.quantile(0.05)) > 5


@pytest.fixture(scope="module")
def days():
    return datasets.alaska_sample(step="day")


def test_days_are_those_of_the_cells(days, tree):
    """The same world: the daily means of a station are the monthly ones of its cell."""
    ds = days["reference"].to_dataset()
    cells = tree["reference"].to_dataset().sel(lat=ds["lat"], lon=ds["lon"])
    monthly = ds.drop_dims("bnds").resample(time="MS").mean()
    for name, gap in {"tas": 1e-3, "ts": 1e-3, "snd": 1e-4, "rsds": 1e-2, "tsl": 0.05}.items():
        same = cells[name].transpose(*monthly[name].dims)
        np.testing.assert_allclose(monthly[name], same, atol=gap, err_msg=name)
    for name in ("soc", "elevation"):
        np.testing.assert_allclose(ds[name], cells[name], rtol=1e-4)


def test_days_are_canonical_and_marked(days):
    assert list(days.children) == ["reference", "rcp85"]
    spans = {"reference": ("2001-01-01", "2023-12-31"), "rcp85": ("2024-01-01", "2100-12-31")}
    for name, child in days.children.items():
        ds = child.to_dataset()
        check_steps(ds, "day", step="test")
        assert tuple(str(t)[:10] for t in ds["time"].values[[0, -1]]) == spans[name]
        for variable in set(ds.data_vars) & set(VARIABLES):
            check_units(ds[variable])
            check_range(ds[variable])
            assert bool(ds[variable].notnull().all())
        assert ds.attrs["simulated"].startswith("yes")
        assert "imulated" in ds.attrs["title"]
    assert "simulated" in datasets._cached_file("days").name
    with pytest.raises(DataError, match=r"grids of the sample are monthly.*step='day'"):
        datasets.alaska_sample(grid=True, step="day")


def test_days_are_plausible(days):
    ds, later = days["reference"].to_dataset(), days["rcp85"].to_dataset()
    soil = ds["tsl"] - FREEZING_POINT
    air = (ds["tas"] - FREEZING_POINT).mean("time")
    assert float(air.sel(station="arctic_coast")) < -10.0
    assert float(air.sel(station="south_coast")) > 0.0
    frozen = soil.isel(layer=3).groupby("time.year").max().max("year") <= 0.0
    assert bool(frozen.sel(station=["arctic_coast", "arctic_foothills", "brooks_range"]).all())
    assert not bool(frozen.sel(station="south_coast"))
    # weather: the soil's days follow the air's at the top and forget them at the bottom
    jump = soil.diff("time").std("time").mean("station")
    assert bool((jump.diff("layer") < 0).all())
    assert float(jump.isel(layer=0)) > 10 * float(jump.isel(layer=3))
    held = diagnostics.zero_curtain(ds["tsl"].isel(layer=1), tolerance=0.2)
    autumn = held["zero_curtain_total"].sel(season="autumn").mean("year")
    assert bool((autumn.sel(station=["arctic_coast", "arctic_foothills"]) > 5).all())
    assert bool((autumn < 120).all())
    # the scenario goes on where the reference ends, and warms as the bands do
    step = later["tsl"].isel(time=0) - ds["tsl"].isel(time=-1)
    assert float(np.abs(step.isel(layer=3)).max()) < 0.2
    late = later.sel(time=slice("2081", None))
    for name, low, high in (("tas", 4.5, 7.5), ("tsl", 2.0, 6.0)):
        change = late[name].mean("time") - ds[name].mean("time")
        assert low < float(change.mean()) < high


def test_a_fit_of_days_and_its_zero_curtain(days):
    """The calibrated column keeps the plateaus of years it has not seen; ridge smears them."""
    ds = days["reference"].to_dataset().sel(station=["arctic_foothills"])
    ds = ds.sel(time=slice("2016", None))
    spec = WindowSpec(length=60, features=("tas", "snd", "day_sin", "day_cos"), step="day")
    test = slice("2021", None)
    observed = ds["tsl"].isel(layer=[1]).sel(time=test)
    wrong = {}
    for name in ("ridge", "column"):
        answer = fit_baseline(name, ds, train=("2016", "2020"), spec=spec).predict(ds)
        answer = answer.isel(layer=[1]).sel(time=test)
        found = answer.permafrost.zero_curtain_error(observed, tolerance=0.2)
        autumn = found.sel(season="autumn")
        assert bool((autumn["n"] == 3).all())
        wrong[name] = float((autumn["duration_mae"] / autumn["duration_observed"]).mean())
    assert wrong["column"] < 0.6 * wrong["ridge"]


def test_ground_fields_hold_together(tree):
    ds = tree["reference"].to_dataset()
    land = ds["elevation"].notnull()
    total = ds["lithology"].sum("lithology_class").where(land)
    np.testing.assert_allclose(total.values[land.values], 1.0, rtol=1e-5)
    assert ds.sizes["lithology_class"] == 9
    assert bool((ds["soc"].diff("layer").where(land, -1) < 1e-3).all())
    denser = ds["bulk_density"].diff("layer").where(land, 1) > -1e-3
    assert bool(denser.isel(layer=0).all())
    assert bool(denser.where(ds["lat"] < 61, True).all())  # without ice below
    # peat by place: from hardly any to the whole second layer
    assert float(ds["soc"].isel(layer=1).min()) < 50
    assert float(ds["soc"].isel(layer=1).max()) > 400


def test_ice_in_excess_of_the_pores_is_in_the_cold_lowlands_of_the_truth_only(tree):
    thickness = np.diff(ERA5LAND_EDGES)[3] * 1000.0
    water = tree["reference"]["mrsol"].isel(layer=3).mean("time") / thickness
    north = water.where(tree["reference"]["lat"] > 67.3)
    assert float(water.where(water["lat"] < 63).max()) < 0.5  # no more than pores
    assert 0.55 < float(north.max()) < 0.8
    assert float(north.min()) < 0.45
    model = tree["rcp85"].to_dataset()
    bounds = layer_bounds(model)
    assert float((model["mrsol"].isel(layer=3, time=0) / (1000 * np.ptp(bounds[3]))).max()) < 0.5


def test_snow_differs_by_place(tree):
    cells = geography.cells(geography.reference_grid())
    share = snowcover.shares(cells)
    np.testing.assert_allclose(share.sum(axis=0), 1.0)
    assert (share.min(axis=1) < 0.05).all()
    assert (share.max(axis=1) > 0.6).all()
    ds = tree["reference"].to_dataset()
    march = ds[["snw", "snd"]].sel(time=ds["time.month"] == 3).mean("time")
    density = (march["snw"] / march["snd"]).where(march["snd"] > 0.05)
    tundra = density.where(ds["lat"] > 69.3).mean()
    taiga = density.where((ds["lat"] > 63.3) & (ds["lat"] < 67.3) & (ds["lon"] > -158)).mean()
    assert 180 < float(taiga) < 220  # Sturm et al. (2010): 217 at most, before it melts
    assert 240 < float(tundra) < 300
    snow = tree["historical"].to_dataset()
    march = snow[["snw", "snd"]].sel(time=snow["time.month"] == 2).mean("time")
    model = (march["snw"] / march["snd"]).where((march["snd"] > 0.05) & (snow["lat"] > 65))
    assert float(model.std()) < 0.6 * float(density.where(ds["lat"] > 65).std())


def test_the_model_has_a_soil_of_its_own(bands, tree):
    own, reference = tree["rcp45"].to_dataset(), tree["reference"].to_dataset()
    np.testing.assert_allclose(layer_bounds(own).ravel(), np.repeat(ground.MODEL.layers, 2)[1:-1])
    np.testing.assert_allclose(layer_bounds(reference)[:, 1], ERA5LAND_EDGES[1:])
    same = slice("2024", "2100")
    gap = bands["tsl_esm"].sel(scenario=RCPS, time=same)
    gap = gap - bands["tsl_truth"].sel(scenario=RCPS, time=same)
    season = gap.groupby("time.month").mean().mean(("band", "scenario"))
    # hardly any peat: summer goes deep
    assert float(season.sel(month=7).isel(layer=1)) > 1.5
    assert bool(np.isfinite(gap).all())


def test_the_same_world_on_every_call():
    place = build._place(geography.model_grid(), ground.MODEL, weather.MODEL)
    (one, _), (two, _) = (build._past(place, "historical", 1950, 1962) for _ in range(2))
    xr.testing.assert_identical(one, two)


def change(bands, name, scenario):
    late = bands[f"{name}_truth"].sel(scenario=scenario, time=slice("2081", "2100"))
    now = bands[name].sel(time=slice("2001", "2023"))
    now = now.sel(scenario="reference") if "scenario" in now.dims else now
    return late.mean("time") - now.mean("time")


def test_warming_is_ordered_by_scenario_late_and_not_early(bands):
    air = [float(change(bands, "tas", s).mean()) for s in RCPS]
    soil = [float(change(bands, "tsl", s).mean()) for s in RCPS]
    np.testing.assert_allclose(air, list(weather.WARMING.values()), atol=0.8)
    assert air == sorted(air)
    assert soil == sorted(soil)
    assert float(change(bands, "tas", "rcp85")[-1]) > float(change(bands, "tas", "rcp85")[0])
    early = np.arange(2024, 2031)
    forced = [weather.forced(s, early).mean() for s in RCPS]
    assert max(forced) - min(forced) < 0.5  # less than a year's chance
    now = bands["tas_truth"].sel(scenario=RCPS, time=slice("2024", "2030")).mean(("band", "time"))
    assert now.values.tolist() != sorted(now.values)


def test_the_truth_is_in_order_in_every_band_and_layer(bands):
    late = xr.concat([change(bands, "tsl", s) for s in RCPS], dim="scenario")
    assert bool((late.isel(scenario=[0, 1, 3]).diff("scenario") > 0).all())
    assert int((late.diff("scenario") > 0).all("scenario").sum()) >= 22  # of 24


def test_model_is_biased_and_truth_is_not(bands):
    both = bands["tas"].sel(time=slice("2024", "2100"))
    gap = (both.sel(scenario=RCPS) - bands["tas_truth"].sel(scenario=RCPS)).groupby("time.month")
    gap = gap.mean().mean("scenario")
    assert bool((gap.sel(month=1) < -0.5).all())
    assert float(gap.sel(month=7).mean()) > 0.3
    joined = (
        bands["tas_truth"].sel(scenario="rcp45", time="2024").mean()
        - bands["tas"].sel(scenario="reference", time=slice("2014", "2023")).mean()
    )
    assert abs(float(joined)) < 3
    # the soil goes on from the reference without a jump: as from any December to January
    deep, after = bands["tsl"].isel(layer=3), bands["tsl_truth"].sel(scenario=RCPS).isel(layer=3)
    steps = [da.diff("time").where(lambda x: x["time.month"] == 1) for da in (deep, after)]
    step = after.sel(time="2024-01-01") - deep.sel(time="2023-12-01", drop=True)
    assert bool((step <= xr.concat(steps, "time").max(("time", "scenario"))).all())
    assert bool((step >= xr.concat(steps, "time").min(("time", "scenario"))).all())


def test_names_of_bands_made_from_a_cached_grid_are_whole(tree, tmp_path, monkeypatch):
    # a file's encoding of 'rcp26' (5 letters) once cut 'reference' in the next
    tree.to_netcdf(tmp_path / "grid.nc", engine="netcdf4")
    monkeypatch.setattr(datasets, "_cached_file", lambda name: tmp_path / f"{name}.nc")
    monkeypatch.setattr(datasets, "_build", lambda: pytest.fail("built again"))
    datasets.alaska_sample()
    with xr.open_dataset(tmp_path / "bands.nc", engine="netcdf4") as ds:
        assert ds["scenario"].values.tolist()[:2] == ["reference", "historical"]


def test_loading_from_the_cache_builds_nothing(bands, monkeypatch):
    monkeypatch.setattr(datasets, "_build", lambda: pytest.fail("built again"))
    xr.testing.assert_identical(datasets.alaska_sample(), bands)


def tiny(seed):
    values = xr.Dataset({"x": ("time", np.arange(3.0) + seed)}, attrs={"simulated": "yes"})
    return xr.DataTree.from_dict({"/": values})


def test_a_damaged_cache_file_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(datasets.DATA_DIR, str(tmp_path / "new" / "folder"))
    calls = []
    monkeypatch.setattr(datasets, "_build", lambda: calls.append(1) or tiny(1))
    datasets.alaska_sample(grid=True)
    datasets.alaska_sample(grid=True)
    assert len(calls) == 1
    path = datasets._cached_file("grid")
    whole = path.read_bytes()
    for damage in (b"", b"no such format", whole[: len(whole) // 2]):
        path.write_bytes(damage)
        healed = datasets.alaska_sample(grid=True)
        assert healed["x"].values.tolist() == [1.0, 2.0, 3.0]
        assert datasets._read(path, tree=True) is not None
    assert len(calls) == 4
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_without_cache_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv(datasets.DATA_DIR, str(tmp_path))
    monkeypatch.setattr(datasets, "_build", lambda: tiny(2))
    datasets.alaska_sample(grid=True, cache=False)
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_weather():
    day = weather.days(2001, 2002)
    one, two = weather.chance(day, 7), weather.chance(day, 7)
    np.testing.assert_array_equal(one.warmth, two.warmth)
    assert not np.array_equal(one.warmth, weather.chance(day, 8).warmth)


def test_every_public_file_is_pinned():
    table = datasets.available()
    assert table.index.is_unique
    assert table["sha256"].is_unique
    assert table["url"].is_unique
    for name, row in table.iterrows():
        assert re.fullmatch(
            r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/\S+", row["url"]
        ), name
        assert re.fullmatch("[0-9a-f]{64}", row["sha256"]), name
        assert row["licence"], name
        assert row["citation"], name
        assert Path(name).suffix == Path(row["url"]).suffix


SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"
COPIES = sorted(
    path for path in SHARED.glob("*/*") if path.name in datasets.FILES and path.suffix != ".nc"
)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data: nothing to compare with")
def test_the_registry_fits_the_copies_at_hand(tmp_path, monkeypatch):
    assert len(COPIES) == 7
    for path in COPIES:
        file = datasets.FILES[path.name]
        assert matches(path, f"sha256:{file.sha256}")
        assert path.stat().st_size == file.size
    # with a copy in the data folder, no network is needed
    monkeypatch.setenv(datasets.DATA_DIR, str(COPIES[0].parent))
    assert datasets.fetch(COPIES[0].name).samefile(COPIES[0])
