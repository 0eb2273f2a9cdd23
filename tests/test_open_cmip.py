"""Sets of CMIP files: facets, periods, members, scenarios, and what does not fit together."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from xpermafrost.errors import (
    DataError,
    DimensionError,
    ScenarioError,
    SourceError,
    TimeAxisError,
    UnknownNameError,
)
from xpermafrost.experiment import with_scenarios
from xpermafrost.schema import layer_bounds
from xpermafrost.sources import _cmip_files
from xpermafrost.sources._cmip_files import open_cmip
from xpermafrost.testing import canonical

UNITS = {"tas": "K", "pr": "kg m-2 s-1", "tsl": "K", "mrlsl": "kg m-2", "mrsol": "kg m-2",
         "sftlf": "%", "orog": "m"}  # fmt: skip
LEVEL = {"tas": 260.0, "pr": 1e-5, "tsl": 270.0, "mrlsl": 30.0, "mrsol": 30.0, "sftlf": 90.0,
         "orog": 200.0}  # fmt: skip
LAT, LON = np.array([60.0, 65.0, 70.0]), np.array([0.0, 120.0, 240.0])


class Archive:
    """Writes small CMIP files into a folder."""

    def __init__(self, folder, *, phase=6, model="IPSL-CM6A-LR", calendar="noleap", attrs=True):
        self.folder, self.phase, self.model = folder, phase, model
        self.calendar, self.attrs = calendar, attrs

    def write(self, variable, experiment, start, stop, *, member=1, **options):
        """Months ``start`` to ``stop``, both "YYYY-MM" and included."""
        ds = self.dataset(variable, start, stop, member=member, **options)
        table = options.get("table", "Lmon" if variable in ("tsl", "mrlsl", "mrsol") else "Amon")
        return self._save(ds, variable, experiment, table, f"r{member}i1p1", start, stop)

    def fixed(self, variable, experiment="historical", *, lat=LAT):
        values = np.full((lat.size, 3), LEVEL[variable])
        ds = xr.Dataset({variable: (("lat", "lon"), values, {"units": UNITS[variable]})},
                        {"lat": lat, "lon": LON})  # fmt: skip
        return self._save(ds, variable, experiment, "fx", "r0i0p0", None, None)

    def dataset(self, variable, start, stop, *, member=1, lat=LAT, edges=None, shift=0.0, **other):
        freq = other.get("freq", "MS")
        time = xr.date_range(start, _after(stop), freq=freq, calendar=self.calendar,
                             use_cftime=True, inclusive="left")  # fmt: skip
        if other.get("freq") is None:  # the middle of the month, as CMIP stamps it
            time = time.shift(15, "D")
        month = np.array([12 * t.year + t.month for t in time])
        values = LEVEL[variable] * (1 + 1e-4 * (month % 12) + 1e-3 * member) + shift
        dims, coords = ("time", "lat", "lon"), {"time": time, "lat": lat, "lon": LON}
        data = np.broadcast_to(values[:, None, None], (month.size, lat.size, 3))
        extra = {}
        if variable in ("tsl", "mrlsl", "mrsol"):
            bounds = np.stack([edges[:-1], edges[1:]], axis=1)
            dims = ("time", "depth", "lat", "lon")
            data = np.broadcast_to(data[:, None], (month.size, len(bounds), lat.size, 3))
            attrs = {"units": "m", "positive": "down", "axis": "Z", "bounds": "depth_bnds"}
            coords["depth"] = ("depth", bounds.mean(axis=1), attrs)
            extra["depth_bnds"] = (("depth", "bnds"), bounds)
        attrs = {"units": UNITS[variable]}
        return xr.Dataset({variable: (dims, data, attrs), **extra}, coords).assign_coords(
            height=2.0
        )

    def _save(self, ds, variable, experiment, table, member, start, stop):
        fixed = start is None
        grid = ""
        if self.phase == 6:
            member = (member if not fixed else "r1i1p1") + "f1"
            grid = "_gr"
            attrs = {
                "mip_era": "CMIP6",
                "source_id": self.model,
                "experiment_id": experiment,
                "variant_label": member,
                "table_id": table,
                "variable_id": variable,
                "grid_label": "gr",
                "tracking_id": f"hdl:{variable}{start}",
            }
        else:
            numbers = [
                int(x) for x in member.replace("r", "").replace("i", " ").replace("p", " ").split()
            ]
            attrs = {
                "project_id": "CMIP5",
                "model_id": self.model,
                "experiment_id": experiment,
                "realization": numbers[0],
                "initialization_method": numbers[1],
                "physics_version": numbers[2],
                "table_id": f"Table {table} (31 January 2011) abc",
                "frequency": "fx" if fixed else "mon",
            }
        period = "" if fixed else f"_{start.replace('-', '')}-{stop.replace('-', '')}"
        path = (
            self.folder / f"{variable}_{table}_{self.model}_{experiment}_{member}{grid}{period}.nc"
        )
        encoding = {} if fixed else {"time": {"units": "days since 1850-01-01"}}
        ds.assign_attrs(attrs if self.attrs else {}).to_netcdf(
            path, engine="netcdf4", encoding=encoding
        )
        return path


def _after(month):
    year, number = (int(part) for part in month.split("-"))
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


@pytest.fixture
def full(archive):
    """Two variables, history in two pieces, two scenarios, land share and orography."""
    for variable in ("tas", "pr"):
        archive.write(variable, "historical", "2010-01", "2012-12")
        archive.write(variable, "historical", "2013-01", "2014-12")
        archive.write(variable, "ssp126", "2015-01", "2017-12")
        archive.write(variable, "ssp585", "2015-01", "2017-12")
    archive.fixed("sftlf")
    archive.fixed("orog", "ssp585")
    return archive


def test_scenarios_variables_and_fixed_fields(full):
    runs = open_cmip(full.folder)
    assert list(runs) == ["historical", "ssp126", "ssp585"]
    for ds in runs.values():
        assert set(ds.data_vars) == {"tas", "pr", "sftlf", "elevation"}
        assert ds["lon"].values.tolist() == [-120, 0, 120]
        assert (ds["time"].dt.day == 1).all()
        assert ds["sftlf"].dims == ("lat", "lon")
        assert ds.attrs["source_id"] == "IPSL-CM6A-LR"
        assert "tracking_id" not in ds.attrs
        assert ds.attrs["history"].endswith("open_cmip(10 files)")
    assert runs["historical"].sizes["time"] == 60
    assert str(runs["ssp585"]["time"].values[0])[:7] == "2015-01"
    first = runs["historical"]["tas"].isel(time=0, lat=0, lon=0)
    assert float(first) == pytest.approx(260 * (1 + 1e-4 + 1e-3))


def test_order_of_the_files_does_not_matter(full):
    files = sorted(full.folder.iterdir())
    for other in (files[::-1], files[1::2] + files[::2]):
        for name, ds in open_cmip(other).items():
            expected = open_cmip(files)[name]
            xr.testing.assert_identical(
                ds[sorted(ds.data_vars)].drop_attrs(), expected[sorted(ds.data_vars)].drop_attrs()
            )


@pytest.mark.parametrize("phase", [5, 6])
def test_names_serve_where_attributes_are_silent(tmp_path, phase):
    for attrs in (True, False):
        folder = tmp_path / str(attrs)
        folder.mkdir()
        archive = Archive(folder, phase=phase, attrs=attrs)
        archive.write("tas", "rcp85", "2006-01", "2007-12")
        archive.fixed("sftlf")
    with_attrs, without = (open_cmip(tmp_path / str(x))["rcp85"] for x in (True, False))
    xr.testing.assert_equal(with_attrs, without)
    assert set(without.data_vars) == {"tas", "sftlf"}


def test_attributes_serve_where_names_say_nothing(full):
    for number, path in enumerate(sorted(full.folder.iterdir())):
        path.rename(path.with_name(f"download_{number}.nc"))
    assert list(open_cmip(full.folder)) == ["historical", "ssp126", "ssp585"]


def test_neither_says_anything(tmp_path):
    path = Archive(tmp_path, attrs=False).write("tas", "ssp126", "2015-01", "2015-12")
    with pytest.raises(SourceError, match=r"x\.nc' tells no variable, experiment, model, member"):
        open_cmip(path.rename(tmp_path / "x.nc"))


def test_name_and_attributes_contradict(archive):
    path = archive.write("tas", "ssp126", "2015-01", "2015-12")
    with pytest.raises(SourceError, match=r"named 'ssp585', but its attributes say .* 'ssp126'"):
        open_cmip(path.rename(path.with_name(path.name.replace("ssp126", "ssp585"))))


# periods


def test_overlap_of_the_same_data(archive):
    archive.write("tas", "ssp126", "2015-01", "2016-12")
    archive.write("tas", "ssp126", "2016-01", "2017-12")
    assert open_cmip(archive.folder)["ssp126"].sizes["time"] == 36


def test_overlap_of_other_data(archive):
    archive.write("tas", "ssp126", "2015-01", "2016-12")
    archive.write("tas", "ssp126", "2016-01", "2017-12", shift=0.5)
    with pytest.raises(
        TimeAxisError, match=r"201501-201612\.nc' and .*201601-201712\.nc' both hold 'tas'"
    ):
        open_cmip(archive.folder)


def test_gap(archive):
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    archive.write("tas", "ssp126", "2017-01", "2017-12")
    with pytest.raises(TimeAxisError, match=r"ends 2015-12, and .* begins 2017-01, 12 months"):
        open_cmip(archive.folder)


def test_variables_over_different_periods(archive):
    archive.write("tas", "ssp126", "2015-01", "2017-12")
    archive.write("pr", "ssp126", "2016-01", "2016-12")
    ds = open_cmip(archive.folder)["ssp126"]
    assert ds.sizes["time"] == 36
    assert np.isnan(ds["pr"]).sel(time="2015").all()
    assert np.isfinite(ds["pr"]).sel(time="2016").all()


@pytest.mark.parametrize(
    ("phase", "end", "begin"), [(5, "2005-12", "2006-01"), (6, "2014-12", "2015-01")]
)
def test_joined(tmp_path, phase, end, begin):
    archive = Archive(tmp_path, phase=phase)
    archive.write("tas", "historical", "2004-01", end)
    archive.write("tas", "rcp85", begin, "2017-12")
    archive.fixed("sftlf")
    runs = open_cmip(tmp_path, historical="joined")
    assert list(runs) == ["rcp85"]
    ds = runs["rcp85"]
    assert ds.sizes["time"] == 14 * 12
    assert "time" not in ds["sftlf"].dims
    apart = open_cmip(tmp_path)
    xr.testing.assert_equal(ds["tas"].sel(time=slice(end)), apart["historical"]["tas"])
    xr.testing.assert_equal(ds["tas"].sel(time=slice(begin, None)), apart["rcp85"]["tas"])


def test_a_history_that_runs_on_ends_where_the_scenario_begins(archive):
    archive.write("tas", "historical", "2004-01", "2012-12")
    archive.write("tas", "rcp85", "2006-01", "2010-12", shift=1.0)
    ds = open_cmip(archive.folder, historical="joined")["rcp85"]
    assert ds.sizes["time"] == 7 * 12
    assert float(ds["tas"].sel(time="2006-01").mean() - ds["tas"].sel(time="2005-01").mean()) > 0.9


def test_joined_with_a_gap(archive):
    archive.write("tas", "historical", "2004-01", "2005-12")
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    with pytest.raises(TimeAxisError, match="'historical' ends 2005-12 and 'ssp126' begins"):
        open_cmip(archive.folder, historical="joined")


def test_joined_needs_both(archive):
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    with pytest.raises(ScenarioError, match=r"needs files of 'historical' .* found \['ssp126'\]"):
        open_cmip(archive.folder, historical="joined")
    with pytest.raises(UnknownNameError, match="did you mean 'joined'"):
        open_cmip(archive.folder, historical="join")


def test_joined_needs_the_same_variables(archive):
    archive.write("tas", "historical", "2014-01", "2014-12")
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    archive.write("pr", "ssp126", "2015-01", "2015-12")
    with pytest.raises(ScenarioError, match=r"'historical' and 'ssp126' .*\['pr'\]"):
        open_cmip(archive.folder, historical="joined")


# members and models


def test_members(archive):
    for member in (10, 2, 1):
        archive.write("tas", "historical", "2014-01", "2014-12", member=member)
        archive.write("tas", "ssp126", "2015-01", "2016-12", member=member)
    archive.fixed("sftlf")
    runs = open_cmip(archive.folder)
    ds = runs["ssp126"]
    assert ds["member"].values.tolist() == ["r1i1p1f1", "r2i1p1f1", "r10i1p1f1"]
    assert ds["tas"].dims == ("member", "time", "lat", "lon")
    assert ds["sftlf"].dims == ("lat", "lon")
    np.testing.assert_allclose(ds["tas"].isel(time=0, lat=0, lon=0) / 260 - 1, 1e-4 + 1e-3
                               * np.array([1, 2, 10]), rtol=1e-4)  # fmt: skip
    two = open_cmip(archive.folder, member=["r1i1p1f1", "r10i1p1f1"])["ssp126"]
    xr.testing.assert_equal(two["tas"], ds["tas"].isel(member=[0, 2]))
    one = open_cmip(archive.folder, member="r2i1p1f1")["ssp126"]
    assert "member" not in one.dims
    np.testing.assert_array_equal(one["tas"], ds["tas"].isel(member=1))
    joined = open_cmip(archive.folder, historical="joined")["ssp126"]
    assert joined["tas"].sizes == {"member": 3, "time": 36, "lat": 3, "lon": 3}
    with pytest.raises(UnknownNameError, match=r"member among the files 'r3i1p1f1'"):
        open_cmip(archive.folder, member="r3i1p1f1")


def test_members_without_a_history(archive):
    archive.write("tas", "historical", "2014-01", "2014-12")
    for member in (1, 2):
        archive.write("tas", "ssp126", "2015-01", "2015-12", member=member)
    with pytest.raises(ScenarioError, match=r"members \['r2i1p1f1'\] of 'ssp126' have no 'hist"):
        open_cmip(archive.folder, historical="joined")
    chosen = open_cmip(archive.folder, historical="joined", member="r1i1p1f1")
    assert chosen["ssp126"].sizes["time"] == 24


def test_one_member_takes_its_own_history(archive):
    for member in (1, 2):
        archive.write("tas", "historical", "2014-01", "2014-12", member=member)
    archive.write("tas", "ssp126", "2015-01", "2015-12", member=2)
    joined = open_cmip(archive.folder, historical="joined")["ssp126"]
    expected = open_cmip(archive.folder, member="r2i1p1f1")["historical"]
    assert "member" not in joined.dims
    np.testing.assert_array_equal(joined["tas"][:12], expected["tas"])


def test_members_with_different_variables(archive):
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    archive.write("pr", "ssp126", "2015-01", "2015-12")
    archive.write("tas", "ssp126", "2015-01", "2015-12", member=2)
    with pytest.raises(SourceError, match=r"'r1i1p1f1' and 'r2i1p1f1' of 'ssp126' .*\['pr'\]"):
        open_cmip(archive.folder)


def test_models(archive):
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    archive.model = "MIROC6"
    archive.write("tas", "ssp126", "2015-01", "2016-12")
    with pytest.raises(SourceError, match=r"several models, \['IPSL-CM6A-LR', 'MIROC6'\].*model="):
        open_cmip(archive.folder)
    assert open_cmip(archive.folder, model="MIROC6")["ssp126"].sizes["time"] == 24
    with pytest.raises(UnknownNameError, match="'MIROC5'; did you mean 'MIROC6'"):
        open_cmip(archive.folder, model="MIROC5")


# what does not fit together


def test_mixed_calendars(archive):
    archive.write("tas", "historical", "2014-01", "2014-12")
    archive.calendar = "360_day"
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    with pytest.raises(TimeAxisError, match=r"mixed calendars: .*'noleap', .*'360_day'"):
        open_cmip(archive.folder)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_calendars(tmp_path, calendar):
    archive = Archive(tmp_path, calendar=calendar)
    archive.write("tas", "ssp126", "2015-01", "2016-12")
    ds = open_cmip(tmp_path)["ssp126"]
    assert ds["time"].dtype == "datetime64[ns]"
    assert ds.sizes["time"] == 24


def test_different_grids(archive):
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    archive.write("pr", "ssp126", "2015-01", "2015-12", lat=LAT + 1)
    with pytest.raises(DimensionError, match=r"pr_.*differ along 'lat'|tas_.*differ along 'lat'"):
        open_cmip(archive.folder)


def test_land_share_on_another_grid(archive):
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    archive.fixed("sftlf", lat=LAT[:2])
    with pytest.raises(DimensionError, match=r"sftlf_.*2 values"):
        open_cmip(archive.folder)


def test_soil_layers_of_temperature_and_water(archive):
    archive.write("tsl", "ssp126", "2015-01", "2015-12", edges=[0, 0.1, 0.5, 2])
    archive.write("mrsol", "ssp126", "2015-01", "2015-12", edges=[0, 0.1, 0.5, 2])
    ds = open_cmip(archive.folder)["ssp126"]
    assert ds["tsl"].dims == ds["mrsol"].dims == ("time", "layer", "lat", "lon")
    np.testing.assert_allclose(layer_bounds(ds), [[0, 0.1], [0.1, 0.5], [0.5, 2]])


def test_cmip5_name_of_the_water_of_a_layer(tmp_path):
    Archive(tmp_path, phase=5).write("mrlsl", "rcp26", "2006-01", "2006-12", edges=[0, 0.1, 2])
    assert "mrsol" in open_cmip(tmp_path)["rcp26"]


def test_different_soil_layers(archive):
    archive.write("tsl", "ssp126", "2015-01", "2015-12", edges=[0, 0.1, 0.5, 2])
    archive.write("mrsol", "ssp126", "2015-01", "2015-12", edges=[0, 0.2, 2])
    with pytest.raises(SourceError, match=r"\['tsl', 'mrsol'\]|\['mrsol', 'tsl'\]") as caught:
        open_cmip(archive.folder)
    assert "remap_layers" in str(caught.value)
    assert "[0.0, 0.2]" in str(caught.value)


def test_two_tables_of_one_variable(archive):
    archive.write("tas", "ssp126", "2015-01", "2015-12")
    archive.write("tas", "ssp126", "2015-01", "2015-02", table="day", freq="D")
    with pytest.raises(SourceError, match=r"of the tables \['Amon', 'day'\]"):
        open_cmip(archive.folder)


def test_only_fixed_fields(archive):
    archive.fixed("sftlf")
    with pytest.raises(SourceError, match=r"only the fixed fields \['sftlf'\]"):
        open_cmip(archive.folder)


def test_a_file_that_does_not_hold_what_it_says(archive):
    path = archive.write("tas", "ssp126", "2015-01", "2015-12")
    with xr.open_dataset(path, engine="netcdf4") as ds:
        renamed = ds.load().rename(tas="air")
    path.unlink()
    renamed.to_netcdf(path, engine="netcdf4")
    with pytest.raises(SourceError, match=r"should hold 'tas'; it holds \['air'\]"):
        open_cmip(path)


def test_what_standardize_refuses_names_the_file(archive):
    path = archive.write("tas", "ssp126", "2015-01", "2016-12", shift=-273.15)
    with pytest.raises(SourceError, match=r"tas_Amon_.*201612\.nc: 'tas' spans"):
        open_cmip(path)


def test_other_files(tmp_path):
    (tmp_path / "a.nc").write_text("<html>")
    with pytest.raises(DataError, match="HTML"):
        open_cmip(tmp_path / "a.nc")
    (tmp_path / "a.nc").write_bytes(b"GRIB")
    with pytest.raises(DataError, match=r"open_cmip reads NetCDF files; .* is grib"):
        open_cmip(tmp_path / "a.nc")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        open_cmip(tmp_path / "tas_*.nc")


# laziness and use


def test_lazy(full):
    def refuse(*args, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        runs = open_cmip(full.folder, historical="joined", chunks={})
    assert runs["ssp585"]["tas"].chunks is not None
    for name, ds in open_cmip(full.folder, historical="joined").items():
        xr.testing.assert_allclose(runs[name].compute(), ds)


def test_each_file_is_looked_at_once_and_read_once(full, monkeypatch):
    seen = []
    original = _cmip_files.read_file

    def counted(path, **options):
        seen.append((path.name, options["chunks"]))
        return original(path, **options)

    monkeypatch.setattr(_cmip_files, "read_file", counted)
    open_cmip(full.folder)
    assert len(seen) == len(set(map(str, seen))) == 20


def test_the_result_joins_an_experiment(full):
    reference = canonical(years=3, locations=("a",), dim="station")
    reference = reference.assign_coords(lat=("station", [65.0]), lon=("station", [120.0]))
    whole = with_scenarios(reference, open_cmip(full.folder))
    assert whole["scenario"].values.tolist() == ["reference", "historical", "ssp126", "ssp585"]


def test_a_scenario_beyond_2261(archive):
    path = archive.write("tas", "ssp585", "2255-01", "2265-12")
    with pytest.raises(
        TimeAxisError, match=r"found 2255 to 2265\. Leave later years or their files"
    ):
        open_cmip(path)
