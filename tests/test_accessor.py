"""The accessor adds nothing: each method is its function."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost._accessor_plot import ArrayPlots, DatasetPlots
from xpermafrost.accessor import PermafrostDataArray, PermafrostDataset
from xpermafrost.experiment import with_scenarios
from xpermafrost.regions import LatitudeBands, reduce

SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False}


def test_it_keeps_the_object_and_nothing_else(ds):
    for accessor, obj in ((PermafrostDataset, ds), (PermafrostDataArray, ds["tas"])):
        made = accessor(obj)
        assert vars(made) == {"_obj": obj} or list(vars(made)) == ["_obj"]
        assert made._obj is obj


def methods():
    for accessor in (PermafrostDataset, PermafrostDataArray, DatasetPlots, ArrayPlots):
        for name in dir(accessor):
            if not name.startswith("_") and name != "plot":  # whose methods are below
                yield pytest.param(accessor, name, id=f"{accessor.__name__}.{name}")


@pytest.mark.parametrize(("accessor", "name"), methods())
def test_a_method_is_its_function(accessor, name):
    """Same name, parameters and defaults, and a line that says what it does."""
    method = getattr(accessor, name)
    homes = (xp.plot,) if accessor in (DatasetPlots, ArrayPlots) else (xp, xp.diagnostics)
    function = next(getattr(home, name) for home in homes if hasattr(home, name))
    mine = list(inspect.signature(method).parameters.values())[1:]
    theirs = list(inspect.signature(function).parameters.values())[1:]
    if name in ("surface_offset", "n_factors"):  # air and ground are in one Dataset
        theirs = theirs[1:]
    assert [(p.name, p.kind, p.default) for p in mine] == [
        (p.name, p.kind, p.default) for p in theirs
    ]
    assert name in method.__doc__
    kinds = {p.kind for p in mine}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}


def test_plots_are_of_the_object(ds):
    da = ds["tas"]
    assert ds.permafrost.plot._obj is ds
    assert da.permafrost.plot._obj is da


def test_the_methods_that_users_type():
    public = {n for n in dir(PermafrostDataset) if not n.startswith("_")}
    assert {"fit", "project", "evaluate", "reduce", "standardize", "to_netcdf"} <= public
    both = {"reduce", "to_netcdf", "to_geotiff", "to_vector"}
    assert both <= public & set(dir(PermafrostDataArray))


def test_reduce():
    grid = xr.Dataset(
        {"tas": (("lat", "lon"), np.arange(4.0).reshape(2, 2), {"units": "K"})},
        coords={"lat": [60.5, 61.5], "lon": [-150.0, -149.0]},
    )
    bands = LatitudeBands((60, 61, 62))
    xr.testing.assert_identical(grid.permafrost.reduce(bands), reduce(grid, bands))
    xr.testing.assert_identical(grid["tas"].permafrost.reduce(bands), reduce(grid, bands)["tas"])


def test_regrid_and_remap_layers(ds):
    grid = testing.gridded(years=2)
    target = xp.make_grid(4.0, lat=(61, 69), lon=(-153, -145))
    xr.testing.assert_identical(grid.permafrost.regrid(target), xp.regrid(grid, target))
    edges = (0.0, 0.5, 2.0)
    xr.testing.assert_identical(ds.permafrost.remap_layers(edges), xp.remap_layers(ds, edges))


def test_diagnostics(ds):
    mean = ds.permafrost.mean_annual_ground_temperature()
    xr.testing.assert_identical(mean, xp.diagnostics.mean_annual_ground_temperature(ds))
    offset = ds.permafrost.surface_offset()
    xr.testing.assert_identical(offset, xp.diagnostics.surface_offset(ds, ds))
    present = ds["tsl"].permafrost.permafrost_presence()
    xr.testing.assert_identical(
        present.permafrost.permafrost_free_year(), xp.diagnostics.permafrost_free_year(present)
    )


def test_zero_curtain_error():
    observed = testing.daily(years=2)["tsl"]
    predicted = (observed + 0.3).assign_attrs(observed.attrs)
    xr.testing.assert_identical(
        predicted.permafrost.zero_curtain_error(observed, gap=1),
        xp.diagnostics.zero_curtain_error(predicted, observed, gap=1),
    )


def test_files_of_a_grid_and_of_regions(ds, tmp_path):
    grid = testing.gridded(years=1)["tas"]
    (file,) = grid.permafrost.to_geotiff(tmp_path)
    assert file.name == "tas_2001.tif"
    bands = LatitudeBands((60, 62, 64, 66), ("south", "middle", "north"), lon=(-160, -150))
    path = ds["tas"].permafrost.to_vector(tmp_path / "bands.gpkg", bands, layout="long")
    assert path.stat().st_size > 0


def test_with_scenarios(ds):
    parts = {"rcp85": testing.canonical(start="2006")}
    xr.testing.assert_identical(ds.permafrost.with_scenarios(parts), with_scenarios(ds, parts))


def test_standardize_and_identify(ds):
    xr.testing.assert_identical(ds.permafrost.standardize(), xp.standardize(ds))
    assert ds.permafrost.identify().equals(xp.identify(ds))


def test_fit_and_project(world, world_gru, quick):
    fitted = world.permafrost.fit("gru", config=quick, **SMALL)
    xr.testing.assert_identical(
        world.permafrost.project(fitted, rcp="8.5"), xp.project(world, world_gru, rcp="8.5")
    )


def test_evaluate(ds, gru):
    options = {"baselines": ["climatology"], "bootstrap": 10}
    xr.testing.assert_identical(
        ds.permafrost.evaluate(gru, **options), xp.evaluate(ds, gru, **options)
    )


def test_cf_and_netcdf(ds, gru, tmp_path):
    out = gru.predict(ds)
    xr.testing.assert_identical(out.permafrost.to_cf(), xp.to_cf(out))
    xr.testing.assert_identical(ds.permafrost.to_cf(), xp.to_cf(ds))
    path = out.permafrost.to_netcdf(tmp_path / "a.nc")
    assert path == tmp_path / "a.nc"
    with pytest.raises(xp.errors.OutputExistsError, match="not overwritten silently"):
        out.permafrost.to_netcdf(path)
    with pytest.raises(xp.errors.OutputExistsError, match="not overwritten silently"):
        ds.permafrost.to_netcdf(path)
    ds.permafrost.to_netcdf(path, overwrite=True)


def test_messages_are_not_hidden_by_the_accessor():
    """An AttributeError inside an accessor would read "Dataset has no attribute permafrost"."""
    with pytest.raises(xp.errors.PermafrostError):
        xr.Dataset().permafrost.fit()
    with pytest.raises(AttributeError, match="reduc"):
        xr.Dataset().permafrost.reduc()


def test_public_names_are_all_there():
    for name in xp.__all__:
        assert getattr(xp, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        xp.nothing  # noqa: B018
