"""Writes the small made-up files that the tutorial reads, into the current folder.

They have the layout of the real ones (names, units, signs, calendars, order of latitudes, no
values over the sea) and nothing else of them: the weather is a sine wave, noise and a trend. The
soil of the "reanalysis" is that of the package's own soil column under this weather.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

import xpermafrost as xp

RNG = np.random.default_rng(0)
LEAD = 10  # years before the first, in which snow and soil settle
MARK = {"simulated": "made up for the tutorial; nothing of it holds for the real Alaska"}


def weather(
    lat: np.ndarray, n_lon: int, years: np.ndarray, warming: float
) -> dict[str, np.ndarray]:
    """Monthly fields ``(time, lat, lon)``: degC, mm per day, m of snow, W m-2; with the lead.

    ``warming`` in K per decade, from 2001 on.
    """
    months = 12 * (LEAD + years.size)
    t = np.arange(months)[:, None, None] - 12 * LEAD
    season = np.cos(2 * np.pi * (t - 6.5) / 12)
    trend = warming * np.clip(years[0] + t / 12 - 2001, 0.0, None) / 10
    chance = 1.6 * RNG.normal(0.0, 1.0, (months, 1, 1)) + 0.5 * RNG.normal(
        0.0, 1.0, (months, lat.size, n_lon)
    )
    north = lat[None, :, None] - 60.0
    air = -2.5 - 1.0 * north + (14.0 + 0.4 * north) * season + chance + trend
    rain = np.clip(0.9 + 0.5 * season + 0.02 * trend + 0.2 * RNG.normal(size=air.shape), 0.1, None)
    rain = rain * (1.0 - 0.04 * north) * (1.0 + 0.2 * np.cos(np.arange(n_lon)))  # mountains
    return {
        "air": air,
        "rain": rain,
        "snow": snow_depth(air, rain),
        "sun": np.clip(95.0 + 115.0 * np.cos(2 * np.pi * (t - 5.5) / 12), 5.0, None)
        * (1.0 - 0.03 * chance),  # clouds
        "sky": 270.0 + 3.2 * air,
    }


def snow_depth(air: np.ndarray, rain: np.ndarray) -> np.ndarray:
    """What falls in the cold and melts by degree days, month by month [m]."""
    water, depth = np.zeros(air.shape[1:]), np.empty_like(air)
    for k in range(len(air)):
        falls = 30.0 * rain[k] * np.clip(0.5 - air[k] / 4.0, 0.0, 1.0)
        after = np.clip(water + falls - 90.0 * np.clip(air[k], 0.0, None), 0.0, None)
        depth[k], water = 0.5 * (water + after) / 250.0, after
    return depth


def soil(w: dict[str, np.ndarray], last: int) -> np.ndarray:
    """Monthly means ``(time, layer, lat, lon)`` [K] of the soil column on ERA5-Land's layers."""
    dims = ("time", "lat", "lon")
    time = pd.date_range(end=f"{last}-12-01", periods=len(w["air"]), freq="MS")
    forcing = xr.Dataset(
        {
            "tas": (dims, w["air"] + 273.15, {"units": "K"}),
            "snd": (dims, w["snow"], {"units": "m"}),
        },
        coords={"time": time},
    )
    run = xp.physics.simulate_soil(forcing, "tundra")
    return run["tsl"].transpose("time", "layer", "lat", "lon").values


def era5land() -> None:
    """Monthly means as the Climate Data Store gives them: totals per day, latitude descending."""
    lat, lon = np.arange(69.375, 60.0, -1.25), np.arange(-166.2, -150.0, 3.6)
    time = pd.date_range("2001-01-01", "2023-12-01", freq="MS")
    w = weather(lat, lon.size, np.arange(2001, 2024), warming=0.4)
    fields = {
        "t2m": (w["air"] + 273.15, "K"),
        "tp": (w["rain"] / 1000, "m"),  # metres per day, although the units do not say so
        "sde": (w["snow"], "m"),
        "ssrd": (w["sun"] * 86400, "J m**-2"),
        "strd": (w["sky"] * 86400, "J m**-2"),
    }
    for level, values in enumerate(np.moveaxis(soil(w, 2023), 1, 0), start=1):
        fields[f"stl{level}"] = (values, "K")
    sea = (lat[:, None] < 62) & (lon < -162)  # ERA5-Land has no values over water
    dims = ("valid_time", "latitude", "longitude")
    xr.Dataset(
        {
            name: (
                dims,
                np.where(sea, np.nan, values[12 * LEAD :]).astype("float32"),
                {"units": units},
            )
            for name, (values, units) in fields.items()
        },
        coords={"valid_time": time, "latitude": lat, "longitude": lon},
        attrs=MARK,
    ).to_netcdf("era5land_monthly.nc")


def esm(name: str, first: int, last: int, warming: float) -> None:
    """A coarser climate model, 1.5 K too warm: CMIP names, mid-month stamps, no leap days."""
    lat, lon = np.arange(60.0, 71.0, 2.5), np.arange(190.0, 212.0, 2.5)
    time = xr.date_range(
        f"{first}-01-01", f"{last}-12-01", freq="MS", calendar="noleap", use_cftime=True
    )
    w = weather(lat, lon.size, np.arange(first, last + 1), warming=warming)
    fields = {
        "tas": (w["air"] + 274.65, "K"),
        "pr": (w["rain"] / 86400, "kg m-2 s-1"),
        "snd": (w["snow"], "m"),
        "rsds": (w["sun"], "W m-2"),
        "rlds": (w["sky"], "W m-2"),
    }
    dims = ("time", "lat", "lon")
    xr.Dataset(
        {n: (dims, v[12 * LEAD :].astype("float32"), {"units": u}) for n, (v, u) in fields.items()},
        coords={"time": time.shift(14, "D"), "lat": lat, "lon": lon},
        attrs={"mip_era": "CMIP6", **MARK},
    ).to_netcdf(f"esm_{name}.nc")


era5land()
esm("historical", 1991, 2005, 0.3)
esm("rcp26", 2006, 2100, 0.15)
esm("rcp85", 2006, 2100, 0.6)
