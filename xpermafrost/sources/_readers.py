"""One file to raw Datasets: NetCDF, GRIB, zarr, zip. In memory, or lazily where chunks are given.

The engine is always named: where it is not, xarray imports every package that it might read
with, some of which do not go together.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Literal

import xarray as xr

from .._optional import require
from ..errors import DataError, PermafrostError
from ._archives import unpack
from ._formats import format_of
from ._joining import Piece
from ._tables import Columns, read_table

Chunks = Mapping[str, int | str] | int | Literal["auto"] | None


def read_file(
    path: Path, *, columns: Columns | None, chunks: Chunks, name: str | None = None
) -> list[Piece]:
    """Raw Datasets of one file, each with the ``name`` by which messages call it (the path).

    Raises
    ------
    DataError
        If the file is not data, truncated or corrupted.
    """
    name = name or str(path)
    kind = format_of(path, name=name)
    if kind == "zip":
        return _read_zip(path, columns=columns, chunks=chunks)
    if kind == "table":
        table = read_table(path, columns=columns, name=name)
        return [Piece(name, table if chunks is None else table.chunk(chunks))]
    try:
        return [Piece(name, ds) for ds in _READERS[kind](path, chunks)]
    except PermafrostError:
        raise
    except Exception as error:  # each library has its own kinds
        raise DataError(
            f"{name!r} begins as {kind.rstrip('3')} and cannot be read: it is truncated or "
            f"corrupted ({path.stat().st_size} bytes; {type(error).__name__}: {error}). "
            "Download it again."
        ) from error


def _finish(ds: xr.Dataset, chunks: Chunks) -> xr.Dataset:
    """Read into memory and close the file, unless it shall be lazy."""
    for variable in ds.variables.values():
        if variable.dtype.kind in "OSU":
            # the width of names in this file would cut longer ones that are joined to them
            variable.encoding.pop("dtype", None)
    if chunks is not None:
        return ds
    with ds:
        return ds.load()


def read_netcdf(path: Path, chunks: Chunks) -> list[xr.Dataset]:
    """One NetCDF file; a duration stays a number with units, but for the lead time of GRIB."""
    with warnings.catch_warnings():
        # years beyond datetime64[ns] are told where they matter
        warnings.filterwarnings("ignore", "Unable to decode time", xr.SerializationWarning)
        ds = _decoded(path, chunks)
    if "step" in ds.coords and "units" in ds["step"].attrs:
        step = xr.decode_cf(ds[["step"]].reset_coords(), decode_timedelta=True)["step"]
        ds = ds.assign_coords(step=step)
    return [_finish(ds, chunks)]


def _decoded(path: Path, chunks: Chunks) -> xr.Dataset:
    try:
        return xr.open_dataset(path, engine="netcdf4", chunks=chunks, decode_timedelta=False)
    except ValueError as error:
        if "decode time" not in str(error):
            raise
        # "months since" of a calendar with months of several lengths; `to_dates` reads it
        return xr.open_dataset(path, engine="netcdf4", chunks=chunks, decode_times=False)


def _read_netcdf3(path: Path, chunks: Chunks) -> list[xr.Dataset]:
    # netCDF-C reads zeros beyond the end of a truncated file; scipy compares header and size
    from scipy.io import netcdf_file

    netcdf_file(str(path), mmap=True)
    return read_netcdf(path, chunks)


def _read_zarr(path: Path, chunks: Chunks) -> list[xr.Dataset]:
    require("zarr", purpose="opening a zarr store", install="pip install 'xpermafrost[zarr]'")
    listing = path / "zarr.json"
    consolidated = (path / ".zmetadata").exists() or (
        listing.exists() and '"consolidated_metadata"' in listing.read_text()
    )
    ds = xr.open_dataset(
        path, engine="zarr", chunks=chunks, decode_timedelta=False, consolidated=consolidated
    )
    return [_finish(ds, chunks)]


def _read_grib(path: Path, chunks: Chunks) -> list[xr.Dataset]:
    """Messages that form one array are one Dataset; the valid time is the only time."""
    # ecCodes brings its own libproj; loaded before that of pyproj, the interpreter crashes
    import pyproj  # noqa: F401

    install = "pip install 'xpermafrost[grib]'"
    cfgrib = require("cfgrib", purpose="opening GRIB files", install=install)
    _check_grib(path, require("eccodes", purpose="opening GRIB files", install=install))
    options = {
        "indexpath": "",  # no index file beside the user's
        "time_dims": ("valid_time",),
        "errors": "raise",
        "squeeze": False,
    }
    found = cfgrib.open_datasets(str(path), backend_kwargs=options, chunks=chunks)
    keep = ("valid_time", "latitude", "longitude", "y", "x")
    return [
        _finish(ds.squeeze([d for d, n in ds.sizes.items() if n == 1 and d not in keep]), chunks)
        for ds in found
    ]


def _check_grib(path: Path, eccodes: ModuleType) -> None:
    """ecCodes passes over what lies between messages: a damaged message would go unseen."""
    end = 0
    with open(path, "rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file, headers_only=True)) is not None:
            start = int(eccodes.codes_get_message_offset(message))
            length = int(eccodes.codes_get_long(message, "totalLength"))
            eccodes.codes_release(message)
            _check_gap(path, end, start)
            end = start + length
    _check_gap(path, end, path.stat().st_size)


def _check_gap(path: Path, start: int, end: int) -> None:
    with open(path, "rb") as file:
        file.seek(start)
        gap = file.read(end - start)
    if gap.strip(b"\x00\r\n"):  # records may be padded
        raise DataError(
            f"the GRIB file {str(path)!r} has {len(gap)} bytes at {start} that belong to no "
            "message: it is corrupted. Download it again."
        )


_READERS: dict[str, Callable[[Path, Chunks], list[xr.Dataset]]] = {
    "netcdf": read_netcdf,
    "netcdf3": _read_netcdf3,
    "grib": _read_grib,
    "zarr": _read_zarr,
}


def _read_zip(path: Path, *, columns: Columns | None, chunks: Chunks) -> list[Piece]:
    """Unpack to a temporary folder; it goes at once, or at exit where the data are lazy."""
    folder = Path(tempfile.mkdtemp(prefix="xpermafrost-"))
    if chunks is not None:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        return [
            piece
            for member, file in list(unpack(path, folder))
            for piece in read_file(file, columns=columns, chunks=chunks, name=f"{path}!{member}")
        ]
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if chunks is None:
            shutil.rmtree(folder, ignore_errors=True)
