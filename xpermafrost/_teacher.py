"""Climates and soils drawn at random, and what the soil column makes of them.

The school of :mod:`xpermafrost.pretraining`: places that exist nowhere, from warm and snowy to
colder than Siberia, most of them warming, on soils from bare rock to deep peat and ground ice.
Nothing here is fitted to a record, nor taken from the sample world.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from .physics import SoilLayer, SoilProfile, SpinUp, Surface, insolation, simulate_soil
from .physics.forcing import TRACE_OF_SNOW
from .physics.snow import degree_day_snow
from .schema import ERA5LAND_EDGES, FREEZING_POINT, TIME, variable

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


def _batch(rng: np.random.Generator, years: int, layers: object) -> xr.Dataset:
    time = xr.date_range("2001-01-01", periods=int(years * 365.25), freq="D")
    time = xr.DataArray(time, coords={TIME: time}, dims=TIME)
    dims = (PLACE, COLUMN)

    def draw(low: float, high: float, *, columns: bool = False) -> xr.DataArray:
        shape = (BATCH, COLUMNS) if columns else (BATCH,)
        return xr.DataArray(rng.uniform(low, high, shape), dims=dims[: len(shape)])

    tas, pr = _weather(rng, time, draw)
    lat = draw(56.0, 74.0)
    # columns of one place differ by height and exposure
    spread = draw(0.0, 2.5) * xr.DataArray(rng.standard_normal((BATCH, COLUMNS)), dims=dims)
    tas = tas + spread
    pr = pr * np.exp(draw(-0.4, 0.4, columns=True))
    flat = {"cell": dims}
    tas, pr = (da.stack(flat).transpose("cell", TIME).reset_index("cell", drop=True).drop_vars(dims, errors="ignore") for da in (tas, pr))
    snow = degree_day_snow(
        tas, pr, degree_day=rng.uniform(2.5, 5.0), fresh=rng.uniform(80.0, 150.0), settled=rng.uniform(200.0, 350.0)
    )
    keep = draw(0.3, 1.0, columns=True).stack(flat).reset_index("cell", drop=True).drop_vars(dims, errors="ignore")
    sun = insolation(time, lat, clearness=0.5) * draw(0.8, 1.2)
    rsds = sun.broadcast_like(draw(0, 1, columns=True)).stack(flat).transpose("cell", TIME).reset_index("cell", drop=True).drop_vars(dims, errors="ignore")
    forcing = xr.Dataset(
        {"tas": tas, "pr": pr, "prsn": snow["prsn"], "snd": snow["snd"] * keep, "snw": snow["snw"] * keep, "rsds": rsds}
    )
    for name, da in forcing.data_vars.items():
        da.attrs = variable(str(name)).attrs
    count = forcing.sizes["cell"]

    def one(low: float, high: float) -> xr.DataArray:
        return xr.DataArray(rng.uniform(low, high, count), dims="cell")

    def some(share: float, low: float, high: float) -> xr.DataArray:
        return one(low, high) * (rng.random(count) < share)

    surface = Surface(
        snow_conductivity_factor=np.exp(one(-0.4, 0.8)),
        exchange_resistance=one(0.02, 0.08),
        solar_gain=one(0.0, 0.015),
    )
    soil = _soil(rng, one, some, forcing["tas"].mean(TIME) - FREEZING_POINT)
    run = simulate_soil(
        forcing[["tas", "snd", "snw", "rsds"]], soil, surface=surface, layers=layers, average="month",
        spin_up=SpinUp(years=8, cycles=20, tolerance=0.2),
    )
    monthly = forcing.resample({TIME: "MS"}).mean()
    both = monthly.assign(tsl=run["tsl"]).astype("float32")
    both = both.assign_coords(cell=np.arange(count))
    cube = both.coarsen(cell=COLUMNS).construct(cell=dims).drop_vars("cell")
    alone, mean = cube.isel({COLUMN: 0}, drop=True), cube.mean(COLUMN, keep_attrs=True)
    return xr.concat([alone, mean], dim=PLACE)


def _red(rng, memory, shape):
    from scipy.signal import lfilter

    keep = np.exp(-1.0 / memory)
    noise = rng.standard_normal(shape)
    noise[0] /= np.sqrt(1 - keep * keep)
    return lfilter([np.sqrt(1 - keep * keep)], [1.0, -keep], noise, axis=0)


def _weather(rng, time, draw):
    shape = (time.size, BATCH)
    wrap = lambda values: xr.DataArray(values, dims=(TIME, PLACE), coords={TIME: time})
    year = (time.dt.year - time.dt.year[0]) + time.dt.dayofyear / 365.25
    angle = 2 * np.pi * time.dt.dayofyear / 365.25
    late = draw(10.0, 35.0) * 2 * np.pi / 365.25
    winter = 0.5 + 0.5 * np.cos(angle - late)
    # a path of warming: level, then a ramp of any steepness
    start, stop = draw(0.0, 0.4), draw(0.6, 1.4)
    ramp = ((year / float(year[-1]) - start) / (stop - start)).clip(0.0, 1.0)
    warming = draw(-1.0, 9.0) * ramp
    mean = draw(-19.0, 4.0)
    amplitude = draw(8.0, 29.0)
    second = draw(-2.0, 2.0) * np.cos(2 * angle - draw(0, 6.28))
    chance = (
        draw(0.2, 0.9) * wrap(_red(rng, 700.0, shape))
        + draw(0.8, 2.5) * wrap(_red(rng, 25.0, shape))
        + draw(2.0, 5.0) * wrap(_red(rng, 3.0, shape))
    )
    chance = chance * (0.5 + draw(0.3, 1.0) * winter)
    tas = mean - amplitude * np.cos(angle - late) + second + warming * (1 + draw(-0.1, 0.5) * (2 * winter - 1)) + chance
    total = np.exp(draw(np.log(150.0), np.log(600.0)) + 0.04 * (mean + 5.0)) / 365.25 / 86400.0
    season = 1.0 + draw(0.0, 0.7) * np.cos(angle - draw(0.45, 0.75) * 2 * np.pi)
    wet = 1.1 * wrap(_red(rng, 1.2, shape)) + 0.4 * wrap(_red(rng, 30.0, shape)) + 0.2*wrap(_red(rng, 400.0, shape))
    pr = total * season * np.exp(wet - 0.7) * (1.0 + draw(0.0, 0.08) * warming)
    return tas + FREEZING_POINT, pr


def _soil(rng, one, some, mean_air):
    count = mean_air.size
    cold = mean_air < -3.0
    ice_top = 0.6 + some(1.0, 0.0, 0.9)
    icy = some(0.35, 0.0, 0.3) * cold
    moss, peat = some(0.5, 0.0, 0.12), some(0.6, 0.0, 0.5)
    texture = str(rng.choice(_TEXTURES))
    factor = np.exp(one(-0.35, 0.35))
    wet = one(0.35, 1.0)
    base = SoilLayer(texture=texture).porosity
    porosity = base * one(0.75, 1.1)
    ice_porosity = (porosity + icy).clip(max=0.9)
    return SoilProfile(
        name="drawn",
        layers=(
            SoilLayer(texture="moss", thickness=moss, saturation=one(0.1, 0.5)),
            SoilLayer(texture="peat", thickness=peat, saturation=one(0.4, 1.0)),
            SoilLayer(texture=texture, thickness=ice_top, saturation=wet, porosity=porosity, quartz=one(0.1, 0.8), conductivity_factor=factor),
            SoilLayer(texture=texture, thickness=one(1.0, 5.0), saturation=xr.where(icy > 0, 1.0, wet), porosity=ice_porosity, conductivity_factor=factor),
            SoilLayer(texture="rock", porosity=one(0.02, 0.3), saturation=one(0.5, 1.0)),
        ),
    )
