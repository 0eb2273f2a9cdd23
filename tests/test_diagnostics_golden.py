"""Numbers of a measured tundra site (GIPL test case), known beforehand, to their rounding.

The record begins "about 5 July 2008"; with its first day on 4 July the calendar months are those
behind the monthly numbers. The n-factors are of years from the record's first day.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xpermafrost import diagnostics
from xpermafrost.errors import PermafrostWarning
from xpermafrost.schema import ERA5LAND_EDGES, layer_coords, layer_coords_from_bounds

STATIONS = Path(__file__).parents[1] / "../shared/data/stations"
DEPTHS = (0.001, 0.072, 0.125, 0.2, 0.277, 0.354, 0.424, 0.506, 0.583, 0.741, 0.885, 1.1)
SUMMERS = [2008, 2009]
#: The record holds half of 2008 and of 2010: enough for a thaw depth.
HALF = 0.4

pytestmark = pytest.mark.skipif(
    not (STATIONS / "gipl_site_soil_daily.txt").exists(),
    reason="needs the measured site of ../shared/data/stations",
)


def series(values: np.ndarray, dims: tuple[str, ...], **coords: object) -> xr.DataArray:
    time = xr.date_range("2008-07-04", periods=757)
    return xr.DataArray(values, {"time": time, **coords}, dims, attrs={"units": "degC"})


def without_bounds(coords: dict) -> dict:
    return {name: value for name, value in coords.items() if name != "depth_bnds"}


@pytest.fixture(scope="module")
def soil():
    values = np.loadtxt(STATIONS / "gipl_site_soil_daily.txt")
    points = layer_coords_from_bounds(np.stack([DEPTHS, DEPTHS], axis=1))
    return series(values.T, ("layer", "time"), **without_bounds(points))


@pytest.fixture(scope="module")
def air():
    values = np.loadtxt(STATIONS / "gipl_site_air_daily.txt", skiprows=1)[:, 1]
    return series(values, ("time",))


@pytest.fixture(scope="module")
def four_layers(soil):
    """Means of the ERA5-Land layers: the linear profile, as at 1.1 m below that, integrated."""
    edges = np.asarray(ERA5LAND_EDGES)
    depth = np.unique([*DEPTHS, *edges])
    profile = np.stack([np.interp(depth, DEPTHS, day) for day in soil.values.T])
    steps = 0.5 * (profile[:, 1:] + profile[:, :-1]) * np.diff(depth)
    total = np.concatenate([np.zeros((len(profile), 1)), np.cumsum(steps, axis=1)], axis=1)
    at = np.searchsorted(depth, edges)
    means = np.diff(total[:, at], axis=1) / np.diff(edges)
    return series(means.T, ("layer", "time"), **without_bounds(layer_coords()))


def monthly(da: xr.DataArray) -> xr.DataArray:
    return da.resample(time="MS").mean().assign_attrs(da.attrs)


def thickness(da: xr.DataArray, **options: object) -> list[float]:
    found = diagnostics.active_layer_thickness(da, coverage=HALF, **options)
    return found.sel(year=SUMMERS).values.tolist()


def test_active_layer_from_the_daily_profile(soil):
    assert thickness(soil, method="isotherm") == pytest.approx([0.649, 0.642], abs=5e-4)
    assert thickness(soil, method="envelope") == pytest.approx([0.652, 0.649], abs=5e-4)


def test_active_layer_from_monthly_means_is_less_and_warned_of(soil):
    with pytest.warns(PermafrostWarning, match="monthly means is too small"):
        assert thickness(monthly(soil)) == pytest.approx([0.579, 0.603], abs=5e-4)


def test_active_layer_from_four_layers_is_a_guess_and_says_so(soil, four_layers):
    """0.63 to 0.89 m by the isotherm of 2008, monthly and daily; 1.00 by whole layers."""
    with pytest.warns(PermafrostWarning, match=r"up to 1\.30 m apart"):
        daily = diagnostics.active_layer_thickness(four_layers, method="isotherm", coverage=HALF)
    with pytest.warns(PermafrostWarning):
        low = thickness(monthly(four_layers), method="isotherm")
    assert (low[0], float(daily[0])) == pytest.approx((0.63, 0.89), abs=5e-3)
    with pytest.warns(PermafrostWarning):
        assert thickness(four_layers, method="layer_sum") == pytest.approx([1.0, 1.0])
    # what was measured on the full profile lies between the bounds of the error
    true = thickness(soil)
    assert (daily["uncertainty_lower"].sel(year=SUMMERS) < true).all()
    assert (daily["uncertainty_upper"].sel(year=SUMMERS) > true).all()


def test_n_factors(air, soil):
    found = diagnostics.n_factors(air, soil, year="07-04").isel(year=slice(2))
    assert found["thawing_n_factor"].values == pytest.approx([1.14, 1.27], abs=5e-3)
    assert found["freezing_n_factor"].values == pytest.approx([0.81, 0.87], abs=5e-3)


@pytest.mark.parametrize(("depth", "days"), [(0.2, [26, 12]), (0.506, [32, 28])])
def test_zero_curtain_of_two_autumns(soil, depth, days):
    at = soil.isel(layer=DEPTHS.index(depth))
    found = diagnostics.zero_curtain(at, tolerance=0.5, coverage=HALF)
    autumn = found["zero_curtain_longest"].sel(season="autumn", year=SUMMERS)
    assert autumn.values.tolist() == days


def test_mean_annual_ground_temperature(soil):
    found = diagnostics.mean_annual_ground_temperature(soil)
    assert found.sel(year=2009).values == pytest.approx(np.full(12, -13.8), abs=0.3)
    assert found.sel(year=[2008, 2010]).isnull().all()  # half years are missing, not colder


def test_ttop_from_the_air_meets_the_measured_profile(air, soil):
    """With the site's own n-factors and equal conductivities TTOP is the mean of the surface."""
    factors = diagnostics.n_factors(air, soil, year="07-04")
    found = diagnostics.ttop(
        air,
        n_thawing=factors["thawing_n_factor"],
        n_freezing=factors["freezing_n_factor"],
        conductivity_ratio=1.0,
        year="07-04",
    )
    surface = diagnostics.mean_annual_surface_temperature(soil, year="07-04")
    assert found.values[:2] == pytest.approx(surface.values[:2], abs=1e-9)
