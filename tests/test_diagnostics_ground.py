"""Annual means, offsets, TTOP, degree days, n-factors, design indices."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost import diagnostics as dg
from xpermafrost.diagnostics.degree_days import expected_excess
from xpermafrost.errors import DataError, PermafrostWarning, UnknownNameError
from xpermafrost.schema import layer_coords_from_bounds


def series(values: np.ndarray, start: str = "2001-01-01", freq: str = "D") -> xr.DataArray:
    time = xr.date_range(start, periods=len(values), freq=freq)
    return xr.DataArray(values, {"time": time}, "time", name="tas", attrs={"units": "degC"})


def weather(years: int, *, seed: int = 0, start: str = "2001-01-01") -> xr.DataArray:
    days = int(365.25 * years)
    rng = np.random.default_rng(seed)
    season = -8 - 17 * np.cos(2 * np.pi * (np.arange(days) - 15) / 365.25)
    return series(season + rng.normal(0, 4, days), start)


def test_degree_days_are_those_of_xclim():
    import xclim.indices

    tas = weather(3)
    found = dg.degree_days(tas)
    for kind, index in (("thawing", "growing"), ("freezing", "heating")):
        there = getattr(xclim.indices, f"{index}_degree_days")(tas, thresh="0 degC", freq="YS")
        ours = found[f"{kind}_degree_days"].sel(year=[2001, 2002])
        np.testing.assert_allclose(ours, there[:2])
    assert found["thawing_degree_days"].attrs["units"] == "K d"


def test_thawing_less_freezing_is_the_sum_of_temperature():
    tas = weather(2)
    found = dg.degree_days(tas, freezing_point=-1.0)
    balance = found["thawing_degree_days"] - found["freezing_degree_days"]
    total = (tas + 1.0).groupby("time.year").sum()
    np.testing.assert_allclose(balance[0], total[0])


def test_expected_excess_of_normal_days():
    rng = np.random.default_rng(0)
    for mean, std in ((-6.0, 4.0), (0.0, 5.0), (3.0, 2.0)):
        sample = np.clip(rng.normal(mean, std, 400_000), 0, None).mean()
        assert float(expected_excess(np.array(mean), std)) == pytest.approx(sample, abs=0.02)
    both = expected_excess(np.array([2.0]), 3.0) - expected_excess(np.array([-2.0]), 3.0)
    assert both == pytest.approx([2.0])  # E[max(T, 0)] - E[max(-T, 0)] = E[T]
    limit = expected_excess(np.array([-1.0, 0.0, 2.0, np.nan]), 0.0)
    np.testing.assert_array_equal(limit, [0.0, 0.0, 2.0, np.nan])


def test_the_correction_brings_months_to_days():
    """Sums of months are too small; with the spread within months they come within 2 %."""
    tas = weather(8)
    daily = dg.degree_days(tas)["thawing_degree_days"][:7].mean()
    months = tas.resample(time="MS").mean().assign_attrs(units="degC")
    spread = tas.groupby("time.month").std().mean()
    with pytest.warns(PermafrostWarning, match="Pass daily_std"):
        bare = dg.degree_days(months)["thawing_degree_days"][:7]
    corrected = dg.degree_days(months, daily_std=float(spread))["thawing_degree_days"][:7]
    assert float(bare.mean() / daily) < 0.95
    assert float(corrected.mean() / daily) == pytest.approx(1.0, abs=0.02)
    assert bare.attrs["sub_monthly_correction"].startswith("none: ")
    assert "Calov and Greve, 2005" in corrected.attrs["sub_monthly_correction"]


def test_a_spread_of_each_place():
    months = xr.concat([series(np.full(12, -1.0), freq="MS")] * 2, "place")
    std = xr.DataArray([1.0, 4.0], dims="place")
    found = dg.degree_days(months.assign_attrs(units="degC"), daily_std=std)
    assert float(found["thawing_degree_days"][0, 0]) < float(found["thawing_degree_days"][1, 0])


def test_the_correction_is_refused_for_days():
    with pytest.raises(DataError, match="daily_std is for monthly means"):
        dg.degree_days(weather(1), daily_std=4.0)


def test_n_factors_of_a_damped_surface():
    air = weather(2)
    found = dg.n_factors(air, (air * 0.4).assign_attrs(units="degC"))
    np.testing.assert_allclose(found["freezing_n_factor"][0], 0.4)
    np.testing.assert_allclose(found["thawing_n_factor"][0], 0.4)
    assert found["thawing_n_factor"].attrs["units"] == "1"


def test_n_factors_without_thaw_are_missing_not_infinite():
    air = series(np.full(365, -5.0))
    found = dg.n_factors(air, air)
    assert np.isnan(found["thawing_n_factor"][0])
    assert float(found["freezing_n_factor"][0]) == 1.0


def test_design_index_is_the_mean_of_three_of_thirty():
    years = np.random.default_rng(3).permutation(35) + 1.0
    values = np.concatenate(
        [
            np.full(366 if y % 4 == 0 else 365, t)
            for y, t in zip(range(1981, 2016), years, strict=True)
        ]
    )
    tas = series(values, "1981-01-01")
    found = dg.design_index(tas)
    assert found["year"].values.tolist() == list(range(2010, 2016))
    sums = dg.degree_days(tas)["thawing_degree_days"].values
    expected = [np.sort(sums[k : k + 30])[-3:].mean() for k in range(6)]
    np.testing.assert_allclose(found, expected)


def test_design_freezing_index_keeps_winters_whole():
    found = dg.design_index(weather(5, start="2001-07-01"), kind="freezing", years=4, extreme=1)
    assert found.attrs["year_definition"].startswith("year from 07-01")
    assert found.name == "design_freezing_index"
    assert (found > 3000).any()


def test_design_index_with_a_missing_year_is_missing():
    tas = weather(5)
    tas[400:600] = np.nan
    found = dg.design_index(tas.isel(time=slice(1826)), years=3)
    assert found.isnull().values.tolist() == [True, True, False]


def test_design_index_refusals():
    with pytest.raises(DataError, match="needs 30 years; the record has 4"):
        dg.design_index(series(np.zeros(1461)))
    with pytest.raises(DataError, match="extreme years are 1 to 2"):
        dg.design_index(weather(2), years=2, extreme=3)
    with pytest.raises(UnknownNameError, match="did you mean 'thawing'"):
        dg.design_index(weather(2), kind="thaw")


def ground(mean: list[float], swing: list[float], depth: list[float]) -> xr.DataArray:
    bounds = layer_coords_from_bounds(np.stack([depth, depth], axis=1))
    coords = {n: v for n, v in bounds.items() if n != "depth_bnds"}
    time = xr.date_range("2001-01-01", "2001-12-31")
    wave = np.cos(2 * np.pi * (np.arange(365) + 0.5) / 365)
    values = np.asarray(mean)[:, None] - np.asarray(swing)[:, None] * wave
    return xr.DataArray(
        values, {"time": time, **coords}, ("layer", "time"), attrs={"units": "degC"}
    )


def test_means_and_offsets_of_a_known_profile():
    soil = ground([-2.0, -2.4, -3.0, -3.2], [12.0, 5.0, 1.0, 0.5], [0.0, 0.5, 1.0, 1.5])
    air = series(np.full(365, -7.0))
    np.testing.assert_allclose(
        dg.mean_annual_ground_temperature(soil).squeeze(), [-2.0, -2.4, -3.0, -3.2], atol=1e-12
    )
    assert float(dg.mean_annual_surface_temperature(soil)[0]) == pytest.approx(-2.0)
    assert float(dg.surface_offset(air, soil)[0]) == pytest.approx(5.0)
    # maxima 10, 2.6, -2: the table lies at 0.5 + 0.5 * 2.6 / 4.6 = 0.783 m
    at = 0.5 + 0.5 * float(soil.max("time")[1] / (soil.max("time")[1] - soil.max("time")[2]))
    table = -2.4 - 0.6 * (at - 0.5) / 0.5
    assert float(dg.thermal_offset(soil)[0]) == pytest.approx(table + 2.0)
    assert dg.thermal_offset(soil).attrs["units"] == "K"


def test_the_surface_keeps_no_depth():
    soil = ground([-2.0, -2.4, -3.0], [12.0, 5.0, 1.0], [0.0, 0.5, 1.0])
    assert set(dg.mean_annual_surface_temperature(soil).coords) == {"year"}


def test_thermal_offset_is_missing_without_thaw():
    soil = ground([-12.0, -12.0, -12.0], [2.0, 1.0, 0.5], [0.0, 0.5, 1.0])
    assert np.isnan(dg.thermal_offset(soil)[0])


def test_ttop_of_air():
    air = series(np.concatenate([np.full(120, 8.0), np.full(245, -15.0)]))
    found = dg.ttop(air, n_thawing=0.9, n_freezing=0.4, conductivity_ratio=0.6)
    assert float(found[0]) == pytest.approx((0.9 * 0.6 * 960 - 0.4 * 3675) / 365)
    assert found.attrs["units"] == "degree_Celsius"
    with pytest.raises(DataError, match="n_freezing above 0; got 0"):
        dg.ttop(air, n_thawing=0.9, n_freezing=0, conductivity_ratio=0.6)
