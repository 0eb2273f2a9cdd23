"""The map ``columns=`` from canonical names to the columns of a table, with their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..errors import SourceError, UnitsError, unknown_name
from ..schema import VARIABLES, Variable, variable
from ._units import WATER_DENSITY, linear

#: A depth [m] (a point) or the top and bottom [m] of a layer.
Level = float | tuple[float, float]
#: A column and its units.
Column = tuple[str, str]
Columns = Mapping[str, str | Column | Mapping[Level, Column]]

#: Keys that name no quantity: their entry is a column alone.
_KEYS = ("time", "lat", "lon", "station", "band")

_HEADER_UNITS = re.compile(r"^\s*(?P<name>.*?\S)\s*[\[(](?P<units>[^\[\]()]+)[\])]\s*$")


@dataclass(frozen=True)
class Quantity:
    """One column of one variable: values as stored, their units, the layer if there is one."""

    row: Variable
    column: str
    units: str
    bounds: tuple[float, float] | None = None

    def values(self, table: pd.DataFrame) -> tuple[np.ndarray, str]:
        """Values and the units that they are in; a volume fraction of water becomes a mass."""
        values = numbers(table, self.column)
        if self.row.name == "mrsol" and linear(self.units, self.row.units) is None:
            share = linear(self.units, "m3 m-3")
            top, bottom = self.bounds or (0.0, 0.0)
            assert share is not None
            return values * (share.factor * WATER_DENSITY * (bottom - top)), self.row.units
        return values, self.units


@dataclass(frozen=True)
class Plan:
    """What ``columns=`` asks for: quantities, and the columns of time and place."""

    quantities: tuple[Quantity, ...]
    keys: dict[str, str] = field(default_factory=dict)


def plan(columns: Columns, table: pd.DataFrame, *, name: str) -> Plan:
    """Check a map against the table.

    Raises
    ------
    UnknownNameError
        If a key is no canonical name, or a column is not in the table; with close matches.
    SourceError, UnitsError
        If an entry has not the form (column, units), or the units do not fit.
    """
    quantities: list[Quantity] = []
    keys: dict[str, str] = {}
    for key, entry in columns.items():
        if key in _KEYS:
            if not isinstance(entry, str):
                raise SourceError(f"columns[{key!r}] is the name of a column; found {entry!r}.")
            keys[key] = _column(entry, table, name)
            continue
        if key not in VARIABLES:
            raise unknown_name("canonical variable in columns=", key, [*VARIABLES, *_KEYS])
        quantities += _quantities(variable(key), entry, table, name)
    if not quantities:
        raise SourceError(
            f"columns= names no variable for {name!r}; add one, as in "
            "columns={'tas': ('column', 'degC')}."
        )
    return Plan(tuple(quantities), keys)


def _quantities(row: Variable, entry: object, table: pd.DataFrame, name: str) -> list[Quantity]:
    if row.layered != isinstance(entry, Mapping):
        want = "{0.2: ('column', 'units'), ...} or {(0, 0.07): ('column', 'units'), ...}, by depth"
        want = want + " or (top, bottom) in m" if row.layered else "('column', 'units')"
        raise SourceError(f"columns[{row.name!r}] is {want}; found {entry!r}.")
    if not isinstance(entry, Mapping):
        return [_quantity(row, entry, table, name, None)]
    return [
        _quantity(row, part, table, name, _bounds(level, row.name)) for level, part in entry.items()
    ]


def _bounds(level: object, key: str) -> tuple[float, float]:
    pair = level if isinstance(level, tuple) else (level, level)
    if len(pair) != 2 or not all(isinstance(x, int | float) for x in pair):
        raise SourceError(
            f"a depth in columns[{key!r}] is a number or (top, bottom) in m; found {level!r}."
        )
    top, bottom = (float(x) for x in pair)
    if top < 0 or bottom < top:
        raise SourceError(
            f"depths are in m, positive down, top first; columns[{key!r}] has {level!r}."
        )
    return top, bottom


def _quantity(
    row: Variable, entry: object, table: pd.DataFrame, name: str, bounds: tuple[float, float] | None
) -> Quantity:
    if not (isinstance(entry, tuple | list) and len(entry) == 2):
        raise SourceError(
            f"columns[{row.name!r}] needs a column and its units, as in ('column', "
            f"{row.units!r}); found {entry!r}. Units of a table are never guessed."
        )
    column, units = _column(str(entry[0]), table, name), str(entry[1])
    if linear(units, row.units) is not None:
        return Quantity(row, column, units, bounds)
    if row.name == "mrsol" and linear(units, "m3 m-3") is not None:
        if bounds is None or bounds[0] == bounds[1]:
            raise UnitsError(
                f"columns['mrsol']: {units!r} of a point is no mass of water; give the top and "
                f"bottom [m] of the layer it stands for: {{(0, 0.07): ({column!r}, {units!r})}}."
            )
        return Quantity(row, column, units, bounds)
    hint = " A depth of water needs its period: 'mm month-1'." if row.name in ("pr", "prsn") else ""
    raise UnitsError(
        f"columns[{row.name!r}]: {units!r} does not measure the same as {row.units!r}.{hint}"
    )


def _column(column: str, table: pd.DataFrame, name: str) -> str:
    if column not in table.columns:
        raise unknown_name(f"column of {name!r}:", column, [str(c) for c in table.columns])
    return column


def numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as float64; text in it is an error that shows some."""
    if table[column].dtype.kind in "fiu":
        return table[column].to_numpy("float64")
    values = pd.to_numeric(table[column], errors="coerce")
    wrong = table[column].notna() & values.isna()
    if wrong.any():
        raise SourceError(
            f"the column {column!r} holds text where numbers are needed, such as "
            f"{table[column][wrong].iloc[0]!r} (row {int(np.argmax(wrong)) + 2} of the file)."
        )
    return values.to_numpy("float64")


def header_units(column: str) -> tuple[str, str | None]:
    """Name and units of a column headed ``name [units]`` or ``name (units)``.

    Examples
    --------
    >>> header_units("tas [degC]"), header_units("tas")
    (('tas', 'degC'), ('tas', None))
    """
    found = _HEADER_UNITS.match(column)
    return (found["name"], found["units"]) if found else (column, None)


def suggestion(columns: Iterable[str], known: Mapping[str, str]) -> str:
    """The ``columns=`` to type, from columns whose names are known from some source."""
    entries = [f"{known[c]!r}: ({c!r}, '<units>')" for c in columns if c in known]
    return "columns={" + ", ".join(entries or ["'tas': ('<column>', '<units>')"]) + "}"
