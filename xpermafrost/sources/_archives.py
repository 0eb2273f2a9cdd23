"""Zip archives, as the Climate Data Store sends them, unpacked without trusting them.

Members are written under names of our own into a temporary folder, so that nothing can be
written elsewhere; an archive that tries is refused as a whole before anything is written.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..errors import DataError
from ._formats import magic

#: Unpacked sizes [bytes] up to this are never a bomb.
HARMLESS = 2**30
#: Above it, more than this many times the size of the archive is one; NetCDF packs far less.
MAX_RATIO = 100


def unpack(path: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write the data files of a zip into ``folder``; yield name of the member and path.

    Data files are NetCDF and GRIB by content, and ``.csv``; others are passed over.

    Raises
    ------
    DataError
        If the archive is truncated or corrupted, encrypted, holds a path outside its folder, a
        link, another zip, more than fits on the disk or no data file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked(archive, path, folder)
            for number, member in enumerate(members):
                target = folder / f"{number:04d}"
                with archive.open(member) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                yield member.filename, target
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(
            f"{str(path)!r} is a truncated or corrupted zip ({error}). Download it again."
        ) from error


def _checked(archive: zipfile.ZipFile, path: Path, folder: Path) -> list[zipfile.ZipInfo]:
    members = [m for m in archive.infolist() if not m.is_dir()]
    for member in members:
        _refuse(member, path)
    data = [m for m in members if _holds_data(archive, m, path)]
    if not data:
        names = [m.filename for m in members[:6]] or "nothing"
        raise DataError(
            f"the zip {str(path)!r} holds no data file (NetCDF, GRIB or .csv); it holds {names}."
        )
    size, packed = sum(m.file_size for m in data), path.stat().st_size
    if size > HARMLESS and size > MAX_RATIO * packed:
        raise DataError(
            f"the zip {str(path)!r} of {packed} bytes claims to hold {size} bytes, more than "
            f"{MAX_RATIO} times as much: not unpacked. If you trust it, unpack it yourself."
        )
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"the zip {str(path)!r} holds {size} bytes; {str(folder)!r} has {free} free. Set "
            "TMPDIR to a folder on a larger disk."
        )
    return data


def _refuse(member: zipfile.ZipInfo, path: Path) -> None:
    # the name as it is stored: zipfile has turned backslashes and cut at a null byte
    name = member.orig_filename.replace("\\", "/")
    where = f"the member {member.orig_filename!r} of the zip {str(path)!r}"
    if name.startswith("/") or name[1:2] == ":" or ".." in PurePosixPath(name).parts:
        raise DataError(f"{where} has a path outside the archive's folder: nothing was unpacked.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{where} is a symbolic link: nothing was unpacked.")
    if member.flag_bits & 0x1:
        raise DataError(f"{where} is encrypted. Unpack it yourself with its password.")


def _holds_data(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bool:
    name = PurePosixPath(member.filename)
    if "__MACOSX" in name.parts or name.name.startswith("."):
        return False
    with archive.open(member) as file:
        kind = magic(file.read(16))
    if kind == "zip":
        raise DataError(
            f"the member {member.filename!r} of the zip {str(path)!r} is another zip. Unpack it "
            "first and open what it holds."
        )
    return kind is not None or name.suffix.lower() == ".csv"
