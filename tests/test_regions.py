"""Bands, fractional weights, the reduction, and sampling at points."""

from __future__ import annotations

import tracemalloc

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost import _reduce_kernels
from xpermafrost.errors import DimensionError, PermafrostWarning, RegionError, UnknownNameError
from xpermafrost.masks import cell_bounds, land_fraction
from xpermafrost.regions import (
    EARTH_RADIUS,
    LatitudeBands,
    alaska_bands,
    reduce,
    region_weights,
)
from xpermafrost.sampling import sample_points
from xpermafrost.schema import variable


def grid(n_lat=6, n_lon=4, *, south=60.0, west=-150.0, step=1.0, n_time=3, values=None, seed=0):
    lat = south + step * (np.arange(n_lat) + 0.5)
    lon = west + step * (np.arange(n_lon) + 0.5)
    if values is None:
        values = np.random.default_rng(seed).normal(265.0, 5.0, (n_time, n_lat, n_lon))
    return xr.Dataset(
        {"tas": (("time", "lat", "lon"), values, variable("tas").attrs)},
        coords={"time": np.arange(n_time), "lat": lat, "lon": lon},
    )


TWO = LatitudeBands((60.0, 63.0, 66.0), ("low", "high"))


@st.composite
def edges(draw, low=60.0, high=66.0):
    inner = draw(st.lists(st.floats(low + 0.2, high - 0.2), max_size=5))
    kept = [low]
    for value in sorted(inner):
        if value - kept[-1] > 0.05:
            kept.append(value)
    return (*kept, high)


@settings(max_examples=25, deadline=None)
@given(edges())
def test_bands_partition_the_latitudes(cut):
    """Whatever the edges, the bands share every cell out completely: no gap, no overlap."""
    ds = grid()
    weights = region_weights(ds, LatitudeBands(cut))
    south, north = np.deg2rad(cell_bounds(ds, "lat")).T
    area = EARTH_RADIUS**2 * (np.sin(north) - np.sin(south)) * np.deg2rad(1.0)
    np.testing.assert_allclose(
        weights.sum("band").values, np.repeat(area[:, None], 4, 1), rtol=1e-12
    )
    assert float(weights.min()) >= 0.0
    assert weights.attrs["units"] == "m2"


@settings(max_examples=15, deadline=None)
@given(edges(), st.floats(200.0, 300.0), st.integers(0, 10**6))
def test_a_constant_field_reduces_to_itself_with_holes_in_it(cut, level, seed):
    ds = grid(values=np.full((3, 6, 4), level))
    hole = np.random.default_rng(seed).random((3, 6, 4)) < 0.4
    holed = ds.where(~xr.DataArray(hole, dims=("time", "lat", "lon")))
    out = reduce(holed, LatitudeBands(cut))["tas"]
    weights = region_weights(ds, LatitudeBands(cut))
    covered = (weights * holed["tas"].notnull()).sum(("lat", "lon")) > 0
    np.testing.assert_allclose(out.where(covered), covered.where(covered) * level, rtol=1e-12)
    assert bool((out.isnull() == ~covered.transpose(*out.dims)).all())


def test_the_whole_earth_has_the_area_of_the_sphere():
    lat, lon = np.arange(-88.75, 90, 2.5), np.arange(1.25, 360, 2.5)
    globe = xr.Dataset(coords={"lat": lat, "lon": lon})
    whole = float(region_weights(globe, LatitudeBands((-90, 90))).sum())
    np.testing.assert_allclose(whole, 4 * np.pi * EARTH_RADIUS**2, rtol=1e-12)


def test_a_mean_is_the_one_by_hand():
    """Cells cut by an edge count by the part of their area inside, on the sphere."""
    values = np.array([[[250.0, 250.0], [270.0, 270.0]]])
    ds = grid(n_lat=2, n_lon=2, n_time=1, values=values)
    out = reduce(ds, LatitudeBands((60.5, 61.25)))["tas"]
    s = np.sin(np.deg2rad([60.5, 61.0, 61.25]))
    w = np.diff(s)
    np.testing.assert_allclose(out.item(), (w * [250, 270]).sum() / w.sum(), rtol=1e-13)


def test_missing_cells_leave_numerator_and_denominator():
    ds = grid()
    ds["tas"][1, 1, 2] = np.nan  # a hole in the middle
    out = reduce(ds, TWO)["tas"]
    weights = region_weights(ds, TWO)
    for k in range(2):
        w = np.where(np.isnan(ds["tas"].values), 0.0, weights.values[k])
        expected = (w * np.nan_to_num(ds["tas"].values)).sum((1, 2)) / w.sum((1, 2))
        np.testing.assert_allclose(out.isel(band=k), expected, rtol=1e-12)


def test_a_region_without_a_valid_cell_is_missing_not_zero():
    ds = grid()
    ds["tas"][:, :3] = np.nan
    out = reduce(ds, TWO)["tas"]
    assert out.sel(band="low").isnull().all()
    assert out.sel(band="high").notnull().all()


def test_zero_is_a_value():
    ds = grid(values=np.zeros((3, 6, 4)))
    assert (reduce(ds, TWO)["tas"] == 0).all()


def test_land_share_weighs():
    ds = grid(n_lat=2, n_lon=2, n_time=1, values=np.arange(4.0).reshape(1, 2, 2))
    land = xr.DataArray([[100.0, 0.0], [50.0, np.nan]], dims=("lat", "lon"), attrs={"units": "%"})
    out = reduce(ds, LatitudeBands((60, 62)), land=land)["tas"].item()
    w = region_weights(ds, LatitudeBands((60, 62))).values[0] * [[1, 0], [0.5, 0]]
    np.testing.assert_allclose(out, (w * [[0, 1], [2, 3]]).sum() / w.sum(), rtol=1e-13)
    inside = reduce(
        ds.assign(sftlf=land.drop_attrs().assign_attrs(units="%")), LatitudeBands((60, 62))
    )
    np.testing.assert_allclose(inside["tas"].item(), out)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_land_in_any_form_is_a_share(scale):
    share = xr.DataArray([0.0, 0.25, 1.0, np.nan], dims="lat")
    given_ = (share * scale).assign_attrs(units="%" if scale > 1 else "1")
    np.testing.assert_allclose(land_fraction(given_), [0, 0.25, 1, 0])


def test_a_boolean_mask_and_nonsense():
    np.testing.assert_array_equal(land_fraction(xr.DataArray([True, False])), [1.0, 0.0])
    with pytest.raises(RegionError, match=r"a land mask needs values in 0..1 or 0..100 %"):
        land_fraction(xr.DataArray([0.0, 7000.0]))


def test_latitudes_may_run_either_way():
    ds = grid()
    xr.testing.assert_allclose(
        reduce(ds.isel(lat=slice(None, None, -1)), TWO), reduce(ds, TWO), rtol=1e-13
    )


def test_a_mask_upside_down_is_not_applied_upside_down():
    ds = grid(n_lat=6)
    land = xr.DataArray(
        np.repeat([[1.0], [1], [1], [0], [0.5], [1]], 4, axis=1),
        dims=("lat", "lon"),
        coords={"lat": ds["lat"], "lon": ds["lon"]},
    )
    right = reduce(ds, TWO, land=land)
    turned = land.isel(lat=slice(None, None, -1))
    xr.testing.assert_identical(reduce(ds, TWO, land=turned), right)
    weights = region_weights(ds, TWO, land=land)
    flipped = ds.isel(lat=slice(None, None, -1))
    xr.testing.assert_allclose(reduce(flipped, TWO, weights=weights), right)


def test_longitudes_0_to_360_and_the_dateline():
    """A region across the dateline takes the same cells whichever way longitude counts."""
    values = np.random.default_rng(1).normal(size=(1, 3, 36))
    lat, lon = np.array([61.0, 62.0, 63.0]), np.arange(5.0, 360, 10)
    east = xr.Dataset({"tas": (("time", "lat", "lon"), values)}, coords={"lat": lat, "lon": lon})
    west = east.assign_coords(lon=(lon + 180) % 360 - 180).sortby("lon")
    over = LatitudeBands((60.5, 63.5), lon=(170.0, -160.0))
    xr.testing.assert_allclose(reduce(east, over), reduce(west, over))
    picked = east["tas"].sel(lon=[175, 185, 195])
    low, high = float(picked.min()), float(picked.max())
    assert low <= reduce(east, over)["tas"].item() <= high
    total = float(region_weights(east, over).sum())
    circle = float(region_weights(east, LatitudeBands((60.5, 63.5))).sum())
    np.testing.assert_allclose(total / circle, 30 / 360, rtol=1e-12)


def test_stored_bounds_are_used_and_one_centre_needs_them():
    ds = grid(n_lat=1, n_lon=2, n_time=1, values=np.ones((1, 1, 2)))
    with pytest.raises(RegionError, match="'lat' have no bounds and there is only one centre"):
        reduce(ds, LatitudeBands((60, 61)))
    ds = ds.assign_coords(lat_bnds=(("lat", "bnds"), [[60.0, 61.0]]))
    assert reduce(ds, LatitudeBands((60, 61)))["tas"].item() == 1.0


def test_unsorted_latitudes_are_refused():
    with pytest.raises(RegionError, match="'lat' must increase or decrease throughout"):
        cell_bounds(grid().isel(lat=[0, 2, 1]), "lat")


def test_a_region_off_the_grid_is_named():
    with pytest.raises(
        RegionError, match=r"regions \['80.0-85.0N'\] meet no cell of the grid \(lat 60.5 to 65.5"
    ):
        reduce(grid(), LatitudeBands((80, 85)))
    sea = xr.zeros_like(grid()["tas"].isel(time=0))
    sea[-1] = 1.0
    with pytest.raises(RegionError, match=r"regions \['low'\] have no land on the grid"):
        reduce(grid(), TWO, land=sea)


def test_a_mask_of_another_grid_is_refused():
    land = xr.DataArray(np.ones((2, 2)), dims=("lat", "lon"))
    with pytest.raises(RegionError, match="the land mask has sizes"):
        reduce(grid(), TWO, land=land)
    shifted = grid(west=-140.0)["tas"].isel(time=0) * 0 + 1
    with pytest.raises(
        RegionError, match=r"the cells of the land mask lie on lon -139.5 to -136.5, the grid on"
    ):
        reduce(grid(), TWO, land=shifted)
    with pytest.raises(RegionError, match="the cells of the weights lie on lon"):
        reduce(grid(), TWO, weights=region_weights(grid(west=-140.0), TWO))


def test_reduce_without_lat_and_lon(ds):
    with pytest.raises(DimensionError, match=r"reduce needs dims \('lat', 'lon'\)"):
        reduce(ds, TWO)


def test_stations_are_returned_as_they_are(ds):
    stations = ds.rename(band="station")
    xr.testing.assert_identical(reduce(stations, TWO), stations)


def test_reduced_dataset_carries_names_bounds_units_and_provenance(unchanged):
    ds = grid().assign(fixed=("time", [1, 2, 3])).assign_attrs(history="before")
    with unchanged(ds):
        out = reduce(ds, TWO)
    assert out["tas"].dims == ("band", "time")
    assert out["tas"].attrs["units"] == "K"
    assert out["band"].values.tolist() == ["low", "high"]
    np.testing.assert_array_equal(out["lat_bnds"], [[60, 63], [63, 66]])
    np.testing.assert_array_equal(out["lat"], [61.5, 64.5])
    assert out.attrs["history"].splitlines()[0] == "before"
    assert "xpermafrost.reduce" in out.attrs["history"]
    xr.testing.assert_identical(out["fixed"].drop_vars("band", errors="ignore"), ds["fixed"])


def test_float32_stays_float32():
    assert reduce(grid().astype("float32"), TWO)["tas"].dtype == np.float32


def test_weights_can_be_made_once():
    ds = grid()
    xr.testing.assert_identical(reduce(ds, TWO, weights=region_weights(ds, TWO)), reduce(ds, TWO))


class Counting:
    """A dask scheduler that counts how often it is asked to compute."""

    def __init__(self):
        self.calls = 0

    def __call__(self, graph, keys, **options):
        self.calls += 1
        return dask.get(graph, keys, **options)


def test_reduce_is_lazy_and_reads_once():
    ds = grid(n_time=12)
    scheduler = Counting()
    with dask.config.set(scheduler=scheduler):
        out = reduce(ds.chunk(time=4), TWO)
        assert scheduler.calls == 0
        computed = out.compute()
        assert scheduler.calls == 1
    xr.testing.assert_allclose(computed, reduce(ds, TWO))


@pytest.mark.parametrize("chunks", [{"lat": 2}, {"lon": 3}, {"lat": 4, "lon": 3, "time": 2}])
def test_a_split_grid_is_summed_chunk_by_chunk(chunks):
    ds = grid(n_lat=7, n_lon=5, n_time=4, south=59.5)
    ds["tas"][:, :3, 1] = np.nan
    ds["tas"][2, :4] = np.nan  # a chunk, and a region, without a valid cell
    scheduler = Counting()
    with dask.config.set(scheduler=scheduler):
        out = reduce(ds.chunk(chunks), TWO)
        assert scheduler.calls == 0
        computed = out.compute()
        assert scheduler.calls == 1
    xr.testing.assert_allclose(computed, reduce(ds, TWO), rtol=1e-14)
    assert np.isnan(computed["tas"].sel(band="low").values[2])
    assert out["tas"].chunksizes["band"] == (2,)


def test_one_variable_of_a_lazy_mean_reads_that_variable_only():
    ds = grid(n_time=12)
    read = []
    lazy = ds.chunk(time=4)
    watched = lazy["tas"].data.map_blocks(
        lambda block: read.append(1) or block, dtype="float64", meta=np.empty((0, 0, 0))
    )
    lazy["ts"] = (lazy["tas"].dims, watched)
    reduce(lazy, TWO)["tas"].compute()
    assert not read
    reduce(lazy, TWO)["ts"].compute()
    assert len(read) == 3


ORDERS = [
    ("time", "layer", "lat", "lon"),
    ("lat", "lon", "layer", "time"),
    ("lon", "lat", "layer", "time"),
    ("time", "lat", "layer", "lon"),
    ("lat", "time", "lon", "layer"),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chunks", [None, {"time": 2}, {"lat": 4, "lon": 2}])
def test_dimensions_may_come_in_any_order(order, chunks):
    values = np.random.default_rng(5).normal(size=(3, 2, 6, 4))
    values[1, 0, 2, 1] = np.nan
    da = xr.DataArray(values, dims=ORDERS[0], coords=dict(grid().coords))
    ordered = np.ascontiguousarray(da.transpose(*order).values)
    ds = xr.Dataset({"tsl": (order, ordered)}, coords=dict(grid().coords))
    out = reduce(ds if chunks is None else ds.chunk(chunks), TWO)["tsl"]
    others = [d for d in order if d not in ("lat", "lon", "time")]
    assert out.dims == ("band", *others, "time")
    weights = region_weights(ds, TWO)
    expected = da.weighted(weights).mean(("lat", "lon"))
    np.testing.assert_allclose(out, expected.transpose(*out.dims), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["int16", "bool", "uint8", ">f4", ">f8", "float16"])
def test_any_kind_of_number(dtype):
    values = np.arange(72).reshape(3, 6, 4) % 7
    ds = grid(values=values.astype(dtype))
    expected = reduce(grid(values=values.astype(dtype).astype("float64")), TWO)["tas"]
    out = reduce(ds, TWO)["tas"]
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert out.dtype == ("float32" if dtype == ">f4" else "float64")


def test_words_are_not_averaged():
    ds = grid().assign(kind=(("lat", "lon"), np.full((6, 4), "moss")))
    with pytest.raises(RegionError, match=r"\['kind'\] hold classes, dates or text.*ds.drop_vars"):
        reduce(ds, TWO)


def test_threads_and_long_tails_give_the_same_bits():
    """Large enough for threads: every region, time and layout equals a sum by hand."""
    values = np.random.default_rng(6).normal(265, 5, (240, 60, 40)).astype("float32")
    values[values < 257] = np.nan
    ds = grid(60, 40, step=0.1, n_time=240, values=values)
    out = reduce(ds, TWO)["tas"]
    w = region_weights(ds, TWO).values
    valid = ~np.isnan(values)
    mass = np.einsum("rij,tij->rt", w, valid)
    total = np.einsum("rij,tij->rt", w, np.where(valid, values, 0).astype("float64"))
    np.testing.assert_allclose(out, (total / mass).astype("float32"), rtol=2e-7)
    tail = reduce(
        ds.assign(tas=(("lat", "lon", "time"), np.ascontiguousarray(values.transpose(1, 2, 0)))),
        TWO,
    )["tas"]
    np.testing.assert_allclose(tail, out, rtol=2e-7)
    np.testing.assert_array_equal(reduce(ds, TWO)["tas"], out)


@pytest.mark.parametrize("order", [("time", "lat", "lon"), ("lat", "lon", "time")])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_the_input_is_not_copied(order, dtype, monkeypatch):
    """Whatever the layout and the type, memory is that of a block for each thread."""
    monkeypatch.setattr(_reduce_kernels, "available_threads", lambda: 2)
    values = np.ones((200, 120, 280), dtype)
    ds = grid(120, 280, step=0.05, n_time=200, values=values).transpose(*order)
    bands = LatitudeBands((60, 63, 66))
    weights = region_weights(ds, bands)
    reduce(ds.isel(time=slice(2)), bands, weights=weights)  # compiles
    tracemalloc.start()
    out = reduce(ds, bands, weights=weights)["tas"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (out == 1).all()
    limit = 3 * weights.nbytes + 2.5 * _reduce_kernels.BLOCK
    assert limit < values.size * 4 / 2  # a copy would show
    assert peak < limit


def test_lakes_and_glaciers_are_taken_out_of_the_land():
    ds = grid(n_lat=2, n_lon=2, n_time=1, values=np.arange(4.0).reshape(1, 2, 2))
    land = ds["tas"][0] * 0 + [[1.0, 0.5], [1.0, 0.0]]
    lake = (ds["tas"][0] * 0 + [[0.0, 20.0], [100.0, 0.0]]).assign_attrs(units="%")
    glacier = (ds["tas"][0] * 0 + [[1, 0], [0, 0]]).astype(bool)
    whole = LatitudeBands((60, 62))
    plain = region_weights(ds, whole)
    weights = region_weights(ds, whole, land=land, lake=lake, glacier=glacier)
    np.testing.assert_allclose((weights / plain).values[0], [[0, 0.4], [0, 0]], rtol=1e-12)
    out = reduce(ds, whole, land=land, lake=lake.isel(lat=[1, 0]), glacier=glacier)
    assert out["tas"].item() == 1.0
    line = out.attrs["history"].splitlines()[-1]
    assert "x land fraction x (1 - lake fraction) x (1 - glacier fraction)" in line
    alone = region_weights(ds, whole, lake=lake)
    np.testing.assert_allclose((alone / plain).values[0], [[1, 0.8], [0, 1]], rtol=1e-12)
    with pytest.raises(RegionError, match=r"a lake mask needs values in 0..1"):
        reduce(ds, whole, lake=lake * 5)
    with pytest.raises(RegionError, match=r"the glacier mask needs dims \('lat', 'lon'\).*time=0"):
        reduce(ds, whole, glacier=glacier.drop_vars("time").expand_dims(time=2))
    with pytest.raises(RegionError, match="weights hold the masks already"):
        reduce(ds, whole, weights=weights, lake=lake)


def test_history_says_whether_there_was_a_land_mask():
    ds = grid()
    assert reduce(ds, TWO).attrs["history"].endswith("overlap fraction, no land mask")
    land = xr.ones_like(ds["tas"][0])
    line = reduce(ds, TWO, land=land).attrs["history"]
    assert line.endswith("cell area x overlap fraction x land fraction")
    made = reduce(ds, TWO, weights=region_weights(ds, TWO, land=land))
    assert made.attrs["history"] == line


def test_sea_surface_temperature_in_a_land_mean_is_told():
    ds = grid().rename(tas="ts").assign_attrs(mip_era="CMIP6")
    with pytest.warns(PermafrostWarning, match="'ts' of a climate model is that of the water"):
        reduce(ds, TWO)
    reduce(ds.assign(sftlf=xr.full_like(ds["ts"][0], 100.0).assign_attrs(units="%")), TWO)
    reduce(ds.assign_attrs(mip_era="none"), TWO)  # no model: no alarm


def test_weights_of_other_regions_are_refused():
    ds = grid()
    weights = region_weights(ds, TWO)
    with pytest.raises(
        RegionError, match=r"and are of \['low', 'high'\]; the regions are \['60.0-63.0N'\]"
    ):
        reduce(ds, LatitudeBands((60, 63)), weights=weights)
    with pytest.raises(RegionError, match="has a dimension 'band' already"):
        reduce(ds.expand_dims(band=2), TWO)


def test_a_rotated_grid_says_regrid_first():
    ds = grid().rename(lat="rlat", lon="rlon")
    ds = ds.assign_coords(lat=(("rlat", "rlon"), np.ones((6, 4))))
    for call in (reduce, region_weights):
        with pytest.raises(DimensionError, match=r"a rotated or curvilinear grid.*regrid\("):
            call(ds, TWO)


def test_two_cells_and_irregular_spacing():
    ds = grid(n_lat=2, n_lon=2)
    assert float(region_weights(ds, LatitudeBands((60, 62))).min()) > 0
    lat = np.array([60.0, 60.1, 61.0, 64.0])
    uneven = xr.Dataset(coords={"lat": lat, "lon": [-150.0, -140.0, -138.0]})
    np.testing.assert_allclose(cell_bounds(uneven, "lat")[:, 0], [59.95, 60.05, 60.55, 62.5])
    total = region_weights(uneven, LatitudeBands((59.95, 65.5))).sum()
    strip = LatitudeBands((59.95, 65.5), lon=(-155.0, -137.0)).area(figure="sphere")
    np.testing.assert_allclose(total, strip.item(), rtol=1e-12)


def test_bounds_a_turn_away_or_torn_at_the_seam_are_put_right():
    lon = np.array([0.0, 120.0, 240.0])
    torn = np.array([[300.0, 60.0], [60.0, 180.0], [180.0, 300.0]])  # the first is -60 to 60
    ds = xr.Dataset(coords={"lon": lon, "lon_bnds": (("lon", "bnds"), torn)})
    np.testing.assert_array_equal(cell_bounds(ds, "lon")[0], [-60.0, 60.0])
    west = ds.assign_coords(lon=[0.0, 120.0, -120.0])
    np.testing.assert_array_equal(cell_bounds(west, "lon")[2], [-180.0, -60.0])
    whole = xr.Dataset(coords={"lon": [180.0], "lon_bnds": (("lon", "bnds"), [[0.0, 360.0]])})
    np.testing.assert_array_equal(cell_bounds(whole, "lon"), [[0.0, 360.0]])
    wrong = xr.Dataset(coords={"lat": [60.0], "lat_bnds": (("lat", "bnds"), [[61.0, 62.0]])})
    with pytest.raises(RegionError, match=r"the bounds of the cell at lat 60 are \[61.0, 62.0\]"):
        cell_bounds(wrong, "lat")


def test_alaska_has_six_equal_bands():
    bands = alaska_bands()
    assert len(bands) == 6
    np.testing.assert_allclose(np.diff(bands.edges), np.diff(bands.edges)[0])
    assert bands.lon == (-168.0, -141.0)


@pytest.mark.parametrize(
    ("cut", "names", "message"),
    [
        ((60,), (), "must increase from south to north"),
        ((65, 60), (), "must increase from south to north"),
        ((60, 60), (), "must increase from south to north"),
        ((60, 95), (), r"must lie in -90..90"),
        ((60, 65, 70), ("one",), "2 bands need as many different names"),
        ((60, 65, 70), ("a", "a"), "2 bands need as many different names"),
    ],
)
def test_bands_that_make_no_sense(cut, names, message):
    with pytest.raises(RegionError, match=message):
        LatitudeBands(cut, names)


def test_names_tell_the_hemisphere():
    names = LatitudeBands((-70, -60, 0, 10)).names
    assert names == ("60.0-70.0S", "0.0-60.0S", "0.0-10.0N")
    assert LatitudeBands((-5, 5)).names == ("5.0S-5.0N",)


def points(lat, lon):
    return xr.Dataset(
        coords={"station": ["a"], "lat": ("station", [lat]), "lon": ("station", [lon])}
    )


def test_bilinear_sampling_of_a_plane_is_exact():
    ds = grid(n_time=1, values=np.zeros((1, 6, 4)))
    ds["tas"] = (2 * ds["lat"] - ds["lon"]).expand_dims(time=1)
    out = sample_points(ds, points(62.3, -147.9))["tas"]
    np.testing.assert_allclose(out.item(), 2 * 62.3 + 147.9)
    assert out.dims == ("time", "station") or set(out.dims) == {"time", "station"}
    assert out["station"].values.tolist() == ["a"]


def test_sampling_across_the_seam_of_a_global_grid():
    lon = np.arange(0.0, 360, 10)
    ds = xr.Dataset(
        {"tas": (("lat", "lon"), np.tile(np.cos(np.deg2rad(lon)), (2, 1)))},
        coords={"lat": [60.0, 65.0], "lon": lon},
    )
    expected = (np.cos(np.deg2rad(350)) + 1.0) / 2
    for asked in (-5.0, 355.0):
        np.testing.assert_allclose(sample_points(ds, points(61.0, asked))["tas"], expected)


def test_nearest_and_missing_neighbours():
    ds = grid(n_time=1, values=np.arange(24.0).reshape(1, 6, 4))
    ds["tas"][0, 0, 0] = np.nan
    at = points(60.9, -149.1)
    assert np.isnan(sample_points(ds, at)["tas"].item())  # a missing corner is not 0
    assert sample_points(ds, points(61.4, -148.6), method="nearest")["tas"].item() == 5.0


def test_a_place_outside_the_grid_is_refused():
    with pytest.raises(RegionError, match="1 of 1 places lie outside"):
        sample_points(grid(), points(80.0, -148.0))
    with pytest.raises(RegionError, match="the places need 'lat' and 'lon'"):
        sample_points(grid(), xr.Dataset(coords={"station": ["a"]}))


def test_cells_of_a_region_across_the_dateline_adjoin_over_it():
    lon = np.array([-180.0, -179.0, -178.0, 177.0, 178.0, 179.0])
    grid = xr.Dataset({"tas": (("lat", "lon"), np.ones((2, 6)))}, {"lat": [51.0, 52.0], "lon": lon})
    np.testing.assert_allclose(cell_bounds(grid, "lon"), lon[:, None] + [-0.5, 0.5])
    turned = grid.isel(lon=slice(None, None, -1))
    np.testing.assert_allclose(
        cell_bounds(turned, "lon"), turned["lon"].values[:, None] + [-0.5, 0.5]
    )
    bands = LatitudeBands((50.5, 52.5), lon=(176.5, -177.5))
    once = grid.assign_coords(lon=lon % 360).sortby("lon")
    np.testing.assert_allclose(
        region_weights(grid, bands).sum(), region_weights(once, bands).sum(), rtol=1e-12
    )


def test_weights_are_matched_by_name_never_by_number():
    ds = grid()
    weights = region_weights(ds, TWO)
    others = LatitudeBands((61, 63, 65), names=("a", "b"))
    for wrong in (weights.isel(band=[1, 0]), weights.assign_coords(band=["a", "b"])):
        with pytest.raises(RegionError, match=r"and are of .*; the regions are \['low', 'high'\]"):
            reduce(ds, TWO, weights=wrong)
    with pytest.raises(RegionError, match=r"the regions are \['a', 'b'\]"):
        reduce(ds, others, weights=weights)
    with pytest.raises(RegionError, match="weights are areas, 0 or more, none missing"):
        reduce(ds, TWO, weights=weights.where(weights > 0))
    with pytest.raises(RegionError, match="open_dataarray"):
        reduce(ds, TWO, weights=weights.to_dataset())


def test_a_grid_without_coordinates_is_not_counted_from_0():
    ds = grid().drop_vars(["lat", "lon"])
    for call in (reduce, region_weights):
        with pytest.raises(
            DimensionError, match=r"dimensions \['lat', 'lon'\] have no coordinates"
        ):
            call(ds, LatitudeBands((0, 3)))
    with pytest.raises(RegionError, match=r"latitudes in -90..90; 'lat' spans -149.5 to -146.5"):
        reduce(grid().rename(lat="lon", lon="lat"), TWO)


def test_classes_and_profiles_along_one_axis_have_no_regional_mean():
    flags = {"flag_values": [0, 1, 5], "flag_meanings": "none isolated no_data"}
    zone = grid().assign(zone=(("lat", "lon"), np.full((6, 4), 5, "int8"), flags))
    with pytest.raises(RegionError, match=r"\['zone'\] hold classes.*share of a class"):
        reduce(zone, TWO)
    with pytest.raises(DimensionError, match=r"\['z'\] have one of 'lat' and 'lon' without"):
        reduce(grid().assign(z=("lat", np.arange(6.0))), TWO)
    bounded = grid().assign(lat_bnds=(("lat", "bnds"), grid()["lat"].values[:, None] + [-0.5, 0.5]))
    assert set(reduce(bounded, TWO).data_vars) == {"tas"}
    with pytest.raises(DimensionError, match=r"of a DataArray, da.permafrost.reduce"):
        reduce(grid()["tas"], TWO)


def test_masks_on_another_turn_of_the_circle_and_masks_of_classes():
    ds = grid()
    half = xr.DataArray(
        (np.arange(24).reshape(6, 4) % 3 > 0).astype(float),
        coords={"lat": ds["lat"], "lon": ds["lon"]},
        dims=("lat", "lon"),
    )
    turned = half.assign_coords(lon=half["lon"] % 360).isel(
        lon=[2, 0, 3, 1], lat=slice(None, None, -1)
    )
    xr.testing.assert_identical(
        region_weights(ds, TWO, land=turned), region_weights(ds, TWO, land=half)
    )
    with pytest.raises(RegionError, match="look like classes"):
        region_weights(ds, TWO, land=(half * 2).astype("int8"))
    for wrong in ("lsm.nc", half.values):
        with pytest.raises(RegionError, match="a land mask is a DataArray"):
            region_weights(ds, TWO, land=wrong)


@pytest.mark.parametrize("lon", [(-168, -168), (-168, 200), (10, np.nan), -150, ("a", "b")])
def test_limits_of_longitude_that_make_no_sense(lon):
    with pytest.raises(RegionError, match="lon of bands is a western and an eastern limit"):
        LatitudeBands((60, 62), lon=lon)
    with pytest.raises(RegionError, match="must increase"):
        LatitudeBands((60, np.nan, 65))


def test_bands_that_reach_beyond_the_grid_are_told():
    with pytest.warns(PermafrostWarning, match=r"only a part lies on the grid.*'60.0-65.0N' 42 %"):
        reduce(grid(n_lat=2), LatitudeBands((60, 65)))
    # of longitudes a band may have less
    assert reduce(grid(), LatitudeBands((60, 62), lon=(-152.5, -146.5))).sizes["band"] == 1


def test_columns_in_any_order_are_the_same_cells():
    lon = np.arange(165.25, 200, 2.5)
    for places in (lon, (lon + 180) % 360 - 180, lon[::-1] - 360, np.roll(lon, 3)):
        low, high = cell_bounds(xr.Dataset(coords={"lon": places}), "lon").T
        np.testing.assert_allclose(low, places - 1.25, rtol=0, atol=1e-12)
        np.testing.assert_allclose(high, places + 1.25, rtol=0, atol=1e-12)
    with pytest.raises(RegionError, match="a meridian twice"):
        cell_bounds(xr.Dataset(coords={"lon": np.arange(0.0, 361, 10)}), "lon")


def test_sampling_over_the_dateline_stays_on_the_grid():
    lon = np.arange(165.0, 201, 2.5)
    ds = xr.Dataset(
        {"tas": (("lat", "lon"), np.tile(lon, (3, 1)))}, {"lat": [60.0, 62.0, 64.0], "lon": lon}
    )
    split = ds.assign_coords(lon=(ds["lon"] + 180) % 360 - 180).sortby("lon")
    for place, value in ((179.4, 179.4), (-179.0, 181.0), (-161.0, 199.0)):
        found = sample_points(split, points(61.0, place))["tas"].item()
        np.testing.assert_allclose(found, value)
    for nowhere in (0.0, 100.0, np.nan):  # in the gap of the circle, not between its ends
        with pytest.raises(RegionError, match=r"1 of 1 places lie outside.*no position: a"):
            sample_points(split, points(61.0, nowhere))
    single = split.assign_coords(lon=(split["lon"] + 0.1).astype("float32"))
    assert sample_points(single, points(61.0, 165.1))["tas"].item() == pytest.approx(165.0)
    # the outer half of the outermost cell belongs to the nearest one
    assert sample_points(split, points(59.2, 164.0), method="nearest")["tas"].item() == 165.0
    with pytest.raises(RegionError, match="outside the grid's cells"):
        sample_points(split, points(58.9, 164.0), method="nearest")
    with pytest.raises(UnknownNameError, match="unknown sampling 'cubic'"):
        sample_points(split, points(61.0, 179.0), method="cubic")


def test_the_form_of_the_file_that_held_the_grid_does_not_cling(tmp_path):
    ds = grid().expand_dims(scenario=np.asarray(["rcp26", "rcp85"]))
    ds.to_netcdf(tmp_path / "grid.nc")
    with xr.open_dataset(tmp_path / "grid.nc") as held:
        means = reduce(held.load(), TWO).reindex(scenario=["reference", "rcp26"])
    means.to_netcdf(tmp_path / "means.nc")
    with xr.open_dataset(tmp_path / "means.nc") as found:
        assert found["scenario"].values.tolist() == ["reference", "rcp26"]
