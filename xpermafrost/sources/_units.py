"""From declared units to those of a rule: one factor, one offset, no guess."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

#: Density of water [kg m-3]: 1 mm of water on 1 m2 is 1 kg (CF, by definition of lwe thickness).
WATER_DENSITY = 1000.0

#: Seconds of a day.
DAY = 86400.0

#: Seconds of an hour.
HOUR = 3600.0

# pint takes a month for a twelfth of a year; here a month has the days of its own calendar,
# so it is cut out before pint sees it.
_MONTH = re.compile(r"(/\s*|\bper\s+)(months?|mon)\b|\b(months?|mon)\s*(\*\*|\^)?\s*-1\b")

# ECMWF spellings that no unit library reads; the second group says "water equivalent".
_SPELLINGS = {
    "(0 - 1)": "1",
    "0-1": "1",
    "fraction": "1",
    "proportion": "1",
    "dimensionless": "1",
    "~": "1",
    "m of water equivalent": "m",
    "m water equivalent": "m",
    "m of water": "m",
    "mm of water equivalent": "mm",
    "kelvin": "K",
    "degrees kelvin": "K",
    "deg c": "degC",
    "deg. c": "degC",
    "degreesc": "degC",
    "degrees_c": "degC",
    "degrees c": "degC",
    "degrees celsius": "degC",
    "oc": "degC",
    "\u00bac": "degC",  # the masculine ordinal, on every Spanish keyboard
    "deg f": "degF",
    "degrees fahrenheit": "degF",
    "wm-2": "W m-2",
    "kg/m2s": "kg m-2 s-1",
}


@dataclass(frozen=True)
class Linear:
    """``x * factor + offset``, then divided by the days of the month if ``per_month``."""

    factor: float = 1.0
    offset: float = 0.0
    per_month: bool = False


def plain(units: str) -> str:
    """Units as a unit library reads them.

    Examples
    --------
    >>> plain("m of water equivalent"), plain("(0 - 1)"), plain("W m**-2")
    ('m', '1', 'W m**-2')
    """
    text = " ".join(units.split())
    return _SPELLINGS.get(text.lower(), text)


def says_water(units: str) -> bool:
    """Whether the units say that a length is one of water.

    Examples
    --------
    >>> says_water("m of water equivalent"), says_water("m")
    (True, False)
    """
    return "water" in units.lower()


@lru_cache(maxsize=512)
def linear(declared: str, wanted: str) -> Linear | None:
    """How to come from ``declared`` to ``wanted`` units; None if they do not measure the same.

    A month in ``declared`` is the month of the value. A depth of water and its mass on
    the ground are the same thing (1000 kg m-3).

    Examples
    --------
    >>> linear("degC", "K")
    Linear(factor=1.0, offset=273.15, per_month=False)
    >>> linear("mm month-1", "kg m-2 s-1").per_month
    True
    >>> linear("W m-2", "K") is None
    True
    """
    declared, wanted = plain(declared), plain(wanted)
    if declared == wanted:
        return Linear()
    rate, months = _MONTH.subn(" day-1", declared)
    if months > 1:
        return None
    found = _by_pint(rate, wanted)
    if found is None:
        return None
    return Linear(found[0], found[1], bool(months))


def _by_pint(declared: str, wanted: str) -> tuple[float, float] | None:
    from cf_xarray.units import units as registry

    try:
        zero = registry.Quantity(0.0, declared)
        one = registry.Quantity(1.0, declared)
        target = registry.Quantity(1.0, wanted)
        if not one.is_compatible_with(target):
            density = registry.Quantity(WATER_DENSITY, "kg m-3")
            zero, one = zero * density, one * density
            if not one.is_compatible_with(target):
                return None
        offset = float(zero.to(target.units).magnitude)
        step = float(one.to(target.units).magnitude) - offset
    except Exception:  # pint raises a dozen kinds for unreadable units
        return None
    return _tidy(step), _tidy(offset)


def _tidy(number: float) -> float:
    """274.15 - 273.15 is 1 only to rounding; a factor that is meant to be short is made so."""
    short = float(f"{number:.9g}")
    return short if abs(short - number) <= 1e-12 * abs(number) else number
