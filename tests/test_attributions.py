"""Summaries of attributions: numbers checked by hand on a small table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost.attributions import group_features, importance, to_shap
from xpermafrost.errors import DataError, MissingVariableError, UnknownNameError

FEATURES = [
    "tas", "tas:mean12", "mrsol_0.00-0.07m", "mrsol_0.07-0.28m", "elevation", "lithology_till",
    "snow_resistance:taiga", "month_sin", "day_cos", "tsl_column_0.00-0.07m",
    "scenario_signal:rahaman", "location",
]  # fmt: skip


@pytest.fixture
def table():
    """Random attributions of 24 windows in two bands, over four years."""
    rng = np.random.default_rng(0)
    time = pd.date_range("2001-01", periods=24, freq="2MS")
    values = rng.normal(size=(24, 2, 3, len(FEATURES)))
    values[:, :, 1:, -1] = np.nan
    data = rng.normal(size=(24, 3, len(FEATURES)))
    data[:, :, -1] = np.nan
    return xr.Dataset(
        {
            "attribution": (("window", "layer", "lag", "feature"), values, {"units": "K"}),
            "feature_value": (("window", "lag", "feature"), data),
            "base_value": (("window", "layer"), rng.normal(size=(24, 2))),
            "prediction": (("window", "layer"), rng.normal(size=(24, 2))),
        },
        coords={
            "band": ("window", ["a", "b"] * 12),
            "time": ("window", time),
            "layer": [1, 3],
            "depth": ("layer", [0.035, 0.6]),
            "lag": ("lag", [0, 1, 2], {"units": "month"}),
            "feature": FEATURES,
        },
        attrs={"model": "made up", "simulated": "yes"},
    )


def test_by_feature_absolute_values_are_summed_over_lags(table, unchanged):
    with unchanged(table):
        out = importance(table)
    expected = np.nansum(abs(table["attribution"].values), axis=2).mean(axis=(0, 1))
    np.testing.assert_allclose(out["importance"], expected)
    assert out["importance"].dims == ("feature",)
    assert out["importance"].attrs["units"] == "K"
    assert float(out["share"].sum()) == pytest.approx(1.0)
    assert out.attrs["model"] == "made up"
    assert out.attrs["simulated"] == "yes"
    assert bool((out["importance_low"] <= out["importance"]).all())
    assert bool((out["importance_high"] >= out["importance"]).all())


def test_all_ways_to_divide_it_have_the_same_total(table):
    total = float(importance(table, interval=None)["importance"].sum())
    for by in ("lag", ["lag", "feature"]):
        assert float(importance(table, by, interval=None)["importance"].sum()) == pytest.approx(
            total
        )
    layers = importance(table, ["layer", "feature"], interval=None)["importance"]
    assert float(layers.sum("feature").mean()) == pytest.approx(total)
    np.testing.assert_allclose(layers["depth"], [0.035, 0.6])
    bands = importance(table, ["band", "lag"], interval=None)["importance"]
    assert float(bands.sum("lag").mean()) == pytest.approx(total)  # as many windows in each


def test_seasons_and_bands_together(table):
    out = importance(table, ["season", "band", "feature"], interval=None)["importance"]
    assert out["season"].values.tolist() == ["DJF", "MAM", "JJA", "SON"]
    mine = (table["time"].dt.season == "SON") & (table["band"] == "a")
    expected = np.nansum(abs(table["attribution"].values[mine.values]), axis=2).mean(axis=(0, 1))
    np.testing.assert_allclose(out.sel(season="SON", band="a"), expected)
    months = importance(table, ["month", "band"], interval=None)["importance"]
    assert np.isnan(months.sel(month=1, band="b"))  # no such window is not an importance of 0
    assert months.sel(month=1, band="a") > 0


def test_years_are_resampled_whole(table):
    same = table.isel(window=[0] * 24).assign_coords(time=table["time"], band=table["band"])
    out = importance(same)
    np.testing.assert_allclose(out["importance_low"], out["importance_high"])
    two = table.copy(deep=True)
    late = (two["time.year"] > 2002).values
    two["attribution"] = xr.ones_like(two["attribution"]) * xr.DataArray(
        np.where(late, 3.0, 1.0), dims="window"
    )
    both = importance(two.sel(feature=["tas"]), resamples=2000)
    # four years of six windows, two with 3 K and two with 1 K: the mean of four draws
    assert float(both["importance_low"][0]) == pytest.approx(3 * 1.0)
    assert float(both["importance_high"][0]) == pytest.approx(3 * 3.0)
    assert float(both["importance"][0]) == pytest.approx(3 * 2.0)
    narrow = importance(two.sel(feature=["tas"]), interval=0.5, resamples=2000)
    assert float(narrow["importance_low"][0]) == pytest.approx(3 * 1.5)
    again = importance(table, seed=3)
    xr.testing.assert_identical(again, importance(table, seed=3))


def test_groups_by_default(table):
    out = group_features(table)
    assert out["feature"].values.tolist() == [
        "tas", "mrsol", "static", "snow_resistance", "season", "column", "scenario_signal",
        "location",
    ]  # fmt: skip
    whole = table["attribution"].sum(("lag", "feature"))
    np.testing.assert_allclose(out["attribution"].sum(("lag", "feature")), whole)
    pair = table["attribution"].sel(feature=["mrsol_0.00-0.07m", "mrsol_0.07-0.28m"]).sum("feature")
    np.testing.assert_allclose(out["attribution"].sel(feature="mrsol"), pair)
    assert bool(out["attribution"].sel(feature="location").isel(lag=1).isnull().all())
    assert out["attribution"].dims == table["attribution"].dims
    assert "base_value" in out
    assert "feature_value" not in out  # values of different units have no sum
    assert importance(out).sizes["feature"] == 8


def test_groups_of_ones_own(table):
    out = group_features(table, {"water": ["mrsol_0.00-0.07m", "snow_resistance:taiga"]})
    assert "water" in out["feature"].values
    assert out.sizes["feature"] == len(FEATURES) - 1
    with pytest.raises(UnknownNameError, match="did you mean 'tas'"):
        group_features(table, {"air": ["ta"]})
    with pytest.raises(DataError, match="'tas' is in two groups"):
        group_features(table, {"a": ["tas"], "b": ["tas"]})


def test_what_it_cannot_be_grouped_by_is_answered(table):
    with pytest.raises(UnknownNameError, match="did you mean 'season'"):
        importance(table, "seasons")
    with pytest.raises(DataError, match="windows of two years or more; all are of 2001"):
        importance(table.isel(window=slice(0, 4)))
    with pytest.raises(DataError, match=r"coverage between 0 and 1, as 0\.95; got 95"):
        importance(table, interval=95)
    with pytest.raises(MissingVariableError, match="attribution"):
        importance(xp.testing.canonical(years=1))


@pytest.mark.parametrize("lags", ["sum", "each"])
def test_for_shap(table, lags):
    both = to_shap(table, lags=lags)
    total = both.values.sum(axis=1) + both.base_values
    expected = table["base_value"] + table["attribution"].sum(("lag", "feature"))
    np.testing.assert_allclose(total, expected)
    count = len(FEATURES) if lags == "sum" else 3 * (len(FEATURES) - 1) + 1
    assert both.values.shape == (24, count, 2)
    assert both.data.shape == (24, count)
    assert both.output_names == ["1", "3"]
    names = list(both.feature_names)
    one = to_shap(table.sel(layer=[3]), lags=lags)
    assert one.values.shape == (24, count)
    assert one.base_values.shape == (24,)
    if lags == "each":
        column = names.index("tas, 2 months before")
        mine = table["attribution"].sel(feature="tas", lag=2, layer=3)
        np.testing.assert_allclose(one.values[:, column], mine)
        value = table["feature_value"].sel(feature="tas", lag=2)
        np.testing.assert_allclose(one.data[:, column], value)


def test_shap_draws_it(table):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import shap

    shap.plots.bar(to_shap(table.sel(layer=[1])), show=False)
    shap.plots.beeswarm(to_shap(table.sel(layer=[1])), show=False)
    assert plt.gcf().axes
    plt.close("all")
