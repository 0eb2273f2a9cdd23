"""Polygons: exact overlap on the sphere, reading, repair, the dateline, and their use."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pytest
import regionmask
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost.errors import PermafrostWarning, RegionError
from xpermafrost.polygons import Polygons, ring_area
from xpermafrost.region_files import as_regions
from xpermafrost.regions import EARTH_RADIUS, LatitudeBands, alaska_bands, reduce, region_weights

DATA = Path(__file__).parents[1] / "../shared/data/regions"
#: The first study's areas of its six bands [1e5 km2].
STUDY = (2.43360, 2.64663, 2.38854, 2.2582, 2.12574, 0.67668)


def real(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PermafrostWarning)  # one borough touches itself
        return as_regions(path)


def bounds(edges):
    edges = np.asarray(edges, dtype="float64")
    return np.stack([edges[:-1], edges[1:]], axis=1)


def cells_by_shapely(geometry, lat_bounds, lon_bounds):
    """Area of the intersection with every cell: shapely cuts, each ring is integrated by itself."""

    def area(shape):
        if shape.geom_type == "Polygon":
            rings = [(shape.exterior, 1.0), *((hole, -1.0) for hole in shape.interiors)]
            return sum(s * abs(numerically(np.asarray(ring.coords))) for ring, s in rings)
        return sum(area(part) for part in getattr(shape, "geoms", ()))

    def numerically(ring):
        """-R^2 times the integral of sin(lat) d(lon), by Gauss quadrature, not by the formula."""
        nodes, weights = np.polynomial.legendre.leggauss(24)
        lon, lat = np.deg2rad(ring).T
        middle, half = (lat[1:] + lat[:-1]) / 2, np.diff(lat) / 2
        mean = (np.sin(middle[:, None] + half[:, None] * nodes) * weights).sum(axis=1) / 2
        return -(EARTH_RADIUS**2) * (np.diff(lon) * mean).sum()

    out = np.zeros((len(lat_bounds), len(lon_bounds)))
    for i, (south, north) in enumerate(np.sort(lat_bounds, axis=1)):
        for j, (west, east) in enumerate(np.sort(lon_bounds, axis=1)):
            out[i, j] = area(geometry.intersection(shapely.box(west, south, east, north)))
    return out


@st.composite
def stars(draw, *, centre=(-150.0, 64.0), reach=6.0):
    """A star-shaped polygon, with a hole of the same kind in it or without."""
    count = draw(st.integers(3, 12))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, count)) + np.linspace(0, 1e-3, count)
    # no gap of half a turn, so that the centre is inside
    angle = np.concatenate([angle, [0.0, 2.1, 4.2]])
    angle.sort()
    radius = rng.uniform(0.3, 1.0, angle.size) * reach

    def ring(scale):
        return np.stack(
            [
                centre[0] + 2 * scale * radius * np.cos(angle),
                centre[1] + scale * radius * np.sin(angle),
            ],
            axis=1,
        )

    holes = [ring(draw(st.floats(0.05, 0.7)))] if draw(st.booleans()) else []
    outer = ring(1.0)[:: draw(st.sampled_from([1, -1]))]
    return shapely.Polygon(outer, holes)


@st.composite
def lines(draw, low, high):
    inner = draw(st.lists(st.floats(low + 0.01, high - 0.01), min_size=1, max_size=6, unique=True))
    edges = np.unique(np.round([low, *inner, high], 6))
    return edges[:: draw(st.sampled_from([1, -1]))]


@settings(max_examples=60, deadline=None)
@given(stars(), lines(55.0, 71.0), lines(-164.0, -137.0), st.sampled_from([0.0, 360.0, -360.0]))
def test_overlap_equals_shapely_cell_by_cell(star, lat, lon, turn):
    """Irregular cells, either order, any cut of the circle; grid and polygon partly apart."""
    lat_bounds, lon_bounds = bounds(lat), bounds(lon)
    out = Polygons(("star",), (star,)).overlap(lat_bounds, lon_bounds + turn)[0]
    expected = cells_by_shapely(star, lat_bounds, lon_bounds)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9 * expected.max() + 1.0)
    assert (out >= 0).all()


@settings(max_examples=40, deadline=None)
@given(stars(), st.floats(0.05, 3.0), st.floats(0.0, 1.0))
def test_the_cells_share_the_polygon_out_completely(star, step, shift):
    lat = np.arange(45.0 + shift, 84.0, step)
    lon = np.arange(-175.0 + shift, -125.0, step)
    regions = Polygons(("star",), (star,))
    total = regions.overlap(bounds(lat), bounds(lon)).sum()
    np.testing.assert_allclose(total, regions.area(figure="sphere").item(), rtol=1e-11)


@settings(max_examples=30, deadline=None)
@given(stars(), st.floats(58.0, 70.0), st.floats(-160.0, -140.0))
def test_parts_add_up_to_the_whole(star, lat, lon):
    """Cut in two along a slanted line; the two parts and the whole agree in every cell."""
    line = shapely.LineString([(lon - 40, lat - 17), (lon + 40, lat + 17)])
    parts = tuple(shapely.ops.split(star, line).geoms)
    grid = bounds(np.linspace(50, 80, 25)), bounds(np.linspace(-180, -120, 31))
    whole = Polygons(("star",), (star,)).overlap(*grid)[0]
    cut = Polygons(tuple(map(str, range(len(parts)))), parts)
    np.testing.assert_allclose(cut.overlap(*grid).sum(axis=0), whole, rtol=1e-9, atol=1.0)
    np.testing.assert_allclose(cut.area().sum(), Polygons(("star",), (star,)).area().item())


def test_bands_as_polygons_are_the_bands():
    lat, lon = bounds(np.arange(57.1, 74.0, 0.3)), bounds(np.arange(-180.0, 180.1, 1.25))
    for bands in (
        alaska_bands(),
        LatitudeBands((-90, 0, 60.3, 90)),
        LatitudeBands((60, 70), lon=(170, -150)),
    ):
        drawn = Polygons(bands.names, bands.geometries)
        for turn in (0.0, 180.0):
            ours, theirs = drawn.overlap(lat, lon + turn), bands.overlap(lat, lon + turn)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * theirs.max())
            assert ((ours > 0) == (theirs > 1e-9 * theirs.max())).all()
        np.testing.assert_allclose(drawn.area(), bands.area(), rtol=1e-12)


def test_areas_that_are_known():
    """An octant, a zone, and a triangle with one edge along a meridian, by quadrature."""
    octant = Polygons(("octant",), (shapely.box(0, 0, 90, 90),))
    np.testing.assert_allclose(
        octant.area(figure="sphere").item(), np.pi / 2 * EARTH_RADIUS**2, rtol=1e-14
    )
    assert octant.area().attrs["units"] == "m2"
    lat = np.deg2rad((np.arange(100_000) + 0.5) / 100_000 * 10 + 60)
    width = np.deg2rad(np.rad2deg(lat) - 60.0)
    by_strips = EARTH_RADIUS**2 * (np.cos(lat) * width).sum() * np.deg2rad(10) / 100_000
    triangle = Polygons(("t",), (shapely.Polygon([(0, 60), (10, 70), (0, 70)]),))
    np.testing.assert_allclose(triangle.area(figure="sphere").item(), by_strips, rtol=1e-9)
    flat = np.array([[0, 60], [1, 60], [1, 60 + 1e-12], [0, 60 + 1e-12], [0, 60]])
    expected = EARTH_RADIUS**2 * np.deg2rad(1) * np.cos(np.deg2rad(60)) * np.deg2rad(1e-12)
    np.testing.assert_allclose(ring_area(flat, "sphere"), expected, rtol=0.02)


def test_a_polygon_inside_one_cell_and_a_cell_inside_a_polygon():
    small = shapely.Polygon([(-150.2, 64.1), (-150.1, 64.1), (-150.15, 64.2)])
    wide = shapely.box(-155, 60, -145, 70)
    regions = Polygons(("small", "wide"), (small, wide))
    out = regions.overlap(bounds([64.0, 65.0]), bounds([-151.0, -150.0]))
    np.testing.assert_allclose(out[0, 0, 0], regions.area(figure="sphere")[0], rtol=1e-10)
    cell = EARTH_RADIUS**2 * np.deg2rad(1) * np.diff(np.sin(np.deg2rad([64, 65])))[0]
    np.testing.assert_allclose(out[1, 0, 0], cell, rtol=1e-14)
    away = regions.overlap(bounds([64.0, 65.0]), bounds([20.0, 21.0]))
    assert (away == 0).all()  # exactly: no weight from rounding


def test_touching_cells_get_nothing():
    box = Polygons(("box",), (shapely.box(-150, 60.1, -149.3, 61.7),))
    out = box.overlap(bounds(np.arange(59.5, 62.6, 0.1)), bounds(np.arange(-151.0, -148.05, 0.1)))
    assert (out > 0).sum() == 16 * 7
    np.testing.assert_allclose(out.sum(), box.area(figure="sphere").item(), rtol=1e-12)


def test_gaps_and_overlaps_between_cells():
    box = Polygons(("box",), (shapely.box(-150, 60, -148, 62),))
    apart = np.array([[60.0, 60.5], [61.0, 61.5]])
    lon = np.array([[-150.0, -148.0]])
    strips = LatitudeBands((60, 60.5, 61, 61.5), lon=(-150, -148)).area(figure="sphere").values
    np.testing.assert_allclose(box.overlap(apart, lon)[0, :, 0], strips[[0, 2]], rtol=1e-12)
    over = np.array([[60.0, 61.0], [60.5, 61.5]])
    sums = [strips[:2].sum(), strips[1:].sum()]
    np.testing.assert_allclose(box.overlap(over, lon)[0, :, 0], sums, rtol=1e-12)


# --- the dateline and the poles -----------------------------------------------------------------

TWO_PARTS = shapely.MultiPolygon([shapely.box(170, 52, 180, 56), shapely.box(-180, 52, -165, 56)])
BEYOND = shapely.box(170, 52, 195, 56)
BEHIND = shapely.box(-190, 52, -165, 56)


@pytest.mark.parametrize("west", [-180.0, 0.0, 90.0])
def test_one_region_drawn_in_three_ways_across_the_dateline(west):
    regions = Polygons(("parts", "beyond", "behind"), (TWO_PARTS, BEYOND, BEHIND))
    out = regions.overlap(bounds(np.arange(50, 59, 0.7)), bounds(west + np.arange(0, 361, 2.5)))
    np.testing.assert_allclose(out[1], out[0], rtol=1e-12, atol=1.0)
    np.testing.assert_allclose(out[2], out[0], rtol=1e-12, atol=1.0)
    np.testing.assert_allclose(out.sum(axis=(1, 2)), regions.area(figure="sphere"), rtol=1e-12)
    np.testing.assert_allclose(regions.area(), regions.area()[0], rtol=1e-14)


def test_an_edge_across_more_than_half_the_globe_is_refused():
    torn = shapely.Polygon([(170, 52), (-165, 52), (-165, 56), (170, 56)])
    with pytest.raises(RegionError, match=r"'Atka' has an edge from 170 to -165 degrees_east.*360"):
        Polygons(("Atka",), (torn,))
    cure = shapely.transform(torn, lambda xy: np.column_stack([xy[:, 0] % 360, xy[:, 1]]))
    np.testing.assert_allclose(
        Polygons(("Atka",), (cure,)).area(), Polygons(("b",), (BEYOND,)).area().item()
    )
    other = Polygons(("round",), (torn.segmentize(90),)).area().item()
    np.testing.assert_allclose(other / Polygons(("b",), (BEYOND,)).area().item(), 335 / 25)


@pytest.mark.parametrize("crs", [3338, 3995, 3571])
def test_projected_outlines_come_back_whole(crs):
    """Reprojection tears rings at the dateline; read here, the region has its own area."""
    frame = geopandas.GeoDataFrame(
        {"name": ["Aleut"]}, geometry=[BEYOND.segmentize(0.02)], crs=4326
    )
    regions = as_regions(frame.to_crs(crs))
    np.testing.assert_allclose(regions.area(), Polygons(("b",), (BEYOND,)).area().item(), rtol=1e-5)
    grid = bounds(np.arange(51, 58, 0.5)), bounds(np.arange(-180, 181, 1.0))
    ours = regions.overlap(*grid)
    np.testing.assert_allclose(
        ours, Polygons(("b",), (BEYOND,)).overlap(*grid), atol=3e-5 * ours.max()
    )


def test_a_projected_ring_around_the_pole_holds_the_pole():
    cap = shapely.Point(0, 0).buffer(2_000_000, quad_segs=400)
    ring = cap.difference(shapely.Point(700_000, 300_000).buffer(100_000))
    frame = geopandas.GeoSeries([cap, ring], index=["cap", "holed"], crs=3995)
    regions = as_regions(frame)
    edge = geopandas.GeoSeries([shapely.Point(2_000_000, 0)], crs=3995).to_crs(4326)[0].y
    expected = 2 * np.pi * EARTH_RADIUS**2 * (1 - np.sin(np.deg2rad(edge)))
    np.testing.assert_allclose(regions.area(figure="sphere")[0], expected, rtol=1e-4)
    hole = regions.area(figure="sphere")[0] - regions.area(figure="sphere")[1]
    np.testing.assert_allclose(hole / 1e6, np.pi * 100**2, rtol=0.06)  # scale 0.97 there
    out = regions.overlap(bounds(np.arange(60, 91, 1.0)), bounds(np.arange(0, 361, 5.0)))
    np.testing.assert_allclose(out.sum(axis=(1, 2)), regions.area(figure="sphere"), rtol=1e-10)
    assert (out[0, -1] > 0).all()


def test_long_projected_edges_are_curved_before_they_are_read():
    box = shapely.box(-400_000, 1_200_000, 400_000, 2_000_000)
    series = geopandas.GeoSeries([box], index=["box"], crs=3338)
    # equal-area: the area in the plane is that on the ellipsoid
    np.testing.assert_allclose(as_regions(series).area(), box.area, rtol=1e-5)
    fine = series.segmentize(1000).to_crs(4326)
    np.testing.assert_allclose(as_regions(series).area(), as_regions(fine).area(), rtol=1e-6)


# --- reading -------------------------------------------------------------------------------------

YUKON, TANANA = shapely.box(-165, 61, -140, 66), shapely.box(-152, 63, -142, 65.5)


@pytest.fixture
def frame():
    names = {"name": ["Yukon", "Tanana"], "code": [4, 7]}
    return geopandas.GeoDataFrame(names, geometry=[YUKON, TANANA], crs=4326)


@pytest.mark.parametrize("suffix", ["geojson", "gpkg", "shp"])
def test_files_frames_mappings_and_regionmask_are_one(frame, suffix, tmp_path):
    path = tmp_path / f"basins.{suffix}"
    frame.to_file(path)
    wanted = Polygons(("Yukon", "Tanana"), (YUKON, TANANA))
    masks = regionmask.Regions([YUKON, TANANA], names=["Yukon", "Tanana"], abbrevs=["YU", "TA"])
    for obj in (path, str(path), frame, {"Yukon": YUKON, "Tanana": TANANA}, masks, wanted):
        got = as_regions(obj)
        assert got.names == wanted.names
        assert all(a.equals(b) for a, b in zip(got.geometries, wanted.geometries, strict=True))
    assert as_regions(masks, names="abbrevs").names == ("YU", "TA")
    assert as_regions(frame, names="code", dim="basin").names == ("4", "7")
    assert as_regions(frame, names=["a", "b"]).names == ("a", "b")
    assert as_regions(frame.set_index("name").geometry).names == wanted.names
    bands = alaska_bands()
    assert as_regions(bands) is bands
    assert as_regions(wanted) is wanted


def test_reprojected_frames(frame):
    """Geographic systems other than WGS84 keep straight edges and longitudes beyond 180."""
    nad83 = geopandas.GeoDataFrame({"name": ["b"]}, geometry=[BEYOND], crs=4269)
    np.testing.assert_allclose(as_regions(nad83).area(), Polygons(("b",), (BEYOND,)).area().item())
    albers = as_regions(
        geopandas.GeoDataFrame(
            {"NAME": ["t"]}, geometry=[TANANA.segmentize(0.01)], crs=4326
        ).to_crs(3338)
    )
    np.testing.assert_allclose(albers.area(), Polygons(("t",), (TANANA,)).area().item(), rtol=1e-6)


def written(frame, folder, name, **layers):
    for layer in layers or {"basins": None}:
        frame.to_file(folder / name, layer=layer)
    return folder / name


def text_file(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def cut_short(frame, folder):
    path = written(frame, folder, "cut.gpkg")
    path.write_bytes(path.read_bytes()[:3000])
    return path


NOTHING = json.dumps({"type": "FeatureCollection", "features": []})
ALBERS = {"crs": 3338, "allow_override": True}
#: What is passed (made of a good frame and a folder), options, and what the error says.
WRONG = {
    "no CRS": (
        lambda f, d: f.set_crs(None, allow_override=True),
        {},
        r"no coordinate reference.*set_crs\(4326\)",
    ),
    "degrees in metres": (lambda f, d: f.set_crs(**ALBERS), {}, r"look like degrees .*EPSG:3338"),
    "off the map": (
        lambda f, d: f.set_index("name").geometry.set_crs(**ALBERS).scale(1e9, 1e9),
        {},
        "needs longitudes and latitudes",
    ),
    "no file": (lambda f, d: d / "none.geojson", {}, "there is no file '.*none.geojson'"),
    "prose": (lambda f, d: text_file(d, "a.geojson", "no map"), {}, "a.geojson' cannot be read as"),
    "truncated": (cut_short, {}, r"cut.gpkg' cannot be read as polygons"),
    "no features": (
        lambda f, d: text_file(d, "e.geojson", NOTHING),
        {},
        "e.geojson' holds no poly",
    ),
    "two layers": (
        lambda f, d: written(f, d, "many.gpkg", one=1, two=2),
        {},
        r"has the layers \['one', 'two'\]; choose one",
    ),
    "no column": (
        lambda f, d: f.drop(columns="name"),
        {},
        r"no 'name' among \['code'\]; type xp.as_regions",
    ),
    "wrong column": (lambda f, d: f, {"names": "nome"}, r"no column 'nome' .*\['name', 'code'\]"),
    "gap in names": (lambda f, d: f.assign(name=["a", None]), {}, r"'name' is empty in 1 rows"),
    "twins": (
        lambda f, d: f.assign(name=["a", "a"]),
        {},
        r"\['a'\] occur more than once.*dissolve",
    ),
    "too few names": (lambda f, d: f, {"names": ["a"]}, r"2 polygons need as many names"),
    "numbers as names": (lambda f, d: {1: YUKON}, {}, "all of them text"),
    "nothing": (lambda f, d: {}, {}, "0 polygons need as many names"),
    "two namings": (lambda f, d: {"a": YUKON}, {"names": ["b"]}, "keys of a mapping are the names"),
    "a line": (lambda f, d: {"a": YUKON.exterior}, {}, "'a' is a LinearRing"),
    "text": (lambda f, d: {"a": YUKON.wkt}, {}, "'a' is a str"),
    "none": (lambda f, d: {"a": None}, {}, "'a' is a NoneType"),
    "empty": (lambda f, d: {"a": shapely.Polygon()}, {}, "polygon of 'a' is empty"),
    "flat": (
        lambda f, d: {"a": shapely.Polygon([(0, 60), (1, 60), (1, 60)])},
        {},
        "polygon of 'a' has no area",
    ),
    "swapped": (lambda f, d: {"a": shapely.box(61, -165, 66, -140)}, {}, "y -165 to -140.*swapped"),
    "metres": (lambda f, d: {"a": shapely.box(-3e5, 1e6, 3e5, 2e6)}, {}, "needs longitudes and"),
    "bands": (lambda f, d: alaska_bands(), {"dim": "basin"}, "LatitudeBands has names and a dim"),
    "a number": (lambda f, d: 42, {}, "regions are xp.LatitudeBands.*got int"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_no_region_says_why(case, frame, tmp_path):
    make, options, message = WRONG[case]
    obj = make(frame, tmp_path)
    with pytest.raises(RegionError, match=message):
        as_regions(obj, **options)


def test_regionmask_names_are_names_or_abbrevs(frame):
    masks = regionmask.Regions([YUKON], names=["Yukon"], abbrevs=["YU"])
    with pytest.raises(RegionError, match="'names' or 'abbrevs', not 'code'"):
        as_regions(masks, names="code")


def test_an_outline_that_crosses_itself_is_repaired_and_told():
    bow = shapely.Polygon([(-150, 60), (-148, 62), (-148, 60), (-150, 62)])
    with pytest.warns(
        PermafrostWarning, match=r"'bow' is invalid \(Self-intersection\[-149 61\]\)"
    ):
        regions = as_regions({"bow": bow})
    assert regions.geometries[0].is_valid
    two = [
        shapely.Polygon([(-150, 60), (-149, 61), (-150, 62)]),
        shapely.Polygon([(-148, 60), (-148, 62), (-149, 61)]),
    ]
    expected = Polygons(("w", "e"), tuple(two)).area().sum()
    np.testing.assert_allclose(regions.area().item(), expected, rtol=1e-12)


def test_orientation_and_height_do_not_matter():
    hole = shapely.box(-150, 62, -149, 63)
    shapes = []
    for turn in (1, -1):
        outer = np.asarray(YUKON.exterior.coords)[::turn]
        shapes.append(shapely.Polygon(outer, [np.asarray(hole.exterior.coords)[::turn]]))
        shapes.append(shapely.Polygon(outer, [np.asarray(hole.exterior.coords)[::-turn]]))
    shapes.append(shapely.force_3d(shapes[0], 100.0))
    areas = Polygons(tuple("abcde"), tuple(shapes)).area()
    np.testing.assert_allclose(areas, areas[0], rtol=1e-14)
    assert areas[0] < Polygons(("y",), (YUKON,)).area()[0]


def test_regions_are_values():
    one, two = (Polygons(("Yukon",), (shapely.box(-165, 61, -140, 66),)) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert len(one) == 1
    assert repr(one) == "Polygons(names=('Yukon',), dim='region')"
    assert dataclasses.replace(one, dim="basin").area().dims == ("basin",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.dim = "other"


# --- use -----------------------------------------------------------------------------------------


def grid(south=58.0, north=74.0, west=-170.0, east=-136.0, step=0.5, n_time=3):
    lat = np.arange(south + step / 2, north, step)
    lon = np.arange(west + step / 2, east, step)
    values = np.random.default_rng(0).normal(265, 5, (n_time, lat.size, lon.size))
    coords = {"time": np.arange(n_time), "lat": lat, "lon": lon}
    return xr.Dataset({"tas": (("time", "lat", "lon"), values, {"units": "K"})}, coords=coords)


def test_reduce_takes_polygons_in_every_form(frame, tmp_path):
    ds = grid()
    path = tmp_path / "basins.gpkg"
    frame.to_file(path)
    out = reduce(ds, as_regions(frame))
    for obj in (frame, path, {"Yukon": YUKON, "Tanana": TANANA}):
        xr.testing.assert_identical(reduce(ds, obj), out)
    assert out["tas"].dims == ("region", "time")
    assert out["region"].values.tolist() == ["Yukon", "Tanana"]
    np.testing.assert_allclose(out["lat"], [63.5, 64.25])
    np.testing.assert_allclose(out["lon"], [-152.5, -147.0])
    weights, area = region_weights(ds, frame), as_regions(frame).area(figure="sphere")
    np.testing.assert_allclose(weights.sum(("lat", "lon")), area, rtol=1e-11)
    expected = (ds["tas"] * weights).sum(("lat", "lon")) / weights.sum(("lat", "lon"))
    np.testing.assert_allclose(out["tas"], expected.transpose("region", "time"), rtol=1e-12)
    box = reduce(ds, LatitudeBands((61, 66), lon=(-165, -140)))
    np.testing.assert_allclose(out["tas"].sel(region="Yukon"), box["tas"][0], rtol=1e-12)


def test_overlapping_regions_are_allowed_and_reported(frame):
    regions = as_regions(frame)
    shared = regions.overlaps()
    assert shared.dims == ("region", "other_region")
    tanana = regions.area().sel(region="Tanana").item()
    np.testing.assert_allclose(shared, [[0, tanana], [tanana, 0]], rtol=1e-12)
    line = reduce(grid(), regions).attrs["history"]
    assert line.endswith(f"'Yukon' and 'Tanana' overlap by {tanana / 1e6:.4g} km2")
    apart = Polygons(("a", "b"), (shapely.box(0, 60, 1, 61), shapely.box(1 - 1e-9, 60, 2, 61)))
    assert float(apart.overlaps().max()) == 0
    across = Polygons(("a", "b"), (TWO_PARTS, BEYOND))
    np.testing.assert_allclose(across.overlaps()[0, 1], across.area()[0], rtol=1e-12)


def test_a_polygon_off_the_grid_is_named(frame):
    away = {"Yukon": YUKON, "Lena": shapely.box(120, 60, 130, 70)}
    with pytest.raises(
        RegionError, match=r"regions \['Lena'\] meet no cell of the grid \(lat 58.25"
    ):
        reduce(grid(), away)


def test_a_polygon_partly_on_the_grid_is_told():
    with pytest.warns(PermafrostWarning, match=r"means are of that part: 'Yukon' 40 %"):
        reduce(grid(west=-150.0), {"Yukon": YUKON})


def test_clip(frame):
    cut = LatitudeBands((60, 62, 64, 66), lon=(-160, -150)).clip(frame)
    assert cut.dim == "band"
    assert [g.bounds for g in cut.geometries] == [
        (-160.0, 61.0, -150.0, 62.0),
        (-160.0, 62.0, -150.0, 64.0),
        (-160.0, 64.0, -150.0, 66.0),
    ]
    with pytest.raises(RegionError, match=r"the bands \['68.0-70.0N'\] lie outside the outline"):
        LatitudeBands((60, 68, 70)).clip(YUKON)
    across = LatitudeBands((50, 53, 58)).clip(TWO_PARTS)
    np.testing.assert_allclose(across.area().sum(), Polygons(("b",), (BEYOND,)).area().item())
    nested = LatitudeBands((60, 70)).clip(LatitudeBands((65, 80), lon=(-160, -150)))
    np.testing.assert_allclose(
        nested.area().values, LatitudeBands((65, 70), lon=(-160, -150)).area().values
    )


@pytest.mark.parametrize("make", [alaska_bands, lambda: Polygons(("A", "B"), (TWO_PARTS, BEYOND))])
def test_plot_draws_every_region_in_one_piece(make):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    regions = make()
    ax = regions.plot()
    assert {t.get_text() for t in ax.texts} == set(regions.names)
    low, high = ax.get_xlim()
    assert high - low < 40  # not the whole circle
    assert regions.plot(ax) is ax
    plt.close(ax.figure)


# --- real outlines -------------------------------------------------------------------------------


def test_the_study_bands_within_the_state_have_the_area_of_an_ellipsoid():
    """Two independent ways, both on WGS84: geodesic polygons (pyproj), and Alaska Albers.

    The sphere of the mean radius, on which the weights are, is 0.6 to 0.7 % smaller there.
    """
    from pyproj import Geod

    bands, state = alaska_bands(), real("alaska_state.geojson")
    cut = bands.clip(state)
    dense = [shapely.segmentize(g, 0.02) for g in cut.geometries]  # parallels are no geodesics
    geod = Geod(ellps="WGS84")
    rings = [shapely.orient_polygons(g) for g in dense]
    geodesic = [geod.geometry_area_perimeter(g)[0] for g in rings]
    albers = geopandas.GeoSeries(dense, crs=4326).to_crs(3338).area.values
    for independent in (geodesic, albers):
        np.testing.assert_allclose(cut.area(), independent, rtol=1e-5)  # asked: 0.005
    sphere = cut.area(figure="sphere") / cut.area()
    np.testing.assert_allclose(sphere, np.linspace(0.9943, 0.9927, 6), atol=2e-4)
    lat, lon = np.arange(59.0, 72, 0.1), np.arange(-168.5, -140, 0.1)
    weights = cut.overlap(bounds(lat), bounds(lon)).sum(axis=(1, 2))
    np.testing.assert_allclose(weights, cut.area(figure="sphere"), rtol=1e-11)
    # the study's own areas, from an unknown coast and projection, agree in total only
    assert abs(cut.area().sum().item() / (1e11 * sum(STUDY)) - 1) < 0.05


def test_boroughs_on_a_quarter_degree_grid_keep_their_area():
    boroughs = real("alaska_boroughs.geojson")
    assert len(boroughs) == 29
    for west in (-180.0, 0.0):
        lat, lon = np.arange(51.125, 72, 0.25), np.arange(west + 0.125, west + 360, 0.25)
        weights = region_weights(xr.Dataset(coords={"lat": lat, "lon": lon}), boroughs)
        np.testing.assert_allclose(
            weights.sum(("lat", "lon")), boroughs.area(figure="sphere"), rtol=1e-11
        )
    assert not boroughs.overlapping
    state = real("alaska_state.geojson")
    np.testing.assert_allclose(boroughs.area().sum(), state.area().item(), rtol=1e-5)


def test_the_state_is_drawn_in_one_piece():
    import matplotlib

    matplotlib.use("Agg")
    ax = real("alaska_state.geojson").plot()
    low, high = ax.get_xlim()
    assert high - low < 65
    matplotlib.pyplot.close(ax.figure)


def frame_of(name, geometry, crs):
    return geopandas.GeoDataFrame({"name": [name]}, geometry=[geometry], crs=crs)


def test_another_datum_keeps_each_edge_on_its_way_round():
    wide = geopandas.GeoDataFrame(
        {"name": ["w"]}, geometry=[shapely.box(-170, 60, 170, 70)], crs=4269
    )
    with pytest.raises(RegionError, match=r"an edge from .* more than half the circle"):
        as_regions(wide)  # not its complement across the dateline
    whole = geopandas.GeoDataFrame(
        {"name": ["w"]}, geometry=[shapely.box(-180, 60, 180, 70)], crs=4269
    )
    bands = LatitudeBands((60, 70))
    np.testing.assert_allclose(as_regions(whole).area(), bands.area(), rtol=1e-9)
    over = shapely.union_all([shapely.box(175, 60, 180, 70), shapely.box(-180, 60, -170, 70)])
    old = frame_of("o", over, 4267)  # NAD27 shifts 180
    np.testing.assert_allclose(as_regions(old).area(), as_regions({"o": over}).area(), rtol=1e-3)


def test_a_ring_around_the_pole_loses_its_hole_all_round():
    inner, outer = (shapely.Point(0, 0).buffer(r, quad_segs=64) for r in (1e6, 2e6))
    frame = geopandas.GeoDataFrame(
        {"name": ["inner", "outer", "ring"]},
        geometry=[inner, outer, outer.difference(inner)],
        crs=3995,
    )
    area = as_regions(frame).area().values
    np.testing.assert_allclose(area[2], area[1] - area[0], rtol=1e-9)


def test_values_that_are_no_shapely_geometries():
    frame = frame_of("a", shapely.box(0, 60, 1, 61), 4326)
    with pytest.raises(RegionError, match="'a' is a GeoDataFrame"):
        as_regions({"a": frame})
