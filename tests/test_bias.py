"""Bias adjustment: laws, known answers, agreement with xsdba, and the messages of its errors."""

from __future__ import annotations

import subprocess
import sys
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
    MissingVariableError,
    ModelMismatchError,
    NotFittedError,
    PermafrostWarning,
    ScenarioError,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)

CMIP = Path(__file__).parents[2] / "shared" / "data" / "cmip"
UNITS = {"tas": "K", "pr": "kg m-2 s-1", "snc": "%", "rsds": "W m-2", "snd": "m"}


def series(name="tas", start="1971-01-01", years=30, bands=3, seed=0, shift=0.0, trend=0.0):
    """Monthly series (time, band) with a season; precipitation-like where not tas."""
    rng = np.random.default_rng(seed)
    time = pd.date_range(start, periods=12 * years, freq="MS")
    phase = np.cos((time.month.to_numpy() - 7) / 6 * np.pi)[:, None]
    noise = rng.normal(size=(time.size, bands))
    if name == "tas":
        slope = trend * np.arange(time.size)[:, None] / 120
        values = 265 + 12 * phase + 2.5 * noise + np.arange(bands) + shift + slope
    else:
        values = np.exp(0.5 * noise + 0.4 * phase + shift) * 1e-5
    coords = {"time": time, "band": [f"b{i}" for i in range(bands)]}
    return xr.DataArray(
        values, coords, ("time", "band"), name=name, attrs={"units": UNITS.get(name, "K")}
    )


def on_mid_months(da):
    stamps = [cftime.Datetime360Day(t.year, t.month, 15) for t in pd.DatetimeIndex(da.time)]
    return da.assign_coords(time=xr.CFTimeIndex(stamps))


@pytest.fixture
def pair():
    return series(seed=1), series(seed=2, shift=2.0)


# --- known answers -----------------------------------------------------------------------


def quantile_mapping_by_hand(ref, hist, sim, nodes, kind="+"):
    out = np.empty_like(sim.values)
    for month in range(1, 13):
        here = sim.time.dt.month.values == month
        for j in range(sim.sizes["band"]):
            r = np.quantile(ref.values[ref.time.dt.month.values == month, j], nodes)
            h = np.quantile(hist.values[hist.time.dt.month.values == month, j], nodes)
            x = sim.values[here, j]
            af = np.interp(x, h, r - h if kind == "+" else r / h)
            out[here, j] = x + af if kind == "+" else x * af
    return out


@pytest.mark.parametrize(("name", "kind"), [("tas", "+"), ("pr", "*")])
def test_eqm_equals_quantiles_and_interpolation_by_hand(name, kind):
    ref, hist = series(name, seed=1), series(name, seed=2, shift=0.3)
    sim = series(name, start="2010-04-01", years=40, seed=3, shift=0.5)
    trained = train(ref, hist, method="eqm", nquantiles=20)
    expected = quantile_mapping_by_hand(ref, hist, sim, trained.quantiles.values, kind)
    np.testing.assert_allclose(adjust(trained, sim).values, expected, rtol=1e-9)


def test_qdm_ranks_in_a_moving_window_that_keeps_its_length(pair):
    sim = series(start="2001-01-01", years=60, seed=5, trend=0.4)
    trained = train(*pair, nquantiles=12)
    got = adjust(trained, sim, window_years=20).sel(band="b1")
    nodes, af = trained.quantiles.values, trained.af.sel(band="b1").values
    january = sim.sel(band="b1").values[::12]
    for i in (0, 7, 30, 58):
        start = min(max(i - 10, 0), 40)
        window = january[start : start + 20]
        tau = np.sum(window < january[i]) / 19
        expected = january[i] + np.interp(tau, nodes, af[0])
        assert got.values[12 * i] == pytest.approx(expected, abs=1e-9)


def test_window_never_reaches_into_the_missing_years_of_a_scenario(pair):
    trained = train(*pair)
    sim = series(start="1951-01-01", years=60, seed=5, trend=0.4)
    late = sim.where(sim.time.dt.year >= 1981)
    alone = adjust(trained, sim.sel(time=slice("1981", None)))
    both = adjust(trained, xr.concat([sim, late], pd.Index(["a", "b"], name="scenario")))
    xr.testing.assert_identical(
        both.sel(scenario="b", time=slice("1981", None), drop=True).drop_attrs(),
        alone.drop_attrs(),
    )
    assert both.sel(scenario="b", time=slice(None, "1980")).isnull().all()


# --- xsdba -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xsdba():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("xsdba")


@pytest.mark.parametrize("name", ["tas", "pr"])
def test_parity_with_xsdba_qdm_linear(xsdba, name):
    ref, hist = (on_mid_months(series(name, seed=s, bands=2)) for s in (1, 2))
    sim = on_mid_months(series(name, start="2011-01-01", years=45, seed=3, shift=0.3, bands=2))
    kind = "+" if name == "tas" else "*"
    theirs = xsdba.QuantileDeltaMapping.train(
        ref, hist, nquantiles=20, group="time.month", kind=kind
    ).adjust(sim, interp="linear")
    trained = train(ref, hist, nquantiles=20)
    ours = adjust(trained, sim, window_years=None)
    np.testing.assert_allclose(ours.values, theirs.transpose(*sim.dims).values, rtol=1e-6)


def test_parity_with_xsdba_qdm_nearest(xsdba):
    # 51 years and 25 quantiles: every other rank is a quantile, where nearest is exact
    ref, hist, sim = (series(seed=s, years=51) for s in (1, 2, 3))
    theirs = xsdba.QuantileDeltaMapping.train(
        ref, hist, nquantiles=25, group="time.month", kind="+"
    ).adjust(sim, interp="nearest")
    ours = adjust(train(ref, hist, nquantiles=25), sim, window_years=None)
    odd = sim.groupby("time.month").map(lambda x: x.rank("time")) % 2 == 0
    assert int(odd.sum()) == 25 * 12 * 3
    difference = (ours - theirs).where(odd)
    assert float(abs(difference).max()) < 1e-6


def test_trained_factors_equal_those_of_xsdba(xsdba, pair):
    theirs = xsdba.EmpiricalQuantileMapping.train(
        *pair, nquantiles=50, group="time.month", kind="+"
    ).ds
    ours = train(*pair, method="eqm")
    assert set(ours.af.dims) == set(theirs.af.dims)
    for name in ("af", "hist_q"):
        xr.testing.assert_allclose(
            ours[name].drop_attrs(), theirs[name].transpose(*ours[name].dims).drop_attrs()
        )


def test_a_user_can_go_on_in_xsdba_as_documented(xsdba, pair):
    trained = train(*(da.isel(band=[0]) for da in pair), nquantiles=15)
    sim = on_mid_months(series(seed=9, start="2011-01-01", bands=1))
    qdm = xsdba.QuantileDeltaMapping(
        _trained=True,
        group=xsdba.Grouper("time.month"),
        kind=trained.attrs["kind"],
        adapt_freq_thresh=None,
        max_tail_factor=None,
        hist_calendar="standard",
        train_units=trained.attrs["units"],
    )
    qdm.set_dataset(trained.copy())
    theirs = qdm.adjust(sim, interp="linear")
    ours = adjust(trained, sim, window_years=None)
    np.testing.assert_allclose(theirs.transpose(*sim.dims).values, ours.values, rtol=1e-6)
    again = xsdba.QuantileDeltaMapping.from_dataset(qdm.ds)  # its own attribute is there now
    assert again.kind == "+"
    assert "_xsdba_adjustment" not in trained.attrs


def test_xsdba_engine_agrees_with_ours(xsdba, pair):
    sim = xr.concat(
        [series(seed=s, start="2011-01-01", bands=1) for s in (3, 4)],
        pd.Index(["rcp26", "rcp85"], name="scenario"),
    )
    pair = [da.isel(band=[0]) for da in pair]
    ours = adjust(train(*pair, nquantiles=15), sim, window_years=None)
    through = train(*pair, nquantiles=15, engine="xsdba")
    theirs = adjust(through, sim, window_years=None, engine="xsdba")
    assert theirs.dims == sim.dims
    np.testing.assert_allclose(theirs.values, ours.values, rtol=1e-6)
    with pytest.raises(DataError, match="Type window_years=None"):
        adjust(train(*pair), sim, engine="xsdba")


@pytest.mark.parametrize("method", ["dqm", "scaling", "eqm"])
def test_other_methods_go_through_xsdba(xsdba, pair, method):
    ref, hist = pair
    trained = train(ref, hist, method=method, engine="auto" if method == "scaling" else "xsdba")
    assert trained.attrs["engine"] == "xsdba"
    assert not any("xsdba" in key for key in trained.attrs)
    out = adjust(trained, hist, engine="xsdba", window_years=None)
    assert float(abs(out.mean() - ref.mean())) < 0.1
    assert out.dims == hist.dims
    assert out.attrs["bias_adjustment"] == method


def test_trained_survives_a_file(tmp_path, pair):
    trained = train(*pair)
    trained.to_netcdf(tmp_path / "trained.nc")
    with xr.open_dataset(tmp_path / "trained.nc") as again:
        xr.testing.assert_identical(adjust(again.load(), pair[1]), adjust(trained, pair[1]))


# --- laws --------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    years=st.integers(2, 40),
    name=st.sampled_from(["tas", "pr", "snc"]),
    method=st.sampled_from(["qdm", "eqm"]),
    holes=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_mapping_the_reference_onto_itself_is_identity(seed, years, name, method, holes, dtype):
    ref = series(name, seed=seed, years=years).astype(dtype)
    if holes:
        ref = ref.where(np.random.default_rng(seed).random(ref.shape) > 0.2)
    out = adjust(train(ref, ref, method=method), ref)
    np.testing.assert_array_equal(out.values, ref.values)
    assert out.dtype == dtype


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), name=st.sampled_from(["pr", "rsds", "snd"]))
def test_zeros_never_make_infinities(seed, name):
    rng = np.random.default_rng(seed)
    ref, hist, sim = (
        series(name, seed=seed + i, years=12).pipe(lambda x: x.where(rng.random(x.shape) > 0.6, 0))
        for i in range(3)
    )
    for method in ("qdm", "eqm"):
        trained = train(ref, hist, method=method)
        assert np.isfinite(trained.af).all()
        assert float(trained.af.max()) <= MAX_FACTOR
        out = adjust(trained, sim)
        assert np.isfinite(out).all()
        assert float(out.min()) >= 0
        assert (out.where(sim == 0, 0) == 0).all()


def test_factor_is_one_where_both_are_zero_and_bounded_where_the_model_is():
    ref, hist = series("rsds", seed=1), series("rsds", seed=2)
    december = ref.time.dt.month == 12
    january = ref.time.dt.month == 1
    ref = ref.where(~december, 0.0)
    hist = hist.where(~december, 0.0).where(~january, 0.0)
    trained = train(ref, hist)
    assert (trained.af.sel(month=12) == 1).all()
    assert (trained.af.sel(month=1) == MAX_FACTOR).all()


@pytest.mark.parametrize("method", ["qdm", "eqm"])
def test_kelvin_celsius_and_millikelvin_agree(pair, method):
    sim = series(seed=8, start="2011-01-01", years=50, trend=0.5)

    def into(da, factor, offset, units):
        return ((da + offset) * factor).assign_attrs(units=units)

    kelvin = adjust(train(*pair, method=method), sim)
    for factor, offset, units in ((1, -273.15, "degC"), (1000, 0, "mK")):
        both = [into(da, factor, offset, units) for da in pair]
        other = adjust(train(*both, method=method), into(sim, factor, offset, units))
        np.testing.assert_allclose(other.values / factor - offset, kelvin.values, atol=1e-7)


@pytest.mark.parametrize("method", ["qdm", "eqm"])
def test_places_do_not_see_each_other(method):
    ref, hist, sim = (series(seed=s, bands=150) for s in (1, 2, 3))
    all_places = adjust(train(ref, hist, method=method), sim)
    some = {"band": [149, 3, 70]}
    few = adjust(train(ref.isel(some), hist.isel(some), method=method), sim.isel(some))
    xr.testing.assert_identical(all_places.isel(some), few)


def test_scenarios_are_ranked_each_on_its_own(pair):
    trained = train(*pair)
    runs = [series(seed=s, start="2011-01-01", years=40, trend=s) for s in (1, 2)]
    names = pd.Index(["rcp26", "rcp85"], name="scenario")
    both = adjust(trained, xr.concat(runs, names))
    for name, run in zip(names, runs, strict=True):
        xr.testing.assert_identical(
            both.sel(scenario=name, drop=True).drop_attrs(), adjust(trained, run).drop_attrs()
        )


def test_day_of_the_stamp_and_calendar_do_not_matter(pair):
    ref, hist = pair
    late = [da.assign_coords(time=da.time + np.timedelta64(14, "D")) for da in pair]
    no_datetime = [on_mid_months(da) for da in pair]
    expected = adjust(train(ref, hist), hist).values
    np.testing.assert_array_equal(adjust(train(ref, late[1]), late[1]).values, expected)
    mixed = adjust(train(ref, no_datetime[1]), no_datetime[1])
    np.testing.assert_array_equal(mixed.values, expected)


def test_periods_are_joined_by_year_and_month():
    ref, hist = series(start="1990-03-01", years=20, seed=1), series(start="1975-01-01", seed=2)
    trained = train(ref, hist)
    assert trained.attrs["reference_period"] == "1990-03/2004-12"
    cut = slice("1990-03", "2004-12")
    xr.testing.assert_equal(trained, train(ref.sel(time=cut), hist.sel(time=cut)))
    apart = train(ref, hist, reference_period=("1995", "2005"), historical_period=("1976", "1990"))
    assert apart.attrs["historical_period"] == "1976-01/1990-12"
    xr.testing.assert_equal(
        apart,
        train(
            ref.sel(time=slice("1995", "2005")),
            hist.sel(time=slice("1976", "1990")),
            reference_period=("1995", "2005"),
            historical_period=("1976", "1990"),
        ),
    )


# --- missing values, bounds, types, laziness ---------------------------------------------


@pytest.mark.parametrize("method", ["qdm", "eqm"])
def test_missing_values(pair, method):
    ref, hist = pair
    ref = ref.where(ref.band != "b1")
    sim = series(seed=3, start="2011-01-01")
    sim[{"time": 5, "band": 0}] = np.nan
    out = adjust(train(ref, hist, method=method), sim)
    assert out.sel(band="b1").isnull().all()
    assert out.sel(band="b0").isnull().values.nonzero()[0].tolist() == [5]
    assert out.sel(band="b2").notnull().all()


def test_snow_cover_stays_between_0_and_100():
    rng = np.random.default_rng(0)
    ref, hist, sim = (
        series("snc", seed=s).copy(data=rng.uniform(0, 100, (360, 3))) for s in (1, 2, 3)
    )
    out = adjust(train(ref, hist, nquantiles=3), sim)
    assert float(out.min()) >= 0
    assert float(out.max()) <= 100


def test_trained_names_and_layers_pass_through():
    ref, hist = (series("tas", seed=s).rename(band="layer").rename("tsl") for s in (1, 2))
    both = [da.expand_dims(lat=[60.0, 65.0]) for da in (ref, hist)]
    out = adjust(train(*both), both[1])
    assert out.dims == both[1].dims
    assert out.name == "tsl"


def test_lazy_over_places(pair):
    ref, hist = (da.chunk(band=1) for da in pair)
    sim = series(seed=3, start="2011-01-01").chunk(band=1)

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        out = adjust(train(ref, hist), sim)
    assert out.chunks is not None
    eager = adjust(train(*pair), sim.compute())
    xr.testing.assert_identical(out.compute(), eager)
    numpy_sim = adjust(train(ref, hist), sim.compute())
    xr.testing.assert_identical(numpy_sim.compute(), eager)
    with pytest.raises(DimensionError, match=r"one chunk; found 2. Type ds.chunk\(time=-1\)"):
        train(ref.chunk(time=180), hist)


def test_inputs_are_not_written_to(pair):
    sim = series(seed=3)
    copies = [da.copy(deep=True) for da in (*pair, sim)]
    trained = train(*pair)
    before = trained.copy(deep=True)
    adjust(trained, sim)
    for da, copy in zip((*pair, sim), copies, strict=True):
        xr.testing.assert_identical(da, copy)
    xr.testing.assert_identical(trained, before)


def test_provenance(pair):
    sim = series(seed=3).assign_attrs(history="made")
    out = adjust(train(*pair), sim)
    assert out.attrs["history"].startswith("made\nxpermafrost ")
    for part in ("method='qdm'", "window_years=30", "1971-01/2000-12"):
        assert part in out.attrs["history"]
    assert out.attrs["units"] == "K"


def test_datasets_give_a_tree_and_back():
    ref, hist, sim = (
        xr.merge([series("tas", seed=s), series("pr", seed=s + 10)]) for s in (1, 2, 3)
    )
    tree = train(ref.assign(only=ref.tas), hist)
    assert list(tree.children) == ["tas", "pr"]
    assert tree["pr"].attrs["kind"] == "*"
    out = adjust(tree, sim)
    for name in ("tas", "pr"):
        expected = adjust(train(ref[name], hist[name]), sim[name])
        xr.testing.assert_identical(out[name], expected)
        xr.testing.assert_identical(adjust(tree, sim[name]), expected)
    with pytest.raises(MissingVariableError, match="'pr'"):
        adjust(tree, sim[["tas"]])


def test_import_stays_light():
    code = (
        "import sys, xpermafrost.bias; "
        "print([m for m in ('xsdba', 'numba', 'torch', 'xclim') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- errors ------------------------------------------------------------------------------


def test_errors_of_train(pair):
    ref, hist = pair
    with pytest.raises(UnitsError, match=r"'tas' of the historical has no units"):
        train(ref, hist.drop_attrs())
    with pytest.raises(UnitsError, match=r"in 'K' in the reference and in 'degC'"):
        train(ref, hist.assign_attrs(units="degC"))
    with pytest.raises(ModelMismatchError, match=r"reference is 'tas', the historical 'ts'"):
        train(ref, hist.rename("ts"))
    with pytest.raises(ModelMismatchError, match=r"'band' the reference has \[b0, b1, b2\] \(3\)"):
        train(ref, hist.isel(band=[0, 2, 1]))
    with pytest.raises(
        TimeAxisError, match=r"spans 1971-01/2000-12, the historical 2050-01/2079-12"
    ):
        train(ref, series(start="2050-01-01"))
    with pytest.raises(TimeAxisError, match=r"Type reference_period=\('1971-01', '2000-12'\)"):
        train(ref, hist, reference_period=("1971", "2010"))
    with pytest.raises(TimeAxisError, match=r"a period is a pair of years or months in order"):
        train(ref, hist, reference_period=("2000", "1990"))
    with pytest.raises(TimeAxisError, match="found no 1971-06"):
        train(ref.drop_isel(time=5), hist)
    with pytest.raises(DataError, match="at least two years"):
        train(ref.isel(time=slice(18)), hist)
    with pytest.raises(DimensionError, match=r"Select along 'scenario' first"):
        train(ref, hist.expand_dims(scenario=["rcp26"]))
    with pytest.raises(UnknownNameError, match="did you mean 'qdm'"):
        train(ref, hist, method="qdmm")
    with pytest.raises(DataError, match="'scaling' needs engine='xsdba'"):
        train(ref, hist, method="scaling", engine="fast")
    with pytest.raises(DataError, match=r"Type kinds=\{'depth': 'additive'\}"):
        train(ref.rename("depth"), hist.rename("depth"))
    assert train(ref.rename("depth"), hist.rename("depth"), kinds="additive").attrs["kind"] == "+"
    with pytest.raises(DataError, match="two DataArrays or two Datasets"):
        train(ref, hist.to_dataset())
    with pytest.raises(MissingVariableError, match="variables with 'time' on both sides"):
        train(ref.to_dataset(), hist.rename("ts").to_dataset())


def test_errors_of_adjust(pair):
    ref, hist = pair
    trained = train(ref, hist)
    with pytest.raises(UnitsError, match="in 'degC' in the series and in 'K' in the training"):
        adjust(trained, hist.assign_attrs(units="degC"))
    with pytest.raises(ModelMismatchError, match="trained on 'tas'; the series is 'ts'"):
        adjust(trained, hist.rename("ts"))
    with pytest.raises(ModelMismatchError, match="same places in the same order"):
        adjust(trained, hist.isel(band=[0, 1]))
    with pytest.raises(DimensionError, match=r"needs the places of the training, dims \('band',\)"):
        adjust(trained, hist.rename(band="station"))
    with pytest.raises(NotFittedError, match=r"needs what bias\.train returns"):
        adjust(hist.to_dataset(), hist)
    with pytest.raises(DataError, match="needs, for a Dataset, the DataTree"):
        adjust(trained, hist.to_dataset())
    with pytest.raises(DimensionError, match="at least 2"):
        adjust(trained, hist, window_years=1)


# --- divergence of scenarios -------------------------------------------------------------


def warming(spread):
    """A reference, and a model of other spread with two scenarios drifting apart."""
    years = pd.date_range("1971-01-01", "2100-12-31", freq="MS")
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2, years.size, 3))
    ref = series(seed=1)
    runs = []
    for i, rate in enumerate((0.01, 0.06)):
        drift = rate * np.clip(years.year.to_numpy() - 2006, 0, None)
        season = 18 * np.cos((years.month.to_numpy() - 7) / 6 * np.pi)
        runs.append(262 + season[:, None] + spread * noise[i] + drift[:, None])
    coords = {"scenario": ["rcp26", "rcp85"], "time": years, "band": ref.band}
    sim = xr.DataArray(
        np.stack(runs), coords, ("scenario", "time", "band"), name="tas", attrs={"units": "K"}
    )
    return ref, sim.isel(scenario=0, drop=True), sim


def test_qdm_keeps_the_divergence_and_eqm_is_warned_about():
    ref, hist, sim = warming(spread=3.2)  # 1.3 times that of the reference
    kept = divergence_preserved(sim, adjust(train(ref, hist), sim)).tas
    assert kept.dims == ("band", "horizon")
    assert kept.horizon.values.tolist() == ["2041/2060", "2081/2100"]
    values = kept.values[np.isfinite(kept.values)]
    assert values.size >= 3
    assert ((values > 0.95) & (values < 1.05)).all()
    ref, hist, sim = warming(spread=5.0)
    eqm = adjust(train(ref, hist, method="eqm"), sim)
    with pytest.warns(PermafrostWarning, match=r"'tas' keeps 0\.\d+ .* \(method 'eqm'"):
        lost = divergence_preserved(sim, eqm).tas
    assert float(lost.sel(horizon="2081/2100").max()) < 0.9


@pytest.mark.skipif(not CMIP.exists(), reason=f"needs {CMIP}")
def test_divergence_kept_on_a_real_model():
    """Means of latitude rows; the reference is 2 K warmer and varies a quarter less."""
    name = "tas_mon_IPSL-CM6A-LR_{}_r1i1p1f1_lat45-90.nc"
    runs = {}
    for scenario in ("ssp126", "ssp585"):
        parts = [xr.open_dataset(CMIP / name.format(run)) for run in ("historical", scenario)]
        with parts[0], parts[1]:
            runs[scenario] = xr.concat([part.tas.load() for part in parts], "time")
    sim = xr.concat(runs.values(), pd.Index(list(runs), name="scenario"))
    sim = sim.sel(time=slice("1961", "2100")).mean("lon").assign_attrs(units="K")
    hist = sim.sel(scenario="ssp126", time=slice("1971", "2010"), drop=True)
    months = hist.groupby("time.month")
    anomaly = (months - months.mean("time")).drop_vars("month")
    ref = (hist + 2.0 - 0.25 * anomaly).assign_attrs(units="K").rename("tas")
    adjusted = adjust(train(ref, hist), sim)
    kept = divergence_preserved(sim, adjusted, pair=("ssp126", "ssp585")).tas
    assert kept.notnull().all()
    assert float(kept.min()) > 0.95
    assert float(kept.max()) < 1.05


def test_divergence_of_a_multiplicative_variable():
    ref, hist = series("pr", seed=1, years=60), series("pr", seed=2, years=60, shift=0.5)
    low = series("pr", start="2041-01-01", years=60, seed=3, shift=0.5)
    sim = xr.concat([low, low * 1.5], pd.Index(["rcp26", "rcp85"], name="scenario"))
    sim.attrs = low.attrs
    kept = divergence_preserved(sim, adjust(train(ref, hist), sim))
    np.testing.assert_allclose(kept.pr.values, 1.0, atol=1e-6)


def test_divergence_within_internal_variability_is_masked():
    low, high = (series(start="2041-01-01", years=60, seed=s) for s in (1, 1))
    sim = xr.concat([low, high + 1e-3], pd.Index(["rcp26", "rcp85"], name="scenario"))
    sim.attrs = low.attrs
    assert divergence_preserved(sim, sim).tas.isnull().all()


def test_errors_of_divergence():
    sim = warming(spread=3.0)[2]
    with pytest.raises(ScenarioError, match="unknown scenario 'rcp45'"):
        divergence_preserved(sim, sim, pair=("rcp26", "rcp45"))
    with pytest.raises(TimeAxisError, match=r"the horizon needs 2091-01/2110-12"):
        divergence_preserved(sim, sim, horizons=[("2091", "2110")])
    with pytest.raises(MissingVariableError, match=r"dims \('scenario', 'time'\)"):
        divergence_preserved(sim, sim.isel(scenario=0))
