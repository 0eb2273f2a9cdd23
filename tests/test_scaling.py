"""The Scaler: statistics of training months, and an exact way back."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost import testing
from xpermafrost.errors import DataError, UnknownNameError
from xpermafrost.features import build_features
from xpermafrost.scaling import fit_scaler, scale_features, scale_target, unscale_target

NAMES = ("tas", "snd", "elevation")


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["raw", "residual"]),
    st.integers(0, 1000),
    st.floats(0.1, 1e3),
    st.floats(-100, 100),
)
def test_unscaling_undoes_scaling(transform, seed, spread, shift):
    ds = testing.canonical(years=3, seed=seed)
    tsl = ds["tsl"].astype("float64") * spread + shift
    scaler = fit_scaler(build_features(ds, NAMES), tsl, transform=transform)
    again = unscale_target(scale_target(tsl, scaler), scaler).transpose(*tsl.dims)
    np.testing.assert_allclose(again, tsl, rtol=1e-10)


@pytest.mark.parametrize("transform", ["raw", "residual"])
def test_training_months_come_out_centred_with_unit_spread(ds, transform):
    features = build_features(ds, NAMES)
    scaler = fit_scaler(features, ds["tsl"], transform=transform)
    scaled = scale_features(features, scaler).sel(feature=["tas", "snd"])
    np.testing.assert_allclose(scaled.mean(("band", "time")), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(("band", "time")), 1, rtol=1e-4)
    target = scale_target(ds["tsl"].astype("float64"), scaler)
    np.testing.assert_allclose(target.mean(("band", "time")), 0, atol=1e-8)
    np.testing.assert_allclose(target.std(("band", "time")), 1, rtol=1e-8)
    if transform == "residual":
        seasonal = target.groupby("time.month").mean("time")
        np.testing.assert_allclose(seasonal, 0, atol=1e-8)
    assert scaled.dtype == np.float32
    assert scaled.dims == features.dims


def test_climatology_by_hand(ds):
    scaler = fit_scaler(build_features(ds, NAMES), ds["tsl"], transform="raw")
    got = scaler["climatology"].sel(month=5).isel(band=1, layer=2)
    np.testing.assert_allclose(got, ds["tsl"].values[1, 2, 4::12].astype("float64").mean())


def test_missing_targets_are_left_out_of_the_statistics(ds):
    holed = ds["tsl"].copy(deep=True)
    holed[0, 1, ::7] = np.nan
    scaler = fit_scaler(build_features(ds, NAMES), holed, transform="raw")
    np.testing.assert_allclose(
        scaler["target_mean"], np.nanmean(holed.values.astype("float64"), axis=(0, 2))
    )
    assert (scale_target(holed, scaler).transpose(*holed.dims).isnull() == holed.isnull()).all()


def test_a_constant_feature_becomes_zero_not_infinite(ds):
    ds["elevation"][:] = 500.0
    features = build_features(ds, NAMES)
    scaler = fit_scaler(features, ds["tsl"], transform="raw")
    assert (scale_features(features, scaler).sel(feature="elevation") == 0).all()


def test_a_feature_without_values(ds):
    ds["snd"][:] = np.nan
    with pytest.raises(DataError, match=r"features \['snd'\] have no value in the training months"):
        fit_scaler(build_features(ds, NAMES), ds["tsl"], transform="raw")


def test_a_place_without_target_is_named_with_the_cure(ds):
    ds["tsl"][1] = np.nan
    with pytest.raises(DataError, match=r"missing throughout at \['middle'\].*dropna") as caught:
        fit_scaler(build_features(ds, NAMES), ds["tsl"], transform="raw")
    assert "'band'" in str(caught.value)
    cured = ds.dropna("band", how="all", subset=["tsl"])
    fit_scaler(build_features(cured, NAMES), cured["tsl"], transform="raw")


def test_a_place_without_target_is_named_with_a_cure_that_works():
    ds = testing.canonical(years=3)
    ds["tsl"] = ds["tsl"].where(ds["band"] != "middle")
    with pytest.raises(DataError, match=r"missing throughout at \['middle'\]") as caught:
        fit_scaler(build_features(ds, NAMES), ds["tsl"], transform="raw")
    cure = str(caught.value).split("Leave them out: ")[1].rstrip(".")
    cured = eval(cure, {"ds": ds})  # what the message says to type
    assert cured["band"].values.tolist() == ["south", "north"]


def test_a_cell_of_a_grid_without_target_is_water():
    grid = testing.gridded(years=3, ocean=2)
    scaler = fit_scaler(build_features(grid, NAMES), grid["tsl"], transform="raw")
    water = scaler["climatology"].isnull().all(("layer", "month"))
    assert int(water.sum()) == 2
    nothing = grid["tsl"].where(False)
    with pytest.raises(DataError, match="missing throughout the training months, in every cell"):
        fit_scaler(build_features(grid, NAMES), nothing, transform="raw")


def test_unknown_transform(ds):
    with pytest.raises(UnknownNameError, match="unknown target transform 'resid'; did you mean"):
        fit_scaler(build_features(ds, NAMES), ds["tsl"], transform="resid")


def test_nothing_is_written_to(ds, unchanged):
    features = build_features(ds, NAMES)
    with unchanged(features, ds):
        scaler = fit_scaler(features, ds["tsl"], transform="residual")
    scaled = scale_target(ds["tsl"], scaler)
    with unchanged(features, ds, scaler, scaled):
        scale_features(features, scaler)
        scale_target(ds["tsl"], scaler)
        unscale_target(scaled, scaler)


def test_units_of_a_feature_do_not_matter_to_the_net(ds):
    """Scaled features are the same numbers whatever linear units they came in."""
    features = build_features(ds, ("tas", "snd")).astype("float64")
    times = xr.DataArray([1.8, 100.0], dims="feature")
    other = features * times + 32.0
    one = scale_features(features, fit_scaler(features, ds["tsl"], transform="raw"))
    two = scale_features(other, fit_scaler(other, ds["tsl"], transform="raw"))
    np.testing.assert_allclose(one, two, atol=1e-5)
