"""Warming levels: crossings of known series, and what is picked at them."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.errors import DataError, PermafrostWarning
from xpermafrost.global_warming import at_warming_levels, warming_level_years


def series(rates=(0.01, 0.04), start="1850-01", end="2100-12"):
    """Flat until 1950, then warming at the rates given [K per year], with a season."""
    time = pd.date_range(start, end, freq="MS")
    year = time.year.values + (time.month.values - 0.5) / 12
    names = [f"rate{k}" for k in range(len(rates))]
    rate = xr.DataArray(list(rates), {"scenario": names}, ["scenario"])
    ramp = xr.DataArray(np.clip(year - 1949.7, 0.0, None), {"time": time}, ["time"])
    season = xr.DataArray(12.0 * np.cos(2 * np.pi * year), {"time": time}, ["time"])
    return (287.0 + season + rate * ramp).assign_attrs(units="K")


def test_the_first_mean_at_the_level_is_found():
    years = warming_level_years(series())
    assert years.dims == ("scenario", "level")
    # the mean over c - 10 to c + 9 of a line is its value at c; 2100 has no whole window
    assert bool(years.sel(scenario="rate0").isnull().all())
    np.testing.assert_array_equal(years.sel(scenario="rate1"), [1988, 2000, 2025, 2050])


def test_a_level_that_is_not_reached_is_missing():
    years = warming_level_years(series((0.005, 0.03)), levels=(1.5, 4.0, 9.0))
    assert bool(years.sel(scenario="rate0").isnull().all())
    assert bool(years.sel(scenario="rate1", level=1.5).notnull())
    assert bool(years.sel(scenario="rate1", level=9.0).isnull())


def test_the_first_crossing_counts_where_it_cools_again():
    tas = series((0.04,)).copy()
    late = tas["time"].dt.year >= 2030
    tas = tas.where(~late, tas - 5.0)
    years = warming_level_years(tas, levels=(2.0,))
    assert years.values.ravel().tolist() == [2000.0]


def test_a_later_baseline_has_its_own_warming():
    tas = series((0.04,))
    warm = float(
        tas.sel(time=slice("1995", "2014")).mean() - tas.sel(time=slice("1850", "1900")).mean()
    )
    short = warming_level_years(
        tas.sel(time=slice("1990", None)), baseline=("1995", "2014"), offset=warm, levels=(3.0, 4.0)
    )
    whole = warming_level_years(tas, levels=(3.0, 4.0))
    np.testing.assert_array_equal(short, whole)
    with pytest.raises(
        DataError, match=r"counted from 1850-1900; the series has 1990 to 2100.*0.85"
    ):
        warming_level_years(tas.sel(time=slice("1990", None)))


def test_a_grid_is_averaged_by_area_and_a_region_is_said():
    lat = xr.DataArray([-80.0, 0.0, 80.0], {"lat": [-80.0, 0.0, 80.0]}, ["lat"])
    lon = xr.DataArray([0.0, 0.0], {"lon": [0.0, 180.0]}, ["lon"])
    pole = (lat.copy(data=[0.0, 0.0, 1.0]) * (series((0.04,)) - 287.0) * 10).assign_attrs(units="K")
    grid = series((0.04,)) + 0 * lat + lon + pole
    got = warming_level_years(grid, levels=(2.0,))
    area = np.cos(np.deg2rad([80.0, 0.0, 80.0]))
    want = warming_level_years(series((0.04 * (1 + 10 * area[0] / area.sum()),)), levels=(2.0,))
    assert got.values.ravel().tolist() == want.values.ravel().tolist()
    with pytest.warns(PermafrostWarning, match="spans 0 to 80 degN, not the globe"):
        warming_level_years(grid.sel(lat=[0.0, 80.0]))


def test_means_at_a_level_are_those_of_its_years():
    tas = series((0.02, 0.04))
    years = warming_level_years(tas, levels=(1.5, 2.0, 4.0))
    soil = (tas - 290.0) * xr.DataArray([1.0, 2.0], {"band": ["s", "n"]}, ["band"])
    out = at_warming_levels(soil, years)
    assert out.dims == ("scenario", "band", "level")
    for name in ("rate0", "rate1"):
        centre = years.sel(scenario=name, level=2.0)
        part = soil.sel(scenario=name, time=slice(str(int(centre) - 10), str(int(centre) + 9)))
        np.testing.assert_allclose(out.sel(scenario=name, level=2.0), part.mean("time"))
    assert bool(out.sel(scenario="rate0", level=4.0).isnull().all())
    xr.testing.assert_identical(soil.permafrost.at_warming_levels(years), out)


def test_runs_are_matched_by_label_and_windows_outside_the_projection_are_missing():
    tas = series((0.02, 0.04))
    years = warming_level_years(tas, levels=(2.0, 4.0))
    projection = tas.sel(time=slice("2024", "2100")).isel(scenario=[1, 0])
    out = at_warming_levels(projection, years)
    assert bool(out.sel(scenario="rate1", level=2.0).isnull())  # 1990 to 2009
    centre = int(years.sel(scenario="rate1", level=4.0))
    part = tas.sel(scenario="rate1", time=slice(str(centre - 10), str(centre + 9)))
    np.testing.assert_allclose(out.sel(scenario="rate1", level=4.0), part.mean("time"))


def test_at_levels_is_lazy():
    tas = series()
    years = warming_level_years(tas)

    def refuse(graph, keys, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        lazy = at_warming_levels(tas.chunk(scenario=1), years)
    xr.testing.assert_allclose(lazy.compute(), at_warming_levels(tas, years))


def test_too_short_a_series_is_refused():
    years = warming_level_years(series())
    with pytest.raises(DataError, match="a mean over 20 years needs as many; the series has 10"):
        at_warming_levels(series().sel(time=slice("2024", "2033")), years)
