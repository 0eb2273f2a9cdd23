"""Windows: positions, horizons, gaps, and labels that come back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost.errors import DataError, UnknownNameError
from xpermafrost.schema import layer_coords
from xpermafrost.windows import WindowSpec, make_windows

LAYERS = {n: v for n, v in layer_coords((0.0, 1.0)).items() if v.dims == ("layer",)}


def coded(n_places=3, n_time=40, n_features=2, dims=("band",)):
    """A feature whose value says where and when it is: location * 10000 + time."""
    place, time = np.arange(n_places)[:, None], np.arange(n_time)[None, :]
    code = np.broadcast_to((place * 10_000 + time)[..., None], (n_places, n_time, n_features))
    da = xr.DataArray(
        code.astype("float32"),
        dims=("band", "time", "feature"),
        coords={
            "band": [f"b{k}" for k in range(n_places)],
            "time": pd.date_range("2001", periods=n_time, freq="MS"),
            "feature": [f"f{k}" for k in range(n_features)],
        },
    )
    return da


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 30),
    st.integers(0, 1),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_windows_hold_their_own_months_and_labels_come_back(
    n_places, extra, horizon, length, n_features, seed
):
    n_time = length + extra
    features = coded(n_places, n_time, n_features)
    hole = np.random.default_rng(seed).random((n_places, n_time)) < 0.05
    features = features.where(~xr.DataArray(hole, dims=("band", "time")))
    spec = WindowSpec(length=length, horizon=horizon, features=("f",))
    windows = make_windows(features, spec)
    seen = windows.flat()[windows.rows].reshape(len(windows), length, n_features)
    assert np.isfinite(seen).all()
    last = windows.location * 10_000 + windows.end - horizon
    np.testing.assert_array_equal(seen[:, -1, 0], last)
    np.testing.assert_array_equal(seen[:, 0, 0], last - length + 1)
    assert len(windows) + windows.excluded == n_places * (n_time - length - horizon + 1)
    answer = (windows.location * 10_000 + windows.end).astype("float32")[:, None]
    labelled = windows.label(answer, LAYERS)
    expected = coded(n_places, n_time, 1).isel(feature=0, drop=True).transpose("band", "time")
    whole = labelled.isel(layer=0).notnull()
    assert int(whole.sum()) == len(windows)
    xr.testing.assert_equal(
        labelled.isel(layer=0, drop=True).drop_vars(list(LAYERS), errors="ignore"),
        expected.where(whole.drop_vars(list(LAYERS), errors="ignore")),
    )


def test_horizon_zero_ends_with_the_target_month_and_one_a_month_before():
    features = coded()
    for horizon in (0, 1):
        spec = WindowSpec(length=24, horizon=horizon, features=("f",))
        windows = make_windows(features, spec)
        of = np.flatnonzero((windows.location == 1) & (windows.end == 30))[0]
        months = windows.flat()[windows.rows[of]].reshape(24, 2)[:, 0] - 10_000
        assert months[-1] == 30 - horizon
        assert months[0] == 30 - horizon - 23
        assert windows.end.min() == 23 + horizon


def test_no_window_straddles_two_places():
    windows = make_windows(coded(), WindowSpec(length=24, features=("f",)))
    seen = windows.flat()[windows.rows][:, ::2]
    assert (np.diff(seen, axis=1) == 1).all()


def test_windows_are_views():
    windows = make_windows(coded(), WindowSpec(length=24, features=("f",)))
    assert np.shares_memory(windows.flat(), windows.cube)
    assert not windows.flat().flags.writeable
    assert windows.cube.flags.c_contiguous


def test_a_gap_costs_the_windows_that_hold_it_and_no_others():
    features = coded()
    features[1, 20, 0] = np.nan
    windows = make_windows(features, WindowSpec(length=6, features=("f",)))
    assert windows.excluded == 6
    lost = np.setdiff1d(np.arange(5, 40), windows.end[windows.location == 1])
    np.testing.assert_array_equal(lost, np.arange(20, 26))


@pytest.mark.parametrize("horizon", [0, 1])
def test_a_record_that_is_too_short_says_by_how_much(horizon):
    spec = WindowSpec(length=24, horizon=horizon, features=("f",))
    assert len(make_windows(coded(n_time=24 + horizon), spec)) == 3
    with pytest.raises(
        DataError, match=rf"of {23 + horizon} months is too short.*needed {24 + horizon}"
    ):
        make_windows(coded(n_time=23 + horizon), spec)


def test_the_message_for_a_short_record_gives_a_length_that_works():
    spec = WindowSpec(length=24, horizon=1, features=("f",))
    with pytest.raises(DataError) as caught:
        make_windows(coded(n_time=20), spec)
    length = int(str(caught.value).split("length=")[1].rstrip("."))
    assert len(
        make_windows(coded(n_time=20), WindowSpec(length=length, horizon=1, features=("f",)))
    )


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"length": 0}, DataError, "a window needs at least 1 month"),
        ({"horizon": 2}, DataError, "horizon must be 0 .* or 1"),
        ({"horizon": -1}, DataError, "horizon must be 0 .* or 1"),
        ({"step": "hour"}, UnknownNameError, "unknown window step 'hour'"),
    ],
)
def test_specs_that_make_no_sense(options, kind, message):
    with pytest.raises(kind, match=message):
        WindowSpec(features=("tas",), **options)


def test_two_location_dims_come_back():
    features = coded(6).drop_vars("band").coarsen(band=3).construct(band=("lat", "lon"))
    features = features.assign_coords(lat=[60.0, 61.0], lon=[1.0, 2.0, 3.0])
    windows = make_windows(features, WindowSpec(length=3, features=("f",)))
    answer = (windows.location * 10_000 + windows.end).astype("float32")[:, None]
    out = windows.label(answer, LAYERS)
    assert out.dims == ("lat", "lon", "layer", "time")
    assert out.sel(lat=61.0, lon=2.0).isel(layer=0, time=7).item() == 4 * 10_000 + 7


def test_the_input_stays_as_it_was(unchanged):
    features = coded()
    with unchanged(features):
        windows = make_windows(features, WindowSpec(length=6, features=("f",)))
        windows.label(np.zeros((len(windows), 1), "float32"), LAYERS)
