"""Active-layer thickness: known profiles, the four answers that are no depth, laws, formulas."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost import diagnostics as dg
from xpermafrost.diagnostics import active_layer
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    PermafrostWarning,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.physics import analytic
from xpermafrost.schema import layer_coords, layer_coords_from_bounds

THAWED, NO_THAW, BELOW, NO_DATA, NO_PERMAFROST = range(5)
POINTS = np.array([0.05, 0.25, 0.5, 0.75, 1.0, 1.25])


def profile(days: list[list[float]], *, points: np.ndarray = POINTS) -> xr.DataArray:
    """A year that holds each of ``days`` (profiles) for an equal share, at sensors."""
    time = xr.date_range("2001-01-01", "2001-12-31")
    which = np.arange(time.size) * len(days) // time.size
    bounds = layer_coords_from_bounds(np.stack([points, points], axis=1))
    coords = {n: v for n, v in bounds.items() if n != "depth_bnds"}
    values = np.asarray(days, dtype="float64")[which].T
    return xr.DataArray(
        values, {"time": time, **coords}, ("layer", "time"), attrs={"units": "degC"}
    )


WINTER = [-9.0, -8.0, -7.0, -6.0, -5.0, -5.0]


def test_envelope_and_isotherm_of_known_profiles():
    da = profile([WINTER, [4.0, 1.0, -1.0, -2.0, -3.0, -3.0], [-1.0, -1.0, 0.5, -0.5, -2.0, -3.0]])
    # maxima 4, 1, 0.5, -0.5: 0 halfway from 0.5 to 0.75
    assert float(dg.active_layer_thickness(da)[0]) == pytest.approx(0.625)
    # the deepest day is the same one, its warm layer enclosed by cold ones
    assert float(dg.active_layer_thickness(da, method="isotherm")[0]) == pytest.approx(0.625)
    # with maxima on different days, the isotherm is never as deep
    da = profile([WINTER, [4.0, 1.0, 0.5, -2.0, -3.0, -3.0], [1.0, 1.0, 0.1, -0.5, -2.0, -3.0]])
    assert float(dg.active_layer_thickness(da)[0]) == pytest.approx(0.625)
    isotherm = dg.active_layer_thickness(da, method="isotherm")
    assert float(isotherm[0]) == pytest.approx(0.5 + 0.25 * 0.5 / 2.5)


def test_warm_ground_below_permafrost_is_not_the_active_layer():
    da = profile([WINTER, [4.0, 1.0, -1.0, -1.0, 2.0, 3.0]])
    for method in ("envelope", "isotherm"):
        found = dg.active_layer_thickness(da, method=method)
        assert float(found[0]) == pytest.approx(0.375)
        assert int(found["status"][0]) == THAWED


@pytest.mark.parametrize("method", ["envelope", "isotherm"])
def test_four_answers_are_kept_apart(method):
    parts = [
        profile([WINTER, [4.0, 1.0, -1.0, -2.0, -3.0, -3.0]]),
        profile([WINTER, [-0.5, -1.0, -1.0, -2.0, -3.0, -3.0]]),
        profile([WINTER, [4.0, 3.0, 2.0, 2.0, 1.0, 0.5]]),
        profile([WINTER, [np.nan] * 6]) * np.nan,
    ]
    da = xr.concat(parts, "place").assign_attrs(units="degC")
    found = dg.active_layer_thickness(da, method=method).isel(year=0)
    np.testing.assert_allclose(found, [0.375, 0.0, np.nan, np.nan])
    assert found["status"].values.tolist() == [THAWED, NO_THAW, BELOW, NO_DATA]
    meanings = "thawed no_thaw below_profile no_data no_permafrost"
    assert found["status"].attrs["flag_meanings"] == meanings
    np.testing.assert_allclose(found["uncertainty_lower"], [0.25, 0.0, 1.25, np.nan])
    np.testing.assert_allclose(found["uncertainty_upper"], [0.5, 0.05, np.nan, np.nan])


def test_exactly_zero_is_frozen():
    found = dg.active_layer_thickness(profile([WINTER, [2.0, 1.0, 0.0, -1.0, -1.0, -1.0]]))
    assert float(found[0]) == 0.5


def test_failed_sensors_are_passed_over():
    da = profile([WINTER, [4.0, 2.0, 1.0, -1.0, -3.0, -3.0]])
    da[2] = np.nan  # at 0.5 m: 0 degC lies two thirds from 0.25 to 0.75
    found = dg.active_layer_thickness(da)
    assert float(found[0]) == pytest.approx(0.25 + 0.5 * 2 / 3)
    assert float(found["uncertainty_lower"][0]) == 0.25
    assert float(found["uncertainty_upper"][0]) == 0.75


def test_frozen_below_failed_sensors_is_no_answer():
    da = profile([WINTER, [4.0, 2.0, -1.0, -1.0, -3.0, -3.0]])
    da[:2] = np.nan
    found = dg.active_layer_thickness(da)
    assert np.isnan(found[0])
    assert int(found["status"][0]) == NO_DATA


def test_a_sensor_without_summer_does_not_count_for_the_year():
    da = profile([WINTER, [4.0, 2.0, 1.0, -1.0, -3.0, -3.0]])
    da[2, 180:] = np.nan  # its maximum would be that of winter
    assert float(dg.active_layer_thickness(da)[0]) == pytest.approx(0.25 + 0.5 * 2 / 3)


def test_layer_sum():
    layers = layer_coords((0.0, 0.1, 0.3, 0.6, 0.9, 1.2, 1.5))
    coords = {n: v for n, v in layers.items() if n != "depth_bnds"}
    da = profile([WINTER, [4.0, 1.0, 0.1, -2.0, -3.0, -3.0]]).assign_coords(coords)
    found = dg.active_layer_thickness(da, method="layer_sum")
    assert float(found[0]) == pytest.approx(0.6)
    assert "Slater and Lawrence, 2013" in found.attrs["method"]
    with pytest.raises(DimensionError, match=r"adjoining layers.*method='envelope'"):
        dg.active_layer_thickness(profile([WINTER]), method="layer_sum")


def test_coarse_layers_are_warned_of_and_bracketed():
    coords = {n: v for n, v in layer_coords().items() if n != "depth_bnds"}
    da = profile([[-9.0] * 4, [4.0, 2.0, 0.3, -1.0]], points=np.arange(1.0, 5.0))
    da = da.assign_coords(coords)
    with pytest.warns(PermafrostWarning, match=r"up to 1\.30 m apart.*uncertainty_lower"):
        found = dg.active_layer_thickness(da)
    assert float(found["uncertainty_lower"][0]) == 0.28  # layers: their bounds, not their middles
    assert float(found["uncertainty_upper"][0]) == 2.89
    assert found.attrs["spacing"] == pytest.approx(1.305)


def test_fine_daily_profiles_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dg.active_layer_thickness(profile([WINTER, [4.0, 2.0, 1.0, -1.0, -3.0, -3.0]]))


def test_monthly_means_are_warned_of():
    daily = profile([WINTER, [4.0, 2.0, 1.0, -1.0, -3.0, -3.0]])
    monthly = daily.resample(time="MS").mean().assign_attrs(units="degC")
    with pytest.warns(PermafrostWarning, match="monthly means is too small"):
        found = dg.active_layer_thickness(monthly)
    assert found.attrs["time_step"] == "month"


def test_attributes_say_how():
    found = dg.active_layer_thickness(profile([WINTER]), freezing_point=-0.1, year="hydrological")
    assert found.name == "permafrost_active_layer_thickness"
    wanted = {
        "units": "m",
        "freezing_point": "-0.1 degC",
        "year_definition": "year from 10-01, named by the year it ends in",
        "time_step": "day",
        "completeness": "years with data on 95% of their days or more",
    }
    assert wanted.items() <= found.attrs.items()
    assert found.attrs["method"].startswith("envelope: ")


def test_wrong_method():
    with pytest.raises(UnknownNameError, match=r"did you mean 'envelope'\?"):
        dg.active_layer_thickness(profile([WINTER]), method="envelop")


# --- laws ----------------------------------------------------------------------------------

profiles = st.lists(
    st.lists(
        st.one_of(st.floats(-12, 12, allow_subnormal=False), st.just(float("nan"))),
        min_size=6,
        max_size=6,
    ),
    min_size=1,
    max_size=5,
)


@given(days=profiles)
@settings(max_examples=80, deadline=None)
def test_isotherm_is_never_deeper_than_envelope_and_both_lie_in_the_bracket(days):
    da = profile([WINTER, *days])
    envelope = dg.active_layer_thickness(da, coverage=0.1)
    isotherm = dg.active_layer_thickness(da, coverage=0.1, method="isotherm")
    assert not (isotherm > envelope + 1e-9).any()
    for found in (envelope, isotherm):
        known = found.notnull()
        assert (known == found["status"].isin([THAWED, NO_THAW])).all()
        assert ((found == 0) == (found["status"] == NO_THAW)).all()
    inside = (envelope >= envelope["uncertainty_lower"]) & (
        envelope <= envelope["uncertainty_upper"]
    )
    assert inside.where(envelope.notnull(), True).all()


@given(days=profiles, warmer=st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_warmer_ground_thaws_as_deep_or_deeper(days, warmer):
    da = profile([WINTER, *days])
    before = dg.active_layer_thickness(da, coverage=0.1)[0]
    after = dg.active_layer_thickness((da + warmer).assign_attrs(units="degC"), coverage=0.1)[0]
    assert not (after < before - 1e-9)
    if int(before["status"]) == BELOW:
        assert int(after["status"]) == BELOW


def test_places_do_not_touch_each_other():
    one = profile([WINTER, [4.0, 2.0, 1.0, -1.0, -3.0, -3.0]])
    other = profile([WINTER, [4.0, 2.0, -1.0, -1.0, -3.0, -3.0]])
    both = xr.concat([one, other], "place").assign_attrs(units="degC")
    for method in ("envelope", "isotherm"):
        joint = dg.active_layer_thickness(both, method=method)
        for k, alone in enumerate((one, other)):
            single = dg.active_layer_thickness(alone, method=method)
            np.testing.assert_array_equal(joint.isel(place=k), single)


def test_the_order_of_dims_does_not_matter():
    both = xr.concat([profile([WINTER, [4.0, 2.0, 1.0, -1.0, -3.0, -3.0]])] * 2, "place")
    both = both.assign_attrs(units="degC")
    turned = dg.active_layer_thickness(both.transpose("time", "place", "layer"))
    np.testing.assert_array_equal(turned, dg.active_layer_thickness(both))


# --- from the surface ----------------------------------------------------------------------


def properties(**changes: float) -> xr.Dataset:
    values = {
        "conductivity_thawed": 1.0,
        "conductivity_frozen": 1.8,
        "heat_capacity_thawed": 2.8e6,
        "heat_capacity_frozen": 2.0e6,
        "latent_heat": 1.3e8,
        **changes,
    }
    units = {"conductivity": "W m-1 K-1", "heat_capacity": "J m-3 K-1", "latent_heat": "J m-3"}
    return xr.Dataset(
        {
            n: ((), v, {"units": next(u for s, u in units.items() if n.startswith(s))})
            for n, v in values.items()
        }
    )


def surface(mean: float, amplitude: float) -> xr.DataArray:
    time = xr.date_range("2001-01-01", "2001-12-31")
    wave = mean - amplitude * np.cos(2 * np.pi * (np.arange(365) + 0.5 - 20) / 365)
    return xr.DataArray(wave, {"time": time}, "time", attrs={"units": "degC"})


def test_stefan_is_the_formula():
    da = surface(-6.0, 15.0)
    found = dg.active_layer_thickness(da, method="stefan", properties=properties())
    sums = float(da.clip(0).sum())
    expected = analytic.stefan_depth(sums, conductivity=1.0, latent_heat=1.3e8)
    assert float(found[0]) == pytest.approx(float(expected))
    assert found.attrs["conductivity_thawed"] == 1.0
    assert "Stefan, 1891" in found.attrs["method"]


def test_kudryavtsev_finds_mean_and_amplitude():
    found = dg.active_layer_thickness(
        surface(-6.0, 15.0), method="kudryavtsev", properties=properties()
    )
    values = {n: float(v) for n, v in properties().items()}
    depth, _ = analytic.kudryavtsev(-6.0, 15.0, **values)
    assert float(found[0]) == pytest.approx(float(depth), rel=1e-9)


def test_kudryavtsev_from_months_is_that_from_days():
    months = surface(-6.0, 15.0).resample(time="MS").mean().assign_attrs(units="degC")
    with pytest.warns(PermafrostWarning):
        coarse = dg.active_layer_thickness(months, method="kudryavtsev", properties=properties())
    fine = dg.active_layer_thickness(
        surface(-6.0, 15.0), method="kudryavtsev", properties=properties()
    )
    np.testing.assert_allclose(coarse, fine, rtol=2e-3)


@pytest.mark.parametrize("method", ["stefan", "kudryavtsev"])
def test_closed_formulas_keep_their_answers_apart(method):
    parts = [surface(-6.0, 15.0), surface(-20.0, 15.0), surface(-6.0, 15.0) * np.nan]
    da = xr.concat(parts, "place").assign_attrs(units="degC")
    found = dg.active_layer_thickness(da, method=method, properties=properties())
    assert found["status"].values[:, 0].tolist() == [THAWED, NO_THAW, NO_DATA]
    assert float(found[1, 0]) == 0.0
    assert np.isnan(found[2, 0])


def test_kudryavtsev_without_permafrost():
    found = dg.active_layer_thickness(
        surface(4.0, 12.0), method="kudryavtsev", properties=properties()
    )
    assert int(found["status"][0]) == NO_PERMAFROST
    assert np.isnan(found[0])


def test_properties_of_places():
    two = properties().assign(
        conductivity_thawed=xr.DataArray([0.5, 2.0], dims="place", attrs={"units": "W m-1 K-1"})
    )
    found = dg.active_layer_thickness(surface(-6.0, 15.0), method="stefan", properties=two)
    assert float(found.isel(year=0, place=1) / found.isel(year=0, place=0)) == pytest.approx(2.0)


def test_properties_are_checked():
    da = surface(-6.0, 15.0)
    with pytest.raises(DataError, match=r"pass properties=xr.Dataset with \['conductivity_thawed'"):
        dg.active_layer_thickness(da, method="stefan")
    with pytest.raises(MissingVariableError, match="latent_heat"):
        dg.active_layer_thickness(
            da, method="stefan", properties=properties().drop_vars("latent_heat")
        )
    bad = properties()
    bad["latent_heat"].attrs["units"] = "J kg-1"
    with pytest.raises(UnitsError, match="'latent_heat' in 'J m-3'; found 'J kg-1'"):
        dg.active_layer_thickness(da, method="stefan", properties=bad)
    nodes = properties().expand_dims(node=3)
    with pytest.raises(DimensionError, match=r"one value .* a place.*mean\('node'"):
        dg.active_layer_thickness(da, method="stefan", properties=nodes)


def test_kernel_passes_gaps_in_single_precision():
    layers = np.array([[1.0], [np.nan], [-1.0]], dtype="float32")
    found = active_layer._crossing(layers, np.array([2]), np.array([0.0, 0.5, 1.0]))
    assert found.tolist() == [0.5]
