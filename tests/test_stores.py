"""Zarr stores are whole, resumable or absent; workers give what one process gives."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import _memory, stores, testing
from xpermafrost.errors import (
    DataError,
    MissingDependencyError,
    OutputExistsError,
    PermafrostWarning,
)

pytest.importorskip("zarr", reason="zarr is not installed")

SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False}


def field(*, lat=4, lon=6, time=24, chunks=(-1, 1, 2)):
    values = np.random.default_rng(0).normal(size=(time, lat, lon)).astype("f4")
    values[:, 0, 0] = np.nan
    coords = {
        "time": np.datetime64("2001-01", "ns") + np.zeros(time, "m8[ns]"),
        "lat": 60.0 + np.arange(lat),
        "lon": 10.0 + np.arange(lon),
    }
    coords["time"] = xr.date_range("2001-01", periods=time, freq="MS", use_cftime=False)
    da = xr.DataArray(values, coords, ("time", "lat", "lon"), "soil_temperature")
    return da.assign_attrs(units="degree_Celsius").chunk(dict(zip(da.dims, chunks, strict=True)))


def read(path, name="soil_temperature"):
    return xp.from_cf(xr.open_zarr(path))[name].compute()


def failing(da, *, at, error=RuntimeError, flag=None):
    """``da`` whose block number ``at`` cannot be computed (while ``flag`` exists)."""

    def fail(block, block_info=None):
        hit = tuple(block_info[0]["chunk-location"]) == at
        if hit and (flag is None or flag.exists()):
            raise error("unreadable")
        return block

    data = da.data.map_blocks(fail, dtype=da.dtype, meta=np.array((), da.dtype))
    return da.copy(data=data)


@pytest.mark.parametrize("chunks", [(-1, 1, 2), (12, 4, 6), (5, 3, 4), ((10, 4, 10), (1, 3), -1)])
def test_there_and_back_whatever_the_chunks(tmp_path, chunks, unchanged):
    da = field(chunks=chunks)
    with unchanged(da):
        path = da.permafrost.to_zarr(tmp_path / "a.zarr")
    assert path == tmp_path / "a.zarr"
    assert os.listdir(tmp_path) == ["a.zarr"]
    again = read(path)
    history = again.attrs.pop("history", "")
    xr.testing.assert_identical(again, da.compute())
    assert history == ""
    assert "to_zarr('a.zarr')" in xr.open_zarr(path).attrs["history"]


def test_variables_of_other_dims_and_in_memory(tmp_path):
    tas = field()
    ds = xr.Dataset(
        {
            "tas": tas,
            "mean": tas.mean("lon"),
            "course": tas.mean(("lat", "lon")),
            "number": tas.mean(),
            "elevation": ("lat", np.arange(4.0)),
        }
    )
    path = stores.to_zarr(ds, tmp_path / "a.zarr")
    again = xp.from_cf(xr.open_zarr(path)).compute()
    for name, da in ds.compute().data_vars.items():
        xr.testing.assert_equal(again[name], da)


def test_in_memory(tmp_path):
    da = field().compute()
    xr.testing.assert_equal(read(stores.to_zarr(da, tmp_path / "a.zarr")), da)


def test_nothing_is_overwritten_unasked(tmp_path):
    path = stores.to_zarr(field(), tmp_path / "a.zarr")
    with pytest.raises(OutputExistsError, match="exists and is not overwritten silently"):
        stores.to_zarr(field() + 1, path)
    assert read(path).equals(field().compute())
    stores.to_zarr((field() + 1).assign_attrs(units="K"), path, overwrite=True)
    assert read(path).equals((field() + 1).compute())
    with pytest.raises(FileNotFoundError, match="does not exist; create it"):
        stores.to_zarr(field(), tmp_path / "none" / "a.zarr")


@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
def test_the_store_before_stays_if_the_new_one_cannot_be_moved(tmp_path, monkeypatch, error):
    path = stores.to_zarr(field(), tmp_path / "a.zarr")
    move = os.replace

    def refuse(source, target):
        if str(source).endswith("store"):
            raise error("no")
        move(source, target)

    monkeypatch.setattr(stores.os, "replace", refuse)
    with pytest.raises(error):
        stores.to_zarr(field() + 1, path, overwrite=True)
    assert read(path).equals(field().compute())
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_what_fails_is_named_and_leaves_nothing(tmp_path):
    bad = failing(field(), at=(0, 2, 1))
    with pytest.raises(
        DataError, match=r"lat 62.0 to 62.0, lon 12.0 to 13.0, .*: RuntimeError: unreadable"
    ):
        stores.to_zarr(bad, tmp_path / "a.zarr")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("which", [1, 3])
def test_a_block_that_fails_once_has_another_chance(tmp_path, which):
    tried = []

    def fail_once(block):
        tried.append(1)
        if len(tried) == which:
            raise RuntimeError("the network is away")
        return block

    da = field()
    shaky = da.copy(data=da.data.map_blocks(fail_once, dtype=da.dtype, meta=np.array((), "f4")))
    assert read(stores.to_zarr(shaky, tmp_path / "a.zarr")).equals(da.compute())


def test_resumed_by_the_blocks_that_are_done(tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    done = []
    da = field()
    counted = da.copy(
        data=da.data.map_blocks(lambda b: done.append(1) or b, dtype="f4", meta=np.array((), "f4"))
    )
    bad = failing(counted, at=(0, 3, 2), flag=flag)
    target = tmp_path / "a.zarr"
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(DataError, match="lat 63"):
            stores.to_zarr(bad, target, resume=True)
        assert not target.exists()
        with pytest.raises(OutputExistsError, match=r"Go on with resume=True, begin anew with"):
            stores.to_zarr(bad, target)
        flag.unlink()
        done.clear()
        stores.to_zarr(bad, target, resume=True)
    assert len(done) == 1
    assert read(target).equals(da.compute())
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_other_data_are_not_mixed_with_what_was_left(tmp_path):
    target = tmp_path / "a.zarr"
    with pytest.raises(DataError):
        stores.to_zarr(failing(field(), at=(0, 1, 1)), target, resume=True)
    with pytest.raises(DataError, match="begun with other data: its attributes differ"):
        stores.to_zarr(field().assign_attrs(units="K"), target, resume=True)
    with pytest.raises(DataError, match="its sizes and chunks differ"):
        stores.to_zarr(field(chunks=(-1, 2, 2)), target, resume=True)
    with pytest.raises(DataError, match="its labels differ"):
        stores.to_zarr(field().assign_coords(lat=np.arange(4.0)), target, resume=True)
    stores.to_zarr(field(), target, overwrite=True)
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_a_full_disk(tmp_path, monkeypatch):
    from zarr.storage import LocalStore

    async def full(self, key, value):
        if key.startswith("soil_temperature/0.1"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return await put(self, key, value)

    put = LocalStore.set
    monkeypatch.setattr(LocalStore, "set", full)
    target = tmp_path / "a.zarr"
    with pytest.raises(OSError, match=r"the disk is full: .*a.zarr.* GB are free") as caught:
        stores.to_zarr(field(), target)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(target)
    assert os.listdir(tmp_path) == []


def counting(da, *, size):
    """``da`` whose blocks take ``size`` bytes for a moment, and how many did so at a time."""
    lock, now, most = threading.Lock(), [], []

    def hold(block):
        held = np.ones(size // 8)
        with lock:
            now.append(1)
            most.append(len(now))
        time.sleep(0.05)
        with lock:
            now.pop()
        return block + 0 * held[-1].astype("f4")

    data = da.data.map_blocks(hold, dtype=da.dtype, meta=np.array((), da.dtype))
    return da.copy(data=data), most


def test_fewer_blocks_at_a_time_where_memory_is_short(tmp_path, monkeypatch):
    da, most = counting(field(), size=80_000_000)
    monkeypatch.setattr(stores, "free", lambda: 250_000_000)
    monkeypatch.setattr(_memory, "free", lambda: 250_000_000)
    with (
        dask.config.set(scheduler="threads", num_workers=4),
        pytest.warns(
            PermafrostWarning,
            match=r"took 0.1 GB: 4 threads would take 0.\d GB, and 0.2 GB are free. 2 at a time. "
            r"Smaller blocks .* ds.chunk\(lon=1\)",
        ),
    ):
        path = stores.to_zarr(da, tmp_path / "a.zarr")
    assert max(most) == 2
    assert read(path).equals(field().compute())


@pytest.mark.parametrize("key", ["scheduler", "pool"])
def test_threads_of_ones_own_are_counted_and_kept_few(tmp_path, monkeypatch, key):
    from concurrent.futures import ThreadPoolExecutor

    da, most = counting(field(), size=8_000)
    monkeypatch.setattr(stores, "fitting", lambda each: 2)
    with ThreadPoolExecutor(6) as pool, dask.config.set({key: pool}):
        with pytest.warns(PermafrostWarning, match=r"6 threads would take .* 2 at a time"):
            stores.to_zarr(da, tmp_path / "a.zarr")
        assert max(most) == 2
        monkeypatch.setattr(stores, "fitting", lambda each: 6)
        stores.to_zarr(da, tmp_path / "b.zarr")


def test_all_threads_work_where_memory_is_not(tmp_path):
    da, most = counting(field(), size=8_000)
    with dask.config.set(scheduler="threads", num_workers=4):
        stores.to_zarr(da, tmp_path / "a.zarr")
    assert max(most) > 2


def test_short_memory_is_named(tmp_path):
    bad = failing(field(), at=(0, 2, 1), error=MemoryError)
    with pytest.raises(DataError, match=r"memory was short: fewer workers, or ds.chunk\(lon=1\)"):
        stores.to_zarr(bad, tmp_path / "a.zarr")


def test_what_a_control_group_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(_memory, "GROUP", tmp_path)
    whole = _memory.free()
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("2500\n")
    (tmp_path / "memory.stat").write_text("anon 2000\ninactive_file 400\n")
    assert _memory.free() == 900
    (tmp_path / "memory.max").write_text("max\n")
    assert _memory.free() > 0.5 * whole
    monkeypatch.setattr(_memory, "free", lambda: 1000)
    assert [_memory.fitting(n) for n in (100, 300, 5000)] == [8, 2, 1]


def test_two_writers_of_one_store(tmp_path):
    from filelock import FileLock

    folder = tmp_path / ".a.zarr.unfinished"
    folder.mkdir()
    with (
        FileLock(folder / "lock"),
        pytest.raises(OutputExistsError, match="another process is writing"),
    ):
        stores.to_zarr(field(), tmp_path / "a.zarr", resume=True)


def test_without_zarr(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingDependencyError, match=r"xpermafrost\[zarr\]"):
        stores.to_zarr(field(), tmp_path / "a.zarr")


SLOW = """
    import sys, time
    sys.path.insert(0, {tests!r})
    import dask
    from test_stores import field
    from xpermafrost.stores import to_zarr

    def slowly(block):
        time.sleep({pause})
        return block

    da = field()
    with dask.config.set(scheduler="synchronous"):
        to_zarr(da.copy(data=da.data.map_blocks(slowly, dtype="f4")), {path!r}, resume={resume})
"""


def run(path, *, pause, resume):
    code = textwrap.dedent(SLOW).format(
        tests=str(Path(__file__).parent), path=str(path), pause=pause, resume=resume
    )
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_killed_writer_leaves_what_can_be_resumed(tmp_path):
    target = tmp_path / "a.zarr"
    done = tmp_path / ".a.zarr.unfinished" / "done"
    process = run(target, pause=0.3, resume=True)
    for _ in range(600):
        if done.is_dir() and len(os.listdir(done)) >= 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    before = {p: p.stat().st_mtime_ns for p in done.iterdir()}
    assert 2 <= len(before) < 12
    stores.to_zarr(field(), target, resume=True)
    assert read(target).equals(field().compute())
    assert os.listdir(tmp_path) == ["a.zarr"]


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
        ) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def world():
    return testing.experiment(locations=range(6))


@pytest.fixture(scope="module")
def net(world, quick):
    return xp.fit(world, "gru", config=quick, **SMALL)


def split(ds, n):
    return ds.assign(
        {k: da.variable.chunk(band=n) for k, da in ds.data_vars.items() if "band" in da.dims}
    )


def _loads(dask_worker=None):
    from xpermafrost import _state_archive

    return getattr(_state_archive, "loads", 0)


def _count_loads():
    from xpermafrost import _state_archive

    plain = _state_archive.from_bytes

    def counted(load, content):
        _state_archive.loads = getattr(_state_archive, "loads", 0) + 1
        return plain(load, content)

    _state_archive.from_bytes = counted


def test_two_workers_give_the_same_and_get_the_model_once(cluster, world, net, tmp_path):
    cluster.run(_count_loads)
    path = stores.to_zarr(xp.project(split(world, 1), net), tmp_path / "a.zarr", progress=False)
    loads = cluster.run(_loads)
    with dask.config.set(scheduler="synchronous"):
        whole = xp.project(world, net)
        xr.testing.assert_equal(read(path), whole)
    assert all(1 <= count <= 2 for count in loads.values()), loads  # of 6 blocks


def test_workers_too_small_for_a_block(cluster, tmp_path, monkeypatch):
    workers = {"a": {"memory_limit": 800, "nthreads": 4}, "b": {"memory_limit": 0, "nthreads": 1}}
    monkeypatch.setattr(cluster, "scheduler_info", lambda **_: {"workers": workers})
    with pytest.raises(
        DataError,
        match=r"has 2e-07 GB a thread, and a block of the answer alone is 3.8e-07 GB. Fewer "
        r"workers, Client\(n_workers=..., threads_per_worker=1\), or smaller blocks, ds.chunk\(",
    ):
        stores.to_zarr(field(chunks=(-1, 1, 4)), tmp_path / "a.zarr")
    assert os.listdir(tmp_path) == []


def _die_on_the_first(block, flag, parent):
    try:
        os.mkdir(flag)
    except FileExistsError:
        time.sleep(0.05)
        return block
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_a_killed_worker_loses_nothing(cluster, tmp_path):
    da = field()
    data = da.data.map_blocks(
        _die_on_the_first, str(tmp_path / "flag"), os.getpid(), dtype="f4", meta=np.array((), "f4")
    )
    path = stores.to_zarr(da.copy(data=data), tmp_path / "a.zarr")
    assert (tmp_path / "flag").exists()
    with dask.config.set(scheduler="synchronous"):
        assert read(path).equals(da.compute())
