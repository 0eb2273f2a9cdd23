"""ERA5 and ERA5-Land from the Climate Data Store (and ARCO long names).

In the monthly means of both, an accumulated field holds the mean **daily** total although
its units say ``m`` or ``J m**-2``. Hourly, ERA5 stores the total of the hour that ends at the
stamp, ERA5-Land a running total since 00 UTC: the total of a day stands at 00 UTC of the next
(ECMWF, "Conversion table for accumulated variables"). ECMWF counts the turbulent fluxes
positive downward; CMIP counts them upward.
"""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr

from ..schema import ERA5LAND_EDGES
from ._base import Family, Rule, Totals
from ._time import find_time
from ._units import WATER_DENSITY

#: Tops and bottoms [m] of the four soil layers of the IFS.
LAYERS = tuple(itertools.pairwise(ERA5LAND_EDGES))

#: How each product sums up; neither stores totals in daily data.
LAND_TOTALS = Totals(month="day", hour="running")
ERA5_TOTALS = Totals(month="day", hour="hour")

_SWAPPED = (
    "the three evaporation components of ERA5-Land are interchanged in the archive "
    "(ECMWF, ERA5-Land documentation, known issues); none is used here. Leave it out: "
    "ds.drop_vars(...), of files xp.open_raw(path).drop_vars(...).permafrost.standardize()."
)
_EVAPORATION = (
    "evabs",
    "evaow",
    "evavt",
    "evaporation_from_bare_soil",
    "evaporation_from_open_water_surfaces_excluding_oceans",
    "evaporation_from_vegetation_transpiration",
)


def soil_rules() -> tuple[Rule, ...]:
    """Rules of soil temperature [K] and water [m3 m-3], one for each layer."""
    rules: list[Rule] = []
    ids = (139, 170, 183, 236)
    for level, (bounds, temperature_id) in enumerate(zip(LAYERS, ids, strict=True), start=1):
        thickness = bounds[1] - bounds[0]
        rules.append(
            Rule(
                canonical="tsl",
                names=(f"stl{level}", f"soil_temperature_level_{level}"),
                units="K",
                bounds=bounds,
                param_id=temperature_id,
            )
        )
        rules.append(
            Rule(
                canonical="mrsol",
                names=(f"swvl{level}", f"volumetric_soil_water_layer_{level}"),
                units="m3 m-3",
                # water of the layer per area: content x density x thickness
                factor=round(WATER_DENSITY * thickness, 9),
                bounds=bounds,
                param_id=38 + level,
            )
        )
    return tuple(rules)


def state_rules() -> tuple[Rule, ...]:
    """Rules of the variables that are not accumulated, snow depth and cover excepted."""
    return (
        Rule(canonical="tas", names=("t2m", "2t", "2m_temperature"), units="K", param_id=167),
        Rule(canonical="ts", names=("skt", "skin_temperature"), units="K", param_id=235),
        Rule(canonical="snd", names=("sde",), units="m", param_id=3066),
        Rule(
            canonical="snw",
            names=("snow_depth_water_equivalent",),
            units="m",
            factor=WATER_DENSITY,
            water=True,
        ),
        Rule(canonical="snow_density", names=("rsn", "snow_density"), units="kg m-3", param_id=33),
        Rule(
            canonical="sftlf",
            names=("lsm", "land_sea_mask"),
            units="1",
            factor=100.0,
            param_id=172,
        ),
    )


def accumulation_rules(totals: Totals, *, suffix: str = "", short: bool = True) -> tuple[Rule, ...]:
    """Rules of the accumulated variables: what they sum up, long names with ``suffix``."""
    rows = (
        ("pr", "tp", "total_precipitation", "m", WATER_DENSITY, 1, 228),
        ("prsn", "sf", "snowfall", "m", WATER_DENSITY, 1, 144),
        ("rlds", "strd", "surface_thermal_radiation_downwards", "J m-2", 1.0, 1, 175),
        ("rsds", "ssrd", "surface_solar_radiation_downwards", "J m-2", 1.0, 1, 169),
        ("hfls", "slhf", "surface_latent_heat_flux", "J m-2", 1.0, -1, 147),
        ("hfss", "sshf", "surface_sensible_heat_flux", "J m-2", 1.0, -1, 146),
    )
    return tuple(
        Rule(
            canonical=canonical,
            names=(*((name,) if short else ()), long + suffix),
            units=units,
            factor=factor,
            totals=totals,
            backward=True,
            sign=sign,
            param_id=param_id if short else None,
            water=units == "m",
        )
        for canonical, name, long, units, factor, sign, param_id in rows
    )


def _mean_rate_rules() -> tuple[Rule, ...]:
    # Mean rates are fluxes already; the heat fluxes are still positive down.
    down = "mean_surface_downward_"
    rows = (
        ("pr", ("avg_tprate", "mtpr", "mean_total_precipitation_rate"), 235055),
        ("prsn", ("avg_tsrwe", "msr", "mean_snowfall_rate"), 235031),
        ("rlds", ("avg_sdlwrf", "msdwlwrf", "msdlwrf", f"{down}long_wave_radiation_flux"), 235036),
        ("rsds", ("avg_sdswrf", "msdwswrf", "msdswrf", f"{down}short_wave_radiation_flux"), 235035),
        ("hfls", ("avg_slhtf", "mslhf", "mean_surface_latent_heat_flux"), 235034),
        ("hfss", ("avg_ishf", "msshf", "mean_surface_sensible_heat_flux"), 235033),
    )
    return tuple(
        Rule(
            canonical=canonical,
            names=names,
            units="kg m-2 s-1" if canonical.startswith("pr") else "W m-2",
            sign=-1 if canonical.startswith("hf") else 1,
            backward=True,
            param_id=param_id,
        )
        for canonical, names, param_id in rows
    )


def _common(totals: Totals) -> tuple[Rule, ...]:
    return (
        *state_rules(),
        # both archives hold parameter 141 under the short name `sd`: water equivalent
        Rule(
            canonical="snw",
            names=("sd",),
            units="m",
            factor=WATER_DENSITY,
            param_id=141,
            water=True,
        ),
        Rule(canonical="snc", names=("snowc", "snow_cover"), units="%", param_id=260038),
        *soil_rules(),
        *accumulation_rules(totals),
        *_mean_rate_rules(),
    )


def _texts(ds: xr.Dataset) -> str:
    return " ".join(str(value) for value in ds.attrs.values()).lower()


def _forecasts(ds: xr.Dataset) -> str:
    """Product of a GRIB layout with base time and lead time, or "".

    ERA5-Land runs from 00 UTC for a day; the forecasts of ERA5 start at 06 and 18 UTC
    (ECMWF, "ERA5: data documentation").
    """
    if not {"time", "step"} <= set(ds.coords) or "step" not in ds.dims:
        return ""
    if ds["time"].dtype.kind != "M" or ds["step"].dtype.kind != "m":
        return ""
    bases = set(np.atleast_1d(ds["time"].dt.hour.values).tolist())
    longest = ds["step"].values.max() / np.timedelta64(1, "h")
    if bases == {0} and longest > 12:
        return "era5-land"
    return "era5" if bases <= {6, 18} and longest <= 18 else ""


def is_era5_land(ds: xr.Dataset) -> bool:
    """Whether an attribute names the product, or the GRIB layout is that of ERA5-Land."""
    return "reanalysis-era5-land" in _texts(ds) or _forecasts(ds) == "era5-land"


def is_era5(ds: xr.Dataset) -> bool:
    """Whether an attribute names the product, or the layout is that of ERA5 or ARCO-ERA5."""
    # the public ARCO-ERA5 stores end at `valid_time_stop`, preliminary at `..._era5t`
    said = "reanalysis-era5-single-levels" in _texts(ds) or "valid_time_stop_era5t" in ds.attrs
    return said or _forecasts(ds) == "era5"


def _hour_of_day(ds: xr.Dataset) -> int | None:
    """The hour, if all stamps are at one hour of the first of a month that no mean is stamped at.

    Monthly means are stamped at 00 UTC, accumulations of ERA5 at 06.
    """
    name = find_time(ds)
    if name is None or name not in ds.coords or ds[name].dtype.kind != "M" or not ds[name].size:
        return None
    if "step" in ds.coords or "bounds" in {**ds[name].attrs, **ds[name].encoding}:
        return None
    stamps = ds[name].dt
    hours = np.unique(stamps.hour.values)
    single = hours.size == 1 and bool((stamps.day == 1).all())
    return int(hours[0]) if single and hours[0] not in (0, 6) else None


def refuse(ds: xr.Dataset, step: str) -> str | None:
    """Monthly accumulations that are not mean daily totals, and means of one hour of the day."""
    if step != "month":
        return None
    hour = _hour_of_day(ds)
    own = [str(name) for name in ds.data_vars if ERA5_LAND.named(str(name))]
    if hour is not None and own:
        return (
            f"{own[0]!r} is stamped at {hour:02d} UTC of the first of the month: 'monthly averaged "
            "reanalysis by hour of day' of the Climate Data Store, a mean of that hour only, or a "
            "single hour. Download 'monthly_averaged_reanalysis', or all hours of the month."
        )
    for name in ds.data_vars:
        kind = str(ds[name].attrs.get("GRIB_stepType", ""))
        accumulated = any(rule.totals for rule in ERA5_LAND.named(str(name)))
        if accumulated and kind in ("accum", "instant"):
            return (
                f"{str(name)!r} has GRIB_stepType {kind!r}: an hourly or by-hour-of-day "
                "accumulation, not the mean daily total of a monthly mean ('avgad'). Download "
                "'monthly_averaged_reanalysis' from the Climate Data Store instead, or hourly "
                "data of whole days."
            )
    return None


ERA5_LAND = Family(
    name="era5-land",
    title="ERA5-Land from the Climate Data Store",
    recognise=is_era5_land,
    rules=(*_common(LAND_TOTALS), Rule(canonical="snd", names=("snow_depth",), units="m")),
    refused=dict.fromkeys(_EVAPORATION, _SWAPPED),
    refuse=refuse,
)

ERA5 = Family(
    name="era5",
    title="ERA5 (single levels) from the Climate Data Store or ARCO",
    recognise=is_era5,
    rules=(
        *_common(ERA5_TOTALS),
        Rule(
            canonical="snw",
            names=("snow_depth",),
            units="m",
            factor=WATER_DENSITY,
            water=True,
        ),
    ),
)

FAMILIES = (ERA5_LAND, ERA5)
