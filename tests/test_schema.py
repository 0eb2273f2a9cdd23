"""The variable table, location dims, layers by their bounds, and the errors."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost import errors
from xpermafrost._optional import require
from xpermafrost.schema import (
    ERA5LAND_EDGES,
    VARIABLES,
    layer_bounds,
    layer_coords,
    layer_coords_from_bounds,
    location_dims,
    variable,
)


def test_every_row_has_units_that_cf_reads_and_a_range():
    from cf_xarray.units import units as registry

    for name, row in VARIABLES.items():
        assert row.name == name
        registry.Quantity(1.0, row.units)
        low, high = row.valid_range
        assert low < high
        assert row.kind in ("additive", "multiplicative")
        assert row.role in ("forcing", "target", "static")
        assert row.attrs["units"] == row.units


def test_ratio_variables_are_the_ones_bounded_by_zero():
    for row in VARIABLES.values():
        if row.kind == "multiplicative":
            assert row.valid_range[0] == 0.0


def test_temperatures_and_fluxes_that_change_sign_are_additive():
    assert {variable(n).kind for n in ("tas", "ts", "tsl", "hfls", "hfss")} == {"additive"}


def test_wrong_variable_name_answers_with_the_close_one():
    with pytest.raises(errors.UnknownNameError, match=r"'rldss'; did you mean 'rlds'"):
        variable("rldss")


def test_location_dims_are_what_is_neither_time_nor_layer():
    ds = xr.Dataset(
        {"x": (("scenario", "lat", "lon", "layer", "time", "member"), np.zeros((1,) * 6))}
    )
    assert set(location_dims(ds)) == {"lat", "lon"}
    assert location_dims(ds["x"].isel(lat=0, lon=0)) == ()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=12), st.floats(0.0, 1.0))
def test_layers_adjoin_and_their_middles_lie_inside(steps, top):
    edges = top + np.concatenate([[0.0], np.cumsum(steps)])
    ds = xr.Dataset(coords=layer_coords(edges))
    bounds = layer_bounds(ds)
    np.testing.assert_array_equal(bounds[1:, 0], bounds[:-1, 1])
    np.testing.assert_allclose(bounds[[0, -1], [0, 1]], edges[[0, -1]])
    assert ((bounds[:, 0] < ds["depth"]) & (ds["depth"] < bounds[:, 1])).all()
    assert ds["depth"].attrs["positive"] == "down"


def test_bounds_are_found_on_a_dataarray_that_lost_the_two_dimensional_ones():
    ds = xr.Dataset({"t": ("layer", np.zeros(4))}, coords=layer_coords())
    stripped = ds["t"]
    assert "depth_bnds" not in stripped.coords
    np.testing.assert_allclose(layer_bounds(stripped), layer_bounds(ds))
    np.testing.assert_allclose(layer_bounds(ds).ravel()[[0, 2, 4, 6, 7]], ERA5LAND_EDGES)


def test_a_point_is_a_layer_without_thickness():
    coords = layer_coords_from_bounds(np.array([[0.2, 0.2], [0.8, 0.8]]))
    np.testing.assert_allclose(coords["depth"].values, [0.2, 0.8])


@pytest.mark.parametrize("edges", [(0.0,), (0.0, 0.5, 0.3), (-0.1, 0.2), (0.1, 0.1)])
def test_bad_layer_edges(edges):
    with pytest.raises(errors.DimensionError, match="layer edges must be increasing depths in m"):
        layer_coords(edges)


def test_layers_without_bounds_are_refused():
    with pytest.raises(errors.DimensionError, match="known by its bounds, never by its index"):
        layer_bounds(xr.Dataset(coords={"layer": [1, 2]}))


def test_every_error_is_ours_and_a_builtin():
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PermafrostError)
    ]
    assert len(kinds) > 12
    builtin = (ValueError, KeyError, ImportError, FileExistsError)
    for kind in kinds:
        if kind is not errors.PermafrostError and not kind.__name__.startswith("_"):
            assert issubclass(kind, builtin), kind
            assert str(kind("plain 'text'")) == "plain 'text'"  # KeyError would quote it


def test_a_missing_package_says_what_for_and_what_to_type():
    with pytest.raises(errors.MissingDependencyError, match=r"a test needs .*no_such_package"):
        require("no_such_package", purpose="a test", install="pip install nothing")
    with pytest.raises(ImportError, match="pip install nothing"):
        require("no_such_package", purpose="a test", install="pip install nothing")


def test_a_package_that_is_found_and_fails_is_reported_as_missing(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("raise RuntimeError('no ESMF here')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(errors.MissingDependencyError, match="RuntimeError: no ESMF here"):
        require("half_installed", purpose="a test", install="conda install it")
