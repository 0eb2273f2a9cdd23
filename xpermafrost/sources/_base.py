"""Rules, families and matches: what a source stores, and what was found about one variable.

A family (CDS, Earth Engine, CMIP, stations) is a tuple of rules; a rule says under which
names a quantity is stored, in which units, over which time it is summed up, with which
sign, and of which soil layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import xarray as xr

from ..schema import VARIABLES
from ._units import DAY, HOUR, Linear


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Over which time a stored value is summed up, by the step of the time axis.

    Attributes
    ----------
    month : {"", "day", "month"}
        In monthly data: the mean daily total, or the total of the month.
    day : {"", "day"}
        In daily data: the total of the day.
    hour : {"", "hour", "running"}
        In hourly data: the total of the hour before the stamp, or since 00 UTC.

    "" stands for a step at which the source has no such field: it is refused, not guessed.
    """

    month: str = ""
    day: str = ""
    hour: str = ""

    def at(self, step: str) -> str:
        """The period at one step of the time axis."""
        return {"month": self.month, "day": self.day, "hour": self.hour}[step]


#: Totals of the source's own time cell, whatever it is (CF: ``cell_methods = "time: sum"``).
OF_THE_CELL = Totals(month="month", day="day", hour="hour")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one stored variable becomes a canonical one.

    Attributes
    ----------
    canonical : str
        Name in the variable table.
    names : tuple of str
        Names under which the source stores it.
    units : str
        Units in which the source stores it.
    factor : float
        From ``units`` to canonical units, before the division by the period.
    totals : Totals, optional
        Where the stored value is a total; it is divided by the seconds of its period.
    backward : bool
        An hourly value belongs to the hour that ends at its stamp.
    sign : {1, -1}
        -1 where the source counts the other direction as positive.
    bounds : tuple of float, optional
        Top and bottom [m] of the soil layer.
    param_id : int, optional
        ``GRIB_paramId``.
    water : bool
        The stored length is one of water: a declared "of water equivalent" fits.
    """

    canonical: str
    names: tuple[str, ...]
    units: str
    factor: float = 1.0
    totals: Totals | None = None
    backward: bool = False
    sign: int = 1
    bounds: tuple[float, float] | None = None
    param_id: int | None = None
    water: bool = False

    def text(self, per: str, step: str) -> str:
        """The rule in words, for tables and attributes."""
        states = "as is" if self.factor == 1 else f"x {self.factor:g}"
        daily = "mean daily total" if step == "month" else "total of the day"
        words = {
            "": states if step == "month" else f"{states}, mean of the {step}s",
            "day": f"{daily} x {self.factor:g} / 86400 s",
            "month": f"month total x {self.factor:g} / (days of the month x 86400 s)",
            "hour": f"total of the hour x {self.factor:g} / 3600 s",
            "running": "running total since 00 UTC, so the total of a day at 00 UTC of the next "
            f"x {self.factor:g} / 86400 s",
        }[per]
        return words + (", sign changed to positive up" if self.sign < 0 else "")


def _unknown(ds: xr.Dataset) -> bool:
    return False


def _nothing(ds: xr.Dataset, step: str) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A source of data: a name, how to recognise it, its rules, and what it must not give.

    Attributes
    ----------
    name : str
        Value of ``source=``.
    title : str
        What it is, for messages.
    recognise : callable
        ``recognise(ds)`` is True if attributes or layout (not names) of ``ds`` prove the source.
    rules : tuple of Rule
    refused : mapping of str
        Names that look like a canonical quantity and are another: name to reason.
    refuse : callable
        ``refuse(ds, step)`` returns a reason to refuse a Dataset of that step, or None.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    recognise: Callable[[xr.Dataset], bool] = field(default=_unknown)
    refused: Mapping[str, str] = field(default_factory=dict)
    refuse: Callable[[xr.Dataset, str], str | None] = field(default=_nothing)

    def named(self, name: str) -> list[Rule]:
        """Rules that store something under ``name``."""
        return [rule for rule in self.rules if name in rule.names]


@dataclass(frozen=True, kw_only=True)
class Match:
    """What was found about one variable; ``problem`` is the sentence of the error, if any."""

    variable: str
    units_in: str = ""
    family: str = ""
    rule: Rule | None = None
    linear: Linear = field(default_factory=Linear)
    per: str = ""
    step: str = "month"
    problem: str = ""
    by: str = ""

    @property
    def canonical(self) -> str:
        """Canonical name, or "" where the variable is not recognised or not settled."""
        return self.rule.canonical if self.rule else ""

    @property
    def text(self) -> str:
        """The rule in words, or ""."""
        return self.rule.text(self.per, self.step) if self.rule else ""

    @property
    def per_month(self) -> bool:
        """Whether values are divided by the days of their month."""
        return self.linear.per_month or self.per == "month"

    @property
    def scale(self) -> float:
        """Factor from stored to canonical units, with its sign."""
        if self.rule is None:
            return 1.0
        seconds = {"": 1.0, "hour": HOUR}.get(self.per, DAY)
        return self.linear.factor * self.rule.factor * self.rule.sign / seconds

    @property
    def shift(self) -> float:
        """Offset added after the factor."""
        return self.linear.offset * (self.rule.factor * self.rule.sign if self.rule else 1.0)

    @property
    def outcome(self) -> tuple[object, ...]:
        """What happens to the values: matches with the same outcome need no decision."""
        bounds = self.rule.bounds if self.rule else None
        numbers = (f"{self.scale:.9g}", f"{self.shift:.9g}")
        return (self.canonical, *numbers, self.per, self.per_month, bounds)

    @property
    def untouched(self) -> bool:
        """Whether the variable is canonical already, name, units and all."""
        return (
            self.rule is not None
            and self.variable == self.rule.canonical
            and self.units_in == VARIABLES[self.variable].units
        )


Candidates = Sequence[tuple[Family, Rule]]
