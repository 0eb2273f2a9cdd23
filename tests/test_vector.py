"""Vector layers of regions and stations: outlines, columns, and what a GIS reads."""

from __future__ import annotations

import json

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
    UnknownNameError,
)
from xpermafrost.gis import to_vector
from xpermafrost.polygons import Polygons
from xpermafrost.regions import LatitudeBands, alaska_bands
from xpermafrost.schema import layer_coords

gpd = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")

BANDS = alaska_bands()
SUFFIXES = pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])


def projection(years=20, start="2081"):
    """Soil temperature (scenario, band, layer, time): the number of the band, and noise."""
    rng = np.random.default_rng(0)
    time = pd.date_range(start, periods=12 * years, freq="MS")
    layers = {k: v for k, v in layer_coords((0, 0.07, 0.28)).items() if k != "depth_bnds"}
    values = np.arange(6.0)[:, None, None] + rng.normal(0, 1, (2, 6, 2, time.size))
    coords = {"scenario": ["rcp26", "rcp85"], "time": time, **BANDS.coords, **layers}
    coords.pop("lat_bnds")
    attrs = {"units": "degree_Celsius", "standard_name": "soil_temperature"}
    dims = ("scenario", "band", "layer", "time")
    return xr.DataArray(values.astype("float32"), coords, dims, "soil_temperature", attrs)


def read(path):
    return gpd.read_file(path).set_index("band")


# --- columns ------------------------------------------------------------------------------


@SUFFIXES
def test_wide_has_a_row_per_band_and_decades_as_columns(suffix, tmp_path, unchanged):
    da = projection()
    with unchanged(da):
        path = to_vector(da, tmp_path / f"out{suffix}", BANDS)
    frame = read(path)
    assert frame.index.tolist() == list(BANDS.names)
    assert [c for c in frame.columns if c != "geometry"] == [
        f"soil_temperature_{scenario}_{layer}_{period}"
        for scenario in ("rcp26", "rcp85")
        for layer in ("0_7cm", "7_28cm")
        for period in ("2081_2090", "2091_2100")
    ]
    wanted = da.sel(scenario="rcp85", layer=2, time=slice("2091", "2100")).mean("time")
    found = frame["soil_temperature_rcp85_7_28cm_2091_2100"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_periods_can_be_chosen(tmp_path):
    da = projection().isel(scenario=0, layer=0, drop=True)
    periods = [("2081", "2100"), ("2085", "2085")]
    frame = read(to_vector(da, tmp_path / "a.gpkg", BANDS, periods=periods))
    assert list(frame.columns[:2]) == ["soil_temperature_2081_2100", "soil_temperature_2085"]
    wanted = da.sel(time="2085").mean("time")
    np.testing.assert_allclose(frame["soil_temperature_2085"], wanted, atol=1e-5)


def test_a_period_has_to_be_covered(tmp_path):
    da = projection()
    for periods in ([("2091", "2110")], [("2070", "2090")], [("2090", "2085")]):
        with pytest.raises(TimeAxisError, match="whole years are there from 2081 to 2100"):
            to_vector(da, tmp_path / "a.gpkg", BANDS, periods=periods)
    # half a year at either end is left out, and a month that is not there
    cut = da.isel(scenario=[0], layer=[0], time=slice(6, -1))
    frame = read(to_vector(cut, tmp_path / "a.gpkg", BANDS))
    assert [c[-9:] for c in frame.columns[:2]] == ["2082_2090", "2091_2099"]
    with pytest.raises(TimeAxisError, match=r"no whole year.*layout='long'"):
        to_vector(da.isel(time=slice(3, 14)), tmp_path / "b.gpkg", BANDS)
    assert not (tmp_path / "b.gpkg").exists()


def test_yearly_static_and_mask_variables(tmp_path):
    ds = xr.Dataset(
        {
            "alt": (("band", "year"), np.ones((6, 4)), {"units": "m"}),
            "elevation": ("band", np.arange(6.0), {"units": "m"}),
            "lithology": (("band", "lithology_class"), np.full((6, 2), 0.5)),
            "permafrost": ("band", np.array([True] * 5 + [False])),
            "co2": ("year", np.ones(4)),
        },
        coords={
            **BANDS.coords,
            "year": np.arange(2097, 2101),
            "lithology_class": ["clay", "peat & silt"],
            "basin": ("band", list("abcdef")),
        },
    )
    frame = read(to_vector(ds, tmp_path / "a.gpkg", BANDS))
    assert set(frame.columns) == {
        *("basin", "alt_2097_2100", "elevation", "lithology_clay", "lithology_peat_silt"),
        *("permafrost", "geometry"),
    }
    assert frame["permafrost"].dtype == bool
    ds["thaw"] = (("band", "year"), np.full((6, 4), np.datetime64("2001-05-01", "ns")))
    with pytest.raises(DataError, match=r"'thaw' holds datetime64.*layout='long'"):
        to_vector(ds, tmp_path / "b.gpkg", BANDS)


@SUFFIXES
def test_missing_is_null_never_zero(suffix, tmp_path):
    da = projection()
    da[0, 2, 0, 5] = np.nan
    path = to_vector(da, tmp_path / f"out{suffix}", BANDS)
    frame = read(path)
    missing = frame["soil_temperature_rcp26_0_7cm_2081_2090"].isna()
    assert missing.tolist() == [False, False, True, False, False, False]
    assert frame.drop(columns="geometry").isna().sum().sum() == 1
    if suffix == ".geojson":
        assert "NaN" not in path.read_text()
        third = json.loads(path.read_text())["features"][2]["properties"]
        assert third["soil_temperature_rcp26_0_7cm_2081_2090"] is None


@SUFFIXES
def test_long_has_a_row_per_band_scenario_layer_and_month(suffix, tmp_path):
    da = projection(years=1)
    frame = gpd.read_file(to_vector(da, tmp_path / f"out{suffix}", BANDS, layout="long"))
    assert len(frame) == 6 * 2 * 2 * 12
    assert set(frame.columns) == {
        *("band", "scenario", "layer", "time", "depth_top", "depth_bottom"),
        *("soil_temperature", "geometry"),
    }
    assert frame["time"].dtype.kind == "M"  # for the time slider
    one = frame[(frame.band == BANDS.names[3]) & (frame.scenario == "rcp85")]
    one = one[one.layer == "7-28cm"]
    assert (one.depth_bottom == 0.28).all()
    np.testing.assert_allclose(one["soil_temperature"], da[1, 3, 1], rtol=1e-6)
    assert (frame.geometry[frame.band == BANDS.names[0]] == frame.geometry[0]).all()


def test_long_of_another_calendar(tmp_path):
    time = xr.date_range("2001-02", periods=3, freq="MS", calendar="360_day", use_cftime=True)
    da = xr.DataArray(np.ones((6, 3)), {"time": time, "band": list(BANDS.names)}, ("band", "time"))
    frame = gpd.read_file(to_vector(da, tmp_path / "a.gpkg", BANDS, layout="long"))
    assert frame["time"][:3].tolist() == ["2001-02-01", "2001-03-01", "2001-04-01"]
    assert "values" in frame


def test_too_many_columns(tmp_path):
    da = projection(years=40).expand_dims(member=np.arange(300))
    with pytest.raises(DataError, match=r"4801 columns.*layout='long'"):
        to_vector(da, tmp_path / "a.gpkg", BANDS)
    ds = xr.Dataset({"a-b": ("band", np.ones(6)), "a_b": ("band", np.ones(6))}, BANDS.coords)
    with pytest.raises(DataError, match="two columns would be called 'a_b'"):
        to_vector(ds, tmp_path / "a.gpkg", BANDS)


def test_layer_and_units_are_told(tmp_path):
    import pyogrio

    da = projection()
    ds = da.to_dataset().assign_attrs(history="made")
    for suffix in (".gpkg", ".geojson"):
        info = pyogrio.read_info(to_vector(ds, tmp_path / f"soil{suffix}", BANDS))
        assert info["layer_name"] == "soil"
        assert info["crs"] == "EPSG:4326"
        about = info["layer_metadata"]["DESCRIPTION"]
        assert "soil_temperature [degree_Celsius]" in about
        assert "to_vector" in about
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["soil.geojson", "soil.gpkg"]
    metadata = pyogrio.read_info(tmp_path / "soil.gpkg")["layer_metadata"]
    assert metadata["history"].startswith("made\n")


def test_lazy_data_are_computed_once(tmp_path):
    import dask

    computed = []

    def scheduler(graph, keys, **options):
        computed.append(1)
        return dask.get(graph, keys, **options)

    da = projection()
    lazy = da.copy(data=da.variable.chunk(time=24).data)
    with dask.config.set(scheduler=scheduler):
        path = to_vector(lazy, tmp_path / "a.gpkg", BANDS)
        assert len(computed) == 1
        to_vector(lazy, tmp_path / "b.gpkg", BANDS, layout="long")
        assert len(computed) == 2
    direct = to_vector(da, tmp_path / "c.gpkg", BANDS)
    pd.testing.assert_frame_equal(read(path), read(direct), rtol=0, atol=1e-5)


# --- outlines -----------------------------------------------------------------------------


@SUFFIXES
def test_bands_are_boxes_with_vertices_along_the_parallels(suffix, tmp_path):
    frame = read(to_vector(projection(), tmp_path / f"out{suffix}", BANDS))
    for (south, north), outline in zip(
        zip(BANDS.edges[:-1], BANDS.edges[1:], strict=True), frame.geometry, strict=True
    ):
        assert outline.bounds == pytest.approx((-168.0, south, -141.0, north), abs=1e-6)
        assert len(shapely.get_coordinates(outline)) > 50
    assert frame.crs.to_epsg() == 4326
    # in Alaska Albers, neighbours share their parallel: no gap and no overlap but slivers
    flat = frame.to_crs(3338).geometry
    assert flat.union_all().area == pytest.approx(flat.area.sum(), rel=1e-6)
    assert flat.union_all().geom_type == "Polygon"


def rings(path):
    for feature in json.loads(path.read_text())["features"]:
        shape = feature["geometry"]
        polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
        yield from (ring for polygon in polygons for ring in polygon)


def test_geojson_is_that_of_rfc_7946(tmp_path):
    hole = shapely.Polygon(
        shapely.box(175, 60, 195, 70).exterior.coords,  # clockwise or not: both are given
        [shapely.box(178, 62, 190, 64).exterior.coords],
    )
    regions = Polygons(("strait", "inland"), (hole, shapely.box(200, 60, 210, 65)))
    da = xr.DataArray([1.0, 2.0], {"region": ["strait", "inland"]}, ("region",), "alt")
    path = to_vector(da, tmp_path / "out.geojson", regions)
    content = json.loads(path.read_text())
    assert "crs" not in content  # WGS84 is implied
    shapes = [feature["geometry"]["type"] for feature in content["features"]]
    assert shapes == ["MultiPolygon", "Polygon"]
    for feature in content["features"]:
        outline = shapely.from_geojson(json.dumps(feature["geometry"]))
        for polygon in getattr(outline, "geoms", [outline]):
            assert polygon.exterior.is_ccw  # right-hand rule
            assert not any(ring.is_ccw for ring in polygon.interiors)
    longitudes = np.concatenate([np.asarray(ring)[:, 0] for ring in rings(path)])
    assert np.abs(longitudes).max() <= 180.0
    assert not any(np.ptp(np.asarray(ring)[:, 0]) > 180 for ring in rings(path))
    frame = gpd.read_file(path).set_index("region")
    assert frame.geometry["strait"].area == pytest.approx(hole.area)
    assert frame.geometry["inland"].bounds == (-160.0, 60.0, -150.0, 65.0)


def test_bands_across_the_dateline_and_around_the_globe(tmp_path):
    across = LatitudeBands((50, 60), lon=(170.0, -150.0))
    da = xr.DataArray([1.0], {"band": list(across.names)}, ("band",), "alt")
    shape = read(to_vector(da, tmp_path / "a.gpkg", across)).geometry.iloc[0]
    assert sorted(part.bounds for part in shape.geoms) == [
        (-180.0, 50.0, -150.0, 60.0),
        (170.0, 50.0, 180.0, 60.0),
    ]
    around = LatitudeBands((50, 60))
    da = xr.DataArray([1.0], {"band": list(around.names)}, ("band",), "alt")
    shape = read(to_vector(da, tmp_path / "b.gpkg", around)).geometry.iloc[0]
    assert shape.bounds == (-180.0, 50.0, 180.0, 60.0)


def test_values_go_to_their_own_outline_in_any_order(tmp_path):
    shuffled = projection().isel(band=[4, 0, 2], scenario=0, layer=0, drop=True)
    frame = read(to_vector(shuffled, tmp_path / "a.gpkg", BANDS))
    assert frame.index.tolist() == [BANDS.names[k] for k in (4, 0, 2)]
    souths = [outline.bounds[1] for outline in frame.geometry]
    assert souths == pytest.approx([BANDS.edges[k] for k in (4, 0, 2)])
    assert frame.iloc[:, 0].round().tolist() == [4.0, 0.0, 2.0]


def test_names_must_be_those_of_the_regions(tmp_path):
    da = projection().isel(scenario=0, layer=0, drop=True)
    other = LatitudeBands((60, 65, 70))
    with pytest.raises(RegionError, match=r"the data have \['59.3-61.3N'.*\['60.0-65.0N'"):
        to_vector(da, tmp_path / "a.gpkg", other)
    with pytest.raises(DimensionError, match=r"'region' of the regions.*reduce"):
        to_vector(da, tmp_path / "a.gpkg", Polygons(("a",), (shapely.box(0, 0, 1, 1),)))
    with pytest.raises(RegionError, match=r"to_vector\(ds, path, regions\)"):
        to_vector(da, tmp_path / "a.gpkg")
    grid = xr.DataArray(np.ones((2, 2)), {"lat": [1, 2], "lon": [1, 2]}, ("lat", "lon"))
    with pytest.raises(RegionError, match="to_geotiff"):
        to_vector(grid, tmp_path / "a.gpkg")
    assert not list(tmp_path.iterdir())


# --- stations -----------------------------------------------------------------------------


def stations():
    return xr.Dataset(
        {"magt": (("station", "layer"), [[-2.0, -1.5], [-5.0, np.nan]], {"units": "degC"})},
        coords={
            "station": ["Yakutsk", "Жиганск"],
            "lat": ("station", [62.0, 66.8]),
            "lon": ("station", [129.7, 236.6]),
            "owner": ("station", ["a", "b"]),
            "depth_top": ("layer", [0.2, 3.2]),
            "depth_bottom": ("layer", [0.2, 3.2]),
        },
    )


@SUFFIXES
def test_stations_are_points(suffix, tmp_path):
    frame = gpd.read_file(to_vector(stations(), tmp_path / f"out{suffix}"))
    assert frame["station"].tolist() == ["Yakutsk", "Жиганск"]
    assert list(frame.columns) == ["station", "owner", "magt_20cm", "magt_320cm", "geometry"]
    assert frame.geometry.x.tolist() == pytest.approx([129.7, -123.4])
    assert frame.geometry.y.tolist() == [62.0, 66.8]
    assert frame["magt_320cm"].isna().tolist() == [False, True]


def test_stations_need_places(tmp_path):
    with pytest.raises(DimensionError, match="'lat' and 'lon' of each station"):
        to_vector(stations().drop_vars("lon"), tmp_path / "a.gpkg")
    with pytest.raises(RegionError, match="need to differ"):
        to_vector(stations().isel(station=[0, 0]), tmp_path / "a.gpkg")


# --- files --------------------------------------------------------------------------------


def test_nothing_is_overwritten_unasked_or_half_written(tmp_path, monkeypatch):
    path = to_vector(stations(), tmp_path / "a.gpkg")
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        to_vector(stations() + 1, path)
    assert path.read_bytes() == before

    def fail(*_, **__):
        raise RuntimeError("disk on fire")

    with monkeypatch.context() as patch:
        patch.setattr(gpd.GeoDataFrame, "to_file", fail)
        with pytest.raises(RuntimeError, match="disk on fire"):
            to_vector(stations(), path, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.gpkg"]
    with pytest.raises(UnknownNameError, match=r"gpkg.*geojson; got '.*a.shp'"):
        to_vector(stations(), tmp_path / "a.shp")
    with pytest.raises(UnknownNameError, match="unknown layout 'tall'"):
        to_vector(stations(), tmp_path / "b.gpkg", layout="tall")
    with pytest.raises(FileNotFoundError, match="create it"):
        to_vector(stations(), tmp_path / "none" / "a.gpkg")


def test_regions_are_whatever_as_regions_reads(tmp_path):
    frame = gpd.GeoDataFrame(
        {"name": ["one", "two"]},
        geometry=[shapely.box(-160, 60, -150, 65), shapely.box(-150, 60, -140, 65)],
        crs=4326,
    )
    frame.to_file(tmp_path / "outlines.geojson")
    alt = xr.DataArray(
        [0.5, 1.0],
        dims="region",
        coords={"region": ["one", "two"]},
        name="alt",
        attrs={"units": "m"},
    )
    forms = (
        frame,
        tmp_path / "outlines.geojson",
        dict(zip(frame["name"], frame.geometry, strict=True)),
    )
    for k, regions in enumerate(forms):
        table = gpd.read_file(to_vector(alt, tmp_path / f"{k}.gpkg", regions))
        assert table["alt"].tolist() == [0.5, 1.0]
        assert table.geometry[1].equals(frame.geometry[1])


def test_periods_are_years_as_text_or_numbers(tmp_path):
    bands = LatitudeBands((60, 65, 70))
    alt = xr.DataArray(
        np.arange(40.0).reshape(2, 20),
        dims=("band", "year"),
        coords={"band": list(bands.names), "year": np.arange(2081, 2101)},
        name="alt",
    )
    path = to_vector(alt, tmp_path / "a.gpkg", bands, periods=[(2081, 2082)])
    assert gpd.read_file(path)["alt_2081_2082"].tolist() == [0.5, 20.5]
    with pytest.raises(TimeAxisError, match="periods are pairs of a first and a last year"):
        to_vector(alt, tmp_path / "b.gpkg", bands, periods=("2081", "2090"))
