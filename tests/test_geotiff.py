"""GeoTIFF files: what is where, on which pixels, and what other programs see."""

from __future__ import annotations

import json
import shutil
import subprocess

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.errors import (
    DataError,
    DimensionError,
    OutputExistsError,
    RegionError,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.gis import to_geotiff
from xpermafrost.schema import layer_coords

rasterio = pytest.importorskip("rasterio")

CRS_CODES = ("EPSG:4326", "EPSG:3338", "EPSG:3995")


def field(lat, lon, *, name="alt"):
    """Latitude plus ten times the sine of the longitude: every place has its own value."""
    lat, lon = np.asarray(lat, dtype="float64"), np.asarray(lon, dtype="float64")
    values = lat[:, None] + 10 * np.sin(np.deg2rad(lon))[None, :]
    coords = {"lat": lat, "lon": lon}
    attrs = {"units": "m", "long_name": "active layer thickness"}
    return xr.DataArray(values.astype("float32"), coords, ("lat", "lon"), name, attrs)


def expected(lat, lon):
    return lat + 10 * np.sin(np.deg2rad(lon))


def alaska(**options):
    return field(np.arange(54.25, 72, 0.5), np.arange(-170.75, -140.5, 0.5), **options)


def months():
    """A projection on a grid: scenario, layer, two years of months."""
    time = pd.date_range("2085-01", periods=24, freq="MS")
    layers = {k: v for k, v in layer_coords((0, 0.07, 0.28)).items() if k != "depth_bnds"}
    coords = {"scenario": ["rcp26", "rcp85"], "time": time, **layers}
    number = xr.DataArray(
        np.arange(2 * 2 * 24).reshape(2, 2, 24), dims=("scenario", "layer", "time")
    )
    out = (number + 0.01 * alaska()).astype("float32").assign_coords(coords)
    out.attrs = {"units": "degree_Celsius", "model": "gru-1a", "standard_name": "soil_temperature"}
    return out.rename("soil_temperature")


def opened(path):
    with rasterio.open(path) as file:
        return file.read(), file.profile, file


def places(profile, crs):
    """Longitude and latitude of the middles of all pixels."""
    from pyproj import Transformer

    columns, rows = np.meshgrid(np.arange(profile["width"]), np.arange(profile["height"]))
    x, y = profile["transform"] @ (columns.ravel() + 0.5, rows.ravel() + 0.5)
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    return lon.reshape(rows.shape), lat.reshape(rows.shape)


# --- where things are ---------------------------------------------------------------------


@pytest.mark.parametrize("crs", CRS_CODES)
@pytest.mark.parametrize("turn", [0, 360])
@pytest.mark.parametrize("down", [False, True])
def test_every_value_is_where_it_belongs(crs, turn, down, tmp_path):
    da = alaska()
    da = da.assign_coords(lon=da.lon % 360 if turn else da.lon)
    da = da.isel(lat=slice(None, None, -1 if down else 1)).isel(lon=np.roll(np.arange(61), 20))
    (path,) = to_geotiff(da, tmp_path, crs=crs)
    values, profile, _ = opened(path)
    assert profile["crs"].to_epsg() == int(crs[5:])
    assert profile["transform"].e < 0 < profile["transform"].a  # north up
    assert np.isnan(profile["nodata"])
    assert profile["dtype"] == "float32"
    lon, lat = places(profile, crs)
    known = np.isfinite(values[0])
    # a quarter of a cell: an eighth of GDAL's, and the half cell at the rim
    np.testing.assert_allclose(values[0][known], expected(lat, lon)[known], atol=0.3)
    inside = (lat > 54.1) & (lat < 71.6) & (lon > -170.9) & (lon < -140.6)
    assert known[inside].all()
    outside = (lat < 53.9) | (lat > 72.1) | (lon < -171.2) | (lon > -140.3)
    assert not known[outside].any()


@pytest.mark.parametrize("crs", CRS_CODES)
def test_the_north_east_corner_lands_in_the_north_east(crs, tmp_path):
    da = alaska() * 0.0
    da[-2:, -2:] = 1.0
    (path,) = to_geotiff(da, tmp_path, crs=crs, resampling="nearest")
    values, profile, _ = opened(path)
    lon, lat = places(profile, crs)
    marked = values[0] == 1.0
    assert marked.sum() >= 2
    assert lat[marked].min() > 70.9
    assert -141.8 < lon[marked].min() < lon[marked].max() < -140.4


def test_cells_stay_as_they_are_in_their_own_system(tmp_path):
    da = alaska().assign_coords(lon=alaska().lon + 360)
    (path,) = to_geotiff(da, tmp_path)
    values, profile, file = opened(path)
    np.testing.assert_array_equal(values[0], da.values[::-1])
    assert file.bounds == pytest.approx((-171.0, 54.0, -140.5, 72.0))  # edges, not centres
    assert profile["transform"].a == pytest.approx(0.5)


def test_rows_and_columns_of_different_size(tmp_path):
    da = field(np.linspace(50, 80, 25), np.arange(20.0, 60, 2.5))
    (path,) = to_geotiff(da, tmp_path)
    _, profile, file = opened(path)
    assert profile["transform"].a == pytest.approx(2.5)
    assert profile["transform"].e == pytest.approx(-1.25)
    assert file.bounds == pytest.approx((18.75, 49.375, 58.75, 80.625))


@pytest.mark.parametrize("first", [0.0, 0.5, -180.0, -179.5])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3995"])
def test_the_whole_circle_has_no_seam(first, crs, tmp_path):
    da = field(np.arange(50.5, 90), np.arange(first, first + 359.9))
    (path,) = to_geotiff(da, tmp_path, crs=crs)
    values, profile, file = opened(path)
    lon, lat = places(profile, crs)
    assert np.isfinite(values[0][lat > 50.6]).all()
    known = np.isfinite(values[0])
    np.testing.assert_allclose(values[0][known], expected(lat, lon)[known], atol=0.7)
    if crs == "EPSG:4326":
        np.testing.assert_allclose(values[0], expected(lat, lon), atol=1e-4)
        assert file.width == 360
        assert -180.5 <= file.bounds.left <= -179.99


@pytest.mark.parametrize("crs", CRS_CODES)
@pytest.mark.parametrize("first", [160.0, 160.5])
def test_across_the_dateline(crs, first, tmp_path):
    da = field(np.arange(50.5, 70), np.arange(first, 220))
    (path,) = to_geotiff(da, tmp_path, crs=crs)
    values, profile, file = opened(path)
    lon, lat = places(profile, crs)
    inside = (lat > 51) & (lat < 69) & ((lon > 161) | (lon < -141))
    np.testing.assert_allclose(values[0][inside], expected(lat, lon)[inside], atol=0.5)
    away = (lon > -139) & (lon < 159)
    assert np.isnan(values[0][away]).all()
    if crs == "EPSG:4326":
        np.testing.assert_allclose(values[0][inside], expected(lat, lon)[inside], atol=1e-4)
        assert file.width == 360


def test_across_the_dateline_where_steps_do_not_fill_the_circle(tmp_path):
    da = field(np.arange(50.5, 70), np.arange(160.0, 220, 0.7))
    with pytest.raises(RegionError, match=r"crosses the dateline.*EPSG:3338"):
        to_geotiff(da, tmp_path)
    (path,) = to_geotiff(da, tmp_path, resolution=0.5)
    values, profile, file = opened(path)
    lon, lat = places(profile, "EPSG:4326")
    assert file.bounds[0::2] == pytest.approx((-180, 180))
    inside = (lat > 51) & (lat < 69) & ((lon > 161) | (lon < -141))
    np.testing.assert_allclose(values[0][inside], expected(lat, lon)[inside], atol=0.2)


def test_holes_stay_holes_and_nothing_becomes_zero(tmp_path):
    da = alaska() + 300
    da[10:16, 20:30] = np.nan
    for crs in CRS_CODES:
        (path,) = to_geotiff(da.rename(crs[5:]), tmp_path, crs=crs)
        values, profile, _ = opened(path)
        lon, lat = places(profile, crs)
        hole = (lat > 59.5) & (lat < 61.5) & (lon > -160.5) & (lon < -156.5)
        assert hole.any()
        assert np.isnan(values[0][hole]).all()
        assert np.nanmin(values) > 300


def test_a_hole_of_one_band_is_not_one_of_the_others(tmp_path):
    da = alaska().expand_dims(year=[1, 2]).copy()
    da[0, 10:16, 20:30] = np.nan
    (path,) = to_geotiff(da, tmp_path, crs="EPSG:3338", every="all")
    missing = np.isnan(opened(path)[0]).sum(axis=(1, 2))
    assert missing[0] > missing[1]


def test_resolution_aligns_the_pixels(tmp_path):
    (path,) = to_geotiff(alaska(), tmp_path, crs="EPSG:3338", resolution=20_000)
    transform = opened(path)[1]["transform"]
    assert (transform.a, transform.e) == (20_000, -20_000)
    assert transform.c % 20_000 == 0
    assert transform.f % 20_000 == 0
    # by default, pixels are about as large as the cells: 56 km x 25 km at 63 degrees
    (path,) = to_geotiff(alaska(name="b"), tmp_path, crs="EPSG:3338")
    assert opened(path)[1]["transform"].a == pytest.approx(37_500, rel=0.05)


def test_nearest_keeps_the_values(tmp_path):
    da = alaska()
    (path,) = to_geotiff(da, tmp_path, crs="EPSG:3338", resampling="nearest")
    found = opened(path)[0]
    assert np.isin(found[np.isfinite(found)], da.values).all()


def test_projected_data(tmp_path):
    from pyproj import CRS

    x, y = np.arange(-500e3, 500e3, 25e3), np.arange(1000e3, 2000e3, 25e3)
    da = xr.DataArray(
        np.broadcast_to(y[:, None] / 1e3, (40, 40)).astype("float32"),
        {"y": y, "x": x, "crs": xr.Variable((), 0, CRS.from_epsg(3338).to_cf())},
        ("y", "x"),
        "snd",
        {"grid_mapping": "crs", "units": "m"},
    )
    (path,) = to_geotiff(da, tmp_path, crs="EPSG:3338")
    values, _, file = opened(path)
    np.testing.assert_array_equal(values[0], da.values[::-1])
    assert file.bounds == pytest.approx((-512.5e3, 987.5e3, 487.5e3, 1987.5e3))
    (path,) = to_geotiff(da.to_dataset(), tmp_path, names="{variable}-ll.tif")
    values = opened(path)[0][0]
    rows = np.nanmean(values[5:-5], axis=1)
    assert (np.diff(rows) < 0).all()  # y falls from north to south
    with pytest.raises(DimensionError, match="write_crs"):
        to_geotiff(da.drop_vars("crs"), tmp_path)
    da["x"].attrs["units"] = "km"
    with pytest.raises(UnitsError, match="'km'"):
        to_geotiff(da, tmp_path)


# --- what a file holds --------------------------------------------------------------------


def test_a_file_per_scenario_layer_and_year_a_band_per_month(tmp_path):
    da = months()
    paths = to_geotiff(da, tmp_path)
    assert [p.name for p in paths][:3] == [
        "gru-1a_rcp26_soil_temperature_0-7cm_2085.tif",
        "gru-1a_rcp26_soil_temperature_0-7cm_2086.tif",
        "gru-1a_rcp26_soil_temperature_7-28cm_2085.tif",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)
    assert len(paths) == 8
    values, _, _ = opened(tmp_path / "gru-1a_rcp85_soil_temperature_7-28cm_2086.tif")
    wanted = da.sel(scenario="rcp85", layer=2, time="2086").transpose("time", "lat", "lon")
    np.testing.assert_array_equal(values, wanted.values[:, ::-1])
    with rasterio.open(paths[0]) as file:
        assert file.descriptions == tuple(f"2085-{m:02d}" for m in range(1, 13))
        assert file.units == ("degree_Celsius",) * 12
        tags = file.tags()
    assert tags["AREA_OR_POINT"] == "Area"
    assert tags["scenario"] == "rcp26"
    assert tags["layer"] == "0-7cm"
    assert tags["standard_name"] == "soil_temperature"
    assert "to_geotiff(crs='EPSG:4326')" in tags["history"]


@pytest.mark.parametrize(
    ("every", "names", "bands"),
    [
        ("month", ["a_2085-01.tif", "a_2085-02.tif"], 1),
        ("year", ["a_2085.tif", "a_2086.tif"], 12),
        ("all", ["a_2085-2086.tif"], 24),
    ],
)
def test_every(every, names, bands, tmp_path):
    da = months().isel(scenario=0, layer=0, drop=True).rename("a").drop_attrs()
    paths = to_geotiff(da, tmp_path, every=every)
    assert [p.name for p in paths][: len(names)] == names
    values, _, file = opened(paths[0])
    assert file.count == bands
    np.testing.assert_array_equal(values, da.values[:bands, ::-1])


def test_a_scenario_that_was_chosen_still_names_the_file(tmp_path):
    da = months().sel(scenario="rcp85", layer=2)
    assert to_geotiff(da, tmp_path)[0].name == "gru-1a_rcp85_soil_temperature_7-28cm_2085.tif"


@pytest.mark.parametrize(
    ("dims", "coords", "found"),
    [
        ({"year": 2}, {"year": [2099, 2100]}, ["alt_2099.tif", "alt_2100.tif"]),
        ({"month": 12}, {"month": np.arange(1, 13)}, ["alt.tif"]),
        ({}, {}, ["alt.tif"]),
        ({"member": 2}, {"member": [0, 1]}, ["alt_member0.tif", "alt_member1.tif"]),
        ({"member": 2}, {}, ["alt_member1.tif", "alt_member2.tif"]),
        ({"model": 2}, {"model": ["gru", "tcn"]}, ["gru_alt.tif", "tcn_alt.tif"]),
        ({"quantile": 1}, {"quantile": ["a/../b"]}, ["alt_a-..-b.tif"]),
    ],
)
def test_products_without_months(dims, coords, found, tmp_path):
    da = alaska().expand_dims(dims).assign_coords(coords)
    paths = to_geotiff(da, tmp_path)
    assert [p.name for p in paths] == found
    assert all(p.parent == tmp_path for p in paths)


def test_names_can_be_chosen(tmp_path):
    da = months().isel(time=slice(0, 12))
    paths = to_geotiff(da, tmp_path, names="{variable}.{layer}.{year}.{scenario}.tif")
    assert paths[-1].name == "soil_temperature.7-28cm.2085.rcp85.tif"
    with pytest.raises(UnknownNameError, match=r"unknown field of names 'yaer'.*'year'"):
        to_geotiff(da, tmp_path, names="{variable}_{yaer}.tif")
    with pytest.raises(UnknownNameError, match="unknown field"):
        to_geotiff(da, tmp_path, names="{variable.__class__}.tif")
    with pytest.raises(UnknownNameError, match="without folders"):
        to_geotiff(da, tmp_path, names="../{variable}.tif")
    with pytest.raises(OutputExistsError, match="more than one file, 'soil_temperature_0-7cm"):
        to_geotiff(da, tmp_path, names="{variable}_{year}.tif")


def test_a_dataset_leaves_out_what_has_no_grid(tmp_path):
    ds = alaska().to_dataset()
    ds["co2"] = ("year", [400.0, 410.0])
    ds["lat_bnds"] = (("lat", "bnds"), np.zeros((36, 2)))
    ds["glacier"] = ds["alt"] > 60
    ds["zone"] = (ds["alt"] > 60).astype("int64") * 3
    paths = to_geotiff(ds, tmp_path, crs="EPSG:3338")
    assert [p.name for p in paths] == ["alt.tif", "glacier.tif", "zone.tif"]
    values, profile, _ = opened(paths[1])
    assert (profile["dtype"], profile["nodata"]) == ("uint8", 255)
    assert set(np.unique(values)) == {0, 1, 255}
    values, profile, _ = opened(paths[2])
    assert (profile["dtype"], profile["nodata"]) == ("int32", -(2**31))
    assert set(np.unique(values)) == {0, 3, -(2**31)}  # classes are not averaged


def test_large_files_have_overviews_and_tiles(tmp_path):
    da = field(np.arange(40, 80, 0.05), np.arange(-170, -125, 0.05))
    (path,) = to_geotiff(da, tmp_path)
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2]  # until one tile of 512 x 512 is left
        assert file.profile["tiled"]
        assert file.profile["compress"] == "deflate"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert [p.name for p in tmp_path.iterdir()] == ["alt.tif"]  # nothing beside it
    assert path.stat().st_size < da.nbytes


def test_other_calendars_and_days(tmp_path):
    time = xr.date_range("2085-02-28", periods=4, freq="D", calendar="360_day", use_cftime=True)
    da = alaska().expand_dims(time=time)
    (path,) = to_geotiff(da, tmp_path)
    with rasterio.open(path) as file:
        assert file.descriptions == ("2085-02-28", "2085-02-29", "2085-02-30", "2085-03-01")
    with pytest.raises(TimeAxisError, match="must hold dates"):
        to_geotiff(da.assign_coords(time=[1, 2, 3, 4]), tmp_path)


# --- laziness and files -------------------------------------------------------------------


def test_lazy_data_are_computed_in_blocks_and_only_then(tmp_path, monkeypatch, unchanged):
    from xpermafrost import _geotiff

    da = months()
    da = da.copy(data=da.variable.chunk(time=12, scenario=1, layer=1).data)
    computed = []

    def scheduler(graph, keys, **options):
        computed.append(1)
        return dask.get(graph, keys, **options)

    monkeypatch.setattr(_geotiff, "_BATCH_BYTES", 4 * 12 * 36 * 61)
    with dask.config.set(scheduler=scheduler), unchanged(da):
        paths = to_geotiff(da, tmp_path)
        assert len(computed) == len(paths) == 8  # one file's months at a time
        computed.clear()
        with pytest.raises(OutputExistsError):
            to_geotiff(da, tmp_path)
        assert not computed
    np.testing.assert_array_equal(opened(paths[-1])[0][0], da[-1, -1, 12].values[::-1])


def test_nothing_is_overwritten_unasked_or_half_written(tmp_path):
    (path,) = to_geotiff(alaska(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match=r"1 of 2 files exist, '.*alt.tif'.*overwrite=True"):
        to_geotiff(alaska().to_dataset().assign(b=alaska() + 1), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["alt.tif"]
    to_geotiff(alaska() + 1, tmp_path, overwrite=True)
    assert path.read_bytes() != before

    def fail(block):
        raise RuntimeError("disk on fire")

    lazy = alaska().chunk()
    lazy = lazy.copy(data=lazy.data.map_blocks(fail, meta=np.zeros((0, 0))))
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="disk on fire"):
        to_geotiff(lazy, tmp_path, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["alt.tif"]
    with pytest.raises(FileNotFoundError, match="create it"):
        to_geotiff(alaska(), tmp_path / "none")


# --- bad input ----------------------------------------------------------------------------


def test_what_is_no_grid_is_refused(tmp_path):
    bands = xr.DataArray([1.0], {"band": ["a"]}, ("band",), "alt")
    with pytest.raises(DimensionError, match=r"needs a grid.*to_vector"):
        to_geotiff(bands, tmp_path)
    no_coords = xr.DataArray(np.ones((2, 2)), dims=("lat", "lon"))
    with pytest.raises(DimensionError, match="coordinates"):
        to_geotiff(no_coords, tmp_path)
    with pytest.raises(RegionError, match=r"'lat' has steps of 1 to 3"):
        to_geotiff(field([50, 51, 54], [10, 11, 12]), tmp_path)
    with pytest.raises(RegionError, match=r"'lon' has steps of 0 to"):
        to_geotiff(field([50, 51, 52], np.arange(0, 361, 10)), tmp_path)
    with pytest.raises(RegionError, match=r"are latitude and longitude swapped"):
        to_geotiff(alaska().rename(lat="lon", lon="lat"), tmp_path)
    with pytest.raises(RegionError, match="only one centre"):
        to_geotiff(field([50.0], [10.0, 11.0]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_row_with_bounds(tmp_path):
    da = field([50.0], [10.0, 11.0])
    ds = da.to_dataset().assign_coords(lat_bnds=(("lat", "bnds"), [[49.0, 51.0]]))
    (path,) = to_geotiff(ds, tmp_path)
    assert opened(path)[2].bounds == pytest.approx((9.5, 49.0, 11.5, 51.0))


def test_what_is_no_raster_is_refused(tmp_path):
    with pytest.raises(DataError, match="dayofyear"):
        to_geotiff(alaska().astype("datetime64[ns]"), tmp_path)
    with pytest.raises(DataError, match="beyond 32 bits"):
        to_geotiff(alaska().astype("int64") * 2**40, tmp_path)
    with pytest.raises(DataError, match="pixels of 1;"):
        to_geotiff(alaska(), tmp_path, crs="EPSG:3338", resolution=1)
    with pytest.raises(DataError, match="positive number"):
        to_geotiff(alaska(), tmp_path, resolution=0)
    south = field(np.arange(-89.5, 90), np.arange(0.5, 360))
    with pytest.raises(DataError, match="fewer latitudes"):
        to_geotiff(south, tmp_path, crs="EPSG:3995")
    assert not list(tmp_path.iterdir())


def test_options_are_words_that_exist(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown resampling 'cubic'"):
        to_geotiff(alaska(), tmp_path, resampling="cubic")
    with pytest.raises(UnknownNameError, match="unknown content of a file 'day'"):
        to_geotiff(alaska(), tmp_path, every="day")
    with pytest.raises(UnknownNameError, match="crs='EPSG:3338'"):
        to_geotiff(alaska(), tmp_path, crs="Alaska")


# --- other programs -----------------------------------------------------------------------


@pytest.mark.parametrize("crs", CRS_CODES)
def test_gdalinfo_agrees(crs, tmp_path):
    if shutil.which("gdalinfo") is None:
        pytest.skip("needs the program 'gdalinfo'")
    path = to_geotiff(months(), tmp_path, crs=crs)[0]
    done = subprocess.run(["gdalinfo", "-json", path], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    west = said["wgs84Extent"]["coordinates"][0]
    assert {round(lon) for lon, lat in west if crs == "EPSG:4326"} <= {-171, -140, -141}
    assert said["stac"]["proj:epsg"] == int(crs[5:])
    assert said["geoTransform"][5] < 0
    assert len(said["bands"]) == 12
    assert np.isnan(float(said["bands"][0]["noDataValue"]))
    assert said["bands"][6]["description"] == "2085-07"
    assert said["bands"][0]["unit"] == "degree_Celsius"
    assert "scale" not in said["bands"][0]


def test_rioxarray_reads_it_back(tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    da = months()
    path = to_geotiff(da, tmp_path)[0]
    with rioxarray.open_rasterio(path, masked=True) as found:
        back = found.load()
    np.testing.assert_allclose(back["y"], da["lat"].values[::-1])
    np.testing.assert_allclose(back["x"], da["lon"].values)
    np.testing.assert_array_equal(back.values, da.values[0, 0, :12][:, ::-1])
