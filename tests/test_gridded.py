"""Everything after the regions also works on a grid, with an ocean in it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost.baselines import BASELINES, fit_baseline
from xpermafrost.errors import DataError
from xpermafrost.training import TrainingConfig, fit

QUICK = TrainingConfig(epochs=2)
#: Without an embedding the number of places draws nothing from the generator.
TINY = {"hidden": 8, "embedding": 0}


def world(**options) -> xr.Dataset:
    reference = testing.gridded(years=8, **options)
    parts = {
        "historical": testing.gridded(years=10, start="1996", seed=11),
        "rcp26": testing.gridded(years=12, start="2006", seed=12, warming=0.2),
        "rcp85": testing.gridded(years=12, start="2006", seed=13, warming=2.0),
    }
    parts = {n: ds.drop_vars(["tsl", "elevation"]) for n, ds in parts.items()}
    return xp.combine(reference, **parts)


@pytest.fixture(scope="module")
def grid():
    return world()


@pytest.fixture(scope="module")
def land(grid):
    return grid["tsl"].notnull().any(("layer", "time"))


@pytest.fixture(scope="module")
def flat(grid):
    """The land cells alone, as a list of places."""
    stacked = grid.stack(station=("lat", "lon"))
    stacked = stacked.isel(station=np.flatnonzero(stacked["elevation"].notnull()))
    names = [f"{lat:g}/{lon:g}" for lat, lon in stacked["station"].values]
    return stacked.reset_index("station").assign_coords(station=names)


def fitted(ds):
    return fit(ds, "gru", config=QUICK, options=TINY, jobs=1, progress=False)


def test_a_grid_gives_what_its_land_cells_give(grid, flat, land):
    on_grid = fitted(grid)
    by_place = fitted(flat)
    assert on_grid.info["n_windows"] == by_place.info["n_windows"]
    out = xp.project(grid, on_grid, rcp="all")
    same = xp.project(flat, by_place, rcp="all")
    assert out.dims == ("scenario", "lat", "lon", "layer", "time")
    assert bool((out.notnull().any(("scenario", "layer", "time")) == land).all())
    picked = out.stack(station=("lat", "lon")).isel(station=np.flatnonzero(land.values.ravel()))
    np.testing.assert_allclose(picked.transpose(*same.dims).values, same.values, rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", list(BASELINES))
def test_every_baseline_on_a_grid(grid, flat, land, name):
    reference = xp.experiment.reference_of(grid)
    out = fit_baseline(name, reference).predict(reference)
    assert bool((out.notnull().any(("layer", "time")) == land).all())
    stations = xp.experiment.reference_of(flat)
    same = fit_baseline(name, stations).predict(stations)
    picked = out.stack(station=("lat", "lon")).isel(station=np.flatnonzero(land.values.ravel()))
    np.testing.assert_allclose(picked.transpose(*same.dims).values, same.values, rtol=0, atol=1e-4)


def test_evaluate_on_a_grid(grid):
    scores = xp.evaluate(
        grid,
        ["gru"],
        baselines=["climatology", "ridge"],
        config=QUICK,
        bootstrap=20,
        changes=["rcp85"],
        progress=False,
    )
    assert scores["rmse"].dims == ("model", "lat", "lon", "layer")
    assert bool(np.isfinite(scores["rmse_pooled"]).all())
    assert int(scores["rmse"].sel(model="climatology").isel(layer=0).isnull().sum()) == 2


def test_a_model_of_a_grid_is_saved_and_read(grid, tmp_path):
    model = fitted(grid)
    model.save(tmp_path / "grid.xpf")
    again = xp.load_model(tmp_path / "grid.xpf")
    reference = xp.experiment.reference_of(grid)
    xr.testing.assert_identical(model.predict(reference), again.predict(reference))


def test_a_part_of_the_grid_can_be_predicted(grid):
    model = fitted(grid)
    reference = xp.experiment.reference_of(grid)
    whole = model.predict(reference)
    part = model.predict(reference.isel(lat=[1, 2], lon=[3, 0]))
    np.testing.assert_allclose(part, whole.isel(lat=[1, 2], lon=[3, 0]), atol=1e-5)


def test_a_grid_without_land_is_refused():
    ds = testing.gridded(ocean=12)
    with pytest.raises(DataError, match="missing throughout"):
        fitted(ds)


def test_a_land_cell_without_forcing_is_left_out_and_said(grid):
    reference = xp.experiment.reference_of(grid)
    hole = (reference["lat"] == 66.0) & (reference["lon"] == -146.0)
    ds = reference.assign(tas=reference["tas"].where(~hole))
    with pytest.warns(xp.errors.PermafrostWarning, match=r"1 of 10 cells .* no 'tas'"):
        model = fitted(ds)
    out = model.predict(ds)
    assert bool(out.sel(lat=66.0, lon=-146.0).isnull().all())
    assert int(out.isel(layer=0, time=-1).notnull().sum()) == 9


def test_a_projection_on_a_grid_is_written_and_read(grid, tmp_path):
    out = xp.project(grid, fitted(grid), rcp="8.5")
    out.permafrost.to_netcdf(tmp_path / "grid.nc")
    with xr.open_dataset(tmp_path / "grid.nc", decode_coords="all") as again:
        np.testing.assert_allclose(
            again["soil_temperature"].transpose("scenario", "lat", "lon", "depth", "time"), out
        )


@pytest.mark.parametrize("name", ["gru", "ridge"])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_order_of_dims_is_no_matter(name, lazy):
    """Places are known by label: a map that was transposed has the same answers."""
    grid = testing.gridded(years=4)
    config = xp.TrainingConfig(epochs=2)
    if name == "gru":
        model = xp.fit(grid, "gru", length=12, features=["tas", "snd"], config=config)
    else:
        model = xp.fit_baseline(name, grid)
    turned = grid.transpose("time", "lon", "lat", ...)
    turned = turned.chunk(lat=2) if lazy else turned
    expected = model.predict(grid)
    found = model.predict(turned).transpose(*expected.dims)
    xr.testing.assert_allclose(found.compute(), expected, atol=1e-5)
