"""Borehole profiles: files that CF tools and the tsp package read unaided."""

from __future__ import annotations

import warnings
from pathlib import Path

import dask
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost.errors import (
    DimensionError,
    MissingVariableError,
    OutputExistsError,
    UnitsError,
)
from xpermafrost.gis import from_cf, to_netcdf, to_profiles
from xpermafrost.schema import layer_coords_from_bounds
from xpermafrost.testing import canonical

YAKUTIA = Path(__file__).parents[2] / "shared" / "data" / "stations" / "yakutia_monthly.nc"


def stations():
    ds = canonical(years=2, dim="station", locations=["Healy", "Old Crow", "Жиганск"])
    ds["tsl"][0, 1, 3] = np.nan
    lat = ("station", [63.9, 67.6, 66.8])
    return ds.assign_coords(lat=lat, lon=("station", [-149.0, -139.8, 123.4]))


def read_tsp(path):
    """What tsp makes of a file, with its warnings as errors; it imports with one of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tsp = pytest.importorskip("tsp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        found = tsp.readers.read_netcdf(str(path))
    assert found is not None
    return found


def test_tsp_reads_every_station_unaided(tmp_path, unchanged):
    ds = stations()
    with unchanged(ds):
        paths = to_profiles(ds, tmp_path)
    assert [path.name for path in paths] == ["Healy.nc", "Old-Crow.nc", "Жиганск.nc"]
    for k, path in enumerate(paths):
        found = read_tsp(path)
        np.testing.assert_allclose(found.depths, ds["depth"].values)
        wanted = ds["tsl"].isel(station=k).transpose("time", "layer").values - 273.15
        np.testing.assert_allclose(found.values, wanted, atol=1e-4)  # NaN where it is missing
        np.testing.assert_array_equal(found.times.values, ds["time"].values)
        assert found.metadata["CF"]["featureType"] == "timeSeriesProfile"


def test_a_product_of_points_in_depth(tmp_path):
    points = np.array([0.2, 0.8, 3.2])
    layers = layer_coords_from_bounds(np.stack([points, points], axis=1))
    layers.pop("depth_bnds")
    time = pd.date_range("2001", periods=12, freq="MS")
    values = np.random.default_rng(0).normal(-3, 2, (2, 1, 3, 12)).astype("float32")
    da = xr.DataArray(
        values,
        dims=("scenario", "station", "layer", "time"),
        coords={"scenario": ["rcp26", "rcp85"], "station": ["Inuvik"], "time": time, **layers}
        | {"lat": ("station", [68.4]), "lon": ("station", [-133.7])},
        name="soil_temperature",
        attrs={"units": "degree_Celsius", "standard_name": "soil_temperature"},
    )
    paths = to_profiles(da, tmp_path)
    assert [path.name for path in paths] == ["Inuvik_rcp26.nc", "Inuvik_rcp85.nc"]
    found = read_tsp(paths[1])
    assert found.depths.tolist() == points.tolist()
    np.testing.assert_array_equal(found.values, values[1, 0].T)
    # one that was chosen needs no dimension
    (path,) = to_profiles(da.isel(station=0, scenario=1), tmp_path, overwrite=True)
    assert path.name == "Inuvik.nc"
    np.testing.assert_array_equal(read_tsp(path).values, values[1, 0].T)


def test_the_file_is_a_time_series_profile(tmp_path):
    path = to_profiles(stations().drop_vars("depth_bnds"), tmp_path)[0]
    with netCDF4.Dataset(path) as file:
        assert file.featureType == "timeSeriesProfile"
        assert file["soil_temperature"].dimensions == ("time", "depth")
        assert file["soil_temperature"].units == "degree_Celsius"
        assert np.isnan(file["soil_temperature"]._FillValue)
        assert file["station"].cf_role == "timeseries_id"
        assert (file["time"].axis, file["depth"].axis) == ("T", "Z")
        assert file["depth"].positive == "down"
        assert file["depth_bnds"][-1].tolist() == [1.0, 2.89]
        assert file["lat"].shape == file["lon"].shape == file["elevation"].shape == ()
        assert float(file["elevation"][...]) == 100.0
        named = file["soil_temperature"].coordinates.split()
        assert {"lat", "lon", "station", "elevation"} <= set(named)


def test_the_cf_checker_finds_no_error(tmp_path):
    from test_gis import complaints

    for path in to_profiles(stations(), tmp_path):
        assert complaints(path) == []
    assert complaints(to_netcdf(stations().isel(station=0), tmp_path / "one.nc")) == []


def test_profiles_come_back(tmp_path):
    ds = stations()
    path = to_profiles(ds, tmp_path)[2]
    with xr.open_dataset(path) as found:
        back = from_cf(found.load())
    assert back["station"].item() == "Жиганск"
    wanted = ds["tsl"].isel(station=2).transpose("time", "layer")
    np.testing.assert_allclose(back["soil_temperature"] + 273.15, wanted, rtol=1e-6)
    again = xp.standardize(found)
    assert again["tsl"].attrs["units"] == "K"
    np.testing.assert_allclose(again["tsl"].transpose("time", "layer"), wanted, rtol=1e-6)
    np.testing.assert_allclose(again["depth_bnds"], ds["depth_bnds"])


def test_lazy_data_are_computed_file_by_file(tmp_path):
    ds = stations()
    ds["tsl"] = ds["tsl"].variable.chunk(station=1, time=-1)
    computed = []

    def scheduler(graph, keys, **options):
        computed.append(1)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=scheduler):
        to_profiles(ds, tmp_path)
        assert len(computed) == 3
        with pytest.raises(OutputExistsError, match=r"3 of 3 files exist.*overwrite=True"):
            to_profiles(ds, tmp_path)
        assert len(computed) == 3


def test_real_stations(tmp_path):
    if not YAKUTIA.exists():
        pytest.skip("needs ../shared/data/stations/yakutia_monthly.nc")
    raw = xr.load_dataset(YAKUTIA, engine="netcdf4")
    paths = to_profiles(xp.standardize(raw), tmp_path)
    assert [path.stem for path in paths] == raw["station"].values.tolist()
    for k, path in enumerate(paths):
        found = read_tsp(path)
        assert found.depths.tolist() == [0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2]
        np.testing.assert_allclose(found.values, raw["tsl"][k].values, atol=1e-4)


def test_what_is_no_profile_is_refused(tmp_path):
    ds = stations()
    with pytest.raises(DimensionError, match=r"'lat', 'lon' and 'depth'.*assign_coords"):
        to_profiles(ds.drop_vars("lat"), tmp_path)
    with pytest.raises(DimensionError, match="to_vector"):
        to_profiles(canonical(), tmp_path)
    with pytest.raises(DimensionError, match="to_profiles needs dims"):
        to_profiles(ds.isel(time=0), tmp_path)
    with pytest.raises(MissingVariableError, match=r"needs 'tsl' or 'soil_temperature'; found"):
        to_profiles(ds.drop_vars("tsl"), tmp_path)
    with pytest.raises(UnitsError, match="'tsl' needs units K or degree_Celsius; found ''"):
        to_profiles(ds.assign(tsl=ds["tsl"].drop_attrs()), tmp_path)
    with pytest.raises(OutputExistsError, match=r"more than one file, 'Healy.nc'.*Rename"):
        to_profiles(ds.isel(station=[0, 0]), tmp_path)
    with pytest.raises(FileNotFoundError, match="create it"):
        to_profiles(ds, tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_names_stay_in_the_folder(tmp_path):
    ds = stations().isel(station=[0]).assign_coords(station=["../../Healy/2"])
    (path,) = to_profiles(ds, tmp_path)
    assert path.parent == tmp_path
    assert path.name == "Healy-2.nc"
    assert list(tmp_path.iterdir()) == [path]
