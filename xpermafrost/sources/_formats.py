"""What a file is, by its content: the suffix of a download says little."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

#: First bytes of the formats that are read.
_MAGIC = {
    b"CDF\x01": "netcdf3",
    b"CDF\x02": "netcdf3",
    b"CDF\x05": "netcdf",
    b"\x89HDF\r\n\x1a\n": "netcdf",
    b"GRIB": "grib",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}

#: First bytes of what is met where data were expected, and what to do then.
_REFUSED = {
    b"\x1f\x8b": "gzip-compressed: unpack it first (gunzip)",
    b"BZh": "bzip2-compressed: unpack it first (bunzip2)",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a rar archive: unpack it first",
    b"II*\x00": "a TIFF image: open it with rioxarray.open_rasterio",
    b"MM\x00*": "a TIFF image: open it with rioxarray.open_rasterio",
    b"%PDF": "a PDF document, not data",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"\xff\xfe": "UTF-16 text: save the table as CSV in UTF-8",
    b"\xfe\xff": "UTF-16 text: save the table as CSV in UTF-8",
}

#: Files that make a folder a zarr store.
_ZARR = ("zarr.json", ".zgroup", ".zmetadata")


def expand(path: Paths) -> list[Path]:
    """Files and zarr stores meant by a path, a glob pattern, a folder or a list of them.

    A folder means the data files directly in it: NetCDF, GRIB, zip and zarr by content, tables
    by the suffix ``.csv``; anything else in it is passed over.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or a pattern meets none.
    DataError
        If a folder holds no data file.
    """
    if isinstance(path, str | os.PathLike):
        return _expand_one(os.fspath(path))
    found = [file for item in path for file in _expand_one(os.fspath(item))]
    if not found:
        raise FileNotFoundError("no file to open: the list of paths is empty.")
    return list(dict.fromkeys(found))


def _expand_one(text: str) -> list[Path]:
    if "://" in text:
        raise FileNotFoundError(
            f"{text!r} is an address; a file on disk is needed. Download it, or open it with "
            "xarray (xr.open_zarr, for instance) and call ds.permafrost.standardize()."
        )
    path = Path(text).expanduser()
    if not path.exists():
        if not glob.has_magic(text):
            raise FileNotFoundError(f"there is no file {str(path)!r}; the working folder is "
                                    f"{os.getcwd()!r}.")  # fmt: skip
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        if not found:
            raise FileNotFoundError(f"no file matches {text!r}; the working folder is "
                                    f"{os.getcwd()!r}.")  # fmt: skip
        return found
    if path.is_dir() and not is_zarr(path):
        return _data_files(path)
    return [path]


def _data_files(folder: Path) -> list[Path]:
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    found = [entry for entry in entries if _is_data(entry)]
    if not found:
        names = [entry.name for entry in entries[:6]] or "nothing"
        raise DataError(
            f"the folder {str(folder)!r} holds no data file directly in it (NetCDF, GRIB, zip, "
            f"zarr or .csv); it holds {names}. For folders in folders type a pattern: "
            f"{str(folder / '**' / '*.nc')!r}."
        )
    return found


def _is_data(path: Path) -> bool:
    if path.is_dir():
        return is_zarr(path)
    return magic(_head(path)) is not None or path.suffix.lower() == ".csv"


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return path.is_dir() and any((path / name).exists() for name in _ZARR)


def magic(head: bytes) -> str | None:
    """Format of a file by its first bytes; None if they are not those of a data file.

    Examples
    --------
    >>> magic(b"GRIB..."), magic(b"time,tas")
    ('grib', None)
    """
    return next((name for first, name in _MAGIC.items() if head.startswith(first)), None)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(512)


def format_of(path: Path, *, name: str) -> str:
    """``"netcdf"``, ``"netcdf3"``, ``"grib"``, ``"zip"``, ``"zarr"`` or ``"table"`` (text).

    ``name`` is what messages call the file.

    Raises
    ------
    DataError
        If the file is empty, a page of HTML, XML or JSON saved as data, or of a format that is
        not read here; with its first line.
    """
    if path.is_dir():
        if is_zarr(path):
            return "zarr"
        raise DataError(f"{name!r} is a folder and not a zarr store; give the files in it.")
    head = _head(path)
    if not head:
        raise DataError(f"{name!r} is empty (0 bytes). Download it again.")
    return magic(head) or _text_format(head, name)


def _text_format(head: bytes, name: str) -> str:
    for first, what in _REFUSED.items():
        if head.startswith(first):
            raise DataError(f"{name!r} is {what}.")
    if b"\x00" in head:
        if not head.strip(b"\x00"):
            raise DataError(f"{name!r} begins with zeros: the download was cut. Repeat it.")
        raise DataError(
            f"{name!r} is binary and neither NetCDF, GRIB, zip nor zarr; it begins with "
            f"{head[:8]!r}."
        )
    start = head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    kind = {"<": "a page of HTML or XML", "{": "JSON", "[": "JSON"}.get(start[:1])
    if kind:
        raise DataError(
            f"{name!r} is {kind}, not data: the server answered with a message instead of the "
            f"file. Its first line says {first_line(start)!r}. Download it again."
        )
    return "table"


def first_line(text: str) -> str:
    """First line that says something, cut short, for messages."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= 100 else line[:97] + "..."
