"""Assemble the sample world: spin-up, reanalysis, climate model, and the truth of each scenario."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..physics import column
from ..schema import ERA5LAND_EDGES, HISTORICAL, LAYER, REFERENCE, TIME, layer_coords, variable
from . import geography, ground, surface, weather

TRUTH = "truth"
LITHOLOGY_CLASS = "lithology_class"

#: Raised when the world changes; part of the names of cached files.
VERSION = 1

#: One realisation of chance each. Chosen so that its mean over 2001-2023 and 2081-2100 is near
#: zero and the forced change shows, and that in 2024-2030 chance hides the order of the scenarios.
SEEDS = {
    REFERENCE: 10,
    HISTORICAL: 1,
    "rcp26": 102,
    "rcp45": 105,
    "rcp60": 114,
    "rcp85": 106,
}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A grid with its ground and its errors."""

    cells: geography.Cells
    ground: ground.Ground
    bias: weather.Bias


@dataclass(kw_only=True)
class _State:
    surface: np.ndarray
    enthalpy: np.ndarray


def _warming(scenario: str, year: np.ndarray) -> np.ndarray:
    return weather.forced(scenario, year) - weather.forced("", np.arange(2001, 2024)).mean()


def _cut(luck: weather.Chance, start: int, stop: int | None = None) -> weather.Chance:
    return weather.Chance(warmth=luck.warmth[start:stop], wetness=luck.wetness[start:stop])


def _sky(place: _Place, day: weather.Days, scenario: str, luck: weather.Chance, state: np.ndarray):  # type: ignore[no-untyped-def]
    return surface.run(
        *(place.cells, place.ground, day),
        warming=_warming(scenario, day.year),
        luck=luck,
        bias=place.bias,
        state=state,
    )


def _soil(
    place: _Place, day: weather.Days, skies: list[surface.Surface], starts: list[np.ndarray]
) -> tuple[column.ColumnRun, list[np.ndarray]]:
    """The columns of several runs of equal length in one call; and their final states."""
    many = len(skies)
    properties = {k: np.tile(v, (1, many)) for k, v in place.ground.properties.items()}
    run = column.solve(
        np.concatenate([sky.skin for sky in skies], axis=1),
        np.concatenate([sky.resistance for sky in skies], axis=1),
        properties,
        np.concatenate(starts, axis=1),
        steps=day.month_lengths,
        weights=column.layer_weights(column.DEFAULT_EDGES, ERA5LAND_EDGES),
        tolerance=5e-3,
    )
    return run, np.split(run.enthalpy, many, axis=1)


def _spin_up(place: _Place, first: int, luck: weather.Chance) -> _State:
    """A state for January of ``first``: its first twelve years, three times over."""
    day = weather.days(first, first + 11)
    calm = _cut(luck, 0, day.year.size)
    state = surface.start(place.cells, place.ground)
    sky = _sky(place, day, "", calm, state)
    # Snow keeps the ground warmer than its surface; a first guess, soon forgotten near the top.
    guess = (sky.skin * (1.0 / (1.0 + sky.resistance))).mean(axis=0)
    guess /= (1.0 / (1.0 + sky.resistance)).mean(axis=0)
    nodes = len(column.DEFAULT_EDGES) - 1
    enthalpy = column.enthalpy_of(np.tile(guess, (nodes, 1)), place.ground.properties)
    for _ in range(3):
        _, (enthalpy,) = _soil(place, day, [sky], [enthalpy])
    return _State(surface=sky.state, enthalpy=enthalpy)


def build() -> xr.DataTree:
    """The gridded world: children reference, historical, the four RCPs and truth."""
    own = geography.cells(geography.reference_grid())
    coarse = geography.cells(geography.model_grid())
    real = _Place(cells=own, ground=ground.make(own), bias=weather.TRUE)
    model = _Place(
        cells=coarse,
        ground=ground.make(coarse, quartz_factor=0.7, peat_factor=0.6),
        bias=weather.MODEL,
    )
    children, end = {}, {}
    children[REFERENCE], end[REFERENCE] = _reference(real)
    children[HISTORICAL], end[HISTORICAL] = _historical(model)
    scenarios, lucks = _scenarios(model, end[HISTORICAL])
    children |= scenarios
    children[TRUTH] = _truth(real, end[REFERENCE], lucks)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=_attrs("all")), **children})


def _reference(real: _Place) -> tuple[xr.Dataset, _State]:
    day = weather.days(1976, 2023)
    luck = weather.chance(day, SEEDS[REFERENCE])
    state = _spin_up(real, 1976, luck)
    sky = _sky(real, day, "", luck, state.surface)
    run, (enthalpy,) = _soil(real, day, [sky], [state.enthalpy])
    ds = _monthly(real, day, sky, run, slice(None)).sel({TIME: slice("2001", None)})
    ds = ds.assign(_static(real)).assign_attrs(_attrs("reference (in the place of a reanalysis)"))
    return ds, _State(surface=sky.state, enthalpy=enthalpy)


def _historical(model: _Place) -> tuple[xr.Dataset, _State]:
    day = weather.days(1950, 2005)
    luck = weather.chance(day, SEEDS[HISTORICAL])
    state = _spin_up(model, 1950, luck)
    sky = _sky(model, day, "", luck, state.surface)
    run, (enthalpy,) = _soil(model, day, [sky], [state.enthalpy])
    ds = _monthly(model, day, sky, run, slice(None)).assign(_land(model))
    ds = ds.assign_attrs(_attrs("climate model, historical"))
    return ds, _State(surface=sky.state, enthalpy=enthalpy)


def _scenarios(
    model: _Place, start: _State
) -> tuple[dict[str, xr.Dataset], dict[str, weather.Chance]]:
    day = weather.days(2006, 2100)
    lucks = {s: weather.chance(day, SEEDS[s]) for s in weather.SCENARIOS}
    skies = [_sky(model, day, s, luck, start.surface) for s, luck in lucks.items()]
    run, _ = _soil(model, day, skies, [start.enthalpy] * len(skies))
    count = model.cells.lat.size
    made = {}
    for i, (name, sky) in enumerate(zip(lucks, skies, strict=True)):
        ds = _monthly(model, day, sky, run, slice(i * count, (i + 1) * count))
        made[name] = ds.assign(_land(model)).assign_attrs(_attrs(f"climate model, {name}"))
    return made, lucks


def _truth(real: _Place, start: _State, lucks: dict[str, weather.Chance]) -> xr.Dataset:
    """The reference's soil under the model's weather and forced signal, without its errors."""
    day = weather.days(2024, 2100)
    skies = [
        _sky(real, day, name, _cut(luck, -day.year.size), start.surface)
        for name, luck in lucks.items()
    ]
    run, _ = _soil(real, day, skies, [start.enthalpy] * len(skies))
    count = real.cells.lat.size
    parts = [
        _monthly(real, day, sky, run, slice(i * count, (i + 1) * count))[
            ["tas", "snd", "tsl", "thaw_depth"]
        ]
        for i, sky in enumerate(skies)
    ]
    joined = xr.concat(
        parts, dim=xr.Variable("scenario", list(lucks)), coords="minimal", compat="override"
    )
    joined = joined.rename({str(n): f"{n}_truth" for n in joined.data_vars}).assign(_land(real))
    return joined.assign_attrs(_attrs("truth of each scenario"))


def _spread(place: _Place, values: np.ndarray) -> np.ndarray:
    """From ``(..., cell)`` to ``(lat, lon, ...)`` float32, NaN off the land."""
    grid, shape = place.cells.grid, values.shape[:-1]
    out = np.full((grid.lat.size, grid.lon.size, *shape), np.nan, dtype="float32")
    out[place.cells.row, place.cells.column] = np.moveaxis(values, -1, 0)
    return out


def _monthly(
    place: _Place,
    day: weather.Days,
    sky: surface.Surface,
    run: column.ColumnRun,
    part: slice,
) -> xr.Dataset:
    flat, layered = ("lat", "lon", TIME), ("lat", "lon", LAYER, TIME)
    data = {
        name: xr.Variable(flat, _spread(place, sky.means[:, i]), variable(name).attrs)
        for i, name in enumerate(surface.NAMES)
    }
    water, soil = np.swapaxes(sky.water, 0, 1), np.swapaxes(run.temperature[:, :, part], 0, 1)
    data["mrsol"] = xr.Variable(layered, _spread(place, water), variable("mrsol").attrs)
    data["tsl"] = xr.Variable(layered, _spread(place, soil + 273.15), variable("tsl").attrs)
    data["thaw_depth"] = xr.Variable(
        flat,
        _spread(place, run.thaw_depth[:, part]),
        {
            "units": "m",
            "long_name": "greatest depth of 0 degC of the month, from daily nodes of the column",
            "comment": "0: nothing thawed; missing: thawed to the lower end of the column",
        },
    )
    return xr.Dataset(data, coords={**_coords(place), TIME: day.months, **layer_coords()})


def _coords(place: _Place) -> dict[str, xr.Variable]:
    def axis(name: str, values: np.ndarray, unit: str) -> xr.Variable:
        return xr.Variable(name[:3], values, {"standard_name": name, "units": unit})

    return {
        "lat": axis("latitude", place.cells.grid.lat, "degrees_north"),
        "lon": axis("longitude", place.cells.grid.lon, "degrees_east"),
    }


def _land(place: _Place) -> dict[str, xr.Variable]:
    share = np.where(np.isnan(_spread(place, place.cells.lat)), 0.0, 100.0 * place.cells.land)
    return {"sftlf": xr.Variable(("lat", "lon"), share.astype("float32"), variable("sftlf").attrs)}


def _static(place: _Place) -> dict[str, xr.Variable]:
    def field(name: str, values: np.ndarray, *dims: str) -> xr.Variable:
        return xr.Variable(("lat", "lon", *dims), _spread(place, values), variable(name).attrs)

    return {
        **_land(place),
        "elevation": field("elevation", place.cells.elevation),
        "soc": field("soc", place.ground.soc, LAYER),
        "bulk_density": field("bulk_density", place.ground.bulk_density, LAYER),
        "lithology": field("lithology", place.ground.lithology, LITHOLOGY_CLASS),
        LITHOLOGY_CLASS: xr.Variable(LITHOLOGY_CLASS, list(ground.LITHOLOGY)),
    }


def _attrs(what: str) -> dict[str, str]:
    return {
        "title": f"Simulated Alaska: {what}",
        "source": "xpermafrost sample world: simulated weather, degree-day snow, and a soil "
        "column with heat conduction and phase change",
        "simulated": "yes: no observation, reanalysis or climate model went into it",
        "sample_world_version": str(VERSION),
        "history": f"xpermafrost.datasets.alaska_sample, world {VERSION}",
    }
