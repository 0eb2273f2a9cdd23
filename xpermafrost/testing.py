"""Small made-up Datasets for tests, doctests and tutorials.

They are quick to make, not believable; but the soil of :func:`daily` freezes and thaws as a column
of soil does. For a simulated world see :func:`xpermafrost.datasets.alaska_sample`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ._sun import top_of_atmosphere
from .schema import ERA5LAND_EDGES, FREEZING_POINT, VARIABLES, layer_coords

#: Years before the first of :func:`daily`, in which its soil settles.
LEAD = 5


def canonical(
    *,
    years: int = 6,
    start: str = "2001",
    locations: Sequence[str] | range = ("south", "middle", "north"),
    dim: str = "band",
    edges: Sequence[float] = ERA5LAND_EDGES,
    warming: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """A canonical monthly Dataset: five forcings, two static fields and soil temperature.

    The soil damps and delays the air with depth; ``warming`` [K per decade] is linear.

    Examples
    --------
    >>> canonical(years=2)["tsl"].dims
    ('band', 'layer', 'time')
    """
    rng = np.random.default_rng(seed)
    time = pd.date_range(start, periods=12 * years, freq="MS")
    month = np.arange(time.size)
    place = np.arange(len(locations))[:, None]
    weather = rng.normal(0.0, 1.8, (len(locations), time.size))
    season = np.cos(2 * np.pi * (month - 6.5) / 12)
    tas = 274.0 - 4.0 * place + (13.0 + place) * season + weather + warming * month / 120
    pr = (2.0 + season + 0.3 * rng.random(tas.shape)) * 1e-5
    snd = np.clip(0.5 * (-season - 0.2 + 0.1 * weather), 0.0, None)
    rsds = 120.0 + 110.0 * season + 5.0 * rng.random(tas.shape)
    rlds = 3.2 * (tas - 273.15) + 270.0 + rng.normal(0.0, 3.0, tas.shape)
    layers = layer_coords(edges)
    depth = layers["depth"].values
    soil = np.stack([_soil(tas, snd, d) for d in depth], axis=1)
    data = {"tas": tas, "pr": pr, "snd": snd, "rsds": rsds, "rlds": rlds}
    variables: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]] = {
        name: ((dim, "time"), values.astype("float32"), VARIABLES[name].attrs)
        for name, values in data.items()
    }
    variables["tsl"] = ((dim, "layer", "time"), soil.astype("float32"), VARIABLES["tsl"].attrs)
    variables["elevation"] = ((dim,), 100.0 * (1 + place[:, 0]), VARIABLES["elevation"].attrs)
    return xr.Dataset(
        variables,
        coords={"time": time, dim: list(locations), **layers},
        attrs={"title": "made-up test data"},
    )


def daily(
    *,
    years: int = 12,
    start: int = 2001,
    locations: Sequence[str] = ("south", "middle", "north"),
    seed: int = 0,
) -> xr.Dataset:
    """A canonical daily Dataset whose soil is that of the column, zero curtain and all.

    Air temperature with weather, precipitation, snow and radiation by the day, 66 to 70 degN;
    moss and peat over silt, thinner in the north.

    Examples
    --------
    >>> ds = daily(years=1)
    >>> ds.sizes["time"], bool(abs(ds["tsl"].isel(layer=1) - 273.15).min() < 0.1)
    (365, True)
    """
    from .physics import SpinUp, Surface, insolation, simulate_soil, with_parameters
    from .physics.snow import degree_day_snow

    rng = np.random.default_rng(seed)
    count = len(locations)
    # years before the first make the state that it starts from
    time = pd.date_range(f"{start - LEAD}-01-01", f"{start + years - 1}-12-31", name="time")
    north = np.linspace(0.0, 1.0, count)[:, None]
    coords = {"band": list(locations), "time": time, "lat": ("band", 66.0 + 4.0 * north[:, 0])}
    season = -np.cos(2 * np.pi * (time.day_of_year.values - 18.0) / 365.25)
    winter = 0.5 - 0.5 * season
    warmth = 4.5 * _red(rng, count, time.size, 4.0) + 2.0 * _red(rng, count, time.size, 40.0)
    celsius = -4.5 - 6.5 * north + (15.5 + 1.5 * north) * season + (0.45 + 0.55 * winter) * warmth
    cloud = _red(rng, count, time.size, 2.0)
    rain = (0.6 + 0.35 * season) * np.clip(cloud - 0.4, 0.0, None) * 3.0

    def field(name: str, values: np.ndarray) -> xr.DataArray:
        return xr.DataArray(values, coords, ("band", "time"), name, VARIABLES[name].attrs)

    tas, pr = field("tas", celsius + FREEZING_POINT), field("pr", rain / 86400.0)
    sun = insolation(tas["time"], tas["lat"]).transpose("band", "time").values
    ds = xr.Dataset(
        {
            "tas": tas,
            "pr": pr,
            "snd": degree_day_snow(tas, pr)["snd"].transpose("band", "time"),
            "rsds": field("rsds", sun * np.clip(1.0 - 0.3 * cloud, 0.3, 1.5)),
            "rlds": field("rlds", 240.0 + 3.4 * celsius + 14.0 * cloud),
        },
        attrs={"title": "made-up test data", "simulated": "soil by xpermafrost.physics"},
    )
    peat = xr.DataArray(0.25 - 0.17 * north[:, 0], {"band": coords["band"]})
    soil, surface = with_parameters("tundra", Surface(), xr.Dataset({"organic_thickness": peat}))
    run = simulate_soil(
        ds,
        soil,
        surface=surface,
        average="step",
        spin_up=SpinUp(years=LEAD, tolerance=0.1, cycles=100),
    )
    ds = ds.astype("float32").assign(tsl=run["tsl"].transpose("band", "layer", "time"))
    return ds.assign_coords(layer_coords()).sel(time=slice(str(start), None))


def _red(rng: np.random.Generator, places: int, days: int, memory: float) -> np.ndarray:
    """Noise of unit variance with a memory of some days."""
    keep = np.exp(-1.0 / memory)
    out = rng.standard_normal((places, days))
    out[:, 1:] *= np.sqrt(1.0 - keep * keep)
    for k in range(1, days):
        out[:, k] += keep * out[:, k - 1]
    return out


def gridded(
    *, shape: tuple[int, int] = (3, 4), ocean: int = 2, years: int = 6, **options: object
) -> xr.Dataset:
    """As :func:`canonical`, on a grid ``(lat, lon)`` of 2 degrees around 64 degN, 150 degW.

    The first ``ocean`` cells of the southern row have forcing, but no soil and no elevation.

    Examples
    --------
    >>> ds = gridded(years=2)
    >>> ds["tsl"].dims, int(ds["tsl"].isel(layer=0, time=0).isnull().sum())
    (('lat', 'lon', 'layer', 'time'), 2)
    """
    rows, columns = shape
    flat = canonical(years=years, locations=range(rows * columns), dim="cell", **options)  # type: ignore[arg-type]
    cells = pd.MultiIndex.from_product(
        [62.0 + 2.0 * np.arange(rows), -152.0 + 2.0 * np.arange(columns)], names=["lat", "lon"]
    )
    land = xr.DataArray(np.arange(rows * columns) >= ocean, dims="cell")
    flat = flat.assign(tsl=flat["tsl"].where(land), elevation=flat["elevation"].where(land))
    flat = flat.drop_vars("cell").assign_coords(
        xr.Coordinates.from_pandas_multiindex(cells, "cell")
    )
    grid = flat.unstack("cell")
    for name, axis in (("lat", "latitude"), ("lon", "longitude")):
        grid[name].attrs = {
            "standard_name": axis,
            "units": f"degrees_{'north' if name == 'lat' else 'east'}",
        }
    # no more than clouds of some kind let through there, or the file of it would be refused
    clear = 0.7 - 0.02 * (grid["rsds"] % 5.0)
    most = (clear * top_of_atmosphere(grid["time"], grid["lat"], months=True)).astype("float32")
    grid["rsds"] = grid["rsds"].where(grid["rsds"] < most, most)
    return grid.transpose("lat", "lon", "layer", "time", "bnds")


def _soil(tas: np.ndarray, snd: np.ndarray, depth: float) -> np.ndarray:
    """Exponential memory of an air temperature that snow shields, deeper is slower."""
    mean = tas.mean(axis=1, keepdims=True)
    surface = mean + 2.0 + (tas - mean) * (0.9 - 0.6 * np.clip(snd, 0.0, 1.0))
    rate = 1.0 / (1.0 + 3.0 * depth)
    out = np.empty_like(surface)
    state = surface[:, :12].mean(axis=1)
    for k in range(surface.shape[1]):
        state = state + rate * (surface[:, k] - state)
        out[:, k] = state
    return out


def experiment(*, years: int = 8, future: int = 12, **options: object) -> xr.Dataset:
    """A small experiment Dataset: reference 2001 on, historical 1996-2005, two RCPs from 2006.

    Examples
    --------
    >>> experiment()["scenario"].values.tolist()
    ['reference', 'historical', 'rcp26', 'rcp85']
    """
    from .experiment import combine

    reference = canonical(years=years, **options)  # type: ignore[arg-type]
    parts = {
        "historical": canonical(years=10, start="1996", seed=11, **options),  # type: ignore[arg-type]
        "rcp26": canonical(years=future, start="2006", seed=12, warming=0.2, **options),  # type: ignore[arg-type]
        "rcp85": canonical(years=future, start="2006", seed=13, warming=2.0, **options),  # type: ignore[arg-type]
    }
    parts = {
        n: ds.assign(tas=(ds["tas"] * 1.0 + 1.5).assign_attrs(ds["tas"].attrs))
        for n, ds in parts.items()
    }
    return combine(reference, **parts)
