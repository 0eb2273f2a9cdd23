"""Figures show what they are given."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from xpermafrost.errors import DimensionError, MissingDependencyError
from xpermafrost.plot import SCENARIO_COLOURS, scenario_fans, scenario_label
from xpermafrost.projection import project

mpl.use("Agg")


@pytest.fixture(scope="module")
def _projection(_world, world_gru):
    return project(_world, world_gru).isel(band=[0, 2])


@pytest.fixture
def projection(_projection):
    import matplotlib.pyplot as plt

    yield _projection.copy(deep=True)
    plt.close("all")


def test_fans_draw_the_annual_means_of_every_panel(projection, world, unchanged):
    with unchanged(projection):
        figure = scenario_fans(
            projection, observed=world["tsl"].isel(band=[0, 2]) - 273.15, window=3
        )
    assert len(figure.axes) == 2 * 4
    ax = figure.axes[0]
    yearly = projection.isel(band=0, layer=0, scenario=1).groupby("time.year").mean("time")
    lines = [line for line in ax.lines if line.get_color() == SCENARIO_COLOURS["rcp85"]]
    np.testing.assert_allclose(lines[0].get_ydata(), yearly, rtol=1e-6)
    running = np.convolve(yearly, np.ones(3) / 3, "valid")
    np.testing.assert_allclose(lines[1].get_ydata()[1:-1], running, rtol=1e-5)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["RCP2.6", "RCP8.5", "reference"]
    assert ax.get_title() == "0-0.07 m"
    assert "south" in ax.get_ylabel()
    assert "degC" in ax.get_ylabel()
    figure.canvas.draw()


def test_north_is_on_top(projection):
    placed = projection.assign_coords(lat=("band", [60.0, 70.0]))
    figure = scenario_fans(placed, window=3)
    assert "north" in figure.axes[0].get_ylabel()


def test_what_is_simulated_says_so(projection):
    figure = scenario_fans(projection.assign_attrs(simulated="yes"), window=3)
    assert "SIMULATED" in figure.get_suptitle()
    assert "SIMULATED" not in scenario_fans(projection, window=3).get_suptitle()
    assert scenario_fans(projection, window=3, title="mine").get_suptitle() == "mine"


def test_simulated_is_marked_even_under_ones_own_title(projection):
    figure = scenario_fans(projection.assign_attrs(simulated="yes"), window=3, title="mine")
    assert "SIMULATED" in figure.get_suptitle()


def test_broken_years_are_left_out(projection):
    figure = scenario_fans(projection.isel(time=slice(6, -5)), window=3)
    years = figure.axes[0].lines[0].get_xdata()
    assert list(years) == list(range(2010, 2017))


def test_one_place_without_a_location_dim(projection):
    figure = scenario_fans(projection.isel(band=0, drop=True), window=3)
    assert len(figure.axes) == 4


def test_a_grid_is_refused_in_words(projection):
    grid = projection.expand_dims(lon=2)
    with pytest.raises(DimensionError, match="one location dim"):
        scenario_fans(grid)


def test_what_is_no_projection(world):
    with pytest.raises(DimensionError, match="scenario_fans needs dims"):
        scenario_fans(world["tas"])


def test_labels_of_scenarios():
    assert scenario_label("rcp85") == "RCP8.5"
    assert scenario_label("ssp585") == "SSP5-8.5"
    assert scenario_label("mine") == "mine"


def test_without_matplotlib(projection, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingDependencyError, match=r"figures needs the package .*pip install"):
        scenario_fans(projection)
