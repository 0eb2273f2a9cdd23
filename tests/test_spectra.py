"""Dominant period, and the season of two years."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.errors import DataError, DimensionError, TimeAxisError
from xpermafrost.spectra import LINE, TWO_YEAR_LIMIT, seasonal_power


def season(years=40, noise=1.0, seed=0):
    time = pd.date_range("2001", periods=12 * years, freq="MS")
    month = np.arange(time.size)
    rng = np.random.default_rng(seed)
    wave = 10 * np.cos(2 * np.pi * month / 12) + 0.003 * month
    values = wave + noise * rng.normal(size=(3, time.size))
    return xr.DataArray(values, {"band": list("abc"), "time": time}, ("band", "time"), name="tas")


def test_a_year_is_a_year():
    out = seasonal_power(season())
    assert out.dominant_period.dims == ("band",)
    np.testing.assert_allclose(out.dominant_period, 12.0)
    assert float(out.two_year_ratio.max()) < TWO_YEAR_LIMIT / 10
    assert float(out.two_year_excess.max()) < LINE
    assert out.dominant_period.attrs["units"] == "month"


@pytest.mark.parametrize("years", [8, 25, 95])
def test_a_planted_two_year_season(years):
    da = season(years)
    month = np.arange(da.sizes["time"])
    sick = da + xr.DataArray(3 * np.sin(2 * np.pi * month / 24), dims="time")
    out = seasonal_power(sick)
    # power goes with the square of the amplitude
    np.testing.assert_allclose(out.two_year_ratio, 0.09, rtol=0.35)
    assert float(out.two_year_excess.min()) > LINE


def test_doubled_months_double_the_season():
    """Each month twice, as the study's windows had it: the season lasts two years."""
    da = season(20)
    twice = da.copy(data=np.repeat(da.values, 2, axis=1)[:, : da.sizes["time"]])
    np.testing.assert_allclose(seasonal_power(twice).dominant_period, 24.0)
    assert float(seasonal_power(twice).two_year_ratio.min()) > 10


def test_noise_alone_has_no_line():
    time = pd.date_range("2001", periods=960, freq="MS")
    values = np.random.default_rng(5).normal(size=(400, 960))
    out = seasonal_power(xr.DataArray(values, {"time": time}, ("place", "time")))
    assert float(out.two_year_ratio.max()) > TWO_YEAR_LIMIT  # a ratio alone would cry wolf
    assert float(out.two_year_excess.max()) < LINE


def test_scenarios_of_other_periods_and_gaps(unchanged):
    da = season(40)
    past, future = da.isel(time=slice(0, 240)), da.isel(time=slice(240, None))
    names = pd.Index(["historical", "rcp85"], name="scenario")
    both = xr.concat([past, future], names, join="outer")
    with unchanged(both):
        out = seasonal_power(both)
    assert out.dominant_period.dims == ("scenario", "band")
    alone = seasonal_power(future)
    xr.testing.assert_allclose(out.sel(scenario="rcp85", drop=True), alone, rtol=1e-12)
    hole = da.where((da.band != "b") | (da.time != da.time[100]))
    assert seasonal_power(hole).dominant_period.isnull().values.tolist() == [False, True, False]


def test_errors():
    da = season(40)
    with pytest.raises(DataError, match=r"needs 8 years .*'tas' has 84 months"):
        seasonal_power(da.isel(time=slice(0, 84)))
    with pytest.raises(TimeAxisError, match="seasonal_power"):
        seasonal_power(da.isel(time=[*range(100), *range(99, 200)]))
    with pytest.raises(DimensionError, match="'time' in one chunk"):
        seasonal_power(da.chunk(time=100))
