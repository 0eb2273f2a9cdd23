"""Assemble the sample world: spin-up, reanalysis, climate model, and the truth of each scenario."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..physics import SpinUp, Surface, simulate_soil
from ..schema import HISTORICAL, LAYER, REFERENCE, TIME, layer_coords, variable
from . import geography, ground, snowcover, surface, weather
from .ground import CELL

TRUTH = "truth"
_TITLES = {
    REFERENCE: "reference (in the place of a reanalysis)",
    TRUTH: "truth of each scenario",
    **{name: f"climate model, {name}" for name in (HISTORICAL, *weather.SCENARIOS)},
}
LITHOLOGY_CLASS = "lithology_class"

#: Raised when the world changes; part of the names of cached files.
VERSION = 2

#: The first twelve years, repeated.
SPIN_UP = SpinUp(years=12, cycles=30, tolerance=0.05)

#: One realisation of chance each. Chosen so that its mean over 2001-2023 and 2081-2100 is near
#: zero in every band and the forced change shows, in 2024-2030 chance hides the order of the
#: scenarios, and the difference of the extreme ones in 2041-2060 is known well enough to be kept.
SEEDS = {
    REFERENCE: 10,
    HISTORICAL: 1,
    "rcp26": 546,
    "rcp45": 364,
    "rcp60": 267,
    "rcp85": 263,
}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A grid with its ground, its snow and its errors."""

    cells: geography.Cells
    ground: ground.Ground
    snow: snowcover.SnowCover
    bias: weather.Bias


@dataclass(frozen=True, kw_only=True)
class _State:
    surface: np.ndarray
    soil: xr.Dataset


def _place(grid: geography.Grid, makeup: ground.Makeup, bias: weather.Bias) -> _Place:
    cells = geography.cells(grid)
    return _Place(
        cells=cells,
        ground=ground.make(cells, makeup),
        snow=snowcover.make(cells, heavier=bias.snow_density, uniform=bias.snow_uniform),
        bias=bias,
    )


def _warming(scenario: str, year: np.ndarray) -> np.ndarray:
    return weather.forced(scenario, year) - weather.forced("", np.arange(2001, 2024)).mean()


def _cut(luck: weather.Chance, start: int, stop: int | None = None) -> weather.Chance:
    return weather.Chance(warmth=luck.warmth[start:stop], wetness=luck.wetness[start:stop])


def _sky(
    place: _Place, day: weather.Days, scenario: str, luck: weather.Chance, state: np.ndarray
) -> surface.Surface:
    return surface.run(
        *(place.cells, place.ground, place.snow, day),
        warming=_warming(scenario, day.year),
        luck=luck,
        bias=place.bias,
        state=state,
    )


def _soil(
    place: _Place,
    day: weather.Days,
    sky: surface.Surface,
    start: xr.Dataset | None,
    average: str = "month",
) -> xr.Dataset:
    """The columns under ``sky``; without ``start`` from a spin-up. ``average="step"``: days."""
    units = {"ts": "K", "snd": "m", "snw": "kg m-2"}
    forcing = xr.Dataset(
        {name: ((TIME, CELL), getattr(sky, name), {"units": unit}) for name, unit in units.items()},
        coords={TIME: day.date.astype("datetime64[ns]")},
    )
    makeup = place.ground.makeup
    return simulate_soil(
        forcing,
        place.ground.properties,
        surface=Surface(
            snow=250.0, snow_conductivity_factor=xr.DataArray(place.snow.conductance, dims=CELL)
        ),
        layers=makeup.layers,
        edges=makeup.edges,
        average=average,
        spin_up=SPIN_UP,
        initial=start,
    )


def build() -> xr.DataTree:
    """The gridded world: children reference, historical, the four RCPs and truth."""
    real = _place(geography.reference_grid(), ground.TRUE, weather.TRUE)
    model = _place(geography.model_grid(), ground.MODEL, weather.MODEL)
    scenarios = weather.SCENARIOS
    with ThreadPoolExecutor(2) as pool:  # the daily weather of a run is 0.3 GB
        own = pool.submit(_past, real, REFERENCE, 1976, 2023)
        past, then = _past(model, HISTORICAL, 1950, 2005)
        reference, now = own.result()
        truth = pool.map(lambda name: _future(real, name, 2024, now), scenarios)
        future = pool.map(lambda name: _future(model, name, 2006, then), scenarios)
        children = {
            REFERENCE: reference.sel({TIME: slice("2001", None)}).assign(_static(real)),
            HISTORICAL: past,
            **dict(zip(scenarios, future, strict=True)),
            TRUTH: _side_by_side(dict(zip(scenarios, truth, strict=True))),
        }
    for name, ds in children.items():
        land = _land(real if name in (REFERENCE, TRUTH) else model)
        children[name] = ds.assign(land).assign_attrs(_attrs(_TITLES[name]))
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=_attrs("all")), **children})


def _side_by_side(truth: dict[str, xr.Dataset]) -> xr.Dataset:
    """What is known of each scenario, under names that say so."""
    names = ["tas", "snd", "tsl", "thaw_depth"]
    return xr.concat(
        [ds[names].rename({name: f"{name}_truth" for name in names}) for ds in truth.values()],
        dim=xr.Variable("scenario", list(truth)),
        coords="minimal",
        compat="override",
    )


def _past(place: _Place, name: str, first: int, last: int) -> tuple[xr.Dataset, _State]:
    """A run from a spin-up, and its final state."""
    day = weather.days(first, last)
    luck = weather.chance(day, SEEDS[name])
    sky = _sky(place, day, "", luck, _settled(place, first, luck))
    soil = _soil(place, day, sky, None)
    return _monthly(place, day, sky, soil), _State(surface=sky.state, soil=soil)


def _settled(place: _Place, first: int, luck: weather.Chance) -> np.ndarray:
    """The state of the surface after the first twelve years, to begin them with."""
    calm = weather.days(first, first + 11)
    state = surface.start(place.cells, place.ground)
    return _sky(place, calm, "", _cut(luck, 0, calm.year.size), state).state


def _future(place: _Place, scenario: str, first: int, start: _State) -> xr.Dataset:
    """A scenario to 2100; whatever the place, its weather is the same realisation of chance."""
    whole, day = weather.days(2006, 2100), weather.days(first, 2100)
    luck = _cut(weather.chance(whole, SEEDS[scenario]), -day.year.size)
    sky = _sky(place, day, scenario, luck, start.surface)
    return _monthly(place, day, sky, _soil(place, day, sky, start.soil))


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
    run: xr.Dataset,
) -> xr.Dataset:
    flat, layered = ("lat", "lon", TIME), ("lat", "lon", LAYER, TIME)
    data = {
        name: xr.Variable(flat, _spread(place, sky.means[:, i]), variable(name).attrs)
        for i, name in enumerate(surface.NAMES)
    }
    water, soil = np.swapaxes(sky.water, 0, 1), run["tsl"].transpose(LAYER, TIME, CELL).values
    data["mrsol"] = xr.Variable(layered, _spread(place, water), variable("mrsol").attrs)
    data["tsl"] = xr.Variable(layered, _spread(place, soil), variable("tsl").attrs)
    data["thaw_depth"] = xr.Variable(
        flat,
        _spread(place, run["thaw_depth"].transpose(TIME, CELL).values),
        {
            "units": "m",
            "long_name": "greatest depth of 0 degC of the month, from daily nodes of the column",
            "comment": "0: nothing thawed; missing: thawed to the lower end of the column",
        },
    )
    layers = layer_coords(place.ground.makeup.layers)
    return xr.Dataset(data, coords={**_coords(place), TIME: day.months, **layers})


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
        "column with heat conduction and phase change, peat and ground ice",
        "simulated": "yes: no observation, reanalysis or climate model went into it",
        "sample_world_version": str(VERSION),
        "history": f"xpermafrost.datasets.alaska_sample, world {VERSION}",
    }
