"""Checks at the boundaries, by their messages."""

from __future__ import annotations

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import _checks as checks
from xpermafrost.errors import (
    DimensionError,
    MissingVariableError,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)


def series(time):
    return xr.Dataset({"tas": ("time", np.zeros(len(time)))}, coords={"time": time})


MONTHS = pd.date_range("2001-01", periods=24, freq="MS")


def test_missing_variable_names_what_is_there_and_the_close_one(ds):
    with pytest.raises(MissingVariableError, match=r"fit needs the variables \['tass'\]") as caught:
        checks.require_variables(ds, ["tas", "tass"], step="fit")
    assert "did you mean 'tas'" in str(caught.value)
    assert "standardize()" in str(caught.value)


def test_missing_variable_in_an_empty_dataset():
    with pytest.raises(MissingVariableError, match=r"the Dataset has \[\]"):
        checks.require_variables(xr.Dataset(), ["tas"], step="fit")


def test_missing_dims_are_named(ds):
    with pytest.raises(DimensionError, match=r"reduce needs dims \('lat', 'lon'\); 'tas' has"):
        checks.require_dims(ds["tas"], ("lat", "lon"), step="reduce")


def test_choose_answers_with_the_close_name():
    assert checks.choose("method", "qdm", {"qdm": 1}) == "qdm"
    with pytest.raises(UnknownNameError, match=r"unknown method 'qmd'; did you mean 'qdm'"):
        checks.choose("method", "qmd", ["qdm", "eqm"])


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("K", "kelvin", True),
        ("W m-2", "W/m2", True),
        ("kg m-2 s-1", "mm s-1", False),
        ("degC", "K", False),  # the zero point counts
        ("%", "1", False),
        ("m", "nonsense unit", False),
    ],
)
def test_units_that_mean_the_same(one, two, same):
    assert checks.same_units(one, two) is same


def test_units_missing_and_wrong(ds):
    bare = ds["tas"].drop_attrs()
    with pytest.raises(UnitsError, match=r"'tas' has no units; needed 'K'"):
        checks.check_units(bare)
    with pytest.raises(UnitsError, match=r"'tas' has units 'degC'; needed 'K'"):
        checks.check_units(ds["tas"].assign_attrs(units="degC"))
    checks.check_units(ds["tas"].assign_attrs(units="kelvin"))


def test_values_that_belie_their_units(ds):
    celsius = (ds["tas"] - 273.15).assign_attrs(units="K")
    with pytest.raises(UnitsError, match="The units attribute does not fit the values"):
        checks.check_range(celsius)
    checks.check_range(ds["tas"])


def test_range_of_all_missing_passes(ds):
    checks.check_range(ds["tas"] * np.nan)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_month_index_of_any_calendar_and_any_day(calendar):
    time = xr.date_range("2001-01-16", periods=24, freq="MS", calendar=calendar, use_cftime=True)
    mid = time + pd.Timedelta("14D")
    expected = 2001 * 12 + np.arange(len(time)) + (time[0].month - 1)
    np.testing.assert_array_equal(checks.month_index(series(mid)["time"]), expected)
    checks.check_monthly(series(mid), step="x")


def test_time_that_is_not_dates():
    with pytest.raises(TimeAxisError, match=r"'time' must hold dates; found int64"):
        checks.month_index(series(np.arange(3))["time"])


def test_month_name_has_leading_zeros():
    assert checks.month_name(2001 * 12 + 2) == "2001-03"
    assert checks.month_name(850 * 12 + 11) == "0850-12"


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (MONTHS.delete(5), r"found no 2001-06.*asfreq"),
        (MONTHS.insert(3, MONTHS[2]), r"found 2001-03 twice.*drop_duplicates"),
        (MONTHS[::-1], r"found 2002-11 after 2002-12.*sortby"),
        (MONTHS[[0, 2, 1, *range(3, 24)]], r"fit needs each month once"),
        (pd.date_range("2001", periods=60, freq="D"), r"median time step is 1 days.*resample"),
        (MONTHS[::3], r"median time step is 3 months"),
        (pd.date_range("2001", periods=5, freq="YS"), r"median time step is 12 months"),
    ],
)
def test_months_that_are_not_each_once_in_order(time, message):
    with pytest.raises(TimeAxisError, match=message):
        checks.check_monthly(series(time), step="fit")


def test_daily_data_of_a_model_calendar():
    time = xr.date_range("2001-01-01", periods=90, freq="D", calendar="360_day", use_cftime=True)
    with pytest.raises(TimeAxisError, match=r"needs monthly data; the median time step"):
        checks.check_monthly(series(time), step="fit")


def test_no_time_dimension_and_a_single_month(ds):
    with pytest.raises(DimensionError, match=r"fit needs dims \('time',\)"):
        checks.check_monthly(ds.isel(time=0), step="fit")
    checks.check_monthly(ds.isel(time=[0]), step="fit")


def test_mixed_days_of_the_month_are_still_months():
    time = [cftime.DatetimeNoLeap(2001, m, 10 + m) for m in range(1, 13)]
    checks.check_monthly(series(time), step="fit")


def test_a_split_dimension_says_what_to_type(ds):
    chunked = ds["tas"].chunk(time=12)
    with pytest.raises(DimensionError, match=r"'time' in one chunk; found 8. Type ds.chunk\(time"):
        checks.check_whole(chunked, "time", step="x")
    checks.check_whole(chunked.chunk(time=-1), "time", step="x")
    checks.check_whole(ds["tas"], "time", step="x")
