"""Files: CF finishing, its inverse, writing, and what other programs make of it."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
import subprocess

import dask
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost import bias, testing
from xpermafrost.diagnostics import mean_annual_ground_temperature, permafrost_presence
from xpermafrost.errors import DimensionError, OutputExistsError, UnknownNameError
from xpermafrost.gis import from_cf, to_cf, to_netcdf
from xpermafrost.polygons import Polygons
from xpermafrost.regions import LatitudeBands, alaska_bands, reduce, region_weights
from xpermafrost.regridding import regrid_weights
from xpermafrost.schema import layer_bounds, layer_coords, variable
from xpermafrost.sources import standardize

TIME = pd.date_range("2001-01-01", periods=14, freq="MS").astype("datetime64[ns]")
RNG = np.random.default_rng(0)


def bands():
    values = RNG.normal(-5, 3, (2, 6, 4, 14)).astype("float32")
    attrs = {"units": "degree_Celsius", "standard_name": "soil_temperature", "model": "gru-1"}
    return xr.Dataset(
        {"soil_temperature": (("scenario", "band", "layer", "time"), values, attrs)},
        coords={
            "time": TIME,
            "scenario": ["rcp26", "rcp85"],
            **alaska_bands().coords,
            **layer_coords(),
        },
        attrs={"title": "projection", "history": "made"},
    )


def grid():
    ds = xr.Dataset(
        {
            "tas": (("time", "lat", "lon"), RNG.normal(260, 5, (14, 3, 4)), variable("tas").attrs),
            "tsl": (("lat", "lon", "layer", "time"), RNG.normal(270, 3, (3, 4, 4, 14))),
            "sftlf": (("lat", "lon"), np.full((3, 4), 50.0), variable("sftlf").attrs),
            "mask": (("lat", "lon"), np.eye(3, 4, dtype=bool)),
        },
        coords={
            "time": TIME,
            "lat": [60.0, 61.0, 62.0],
            "lon": [-150.0, -149.0, -148.0, -147.0],
            "lat_bnds": (("lat", "bnds"), [[59.5, 60.5], [60.5, 61.5], [61.5, 62.5]]),
            **layer_coords(),
        },
    )
    ds["tas"][3, 1, 1] = np.nan
    ds["tsl"].attrs = variable("tsl").attrs
    return ds


def stations():
    return xr.Dataset(
        {
            "tsl": (("station", "time", "layer"), RNG.normal(270, 3, (2, 14, 4)), {"units": "K"}),
            "pr": (("station", "time"), np.full((2, 14), 1e-5), variable("pr").attrs),
        },
        coords={
            "time": TIME,
            "station": ["Yakutsk", "Жиганск"],
            "lat": ("station", [62.0, 66.8]),
            "lon": ("station", [129.7, 123.4]),
            **layer_coords(),
        },
    )


LAYOUTS = pytest.mark.parametrize("make", [bands, grid, stations])


def without_history(ds):
    out = ds.copy()
    out.attrs.pop("history", None)
    return out


@LAYOUTS
def test_round_trip_in_memory(make):
    ds = make()
    before = copy.deepcopy(ds)
    xr.testing.assert_identical(from_cf(to_cf(ds)), before)
    xr.testing.assert_identical(ds, before)
    assert list(from_cf(to_cf(ds)).data_vars) == list(ds.data_vars)


@LAYOUTS
@pytest.mark.parametrize("decode", [True, "all"])
@pytest.mark.parametrize("compression", ["zlib", "none"])
def test_round_trip_through_a_file(make, decode, compression, tmp_path):
    ds = make()
    path = to_netcdf(ds, tmp_path / "out.nc", compression=compression)
    with xr.open_dataset(path, decode_coords=decode) as found:
        back = from_cf(found.load())
    xr.testing.assert_identical(without_history(back), without_history(ds))
    for name in ds.variables:
        assert back[name].dims == ds[name].dims
        assert back[name].dtype.kind == ds[name].dtype.kind
    line = back.attrs["history"].splitlines()[-1]
    assert re.fullmatch(r"\S+Z xpermafrost \S+: to_netcdf\('out.nc'\)", line)


def test_data_array_needs_a_name():
    da = bands()["soil_temperature"]
    assert from_cf(to_cf(da))["soil_temperature"].identical(da)
    # a DataArray carries top and bottom instead of bounds; a file has bounds
    assert to_cf(da)["depth_bnds"].values[-1].tolist() == [1.0, 2.89]
    with pytest.raises(DimensionError, match="needs a DataArray with a name"):
        to_cf(da.rename(None))


@LAYOUTS
def test_what_cf_asks_for(make):
    cf = to_cf(make())
    assert cf.attrs["Conventions"] == "CF-1.11"
    depth = cf["depth"]
    assert depth.dims == ("depth",)
    wanted = {"standard_name": "depth", "units": "m", "positive": "down", "axis": "Z"}
    assert wanted.items() <= depth.attrs.items()
    assert cf[depth.attrs["bounds"]].dims == ("depth", "bnds")
    assert cf[cf["time"].attrs["bounds"]].dims == ("time", "bnds")
    assert cf["time_bnds"].values[-1].tolist() == [
        np.datetime64("2002-02-01", "ns").astype(int),
        np.datetime64("2002-03-01", "ns").astype(int),
    ]
    located = {"lat", "lon"} <= set(make().variables)
    assert ("crs" in cf) == located  # without a place there is nothing to refer to
    assert not located or cf["crs"].attrs["grid_mapping_name"] == "latitude_longitude"
    for name in make().data_vars:
        assert cf[name].attrs.get("grid_mapping") == ("crs" if located else None)
        if "time" in cf[name].dims:
            assert cf[name].attrs["cell_methods"] == "time: mean"
            assert cf[name].dims[0] == "time"


def test_bounds_of_bands_and_cells_are_named():
    for ds in (bands(), grid()):
        assert to_cf(ds)["lat"].attrs["bounds"] == "lat_bnds"
    assert to_cf(grid())["lat"].attrs["axis"] == "Y"
    assert "axis" not in to_cf(bands())["lat"].attrs  # auxiliary coordinates have no axis


def test_order_of_dimensions():
    assert to_cf(grid())["tsl"].dims == ("time", "depth", "lat", "lon")
    assert to_cf(bands())["soil_temperature"].dims == ("time", "scenario", "depth", "band")


def test_station_files_say_their_feature_type():
    cf = to_cf(stations())
    assert cf.attrs["featureType"] == "timeSeriesProfile"
    assert cf["station"].attrs["cf_role"] == "timeseries_id"
    assert "featureType" not in from_cf(cf).attrs


@LAYOUTS
def test_the_file_itself(make, tmp_path):
    ds = make()
    path = to_netcdf(ds, tmp_path / "out.nc")
    with netCDF4.Dataset(path) as file:
        for name, stored in file.variables.items():
            assert stored.dtype is not str, f"{name} is an object string"
            if name in ds.data_vars:
                assert ("grid_mapping" in stored.ncattrs()) == ("lon" in ds)
                if stored.dtype.kind == "f":
                    fill = np.nan if "station" in ds.dims else 1e20
                    np.testing.assert_equal(stored._FillValue, np.asarray(fill, stored.dtype))
            elif stored.dtype.kind == "f":
                assert "_FillValue" not in stored.ncattrs(), f"{name} may not be missing"
            if name.endswith("_bnds"):
                assert "coordinates" not in stored.ncattrs()
        assert file["time"].units == "days since 2001-01-01"
        assert file["time"].calendar == "standard"
        np.testing.assert_array_equal(file["time_bnds"][1], [31.0, 59.0])
        labels = [n for n in ("band", "scenario", "station") if n in file.variables]
        assert all(file[n].dtype == "S1" for n in labels)


def test_missing_values_survive_as_missing(tmp_path):
    path = to_netcdf(grid(), tmp_path / "out.nc")
    with netCDF4.Dataset(path) as file:
        assert int(np.ma.count_masked(file["tas"][:])) == 1
    with xr.open_dataset(path) as found:
        assert int(found["tas"].isnull().sum()) == 1


def test_missing_dates_survive(tmp_path):
    dates = np.array(["2001-06-01", "NaT"], dtype="datetime64[ns]")
    ds = xr.Dataset({"thaw_date": ("band", dates)}, coords={"band": ["a", "b"]})
    path = to_netcdf(ds, tmp_path / "out.nc")
    with xr.open_dataset(path) as found:
        xr.testing.assert_identical(without_history(from_cf(found.load())), ds)


@pytest.mark.parametrize("compression", ["zlib", "none"])
def test_large_data_go_to_the_file_in_pieces(compression, tmp_path, monkeypatch):
    ds = testing.gridded(years=3)
    ds["tas"][{"time": 5, "lat": 1, "lon": 2}] = np.nan
    whole = ds["tas"].transpose("lat", "lon", "time")
    monkeypatch.setattr("xpermafrost.gis.PIECE", 1000)
    path = to_netcdf(whole, tmp_path / "a.nc", compression=compression)
    with netCDF4.Dataset(path) as file:
        chunks = file["tas"].chunking()
    assert 250 < 4 * math.prod(chunks) <= 1000
    with xr.open_dataset(path) as back:
        xr.testing.assert_identical(from_cf(back)["tas"].load(), whole)


@pytest.mark.parametrize("kind", [object, "U4", "S4", "i4", "bool", "M8[D]"])
def test_large_data_of_every_kind(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("xpermafrost.gis.PIECE", 100)
    values = np.full((20, 30), "ab") if kind in (object, "U4", "S4") else np.ones((20, 30))
    ds = xr.Dataset({"v": (("lat", "lon"), values.astype(kind))})
    ds = ds.assign_coords(lat=np.linspace(60, 61, 20), lon=np.linspace(0, 1, 30))
    path = to_netcdf(ds.assign(n=1.0), tmp_path / "a.nc")
    with xr.open_dataset(path) as back:
        found = from_cf(back)["v"]
    np.testing.assert_array_equal(found.astype(ds["v"].dtype), ds["v"])


@pytest.mark.parametrize("scheduler", ["processes", "synchronous"])
def test_large_data_in_memory_are_written_here(scheduler, tmp_path, monkeypatch):
    """Whatever scheduler is set: they are not sent to its workers."""
    monkeypatch.setattr("xpermafrost.gis.PIECE", 1000)
    ds = testing.gridded(years=3)[["tas"]]
    with dask.config.set(scheduler=scheduler):
        path = to_netcdf(ds, tmp_path / "a.nc")
        assert dask.config.get("scheduler") == scheduler
    with xr.open_dataset(path) as back:
        xr.testing.assert_identical(from_cf(back)["tas"].load(), ds["tas"])


def test_never_overwritten_unasked_never_half_written(tmp_path):
    path = tmp_path / "out.nc"
    to_netcdf(bands(), path)
    first = path.read_bytes()
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        to_netcdf(grid(), path)
    assert path.read_bytes() == first

    def fail(block):
        raise RuntimeError("disk on fire")

    broken = grid()[["tas"]].chunk(time=1)
    broken["tas"] = broken["tas"].copy(
        data=broken["tas"].data.map_blocks(fail, meta=np.zeros((0, 0, 0)))
    )
    with pytest.raises(RuntimeError, match="disk on fire"):
        to_netcdf(broken, path, overwrite=True)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["out.nc"]
    to_netcdf(grid(), path, overwrite=True)
    assert path.read_bytes() != first
    with pytest.raises(FileNotFoundError, match="does not exist; create it"):
        to_netcdf(grid(), tmp_path / "none" / "out.nc")
    with pytest.raises(UnknownNameError, match="unknown compression 'zip'"):
        to_netcdf(grid(), tmp_path / "b.nc", compression="zip")


def test_to_cf_is_lazy():
    counts = []

    def scheduler(graph, keys, **options):
        counts.append(1)
        return dask.get(graph, keys, **options)

    ds = bands()
    ds["soil_temperature"] = ds["soil_temperature"].variable.chunk(time=5)
    with dask.config.set(scheduler=scheduler):
        lazy = from_cf(to_cf(ds))
    assert not counts
    assert lazy["soil_temperature"].chunks is not None


def test_projected_data_need_their_projection():
    ds = xr.Dataset({"snd": (("y", "x"), np.ones((2, 2)))}, coords={"y": [1.0, 2], "x": [1.0, 2]})
    with pytest.raises(DimensionError, match="write_crs"):
        to_cf(ds)
    pytest.importorskip("rioxarray")
    cf = to_cf(ds.rio.write_crs("EPSG:3338"))
    name = cf["snd"].attrs["grid_mapping"]
    assert cf[name].attrs["grid_mapping_name"] == "albers_conical_equal_area"
    assert cf["x"].attrs["standard_name"] == "projection_x_coordinate"


def test_rioxarray_finds_the_projection(tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    path = to_netcdf(grid(), tmp_path / "out.nc")
    assert rioxarray is not None
    with xr.open_dataset(path, decode_coords="all") as found:
        assert found["tas"].rio.crs.to_epsg() == 4326


def projected(name="crs"):
    from pyproj import CRS

    ds = xr.Dataset(
        {"snd": (("y", "x"), np.ones((2, 2)), {"units": "m", "grid_mapping": name})},
        coords={"y": [1.0, 2], "x": [1.0, 2]},
    )
    return ds.assign_coords({name: xr.Variable((), 0, CRS.from_epsg(3338).to_cf())})


@pytest.mark.parametrize("name", ["crs", "spatial_ref", "albers"])
def test_the_grid_mapping_is_not_lost_through_encoding(name, tmp_path):
    """From attributes to encoding (where xarray puts it when it reads) and on to the next file."""
    pytest.importorskip("rioxarray")
    path = to_netcdf(projected(name), tmp_path / "0.nc")
    for again in range(1, 3):
        with xr.open_dataset(path, decode_coords="all") as found:
            assert found["snd"].encoding["grid_mapping"] == name
            assert found["snd"].rio.crs.to_epsg() == 3338
            back = from_cf(found.load())
        xr.testing.assert_identical(without_history(back), projected(name))
        assert back["snd"].rio.crs.to_epsg() == 3338
        path = to_netcdf(back, tmp_path / f"{again}.nc")
    raw = projected(name)
    raw["snd"].encoding["grid_mapping"] = raw["snd"].attrs.pop("grid_mapping")
    assert to_cf(raw)["snd"].attrs["grid_mapping"] == name
    assert from_cf(to_cf(raw))["snd"].rio.crs.to_epsg() == 3338


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "standard"])
def test_every_calendar_is_written_as_dates(calendar, tmp_path):
    time = xr.date_range("2001-01", periods=14, freq="MS", calendar=calendar, use_cftime=True)
    ds = grid().assign_coords(time=time)
    cf = to_cf(ds)
    xr.testing.assert_identical(from_cf(cf), ds)
    assert str(cf["time_bnds"].values[-1, 1]) == "2002-03-01 00:00:00"
    path = to_netcdf(ds, tmp_path / "out.nc")
    with netCDF4.Dataset(path) as file:
        assert file["time"].calendar == calendar
        assert file["time_bnds"][0].tolist() == [0.0, 30.0 if calendar == "360_day" else 31.0]
    coder = xr.coders.CFDatetimeCoder(use_cftime=True)
    with xr.open_dataset(path, decode_times=coder) as found:
        xr.testing.assert_identical(without_history(from_cf(found.load())), without_history(ds))


def test_two_layers_at_one_depth_are_refused():
    ds = bands().assign_coords(depth=("layer", [0.1, 0.1, 0.5, 1.0]))
    with pytest.raises(DimensionError, match="two layers have the same middle"):
        to_cf(ds)


def test_without_the_note_layers_and_labels_come_back():
    cf = to_cf(bands())
    del cf.attrs["xpermafrost_layout"]
    back = from_cf(cf)
    assert "layer" in back.dims
    assert back["band"].values.tolist() == list(alaska_bands().names)


def test_attributes_added_later_are_kept():
    cf = to_cf(bands())
    cf.attrs["doi"] = "10.1/x"
    cf["soil_temperature"].attrs["comment"] = "checked"
    back = from_cf(cf)
    assert back.attrs["doi"] == "10.1/x"
    assert back["soil_temperature"].attrs["comment"] == "checked"
    assert json.loads(cf.attrs["xpermafrost_layout"])["coords"]


# --- other programs -----------------------------------------------------------------------


def output(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs the program {command[0]!r}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cdo_reads_a_grid(tmp_path):
    path = str(to_netcdf(grid(), tmp_path / "out.nc"))
    said = output("cdo", "-s", "sinfo", path)
    assert "lonlat" in said
    assert "-150 to -147 by 1 degrees_east" in said
    assert "0-0.07 to 1-2.89 m" in said
    assert "14 steps" in said
    mean = float(output("cdo", "-s", "outputf,%.6f", "-fldmin", "-timmin", "-selname,tas", path))
    assert mean == pytest.approx(float(grid_like(path)["tas"].min()), abs=1e-5)


def grid_like(path):
    with xr.open_dataset(path) as found:
        return found.load()


@pytest.mark.parametrize("make", [bands, stations])
def test_cdo_reads_bands_and_stations(make, tmp_path):
    ds = make()
    name = next(iter(ds.data_vars))
    path = str(to_netcdf(ds, tmp_path / "out.nc"))
    said = output("cdo", "-s", "infon", f"-selname,{name}", path)
    assert said.count(name) == 14 * 4
    assert "2.89 m" in output("cdo", "-s", "sinfo", path)


def test_gdal_sees_the_grid_upright(tmp_path):
    path = to_netcdf(grid(), tmp_path / "out.nc")
    said = json.loads(output("gdalinfo", "-json", f"NETCDF:{path}:tas"))
    assert said["size"] == [4, 3]
    assert said["geoTransform"] == pytest.approx([-150.5, 1.0, 0.0, 62.5, 0.0, -1.0])
    assert "WGS 84" in said["coordinateSystem"]["wkt"]
    assert len(said["bands"]) == 14
    assert said["bands"][0]["noDataValue"] == pytest.approx(1e20)


@LAYOUTS
def test_ncdump_reads_it(make, tmp_path):
    path = str(to_netcdf(make(), tmp_path / "out.nc"))
    assert ':Conventions = "CF-1.11"' in output("ncdump", "-h", path)


@pytest.mark.parametrize("make", [testing.canonical, testing.experiment])
def test_made_up_data_of_the_package_round_trip_and_stay_canonical(make, tmp_path):
    ds = make()
    path = to_netcdf(ds, tmp_path / "out.nc")
    with xr.open_dataset(path) as found:
        found.load()
    xr.testing.assert_identical(without_history(from_cf(found)), without_history(ds))
    again = standardize(found)
    order = ds["tsl"].dims
    np.testing.assert_array_equal(again["tsl"].transpose(*order), ds["tsl"])
    np.testing.assert_array_equal(again["depth_bnds"], layer_bounds(ds))


def test_text_of_variable_width_is_not_cut_short(tmp_path):
    names = np.array(["historical", "rcp85"], dtype=np.dtypes.StringDType())
    da = xr.DataArray([1.0, 2.0], {"scenario": ("scenario", names)}, ("scenario",), name="x")
    path = to_netcdf(da, tmp_path / "text.nc")
    with xr.open_dataset(path) as ds:
        assert from_cf(ds)["scenario"].values.tolist() == ["historical", "rcp85"]


# --- the checker of CF --------------------------------------------------------------------


def thickness():
    """A product of one value a year, on a grid."""
    attrs = {"standard_name": "permafrost_active_layer_thickness", "units": "m"}
    values = RNG.uniform(0.3, 2.0, (2, 3, 4, 5))
    coords = {"scenario": ["rcp26", "rcp85"], "year": np.arange(2096, 2101)}
    coords |= {n: grid()[n] for n in ("lat", "lon")}
    dims = ("scenario", "lat", "lon", "year")
    return xr.DataArray(values, coords, dims, "active_layer_thickness", attrs)


def of_other_calendar():
    time = xr.date_range("2001-01", periods=14, freq="MS", calendar="360_day", use_cftime=True)
    return grid().assign_coords(time=time)


def adjusted():
    two = [testing.canonical(years=4, seed=seed)[["tas", "pr"]] for seed in (0, 1)]
    return bias.adjust(bias.train(*two, method="qdm"), two[1])


def factors():
    two = [testing.canonical(years=4, seed=seed)[["tas", "pr"]] for seed in (0, 1)]
    return bias.train(*two, method="qdm")["tas"].to_dataset()


def over_polygons():
    shapely = pytest.importorskip("shapely")
    boxes = (shapely.box(-149.5, 60, -148, 61), shapely.box(-149, 61, -147, 62))
    return reduce(grid().drop_vars("lat_bnds"), Polygons(("south", "north"), boxes))


def regridding():
    grid_of = {"lat": np.arange(59.75, 62.5, 0.5), "lon": np.arange(-150.25, -147, 0.5)}
    return regrid_weights(grid(), xr.Dataset(coords=grid_of), method="conservative")


@pytest.fixture(scope="module")
def made_by_the_model(_world, world_gru):
    """What comes out of fitting: projection, its members, scores, and the scaler."""
    from xpermafrost import evaluate, project

    return {
        "projection": project(_world, world_gru),
        "members": project(_world, world_gru, members="all"),
        "scores": evaluate(
            _world, [world_gru], baselines=["climatology"], bootstrap=20, progress=False
        ),
        "scaler": world_gru.scaler,
    }


WRITTEN = {
    "bands": bands,
    "grid": grid,
    "stations": stations,
    "canonical": testing.canonical,
    "experiment": testing.experiment,
    "projected": projected,
    "thickness": thickness,
    "thickness of bands": lambda: thickness().isel(lat=0, drop=True).rename(lon="band"),
    "calendar of 360 days": of_other_calendar,
    "climatology": lambda: grid()[["tas"]].groupby("time.month").mean("time"),
    "adjusted": adjusted,
    "adjustment factors": factors,
    "weights": lambda: region_weights(grid(), LatitudeBands((59.5, 61, 62.5))),
    "over polygons": over_polygons,
    "regridding weights": regridding,
    "ground temperature": lambda: mean_annual_ground_temperature(testing.canonical()),
    "permafrost presence": lambda: permafrost_presence(testing.canonical()),
    "reduced": lambda: reduce(grid().drop_vars("lat_bnds"), LatitudeBands((59.5, 61, 62.5))),
}
#: Names of what `made_by_the_model` holds.
MODELLED = [
    "projection",
    "members",
    "scaler",
    "scores",
]


def complaints(path):
    """Errors that the compliance checker finds, with the tables in its own package."""
    suite = pytest.importorskip("compliance_checker.suite")
    if not suite.CheckSuite.checkers:
        suite.CheckSuite.load_all_available_checkers()
    checker = suite.CheckSuite()
    ds = checker.load_dataset(str(path))
    groups, failures = checker.run_all(ds, ["cf:1.11"], skip_checks=[])["cf:1.11"]
    ds.close()
    assert not failures
    assert len(groups) > 10  # it has looked

    def errors(results):
        for result in results:
            if result.weight >= 3 and result.value[0] != result.value[1]:
                yield from result.msgs or ([] if result.children else [result.name])
            yield from errors(result.children or [])

    return list(errors(groups))


@pytest.mark.parametrize("name", list(WRITTEN))
def test_the_cf_checker_finds_no_error(name, tmp_path):
    assert complaints(to_netcdf(WRITTEN[name](), tmp_path / "out.nc")) == []


@pytest.mark.parametrize("name", MODELLED)
def test_the_cf_checker_finds_no_error_in_results(name, made_by_the_model, tmp_path):
    assert complaints(to_netcdf(made_by_the_model[name], tmp_path / "out.nc")) == []


def test_the_cf_checker_would_find_an_error(tmp_path):
    ds = grid()
    ds["tas"].attrs["units"] = "mm"
    del ds["tsl"].attrs["units"]
    found = " ".join(complaints(to_netcdf(ds, tmp_path / "out.nc")))
    assert "tas" in found
    assert "tsl" in found
