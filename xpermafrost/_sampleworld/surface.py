"""The surface of the sample world, day by day: radiation, snow, energy balance, soil water.

Simple, but every variable comes from the same weather, so that forcing is coherent:

- downwelling longwave: ``sigma T4 (0.765 + 0.22 c3)`` (Koenig-Langlo and Augstein, 1994);
- downwelling shortwave: ``0.72 (1 - 0.52 c)`` of that above the air (after Bennett, 1982);
- skin temperature: the surface energy balance, linear in ``Ts - Ta``, with latent heat after
  Priestley and Taylor (1972) limited by soil water, and heat into the ground by a slow second
  temperature (force-restore, Bhumralkar, 1975);
- snow: degree days; density nears that of its class, depth and date (Sturm et al., 2010), new
  snow is packed by wind in the open; cover is full from 0.1 m (as in HTESSEL);
- soil water: four buckets, filled from above, emptied by evaporation, slow exchange, runoff.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from ..physics.snow import snow_day, snow_fraction
from .geography import Cells
from .ground import Ground
from .snowcover import SnowCover
from .weather import (
    Bias,
    Chance,
    Days,
    air_temperature,
    annual_mean,
    patterns,
    precipitation_climate,
    top_of_atmosphere,
)

#: Order of the monthly means in the answer.
NAMES = ("tas", "ts", "pr", "prsn", "rlds", "rsds", "hfls", "hfss", "snd", "snw", "snc")
_SIGMA = 5.670374e-8
_WET_POWER, _WET_FROM = 1.6, 0.1
#: Mean of max(0, x - _WET_FROM) ** _WET_POWER for x ~ N(0, 1).
_WET_MEAN = 0.37956

STATE_ROWS = 7  # swe, density, slow temperature, soil water x 4


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Monthly means ``(month, name, cell)``, soil water ``(month, layer, cell)``, and by day
    ``(day, cell)`` what drives the column: skin temperature [K], depth [m] and water equivalent
    [kg m-2] of the snow; the state to go on.
    """

    means: np.ndarray
    water: np.ndarray
    ts: np.ndarray
    snd: np.ndarray
    snw: np.ndarray
    state: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _step_days(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    low,
    high,
    air,
    wet,
    extra,
    row,
    lengths,
    sun,
    rain,
    cover,
    cell,
    capacity,
    rest,
    state,
    means,
    water,
    skin,
    lying,
    swes,
):
    """Advance the cells ``low .. high``; the last six arguments are written."""
    day = 0
    for month in range(lengths.size):
        for _ in range(lengths[month]):
            doy = row[day]
            season = min(181.0, max(-92.0, doy + 1.0 - (366.0 if doy >= 243 else 0.0)))
            for p in range(low, high):
                ta, x, warm = air[day, p], wet[day, p], extra[day]
                swe, density, slow = state[0, p], state[1, p], state[2, p]
                tundra, mean, moss = cell[0, p], cell[1, p], cell[2, p]
                uneven, fresh = cell[3, p], cell[4, p]
                cloud = min(1.0, max(0.05, cover[doy] + 0.24 * x))
                fall = rain[doy, p] * (1.0 + 0.05 * warm)
                fall *= max(0.0, x - _WET_FROM) ** _WET_POWER / _WET_MEAN
                snowfall = fall * snow_fraction(ta)
                kelvin = ta + 273.15
                black = _SIGMA * kelvin**4
                lw = black * (0.765 + 0.22 * cloud**3) + 0.4 * warm
                sw = sun[doy, p] * 0.72 * (1.0 - 0.52 * cloud)

                # what wind and canopy take melts and runs off elsewhere
                factor = 3.0 + 0.8 * tundra
                kept = cell[9, p] * snowfall
                grown = cell[7, p] * 100.0 * swe / density + cell[8, p] * season
                settled = cell[6, p] + (cell[5, p] - cell[6, p]) * (1.0 - np.exp(-grown))
                settled *= 1000.0
                swe, density, melt = snow_day(swe, density, kept, ta, factor, fresh, settled)
                melt += snowfall - kept
                depth = swe / density
                white = min(1.0, depth / 0.1)
                r = density / 1000.0
                k = 0.023 + 0.234 * r if r < 0.156 else 0.138 - 1.01 * r + 3.233 * r * r
                above = depth / (uneven * k) + moss

                albedo = white * (0.45 + 0.32 * tundra) + (1.0 - white) * (0.12 + 0.06 * tundra)
                shade = 1.0 - 0.4 * (1.0 - tundra) * (1.0 - white)  # of trees on the ground
                net = (1.0 - albedo) * shade * sw + 0.98 * (lw - black)
                es = 6.112 * np.exp(17.67 * ta / (ta + 243.5))
                slope = es * 17.67 * 243.5 / (ta + 243.5) ** 2
                top = (state[3, p] + state[4, p]) / (capacity[0, p] + capacity[1, p])
                moist = min(1.0, top / 0.55) * (0.62 + 0.12 * tundra) if ta > 0.0 else 0.0
                latent = (1.0 - white) * moist * 1.26 * slope / (slope + 0.66) * max(net, 0.0)
                latent += white * (1.5 if ta > -20.0 else 0.3)  # sublimation
                swe = max(0.0, swe - white * latent * 86400.0 / 2.83e6)
                turbulent = 1290.0 * ((0.016 - 0.009 * white) * (1.6 - 0.6 * tundra))
                open_soil = above + 0.25
                ratio = net - latent + (slow - ta) / open_soil
                ts = ta + ratio / (4.0 * 0.98 * black / kelvin + turbulent + 1.0 / open_soil)
                if swe > 5.0:
                    ts = min(ts, 0.0)
                into = (ts - slow) / open_soil
                slow += into * 86400.0 / 6.0e6 + (mean + 4.0 - slow) / 200.0

                # soil water: from above where the ground is thawed, else it runs off
                inflow = fall - snowfall + melt
                dry = (1.0 - white) * latent * 86400.0 / 2.5e6
                for layer in range(4):
                    w = state[3 + layer, p]
                    full = capacity[layer, p]
                    if layer == 0 or slow > -2.0:
                        taken = min(inflow, 0.25 * (full - w))
                        w += taken
                        inflow -= taken
                    if layer < 3:
                        share = 0.4 if layer < 2 else 0.2
                        w -= min(dry * share, max(0.0, w - 0.15 * full))
                    state[3 + layer, p] = w
                if slow > -2.0:
                    for layer in range(3):
                        here = state[3 + layer, p] / capacity[layer, p]
                        below = state[4 + layer, p] / capacity[layer + 1, p]
                        # downward where wetter above than the resting profile
                        move = (
                            0.012
                            * (here - below + 0.12)
                            * min(capacity[layer, p], capacity[layer + 1, p])
                        )
                        move = min(max(move, -0.5), capacity[layer + 1, p] - state[4 + layer, p])
                        state[3 + layer, p] -= move
                        state[4 + layer, p] += move
                    for layer in range(1, 4):  # ground water holds the deeper layers
                        state[3 + layer, p] += (rest[layer, p] - state[3 + layer, p]) / 300.0
                state[0, p], state[1, p], state[2, p] = swe, density, slow
                skin[day, p], lying[day, p], swes[day, p] = ts + 273.15, swe / density, swe
                inv = 1.0 / lengths[month]
                means[month, 0, p] += kelvin * inv
                means[month, 1, p] += (ts + 273.15) * inv
                means[month, 2, p] += fall / 86400.0 * inv
                means[month, 3, p] += snowfall / 86400.0 * inv
                means[month, 4, p] += lw * inv
                means[month, 5, p] += sw * inv
                means[month, 6, p] += latent * inv
                means[month, 7, p] += turbulent * (ts - ta) * inv
                means[month, 8, p] += swe / density * inv
                means[month, 9, p] += swe * inv
                means[month, 10, p] += 100.0 * white * inv
                for layer in range(4):
                    water[month, layer, p] += state[3 + layer, p] * inv
            day += 1


def start(cells: Cells, ground: Ground) -> np.ndarray:
    """A state without snow, in January of the first year."""
    state = np.zeros((STATE_ROWS, cells.lat.size))
    state[1] = 150.0
    state[2] = -3.0
    state[3:7] = ground.start
    return state


def run(
    cells: Cells,
    ground: Ground,
    snow: SnowCover,
    day: Days,
    *,
    warming: np.ndarray,
    luck: Chance,
    bias: Bias,
    state: np.ndarray,
) -> Surface:
    """The surface over the days; ``warming`` by day [K] relative to 2001-2023."""
    air = air_temperature(cells, day, warming, luck, bias)
    wet = luck.wetness @ patterns(cells)
    count = cells.lat.size
    months = day.month_lengths.size
    angle = (np.arange(366) + 0.5) / 365.25
    cover = 0.63 + bias.cloud + 0.09 * np.cos(2 * np.pi * (angle - 0.64))
    cell = np.stack(
        [
            *(cells.tundra, annual_mean(cells), ground.moss, snow.conductance, snow.fresh),
            *(*snow.density, snow.kept),
        ]
    )
    made = Surface(
        means=np.zeros((months, len(NAMES), count)),
        water=np.zeros((months, 4, count)),
        **{name: np.empty(air.shape, dtype="float32") for name in ("ts", "snd", "snw")},
        state=state.copy(),
    )
    arguments = (
        *(air, wet, np.asarray(warming, dtype="float64"), day.table_row, day.month_lengths),
        *(top_of_atmosphere(cells), precipitation_climate(cells, bias), cover, cell),
        *(ground.capacity, ground.start, made.state, made.means, made.water),
        *(made.ts, made.snd, made.snw),
    )
    workers = len(os.sched_getaffinity(0))
    edges = np.linspace(0, count, 2 * workers + 1).astype(int)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(_step_days, int(low), int(high), *arguments)
            for low, high in itertools.pairwise(edges)
        ]
        for job in jobs:
            job.result()
    return made
