"""Writes the small made-up files that the tutorial reads, into the current folder.

They have the layout of the real ones (names, units, signs, calendars, order of latitudes) and
nothing else of them: the values are a sine wave, some noise and a trend.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

RNG = np.random.default_rng(0)


def weather(lat: np.ndarray, n_lon: int, months: int, warming: float) -> dict[str, np.ndarray]:
    """Monthly fields ``(time, lat, lon)``: degC, mm per day, m of snow, W m-2."""
    t = np.arange(months)[:, None, None]
    season = np.cos(2 * np.pi * (t - 6.5) / 12)
    noise = RNG.normal(0.0, 1.0, (months, 1, 1)) * np.ones((1, lat.size, n_lon))
    air = 2.0 - 0.9 * (lat[None, :, None] - 60) + 15.0 * season + 1.8 * noise + warming * t / 120
    return {
        "air": air,
        "rain": np.clip(1.5 + 0.8 * season + 0.3 * noise, 0.1, None),
        "snow": np.clip(0.5 * (-season - 0.2 - 0.1 * noise), 0.0, None),
        "sun": np.clip(95.0 + 115.0 * np.cos(2 * np.pi * (t - 5.5) / 12), 5.0, None)
        * (1.0 - 0.03 * noise),  # clouds
        "sky": 270.0 + 3.2 * air,
    }


def soil(air: np.ndarray, snow: np.ndarray, depth: float) -> np.ndarray:
    """Damped and delayed air temperature [K]; no physics."""
    mean = air.mean(axis=0)
    out = np.empty_like(air)
    state = mean + 2.0
    for k in range(len(air)):
        surface = mean + 2.0 + (air[k] - mean) * (0.9 - 0.6 * np.clip(snow[k], 0.0, 1.0))
        state = state + (surface - state) / (1.0 + 3.0 * depth)
        out[k] = state
    return out + 273.15


def era5land() -> None:
    """Monthly means as the Climate Data Store gives them: totals per day, latitude descending."""
    lat, lon = np.arange(69.5, 60.0, -1.0), np.arange(-160.0, -150.0, 2.0)
    time = pd.date_range("2001-01-01", "2012-12-01", freq="MS")
    w = weather(lat, lon.size, time.size, warming=0.4)
    fields = {
        "t2m": (w["air"] + 273.15, "K"),
        "tp": (w["rain"] / 1000, "m"),  # metres per day, although the units do not say so
        "sde": (w["snow"], "m"),
        "ssrd": (w["sun"] * 86400, "J m**-2"),
        "strd": (w["sky"] * 86400, "J m**-2"),
    }
    for level, depth in enumerate((0.035, 0.175, 0.64, 1.945), start=1):
        fields[f"stl{level}"] = (soil(w["air"], w["snow"], depth), "K")
    dims = ("valid_time", "latitude", "longitude")
    xr.Dataset(
        {n: (dims, v.astype("float32"), {"units": u}) for n, (v, u) in fields.items()},
        coords={"valid_time": time, "latitude": lat, "longitude": lon},
    ).to_netcdf("era5land_monthly.nc")


def esm(name: str, first: str, last: str, warming: float) -> None:
    """A coarser climate model, 1.5 K too warm: CMIP names, mid-month stamps, no leap days."""
    lat, lon = np.arange(60.0, 71.0, 2.5), np.arange(200.0, 211.0, 2.5)
    time = xr.date_range(first, last, freq="MS", calendar="noleap", use_cftime=True)
    w = weather(lat, lon.size, time.size, warming)
    fields = {
        "tas": (w["air"] + 274.65, "K"),
        "pr": (w["rain"] / 86400, "kg m-2 s-1"),
        "snd": (w["snow"], "m"),
        "rsds": (w["sun"], "W m-2"),
        "rlds": (w["sky"], "W m-2"),
    }
    dims = ("time", "lat", "lon")
    xr.Dataset(
        {n: (dims, v.astype("float32"), {"units": u}) for n, (v, u) in fields.items()},
        coords={"time": time.shift(14, "D"), "lat": lat, "lon": lon},
        attrs={"mip_era": "CMIP6"},
    ).to_netcdf(f"esm_{name}.nc")


era5land()
esm("historical", "1996-01", "2005-12", 0.2)
esm("rcp26", "2006-01", "2060-12", 0.2)
esm("rcp85", "2006-01", "2060-12", 0.8)
