"""Every figure: what is drawn is what was given, labelled, marked, refused in words."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingDependencyError,
    MissingVariableError,
    PermafrostError,
    PermafrostWarning,
    RegionError,
    TimeAxisError,
    UnknownNameError,
)
from xpermafrost.testing import canonical, experiment, gridded

mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
from matplotlib.colors import to_rgb  # noqa: E402

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
BANDS = xp.LatitudeBands((60, 64, 68, 72), names=("south", "middle", "north"), lon=(-160, -140))
GIVEN = {
    "scenario_fans": "projection",
    "observed_predicted": "tsl",
    "trumpet": "profile",
    "depth_time": "profile",
    "active_layer_trend": "thickness",
    "attribution_bar": "bars",
    "attribution_lags": "lags",
    "attribution_beeswarm": "why",
    "attribution_difference": "difference",
    "skill": "scores",
    "adjustment": "quantiles",
    "change_signals": "change",
    "training_history": "history",
    "region_map": "map",
}
#: Figures of several panels; all others take ``ax=``.
PANELS = ("scenario_fans", "observed_predicted", "adjustment", "change_signals")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def attributions(layers: int = 2) -> xr.Dataset:
    """Of 40 windows: tas 2 K a step at lag 0, snd a fifth of that, elevation nothing."""
    rng = np.random.default_rng(0)
    step = rng.normal(size=40)
    parts = np.zeros((40, layers, 3, 4))
    parts[:, :, 0, 0] = 2.0 * step[:, None] * (1 + np.arange(layers))
    parts[:, :, 1, 1] = -0.4 * step[:, None]
    parts[:, :, 1:, 3] = np.nan
    parts[:, :, 0, 3] = 0.1
    values = rng.normal(size=(40, 3, 4))
    values[:, 0, 0] = step
    values[:, :, 3] = np.nan
    both = ("window", "layer")
    return xr.Dataset(
        {
            "attribution": ((*both, "lag", "feature"), parts, {"units": "K"}),
            "feature_value": (("window", "lag", "feature"), values),
            "base_value": (both, np.full((40, layers), -2.0)),
            "prediction": (both, -2.0 + np.nansum(parts, axis=(2, 3))),
        },
        coords={
            "band": ("window", ["a", "b"] * 20),
            "time": ("window", pd.date_range("2001-01", periods=40, freq="2MS")),
            "layer": np.arange(1, layers + 1),
            "depth_top": ("layer", [0.0, 0.07][:layers]),
            "depth_bottom": ("layer", [0.07, 0.28][:layers]),
            "lag": ("lag", [0, 1, 2], {"units": "month"}),
            "feature": ["tas", "snd", "elevation", "location"],
        },
        attrs={"model": "made up", "method": "expected_gradients"},
    )


def of_scenarios() -> xr.Dataset:
    """Attributions of a difference: tas +3, snd -1, elevation 0."""
    why = attributions().drop_sel(feature="location")
    parts = xr.zeros_like(why["attribution"])
    parts.loc[{"feature": "tas", "lag": 0}] = 3.0
    parts.loc[{"feature": "snd", "lag": 1}] = -1.0
    share = xr.DataArray(np.tile([0.8, 0.0, 0.0], (40, 1)), dims=("window", "feature"))
    why = why.assign(
        attribution=parts, prediction=why["base_value"] + 2.0, outside_training_range=share
    )
    return why.assign_attrs(scenario="rcp85", against="rcp26", period="2081 to 2100")


@pytest.fixture(scope="module")
def made():
    """What every figure is given."""
    soil = canonical(years=6).isel(band=[0, 2], layer=[0, 3])
    warm = (soil["tsl"] - 273.15).assign_attrs(units="degC")
    names = xr.Variable("scenario", ["rcp26", "rcp85"])
    projection = xr.concat([warm, warm + 2.0], names).assign_attrs(model="gru", adjustment="qdm")
    years = np.arange(2001, 2011)
    thickness = xr.DataArray(
        [0.5 + 0.01 * (years - 2001), 1.0 + 0.0 * years],
        {
            "band": ["a", "b"],
            "year": years,
            "uncertainty_lower": (("band", "year"), np.full((2, 10), 0.28)),
            "uncertainty_upper": (("band", "year"), np.full((2, 10), 1.2)),
        },
        ("band", "year"),
        attrs={"units": "m"},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PermafrostWarning)  # short horizons differ by chance
        report = xp.adjustment_report(
            experiment(), variables=["tas"], horizons=[("2012", "2014"), ("2015", "2017")]
        )
    quantiles, change = (report[name].to_dataset() for name in ("quantiles", "change"))
    loss = [[0.5, 0.3, 0.2], [0.7, 0.5, 0.4]]
    why = attributions()
    return {
        "projection": projection,
        "tsl": soil["tsl"] + 1.0,
        "observed": soil["tsl"],
        "profile": soil["tsl"].sel(band="north"),
        "thickness": thickness,
        "bars": xp.importance(why),
        "lags": xp.importance(why, ["feature", "lag"]),
        "why": why.sel(layer=2),
        "difference": of_scenarios(),
        "scores": xp.evaluate(
            canonical(years=8), [], baselines=["climatology", "persistence", "ridge"], bootstrap=0
        ),
        "report": report,
        "quantiles": quantiles.isel(season=[0, 2]).assign_attrs(report.attrs),
        "change": change.assign_attrs(report.attrs),
        "history": xr.Dataset(
            {
                "training_loss": (("member", "epoch"), loss),
                "validation_loss": (("member", "epoch"), 2.0 * np.array(loss)),
            },
            {"member": [0, 1], "epoch": [1, 2, 3]},
            {"comment": "mean huber loss"},
        ),
        "map": xr.DataArray(
            [2.0, -1.0, -8.0], {"band": list(BANDS.names)}, ("band",), "magt",
            {"units": "degC", "long_name": "ground temperature", "model": "gru"},
        ),
    }  # fmt: skip


def options(name: str, made: dict) -> dict:
    """What the figure needs besides its object."""
    return {
        "scenario_fans": {"window": 3},
        "observed_predicted": {"observed": made["observed"]},
        "adjustment": {"variable": "tas"},
        "change_signals": {"variable": "tas"},
        "region_map": {"regions": BANDS},
    }.get(name, {})


def draw(name: str, made: dict, obj=None, **more):
    obj = made[GIVEN[name]] if obj is None else obj
    return getattr(xp.plot, name)(obj, **{**options(name, made), **more})


def figure_of(drawn):
    return drawn if hasattr(drawn, "savefig") else drawn.figure


def render(drawn) -> np.ndarray:
    """Pixels ``(row, column, 3)`` from 0 to 1, at 100 dpi."""
    figure = figure_of(drawn)
    figure.set_dpi(100)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255.0


def shows(ax, x, y, colour, *, reach: int = 3, close: float = 0.1) -> bool:
    """Whether a pixel within ``reach`` of the data position has the colour."""
    image = render(ax)
    column, row = ax.transData.transform((x, y))
    row, column = round(image.shape[0] - row), round(column)
    part = image[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return bool((np.abs(part - to_rgb(colour)).max(axis=-1) < close).any())


def title_of(drawn) -> str:
    text = drawn.get_suptitle() if hasattr(drawn, "savefig") else drawn.get_title()
    return text.replace("\n", " ")


def test_the_pixel_test_can_fail():
    ax = plt.subplots()[1]
    ax.set(xlim=(0, 1), ylim=(0, 1))
    assert not shows(ax, 0.5, 0.5, BLUE)
    (line,) = ax.plot([0.2, 0.8], [0.5, 0.5], color=BLUE)
    assert shows(ax, 0.5, 0.5, BLUE)
    assert not shows(ax, 0.5, 0.8, BLUE)
    line.remove()
    assert not shows(ax, 0.5, 0.5, BLUE)


def test_every_figure_is_tested():
    drawn = set(xp.plot.__all__) - {"SCENARIO_COLOURS", "scenario_label"}
    assert drawn == set(GIVEN)


# -- all figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GIVEN)
def test_the_accessor_draws_the_same_pixels(name, made, unchanged):
    obj = made[GIVEN[name]]
    with unchanged(obj):
        one = render(draw(name, made))
    assert np.unique(one.reshape(-1, 3), axis=0).shape[0] > 20  # not blank
    plots = obj.permafrost.plot
    two = render(getattr(plots, name)(**options(name, made)))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", GIVEN)
def test_nothing_is_cut_at_the_edge(name, made):
    figure = figure_of(draw(name, made, made[GIVEN[name]].assign_attrs(simulated="yes")))
    figure.canvas.draw()
    drawn, page = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 > -0.05
    assert drawn.y0 > -0.05
    assert drawn.x1 < page[0] + 0.05
    assert drawn.y1 < page[1] + 0.05


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_simulated_says_so(name, made):
    obj = made[GIVEN[name]]
    marked = obj.assign_attrs(simulated="yes: made up")
    assert "SIMULATED" in title_of(draw(name, made, marked))
    mine = title_of(draw(name, made, marked, title="mine"))
    assert mine.startswith("mine")
    assert "SIMULATED" in mine
    assert "SIMULATED" not in title_of(draw(name, made))
    assert title_of(draw(name, made, title="mine")) == "mine"


@pytest.mark.parametrize("name", [name for name in GIVEN if name not in PANELS])
def test_axes_that_are_given_are_used(name, made):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5))
    assert draw(name, made, ax=right) is right
    assert right.has_data() or right.patches
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("name", GIVEN)
def test_without_matplotlib(name, made, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingDependencyError, match=r"figures needs the package .*pip install"):
        draw(name, made)


#: Something else than the figure wants, and the call that the message names.
WRONG = {
    "scenario_fans": ("profile", r"Type ds\.permafrost\.project\(model\) first"),
    "observed_predicted": ("forcing", r"Type ds\['tsl'\] or ds\.permafrost\.project\(model\)"),
    "trumpet": ("forcing", r"Type ds\['tsl'\] or ds\.permafrost\.project\(model\) first"),
    "depth_time": ("forcing", r"Type ds\['tsl'\] or ds\.permafrost\.project\(model\) first"),
    "active_layer_trend": ("profile", r"Type soil\.permafrost\.active_layer_thickness\(\) first"),
    "attribution_bar": ("why", r"Type xp\.importance\(why\) first"),
    "attribution_lags": ("bars", r"Type xp\.importance\(why, \['feature', 'lag'\]\)"),
    "attribution_beeswarm": ("bars", r"Type xp\.explain\(model, ds\) first"),
    "attribution_difference": ("why", r"Type xp\.explain_scenarios\(model, ds, .* first"),
    "skill": ("bars", r"Type ds\.permafrost\.evaluate\(\[model\]\) first"),
    "adjustment": ("change", r"Type ds\.permafrost\.adjustment_report\(\) first"),
    "change_signals": ("quantiles", r"Type ds\.permafrost\.adjustment_report\(\) first"),
    "training_history": ("bars", r"Type fitted = ds\.permafrost\.fit\('gru'\)"),
    "region_map": ("projection", r"Reduce it first: ds\.permafrost\.reduce|Select one"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_message_names_the_call_that_comes_first(name, made):
    key, message = WRONG[name]
    wrong = canonical(years=2)["tas"] if key == "forcing" else made[key]
    with pytest.raises(PermafrostError, match=message):
        draw(name, made, wrong)


# -- one by one ----------------------------------------------------------------------------------


def test_fans_of_members_are_their_range(made):
    shift = xr.DataArray([-1.0, 0.0, 2.5], {"member": [0, 1, 2]}, ("member",))
    members = (made["projection"] + shift).assign_attrs(made["projection"].attrs)
    figure = xp.plot.scenario_fans(members, window=3)
    ax = figure.axes[0]
    yearly = made["projection"].isel(band=0, layer=0, scenario=0).groupby("time.year").mean()
    running = np.convolve(yearly, np.ones(3) / 3, "valid")
    thick = next(line for line in ax.lines if line.get_label() == "RCP2.6")
    np.testing.assert_allclose(thick.get_ydata()[1:-1], running + 0.5, rtol=1e-5)
    corners = ax.collections[0].get_paths()[0].vertices
    here = corners[corners[:, 0] == 2003][:, 1]
    np.testing.assert_allclose([here.min(), here.max()], running[1] + [-1.0, 2.5], rtol=1e-4)
    assert "range of 3 members" in title_of(figure)
    assert "gru, adjustment qdm" in title_of(figure)
    assert shows(ax, 2003, running[1] + 0.5, BLUE)


def test_fans_count_every_climate_model_alike(made):
    one = made["projection"]
    runs = xr.concat([one, one + 2.0], xr.Variable("realization", [1, 2]))
    lone = xr.concat([one - 4.0, one * np.nan], xr.Variable("realization", [1, 2]))
    both = xr.concat([runs, lone], xr.Variable("esm", ["A", "B"])).assign_attrs(one.attrs)
    figure = xp.plot.scenario_fans(both, window=3)
    yearly = one.isel(band=0, layer=0, scenario=0).groupby("time.year").mean()
    running = np.convolve(yearly, np.ones(3) / 3, "valid")
    thick = next(line for line in figure.axes[0].lines if line.get_label() == "RCP2.6")
    expected = running + ((0.0 + 2.0) / 2 - 4.0) / 2
    np.testing.assert_allclose(thick.get_ydata()[1:-1], expected, rtol=1e-4)
    assert "2 climate models and 2 realizations" in title_of(figure)


def test_fans_of_one_run_are_the_spread_of_years(made):
    once = made["projection"].expand_dims(member=[0])
    figure = xp.plot.scenario_fans(once, window=3)
    assert "1 s.d. of years" in title_of(figure)
    one = render(figure)
    np.testing.assert_array_equal(one, render(draw("scenario_fans", made)))


def test_fans_refuse_what_they_would_draw_wrongly(made):
    with pytest.raises(DataError, match=r"20 whole years .* has 6\. .*window=5"):
        xp.plot.scenario_fans(made["projection"])
    with pytest.raises(PermafrostError, match=r"needs degC; .* reaches 2\d\d, as K do"):
        draw("scenario_fans", made, observed=made["observed"])
    celsius = made["observed"] - 273.15
    with pytest.raises(DimensionError, match="needs the same places in both; along 'band'"):
        draw("scenario_fans", made, observed=celsius.isel(band=[1, 0]))


def test_observed_predicted_draws_every_pair(made):
    figure = draw("observed_predicted", made)
    assert len(figure.axes) == 4
    ax = figure.axes[2]
    x = made["observed"].isel(band=1, layer=0).values - 273.15
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], x + 1, rtol=1e-5, atol=1e-4)
    assert ax.texts[0].get_text() == "RMSE 1.00 K\nn = 72"
    assert ax.get_ylabel() == "north"
    assert figure.axes[0].get_title() == "0-0.07 m"
    assert figure.get_supxlabel() == "observed soil temperature [degC]"
    assert figure.get_supylabel() == "predicted soil temperature [degC]"
    assert "2001-01 to 2006-12" in title_of(figure)
    assert shows(ax, x.max(), x.max() + 1.0, BLUE, close=0.55)
    late = made["observed"].assign_coords(time=pd.date_range("2050", periods=72, freq="MS"))
    with pytest.raises(TimeAxisError, match="needs times in common"):
        draw("observed_predicted", made, observed=late)
    gaps = made["observed"].where(made["observed"]["time.year"] > 2002)
    text = draw("observed_predicted", made, observed=gaps).axes[0].texts[0].get_text()
    assert text.endswith("n = 48")


def test_trumpet_draws_annual_extremes(made):
    ax = draw("trumpet", made)
    warm = made["profile"] - 273.15
    yearly = warm.groupby("time.year")
    expected = {
        "minimum": yearly.min().mean("year"),
        "mean": warm.weighted(warm["time"].dt.days_in_month).mean("time"),
        "maximum": yearly.max().mean("year"),
    }
    for name, colour in (("minimum", BLUE), ("mean", "black"), ("maximum", ORANGE)):
        line = next(line for line in ax.lines if line.get_label() == name)
        np.testing.assert_allclose(line.get_xdata(), expected[name], atol=2e-3)
        assert line.get_color() == colour
        assert shows(ax, line.get_xdata()[1], line.get_ydata()[1], colour)
    np.testing.assert_allclose(line.get_ydata(), [0.035, 1.945])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("soil temperature [degC]", "depth [m]")
    assert ax.get_ylim() == (2.89, 0.0)  # depth downwards
    assert ax.get_title() == "north, 2001-2006; shaded: range of years"
    shift = xr.DataArray([0.0, 3.0], {"member": [0, 1]}, ("member",))
    ax = xp.plot.trumpet((made["profile"] + shift).assign_attrs(units="K"))
    assert "range of 2 members" in ax.get_title()
    fan = ax.collections[1].get_paths()[0].vertices  # of the mean
    assert np.ptp(fan[np.isclose(fan[:, 1], 1.945), 0]) == pytest.approx(3.0, abs=1e-3)
    with pytest.raises(DataError, match="needs a whole calendar year"):
        xp.plot.trumpet(made["profile"].isel(time=slice(3, 9)))
    with pytest.raises(DimensionError, match=r"Select one, da\.sel\(band='south'\)"):
        xp.plot.trumpet(made["tsl"])


def test_depth_time_is_red_where_it_is_warm(made):
    step = np.where(np.arange(24) < 12, -5.0, 5.0)
    values = np.tile(step, (4, 1))
    values[2, 20:] = np.nan
    soil = canonical(years=2)["tsl"].sel(band="north")
    soil = soil.copy(data=values).assign_attrs(units="degC")
    ax = xp.plot.depth_time(soil)
    assert shows(ax, 2001.5, 0.15, "#053061", close=0.05)  # ends of RdBu_r
    assert shows(ax, 2002.5, 0.15, "#67001f", close=0.05)
    assert shows(ax, 2002.9, 0.6, "0.85", close=0.02)  # no data
    assert shows(ax, 2002.0, 1.0, "black", close=0.3)  # 0 degC
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("year", "depth [m]")
    assert ax.get_ylim() == (2.89, 0.0)
    assert ax.figure.axes[1].get_ylabel() == "soil temperature [degC]"
    assert ax.get_title() == "north, months; line: 0 degC"
    with pytest.raises(DimensionError, match="depth_time draws the dims"):
        xp.plot.depth_time(made["projection"])


def test_active_layer_trend_is_the_slope(made):
    ax = draw("active_layer_trend", made)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0] == "a: +10.0 cm per decade [+10.0, +10.0]"
    assert texts[1].startswith("b: +0.0 cm per decade")
    assert ax.get_ylabel() == "active-layer thickness [m]"
    assert shows(ax, 2005, 0.54, BLUE)
    assert shows(ax, 2005.5, 1.0, ORANGE)
    ends = [line.get_ydata() for line in ax.lines if list(line.get_ydata()) == [0.28, 1.2]]
    assert len(ends) == 2  # a bar for each
    assert "bars on the right" in title_of(ax)
    one = draw("active_layer_trend", made, made["thickness"].sel(band="a"))
    assert "shaded: bounds of the layers" in title_of(one)
    pale = 0.85 + 0.15 * np.array(to_rgb(BLUE))
    assert shows(one, 2003, 1.0, pale, close=0.02)
    assert not shows(one, 2003, 1.3, pale, close=0.02)
    bare = draw("active_layer_trend", made, uncertainty=False)
    assert "bounds" not in bare.get_title()
    assert len(bare.lines) == 4


def test_active_layer_trend_counts_what_it_cannot_draw(made):
    thickness = made["thickness"].sel(band="a")
    gone = thickness.where(thickness["year"] < 2008).assign_coords(
        status=("year", np.where(thickness["year"] < 2008, 0, 2))
    )
    ax = xp.plot.active_layer_trend(gone)
    assert ax.get_legend().get_texts()[0].get_text().endswith("; 3 years below the profile")
    short = xp.plot.active_layer_trend(gone.isel(year=slice(5, None)))
    assert short.get_legend().get_texts()[0].get_text() == (
        "no trend from 2 years; 3 years below the profile"
    )


def test_bars_are_sorted_and_as_long_as_given(made):
    ax = draw("attribution_bar", made)
    share = made["bars"]["importance"]
    order = share.sortby(share, ascending=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(order["feature"].values)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], order)
    assert ax.get_xlabel() == "mean |attribution| [K]"
    assert shows(ax, 0.5 * float(order[0]), 0, BLUE)
    assert not shows(ax, 0.5 * float(order[0]), 2, BLUE)
    low = made["bars"]["importance_low"].sel(feature=order["feature"][0])
    whiskers = ax.collections[0].get_segments()
    assert whiskers[0][0][0] == pytest.approx(float(low))
    text = title_of(ax)
    assert text.startswith("made up, expected gradients; bars: 95 %, 500 resamples")
    with pytest.raises(DimensionError, match=r"bars\.sel\(feature='tas'\)"):
        xp.plot.attribution_bar(made["lags"])


def test_lags_are_bright_where_attributions_are_large(made):
    ax = draw("attribution_lags", made)
    values = made["lags"]["importance"]
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["tas", "snd"]
    image = ax.images[0].get_array()
    np.testing.assert_allclose(image[0], values.sel(feature="tas"))
    ends = mpl.colormaps["cividis"]([0.0, 1.0])
    assert shows(ax, 0, 0, ends[1][:3], close=0.02)
    assert shows(ax, 2, 0, ends[0][:3], close=0.02)
    assert shows(ax, 2, 2, "0.85", close=0.02)  # a location has no second lag
    assert ax.get_xlabel() == "months before the target"
    assert ax.figure.axes[1].get_ylabel() == "mean |attribution| [K]"
    layers = xp.importance(attributions(), ["layer", "lag"], interval=None)
    ax = xp.plot.attribution_lags(layers)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0-0.07 m", "0.07-0.28 m"]


def test_a_dot_for_every_window_at_its_attribution(made):
    ax = draw("attribution_beeswarm", made)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["tas (lag 0)", "snd (lag 1)", "location (lag 0)", "elevation (lag 0)"]
    dots = [each for each in ax.collections if len(each.get_offsets()) == 40]
    expected = made["why"]["attribution"].sum("lag")
    np.testing.assert_allclose(dots[0].get_offsets()[:, 0], expected.sel(feature="tas"))
    assert np.abs(dots[0].get_offsets()[:, 1]).max() < 0.5
    value = made["why"]["feature_value"].sel(feature="tas", lag=0).values
    inner = (value > np.quantile(value, 0.05)) & (value < np.quantile(value, 0.95))
    together = np.corrcoef(dots[0].get_array()[inner], value[inner])[0, 1]
    assert together == pytest.approx(1.0)
    low, high = mpl.colormaps["plasma"]([0.0, 0.85])
    x, y = dots[0].get_offsets()[np.argmax(value)]
    assert shows(ax, x, y, high[:3])
    x, y = dots[0].get_offsets()[np.argmin(value)]
    assert shows(ax, x, y, low[:3])
    assert shows(ax, 0.1, 2, "0.6", close=0.05)  # without a value
    assert ax.get_xlabel() == "attribution to soil temperature, sum over lags [K]"
    assert "layer 0.07-0.28 m; 40 windows" in title_of(ax)
    with pytest.raises(DimensionError, match=r"have \[1, 2\]\. Select one: why\.sel\(layer=1\)"):
        xp.plot.attribution_beeswarm(attributions())
    with pytest.raises(MissingVariableError, match="feature_value"):
        xp.plot.attribution_beeswarm(xp.group_features(attributions()).sel(layer=1))


def test_dots_do_not_lie_on_each_other():
    from xpermafrost.plot._explained import _swarm

    same = _swarm(np.zeros(7), -1.0, 1.0)
    assert np.unique(same).size == 7
    assert np.abs(_swarm(np.zeros(500), -1.0, 1.0)).max() == pytest.approx(0.42)
    assert not _swarm(np.linspace(-1, 1, 9), -1.0, 1.0).any()
    assert not _swarm(np.zeros(3), 0.0, 0.0).any()


def test_differences_sum_to_the_difference(made):
    ax = draw("attribution_difference", made)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["tas (80 %)", "snd", "difference"]
    first, second = (bars for bars in ax.containers)
    for bars in (first, second):
        np.testing.assert_allclose([bar.get_width() for bar in bars], [3.0, -1.0, 2.0])
    assert ax.get_xlabel() == "soil temperature, RCP8.5 minus RCP2.6 [K]"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["0-0.07 m", "0.07-0.28 m"]
    title = title_of(ax)
    assert "mean of 40 windows of 2081 to 2100; left out: 1 of 3 features" in title
    deep = mpl.colormaps["cividis_r"](1.0)[:3]
    assert shows(ax, 1.5, 0.2, deep)
    assert shows(ax, -0.5, 1.2, deep)
    assert not shows(ax, 0.5, 1.2, deep)
    groups = xp.plot.attribution_difference(xp.group_features(made["difference"]).sel(layer=2))
    assert [label.get_text() for label in groups.get_yticklabels()] == ["tas", "snd", "difference"]
    assert groups.get_legend() is None
    with pytest.raises(DataError, match=r"xp\.explain_scenarios\("):
        xp.plot.attribution_difference(attributions())


def test_skill_writes_every_number(made):
    ax = draw("skill", made)
    table = made["scores"]["rmse_layer"].transpose("model", "layer")
    assert [text.get_text() for text in ax.texts] == [f"{v:.2f}" for v in table.values.ravel()]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "climatology", "persistence", "ridge",
    ]  # fmt: skip
    assert ax.get_xticklabels()[0].get_text() == "0-0.07 m"
    assert ax.figure.axes[1].get_ylabel() == "root mean square error [K]"
    row, column = np.unravel_index(table.values.argmax(), table.shape)
    corner = (column - 0.4, row - 0.35)  # beside the number
    assert shows(ax, *corner, mpl.colormaps["cividis"](1.0)[:3], close=0.02)
    assert "all locations" in ax.get_title()
    with pytest.raises(UnknownNameError, match="did you mean 'rmse'"):
        draw("skill", made, metric="rms")


def test_signed_scores_are_white_at_0(made):
    scores = made["scores"].copy(deep=True)
    scores["bias_layer"][:] = np.array([[-0.001, 0.0, 1.0, -1.0]] * 3)
    scores["bias_layer"][2, 3] = np.nan
    ax = xp.plot.skill(scores, metric="bias")
    assert [text.get_text() for text in ax.texts][:4] == ["0.00", "0.00", "1.00", "-1.00"]
    assert ax.texts[-1].get_text() == "none"
    assert shows(ax, 1.4, 0.35, mpl.colormaps["PuOr"](0.5)[:3], close=0.02)
    assert shows(ax, 2.4, 0.35, mpl.colormaps["PuOr"](1.0)[:3], close=0.02)
    assert shows(ax, 3.4, 2.35, "0.85", close=0.02)
    with pytest.raises(DataError, match="'bias' that is known"):
        xp.plot.skill(scores.assign(bias_layer=scores["bias_layer"] * np.nan), metric="bias")


def test_adjustment_draws_quantiles_on_quantiles(made):
    figure = draw("adjustment", made)
    assert len(figure.axes) == 6
    assert [ax.get_title() for ax in figure.axes[:2]] == ["DJF", "JJA"]
    np.testing.assert_array_equal(
        render(xp.plot.adjustment(made["report"], "tas")),
        render(xp.plot.adjustment(made["report"]["quantiles"], "tas")),
    )
    ax, table = figure.axes[3], made["quantiles"]["tas"].isel(band=1).sel(season="JJA")
    for name, colour in (("raw", ORANGE), ("adjusted", BLUE)):
        line = next(line for line in ax.lines if line.get_label() == name)
        np.testing.assert_allclose(line.get_xdata(), table.sel(series="reference"))
        np.testing.assert_allclose(line.get_ydata(), table.sel(series=name))
        assert shows(ax, line.get_xdata()[3], line.get_ydata()[3], colour)
    assert figure.get_supxlabel() == "reference: air temperature at 2 m [K]"
    assert "adjustment qdm" in title_of(figure)
    with pytest.raises(UnknownNameError, match="'pr'"):
        draw("adjustment", made, variable="pr")


def test_precipitation_is_drawn_in_mm_per_day(made):
    table = made["quantiles"].rename(tas="pr")
    figure = xp.plot.adjustment(table, "pr")
    assert figure.get_supxlabel() == "reference: precipitation [mm day-1]"
    line = figure.axes[0].lines[0]
    expected = 86400 * table["pr"].sel(series="reference").isel(band=0, season=0)
    np.testing.assert_allclose(line.get_xdata(), expected, rtol=1e-6)


def test_change_signals_are_hollow_before_and_filled_after(made):
    figure = draw("change_signals", made, made["report"])
    assert [ax.get_title() for ax in figure.axes] == ["2012-2014", "2015-2017"]
    ax, table = figure.axes[1], made["change"]["tas"].isel(horizon=1)
    line = next(line for line in ax.lines if line.get_label() == "RCP8.5")
    after = table.sel(series="adjusted", scenario="rcp85")
    np.testing.assert_allclose(line.get_xdata(), after)
    hollow = [each for each in ax.lines if each.get_markerfacecolor() == "white"]
    np.testing.assert_allclose(hollow[0].get_xdata(), table.sel(series="raw", scenario="rcp26"))
    assert shows(ax, line.get_xdata()[0], line.get_ydata()[0], line.get_color())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "south", "middle", "north",
    ]  # fmt: skip
    assert figure.get_supxlabel() == "change of tas from 2001-01/2008-12 [K]"
    assert "adjustment qdm" in title_of(figure)
    soil = table.sel(series="adjusted", drop=True).expand_dims(horizon=["2012/2014"])
    plain = xp.plot.change_signals(soil.to_dataset(name="soil_temperature"), "soil_temperature")
    assert [text.get_text() for text in plain.legends[0].get_texts()] == ["RCP2.6", "RCP8.5"]


def test_history_draws_members_and_their_mean(made):
    ax = draw("training_history", made)
    mean = next(line for line in ax.lines if line.get_label() == "training")
    np.testing.assert_allclose(mean.get_ydata(), [0.6, 0.4, 0.3])
    checked = next(line for line in ax.lines if line.get_label() == "validation")
    np.testing.assert_allclose(checked.get_ydata(), [1.2, 0.8, 0.6])
    assert len(ax.lines) == 6
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "mean huber loss")
    assert ax.get_title() == "training: 2 members thin, mean thick"
    assert shows(ax, 2, 0.4, BLUE)
    assert shows(ax, 2, 0.8, ORANGE)
    none = made["history"].assign(validation_loss=made["history"]["validation_loss"] * np.nan)
    assert len(xp.plot.training_history(none.isel(member=[0])).lines) == 1


def test_a_map_of_regions_is_coloured_by_value(made):
    ax = draw("region_map", made)
    assert [text.get_text() for text in ax.texts] == ["south\n2.0", "middle\n-1.0", "north\n-8.0"]
    assert shows(ax, -155, 70.5, mpl.colormaps["RdBu_r"](0.0)[:3], close=0.02)
    assert shows(ax, -155, 61, mpl.colormaps["RdBu_r"](0.5 + 0.5 * 2 / 8)[:3], close=0.03)
    assert ax.figure.axes[1].get_ylabel() == "ground temperature [degC]"
    assert ax.get_title() == "gru"
    gap = made["map"].copy(data=[2.0, np.nan, -8.0])
    ax = draw("region_map", made, gap)
    assert ax.texts[1].get_text() == "middle\nnone"
    assert shows(ax, -155, 65, "0.85", close=0.02)
    with pytest.raises(RegionError, match="needs the outlines of the bands"):
        xp.plot.region_map(made["map"])
    with pytest.raises(RegionError, match=r"'south'.*not among the regions"):
        xp.plot.region_map(made["map"], xp.alaska_bands())
    with pytest.raises(DataError, match="no value in 'magt' that is known"):
        xp.plot.region_map(made["map"] * np.nan, BANDS)


def test_a_map_of_a_grid_has_its_cells_where_they_are():
    grid = gridded(years=1)
    field = grid["elevation"].assign_attrs(units="m", long_name="elevation")
    ax = xp.plot.region_map(field.isel(lat=slice(None, None, -1)), BANDS)
    ends = mpl.colormaps["viridis"]([0.0, 1.0])
    low, high = field.min(), field.max()
    for value, colour in ((low, ends[0]), (high, ends[1])):
        (row,), (column,) = np.nonzero((field == value).transpose("lat", "lon").values)
        x, y = float(field["lon"][column]), float(field["lat"][row])
        assert shows(ax, x, y, colour[:3], close=0.02)
    assert shows(ax, -152, 62, "0.85", close=0.02)  # ocean
    assert shows(ax, -148, 64, "black")  # an edge of the bands
    assert ax.get_xlabel() == "longitude [degrees east]"
    assert ax.figure.axes[1].get_ylabel() == "elevation [m]"
    with pytest.raises(DimensionError, match=r"Select one, da\.sel\(time="):
        xp.plot.region_map(grid["tas"])


def test_a_grid_on_axes_of_cartopy_is_where_its_projection_says(made):
    crs = pytest.importorskip("cartopy.crs", reason="cartopy is optional: pip install cartopy")
    field = gridded(years=1)["elevation"].assign_attrs(units="m")
    polar = crs.NorthPolarStereo(central_longitude=-150)
    ax = plt.subplots(subplot_kw={"projection": polar})[1]
    assert xp.plot.region_map(field, BANDS, ax=ax) is ax
    (row,), (column,) = np.nonzero((field == field.max()).transpose("lat", "lon").values)
    at = polar.transform_point(field["lon"][column], field["lat"][row], crs.PlateCarree())
    assert shows(ax, *at, mpl.colormaps["viridis"](1.0)[:3], close=0.02)
    edge = polar.transform_point(-148.0, 64.0, crs.PlateCarree())
    assert shows(ax, *edge, "black", close=0.3)
    with pytest.raises(DataError, match=r"NorthPolarStereo\. Leave ax= out"):
        draw("region_map", made, ax=ax)


def test_lines_are_told_apart_in_colour_and_in_grey():
    from xpermafrost.plot._common import lines_of

    names = ["rcp26", "rcp45", "rcp60", "rcp85", "ssp119"]
    looks = lines_of(xr.Dataset(coords={"scenario": names}), "scenario")
    for key in ("color", "marker"):
        assert len({look[key] for look in looks}) == 5
    assert len({look["ls"] for look in looks[:4]}) == 4
    assert [look["label"] for look in looks[:2]] == ["RCP2.6", "RCP4.5"]


@pytest.mark.parametrize("name", ["plasma", "cividis", "viridis"])
def test_scales_from_low_to_high_grow_lighter_all_the_way(name):
    from xpermafrost.plot._explained import _colours

    scale = _colours() if name == "plasma" else mpl.colormaps[name]
    grey = scale(np.linspace(0, 1, 64))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey) > -1e-3).all()
    assert grey[-1] - grey[0] > 0.4
