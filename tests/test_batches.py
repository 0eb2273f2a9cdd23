"""Batches: each window once a pass, nothing copied beyond a batch, blocks as memory."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost._block_batches import InBlocks
from xpermafrost._block_preparation import Unit, prepare_blocks
from xpermafrost._block_reading import ahead, boxes
from xpermafrost._gathering import Gatherer, generator_of, shuffled
from xpermafrost.batches import InMemory, WindowBatches, WindowData, window_batches
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    PermafrostWarning,
    UnknownNameError,
)
from xpermafrost.fitted import load_model
from xpermafrost.preparation import prepare
from xpermafrost.training import TrainingConfig, fit
from xpermafrost.windows import WindowSpec

SPEC = WindowSpec(length=12, features=("tas", "snd", "tas:anomaly", "elevation", "month_sin"))
#: Memory [GB] that holds a dozen places.
LITTLE = 1e-4


def grid(parts: int = 2, years: int = 6) -> xr.Dataset:
    """Grids of 3 x 4 cells side by side, with an ocean in each and another weather."""
    some = [testing.gridded(years=years, seed=k) for k in range(parts)]
    some = [ds.assign_coords(lon=ds["lon"] + 8 * k) for k, ds in enumerate(some)]
    return xr.concat(some, "lon", data_vars="minimal", coords="minimal", compat="override")


@pytest.fixture(scope="module")
def world():
    return grid()


@pytest.fixture(scope="module")
def lazy(world):
    return world.chunk(lat=3, lon=2)


@pytest.fixture(scope="module")
def both(world, lazy):
    """The same training windows from memory and in blocks."""
    options = {"train": None, "transform": "residual", "validation_years": 1, "recency_years": 4.0}
    return prepare(world, SPEC, **options), prepare_blocks(lazy, SPEC, memory=LITTLE, **options)


@pytest.mark.filterwarnings("ignore::xpermafrost.errors.PermafrostWarning")
@pytest.mark.parametrize("transform", ["raw", "residual"])
def test_cells_without_forcing_count_nowhere(world, transform):
    """A cell with soil and no air is left out: of the scaler too, in memory as in blocks."""
    here = {"lat": 1, "lon": 1}
    assert bool(world["tsl"].isel(here).notnull().any())
    coast = world.assign(tas=world["tas"].copy())
    coast["tas"][here] = np.nan
    options = {"train": None, "transform": transform}
    memory = prepare(coast, SPEC, **options)
    blocks = prepare_blocks(coast.chunk(lat=3, lon=2), SPEC, memory=LITTLE, **options)
    xr.testing.assert_allclose(memory.scaler, blocks.scaler, rtol=1e-5)
    without = coast.assign(tsl=coast["tsl"].where(coast["tas"].notnull().any("time")))
    xr.testing.assert_allclose(prepare(without, SPEC, **options).scaler, memory.scaler)


def in_blocks(prepared, seed=0, **options):
    return InBlocks(prepared, TrainingConfig(**options), seed=seed)


def as_rows(batches) -> np.ndarray:
    """One row a window: place, target, inputs; sorted."""
    parts = [
        torch.cat([b.location[:, None].float(), b.y, b.weight, b.x.flatten(1)], dim=1)
        for b in batches
    ]
    rows = torch.cat(parts).numpy()
    return rows[np.lexsort(rows[:, ::-1].T)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=9),
    st.one_of(st.none(), st.integers(1, 5)),
    st.integers(0, 99),
)
def test_an_order_by_chance_has_every_window_once(counts, block, seed):
    place = np.repeat(np.arange(len(counts)) * 3, counts)
    numbers = np.arange(place.size) + 5
    order = shuffled(numbers, place, block=block, generator=generator_of(seed))
    assert sorted(order.tolist()) == numbers.tolist()
    if block is None or not place.size:
        return
    # a block has no more places than asked for, and none of them comes back later
    seen = place[order.numpy() - 5]
    full = [k for k, count in enumerate(counts) if count]
    groups, at = [], 0
    while at < seen.size:
        size, some = 0, set()
        for k in seen[at:]:
            if k not in some and len(some) == block:
                break
            some.add(int(k))
            size += 1
        groups.append(some)
        at += size
    assert sum(len(some) for some in groups) == len(full)


def test_orders_differ_by_seed_and_pass(ds):
    first, second = (window_batches(ds, length=12, seed=seed) for seed in (0, 1))
    passes = [next(iter(first))[0], next(iter(first))[0], next(iter(second))[0]]
    again = next(iter(window_batches(ds, length=12, seed=0)))[0]
    assert torch.equal(passes[0], again)
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])


def test_batches_are_gathered_from_one_array(ds):
    data = WindowData.of(prepare(ds, SPEC, train=None, transform="raw"))
    gatherer = Gatherer(data)
    assert gatherer.flat.data_ptr() == data.cube.ctypes.data  # a view, no copy
    some = torch.tensor([40, 3, 3])
    (batch,) = gatherer.batches(some, 4)
    for x, number in zip(batch.x, some.tolist(), strict=True):
        at, start = divmod(int(data.rows[number]), data.cube.shape[1])
        np.testing.assert_array_equal(x, data.cube[at, start : start + 12])
    np.testing.assert_array_equal(batch.y, data.target[some])


def test_pairs_hold_what_the_training_reads(ds):
    """Every training window once, with its own target; a missing one is NaN."""
    holes = ds.copy(deep=True)
    holes["tsl"][1, 2, 30:40] = np.nan
    prepared = prepare(holes, WindowSpec(features=("tas", "snd")), train=None, transform="raw")
    batches = window_batches(holes, features=["tas", "snd"], batch_size=50)
    pairs = list(batches)
    assert len(pairs) == len(batches) == -(-prepared.training.size // 50)
    assert {len(x) for x, _ in pairs[:-1]} == {50}
    x, y = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
    rows = prepared.windows.flat()[prepared.windows.rows[prepared.training]]
    found = {row.tobytes(): values for row, values in zip(x.reshape(len(x), -1), y, strict=True)}
    assert len(found) == prepared.training.size
    for row, wanted in zip(rows, prepared.target[prepared.training], strict=True):
        np.testing.assert_array_equal(found[row.tobytes()], wanted)
    assert np.isnan(y).any()
    assert batches.info["reading"] == "in memory"
    xr.testing.assert_identical(batches.scaler, prepared.scaler)


def test_windows_as_stored_come_in_the_order_of_time(ds):
    pairs = list(window_batches(ds, order="stored", batch_size=30, features=["tas"]))
    x = torch.cat([x for x, _ in pairs]).numpy()
    prepared = prepare(ds, WindowSpec(features=("tas",)), train=None, transform="raw")
    rows = prepared.windows.flat()[prepared.windows.rows[prepared.training]]
    np.testing.assert_array_equal(x.reshape(len(x), -1), rows)


def test_batches_of_ones_own_arrays(ds):
    windows = prepare(ds, SPEC, train=None, transform="raw").windows
    target = np.arange(len(windows), dtype="float32")[:, None]
    batches = WindowBatches(InMemory(WindowData.plain(windows, target), block=2), batch_size=64)
    y = torch.cat([y for _, y in batches])[:, 0]
    assert sorted(y.tolist()) == list(range(len(windows)))
    with pytest.raises(DataError, match=r"batches of plain arrays have no scaler; use xp.window"):
        _ = batches.scaler
    with pytest.raises(DataError, match=r"a target \(window, layer\) is needed for each of"):
        WindowData.plain(windows, target[:-1])


def test_validation_windows_are_the_last_years(ds):
    config = TrainingConfig(validation_years=1)
    batches = window_batches(ds, features=["tas"], config=config)
    assert sum(len(x) for x, _ in batches.validation()) == 3 * 12
    assert sum(len(x) for x, _ in batches) == 3 * (12 * 5 - 23)


def test_one_pass_over_blocks_learns_what_memory_learns(both):
    whole, parts = both
    assert len(parts.units) == 4
    xr.testing.assert_allclose(whole.scaler, parts.scaler, rtol=1e-6)
    land = whole.scaler["feature_min"].notnull().all(("feature", "month"))
    assert not bool(land.all())
    xr.testing.assert_allclose(whole.statistics.where(land), parts.statistics)
    xr.testing.assert_identical(whole.template, parts.template)
    assert whole.sizes == parts.sizes
    for key in ("train_start", "train_end", "n_windows"):
        assert whole.info[key] == parts.info[key]
    assert int(parts.validation.sum()) == whole.validation.size


def test_the_order_of_dimensions_makes_no_difference(both, lazy):
    """Features with longitude first, soil with latitude first."""
    turned = lazy.copy()
    for name in ("tas", "snd", "elevation"):
        turned[name] = lazy[name].transpose("lon", ..., "lat")
    options = {"train": None, "transform": "residual", "validation_years": 1, "recency_years": 4.0}
    parts = prepare_blocks(turned, SPEC, memory=LITTLE, **options)
    assert parts.scaler["climatology"].dims[:2] == ("lon", "lat")
    for name, wanted in both[1].scaler.items():
        xr.testing.assert_allclose(wanted, parts.scaler[name].transpose(*wanted.dims))
    batches = []
    for batch in in_blocks(parts).epoch(0, 99, generator=generator_of(0)):
        lon, lat = batch.location // lazy.sizes["lat"], batch.location % lazy.sizes["lat"]
        batches.append(batch._replace(location=lat * lazy.sizes["lon"] + lon))
    wanted = as_rows(in_blocks(both[1]).epoch(0, 99, generator=generator_of(0)))
    np.testing.assert_allclose(as_rows(batches), wanted, atol=1e-5)


@pytest.mark.parametrize("block", [None, 3])
def test_blocks_hold_the_windows_of_memory(both, block):
    whole, parts = both
    source = in_blocks(parts, block=block, validation_years=1)
    assert len(source.plan(0)) > 1  # more than one pool
    batches = list(source.epoch(0, 50, generator=generator_of(0)))
    assert {len(b.x) for b in batches[:-1]} == {50}
    assert source.windows(0) == sum(len(b.x) for b in batches) == whole.training.size
    memory = InMemory(WindowData.of(whole)).epoch(0, 50, generator=generator_of(0))
    np.testing.assert_allclose(as_rows(batches), as_rows(memory), rtol=1e-4, atol=1e-5)


def test_an_epoch_can_be_entered_anywhere(both):
    source = in_blocks(both[1])
    whole = list(source.epoch(3, 40, generator=generator_of(0)))
    for skip in (1, 5, len(whole) - 1, len(whole)):
        rest = list(source.epoch(3, 40, generator=generator_of(1), skip=skip))
        assert len(rest) == len(whole) - skip
        for one, two in zip(whole[skip:], rest, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    other = next(source.epoch(4, 40, generator=generator_of(0)))
    assert not torch.equal(other.x, whole[0].x)


def test_each_block_is_read_once_an_epoch(both, lazy):
    _, parts = both
    read = []

    def noted(block, name):
        read.append(name)
        return block

    counted = lazy.copy()
    for name in ("tas", "snd", "tsl"):
        data = lazy[name].data.map_blocks(noted, name, dtype="float32", meta=np.empty(0, "f4"))
        counted[name] = lazy[name].copy(data=data)
    ready = prepare_blocks(counted, SPEC, train=None, transform="raw", memory=LITTLE)
    assert {name: read.count(name) for name in set(read)} == dict.fromkeys(
        ("tas", "snd", "tsl"), len(parts.units)
    )
    read.clear()
    list(in_blocks(ready).epoch(0, 64, generator=generator_of(0)))
    assert {name: read.count(name) for name in set(read)} == dict.fromkeys(
        ("tas", "snd", "tsl"), len(parts.units)
    )


def test_validation_in_blocks_is_held_and_the_same_every_time(both):
    whole, parts = both
    source = in_blocks(parts, validation_years=1)
    first, second = (as_rows(source.validation(16)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    every = as_rows(Gatherer(WindowData.of(whole)).batches(torch.tensor(whole.validation), 999))
    assert 0 < len(first) <= len(every)
    for row in first[:5]:
        assert np.isclose(every, row, rtol=1e-4, atol=1e-5).all(axis=1).any()


def test_some_places_an_epoch(both):
    _, parts = both
    source = in_blocks(parts, locations_per_epoch=6)
    drawn = []
    for number in (0, 1):
        batches = list(source.epoch(number, 30, generator=generator_of(0)))
        drawn.append({int(k) for b in batches for k in b.location})
        assert len(drawn[-1]) == 6
        assert source.windows(number) == sum(len(b.x) for b in batches)
    assert drawn[0] != drawn[1]


def test_every_place_has_the_same_chance_whatever_the_size_of_its_unit():
    units = [
        Unit(None, np.arange(n) + 10_000 * k, np.arange(n))
        for k, n in enumerate([400] * 6 + [2] * 24)
    ]
    kept = SimpleNamespace(units=units, pools=lambda picks: [picks])
    config = TrainingConfig(locations_per_epoch=100)
    source = SimpleNamespace(prepared=kept, config=config, seed=0)
    small, large = 0, 0
    for number in range(400):
        for pick in InBlocks._plan(source, number)[0]:
            assert len(set(pick.some)) == pick.some.size
            small += pick.some.size * (pick.unit.ids.size == 2)
            large += pick.some.size * (pick.unit.ids.size == 400)
    assert small + large == 400 * 100
    assert 0.7 < (small / 48) / (large / 2400) < 1.4


def test_statistics_that_have_no_place(world):
    co2 = xr.DataArray(
        np.linspace(370, 400, world.sizes["time"]), dims="time", attrs={"units": "ppm"}
    )
    ds = world.assign(co2=co2)
    spec = WindowSpec(length=12, features=("tas", "co2:anomaly"))
    whole = prepare(ds, spec, train=("2001", "2004"), transform="raw")
    parts = prepare_blocks(
        ds.chunk(lat=1, lon=1), spec, train=("2001", "2004"), transform="raw", memory=LITTLE
    )
    for name in whole.scaler.data_vars:
        xr.testing.assert_allclose(parts.scaler[name], whole.scaler[name], rtol=1e-5)


def test_nothing_after_the_training_years_reaches_the_statistics(lazy):
    late = lazy["time"] >= np.datetime64("2005")
    other = lazy.copy()
    for name in ("tas", "snd", "tsl"):
        other[name] = lazy[name].where(~late, lazy[name] * 0.9).assign_attrs(lazy[name].attrs)
    one, two = (
        prepare_blocks(ds, SPEC, train=("2001", "2004"), transform="residual", memory=LITTLE)
        for ds in (lazy, other)
    )
    xr.testing.assert_identical(one.scaler, two.scaler)
    xr.testing.assert_identical(one.statistics, two.statistics)
    np.testing.assert_array_equal(one.training, two.training)


def test_fit_says_how_it_reads_and_blocks_learn_as_well(world, lazy, tmp_path):
    options = {"options": {"hidden": 8}, "length": 12, "progress": False}
    config = TrainingConfig(epochs=6, memory=2 * LITTLE)
    lazy = lazy.chunk(lon=4)
    parts = fit(lazy, "gru", config=config, **options)
    again = fit(lazy, "gru", config=config, **options)
    whole = fit(world, "gru", config=config, **options)
    fits = fit(lazy, "gru", config=TrainingConfig(epochs=6), **options)
    assert parts.info["reading"] == "in blocks: 20 places in 2 units"
    assert whole.info["reading"] == fits.info["reading"] == "in memory"
    for name, tensor in parts.nets[0].state_dict().items():
        assert torch.equal(tensor, again.nets[0].state_dict()[name])
    last = [float(m.history["training_loss"][0, -1]) for m in (parts, whole)]
    first = float(parts.history["training_loss"][0, 0])
    assert last[0] < 0.6 * first
    assert abs(last[0] - last[1]) < 0.3 * last[1]
    parts.save(tmp_path / "m.xpm")
    out = load_model(tmp_path / "m.xpm").predict(world)
    assert bool((out.notnull().any(("layer", "time")) == world["elevation"].notnull()).all())


def test_days_in_blocks(ds):
    """Harmonics by place, memories in days; as in memory."""
    part = ds.isel(time=slice(0, 26)).resample(time="D").interpolate()
    for name in part:
        part[name].attrs = ds[name].attrs
    part = part.assign({n: ds[n] for n in ("elevation",)})
    spec = WindowSpec(step="day", length=30, features=("tas", "tas:anomaly", "tas:mean30d"))
    options = {"train": "all", "transform": "residual"}
    whole = prepare(part, spec, **options)
    parts = prepare_blocks(part.chunk(band=1), spec, **options)
    xr.testing.assert_allclose(whole.scaler, parts.scaler, rtol=1e-5)
    memory = InMemory(WindowData.of(whole)).epoch(0, 500, generator=generator_of(0))
    blocks = in_blocks(parts).epoch(0, 500, generator=generator_of(0))
    np.testing.assert_allclose(as_rows(blocks), as_rows(memory), rtol=1e-3, atol=1e-4)


def test_places_without_a_window_are_left_out(lazy):
    """A cell whose features have a gap in every window is never drawn."""
    gaps = (lazy["lon"] == -146.0) & (lazy["time"].dt.month == 6)
    ds = lazy.assign(snd=lazy["snd"].where(~gaps).assign_attrs(lazy["snd"].attrs))
    ready = prepare_blocks(ds, SPEC, train=None, transform="raw")
    assert sum(unit.ids.size for unit in ready.units) == 20 - 3
    assert ready.info["n_excluded"] > 0


def test_stations_in_blocks(ds):
    """A list of places, fewer than all of them each epoch, for places unknown as well."""
    config = TrainingConfig(epochs=2, locations_per_epoch=2)
    model = fit(ds, "gru", length=12, config=config, places="any", progress=False)
    assert model.info["reading"] == "in blocks: 3 places in 1 units"
    other = ds.assign_coords(band=["a", "b", "c"])
    assert bool(model.predict(other).isel(time=-1).notnull().all())


def test_a_place_without_soil_is_named(ds):
    config = TrainingConfig(locations_per_epoch=2)
    bare = ds.assign(tsl=ds["tsl"].where(ds["band"] != "middle").assign_attrs(ds["tsl"].attrs))
    with pytest.raises(DataError, match=r"missing throughout at \['middle'\] \(1 locations\)"):
        fit(bare, "gru", config=config)
    bare = ds.assign(snd=ds["snd"].where(ds["band"] != "north").assign_attrs(ds["snd"].attrs))
    with pytest.raises(DataError, match=r"features without any value .*'north', 'snd'"):
        fit(bare, "gru", config=config)


def test_cells_without_a_feature_are_left_out_and_said(lazy):
    hole = (lazy["lat"] == 66.0) & (lazy["lon"] == -146.0)
    ds = lazy.assign(tas=lazy["tas"].where(~hole).assign_attrs(lazy["tas"].attrs))
    with pytest.warns(PermafrostWarning, match=r"1 of 20 cells .* no 'tas'"):
        prepared = prepare_blocks(ds, SPEC, train=None, transform="raw")
    assert sum(unit.ids.size for unit in prepared.units) == 19


def test_a_grid_of_water_is_refused(lazy):
    sea = lazy.assign(tsl=(lazy["tsl"] * np.nan).assign_attrs(lazy["tsl"].attrs))
    with pytest.raises(DataError, match="missing throughout the training months, in every cell"):
        prepare_blocks(sea, SPEC, train=None, transform="raw")


def test_large_chunks_are_split_with_a_word_or_refused(lazy):
    whole = lazy.chunk(lat=-1, lon=-1, time=12)
    size = whole.isel(lat=[0]).nbytes
    with pytest.warns(PermafrostWarning, match=r"it is read \d times in each pass"):
        some = boxes(whole, ("lat", "lon"), size)
    assert len(some) == whole.sizes["lat"]
    with pytest.raises(DimensionError, match=r"Stage the data once: ds.chunk\(time=-1, lat="):
        boxes(whole, ("lat", "lon"), size / 4)


def test_boxes_cover_every_place_once(lazy):
    cover = xr.zeros_like(lazy["elevation"].compute())
    for box in boxes(lazy, ("lat", "lon"), 1e9):
        cover[box] += 1
    assert bool((cover == 1).all())


def test_reading_ahead_keeps_order_and_errors():
    assert list(ahead(lambda k: k * k, [1, 2, 3])) == [1, 4, 9]
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda k: 1 // k, [1, 0, 2]))


def test_what_makes_no_sense_is_said(ds, lazy):
    with pytest.raises(UnknownNameError, match="unknown order 'random'"):
        window_batches(ds, order="random")
    with pytest.raises(DataError, match="windows are read as stored from memory only"):
        window_batches(lazy, order="stored", length=12, config=TrainingConfig(memory=LITTLE))
    with pytest.raises(DataError, match="batch_size must be positive; got 0"):
        window_batches(ds, batch_size=0)
    with pytest.raises(MissingVariableError, match="fit needs the variables"):
        window_batches(ds.drop_vars("tsl"))
    for name in ("block", "locations_per_epoch"):
        with pytest.raises(DataError, match=f"{name} must be positive or None; got 0"):
            TrainingConfig(**{name: 0})
    with pytest.raises(DataError, match="memory must be positive"):
        TrainingConfig(memory=0.0)


def test_reading_does_not_change_what_a_model_is_called(ds, quick, gru):
    """Checkpoints, and limits that were not reached, are no part of a model's identity."""
    assert "memory" not in gru.info["config"]
    again = fit(
        ds,
        "gru",
        config=TrainingConfig(epochs=2, checkpoint_minutes=5.0),
        options={"hidden": 8},
        jobs=1,
        progress=False,
    )
    assert again.id == gru.id
    assert xp.window_batches is window_batches
