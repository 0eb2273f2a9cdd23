"""Days as time steps, from the features to the scores and the zero curtain."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost._checks import check_daily, day_index
from xpermafrost.baselines import BASELINES, NEEDS, _table
from xpermafrost.climatology import climatology, usual, year_fraction
from xpermafrost.diagnostics import zero_curtain, zero_curtain_error
from xpermafrost.errors import (
    DataError,
    LeakageError,
    ScenarioError,
    TimeAxisError,
    UnknownNameError,
)
from xpermafrost.evaluation import _baselines
from xpermafrost.features import build_features, default_features, feature_statistics
from xpermafrost.physics.snow import class_density, thermal_resistance
from xpermafrost.preparation import prepare
from xpermafrost.windows import WindowSpec, make_windows

TRAIN = ("2001", "2004")
SPEC = WindowSpec(step="day", length=30, features=("tas", "snd", "day_cos"))
SMALL = {
    "step": "day",
    "length": 30,
    "options": {"hidden": 8},
    "jobs": 1,
    "progress": False,
}


@pytest.fixture(scope="session")
def _days():
    return testing.daily(years=6)


@pytest.fixture
def days(_days):
    """Six years of days at three places, the soil that of a column."""
    return _days.copy(deep=True)


@pytest.fixture(scope="session")
def model(_days, quick):
    return xp.fit(_days, "gru", train=TRAIN, config=quick, **SMALL)


def celsius(ds):
    return ds["tsl"].values.astype("float64") - 273.15


def rmse(prediction, ds, span=slice("2005", None)):
    error = (prediction - (ds["tsl"] - 273.15)).sel(time=span)
    return float(np.sqrt((error**2).mean()))


def waves(time):
    """Mean and four waves of the year, written out."""
    turn = 2 * np.pi * (time.day_of_year - 0.5) / np.where(time.is_leap_year, 366, 365)
    columns = [np.ones(time.size)]
    for k in (1, 2, 3, 4):
        columns += [np.cos(k * turn), np.sin(k * turn)]
    return np.stack(columns, axis=1)


# --- the data -------------------------------------------------------------------------------------


def test_the_data_are_canonical_days_with_a_zero_curtain(days):
    xr.testing.assert_equal(xp.standardize(days, step="day")["tsl"], days["tsl"])
    check_daily(days, step="x")
    assert days.sizes["time"] == 6 * 365 + 1
    assert bool(days.notnull().all().to_array().all())
    total = zero_curtain(days)["zero_curtain_total"].sel(season="autumn").mean("year")
    assert bool((total.isel(layer=1) > 20).all())  # 0.07 to 0.28 m freezes for weeks everywhere
    xr.testing.assert_identical(testing.daily(years=1), testing.daily(years=1))


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        (lambda i: np.delete(i, 40), r"nothing between 2001-02-09 and 2001-02-11.*asfreq"),
        (lambda i: np.insert(i, 5, 4), r"2001-01-05 twice.*drop_duplicates"),
        (lambda i: i[::-1], r"needs each day once, in order; found .*"),
        (lambda i: i[[0, 2, 1, *range(3, 60)]], r"2001-01-02 after 2001-01-03.*sortby"),
        (lambda i: i[::5], "median time step is 5 days"),
    ],
)
def test_days_that_are_not_each_once_in_order(days, pick, message):
    broken = days.isel(time=pick(np.arange(365)))
    with pytest.raises(TimeAxisError, match=message):
        check_daily(broken, step="fit")


def test_days_of_a_model_calendar_are_days():
    time = xr.date_range("2001-02-20", periods=40, calendar="360_day", use_cftime=True)
    da = xr.DataArray(np.zeros(40), {"time": time}, "time")
    check_daily(da, step="x")
    assert (np.diff(day_index(da["time"])) == 1).all()


# --- climatology ----------------------------------------------------------------------------------


def test_harmonics_are_least_squares_of_what_is_known():
    rng = np.random.default_rng(3)
    time = pd.date_range("2001-01-01", "2004-12-31")
    values = rng.normal(0, 2, (2, 3, time.size)) + 270.0
    values[0, 1, rng.random(time.size) < 0.3] = np.nan
    weight = xr.DataArray(rng.random(time.size), {"time": time}, "time")
    da = xr.DataArray(values, {"time": time}, ("band", "layer", "time"))
    for given in (None, weight):
        found = climatology(da, step="day", weight=given)
        assert found.dims == ("band", "layer", "harmonic")
        for at in ((0, 1), (1, 2)):
            known = np.isfinite(values[at])
            root = np.ones(time.size) if given is None else np.sqrt(given.values)
            x, y = (root[:, None] * waves(time))[known], (root * values[at])[known]
            expected = np.linalg.lstsq(x, y, rcond=None)[0]
            np.testing.assert_allclose(found.values[at], expected, atol=1e-8)
    np.testing.assert_allclose(
        usual(found, da["time"]), np.einsum("blh,th->blt", found, waves(time)), atol=1e-8
    )


def test_harmonics_say_more_of_years_to_come_than_means_of_each_day(days):
    """A day of the year has four values in training; its neighbours say the same."""
    tas = days["tas"].astype("float64")
    past, later = tas.sel(time=slice("2001", "2004")), tas.sel(time=slice("2005", None))
    smooth = usual(climatology(past, step="day"), later["time"])
    bins = past.groupby("time.dayofyear").mean()
    rough = bins.sel(dayofyear=later["time"].dt.dayofyear.clip(max=365))
    assert float(((later - smooth) ** 2).mean()) < float(((later - rough) ** 2).mean())


def test_a_season_that_nobody_observed_is_missing():
    time = pd.date_range("2001-01-01", "2003-12-31")
    da = xr.DataArray(np.ones((3, time.size)), {"time": time}, ("band", "time"))
    of_month = da["time.month"]
    da[0] = da[0].where(~of_month.isin([1]))  # a month may lack
    da[1] = da[1].where(~of_month.isin([12, 1, 2, 3]))  # a winter may not
    da[2] = np.nan
    found = climatology(da, step="day")
    assert found.notnull().all("harmonic").values.tolist() == [True, False, False]
    np.testing.assert_allclose(found.isel(band=0), [1, *[0] * 8], atol=1e-9)


def test_the_year_closes_in_leap_years_too():
    time = xr.DataArray(pd.date_range("2003-12-31", "2005-01-01"), dims="time")
    share = year_fraction(time)
    assert share.values[[0, 1]] == pytest.approx([364.5 / 365, 0.5 / 366])
    assert float(share.max()) < 1.0


def test_months_are_means_as_ever(ds):
    assert climatology(ds["tsl"]).identical(ds["tsl"].groupby("time.month").mean("time"))


# --- features -------------------------------------------------------------------------------------


def test_numbers_count_months_and_with_a_d_days(days):
    names = ("tas:mean30d", "tas:mean12", "tas:thaw90d", "tas:freeze12", "tas:thaw3")
    cube = build_features(days, names, step="day").isel(band=1)
    tas = days["tas"].isel(band=1).values.astype("float64")
    warm, cold = np.clip(tas - 273.15, 0, None), np.clip(273.15 - tas, 0, None)
    at = 700
    got = cube.isel(time=at)
    expected = [
        tas[at - 29 : at + 1].mean(),
        tas[at - 364 : at + 1].mean(),
        warm[at - 89 : at + 1].sum(),  # degree days, no day left out
        cold[at - 364 : at + 1].sum(),
        warm[at - 90 : at + 1].sum(),  # three months are 91 days
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert cube.sel(feature="tas:mean30d").notnull().values.argmax() == 29
    assert cube.sel(feature="tas:mean12").notnull().values.argmax() == 364


def test_anomaly_and_memory_of_days(days):
    names = ("tas:anomaly", "tas:memory1", "tas:memory10d")
    stats = feature_statistics(days.sel(time=slice(*TRAIN)), names, step="day")
    assert stats["climatology_tas"].dims == ("band", "harmonic")
    cube = build_features(days, names, statistics=stats, step="day").isel(band=0)
    tas = days["tas"].isel(band=0).values.astype("float64")
    time, n = days.indexes["time"], 4 * 365 + 1
    coefficients = np.linalg.lstsq(waves(time)[:n], tas[:n], rcond=None)[0]
    anomaly = tas - waves(time) @ coefficients
    np.testing.assert_allclose(cube.sel(feature="tas:anomaly"), anomaly, atol=1e-3)
    for name, span in (("tas:memory1", 30), ("tas:memory10d", 10)):
        keep, state = np.exp(-1 / span), 0.0
        for value in anomaly[:400]:
            state = keep * state + (1 - keep) * value
        np.testing.assert_allclose(cube.sel(feature=name)[399], state, atol=1e-3)


def test_a_missing_day_is_missing_in_the_spans_that_hold_it(days):
    days["tas"][2, 100] = np.nan
    cube = build_features(days, ("tas:mean10d", "tas:thaw10d"), step="day").isel(band=2)
    gone = cube.isnull().isel(time=slice(9, None))
    for k in range(2):
        assert (np.flatnonzero(gone.isel(feature=k)) + 9).tolist() == list(range(100, 110))


def test_no_feature_looks_ahead(days):
    names = ("tas", "tas:mean12", "tas:thaw30d", "tas:memory3", "scenario_signal", "day_sin")
    stats = feature_statistics(days.isel(time=slice(0, 900)), names, step="day")
    other = days.copy(deep=True)
    other["tas"][:, 1000:] += 20.0
    other["rlds"][:, 1000:] += 20.0
    past = {"time": slice(0, 1000)}
    one, two = (build_features(d, names, statistics=stats, step="day") for d in (days, other))
    xr.testing.assert_identical(one.isel(past), two.isel(past))
    assert not one.equals(two)


def test_the_season_is_the_day_of_the_year(days):
    assert default_features(days, step="day")[-2:] == ("day_sin", "day_cos")
    cube = build_features(days, ("day_sin", "day_cos", "tas"), step="day").isel(band=0)
    turn = 2 * np.pi * (days["time"].dt.dayofyear - 0.5) / days["time"].dt.days_in_year
    np.testing.assert_allclose(cube.sel(feature="day_sin"), np.sin(turn), atol=1e-6)
    np.testing.assert_allclose(cube.sel(feature="day_cos"), np.cos(turn), atol=1e-6)


def test_snow_resists_by_the_density_of_the_day(days):
    cube = build_features(days, ("snow_resistance:taiga",), step="day").isel(feature=0)
    density = class_density(days["snd"], days["time"].dt.dayofyear, kind="taiga")
    np.testing.assert_allclose(cube, thermal_resistance(days["snd"], density), rtol=1e-5)


def test_names_of_the_other_step_are_refused(ds, days):
    with pytest.raises(UnknownNameError, match=r"'tas:mean30d' counts days.*: 'tas:mean1'"):
        build_features(ds, ("tas:mean30d",))
    with pytest.raises(UnknownNameError, match=r"'day_sin' is not the season of months; type"):
        build_features(ds, ("tas", "day_sin"))
    with pytest.raises(UnknownNameError, match=r"'month_sin' is not the season of days; type"):
        build_features(days, ("tas", "month_sin"), step="day")


# --- windows and refusals -------------------------------------------------------------------------


def test_messages_name_the_step(days):
    assert (WindowSpec().length, WindowSpec(step="day").length) == (24, 180)
    with pytest.raises(DataError, match="a window needs at least 1 day; got length=0"):
        WindowSpec(step="day", length=0)
    with pytest.raises(DataError, match=r"the target day\) or 1 \(one day before\)"):
        WindowSpec(step="day", horizon=2)
    short = days.isel(time=slice(0, 100))
    with pytest.raises(DataError, match=r"of 100 days is too short for a window of 180 days.*=90"):
        make_windows(build_features(short, ("tas",), step="day"), WindowSpec(step="day"))
    with pytest.raises(DataError, match=r"no day between 1990 and 1991.*run from 2001-01-01 to"):
        xp.fit(days, step="day", train=("1990", "1991"))
    with pytest.raises(UnknownNameError, match="unknown time step 'hour'"):
        xp.fit(days, step="hour")


MONTHS_WANTED = r"needs monthly data; the median time step is 1 days.*step='day'"
DAYS_WANTED = r"needs daily data; the median time step is 1 months.*standardize\(step='day'\)"


def test_months_and_days_are_not_taken_for_one_another(ds, days, gru, model):
    for call in (
        lambda: xp.fit(days),
        lambda: xp.fit_hybrid(days),
        lambda: xp.fit_baseline("climatology", days),
        lambda: xp.evaluate(days, []),
        lambda: gru.predict(days.assign_coords(band=ds["band"].values)),
        lambda: xp.fit_baseline("climatology", ds).predict(days),
    ):
        with pytest.raises(TimeAxisError, match=MONTHS_WANTED):
            call()
    for call in (
        lambda: xp.fit(ds, step="day"),
        lambda: xp.fit_hybrid(ds, step="day"),
        lambda: xp.fit_baseline("climatology", ds, spec=SPEC),
        lambda: xp.evaluate(ds, [], step="day"),
        lambda: xp.fit(testing.experiment(), step="day"),
        lambda: model.predict(ds),
        lambda: xp.fit_baseline("climatology", days, spec=SPEC).predict(ds),
    ):
        with pytest.raises(TimeAxisError, match=DAYS_WANTED):
            call()


def test_projections_are_monthly(world, days, model):
    with pytest.raises(DataError, match=r"projections are monthly.*'gru' has steps of a day"):
        world.permafrost.project(model, rcp="8.5")
    with pytest.raises(ScenarioError):
        days.permafrost.project(model)
    with pytest.raises(TimeAxisError, match=r"combine .* needs monthly data"):
        xp.combine(days, rcp85=days)


# --- networks -------------------------------------------------------------------------------------


def test_a_network_of_days(days, model, unchanged):
    with unchanged(days):
        out = model.predict(days)
    assert out.dims == ("band", "layer", "time")
    assert out["time"].equals(days["time"])
    assert out.isel(time=slice(0, 29)).isnull().all()
    assert out.isel(time=slice(29, None)).notnull().all()
    assert "window     30 days, horizon 0" in repr(model)
    assert (model.info["train_start"], model.info["train_end"]) == ("2001-01-01", "2004-12-31")
    assert model.scaler["climatology"].dims == ("band", "layer", "harmonic")


def test_it_learns(days):
    """Better than the climatology on years that it has not seen."""
    fitted = xp.fit(days, "gru", train=TRAIN, config=xp.TrainingConfig(epochs=8), **SMALL)
    base = xp.fit_baseline("climatology", days, train=TRAIN, spec=SPEC)
    assert rmse(fitted.predict(days), days) < 0.9 * rmse(base.predict(days), days)


@pytest.mark.parametrize("name", list(xp.MODELS))
def test_every_architecture_takes_days(days, name, quick):
    fitted = xp.fit(days, name, train=("2001", "2001"), config=quick, **{**SMALL, "options": {}})
    assert bool(fitted.predict(days.isel(time=slice(0, 60)))[..., 30:].notnull().all())


def test_saved_and_loaded_to_the_bit(days, model, tmp_path):
    model.save(tmp_path / "daily.model")
    again = xp.load_model(tmp_path / "daily.model")
    assert again.spec == model.spec
    assert again.id == model.id
    xr.testing.assert_identical(again.predict(days), model.predict(days))
    with pytest.raises(
        TimeAxisError, match=r"the model 'gru' needs each day once.*nothing between"
    ):
        again.predict(days.isel(time=np.delete(np.arange(200), 50)))


def test_chunks_make_no_difference(days, model, quick):
    lazy = days.chunk(time=300)
    xr.testing.assert_identical(model.predict(lazy), model.predict(days))
    again = xp.fit(lazy, "gru", train=TRAIN, config=quick, **SMALL)
    assert again.id == model.id


@pytest.mark.parametrize("transform", ["raw", "residual"])
@pytest.mark.parametrize("recency", [None, 3.0])
def test_nothing_after_training_reaches_the_statistics(days, transform, recency):
    other = days.copy(deep=True)
    late = np.flatnonzero(days["time"] > np.datetime64("2004-06-15"))
    other["tas"][:, late] += 9.0
    other["tsl"][:, :, late] += 9.0
    spec = WindowSpec(step="day", length=30, features=("tas", "tas:anomaly", "day_sin"))
    one, two = (
        prepare(
            d,
            spec,
            train=("2001", "2004-06-15"),
            transform=transform,
            recency_years=recency,
            validation_years=1,
        )
        for d in (days, other)
    )
    xr.testing.assert_identical(one.scaler, two.scaler)
    xr.testing.assert_identical(one.statistics, two.statistics)
    assert one.info["train_end"] == "2004-06-15"
    ends = days["time"].values[one.windows.end]
    assert ends[one.training].max() == np.datetime64("2003-06-16")  # 365 days before the end
    assert ends[one.validation].max() == np.datetime64("2004-06-15")
    age = (np.datetime64("2004-06-15") - days["time"].values[one.windows.end]).astype("m8[D]")
    expected = np.exp(-np.clip(age.astype(int), 0, None) / (365 * (recency or np.inf)))
    np.testing.assert_allclose(one.weight, expected, rtol=1e-6)


def test_the_season_never_leaves_the_hull(days, quick):
    """Learned in a year of 365 days, asked in one of 366, whose days lie between."""
    names = ("tas", "day_sin", "day_cos")
    fitted = xp.fit(days, "gru", train=("2001", "2001"), features=names, config=quick, **SMALL)
    share = fitted.outside_training_range(days)
    assert set(np.unique(share)) == {0.0, 1.0}  # the air alone: inside, or outside
    warm = days.assign(tas=(days["tas"] + 30.0).assign_attrs(days["tas"].attrs))
    assert float(fitted.outside_training_range(warm).mean()) > 0.9


def test_a_grid_of_days(days, quick):
    grid = days.drop_vars(["band", "lat"]).isel(band=[0, 1, 2, 1])
    cells = pd.MultiIndex.from_product([[60.0, 61.0], [1.0, 2.0]], names=["lat", "lon"])
    grid = grid.assign_coords(xr.Coordinates.from_pandas_multiindex(cells, "band")).unstack("band")
    grid = grid.transpose("lat", "lon", "layer", "time", "bnds")
    water = (grid["lat"] == 60.0) & (grid["lon"] == 1.0)
    grid["tsl"] = grid["tsl"].where(~water).assign_attrs(days["tsl"].attrs)
    config = xp.TrainingConfig(epochs=1, target="residual")
    out = xp.fit(grid, "gru", train=("2001", "2002"), config=config, **SMALL).predict(grid)
    assert out.dims == ("lat", "lon", "layer", "time")
    assert bool(out[0, 0].isnull().all())
    assert bool(out[..., 29:].notnull().any(("layer", "time")).sum() == 3)


def test_files_of_days(days, model, tmp_path):
    out = model.predict(days)
    path = out.permafrost.to_netcdf(tmp_path / "days.nc")
    with xr.open_dataset(path) as file:
        np.testing.assert_array_equal(file["time"], days["time"])
        bounds = file["time_bnds"].values.astype("M8[D]")
        assert bounds[31].tolist() == [pd.Timestamp(d).date() for d in ("2001-02-01", "2001-02-02")]


# --- baselines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in BASELINES if n not in NEEDS])
def test_labels_are_those_of_a_network(days, name, unchanged):
    with unchanged(days):
        fitted = xp.fit_baseline(name, days, train=TRAIN, spec=SPEC)
        out = fitted.predict(days)
    assert out.dims == ("band", "layer", "time")
    assert (out.attrs["units"], out.attrs["model"]) == ("degree_Celsius", name)
    assert out.isel(time=slice(366, None)).notnull().all()
    part = days.isel(band=[2, 0])
    np.testing.assert_allclose(fitted.predict(part), out.isel(band=[2, 0]), atol=1e-5)


def test_equilibrium_is_of_months(days):
    with pytest.raises(TimeAxisError, match="an equilibrium baseline needs monthly data"):
        xp.fit_baseline("ttop", days, train=TRAIN, spec=SPEC)
    names, why = _baselines("all", days, "day", 0, [])
    assert set(BASELINES) - set(names) == set(NEEDS) - {"column"}
    assert "ttop (it takes months)" in why


def test_climatology_trend_and_damping_by_hand(days):
    time, n = days.indexes["time"], 4 * 365 + 1
    values, basis = celsius(days), waves(days.indexes["time"])
    base = np.linalg.lstsq(basis[:n], values[..., :n].reshape(12, n).T, rcond=None)[0].T @ basis.T
    base = base.reshape(values.shape)
    got = {
        name: xp.fit_baseline(name, days, train=TRAIN, spec=SPEC).predict(days)
        for name in ("climatology", "trend", "damped_persistence")
    }
    np.testing.assert_allclose(got["climatology"], base, atol=1e-3)
    anomaly = values - base
    year = np.asarray(time.year + (time.day_of_year - 0.5) / np.where(time.is_leap_year, 366, 365))
    slope = np.polyfit(year[:n], anomaly[..., :n].reshape(-1, n).T, 1)[0].reshape(3, 4, 1)
    drift = slope * (year - year[:n].mean())
    np.testing.assert_allclose(got["trend"], base + drift, atol=1e-3)
    one, two = anomaly[..., : n - 1], anomaly[..., 1:n]
    damping = np.clip((one * two).sum(-1) / (one**2).sum(-1), 0, 1)[..., None]
    expected = base[..., 1:] + damping * anomaly[..., :-1]
    np.testing.assert_allclose(got["damped_persistence"].values[..., 1:], expected, atol=1e-3)


@pytest.mark.parametrize(("name", "lag"), [("persistence", 1), ("persistence_year", 365)])
def test_persistence(days, name, lag):
    out = xp.fit_baseline(name, days, train=TRAIN, spec=SPEC).predict(days)
    assert out.isel(time=slice(0, lag)).isnull().all()
    np.testing.assert_allclose(out.values[..., lag:], celsius(days)[..., :-lag], atol=1e-4)
    known = 1500
    short = days.assign(tsl=days["tsl"].where(days["time"] < days["time"][known]))
    short["tsl"].attrs = days["tsl"].attrs
    ahead = xp.fit_baseline(name, short, train=("2001", "2003"), spec=SPEC).predict(short)
    if lag == 1:
        assert bool(ahead[..., known + 1 :].isnull().all())
    else:
        again = celsius(days)[..., known - 365 : known - 365 + 100]
        np.testing.assert_allclose(ahead[..., known : known + 100], again, atol=1e-4)
        np.testing.assert_allclose(ahead[..., known + 365 : known + 465], again, atol=1e-4)


@pytest.mark.parametrize("horizon", [0, 1])
@pytest.mark.parametrize("length", [1, 7, 30])
def test_blocks_of_days_double_in_length(days, horizon, length):
    days["tas"][0, 40] = np.nan  # windows with it are left out, the others whole
    spec = WindowSpec(step="day", length=length, horizon=horizon, features=("tas", "snd"))
    windows = make_windows(build_features(days, spec.features, step="day"), spec)
    which = np.flatnonzero(windows.location == 0)[[0, 50, -1]]
    table = _table(windows, which)
    edges = [e for e in (0, 1, 2, 4, 8, 16) if e < length] + [length]
    assert table.shape == (3, 2 * (len(edges) - 1))
    for row, number in zip(table, which, strict=True):
        last = windows.end[number] - horizon
        expected = [
            days[name].values[0, last - far + 1 : last - near + 1].mean()
            for near, far in pairwise(edges)
            for name in spec.features
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_ridge_beats_the_climatology_of_days(days):
    spec = WindowSpec(step="day", features=("tas", "snd", "tas:mean12"))
    base, ridge = (
        rmse(xp.fit_baseline(name, days, train=TRAIN, spec=spec).predict(days), days)
        for name in ("climatology", "ridge")
    )
    assert ridge < 0.95 * base


@pytest.fixture(scope="module")
def column(_days):
    return xp.fit_baseline("column", _days, train=TRAIN, spec=SPEC)


def test_the_column_of_days_keeps_the_zero_curtain(days, column):
    """Days ahead of the climatology on years that it has not seen, where the truth is a column."""
    assert (column.spec.step, column.spec.features) == ("day", ("tas", "rsds", "snd"))
    out = column.predict(days)
    base = xp.fit_baseline("climatology", days, train=TRAIN, spec=SPEC).predict(days)
    assert rmse(out, days) < 0.6 * rmse(base, days)
    span = {"time": slice("2005", None)}
    ratio = [
        zero_curtain_error(p.sel(span), days.sel(span))
        .isel(layer=1)
        .sum("season")
        .pipe(lambda e: float(e["duration_predicted"].sum() / e["duration_observed"].sum()))
        for p in (out, base)
    ]
    assert abs(ratio[0] - 1) < 0.2
    assert ratio[1] < 0.8


def test_gaps_of_daily_forcing_are_filled(days, column):
    days["snd"][1, 400:420] = np.nan  # snow is never below 0, whatever its waves say
    days["tas"][1, 700] = np.nan
    out = column.predict(days)
    assert bool(out.notnull().all())


# --- scores ---------------------------------------------------------------------------------------


def test_evaluate_days(days, model, quick):
    test = ("2005", "2006")
    scores = xp.evaluate(
        days,
        model,
        baselines=["climatology", "persistence", "persistence_year"],
        test=test,
        bootstrap=20,
    )
    assert scores["model"].values[0] == "gru"
    assert scores.attrs["window"] == "30 days, horizon 0"
    assert scores.attrs["training_period"] == "2001-01-01 to 2004-12-31"
    assert scores.attrs["test_period"] == "2005-01-01 to 2006-12-31"
    pooled = scores["rmse_pooled"]
    for name in ("climatology", "persistence"):
        fitted = xp.fit_baseline(name, days, train=TRAIN, spec=SPEC)
        assert float(pooled.sel(model=name)) == pytest.approx(rmse(fitted.predict(days), days))
    # yesterday's soil is what the reduction is measured against; the past what the skill is
    assert float(scores["rmse_reduction_pooled"].sel(model="persistence")) == pytest.approx(
        0, abs=1e-5
    )
    # this reference is that of all the past, the baseline that of the training years: the same
    skill = scores["anomaly_skill_pooled"].sel(model="climatology")
    assert float(skill) == pytest.approx(0, abs=1e-4)
    by_name = xp.evaluate(
        days, ["gru"], baselines=[], train=TRAIN, test=test, step="day", length=30, config=quick,
        bootstrap=0, jobs=1, progress=False,
    )  # fmt: skip
    assert by_name.attrs["window"] == "30 days, horizon 0"
    assert "day_sin" in by_name.attrs["features"]


def test_a_training_of_half_a_year_says_who_has_no_answer(days):
    with pytest.raises(DataError, match=r"no test day where.*\['climatology'\] have none at all"):
        xp.evaluate(
            days,
            [],
            step="day",
            baselines=["climatology", "persistence"],
            train=("2001-01", "2001-07"),
            test=("2002", "2002"),
        )


def test_months_and_days_are_never_in_one_score(days, gru, model):
    with pytest.raises(DataError, match=r"months and of days are never mixed.*\['day', 'month'\]"):
        xp.evaluate(days, [model, gru], baselines=[])
    with pytest.raises(DataError, match="never mixed"):
        xp.evaluate(days, model, step="month", baselines=[])


def test_a_day_is_enough_for_a_leak(days, quick):
    fitted = xp.fit(days, "gru", train=("2001", "2004-06-15"), config=quick, **SMALL)
    assert fitted.info["train_end"] == "2004-06-15"
    options = {"baselines": [], "bootstrap": 0}
    scores = xp.evaluate(days, fitted, test=("2004-06-16", "2005"), **options)
    assert scores.attrs["test_period"] == "2004-06-16 to 2005-12-31"
    message = "test days 2004-06-15 to 2005-12-31 overlap the training days 2001-01-01 to"
    with pytest.raises(LeakageError, match=message):
        xp.evaluate(days, fitted, test=("2004-06-15", "2005"), **options)
    with pytest.raises(LeakageError, match="on days it has seen"):
        xp.evaluate(
            days, fitted, train=("2001", "2004-06-01"), test=("2004-06-15", "2005"), **options
        )


def test_the_hybrid_of_days(days, quick):
    days = days.isel(band=[2])
    both = xp.fit_hybrid(days, "gru", train=("2001", "2003"), config=quick, **SMALL)
    assert (both.spec.step, both.spec.length) == ("day", 30)
    assert both.column.spec.step == "day"
    out = both.predict(days)
    assert out.isel(time=slice(29, None)).notnull().all()
    scores = xp.evaluate(days, both, baselines=["climatology"], test=("2004", "2006"), bootstrap=0)
    assert scores["model"].values.tolist() == ["column+gru", "climatology"]
    pooled = scores["rmse_pooled"].values
    assert pooled[0] < pooled[1]


# --- zero curtain ---------------------------------------------------------------------------------


def year_with(days_of_curtain, year=2001):
    time = pd.date_range(f"{year}-01-01", f"{year}-12-31")
    values = np.full(time.size, -5.0)
    values[150:250] = 6.0
    values[250 : 250 + days_of_curtain] = 0.1
    return xr.DataArray(values, {"time": time}, "time", attrs={"units": "degC"})


def test_error_of_the_duration_by_hand():
    true = xr.concat([year_with(20, 2001), year_with(40, 2002)], "time", combine_attrs="override")
    mine = xr.concat([year_with(26, 2001), year_with(30, 2002)], "time", combine_attrs="override")
    none = true.where(abs(true) > 1, -5.0).assign_attrs(true.attrs)
    models = xr.concat([mine, none], pd.Index(["mine", "none"], name="model"), join="exact")
    found = zero_curtain_error(models.assign_attrs(units="degC"), true).sel(season="autumn")
    assert found["duration_observed"].values.tolist() == [30.0, 30.0]
    assert found["duration_predicted"].values.tolist() == [28.0, 0.0]
    assert found["duration_bias"].values.tolist() == [-2.0, -30.0]
    assert found["duration_mae"].values.tolist() == [8.0, 30.0]
    np.testing.assert_allclose(found["duration_ratio"], [28 / 30, 0.0])
    assert found["n"].values.tolist() == [2, 2]
    nothing = zero_curtain_error(mine, none).sel(season="autumn")
    assert nothing["duration_bias"].item() == 28.0
    assert np.isnan(nothing["duration_ratio"].item())  # there was none to compare with


def test_only_what_both_have_is_compared():
    true, mine = year_with(20), year_with(20)
    gap = true["time"] > np.datetime64("2001-09-20")
    holed = true.where(~gap).assign_attrs(true.attrs)
    found = zero_curtain_error(mine, holed, coverage=0.5).sel(season="autumn")
    assert found["duration_bias"].item() == 0.0  # the same days of both are cut
    assert found["duration_observed"].item() < 20
    assert int(zero_curtain_error(mine, holed)["n"].max()) == 0
    with pytest.raises(TimeAxisError, match="no day in common"):
        zero_curtain_error(mine, year_with(20, 2005))
    monthly = true.resample(time="MS").mean().assign_attrs(true.attrs)
    with pytest.raises(TimeAxisError, match="needs daily data; found monthly means"):
        zero_curtain_error(monthly, monthly)


def test_error_of_kelvin_and_lazy(days):
    soil = days["tsl"].isel(layer=1)
    later = soil.shift(time=3).where(soil.notnull()).assign_attrs(soil.attrs)
    eager = zero_curtain_error(later, soil)
    product = (soil - 273.15).assign_attrs(units="degree_Celsius")
    xr.testing.assert_allclose(zero_curtain_error(later, product), eager)
    computed = []

    def scheduler(graph, keys, **options):
        computed.append(keys)
        raise AssertionError("computed too early")

    import dask

    with dask.config.set(scheduler=scheduler):
        lazy = zero_curtain_error(later.chunk(band=1), soil.chunk(band=1))
    assert not computed
    xr.testing.assert_allclose(lazy.compute(), eager)


# --- a measured site ------------------------------------------------------------------------------

SITE = Path("../shared/data/stations")


@pytest.mark.skipif(
    not (SITE / "gipl_site_soil_daily.txt").exists(),
    reason="the measured site is not in ../shared/data",
)
def test_days_of_a_measured_site():
    """One year of training, the next one scored: what reads the forcing beats the climatology."""
    air, snow = (
        np.loadtxt(SITE / f"gipl_site_{name}_daily.txt", skiprows=1)[:, 1]
        for name in ("air", "snow")
    )
    depths = [0.072, 0.2, 0.506, 0.741, 1.1]
    soil = np.loadtxt(SITE / "gipl_site_soil_daily.txt")[:, [1, 3, 7, 9, 11]].T
    time = pd.date_range("2008-07-05", periods=air.size)
    ds = xr.Dataset(
        {
            "tas": (("station", "time"), air[None] + 273.15, {"units": "K"}),
            "snd": (("station", "time"), snow[None], {"units": "m"}),
            "tsl": (("station", "layer", "time"), soil[None] + 273.15, {"units": "K"}),
        },
        {"station": ["site"], "time": time, "lat": ("station", [70.0])},
    ).assign_coords(xp.schema.layer_coords_from_bounds(np.array([depths, depths]).T))
    scores = xp.evaluate(
        ds,
        [],
        step="day",
        baselines=["climatology", "ridge", "column"],
        train=("2008-07-05", "2009-07-04"),
        test=("2009-07-05", "2010-07-04"),
        features=["tas", "snd"],
        bootstrap=0,
    )
    pooled = scores["rmse_pooled"].to_series()
    assert pooled["ridge"] < pooled["climatology"]
    assert pooled["column"] < 0.5 * pooled["climatology"]
