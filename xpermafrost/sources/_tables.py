"""Tables of text: Earth Engine exports, long tables, borehole files, and any with ``columns=``.

A table becomes a raw Dataset with a dimension of places (``station`` or ``band``) and ``time``.
The units of a table are never guessed: they stand in its header (``tas [degC]``), or the user
says them with ``columns=``, or ``source=`` vouches for a catalogue.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from ..errors import DataError, SourceError, TimeAxisError
from ..schema import LAYER, TIME, layer_coords_from_bounds
from ._boreholes import read_gtnp_legacy, read_gtnp_long
from ._columns import Columns, Plan, Quantity, header_units, numbers, plan
from ._formats import first_line

_TIMES = ("time", "date", "datetime", "valid_time", "timestamp", "system:time_start", "month_start")
_LATS, _LONS = ("lat", "latitude"), ("lon", "long", "lng", "longitude")
_BANDS = ("band", "region")
_STATIONS = ("station", "site", "station_name", "station_id", "borehole", "location", "community",
             "name")  # fmt: skip
#: Columns that are no quantity.
_OTHER = ("system:index", ".geo", "year", "month", "day", "", "id", "index")


def read_table(path: Path, *, columns: Columns | None, name: str) -> xr.Dataset:
    """A text file as a raw Dataset with dims (station or band, time), in memory.

    Raises
    ------
    DataError
        If the file is no table with a header, or cannot be parsed.
    TimeAxisError
        If no column holds dates, or two rows are for one place and time.
    SourceError, UnitsError, UnknownNameError
        If ``columns`` does not fit the table.
    """
    table = _parse(path, name)
    label = Path(name.rsplit("!", 1)[-1]).stem  # "download.zip!site.csv" is of the site
    if columns is None:
        if {"date", "depth", "temperature"} <= set(table.columns) or {
            "utc_time", "depth", "temperature"
        } <= set(table.columns):  # fmt: skip
            return read_gtnp_long(table, name=name)
        if table.columns[0] == "Date/Depth":
            return read_gtnp_legacy(table, name=name, label=label)
    return _long_table(table, columns, name=name, label=label)


def _parse(path: Path, name: str) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name!r} is not UTF-8 text ({error}). Save it as CSV in UTF-8."
        ) from error
    lines = text.splitlines()
    skip = next((i for i, line in enumerate(lines) if line.strip() and line[0] != "#"), 0)
    header = lines[skip] if lines else ""
    delimiter = max(",;\t|", key=header.count)
    cells = next(csv.reader([header], delimiter=delimiter), [])
    if len(cells) < 2 or all(_is_number(cell) for cell in cells):
        raise DataError(
            f"{name!r} is text, but not a table with a row of column names; its first line says "
            f"{first_line(header)!r}. Read it with pandas, name the columns, give the dates, and "
            "save it as CSV."
        )
    comma = delimiter == ";" and any(re.search(r";-?\d+,\d", line) for line in lines[skip + 1 :])
    try:
        table = pd.read_csv(
            path,
            sep=delimiter,
            skiprows=skip,
            encoding="utf-8-sig",
            decimal="," if comma else ".",
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"the table {name!r} cannot be parsed: {error}") from error
    if table.empty:
        raise DataError(f"the table {name!r} has a header and no rows.")
    return table.rename(columns=lambda c: "" if str(c).startswith("Unnamed:") else str(c).strip())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _find(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    """First column with one of the names, case and header units aside."""
    plain = {header_units(str(c))[0].lower(): str(c) for c in reversed(table.columns)}
    return next((plain[name] for name in names if name in plain), None)


def _long_table(
    table: pd.DataFrame, columns: Columns | None, *, name: str, label: str
) -> xr.Dataset:
    asked = plan(columns, table, name=name) if columns is not None else Plan(())
    time = _times(table, asked.keys.get("time"), name)
    dim, places, coords = _places(table, asked.keys, label)
    place, labels = pd.factorize(places)
    at_time, times = pd.factorize(time, sort=True)
    rows = pd.DataFrame({"place": place, "time": at_time})
    doubled = rows.duplicated()
    if doubled.any():
        at = int(np.argmax(doubled))
        raise TimeAxisError(
            f"the table {name!r} has two rows for {dim} {str(places[at])!r} at "
            f"{str(time[at])[:16]} (row {at + 2}). If a column tells them apart, name it: "
            f"columns={{'station': '<column>', ...}}."
        )
    frame = _Frame(rows, labels.size, dim, name)
    data = frame.mapped(asked, table) if columns is not None else frame.unmapped(table)
    axes = {dim: labels.astype(str), TIME: times}
    ds = xr.Dataset(data, coords=axes, attrs={"featureType": "timeSeries"})
    ds = ds.assign_coords({n: (dim, frame.constant(values, n)) for n, values in coords.items()})
    levels = _levels(asked)
    return ds.assign_coords(layer_coords_from_bounds(np.array(levels))) if levels else ds


class _Frame:
    """Where each row of the table goes in an array (place, time)."""

    def __init__(self, rows: pd.DataFrame, places: int, dim: str, name: str) -> None:
        self.place, self.time = rows["place"].to_numpy(), rows["time"].to_numpy()
        self.shape = (places, int(self.time.max()) + 1)
        self.dim, self.name = dim, name

    def array(self, values: np.ndarray) -> np.ndarray:
        out = np.full(self.shape, np.nan)
        out[self.place, self.time] = values
        return out

    def constant(self, values: np.ndarray, what: str) -> np.ndarray:
        """One value a place; several are an error."""
        spread = pd.Series(values).groupby(self.place).agg(["min", "max"])
        if bool((spread["max"] - spread["min"] > 0).any()):
            place = int(np.argmax((spread["max"] > spread["min"]).to_numpy()))
            raise SourceError(
                f"the table {self.name!r} has several values of {what!r} for one {self.dim} (the "
                f"{place + 1}. in the file). Name the column that tells the places apart: "
                "columns={'station': '<column>', ...}."
            )
        return spread["min"].to_numpy()

    def mapped(self, asked: Plan, table: pd.DataFrame) -> dict[Hashable, object]:
        levels = _levels(asked)
        found: dict[Hashable, object] = {}
        for row in dict.fromkeys(q.row for q in asked.quantities):
            parts = [q for q in asked.quantities if q.row == row]
            attrs = {"units": parts[0].values(table)[1], "source_columns": _listed(parts)}
            if row.role == "static" and not row.layered:
                values = self.constant(parts[0].values(table)[0], row.name)
                found[row.name] = (self.dim, values, attrs)
            elif not row.layered:
                dims = (self.dim, TIME)
                found[row.name] = (dims, self.array(parts[0].values(table)[0]), attrs)
            else:
                stack = np.full((self.shape[0], len(levels), self.shape[1]), np.nan)
                for q in parts:
                    values, units = q.values(table)
                    if units != attrs["units"]:
                        raise SourceError(
                            f"columns[{row.name!r}] mixes {attrs['units']!r} and {units!r}; "
                            "all its depths have the same units."
                        )
                    stack[:, levels.index(q.bounds or (0.0, 0.0))] = self.array(values)
                found[row.name] = ((self.dim, LAYER, TIME), stack, attrs)
        return found

    def unmapped(self, table: pd.DataFrame) -> dict[Hashable, object]:
        """Every column of numbers that is no place or time, under its own name."""
        keys = {_find(table, names) for names in (_TIMES, _LATS, _LONS, _BANDS, _STATIONS)}
        found: dict[Hashable, object] = {}
        for column in table.columns:
            plain, units = header_units(column)
            if column in keys or column.lower() in _OTHER or not _mostly_numbers(table[column]):
                continue
            attrs = {"units": units} if units else {}
            found[plain] = ((self.dim, TIME), self.array(numbers(table, column)), attrs)
        return found


def _levels(asked: Plan) -> list[tuple[float, float]]:
    """Depths of all layered variables, from the surface down."""
    return sorted({q.bounds for q in asked.quantities if q.bounds}, key=lambda b: (sum(b), b))


def _listed(parts: list[Quantity]) -> str:
    return ", ".join(f"{q.column} [{q.units}]" for q in parts)


def _mostly_numbers(column: pd.Series) -> bool:
    if column.dtype.kind in "fiu":
        return True
    said = column.dropna()
    return bool(said.size) and pd.to_numeric(said, errors="coerce").notna().mean() > 0.5


def _times(table: pd.DataFrame, key: str | None, name: str) -> np.ndarray:
    column = key or _find(table, _TIMES)
    if column is not None:
        return dates(table[column], name=name)
    year, month = _find(table, ("year",)), _find(table, ("month",))
    if year and month:
        day = _find(table, ("day",))
        parts = {"year": table[year], "month": table[month], "day": table[day] if day else 1}
        return _checked(lambda: pd.to_datetime(pd.DataFrame(parts)), f"{year}, {month}", name)
    if "system:index" in table:
        stamp = table["system:index"].astype(str).str.extract(r"^(\d{6}(?:\d{2})?)(?:_|$)")[0]
        if stamp.notna().all():
            whole = stamp.where(stamp.str.len() == 8, stamp + "01")
            return _checked(lambda: pd.to_datetime(whole, format="%Y%m%d"), "system:index", name)
    raise TimeAxisError(
        f"the table {name!r} has no column of dates: needed is one of {list(_TIMES)}, or 'year' "
        f"and 'month'; found {[str(c) for c in table.columns][:12]}. Name it: "
        "columns={'time': '<column>', ...}."
    )


def dates(column: pd.Series, *, name: str) -> np.ndarray:
    """ISO 8601 dates, ``YYYYMM[DD]``, milliseconds since 1970, or "Jan 1, 2001"; UTC.

    "01/02/2001" has two meanings and is refused.
    """
    what = str(column.name)
    if column.isna().any():
        at = int(np.argmax(column.isna()))
        raise TimeAxisError(f"the column {what!r} of {name!r} has no date in row {at + 2}.")
    if column.dtype.kind in "fiu":
        largest = float(column.abs().max())
        if largest > 1e10:
            return _checked(lambda: pd.to_datetime(column, unit="ms"), what, name)
        form = "%Y%m%d" if largest > 1e7 else "%Y%m"
        text = column.astype("int64").astype(str)
        return _checked(lambda: pd.to_datetime(text, format=form), what, name)
    try:
        return _checked(lambda: pd.to_datetime(column, format="%b %d, %Y"), what, name)
    except TimeAxisError:
        return _checked(lambda: pd.to_datetime(column, format="ISO8601", utc=True), what, name)


def _checked(parse: Callable[[], pd.Series | pd.DatetimeIndex], what: str, name: str) -> np.ndarray:
    try:
        found = pd.DatetimeIndex(parse())
    except (ValueError, TypeError, OverflowError) as error:
        raise TimeAxisError(
            f"the column {what!r} of {name!r} holds no dates that can be read: {error}. Write them "
            "as 2001-07-31 or 2001-07-31T12:00 (day/month/year has two meanings)."
        ) from error
    return (found.tz_localize(None) if found.tz else found).to_numpy("datetime64[ns]")


def _places(
    table: pd.DataFrame, keys: dict[str, str], label: str
) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
    """Dimension of places, the place of each row, and latitude and longitude of each row."""
    coords = _positions(table, keys)
    for dim, names in (("band", _BANDS), ("station", _STATIONS)):
        column = keys.get(dim) or (None if "station" in keys else _find(table, names))
        if column is not None:
            return dim, table[column].astype(str).to_numpy(), coords
    if coords:
        lat, lon = coords["lat"], coords["lon"]
        texts = [_position(y, x) for y, x in zip(lat, lon, strict=True)]
        return "station", np.array(texts), coords
    return "station", np.full(len(table), label), coords


def _position(lat: float, lon: float) -> str:
    return f"{abs(lat):g}{'N' if lat >= 0 else 'S'} {abs(lon):g}{'E' if lon >= 0 else 'W'}"


def _positions(table: pd.DataFrame, keys: dict[str, str]) -> dict[str, np.ndarray]:
    lat, lon = keys.get("lat") or _find(table, _LATS), keys.get("lon") or _find(table, _LONS)
    if lat and lon:
        return {"lat": numbers(table, lat), "lon": numbers(table, lon)}
    if ".geo" not in table:
        return {}
    texts = table[".geo"].astype(str)
    known = {text: _centroid(text) for text in texts.unique()}
    pairs = np.array([known[text] for text in texts])
    if np.isnan(pairs).all():
        return {}
    return {"lat": pairs[:, 1], "lon": pairs[:, 0]}


def _centroid(text: str) -> tuple[float, float]:
    """Longitude and latitude of a GeoJSON geometry: a point, or the centroid of a shape."""
    from shapely.geometry import shape

    try:
        geometry = shape(json.loads(text))
    except Exception as error:  # json and shapely have their own kinds
        raise SourceError(f"the column '.geo' holds no GeoJSON geometry: {text[:60]!r}.") from error
    if geometry.is_empty:  # what Earth Engine writes for a feature without a geometry
        return (np.nan, np.nan)
    return (geometry.centroid.x, geometry.centroid.y)
