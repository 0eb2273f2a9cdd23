"""Bias adjustment against a numpy loop: groups, steps, methods, tails, dry days; real series."""

from __future__ import annotations

import warnings
from pathlib import Path

import cftime
import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost.bias import MAX_FACTOR, adjust, divergence_preserved, train
from xpermafrost.errors import (
    DataError,
    DimensionError,
    PermafrostWarning,
    TimeAxisError,
    UnknownNameError,
)

DATA = Path(__file__).parents[2] / "shared" / "data"
METHODS = ("qdm", "eqm", "dqm")


def days(name="tas", start="1991", years=6, seed=0, shift=0.0, trend=0.0, calendar="standard"):
    """Daily series (time, band); a third of the days of ``pr`` is dry."""
    rng = np.random.default_rng(seed)
    first, last = f"{start}-01-01", f"{int(start) + years - 1}-12-"
    last += "30" if calendar == "360_day" else "31"
    time = xr.date_range(
        first, last, freq="D", calendar=calendar, use_cftime=calendar != "standard"
    )
    day = np.arange(time.size)[:, None]
    season = np.cos(2 * np.pi * (day - 200) / 365.25)
    noise = rng.normal(size=(time.size, 2))
    if name == "tas":
        values = 265 + 14 * season + (3 - season) * noise + shift + trend * day / 3650
        units = "K"
    else:
        dry = rng.random(noise.shape) < 0.35
        values = np.where(dry, 0.0, np.exp(noise + 0.3 * season + shift) * 1e-5)
        units = "kg m-2 s-1"
    coords = {"time": time, "band": ["south", "north"]}
    return xr.DataArray(values, coords, ("time", "band"), name=name, attrs={"units": units})


def months(da):
    out = da.resample(time="MS").mean()
    return out.assign_attrs(da.attrs)


# --- the loop ----------------------------------------------------------------------------


def group_of(da, group):
    """Group and year of every step, by the simplest means."""
    year, month = da.time.dt.year.values, da.time.dt.month.values
    if group == "month":
        return month, year
    if group == "season":
        return np.select([month <= 2, month <= 5, month <= 8, month <= 11], [0, 1, 2, 3], 0), (
            year + (month == 12)
        )
    # calendars without leap days only: elsewhere a year is stretched
    return da.time.dt.dayofyear.values, year


def in_window(groups, centre, group, window):
    if group != "dayofyear":
        return groups == centre
    apart = np.abs(groups - centre)
    return np.minimum(apart, 365 - apart) <= window // 2


def factor_at(x, nodes, values, interp, tails):
    """Factors at ``x``: np.interp, the nearest node, or the lines beyond the ends."""
    if interp == "nearest":
        return values[np.abs(nodes[None] - x[:, None]).argmin(axis=1)]
    out = np.interp(x, nodes, values)
    if tails == "extrapolated":
        far = max(round(nodes.size / 10), 1)
        for end, inner, beyond in ((0, far, x < nodes[0]), (-1, -1 - far, x > nodes[-1])):
            slope = (values[inner] - values[end]) / (nodes[inner] - nodes[end])
            out[beyond] = values[end] + slope * (x[beyond] - nodes[end])
    return out


def by_hand(
    ref, hist, sim, *, method, kind="+", group="month", window=31, n=10, years=None,
    interp="linear", tails="constant",
):  # fmt: skip
    nodes = (np.arange(n) + 0.5) / n
    out = np.full(sim.shape, np.nan)
    sides = [(da.values, *group_of(da, group)) for da in (ref, hist, sim)]
    for g in np.unique(sides[2][1]):
        pools = [in_window(groups, g, group, window) for _, groups, _ in sides]
        for j in range(sim.shape[1]):
            r, h = (sides[i][0][pools[i], j] for i in (0, 1))
            r, h = r[np.isfinite(r)], h[np.isfinite(h)]
            scale = 1.0 if kind == "*" else 0.0
            if method == "dqm":
                scale = r.mean() / h.mean() if kind == "*" else r.mean() - h.mean()
                r, h = (v / v.mean() if kind == "*" else v - v.mean() for v in (r, h))
            rq, hq = np.quantile(r, nodes), np.quantile(h, nodes)
            af = np.minimum(rq / hq, MAX_FACTOR) if kind == "*" else rq - hq
            x_all, groups, year = sides[2][0][:, j], sides[2][1], sides[2][2]
            for i in np.flatnonzero(groups == g):
                x = x_all[i]
                if not np.isfinite(x):
                    continue
                near = pools[2] & np.isfinite(x_all)
                if years is not None:
                    size = min(years, year.max() - year.min() + 1)
                    first = min(max(year[i] - size // 2, year.min()), year.max() + 1 - size)
                    near &= (year >= first) & (year < first + size)
                others = x_all[near]
                if method == "qdm":
                    rank = (np.sum(others < x) + np.sum(others <= x) + 1) / 2
                    place, at = (rank - 1) / max(others.size - 1, 1), nodes
                else:
                    place, at = x, hq
                    if method == "dqm":
                        mean = others.mean()
                        place = x / mean if kind == "*" else x - mean
                f = factor_at(np.array([place]), at, af, interp, tails)[0]
                f = np.clip(f * scale, 0, MAX_FACTOR) if kind == "*" else f + scale
                out[i, j] = x * f if kind == "*" else x + f
    return np.maximum(out, 0.0) if kind == "*" else out


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("group", "every"), [("month", "day"), ("season", "day"), ("season", "month")]
)
def test_groups_of_days_and_months_equal_the_loop(method, group, every):
    step = months if every == "month" else (lambda da: da)
    years = 6 if every == "month" else 3
    ref, hist = (step(days(seed=s, years=years, shift=s)) for s in (1, 2))
    sim = step(days(seed=3, start="2001", years=years, shift=2, trend=2.0))
    out = adjust(
        train(ref, hist, method=method, group=group, nquantiles=10), sim, window_years=None
    )
    expected = by_hand(ref, hist, sim, method=method, group=group)
    np.testing.assert_allclose(out.values, expected, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_moving_days_of_the_year_equal_the_loop(method):
    ref, hist, sim = (
        days(seed=s, years=3, start=start, shift=s, calendar="noleap")
        for s, start in ((1, "1991"), (2, "1991"), (3, "2001"))
    )
    trained = train(ref, hist, method=method, group="dayofyear", window=15, nquantiles=10)
    assert trained.sizes["dayofyear"] == 365
    assert trained.attrs["group"] == "time.dayofyear"
    inner = sim.isel(time=slice(200, 900))  # the loop has no New Year in its years
    out = adjust(trained, inner, window_years=None)
    expected = by_hand(ref, hist, inner, method=method, group="dayofyear", window=15)
    np.testing.assert_allclose(out.values, expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["qdm", "dqm"])
@pytest.mark.parametrize("kind", ["+", "*"])
def test_windows_of_years_equal_the_loop(method, kind):
    name = "tas" if kind == "+" else "pr"
    ref, hist, sim = (
        months(days(name, seed=s, start=start, years=years, trend=3.0))
        for s, start, years in ((1, "1991", 12), (2, "1991", 12), (3, "2001", 25))
    )
    trained = train(ref, hist, method=method, nquantiles=12)
    for years in (7, 10):
        out = adjust(trained, sim, window_years=years)
        expected = by_hand(ref, hist, sim, method=method, kind=kind, n=12, years=years)
        np.testing.assert_allclose(out.values, expected, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("interp", "tails"), [("nearest", "constant"), ("linear", "extrapolated")])
@pytest.mark.parametrize("kind", ["+", "*"])
def test_interpolation_and_tails_equal_the_loop(method, interp, tails, kind):
    name = "tas" if kind == "+" else "pr"
    ref, hist, sim = (
        months(days(name, seed=s, start=start, years=13, shift=0.2 * s, trend=4.0))
        for s, start in ((1, "1991"), (2, "1991"), (3, "2011"))
    )
    trained = train(ref, hist, method=method, nquantiles=21)
    options = {"interp": interp, "tails": tails}
    out = adjust(trained, sim, window_years=None, **options)
    expected = by_hand(ref, hist, sim, method=method, kind=kind, n=21, **options)
    np.testing.assert_allclose(out.values, expected, rtol=1e-6)
    plain = adjust(trained, sim, window_years=None)
    assert float(abs(out - plain).max()) > 0


# --- laws --------------------------------------------------------------------------------

OPTIONS = [("month", None), ("season", None), ("dayofyear", 31)]


@pytest.mark.parametrize(("group", "window"), OPTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_days_onto_themselves_are_unchanged(group, window, method):
    for name in ("tas", "pr"):
        ref = days(name, years=4).astype("float32")
        ref[{"time": slice(40, 60), "band": 0}] = np.nan
        trained = train(ref, ref, method=method, group=group, window=window)
        np.testing.assert_array_equal(adjust(trained, ref).values, ref.values)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    method=st.sampled_from(METHODS),
    tails=st.sampled_from(["constant", "extrapolated"]),
    factor=st.sampled_from([1000.0, 0.01, 86400.0]),
    name=st.sampled_from(["tas", "pr"]),
)
def test_units_do_not_matter(seed, method, tails, factor, name):
    ref, hist, sim = (
        months(days(name, seed=seed + s, start=start, years=5, shift=0.3 * s))
        for s, start in enumerate(("1991", "1991", "2011"))
    )
    answers = []
    for k in (1.0, factor):
        scaled = [(da * k).assign_attrs(units="1") for da in (ref, hist, sim)]
        trained = train(*scaled[:2], method=method, nquantiles=15)
        answers.append(adjust(trained, scaled[2], tails=tails).values / k)
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_day_of_a_monthly_stamp_does_not_matter(method):
    ref, hist, sim = (months(days(seed=s, years=8, shift=s)) for s in (1, 2, 3))
    answers = []
    for shift in (0, 14, 27):
        moved = [da.assign_coords(time=da.time + np.timedelta64(shift, "D")) for da in (hist, sim)]
        answers.append(adjust(train(ref, moved[0], method=method), moved[1]).values)
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])


@pytest.mark.parametrize(("group", "window"), OPTIONS)
def test_hour_of_a_daily_stamp_does_not_matter(group, window):
    ref, hist, sim = (days(seed=s, years=3, shift=s) for s in (1, 2, 3))
    noon = [da.assign_coords(time=da.time + np.timedelta64(12, "h")) for da in (hist, sim)]
    options = {"group": group, "window": window, "nquantiles": 10}
    np.testing.assert_array_equal(
        adjust(train(ref, noon[0], **options), noon[1]).values,
        adjust(train(ref, hist, **options), sim).values,
    )


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
@pytest.mark.parametrize(("group", "window"), OPTIONS)
def test_calendars_of_the_two_sides_may_differ(calendar, group, window):
    """The same seasonal climate in another calendar is adjusted as well as in the reference's."""
    ref = days(seed=1, years=8)
    left = []

    def twelfths(da):  # of the year: months of the calendars begin on other days
        length = 360 if da.time.dt.calendar == "360_day" else 365.25
        share = (da.time.dt.dayofyear - 0.5) / length
        return share, da.groupby((share * 12 // 1).clip(0, 11).rename("part")).mean("time")

    for other in ("standard", calendar):
        hist = days(seed=2, years=8, calendar=other)
        season = 268 + 14 * np.cos(2 * np.pi * (twelfths(hist)[0].values - 200 / 365.25))
        noise = 3 * np.random.default_rng(2).normal(size=hist.shape)
        hist = hist.copy(data=season[:, None] + noise)
        out = adjust(train(ref, hist, group=group, window=window), hist)
        left.append(float(abs(twelfths(out)[1] - twelfths(ref)[1]).max()))
    assert left[1] < left[0] + 0.4  # a day of shift is 0.24 K; the bias before is 3 K


def test_season_of_december_belongs_to_the_next_year():
    ref = days(years=4)
    trained = train(ref, ref + 1.0, group="season", reference_period=("1991", "1994"))
    assert trained.season.values.tolist() == ["DJF", "MAM", "JJA", "SON"]
    lone = (ref + 1.0).assign_attrs(ref.attrs)
    winter = lone.isel(time=lone.time.dt.season == "DJF")
    assert float(abs(adjust(trained, lone).sel(time=winter.time) - winter + 1.0).max()) < 1e-9


def test_days_are_lazy_over_places_and_float32_stays():
    ref, hist, sim = (days(seed=s, years=3).astype("float32") for s in (1, 2, 3))

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    for method in METHODS:
        options = {"method": method, "group": "dayofyear", "nquantiles": 10}
        with dask.config.set(scheduler=refuse):
            lazy = adjust(
                train(*(da.chunk(band=1) for da in (ref, hist)), **options), sim.chunk(band=1)
            )
        eager = adjust(train(ref, hist, **options), sim)
        assert lazy.dtype == eager.dtype == np.float32
        xr.testing.assert_identical(lazy.compute(), eager)


# --- precipitation -----------------------------------------------------------------------


def wet_share(da, threshold):
    return (da >= threshold).groupby("time.month").mean("time")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("drier", [True, False])
def test_wet_days_become_as_frequent_as_those_of_the_reference(method, drier):
    threshold = 1e-6
    ref = days("pr", seed=1, years=12)
    rng = np.random.default_rng(9)
    hist = days("pr", seed=2, years=12, shift=0.5)
    if drier:  # twice as many dry days
        hist = hist.where(rng.random(hist.shape) > 0.4, 0.0)
    else:  # drizzle every day
        hist = hist + 1.5e-6 * rng.random(hist.shape)
        hist.attrs = ref.attrs
    wanted = wet_share(ref, threshold)
    plain = adjust(train(ref, hist, method=method), hist)
    out = adjust(train(ref, hist, method=method, wet_threshold=threshold), hist)
    # as fine as the 50 quantiles on either side of the threshold
    assert float(abs(wet_share(out, threshold) - wanted).max()) < 0.05
    assert float(abs(wet_share(hist, threshold) - wanted).mean()) > 0.1
    if drier:
        assert float(abs(wet_share(plain, threshold) - wanted).mean()) > 0.1
    assert ((out == 0) | (out >= threshold)).all()
    assert float(out.mean() / ref.mean()) == pytest.approx(1.0, abs=0.06)


def test_all_dry_and_constant_and_missing_cells():
    ref, hist = days("pr", seed=1, years=4), days("pr", seed=2, years=4)
    dry = xr.zeros_like(hist)
    for method in METHODS:
        for threshold in (None, 1e-6):
            trained = train(dry, dry, method=method, wet_threshold=threshold)
            assert (adjust(trained, dry) == 0).all()
            out = adjust(train(ref, hist, method=method, wet_threshold=threshold), dry)
            assert np.isfinite(out).all()
            assert float(out.max()) <= 1e-5
        none = train(ref.where(False), hist, method=method)
        assert adjust(none, hist).isnull().all()


def test_errors_of_thresholds_groups_and_windows():
    ref, pr = days(years=3), days("pr", years=3)
    with pytest.raises(DataError, match=r"'tas' is additive. Name the variable: wet_threshold="):
        train(ref, ref, wet_threshold=0.1)
    with pytest.raises(DataError, match="a positive amount; found -1"):
        train(pr, pr, wet_threshold=-1)
    both = xr.merge([ref, pr])
    tree = train(both, both, wet_threshold={"pr": 1e-6})
    assert "wet_threshold" not in tree["tas"].attrs
    assert tree["pr"].attrs["wet_threshold"] == 1e-6
    with pytest.raises(UnknownNameError, match="did you mean 'season'"):
        train(ref, ref, group="seasons")
    with pytest.raises(DimensionError, match=r"window=31 .* needs group='dayofyear', found"):
        train(ref, ref, window=31)
    with pytest.raises(DimensionError, match="odd number of days from 1 to 183; found 30"):
        train(ref, ref, group="dayofyear", window=30)
    with pytest.raises(TimeAxisError, match="'dayofyear' needs daily data; found months"):
        train(months(ref), months(ref), group="dayofyear")
    with pytest.raises(DataError, match="calendar months of monthly data"):
        train(ref, ref, method="scaling")
    with pytest.raises(DataError, match="needs interp='linear'"):
        adjust(train(ref, ref), ref, interp="nearest", tails="extrapolated")
    with pytest.raises(UnknownNameError, match="interpolation of factors 'cubic'"):
        adjust(train(ref, ref), ref, interp="cubic")
    with pytest.raises(DataError, match="interp='linear' and tails='constant' only"):
        adjust(train(months(ref), months(ref), method="scaling"), months(ref), tails="extrapolated")


def test_errors_name_the_side_the_variable_the_file_and_the_period(tmp_path):
    ref = months(days(start="1991", years=6))
    with pytest.raises(TimeAxisError, match=r"reference 'tas' has one value a month, .* a day"):
        train(ref, days(years=6))
    with pytest.raises(TimeAxisError, match=r"those of one value a month; the series 'tas' has"):
        adjust(train(ref, ref), days(years=6))
    early = months(days(start="1981", years=6))
    early.to_netcdf(tmp_path / "tas_historical.nc")
    with xr.open_dataarray(tmp_path / "tas_historical.nc") as opened:
        with pytest.raises(
            TimeAxisError,
            match=r"historical 'tas' \(tas_historical.nc\) stops in 1986-12, before the reference "
            r"'tas' starts in 1991-01. Append a scenario of the same model",
        ):
            train(ref, opened)
        with pytest.raises(
            TimeAxisError,
            match=r"the historical 'tas' \(tas_historical.nc\) spans 1981-01/1986-12. Type "
            r"historical_period=\.\.\. within that",
        ):
            train(ref, opened, reference_period=("1991", "1996"))
        gap = opened.drop_isel(time=7)
        with pytest.raises(
            TimeAxisError, match=r"train \(historical 'tas' \(tas_historical.nc\)\).*no 1981-08"
        ):
            train(early, gap)
    daily = days(years=3)
    with pytest.raises(TimeAxisError, match="each day once, in order; found nothing between"):
        train(daily, daily.drop_isel(time=[50, 51]))


@pytest.mark.parametrize("method", METHODS)
def test_months_that_never_vary_are_named(method):
    ref, hist = (months(days(seed=s, years=6)) for s in (1, 2))
    still = hist.where((hist.time.dt.month != 3) | (hist.band != "north"), 260.0)
    with pytest.warns(
        PermafrostWarning,
        match=r"historical 'tas' never varies in month 3 of 1991-01/1996-12 at 1 of 2 places",
    ):
        trained = train(ref, still, method=method)
    assert np.isfinite(adjust(trained, still)).all()
    with pytest.warns(PermafrostWarning, match="reference 'tas' never varies in month 3"):
        train(still, hist, method=method)
    snow = (hist * 0.0).rename("snd").assign_attrs(units="m")
    train(snow, snow, method=method)  # no snow is no fault


# --- real series -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def yakutia():
    """Station temperature and that of IPSL-CM6A-LR, historical and two scenarios, at stations."""
    if not DATA.exists():
        pytest.skip(f"needs {DATA}")
    name = str(DATA / "cmip" / "tas_mon_IPSL-CM6A-LR_{}_r1i1p1f1_lat45-90.nc")
    with xr.open_dataset(DATA / "stations" / "yakutia_monthly.nc") as ds:
        ds = ds[["tas", "lat", "lon"]].load()
    runs = []
    for scenario in ("ssp126", "ssp585"):
        parts = [xr.load_dataset(name.format(run)).tas for run in ("historical", scenario)]
        run = xr.concat(parts, "time").sel(time=slice("1961", "2100"))
        runs.append(run.sel(lat=ds.lat, lon=ds.lon, method="nearest").drop_vars(["lat", "lon"]))
    sim = xr.concat(runs, pd.Index(["ssp126", "ssp585"], name="scenario"))
    reference = (ds.tas + 273.15).transpose("time", "station").assign_attrs(units="K")
    return reference, sim.transpose("scenario", "time", "station").assign_attrs(units="K")


PERIOD = {"reference_period": ("1991", "2020")}


@pytest.mark.parametrize("method", METHODS)
def test_real_series_equal_the_loop(yakutia, method):
    ref, sim = yakutia
    run = sim.sel(scenario="ssp585", drop=True).astype("float64")
    trained = train(ref.astype("float64"), run, method=method, nquantiles=50, **PERIOD)
    part = slice("1991", "2020")
    expected = by_hand(ref.sel(time=part), run.sel(time=part), run, method=method, n=50, years=30)
    np.testing.assert_allclose(adjust(trained, run).values, expected, rtol=1e-6)


def test_real_series_equal_xsdba(yakutia):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xsdba = pytest.importorskip("xsdba")
    ref, sim = yakutia
    part = slice("1991", "2020")
    run = sim.sel(scenario="ssp585", drop=True)
    ref, hist = ref.sel(time=part), run.sel(time=part)

    def put(da):  # stamps in the middle of 30-day months, where linear is exact
        stamps = [
            cftime.Datetime360Day(y, m, 15)
            for y, m in zip(da.time.dt.year.values, da.time.dt.month.values, strict=True)
        ]
        return da.astype("float64").assign_coords(time=xr.CFTimeIndex(stamps))

    theirs = xsdba.QuantileDeltaMapping.train(
        put(ref), put(hist), nquantiles=50, group="time.month", kind="+"
    ).adjust(put(run), interp="linear")
    ours = adjust(train(put(ref), put(hist)), put(run), window_years=None)
    np.testing.assert_allclose(ours.values, theirs.transpose(*run.dims).values, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_bias_left_on_the_training_period(yakutia, method):
    ref, sim = yakutia
    hist = sim.sel(scenario="ssp585", time=slice("1991", "2020"), drop=True)
    ref = ref.sel(time=slice("1991", "2020"))
    nodes = (np.arange(50) + 0.5) / 50

    def quantiles(da):
        return da.groupby("time.month").quantile(nodes, dim="time")

    out = adjust(train(ref, hist, method=method), hist)
    left = quantiles(out) - quantiles(ref)
    assert float(np.sqrt(((quantiles(hist) - quantiles(ref)) ** 2).mean())) > 1.9
    assert float(np.sqrt((left**2).mean())) <= 0.1


@pytest.mark.parametrize("method", ["qdm", "dqm"])
def test_means_of_real_stations_keep_the_divergence(yakutia, method):
    ref, sim = yakutia
    trained = train(ref, sim.sel(scenario="ssp585", drop=True), method=method, **PERIOD)
    out = adjust(trained, sim)
    mean = [da.mean("station", keep_attrs=True) for da in (sim, out)]
    kept = divergence_preserved(*mean, pair=("ssp126", "ssp585")).tas
    assert kept.notnull().all()
    assert float(kept.min()) > 0.95
    assert float(kept.max()) < 1.05
