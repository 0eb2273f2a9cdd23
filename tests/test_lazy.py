"""On dask nothing is computed before the write, and the answer is that of data in memory."""

from __future__ import annotations

import copy
import pickle
import pickletools
from functools import partial

import dask
import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import _blocks, testing
from xpermafrost.errors import DataError, DimensionError, ModelMismatchError, PermafrostWarning

SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False}
FEATURES = ["tas", "snd", "tas:anomaly", "tas:memory36", "scenario_signal", "month_sin"]


def chunked(ds, **sizes):
    """Data in chunks, coordinates in memory, as from a file."""
    cut = {
        name: da.variable.chunk({d: n for d, n in sizes.items() if d in da.dims})
        for name, da in ds.data_vars.items()
    }
    return ds.assign(cut)


@pytest.fixture
def nothing_is_computed():
    def refuse(graph, keys, **options):
        raise AssertionError("something was computed")

    return partial(dask.config.set, scheduler=refuse)


@pytest.fixture(scope="module")
def grid():
    return testing.gridded(years=8)


@pytest.fixture(scope="module")
def net(grid, quick):
    return xp.fit(grid, "gru", config=quick, **SMALL)


@pytest.fixture(scope="module")
def anywhere(grid, quick):
    return xp.fit(grid, "tcn", config=quick, places="any", jobs=1, progress=False)


@pytest.fixture(scope="module")
def sites():
    return testing.experiment(locations=range(6))


@pytest.fixture(scope="module")
def sites_net(sites, quick):
    return xp.fit(sites, "gru", config=quick, features=FEATURES, **SMALL)


@pytest.mark.parametrize("model", ["net", "anywhere"])
@pytest.mark.parametrize("sizes", [{"lat": 1, "lon": 2}, {"lat": 2, "time": 30}])
def test_predict_features_and_range_are_lazy_and_the_same(
    grid, model, sizes, request, nothing_is_computed, unchanged
):
    model = request.getfixturevalue(model)
    lazy = chunked(grid, **sizes)
    calls = (model.predict, model.features, model.outside_training_range)
    with nothing_is_computed(), unchanged(lazy):
        answers = [call(lazy) for call in calls]
    for answer, call in zip(answers, calls, strict=True):
        assert answer.chunks is not None
        assert answer.chunksizes["lat"] == lazy.chunksizes["lat"]
        xr.testing.assert_identical(answer.compute(), call(grid))


def test_stacked_cells_keep_their_index(grid, quick):
    cells = grid.stack(cell=("lat", "lon")).dropna("cell", how="all", subset=["tsl"])
    net = xp.fit(cells, "gru", config=quick, **SMALL)
    lazy = net.predict(cells.drop_vars("tsl").chunk(cell=3))
    xr.testing.assert_equal(lazy.compute(), net.predict(cells.drop_vars("tsl")))
    assert {"lat", "lon"} <= set(lazy.unstack("cell").dims)


def test_every_member(grid, quick, nothing_is_computed):
    two = xp.fit(grid, "gru", config=quick, members=2, **SMALL)
    with nothing_is_computed():
        lazy = two.predict(chunked(grid, lon=3), members="all")
    xr.testing.assert_identical(lazy.compute(), two.predict(grid, members="all"))


def test_project_is_lazy_and_the_same(sites, sites_net, nothing_is_computed):
    lazy = chunked(sites, band=2, time=60)
    with nothing_is_computed():
        out = xp.project(lazy, sites_net)
    whole = xp.project(sites, sites_net)
    assert out.chunks is not None
    assert out["outside_training_range"].chunks is not None
    assert "see the coordinate" in out.attrs.pop("outside_training_range")
    whole.attrs.pop("outside_training_range")
    xr.testing.assert_identical(out.compute(), whole)


def test_several_climate_models_one_of_which_lacks_a_scenario(quick, nothing_is_computed):
    def runs(seed, *names):
        made = {n: testing.canonical(years=12, start="2006", seed=seed + k) for k, n in
                enumerate(names)}  # fmt: skip
        return {"historical": testing.canonical(years=10, start="1996", seed=seed - 1), **made}

    reference = testing.canonical(years=8)
    world = xp.combine(reference, A=runs(3, "rcp26", "rcp85"), B=runs(7, "rcp85"))
    model = xp.fit(world, "gru", config=quick, **SMALL)
    whole = xp.project(world, model)
    with nothing_is_computed():
        out = xp.project(chunked(world, band=1), model)
    assert out.attrs["missing_runs"] == "B: rcp26"
    xr.testing.assert_equal(out.compute(), whole)
    assert out.sel(esm="B", scenario="rcp26").isnull().all()


@pytest.mark.parametrize("method", ["qdm", "eqm", "none"])
def test_adjusted_scenarios_are_lazy_and_the_same(sites, method, nothing_is_computed):
    with nothing_is_computed():
        out = xp.adjust_scenarios(chunked(sites, band=2), ["tas", "pr"], method=method)
    assert out["tas"].chunks is not None
    xr.testing.assert_identical(
        out.compute(), xp.adjust_scenarios(sites, ["tas", "pr"], method=method)
    )


@pytest.mark.parametrize("name", ["climatology", "ridge", "stefan", "persistence"])
def test_baselines(grid, name):
    fitted = xp.fit_baseline(name, grid)
    out = fitted.predict(chunked(grid, lat=1, lon=2))
    assert (out.chunks is not None) == (name != "persistence")
    xr.testing.assert_identical(out.compute(), fitted.predict(grid))


def reference(sites):
    return sites.sel(scenario="reference", time=slice("2001", "2008")).drop_vars("scenario")


@pytest.fixture(scope="module")
def parts(sites, quick):
    """A hybrid, and a network that remembers its errors."""
    options = {"config": quick, **SMALL}
    return xp.fit_hybrid(sites, "gru", **options), xp.fit_persistence(sites, "gru", **options)


def test_hybrids_and_persistence(sites, parts, nothing_is_computed):
    ds, (hybrid, remembers) = reference(sites), parts
    lazy = chunked(ds, band=3)
    with nothing_is_computed():
        answers = [model.predict(lazy) for model in parts]
    xr.testing.assert_identical(answers[1].compute(), remembers.predict(ds))
    # the column turns until all columns of a block have settled, to 0.05 K
    assert abs(answers[0].compute() - hybrid.predict(ds)).max() < 0.05


def test_from_files_of_the_source_to_the_active_layer(grid, net, tmp_path, nothing_is_computed):
    """standardize, combine, adjust, project and diagnose, then one write that computes."""
    for name, start in (("historical", 1996), ("rcp85", 2006)):
        part = testing.gridded(years=10, start=str(start), seed=start)
        part.drop_vars("tsl").to_netcdf(tmp_path / f"{name}.nc")
    grid.to_netcdf(tmp_path / "reference.nc")
    with nothing_is_computed():
        opened = {
            name: chunked(xr.open_dataset(tmp_path / f"{name}.nc"), lat=1)
            for name in ("reference", "historical", "rcp85")
        }
        opened = {name: xp.standardize(ds) for name, ds in opened.items()}
        world = xp.combine(**opened)
        out = xp.project(world, net, rcp="8.5")
        deep = out.permafrost.mean_annual_ground_temperature()
    assert deep.chunks is not None
    path = deep.permafrost.to_zarr(tmp_path / "magt.zarr")
    again = xp.from_cf(xr.open_zarr(path))[deep.name].compute()
    memory = xp.combine(**{name: ds.compute() for name, ds in opened.items()})
    whole = xp.project(memory, net, rcp="8.5").permafrost.mean_annual_ground_temperature()
    xr.testing.assert_allclose(again, whole)


def test_a_block_of_water_is_nan_and_no_error(grid, net):
    lazy = chunked(grid, lat=1, lon=1)
    out = net.predict(lazy).compute()
    assert out.isel(lat=0, lon=slice(0, 2)).isnull().all()
    xr.testing.assert_identical(out, net.predict(grid))
    with pytest.raises(DataError, match="no whole window"):
        net.predict(grid.isel(lat=[0], lon=[0]))


def test_what_fails_says_where(grid, net):
    bad = chunked(grid, lat=1)

    def spoil(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 1:
            raise RuntimeError("unreadable")
        return block

    bad["tas"] = bad["tas"].copy(
        data=bad["tas"].data.map_blocks(spoil, dtype="f4", meta=np.array(()))
    )
    with pytest.raises(RuntimeError, match="unreadable"):
        net.predict(bad).compute()

    def work(block, state):
        if (block["lat"] > 63).any():
            raise DataError("too far north")
        return block[["tas"]]

    with pytest.raises(DataError, match=r"^lat 6[46].0 to 6[46].0, lon -152.0 to -146.0: too"):
        _at_each(work, grid).compute()


def _at_each(work, grid):
    def forgiving(block, state):
        return work(block, state) if block.sizes["lon"] > 1 else block[["tas"]]

    return _blocks.by_places(forgiving, chunked(grid, lat=1), step="here")


def test_other_errors_carry_the_place_as_a_note(grid):
    def work(block, state):
        if block.sizes["lon"] > 1:
            raise ZeroDivisionError("oh")
        return block[["tas"]]

    with pytest.raises(ZeroDivisionError) as caught:
        _blocks.by_places(work, chunked(grid, lat=1), step="here").compute(scheduler="synchronous")
    assert "lon -152.0 to -146.0" in caught.value.__notes__[0]
    assert caught.value.__notes__[0].startswith("in the block lat 6")


def test_places_that_the_model_does_not_know_are_refused_at_once(grid, net):
    moved = chunked(grid, lat=1).assign_coords(lat=grid["lat"] + 20.0)
    with pytest.raises(ModelMismatchError, match="has not learned"):
        net.predict(moved)


def test_time_in_chunks_is_merged_with_a_note_or_refused(grid, net, monkeypatch):
    lazy = chunked(grid, lat=2, time=12)
    whole = net.predict(grid)
    xr.testing.assert_identical(net.predict(lazy).compute(), whole)  # a few bytes: no word
    monkeypatch.setattr(_blocks, "QUIET", 1000)
    with pytest.warns(PermafrostWarning, match=r"found 8 along 'time': merged to blocks of"):
        lazy_answer = net.predict(lazy)
    xr.testing.assert_identical(lazy_answer.compute(), whole)
    monkeypatch.setattr(_blocks, "MOST", 10_000)
    monkeypatch.setattr(_blocks, "GOOD", 5_000)
    with pytest.raises(DimensionError, match=r"Type ds.chunk\(time=-1, lat=1, lon=\d\); where"):
        net.predict(lazy)


def test_the_model_stands_once_in_the_graph(grid, net):
    cloudpickle = pytest.importorskip("cloudpickle")
    graph = dict(net.predict(chunked(grid, lat=1, lon=1)).__dask_graph__())
    assert len(graph) > 24
    holders = [key for key, task in graph.items() if b"from_bytes" in cloudpickle.dumps(task)]
    assert len(holders) == 1, holders


def test_the_same_model_has_the_same_name_in_a_graph(grid, net):
    one, two = (net.predict(chunked(grid, lat=1)) for _ in range(2))
    assert one.data.name == two.data.name


def test_models_are_pickled_as_the_bytes_of_their_file(grid, net, sites, parts):
    content = pickle.dumps(net)
    called = [
        arg for code, arg, _ in pickletools.genops(content) if code.name == "SHORT_BINUNICODE"
    ]
    assert called == [
        "xpermafrost._state_archive",
        "from_bytes",
        "xpermafrost.fitted",
        "load_model",
    ]
    again = pickle.loads(content)
    xr.testing.assert_identical(again.predict(grid), net.predict(grid))
    ds = reference(sites)
    for model in parts:
        xr.testing.assert_identical(copy.deepcopy(model).predict(ds), model.predict(ds))
