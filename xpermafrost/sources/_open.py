"""Opening files: :func:`open_dataset` to the canonical form, :func:`open_raw` as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

from ..errors import SourceError
from ..schema import TIME, VARIABLES
from ._averages import Complete, station_means, without_codes
from ._columns import Columns, suggestion
from ._formats import Paths, expand, format_of
from ._joining import join_pieces
from ._readers import Chunks, read_file


def open_raw(path: Paths, *, columns: Columns | None = None, chunks: Chunks = None) -> xr.Dataset:
    """Open files of one source and join them, without changing names, units or values.

    For a look with :func:`identify` before :func:`open_dataset`, or to rename what it does not
    recognise. Parameters, laziness and errors are those of :func:`open_dataset`.

    Returns
    -------
    Dataset
        Stamps of monthly means that differ within a month from file to file (00 h for states,
        06 h for accumulations) become the first of the month; nothing else is changed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "air.csv"
    >>> _ = file.write_text("date,t [degC]\\n2001-01-01,-20.5\\n2001-02-01,-18.0\\n")
    >>> raw = open_raw(file)
    >>> raw["t"].dims, raw["t"].attrs["units"]
    (('station', 'time'), 'degC')
    """
    return _open(expand(path), columns, chunks)


def _open(files: list[Path], columns: Columns | None, chunks: Chunks) -> xr.Dataset:
    if columns is not None and not any(_is_table(file) for file in files):
        raise SourceError(
            f"columns= is for tables of text; {str(files[0])!r} is none. Rename variables instead: "
            "ds = xp.open_raw(path).rename(old='tas'), then ds.permafrost.standardize()."
        )
    pieces = [piece for file in files for piece in read_file(file, columns=columns, chunks=chunks)]
    return join_pieces(pieces)


def _is_table(file: Path) -> bool:
    # a zip may hold tables too; whether it does shows when it is read
    return format_of(file, name=str(file)) in ("table", "zip")


def open_dataset(
    path: Paths,
    *,
    source: str | None = None,
    step: str = "month",
    columns: Columns | None = None,
    complete: Complete = "wmo",
    chunks: Chunks = None,
) -> xr.Dataset:
    """Open files of one source and bring them to the canonical form.

    The format is read from the content, not from the suffix: NetCDF 3 and 4; zip archives of
    the Climate Data Store (several files split by step type or variable); GRIB (needs the extra
    ``grib``); zarr stores (needs the extra ``zarr``); tables of text: Earth Engine exports, long
    tables with time and place, and borehole files of GTN-P in its two layouts.

    Parameters
    ----------
    path : path-like, or list of them
        A file, a zarr store, a pattern such as ``"era5land_*.nc"``, a folder (the data files
        directly in it), or a list. Files split by time, by variable or by both are joined,
        tables also by place.
    source : str, optional
        As in :func:`standardize`.
    step : {"month", "day"}
        Time step of the result, as in :func:`standardize`.
    columns : mapping, optional
        For tables: canonical name to (column, units); for variables in the soil a mapping from
        depth [m] (a sensor) or (top, bottom) [m] (a layer) to (column, units). The keys
        ``time``, ``lat``, ``lon``, ``station`` and ``band`` name the column alone. Columns that
        are not named are left out. Fluxes ``hfls`` and ``hfss`` are positive up. For instance
        ``{"tas": ("Tair", "degC"), "pr": ("P", "mm month-1"), "station": "site",
        "tsl": {0.2: ("T20", "degC"), (0, 0.07): ("Tsoil1", "K")}}``.
    complete : {"wmo"} or float, default "wmo"
        For tables of readings finer than ``step``: which months are complete enough for a mean.
        "wmo": fewer than 11 days missing and fewer than 5 on end, every day for precipitation
        and snowfall (WMO 2017, WMO-No. 1203, section 4.4). A number: the least share of the
        days of the month. A day needs readings in three of its four quarters, or one if the
        series is a daily one. What is not complete is NaN; the attribute ``history`` counts it.
    chunks : int, mapping, "auto" or {}, optional
        Dask chunks. None reads everything into memory.

    Returns
    -------
    Dataset
        As :func:`standardize` gives it. Tables have dims (station, time) or (band, time), and
        (station, layer, time) in the soil; a sensor is a layer with equal top and bottom.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or a pattern meets none.
    DataError
        If a file is empty, truncated or corrupted, a web page saved as data, a zip that is
        encrypted, that would write outside its folder or holds no data, or a text without a row
        of column names.
    SourceError
        If nothing is recognised, if a table does not say its units, or as in
        :func:`standardize`.
    UnknownNameError, UnitsError
        If a column, or a name or units in ``columns``, does not exist or fit.
    TimeAxisError
        If files hold different values for one time, or months are missing between them.
    DimensionError
        If files lie on different grids.
    MissingDependencyError
        If the package for GRIB or zarr is not installed.

    Notes
    -----
    With ``chunks`` values are read when computed (those that stand in two files are compared at
    once) and files stay open until the Dataset is closed; a zip is unpacked to a temporary
    folder that lives until the interpreter ends. Without, every file is closed and every
    temporary file removed on return. Nothing is ever written beside the files. Tables are read
    whole; their times are taken as UTC. Of GTN-P files, readings with a flag become missing.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "air.csv"
    >>> _ = file.write_text("date,site,T\\n2001-01-01,A,-20.5\\n2001-02-01,A,-18.0\\n")
    >>> ds = open_dataset(file, columns={"tas": ("T", "degC")})
    >>> ds["tas"].dims, ds["tas"].values.round(2).tolist()
    (('station', 'time'), [[252.65, 255.15]])
    """
    from . import standardize

    files = expand(path)
    raw = _with_history(_open(files, columns, chunks), files)
    readings = raw.attrs.get("featureType") and any(_is_table(file) for file in files)
    if readings and source in (None, "stations"):
        _require_units(raw, str(files[0]))
        raw = _means_of_readings(raw, source, step, complete)
        raw = raw if chunks is None else raw.chunk(chunks)
    out = standardize(raw, source=source, step=step)
    if not any(name in VARIABLES for name in out.data_vars):
        raise SourceError(
            f"nothing in {str(files[0])!r} is recognised; it holds "
            f"{[str(n) for n in raw.data_vars]}. Rename what you know: "
            "ds = xp.open_raw(path).rename(old='tas'), give ds['tas'].attrs['units'], then "
            "ds.permafrost.standardize()."
        )
    return out


def _means_of_readings(
    raw: xr.Dataset, source: str | None, step: str, complete: Complete
) -> xr.Dataset:
    """Means of rates and states: a mean of what was read is a mean of the quantity.

    Totals, and what is not settled, are left to `standardize`.
    """
    from . import matches

    found = matches(raw, source, "day")
    if any(m.problem or (m.rule and m.rule.totals) for m in found):
        return raw
    known = {m.variable: m for m in found if m.rule and TIME in raw[m.variable].dims}
    if not known:
        return raw
    names = {name: item.canonical for name, item in known.items()}
    return station_means(without_codes(raw, known), names, step=step, complete=complete)


def _require_units(raw: xr.Dataset, name: str) -> None:
    """A table says its units, or the user does: the names alone have lied."""
    from . import FAMILIES

    known = {
        stored: rule.canonical
        for family in FAMILIES.values()
        for rule in family.rules
        if not rule.bounds
        for stored in rule.names
    }
    bare = [str(n) for n, da in raw.data_vars.items() if "units" not in da.attrs]
    recognised = [n for n in raw.data_vars if n in known]
    if not bare or (recognised and not any(n in bare for n in recognised)):
        return
    sources = " If it is a table of Earth Engine, source='earthengine' vouches for the units."
    raise SourceError(
        f"the table {name!r} does not say the units of its columns {bare}, and units are never "
        f"guessed from names. Type open_dataset(path, {suggestion(bare, known)}), with units such "
        f"as 'K', 'degC', 'mm month-1', 'W m-2'.{sources if recognised else ''}"
    )


def _with_history(ds: xr.Dataset, files: list[Path]) -> xr.Dataset:
    from .. import __version__

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
    line = f"{now} xpermafrost {__version__}: open_dataset({files[0].name!r}{more})"
    old = str(ds.attrs.get("history", ""))
    return ds.assign_attrs(history=f"{old}\n{line}" if old else line)
