"""Climates and soils drawn at random, and what the soil column makes of them.

The school of :mod:`xpermafrost.pretraining`: places that exist nowhere, from warm and snowy to
colder than Siberia, most of them warming, on soils from bare rock to deep peat and ground ice.
Nothing here is fitted to a record, nor taken from the sample world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from .physics import SoilLayer, SoilProfile, SpinUp, Surface, insolation, simulate_soil
from .physics.forcing import TRACE_OF_SNOW
from .physics.snow import degree_day_snow
from .schema import ERA5LAND_EDGES, FREEZING_POINT, LAYER, TIME, variable

#: Dimension of the teacher's places, and of the columns of one of them.
PLACE, COLUMN = "place", "column"

#: Variables that the teacher knows.
FORCING = ("tas", "pr", "prsn", "snd", "snw", "rsds")

#: Columns under the weather of one climate: a place is one of them, or their mean.
COLUMNS = 4

#: Climates that share snow and texture, simulated together.
BATCH = 16

#: Deepest snow of a month that is believed [m].
DEEPEST_SNOW = 2.0

_TEXTURES = ("sand", "sandy_loam", "loam", "silt", "clay_loam", "clay")


def school(
    places: int,
    *,
    years: int = 70,
    layers: Sequence[float] | np.ndarray | xr.Dataset = ERA5LAND_EDGES,
    seed: int = 0,
) -> xr.Dataset:
    """Monthly forcing and soil temperature of places drawn at random.

    Parameters
    ----------
    places : int
        How many; half of them one column, half the mean of four that differ, as a region does.
        A place with perennial or implausibly deep snow is left out.
    years : int
        Of each: level at first, then as a rule warming, by up to 9 K.
    layers : sequence of float, array (layer, 2) or Dataset
        Of the soil temperature, see :func:`~xpermafrost.physics.simulate_soil`.
    seed : int
        The same places for the same seed.

    Returns
    -------
    Dataset
        Canonical: :data:`FORCING` ``(place, time)`` and ``tsl (place, layer, time)`` [K].

    Examples
    --------
    >>> lessons = school(2, years=10)
    >>> lessons["tsl"].dims, lessons.sizes["time"]
    (('place', 'layer', 'time'), 120)
    """
    parts: list[xr.Dataset] = []
    number = 0
    while sum(part.sizes[PLACE] for part in parts) < places:
        part = _batch(np.random.default_rng([seed, number]), years, layers)
        perennial = part["snd"].groupby("time.year").min().max("year") > TRACE_OF_SNOW
        fine = ~perennial & (part["snd"].max(TIME) < DEEPEST_SNOW)
        parts.append(part.isel({PLACE: np.flatnonzero(fine.values)}))
        number += 1
    joined = xr.concat(parts, dim=PLACE).isel({PLACE: slice(places)})
    return joined.assign_coords({PLACE: np.arange(places)})


@dataclass(frozen=True)
class _Draw:
    """Numbers drawn for the places of a batch, or for their columns."""

    rng: np.random.Generator

    def place(self, low: float, high: float) -> xr.DataArray:
        return xr.DataArray(self.rng.uniform(low, high, BATCH), dims=PLACE)

    def column(self, low: float, high: float) -> xr.DataArray:
        return xr.DataArray(self.rng.uniform(low, high, (BATCH, COLUMNS)), dims=(PLACE, COLUMN))

    def some(self, share: float, low: float, high: float) -> xr.DataArray:
        """As :meth:`column`, and 0 at all but a share of the columns."""
        return self.column(low, high) * (self.rng.random((BATCH, COLUMNS)) < share)

    def red(self, days: int, memory: float) -> xr.DataArray:
        """Red noise ``(time, place)`` of unit variance, e-folding time ``memory`` [d]."""
        from scipy.signal import lfilter

        keep = np.exp(-1.0 / memory)
        noise = self.rng.standard_normal((days, BATCH))
        noise[0] /= np.sqrt(1 - keep * keep)
        values = lfilter([np.sqrt(1 - keep * keep)], [1.0, -keep], noise, axis=0)
        return xr.DataArray(values, dims=(TIME, PLACE))


def _batch(
    rng: np.random.Generator, years: int, layers: Sequence[float] | np.ndarray | xr.Dataset
) -> xr.Dataset:
    """Twice :data:`BATCH` places: the first column of each, and the mean of its columns."""
    draw = _Draw(rng)
    dates = np.arange("2001-01-01", f"{2001 + years}-01-01", dtype="datetime64[D]")
    time = xr.DataArray(dates.astype("datetime64[ns]"), dims=TIME)
    forcing = _forcing(rng, draw, time.assign_coords({TIME: time}))
    soil = _soil(rng, draw, forcing["tas"].mean(TIME) - FREEZING_POINT)
    surface = Surface(
        snow_conductivity_factor=xr.DataArray(np.exp(draw.column(-0.4, 0.8))),
        exchange_resistance=draw.column(0.02, 0.08),
        solar_gain=draw.column(0.0, 0.015),
    )
    run = simulate_soil(
        forcing[["tas", "snd", "snw", "rsds"]],
        soil,
        surface=surface,
        layers=layers,
        spin_up=SpinUp(years=8, cycles=20, tolerance=0.2),
    )
    months = forcing.resample({TIME: "MS"}).mean().assign(tsl=run["tsl"]).astype("float32")
    both = [months.isel({COLUMN: 0}), months.mean(COLUMN)]
    out = xr.concat(both, dim=PLACE).transpose(PLACE, LAYER, TIME)
    for name, da in out.data_vars.items():
        da.attrs = variable(str(name)).attrs
    return out


def _forcing(rng: np.random.Generator, draw: _Draw, time: xr.DataArray) -> xr.Dataset:
    """Daily :data:`FORCING` ``(time, place, column)``."""
    tas, pr = _weather(draw, time)
    # columns of one place differ by height and exposure
    normal = xr.DataArray(rng.standard_normal((BATCH, COLUMNS)), dims=(PLACE, COLUMN))
    tas = tas + draw.place(0.0, 2.5) * normal
    pr = pr * np.exp(draw.column(-0.4, 0.4))
    snow = degree_day_snow(
        tas,
        pr,
        degree_day=rng.uniform(2.5, 5.0),
        fresh=rng.uniform(80.0, 150.0),
        settled=rng.uniform(200.0, 350.0),
    )
    kept = draw.column(0.3, 1.0)  # what wind and sublimation leave
    sun = insolation(time, draw.place(56.0, 74.0)) * draw.place(0.8, 1.2)
    forcing = xr.Dataset(
        {
            "tas": tas,
            "pr": pr,
            "prsn": snow["prsn"],
            "snd": snow["snd"] * kept,
            "snw": snow["snw"] * kept,
            "rsds": sun.broadcast_like(tas),
        }
    )
    for name, da in forcing.data_vars.items():
        da.attrs = variable(str(name)).attrs
    return forcing.transpose(TIME, PLACE, COLUMN)


def _weather(draw: _Draw, time: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Daily air temperature [K] and precipitation [kg m-2 s-1] ``(time, place)``."""
    day, days = time.dt.dayofyear, time.size
    angle = 2 * np.pi * day / 365.25
    late = angle - draw.place(10.0, 35.0) * 2 * np.pi / 365.25
    winter = 0.5 + 0.5 * np.cos(late)
    since = xr.DataArray(np.linspace(0.0, 1.0, days), dims=TIME)
    # level, then a ramp: from none to 9 K, most of it or all within the record
    start, stop = draw.place(0.0, 0.4), draw.place(0.6, 1.4)
    warming = draw.place(-1.0, 9.0) * ((since - start) / (stop - start)).clip(0.0, 1.0)
    mean = draw.place(-19.0, 4.0)
    season = -draw.place(8.0, 29.0) * np.cos(late)
    season = season + draw.place(-2.0, 2.0) * np.cos(2 * angle - draw.place(0.0, 2 * np.pi))
    chance = (
        draw.place(0.2, 0.9) * draw.red(days, 700.0)
        + draw.place(0.8, 2.5) * draw.red(days, 25.0)
        + draw.place(2.0, 5.0) * draw.red(days, 3.0)
    ) * (0.5 + draw.place(0.3, 1.0) * winter)
    amplified = 1.0 + draw.place(-0.1, 0.5) * (2 * winter - 1)  # in winter, as a rule
    tas = mean + season + warming * amplified + chance + FREEZING_POINT
    # warm air is wet: 4 % a degree between places, up to 8 % in time
    total = np.exp(draw.place(np.log(150.0), np.log(600.0)) + 0.04 * (mean + 5.0)) / 365.25 / 86400
    course = 1.0 + draw.place(0.0, 0.7) * np.cos(angle - 2 * np.pi * draw.place(0.45, 0.75))
    wet = 1.1 * draw.red(days, 1.2) + 0.4 * draw.red(days, 30.0) + 0.2 * draw.red(days, 400.0)
    pr = xr.DataArray(total * course * np.exp(wet - 0.7))
    pr = pr * (1.0 + draw.place(0.0, 0.08) * warming)
    return tas, pr.assign_coords({TIME: time})


def _soil(rng: np.random.Generator, draw: _Draw, air: xr.DataArray) -> SoilProfile:
    """Moss and peat or none, over mineral soil, over icy soil where it is cold, over rock."""
    texture = str(rng.choice(_TEXTURES))
    factor = xr.DataArray(np.exp(draw.column(-0.35, 0.35)))
    pores = SoilLayer(texture=texture).porosity * draw.column(0.75, 1.1)
    wet = draw.column(0.35, 1.0)
    ice = draw.some(0.35, 0.0, 0.3) * (air < -3.0)  # in excess of the pores
    mineral = SoilLayer(
        texture=texture,
        thickness=draw.column(0.6, 1.5),
        saturation=wet,
        porosity=pores,
        quartz=draw.column(0.1, 0.8),
        conductivity_factor=factor,
    )
    icy = replace(
        mineral,
        thickness=draw.column(1.0, 5.0),
        saturation=xr.where(ice > 0.0, 1.0, wet),
        porosity=(pores + ice).clip(max=0.9),
    )
    layers = (
        SoilLayer(
            texture="moss",
            thickness=draw.some(0.5, 0.0, 0.12),
            saturation=draw.column(0.1, 0.5),
        ),
        SoilLayer(
            texture="peat",
            thickness=draw.some(0.6, 0.0, 0.5),
            saturation=draw.column(0.4, 1.0),
        ),
        mineral,
        icy,
        SoilLayer(
            texture="rock",
            porosity=draw.column(0.02, 0.3),
            saturation=draw.column(0.5, 1.0),
        ),
    )
    return SoilProfile(name="drawn", layers=layers)
