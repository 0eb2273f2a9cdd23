"""Requests for forcing data: what would be sent, and what is done with the answer.

Nothing leaves this machine: payloads are compared with recorded ones, clients are stand-ins,
and the archive of CMIP is a server on localhost that gives a recorded answer.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import threading
import types
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xpermafrost as xp
from xpermafrost import _downloads, recipes
from xpermafrost.errors import (
    DataError,
    MissingDependencyError,
    OutputExistsError,
    PermafrostWarning,
    RegionError,
    UnknownNameError,
)
from xpermafrost.recipes import _cds, _earthengine, _era5land, _esgf
from xpermafrost.recipes._era5land import Box, boxes
from xpermafrost.sources import FAMILIES
from xpermafrost.sources._cmip_files import open_cmip
from xpermafrost.sources._open import open_dataset

RECORDED = Path(__file__).parent / "data" / "recipes"
ALASKA = xp.alaska_bands()
NETCDF = b"\x89HDF\r\n\x1a\n and so on"


def recorded(name):
    return json.loads((RECORDED / f"{name}.json").read_text())


def as_sent(request):
    return json.loads(json.dumps(request.payload))


REQUESTS = {
    "cds_monthly": lambda: recipes.cds_era5_land(
        ALASKA, range(2001, 2024), ["tas", "pr", "snd", "tsl"]
    ),
    "cds_hourly_dateline": lambda: recipes.cds_era5_land(
        (72, 170, 50, -130),
        [2020],
        ["tas", "pr"],
        product="hourly",
        format="grib",
        months=[2],
        max_fields=1400,
    ),
    "earthengine": lambda: recipes.earthengine(
        ALASKA, range(2001, 2024), ["tas", "pr", "mrsol", "snw"]
    ),
    "esgf_cmip6_bridge": lambda: recipes.esgf(
        "IPSL-CM6A-LR", ["historical", "ssp585"], ["tas", "mrsol", "snd", "sftlf"], grid="gr"
    ),
    "esgf_cmip5_solr": lambda: recipes.esgf(
        "IPSL-CM5A-MR",
        ["historical", "rcp85"],
        ["tas", "mrsol", "elevation"],
        project="CMIP5",
        node="dkrz",
    ),
}


@pytest.mark.parametrize("name", list(REQUESTS))
def test_payloads_are_the_recorded_ones(name):
    assert as_sent(REQUESTS[name]()) == recorded(name)


# -- names, years, boxes ------------------------------------------------------------------


@pytest.mark.parametrize("canonical", list(_era5land.LONG_NAMES))
def test_names_are_those_that_standardize_reads_back(canonical):
    stored = {
        family: {name: rule.canonical for rule in FAMILIES[family].rules for name in rule.names}
        for family in ("era5-land", "earthengine")
    }
    for name in _era5land.LONG_NAMES[canonical]:
        assert stored["era5-land"][name] == canonical
        assert stored["earthengine"][_earthengine._band(name)] == canonical


def test_cmip_names_and_tables():
    for project, table in _esgf.VARIABLES.items():
        assert set(table) <= set(xp.VARIABLES)
        assert table["tsl"] == ("tsl", "Lmon"), project
    assert _esgf.VARIABLES["CMIP6"]["mrsol"] == ("mrsol", "Emon")
    assert _esgf.VARIABLES["CMIP5"]["mrsol"] == ("mrlsl", "Lmon")


RECIPES = {
    "cds": lambda **o: recipes.cds_era5_land(
        **{"regions": ALASKA, "years": 2001, "variables": ["tas"], **o}
    ),
    "earthengine": lambda **o: recipes.earthengine(
        **{"regions": ALASKA, "years": 2001, "variables": ["tas"], **o}
    ),
}


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"variables": ["tass"]}, UnknownNameError, "'tass'; did you mean 'tas'"),
        ({"variables": "sftlf"}, UnknownNameError, "unknown variable of ERA5-Land 'sftlf'"),
        ({"variables": []}, DataError, "needs variables"),
        ({"product": "month"}, UnknownNameError, "product 'month'; did you mean 'monthly'"),
        ({"years": 1949}, DataError, r"has the years 1950 to 20\d\d; asked for 1949 to 1949"),
        ({"years": [2001, 2300]}, DataError, "asked for 2001 to 2300"),
        ({"years": []}, DataError, r"asked for none.*range\(2001, 2024\)"),
        ({"regions": None}, RegionError, r"needs regions.*got None.*xp.alaska_bands\(\)"),
        ({"regions": 60}, RegionError, "got int"),
        ({"regions": (50, -170, 72, -130)}, RegionError, r"\(north, west, south, east\)"),
        ({"regions": (72, -170, 50)}, RegionError, "needs regions"),
    ],
)
def test_bad_requests_are_refused(recipe, options, error, message):
    with pytest.raises(error, match=message):
        RECIPES[recipe](**options)


def test_bad_requests_of_one_source_only():
    with pytest.raises(UnknownNameError, match="unknown format 'nc'"):
        RECIPES["cds"](format="nc")
    with pytest.raises(DataError, match="months are numbers 1 to 12; got"):
        RECIPES["cds"](months=[0])
    with pytest.raises(DataError, match=r"12 fields here.*type max_fields=12 or more"):
        RECIPES["cds"](max_fields=11)
    with pytest.raises(DataError, match=r"adjoining years; got \[2001, 2003\]"):
        RECIPES["earthengine"](years=[2001, 2003])


def test_one_variable_or_year_needs_no_list():
    assert RECIPES["cds"](variables="tas", years=np.int64(2001)) == RECIPES["cds"]()
    assert RECIPES["cds"](variables=["tas", "tas"], years=[2001, 2001]) == RECIPES["cds"]()


def test_boxes_reach_outward_to_whole_cells():
    assert boxes(ALASKA) == [Box(71.4, -168.0, 59.2, -141.0)]
    assert boxes((71.33, -167.96, 59.26, -141.04)) == [Box(71.4, -168.0, 59.2, -141.0)]
    assert boxes((71.4, -168.0, 59.2, -141.0)) == boxes(ALASKA)
    assert boxes((71.4, 192, 59.2, 219)) == boxes(ALASKA)
    assert boxes((90, 10, 89.95, 10.05)) == [Box(90.0, 10.0, 89.9, 10.1)]


def test_boxes_at_the_dateline():
    west, east = Box(72.0, 170.0, 50.0, 179.9), Box(72.0, -180.0, 50.0, -130.0)
    assert boxes((72, 170, 50, -130)) == [west, east]
    assert boxes((72, 170, 50, 230)) == [west, east]
    assert boxes(xp.LatitudeBands((50, 60, 72), lon=(170, -130))) == [west, east]
    assert boxes((72, 170, 50, 180)) == [Box(72.0, 170.0, 50.0, 180.0)]
    assert boxes((72, -180, 50, -170)) == [Box(72.0, -180.0, 50.0, -170.0)]
    assert boxes((72, 179.95, 50, -170)) == [
        Box(72.0, 179.9, 50.0, 179.9),
        east._replace(east=-170),
    ]
    assert boxes((72, 190, 50, 200)) == [Box(72.0, -170.0, 50.0, -160.0)]


def test_bands_without_longitudes_go_round():
    everywhere = [Box(70.0, -180.0, 60.0, 179.9)]
    assert boxes(xp.LatitudeBands((60, 65, 70))) == everywhere
    assert boxes((70, -180, 60, 180)) == everywhere
    grid = recipes.earthengine(xp.LatitudeBands((60, 70)), 2001, "tas").grids[0]
    assert grid["shape_2d"] == (3600, 101)  # each meridian once


def test_boxes_of_polygons_take_the_short_way_round(tmp_path):
    mainland, attu = shapely.box(-168, 55, -141, 71), shapely.box(172.5, 51, 180, 53)
    aleutians = shapely.box(-180, 51, -165, 53)
    assert boxes({"mainland": mainland}) == [Box(71.0, -168.0, 55.0, -141.0)]
    expected = [Box(71.0, 172.5, 51.0, 179.9), Box(71.0, -180.0, 51.0, -141.0)]
    shapes = {"mainland": mainland, "attu": attu, "aleutians": aleutians}
    assert boxes(shapes) == expected
    assert boxes({"state": shapely.union_all(list(shapes.values()))}) == expected
    assert boxes({"beyond": shapely.box(172.5, 51, 219, 71)}) == expected
    spans = ((-180, -60.5), (-60, 59.5), (60, 179))
    thirds = {str(w): shapely.box(w, 60, e, 70) for w, e in spans}
    assert boxes(thirds) == [Box(70.0, -180.0, 60.0, 179.0)]
    overlapping = {str(w): shapely.box(w, 60, w + 130, 70) for w in (-180, -60, 50)}
    assert boxes(overlapping) == [Box(70.0, -180.0, 60.0, 179.9)]
    path = tmp_path / "state.geojson"
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": json.loads(shapely.to_geojson(shape)),
        }
        for name, shape in shapes.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert boxes(path) == expected


@given(west=st.floats(-180, 179.99), width=st.floats(0.2, 300), south=st.floats(-89, 88))
def test_boxes_cover_the_regions_and_hardly_more(west, width, south):
    polygon = shapely.box(west, south, west + width, south + 0.5).segmentize(90.0)
    found = boxes({"somewhere": polygon})
    assert all(box.west <= box.east and box.west >= -180 and box.east <= 180 for box in found)
    cells = sum(box.east - box.west + 0.1 for box in found)
    assert width - 1e-5 <= cells <= width + 0.3 + 1e-5
    assert all(box.south <= south + 1e-6 and south + 0.5 <= box.north + 1e-6 for box in found)
    for lon in np.linspace(west, west + width, 7)[1:-1]:  # each point within half a cell of one
        wrapped = (lon + 180) % 360 - 180
        near = [(box.west - wrapped, wrapped - box.east) for box in found]
        assert any(max(pair) <= 0.1 + 1e-5 for pair in near)


# -- Climate Data Store -------------------------------------------------------------------


def fields(request):
    times = len(np.atleast_1d(request["year"])) * len(np.atleast_1d(request["month"]))
    return len(request["variable"]) * times * len(request["time"]) * len(request.get("day", [0]))


@pytest.mark.parametrize(
    ("product", "max_fields"),
    [("monthly", 1000), ("monthly", 30), ("hourly", 1000), ("hourly", 9000)],
)
def test_pieces_stay_under_the_limit_and_hold_everything_once(product, max_fields):
    names = ["tas", "pr", "tsl", "mrsol", "snd"]
    years = [1999, 2000, 2001, 2004]
    request = recipes.cds_era5_land(ALASKA, years, names, product=product, max_fields=max_fields)
    assert max(fields(piece) for piece in request.requests) <= max_fields
    got = [
        (name, year, month)
        for piece in request.requests
        for name in piece["variable"]
        for year in np.atleast_1d(piece["year"]).tolist()
        for month in np.atleast_1d(piece["month"]).tolist()
    ]
    longs = _era5land.source_names(names)
    months = [f"{month:02d}" for month in range(1, 13)]
    assert sorted(got) == sorted((n, str(y), m) for n in longs for y in years for m in months)


class FakeClient:
    """Stands in for cdsapi.Client: writes what it is told to, and counts."""

    content = NETCDF
    sent: ClassVar[list] = []
    made: ClassVar[list] = []

    def __init__(self, quiet, progress):
        type(self).made.append((quiet, progress))

    def retrieve(self, name, request, target):
        type(self).sent.append((name, request))
        if isinstance(self.content, Exception):
            raise self.content
        Path(target).write_bytes(self.content)


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setitem(sys.modules, "cdsapi", types.SimpleNamespace(Client=FakeClient))
    monkeypatch.setattr(FakeClient, "content", NETCDF)
    monkeypatch.setattr(FakeClient, "sent", [])
    monkeypatch.setattr(FakeClient, "made", [])
    return FakeClient


def test_making_a_request_sends_nothing(store):
    REQUESTS["cds_monthly"]()
    assert store.made == store.sent == []


def test_download_sends_the_payload_and_goes_on_where_it_stopped(store, tmp_path):
    request = REQUESTS["cds_monthly"]()
    paths = request.download(tmp_path / "era5", progress=False)
    payload = request.payload
    assert store.sent == [(payload["dataset"], piece) for piece in payload["requests"]]
    assert store.made == [(True, False)]
    assert [path.name[:-12] for path in paths] == [
        "era5-land-monthly-means_2001-2011_168W-141W",
        "era5-land-monthly-means_2012-2022_168W-141W",
        "era5-land-monthly-means_2023_168W-141W",
    ]
    assert all(path.suffix == ".nc" and path.read_bytes() == NETCDF for path in paths)
    assert sorted((tmp_path / "era5").iterdir()) == sorted(paths)
    paths[1].unlink()
    assert request.download(tmp_path / "era5", progress=True) == paths
    assert store.sent[3:] == [(payload["dataset"], payload["requests"][1])]
    other = recipes.cds_era5_land(ALASKA, range(2001, 2024), ["tas"])
    assert not set(other.download(tmp_path / "era5")) & set(paths)


@pytest.mark.parametrize(
    ("content", "suffix"), [(b"PK\x03\x04...", ".zip"), (b"GRIB...", ".grib"), (b"CDF\x02", ".nc")]
)
def test_the_suffix_follows_the_content(store, tmp_path, content, suffix):
    store.content = content
    (path,) = RECIPES["cds"]().download(tmp_path)
    assert path.suffix == suffix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Gateway timeout</html>", "neither NetCDF nor GRIB nor a zip, but a file that"),
        (b"", "neither NetCDF nor GRIB nor a zip, but nothing"),
        (RuntimeError("403: required licences not accepted"), "did not bring .*licences not accep"),
        (RuntimeError("cost limits exceeded"), "choose a smaller max_fields"),
    ],
)
def test_what_the_store_should_not_send_is_not_kept(store, tmp_path, content, message):
    store.content = content
    with pytest.raises(DataError, match=message):
        RECIPES["cds"]().download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_hourly_files_are_told_apart(store, tmp_path):
    paths = REQUESTS["cds_hourly_dateline"]().download(tmp_path)
    assert [path.name[:-12] for path in paths] == [
        "era5-land_202002_170E-179.9E",
        "era5-land_202002_180W-130W",
    ]


def test_what_the_store_sends_is_read_back(store, tmp_path, monkeypatch):
    """The layout of the store since 2024: a zip of files by step type, `valid_time`."""

    def retrieve(self, name, request, target):
        north, west, south, east = request["area"]
        lat = np.arange(north, south - 0.05, -0.1).round(1)
        lon = np.arange(west, east + 0.05, 0.1).round(1)
        time = pd.date_range(request["year"][0], periods=12 * len(request["year"]), freq="MS")
        coords = {"valid_time": time, "latitude": lat, "longitude": lon}
        shape = (time.size, lat.size, lon.size)
        stored = {"t2m": (260.0, "K", "avgua"), "tp": (0.00864, "m", "avgad")}
        with zipfile.ZipFile(target, "w") as archive:
            for short, (value, units, step) in stored.items():
                attrs = {"units": units, "GRIB_stepType": step}
                field = (tuple(coords), np.full(shape, value), attrs)
                archive.writestr(
                    f"{short}.nc", bytes(xr.Dataset({short: field}, coords).to_netcdf())
                )

    monkeypatch.setattr(FakeClient, "retrieve", retrieve)
    request = recipes.cds_era5_land(
        (60, -150, 59.8, -149.8), range(2001, 2005), ["tas", "pr"], max_fields=48
    )
    paths = request.download(tmp_path)
    assert [path.suffix for path in paths] == [".zip", ".zip"]
    ds = open_dataset(paths, source="era5-land")
    assert ds["time"].dt.year.values.tolist() == np.repeat(range(2001, 2005), 12).tolist()
    np.testing.assert_allclose(ds["tas"], 260.0)
    np.testing.assert_allclose(ds["pr"], 0.00864 * 1000 / 86400)  # mean daily total [m]


def test_without_a_key_the_message_says_where_to_put_it(tmp_path, monkeypatch):
    pytest.importorskip("cdsapi")
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    monkeypatch.delenv("CDSAPI_URL", raising=False)
    monkeypatch.delenv("CDSAPI_KEY", raising=False)
    with pytest.raises(DataError, match=r"needs a personal key: .*~/\.cdsapirc.*licence"):
        RECIPES["cds"]().download(tmp_path)


@pytest.mark.parametrize(
    ("recipe", "module", "extra"),
    [("cds", "cdsapi", "cds"), ("earthengine", "ee", "earthengine")],
)
def test_missing_packages_are_named(tmp_path, monkeypatch, recipe, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'xpermafrost\[{extra}\]'"):
        RECIPES[recipe]().download(tmp_path)


# -- Earth Engine -------------------------------------------------------------------------


class FakeImages:
    def __init__(self, asset, log):
        self.log = log
        log.append(("collection", asset))

    def filterDate(self, start, end):
        self.log.append(("filterDate", start, end))
        return self

    def select(self, bands):
        self.log.append(("select", bands))
        return self


@pytest.fixture
def engine(monkeypatch):
    """Stand-ins for ee and for the backend of xee, with its dims and its odd encoding."""
    log: list = []
    state = {"ready": False, "fail": None, "opened": 0}

    def initialize(project=None, opt_url=None):
        if state["fail"]:
            raise state["fail"]
        state["ready"] = True
        log.append(("Initialize", project, opt_url))

    ee = types.SimpleNamespace(
        data=types.SimpleNamespace(is_initialized=lambda: state["ready"]),
        Initialize=initialize,
        ImageCollection=lambda asset: FakeImages(asset, log),
    )
    monkeypatch.setitem(sys.modules, "ee", ee)
    monkeypatch.setitem(sys.modules, "xee", types.SimpleNamespace())

    original = xr.open_dataset

    def open_images(images, *, engine=None, **options):
        if engine != "ee":
            return original(images, engine=engine, **options)
        state["opened"] += 1
        return made(**options)

    def made(*, crs, crs_transform, shape_2d):
        assert crs == "EPSG:4326"
        step, _, left, _, down, top = crs_transform
        width, height = shape_2d
        time = pd.date_range("2001-01-01", periods=24, freq="MS")
        x = [left + step / 2 + i * step for i in range(width)]
        y = [top + down / 2 + i * down for i in range(height)]
        values = np.full((24, height, width), 270.123, dtype="float32")
        ds = xr.Dataset(
            {"temperature_2m": (("time", "y", "x"), values, {"units": "K"})},
            {"time": time, "y": y, "x": x},
        )
        ds["temperature_2m"].encoding = {"scale_factor": 0.1, "dtype": "int16"}
        return ds

    monkeypatch.setattr(_earthengine.xr, "open_dataset", open_images)
    return types.SimpleNamespace(log=log, state=state)


def test_open_asks_for_the_images_of_the_payload(engine):
    request = recipes.earthengine((60, -150, 59, -149), [2001, 2002], "tas")
    ds = request.open(project="mine")
    payload = request.payload
    assert engine.log == [
        ("Initialize", "mine", "https://earthengine-highvolume.googleapis.com"),
        ("collection", payload["collection"]),
        ("filterDate", *payload["filterDate"]),
        ("select", payload["select"]),
    ]
    assert ds["temperature_2m"].dims == ("time", "lat", "lon")
    # centres of ERA5-Land are multiples of 0.1 degree
    np.testing.assert_allclose(ds["lat"], np.linspace(60, 59, 11), atol=1e-9)
    np.testing.assert_allclose(ds["lon"], np.linspace(-150, -149, 11), atol=1e-9)
    assert ds["temperature_2m"].encoding == {}
    assert "ECMWF/ERA5_LAND/MONTHLY_AGGR" in ds.attrs["source"]


def test_images_are_joined_across_the_dateline(engine):
    ds = recipes.earthengine((60, 179, 59, -179), [2001, 2002], "tas").open()
    np.testing.assert_allclose(ds["lon"], np.linspace(179, 181, 21), atol=1e-9)
    assert engine.state["opened"] == 2


def test_earthengine_files_by_year(engine, tmp_path):
    request = recipes.earthengine((60, 179, 59, -179), [2001, 2002], "tas")
    paths = request.download(tmp_path)
    assert [path.name[-8:] for path in paths] == ["_2001.nc", "_2002.nc"]
    assert sorted(tmp_path.iterdir()) == paths
    assert request.download(tmp_path) == paths
    assert engine.state["opened"] == 2  # nothing was asked for again
    with xr.open_mfdataset([str(path) for path in paths], engine="netcdf4") as ds:
        assert ds["temperature_2m"].dtype == np.float32
        np.testing.assert_array_equal(ds["temperature_2m"], np.float32(270.123))
        assert ds.sizes["time"] == 24


def test_earthengine_files_are_read_back(engine, tmp_path):
    paths = recipes.earthengine((60, -150, 59.8, -149.8), [2001, 2002], "tas").download(tmp_path)
    ds = open_dataset(paths)
    assert dict(ds["tas"].sizes) == {"time": 24, "lat": 3, "lon": 3}
    np.testing.assert_allclose(ds["tas"], 270.123, rtol=1e-6)


def test_earthengine_without_images_of_a_year(engine, tmp_path, monkeypatch):
    opened = recipes.EarthEngineRequest.open

    def until_2001(self, **options):
        ds = opened(self, **options)
        return ds.isel(time=ds["time"].dt.year < 2002)

    monkeypatch.setattr(recipes.EarthEngineRequest, "open", until_2001)
    with pytest.raises(DataError, match="no image of 2002 in ECMWF/ERA5_LAND/MONTHLY_AGGR"):
        recipes.earthengine((60, -150, 59.8, -149.8), [2001, 2002], "tas").download(tmp_path)
    assert [path.name[-8:] for path in tmp_path.iterdir()] == ["_2001.nc"]


def test_earthengine_without_credentials(engine, tmp_path):
    engine.state["fail"] = RuntimeError("Please authorize access to your Earth Engine account")
    with pytest.raises(DataError, match=r"Please authorize.*'earthengine authenticate'.*project"):
        RECIPES["earthengine"]().download(tmp_path)


def test_xee_takes_the_grid():
    xee = pytest.importorskip("xee")
    taken = inspect.signature(xee.EarthEngineBackendEntrypoint.open_dataset).parameters
    (piece,) = RECIPES["earthengine"]().payload["open_dataset"]
    assert set(piece) - {"engine"} <= set(taken)
    needed = {n for n, p in taken.items() if p.default is p.empty} - {"self", "filename_or_obj"}
    assert needed <= set(piece)


# -- ESGF ---------------------------------------------------------------------------------

FILES = {"early.nc": b"early bytes", "late.nc": b"late bytes..", "fixed.nc": b"fixed"}


class Archive(BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_GET(self):
        where = urlsplit(self.path)
        self.server.asked.append(self.path)
        if where.path in ("/bridge/", "/esg-search/search"):
            body, kind = self.server.answer(parse_qs(where.query)), "application/json"
        else:
            body, kind = FILES.get(where.path.rsplit("/", 1)[-1]), "application/x-netcdf"
            if any(where.path.startswith(broken) for broken in self.server.broken):
                body = None
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


def answer_text(url):
    text = (RECORDED / "esgf_answer.json").read_text().replace("@SERVER@", url)
    text = text.replace("@EARLY@", hashlib.sha256(FILES["early.nc"]).hexdigest())
    text = text.replace("@LATE@", hashlib.md5(FILES["late.nc"]).hexdigest())
    return text.replace("@FIXED@", hashlib.sha256(FILES["fixed.nc"]).hexdigest())


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setattr(_downloads, "PAUSE", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Archive) as running:
        running.url = f"http://127.0.0.1:{running.server_port}"
        running.asked, running.broken = [], []
        running.answer = lambda query: answer_text(running.url).encode()
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def historical(archive, path="/bridge/", **options):
    options = {"variables": ["tas", "sftlf"], "scenarios": "historical", **options}
    return recipes.esgf("MODEL-1", node=archive.url + path, **options)


def test_search_lists_every_file_once_with_its_replicas(archive):
    files = historical(archive).search()
    assert [file.name for file in files] == [
        "sftlf_fx_MODEL-1_historical_r1i1p1f1_gn.nc",
        "tas_Amon_MODEL-1_historical_r1i1p1f1_gn_195001-200012.nc",
        "tas_Amon_MODEL-1_historical_r1i1p1f1_gn_200101-201412.nc",
    ]
    early, late = files[1:]
    # the original first; OPeNDAP, Globus and another content are not taken
    assert early.urls == (f"{archive.url}/origin/early.nc", f"{archive.url}/replica/early.nc")
    assert late.checksum == "md5:" + hashlib.md5(FILES["late.nc"]).hexdigest()
    assert (early.size, late.size) == (11, 12)


def test_the_search_that_is_sent_is_the_payload(archive):
    request = historical(archive, scenarios=["historical", "ssp585"])
    with pytest.warns(PermafrostWarning, match=r"no file of tas ssp585 for this model"):
        request.search()
    query = parse_qs(urlsplit(archive.asked[0]).query)
    assert query.pop("offset") == ["0"]
    assert query == {name: [str(value)] for name, value in request.payload["params"].items()}
    assert query["experiment_id"] == ["historical,ssp585"]
    request = historical(archive, "/esg-search/search", scenarios=["historical", "ssp585"])
    with pytest.warns(PermafrostWarning, match="no file of"):
        request.search()
    query = parse_qs(urlsplit(archive.asked[1]).query)
    assert query["experiment_id"] == ["historical", "ssp585"]  # repeated, as esg-search wants it
    assert query["distrib"] == ["true"]
    assert urlsplit(request.url).query.split("&")[0] == "project=CMIP6"


def test_pages_are_followed(archive):
    whole = json.loads(answer_text(archive.url))["response"]

    def page(query):
        start = int(query["offset"][0])
        return json.dumps(
            {"response": {**whole, "start": start, "docs": whole["docs"][start : start + 2]}}
        ).encode()

    files = historical(archive).search()
    archive.answer, archive.asked[:] = page, []
    assert historical(archive).search() == files
    assert len(archive.asked) == 3


def test_years_choose_files(archive):
    names = [file.name for file in historical(archive, years=range(1990, 2001)).search()]
    assert names == [
        "sftlf_fx_MODEL-1_historical_r1i1p1f1_gn.nc",  # holds no years
        "tas_Amon_MODEL-1_historical_r1i1p1f1_gn_195001-200012.nc",
    ]
    assert len(historical(archive, years=[2000, 2001]).search()) == 3
    late = historical(archive, years=range(2050, 2061))
    with pytest.warns(PermafrostWarning, match="no file of tas historical .* in 2050 to 2060"):
        assert [file.name[:5] for file in late.search()] == ["sftlf"]
    whole = json.loads(answer_text(archive.url))["response"]
    series = [doc for doc in whole["docs"] if doc["title"].startswith("tas")]
    only = {"response": {"numFound": len(series), "docs": series}}
    archive.answer = lambda query: json.dumps(only).encode()
    with pytest.raises(DataError, match="has files for this search, but none in 2050 to 2060"):
        late.search()


def test_download_verifies_and_keeps(archive, tmp_path):
    paths = historical(archive).download(tmp_path / "cmip", progress=False)
    assert [path.read_bytes() for path in paths] == [
        FILES["fixed.nc"],
        FILES["early.nc"],
        FILES["late.nc"],
    ]
    assert sorted((tmp_path / "cmip").iterdir()) == sorted(paths)
    before = len(archive.asked)
    assert historical(archive).download(tmp_path / "cmip") == paths
    assert len(archive.asked) == before + 1  # the search only
    paths[0].write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="is not the file of"):
        historical(archive).download(tmp_path / "cmip")
    assert paths[0].read_bytes() == b"mine"


def test_what_the_archive_sends_is_read_back(archive, tmp_path, monkeypatch):
    def series(start, end):
        time = pd.date_range(start, end, freq="MS")
        coords = {"time": time, "lat": [60.0, 62.0], "lon": [210.0, 212.0]}
        field = (tuple(coords), np.full((time.size, 2, 2), 265.0), {"units": "K"})
        attrs = {
            "mip_era": "CMIP6",
            "source_id": "MODEL-1",
            "experiment_id": "historical",
            "variant_label": "r1i1p1f1",
            "table_id": "Amon",
            "variable_id": "tas",
            "grid_label": "gn",
        }
        ds = xr.Dataset({"tas": field}, coords, attrs)
        ds["tas"].attrs["standard_name"] = "air_temperature"
        return bytes(ds.to_netcdf())

    monkeypatch.setitem(FILES, "early.nc", series("1950-01", "2000-12"))
    monkeypatch.setitem(FILES, "late.nc", series("2001-01", "2014-12"))
    paths = [path for path in historical(archive).download(tmp_path) if "tas" in path.name]
    ds = open_cmip(paths)["historical"]
    assert ds.sizes["time"] == 65 * 12
    np.testing.assert_allclose(ds["tas"], 265.0)


def test_a_replica_serves_where_the_original_does_not(archive, tmp_path):
    archive.broken = ["/origin/early"]
    paths = historical(archive).download(tmp_path)
    assert paths[1].read_bytes() == FILES["early.nc"]
    archive.broken = ["/origin/early", "/replica/early"]
    paths[1].unlink()
    with pytest.raises(DataError, match=r"none of the 2 places that have tas_Amon.*(?s:.*)404"):
        historical(archive).download(tmp_path)
    assert not paths[1].exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>maintenance</html>", "something that is not a search result"),
        (b'{"error": "bad facet"}', "answered without 'response'"),
        (b'{"response": {"numFound": 0, "docs": []}}', r"no file for this search \(http.*r1i1p1f1"),
        (
            b'{"response": {"numFound": 1, "docs": [{"title": "a.nc", "url": []}]}}',
            "none with an HTTP address and a checksum",
        ),
        (
            b'{"response": {"numFound": 1, "docs": [{"title": "../../.bashrc", "checksum": ["0"],'
            b' "checksum_type": ["MD5"], "url": ["http://x/y|a|HTTPServer"]}]}}',
            "which is no plain file name",
        ),
        (None, "the search service .* did not answer: 404"),
    ],
)
def test_bad_answers_of_the_archive(archive, tmp_path, answer, message):
    archive.answer = lambda query: answer
    with pytest.raises(DataError, match=message):
        historical(archive).download(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenarios": "rcp85"}, "unknown scenario of CMIP6 'rcp85'"),
        ({"scenarios": "ssp585", "project": "CMIP5"}, "unknown scenario of CMIP5 'ssp585'"),
        ({"project": "CMIP7"}, "unknown project 'CMIP7'; did you mean"),
        ({"variables": ["snow_density"]}, "unknown variable of CMIP6 'snow_density'"),
        ({"node": "dkrt"}, "unknown node 'dkrt'; did you mean 'dkrz'"),
    ],
)
def test_bad_searches_are_refused(options, message):
    options = {"scenarios": "historical", "variables": "tas", **options}
    with pytest.raises(UnknownNameError, match=message):
        recipes.esgf("IPSL-CM6A-LR", **options)


def test_an_empty_search_is_refused():
    with pytest.raises(DataError, match="needs scenarios and variables"):
        recipes.esgf("IPSL-CM6A-LR", [], ["tas"])


def test_every_node_has_its_way_of_asking():
    for name, url in recipes.NODES.items():
        request = recipes.esgf("M", ["historical", "ssp585"], "tas", node=name)
        assert request.payload["url"] == url
        joined = request.params["experiment_id"] == "historical,ssp585"
        assert joined is ("bridge" in url)
        assert ("distrib" in request.params) is not joined


def test_importing_the_recipes_imports_no_client():
    import subprocess

    code = (
        "import sys, xpermafrost.recipes as r; r.cds_era5_land((70, -150, 60, -140), 2001, 'tas');"
        "print([m for m in ('cdsapi', 'ee', 'xee', 'requests', 'shapely') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert _cds.PRODUCTS["monthly"].endswith("monthly-means")


def test_a_box_without_width_is_not_the_globe():
    with pytest.raises(RegionError, match="edges \\(north, west, south, east\\)"):
        boxes((65.0, -148.0, 64.0, -148.0))
    assert boxes((65.0, -180.0, 64.0, 180.0)) == [Box(65.0, -180.0, 64.0, 179.9)]
