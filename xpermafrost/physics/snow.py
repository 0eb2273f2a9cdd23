"""Snow: density by class, conductivity, thermal resistance, heat; and a degree-day pack."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numba import njit

from .._checks import choose
from ..schema import FREEZING_POINT, TIME, variable

#: Specific heat of ice at -10 degC [J kg-1 K-1]: ``185 + 6.89 T`` (Fukusako, 1990).
HEAT_ICE = 2000.0

#: Snow classes: largest and initial bulk density [g cm-3], growth with depth [cm-1] and with the
#: day [d-1] (Sturm et al., 2010, table 4).
SNOW_CLASSES = {
    "alpine": (0.5975, 0.2237, 0.0012, 0.0038),
    "maritime": (0.5979, 0.2578, 0.0010, 0.0038),
    "prairie": (0.5940, 0.2332, 0.0016, 0.0031),
    "tundra": (0.3630, 0.2425, 0.0029, 0.0049),
    "taiga": (0.2170, 0.2170, 0.0000, 0.0000),
}

#: Density [kg m-3] at which melting snow settles (Douville et al., 1995: 300; Alaskan spring: 400).
WET_DENSITY = 400.0

#: Rates at which density nears its limit [d-1]: melting (Douville et al., 1995) and cold snow.
WET_RATE = 0.24
DRY_RATE = 0.015


def conductivity(density: np.ndarray | xr.DataArray) -> np.ndarray | xr.DataArray:
    """Effective thermal conductivity of snow [W m-1 K-1] of ``density`` [kg m-3].

    Sturm et al. (1997), equation 4: ``0.138 - 1.01 r + 3.233 r2`` from 0.156 to 0.6 g cm-3,
    ``0.023 + 0.234 r`` below, where r is the density in g cm-3. Lazy on dask arrays.

    Examples
    --------
    >>> conductivity(np.array([100.0, 250.0])).round(3).tolist()
    [0.046, 0.088]
    """
    r = density / 1000.0
    dense = 0.138 - 1.01 * r + 3.233 * r * r
    light = 0.023 + 0.234 * r
    if isinstance(density, xr.DataArray):
        return xr.where(r < 0.156, light, dense)
    return np.where(np.asarray(r) < 0.156, light, dense)


def class_density(
    depth: np.ndarray | xr.DataArray, day_of_year: np.ndarray | xr.DataArray, *, kind: str
) -> np.ndarray | xr.DataArray:
    """Bulk density of the snow [kg m-3] by depth, date and class.

    Sturm et al. (2010): ``(rmax - r0) (1 - exp(-k1 h - k2 d)) + r0``, where the day
    d runs from -92 on 1 October to 181 on 30 June and stays there until the end of August.

    Parameters
    ----------
    depth : array
        Snow depth [m]. Lazy on dask arrays.
    day_of_year : array
        1 to 366, of the northern hemisphere.
    kind : str
        One of :data:`SNOW_CLASSES`.

    Raises
    ------
    UnknownNameError
        If there is no such class.

    Examples
    --------
    >>> class_density(np.array([0.2, 0.2]), np.array([300, 100]), kind="tundra").round().tolist()
    [206.0, 293.0]
    """
    most, first, by_depth, by_day = SNOW_CLASSES[choose("snow class", kind, SNOW_CLASSES)]
    day = (day_of_year - 366 * (day_of_year >= 244)).clip(-92, 181)
    grown = 1.0 - np.exp(-by_depth * 100.0 * depth - by_day * day)
    return 1000.0 * ((most - first) * grown + first)


def thermal_resistance(depth: xr.DataArray, density: xr.DataArray | float) -> xr.DataArray:
    """Thermal resistance of the snow, depth over conductivity [m2 K W-1]; 0 without snow.

    Parameters
    ----------
    depth : DataArray
        Snow depth [m]. Missing depth gives a missing resistance.
    density : DataArray or float
        Density [kg m-3]; may be missing where there is no snow. Lazy on dask arrays.

    Examples
    --------
    >>> float(thermal_resistance(xr.DataArray(0.44), 250.0).round(1))
    5.0
    """
    value = depth / conductivity(xr.DataArray(density))
    out = xr.where(depth == 0.0, 0.0, value).astype("float64")
    out.attrs = {"units": "m2 K W-1", "long_name": "thermal resistance of the snow"}
    return out.rename("snow_resistance")


@njit(inline="always")
def snow_fraction(celsius):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Share of precipitation that falls as snow: 1 at -1 degC, 0 at 3 degC (Dingman, 2002)."""
    return min(1.0, max(0.0, (3.0 - celsius) / 4.0))


@njit(inline="always")
def snow_day(swe, density, snowfall, celsius, degree_day, fresh, settled):  # type: ignore[no-untyped-def]  # pragma: no cover
    """One day of a degree-day snow pack.

    Parameters
    ----------
    swe, density : float
        Water equivalent [kg m-2] and density [kg m-3] in the morning.
    snowfall : float
        [kg m-2 d-1].
    celsius : float
        Air temperature [degC].
    degree_day : float
        Melt [kg m-2 K-1 d-1].
    fresh, settled : float
        Densities of new and of old dry snow [kg m-3].

    Returns
    -------
    swe, density, melt : float
        In the evening [kg m-2], [kg m-3], and the day's melt [kg m-2].
    """
    if snowfall > 0.0:
        density = (swe + snowfall) / (swe / density + snowfall / fresh)
        swe += snowfall
    melt = min(swe, degree_day * max(celsius, 0.0))
    swe -= melt
    if swe < 1e-3:
        return 0.0, fresh, melt + swe
    if celsius > 0.0:
        density += max(WET_DENSITY - density, 0.0) * WET_RATE
    else:
        density += max(settled - density, 0.0) * DRY_RATE
    return swe, density, melt


@njit(cache=True, nogil=True)
def _run(celsius, water, degree_day, fresh, settled):  # type: ignore[no-untyped-def]  # pragma: no cover
    days, places = celsius.shape
    swe_out, density_out, fall_out = np.empty((3, days, places))
    for p in range(places):
        swe, density = 0.0, fresh
        for d in range(days):
            fall = water[d, p] * snow_fraction(celsius[d, p])
            swe, density, _ = snow_day(
                swe, density, fall, celsius[d, p], degree_day, fresh, settled
            )
            swe_out[d, p], density_out[d, p], fall_out[d, p] = swe, density, fall
    return swe_out, density_out, fall_out


def degree_day_snow(
    tas: xr.DataArray,
    pr: xr.DataArray,
    *,
    degree_day: float = 3.5,
    fresh: float = 120.0,
    settled: float = 280.0,
) -> xr.Dataset:
    """Snow pack from daily air temperature and precipitation.

    Parameters
    ----------
    tas : DataArray (..., time)
        Daily air temperature [K].
    pr : DataArray (..., time)
        Daily precipitation [kg m-2 s-1].
    degree_day : float
        Melt per degree above 0 degC [kg m-2 K-1 d-1].
    fresh, settled : float
        Densities of new and of old dry snow [kg m-3].

    Returns
    -------
    Dataset
        ``snw`` [kg m-2], ``snd`` [m], ``snow_density`` [kg m-3] (missing without snow) and
        ``prsn`` [kg m-2 s-1]. Starts without snow. Computes dask input. Missing forcing
        leaves the rest of the series missing.

    Examples
    --------
    >>> time = xr.date_range("2001-11-01", periods=10)
    >>> tas = xr.DataArray(np.full(10, 263.15), coords={"time": time})
    >>> float(degree_day_snow(tas, 0 * tas + 2 / 86400)["snw"][-1].round(6))
    20.0
    """
    tas, pr = xr.broadcast(tas, pr)
    other = [dim for dim in tas.dims if dim != TIME]
    tas, pr = tas.transpose(TIME, *other), pr.transpose(TIME, *other)
    flat = (tas.sizes[TIME], -1)
    celsius = np.ascontiguousarray(tas.values.reshape(flat) - FREEZING_POINT, dtype="float64")
    water = np.ascontiguousarray(pr.values.reshape(flat) * 86400.0, dtype="float64")
    swe, density, fall = _run(celsius, water, degree_day, fresh, settled)
    gone = np.isnan(np.cumsum(celsius + water, axis=0))
    swe, density = np.where(gone, np.nan, swe), np.where(swe > 0, density, np.nan)
    density = np.where(gone, np.nan, density)
    depth = np.where(swe > 0, swe / density, swe)
    values = {"snw": swe, "snd": depth, "snow_density": density, "prsn": fall / 86400.0}
    return xr.Dataset(
        {
            name: (tas.dims, value.reshape(tas.shape), variable(name).attrs)
            for name, value in values.items()
        },
        coords=tas.coords,
    )
