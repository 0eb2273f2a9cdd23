"""Weather of the sample world: a climate by place, a forced signal by scenario, and chance.

Chance is a sum of patterns that are smooth functions of longitude and latitude, each with a
series in time. The same series can be laid over two grids: the climate model and the truth
of a scenario share their weather and differ in the model's bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from .._sun import daily_insolation
from .geography import Cells

SCENARIOS = ("rcp26", "rcp45", "rcp60", "rcp85")

#: Warming of Alaska [K], 2081-2100 minus 2001-2023, annual mean, about that of CMIP5.
WARMING = {"rcp26": 1.0, "rcp45": 2.5, "rcp60": 3.3, "rcp85": 6.0}

#: How the part above the common path grows after 2010: exponent, and year from which it levels off.
_SHAPE = {
    "rcp26": (2.0, 2060.0),
    "rcp45": (1.6, 2075.0),
    "rcp60": (2.2, 2110.0),
    "rcp85": (1.9, 2120.0),
}

PATTERNS = 12


@dataclass(frozen=True, kw_only=True)
class Days:
    """The days of whole years: ``month_lengths`` in days, ``year`` and ``angle`` by day.

    ``angle`` is the day of the year as a fraction of a turn.
    """

    first: int
    last: int
    date: np.ndarray
    month_lengths: np.ndarray
    year: np.ndarray
    angle: np.ndarray
    table_row: np.ndarray

    @property
    def months(self) -> np.ndarray:
        """First of every month."""
        start, stop = f"{self.first:04d}-01", f"{self.last + 1:04d}-01"
        return np.arange(start, stop, dtype="datetime64[M]").astype("datetime64[ns]")


def days(first: int, last: int) -> Days:
    """The days from January ``first`` to December ``last``, leap days included."""
    date = np.arange(f"{first:04d}-01-01", f"{last + 1:04d}-01-01", dtype="datetime64[D]")
    year = date.astype("datetime64[Y]").astype(int) + 1970
    of_year = (date - date.astype("datetime64[Y]")).astype(int)
    month = date.astype("datetime64[M]").astype(int)
    return Days(
        first=first,
        last=last,
        date=date,
        month_lengths=np.bincount(month - month[0]),
        year=year,
        angle=(of_year + 0.5) / 365.25,
        table_row=of_year,
    )


def forced(scenario: str, year: np.ndarray) -> np.ndarray:
    """Forced warming of Alaska's annual mean [K], 0 in 1950; one path for all until 2010."""
    common = _common(np.asarray(year, dtype="float64"))
    if scenario not in _SHAPE:
        return common
    late, early = np.arange(2081, 2101), np.arange(2001, 2024)
    gap = WARMING[scenario] - (_common(late).mean() - _common(early).mean())
    gap /= _growth(scenario, late).mean() - _growth(scenario, early).mean()
    return common + gap * _growth(scenario, year)


def _common(year: np.ndarray) -> np.ndarray:
    """Slow to 1975, 0.3 K a decade then, level after 2060."""
    path = np.array([[1900, 0.0], [1950, 0.0], [1975, 0.15], [2000, 0.9], [2035, 1.75]])
    path = np.vstack([path, [[2060, 2.0], [2200, 2.0]]])
    return np.interp(year, path[:, 0], path[:, 1])


def _growth(scenario: str, year: np.ndarray) -> np.ndarray:
    power, level = _SHAPE[scenario]
    since = np.clip((np.asarray(year, dtype="float64") - 2010.0) / 90.0, 0.0, None)
    ceiling = (level - 2010.0) / 90.0
    return ceiling * np.tanh((since / ceiling) ** power)


def forced_pattern(cells: Cells, day: Days) -> tuple[np.ndarray, np.ndarray]:
    """Factors on the forced warming by cell (more in the north) and day (more in winter)."""
    north = 0.82 + 0.042 * (cells.lat - 60.0)
    return north, 1.0 + 0.32 * np.cos(2 * np.pi * (day.angle - 0.95))


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Series (day, pattern) of warmth [K in winter] and wetness [1] of one realisation."""

    warmth: np.ndarray
    wetness: np.ndarray


def chance(day: Days, seed: int) -> Chance:
    """Internal variability: decades, months and passing weather, red in time."""
    rng = np.random.default_rng(seed)
    size = (day.year.size, PATTERNS)

    def red(memory: float) -> np.ndarray:
        keep = np.exp(-1.0 / memory)
        noise = rng.standard_normal(size)
        noise[0] /= np.sqrt(1 - keep * keep)
        return lfilter([np.sqrt(1 - keep * keep)], [1.0, -keep], noise, axis=0)

    slow, month, synoptic = red(700.0), red(22.0), red(3.0)
    wet_month, wet_day = red(20.0), red(1.2)
    warmth = 0.55 * slow + 2.1 * month + 4.2 * synoptic
    wetness = 0.35 * wet_month + 0.9 * wet_day + 0.26 * synoptic
    return Chance(warmth=warmth.astype("float32"), wetness=wetness.astype("float32"))


def patterns(cells: Cells) -> np.ndarray:
    """Smooth patterns (pattern, cell), one uniform, waves of 1500 to 4500 km; squares sum to 1."""
    rng = np.random.default_rng(61)
    length = rng.uniform(14.0, 40.0, PATTERNS)[:, None]
    heading, phase = rng.uniform(0, 2 * np.pi, (2, PATTERNS))[:, :, None]
    x, y = (cells.lon + 154.0) * 0.42, cells.lat - 65.0
    wave = np.cos(2 * np.pi * (x * np.cos(heading) + y * np.sin(heading)) / length + phase)
    wave[0] = 1.5
    return (wave / np.sqrt((wave**2).sum(axis=0))).astype("float32")


@dataclass(frozen=True, kw_only=True)
class Bias:
    """What a climate model gets wrong; the defaults are the truth.

    ``winter`` and ``summer`` [K] are added, ``north`` [K per degree] tilts, ``delay`` [d] shifts
    the seasons, ``spread_winter`` and ``spread_summer`` multiply the weather,
    ``wet_winter`` and ``wet_summer`` the precipitation, ``snow_density`` the density of snow,
    which has one class everywhere where it is ``snow_uniform``.
    """

    winter: float = 0.0
    summer: float = 0.0
    north: float = 0.0
    delay: float = 0.0
    spread_winter: float = 1.0
    spread_summer: float = 1.0
    wet_winter: float = 1.0
    wet_summer: float = 1.0
    snow_density: float = 1.0
    snow_uniform: bool = False
    cloud: float = 0.0


TRUE = Bias()
MODEL = Bias(
    winter=-3.0,
    summer=1.4,
    north=-0.15,
    delay=6.0,
    spread_winter=1.25,
    spread_summer=0.85,
    wet_winter=1.25,
    wet_summer=0.9,
    snow_density=0.9,
    snow_uniform=True,
    cloud=-0.06,
)


def _winter(angle: np.ndarray) -> np.ndarray:
    """1 in mid-January, 0 in mid-July."""
    return 0.5 + 0.5 * np.cos(2 * np.pi * (angle - 0.04))


def annual_mean(cells: Cells) -> np.ndarray:
    """Mean annual air temperature 2001-2023 [degC], falling northward and with height."""
    lat = np.array([58.0, 60.3, 62.3, 64.3, 66.3, 68.3, 70.3, 72.0])
    low = np.array([3.9, 2.2, 0.0, -2.2, -5.0, -7.2, -10.9, -11.6])
    return np.interp(cells.lat, lat, low) - 3.2 * cells.elevation / 1000.0


def air_temperature(
    cells: Cells, day: Days, warming: np.ndarray, luck: Chance, bias: Bias
) -> np.ndarray:
    """Daily air temperature (day, cell) [degC], float32; ``warming`` by day, 0 in 2001-2023."""
    amplitude = 9.5 + 8.5 * cells.continental + 2.0 * np.clip(cells.lat - 67.0, 0.0, 2.0)
    turn = 2 * np.pi * (day.angle - (15.0 + bias.delay) / 365.0)
    sea = 12.0 / 365.0 * 2 * np.pi * (1.0 - cells.continental)  # the sea delays the season
    wave = np.cos(turn)[:, None] * np.cos(sea) + np.sin(turn)[:, None] * np.sin(sea)
    winter = _winter(day.angle)[:, None]
    tilt = bias.north * (cells.lat - 65.0)
    wrong = bias.summer + (bias.winter - bias.summer) * winter + tilt
    place, season = forced_pattern(cells, day)
    out = annual_mean(cells) - amplitude * wave + wrong
    out += (warming * season)[:, None] * place
    spread = bias.spread_summer + (bias.spread_winter - bias.spread_summer) * winter
    out += (spread * (0.5 + 0.85 * winter)) * (luck.warmth @ patterns(cells))
    return out.astype("float32")


def precipitation_climate(cells: Cells, bias: Bias) -> np.ndarray:
    """Mean precipitation (day of year, cell) [kg m-2 d-1]."""
    lat = np.array([58.0, 60.3, 62.3, 64.3, 66.3, 68.3, 70.3, 72.0])
    total = np.interp(cells.lat, lat, [1000.0, 780, 470, 350, 320, 300, 210, 190])
    total *= 1.0 + 0.5 * (1 - cells.continental) * (cells.lat < 66) + 0.45 * cells.elevation / 1000
    angle = (np.arange(366) + 0.5) / 365.25
    season = 1.0 + 0.5 * np.cos(2 * np.pi * (angle - 0.6))
    wrong = bias.wet_summer + (bias.wet_winter - bias.wet_summer) * _winter(angle)
    return (season * wrong)[:, None] * total / 365.0


def top_of_atmosphere(cells: Cells) -> np.ndarray:
    """Daily mean solar radiation above the air (day of year, cell) [W m-2]."""
    return daily_insolation(np.arange(1, 367)[:, None], cells.lat)
