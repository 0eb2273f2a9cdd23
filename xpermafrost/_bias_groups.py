"""Which steps of a series are compared with which: calendar months, seasons, days of the year.

A group knows its steps by year, month and day of the year only, so that neither the hour nor the
day of a monthly stamp matters. Day 1 to 365 is a share of the year: years of 360 or 366 days
are laid on it by the middle of each day, and series of different calendars can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ._checks import EQUAL_YEARS, choose, step_index
from .errors import DimensionError, TimeAxisError
from .schema import TIME

SEASONS = ("DJF", "MAM", "JJA", "SON")
#: Groups by name, and how many each has.
SIZES = {"month": 12, "season": 4, "dayofyear": 365}
#: Days around a day of the year, itself included, that make its group.
WINDOW = 31


class Pools(NamedTuple):
    """Steps of every group in one array after another; ``bounds`` says where each begins.

    The steps of a group in time order are ``rows[bounds[g]:bounds[g + 1]]``. Those that are
    of the group itself, not only in its window, are ``main``, as places in that slice. ``block`` is
    the number of the year of each step, ``starts[g, b]`` the first step of year ``b`` or later.
    """

    rows: np.ndarray
    bounds: np.ndarray
    block: np.ndarray
    main: np.ndarray
    main_bounds: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Calendar months, seasons, or days of the year with the days around them."""

    name: str = "month"
    window: int = 1

    @classmethod
    def chosen(cls, name: str, window: int | None, every: str) -> Grouping:
        """Check what the user typed, for a series of months or days."""
        choose("group of a bias adjustment", name, SIZES)
        if name != "dayofyear":
            if window is not None:
                raise DimensionError(
                    f"window={window} is a number of days around each day of the year; it needs "
                    f"group='dayofyear', found group={name!r}."
                )
            return cls(name=name)
        if every != "day":
            raise TimeAxisError(
                "group='dayofyear' needs daily data; found months. Type group='month', or take "
                "the daily source."
            )
        window = WINDOW if window is None else window
        if window < 1 or window > 183 or window % 2 == 0:
            raise DimensionError(
                f"window needs an odd number of days from 1 to 183; found {window}."
            )
        return cls(name=name, window=window)

    @classmethod
    def stated(cls, attrs: Mapping[Any, Any]) -> Grouping:
        """The grouping that trained factors say they have."""
        name = str(attrs.get("group", "time.month")).removeprefix("time.")
        choose("group of a bias adjustment", name, SIZES)
        return cls(name=name, window=int(attrs.get("group_window", 1)))

    @property
    def labels(self) -> np.ndarray:
        """Coordinate of the groups, as xsdba has it."""
        return np.array(SEASONS) if self.name == "season" else 1 + np.arange(SIZES[self.name])

    def numbers(self, time: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
        """Group, from 0, and year of every step. A winter belongs to the year of its January."""
        year, month = time.dt.year.values.astype("int64"), time.dt.month.values
        if self.name == "month":
            return month - 1, year
        if self.name == "season":
            return month % 12 // 3, year + (month == 12)
        day, length = time.dt.dayofyear.values, days_of_year(time)
        return ((day - 0.5) * SIZES["dayofyear"] / length).astype("int64"), year

    def pools(self, time: xr.DataArray) -> Pools:
        """Steps of every group, and those around it."""
        group, year = self.numbers(time)
        size, half = SIZES[self.name], self.window // 2
        steps = np.arange(group.size)
        year = year - year.min() if year.size else year
        years = int(year.max()) + 1 if year.size else 0
        of, rows, block, own = [], [], [], []
        for shift in range(-half, half + 1):
            turn, target = np.divmod(group + shift, size)  # around New Year
            of.append(target)
            rows.append(steps)
            block.append(np.clip(year + turn, 0, years - 1))
            own.append(np.full(group.size, shift == 0))
        flat = [np.concatenate(part) for part in (of, rows, block, own)]
        order = np.lexsort((flat[1], flat[0]))
        member, row, number, main = (part[order] for part in flat)
        bounds = np.searchsorted(member, np.arange(size + 1))
        places = np.arange(member.size) - bounds[member]
        starts = [
            np.searchsorted(number[bounds[g] : bounds[g + 1]], np.arange(years + 1))
            for g in range(size)
        ]
        return Pools(
            rows=row.astype("int64"),
            bounds=bounds.astype("int64"),
            block=number.astype("int64"),
            main=places[main].astype("int64"),
            main_bounds=np.searchsorted(member[main], np.arange(size + 1)).astype("int64"),
            starts=np.array(starts, dtype="int64").reshape(size, years + 1),
        )


def days_of_year(time: xr.DataArray) -> np.ndarray:
    """Days in the year of every step, by its calendar."""
    calendar = time.dt.calendar
    if calendar in EQUAL_YEARS:
        return np.full(time.size, EQUAL_YEARS[calendar])
    year = time.dt.year.values
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return np.where(leap | ((year % 4 == 0) & (calendar == "julian")), 366, 365)


def step_of(da: xr.DataArray) -> str:
    """``"day"`` where most steps stay within a calendar month, else ``"month"``."""
    if da.sizes.get(TIME, 0) < 3:
        return "month"
    months = step_index(da[TIME], "month")
    return "day" if np.median(np.abs(np.diff(months))) == 0 else "month"


def spread_below(time: xr.DataArray, every: str, threshold: float) -> np.ndarray:
    """A value below ``threshold`` for every step, evenly spread: the golden-ratio sequence.

    It depends on the date alone, so that an answer depends neither on chunks nor on a seed, and
    any run of steps fills the interval evenly (Weyl 1916).
    """
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    return threshold * np.mod((step_index(time, every) + 0.5) * golden, 1.0)
