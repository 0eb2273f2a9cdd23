"""Opening files: formats by content, zips, GRIB, joining, and everything that is no data."""

from __future__ import annotations

import io
import stat
import tempfile
import zipfile
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.errors import (
    DataError,
    DimensionError,
    PermafrostWarning,
    SourceError,
    TimeAxisError,
)
from xpermafrost.sources import _archives, standardize
from xpermafrost.sources._open import open_dataset, open_raw

LAT, LON = [65.2, 65.1, 65.0], [210.0, 210.1, 210.2, 210.3]


def field(months, level, *, time="valid_time", hour=0, start="2001-01", **attrs):
    stamps = pd.date_range(start, periods=months, freq="MS") + pd.Timedelta(hours=hour)
    month = stamps.month.to_numpy()[:, None, None]
    values = level * (1 + 0.01 * month + 0.001 * np.arange(12).reshape(3, 4))
    return xr.DataArray(
        values.astype("float32"),
        dims=(time, "latitude", "longitude"),
        coords={time: stamps, "latitude": LAT, "longitude": LON},
        attrs=attrs,
    )


def states(months=24, **options):
    """What the Climate Data Store sends of the analysis."""
    t2m = field(months, 260.0, units="K", GRIB_paramId=167, GRIB_stepType="avgua", **options)
    return xr.Dataset({"t2m": t2m}).assign_coords(number=0)


def totals(months=24, *, hour=6, **options):
    """What it sends of the forecasts: stamps at 06 h, other bookkeeping."""
    tp = field(
        months, 1e-3, hour=hour, units="m", GRIB_paramId=228, GRIB_stepType="avgad", **options
    )
    return xr.Dataset({"tp": tp}).assign_coords(number=0, surface=0.0)


def with_expver(ds, label):
    return ds.assign_coords(expver=("valid_time", [label] * ds.sizes["valid_time"]))


def write(ds, path, **options):
    ds.to_netcdf(path, engine="netcdf4", **options)
    return path


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else as_bytes(content))
    return path


def as_bytes(ds):
    with tempfile.TemporaryDirectory() as folder:
        return write(ds, Path(folder) / "x.nc").read_bytes()


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory, monkeypatch):
    """A folder for temporary files that can be looked into."""
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def nothing_is_computed():
    def refuse(*args, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        yield


def same(one, two):
    xr.testing.assert_identical(one.drop_attrs(deep=False), two.drop_attrs(deep=False))


# formats


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
@pytest.mark.parametrize("suffix", [".nc", ".grib", ".zip", ".csv", ""])
def test_the_content_decides_not_the_suffix(tmp_path, form, suffix):
    path = write(states(), tmp_path / f"download{suffix}", format=form)
    same(open_dataset(path), standardize(states()))


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_zarr_store(tmp_path, consolidated, version):
    pytest.importorskip("zarr")
    states().to_zarr(tmp_path / "era5", consolidated=consolidated, zarr_format=version)
    same(open_dataset(tmp_path / "era5"), standardize(states()))
    lazy = open_dataset(tmp_path / "era5", chunks={})
    assert lazy["tas"].chunks is not None


def test_a_result_in_memory_needs_the_file_no_more(tmp_path):
    path = write(states(), tmp_path / "a.nc")
    out = open_raw(path)
    path.unlink()
    assert out["t2m"].chunks is None
    np.testing.assert_array_equal(out["t2m"], states()["t2m"])


def test_with_chunks_nothing_is_read(tmp_path, nothing_is_computed):
    write(states(12), tmp_path / "a_2001.nc")
    write(states(12, start="2002-01"), tmp_path / "a_2002.nc")
    out = open_dataset(tmp_path / "a_*.nc", chunks={})
    assert out["tas"].chunks is not None
    assert out.sizes["time"] == 24


def test_lazy_values_are_those_in_memory(tmp_path):
    path = zipped(tmp_path / "a.zip", {"1.nc": states(), "2.nc": totals()})
    lazy = open_dataset(path, chunks={"valid_time": 6})
    xr.testing.assert_allclose(lazy.compute(), open_dataset(path))


def test_history_says_what_was_opened(tmp_path):
    out = open_dataset(write(states(), tmp_path / "a.nc"))
    opened, standardized = out.attrs["history"].splitlines()
    assert "open_dataset('a.nc')" in opened
    assert "standardize(" in standardized


def test_a_duration_in_days_stays_a_number(tmp_path):
    ds = states().assign(snow_days=states()["t2m"].drop_attrs().assign_attrs(units="days"))
    assert open_raw(write(ds, tmp_path / "a.nc"))["snow_days"].dtype.kind == "f"


def test_path_objects_text_and_home(tmp_path, monkeypatch):
    write(states(), tmp_path / "a.nc")
    monkeypatch.setenv("HOME", str(tmp_path))
    same(open_dataset("~/a.nc"), open_dataset(tmp_path / "a.nc"))


# joining


def test_zip_split_by_step_type(tmp_path, scratch):
    path = zipped(
        tmp_path / "download.zip",
        {
            "data_stream-moda_stepType-avgua.nc": with_expver(states(), "0001"),
            "data_stream-moda_stepType-avgad.nc": with_expver(totals(), "0001"),
            "readme.txt": b"thank you",
        },
    )
    out = open_dataset(path)
    assert set(out.data_vars) == {"tas", "pr"}
    assert out.sizes["time"] == 24
    assert (out["time"].dt.day == 1).all()
    np.testing.assert_allclose(
        out["pr"].sortby("lat", ascending=False), totals()["tp"] * 1000 / 86400, rtol=1e-6
    )
    assert list(scratch.iterdir()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["download.zip"]


def test_a_month_that_is_preliminary_in_one_file_is_preliminary(tmp_path):
    labels = ["0001"] * 23 + ["0005"]
    late = totals().assign_coords(expver=("valid_time", labels))
    path = zipped(tmp_path / "a.zip", {"1.nc": with_expver(states(), "0001"), "2.nc": late})
    assert open_raw(path)["expver"].values.tolist() == labels


def test_preliminary_months_of_a_zip_are_told(tmp_path):
    labels = ["0001"] * 23 + ["0005"]
    late = totals().assign_coords(expver=("valid_time", labels))
    path = zipped(tmp_path / "a.zip", {"1.nc": with_expver(states(), "0001"), "2.nc": late})
    with pytest.warns(PermafrostWarning, match="2002-12"):
        open_dataset(path)


def test_lazy_zip_lives_on(tmp_path, scratch):
    path = zipped(tmp_path / "a.zip", {"1.nc": states(), "2.nc": totals()})
    lazy = open_dataset(path, chunks={})["pr"]
    path.unlink()
    assert len(list(scratch.iterdir())) == 1  # goes when the interpreter ends
    assert float(lazy.mean()) > 0


def test_files_by_year_and_variable_in_any_order(tmp_path):
    for year in (2001, 2002, 2003):
        write(states(12, start=f"{year}-01"), tmp_path / f"air_{year}.nc")
        write(totals(12, start=f"{year}-01"), tmp_path / f"rain_{year}.nc")
    whole = standardize(states(36)).assign(pr=standardize(totals(36, hour=0))["pr"])
    files = sorted(tmp_path.iterdir(), reverse=True)
    same(open_dataset(tmp_path), whole[["tas", "pr"]])
    same(open_dataset(str(tmp_path / "*.nc")), whole[["tas", "pr"]])
    same(open_dataset(files)[["tas", "pr"]], whole[["tas", "pr"]])


def test_other_names_of_time_and_integer_dates(tmp_path):
    first = write(states(12), tmp_path / "1.nc")
    second = states(12, start="2002-01").rename(valid_time="date")
    numbers = [int(f"2002{m:02d}01") for m in range(1, 13)]
    write(second.assign_coords(date=numbers), tmp_path / "2.nc")
    same(open_dataset([first, tmp_path / "2.nc"]), standardize(states(24)))


def test_legacy_expver_dimension_beside_plain_years(tmp_path):
    plain = write(states(12, time="time"), tmp_path / "2001.nc")
    ds = states(6, time="time", start="2002-01")
    final = ds.where(ds["time"].dt.month < 5)
    early = ds.where(ds["time"].dt.month >= 5)
    halves = xr.concat([early, final], dim=xr.DataArray([5, 1], dims="expver", name="expver"))
    write(halves, tmp_path / "2002.nc")
    out = open_raw([plain, tmp_path / "2002.nc"])
    np.testing.assert_array_equal(out["t2m"], states(18)["t2m"])
    assert out["expver"].values.tolist()[12:] == ["0001"] * 4 + ["0005"] * 2


def test_the_same_months_twice_are_taken_once(tmp_path):
    write(states(12), tmp_path / "1.nc")
    write(states(12, start="2001-07"), tmp_path / "2.nc")
    same(open_dataset(tmp_path), standardize(states(18)))


def test_the_same_months_with_other_values(tmp_path):
    write(states(12), tmp_path / "1.nc")
    write(states(12, start="2001-07") + 1, tmp_path / "2.nc")
    with pytest.raises(
        TimeAxisError, match=r"1\.nc' and .*2\.nc' both hold 't2m' .*2001-07-01 to 2001-12-01"
    ):
        open_dataset(tmp_path)


def test_months_missing_between_files(tmp_path):
    write(states(12), tmp_path / "1.nc")
    write(states(12, start="2002-04"), tmp_path / "2.nc")
    with pytest.raises(
        TimeAxisError, match=r"1\.nc', which ends 2001-12, and .*begins 2002-04, 3 months"
    ):
        open_dataset(tmp_path)


def test_static_fields(tmp_path):
    lsm = states(1)["t2m"].isel(valid_time=0, drop=True).rename("lsm")
    write(states(12).assign(lsm=lsm), tmp_path / "1.nc")
    write(states(12, start="2002-01").assign(lsm=lsm), tmp_path / "2.nc")
    assert open_raw(tmp_path)["lsm"].dims == ("latitude", "longitude")
    write(states(12, start="2003-01").assign(lsm=lsm + 1), tmp_path / "3.nc")
    with pytest.raises(DataError, match=r"both hold 'lsm' for static fields"):
        open_raw(tmp_path)


def test_other_grids(tmp_path):
    write(states(12), tmp_path / "1.nc")
    shifted = states(12, start="2002-01").assign_coords(latitude=[64.2, 64.1, 64.0])
    write(shifted, tmp_path / "2.nc")
    with pytest.raises(DimensionError, match=r"1\.nc' and .*2\.nc' differ along 'latitude'"):
        open_dataset(tmp_path)
    write(totals().isel(latitude=[0, 1]), tmp_path / "2.nc")
    with pytest.raises(DimensionError, match=r"3 values, 65.2 to 65.0 and 2 values"):
        open_dataset(tmp_path)


def test_grids_that_differ_by_rounding(tmp_path):
    write(states(12), tmp_path / "1.nc")
    rounded = np.asarray(LAT, "float32").astype("float64")
    write(totals(12).assign_coords(latitude=rounded), tmp_path / "2.nc")
    assert open_dataset(tmp_path).sizes == {"time": 12, "lat": 3, "lon": 4}


def test_hours_are_not_taken_for_months(tmp_path):
    """States at 00 h and totals at 06 h of days are not monthly means."""
    days = pd.date_range("2001-01-01", periods=5, freq="D")
    air = states(5).assign_coords(valid_time=days)
    rain = totals(5).assign_coords(valid_time=days + pd.Timedelta(hours=6))
    write(air, tmp_path / "1.nc")
    write(rain, tmp_path / "2.nc")
    assert open_raw(tmp_path).sizes["valid_time"] == 10


def test_one_month_of_means(tmp_path):
    path = zipped(tmp_path / "a.zip", {"1.nc": states(1), "2.nc": totals(1)})
    assert open_dataset(path).sizes["time"] == 1


# bad input: what and where


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.nc"):
        open_dataset(tmp_path / "absent.nc")
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.nc"):
        open_dataset(tmp_path / "*.nc")
    with pytest.raises(FileNotFoundError, match="list of paths is empty"):
        open_dataset([])
    with pytest.raises(FileNotFoundError, match="is an address"):
        open_dataset("https://example.org/a.nc")


BAD = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "html": (b"\n<!DOCTYPE html>\n<title>502 Bad Gateway</title>", "HTML.*'<!DOCTYPE html>'"),
    "xml": (b"<?xml version='1.0'?><Error/>", "HTML or XML"),
    "json": (b'{"title": "rate limit"}', "JSON, not data.*rate limit"),
    "zeros": (b"\x00" * 600, "begins with zeros"),
    "binary": (b"\x01\x02\x00\x03" * 50, "binary and neither NetCDF"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "gzip-compressed"),
    "tiff": (b"II*\x00rest", "TIFF image"),
    "excel": (b"\xd0\xcf\x11\xe0rest", "save the sheet as CSV"),
    "utf-16": ("time,tas\n".encode("utf-16"), "UTF-16"),
    "latin-1": ("time,Température\n2001,1".encode("latin-1"), "not UTF-8"),
    "prose": (b"Error: quota exceeded\n", "no.* table .*'Error: quota exceeded'"),
    "numbers": (b"1.0,2.0\n3.0,4.0\n", "row of column names; its first line says '1.0,2.0'"),
    "header only": (b"time,tas [degC]\n", "has a header and no rows"),
    "netcdf 4 cut": (lambda: as_bytes(states())[:-200], "truncated or corrupted"),
    "netcdf 4 begun": (b"\x89HDF\r\n\x1a\n", "truncated or corrupted"),
    "netcdf 3 begun": (b"CDF\x01\x00", "truncated or corrupted"),
    "zip cut": (
        lambda: zip_bytes({"a.nc": as_bytes(states())})[:-30],
        "truncated or corrupted zip",
    ),
    "zip damaged": (lambda: damaged(zip_bytes({"a.nc": as_bytes(states())})), "corrupted zip"),
    "zip of nothing": (lambda: zip_bytes({}), "holds no data file.*holds nothing"),
    "zip of prose": (lambda: zip_bytes({"a.txt": b"sorry"}), r"no data file.*\['a.txt'\]"),
    "zip in zip": (lambda: zip_bytes({"b.zip": zip_bytes({"a.txt": b"x"})}), "another zip"),
    "zip with empty member": (lambda: zip_bytes({"a.csv": b""}), r"!a\.csv' is empty"),
}


def zip_bytes(members):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


def damaged(content):
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(b ^ 0xFF for b in content[middle : middle + 40])
        + (content[middle + 40 :])
    )


@pytest.mark.parametrize("kind", list(BAD))
@pytest.mark.parametrize("chunks", [None, {}])
def test_bad_files(tmp_path, scratch, kind, chunks):
    content, message = BAD[kind]
    path = tmp_path / "download.nc"
    path.write_bytes(content if isinstance(content, bytes) else content())
    with pytest.raises(DataError, match=f"(?s)download.nc.*{message}|{message}"):
        open_dataset(path, chunks=chunks)
    assert [p.name for p in tmp_path.iterdir()] == ["download.nc"]
    assert list(scratch.iterdir()) == []


def test_the_messages_of_bad_files_differ(tmp_path):
    said = []
    for content, _ in BAD.values():
        path = tmp_path / "a.nc"
        path.write_bytes(content if isinstance(content, bytes) else content())
        with pytest.raises(DataError) as caught:
            open_dataset(path)
        assert "a.nc" in str(caught.value)
        said.append(str(caught.value))
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT"])
@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.2])
@pytest.mark.parametrize("record", [True, False])
def test_a_cut_netcdf_3_file_is_not_read_as_zeros(tmp_path, form, share, record):
    path = tmp_path / "a.nc"
    write(states(), path, format=form, unlimited_dims=["valid_time"] if record else [])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="truncated or corrupted"):
        open_dataset(path)


def test_damaged_values_of_netcdf_4(tmp_path):
    path = tmp_path / "a.nc"
    noise = np.random.default_rng(0).normal(size=(24, 3, 4))
    ds = states()
    ds["t2m"].values = ds["t2m"].values + noise
    write(ds, path, encoding={"t2m": {"zlib": True, "fletcher32": True}})
    content = bytearray(path.read_bytes())
    at = content.rfind(b"\x78\x5e") if b"\x78\x5e" in content else len(content) // 2
    content[at + 20 : at + 60] = bytes(40)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="truncated or corrupted"):
        open_dataset(path)


def test_folder_without_data(tmp_path):
    (tmp_path / "notes.md").write_text("time, tas")
    (tmp_path / "deeper").mkdir()
    with pytest.raises(DataError, match=r"holds no data file directly.*'deeper', 'notes.md'"):
        open_dataset(tmp_path)


def test_other_files_of_a_folder_are_passed_over(tmp_path):
    (tmp_path / "notes.md").write_text("time, tas")
    (tmp_path / ".hidden.nc").write_bytes(b"CDF\x01")
    write(states(), tmp_path / "a.nc")
    same(open_dataset(tmp_path), standardize(states()))


def test_nothing_recognised(tmp_path):
    path = write(states().rename(t2m="x").drop_attrs(), tmp_path / "a.nc")
    with pytest.raises(SourceError, match=r"nothing in .*a\.nc' is recognised.*\['x'\].*open_raw"):
        open_dataset(path)


def test_columns_are_for_tables(tmp_path):
    path = write(states(), tmp_path / "a.nc")
    with pytest.raises(SourceError, match="columns= is for tables of text"):
        open_dataset(path, columns={"tas": ("t2m", "K")})


# zips that are not to be trusted


def raw_zip(path, *infos):
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in infos:
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    "name",
    ["../evil.nc", "a/../../evil.nc", "/evil.nc", "..\\evil.nc", "C:/evil.nc", "C:\\evil.nc"],
)
def test_a_path_outside_the_folder(tmp_path, scratch, name):
    info = zipfile.ZipInfo("placeholder")
    info.filename = name
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    raw_zip(path, ("good.nc", as_bytes(states())), (info, as_bytes(states())))
    with pytest.raises(DataError, match=r"evil.nc' .* has a path outside .* nothing was unpacked"):
        open_dataset(path)
    assert list(scratch.iterdir()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert not list(scratch.parent.glob("*evil*"))


def test_a_link(tmp_path, scratch):
    info = zipfile.ZipInfo("data.nc")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = raw_zip(tmp_path / "a.zip", (info, b"/etc/passwd"))
    with pytest.raises(DataError, match=r"'data.nc' .* is a symbolic link"):
        open_dataset(path)
    assert list(scratch.iterdir()) == []


def test_an_encrypted_member(tmp_path):
    content = bytearray(zip_bytes({"a.nc": as_bytes(states())}))
    content[6] |= 1
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"'a.nc' .* is encrypted"):
        open_dataset(tmp_path / "a.zip")


def test_a_bomb(tmp_path, scratch, monkeypatch):
    monkeypatch.setattr(_archives, "HARMLESS", 2**20)
    big = as_bytes(states())[:8] + bytes(2**22)
    path = zipped(tmp_path / "a.zip", {"a.nc": big})
    with pytest.raises(DataError, match="more than 100 times as much: not unpacked"):
        open_dataset(path)
    assert list(scratch.iterdir()) == []


def test_more_than_the_disk_holds(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", {"a.nc": states()})
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr(_archives.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"10 free\. Set TMPDIR"):
        open_dataset(path)


def test_folders_in_a_zip_and_the_same_name_twice(tmp_path):
    path = zipped(
        tmp_path / "a.zip",
        {
            "2001/data.nc": states(12),
            "2002/data.nc": states(12, start="2002-01"),
            "__MACOSX/2001/._data.nc": b"CDF\x01junk",
        },
    )
    same(open_dataset(path), standardize(states(24)))


def test_a_table_in_a_zip(tmp_path):
    path = zipped(tmp_path / "a.zip", {"air.csv": b"date,tas [degC]\n2001-01,-20\n2001-02,-19\n"})
    assert open_dataset(path)["station"].values.tolist() == ["air"]


# GRIB


GRIB = {  # paramId: (level, step type, hour of the stamp)
    167: (260.0, "instant", 0),
    235: (259.0, "instant", 0),
    139: (265.0, "instant", 0),
    170: (266.0, "instant", 0),
    183: (267.0, "instant", 0),
    236: (268.0, "instant", 0),
    39: (0.30, "instant", 0),
    40: (0.31, "instant", 0),
    41: (0.32, "instant", 0),
    42: (0.33, "instant", 0),
    228: (1e-3, "avgd", 6),
    147: (-2e6, "avgd", 6),
}


def grib_bytes(eccodes, param, month, *, edition=1, hour=None):
    _, kind, own_hour = GRIB[param]
    message = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
    keys = {
        "centre": 98,
        "Ni": 4,
        "Nj": 3,
        "latitudeOfFirstGridPointInDegrees": 65.2,
        "latitudeOfLastGridPointInDegrees": 65.0,
        "longitudeOfFirstGridPointInDegrees": 210.0,
        "longitudeOfLastGridPointInDegrees": 210.3,
        "iDirectionIncrementInDegrees": 0.1,
        "jDirectionIncrementInDegrees": 0.1,
        "dataDate": 20010001 + month * 100,
        "dataTime": 100 * (own_hour if hour is None else hour),
        "paramId": param,
        "bitsPerValue": 24,
    }
    if kind != "instant" and edition == 1:
        keys["stepType"] = kind
    for key, value in keys.items():
        eccodes.codes_set(message, key, value)
    eccodes.codes_set_values(message, grib_values(param, month).ravel())
    content = eccodes.codes_get_message(message)
    eccodes.codes_release(message)
    return content


def grib_values(param, month):
    return GRIB[param][0] * (1 + 1e-3 * (month - 1) + 1e-4 * np.arange(12.0).reshape(3, 4))


@pytest.fixture(scope="session")
def eccodes():
    pytest.importorskip("pyproj")  # before ecCodes: their copies of libproj clash
    pytest.importorskip("cfgrib", reason="needs cfgrib", exc_type=ImportError)
    return pytest.importorskip("eccodes")


def grib(eccodes, path, *, months=(1, 2), params=tuple(GRIB), **options):
    parts = [grib_bytes(eccodes, p, m, **options) for m in months for p in params]
    path.write_bytes(b"".join(parts))
    return path


def test_grib_of_both_step_types(tmp_path, eccodes):
    path = grib(eccodes, tmp_path / "download.grib")
    raw = open_raw(path)
    assert raw["tp"].attrs["GRIB_paramId"] == 228
    assert raw.sizes["valid_time"] == 2
    out = open_dataset(path)
    assert set(out.data_vars) == {"tas", "ts", "tsl", "mrsol", "pr", "hfls"}
    assert out.sizes == {"time": 2, "lat": 3, "lon": 4, "layer": 4, "bnds": 2}
    down = out.sortby("lat", ascending=False)
    for month in (1, 2):
        now = down.isel(time=month - 1)
        np.testing.assert_allclose(now["tas"], grib_values(167, month), rtol=1e-6)
        np.testing.assert_allclose(now["pr"], grib_values(228, month) / 86.4, rtol=1e-5)
        np.testing.assert_allclose(now["hfls"], grib_values(147, month) / -86400, rtol=1e-5)
        for level, (t, w, dz) in enumerate(
            zip((139, 170, 183, 236), (39, 40, 41, 42), (0.07, 0.21, 0.72, 1.89), strict=True)
        ):
            soil = now.isel(layer=level)
            np.testing.assert_allclose(soil["tsl"], grib_values(t, month), rtol=1e-6)
            np.testing.assert_allclose(soil["mrsol"], grib_values(w, month) * 1000 * dz, rtol=1e-5)
    # no index is left beside the file
    assert [p.name for p in tmp_path.iterdir()] == ["download.grib"]


def test_grib_of_one_month_keeps_its_time(tmp_path, eccodes):
    out = open_dataset(grib(eccodes, tmp_path / "a", months=(7,), params=(167, 228)))
    assert str(out["time"].values[0])[:10] == "2001-07-01"


def test_grib_2(tmp_path, eccodes):
    path = grib(eccodes, tmp_path / "a.grib2", params=(167,), edition=2)
    assert open_dataset(path)["tas"].sizes == {"time": 2, "lat": 3, "lon": 4}


def test_grib_lazily(tmp_path, eccodes):
    path = grib(eccodes, tmp_path / "a.grib", params=(167, 228))
    lazy = open_dataset(path, chunks={})
    assert lazy["pr"].chunks is not None
    xr.testing.assert_allclose(lazy.compute(), open_dataset(path))


def test_grib_by_month_and_in_a_zip(tmp_path, eccodes):
    parts = {
        f"{month}.grib": b"".join(grib_bytes(eccodes, p, month) for p in (167, 228))
        for month in (1, 2, 3)
    }
    out = open_dataset(zipped(tmp_path / "a.zip", parts))
    assert out.sizes["time"] == 3
    assert set(out.data_vars) == {"tas", "pr"}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda b: b[:-40], "truncated or corrupted"),
        (lambda b: b[: len(b) // 2 + 30], "truncated or corrupted"),
        (lambda b: b"GRIB", "truncated or corrupted"),
        (lambda b: b[: len(b) // 2] + b"JUNK" * 9 + b[len(b) // 2 :], "belong to no message"),
        (lambda b: b + b"<html>", "6 bytes at .* belong to no message"),
    ],
)
def test_damaged_grib(tmp_path, eccodes, harm, message):
    path = grib(eccodes, tmp_path / "a.grib", params=(167, 228))
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        open_dataset(path)


def test_a_lost_grib_message_is_noticed(tmp_path, eccodes):
    """ecCodes looks for the next message and would pass over a damaged one."""
    messages = [grib_bytes(eccodes, 167, month) for month in (1, 2, 3)]
    messages[1] = b"XXXX" + messages[1][4:]
    (tmp_path / "a.grib").write_bytes(b"".join(messages))
    with pytest.raises(DataError, match="belong to no message: it is corrupted"):
        open_dataset(tmp_path / "a.grib")


def test_padded_grib_records(tmp_path, eccodes):
    messages = [grib_bytes(eccodes, 167, month) for month in (1, 2)]
    (tmp_path / "a.grib").write_bytes(b"".join(m + bytes(-len(m) % 120) for m in messages))
    assert open_dataset(tmp_path / "a.grib").sizes["time"] == 2


def test_grib_without_cfgrib(tmp_path, monkeypatch):
    from xpermafrost.errors import MissingDependencyError

    monkeypatch.setitem(__import__("sys").modules, "cfgrib", None)
    (tmp_path / "a.grib").write_bytes(b"GRIB....")
    with pytest.raises(MissingDependencyError, match=r"opening GRIB files.*xpermafrost\[grib\]"):
        open_dataset(tmp_path / "a.grib")


# traps


def test_a_selection_without_times_beside_others(tmp_path):
    write(states(12), tmp_path / "2001.nc")
    write(states(12, start="2002-01").isel(valid_time=[]), tmp_path / "2002.nc")
    assert open_dataset(tmp_path / "*.nc").sizes["time"] == 12


@pytest.mark.parametrize(("level", "units"), [(-10.0, "degC"), (80.0, "%")])
def test_files_in_other_units_are_not_joined(tmp_path, level, units):
    one, two = states(12), states(12, start="2002-01")
    if units == "%":
        for ds in (one, two):
            ds["t2m"] = (ds["t2m"] * 0 + 0.8).assign_attrs(units="1")
            ds.update(ds.rename(t2m="snowc"))
        one, two = one[["snowc"]], two[["snowc"]]
    name = next(iter(two.data_vars))
    two[name] = (two[name] * 0 + level).assign_attrs(units=units)
    paths = [write(one, tmp_path / "1.nc"), write(two, tmp_path / "2.nc")]
    with pytest.raises(SourceError, match=f"'{name}' has units .* in .*1.nc' and '{units}' in"):
        open_dataset(paths)


def test_spellings_of_one_unit_are_joined(tmp_path):
    one, two = totals(12), totals(12, start="2002-01")
    two["tp"].attrs["units"] = "m of water equivalent"
    paths = [write(one, tmp_path / "1.nc"), write(two, tmp_path / "2.nc")]
    assert open_raw(paths).sizes["valid_time"] == 24


def test_calendars_are_not_joined(tmp_path):
    one = states(12, time="time")
    two = states(12, time="time", start="2002-01").convert_calendar("noleap", use_cftime=True)
    paths = [write(one, tmp_path / "1.nc"), write(two, tmp_path / "2.nc")]
    with pytest.raises(TimeAxisError, match=r"mixed calendars: .*1.nc' has 'proleptic_gregorian'"):
        open_dataset(paths)


@pytest.mark.parametrize("calendar", [None, "360"])
def test_months_since(tmp_path, calendar):
    attrs = {"units": "months since 2001-01-01"} | ({"calendar": calendar} if calendar else {})
    ds = states(24, time="time").assign_coords(time=("time", np.arange(24) + 0.5, attrs))
    out = open_dataset(write(ds, tmp_path / "a.nc"))
    assert (out["time"].values == pd.date_range("2001-01", periods=24, freq="MS")).all()
    assert open_dataset(tmp_path / "a.nc", chunks={})["tas"].chunks is not None


def test_land_share_of_one_month_beside_years(tmp_path):
    land = states(1).rename(t2m="lsm") * 0 + 0.8
    land["lsm"].attrs = {"units": "(0 - 1)"}
    paths = [write(states(), tmp_path / "1.nc"), write(land, tmp_path / "2.nc")]
    out = open_dataset(paths)
    assert out["sftlf"].dims == ("lat", "lon")
    np.testing.assert_allclose(out["sftlf"], 80.0, rtol=1e-6)
