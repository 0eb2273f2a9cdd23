"""ERA5 and ERA5-Land monthly means from the Climate Data Store (and ARCO long names).

In the monthly means of both, an accumulated field holds the mean **daily** total although
its units say ``m`` or ``J m**-2`` (ECMWF, "ERA5: data documentation", monthly means).
ECMWF counts the turbulent fluxes positive downward; CMIP counts them upward.
"""

from __future__ import annotations

import itertools

import xarray as xr

from ..schema import ERA5LAND_EDGES
from ._base import Family, Rule
from ._units import WATER_DENSITY

#: Tops and bottoms [m] of the four soil layers of the IFS.
LAYERS = tuple(itertools.pairwise(ERA5LAND_EDGES))

_SWAPPED = (
    "the three evaporation components of ERA5-Land are interchanged in the archive "
    "(ECMWF, ERA5-Land documentation, known issues); none is used here."
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
    )


def accumulation_rules(
    *, suffix: str = "", per: str = "day", short: bool = True
) -> tuple[Rule, ...]:
    """Rules of the accumulated variables: totals over ``per``, long names with ``suffix``."""
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
            per=per,
            sign=sign,
            param_id=param_id if short else None,
            water=units == "m",
        )
        for canonical, name, long, units, factor, sign, param_id in rows
    )


def _mean_rate_rules() -> tuple[Rule, ...]:
    # Mean rates are fluxes already; the heat fluxes are still positive down.
    rows = (
        ("pr", ("avg_tprate", "mtpr", "mean_total_precipitation_rate"), "kg m-2 s-1", 1),
        ("prsn", ("avg_tsrwe", "msr", "mean_snowfall_rate"), "kg m-2 s-1", 1),
        (
            "rlds",
            (
                "avg_sdlwrf",
                "msdwlwrf",
                "msdlwrf",
                "mean_surface_downward_long_wave_radiation_flux",
            ),
            "W m-2",
            1,
        ),
        (
            "rsds",
            (
                "avg_sdswrf",
                "msdwswrf",
                "msdswrf",
                "mean_surface_downward_short_wave_radiation_flux",
            ),
            "W m-2",
            1,
        ),
        ("hfls", ("avg_slhtf", "mslhf", "mean_surface_latent_heat_flux"), "W m-2", -1),
        ("hfss", ("avg_ishf", "msshf", "mean_surface_sensible_heat_flux"), "W m-2", -1),
    )
    return tuple(
        Rule(canonical=canonical, names=names, units=units, sign=sign)
        for canonical, names, units, sign in rows
    )


def _common() -> tuple[Rule, ...]:
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
        *accumulation_rules(),
        *_mean_rate_rules(),
    )


def refuse(ds: xr.Dataset) -> str | None:
    """Accumulations that are not mean daily totals."""
    for name in ds.data_vars:
        step = str(ds[name].attrs.get("GRIB_stepType", ""))
        accumulated = any(rule.per for rule in ERA5_LAND.named(str(name)))
        if accumulated and step in ("accum", "instant"):
            return (
                f"{str(name)!r} has GRIB_stepType {step!r}: an hourly or by-hour-of-day "
                "accumulation, not the mean daily total of a monthly mean ('avgad'). Download "
                "'monthly_averaged_reanalysis' from the Climate Data Store instead."
            )
    return None


ERA5_LAND = Family(
    name="era5-land",
    title="ERA5-Land monthly means from the Climate Data Store",
    rules=(*_common(), Rule(canonical="snd", names=("snow_depth",), units="m")),
    refused=dict.fromkeys(_EVAPORATION, _SWAPPED),
    refuse=refuse,
)

ERA5 = Family(
    name="era5",
    title="ERA5 (single levels) monthly means from the Climate Data Store or ARCO",
    rules=(
        *_common(),
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
