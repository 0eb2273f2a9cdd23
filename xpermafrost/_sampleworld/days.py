"""Some cells of the sample world day by day: the same weather, snow and ground as its months.

A day's forcing comes from the surface of the world, whose months are made one day long; the columns
are those of the cells, from the same spin-up.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import xarray as xr

from ..schema import LAYER, REFERENCE, TIME, layer_coords, variable
from . import build, geography, ground, snowcover, surface, weather

STATION = "station"

#: Stations: the land cell of the reference grid nearest to (lat, lon).
STATIONS = {
    "arctic_coast": (71.0, -156.8),
    "arctic_foothills": (69.1, -150.0),
    "brooks_range": (68.4, -147.0),
    "yukon_flats": (66.2, -145.5),
    "seward_peninsula": (65.4, -163.5),
    "tanana_valley": (64.6, -147.8),
    "copper_basin": (62.4, -145.5),
    "kuskokwim_delta": (60.9, -162.0),
    "south_coast": (60.1, -150.0),
}

#: The scenario of the future, the strongest.
SCENARIO = "rcp85"


def pick(cells: geography.Cells) -> geography.Cells:
    """The :data:`STATIONS` among ``cells``."""
    lat, lon = np.array(list(STATIONS.values())).T
    north, east = cells.lat - lat[:, None], (cells.lon - lon[:, None]) * np.cos(np.deg2rad(65.0))
    which = (north**2 + east**2).argmin(axis=1)
    of_cell = [field.name for field in fields(cells) if field.name not in ("grid", "land")]
    return replace(cells, **{name: getattr(cells, name)[which] for name in of_cell})


def build_days() -> xr.DataTree:
    """Children ``reference`` and :data:`SCENARIO`, each ``(station, layer, time)``."""
    cells = pick(geography.cells(geography.reference_grid()))
    place = build._Place(
        cells=cells, ground=ground.make(cells), snow=snowcover.make(cells), bias=weather.TRUE
    )
    past = _daily(weather.days(1976, 2023))
    luck = weather.chance(past, build.SEEDS[REFERENCE])
    state = build._settled(place, 1976, luck)
    sky = build._sky(place, past, "", luck, state)
    soil = build._soil(place, past, sky, None, "step")
    children = {REFERENCE: _labelled(place, past, sky, soil).sel({TIME: slice("2001", None)})}

    future = _daily(weather.days(2024, 2100))
    whole = weather.chance(weather.days(2006, 2100), build.SEEDS[SCENARIO])
    luck = build._cut(whole, -future.year.size)
    sky = build._sky(place, future, SCENARIO, luck, sky.state)
    soil = build._soil(place, future, sky, soil, "step")
    children[SCENARIO] = _labelled(place, future, sky, soil)
    titles = {REFERENCE: "daily reference", SCENARIO: f"daily truth of {SCENARIO}"}
    for name, ds in children.items():
        children[name] = ds.assign_attrs(build._attrs(f"stations, {titles[name]}"))
    root = xr.Dataset(attrs=build._attrs("stations by the day"))
    return xr.DataTree.from_dict({"/": root, **children})


def _daily(day: weather.Days) -> weather.Days:
    """``day`` with months of one day: their means are the days."""
    return replace(day, month_lengths=np.ones(day.year.size, dtype=day.month_lengths.dtype))


def _labelled(
    place: build._Place, day: weather.Days, sky: surface.Surface, run: xr.Dataset
) -> xr.Dataset:
    cells = place.cells

    def put(name: str, values: np.ndarray, *dims: str) -> xr.Variable:
        return xr.Variable(dims, values.astype("float32"), variable(name).attrs)

    data = {
        name: put(name, sky.means[:, i].T, STATION, TIME) for i, name in enumerate(surface.NAMES)
    }
    data["mrsol"] = put("mrsol", sky.water.transpose(2, 1, 0), STATION, LAYER, TIME)
    soil = run["tsl"].transpose(ground.CELL, LAYER, TIME)
    data["tsl"] = put("tsl", soil.values, STATION, LAYER, TIME)
    data["elevation"] = put("elevation", cells.elevation, STATION)
    for name in ("soc", "bulk_density"):
        data[name] = put(name, getattr(place.ground, name).T, STATION, LAYER)
    degrees = {"lat": ("latitude", "degrees_north"), "lon": ("longitude", "degrees_east")}
    coords = {
        name: xr.Variable(STATION, getattr(cells, name), {"standard_name": long, "units": unit})
        for name, (long, unit) in degrees.items()
    }
    stamps = day.date.astype("datetime64[ns]")
    layers = layer_coords(place.ground.makeup.layers)
    return xr.Dataset(data, coords={STATION: list(STATIONS), TIME: stamps, **coords, **layers})
