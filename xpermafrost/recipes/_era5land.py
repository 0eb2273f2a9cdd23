"""What the sources of ERA5-Land share: variable names, years, and boxes on its grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..errors import DataError, RegionError, unknown_name
from ..regions import LatitudeBands

#: Spacing of the grid [degrees]; centres lie at its multiples.
STEP = 0.1

#: First year of ERA5-Land (Munoz-Sabater et al., 2021).
FIRST_YEAR = 1950

#: Long names in the Climate Data Store, by canonical name. Layers are separate variables there.
LONG_NAMES: dict[str, tuple[str, ...]] = {
    "tas": ("2m_temperature",),
    "ts": ("skin_temperature",),
    "pr": ("total_precipitation",),
    "prsn": ("snowfall",),
    "rlds": ("surface_thermal_radiation_downwards",),
    "rsds": ("surface_solar_radiation_downwards",),
    "hfls": ("surface_latent_heat_flux",),
    "hfss": ("surface_sensible_heat_flux",),
    "tsl": tuple(f"soil_temperature_level_{level}" for level in (1, 2, 3, 4)),
    "mrsol": tuple(f"volumetric_soil_water_layer_{level}" for level in (1, 2, 3, 4)),
    "snd": ("snow_depth",),
    "snw": ("snow_depth_water_equivalent",),
    "snc": ("snow_cover",),
    "snow_density": ("snow_density",),
}

#: Those that are totals over a period.
ACCUMULATED = frozenset({"pr", "prsn", "rlds", "rsds", "hfls", "hfss"})


class Box(NamedTuple):
    """Outermost cell centres of a part of the grid [degrees], -180 to 180, west below east."""

    north: float
    west: float
    south: float
    east: float


def source_names(variables: Iterable[str]) -> list[str]:
    """Long names of canonical variables, each once, in the order given."""
    names = [variables] if isinstance(variables, str) else list(variables)
    if not names:
        raise DataError(f"a request needs variables; name some of {list(LONG_NAMES)}.")
    for name in names:
        if name not in LONG_NAMES:
            raise unknown_name("variable of ERA5-Land", name, LONG_NAMES)
    return list(dict.fromkeys(long for name in names for long in LONG_NAMES[name]))


def checked_years(years: int | Iterable[int]) -> list[int]:
    """The years, sorted, each once; an error where ERA5-Land has none."""
    given = list(years) if isinstance(years, Iterable) else [years]
    found = sorted({int(year) for year in given})
    last = datetime.now(UTC).year
    if not found or found[0] < FIRST_YEAR or found[-1] > last:
        raise DataError(
            f"ERA5-Land has the years {FIRST_YEAR} to {last}; asked for "
            f"{f'{found[0]} to {found[-1]}' if found else 'none'}. "
            "Type for instance years=range(2001, 2024)."
        )
    return found


def checked_months(months: Iterable[int]) -> list[int]:
    """Months of the year, sorted, each once."""
    found = sorted({int(month) for month in months})
    if not found or found[0] < 1 or found[-1] > 12:
        raise DataError(f"months are numbers 1 to 12; got {found}. Type months=range(1, 13).")
    return found


def boxes(regions: Any) -> list[Box]:
    """Boxes of the grid that cover the regions: one, or two where the dateline is crossed.

    Parameters
    ----------
    regions : whatever `as_regions` reads, or tuple
        A tuple is ``(north, west, south, east)`` [degrees], as the Climate Data Store writes
        areas; a west above the east crosses the dateline.
    """
    south, north, west, width = _extent(regions)
    # Outward to the next centre: a cell reaches half a step beyond its centre.
    low, high = max(_down(south), -90.0), min(_up(north), 90.0)
    left, right = _down(west), _up(west + width)
    if width >= 360.0 - STEP or right - left >= 360.0:
        return [Box(high, -180.0, low, 180.0 - STEP)]
    if right <= 180.0:
        return [Box(high, left, low, right)]
    if left >= 180.0:
        return [Box(high, _tidy(left - 360.0), low, _tidy(right - 360.0))]
    # 180 and -180 are one meridian: it belongs to the second box only
    return [Box(high, left, low, 180.0 - STEP), Box(high, -180.0, low, _tidy(right - 360.0))]


def _extent(regions: Any) -> tuple[float, float, float, float]:
    """South, north, west in -180..180 and width [degrees]."""
    from ..polygons import _quiet_meridian, polygons_of
    from ..region_files import as_regions

    if regions is None or isinstance(regions, list | tuple):
        north, west, south, east = _edges(regions)
        return south, north, _wrap(west), (east - west) % 360.0 or 360.0
    regions = as_regions(regions)
    if isinstance(regions, LatitudeBands):
        west, east = regions.lon or (-180.0, 180.0)
        return regions.edges[0], regions.edges[-1], _wrap(west), (east - west) % 360.0 or 360.0
    bounds = [part.bounds for shape in regions.geometries for part in polygons_of(shape)]
    west = _quiet_meridian(bounds)  # the short way round, where outlines are cut at 180 degrees
    # rounded: a remainder of -1e-14 would go round the globe
    width = max(round(low - west, 9) % 360.0 + high - low for low, _, high, _ in bounds)
    return min(b[1] for b in bounds), max(b[3] for b in bounds), _wrap(west), min(width, 360.0)


def _edges(given: Sequence[float] | None) -> tuple[float, float, float, float]:
    if given is not None and len(given) == 4:
        north, west, south, east = (float(edge) for edge in given)
        # a west that is the east is no box, and not the globe (-180, 180) either
        if -90.0 <= south < north <= 90.0 and west != east:
            return north, west, south, east
    raise RegionError(
        "a request needs regions: bands, polygons or a file of them (see xp.as_regions), or the "
        f"edges (north, west, south, east) in degrees; got {given!r}. "
        "Type for instance xp.alaska_bands() or (72, -170, 58, -140)."
    )


def _wrap(lon: float) -> float:
    return (lon + 180.0) % 360.0 - 180.0


def _tidy(value: float) -> float:
    return round(value, 6) + 0.0  # no -0.0


def _down(value: float) -> float:
    return _tidy(math.floor(round(value / STEP, 6)) * STEP)


def _up(value: float) -> float:
    return _tidy(math.ceil(round(value / STEP, 6)) * STEP)


def chunked(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of at most ``size``."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
